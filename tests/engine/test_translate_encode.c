// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest's instructions encoded anew (translate/encode.c): every row of the opcode table, decoded in three
 * modes in register and memory form, is encoded with other registers and another memory operand, and decoded again. All that
 * was not asked to change must be the same, and Zydis must see the same instruction.
 *
 * What may be refused is stated here a second time, from code.h. A longer run: --count N (encodings of each
 * row, mode and form, default 100), --seed N (default: the time).
 */
#include "engine/soft/translate/code.h"
#include "engine/vcpu_state.h"
#include "random.h"
#include "zydis_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static unsigned long count = 100;
static uint64_t seed;

/* --- guest instructions of a row --- */

static unsigned vex_bytes(uint8_t *b, const struct opcode *op, enum insn_mode mode)
{
	static const uint8_t pp[] = { [PP_NONE] = 0, [PP_66] = 1, [PP_F3] = 2, [PP_F2] = 3 };
	unsigned n = 0, w = op->attr & OP_W1 ? 0x80 : op->attr & OP_W0 || one_in(2) ? 0 : 0x80;
	unsigned l = op->attr & OP_L1 ? 4 : op->attr & OP_L0 || one_in(2) ? 0 : 4;

	b[n++] = 0xc4;
	b[n++] = (uint8_t)((mode == INSN_MODE64 ? rnd() & 0xe0 : 0xc0 | (rnd() & 0x20)) | op->map);
	b[n++] = (uint8_t)(w | l | pp[op->pp] | (op->attr & OP_NOVVVV ? 0x78 : rnd() & 0x78));
	b[n++] = op->opcode;
	return n;
}

static unsigned legacy_bytes(uint8_t *b, const struct opcode *op, enum insn_mode mode, bool mem)
{
	unsigned n = 0;

	if ((op->attr & OP_LOCK) && mem && one_in(3))
		b[n++] = 0xf0;
	if (op->pp == PP_66 || (op->pp != PP_NONE && one_in(3)))
		b[n++] = 0x66;
	if (op->pp == PP_F3 || op->pp == PP_F2)
		b[n++] = op->pp == PP_F3 ? 0xf3 : 0xf2;
	else if (op->pp == PP_ANY && op->opcode != 0x90 && one_in(16)) /* F3 REX.B 90 is PAUSE for Zydis */
		b[n++] = one_in(2) ? 0xf3 : 0xf2;
	if (mode == INSN_MODE64 && ((op->attr & OP_W1) || one_in(2)))
		b[n++] = (uint8_t)(0x40 | (rnd() & (op->attr & OP_W0 ? 7 : 15)) | (op->attr & OP_W1 ? 8 : 0));
	if (op->map != MAP_ONE)
		b[n++] = 0x0f;
	if (op->map == MAP_0F38 || op->map == MAP_0F3A)
		b[n++] = op->map == MAP_0F38 ? 0x38 : 0x3a;
	b[n++] = (uint8_t)(op->opcode + (op->attr & OP_PLUSR ? rnd() & 7 : 0));
	return n;
}

static unsigned evex_bytes(uint8_t *b, const struct opcode *op, enum insn_mode mode)
{
	static const uint8_t pp[] = { [PP_NONE] = 0, [PP_66] = 1, [PP_F3] = 2, [PP_F2] = 3 };
	uint64_t x = rnd();
	unsigned w = op->attr & OP_W0 ? 0 : op->attr & OP_W1 ? 1 : x & 1, ll = op->evex & EV_L2 ? 2 : op->attr & OP_L0 ? 0 : x >> 1 & 3;
	unsigned vvvv = op->attr & OP_NOVVVV ? 0x1f : mode == INSN_MODE64 ? x >> 3 & 0x1f : 0x10 | (x >> 3 & 0xf);

	b[0] = 0x62;
	b[1] = (uint8_t)((mode == INSN_MODE64 ? x >> 8 & 0xf0 : 0xf0) | op->map);
	b[2] = (uint8_t)(w << 7 | (vvvv & 0xf) << 3 | 4 | pp[op->pp & 3]);
	b[3] = (uint8_t)(ll << 5 | (vvvv & 0x10) >> 1);
	if (op->evex & EV_K)
		b[3] |= x >> 16 & 7;
	if ((op->evex & EV_Z) && b[3] & 7)
		b[3] |= x >> 12 & 0x80;
	if (op->evex & (EV_B | EV_ER | EV_SAE))
		b[3] |= x >> 16 & 0x10;
	b[4] = op->opcode;
	return 5;
}

/* An instruction of row @row, if chance makes one that @mode has. */
static bool make_guest(uint8_t b[32], unsigned row, enum insn_mode mode, bool mem, struct insn *in)
{
	static const uint8_t segs[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	const struct opcode *op = &opcode_table[row];
	unsigned n = 0;

	for (unsigned i = 0; i < 32; i++)
		b[i] = (uint8_t)rnd();
	if (one_in(8))
		b[n++] = 0x67;
	if (one_in(8))
		b[n++] = segs[rnd() % sizeof(segs)];
	n += op->evex ? evex_bytes(b + n, op, mode) : op->attr & OP_VEX ? vex_bytes(b + n, op, mode) : legacy_bytes(b + n, op, mode, mem);
	if (op->attr & OP_MODRM) {
		uint64_t x = rnd();
		unsigned reg = op->ext >= 0 ? (unsigned)op->ext : x & 7;
		unsigned rm = op->mod == 3 && op->rm >= 0 ? (unsigned)op->rm : x >> 3 & 7;

		b[n] = (uint8_t)((mem ? (x >> 6) % 3 << 6 : 0xc0) | reg << 3 | rm);
	}
	return insn_decode(b, 32, mode, in) > 0 && in->row == row && !(in->flags & INSN_MEM) == !mem;
}

/* --- what code.h promises --- */

static bool has_kind(const struct opcode *op, unsigned kind)
{
	for (unsigned i = 0; i < 4; i++)
		if (op->opnd[i].kind == kind)
			return true;
	return false;
}

/* The operand of @kind is a byte register. */
static bool byte_operand(const struct opcode *op, unsigned kind)
{
	for (unsigned i = 0; i < 4; i++)
		if (op->opnd[i].kind == kind && op->opnd[i].size == 1)
			return true;
	return false;
}

static bool shows_opsize(const struct opcode *op)
{
	static const uint8_t sizes[] = { SIZE_V, SIZE_Z, SIZE_Y, SIZE_2V, SIZE_FP, SIZE_FPENV };

	for (unsigned i = 0; i < 4; i++)
		if (op->opnd[i].kind != OPND_NONE && memchr(sizes, op->opnd[i].size, sizeof(sizes)))
			return true;
	return (op->attr & (OP_DEF64 | OP_FORCE64 | OP_NATSIZE)) || op->id == INSN_ID_CBW || op->id == INSN_ID_CWD;
}

/* Incremented and decremented registers, and the alias of 80, have another opcode in 64-bit mode. */
static bool other_opcode_in_64(const struct opcode *op)
{
	return op->map == MAP_ONE && ((op->opcode >= 0x40 && op->opcode < 0x50) || op->opcode == 0x82);
}

static bool row_can_be_said(const struct opcode *op)
{
	static const uint8_t not_copied[] = { OPND_J, OPND_X, OPND_Y, OPND_FAR, OPND_S, OPND_C, OPND_D, OPND_VM };

	for (unsigned i = 0; i < sizeof(not_copied); i++)
		if (has_kind(op, not_copied[i]))
			return false;
	switch (op->id) {
	case INSN_ID_XLAT: /* memory that no operand names */
	case INSN_ID_MASKMOVQ:
	case INSN_ID_MASKMOVDQU:
	case INSN_ID_VMASKMOVDQU: return false;
	default: return !(op->attr & OP_ENDS) && (!(op->attr & OP_NO64) || other_opcode_in_64(op));
	}
}

/* In a copy of @in with INSN_MEM: can the register operand be memory? */
static bool can_be_made_memory(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	if (op->attr & OP_MODRM)
		return op->mod == 0;
	if (op->id == INSN_ID_MOV && op->opcode == 0xb8 && in->opsize == 8)
		return in->imm == (uint64_t)(int32_t)in->imm;
	return (op->attr & OP_ACC0) || ((op->attr & OP_PLUSR) && op->id != INSN_ID_BSWAP);
}

/* A byte register that the guest calls AH to BH and the translation does, too. */
static bool stays_high(unsigned number, unsigned guest, unsigned offset) { return number == guest && (offset & 1); }

static bool can_be_said(const struct insn *in, const struct encode *e)
{
	const struct opcode *op = &opcode_table[in->row];
	bool mem = in->flags & INSN_MEM, high = false, low = false, rex = in->flags & INSN_W;

	if (!row_can_be_said(op))
		return false;
	if ((op->attr & OP_DEF64) && in->opsize == 4)
		return false;
	if ((op->attr & (OP_FORCE64 | OP_NATSIZE)) && in->opsize != 8)
		return false;
	if (has_kind(op, OPND_G)) {
		rex |= e->reg >= 8;
		if (byte_operand(op, OPND_G)) {
			high |= stays_high(e->reg, in->reg, in->reg_off);
			low |= !stays_high(e->reg, in->reg, in->reg_off) && e->reg / 4 == 1;
		}
	}
	if (mem) {
		rex |= (e->mem.base != HOST_NONE && e->mem.base >= 8) || (e->mem.index != HOST_NONE && e->mem.index >= 8);
	} else if (has_kind(op, OPND_E)) {
		rex |= e->rm >= 8;
		if (byte_operand(op, OPND_E)) {
			high |= stays_high(e->rm, in->rm, in->rm_off);
			low |= !stays_high(e->rm, in->rm, in->rm_off) && e->rm / 4 == 1;
		}
	}
	return !high || !(rex || low);
}

/* --- comparing --- */

#define EXPECT(c)                         \
	do {                              \
		if (!(c))                 \
			return #c;        \
	} while (0)

/* The row may be another one only where the guest's has no ModRM byte and needs it, or no encoding in 64-bit mode. */
static const char *row_differs(const struct insn *in, const struct insn *out, const struct encode *e)
{
	const struct opcode *a = &opcode_table[in->row], *b = &opcode_table[out->row];
	bool xchg = a->id == INSN_ID_XCHG && (a->attr & OP_PLUSR);

	EXPECT(in->id == out->id);
	if (in->row == out->row)
		return NULL;
	EXPECT((a->attr & OP_MOFFS) || ((a->attr & OP_ACC0) && e->rm != RAX) || other_opcode_in_64(a) ||
	       (xchg && e->rm == RAX) || (!(a->attr & OP_MODRM) && (in->flags & INSN_MEM)));
	EXPECT(b->attr & OP_MODRM);
	for (unsigned i = 0; i < 4; i++) {
		if (xchg && i == 1) /* the accumulator has become modrm.reg */
			EXPECT(b->opnd[1].kind == OPND_G && out->reg == RAX);
		else
			EXPECT(a->opnd[i].kind == b->opnd[i].kind && a->opnd[i].access / 4 == b->opnd[i].access / 4);
	}
	return NULL;
}

static const char *registers_differ(const struct insn *in, const struct insn *out, const struct encode *e)
{
	const struct opcode *op = &opcode_table[in->row];

	if (has_kind(op, OPND_G)) {
		EXPECT(out->reg == e->reg);
		if (byte_operand(op, OPND_G) && stays_high(e->reg, in->reg, in->reg_off))
			EXPECT(out->reg_off == in->reg_off);
		else
			EXPECT(out->reg_off == 8 * e->reg);
	}
	if (has_kind(op, OPND_V) || has_kind(op, OPND_P))
		EXPECT(out->reg == in->reg);
	if (has_kind(op, OPND_B))
		EXPECT(out->vvvv == e->vvvv);
	if (has_kind(op, OPND_H))
		EXPECT(out->vvvv == in->vvvv);
	if (has_kind(op, OPND_L))
		EXPECT(out->is4 == in->is4 && !((out->imm ^ in->imm) & 0xf));
	else
		EXPECT(out->imm == in->imm || (op->attr & OP_MOFFS));
	if (in->flags & INSN_MEM)
		return NULL;
	if (has_kind(op, OPND_E) || has_kind(op, OPND_R)) {
		EXPECT(out->rm == e->rm);
		if (byte_operand(op, OPND_E) && stays_high(e->rm, in->rm, in->rm_off))
			EXPECT(out->rm_off == in->rm_off);
		else
			EXPECT(out->rm_off == 8 * e->rm);
	}
	if (has_kind(op, OPND_W) || has_kind(op, OPND_U) || has_kind(op, OPND_Q) || has_kind(op, OPND_N) || has_kind(op, OPND_STI))
		EXPECT(out->rm == in->rm);
	return NULL;
}

static const char *memory_differs(const struct insn *out, struct host_mem m)
{
	EXPECT(out->addrsize == 8);
	EXPECT(out->base == (m.base == HOST_NONE ? GPR_ZERO : m.base));
	EXPECT(out->index == (m.index == HOST_NONE ? GPR_ZERO : m.index));
	EXPECT(m.index == HOST_NONE || out->scale == m.scale);
	EXPECT(out->disp == m.disp);
	EXPECT(m.gs ? out->seg == SEG_GS : !(out->flags & INSN_SEG));
	return NULL;
}

static const char *differs(const struct insn *in, const struct insn *out, const struct encode *e)
{
	enum { SAME = INSN_MEM | INSN_LOCK | INSN_VEX | INSN_L | INSN_EVEX | INSN_L2 | INSN_B | INSN_Z };
	const struct opcode *op = &opcode_table[in->row];
	const char *what = row_differs(in, out, e);

	if (what)
		return what;
	EXPECT(!((in->flags ^ out->flags) & SAME));
	EXPECT(in->aaa == out->aaa);
	EXPECT(!(out->flags & (INSN_REP | INSN_REPNE | INSN_MOFFS)));
	if (shows_opsize(op)) {
		for (unsigned i = 0; i < 4; i++)
			EXPECT(insn_operand_size(in, i) == insn_operand_size(out, i));
		EXPECT((op->attr & OP_BYTE) || has_kind(op, OPND_R) || op->pp != PP_ANY || in->opsize == out->opsize);
	} else {
		EXPECT(!((in->flags ^ out->flags) & INSN_W));
	}
	if (op->id == INSN_ID_SETCC || op->id == INSN_ID_CMOVCC)
		EXPECT(in->cc == out->cc);
	what = registers_differ(in, out, e);
	if (!what && (in->flags & INSN_MEM))
		what = memory_differs(out, e->mem);
	return what;
}

/* Length and operands of the @n bytes at @b, and the mnemonic against the guest's bytes @g. */
static const char *zydis_differs(const uint8_t *b, unsigned n, const struct insn *out, const uint8_t *g, enum insn_mode mode)
{
	ZydisDecodedInstruction z, zg;
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];

	EXPECT(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&zydis[INSN_MODE64], b, n, &z, o)));
	EXPECT(z.length == n);
	EXPECT(operands_may_differ(out) || operands_agree(out, &z, o));
	EXPECT(ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&zydis[mode], NULL, g, INSN_BYTES_MAX, &zg)));
	EXPECT(z.mnemonic == zg.mnemonic);
	return NULL;
}

/* --- encoding --- */

static struct host_mem random_mem(void)
{
	struct host_mem m = { .base = rnd() & 15, .index = rnd() & 15, .scale = rnd() & 3, .gs = one_in(4) };

	if (one_in(4))
		m.base = HOST_NONE;
	if (one_in(2) || m.index == RSP) {
		m.index = HOST_NONE;
		m.scale = 0;
	}
	switch (rnd() % 4) {
	case 0: break;
	case 1: m.disp = (int8_t)rnd(); break;
	case 2: m.disp = (int[]){ 127, 128, -128, -129 }[rnd() & 3]; break;
	default: m.disp = (int32_t)rnd(); break;
	}
	return m;
}

static struct encode random_operands(const struct insn *in)
{
	struct encode e = encode_same(in);

	if (one_in(2))
		e.reg = rnd() & 15;
	if (one_in(2))
		e.rm = rnd() & 15;
	if (one_in(2))
		e.vvvv = rnd() & 15;
	e.mem = random_mem();
	return e;
}

enum { AREA = 64, START = 24 };

static bool untouched(const uint8_t *area, unsigned from, unsigned to)
{
	for (unsigned i = 0; i < AREA; i++)
		if ((i < from || i >= to) && area[i] != 0xcc)
			return false;
	return true;
}

/* Encodes with room to spare (the length is @n then), with room for just so many bytes, with one byte less. */
static const char *encode_in_all_rooms(const struct insn *in, const struct encode *e, uint8_t area[AREA], unsigned *n)
{
	uint8_t tight[AREA];
	struct code c = { .p = area + START, .end = area + AREA };

	memset(area, 0xcc, AREA);
	EXPECT(encode_insn(&c, in, e));
	EXPECT(!c.full);
	*n = (unsigned)(c.p - area) - START;
	EXPECT(*n >= 1 && *n <= INSN_BYTES_MAX);
	EXPECT(untouched(area, START, START + *n));

	memset(tight, 0xcc, AREA);
	c = (struct code){ .p = tight + START, .end = tight + START + *n };
	EXPECT(encode_insn(&c, in, e));
	EXPECT(!c.full && c.p == c.end);
	EXPECT(!memcmp(tight, area, AREA));

	memset(tight, 0xcc, AREA);
	c = (struct code){ .p = tight + START, .end = tight + START + *n - 1 };
	EXPECT(encode_insn(&c, in, e));
	EXPECT(c.full && c.p == tight + START);
	EXPECT(untouched(tight, 0, 0));
	return NULL;
}

static const char *refuse(const struct insn *in, const struct encode *e)
{
	uint8_t area[AREA];
	struct code c = { .p = area + START, .end = area + AREA };

	memset(area, 0xcc, AREA);
	EXPECT(!encode_insn(&c, in, e));
	EXPECT(!c.full && c.p == area + START);
	EXPECT(untouched(area, 0, 0));
	return NULL;
}

/* One guest instruction @in (its bytes @g) with operands @e; @said: was it encoded? */
static const char *try_one(const struct insn *in, const struct encode *e, const uint8_t *g, enum insn_mode mode, bool *said)
{
	uint8_t area[AREA];
	struct insn out;
	unsigned n;
	const char *what;

	*said = can_be_said(in, e);
	if (!*said)
		return refuse(in, e);
	what = encode_in_all_rooms(in, e, area, &n);
	if (what)
		return what;
	EXPECT(insn_decode(area + START, n, INSN_MODE64, &out) == (int)n);
	what = differs(in, &out, e);
	return what ? what : zydis_differs(area + START, n, &out, g, mode);
}

static void report(const char *what, const struct insn *in, const struct encode *e, const uint8_t *g, enum insn_mode mode)
{
	uint8_t area[AREA];
	struct code c = { .p = area, .end = area + AREA };
	char text[128];

	fprintf(stderr, "%s\n  row %u, mode %d, %s, guest", what, in->row, mode, insn_print(in, 0, text, sizeof(text)));
	for (unsigned i = 0; i < in->len; i++)
		fprintf(stderr, " %02x", g[i]);
	fprintf(stderr, "\n  reg %u, rm %u, vvvv %u, mem %02x + %02x << %u + %d%s:", e->reg, e->rm, e->vvvv, e->mem.base, e->mem.index,
		e->mem.scale, e->mem.disp, e->mem.gs ? ", gs" : "");
	if (!encode_insn(&c, in, e))
		fprintf(stderr, " refused");
	for (uint8_t *p = area; p < c.p; p++)
		fprintf(stderr, " %02x", *p);
	fprintf(stderr, "\n");
}

/* All of one row in one mode and form; counts failures, and encodings that were possible. */
static unsigned try_row(unsigned row, enum insn_mode mode, bool mem, unsigned *said)
{
	unsigned bad = 0;

	for (unsigned i = 0, made = 0; i < 8 * count && made < count; i++) {
		uint8_t g[32];
		struct insn in;
		struct encode e;
		const char *what;
		bool yes;

		if (!make_guest(g, row, mode, mem, &in))
			continue;
		made++;
		e = random_operands(&in);
		what = try_one(&in, &e, g, mode, &yes);
		*said += yes;
		if (!what && !mem && in.id != INSN_ID_NOP && !(in.flags & INSN_EVEX)) { /* the register operand made memory */
			in.flags |= INSN_MEM;
			if (can_be_made_memory(&in))
				what = try_one(&in, &e, g, mode, &yes);
			else
				what = refuse(&in, &e);
		}
		if (what) {
			report(what, &in, &e, g, mode);
			if (++bad == 3)
				break;
		}
	}
	return bad;
}

static void every_row_is_encoded_with_other_operands_or_refused_as_promised(void **state)
{
	unsigned bad = 0, rows = 0;

	rnd_start(seed);
	for (unsigned row = 0; row < opcode_count && bad < 20; row++) {
		const struct opcode *op = &opcode_table[row];
		bool has_mem = op->attr & OP_MODRM ? op->mod < 2 : op->attr & OP_MOFFS;
		bool has_reg = op->attr & OP_MODRM ? op->mod != 1 : !(op->attr & OP_MOFFS);
		unsigned in_mem = 0, in_reg = 0;

		for (int mode = INSN_MODE16; mode <= INSN_MODE64; mode++) {
			if (has_mem)
				bad += try_row(row, mode, true, &in_mem);
			if (has_reg)
				bad += try_row(row, mode, false, &in_reg);
		}
		if (!row_can_be_said(op))
			continue;
		rows++;
		if ((has_mem && !in_mem) || (has_reg && !in_reg)) {
			fprintf(stderr, "row %u (%s, opcode %02x) was never encoded\n", row, op->name, op->opcode);
			bad++;
		}
	}
	printf("%u of %u rows\n", rows, opcode_count);
	assert_int_equal(bad, 0);
}

/* --- by hand --- */

static unsigned from_hex(const char *hex, uint8_t *b)
{
	unsigned n = 0, v;
	int used;

	while (sscanf(hex, "%2x%n", &v, &used) == 1) {
		b[n++] = (uint8_t)v;
		hex += used;
	}
	return n;
}

static struct insn decoded(enum insn_mode mode, const char *hex)
{
	struct insn in;
	uint8_t b[16];
	unsigned n = from_hex(hex, b);

	assert_int_equal(insn_decode(b, n, mode, &in), n);
	return in;
}

/* @expect: bytes, or NULL for a refusal */
static void encodes_to(const struct insn *in, const struct encode *e, const char *expect)
{
	uint8_t area[AREA], b[16];
	struct code c = { .p = area, .end = area + AREA };
	bool said = encode_insn(&c, in, e);

	if (!expect) {
		assert_false(said);
		assert_ptr_equal(c.p, area);
		return;
	}
	assert_true(said);
	assert_int_equal(c.p - area, from_hex(expect, b));
	assert_memory_equal(area, b, (size_t)(c.p - area));
}

static void operand_sizes_are_those_of_64_bit_mode(void **state)
{
	static const struct {
		enum insn_mode mode;
		const char *guest, *host;
	} t[] = {
		{ INSN_MODE16, "50", "66 50" }, /* push ax */
		{ INSN_MODE16, "58", "66 58" },
		{ INSN_MODE16, "6a ff", "66 6a ff" },
		{ INSN_MODE16, "68 34 12", "66 68 34 12" },
		{ INSN_MODE32, "50", NULL }, /* push eax: 64-bit mode has no push of 4 bytes */
		{ INSN_MODE32, "66 50", "66 50" },
		{ INSN_MODE32, "6a ff", NULL },
		{ INSN_MODE32, "c9", NULL },
		{ INSN_MODE64, "50", "50" },
		{ INSN_MODE64, "48 50", "50" },
		{ INSN_MODE64, "66 41 50", "66 41 50" },
		{ INSN_MODE32, "40", "ff c0" }, /* inc eax */
		{ INSN_MODE16, "4f", "66 ff cf" }, /* dec di */
		{ INSN_MODE32, "82 c1 7f", "80 c1 7f" },
		{ INSN_MODE16, "01 d8", "66 01 d8" }, /* add ax, bx */
		{ INSN_MODE16, "66 01 d8", "01 d8" },
		{ INSN_MODE32, "01 d8", "01 d8" },
		{ INSN_MODE32, "66 01 d8", "66 01 d8" },
		{ INSN_MODE64, "48 01 d8", "48 01 d8" },
		{ INSN_MODE64, "66 48 01 d8", "48 01 d8" }, /* REX.W wins */
		{ INSN_MODE16, "98", "66 98" }, /* cbw */
		{ INSN_MODE16, "66 98", "98" },
		{ INSN_MODE64, "48 99", "48 99" },
		{ INSN_MODE16, "0f 10 c1", "0f 10 c1" }, /* movups: 66 would make it movupd */
		{ INSN_MODE16, "66 0f 10 c1", "66 0f 10 c1" },
		{ INSN_MODE16, "f3 0f 10 c1", "f3 0f 10 c1" },
		{ INSN_MODE16, "f3 0f b8 c1", "66 f3 0f b8 c1" }, /* popcnt ax, cx */
		{ INSN_MODE16, "d9 e8", "d9 e8" },
		{ INSN_MODE64, "66 48 0f 6e c0", "66 48 0f 6e c0" }, /* movq xmm0, rax */
		{ INSN_MODE64, "66 48 0f 3a 61 c1 05", "66 48 0f 3a 61 c1 05" }, /* pcmpestri with RAX and RDX */
		{ INSN_MODE64, "48 b8 88 77 66 55 44 33 22 11", "48 b8 88 77 66 55 44 33 22 11" },
		{ INSN_MODE64, "66 b8 34 12", "66 b8 34 12" },
		{ INSN_MODE64, "40 88 e5", "40 88 e5" }, /* mov bpl, spl */
		{ INSN_MODE64, "40 88 c1", "88 c1" }, /* an empty REX */
		{ INSN_MODE64, "88 e5", "88 e5" }, /* mov ch, ah */
		{ INSN_MODE64, "f3 90", "f3 90" },
		{ INSN_MODE64, "c4 e1 7c 58 c1", "c5 fc 58 c1" }, /* vaddps in its shorter form */
		{ INSN_MODE64, "c4 c1 7c 58 c1", "c4 c1 7c 58 c1" },
		{ INSN_MODE32, "60", NULL },
		{ INSN_MODE32, "27", NULL },
		{ INSN_MODE64, "d7", NULL },
		{ INSN_MODE64, "eb 00", NULL },
		{ INSN_MODE64, "a4", NULL },
		{ INSN_MODE64, "8e d8", NULL },
		{ INSN_MODE64, "0f 22 d8", NULL },
		{ INSN_MODE64, "0f 05", NULL },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct insn in = decoded(t[i].mode, t[i].guest);
		struct encode e = encode_same(&in);

		encodes_to(&in, &e, t[i].host);
	}
}

static void ah_to_bh_are_refused_beside_rex_and_kept_otherwise(void **state)
{
	struct insn load = decoded(INSN_MODE64, "8a 20"), move = decoded(INSN_MODE64, "88 dc"); /* mov ah, [rax]; mov ah, bl */
	struct encode e = encode_same(&load);

	e.mem = host_at(RBX, 0);
	encodes_to(&load, &e, "8a 23");
	e.mem = host_at(R14, 0);
	encodes_to(&load, &e, NULL);
	e.mem = host_indexed(RBX, R15, 0, 0);
	encodes_to(&load, &e, NULL);
	e.mem = HOST_CPU(gpr[0]);
	e.mem.disp = 0x11;
	encodes_to(&load, &e, "65 8a 24 25 11 00 00 00");
	e.mem = host_at(R14, 0); /* another register's low byte in its place */
	e.reg = R15;
	encodes_to(&load, &e, "45 8a 3e");

	e = encode_same(&move);
	encodes_to(&move, &e, "88 dc");
	e.reg = R8;
	encodes_to(&move, &e, NULL);
	e.reg = RSI; /* SIL needs REX */
	encodes_to(&move, &e, NULL);
	e.reg = RDX;
	encodes_to(&move, &e, "88 d4");
	e.rm = R9;
	encodes_to(&move, &e, "41 88 d1");
}

static void rows_without_modrm_take_it_for_another_register_or_memory(void **state)
{
	static const struct {
		enum insn_mode mode;
		const char *guest, *to_r14, *to_memory; /* [gs:0x40] */
	} t[] = {
		{ INSN_MODE64, "04 7f", "41 80 c6 7f", "65 80 04 25 40 00 00 00 7f" }, /* add al, 0x7f */
		{ INSN_MODE64, "3d 01 00 00 80", "41 81 fe 01 00 00 80", "65 81 3c 25 40 00 00 00 01 00 00 80" },
		{ INSN_MODE64, "a8 01", "41 f6 c6 01", "65 f6 04 25 40 00 00 00 01" }, /* test al, 1 */
		{ INSN_MODE64, "50", "41 56", "65 ff 34 25 40 00 00 00" },
		{ INSN_MODE64, "58", "41 5e", "65 8f 04 25 40 00 00 00" },
		{ INSN_MODE64, "b0 01", "41 b6 01", "65 c6 04 25 40 00 00 00 01" },
		{ INSN_MODE64, "48 b8 ff ff ff ff ff ff ff ff", "49 be ff ff ff ff ff ff ff ff",
		  "65 48 c7 04 25 40 00 00 00 ff ff ff ff" },
		{ INSN_MODE64, "48 b8 ff ff ff ff 00 00 00 00", "49 be ff ff ff ff 00 00 00 00", NULL },
		{ INSN_MODE64, "0f c8", "41 0f ce", NULL }, /* bswap */
		{ INSN_MODE64, "91", "41 96", "65 87 04 25 40 00 00 00" }, /* xchg eax, ecx */
		{ INSN_MODE32, "41", "41 ff c6", "65 ff 04 25 40 00 00 00" },
	};
	struct insn in = decoded(INSN_MODE64, "91");
	struct encode e;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct insn guest = decoded(t[i].mode, t[i].guest);

		e = encode_same(&guest);
		e.rm = R14;
		encodes_to(&guest, &e, t[i].to_r14);
		guest.flags |= INSN_MEM;
		e.mem = host_cpu(0x40);
		encodes_to(&guest, &e, t[i].to_memory);
	}
	e = encode_same(&in);
	e.rm = RAX; /* 90 would be NOP, which keeps bits 63-32 */
	encodes_to(&in, &e, "87 c0");

	in = decoded(INSN_MODE64, "48 a1 88 77 66 55 44 33 22 11"); /* mov rax, moffs64 */
	e = encode_same(&in);
	e.mem = host_at(R14, 0);
	encodes_to(&in, &e, "49 8b 06");
	in = decoded(INSN_MODE32, "a2 88 77 66 55"); /* mov moffs32, al */
	encodes_to(&in, &e, "41 88 06");
}

static void a_full_area_stays_as_it_is(void **state)
{
	struct insn in = decoded(INSN_MODE64, "90");
	struct encode e = encode_same(&in);
	uint8_t area[AREA];
	struct code c = { .p = area, .end = area + AREA, .full = true };

	memset(area, 0xcc, AREA);
	assert_true(encode_insn(&c, &in, &e));
	assert_true(c.full);
	assert_ptr_equal(c.p, area);
	assert_true(untouched(area, 0, 0));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_is_encoded_with_other_operands_or_refused_as_promised),
		cmocka_unit_test(operand_sizes_are_those_of_64_bit_mode),
		cmocka_unit_test(ah_to_bh_are_refused_beside_rex_and_kept_otherwise),
		cmocka_unit_test(rows_without_modrm_take_it_for_another_register_or_memory),
		cmocka_unit_test(a_full_area_stays_as_it_is),
	};

	seed = random_options(argc, argv, &count);
	zydis_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
