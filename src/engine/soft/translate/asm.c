// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The translator's assembler (SDM vol. 2, chapters 2 to 5): the instructions that it needs of its own.
 *
 * Invariants: nothing is written behind struct code's end, nor behind the instruction asked for; once `full`
 * is set nothing is written at all. The branches return NULL then, and linking NULL does nothing, so that an
 * emitter need not look before its end.
 */
#include "engine/soft/translate/modrm.h"

/* --- bytes --- */

void asm_bytes(struct code *c, const void *bytes, size_t n)
{
	if (c->full || (size_t)(c->end - c->p) < n) {
		c->full = true;
		return;
	}
	memcpy(c->p, bytes, n);
	c->p += n;
}

void asm_byte(struct code *c, unsigned b)
{
	uint8_t v = (uint8_t)b;

	asm_bytes(c, &v, 1);
}

void asm_u32(struct code *c, uint32_t v)
{
	asm_bytes(c, &v, 4);
}

/* --- any instruction with ModRM --- */

/* modrm.reg is a part of the opcode in the one-byte groups of byte operands (SDM vol. 2, table A-6). */
static bool is_byte_group(unsigned opcode)
{
	switch (opcode) {
	case 0x80:
	case 0xc0:
	case 0xc6:
	case 0xd0:
	case 0xd2:
	case 0xf6:
	case 0xfe: return true;
	default: return false;
	}
}

/* SPL, BPL, SIL and DIL are AH, CH, DH and BH without REX. */
static unsigned byte_rex(unsigned n)
{
	return n >= 4 && n < 8 ? ENC_REX : 0;
}

/* Operand-size prefix, REX as @rex has it (0: none), opcode. */
static uint8_t *put_opcode(uint8_t *p, unsigned size, unsigned rex, unsigned opcode)
{
	if (size == 2)
		*p++ = 0x66;
	if (size == 8)
		rex |= ENC_W;
	if (rex)
		*p++ = (uint8_t)(ENC_REX | rex);
	if (opcode > 0xff)
		*p++ = (uint8_t)(opcode >> 8);
	*p++ = (uint8_t)opcode;
	return p;
}

static uint8_t *put_rr(uint8_t *p, unsigned size, unsigned opcode, unsigned reg, unsigned rm)
{
	unsigned rex = (reg >= 8 ? ENC_R : 0u) | (rm >= 8 ? ENC_B : 0u);

	if (size == 1)
		rex |= byte_rex(rm) | (is_byte_group(opcode) ? 0 : byte_rex(reg));
	p = put_opcode(p, size, rex, opcode);
	return put_modrm_reg(p, reg, rm);
}

static uint8_t *put_rm(uint8_t *p, unsigned size, unsigned opcode, unsigned reg, struct host_mem m)
{
	unsigned rex = (reg >= 8 ? ENC_R : 0u) | mem_rex(m);

	if (size == 1 && !is_byte_group(opcode))
		rex |= byte_rex(reg);
	if (m.gs)
		*p++ = 0x65;
	p = put_opcode(p, size, rex, opcode);
	return put_modrm_mem(p, reg, m, false);
}

/* @n low bytes of @v */
static uint8_t *put_imm(uint8_t *p, uint64_t v, unsigned n)
{
	memcpy(p, &v, n);
	return p + n;
}

void asm_rr(struct code *c, unsigned size, unsigned opcode, unsigned reg, unsigned rm)
{
	uint8_t tmp[ROOM], *p = insn_begin(c, tmp);

	insn_end(c, p, put_rr(p, size, opcode, reg, rm));
}

void asm_rm(struct code *c, unsigned size, unsigned opcode, unsigned reg, struct host_mem m)
{
	uint8_t tmp[ROOM], *p = insn_begin(c, tmp);

	insn_end(c, p, put_rm(p, size, opcode, reg, m));
}

/* --- moves --- */

void asm_mov(struct code *c, unsigned size, unsigned dst, unsigned src)
{
	asm_rr(c, size, 0x8b, dst, src);
}

void asm_mov_imm(struct code *c, unsigned dst, uint64_t v)
{
	uint8_t tmp[ROOM], *start = insn_begin(c, tmp), *p = start;
	unsigned rex = dst >= 8 ? ENC_B : 0u;

	if (v <= UINT32_MAX) { /* MOV r32, imm32 */
		p = put_opcode(p, 4, rex, 0xb8 | (dst & 7));
		p = put_imm(p, v, 4);
	} else if (v == (uint64_t)(int32_t)v) { /* MOV r/m64, imm32 */
		p = put_rr(p, 8, 0xc7, 0, dst);
		p = put_imm(p, v, 4);
	} else { /* MOV r64, imm64 */
		p = put_opcode(p, 8, rex, 0xb8 | (dst & 7));
		p = put_imm(p, v, 8);
	}
	insn_end(c, start, p);
}

void asm_load(struct code *c, unsigned size, unsigned dst, struct host_mem m)
{
	switch (size) {
	case 1: asm_rm(c, 4, 0x0fb6, dst, m); break; /* MOVZX */
	case 2: asm_rm(c, 4, 0x0fb7, dst, m); break;
	default: asm_rm(c, size, 0x8b, dst, m); break;
	}
}

void asm_store(struct code *c, unsigned size, struct host_mem m, unsigned src)
{
	asm_rm(c, size, size == 1 ? 0x88 : 0x89, src, m);
}

void asm_store_imm(struct code *c, unsigned size, struct host_mem m, int32_t v)
{
	uint8_t tmp[ROOM], *start = insn_begin(c, tmp), *p;

	p = put_rm(start, size, size == 1 ? 0xc6 : 0xc7, 0, m);
	p = put_imm(p, (uint32_t)v, size > 4 ? 4 : size);
	insn_end(c, start, p);
}

void asm_lea(struct code *c, unsigned size, unsigned dst, struct host_mem m)
{
	m.gs = false; /* an address takes no segment base */
	asm_rm(c, size, 0x8d, dst, m);
}

void asm_rorx(struct code *c, unsigned size, unsigned dst, unsigned src, unsigned by)
{
	/* VEX.LZ.F2.0F3A: R and B are inverted */
	asm_byte(c, 0xc4);
	asm_byte(c, 0x43 | (dst < 8) << 7 | (src < 8) << 5);
	asm_byte(c, size == 8 ? 0xfb : 0x7b);
	asm_byte(c, 0xf0);
	asm_byte(c, 0xc0 | (dst & 7) << 3 | (src & 7));
	asm_byte(c, by);
}

void asm_xchg(struct code *c, unsigned a, unsigned b)
{
	uint8_t tmp[ROOM], *p = insn_begin(c, tmp);

	if (a == b)
		return;
	if (b == RAX) {
		b = a;
		a = RAX;
	}
	if (a == RAX)
		insn_end(c, p, put_opcode(p, 8, b >= 8 ? ENC_B : 0, 0x90 | (b & 7)));
	else
		insn_end(c, p, put_rr(p, 8, 0x87, a, b));
}

/* --- arithmetic --- */

void asm_alu_rr(struct code *c, enum alu_op op, unsigned size, unsigned dst, unsigned src)
{
	asm_rr(c, size, (unsigned)op << 3 | 3, dst, src);
}

void asm_alu_rm(struct code *c, enum alu_op op, unsigned size, unsigned dst, struct host_mem m)
{
	asm_rm(c, size, (unsigned)op << 3 | 3, dst, m);
}

void asm_alu_ri(struct code *c, enum alu_op op, unsigned size, unsigned dst, int32_t imm)
{
	uint8_t tmp[ROOM], *start = insn_begin(c, tmp), *p = start;

	if (imm == (int8_t)imm) {
		p = put_rr(p, size, 0x83, op, dst);
		p = put_imm(p, (uint32_t)imm, 1);
	} else {
		if (dst == RAX)
			p = put_opcode(p, size, 0, (unsigned)op << 3 | 5);
		else
			p = put_rr(p, size, 0x81, op, dst);
		p = put_u32(p, (uint32_t)imm);
	}
	insn_end(c, start, p);
}

void asm_alu_mi(struct code *c, enum alu_op op, unsigned size, struct host_mem m, int32_t imm)
{
	uint8_t tmp[ROOM], *start = insn_begin(c, tmp), *p;
	bool one = size == 1 || imm == (int8_t)imm;

	p = put_rm(start, size, size == 1 ? 0x80 : one ? 0x83 : 0x81, op, m);
	p = put_imm(p, (uint32_t)imm, one ? 1 : 4);
	insn_end(c, start, p);
}

/* --- branches --- */

/* An opcode of one or two bytes and a rel32 of 0; where that is, or NULL. */
static uint8_t *branch(struct code *c, unsigned opcode)
{
	uint8_t tmp[ROOM], *start = insn_begin(c, tmp), *p;

	p = put_opcode(start, 4, 0, opcode);
	p = put_u32(p, 0);
	insn_end(c, start, p);
	return c->full ? NULL : c->p - 4;
}

uint8_t *asm_jmp(struct code *c)
{
	return branch(c, 0xe9);
}

uint8_t *asm_jcc(struct code *c, unsigned cc)
{
	return branch(c, 0x0f80 | (cc & 0xf));
}

/* NOPs until @ahead bytes further on would run at a multiple of @to. */
static void align_ahead(struct code *c, unsigned to, unsigned ahead)
{
	asm_nop(c, (unsigned)-((uintptr_t)c->p + (uintptr_t)c->to_rx + ahead) & (to - 1));
}

uint8_t *asm_jmp_aligned(struct code *c)
{
	align_ahead(c, 4, 1);
	return asm_jmp(c);
}

uint8_t *asm_jcc_aligned(struct code *c, unsigned cc)
{
	align_ahead(c, 4, 2);
	return asm_jcc(c, cc);
}

uint8_t *asm_jcc_within(struct code *c, unsigned cc)
{
	if ((((uintptr_t)c->p + (uintptr_t)c->to_rx + 2) & 7) > 4)
		align_ahead(c, 8, 2);
	return asm_jcc(c, cc);
}

void asm_jmp_mem(struct code *c, struct host_mem m)
{
	asm_rm(c, 4, 0xff, 4, m); /* 64 bits whatever the size */
}

void asm_jmp_reg(struct code *c, unsigned reg)
{
	asm_rr(c, 4, 0xff, 4, reg);
}

uint8_t *asm_jrcxz(struct code *c)
{
	static const uint8_t jrcxz[] = { 0xe3, 0 };

	asm_bytes(c, jrcxz, sizeof(jrcxz));
	return c->full ? NULL : c->p - 1;
}

void asm_link(uint8_t *rel, const uint8_t *to)
{
	uint32_t v;

	if (!rel)
		return;
	v = (uint32_t)(to - (rel + 4));
	/* One store: another thread may be about to run the branch. */
	if ((uintptr_t)rel & 3)
		memcpy(rel, &v, 4);
	else
		__atomic_store_n((uint32_t *)(void *)rel, v, __ATOMIC_RELEASE);
}

void asm_link8(uint8_t *rel, const uint8_t *to)
{
	if (rel)
		*rel = (uint8_t)(to - (rel + 1));
}

/* --- filling --- */

void asm_nop(struct code *c, unsigned n)
{
	/* SDM vol. 2, NOP, table 4-12; above 9 bytes more operand-size prefixes, up to the longest instruction there is. */
	static const uint8_t nops[8][8] = {
		{ 0x90 },
		{ 0x66, 0x90 },
		{ 0x0f, 0x1f, 0x00 },
		{ 0x0f, 0x1f, 0x40, 0x00 },
		{ 0x0f, 0x1f, 0x44, 0x00, 0x00 },
		{ 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 },
		{ 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00 },
		{ 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 },
	};
	static const uint8_t prefixes[INSN_BYTES_MAX - 8] = { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66 };

	while (n && !c->full) {
		unsigned len = n < INSN_BYTES_MAX ? n : INSN_BYTES_MAX;
		unsigned body = len < 8 ? len : 8;

		asm_bytes(c, prefixes, len - body);
		asm_bytes(c, nops[body - 1], body);
		n -= len;
	}
}

void asm_align(struct code *c, unsigned to)
{
	align_ahead(c, to, 0);
}
