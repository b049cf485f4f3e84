// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Shifts and rotates: ROL ROR RCL RCR SHL SHR SAR, SHLD SHRD, and BMI2's SARX SHLX SHRX RORX
 * (SDM vol. 2).
 *
 * The guest's flags are loaded before each operation: a masked count of 0 changes none of them,
 * rotates change CF and OF only, and what a count above 1 leaves in OF is the host's choice.
 * A count of 0 still writes the destination: the upper half of a 32-bit register is cleared, and a
 * page that cannot be written faults.
 */
#include "engine/soft/interp/alu.h"

ALU_SIZES(ALU_KERNEL_SHIFT, rol)
ALU_SIZES(ALU_KERNEL_SHIFT, ror)
ALU_SIZES(ALU_KERNEL_SHIFT, rcl)
ALU_SIZES(ALU_KERNEL_SHIFT, rcr)
ALU_SIZES(ALU_KERNEL_SHIFT, shl)
ALU_SIZES(ALU_KERNEL_SHIFT, shr)
ALU_SIZES(ALU_KERNEL_SHIFT, sar)

/* The count: an immediate (1 for the forms without one), or CL. */
enum count { COUNT_IMM, COUNT_CL, COUNT_ONE, COUNT_COUNT };

#define SHIFT(name, n, how, count)                                                                 \
	static void name##_e_##how##_##n(struct cpu *c, const struct insn *in)                     \
	{                                                                                          \
		UINT(n) d = (UINT(n))gpr_get(c, in->rm_off, n);                                    \
                                                                                                   \
		gpr_put(c, in->rm_off, n, alu_##name##_##n(d, (UINT(n))(count), &c->flags));       \
	}                                                                                          \
	static void name##_m_##how##_##n(struct cpu *c, const struct insn *in)                     \
	{                                                                                          \
		uint64_t lin = mem_linear(c, in, n, MMU_WRITE);                                    \
                                                                                                   \
		RMW(c, in, lin, n, d, f, d = alu_##name##_##n(d, (UINT(n))(count), &f));           \
	}

#define SHIFTS(name, n)                                                                            \
	SHIFT(name, n, imm, (uint8_t)in->imm)                                                      \
	SHIFT(name, n, cl, (uint8_t)c->gpr[RCX])                                                   \
	SHIFT(name, n, one, 1)

#define SHIFT_SIZES(name, form) { name##_##form##_1, name##_##form##_2, name##_##form##_4, name##_##form##_8 }

#define DEFINE_SHIFT(name)                                                                         \
	ALU_SIZES(SHIFTS, name)                                                                    \
	static insn_fn *const name##_forms[2][COUNT_COUNT][4] = {                                  \
		{ SHIFT_SIZES(name, e_imm), SHIFT_SIZES(name, e_cl), SHIFT_SIZES(name, e_one) },   \
		{ SHIFT_SIZES(name, m_imm), SHIFT_SIZES(name, m_cl), SHIFT_SIZES(name, m_one) },   \
	};

DEFINE_SHIFT(rol)
DEFINE_SHIFT(ror)
DEFINE_SHIFT(rcl)
DEFINE_SHIFT(rcr)
DEFINE_SHIFT(shl)
DEFINE_SHIFT(shr)
DEFINE_SHIFT(sar)

static enum count count_of(const struct insn *in)
{
	const struct opcode *row = &opcode_table[in->row];

	if (row->opnd[1].kind == OPND_I)
		return COUNT_IMM;
	return row->opcode >= 0xd2 ? COUNT_CL : COUNT_ONE; /* D0, D1: by 1; D2, D3: by CL */
}

/* --- SHLD SHRD --- */

#define DOUBLE_KERNEL(name, n)                                                                     \
	static inline __attribute__((always_inline)) UINT(n)                                       \
	alu_##name##_##n(UINT(n) d, UINT(n) s, uint8_t count, uint32_t *flags)                     \
	{                                                                                          \
		uint32_t f_ = *flags;                                                              \
		__asm__(FLAGS_LOAD #name " %%cl, %[s], %[d]" FLAGS_SAVE                            \
			: [d] "+r"(d), [f] "+&a"(f_) : [s] "r"(s), "c"(count) : "cc");             \
		*flags = (uint16_t)f_;                                                             \
		return d;                                                                          \
	}

#define DOUBLE(name, n, how, count)                                                                \
	static void name##_e_##how##_##n(struct cpu *c, const struct insn *in)                     \
	{                                                                                          \
		UINT(n) d = (UINT(n))gpr_get(c, in->rm_off, n);                                    \
		UINT(n) s = (UINT(n))gpr_get(c, in->reg_off, n);                                   \
                                                                                                   \
		gpr_put(c, in->rm_off, n, alu_##name##_##n(d, s, (uint8_t)(count), &c->flags));    \
	}                                                                                          \
	static void name##_m_##how##_##n(struct cpu *c, const struct insn *in)                     \
	{                                                                                          \
		uint64_t lin = mem_linear(c, in, n, MMU_WRITE);                                    \
		UINT(n) s = (UINT(n))gpr_get(c, in->reg_off, n);                                   \
                                                                                                   \
		RMW(c, in, lin, n, d, f, d = alu_##name##_##n(d, s, (uint8_t)(count), &f));        \
	}

#define DOUBLES(name, n) DOUBLE_KERNEL(name, n) DOUBLE(name, n, imm, in->imm) DOUBLE(name, n, cl, c->gpr[RCX])
#define DOUBLE_SIZES(name, form) { NULL, name##_##form##_2, name##_##form##_4, name##_##form##_8 }
#define DEFINE_DOUBLE(name)                                                                        \
	DOUBLES(name, 2)                                                                           \
	DOUBLES(name, 4)                                                                           \
	DOUBLES(name, 8)                                                                           \
	static insn_fn *const name##_forms[2][2][4] = {                                            \
		{ DOUBLE_SIZES(name, e_imm), DOUBLE_SIZES(name, e_cl) },                           \
		{ DOUBLE_SIZES(name, m_imm), DOUBLE_SIZES(name, m_cl) },                           \
	};

DEFINE_DOUBLE(shld)
DEFINE_DOUBLE(shrd)

/* --- BMI2: no flags; the count is masked to the operand size --- */

#define SHIFTX(name, n, expr)                                                                      \
	static void name##_##n(struct cpu *c, const struct insn *in)                               \
	{                                                                                          \
		UINT(n) d = (UINT(n))rm_load(c, in, n);                                            \
		unsigned count = (unsigned)c->gpr[in->vvvv] & (n * 8 - 1);                         \
                                                                                                   \
		gpr_put(c, in->reg_off, n, (UINT(n))(expr));                                       \
	}

SHIFTX(shlx, 4, d << count)
SHIFTX(shlx, 8, d << count)
SHIFTX(shrx, 4, d >> count)
SHIFTX(shrx, 8, d >> count)
SHIFTX(sarx, 4, (int32_t)d >> count)
SHIFTX(sarx, 8, (int64_t)d >> count)

static void rorx_4(struct cpu *c, const struct insn *in)
{
	uint32_t d = (uint32_t)rm_load(c, in, 4);
	unsigned count = in->imm & 31;

	gpr_put(c, in->reg_off, 4, d >> count | d << (-count & 31));
}

static void rorx_8(struct cpu *c, const struct insn *in)
{
	uint64_t d = rm_load(c, in, 8);
	unsigned count = in->imm & 63;

	gpr_put(c, in->reg_off, 8, d >> count | d << (-count & 63));
}

insn_fn *bind_shift(struct cpu *c, const struct insn *in)
{
	bool mem = in->flags & INSN_MEM;
	bool wide = insn_operand_size(in, 0) == 8;
	unsigned size = size_index(in->opsize);

	switch (in->id) {
	case INSN_ID_ROL: return rol_forms[mem][count_of(in)][size];
	case INSN_ID_ROR: return ror_forms[mem][count_of(in)][size];
	case INSN_ID_RCL: return rcl_forms[mem][count_of(in)][size];
	case INSN_ID_RCR: return rcr_forms[mem][count_of(in)][size];
	case INSN_ID_SHL: return shl_forms[mem][count_of(in)][size];
	case INSN_ID_SHR: return shr_forms[mem][count_of(in)][size];
	case INSN_ID_SAR: return sar_forms[mem][count_of(in)][size];
	case INSN_ID_SHLD: return shld_forms[mem][opcode_table[in->row].opnd[2].kind != OPND_I][size];
	case INSN_ID_SHRD: return shrd_forms[mem][opcode_table[in->row].opnd[2].kind != OPND_I][size];
	case INSN_ID_SHLX: return wide ? shlx_8 : shlx_4;
	case INSN_ID_SHRX: return wide ? shrx_8 : shrx_4;
	case INSN_ID_SARX: return wide ? sarx_8 : sarx_4;
	case INSN_ID_RORX: return wide ? rorx_8 : rorx_4;
	}
	return NULL;
}
