// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Locked instructions, and those which lock by themselves or might: XCHG, XADD, CMPXCHG,
 * CMPXCHG8B/16B (SDM vol. 2; vol. 3, 8.1.2).
 *
 * Within a cache line of RAM the host's own locked instruction does it, on the host address.
 * Elsewhere in RAM (across a line or a page) all other vCPUs stand still for the moment: a host may
 * answer such a split lock with a trap, or slow everybody down. Both host addresses are known, and
 * everything that can fault is over, before the world is stopped. On MMIO it is a load and a
 * store; nothing else touches it atomically. XADD and CMPXCHG without LOCK run locked all the same.
 */
#include "engine/soft/interp/alu.h"
#include "engine/soft/soft.h"

#include <string.h>

enum { CACHE_LINE = 64 };

/* --- operands that no host instruction locks --- */

/* RAM: one or two parts, the world stopped from load to store. Else MMIO at @linear. */
struct split {
	uint8_t *host[2];
	unsigned first; /* bytes in host[0] */
	unsigned size, seg;
	uint64_t linear;
};

/* Finds the parts of an operand and reads it. Raises what a store to it would raise. */
static void split_load(struct cpu *c, const struct insn *in, uint64_t lin, unsigned size, void *value, struct split *s)
{
	unsigned room = FRAME_SIZE - (lin & (FRAME_SIZE - 1));
	uint64_t next = lin + room;

	*s = (struct split){ .first = size, .size = size, .seg = in->seg, .linear = lin };
	if (size <= room) {
		s->host[0] = mmu_atomic(c, in->seg, lin, size);
	} else {
		if (c->mode != INSN_MODE64)
			next = (uint32_t)next;
		s->first = room;
		mmu_probe(c, in->seg, lin, size, MMU_WRITE);
		s->host[0] = mmu_atomic(c, in->seg, lin, room);
		s->host[1] = mmu_atomic(c, in->seg, next, size - room);
		if (!s->host[1])
			s->host[0] = NULL;
	}
	if (!s->host[0]) {
		mmu_probe(c, in->seg, lin, size, MMU_WRITE);
		mmu_load_bytes(c, in->seg, lin, value, size);
		return;
	}
	soft_world_stop(c);
	memcpy(value, s->host[0], s->first);
	if (s->host[1])
		memcpy((uint8_t *)value + s->first, s->host[1], size - s->first);
}

static void split_store(struct cpu *c, const struct split *s, const void *value)
{
	if (!s->host[0]) {
		mmu_store_bytes(c, s->seg, s->linear, value, s->size);
		return;
	}
	memcpy(s->host[0], value, s->first);
	if (s->host[1])
		memcpy(s->host[1], (const uint8_t *)value + s->first, s->size - s->first);
	soft_world_start(c);
	mmu_after_store(c, s->host[0], s->first);
	if (s->host[1])
		mmu_after_store(c, s->host[1], s->size - s->first);
}

/* Host address for a locked instruction, or NULL: use split_*. */
static inline __attribute__((always_inline)) void *lock_host(struct cpu *c, const struct insn *in, uint64_t lin,
							     unsigned size)
{
	void *p;

	if (unlikely((lin & (CACHE_LINE - 1)) + size > CACHE_LINE))
		return NULL;
	p = TLB_HIT(c, lin, size, write);
	return likely(p) ? p : mmu_atomic(c, in->seg, lin, size);
}

/*
 * @locked runs on *p_ and sets f; @plain does the same to the copy d, under split_load.
 */
#define ATOMIC(c, in, lin, n, d, f, locked, plain)                                                 \
	do {                                                                                       \
		UINT(n) *p_ = lock_host(c, in, lin, n);                                            \
		uint32_t f = (c)->flags;                                                           \
		if (likely(p_)) {                                                                  \
			locked;                                                                    \
			(c)->flags = f;                                                            \
			mmu_after_store(c, p_, n);                                                 \
		} else {                                                                           \
			struct split split_;                                                       \
			UINT(n) d;                                                                 \
			split_load(c, in, lin, n, &d, &split_);                                    \
			plain;                                                                     \
			split_store(c, &split_, &d);                                               \
			(c)->flags = f;                                                            \
		}                                                                                  \
	} while (0)

/* --- LOCK ADD OR ADC SBB AND SUB XOR, BTS BTR BTC --- */

#define LOCK_ASM(name, load, p, s, f)                                                              \
	do {                                                                                       \
		__asm__ volatile(load "lock " #name " %[s_], %[m_]" FLAGS_SAVE                     \
				 : [m_] "+m"(*p), "+&a"(f) : [s_] "r"(s) : "cc", "memory");        \
		f = (uint16_t)f;                                                                   \
	} while (0)

#define LOCK_BINARY(name, load, n)                                                                 \
	static void lock_##name##_g_##n(struct cpu *c, const struct insn *in)                      \
	{                                                                                          \
		uint64_t lin = mem_linear(c, in, n, MMU_WRITE);                                    \
		UINT(n) s = (UINT(n))gpr_get(c, in->reg_off, n);                                   \
                                                                                                   \
		ATOMIC(c, in, lin, n, d, f, LOCK_ASM(name, load, p_, s, f),                        \
		       d = alu_##name##_##n(d, s, &f));                                            \
	}                                                                                          \
	static void lock_##name##_i_##n(struct cpu *c, const struct insn *in)                      \
	{                                                                                          \
		uint64_t lin = mem_linear(c, in, n, MMU_WRITE);                                    \
		UINT(n) s = (UINT(n))in->imm;                                                      \
                                                                                                   \
		ATOMIC(c, in, lin, n, d, f, LOCK_ASM(name, load, p_, s, f),                        \
		       d = alu_##name##_##n(d, s, &f));                                            \
	}

/* The bit offset selects the operand; within it the offset is taken modulo its width. */
#define LOCK_BIT(name, n)                                                                          \
	ALU_KERNEL_IN(name, FLAGS_LOAD, n)                                                         \
	static void lock_##name##_g_##n(struct cpu *c, const struct insn *in)                      \
	{                                                                                          \
		INT(n) bit = (INT(n))gpr_get(c, in->reg_off, n);                                   \
		uint64_t lin = bit_linear(c, in, bit, n, MMU_WRITE);                               \
		UINT(n) s = (UINT(n))bit & (n * 8 - 1);                                            \
                                                                                                   \
		ATOMIC(c, in, lin, n, d, f, LOCK_ASM(name, FLAGS_LOAD, p_, s, f),                  \
		       d = alu_##name##_##n(d, s, &f));                                            \
	}                                                                                          \
	static void lock_##name##_i_##n(struct cpu *c, const struct insn *in)                      \
	{                                                                                          \
		uint64_t lin = mem_linear(c, in, n, MMU_WRITE);                                    \
		UINT(n) s = in->imm & (n * 8 - 1);                                                 \
                                                                                                   \
		ATOMIC(c, in, lin, n, d, f, LOCK_ASM(name, FLAGS_LOAD, p_, s, f),                  \
		       d = alu_##name##_##n(d, s, &f));                                            \
	}

#define BY_SIZE(name) { name##_1, name##_2, name##_4, name##_8 }
#define BY_WIDE_SIZE(name) { NULL, name##_2, name##_4, name##_8 }

#define DEFINE_LOCK(name, load)                                                                    \
	ALU_SIZES(LOCK_BINARY, name, load)                                                         \
	static insn_fn *const lock_##name##_forms[2][4] = { BY_SIZE(lock_##name##_g), BY_SIZE(lock_##name##_i) };

#define DEFINE_LOCK_BIT(name)                                                                      \
	LOCK_BIT(name, 2)                                                                          \
	LOCK_BIT(name, 4)                                                                          \
	LOCK_BIT(name, 8)                                                                          \
	static insn_fn *const lock_##name##_forms[2][4] = { BY_WIDE_SIZE(lock_##name##_g), BY_WIDE_SIZE(lock_##name##_i) };

DEFINE_LOCK(add, "")
DEFINE_LOCK(or, "")
DEFINE_LOCK(adc, FLAGS_LOAD_CF)
DEFINE_LOCK(sbb, FLAGS_LOAD_CF)
DEFINE_LOCK(and, "")
DEFINE_LOCK(sub, "")
DEFINE_LOCK(xor, "")
DEFINE_LOCK_BIT(bts)
DEFINE_LOCK_BIT(btr)
DEFINE_LOCK_BIT(btc)

/* --- LOCK INC DEC NEG NOT --- */

#define LOCK_UNARY_ASM(name, suffix, p, f)                                                         \
	do {                                                                                       \
		__asm__ volatile(FLAGS_LOAD "lock " #name suffix " %[m_]" FLAGS_SAVE               \
				 : [m_] "+m"(*p), "+&a"(f) : : "cc", "memory");                    \
		f = (uint16_t)f;                                                                   \
	} while (0)

#define LOCK_UNARY(name, n, suffix)                                                                \
	static void lock_##name##_##n(struct cpu *c, const struct insn *in)                        \
	{                                                                                          \
		uint64_t lin = mem_linear(c, in, n, MMU_WRITE);                                    \
                                                                                                   \
		ATOMIC(c, in, lin, n, d, f, LOCK_UNARY_ASM(name, suffix, p_, f),                   \
		       d = alu_##name##_##n(d, 0, &f));                                            \
	}

#define DEFINE_LOCK_UNARY(name)                                                                    \
	LOCK_UNARY(name, 1, "b")                                                                   \
	LOCK_UNARY(name, 2, "w")                                                                   \
	LOCK_UNARY(name, 4, "l")                                                                   \
	LOCK_UNARY(name, 8, "q")                                                                   \
	static insn_fn *const lock_##name##_forms[4] = BY_SIZE(lock_##name);

DEFINE_LOCK_UNARY(inc)
DEFINE_LOCK_UNARY(dec)
DEFINE_LOCK_UNARY(neg)
DEFINE_LOCK_UNARY(not)

/* --- XCHG XADD --- */

#define XCHG(name, n)                                                                              \
	static void name##_eg_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		uint64_t d = gpr_get(c, in->rm_off, n);                                            \
                                                                                                   \
		gpr_put(c, in->rm_off, n, gpr_get(c, in->reg_off, n));                             \
		gpr_put(c, in->reg_off, n, d);                                                     \
	}                                                                                          \
	static void name##_mg_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		uint64_t lin = mem_linear(c, in, n, MMU_WRITE);                                    \
		UINT(n) s = (UINT(n))gpr_get(c, in->reg_off, n), t = s;                            \
                                                                                                   \
		ATOMIC(c, in, lin, n, d, f,                                                        \
		       __asm__ volatile("xchg %0, %1" : "+r"(s), "+m"(*p_) : : "memory"),          \
		       (s = d, d = t));                                                            \
		gpr_put(c, in->reg_off, n, s);                                                     \
	}

/* 90+r: with the accumulator */
#define XCHG_ACC(name, n)                                                                          \
	static void name##_ea_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		uint64_t d = gpr_get(c, in->rm_off, n);                                            \
                                                                                                   \
		gpr_put(c, in->rm_off, n, gpr_get(c, RAX * 8, n));                                 \
		gpr_put(c, RAX * 8, n, d);                                                         \
	}

#define XADD(name, n)                                                                              \
	static void name##_eg_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		UINT(n) d = (UINT(n))gpr_get(c, in->rm_off, n);                                    \
		UINT(n) sum = alu_add_##n(d, (UINT(n))gpr_get(c, in->reg_off, n), &c->flags);      \
                                                                                                   \
		gpr_put(c, in->reg_off, n, d);                                                     \
		gpr_put(c, in->rm_off, n, sum); /* the same register: the sum stays */             \
	}                                                                                          \
	static void name##_mg_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		uint64_t lin = mem_linear(c, in, n, MMU_WRITE);                                    \
		UINT(n) s = (UINT(n))gpr_get(c, in->reg_off, n), old;                              \
                                                                                                   \
		ATOMIC(c, in, lin, n, d, f, XADD_ASM(s, p_, f),                                    \
		       (old = d, d = alu_add_##n(d, s, &f), s = old));                             \
		gpr_put(c, in->reg_off, n, s);                                                     \
	}

#define XADD_ASM(s, p, f)                                                                          \
	do {                                                                                       \
		__asm__ volatile("lock xadd %[s_], %[m_]" FLAGS_SAVE                               \
				 : [s_] "+r"(s), [m_] "+m"(*p), "+&a"(f) : : "cc", "memory");      \
		f = (uint16_t)f;                                                                   \
	} while (0)

ALU_SIZES(XCHG, xchg)
XCHG_ACC(xchg, 2)
XCHG_ACC(xchg, 4)
XCHG_ACC(xchg, 8)
ALU_SIZES(XADD, xadd)

static insn_fn *const xchg_forms[2][4] = { BY_SIZE(xchg_eg), BY_SIZE(xchg_mg) };
static insn_fn *const xchg_acc[4] = BY_WIDE_SIZE(xchg_ea);
static insn_fn *const xadd_forms[2][4] = { BY_SIZE(xadd_eg), BY_SIZE(xadd_mg) };

/* --- CMPXCHG: the destination is always written, with its old value when they differ --- */

/* @a is the whole of rAX: what becomes of its upper half is the host's answer. */
#define CMPXCHG_ASM(prefix, s, dest, a, f)                                                         \
	do {                                                                                       \
		uint64_t t_;                                                                       \
		__asm__ volatile(prefix "cmpxchg %[s_], %[d_]\n\tmovq %%rax, %[t_]" FLAGS_SAVE     \
				 "\n\tmovzwl %%ax, %k[f_]\n\tmovq %[t_], %%rax"                    \
				 : [d_] dest, "+&a"(a), [t_] "=&r"(t_), [f_] "=&r"(f)              \
				 : [s_] "r"(s) : "cc", "memory");                                  \
	} while (0)

#define CMPXCHG(name, n)                                                                           \
	static void name##_mg_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		uint64_t lin = mem_linear(c, in, n, MMU_WRITE), a = c->gpr[RAX];                   \
		UINT(n) s = (UINT(n))gpr_get(c, in->reg_off, n);                                   \
                                                                                                   \
		ATOMIC(c, in, lin, n, d, f, CMPXCHG_ASM("lock ", s, "+m"(*p_), a, f),              \
		       CMPXCHG_ASM("", s, "+m"(d), a, f));                                         \
		c->gpr[RAX] = a;                                                                   \
	}

static void cmpxchg_eg_1(struct cpu *c, const struct insn *in)
{
	uint8_t d = *gpr8(c, in->rm_off), s = *gpr8(c, in->reg_off);
	uint64_t a = c->gpr[RAX];

	CMPXCHG_ASM("", s, "+r"(d), a, c->flags);
	c->gpr[RAX] = a;
	*gpr8(c, in->rm_off) = d;
}

/* The destination as a whole register, too. */
#define CMPXCHG_REG(name, n, m)                                                                    \
	static void name##_eg_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		uint64_t a = c->gpr[RAX], d = c->gpr[in->rm], s = c->gpr[in->reg], t;              \
		uint32_t f;                                                                        \
                                                                                                   \
		__asm__("cmpxchg %" m "[s], %" m "[d]\n\tmovq %%rax, %[t]" FLAGS_SAVE              \
			"\n\tmovzwl %%ax, %k[f]\n\tmovq %[t], %%rax"                               \
			: [d] "+&r"(d), "+&a"(a), [t] "=&r"(t), [f] "=&r"(f) : [s] "r"(s) : "cc"); \
		c->gpr[RAX] = a;                                                                   \
		c->gpr[in->rm] = d;                                                                \
		c->flags = f;                                                                      \
	}

ALU_SIZES(CMPXCHG, cmpxchg)
CMPXCHG_REG(cmpxchg, 2, "w")
CMPXCHG_REG(cmpxchg, 4, "k")
CMPXCHG_REG(cmpxchg, 8, "q")
static insn_fn *const cmpxchg_forms[2][4] = { BY_SIZE(cmpxchg_eg), BY_SIZE(cmpxchg_mg) };

/* --- CMPXCHG8B CMPXCHG16B: only ZF changes --- */

static void put_zf(struct cpu *c, bool zf)
{
	c->flags = (c->flags & ~(uint32_t)AF_ZF) | (zf ? AF_ZF : 0);
}

static void cmpxchg8b(struct cpu *c, const struct insn *in)
{
	uint64_t lin = mem_linear(c, in, 8, MMU_WRITE), a = c->gpr[RAX], d = c->gpr[RDX];
	uint64_t *p = lock_host(c, in, lin, 8);
	bool zf;

	if (likely(p)) {
		__asm__ volatile("lock cmpxchg8b %[m]" : [m] "+m"(*p), "+a"(a), "+d"(d), "=@ccz"(zf)
				 : "b"(c->gpr[RBX]), "c"(c->gpr[RCX]) : "memory");
		mmu_after_store(c, p, 8);
	} else {
		struct split s;
		uint64_t v;

		split_load(c, in, lin, 8, &v, &s);
		__asm__ volatile("cmpxchg8b %[m]" : [m] "+m"(v), "+a"(a), "+d"(d), "=@ccz"(zf)
				 : "b"(c->gpr[RBX]), "c"(c->gpr[RCX]) : "memory");
		split_store(c, &s, &v);
	}
	c->gpr[RAX] = a;
	c->gpr[RDX] = d;
	put_zf(c, zf);
}

static void cmpxchg16b(struct cpu *c, const struct insn *in)
{
	uint64_t lin = mem_linear(c, in, 16, MMU_WRITE), a = c->gpr[RAX], d = c->gpr[RDX];
	unsigned __int128 *p;
	bool zf;

	if (lin & 15)
		cpu_raise_error(c, EXC_GP, 0);
	p = lock_host(c, in, lin, 16);
	if (likely(p)) {
		__asm__ volatile("lock cmpxchg16b %[m]" : [m] "+m"(*p), "+a"(a), "+d"(d), "=@ccz"(zf)
				 : "b"(c->gpr[RBX]), "c"(c->gpr[RCX]) : "memory");
		mmu_after_store(c, p, 16);
	} else {
		unsigned __int128 v __attribute__((aligned(16)));
		struct split s;

		split_load(c, in, lin, 16, &v, &s);
		__asm__ volatile("cmpxchg16b %[m]" : [m] "+m"(v), "+a"(a), "+d"(d), "=@ccz"(zf)
				 : "b"(c->gpr[RBX]), "c"(c->gpr[RCX]) : "memory");
		split_store(c, &s, &v);
	}
	c->gpr[RAX] = a;
	c->gpr[RDX] = d;
	put_zf(c, zf);
}

/* --- binding --- */

#define LOCK_OF(name) return lock_##name##_forms[imm][size]

static insn_fn *bind_lock(const struct insn *in)
{
	unsigned size = size_index(in->opsize);
	bool imm = opcode_table[in->row].opnd[1].kind == OPND_I;

	switch (in->id) {
	case INSN_ID_ADD: LOCK_OF(add);
	case INSN_ID_OR: LOCK_OF(or);
	case INSN_ID_ADC: LOCK_OF(adc);
	case INSN_ID_SBB: LOCK_OF(sbb);
	case INSN_ID_AND: LOCK_OF(and);
	case INSN_ID_SUB: LOCK_OF(sub);
	case INSN_ID_XOR: LOCK_OF(xor);
	case INSN_ID_BTS: LOCK_OF(bts);
	case INSN_ID_BTR: LOCK_OF(btr);
	case INSN_ID_BTC: LOCK_OF(btc);
	case INSN_ID_INC: return lock_inc_forms[size];
	case INSN_ID_DEC: return lock_dec_forms[size];
	case INSN_ID_NEG: return lock_neg_forms[size];
	case INSN_ID_NOT: return lock_not_forms[size];
	}
	return NULL;
}

insn_fn *bind_atomic(struct cpu *c, const struct insn *in)
{
	unsigned size = size_index(in->opsize);
	bool mem = in->flags & INSN_MEM;

	switch (in->id) {
	case INSN_ID_XCHG:
		if (opcode_table[in->row].opnd[1].kind == OPND_IMPLICIT)
			return xchg_acc[size];
		return xchg_forms[mem][size];
	case INSN_ID_XADD: return xadd_forms[mem][size];
	case INSN_ID_CMPXCHG: return cmpxchg_forms[mem][size];
	case INSN_ID_CMPXCHG8B: return cmpxchg8b;
	case INSN_ID_CMPXCHG16B: return cmpxchg16b;
	}
	return in->flags & INSN_LOCK && mem ? bind_lock(in) : NULL;
}
