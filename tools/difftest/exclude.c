// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which cases are not fair: where manuals leave a choice to the processor, and the table of instructions for which
 * AMD's processors and Intel's differ (the model is an Intel CPU, the host may be either). Each has its reason.
 */
#include "difftest.h"

#include <string.h>

static bool host_is_amd(void)
{
	static int amd = -1;
	uint32_t a = 0, b, c, d;

	if (amd < 0) {
		__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
		amd = b == 0x68747541; /* "Auth" */
	}
	return amd;
}

bool operand_is_image(const struct insn *in)
{
	unsigned size = opcode_table[in->row].opnd[0].size;

	return size == SIZE_512 || size == SIZE_XSAVE;
}

static bool canonical(uint64_t a)
{
	return (uint64_t)((int64_t)a << 16 >> 16) == a;
}

/* Operands that processors access in several parts */
bool operand_in_parts(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_FLD:
	case INSN_ID_FSTP: return (in->flags & INSN_MEM) && in->row && opcode_table[in->row].opcode == 0xdb;
	case INSN_ID_FBLD:
	case INSN_ID_FBSTP:
	case INSN_ID_FLDENV:
	case INSN_ID_FNSTENV:
	case INSN_ID_FRSTOR:
	case INSN_ID_FNSAVE: return true;
	default: return false;
	}
}

static bool spans_canonical_end(const struct dt_case *c, const struct insn *in)
{
	if (in->id == INSN_ID_MASKMOVDQU || in->id == INSN_ID_VMASKMOVDQU || in->id == INSN_ID_MASKMOVQ) {
		uint64_t at = linear_of(c, in->seg, c->in.gpr[RDI]);

		return canonical(at) != canonical(at + 15);
	}
	if (in->aaa && c->has_ea && canonical(c->ea) != canonical(c->ea + 63))
		return true;
	return operand_in_parts(in) && c->has_ea && canonical(c->ea) != canonical(c->ea + 107);
}

static bool segment_offset_not_canonical(const struct dt_case *c, const struct insn *in)
{
	uint64_t base = linear_of(c, in->seg, 0);

	if (c->mode != INSN_MODE64 || !base)
		return false;
	if (opcode_table[in->row].attr & OP_REPSTR) /* wherever it gets */
		return !canonical(c->in.gpr[RSI] + 0x10000) || !canonical(c->in.gpr[RSI] - 0x10000);
	if (opcode_table[in->row].implicit & IMPL_RDI) /* MASKMOV */
		return !canonical(c->in.gpr[RDI]);
	if (in->id == INSN_ID_XLAT)
		return !canonical(c->in.gpr[RBX] + (uint8_t)c->in.gpr[RAX]);
	return c->has_ea && !canonical(c->ea - base);
}

/* The encoded W of a three-byte VEX prefix, outside 64-bit mode: insn.flags has it as the model sees it. */
static bool w_outside_64(const struct dt_case *c, const struct insn *in)
{
	unsigned i = 0;

	(void)in;
	while (c->bytes[i] != 0xc4 && i < 12)
		i++;
	return c->mode != INSN_MODE64 && (c->bytes[i + 2] & 0x80);
}

/*
 * Outside 64-bit mode, an access that runs over the end of a segment of 4 GiB may or may not fault
 * (SDM vol. 3, 5.3).
 */
static bool ends_at_4g(const struct vcpu_segment *s)
{
	bool down = (s->attr & 0xc) == 4;

	return !(s->attr & ATTR_NULL) && (down ? s->attr & ATTR_DB : s->limit == 0xffffffff);
}

static bool near_4g(const struct dt_case *c, unsigned seg, uint64_t offset, uint32_t reach)
{
	return ends_at_4g(&c->seg[seg]) && ((uint32_t)offset > 0xffffffffu - reach || (uint32_t)offset < reach);
}

/* Whether an element of a gather touches the last bytes of the 4 GiB. */
static bool gather_wraps_4g(const struct dt_case *c, const struct insn *in)
{
	bool quad = opcode_table[in->row].opcode & 1;
	uint32_t base = in->base < 16 ? (uint32_t)c->in.gpr[in->base] : 0;

	for (unsigned at = 0; at < 64; at += quad ? 8 : 4) {
		struct dt_state in_state = c->in;
		uint32_t index;

		memcpy(&index, dt_lane(&in_state, in->index, at / 16) + at % 16, 4);
		if (base + (index << in->scale) + (uint32_t)in->disp > 0xffffffffu - 8)
			return true;
	}
	return false;
}

/* The offset of a memory operand; of a bit string's, the element with the bit that a register names. */
static uint64_t element_offset(const struct dt_case *c, const struct insn *in)
{
	int32_t bit = in->opsize == 2 ? (int16_t)c->in.gpr[in->reg & 15] : (int32_t)c->in.gpr[in->reg & 15];
	bool string = in->id == INSN_ID_BT || in->id == INSN_ID_BTS || in->id == INSN_ID_BTR || in->id == INSN_ID_BTC;

	if (!string || opcode_table[in->row].opnd[1].kind != OPND_G)
		return c->ea_offset;
	return cut(c->ea_offset + (uint64_t)((int64_t)bit >> (in->opsize == 2 ? 4 : 5)) * in->opsize, in->addrsize);
}

static bool wraps_4g(const struct dt_case *c, const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];
	const uint64_t *gpr = c->in.gpr;

	if (c->mode == INSN_MODE64)
		return false;
	if (op->opnd[0].kind == OPND_VM || op->opnd[1].kind == OPND_VM)
		return gather_wraps_4g(c, in);
	if (c->has_ea && ends_at_4g(&c->seg[in->seg]) && (uint32_t)element_offset(c, in) > 0xffffffffu - 512)
		return true;
	if ((op->attr & OP_REPSTR) && in->addrsize == 4 &&
	    (near_4g(c, in->seg, gpr[RSI], 0x4000) || near_4g(c, SEG_ES, gpr[RDI], 0x4000)))
		return true;
	if ((op->attr & OP_MASKED) && in->addrsize == 4 && near_4g(c, in->seg, gpr[RDI], 64))
		return true;
	return (op->implicit & IMPL_RSP) && stack_width(c) == 4 &&
	       (near_4g(c, SEG_SS, gpr[RSP], 256) || ((op->implicit & IMPL_RBP) && near_4g(c, SEG_SS, gpr[RBP], 256)));
}

/* Operands of many bytes that run over the end of 16-bit addresses */
static bool wraps_64k(const struct dt_case *c, const struct insn *in)
{
	if (in->addrsize != 2)
		return false;
	if (opcode_table[in->row].attr & OP_MASKED)
		return (uint16_t)c->in.gpr[RDI] > 0xffff - 32 || (c->has_ea && (uint16_t)c->ea_offset > 0xffff - 32);
	return c->has_ea && ((operand_is_image(in) && (uint16_t)c->ea_offset > 0xffff - 832) ||
			     (operand_in_parts(in) && (uint16_t)c->ea_offset > 0xffff - 108));
}

static bool has_rep_prefix(const struct dt_case *c, const struct insn *in)
{
	for (unsigned i = 0; i < in->len; i++) {
		if (c->bytes[i] == 0xf2 || c->bytes[i] == 0xf3)
			return true;
		if ((c->bytes[i] & 0xfc) == 0xe0)
			break;
	}
	return false;
}

/* A near branch in 64-bit mode with an operand-size prefix that counts. */
static bool branches_with_16_bits(const struct dt_case *c, const struct insn *in)
{
	bool prefix = false;
	unsigned i = 0;

	if (c->mode != INSN_MODE64 || !(opcode_table[in->row].attr & OP_FORCE64))
		return false;
	while (i < in->len && memchr("\x26\x2e\x36\x3e\x64\x65\x66\x67\xf2\xf3", c->bytes[i], 10))
		prefix |= c->bytes[i++] == 0x66;
	return prefix && (c->bytes[i] & 0xf8) != 0x48; /* REX.W */
}

/*
 * Of @size bytes from rSP + @at in elements of @element bytes, some are over the limit of SS (an element over the end
 * of a 16-bit stack is), and some are not there or not aligned.
 */
static bool splits_stack(const struct dt_case *c, int at, unsigned size, unsigned element)
{
	bool limit = false, absent = c->in.rflags & RF_AC;

	for (unsigned i = 0; i < size; i++) {
		uint64_t sp = cut(c->in.gpr[RSP] + (uint64_t)(int64_t)at + i, stack_width(c));
		uint32_t where;

		limit |= !segment_inside(&c->seg[SEG_SS], sp, 1) || (sp == 0 && i % element);
		absent |= !dt_writable(linear_of(c, SEG_SS, sp), &where);
	}
	return limit && absent;
}

/* The offset that a call goes to. */
static uint64_t call_offset(const struct dt_case *c, const struct insn *in)
{
	uint64_t v = 0;

	if (in->id == INSN_ID_CALL)
		v = c->in.rip + in->len + in->imm;
	else if (in->id == INSN_ID_CALL_FAR)
		v = in->imm;
	else if (!(in->flags & INSN_MEM))
		v = c->in.gpr[in->rm];
	else
		for (unsigned i = 0; i < in->opsize; i++)
			v |= (uint64_t)gen_byte(c, c->ea + i) << 8 * i;
	return in->opsize == 2 ? (uint16_t)v : (uint32_t)v;
}

/*
 * A CALL to an offset over the target's limit, from a stack that is not there for the pushes;
 * or two pushes that fault for different reasons.
 */
static bool call_faults_twice(const struct dt_case *c, const struct insn *in)
{
	bool far = in->id == INSN_ID_CALL_FAR || in->id == INSN_ID_CALL_FAR_IND;
	struct vcpu_segment target = far ? segment_of(selector_operand(c, in)) : c->seg[SEG_CS];
	uint64_t sp = cut(c->in.gpr[RSP], stack_width(c));
	unsigned size = (far ? 2u : 1u) * in->opsize;
	uint32_t at;

	if (c->mode == INSN_MODE64 && !far)
		return false;
	if (c->mode != INSN_MODE64 && splits_stack(c, -(int)size, size, in->opsize))
		return true;
	if ((target.attr & (ATTR_NULL | ATTR_L)) || segment_inside(&target, call_offset(c, in), 1))
		return false;
	return !dt_writable(stack_linear(c) - size, &at) || !dt_writable(stack_linear(c) - 1, &at) || sp < size ||
	       (c->in.rflags & RF_AC) || (c->mode != INSN_MODE64 && !segment_inside(&c->seg[SEG_SS], sp - size, size));
}

/* POPA's element that is not loaded is not within the limit, or not there. */
static bool skipped_slot_absent(const struct dt_case *c, const struct insn *in)
{
	uint64_t sp = cut(c->in.gpr[RSP] + 3 * in->opsize, stack_width(c)), la = linear_of(c, SEG_SS, sp);

	return !gen_memory(c, la) || !gen_memory(c, la + in->opsize - 1) ||
	       !segment_inside(&c->seg[SEG_SS], sp, in->opsize);
}

static bool misjudges_overlap(const struct dt_case *c, const struct insn *in)
{
	uint64_t distance = linear_of(c, SEG_ES, cut(c->in.gpr[RDI], 2)) - linear_of(c, in->seg, cut(c->in.gpr[RSI], 2));

	return in->addrsize == 2 && (in->flags & (INSN_REP | INSN_REPNE)) && (c->in.gpr[RSI] | c->in.gpr[RDI]) >> 16 &&
	       (uint32_t)(distance + 64) < 128;
}

/*
 * REP MOVS whose operands are in pages that are mapped twice, one in each mapping: fast string operations see by
 * linear addresses whether they overlap, and copy many bytes at once if not.
 */
static bool overlaps_unseen(const struct dt_case *c, const struct insn *in)
{
	uint64_t from = linear_of(c, in->seg, cut(c->in.gpr[RSI], in->addrsize));
	uint64_t to = linear_of(c, SEG_ES, cut(c->in.gpr[RDI], in->addrsize));
	uint64_t distance = dt_first_mapping(to) - dt_first_mapping(from);

	return in->id == INSN_ID_MOVS && (in->flags & (INSN_REP | INSN_REPNE)) && to - from != distance &&
	       distance + 2 * DT_PAGE < 4 * DT_PAGE;
}

static bool part_outside(const struct dt_case *c, unsigned seg, uint64_t offset, unsigned size)
{
	uint64_t la = linear_of(c, seg, offset);
	uint32_t at;

	if (segment_inside(&c->seg[seg], offset, size) || !segment_inside(&c->seg[seg], offset, 1))
		return false;
	return (c->in.rflags & RF_AC) || !dt_writable(la, &at) || !dt_writable(la + size - 1, &at);
}

/*
 * Operands in several parts that begin within the limit of their segment and end over it: whether a fault of
 * the part that is inside comes first is up to the processor.
 */
static bool spans_limit(const struct dt_case *c, const struct insn *in)
{
	unsigned size = insn_operand_size(in, opcode_table[in->row].opnd[1].kind == OPND_M ? 1 : 0);

	if (c->mode != INSN_MODE64 && opcode_table[in->row].implicit & IMPL_RDI && opcode_table[in->row].attr & OP_MASKED)
		return part_outside(c, in->seg, cut(c->in.gpr[RDI], in->addrsize), 16);
	if (c->mode != INSN_MODE64 && c->has_ea && in->aaa)
		return part_outside(c, in->seg, c->ea_offset, 64);
	if (c->mode == INSN_MODE64 || !c->has_ea || !(operand_in_parts(in) || operand_is_image(in)))
		return false;
	if (operand_is_image(in)) {
		size = 832;
		/* and how much of an area is looked at that does not use all of its components */
		if (opcode_table[in->row].opnd[0].size == SIZE_XSAVE && !segment_inside(&c->seg[in->seg], c->ea_offset, size) &&
		    segment_inside(&c->seg[in->seg], c->ea_offset, 576))
			return true;
		/* the header may be refused before the end is looked at */
		if (in->id == INSN_ID_XRSTOR && !segment_inside(&c->seg[in->seg], c->ea_offset, size) && segment_inside(&c->seg[in->seg], c->ea_offset, 1))
			return true;
	}
	if (in->id == INSN_ID_FNSAVE || in->id == INSN_ID_FRSTOR || in->id == INSN_ID_FNSTENV || in->id == INSN_ID_FLDENV)
		size = 108;
	return part_outside(c, in->seg, c->ea_offset, size);
}

/* SSE operands in SS that are neither aligned nor within the limit: #GP(0) or #SS(0). */
static bool misaligned_over_limit(const struct dt_case *c, const struct insn *in)
{
	unsigned size = 16; /* the least */

	if (c->mode == INSN_MODE64 || !c->has_ea || in->seg != SEG_SS)
		return false;
	if (operand_is_image(in))
		return (c->ea & 63) && !segment_inside(&c->seg[SEG_SS], c->ea_offset, 832);
	if (!(opcode_table[in->row].attr & OP_ALIGN))
		return false;
	if (in->flags & (INSN_L | INSN_L2))
		size = insn_vector_size(in);
	return (c->ea & (size - 1)) && !segment_inside(&c->seg[SEG_SS], c->ea_offset, size);
}

/* --- when a row of the table below counts --- */

static bool on_memory(const struct dt_case *c, const struct insn *in)
{
	(void)c;
	return in->flags & INSN_MEM;
}

static bool on_a_register(const struct dt_case *c, const struct insn *in)
{
	(void)c;
	return !(in->flags & INSN_MEM);
}

static bool memory_of_16_bits(const struct dt_case *c, const struct insn *in)
{
	(void)c;
	return (in->flags & INSN_MEM) && in->opsize == 2;
}

static bool of_size_4(const struct dt_case *c, const struct insn *in)
{
	(void)c;
	return in->opsize == 4;
}

static bool of_size_8(const struct dt_case *c, const struct insn *in)
{
	(void)c;
	return in->opsize == 8;
}

static bool unaligned(const struct dt_case *c, const struct insn *in)
{
	(void)in;
	return c->has_ea && (c->ea & 15);
}

static bool sets_mxcsr_mm(const struct dt_case *c, const struct insn *in)
{
	return c->has_ea && (gen_byte(c, c->ea + (operand_is_image(in) ? 24 : 0) + 2) & 2);
}

static bool returns_to_other_rpl(const struct dt_case *c, const struct insn *in)
{
	return (gen_byte(c, stack_linear(c) + in->opsize) & 3) != 3;
}

static bool high_rsp(const struct dt_case *c, const struct insn *in)
{
	(void)in;
	return c->mode == INSN_MODE64 && (c->in.gpr[RSP] >> 32 || c->in.gpr[RSP] < 64);
}

/* From compatibility mode to 64-bit code, with a stack that is not what 64-bit code would take it for. */
static bool stack_of_target(const struct dt_case *c, const struct insn *in)
{
	return c->mode != INSN_MODE64 && (selector_operand(c, in) & ~3) == (DT_CODE64_SEL & ~3) &&
	       !(segment_flat(&c->seg[SEG_SS]) && stack_width(c) == 4);
}

static bool splits_frame(const struct dt_case *c, const struct insn *in)
{
	return c->mode != INSN_MODE64 && splits_stack(c, 0, (in->id == INSN_ID_IRET ? 3u : 2u) * in->opsize, in->opsize);
}

/* From a 16-bit stack, whose pointer the frame takes over 64 KiB, to 64-bit code. */
static bool carries_to_64(const struct dt_case *c, const struct insn *in)
{
	unsigned n = in->id == INSN_ID_IRET ? 3 : 2;

	return stack_width(c) == 2 && stack_of_target(c, in) && (uint16_t)c->in.gpr[RSP] + n * in->opsize > 0xffff;
}

/* A return to a lower RPL, where the outer stack pointer would not be within the limit, or not there. */
static bool outer_not_there(const struct dt_case *c, const struct insn *in)
{
	if (c->mode == INSN_MODE64 || !returns_to_other_rpl(c, in))
		return false;
	for (unsigned i = 3 * in->opsize; i < 5u * in->opsize; i++) {
		uint64_t sp = cut(c->in.gpr[RSP] + i, stack_width(c));

		if (!segment_inside(&c->seg[SEG_SS], sp, 1) || !gen_memory(c, linear_of(c, SEG_SS, sp)))
			return true;
	}
	return false;
}

/* A return into the middle of its own bytes: another instruction, for which the rows below were not asked. */
static bool returns_into_itself(const struct dt_case *c, const struct insn *in)
{
	unsigned page = gen_byte(c, stack_linear(c)) | (gen_byte(c, stack_linear(c) + 1) & 15u) << 8;

	return ((page - c->in.rip) & 0xfff) < in->len;
}

/* Instructions in which AMD and Intel differ; the model follows Intel. */
static const struct {
	uint16_t id;
	uint8_t map, opcode;
	bool (*when)(const struct dt_case *c, const struct insn *in);
	const char *why;
} vendors_differ[] = {
	{ INSN_ID_NOP, MAP_0F, 0x0d, on_a_register, "0F 0D with a register: #UD on AMD, a reserved NOP on Intel" },
	{ INSN_ID_MOVSXD, MAP_ONE, 0x63, memory_of_16_bits, "AMD reads 32 bits of memory where Intel reads 16 (SDM vol. 2, MOVSXD)" },
	{ INSN_ID_LDMXCSR, MAP_0F, 0xae, sets_mxcsr_mm, "MXCSR bit 17 (misaligned exception mask) is AMD's" },
	{ INSN_ID_FXRSTOR, MAP_0F, 0xae, sets_mxcsr_mm, "the same" },
	{ INSN_ID_XRSTOR, MAP_0F, 0xae, sets_mxcsr_mm, "the same" },
	{ INSN_ID_VLDMXCSR, MAP_0F, 0xae, sets_mxcsr_mm, "the same" },
	{ INSN_ID_VPEXTRD, MAP_0F3A, 0x16, w_outside_64, "VEX.W1 outside 64-bit mode: #UD on AMD, ignored on Intel" },
	{ INSN_ID_VPINSRD, MAP_0F3A, 0x22, w_outside_64, "the same" },
	{ INSN_ID_KMOVQ, MAP_0F, 0x92, w_outside_64, "VEX.W1 outside 64-bit mode: 64 bits on AMD, ignored on Intel" },
	{ INSN_ID_KMOVQ, MAP_0F, 0x93, w_outside_64, "the same" },
	{ INSN_ID_PUSH_SEG, MAP_ONE, 0x06, of_size_4, "a 32-bit push of a selector: zero-extended on AMD, a 16-bit store on Intel (SDM vol. 2, PUSH)" },
	{ INSN_ID_PUSH_SEG, MAP_ONE, 0x0e, of_size_4, "the same" },
	{ INSN_ID_PUSH_SEG, MAP_ONE, 0x16, of_size_4, "the same" },
	{ INSN_ID_PUSH_SEG, MAP_ONE, 0x1e, of_size_4, "the same" },
	{ INSN_ID_PUSH_SEG, MAP_0F, 0xa0, of_size_4, "the same" },
	{ INSN_ID_PUSH_SEG, MAP_0F, 0xa8, of_size_4, "the same" },
	{ INSN_ID_LSS, MAP_0F, 0xb2, of_size_8, "far pointers with a 64-bit offset: Intel only (APM vol. 3, LSS)" },
	{ INSN_ID_LFS, MAP_0F, 0xb4, of_size_8, "the same" },
	{ INSN_ID_LGS, MAP_0F, 0xb5, of_size_8, "the same" },
	{ INSN_ID_JMP_FAR_IND, MAP_ONE, 0xff, of_size_8, "the same" },
	{ INSN_ID_CALL_FAR_IND, MAP_ONE, 0xff, of_size_8, "the same" },
	{ INSN_ID_RET_FAR, MAP_ONE, 0xca, returns_to_other_rpl, "return to a lower RPL: AMD reads the outer stack before it refuses" },
	{ INSN_ID_RET_FAR, MAP_ONE, 0xcb, returns_to_other_rpl, "the same" },
	{ INSN_ID_CALL_FAR, MAP_ONE, 0x9a, stack_of_target, "from compatibility to 64-bit mode AMD pushes as the target would: without the base of SS, with all of rSP" },
	{ INSN_ID_CALL_FAR_IND, MAP_ONE, 0xff, stack_of_target, "the same" },
	{ INSN_ID_CALL_FAR, MAP_ONE, 0x9a, call_faults_twice, "AMD pushes, and may fault there, before it looks at the target's limit; Intel after (SDM vol. 2, CALL)" },
	{ INSN_ID_CALL_FAR_IND, MAP_ONE, 0xff, call_faults_twice, "the same" },
	{ INSN_ID_CALL, MAP_ONE, 0xe8, call_faults_twice, "the same" },
	{ INSN_ID_CALL_IND, MAP_ONE, 0xff, call_faults_twice, "the same" },
	{ INSN_ID_RET_FAR, MAP_ONE, 0xca, stack_of_target, "from compatibility to 64-bit mode AMD releases parameters with all of rSP" },
	{ INSN_ID_CALL_FAR_IND, MAP_ONE, 0xff, high_rsp, "from 64-bit to compatibility mode AMD pushes with a 32-bit rSP" },
	{ INSN_ID_POPA, MAP_ONE, 0x61, skipped_slot_absent, "AMD reads the place of rSP, which Intel skips (SDM vol. 2, POPA)" },
	{ INSN_ID_RET_FAR, MAP_ONE, 0xcb, carries_to_64, "the same: bit 16 becomes 1" },
	{ INSN_ID_IRET, MAP_ONE, 0xcf, carries_to_64, "the same" },
	{ INSN_ID_IRET, MAP_ONE, 0xcf, outer_not_there, "return to a lower RPL: AMD reads the outer stack pointer before it refuses" },
	{ INSN_ID_RET_FAR, MAP_ONE, 0xca, returns_into_itself, "what differs may be the instruction that is found there" },
	{ INSN_ID_RET_FAR, MAP_ONE, 0xcb, returns_into_itself, "the same" },
	{ INSN_ID_IRET, MAP_ONE, 0xcf, returns_into_itself, "the same" },
	{ INSN_ID_IRET, MAP_ONE, 0xcf, splits_frame, "AMD reads flags first, and may fault there, before it sees that the frame is not all in SS" },
	{ INSN_ID_RET_FAR, MAP_ONE, 0xca, splits_frame, "the same, of alignment" },
	{ INSN_ID_RET_FAR, MAP_ONE, 0xcb, splits_frame, "the same" },
	{ INSN_ID_MOVS, MAP_ONE, 0xa4, misjudges_overlap,
	  "with 16-bit addresses, Zen 5 misjudges operands of REP MOVS less than 64 bytes apart when ESI or EDI has bits above 15: it copies what was there before" },
	{ INSN_ID_MOVS, MAP_ONE, 0xa5, misjudges_overlap, "the same" },
	{ INSN_ID_LOOPE, MAP_ONE, 0xe1, has_rep_prefix, "F2 and F3 change the sense of ZF on AMD; Intel ignores them" },
	{ INSN_ID_LOOPNE, MAP_ONE, 0xe0, has_rep_prefix, "the same" },
	{ INSN_ID_CVTPI2PS, MAP_0F, 0x2a, on_memory,
	  "MMX transition with a memory operand: on Intel (SDM vol. 2, CVTPI2PS), not on AMD" },
	{ INSN_ID_SHA1NEXTE, MAP_0F38, 0xc8, unaligned, "SHA: exceptions of type 4 on Intel; AMD allows it" },
	{ INSN_ID_SHA1MSG1, MAP_0F38, 0xc9, unaligned, "the same" },
	{ INSN_ID_SHA1MSG2, MAP_0F38, 0xca, unaligned, "the same" },
	{ INSN_ID_SHA256RNDS2, MAP_0F38, 0xcb, unaligned, "the same" },
	{ INSN_ID_SHA256MSG1, MAP_0F38, 0xcc, unaligned, "the same" },
	{ INSN_ID_SHA256MSG2, MAP_0F38, 0xcd, unaligned, "the same" },
	{ INSN_ID_SHA1RNDS4, MAP_0F3A, 0xcc, unaligned, "the same" },
};

/*
 * RSP as the register operand of an EVEX encoding whose X, which means nothing for it (SDM vol. 2, 2.7.7), is set: right after a PUSH Zen 5 takes it as it
 * was before.
 */
static bool stale_rsp(const struct dt_case *c, const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];
	unsigned i = 0;

	if (!(in->flags & INSN_EVEX) || (in->flags & INSN_MEM) || in->rm != RSP)
		return false;
	while (c->bytes[i] != 0x62 && i < 12)
		i++;
	for (unsigned n = 0; n < 4; n++)
		if (op->opnd[n].kind == OPND_E || op->opnd[n].kind == OPND_R)
			return !(c->bytes[i + 1] & 0x40);
	return false;
}

const char *compare_excluded(const struct dt_case *c, const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	if ((in->id == INSN_ID_MASKMOVDQU || in->id == INSN_ID_VMASKMOVDQU) && (c->in.rflags & RF_AC))
		return "bytes have no alignment: processors raise #AC by how they split the access";
	if (opcode_table[in->row].opnd[0].size == SIZE_XSAVE && (c->in.gpr[RDX] || c->in.gpr[RAX] & 0xfffffff8))
		return "components that the model has not may be enabled in the host's XCR0";
	if ((in->id == INSN_ID_FXSAVE || in->id == INSN_ID_FXRSTOR) && (c->in.rflags & RF_AC))
		return "#AC in place of #GP is up to the processor (SDM vol. 2, FXSAVE)";
	if ((in->flags & INSN_EVEX) && (in->flags & INSN_MEM) && (c->in.rflags & RF_AC))
		return "#AC of an operand under a mask, or broadcast, is up to the processor";
	if ((selector_operand(c, in) & ~3) == 0x78)
		return "the host kernel's segment with the number of the CPU in its limit";
	if (overlaps_unseen(c, in))
		return "operands of REP MOVS that overlap, but not by their linear addresses: fast string operations do not see it";
	if (wraps_64k(c, in))
		return "an operand over the end of 16-bit addresses: split or not, as the processor likes";
	if (wraps_4g(c, in))
		return "an access over the end of a 4-GiB segment may fault or not (SDM vol. 3, 5.3)";
	if (spans_canonical_end(c, in))
		return "parts of one operand on both sides of canonical space: which fault comes first is up to the processor";
	if (spans_limit(c, in))
		return "parts of one operand on both sides of a segment's limit: which fault comes first is up to the processor";
	if (misaligned_over_limit(c, in))
		return "exceptions of one class: which comes first is up to the processor (SDM vol. 3, 7.9)";
	if (!host_is_amd())
		return NULL;
	if (stale_rsp(c, in))
		return "EVEX.X set beside RSP as the operand: Zen 5 may take what it was before a PUSH";
	if (segment_offset_not_canonical(c, in))
		return "AMD wants the offset in FS and GS canonical too, not only the linear address";
	if (branches_with_16_bits(c, in))
		return "near branches with prefix 66: AMD cuts RIP to 16 bits, Intel ignores it (SDM vol. 2, JMP)";
	for (size_t i = 0; i < sizeof(vendors_differ) / sizeof(vendors_differ[0]); i++) {
		if (vendors_differ[i].id != in->id || vendors_differ[i].map != op->map ||
		    vendors_differ[i].opcode != op->opcode)
			continue;
		if (!vendors_differ[i].when(c, in))
			continue;
		while (i && !strcmp(vendors_differ[i].why, "the same"))
			i--;
		return vendors_differ[i].why;
	}
	return NULL;
}
