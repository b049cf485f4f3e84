// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Translation slots and stack windows: what a vCPU's translated code remembers of the TLB (cache.h).
 *
 * A slot says no more than the TLB entry that it was made from, for one place in the code. It has to go when that entry's
 * mapping or rights may have changed, and when its place can run in another address space: a place has a mode, so a level and EFLAGS.AC, but
 * no space. Here and in entry.c slots are filled alike; what is kept of them is simple enough for both:
 *
 *  - a slot that may not be empty is in a log, once: in that of pages that are not global, or in that of global pages, where it never
 *    shows another; in both when it has been in the second and then showed a page that is not global;
 *  - sets of hashed pages, a byte each, one for each kind: what is not in them is shown by no slot, which most INVLPGs can be content with;
 *  - slots that allow stores say so (slot.store); their frames are known by their address.
 *
 * A slot shows a page; for loads all of the guest's larger page (tlb_entry.base). For an access that crosses into the next page C fills it
 * with both, if they lie side by side in host memory, and with what follows there; of a larger page with BLOCK_FRAMES, if these have no code and are all dirty
 * already, since who may store to a page has made one frame dirty, not its neighbours.
 *
 * A TLB entry that translated code may store through has a tag for that (tlb_entry.store). It obeys cache.h's rule for storing slots: its
 * frame was marked before FRAME_CODE was looked at, and slots_withdraw takes it away.
 *
 * The stack window belongs to a view and a space. Each view has one, so that system calls find theirs again; they go when the space
 * changes. A window is part of a page, or of two that lie side by side in host memory. Wherever a window is, [stack_base,
 * stack_base + 4096) is mapped memory of the guest's that may be stored to.
 *
 * Two frames lie side by side as neighbours in RAM, or in an area of the vCPU's own where frames are mapped again, in strips that grow by a frame
 * as it is asked for behind the last. A mapping of a frame is true for ever; what shows a part of a strip goes when its place is given to another.
 *
 * All of it belongs to the vCPU's thread, or to the one that has stopped the world. Code that is left in the middle of a block, for
 * a slot or a window, is gone on with there only if nothing was dropped meanwhile (slots_dropped): what an earlier check has found must still hold.
 */
#include "engine/soft/translate/cache.h"

#include "engine/soft/mmu/tlb.h"

#include <errno.h>
#include <sys/mman.h>

enum {
	LARGE_SHIFT = TLB_LARGE_SHIFT,
	BLOCK_FRAMES = 16,
	STRIP_FRAMES = 8,
	STRIPS = 2048,
	STRIPS_OF_VM = 4096, /* of STRIP_FRAMES mappings, of some 65,000 that a process can have */
	STRIP_PROBES = 4,
	STRIP_SIZE = STRIP_FRAMES * FRAME_SIZE,
	AREA_FRAMES = STRIPS * STRIP_FRAMES,
	PAIRS = 8192,
	PAIR_TRIES = 4, /* pairs of frames are mapped when they were asked for so often */
	WINDOW_SIZE = FRAME_SIZE,
	SCAN_MAX = 256,
};

struct window {
	bool valid;
	uint8_t pages, kind; /* TLB_LARGE: one of them is of a larger page */
	uint64_t linear;     /* of the first page */
	uint32_t frame[2];
	uint64_t bias, base;
};

/* Two frames that were asked for together, how often, and where in the area they may be. */
struct frame_pair {
	uint32_t frame[2];
	uint32_t tries, at;
};

struct slot_book {
	struct slot_pages pages;
	uint32_t log[2][SLOTS_MAX];
	uint64_t dropped;
	struct window window[VIEW_COUNT];
	struct frame_pair pair[PAIRS]; /* by hash, in sets of two */
	uint8_t *area;
	uint32_t frame[AREA_FRAMES]; /* what is mapped there: 1 + its number, or 0 */
	uint32_t tail[PAIRS];	     /* hashed by frame: where the last of a strip may be */
	unsigned strips;	     /* that this vCPU may have */
};

/* --- making and ending --- */

static void stack_none(struct cpu *c)
{
	c->t.stack_valid = false;
	c->t.bias = c->t.neg_bias = 0;
	c->t.stack_base = STACK_NOWHERE;
}

int slots_init(struct cpu *c)
{
	struct slot_book *k = mmap(NULL, sizeof(*k), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (k == MAP_FAILED)
		return -ENOMEM;
	k->area = mmap(NULL, AREA_FRAMES * (size_t)FRAME_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (k->area == MAP_FAILED) {
		munmap(k, sizeof(*k));
		return -ENOMEM;
	}
	k->strips = STRIPS_OF_VM / c->vm->count < STRIPS ? STRIPS_OF_VM / c->vm->count : STRIPS;
	c->t.book = k;
	c->t.slots = c->slot;
	c->t.slot_pages = &k->pages;
	c->t.slot_log[0] = k->log[0];
	c->t.slot_log[1] = k->log[1];
	c->t.slot_logged[0] = c->t.slot_logged[1] = 0;
	stack_none(c);
	return 0;
}

void slots_finish(struct cpu *c)
{
	if (c->t.book) {
		munmap(c->t.book->area, AREA_FRAMES * (size_t)FRAME_SIZE);
		munmap(c->t.book, sizeof(*c->t.book));
	}
	c->t.book = NULL;
	c->t.slots = NULL;
}

uint64_t slots_dropped(const struct cpu *c)
{
	return c->t.book->dropped;
}

static struct tlb_view *view_now(const struct cpu *c)
{
	return &c->tlbs->now->view[c->tlbs->view];
}

static uint32_t frame_at(const struct cpu *c, uint64_t host)
{
	return (uint32_t)((host - (uint64_t)(uintptr_t)c->ram_host) >> FRAME_SHIFT);
}

/* --- frames side by side --- */

/* Where @host is in the area, in frames; AREA_FRAMES or more: elsewhere. */
static uint64_t place_of(const struct slot_book *k, uint64_t host)
{
	return (host - (uint64_t)(uintptr_t)k->area) >> FRAME_SHIFT;
}

/* The frame whose bytes are at @host, also in the area. */
static uint32_t frame_behind(const struct cpu *c, uint64_t host)
{
	const struct slot_book *k = c->t.book;
	uint64_t at = place_of(k, host);

	return at < AREA_FRAMES ? k->frame[at] - 1 : frame_at(c, host);
}

static bool in_strip(const struct slot_book *k, uint64_t host, unsigned strip)
{
	return place_of(k, host) / STRIP_FRAMES == strip;
}

/* Strip @n is about to be another's. */
static void strip_clear(struct cpu *c, unsigned n)
{
	struct slot_book *k = c->t.book;

	if (!k->frame[n * STRIP_FRAMES])
		return;
	k->dropped++;
	for (unsigned v = 0; v < VIEW_COUNT; v++)
		if (in_strip(k, k->window[v].base, n))
			k->window[v].valid = false;
	for (unsigned log = 0; log < 2; log++)
		for (uint32_t i = 0; i < c->t.slot_logged[log]; i++) {
			struct slot *s = &c->slot[c->t.slot_log[log][i]];

			if (s->limit && in_strip(k, s->base + s->addend, n))
				s->limit = 0;
		}
	for (unsigned i = 0; i < STRIP_FRAMES; i++)
		k->frame[n * STRIP_FRAMES + i] = 0;
	window_select(c);
}

static unsigned frame_hash(uint32_t a, uint32_t b)
{
	return (unsigned)((a * 0x9e3779b97f4a7c15ull + b * 0xc2b2ae3d27d4eb4full) >> 40);
}

/* Maps @frame at @at in the area, where nothing was, as the last of its strip. */
static bool area_map(struct cpu *c, uint32_t at, uint32_t frame)
{
	struct slot_book *k = c->t.book;

	if (mmap(k->area + (size_t)at * FRAME_SIZE, FRAME_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE | MAP_POPULATE,
		 c->vm->ram->fds.ram, (off_t)((uint64_t)frame << FRAME_SHIFT)) == MAP_FAILED)
		return false;
	k->frame[at] = frame + 1;
	k->tail[frame_hash(frame, 0) % PAIRS] = at;
	return true;
}

/* Maps @a and @b side by side: where a strip ends with @a, or in one of their own. AREA_FRAMES: there is no memory. */
static uint32_t area_add(struct cpu *c, uint32_t a, uint32_t b)
{
	struct slot_book *k = c->t.book;
	uint32_t at = k->tail[frame_hash(a, 0) % PAIRS];
	unsigned first = frame_hash(a, b) % k->strips, n = first;

	if (k->frame[at] == a + 1 && at % STRIP_FRAMES != STRIP_FRAMES - 1 && !k->frame[at + 1])
		return area_map(c, at + 1, b) ? at : AREA_FRAMES;
	for (unsigned i = 0; i < STRIP_PROBES && k->frame[n * STRIP_FRAMES]; i++)
		n = (first + i + 1) % k->strips;
	if (k->frame[n * STRIP_FRAMES])
		n = first;
	strip_clear(c, n);
	at = n * STRIP_FRAMES;
	return area_map(c, at, a) && area_map(c, at + 1, b) ? at : AREA_FRAMES;
}

/* The record of @a and @b: it takes the place of one that was asked for less often. */
static struct frame_pair *pair_of(struct slot_book *k, uint32_t a, uint32_t b)
{
	struct frame_pair *set = &k->pair[frame_hash(a, b) % PAIRS & ~1u], *p;

	for (unsigned i = 0; i < 2; i++)
		if (set[i].frame[0] == a && set[i].frame[1] == b)
			return &set[i];
	p = &set[set[1].tries < set[0].tries];
	*p = (struct frame_pair){ .frame = { a, b } };
	return p;
}

/* Where frames @a and @b lie side by side in host memory; NULL: nowhere yet. */
static uint8_t *pair_host(struct cpu *c, uint32_t a, uint32_t b)
{
	struct slot_book *k = c->t.book;
	struct frame_pair *p;

	if (b == a + 1)
		return c->ram_host + ((uint64_t)a << FRAME_SHIFT);
	p = pair_of(k, a, b);
	if (k->frame[p->at] != a + 1 || k->frame[p->at + 1] != b + 1 || p->at % STRIP_FRAMES == STRIP_FRAMES - 1) {
		uint32_t at;

		if (++p->tries < PAIR_TRIES)
			return NULL;
		at = area_add(c, a, b);
		if (at == AREA_FRAMES)
			return NULL;
		p->at = at;
	}
	return k->area + (size_t)p->at * FRAME_SIZE;
}

/* --- filling --- */

/* Lets translated code store through entry @i of @v, unless the frame holds code. It is marked before FRAME_CODE is looked at (cache.h). */
static bool allow_stores(struct cpu *c, struct tlb_view *v, unsigned i)
{
	struct translator *tr = c->t.tr;
	struct tlb_entry *e = &v->tlb.entry[i];
	uint32_t frame = frame_at(c, e->host);

	if (e->store == e->write)
		return true;
	if (atomic_load_explicit(&tr->stored[frame], memory_order_relaxed) != tr->store_epoch)
		atomic_store(&tr->stored[frame], tr->store_epoch);
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load(&c->frame[frame]) & FRAME_CODE)
		return false;
	e->store = e->write;
	tlb_bit_set(v->stores, i);
	return true;
}

/* The TLB's entry for the page of @linear in the present view, or NULL. With @store translated code may store through it. */
static const struct tlb_entry *tlb_ask(struct cpu *c, uint64_t linear, bool store)
{
	struct tlb_view *v = view_now(c);
	unsigned i = tlb_index(linear);
	const struct tlb_entry *e = &v->tlb.entry[i];
	uint64_t page = linear & ~(uint64_t)(FRAME_SIZE - 1);

	if (c->tlb != &v->tlb || (store ? e->write : e->read) != page || (store && !allow_stores(c, v, i)))
		return NULL;
	return e;
}

static void enter(struct cpu *c, uint32_t n, uint64_t linear, unsigned kind)
{
	unsigned global = kind & TLB_GLOBAL;
	struct slot *s = &c->slot[n];
	struct slot_pages *p = c->t.slot_pages;

	if (!(s->log & SLOT_LOG) && !(global && (s->log & SLOT_LOG_GLOBAL))) {
		s->log |= global ? SLOT_LOG_GLOBAL : SLOT_LOG;
		c->t.slot_log[global][c->t.slot_logged[global]++] = n;
	}
	if (kind & TLB_LARGE)
		p->set[global].large[linear >> LARGE_SHIFT & (SLOT_PAGES - 1)] = 1;
	else
		p->set[global].page[linear >> FRAME_SHIFT & (SLOT_PAGES - 1)] = 1;
}

/* What a slot is to show. */
struct piece {
	uint64_t base, bytes, addend;
	uint64_t pages; /* of 4 KiB, each with an entry; 1 in a region, whose pages are one */
	uint8_t kind;
};

/* Stores may go to all BLOCK_FRAMES around @e, one of them. */
static bool block_ready(struct cpu *c, const struct tlb_entry *e, struct piece *p)
{
	struct translator *tr = c->t.tr;
	uint64_t base = e->store & ~(uint64_t)(BLOCK_FRAMES * FRAME_SIZE - 1), bytes = BLOCK_FRAMES * FRAME_SIZE;
	uint32_t first = frame_at(c, base + e->addend);

	if (base - e->base > (uint64_t)e->extra + FRAME_SIZE - 1 - bytes || (uint64_t)e->extra + FRAME_SIZE - 1 < bytes)
		return false;
	for (unsigned i = 0; i < BLOCK_FRAMES; i++) {
		if (!(atomic_load_explicit(&c->frame[first + i], memory_order_relaxed) & FRAME_DIRTY))
			return false;
		atomic_store_explicit(&tr->stored[first + i], tr->store_epoch, memory_order_relaxed);
	}
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned i = 0; i < BLOCK_FRAMES; i++)
		if (atomic_load(&c->frame[first + i]) & FRAME_CODE)
			return false;
	*p = (struct piece){ .base = base, .bytes = bytes, .addend = e->addend, .kind = (uint8_t)e->kind, .pages = BLOCK_FRAMES };
	return true;
}

/* Nothing is shown across a multiple of 4 GiB: outside 64-bit mode addresses wrap there. */
static bool at_4g(uint64_t linear)
{
	return !(uint32_t)linear;
}

/* The TLB's entry for @page, if it is of the frame at @at in the area. */
static const struct tlb_entry *entry_at(struct cpu *c, uint64_t page, bool store, uint64_t at)
{
	const struct slot_book *k = c->t.book;
	const struct tlb_entry *e = k->frame[at] ? tlb_ask(c, page, store) : NULL;

	return e && frame_at(c, e->host) + 1 == k->frame[at] ? e : NULL;
}

static void piece_takes(struct piece *p, const struct tlb_entry *e)
{
	p->kind = (uint8_t)((p->kind & e->kind & TLB_GLOBAL) | ((p->kind | e->kind) & TLB_LARGE));
	p->pages++;
	p->bytes += FRAME_SIZE;
}

/* What lies around @p, two pages at @at in the area, as it does there. */
static void widen_in_strip(struct cpu *c, uint64_t at, bool store, struct piece *p)
{
	const struct tlb_entry *e;

	for (uint64_t i = at + 2; i % STRIP_FRAMES; i++) {
		uint64_t page = p->base + p->bytes;

		e = at_4g(page) ? NULL : entry_at(c, page, store, i);
		if (!e)
			break;
		piece_takes(p, e);
	}
	for (uint64_t i = at; i % STRIP_FRAMES && !at_4g(p->base); i--) {
		e = entry_at(c, p->base - FRAME_SIZE, store, i - 1);
		if (!e)
			break;
		p->base -= FRAME_SIZE;
		piece_takes(p, e);
	}
}

/* The page of @linear, which is @e's, and the next; and what lies around those in linear addresses and beside them, as far as the TLB knows it. */
static bool two_ready(struct cpu *c, uint64_t linear, bool store, const struct tlb_entry *e, struct piece *p)
{
	uint64_t page = linear & ~(uint64_t)(FRAME_SIZE - 1), at;
	const struct tlb_entry *next = tlb_ask(c, page + FRAME_SIZE, store);
	const uint8_t *host;

	if (!next || at_4g(page + FRAME_SIZE))
		return false;
	host = pair_host(c, frame_at(c, e->host), frame_at(c, next->host));
	if (!host)
		return false;
	*p = (struct piece){ .base = page, .addend = (uint64_t)(uintptr_t)host - page, .kind = (uint8_t)e->kind, .pages = 1, .bytes = FRAME_SIZE };
	piece_takes(p, next);
	at = place_of(c->t.book, (uint64_t)(uintptr_t)host);
	if (at < AREA_FRAMES) {
		widen_in_strip(c, at, store, p);
		return true;
	}
	while (p->pages < BLOCK_FRAMES && !at_4g(p->base + p->bytes)) {
		next = tlb_ask(c, p->base + p->bytes, store);
		if (!next || next->addend != p->addend)
			break;
		piece_takes(p, next);
	}
	return true;
}

static bool shows(const struct piece *p, uint64_t linear, uint32_t size)
{
	return size <= p->bytes && linear - p->base <= p->bytes - size;
}

bool slot_fill(struct cpu *c, uint32_t n, uint64_t linear, uint32_t size, bool store)
{
	const struct tlb_entry *e = tlb_ask(c, linear, store);
	struct slot *s = &c->slot[n];
	struct piece p;

	if (!e || size > FRAME_SIZE)
		return false;
	p = (struct piece){ .base = store ? e->store : e->base, .addend = e->addend, .kind = (uint8_t)e->kind, .pages = 1,
			    .bytes = store ? FRAME_SIZE : (uint64_t)e->extra + FRAME_SIZE - 1 };
	if (!shows(&p, linear, size) && !(store && block_ready(c, e, &p) && shows(&p, linear, size)) &&
	    !(two_ready(c, linear, store, e, &p) && shows(&p, linear, size)))
		return false;
	if (p.pages == 1)
		enter(c, n, linear, p.kind);
	for (unsigned i = 0; p.pages > 1 && i < p.pages; i++)
		enter(c, n, p.base + i * FRAME_SIZE, p.kind);
	s->base = p.base;
	s->limit = p.bytes - size + 1;
	s->addend = p.addend;
	s->store = store;
	s->kind = p.kind;
	s->pages = (uint8_t)p.pages;
	return true;
}

/* --- the stack window --- */

static void window_show(struct cpu *c, const struct window *w)
{
	c->t.bias = w->bias;
	c->t.neg_bias = -w->bias;
	c->t.stack_base = w->base;
	c->t.stack_valid = true;
}

/* [linear, + size) lies in the page of @linear and the next one. */
static bool window_of_two(struct cpu *c, uint64_t linear, uint64_t size, struct window *w)
{
	uint64_t page = linear & ~(uint64_t)(FRAME_SIZE - 1), at = linear - page;
	const struct tlb_entry *a = tlb_ask(c, page, true), *b = tlb_ask(c, page + FRAME_SIZE, true);
	uint8_t *host;
	uint64_t start;

	if (!a || !b || at_4g(page + FRAME_SIZE))
		return false;
	*w = (struct window){ .valid = true, .pages = 2, .linear = page, .kind = (uint8_t)(a->kind | b->kind),
			      .frame = { frame_at(c, a->host), frame_at(c, b->host) } };
	host = pair_host(c, w->frame[0], w->frame[1]);
	if (!host)
		return false;
	/* As much room before as behind, within the two. */
	start = at + size / 2;
	start = start < WINDOW_SIZE / 2 ? 0 : start - WINDOW_SIZE / 2;
	if (start > FRAME_SIZE)
		start = FRAME_SIZE;
	w->bias = (uint64_t)(uintptr_t)host - page;
	w->base = (uint64_t)(uintptr_t)host + start;
	return true;
}

static bool window_of_one(struct cpu *c, uint64_t linear, struct window *w)
{
	const struct tlb_entry *e = tlb_ask(c, linear, true);

	if (!e)
		return false;
	*w = (struct window){ .valid = true, .pages = 1, .linear = e->store, .kind = (uint8_t)e->kind,
			      .frame = { frame_at(c, e->host) }, .bias = e->addend, .base = e->host };
	return true;
}

bool stack_fill(struct cpu *c, uint64_t rsp, int32_t lo, int32_t hi)
{
	uint64_t linear = rsp + (uint64_t)(int64_t)lo, size = (uint64_t)((int64_t)hi - lo);
	struct window w;

	if (size > FRAME_SIZE)
		return false;
	if (size > FRAME_SIZE - (linear & (FRAME_SIZE - 1)) ? !window_of_two(c, linear, size, &w) : !window_of_one(c, linear, &w))
		return false;
	c->t.book->window[c->tlbs->view] = w;
	window_show(c, &w);
	return true;
}

/* --- dropping --- */

static void windows_drop(struct cpu *c)
{
	for (unsigned v = 0; v < VIEW_COUNT; v++)
		c->t.book->window[v].valid = false;
	stack_none(c);
}

void window_select(struct cpu *c)
{
	const struct slot_book *k = c->t.book;
	const struct window *w = &k->window[c->tlbs->view];

	/* With AC set a supervisor may do all that it may do without. */
	if (!w->valid && c->tlbs->view == VIEW_KERNEL_AC)
		w = &k->window[VIEW_KERNEL];
	/* One of a 64-bit stack beyond 4 GiB is no stack of other code, whose ESP may look like it (legacy.h). */
	if (w->valid && c->stack_size != 2 && (c->mode == INSN_MODE64 || !(w->linear >> 32)))
		window_show(c, w);
	else
		stack_none(c);
}

static void drop_logged(struct cpu *c, unsigned global)
{
	uint8_t bit = global ? SLOT_LOG_GLOBAL : SLOT_LOG;

	for (uint32_t i = 0; i < c->t.slot_logged[global]; i++) {
		struct slot *s = &c->slot[c->t.slot_log[global][i]];

		s->limit = 0;
		s->log &= (uint8_t)~bit;
	}
	if (c->t.slot_logged[global])
		tlb_set_bytes(&c->t.slot_pages->set[global], 0, sizeof(c->t.slot_pages->set[global]));
	c->t.slot_logged[global] = 0;
}

void slots_drop(struct cpu *c, bool global)
{
	c->t.book->dropped++;
	windows_drop(c);
	drop_logged(c, 0);
	if (!global)
		return;
	drop_logged(c, 1);
}

void slots_drop_keyed(struct cpu *c)
{
	slots_drop(c, true);
}

static bool may_show(const struct slot_page_set *s, uint64_t linear)
{
	return s->page[linear >> FRAME_SHIFT & (SLOT_PAGES - 1)] || s->large[linear >> LARGE_SHIFT & (SLOT_PAGES - 1)];
}

/* Whether INVLPG of @linear takes what shows @pages from @base on. */
static bool loses(uint64_t base, unsigned pages, unsigned kind, uint64_t linear)
{
	if (kind & TLB_LARGE)
		return base >> LARGE_SHIFT == linear >> LARGE_SHIFT ||
		       (base + (pages - 1) * FRAME_SIZE) >> LARGE_SHIFT == linear >> LARGE_SHIFT;
	return linear - base < (uint64_t)pages * FRAME_SIZE;
}

static void drop_page_logged(struct cpu *c, unsigned log, uint64_t linear)
{
	for (uint32_t i = 0; i < c->t.slot_logged[log]; i++) {
		struct slot *s = &c->slot[c->t.slot_log[log][i]];

		if (s->limit && loses(s->base, s->pages, s->kind, linear))
			s->limit = 0;
	}
}

void slots_drop_page(struct cpu *c, uint64_t linear)
{
	struct slot_book *k = c->t.book;
	bool global = (linear >> 63 || c->tlbs->global_low) && may_show(&c->t.slot_pages->set[1], linear);

	k->dropped++;
	for (unsigned v = 0; v < VIEW_COUNT; v++) {
		struct window *w = &k->window[v];

		if (w->valid && loses(w->linear, w->pages, w->kind, linear))
			w->valid = false;
	}
	window_select(c);
	if (global || may_show(&c->t.slot_pages->set[0], linear)) {
		/* Many are sooner filled anew, those that are still wanted, than looked through each time. */
		if (c->t.slot_logged[0] > SCAN_MAX)
			drop_logged(c, 0);
		else
			drop_page_logged(c, 0, linear);
	}
	if (global)
		drop_page_logged(c, 1, linear);
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

static void mark(struct translator *tr, uint64_t frame)
{
	atomic_store_explicit(&tr->stored[frame], tr->store_epoch, memory_order_relaxed);
}

static void withdraw_windows(struct cpu *c, struct translator *tr, uint64_t frame)
{
	struct slot_book *k = c->t.book;

	for (unsigned v = 0; v < VIEW_COUNT; v++) {
		struct window *w = &k->window[v];

		for (unsigned n = 0; n < w->pages && w->valid; n++) {
			if (w->frame[n] == frame)
				w->valid = false;
			else
				mark(tr, w->frame[n]);
		}
	}
	window_select(c);
}

static void withdraw_slots(struct cpu *c, struct translator *tr, uint64_t frame, unsigned log)
{
	for (uint32_t i = 0; i < c->t.slot_logged[log]; i++) {
		struct slot *s = &c->slot[c->t.slot_log[log][i]];

		for (unsigned n = 0; s->limit && s->store && n < s->pages; n++)
			if (frame_behind(c, s->base + s->addend + n * FRAME_SIZE) == frame)
				s->limit = 0;
		for (unsigned n = 0; s->limit && s->store && n < s->pages; n++)
			mark(tr, frame_behind(c, s->base + s->addend + n * FRAME_SIZE));
	}
}

static void withdraw_entries(struct cpu *c, struct translator *tr, uint64_t frame, struct tlb_view *v)
{
	for (unsigned w = 0; w < TLB_ENTRIES / 64; w++)
		for (uint64_t m = v->stores[w]; m; m &= m - 1) {
			unsigned i = w * 64 + (unsigned)__builtin_ctzll(m);
			struct tlb_entry *e = &v->tlb.entry[i];

			if (frame_at(c, e->host) != frame) {
				mark(tr, frame_at(c, e->host));
				continue;
			}
			e->store = tlb_none(i);
			v->stores[w] &= ~(m & -m);
		}
}

static void withdraw_from(struct cpu *c, struct translator *tr, uint64_t frame)
{
	if (!c->t.book)
		return;
	c->t.book->dropped++;
	withdraw_windows(c, tr, frame);
	withdraw_slots(c, tr, frame, 0);
	withdraw_slots(c, tr, frame, 1);
	for (unsigned i = 0; i < TLB_SPACES; i++)
		for (unsigned k = 0; k < VIEW_COUNT; k++)
			if (c->tlbs->space[i].view[k].used)
				withdraw_entries(c, tr, frame, &c->tlbs->space[i].view[k]);
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
