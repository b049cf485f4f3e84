// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Private to lapic/.
 *
 *   lapic.c      registers: page, MSRs, priorities, EOI, errors, state
 *   ipi.c        bus messages: destinations, delivery modes, the ICR
 *   apic_timer.c one-shot, periodic, TSC-deadline
 */
#ifndef SUBRING_ENGINE_SOFT_LAPIC_PRIVATE_H
#define SUBRING_ENGINE_SOFT_LAPIC_PRIVATE_H

#include "engine/soft/soft.h"

enum { APIC_BASE_BSP = 1 << 8, APIC_BASE_EXTD = 1 << 10, APIC_BASE_EN = 1 << 11 };
enum { SVR_ENABLED = 1 << 8 };
enum { LVT_MASKED = 1 << 16, LVT_TIMER_PERIODIC = 1 << 17, LVT_TIMER_DEADLINE = 2 << 17, LVT_TIMER_MODE = 3 << 17 };
enum { ESR_SEND_VECTOR = 1 << 5, ESR_RECEIVE_VECTOR = 1 << 6, ESR_REGISTER = 1 << 7 };
/* Delivery modes of ICR, LVT and messages (SDM vol. 3, 11.5.1, 11.6.1, 11.11.2) */
enum { MODE_FIXED, MODE_LOWEST, MODE_SMI, MODE_NMI = 4, MODE_INIT, MODE_SIPI, MODE_EXTINT };

/* Registers that other threads look at when they choose a destination: ID, LDR, DFR, SVR, and the base. */
static inline uint32_t reg_peek(const struct cpu *c, unsigned n)
{
	return __atomic_load_n(&c->lapic.reg[n], __ATOMIC_RELAXED);
}

static inline void reg_poke(struct cpu *c, unsigned n, uint32_t v)
{
	__atomic_store_n(&c->lapic.reg[n], v, __ATOMIC_RELAXED);
}

static inline uint64_t base_peek(const struct cpu *c)
{
	return __atomic_load_n(&c->apic_base, __ATOMIC_RELAXED);
}

static inline bool base_enabled(uint64_t base)
{
	return base & APIC_BASE_EN;
}

static inline bool base_x2apic(uint64_t base)
{
	return (base & (APIC_BASE_EN | APIC_BASE_EXTD)) == (APIC_BASE_EN | APIC_BASE_EXTD);
}

static inline bool x2apic(const struct cpu *c)
{
	return base_x2apic(c->apic_base);
}

/* An error of SDM 11.5.3 on the vCPU's own thread. */
void lapic_error(struct cpu *c, uint32_t bits);
/* An interrupt that the APIC itself raises, as LVT entry @n says. On the vCPU's own thread. */
void lapic_local(struct cpu *c, unsigned n);
/* Something may have become deliverable: makes the run loop look. */
void lapic_look(struct cpu *c);

/* The ICR was written: sends what it says. */
void lapic_send_ipi(struct cpu *c);

/* The timer's registers. */
uint32_t lapic_timer_current(struct cpu *c);
void lapic_timer_set_initial(struct cpu *c, uint32_t v);
void lapic_timer_set_divide(struct cpu *c, uint32_t v);
void lapic_timer_set_lvt(struct cpu *c, uint32_t v);
void lapic_timer_set_deadline(struct cpu *c, uint64_t tsc);
void lapic_timer_stop(struct cpu *c);
/* The registers, tsc_deadline and timer_start_ns were loaded; @expired: a one-shot count has come to 0. */
void lapic_timer_restore(struct cpu *c, bool expired);

#endif
