// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A checker for cpio archives in the "newc" format, fed piece by piece (Linux
 * Documentation/driver-api/early-userspace/buffer-format.rst): is each header one, does each file
 * end before the input, does the archive end with its trailer? Several archives may follow each
 * other, with zeros between them.
 *
 * Nothing is kept but a header and the beginning of a name.
 */
#include "machine/boot/cpio.h"

#include <errno.h>
#include <string.h>

enum { AT_FILESIZE = 6 + 6 * 8, AT_NAMESIZE = 6 + 11 * 8, FIELDS = 13, NAME_MAX_BYTES = 4096 };

static const char trailer[] = "TRAILER!!!";

static uint64_t align4(uint64_t v)
{
	return (v + 3) & ~3ull;
}

/* 8 hexadecimal digits, or -1. */
static int64_t hex_field(const uint8_t *digits)
{
	int64_t v = 0;

	for (unsigned i = 0; i < 8; i++) {
		unsigned c = digits[i], d;

		if (c >= '0' && c <= '9')
			d = c - '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			d = (c | 0x20) - 'a' + 10;
		else
			return -1;
		v = v << 4 | d;
	}
	return v;
}

static int header_done(struct cpio_check *c)
{
	int64_t filesize, namesize;

	if (memcmp(c->header, "070701", 6) != 0 && memcmp(c->header, "070702", 6) != 0)
		return -EBADMSG;
	for (unsigned i = 0; i < FIELDS; i++)
		if (hex_field(c->header + 6 + i * 8) < 0)
			return -EBADMSG;
	filesize = hex_field(c->header + AT_FILESIZE);
	namesize = hex_field(c->header + AT_NAMESIZE);
	if (namesize < 1 || namesize > NAME_MAX_BYTES)
		return -EBADMSG;
	c->have = 0;
	c->skip = align4(CPIO_HEADER + (uint64_t)namesize) - CPIO_HEADER;
	c->file = align4((uint64_t)filesize);
	c->state = CPIO_NAME;
	return 0;
}

static void name_done(struct cpio_check *c)
{
	c->last = c->have >= sizeof(trailer) && memcmp(c->name, trailer, sizeof(trailer)) == 0;
	c->have = 0;
	c->skip = c->file;
	c->state = CPIO_FILE;
}

static void file_done(struct cpio_check *c)
{
	c->state = c->last ? CPIO_BETWEEN : CPIO_IN_HEADER;
	c->archives += c->last;
}

/* Takes up to @len bytes in the present state; returns how many. */
static size_t step(struct cpio_check *c, const uint8_t *bytes, size_t len, int *ret)
{
	size_t n = len;

	switch (c->state) {
	case CPIO_BETWEEN:
		for (n = 0; n < len && bytes[n] == 0; n++)
			;
		if (n == 0 && bytes[0] == '0' && c->offset % 4 == 0)
			c->state = CPIO_IN_HEADER;
		else if (n == 0)
			*ret = 1;
		break;
	case CPIO_IN_HEADER:
		if (n > CPIO_HEADER - c->have)
			n = CPIO_HEADER - c->have;
		memcpy(c->header + c->have, bytes, n);
		c->have += (unsigned)n;
		if (c->have == CPIO_HEADER)
			*ret = header_done(c);
		break;
	default:
		if (n > c->skip)
			n = (size_t)c->skip;
		for (size_t i = 0; c->state == CPIO_NAME && i < n && c->have < sizeof(c->name); i++)
			c->name[c->have++] = bytes[i];
		c->skip -= n;
		break;
	}
	c->offset += n;
	return n;
}

int cpio_check(struct cpio_check *c, const uint8_t *bytes, size_t len, size_t *used)
{
	int ret = 0;

	*used = 0;
	for (;;) {
		if (c->state == CPIO_NAME && !c->skip)
			name_done(c);
		if (c->state == CPIO_FILE && !c->skip)
			file_done(c);
		if (*used == len || ret)
			return ret;
		*used += step(c, bytes + *used, len - *used, &ret);
	}
}

bool cpio_complete(const struct cpio_check *c)
{
	return c->state == CPIO_BETWEEN;
}
