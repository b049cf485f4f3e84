// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Model-specific registers under KVM: those of struct vcpu_state, and which ones a guest may touch at all.
 *
 * A guest sees the same MSRs on every engine: the list of docs/cpu-model.md. What KVM has besides is denied with an
 * MSR filter, where the host has those; the access then leaves as ENGINE_EXIT_MSR, as one of an MSR that nobody
 * knows does, and the monitor decides.
 *
 * An MSR of the table that a host's KVM lacks keeps its value here; it must be the one after RESET, or loading fails,
 * since the guest would find out.
 */
#include "engine/kvm/private.h"

#include <errno.h>
#include <string.h>

/* One of struct vcpu_state's. */
struct msr_field {
	uint32_t index;
	uint16_t offset;
	uint64_t reset;
};

#define MSR(i, member, value) { i, offsetof(struct vcpu_state, member), value }
#define MTRR_PAIR(n)                                                                                           \
	{ 0x200 + 2 * (n), offsetof(struct vcpu_state, mtrr_physbase) + 8 * (n), 0 },                          \
	{ 0x201 + 2 * (n), offsetof(struct vcpu_state, mtrr_physmask) + 8 * (n), 0 }
#define MTRR_FIXED(i, n) { i, offsetof(struct vcpu_state, mtrr_fixed) + 8 * (n), 0 }

static const struct msr_field fields[] = {
	MSR(0xc0000081, star, 0),
	MSR(0xc0000082, lstar, 0),
	MSR(0xc0000083, cstar, 0),
	MSR(0xc0000084, sfmask, 0),
	MSR(0xc0000102, kernel_gs_base, 0),
	MSR(0x174, sysenter_cs, 0),
	MSR(0x175, sysenter_esp, 0),
	MSR(0x176, sysenter_eip, 0),
	MSR(0x277, pat, 0x0007040600070406),
	MSR(0xc0000103, tsc_aux, 0),
	MSR(0x3b, tsc_adjust, 0),
	MSR(0x1a0, misc_enable, 0x1801),
	MSR(0xda0, xss, 0),
	MSR(0x48, spec_ctrl, 0),
	MSR(0x1d9, debugctl, 0),
	MSR(0x2ff, mtrr_def_type, 0),
	MSR(0x9e, smbase, 0x30000),
	MSR(0x6e1, pkrs, 0),
	MSR(0x17a, mcg_status, 0),
	MSR(0x17b, mcg_ctl, 0),
	/* KVM's paravirtual interfaces: engine/soft/pv/ has them too */
	MSR(0x4b564d00, pv_wall_clock, 0),
	MSR(0x4b564d01, pv_system_time, 0),
	MSR(0x4b564d03, pv_steal_time, 0),
	MSR(0x4b564d04, pv_eoi, 0),
	MTRR_PAIR(0), MTRR_PAIR(1), MTRR_PAIR(2), MTRR_PAIR(3), MTRR_PAIR(4), MTRR_PAIR(5), MTRR_PAIR(6), MTRR_PAIR(7),
	MTRR_FIXED(0x250, 0), MTRR_FIXED(0x258, 1), MTRR_FIXED(0x259, 2), MTRR_FIXED(0x268, 3), MTRR_FIXED(0x269, 4),
	MTRR_FIXED(0x26a, 5), MTRR_FIXED(0x26b, 6), MTRR_FIXED(0x26c, 7), MTRR_FIXED(0x26d, 8), MTRR_FIXED(0x26e, 9),
	MTRR_FIXED(0x26f, 10),
};
enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };
_Static_assert((int)FIELDS <= (int)KVM_MSRS_MAX, "room for the values of all");

/* What else a guest may touch: constants, what the local APIC and KVM keep, segment bases, EFER, the TSC. */
static const struct msr_range {
	uint32_t first, last;
} others[] = {
	{ 0x0, 0x1 }, { 0x10, 0x12 }, { 0x17, 0x17 }, { 0x1b, 0x1b }, { 0x79, 0x79 }, { 0x8b, 0x8b }, { 0xfe, 0xfe },
	{ 0x10a, 0x10a }, { 0x179, 0x179 }, { 0x6e0, 0x6e0 }, { 0xc0000080, 0xc0000080 }, { 0xc0000100, 0xc0000101 },
};
/* In the table for the state's sake, but not in the model: no SPEC_CTRL, no SMBASE outside SMM, no MCG_CTL. */
static bool hidden(uint32_t index)
{
	return index == 0x48 || index == 0x9e || index == 0x17b;
}

/* struct kvm_msrs with room. */
struct msr_list {
	uint32_t count, pad;
	struct kvm_msr_entry entry[KVM_MSRS_MAX];
};
_Static_assert(offsetof(struct msr_list, entry) == offsetof(struct kvm_msrs, entries), "KVM's layout");

static uint64_t *field_of(struct vcpu_state *s, const struct msr_field *f)
{
	return (uint64_t *)((char *)s + f->offset);
}

int kvm_msr_read_one(struct kvm_vcpu *v, uint32_t index, uint64_t *value)
{
	struct msr_list list = { .count = 1, .entry[0].index = index };
	int r = kvm_ioctl(v->fd, KVM_GET_MSRS, &list);

	*value = list.entry[0].data;
	return r < 0 ? r : r == 1 ? 0 : -ENOENT;
}

int kvm_msr_write_one(struct kvm_vcpu *v, uint32_t index, uint64_t value)
{
	struct msr_list list = { .count = 1, .entry[0] = { .index = index, .data = value } };
	int r = kvm_ioctl(v->fd, KVM_SET_MSRS, &list);

	return r < 0 ? r : r == 1 ? 0 : -EINVAL;
}

/* --- the filter --- */

struct msr_bitmap {
	uint32_t base, count;
	uint8_t bits[0x2000 / 8];
};

static void allow(struct msr_bitmap *map, unsigned maps, uint32_t index)
{
	for (unsigned i = 0; i < maps; i++)
		if (index - map[i].base < map[i].count)
			map[i].bits[(index - map[i].base) / 8] |= (uint8_t)(1 << (index - map[i].base) % 8);
}

static int set_filter(struct kvm_engine *e)
{
	struct msr_bitmap map[] = { { .base = 0, .count = 0x2000 }, { .base = 0xc0000000, .count = 0x2000 },
				    { .base = 0x4b564d00, .count = 0x100 } };
	enum { MAPS = sizeof(map) / sizeof(map[0]) };
	struct kvm_msr_filter filter = { .flags = KVM_MSR_FILTER_DEFAULT_DENY };

	for (unsigned i = 0; i < FIELDS; i++)
		if (!hidden(fields[i].index) && cpu_model_has_msr(e->model, fields[i].index))
			allow(map, MAPS, fields[i].index);
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		for (uint32_t index = others[i].first; index <= others[i].last; index++)
			if (cpu_model_has_msr(e->model, index))
				allow(map, MAPS, index);
	for (unsigned i = 0; i < MAPS; i++)
		filter.ranges[i] = (struct kvm_msr_filter_range){ .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
								  .base = map[i].base,
								  .nmsrs = map[i].count,
								  .bitmap = map[i].bits };
	return kvm_ioctl(e->vm, KVM_X86_SET_MSR_FILTER, &filter);
}

/* Constants that KVM lets us choose; a host that does not keeps its own. */
static void set_constants(struct kvm_vcpu *v)
{
	uint64_t host;

	kvm_msr_write_one(v, 0x8b, 1ull << 32); /* microcode revision */
	/*
	 * IA32_ARCH_CAPABILITIES: KVM's initial value is what this host's processor can say of itself. Bits that are not
	 * denials of a weakness (TSX_CTRL, FB_CLEAR and the like) stand for registers that the model lacks.
	 */
	if (!kvm_msr_read_one(v, 0x10a, &host))
		kvm_msr_write_one(v, 0x10a, host & (1ull << 0 | 1ull << 3 | 1ull << 4 | 1ull << 5 | 1ull << 6 | 1ull << 8 |
						    1ull << 13 | 1ull << 14 | 1ull << 15 | 1ull << 20 | 1ull << 24 |
						    1ull << 26 | 1ull << 27 | 1ull << 62));
}

int kvm_msr_init(struct kvm_engine *e)
{
	e->msr_missing = 0;
	for (unsigned i = 0; i < FIELDS; i++) {
		uint64_t value;

		if (kvm_msr_read_one(&e->vcpu[0], fields[i].index, &value) ||
		    kvm_msr_write_one(&e->vcpu[0], fields[i].index, fields[i].reset))
			e->msr_missing |= 1ull << i;
	}
	for (unsigned n = 0; n < e->base.vcpu_count; n++) {
		set_constants(&e->vcpu[n]);
		for (unsigned i = 0; i < FIELDS; i++)
			e->vcpu[n].shadow_msr[i] = fields[i].reset;
	}
	return e->caps.msr_filter && e->caps.user_msr ? set_filter(e) : 0;
}

/* --- state --- */

int kvm_msr_get(struct kvm_vcpu *v, struct vcpu_state *s)
{
	struct msr_list list = { 0 };
	unsigned n = 0;
	int r;

	for (unsigned i = 0; i < FIELDS; i++)
		if (!(v->engine->msr_missing >> i & 1))
			list.entry[n++].index = fields[i].index;
	list.count = n;
	r = kvm_ioctl(v->fd, KVM_GET_MSRS, &list);
	if (r != (int)n)
		return r < 0 ? r : -EIO;
	n = 0;
	for (unsigned i = 0; i < FIELDS; i++)
		*field_of(s, &fields[i]) = v->engine->msr_missing >> i & 1 ? v->shadow_msr[i] : list.entry[n++].data;
	return 0;
}

int kvm_msr_set(struct kvm_vcpu *v, const struct vcpu_state *s)
{
	struct msr_list list = { 0 };
	unsigned n = 0;
	int r;

	for (unsigned i = 0; i < FIELDS; i++) {
		uint64_t value = *field_of((struct vcpu_state *)s, &fields[i]);

		if (v->engine->msr_missing >> i & 1) {
			if (value != fields[i].reset)
				return -ENOTSUP;
			v->shadow_msr[i] = value;
		} else {
			list.entry[n++] = (struct kvm_msr_entry){ .index = fields[i].index, .data = value };
		}
	}
	list.count = n;
	r = kvm_ioctl(v->fd, KVM_SET_MSRS, &list);
	return r == (int)n ? 0 : r < 0 ? r : -EINVAL;
}
