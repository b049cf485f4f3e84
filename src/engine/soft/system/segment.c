// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Descriptors and segment registers (SDM vol. 3, chapters 3 and 5; 7.2 for the TSS), limit checks, and
 * stacks that are filled before they become the present one.
 *
 * Nothing here changes a register until seg_commit*: loads are prepared, with everything that can
 * fault done, then committed. SS.DPL is always the CPL, as in a VMCS.
 */
#include "engine/soft/system/system.h"
#include "engine/soft/translate/legacy.h"

/* --- descriptors --- */

static bool table_of(const struct cpu *c, uint16_t sel, uint64_t *base, uint32_t *limit)
{
	if (!(sel & SEL_TI)) {
		*base = c->gdt.base;
		*limit = c->gdt.limit;
		return true;
	}
	*base = c->ldt.base;
	*limit = c->ldt.limit;
	return !(c->ldt.attr & ATTR_NULL);
}

static uint64_t table_linear(const struct cpu *c, uint64_t base, uint32_t offset)
{
	return cpu_long_mode(c) ? base + offset : (uint32_t)(base + offset);
}

bool desc_fetch(struct cpu *c, uint16_t sel, struct desc *d)
{
	uint64_t base;
	uint32_t limit, offset = sel & SEL_INDEX;

	if (!table_of(c, sel, &base, &limit) || offset + 7 > limit)
		return false;
	d->linear = table_linear(c, base, offset);
	d->low = mmu_load_sys(c, d->linear, 8);
	d->high = 0;
	return true;
}

bool desc_fetch_high(struct cpu *c, uint16_t sel, struct desc *d)
{
	uint64_t base;
	uint32_t limit, offset = sel & SEL_INDEX;

	if (!cpu_long_mode(c))
		return true;
	if (!table_of(c, sel, &base, &limit) || offset + 15 > limit)
		return false;
	d->high = mmu_load_sys(c, table_linear(c, base, offset + 8), 8);
	return !(d->high >> 40 & 0x1f);
}

uint32_t desc_limit(const struct desc *d)
{
	uint32_t limit = (uint32_t)(d->low & 0xffff) | (uint32_t)(d->low >> 32 & 0xf0000);

	return d->low >> 55 & 1 ? limit << 12 | 0xfff : limit;
}

struct vcpu_segment desc_segment(const struct cpu *c, uint16_t sel, const struct desc *d)
{
	uint64_t base = (d->low >> 16 & 0xffffff) | (d->low >> 56 << 24);

	if (!desc_s(d) && cpu_long_mode(c))
		base |= d->high << 32;
	return (struct vcpu_segment){
		.base = base,
		.limit = desc_limit(d),
		.selector = sel,
		.attr = (uint32_t)(d->low >> 40) & 0xf0ff,
	};
}

void desc_set_accessed(struct cpu *c, const struct desc *d)
{
	uint8_t *p;

	if (desc_type(d) & TYPE_A)
		return;
	/* A table that is no memory (or ROM) cannot take the bit, and nobody can tell. */
	p = mmu_atomic_sys(c, d->linear + 5, 1);
	if (p) {
		__atomic_fetch_or(p, TYPE_A, __ATOMIC_SEQ_CST);
		mmu_after_store(c, p, 1);
	}
}

/* --- segment registers --- */

struct vcpu_segment seg_null(uint16_t sel, unsigned cpl)
{
	return (struct vcpu_segment){ .selector = sel, .attr = ATTR_NULL | cpl << 5 };
}

struct vcpu_segment seg_real(const struct cpu *c, unsigned seg, uint16_t sel, bool vm86)
{
	struct vcpu_segment s = c->seg[seg];

	s.selector = sel;
	s.base = (uint64_t)sel << 4;
	if (vm86) { /* SDM vol. 3, 20.1.1 */
		s.limit = 0xffff;
		s.attr = ATTR_P | ATTR_DPL | ATTR_S | TYPE_W | TYPE_A;
		return s;
	}
	/* Real mode keeps limit and size as they are; what protected mode left may be unusable. */
	if (s.attr & ATTR_NULL) {
		s.limit = 0xffff;
		s.attr = 0;
	}
	s.attr = (s.attr & (ATTR_AVL | ATTR_DB | ATTR_G)) | ATTR_P | ATTR_S | TYPE_W | TYPE_A;
	if (seg == SEG_CS)
		s.attr |= TYPE_CODE;
	return s;
}

static struct vcpu_segment seg_finish(struct cpu *c, uint16_t sel, struct desc *d)
{
	struct vcpu_segment s;

	desc_set_accessed(c, d);
	s = desc_segment(c, sel, d);
	s.attr |= TYPE_A;
	return s;
}

struct vcpu_segment seg_prepare_stack(struct cpu *c, uint16_t sel, unsigned cpl, unsigned vector, unsigned ext)
{
	struct desc d;

	if (sel_null(sel))
		cpu_raise_error(c, vector, ext);
	if (!desc_fetch(c, sel, &d) || (sel & SEL_RPL) != cpl || !desc_writable_data(&d) || desc_dpl(&d) != cpl)
		raise_sel(c, vector, sel, ext);
	if (!desc_present(&d))
		raise_sel(c, EXC_SS, sel, ext);
	return seg_finish(c, sel, &d);
}

struct vcpu_segment seg_prepare(struct cpu *c, unsigned seg, uint16_t sel)
{
	struct desc d;

	if (c->real)
		return seg_real(c, seg, sel, in_vm86(c));
	if (sel_null(sel)) {
		if (seg != SEG_SS)
			return seg_null(sel, 0);
		if (c->mode != INSN_MODE64 || c->cpl == 3 || (sel & SEL_RPL) != c->cpl)
			raise_gp0(c);
		return seg_null(sel, c->cpl);
	}
	if (seg == SEG_SS)
		return seg_prepare_stack(c, sel, c->cpl, EXC_GP, 0);
	if (!desc_fetch(c, sel, &d) || !desc_s(&d))
		raise_sel(c, EXC_GP, sel, 0);
	if ((desc_type(&d) & (TYPE_CODE | TYPE_R)) == TYPE_CODE) /* execute-only */
		raise_sel(c, EXC_GP, sel, 0);
	if (!(desc_is_code(&d) && desc_conforming(&d)) && ((sel & SEL_RPL) > desc_dpl(&d) || c->cpl > desc_dpl(&d)))
		raise_sel(c, EXC_GP, sel, 0);
	if (!desc_present(&d))
		raise_sel(c, EXC_NP, sel, 0);
	return seg_finish(c, sel, &d);
}

struct vcpu_segment seg_code_direct(struct cpu *c, uint16_t sel, const struct desc *d)
{
	struct vcpu_segment s;

	if (desc_conforming(d) ? desc_dpl(d) > c->cpl : (sel & SEL_RPL) > c->cpl || desc_dpl(d) != c->cpl)
		raise_sel(c, EXC_GP, sel, 0);
	if (cpu_long_mode(c) && desc_l(d) && desc_db(d))
		raise_sel(c, EXC_GP, sel, 0);
	if (!desc_present(d))
		raise_sel(c, EXC_NP, sel, 0);
	s = desc_segment(c, (sel & ~SEL_RPL) | c->cpl, d);
	s.attr |= TYPE_A;
	return s;
}

void seg_check_rip(struct cpu *c, const struct vcpu_segment *cs, uint64_t rip, uint32_t error)
{
	if (cpu_long_mode(c) && (cs->attr & ATTR_L) ? !cpu_canonical(c, rip) : rip > cs->limit)
		cpu_raise_error(c, EXC_GP, error);
}

void seg_commit(struct cpu *c, unsigned seg, const struct vcpu_segment *s)
{
	c->seg[seg] = *s;
	if (c->mode != INSN_MODE64) {
		c->segbase[seg] = s->base;
		if (seg == SEG_SS) {
			c->stack_size = s->attr & ATTR_DB ? 4 : 2;
			c->brk = 1;
		}
		segment_loaded(c, seg);
	} else if (seg >= SEG_FS) {
		c->segbase[seg] = s->base;
	}
}

void seg_commit_code(struct cpu *c, const struct vcpu_segment *cs, unsigned cpl, uint64_t rip)
{
	c->seg[SEG_CS] = *cs;
	c->cpl = (uint8_t)cpl;
	c->gpr[GPR_RIP] = rip;
	cpu_mode_changed(c);
}

void seg_forget_inner(struct cpu *c)
{
	static const uint8_t list[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };

	for (unsigned i = 0; i < sizeof(list); i++) {
		const struct vcpu_segment *s = &c->seg[list[i]];
		struct vcpu_segment null = seg_null(0, 0);
		/* The base stays: 64-bit code goes on using that of FS and GS (vol. 2, IRET: only the selector becomes 0). */
		bool conforming = (s->attr & (TYPE_CODE | TYPE_C)) == (TYPE_CODE | TYPE_C);

		if (s->attr & ATTR_NULL)
			continue;
		if ((s->attr & ATTR_S) && !conforming && (s->attr >> 5 & 3) < c->cpl) {
			null.base = s->base;
			seg_commit(c, list[i], &null);
		}
	}
}

/* --- limits --- */

bool seg_inside(const struct vcpu_segment *s, uint64_t offset, unsigned size)
{
	uint64_t last = offset + size - 1;

	if ((s->attr & (TYPE_CODE | TYPE_E)) == TYPE_E) /* expand-down data */
		return offset > s->limit && last <= (s->attr & ATTR_DB ? 0xffffffffu : 0xffffu);
	/* With a limit of 4 GiB an access may wrap (5.3 leaves that to the implementation). */
	return last <= s->limit || s->limit == 0xffffffffu;
}

uint64_t seg_linear(struct cpu *c, unsigned seg, uint64_t ea, unsigned size, enum mmu_access access)
{
	const struct vcpu_segment *s = &c->seg[seg];
	uint32_t attr = s->attr;

	if (c->mode == INSN_MODE64)
		return ea + c->segbase[seg];
	if (attr & ATTR_NULL)
		goto fault;
	if (!c->real) {
		if (access == MMU_WRITE ? (attr & (TYPE_CODE | TYPE_W)) != TYPE_W
					: access == MMU_READ && (attr & (TYPE_CODE | TYPE_R)) == TYPE_CODE)
			goto fault;
	}
	if (!seg_inside(s, ea, size))
		goto fault;
	return (uint32_t)(s->base + ea);
fault:
	cpu_raise_error(c, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}

/* --- stacks --- */

struct stack stack_now(const struct cpu *c, uint32_t error)
{
	return (struct stack){
		.ss = c->seg[SEG_SS], .sp = c->gpr[RSP], .width = c->stack_size, .error = error,
	};
}

static uint64_t stack_linear(struct cpu *c, const struct stack *s, uint64_t sp, unsigned size)
{
	if (s->width == 8) {
		if (!cpu_canonical(c, sp) || !cpu_canonical(c, sp + size - 1))
			cpu_raise_error(c, EXC_SS, s->error);
		return sp;
	}
	if ((s->ss.attr & ATTR_NULL) || !seg_inside(&s->ss, sp, size))
		cpu_raise_error(c, EXC_SS, s->error);
	return (uint32_t)(s->ss.base + sp);
}

static uint64_t width_mask(unsigned width)
{
	return width == 8 ? ~0ull : width == 4 ? 0xffffffffull : 0xffffull;
}

void stack_write(struct cpu *c, struct stack *s, unsigned size, uint64_t value)
{
	uint64_t mask = width_mask(s->width), sp = (s->sp - size) & mask;
	uint64_t lin = stack_linear(c, s, sp, size);

	if (s->inner)
		mmu_store_sys(c, lin, size, value);
	else
		mmu_store(c, SEG_SS, lin, size, value);
	s->sp = (s->sp & ~mask) | sp;
}

uint64_t stack_read(struct cpu *c, struct stack *s, unsigned size)
{
	uint64_t mask = width_mask(s->width), sp = s->sp & mask;
	uint64_t v = mmu_load(c, SEG_SS, stack_linear(c, s, sp, size), size);

	s->sp = (s->sp & ~mask) | ((sp + size) & mask);
	return v;
}

void stack_commit(struct cpu *c, const struct stack *s)
{
	if (s->width == 2)
		*gpr16(c, RSP * 8) = (uint16_t)s->sp;
	else
		c->gpr[RSP] = s->width == 4 ? (uint32_t)s->sp : s->sp;
}

/* --- the TSS --- */

static _Noreturn void bad_tss(struct cpu *c, unsigned ext)
{
	raise_sel(c, EXC_TS, c->tr.selector, ext);
}

static uint64_t tss_read(struct cpu *c, unsigned offset, unsigned size)
{
	return mmu_load_sys(c, table_linear(c, c->tr.base, offset), size);
}

void tss_stack(struct cpu *c, unsigned cpl, unsigned ext, uint16_t *ss, uint64_t *sp)
{
	unsigned at = 4 + cpl * 8;

	if (cpu_long_mode(c)) {
		if (at + 7 > c->tr.limit)
			bad_tss(c, ext);
		*sp = tss_read(c, at, 8);
		*ss = (uint16_t)cpl;
	} else if ((c->tr.attr & ATTR_TYPE) >= SYS_TSS) {
		if (at + 5 > c->tr.limit)
			bad_tss(c, ext);
		*sp = tss_read(c, at, 4);
		*ss = (uint16_t)tss_read(c, at + 4, 2);
	} else {
		at = 2 + cpl * 4;
		if (at + 3 > c->tr.limit)
			bad_tss(c, ext);
		*sp = tss_read(c, at, 2);
		*ss = (uint16_t)tss_read(c, at + 2, 2);
	}
}

uint64_t tss_ist(struct cpu *c, unsigned ist, unsigned ext)
{
	unsigned at = 28 + ist * 8;

	if (at + 7 > c->tr.limit)
		bad_tss(c, ext);
	return tss_read(c, at, 8);
}
