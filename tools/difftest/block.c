// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Blocks: straight lines of instructions whose memory operands do not depend on registers. In code with segments
 * of the LDT, segment registers are loaded in between, so that later accesses go by the descriptors that
 * were loaded, of which the selector alone tells nothing.
 */
#include "gen.h"

#include <string.h>

/* The segment registers as they are where the next instruction goes. */
static struct vcpu_segment now[SEG_COUNT];

/* What cannot stand in a block: control flow, the stack, memory by registers, pointers that compare.c would mask. */
static bool fits_block(const struct dt_case *c, const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	if (op->attr & (OP_ENDS | OP_REPSTR | OP_MASKED | OP_CPL0) || op->opnd[0].size == SIZE_XSAVE || op->implicit & (IMPL_RSP | IMPL_RSI | IMPL_RDI))
		return false;
	switch (in->id) {
	case INSN_ID_XLAT:
	case INSN_ID_BOUND:
	case INSN_ID_MOV_SEG:
	case INSN_ID_FNSTENV:
	case INSN_ID_FNSAVE:
	case INSN_ID_FXSAVE:
	case INSN_ID_FXRSTOR:
	case INSN_ID_WRFSBASE:
	case INSN_ID_WRGSBASE: return false;
	case INSN_ID_BT:
	case INSN_ID_BTS:
	case INSN_ID_BTR:
	case INSN_ID_BTC: return !(in->flags & INSN_MEM) || op->opnd[1].kind == OPND_I;
	default: return c->kind != DT_KIND_64 ? c->kind != DT_KIND_32 || in->addrsize == 4 : !(in->flags & INSN_SEG);
	}
}

/* Mostly where it does not fault: a fault ends the block. */
static uint64_t block_target(const struct dt_case *c, const struct insn *in)
{
	unsigned size = memory_size(in) ? memory_size(in) : 1;
	uint64_t at, la;
	uint32_t where;

	for (unsigned i = 0; i < 16; i++) {
		at = target(c, in->seg, size, in->addrsize);
		la = linear_of(c, in->seg, at);
		if (segment_inside(&c->seg[in->seg], at, size) && dt_writable(la, &where) && dt_writable(la + size - 1, &where) &&
		    (!(la & (size - 1)) || i > 8))
			return at;
		if (one_in(64))
			break;
	}
	return at;
}

static void take(struct dt_case *c, const struct insn *in, const uint8_t *bytes)
{
	memcpy(c->bytes + c->len, bytes, in->len);
	c->len += in->len;
	c->count++;
	c->row = in->row;
	c->decoded = (int8_t)in->len;
}

/* An instruction of @row, if what comes up fits. */
static void append_row(struct dt_case *c, unsigned row)
{
	const struct opcode *op = &opcode_table[row];
	struct dt_case one = *c;
	struct enc e = { .n = 0 };
	bool short_address;
	struct insn in;
	int r;

	memcpy(one.seg, now, sizeof(now));
	enc_prefixes(&e, op, c->kind);
	short_address = c->mode != INSN_MODE64 && (c->mode == INSN_MODE16) != (memchr(e.b, 0x67, e.n) != NULL);
	enc_opcode(&e, op, c->mode, -1);
	if (op->attr & OP_MODRM) { /* register, or absolute or RIP-relative memory */
		unsigned modrm = enc_modrm(op);

		enc_byte(&e, (modrm >> 6) == 3 ? modrm : (modrm & 0x38) | (short_address ? 6 : 5));
	}
	while (e.n < sizeof(e.b))
		enc_byte(&e, (unsigned)interesting() & 0xff);
	memcpy(one.bytes, e.b, INSN_BYTES_MAX + 1);
	one.in.rip += c->len;
	r = insn_decode(one.bytes, INSN_BYTES_MAX + 1, c->mode, &in);
	if (r <= 0 || !runs_natively(&opcode_table[in.row]) || !fits_block(c, &in))
		return;
	one.has_ea = false;
	if ((in.flags & INSN_MEM) && memory_size(&in)) {
		if (in.index != GPR_ZERO || (in.base != GPR_ZERO && in.base != GPR_RIP))
			return;
		if (c->mode != INSN_MODE64 && (c->kind != DT_KIND_32 || one_in(16)))
			aim(&one, &in, block_target(&one, &in));
		else if (one_in(16))
			aim(&one, &in, target(&one, in.seg, memory_size(&in), 4));
		else
			aim_linear(&one, &in, DT_DATA + (below(2 * DT_PAGE - 64) & ~(one_in(4) ? 0u : 31u)));
		find_ea(&one, &in);
	}
	if (compare_excluded(&one, &in))
		return;
	take(c, &in, one.bytes);
}

/* --- loads of segment registers --- */

/* Appends @n bytes that are one instruction. */
static void append_bytes(struct dt_case *c, const uint8_t *bytes, unsigned n)
{
	uint8_t padded[INSN_BYTES_MAX + 1] = { 0 };
	struct insn in;

	memcpy(padded, bytes, n);
	if (insn_decode(padded, sizeof(padded), c->mode, &in) == (int)n)
		take(c, &in, padded);
}

/* MOV rAX, imm; MOV Sreg, AX; and with SS also MOV ESP, imm; PUSH or POP. */
static void append_load(struct dt_case *c)
{
	static const uint8_t loadable[] = { SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS };
	unsigned seg = loadable[below(sizeof(loadable))];
	uint16_t sel = one_in(16) ? selector() : seg == SEG_SS ? stack_selector() : data_selector();
	uint32_t sp;
	bool small = c->mode == INSN_MODE16;
	struct dt_case one = *c;
	uint8_t b[8] = { 0x66, 0xb8 };

	memcpy(b + 2, &sel, 2);
	append_bytes(c, small ? b + 1 : b, small ? 3 : 4);
	append_bytes(c, (const uint8_t[]){ 0x8e, (uint8_t)(0xc0 | seg << 3) }, 2);
	now[seg] = segment_of(sel);
	if (seg != SEG_SS)
		return;
	memcpy(one.seg, now, sizeof(now));
	sp = (uint32_t)target(&one, SEG_SS, 4, stack_width(&one));
	if (sp - 16 > 0xffffffe0) /* over the end of 4 GiB: may fault or not */
		sp = 0x40;
	b[1] = 0xbc;
	memcpy(b + 2, &sp, 4);
	append_bytes(c, small ? b : b + 1, small ? 6 : 5);
	b[1] = (uint8_t)((one_in(2) ? 0x50 : 0x58) | below(8));
	if ((b[1] & 7) == RSP)
		b[1] ^= 1;
	if (one_in(2))
		append_bytes(c, b, 2);
	else
		append_bytes(c, b + 1, 1);
}

/* A whole block has room before the next thing in the code pages. */
bool block_starts(struct dt_case *c)
{
	memcpy(now, c->seg, sizeof(now));
	return c->code >= DT_CODE + DT_PAGE && c->code < DT_CODE + 2 * DT_PAGE - DT_BYTES - 16;
}

void block_append(struct dt_case *c, unsigned row)
{
	if ((c->kind == DT_KIND_16 || c->kind == DT_KIND_LDT) && one_in(6))
		append_load(c);
	else
		append_row(c, row);
}

void block_finish(struct dt_case *c)
{
	memset(c->bytes + c->len, 0xcc, sizeof(c->bytes) - c->len);
}
