// SPDX-License-Identifier: GPL-2.0-or-later
/* x87, MMX, SSE and AVX: what surrounds the arithmetic. Faults, checks, order, x87 pointers, masks. */
#include "test_vector_rig.h"

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

#define MEMORY_END ((uint64_t)(uintptr_t)vrig.ram + VRIG_RAM)

static int setup(void **state)
{
	vrig_reset(INSN_MODE64);
	return 0;
}

static void set_floats(uint8_t reg[16], float a, float b, float d, float e)
{
	memcpy(reg, (float[]){ a, b, d, e }, 16);
}

static void set_st(unsigned i, long double v)
{
	memset(vrig.c->x.st[i], 0, 16);
	memcpy(vrig.c->x.st[i], &v, 10);
}

static long double get_st(unsigned i)
{
	long double v = 0;

	memcpy(&v, vrig.c->x.st[i], 10);
	return v;
}

static uint64_t at(unsigned offset)
{
	return (uint64_t)(uintptr_t)vrig.ram + offset;
}

/* --- SIMD exceptions --- */

static void unmasked_simd_exception_raises_xm_and_changes_only_mxcsr(void **state)
{
	struct cpu_xsave *x = &vrig.c->x;
	uint8_t before[16];

	x->mxcsr = 0x1f80 & ~(1u << 9); /* ZM clear */
	set_floats(x->xmm[0], 1, 2, 3, 4);
	set_floats(x->xmm[1], 1, 0, 1, 1);
	memcpy(before, x->xmm[0], 16);
	assert_int_equal(VRUN(0x0f, 0x5e, 0xc1), EXC_XM); /* divps xmm0, xmm1 */
	assert_memory_equal(before, x->xmm[0], 16);
	assert_int_equal(x->mxcsr, (0x1f80 & ~(1u << 9)) | 1u << 2);
	assert_int_equal(vrig.c->gpr[GPR_RIP], 0x1000);
	assert_int_equal(VRUN(0xc5, 0xfc, 0x5e, 0xc1), EXC_XM); /* vdivps ymm0, ymm0, ymm1 */
}

static void simd_exception_without_osxmmexcpt_is_ud(void **state)
{
	vrig.c->cr4 &= ~(uint64_t)CR4_OSXMMEXCPT;
	vrig.c->x.mxcsr = 0;
	set_floats(vrig.c->x.xmm[0], 1, 1, 1, 1);
	assert_int_equal(VRUN(0x0f, 0x5e, 0xc1), EXC_UD);
}

static void host_mxcsr_and_x87_come_back(void **state)
{
	uint32_t mxcsr;
	uint16_t fcw;

	vrig.c->x.mxcsr = 0xff80;
	vrig.c->x.fcw = 0x27f;
	VRUN(0x0f, 0x58, 0xc1);
	VRUN(0xd9, 0xe8); /* fld1 */
	VRUN(0x0f, 0xfc, 0xc1); /* paddb mm0, mm1 */
	vrig.c->x.mxcsr = 0;
	set_floats(vrig.c->x.xmm[0], 1, 1, 1, 1);
	memset(vrig.c->x.xmm[1], 0, 16);
	assert_int_equal(VRUN(0x0f, 0x5e, 0xc1), EXC_XM);
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	__asm__ volatile("fnstcw %0" : "=m"(fcw));
	assert_int_equal(mxcsr & 0xffc0, 0x1f80);
	assert_int_equal(fcw, 0x37f);
}

static void *divide_for_ever(void *arg)
{
	struct cpu *c = arg;
	static _Thread_local struct insn in;
	uint8_t code[] = { 0x0f, 0x5e, 0xc1 };

	for (unsigned i = 0; i < 2000; i++) {
		code[2] = (uint8_t)(0xc0 | (i & 7) << 3 | (7 - (i & 7)));
		if (insn_decode(code, 3, INSN_MODE64, &in) != 3 || vector_bind(c, &in))
			return (void *)1;
		set_floats(c->x.xmm[i & 7], (float)i + 1, 1, 1, 1);
		memset(c->x.xmm[7 - (i & 7)], 0, 16);
		c->x.mxcsr = i & 1 ? 0x1d80 : 0x1f80;
		/* the thunk itself: raising is the stand's, which has one vCPU */
		int (*thunk)(struct cpu *, void *);

		memcpy(&thunk, &in.thunk, sizeof(thunk));
		if (thunk(c, NULL) != (i & 1 ? -1 : 0) || !(c->x.mxcsr & 4))
			return (void *)2;
	}
	return NULL;
}

static void thunks_and_their_exceptions_work_on_several_threads(void **state)
{
	pthread_t t[4];
	struct cpu *c[4];
	void *r;

	assert_int_equal(vector_init(), 0);
	for (unsigned i = 0; i < 4; i++) {
		c[i] = aligned_alloc(64, (sizeof(struct cpu) + 63) & ~(size_t)63);
		memcpy(c[i], vrig.c, sizeof(struct cpu));
		assert_int_equal(pthread_create(&t[i], NULL, divide_for_ever, c[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(t[i], &r);
		assert_null(r);
		free(c[i]);
	}
}

/* --- what the OS has to have switched on --- */

static void sse_needs_osfxsr_and_no_em_or_ts(void **state)
{
	struct cpu *c = vrig.c;

	c->cr0 |= CR0_TS;
	assert_int_equal(VRUN(0x0f, 0x58, 0xc1), EXC_NM);
	c->cr0 |= CR0_EM;
	assert_int_equal(VRUN(0x0f, 0x58, 0xc1), EXC_UD);
	assert_int_equal(VRUN(0x0f, 0xfc, 0xc1), EXC_UD); /* MMX */
	assert_int_equal(VRUN(0xd9, 0xe8), EXC_NM);	  /* x87 */
	c->cr0 &= ~(uint64_t)(CR0_TS | CR0_EM);
	c->cr4 &= ~(uint64_t)CR4_OSFXSR;
	assert_int_equal(VRUN(0x0f, 0x58, 0xc1), EXC_UD);
	assert_int_equal(VRUN(0x0f, 0x2a, 0xc1), EXC_UD); /* cvtpi2ps */
	assert_int_equal(VRUN(0x0f, 0xfc, 0xc1), VRIG_NO_FAULT);
	assert_int_equal(VRUN(0xc5, 0xf8, 0x58, 0xc1), VRIG_NO_FAULT); /* VEX does not look at it */
}

static void avx_needs_osxsave_and_xcr0(void **state)
{
	struct cpu *c = vrig.c;

	c->cr0 |= CR0_EM;
	assert_int_equal(VRUN(0xc5, 0xf8, 0x58, 0xc1), VRIG_NO_FAULT);
	c->xcr0 = 3;
	assert_int_equal(VRUN(0xc5, 0xf8, 0x58, 0xc1), EXC_UD);
	c->xcr0 = 7;
	c->cr4 &= ~(uint64_t)CR4_OSXSAVE;
	assert_int_equal(VRUN(0xc5, 0xf8, 0x77), EXC_UD); /* vzeroupper */
	c->cr4 |= CR4_OSXSAVE;
	c->cr0 |= CR0_TS;
	assert_int_equal(VRUN(0xc5, 0xf8, 0x58, 0xc1), EXC_NM);
}

static void fwait_looks_at_mp_with_ts(void **state)
{
	struct cpu *c = vrig.c;

	c->cr0 = CR0_PE | CR0_TS;
	assert_int_equal(VRUN(0x9b), VRIG_NO_FAULT);
	c->cr0 |= CR0_MP;
	assert_int_equal(VRUN(0x9b), EXC_NM);
	c->cr0 &= ~(uint64_t)CR0_TS;
	c->x.fcw = 0x37e;
	c->x.fsw = 0x8081;
	assert_int_equal(VRUN(0x9b), EXC_MF);
}

/* --- memory --- */

static void unaligned_sse_operand_is_gp_before_any_page_fault(void **state)
{
	vrig.c->gpr[RBX] = MEMORY_END + 1;
	assert_int_equal(VRUN(0x0f, 0x58, 0x03), EXC_GP); /* addps xmm0, [rbx] */
	vrig.c->gpr[RBX] = MEMORY_END;
	assert_int_equal(VRUN(0x0f, 0x58, 0x03), EXC_PF);
	vrig.c->gpr[RBX] = MEMORY_END - 17;
	assert_int_equal(VRUN(0xc5, 0xf8, 0x58, 0x03), VRIG_NO_FAULT); /* vaddps does not care */
	assert_int_equal(VRUN(0xc5, 0xf8, 0x28, 0x03), EXC_GP);	       /* vmovaps does */
}

static void operands_end_where_memory_does(void **state)
{
	struct cpu *c = vrig.c;

	c->gpr[RBX] = MEMORY_END - 4;
	assert_int_equal(VRUN(0xf3, 0x0f, 0x10, 0x03), VRIG_NO_FAULT);		   /* movss xmm0, [rbx] */
	assert_int_equal(VRUN(0x66, 0x0f, 0x38, 0x21, 0x03), VRIG_NO_FAULT);	   /* pmovsxbd xmm0, [rbx] */
	assert_int_equal(VRUN(0x0f, 0x60, 0x03), VRIG_NO_FAULT);		   /* punpcklbw mm0, [rbx] */
	assert_int_equal(VRUN(0xd9, 0x03), VRIG_NO_FAULT);			   /* fld m32 */
	assert_int_equal(VRUN(0xdd, 0x03), EXC_PF);				   /* fld m64 */
	c->gpr[RBX] = MEMORY_END - 1;
	assert_int_equal(VRUN(0x66, 0x0f, 0x3a, 0x14, 0x03, 0), VRIG_NO_FAULT); /* pextrb [rbx], xmm0, 0 */
	assert_int_equal(VRUN(0x66, 0x0f, 0x3a, 0x20, 0x03, 0), VRIG_NO_FAULT); /* pinsrb xmm0, [rbx], 0 */
}

static void a_32_bit_result_clears_the_upper_half_of_its_register(void **state)
{
	vrig.c->gpr[RAX] = ~0ull;
	memset(vrig.c->x.xmm[1], 0x80, 16);
	VRUN(0x66, 0x0f, 0xd7, 0xc1); /* pmovmskb eax, xmm1 */
	assert_int_equal(vrig.c->gpr[RAX], 0xffff);
}

static void unaligned_access_with_alignment_check_is_ac(void **state)
{
	vrig_without_tlb();
	vrig.c->align_check = 1;
	vrig.c->gpr[RBX] = at(1);
	assert_int_equal(VRUN(0x0f, 0x10, 0x03), EXC_AC); /* movups */
	assert_int_equal(VRUN(0xdb, 0x2b), EXC_AC);	  /* fld m80 */
	vrig.c->gpr[RBX] = at(16);
	assert_int_equal(VRUN(0x0f, 0x10, 0x03), VRIG_NO_FAULT);
}

/* --- x87 --- */

static void x87_exception_waits_for_the_next_waiting_instruction(void **state)
{
	struct cpu *c = vrig.c;

	c->x.fcw = 0x37b; /* ZM clear */
	c->x.ftw = 0xff;
	set_st(0, 1);
	set_st(1, 0);
	assert_int_equal(VRUN(0xd8, 0xf1), VRIG_NO_FAULT); /* fdiv st0, st1 */
	assert_int_equal(c->x.fsw & 0x8084, 0x8084);
	assert_true(get_st(0) == 1);
	c->gpr[RBX] = MEMORY_END; /* #MF comes before the page fault */
	assert_int_equal(VRUN(0xd9, 0x03), EXC_MF);
	assert_int_equal(VRUN(0x0f, 0xfc, 0xc1), EXC_MF);	   /* MMX waits too */
	assert_int_equal(VRUN(0xdf, 0xe0), VRIG_NO_FAULT);	   /* fnstsw ax */
	assert_int_equal(c->gpr[RAX] & 0x8084, 0x8084);
	assert_int_equal(VRUN(0xdb, 0xe2), VRIG_NO_FAULT); /* fnclex */
	assert_int_equal(VRUN(0xd9, 0xe8), VRIG_NO_FAULT);
}

static void fldcw_that_unmasks_an_exception_makes_it_pending(void **state)
{
	struct cpu *c = vrig.c;

	c->x.fsw = 0x0004;
	memcpy(vrig.ram, "\x7b\xf3", 2);
	c->gpr[RBX] = at(0);
	assert_int_equal(VRUN(0xd9, 0x2b), VRIG_NO_FAULT);
	assert_int_equal(c->x.fcw, 0x137b | 0x40);
	assert_int_equal(c->x.fsw, 0x8084);
	assert_int_equal(VRUN(0xd9, 0xe8), EXC_MF);
}

static void faulting_x87_store_does_not_pop(void **state)
{
	struct cpu *c = vrig.c;

	c->x.ftw = 0x01;
	set_st(0, 1.5L);
	c->gpr[RBX] = MEMORY_END - 4;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(VRUN(0xdd, 0x1b), EXC_PF); /* fstp m64 */
		assert_int_equal(c->x.ftw, 1);
		assert_int_equal(c->x.fsw, 0);
		assert_true(get_st(0) == 1.5L);
		vrig_without_tlb();
	}
	c->gpr[RBX] = MEMORY_END - 10;
	assert_int_equal(VRUN(0xdb, 0x3b), VRIG_NO_FAULT); /* fstp m80 */
	assert_int_equal(c->x.ftw, 0);
	assert_memory_equal(vrig.ram + VRIG_RAM - 10, "\0\0\0\0\0\0\0\xc0\xff\x3f", 10);
}

static void unmasked_invalid_keeps_an_x87_store_from_happening(void **state)
{
	struct cpu *c = vrig.c;

	c->x.fcw = 0x37e;
	c->x.ftw = 0xff;
	set_st(0, 1e30L);
	c->gpr[RBX] = at(0);
	memset(vrig.ram, 0xaa, 16);
	assert_int_equal(VRUN(0xdb, 0x1b), VRIG_NO_FAULT); /* fistp m32 */
	assert_int_equal(vrig.ram[0], 0xaa);
	assert_int_equal(c->x.ftw, 0xff);
	assert_int_equal(c->x.fsw & 0x8081, 0x8081);
}

static void x87_pointers_are_the_guests(void **state)
{
	struct cpu *c = vrig.c;

	c->gpr[RBX] = at(0x40);
	VRUN(0xd9, 0x43, 0x10); /* fld dword [rbx + 0x10] */
	assert_int_equal(c->x.fip, 0x1000);
	assert_int_equal(c->x.fdp, at(0x50));
	assert_int_equal(c->x.fop, 0x143);
	VRUN(0xd9, 0x7b, 0x20); /* fnstcw: a control instruction */
	assert_int_equal(c->x.fip, 0x1000);
	VRUN(0xde, 0xc1); /* faddp: no memory operand */
	assert_int_equal(c->x.fip, 0x1006);
	assert_int_equal(c->x.fdp, at(0x50));
	assert_int_equal(c->x.fop, 0x6c1);
	assert_int_equal(c->x.mxcsr_mask, 0xffff);
	VRUN(0xdb, 0xe3); /* fninit */
	assert_int_equal(c->x.fip | c->x.fdp | c->x.fop, 0);
	assert_int_equal(c->x.fcw, 0x37f);
}

static void mmx_uses_physical_registers_and_clears_top(void **state)
{
	struct cpu *c = vrig.c;

	for (unsigned i = 0; i < 8; i++)
		set_st(i, (long double)(i + 1));
	c->x.fsw = 3 << 11; /* ST(0) is R3 */
	c->x.ftw = 0;
	memset(vrig.ram, 0x11, 8);
	c->gpr[RBX] = at(0);
	VRUN(0x0f, 0x6f, 0x1b); /* movq mm3, [rbx] */
	assert_int_equal(c->x.fsw, 0);
	assert_int_equal(c->x.ftw, 0xff);
	assert_memory_equal(c->x.st[3], "\x11\x11\x11\x11\x11\x11\x11\x11\xff\xff", 10);
	assert_true(get_st(4) == 2); /* R4 was ST(1) */
	c->x.fsw = 5 << 11;
	VRUN(0x0f, 0x77); /* emms */
	assert_int_equal(c->x.fsw, 0);
	assert_int_equal(c->x.ftw, 0);
}

static void faulting_mmx_store_makes_no_transition(void **state)
{
	struct cpu *c = vrig.c;

	c->x.fsw = 3 << 11;
	c->gpr[RBX] = MEMORY_END;
	assert_int_equal(VRUN(0x0f, 0x7f, 0x03), EXC_PF);
	assert_int_equal(c->x.fsw, 3 << 11);
	assert_int_equal(c->x.ftw, 0);
}

/* --- masks --- */

static void masked_lanes_do_not_fault(void **state)
{
	struct cpu *c = vrig.c;

	c->gpr[RBX] = MEMORY_END - 8;
	memset(vrig.ram + VRIG_RAM - 8, 0x22, 8);
	memset(c->x.xmm[1], 0x80, 8); /* lanes 0 and 1 */
	memset(c->x.ymm_hi[0], 0xff, 16);
	assert_int_equal(VRUN(0xc4, 0xe2, 0x71, 0x2c, 0x03), VRIG_NO_FAULT); /* vmaskmovps xmm0, xmm1, [rbx] */
	assert_memory_equal(c->x.xmm[0], "\x22\x22\x22\x22\x22\x22\x22\x22\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(c->x.ymm_hi[0][0], 0);
	memset(c->x.xmm[0], 0x33, 16);
	assert_int_equal(VRUN(0xc4, 0xe2, 0x71, 0x2e, 0x03), VRIG_NO_FAULT); /* vmaskmovps [rbx], xmm1, xmm0 */
	assert_int_equal(vrig.ram[VRIG_RAM - 1], 0x33);
	/* a fault stores nothing */
	memset(c->x.xmm[1], 0x80, 16);
	memset(c->x.xmm[0], 0x44, 16);
	assert_int_equal(VRUN(0xc4, 0xe2, 0x71, 0x2e, 0x03), EXC_PF);
	assert_int_equal(vrig.ram[VRIG_RAM - 8], 0x33);
}

static void gather_goes_on_after_a_fault(void **state)
{
	struct cpu *c = vrig.c;
	int32_t index[4] = { 0, 4, VRIG_RAM, 8 };

	for (unsigned i = 0; i < 16; i++)
		vrig.ram[i] = (uint8_t)i;
	c->gpr[RBX] = at(0);
	memcpy(c->x.xmm[1], index, 16);
	memset(c->x.xmm[2], 0xff, 16);
	memset(c->x.xmm[0], 0xee, 16);
	memset(c->x.ymm_hi[0], 0xee, 16);
	/* vpgatherdd xmm0, [rbx + xmm1], xmm2 */
	assert_int_equal(VRUN(0xc4, 0xe2, 0x69, 0x90, 0x04, 0x0b), EXC_PF);
	assert_memory_equal(c->x.xmm[0], "\0\1\2\3\4\5\6\7\xee\xee\xee\xee\xee\xee\xee\xee", 16);
	assert_memory_equal(c->x.xmm[2], "\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 16);
	index[2] = 12;
	index[0] = index[1] = VRIG_RAM; /* not read again */
	memcpy(c->x.xmm[1], index, 16);
	assert_int_equal(VRUN(0xc4, 0xe2, 0x69, 0x90, 0x04, 0x0b), VRIG_NO_FAULT);
	assert_memory_equal(c->x.xmm[0], "\0\1\2\3\4\5\6\7\x0c\x0d\x0e\x0f\x08\x09\x0a\x0b", 16);
	assert_memory_equal(c->x.xmm[2], (uint8_t[16]){ 0 }, 16);
	assert_memory_equal(c->x.ymm_hi[0], (uint8_t[16]){ 0 }, 16);
}

/* --- other modes, MXCSR, RESET --- */

static void vzero_leaves_the_upper_registers_alone_outside_64_bit_mode(void **state)
{
	vrig_reset(INSN_MODE32);
	memset(vrig.c->x.xmm, 1, sizeof(vrig.c->x.xmm));
	memset(vrig.c->x.ymm_hi, 1, sizeof(vrig.c->x.ymm_hi));
	VRUN(0xc5, 0xfc, 0x77); /* vzeroall */
	assert_int_equal(vrig.c->x.xmm[7][0] | vrig.c->x.ymm_hi[7][0], 0);
	assert_int_equal(vrig.c->x.xmm[8][0] & vrig.c->x.ymm_hi[8][0], 1);
}

static void sse_runs_in_32_bit_code(void **state)
{
	vrig_reset(INSN_MODE32);
	vrig.c->segbase[SEG_DS] = 0x10;
	vrig.c->gpr[RBX] = at(0);
	memset(vrig.ram + 0x10, 7, 16);
	VRUN(0x66, 0x0f, 0x6f, 0x0b); /* movdqa xmm1, [ebx] */
	assert_int_equal(vrig.c->x.xmm[1][15], 7);
	VRUN(0xc5, 0xf5, 0xfc, 0xd1); /* vpaddb ymm2, ymm1, ymm1 */
	assert_int_equal(vrig.c->x.xmm[2][0], 14);
}

static void ldmxcsr_of_reserved_bits_is_gp(void **state)
{
	vrig.c->gpr[RBX] = at(0);
	memcpy(vrig.ram, "\x80\x1f\x01\0", 4);
	assert_int_equal(VRUN(0x0f, 0xae, 0x13), EXC_GP);
	assert_int_equal(vrig.c->x.mxcsr, 0x1f80);
	memcpy(vrig.ram, "\xff\xff\0\0", 4);
	assert_int_equal(VRUN(0x0f, 0xae, 0x13), VRIG_NO_FAULT);
	assert_int_equal(VRUN(0xc5, 0xf8, 0xae, 0x5b, 4), VRIG_NO_FAULT); /* vstmxcsr [rbx + 4] */
	assert_memory_equal(vrig.ram + 4, "\xff\xff\0\0", 4);
}

static void reset_sets_and_init_keeps_the_registers(void **state)
{
	struct cpu *c = vrig.c;

	memset(c->x.xmm, 1, sizeof(c->x.xmm));
	vector_reset(c, true);
	assert_int_equal(c->x.xmm[3][3], 1);
	vector_reset(c, false);
	assert_int_equal(c->x.xmm[3][3], 0);
	assert_int_equal(c->x.fcw, 0x40);
	assert_int_equal(c->x.mxcsr, 0x1f80);
}

/* --- the area of thunks --- */

static void instructions_run_when_the_area_is_full(void **state)
{
	struct cpu *c = vrig.c;
	static struct insn in;
	void *first = NULL;
	unsigned same = 0;

	/* vpalignr x, y, z, imm: a million different thunks */
	for (unsigned i = 0; i < 1u << 20 && same < 1000; i++) {
		uint8_t code[] = { 0xc4, (uint8_t)(0x43 | (i & 8 ? 0 : 0x80) | (i & 0x80 ? 0 : 0x20)),
				   (uint8_t)((i >> 8 & 15) << 3 | 1), 0x0f, (uint8_t)(0xc0 | (i & 7) << 3 | (i >> 4 & 7)),
				   (uint8_t)(i >> 12) };

		assert_int_equal(insn_decode(code, 6, INSN_MODE64, &in), 6);
		assert_int_equal(vector_bind(c, &in), 0);
		same = in.thunk == first ? same + 1 : 0;
		first = in.thunk;
	}
	assert_int_equal(same, 1000);
	set_floats(c->x.xmm[1], 1, 2, 3, 4);
	set_floats(c->x.xmm[2], 5, 6, 7, 8);
	VRUN(0xc5, 0xf0, 0x58, 0xc2); /* vaddps xmm0, xmm1, xmm2 */
	assert_memory_equal(c->x.xmm[0], ((float[]){ 6, 8, 10, 12 }), 16);
	VRUN(0xc5, 0xe8, 0x5c, 0xc1); /* vsubps xmm0, xmm2, xmm1 */
	assert_memory_equal(c->x.xmm[0], ((float[]){ 4, 4, 4, 4 }), 16);
	c->x.mxcsr = 0;
	memset(c->x.xmm[7], 0, 16);
	assert_int_equal(VRUN(0xc5, 0xe8, 0x5e, 0xdf), EXC_XM); /* vdivps xmm3, xmm2, xmm7 */
	c->x.mxcsr = 0x1f80;
	assert_int_equal(VRUN(0xc5, 0xe8, 0x5e, 0xdf), VRIG_NO_FAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup(f, setup)
		T(unmasked_simd_exception_raises_xm_and_changes_only_mxcsr),
		T(simd_exception_without_osxmmexcpt_is_ud),
		T(host_mxcsr_and_x87_come_back),
		T(thunks_and_their_exceptions_work_on_several_threads),
		T(sse_needs_osfxsr_and_no_em_or_ts),
		T(avx_needs_osxsave_and_xcr0),
		T(fwait_looks_at_mp_with_ts),
		T(unaligned_sse_operand_is_gp_before_any_page_fault),
		T(operands_end_where_memory_does),
		T(a_32_bit_result_clears_the_upper_half_of_its_register),
		T(unaligned_access_with_alignment_check_is_ac),
		T(x87_exception_waits_for_the_next_waiting_instruction),
		T(fldcw_that_unmasks_an_exception_makes_it_pending),
		T(faulting_x87_store_does_not_pop),
		T(unmasked_invalid_keeps_an_x87_store_from_happening),
		T(x87_pointers_are_the_guests),
		T(mmx_uses_physical_registers_and_clears_top),
		T(faulting_mmx_store_makes_no_transition),
		T(masked_lanes_do_not_fault),
		T(gather_goes_on_after_a_fault),
		T(vzero_leaves_the_upper_registers_alone_outside_64_bit_mode),
		T(sse_runs_in_32_bit_code),
		T(ldmxcsr_of_reserved_bits_is_gp),
		T(reset_sets_and_init_keeps_the_registers),
		T(instructions_run_when_the_area_is_full),
	};

	if (vector_init())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
