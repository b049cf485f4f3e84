// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * IRET (SDM vol. 2; vol. 3, 6.12.1 and 6.14.3; 20.2.2 for virtual-8086 mode).
 *
 * RF comes back only while DR7 enables a breakpoint, the one thing that it has an effect on: so
 * that the bit, which every other instruction would have to clear again, does not linger.
 */
#include "engine/soft/system/far.h"

void iret_set_flags(struct cpu *c, uint64_t v, unsigned size)
{
	uint32_t may = RF_TF | RF_DF | RF_NT, old = c->sysflags;

	if (size != 2) {
		may |= RF_AC | RF_ID;
		if (c->dr[7] & 0xff)
			may |= RF_RF;
		if (c->cpl == 0)
			may |= RF_VIF | RF_VIP;
	}
	if (c->cpl <= cpu_iopl(c))
		may |= RF_IF;
	if (c->cpl == 0)
		may |= RF_IOPL;
	c->flags = cpu_flags_from(v);
	c->sysflags = (old & ~may & ~(uint32_t)RF_RF) | ((uint32_t)v & may) | RF_FIXED;
}

static void iret_real(struct cpu *c, struct stack *s, const struct far_frame *f)
{
	struct vcpu_segment cs = seg_real(c, SEG_CS, f->cs, in_vm86(c));

	if (f->rip > cs.limit)
		raise_gp0(c);
	stack_commit(c, s);
	iret_set_flags(c, *f->flags, f->size);
	seg_commit_code(c, &cs, c->cpl, f->rip);
	c->attn = 1;
}

/* From CPL 0 to virtual-8086 mode: the frame goes on with ESP, SS, ES, DS, FS, GS. */
static void iret_to_vm86(struct cpu *c, struct stack *s, const struct far_frame *f)
{
	static const uint8_t order[] = { SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	uint32_t keep = RF_TF | RF_IF | RF_DF | RF_IOPL | RF_NT | RF_VM | RF_AC | RF_VIF | RF_VIP | RF_ID;
	struct vcpu_segment cs;
	uint16_t sel[sizeof(order)];
	uint64_t esp;

	if (f->rip > 0xffff)
		raise_gp0(c);
	esp = stack_read(c, s, 4);
	for (unsigned i = 0; i < sizeof(order); i++)
		sel[i] = (uint16_t)stack_read(c, s, 4);
	if (c->dr[7] & 0xff)
		keep |= RF_RF;
	c->flags = cpu_flags_from(*f->flags);
	c->sysflags = ((uint32_t)*f->flags & keep) | RF_FIXED;
	for (unsigned i = 0; i < sizeof(order); i++)
		c->seg[order[i]] = seg_real(c, order[i], sel[i], true);
	c->gpr[RSP] = (uint32_t)esp;
	cs = seg_real(c, SEG_CS, f->cs, true);
	seg_commit_code(c, &cs, 3, f->rip);
	c->attn = 1;
}

static void iret(struct cpu *c, const struct insn *in)
{
	struct stack s = stack_now(c, 0);
	struct far_frame f = { .size = in->opsize, .always_ss = c->mode == INSN_MODE64 };
	uint64_t flags;

	/* NMIs are held off until IRET executes (vol. 3, 6.7.1), be it that it faults. */
	c->nmi_masked = 0;
	c->attn = 1;
	if (in_vm86(c) && cpu_iopl(c) < 3)
		raise_gp0(c);
	if (protected_mode(c) && (c->sysflags & RF_NT)) {
		if (cpu_long_mode(c))
			raise_gp0(c);
		task_switch(c, (uint16_t)mmu_load_sys(c, (uint32_t)c->tr.base, 2), TASK_IRET);
	}
	f.rip = stack_read(c, &s, f.size);
	f.cs = (uint16_t)stack_read(c, &s, f.size);
	flags = stack_read(c, &s, f.size);
	f.flags = &flags;
	if (c->real)
		iret_real(c, &s, &f);
	else if (!cpu_long_mode(c) && (flags & RF_VM) && c->cpl == 0 && f.size == 4)
		iret_to_vm86(c, &s, &f);
	else
		far_return(c, &s, &f);
}

insn_fn *bind_iret(struct cpu *c, const struct insn *in)
{
	return in->id == INSN_ID_IRET ? iret : NULL;
}
