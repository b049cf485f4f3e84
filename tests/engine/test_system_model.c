// SPDX-License-Identifier: GPL-2.0-or-later
/* The CPU model: CPUID, MSRs, control and debug registers, RESET and INIT. */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { EAX, EBX, ECX, EDX };

/* --- CPUID --- */

static void vendor_family_and_model_are_those_that_need_no_mitigation(void **state)
{
	char vendor[13] = { 0 };
	const uint32_t *r;

	sys_start(SYS_LONG, 0);
	r = sys_cpuid(0, 0);
	memcpy(vendor, &r[EBX], 4);
	memcpy(vendor + 4, &r[EDX], 4);
	memcpy(vendor + 8, &r[ECX], 4);
	assert_string_equal(vendor, "GenuineIntel");
	assert_true(r[EAX] >= 0x16);
	assert_int_equal(sys_cpuid(1, 0)[EAX] >> 8 & 15, 6);
	assert_int_equal((sys_cpuid(1, 0)[EAX] >> 4 & 15) | (sys_cpuid(1, 0)[EAX] >> 12 & 0xf0), 0x36);
}

static void v3_level_features_are_all_there(void **state)
{
	/* x86-64 psABI, table 3.1 */
	static const struct {
		uint32_t leaf;
		int reg, bit;
	} t[] = {
		{ 1, EDX, 0 }, { 1, EDX, 8 }, { 1, EDX, 15 }, { 1, EDX, 23 }, { 1, EDX, 24 }, { 1, EDX, 25 }, { 1, EDX, 26 },
		{ 1, ECX, 13 }, { 0x80000001, ECX, 0 }, { 1, ECX, 23 }, { 1, ECX, 0 }, { 1, ECX, 19 }, { 1, ECX, 20 }, { 1, ECX, 9 },
		{ 1, ECX, 28 }, { 7, EBX, 5 }, { 7, EBX, 3 }, { 7, EBX, 8 }, { 1, ECX, 29 }, { 1, ECX, 12 }, { 0x80000001, ECX, 5 },
		{ 1, ECX, 22 }, { 1, ECX, 26 },
	};

	sys_start(SYS_LONG, 0);
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		assert_true(sys_cpuid(t[i].leaf, 0)[t[i].reg] >> t[i].bit & 1);
}

static void the_other_features_of_the_model_are_there_and_no_more(void **state)
{
	sys_start(SYS_LONG, 0);
	sys.c->cr4 |= CR4_OSXSAVE;
	/* SSE3 PCLMUL SSSE3 FMA CX16 PCID SSE4.1 SSE4.2 x2APIC MOVBE POPCNT TSC-deadline AES XSAVE OSXSAVE AVX F16C
	 * RDRAND, hypervisor */
	assert_int_equal(sys_cpuid(1, 0)[ECX], 0xfffa3203 & ~(1u << 18));
	/* all but PN, DS, ACPI, SS, HTT, TM, PBE */
	assert_int_equal(sys_cpuid(1, 0)[EDX], 0x078bfbff);
	/* FSGSBASE TSC_ADJUST BMI1 AVX2 SMEP BMI2 ERMS INVPCID FCS RDSEED ADX SMAP SHA */
	assert_int_equal(sys_cpuid(7, 0)[EBX], 0x201c27ab);
	assert_int_equal(sys_cpuid(7, 0)[ECX], 1 << 2 | 1 << 22);
	assert_int_equal(sys_cpuid(7, 0)[EDX], 1 << 4 | 1 << 29);
	assert_int_equal(sys_cpuid(7, 1)[EAX] | sys_cpuid(7, 1)[EBX] | sys_cpuid(7, 1)[EDX], 0);
	assert_int_equal(sys_cpuid(0xd, 1)[EAX], 15);
	assert_int_equal(sys_cpuid(0x80000001, 0)[ECX], 0x21);
	assert_int_equal(sys_cpuid(0x80000001, 0)[EDX], 0x2c100800);
	assert_int_equal(sys_cpuid(0x80000007, 0)[EDX], 1 << 8);
	assert_int_equal(sys_cpuid(0x80000008, 0)[EAX], 46 | 48 << 8);
}

static void osxsave_apic_and_syscall_bits_follow_the_state(void **state)
{
	sys_start(SYS_LONG, 0);
	assert_false(sys_cpuid(1, 0)[ECX] >> 27 & 1);
	sys.c->cr4 |= CR4_OSXSAVE;
	assert_true(sys_cpuid(1, 0)[ECX] >> 27 & 1);
	assert_true(sys_cpuid(1, 0)[EDX] >> 9 & 1);
	sys.c->apic_base &= ~(uint64_t)MSR_APIC_BASE_EN;
	assert_false(sys_cpuid(1, 0)[EDX] >> 9 & 1);
	assert_true(sys_cpuid(0x80000001, 0)[EDX] >> 11 & 1);
	sys.c->mode = INSN_MODE32;
	assert_false(sys_cpuid(0x80000001, 0)[EDX] >> 11 & 1);
}

static void xsave_sizes_follow_xcr0(void **state)
{
	sys_start(SYS_LONG, 0);
	assert_int_equal(sys_cpuid(0xd, 0)[EBX], 576);
	assert_int_equal(sys_cpuid(0xd, 0)[ECX], 832);
	sys.c->xcr0 = 7;
	assert_int_equal(sys_cpuid(0xd, 0)[EBX], 832);
	assert_int_equal(sys_cpuid(0xd, 1)[EBX], 832);
	assert_int_equal(sys_cpuid(0xd, 2)[EAX], 256);
	assert_int_equal(sys_cpuid(0xd, 2)[EBX], 576);
	assert_int_equal(sys_cpuid(0xd, 3)[EAX], 0);
}

static void topology_counts_every_vcpu_as_a_core(void **state)
{
	sys_start(SYS_LONG, 0);
	for (unsigned n = 1; n <= VCPUS_MAX; n++) {
		unsigned width;

		sys.vm->count = n;
		assert_int_equal(sys_cpuid(0xb, 0)[EBX], 1);
		assert_int_equal(sys_cpuid(0xb, 0)[ECX], 1 << 8);
		assert_int_equal(sys_cpuid(0xb, 1)[EBX], n);
		assert_int_equal(sys_cpuid(0xb, 1)[ECX], (2 << 8) | 1);
		width = sys_cpuid(0xb, 1)[EAX];
		assert_true(1u << width >= n && (n == 1 || 1u << (width - 1) < n));
		assert_int_equal(sys_cpuid(0xb, 2)[ECX], 2);
		assert_int_equal(sys_cpuid(4, 0)[EAX] >> 26, (1u << width) - 1);
		assert_int_equal(sys_cpuid(1, 0)[EDX] >> 28 & 1, n > 1);
	}
	sys.vm->count = 1;
}

static void tsc_ratio_gives_the_frequency_in_linuxs_32_bit_arithmetic(void **state)
{
	static const uint64_t hz[] = { 1000000000, 2000000000, 2445406000, 2596992123, 2899999999, 3000000000, 3799953125,
				       5100123456, 800000001, 25000000 };

	sys_start(SYS_LONG, 0);
	for (unsigned i = 0; i < sizeof(hz) / sizeof(hz[0]); i++) {
		const uint32_t *r;
		uint32_t khz;
		double exact;

		sys.vm->clock.tsc_hz = hz[i];
		r = sys_cpuid(0x15, 0);
		assert_int_equal(r[ECX], 25000000);
		khz = r[ECX] / 1000 * r[EBX] / r[EAX];
		assert_in_range(khz, hz[i] / 1000 - 1, hz[i] / 1000 + 1);
		exact = 25e6 * r[EBX] / r[EAX] / (double)hz[i] - 1;
		assert_true(exact < 2e-8 && exact > -2e-8);
		assert_int_equal(sys_cpuid(0x16, 0)[EAX], (hz[i] + 500000) / 1000000);
	}
}

static void leaves_out_of_range_answer_like_the_highest_basic_leaf(void **state)
{
	uint32_t top[4];

	sys_start(SYS_LONG, 0);
	memcpy(top, sys_cpuid(0x16, 0), sizeof(top));
	assert_memory_equal(sys_cpuid(0x17, 0), top, sizeof(top));
	assert_memory_equal(sys_cpuid(0x80000009, 0), top, sizeof(top));
	assert_int_equal(sys_cpuid(0x40000011, 0)[EAX], 0); /* beyond the hypervisor's */
}

/* --- MSRs --- */

static int wr(uint32_t index, uint64_t v)
{
	return msr_write(sys.c, index, v);
}

static uint64_t rd(uint32_t index)
{
	uint64_t v = 0;

	assert_int_equal(msr_read(sys.c, index, &v), 0);
	return v;
}

static void address_msrs_take_canonical_values_only(void **state)
{
	static const uint32_t msr[] = { 0x175, 0x176, 0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102 };

	sys_start(SYS_LONG, 0);
	for (unsigned i = 0; i < sizeof(msr) / sizeof(msr[0]); i++) {
		assert_int_equal(wr(msr[i], 0xffff800000000123), 0);
		assert_int_equal(rd(msr[i]), 0xffff800000000123);
		assert_int_equal(wr(msr[i], 0x800000000000), -1);
		assert_int_equal(rd(msr[i]), 0xffff800000000123);
	}
	assert_int_equal(sys.c->segbase[SEG_GS], 0xffff800000000123);
}

static void efer_keeps_lma_and_refuses_lme_while_paging(void **state)
{
	sys_start(SYS_LONG, 0);
	assert_int_equal(wr(0xc0000080, EFER_SCE | EFER_LME), 0);
	assert_int_equal(rd(0xc0000080), EFER_SCE | EFER_LME | EFER_LMA);
	assert_int_equal(wr(0xc0000080, EFER_SCE), -1);
	assert_int_equal(wr(0xc0000080, EFER_LME | 1 << 12), -1);
	sys_start(SYS_PROT32, 0);
	assert_int_equal(wr(0xc0000080, EFER_LME | EFER_LMA), 0);
	assert_int_equal(rd(0xc0000080), EFER_LME);
}

static void pat_and_mtrrs_check_their_types(void **state)
{
	sys_start(SYS_LONG, 0);
	assert_int_equal(rd(0x277), 0x0007040600070406);
	assert_int_equal(wr(0x277, 0x0007040600070402), -1);
	assert_int_equal(wr(0x277, 0x0407050600070106), 0);
	assert_int_equal(rd(0xfe), 0x508);
	assert_int_equal(wr(0x200, 0xc0000000), 0);
	assert_int_equal(wr(0x200, 0xc0000002), -1);
	assert_int_equal(wr(0x201, (1ull << 46) - 0x40000000 + 0x800), 0);
	assert_int_equal(wr(0x201, 1ull << 46), -1);
	assert_int_equal(wr(0x20f, 0x800), 0);
	assert_int_equal(wr(0x210, 0), -1);
	assert_int_equal(wr(0x250, 0x0606060606060606), 0);
	assert_int_equal(wr(0x26f, 0x0606060606060607), -1);
	assert_int_equal(wr(0x2ff, 0xc06), 0);
	assert_int_equal(wr(0x2ff, 0x1000), -1);
}

static void tsc_writes_move_tsc_adjust_and_the_other_way_round(void **state)
{
	uint64_t before;

	sys_start(SYS_LONG, 0);
	assert_int_equal(rd(0x3b), 0);
	before = rd(0x10);
	assert_int_equal(wr(0x3b, 1000000000000), 0);
	assert_true(rd(0x10) - before >= 1000000000000);
	assert_int_equal(sys.c->tsc_delta, 1000000000000);
	assert_int_equal(wr(0x10, 0), 0);
	assert_true(rd(0x10) < 1ull << 36);
	assert_true((int64_t)rd(0x3b) < 0);
	assert_int_equal(wr(0x3b, 0), 0);
	assert_int_equal(sys.c->tsc_delta, 0);
	assert_int_equal(sys.c->tsc_offset, sys.vm->clock.tsc_offset);
}

static void msrs_that_are_not_there_are_gp(void **state)
{
	static const uint32_t msr[] = { 0x2, 0x9e, 0x48, 0x49, 0xc1, 0x186, 0x345, 0x38f, 0x480, 0xc0010000, 0xc0010015,
					0x40000000, 0x4b564d02, 0xc0000084 + 1, 0xffffffff };
	uint64_t v;

	sys_start(SYS_LONG, 0);
	for (unsigned i = 0; i < sizeof(msr) / sizeof(msr[0]); i++) {
		assert_int_equal(msr_read(sys.c, msr[i], &v), -1);
		assert_int_equal(wr(msr[i], 0), -1);
	}
	sys.c->gpr[RCX] = 0xc0010015;
	assert_int_equal(RUN(0x0f, 0x32), EXC_GP);
	assert_int_equal(sys_frame(0, 8), 0);
}

static void linux_finds_the_msrs_that_it_touches_unasked(void **state)
{
	static const uint32_t reads[] = { 0x17, 0x8b, 0x1b, 0x10a, 0x179, 0x17a, 0x1a0, 0x1d9, 0x277, 0xfe, 0x2ff };

	sys_start(SYS_LONG, 0);
	for (unsigned i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
		rd(reads[i]);
	assert_int_equal(wr(0x8b, 0), 0);
	assert_true(rd(0x8b) >> 32);
	assert_true(rd(0x10a) & 1 << 6);
	assert_true(rd(0x1a0) & 1);
	assert_int_equal(wr(0x1a0, rd(0x1a0)), 0);
	assert_int_equal(wr(0xda0, 0), 0);
}

/* --- control registers --- */

/* mov crN, rax */
static int cr(unsigned n, uint64_t v)
{
	sys.c->gpr[RAX] = v;
	if (n == 8)
		return RUN(0x44, 0x0f, 0x22, 0xc0);
	return RUN(0x0f, 0x22, (uint8_t)(0xc0 | n << 3));
}

static void control_registers_refuse_what_the_manual_forbids(void **state)
{
	struct cpu *c;

	sys_start(SYS_LONG, 0);
	c = sys.c;
	assert_int_equal(cr(0, c->cr0 | 1ull << 32), EXC_GP);
	assert_int_equal(cr(0, c->cr0 & ~(uint64_t)CR0_PE), EXC_GP);
	assert_int_equal(cr(0, c->cr0 & ~(uint64_t)CR0_PG), EXC_GP); /* in 64-bit mode */
	assert_int_equal(cr(0, c->cr0 | CR0_NW), EXC_GP);
	assert_int_equal(cr(4, c->cr4 & ~(uint64_t)CR4_PAE), EXC_GP);
	assert_int_equal(cr(4, c->cr4 | CR4_LA57), EXC_GP);
	assert_int_equal(cr(4, c->cr4 | 1 << 22), EXC_GP);
	assert_int_equal(cr(3, 1ull << 46), EXC_GP);
	assert_int_equal(cr(3, 1ull << 63), EXC_GP);
	assert_int_equal(cr(8, 16), EXC_GP);
	assert_int_equal(RUN(0x0f, 0x22, 0xc8), EXC_UD); /* cr1 */
	c->cr3 |= 0x18;
	assert_int_equal(cr(4, c->cr4 | CR4_PCIDE), EXC_GP); /* CR3[11:0] is not 0 */
	c->cr3 &= ~0xfffull;
	assert_int_equal(cr(4, c->cr4 | CR4_PCIDE), SYS_HALTED);
	assert_int_equal(cr(3, SYS_PML4 | 1 | 1ull << 63), SYS_HALTED);
	assert_int_equal(c->cr3, SYS_PML4 | 1);
	assert_int_equal(cr(8, 5), SYS_HALTED);
	assert_int_equal(RUN(0x44, 0x0f, 0x20, 0xc3), SYS_HALTED); /* mov rbx, cr8 */
	assert_int_equal(c->gpr[RBX], 5);
	sys_start(SYS_LONG, 3);
	assert_int_equal(RUN(0x0f, 0x20, 0xc0), EXC_GP);
	assert_int_equal(RUN(0x0f, 0x22, 0xc8), EXC_UD); /* an invalid opcode comes before privilege (vol. 3, table 6-2) */
	assert_int_equal(RUN(0x44, 0x0f, 0x20, 0xc8), EXC_UD);
}

static void long_mode_is_entered_and_left_with_paging(void **state)
{
	struct cpu *c;

	sys_start(SYS_PROT32, 0);
	c = sys.c;
	c->efer = EFER_LME;
	c->cr3 = SYS_PML4;
	assert_int_equal(cr(0, c->cr0 | CR0_PG), EXC_GP); /* without PAE */
	c->gpr[GPR_RIP] = SYS_CODE;
	c->gpr[RSP] = SYS_STACK;
	c->cr4 |= CR4_PAE;
	assert_int_equal(cr(0, c->cr0 | CR0_PG), SYS_HALTED);
	assert_true(c->efer & EFER_LMA);
	assert_int_equal(c->mode, INSN_MODE32); /* compatibility mode until CS.L is loaded */
	assert_int_equal(cr(0, c->cr0 & ~(uint64_t)CR0_PG), SYS_HALTED);
	assert_false(c->efer & EFER_LMA);
}

static void real_mode_enters_protected_mode_and_long_mode(void **state)
{
	/* What a boot loader or an SMP trampoline does; the GDT is the rig's. */
	static const uint8_t code16[] = {
		0x0f, 0x01, 0x16, 0x00, 0xc0,		  /* lgdt [0xc000] */
		0x0f, 0x20, 0xc0, 0x66, 0x83, 0xc8, 0x01, /* mov eax, cr0; or eax, 1 */
		0x0f, 0x22, 0xc0,			  /* mov cr0, eax */
		0xea, 0x00, 0xd0, SEL_CODE32, 0x00,	  /* jmp SEL_CODE32:0xd000 */
	};
	static const uint8_t code32[] = {
		0x66, 0xb8, SEL_DATA, 0x00, 0x8e, 0xd8, 0x8e, 0xd0, /* mov ax, SEL_DATA; mov ds, ax; mov ss, ax */
		0xb8, 0x20, 0x00, 0x00, 0x00, 0x0f, 0x22, 0xe0,	    /* mov eax, PAE; mov cr4, eax */
		0xb8, 0x00, 0x40, 0x00, 0x00, 0x0f, 0x22, 0xd8,	    /* mov eax, PML4; mov cr3, eax */
		0xb9, 0x80, 0x00, 0x00, 0xc0, 0x31, 0xd2,	    /* mov ecx, EFER; xor edx, edx */
		0xb8, 0x00, 0x01, 0x00, 0x00, 0x0f, 0x30,	    /* mov eax, LME; wrmsr */
		0x0f, 0x20, 0xc0, 0x0f, 0xba, 0xe8, 0x1f, 0x0f, 0x22, 0xc0, /* set CR0.PG */
		0xea, 0x00, 0xe0, 0x00, 0x00, SEL_CODE64, 0x00,		    /* jmp SEL_CODE64:0xe000 */
	};

	sys_start(SYS_REAL, 0);
	sys_poke(SYS_DATA, 2, 0xfff);
	sys_poke(SYS_DATA + 2, 4, SYS_GDT);
	for (unsigned i = 0; i < sizeof(code32); i++)
		sys_poke(0xd000 + i, 1, code32[i]);
	sys_poke(0xe000, 4, 0xf4c0ff48); /* inc rax; hlt */
	assert_int_equal(sys_run(code16, sizeof(code16)), SYS_HALTED);
	assert_int_equal(sys.c->mode, INSN_MODE64);
	assert_int_equal(sys.c->gpr[GPR_RIP], 0xe004);
	assert_true(sys.c->efer & EFER_LMA);
}

static void lmsw_cannot_clear_pe(void **state)
{
	sys_start(SYS_PROT32, 0);
	sys.c->gpr[RAX] = CR0_TS;
	assert_int_equal(RUN(0x0f, 0x01, 0xf0), SYS_HALTED);
	assert_true(sys.c->cr0 & CR0_PE);
	assert_true(sys.c->cr0 & CR0_TS);
	assert_int_equal(RUN(0x0f, 0x06), SYS_HALTED); /* clts */
	assert_false(sys.c->cr0 & CR0_TS);
}

static void debug_registers_keep_fixed_bits_and_gd_traps(void **state)
{
	struct cpu *c;

	sys_start(SYS_LONG, 0);
	c = sys.c;
	c->gpr[RAX] = 0xffffffff;
	assert_int_equal(RUN(0x0f, 0x23, 0xf0), SYS_HALTED); /* mov dr6, rax */
	assert_int_equal(c->dr[6], 0xffffefff & (0xffff0ff0 | 0xe00f));
	c->gpr[RAX] = 1ull << 32;
	assert_int_equal(RUN(0x0f, 0x23, 0xf8), EXC_GP); /* mov dr7, rax */
	c->gpr[RAX] = DR7_GD;
	assert_int_equal(RUN(0x0f, 0x23, 0xf8), SYS_HALTED);
	assert_int_equal(c->dr[7], DR7_GD | 0x400);
	c->dr[6] = DR6_FIXED;
	assert_int_equal(RUN(0x0f, 0x21, 0xc0), EXC_DB); /* mov rax, dr0 */
	assert_true(c->dr[6] & DR6_BD);
	assert_false(c->dr[7] & DR7_GD);
	c->cr4 |= CR4_DE;
	assert_int_equal(RUN(0x0f, 0x21, 0xe0), EXC_UD); /* mov rax, dr4 */
	c->cr4 &= ~(uint64_t)CR4_DE;
	assert_int_equal(RUN(0x0f, 0x21, 0xe0), SYS_HALTED);
	assert_int_equal(c->gpr[RAX], c->dr[6]);
}

static void xsetbv_checks_components(void **state)
{
	static const struct {
		uint64_t v;
		int vector;
	} t[] = { { 0, EXC_GP }, { 2, EXC_GP }, { 5, EXC_GP }, { 9, EXC_GP }, { 1, SYS_HALTED }, { 3, SYS_HALTED }, { 7, SYS_HALTED } };

	sys_start(SYS_LONG, 0);
	assert_int_equal(RUN(0x0f, 0x01, 0xd1), EXC_UD);
	sys.c->cr4 |= CR4_OSXSAVE;
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		sys.c->gpr[RAX] = t[i].v;
		sys.c->gpr[RCX] = sys.c->gpr[RDX] = 0;
		assert_int_equal(RUN(0x0f, 0x01, 0xd1), t[i].vector);
	}
	assert_int_equal(sys.c->xcr0, 7);
}

static void invpcid_checks_its_descriptor(void **state)
{
	struct cpu *c;

	sys_start(SYS_LONG, 0);
	c = sys.c;
	/* invpcid rax, [0xc000] */
	c->gpr[RAX] = 4;
	assert_int_equal(RUN(0x66, 0x0f, 0x38, 0x82, 0x04, 0x25, 0, 0xc0, 0, 0), EXC_GP);
	c->gpr[RAX] = 2;
	assert_int_equal(RUN(0x66, 0x0f, 0x38, 0x82, 0x04, 0x25, 0, 0xc0, 0, 0), SYS_HALTED);
	sys_poke(SYS_DATA, 8, 0x1000);
	assert_int_equal(RUN(0x66, 0x0f, 0x38, 0x82, 0x04, 0x25, 0, 0xc0, 0, 0), EXC_GP);
	sys_poke(SYS_DATA, 8, 1);
	c->gpr[RAX] = 1;
	assert_int_equal(RUN(0x66, 0x0f, 0x38, 0x82, 0x04, 0x25, 0, 0xc0, 0, 0), EXC_GP); /* no PCIDE */
	sys_poke(SYS_DATA, 8, 0);
	sys_poke(SYS_DATA + 8, 8, 1ull << 60);
	c->gpr[RAX] = 0;
	assert_int_equal(RUN(0x66, 0x0f, 0x38, 0x82, 0x04, 0x25, 0, 0xc0, 0, 0), EXC_GP);
}

static void tsd_hides_the_tsc_from_user_code(void **state)
{
	sys_start(SYS_LONG, 3);
	assert_int_equal(RUN(0x0f, 0x31, 0x0f, 0x01, 0xf9, 0x0f, 0x0b), EXC_UD);
	sys_start(SYS_LONG, 3);
	sys.c->cr4 |= CR4_TSD;
	assert_int_equal(RUN(0x0f, 0x31), EXC_GP);
	sys_start(SYS_LONG, 3);
	sys.c->cr4 |= CR4_TSD;
	assert_int_equal(RUN(0x0f, 0x01, 0xf9), EXC_GP);
}

static void smap_faults_unless_ac_is_set_by_stac(void **state)
{
	sys_start(SYS_LONG, 0);
	sys_page(SYS_CODE, 3);
	sys_page(SYS_STACK - 0x1000, 3);
	sys_page(SYS_GDT, 3);
	sys_page(SYS_IDT, 3);
	sys_page(SYS_HANDLER, 3);
	assert_int_equal(cr(4, sys.c->cr4 | CR4_SMAP), SYS_HALTED);
	assert_int_equal(RUN(0x0f, 0x01, 0xcb, 0x8a, 0x04, 0x25, 0, 0xc0, 0, 0), SYS_HALTED); /* stac; mov al, [0xc000] */
	assert_int_equal(RUN(0x0f, 0x01, 0xca, 0x8a, 0x04, 0x25, 0, 0xc0, 0, 0), EXC_PF);     /* clac */
	assert_int_equal(sys_frame(0, 8), 1);
	sys_start(SYS_LONG, 3);
	assert_int_equal(RUN(0x0f, 0x01, 0xcb), EXC_UD);
}

/* --- RESET, INIT, SIPI --- */

static void reset_starts_at_fffffff0(void **state)
{
	struct cpu *c;

	sys_start(SYS_LONG, 3);
	c = sys.c;
	cpu_reset(c, false);
	assert_int_equal(c->gpr[GPR_RIP], 0xfff0);
	assert_int_equal(c->seg[SEG_CS].selector, 0xf000);
	assert_int_equal(c->seg[SEG_CS].base, 0xffff0000);
	assert_int_equal(c->gpr[RDX], 0x30661);
	assert_int_equal(c->cr0, 0x60000010);
	assert_int_equal(c->mode, INSN_MODE16);
	assert_int_equal(c->dr[6], 0xffff0ff0);
	assert_int_equal(c->dr[7], 0x400);
	assert_int_equal(c->x.fcw, 0x40);
	assert_int_equal(c->x.mxcsr, 0x1f80);
	assert_int_equal(c->activity, VCPU_RUNNING);
	assert_int_equal(c->cpl, 0);
}

static void init_keeps_msrs_and_vector_state_and_stops_an_ap(void **state)
{
	struct cpu *c;

	sys_start(SYS_LONG, 0);
	c = sys.c;
	c->lstar = 0x1234;
	c->x.xmm[3][0] = 7;
	c->mtrr_def_type = 0xc06;
	c->apic_base &= ~(uint64_t)MSR_APIC_BASE_BSP;
	cpu_reset(c, true);
	assert_int_equal(c->lstar, 0x1234);
	assert_int_equal(c->x.xmm[3][0], 7);
	assert_int_equal(c->mtrr_def_type, 0xc06);
	assert_int_equal(c->cr0, CR0_ET);
	assert_int_equal(c->efer, 0);
	assert_int_equal(c->activity, VCPU_WAIT_SIPI);
	cpu_sipi(c, 0x9a);
	assert_int_equal(c->seg[SEG_CS].selector, 0x9a00);
	assert_int_equal(c->seg[SEG_CS].base, 0x9a000);
	assert_int_equal(c->gpr[GPR_RIP], 0);
	assert_int_equal(c->activity, VCPU_RUNNING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vendor_family_and_model_are_those_that_need_no_mitigation),
		cmocka_unit_test(v3_level_features_are_all_there),
		cmocka_unit_test(the_other_features_of_the_model_are_there_and_no_more),
		cmocka_unit_test(osxsave_apic_and_syscall_bits_follow_the_state),
		cmocka_unit_test(xsave_sizes_follow_xcr0),
		cmocka_unit_test(topology_counts_every_vcpu_as_a_core),
		cmocka_unit_test(tsc_ratio_gives_the_frequency_in_linuxs_32_bit_arithmetic),
		cmocka_unit_test(leaves_out_of_range_answer_like_the_highest_basic_leaf),
		cmocka_unit_test(address_msrs_take_canonical_values_only),
		cmocka_unit_test(efer_keeps_lma_and_refuses_lme_while_paging),
		cmocka_unit_test(pat_and_mtrrs_check_their_types),
		cmocka_unit_test(tsc_writes_move_tsc_adjust_and_the_other_way_round),
		cmocka_unit_test(msrs_that_are_not_there_are_gp),
		cmocka_unit_test(linux_finds_the_msrs_that_it_touches_unasked),
		cmocka_unit_test(control_registers_refuse_what_the_manual_forbids),
		cmocka_unit_test(long_mode_is_entered_and_left_with_paging),
		cmocka_unit_test(real_mode_enters_protected_mode_and_long_mode),
		cmocka_unit_test(lmsw_cannot_clear_pe),
		cmocka_unit_test(debug_registers_keep_fixed_bits_and_gd_traps),
		cmocka_unit_test(xsetbv_checks_components),
		cmocka_unit_test(invpcid_checks_its_descriptor),
		cmocka_unit_test(tsd_hides_the_tsc_from_user_code),
		cmocka_unit_test(smap_faults_unless_ac_is_set_by_stac),
		cmocka_unit_test(reset_starts_at_fffffff0),
		cmocka_unit_test(init_keeps_msrs_and_vector_state_and_stops_an_ap),
	};

	return cmocka_run_group_tests(tests, NULL, sys_teardown);
}
