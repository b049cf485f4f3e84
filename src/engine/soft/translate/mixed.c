// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Frames where code is written beside code that runs: what a just-in-time compiler fills, code that patches itself, data in a page of code.
 *
 * In most frames that have code nobody stores any more. There stores are watched (cache.h), and cost much: each takes the interpreter's way, and
 * each withdrawal of slots asks all vCPUs. A frame that is stored to again and again becomes a *mixed* one. Nothing is watched there;
 * what is made of its code compares the bytes that it was made from with memory, whenever it is entered:
 *
 *  - decoded blocks of the interpreter (interp/block.c), and blocks of translated code (emit_own_bytes);
 *  - both end behind an instruction that may store, so that a store of the vCPU's own is seen by the next instruction (SDM vol. 3, 11.6), and
 *    one of another vCPU at the next entry: no later than where that one needs it, since a serializing instruction (9.1.3) ends a block, and
 *    loads are not taken before the loads that precede them;
 *  - nothing that they rely on lies outside of their own bytes: all flags are live at the end.
 *
 * Such a block is right whatever becomes of its frame, so it may stay when the frame is watched again. That is tried when a block
 * was entered often and had not changed: code that was written once and then runs for long ought to be as fast as any. If the
 * frame becomes mixed once more, the next try comes after twice as many entries.
 */
#include "engine/soft/translate/emit.h"

/* Length of a while, in ticks of the TSC (some 20 ms); entries before the first try. */
enum { WHILE_SHIFT = 26, CHECKS = 2048 };

void mixed_gone(struct translator *tr, uint64_t frame)
{
	atomic_fetch_or_explicit(&tr->mixed[frame], MIXED_GONE, memory_order_relaxed);
}

bool mixed_stored(struct translator *tr, uint64_t frame, bool hit)
{
	uint32_t was = atomic_load_explicit(&tr->mixed[frame], memory_order_relaxed), count = was & MIXED_COUNT;
	uint32_t now = (uint32_t)(host_tsc() >> WHILE_SHIFT) % MIXED_WHILES;
	bool code = atomic_load_explicit(&tr->code_lines[frame], memory_order_relaxed);

	/* A store now and then does no harm. Without code there is nothing to lose: then it does not matter when they came. */
	if (code && (was >> MIXED_WHILE) % MIXED_WHILES != now)
		count = 0;
	count++;
	if (hit && (was & MIXED_GONE))
		was = (was & ~(uint32_t)MIXED_GONE) | MIXED_BACK;
	was &= ~(uint32_t)(MIXED_COUNT | (MIXED_WHILES - 1) << MIXED_WHILE);
	if (count < tr->tuning.mixed) {
		atomic_store_explicit(&tr->mixed[frame], was | now << MIXED_WHILE | count, memory_order_relaxed);
		return false;
	}
	/* What was overwritten for good is data now, or the next program. If it comes back all the same, it is not let go a second time. */
	code |= (was & MIXED_BACK) != 0;
	was &= ~(uint32_t)(MIXED_GONE | MIXED_BACK);
	atomic_store_explicit(&tr->mixed[frame], was | (code ? MIXED_YES : MIXED_BACK), memory_order_relaxed);
	return true;
}

int32_t mixed_checks(const struct translator *tr, uint64_t frame)
{
	uint32_t shift = atomic_load_explicit(&tr->mixed[frame], memory_order_relaxed) >> MIXED_SHIFT & 31;

	return tr->tuning.mixed ? (int32_t)(CHECKS << shift) : INT32_MAX;
}

static struct tblock *block_with(struct translator *tr, uint32_t at)
{
	const struct tblock *b = cache_at(tr, (uint64_t)(uintptr_t)(tr->rx + at));

	return b ? &tr->blocks[b - tr->blocks] : NULL;
}

void mixed_changed(struct translator *tr, uint32_t at)
{
	struct tblock *b = block_with(tr, at);

	pthread_mutex_lock(&tr->lock);
	if (b)
		cache_drop(tr, b);
	pthread_mutex_unlock(&tr->lock);
}

void mixed_proven(struct translator *tr, uint32_t at)
{
	struct tblock *b = block_with(tr, at);
	uint64_t frame;
	uint32_t shift;

	if (!b)
		return;
	frame = b->key >> FRAME_SHIFT;
	shift = atomic_load_explicit(&tr->mixed[frame], memory_order_relaxed) >> MIXED_SHIFT & 31;
	if (cache_mixed(tr, frame))
		atomic_store_explicit(&tr->mixed[frame], (shift < MIXED_SHIFT_MAX ? shift + 1 : shift) << MIXED_SHIFT, memory_order_relaxed);
	mixed_changed(tr, at);
}

/* --- instructions --- */

static bool stores_operand(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	for (unsigned i = 0; i < sizeof(op->opnd) / sizeof(op->opnd[0]); i++)
		switch (op->opnd[i].kind) {
		case OPND_E:
		case OPND_M:
		case OPND_W:
		case OPND_Q:
		case OPND_VM:
			if (op->opnd[i].access & ACCESS_W)
				return true;
			break;
		default:
			break;
		}
	return false;
}

bool mixed_insn_ends(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	if (!(op->attr & OP_USER))
		return true; /* of the system: few, and they may store to what no operand names */
	if (op->implicit & IMPL_RSP)
		return !(in->id == INSN_ID_POP || in->id == INSN_ID_LEAVE || in->id == INSN_ID_RET || in->id == INSN_ID_POPF) ||
		       in->flags & INSN_MEM;
	/* String instructions, MASKMOVQ and its kin. */
	if (op->implicit & IMPL_RDI)
		return true;
	return in->flags & (INSN_MEM | INSN_MOFFS) && stores_operand(in);
}

/* --- emission --- */

/* T0 is the host address of the bytes. */
static uint8_t *compare(struct code *c, const uint8_t *bytes, unsigned at, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)bytes[at + i] << 8 * i;
	if (n == 8) {
		asm_mov_imm(c, T1, v);
		asm_alu_rm(c, ALU_CMP, 8, T1, host_at(T0, (int32_t)at));
	} else if (n == 4) {
		asm_alu_mi(c, ALU_CMP, 4, host_at(T0, (int32_t)at), (int32_t)(uint32_t)v);
	} else {
		asm_alu_mi(c, ALU_CMP, 1, host_at(T0, (int32_t)at), (int8_t)v);
	}
	return asm_jcc(c, 5);
}

void emit_own_bytes(struct emit *e, uint64_t key, const uint8_t *bytes, unsigned n)
{
	struct code *c = &e->c;
	uint32_t slot = e->first_slot + e->slots++;
	bool live = e->ti->live_in != 0;
	uint8_t *over, *changed, *entry = c->p;
	struct stub *s;

	e->tr->sites[slot] = (struct slot_site){ .left = mixed_checks(e->tr, key >> FRAME_SHIFT) };
	over = asm_jmp(c);
	changed = c->p;
	s = emit_stub(e, asm_jmp(c), EXIT_CHANGED);
	s->retry = entry;
	s->flags_saved = true; /* what is there now may read flags that are dead in this block */
	if (c->full)
		return;
	asm_link(over, c->p);
	emit_flags_save(e);
	asm_load(c, 8, T0, HOST_CPU(t.sites));
	asm_alu_mi(c, ALU_SUB, 4, host_at(T0, (int32_t)(slot * sizeof(struct slot_site) + offsetof(struct slot_site, left))), 1);
	s = emit_stub(e, asm_jcc(c, 8), EXIT_PROVEN);
	s->retry = entry;
	s->flags_saved = true;
	asm_mov_imm(c, T0, key);
	asm_alu_rm(c, ALU_ADD, 8, T0, HOST_CPU(ram_host));
	for (unsigned at = 0, step; at < n && !c->full; at += step) {
		uint8_t *rel;

		step = n - at >= 8 ? 8 : n - at >= 4 ? 4 : 1;
		if (step < 8 && n >= 8) { /* some of them twice */
			at = n - 8;
			step = 8;
		}
		rel = compare(c, bytes, at, step);
		if (!c->full)
			asm_link(rel, changed);
	}
	if (live)
		emit_flags_restore(e);
}
