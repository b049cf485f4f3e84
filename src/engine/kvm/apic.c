// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The local APIC of a vCPU under KVM (SDM vol. 3, chapter 11): its page and its timer in struct vcpu_state, and
 * what the VM clock does to a vCPU: its TSC, and the timers while the clock stands.
 *
 * KVM's timers run on while the VM clock stands. So pausing takes them out of KVM into kvm_vcpu.frozen, and resuming
 * puts them back: invariant, e->frozen says that the clock stands and where the timers are.
 *
 * A count: struct vcpu_state has the VM time at which it was loaded, KVM's page has what is left of it
 * (TMCCT); KVM counts on from there when the page is loaded. Hosts before Linux 6.11 count at 1 GHz and not at the crystal's
 * 25 MHz: what is left is then right, and how long it takes is not.
 *
 * A one-shot count that has run out: KVM would fire it once more when loaded. It gets an initial count of 0, which
 * stops the timer, and what the guest had written is kept beside (expired_initial).
 */
#include "engine/kvm/private.h"

#include <errno.h>
#include <string.h>

enum {
	REG_ID = 0x2, REG_VERSION = 0x3, REG_TPR = 0x8, REG_LDR = 0xd, REG_DFR = 0xe, REG_SVR = 0xf, REG_ISR = 0x10,
	REG_IRR = 0x20, REG_ESR = 0x28, REG_ICR = 0x30, REG_ICR_HIGH = 0x31, REG_LVT_TIMER = 0x32, REG_LVT_ERROR = 0x37,
	REG_INITIAL = 0x38, REG_CURRENT = 0x39, REG_DIVIDE = 0x3e,
};
enum { TIMER_MODE = 3 << 17, TIMER_PERIODIC = 1 << 17, TIMER_DEADLINE = 2 << 17 };
enum { APIC_VERSION = 0x14 | 5 << 16 | 1 << 24 /* EOI broadcasts can be suppressed */ };
enum { TICK_NS = 1000000000 / CPU_CRYSTAL_HZ, MSR_TSC = 0x10, MSR_TSC_ADJUST = 0x3b, MSR_TSC_DEADLINE = 0x6e0 };

static uint32_t reg_get(const struct kvm_lapic_state *page, unsigned n)
{
	uint32_t v;

	memcpy(&v, page->regs + n * 16, sizeof(v));
	return v;
}

static void reg_set(struct kvm_lapic_state *page, unsigned n, uint32_t v)
{
	memcpy(page->regs + n * 16, &v, sizeof(v));
}

static uint64_t tick_ns(uint32_t dcr)
{
	unsigned v = (dcr & 3) | (dcr >> 1 & 4);

	return (uint64_t)TICK_NS * (v == 7 ? 1 : 2u << v);
}

/* --- the timer, in and out of KVM --- */

static int timer_take(struct kvm_vcpu *v, const struct kvm_lapic_state *page, struct kvm_frozen_timer *t)
{
	t->deadline = 0;
	t->initial = reg_get(page, REG_INITIAL);
	t->current = reg_get(page, REG_CURRENT);
	if ((reg_get(page, REG_LVT_TIMER) & TIMER_MODE) == TIMER_DEADLINE)
		return kvm_msr_read_one(v, MSR_TSC_DEADLINE, &t->deadline);
	if (!t->initial && v->expired_initial) {
		t->initial = v->expired_initial;
		t->current = 0;
	} else {
		v->expired_initial = 0;
	}
	return 0;
}

/* Stores @page with the timer @t in it, running unless @stopped. */
static int timer_put(struct kvm_vcpu *v, struct kvm_lapic_state *page, const struct kvm_frozen_timer *t, bool stopped)
{
	uint32_t mode = reg_get(page, REG_LVT_TIMER) & TIMER_MODE;
	bool expired = t->initial && !t->current && mode != TIMER_PERIODIC;
	int r;

	v->expired_initial = expired && mode != TIMER_DEADLINE ? t->initial : 0;
	reg_set(page, REG_INITIAL, stopped || expired ? 0 : t->initial);
	reg_set(page, REG_CURRENT, stopped || expired ? 0 : t->current);
	r = kvm_ioctl(v->fd, KVM_SET_LAPIC, page);
	if (!r && mode == TIMER_DEADLINE)
		r = kvm_msr_write_one(v, MSR_TSC_DEADLINE, stopped ? 0 : t->deadline);
	return r;
}

/* A timer that is not armed needs not be moved: a debugger's steps pause and resume the clock for each. */
static bool armed(const struct kvm_frozen_timer *t)
{
	return t->initial || t->deadline;
}

static int freeze(struct kvm_vcpu *v)
{
	struct kvm_lapic_state page;
	int r = kvm_ioctl(v->fd, KVM_GET_LAPIC, &page);

	if (!r)
		r = timer_take(v, &page, &v->frozen);
	if (!r && armed(&v->frozen))
		r = timer_put(v, &page, &v->frozen, true);
	return r;
}

static int thaw(struct kvm_vcpu *v)
{
	struct kvm_lapic_state page;
	int r;

	if (!armed(&v->frozen))
		return 0;
	r = kvm_ioctl(v->fd, KVM_GET_LAPIC, &page);
	return r ? r : timer_put(v, &page, &v->frozen, false);
}

/* --- the TSC --- */

int kvm_tsc_apply(struct kvm_vcpu *v)
{
	const struct vm_clock *clock = v->engine->base.clock;
	uint64_t offset = clock->tsc_offset + v->tsc_delta;
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)&offset };

	if (!clock->running)
		return 0; /* nobody reads it; resuming comes by here */
	if (v->engine->caps.tsc_offset)
		return kvm_ioctl(v->fd, KVM_SET_DEVICE_ATTR, &attr);
	/*
	 * Before Linux 5.16 a write close to what KVM expects is taken for an attempt to synchronize CPUs, and is
	 * changed; one from far away is not.
	 */
	kvm_msr_write_one(v, MSR_TSC, host_tsc() + offset + (1ull << 50));
	return kvm_msr_write_one(v, MSR_TSC, host_tsc() + offset);
}

/* A guest that writes its TSC moves IA32_TSC_ADJUST by as much (SDM vol. 3, 17.17.3): that tells how far it is off. */
static void tsc_delta_follow(struct kvm_vcpu *v, uint64_t adjust)
{
	v->tsc_delta += adjust - v->tsc_adjust;
	v->tsc_adjust = adjust;
}

/* kvmclock is VM time: a guest finds the same on every engine, and none when the VM has stood still. Old hosts cannot. */
static void set_kvmclock(struct kvm_engine *e)
{
	struct kvm_clock_data data = { .clock = vm_clock_ns(e->base.clock) };

	kvm_ioctl(e->vm, KVM_SET_CLOCK, &data);
}

int kvm_clock_changed(struct engine *base)
{
	struct kvm_engine *e = kvm_engine_of(base);
	bool stands = !base->clock->running;
	bool moves = stands != e->frozen;
	uint64_t adjust;
	int r = 0, listening = 0;

	pthread_rwlock_wrlock(&e->apic_lock);
	if (moves)
		r = kvm_irqfds_stop(e);
	for (unsigned i = 0; i < base->vcpu_count && !r; i++) {
		struct kvm_vcpu *v = &e->vcpu[i];

		/* While the clock stands no guest runs. */
		if (!e->frozen && !kvm_msr_read_one(v, MSR_TSC_ADJUST, &adjust))
			tsc_delta_follow(v, adjust);
		if (stands && !e->frozen)
			r = freeze(v);
		if (!r)
			r = kvm_tsc_apply(v);
		if (!r && !stands && e->frozen)
			r = thaw(v);
	}
	if (!stands)
		set_kvmclock(e);
	if (moves)
		listening = kvm_irqfds_listen(e);
	e->frozen = stands;
	pthread_rwlock_unlock(&e->apic_lock);
	return r ? r : listening;
}

/* --- state --- */

/* After kvm_msr_get. */
int kvm_apic_get(struct kvm_vcpu *v, struct vcpu_state *s)
{
	struct kvm_lapic_state page;
	struct kvm_frozen_timer t = v->frozen;
	int r = kvm_ioctl(v->fd, KVM_GET_LAPIC, &page);

	tsc_delta_follow(v, s->tsc_adjust);
	if (!r && !v->engine->frozen)
		r = timer_take(v, &page, &t);
	if (r)
		return r;
	for (unsigned n = 0; n < LAPIC_WORDS; n++)
		s->lapic[n] = reg_get(&page, n);
	s->lapic[REG_VERSION] = APIC_VERSION; /* some hosts' KVM announces other LVT entries */
	s->lapic[REG_ICR] &= ~(1u << 12); /* delivery status: nothing is ever under way */
	s->lapic[REG_INITIAL] = t.initial;
	s->lapic[REG_CURRENT] = t.current;
	s->tsc_deadline = t.deadline;
	s->lapic_timer_start_ns = 0;
	if (t.initial)
		s->lapic_timer_start_ns = vm_clock_ns(v->engine->base.clock) -
					  (uint64_t)(t.initial - t.current) * tick_ns(s->lapic[REG_DIVIDE]);
	s->tsc_delta = v->tsc_delta;
	return 0;
}

/* What is left of the count that was loaded at lapic_timer_start_ns; 0: it has run out. */
static uint32_t count_left(const struct kvm_vcpu *v, const struct vcpu_state *s)
{
	uint64_t initial = s->lapic[REG_INITIAL], passed;

	/* A start in the future is a count from before the clock was 0: as good as just loaded. */
	passed = vm_clock_ns(v->engine->base.clock) - s->lapic_timer_start_ns;
	passed /= tick_ns(s->lapic[REG_DIVIDE]);
	if (!initial)
		return 0;
	if ((s->lapic[REG_LVT_TIMER] & TIMER_MODE) == TIMER_PERIODIC)
		return (uint32_t)(initial - passed % initial);
	if (!s->lapic[REG_CURRENT])
		return 0;
	/* One that ran out since fires as soon as it can. */
	return passed < initial ? (uint32_t)(initial - passed) : 1;
}

/* Registers that a page may hold, and the bits of each that there are; what a hostile file has besides is cut off. */
static uint32_t register_bits(unsigned n)
{
	static const uint32_t lvt[] = { 0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff };

	if (n >= REG_LVT_TIMER && n <= REG_LVT_ERROR)
		return lvt[n - REG_LVT_TIMER];
	if (n >= REG_ISR && n < REG_IRR + 8)
		return n % 8 ? ~0u : 0xffff0000; /* no vectors below 16 */
	switch (n) {
	case REG_TPR: return 0xff;
	case REG_LDR:
	case REG_DFR:
	case REG_ESR:
	case REG_ICR_HIGH:
	case REG_INITIAL: return ~0u;
	case REG_SVR: return 0x11ff;
	case REG_ICR: return 0xccfff;
	case REG_DIVIDE: return 0xb;
	default: return 0;
	}
}

static void make_page(const struct kvm_vcpu *v, const struct vcpu_state *s, struct kvm_lapic_state *page)
{
	enum { EXTD = 1 << 10 };
	uint32_t id = v->base.index;

	memset(page, 0, sizeof(*page));
	for (unsigned n = 0; n < LAPIC_WORDS; n++)
		reg_set(page, n, s->lapic[n] & register_bits(n));
	reg_set(page, REG_VERSION, APIC_VERSION);
	reg_set(page, REG_DFR, s->lapic[REG_DFR] | 0x0fffffff);
	/* In x2APIC mode ID and LDR are what the mode makes of the vCPU's number (11.12.10.2). */
	if (s->apic_base & EXTD) {
		reg_set(page, REG_ID, id);
		reg_set(page, REG_LDR, id >> 4 << 16 | 1u << (id & 15));
	} else {
		reg_set(page, REG_ID, s->lapic[REG_ID] & 0xff000000);
	}
	if ((s->lapic[REG_TPR] >> 4 & 15) != s->cr8)
		reg_set(page, REG_TPR, (uint32_t)s->cr8 << 4);
}

int kvm_apic_set(struct kvm_vcpu *v, const struct vcpu_state *s)
{
	struct kvm_lapic_state page;
	struct kvm_frozen_timer t = { .initial = s->lapic[REG_INITIAL], .current = count_left(v, s) };
	int r;

	if ((s->lapic[REG_LVT_TIMER] & TIMER_MODE) == TIMER_DEADLINE)
		t = (struct kvm_frozen_timer){ .deadline = s->tsc_deadline };
	make_page(v, s, &page);
	v->tsc_delta = s->tsc_delta;
	v->tsc_adjust = s->tsc_adjust;
	v->frozen = t;
	r = kvm_tsc_apply(v);
	if (!r)
		r = timer_put(v, &page, &t, v->engine->frozen);
	return r;
}
