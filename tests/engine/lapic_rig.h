// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Local APICs without CPUs around them: the test stands in for the run loop. Requests and the host timer are stubs
 * that remember; time stands still unless `pass` moves it.
 */
#ifndef SUBRING_TESTS_LAPIC_RIG_H
#define SUBRING_TESTS_LAPIC_RIG_H

#include "engine/soft/soft.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { CPUS = 16 };

extern struct soft_vm vm;
extern uint64_t armed[CPUS]; /* what the host timer was set to */

/* CPUS of them after RESET, in xAPIC mode; for cmocka's setup and teardown. */
int lapic_make(void **state);
int lapic_unmake(void **state);

/* Registers by number, through the page. */
uint32_t get(struct cpu *c, unsigned n);
void put(struct cpu *c, unsigned n, uint32_t v);
void enable(struct cpu *c);
void enable_all(void);
void x2apic(struct cpu *c);
/* MSRs that must not fault. */
void msr(struct cpu *c, uint32_t index, uint64_t v);
uint64_t rdmsr(struct cpu *c, uint32_t index);

/* What was asked of the vCPU since the last look. */
uint32_t requests(struct cpu *c);
void forget_requests(void);
/* What the run loop does with an interrupt: the vector it takes, or -1. */
int take(struct cpu *c);
/* Which vCPUs have @vector pending, as a mask; takes it from them. */
unsigned who_got(int vector);

void pass(uint64_t ns);
/* The host timer of @c, if it is due. */
void tick(struct cpu *c);

#endif
