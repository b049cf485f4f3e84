// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest memory under KVM: slots (KVM_SET_USER_MEMORY_REGION) and the dirty log (KVM_GET_DIRTY_LOG).
 *
 * KVM writes to the memfd by its mapping in this process and tells nobody. So
 *  - every frame that still has its content in the base file is copied before KVM may map it;
 *  - while KVM keeps no log, all frames of writable slots count as dirty; from the first dirty_log_start on
 *    KVM logs, and dirty_log_sync carries its bits over into FRAME_DIRTY.
 * FRAME_CODE is engine soft's: under this engine nobody sets it.
 *
 * Invariant: e->slot is what KVM has.
 */
#include "engine/kvm/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int tell(struct kvm_engine *e, unsigned index, const struct ram_slot *slot)
{
	struct kvm_userspace_memory_region region = {
		.slot = index,
		.guest_phys_addr = slot->gpa,
		.memory_size = slot->size,
		.userspace_addr = (uintptr_t)e->ram->host + slot->offset,
		.flags = (slot->readonly ? KVM_MEM_READONLY : 0) |
			 (e->logging && !slot->readonly ? KVM_MEM_LOG_DIRTY_PAGES : 0),
	};
	int r = kvm_ioctl(e->vm, KVM_SET_USER_MEMORY_REGION, &region);

	if (!r)
		e->slot[index] = *slot;
	return r;
}

static bool same(const struct ram_slot *a, const struct ram_slot *b)
{
	return a->gpa == b->gpa && a->size == b->size && a->offset == b->offset && a->readonly == b->readonly;
}

/* KVM reads and writes the memfd alone. */
static int leave_base(struct ram *ram, const struct ram_slot *slot)
{
	uint64_t first = slot->offset >> FRAME_SHIFT, end = first + (slot->size >> FRAME_SHIFT);
	int r = 0;

	for (uint64_t f = first; f < end && f < ram->base_frames && !r; f++)
		r = ram_make_writable(ram, f);
	return r;
}

int kvm_slots_changed(struct engine *base)
{
	static const struct ram_slot gone;
	struct kvm_engine *e = kvm_engine_of(base);
	int r = e->logging ? kvm_dirty_log_sync(base) : 0;

	/* Slots that go leave room for those that come, which may overlap them; KVM changes none in place. */
	for (unsigned i = 0; i < RAM_SLOTS_MAX && !r; i++)
		if (e->slot[i].size && !same(&e->slot[i], &e->ram->slot[i]))
			r = tell(e, i, &gone);
	for (unsigned i = 0; i < RAM_SLOTS_MAX && !r; i++) {
		const struct ram_slot *slot = &e->ram->slot[i];

		if (!slot->size || e->slot[i].size)
			continue;
		if (slot->readonly && !e->caps.readonly_mem)
			return -ENOTSUP;
		r = leave_base(e->ram, slot);
		if (!r)
			r = tell(e, i, slot);
	}
	return r;
}

static void mark(struct ram *ram, uint64_t frame)
{
	/* A plain look first: most are dirty already when nothing is logged. */
	if (!(atomic_load_explicit(&ram->frame[frame], memory_order_relaxed) & FRAME_DIRTY))
		atomic_fetch_or(&ram->frame[frame], FRAME_DIRTY);
}

static int sync_slot(struct kvm_engine *e, unsigned index, uint64_t *bitmap)
{
	const struct ram_slot *slot = &e->slot[index];
	uint64_t first = slot->offset >> FRAME_SHIFT, count = slot->size >> FRAME_SHIFT;
	struct kvm_dirty_log log = { .slot = index, .dirty_bitmap = bitmap };
	int r;

	if (!e->logging) {
		for (uint64_t i = 0; i < count; i++)
			mark(e->ram, first + i);
		return 0;
	}
	r = kvm_ioctl(e->vm, KVM_GET_DIRTY_LOG, &log);
	for (uint64_t w = 0; !r && w < (count + 63) / 64; w++)
		for (uint64_t bits = bitmap[w]; bits; bits &= bits - 1)
			if (w * 64 + (unsigned)__builtin_ctzll(bits) < count)
				mark(e->ram, first + w * 64 + (unsigned)__builtin_ctzll(bits));
	return r;
}

int kvm_dirty_log_sync(struct engine *base)
{
	struct kvm_engine *e = kvm_engine_of(base);
	int r = 0;

	for (unsigned i = 0; i < RAM_SLOTS_MAX && !r; i++) {
		uint64_t *bitmap = NULL;

		if (!e->slot[i].size || e->slot[i].readonly)
			continue;
		if (e->logging) {
			bitmap = calloc((e->slot[i].size >> FRAME_SHIFT) / 64 + 1, 8);
			if (!bitmap)
				return -ENOMEM;
		}
		r = sync_slot(e, i, bitmap);
		free(bitmap);
	}
	return r;
}

/* What KVM has logged and nobody has asked for stays in its log: dirty once too often does no harm. */
int kvm_dirty_log_start(struct engine *base)
{
	struct kvm_engine *e = kvm_engine_of(base);
	int r = 0;

	if (e->logging)
		return 0;
	e->logging = true;
	for (unsigned i = 0; i < RAM_SLOTS_MAX && !r; i++)
		if (e->slot[i].size && !e->slot[i].readonly)
			r = tell(e, i, &e->slot[i]);
	if (r)
		e->logging = false; /* all is dirty, then */
	return r;
}
