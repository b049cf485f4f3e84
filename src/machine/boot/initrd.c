// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The initial RAM disk: looked over, so that a damaged one is an error here and not a panic in the
 * guest, and placed (Linux Documentation/driver-api/early-userspace/buffer-format.rst).
 *
 * What Linux takes is a sequence of cpio archives, plain or packed, with zeros between them; or the
 * image of a file system. Packed parts are unpacked once, to nowhere, to see whether they are whole.
 */
#include "machine/boot/boot.h"
#include "machine/boot/cpio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_SIZE = 2048 };

struct initrd {
	struct boot *b;
	struct boot_file file;
};

/* What comes out of a packed part. */
struct packed_check {
	struct cpio_check cpio;
	uint8_t head[HEAD_SIZE];
	size_t have;
	uint64_t len, max;
	bool foreign; /* it is no cpio archive: only head counts */
};

static const char fix_initrd[] = "name a cpio archive (newc), plain or compressed, with --initrd";
static const char fix_damaged[] = "fetch or build the initrd again";

/* @why is a printf format for the one string @detail. */
static int initrd_error(struct initrd *rd, int errnum, const char *fix, const char *why, const char *detail)
{
	return error_set(rd->b->err, errnum, STATUS_INPUT, "cannot load the initrd %s", why, fix,
			 rd->file.path, detail);
}

static int initrd_read_error(struct initrd *rd, int errnum)
{
	if (errnum == -ENOMEM)
		return error_set(rd->b->err, errnum, STATUS_HOST, "cannot load the initrd %s",
				 "the host has no memory left", "end other programs", rd->file.path);
	return initrd_error(rd, errnum, "name a file that can be read", "%s",
			    errnum == -ENODATA ? "it was cut short while it was read" : strerror(-errnum));
}

/* File systems that Linux recognises in a RAM disk (init/do_mounts_rd.c). */
static bool is_filesystem(const uint8_t *head, size_t len)
{
	static const struct {
		unsigned at, len;
		const char *magic;
	} magics[] = {
		{ 0, 8, "-rom1fs-" },	     /* romfs */
		{ 0, 4, "hsqs" },	     /* squashfs */
		{ 0, 4, "\x45\x3d\xcd\x28" }, /* cramfs */
		{ 512, 4, "\x45\x3d\xcd\x28" },
		{ 1040, 2, "\x7f\x13" }, /* minix */
		{ 1040, 2, "\x8f\x13" },
		{ 1080, 2, "\x53\xef" }, /* ext2 */
	};

	for (unsigned i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if (len >= magics[i].at + magics[i].len &&
		    memcmp(head + magics[i].at, magics[i].magic, magics[i].len) == 0)
			return true;
	return false;
}

/* --- packed parts --- */

static int packed_take(void *opaque, const uint8_t *bytes, size_t len)
{
	struct packed_check *p = opaque;
	size_t n = HEAD_SIZE - p->have < len ? HEAD_SIZE - p->have : len, used;
	int ret = 0;

	if (len > p->max - p->len)
		return -E2BIG;
	memcpy(p->head + p->have, bytes, n);
	p->have += n;
	p->len += len;
	if (!p->foreign)
		ret = cpio_check(&p->cpio, bytes, len, &used);
	/* Nothing of it was an archive: perhaps a file system. */
	if (ret == 1 && !p->cpio.archives)
		p->foreign = true;
	return p->foreign ? 0 : ret ? -EBADMSG : 0;
}

static int initrd_packed_error(struct initrd *rd, enum pack pack, int ret)
{
	const char *name = pack_name(pack);

	switch (ret) {
	case -ENODATA:
		return initrd_error(rd, ret, fix_damaged, "it is truncated: its %s stream ends too early",
				    name);
	case -EBADMSG: return initrd_error(rd, ret, fix_damaged, "its %s stream is damaged", name);
	case -E2BIG:
		return initrd_error(rd, ret, boot_fix_memory,
				    "its %s stream unpacks to more than the guest's memory", name);
	case -EOPNOTSUPP:
		return initrd_error(rd, ret, fix_initrd, "its %s stream needs options that are not supported",
				    name);
	default: return initrd_read_error(rd, ret);
	}
}

static int initrd_check_packed(struct initrd *rd, enum pack pack, struct pack_input *in)
{
	struct packed_check *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return initrd_read_error(rd, -ENOMEM);
	p->max = rd->b->ram->size;
	ret = unpack(pack, in, packed_take, p);
	if (ret)
		ret = initrd_packed_error(rd, pack, ret);
	else if (p->foreign && !is_filesystem(p->head, p->have))
		ret = initrd_error(rd, -EINVAL, fix_initrd, "what its %s stream holds is no cpio archive",
				   pack_name(pack));
	else if (!p->foreign && !cpio_complete(&p->cpio))
		ret = initrd_error(rd, -EINVAL, fix_damaged, "the cpio archive in its %s stream ends too early",
				   pack_name(pack));
	free(p);
	return ret;
}

/* --- the file --- */

/* What is neither zeros nor cpio. 1: the rest cannot be looked at. */
static int initrd_check_other(struct initrd *rd, struct pack_input *in, bool first)
{
	enum pack pack;
	int ret = pack_input_fill(in, HEAD_SIZE);

	if (ret)
		return initrd_read_error(rd, ret);
	pack = pack_detect(in->at, in->left);
	if (pack_can_unpack(pack))
		return initrd_check_packed(rd, pack, in);
	if (pack != PACK_NONE)
		return 1;
	if (first)
		return initrd_error(rd, -EINVAL, fix_initrd,
				    "it is neither a cpio archive nor a packed one%s", "");
	return initrd_error(rd, -EINVAL, fix_damaged, "what follows its first archive is none%s", "");
}

static int initrd_check_parts(struct initrd *rd, struct pack_input *in)
{
	struct cpio_check cpio = { 0 };
	bool first = true;
	size_t used;
	int ret = 0;

	for (;;) {
		ret = pack_input_fill(in, 1);
		if (ret)
			return initrd_read_error(rd, ret);
		if (!in->left)
			break;
		ret = cpio_check(&cpio, in->at, in->left, &used);
		first = first && used == 0;
		in->at += used;
		in->left -= used;
		if (ret < 0)
			return initrd_error(rd, ret, fix_damaged, "a header in its cpio archive is damaged%s",
					    "");
		if (ret == 1) {
			size_t before = in->left;
			uint64_t next = in->next;

			ret = initrd_check_other(rd, in, first);
			if (ret)
				return ret < 0 ? ret : 0;
			cpio.offset += before + (in->next - next) - in->left;
			first = false;
		}
	}
	if (!cpio_complete(&cpio))
		return initrd_error(rd, -ENODATA, fix_damaged,
				    "it is truncated: its cpio archive has no end%s", "");
	return 0;
}

static int initrd_check(struct initrd *rd)
{
	struct pack_input in;
	int ret = pack_input_open(&in, &rd->file);

	if (!ret)
		ret = pack_input_fill(&in, HEAD_SIZE);
	if (ret)
		ret = initrd_read_error(rd, ret);
	else if (in.at[0] == '0' || !is_filesystem(in.at, in.left))
		ret = initrd_check_parts(rd, &in);
	pack_input_close(&in);
	return ret;
}

static int initrd_place(struct initrd *rd, uint64_t floor, uint64_t ceiling, uint64_t *gpa)
{
	struct boot_image image = { .file = &rd->file, .size = rd->file.size };
	uint64_t room;
	int ret;

	floor = (floor + FRAME_SIZE - 1) & ~(uint64_t)(FRAME_SIZE - 1);
	room = ceiling > floor ? ceiling - floor : 0;
	if (rd->file.size > room || ((ceiling - rd->file.size) & ~(uint64_t)(FRAME_SIZE - 1)) < floor)
		return error_set(rd->b->err, -ENOMEM, STATUS_INPUT, "cannot load the initrd %s",
				 "it has %llu KiB, and the guest has memory for %llu KiB beside the kernel",
				 "%s", rd->file.path, (unsigned long long)(rd->file.size + 1023) >> 10,
				 (unsigned long long)room >> 10, boot_fix_memory);
	ret = initrd_check(rd);
	if (ret)
		return ret;
	*gpa = (ceiling - rd->file.size) & ~(uint64_t)(FRAME_SIZE - 1);
	ret = boot_image_to_ram(&image, 0, image.size, rd->b->ram, *gpa);
	return ret ? initrd_read_error(rd, ret) : 0;
}

int initrd_load(struct boot *b, uint64_t floor, uint64_t ceiling, uint64_t *gpa, uint64_t *size)
{
	struct initrd rd = { .b = b };
	int ret;

	*gpa = *size = 0;
	if (!b->config->initrd)
		return 0;
	ret = boot_file_open(&rd.file, "initrd", b->config->initrd, b->err);
	if (ret)
		return ret;
	ret = initrd_place(&rd, floor, ceiling, gpa);
	if (!ret)
		*size = rd.file.size;
	boot_file_close(&rd.file);
	return ret;
}
