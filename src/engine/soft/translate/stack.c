// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The stack. Host RSP is guest RSP plus t.bias, and one check at the leader of a range (analyse.h) has shown that all its accesses
 * lie in the stack window: PUSH and POP are the host's own.
 */
#include "engine/soft/translate/emit.h"

static void push_host(struct emit *e, unsigned r)
{
	if (r >= 8)
		asm_byte(&e->c, 0x41);
	asm_byte(&e->c, 0x50 | (r & 7));
}

static void pop_host(struct emit *e, unsigned r)
{
	if (r >= 8)
		asm_byte(&e->c, 0x41);
	asm_byte(&e->c, 0x58 | (r & 7));
}

static bool has_immediate(const struct insn *in)
{
	return opcode_table[in->row].opnd[0].kind == OPND_I;
}

void emit_push(struct emit *e, const struct insn *in)
{
	if (has_immediate(in)) {
		asm_byte(&e->c, 0x68);
		asm_u32(&e->c, (uint32_t)in->imm);
	} else if (in->flags & INSN_MEM) {
		asm_load(&e->c, 8, T0, emit_operand(e, in, 8, false));
		push_host(e, T0);
	} else {
		push_host(e, emit_gpr(e, in->rm, T0));
	}
}

void emit_pop(struct emit *e, const struct insn *in)
{
	if (gpr_is_home(in->rm)) {
		pop_host(e, in->rm);
		return;
	}
	pop_host(e, T0);
	emit_gpr_put(e, in->rm, T0, T1);
}

/* RSP comes from RBP: the window is looked at for this one access. */
void emit_leave(struct emit *e, const struct insn *in)
{
	bool saved = e->ti->live_in != 0;
	uint8_t *retry = e->c.p;
	struct stub *s;

	(void)in;
	if (saved)
		emit_flags_to_rax(e);
	asm_load(&e->c, 8, T0, HOST_CPU(t.bias));
	asm_lea(&e->c, 8, T0, host_indexed(RBP, T0, 0, 0));
	asm_alu_rm(&e->c, ALU_SUB, 8, T0, HOST_CPU(t.stack_base));
	asm_alu_ri(&e->c, ALU_CMP, 8, T0, FRAME_SIZE - 8);
	s = emit_stub(e, asm_jcc(&e->c, 7), EXIT_STACK);
	s->retry = retry;
	s->size = 8;
	s->flags_saved = s->flags_in_rax = saved;
	if (saved)
		emit_flags_from_rax(e);
	asm_load(&e->c, 8, T0, HOST_CPU(t.bias));
	asm_lea(&e->c, 8, T0, host_indexed(RBP, T0, 0, 0));
	asm_load(&e->c, 8, RBP, host_at(T0, 0));
	asm_lea(&e->c, 8, RSP, host_at(T0, 8));
}

/* ADD or SUB RSP, immediate: without a copy where nobody looks at the flags. */
void emit_rsp_arith(struct emit *e, const struct insn *in)
{
	int64_t d = in->id == INSN_ID_ADD ? (int64_t)in->imm : -(int64_t)in->imm;

	if (e->ti->live_out || d != (int32_t)d)
		emit_copy(e, in);
	else
		asm_lea(&e->c, 8, RSP, host_at(RSP, (int32_t)d));
}
