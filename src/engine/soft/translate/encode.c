// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest's instructions encoded anew for 64-bit mode, with other general registers and another
 * memory operand (SDM vol. 2, chapter 2).
 *
 * An instruction is written from its row of the opcode table, its operands, sizes and immediate; of the guest's bytes
 * nothing is needed. At first use the rows are boiled down to what encoding wants (struct row).
 *
 *  - Rows with the same opcode keep it. Other opcodes: the moffs forms of MOV become 88 to 8B; INC and DEC r
 *    (40 to 4F) become FF; 82 becomes 80; a row with the accumulator or a register in the opcode takes its
 *    ModRM form where the operand is another register than the accumulator, or was made memory.
 *  - Made memory: a caller that keeps a guest register in memory may set INSN_MEM in a copy of an instruction whose
 *    rm operand is a general register (so it stores 4 bytes where the register form cleared the upper half).
 *  - AH to BH are what the guest has there (an odd reg_off, rm_off) while the number is the guest's; another number
 *    stands for the low byte of that register.
 *  - Whether an instruction may run as it is, unprivileged and seeing what the host has, is for the caller to know. Not
 *    encoded are those that end a block, and those with a memory operand that no operand names (XLAT, MASKMOVQ).
 *
 * Invariant: nothing is written before everything is known to be encodable.
 */
#include "engine/soft/translate/modrm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* struct row.bits */
enum {
	ROW_OK = 1 << 0,
	ROW_MODRM = 1 << 1,
	ROW_PLUSR = 1 << 2,	/* rm is in the opcode */
	ROW_ACC = 1 << 3,	/* rm is the accumulator */
	ROW_ALT = 1 << 4,	/* it can be said with ModRM: alt_opcode, alt_ext */
	ROW_ALT_ONLY = 1 << 5,	/* and not otherwise */
	ROW_REG_GPR = 1 << 6,	/* modrm.reg: a general register, of 8 bits; a vector register */
	ROW_REG8 = 1 << 7,
	ROW_REG_VEC = 1 << 8,
	ROW_RM_GPR = 1 << 9,
	ROW_RM8 = 1 << 10,
	ROW_RM_VEC = 1 << 11,
	ROW_V_GPR = 1 << 12,	/* VEX.vvvv */
	ROW_V_VEC = 1 << 13,
	ROW_SIZED = 1 << 14,	/* the operand size shows: 66, REX.W */
	ROW_SIZED_W = 1 << 15,	/* only whether it is 8 */
	ROW_DEF64 = 1 << 16,	/* the operand size is 8 without W, and cannot be 4 */
	ROW_ONLY_8 = 1 << 17,	/* it is nothing but 8 */
	ROW_VEX = 1 << 18,
	ROW_IS4 = 1 << 19,
	ROW_NO_MEM = 1 << 20,	/* register form only, memory form only */
	ROW_NO_REG = 1 << 21,
	ROW_EVEX = 1 << 22,
};

enum { IMM_Z = 0xfe, IMM_V = 0xff }; /* struct row.imm, else bytes */

struct row {
	uint32_t bits;
	uint8_t map, pp, opcode, alt_opcode;
	int8_t ext, alt_ext; /* modrm.reg, or -1 */
	int8_t rm;	     /* modrm.rm, or -1 */
	uint8_t imm;
};

enum { ROWS_MAX = 3072 };
static struct row rows[ROWS_MAX];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_bool ready;

/* --- the rows --- */

static bool size_is_opsize(unsigned size)
{
	return size == SIZE_V || size == SIZE_Z || size == SIZE_2V || size == SIZE_FP || size == SIZE_FPENV;
}

/* What operand @o makes of the row; 0 for a kind that is not copied. */
static uint32_t operand_bits(const struct operand *o)
{
	uint32_t bits = ROW_OK;

	switch (o->kind) {
	case OPND_NONE: return ROW_OK;
	case OPND_E:
	case OPND_R: bits |= ROW_RM_GPR | (o->size == 1 ? ROW_RM8 : 0); break;
	case OPND_G: bits |= ROW_REG_GPR | (o->size == 1 ? ROW_REG8 : 0); break;
	case OPND_B: bits |= ROW_V_GPR; break;
	case OPND_KG:
	case OPND_V: bits |= ROW_REG_VEC; break;
	case OPND_KR:
	case OPND_KM:
	case OPND_W:
	case OPND_U: bits |= ROW_RM_VEC; break;
	case OPND_KH:
	case OPND_H: bits |= ROW_V_VEC; break;
	case OPND_L: bits |= ROW_IS4; break;
	case OPND_M:
	case OPND_I:
	case OPND_IMPLICIT:
	case OPND_P:
	case OPND_Q:
	case OPND_N:
	case OPND_ST0:
	case OPND_STI: break;
	default: return 0;
	}
	if (size_is_opsize(o->size))
		bits |= ROW_SIZED;
	if (o->size == SIZE_Y)
		bits |= ROW_SIZED_W;
	return bits;
}

static uint8_t immediate_form(const struct opcode *op)
{
	for (unsigned i = 0; i < 4; i++) {
		if (op->opnd[i].kind != OPND_I)
			continue;
		if (op->map == MAP_ONE && (op->opcode == 0xd0 || op->opcode == 0xd1))
			return 0; /* the count of 1 is not written */
		if (i + 1 < 4 && op->opnd[i + 1].kind == OPND_I)
			return 3; /* ENTER */
		switch (op->opnd[i].size) {
		case SIZE_Z: return IMM_Z;
		case SIZE_V: return IMM_V;
		default: return op->opnd[i].size;
		}
	}
	return 0;
}

/* The ModRM form of a row of map ONE that has none. */
static void alternative(const struct opcode *op, struct row *r)
{
	static const struct {
		uint8_t mask, opcode, alt;
		int8_t ext;
		uint32_t bits;
	} table[] = {
		{ 0xf8, 0x40, 0xff, 0, ROW_ALT_ONLY }, /* INC, DEC */
		{ 0xf8, 0x48, 0xff, 1, ROW_ALT_ONLY },
		{ 0xf8, 0x50, 0xff, 6, 0 }, /* PUSH, POP */
		{ 0xf8, 0x58, 0x8f, 0, 0 },
		{ 0xf8, 0x90, 0x87, RAX, 0 }, /* XCHG */
		{ 0xff, 0xa0, 0x8a, -1, ROW_ALT_ONLY }, /* MOV, moffs */
		{ 0xff, 0xa1, 0x8b, -1, ROW_ALT_ONLY },
		{ 0xff, 0xa2, 0x88, -1, ROW_ALT_ONLY },
		{ 0xff, 0xa3, 0x89, -1, ROW_ALT_ONLY },
		{ 0xff, 0xa8, 0xf6, 0, 0 }, /* TEST */
		{ 0xff, 0xa9, 0xf7, 0, 0 },
		{ 0xf8, 0xb0, 0xc6, 0, 0 }, /* MOV */
		{ 0xf8, 0xb8, 0xc7, 0, 0 },
	};

	if (op->map != MAP_ONE || !(op->attr & (OP_PLUSR | OP_ACC0 | OP_MOFFS)))
		return;
	if (op->opcode < 0x40 && (op->opcode & 6) == 4) { /* ADD to CMP */
		r->alt_opcode = op->opcode & 1 ? 0x81 : 0x80;
		r->alt_ext = (int8_t)(op->opcode >> 3);
		r->bits |= ROW_ALT;
	}
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if ((op->opcode & table[i].mask) != table[i].opcode)
			continue;
		r->alt_opcode = table[i].alt;
		r->alt_ext = table[i].ext;
		r->bits |= ROW_ALT | table[i].bits;
	}
}

static void build_row(const struct opcode *op, struct row *r)
{
	uint32_t bits = ROW_OK;

	*r = (struct row){ .map = op->map, .pp = op->pp, .opcode = op->opcode, .ext = op->ext,
			   .rm = op->mod == 3 ? op->rm : -1, .imm = immediate_form(op) };
	for (unsigned i = 0; i < 4; i++) {
		uint32_t more = operand_bits(&op->opnd[i]);

		if (!more)
			return;
		bits |= more;
	}
	if ((op->attr & OP_ENDS) || (op->implicit & (IMPL_RSI | IMPL_RDI)) || op->id == INSN_ID_XLAT)
		return;
	bits |= (op->attr & OP_MODRM ? ROW_MODRM : 0) | (op->attr & OP_PLUSR ? ROW_PLUSR : 0) |
		(op->attr & OP_ACC0 ? ROW_ACC : 0) | (op->attr & OP_DEF64 ? ROW_DEF64 | ROW_SIZED : 0) |
		(op->attr & (OP_FORCE64 | OP_NATSIZE) ? ROW_DEF64 | ROW_ONLY_8 : 0) | (op->attr & OP_VEX ? ROW_VEX : 0) | (op->evex ? ROW_EVEX : 0) |
		(op->mod >= 2 ? ROW_NO_MEM : op->mod == 1 ? ROW_NO_REG : 0);
	if (op->id == INSN_ID_CBW || op->id == INSN_ID_CWD)
		bits |= ROW_SIZED;
	r->bits = bits;
	alternative(op, r);
	if (op->attr & OP_NO64) {
		if (op->map == MAP_ONE && op->opcode == 0x82)
			r->opcode = 0x80;
		else if (!(r->bits & ROW_ALT_ONLY))
			r->bits = 0;
	}
}

static void build(void)
{
	if (opcode_count > ROWS_MAX)
		abort();
	for (unsigned i = 0; i < opcode_count; i++)
		build_row(&opcode_table[i], &rows[i]);
	atomic_store_explicit(&ready, true, memory_order_release);
}

static inline const struct row *row_of(const struct insn *in)
{
	if (__builtin_expect(!atomic_load_explicit(&ready, memory_order_acquire), 0))
		pthread_once(&once, build);
	return &rows[in->row];
}

/* --- one instruction --- */

/* An instruction about to be written. */
struct parts {
	uint8_t opcode, reg, rm, vvvv;
	uint8_t rex; /* ENC_W, R, X, B; ENC_REX: a REX prefix is needed without any of them, too */
	uint8_t imm; /* bytes */
	bool modrm, mem;
};

/* Opcode and form: as the row has it, or its alternative. */
static bool choose_form(const struct row *r, const struct insn *in, const struct encode *e, struct parts *x)
{
	unsigned z = in->opsize == 2 ? 2 : 4;
	bool alt = r->bits & ROW_ALT_ONLY;

	x->mem = in->flags & INSN_MEM;
	x->modrm = r->bits & ROW_MODRM;
	x->opcode = r->opcode;
	x->reg = (uint8_t)(r->ext >= 0 ? r->ext : r->bits & ROW_REG_GPR ? e->reg : r->bits & ROW_REG_VEC ? in->reg : in->reg & 7);
	x->rm = (uint8_t)(r->rm >= 0 ? r->rm : r->bits & ROW_RM_GPR ? e->rm : r->bits & ROW_RM_VEC ? in->rm : in->rm & 7);
	x->vvvv = r->bits & ROW_V_GPR ? e->vvvv : r->bits & ROW_V_VEC ? in->vvvv : 0;
	x->imm = r->imm == IMM_Z ? (uint8_t)z : r->imm == IMM_V ? in->opsize : r->imm;
	if (r->bits & (x->mem ? ROW_NO_MEM : ROW_NO_REG))
		return false;
	if (x->modrm)
		return true;
	/* 90 with a register 0 would be NOP. */
	alt |= x->mem || ((r->bits & ROW_ACC) && x->rm != RAX) || ((r->bits & ROW_PLUSR) && r->opcode == 0x90 && x->rm == RAX);
	if (!alt)
		return true;
	if (!(r->bits & ROW_ALT))
		return false;
	x->modrm = true;
	x->opcode = r->alt_opcode;
	if (r->alt_ext >= 0)
		x->reg = (uint8_t)r->alt_ext;
	if (r->imm == IMM_V && in->opsize == 8) {
		if (in->imm != (uint64_t)(int32_t)in->imm)
			return false;
		x->imm = 4;
	}
	return true;
}

/* Operand size and W. */
static bool choose_size(const struct row *r, const struct insn *in, struct parts *x)
{
	if ((r->bits & ROW_DEF64) && (r->bits & ROW_ONLY_8 ? in->opsize != 8 : in->opsize == 4))
		return false;
	if (r->bits & (ROW_SIZED | ROW_SIZED_W | ROW_DEF64))
		x->rex = in->opsize == 8 && !(r->bits & ROW_DEF64) ? ENC_W : 0;
	else
		x->rex = in->flags & INSN_W ? ENC_W : 0;
	return true;
}

/* A byte register: 1 AH to BH, which takes no REX; ENC_REX SPL to DIL, which needs one; 0 any other. */
static unsigned byte_register(unsigned number, unsigned guest, unsigned offset)
{
	if (number == guest && (offset & 1))
		return 1;
	return number >= 4 && number < 8 ? ENC_REX : 0;
}

static bool choose_rex(const struct row *r, const struct insn *in, const struct encode *e, struct parts *x)
{
	unsigned bytes = 0;

	if (x->modrm && x->reg >= 8)
		x->rex |= ENC_R;
	if (x->mem)
		x->rex |= (uint8_t)mem_rex(e->mem);
	else if (x->rm >= 8)
		x->rex |= ENC_B;
	if (r->bits & ROW_REG8)
		bytes |= byte_register(x->reg, in->reg, in->reg_off);
	if ((r->bits & ROW_RM8) && !x->mem)
		bytes |= byte_register(x->rm, in->rm, in->rm_off);
	x->rex |= bytes & ENC_REX;
	return !(bytes & 1) || !x->rex;
}

static uint8_t *put_legacy(uint8_t *p, const struct row *r, const struct insn *in, const struct parts *x)
{
	if (in->flags & INSN_LOCK)
		*p++ = 0xf0;
	if (r->pp == PP_66 || ((r->bits & ROW_SIZED) && in->opsize == 2))
		*p++ = 0x66;
	if (r->pp == PP_F3 || r->pp == PP_F2)
		*p++ = r->pp == PP_F3 ? 0xf3 : 0xf2;
	if (x->rex)
		*p++ = ENC_REX | x->rex;
	if (r->map != MAP_ONE)
		*p++ = 0x0f;
	if (r->map == MAP_0F38 || r->map == MAP_0F3A)
		*p++ = r->map == MAP_0F38 ? 0x38 : 0x3a;
	*p++ = (uint8_t)(x->opcode | (x->modrm || !(r->bits & ROW_PLUSR) ? 0 : x->rm & 7));
	return p;
}

static uint8_t *put_vex(uint8_t *p, const struct row *r, const struct insn *in, const struct parts *x)
{
	static const uint8_t pp[] = { [PP_NONE] = 0, [PP_66] = 1, [PP_F3] = 2, [PP_F2] = 3 };
	unsigned last = (~(unsigned)x->vvvv & 0xf) << 3 | (in->flags & INSN_L ? 4u : 0) | (r->pp < sizeof(pp) ? pp[r->pp] : 0);
	unsigned rxb = ~(unsigned)x->rex << 5 & 0xe0;

	if (r->map == MAP_0F && !(x->rex & (ENC_W | ENC_X | ENC_B))) {
		*p++ = 0xc5;
		*p++ = (uint8_t)((rxb & 0x80) | last);
	} else {
		*p++ = 0xc4;
		*p++ = (uint8_t)(rxb | r->map);
		*p++ = (uint8_t)((x->rex & ENC_W ? 0x80 : 0) | last);
	}
	*p++ = x->opcode;
	return p;
}

/* SDM vol. 2, 2.7.1 */
static uint8_t *put_evex(uint8_t *p, const struct row *r, const struct insn *in, const struct parts *x)
{
	static const uint8_t pp[] = { [PP_NONE] = 0, [PP_66] = 1, [PP_F3] = 2, [PP_F2] = 3 };
	bool b = x->mem ? x->rex & ENC_B : x->rm & 8, wide_x = x->mem ? x->rex & ENC_X : x->rm & 16;

	*p++ = 0x62;
	*p++ = (uint8_t)((x->reg & 8 ? 0 : 0x80) | (wide_x ? 0 : 0x40) | (b ? 0 : 0x20) | (x->reg & 16 ? 0 : 0x10) | r->map);
	*p++ = (uint8_t)((x->rex & ENC_W ? 0x80 : 0) | (~(unsigned)x->vvvv & 0xf) << 3 | 4 | pp[r->pp & 3]);
	*p++ = (uint8_t)((in->flags & INSN_Z ? 0x80 : 0) | (in->flags & INSN_L2 ? 0x40 : 0) | (in->flags & INSN_L ? 0x20 : 0) |
			 (in->flags & INSN_B ? 0x10 : 0) | (x->vvvv & 16 ? 0 : 8) | in->aaa);
	*p++ = x->opcode;
	return p;
}

struct encode encode_same(const struct insn *in)
{
	return (struct encode){ .reg = in->reg, .rm = in->rm, .vvvv = in->vvvv,
				.mem = { .base = HOST_NONE, .index = HOST_NONE } };
}

bool encode_insn(struct code *c, const struct insn *in, const struct encode *e)
{
	const struct row *r = row_of(in);
	uint8_t tmp[ROOM], *start = insn_begin(c, tmp), *p = start;
	struct parts x;

	if (!(r->bits & ROW_OK) || !choose_form(r, in, e, &x) || !choose_size(r, in, &x) || !choose_rex(r, in, e, &x))
		return false;
	if (x.mem && e->mem.gs)
		*p++ = 0x65;
	p = r->bits & ROW_EVEX ? put_evex(p, r, in, &x) : r->bits & ROW_VEX ? put_vex(p, r, in, &x) : put_legacy(p, r, in, &x);
	if (x.mem)
		p = put_modrm_mem(p, x.reg, e->mem, r->bits & ROW_EVEX);
	else if (x.modrm)
		p = put_modrm_reg(p, x.reg, x.rm);
	if (r->bits & ROW_IS4) {
		*p++ = (uint8_t)((unsigned)in->is4 << 4 | (in->imm & 0xf));
	} else if (x.imm) {
		memcpy(p, &in->imm, x.imm);
		p += x.imm;
	}
	insn_end(c, start, p);
	return true;
}
