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
#include "engine/soft/translate/translate.h"

typedef void enter_fn(struct cpu *c, const uint8_t *code);

uint32_t translate_mode(const struct cpu *c)
{
	bool ac = c->cpl != 3 && (!(c->cr4 & CR4_SMAP) || (c->sysflags & RF_AC));

	return block_mode(c) | (uint32_t)ac << 16;
}

/* --- entering --- */

/*
 * The TLB had nothing for @linear: it has now, unless the walk found a reason for a fault (which is the interpreter's to raise, when it runs the
 * instruction), or no memory.
 */
static bool tlb_missed(struct cpu *c, uint64_t linear, bool store)
{
	uint8_t level = c->t.vector;
	bool filled;

	c->gpr[GPR_RIP] = c->t.page + c->t.exit_at;
	translate_vector_save(c);
	filled = mmu_fill(c, linear, store ? MMU_WRITE : MMU_READ);
	/* The block goes on with the level that it has checked already. */
	return (!level || translate_vector_load(c, level)) && filled;
}

static bool group_fill(struct cpu *c)
{
	struct cpu_translate *t = &c->t;
	uint32_t size = t->exit_size & ~EXIT_STORES;

	uint64_t linear = t->exit_value + c->slot[t->exit_slot].base;
	bool store = t->exit_size & EXIT_STORES;
	/* Of a range it is not sure yet that it is stored to: no dirty flag may come of it. */
	bool sure = t->exit_kind == EXIT_FILL || !store;

	t->fills++;
	if (slot_fill(c, t->exit_slot, linear, size, store))
		return true;
	t->fill_misses++;
	return sure && size <= FRAME_SIZE && tlb_missed(c, linear, store) && slot_fill(c, t->exit_slot, linear, size, store);
}

static bool window_fill(struct cpu *c)
{
	struct cpu_translate *t = &c->t;
	uint64_t linear = t->exit_value + t->neg_bias;

	t->stack_fills++;
	if (stack_fill(c, linear, 0, (int32_t)(t->exit_size & ~EXIT_STORES)))
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
		go(c, code);
		code = NULL;
		t->exits[t->exit_kind]++;
		if (t->exit_flags_saved) {
			c->flags = t->flags;
			t->exit_flags_saved = false;
		}
		switch ((enum exit_kind)t->exit_kind) {
		case EXIT_CHAIN:
			code = chain(c);
			break;
		case EXIT_FILL:
			next = NEXT_ONE;
			if (group_fill(c))
				code = tr->rx + t->exit_site;
			break;
		case EXIT_GROUP:
			next = NEXT_BLOCK;
			if (group_fill(c))
				code = tr->rx + t->exit_site;
			break;
		case EXIT_STACK:
			next = NEXT_BLOCK;
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
			if (call_jump(c, t->exit_value))
				code = tr->rx + t->exit_site;
			break;
		case EXIT_CALL:
			code = call_run(c);
			if (!code)
				return NEXT_LOOP;
			break;
		case EXIT_POLL:
		case EXIT_STALE:
		default:
			break;
		}
		if (code)
			next = NEXT_LOOP;
	}
	c->gpr[GPR_RIP] = t->page + t->exit_at;
	/* In STI's shadow only the run loop knows how to go on. */
	return c->shadow ? NEXT_LOOP : next;
}

/* --- the run loop's side --- */

bool translate_possible(const struct cpu *c)
{
	return c->t.tr && c->mode == INSN_MODE64 && !c->align_check && !c->dbg.watch_count;
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
	if (c->t.exit_kind == EXIT_STALE)
		jumps_forget(c, c->gpr[GPR_RIP]);
	return next;
}

bool translate_again(struct cpu *c, enum translate_next *next)
{
	uint64_t rip = c->gpr[GPR_RIP];
	const struct jump *j = &c->t.jumps_open->entry[rip & (JUMPS - 1)];

	if (j->neg_rip + rip)
		return false;
	*next = run_at(c, (const uint8_t *)(uintptr_t)j->code);
	return true;
}

enum translate_next translate_run(struct cpu *c, struct block *b)
{
	struct translator *tr = c->t.tr;
	uint64_t rip = c->gpr[GPR_RIP], key = c->fetch_frame << FRAME_SHIFT | (rip & (FRAME_SIZE - 1));
	uint32_t mode = translate_mode(c);
	struct tblock *tb;

	if (b == c->blocks->scratch || c->fetch_linear != (rip & ~(uint64_t)(FRAME_SIZE - 1)))
		return NEXT_GIVEN;
	tb = cache_find(tr, key, mode);
	if (!tb) {
		if (b->runs == BLOCK_NEVER)
			return NEXT_ONE;
		if (b->runs < tr->tuning.hot) {
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
