// SPDX-License-Identifier: GPL-2.0-or-later
/* A checker for cpio archives, fed piece by piece. Start with a zeroed struct. */
#ifndef SUBRING_MACHINE_BOOT_CPIO_H
#define SUBRING_MACHINE_BOOT_CPIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CPIO_HEADER = 110 };
enum cpio_state { CPIO_BETWEEN, CPIO_IN_HEADER, CPIO_NAME, CPIO_FILE };

struct cpio_check {
	enum cpio_state state;
	uint64_t offset;   /* bytes that went in: archives begin at multiples of 4 */
	unsigned archives; /* complete ones */
	unsigned have;	   /* bytes of header or name */
	uint8_t header[CPIO_HEADER], name[16];
	uint64_t skip, file;
	bool last; /* this file is the trailer */
};

/*
 * Takes bytes; @used says how many. 0: all are fine so far; 1: between archives, and what follows
 * is neither a zero nor a header; -EBADMSG: damaged.
 */
int cpio_check(struct cpio_check *c, const uint8_t *bytes, size_t len, size_t *used);
/* Whether the input may end here. */
bool cpio_complete(const struct cpio_check *c);

#endif
