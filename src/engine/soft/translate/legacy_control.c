// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Near branches outside 64-bit mode (SDM vol. 2). A target is an EIP, cut to the operand size; the jump cache is asked for its linear address.
 *
 * In a flat code segment both are the same, and nothing is to be checked. Elsewhere
 *  - each block makes sure, when it is entered, that all of it and all targets in its page lie inside CS, below 64 KiB in 16-bit code; so
 *    these need no check and cannot wrap;
 *  - the target of any other branch is compared with the limit, unless it has 16 bits and the limit has more (MODE_CS_64K).
 * In flat code branches with a 16-bit operand size are the interpreter's.
 */
#include "engine/soft/translate/legacy_emit.h"

static bool flat_code(const struct emit *e)
{
	return mode_is_flat(e->mode, SEG_CS);
}

static bool in_page(int64_t to)
{
	return to >= 0 && to < FRAME_SIZE;
}

static bool is_odd(const struct emit *e, const struct insn *in)
{
	return in->opsize == 2 && (e->mode & 3) == INSN_MODE32;
}

static int64_t target(const struct emit *e, const struct insn *in)
{
	return (int64_t)insn_next(e) + (int64_t)in->imm;
}

void emit_less_cs_base(struct emit *e, unsigned t)
{
	if (flat_code(e))
		return;
	asm_load(&e->c, 8, T1, HOST_CPU(t.cs_base));
	asm_bytes(&e->c, "\x49\xf7\xd7", 3); /* NOT T1 */
	asm_lea(&e->c, 8, t, host_indexed(t, T1, 0, 1));
}

/* @t = the EIP at offset @to from the page's start, not cut to 16 bits. T1 is clobbered where CS has a base. Flag-free. */
static void eip_at(struct emit *e, unsigned t, int64_t to)
{
	asm_load(&e->c, 8, t, HOST_CPU(t.page));
	emit_less_cs_base(e, t);
	asm_lea(&e->c, 4, t, host_at(t, (int32_t)to));
}

/* T0 is a target as the operand has it: cut, compared with the limit, and made linear. */
static void eip_to_linear(struct emit *e, const struct insn *in)
{
	struct code *c = &e->c;
	struct stub *s;

	if (in->opsize == 2)
		asm_rr(c, 4, 0x0fb7, T0, T0);
	if (flat_code(e))
		return;
	if (in->opsize == 4 || !(e->mode & MODE_CS_64K)) {
		emit_flags_to_rax(e);
		asm_alu_rm(c, ALU_CMP, 8, T0, HOST_CPU(t.cs_limit));
		s = emit_stub(e, asm_jcc(c, 7), EXIT_ONE);
		s->flags_saved = s->flags_in_rax = true;
		emit_flags_from_rax(e);
	}
	asm_load(c, 8, T1, HOST_CPU(t.cs_base));
	asm_lea(c, 4, T0, host_indexed(T0, T1, 0, 0));
}

static void eip_of_target(struct emit *e, const struct insn *in, int64_t to)
{
	eip_at(e, T0, to);
	eip_to_linear(e, in);
}

void emit_branch(struct emit *e, const struct insn *in, int64_t to)
{
	uint8_t *retry = e->c.p;

	if (!(in->flags & INSN_LEGACY) || in_page(to)) {
		emit_goto(e, to);
		return;
	}
	eip_of_target(e, in, to);
	emit_lookup(e, retry, EXIT_JUMP, insn_at(e));
	emit_jump_hit(e);
}

static void emit_jmp32(struct emit *e, const struct insn *in)
{
	if (is_odd(e, in))
		emit_call_handler(e, in);
	else
		emit_branch(e, in, target(e, in));
}

static void emit_jcc32(struct emit *e, const struct insn *in)
{
	if (is_odd(e, in))
		emit_call_handler(e, in);
	else
		emit_jcc(e, in);
}

/* --- indirect ones --- */

static void load_target(struct emit *e, const struct insn *in)
{
	if (in->flags & INSN_MEM) {
		asm_load(&e->c, in->opsize, T0, emit_operand(e, in, in->opsize, false));
	} else {
		unsigned r = emit_gpr(e, in->rm, T0);

		asm_mov(&e->c, 4, T0, r);
	}
	eip_to_linear(e, in);
}

static void emit_jmp_ind32(struct emit *e, const struct insn *in)
{
	uint8_t *retry = e->c.p;

	load_target(e, in);
	emit_lookup(e, retry, EXIT_JUMP, insn_at(e));
	emit_jump_hit(e);
}

/* --- CALL, RET --- */

/*
 * Where the return address goes, in t.scratch[2] unless the stack is flat: looked at first, since nothing is stored before the
 * jump is sure.
 */
static struct host_mem return_place(struct emit *e, const struct insn *in)
{
	struct host_mem m = emit_stack_element(e, in, in->opsize, true);

	if (m.base == RSP)
		return m;
	asm_lea(&e->c, 8, T0, m);
	asm_store(&e->c, 8, HOST_CPU(t.scratch[2]), T0);
	return host_at(T1, 0);
}

/* @t is free, and T1, unless it is asked for. */
static void push_return(struct emit *e, const struct insn *in, struct host_mem place, unsigned t)
{
	eip_at(e, t, insn_next(e));
	if (place.base != RSP)
		asm_load(&e->c, 8, T1, HOST_CPU(t.scratch[2]));
	asm_store(&e->c, in->opsize, place, t);
	emit_stack_add(e, -(int32_t)in->opsize);
}

/* T1 is emit_jump_hit's. RCX is free here. */
static void call_hit(struct emit *e, const struct insn *in, struct host_mem place)
{
	struct code *c = &e->c;

	if (place.base == RSP && flat_code(e)) {
		push_return(e, in, place, RCX);
	} else {
		asm_store(c, 8, HOST_CPU(t.scratch[3]), T1);
		push_return(e, in, place, RCX);
		asm_load(c, 8, T1, HOST_CPU(t.scratch[3]));
	}
	emit_jump_hit(e);
}

static void emit_call32(struct emit *e, const struct insn *in)
{
	int64_t to = target(e, in);
	uint8_t *retry = e->c.p;
	struct host_mem place;

	if (is_odd(e, in)) {
		emit_call_handler(e, in);
		return;
	}
	place = return_place(e, in);
	if (emit_can_link(e, to)) {
		push_return(e, in, place, T0);
		emit_chain(e, asm_jmp_aligned(&e->c), to);
		return;
	}
	eip_of_target(e, in, to);
	emit_lookup(e, retry, EXIT_JUMP, insn_at(e));
	call_hit(e, in, place);
}

static void emit_call_ind32(struct emit *e, const struct insn *in)
{
	uint8_t *retry = e->c.p;
	struct host_mem place = return_place(e, in);

	load_target(e, in);
	emit_lookup(e, retry, EXIT_JUMP, insn_at(e));
	call_hit(e, in, place);
}

static void emit_ret32(struct emit *e, const struct insn *in)
{
	int32_t drop = in->opsize + (opcode_table[in->row].opnd[0].kind == OPND_I ? (int32_t)(uint16_t)in->imm : 0);
	uint8_t *retry = e->c.p;

	asm_load(&e->c, in->opsize, T0, emit_stack_element(e, in, in->opsize, false));
	eip_to_linear(e, in);
	emit_lookup(e, retry, EXIT_JUMP, insn_at(e));
	emit_stack_add(e, drop);
	emit_jump_hit(e);
}

/* --- LOOP, JCXZ --- */

/* RCX is the count, cut to the address size; with 16 bits the whole of it is in T0. */
static void count_cut(struct emit *e, const struct insn *in)
{
	if (in->addrsize == 2) {
		asm_mov(&e->c, 8, T0, RCX);
		asm_rr(&e->c, 4, 0x0fb7, RCX, RCX);
	} else {
		asm_byte(&e->c, 0x67); /* JECXZ */
	}
}

static void count_whole(struct emit *e, const struct insn *in)
{
	if (in->addrsize == 2)
		asm_mov(&e->c, 8, RCX, T0);
}

static void link_here(struct emit *e, uint8_t *rel)
{
	if (!e->c.full)
		asm_link(rel, e->c.p);
}

static void link8_here(struct emit *e, uint8_t *rel)
{
	if (!e->c.full)
		asm_link8(rel, e->c.p);
}

static void emit_loop(struct emit *e, const struct insn *in)
{
	int64_t to = target(e, in);
	struct code *c = &e->c;
	uint8_t *other = NULL, *zero, *more;

	if (is_odd(e, in) || !emit_can_link(e, to)) {
		emit_call_handler(e, in);
		return;
	}
	if (in->id == INSN_ID_JCXZ) {
		count_cut(e, in);
		zero = asm_jrcxz(c);
		count_whole(e, in);
		more = asm_jmp(c);
		link8_here(e, zero);
		count_whole(e, in);
		emit_chain(e, asm_jmp_aligned(c), to);
		link_here(e, more);
		emit_next(e, insn_next(e));
		return;
	}
	asm_rm(c, in->addrsize, 0x8d, RCX, host_at(RCX, -1)); /* LEA */
	if (in->id != INSN_ID_LOOP)
		other = asm_jcc(c, in->id == INSN_ID_LOOPE ? 5 : 4);
	count_cut(e, in);
	zero = asm_jrcxz(c);
	count_whole(e, in);
	emit_chain(e, asm_jmp_aligned(c), to);
	link8_here(e, zero);
	count_whole(e, in);
	if (other)
		link_here(e, other);
	emit_next(e, insn_next(e));
}

/* --- the block --- */

void emit_code_range(struct emit *e)
{
	const struct trace *t = e->t;
	int64_t lo = e->offset, hi = (int64_t)e->offset + t->bytes - 1, to;
	bool saved = t->insn[0].live_in != 0;
	struct code *c = &e->c;

	if ((e->mode & 3) == INSN_MODE64 || flat_code(e))
		return;
	for (unsigned i = 0; i < t->count; i++) {
		const struct trace_insn *ti = &t->insn[i];

		if (opcode_table[ti->in.row].opnd[0].kind != OPND_J)
			continue;
		to = (int64_t)e->offset + ti->at + ti->in.len + (int64_t)ti->in.imm;
		if (in_page(to) && to < lo)
			lo = to;
		if (in_page(to) && to > hi)
			hi = to;
	}
	eip_at(e, T0, lo);
	if (saved)
		emit_flags_to_rax(e);
	for (unsigned i = 0; i < 2; i++) {
		struct stub *s;

		asm_alu_rm(c, ALU_CMP, 8, T0, HOST_CPU(t.cs_last));
		s = emit_stub(e, asm_jcc(c, 7), EXIT_ONE);
		s->flags_saved = s->flags_in_rax = saved;
		if (!i)
			asm_lea(c, 8, T0, host_at(T0, (int32_t)(hi - lo)));
	}
	if (saved)
		emit_flags_from_rax(e);
}

bool legacy_control_emitter(const struct insn *in, emit_fn **emitter)
{
	switch (in->id) {
	case INSN_ID_JMP: *emitter = emit_jmp32; return true;
	case INSN_ID_JCC: *emitter = emit_jcc32; return true;
	case INSN_ID_JMP_IND: *emitter = emit_jmp_ind32; return true;
	case INSN_ID_CALL: *emitter = emit_call32; return true;
	case INSN_ID_CALL_IND: *emitter = emit_call_ind32; return true;
	case INSN_ID_RET: *emitter = emit_ret32; return true;
	case INSN_ID_LOOP:
	case INSN_ID_LOOPE:
	case INSN_ID_LOOPNE:
	case INSN_ID_JCXZ: *emitter = emit_loop; return true;
	default: return false;
	}
}
