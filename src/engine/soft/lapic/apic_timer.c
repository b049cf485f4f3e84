// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The local APIC's timer (SDM vol. 3, 11.5.4).
 *
 * The count is not stepped. One-shot and periodic: timer_start_ns is the VM time at which the
 * present count began, and the current count follows from it; one tick is 40 ns (25 MHz) times the
 * divider. TSC-deadline: tsc_deadline is the guest's value. timer_due_ns is derived from these, and
 * cpu_timer_set is told of it, so that REQ_TIMER comes when it has passed.
 *
 * Invariant: timer_due_ns is UINT64_MAX exactly when nothing will expire.
 */
#include "engine/soft/lapic/lapic_private.h"

enum { TICK_NS = 1000000000 / LAPIC_TIMER_HZ };
/* A periodic timer expires at most this often, ns: less would leave the guest no time to run. */
enum { PERIOD_MIN_NS = 50000 };
/* Farther than this (36 years) there is no need to arm anything. */
static const uint64_t far_ns = 1ull << 60;

static uint64_t now_ns(const struct cpu *c)
{
	return vm_clock_ns(&c->vm->clock);
}

static uint32_t timer_mode(const struct cpu *c)
{
	return c->lapic.reg[LAPIC_LVT_TIMER] & LVT_TIMER_MODE;
}

static unsigned divider(uint32_t dcr)
{
	unsigned v = (dcr & 3) | (dcr >> 1 & 4);

	return v == 7 ? 1 : 2u << v;
}

static uint64_t tick_ns(const struct cpu *c)
{
	return (uint64_t)TICK_NS * divider(c->lapic.reg[LAPIC_TIMER_DIVIDE]);
}

/* From the loaded count to zero; 0: the timer is stopped. */
static uint64_t period_ns(const struct cpu *c)
{
	return tick_ns(c) * c->lapic.reg[LAPIC_TIMER_INIT];
}

static bool counting(const struct cpu *c)
{
	return timer_mode(c) != LVT_TIMER_DEADLINE && c->lapic.timer_due_ns != UINT64_MAX;
}

uint32_t lapic_timer_current(struct cpu *c)
{
	struct lapic *l = &c->lapic;
	uint64_t passed;

	if (!counting(c))
		return 0;
	passed = now_ns(c) - l->timer_start_ns;
	if (timer_mode(c) == LVT_TIMER_PERIODIC)
		passed %= period_ns(c);
	passed /= tick_ns(c);
	return passed < l->reg[LAPIC_TIMER_INIT] ? l->reg[LAPIC_TIMER_INIT] - (uint32_t)passed : 0;
}

/* VM time at which this vCPU's TSC reaches @tsc, rounded up; never UINT64_MAX. */
static uint64_t deadline_ns(const struct cpu *c, uint64_t tsc)
{
	int64_t delta = (int64_t)c->tsc_delta;
	uint64_t clock_tsc, ns;

	if (delta >= 0)
		clock_tsc = tsc > (uint64_t)delta ? tsc - (uint64_t)delta : 0;
	else
		clock_tsc = tsc < (uint64_t)delta ? tsc - (uint64_t)delta : UINT64_MAX;
	ns = vm_clock_tsc_to_ns(&c->vm->clock, clock_tsc);
	return ns < UINT64_MAX - 1 ? ns + 1 : UINT64_MAX - 1;
}

void lapic_timer_arm(struct cpu *c)
{
	struct lapic *l = &c->lapic;

	if (timer_mode(c) == LVT_TIMER_DEADLINE)
		l->timer_due_ns = l->tsc_deadline ? deadline_ns(c, l->tsc_deadline) : UINT64_MAX;
	cpu_timer_set(c, l->timer_due_ns < far_ns ? l->timer_due_ns : UINT64_MAX);
}

void lapic_timer_stop(struct cpu *c)
{
	c->lapic.timer_due_ns = UINT64_MAX;
	c->lapic.tsc_deadline = 0;
	cpu_timer_set(c, UINT64_MAX);
}

/* Begins a count that has @passed ns behind it. */
static void start(struct cpu *c, uint64_t passed)
{
	struct lapic *l = &c->lapic;

	l->timer_start_ns = now_ns(c) - passed;
	l->timer_due_ns = period_ns(c) ? l->timer_start_ns + period_ns(c) : UINT64_MAX;
	lapic_timer_arm(c);
}

void lapic_timer_set_initial(struct cpu *c, uint32_t v)
{
	if (timer_mode(c) == LVT_TIMER_DEADLINE)
		return;
	c->lapic.reg[LAPIC_TIMER_INIT] = v;
	start(c, 0);
}

void lapic_timer_set_divide(struct cpu *c, uint32_t v)
{
	struct lapic *l = &c->lapic;
	uint32_t current = lapic_timer_current(c);

	l->reg[LAPIC_TIMER_DIVIDE] = v & 0xb;
	if (counting(c)) /* the count goes on from where it is, at the new pace */
		start(c, tick_ns(c) * (l->reg[LAPIC_TIMER_INIT] - current));
}

void lapic_timer_set_lvt(struct cpu *c, uint32_t v)
{
	uint32_t was = timer_mode(c), now = v & LVT_TIMER_MODE;

	/* What is due came while the entry was as it was, however late its signal is. */
	if (c->lapic.timer_due_ns <= now_ns(c))
		lapic_timer_check(c);
	c->lapic.reg[LAPIC_LVT_TIMER] = v;
	if (was == now)
		return;
	/* To and from TSC-deadline mode disarms; between one-shot and periodic the count goes on. */
	if (was == LVT_TIMER_DEADLINE || now == LVT_TIMER_DEADLINE) {
		c->lapic.reg[LAPIC_TIMER_INIT] = 0;
		lapic_timer_stop(c);
	}
}

void lapic_timer_set_deadline(struct cpu *c, uint64_t tsc)
{
	if (timer_mode(c) != LVT_TIMER_DEADLINE)
		return;
	c->lapic.tsc_deadline = tsc;
	lapic_timer_arm(c);
	if (c->lapic.timer_due_ns <= now_ns(c))
		lapic_timer_check(c);
}

void lapic_timer_restore(struct cpu *c, bool expired)
{
	struct lapic *l = &c->lapic;

	l->timer_due_ns = UINT64_MAX;
	if (period_ns(c) && (!expired || timer_mode(c) == LVT_TIMER_PERIODIC))
		l->timer_due_ns = l->timer_start_ns + period_ns(c);
	lapic_timer_arm(c);
}

void lapic_timer_check(struct cpu *c)
{
	struct lapic *l = &c->lapic;
	uint64_t now = now_ns(c);

	if (l->timer_due_ns > now) { /* too early, or not armed: a far deadline is armed again here */
		lapic_timer_arm(c);
		return;
	}
	lapic_local(c, LAPIC_LVT_TIMER);
	l->timer_due_ns = UINT64_MAX;
	l->tsc_deadline = 0;
	if (timer_mode(c) == LVT_TIMER_PERIODIC && period_ns(c)) {
		uint64_t period = period_ns(c);

		l->timer_start_ns += (now - l->timer_start_ns) / period * period;
		l->timer_due_ns = l->timer_start_ns + period;
		if (period < PERIOD_MIN_NS)
			l->timer_due_ns = now + PERIOD_MIN_NS;
	}
	lapic_timer_arm(c);
}
