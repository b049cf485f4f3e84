// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the files of engine kvm share. KVM's interface is Linux's Documentation/virt/kvm/api.rst.
 *
 * Who touches what: a vCPU's descriptor is used by the thread that runs it, and by others only while it is
 * stopped, for KVM holds a lock of the vCPU all through KVM_RUN: an ioctl from elsewhere would wait for the guest.
 * What other threads ask of a running vCPU (kick, NMI, SMI) goes through `req` and the kick signal.
 */
#ifndef SUBRING_ENGINE_KVM_PRIVATE_H
#define SUBRING_ENGINE_KVM_PRIVATE_H

#include "engine/kvm/kvm.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

/* Newer than the headers of the oldest kernel that this is built with. */
#define SUBRING_KVM_CAP_X86_APIC_BUS_CYCLES_NS 237

/* KVM keeps the number of routes whose EOIs leave in 8 bits: 256 would be none. */
enum { KVM_IRQFDS_MAX = 64 };
enum { KVM_DOORBELLS_MAX = 64, KVM_ROUTES_MAX = 255 /* KVM keeps the number in a byte */, KVM_CPUID_MAX = 80, KVM_MSRS_MAX = 64 };

/* What this host's KVM can do. */
struct kvm_caps {
	bool sregs2, xcrs, tsc_offset, smm, user_msr, msr_filter, readonly_mem, irqfd;
	bool vmcall; /* the instruction with which a GenuineIntel guest makes hypercalls is this processor's */
	uint64_t xcr0;	       /* components that XSAVE images can have, of those that the model has */
};

enum { KVM_REQ_NMI = 1 << 0, KVM_REQ_SMI = 1 << 1 };

/* A local APIC's timer while the VM clock stands. */
struct kvm_frozen_timer {
	uint64_t deadline;
	uint32_t initial, current;
};

struct kvm_vcpu {
	struct engine_vcpu base;
	struct kvm_engine *engine;
	int fd;
	struct kvm_run *kr;

	/* --- from other threads --- */
	_Atomic uint32_t kicked; /* leave with KICK */
	_Atomic uint32_t req;	 /* KVM_REQ_* */
	pthread_mutex_t kick_lock;
	pid_t running; /* kick_lock: the thread that is in KVM_RUN or about to be, or 0 */

	/* --- the running thread's, or anybody's while it is stopped --- */
	pid_t thread;	/* which `timer` and the signal mask were made for */
	timer_t timer;	/* looks for a HLT with interrupts off: see vcpu.c */
	unsigned ticks; /* in a row without an exit */
	unsigned halt_ticks; /* since HALT was told */
	bool slow; /* the timer is set to its long interval */
	bool has_timer;
	bool pending;	/* the exit in kr waits for its completion by another KVM_RUN */
	bool pv_called; /* it may have made hypercalls: KVM does not tell */
	bool shut_down; /* after a triple fault: VCPU_SHUTDOWN */
	bool halt_told;
	uint64_t halt_rip;
	bool extint_pending; /* vcpu_extint's vector, not yet given to KVM */
	uint8_t extint_vector;
	struct engine_debug debug;
	/* guest TSC = VM clock's + tsc_delta, as long as IA32_TSC_ADJUST is tsc_adjust */
	uint64_t tsc_delta, tsc_adjust;
	struct kvm_frozen_timer frozen;
	uint32_t expired_initial; /* a one-shot count that had run out when it was loaded: see apic.c */
	uint64_t shadow_msr[KVM_MSRS_MAX]; /* values of MSRs that KVM lacks */
};

/* An eventfd that raises an MSI. */
struct kvm_irqfd_place {
	bool used;
	int caller_fd, fd; /* the caller's name of it; ours */
	struct engine_msi msi;
};

struct kvm_engine {
	struct engine base;
	int sys, vm;
	size_t kr_len;
	struct kvm_caps caps;
	struct ram *ram;
	const struct cpu_model *model; /* own_model */
	struct cpu_model own_model;
	void *run;
	size_t run_len;
	int kick_signal;
	bool frozen; /* the clock stands: the timers are in kvm_vcpu.frozen */
	struct ram_slot slot[RAM_SLOTS_MAX]; /* as KVM has them */
	bool logging;
	uint64_t msr_missing; /* bit n: MSR n of msr.c's table is not in KVM */
	/* Guards against a message that comes between reading a local APIC and writing it back. */
	pthread_rwlock_t apic_lock;
	pthread_mutex_t doorbell_lock;
	unsigned doorbells;
	struct engine_doorbell doorbell[KVM_DOORBELLS_MAX];
	pthread_mutex_t route_lock;
	unsigned routes;
	struct engine_msi route[KVM_ROUTES_MAX]; /* level-triggered ones that KVM knows */
	struct kvm_irqfd_place irqfd[KVM_IRQFDS_MAX];
	struct kvm_vcpu vcpu[VCPUS_MAX];
};

static inline struct kvm_vcpu *kvm_vcpu_of(struct engine_vcpu *v)
{
	return (struct kvm_vcpu *)v;
}

static inline struct kvm_engine *kvm_engine_of(struct engine *e)
{
	return (struct kvm_engine *)e;
}

/* ioctl that goes on after a signal; the value, or -errno. */
int kvm_ioctl(int fd, unsigned long request, void *arg);

/* --- routes.c --- */
int kvm_set_routes(struct engine *e, const struct engine_msi *route, unsigned count);
int kvm_add_irqfd(struct engine *e, const struct engine_irqfd *irqfd);
int kvm_remove_irqfd(struct engine *e, int fd);
/* Around what reads and writes back local APICs, under apic_lock for writing: no message comes between. */
int kvm_irqfds_stop(struct kvm_engine *e);
int kvm_irqfds_listen(struct kvm_engine *e);
void kvm_irqfds_finish(struct kvm_engine *e);

/* --- vcpu.c --- */
int kvm_vcpu_init(struct kvm_vcpu *v);
void kvm_vcpu_finish(struct kvm_vcpu *v);
int kvm_vcpu_run(struct engine_vcpu *v);
int kvm_vcpu_extint(struct engine_vcpu *v, uint8_t vector);
void kvm_vcpu_kick(struct engine_vcpu *v);
void kvm_vcpu_nmi(struct engine_vcpu *v);
void kvm_vcpu_smi(struct engine_vcpu *v);
int kvm_vcpu_settled(struct engine_vcpu *v);
int kvm_vcpu_translate(struct engine_vcpu *v, uint64_t linear, uint64_t *gpa);

/* --- debug.c --- */
int kvm_vcpu_debug(struct engine_vcpu *v, const struct engine_debug *debug);
void kvm_debug_leave(struct kvm_vcpu *v); /* KVM_EXIT_DEBUG into the run page */

/* --- state.c --- */
int kvm_vcpu_get_state(struct engine_vcpu *v, struct vcpu_state *state);
int kvm_vcpu_set_state(struct engine_vcpu *v, const struct vcpu_state *state);
/* The state after RESET (SDM vol. 3, table 9-1), the same as other engines make it. */
void kvm_reset_state(const struct kvm_vcpu *v, struct vcpu_state *state);

/* --- msr.c --- */
/* Finds out which of the table's MSRs KVM lacks, with the CPUID set; denies the guest those that the model lacks. */
int kvm_msr_init(struct kvm_engine *e);
int kvm_msr_get(struct kvm_vcpu *v, struct vcpu_state *s);
int kvm_msr_set(struct kvm_vcpu *v, const struct vcpu_state *s);
int kvm_msr_read_one(struct kvm_vcpu *v, uint32_t index, uint64_t *value);
int kvm_msr_write_one(struct kvm_vcpu *v, uint32_t index, uint64_t value);

/* --- apic.c: the local APIC, and what the VM clock does to a vCPU --- */
int kvm_apic_get(struct kvm_vcpu *v, struct vcpu_state *s);
int kvm_apic_set(struct kvm_vcpu *v, const struct vcpu_state *s);
/* The VM clock was paused, resumed or loaded. */
int kvm_clock_changed(struct engine *e);
/* guest TSC = VM clock's TSC + v->tsc_delta from now on. */
int kvm_tsc_apply(struct kvm_vcpu *v);

/* --- cpuid.c --- */
/* Checks the model against the host; @lenient: leaves out what the host lacks. Sets every vCPU's CPUID. */
int kvm_cpuid_init(struct kvm_engine *e, bool lenient, struct error *err);

/* --- slots.c --- */
int kvm_slots_changed(struct engine *e);
int kvm_dirty_log_start(struct engine *e);
int kvm_dirty_log_sync(struct engine *e);

#endif
