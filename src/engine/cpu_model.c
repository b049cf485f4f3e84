// SPDX-License-Identifier: GPL-2.0-or-later
/* The list of CPU models, and models that the user has changed. */
#include "engine/cpu_model.h"

#include <cpuid.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef unsigned __int128 feature_set;

#define BIT(f) ((feature_set)1 << FEAT_##f)

const struct cpu_feature_info cpu_feature_list[FEAT_COUNT] = {
#define FEATURE(id, n, k, on, l, r, b)                                                                              \
	[FEAT_##id] = { .name = n, .kind = FEATURE_##k, .needs = FEAT_##on, .reg = CPUID_##r, .bit = b, .leaf = l },
	CPU_FEATURES(FEATURE)
#undef FEATURE
};

/* What each model of the list has, by its id. */
#define IS_ALWAYS 0
#define IS_COMPUTED 0
#define IS_MODEL 0
#define IS_OPTION 0
#define IS_HOST 1
#define IF_HOST(id, n, k, on, l, r, b) | (feature_set)IS_##k << FEAT_##id
#define HOST_FEATURES ((feature_set)0 CPU_FEATURES(IF_HOST))
#define ALL_FEATURES ((((feature_set)1 << FEAT_COUNT) - 1) & ~HOST_FEATURES)

/* psABI x86-64-v3 and what docs/cpu-model.md adds to it */
#define WHAT_v3 .features = ALL_FEATURES & ~(BIT(PKU) | BIT(PKS) | BIT(LA57) | BIT(MONITOR))
/* everything that the engine knows, whatever the host */
#define WHAT_max .features = ALL_FEATURES
/* cpu_model_parse adds what the host has */
#define WHAT_host WHAT_v3

#define DEFINE(id, words) \
	static const struct cpu_model model_##id = { .name = #id, .help = words, .text = #id, WHAT_##id };
CPU_MODELS(DEFINE, DEFINE)

#define ADDRESS(id, words) &model_##id,
const struct cpu_model *const cpu_models[] = { CPU_MODELS(ADDRESS, ADDRESS) NULL };

const struct cpu_model *cpu_model_find(const char *name)
{
	if (!name)
		return cpu_models[0];
	for (const struct cpu_model *const *m = cpu_models; *m; m++) {
		if (!strcmp((*m)->name, name))
			return *m;
	}
	return NULL;
}

/* --- what the host has --- */

feature_set cpu_model_host_features(void)
{
	unsigned leaf7[4] = { 0 }, leaf71[4] = { 0 }, a, b, c, d, low = 0, high = 0;
	feature_set have = 0;

	__cpuid(1, a, b, c, d);
	(void)a, (void)b, (void)d;
	if (c >> 27 & 1) /* OSXSAVE */
		__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	if (__get_cpuid_count(7, 0, &leaf7[0], &leaf7[1], &leaf7[2], &leaf7[3]) && leaf7[0])
		__get_cpuid_count(7, 1, &leaf71[0], &leaf71[1], &leaf71[2], &leaf71[3]);
	for (unsigned f = FEAT_BASE + 1; f < FEAT_COUNT; f++) {
		const struct cpu_feature_info *i = &cpu_feature_list[f];

		if (i->kind == FEATURE_HOST && (i->leaf == 7 ? leaf7 : leaf71)[i->reg] >> i->bit & 1)
			have |= (feature_set)1 << f;
	}
	/* What moves the registers about takes these for granted. */
	if (!(have & BIT(AVX512BW)) || !(have & BIT(AVX512DQ)) || !(have & BIT(AVX512VL)))
		have &= ~BIT(AVX512F); /* settle() takes what needs it */
	if ((low & (XCR0_AVX512 | XCR0_AVX | XCR0_SSE)) != (XCR0_AVX512 | XCR0_AVX | XCR0_SSE))
		have &= ~BIT(AVX512F);
	return have;
}

/* --- "MODEL,-FEATURE,+FEATURE" --- */

struct changes {
	feature_set less, more; /* as typed */
};

/* Other names that people know features by. */
static const struct {
	const char *name;
	enum cpu_feature feature;
} aliases[] = {
	{ "pni", FEAT_SSE3 }, { "sse4-1", FEAT_SSE41 }, { "sse4-2", FEAT_SSE42 }, { "abm", FEAT_LZCNT },
	{ "sha-ni", FEAT_SHA },
};

/* An underscore is as good as a dash: QEMU takes both. */
static bool same_name(const char *name, const char *typed, size_t len)
{
	if (strlen(name) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] != (typed[i] == '_' ? '-' : typed[i]))
			return false;
	return true;
}

/* enum cpu_feature, or FEAT_COUNT */
static unsigned find_feature(const char *typed, size_t len)
{
	for (unsigned f = FEAT_BASE + 1; f < FEAT_COUNT; f++)
		if (same_name(cpu_feature_list[f].name, typed, len))
			return f;
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
		if (same_name(aliases[i].name, typed, len))
			return aliases[i].feature;
	return FEAT_COUNT;
}

static void append(char *list, size_t size, const char *separator, const char *word)
{
	size_t n = strlen(list);

	snprintf(list + n, size - n, "%s%s", n ? separator : "", word);
}

static void list_features(char *list, size_t size, enum cpu_feature_kind kind)
{
	list[0] = '\0';
	for (unsigned f = FEAT_BASE + 1; f < FEAT_COUNT; f++)
		if (cpu_feature_list[f].kind == kind)
			append(list, size, " ", cpu_feature_list[f].name);
}

static int unknown_model(const char *typed, size_t len, struct error *err)
{
	char names[128] = "";

	for (const struct cpu_model *const *m = cpu_models; *m; m++)
		append(names, sizeof(names), ", ", (*m)->name);
	return error_set(err, -EINVAL, STATUS_USAGE, "there is no CPU model \"%.*s\"", "this version has: %s",
			 "leave --cpu out, or use one of them", (int)len, typed, names);
}

/* @sign: of the word; another character: it has none. */
static int not_a_change(char sign, const char *typed, size_t len, struct error *err)
{
	char less[CPU_MODEL_TEXT_MAX], more[64];
	unsigned f = find_feature(typed, len);

	list_features(less, sizeof(less), FEATURE_MODEL);
	list_features(more, sizeof(more), FEATURE_OPTION);
	if (sign != '-' && sign != '+')
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot understand \"%.*s\" after the CPU model",
				 "-FEATURE takes a feature away, +FEATURE adds one of: %s", "write it as in --cpu v3,-x2apic,+pku",
				 (int)len, typed, more);
	if (sign == '+' && f < FEAT_COUNT && cpu_feature_list[f].kind == FEATURE_HOST)
		return error_set(err, -ENOTSUP, STATUS_HOST, "cannot add %s to a CPU model", "%s",
				 "use a host that has it, or leave it out", cpu_feature_list[f].name, "this host's processor does not have it");
	if (sign == '+')
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot add \"%.*s\" to a CPU model", "what can be added is: %s",
				 "leave it out: what else a CPU model can have it has", (int)len, typed, more);
	return error_set(err, -EINVAL, STATUS_USAGE, "there is no CPU feature \"%.*s\" to take away", "these can be: %s %s",
			 "use one of them; docs/cpu-model.md says what each is", (int)len, typed, less, more);
}

/* One word behind the model's name. */
static int read_change(const char *word, size_t len, struct changes *c, struct error *err)
{
	char sign = len ? word[0] : 0;
	unsigned f = len > 1 ? find_feature(word + 1, len - 1) : FEAT_COUNT;
	const struct cpu_feature_info *info = &cpu_feature_list[f < FEAT_COUNT ? f : FEAT_BASE];
	feature_set bit;
	bool addable = info->kind == FEATURE_OPTION || (info->kind == FEATURE_HOST && cpu_model_host_features() >> f & 1);

	if ((sign != '-' && sign != '+') || f == FEAT_COUNT || (sign == '+' && !addable))
		return not_a_change(sign, sign == '-' || sign == '+' ? word + 1 : word, sign == '-' || sign == '+' ? len - 1 : len, err);
	if (sign == '-' && (info->kind == FEATURE_ALWAYS || info->kind == FEATURE_COMPUTED))
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot take %s from a CPU model", "%s",
				 "leave it in", info->name, "no processor with 64-bit mode, as these models are, does without it");
	bit = (feature_set)1 << f;
	*(sign == '-' ? &c->less : &c->more) |= bit;
	if (c->less & c->more & bit)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot make that CPU model", "%s is both added and taken away",
				 "say one of the two", info->name);
	return 0;
}

/* What is left of @have when everything goes whose need is not met. The list has needs before what needs them. */
static feature_set settle(feature_set have)
{
	for (unsigned f = FEAT_BASE + 1; f < FEAT_COUNT; f++)
		if (!(have >> cpu_feature_list[f].needs & 1))
			have &= ~((feature_set)1 << f);
	return have;
}

static void write_text(struct cpu_model *m, const struct cpu_model *from)
{
	feature_set left = from->features;

	snprintf(m->text, sizeof(m->text), "%s", from->name);
	for (unsigned f = FEAT_BASE + 1; f < FEAT_COUNT; f++) {
		feature_set bit = (feature_set)1 << f;

		if (!((left ^ m->features) & bit))
			continue;
		append(m->text, sizeof(m->text), m->features & bit ? ",+" : ",-", cpu_feature_list[f].name);
		left = m->features & bit ? left | bit : settle(left & ~bit);
	}
}

int cpu_model_parse(const char *text, struct cpu_model *out, struct error *err)
{
	struct changes c = { 0 };
	feature_set natural = 0;
	const struct cpu_model *from = NULL;
	size_t len = text ? strcspn(text, ",") : 0;

	if (!text) {
		*out = *cpu_models[0];
		return 0;
	}
	for (const struct cpu_model *const *m = cpu_models; *m && !from; m++)
		if (strlen((*m)->name) == len && !memcmp((*m)->name, text, len))
			from = *m;
	if (!from)
		return unknown_model(text, len, err);
	for (text += len; *text; text += len) {
		int r;

		len = strcspn(++text, ",");
		r = read_change(text, len, &c, err);
		if (r)
			return r;
	}
	if (from == &model_host) {
		from = &model_v3;
		natural = cpu_model_host_features();
	}
	*out = *from;
	out->features = settle((from->features | natural | c.more) & ~c.less);
	for (unsigned f = 0; f < FEAT_COUNT; f++)
		if (c.more & ~out->features & (feature_set)1 << f)
			return error_set(err, -EINVAL, STATUS_USAGE, "cannot add %s to that CPU model", "it needs %s, which is not there",
					 "add that, too, or leave it out", cpu_feature_list[f].name,
					 cpu_feature_list[cpu_feature_list[f].needs].name);
	write_text(out, from);
	return 0;
}

/* --- MSRs --- */

bool cpu_model_has_msr(const struct cpu_model *m, uint32_t index)
{
	switch (index) {
	case 0x11 ... 0x12: return cpu_model_has(m, FEAT_KVM_CLOCK_OLD);
	case 0x4b564d00 ... 0x4b564d01: return cpu_model_has(m, FEAT_KVM_CLOCK);
	case 0x4b564d03: return cpu_model_has(m, FEAT_KVM_STEAL_TIME);
	case 0x4b564d04: return cpu_model_has(m, FEAT_KVM_PV_EOI);
	case 0x0: /* the P5 machine-check pair */
	case 0x1: return cpu_model_has(m, FEAT_MCE);
	case 0x3b: return cpu_model_has(m, FEAT_TSC_ADJUST);
	case 0xfe: /* MTRRs */
	case 0x200 ... 0x20f:
	case 0x250:
	case 0x258 ... 0x259:
	case 0x268 ... 0x26f:
	case 0x2ff: return cpu_model_has(m, FEAT_MTRR);
	case 0x10a: return cpu_model_has(m, FEAT_ARCH_CAPABILITIES);
	case 0x174 ... 0x176: return cpu_model_has(m, FEAT_SEP);
	case 0x179 ... 0x17b: return cpu_model_has(m, FEAT_MCA);
	case 0x6e0: return cpu_model_has(m, FEAT_TSC_DEADLINE);
	case 0x6e1: return cpu_model_has(m, FEAT_PKS);
	case 0x800 ... 0x8ff: return cpu_model_has(m, FEAT_X2APIC);
	case 0xda0: return cpu_model_has(m, FEAT_XSAVES);
	case 0xc0000103: return cpu_model_has(m, FEAT_RDTSCP) || cpu_model_has(m, FEAT_RDPID);
	default: return true;
	}
}
