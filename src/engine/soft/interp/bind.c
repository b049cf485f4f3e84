// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Chooses what runs a decoded instruction.
 *
 * What an instruction needs of the mode (CPL 0, protected mode) and of the CPU model is decided here, once:
 * the block cache keeps blocks of different CPL and mode apart, and a model never changes. What is not allowed, and what nobody runs,
 * gets a handler that raises.
 */
#include "engine/soft/interp/interp.h"
#include "engine/soft/soft.h"

static void raise_ud(struct cpu *c, const struct insn *in)
{
	cpu_raise(c, EXC_UD);
}

static void raise_gp(struct cpu *c, const struct insn *in)
{
	cpu_raise_error(c, EXC_GP, 0);
}

static insn_bind_fn *const families[] = {
	bind_integer, bind_control, bind_bits, bind_string, bind_vector_special, bind_system,
};

/* 256-bit integer operations, which share their rows with AVX's 128-bit ones, and broadcasts of registers. */
static bool is_avx2(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	switch (in->id) {
	case INSN_ID_VBROADCASTSS:
	case INSN_ID_VBROADCASTSD: return !(in->flags & INSN_MEM);
	case INSN_ID_VPTEST:
	case INSN_ID_VPERMILPS:
	case INSN_ID_VPERMILPD:
	case INSN_ID_VPERM2F128: return false;
	case INSN_ID_VMPSADBW:
	case INSN_ID_VMOVNTDQA: return in->flags & INSN_L;
	default: return op->feature == FEAT_AVX && !op->evex && (in->flags & INSN_L) && op->name[0] == 'v' && op->name[1] == 'p';
	}
}

/* Shorter vectors than 512 bits are AVX512VL's, but for scalars, and what exists with 128 bits only (SDM vol. 2, 2.7.9). */
static bool needs_vl(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	return insn_vector_size(in) < 64 && !(op->evex & EV_LIG) && !(op->attr & OP_L0);
}

/* What decides is CPUID's feature, but for a few rows. */
bool interp_model_has(const struct cpu *c, const struct insn *in)
{
	const struct cpu_model *m = c->vm->model;

	switch (in->id) {
	case INSN_ID_TZCNT:
	case INSN_ID_LZCNT: return true; /* as BSF and BSR, with a prefix that means nothing */
	case INSN_ID_LAHF:
	case INSN_ID_SAHF: return c->mode != INSN_MODE64 || cpu_model_has(m, FEAT_LAHF64);
	default:
		if ((in->flags & INSN_EVEX) && needs_vl(in) && !cpu_model_has(m, FEAT_AVX512VL))
			return false;
		if (opcode_is_avx512(&opcode_table[in->row]) && !cpu_model_has(m, FEAT_AVX512F))
			return false;
		return cpu_model_has(m, opcode_table[in->row].feature) && (cpu_model_has(m, FEAT_AVX2) || !is_avx2(in));
	}
}

void interp_bind(struct cpu *c, struct insn *in)
{
	uint32_t attr = opcode_table[in->row].attr;

	in->fn = raise_ud;
	if (((attr & OP_PROT) && c->real) || !interp_model_has(c, in))
		return;
	if ((attr & OP_CPL0) && c->cpl) {
		in->fn = raise_gp;
		return;
	}
	if (attr & OP_NATIVE) {
		if (vector_bind(c, in))
			in->fn = raise_ud;
		return;
	}
	/* First: with LOCK, a row of another family is not run as it stands there. */
	insn_fn *fn = bind_atomic(c, in);

	for (unsigned i = 0; !fn && i < sizeof(families) / sizeof(families[0]); i++)
		fn = families[i](c, in);
	if (fn)
		in->fn = fn;
}
