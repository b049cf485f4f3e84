// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Paravirtual interfaces of engine soft: those of KVM that Linux's CONFIG_KVM_GUEST uses, as Linux's
 * Documentation/virt/kvm/x86/{cpuid,msr,hypercalls}.rst describe them.
 *
 *   area.c       the guest's memory that an MSR names, checked at every use
 *   msr.c        the MSRs, RESET, saved state; what a model announces decides which there are
 *   clock.c      kvmclock and the wall clock
 *   steal.c      stolen time, "preempted", TLB flushes of a vCPU that is not running
 *   eoi.c        the EOI that is a store
 *   hypercall.c  VMCALL and VMMCALL: IPIs, kicks of a halted vCPU, yields
 *
 * All of a vCPU's state here belongs to its thread. A guest-physical address is hostile: what does not lie whole in
 * writable memory makes the interface do nothing, or is #GP on WRMSR, as with KVM. Nothing is kept of where an area
 * was found the last time, since slots may change between two runs.
 *
 * "Running" means: executing guest code. A vCPU that waits in HLT, or whose exit the monitor finishes, is not, and says so
 * in "preempted"; then other vCPUs leave it a request to flush its TLB there, and pv_enter obeys before it runs again.
 */
#ifndef SUBRING_ENGINE_SOFT_PV_H
#define SUBRING_ENGINE_SOFT_PV_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct insn;
struct soft_vm;
struct vcpu_state;

struct cpu_pv {
	/* MSRs, as written; 0: off */
	uint64_t system_time, steal_time, eoi;
	bool clock_stale; /* the clock's area has to be written before the guest runs */
	bool eoi_offered; /* the bit in guest memory was set, and IRR is empty since */
	bool called;	  /* it has made a hypercall */
	bool kicked;	  /* a kick came while it was not halted: the next HLT is over at once */
	/* Where stolen time comes from: the scheduler's statistics of the thread. */
	int schedstat;		/* 1 + descriptor of what tells; 0: not open */
	const void *thread;	/* whose it is */
	uint64_t run_delay_ns;	/* as far as it is in the guest's area */
	uint64_t steal_looked;	/* host TSC then */
};

/* --- for vcpu/ and interp/: the vCPU's own thread --- */

/* It is about to run guest code, or to wait or leave. Between two instructions, or two executions of one. */
void pv_enter(struct cpu *c);
void pv_leave(struct cpu *c);
/* The local APIC's timer was due: the guest may be about to ask for its stolen time. */
void pv_tick(struct cpu *c);
/* KVM_HC_KICK_CPU came from some vCPU (REQ_KICKED). */
void pv_kicked(struct cpu *c);
/* HLT: true if it is over before it begins. */
bool pv_halt_over(struct cpu *c);
/* VMCALL, VMMCALL. */
void pv_hypercall(struct cpu *c, const struct insn *in);

/* --- for system/ --- */

/* 0, or -1: none of these, or #GP(0). */
int pv_msr_read(struct cpu *c, uint32_t index, uint64_t *value);
int pv_msr_write(struct cpu *c, uint32_t index, uint64_t value);
/* The vCPU's TSC was moved against the VM clock. */
void pv_clock_update(struct cpu *c);
/* RESET and INIT. */
void pv_reset(struct cpu *c, bool init);
void pv_finish(struct cpu *c);

bool pv_state_valid(const struct cpu *c, const struct vcpu_state *s);
void pv_get_state(struct cpu *c, struct vcpu_state *s);
void pv_set_state(struct cpu *c, const struct vcpu_state *s);

/* --- for lapic/ --- */

/* Vector was taken, ISR has one bit and IRR none: lets the guest say EOI in memory. */
void pv_eoi_offer(struct cpu *c);
/* Ends an offer. True: the guest has said EOI. */
bool pv_eoi_take(struct cpu *c);

/* --- in here --- */

/*
 * Host address of @size bytes at @gpa for a store by this vCPU, all in one frame; NULL: they are not all writable memory.
 * After the store, pv_area_stored.
 */
void *pv_area(struct cpu *c, uint64_t gpa, unsigned size);
void pv_area_stored(struct cpu *c, const void *host, unsigned size);
bool pv_area_writable(struct cpu *c, uint64_t gpa, unsigned size);
/* The same for areas that may lie across frames: -EFAULT, and nothing is changed. */
int pv_area_read(struct cpu *c, uint64_t gpa, void *buf, unsigned size);
int pv_area_write(struct cpu *c, uint64_t gpa, const void *buf, unsigned size);

void pv_wall_clock_write(struct cpu *c, uint64_t gpa);

void pv_steal_set(struct cpu *c, uint64_t value);
void pv_steal_enter(struct cpu *c);
void pv_steal_leave(struct cpu *c);

#endif
