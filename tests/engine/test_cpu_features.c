// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CPU models that the user has changed: how they are written, and that a feature which was taken away is gone from
 * CPUID, from the control registers and MSRs, and as an instruction.
 */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { EAX, EBX, ECX, EDX };

static struct cpu_model parsed(const char *text)
{
	struct cpu_model m;

	assert_int_equal(cpu_model_parse(text, &m, NULL), 0);
	return m;
}

/* A machine whose CPU is of the model @text. */
static void start(const char *text, enum sys_mode mode, unsigned cpl)
{
	sys_start(mode, cpl);
	sys.vm->own_model = parsed(text);
}

static const uint32_t *leaf(uint32_t n, uint32_t sub)
{
	static uint32_t out[4];

	cpuid_query(sys.c, n, sub, out);
	return out;
}

static bool shown(enum cpu_feature f)
{
	const struct cpu_feature_info *i = &cpu_feature_list[f];

	return leaf(i->leaf == 0x10007 ? 7 : i->leaf, i->leaf == 0xd || i->leaf == 0x10007)[i->reg] >> i->bit & 1;
}

/* --- the text --- */

static void equal_models_have_equal_texts(void **state)
{
	static const struct {
		const char *typed, *text;
	} t[] = {
		{ NULL, "v3" }, { "v3", "v3" }, { "max", "max" }, { "v3,-x2apic", "v3,-x2apic" },
		{ "v3,-fma,-avx2,-avx", "v3,-avx" }, { "v3,-avx,-f16c", "v3,-avx" }, { "v3,-avx2", "v3,-avx2" },
		{ "v3,+pku,-x2apic", "v3,+pku,-x2apic" }, { "v3,-x2apic,+pku", "v3,+pku,-x2apic" },
		{ "v3,-la57", "v3" }, { "max,+la57", "max" }, { "max,-la57,-pks", "max,-la57,-pks" },
		{ "v3,-tsc_deadline,-tsc-deadline", "v3,-tsc-deadline" }, { "v3,-pni", "v3,-sse3" }, { "v3,-abm", "v3,-lzcnt" },
		{ "max,-xsave", "max,-xsave" },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct cpu_model m = parsed(t[i].typed), again = parsed(m.text);

		assert_string_equal(m.text, t[i].text);
		assert_true(m.features == again.features);
	}
}

static void a_text_with_all_features_taken_away_fits(void **state)
{
	char text[2 * CPU_MODEL_TEXT_MAX] = "max";
	struct cpu_model m;

	for (unsigned f = FEAT_COUNT - 1; f > FEAT_BASE; f--)
		if (cpu_feature_list[f].kind == FEATURE_MODEL || cpu_feature_list[f].kind == FEATURE_OPTION) {
			strcat(text, ",-");
			strcat(text, cpu_feature_list[f].name);
		}
	m = parsed(text);
	assert_true(parsed(m.text).features == m.features);
	for (unsigned f = 0; f < FEAT_COUNT; f++)
		assert_int_equal(cpu_model_has(&m, f), f == FEAT_BASE || cpu_feature_list[f].kind <= FEATURE_COMPUTED);
}

static void what_goes_takes_with_it_what_needs_it(void **state)
{
	static const enum cpu_feature of_avx[] = { FEAT_AVX, FEAT_AVX2, FEAT_FMA, FEAT_F16C },
				      of_xsave[] = { FEAT_AVX, FEAT_XSAVES, FEAT_XSAVEC, FEAT_XGETBV1, FEAT_XSAVEOPT, FEAT_PKU };
	struct cpu_model m = parsed("v3,-avx"), all = parsed("max");

	for (unsigned i = 0; i < sizeof(of_avx) / sizeof(of_avx[0]); i++)
		assert_false(cpu_model_has(&m, of_avx[i]));
	assert_true(cpu_model_has(&m, FEAT_SSE42));
	m = parsed("max,-xsave");
	for (unsigned i = 0; i < sizeof(of_xsave) / sizeof(of_xsave[0]); i++)
		assert_false(cpu_model_has(&m, of_xsave[i]));
	m = parsed("max,-sse3");
	assert_false(cpu_model_has(&m, FEAT_SSE42));
	assert_true(cpu_model_has(&m, FEAT_AVX));
	m = parsed("v3,+la57,+pku,+pks,+monitor");
	assert_true(m.features == all.features);
}

static void needs_stand_before_what_needs_them_in_the_list(void **state)
{
	for (unsigned f = FEAT_BASE + 1; f < FEAT_COUNT; f++)
		assert_true(cpu_feature_list[f].needs < f);
}

static void what_cannot_be_is_a_usage_error(void **state)
{
	static const struct {
		const char *typed, *part;
	} t[] = {
		{ "", "v3, max" }, { "v4", "v3, max" }, { ",-avx", "v3, max" }, { "v3,", "-FEATURE" }, { "v3,-", "x2apic" },
		{ "v3,,-avx", "-FEATURE" }, { "v3,avx", "-FEATURE" }, { "v3,-av", "x2apic" }, { "v3,-avx3", "x2apic" },
		{ "v3,-fpu", "64-bit mode" }, { "v3,-lm", "64-bit mode" }, { "v3,-sse2", "64-bit mode" }, { "v3,-pae", "64-bit mode" },
		{ "v3,-apic", "64-bit mode" }, { "v3,-syscall", "64-bit mode" }, { "v3,+avx", "la57" }, { "v3,+vmx", "la57" },
		{ "v3,+pku,-pku", "both" }, { "v3,+pku,-xsave", "needs xsave" }, { "v3,-x2apic ", "x2apic" },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct cpu_model m;
		struct error err;

		assert_int_equal(cpu_model_parse(t[i].typed, &m, &err), -22);
		assert_int_equal(err.status, STATUS_USAGE);
		assert_non_null(strstr(err.why, t[i].part));
		assert_true(err.what[0] && err.fix[0]);
	}
}

static void an_unknown_feature_is_told_all_that_there_is(void **state)
{
	struct cpu_model m;
	struct error err;

	assert_int_equal(cpu_model_parse("v3,-nothing", &m, &err), -22);
	for (unsigned f = FEAT_BASE + 1; f < FEAT_COUNT; f++) {
		char word[64];

		if (cpu_feature_list[f].kind != FEATURE_MODEL && cpu_feature_list[f].kind != FEATURE_OPTION)
			continue;
		snprintf(word, sizeof(word), " %s", cpu_feature_list[f].name);
		assert_non_null(strstr(err.why, word));
	}
}

/* --- CPUID --- */

static void only_the_bits_of_what_goes_are_gone(void **state)
{
	for (unsigned f = FEAT_BASE + 1; f < FEAT_COUNT; f++) {
		char text[64];

		if (cpu_feature_list[f].kind != FEATURE_MODEL && cpu_feature_list[f].kind != FEATURE_OPTION)
			continue;
		snprintf(text, sizeof(text), "max,-%s", cpu_feature_list[f].name);
		sys_model = "max"; /* RESET leaves MONITOR's bit on */
		start(text, SYS_LONG, 0);
		for (unsigned g = FEAT_BASE + 1; g < FEAT_COUNT; g++)
			if (g != FEAT_HT && g != FEAT_KVM) /* they are not a bit each */
				assert_int_equal(shown(g), cpu_model_has(sys.vm->model, g));
		assert_true(f == FEAT_KVM || !shown(f));
		sys_model = NULL;
	}
}

static void leaves_that_go_with_a_feature_are_empty_without_it(void **state)
{
	start("v3,-xsave", SYS_LONG, 0);
	for (unsigned sub = 0; sub < 10; sub++)
		for (unsigned reg = 0; reg < 4; reg++)
			assert_int_equal(leaf(0xd, sub)[reg], 0);
	start("max,-avx", SYS_LONG, 0);
	assert_int_equal(leaf(0xd, 0)[EAX], 0x203);
	assert_int_equal(leaf(0xd, 2)[EAX], 0);
	assert_int_equal(leaf(0xd, 0)[ECX], 2696);
	start("v3,-avx", SYS_LONG, 0);
	assert_int_equal(leaf(0xd, 0)[ECX], 576);
	start("v3,-hypervisor", SYS_LONG, 0);
	assert_int_equal(leaf(0x40000000, 0)[EAX] | leaf(0x40000000, 0)[EBX], 0);
	start("max,-la57", SYS_LONG, 0);
	assert_int_equal(leaf(0x80000008, 0)[EAX] >> 8 & 0xff, 48);
}

/* --- instructions --- */

/* Runs @code at CPL 0 with all of vector state switched on and registers at addresses in memory. */
static int run(const char *model, const uint8_t *code, size_t len)
{
	start(model, SYS_LONG, 0);
	sys.c->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE;
	if (cpu_model_has(sys.vm->model, FEAT_XSAVE))
		sys.c->cr4 |= CR4_OSXSAVE;
	sys.c->xcr0 = cpu_model_xcr0(sys.vm->model) & 7;
	for (unsigned i = RAX; i <= RDI; i++)
		if (i != RSP)
			sys.c->gpr[i] = 0;
	sys.c->gpr[RSI] = SYS_DATA & ~63u;
	return sys_run(code, len);
}

static void an_instruction_of_a_feature_that_is_gone_is_ud(void **state)
{
	static const struct {
		const char *without;
		uint8_t code[10];
	} t[] = {
		{ "v3,-sse3", { 0xf2, 0x0f, 0x7c, 0xc1 } },	       /* haddps xmm0, xmm1 */
		{ "v3,-ssse3", { 0x66, 0x0f, 0x38, 0x00, 0xc1 } },     /* pshufb xmm0, xmm1 */
		{ "v3,-ssse3", { 0x0f, 0x38, 0x00, 0xc1 } },	       /* pshufb mm0, mm1 */
		{ "v3,-sse4.1", { 0x66, 0x0f, 0x38, 0x17, 0xc1 } },    /* ptest xmm0, xmm1 */
		{ "v3,-sse4.2", { 0x66, 0x0f, 0x38, 0x37, 0xc1 } },    /* pcmpgtq xmm0, xmm1 */
		{ "v3,-sse4.2", { 0xf2, 0x0f, 0x38, 0xf1, 0xc1 } },    /* crc32 eax, ecx */
		{ "v3,-popcnt", { 0xf3, 0x0f, 0xb8, 0xc1 } },	       /* popcnt eax, ecx */
		{ "v3,-movbe", { 0x0f, 0x38, 0xf0, 0x06 } },	       /* movbe eax, [rsi] */
		{ "v3,-adx", { 0x66, 0x0f, 0x38, 0xf6, 0xc1 } },       /* adcx eax, ecx */
		{ "v3,-aes", { 0x66, 0x0f, 0x38, 0xdc, 0xc1 } },       /* aesenc xmm0, xmm1 */
		{ "v3,-aes", { 0xc4, 0xe2, 0x71, 0xdc, 0xc2 } },       /* vaesenc xmm0, xmm1, xmm2 */
		{ "v3,-avx", { 0xc4, 0xe2, 0x71, 0xdc, 0xc2 } },
		{ "v3,-pclmulqdq", { 0x66, 0x0f, 0x3a, 0x44, 0xc1, 1 } }, /* pclmulqdq xmm0, xmm1, 1 */
		{ "v3,-sha", { 0x0f, 0x38, 0xc8, 0xc1 } },	       /* sha1nexte xmm0, xmm1 */
		{ "v3,-bmi1", { 0xc4, 0xe2, 0x70, 0xf2, 0xc2 } },      /* andn eax, ecx, edx */
		{ "v3,-bmi2", { 0xc4, 0xe2, 0x73, 0xf5, 0xc2 } },      /* pdep eax, ecx, edx */
		{ "v3,-avx", { 0xc5, 0xf0, 0x58, 0xc2 } },	       /* vaddps xmm0, xmm1, xmm2 */
		{ "v3,-xsave", { 0xc5, 0xf0, 0x58, 0xc2 } },
		{ "v3,-avx2", { 0xc5, 0xf5, 0xfe, 0xc2 } },	       /* vpaddd ymm0, ymm1, ymm2 */
		{ "v3,-avx2", { 0xc5, 0xfd, 0x70, 0xc1, 1 } },	       /* vpshufd ymm0, ymm1, 1 */
		{ "v3,-avx2", { 0xc4, 0xe2, 0x7d, 0x2a, 0x06 } },      /* vmovntdqa ymm0, [rsi] */
		{ "v3,-avx2", { 0xc4, 0xe3, 0x75, 0x42, 0xc2, 1 } },   /* vmpsadbw ymm0, ymm1, ymm2, 1 */
		{ "v3,-avx2", { 0xc4, 0xe2, 0x79, 0x18, 0xc1 } },      /* vbroadcastss xmm0, xmm1 */
		{ "v3,-avx2", { 0xc4, 0xe2, 0x7d, 0x19, 0xc1 } },      /* vbroadcastsd ymm0, xmm1 */
		{ "v3,-avx2", { 0xc4, 0xe2, 0x7d, 0x78, 0xc1 } },      /* vpbroadcastb ymm0, xmm1 */
		{ "v3,-fma", { 0xc4, 0xe2, 0x71, 0x98, 0xc2 } },       /* vfmadd132ps xmm0, xmm1, xmm2 */
		{ "v3,-f16c", { 0xc4, 0xe2, 0x79, 0x13, 0xc1 } },      /* vcvtph2ps xmm0, xmm1 */
		{ "v3,-xsave", { 0x0f, 0x01, 0xd0 } },		       /* xgetbv */
		{ "v3,-xsaveopt", { 0x0f, 0xae, 0x36 } },	       /* xsaveopt [rsi] */
		{ "v3,-xsavec", { 0x0f, 0xc7, 0x26 } },		       /* xsavec [rsi] */
		{ "v3,-xsaves", { 0x0f, 0xc7, 0x2e } },		       /* xsaves [rsi] */
		{ "v3,-fsgsbase", { 0xf3, 0x0f, 0xae, 0xc0 } },	       /* rdfsbase eax */
		{ "v3,-rdrand", { 0x0f, 0xc7, 0xf0 } },
		{ "v3,-rdseed", { 0x0f, 0xc7, 0xf8 } },
		{ "v3,-rdtscp", { 0x0f, 0x01, 0xf9 } },
		{ "v3,-rdpid", { 0xf3, 0x0f, 0xc7, 0xf8 } },
		{ "v3,-invpcid", { 0x66, 0x0f, 0x38, 0x82, 0x06 } },   /* invpcid rax, [rsi] */
		{ "v3,-smap", { 0x0f, 0x01, 0xca } },		       /* clac */
		{ "v3,-cx16", { 0x48, 0x0f, 0xc7, 0x0e } },	       /* cmpxchg16b [rsi] */
		{ "v3,-lahf-lm", { 0x9f } },
		{ "v3,-lahf-lm", { 0x9e } },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint8_t code[sizeof(t[i].code) + 1];
		unsigned len = sizeof(t[i].code);

		memcpy(code, t[i].code, len);
		while (!code[len - 1])
			len--;
		code[len++] = 0xf4;
		assert_int_equal(run(t[i].without, code, len), EXC_UD);
		assert_int_equal(sys_frame(0, 8), SYS_CODE);
		assert_int_equal(run("v3", code, len), SYS_HALTED);
	}
}

static void instructions_that_the_rest_of_avx_has_stay_without_avx2(void **state)
{
	static const uint8_t t[][8] = {
		{ 0xc5, 0xf1, 0xfe, 0xc2, 0xf4 },	      /* vpaddd xmm0, xmm1, xmm2; hlt */
		{ 0xc5, 0xf4, 0x58, 0xc2, 0xf4 },	      /* vaddps ymm0, ymm1, ymm2 */
		{ 0xc4, 0xe2, 0x7d, 0x17, 0xc1, 0xf4 },      /* vptest ymm0, ymm1 */
		{ 0xc4, 0xe3, 0x7d, 0x04, 0xc1, 0, 0xf4 },   /* vpermilps ymm0, ymm1, 0 */
		{ 0xc4, 0xe3, 0x75, 0x06, 0xc2, 0, 0xf4 },   /* vperm2f128 ymm0, ymm1, ymm2, 0 */
		{ 0xc4, 0xe2, 0x7d, 0x18, 0x06, 0xf4 },      /* vbroadcastss ymm0, [rsi] */
		{ 0xc5, 0xfe, 0x6f, 0x06, 0xf4 },	      /* vmovdqu ymm0, [rsi] */
		{ 0xc5, 0xfd, 0xe7, 0x06, 0xf4 },	      /* vmovntdq [rsi], ymm0 */
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_int_equal(run("v3,-avx2", t[i], sizeof(t[i])), SYS_HALTED);
}

/* The prefix means nothing to a CPU without the instruction (SDM vol. 2, LZCNT and TZCNT). */
static void lzcnt_and_tzcnt_are_bsr_and_bsf_without_their_features(void **state)
{
	static const uint8_t lzcnt[] = { 0xb9, 0x10, 0x01, 0, 0, 0xf3, 0x0f, 0xbd, 0xc1, 0xf4 }, /* mov ecx, 110h; lzcnt eax, ecx */
			     tzcnt[] = { 0x31, 0xc9, 0xb8, 7, 0, 0, 0, 0xf3, 0x0f, 0xbc, 0xc1, 0xf4 }; /* of 0 */

	assert_int_equal(run("v3", lzcnt, sizeof(lzcnt)), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RAX], 23);
	assert_int_equal(run("v3,-lzcnt", lzcnt, sizeof(lzcnt)), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RAX], 8);
	assert_int_equal(run("v3", tzcnt, sizeof(tzcnt)), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RAX], 32);
	assert_int_equal(run("v3,-bmi1", tzcnt, sizeof(tzcnt)), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RAX], 7);
}

static void lahf_stays_outside_of_64_bit_mode(void **state)
{
	start("v3,-lahf-lm", SYS_COMPAT, 0);
	assert_int_equal(RUN(0x9f, 0x9e), SYS_HALTED);
}

static void sysenter_is_ud_without_sep(void **state)
{
	start("v3,-sep", SYS_LONG, 3);
	sys.c->sysenter_cs = SEL_CODE64;
	assert_int_equal(RUN(0x0f, 0x34), EXC_UD);
}

static void xgetbv_1_is_gp_without_xgetbv1(void **state)
{
	start("v3,-xgetbv1", SYS_LONG, 0);
	sys.c->cr4 |= CR4_OSXSAVE;
	sys.c->gpr[RCX] = 1;
	assert_int_equal(RUN(0x0f, 0x01, 0xd0), EXC_GP);
}

/* --- control registers, MSRs, paging, the local APIC --- */

static void control_bits_of_what_is_gone_are_gp(void **state)
{
	static const struct {
		const char *model;
		uint64_t cr4;
	} t[] = {
		{ "v3,-vme", CR4_VME }, { "v3,-vme", CR4_PVI }, { "v3,-de", CR4_DE }, { "v3,-mce", CR4_MCE }, { "v3,-umip", CR4_UMIP },
		{ "v3,-fsgsbase", CR4_FSGSBASE }, { "v3,-pcid", CR4_PCIDE }, { "v3,-xsave", CR4_OSXSAVE },
		{ "v3,-smep", CR4_SMEP }, { "v3,-smap", CR4_SMAP }, { "max,-pku", CR4_PKE }, { "max,-pks", CR4_PKS },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		start(t[i].model, SYS_LONG, 0);
		sys.c->gpr[RAX] = sys.c->cr4 | t[i].cr4;
		assert_int_equal(RUN(0x0f, 0x22, 0xe0), EXC_GP); /* mov cr4, rax */
	}
	start("v3,-avx", SYS_LONG, 0);
	sys.c->cr4 |= CR4_OSXSAVE;
	sys.c->gpr[RAX] = 7;
	sys.c->gpr[RCX] = sys.c->gpr[RDX] = 0;
	assert_int_equal(RUN(0x0f, 0x01, 0xd1), EXC_GP); /* xsetbv */
}

static void msrs_of_what_is_gone_are_gp(void **state)
{
	static const struct {
		const char *model;
		uint32_t index;
		bool write;
	} t[] = {
		{ "v3,-mce", 0x0, true }, { "v3,-mce", 0x179, false }, { "v3,-mca", 0x17a, true }, { "v3,-mca", 0x17b, true },
		{ "v3,-tsc-adjust", 0x3b, true }, { "v3,-mtrr", 0xfe, false }, { "v3,-mtrr", 0x200, true }, { "v3,-mtrr", 0x20f, true },
		{ "v3,-mtrr", 0x250, true }, { "v3,-mtrr", 0x259, true }, { "v3,-mtrr", 0x26f, true }, { "v3,-mtrr", 0x2ff, true },
		{ "v3,-arch-capabilities", 0x10a, false }, { "v3,-sep", 0x174, true }, { "v3,-sep", 0x176, true },
		{ "v3,-tsc-deadline", 0x6e0, true }, { "max,-pks", 0x6e1, true }, { "v3,-xsaves", 0xda0, true },
		{ "v3,-rdtscp,-rdpid", 0xc0000103, true },
	};
	uint64_t v;

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		start(t[i].model, SYS_LONG, 0);
		assert_int_equal(msr_read(sys.c, t[i].index, &v), -1);
		assert_int_equal(msr_write(sys.c, t[i].index, 0), -1);
		sys.vm->own_model = parsed("max");
		assert_int_equal(msr_read(sys.c, t[i].index, &v), 0);
		assert_int_equal(msr_write(sys.c, t[i].index, 0), t[i].write ? 0 : -1);
	}
	start("v3,-rdtscp", SYS_LONG, 0);
	assert_int_equal(msr_read(sys.c, 0xc0000103, &v), 0); /* RDPID's too */
	start("v3,-nx", SYS_PROT32, 0);
	assert_int_equal(msr_write(sys.c, 0xc0000080, EFER_LME), 0);
	assert_int_equal(msr_write(sys.c, 0xc0000080, EFER_LME | EFER_NX), -1);
	assert_int_equal(msr_write(sys.c, 0x1a0, sys.c->misc_enable | MISC_ENABLE_XD_DISABLE), -1);
}

static void without_x2apic_the_apic_stays_an_xapic(void **state)
{
	uint64_t v;

	start("v3,-x2apic", SYS_LONG, 0);
	assert_int_equal(msr_write(sys.c, 0x1b, sys.c->apic_base | 1 << 10), -1);
	assert_int_equal(msr_read(sys.c, 0x802, &v), -1);
	assert_int_equal(sys.c->apic_base & 1 << 10, 0);
	sys.vm->own_model = parsed("v3");
	assert_int_equal(msr_write(sys.c, 0x1b, sys.c->apic_base | 1 << 10), 0);
	assert_int_equal(msr_read(sys.c, 0x802, &v), 0);
}

static void without_tsc_deadline_its_timer_mode_cannot_be_written(void **state)
{
	start("v3,-tsc-deadline", SYS_LONG, 0);
	lapic_page_write(sys.c, 0xf0, 0x1ff);
	lapic_page_write(sys.c, 0x320, 0x40040);
	assert_int_equal(lapic_page_read(sys.c, 0x320), 0x40);
	sys.vm->own_model = parsed("v3");
	lapic_page_write(sys.c, 0x320, 0x40040);
	assert_int_equal(lapic_page_read(sys.c, 0x320), 0x40040);
}

static void a_gigabyte_page_is_a_reserved_bit_without_pdpe1gb(void **state)
{
	for (int has = 0; has < 2; has++) {
		uint64_t pdpt;

		start(has ? "v3" : "v3,-pdpe1gb", SYS_LONG, 0);
		pdpt = sys_peek(SYS_PML4, 8) & ~0xfffull;
		sys_poke(pdpt + 8, 8, 0x83); /* 1 GiB at 1 GiB, which is memory from 0 */
		assert_int_equal(RUN(0x8a, 0x04, 0x25, 0, 0xc0, 0, 0x40, 0xf4), has ? SYS_HALTED : EXC_PF); /* mov al, [4000c000h] */
		if (!has)
			assert_int_equal(sys_frame(0, 8), 9); /* P, RSVD */
	}
}

static void states_that_the_model_cannot_be_in_are_refused(void **state)
{
	static struct vcpu_state s;

	start("v3", SYS_LONG, 0);
	sys.c->cr4 |= CR4_OSXSAVE;
	sys.c->xcr0 = 7;
	cpu_get_state(sys.c, &s);
	assert_int_equal(cpu_set_state(sys.c, &s), 0);
	sys.vm->own_model = parsed("v3,-avx");
	assert_int_equal(cpu_set_state(sys.c, &s), -22);
	sys.vm->own_model = parsed("v3,-xsave");
	assert_int_equal(cpu_set_state(sys.c, &s), -22);
	sys.vm->own_model = parsed("v3,-nx");
	assert_int_equal(cpu_set_state(sys.c, &s), -22);
	s.xcr0 = 3;
	sys.vm->own_model = parsed("v3,-avx");
	assert_int_equal(cpu_set_state(sys.c, &s), 0);
	s.apic_base |= 1 << 10;
	assert_int_equal(cpu_set_state(sys.c, &s), 0);
	sys.vm->own_model = parsed("v3,-x2apic");
	assert_int_equal(cpu_set_state(sys.c, &s), -22);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(equal_models_have_equal_texts),
		TEST(a_text_with_all_features_taken_away_fits),
		TEST(what_goes_takes_with_it_what_needs_it),
		TEST(needs_stand_before_what_needs_them_in_the_list),
		TEST(what_cannot_be_is_a_usage_error),
		TEST(an_unknown_feature_is_told_all_that_there_is),
		TEST(only_the_bits_of_what_goes_are_gone),
		TEST(leaves_that_go_with_a_feature_are_empty_without_it),
		TEST(an_instruction_of_a_feature_that_is_gone_is_ud),
		TEST(instructions_that_the_rest_of_avx_has_stay_without_avx2),
		TEST(lzcnt_and_tzcnt_are_bsr_and_bsf_without_their_features),
		TEST(lahf_stays_outside_of_64_bit_mode),
		TEST(sysenter_is_ud_without_sep),
		TEST(xgetbv_1_is_gp_without_xgetbv1),
		TEST(control_bits_of_what_is_gone_are_gp),
		TEST(msrs_of_what_is_gone_are_gp),
		TEST(without_x2apic_the_apic_stays_an_xapic),
		TEST(without_tsc_deadline_its_timer_mode_cannot_be_written),
		TEST(a_gigabyte_page_is_a_reserved_bit_without_pdpe1gb),
		TEST(states_that_the_model_cannot_be_in_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
