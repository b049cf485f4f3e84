// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Single bits, bit scans and counts, BMI1/BMI2, ADX, CRC32, byte swaps, flag instructions, random
 * numbers (SDM vol. 2).
 *
 * A destination register of 16 bits or more takes part as the whole 64-bit register, so that what
 * happens to the bits beyond the operand (BSF of zero, BSWAP of 16 bits) is what the host does.
 */
#include "engine/soft/interp/alu.h"
#include "engine/soft/soft.h"

#include <cpuid.h>

/* --- destination modrm.reg, source modrm.rm, all flags in and out --- */

#define SCAN(name, n, m)                                                                           \
	static void name##_##n(struct cpu *c, const struct insn *in)                               \
	{                                                                                          \
		uint64_t s = rm_load(c, in, n), d = c->gpr[in->reg];                               \
		uint32_t f = c->flags;                                                             \
                                                                                                   \
		__asm__(FLAGS_LOAD #name " %" #m "[s], %" #m "[d]" FLAGS_SAVE                      \
			: [d] "+r"(d), "+&a"(f) : [s] "r"(s) : "cc");                              \
		c->gpr[in->reg] = d;                                                               \
		c->flags = (uint16_t)f;                                                            \
	}

#define DEFINE_SCAN(name)                                                                          \
	SCAN(name, 2, w)                                                                           \
	SCAN(name, 4, k)                                                                           \
	SCAN(name, 8, q)                                                                           \
	static insn_fn *const name##_forms[4] = { NULL, name##_2, name##_4, name##_8 };

DEFINE_SCAN(bsf)
DEFINE_SCAN(bsr)
DEFINE_SCAN(tzcnt)
DEFINE_SCAN(lzcnt)
DEFINE_SCAN(popcnt)
SCAN(adcx, 4, k)
SCAN(adcx, 8, q)
SCAN(adox, 4, k)
SCAN(adox, 8, q)

/* --- CRC32: the destination is always cleared above bit 31; no flags --- */

#define CRC32(n, suffix, m, md)                                                                    \
	static void crc32_##n(struct cpu *c, const struct insn *in)                                \
	{                                                                                          \
		uint64_t s = rm_load(c, in, n), d = c->gpr[in->reg];                               \
                                                                                                   \
		__asm__("crc32" suffix " %" m "[s], %" md "[d]" : [d] "+r"(d) : [s] "r"(s));       \
		c->gpr[in->reg] = d;                                                               \
	}

CRC32(1, "b", "b", "k")
CRC32(2, "w", "w", "k")
CRC32(4, "l", "k", "k")
CRC32(8, "q", "q", "q")
static insn_fn *const crc32_forms[4] = { crc32_1, crc32_2, crc32_4, crc32_8 };

/* --- BMI: three operands; @text has them in AT&T's order, the destination last --- */

#define BMI(name, n, dst, text)                                                                    \
	static void name##_##n(struct cpu *c, const struct insn *in)                               \
	{                                                                                          \
		UINT(n) s = (UINT(n))rm_load(c, in, n), v = (UINT(n))c->gpr[in->vvvv], d;          \
		uint32_t f = c->flags;                                                             \
                                                                                                   \
		__asm__(FLAGS_LOAD #name text FLAGS_SAVE                                           \
			: [d] "=&r"(d), "+&a"(f) : [s] "r"(s), [v] "r"(v) : "cc");                 \
		c->gpr[in->dst] = d;                                                               \
		c->flags = (uint16_t)f;                                                            \
	}

#define DEFINE_BMI(name, dst, text)                                                                \
	BMI(name, 4, dst, text)                                                                    \
	BMI(name, 8, dst, text)

DEFINE_BMI(andn, reg, " %[s], %[v], %[d]")
DEFINE_BMI(bextr, reg, " %[v], %[s], %[d]")
DEFINE_BMI(bzhi, reg, " %[v], %[s], %[d]")
DEFINE_BMI(pext, reg, " %[s], %[v], %[d]")
DEFINE_BMI(pdep, reg, " %[s], %[v], %[d]")
DEFINE_BMI(blsr, vvvv, " %[s], %[d]")
DEFINE_BMI(blsmsk, vvvv, " %[s], %[d]")
DEFINE_BMI(blsi, vvvv, " %[s], %[d]")

/* --- BT BTS BTR BTC --- */

/* BT stores nothing: not even the upper half of a 32-bit register. */
#define BIT_TEST_MEM(name, n)                                                                      \
	static void name##_mg_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		INT(n) s = (INT(n))gpr_get(c, in->reg_off, n);                                     \
		UINT(n) d = (UINT(n))mmu_load(c, in->seg, bit_linear(c, in, s, n, MMU_READ), n);   \
                                                                                                   \
		(void)alu_##name##_##n(d, (UINT(n))s, &c->flags);                                  \
	}                                                                                          \
	static void name##_mi_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		UINT(n) d = (UINT(n))mem_load(c, in, n);                                           \
                                                                                                   \
		(void)alu_##name##_##n(d, (UINT(n))in->imm, &c->flags);                            \
	}                                                                                          \
	static void name##_rg_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		UINT(n) d = (UINT(n))gpr_get(c, in->rm_off, n);                                    \
                                                                                                   \
		(void)alu_##name##_##n(d, (UINT(n))gpr_get(c, in->reg_off, n), &c->flags);         \
	}                                                                                          \
	static void name##_ri_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		UINT(n) d = (UINT(n))gpr_get(c, in->rm_off, n);                                    \
                                                                                                   \
		(void)alu_##name##_##n(d, (UINT(n))in->imm, &c->flags);                            \
	}

#define BIT_RMW_REG(name, n)                                                                       \
	static void name##_rg_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		UINT(n) d = (UINT(n))gpr_get(c, in->rm_off, n);                                    \
		UINT(n) s = (UINT(n))gpr_get(c, in->reg_off, n);                                   \
                                                                                                   \
		gpr_put(c, in->rm_off, n, alu_##name##_##n(d, s, &c->flags));                      \
	}                                                                                          \
	static void name##_ri_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		UINT(n) d = (UINT(n))gpr_get(c, in->rm_off, n);                                    \
                                                                                                   \
		gpr_put(c, in->rm_off, n, alu_##name##_##n(d, (UINT(n))in->imm, &c->flags));       \
	}

#define BIT_RMW_MEM(name, n)                                                                       \
	static void name##_mg_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		INT(n) s = (INT(n))gpr_get(c, in->reg_off, n);                                     \
		uint64_t lin = bit_linear(c, in, s, n, MMU_WRITE);                                 \
                                                                                                   \
		RMW(c, in, lin, n, d, f, d = alu_##name##_##n(d, (UINT(n))s, &f));                 \
	}                                                                                          \
	static void name##_mi_##n(struct cpu *c, const struct insn *in)                            \
	{                                                                                          \
		uint64_t lin = mem_linear(c, in, n, MMU_WRITE);                                    \
                                                                                                   \
		RMW(c, in, lin, n, d, f, d = alu_##name##_##n(d, (UINT(n))in->imm, &f));           \
	}

#define BIT_SIZES(name, form) { NULL, name##_##form##_2, name##_##form##_4, name##_##form##_8 }
#define BIT_FORMS(name)                                                                            \
	static insn_fn *const name##_forms[2][2][4] = {                                            \
		{ BIT_SIZES(name, rg), BIT_SIZES(name, ri) },                                      \
		{ BIT_SIZES(name, mg), BIT_SIZES(name, mi) },                                      \
	};

#define BIT_TEST(name, n) ALU_KERNEL_IN(name, FLAGS_LOAD, n) BIT_TEST_MEM(name, n)
#define BIT_CHANGE(name, n) ALU_KERNEL_IN(name, FLAGS_LOAD, n) BIT_RMW_REG(name, n) BIT_RMW_MEM(name, n)
#define DEFINE_BIT(name, M) M(name, 2) M(name, 4) M(name, 8) BIT_FORMS(name)

DEFINE_BIT(bt, BIT_TEST)
DEFINE_BIT(bts, BIT_CHANGE)
DEFINE_BIT(btr, BIT_CHANGE)
DEFINE_BIT(btc, BIT_CHANGE)

/* --- byte order --- */

static void bswap_2(struct cpu *c, const struct insn *in)
{
	uint64_t d = c->gpr[in->rm];

	__asm__(".byte 0x66\n\tbswap %k[d]" : [d] "+r"(d));
	c->gpr[in->rm] = d;
}

static void bswap_4(struct cpu *c, const struct insn *in)
{
	c->gpr[in->rm] = __builtin_bswap32((uint32_t)c->gpr[in->rm]);
}

static void bswap_8(struct cpu *c, const struct insn *in)
{
	c->gpr[in->rm] = __builtin_bswap64(c->gpr[in->rm]);
}

#define MOVBE(n, bits)                                                                             \
	static void movbe_load_##n(struct cpu *c, const struct insn *in)                           \
	{                                                                                          \
		gpr_put(c, in->reg_off, n, __builtin_bswap##bits((UINT(n))mem_load(c, in, n)));    \
	}                                                                                          \
	static void movbe_store_##n(struct cpu *c, const struct insn *in)                          \
	{                                                                                          \
		uint64_t lin = mem_linear(c, in, n, MMU_WRITE);                                    \
                                                                                                   \
		mmu_store(c, in->seg, lin, n, __builtin_bswap##bits((UINT(n))gpr_get(c, in->reg_off, n))); \
	}

MOVBE(2, 16)
MOVBE(4, 32)
MOVBE(8, 64)
static insn_fn *const movbe_forms[2][4] = {
	{ NULL, movbe_load_2, movbe_load_4, movbe_load_8 },
	{ NULL, movbe_store_2, movbe_store_4, movbe_store_8 },
};

/* MOVNTI: an ordinary store; its order among other stores is only stricter than asked for. */
static void movnti_4(struct cpu *c, const struct insn *in)
{
	mmu_store(c, in->seg, mem_linear(c, in, 4, MMU_WRITE), 4, (uint32_t)c->gpr[in->reg]);
}

static void movnti_8(struct cpu *c, const struct insn *in)
{
	mmu_store(c, in->seg, mem_linear(c, in, 8, MMU_WRITE), 8, c->gpr[in->reg]);
}

/* --- flags --- */

static void lahf(struct cpu *c, const struct insn *in)
{
	gpr_put(c, RAX * 8 + 1, 1, (c->flags >> 8 & 0xd5) | RF_FIXED);
}

static void sahf(struct cpu *c, const struct insn *in)
{
	c->flags = (c->flags & AF_OF) | (c->gpr[RAX] & 0xd500);
}

static void salc(struct cpu *c, const struct insn *in)
{
	gpr_put(c, RAX * 8, 1, c->flags & AF_CF ? 0xff : 0);
}

static void cmc(struct cpu *c, const struct insn *in)
{
	c->flags ^= AF_CF;
}

static void clc(struct cpu *c, const struct insn *in)
{
	c->flags &= ~(uint32_t)AF_CF;
}

static void stc(struct cpu *c, const struct insn *in)
{
	c->flags |= AF_CF;
}

static void cld(struct cpu *c, const struct insn *in)
{
	c->sysflags &= ~(uint32_t)RF_DF;
}

static void std(struct cpu *c, const struct insn *in)
{
	c->sysflags |= RF_DF;
}

/* --- RDRAND RDSEED: a host without RDSEED gives RDRAND's numbers --- */

#define RANDOM(name, n, m)                                                                         \
	static void name##_##n(struct cpu *c, const struct insn *in)                               \
	{                                                                                          \
		uint64_t d = c->gpr[in->rm];                                                       \
		uint16_t f;                                                                        \
                                                                                                   \
		__asm__ volatile(#name " %" #m "[d]" FLAGS_SAVE : [d] "+r"(d), "=&a"(f) : : "cc"); \
		c->gpr[in->rm] = d;                                                                \
		c->flags = f;                                                                      \
	}

RANDOM(rdrand, 2, w)
RANDOM(rdrand, 4, k)
RANDOM(rdrand, 8, q)
RANDOM(rdseed, 2, w)
RANDOM(rdseed, 4, k)
RANDOM(rdseed, 8, q)
static insn_fn *const rdrand_forms[4] = { NULL, rdrand_2, rdrand_4, rdrand_8 };
static insn_fn *const rdseed_forms[4] = { NULL, rdseed_2, rdseed_4, rdseed_8 };

static bool host_has_rdseed(void)
{
	static _Atomic int known; /* 0: not asked yet */
	unsigned a, b = 0, cx, d;

	if (!known)
		known = __get_cpuid_count(7, 0, &a, &b, &cx, &d) && (b & bit_RDSEED) ? 1 : -1;
	return known > 0;
}

/* --- binding --- */

#define BMI_OF(name) return wide ? name##_8 : name##_4
#define BIT_OF(name) return name##_forms[mem][opcode_table[in->row].opnd[1].kind == OPND_I][size]

insn_fn *bind_bits(struct cpu *c, const struct insn *in)
{
	unsigned size = size_index(in->opsize), first = insn_operand_size(in, 0);
	bool mem = in->flags & INSN_MEM, wide = first == 8;

	switch (in->id) {
	case INSN_ID_BT: BIT_OF(bt);
	case INSN_ID_BTS: BIT_OF(bts);
	case INSN_ID_BTR: BIT_OF(btr);
	case INSN_ID_BTC: BIT_OF(btc);
	case INSN_ID_BSF: return bsf_forms[size];
	case INSN_ID_BSR: return bsr_forms[size];
	/* On a CPU that does not know the prefix: */
	case INSN_ID_TZCNT: return cpu_model_has(c->vm->model, FEAT_BMI1) ? tzcnt_forms[size] : bsf_forms[size];
	case INSN_ID_LZCNT: return cpu_model_has(c->vm->model, FEAT_LZCNT) ? lzcnt_forms[size] : bsr_forms[size];
	case INSN_ID_POPCNT: return popcnt_forms[size];
	case INSN_ID_CRC32: return crc32_forms[size_index(insn_operand_size(in, 1))];
	case INSN_ID_ADCX: BMI_OF(adcx);
	case INSN_ID_ADOX: BMI_OF(adox);
	case INSN_ID_ANDN: BMI_OF(andn);
	case INSN_ID_BEXTR: BMI_OF(bextr);
	case INSN_ID_BZHI: BMI_OF(bzhi);
	case INSN_ID_PEXT: BMI_OF(pext);
	case INSN_ID_PDEP: BMI_OF(pdep);
	case INSN_ID_BLSR: BMI_OF(blsr);
	case INSN_ID_BLSMSK: BMI_OF(blsmsk);
	case INSN_ID_BLSI: BMI_OF(blsi);
	case INSN_ID_MOVNTI: return wide ? movnti_8 : movnti_4;
	case INSN_ID_BSWAP: return in->opsize == 2 ? bswap_2 : in->opsize == 4 ? bswap_4 : bswap_8;
	case INSN_ID_MOVBE: return movbe_forms[opcode_table[in->row].opnd[0].kind == OPND_M][size];
	case INSN_ID_LAHF: return lahf;
	case INSN_ID_SAHF: return sahf;
	case INSN_ID_SALC: return salc;
	case INSN_ID_CMC: return cmc;
	case INSN_ID_CLC: return clc;
	case INSN_ID_STC: return stc;
	case INSN_ID_CLD: return cld;
	case INSN_ID_STD: return std;
	case INSN_ID_RDRAND: return rdrand_forms[size];
	case INSN_ID_RDSEED: return host_has_rdseed() ? rdseed_forms[size] : rdrand_forms[size];
	}
	return NULL;
}
