// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The local APIC without a CPU around it: registers, priorities, messages, IPIs, the timer, state.
 * Requests and the host timer are stubs that remember.
 */
#include "engine/soft/soft.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <cmocka.h>

enum { CPUS = 16 };

static struct soft_vm vm;
static uint64_t armed[CPUS]; /* what the host timer was set to */

void cpu_request(struct cpu *c, uint32_t bits)
{
	atomic_fetch_or(&c->req, bits);
}

void cpu_timer_set(struct cpu *c, uint64_t vm_ns)
{
	armed[c->index] = vm_ns;
}

static int make(void **state)
{
	memset(&vm, 0, sizeof(vm));
	vm.clock.tsc_hz = 1000000000;
	vm.count = CPUS;
	for (unsigned i = 0; i < CPUS; i++) {
		struct cpu *c = aligned_alloc(64, (sizeof(*c) + 63) & ~(size_t)63);

		assert_non_null(c);
		memset(c, 0, sizeof(*c));
		c->vm = &vm;
		c->index = i;
		c->apic_base = 0xfee00800 | (i ? 0 : 0x100);
		vm.cpu[i] = c;
		lapic_reset(c, false);
	}
	return 0;
}

static int unmake(void **state)
{
	for (unsigned i = 0; i < CPUS; i++)
		free(vm.cpu[i]);
	return 0;
}

static uint32_t get(struct cpu *c, unsigned n)
{
	return lapic_page_read(c, n << 4);
}

static void put(struct cpu *c, unsigned n, uint32_t v)
{
	lapic_page_write(c, n << 4, v);
}

static void enable(struct cpu *c)
{
	put(c, LAPIC_SVR, 0x1ff);
}

static void enable_all(void)
{
	for (unsigned i = 0; i < CPUS; i++)
		enable(vm.cpu[i]);
}

static void x2apic(struct cpu *c)
{
	assert_int_equal(lapic_base_write(c, c->apic_base | 0xc00), 0);
}

static void msr(struct cpu *c, uint32_t index, uint64_t v)
{
	assert_int_equal(lapic_msr_write(c, index, v), 0);
}

static uint64_t rdmsr(struct cpu *c, uint32_t index)
{
	uint64_t v = 0;

	assert_int_equal(lapic_msr_read(c, index, &v), 0);
	return v;
}

static uint32_t requests(struct cpu *c)
{
	return atomic_exchange(&c->req, 0);
}

static void forget_requests(void)
{
	for (unsigned i = 0; i < CPUS; i++)
		requests(vm.cpu[i]);
}

/* What the run loop does with an interrupt. */
static int take(struct cpu *c)
{
	int v;

	lapic_sync(c);
	v = lapic_pending(c);
	if (v >= 0)
		lapic_ack(c, (unsigned)v);
	return v;
}

/* Which vCPUs have @vector pending, as a mask; takes it from them. */
static unsigned who_got(int vector)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < vm.count; i++) {
		int v = take(vm.cpu[i]);

		if (v < 0)
			continue;
		assert_int_equal(v, vector);
		mask |= 1u << i;
		if (rdmsr(vm.cpu[i], 0x6e0) == 0 && (vm.cpu[i]->apic_base & 0x400))
			msr(vm.cpu[i], 0x80b, 0);
		else
			put(vm.cpu[i], LAPIC_EOI, 0);
	}
	return mask;
}

static void pass(uint64_t ns)
{
	vm.clock.tsc_paused += ns;
}

/* The host timer of @c, if it is due. */
static void tick(struct cpu *c)
{
	if (armed[c->index] <= vm_clock_ns(&vm.clock))
		lapic_timer_check(c);
}

/* --- registers --- */

static void lapic_registers_after_reset(void **state)
{
	struct cpu *c = vm.cpu[3];

	assert_int_equal(get(c, LAPIC_ID), 3u << 24);
	assert_int_equal(get(c, LAPIC_VERSION), 0x50014);
	assert_int_equal(get(c, LAPIC_SVR), 0xff);
	assert_int_equal(get(c, LAPIC_DFR), 0xffffffff);
	assert_int_equal(get(c, LAPIC_LDR), 0);
	assert_int_equal(get(c, LAPIC_TPR), 0);
	for (unsigned n = LAPIC_LVT_TIMER; n <= LAPIC_LVT_ERROR; n++)
		assert_int_equal(get(c, n), 0x10000);
	assert_int_equal(get(c, LAPIC_ESR), 0);
	/* virtual wire mode on the bootstrap processor */
	assert_int_equal(get(vm.cpu[0], LAPIC_LVT_LINT0), 0x700);
	assert_true(lapic_accepts_extint(vm.cpu[0]));
	assert_false(lapic_accepts_extint(c));
}

static void lapic_registers_keep_only_their_bits(void **state)
{
	static const struct {
		unsigned n;
		uint32_t bits;
	} row[] = {
		{ LAPIC_TPR, 0xff },	       { LAPIC_LDR, 0xff000000 },      { LAPIC_SVR, 0x1ff },
		{ LAPIC_ICR_HIGH, 0xff000000 }, { LAPIC_LVT_TIMER, 0x700ff },   { LAPIC_LVT_THERMAL, 0x107ff },
		{ LAPIC_LVT_PMC, 0x107ff },    { LAPIC_LVT_LINT0, 0x1a7ff },   { LAPIC_LVT_LINT1, 0x1a7ff },
		{ LAPIC_LVT_ERROR, 0x100ff },  { LAPIC_TIMER_DIVIDE, 0xb },
	};
	struct cpu *c = vm.cpu[1];

	enable(c);
	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		put(c, row[i].n, 0xffffffff);
		assert_int_equal(get(c, row[i].n), row[i].bits);
		put(c, row[i].n, row[i].n == LAPIC_SVR ? 0x100 : 0);
	}
	put(c, LAPIC_ID, 0x55000000);
	put(c, LAPIC_VERSION, 0);
	assert_int_equal(get(c, LAPIC_ID), 1u << 24);
	assert_int_equal(get(c, LAPIC_VERSION), 0x50014);
	put(c, LAPIC_DFR, 0);
	assert_int_equal(get(c, LAPIC_DFR), 0x0fffffff);
}

static void lapic_disabled_by_svr_masks_lvts_and_takes_nothing(void **state)
{
	struct cpu *c = vm.cpu[1];

	put(c, LAPIC_LVT_LINT1, 0x400);
	assert_int_equal(get(c, LAPIC_LVT_LINT1), 0x10400);
	enable(c);
	put(c, LAPIC_LVT_LINT1, 0x400);
	assert_int_equal(get(c, LAPIC_LVT_LINT1), 0x400);
	put(c, LAPIC_SVR, 0xff);
	assert_int_equal(get(c, LAPIC_LVT_LINT1), 0x10400);
	lapic_post(c, 0x55, false);
	assert_int_equal(take(c), -1);
	enable(c);
	assert_int_equal(take(c), -1);
}

static void lapic_page_is_deaf_when_off_or_in_x2apic_mode(void **state)
{
	struct cpu *c = vm.cpu[1];
	uint64_t v;

	assert_int_equal(lapic_msr_read(c, 0x802, &v), -1);
	assert_int_equal(lapic_msr_write(c, 0x80b, 0), -1);
	x2apic(c);
	assert_int_equal(get(c, LAPIC_VERSION), 0xffffffff);
	put(c, LAPIC_TPR, 0x20);
	assert_int_equal(rdmsr(c, 0x808), 0);
}

static void lapic_base_changes_modes_only_as_the_manual_says(void **state)
{
	struct cpu *c = vm.cpu[5];
	uint64_t base = 0xfee00000;

	assert_int_equal(lapic_base_write(c, base | 0x400), -1); /* EXTD without EN */
	assert_int_equal(lapic_base_write(c, base | 0x801), -1); /* reserved */
	assert_int_equal(lapic_base_write(c, base | 0xa00), -1);
	assert_int_equal(lapic_base_write(c, 1ull << CPU_PHYS_BITS | 0x800), -1);
	put(c, LAPIC_TPR, 0x40);
	assert_int_equal(lapic_base_write(c, base | 0xc00), 0);
	assert_int_equal(rdmsr(c, 0x802), 5);
	assert_int_equal(rdmsr(c, 0x80d), 1 << 5);
	assert_int_equal(rdmsr(c, 0x808), 0x40);
	assert_int_equal(lapic_base_write(c, base | 0x800), -1); /* not back */
	assert_int_equal(lapic_base_write(c, base), 0);
	assert_int_equal(lapic_base_write(c, base | 0xc00), -1); /* not in one step */
	assert_int_equal(lapic_base_write(c, base | 0x800), 0);
	assert_int_equal(get(c, LAPIC_ID), 5u << 24);
	assert_int_equal(get(c, LAPIC_TPR), 0); /* off and on is a reset */
	assert_int_equal(get(c, LAPIC_SVR), 0xff);
}

static void lapic_init_keeps_the_mode(void **state)
{
	struct cpu *c = vm.cpu[5];

	x2apic(c);
	msr(c, 0x80f, 0x1ff);
	lapic_reset(c, true);
	assert_int_equal(rdmsr(c, 0x802), 5);
	assert_int_equal(rdmsr(c, 0x80d), 1 << 5);
	assert_int_equal(rdmsr(c, 0x80f), 0xff);
}

static void lapic_x2apic_msrs_fault_where_they_must(void **state)
{
	/* readable, writable with 0 */
	static const uint8_t readable[] = { 0x02, 0x03, 0x08, 0x0a, 0x0d, 0x0f, 0x28, 0x30, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3e };
	static const uint8_t writable[] = { 0x08, 0x0b, 0x0f, 0x28, 0x30, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x3e, 0x3f };
	struct cpu *c = vm.cpu[0];
	uint64_t v;

	x2apic(c);
	for (unsigned n = 0; n < 0x100; n++) {
		bool r = (n >= 0x10 && n < 0x28) || memchr(readable, (int)n, sizeof(readable)), w = memchr(writable, (int)n, sizeof(writable));

		assert_int_equal(lapic_msr_read(c, 0x800 + n, &v), r ? 0 : -1);
		assert_int_equal(lapic_msr_write(c, 0x800 + n, 0), w ? 0 : -1);
		assert_int_equal(lapic_msr_write(c, 0x800 + n, 1ull << 32), n == 0x30 ? 0 : -1);
	}
	assert_int_equal(lapic_msr_write(c, 0x80b, 1), -1);
	assert_int_equal(lapic_msr_write(c, 0x828, 1), -1);
	assert_int_equal(lapic_msr_write(c, 0x808, 0x100), -1);
	assert_int_equal(lapic_msr_write(c, 0x830, 1 << 13), -1);
	assert_int_equal(lapic_msr_write(c, 0x835, 1 << 17), -1);
	assert_int_equal(lapic_msr_write(c, 0x83f, 0x100), -1);
	msr(c, 0x830, 0x1234567800000000ull | 0x000c4000 | 0x400);
	assert_true(rdmsr(c, 0x830) == (0x1234567800000000ull | 0x000c4400));
}

/* --- priorities --- */

static void lapic_delivers_highest_first_and_nests_by_class(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	lapic_post(c, 0x31, false);
	assert_int_equal(requests(c) & REQ_INTR, REQ_INTR);
	lapic_post(c, 0x45, false);
	lapic_post(c, 0x42, false);
	assert_int_equal(take(c), 0x45);
	assert_int_equal(get(c, LAPIC_PPR), 0x40);
	assert_int_equal(take(c), -1); /* 0x42 is of the same class */
	lapic_post(c, 0x50, false);
	assert_int_equal(take(c), 0x50);
	assert_int_equal(get(c, LAPIC_ISR + 2), 1u << 5 | 1u << 16);
	requests(c);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(get(c, LAPIC_PPR), 0x40);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(requests(c) & REQ_EVENT, REQ_EVENT); /* the run loop has to look again */
	assert_int_equal(take(c), 0x42);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(take(c), 0x31);
	put(c, LAPIC_EOI, 0);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(get(c, LAPIC_PPR), 0);
	assert_int_equal(take(c), -1);
}

static void lapic_tpr_holds_back_its_class_and_below(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	lapic_set_cr8(c, 5);
	assert_int_equal(get(c, LAPIC_TPR), 0x50);
	lapic_post(c, 0x5f, false);
	assert_int_equal(take(c), -1);
	requests(c);
	put(c, LAPIC_TPR, 0x4f);
	assert_int_equal(requests(c) & REQ_EVENT, REQ_EVENT);
	assert_int_equal(lapic_cr8(c), 4);
	assert_int_equal(get(c, LAPIC_PPR), 0x4f);
	assert_int_equal(take(c), 0x5f);
	put(c, LAPIC_TPR, 0x53);
	assert_int_equal(get(c, LAPIC_PPR), 0x53);
	put(c, LAPIC_TPR, 0x41);
	assert_int_equal(get(c, LAPIC_PPR), 0x50);
}

static void lapic_irr_keeps_one_more_of_a_vector_in_service(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	lapic_post(c, 0xff, false);
	assert_int_equal(take(c), 0xff);
	lapic_post(c, 0xff, false);
	lapic_post(c, 0xff, false);
	assert_int_equal(get(c, LAPIC_IRR + 7), 1u << 31);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(take(c), 0xff);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(take(c), -1);
}

static void lapic_level_eoi_is_told_where_a_route_wants_it(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	vm.eoi_exit[1] = 1ull << (0x61 - 64);
	lapic_post(c, 0x61, true);
	assert_int_equal(take(c), 0x61);
	assert_int_equal(get(c, LAPIC_TMR + 3), 1u << 1);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(lapic_eoi_exit(c), 0x61);
	assert_int_equal(lapic_eoi_exit(c), -1);
	lapic_post(c, 0x61, false); /* an edge of the same vector */
	assert_int_equal(take(c), 0x61);
	assert_int_equal(get(c, LAPIC_TMR + 3), 0);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(lapic_eoi_exit(c), -1);
	lapic_post(c, 0x62, true); /* a level that no I/O APIC waits for */
	take(c);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(lapic_eoi_exit(c), -1);
}

/* --- errors --- */

static void lapic_errors_show_after_a_write_of_esr(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	put(c, LAPIC_LVT_ERROR, 0xfe);
	put(c, LAPIC_ICR, 0x4000 | 1 << 18 | 7); /* vector 7 to itself */
	assert_int_equal(get(c, LAPIC_ESR), 0);
	assert_int_equal(take(c), 0xfe);
	put(c, LAPIC_EOI, 0);
	put(c, LAPIC_ICR, 0x4000 | 1 << 18 | 7);
	assert_int_equal(take(c), -1); /* not until ESR was written */
	put(c, LAPIC_ESR, 0);
	assert_int_equal(get(c, LAPIC_ESR), 0x20);
	put(c, LAPIC_ESR, 0);
	assert_int_equal(get(c, LAPIC_ESR), 0);
	lapic_post(c, 15, false);
	assert_int_equal(take(c), 0xfe);
	put(c, LAPIC_ESR, 0);
	assert_int_equal(get(c, LAPIC_ESR), 0x40);
	get(c, 0x3a);
	put(c, 0x00, 1);
	put(c, LAPIC_ESR, 0);
	assert_int_equal(get(c, LAPIC_ESR), 0x80);
}

/* --- messages --- */

static int msi(uint32_t address, uint32_t data)
{
	const struct engine_msi m = { address, data };

	return lapic_deliver(&vm, &m);
}

static void lapic_msi_reaches_physical_destinations(void **state)
{
	enable_all();
	assert_int_equal(msi(0xfee05000, 0x41), 0);
	assert_int_equal(who_got(0x41), 1 << 5);
	assert_int_equal(msi(0xfee55000, 0x41), 0);
	assert_int_equal(who_got(0x41), 0);
	assert_int_equal(msi(0xfeeff000, 0x41), 0);
	assert_int_equal(who_got(0x41), 0xffff);
	assert_int_equal(msi(0xfed05000, 0x41), -EINVAL);
	assert_int_equal(msi(0xfee05000, 0x341), -EINVAL);
	assert_int_equal(msi(0xfee05000, 0x741), -EINVAL);
}

static void lapic_msi_reaches_logical_destinations_flat_and_cluster(void **state)
{
	enable_all();
	for (unsigned i = 0; i < 8; i++)
		put(vm.cpu[i], LAPIC_LDR, 1u << (24 + i));
	msi(0xfee00004 | 0xa1 << 12, 0x41);
	assert_int_equal(who_got(0x41), 0xa1);
	for (unsigned i = 0; i < CPUS; i++) {
		put(vm.cpu[i], LAPIC_DFR, 0);
		put(vm.cpu[i], LAPIC_LDR, (i / 4) << 28 | 1u << (24 + i % 4));
	}
	msi(0xfee00004 | 0x2a << 12, 0x41); /* cluster 2, members 1 and 3 */
	assert_int_equal(who_got(0x41), 0xa << 8);
	msi(0xfee00004 | 0xff << 12, 0x41);
	assert_int_equal(who_got(0x41), 0xffff);
	for (unsigned i = 0; i < CPUS; i++)
		x2apic(vm.cpu[i]);
	msi(0xfee00004 | 0x81 << 12, 0x41); /* the first eight of cluster 0 */
	assert_int_equal(who_got(0x41), 0x81);
}

static void lapic_lowest_priority_goes_to_one_that_is_enabled(void **state)
{
	unsigned all = 0;

	for (unsigned i = 0; i < 8; i++) {
		if (i != 3)
			enable(vm.cpu[i]);
		put(vm.cpu[i], LAPIC_LDR, 1u << (24 + i));
	}
	for (int v = 0x40; v < 0x60; v++) {
		unsigned got;

		msi(0xfee00004 | 0x0f << 12 | (v & 1 ? 8 : 0), (v & 1 ? 0 : 0x100) | (uint32_t)v);
		got = who_got(v);
		assert_int_equal(__builtin_popcount(got), 1);
		all |= got;
	}
	assert_int_equal(all, 0x07);
}

static void lapic_msi_delivery_modes_become_requests(void **state)
{
	enable_all();
	forget_requests();
	msi(0xfee02000, 0x400);
	assert_int_equal(requests(vm.cpu[2]), REQ_NMI);
	msi(0xfee02000, 0x200);
	assert_int_equal(requests(vm.cpu[2]), REQ_SMI);
	msi(0xfee02000, 0x500);
	assert_int_equal(requests(vm.cpu[2]), REQ_INIT);
	msi(0xfee02000, 0x8500); /* level de-assert */
	assert_int_equal(requests(vm.cpu[2]), 0);
	msi(0xfee02000, 0xc541);
	assert_int_equal(requests(vm.cpu[2]), REQ_INIT);
	msi(0xfee02000, 0xc041);
	assert_int_equal(take(vm.cpu[2]), 0x41);
	assert_int_equal(get(vm.cpu[2], LAPIC_TMR + 2), 2);
}

static void lapic_off_by_its_base_gets_no_message(void **state)
{
	enable_all();
	assert_int_equal(lapic_base_write(vm.cpu[4], 0xfee00000), 0);
	forget_requests();
	msi(0xfeeff000, 0x400);
	assert_int_equal(requests(vm.cpu[4]), 0);
	assert_int_equal(requests(vm.cpu[5]), REQ_NMI);
}

/* --- posts from other threads --- */

enum { POSTERS = 3, POSTS = 3000 };

static _Atomic unsigned taken[POSTERS];

static void *post_and_wait(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < POSTS; i++) {
		lapic_post(vm.cpu[0], 0x40 + n, i & 1);
		while (atomic_load(&taken[n]) == i)
			sched_yield();
	}
	return NULL;
}

static void lapic_posts_from_other_threads_are_not_lost(void **state)
{
	struct cpu *c = vm.cpu[0];
	pthread_t thread[POSTERS];
	unsigned left = POSTERS * POSTS;

	enable(c);
	for (unsigned i = 0; i < POSTERS; i++) {
		atomic_store(&taken[i], 0);
		assert_int_equal(pthread_create(&thread[i], NULL, post_and_wait, (void *)(uintptr_t)i), 0);
	}
	while (left) {
		unsigned n;
		int v;

		if (!(requests(c) & REQ_INTR)) { /* only a request makes a vCPU look */
			sched_yield();
			continue;
		}
		while ((v = take(c)) >= 0) {
			n = (unsigned)v - 0x40;
			assert_true(n < POSTERS);
			/* odd posts are levels */
			assert_int_equal(get(c, LAPIC_TMR + 2) >> n & 1, atomic_load(&taken[n]) & 1);
			put(c, LAPIC_EOI, 0);
			atomic_fetch_add(&taken[n], 1);
			left--;
		}
	}
	for (unsigned i = 0; i < POSTERS; i++)
		pthread_join(thread[i], NULL);
}

/* --- IPIs --- */

static void lapic_shorthands(void **state)
{
	struct cpu *c = vm.cpu[2];

	enable_all();
	put(c, LAPIC_ICR, 1 << 18 | 0x4000 | 0x51);
	assert_int_equal(who_got(0x51), 1 << 2);
	put(c, LAPIC_ICR, 2 << 18 | 0x4000 | 0x51);
	assert_int_equal(who_got(0x51), 0xffff);
	put(c, LAPIC_ICR, 3 << 18 | 0x4000 | 0x51);
	assert_int_equal(who_got(0x51), 0xffff & ~(1 << 2));
	assert_int_equal(get(c, LAPIC_ICR), 3 << 18 | 0x4000 | 0x51); /* and never busy */
	forget_requests();
	put(c, LAPIC_ICR, 1 << 18 | 0x4000 | 0x500);
	put(c, LAPIC_ICR, 2 << 18 | 0x4000 | 0x500); /* INIT of oneself is not to be had */
	assert_int_equal(requests(c), 0);
	put(c, LAPIC_ICR, 3 << 18 | 0x4000 | 0x500);
	assert_int_equal(requests(c), 0);
	assert_int_equal(requests(vm.cpu[3]), REQ_INIT);
}

static void lapic_starts_another_cpu(void **state)
{
	struct cpu *c = vm.cpu[0], *ap = vm.cpu[1];

	enable(c);
	forget_requests();
	put(c, LAPIC_ICR_HIGH, 1u << 24);
	put(c, LAPIC_ICR, 0x500 | 0xc000);
	assert_int_equal(requests(ap), REQ_INIT);
	put(c, LAPIC_ICR, 0x500 | 0x8000); /* de-assert */
	assert_int_equal(requests(ap), 0);
	put(c, LAPIC_ICR, 0x600 | 0x99);
	assert_int_equal(requests(ap), REQ_SIPI);
	assert_int_equal(atomic_load(&ap->lapic.sipi_vector), 0x99);
	assert_int_equal(requests(vm.cpu[2]), 0);
}

static void lapic_ipi_destinations(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable_all();
	for (unsigned i = 0; i < 8; i++)
		put(vm.cpu[i], LAPIC_LDR, 1u << (24 + i));
	put(c, LAPIC_ICR_HIGH, 7u << 24);
	put(c, LAPIC_ICR, 0x4071);
	assert_int_equal(who_got(0x71), 1 << 7);
	put(c, LAPIC_ICR_HIGH, 0x18u << 24);
	put(c, LAPIC_ICR, 0x4871);
	assert_int_equal(who_got(0x71), 0x18);
	put(c, LAPIC_ICR_HIGH, 0xffu << 24);
	put(c, LAPIC_ICR, 0x4071);
	assert_int_equal(who_got(0x71), 0xffff);
	put(c, LAPIC_ICR, 0xc071); /* IPIs are edges, whatever the trigger mode says */
	assert_int_equal(take(vm.cpu[1]), 0x71);
	assert_int_equal(get(vm.cpu[1], LAPIC_TMR + 3), 0);
}

static void lapic_x2apic_ipis(void **state)
{
	struct cpu *c = vm.cpu[0];

	for (unsigned i = 0; i < CPUS; i++) {
		x2apic(vm.cpu[i]);
		msr(vm.cpu[i], 0x80f, 0x1ff);
	}
	msr(c, 0x830, 15ull << 32 | 0x4071);
	assert_int_equal(who_got(0x71), 1 << 15);
	msr(c, 0x830, 0xffffffffull << 32 | 0x4071);
	assert_int_equal(who_got(0x71), 0xffff);
	msr(c, 0x830, 0xffull << 32 | 0x4071); /* no broadcast here: there is no CPU 255 */
	assert_int_equal(who_got(0x71), 0);
	msr(c, 0x830, 0x8421ull << 32 | 0x4871); /* logical: cluster 0 */
	assert_int_equal(who_got(0x71), 0x8421);
	msr(c, 0x830, 0x10001ull << 32 | 0x4871); /* cluster 1 has nobody */
	assert_int_equal(who_got(0x71), 0);
	msr(c, 0x83f, 0x71);
	assert_int_equal(who_got(0x71), 1);
}

/* --- timer: 25 MHz, so 40 ns a count --- */

static void lapic_timer_fires_once_in_oneshot_mode(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	put(c, LAPIC_TIMER_DIVIDE, 0xb); /* by 1 */
	put(c, LAPIC_LVT_TIMER, 0xec);
	put(c, LAPIC_TIMER_INIT, 1000);
	assert_int_equal(armed[0], 40000);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 1000);
	pass(39);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 1000);
	pass(1);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 999);
	pass(39959);
	tick(c);
	assert_int_equal(take(c), -1);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 1);
	pass(1);
	tick(c);
	assert_int_equal(take(c), 0xec);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 0);
	assert_true(armed[0] == UINT64_MAX);
	pass(10000000);
	tick(c);
	assert_int_equal(take(c), -1);
	assert_int_equal(get(c, LAPIC_TIMER_INIT), 1000);
}

static void lapic_timer_periodic_does_not_drift(void **state)
{
	struct cpu *c = vm.cpu[0];
	unsigned fired = 0;

	enable(c);
	put(c, LAPIC_TIMER_DIVIDE, 0x3); /* by 16 */
	put(c, LAPIC_LVT_TIMER, 0x200ec);
	put(c, LAPIC_TIMER_INIT, 1000); /* 640 us */
	for (unsigned i = 0; i < 1000; i++) {
		pass(123457); /* the host is never quite on time */
		tick(c);
		if (take(c) == 0xec) {
			fired++;
			put(c, LAPIC_EOI, 0);
		}
	}
	assert_int_equal(fired, 123457000 / 640000);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 1000 - 123457000 % 640000 / 640);
	assert_int_equal(armed[0], (fired + 1) * 640000);
	pass(10 * 640000); /* several at once are one */
	tick(c);
	assert_int_equal(take(c), 0xec);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(take(c), -1);
	put(c, LAPIC_TIMER_INIT, 0);
	assert_true(armed[0] == UINT64_MAX);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 0);
}

static void lapic_timer_divides(void **state)
{
	static const struct {
		uint8_t dcr;
		unsigned by;
	} row[] = { { 0x0, 2 }, { 0x1, 4 }, { 0x2, 8 }, { 0x3, 16 }, { 0x8, 32 }, { 0x9, 64 }, { 0xa, 128 }, { 0xb, 1 } };
	struct cpu *c = vm.cpu[0];

	enable(c);
	for (unsigned i = 0; i < 8; i++) {
		put(c, LAPIC_TIMER_DIVIDE, row[i].dcr);
		put(c, LAPIC_TIMER_INIT, 0x80000000);
		pass(1000000);
		assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 0x80000000 - 1000000 / 40 / row[i].by);
	}
	/* a new divider in the middle: the count goes on from where it is */
	put(c, LAPIC_TIMER_DIVIDE, 0xb);
	put(c, LAPIC_TIMER_INIT, 100000);
	pass(40 * 40000);
	put(c, LAPIC_TIMER_DIVIDE, 0x0);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 60000);
	pass(80 * 10000);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 50000);
}

static void lapic_timer_counts_while_masked(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	put(c, LAPIC_TIMER_DIVIDE, 0xb);
	put(c, LAPIC_LVT_TIMER, 0x100ec);
	put(c, LAPIC_TIMER_INIT, 1000);
	pass(40000);
	tick(c);
	assert_int_equal(take(c), -1);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 0);
}

static void lapic_timer_tsc_deadline(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	msr(c, 0x6e0, 5000); /* not in this mode: ignored */
	assert_int_equal(rdmsr(c, 0x6e0), 0);
	put(c, LAPIC_LVT_TIMER, 0x400ec);
	c->tsc_delta = (uint64_t)-300;
	msr(c, 0x6e0, 5000);
	assert_int_equal(rdmsr(c, 0x6e0), 5000);
	put(c, LAPIC_TIMER_INIT, 77); /* ignored */
	assert_int_equal(get(c, LAPIC_TIMER_INIT), 0);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 0);
	assert_in_range(armed[0], 5300, 5301);
	pass(5299);
	tick(c);
	assert_int_equal(take(c), -1);
	pass(2);
	tick(c);
	assert_int_equal(take(c), 0xec);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(rdmsr(c, 0x6e0), 0);
	msr(c, 0x6e0, 10); /* in the past: at once */
	assert_int_equal(take(c), 0xec);
	put(c, LAPIC_EOI, 0);
	msr(c, 0x6e0, UINT64_MAX); /* never, but armed */
	assert_true(rdmsr(c, 0x6e0) == UINT64_MAX);
	pass(1000000000);
	tick(c);
	assert_int_equal(take(c), -1);
	msr(c, 0x6e0, 0);
	assert_true(armed[0] == UINT64_MAX);
	msr(c, 0x6e0, 1ull << 40);
	put(c, LAPIC_LVT_TIMER, 0xec); /* leaving the mode disarms */
	assert_int_equal(rdmsr(c, 0x6e0), 0);
	assert_true(armed[0] == UINT64_MAX);
}

static void lapic_timer_of_one_count_leaves_time_to_run(void **state)
{
	struct cpu *c = vm.cpu[0];
	unsigned fired = 0;

	enable(c);
	put(c, LAPIC_TIMER_DIVIDE, 0xb);
	put(c, LAPIC_LVT_TIMER, 0x200ec);
	put(c, LAPIC_TIMER_INIT, 1);
	for (unsigned i = 0; i < 1000; i++) {
		pass(1000);
		tick(c);
		if (take(c) == 0xec) {
			fired++;
			put(c, LAPIC_EOI, 0);
		}
	}
	assert_in_range(fired, 15, 25);
}

/* --- saved state --- */

static void move(struct cpu *from, struct cpu *to)
{
	struct vcpu_state s = { .apic_base = from->apic_base };

	lapic_get_state(from, &s);
	lapic_reset(to, false);
	to->apic_base = from->apic_base;
	to->tsc_delta = from->tsc_delta;
	lapic_set_state(to, &s);
}

static void lapic_goes_on_from_a_saved_service(void **state)
{
	struct cpu *c = vm.cpu[2], t;

	enable(c);
	vm.eoi_exit[1] = 1ull << (0x61 - 64);
	put(c, LAPIC_TPR, 0x23);
	put(c, LAPIC_LVT_ERROR, 0xfe);
	lapic_post(c, 0x61, true);
	take(c);
	lapic_post(c, 0x41, false);
	lapic_post(c, 0x72, false); /* posted, not taken over yet */
	memset(&t, 0, sizeof(t));
	t.vm = &vm;
	t.index = 2;
	t.apic_base = c->apic_base;
	move(c, &t);
	assert_int_equal(get(&t, LAPIC_TPR), 0x23);
	assert_int_equal(get(&t, LAPIC_LVT_ERROR), 0xfe);
	assert_int_equal(take(&t), 0x72);
	put(&t, LAPIC_EOI, 0);
	put(&t, LAPIC_EOI, 0);
	assert_int_equal(lapic_eoi_exit(&t), 0x61);
	assert_int_equal(take(&t), 0x41);
}

static void lapic_timers_go_on_from_a_saved_count(void **state)
{
	static const uint32_t mode[] = { 0, 0x20000 };
	struct cpu *c = vm.cpu[2], t;

	enable(c);
	put(c, LAPIC_TIMER_DIVIDE, 0xb);
	for (unsigned i = 0; i < 2; i++) {
		put(c, LAPIC_LVT_TIMER, mode[i] | 0xec);
		put(c, LAPIC_TIMER_INIT, 10000);
		pass(150000);
		memset(&t, 0, sizeof(t));
		t.vm = &vm;
		t.index = 2;
		t.apic_base = c->apic_base;
		move(c, &t);
		assert_int_equal(get(&t, LAPIC_TIMER_CURRENT), 10000 - 150000 / 40);
		pass(249999);
		tick(&t);
		assert_int_equal(take(&t), -1);
		pass(1);
		tick(&t);
		assert_int_equal(take(&t), 0xec);
		put(&t, LAPIC_EOI, 0);
		move(&t, c); /* expired, or in its next period */
		pass(400000);
		tick(c);
		assert_int_equal(take(c), mode[i] ? 0xec : -1);
		put(c, LAPIC_EOI, 0);
	}
	put(c, LAPIC_LVT_TIMER, 0x400ec);
	msr(c, 0x6e0, vm.clock.tsc_paused + 1000);
	memset(&t, 0, sizeof(t));
	t.vm = &vm;
	t.index = 2;
	t.apic_base = c->apic_base;
	move(c, &t);
	assert_int_equal(rdmsr(&t, 0x6e0), vm.clock.tsc_paused + 1000);
	pass(1001);
	tick(&t);
	assert_int_equal(take(&t), 0xec);
}

static void lapic_takes_any_saved_state(void **state)
{
	struct cpu *c = vm.cpu[1];
	uint32_t x = 1;

	for (unsigned i = 0; i < 2000; i++) {
		struct vcpu_state s = { 0 };

		for (unsigned k = 0; k < sizeof(s.lapic) / 4; k++) {
			x = x * 1664525 + 1013904223;
			s.lapic[k] = x ^ x >> 16;
		}
		s.tsc_deadline = (uint64_t)s.lapic[0] << 32 | s.lapic[1];
		s.lapic_timer_start_ns = i & 1 ? s.tsc_deadline * 7 : s.lapic[2];
		c->apic_base = 0xfee00000 | (i & 2 ? 0x800 : 0) | (i & 4 ? 0x400 : 0);
		c->tsc_delta = s.tsc_deadline * 13;
		lapic_set_state(c, &s);
		pass(1000000);
		lapic_timer_check(c);
		for (unsigned n = 0; n < 64; n++)
			get(c, n);
		take(c);
		put(c, LAPIC_EOI, 0);
		put(c, LAPIC_ICR, s.lapic[5]);
		put(c, LAPIC_TIMER_DIVIDE, s.lapic[6]);
		put(c, LAPIC_LVT_TIMER, s.lapic[7]);
		lapic_get_state(c, &s);
		assert_int_equal(c->lapic.reg[LAPIC_IRR] & 0xffff, 0);
		assert_int_equal(c->lapic.reg[LAPIC_ISR] & 0xffff, 0);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, make, unmake)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(lapic_registers_after_reset),
		T(lapic_registers_keep_only_their_bits),
		T(lapic_disabled_by_svr_masks_lvts_and_takes_nothing),
		T(lapic_page_is_deaf_when_off_or_in_x2apic_mode),
		T(lapic_base_changes_modes_only_as_the_manual_says),
		T(lapic_init_keeps_the_mode),
		T(lapic_x2apic_msrs_fault_where_they_must),
		T(lapic_delivers_highest_first_and_nests_by_class),
		T(lapic_tpr_holds_back_its_class_and_below),
		T(lapic_irr_keeps_one_more_of_a_vector_in_service),
		T(lapic_level_eoi_is_told_where_a_route_wants_it),
		T(lapic_errors_show_after_a_write_of_esr),
		T(lapic_msi_reaches_physical_destinations),
		T(lapic_msi_reaches_logical_destinations_flat_and_cluster),
		T(lapic_lowest_priority_goes_to_one_that_is_enabled),
		T(lapic_msi_delivery_modes_become_requests),
		T(lapic_off_by_its_base_gets_no_message),
		T(lapic_posts_from_other_threads_are_not_lost),
		T(lapic_shorthands),
		T(lapic_starts_another_cpu),
		T(lapic_ipi_destinations),
		T(lapic_x2apic_ipis),
		T(lapic_timer_fires_once_in_oneshot_mode),
		T(lapic_timer_periodic_does_not_drift),
		T(lapic_timer_divides),
		T(lapic_timer_counts_while_masked),
		T(lapic_timer_tsc_deadline),
		T(lapic_timer_of_one_count_leaves_time_to_run),
		T(lapic_goes_on_from_a_saved_service),
		T(lapic_timers_go_on_from_a_saved_count),
		T(lapic_takes_any_saved_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
