// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Model-specific registers (SDM vol. 4; vol. 3, 11.11 MTRRs, 11.12 PAT, 15.3 machine check, 17.17 TSC).
 *
 * Exactly those that the CPU model's CPUID announces, and the few that software takes for granted
 * on a GenuineIntel of family 6 (platform ID, microcode revision, IA32_MISC_ENABLE). Everything
 * else is #GP(0), AMD's range included.
 *
 * Memory types have no effect: MTRRs and PAT are kept and checked only.
 */
#include "engine/soft/system/system.h"

#include <stddef.h>

enum {
	MSR_P5_MC_ADDR = 0x0, MSR_P5_MC_TYPE = 0x1, MSR_TSC = 0x10, MSR_PLATFORM_ID = 0x17, MSR_APIC_BASE = 0x1b,
	MSR_TSC_ADJUST = 0x3b, MSR_BIOS_UPDT_TRIG = 0x79, MSR_BIOS_SIGN_ID = 0x8b, MSR_MTRRCAP = 0xfe,
	MSR_ARCH_CAPABILITIES = 0x10a, MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP = 0x175, MSR_SYSENTER_EIP = 0x176,
	MSR_MCG_CAP = 0x179, MSR_MCG_STATUS = 0x17a, MSR_MISC_ENABLE = 0x1a0, MSR_DEBUGCTL = 0x1d9,
	MSR_MTRR_PHYSBASE0 = 0x200, MSR_MTRR_FIX64K = 0x250, MSR_MTRR_FIX16K_8 = 0x258, MSR_MTRR_FIX16K_A = 0x259,
	MSR_MTRR_FIX4K_C0 = 0x268, MSR_MTRR_FIX4K_F8 = 0x26f, MSR_PAT = 0x277, MSR_MTRR_DEF_TYPE = 0x2ff,
	MSR_FEATURE_CONTROL = 0x3a, MSR_PLATFORM_INFO = 0xce, MSR_MCG_CTL = 0x17b, MSR_PKRS = 0x6e1,
	MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC_FIRST = 0x800, MSR_X2APIC_LAST = 0x8ff, MSR_XSS = 0xda0,
};
#define MSR_EFER	   0xc0000080u
#define MSR_STAR	   0xc0000081u
#define MSR_LSTAR	   0xc0000082u
#define MSR_CSTAR	   0xc0000083u
#define MSR_FMASK	   0xc0000084u
#define MSR_FS_BASE	   0xc0000100u
#define MSR_GS_BASE	   0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX	   0xc0000103u

/* 8 variable ranges, the fixed ones, write combining. */
#define MTRRCAP (MTRR_VARIABLE | 1u << 8 | 1u << 10)
#define MICROCODE_REVISION (1ull << 32)
/* No banks; IA32_MCG_CTL is there (15.3.1.1). */
#define MCG_CAP (1u << 8)
/* Locked, with everything in it off. */
#define FEATURE_CONTROL 1u

/*
 * Bits of IA32_ARCH_CAPABILITIES: "not affected" by each weakness of speculative or out-of-order
 * processors that the register can deny. An interpreter does not speculate.
 */
#define ARCH_CAPABILITIES                                                                                     \
	(1ull << 0 /* RDCL_NO */ | 1ull << 3 /* SKIP_L1DFL_VMENTRY */ | 1ull << 4 /* SSB_NO */ |              \
	 1ull << 5 /* MDS_NO */ | 1ull << 6 /* IF_PSCHANGE_MC_NO */ | 1ull << 8 /* TAA_NO */ |                \
	 1ull << 13 /* SBDR_SSDP_NO */ | 1ull << 14 /* FBSDP_NO */ | 1ull << 15 /* PSDP_NO */ |               \
	 1ull << 20 /* BHI_NO */ | 1ull << 24 /* PBRSB_NO */ | 1ull << 26 /* GDS_NO */ | 1ull << 27 /* RFDS_NO */ | \
	 1ull << 62 /* ITS_NO */)

/* IA32_MISC_ENABLE: what may be written, and what is read-only (writes to it are ignored). */
#define MISC_ENABLE_RW (1ull << 0 | 1ull << 3 | 1ull << 16 | 1ull << 18 | 1ull << 22 | 1ull << 23 | 1ull << 34)
#define MISC_ENABLE_RO (1ull << 7 | 1ull << 11 | 1ull << 12)


/* --- what values may be --- */

static bool mtrr_type_valid(unsigned t)
{
	return t <= 6 && (0x73 >> t & 1); /* UC WC WT WP WB */
}

bool pat_valid(uint64_t v)
{
	for (unsigned i = 0; i < 8; i++, v >>= 8)
		if ((v & 0xff) > 7 || !(0xf3 >> (v & 0xff) & 1)) /* 2 and 3 are reserved */
			return false;
	return true;
}

bool mtrr_fixed_valid(uint64_t v)
{
	for (unsigned i = 0; i < 8; i++, v >>= 8)
		if (!mtrr_type_valid(v & 0xff))
			return false;
	return true;
}

bool mtrr_physbase_valid(uint64_t v)
{
	return !(v >> CPU_PHYS_BITS) && !(v & 0xf00) && mtrr_type_valid(v & 0xff);
}

bool mtrr_physmask_valid(uint64_t v)
{
	return !(v >> CPU_PHYS_BITS) && !(v & 0x7ff);
}

bool mtrr_def_type_valid(uint64_t v)
{
	return !(v & ~0xcffull) && mtrr_type_valid(v & 0xff);
}

/* Index into mtrr_fixed of a fixed-range MTRR's number, or -1. */
static int mtrr_fixed_index(uint32_t index)
{
	if (index == MSR_MTRR_FIX64K)
		return 0;
	if (index == MSR_MTRR_FIX16K_8 || index == MSR_MTRR_FIX16K_A)
		return 1 + (int)(index - MSR_MTRR_FIX16K_8);
	if (index >= MSR_MTRR_FIX4K_C0 && index <= MSR_MTRR_FIX4K_F8)
		return 3 + (int)(index - MSR_MTRR_FIX4K_C0);
	return -1;
}

static bool is_mtrr_variable(uint32_t index)
{
	return index >= MSR_MTRR_PHYSBASE0 && index < MSR_MTRR_PHYSBASE0 + 2 * MTRR_VARIABLE;
}

bool mcg_status_valid(uint64_t v)
{
	return !(v & ~7ull); /* RIPV, EIPV, MCIP */
}

/* 15.3.1.3: all ones or all zeros. */
bool mcg_ctl_valid(uint64_t v)
{
	return v == 0 || v == ~0ull;
}

/* --- reading --- */

/* Ratio of the TSC to a bus of 100 MHz, as the frequency without turbo and as the least (vol. 4, MSR_PLATFORM_INFO). */
static uint64_t platform_info(const struct cpu *c)
{
	uint64_t ratio = (c->vm->clock.tsc_hz + 50000000) / 100000000;

	if (ratio > 0xff)
		ratio = 0xff;
	return ratio << 8 | ratio << 40;
}

int msr_read(struct cpu *c, uint32_t index, uint64_t *value)
{
	int fixed;

	if (!cpu_model_has_msr(c->vm->model, index))
		return -1;
	if (index == MSR_TSC_DEADLINE || (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST))
		return lapic_msr_read(c, index, value);
	if (is_mtrr_variable(index)) {
		unsigned n = (index - MSR_MTRR_PHYSBASE0) / 2;

		*value = index & 1 ? c->mtrr_physmask[n] : c->mtrr_physbase[n];
		return 0;
	}
	fixed = mtrr_fixed_index(index);
	if (fixed >= 0) {
		*value = c->mtrr_fixed[fixed];
		return 0;
	}
	switch (index) {
	case MSR_P5_MC_ADDR:
	case MSR_P5_MC_TYPE:
	case MSR_PLATFORM_ID: *value = 0; return 0;
	case MSR_FEATURE_CONTROL: *value = FEATURE_CONTROL; return 0;
	case MSR_PLATFORM_INFO: *value = platform_info(c); return 0;
	case MSR_MCG_CAP: *value = MCG_CAP; return 0;
	case MSR_MCG_STATUS: *value = c->mcg_status; return 0;
	case MSR_MCG_CTL: *value = c->mcg_ctl; return 0;
	case MSR_PKRS: *value = c->pkrs; return 0;
	case MSR_BIOS_SIGN_ID: *value = MICROCODE_REVISION; return 0;
	case MSR_TSC: *value = cpu_tsc(c); return 0;
	case MSR_TSC_ADJUST: *value = c->tsc_adjust; return 0;
	case MSR_APIC_BASE: *value = c->apic_base; return 0;
	case MSR_MTRRCAP: *value = MTRRCAP; return 0;
	case MSR_MTRR_DEF_TYPE: *value = c->mtrr_def_type; return 0;
	case MSR_ARCH_CAPABILITIES: *value = ARCH_CAPABILITIES; return 0;
	case MSR_SYSENTER_CS: *value = c->sysenter_cs; return 0;
	case MSR_SYSENTER_ESP: *value = c->sysenter_esp; return 0;
	case MSR_SYSENTER_EIP: *value = c->sysenter_eip; return 0;
	case MSR_MISC_ENABLE: *value = c->misc_enable; return 0;
	case MSR_DEBUGCTL: *value = c->debugctl; return 0;
	case MSR_PAT: *value = c->pat; return 0;
	case MSR_XSS: *value = c->xss; return 0;
	case MSR_EFER: *value = c->efer; return 0;
	case MSR_STAR: *value = c->star; return 0;
	case MSR_LSTAR: *value = c->lstar; return 0;
	case MSR_CSTAR: *value = c->cstar; return 0;
	case MSR_FMASK: *value = c->sfmask; return 0;
	case MSR_FS_BASE: *value = c->seg[SEG_FS].base; return 0;
	case MSR_GS_BASE: *value = c->seg[SEG_GS].base; return 0;
	case MSR_KERNEL_GS_BASE: *value = c->kernel_gs_base; return 0;
	case MSR_TSC_AUX: *value = c->tsc_aux; return 0;
	default: return pv_msr_read(c, index, value);
	}
}

/* --- writing --- */

/* LMA follows from LME and CR0.PG; writes to it are ignored. */
static int efer_write(struct cpu *c, uint64_t v)
{
	uint64_t changed;

	v = (v & ~(uint64_t)EFER_LMA) | (c->efer & EFER_LMA);
	changed = v ^ c->efer;
	if (v & ~efer_known(c->vm->model))
		return -1;
	if ((changed & EFER_LME) && cpu_paging(c))
		return -1;
	if ((v & EFER_NX) && (c->misc_enable & MISC_ENABLE_XD_DISABLE))
		return -1;
	c->efer = v;
	if (changed & EFER_NX)
		mmu_flush_all(c);
	return 0;
}

static int canonical_write(const struct cpu *c, uint64_t *reg, uint64_t v)
{
	if (!canonical_base(c, v))
		return -1;
	*reg = v;
	return 0;
}

static int base_write(struct cpu *c, unsigned seg, uint64_t v)
{
	if (canonical_write(c, &c->seg[seg].base, v))
		return -1;
	c->segbase[seg] = v;
	return 0;
}

/* A write to the TSC moves IA32_TSC_ADJUST by as much, and the other way round (17.17.3). */
static int tsc_move(struct cpu *c, uint64_t by)
{
	c->tsc_adjust += by;
	c->tsc_delta += by;
	c->tsc_offset += by;
	lapic_timer_arm(c);
	pv_clock_update(c);
	return 0;
}

static int checked_write(uint64_t *reg, uint64_t v, bool valid)
{
	if (!valid)
		return -1;
	*reg = v;
	return 0;
}

bool misc_enable_valid(const struct cpu_model *m, uint64_t v)
{
	if ((v & MISC_ENABLE_XD_DISABLE) && !cpu_model_has(m, FEAT_NX))
		return false;
	return !(v & ~(MISC_ENABLE_RW | MISC_ENABLE_RO));
}

static int misc_enable_write(struct cpu *c, uint64_t v)
{
	if (!misc_enable_valid(c->vm->model, v))
		return -1;
	c->misc_enable = (v & MISC_ENABLE_RW) | (c->misc_enable & MISC_ENABLE_RO);
	return 0;
}

int msr_write(struct cpu *c, uint32_t index, uint64_t v)
{
	int fixed;

	if (!cpu_model_has_msr(c->vm->model, index))
		return -1;
	if (index == MSR_TSC_DEADLINE || (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST))
		return lapic_msr_write(c, index, v);
	if (is_mtrr_variable(index)) {
		unsigned n = (index - MSR_MTRR_PHYSBASE0) / 2;

		return index & 1 ? checked_write(&c->mtrr_physmask[n], v, mtrr_physmask_valid(v))
				 : checked_write(&c->mtrr_physbase[n], v, mtrr_physbase_valid(v));
	}
	fixed = mtrr_fixed_index(index);
	if (fixed >= 0)
		return checked_write(&c->mtrr_fixed[fixed], v, mtrr_fixed_valid(v));
	switch (index) {
	case MSR_P5_MC_ADDR:
	case MSR_P5_MC_TYPE:
	case MSR_BIOS_UPDT_TRIG:
	case MSR_BIOS_SIGN_ID: return 0;
	case MSR_MCG_STATUS: return checked_write(&c->mcg_status, v, mcg_status_valid(v));
	case MSR_MCG_CTL: return checked_write(&c->mcg_ctl, v, mcg_ctl_valid(v));
	case MSR_PKRS:
		if (v >> 32)
			return -1;
		mmu_set_pkrs(c, (uint32_t)v);
		return 0;
	case MSR_TSC: return tsc_move(c, v - cpu_tsc(c));
	case MSR_TSC_ADJUST: return tsc_move(c, v - c->tsc_adjust);
	case MSR_APIC_BASE:
		mmu_flush_all(c); /* the page may have lain over memory, or do so now */
		return lapic_base_write(c, v);
	case MSR_MTRR_DEF_TYPE: return checked_write(&c->mtrr_def_type, v, mtrr_def_type_valid(v));
	case MSR_SYSENTER_CS: c->sysenter_cs = (uint32_t)v; return 0;
	case MSR_SYSENTER_ESP: return canonical_write(c, &c->sysenter_esp, v);
	case MSR_SYSENTER_EIP: return canonical_write(c, &c->sysenter_eip, v);
	case MSR_MISC_ENABLE: return misc_enable_write(c, v);
	case MSR_DEBUGCTL: return checked_write(&c->debugctl, v, !(v & ~(uint64_t)DEBUGCTL_BTF));
	case MSR_PAT: return checked_write(&c->pat, v, pat_valid(v));
	case MSR_XSS: return checked_write(&c->xss, v, !v);
	case MSR_EFER: return efer_write(c, v);
	case MSR_STAR: c->star = v; return 0;
	case MSR_LSTAR: return canonical_write(c, &c->lstar, v);
	case MSR_CSTAR: return canonical_write(c, &c->cstar, v);
	case MSR_FMASK: return checked_write(&c->sfmask, v, !(v >> 32));
	case MSR_FS_BASE: return base_write(c, SEG_FS, v);
	case MSR_GS_BASE: return base_write(c, SEG_GS, v);
	case MSR_KERNEL_GS_BASE: return canonical_write(c, &c->kernel_gs_base, v);
	case MSR_TSC_AUX: return checked_write(&c->tsc_aux, v, !(v >> 32));
	default: return pv_msr_write(c, index, v);
	}
}
