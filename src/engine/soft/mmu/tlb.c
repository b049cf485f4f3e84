// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The set of software TLBs of a vCPU: address spaces by PCID, views by mode, and what flushes them
 * (SDM vol. 3, 4.10.4).
 *
 *  - There are TLB_SPACES address spaces; the one used longest ago is given to a new PCID. With
 *    CR4.PCIDE clear only PCID 0 is used.
 *  - Global pages are filled into the space that used them; a flush that keeps global pages keeps
 *    them there. INVLPG drops a page in all spaces: allowed, and simpler than tagging.
 *  - A guest page larger than 4 KiB is filled in parts of 4 KiB. INVLPG anywhere in it must drop them
 *    all, so entries that came from a large page are marked, and looked through by region.
 *  - An entry holds the rights that PKRU or PKRS gave its protection key. When a key loses one, its entries
 *    are dropped in all spaces; a right that is gained is found by the next walk.
 *  - The `none` view never has an entry: with alignment checks on, every access takes the slow path.
 *
 *  - What the translator remembers of entries outlives them: it is dropped with the mappings themselves, here.
 *
 * Everything here belongs to the vCPU's thread.
 */
#include "engine/soft/mmu/tlb.h"

#include "engine/soft/translate/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Clears what is valid and not in @keep (NULL: all of it). */
static void entries_clear(struct tlb_view *v, const uint64_t *keep)
{
	for (unsigned w = 0; w < TLB_ENTRIES / 64; w++)
		for (uint64_t m = v->valid[w] & ~(keep ? keep[w] : 0); m; m &= m - 1)
			tlb_entry_clear(v, w * 64 + (unsigned)__builtin_ctzll(m));
}

static void view_clear(struct tlb_view *v)
{
	if (!v->used)
		return;
	entries_clear(v, NULL);
	v->used = false;
	v->large_at = 0;
	v->any_global = false;
	v->keys = 0;
}

static void view_clear_nonglobal(struct tlb_view *v)
{
	if (!v->used)
		return;
	if (!v->any_global) {
		view_clear(v);
		return;
	}
	entries_clear(v, v->global);
}

static bool entry_in(const struct tlb_view *v, unsigned i, uint64_t region, unsigned shift)
{
	const struct tlb_entry *e = &v->tlb.entry[i];
	uint64_t none = tlb_none(i), tag = e->read != none ? e->read : e->write != none ? e->write : e->exec;

	return tag != none && tag >> shift == region >> shift;
}

static void view_drop_large(struct tlb_view *v, uint64_t linear)
{
	if (!v->used || !(v->large_at & large_bit(linear)))
		return;
	for (unsigned w = 0; w < TLB_ENTRIES / 64; w++) {
		uint64_t m = v->large[w];

		while (m) {
			unsigned b = (unsigned)__builtin_ctzll(m);

			m &= m - 1;
			if (entry_in(v, w * 64 + b, linear, TLB_LARGE_SHIFT))
				tlb_entry_clear(v, w * 64 + b);
		}
	}
}

/* In the spaces that @spaces has a bit for. */
static void drop_page(struct tlb_set *s, uint64_t linear, unsigned spaces)
{
	unsigned i = tlb_index(linear);

	for (uint32_t m = s->in_views[i]; m; m &= m - 1) {
		unsigned n = (unsigned)__builtin_ctz(m);
		struct tlb_view *v = &s->space[n / VIEW_COUNT].view[n % VIEW_COUNT];

		if (!(spaces >> n / VIEW_COUNT & 1))
			continue;
		if (entry_in(v, i, linear, FRAME_SHIFT))
			tlb_entry_clear(v, i);
		if (!tlb_bit(v->valid, i))
			s->in_views[i] &= ~(1u << n);
	}
	if (!tlb_bit(s->large_at, large_hash(linear)))
		return;
	for (unsigned n = 0; n < TLB_SPACES; n++)
		for (unsigned k = 0; spaces >> n & 1 && k < VIEW_COUNT; k++)
			view_drop_large(&s->space[n].view[k], linear);
}

int mmu_init(struct cpu *c)
{
	struct tlb_set *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (s == MAP_FAILED)
		return -ENOMEM;
	for (unsigned i = 0; i < TLB_SPACES; i++)
		for (unsigned k = 0; k < VIEW_COUNT; k++)
			tlb_entry_clear(&s->space[i].view[k], 0); /* the others are */
	s->none.entry[0] = s->space[0].view[0].tlb.entry[0];
	s->now = &s->space[0];
	s->now->valid = true;
	c->tlbs = s;
	c->tlb = &s->none;
	return 0;
}

void mmu_finish(struct cpu *c)
{
	if (c->tlbs)
		munmap(c->tlbs, sizeof(*c->tlbs));
	c->tlbs = NULL;
}

static struct tlb_space *space_find(struct tlb_set *s, unsigned pcid)
{
	for (unsigned i = 0; i < TLB_SPACES; i++)
		if (s->space[i].valid && s->space[i].pcid == pcid)
			return &s->space[i];
	return NULL;
}

static unsigned number_of(const struct tlb_set *s)
{
	return (unsigned)(s->now - s->space);
}

static struct tlb_space *space_get(struct cpu *c, unsigned pcid)
{
	struct tlb_set *s = c->tlbs;
	struct tlb_space *sp = space_find(s, pcid);

	if (!sp) {
		sp = &s->space[0];
		for (unsigned i = 1; i < TLB_SPACES && sp->valid; i++)
			if (!s->space[i].valid || s->space[i].last_used < sp->last_used)
				sp = &s->space[i];
		for (unsigned k = 0; k < VIEW_COUNT; k++)
			view_clear(&sp->view[k]);
		if (c->t.tr) {
			if (sp == s->now)
				slots_drop(c, false);
			jumps_drop(c, (int)(sp - s->space), false);
		}
		sp->valid = true;
		sp->pcid = pcid;
	}
	sp->last_used = ++s->clock;
	return sp;
}

void mmu_select(struct cpu *c)
{
	struct tlb_set *s = c->tlbs;
	struct tlb_space *before = s->now;
	unsigned pcid = c->cr4 & CR4_PCIDE ? c->cr3 & 0xfff : 0;
	enum mmu_view view;

	if (s->now->pcid != pcid || !s->now->valid)
		s->now = space_get(c, pcid);
	view = c->cpl == 3 ? VIEW_USER : c->cr4 & CR4_SMAP && !(c->sysflags & RF_AC) ? VIEW_KERNEL : VIEW_KERNEL_AC;
	if (c->t.tr) {
		if (s->now != before)
			slots_drop(c, false);
	}
	s->view = view;
	if (c->t.tr)
		window_select(c);
	c->tlb = c->align_check ? &s->none : &s->now->view[s->view].tlb;
	if (c->t.tr)
		jumps_select(c, number_of(s));
	cpu_fetch_forget(c);
}

void mmu_flush_all(struct cpu *c)
{
	c->tlbs->global_low = false;
	if (c->t.tr) {
		slots_drop(c, true);
		jumps_drop(c, -1, true);
	}
	for (unsigned i = 0; i < TLB_SPACES; i++)
		for (unsigned k = 0; k < VIEW_COUNT; k++)
			view_clear(&c->tlbs->space[i].view[k]);
	tlb_set_bytes(c->tlbs->large_at, 0, sizeof(c->tlbs->large_at));
	cpu_fetch_forget(c);
}

void mmu_flush_nonglobal(struct cpu *c)
{
	if (c->t.tr) {
		slots_drop(c, false);
		jumps_drop(c, -1, false);
	}
	for (unsigned i = 0; i < TLB_SPACES; i++)
		for (unsigned k = 0; k < VIEW_COUNT; k++)
			view_clear_nonglobal(&c->tlbs->space[i].view[k]);
	cpu_fetch_forget(c);
}

static void space_flush(struct cpu *c, struct tlb_space *sp)
{
	if (c->t.tr) {
		if (sp == c->tlbs->now)
			slots_drop(c, false);
		jumps_drop(c, (int)(sp - c->tlbs->space), false);
	}
	for (unsigned k = 0; k < VIEW_COUNT; k++)
		view_clear_nonglobal(&sp->view[k]);
}

void mmu_flush_pcid(struct cpu *c, unsigned pcid)
{
	struct tlb_space *sp = space_find(c->tlbs, pcid);

	if (sp)
		space_flush(c, sp);
	cpu_fetch_forget(c);
}

static void page_forget(struct cpu *c, uint64_t linear)
{
	if (c->t.tr) {
		slots_drop_page(c, linear);
		jumps_drop_page(c, linear);
	}
}

void mmu_flush_page(struct cpu *c, uint64_t linear)
{
	page_forget(c, linear);
	drop_page(c->tlbs, linear, (1u << TLB_SPACES) - 1);
	cpu_fetch_forget(c);
}

void mmu_flush_page_pcid(struct cpu *c, uint64_t linear, unsigned pcid)
{
	struct tlb_space *sp = space_find(c->tlbs, pcid);

	page_forget(c, linear);
	if (sp)
		drop_page(c->tlbs, linear, 1u << (sp - c->tlbs->space));
	cpu_fetch_forget(c);
}

static void view_drop_keys(struct tlb_view *v, uint32_t keys)
{
	if (!(v->keys & keys))
		return;
	for (unsigned i = 0; i < TLB_ENTRIES; i++)
		if (v->key[i] && (keys >> (v->key[i] - 1) & 1))
			tlb_entry_clear(v, i);
	v->keys &= ~keys;
}

/* Drops what may use a right that went from clear (allowed) to set (denied); @first is 0 for PKRU, 16 for PKRS. */
static void drop_lost(struct cpu *c, uint32_t old, uint32_t value, unsigned first)
{
	uint32_t lost = value & ~old, keys = 0;

	for (unsigned k = 0; lost; k++, lost >>= 2)
		if (lost & 3)
			keys |= 1u << (first + k);
	if (keys && c->t.tr)
		slots_drop_keyed(c);
	for (unsigned i = 0; keys && i < TLB_SPACES; i++)
		for (unsigned k = 0; k < VIEW_COUNT; k++)
			view_drop_keys(&c->tlbs->space[i].view[k], keys);
}

void mmu_set_pkru(struct cpu *c, uint32_t value)
{
	drop_lost(c, c->pkru, value, 0);
	c->pkru = value;
}

void mmu_set_pkrs(struct cpu *c, uint32_t value)
{
	drop_lost(c, c->pkrs, value, 16);
	c->pkrs = value;
}

void mmu_load_cr3(struct cpu *c, uint64_t value)
{
	bool pcide = (c->cr4 & CR4_PCIDE) != 0;

	c->cr3 = value & ~(1ull << 63);
	if (!pcide)
		space_flush(c, space_get(c, 0));
	else if (!(value >> 63))
		space_flush(c, space_get(c, value & 0xfff));
	mmu_select(c);
}
