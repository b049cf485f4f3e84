// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Far CALL, JMP and RET (SDM vol. 2 under each; vol. 3, 5.8) and the return that IRET shares with RET.
 *
 * Call gates of 16, 32 and 64 bits. Task gates and TSS selectors lead to task.c.
 */
#include "engine/soft/system/far.h"

/* --- targets --- */

static void far_pointer(struct cpu *c, const struct insn *in, uint16_t *sel, uint64_t *off)
{
	if (!(in->flags & INSN_MEM)) {
		*sel = (uint16_t)in->disp;
		*off = in->opsize == 2 ? (uint16_t)in->imm : (uint32_t)in->imm;
		return;
	}
	*off = mmu_load(c, in->seg, insn_linear_part(c, in, 0, in->opsize, MMU_READ), in->opsize);
	*sel = (uint16_t)mmu_load(c, in->seg, insn_linear_part(c, in, in->opsize, 2, MMU_READ), 2);
}

struct gate {
	uint16_t sel;	  /* of the code segment */
	uint64_t offset;
	unsigned size;	  /* of what is pushed: 2, 4, 8 */
	unsigned params;
	struct desc code;
};

/*
 * Reads and checks a call gate (descriptor @d of @sel) and the code segment that it names. @jump:
 * for JMP, which cannot change the privilege level.
 */
static void gate_read(struct cpu *c, uint16_t sel, struct desc *d, bool jump, struct gate *g)
{
	unsigned dpl;

	if (desc_dpl(d) < c->cpl || desc_dpl(d) < (sel & SEL_RPL))
		raise_sel(c, EXC_GP, sel, 0);
	if (!desc_fetch_high(c, sel, d))
		raise_sel(c, EXC_GP, sel, 0);
	if (!desc_present(d))
		raise_sel(c, EXC_NP, sel, 0);
	g->sel = (uint16_t)(d->low >> 16);
	g->offset = d->low & 0xffff;
	g->size = 2;
	g->params = d->low >> 32 & 31;
	if (desc_type(d) == SYS_CALL) {
		g->offset |= d->low >> 48 << 16;
		g->size = 4;
	}
	if (cpu_long_mode(c)) {
		g->offset |= d->high << 32;
		g->size = 8;
		g->params = 0;
	}
	if (sel_null(g->sel))
		raise_gp0(c);
	if (!desc_fetch(c, g->sel, &g->code) || !desc_is_code(&g->code))
		raise_sel(c, EXC_GP, g->sel, 0);
	dpl = desc_dpl(&g->code);
	if (dpl > c->cpl || (jump && !desc_conforming(&g->code) && dpl != c->cpl))
		raise_sel(c, EXC_GP, g->sel, 0);
	if (cpu_long_mode(c) && (!desc_l(&g->code) || desc_db(&g->code)))
		raise_sel(c, EXC_GP, g->sel, 0);
	if (!desc_present(&g->code))
		raise_sel(c, EXC_NP, g->sel, 0);
}

static struct vcpu_segment gate_code(struct cpu *c, const struct gate *g, unsigned cpl)
{
	struct vcpu_segment cs = desc_segment(c, (uint16_t)((g->sel & ~SEL_RPL) | cpl), &g->code);

	seg_check_rip(c, &cs, g->offset, 0);
	desc_set_accessed(c, &g->code);
	cs.attr |= TYPE_A;
	return cs;
}

/* A system descriptor as the target of JMP or CALL: true for a call gate; false when the task was switched. */
static bool is_call_gate(struct cpu *c, uint16_t sel, const struct desc *d, bool jump)
{
	unsigned type = desc_type(d);

	if (desc_s(d)) /* data */
		raise_sel(c, EXC_GP, sel, 0);
	if (type == SYS_CALL || (type == SYS_CALL16 && !cpu_long_mode(c)))
		return true;
	if (!cpu_long_mode(c) && (type == SYS_TASK_GATE || type == SYS_TSS || type == SYS_TSS16)) {
		if (desc_dpl(d) < c->cpl || desc_dpl(d) < (sel & SEL_RPL))
			raise_sel(c, EXC_GP, sel, 0);
		if (!desc_present(d))
			raise_sel(c, EXC_NP, sel, 0);
		if (type == SYS_TASK_GATE)
			sel = (uint16_t)(d->low >> 16);
		task_switch(c, sel, jump ? TASK_JMP : TASK_CALL, NULL);
		return false;
	}
	raise_sel(c, EXC_GP, sel, 0);
}

static void target_desc(struct cpu *c, uint16_t sel, struct desc *d)
{
	if (sel_null(sel))
		raise_gp0(c);
	if (!desc_fetch(c, sel, d))
		raise_sel(c, EXC_GP, sel, 0);
}

/* CS in real and virtual-8086 mode, its limit checked. */
static struct vcpu_segment real_code(struct cpu *c, uint16_t sel, uint64_t rip)
{
	struct vcpu_segment cs = seg_real(c, SEG_CS, sel, in_vm86(c));

	if (rip > cs.limit)
		raise_gp0(c);
	return cs;
}

/* --- JMP --- */

static void jmp_far(struct cpu *c, const struct insn *in)
{
	struct vcpu_segment cs;
	struct desc d;
	struct gate g;
	uint16_t sel;
	uint64_t off;

	far_pointer(c, in, &sel, &off);
	if (c->real) {
		cs = real_code(c, sel, off);
		seg_commit_code(c, &cs, c->cpl, off);
		return;
	}
	target_desc(c, sel, &d);
	if (desc_is_code(&d)) {
		cs = seg_code_direct(c, sel, &d);
		seg_check_rip(c, &cs, off, 0);
		desc_set_accessed(c, &d);
		seg_commit_code(c, &cs, c->cpl, off);
		return;
	}
	if (!is_call_gate(c, sel, &d, true))
		return;
	gate_read(c, sel, &d, true, &g);
	cs = gate_code(c, &g, c->cpl);
	seg_commit_code(c, &cs, c->cpl, g.offset);
}

/* --- CALL --- */

static void push_return(struct cpu *c, struct stack *s, unsigned size)
{
	stack_write(c, s, size, c->seg[SEG_CS].selector);
	stack_write(c, s, size, c->gpr[GPR_RIP]);
}

void stack_room(struct cpu *c, const struct stack *s, int n, unsigned size)
{
	uint64_t mask = s->width == 2 ? 0xffff : 0xffffffff;

	if (s->width == 8)
		return;
	for (int i = n < 0 ? n : 0; i < (n < 0 ? 0 : n); i++)
		if (!seg_inside(&s->ss, (s->sp + (uint64_t)(int64_t)i * size) & mask, size))
			cpu_raise_error(c, EXC_SS, s->error);
}

/* Through a gate to a more privileged level: a new stack from the TSS, parameters copied. */
static void call_inner(struct cpu *c, const struct gate *g)
{
	unsigned cpl = desc_dpl(&g->code);
	struct vcpu_segment cs;
	struct stack old = stack_now(c, 0), new = { .inner = true };
	uint64_t param[32];
	uint16_t ss;

	tss_stack(c, cpl, 0, &ss, &new.sp);
	if (g->size == 8) {
		new.ss = seg_null(ss, cpl);
		new.width = 8;
	} else {
		new.ss = seg_prepare_stack(c, ss, cpl, EXC_TS, 0);
		new.width = new.ss.attr & ATTR_DB ? 4 : 2;
		new.error = ss & SEL_ERROR;
	}
	stack_room(c, &new, -(int)(g->params + 4), g->size);
	cs = gate_code(c, g, cpl);
	for (unsigned i = 0; i < g->params; i++)
		param[i] = stack_read(c, &old, g->size);
	stack_write(c, &new, g->size, c->seg[SEG_SS].selector);
	stack_write(c, &new, g->size, c->gpr[RSP]);
	for (unsigned i = g->params; i--;)
		stack_write(c, &new, g->size, param[i]);
	push_return(c, &new, g->size);
	c->seg[SEG_SS] = new.ss;
	stack_commit(c, &new);
	seg_commit_code(c, &cs, cpl, g->offset);
}

static void call_far(struct cpu *c, const struct insn *in)
{
	struct stack s = stack_now(c, 0);
	struct vcpu_segment cs;
	struct desc d;
	struct gate g;
	uint16_t sel;
	uint64_t off;

	far_pointer(c, in, &sel, &off);
	if (c->real) {
		stack_room(c, &s, -2, in->opsize);
		cs = real_code(c, sel, off);
		push_return(c, &s, in->opsize);
		stack_commit(c, &s);
		seg_commit_code(c, &cs, c->cpl, off);
		return;
	}
	target_desc(c, sel, &d);
	if (desc_is_code(&d)) {
		cs = seg_code_direct(c, sel, &d);
		stack_room(c, &s, -2, in->opsize); /* looked at before the offset is (SDM vol. 2, CALL) */
		seg_check_rip(c, &cs, off, 0);
		desc_set_accessed(c, &d);
		push_return(c, &s, in->opsize);
		stack_commit(c, &s);
		seg_commit_code(c, &cs, c->cpl, off);
		return;
	}
	if (!is_call_gate(c, sel, &d, false))
		return;
	gate_read(c, sel, &d, false, &g);
	if (!desc_conforming(&g.code) && desc_dpl(&g.code) < c->cpl) {
		call_inner(c, &g);
		return;
	}
	if (g.size == 8)
		s.width = 8; /* pushed as the 64-bit code will see it */
	stack_room(c, &s, -2, g.size);
	cs = gate_code(c, &g, c->cpl);
	push_return(c, &s, g.size);
	stack_commit(c, &s);
	seg_commit_code(c, &cs, c->cpl, g.offset);
}

/* --- returns --- */

/* Checks the code segment that a return goes to (SDM vol. 2, RET and IRET). */
static struct vcpu_segment return_code(struct cpu *c, uint16_t sel)
{
	unsigned rpl = sel & SEL_RPL;
	struct vcpu_segment cs;
	struct desc d;

	target_desc(c, sel, &d);
	if (!desc_is_code(&d) || rpl < c->cpl)
		raise_sel(c, EXC_GP, sel, 0);
	if (desc_conforming(&d) ? desc_dpl(&d) > rpl : desc_dpl(&d) != rpl)
		raise_sel(c, EXC_GP, sel, 0);
	if (cpu_long_mode(c) && desc_l(&d) && desc_db(&d))
		raise_sel(c, EXC_GP, sel, 0);
	if (!desc_present(&d))
		raise_sel(c, EXC_NP, sel, 0);
	desc_set_accessed(c, &d);
	cs = desc_segment(c, sel, &d);
	cs.attr |= TYPE_A;
	return cs;
}

static struct vcpu_segment return_stack(struct cpu *c, uint16_t sel, const struct vcpu_segment *cs)
{
	unsigned rpl = cs->selector & SEL_RPL;

	if (sel_null(sel) && cpu_long_mode(c) && (cs->attr & ATTR_L) && rpl != 3)
		return seg_null(sel, rpl);
	return seg_prepare_stack(c, sel, rpl, EXC_GP, 0);
}

void far_return(struct cpu *c, struct stack *s, const struct far_frame *f)
{
	struct vcpu_segment cs = return_code(c, f->cs), ss = { 0 };
	unsigned cpl = f->cs & SEL_RPL;
	bool outer = cpl > c->cpl, pops = outer || f->always_ss;

	if (pops) {
		uint64_t sp;

		s->sp += f->release;
		sp = stack_read(c, s, f->size);
		ss = return_stack(c, (uint16_t)stack_read(c, s, f->size), &cs);
		s->sp = sp;
	}
	seg_check_rip(c, &cs, f->rip, 0);
	s->sp += f->release;

	if (f->flags)
		iret_set_flags(c, *f->flags, f->size);
	if (pops)
		c->seg[SEG_SS] = ss;
	seg_commit_code(c, &cs, cpl, f->rip);
	if (pops)
		s->width = c->stack_size;
	stack_commit(c, s);
	if (outer)
		seg_forget_inner(c);
}

static void ret_far(struct cpu *c, const struct insn *in)
{
	struct stack s = stack_now(c, 0);
	struct far_frame f = { .size = in->opsize };

	if (opcode_table[in->row].opnd[0].kind == OPND_I)
		f.release = (uint16_t)in->imm;
	stack_room(c, &s, 2, f.size);
	f.rip = stack_read(c, &s, f.size);
	f.cs = (uint16_t)stack_read(c, &s, f.size);
	if (c->real) {
		struct vcpu_segment cs = real_code(c, f.cs, f.rip);

		s.sp += f.release;
		stack_commit(c, &s);
		seg_commit_code(c, &cs, c->cpl, f.rip);
		return;
	}
	far_return(c, &s, &f);
}

insn_fn *bind_far(struct cpu *c, const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_JMP_FAR:
	case INSN_ID_JMP_FAR_IND: return jmp_far;
	case INSN_ID_CALL_FAR:
	case INSN_ID_CALL_FAR_IND: return call_far;
	case INSN_ID_RET_FAR: return ret_far;
	default: return NULL;
	}
}
