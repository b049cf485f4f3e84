// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest memory: making it, mapping it in another process, and its slots.
 *
 * The frames memfd holds one byte a frame, and from the next page boundary (ram_code_gen_offset)
 * one uint32_t a frame; both sides compute the layout from the size of RAM alone. Both memfds are
 * sealed against a change of size, so that neither side can make the other's accesses end in
 * SIGBUS by shrinking a file.
 *
 * Without a base no frame's byte is touched at the start: FRAME_PRESENT counts only for frames
 * below ram->base_frames (frame.c). FRAME_COW and FRAME_SNAPSHOT are reserved for snapshots;
 * nothing sets them yet.
 *
 * The base is mapped, not read: it must not be changed or cut while the VM lives.
 */
#include "mem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* --- sizes --- */

static uint64_t page_up(uint64_t n)
{
	return (n + FRAME_SIZE - 1) & ~(uint64_t)(FRAME_SIZE - 1);
}

static bool size_ok(uint64_t size)
{
	/* The bound keeps every sum of offsets below within int64_t, which is off_t. */
	return size > 0 && size % FRAME_SIZE == 0 && size <= INT64_MAX / 4;
}

uint64_t ram_code_gen_offset(uint64_t size)
{
	return page_up(size >> FRAME_SHIFT);
}

uint64_t ram_frames_size(uint64_t size)
{
	return ram_code_gen_offset(size) + page_up((size >> FRAME_SHIFT) * sizeof(uint32_t));
}

enum { SIZE_TEXT = 32 };

/* "1.5 GiB": rounded down, for fix lines that name what may be asked for. */
static const char *size_text(char buf[SIZE_TEXT], uint64_t bytes)
{
	static const char unit[][4] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned u = 0;
	uint64_t tenths;

	while (u + 1 < sizeof(unit) / sizeof(unit[0]) && bytes >> (10 * (u + 2)))
		u++;
	tenths = ((bytes >> (10 * u)) * 10) >> 10;
	if (tenths % 10)
		snprintf(buf, SIZE_TEXT, "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10, unit[u]);
	else
		snprintf(buf, SIZE_TEXT, "%" PRIu64 " %s", tenths / 10, unit[u]);
	return buf;
}

/* --- what the host has --- */

/* The number that @path begins with; @none when there is no such file or number. */
static uint64_t read_number(const char *path, uint64_t none)
{
	FILE *f = fopen(path, "re");
	uint64_t n;

	if (!f)
		return none;
	if (fscanf(f, "%" SCNu64, &n) != 1)
		n = none;
	fclose(f);
	return n;
}

static uint64_t meminfo_available(uint64_t none)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	uint64_t kib = 0;
	bool found = false;

	if (!f)
		return none;
	while (!found && fgets(line, sizeof(line), f))
		found = sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1;
	fclose(f);
	return found ? kib << 10 : none;
}

uint64_t ram_host_memory(uint64_t *available)
{
	/* As a container sees its own limit: cgroup v2, then v1. "max" is no number. */
	static const struct {
		const char *limit, *used;
	} cgroup[] = {
		{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
		{"/sys/fs/cgroup/memory/memory.limit_in_bytes",
		 "/sys/fs/cgroup/memory/memory.usage_in_bytes"},
	};
	struct sysinfo info = {0};
	uint64_t total, avail;

	sysinfo(&info);
	total = (uint64_t)info.totalram * info.mem_unit;
	avail = meminfo_available((uint64_t)info.freeram * info.mem_unit);
	for (size_t i = 0; i < sizeof(cgroup) / sizeof(cgroup[0]); i++) {
		uint64_t limit = read_number(cgroup[i].limit, UINT64_MAX);
		uint64_t used = read_number(cgroup[i].used, 0);
		uint64_t rest = limit > used ? limit - used : 0;

		if (limit < total)
			total = limit;
		if (limit != UINT64_MAX && rest < avail)
			avail = rest;
	}
	if (avail > total)
		avail = total;
	if (available)
		*available = avail;
	return total;
}

/* Refuses what the host can never give; fills @err. */
static int check_host(uint64_t size, struct error *err)
{
	char want[SIZE_TEXT], have[SIZE_TEXT], avail_text[SIZE_TEXT];
	uint64_t avail, total = ram_host_memory(&avail);
	struct rlimit lim;

	size_text(want, size);
	if (total && size > total)
		return error_set(err, -ENOMEM, STATUS_HOST, "cannot give the guest %s of memory",
				 "this host has %s of memory, of which %s are available",
				 "ask for less with --mem, at most %s for now", want, size_text(have, total),
				 size_text(avail_text, avail), avail_text);
	/* Growing a file past this limit raises SIGXFSZ, so ask first. */
	if (getrlimit(RLIMIT_FSIZE, &lim) == 0 && lim.rlim_cur != RLIM_INFINITY &&
	    (size > lim.rlim_cur || ram_frames_size(size) > lim.rlim_cur))
		return error_set(
			err, -EFBIG, STATUS_HOST, "cannot give the guest %s of memory",
			"the limit on the size of files (ulimit -f) is %s, and guest memory is a file",
			"raise it with 'ulimit -f unlimited', or ask for less with --mem", want,
			size_text(have, lim.rlim_cur));
	return 0;
}

/* Words for a failure of the host's to make or map memory. */
static int host_error(struct error *err, int errnum, uint64_t size, const char *doing)
{
	char want[SIZE_TEXT], have[SIZE_TEXT];
	struct rlimit lim;

	size_text(want, size);
	if (errnum == ENOMEM && getrlimit(RLIMIT_AS, &lim) == 0 && lim.rlim_cur != RLIM_INFINITY)
		return error_set(err, -errnum, STATUS_HOST, "cannot give the guest %s of memory",
				 "the limit on this process's address space (ulimit -v) is %s",
				 "raise it with 'ulimit -v unlimited', or ask for less with --mem", want,
				 size_text(have, lim.rlim_cur));
	return error_set(err, -errnum, STATUS_HOST, "cannot give the guest %s of memory", "%s: %s", "%s",
			 want, doing, strerror(errnum),
			 errnum == EMFILE || errnum == ENFILE
				 ? "raise the limit on open files (ulimit -n)"
				 : "free memory on this host, or ask for less with --mem");
}

/* --- making and mapping --- */

static int make_memfd(const char *name, uint64_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	int e;

	/* Kernels before 6.3 do not know MFD_NOEXEC_SEAL. */
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	e = errno;
	close(fd);
	return -e;
}

/* Maps what ram->fds name. 0 or -errno; on failure ram_destroy cleans up. */
static int map_all(struct ram *ram, uint64_t base_size)
{
	uint64_t code_gen = ram_code_gen_offset(ram->size);
	void *p;

	p = mmap(NULL, ram->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, ram->fds.ram, 0);
	if (p == MAP_FAILED)
		return -errno;
	ram->host = p;
	/* Guest memory in a core dump would be large, and is the guest's own business. */
	madvise(p, ram->size, MADV_DONTDUMP);

	p = mmap(NULL, ram_frames_size(ram->size), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
		 ram->fds.frames, 0);
	if (p == MAP_FAILED)
		return -errno;
	ram->frame = p;
	ram->code_gen = (_Atomic uint32_t *)((uint8_t *)p + code_gen);

	if (ram->fds.base >= 0) {
		p = mmap(NULL, base_size, PROT_READ, MAP_SHARED | MAP_NORESERVE, ram->fds.base, 0);
		if (p == MAP_FAILED)
			return -errno;
		ram->base = p;
		ram->base_frames = page_up(base_size) >> FRAME_SHIFT;
	}
	return 0;
}

static struct ram *new_ram(uint64_t size)
{
	struct ram *ram = calloc(1, sizeof(*ram));

	if (ram) {
		ram->size = size;
		ram->fds = (struct ram_fds){-1, -1, -1};
	}
	return ram;
}

/* Opens the base file; its size in @base_size. An empty file is no base: -1 in @fd. */
static int open_base(const char *path, uint64_t size, int *out, uint64_t *base_size, struct error *err)
{
	char have[SIZE_TEXT], want[SIZE_TEXT];
	struct stat st;
	int e, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) < 0) {
		e = errno;
		error_set(err, -e, STATUS_INPUT, "cannot use '%s' as the base of guest memory", "%s",
			  "name a file that can be read", path, strerror(e));
		goto fail;
	}
	if (!S_ISREG(st.st_mode)) {
		e = EINVAL;
		error_set(err, -e, STATUS_INPUT, "cannot use '%s' as the base of guest memory",
			  "it is no regular file", "name a file that holds an image of guest memory", path);
		goto fail;
	}
	if ((uint64_t)st.st_size > size) {
		e = EINVAL;
		error_set(err, -e, STATUS_INPUT, "cannot use '%s' as the base of guest memory",
			  "it is %s long, the guest has %s of memory", "give the guest more with --mem", path,
			  size_text(have, (uint64_t)st.st_size), size_text(want, size));
		goto fail;
	}
	*base_size = (uint64_t)st.st_size;
	if (*base_size == 0) {
		close(fd);
		fd = -1;
	}
	*out = fd;
	return 0;

fail:
	if (fd >= 0)
		close(fd);
	return -e;
}

int ram_create(uint64_t size, const char *base_path, struct ram **out, struct error *err)
{
	uint64_t base_size = 0;
	struct ram *ram;
	int ret;

	if (!size_ok(size))
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot give the guest %llu bytes of memory",
				 "it is not a size that guest memory can have",
				 "ask for a multiple of 4 KiB with --mem", (unsigned long long)size);
	ret = check_host(size, err);
	if (ret)
		return ret;
	ram = new_ram(size);
	if (!ram)
		return host_error(err, ENOMEM, size, "memory for the monitor itself");
	ram->owner = true;
	if (base_path) {
		ret = open_base(base_path, size, &ram->fds.base, &base_size, err);
		if (ret)
			goto fail;
	}
	ret = make_memfd("subring-ram", size);
	if (ret < 0) {
		host_error(err, -ret, size, "making a memory file");
		goto fail;
	}
	ram->fds.ram = ret;
	ret = make_memfd("subring-frames", ram_frames_size(size));
	if (ret < 0) {
		host_error(err, -ret, size, "making a memory file");
		goto fail;
	}
	ram->fds.frames = ret;
	ret = map_all(ram, base_size);
	if (ret) {
		host_error(err, -ret, size, "mapping it");
		goto fail;
	}
	*out = ram;
	return 0;

fail:
	ram_destroy(ram);
	return ret;
}

/* A copy of @fd that the struct ram owns, after a look at the file's size: at least @size bytes. */
static int copy_fd(int fd, uint64_t size, uint64_t *file_size)
{
	struct stat st;
	int copy;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size < size)
		return -EINVAL;
	if (file_size)
		*file_size = (uint64_t)st.st_size;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return copy < 0 ? -errno : copy;
}

int ram_attach(const struct ram_fds *fds, uint64_t size, struct ram **out)
{
	uint64_t base_size = 0;
	struct ram *ram;
	int ret;

	if (!size_ok(size))
		return -EINVAL;
	ram = new_ram(size);
	if (!ram)
		return -ENOMEM;
	ret = ram->fds.ram = copy_fd(fds->ram, size, NULL);
	if (ret < 0)
		goto fail;
	ret = ram->fds.frames = copy_fd(fds->frames, ram_frames_size(size), NULL);
	if (ret < 0)
		goto fail;
	if (fds->base >= 0) {
		ret = ram->fds.base = copy_fd(fds->base, 1, &base_size);
		if (ret < 0)
			goto fail;
		if (base_size > size) {
			ret = -EINVAL;
			goto fail;
		}
	}
	ret = map_all(ram, base_size);
	if (ret)
		goto fail;
	*out = ram;
	return 0;

fail:
	ram_destroy(ram);
	return ret;
}

void ram_destroy(struct ram *ram)
{
	if (!ram)
		return;
	if (ram->host)
		munmap(ram->host, ram->size);
	if (ram->frame)
		munmap((void *)ram->frame, ram_frames_size(ram->size));
	if (ram->base)
		munmap((void *)ram->base, ram->base_frames << FRAME_SHIFT);
	if (ram->fds.ram >= 0)
		close(ram->fds.ram);
	if (ram->fds.frames >= 0)
		close(ram->fds.frames);
	if (ram->fds.base >= 0)
		close(ram->fds.base);
	free(ram);
}

/* --- slots --- */

int ram_set_slot(struct ram *ram, unsigned index, const struct ram_slot *slot)
{
	if (index >= RAM_SLOTS_MAX)
		return -EINVAL;
	if (slot->size == 0) {
		ram->slot[index] = (struct ram_slot){0};
		return 0;
	}
	if (slot->gpa % FRAME_SIZE || slot->size % FRAME_SIZE || slot->offset % FRAME_SIZE)
		return -EINVAL;
	if (slot->offset > ram->size || slot->size > ram->size - slot->offset ||
	    slot->gpa + slot->size < slot->gpa)
		return -EINVAL;
	/* Two slots may show the same RAM (a ROM and its shadow), but no address may be in two. */
	for (unsigned i = 0; i < RAM_SLOTS_MAX; i++) {
		const struct ram_slot *s = &ram->slot[i];

		if (i != index && s->size && slot->gpa < s->gpa + s->size && s->gpa < slot->gpa + slot->size)
			return -EINVAL;
	}
	ram->slot[index] = *slot;
	return 0;
}

const struct ram_slot *ram_find_slot(const struct ram *ram, uint64_t gpa)
{
	for (unsigned i = 0; i < RAM_SLOTS_MAX; i++)
		if (gpa - ram->slot[i].gpa < ram->slot[i].size)
			return &ram->slot[i];
	return NULL;
}
