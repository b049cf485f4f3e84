// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * IRET (SDM vol. 2; vol. 3, 6.12.1 and 6.14.3; 20.2.2 and 20.3 for virtual-8086 mode).
 */
#include "engine/soft/system/far.h"

void iret_set_flags(struct cpu *c, uint64_t v, unsigned size)
{
	uint32_t may = RF_TF | RF_DF | RF_NT, old = c->sysflags;

	if (size != 2) {
		may |= RF_AC | RF_ID | RF_RF;
		if (c->cpl == 0 && protected_mode(c))
			may |= RF_VIF | RF_VIP;
	}
	if (c->cpl <= cpu_iopl(c))
		may |= RF_IF;
	if (c->cpl == 0)
		may |= RF_IOPL;
	c->flags = cpu_flags_from(v);
	c->sysflags = (old & ~may & ~(uint32_t)RF_RF) | ((uint32_t)v & may) | RF_FIXED;
}

void virtual_interrupt_check(struct cpu *c)
{
	uint32_t both = RF_VIF | RF_VIP;

	if (c->cpl != 3 || cpu_iopl(c) == 3 || (c->sysflags & both) != both)
		return;
	if (!(c->cr4 & (in_vm86(c) ? CR4_VME : CR4_PVI)))
		return;
	instruction_done(c);
	raise_gp0(c);
}

/* Real mode, and from virtual-8086 mode to itself; @virtual: IF stands for VIF (CR4.VME, IOPL below 3). */
static void iret_real(struct cpu *c, struct stack *s, const struct far_frame *f, bool virtual)
{
	struct vcpu_segment cs = seg_real(c, SEG_CS, f->cs, in_vm86(c));
	uint64_t flags = *f->flags;

	if (virtual && ((flags & RF_TF) || ((flags & RF_IF) && (c->sysflags & RF_VIP))))
		raise_gp0(c);
	if (f->rip > cs.limit)
		raise_gp0(c);
	stack_commit(c, s);
	iret_set_flags(c, flags, f->size);
	if (virtual)
		c->sysflags = flags & RF_IF ? c->sysflags | RF_VIF : c->sysflags & ~(uint32_t)RF_VIF;
	seg_commit_code(c, &cs, c->cpl, f->rip);
	c->attn = 1;
}

/* From CPL 0 to virtual-8086 mode: the frame goes on with ESP, SS, ES, DS, FS, GS. */
static void iret_to_vm86(struct cpu *c, struct stack *s, const struct far_frame *f)
{
	static const uint8_t order[] = { SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS };
	uint32_t keep = RF_TF | RF_IF | RF_DF | RF_IOPL | RF_NT | RF_RF | RF_VM | RF_AC | RF_VIF | RF_VIP | RF_ID;
	struct vcpu_segment cs;
	uint16_t sel[sizeof(order)];
	uint64_t esp;

	if (f->rip > 0xffff)
		raise_gp0(c);
	esp = stack_read(c, s, 4);
	for (unsigned i = 0; i < sizeof(order); i++)
		sel[i] = (uint16_t)stack_read(c, s, 4);
	c->flags = cpu_flags_from(*f->flags);
	c->sysflags = ((uint32_t)*f->flags & keep) | RF_FIXED;
	for (unsigned i = 0; i < sizeof(order); i++)
		c->seg[order[i]] = seg_real(c, order[i], sel[i], true);
	c->gpr[RSP] = (uint32_t)esp;
	cs = seg_real(c, SEG_CS, f->cs, true);
	seg_commit_code(c, &cs, 3, f->rip);
	c->attn = 1;
	virtual_interrupt_check(c);
}

static void iret(struct cpu *c, const struct insn *in)
{
	struct stack s = stack_now(c, 0), top;
	struct far_frame f = { .size = in->opsize, .always_ss = c->mode == INSN_MODE64 };
	bool virtual = in_vm86(c) && cpu_iopl(c) < 3;
	uint64_t flags;

	/* NMIs are held off until IRET executes (vol. 3, 6.7.1), be it that it faults. */
	c->nmi_masked = 0;
	c->attn = 1;
	if (virtual && (!(c->cr4 & CR4_VME) || f.size != 2))
		raise_gp0(c);
	if (protected_mode(c) && (c->sysflags & RF_NT)) {
		if (cpu_long_mode(c))
			raise_gp0(c);
		task_switch(c, (uint16_t)mmu_load_sys(c, (uint32_t)c->tr.base, 2), TASK_IRET, NULL);
		return;
	}
	stack_room(c, &s, 3, f.size);
	/*
	 * The flags are read first, as AMD's processors do: with a frame across two pages that are both absent, CR2 tells.
	 * Manuals leave the order open.
	 */
	top = s;
	top.sp += 2 * f.size;
	flags = stack_read(c, &top, f.size);
	f.rip = stack_read(c, &s, f.size);
	f.cs = (uint16_t)stack_read(c, &s, f.size);
	s.sp = top.sp;
	f.flags = &flags;
	if (c->real)
		iret_real(c, &s, &f, virtual);
	else if (!cpu_long_mode(c) && (flags & RF_VM) && c->cpl == 0 && f.size == 4)
		iret_to_vm86(c, &s, &f);
	else {
		far_return(c, &s, &f);
		virtual_interrupt_check(c);
	}
}

insn_fn *bind_iret(struct cpu *c, const struct insn *in)
{
	return in->id == INSN_ID_IRET ? iret : NULL;
}
