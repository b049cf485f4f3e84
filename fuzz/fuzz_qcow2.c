// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target: any bytes as a qcow2 image: opened, read, checked, and, if it can be, written to.
 *
 * The first bytes say where; what is behind them is the file. Nothing may crash, go on for ever, or take much memory, whatever the
 * tables say: the file is small, and so must be the work.
 */
#include "block/qcow2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { PLACES = 4, HEAD = PLACES * 4, MEMORY = 65536 };

static int no_sync(int fd)
{
	return 0;
}

static void use(struct image *img, const uint8_t *places, bool write)
{
	static uint8_t memory[MEMORY];

	for (int i = 0; i < PLACES; i++) {
		struct iovec iov = {memory, MEMORY};
		uint32_t place;
		uint64_t offset;

		memcpy(&place, places + i * 4, 4);
		if (img->bytes < MEMORY)
			return;
		/* Small disks are covered, and large ones up to their end. */
		offset = (place & 1 ? img->bytes - MEMORY - (uint64_t)place % (img->bytes - MEMORY + 1) : place % (img->bytes - MEMORY + 1)) &
			 ~511ull;
		image_read(img, offset, &iov, 1);
		if (!write)
			continue;
		if (place & 2)
			image_write(img, offset, &iov, 1);
		else if (place & 4)
			image_zero(img, offset, MEMORY, place & 8);
		else
			image_discard(img, offset, MEMORY);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct file_calls calls;
	struct image_options o = {.format = "qcow2", .no_lock = true, .no_backing = true};
	struct qcow2_check check = {0};
	struct image *img;
	struct error err;
	char path[64];
	int fd;

	if (len < HEAD || len > 1 << 20)
		return 0;
	calls = file_calls_host;
	calls.fdatasync = no_sync;
	file_calls = &calls;
	fd = memfd_create("image", MFD_CLOEXEC);
	if (fd < 0 || write(fd, bytes + HEAD, len - HEAD) != (ssize_t)(len - HEAD))
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	o.path = path;
	for (int writing = 0; writing < 2; writing++) {
		o.readonly = !writing;
		o.repair = bytes[0] & 1;
		if (image_open(&o, &img, &err)) {
			if (!*err.what || !*err.why || !*err.fix)
				abort();
			continue;
		}
		use(img, bytes, writing);
		if (!writing || bytes[1] & 1)
			qcow2_check(img, &check);
		if (writing && bytes[2] & 1)
			qcow2_snapshot_create(img, "fuzz", &err);
		if (writing && bytes[2] & 2 && qcow2_of(img)->snapshot_count)
			qcow2_snapshot_delete(img, qcow2_of(img)->snapshots[0].name, &err);
		if (writing && bytes[2] & 4)
			qcow2_resize(img, img->bytes / 1024 * 1536 + 512, &err);
		image_close(img);
	}
	close(fd);
	return 0;
}
