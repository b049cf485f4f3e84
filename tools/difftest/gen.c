// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Makes cases. Everything follows from (seed, index): a case can be made again alone.
 *
 * A row of the opcode table and a mode give an encoding with random prefixes, registers and
 * immediates, sometimes an illegal one. The instruction is then decoded, and registers are chosen so
 * that its operands point where it is interesting: mostly into the data pages, aligned or not, across
 * their border, into the read-only page, across the ends, nowhere.
 */
#include "gen.h"

#include <string.h>

static struct dt_options opt;
/* (row, mode) pairs to choose from */
static struct {
	uint16_t row;
	uint8_t mode;
} choice[4096];
static unsigned choices;

/* What user code may execute, if only to be refused. */
static bool runs_natively(const struct opcode *op)
{
	return op->attr & (OP_USER | OP_CPL0);
}

/* --- where operands point --- */

static uint64_t target(unsigned size, enum insn_mode mode, unsigned addrsize)
{
	uint64_t base = DT_DATA, end = DT_DATA + 2 * DT_PAGE;

	if (!size)
		size = 1;
	if (addrsize == 2) {
		base = DT_LOW;
		end = DT_LOW + DT_LOW_PAGES * DT_PAGE;
	}
	switch (below(32)) {
	default: {
		uint64_t a = base + below((unsigned)(end - base) - 512);

		return size & (size - 1) ? a : (a & ~(uint64_t)(size - 1)); /* aligned */
	}
	case 0:
	case 1:
	case 2:
	case 3: return base + below((unsigned)(end - base) - 512);
	case 4:
	case 5: return base + DT_PAGE - 1 - below(size); /* near or across the pages' border */
	case 6: return end - 1 - below(size);	    /* at or across the end of what is writable */
	case 7: return addrsize == 2 ? end : DT_RO + (below(DT_PAGE - 64) & ~63u);
	case 8: return addrsize == 2 ? end - below(size) : DT_RO + DT_PAGE - 1 - below(size);
	case 9: return base - below(size + 1);
	case 10:
		switch (below(5)) {
		case 0: return 0;
		case 1: return mode == INSN_MODE64 ? 0x8000000000000000ull >> below(17) : 0xfffffffeull;
		case 2: return mode == INSN_MODE64 ? 0x00007ffffffffff8ull + below(16) : 0x40000000ull;
		case 3: return mode == INSN_MODE64 ? 0xffff800000000000ull - below(16) + 8 : rnd() & 0xffffffff;
		default: return DT_CODE + below(DT_PAGE);
		}
	}
}

/* --- encoding --- */

struct enc {
	uint8_t b[32];
	unsigned n;
};

static void byte(struct enc *e, unsigned b)
{
	e->b[e->n++] = (uint8_t)b;
}

static unsigned choose_modrm(const struct opcode *op)
{
	unsigned mod = below(4), reg = below(8), rm = below(8);

	if (op->ext >= 0)
		reg = (unsigned)op->ext;
	if (op->mod == 1 && mod == 3)
		mod = below(3);
	if (op->mod >= 2)
		mod = 3;
	if (op->mod == 3)
		rm = (unsigned)op->rm;
	for (unsigned i = 0; i < 4; i++)
		if (op->opnd[i].kind == OPND_VM && mod != 3)
			rm = 4;
	return mod << 6 | reg << 3 | rm;
}

static void legacy_prefixes(struct enc *e, const struct opcode *op, enum insn_mode mode)
{
	static const uint8_t segs[] = { 0x64, 0x65, 0x64, 0x65, 0x2e, 0x36, 0x3e, 0x26 };
	bool free_pp = op->pp == PP_ANY && !(op->attr & OP_REPSTR);
	bool near64 = mode == INSN_MODE64 && (op->attr & OP_FORCE64);

	if (one_in(8))
		byte(e, segs[below(8)]);
	if (one_in(10))
		byte(e, 0x67);
	if ((op->attr & OP_VEX))
		return;
	/* 66 on near branches in 64-bit mode is where AMD and Intel differ */
	if (op->pp == PP_66 || ((op->pp == PP_ANY || op->pp == PP_NF) && !near64 && one_in(4)) ||
	    ((op->pp == PP_F3 || op->pp == PP_F2) && one_in(8)))
		byte(e, 0x66);
	if (op->pp == PP_F3 || op->pp == PP_F2)
		byte(e, op->pp == PP_F3 ? 0xf3 : 0xf2);
	if ((op->attr & OP_REPSTR) && !one_in(3))
		byte(e, one_in(2) ? 0xf3 : 0xf2);
	if (free_pp && one_in(24))
		byte(e, one_in(2) ? 0xf3 : 0xf2);
	/* LOCK MOV CR0 is another way to CR8 on AMD, and #UD on Intel */
	if ((op->attr & OP_LOCK) ? one_in(3) : op->id != INSN_ID_MOV_CR && one_in(64))
		byte(e, 0xf0);
	if (one_in(32))
		byte(e, segs[below(8)]);
}

static void vex_prefix(struct enc *e, const struct opcode *op, enum insn_mode mode, unsigned *vvvv)
{
	unsigned w = op->attr & OP_W0 ? 0 : op->attr & OP_W1 ? 1 : below(2);
	unsigned l = op->attr & OP_L0 ? 0 : op->attr & OP_L1 ? 1 : below(2);
	unsigned rxb = mode == INSN_MODE64 ? below(8) : 0;
	unsigned pp = op->pp == PP_66 ? 1 : op->pp == PP_F3 ? 2 : op->pp == PP_F2 ? 3 : 0;

	*vvvv = op->attr & OP_NOVVVV ? 0 : below(mode == INSN_MODE64 ? 16 : 8);
	if (one_in(100)) /* an illegal field now and then */
		l ^= 1;
	if (one_in(100))
		*vvvv = below(8);
	if (op->map == MAP_0F && !w && !(rxb & 3) && one_in(2)) {
		byte(e, 0xc5);
		byte(e, (rxb & 4 ? 0 : 0x80) | (~*vvvv & 15) << 3 | l << 2 | pp);
		return;
	}
	byte(e, 0xc4);
	byte(e, (~rxb & 7) << 5 | op->map);
	byte(e, w << 7 | (~*vvvv & 15) << 3 | l << 2 | pp);
}

static void opcode_and_rex(struct enc *e, const struct opcode *op, enum insn_mode mode)
{
	unsigned b = op->opcode;

	if (op->attr & OP_PLUSR)
		b |= below(8);
	if (op->attr & OP_VEX) {
		unsigned vvvv;

		vex_prefix(e, op, mode, &vvvv);
	} else {
		if (mode == INSN_MODE64 && (op->attr & OP_W1))
			byte(e, 0x48 | below(8));
		else if (mode == INSN_MODE64 && one_in(2))
			byte(e, 0x40 | (op->attr & OP_W0 ? below(8) : below(16)));
		if (op->map != MAP_ONE)
			byte(e, 0x0f);
		if (op->map > MAP_0F)
			byte(e, op->map == MAP_0F38 ? 0x38 : 0x3a);
	}
	byte(e, b);
}

/* Displacements and immediates: the decoder says later how many of these bytes count. */
static void tail(struct enc *e, const struct opcode *op)
{
	if (op->attr & OP_MODRM) {
		unsigned modrm = choose_modrm(op);

		byte(e, modrm);
		if ((modrm >> 6) != 3 && (modrm & 7) == 4 && one_in(8))
			byte(e, 0x20 | (unsigned)(rnd() & 0xdf)); /* no index */
	}
	while (e->n < sizeof(e->b)) {
		uint64_t v = interesting();

		for (unsigned i = 0; i < 4 && e->n < sizeof(e->b); i++)
			byte(e, (unsigned)(v >> 8 * i) & 0xff);
	}
}

/* --- fitting registers to the instruction --- */

/* Sets general register @n, as wide as the mode has it. */
static void set_gpr(struct dt_case *c, unsigned n, uint64_t v)
{
	if (n < 16)
		c->in.gpr[n] = c->mode == INSN_MODE64 ? v : (uint32_t)v;
}

static uint64_t reg_value(const struct dt_case *c, const struct insn *in, unsigned n)
{
	if (n == GPR_ZERO)
		return 0;
	if (n == GPR_RIP)
		return c->in.rip + in->len;
	return c->in.gpr[n];
}

static uint64_t cut(uint64_t v, unsigned size)
{
	return size == 8 ? v : v & ((1ull << 8 * size) - 1);
}

static uint64_t seg_base(const struct dt_case *c, const struct insn *in)
{
	return in->seg == SEG_FS ? c->in.fs_base : in->seg == SEG_GS ? c->in.gs_base : 0;
}

/* Rewrites the displacement of a memory operand without registers. */
static void patch_disp(struct dt_case *c, struct insn *in, uint64_t disp)
{
	unsigned size = in->flags & INSN_MOFFS ? in->addrsize : in->addrsize == 2 ? 2 : 4;
	unsigned imm = 0;
	uint8_t again[INSN_BYTES_MAX + 1];
	struct insn probe;

	/* The displacement stands before the immediate, whose length shows by what changes. */
	memcpy(again, c->bytes, sizeof(again));
	for (imm = 0; imm <= 8; imm++) {
		if (in->len < size + imm)
			return;
		memcpy(again, c->bytes, sizeof(again));
		memcpy(again + in->len - imm - size, &disp, size);
		if (insn_decode(again, sizeof(again), c->mode, &probe) == in->len && probe.row == in->row &&
		    probe.base == in->base && probe.index == in->index &&
		    (in->flags & INSN_MOFFS ? probe.imm == cut(disp, size)
					    : probe.disp == (size == 2 ? (int16_t)disp : (int32_t)disp) &&
						      (imm == 0 || probe.imm == in->imm))) {
			memcpy(c->bytes, again, sizeof(again));
			*in = probe;
			return;
		}
	}
}

/* Makes the memory operand of @in point to @la. */
static void aim(struct dt_case *c, struct insn *in, uint64_t la)
{
	uint64_t want = cut(la - seg_base(c, in), in->addrsize), have;

	if (in->flags & INSN_MOFFS) {
		patch_disp(c, in, want);
	} else if (in->base == GPR_ZERO && in->index == GPR_ZERO) {
		patch_disp(c, in, want);
	} else if (in->base == GPR_RIP) {
		patch_disp(c, in, want - (c->in.rip + in->len));
	} else if (in->base != GPR_ZERO) {
		if (in->index == in->base) { /* base * (1 + scale): halve what can be halved */
			set_gpr(c, in->base, (want - (uint64_t)(int64_t)in->disp) >> in->scale >> 1);
			return;
		}
		have = (uint64_t)(int64_t)in->disp + (reg_value(c, in, in->index) << in->scale);
		set_gpr(c, in->base, one_in(2) && in->addrsize < 8
					     ? cut(want - have, in->addrsize) | (rnd() << 8 * in->addrsize)
					     : want - have);
	} else {
		set_gpr(c, in->index, (want - (uint64_t)(int64_t)in->disp) >> in->scale);
	}
}

static void find_ea(struct dt_case *c, const struct insn *in)
{
	uint64_t ea;

	if (in->flags & INSN_MOFFS)
		ea = in->imm;
	else
		ea = cut(reg_value(c, in, in->base) + (reg_value(c, in, in->index) << in->scale) +
				 (uint64_t)(int64_t)in->disp,
			 in->addrsize);
	c->ea = ea + seg_base(c, in);
	if (c->mode != INSN_MODE64)
		c->ea = (uint32_t)c->ea;
	c->has_ea = true;
}

static unsigned memory_size(const struct insn *in)
{
	for (unsigned i = 0; i < 4; i++) {
		unsigned k = opcode_table[in->row].opnd[i].kind;

		if (k == OPND_E || k == OPND_M || k == OPND_W || k == OPND_Q || k == OPND_VM || k == OPND_X || k == OPND_Y)
			return insn_operand_size(in, i);
	}
	return 1;
}

/* Bit strings: the bit offset moves the address; keep it near, mostly. */
static void fit_bit_offset(struct dt_case *c, const struct insn *in)
{
	if (opcode_table[in->row].opnd[1].kind != OPND_G || in->reg == in->base || in->reg == in->index)
		return;
	if (!one_in(6))
		set_gpr(c, in->reg, (uint64_t)((int64_t)below(8192) - 4096));
}

static void fit_gather(struct dt_case *c, const struct insn *in)
{
	bool q = in->id == INSN_ID_VPGATHERQD || in->id == INSN_ID_VPGATHERQQ || in->id == INSN_ID_VGATHERQPS ||
		 in->id == INSN_ID_VGATHERQPD;

	for (unsigned half = 0; half < 2; half++) {
		uint8_t *x = half ? c->in.ymm_hi[in->index] : c->in.xmm[in->index];
		uint8_t *m = half ? c->in.ymm_hi[in->vvvv] : c->in.xmm[in->vvvv];

		for (unsigned i = 0; i < 16; i += q ? 8 : 4) {
			int64_t v = one_in(20) ? (int64_t)interesting() : (int64_t)below(2000) - 1000;

			memcpy(x + i, &v, q ? 8 : 4);
		}
		for (unsigned i = 0; i < 16; i++)
			if (one_in(2))
				m[i] ^= 0x80;
	}
	if (in->base < 16)
		set_gpr(c, in->base, (one_in(12) ? DT_DATA : DT_DATA + DT_PAGE) - (uint64_t)(int64_t)in->disp -
					     seg_base(c, in) + below(64));
}

static void fit_divide(struct dt_case *c, const struct insn *in)
{
	uint64_t v = interesting();

	if (one_in(4))
		return;
	if (in->opsize == 1) {
		c->in.gpr[RAX] = (c->in.gpr[RAX] & ~0xffffull) | below(4096);
	} else if (in->id == INSN_ID_IDIV) {
		set_gpr(c, RAX, v);
		set_gpr(c, RDX, (int64_t)(v << (64 - 8 * in->opsize)) < 0 ? ~0ull : 0);
	} else {
		set_gpr(c, RDX, below(4));
	}
}

static void fit_compare(struct dt_case *c, const struct insn *in)
{
	uint64_t m[2] = { 0 };

	if (one_in(2))
		return;
	if (in->flags & INSN_MEM) {
		if (!c->has_ea || !peek(c->ea, m, in->id == INSN_ID_CMPXCHG16B ? 16 : in->id == INSN_ID_CMPXCHG8B ? 8 : in->opsize))
			return;
	} else {
		m[0] = in->rm_off & 1 ? c->in.gpr[in->rm_off / 8] >> 8 : c->in.gpr[in->rm];
	}
	if (in->base == RAX || in->index == RAX || in->base == RDX || in->index == RDX)
		return;
	set_gpr(c, RAX, in->id == INSN_ID_CMPXCHG8B ? (uint32_t)m[0] : m[0]);
	if (in->id == INSN_ID_CMPXCHG8B)
		set_gpr(c, RDX, m[0] >> 32);
	if (in->id == INSN_ID_CMPXCHG16B)
		set_gpr(c, RDX, m[1]);
}

static void fit_string(struct dt_case *c, const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];
	unsigned size = in->opsize, addr = in->addrsize;
	uint64_t n;

	if (op->implicit & IMPL_RSI)
		set_gpr(c, RSI, cut(target(size, c->mode, addr) - seg_base(c, in), addr) | (addr == 4 && one_in(2) ? rnd() << 32 : 0));
	if (op->implicit & IMPL_RDI)
		set_gpr(c, RDI, cut(target(size, c->mode, addr), addr));
	if (one_in(3) && (op->implicit & IMPL_RSI) && (op->implicit & IMPL_RDI)) /* overlapping */
		set_gpr(c, RDI, c->in.gpr[RSI] + below(64) - 32);
	n = one_in(6) ? interesting() : one_in(4) ? below(700) : below(20);
	if (addr == 2 && one_in(2))
		n |= rnd() << 16;
	set_gpr(c, RCX, n);
	if (in->id == INSN_ID_SCAS && one_in(2)) {
		uint64_t v = 0;

		if (peek(c->in.gpr[RDI] + below(4) * size, &v, size))
			set_gpr(c, RAX, v);
	}
}

/* POPF must not load TF or NT: the first would trap into the next case, the second is not the handler's to keep. */
static void fit_popf(struct dt_case *c, const struct insn *in)
{
	for (unsigned i = 0; i < 64; i++) {
		uint64_t v = 0;

		if (!peek(c->in.gpr[RSP], &v, 2) || !(v & (RF_TF | RF_NT)))
			return;
		set_gpr(c, RSP, DT_DATA + (below(2 * DT_PAGE - 16) & ~(unsigned)(in->opsize - 1)));
	}
	set_gpr(c, RSP, 0);
}

static void fit_branch(struct dt_case *c, struct insn *in)
{
	uint64_t to = DT_LANDING + below(256);

	if (in->id == INSN_ID_JMP_IND || in->id == INSN_ID_CALL_IND) {
		if (!(in->flags & INSN_MEM) && !one_in(8))
			set_gpr(c, in->rm, to);
		else if ((in->flags & INSN_MEM) && one_in(2))
			aim(c, in, line_of(LINE_CODE));
		return;
	}
	if (opcode_table[in->row].opnd[0].kind != OPND_J)
		return;
	/* relative: rel32 to somewhere in the code pages; rel8 as it is, but not into the instruction itself */
	if (opcode_table[in->row].opnd[0].size != 1 && in->opsize != 2 && !one_in(6)) {
		uint32_t rel = (uint32_t)(to - (c->in.rip + in->len));

		memcpy(c->bytes + in->len - 4, &rel, 4);
	}
	for (unsigned i = 0; i < 8; i++) {
		insn_decode(c->bytes, INSN_BYTES_MAX + 1, c->mode, in);
		to = c->in.rip + in->len + in->imm;
		if (in->opsize == 2)
			to &= 0xffff;
		if (in->opsize == 4)
			to &= 0xffffffff;
		if (to - c->in.rip >= in->len)
			break;
		c->bytes[in->len - 1] = (uint8_t)below(0x60); /* forwards */
	}
	if (in->id == INSN_ID_JCXZ || in->id == INSN_ID_LOOP || in->id == INSN_ID_LOOPE || in->id == INSN_ID_LOOPNE)
		set_gpr(c, RCX, one_in(2) ? below(3) : interesting());
}

static void fit_stack(struct dt_case *c, const struct insn *in)
{
	unsigned size = in->opsize >= 2 ? in->opsize : 8;

	if (in->base == RSP && (in->flags & INSN_MEM) && one_in(2))
		return;
	set_gpr(c, RSP, target(size, c->mode, c->mode == INSN_MODE64 ? 8 : 4));
	if (in->id == INSN_ID_ENTER || in->id == INSN_ID_LEAVE)
		set_gpr(c, RBP, target(size, c->mode, c->mode == INSN_MODE64 ? 8 : 4));
	if (in->id == INSN_ID_RET && !one_in(4)) /* to a line of code addresses */
		for (unsigned i = 0; i < 200; i++) {
			uint64_t v = 0, sp = DT_DATA + (below(2 * DT_PAGE - 16) & ~15u);

			if (peek(sp, &v, 8) && v >= DT_LANDING && v < DT_LANDING + 256) {
				set_gpr(c, RSP, sp);
				break;
			}
		}
}

/* log2 of the operand size in words: the LINE_* for it */
static unsigned far_size(const struct insn *in)
{
	return in->opsize == 2 ? 0 : in->opsize == 4 ? 1 : 2;
}

/* FXSAVE, XSAVE and their kin: a mask of what model and host both have, mostly aligned, mostly an image. */
static void fit_image(struct dt_case *c, struct insn *in)
{
	bool restores = opcode_table[in->row].opnd[0].access == ACCESS_R;

	if (!(opcode_table[in->row].opnd[0].size == SIZE_512)) {
		set_gpr(c, RAX, below(8));
		set_gpr(c, RDX, 0);
	}
	switch (below(8)) {
	case 0: aim(c, in, target(64, c->mode, in->addrsize)); break;
	case 1: aim(c, in, DT_DATA + (below(2 * DT_PAGE) & ~15u)); break;
	case 2:
	case 3: aim(c, in, DT_DATA + (below(2 * DT_PAGE) & ~63u)); break;
	case 4: aim(c, in, DT_DATA + (restores ? IMAGE_COMPACT : IMAGE)); break;
	default: aim(c, in, DT_DATA + IMAGE); break;
	}
	/* The base may have been the mask's register: then the mask is whatever that gives, cut to the common part. */
	set_gpr(c, RDX, in->base == RDX || in->index == RDX ? c->in.gpr[RDX] : 0);
}

/* Selectors in registers and memory, far pointers, frames of far returns. */
static void fit_far(struct dt_case *c, struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	switch (in->id) {
	case INSN_ID_MOV_SEG:
	case INSN_ID_LAR:
	case INSN_ID_LSL:
	case INSN_ID_VERR:
	case INSN_ID_VERW:
		if (!(in->flags & INSN_MEM))
			set_gpr(c, in->rm, selector() | (one_in(2) ? rnd() << 16 : 0));
		else if (op->opnd[0].kind != OPND_M && one_in(2))
			aim(c, in, line_of(LINE_FAR32) + 4 + 8 * below(8));
		break;
	case INSN_ID_LES:
	case INSN_ID_LDS:
	case INSN_ID_LSS:
	case INSN_ID_LFS:
	case INSN_ID_LGS:
	case INSN_ID_JMP_FAR_IND:
	case INSN_ID_CALL_FAR_IND:
		if (!one_in(4))
			aim(c, in, line_of(LINE_FAR16 + far_size(in)) + (in->opsize == 8 ? 16 * below(4) : 8 * below(7)));
		break;
	case INSN_ID_POP_SEG:
		if (!one_in(4))
			set_gpr(c, RSP, line_of(LINE_FAR32) + 4 + 8 * below(8));
		break;
	case INSN_ID_RET_FAR:
	case INSN_ID_IRET: set_gpr(c, RSP, line_of(LINE_FRAME16 + far_size(in))); break;
	case INSN_ID_JMP_FAR:
	case INSN_ID_CALL_FAR: {
		uint64_t to = DT_LANDING + below(256);
		uint16_t sel = code_selector();
		unsigned size = in->opsize == 2 ? 2 : 4;

		memcpy(c->bytes + in->len - 2 - size, &to, size);
		memcpy(c->bytes + in->len - 2, &sel, 2);
		break;
	}
	default: break;
	}
}

static void fit_registers(struct dt_case *c, struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	if (op->attr & OP_REPSTR)
		fit_string(c, in);
	if (op->implicit & IMPL_RSP)
		fit_stack(c, in);
	if ((in->flags & INSN_MEM) && memory_size(in) && op->opnd[1].kind != OPND_VM) {
		aim(c, in, target(memory_size(in), c->mode, in->addrsize));
		find_ea(c, in);
	}
	fit_far(c, in);
	if (in->id == INSN_ID_FXSAVE || in->id == INSN_ID_FXRSTOR || op->opnd[0].size == SIZE_XSAVE)
		fit_image(c, in);
	switch (in->id) {
	case INSN_ID_BT:
	case INSN_ID_BTS:
	case INSN_ID_BTR:
	case INSN_ID_BTC: fit_bit_offset(c, in); break;
	case INSN_ID_DIV:
	case INSN_ID_IDIV: fit_divide(c, in); break;
	case INSN_ID_CMPXCHG:
	case INSN_ID_CMPXCHG8B:
	case INSN_ID_CMPXCHG16B: fit_compare(c, in); break;
	case INSN_ID_XLAT: set_gpr(c, RBX, cut(target(1, c->mode, in->addrsize) - seg_base(c, in), in->addrsize)); break;
	case INSN_ID_MASKMOVQ:
	case INSN_ID_MASKMOVDQU:
	case INSN_ID_VMASKMOVDQU:
		set_gpr(c, RDI, cut(target(16, c->mode, in->addrsize) - seg_base(c, in), in->addrsize));
		break;
	case INSN_ID_PCMPESTRI:
	case INSN_ID_PCMPESTRM:
	case INSN_ID_VPCMPESTRI:
	case INSN_ID_VPCMPESTRM:
		if (in->base != RAX && in->index != RAX)
			set_gpr(c, RAX, (uint64_t)((int64_t)below(48) - 24));
		if (in->base != RDX && in->index != RDX)
			set_gpr(c, RDX, (uint64_t)((int64_t)below(48) - 24));
		break;
	case INSN_ID_POPF: fit_popf(c, in); break;
	case INSN_ID_WRFSBASE:
	case INSN_ID_WRGSBASE: break;
	default:
		if (op->opnd[1].kind == OPND_VM)
			fit_gather(c, in);
		else if (op->attr & OP_ENDS)
			fit_branch(c, in);
		else if (op->implicit & IMPL_RCX_R) /* shift counts */
			c->in.gpr[RCX] = (c->in.gpr[RCX] & ~0xffull) | below(one_in(4) ? 256 : 70);
	}
	if ((in->flags & INSN_MEM) && op->opnd[1].kind != OPND_VM)
		find_ea(c, in);
}

/* --- a case --- */

static void random_state(struct dt_case *c)
{
	struct dt_state *s = &c->in;
	static const uint64_t bases[] = { 0, 0, DT_DATA, 0x1000, 0xfffffffffffff000ull, 0x100000 };
	uint16_t pending;

	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = c->mode == INSN_MODE64 ? interesting() : i < 8 ? (uint32_t)interesting() : 0;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->sel[i] = DT_DATA_SEL;
	s->sel[SEG_CS] = c->mode == INSN_MODE64 ? DT_CODE64_SEL : DT_CODE32_SEL;
	s->rflags = RF_FIXED | RF_IF | (rnd() & FL_ALL) | (one_in(6) ? RF_DF : 0) | (one_in(24) ? RF_AC : 0);
	s->fs_base = bases[below(6)];
	s->gs_base = bases[below(6)];
	if (c->mode != INSN_MODE64) {
		s->fs_base = (uint32_t)s->fs_base;
		s->gs_base = (uint32_t)s->gs_base;
	}
	s->mxcsr = (uint32_t)(0x1f80 | (below(4) << 13) | (one_in(4) ? 0x8000 : 0) | (one_in(4) ? 0x40 : 0) |
			      (one_in(2) ? below(64) : 0));
	if (one_in(5))
		s->mxcsr = (s->mxcsr & ~0x1f80u) | below(64) << 7;
	s->fcw = (uint16_t)(0x7f | below(4) << 10 | (one_in(2) ? 3 : below(4)) << 8 | (one_in(16) ? 0x1000 : 0));
	if (one_in(5))
		s->fcw = (uint16_t)((s->fcw & ~0x3f) | below(64));
	s->fsw = (uint16_t)(below(8) << 11 | (rnd() & 0x4700));
	pending = one_in(3) ? (uint16_t)below(64) | (one_in(4) ? 0x40 : 0) : 0;
	if ((pending & ~s->fcw & 0x3f) && !one_in(4)) /* a pending exception ends nearly every instruction: not too often */
		pending &= s->fcw & 0x7f;
	s->fsw |= pending;
	if (pending & ~s->fcw & 0x3f)
		s->fsw |= 0x8080;
	s->ftw = one_in(3) ? 0xff : one_in(3) ? 0 : (uint8_t)rnd();
	for (unsigned i = 0; i < 8; i++) {
		memset(s->st[i], 0, 16);
		random_extended(s->st[i]);
	}
	for (unsigned i = 0; i < 16; i++) {
		random_vector(s->xmm[i]);
		random_vector(s->ymm_hi[i]);
	}
	if (c->mode != INSN_MODE64) {
		memset(s->xmm[8], 0, sizeof(s->xmm) / 2);
		memset(s->ymm_hi[8], 0, sizeof(s->ymm_hi) / 2);
	}
}

static void choose_place(struct dt_case *c)
{
	uint64_t end = DT_CODE + DT_CODE_PAGES * DT_PAGE, rip;

	switch (below(32)) {
	case 0: rip = DT_CODE + DT_PAGE - 1 - below(15); break; /* across the pages */
	case 1: rip = end - 1 - below(18); break;	 /* at the very end */
	default:
		do {
			rip = DT_CODE + 256 + below(DT_CODE_PAGES * DT_PAGE - 512);
		} while (rip + 32 > DT_LANDING && rip < DT_LANDING + 256 + 32);
	}
	c->in.rip = rip;
	c->avail = end - rip < INSN_BYTES_MAX + 1 ? (uint8_t)(end - rip) : INSN_BYTES_MAX + 1;
}

static bool try_case(struct dt_case *c, unsigned pair)
{
	const struct opcode *op = &opcode_table[choice[pair].row];
	struct enc e = { .n = 0 };
	struct insn in;
	int r;

	c->row = choice[pair].row;
	c->mode = choice[pair].mode;
	c->has_ea = false;
	random_state(c);
	choose_place(c);
	legacy_prefixes(&e, op, c->mode);
	opcode_and_rex(&e, op, c->mode);
	tail(&e, op);
	memcpy(c->bytes, e.b, INSN_BYTES_MAX + 1);
	r = insn_decode(c->bytes, INSN_BYTES_MAX + 1, c->mode, &in);
	if (r == DECODE_LONG || r == DECODE_MORE)
		return false;
	if (r > 0) {
		if (!runs_natively(&opcode_table[in.row]))
			return false;
		fit_registers(c, &in);
		r = insn_decode(c->bytes, INSN_BYTES_MAX + 1, c->mode, &in);
		if (r <= 0 || !runs_natively(&opcode_table[in.row]) || compare_excluded(c, &in))
			return false;
		c->row = in.row;
	} else if (!one_in(10) || ((op->attr & OP_VEX) && (op->feature == FEAT_AES || op->feature == FEAT_PCLMUL))) {
		return false; /* illegal forms: fewer of them; none that VAES, VPCLMULQDQ make legal on a newer host */
	} else if (c->avail < INSN_BYTES_MAX) {
		return false; /* how many bytes of an illegal instruction are fetched is up to the processor */
	}
	c->decoded = (int8_t)r;
	c->len = r > 0 ? (uint8_t)r : INSN_BYTES_MAX;
	c->count = 1;
	memset(c->bytes + c->len, 0xcc, sizeof(c->bytes) - c->len);
	return true;
}

/* --- blocks: straight lines whose memory operands do not depend on registers --- */

/* What cannot stand in a block: control flow, the stack, memory by registers, pointers that compare.c would mask. */
static bool fits_block(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	if (op->attr & (OP_ENDS | OP_REPSTR | OP_MASKED | OP_CPL0) || op->opnd[0].size == SIZE_XSAVE || op->implicit & (IMPL_RSP | IMPL_RSI | IMPL_RDI))
		return false;
	switch (in->id) {
	case INSN_ID_XLAT:
	case INSN_ID_BOUND:
	case INSN_ID_MOV_SEG:
	case INSN_ID_FNSTENV:
	case INSN_ID_FNSAVE:
	case INSN_ID_FXSAVE:
	case INSN_ID_FXRSTOR:
	case INSN_ID_WRFSBASE:
	case INSN_ID_WRGSBASE: return false;
	case INSN_ID_BT:
	case INSN_ID_BTS:
	case INSN_ID_BTR:
	case INSN_ID_BTC: return !(in->flags & INSN_MEM) || op->opnd[1].kind == OPND_I;
	default: return !(in->flags & INSN_SEG) && in->addrsize >= 4;
	}
}

/* Appends one instruction to @c; false: what came up does not fit. */
static bool append(struct dt_case *c)
{
	unsigned pair = below(choices);
	const struct opcode *op = &opcode_table[choice[pair].row];
	struct dt_case one = *c;
	struct enc e = { .n = 0 };
	struct insn in;
	int r;

	if (choice[pair].mode != c->mode)
		return false;
	legacy_prefixes(&e, op, c->mode);
	opcode_and_rex(&e, op, c->mode);
	if (op->attr & OP_MODRM) { /* register, or absolute or RIP-relative memory */
		unsigned modrm = choose_modrm(op);

		byte(&e, (modrm >> 6) == 3 ? modrm : (modrm & 0x38) | 5);
	}
	while (e.n < sizeof(e.b))
		byte(&e, (unsigned)interesting() & 0xff);
	memcpy(one.bytes, e.b, INSN_BYTES_MAX + 1);
	one.in.rip += c->len;
	r = insn_decode(one.bytes, INSN_BYTES_MAX + 1, c->mode, &in);
	if (r <= 0 || !runs_natively(&opcode_table[in.row]) || !fits_block(&in))
		return false;
	one.has_ea = false;
	if ((in.flags & INSN_MEM) && memory_size(&in)) {
		if (in.index != GPR_ZERO || (in.base != GPR_ZERO && in.base != GPR_RIP))
			return false;
		aim(&one, &in, one_in(16) ? target(memory_size(&in), c->mode, 4)
					  : DT_DATA + (below(2 * DT_PAGE - 64) & ~(one_in(4) ? 0u : 31u)));
		find_ea(&one, &in);
	}
	if (compare_excluded(&one, &in))
		return false;
	memcpy(c->bytes + c->len, one.bytes, (size_t)r);
	c->len += (uint8_t)r;
	c->count++;
	c->row = in.row;
	c->decoded = (int8_t)r;
	return true;
}

static void make_block(struct dt_case *c)
{
	c->mode = choice[below(choices)].mode;
	random_state(c);
	c->in.rip = DT_CODE + 0x1000 + below(DT_PAGE - DT_BYTES - 16);
	c->avail = DT_BYTES - 1;
	while (c->count < opt.block)
		append(c);
	memset(c->bytes + c->len, 0xcc, sizeof(c->bytes) - c->len);
}

void gen_case(uint64_t index, struct dt_case *c)
{
	gen_rng = mix(opt.seed * 0x9e3779b97f4a7c15ull ^ mix(index));
	memset(c, 0, sizeof(*c));
	c->index = index;
	if (opt.block > 1) {
		make_block(c);
		return;
	}
	while (!try_case(c, below(choices)))
		;
}

void gen_init(const struct dt_options *o)
{
	struct insn probe;

	opt = *o;
	insn_decode((const uint8_t *)"\x90", 1, INSN_MODE64, &probe);
	gen_low_pages(o->low_pages);
	fill_memory_before(o->seed);
	choices = 0;
	for (unsigned r = 0; r < opcode_count; r++) {
		const struct opcode *op = &opcode_table[r];

		if (!runs_natively(op) || (opt.row && strcmp(opt.row, op->name)))
			continue;
		if (opt.mode64 && !(op->attr & OP_NO64)) {
			choice[choices].row = (uint16_t)r;
			choice[choices++].mode = INSN_MODE64;
		}
		if (opt.mode32 && !(op->attr & OP_ONLY64) && !(op->attr & OP_W1 && !(op->attr & OP_VEX))) {
			choice[choices].row = (uint16_t)r;
			choice[choices++].mode = INSN_MODE32;
		}
	}
}

unsigned gen_rows(void)
{
	return choices;
}
