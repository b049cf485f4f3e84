// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Translation slots and the stack window: what a vCPU's translated code remembers of the TLB (cache.h).
 *
 * A slot says no more than the TLB entry that it was made from, for one place in the code: for its page, or for the region that it
 * is in (tlb_view.region), if that is to be loaded from, or has no code and has been stored to all over. It has to go when that entry's
 * mapping or rights may have changed, and when its place can run in another address space: a place has a mode, so a level and EFLAGS.AC, but
 * no space. The stack window belongs to a view and a space, and goes when either changes.
 *
 * The book has an entry for each filled slot, those of global pages from the end of the log down and the others from its start up. Two
 * sets of hashed pages (one bit each) tell that a page is in no entry, which most INVLPGs can be content with.
 *
 * All of it belongs to the vCPU's thread, or to the one that has stopped the world.
 */
#include "engine/soft/translate/cache.h"

#include "engine/soft/mmu/tlb.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { FILL_STORE = 1, FILL_LARGE = 2 /* a part of a page larger than 4 KiB */, FILL_REGION = 4 };
enum { REGION_FRAMES = TLB_REGION / FRAME_SIZE };
enum { PAGES_BITS = 12, LARGE_SHIFT = 30 /* the largest page there is */ };

struct filled {
	uint64_t linear; /* of the page or region */
	uint32_t frame;	 /* the first */
	uint32_t slot;
	uint8_t flags; /* FILL_* */
};

struct page_set {
	uint64_t bits[(1 << PAGES_BITS) / 64]; /* pages of 4 KiB, hashed */
	uint64_t large; /* the others by large_bit */
};

struct slot_book {
	uint32_t count, global_count;
	bool keyed; /* some entry depends on a protection key */
	struct page_set pages, global_pages;
	struct filled stack; /* if t.stack_valid */
	uint32_t at[SLOTS_MAX]; /* 1 + index in log, 0: the slot is empty */
	struct filled log[SLOTS_MAX];
};

/* --- sets of pages --- */

static unsigned page_hash(uint64_t linear)
{
	return (unsigned)((linear >> FRAME_SHIFT) * 0x9e3779b97f4a7c15ull >> (64 - PAGES_BITS));
}

static void set_add(struct page_set *s, uint64_t linear)
{
	unsigned i = page_hash(linear);

	s->bits[i / 64] |= 1ull << (i % 64);
}

static bool set_may_have(const struct page_set *s, uint64_t linear)
{
	unsigned i = page_hash(linear);

	return s->bits[i / 64] >> (i % 64) & 1;
}

static void set_add_filled(struct page_set *s, const struct filled *f)
{
	if (f->flags & FILL_LARGE)
		s->large |= large_bit(f->linear);
	else
		set_add(s, f->linear);
}

/* Whether INVLPG of @linear has to drop it. */
static bool shows(const struct filled *f, uint64_t linear)
{
	unsigned shift = f->flags & FILL_LARGE ? LARGE_SHIFT : FRAME_SHIFT;

	return f->linear >> shift == linear >> shift;
}

/* --- the book --- */

static void stack_none(struct cpu *c)
{
	c->t.stack_valid = false;
	c->t.bias = c->t.neg_bias = 0;
	c->t.stack_base = STACK_NOWHERE;
}

int slots_init(struct cpu *c)
{
	void *p = mmap(NULL, sizeof(struct slot_book), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	c->t.book = p;
	c->t.slots = c->slot;
	stack_none(c);
	return 0;
}

void slots_finish(struct cpu *c)
{
	if (c->t.book)
		munmap(c->t.book, sizeof(*c->t.book));
	c->t.book = NULL;
	c->t.slots = NULL;
}

static bool is_global(const struct slot_book *k, uint32_t i)
{
	return i >= k->count;
}

/* Empties the slot of entry @i, and moves the last entry of its kind there. */
static void remove_at(struct cpu *c, uint32_t i)
{
	struct slot_book *k = c->t.book;
	uint32_t last = is_global(k, i) ? SLOTS_MAX - k->global_count-- : --k->count;

	c->slot[k->log[i].slot].limit = 0;
	k->at[k->log[i].slot] = 0;
	if (last != i) {
		k->log[i] = k->log[last];
		k->at[k->log[i].slot] = i + 1;
	}
}

static void enter(struct cpu *c, const struct filled *f, bool global)
{
	struct slot_book *k = c->t.book;
	uint32_t i = k->at[f->slot];

	if (i && is_global(k, i - 1) != global) {
		remove_at(c, i - 1);
		i = 0;
	}
	if (i)
		i--;
	else
		i = global ? SLOTS_MAX - ++k->global_count : k->count++;
	k->log[i] = *f;
	k->at[f->slot] = i + 1;
	set_add_filled(global ? &k->global_pages : &k->pages, f);
}

/* --- filling --- */

/* Frames that may be stored to from now on are marked before FRAME_CODE is looked at (cache.h). */
static void mark_stored(struct translator *tr, const struct filled *f)
{
	unsigned n = f->flags & FILL_REGION ? REGION_FRAMES : 1;

	for (unsigned i = 0; i < n; i++)
		if (atomic_load_explicit(&tr->stored[f->frame + i], memory_order_relaxed) != tr->store_epoch)
			atomic_store_explicit(&tr->stored[f->frame + i], tr->store_epoch, memory_order_relaxed);
}

/*
 * The TLB's entry for an access at @linear in the present view: its index, or -1. @f gets linear, frame and flags, of
 * the page.
 */
static int tlb_ask(struct cpu *c, uint64_t linear, bool store, struct filled *f)
{
	const struct tlb_set *set = c->tlbs;
	const struct tlb_view *v = &set->now->view[set->view];
	unsigned i = tlb_index(linear);
	uint64_t page = linear & ~(uint64_t)(FRAME_SIZE - 1);

	if (c->tlb != &v->tlb || (store ? v->tlb.entry[i].write : v->tlb.entry[i].read) != page)
		return -1;
	f->linear = page;
	f->frame = (uint32_t)((page + v->tlb.entry[i].addend - (uint64_t)(uintptr_t)c->ram_host) >> FRAME_SHIFT);
	f->flags = (store ? FILL_STORE : 0) | (v->large[i / 64] >> (i % 64) & 1 ? FILL_LARGE : 0);
	return (int)i;
}

/*
 * Whether no frame holds code; of a region, also whether all are dirty: that its page may be written says no more than that one of them is.
 */
static bool frames_allow(const struct cpu *c, const struct filled *f)
{
	bool region = f->flags & FILL_REGION;
	uint8_t look_at = region ? FRAME_CODE | FRAME_DIRTY : FRAME_CODE, want = region ? FRAME_DIRTY : 0;

	for (unsigned i = 0; i < (region ? REGION_FRAMES : 1); i++)
		if ((atomic_load_explicit(&c->frame[f->frame + i], memory_order_relaxed) & look_at) != want)
			return false;
	return true;
}

static bool may_store(struct cpu *c, const struct filled *f)
{
	if (!frames_allow(c, f)) /* which is soon found out, before 512 marks are made */
		return false;
	mark_stored(c->t.tr, f);
	atomic_thread_fence(memory_order_seq_cst);
	return frames_allow(c, f);
}

/* Makes @f of a page one of its region, if it is in one and [linear, linear + size) too. */
static bool widen(struct cpu *c, struct filled *f, uint64_t linear, uint32_t size)
{
	struct filled wide = *f;

	wide.linear &= ~(uint64_t)(TLB_REGION - 1);
	wide.frame -= (uint32_t)((f->linear - wide.linear) >> FRAME_SHIFT);
	wide.flags |= FILL_REGION;
	if (linear - wide.linear > TLB_REGION - size || ((f->flags & FILL_STORE) && !may_store(c, &wide)))
		return false;
	*f = wide;
	return true;
}

bool slot_fill(struct cpu *c, uint32_t n, uint64_t linear, uint32_t size, bool store)
{
	const struct tlb_view *v = &c->tlbs->now->view[c->tlbs->view];
	struct filled f = { .slot = n };
	int i = tlb_ask(c, linear, store, &f);
	uint64_t length = FRAME_SIZE;

	if (i < 0 || size > FRAME_SIZE)
		return false;
	if ((v->region[i / 64] >> (i % 64) & 1) && widen(c, &f, linear, size))
		length = TLB_REGION;
	else if (linear - f.linear > FRAME_SIZE - size || (store && !may_store(c, &f)))
		return false;
	if (v->key[i])
		c->t.book->keyed = true;
	enter(c, &f, v->global[i / 64] >> (i % 64) & 1);
	c->slot[n] = (struct slot){ .base = f.linear, .limit = length - size + 1, .addend = v->tlb.entry[i].addend };
	return true;
}

bool stack_fill(struct cpu *c, uint64_t rsp, int32_t lo, int32_t hi)
{
	const struct tlb_view *v = &c->tlbs->now->view[c->tlbs->view];
	uint64_t linear = rsp + (uint64_t)(int64_t)lo;
	struct filled f = { 0 };
	int i = tlb_ask(c, linear, true, &f);

	if (i < 0 || linear - f.linear > FRAME_SIZE - (uint64_t)((int64_t)hi - lo) || !may_store(c, &f))
		return false;
	if (v->key[i])
		c->t.book->keyed = true;
	c->t.book->stack = f;
	c->t.bias = v->tlb.entry[i].addend;
	c->t.neg_bias = -c->t.bias;
	c->t.stack_base = f.linear + c->t.bias;
	c->t.stack_valid = true;
	return true;
}

/* --- dropping --- */

void window_drop(struct cpu *c)
{
	if (c->t.stack_valid)
		stack_none(c);
}

void slots_drop(struct cpu *c, bool global)
{
	struct slot_book *k = c->t.book;

	window_drop(c);
	for (uint32_t i = 0; i < k->count; i++) {
		c->slot[k->log[i].slot].limit = 0;
		k->at[k->log[i].slot] = 0;
	}
	if (k->count)
		memset(&k->pages, 0, sizeof(k->pages));
	k->count = 0;
	if (!global)
		return;
	for (uint32_t i = SLOTS_MAX - k->global_count; i < SLOTS_MAX; i++) {
		c->slot[k->log[i].slot].limit = 0;
		k->at[k->log[i].slot] = 0;
	}
	if (k->global_count)
		memset(&k->global_pages, 0, sizeof(k->global_pages));
	k->global_count = 0;
	k->keyed = false;
}

static bool may_show(const struct page_set *s, uint64_t linear)
{
	return (s->large & large_bit(linear)) || set_may_have(s, linear);
}

void slots_drop_page(struct cpu *c, uint64_t linear)
{
	struct slot_book *k = c->t.book;

	if (c->t.stack_valid && shows(&k->stack, linear))
		stack_none(c);
	/* From the last to the first: what is moved into a gap has been looked at. */
	if (k->count && may_show(&k->pages, linear))
		for (uint32_t i = k->count; i--;)
			if (shows(&k->log[i], linear))
				remove_at(c, i);
	if (k->global_count && may_show(&k->global_pages, linear))
		for (uint32_t i = SLOTS_MAX - k->global_count; i < SLOTS_MAX; i++)
			if (shows(&k->log[i], linear))
				remove_at(c, i);
}

void slots_drop_keyed(struct cpu *c)
{
	if (c->t.book->keyed)
		slots_drop(c, true);
}

/* --- withdrawing --- */

/* Marks of a new epoch, for what there is: marks of slots that are gone cost a stop of the world each. */
static void new_epoch(struct translator *tr)
{
	if (!++tr->store_epoch) {
		madvise((void *)tr->stored, tr->frames, MADV_DONTNEED);
		tr->store_epoch = 1;
	}
}

static bool stores_to(const struct filled *f, uint64_t frame)
{
	return (f->flags & FILL_STORE) && frame - f->frame < (f->flags & FILL_REGION ? REGION_FRAMES : 1);
}

static void withdraw_from(struct cpu *c, struct translator *tr, uint64_t frame)
{
	struct slot_book *k = c->t.book;

	if (!k)
		return;
	if (c->t.stack_valid && stores_to(&k->stack, frame))
		stack_none(c);
	else if (c->t.stack_valid)
		mark_stored(tr, &k->stack);
	/* As in slots_drop_page. */
	for (uint32_t i = k->count; i--;) {
		if (stores_to(&k->log[i], frame))
			remove_at(c, i);
		else if (k->log[i].flags & FILL_STORE)
			mark_stored(tr, &k->log[i]);
	}
	for (uint32_t i = SLOTS_MAX - k->global_count; i < SLOTS_MAX; i++) {
		if (stores_to(&k->log[i], frame))
			remove_at(c, i);
		else if (k->log[i].flags & FILL_STORE)
			mark_stored(tr, &k->log[i]);
	}
}

void slots_withdraw(struct cpu *c, uint64_t frame)
{
	struct translator *tr = c->t.tr;

	if (atomic_load(&tr->stored[frame]) != tr->store_epoch)
		return;
	if (c->vm->count > 1)
		soft_world_stop(c);
	new_epoch(tr);
	for (unsigned i = 0; i < c->vm->count; i++)
		withdraw_from(c->vm->cpu[i], tr, frame);
	tr->withdrawals++;
	if (c->vm->count > 1)
		soft_world_start(c);
}
