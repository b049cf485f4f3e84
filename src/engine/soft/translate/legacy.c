// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Code outside 64-bit mode (legacy.h): which emitter an instruction gets where it is another one than in 64-bit code, and the stack.
 *
 * In a flat stack segment PUSH and POP are moves at the host's RSP, in the stack window like the host's own in 64-bit code. Elsewhere
 * each access to the stack is checked alone, at SS:SP or SS:ESP, before RSP moves.
 */
#include "engine/soft/translate/legacy_emit.h"

#include "engine/soft/translate/translate.h"

static bool flat_stack(const struct emit *e)
{
	return mode_is_flat(e->mode, SEG_SS);
}

void emit_stack_add(struct emit *e, int32_t by)
{
	asm_rm(&e->c, e->cpu->stack_size == 2 ? 2 : 8, 0x8d, RSP, host_at(RSP, by)); /* LEA */
}

/* T0 = SP or ESP, plus @by, cut. */
static void stack_address(struct emit *e, const struct insn *in, int32_t by)
{
	struct code *c = &e->c;

	(void)in;
	emit_gpr(e, RSP, T0);
	asm_lea(c, 4, T0, host_at(T0, by));
	if (e->cpu->stack_size == 2)
		asm_rr(c, 4, 0x0fb7, T0, T0); /* MOVZX */
}

struct host_mem emit_stack_element(struct emit *e, const struct insn *in, unsigned size, bool push)
{
	if (flat_stack(e))
		return host_at(RSP, push ? -(int32_t)in->opsize : 0);
	return emit_checked(e, in, SEG_SS, size, push, stack_address, push ? -(int32_t)in->opsize : 0);
}

/* --- PUSH --- */

static bool has_immediate(const struct insn *in)
{
	return opcode_table[in->row].opnd[0].kind == OPND_I;
}

/* The value is in t.scratch[2]. */
static void push_scratch(struct emit *e, const struct insn *in)
{
	struct code *c = &e->c;
	struct host_mem m = emit_stack_element(e, in, in->opsize, true);

	if (m.base != RSP) {
		asm_lea(c, 8, T0, m);
		m = host_at(T0, 0);
	}
	asm_load(c, in->opsize, T1, HOST_CPU(t.scratch[2]));
	asm_store(c, in->opsize, m, T1);
}

static void emit_push32(struct emit *e, const struct insn *in)
{
	struct code *c = &e->c;

	if (has_immediate(in)) {
		asm_store_imm(c, in->opsize, emit_stack_element(e, in, in->opsize, true), (int32_t)in->imm);
	} else if (in->flags & INSN_MEM) {
		asm_load(c, in->opsize, T0, emit_operand(e, in, in->opsize, false));
		if (flat_stack(e)) {
			asm_store(c, in->opsize, emit_stack_element(e, in, in->opsize, true), T0);
		} else {
			asm_store(c, 8, HOST_CPU(t.scratch[2]), T0);
			push_scratch(e, in);
		}
	} else if (gpr_is_home(in->rm)) {
		asm_store(c, in->opsize, emit_stack_element(e, in, in->opsize, true), in->rm);
	} else {
		emit_gpr(e, in->rm, T0);
		asm_store(c, 8, HOST_CPU(t.scratch[2]), T0);
		push_scratch(e, in);
	}
	emit_stack_add(e, -(int32_t)in->opsize);
}

static void emit_push_seg(struct emit *e, const struct insn *in)
{
	struct code *c = &e->c;

	/* Of a doubleword only the selector is stored, as Intel's processors do. */
	asm_load(c, 2, T0, host_cpu(offsetof(struct cpu, seg) + in->reg * sizeof(struct vcpu_segment) + offsetof(struct vcpu_segment, selector)));
	if (flat_stack(e)) {
		asm_store(c, 2, emit_stack_element(e, in, 2, true), T0);
	} else {
		struct host_mem m;

		asm_store(c, 8, HOST_CPU(t.scratch[2]), T0);
		m = emit_stack_element(e, in, 2, true);
		asm_lea(c, 8, T0, m);
		asm_load(c, 2, T1, HOST_CPU(t.scratch[2]));
		asm_store(c, 2, host_at(T0, 0), T1);
	}
	emit_stack_add(e, -(int32_t)in->opsize);
}

/* In virtual-8086 mode IOPL may forbid it. */
static void emit_pushf32(struct emit *e, const struct insn *in)
{
	struct code *c = &e->c;
	struct host_mem m;

	if (e->cpu->real && e->cpu->cpl) {
		emit_call_handler(e, in);
		return;
	}
	m = emit_stack_element(e, in, in->opsize, true);
	if (m.base != RSP) {
		asm_lea(c, 8, T1, m);
		m = host_at(T1, 0);
	}
	emit_flags_image(e);
	asm_store(c, in->opsize, m, T0);
	emit_stack_add(e, -(int32_t)in->opsize);
}

/* --- POP, LEAVE --- */

static void put_16(struct emit *e, unsigned r, unsigned t)
{
	asm_rr(&e->c, 2, 0x89, t, r);
}

static void emit_pop32(struct emit *e, const struct insn *in)
{
	struct code *c = &e->c;
	bool home = gpr_is_home(in->rm);
	struct host_mem m;

	if (!home && in->opsize == 2) {
		emit_call_handler(e, in);
		return;
	}
	m = emit_stack_element(e, in, in->opsize, false);
	asm_load(c, in->opsize, home && in->opsize == 4 ? in->rm : T0, m);
	emit_stack_add(e, in->opsize);
	if (!home)
		emit_gpr_put(e, in->rm, T0, T1);
	else if (in->opsize == 2)
		put_16(e, in->rm, T0);
}

/* T0 = EBP as an address in the stack window's terms. */
static void frame_on_host(struct emit *e)
{
	asm_mov(&e->c, 4, T0, RBP);
	asm_load(&e->c, 8, T1, HOST_CPU(t.bias));
	asm_lea(&e->c, 8, T0, host_indexed(T0, T1, 0, 0));
}

static void leave_flat(struct emit *e)
{
	bool saved = e->ti->live_in != 0;
	struct code *c = &e->c;
	uint8_t *retry = c->p;
	struct stub *s;

	frame_on_host(e);
	if (saved)
		emit_flags_to_rax(e);
	asm_alu_rm(c, ALU_SUB, 8, T0, HOST_CPU(t.stack_base));
	asm_alu_ri(c, ALU_CMP, 8, T0, FRAME_SIZE - 4);
	s = emit_stub(e, asm_jcc(c, 7), EXIT_STACK);
	s->retry = retry;
	s->size = 4;
	s->flags_saved = s->flags_in_rax = saved;
	if (saved)
		emit_flags_from_rax(e);
	frame_on_host(e);
	asm_load(c, 4, RBP, host_at(T0, 0));
	asm_lea(c, 8, RSP, host_at(T0, 4));
}

static void frame_address(struct emit *e, const struct insn *in, int32_t by)
{
	(void)in;
	(void)by;
	if (e->cpu->stack_size == 2)
		asm_rr(&e->c, 4, 0x0fb7, T0, RBP);
	else
		asm_mov(&e->c, 4, T0, RBP);
}

static void emit_leave32(struct emit *e, const struct insn *in)
{
	struct code *c = &e->c;
	struct host_mem m;

	if (flat_stack(e) && in->opsize == 4) {
		leave_flat(e);
		return;
	}
	if (flat_stack(e)) {
		emit_call_handler(e, in);
		return;
	}
	m = emit_checked(e, in, SEG_SS, in->opsize, false, frame_address, 0);
	asm_load(c, in->opsize, T0, m);
	if (e->cpu->stack_size == 2)
		asm_rm(c, 2, 0x8d, RSP, host_at(RBP, in->opsize));
	else
		asm_lea(c, 4, T1, host_at(RBP, in->opsize));
	if (in->opsize == 2)
		put_16(e, RBP, T0);
	else
		asm_mov(c, 4, RBP, T0);
	if (e->cpu->stack_size != 2)
		emit_gpr_put(e, RSP, T1, T0);
}

/* --- ESP --- */

/* ADD or SUB ESP, immediate: RSP is not cut (legacy.h), so that analyse_memory.c knows it by a sum. */
static void emit_esp_arith(struct emit *e, const struct insn *in)
{
	struct code *c = &e->c;

	if (e->ti->live_out) {
		emit_gpr(e, RSP, T0);
		asm_alu_ri(c, in->id == INSN_ID_ADD ? ALU_ADD : ALU_SUB, 4, T0, (int32_t)in->imm);
	}
	asm_lea(c, 8, RSP, host_at(RSP, in->id == INSN_ID_ADD ? (int32_t)in->imm : -(int32_t)in->imm));
}

static void emit_lea32(struct emit *e, const struct insn *in)
{
	if (in->reg == RSP && in->base == RSP && in->index == GPR_ZERO && in->opsize == 4 && in->addrsize == 4)
		asm_lea(&e->c, 8, RSP, host_at(RSP, in->disp));
	else if (in->opsize == 4 && gpr_is_home(in->reg))
		emit_ea(e, in, in->reg);
	else
		emit_lea(e, in);
}

/* W would widen the lengths in EAX and EDX, and does nothing here. */
static void emit_without_w(struct emit *e, const struct insn *in)
{
	struct insn narrow = *in;

	narrow.flags &= (uint16_t)~INSN_W;
	emit_copy(e, &narrow);
}

/* --- which --- */

static bool is_esp_arith(const struct insn *in)
{
	const struct operand *o = opcode_table[in->row].opnd;

	return (in->id == INSN_ID_ADD || in->id == INSN_ID_SUB) && !(in->flags & INSN_MEM) && in->opsize == 4 && in->rm == RSP &&
	       o[0].kind == OPND_E && o[1].kind == OPND_I && (int32_t)in->imm != INT32_MIN;
}

bool legacy_emitter(const struct insn *in, emit_fn **emitter)
{
	switch (in->id) {
	case INSN_ID_PUSH: *emitter = emit_push32; return true;
	case INSN_ID_POP: *emitter = in->flags & INSN_MEM ? NULL : emit_pop32; return true;
	case INSN_ID_PUSH_SEG: *emitter = emit_push_seg; return true;
	case INSN_ID_PUSHF: *emitter = emit_pushf32; return true;
	case INSN_ID_LEAVE: *emitter = emit_leave32; return true;
	case INSN_ID_LEA: *emitter = emit_lea32; return true;
	case INSN_ID_ADD:
	case INSN_ID_SUB:
		*emitter = emit_esp_arith;
		return is_esp_arith(in);
	case INSN_ID_VPCMPESTRI:
	case INSN_ID_VPCMPESTRM: *emitter = emit_without_w; return true;
	default: return legacy_control_emitter(in, emitter);
	}
}
