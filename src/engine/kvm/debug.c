// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A debugger's wishes under KVM (KVM_SET_GUEST_DEBUG): single steps, and breakpoints and watches in the processor's four
 * debug registers (SDM vol. 3, 17.2), which the guest does not have for itself meanwhile.
 *
 * More breakpoints than that would have to be written into the guest's code, where the guest would see them: the fifth
 * is -ENOSPC.
 */
#include "engine/kvm/private.h"

#include <errno.h>
#include <string.h>

enum { SLOTS = 4, DR7_FIXED = 0x400, DR7_EXACT = 0x300, DR6_BS = 1 << 14 };
enum { RW_EXECUTE = 0, RW_WRITE = 1, RW_READ_WRITE = 3 };

/* DR7's length field; -1: a debug register cannot watch this. */
static int length_field(const struct engine_watch *w)
{
	if (w->linear % w->len)
		return -1;
	switch (w->len) {
	case 1: return 0;
	case 2: return 1;
	case 4: return 3;
	case 8: return 2;
	default: return -1;
	}
}

static uint64_t dr7_bits(unsigned n, unsigned rw, unsigned len)
{
	return 2ull << n * 2 | (uint64_t)(rw | len << 2) << (16 + n * 4);
}

int kvm_vcpu_debug(struct engine_vcpu *base, const struct engine_debug *debug)
{
	struct kvm_vcpu *v = kvm_vcpu_of(base);
	struct kvm_guest_debug k = { 0 };
	unsigned n = 0;
	int r;

	if (debug->count > SLOTS || debug->watch_count > SLOTS || debug->count + debug->watch_count > SLOTS)
		return -ENOSPC;
	k.arch.debugreg[7] = DR7_FIXED;
	for (unsigned i = 0; i < debug->count; i++, n++) {
		k.arch.debugreg[n] = debug->breakpoint[i];
		k.arch.debugreg[7] |= dr7_bits(n, RW_EXECUTE, 0);
	}
	for (unsigned i = 0; i < debug->watch_count; i++, n++) {
		const struct engine_watch *w = &debug->watch[i];
		int len = w->len ? length_field(w) : -1;

		if (len < 0)
			return -EINVAL;
		k.arch.debugreg[n] = w->linear;
		k.arch.debugreg[7] |= dr7_bits(n, w->load ? RW_READ_WRITE : RW_WRITE, (unsigned)len);
	}
	if (n)
		k.arch.debugreg[7] |= DR7_EXACT;
	k.control = (debug->step || n ? KVM_GUESTDBG_ENABLE : 0) | (debug->step ? KVM_GUESTDBG_SINGLESTEP : 0) |
		    (n ? KVM_GUESTDBG_USE_HW_BP : 0);
	r = kvm_ioctl(v->fd, KVM_SET_GUEST_DEBUG, &k);
	if (!r)
		v->debug = *debug;
	return r;
}

void kvm_debug_leave(struct kvm_vcpu *v)
{
	const struct kvm_debug_exit_arch *arch = &v->kr->debug.arch;
	struct run_page *run = v->base.run;
	unsigned hit = (unsigned)__builtin_ctz((unsigned)(arch->dr6 & 15) | 16);

	run->exit = ENGINE_EXIT_DEBUG;
	run->debug.rip = arch->pc;
	run->debug.dr6 = arch->dr6;
	run->debug.step = (arch->dr6 & DR6_BS) != 0;
	run->debug.linear = 0;
	if (hit >= v->debug.count && hit < v->debug.count + v->debug.watch_count) {
		run->debug.step = 2;
		run->debug.linear = v->debug.watch[hit - v->debug.count].linear;
	}
}
