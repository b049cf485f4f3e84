// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Running translated code from the run loop, and what it comes back with.
 *
 * Translated code comes back to translate_enter often (a slot to fill, a branch to link) and goes on at once. Only when the interpreter
 * or the run loop has something to do is the guest's vector state brought home; everything on the shorter way is
 * compiled without vector registers (meson.build), so that they still hold the guest's.
 */
#include "engine/soft/translate/block.h"
#include "engine/soft/translate/call.h"

#include "engine/soft/interp/block.h"
#include "engine/soft/mmu/mmu.h"
#include "engine/soft/translate/legacy.h"
#include "engine/soft/translate/translate.h"

typedef void enter_fn(struct cpu *c, const uint8_t *code);

uint32_t translate_mode(const struct cpu *c)
{
	bool ac = c->cpl != 3 && (!(c->cr4 & CR4_SMAP) || (c->sysflags & RF_AC));

	return block_mode(c) | (uint32_t)ac << 16 | c->t.seg_mode;
}

/* --- entering --- */

/* Outside 64-bit mode an access does not go beyond 4 GiB, but on at 0. */
static bool beyond(const struct cpu *c, uint64_t linear, uint64_t size)
{
	return c->mode != INSN_MODE64 && (linear + size - 1) >> 32;
}

/*
 * The TLB learns what the site wants, and the site's slot; where to go on, or NULL. Nothing waits for other vCPUs meanwhile. If slots were
 * dropped the code cannot be gone on with in its middle: what checks before this one have found may not hold any more.
 */
static const uint8_t *site_fill(struct cpu *c, enum translate_next *next)
{
	struct cpu_translate *t = &c->t;
	const struct slot_site *s = &t->sites[t->exit_slot];
	bool store = s->flags & SITE_STORE;
	bool sure = !(s->flags & SITE_GROUP); /* that it will be stored to */
	uint64_t dropped = slots_dropped(c), last = t->exit_value + s->size - 1;

	t->exit_at = s->at;
	if (s->flags & SITE_SAVED)
		c->flags = t->flags;
	*next = s->flags & SITE_GROUP ? NEXT_BLOCK : NEXT_ONE;
	t->fills++;
	if (!beyond(c, t->exit_value, s->size) && mmu_try_fill(c, t->exit_value, store, sure) &&
	    (t->exit_value >> FRAME_SHIFT == last >> FRAME_SHIFT || mmu_try_fill(c, last, store, sure)) &&
	    slot_fill(c, t->exit_slot, t->exit_value, s->size, store) &&
	    slots_dropped(c) == dropped)
		return t->tr->rx + s->retry;
	t->fill_misses++;
	return NULL;
}

/* The same for the stack window. Where two pages have to be shown the second may be missing. */
static bool window_fill(struct cpu *c)
{
	struct cpu_translate *t = &c->t;
	uint64_t linear = t->exit_value + t->stack_base + t->neg_bias, size = t->exit_size & ~EXIT_STORES, dropped = slots_dropped(c);

	t->stack_fills++;
	if (size && !beyond(c, linear, size) && mmu_try_fill(c, linear, true, false) && mmu_try_fill(c, linear + size - 1, true, false) &&
	    stack_fill(c, linear, 0, (int32_t)size) && slots_dropped(c) == dropped)
		return true;
	t->stack_misses++;
	return false;
}

/* Where to go on inside the page: the target's code, linked to the branch that asked; NULL: it has none. */
static const uint8_t *chain(struct cpu *c)
{
	struct translator *tr = c->t.tr;
	const struct tblock *from = cache_at(tr, (uint64_t)(uintptr_t)(tr->rx + c->t.exit_site));
	struct tblock *to;
	const uint8_t *code = NULL;

	if (!from)
		return NULL;
	to = cache_find(tr, (from->key & ~(uint64_t)(FRAME_SIZE - 1)) | c->t.exit_at, from->mode);
	if (!to)
		return NULL;
	pthread_mutex_lock(&tr->lock);
	if (to->live) {
		cache_link(tr, c->t.exit_site, to);
		code = tr->rx + to->code;
	}
	pthread_mutex_unlock(&tr->lock);
	return code;
}

/*
 * The jump cache learns exit_value, and the code looks again; or NULL. An instruction across two pages may be translated on the way, so that
 * the frame of the stack becomes code: then the window that the branch has found to be there is not.
 */
static const uint8_t *retry_jump(struct cpu *c)
{
	struct translator *tr = c->t.tr;
	uint64_t flushes = atomic_load(&tr->flushes), dropped = slots_dropped(c);

	return call_jump(c, c->t.exit_value) && atomic_load(&tr->flushes) == flushes && slots_dropped(c) == dropped ?
		       tr->rx + c->t.exit_site : NULL;
}

/* What the stub that was left through has to tell. Before anything may throw away all blocks. */
static void read_exit_point(struct cpu *c)
{
	struct cpu_translate *t = &c->t;
	const struct exit_point *x = &t->tr->exits[t->exit_point];

	t->exit_kind = x->kind;
	t->exit_at = x->at;
	t->exit_site = x->site;
	t->exit_slot = x->slot;
	t->exit_size = x->size;
	if (x->flags_saved)
		c->flags = t->flags;
}

/* What emits code may use vector registers, and the block under way counts on the guest's being there. */
static void ask_about_site(struct cpu *c)
{
	unsigned there = c->t.vector;

	translate_vector_save(c);
	site_is_hot(c, c->t.exit_slot);
	if (there)
		translate_vector_load(c, there);
}

/*
 * Outside 64-bit mode RSP may have left its 32 bits (legacy.h). It is cut before anything else looks at it; but not where the code is gone on with
 * in its middle, unless a window is looked for: what an earlier check has found to be in the window lies at sums that were not cut.
 */
static void esp_cut(struct cpu *c)
{
	if (__builtin_expect(!(c->gpr[RSP] >> 32) || c->mode == INSN_MODE64, 1))
		return;
	if (c->t.exit_kind == EXIT_STACK)
		c->t.exit_value -= c->gpr[RSP] & ~0xffffffffull;
	c->gpr[RSP] = (uint32_t)c->gpr[RSP];
}

/* Runs from @code until something is to be done outside. RIP is right again then, the vector state may be in the registers. */
static enum translate_next enter(struct cpu *c, const uint8_t *code)
{
	struct cpu_translate *t = &c->t;
	struct translator *tr = t->tr;
	enum translate_next next = NEXT_LOOP;
	enter_fn *go;
	const uint8_t *address = tr->rx + tr->enter;

	__builtin_memcpy(&go, &address, sizeof(go));
	while (code) {
		t->entries++;
		t->linear = linear_of_rip(c);
		go(c, code);
		code = NULL;
		if (t->exit_kind == EXIT_AT_POINT)
			read_exit_point(c);
		t->exits[t->exit_kind]++;
		switch ((enum exit_kind)t->exit_kind) {
		case EXIT_CHAIN:
			code = chain(c);
			if (!code) {
				c->gpr[GPR_RIP] = rip_of(c, t->page + t->exit_at);
				code = call_find(c);
			}
			break;
		case EXIT_FILL:
			code = site_fill(c, &next);
			break;
		case EXIT_HOT:
			ask_about_site(c);
			code = site_fill(c, &next);
			break;
		case EXIT_STACK:
			next = NEXT_BLOCK;
			esp_cut(c);
			if (window_fill(c))
				code = tr->rx + t->exit_site;
			break;
		case EXIT_VECTOR:
			next = NEXT_ONE;
			if (translate_vector_load(c, t->exit_slot))
				code = tr->rx + t->exit_site;
			break;
		case EXIT_ONE:
			next = NEXT_ONE;
			break;
		case EXIT_JUMP:
			next = NEXT_ONE;
			code = retry_jump(c);
			break;
		case EXIT_NEXT:
			code = retry_jump(c);
			break;
		case EXIT_CALL:
			esp_cut(c);
			code = call_run(c);
			if (!code)
				return NEXT_LOOP;
			break;
		case EXIT_CHANGED:
			mixed_changed(tr, t->exit_site);
			break;
		case EXIT_PROVEN:
			mixed_proven(tr, t->exit_site);
			break;
		case EXIT_POLL:
		case EXIT_STALE:
		default:
			break;
		}
		if (code)
			next = NEXT_LOOP;
	}
	esp_cut(c);
	c->gpr[GPR_RIP] = rip_of(c, t->page + t->exit_at);
	/* In STI's shadow only the run loop knows how to go on. */
	return c->shadow ? NEXT_LOOP : next;
}

/* --- the run loop's side --- */

bool translate_possible(const struct cpu *c)
{
	return c->t.tr && !c->align_check && !c->dbg.watch_count;
}

/* --- stress: switches that only tests use (tuning.h) --- */

/* True once in @every calls with this @count; never when @every is 0. */
static bool due(uint32_t every, uint32_t *count)
{
	if (!every || ++*count < every)
		return false;
	*count = 0;
	return true;
}

/* Now and then a request that nobody made is found on the way: translated code comes back at its next look. */
static void stir(struct cpu *c)
{
	struct cpu_translate *t = &c->t;
	uint32_t every = t->tr->tuning.interrupt_every;

	/* Never at every entry: nothing would ever run. */
	if (!due(every ? 1 + every + t->random % every : 0, &t->stir_count))
		return;
	t->random = t->random * 1664525 + 1013904223;
	cpu_request(c, REQ_EVENT);
}

bool translate_skip(struct cpu *c)
{
	return due(c->t.tr->tuning.interp_every, &c->t.skip_count);
}

/* @code is a far entry. */
static enum translate_next run_at(struct cpu *c, const uint8_t *code)
{
	enum translate_next next;

	translate_thread_enter(c);
	jumps_open(c);
	stir(c);
	c->insn_count++; /* so that it is never what it was (smm.io_at) */
	next = enter(c, code);
	translate_vector_save(c);
	if (c->t.exit_kind >= EXIT_STALE)
		jumps_forget(c, linear_of_rip(c));
	return next;
}

bool translate_again(struct cpu *c, enum translate_next *next)
{
	uint64_t rip = linear_of_rip(c);
	const uint8_t *known = jumps_find(c, rip);

	if (!known)
		return false;
	*next = run_at(c, known);
	return true;
}

enum translate_next translate_run(struct cpu *c, struct block *b)
{
	struct translator *tr = c->t.tr;
	uint64_t rip = linear_of_rip(c), key = c->fetch_frame << FRAME_SHIFT | (rip & (FRAME_SIZE - 1));
	uint32_t mode = translate_mode(c), hot, flushes;
	struct tblock *tb;

	if (b == c->blocks->scratch || c->fetch_linear != (rip & ~(uint64_t)(FRAME_SIZE - 1)))
		return NEXT_GIVEN;
	hot = mixed_hot(tr, c->fetch_frame);
	flushes = (uint32_t)atomic_load_explicit(&tr->flushes, memory_order_relaxed);
	if (b->runs_since != flushes) {
		b->runs_since = flushes;
		b->runs = b->runs == BLOCK_NEVER ? BLOCK_NEVER : 0;
	}
	if (b->checked && b->runs < hot) { /* fresh code, mostly: there is nothing to be found yet */
		b->runs++;
		return NEXT_GIVEN;
	}
	tb = cache_find(tr, key, mode);
	if (!tb) {
		if (b->runs == BLOCK_NEVER)
			return NEXT_ONE;
		if (b->runs < hot) {
			b->runs++;
			return NEXT_GIVEN;
		}
		tb = translate_block(c, key, mode, c->fetch_host);
		if (!tb) {
			if (atomic_load(&tr->flush_wanted))
				cache_flush(tr, c);
			else if (c->t.work->never)
				b->runs = BLOCK_NEVER;
			return NEXT_ONE;
		}
		if (due(tr->tuning.flush_every, &c->t.flush_count)) {
			cache_flush(tr, c);
			return NEXT_GIVEN;
		}
	}
	jumps_set(c, rip, tb->far_code);
	return run_at(c, tr->rx + tb->far_code);
}
