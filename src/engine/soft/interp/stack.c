// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * PUSH POP PUSHA POPA PUSHF POPF ENTER LEAVE (SDM vol. 2; vol. 1, 6.2).
 *
 * The stack pointer's width is c->stack_size, the element's is the operand size. Instructions with
 * several elements probe them all before the first store, so that a fault leaves memory and
 * registers as they were.
 */
#include "engine/soft/interp/alu.h"

/* --- PUSH POP --- */

static void push_e_64(struct cpu *c, const struct insn *in)
{
	push64(c, c->gpr[in->rm]);
}

static void push_m_64(struct cpu *c, const struct insn *in)
{
	push64(c, mem_load(c, in, 8));
}

static void push_i_64(struct cpu *c, const struct insn *in)
{
	push64(c, in->imm);
}

static void push_rm(struct cpu *c, const struct insn *in)
{
	stack_push(c, in->opsize, rm_load(c, in, in->opsize));
}

static void push_i(struct cpu *c, const struct insn *in)
{
	stack_push(c, in->opsize, in->imm);
}

static void pop_e_64(struct cpu *c, const struct insn *in)
{
	uint64_t sp = c->gpr[RSP], v = mmu_load(c, SEG_SS, sp, 8);

	c->gpr[RSP] = sp + 8;
	c->gpr[in->rm] = v; /* POP RSP: the value stays */
}

static void pop_e(struct cpu *c, const struct insn *in)
{
	uint64_t v = stack_peek(c, in->opsize, 0);

	stack_drop(c, in->opsize);
	gpr_put(c, in->rm_off, in->opsize, v);
}

/* The address is computed with rSP as it is after the pop. */
static void pop_m(struct cpu *c, const struct insn *in)
{
	uint64_t v = stack_peek(c, in->opsize, 0), sp = c->gpr[RSP], ea;

	stack_drop(c, in->opsize);
	ea = insn_ea(c, in);
	c->gpr[RSP] = sp;
	mmu_store(c, in->seg, linear(c, in->seg, ea, in->opsize, MMU_WRITE), in->opsize, v);
	stack_drop(c, in->opsize);
}

/* --- several elements: checked in one pass, stored in another --- */

struct pushes {
	unsigned size;
	uint64_t sp; /* of the element pushed last */
};

static uint64_t push_linear(struct cpu *c, const struct pushes *p)
{
	return linear(c, SEG_SS, p->sp, p->size, MMU_WRITE);
}

static void push_probe(struct cpu *c, struct pushes *p)
{
	p->sp = (p->sp - p->size) & stack_mask(c);
	mmu_probe(c, SEG_SS, push_linear(c, p), p->size, MMU_WRITE);
}

static void push_put(struct cpu *c, struct pushes *p, uint64_t v)
{
	p->sp = (p->sp - p->size) & stack_mask(c);
	mmu_store(c, SEG_SS, push_linear(c, p), p->size, v);
}

static void pusha(struct cpu *c, const struct insn *in)
{
	struct pushes check = { in->opsize, c->gpr[RSP] }, p = check;

	for (unsigned i = RAX; i <= RDI; i++)
		push_probe(c, &check);
	for (unsigned i = RAX; i <= RDI; i++)
		push_put(c, &p, c->gpr[i]); /* rSP as it was */
	stack_set(c, p.sp);
}

static void popa(struct cpu *c, const struct insn *in)
{
	uint64_t v[8];

	for (unsigned i = 0; i < 8; i++)
		v[7 - i] = i == 7 - RSP ? 0 : stack_peek(c, in->opsize, i * in->opsize);
	for (unsigned i = RAX; i <= RDI; i++)
		if (i != RSP)
			gpr_put(c, i * 8, in->opsize, v[i]);
	stack_drop(c, 8 * in->opsize);
}

/* --- ENTER LEAVE --- */

static void enter(struct cpu *c, const struct insn *in)
{
	unsigned size = in->opsize, alloc = (uint16_t)in->imm, level = in->imm >> 16 & 31;
	struct pushes check = { size, c->gpr[RSP] }, p = check;
	uint64_t mask = stack_mask(c), sp, bp = c->gpr[RBP];
	/* rSP after rBP was pushed; the whole register, where the stack is narrower than the operand */
	uint64_t frame = (c->gpr[RSP] & ~mask) | ((c->gpr[RSP] - size) & mask);

	/* Everything that can fault, in the order of the pushes; the final rSP must be good for a store, too. */
	push_probe(c, &check);
	for (unsigned i = 1; i < level; i++) {
		mmu_probe(c, SEG_SS, linear(c, SEG_SS, (bp - i * size) & mask, size, MMU_READ), size, MMU_READ);
		push_probe(c, &check);
	}
	if (level)
		push_probe(c, &check);
	sp = (check.sp - alloc) & mask;
	mmu_probe(c, SEG_SS, linear(c, SEG_SS, sp, size, MMU_WRITE), size, MMU_WRITE);
	push_put(c, &p, bp);
	for (unsigned i = 1; i < level; i++) {
		uint64_t at = linear(c, SEG_SS, (bp - i * size) & mask, size, MMU_READ);

		push_put(c, &p, mmu_load(c, SEG_SS, at, size));
	}
	if (level)
		push_put(c, &p, frame);
	gpr_put(c, RBP * 8, size, frame);
	stack_set(c, sp);
}

static void leave(struct cpu *c, const struct insn *in)
{
	uint64_t sp = c->gpr[RBP] & stack_mask(c);
	uint64_t v = mmu_load(c, SEG_SS, linear(c, SEG_SS, sp, in->opsize, MMU_READ), in->opsize);

	stack_set(c, sp + in->opsize);
	gpr_put(c, RBP * 8, in->opsize, v);
}

static void leave_64(struct cpu *c, const struct insn *in)
{
	uint64_t bp = c->gpr[RBP], v = mmu_load(c, SEG_SS, bp, 8);

	c->gpr[RSP] = bp + 8;
	c->gpr[RBP] = v;
}

/* --- PUSHF POPF --- */

/* Virtual-8086 mode below IOPL 3: with CR4.VME, 16-bit forms use VIF for IF; all else is #GP(0). */
static bool vme_needed(struct cpu *c, const struct insn *in)
{
	if (!(c->sysflags & RF_VM) || (c->sysflags & RF_IOPL) == RF_IOPL)
		return false;
	if (!(c->cr4 & CR4_VME) || in->opsize != 2)
		cpu_raise_error(c, EXC_GP, 0);
	return true;
}

static void pushf(struct cpu *c, const struct insn *in)
{
	uint64_t v = cpu_rflags(c) & ~(uint64_t)(RF_RF | RF_VM);

	if (unlikely(vme_needed(c, in))) {
		v |= RF_IOPL;
		v = v & RF_VIF ? v | RF_IF : v & ~(uint64_t)RF_IF;
	}
	stack_push(c, in->opsize, v);
}

static void popf(struct cpu *c, const struct insn *in)
{
	bool vme = vme_needed(c, in);
	uint32_t v = (uint32_t)stack_peek(c, in->opsize, 0), old = c->sysflags, new;
	uint32_t may = RF_TF | RF_DF | RF_NT;

	if (in->opsize != 2)
		may |= RF_AC | RF_ID;
	if (c->cpl == 0)
		may |= RF_IOPL;
	if (c->cpl <= (old & RF_IOPL) >> 12)
		may |= RF_IF;
	new = (old & ~may) | (v & may);
	if (in->opsize != 2)
		new &= ~(uint32_t)RF_RF;
	if (unlikely(vme)) {
		if ((v & RF_TF) || ((v & RF_IF) && (old & RF_VIP)))
			cpu_raise_error(c, EXC_GP, 0);
		new = v & RF_IF ? new | RF_VIF : new & ~(uint32_t)RF_VIF;
	}
	stack_drop(c, in->opsize);
	c->flags = cpu_flags_from(v);
	c->sysflags = new;
	c->brk = 1;
	if ((old ^ new) & RF_AC)
		cpu_mode_changed(c);
}

insn_fn *bind_stack(struct cpu *c, const struct insn *in)
{
	bool wide = c->mode == INSN_MODE64 && in->opsize == 8;
	bool mem = in->flags & INSN_MEM;

	switch (in->id) {
	case INSN_ID_PUSH:
		if (opcode_table[in->row].opnd[0].kind == OPND_I)
			return wide ? push_i_64 : push_i;
		return !wide ? push_rm : mem ? push_m_64 : push_e_64;
	case INSN_ID_POP: return mem ? pop_m : wide ? pop_e_64 : pop_e;
	case INSN_ID_PUSHA: return pusha;
	case INSN_ID_POPA: return popa;
	case INSN_ID_PUSHF: return pushf;
	case INSN_ID_POPF: return popf;
	case INSN_ID_ENTER: return enter;
	case INSN_ID_LEAVE: return wide ? leave_64 : leave;
	}
	return NULL;
}
