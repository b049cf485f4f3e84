// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Engine kvm, table of contents: hardware assistance through /dev/kvm.
 *
 *   kvm.c      create and destroy, interrupt messages, doorbells
 *   routes.c   interrupt routing, eventfds that raise interrupts
 *   slots.c    guest memory, dirty log
 *   vcpu.c     running a vCPU: exits to run-page exits, kicks, ExtINT
 *   debug.c    what a debugger wants
 *   apic.c     the local APIC's page and timer, the TSC, what the VM clock does to them
 *   msr.c      model-specific registers
 *   state.c    KVM's registers <-> struct vcpu_state
 *   cpuid.c    the CPU model, checked against what the host has, as KVM wants it
 *   probe.c    does this host's KVM really run operating systems?
 *
 * A split interrupt controller: the local APICs are the kernel's, everything else the board's.
 */
#ifndef SUBRING_ENGINE_KVM_KVM_H
#define SUBRING_ENGINE_KVM_KVM_H

#include "engine/engine.h"

/* --- probe.c --- */

enum kvm_probe_result { KVM_PROBE_OK, KVM_PROBE_FAILED, KVM_PROBE_SKIPPED };

/* One thing that was tried, in a throw-away VM. */
struct kvm_probe_part {
	const char *name;	/* a few words: "SSE in ring 0" */
	enum kvm_probe_result result;
	char detail[120];	/* what came out, or why it was skipped */
};

enum { KVM_PROBE_PARTS_MAX = 16 };

struct kvm_probe {
	bool usable;		/* boots operating systems, at the speed of hardware */
	char why[160];		/* one line: what decided */
	unsigned count;
	struct kvm_probe_part part[KVM_PROBE_PARTS_MAX];
};

/*
 * Tries /dev/kvm. Takes milliseconds on hardware, at most two seconds on anything else: a timer ends what
 * does not come back. Any thread; no signal handlers are left behind. Never fails: what cannot be tried is a
 * part with its reason. Ends at the first part that fails, unless @all is wanted, for people; where
 * one of the first four fails (there is no KVM, no VM), the others are not tried.
 */
void kvm_probe(struct kvm_probe *probe, bool all);

/* --- kvm.c --- */

/* engine_ops.create */
int kvm_create(const struct engine_config *config, struct engine **out, struct error *err);

#endif
