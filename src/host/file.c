// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whole transfers: short ones go on where they ended (read(2), write(2): any number of bytes may come), EINTR begins anew.
 *
 * Invariant: no more than IOV_BATCH iovecs are given to the host at a time (its own limit is IOV_MAX, 1024).
 */
#include "host/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>

enum { IOV_BATCH = 64 };

const struct file_calls file_calls_host = {
	.preadv = preadv,
	.pwritev2 = pwritev2,
	.fdatasync = fdatasync,
	.fallocate = fallocate,
	.ftruncate = ftruncate,
};

const struct file_calls *file_calls = &file_calls_host;

int file_readv(int fd, uint64_t offset, const struct iovec *iov, unsigned iovs)
{
	size_t bytes = iov_bytes(iov, iovs), at = 0;

	while (at < bytes) {
		struct iovec batch[IOV_BATCH];
		size_t got;
		unsigned n = iov_slice(iov, iovs, at, bytes - at, batch, IOV_BATCH, &got);
		ssize_t done = file_calls->preadv(fd, batch, (int)n, (off_t)(offset + at));

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0) {
			iov_zero(iov, iovs, at, bytes - at);
			return 0;
		}
		at += (size_t)done;
	}
	return 0;
}

int file_writev(int fd, uint64_t offset, const struct iovec *iov, unsigned iovs, bool dsync)
{
	size_t bytes = iov_bytes(iov, iovs), at = 0;

	while (at < bytes) {
		struct iovec batch[IOV_BATCH];
		size_t got;
		unsigned n = iov_slice(iov, iovs, at, bytes - at, batch, IOV_BATCH, &got);
		ssize_t done = file_calls->pwritev2(fd, batch, (int)n, (off_t)(offset + at), dsync ? RWF_DSYNC : 0);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		/* The end of a block device. */
		if (done == 0)
			return -ENOSPC;
		at += (size_t)done;
	}
	return 0;
}

int file_read(int fd, uint64_t offset, void *to, size_t bytes)
{
	struct iovec iov = {to, bytes};

	return file_readv(fd, offset, &iov, 1);
}

int file_write(int fd, uint64_t offset, const void *from, size_t bytes)
{
	struct iovec iov = {(void *)(uintptr_t)from, bytes};

	return file_writev(fd, offset, &iov, 1, false);
}

int file_sync(int fd)
{
	return file_calls->fdatasync(fd) < 0 ? -errno : 0;
}

int file_resize(int fd, uint64_t bytes)
{
	return file_calls->ftruncate(fd, (off_t)bytes) < 0 ? -errno : 0;
}

static int allocate(int fd, int mode, uint64_t offset, uint64_t bytes)
{
	int ret;

	do
		ret = file_calls->fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

int file_punch(int fd, uint64_t offset, uint64_t bytes)
{
	return bytes ? allocate(fd, FALLOC_FL_PUNCH_HOLE, offset, bytes) : 0;
}

static int write_zeroes(int fd, uint64_t offset, uint64_t bytes)
{
	static const char zeroes[65536];

	while (bytes) {
		size_t n = bytes < sizeof(zeroes) ? (size_t)bytes : sizeof(zeroes);
		int ret = file_write(fd, offset, zeroes, n);

		if (ret)
			return ret;
		offset += n;
		bytes -= n;
	}
	return 0;
}

int file_zero(int fd, uint64_t offset, uint64_t bytes, bool keep_space)
{
	int ret;

	if (!bytes)
		return 0;
	ret = allocate(fd, keep_space ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE, offset, bytes);
	/* Not every file system has either. */
	return ret == -EOPNOTSUPP || ret == -ENOSYS || ret == -EINVAL || ret == -ENODEV ? write_zeroes(fd, offset, bytes) : ret;
}

/* --- iovecs --- */

size_t iov_bytes(const struct iovec *iov, unsigned iovs)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < iovs; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

unsigned iov_slice(const struct iovec *iov, unsigned iovs, size_t skip, size_t bytes, struct iovec *out, unsigned max,
		   size_t *got)
{
	unsigned n = 0;

	*got = 0;
	for (unsigned i = 0; i < iovs && n < max && *got < bytes; i++) {
		size_t len = iov[i].iov_len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		len -= skip;
		if (len > bytes - *got)
			len = bytes - *got;
		out[n++] = (struct iovec){(char *)iov[i].iov_base + skip, len};
		*got += len;
		skip = 0;
	}
	return n;
}

enum copy { COPY_ZERO, COPY_PUT, COPY_GET };

static void copy(const struct iovec *iov, unsigned iovs, size_t skip, void *memory, size_t bytes, enum copy how)
{
	size_t done = 0;

	while (done < bytes) {
		struct iovec at;
		size_t got;

		if (!iov_slice(iov, iovs, skip + done, bytes - done, &at, 1, &got))
			return;
		if (how == COPY_ZERO)
			memset(at.iov_base, 0, got);
		else if (how == COPY_PUT)
			memcpy(at.iov_base, (char *)memory + done, got);
		else
			memcpy((char *)memory + done, at.iov_base, got);
		done += got;
	}
}

void iov_zero(const struct iovec *iov, unsigned iovs, size_t skip, size_t bytes)
{
	copy(iov, iovs, skip, NULL, bytes, COPY_ZERO);
}

void iov_put(const struct iovec *iov, unsigned iovs, size_t skip, const void *from, size_t bytes)
{
	copy(iov, iovs, skip, (void *)(uintptr_t)from, bytes, COPY_PUT);
}

void iov_get(const struct iovec *iov, unsigned iovs, size_t skip, void *to, size_t bytes)
{
	copy(iov, iovs, skip, to, bytes, COPY_GET);
}
