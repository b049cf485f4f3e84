// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Registers and memory fitted to a decoded instruction, so that its operands, counts, divisors, branch targets,
 * stacks, selectors and far pointers are mostly such that it completes, and often nearly not.
 */
#include "gen.h"

#include <string.h>

/* Bit strings: the bit offset moves the address; keep it near, mostly. */
static void fit_bit_offset(struct dt_case *c, const struct insn *in)
{
	if (opcode_table[in->row].opnd[1].kind != OPND_G || in->reg == in->base || in->reg == in->index)
		return;
	if (!one_in(6))
		set_gpr(c, in->reg, (uint64_t)((int64_t)below(8192) - 4096));
}

static bool vsib(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	return op->opnd[0].kind == OPND_VM || op->opnd[1].kind == OPND_VM;
}

static void fit_gather(struct dt_case *c, const struct insn *in)
{
	bool q = opcode_table[in->row].opcode & 1;

	for (unsigned lane = 0; lane < (in->flags & INSN_EVEX ? 4 : 2); lane++) {
		uint8_t *x = dt_lane(&c->in, in->index, lane);

		for (unsigned i = 0; i < 16; i += q ? 8 : 4) {
			int64_t v = one_in(20) ? (int64_t)interesting() : (int64_t)below(2000) - 1000;

			memcpy(x + i, &v, q ? 8 : 4);
		}
		for (unsigned i = 0; i < 16 && !(in->flags & INSN_EVEX); i++)
			if (one_in(2))
				dt_lane(&c->in, in->vvvv, lane)[i] ^= 0x80;
	}
	if (in->base < 16)
		set_gpr(c, in->base, (one_in(12) ? DT_DATA : DT_DATA + DT_PAGE) - (uint64_t)(int64_t)in->disp -
					     linear_of(c, in->seg, 0) + below(64));
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
		if (!c->has_ea || !peek(c, c->ea, m, in->id == INSN_ID_CMPXCHG16B ? 16 : in->id == INSN_ID_CMPXCHG8B ? 8 : in->opsize))
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
		set_gpr(c, RSI, target(c, in->seg, size, addr) | (addr < 8 && one_in(2) ? rnd() << 8 * addr : 0));
	if (op->implicit & IMPL_RDI)
		set_gpr(c, RDI, target(c, SEG_ES, size, addr) | (addr == 2 && one_in(2) ? rnd() << 16 : 0));
	if (one_in(3) && (op->implicit & IMPL_RSI) && (op->implicit & IMPL_RDI)) /* overlapping */
		set_gpr(c, RDI, c->in.gpr[RSI] + below(64) - 32);
	n = one_in(6) ? interesting() : one_in(4) ? below(700) : below(20);
	if (addr == 2 && one_in(2))
		n |= rnd() << 16;
	set_gpr(c, RCX, n);
	if (in->id == INSN_ID_SCAS && one_in(2)) {
		uint64_t v = 0;

		if (peek(c, linear_of(c, SEG_ES, cut(c->in.gpr[RDI], addr)) + below(4) * size, &v, size))
			set_gpr(c, RAX, v);
	}
}

/*
 * POPF must not load TF or NT: the first would trap into the next case, the second is not the handler's to keep.
 */
static void fit_popf(struct dt_case *c, const struct insn *in)
{
	uint64_t flags = rnd() & ~(uint64_t)(RF_TF | RF_NT);

	(void)in;
	poke(c, stack_linear(c), &flags, 8);
	if (!c->poke_len && peek(c, stack_linear(c), &flags, 2) && (flags & (RF_TF | RF_NT)))
		set_gpr(c, RSP, 0);
}

/* A branch target as an offset in CS. */
static uint64_t near_target(const struct dt_case *c)
{
	return one_in(12) ? interesting() : c->mode == INSN_MODE64 ? (uint64_t)DT_LANDING + below(256)
								   : landing(c->in.sel[SEG_CS]);
}

/* Relative branches: to somewhere in the code pages, or over the segment's end; never into the instruction itself. */
static void fit_relative(struct dt_case *c, struct insn *in)
{
	bool wide = opcode_table[in->row].opnd[0].size != 1;
	unsigned size = !wide ? 1 : in->opsize == 2 ? 2 : 4;
	uint64_t to = near_target(c), rel;

	if (!one_in(6)) {
		rel = to - (c->in.rip + in->len);
		if (wide || (int64_t)rel == (int8_t)rel)
			memcpy(c->bytes + in->len - size, &rel, size);
	}
	for (unsigned i = 0; i < 8; i++) {
		insn_decode(c->bytes, INSN_BYTES_MAX + 1, c->mode, in);
		to = cut(c->in.rip + in->len + in->imm, in->opsize);
		if (to - c->in.rip >= in->len)
			break;
		rel = below(0x60); /* forwards */
		memcpy(c->bytes + in->len - size, &rel, size);
	}
	if (in->id == INSN_ID_JCXZ || in->id == INSN_ID_LOOP || in->id == INSN_ID_LOOPE || in->id == INSN_ID_LOOPNE)
		set_gpr(c, RCX, (one_in(2) ? below(3) : interesting()) | (in->addrsize == 2 && one_in(2) ? rnd() << 16 : 0));
}

static void fit_branch(struct dt_case *c, struct insn *in)
{
	uint64_t to = near_target(c);

	if (in->id == INSN_ID_JMP_IND || in->id == INSN_ID_CALL_IND) {
		if (!(in->flags & INSN_MEM)) {
			if (!one_in(8))
				set_gpr(c, in->rm, to);
		} else if (c->has_ea && !one_in(8)) {
			poke(c, c->ea, &to, in->opsize);
		}
		return;
	}
	if (opcode_table[in->row].opnd[0].kind == OPND_J)
		fit_relative(c, in);
}

static void fit_stack(struct dt_case *c, const struct insn *in)
{
	unsigned size = in->opsize >= 2 ? in->opsize : 8, width = stack_width(c);
	uint64_t high = width == 2 && one_in(2) ? rnd() << 16 : 0, to;

	if (in->base == RSP && (in->flags & INSN_MEM) && one_in(2))
		return;
	/* what takes several pushes or pops: near the ends of the segment more often */
	if (in->id == INSN_ID_PUSHA || in->id == INSN_ID_POPA || in->id == INSN_ID_ENTER)
		size *= 8;
	set_gpr(c, RSP, target(c, SEG_SS, size, width) | high);
	if (in->id == INSN_ID_ENTER || in->id == INSN_ID_LEAVE)
		set_gpr(c, RBP, target(c, SEG_SS, size, width) | (width == 2 && one_in(2) ? rnd() << 16 : 0));
	if (in->id == INSN_ID_RET && !one_in(8)) {
		to = near_target(c);
		poke(c, stack_linear(c), &to, in->opsize);
	}
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
	case 0: aim(c, in, target(c, in->seg, 64, in->addrsize)); break;
	case 1: aim_linear(c, in, DT_DATA + (below(2 * DT_PAGE) & ~15u)); break;
	case 2:
	case 3: aim_linear(c, in, DT_DATA + (below(2 * DT_PAGE) & ~63u)); break;
	case 4: aim_linear(c, in, DT_DATA + (restores ? IMAGE_COMPACT : IMAGE)); break;
	default: aim_linear(c, in, DT_DATA + IMAGE); break;
	}
	/* The base may have been the mask's register: then the mask is whatever that gives, cut to the common part. */
	set_gpr(c, RDX, in->base == RDX || in->index == RDX ? c->in.gpr[RDX] : 0);
}

/* Writes offset and selector of a far pointer; its length. */
static unsigned far_pointer(uint8_t *p, unsigned size, uint16_t sel, uint64_t offset)
{
	memcpy(p, &offset, size);
	memcpy(p + size, &sel, 2);
	return size + 2;
}

/* What RETF and IRET pop: without TF and NT, which would outlive the case. */
static void fit_frame(struct dt_case *c, const struct insn *in)
{
	unsigned size = in->opsize;
	uint16_t cs = code_selector();
	uint64_t v[5] = { one_in(12) ? interesting() : landing(cs), cs }, flags;
	uint8_t bytes[40] = { 0 };

	flags = (rnd() & (FL_ALL | RF_DF | 0x3200 | RF_ID)) | RF_FIXED | (one_in(8) ? RF_AC : 0);
	v[2] = in->id == INSN_ID_IRET ? flags : interesting();
	v[3] = (uint64_t)DT_DATA + below(2 * DT_PAGE);
	v[4] = one_in(4) ? selector() : stack_selector();
	for (unsigned i = 0; i < 5; i++)
		memcpy(bytes + i * size, &v[i], size);
	if (one_in(4)) /* upper halves of selectors do not count */
		bytes[size + 2] = (uint8_t)(size > 2 ? rnd() : bytes[size + 2]);
	poke(c, stack_linear(c), bytes, in->id == INSN_ID_IRET ? 5 * size : 2 * size);
	if (in->id == INSN_ID_IRET && !c->poke_len)
		set_gpr(c, RSP, 0); /* whatever it finds there may have TF */
}

static uint16_t wanted_selector(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_JMP_FAR:
	case INSN_ID_JMP_FAR_IND:
	case INSN_ID_CALL_FAR:
	case INSN_ID_CALL_FAR_IND: return code_selector();
	case INSN_ID_LAR:
	case INSN_ID_LSL:
	case INSN_ID_VERR:
	case INSN_ID_VERW:
	case INSN_ID_ARPL: return selector();
	case INSN_ID_LSS: return one_in(3) ? selector() : stack_selector();
	default: return one_in(2) ? selector() : one_in(2) ? stack_selector() : data_selector();
	}
}

/* Selectors in registers and memory, far pointers, frames of far returns. */
static void fit_selector(struct dt_case *c, struct insn *in)
{
	uint16_t sel = wanted_selector(in);
	bool branch = opcode_table[in->row].attr & OP_ENDS && in->id != INSN_ID_LSS;
	uint64_t offset = branch && !one_in(12) ? landing(sel) : interesting();
	unsigned size = in->opsize == 8 && !(in->flags & INSN_MEM) ? 4 : in->opsize;
	uint8_t far[10];

	switch (selector_place(in)) {
	case SELECTOR_NONE: return;
	case SELECTOR_REGISTER: set_gpr(c, in->rm, sel | (one_in(2) ? rnd() << 16 : 0)); break;
	case SELECTOR_MEMORY:
		if (c->has_ea && !one_in(3))
			poke(c, c->ea, &sel, 2);
		break;
	case SELECTOR_POINTER:
		if (c->has_ea && !one_in(8))
			poke(c, c->ea, far, far_pointer(far, size, sel, offset));
		break;
	case SELECTOR_INSN: far_pointer(c->bytes + in->len - 2 - size, size, sel, offset); break;
	case SELECTOR_STACK: poke(c, stack_linear(c), &sel, 2); break;
	case SELECTOR_FRAME: fit_frame(c, in); break;
	}
	if (in->id == INSN_ID_ARPL && one_in(2))
		set_gpr(c, in->reg, selector());
}

void fit_registers(struct dt_case *c, struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	if (op->attr & OP_REPSTR)
		fit_string(c, in);
	if (op->implicit & IMPL_RSP)
		fit_stack(c, in);
	if ((in->flags & INSN_MEM) && memory_size(in) && !vsib(in)) {
		aim(c, in, target(c, in->seg, memory_size(in), in->addrsize));
		find_ea(c, in);
	}
	fit_selector(c, in);
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
	case INSN_ID_XLAT: set_gpr(c, RBX, target(c, in->seg, 1, in->addrsize)); break;
	case INSN_ID_MASKMOVQ:
	case INSN_ID_MASKMOVDQU:
	case INSN_ID_VMASKMOVDQU:
		set_gpr(c, RDI, target(c, in->seg, 16, in->addrsize));
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
		if (vsib(in))
			fit_gather(c, in);
		else if (op->attr & OP_ENDS)
			fit_branch(c, in);
		else if (op->implicit & IMPL_RCX_R) /* shift counts */
			c->in.gpr[RCX] = (c->in.gpr[RCX] & ~0xffull) | below(one_in(4) ? 256 : 70);
	}
	if ((in->flags & INSN_MEM) && !vsib(in))
		find_ea(c, in);
}
