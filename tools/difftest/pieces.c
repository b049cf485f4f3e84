// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pieces of programs: single random instructions, and short sequences that belong together. Registers are kept
 * for what they are good for: RSP for the stack, some as bases of memory operands, some as small indexes, and loop
 * counters, which nothing else may write or the program would not end.
 */
#include "program.h"

#include <string.h>

/* How often each mnemonic comes: about as compilers like them, with the rarer ones that translation treats specially. */
static const struct {
	uint16_t id;
	uint8_t weight;
} common[] = {
	{ INSN_ID_MOV, 44 }, { INSN_ID_LEA, 16 }, { INSN_ID_ADD, 16 }, { INSN_ID_SUB, 10 }, { INSN_ID_CMP, 14 },
	{ INSN_ID_TEST, 10 }, { INSN_ID_AND, 8 }, { INSN_ID_OR, 6 }, { INSN_ID_XOR, 8 }, { INSN_ID_ADC, 5 },
	{ INSN_ID_SBB, 5 }, { INSN_ID_INC, 5 }, { INSN_ID_DEC, 5 }, { INSN_ID_NEG, 3 }, { INSN_ID_NOT, 3 },
	{ INSN_ID_MOVZX, 10 }, { INSN_ID_MOVSX, 5 }, { INSN_ID_MOVSXD, 5 }, { INSN_ID_CMOVCC, 8 }, { INSN_ID_SETCC, 8 },
	{ INSN_ID_SHL, 5 }, { INSN_ID_SHR, 5 }, { INSN_ID_SAR, 4 }, { INSN_ID_ROL, 3 }, { INSN_ID_ROR, 2 },
	{ INSN_ID_RCL, 2 }, { INSN_ID_RCR, 2 }, { INSN_ID_SHLD, 2 }, { INSN_ID_SHRD, 2 }, { INSN_ID_IMUL, 5 },
	{ INSN_ID_MUL, 3 }, { INSN_ID_XCHG, 5 }, { INSN_ID_XADD, 3 }, { INSN_ID_CMPXCHG, 4 }, { INSN_ID_BSWAP, 2 },
	{ INSN_ID_BT, 3 }, { INSN_ID_BTS, 3 }, { INSN_ID_BTR, 3 }, { INSN_ID_BTC, 2 }, { INSN_ID_BSF, 2 },
	{ INSN_ID_BSR, 2 }, { INSN_ID_TZCNT, 1 }, { INSN_ID_POPCNT, 2 }, { INSN_ID_PUSH, 14 }, { INSN_ID_POP, 10 },
	{ INSN_ID_PUSHF, 1 }, { INSN_ID_CBW, 3 }, { INSN_ID_CWD, 3 }, { INSN_ID_CMC, 1 }, { INSN_ID_CLC, 1 },
	{ INSN_ID_STC, 1 }, { INSN_ID_LAHF, 1 }, { INSN_ID_SAHF, 1 }, { INSN_ID_CMPXCHG16B, 1 }, { INSN_ID_CMPXCHG8B, 1 },
	{ INSN_ID_ANDN, 1 }, { INSN_ID_SHLX, 2 }, { INSN_ID_RORX, 1 }, { INSN_ID_MULX, 1 }, { INSN_ID_ADCX, 1 },
};

static uint16_t first_row[INSN_ID_COUNT], rows_of[INSN_ID_COUNT];
static uint16_t vector_row[4096], any_row[8192];
static unsigned vectors, any;
static unsigned weights;

void pieces_init(void)
{
	vectors = any = weights = 0;
	memset(rows_of, 0, sizeof(rows_of));
	for (unsigned r = 0; r < opcode_count; r++) {
		const struct opcode *op = &opcode_table[r];

		if (!rows_of[op->id]++)
			first_row[op->id] = (uint16_t)r;
		if (!runs_natively(op))
			continue;
		any_row[any++] = (uint16_t)r;
		if (op->attr & (OP_SSE | OP_AVX))
			vector_row[vectors++] = (uint16_t)r;
	}
	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		weights += common[i].weight;
}

/* --- registers --- */

static uint16_t kept(void)
{
	return prog.bases | prog.indexes | prog.counters | 1 << RSP;
}

unsigned free_register(void)
{
	unsigned r;

	do {
		r = below(prog.proto.mode == INSN_MODE64 ? 16 : 8);
	} while (kept() >> r & 1);
	return r;
}

/* One of a set that is not empty. */
static unsigned one_of(uint16_t set)
{
	unsigned n = below((unsigned)__builtin_popcount(set));

	while (n--)
		set &= set - 1;
	return (unsigned)__builtin_ctz(set);
}

/* General registers that @in writes. */
static uint16_t written(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];
	unsigned set = 0;

	for (unsigned i = 0; i < 4; i++) {
		const struct operand *o = &op->opnd[i];

		if (!(o->access & ACCESS_W))
			continue;
		if ((o->kind == OPND_E || o->kind == OPND_R) && !(in->flags & INSN_MEM))
			set |= 1u << in->rm_off / 8;
		else if (o->kind == OPND_G)
			set |= 1u << in->reg_off / 8;
		else if (o->kind == OPND_B)
			set |= 1u << in->vvvv;
	}
	set |= op->implicit & IMPL_RAX_W ? 1u << RAX : 0;
	set |= op->implicit & IMPL_RDX_W ? 1u << RDX : 0;
	set |= op->implicit & IMPL_RCX_W ? 1u << RCX : 0;
	set |= op->implicit & IMPL_RBX_W ? 1u << RBX : 0;
	set |= op->implicit & IMPL_RBP ? 1u << RBP : 0;
	if (op->attr & OP_REPSTR)
		set |= (op->implicit & IMPL_RSI ? 1u << RSI : 0) | (op->implicit & IMPL_RDI ? 1u << RDI : 0);
	return (uint16_t)set;
}

/* Whether the registers that @in writes may be written; those that were kept are not any more. */
static bool may_write(const struct insn *in)
{
	uint16_t set = written(in);

	if (set & (prog.counters | 1 << RSP))
		return false;
	if ((set & prog.bases) && (!one_in(16) || !(prog.bases & ~set)))
		return false;
	if ((set & prog.indexes) && (!one_in(3) || !(prog.indexes & ~set)))
		return false;
	prog.bases &= (uint16_t)~set;
	prog.indexes &= (uint16_t)~set;
	return true;
}

/* --- memory operands --- */

struct address {
	int base, index; /* -1: none */
	unsigned scale;
	bool absolute;	 /* at `linear`; RIP-relative where there is such a thing */
	uint64_t linear;
	int32_t disp;
	unsigned field;	 /* where in the instruction a displacement stands that is relative to its end, or 0 */
};

static int32_t displacement(unsigned step)
{
	switch (below(16)) {
	case 0: return (int32_t)below(128) - 64;
	case 1: return (int32_t)(below(64) * 64) - 2048;
	case 2: return (int32_t)(below(8) * step) - (int32_t)(4 * step);
	default: return (int32_t)(below(10) * step);
	}
}

static void choose_address(struct address *a, const struct opcode *op)
{
	bool vector = op->attr & (OP_SSE | OP_AVX), vsib = op->opnd[1].kind == OPND_VM;
	unsigned step = vector ? (one_in(2) ? 32 : 16) : 8 >> below(3), k = below(16);

	*a = (struct address){ .base = -1, .index = -1, .scale = below(4) };
	if ((k < 2 && !vsib) || (op->attr & OP_ALIGN && !one_in(4))) { /* bases are often not aligned to 16 */
		a->absolute = true;
		a->linear = DT_DATA + 64 + below(2 * DT_PAGE / 32 - 4) * 32;
		if (one_in(8))
			a->linear = one_in(2) ? DT_DATA + DT_PAGE - below(40) : DT_RO + below(DT_PAGE);
		return;
	}
	if (vsib)
		a->index = (int)below(prog.proto.mode == INSN_MODE64 ? 16 : 8);
	else if (k < 4)
		a->index = (int)one_of(prog.indexes);
	a->base = k < 8 && a->index < 0 ? RSP : (int)one_of(prog.bases);
	a->disp = displacement(step);
	if (op->id == INSN_ID_LEA && one_in(2)) {
		a->base = (int)below(prog.proto.mode == INSN_MODE64 ? 16 : 8);
		a->disp = (int32_t)interesting();
	}
}

static void put32(struct enc *e, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		enc_byte(e, v >> 8 * i & 0xff);
}

/* ModRM, SIB, displacement. */
static void put_address(struct enc *e, unsigned reg, struct address *a)
{
	bool sib = a->index >= 0 || (a->base & 7) == RSP;
	unsigned mod = 0;

	if (a->absolute) {
		if (prog.proto.mode == INSN_MODE64 && one_in(4)) {
			enc_byte(e, reg << 3 | 4);
			enc_byte(e, 0x25);
		} else {
			enc_byte(e, reg << 3 | 5);
			a->field = prog.proto.mode == INSN_MODE64 ? e->n : 0;
		}
		put32(e, (uint32_t)a->linear);
		return;
	}
	if (a->disp || (a->base & 7) == RBP || one_in(8))
		mod = a->disp == (int8_t)a->disp && !one_in(16) ? 1 : 2;
	enc_byte(e, mod << 6 | reg << 3 | (sib ? 4u : (unsigned)a->base & 7));
	if (sib)
		enc_byte(e, a->scale << 6 | (a->index >= 0 ? (unsigned)a->index & 7 : 4u) << 3 | ((unsigned)a->base & 7));
	if (mod == 1)
		enc_byte(e, (uint8_t)a->disp);
	else if (mod == 2)
		put32(e, (uint32_t)a->disp);
}

/* --- one instruction --- */

/* Has no place in a program, or only as part of a piece. */
static bool fits(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	if (op->attr & OP_ENDS)
		return in->id == INSN_ID_UD2 && one_in(8);
	if (op->attr & (OP_CPL0 | OP_REPSTR) || op->opnd[0].size == SIZE_XSAVE || op->opnd[0].size == SIZE_512)
		return false;
	switch (in->id) {
	case INSN_ID_FNSTENV: /* images with pointers that compare.c masks */
	case INSN_ID_FNSAVE:
	case INSN_ID_POPA:
	case INSN_ID_ENTER:
	case INSN_ID_LEAVE:
	case INSN_ID_POP_SEG:
	case INSN_ID_LDS:
	case INSN_ID_LES:
	case INSN_ID_LFS:
	case INSN_ID_LGS:
	case INSN_ID_INT3: return false;
	case INSN_ID_MOV_SEG: return op->opnd[0].kind != OPND_S;
	case INSN_ID_XLAT: return prog.bases >> RBX & 1;
	case INSN_ID_MASKMOVQ:
	case INSN_ID_MASKMOVDQU:
	case INSN_ID_VMASKMOVDQU: return prog.bases >> RDI & 1;
	case INSN_ID_BT:
	case INSN_ID_BTS:
	case INSN_ID_BTR:
	case INSN_ID_BTC:
		return !(in->flags & INSN_MEM) || op->opnd[1].kind == OPND_I || prog.indexes >> in->reg & 1 || one_in(16);
	case INSN_ID_DIV:
	case INSN_ID_IDIV:
	case INSN_ID_LDMXCSR:
	case INSN_ID_VLDMXCSR:
	case INSN_ID_FLDCW:
	case INSN_ID_FLDENV:
	case INSN_ID_FRSTOR:
	case INSN_ID_WRFSBASE:
	case INSN_ID_WRGSBASE:
	case INSN_ID_STD:
	case INSN_ID_BOUND: return one_in(4);
	case INSN_ID_SHA1RNDS4: /* where AMD and Intel differ if it is not aligned */
	case INSN_ID_SHA1NEXTE:
	case INSN_ID_SHA1MSG1:
	case INSN_ID_SHA1MSG2:
	case INSN_ID_SHA256RNDS2:
	case INSN_ID_SHA256MSG1:
	case INSN_ID_SHA256MSG2: return !(in->flags & INSN_MEM);
	default: return op->opnd[1].kind != OPND_VM || one_in(8);
	}
}

/* Prefixes as the generator makes them, less those that would make most programs end early. */
static void prefixes(struct enc *e, const struct opcode *op, bool memory)
{
	struct enc all = { .n = 0 };
	bool stack = op->implicit & IMPL_RSP, keep;

	enc_prefixes(&all, op, prog.proto.kind);
	for (unsigned i = 0; i < all.n; i++) {
		switch (all.b[i]) {
		case 0x67: keep = prog.proto.mode == INSN_MODE64 && one_in(3); break;
		case 0xf0: keep = memory; break;
		case 0x64:
		case 0x65: keep = one_in(4); break;
		case 0x66: keep = !stack || one_in(8); break;
		default: keep = true;
		}
		if (keep)
			enc_byte(e, all.b[i]);
	}
}

static bool exists(const struct opcode *op)
{
	if (!runs_natively(op))
		return false;
	if (prog.proto.mode == INSN_MODE64)
		return !(op->attr & OP_NO64);
	return !(op->attr & OP_ONLY64) && !(op->attr & OP_W1 && !(op->attr & OP_VEX));
}

static bool instruction(unsigned row, bool lock)
{
	const struct opcode *op = &opcode_table[row];
	bool vsib = op->opnd[1].kind == OPND_VM, memory = (op->attr & OP_MODRM) && op->mod < 2 && (op->mod || vsib || lock || one_in(2));
	unsigned reg = op->ext >= 0 ? (unsigned)op->ext : below(8), rm = op->mod == 3 ? (unsigned)op->rm : below(8);
	struct dt_case one;
	struct enc e = { .n = 0 };
	struct address a = { .field = 0 };
	struct insn in;
	struct item *it;
	int r, xb = -1;

	if (!exists(op) || (op->attr & OP_MOFFS && !one_in(4)))
		return false;
	prefixes(&e, op, memory);
	if (lock && op->attr & OP_LOCK && !memchr(e.b, 0xf0, e.n))
		enc_byte(&e, 0xf0);
	if (memory) {
		choose_address(&a, op);
		xb = (a.index > 7 ? 2 : 0) | (a.base > 7);
	}
	enc_opcode(&e, op, prog.proto.mode, xb);
	if (memory)
		put_address(&e, reg, &a);
	else if (op->attr & OP_MODRM)
		enc_byte(&e, 0xc0 | reg << 3 | rm);
	while (e.n < sizeof(e.b))
		enc_byte(&e, (unsigned)interesting() & 0xff);
	memcpy(&one, &prog.proto, offsetof(struct dt_case, bytes));
	one.has_ea = false;
	one.poke_len = 0;
	memcpy(one.seg, prog.proto.seg, sizeof(one.seg));
	one.in = prog.proto.in;
	memset(one.bytes, 0xcc, sizeof(one.bytes));
	memcpy(one.bytes, e.b, INSN_BYTES_MAX + 1);
	r = insn_decode(e.b, INSN_BYTES_MAX + 1, prog.proto.mode, &in);
	if (r <= 0 || !runs_natively(&opcode_table[in.row]) || !fits(&in) || compare_excluded(&one, &in) || !may_write(&in))
		return false;
	it = program_add(e.b, (unsigned)r);
	if (!it)
		return true; /* no use in trying again */
	it->row = in.row;
	if (a.field) {
		it->fix = FIX_LINEAR;
		it->fix_at = (uint8_t)a.field;
		it->fix_size = 4;
		it->linear = a.linear;
	}
	return true;
}

static bool of_id(unsigned id, bool lock)
{
	return rows_of[id] && instruction(first_row[id] + below(rows_of[id]), lock);
}

bool piece_random(void)
{
	unsigned k = below(32), w, i;

	if (k < 4)
		return instruction(vector_row[below(vectors)], false);
	if (k < 6)
		return instruction(any_row[below(any)], false);
	w = below(weights);
	for (i = 0; w >= common[i].weight; i++)
		w -= common[i].weight;
	return of_id(common[i].id, false);
}

bool piece_flagless(void)
{
	static const uint16_t ids[] = { INSN_ID_MOV, INSN_ID_MOV, INSN_ID_LEA, INSN_ID_MOVZX };

	return of_id(ids[below(4)], false);
}

/* --- given instructions --- */

struct item *mov_imm(unsigned r, uint32_t v)
{
	uint8_t b[6] = { 0x41, (uint8_t)(0xb8 | (r & 7)) };

	memcpy(b + 2, &v, 4);
	return program_add(b + (r < 8), r < 8 ? 5 : 6);
}

struct item *mov_label(unsigned r, int label, int32_t plus)
{
	struct item *it = mov_imm(r, 0);

	if (!it)
		return NULL;
	it->fix = FIX_ADDRESS;
	it->fix_at = (uint8_t)(it->len - 4);
	it->fix_size = 4;
	it->label = (int8_t)label;
	it->plus = plus;
	return it;
}

struct item *add_modrm_op(unsigned opcode, unsigned ext, unsigned r, bool wide)
{
	bool w = wide && prog.proto.mode == INSN_MODE64;
	uint8_t b[4] = { (uint8_t)(0x40 | w << 3 | r >> 3), (uint8_t)opcode, (uint8_t)(0xc0 | ext << 3 | (r & 7)) };
	bool rex = w || r > 7;

	return program_add(b + !rex, 2u + rex + (opcode == 0x83));
}

static struct item *push(unsigned r)
{
	uint8_t b[2] = { 0x41, (uint8_t)(0x50 | (r & 7)) };

	return program_add(b + (r < 8), r < 8 ? 1 : 2);
}

static struct item *pop(unsigned r)
{
	uint8_t b[2] = { 0x41, (uint8_t)(0x58 | (r & 7)) };

	return program_add(b + (r < 8), r < 8 ? 1 : 2);
}

static struct item *push_imm(unsigned v)
{
	return program_add((const uint8_t[]){ 0x6a, (uint8_t)v }, 2);
}

/* Room for a piece of up to ten items. */
static bool room(void)
{
	return prog.count + 10 < PROGRAM_ITEMS_MAX && prog.bytes + 60 < CODE_MAX;
}

static void unite(unsigned start)
{
	for (unsigned i = start; i < prog.count; i++)
		prog.item[i].unit = prog.item[start].unit;
}

/* --- longer ones --- */

static uint32_t data_address(void)
{
	switch (below(16)) {
	case 0: return DT_DATA + 2 * DT_PAGE - below(128);
	case 1:
	case 2: return DT_DATA + DT_PAGE - below(64);
	default: return DT_DATA + 64 + (below(2 * DT_PAGE - 512) & ~7u);
	}
}

bool piece_string(void)
{
	static const uint8_t opcodes[] = { 0xa4, 0xa4, 0xaa, 0xaa, 0xac, 0xa6, 0xae };
	unsigned op = opcodes[below(sizeof(opcodes))], start = prog.count, n = 0;
	uint8_t b[4];
	struct item *it;

	if (!room() || (prog.counters & (1 << RCX | 1 << RSI | 1 << RDI)) || (op == 0xac && prog.counters >> RAX & 1))
		return false;
	if (op == 0xac && prog.bases != 1 << RAX) {
		prog.bases &= (uint16_t)~(1u << RAX);
		prog.indexes &= (uint16_t)~(1u << RAX);
	}
	if (one_in(4) || !(prog.bases >> RSI & 1))
		mov_imm(RSI, data_address());
	if (one_in(4) || !(prog.bases >> RDI & 1))
		mov_imm(RDI, data_address());
	prog.indexes &= (uint16_t)~(1u << RSI | 1u << RDI);
	if (one_in(4))
		b[n++] = 0x66;
	if (!one_in(4)) {
		mov_imm(RCX, one_in(10) ? 0 : one_in(8) ? below(400) : below(12));
		prog.bases &= (uint16_t)~(1u << RCX);
		prog.indexes &= (uint16_t)~(1u << RCX);
		b[n++] = one_in(4) ? 0xf2 : 0xf3;
	}
	if (!prog.bases)
		prog.bases = 1 << RSI;
	if (!prog.indexes)
		prog.indexes = (uint16_t)(1u << free_register());
	if (prog.proto.mode == INSN_MODE64 && one_in(2))
		b[n++] = 0x48;
	b[n++] = (uint8_t)(op | !one_in(3));
	it = program_add(b, n);
	if (it)
		it->row = first_row[op == 0xa4 ? INSN_ID_MOVS : op == 0xaa ? INSN_ID_STOS : op == 0xac ? INSN_ID_LODS : op == 0xa6 ? INSN_ID_CMPS : INSN_ID_SCAS];
	unite(start);
	return true;
}

/* A base register moves on, or gets a new value. */
static void move_base(void)
{
	unsigned r = one_of(prog.bases);
	struct item *it;

	if (one_in(3)) {
		mov_imm(r, data_address());
		return;
	}
	it = add_modrm_op(0x83, one_in(2) ? 0 : 5, r, one_in(2));
	if (it)
		it->bytes[it->len - 1] = (uint8_t)(8u << below(4));
}

/* PUSHF; XOR [rSP], some flags; POPF. */
static void flip_flags(void)
{
	static const uint32_t some[] = { FL_ALL, FL_ALL, FL_CF, FL_ALL | RF_DF, FL_ALL | RF_ID, RF_AC | FL_ZF };
	uint32_t flags = (uint32_t)rnd() & some[below(6)];
	uint8_t b[7] = { 0x81, 0x34, 0x24 };
	unsigned start = prog.count;

	memcpy(b + 3, &flags, 4);
	program_add((const uint8_t[]){ 0x9c }, 1);
	program_add(b, 7);
	program_add((const uint8_t[]){ 0x9d }, 1);
	unite(start);
}

/* A division that does not overflow. */
static void divide(void)
{
	unsigned r = free_register(), start = prog.count;

	if ((kept() & (1 << RAX | 1 << RDX)) || r == RAX || r == RDX)
		return;
	mov_imm(r, 1 + below(1000));
	mov_imm(RDX, 0);
	add_modrm_op(0xf7, one_in(2) ? 6 : 7, r, one_in(3));
	unite(start);
}

/* What was pushed is popped again, after something else. */
static void save_and_restore(void)
{
	unsigned a = below(8), b = below(8), n = below(4);

	if (kept() >> a & 1 || kept() >> b & 1)
		return;
	push(a);
	push(b);
	while (n--)
		piece_random();
	pop(b);
	pop(a);
}

/* A pointer goes to memory and comes back in another register, which is a base from then on. */
static void chase(void)
{
	unsigned a = below(8), b = below(8), start = prog.count;
	uint8_t store[5] = { 0x48, 0x89, (uint8_t)(0x44 | a << 3), 0x24, (uint8_t)(below(8) * 8) };
	uint8_t load[5] = { 0x48, 0x8b, (uint8_t)(0x44 | b << 3), 0x24, store[4] };
	bool wide = prog.proto.mode == INSN_MODE64;

	if (kept() >> a & 1 || kept() >> b & 1)
		return;
	mov_imm(a, data_address());
	program_add(store + !wide, 4u + wide);
	program_add(load + !wide, 4u + wide);
	unite(start);
	if (__builtin_popcount(prog.bases) < 4 && (wide || __builtin_popcount(kept()) < 6))
		prog.bases |= (uint16_t)(1u << b);
}

bool piece_special(unsigned depth)
{
	static const uint16_t locked[] = { INSN_ID_ADD, INSN_ID_OR, INSN_ID_AND, INSN_ID_SUB, INSN_ID_XOR, INSN_ID_INC, INSN_ID_DEC,
					   INSN_ID_XADD, INSN_ID_XADD, INSN_ID_CMPXCHG, INSN_ID_CMPXCHG, INSN_ID_XCHG, INSN_ID_BTS,
					   INSN_ID_BTR, INSN_ID_NOT, INSN_ID_NEG, INSN_ID_CMPXCHG8B, INSN_ID_CMPXCHG16B };

	if (!room())
		return false;
	switch (below(8)) {
	case 0:
	case 1: move_base(); break;
	case 2: flip_flags(); break;
	case 3: divide(); break;
	case 4:
		if (depth < 2)
			save_and_restore();
		break;
	case 5: chase(); break;
	default:
		for (unsigned t = 0; t < 8 && !of_id(locked[below(sizeof(locked) / 2)], true); t++)
			;
	}
	return true;
}

/* --- code that is stored to --- */

enum patch { PATCH_MOV, PATCH_ALU, PATCH_JCC, PATCH_BYTE, PATCH_KINDS };

static struct patchable {
	int label;
	uint8_t kind;
	uint8_t r;
	uint8_t unit; /* of its instruction and of all stores to it: one without the other stores into something else */
	bool there; /* its instruction has been made */
} patchable[16];
static unsigned patchables;

void pieces_reset(void)
{
	patchables = 0;
}

static struct patchable *patchable_new(void)
{
	struct patchable *p = &patchable[patchables];

	if (patchables == sizeof(patchable) / sizeof(patchable[0]))
		return NULL;
	*p = (struct patchable){ .label = label_new(), .kind = (uint8_t)below(PATCH_KINDS), .r = (uint8_t)free_register() };
	if (p->label == NO_LABEL)
		return NULL;
	p->unit = (uint8_t)prog.units++;
	patchables++;
	return p;
}

static void make_patchable(struct patchable *p)
{
	uint8_t jcc[2] = { (uint8_t)(0x70 | below(16)), 0 };
	unsigned start = prog.count;
	struct item *it;
	int over;

	p->there = true;
	label_here(p->label);
	switch (p->kind) {
	case PATCH_MOV: mov_imm(p->r, (uint32_t)rnd()); break;
	case PATCH_ALU: add_modrm_op(0x83, below(8), p->r, true); break;
	case PATCH_BYTE: program_add((const uint8_t[]){ 0x90 }, 1); break;
	default: /* over one instruction */
		over = label_new();
		it = over == NO_LABEL ? NULL : program_add(jcc, 2);
		if (!it)
			return;
		it->fix = FIX_REL;
		it->fix_at = it->fix_size = 1;
		it->label = (int8_t)over;
		for (unsigned t = 0; t < 8 && !piece_flagless(); t++)
			;
		label_here(over);
	}
	if (prog.count > start)
		prog.item[start].unit = p->unit;
}

bool piece_patchable(void)
{
	struct patchable *p = NULL;

	if (!room())
		return false;
	for (unsigned i = 0; i < patchables && !p; i++)
		if (!patchable[i].there)
			p = &patchable[i];
	if (!p)
		p = patchable_new();
	if (p)
		make_patchable(p);
	return p != NULL;
}

/* The store: where in the instruction, and what. */
static void store_to(const struct patchable *p)
{
	static const uint8_t bytes[] = { 0x90, 0xf5, 0xf8, 0xf9, 0xfc };
	uint8_t b[10] = { 0xc6, 0x05 };
	unsigned rex = prog.proto.mode == INSN_MODE64 ? 1 : p->r > 7, at = 0, size = 1;
	struct item *it;
	uint32_t v = (uint32_t)rnd();

	switch (p->kind) {
	case PATCH_MOV: /* its immediate, or a byte of it */
		size = one_in(2) ? 4 : 1;
		at = 1 + (p->r > 7) + (size == 1 ? below(4) : 0);
		break;
	case PATCH_ALU: /* which operation; or its immediate */
		at = rex + 1;
		if (one_in(2))
			at++;
		else
			v = 0xc0 | (v & 0x38) | (p->r & 7);
		break;
	case PATCH_BYTE: v = bytes[below(sizeof(bytes))]; break;
	default: v = 0x70 | (v & 15);
	}
	if (size == 4)
		b[0] = 0xc7;
	memcpy(b + 6, &v, size);
	it = program_add(b, 6 + size);
	if (!it)
		return;
	it->fix = prog.proto.mode == INSN_MODE64 ? FIX_REL : FIX_ADDRESS;
	it->fix_at = 2;
	it->fix_size = 4;
	it->label = (int8_t)p->label;
	it->plus = (int32_t)at + (prog.in_alias ? 0 : DT_ALIAS);
	it->unit = p->unit;
	prog.stores_code = true;
}

/* IRET to the next instruction: serializes, as a store by another linear address wants (SDM vol. 3, 8.1.3). */
static void serialize(void)
{
	unsigned r = free_register(), start = prog.count;
	bool wide = prog.proto.mode == INSN_MODE64;
	int next = label_new();

	if (next == NO_LABEL)
		return;
	if (wide) {
		program_add((const uint8_t[]){ (uint8_t)(0x48 | r >> 3), 0x89, (uint8_t)(0xe0 | (r & 7)) }, 3); /* MOV r, RSP */
		push_imm(DT_DATA_SEL);
		push(r);
	}
	program_add((const uint8_t[]){ 0x9c }, 1);
	push_imm(wide ? DT_CODE64_SEL : DT_CODE32_SEL);
	mov_label(r, next, 0);
	push(r);
	program_add((const uint8_t[]){ 0x48, 0xcf } + !wide, 1u + wide);
	label_here(next);
	unite(start);
}

static void store_code(const struct patchable *p)
{
	unsigned start = prog.count;
	struct item *it;
	int next;

	store_to(p);
	if (!prog.in_alias) {
		serialize();
		unite(start);
	} else if (!one_in(3)) {
		next = label_new();
		it = next == NO_LABEL ? NULL : program_add((const uint8_t[]){ 0xeb, 0 }, 2);
		if (!it)
			return;
		it->fix = FIX_REL;
		it->fix_at = it->fix_size = 1;
		it->label = (int8_t)next;
		label_here(next);
	}
}

bool piece_store_code(void)
{
	struct patchable *p = patchables && one_in(2) ? &patchable[below(patchables)] : patchable_new();

	if (!p || !room())
		return false;
	store_code(p);
	return true;
}

int piece_patch_begin(void)
{
	struct patchable *p = room() ? patchable_new() : NULL;

	if (!p)
		return -1;
	make_patchable(p);
	return (int)(p - patchable);
}

void piece_patch_end(int which)
{
	if (which >= 0 && room())
		store_code(&patchable[which]);
}

void pieces_finish(void)
{
	for (unsigned i = 0; i < patchables; i++)
		if (!patchable[i].there)
			make_patchable(&patchable[i]);
}
