// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where operands point: offsets that are interesting in their segment, and registers and displacements set so
 * that a memory operand has such an offset.
 *
 * In flat segments: mostly into the data pages, aligned or not, across their border, into the
 * read-only page, across the ends, nowhere. In segments of the LDT: into what they share with the
 * data pages, and at and over their limits.
 */
#include "gen.h"

#include <string.h>

static uint64_t flat_target(unsigned size, enum insn_mode mode, unsigned addrsize)
{
	uint64_t base = DT_DATA, end = DT_DATA + 2 * DT_PAGE;

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

/* Any linear address that a segment of the LDT may share with what is mapped. */
static uint64_t mapped(unsigned size)
{
	uint64_t a;

	switch (below(8)) {
	case 0: return DT_TOP + below(DT_PAGE);
	case 1:
	case 2: a = DT_LOW + below(DT_LOW_PAGES * DT_PAGE); break;
	case 3: return DT_DATA + DT_PAGE - 1 - below(size);
	case 4: return DT_RO + below(DT_PAGE);
	default: a = DT_DATA + below(2 * DT_PAGE - 16);
	}
	return size & (size - 1) ? a : a & ~(uint64_t)(size - 1);
}

static uint64_t segment_target(const struct vcpu_segment *s, unsigned size, unsigned addrsize)
{
	uint64_t top = addrsize == 2 ? 0xffff : 0xffffffff, at;
	bool down = (s->attr & 0xc) == 4;

	switch (below(16)) {
	case 0:
	case 1: return (down ? s->limit + 2ull - below(size + 2) : s->limit + 2ull - below(size + 2)) & top;
	case 2: return (s->attr & ATTR_DB ? 0xffffffff : 0xffff) - (one_in(2) ? below(size) : below(64));
	case 3: return one_in(2) ? below(16) : (rnd() & top);
	default:
		for (unsigned i = 0; i < 12; i++) {
			at = (uint32_t)(mapped(size) - s->base);
			if (at <= top && segment_inside(s, at, size))
				return at;
		}
		return (uint32_t)(mapped(size) - s->base) & top;
	}
}

uint64_t target(const struct dt_case *c, unsigned seg, unsigned size, unsigned addrsize)
{
	const struct vcpu_segment *s = &c->seg[seg];

	if (!size)
		size = 1;
	if (c->mode == INSN_MODE64 || segment_flat(s) || (s->attr & ATTR_NULL) || s->selector == DT_DATA_SEL)
		return cut(flat_target(size, c->mode, addrsize) - s->base, addrsize);
	return cut(segment_target(s, size, addrsize), addrsize);
}

uint64_t linear_of(const struct dt_case *c, unsigned seg, uint64_t offset)
{
	uint64_t base = c->mode != INSN_MODE64 || seg == SEG_FS || seg == SEG_GS ? c->seg[seg].base : 0;

	return c->mode == INSN_MODE64 ? base + offset : (uint32_t)(base + offset);
}

unsigned stack_width(const struct dt_case *c)
{
	return c->mode == INSN_MODE64 ? 8 : c->seg[SEG_SS].attr & ATTR_DB ? 4 : 2;
}

uint64_t stack_linear(const struct dt_case *c)
{
	return linear_of(c, SEG_SS, cut(c->in.gpr[RSP], stack_width(c)));
}

/* --- memory as a case finds it --- */

bool peek(const struct dt_case *c, uint64_t la, void *buf, unsigned size)
{
	for (unsigned i = 0; i < size; i++) {
		const uint8_t *p = gen_memory(c, la + i);

		if (!p)
			return false;
		((uint8_t *)buf)[i] = *p;
	}
	return true;
}

void poke(struct dt_case *c, uint64_t la, const void *bytes, unsigned size)
{
	uint32_t at;

	c->poke_len = 0;
	if (size > sizeof(c->poke) || !dt_writable(la, &at) || !dt_writable(la + size - 1, &at))
		return;
	c->poke_la = la;
	c->poke_len = (uint8_t)size;
	memcpy(c->poke, bytes, size);
}

/* --- making operands point there --- */

/* Sets general register @n, as wide as the mode has it. */
void set_gpr(struct dt_case *c, unsigned n, uint64_t v)
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

void aim(struct dt_case *c, struct insn *in, uint64_t offset)
{
	uint64_t want = cut(offset, in->addrsize), have;

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

void aim_linear(struct dt_case *c, struct insn *in, uint64_t la)
{
	aim(c, in, la - linear_of(c, in->seg, 0));
}

void find_ea(struct dt_case *c, const struct insn *in)
{
	uint64_t ea;

	if (in->flags & INSN_MOFFS)
		ea = in->imm;
	else
		ea = cut(reg_value(c, in, in->base) + (reg_value(c, in, in->index) << in->scale) +
				 (uint64_t)(int64_t)in->disp,
			 in->addrsize);
	c->ea_offset = ea;
	c->ea = linear_of(c, in->seg, ea);
	c->has_ea = true;
}

unsigned memory_size(const struct insn *in)
{
	for (unsigned i = 0; i < 4; i++) {
		unsigned k = opcode_table[in->row].opnd[i].kind;

		if (k == OPND_E || k == OPND_M || k == OPND_W || k == OPND_Q || k == OPND_KM || k == OPND_VM || k == OPND_X || k == OPND_Y)
			return insn_operand_size(in, i);
	}
	return 1;
}

/* --- selectors --- */

enum selector_place selector_place(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_MOV_SEG: /* to a segment register, not from one */
		if (opcode_table[in->row].opnd[0].kind != OPND_S)
			return SELECTOR_NONE;
		__attribute__((fallthrough));
	case INSN_ID_LAR:
	case INSN_ID_LSL:
	case INSN_ID_VERR:
	case INSN_ID_VERW:
	case INSN_ID_ARPL: return in->flags & INSN_MEM ? SELECTOR_MEMORY : SELECTOR_REGISTER;
	case INSN_ID_LES:
	case INSN_ID_LDS:
	case INSN_ID_LSS:
	case INSN_ID_LFS:
	case INSN_ID_LGS:
	case INSN_ID_JMP_FAR_IND:
	case INSN_ID_CALL_FAR_IND: return SELECTOR_POINTER;
	case INSN_ID_JMP_FAR:
	case INSN_ID_CALL_FAR: return SELECTOR_INSN;
	case INSN_ID_POP_SEG: return SELECTOR_STACK;
	case INSN_ID_RET_FAR:
	case INSN_ID_IRET: return SELECTOR_FRAME;
	default: return SELECTOR_NONE;
	}
}

uint16_t selector_operand(const struct dt_case *c, const struct insn *in)
{
	uint64_t at = c->ea;

	switch (selector_place(in)) {
	case SELECTOR_NONE: return 0;
	case SELECTOR_REGISTER: return (uint16_t)c->in.gpr[in->rm];
	case SELECTOR_INSN: return (uint16_t)in->disp;
	case SELECTOR_MEMORY: break;
	case SELECTOR_POINTER: at = linear_of(c, in->seg, cut(c->ea_offset + in->opsize, in->addrsize)); break;
	case SELECTOR_STACK: at = stack_linear(c); break;
	case SELECTOR_FRAME: at = linear_of(c, SEG_SS, cut(c->in.gpr[RSP] + in->opsize, stack_width(c))); break;
	}
	return (uint16_t)(gen_byte(c, at) | gen_byte(c, at + 1) << 8);
}
