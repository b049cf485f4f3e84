// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hardware task switches (SDM vol. 3, chapter 7): by JMP, CALL, IRET and task gates, between TSSs of 16 and
 * of 32 bits.
 *
 * The switch is committed in one place (7.3). What is found wrong before it (the new TSS's
 * descriptor, a page that is absent) faults in the old task, which is as it was. What is found
 * wrong after it (table 7-1: the LDT, segments, the instruction pointer) faults in the new task, at its
 * first instruction: then the switch has been made, and the segment registers not yet loaded are
 * unusable, their selectors in place.
 *
 * IA-32e mode has no task switches; its callers raise #GP themselves.
 */
#include "engine/soft/system/far.h"

#include "host/log.h"

/* Where things are in a TSS (7.2.1 and 7.6). Registers and segments follow each other in encoding order. */
struct tss_layout {
	uint8_t limit; /* the least that it may have */
	uint8_t size;  /* of an element */
	uint8_t cr3, ip, flags, gpr, seg, segs, ldt, trap;
};

static const struct tss_layout tss16 = {
	.limit = 0x2b, .size = 2, .ip = 0x0e, .flags = 0x10, .gpr = 0x12, .seg = 0x22, .segs = SEG_DS + 1, .ldt = 0x2a,
};
static const struct tss_layout tss32 = {
	.limit = 0x67, .size = 4, .cr3 = 0x1c, .ip = 0x20, .flags = 0x24, .gpr = 0x28, .seg = 0x48, .segs = SEG_GS + 1,
	.ldt = 0x60, .trap = 0x64,
};

enum { TSS_BUSY = 2, TSS_GPRS = RDI + 1 };

static const struct tss_layout *layout_of(unsigned type)
{
	return type >= SYS_TSS ? &tss32 : &tss16;
}

struct task_image {
	uint32_t cr3, ip, flags, gpr[TSS_GPRS];
	uint16_t seg[SEG_COUNT], ldt;
	bool trap;
};

struct task_change {
	enum task_cause cause;
	unsigned ext;
	uint16_t sel;
	struct desc desc;	 /* of the new TSS */
	struct vcpu_segment tss; /* the new one */
	const struct tss_layout *from, *to;
};

static uint64_t tss_load(struct cpu *c, uint64_t base, unsigned offset, unsigned size)
{
	return mmu_load_sys(c, (uint32_t)(base + offset), size);
}

static void tss_store(struct cpu *c, uint64_t base, unsigned offset, unsigned size, uint64_t value)
{
	mmu_store_sys(c, (uint32_t)(base + offset), size, value);
}

/* --- before the commit --- */

/* The new TSS: in the GDT, of the right kind, present, long enough (table 7-1). */
static void find_tss(struct cpu *c, struct task_change *t)
{
	unsigned bad = t->cause == TASK_IRET ? EXC_TS : EXC_GP, type;
	bool busy;

	if (sel_null(t->sel) || (t->sel & SEL_TI) || !desc_fetch(c, t->sel, &t->desc))
		raise_sel(c, bad, t->sel, t->ext);
	type = desc_type(&t->desc);
	busy = type & TSS_BUSY;
	type &= ~(unsigned)TSS_BUSY;
	if (desc_s(&t->desc) || (type != SYS_TSS && type != SYS_TSS16) || busy != (t->cause == TASK_IRET))
		raise_sel(c, bad, t->sel, t->ext);
	if (!desc_present(&t->desc))
		raise_sel(c, EXC_NP, t->sel, t->ext);
	t->tss = desc_segment(c, t->sel, &t->desc);
	t->tss.attr |= TSS_BUSY;
	t->to = layout_of(type);
	if (t->tss.limit < t->to->limit)
		raise_sel(c, EXC_TS, t->sel, t->ext);
}

/* The present TSS has to take the state of its task. */
static void check_present_tss(struct cpu *c, struct task_change *t)
{
	t->from = layout_of(c->tr.attr & ATTR_TYPE);
	if ((c->tr.attr & ATTR_NULL) || c->tr.limit < t->from->limit)
		raise_sel(c, EXC_TS, c->tr.selector, t->ext);
}

/* The address of the present task's descriptor; false: the GDT has been cut short since LTR. */
static bool present_desc(const struct cpu *c, uint64_t *linear)
{
	uint32_t offset = c->tr.selector & SEL_INDEX;

	*linear = (uint32_t)(c->gdt.base + offset);
	return offset + 7 <= c->gdt.limit;
}

static bool leaves_for_good(const struct task_change *t)
{
	return t->cause == TASK_JMP || t->cause == TASK_IRET;
}

/* #PF of everything that the switch will touch comes before anything changes (7.3, step 5). */
static void probe_pages(struct cpu *c, const struct task_change *t)
{
	uint64_t desc;

	tss_load(c, t->tss.base, 0, 1);
	tss_load(c, t->tss.base, t->to->limit, 1);
	if (!leaves_for_good(t))
		mmu_atomic_sys(c, (uint32_t)t->tss.base, 1);
	mmu_atomic_sys(c, (uint32_t)(c->tr.base + t->from->ip), 1);
	mmu_atomic_sys(c, (uint32_t)(c->tr.base + t->from->limit), 1);
	if (t->cause != TASK_IRET)
		mmu_atomic_sys(c, (uint32_t)(t->desc.linear + 5), 1);
	if (leaves_for_good(t) && present_desc(c, &desc))
		mmu_atomic_sys(c, (uint32_t)(desc + 5), 1);
}

static void save_task(struct cpu *c, const struct tss_layout *l, uint64_t flags)
{
	uint64_t base = c->tr.base;

	tss_store(c, base, l->ip, l->size, c->gpr[GPR_RIP]);
	tss_store(c, base, l->flags, l->size, flags);
	for (unsigned i = 0; i < TSS_GPRS; i++)
		tss_store(c, base, l->gpr + i * l->size, l->size, c->gpr[i]);
	for (unsigned i = 0; i < l->segs; i++)
		tss_store(c, base, l->seg + i * l->size, 2, c->seg[i].selector);
}

/*
 * A 16-bit TSS has no FS, GS and upper half of EFLAGS: they become 0. The manual leaves the upper halves of the
 * general registers undefined; the 386 makes them all ones, and so does this.
 */
static void read_task(struct cpu *c, const struct task_change *t, struct task_image *m)
{
	const struct tss_layout *l = t->to;
	uint64_t base = t->tss.base;

	*m = (struct task_image){
		.cr3 = l->cr3 ? (uint32_t)tss_load(c, base, l->cr3, 4) : 0,
		.ip = (uint32_t)tss_load(c, base, l->ip, l->size),
		.flags = (uint32_t)tss_load(c, base, l->flags, l->size),
		.ldt = (uint16_t)tss_load(c, base, l->ldt, 2),
		.trap = l->trap && (tss_load(c, base, l->trap, 1) & 1),
	};
	for (unsigned i = 0; i < TSS_GPRS; i++)
		m->gpr[i] = (uint32_t)tss_load(c, base, l->gpr + i * l->size, l->size) | (l->size == 2 ? 0xffff0000u : 0);
	for (unsigned i = 0; i < l->segs; i++)
		m->seg[i] = (uint16_t)tss_load(c, base, l->seg + i * l->size, 2);
}

static void mark_busy(struct cpu *c, uint64_t desc, bool busy)
{
	uint8_t *p = mmu_atomic_sys(c, (uint32_t)(desc + 5), 1);

	if (!p) /* a table that is no memory */
		return;
	if (busy)
		__atomic_fetch_or(p, TSS_BUSY, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(p, (uint8_t)~TSS_BUSY, __ATOMIC_SEQ_CST);
	mmu_after_store(c, p, 1);
}

/* --- the commit --- */

static void commit(struct cpu *c, const struct task_change *t, const struct task_image *m)
{
	uint32_t known = RF_TF | RF_IF | RF_DF | RF_IOPL | RF_NT | RF_RF | RF_VM | RF_AC | RF_VIF | RF_VIP | RF_ID;

	instruction_done(c);
	c->cr0 |= CR0_TS;
	debug_task_switched(c, m->trap);
	c->tr = t->tss;
	c->flags = cpu_flags_from(m->flags);
	c->sysflags = (m->flags & known) | RF_FIXED;
	if (!leaves_for_good(t))
		c->sysflags |= RF_NT;
	for (unsigned i = 0; i < TSS_GPRS; i++)
		c->gpr[i] = m->gpr[i];
	c->gpr[GPR_RIP] = m->ip;
	c->cpl = m->flags & RF_VM ? 3 : m->seg[SEG_CS] & SEL_RPL;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		c->seg[i] = seg_null(m->seg[i], i == SEG_SS || i == SEG_CS ? c->cpl : 0);
	c->ldt = seg_null(m->ldt, 0);
	cpu_mode_changed(c);
}

/* --- after the commit: table 7-1 --- */

static void load_ldt(struct cpu *c, uint16_t sel, unsigned ext)
{
	struct desc d;

	if (sel_null(sel))
		return;
	if ((sel & SEL_TI) || !desc_fetch(c, sel, &d) || desc_s(&d) || desc_type(&d) != SYS_LDT || !desc_present(&d))
		raise_sel(c, EXC_TS, sel, ext);
	c->ldt = desc_segment(c, sel, &d);
}

static struct vcpu_segment load_desc(struct cpu *c, uint16_t sel, const struct desc *d)
{
	struct vcpu_segment s;

	desc_set_accessed(c, d);
	s = desc_segment(c, sel, d);
	s.attr |= TYPE_A;
	return s;
}

static void load_code(struct cpu *c, uint16_t sel, unsigned ext)
{
	unsigned rpl = sel & SEL_RPL;
	struct desc d;

	if (sel_null(sel) || !desc_fetch(c, sel, &d) || !desc_is_code(&d) ||
	    (desc_conforming(&d) ? desc_dpl(&d) > rpl : desc_dpl(&d) != rpl))
		raise_sel(c, EXC_TS, sel, ext);
	if (!desc_present(&d))
		raise_sel(c, EXC_NP, sel, ext);
	c->seg[SEG_CS] = load_desc(c, sel, &d);
}

static void load_data(struct cpu *c, unsigned seg, uint16_t sel, unsigned ext)
{
	struct desc d;
	bool conforming;

	if (sel_null(sel))
		return;
	if (!desc_fetch(c, sel, &d) || !desc_s(&d) || (desc_type(&d) & (TYPE_CODE | TYPE_R)) == TYPE_CODE)
		raise_sel(c, EXC_TS, sel, ext);
	conforming = desc_is_code(&d) && desc_conforming(&d);
	if (!conforming && ((sel & SEL_RPL) > desc_dpl(&d) || c->cpl > desc_dpl(&d)))
		raise_sel(c, EXC_TS, sel, ext);
	if (!desc_present(&d))
		raise_sel(c, EXC_NP, sel, ext);
	c->seg[seg] = load_desc(c, sel, &d);
}

static void load_segments(struct cpu *c, const struct task_image *m, unsigned ext)
{
	static const uint8_t data[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS };

	load_ldt(c, m->ldt, ext);
	if (in_vm86(c)) {
		for (unsigned i = 0; i < SEG_COUNT; i++)
			c->seg[i] = seg_real(c, i, m->seg[i], true);
	} else {
		load_code(c, m->seg[SEG_CS], ext);
		c->seg[SEG_SS] = seg_prepare_stack(c, m->seg[SEG_SS], c->cpl, EXC_TS, ext);
		cpu_mode_changed(c);
		for (unsigned i = 0; i < sizeof(data); i++)
			load_data(c, data[i], m->seg[data[i]], ext);
	}
	cpu_mode_changed(c);
}

void task_switch(struct cpu *c, uint16_t sel, enum task_cause cause, const struct task_event *e)
{
	struct task_change t = { .cause = cause, .ext = e ? e->ext : 0, .sel = sel };
	uint64_t flags = e ? e->flags : cpu_rflags(c), desc;
	struct task_image m;
	uint16_t back = c->tr.selector;

	find_tss(c, &t);
	check_present_tss(c, &t);
	probe_pages(c, &t);

	if (cause == TASK_IRET)
		flags &= ~(uint64_t)RF_NT;
	save_task(c, t.from, flags);
	read_task(c, &t, &m);
	if (!leaves_for_good(&t))
		tss_store(c, t.tss.base, 0, 2, back);
	if (leaves_for_good(&t) && present_desc(c, &desc))
		mark_busy(c, desc, false);
	if (cause != TASK_IRET)
		mark_busy(c, t.desc.linear, true);
	if (trace_on(TRACE_INT))
		trace(TRACE_INT, "cpu%u task %04x to %04x, at rip %08x", c->index, back, sel, m.ip);
	commit(c, &t, &m);

	/* A 16-bit TSS names no page tables. An unchanged CR3 is not loaded (4.10.4.1, 4.4.1). */
	if (t.to->cr3 && cpu_paging(c) && m.cr3 != (uint32_t)c->cr3)
		cr_write(c, 3, m.cr3);
	load_segments(c, &m, t.ext);
	if (e && e->has_error) {
		struct stack s = stack_now(c, t.ext);

		stack_write(c, &s, t.to->size, e->error);
		stack_commit(c, &s);
	}
	seg_check_rip(c, &c->seg[SEG_CS], c->gpr[GPR_RIP], t.ext);
	c->attn = 1;
	virtual_interrupt_check(c);
}
