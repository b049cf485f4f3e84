// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Filling the software TLB with what a walk found.
 *
 * Compiled without vector registers, like the walk: translated code comes here when it misses, with the guest's vector state in the
 * registers. What needs more than that (memory for a frame) is left to the interpreter.
 */
#include "engine/soft/mmu/tlb.h"
#include "engine/soft/mmu/walk.h"

/* Linear addresses around a page that have one addend, and one translation of the guest's. */
struct region {
	uint64_t base;
	uint32_t size; /* at least 4096, at most 1 GiB */
};

/* How far around the frame a larger page is looked through for frames that are private: no more than 2 MiB in both directions. */
enum { PRIVATE_REACH = 512 };

/*
 * All of the guest's page that lies in the slot of RAM and in private frames (which stay so). What lies over memory, the local APIC, is
 * in none but its own.
 */
static struct region region_of(struct cpu *c, uint64_t linear, const struct walk *w, const struct ram_slot *slot, uint64_t frame)
{
	uint64_t size = 1ull << w->shift, lo = w->gpa & ~(size - 1), hi = lo + size, lapic = c->apic_base & ADDR_PAGE;
	struct region r = { .base = linear & ~0xfffull, .size = FRAME_SIZE };

	if (w->shift <= FRAME_SHIFT || w->shift > 30 || c->dbg.watch_count)
		return r;
	if (lo < slot->gpa)
		lo = slot->gpa;
	if (hi > slot->gpa + slot->size)
		hi = slot->gpa + slot->size;
	if (c->vm->ram->fds.base >= 0) {
		uint64_t first = w->gpa, end = w->gpa + FRAME_SIZE;

		for (unsigned n = 0; n < PRIVATE_REACH && first > lo && ram_frame_private(c->vm->ram, frame - n - 1); n++)
			first -= FRAME_SIZE;
		for (unsigned n = 0; n < PRIVATE_REACH && end < hi && ram_frame_private(c->vm->ram, frame + n + 1); n++)
			end += FRAME_SIZE;
		lo = first;
		hi = end;
	}
	if (lapic >= lo && lapic < hi)
		return r;
	r.base -= w->gpa - lo;
	r.size = (uint32_t)(hi - lo);
	return r;
}

/* Enters a translation for what it allows. @host is of the page's first byte. */
static void fill(struct tlb_set *s, struct tlb_view *v, uint64_t linear, const struct walk *w, enum mmu_access access,
		 const uint8_t *host, struct region r)
{
	uint64_t page = linear & ~0xfffull, addend = (uint64_t)(uintptr_t)host - page;
	unsigned i = tlb_index(linear);
	struct tlb_entry *e = &v->tlb.entry[i];

	if (e->addend != addend || (e->read != page && e->write != page && e->exec != page)) {
		tlb_entry_clear(v, i);
		e->addend = addend;
		e->host = (uint64_t)(uintptr_t)host;
	}
	e->base = r.base;
	e->extra = r.size - (FRAME_SIZE - 1);
	e->kind = (w->global ? TLB_GLOBAL : 0) | (w->shift > FRAME_SHIFT ? TLB_LARGE : 0);
	tlb_bit_set(v->valid, i);
	s->in_views[i] |= tlb_view_bit(s, v);
	if (access == MMU_EXEC)
		e->exec = page;
	else
		e->read = page; /* what may be written may be read */
	if (access == MMU_WRITE)
		e->write = page;
	v->key[i] = w->keyed ? w->key + 1 : 0;
	if (w->keyed)
		v->keys |= 1u << w->key;
	if (w->global) {
		tlb_bit_set(v->global, i);
		v->any_global = true;
	}
	if (w->shift > FRAME_SHIFT) {
		tlb_bit_set(v->large, i);
		v->large_at |= large_bit(linear);
		tlb_bit_set(s->large_at, large_hash(linear));
	}
	v->used = true;
}

bool mmu_page_enter(struct cpu *c, struct tlb_view *v, uint64_t linear, const struct walk *w, enum mmu_access access, bool try,
		    struct page *p)
{
	uint64_t gpa = w->gpa | (linear & 0xfff), frame;
	const struct ram_slot *slot = mmu_slot(c, gpa, &frame);

	*p = (struct page){ .gpa = gpa };
	if (!slot || (access == MMU_WRITE && slot->readonly))
		return true;
	if (is_lapic(c, gpa))
		return true; /* it lies over memory */
	/*
	 * A frame that is not private yet is read without an entry, since nobody would withdraw
	 * the entry when the frame is copied.
	 */
	if (access == MMU_READ && !ram_frame_private(c->vm->ram, frame)) {
		p->host = (uint8_t *)(uintptr_t)ram_frame_bytes(c->vm->ram, frame) + (linear & 0xfff);
		return true;
	}
	if (try && !ram_frame_private(c->vm->ram, frame))
		return false;
	if (!try && ram_make_writable(c->vm->ram, frame))
		return false;
	if (access == MMU_WRITE && !(atomic_load_explicit(&c->frame[frame], memory_order_relaxed) & FRAME_DIRTY))
		atomic_fetch_or(&c->frame[frame], FRAME_DIRTY);
	p->host = c->ram_host + (frame << FRAME_SHIFT) + (linear & 0xfff);
	c->tlbs->global_low |= w->global && !(linear >> 63);
	if (access == MMU_EXEC || !c->dbg.watch_count || !debug_page_watched(c, linear))
		fill(c->tlbs, v, linear, w, access, c->ram_host + (frame << FRAME_SHIFT), region_of(c, linear, w, slot, frame));
	return true;
}

bool mmu_try_fill(struct cpu *c, uint64_t linear, bool store, bool sure)
{
	struct tlb_view *v = &c->tlbs->now->view[c->tlbs->view];
	const struct tlb_entry *e = &v->tlb.entry[tlb_index(linear)];
	enum mmu_access access = store ? MMU_WRITE : MMU_READ;
	uint64_t page = linear & ~0xfffull;
	struct walk w;
	struct page p;

	if ((store ? e->write : e->read) == page)
		return true;
	if ((cpu_long_mode(c) && !cpu_canonical(c, linear)) || mmu_walk_try(c, linear, access, (enum walk_as)c->tlbs->view, sure, &w))
		return false;
	return mmu_page_enter(c, v, linear, &w, access, true, &p) && (store ? e->write : e->read) == page;
}

bool mmu_try_fetch(struct cpu *c, uint64_t linear)
{
	struct tlb_view *v = &c->tlbs->now->view[c->tlbs->view];
	const struct tlb_entry *e = &v->tlb.entry[tlb_index(linear)];
	uint64_t page = linear & ~0xfffull;
	struct walk w;
	struct page p;

	if (e->exec == page)
		return true;
	if ((cpu_long_mode(c) && !cpu_canonical(c, linear)) || mmu_walk_try(c, linear, MMU_EXEC, (enum walk_as)c->tlbs->view, true, &w))
		return false;
	return mmu_page_enter(c, v, linear, &w, MMU_EXEC, true, &p) && e->exec == page;
}
