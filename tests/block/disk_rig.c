// SPDX-License-Identifier: GPL-2.0-or-later
#include "disk_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct loop *rig_loop;
char rig_folder[64];
struct rig_faults rig_faults;
_Atomic unsigned rig_syncs, rig_writes;

int rig_set_up(void **state)
{
	strcpy(rig_folder, "/tmp/subring-test-block.XXXXXX");
	if (!mkdtemp(rig_folder))
		return -1;
	return loop_create(&rig_loop);
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

int rig_tear_down(void **state)
{
	file_calls = &file_calls_host;
	loop_destroy(rig_loop);
	return nftw(rig_folder, drop, 16, FTW_DEPTH | FTW_PHYS);
}

const char *rig_path(const char *name)
{
	static char path[4][256];
	static unsigned n;

	n = (n + 1) % 4;
	snprintf(path[n], sizeof(path[n]), "%s/%s", rig_folder, name);
	return path[n];
}

const char *rig_file(const char *name, uint64_t bytes, int fill)
{
	const char *path = rig_path(name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	if (fill) {
		char *memory = malloc(bytes);

		memset(memory, fill, bytes);
		assert_int_equal(pwrite(fd, memory, bytes, 0), (ssize_t)bytes);
		free(memory);
	}
	close(fd);
	return path;
}

struct disk *rig_open(const struct disk_config *config)
{
	struct error err = {0};
	struct disk *d;
	int ret = disk_open(config, rig_loop, &d, &err);

	if (ret)
		print_error("%s: %s: %s\n", err.what, err.why, err.fix);
	assert_int_equal(ret, 0);
	return d;
}

struct waited {
	struct block_request r;
	int error;
	bool done;
};

static void request_done(struct block_request *r, int error)
{
	struct waited *w = (struct waited *)r;

	w->error = error;
	w->done = true;
	loop_stop(rig_loop);
}

int rig_request(struct disk *d, enum block_op op, unsigned flags, uint64_t offset, void *memory, uint64_t bytes)
{
	struct iovec iov[2] = {{memory, bytes / 2}, {(char *)memory + bytes / 2, bytes - bytes / 2}};
	struct waited w = {.r = {.op = op, .flags = flags, .offset = offset, .bytes = bytes, .iov = iov, .iovs = 2, .done = request_done}};

	disk_submit(d, &w.r);
	assert_false(w.done);
	while (!w.done)
		assert_int_equal(loop_run(rig_loop), 0);
	return w.error;
}

int rig_read(struct disk *d, uint64_t offset, void *to, uint64_t bytes)
{
	return rig_request(d, BLOCK_READ, 0, offset, to, bytes);
}

int rig_write(struct disk *d, uint64_t offset, const void *from, uint64_t bytes)
{
	return rig_request(d, BLOCK_WRITE, 0, offset, (void *)(uintptr_t)from, bytes);
}

int rig_flush(struct disk *d)
{
	return rig_request(d, BLOCK_FLUSH, 0, 0, NULL, 0);
}

void rig_assert_filled(struct disk *d, uint64_t offset, uint64_t bytes, int fill)
{
	unsigned char *memory = malloc(bytes);

	assert_int_equal(rig_read(d, offset, memory, bytes), 0);
	for (uint64_t i = 0; i < bytes; i++)
		if (memory[i] != fill)
			fail_msg("offset %llu: %02x, not %02x", (unsigned long long)(offset + i), memory[i], fill);
	free(memory);
}

/* --- faults --- */

static size_t shortened(size_t bytes)
{
	return rig_faults.shorten && rig_faults.shorten < bytes ? rig_faults.shorten : bytes;
}

static ssize_t faulty_preadv(int fd, const struct iovec *iov, int iovs, off_t offset)
{
	struct iovec part[64];
	size_t got;
	unsigned n;

	if (rig_faults.read_error) {
		errno = rig_faults.read_error;
		return -1;
	}
	n = iov_slice(iov, (unsigned)iovs, 0, shortened(iov_bytes(iov, (unsigned)iovs)), part, 64, &got);
	return preadv(fd, part, (int)n, offset);
}

static ssize_t faulty_pwritev2(int fd, const struct iovec *iov, int iovs, off_t offset, int flags)
{
	size_t bytes = iov_bytes(iov, (unsigned)iovs), got;
	struct iovec part[64];
	unsigned n;

	rig_writes++;
	if (rig_faults.full_at && (uint64_t)offset >= rig_faults.full_at)
		errno = ENOSPC;
	else
		errno = rig_faults.write_error;
	if (errno)
		return -1;
	/* A file system that gets full writes what fits, and fails the next time. */
	if (rig_faults.full_at && (uint64_t)offset + bytes > rig_faults.full_at)
		bytes = rig_faults.full_at - (uint64_t)offset;
	n = iov_slice(iov, (unsigned)iovs, 0, shortened(bytes), part, 64, &got);
	return pwritev2(fd, part, (int)n, offset, flags);
}

static int faulty_fdatasync(int fd)
{
	rig_syncs++;
	errno = rig_faults.sync_error;
	return errno ? -1 : fdatasync(fd);
}

static int faulty_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
	errno = rig_faults.allocate_error;
	return errno ? -1 : fallocate(fd, mode, offset, bytes);
}

static ssize_t faulty_uring(int fd, bool write, off_t offset, size_t bytes)
{
	if (!write)
		return rig_faults.read_error ? -rig_faults.read_error : (ssize_t)shortened(bytes);
	rig_writes++;
	if (rig_faults.full_at && (uint64_t)offset >= rig_faults.full_at)
		return -ENOSPC;
	if (rig_faults.write_error)
		return -rig_faults.write_error;
	if (rig_faults.full_at && (uint64_t)offset + bytes > rig_faults.full_at)
		bytes = rig_faults.full_at - (uint64_t)offset;
	return (ssize_t)shortened(bytes);
}

static const struct file_calls faulty_calls = {
	.preadv = faulty_preadv,
	.pwritev2 = faulty_pwritev2,
	.fdatasync = faulty_fdatasync,
	.fallocate = faulty_fallocate,
	.ftruncate = ftruncate,
	.uring = faulty_uring,
};

void rig_set_faults(const struct rig_faults *faults)
{
	rig_faults = *faults;
	rig_syncs = rig_writes = 0;
	file_calls = &faulty_calls;
}
