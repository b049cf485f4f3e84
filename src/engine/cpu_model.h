// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The CPU models: what a guest's CPU is, the same for every engine and on every host.
 *
 * docs/cpu-model.md argues the choices. A model decides which instructions exist, which bits CR4, EFER
 * and XCR0 take, and what CPUID answers; engines must not show a guest more than its model has.
 */
#ifndef SUBRING_ENGINE_CPU_MODEL_H
#define SUBRING_ENGINE_CPU_MODEL_H

#include "host/error.h"

#include <stdbool.h>
#include <stdint.h>

/* The features that decide about instructions, for opcode.feature; cpuid.c gives their CPUID bits. */
enum cpu_feature {
	FEAT_BASE, FEAT_X87, FEAT_MMX, FEAT_SSE, FEAT_SSE2, FEAT_SSE3, FEAT_SSSE3, FEAT_SSE41, FEAT_SSE42,
	FEAT_POPCNT, FEAT_LZCNT, FEAT_BMI1, FEAT_BMI2, FEAT_MOVBE, FEAT_ADX, FEAT_AES, FEAT_PCLMUL, FEAT_SHA,
	FEAT_AVX, FEAT_AVX2, FEAT_FMA, FEAT_F16C, FEAT_XSAVE, FEAT_XSAVEOPT, FEAT_XSAVEC, FEAT_XSAVES,
	FEAT_FSGSBASE, FEAT_RDRAND, FEAT_RDSEED, FEAT_RDTSCP, FEAT_RDPID, FEAT_INVPCID, FEAT_SMAP, FEAT_CX16,
	FEAT_PKU, FEAT_MONITOR,
	FEAT_COUNT
};

struct cpu_model {
	const char *name; /* as typed after --cpu */
	const char *help;
	uint64_t features; /* bit n: enum cpu_feature n */
	bool la57, pks;
};

static inline bool cpu_model_has(const struct cpu_model *m, enum cpu_feature f)
{
	return m->features >> f & 1;
}

/* The list: v3 is the default; NULL at the end. */
extern const struct cpu_model *const cpu_models[];

/* The model called @name (NULL: the default), or NULL. */
const struct cpu_model *cpu_model_find(const char *name);

/* The same; without such a model -EINVAL, and @err lists those there are. */
int cpu_model_choose(const char *name, const struct cpu_model **out, struct error *err);

/* What CPUID's answers depend on. */
struct cpuid_view {
	const struct cpu_model *model;
	unsigned index, count; /* of this vCPU, of vCPUs */
	uint64_t tsc_hz;
	uint64_t cr4, xcr0, xss, apic_base, misc_enable;
	bool mode64; /* CS is 64-bit code */
};

/* EAX, EBX, ECX, EDX. Any thread. */
void cpuid_answer(const struct cpuid_view *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);

/* Bytes of the XSAVE area for the components in @mask; compacted or standard format (SDM vol. 1, 13.4). */
uint32_t xsave_size(uint64_t mask, bool compacted);

/* CPUID leaf 1 EAX: family 6, model 0x36, stepping 1. */
enum { CPU_SIGNATURE = 0x00030661 };
/* MAXPHYADDR, as CPUID leaf 80000008H tells it. */
enum { CPU_PHYS_BITS = 46 };
/* The crystal of CPUID leaf 15H, which the local APIC's timer counts. */
enum { CPU_CRYSTAL_HZ = 25000000 };
/* XCR0 */
enum { XCR0_X87 = 1, XCR0_SSE = 2, XCR0_AVX = 4, XCR0_PKRU = 1 << 9, XCR0_ALL = 7 };

#endif
