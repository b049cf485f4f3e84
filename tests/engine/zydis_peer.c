// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Zydis as a second opinion on decoded operands: see zydis_peer.h.
 */
#include "zydis_peer.h"

#include "engine/vcpu_state.h"

ZydisDecoder zydis[3];

void zydis_setup(void)
{
	static const ZydisMachineMode modes[3] = { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
						   ZYDIS_MACHINE_MODE_LONG_64 };
	static const ZydisStackWidth widths[3] = { ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64 };

	for (int m = 0; m < 3; m++) {
		ZydisDecoderInit(&zydis[m], modes[m], widths[m]);
		/* not in the model: plain NOPs */
		ZydisDecoderEnableMode(&zydis[m], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(&zydis[m], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
		ZydisDecoderEnableMode(&zydis[m], ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
	}
}

/* Instructions whose operands the two see differently. */
static const struct {
	uint16_t id;
	const char *why;
} operands_differ[] = {
	{ INSN_ID_NOP, "operands of reserved NOPs are not accessed here" },
	{ INSN_ID_PREFETCH, "an address, no access" },
	{ INSN_ID_LEA, "an address, no access" },
	{ INSN_ID_INVLPG, "an address, no access" },
	{ INSN_ID_CLFLUSH, "checked as a load of one byte" },
	{ INSN_ID_CLFLUSHOPT, "checked as a load of one byte" },
	{ INSN_ID_CLWB, "checked as a load of one byte" },
	{ INSN_ID_UD0, "never executed" },
	{ INSN_ID_UD1, "never executed" },
	{ INSN_ID_XSAVE, "the size of an XSAVE area follows from XCR0" },
	{ INSN_ID_XSAVEC, "the same" },
	{ INSN_ID_XSAVEOPT, "the same" },
	{ INSN_ID_XSAVES, "the same" },
	{ INSN_ID_XRSTOR, "the same" },
	{ INSN_ID_XRSTORS, "the same" },
	{ INSN_ID_LAR, "a register source is used as 16 bits" },
	{ INSN_ID_LSL, "a register source is used as 16 bits" },
	{ INSN_ID_MOVMSKPS, "32-bit result whatever REX.W" },
	{ INSN_ID_MOVMSKPD, "32-bit result whatever REX.W" },
	{ INSN_ID_MOVSXD, "with 66 the source is r/m16 (SDM vol. 2, MOVSXD)" },
	{ INSN_ID_IN, "DX is implicit here" },
	{ INSN_ID_OUT, "DX is implicit here" },
	{ INSN_ID_PAUSE, "F3 REX.B 90" },
	{ INSN_ID_FNSTSW, "AX is implicit here" },
};

bool operands_may_differ(const struct insn *in)
{
	for (size_t i = 0; i < sizeof(operands_differ) / sizeof(operands_differ[0]); i++)
		if (in->id == operands_differ[i].id)
			return true;
	return false;
}

static ZydisRegister zydis_gpr(unsigned n, unsigned size, bool high)
{
	switch (size) {
	case 1: return ZydisRegisterEncode(ZYDIS_REGCLASS_GPR8, high ? 4 + (n & 3) : n < 4 ? n : n + 4);
	case 2: return ZydisRegisterEncode(ZYDIS_REGCLASS_GPR16, n);
	case 4: return ZydisRegisterEncode(ZYDIS_REGCLASS_GPR32, n);
	default: return ZydisRegisterEncode(ZYDIS_REGCLASS_GPR64, n);
	}
}

static ZydisRegister zydis_vec(unsigned n, unsigned size)
{
	return ZydisRegisterEncode(size == 64 ? ZYDIS_REGCLASS_ZMM : size == 32 ? ZYDIS_REGCLASS_YMM : ZYDIS_REGCLASS_XMM, n);
}

/* The register that operand @n names, or NONE when it is implicit. */
static ZydisRegister operand_register(const struct insn *in, unsigned n)
{
	unsigned size = insn_operand_size(in, n);

	switch (opcode_table[in->row].opnd[n].kind) {
	case OPND_E:
	case OPND_R: return zydis_gpr(in->rm, size, in->rm_off & 1);
	case OPND_G: return zydis_gpr(in->reg, size, in->reg_off & 1);
	case OPND_B: return zydis_gpr(in->vvvv, size, false);
	case OPND_V: return zydis_vec(in->reg, size);
	case OPND_W:
	case OPND_U: return zydis_vec(in->rm, size);
	case OPND_H: return zydis_vec(in->vvvv, size);
	case OPND_L: return zydis_vec(in->is4, size);
	case OPND_KG: return ZydisRegisterEncode(ZYDIS_REGCLASS_MASK, in->reg);
	case OPND_KR:
	case OPND_KM: return ZydisRegisterEncode(ZYDIS_REGCLASS_MASK, in->rm);
	case OPND_KH: return ZydisRegisterEncode(ZYDIS_REGCLASS_MASK, in->vvvv);
	case OPND_P: return ZydisRegisterEncode(ZYDIS_REGCLASS_MMX, in->reg);
	case OPND_Q:
	case OPND_N: return ZydisRegisterEncode(ZYDIS_REGCLASS_MMX, in->rm);
	case OPND_S: return ZydisRegisterEncode(ZYDIS_REGCLASS_SEGMENT, in->reg);
	case OPND_C: return ZydisRegisterEncode(ZYDIS_REGCLASS_CONTROL, in->reg);
	case OPND_D: return ZydisRegisterEncode(ZYDIS_REGCLASS_DEBUG, in->reg);
	default: return ZYDIS_REGISTER_NONE;
	}
}

static bool memory_agrees(const struct insn *in, unsigned n, const ZydisDecodedOperand *o)
{
	static const ZydisRegister segs[] = { ZYDIS_REGISTER_ES, ZYDIS_REGISTER_CS, ZYDIS_REGISTER_SS,
					      ZYDIS_REGISTER_DS, ZYDIS_REGISTER_FS, ZYDIS_REGISTER_GS };
	ZydisRegister base = in->base == GPR_ZERO   ? ZYDIS_REGISTER_NONE
			     : in->base == GPR_RIP ? (in->addrsize == 8 ? ZYDIS_REGISTER_RIP : ZYDIS_REGISTER_EIP)
						    : zydis_gpr(in->base, in->addrsize, false);
	ZydisRegister index = ZYDIS_REGISTER_NONE;
	uint64_t mask = in->addrsize == 8 ? ~0ull : (1ull << 8 * in->addrsize) - 1;
	uint64_t disp = in->flags & INSN_MOFFS ? in->imm : (uint64_t)(int64_t)in->disp;

	if (opcode_table[in->row].opnd[n].kind == OPND_VM)
		index = ZydisRegisterEncode(ZydisRegisterGetClass(o->mem.index), in->index);
	else if (in->index != GPR_ZERO)
		index = zydis_gpr(in->index, in->addrsize, false);
	if (!(in->flags & INSN_MEM) || o->size / 8 != insn_operand_size(in, n) || segs[in->seg] != o->mem.segment)
		return false;
	/* Zydis 4.0 takes 67 REX.B with SIB base 101, mod 00 for r13d; there is none (SDM vol. 2, table 2-5) */
	if (o->mem.base == ZYDIS_REGISTER_R13D && in->base == GPR_ZERO)
		return true;
	if (base != o->mem.base || index != o->mem.index || ((disp ^ (uint64_t)o->mem.disp.value) & mask))
		return false;
	return index == ZYDIS_REGISTER_NONE || 1u << in->scale == o->mem.scale;
}

static bool immediate_agrees(const struct insn *in, unsigned n, const ZydisDecodedOperand *o)
{
	const struct operand *op = &opcode_table[in->row].opnd[n];
	unsigned size = insn_operand_size(in, n);
	uint64_t v = in->imm, mask = ~0ull;

	if (op->kind == OPND_L)
		return true;
	if (op->kind != OPND_I && op->kind != OPND_J)
		return false;
	if (in->id == INSN_ID_ENTER)
		v = n ? v >> 16 : v & 0xffff;
	if (op->kind == OPND_I && size < 8 && !(op->access & ACCESS_SX))
		mask = (1ull << 8 * size) - 1;
	return !((v ^ o->imm.value.u) & mask);
}

bool operands_agree(const struct insn *in, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *zo)
{
	const struct opcode *op = &opcode_table[in->row];
	unsigned n = 0;

	if (op->attr & OP_X87)
		return true; /* ST(0) is hidden there in some forms */
	for (unsigned i = 0; i < z->operand_count_visible; i++, n++) {
		const ZydisDecodedOperand *o = &zo[i];
		ZydisRegister reg;

		if (op->attr & OP_REPSTR)
			return true;
		if (o->encoding == ZYDIS_OPERAND_ENCODING_MASK) {
			if (o->reg.value != ZydisRegisterEncode(ZYDIS_REGCLASS_MASK, in->aaa))
				return false;
			n--;
			continue;
		}
		if (n >= 4 || op->opnd[n].kind == OPND_NONE)
			return false;
		switch (o->type) {
		case ZYDIS_OPERAND_TYPE_MEMORY:
			if (!memory_agrees(in, n, o))
				return false;
			break;
		case ZYDIS_OPERAND_TYPE_REGISTER:
			reg = operand_register(in, n);
			if (reg != ZYDIS_REGISTER_NONE && reg != o->reg.value)
				return false;
			break;
		case ZYDIS_OPERAND_TYPE_IMMEDIATE:
			if (!immediate_agrees(in, n, o))
				return false;
			break;
		default: break;
		}
	}
	return true;
}
