// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Instructions on segment registers, descriptor tables and selectors (SDM vol. 2 under each; vol. 3,
 * 5.10 for LAR, LSL, VERR, VERW, ARPL).
 */
#include "engine/soft/system/system.h"

#include <string.h>

uint16_t operand16(struct cpu *c, const struct insn *in)
{
	if (in->flags & INSN_MEM)
		return (uint16_t)mmu_load(c, in->seg, insn_linear(c, in, 2, MMU_READ), 2);
	return *gpr16(c, in->rm_off);
}

void operand16_put(struct cpu *c, const struct insn *in, uint16_t v)
{
	if (in->flags & INSN_MEM)
		mmu_store(c, in->seg, insn_linear(c, in, 2, MMU_WRITE), 2, v);
	else
		gpr_put(c, in->rm_off, in->opsize, v);
}

/* Loading SS holds off interrupts and debug traps until after the next instruction (vol. 3, 6.8.3). */
static void ss_shadow(struct cpu *c, unsigned seg)
{
	if (seg == SEG_SS) {
		c->shadow = 2;
		c->brk = 1;
	}
}

/* --- MOV PUSH POP LxS --- */

static void mov_from_seg(struct cpu *c, const struct insn *in)
{
	operand16_put(c, in, c->seg[in->reg].selector);
}

static void mov_to_seg(struct cpu *c, const struct insn *in)
{
	struct vcpu_segment s;

	if (in->reg == SEG_CS || in->reg >= SEG_COUNT)
		cpu_raise(c, EXC_UD);
	s = seg_prepare(c, in->reg, operand16(c, in));
	seg_commit(c, in->reg, &s);
	ss_shadow(c, in->reg);
}

/* With an operand size of 32 bits Intel's processors store only the selector's 16 bits. */
static void push_seg(struct cpu *c, const struct insn *in)
{
	uint64_t sp = (c->gpr[RSP] - in->opsize) & stack_mask(c);
	unsigned size = in->opsize == 4 ? 2 : in->opsize;

	mmu_store(c, SEG_SS, linear(c, SEG_SS, sp, size, MMU_WRITE), size, c->seg[in->reg].selector);
	stack_set(c, sp);
}

static void pop_seg(struct cpu *c, const struct insn *in)
{
	uint16_t sel = (uint16_t)stack_peek(c, in->opsize, 0);
	struct vcpu_segment s = seg_prepare(c, in->reg, sel);

	/* The width of rSP before SS changes it */
	stack_drop(c, in->opsize);
	seg_commit(c, in->reg, &s);
	ss_shadow(c, in->reg);
}

static void load_far_pointer(struct cpu *c, const struct insn *in)
{
	unsigned seg = in->id == INSN_ID_LES ? SEG_ES : in->id == INSN_ID_LDS ? SEG_DS : in->id == INSN_ID_LSS ? SEG_SS
		     : in->id == INSN_ID_LFS ? SEG_FS : SEG_GS;
	uint64_t off = mmu_load(c, in->seg, insn_linear_part(c, in, 0, in->opsize, MMU_READ), in->opsize);
	uint64_t sel = mmu_load(c, in->seg, insn_linear_part(c, in, in->opsize, 2, MMU_READ), 2);
	struct vcpu_segment s = seg_prepare(c, seg, (uint16_t)sel);

	seg_commit(c, seg, &s);
	gpr_put(c, in->reg_off, in->opsize, off);
}

/* --- descriptor tables --- */

static void load_table(struct cpu *c, const struct insn *in)
{
	bool long_mode = c->mode == INSN_MODE64;
	struct vcpu_table t;
	uint64_t lin;

	need_cpl0(c);
	lin = insn_linear(c, in, long_mode ? 10 : 6, MMU_READ);
	t.limit = (uint16_t)mmu_load(c, in->seg, lin, 2);
	t.base = mmu_load(c, in->seg, long_mode ? lin + 2 : (uint32_t)(lin + 2), long_mode ? 8 : 4);
	if (!long_mode && in->opsize == 2)
		t.base &= 0xffffff;
	if (!canonical_base(c, t.base))
		raise_gp0(c);
	if (in->id == INSN_ID_LGDT)
		c->gdt = t;
	else
		c->idt = t;
}

/* All 32 bits of the base are stored, whatever the operand size. */
static void store_table(struct cpu *c, const struct insn *in)
{
	const struct vcpu_table *t = in->id == INSN_ID_SGDT ? &c->gdt : &c->idt;
	unsigned size = c->mode == INSN_MODE64 ? 10 : 6;
	uint8_t image[10];

	check_umip(c);
	memcpy(image, &t->limit, 2);
	memcpy(image + 2, &t->base, 8);
	mmu_store_bytes(c, in->seg, insn_linear(c, in, size, MMU_WRITE), image, size);
}

static void sldt(struct cpu *c, const struct insn *in)
{
	need_protected(c);
	check_umip(c);
	operand16_put(c, in, c->ldt.selector);
}

static void str(struct cpu *c, const struct insn *in)
{
	need_protected(c);
	check_umip(c);
	operand16_put(c, in, c->tr.selector);
}

/* The descriptor of an LDT or TSS; @types: the types allowed, as a set. */
static void system_desc(struct cpu *c, uint16_t sel, uint32_t types, struct desc *d)
{
	if ((sel & SEL_TI) || !desc_fetch(c, sel, d) || desc_s(d) || !(types >> desc_type(d) & 1) ||
	    !desc_fetch_high(c, sel, d))
		raise_sel(c, EXC_GP, sel, 0);
	if (!desc_present(d))
		raise_sel(c, EXC_NP, sel, 0);
}

static struct vcpu_segment system_segment(struct cpu *c, uint16_t sel, const struct desc *d)
{
	struct vcpu_segment s = desc_segment(c, sel, d);

	if (!canonical_base(c, s.base))
		raise_sel(c, EXC_GP, sel, 0);
	return s;
}

static void lldt(struct cpu *c, const struct insn *in)
{
	struct desc d;
	uint16_t sel;

	need_protected(c);
	need_cpl0(c);
	sel = operand16(c, in);
	if (sel_null(sel)) {
		c->ldt = seg_null(sel, 0);
		return;
	}
	system_desc(c, sel, 1 << SYS_LDT, &d);
	c->ldt = system_segment(c, sel, &d);
}

static void ltr(struct cpu *c, const struct insn *in)
{
	struct vcpu_segment s;
	struct desc d;
	uint16_t sel;
	uint8_t *p;

	need_protected(c);
	need_cpl0(c);
	sel = operand16(c, in);
	if (sel_null(sel))
		raise_gp0(c);
	system_desc(c, sel, cpu_long_mode(c) ? 1 << SYS_TSS : 1 << SYS_TSS | 1 << SYS_TSS16, &d);
	s = system_segment(c, sel, &d);
	/* The busy bit, in a locked cycle (vol. 2, LTR) */
	p = mmu_atomic_sys(c, d.linear + 5, 1);
	if (p) {
		__atomic_fetch_or(p, 2, __ATOMIC_SEQ_CST);
		mmu_after_store(c, p, 1);
	}
	s.attr |= 2;
	c->tr = s;
}

/* --- looking at selectors --- */

static void set_zf(struct cpu *c, bool zf)
{
	c->flags = zf ? c->flags | AF_ZF : c->flags & ~(uint32_t)AF_ZF;
}

/* Whether @sel names a descriptor that code at this CPL may see; @types: system types allowed. */
static bool visible(struct cpu *c, uint16_t sel, uint32_t types, struct desc *d)
{
	if (sel_null(sel) || !desc_fetch(c, sel, d))
		return false;
	if (!desc_s(d) && (!(types >> desc_type(d) & 1) || !desc_fetch_high(c, sel, d)))
		return false;
	if (desc_is_code(d) && desc_conforming(d))
		return true;
	return desc_dpl(d) >= c->cpl && desc_dpl(d) >= (sel & SEL_RPL);
}

static void lar(struct cpu *c, const struct insn *in)
{
	const uint32_t legacy = 1 << SYS_TSS16 | 1 << SYS_LDT | 1 << SYS_TSS16_BUSY | 1 << SYS_CALL16 | 1 << SYS_TASK_GATE |
				1 << SYS_TSS | 1 << SYS_TSS_BUSY | 1 << SYS_CALL;
	const uint32_t lm = 1 << SYS_LDT | 1 << SYS_TSS | 1 << SYS_TSS_BUSY | 1 << SYS_CALL;
	uint16_t sel;
	struct desc d;
	bool ok;

	need_protected(c);
	sel = operand16(c, in);
	ok = visible(c, sel, cpu_long_mode(c) ? lm : legacy, &d);
	if (ok)
		gpr_put(c, in->reg_off, in->opsize, in->opsize == 2 ? d.low >> 32 & 0xff00 : d.low >> 32 & 0xffff00);
	set_zf(c, ok);
}

static void lsl(struct cpu *c, const struct insn *in)
{
	const uint32_t legacy = 1 << SYS_TSS16 | 1 << SYS_LDT | 1 << SYS_TSS16_BUSY | 1 << SYS_TSS | 1 << SYS_TSS_BUSY;
	const uint32_t lm = 1 << SYS_LDT | 1 << SYS_TSS | 1 << SYS_TSS_BUSY;
	uint16_t sel;
	struct desc d;
	bool ok;

	need_protected(c);
	sel = operand16(c, in);
	ok = visible(c, sel, cpu_long_mode(c) ? lm : legacy, &d);
	if (ok)
		gpr_put(c, in->reg_off, in->opsize, desc_limit(&d));
	set_zf(c, ok);
}

static void verr(struct cpu *c, const struct insn *in)
{
	struct desc d;
	uint16_t sel;

	need_protected(c);
	sel = operand16(c, in);
	set_zf(c, visible(c, sel, 0, &d) && (desc_type(&d) & (TYPE_CODE | TYPE_R)) != TYPE_CODE);
}

static void verw(struct cpu *c, const struct insn *in)
{
	struct desc d;
	uint16_t sel;

	need_protected(c);
	sel = operand16(c, in);
	set_zf(c, visible(c, sel, 0, &d) && desc_writable_data(&d));
}

static void arpl(struct cpu *c, const struct insn *in)
{
	uint16_t src = *gpr16(c, in->reg_off), dst;
	uint64_t lin = 0;
	bool raise;

	need_protected(c);
	if (in->flags & INSN_MEM) {
		lin = insn_linear(c, in, 2, MMU_READ);
		dst = (uint16_t)mmu_load(c, in->seg, lin, 2);
	} else {
		dst = *gpr16(c, in->rm_off);
	}
	raise = (dst & SEL_RPL) < (src & SEL_RPL);
	if (raise) {
		dst = (uint16_t)((dst & ~SEL_RPL) | (src & SEL_RPL));
		/* Only an operand that changes has to be writable. */
		if (in->flags & INSN_MEM)
			mmu_store(c, in->seg, insn_linear(c, in, 2, MMU_WRITE), 2, dst);
		else
			*gpr16(c, in->rm_off) = dst;
	}
	set_zf(c, raise);
}

insn_fn *bind_segment(struct cpu *c, const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_MOV_SEG: return opcode_table[in->row].opnd[0].kind == OPND_S ? mov_to_seg : mov_from_seg;
	case INSN_ID_PUSH_SEG: return push_seg;
	case INSN_ID_POP_SEG: return pop_seg;
	case INSN_ID_LES:
	case INSN_ID_LDS:
	case INSN_ID_LSS:
	case INSN_ID_LFS:
	case INSN_ID_LGS: return load_far_pointer;
	case INSN_ID_LGDT:
	case INSN_ID_LIDT: return load_table;
	case INSN_ID_SGDT:
	case INSN_ID_SIDT: return store_table;
	case INSN_ID_SLDT: return sldt;
	case INSN_ID_STR: return str;
	case INSN_ID_LLDT: return lldt;
	case INSN_ID_LTR: return ltr;
	case INSN_ID_LAR: return lar;
	case INSN_ID_LSL: return lsl;
	case INSN_ID_VERR: return verr;
	case INSN_ID_VERW: return verw;
	case INSN_ID_ARPL: return arpl;
	default: return NULL;
	}
}
