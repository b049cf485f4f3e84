// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The interpreter's families. Each file binds the instructions that it executes: given a decoded
 * instruction it returns the handler for that row, operand form, size and mode, or NULL when the
 * instruction is not of its family. interp_bind (bind.c) asks them in turn.
 *
 * Handlers follow the invariants at the top of cpu.h.
 */
#ifndef SUBRING_ENGINE_SOFT_INTERP_H
#define SUBRING_ENGINE_SOFT_INTERP_H

#include "engine/soft/cpu.h"
#include "engine/soft/mmu/mmu.h"

typedef insn_fn *insn_bind_fn(struct cpu *c, const struct insn *in);

insn_bind_fn bind_integer; /* integer.c: moves, arithmetic, logic, shifts, multiply, divide */
insn_bind_fn bind_bits;	   /* bits.c: bit tests and scans, BMI, ADX, CRC32, MOVBE, flags */
insn_bind_fn bind_control; /* control.c: near branches, calls, stack, conditions, loops, NOPs */
insn_bind_fn bind_string;  /* string.c: MOVS STOS LODS CMPS SCAS INS OUTS with their prefixes */
insn_bind_fn bind_atomic;  /* atomic.c: LOCK, XCHG, XADD, CMPXCHG, CMPXCHG8B/16B */
insn_bind_fn bind_vector_special; /* ../vector/: x87 environments, FXSAVE, XSAVE, MXCSR: rows without OP_NATIVE */
insn_bind_fn bind_system;  /* ../system/insns.c: everything privileged, segments, far transfers, I/O */

/* --- the stack (SDM vol. 1, 6.2): width follows SS.B or 64-bit mode --- */

static inline uint64_t stack_mask(const struct cpu *c)
{
	return c->stack_size == 8 ? ~0ull : c->stack_size == 4 ? 0xffffffffull : 0xffffull;
}

static inline void stack_set(struct cpu *c, uint64_t sp)
{
	if (c->stack_size == 2)
		*(uint16_t *)&c->gpr[RSP] = (uint16_t)sp;
	else
		c->gpr[RSP] = sp & stack_mask(c);
}

/* Pushes @size bytes; faults before rSP changes. */
static inline void stack_push(struct cpu *c, unsigned size, uint64_t v)
{
	uint64_t sp = (c->gpr[RSP] - size) & stack_mask(c);

	mmu_store(c, SEG_SS, linear(c, SEG_SS, sp, size, MMU_WRITE), size, v);
	stack_set(c, sp);
}

/* Reads the element @skip bytes above the top; rSP stays. */
static inline uint64_t stack_peek(struct cpu *c, unsigned size, unsigned skip)
{
	uint64_t sp = (c->gpr[RSP] + skip) & stack_mask(c);

	return mmu_load(c, SEG_SS, linear(c, SEG_SS, sp, size, MMU_READ), size);
}

static inline void stack_drop(struct cpu *c, unsigned bytes)
{
	stack_set(c, c->gpr[RSP] + bytes);
}

/* Near branch to @rip cut to @opsize: raises #GP(0) for a non-canonical or out-of-limit target, before anything changes. */
void branch_check(struct cpu *c, uint64_t rip, unsigned opsize);

#endif
