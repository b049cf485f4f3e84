// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The CPU models: what each shows in CPUID, and that it has exactly that (SDM vol. 2, CPUID; vol. 1, 13.2
 * and 13.4; vol. 3, 2.5 and 9.8).
 */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { EAX, EBX, ECX, EDX };

static void the_list_finds_each_model_by_its_name(void **state)
{
	assert_string_equal(cpu_model_find(NULL)->name, "v3");
	for (const struct cpu_model *const *m = cpu_models; *m; m++)
		assert_ptr_equal(cpu_model_find((*m)->name), *m);
	assert_null(cpu_model_find("v4"));
	assert_null(cpu_model_find(""));
}

/* Bits that tell the models apart, and what each must accept: CPUID and the control bit go together. */
static void cpuid_bits_and_control_bits_go_together(void **state)
{
	static const struct {
		uint32_t leaf;
		int reg, bit;
		uint64_t cr4;
	} t[] = {
		{ 7, ECX, 3, CR4_PKE }, { 7, ECX, 31, CR4_PKS }, { 7, ECX, 16, CR4_LA57 },
		{ 7, EBX, 20, CR4_SMAP }, { 7, EBX, 7, CR4_SMEP }, { 7, EBX, 0, CR4_FSGSBASE }, { 7, ECX, 2, CR4_UMIP },
		{ 1, ECX, 26, CR4_OSXSAVE }, { 1, EDX, 1, CR4_VME | CR4_PVI }, { 1, EDX, 2, CR4_DE }, { 1, EDX, 3, CR4_PSE },
		{ 1, EDX, 7, CR4_MCE }, { 1, EDX, 13, CR4_PGE },
		/* never there: SMXE, VMXE, KL, CET, UINTR */
		{ 1, ECX, 6, 1 << 14 }, { 1, ECX, 5, 1 << 13 }, { 7, ECX, 23, 1 << 19 }, { 7, ECX, 7, 1 << 23 }, { 7, EDX, 5, 1 << 25 },
	};

	for (const struct cpu_model *const *m = cpu_models; *m; m++) {
		sys_model = (*m)->name;
		for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
			bool has;

			sys_start(SYS_PROT32, 0);
			has = sys_cpuid(t[i].leaf, 0)[t[i].reg] >> t[i].bit & 1;
			sys.c->gpr[RAX] = t[i].cr4;
			assert_int_equal(RUN(0x0f, 0x22, 0xe0), has ? SYS_HALTED : EXC_GP);
			assert_int_equal(sys.c->cr4, has ? t[i].cr4 : 0);
		}
	}
}

static void max_shows_what_it_adds(void **state)
{
	sys_model = "max";
	sys_start(SYS_LONG, 0);
	assert_int_equal(sys_cpuid(7, 0)[ECX], 1u << 2 | 1u << 3 | 1u << 16 | 1u << 22 | 1u << 31);
	assert_int_equal(sys_cpuid(0x80000008, 0)[EAX], 46 | 57 << 8);
	assert_true(sys_cpuid(1, 0)[ECX] >> 3 & 1); /* MONITOR */
	assert_int_equal(sys_cpuid(5, 0)[EAX], 64);
	assert_int_equal(sys_cpuid(5, 0)[EBX], 64);
	assert_int_equal(sys_cpuid(5, 0)[ECX], 3);
	sys_model = "v3";
	sys_start(SYS_LONG, 0);
	assert_int_equal(sys_cpuid(5, 0)[EAX] | sys_cpuid(5, 0)[ECX], 0);
	assert_int_equal(sys_cpuid(0xd, 0)[EAX], 7);
	assert_int_equal(sys_cpuid(0xd, 9)[EAX], 0);
	assert_int_equal(sys_cpuid(0x80000008, 0)[EAX], 46 | 48 << 8);
}

static void ospke_follows_cr4(void **state)
{
	sys_model = "max";
	sys_start(SYS_LONG, 0);
	assert_false(sys_cpuid(7, 0)[ECX] >> 4 & 1);
	sys.c->cr4 |= CR4_PKE;
	assert_true(sys_cpuid(7, 0)[ECX] >> 4 & 1);
	assert_false(sys_cpuid(7, 1)[ECX] >> 4 & 1);
}

/* Vol. 4, table 2-2: the feature flag is not set when bit 18 is clear. */
static void monitors_bit_follows_misc_enable(void **state)
{
	sys_model = "max";
	sys_start(SYS_LONG, 0);
	assert_int_equal(msr_write(sys.c, 0x1a0, sys.c->misc_enable & ~(1ull << 18)), 0);
	assert_false(sys_cpuid(1, 0)[ECX] >> 3 & 1);
	assert_int_equal(msr_write(sys.c, 0x1a0, sys.c->misc_enable | 1ull << 18), 0);
	assert_true(sys_cpuid(1, 0)[ECX] >> 3 & 1);
	sys_model = "v3";
	sys_start(SYS_LONG, 0);
	assert_int_equal(msr_write(sys.c, 0x1a0, sys.c->misc_enable | 1ull << 18), 0);
	assert_false(sys_cpuid(1, 0)[ECX] >> 3 & 1);
}

/* --- XSAVE component 9 --- */

static void xsave_sizes_and_places_hold_pkru(void **state)
{
	static const struct {
		uint64_t xcr0;
		uint32_t standard, compacted;
	} t[] = {
		{ 1, 576, 576 }, { 3, 576, 576 }, { 7, 832, 832 }, { 0x201, 2696, 584 }, { 0x207, 2696, 840 },
	};

	sys_model = "max";
	sys_start(SYS_LONG, 0);
	assert_int_equal(sys_cpuid(0xd, 0)[EAX], 0x207);
	assert_int_equal(sys_cpuid(0xd, 0)[ECX], 2696);
	assert_int_equal(sys_cpuid(0xd, 9)[EAX], 8);
	assert_int_equal(sys_cpuid(0xd, 9)[EBX], 2688);
	assert_int_equal(sys_cpuid(0xd, 9)[ECX], 0); /* user state, not aligned */
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		sys.c->xcr0 = t[i].xcr0;
		assert_int_equal(sys_cpuid(0xd, 0)[EBX], t[i].standard);
		assert_int_equal(sys_cpuid(0xd, 1)[EBX], t[i].compacted);
	}
}

static void xcr0_takes_pkru_where_the_model_has_it(void **state)
{
	for (unsigned max = 0; max < 2; max++) {
		sys_model = max ? "max" : "v3";
		sys_start(SYS_LONG, 0);
		sys.c->cr4 |= CR4_OSXSAVE;
		sys.c->gpr[RCX] = sys.c->gpr[RDX] = 0;
		sys.c->gpr[RAX] = 0x201;
		assert_int_equal(RUN(0x0f, 0x01, 0xd1), max ? SYS_HALTED : EXC_GP);
	}
}

enum { AREA = 0x100000, AREA_LEN = 2696 };

static struct cpu *with_pkru(uint64_t mask)
{
	sys_model = "max";
	sys_start(SYS_LONG, 0);
	sys.c->cr4 |= CR4_OSXSAVE | CR4_OSFXSR | CR4_PKE;
	sys.c->xcr0 = 0x207;
	sys.c->pkru = 0x12345678;
	sys.c->gpr[RBX] = AREA;
	sys.c->gpr[RAX] = mask;
	sys.c->gpr[RDX] = 0;
	for (unsigned i = 0; i < 4096; i += 8)
		sys_poke(AREA + i, 8, i >= 512 && i < 576 ? 0 : 0xaaaaaaaaaaaaaaaa);
	return sys.c;
}

static void xsave_and_xrstor_move_pkru(void **state)
{
	struct cpu *c = with_pkru(0x200);

	assert_int_equal(RUN(0x0f, 0xae, 0x23), SYS_HALTED); /* xsave [rbx] */
	assert_int_equal(sys_peek(AREA + 512, 8), 0x200);
	assert_int_equal(sys_peek(AREA + 520, 8), 0);
	assert_int_equal(sys_peek(AREA + 2688, 8), 0x12345678);
	assert_int_equal(sys_peek(AREA + 2696, 8), 0xaaaaaaaaaaaaaaaa);
	assert_int_equal(sys_peek(AREA + 2680, 8), 0xaaaaaaaaaaaaaaaa);
	assert_int_equal(sys_peek(AREA, 8), 0xaaaaaaaaaaaaaaaa);
	c->pkru = 5;
	assert_int_equal(RUN(0x0f, 0xae, 0x2b), SYS_HALTED); /* xrstor [rbx] */
	assert_int_equal(c->pkru, 0x12345678);
	/* 13.8: a clear bit in XSTATE_BV is the initial configuration: 0 */
	sys_poke(AREA + 512, 8, 0);
	assert_int_equal(RUN(0x0f, 0xae, 0x2b), SYS_HALTED);
	assert_int_equal(c->pkru, 0);
	/* not asked for: not touched */
	c->pkru = 6;
	c->gpr[RAX] = 0;
	assert_int_equal(RUN(0x0f, 0xae, 0x2b), SYS_HALTED);
	assert_int_equal(c->pkru, 6);
}

static void compacted_images_have_pkru_behind_avx_or_the_header(void **state)
{
	struct cpu *c = with_pkru(0x200);

	assert_int_equal(RUN(0x0f, 0xc7, 0x23), SYS_HALTED); /* xsavec [rbx] */
	assert_int_equal(sys_peek(AREA + 520, 8), 1ull << 63 | 0x200);
	assert_int_equal(sys_peek(AREA + 576, 8), 0x12345678);
	c->pkru = 0;
	assert_int_equal(RUN(0x0f, 0xae, 0x2b), SYS_HALTED);
	assert_int_equal(c->pkru, 0x12345678);
	c = with_pkru(0x204);
	assert_int_equal(RUN(0x0f, 0xc7, 0x23), SYS_HALTED);
	assert_int_equal(sys_peek(AREA + 520, 8), 1ull << 63 | 0x204);
	assert_int_equal(sys_peek(AREA + 512, 8), 0x200); /* AVX is not in use, and has its place all the same */
	assert_int_equal(sys_peek(AREA + 832, 8), 0x12345678);
	c->pkru = 0;
	c->gpr[RAX] = 0x200; /* the place follows from XCOMP_BV, not from the request */
	assert_int_equal(RUN(0x0f, 0xae, 0x2b), SYS_HALTED);
	assert_int_equal(c->pkru, 0x12345678);
}

static void xgetbv_of_1_tells_whether_pkru_is_in_use(void **state)
{
	struct cpu *c = with_pkru(0);

	c->gpr[RCX] = 1;
	assert_int_equal(RUN(0x0f, 0x01, 0xd0), SYS_HALTED);
	assert_true(c->gpr[RAX] & 0x200);
	c->pkru = 0;
	assert_int_equal(RUN(0x0f, 0x01, 0xd0), SYS_HALTED);
	assert_false(c->gpr[RAX] & 0x200);
}

/* --- instructions --- */

/* One instruction of each feature, all of them legal in 64-bit mode at CPL 0 with everything enabled. */
static const struct {
	enum cpu_feature feature;
	uint8_t code[6];
} samples[] = {
	{ FEAT_X87, { 0xd9, 0xe8 } },				/* fld1 */
	{ FEAT_MMX, { 0x0f, 0xef, 0xc0 } },			/* pxor mm0, mm0 */
	{ FEAT_SSE, { 0x0f, 0x57, 0xc0 } },			/* xorps xmm0, xmm0 */
	{ FEAT_SSE2, { 0x66, 0x0f, 0xef, 0xc0 } },		/* pxor xmm0, xmm0 */
	{ FEAT_SSE3, { 0xf2, 0x0f, 0x12, 0xc0 } },		/* movddup */
	{ FEAT_SSSE3, { 0x66, 0x0f, 0x38, 0x1c, 0xc0 } },	/* pabsb */
	{ FEAT_SSE41, { 0x66, 0x0f, 0x38, 0x17, 0xc0 } },	/* ptest */
	{ FEAT_SSE42, { 0x66, 0x0f, 0x38, 0x37, 0xc0 } },	/* pcmpgtq */
	{ FEAT_POPCNT, { 0xf3, 0x0f, 0xb8, 0xc0 } },
	{ FEAT_BMI1, { 0xc4, 0xe2, 0x78, 0xf2, 0xc0 } },	/* andn */
	{ FEAT_BMI2, { 0xc4, 0xe2, 0x7b, 0xf5, 0xc0 } },	/* pdep */
	{ FEAT_MOVBE, { 0x0f, 0x38, 0xf0, 0x03 } },
	{ FEAT_ADX, { 0x66, 0x0f, 0x38, 0xf6, 0xc0 } },
	{ FEAT_AES, { 0x66, 0x0f, 0x38, 0xdc, 0xc0 } },
	{ FEAT_PCLMUL, { 0x66, 0x0f, 0x3a, 0x44, 0xc0, 0x00 } },
	{ FEAT_SHA, { 0x0f, 0x38, 0xc8, 0xc0 } },
	{ FEAT_AVX, { 0xc5, 0xfc, 0x57, 0xc0 } },		/* vxorps */
	{ FEAT_AVX2, { 0xc4, 0xe2, 0x79, 0x47, 0xc0 } },	/* vpsllvd */
	{ FEAT_FMA, { 0xc4, 0xe2, 0x79, 0x98, 0xc0 } },
	{ FEAT_F16C, { 0xc4, 0xe2, 0x79, 0x13, 0xc0 } },
	{ FEAT_XSAVE, { 0x0f, 0x01, 0xd0 } },			/* xgetbv */
	{ FEAT_XSAVEOPT, { 0x0f, 0xae, 0x33 } },
	{ FEAT_XSAVEC, { 0x0f, 0xc7, 0x23 } },
	{ FEAT_XSAVES, { 0x0f, 0xc7, 0x2b } },
	{ FEAT_FSGSBASE, { 0xf3, 0x48, 0x0f, 0xae, 0xc0 } },	/* rdfsbase */
	{ FEAT_RDRAND, { 0x0f, 0xc7, 0xf0 } },
	{ FEAT_RDSEED, { 0x0f, 0xc7, 0xf8 } },
	{ FEAT_RDTSCP, { 0x0f, 0x01, 0xf9 } },
	{ FEAT_RDPID, { 0xf3, 0x0f, 0xc7, 0xf8 } },
	{ FEAT_INVPCID, { 0x66, 0x0f, 0x38, 0x82, 0x0b } },	/* of type RCX */
	{ FEAT_SMAP, { 0x0f, 0x01, 0xcb } },			/* stac */
	{ FEAT_CX16, { 0x48, 0x0f, 0xc7, 0x0b } },
	{ FEAT_PKU, { 0x0f, 0x01, 0xee } },			/* rdpkru */
};

static int run_sample(const struct cpu_model *m, unsigned i)
{
	size_t len = sizeof(samples[i].code);

	while (len > 2 && !samples[i].code[len - 1])
		len--;
	if (samples[i].feature == FEAT_PCLMUL)
		len = 6;
	sys_start(SYS_LONG, 0);
	sys.vm->model = m;
	sys.c->cr4 |= CR4_OSFXSR | CR4_OSXSAVE | CR4_FSGSBASE | CR4_PKE;
	sys.c->xcr0 = 7;
	sys.c->gpr[RBX] = AREA;
	return sys_run(samples[i].code, len);
}

static void an_instruction_whose_feature_the_model_lacks_is_ud(void **state)
{
	for (unsigned i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct cpu_model *max = cpu_model_find("max");
		struct cpu_model without = *max;

		without.features &= ~((unsigned __int128)1 << samples[i].feature);
		assert_int_equal(run_sample(max, i), SYS_HALTED);
		if (run_sample(&without, i) != EXC_UD)
			fail_msg("feature %u is not checked", samples[i].feature);
	}
}

static void instructions_of_no_model_are_ud(void **state)
{
	static const uint8_t code[][6] = {
		{ 0x0f, 0x01, 0xfd },		  /* rdpru */
		{ 0x0f, 0x01, 0xc2 },		  /* vmlaunch */
		{ 0x0f, 0x01, 0xd8 },		  /* vmrun */
		{ 0x0f, 0x01, 0xd5 },		  /* xend */
		{ 0x0f, 0x01, 0xcf },		  /* encls */
		{ 0x0f, 0x37 },			  /* getsec */
		{ 0xf3, 0x0f, 0x01, 0xe8 },	  /* setssbsy */
		{ 0x66, 0x0f, 0xae, 0xf0 },	  /* tpause */
		{ 0x0f, 0x38, 0xf9, 0x03 },	  /* movdiri */
	};

	sys_model = "max";
	for (unsigned i = 0; i < sizeof(code) / sizeof(code[0]); i++) {
		sys_start(SYS_LONG, 0);
		assert_int_equal(sys_run(code[i], sizeof(code[i])), EXC_UD);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_list_finds_each_model_by_its_name),
		TEST(cpuid_bits_and_control_bits_go_together),
		TEST(max_shows_what_it_adds),
		TEST(ospke_follows_cr4),
		TEST(monitors_bit_follows_misc_enable),
		TEST(xsave_sizes_and_places_hold_pkru),
		TEST(xcr0_takes_pkru_where_the_model_has_it),
		TEST(xsave_and_xrstor_move_pkru),
		TEST(compacted_images_have_pkru_behind_avx_or_the_header),
		TEST(xgetbv_of_1_tells_whether_pkru_is_in_use),
		TEST(an_instruction_whose_feature_the_model_lacks_is_ud),
		TEST(instructions_of_no_model_are_ud),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
