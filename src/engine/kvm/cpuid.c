// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CPUID of a vCPU under KVM: the CPU model's answers (engine/cpuid.c) as the table that KVM_SET_CPUID2 wants.
 *
 * The model is checked against KVM_GET_SUPPORTED_CPUID first. A feature that the host lacks is an error that names
 * it, for a guest that had seen it cannot do without it on another host; with the option features=host it is left out.
 * What KVM computes itself as the guest runs: OSXSAVE, OSPKE, the APIC bit, the size of XSAVE's image.
 *
 * Invariant: a guest sees nothing that its model lacks.
 */
#include "engine/kvm/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EAX = CPUID_EAX, EBX = CPUID_EBX, ECX = CPUID_ECX, EDX = CPUID_EDX };

/* What becomes of a bit that KVM_GET_SUPPORTED_CPUID does not have. */
enum lacking {
	REQUIRED, /* an error */
	TOLD,	  /* shown all the same: KVM's local APIC and the VM clock make it true, or it is only about speed */
	HIDDEN,	  /* left out without a word */
};

static enum lacking lacking(enum cpu_feature f)
{
	switch (f) {
	case FEAT_APIC:
	case FEAT_HT:
	case FEAT_X2APIC:
	case FEAT_TSC_DEADLINE:
	case FEAT_HYPERVISOR:
	case FEAT_ARAT:
	case FEAT_ERMS:
	case FEAT_FSRM:
	case FEAT_INVARIANT_TSC: return TOLD;
	case FEAT_NO_FCS_FDS:
	case FEAT_ARCH_CAPABILITIES:
	case FEAT_KVM_CLOCK ... FEAT_KVM_PV_SCHED_YIELD: return HIDDEN;
	default: return REQUIRED;
	}
}

/* Registers of leaves that hold features, as a mask of registers; of the others KVM need know nothing. */
static unsigned feature_registers(uint32_t leaf, uint32_t sub)
{
	switch (leaf) {
	case 1:
	case 0x80000001: return 1 << ECX | 1 << EDX;
	case 6: return 1 << EAX;
	case 7: return sub == 0 ? 1 << EBX | 1 << ECX | 1 << EDX : sub == 1 ? 1 << EAX : 0;
	case 0xd: return sub == 1 ? 1 << EAX : 0;
	case 0x80000007: return 1 << EDX;
	case 0x40000001: return 1 << EAX;
	default: return 0;
	}
}

/* FEAT_BASE: nobody's bit. */
static enum cpu_feature find_feature(uint32_t leaf, unsigned reg, unsigned bit)
{
	for (unsigned f = FEAT_BASE + 1; f < FEAT_COUNT; f++)
		if (cpu_feature_list[f].leaf == leaf && cpu_feature_list[f].reg == reg && cpu_feature_list[f].bit == bit)
			return f;
	return FEAT_BASE;
}

static const struct kvm_cpuid_entry2 *find_leaf(const struct kvm_cpuid2 *list, uint32_t leaf, uint32_t sub)
{
	for (uint32_t i = 0; i < list->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &list->entries[i];

		if (e->function == leaf && (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == sub))
			return e;
	}
	return NULL;
}

/* Features that the host lacks, as a list of names. */
struct missing {
	char names[200];
	unsigned count;
};

static void add_missing(struct missing *m, enum cpu_feature f, uint32_t leaf, unsigned reg, unsigned bit)
{
	size_t n = strlen(m->names);
	const char *comma = n ? ", " : "";

	m->count++;
	if (f)
		snprintf(m->names + n, sizeof(m->names) - n, "%s%s", comma, cpu_feature_list[f].name);
	else
		snprintf(m->names + n, sizeof(m->names) - n, "%sCPUID %x %.3s bit %u", comma, leaf, &"eaxebxecxedx"[reg * 3], bit);
}

/* Compares one leaf, and takes out of @out what must not be shown. */
static void check_leaf(const struct kvm_cpuid2 *host, uint32_t leaf, uint32_t sub, uint32_t out[4], struct missing *m)
{
	static const uint32_t none[4];
	const struct kvm_cpuid_entry2 *e = find_leaf(host, leaf, sub);
	const uint32_t *have = e ? &e->eax : none;
	unsigned registers = feature_registers(leaf, sub);

	for (unsigned reg = 0; reg < 4; reg++) {
		uint32_t lacks = registers >> reg & 1 ? out[reg] & ~have[reg] : 0;

		for (; lacks; lacks &= lacks - 1) {
			unsigned bit = (unsigned)__builtin_ctz(lacks);
			enum cpu_feature f = find_feature(leaf, reg, bit);

			if (lacking(f) == TOLD)
				continue;
			out[reg] &= ~(1u << bit);
			if (lacking(f) == REQUIRED)
				add_missing(m, f, leaf, reg, bit);
		}
	}
}

static struct kvm_cpuid2 *host_cpuid(int sys, int *error)
{
	for (uint32_t n = 128; n <= 4096; n *= 2) {
		struct kvm_cpuid2 *list = calloc(1, sizeof(*list) + n * sizeof(list->entries[0]));

		if (!list)
			break;
		list->nent = n;
		*error = kvm_ioctl(sys, KVM_GET_SUPPORTED_CPUID, list);
		if (*error >= 0)
			return list;
		free(list);
		if (*error != -E2BIG)
			return NULL;
	}
	*error = -ENOMEM;
	return NULL;
}

/* One table entry. */
static void add(struct kvm_cpuid2 *list, const struct cpuid_view *view, const struct kvm_cpuid2 *host, uint32_t leaf,
		uint32_t sub, bool indexed, struct missing *m)
{
	struct kvm_cpuid_entry2 *e = &list->entries[list->nent];
	uint32_t out[4];

	if (list->nent == KVM_CPUID_MAX)
		return;
	cpuid_answer(view, leaf, sub, out);
	check_leaf(host, leaf, sub, out, m);
	/* Without the components themselves their XCR0 bits would fault in the host. */
	if (leaf == 0xd && sub == 0) {
		const struct kvm_cpuid_entry2 *h = find_leaf(host, 0xd, 0);

		out[EAX] &= h ? h->eax : 1;
	}
	if (!indexed || out[0] || out[1] || out[2] || out[3]) {
		*e = (struct kvm_cpuid_entry2){ .function = leaf, .index = sub, .eax = out[0], .ebx = out[1], .ecx = out[2],
						.edx = out[3], .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0 };
		list->nent++;
	}
}

static void build(struct kvm_cpuid2 *list, const struct cpuid_view *view, const struct kvm_cpuid2 *host, struct missing *m)
{
	uint32_t out[4], basic_max, hypervisor_max, extended_max;

	cpuid_answer(view, 0, 0, out);
	basic_max = out[EAX];
	cpuid_answer(view, 0x80000000, 0, out);
	extended_max = out[EAX];
	list->nent = 0;
	for (uint32_t leaf = 0; leaf <= basic_max; leaf++) {
		bool indexed = leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd;

		for (uint32_t sub = 0; sub < (indexed ? 10 : 1); sub++)
			add(list, view, host, leaf, sub, indexed, m);
	}
	cpuid_answer(view, 0x40000000, 0, out);
	hypervisor_max = out[EAX];
	for (uint32_t leaf = 0x40000000; leaf <= hypervisor_max; leaf++)
		if (leaf <= 0x40000001 || leaf == 0x40000010)
			add(list, view, host, leaf, 0, false, m);
	for (uint32_t leaf = 0x80000000; leaf <= extended_max; leaf++)
		add(list, view, host, leaf, 0, false, m);
}

static int set_all(struct kvm_engine *e, const struct kvm_cpuid2 *host, bool lenient, struct kvm_cpuid2 *list, struct error *err)
{
	for (unsigned i = 0; i < e->base.vcpu_count; i++) {
		struct missing m = { 0 };
		struct cpuid_view view = {
			.model = e->model,
			.index = i,
			.count = e->base.vcpu_count,
			.tsc_hz = e->base.clock->tsc_hz,
			.xcr0 = 1,
			.apic_base = 1 << 11,
			.misc_enable = MISC_ENABLE_MONITOR,
			.mode64 = true,
		};
		const struct kvm_cpuid_entry2 *d;
		int r;

		build(list, &view, host, &m);
		if (m.count && !lenient)
			return error_set(err, -ENOTSUP, STATUS_HOST, "cannot give the guest a CPU of the model %s",
					 "this host's KVM lacks: %s",
					 "use --engine soft, which has them all, or --engine kvm,features=host to do without",
					 e->model->text, m.names);
		r = kvm_ioctl(e->vcpu[i].fd, KVM_SET_CPUID2, list);
		if (r)
			return error_set(err, r, STATUS_HOST, "cannot give the guest a CPU of the model %s", "KVM_SET_CPUID2: %s",
					 "use --engine soft", e->model->text, strerror(-r));
		d = find_leaf(list, 0xd, 0);
		e->caps.xcr0 = d && d->eax & 1 ? d->eax : 3;
	}
	return 0;
}

/*
 * Linux takes VMCALL where the vendor is Intel. On a processor of AMD's that is #UD, or KVM writes VMMCALL in its place with the guest's rights,
 * which a kernel's text does not give. So a guest has no hypercalls there.
 */
static void hide_hypercalls(struct kvm_cpuid2 *host)
{
	const uint32_t calls = 1u << cpu_feature_list[FEAT_KVM_PV_UNHALT].bit | 1u << cpu_feature_list[FEAT_KVM_PV_IPI].bit |
			       1u << cpu_feature_list[FEAT_KVM_PV_SCHED_YIELD].bit;

	for (uint32_t i = 0; i < host->nent; i++)
		if (host->entries[i].function == 0x40000001)
			host->entries[i].eax &= ~calls;
}

int kvm_cpuid_init(struct kvm_engine *e, bool lenient, struct error *err)
{
	int r;
	struct kvm_cpuid2 *host = host_cpuid(e->sys, &r);
	struct kvm_cpuid2 *list = calloc(1, sizeof(*list) + KVM_CPUID_MAX * sizeof(list->entries[0]));

	/* Where its components are in the standard XSAVE format is the processor's to say, and state.c wants them where cpu_model.h has them. */
	if (cpu_model_has(e->model, FEAT_AVX512F)) {
		free(host);
		free(list);
		return error_set(err, -ENOTSUP, STATUS_HOST, "cannot give the guest a CPU of the model %s", "%s",
				 "use --engine soft, or --cpu host,-avx512f", e->model->text, "engine kvm does not keep AVX-512's registers");
	}
	if (host && !e->caps.vmcall)
		hide_hypercalls(host);
	if (!host || !list)
		r = error_set(err, host ? -ENOMEM : r, STATUS_HOST, "cannot ask KVM for the CPU features that it has", "%s",
			      "use --engine soft", strerror(host ? ENOMEM : -r));
	else
		r = set_all(e, host, lenient, list, err);
	free(list);
	free(host);
	return r;
}
