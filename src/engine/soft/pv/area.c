// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Areas of guest memory that the guest has named in an MSR. Each use finds the memory anew and follows mem.h's rules
 * of a store by an engine: the frame is made private, marked dirty, and looked at for code afterwards.
 */
#include "engine/soft/mmu/walk.h"
#include "engine/soft/pv/pv.h"

#include <errno.h>

bool pv_area_writable(struct cpu *c, uint64_t gpa, unsigned size)
{
	for (uint64_t at = gpa, end = gpa + size; at < end; at = (at | (FRAME_SIZE - 1)) + 1) {
		const struct ram_slot *s = ram_find_slot(c->vm->ram, at);

		if (!s || s->readonly)
			return false;
	}
	return gpa + size > gpa;
}

void *pv_area(struct cpu *c, uint64_t gpa, unsigned size)
{
	const struct ram_slot *slot;
	uint64_t frame;

	if ((gpa & (FRAME_SIZE - 1)) + size > FRAME_SIZE)
		return NULL;
	slot = mmu_slot(c, gpa, &frame);
	if (!slot || slot->readonly || ram_make_writable(c->vm->ram, frame))
		return NULL;
	if (!(atomic_load_explicit(&c->frame[frame], memory_order_relaxed) & FRAME_DIRTY))
		atomic_fetch_or(&c->frame[frame], FRAME_DIRTY);
	return c->ram_host + (frame << FRAME_SHIFT) + (gpa & (FRAME_SIZE - 1));
}

void pv_area_stored(struct cpu *c, const void *host, unsigned size)
{
	mmu_after_store(c, host, size);
}

int pv_area_read(struct cpu *c, uint64_t gpa, void *buf, unsigned size)
{
	return ram_read(c->vm->ram, gpa, buf, size);
}

int pv_area_write(struct cpu *c, uint64_t gpa, const void *buf, unsigned size)
{
	int r = pv_area_writable(c, gpa, size) ? ram_write(c->vm->ram, gpa, buf, size) : -EFAULT;

	if (!r)
		c->brk = 1; /* the block under way may be of that frame */
	return r;
}
