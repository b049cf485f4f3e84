// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What CPUID tells of a CPU model (SDM vol. 2, CPUID; docs/cpu-model.md argues the choices).
 *
 * What follows from the CPU's state (OSXSAVE, APIC, SYSCALL outside 64-bit mode, the XSAVE sizes,
 * limits of IA32_MISC_ENABLE) is computed, the rest is constant, the same for every vCPU but for
 * its APIC ID.
 */
#include "engine/cpu_model.h"

#include <string.h>

enum { EAX, EBX, ECX, EDX };
enum { CR4_OSXSAVE = 1 << 18, CR4_PKE = 1 << 22, APIC_BASE_EN = 1 << 11 };
#define MISC_ENABLE_LIMIT_CPUID (1ull << 22)
#define MISC_ENABLE_XD_DISABLE (1ull << 34)

enum { LEAF_MAX = 0x16 };
#define HYPERVISOR_LEAF 0x40000000u
#define EXTENDED_LEAF	0x80000000u
#define EXTENDED_MAX	0x80000008u

/* A feature bit: where it stands. */
struct feature_bit {
	uint32_t leaf;
	uint8_t reg, bit;
};

/*
 * The features that decide about instructions (enum cpu_feature). Leaf 0: no bit of its own;
 * 0xd stands for its sub-leaf 1, 7 for its sub-leaf 0.
 */
static const struct feature_bit feature_bits[FEAT_COUNT] = {
	[FEAT_X87] = { 1, EDX, 0 },	   [FEAT_MMX] = { 1, EDX, 23 },	    [FEAT_SSE] = { 1, EDX, 25 },
	[FEAT_SSE2] = { 1, EDX, 26 },	   [FEAT_SSE3] = { 1, ECX, 0 },	    [FEAT_SSSE3] = { 1, ECX, 9 },
	[FEAT_SSE41] = { 1, ECX, 19 },	   [FEAT_SSE42] = { 1, ECX, 20 },   [FEAT_POPCNT] = { 1, ECX, 23 },
	[FEAT_LZCNT] = { 0x80000001, ECX, 5 }, [FEAT_BMI1] = { 7, EBX, 3 }, [FEAT_BMI2] = { 7, EBX, 8 },
	[FEAT_MOVBE] = { 1, ECX, 22 },	   [FEAT_ADX] = { 7, EBX, 19 },	    [FEAT_AES] = { 1, ECX, 25 },
	[FEAT_PCLMUL] = { 1, ECX, 1 },	   [FEAT_SHA] = { 7, EBX, 29 },	    [FEAT_AVX] = { 1, ECX, 28 },
	[FEAT_AVX2] = { 7, EBX, 5 },	   [FEAT_FMA] = { 1, ECX, 12 },	    [FEAT_F16C] = { 1, ECX, 29 },
	[FEAT_XSAVE] = { 1, ECX, 26 },	   [FEAT_XSAVEOPT] = { 0xd, EAX, 0 }, [FEAT_XSAVEC] = { 0xd, EAX, 1 },
	[FEAT_XSAVES] = { 0xd, EAX, 3 },   [FEAT_FSGSBASE] = { 7, EBX, 0 }, [FEAT_RDRAND] = { 1, ECX, 30 },
	[FEAT_RDSEED] = { 7, EBX, 18 },	   [FEAT_RDTSCP] = { 0x80000001, EDX, 27 }, [FEAT_RDPID] = { 7, ECX, 22 },
	[FEAT_INVPCID] = { 7, EBX, 10 },   [FEAT_SMAP] = { 7, EBX, 20 },    [FEAT_CX16] = { 1, ECX, 13 },
	[FEAT_PKU] = { 7, ECX, 3 },	   [FEAT_MONITOR] = { 1, ECX, 3 },
};

/* The others. */
static const struct feature_bit other_bits[] = {
	{ 1, EDX, 1 },	/* VME */
	{ 1, EDX, 2 },	/* DE */
	{ 1, EDX, 3 },	/* PSE */
	{ 1, EDX, 4 },	/* TSC */
	{ 1, EDX, 5 },	/* MSR */
	{ 1, EDX, 6 },	/* PAE */
	{ 1, EDX, 7 },	/* MCE */
	{ 1, EDX, 8 },	/* CX8 */
	{ 1, EDX, 11 }, /* SEP */
	{ 1, EDX, 12 }, /* MTRR */
	{ 1, EDX, 13 }, /* PGE */
	{ 1, EDX, 14 }, /* MCA, without banks */
	{ 1, EDX, 15 }, /* CMOV */
	{ 1, EDX, 16 }, /* PAT */
	{ 1, EDX, 17 }, /* PSE-36 */
	{ 1, EDX, 19 }, /* CLFSH */
	{ 1, EDX, 24 }, /* FXSR */
	{ 1, ECX, 17 }, /* PCID */
	{ 1, ECX, 21 }, /* x2APIC */
	{ 1, ECX, 24 }, /* TSC-deadline */
	{ 1, ECX, 31 }, /* under a hypervisor */
	{ 6, EAX, 2 },	/* ARAT: the APIC timer never stops */
	{ 7, EBX, 1 },	/* IA32_TSC_ADJUST */
	{ 7, EBX, 7 },	/* SMEP */
	{ 7, EBX, 9 },	/* ERMS: REP MOVSB is the fastest copy */
	{ 7, EBX, 13 }, /* FCS and FDS are gone */
	{ 7, ECX, 2 },	/* UMIP */
	{ 7, EDX, 4 },	/* FSRM: for short ones, too */
	{ 7, EDX, 29 }, /* IA32_ARCH_CAPABILITIES */
	{ 0xd, EAX, 2 },	 /* XGETBV with ECX = 1 */
	{ 0x80000001, ECX, 0 },	 /* LAHF in 64-bit mode */
	{ 0x80000001, EDX, 20 }, /* NX */
	{ 0x80000001, EDX, 26 }, /* 1 GiB pages */
	{ 0x80000001, EDX, 29 }, /* LM */
	{ 0x80000007, EDX, 8 },	 /* invariant TSC */
};

static void put_bit(const struct feature_bit *b, uint32_t leaf, uint32_t out[4])
{
	if (b->leaf == leaf && leaf)
		out[b->reg] |= 1u << b->bit;
}

static void put_features(const struct cpu_model *m, uint32_t leaf, uint32_t out[4])
{
	for (unsigned f = 0; f < FEAT_COUNT; f++) {
		if (cpu_model_has(m, f))
			put_bit(&feature_bits[f], leaf, out);
	}
	for (size_t i = 0; i < sizeof(other_bits) / sizeof(other_bits[0]); i++)
		put_bit(&other_bits[i], leaf, out);
	if (leaf == 7)
		out[ECX] |= (uint32_t)m->la57 << 16 | (uint32_t)m->pks << 31;
}

/* --- topology: one package, each vCPU a core --- */

/* Bits of an APIC ID that number the cores. */
static unsigned core_bits(unsigned count)
{
	unsigned bits = 0;

	while (1u << bits < count)
		bits++;
	return bits;
}

static void leaf_1(const struct cpuid_view *v, uint32_t out[4])
{
	unsigned bits = core_bits(v->count);

	out[EAX] = CPU_SIGNATURE;
	out[EBX] = 8u << 8 /* CLFLUSH: 64 bytes */ | (uint32_t)v->index << 24;
	if (bits) {
		out[EBX] |= 1u << bits << 16;
		out[EDX] |= 1u << 28; /* HTT */
	}
	if (v->cr4 & CR4_OSXSAVE)
		out[ECX] |= 1u << 27;
	if (!(v->misc_enable & MISC_ENABLE_MONITOR))
		out[ECX] &= ~(1u << 3);
	if (v->apic_base & APIC_BASE_EN)
		out[EDX] |= 1u << 9;
}

struct cache {
	uint8_t type, level; /* type: 1 data, 2 instructions, 3 both */
	bool shared;
	uint16_t ways;
	uint32_t sets;
};

static void leaf_4(const struct cpuid_view *v, uint32_t sub, uint32_t out[4])
{
	static const struct cache caches[] = {
		{ 1, 1, false, 12, 64 },    /* 48 KiB */
		{ 2, 1, false, 8, 64 },	    /* 32 KiB */
		{ 3, 2, false, 16, 1024 },  /* 1 MiB */
		{ 3, 3, true, 16, 16384 },  /* 16 MiB */
	};
	uint32_t ids = (1u << core_bits(v->count)) - 1;
	const struct cache *k;

	if (sub >= sizeof(caches) / sizeof(caches[0]))
		return;
	k = &caches[sub];
	out[EAX] = k->type | (uint32_t)k->level << 5 | 1u << 8 | (k->shared ? ids << 14 : 0) | ids << 26;
	out[EBX] = 63 | (uint32_t)(k->ways - 1) << 22;
	out[ECX] = k->sets - 1;
}

static void leaf_b(const struct cpuid_view *v, uint32_t sub, uint32_t out[4])
{
	out[ECX] = sub & 0xff;
	out[EDX] = v->index;
	if (sub == 0) { /* threads of a core */
		out[EBX] = 1;
		out[ECX] |= 1u << 8;
	} else if (sub == 1) { /* cores */
		out[EAX] = core_bits(v->count);
		out[EBX] = v->count;
		out[ECX] |= 2u << 8;
	}
}

/* --- XSAVE (SDM vol. 1, 13.2 and 13.4) --- */

uint32_t xsave_size(uint64_t mask, bool compacted)
{
	if (mask & XCR0_PKRU)
		return xsave_pkru_offset(mask, compacted) + XSAVE_PKRU_SIZE;
	return XSAVE_LEGACY_SIZE + XSAVE_HEADER_SIZE + (mask & XCR0_AVX ? XSAVE_AVX_SIZE : 0);
}

static void leaf_d(const struct cpuid_view *v, uint32_t sub, uint32_t out[4])
{
	switch (sub) {
	case 0:
		out[EAX] = (uint32_t)cpu_model_xcr0(v->model);
		out[EBX] = xsave_size(v->xcr0, false);
		out[ECX] = xsave_size(cpu_model_xcr0(v->model), false);
		break;
	case 1:
		put_features(v->model, 0xd, out);
		out[EBX] = xsave_size(v->xcr0 | v->xss, true);
		break;
	case 2:
		out[EAX] = XSAVE_AVX_SIZE;
		out[EBX] = XSAVE_AVX_OFFSET;
		break;
	case 9:
		if (!(cpu_model_xcr0(v->model) & XCR0_PKRU))
			break;
		out[EAX] = XSAVE_PKRU_SIZE;
		out[EBX] = XSAVE_PKRU_OFFSET;
		break;
	default: break;
	}
}

/* --- frequencies --- */

/*
 * TSC = crystal * num / den, as near as it gets with crystal_kHz * num below 2^32: Linux computes that
 * product in 32 bits.
 */
static void tsc_ratio(uint64_t hz, uint32_t *num, uint32_t *den)
{
	const uint64_t crystal = CPU_CRYSTAL_HZ, num_max = 0xffffffffu / (CPU_CRYSTAL_HZ / 1000);
	uint64_t best = ~0ull, best_den = 1;

	*num = *den = 1;
	for (uint64_t d = 1; d <= num_max; d++) {
		uint64_t n = (hz * d + crystal / 2) / crystal, have, want = hz * d, error;

		if (n > num_max)
			break;
		have = n * crystal;
		error = have > want ? have - want : want - have;
		/* error / d < best / best_den */
		if (n && (best == ~0ull || error * best_den < best * d)) {
			best = error;
			best_den = d;
			*num = (uint32_t)n;
			*den = (uint32_t)d;
			if (!error)
				break;
		}
	}
}

static void leaf_16(const struct cpuid_view *v, uint32_t out[4])
{
	uint64_t mhz = (v->tsc_hz + 500000) / 1000000;

	out[EAX] = out[EBX] = mhz > 0xffff ? 0xffff : (uint32_t)mhz;
	out[ECX] = 100;
}

/* --- all --- */

static void basic(const struct cpuid_view *v, uint32_t leaf, uint32_t sub, uint32_t out[4])
{
	if (leaf != 7 || sub == 0)
		if (leaf != 0xd)
			put_features(v->model, leaf, out);
	switch (leaf) {
	case 0:
		out[EAX] = v->misc_enable & MISC_ENABLE_LIMIT_CPUID ? 3 : LEAF_MAX;
		memcpy(&out[EBX], "Genu", 4);
		memcpy(&out[EDX], "ineI", 4);
		memcpy(&out[ECX], "ntel", 4);
		break;
	case 1: leaf_1(v, out); break;
	case 2: out[EAX] = 0x03b2ff01; break; /* caches: see leaf 4; two TLBs of 64 entries */
	case 4: leaf_4(v, sub, out); break;
	case 5:
		if (!cpu_model_has(v->model, FEAT_MONITOR))
			break;
		out[EAX] = out[EBX] = 64; /* a monitored line */
		out[ECX] = 3; /* extensions are enumerated; interrupts end MWAIT even when masked */
		break;
	case 7:
		if (sub == 0 && cpu_model_has(v->model, FEAT_PKU) && (v->cr4 & CR4_PKE))
			out[ECX] |= 1u << 4; /* OSPKE */
		break;
	case 0xb: leaf_b(v, sub, out); break;
	case 0xd: leaf_d(v, sub, out); break;
	case 0x15:
		tsc_ratio(v->tsc_hz, &out[EBX], &out[EAX]);
		out[ECX] = CPU_CRYSTAL_HZ;
		break;
	case 0x16: leaf_16(v, out); break;
	default: break;
	}
}

static void extended(const struct cpuid_view *v, uint32_t leaf, uint32_t out[4])
{
	char brand[48] = "Subring ";

	put_features(v->model, leaf, out);
	switch (leaf) {
	case EXTENDED_LEAF: out[EAX] = EXTENDED_MAX; break;
	case EXTENDED_LEAF + 1:
		if (v->mode64)
			out[EDX] |= 1u << 11; /* SYSCALL: Intel shows it in 64-bit mode only */
		if (v->misc_enable & MISC_ENABLE_XD_DISABLE)
			out[EDX] &= ~(1u << 20);
		break;
	case EXTENDED_LEAF + 2:
	case EXTENDED_LEAF + 3:
	case EXTENDED_LEAF + 4:
		strcat(strncat(brand, v->model->name, 16), " virtual CPU");
		memcpy(out, brand + (leaf - EXTENDED_LEAF - 2) * 16, 16);
		break;
	case EXTENDED_LEAF + 6: out[ECX] = 1024u << 16 | 7u << 12 | 64; break; /* L2; its ways are in leaf 4 */
	case EXTENDED_LEAF + 8: out[EAX] = CPU_PHYS_BITS | cpu_model_linear_bits(v->model) << 8; break;
	default: break;
	}
}

void cpuid_answer(const struct cpuid_view *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 4 * sizeof(out[0]));
	if (leaf >> 16 == HYPERVISOR_LEAF >> 16) {
		if (leaf == HYPERVISOR_LEAF) {
			out[EAX] = HYPERVISOR_LEAF;
			memcpy(&out[EBX], "SubringSubri", 12);
		}
		return;
	}
	if (leaf >= EXTENDED_LEAF && leaf <= EXTENDED_MAX) {
		extended(v, leaf, out);
		return;
	}
	/* Beyond the limits Intel's processors answer with the highest basic leaf. */
	basic(v, leaf <= LEAF_MAX ? leaf : LEAF_MAX, subleaf, out);
}
