// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writing host code: an assembler for the few instructions that the translator needs of its own
 * (asm.c), and the guest's instructions encoded anew with other operands (encode.c). SDM vol. 2,
 * chapter 2.
 *
 * General registers are host numbers, enum gpr (RAX 0 to R15 15). Code goes straight into the code
 * cache, through its writable mapping; `rx` says where the same byte is executed. What does not fit sets `full`,
 * and nothing is written any more; the caller looks once, at the end.
 *
 * "Flag-free" below: the instruction leaves EFLAGS alone. Only what is said to change them does.
 */
#ifndef SUBRING_ENGINE_SOFT_TRANSLATE_CODE_H
#define SUBRING_ENGINE_SOFT_TRANSLATE_CODE_H

#include "engine/soft/cpu.h"

struct code {
	uint8_t *p, *end; /* in the writable mapping */
	ptrdiff_t to_rx;  /* p + to_rx is where it runs */
	bool full;
};

/* A memory operand of the host. */
enum { HOST_NONE = 0xff };
struct host_mem {
	uint8_t base, index, scale; /* HOST_NONE: absent; scale 0 to 3; index is never RSP */
	bool gs;		    /* with a GS prefix */
	int32_t disp;
};

/* The field at @offset of struct cpu: the one way in which emitted code names a vCPU's state. */
static inline struct host_mem host_cpu(size_t offset)
{
	return (struct host_mem){ .base = HOST_NONE, .index = HOST_NONE, .gs = true, .disp = (int32_t)offset };
}
#define HOST_CPU(member) host_cpu(offsetof(struct cpu, member))

static inline struct host_mem host_at(unsigned base, int32_t disp)
{
	return (struct host_mem){ .base = (uint8_t)base, .index = HOST_NONE, .disp = disp };
}

static inline struct host_mem host_indexed(unsigned base, unsigned index, unsigned scale, int32_t disp)
{
	return (struct host_mem){ .base = (uint8_t)base, .index = (uint8_t)index, .scale = (uint8_t)scale, .disp = disp };
}

/* --- asm.c --- */

void asm_byte(struct code *c, unsigned b);
void asm_bytes(struct code *c, const void *bytes, size_t n);
void asm_u32(struct code *c, uint32_t v);

/* Any one-byte opcode (or 0F-escaped: 0x0f00 | opcode) with a ModRM byte and @size 1, 2, 4 or 8; @reg may be an
 * opcode extension. @size 1 means a byte register or operand (REX is given where SPL..DIL or R8B.. need one); the opcode is as the caller says. */
void asm_rr(struct code *c, unsigned size, unsigned opcode, unsigned reg, unsigned rm);
void asm_rm(struct code *c, unsigned size, unsigned opcode, unsigned reg, struct host_mem m);

/* Flag-free moves. @size 1, 2, 4, 8; loads of 1 and 2 bytes are zero-extended to 64 bits. */
void asm_mov(struct code *c, unsigned size, unsigned dst, unsigned src); /* size 4 or 8 */
void asm_mov_imm(struct code *c, unsigned dst, uint64_t v);		  /* shortest form; all 64 bits */
void asm_load(struct code *c, unsigned size, unsigned dst, struct host_mem m);
void asm_store(struct code *c, unsigned size, struct host_mem m, unsigned src);
void asm_store_imm(struct code *c, unsigned size, struct host_mem m, int32_t v); /* size 8: sign-extended */
void asm_lea(struct code *c, unsigned size, unsigned dst, struct host_mem m);	  /* size 4 cuts to 32 bits */
void asm_rorx(struct code *c, unsigned size, unsigned dst, unsigned src, unsigned by); /* size 4 or 8; flag-free; BMI2 */
void asm_xchg(struct code *c, unsigned a, unsigned b);				  /* 64 bits */

/* Change flags: ADD OR ADC SBB AND SUB XOR CMP, as in the opcode map's column */
enum alu_op { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };
void asm_alu_rr(struct code *c, enum alu_op op, unsigned size, unsigned dst, unsigned src); /* size 4, 8 */
void asm_alu_rm(struct code *c, enum alu_op op, unsigned size, unsigned dst, struct host_mem m);
void asm_alu_ri(struct code *c, enum alu_op op, unsigned size, unsigned dst, int32_t imm);
void asm_alu_mi(struct code *c, enum alu_op op, unsigned size, struct host_mem m, int32_t imm); /* size 1, 4, 8 */

/* Branches. The rel32 forms return where the rel32 is (writable mapping), for asm_link. */
uint8_t *asm_jmp(struct code *c);
uint8_t *asm_jcc(struct code *c, unsigned cc);
/* The same with the rel32 on a multiple of 4, so that it can be exchanged while others run it (NOPs go before). */
uint8_t *asm_jmp_aligned(struct code *c);
uint8_t *asm_jcc_aligned(struct code *c, unsigned cc);
/* The same with the rel32 within 8 aligned bytes. */
uint8_t *asm_jcc_within(struct code *c, unsigned cc);
void asm_jmp_mem(struct code *c, struct host_mem m);
void asm_jmp_reg(struct code *c, unsigned reg);
uint8_t *asm_jrcxz(struct code *c); /* flag-free; returns the rel8, for asm_link8 */
/* Lets the branch at @rel go to @to (both in the writable mapping). */
void asm_link(uint8_t *rel, const uint8_t *to);
void asm_link8(uint8_t *rel, const uint8_t *to); /* the caller knows that it is near enough */
void asm_nop(struct code *c, unsigned n);	  /* n bytes, as few instructions as can be */
void asm_align(struct code *c, unsigned to);

/* --- encode.c --- */

/*
 * Operands for a guest instruction. Vector, MMX and x87 registers and immediates are kept. General registers
 * are replaced: @reg for modrm.reg, @rm for modrm.rm (or the register in the opcode, or the accumulator) in register form,
 * @vvvv for VEX.vvvv; each only where the row has a general register there. A memory operand becomes @mem.
 */
struct encode {
	uint8_t reg, rm, vvvv;
	struct host_mem mem;
};

/* The operands as the guest has them: same numbers; a memory operand is left for the caller to fill in. */
struct encode encode_same(const struct insn *in);

/*
 * Encodes @in. False, and nothing is written, when it cannot be said: AH..BH beside a register that needs
 * REX, a row that has no encoding of its own in 64-bit mode, a kind of operand that is not copied (far
 * pointers, string operands, branches, segment, control and debug registers, VSIB). Lengths: operand size, LOCK and REP prefixes,
 * mandatory prefixes, W, L, and immediates are the guest's; 16-, 32- and 64-bit operand sizes of the row give 66, none, REX.W
 * as 64-bit mode wants them, whatever mode @in was decoded in. Segment prefixes are not kept but for mem.gs.
 */
bool encode_insn(struct code *c, const struct insn *in, const struct encode *e);

#endif
