// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which memory operands one check can serve: in 64-bit code, and in flat segments outside it.
 *
 * One walk from the first instruction to the last, with the ranges that are open: one relative to RSP, and groups: each of a segment
 * base, a base register (or RIP) and a scaled index register. A range belongs to its leader, the instruction before which its check will
 * stand, and counts its bytes from what these are there. It is closed when that can no longer be known.
 *
 * Invariants:
 *  - the members of a stack range are all above the leader of the next, since there is one window;
 *  - where flags are live a stack check is moved up, to where RSP is known by constants and flags are not live, if there is such a place;
 *    but not into what may be a loop;
 *  - a register that carries an open range has only changed by a sum of constants since the leader (`rsp`, `moved`);
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

/* Operands that differ in their displacement only. */
struct group {
	struct range r;
	uint8_t seg; /* SEG_FS, SEG_GS; else any other */
	uint8_t base, index, scale;
	int64_t moved; /* by how much the address without displacement is another than before the leader */
};
enum { GROUPS = 16 };

struct walk {
	struct trace *t;
	int64_t limit;
	struct range stack;
	int64_t rsp; /* RSP now, less RSP before the leader of the stack range */
	unsigned past;  /* behind the last access of the stack ranges so far */
	unsigned known; /* from this instruction on RSP has only changed by constants, and nothing ended ranges */
	unsigned looped; /* behind the last branch back */
	int64_t sum[TRACE_INSNS_MAX + 1]; /* RSP before each of them, less RSP before that one */
	struct group group[GROUPS];
	unsigned taken; /* groups that were opened */
};

/* --- ranges --- */

static bool range_extend(struct range *r, int64_t limit, int64_t at, unsigned size, bool store)
{
	int64_t lo = at < r->lo ? at : r->lo, hi = at + size > r->hi ? at + size : r->hi;

	if (!r->open || hi - lo > limit || lo < INT32_MIN || hi > INT32_MAX)
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

static void group_close(struct walk *w, struct group *g)
{
	struct range *r = &g->r;

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
	for (unsigned n = 0; n < GROUPS; n++)
		group_close(w, &w->group[n]);
}

/*
 * Where the check of a stack range that begins with instruction @i stands. A check changes flags: where they are live it would have to
 * keep them, so it stands before an instruction above where they are not. But below all of the range before, whose check may move the stack
 * window from where this one has found it; and below a branch back, which most of the time goes where it is not needed.
 */
static unsigned stack_leader(const struct walk *w, unsigned i)
{
	for (unsigned n = i + 1; n-- > w->known && n >= w->past && n >= w->looped;) {
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

/* SEG_FS, SEG_GS; 0xff: one whose base is 0. */
static uint8_t based_segment(const struct insn *in)
{
	return in->seg == SEG_FS || in->seg == SEG_GS ? in->seg : 0xff;
}

/* The group that @in's operand belongs to, or one that is not open. */
static struct group *group_of(struct walk *w, const struct insn *in)
{
	struct group *g;

	for (unsigned n = 0; n < GROUPS; n++) {
		g = &w->group[n];
		if (g->r.open && g->seg == based_segment(in) && g->base == in->base && g->index == in->index &&
		    (g->scale == in->scale || in->index == GPR_ZERO))
			return g;
	}
	g = &w->group[w->taken++ % GROUPS];
	group_close(w, g);
	return g;
}

static void group_access(struct walk *w, unsigned i, const struct insn *in, unsigned size, bool store)
{
	struct trace_insn *ti = &w->t->insn[i];
	struct group *g = group_of(w, in);
	int64_t at = in->disp;

	if (in->base == GPR_RIP)
		at += ti->at + in->len; /* from the first instruction */
	if (!range_extend(&g->r, w->limit, at + g->moved, size, store)) {
		group_close(w, g);
		*g = (struct group){ .seg = based_segment(in), .base = in->base, .index = in->index, .scale = in->scale };
		range_open(&g->r, i, at, size, store);
	}
	ti->how = MEM_GROUP;
	ti->store = store;
	ti->leader = g->r.leader;
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
		case OPND_KM:
		case OPND_Q: return op->opnd[n].size == SIZE_NONE ? -1 : n;
		default: break;
		}
	}
	return -1;
}

/* Of addresses, and of operands that are the stack pointer. */
static unsigned widest(const struct insn *in)
{
	return in->flags & INSN_LEGACY ? 4 : 8;
}

/* Can the operand share a check with others, and is the number of its bytes known? */
static bool may_share(const struct trace *t, const struct insn *in, unsigned size)
{
	const struct opcode *op = &opcode_table[in->row];

	if (in->addrsize != widest(in) || t->checked >> in->seg & 1 || (in->flags & INSN_MOFFS))
		return false;
	if (in->base == GPR_ZERO && (in->index != GPR_ZERO || based_segment(in) == 0xff))
		return false;
	if (in->base == RSP && (in->index != GPR_ZERO || based_segment(in) != 0xff))
		return false;
	if (!size || size > SHARED_SIZE_MAX || (op->attr & OP_MASKED))
		return false;
	/* RIP counts from the page in the end. */
	if ((int64_t)in->disp + size > (in->base == GPR_RIP ? INT32_MAX - FRAME_SIZE : INT32_MAX))
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
	if (!may_share(w->t, in, size)) {
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

/* Adds a constant to register @r, and does nothing else to registers: which; false: it does not. */
static bool adds_constant(const struct insn *in, unsigned r, int64_t *by)
{
	const struct opcode *op = &opcode_table[in->row];
	bool to_r = !(in->flags & INSN_MEM) && in->rm == r && in->opsize == widest(in) && op->opnd[0].kind == OPND_E;

	switch (in->id) {
	case INSN_ID_ADD:
	case INSN_ID_SUB:
		*by = in->id == INSN_ID_ADD ? (int64_t)in->imm : -(int64_t)in->imm;
		return to_r && op->opnd[1].kind == OPND_I;
	case INSN_ID_INC: *by = 1; return to_r;
	case INSN_ID_DEC: *by = -1; return to_r;
	case INSN_ID_LEA:
		*by = in->disp;
		return in->opsize == widest(in) && in->addrsize == widest(in) && in->reg == r && in->base == r && in->index == GPR_ZERO;
	default: return false;
	}
}

/* By how much RSP changes; false: not by a constant. */
static bool rsp_change(const struct insn *in, int64_t *by)
{
	bool push;

	*by = 0;
	if (!(insn_gprs_written(in) & 1u << RSP))
		return true;
	if (one_element(in, &push)) {
		*by = push ? -(int64_t)in->opsize : in->opsize;
		if (in->id == INSN_ID_RET)
			*by += (uint16_t)in->imm;
		return !(in->id == INSN_ID_POP && !(in->flags & INSN_MEM) && in->rm == RSP);
	}
	/* Outside 64-bit mode these cut to 32 bits, where sums of constants do not (legacy.h). */
	if (in->flags & INSN_LEGACY && (in->id == INSN_ID_INC || in->id == INSN_ID_DEC))
		return false;
	return adds_constant(in, RSP, by);
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

/* @in, which writes registers @written, has been executed. */
static void group_moves(struct walk *w, struct group *g, const struct insn *in, uint32_t written)
{
	unsigned parts[2] = { g->base, g->index };
	int64_t by;

	for (unsigned n = 0; n < 2 && g->r.open; n++) {
		if (parts[n] > R15 || !(written & 1u << parts[n]))
			continue;
		if (adds_constant(in, parts[n], &by))
			g->moved += by * (1 << (n ? g->scale : 0));
		else
			group_close(w, g);
	}
	if ((in->id == INSN_ID_WRFSBASE && g->seg == SEG_FS) || (in->id == INSN_ID_WRGSBASE && g->seg == SEG_GS))
		group_close(w, g);
}

static void registers_changed(struct walk *w, unsigned i, const struct insn *in)
{
	uint32_t written = insn_gprs_written(in);
	int64_t by;

	for (unsigned n = 0; n < GROUPS; n++)
		group_moves(w, &w->group[n], in, written);
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
	} else if (w->t->checked >> SEG_SS & 1 && one_element(in, &push)) {
		ti->how = MEM_SINGLE;
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
		for (unsigned n = 0; n < GROUPS; n++)
			w->group[n].r.past_branch = true;
	if (in->id == INSN_ID_JCC && (int64_t)in->imm < 0)
		w->looped = i + 1;
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
