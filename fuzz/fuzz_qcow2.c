// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target: hostile qcow2 images: opened, read, checked, and, if they can be, written to, resized, with snapshots taken and deleted.
 *
 * The first bytes say what is done, and where. What is behind them is the file, or, with the top bit of the first byte clear, patches to a sound
 * image with data, a snapshot and compressed clusters: offset (2 bytes), length less 1 (1 byte), bytes. Nothing may crash, go on for ever,
 * or take much memory, whatever the tables say: the file is small, and so must be the work.
 */
#include "block/qcow2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { PLACES = 4, HEAD = PLACES * 4, MEMORY = 65536, SOUND = 65536 };

static uint8_t sound[SOUND];
static size_t sound_bytes;

static int no_sync(int fd)
{
	return 0;
}

static int open_image(int fd, bool readonly, bool repair, struct image **img, struct error *err)
{
	struct image_options o = {.format = "qcow2", .readonly = readonly, .repair = repair, .no_lock = true, .no_backing = true};
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	o.path = path;
	return image_open(&o, img, err);
}

static void make_sound(void)
{
	struct qcow2_create create = {.bytes = 256 * 1024, .cluster_bits = 9};
	int fd = memfd_create("sound", MFD_CLOEXEC);
	static uint8_t memory[8192];
	struct iovec iov = {memory, sizeof(memory)};
	struct image *img;
	struct error err;
	struct stat st;

	memset(memory, 'x', sizeof(memory));
	if (fd < 0 || qcow2_create(fd, "sound", &create, &err) || open_image(fd, false, false, &img, &err) ||
	    image_write(img, 4096, &iov, 1) || qcow2_write_compressed(img, 16384, memory) || qcow2_write_compressed(img, 65536, memory) ||
	    qcow2_snapshot_create(img, "sound", &err) || image_write(img, 8192, &iov, 1) || image_zero(img, 40960, 4096, false))
		abort();
	image_close(img);
	if (fstat(fd, &st) < 0 || st.st_size > SOUND || pread(fd, sound, SOUND, 0) != st.st_size)
		abort();
	sound_bytes = (size_t)st.st_size;
	close(fd);
}

static void patch(uint8_t *to, const uint8_t *from, size_t len)
{
	while (len > 3) {
		size_t at = from[0] | (size_t)from[1] << 8, n = (size_t)from[2] + 1;

		n = n < len - 3 ? n : len - 3;
		for (size_t i = 0; i < n; i++)
			to[(at + i) % sound_bytes] = from[3 + i];
		from += 3 + n;
		len -= 3 + n;
	}
}

static int make_file(const uint8_t *bytes, size_t len)
{
	static uint8_t memory[SOUND];
	const uint8_t *from = bytes + HEAD;
	int fd = memfd_create("image", MFD_CLOEXEC);

	len -= HEAD;
	if (!(bytes[0] & 0x80)) {
		memcpy(memory, sound, sound_bytes);
		patch(memory, from, len);
		from = memory;
		len = sound_bytes;
	}
	if (fd < 0 || write(fd, from, len) != (ssize_t)len)
		abort();
	return fd;
}

static void use(struct image *img, const uint8_t *places, bool write)
{
	static uint8_t memory[MEMORY];

	for (int i = 0; i < PLACES; i++) {
		struct iovec iov = {memory, MEMORY};
		uint64_t offset, room = img->bytes - MEMORY;
		uint32_t place;

		memcpy(&place, places + i * 4, 4);
		if (img->bytes < MEMORY)
			return;
		/* Small disks are covered, and large ones near both ends. */
		offset = (place & 0x10 ? room - place % (room + 1) : place % (room + 1)) & ~511ull;
		image_read(img, offset, &iov, 1);
		if (!write)
			continue;
		if (place & 0x20)
			image_write(img, offset, &iov, 1);
		else if (place & 0x40)
			image_zero(img, offset, MEMORY, place & 0x100);
		else
			image_discard(img, offset, MEMORY);
	}
}

static void change(struct image *img, const uint8_t *bytes)
{
	struct qcow2 *q = qcow2_of(img);
	struct error err;

	if (bytes[2] & 1)
		qcow2_snapshot_create(img, "fuzz", &err);
	if (bytes[2] & 2 && q->snapshot_count)
		qcow2_snapshot_apply(img, q->snapshots[0].name, &err);
	if (bytes[2] & 4 && q->snapshot_count)
		qcow2_snapshot_delete(img, q->snapshots[0].name, &err);
	if (bytes[2] & 8)
		qcow2_resize(img, (img->bytes / 1024 * 1536 + 512) & ~511ull, &err);
	if (bytes[2] & 16)
		qcow2_resize(img, img->bytes / 2 & ~511ull, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct file_calls calls;
	struct error err = {0};
	int fd;

	if (!calls.fdatasync) {
		calls = file_calls_host;
		calls.fdatasync = no_sync;
		file_calls = &calls;
		make_sound();
	}
	if (len < HEAD || len > 1 << 20)
		return 0;
	fd = make_file(bytes, len);
	for (int writing = 0; writing < 2; writing++) {
		struct qcow2_check check = {.may_repair = writing && bytes[1] & 2};
		struct image *img;

		if (open_image(fd, !writing, bytes[0] & 1, &img, &err)) {
			if (!*err.what || !*err.why || !*err.fix)
				abort();
			continue;
		}
		use(img, bytes, writing);
		if (!writing || bytes[1] & 1)
			qcow2_check(img, &check);
		if (writing)
			change(img, bytes);
		image_close(img);
	}
	close(fd);
	return 0;
}
