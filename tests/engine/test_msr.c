// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Model-specific registers: which values each takes (SDM vol. 4, table 2-2; vol. 3, 11.11 MTRRs, 11.12
 * PAT, 15.3 machine check), and control registers in combination (vol. 3, 2.5, 4.1.1, 9.8.5).
 */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define ONES (~0ull)
enum { VALUES = 6 };

/* What is written is read back; what must not be written faults and leaves the register alone. */
struct rule {
	uint32_t msr;
	const char *what;
	unsigned good_count, bad_count;
	uint64_t good[VALUES], bad[VALUES];
};

static const struct rule rules[] = {
	/* 11.11.2.1: type, E, FE; types 2, 3, 7 and above are reserved */
	{ 0x2ff, "IA32_MTRR_DEF_TYPE", 4, 6, { 0, 0xc06, 0x400, 0x806 }, { 2, 7, 0x100, 0x200, 0x1000, 1ull << 32 } },
	/* 11.11.2.3: type 7:0, address from bit 12; valid bit 11, mask from bit 12 to MAXPHYADDR */
	{ 0x200, "IA32_MTRR_PHYSBASE0", 3, 5, { 0, 0xe0000001, (1ull << 46) - 0x1000 + 6 }, { 2, 3, 0x100, 0x800, 1ull << 46 } },
	{ 0x201, "IA32_MTRR_PHYSMASK0", 3, 4, { 0, 0x3ffff0000800, 0x800 }, { 1, 0x400, 1ull << 46, ONES } },
	{ 0x20e, "IA32_MTRR_PHYSBASE7", 1, 2, { 0xfffff006 }, { 7, 0xf00 } },
	{ 0x20f, "IA32_MTRR_PHYSMASK7", 1, 1, { 0x3fffc0000800 }, { 0x7ff } },
	/* 11.11.2.2: eight types */
	{ 0x250, "IA32_MTRR_FIX64K_00000", 3, 3, { 0, 0x0606060606060606, 0x0001040506060606 }, { 2, 0x0300000000000000, 7ull << 32 } },
	{ 0x258, "IA32_MTRR_FIX16K_80000", 1, 1, { 0x0606060606060606 }, { 0x0606060206060606 } },
	{ 0x259, "IA32_MTRR_FIX16K_A0000", 1, 1, { 0x0101010101010101 }, { 8 } },
	{ 0x268, "IA32_MTRR_FIX4K_C0000", 1, 1, { 0x0505050505050505 }, { 0xff } },
	{ 0x26f, "IA32_MTRR_FIX4K_F8000", 1, 1, { 0x0404040404040404 }, { 0x0202020202020202 } },
	/* 11.12.2: 0, 1, 4 to 7 */
	{ 0x277, "IA32_PAT", 3, 4, { 0x0007040600070406, 0x0706050401000706, 0 }, { 2, 3, 8, 1ull << 63 } },
	/* 15.3.1.2, 15.3.1.3 */
	{ 0x17a, "IA32_MCG_STATUS", 3, 3, { 0, 4, 7 }, { 8, 1ull << 32, ONES } },
	{ 0x17b, "IA32_MCG_CTL", 2, 3, { ONES, 0 }, { 1, ONES << 1, 1ull << 63 } },
	{ 0xc0000084, "IA32_FMASK", 2, 2, { 0xffffffff, 0x47700 }, { 1ull << 32, ONES } },
	{ 0xc0000103, "IA32_TSC_AUX", 2, 1, { 0, 0xffffffff }, { 1ull << 32 } },
	{ 0xc0000082, "IA32_LSTAR", 2, 2, { 0x7fffffffffff, 0xffff800000000000 }, { 1ull << 47, 1ull << 63 } },
	{ 0x175, "IA32_SYSENTER_ESP", 2, 2, { 0, 0xffffffff81000000 }, { 0x0000800000000000, 0xfff0000000000000 } },
	{ 0xc0000080, "IA32_EFER", 2, 4, { EFER_LME | EFER_LMA, EFER_LME | EFER_LMA | EFER_SCE | EFER_NX },
	  { EFER_LMA, 2 | EFER_LME, 1ull << 12 | EFER_LME, 1ull << 32 | EFER_LME } },
	{ 0xda0, "IA32_XSS", 1, 3, { 0 }, { 1, 0x100, 1ull << 63 } },
	/* vol. 4: 0, 3, 16, 18, 22, 23, 34 may be written; 7, 11 and 12 are read-only here */
	{ 0x1a0, "IA32_MISC_ENABLE", 3, 6, { 0x1800, 0x1801, 0x1809 | 1ull << 34 }, { 2, 1 << 4, 1 << 8, 1 << 17, 1 << 24, 1ull << 35 } },
};

static void msrs_take_the_values_of_the_manual_and_no_others(void **state)
{
	uint64_t v, before;

	for (unsigned i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const struct rule *r = &rules[i];

		sys_start(SYS_LONG, 0);
		for (unsigned k = 0; k < r->good_count; k++) {
			if (!sys_wrmsr(r->msr, r->good[k]) || !sys_rdmsr(r->msr, &v) || v != r->good[k])
				fail_msg("%s does not keep %llx", r->what, (unsigned long long)r->good[k]);
		}
		before = r->good[r->good_count - 1];
		for (unsigned k = 0; k < r->bad_count; k++) {
			if (sys_wrmsr(r->msr, r->bad[k]))
				fail_msg("%s takes %llx", r->what, (unsigned long long)r->bad[k]);
			assert_true(sys_rdmsr(r->msr, &v));
			assert_int_equal(v, before);
		}
	}
}

static void read_only_msrs_fault_when_written(void **state)
{
	/* IA32_MTRRCAP, IA32_MCG_CAP, IA32_ARCH_CAPABILITIES, IA32_PLATFORM_ID, MSR_PLATFORM_INFO, and locked: IA32_FEATURE_CONTROL */
	static const uint32_t msr[] = { 0xfe, 0x179, 0x10a, 0x17, 0xce, 0x3a };
	uint64_t v, w;

	sys_start(SYS_LONG, 0);
	for (unsigned i = 0; i < sizeof(msr) / sizeof(msr[0]); i++) {
		assert_true(sys_rdmsr(msr[i], &v));
		assert_false(sys_wrmsr(msr[i], v));
		assert_false(sys_wrmsr(msr[i], 0));
		assert_true(sys_rdmsr(msr[i], &w));
		assert_int_equal(v, w);
	}
	assert_true(sys_rdmsr(0x3a, &v));
	assert_int_equal(v, 1); /* locked, VMX off */
	assert_true(sys_rdmsr(0x8b, &v));
	assert_true(v >> 32 && !(uint32_t)v);
}

static void machine_check_has_a_control_register_and_no_banks(void **state)
{
	uint64_t v;

	sys_start(SYS_LONG, 0);
	assert_true(sys_rdmsr(0x179, &v));
	assert_int_equal(v, 0x100);
	for (uint32_t msr = 0x400; msr < 0x480; msr++) {
		assert_false(sys_rdmsr(msr, &v));
		assert_false(sys_wrmsr(msr, 0));
	}
}

/* CPUID leaf 0AH and leaf 7 announce none of these. */
static void what_cpuid_does_not_announce_is_not_there(void **state)
{
	static const uint32_t msr[] = {
		0x48, 0x49, 0x10b,			 /* SPEC_CTRL, PRED_CMD, FLUSH_CMD */
		0xc1, 0x186, 0x309, 0x345, 0x38d, 0x38e, 0x38f, 0x390, /* performance monitoring */
		0x6e1, 0x6a0, 0x6a2, 0x6a4,		 /* PKRS (in v3), CET */
		0xe7, 0xe8, 0x198, 0x199, 0x19c, 0x1b0,	 /* APERF, P-states, thermal, energy */
		0x122, 0xe1, 0x770, 0xc80, 0xc90,	 /* TSX, UMWAIT, HWP, debug interface, cache allocation */
		0x480, 0x570, 0x600, 0xc0010015, 0xc0010117,
	};
	uint64_t v;

	sys_start(SYS_LONG, 0);
	for (unsigned i = 0; i < sizeof(msr) / sizeof(msr[0]); i++) {
		assert_false(sys_rdmsr(msr[i], &v));
		assert_false(sys_wrmsr(msr[i], 0));
	}
}

static void pkrs_has_32_bits_where_the_model_has_it(void **state)
{
	uint64_t v;

	sys_model = "max";
	sys_start(SYS_LONG, 0);
	assert_true(sys_wrmsr(0x6e1, 0xfffffffc));
	assert_true(sys_rdmsr(0x6e1, &v));
	assert_int_equal(v, 0xfffffffc);
	assert_false(sys_wrmsr(0x6e1, 1ull << 32));
	cpu_reset(sys.c, true); /* INIT leaves it, RESET does not */
	assert_int_equal(sys.c->pkrs, 0xfffffffc);
	cpu_reset(sys.c, false);
	assert_int_equal(sys.c->pkrs, 0);
}

static void nothing_of_this_is_for_user_code(void **state)
{
	sys_start(SYS_LONG, 3);
	sys.c->gpr[RCX] = 0x10;
	assert_int_equal(RUN(0x0f, 0x32), EXC_GP);
	sys_start(SYS_LONG, 3);
	assert_int_equal(RUN(0x0f, 0x30), EXC_GP);
}

/* --- CR0, CR4, EFER together --- */

static int mov_cr(unsigned n, uint64_t v)
{
	sys.c->gpr[RAX] = v;
	return RUN(0x0f, 0x22, (uint8_t)(0xc0 | n << 3));
}

/* 2.5: PG needs PE, NW needs CD; the low half's other bits are not checked, the high half is reserved. */
static void cr0_combinations(void **state)
{
	for (unsigned n = 0; n < 16; n++) {
		bool pe = n & 1, nw = n & 2, cd = n & 4, pg = n & 8;
		uint64_t v = (pe ? CR0_PE : 0) | (nw ? CR0_NW : 0) | (cd ? CR0_CD : 0) | (uint64_t)(pg ? CR0_PG : 0);

		sys_start(SYS_PROT32, 0);
		sys_poke(SYS_PML4, 4, SYS_PT | 7); /* 32-bit paging: one table, identity */
		for (unsigned i = 0; i < 512; i++)
			sys_poke(SYS_PT + i * 4, 4, i * 4096 | 7);
		sys.c->cr3 = SYS_PML4;
		cr_write(sys.c, 3, SYS_PML4);
		if (!pe && !(pg || (nw && !cd))) /* would run on in real mode */
			continue;
		assert_int_equal(mov_cr(0, v | CR0_NE), (pg && !pe) || (nw && !cd) ? EXC_GP : SYS_HALTED);
	}
	sys_start(SYS_LONG, 0);
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t v = sys.c->cr0;

		if (v & 1ull << bit || bit == 29 || bit == 2 || bit == 3)
			continue;
		assert_int_equal(mov_cr(0, v | 1ull << bit), bit < 32 ? SYS_HALTED : EXC_GP);
		assert_int_equal(mov_cr(0, v), SYS_HALTED);
		assert_int_equal(sys.c->cr0, v);
	}
}

static void cr4_reserved_bits_fault(void **state)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		bool known = bit <= 11 || (bit >= 16 && bit <= 18) || bit == 20 || bit == 21;

		sys_start(SYS_LONG, 0);
		for (unsigned i = 0; i < 512; i++) /* supervisor pages, for SMEP and SMAP */
			sys_page(i * 4096, 3);
		assert_int_equal(mov_cr(4, sys.c->cr4 | 1ull << bit), known ? SYS_HALTED : EXC_GP);
	}
}

/* 4.10.1: PCIDE may be set in IA-32e mode only, with CR3[11:0] zero; PG may not be cleared while it is. */
static void pcide_needs_ia32e_mode_and_pcid_0(void **state)
{
	sys_start(SYS_PROT32, 0);
	assert_int_equal(mov_cr(4, CR4_PCIDE), EXC_GP);
	for (unsigned bit = 0; bit < 12; bit++) {
		sys_start(SYS_COMPAT, 0);
		sys.c->cr3 = SYS_PML4 | 1u << bit;
		assert_int_equal(mov_cr(4, sys.c->cr4 | CR4_PCIDE), EXC_GP);
		sys.c->cr3 = SYS_PML4;
		assert_int_equal(mov_cr(4, sys.c->cr4 | CR4_PCIDE), SYS_HALTED);
		sys.c->cr3 |= 1u << bit;
		assert_int_equal(mov_cr(4, sys.c->cr4), SYS_HALTED); /* it is set already */
	}
	assert_int_equal(mov_cr(0, sys.c->cr0 & ~(uint64_t)CR0_PG), EXC_GP);
}

/* 9.8.5: with EFER.LME, enabling paging needs CR4.PAE and a CS without L. */
static void ia32e_mode_is_entered_as_the_manual_says(void **state)
{
	for (unsigned n = 0; n < 4; n++) {
		bool pae = n & 1, l = n & 2;

		sys_start(SYS_LONG, 0);
		sys.c->cr0 &= ~(uint64_t)CR0_PG;
		sys.c->efer = EFER_LME;
		sys.c->cr4 = pae ? CR4_PAE : 0;
		if (!l)
			sys.c->seg[SEG_CS].attr = (sys.c->seg[SEG_CS].attr & ~(uint32_t)ATTR_L) | ATTR_DB;
		cpu_mode_changed(sys.c);
		/* The 64-bit IDT leads a 32-bit #GP to some handler, or to none. */
		assert_int_equal(mov_cr(0, sys.c->cr0 | CR0_PG) == SYS_HALTED, pae && !l);
		assert_int_equal(!!(sys.c->cr0 & CR0_PG), pae && !l);
		assert_int_equal(!!(sys.c->efer & EFER_LMA), pae && !l);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(msrs_take_the_values_of_the_manual_and_no_others),
		TEST(read_only_msrs_fault_when_written),
		TEST(machine_check_has_a_control_register_and_no_banks),
		TEST(what_cpuid_does_not_announce_is_not_there),
		TEST(pkrs_has_32_bits_where_the_model_has_it),
		TEST(nothing_of_this_is_for_user_code),
		TEST(cr0_combinations),
		TEST(cr4_reserved_bits_fault),
		TEST(pcide_needs_ia32e_mode_and_pcid_0),
		TEST(ia32e_mode_is_entered_as_the_manual_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
