// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The local APIC of a vCPU of engine soft (SDM vol. 3, chapter 11): xAPIC page and x2APIC MSRs,
 * one-shot, periodic and TSC-deadline timer, IPIs.
 *
 * The registers belong to the vCPU's thread. Other threads only post: they set bits in irr_post
 * and tmr_post with atomic operations and then call cpu_request(REQ_INTR), as a posted-interrupt
 * descriptor works.
 */
#ifndef SUBRING_ENGINE_SOFT_LAPIC_H
#define SUBRING_ENGINE_SOFT_LAPIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct soft_vm;
struct engine_msi;

/* Register numbers: offset in the page / 16 = x2APIC MSR - 0x800. */
enum {
	LAPIC_ID = 0x02, LAPIC_VERSION = 0x03, LAPIC_TPR = 0x08, LAPIC_APR = 0x09, LAPIC_PPR = 0x0a, LAPIC_EOI = 0x0b,
	LAPIC_RRD = 0x0c, LAPIC_LDR = 0x0d, LAPIC_DFR = 0x0e, LAPIC_SVR = 0x0f, LAPIC_ISR = 0x10, LAPIC_TMR = 0x18,
	LAPIC_IRR = 0x20, LAPIC_ESR = 0x28, LAPIC_LVT_CMCI = 0x2f, LAPIC_ICR = 0x30, LAPIC_ICR_HIGH = 0x31,
	LAPIC_LVT_TIMER = 0x32, LAPIC_LVT_THERMAL = 0x33, LAPIC_LVT_PMC = 0x34, LAPIC_LVT_LINT0 = 0x35,
	LAPIC_LVT_LINT1 = 0x36, LAPIC_LVT_ERROR = 0x37, LAPIC_TIMER_INIT = 0x38, LAPIC_TIMER_CURRENT = 0x39,
	LAPIC_TIMER_DIVIDE = 0x3e, LAPIC_SELF_IPI = 0x3f,
};

struct lapic {
	uint32_t reg[64];
	uint64_t tsc_deadline;	 /* guest TSC; 0: not armed */
	uint64_t timer_start_ns; /* VM time when the present count began */
	uint64_t timer_due_ns;	 /* VM time of the next expiry; UINT64_MAX: none */
	_Atomic uint32_t irr_post[8], tmr_level[8], tmr_edge[8]; /* posted by other threads */
	_Atomic uint32_t esr_post;	/* errors since the last write of ESR */
	uint32_t esr_seen;		/* those of them for which the error interrupt was raised */
	uint32_t eoi_wait[8];		/* vectors whose EOI the monitor has to be told */
	_Atomic uint8_t sipi_vector;
};

/* The frequency at which the timer counts before its divider, Hz: the core crystal of CPUID leaf 15H. */
enum { LAPIC_TIMER_HZ = CPU_CRYSTAL_HZ };

void lapic_reset(struct cpu *c, bool init); /* RESET, or INIT (keeps the ID and APIC base) */

/* The page, and the MSRs. Accesses from the vCPU's own thread. Reads of 32 bits at offset & ~15. */
uint32_t lapic_page_read(struct cpu *c, unsigned offset);
void lapic_page_write(struct cpu *c, unsigned offset, uint32_t value);
/* MSR 0x800-0x8ff in x2APIC mode, IA32_TSC_DEADLINE. 0, or -1: #GP(0). */
int lapic_msr_read(struct cpu *c, uint32_t index, uint64_t *value);
int lapic_msr_write(struct cpu *c, uint32_t index, uint64_t value);
/* WRMSR IA32_APIC_BASE: mode changes of SDM 11.12.5. 0 or -1. */
int lapic_base_write(struct cpu *c, uint64_t value);

/* CR8 <-> TPR */
uint64_t lapic_cr8(struct cpu *c);
void lapic_set_cr8(struct cpu *c, uint64_t value);

/* Takes over what was posted. Then: the highest deliverable vector, or -1. */
void lapic_sync(struct cpu *c);
int lapic_pending(struct cpu *c);
/* The CPU takes vector @vector: IRR to ISR. */
void lapic_ack(struct cpu *c, unsigned vector);
/* Whether LINT0 or a disabled APIC lets an ExtINT through (as KVM's kvm_apic_accept_pic_intr asks). */
bool lapic_accepts_extint(const struct cpu *c);
/* The EOI of @vector must be told to the monitor: kept until cpu_run leaves with EOI; -1: none. */
int lapic_eoi_exit(struct cpu *c);
bool lapic_eoi_waits(const struct cpu *c);
/* Ends an offer to say EOI in memory (pv/eoi.c), and the interrupt if the guest has. */
void lapic_eoi_settle(struct cpu *c);

/* The timer: called by the vCPU's thread when REQ_TIMER or a wake-up came; posts and re-arms. */
void lapic_timer_check(struct cpu *c);
/* The next expiry changed (also after the clock was paused, resumed or loaded). */
void lapic_timer_arm(struct cpu *c);

/* Any thread. */
void lapic_post(struct cpu *c, unsigned vector, bool level);
/* Delivers a bus message (MSI, or an IPI that the ICR sent) to the vCPUs it names. 0, -EINVAL. */
int lapic_deliver(struct soft_vm *vm, const struct engine_msi *msi);

/* Engine-neutral state. */
struct vcpu_state;
void lapic_get_state(struct cpu *c, struct vcpu_state *s);
void lapic_set_state(struct cpu *c, const struct vcpu_state *s);

#endif
