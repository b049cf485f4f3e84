// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest's vector state: between struct cpu and the host's registers.
 *
 * In pieces, by ordinary moves: XSAVE and XRSTOR take some 70 and 110 ns, sixteen moves each way 4. The x87 has no such moves; FXSAVE64 and FXRSTOR64
 * move it (and XMM and MXCSR on the way), which is why it is loaded only when an x87 or MMX instruction asks for it.
 *
 * Invariants:
 *  - t.vector tells what is in the registers (state.h). The upper halves of YMM go with XMM, whatever the guest has enabled; those of ZMM, ZMM16 to
 *    ZMM31 and the opmasks with the first AVX-512 instruction, or with XMM while one of the upper halves is not zero;
 *  - FIP, FDP and FOP of the host are addresses of the host: what FXSAVE64 stores of them is overwritten before anybody can see it, with what
 *    translated code has noted (cpu.x.fdp; t.x87_at and t.x87_page);
 *  - C code finds MXCSR's control bits as they are at the start of a process, upper halves clean, the x87 empty, with its own control word and
 *    nothing pending. Flags of exceptions may be left in MXCSR and FSW.
 */
#include "engine/soft/translate/translate.h"

#include "engine/soft/soft.h"

enum { MXCSR_HOST = 0x1f80, MXCSR_FLAGS = 0x3f, FCW_HOST = 0x37f, FSW_PENDING = 0x80 };

_Static_assert(offsetof(struct cpu_xsave, mxcsr) == 24 && offsetof(struct cpu_xsave, xmm) == 160 &&
	       offsetof(struct cpu_xsave, ymm_hi) == 576, "the offsets in the instructions below");

#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define STORE_LOW(n) "vmovaps %%xmm" #n ", 160+16*" #n "(%0)\n\t"
#define STORE_HIGH(n) "vextractf128 $1, %%ymm" #n ", 576+16*" #n "(%0)\n\t"
#define LOAD_LOW(n) "vmovaps 160+16*" #n "(%0), %%xmm" #n "\n\t"
#define LOAD_HIGH(n) "vinsertf128 $1, 576+16*" #n "(%0), %%ymm" #n ", %%ymm" #n "\n\t"

/* ZMM and opmasks: what is beside XMM and YMM (struct cpu_avx512). */
#define EACH_HIGH(X) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define EACH_MASK(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define STORE_ZMM(n) "vextractf64x4 $1, %%zmm" #n ", 64+32*" #n "(%0)\n\t"
#define LOAD_ZMM(n) "vinsertf64x4 $1, 64+32*" #n "(%0), %%zmm" #n ", %%zmm" #n "\n\t"
#define STORE_HI16(n) "vmovaps %%zmm" #n ", 576+64*(" #n "-16)(%0)\n\t"
#define LOAD_HI16(n) "vmovaps 576+64*(" #n "-16)(%0), %%zmm" #n "\n\t"
#define STORE_MASK(n) "kmovq %%k" #n ", 8*" #n "(%0)\n\t"
#define LOAD_MASK(n) "kmovq 8*" #n "(%0), %%k" #n "\n\t"
_Static_assert(offsetof(struct cpu_avx512, k) == 0 && offsetof(struct cpu_avx512, zmm_hi) == 64 &&
	       offsetof(struct cpu_avx512, hi16) == 576, "the offsets in the instructions above");

static void avx512_store(struct cpu *c)
{
	__asm__ volatile(EACH(STORE_ZMM) EACH_HIGH(STORE_HI16) EACH_MASK(STORE_MASK) : : "r"(&c->z) : "memory");
}

/* XMM and YMM are there. */
static void avx512_load(struct cpu *c)
{
	__asm__ volatile(EACH(LOAD_ZMM) EACH_HIGH(LOAD_HI16) EACH_MASK(LOAD_MASK) : : "r"(&c->z) : "memory");
}

_Static_assert(sizeof(((struct cpu_avx512 *)0)->zmm_hi) == 8 * 64, "eight ZMM registers' worth");

/* VEX encodings clear the upper halves: while these are in memory, they have to be zero already. The vector registers are C's. */
static bool upper_halves_in_use(const struct cpu *c)
{
	unsigned any;

	if (!c->wide)
		return false;
#define OR_512(n) "vporq 64+64*" #n "(%1), %%zmm0, %%zmm0\n\t"
	__asm__ volatile("vpxor %%xmm0, %%xmm0, %%xmm0\n\t"
			 OR_512(0) OR_512(1) OR_512(2) OR_512(3) OR_512(4) OR_512(5) OR_512(6) OR_512(7)
			 "vptestmq %%zmm0, %%zmm0, %%k1\n\t"
			 "kmovw %%k1, %0\n\t"
			 "vzeroupper" : "=r"(any) : "r"(&c->z) : "memory");
	return any;
}

/* Flags that are set change nothing for code that never looks at them. */
static bool mxcsr_is_hosts(const struct cpu_xsave *x)
{
	return (x->mxcsr & ~(uint32_t)MXCSR_FLAGS) == MXCSR_HOST;
}

static void now_there(struct cpu *c, unsigned vector)
{
	c->t.vector = (uint8_t)vector;
	c->t.vector_lacks[VECTOR_SSE] = !(vector & VECTOR_SSE);
	c->t.vector_lacks[VECTOR_AVX] = !(vector & VECTOR_AVX);
	c->t.vector_lacks[VECTOR_X87] = !(vector & VECTOR_X87);
	c->t.vector_lacks[VECTOR_AVX512] = !(vector & VECTOR_AVX512);
}

static void x87_store(struct cpu *c)
{
	static const uint16_t host_fcw = FCW_HOST;
	struct cpu_translate *t = &c->t;
	struct cpu_xsave *x = &c->x;
	uint64_t fip = x->fip, fdp = x->fdp;
	uint32_t mask = x->mxcsr_mask;
	uint16_t fop = x->fop;

	__asm__ volatile("fxsave64 %0" : "+m"(*x) : : "memory");
	x->mxcsr_mask = mask;
	x->fdp = fdp;
	x->fip = fip;
	x->fop = fop;
	if (t->x87_at != X87_AT_NONE) {
		x->fip = t->x87_page + (t->x87_at & (FRAME_SIZE - 1));
		x->fop = (uint16_t)(t->x87_at >> FRAME_SHIFT);
	}
	if (x->fsw & FSW_PENDING)
		__asm__ volatile("fnclex");
	__asm__ volatile("emms");
	if (x->fcw != FCW_HOST)
		__asm__ volatile("fldcw %0" : : "m"(host_fcw));
}

void translate_vector_save(struct cpu *c)
{
	static const uint32_t host_mxcsr = MXCSR_HOST;
	struct cpu_xsave *x = &c->x;
	unsigned there = c->t.vector;

	if (!there)
		return;
	now_there(c, 0);
	if (there & VECTOR_X87)
		x87_store(c);
	else
		__asm__ volatile(EACH(STORE_LOW) "stmxcsr 24(%0)" : : "r"(x) : "memory");
	if (there & VECTOR_AVX512)
		avx512_store(c);
	__asm__ volatile(EACH(STORE_HIGH) "vzeroupper" : : "r"(x) : "memory");
	if (!mxcsr_is_hosts(x))
		__asm__ volatile("ldmxcsr %0" : : "m"(host_mxcsr));
}

/* FXRSTOR64 loads XMM and MXCSR, too, and leaves the upper halves alone. */
static void x87_load(struct cpu *c)
{
	struct cpu_xsave *x = &c->x;

	if (c->t.vector)
		__asm__ volatile(EACH(STORE_LOW) "stmxcsr 24(%0)" : : "r"(x) : "memory");
	__asm__ volatile("fxrstor64 %0" : : "m"(*x) : "memory");
	if (!c->t.vector)
		__asm__ volatile(EACH(LOAD_HIGH) : : "r"(x) : "memory");
	c->t.x87_at = X87_AT_NONE;
}

static unsigned vector_allowed(const struct cpu *c)
{
	bool sse = !(c->cr0 & (CR0_EM | CR0_TS)) && (c->cr4 & CR4_OSFXSR);
	bool avx = sse && (c->cr4 & CR4_OSXSAVE) && (c->xcr0 & 6) == 6;

	bool avx512 = avx && c->wide && (c->xcr0 & XCR0_AVX512) == XCR0_AVX512;

	return (sse ? VECTOR_SSE : 0) | (avx ? VECTOR_AVX : 0) | (avx512 ? VECTOR_AVX512 : 0) | (c->cr0 & (CR0_EM | CR0_TS) ? 0 : VECTOR_X87);
}

bool translate_vector_load(struct cpu *c, unsigned wanted)
{
	unsigned allowed = vector_allowed(c);

	if (wanted & ~allowed)
		return false;
	if (!(wanted & VECTOR_AVX512) && (c->t.vector || !upper_halves_in_use(c)))
		allowed &= ~(unsigned)VECTOR_AVX512;
	else
		wanted |= allowed & VECTOR_AVX512;
	if (wanted & ~c->t.vector & VECTOR_X87)
		x87_load(c);
	else if (!c->t.vector)
		__asm__ volatile(EACH(LOAD_LOW) EACH(LOAD_HIGH) "ldmxcsr 24(%0)" : : "r"(&c->x) : "memory");
	if (wanted & ~c->t.vector & VECTOR_AVX512)
		avx512_load(c);
	now_there(c, c->t.vector | (wanted & VECTOR_X87) | (allowed & ~(unsigned)VECTOR_X87));
	return true;
}
