// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Moves, addition, logic, comparison: the instructions that most programs consist of (SDM vol. 2).
 *
 * Each operation has one handler for each operand form and size, made by macros from one list, so
 * that a handler tests nothing that is known when the instruction is decoded.
 *
 * Forms are named destination first: e is a register in modrm.rm (or the accumulator), g the
 * register in modrm.reg, m memory in modrm.rm, i an immediate.
 */
#include "engine/soft/interp/alu.h"

enum form { FORM_EG, FORM_GE, FORM_EI, FORM_MG, FORM_GM, FORM_MI, FORM_COUNT };

static enum form form_of(const struct insn *in)
{
	const struct operand *o = opcode_table[in->row].opnd;
	bool mem = in->flags & INSN_MEM;

	if (o[0].kind == OPND_G)
		return mem ? FORM_GM : FORM_GE;
	if (o[1].kind == OPND_I)
		return mem ? FORM_MI : FORM_EI;
	return mem ? FORM_MG : FORM_EG;
}

/* --- two operands: ADD OR ADC SBB AND SUB XOR, and CMP TEST which store nothing --- */

#define REG_FORM(name, form, n, dst, src, put)                                                     \
	static void name##_##form##_##n(struct cpu *c, const struct insn *in)                      \
	{                                                                                          \
		UINT(n) d = (UINT(n))gpr_get(c, dst, n);                                           \
                                                                                                   \
		d = alu_##name##_##n(d, (UINT(n))(src), &c->flags);                                \
		put(gpr_put(c, dst, n, d));                                                        \
	}

#define LOAD_FORM(name, n, put)                                                                    \
	static void name##_gm_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		UINT(n) s = (UINT(n))mem_load(c, in, n);                                           \
		UINT(n) d = (UINT(n))gpr_get(c, in->reg_off, n);                                   \
                                                                                                   \
		d = alu_##name##_##n(d, s, &c->flags);                                             \
		put(gpr_put(c, in->reg_off, n, d));                                                \
	}

#define RMW_FORM(name, form, n, src)                                                               \
	static void name##_##form##_##n(struct cpu *c, const struct insn *in)                      \
	{                                                                                          \
		uint64_t lin = mem_linear(c, in, n, MMU_WRITE);                                    \
		UINT(n) s = (UINT(n))(src);                                                        \
                                                                                                   \
		RMW(c, in, lin, n, d, f, d = alu_##name##_##n(d, s, &f));                          \
	}

#define TEST_FORM(name, form, n, src)                                                              \
	static void name##_##form##_##n(struct cpu *c, const struct insn *in)                      \
	{                                                                                          \
		UINT(n) d = (UINT(n))mem_load(c, in, n);                                           \
                                                                                                   \
		(void)alu_##name##_##n(d, (UINT(n))(src), &c->flags);                              \
	}

#define PUT(x) x
#define DROP(x) (void)d

#define BINARY(name, n)                                                                            \
	REG_FORM(name, eg, n, in->rm_off, gpr_get(c, in->reg_off, n), PUT)                         \
	REG_FORM(name, ge, n, in->reg_off, gpr_get(c, in->rm_off, n), PUT)                         \
	REG_FORM(name, ei, n, in->rm_off, in->imm, PUT)                                            \
	RMW_FORM(name, mg, n, gpr_get(c, in->reg_off, n))                                          \
	LOAD_FORM(name, n, PUT)                                                                    \
	RMW_FORM(name, mi, n, in->imm)

#define COMPARE(name, n)                                                                           \
	REG_FORM(name, eg, n, in->rm_off, gpr_get(c, in->reg_off, n), DROP)                        \
	REG_FORM(name, ge, n, in->reg_off, gpr_get(c, in->rm_off, n), DROP)                        \
	REG_FORM(name, ei, n, in->rm_off, in->imm, DROP)                                           \
	TEST_FORM(name, mg, n, gpr_get(c, in->reg_off, n))                                         \
	LOAD_FORM(name, n, DROP)                                                                   \
	TEST_FORM(name, mi, n, in->imm)

#define BY_SIZE(name, form) { name##_##form##_1, name##_##form##_2, name##_##form##_4, name##_##form##_8 }

#define FORMS(name)                                                                                \
	static insn_fn *const name##_forms[FORM_COUNT][4] = {                                      \
		[FORM_EG] = BY_SIZE(name, eg), [FORM_GE] = BY_SIZE(name, ge),                      \
		[FORM_EI] = BY_SIZE(name, ei), [FORM_MG] = BY_SIZE(name, mg),                      \
		[FORM_GM] = BY_SIZE(name, gm), [FORM_MI] = BY_SIZE(name, mi),                      \
	};

#define DEFINE_BINARY(name) ALU_SIZES(BINARY, name) FORMS(name)
#define DEFINE_COMPARE(name) ALU_SIZES(COMPARE, name) FORMS(name)

DEFINE_BINARY(add)
DEFINE_BINARY(or)
DEFINE_BINARY(adc)
DEFINE_BINARY(sbb)
DEFINE_BINARY(and)
DEFINE_BINARY(sub)
DEFINE_BINARY(xor)
DEFINE_COMPARE(cmp)
DEFINE_COMPARE(test)

/* --- one operand: INC DEC NEG NOT --- */

#define UNARY(name, n)                                                                             \
	static void name##_e_##n(struct cpu *c, const struct insn *in)                             \
	{                                                                                          \
		UINT(n) d = (UINT(n))gpr_get(c, in->rm_off, n);                                    \
                                                                                                   \
		gpr_put(c, in->rm_off, n, alu_##name##_##n(d, 0, &c->flags));                      \
	}                                                                                          \
	static void name##_m_##n(struct cpu *c, const struct insn *in)                             \
	{                                                                                          \
		uint64_t lin = mem_linear(c, in, n, MMU_WRITE);                                    \
                                                                                                   \
		RMW(c, in, lin, n, d, f, d = alu_##name##_##n(d, 0, &f));                          \
	}

#define DEFINE_UNARY(name)                                                                         \
	ALU_SIZES(UNARY, name)                                                                     \
	static insn_fn *const name##_forms[2][4] = { BY_SIZE(name, e), BY_SIZE(name, m) };

DEFINE_UNARY(inc)
DEFINE_UNARY(dec)
DEFINE_UNARY(neg)
DEFINE_UNARY(not)

/* --- MOV --- */

#define MOV(name, n)                                                                               \
	static void name##_eg_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		gpr_put(c, in->rm_off, n, gpr_get(c, in->reg_off, n));                             \
	}                                                                                          \
	static void name##_ge_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		gpr_put(c, in->reg_off, n, gpr_get(c, in->rm_off, n));                             \
	}                                                                                          \
	static void name##_ei_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		gpr_put(c, in->rm_off, n, in->imm);                                                \
	}                                                                                          \
	static void name##_mg_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		mmu_store(c, in->seg, mem_linear(c, in, n, MMU_WRITE), n, gpr_get(c, in->reg_off, n)); \
	}                                                                                          \
	static void name##_gm_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		gpr_put(c, in->reg_off, n, mem_load(c, in, n));                                    \
	}                                                                                          \
	static void name##_mi_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		mmu_store(c, in->seg, mem_linear(c, in, n, MMU_WRITE), n, in->imm);                \
	}                                                                                          \
	static void name##_load_moffs_##n(struct cpu *c, const struct insn *in)                    \
	{                                                                                          \
		uint64_t lin = insn_linear(c, in, n, MMU_READ);                                    \
                                                                                                   \
		gpr_put(c, 0, n, mmu_load(c, in->seg, lin, n));                                    \
	}                                                                                          \
	static void name##_store_moffs_##n(struct cpu *c, const struct insn *in)                   \
	{                                                                                          \
		uint64_t lin = insn_linear(c, in, n, MMU_WRITE);                                   \
                                                                                                   \
		mmu_store(c, in->seg, lin, n, gpr_get(c, 0, n));                                   \
	}

ALU_SIZES(MOV, mov)
FORMS(mov)
static insn_fn *const mov_moffs[2][4] = { BY_SIZE(mov, load_moffs), BY_SIZE(mov, store_moffs) };

/* In 64-bit mode with 64-bit addresses: what insn_ea and linear would find out each time. */
#define MOV64(name, n)                                                                             \
	static void name##_mg_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		mmu_store(c, in->seg, ea64(c, in), n, gpr_get(c, in->reg_off, n));                 \
	}                                                                                          \
	static void name##_gm_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		gpr_put(c, in->reg_off, n, mmu_load(c, in->seg, ea64(c, in), n));                  \
	}

static inline __attribute__((always_inline)) uint64_t ea64(const struct cpu *c, const struct insn *in)
{
	return c->gpr[in->base] + (c->gpr[in->index] << in->scale) + (uint64_t)(int64_t)in->disp +
	       c->segbase[in->seg];
}

ALU_SIZES(MOV64, mov64)
static insn_fn *const mov64_load[4] = BY_SIZE(mov64, gm), *const mov64_store[4] = BY_SIZE(mov64, mg);

static insn_fn *bind_mov(const struct insn *in, bool fast)
{
	unsigned size = size_index(in->opsize);
	enum form form;

	if (in->flags & INSN_MOFFS) /* A0, A1: load; A2, A3: store */
		return mov_moffs[opcode_table[in->row].opcode >> 1 & 1][size];
	form = form_of(in);
	if (fast && form == FORM_GM)
		return mov64_load[size];
	if (fast && form == FORM_MG)
		return mov64_store[size];
	return mov_forms[form][size];
}

/* --- LEA --- */

static void lea_8(struct cpu *c, const struct insn *in)
{
	c->gpr[in->reg] = c->gpr[in->base] + (c->gpr[in->index] << in->scale) + (uint64_t)(int64_t)in->disp;
}

static void lea_any(struct cpu *c, const struct insn *in)
{
	gpr_put(c, in->reg_off, in->opsize, insn_ea(c, in));
}

/* --- extension: MOVZX MOVSX MOVSXD CBW CWDE CDQE CWD CDQ CQO --- */

#define EXTEND(name, type, from, to)                                                               \
	static void name##_ge_##from##_##to(struct cpu *c, const struct insn *in)                  \
	{                                                                                          \
		gpr_put(c, in->reg_off, to, (uint64_t)(type)gpr_get(c, in->rm_off, from));         \
	}                                                                                          \
	static void name##_gm_##from##_##to(struct cpu *c, const struct insn *in)                  \
	{                                                                                          \
		gpr_put(c, in->reg_off, to, (uint64_t)(type)mem_load(c, in, from));                \
	}

EXTEND(zx, uint8_t, 1, 2)
EXTEND(zx, uint8_t, 1, 4)
EXTEND(zx, uint8_t, 1, 8)
EXTEND(zx, uint16_t, 2, 2)
EXTEND(zx, uint16_t, 2, 4)
EXTEND(zx, uint16_t, 2, 8)
EXTEND(sx, int8_t, 1, 2)
EXTEND(sx, int8_t, 1, 4)
EXTEND(sx, int8_t, 1, 8)
EXTEND(sx, int16_t, 2, 2)
EXTEND(sx, int16_t, 2, 4)
EXTEND(sx, int16_t, 2, 8)
EXTEND(sx, int32_t, 4, 2)
EXTEND(sx, int32_t, 4, 4)
EXTEND(sx, int32_t, 4, 8)

static insn_fn *bind_extend(const struct insn *in, bool sign)
{
#define TO(name, k, from) { name##_##k##_##from##_2, name##_##k##_##from##_4, name##_##k##_##from##_8 }
	static insn_fn *const zx[2][2][3] = {
		{ TO(zx, ge, 1), TO(zx, ge, 2) }, { TO(zx, gm, 1), TO(zx, gm, 2) },
	};
	static insn_fn *const sx[2][3][3] = {
		{ TO(sx, ge, 1), TO(sx, ge, 2), TO(sx, ge, 4) }, { TO(sx, gm, 1), TO(sx, gm, 2), TO(sx, gm, 4) },
	};
#undef TO
	unsigned from = size_index(insn_operand_size(in, 1)), to = size_index(in->opsize);
	bool mem = in->flags & INSN_MEM;

	if (!to || from > 2 || (!sign && from > 1))
		return NULL;
	return sign ? sx[mem][from][to - 1] : zx[mem][from][to - 1];
}

static void cbw(struct cpu *c, const struct insn *in)
{
	gpr_put(c, 0, 2, (uint64_t)(int8_t)c->gpr[RAX]);
}

static void cwde(struct cpu *c, const struct insn *in)
{
	c->gpr[RAX] = (uint32_t)(int16_t)c->gpr[RAX];
}

static void cdqe(struct cpu *c, const struct insn *in)
{
	c->gpr[RAX] = (uint64_t)(int32_t)c->gpr[RAX];
}

static void cwd(struct cpu *c, const struct insn *in)
{
	gpr_put(c, RDX * 8, 2, (uint64_t)((int16_t)c->gpr[RAX] >> 15));
}

static void cdq(struct cpu *c, const struct insn *in)
{
	c->gpr[RDX] = (uint32_t)((int32_t)c->gpr[RAX] >> 31);
}

static void cqo(struct cpu *c, const struct insn *in)
{
	c->gpr[RDX] = (uint64_t)((int64_t)c->gpr[RAX] >> 63);
}

/* --- XLAT --- */

static void xlat(struct cpu *c, const struct insn *in)
{
	uint64_t ea = c->gpr[RBX] + (uint8_t)c->gpr[RAX];

	if (in->addrsize != 8)
		ea = in->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
	gpr_put(c, 0, 1, mmu_load(c, in->seg, linear(c, in->seg, ea, 1, MMU_READ), 1));
}

/* --- binding --- */

#define UNARY_OF(name) return name##_forms[mem][size]
#define BINARY_OF(name) return name##_forms[form_of(in)][size]

insn_fn *bind_integer(struct cpu *c, const struct insn *in)
{
	unsigned size = size_index(in->opsize);
	bool mem = in->flags & INSN_MEM;
	bool fast = c->mode == INSN_MODE64 && in->addrsize == 8;
	insn_fn *fn;

	switch (in->id) {
	case INSN_ID_ADD: BINARY_OF(add);
	case INSN_ID_OR: BINARY_OF(or);
	case INSN_ID_ADC: BINARY_OF(adc);
	case INSN_ID_SBB: BINARY_OF(sbb);
	case INSN_ID_AND: BINARY_OF(and);
	case INSN_ID_SUB: BINARY_OF(sub);
	case INSN_ID_XOR: BINARY_OF(xor);
	case INSN_ID_CMP: BINARY_OF(cmp);
	case INSN_ID_TEST: BINARY_OF(test);
	case INSN_ID_INC: UNARY_OF(inc);
	case INSN_ID_DEC: UNARY_OF(dec);
	case INSN_ID_NEG: UNARY_OF(neg);
	case INSN_ID_NOT: UNARY_OF(not);
	case INSN_ID_MOV: return bind_mov(in, fast);
	case INSN_ID_LEA: return fast && in->opsize == 8 ? lea_8 : lea_any;
	case INSN_ID_MOVZX: return bind_extend(in, false);
	case INSN_ID_MOVSX:
	case INSN_ID_MOVSXD: return bind_extend(in, true);
	case INSN_ID_CBW: return in->opsize == 2 ? cbw : in->opsize == 4 ? cwde : cdqe;
	case INSN_ID_CWD: return in->opsize == 2 ? cwd : in->opsize == 4 ? cdq : cqo;
	case INSN_ID_XLAT: return xlat;
	}
	fn = bind_shift(c, in);
	return fn ? fn : bind_muldiv(c, in);
}
