// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SSE, AVX, MMX and x87 in translated code: what a guest can see of where its instructions ran, and that control registers are obeyed by code
 * that is there already. Results of single instructions are the differential tester's.
 */
#include "system_rig.h"

#include "engine/soft/translate/cache.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

enum { IMAGE = 512, ENV = 28 };

/* A machine with vectors enabled; RBX is SYS_DATA, where 1.5 and 3.0 are as doubles. */
static void start(bool translated)
{
	struct soft_tuning tuning = SOFT_TUNING_DEFAULT;

	tuning.hot = 0;
	sys_start(SYS_LONG, 0);
	if (translated)
		assert_int_equal(soft_vm_translate(sys.vm, &tuning), 0);
	sys.c->cr0 |= CR0_NE | CR0_MP;
	sys.c->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	sys.c->xcr0 = 7;
	sys.c->x.fcw = 0x37f;
	sys.c->x.ftw = 0;
	cpu_mode_changed(sys.c);
	sys.c->gpr[RBX] = SYS_DATA;
	sys_poke(SYS_DATA, 8, 0x3ff8000000000000);
	sys_poke(SYS_DATA + 8, 8, 0x4008000000000000);
}

static void again(void)
{
	sys.c->gpr[GPR_RIP] = SYS_CODE;
}

/* The code runs in both tiers; @size bytes at SYS_DATA + 1024 come out the same, and are in @out. */
static void same_image(const uint8_t *code, size_t len, unsigned size, uint8_t *out)
{
	uint8_t interp[IMAGE];

	start(false);
	assert_int_equal(sys_run(code, len), SYS_HALTED);
	assert_int_equal(ram_read(sys.ram, SYS_DATA + 1024, interp, size), 0);
	sys_finish();
	start(true);
	assert_int_equal(sys_run(code, len), SYS_HALTED);
	assert_true(sys.vm->tr->block_count > 0);
	assert_int_equal(ram_read(sys.ram, SYS_DATA + 1024, out, size), 0);
	assert_memory_equal(interp, out, size);
}
#define SAME_IMAGE(out, size, ...) same_image((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }), size, out)

#define FXSAVE64 0x48, 0x0f, 0xae, 0x83, 0x00, 0x04, 0x00, 0x00 /* fxsave64 [rbx+1024] */
#define FNSTENV 0xd9, 0xb3, 0x00, 0x04, 0x00, 0x00		 /* fnstenv [rbx+1024] */

static uint64_t word_of(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, p, size);
	return v;
}

static void addresses_of_x87_instructions_are_the_guests(void **state)
{
	uint8_t image[IMAGE];

	(void)state;
	SAME_IMAGE(image, IMAGE,
		   0xb9, 3, 0, 0, 0,	  /* 00 mov ecx, 3 */
		   0xdd, 0x03,		  /* 05 fld qword [rbx] */
		   0xdc, 0x4b, 0x08,	  /* 07 fmul qword [rbx+8] */
		   0xdd, 0x5c, 0xcb, 0x10, /* 0a fstp qword [rbx+8*rcx+16] */
		   0xd9, 0xe8,		  /* 0e fld1 */
		   0xdd, 0xd8,		  /* 10 fstp st0 */
		   0xd9, 0xd0,		  /* 12 fnop */
		   0xff, 0xc9,		  /* 14 dec ecx */
		   0x75, 0xed,		  /* 16 jnz 05 */
		   FXSAVE64);
	assert_int_equal(word_of(image + 8, 8), SYS_CODE + 0x10);
	assert_int_equal(word_of(image + 16, 8), SYS_DATA + 24);
	assert_int_equal(word_of(image + 6, 2), 0x5d8);
	assert_int_equal(sys_peek(SYS_DATA + 24, 8), 0x4012000000000000); /* 4.5 */
}

static void fip_names_the_page_that_the_instruction_was_in(void **state)
{
	static const uint8_t there[] = { 0xd9, 0xd0, FNSTENV, 0xf4 }; /* fnop; fnstenv; hlt */
	uint8_t image[ENV];

	(void)state;
	start(true);
	assert_int_equal(ram_write(sys.ram, SYS_DATA + 2048, there, sizeof(there)), 0);
	/* fld1; jmp to the other page */
	assert_int_equal(RUN(0xd9, 0xe8, 0xe9, 0xf9, 0x47, 0, 0), SYS_HALTED);
	assert_int_equal(sys.c->gpr[GPR_RIP], SYS_DATA + 2048 + sizeof(there));
	assert_int_equal(ram_read(sys.ram, SYS_DATA + 1024, image, ENV), 0);
	assert_int_equal(word_of(image + 12, 4), SYS_CODE);
	assert_int_equal(word_of(image + 16, 4) >> 16, 0x1e8);
}

static void fninit_clears_the_addresses(void **state)
{
	uint8_t image[ENV];

	(void)state;
	SAME_IMAGE(image, ENV, 0xdd, 0x03, 0xdb, 0xe3, FNSTENV); /* fld qword [rbx]; fninit; fnstenv */
	assert_int_equal(word_of(image + 12, 8), 0);
	assert_int_equal(word_of(image + 20, 4), 0);
	SAME_IMAGE(image, ENV, 0xdd, 0x03, 0xdb, 0xe3, 0xd9, 0xe8, FNSTENV); /* fld1 between */
	assert_int_equal(word_of(image + 12, 4), SYS_CODE + 4);
	assert_int_equal(word_of(image + 20, 4), 0);
}

/* 1/0 with the exception unmasked, a few times, so that it has been in translated code; FNSTSW does not wait. */
#define DIVIDE_BY_ZERO                                                                             \
	0x6a, 3, 0x5d,				    /* 00 push 3; pop rbp */                       \
		0xc7, 0x43, 0x20, 0x7b, 0x03, 0, 0, /* 03 mov dword [rbx+32], 37bh */              \
		0xdb, 0xe3,			    /* 0a fninit */                                \
		0xd9, 0x6b, 0x20,		    /* 0c fldcw [rbx+32] */                        \
		0xd9, 0xe8, 0xd9, 0xee, 0xd8, 0xf9, /* 0f fld1; fldz; fdivr st, st1: 1/0 */        \
		0xdf, 0xe0,			    /* 15 fnstsw ax */                             \
		0xff, 0xcd, 0x75, 0xe8		    /* 17 dec ebp; jnz 03 */
enum { DIVIDE = SYS_CODE + 0x13, AFTER_DIVIDE = SYS_CODE + 0x1b };

static void pending_exception_comes_with_the_next_that_waits(void **state)
{
	static const uint8_t next[][3] = { { 0x9b }, { 0xd9, 0xe8 }, { 0x0f, 0x6e, 0xc0 }, { 0x0f, 0x77 } }; /* FWAIT, FLD1, MOVD, EMMS */
	uint8_t code[0x1e] = { DIVIDE_BY_ZERO };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		start(true);
		memcpy(code + (AFTER_DIVIDE - SYS_CODE), next[i], 3);
		assert_int_equal(sys_run(code, sizeof(code)), EXC_MF);
		assert_int_equal(sys_frame(0, 8), AFTER_DIVIDE);
		assert_int_equal(sys.c->gpr[RAX] & 0xffff, 0xb084); /* B, TOP 6, ES, ZE */
		assert_int_equal(sys.c->x.fsw, 0xb084);
		assert_int_equal(sys.c->x.fip, DIVIDE);
		sys_finish();
	}
}

/* What runs in the registers of this thread must not be touched by what a guest has left pending there. */
static void pending_exception_harms_nobody_else(void **state)
{
	uint8_t env[ENV];

	(void)state;
	start(true);
	assert_int_equal(RUN(DIVIDE_BY_ZERO), SYS_HALTED);
	__asm__ volatile("fwait\n\tfnstenv %0\n\tfldenv %0" : "=m"(env));
	assert_int_equal(word_of(env, 2), 0x37f);
	assert_int_equal(word_of(env + 8, 2), 0xffff); /* all empty */
	start(true);
	assert_int_equal(RUN(0xd9, 0xe8, 0xd9, 0xe0), SYS_HALTED); /* fld1; fchs */
	assert_int_equal(word_of(sys.c->x.st[0] + 8, 2), 0xbfff);
}

/* MOV CR0 and CLTS are interpreted, or ask anew: code that has run before obeys. */
static void control_registers_are_obeyed_by_code_that_has_run(void **state)
{
	static const struct {
		uint8_t code[4];
		int with_ts, with_em;
	} tests[] = {
		{ { 0xd9, 0xe8, 0xdd, 0xd8 }, EXC_NM, EXC_NM },	    /* fld1; fstp st0 */
		{ { 0x0f, 0x6e, 0xc0, 0x90 }, EXC_NM, EXC_UD },	    /* movd mm0, eax */
		{ { 0x0f, 0x58, 0xc0, 0x90 }, EXC_NM, EXC_UD },	    /* addps xmm0, xmm0 */
		{ { 0xc5, 0xfc, 0x58, 0xc0 }, EXC_NM, SYS_HALTED }, /* vaddps ymm0, ymm0, ymm0: EM is not looked at */
		{ { 0x9b, 0x90, 0x90, 0x90 }, EXC_NM, SYS_HALTED }, /* fwait */
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		const uint8_t *k = tests[i].code;
		uint8_t code[] = { 0x0f, 0x22, 0xc2, k[0], k[1], k[2], k[3] }; /* mov cr0, rdx */
		uint64_t cr0;

		start(true);
		cr0 = sys.c->cr0;
		for (unsigned round = 0; round < 3; round++) {
			static const uint32_t set[] = { 0, CR0_TS, CR0_EM };
			const int want[] = { SYS_HALTED, tests[i].with_ts, tests[i].with_em };

			for (unsigned n = 0; n < 2; n++) {
				again();
				sys.c->gpr[RDX] = cr0;
				assert_int_equal(sys_run(code, sizeof(code)), SYS_HALTED);
				again();
				sys.c->gpr[RDX] = cr0 | set[round];
				assert_int_equal(sys_run(code, sizeof(code)), want[round]);
				if (want[round] != SYS_HALTED)
					assert_int_equal(sys_frame(0, 8), SYS_CODE + 3);
				sys.c->cr0 = cr0;
				cpu_mode_changed(sys.c);
			}
		}
		sys_finish();
	}
}

static void ldmxcsr_refuses_what_the_model_has_not(void **state)
{
	(void)state;
	for (unsigned bit = 15; bit < 32; bit++) {
		start(true);
		sys_poke(SYS_DATA, 4, 1u << bit | 0x1f80);
		assert_int_equal(RUN(0x0f, 0xae, 0x13), bit == 15 ? SYS_HALTED : EXC_GP); /* ldmxcsr [rbx] */
		assert_int_equal(sys.c->x.mxcsr, bit == 15 ? 0x9f80 : 0x1f80);
		sys_finish();
	}
}

static void simd_exceptions_are_the_guests(void **state)
{
	/* ldmxcsr [rbx]; mulsd xmm0, [rbx+8], twice 1e308 */
	static const uint8_t code[] = { 0x0f, 0xae, 0x13, 0xf2, 0x0f, 0x10, 0x43, 0x08, 0xf2, 0x0f, 0x59, 0x43, 0x08 };
	uint32_t mxcsr = 0;

	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		bool off = k & 1;

		start(k & 2); /* first the interpreter */
		sys_poke(SYS_DATA, 4, 0x1b80); /* overflow unmasked */
		sys_poke(SYS_DATA + 8, 8, 0x7fe1ccf385ebc8a0);
		if (off)
			sys.c->cr4 &= ~(uint64_t)CR4_OSXMMEXCPT;
		assert_int_equal(sys_run(code, sizeof(code)), off ? EXC_UD : EXC_XM);
		assert_int_equal(sys_frame(0, 8), SYS_CODE + 8);
		if (!k)
			mxcsr = sys.c->x.mxcsr;
		assert_int_equal(sys.c->x.mxcsr, mxcsr);
		assert_int_equal(mxcsr & 0x1f9f, 0x1b88);
		assert_int_equal(word_of(sys.c->x.xmm[0], 8), 0x7fe1ccf385ebc8a0);
		sys_finish();
	}
}

enum { ROUNDS = 20 };

/* A loop: once its memory has been seen, nothing in it leaves translated code. */
static void vector_code_stays_translated(void **state)
{
	static const struct {
		const char *name;
		uint8_t len, code[12];
	} tests[] = {
		{ "vzeroupper", 3, { 0xc5, 0xf8, 0x77 } },
		{ "vzeroall", 3, { 0xc5, 0xfc, 0x77 } },
		{ "stmxcsr, ldmxcsr", 8, { 0x0f, 0xae, 0x5b, 0x20, 0x0f, 0xae, 0x53, 0x20 } },
		{ "vstmxcsr, vldmxcsr", 10, { 0xc5, 0xf8, 0xae, 0x5b, 0x20, 0xc5, 0xf8, 0xae, 0x53, 0x20 } },
		{ "vmaskmovps", 12, { 0xc4, 0xe2, 0x7d, 0x2c, 0x4b, 0x40, 0xc4, 0xe2, 0x75, 0x2e, 0x4b, 0x40 } },
		{ "vpmaskmovq", 12, { 0xc4, 0xe2, 0xf9, 0x8c, 0x4b, 0x40, 0xc4, 0xe2, 0xf1, 0x8e, 0x4b, 0x40 } },
		{ "movntdq", 5, { 0x66, 0x0f, 0xe7, 0x4b, 0x40 } },
		{ "pcmpistri", 6, { 0x66, 0x0f, 0x3a, 0x63, 0xc1, 0x0c } },
		{ "cvtsi2sd, cvttsd2si", 10, { 0xf2, 0x48, 0x0f, 0x2a, 0xc0, 0xf2, 0x48, 0x0f, 0x2c, 0xd0 } },
		{ "fld, fadd, fstp", 8, { 0xdd, 0x03, 0xdc, 0x43, 0x08, 0xdd, 0x5b, 0x28 } },
		{ "fldt, fstpt", 6, { 0xdb, 0x6b, 0x50, 0xdb, 0x7b, 0x50 } },
		{ "fldcw, fnstcw, fnstsw", 8, { 0xd9, 0x7b, 0x30, 0xd9, 0x6b, 0x30, 0xdf, 0xe0 } },
		{ "fninit, fnclex, fwait", 5, { 0xdb, 0xe3, 0xdb, 0xe2, 0x9b } },
		{ "movq mm, paddd, emms", 9, { 0x0f, 0x6f, 0x03, 0x0f, 0xfe, 0xc0, 0x0f, 0x77, 0x90 } },
		{ "cvtps2pi, movq2dq", 9, { 0x0f, 0x2d, 0xc0, 0xf3, 0x0f, 0xd6, 0xc0, 0x0f, 0x77 } },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		uint8_t code[32] = { 0x6a, ROUNDS, 0x5d }; /* push ROUNDS; pop rbp */
		unsigned len = 3 + tests[i].len;
		uint64_t left;

		start(true);
		memcpy(code + 3, tests[i].code, tests[i].len);
		memcpy(code + len, (const uint8_t[]){ 0xff, 0xcd, 0x75, (uint8_t)(-4 - tests[i].len) }, 4); /* dec ebp; jnz */
		assert_int_equal(sys_run(code, len + 4), SYS_HALTED);
		again();
		left = sys.c->t.exits[EXIT_ONE] + sys.c->t.exits[EXIT_CALL] + sys.c->t.exits[EXIT_FILL];
		assert_int_equal(sys_run(code, len + 4), SYS_HALTED);
		left = sys.c->t.exits[EXIT_ONE] + sys.c->t.exits[EXIT_CALL] + sys.c->t.exits[EXIT_FILL] - left;
		if (left >= ROUNDS) /* slots to fill, and the end of the run */
			fail_msg("%s: left %u times", tests[i].name, (unsigned)left);
		sys_finish();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(addresses_of_x87_instructions_are_the_guests),
		TEST(fip_names_the_page_that_the_instruction_was_in),
		TEST(fninit_clears_the_addresses),
		TEST(pending_exception_comes_with_the_next_that_waits),
		TEST(pending_exception_harms_nobody_else),
		TEST(control_registers_are_obeyed_by_code_that_has_run),
		TEST(ldmxcsr_refuses_what_the_model_has_not),
		TEST(simd_exceptions_are_the_guests),
		TEST(vector_code_stays_translated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
