// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Delivery of interrupts and exceptions (SDM vol. 3, chapter 6; 20.1.4 real mode; vol. 2, INT n) and the
 * instructions that ask for it: INT n, INT3, INTO, INT1, BOUND.
 *
 * Everything that can fault comes before the first register changes, so that a fault in the
 * middle finds the vCPU as it was; the run loop then delivers what exception_combine says. The
 * return address is c->gpr[GPR_RIP]: for faults the start of the instruction (the run loop has put
 * it back), for traps and INT n that of the next one.
 *
 * Bit 0 (EXT) of the error codes raised in here is 1 unless the event is INT n, INT3 or INTO.
 */
#include "engine/soft/system/far.h"
#include "engine/soft/vcpu/vcpu.h"

#include "host/log.h"

int exception_combine(unsigned first, unsigned second)
{
	const uint32_t contributory = 1 << EXC_DE | 1 << EXC_TS | 1 << EXC_NP | 1 << EXC_SS | 1 << EXC_GP;
	bool severe = second < 32 && (contributory >> second & 1);

	switch (first) {
	case EXC_DE:
	case EXC_TS:
	case EXC_NP:
	case EXC_SS:
	case EXC_GP: return severe ? EXC_DF : (int)second;
	case EXC_PF: return severe || second == EXC_PF ? EXC_DF : (int)second;
	case EXC_DF: return severe || second == EXC_PF ? -1 : (int)second;
	default: return (int)second;
	}
}

struct event {
	unsigned vector;
	bool has_error, soft;
	uint32_t error;
	unsigned ext;	/* EXT bit */
	uint64_t flags; /* the image that is pushed */
};

/* RF in the pushed image is 1 for faults (vol. 3, 17.3.1.1), so that a breakpoint does not hit again. */
static uint64_t flags_image(const struct cpu *c, const struct event *e)
{
	const uint32_t faults = 1u << EXC_DE | 1u << EXC_BR | 1u << EXC_UD | 1u << EXC_NM | 1u << EXC_TS | 1u << EXC_NP |
				1u << EXC_SS | 1u << EXC_GP | 1u << EXC_PF | 1u << EXC_MF | 1u << EXC_AC | 1u << EXC_XM;
	uint64_t f = cpu_rflags(c);

	if (e->soft)
		return f & ~(uint64_t)RF_RF;
	if (c->delivering == (int)e->vector && e->vector < 32 && (faults >> e->vector & 1))
		f |= RF_RF;
	return f;
}

/* What every way in ends with. */
static void entered(struct cpu *c, const struct event *e)
{
	if (e->vector == EXC_DB && !e->soft)
		c->dr[7] &= ~(uint64_t)DR7_GD;
	c->brk = 1;
}

/* --- real mode --- */

static void deliver_real(struct cpu *c, const struct event *e)
{
	struct stack s = stack_now(c, 0);
	struct vcpu_segment cs;
	uint32_t vec;
	uint64_t ip;

	if (e->vector * 4 + 3 > c->idt.limit)
		cpu_raise_error(c, EXC_GP, e->vector * 8 + 2 + e->ext);
	vec = (uint32_t)mmu_load_sys(c, (uint32_t)(c->idt.base + e->vector * 4), 4);
	ip = vec & 0xffff;
	cs = seg_real(c, SEG_CS, (uint16_t)(vec >> 16), false);
	stack_room(c, &s, -3, 2);
	if (ip > cs.limit)
		raise_gp0(c);
	stack_write(c, &s, 2, e->flags);
	stack_write(c, &s, 2, c->seg[SEG_CS].selector);
	stack_write(c, &s, 2, c->gpr[GPR_RIP]);
	stack_commit(c, &s);
	c->sysflags &= ~(uint32_t)(RF_IF | RF_TF | RF_RF | RF_AC);
	seg_commit_code(c, &cs, 0, ip);
}

/* --- protected mode and IA-32e mode --- */

struct idt_gate {
	uint16_t sel;
	uint64_t offset;
	unsigned size; /* of what is pushed */
	unsigned ist;
	bool trap;     /* IF stays */
	struct desc code;
	unsigned cpl;  /* of the handler */
	bool inner;
};

static _Noreturn void bad_gate(struct cpu *c, const struct event *e, unsigned exc)
{
	cpu_raise_error(c, exc, e->vector * 8 + 2 + e->ext);
}

/* False: it was a task gate, and the task has been switched. */
static bool read_gate(struct cpu *c, const struct event *e, struct idt_gate *g)
{
	bool lm = cpu_long_mode(c);
	unsigned size = lm ? 16 : 8, type;
	uint64_t at = c->idt.base + e->vector * size, low, high = 0;

	if (e->vector * size + size - 1 > c->idt.limit)
		bad_gate(c, e, EXC_GP);
	low = mmu_load_sys(c, lm ? at : (uint32_t)at, 8);
	if (lm)
		high = mmu_load_sys(c, at + 8, 8);
	type = low >> 40 & 0x1f;
	if (type != SYS_INT && type != SYS_TRAP && (lm || (type != SYS_INT16 && type != SYS_TRAP16 && type != SYS_TASK_GATE)))
		bad_gate(c, e, EXC_GP);
	if (e->soft && (low >> 45 & 3) < c->cpl)
		bad_gate(c, e, EXC_GP);
	if (!(low >> 47 & 1))
		bad_gate(c, e, EXC_NP);
	if (type == SYS_TASK_GATE) {
		struct task_event te = { .flags = e->flags, .has_error = e->has_error, .error = e->error, .ext = e->ext };

		task_switch(c, (uint16_t)(low >> 16), TASK_GATE, &te);
		return false;
	}
	g->sel = (uint16_t)(low >> 16);
	g->offset = low & 0xffff;
	g->size = 2;
	if (type >= SYS_INT) {
		g->offset |= low >> 48 << 16;
		g->size = 4;
	}
	if (lm) {
		g->offset |= high << 32;
		g->size = 8;
	}
	g->trap = type & 1;
	g->ist = lm ? low >> 32 & 7 : 0;
	return true;
}

static void read_gate_code(struct cpu *c, const struct event *e, struct idt_gate *g)
{
	unsigned dpl;

	if (sel_null(g->sel))
		cpu_raise_error(c, EXC_GP, e->ext);
	if (!desc_fetch(c, g->sel, &g->code) || !desc_is_code(&g->code) || desc_dpl(&g->code) > c->cpl)
		raise_sel(c, EXC_GP, g->sel, e->ext);
	if (cpu_long_mode(c) && (!desc_l(&g->code) || desc_db(&g->code)))
		raise_sel(c, EXC_GP, g->sel, e->ext);
	if (!desc_present(&g->code))
		raise_sel(c, EXC_NP, g->sel, e->ext);
	dpl = desc_dpl(&g->code);
	g->inner = !desc_conforming(&g->code) && dpl < c->cpl;
	g->cpl = g->inner ? dpl : c->cpl;
	if (in_vm86(c) && g->cpl != 0)
		raise_sel(c, EXC_GP, g->sel, e->ext);
}

/* The stack that the handler starts on. */
static struct stack gate_stack(struct cpu *c, const struct event *e, const struct idt_gate *g)
{
	struct stack s = stack_now(c, e->ext);
	uint16_t ss;

	if (g->inner) {
		s.inner = true;
		if (!g->ist)
			tss_stack(c, g->cpl, e->ext, &ss, &s.sp);
		if (g->size == 8) {
			s.ss = seg_null((uint16_t)g->cpl, g->cpl);
			s.width = 8;
		} else {
			s.ss = seg_prepare_stack(c, ss, g->cpl, EXC_TS, e->ext);
			s.width = s.ss.attr & ATTR_DB ? 4 : 2;
			s.error = (ss & SEL_ERROR) | e->ext;
		}
	}
	if (g->size == 8) {
		/* IA-32e mode: the frame is aligned, whether the stack is switched or not (6.14.2). */
		s.width = 8;
		if (g->ist)
			s.sp = tss_ist(c, g->ist, e->ext);
		if (!cpu_canonical(c, s.sp))
			cpu_raise_error(c, EXC_SS, e->ext);
		s.sp &= ~15ull;
	}
	return s;
}

static void deliver_protected(struct cpu *c, const struct event *e)
{
	static const uint8_t vm86_order[] = { SEG_GS, SEG_FS, SEG_DS, SEG_ES };
	bool vm86 = in_vm86(c);
	struct idt_gate g = { 0 };
	struct vcpu_segment cs;
	struct stack s;

	if (!read_gate(c, e, &g))
		return;
	read_gate_code(c, e, &g);
	s = gate_stack(c, e, &g);
	cs = desc_segment(c, (uint16_t)((g.sel & ~SEL_RPL) | g.cpl), &g.code);
	cs.attr |= TYPE_A;
	stack_room(c, &s, -(3 + (g.inner ? 2 : 0) + (vm86 ? 4 : 0) + e->has_error), g.size);
	seg_check_rip(c, &cs, g.offset, e->ext);
	desc_set_accessed(c, &g.code);
	if (vm86)
		for (unsigned i = 0; i < sizeof(vm86_order); i++)
			stack_write(c, &s, g.size, c->seg[vm86_order[i]].selector);
	if (g.inner || g.size == 8) {
		stack_write(c, &s, g.size, c->seg[SEG_SS].selector);
		stack_write(c, &s, g.size, c->gpr[RSP]);
	}
	stack_write(c, &s, g.size, e->flags);
	stack_write(c, &s, g.size, c->seg[SEG_CS].selector);
	stack_write(c, &s, g.size, c->gpr[GPR_RIP]);
	if (e->has_error)
		stack_write(c, &s, g.size, e->error);

	c->sysflags &= ~(uint32_t)(RF_TF | RF_VM | RF_RF | RF_NT);
	if (!g.trap)
		c->sysflags &= ~(uint32_t)RF_IF;
	if (vm86)
		for (unsigned i = 0; i < sizeof(vm86_order); i++)
			c->seg[vm86_order[i]] = seg_null(0, 0);
	if (g.inner)
		c->seg[SEG_SS] = s.ss;
	stack_commit(c, &s);
	seg_commit_code(c, &cs, g.cpl, g.offset);
}

void deliver(struct cpu *c, unsigned vector, bool has_error, uint32_t error, bool soft)
{
	struct event e = { .vector = vector & 0xff, .has_error = has_error, .soft = soft, .error = error, .ext = !soft };

	e.flags = flags_image(c, &e);
	if (c->cr0 & CR0_PE)
		deliver_protected(c, &e);
	else
		deliver_real(c, &e);
	entered(c, &e);
}

/* --- instructions --- */

static void software(struct cpu *c, unsigned vector)
{
	deliver(c, vector, false, 0, true);
}

/*
 * With CR4.VME, a bit for each vector, in the 32 bytes before the TSS's I/O bitmap: 0 sends INT n to the 8086
 * program's own handler (vol. 3, 20.3.3).
 */
static bool vme_redirects(struct cpu *c, unsigned vector)
{
	enum { IOMAP = 0x66, REDIRECT_BYTES = 32 };
	uint32_t at;

	if ((c->tr.attr & ATTR_TYPE) < SYS_TSS || (c->tr.attr & ATTR_NULL) || c->tr.limit < IOMAP + 1)
		raise_gp0(c);
	at = (uint32_t)mmu_load_sys(c, (uint32_t)(c->tr.base + IOMAP), 2) - REDIRECT_BYTES + vector / 8;
	if (at > c->tr.limit)
		raise_gp0(c);
	return !(mmu_load_sys(c, (uint32_t)(c->tr.base + at), 1) >> (vector & 7) & 1);
}

/* Methods 5 and 6 of table 20-2: as real mode delivers; below IOPL 3, VIF takes IF's place. */
static void deliver_redirected(struct cpu *c, unsigned vector)
{
	struct stack s = stack_now(c, 0);
	uint64_t flags = cpu_rflags(c);
	uint32_t clear = RF_TF | RF_RF | RF_IF, vec;
	struct vcpu_segment cs;

	if (cpu_iopl(c) < 3) {
		flags = (flags & ~(uint64_t)RF_IF) | RF_IOPL | (flags & RF_VIF ? RF_IF : 0);
		clear = RF_TF | RF_RF | RF_VIF;
	}
	vec = (uint32_t)mmu_load_sys(c, vector * 4, 4);
	cs = seg_real(c, SEG_CS, (uint16_t)(vec >> 16), true);
	stack_write(c, &s, 2, flags);
	stack_write(c, &s, 2, c->seg[SEG_CS].selector);
	stack_write(c, &s, 2, c->gpr[GPR_RIP]);
	stack_commit(c, &s);
	c->sysflags &= ~clear;
	seg_commit_code(c, &cs, 3, vec & 0xffff);
}

/* Virtual-8086 mode: vol. 3, table 20-2. */
static void int_n(struct cpu *c, const struct insn *in)
{
	unsigned vector = in->imm & 0xff;

	if (in_vm86(c)) {
		if ((c->cr4 & CR4_VME) && vme_redirects(c, vector)) {
			deliver_redirected(c, vector);
			return;
		}
		if (cpu_iopl(c) < 3)
			raise_gp0(c);
	}
	software(c, vector);
}

static void int3(struct cpu *c, const struct insn *in)
{
	software(c, EXC_BP);
}

static void into(struct cpu *c, const struct insn *in)
{
	if (c->flags & AF_OF)
		software(c, EXC_OF);
}

/* Like a hardware exception: no look at the gate's DPL, EXT is 1. A trap that a load of SS held off is told with it. */
static void int1(struct cpu *c, const struct insn *in)
{
	debug_report(c, 0);
	deliver(c, EXC_DB, false, 0, false);
}

static void bound(struct cpu *c, const struct insn *in)
{
	unsigned size = in->opsize;
	uint64_t low = mmu_load(c, in->seg, insn_linear_part(c, in, 0, size, MMU_READ), size);
	uint64_t high = mmu_load(c, in->seg, insn_linear_part(c, in, size, size, MMU_READ), size);
	int64_t i, from, to;

	if (size == 2) {
		i = (int16_t)*gpr16(c, in->reg_off);
		from = (int16_t)low;
		to = (int16_t)high;
	} else {
		i = (int32_t)*gpr32(c, in->reg_off);
		from = (int32_t)low;
		to = (int32_t)high;
	}
	if (i < from || i > to)
		cpu_raise(c, EXC_BR);
}

insn_fn *bind_int(struct cpu *c, const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_INT: return int_n;
	case INSN_ID_INT3: return int3;
	case INSN_ID_INTO: return into;
	case INSN_ID_INT1: return int1;
	case INSN_ID_BOUND: return bound;
	default: return NULL;
	}
}
