// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The instruction decoder (SDM vol. 2, chapter 2 and appendix A), driven by opcode_table.
 *
 * At first use the rows are spread into one lookup table: encoding (legacy map, VEX map), opcode
 * byte and mandatory prefix give a short list of candidate rows, or, where ModRM selects, sixteen
 * lists by modrm.reg and register or memory form. The first row of a list whose W, L, vvvv, mode
 * and modrm.rm conditions hold is the instruction.
 *
 * Invariants: no byte at or behind @avail is read; running out of bytes gives DECODE_MORE only
 * while fewer than 15 were there; on every failure @in is unspecified.
 */
#include "engine/soft/decode/insn.h"
#include "engine/vcpu_state.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* How the immediate is encoded */
enum imm_form { IMM_NONE, IMM_8, IMM_8S, IMM_16, IMM_Z, IMM_V, IMM_J8, IMM_JZ, IMM_FAR, IMM_MOFFS, IMM_16_8, IMM_ONE };

/* struct row_info.bits */
enum {
	ROW_E8 = 1 << 0,     /* the rm operand is a byte register */
	ROW_G8 = 1 << 1,     /* the reg operand is a byte register */
	ROW_REG7 = 1 << 2,   /* modrm.reg names one of eight: REX.R is ignored */
	ROW_RM7 = 1 << 3,    /* the same for modrm.rm */
	ROW_Y = 1 << 4,	     /* W matters in 64-bit mode only */
	ROW_IS4 = 1 << 5,
	ROW_VSIB = 1 << 6,
	ROW_ALWAYS_REG = 1 << 7, /* modrm.mod is ignored: a register */
	ROW_SREG = 1 << 8,   /* modrm.reg must be a segment register */
	ROW_CRDR = 1 << 9,   /* modrm.reg must be a control or debug register that exists */
	ROW_NO_REXB = 1 << 10, /* not with REX.B (NOP, PAUSE) */
	ROW_REG_K = 1 << 11, /* modrm.reg names one of eight opmasks */
	ROW_RM_K = 1 << 12,  /* modrm.rm does, in register form */
	ROW_V_K = 1 << 13,   /* VEX.vvvv does */
	ROW_WRITES_MEM = 1 << 14, /* EVEX: a memory operand is written */
	ROW_G = 1 << 16, /* modrm.reg names a general register */
	ROW_RM_VEC = 1 << 15, /* modrm.rm names a vector register */
};

/* What decoding needs of a row, close together. */
struct row_info {
	uint32_t attr;
	uint32_t bits;
	uint16_t id, evex;
	uint8_t imm;
	int8_t rm;
};

enum { ENCODINGS = 12, LISTS_MAX = 1 << 15, GROUPS_MAX = 1024, ROWS_MAX = 3072 };
#define SLOT_GROUP   0x8000u
#define LIST_END     0xffffu
#define REX_B	     1u
#define REX_X	     2u
#define REX_R	     4u
#define REX_W	     8u
#define EVEX_R	     0x10u /* the fifth bit of modrm.reg */

static struct row_info info[ROWS_MAX];
/* By encoding (map + 4 with VEX, + 8 with EVEX), opcode, prefix: 0, the start of a list, or SLOT_GROUP | group. */
static uint16_t slot[ENCODINGS][256][4];
static uint16_t group[GROUPS_MAX][16]; /* starts of lists, by 8 * (mod == 3) + reg */
static uint16_t lists[LISTS_MAX];
static uint8_t has_modrm[ENCODINGS][256];
static unsigned list_count = 1, group_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_bool ready;

/* --- building the tables --- */

static uint8_t imm_form_of(const struct opcode *op)
{
	if (op->attr & OP_MOFFS)
		return IMM_MOFFS;
	for (unsigned i = 0; i < 4; i++) {
		const struct operand *o = &op->opnd[i];

		switch (o->kind) {
		case OPND_I:
			if (op->map == MAP_ONE && (op->opcode == 0xd0 || op->opcode == 0xd1) && !(op->attr & OP_VEX))
				return IMM_ONE;
			if (i + 1 < 4 && op->opnd[i + 1].kind == OPND_I)
				return IMM_16_8;
			switch (o->size) {
			case 1: return o->access & ACCESS_SX ? IMM_8S : IMM_8;
			case 2: return IMM_16;
			case SIZE_Z: return IMM_Z;
			default: return IMM_V;
			}
		case OPND_J: return o->size == 1 ? IMM_J8 : IMM_JZ;
		case OPND_FAR: return IMM_FAR;
		case OPND_L: return IMM_8;
		default: break;
		}
	}
	return IMM_NONE;
}

static uint32_t row_bits_of(const struct opcode *op)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < 4; i++) {
		const struct operand *o = &op->opnd[i];

		if (o->size == SIZE_Y)
			bits |= ROW_Y;
		switch (o->kind) {
		case OPND_E:
		case OPND_R: bits |= o->size == 1 ? ROW_E8 : 0; break;
		case OPND_G: bits |= ROW_G | (o->size == 1 ? ROW_G8 : 0); break;
		case OPND_P: bits |= ROW_REG7; break;
		case OPND_S: bits |= ROW_REG7 | (op->attr & OP_MODRM ? ROW_SREG : 0); break;
		case OPND_Q:
		case OPND_N:
		case OPND_STI: bits |= ROW_RM7; break;
		case OPND_L: bits |= ROW_IS4; break;
		case OPND_VM: bits |= ROW_VSIB; break;
		case OPND_W:
		case OPND_U: bits |= ROW_RM_VEC; break;
		case OPND_KG: bits |= ROW_REG_K; break;
		case OPND_KR:
		case OPND_KM: bits |= ROW_RM_K; break;
		case OPND_KH: bits |= ROW_V_K; break;
		case OPND_C:
		case OPND_D: bits |= ROW_ALWAYS_REG | ROW_CRDR; break;
		default: break;
		}
	}
	if (op->evex && (op->opnd[0].kind == OPND_W || op->opnd[0].kind == OPND_VM))
		bits |= ROW_WRITES_MEM;
	if (op->map == MAP_ONE && op->opcode == 0x90 && (op->id == INSN_ID_NOP || op->id == INSN_ID_PAUSE))
		bits |= ROW_NO_REXB;
	return bits;
}

/* Does @op take part for the mandatory prefix @pp, and how well does it fit: 2 exactly, 1 by ANY or NF, 0 not. */
static unsigned fits_pp(const struct opcode *op, unsigned pp)
{
	if (op->pp == pp)
		return 2;
	if (op->pp == PP_ANY || (op->pp == PP_NF && (pp == PP_NONE || pp == PP_66)))
		return 1;
	return 0;
}

static bool fits_opcode(const struct opcode *op, unsigned enc, unsigned byte)
{
	if ((op->evex ? 8u : op->attr & OP_VEX ? 4u : 0u) + op->map != enc)
		return false;
	if (op->attr & OP_PLUSR)
		return (byte & ~7u) == op->opcode;
	return byte == op->opcode;
}

static bool fits_modrm(const struct opcode *op, unsigned reg, bool is_reg)
{
	if (op->ext >= 0 && (unsigned)op->ext != reg)
		return false;
	switch (op->mod) {
	case 1: return !is_reg;
	case 2:
	case 3: return is_reg;
	default: return true;
	}
}

/* Collects candidate rows in the order in which they are tried; returns the list's start or 0. */
static uint16_t make_list(const uint16_t *cand, unsigned n, unsigned pp, unsigned reg, bool is_reg, bool by_modrm)
{
	unsigned start = list_count;

	/* exact prefix first; then NOP at 90, whose condition is narrower than XCHG's */
	for (unsigned pass = 0; pass < 4; pass++) {
		for (unsigned i = 0; i < n; i++) {
			const struct opcode *op = &opcode_table[cand[i]];
			bool narrow = (info[cand[i]].bits & ROW_NO_REXB) || op->rm >= 0;

			if (fits_pp(op, pp) != (pass < 2 ? 2 : 1) || narrow != !(pass & 1))
				continue;
			if (by_modrm && !fits_modrm(op, reg, is_reg))
				continue;
			if (list_count + 2 >= LISTS_MAX)
				abort();
			lists[list_count++] = cand[i];
		}
	}
	if (list_count == start)
		return 0;
	lists[list_count++] = LIST_END;
	return (uint16_t)start;
}

static void build(void)
{
	if (opcode_count > ROWS_MAX)
		abort();
	for (unsigned r = 0; r < opcode_count; r++) {
		const struct opcode *op = &opcode_table[r];

		info[r] = (struct row_info){ .attr = op->attr,
					     .id = op->id,
					     .bits = row_bits_of(op),
					     .evex = op->evex,
					     .imm = imm_form_of(op),
					     .rm = op->mod == 3 ? op->rm : -1 };
	}
	for (unsigned enc = 0; enc < ENCODINGS; enc++) {
		for (unsigned byte = 0; byte < 256; byte++) {
			uint16_t cand[64];
			unsigned n = 0;
			bool by_modrm = false;

			for (unsigned r = 0; r < opcode_count; r++) {
				const struct opcode *op = &opcode_table[r];

				if (!fits_opcode(op, enc, byte))
					continue;
				if (n == 64)
					abort();
				cand[n++] = (uint16_t)r;
				has_modrm[enc][byte] |= (op->attr & OP_MODRM) != 0;
				by_modrm |= op->ext >= 0 || op->mod != 0;
			}
			for (unsigned pp = 0; pp < 4 && n; pp++) {
				if (!by_modrm) {
					slot[enc][byte][pp] = make_list(cand, n, pp, 0, false, false);
					continue;
				}
				if (group_count == GROUPS_MAX)
					abort();
				unsigned any = 0;

				for (unsigned i = 0; i < 16; i++)
					any |= group[group_count][i] = make_list(cand, n, pp, i & 7, i >= 8, true);
				if (any)
					slot[enc][byte][pp] = (uint16_t)(SLOT_GROUP | group_count++);
			}
		}
	}
	atomic_store_explicit(&ready, true, memory_order_release);
}

/* --- decoding --- */

/* Prefixes and position while an instruction is being decoded. */
struct dec {
	const uint8_t *p;
	size_t avail;
	unsigned pos;
	enum insn_mode mode;
	bool opsize, addrsize, lock;
	uint8_t rep;	/* 0xf2, 0xf3 or 0: the last one */
	uint8_t seg;	/* override, or SEG_COUNT */
	uint8_t rex;	/* REX_* bits, from REX or VEX */
	bool has_rex, vex, l;
	bool evex, z, b; /* EVEX.z, EVEX.b */
	uint8_t ll, aaa; /* EVEX.L'L, EVEX.aaa */
	uint8_t vvvv;	/* as a number, 0 when absent */
	bool novvvv;	/* the field is 1111b, or there is none */
	uint8_t pp, enc, opcode;
	uint8_t modrm;
};

/* 0 if @n more bytes can be read, else DECODE_*. */
static inline int need(const struct dec *d, unsigned n)
{
	if (__builtin_expect(d->pos + n <= d->avail, 1))
		return 0;
	return d->avail >= INSN_BYTES_MAX ? DECODE_LONG : DECODE_MORE;
}

static inline uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

static inline uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static inline uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

/* Legacy prefixes and REX; leaves d->opcode as the first opcode byte. */
static int prefixes(struct dec *d)
{
	for (;;) {
		uint8_t b;
		int err = need(d, 1);

		if (err)
			return err;
		b = d->p[d->pos++];
		switch (b) {
		case 0x66: d->opsize = true; break;
		case 0x67: d->addrsize = true; break;
		case 0xf0: d->lock = true; break;
		case 0xf2:
		case 0xf3: d->rep = b; break;
		/* CS, SS, DS, ES mean nothing in 64-bit mode, and leave an FS or GS before them alone */
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
			if (d->mode != INSN_MODE64)
				d->seg = (b >> 3) & 3;
			break;
		case 0x64: d->seg = SEG_FS; break;
		case 0x65: d->seg = SEG_GS; break;
		default:
			if (d->mode == INSN_MODE64 && (b & 0xf0) == 0x40) {
				d->rex = b & 0xf;
				d->has_rex = true;
				continue; /* only counts if the opcode follows */
			}
			d->opcode = b;
			return 0;
		}
		d->rex = 0;
		d->has_rex = false;
	}
}

/* C4 or C5 was read: the rest of a VEX prefix and the opcode (SDM vol. 2, 2.3.5). */
static int vex_prefix(struct dec *d)
{
	uint8_t b1, b2;
	int err = need(d, d->opcode == 0xc4 ? 3 : 2);

	if (err)
		return err;
	if (d->opsize || d->rep || d->lock || d->has_rex)
		return DECODE_UD;
	b1 = d->p[d->pos++];
	d->rex = b1 & 0x80 ? 0 : REX_R;
	b2 = b1;
	d->enc = 4 + MAP_0F;
	if (d->opcode == 0xc4) {
		b2 = d->p[d->pos++];
		d->rex |= (b1 & 0x40 ? 0 : REX_X) | (b1 & 0x20 ? 0 : REX_B) | (b2 & 0x80 ? REX_W : 0);
		if ((b1 & 0x1f) < MAP_0F || (b1 & 0x1f) > MAP_0F3A)
			return DECODE_UD;
		d->enc = 4 + (b1 & 0x1f);
	}
	d->vvvv = ~(b2 >> 3) & 0xf;
	d->novvvv = d->vvvv == 0;
	if (d->mode != INSN_MODE64) {
		d->vvvv &= 7;
		d->rex &= REX_W;
	}
	d->l = b2 & 4;
	d->pp = b2 & 3;
	d->vex = true;
	d->opcode = d->p[d->pos++];
	return 0;
}

/* 62 was read, and is no BOUND: the rest of an EVEX prefix and the opcode (SDM vol. 2, 2.7.1). */
static int evex_prefix(struct dec *d)
{
	uint8_t p0, p1, p2;
	int err = need(d, 4);

	if (err)
		return err;
	p0 = d->p[d->pos];
	p1 = d->p[d->pos + 1];
	p2 = d->p[d->pos + 2];
	if (d->opsize || d->rep || d->lock || d->has_rex)
		return DECODE_UD;
	if ((p0 & 0xc) || (p0 & 3) == 0 || !(p1 & 4))
		return DECODE_UD;
	d->enc = 8 + (p0 & 3);
	d->rex = (p0 & 0x80 ? 0 : REX_R) | (p0 & 0x40 ? 0 : REX_X) | (p0 & 0x20 ? 0 : REX_B) | (p0 & 0x10 ? 0 : EVEX_R) |
		 (p1 & 0x80 ? REX_W : 0);
	d->vvvv = (~(p1 >> 3) & 0xf) | (p2 & 8 ? 0 : 0x10);
	d->novvvv = d->vvvv == 0;
	if (d->mode != INSN_MODE64) {
		if (!(p2 & 8))
			return DECODE_UD;
		d->vvvv &= 7;
		d->rex &= REX_W;
	}
	d->z = p2 & 0x80;
	d->ll = p2 >> 5 & 3;
	d->l = d->ll & 1;
	d->b = p2 & 0x10;
	d->aaa = p2 & 7;
	d->pp = p1 & 3;
	d->vex = d->evex = true;
	d->opcode = d->p[d->pos + 3];
	d->pos += 4;
	return 0;
}

/* From the first opcode byte to the last one and the mandatory prefix. */
static int opcode_bytes(struct dec *d)
{
	int err;

	d->pp = d->rep == 0xf3 ? PP_F3 : d->rep == 0xf2 ? PP_F2 : d->opsize ? PP_66 : PP_NONE;
	d->novvvv = true;
	if (d->opcode == 0x0f) {
		err = need(d, 1);
		if (err)
			return err;
		d->opcode = d->p[d->pos++];
		d->enc = MAP_0F;
		if (d->opcode == 0x38 || d->opcode == 0x3a) {
			d->enc = d->opcode == 0x38 ? MAP_0F38 : MAP_0F3A;
			err = need(d, 1);
			if (err)
				return err;
			d->opcode = d->p[d->pos++];
		}
		return 0;
	}
	if ((d->opcode & 0xfe) == 0xc4) {
		err = need(d, 1);
		if (err)
			return err;
		if (d->mode == INSN_MODE64 || d->p[d->pos] >= 0xc0)
			return vex_prefix(d);
	}
	if (d->opcode == 0x62) {
		err = need(d, 1);
		if (err)
			return err;
		if (d->mode == INSN_MODE64 || d->p[d->pos] >= 0xc0)
			return evex_prefix(d);
	}
	d->enc = MAP_ONE;
	return 0;
}

/*
 * Whether an EVEX row takes the prefix's fields: L'L, b, z, aaa (SDM vol. 2, 2.7.6 to 2.7.11). Lengths as OP_L0 and OP_L1 have them are find_row's
 * to see to, and need L'L as it counts.
 */
static bool fits_evex(const struct dec *d, const struct row_info *r)
{
	bool reg = d->modrm >= 0xc0, rounds = reg && d->b;

	if (d->b && !(r->evex & (reg ? EV_ER | EV_SAE : EV_B)))
		return false;
	if (d->ll == 3 && !rounds)
		return false;
	if ((r->evex & EV_L2) && !rounds && d->ll != 2)
		return false;
	if (d->aaa ? !(r->evex & EV_K) : r->evex & EV_KREQ)
		return false;
	return !d->z || ((r->evex & EV_Z) && d->aaa && !(!reg && (r->bits & ROW_WRITES_MEM)));
}

/* The row of this encoding, or -1. */
static inline int find_row(const struct dec *d)
{
	unsigned s = slot[d->enc][d->opcode][d->pp];
	uint32_t forbid;

	if (s & SLOT_GROUP)
		s = group[s & ~SLOT_GROUP][(d->modrm >= 0xc0 ? 8 : 0) + ((d->modrm >> 3) & 7)];
	if (!s)
		return -1;
	forbid = (d->rex & REX_W ? OP_W0 : OP_W1) | (d->l || d->ll ? OP_L0 : OP_L1) |
		 (d->mode == INSN_MODE64 ? OP_NO64 : OP_ONLY64) | (d->novvvv ? 0 : OP_NOVVVV);
	if (d->evex && d->b && d->modrm >= 0xc0)
		forbid &= ~(uint32_t)OP_L1; /* 512 bits */
	for (const uint16_t *list = &lists[s]; *list != LIST_END; list++) {
		const struct row_info *r = &info[*list];

		if (r->attr & forbid) {
			/* of EVEX.V'vvvv a gather takes V' for its index */
			if (!(r->bits & ROW_VSIB) || (r->attr & forbid) != OP_NOVVVV || (d->vvvv & 0xf) || d->mode != INSN_MODE64)
				continue;
		}
		if (r->rm >= 0 && r->rm != (d->modrm & 7))
			continue;
		if ((r->bits & ROW_NO_REXB) && (d->rex & REX_B))
			continue;
		if (d->evex && !fits_evex(d, r))
			continue;
		return *list;
	}
	return -1;
}

/* SDM vol. 2, table 2-1 */
static int memory16(struct dec *d, struct insn *in)
{
	static const uint8_t bases[8] = { RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX };
	static const uint8_t indexes[8] = { RSI, RDI, RSI, RDI, GPR_ZERO, GPR_ZERO, GPR_ZERO, GPR_ZERO };
	unsigned mod = d->modrm >> 6, rm = d->modrm & 7;
	unsigned size = mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0;
	int err;

	in->base = bases[rm];
	in->index = indexes[rm];
	if (mod == 0 && rm == 6)
		in->base = GPR_ZERO;
	if (size) {
		err = need(d, size);
		if (err)
			return err;
		in->disp = size == 1 ? (int8_t)d->p[d->pos] : (int16_t)get16(d->p + d->pos);
		d->pos += size;
	}
	in->seg = in->base == RBP ? SEG_SS : SEG_DS;
	return 0;
}

/* SDM vol. 2, tables 2-2 and 2-3; with @vsib (2.3.12) every index is a register */
static int memory(struct dec *d, struct insn *in, bool vsib)
{
	unsigned mod = d->modrm >> 6, rm = d->modrm & 7, size;
	int err;

	in->seg = SEG_DS;
	size = mod == 1 ? 1 : mod == 2 ? 4 : 0;
	if (rm == 4) {
		uint8_t sib;

		err = need(d, 1);
		if (err)
			return err;
		sib = d->p[d->pos++];
		in->scale = sib >> 6;
		in->index = ((sib >> 3) & 7) | (d->rex & REX_X ? 8 : 0) | (vsib && d->evex ? d->vvvv & 0x10 : 0);
		if (in->index == RSP && !vsib) {
			in->index = GPR_ZERO;
			in->scale = 0;
		}
		in->base = (sib & 7) | (d->rex & REX_B ? 8 : 0);
		if ((sib & 7) == RBP && mod == 0) {
			in->base = GPR_ZERO;
			size = 4;
		}
	} else if (rm == 5 && mod == 0) {
		in->base = d->mode == INSN_MODE64 ? GPR_RIP : GPR_ZERO;
		size = 4;
	} else {
		in->base = rm | (d->rex & REX_B ? 8 : 0);
	}
	if (in->base == RSP || in->base == RBP)
		in->seg = SEG_SS;
	if (size) {
		err = need(d, size);
		if (err)
			return err;
		in->disp = size == 1 ? (int8_t)d->p[d->pos] : (int32_t)get32(d->p + d->pos);
		d->pos += size;
	}
	return 0;
}

/* Effective operand size of the general operands (SDM vol. 1, tables 3-3 and 3-4). */
static uint8_t operand_size(const struct dec *d, uint32_t attr)
{
	if (attr & OP_BYTE)
		return 1;
	if (d->mode != INSN_MODE64) {
		if (attr & OP_NATSIZE)
			return 4;
		if (d->vex)
			return 4;
		return (d->mode == INSN_MODE32) != d->opsize ? 4 : 2;
	}
	if (attr & (OP_FORCE64 | OP_NATSIZE))
		return 8;
	if (d->rex & REX_W) /* overrides 66 */
		return attr & OP_MAX4 ? 4 : 8;
	if (d->opsize)
		return 2;
	return attr & OP_DEF64 ? 8 : 4;
}

static int immediate(struct dec *d, struct insn *in, const struct row_info *r)
{
	unsigned z = in->opsize == 2 ? 2 : 4, size;
	const uint8_t *p = d->p + d->pos;
	int err;

	switch (r->imm) {
	case IMM_ONE: in->imm = 1; return 0;
	case IMM_8:
	case IMM_8S:
	case IMM_J8: size = 1; break;
	case IMM_16: size = 2; break;
	case IMM_Z:
	case IMM_JZ: size = z; break;
	case IMM_V: size = in->opsize; break;
	case IMM_FAR: size = z + 2; break;
	case IMM_MOFFS: size = in->addrsize; break;
	case IMM_16_8: size = 3; break;
	default: return 0;
	}
	err = need(d, size);
	if (err)
		return err;
	switch (r->imm) {
	case IMM_8: in->imm = p[0]; break;
	case IMM_8S:
	case IMM_J8: in->imm = (uint64_t)(int8_t)p[0]; break;
	case IMM_16: in->imm = get16(p); break;
	case IMM_16_8: in->imm = get16(p) | (uint64_t)p[2] << 16; break;
	case IMM_FAR:
		in->imm = z == 2 ? get16(p) : get32(p);
		in->disp = get16(p + z);
		break;
	case IMM_MOFFS: in->imm = size == 2 ? get16(p) : size == 4 ? get32(p) : get64(p); break;
	default:
		in->imm = size == 2   ? (uint64_t)(int16_t)get16(p)
			  : size == 4 ? (uint64_t)(int32_t)get32(p)
				      : get64(p);
	}
	d->pos += size;
	return 0;
}

/* Byte offset of general register @n in cpu.gpr[]: AH..BH without REX. */
static inline uint8_t gpr_offset(unsigned n, bool byte, bool rex)
{
	if (byte && !rex && n >= 4 && n < 8)
		return (uint8_t)((n - 4) * 8 + 1);
	return (uint8_t)(n * 8);
}

/* Register numbers that a row may not have. */
static bool registers_ok(const struct insn *in, const struct row_info *r)
{
	if (r->bits & ROW_SREG)
		return in->reg < SEG_COUNT && !(in->reg == SEG_CS && opcode_table[in->row].opnd[0].kind == OPND_S);
	if (r->bits & ROW_CRDR) {
		if (r->id == INSN_ID_MOV_CR)
			return in->reg < 9 && (1 << in->reg & 0x11d);
		return in->reg < 8;
	}
	if ((r->bits & ROW_VSIB) && !(in->flags & INSN_EVEX))
		return in->reg != in->index && in->reg != in->vvvv && in->index != in->vvvv;
	if ((r->bits & ROW_VSIB) && !(r->bits & ROW_WRITES_MEM))
		return in->reg != in->index;
	if (in->reg > (r->bits & ROW_REG_K ? 7 : r->bits & ROW_G ? 15 : 31))
		return false;
	return !(r->bits & ROW_V_K) || in->vvvv < 8;
}

/*
 * What a displacement of 8 bits counts: the memory operand's size, or an element's where it is broadcast, gathered, or one of those
 * that a mask packs together (SDM vol. 2, 2.7.5).
 */
static unsigned displacement_unit(const struct insn *in, const struct row_info *r)
{
	unsigned element = 1u << (r->evex >> 10 & 7) >> 1;
	int m = insn_memory_operand(&opcode_table[in->row]);

	if (insn_packs(in->id))
		return element;
	return m < 0 ? 1 : insn_operand_size(in, (unsigned)m);
}

/* The memory operand in ModRM, and the VSIB rules (SDM vol. 2, 2.3.12). */
static int memory_operand(struct dec *d, struct insn *in, const struct row_info *r)
{
	int err;

	in->flags |= INSN_MEM;
	if (in->addrsize == 2) {
		if (r->bits & ROW_VSIB)
			return DECODE_UD;
		err = memory16(d, in);
	} else {
		if ((r->bits & ROW_VSIB) && (d->modrm & 7) != 4)
			return DECODE_UD;
		err = memory(d, in, r->bits & ROW_VSIB);
	}
	if (!err && d->evex && d->modrm >> 6 == 1)
		in->disp *= (int32_t)displacement_unit(in, r);
	return err;
}

static void registers(const struct dec *d, struct insn *in, const struct row_info *r)
{
	bool rex = d->has_rex || d->vex;

	if (r->attr & OP_MODRM) {
		in->reg = ((d->modrm >> 3) & 7) | (d->rex & REX_R ? 8 : 0) | (d->rex & EVEX_R);
		in->rm = (d->modrm & 7) | (d->rex & REX_B ? 8 : 0);
		if (d->evex && (d->rex & REX_X) && d->modrm >= 0xc0 && (r->bits & ROW_RM_VEC))
			in->rm |= 0x10;
	} else if (r->attr & OP_PLUSR) {
		in->rm = (d->opcode & 7) | (d->rex & REX_B ? 8 : 0);
	} else if (r->id == INSN_ID_PUSH_SEG || r->id == INSN_ID_POP_SEG) {
		in->reg = (d->opcode >> 3) & 7;
	}
	if (r->bits & ROW_REG7)
		in->reg &= 7;
	if (r->bits & (ROW_RM7 | ROW_RM_K))
		in->rm &= 7;
	in->vvvv = d->vvvv;
	in->reg_off = gpr_offset(in->reg, r->bits & ROW_G8, rex);
	in->rm_off = gpr_offset(in->rm, r->bits & ROW_E8, rex);
}

/* Of general registers W says the size in 64-bit mode only (SDM vol. 2, 2.7.7): outside it, the rows with 8 bytes are those with 4. */
static int find_row_without_w(struct dec *d)
{
	enum insn_mode mode = d->mode;
	int row;

	d->mode = INSN_MODE64;
	row = find_row(d);
	d->mode = mode;
	if (row < 0 || !(info[row].attr & OP_ONLY64))
		return -1;
	d->rex &= ~REX_W;
	return find_row(d);
}

static int insn_finish(struct dec *d, struct insn *in)
{
	const struct row_info *r;
	int row, err;

	row = find_row(d);
	if (row < 0 && d->vex && (d->rex & REX_W) && d->mode != INSN_MODE64)
		row = find_row_without_w(d);
	if (row < 0)
		return DECODE_UD;
	r = &info[row];
	in->row = (uint16_t)row;
	in->id = r->id;
	in->modrm = d->modrm;
	in->aaa = d->aaa;
	in->flags = (d->l ? INSN_L : 0) | (d->ll & 2 ? INSN_L2 : 0) | (d->evex ? INSN_EVEX : 0) | (d->z ? INSN_Z : 0) |
		    (d->b ? INSN_B : 0) | (d->evex && (d->rex & REX_W) ? INSN_W : 0) | (d->mode != INSN_MODE64 ? INSN_LEGACY : 0);
	in->cc = d->opcode & 0xf;
	in->addrsize = d->mode == INSN_MODE64 ? (d->addrsize ? 4 : 8) : (d->mode == INSN_MODE32) != d->addrsize ? 4 : 2;
	in->opsize = operand_size(d, r->attr);
	in->base = in->index = GPR_ZERO;
	in->seg = SEG_DS;
	if ((r->attr & OP_MODRM) && d->modrm < 0xc0 && !(r->bits & ROW_ALWAYS_REG)) {
		err = memory_operand(d, in, r);
		if (err)
			return err;
	} else if (r->attr & OP_MOFFS) {
		in->flags |= INSN_MEM | INSN_MOFFS;
	}
	registers(d, in, r);
	err = immediate(d, in, r);
	if (err)
		return err;
	if (r->bits & ROW_IS4) {
		in->is4 = (uint8_t)(in->imm >> 4);
		if (d->mode != INSN_MODE64)
			in->is4 &= 7;
	}
	if (!registers_ok(in, r))
		return DECODE_UD;
	if (d->lock && !((r->attr & OP_LOCK) && (in->flags & INSN_MEM)))
		return DECODE_UD;
	if (d->seg != SEG_COUNT) {
		in->seg = d->seg;
		in->flags |= INSN_SEG;
	}
	in->flags |= (d->lock ? INSN_LOCK : 0) | (d->has_rex ? INSN_REX : 0) | (d->vex ? INSN_VEX : 0) |
		     (r->attr & OP_ENDS ? INSN_ENDS : 0);
	if ((d->rex & REX_W) && !((r->bits & ROW_Y) && d->mode != INSN_MODE64))
		in->flags |= INSN_W;
	if ((r->attr & OP_REPSTR) && d->rep)
		in->flags |= d->rep == 0xf3 ? INSN_REP : INSN_REPNE;
	in->len = (uint8_t)d->pos;
	return (int)d->pos;
}

int insn_decode(const uint8_t *bytes, size_t avail, enum insn_mode mode, struct insn *in)
{
	struct dec d = { .p = bytes,
			 .avail = avail < INSN_BYTES_MAX ? avail : INSN_BYTES_MAX,
			 .mode = mode,
			 .seg = SEG_COUNT };
	int err;

	if (__builtin_expect(!atomic_load_explicit(&ready, memory_order_acquire), 0))
		pthread_once(&once, build);
	memset(in, 0, sizeof(*in));
	err = prefixes(&d);
	if (err)
		return err;
	err = opcode_bytes(&d);
	if (err)
		return err;
	if (has_modrm[d.enc][d.opcode]) {
		err = need(&d, 1);
		if (err)
			return err;
		d.modrm = d.p[d.pos++];
	}
	return insn_finish(&d, in);
}

/* --- operand sizes --- */

static unsigned whole_operand_size(const struct insn *in, unsigned n)
{
	const struct opcode *op = &opcode_table[in->row];
	unsigned vl = insn_vector_size(in);
	bool large = in->opsize != 2;


	switch (op->opnd[n].size) {
	case SIZE_V: return op->opnd[n].kind == OPND_NONE ? 0 : in->opsize;
	case SIZE_X: return vl;
	case SIZE_Y: return in->opsize == 8 ? 8 : 4;
	case SIZE_Z: return in->opsize > 4 ? 4 : in->opsize;
	case SIZE_H: return vl / 2;
	case SIZE_Q: return vl / 4;
	case SIZE_O: return vl / 8;
	case SIZE_NONE: return 0;
	case SIZE_FPENV:
		if (op->id == INSN_ID_FNSAVE || op->id == INSN_ID_FRSTOR)
			return large ? 108 : 94;
		return large ? 28 : 14;
	case SIZE_FP: return in->opsize + 2u;
	case SIZE_DT: return in->opsize == 8 ? 10 : 6;
	case SIZE_2V: return in->opsize * 2u;
	case SIZE_512: return 512;
	case SIZE_XSAVE: return 0;
	default: return op->opnd[n].size;
	}
}

unsigned insn_operand_size(const struct insn *in, unsigned n)
{
	if ((in->flags & (INSN_B | INSN_MEM)) == (INSN_B | INSN_MEM) && opcode_table[in->row].opnd[n].kind == OPND_W)
		return in->flags & INSN_W ? 8 : 4; /* broadcast */
	return whole_operand_size(in, n);
}

/* --- memory operands and masks --- */

int insn_memory_operand(const struct opcode *op)
{
	for (int i = 0; i < 4; i++)
		switch (op->opnd[i].kind) {
		case OPND_E:
		case OPND_M:
		case OPND_W:
		case OPND_Q:
		case OPND_KM:
		case OPND_VM: return i;
		default: break;
		}
	return -1;
}

bool insn_packs(unsigned id)
{
	switch (id) {
	case INSN_ID_VPCOMPRESSB:
	case INSN_ID_VPCOMPRESSW:
	case INSN_ID_VPCOMPRESSD:
	case INSN_ID_VPCOMPRESSQ:
	case INSN_ID_VCOMPRESSPS:
	case INSN_ID_VCOMPRESSPD:
	case INSN_ID_VPEXPANDB:
	case INSN_ID_VPEXPANDW:
	case INSN_ID_VPEXPANDD:
	case INSN_ID_VPEXPANDQ:
	case INSN_ID_VEXPANDPS:
	case INSN_ID_VEXPANDPD: return true;
	default: return false;
	}
}

struct insn_elements insn_elements(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];
	unsigned log = op->evex >> 10 & 7, size, element;
	int m = insn_memory_operand(op);

	if (!in->aaa || !log || m < 0 || !(in->flags & INSN_MEM))
		return (struct insn_elements){ 0 };
	size = insn_operand_size(in, (unsigned)m);
	element = 1u << (log - 1);
	if (in->flags & INSN_B) /* broadcast */
		return (struct insn_elements){ (uint8_t)size, 1, (uint8_t)(whole_operand_size(in, (unsigned)m) / size) };
	if (op->evex & EV_FOLD)
		return (struct insn_elements){ (uint8_t)element, (uint8_t)(size / element), (uint8_t)(insn_vector_size(in) / element) };
	return (struct insn_elements){ (uint8_t)element, (uint8_t)(size / element), (uint8_t)(size / element) };
}
