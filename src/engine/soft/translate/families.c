// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the translator does itself. An instruction that is not here ends the block, and the interpreter
 * runs it: always right, some 50 to 100 ns slower.
 */
#include "engine/soft/translate/legacy_emit.h"

/* Ordinary integer instructions: copied. Those with a memory operand whose address depends on more than the operand are sorted out below. */
static bool copied_id(unsigned id)
{
	switch (id) {
	case INSN_ID_ADD: case INSN_ID_OR: case INSN_ID_ADC: case INSN_ID_SBB: case INSN_ID_AND: case INSN_ID_SUB:
	case INSN_ID_XOR: case INSN_ID_CMP: case INSN_ID_INC: case INSN_ID_DEC: case INSN_ID_TEST: case INSN_ID_NOT:
	case INSN_ID_NEG: case INSN_ID_MUL: case INSN_ID_IMUL: case INSN_ID_DIV: case INSN_ID_IDIV: case INSN_ID_ROL:
	case INSN_ID_ROR: case INSN_ID_RCL: case INSN_ID_RCR: case INSN_ID_SHL: case INSN_ID_SHR: case INSN_ID_SAR:
	case INSN_ID_SHLD: case INSN_ID_SHRD: case INSN_ID_MOV: case INSN_ID_MOVZX: case INSN_ID_MOVSX: case INSN_ID_MOVSXD:
	case INSN_ID_MOVBE: case INSN_ID_MOVNTI: case INSN_ID_XADD: case INSN_ID_CMPXCHG:
	case INSN_ID_CMPXCHG8B: case INSN_ID_CMPXCHG16B: case INSN_ID_BSWAP: case INSN_ID_CBW: case INSN_ID_CWD:
	case INSN_ID_LAHF: case INSN_ID_SAHF: case INSN_ID_SETCC: case INSN_ID_CMOVCC: case INSN_ID_CMC: case INSN_ID_CLC:
	case INSN_ID_STC: case INSN_ID_BSF: case INSN_ID_BSR: case INSN_ID_TZCNT: case INSN_ID_LZCNT: case INSN_ID_POPCNT:
	case INSN_ID_CRC32: case INSN_ID_ADCX: case INSN_ID_ADOX: case INSN_ID_ANDN: case INSN_ID_BEXTR: case INSN_ID_BLSR:
	case INSN_ID_BLSMSK: case INSN_ID_BLSI: case INSN_ID_BZHI: case INSN_ID_PEXT: case INSN_ID_PDEP: case INSN_ID_MULX:
	case INSN_ID_SHLX: case INSN_ID_SARX: case INSN_ID_SHRX: case INSN_ID_RORX: case INSN_ID_LFENCE: case INSN_ID_MFENCE:
	case INSN_ID_SFENCE: return true;
	default: return false;
	}
}

static bool has_operand(const struct insn *in, enum operand_kind kind)
{
	for (unsigned i = 0; i < 4; i++)
		if (opcode_table[in->row].opnd[i].kind == kind)
			return true;
	return false;
}

static emit_fn *stack_emitter(const struct insn *in)
{
	if (in->opsize != 8)
		return NULL;
	switch (in->id) {
	case INSN_ID_PUSH: return emit_push;
	case INSN_ID_POP: return in->flags & INSN_MEM ? NULL : emit_pop;
	case INSN_ID_LEAVE: return emit_leave;
	default: return NULL;
	}
}

static bool bit_test(unsigned id)
{
	return id == INSN_ID_BT || id == INSN_ID_BTS || id == INSN_ID_BTR || id == INSN_ID_BTC;
}

static emit_fn *integer_emitter(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	if (bit_test(in->id)) /* with a bit number in a register the operand may be anywhere */
		return in->flags & INSN_MEM && has_operand(in, OPND_G) ? NULL : emit_copy;
	if (in->id == INSN_ID_XCHG) /* the short form has its accumulator where no operand names it */
		return has_operand(in, OPND_IMPLICIT) && (in->rm == RSP || in->rm >= R14) ? NULL : emit_copy;
	if (!copied_id(in->id))
		return NULL;
	if ((in->id == INSN_ID_ADD || in->id == INSN_ID_SUB) && !(in->flags & INSN_MEM) && in->opsize == 8 && in->rm == RSP &&
	    op->opnd[0].kind == OPND_E && op->opnd[1].kind == OPND_I)
		return emit_rsp_arith;
	return emit_copy;
}

emit_fn *emitter_for(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];
	emit_fn *system, *legacy;

	if (in->flags & INSN_LEGACY && legacy_emitter(in, &legacy))
		return legacy;
	system = system_emitter(in);
	if (system)
		return system;
	if (op->attr & OP_CPL0)
		return NULL;
	switch (in->id) {
	case INSN_ID_JMP: return emit_jmp;
	case INSN_ID_JCC: return emit_jcc;
	case INSN_ID_JMP_IND: return emit_jmp_ind;
	case INSN_ID_CALL: return emit_call;
	case INSN_ID_CALL_IND: return emit_call_ind;
	case INSN_ID_RET: return emit_ret;
	case INSN_ID_LEA: return emit_lea;
	case INSN_ID_NOP:
	case INSN_ID_PREFETCH: return emit_nothing;
	case INSN_ID_PUSH:
	case INSN_ID_POP:
	case INSN_ID_LEAVE: return stack_emitter(in);
	}
	if (op->attr & (OP_SSE | OP_AVX | OP_X87 | OP_MMX))
		return vector_emitter(in);
	return integer_emitter(in);
}

bool is_translated(const struct insn *in)
{
	return emitter_for(in) != NULL;
}
