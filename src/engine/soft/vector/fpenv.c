// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * FNSTENV, FLDENV, FNSAVE, FRSTOR, FWAIT (SDM vol. 1, 8.1.10, figures 8-9 to 8-12).
 *
 * The environment has four layouts: 28 or 14 bytes by the operand size, each with selectors and
 * offsets (protected mode) or linear addresses (real and virtual-8086 mode). FCS and FDS are
 * always saved as 0. Reserved halves are stored as ones.
 *
 * The full tag word is made from the abridged one and the registers' contents; when it is loaded,
 * only empty or not counts.
 */
#include "engine/soft/vector/vector.h"

#include <string.h>

enum { TAG_VALID, TAG_ZERO, TAG_SPECIAL, TAG_EMPTY };
enum { ENV_MAX = 28, REGS_SIZE = 80 };

static void put16(uint8_t *p, unsigned v) { memcpy(p, &(uint16_t){ (uint16_t)v }, 2); }
static void put32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static unsigned tag_of(const uint8_t reg[16])
{
	unsigned exponent = get16(reg + 8) & 0x7fff;
	uint64_t significand;

	memcpy(&significand, reg, 8);
	if (!exponent)
		return significand ? TAG_SPECIAL : TAG_ZERO;
	if (exponent == 0x7fff || !(significand >> 63))
		return TAG_SPECIAL;
	return TAG_VALID;
}

static uint16_t full_tags(const struct cpu *c)
{
	unsigned tags = 0, top = x87_top(c);

	for (unsigned phys = 0; phys < 8; phys++) {
		unsigned tag = c->x.ftw >> phys & 1 ? tag_of(c->x.st[(phys - top) & 7]) : TAG_EMPTY;

		tags |= tag << (2 * phys);
	}
	return (uint16_t)tags;
}

static uint8_t abridged_tags(uint16_t tags)
{
	unsigned bits = 0;

	for (unsigned phys = 0; phys < 8; phys++)
		if ((tags >> (2 * phys) & 3) != TAG_EMPTY)
			bits |= 1u << phys;
	return (uint8_t)bits;
}

static bool large(const struct insn *in)
{
	return in->opsize != 2;
}

static unsigned env_size(const struct insn *in)
{
	return large(in) ? 28 : 14;
}

static void env_make(const struct cpu *c, const struct insn *in, uint8_t *p)
{
	const struct cpu_xsave *x = &c->x;
	uint32_t fip = (uint32_t)x->fip, fdp = (uint32_t)x->fdp;
	unsigned fop = x->fop & 0x7ffu;

	if (large(in)) {
		put32(p, 0xffff0000u | x->fcw);
		put32(p + 4, 0xffff0000u | x->fsw);
		put32(p + 8, 0xffff0000u | full_tags(c));
		if (c->real) {
			put32(p + 12, 0xffff0000u | (fip & 0xffff));
			put32(p + 16, fip >> 16 << 12 | fop);
			put32(p + 20, 0xffff0000u | (fdp & 0xffff));
			put32(p + 24, fdp >> 16 << 12);
		} else {
			put32(p + 12, fip);
			put32(p + 16, fop << 16);
			put32(p + 20, fdp);
			put32(p + 24, 0xffff0000u);
		}
		return;
	}
	put16(p, x->fcw);
	put16(p + 2, x->fsw);
	put16(p + 4, full_tags(c));
	put16(p + 6, fip & 0xffff);
	put16(p + 8, c->real ? (fip >> 16 & 0xf) << 12 | fop : 0);
	put16(p + 10, fdp & 0xffff);
	put16(p + 12, c->real ? (fdp >> 16 & 0xf) << 12 : 0);
}

static void env_take(struct cpu *c, const struct insn *in, const uint8_t *p)
{
	struct cpu_xsave *x = &c->x;
	unsigned step = large(in) ? 4 : 2;
	uint16_t fsw = get16(p + step);

	x87_set_fcw(c, get16(p));
	x87_set_top(c, fsw >> FSW_TOP_SHIFT & 7);
	x->fsw = fsw;
	x->ftw = abridged_tags(get16(p + 2 * step));
	if (large(in) && !c->real) {
		x->fip = get32(p + 12);
		x->fop = get32(p + 16) >> 16 & 0x7ff;
		x->fdp = get32(p + 20);
	} else if (large(in)) {
		x->fip = get16(p + 12) | (get32(p + 16) >> 12 & 0xffff) << 16;
		x->fop = get32(p + 16) & 0x7ff;
		x->fdp = get16(p + 20) | (get32(p + 24) >> 12 & 0xffff) << 16;
	} else {
		x->fip = get16(p + 6);
		x->fdp = get16(p + 10);
		if (c->real) {
			x->fip |= (uint32_t)get16(p + 8) >> 12 << 16;
			x->fdp |= (uint32_t)get16(p + 12) >> 12 << 16;
			x->fop = get16(p + 8) & 0x7ff;
		}
	}
	x87_update_es(c);
}

static uint64_t address(struct cpu *c, const struct insn *in, unsigned size, enum mmu_access access)
{
	uint64_t addr = insn_linear(c, in, size, access);

	if (unlikely(c->align_check) && (addr & (large(in) ? 3 : 1)))
		vector_raise_ac(c, in->seg, addr, size);
	return addr;
}

static void fnstenv(struct cpu *c, const struct insn *in)
{
	uint8_t buf[ENV_MAX];
	uint64_t addr;

	check_x87(c);
	addr = address(c, in, env_size(in), MMU_WRITE);
	env_make(c, in, buf);
	mmu_store_bytes(c, in->seg, addr, buf, env_size(in));
	c->x.fcw |= FPU_EXCEPTIONS;
	x87_update_es(c);
}

static void fldenv(struct cpu *c, const struct insn *in)
{
	uint8_t buf[ENV_MAX];
	uint64_t addr;

	check_x87(c);
	check_pending(c);
	addr = address(c, in, env_size(in), MMU_READ);
	mmu_load_bytes(c, in->seg, addr, buf, env_size(in));
	env_take(c, in, buf);
}

static void fnsave(struct cpu *c, const struct insn *in)
{
	unsigned size = env_size(in);
	uint8_t buf[ENV_MAX + REGS_SIZE];
	uint64_t addr;

	check_x87(c);
	addr = address(c, in, size + REGS_SIZE, MMU_WRITE);
	env_make(c, in, buf);
	for (unsigned i = 0; i < 8; i++)
		memcpy(buf + size + 10 * i, c->x.st[i], 10);
	mmu_store_bytes(c, in->seg, addr, buf, size + REGS_SIZE);
	x87_init(c);
}

static void frstor(struct cpu *c, const struct insn *in)
{
	unsigned size = env_size(in);
	uint8_t buf[ENV_MAX + REGS_SIZE];
	uint64_t addr;

	check_x87(c);
	check_pending(c);
	addr = address(c, in, size + REGS_SIZE, MMU_READ);
	mmu_load_bytes(c, in->seg, addr, buf, size + REGS_SIZE);
	env_take(c, in, buf);
	for (unsigned i = 0; i < 8; i++)
		memcpy(c->x.st[i], buf + size + 10 * i, 10);
}

/* #NM by TS only together with MP (SDM vol. 3, 2.5). */
static void fwait(struct cpu *c, const struct insn *in)
{
	if ((c->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		cpu_raise(c, EXC_NM);
	check_pending(c);
}

insn_fn *bind_fpenv(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_FNSTENV: return fnstenv;
	case INSN_ID_FLDENV: return fldenv;
	case INSN_ID_FNSAVE: return fnsave;
	case INSN_ID_FRSTOR: return frstor;
	case INSN_ID_FWAIT: return fwait;
	default: return NULL;
	}
}
