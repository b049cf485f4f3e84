// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the integer families share: arithmetic kernels, operand access, read-modify-write.
 *
 * A kernel is the host's own instruction at the guest's operand size, its flags captured by LAHF
 * and SETO (AF_* in cpu.h), so that a flag which the manual leaves undefined comes out as the host
 * computes it. Where a result depends on a flag, or where a flag may stay as it was, the guest's
 * flags are loaded first: ADD $127 turns bit 0 of AL into OF, SAHF loads the other five.
 *
 * LAHF needs AX, hence the "a" constraints; bit 9 of AX is set by LAHF and means nothing.
 *
 * Handlers hold to the invariants of cpu.h: registers and flags are written after the last access
 * that can fault.
 */
#ifndef SUBRING_ENGINE_SOFT_INTERP_ALU_H
#define SUBRING_ENGINE_SOFT_INTERP_ALU_H

#include "engine/soft/interp/interp.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Families that integer.c and control.c hand part of their work to. */
insn_bind_fn bind_shift;  /* shift.c: shifts and rotates, double shifts, BMI2 shifts */
insn_bind_fn bind_muldiv; /* muldiv.c: multiply, divide, MULX, decimal adjust */
insn_bind_fn bind_stack;  /* stack.c: PUSH POP and kin, ENTER, LEAVE */

/* --- types by operand size in bytes, for macros --- */

#define UINT_1 uint8_t
#define UINT_2 uint16_t
#define UINT_4 uint32_t
#define UINT_8 uint64_t
#define INT_1 int8_t
#define INT_2 int16_t
#define INT_4 int32_t
#define INT_8 int64_t
#define UINT(n) UINT_##n
#define INT(n) INT_##n

/* 1, 2, 4, 8 -> 0, 1, 2, 3: index into tables of handlers. */
static inline unsigned size_index(unsigned size)
{
	return (unsigned)__builtin_ctz(size | 8);
}

/* --- kernels --- */

#define FLAGS_LOAD "addb $127, %%al\n\tsahf\n\t"
#define FLAGS_SAVE "\n\tlahf\n\tseto %%al"
#define FLAGS_LOAD_CF "btl $8, %%eax\n\t"

/* d = d op s; flags are only written. */
#define ALU_KERNEL(name, n)                                                                        \
	static inline __attribute__((always_inline)) UINT(n)                                       \
	alu_##name##_##n(UINT(n) d, UINT(n) s, uint32_t *flags)                                    \
	{                                                                                          \
		uint16_t f_;                                                                       \
		__asm__(#name " %[s], %[d]" FLAGS_SAVE                                             \
			: [d] "+r"(d), [f] "=&a"(f_) : [s] "r"(s) : "cc");                         \
		*flags = f_;                                                                       \
		return d;                                                                          \
	}

/* d = d op s; @load puts (some of) the guest's flags in place first. */
#define ALU_KERNEL_IN(name, load, n)                                                               \
	static inline __attribute__((always_inline)) UINT(n)                                       \
	alu_##name##_##n(UINT(n) d, UINT(n) s, uint32_t *flags)                                    \
	{                                                                                          \
		uint32_t f_ = *flags;                                                              \
		__asm__(load #name " %[s], %[d]" FLAGS_SAVE                                        \
			: [d] "+r"(d), [f] "+&a"(f_) : [s] "r"(s) : "cc");                         \
		*flags = (uint16_t)f_;                                                             \
		return d;                                                                          \
	}

/* Only flags come out: CMP, TEST. */
#define ALU_KERNEL_TEST(name, n)                                                                   \
	static inline __attribute__((always_inline)) UINT(n)                                       \
	alu_##name##_##n(UINT(n) d, UINT(n) s, uint32_t *flags)                                    \
	{                                                                                          \
		uint16_t f_;                                                                       \
		__asm__(#name " %[s], %[d]" FLAGS_SAVE                                             \
			: [f] "=&a"(f_) : [d] "r"(d), [s] "r"(s) : "cc");                          \
		*flags = f_;                                                                       \
		return d;                                                                          \
	}

/* d = op d. @s is ignored: one signature for all. */
#define ALU_KERNEL_UNARY(name, load, n)                                                            \
	static inline __attribute__((always_inline)) UINT(n)                                       \
	alu_##name##_##n(UINT(n) d, UINT(n) s, uint32_t *flags)                                    \
	{                                                                                          \
		uint32_t f_ = *flags;                                                              \
		__asm__(load #name " %[d]" FLAGS_SAVE : [d] "+r"(d), [f] "+&a"(f_) : : "cc");      \
		*flags = (uint16_t)f_;                                                             \
		return d;                                                                          \
	}

/* d = d shifted by s (CL); all flags in, because a count of 0 leaves them and others leave some. */
#define ALU_KERNEL_SHIFT(name, n)                                                                  \
	static inline __attribute__((always_inline)) UINT(n)                                       \
	alu_##name##_##n(UINT(n) d, UINT(n) s, uint32_t *flags)                                    \
	{                                                                                          \
		uint32_t f_ = *flags;                                                              \
		__asm__(FLAGS_LOAD #name " %%cl, %[d]" FLAGS_SAVE                                  \
			: [d] "+r"(d), [f] "+&a"(f_) : "c"((uint8_t)s) : "cc");                    \
		*flags = (uint16_t)f_;                                                             \
		return d;                                                                          \
	}

#define ALU_SIZES(M, ...) M(__VA_ARGS__, 1) M(__VA_ARGS__, 2) M(__VA_ARGS__, 4) M(__VA_ARGS__, 8)

ALU_SIZES(ALU_KERNEL, add)
ALU_SIZES(ALU_KERNEL, sub)
ALU_SIZES(ALU_KERNEL, and)
ALU_SIZES(ALU_KERNEL, or)
ALU_SIZES(ALU_KERNEL, xor)
ALU_SIZES(ALU_KERNEL_IN, adc, FLAGS_LOAD_CF)
ALU_SIZES(ALU_KERNEL_IN, sbb, FLAGS_LOAD_CF)
ALU_SIZES(ALU_KERNEL_TEST, cmp)
ALU_SIZES(ALU_KERNEL_TEST, test)
ALU_SIZES(ALU_KERNEL_UNARY, inc, FLAGS_LOAD_CF)
ALU_SIZES(ALU_KERNEL_UNARY, dec, FLAGS_LOAD_CF)
ALU_SIZES(ALU_KERNEL_UNARY, neg, FLAGS_LOAD_CF)

/* NOT changes no flag. */
#define ALU_KERNEL_NOT(name, n)                                                                    \
	static inline __attribute__((always_inline)) UINT(n)                                       \
	alu_##name##_##n(UINT(n) d, UINT(n) s, uint32_t *flags)                                    \
	{                                                                                          \
		return (UINT(n))~d;                                                                \
	}

ALU_SIZES(ALU_KERNEL_NOT, not)

/* --- operands --- */

/* Linear address of the memory operand, for rows that have no moffs form. */
static inline __attribute__((always_inline)) uint64_t mem_linear(struct cpu *c, const struct insn *in,
								 unsigned size, enum mmu_access access)
{
	return linear(c, in->seg, insn_ea(c, in), size, access);
}

/* Bit string: the operand of @size bytes that holds bit @bit counted from the memory operand. */
static inline __attribute__((always_inline)) uint64_t bit_linear(struct cpu *c, const struct insn *in, int64_t bit,
								 unsigned size, enum mmu_access access)
{
	uint64_t ea = insn_ea(c, in) + (uint64_t)(bit >> (3 + __builtin_ctz(size)) << __builtin_ctz(size));

	if (in->addrsize != 8)
		ea = in->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
	return linear(c, in->seg, ea, size, access);
}

static inline __attribute__((always_inline)) uint64_t mem_load(struct cpu *c, const struct insn *in, unsigned size)
{
	return mmu_load(c, in->seg, mem_linear(c, in, size, MMU_READ), size);
}

/* The rm operand, register or memory. */
static inline uint64_t rm_load(struct cpu *c, const struct insn *in, unsigned size)
{
	if (in->flags & INSN_MEM)
		return mem_load(c, in, size);
	return gpr_get(c, in->rm_off, size);
}

static inline void rm_store(struct cpu *c, const struct insn *in, unsigned size, uint64_t v)
{
	if (in->flags & INSN_MEM)
		mmu_store(c, in->seg, mem_linear(c, in, size, MMU_WRITE), size, v);
	else
		gpr_put(c, in->rm_off, size, v);
}

/* Host address of a memory operand that will be read and written, or NULL: MMIO, page crossing. */
static inline __attribute__((always_inline)) void *rmw_host(struct cpu *c, const struct insn *in, uint64_t lin,
							    unsigned size)
{
	void *p = TLB_HIT(c, lin, size, write);

	return likely(p) ? p : mmu_atomic(c, in->seg, lin, size);
}

/*
 * Memory destination, not locked: @d = old value, @stmt computes the new @d (and may change @f,
 * the flags); then both are stored. A page that cannot be written faults before MMIO is read.
 */
#define RMW(c, in, lin, n, d, f, stmt)                                                             \
	do {                                                                                       \
		void *p_ = rmw_host(c, in, lin, n);                                                \
		uint32_t f = (c)->flags;                                                           \
		UINT(n) d;                                                                         \
		if (likely(p_)) {                                                                  \
			d = *(volatile UINT(n) *)p_;                                               \
			stmt;                                                                      \
			*(volatile UINT(n) *)p_ = d;                                               \
			(c)->flags = f;                                                            \
			mmu_after_store(c, p_, n);                                                 \
		} else {                                                                           \
			mmu_probe(c, (in)->seg, lin, n, MMU_WRITE);                                \
			d = (UINT(n))mmu_load(c, (in)->seg, lin, n);                               \
			stmt;                                                                      \
			mmu_store(c, (in)->seg, lin, n, d);                                        \
			(c)->flags = f;                                                            \
		}                                                                                  \
	} while (0)

/* PUSH of 8 bytes in 64-bit mode, where SS has no base. */
static inline void push64(struct cpu *c, uint64_t v)
{
	uint64_t sp = c->gpr[RSP] - 8;

	mmu_store(c, SEG_SS, sp, 8, v);
	c->gpr[RSP] = sp;
}

/* --- conditions (SDM vol. 2, B.1.4.7), from AF_* flags --- */

static inline __attribute__((always_inline)) unsigned cond_test(uint32_t f, unsigned cc)
{
	unsigned r;

	switch (cc >> 1) {
	case 0: r = f & AF_OF; break;
	case 1: r = f >> 8 & 1; break;
	case 2: r = f >> 14 & 1; break;
	case 3: r = (f & (AF_CF | AF_ZF)) != 0; break;
	case 4: r = f >> 15 & 1; break;
	case 5: r = f >> 10 & 1; break;
	case 6: r = (f >> 15 ^ f) & 1; break;
	default: r = ((f >> 15 ^ f) & 1) | (f >> 14 & 1); break;
	}
	return r ^ (cc & 1);
}

/* Expands @M for each condition code. */
#define EACH_CONDITION(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)

#endif
