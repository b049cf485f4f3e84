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

enum { EAX = CPUID_EAX, EBX = CPUID_EBX, ECX = CPUID_ECX, EDX = CPUID_EDX };
enum { CR4_OSXSAVE = 1 << 18, CR4_PKE = 1 << 22, APIC_BASE_EN = 1 << 11 };
#define MISC_ENABLE_LIMIT_CPUID (1ull << 22)
#define MISC_ENABLE_XD_DISABLE (1ull << 34)

enum { LEAF_MAX = 0x16 };
#define HYPERVISOR_LEAF 0x40000000u
#define KVM_FEATURES	0x40000001u
#define TIMING_LEAF	0x40000010u
#define EXTENDED_LEAF	0x80000000u
#define EXTENDED_MAX	0x80000008u

static void put_features(const struct cpu_model *m, uint32_t leaf, uint32_t out[4])
{
	for (unsigned f = FEAT_BASE + 1; f < FEAT_COUNT; f++) {
		const struct cpu_feature_info *i = &cpu_feature_list[f];

		if (i->leaf == leaf && i->kind != FEATURE_COMPUTED && cpu_model_has(m, f))
			out[i->reg] |= 1u << i->bit;
	}
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

/* Components with a place of their own, in order. None is aligned further by the compacted format. */
static const struct {
	uint32_t bit, offset, size;
} components[] = {
	{ XCR0_AVX, XSAVE_AVX_OFFSET, XSAVE_AVX_SIZE },
	{ XCR0_OPMASK, XSAVE_OPMASK_OFFSET, XSAVE_OPMASK_SIZE },
	{ XCR0_ZMM_HI, XSAVE_ZMM_HI_OFFSET, XSAVE_ZMM_HI_SIZE },
	{ XCR0_HI16_ZMM, XSAVE_HI16_OFFSET, XSAVE_HI16_SIZE },
	{ XCR0_PKRU, XSAVE_PKRU_OFFSET, XSAVE_PKRU_SIZE },
};
enum { COMPONENTS = sizeof(components) / sizeof(components[0]) };

uint32_t xsave_offset(uint64_t mask, uint64_t bit, bool compacted)
{
	uint32_t at = XSAVE_LEGACY_SIZE + XSAVE_HEADER_SIZE;

	for (unsigned i = 0; i < COMPONENTS; i++) {
		if (components[i].bit == bit)
			return compacted ? at : components[i].offset;
		at += mask & components[i].bit ? components[i].size : 0;
	}
	return at;
}

uint32_t xsave_size(uint64_t mask, bool compacted)
{
	for (unsigned i = COMPONENTS; i-- > 0;)
		if (mask & components[i].bit)
			return xsave_offset(mask, components[i].bit, compacted) + components[i].size;
	return XSAVE_LEGACY_SIZE + XSAVE_HEADER_SIZE;
}

static void leaf_d(const struct cpuid_view *v, uint32_t sub, uint32_t out[4])
{
	if (!cpu_model_has(v->model, FEAT_XSAVE))
		return;
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
	case 2 ... 31:
		for (unsigned i = 0; i < COMPONENTS; i++)
			if (components[i].bit == 1u << sub && (cpu_model_xcr0(v->model) >> sub & 1)) {
				out[EAX] = components[i].size;
				out[EBX] = components[i].offset;
			}
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
		if (sub == 1)
			put_features(v->model, 0x10007, out);
		if (sub == 0 && (cpu_model_has(v->model, FEAT_AVX_VNNI) || cpu_model_has(v->model, FEAT_AVX512BF16)))
			out[EAX] = 1; /* the highest sub-leaf */
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

/*
 * KVM's leaves (Linux, Documentation/virt/kvm/x86/cpuid.rst), and the frequencies of TSC and local APIC in kHz where VMware, and
 * QEMU with an invariant TSC, tell them. Without KVM's interfaces the signature is our own, and no leaf follows.
 */
static void hypervisor(const struct cpuid_view *v, uint32_t leaf, uint32_t out[4])
{
	bool kvm = cpu_model_has(v->model, FEAT_KVM), timing = kvm && cpu_model_has(v->model, FEAT_INVARIANT_TSC);

	if (!cpu_model_has(v->model, FEAT_HYPERVISOR))
		return;
	switch (leaf) {
	case HYPERVISOR_LEAF:
		out[EAX] = timing ? TIMING_LEAF : kvm ? KVM_FEATURES : HYPERVISOR_LEAF;
		memcpy(&out[EBX], kvm ? "KVMKVMKVM\0\0\0" : "SubringSubri", 12);
		break;
	case KVM_FEATURES: put_features(v->model, leaf, out); break;
	case TIMING_LEAF:
		if (!timing)
			break;
		out[EAX] = (uint32_t)(v->tsc_hz / 1000);
		out[EBX] = CPU_CRYSTAL_HZ / 1000;
		break;
	default: break;
	}
}

void cpuid_answer(const struct cpuid_view *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 4 * sizeof(out[0]));
	if (leaf >> 16 == HYPERVISOR_LEAF >> 16) {
		hypervisor(v, leaf, out);
		return;
	}
	if (leaf >= EXTENDED_LEAF && leaf <= EXTENDED_MAX) {
		extended(v, leaf, out);
		return;
	}
	/* Beyond the limits Intel's processors answer with the highest basic leaf. */
	basic(v, leaf <= LEAF_MAX ? leaf : LEAF_MAX, subleaf, out);
}
