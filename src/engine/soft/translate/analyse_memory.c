// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which memory operands one check can serve, in 64-bit code.
 *
 * One walk from the first instruction to the last, with the ranges that are open: one relative to RSP, and one for each
 * base register. A range belongs to its leader, the instruction before which its check will stand, and counts its
 * bytes from what the register is there. It is closed when that can no longer be known.
 *
 * Invariants:
 *  - the members of a stack range are all above the leader of the next, since there is one window;
 *  - where flags are live a stack check is moved up, to where RSP is known by constants and flags are not live, if there is such a place;
 *  - a register that carries an open range has not changed since the leader (RSP: only by `rsp`, a sum of
 *    constants);
 *  - a check covers more than what is accessed on the way that is taken; that costs a needless way out, never a wrong
 *    one. So all that is unclear gets a check of its own, or none at all where nobody checks but the interpreter.
 */
#include "engine/soft/translate/analyse.h"

enum {
	/* Further from RSP than that no access is on the same page: it would only move the stack window to and fro. */
	STACK_REACH = 4096,
	/* Larger operands (FXSAVE, FNSAVE) and those of unknown size (XSAVE) do not share a check. */
	SHARED_SIZE_MAX = 64,
	RSP_SUM_MAX = 1 << 20,
};

struct range {
	bool open, store;
	bool past_branch; /* what comes now is not always executed when the leader is */
	uint8_t leader;
	unsigned members;
	int64_t lo, hi;
};

struct walk {
	struct trace *t;
	int64_t limit;
	struct range stack;
	int64_t rsp; /* RSP now, less RSP before the leader of the stack range */
	unsigned past;  /* behind the last access of the stack ranges so far */
	unsigned known; /* from this instruction on RSP has only changed by constants, and nothing ended ranges */
	int64_t sum[TRACE_INSNS_MAX + 1]; /* RSP before each of them, less RSP before that one */
	struct range group[16];
};

/* --- ranges --- */

static bool range_extend(struct range *r, int64_t limit, int64_t at, unsigned size, bool store)
{
	int64_t lo = at < r->lo ? at : r->lo, hi = at + size > r->hi ? at + size : r->hi;

	if (!r->open || hi - lo > limit)
		return false;
	/* Not for a store that may never happen: the page may well be one that is only read. */
	if (store && !r->store && r->past_branch)
		return false;
	r->lo = lo;
	r->hi = hi;
	r->store |= store;
	r->members++;
	return true;
}

static void range_open(struct range *r, unsigned leader, int64_t at, unsigned size, bool store)
{
	*r = (struct range){
		.open = true, .store = store, .leader = (uint8_t)leader, .members = 1, .lo = at, .hi = at + size
	};
}

static void stack_close(struct walk *w)
{
	struct range *r = &w->stack;

	if (r->open) {
		struct trace_insn *ti = &w->t->insn[r->leader];

		ti->stack_lo = (int32_t)r->lo;
		ti->stack_hi = (int32_t)r->hi;
		ti->stack_store = r->store;
	}
	r->open = false;
}

static void group_close(struct walk *w, unsigned base)
{
	struct range *r = &w->group[base];

	if (r->open) {
		struct trace_insn *ti = &w->t->insn[r->leader];

		if (r->members == 1) {
			ti->how = MEM_SINGLE;
		} else {
			ti->group_lo = (int32_t)r->lo;
			ti->group_hi = (int32_t)r->hi;
			ti->group_store = r->store;
		}
	}
	r->open = false;
}

/* Before instruction @i. */
static void rsp_unknown(struct walk *w, unsigned i)
{
	stack_close(w);
	w->known = i;
	w->sum[i] = 0;
}

static void close_all(struct walk *w, unsigned i)
{
	rsp_unknown(w, i);
	for (unsigned n = 0; n < 16; n++)
		group_close(w, n);
}

/*
 * Where the check of a stack range that begins with instruction @i stands. A check changes flags: where they are live it would have to
 * keep them, so it stands before an instruction above where they are not. But below all of the range before, whose check may move the stack
 * window from where this one has found it.
 */
static unsigned stack_leader(const struct walk *w, unsigned i)
{
	for (unsigned n = i + 1; n-- > w->known && n >= w->past;) {
		const struct trace_insn *ti = &w->t->insn[n];

		if (!ti->live_in)
			return n;
	}
	return i;
}

/* Instruction @i accesses @size bytes at RSP + @off, RSP as it is before it. */
static void stack_access(struct walk *w, unsigned i, int64_t off, unsigned size, bool store)
{
	struct trace_insn *ti = &w->t->insn[i];

	if (!range_extend(&w->stack, w->limit, w->rsp + off, size, store)) {
		unsigned leader;

		stack_close(w);
		leader = stack_leader(w, i);
		w->rsp = w->sum[i] - w->sum[leader];
		range_open(&w->stack, leader, w->rsp + off, size, store);
	}
	w->past = i + 1;
	ti->how = MEM_STACK;
	ti->store = store;
	ti->leader = w->stack.leader;
}

static void group_access(struct walk *w, unsigned i, const struct insn *in, unsigned size, bool store)
{
	struct trace_insn *ti = &w->t->insn[i];
	struct range *r = &w->group[in->base];

	if (!range_extend(r, w->limit, in->disp, size, store)) {
		group_close(w, in->base);
		range_open(r, i, in->disp, size, store);
	}
	ti->how = MEM_GROUP;
	ti->store = store;
	ti->leader = r->leader;
}

/* --- explicit operands --- */

/* The operand of @in that is in memory, or -1 when nothing is accessed through ModRM (LEA, PREFETCH, NOP, VSIB). */
static int memory_operand(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	if (!(in->flags & INSN_MEM))
		return -1;
	for (int n = 0; n < 4; n++) {
		switch (op->opnd[n].kind) {
		case OPND_E:
		case OPND_M:
		case OPND_W:
		case OPND_Q: return op->opnd[n].size == SIZE_NONE ? -1 : n;
		default: break;
		}
	}
	return -1;
}

/* Is the address base + disp and nothing more, for a number of bytes that is known? */
static bool simple_address(const struct insn *in, unsigned size)
{
	const struct opcode *op = &opcode_table[in->row];

	if (in->addrsize != 8 || in->index != GPR_ZERO || in->base > R15 || (in->flags & INSN_MOFFS))
		return false;
	if (in->seg == SEG_FS || in->seg == SEG_GS)
		return false;
	if (!size || size > SHARED_SIZE_MAX || (op->attr & OP_MASKED))
		return false;
	if ((int64_t)in->disp + size > INT32_MAX)
		return false;
	switch (in->id) {
	case INSN_ID_BT:
	case INSN_ID_BTS:
	case INSN_ID_BTR:
	case INSN_ID_BTC: return op->opnd[1].kind == OPND_I; /* else the bit may be anywhere (SDM vol. 2, 3.1.1.9) */
	default: return true;
	}
}

static void explicit_access(struct walk *w, unsigned i)
{
	struct trace_insn *ti = &w->t->insn[i];
	const struct insn *in = &ti->in;
	int n = memory_operand(in);
	unsigned size;
	bool store;

	if (n < 0)
		return;
	size = insn_operand_size(in, (unsigned)n);
	store = opcode_table[in->row].opnd[n].access & ACCESS_W;
	if (!simple_address(in, size)) {
		ti->how = MEM_SINGLE;
		ti->store = store;
	} else if (in->base != RSP) {
		group_access(w, i, in, size, store);
	} else if (in->disp >= -STACK_REACH && in->disp + (int)size <= STACK_REACH) {
		stack_access(w, i, in->disp, size, store);
	} else {
		ti->how = MEM_SINGLE;
		ti->store = store;
	}
}

/* --- the stack --- */

/* Pushes or pops one element of its operand size, and has no other way to the stack. */
static bool one_element(const struct insn *in, bool *push)
{
	switch (in->id) {
	case INSN_ID_PUSH:
	case INSN_ID_PUSHF:
	case INSN_ID_PUSH_SEG:
	case INSN_ID_CALL:
	case INSN_ID_CALL_IND: *push = true; return true;
	case INSN_ID_POP:
	case INSN_ID_POPF:
	case INSN_ID_POP_SEG:
	case INSN_ID_RET: *push = false; return true;
	default: return false;
	}
}

/* By how much RSP changes; false: not by a constant. */
static bool rsp_change(const struct insn *in, int64_t *by)
{
	const struct opcode *op = &opcode_table[in->row];
	bool to_rsp = !(in->flags & INSN_MEM) && in->rm == RSP && in->opsize == 8, push;

	*by = 0;
	if (!(insn_gprs_written(in) & 1u << RSP))
		return true;
	if (one_element(in, &push)) {
		*by = push ? -(int64_t)in->opsize : in->opsize;
		if (in->id == INSN_ID_RET)
			*by += (uint16_t)in->imm;
		return !(in->id == INSN_ID_POP && !(in->flags & INSN_MEM) && in->rm == RSP);
	}
	switch (in->id) {
	case INSN_ID_ADD:
	case INSN_ID_SUB:
		*by = in->id == INSN_ID_ADD ? (int64_t)in->imm : -(int64_t)in->imm;
		return to_rsp && op->opnd[1].kind == OPND_I;
	case INSN_ID_INC: *by = 1; return to_rsp;
	case INSN_ID_DEC: *by = -1; return to_rsp;
	case INSN_ID_LEA:
		*by = in->disp;
		return in->opsize == 8 && in->addrsize == 8 && in->base == RSP && in->index == GPR_ZERO;
	default: return false;
	}
}

/* --- the walk --- */

/* What it does to address spaces and slots is not followed here, or what comes behind it is not what runs next. */
static bool ends_ranges(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_JCC:
	case INSN_ID_LOOP:
	case INSN_ID_LOOPE:
	case INSN_ID_LOOPNE:
	case INSN_ID_JCXZ: return false;
	default: return (in->flags & INSN_ENDS) || (opcode_table[in->row].attr & OP_CPL0);
	}
}

static void registers_changed(struct walk *w, unsigned i, const struct insn *in)
{
	uint32_t written = insn_gprs_written(in);
	int64_t by;

	for (unsigned n = 0; n < 16; n++)
		if (written & 1u << n)
			group_close(w, n);
	if (!rsp_change(in, &by) || by > RSP_SUM_MAX || by < -RSP_SUM_MAX) {
		rsp_unknown(w, i + 1);
		return;
	}
	w->rsp += by;
	w->sum[i + 1] = w->sum[i] + by;
	if (w->sum[i + 1] > RSP_SUM_MAX || w->sum[i + 1] < -RSP_SUM_MAX)
		rsp_unknown(w, i + 1);
}

static void walk_insn(struct walk *w, unsigned i)
{
	struct trace_insn *ti = &w->t->insn[i];
	const struct insn *in = &ti->in;
	bool push;

	if (in->id == INSN_ID_LEAVE) {
		ti->how = MEM_SINGLE; /* pops from where RBP points to */
	} else if (one_element(in, &push)) {
		stack_access(w, i, push ? -(int64_t)in->opsize : 0, in->opsize, push);
		ti->also_explicit = memory_operand(in) >= 0;
	} else {
		explicit_access(w, i);
	}
	if (ends_ranges(in)) {
		close_all(w, i + 1);
		return;
	}
	registers_changed(w, i, in);
	if (in->flags & INSN_ENDS)
		for (unsigned n = 0; n < 16; n++)
			w->group[n].past_branch = true;
}

void analyse_memory(struct trace *t, int32_t range, bool (*translated)(const struct insn *in))
{
	struct walk w = { .t = t, .limit = range };

	for (unsigned i = 0; i < t->count; i++) {
		struct trace_insn *ti = &t->insn[i];

		ti->how = MEM_NONE;
		ti->store = ti->also_explicit = false;
		ti->leader = (uint8_t)i;
		ti->stack_lo = ti->stack_hi = ti->group_lo = ti->group_hi = 0;
		ti->stack_store = ti->group_store = false;
	}
	for (unsigned i = 0; i < t->count; i++) {
		const struct insn *in = &t->insn[i].in;

		if (in->row >= opcode_count || in->id == INSN_ID_NONE || (translated && !translated(in)))
			close_all(&w, i + 1);
		else
			walk_insn(&w, i);
	}
	close_all(&w, t->count);
}
