// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Giving memory back to the host: holes in the memfd.
 *
 * Invariant: a frame that was discarded is PRESENT, so that nobody finds the base's content in it, and reads as zeroes. For
 * everybody else a discard is a store of zeroes: it sets FRAME_DIRTY and makes code stale.
 */
#include "mem/mem.h"

#include <errno.h>
#include <fcntl.h>

int ram_discard(struct ram *ram, uint64_t gpa, uint64_t len)
{
	uint64_t first = (gpa + FRAME_SIZE - 1) & ~(uint64_t)(FRAME_SIZE - 1);
	uint64_t end = (gpa + len) & ~(uint64_t)(FRAME_SIZE - 1);
	int ret = 0;

	if (gpa + len < gpa || first < gpa)
		return -EFAULT;
	while (first < end && !ret) {
		const struct ram_slot *s = ram_find_slot(ram, first);
		uint64_t offset, part;

		if (!s)
			return -EFAULT;
		offset = s->offset + (first - s->gpa);
		part = s->size - (first - s->gpa) < end - first ? s->size - (first - s->gpa) : end - first;
		for (uint64_t at = offset; at < offset + part && at >> FRAME_SHIFT < ram->base_frames && !ret; at += FRAME_SIZE)
			ret = ram_make_writable(ram, at >> FRAME_SHIFT);
		if (!ret && fallocate(ram->fds.ram, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)part))
			ret = -errno;
		ram_write_end(ram, first, part);
		first += part;
	}
	return ret;
}
