// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Jump caches: where the code of a linear address is, for one address space and mode (state.h).
 *
 * Code at user level has a table for each address space of the TLB set. Supervisor code has the same pages in all of them, by and large: its tables
 * (64-bit and other code, with and without EFLAGS.AC) are shared by the spaces, and lose what is in pages that are not global when
 * the space changes. Each table belongs to one mode at a time, since code of one must not be found in another.
 *
 * Each way of a table is 1 MiB of memory that is taken as it is used. Filled entries are logged, but for those of global pages in supervisor tables; a
 * table whose log has run over is emptied by the host pages that were touched. A set of hashed pages tells INVLPG that a page has
 * no entry.
 *
 * Tables belong to the vCPU's thread; t.jumps, the gate, is written by others, too: cpu.req is set before it is closed and looked at
 * after it was opened, so that it does not stay open while something waits.
 */
#include "engine/soft/translate/cache.h"

#include "engine/soft/mmu/tlb.h"
#include "engine/soft/translate/translate.h"

#include <errno.h>
#include <sys/mman.h>

enum {
	LOG_MAX = 4096,
	SUPERVISOR_TABLES = 4,
	TABLES = TLB_SPACES + SUPERVISOR_TABLES,
	ENTRIES_IN_PAGE = FRAME_SIZE / sizeof(struct jump_entry),
	HOST_PAGES = JUMPS / ENTRIES_IN_PAGE,
	PAGES_BITS = 12,
};
#define MODE_NONE (~0u)

struct jump_table {
	struct jump_cache *cache;
	uint32_t mode;	       /* translate_mode, or MODE_NONE: it was never selected */
	bool used;	       /* it may have entries */
	bool unlogged;	       /* and such that are not logged */
	uint32_t logged;       /* more than LOG_MAX: some were not logged */
	uint64_t touched[HOST_PAGES / 64]; /* of the first way */
	uint64_t second[HOST_PAGES / 64];  /* of the second: where nothing was put, nothing is looked for, so that it takes no memory */
	uint64_t pages[(1 << PAGES_BITS) / 64]; /* hashed, of 4 KiB */
	uint64_t large;	       /* the others by large_bit */
	uint64_t in_log[JUMPS / 64];
	uint16_t log[LOG_MAX]; /* numbers of entries */
};

struct jump_set {
	unsigned space; /* the present one */
	struct jump_table *now;
	struct jump_table table[TABLES]; /* by space, then the supervisor's */
	struct jump_cache cache[TABLES] __attribute__((aligned(sizeof(struct jump_cache))));
};

void *jump_caches_map(size_t size)
{
	size_t align = sizeof(struct jump_cache);
	uint8_t *p = mmap(NULL, size + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	if (p == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)p & (align - 1);
	if (before)
		munmap(p, before);
	if (align - before)
		munmap(p + before + size, align - before);
	return p + before;
}

int jumps_init(struct cpu *c)
{
	struct jump_set *s = jump_caches_map(sizeof(*s));

	if (!s)
		return -ENOMEM;
	for (unsigned i = 0; i < TABLES; i++) {
		s->table[i].cache = &s->cache[i];
		s->table[i].mode = MODE_NONE;
	}
	c->t.jump_set = s;
	c->t.jumps_open = c->vm->tr->closed;
	atomic_store(&c->t.jumps, jump_cache_name(c->vm->tr->closed));
	return 0;
}

void jumps_finish(struct cpu *c)
{
	if (c->t.jump_set)
		munmap(c->t.jump_set, sizeof(*c->t.jump_set));
	c->t.jump_set = NULL;
}

/* --- one table --- */

static bool host_page_bit(const uint64_t *set, unsigned i)
{
	return set[i / ENTRIES_IN_PAGE / 64] >> (i / ENTRIES_IN_PAGE % 64) & 1;
}

static void set_host_page_bit(uint64_t *set, unsigned i)
{
	set[i / ENTRIES_IN_PAGE / 64] |= 1ull << (i / ENTRIES_IN_PAGE % 64);
}

static void way_clear(struct jump_way *w, unsigned i)
{
	w->entry[i].neg_rip = i ? 0 : JUMP_NONE;
}

/* Both ways. */
static void entry_clear(struct jump_table *t, unsigned i)
{
	way_clear(&t->cache->way[0], i);
	if (host_page_bit(t->second, i))
		way_clear(&t->cache->way[1], i);
}

static unsigned page_hash(uint64_t linear)
{
	return (unsigned)((linear >> FRAME_SHIFT) * 0x9e3779b97f4a7c15ull >> (64 - PAGES_BITS));
}

static void pages_add(struct jump_table *t, uint64_t linear)
{
	unsigned i = page_hash(linear);

	t->pages[i / 64] |= 1ull << (i % 64);
}

static bool pages_may_have(const struct jump_table *t, uint64_t linear)
{
	unsigned i = page_hash(linear);

	return t->pages[i / 64] >> (i % 64) & 1;
}

static void table_is_empty(struct jump_table *t)
{
	tlb_set_bytes(t->touched, 0, sizeof(t->touched));
	tlb_set_bytes(t->second, 0, sizeof(t->second));
	tlb_set_bytes(t->pages, 0, sizeof(t->pages));
	t->large = 0;
	t->logged = 0;
	t->used = t->unlogged = false;
}

static void way_drop_all(struct jump_way *way, const uint64_t *touched)
{
	for (unsigned w = 0; w < HOST_PAGES / 64; w++)
		for (uint64_t m = touched[w]; m; m &= m - 1) {
			unsigned page = w * 64 + (unsigned)__builtin_ctzll(m);

			tlb_set_bytes(&way->entry[page * ENTRIES_IN_PAGE], 0, FRAME_SIZE);
		}
	if (touched[0] & 1)
		way_clear(way, 0);
}

static void table_drop_logged(struct jump_table *t);

static void table_drop_all(struct jump_table *t)
{
	if (!t->used)
		return;
	if (!t->unlogged) {
		table_drop_logged(t);
		return;
	}
	way_drop_all(&t->cache->way[0], t->touched);
	way_drop_all(&t->cache->way[1], t->second);
	tlb_set_bytes(t->in_log, 0, sizeof(t->in_log));
	table_is_empty(t);
}

static void table_drop_logged(struct jump_table *t)
{
	if (t->logged > LOG_MAX) {
		t->unlogged = true;
		table_drop_all(t);
		return;
	}
	for (unsigned i = 0; i < t->logged; i++) {
		entry_clear(t, t->log[i]);
		t->in_log[t->log[i] / 64] = 0; /* all of them go */
	}
	t->logged = 0;
	if (t->used && !t->unlogged)
		table_is_empty(t);
}

static void pages_note(struct jump_table *t, uint64_t linear, unsigned kind)
{
	if (kind & PAGE_LARGE)
		t->large |= large_bit(linear);
	else
		pages_add(t, linear);
}

static void table_set(struct jump_table *t, uint64_t rip, uint64_t code, bool logged)
{
	unsigned i = jump_index(rip);
	struct jump_entry *first = &t->cache->way[0].entry[i], *second = &t->cache->way[1].entry[i];

	if (!logged)
		t->unlogged = true;
	if (logged && !(t->in_log[i / 64] >> (i % 64) & 1)) {
		t->in_log[i / 64] |= 1ull << (i % 64);
		if (t->logged < LOG_MAX)
			t->log[t->logged] = (uint16_t)i;
		if (t->logged <= LOG_MAX)
			t->logged++;
	}
	t->used = true;
	set_host_page_bit(t->touched, i);
	if (first->neg_rip > JUMP_NONE && first->neg_rip != -rip) {
		set_host_page_bit(t->second, i);
		*second = *first;
	}
	*first = (struct jump_entry){ -rip, code };
}

static void entry_drop_of_page(struct jump_table *t, unsigned i, uint64_t page)
{
	for (unsigned w = 0; w < 2; w++)
		if ((!w || host_page_bit(t->second, i)) && !((-t->cache->way[w].entry[i].neg_rip ^ page) >> FRAME_SHIFT))
			way_clear(&t->cache->way[w], i);
}

static void table_drop_page(struct jump_table *t, uint64_t linear)
{
	uint64_t page = linear & ~(uint64_t)(FRAME_SIZE - 1);
	unsigned first = jump_index(page);

	if (!t->used)
		return;
	if (t->large & large_bit(linear)) {
		table_drop_all(t);
		return;
	}
	if (!pages_may_have(t, linear))
		return;
	for (unsigned i = first; i < first + (FRAME_SIZE >> JUMP_SHIFT); i++)
		entry_drop_of_page(t, i, page);
	/* An instruction that began in the page before, too; outside 64-bit mode the last one of 4 GiB is before the first. */
	for (unsigned k = 1; k < INSN_BYTES_MAX; k++) {
		entry_drop_of_page(t, jump_index(page - k), page - FRAME_SIZE);
		if (!page)
			entry_drop_of_page(t, jump_index(page - k), (uint32_t)(page - FRAME_SIZE));
	}
}

/* --- the set --- */

static struct jump_table *table_of(struct jump_set *s, const struct cpu *c, unsigned space)
{
	if (c->cpl == 3)
		return &s->table[space];
	return &s->table[TLB_SPACES + (c->mode != INSN_MODE64 ? 2 : 0) + (c->sysflags & RF_AC ? 1 : 0)];
}

void jumps_select(struct cpu *c, unsigned space)
{
	struct jump_set *s = c->t.jump_set;
	struct jump_table *t = table_of(s, c, space);
	uint32_t mode = translate_mode(c);

	if (space != s->space) {
		for (unsigned i = TLB_SPACES; i < TABLES; i++)
			table_drop_logged(&s->table[i]);
		s->space = space;
	}
	if (t->mode != mode) {
		if (t->mode == MODE_NONE) {
			way_clear(&t->cache->way[0], 0);
			way_clear(&t->cache->way[1], 0);
		}
		table_drop_all(t);
		t->mode = mode;
	}
	s->now = t;
	c->t.jumps_open = t->cache;
	jumps_open(c);
}

void jumps_mode_changed(struct cpu *c)
{
	jumps_select(c, c->t.jump_set->space);
}

/* @global: all that it depends on is. */
static struct jump_table *enter(struct cpu *c, uint64_t rip, uint32_t code, bool global)
{
	struct jump_set *s = c->t.jump_set;

	if ((rip & ~(uint64_t)(FRAME_SIZE - 1)) != c->fetch_linear)
		return NULL;
	if (s->now->mode != translate_mode(c))
		jumps_select(c, s->space);
	table_set(s->now, rip, (uint64_t)(uintptr_t)(c->t.tr->rx + code), c->cpl == 3 || !global);
	pages_note(s->now, rip, c->t.fetch_kind);
	return s->now;
}

void jumps_set(struct cpu *c, uint64_t rip, uint32_t code)
{
	enter(c, rip, code, c->t.fetch_kind & PAGE_GLOBAL);
}

void jumps_set_crossing(struct cpu *c, uint64_t rip, uint32_t code, unsigned second_kind)
{
	struct jump_table *t = enter(c, rip, code, c->t.fetch_kind & second_kind & PAGE_GLOBAL);

	/* An INVLPG of the second page is to find it; one anywhere in a large page drops all there is. */
	if (t)
		pages_note(t, (rip + FRAME_SIZE) & c->t.rip_mask, second_kind);
}

void jumps_forget(struct cpu *c, uint64_t rip)
{
	struct jump_table *t = c->t.jump_set->now;
	unsigned i = jump_index(rip);

	for (unsigned w = 0; t && w < 2; w++)
		if (t->cache->way[w].entry[i].neg_rip + rip == 0)
			way_clear(&t->cache->way[w], i);
}

void jumps_drop(struct cpu *c, int space, bool global)
{
	struct jump_set *s = c->t.jump_set;

	for (unsigned i = 0; i < TLB_SPACES; i++)
		if (space < 0 || i == (unsigned)space)
			table_drop_logged(&s->table[i]); /* which is all */
	if (space >= 0 && (unsigned)space != s->space)
		return; /* what supervisor tables have is global or of the present space */
	for (unsigned i = TLB_SPACES; i < TABLES; i++) {
		if (global)
			table_drop_all(&s->table[i]);
		else
			table_drop_logged(&s->table[i]);
	}
}

void jumps_drop_page(struct cpu *c, uint64_t linear)
{
	for (unsigned i = 0; i < TABLES; i++)
		table_drop_page(&c->t.jump_set->table[i], linear);
}

/* --- the gate --- */

void jumps_close(struct cpu *c)
{
	atomic_store(&c->t.jumps, jump_cache_name(c->t.tr->closed));
}

void jumps_open(struct cpu *c)
{
	uint64_t open = jump_cache_name(c->t.jumps_open);

	if (atomic_load_explicit(&c->req, memory_order_relaxed)) {
		jumps_close(c);
		return;
	}
	if (atomic_load_explicit(&c->t.jumps, memory_order_relaxed) == open)
		return;
	atomic_store(&c->t.jumps, open);
	if (atomic_load(&c->req))
		jumps_close(c);
}
