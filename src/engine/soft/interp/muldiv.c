// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MUL IMUL DIV IDIV MULX, and the decimal adjustments AAA AAS AAM AAD DAA DAS (SDM vol. 2).
 *
 * Multiplication and division run natively with the guest's flags loaded, since they leave most
 * flags undefined. What would raise #DE on the host is found first: the host never faults.
 */
#include "engine/soft/interp/alu.h"

/*
 * One-operand forms work on rDX:rAX, but the flags need AX to come and go. So the flags wait in
 * another register while rAX holds the operand.
 */
#define WIDE_KERNEL(name, n)                                                                       \
	static inline __attribute__((always_inline)) void wide_##name##_##n(                       \
		uint64_t *lo, uint64_t *hi, UINT(n) s, uint32_t *flags)                            \
	{                                                                                          \
		uint64_t f_ = *flags, a_ = *lo, d_ = *hi;                                          \
		__asm__("xchgq %[f], %%rax\n\t" FLAGS_LOAD "movq %[f], %%rax\n\t"                  \
			#name " %[s]\n\t"                                                          \
			"movq %%rax, %[f]" FLAGS_SAVE "\n\t"                                       \
			"xchgq %[f], %%rax"                                                        \
			: [f] "+&r"(f_), "+&a"(a_), "+&d"(d_) : [s] "r"(s) : "cc");                \
		*flags = (uint16_t)f_;                                                             \
		*lo = a_;                                                                          \
		*hi = d_;                                                                          \
	}

/* Writes rDX:rAX (AX for bytes). */
#define WIDE_PUT(n, a, d)                                                                          \
	do {                                                                                       \
		if (n == 1) {                                                                      \
			gpr_put(c, RAX * 8, 2, a);                                                 \
		} else {                                                                           \
			gpr_put(c, RAX * 8, n, a);                                                 \
			gpr_put(c, RDX * 8, n, d);                                                 \
		}                                                                                  \
	} while (0)

#define MULTIPLY(name, n)                                                                          \
	WIDE_KERNEL(name, n)                                                                       \
	static void name##_wide_##n(struct cpu *c, const struct insn *in)                          \
	{                                                                                          \
		UINT(n) s = (UINT(n))rm_load(c, in, n);                                            \
		uint64_t a = c->gpr[RAX], d = c->gpr[RDX];                                         \
                                                                                                   \
		wide_##name##_##n(&a, &d, s, &c->flags);                                           \
		WIDE_PUT(n, a, d);                                                                 \
	}

ALU_SIZES(MULTIPLY, mul)
ALU_SIZES(MULTIPLY, imul)

/* --- DIV IDIV: #DE for a divisor of 0 or a quotient that does not fit --- */

static bool div_overflows_8(uint64_t lo, uint64_t hi, uint64_t s)
{
	return hi >= s;
}

static bool idiv_overflows_8(uint64_t lo, uint64_t hi, uint64_t s)
{
	bool dividend_negative = (int64_t)hi < 0, divisor_negative = (int64_t)s < 0;
	unsigned __int128 a = (unsigned __int128)hi << 64 | lo;
	uint64_t b = divisor_negative ? -s : s;

	if (likely(hi == (uint64_t)((int64_t)lo >> 63))) /* as CQO leaves it */
		return !s || (lo == 1ull << 63 && s == ~0ull);
	if (dividend_negative)
		a = -a;
	if ((uint64_t)(a >> 64) >= b) /* also when b is 0 */
		return true;
	return (uint64_t)(a / b) > (uint64_t)INT64_MAX + (dividend_negative != divisor_negative);
}

#define DIV_CHECK(n, n2)                                                                           \
	static bool div_overflows_##n(uint64_t a, uint64_t d, UINT(n) s)                           \
	{                                                                                          \
		return !s || dividend_##n(a, d) / s > (UINT(n))-1;                                 \
	}                                                                                          \
	static bool idiv_overflows_##n(uint64_t a, uint64_t d, UINT(n) s)                          \
	{                                                                                          \
		int64_t v = (INT(n2))dividend_##n(a, d), q;                                        \
                                                                                                   \
		if (!s || (v == INT64_MIN && s == (UINT(n))-1))                                    \
			return true;                                                               \
		q = v / (INT(n))s;                                                                 \
		return q != (INT(n))q;                                                             \
	}

static inline uint64_t dividend_1(uint64_t a, uint64_t d) { return (uint16_t)a; }
static inline uint64_t dividend_2(uint64_t a, uint64_t d) { return (uint32_t)d << 16 | (uint16_t)a; }
static inline uint64_t dividend_4(uint64_t a, uint64_t d) { return d << 32 | (uint32_t)a; }

DIV_CHECK(1, 2)
DIV_CHECK(2, 4)
DIV_CHECK(4, 8)

#define DIVIDE(name, n)                                                                            \
	WIDE_KERNEL(name, n)                                                                       \
	static void name##_wide_##n(struct cpu *c, const struct insn *in)                          \
	{                                                                                          \
		UINT(n) s = (UINT(n))rm_load(c, in, n);                                            \
		uint64_t a = c->gpr[RAX], d = c->gpr[RDX];                                         \
                                                                                                   \
		if (unlikely(name##_overflows_##n(a, d, s)))                                       \
			cpu_raise(c, EXC_DE);                                                      \
		wide_##name##_##n(&a, &d, s, &c->flags);                                           \
		WIDE_PUT(n, a, d);                                                                 \
	}

ALU_SIZES(DIVIDE, div)
ALU_SIZES(DIVIDE, idiv)

#define WIDE_SIZES(name) { name##_wide_1, name##_wide_2, name##_wide_4, name##_wide_8 }
static insn_fn *const mul_forms[4] = WIDE_SIZES(mul);
static insn_fn *const imul_forms[4] = WIDE_SIZES(imul);
static insn_fn *const div_forms[4] = WIDE_SIZES(div);
static insn_fn *const idiv_forms[4] = WIDE_SIZES(idiv);

/* --- IMUL with two and three operands --- */

#define IMUL(n)                                                                                    \
	ALU_KERNEL_IN(imul, FLAGS_LOAD, n)                                                         \
	static void imul_ge_##n(struct cpu *c, const struct insn *in)                              \
	{                                                                                          \
		UINT(n) d = (UINT(n))gpr_get(c, in->reg_off, n);                                   \
		UINT(n) s = (UINT(n))gpr_get(c, in->rm_off, n);                                    \
                                                                                                   \
		gpr_put(c, in->reg_off, n, alu_imul_##n(d, s, &c->flags));                         \
	}                                                                                          \
	static void imul_gm_##n(struct cpu *c, const struct insn *in)                              \
	{                                                                                          \
		UINT(n) s = (UINT(n))mem_load(c, in, n);                                           \
		UINT(n) d = (UINT(n))gpr_get(c, in->reg_off, n);                                   \
                                                                                                   \
		gpr_put(c, in->reg_off, n, alu_imul_##n(d, s, &c->flags));                         \
	}                                                                                          \
	static void imul_gei_##n(struct cpu *c, const struct insn *in)                             \
	{                                                                                          \
		UINT(n) s = (UINT(n))rm_load(c, in, n);                                            \
                                                                                                   \
		gpr_put(c, in->reg_off, n, alu_imul_##n(s, (UINT(n))in->imm, &c->flags));          \
	}

IMUL(2)
IMUL(4)
IMUL(8)

static insn_fn *const imul_g_forms[3][4] = {
	{ NULL, imul_ge_2, imul_ge_4, imul_ge_8 },
	{ NULL, imul_gm_2, imul_gm_4, imul_gm_8 },
	{ NULL, imul_gei_2, imul_gei_4, imul_gei_8 },
};

static insn_fn *bind_imul(const struct insn *in)
{
	const struct operand *o = opcode_table[in->row].opnd;
	unsigned size = size_index(in->opsize);

	if (o[0].kind != OPND_G)
		return imul_forms[size];
	return imul_g_forms[o[2].kind == OPND_I ? 2 : !!(in->flags & INSN_MEM)][size];
}

/* --- MULX: rDX times rm; the high half is written last (both destinations may be the same) --- */

static void mulx_4(struct cpu *c, const struct insn *in)
{
	uint64_t p = (uint64_t)(uint32_t)rm_load(c, in, 4) * (uint32_t)c->gpr[RDX];

	c->gpr[in->vvvv] = (uint32_t)p;
	c->gpr[in->reg] = p >> 32;
}

static void mulx_8(struct cpu *c, const struct insn *in)
{
	unsigned __int128 p = (unsigned __int128)rm_load(c, in, 8) * c->gpr[RDX];

	c->gpr[in->vvvv] = (uint64_t)p;
	c->gpr[in->reg] = (uint64_t)(p >> 64);
}

/*
 * --- decimal adjustments ---
 *
 * The host cannot run them in 64-bit mode. The flags that the manual leaves undefined are those of
 * the addition or subtraction of the adjustment, which is what processors were seen to give.
 */

static void put_adjust(struct cpu *c, uint32_t f, bool carry, bool adjust)
{
	f &= ~(uint32_t)(AF_CF | AF_AF);
	c->flags = f | (carry ? AF_CF : 0) | (adjust ? AF_AF : 0);
}

static void daa(struct cpu *c, const struct insn *in)
{
	uint8_t al = (uint8_t)c->gpr[RAX];
	bool low = (al & 15) > 9 || (c->flags & AF_AF), high = al > 0x99 || (c->flags & AF_CF);
	uint32_t f;

	gpr_put(c, 0, 1, alu_add_1(al, (low ? 6 : 0) | (high ? 0x60 : 0), &f));
	put_adjust(c, f, high, low);
}

static void das(struct cpu *c, const struct insn *in)
{
	uint8_t al = (uint8_t)c->gpr[RAX];
	bool low = (al & 15) > 9 || (c->flags & AF_AF), high = al > 0x99 || (c->flags & AF_CF);
	uint32_t f;

	gpr_put(c, 0, 1, alu_sub_1(al, (low ? 6 : 0) | (high ? 0x60 : 0), &f));
	put_adjust(c, f, high || (low && al < 6), low);
}

static void aaa(struct cpu *c, const struct insn *in)
{
	bool adjust = (c->gpr[RAX] & 15) > 9 || (c->flags & AF_AF);
	uint32_t f;

	gpr_put(c, 0, 2, alu_add_2((uint16_t)c->gpr[RAX], adjust ? 0x106 : 0, &f) & 0xff0f);
	put_adjust(c, f, adjust, adjust);
}

static void aas(struct cpu *c, const struct insn *in)
{
	bool adjust = (c->gpr[RAX] & 15) > 9 || (c->flags & AF_AF);
	uint32_t f;

	gpr_put(c, 0, 2, alu_sub_2((uint16_t)c->gpr[RAX], adjust ? 0x106 : 0, &f) & 0xff0f);
	put_adjust(c, f, adjust, adjust);
}

static void aam(struct cpu *c, const struct insn *in)
{
	uint8_t al = (uint8_t)c->gpr[RAX], base = (uint8_t)in->imm;

	if (!base)
		cpu_raise(c, EXC_DE);
	gpr_put(c, 0, 2, (uint64_t)(al / base) << 8 | al % base);
	(void)alu_test_1(al % base, 0xff, &c->flags);
}

static void aad(struct cpu *c, const struct insn *in)
{
	uint16_t ax = (uint16_t)c->gpr[RAX];

	gpr_put(c, 0, 2, alu_add_1((uint8_t)ax, (uint8_t)((ax >> 8) * (in->imm & 0xff)), &c->flags));
}

insn_fn *bind_muldiv(struct cpu *c, const struct insn *in)
{
	unsigned size = size_index(in->opsize);

	switch (in->id) {
	case INSN_ID_MUL: return mul_forms[size];
	case INSN_ID_IMUL: return bind_imul(in);
	case INSN_ID_DIV: return div_forms[size];
	case INSN_ID_IDIV: return idiv_forms[size];
	case INSN_ID_MULX: return insn_operand_size(in, 0) == 8 ? mulx_8 : mulx_4;
	case INSN_ID_DAA: return daa;
	case INSN_ID_DAS: return das;
	case INSN_ID_AAA: return aaa;
	case INSN_ID_AAS: return aas;
	case INSN_ID_AAM: return aam;
	case INSN_ID_AAD: return aad;
	}
	return NULL;
}
