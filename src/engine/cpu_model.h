// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The CPU models: what a guest's CPU is, the same for every engine and on every host.
 *
 * docs/cpu-model.md argues the choices. A model decides which instructions exist, which bits CR4, EFER
 * and XCR0 take, which MSRs there are, and what CPUID answers; engines must not show a guest more than its model has.
 *
 * A model is one of a list, changed feature by feature if the user wants ("v3,-x2apic"). cpu_features.h is the list of
 * features.
 */
#ifndef SUBRING_ENGINE_CPU_MODEL_H
#define SUBRING_ENGINE_CPU_MODEL_H

#include "engine/cpu_features.h"
#include "host/error.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The one list of models: FIRST(id, help) for the default, then NEXT(id, help). The id is the name as
 * typed after --cpu.
 */
#define CPU_MODELS(FIRST, NEXT)                                                                            \
	FIRST(v3, "the x86-64-v3 level with AES, SHA and the like")                                        \
	NEXT(max, "v3 with 5-level paging, protection keys and MONITOR")                                           \
	NEXT(host, "v3 with what else this host executes, such as AVX-512; its state goes on only where all of that is")
/* "v3, the default: ...; max: ...", a string literal for help texts */
#define CPU_MODEL_FIRST_TEXT(id, help) #id ", the default: " help
#define CPU_MODEL_NEXT_TEXT(id, help)  "; " #id ": " help
#define CPU_MODELS_TEXT CPU_MODELS(CPU_MODEL_FIRST_TEXT, CPU_MODEL_NEXT_TEXT)

/* Room for the text of any model. */
#define CPU_FEATURE_TEXT_(id, name, kind, needs, leaf, reg, bit) + sizeof(",-" name)
enum { CPU_MODEL_TEXT_MAX = 16 CPU_FEATURES(CPU_FEATURE_TEXT_) };

struct cpu_model {
	const char *name; /* of the list's entry that it comes from */
	const char *help;
	unsigned __int128 features; /* bit n: enum cpu_feature n */
	/*
	 * What cpu_model_parse makes this model of: the name and the features that were added or removed, in the list's order
	 * and without those that follow from others, so that models are equal when their texts are.
	 */
	char text[CPU_MODEL_TEXT_MAX];
};
_Static_assert(FEAT_COUNT <= 128, "a bit for each feature");

static inline bool cpu_model_has(const struct cpu_model *m, enum cpu_feature f)
{
	return m->features >> f & 1;
}

/* The list: v3 is the default; NULL at the end. */
extern const struct cpu_model *const cpu_models[];

/* The list's model called @name (NULL: the default), or NULL. */
const struct cpu_model *cpu_model_find(const char *name);

/* Of FEATURE_HOST, what this host has, as bits of cpu_model.features. */
unsigned __int128 cpu_model_host_features(void);

/*
 * The model that @text describes: a name of the list (NULL: the default), then ",-FEATURE" for each one to be taken away, with all
 * that needs it, and ",+FEATURE" for each option or feature of this host. "host" is v3 with all of the latter, and is written out so: a
 * text that a VM was saved with means the same on any host, or cannot be had there. -EINVAL for anything else; @err lists what there is.
 */
int cpu_model_parse(const char *text, struct cpu_model *out, struct error *err);

/* A feature of the list, as tables refer to it. */
struct cpu_feature_info {
	const char *name;
	uint8_t kind; /* enum cpu_feature_kind */
	uint8_t needs; /* enum cpu_feature */
	uint8_t reg, bit; /* enum cpuid_register */
	uint32_t leaf; /* 0: FEAT_BASE, which has no bit */
};

enum cpu_feature_kind { FEATURE_ALWAYS, FEATURE_COMPUTED, FEATURE_MODEL, FEATURE_OPTION, FEATURE_HOST };
enum cpuid_register { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

/* By enum cpu_feature. */
extern const struct cpu_feature_info cpu_feature_list[FEAT_COUNT];

/* False for an MSR that goes with a feature which the model lacks; those of no feature are there. */
bool cpu_model_has_msr(const struct cpu_model *m, uint32_t index);

/* The width of a linear address. */
static inline unsigned cpu_model_linear_bits(const struct cpu_model *m)
{
	return cpu_model_has(m, FEAT_LA57) ? 57 : 48;
}

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

/*
 * Bytes of the XSAVE area for the components in @mask; compacted or standard format (SDM vol. 1, 13.4.2
 * and 13.4.3). In the standard format the components are where Intel's processors have them.
 */
uint32_t xsave_size(uint64_t mask, bool compacted);
enum {
	XSAVE_LEGACY_SIZE = 512, XSAVE_HEADER_SIZE = 64,
	XSAVE_AVX_OFFSET = 576, XSAVE_AVX_SIZE = 256,
	/* AVX-512: opmasks, the upper halves of ZMM0-ZMM15, ZMM16-ZMM31; in the compacted format behind AVX, in one piece if all are there */
	XSAVE_OPMASK_OFFSET = 1088, XSAVE_OPMASK_SIZE = 64,
	XSAVE_ZMM_HI_OFFSET = 1152, XSAVE_ZMM_HI_SIZE = 512,
	XSAVE_HI16_OFFSET = 1664, XSAVE_HI16_SIZE = 1024,
	XSAVE_PKRU_OFFSET = 2688, XSAVE_PKRU_SIZE = 8, /* PKRU itself is the first four bytes */
};
/* Where component @bit (a bit of XCR0, AVX or behind it) of an image with the components @mask is. */
uint32_t xsave_offset(uint64_t mask, uint64_t bit, bool compacted);
static inline uint32_t xsave_pkru_offset(uint64_t mask, bool compacted)
{
	return xsave_offset(mask, 1 << 9, compacted);
}

/* CPUID leaf 1 EAX: family 6, model 0x36, stepping 1. */
enum { CPU_SIGNATURE = 0x00030661 };
/* MAXPHYADDR, as CPUID leaf 80000008H tells it. */
enum { CPU_PHYS_BITS = 46 };
/* The crystal of CPUID leaf 15H, which the local APIC's timer counts. */
enum { CPU_CRYSTAL_HZ = 25000000 };
/* XCR0; XCR0_V3 is what the interpreter keeps of every vCPU. */
enum {
	XCR0_X87 = 1, XCR0_SSE = 2, XCR0_AVX = 4, XCR0_OPMASK = 1 << 5, XCR0_ZMM_HI = 1 << 6, XCR0_HI16_ZMM = 1 << 7,
	XCR0_PKRU = 1 << 9, XCR0_V3 = 7, XCR0_AVX512 = XCR0_OPMASK | XCR0_ZMM_HI | XCR0_HI16_ZMM,
};

/* The bits that XCR0 can hold. */
static inline uint64_t cpu_model_xcr0(const struct cpu_model *m)
{
	if (!cpu_model_has(m, FEAT_XSAVE))
		return XCR0_X87;
	return XCR0_X87 | XCR0_SSE | (cpu_model_has(m, FEAT_AVX) ? XCR0_AVX : 0) |
	       (cpu_model_has(m, FEAT_AVX512F) ? XCR0_AVX512 : 0) | (cpu_model_has(m, FEAT_PKU) ? XCR0_PKRU : 0);
}

/* The components in struct vcpu_state's image; AVX is among them, be it there or not. */
static inline uint64_t cpu_model_image(const struct cpu_model *m)
{
	return XCR0_V3 | (cpu_model_has(m, FEAT_AVX512F) ? XCR0_AVX512 : 0) | (cpu_model_has(m, FEAT_PKU) ? XCR0_PKRU : 0);
}
/* IA32_MISC_ENABLE bit 18: MONITOR is there and shown (SDM vol. 4, table 2-2). */
#define MISC_ENABLE_MONITOR (1ull << 18)

#endif
