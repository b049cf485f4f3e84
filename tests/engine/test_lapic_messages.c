// SPDX-License-Identifier: GPL-2.0-or-later
/* Messages, posts from other threads, and IPIs: SDM vol. 3, 11.6, 11.11, 11.12.9-10. */
#include "lapic_rig.h"

#include <sched.h>

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

static _Atomic bool resetting;

static void *take_inits(void *arg)
{
	while (atomic_load(&resetting))
		lapic_reset(arg, true);
	return NULL;
}

/* 11.4.7.3: the ID stays, also for the thread of another CPU that looks while INIT is being taken. */
static void lapic_startup_ipi_finds_a_cpu_that_takes_init(void **state)
{
	struct cpu *c = vm.cpu[0], *ap = vm.cpu[3];
	unsigned lost = 0;
	pthread_t t;

	enable(c);
	forget_requests();
	atomic_store(&resetting, true);
	assert_int_equal(pthread_create(&t, NULL, take_inits, ap), 0);
	put(c, LAPIC_ICR_HIGH, 3u << 24);
	for (unsigned i = 0; i < 200000; i++) {
		put(c, LAPIC_ICR, 0x600 | 0x12);
		lost += !(requests(ap) & REQ_SIPI);
	}
	atomic_store(&resetting, false);
	pthread_join(t, NULL);
	assert_int_equal(lost, 0);
}

/* 9.4.4.1: "INIT, SIPI, SIPI": the first startup IPI counts, also when the CPU has not looked yet. */
static void lapic_second_startup_ipi_changes_nothing(void **state)
{
	struct cpu *c = vm.cpu[3];

	forget_requests();
	put(vm.cpu[0], LAPIC_ICR_HIGH, 3u << 24);
	put(vm.cpu[0], LAPIC_ICR, 0x612);
	put(vm.cpu[0], LAPIC_ICR, 0x634);
	assert_int_equal(atomic_load(&c->lapic.sipi_vector), 0x12);
	assert_int_equal(requests(c), REQ_SIPI);
	put(vm.cpu[0], LAPIC_ICR, 0x656); /* after it was taken: the next one counts */
	assert_int_equal(atomic_load(&c->lapic.sipi_vector), 0x56);
}

/* 11.6.1: the level de-assert form of INIT does nothing; delivery mode 3 ("remote read") is gone. */
static void lapic_init_deassert_and_remote_read_do_nothing(void **state)
{
	forget_requests();
	put(vm.cpu[0], LAPIC_ICR_HIGH, 3u << 24);
	put(vm.cpu[0], LAPIC_ICR, 0x8500);
	put(vm.cpu[0], LAPIC_ICR, 0x8500 | 2 << 18);
	put(vm.cpu[0], LAPIC_ICR, 0x4341);
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(requests(vm.cpu[i]), 0);
	put(vm.cpu[0], LAPIC_ICR, 0xc500);
	assert_int_equal(requests(vm.cpu[3]), REQ_INIT);
}

static void lapic_smi_by_the_icr(void **state)
{
	forget_requests();
	put(vm.cpu[0], LAPIC_ICR, 0x4200 | 3 << 18); /* all but itself */
	assert_int_equal(requests(vm.cpu[0]), 0);
	for (unsigned i = 1; i < CPUS; i++)
		assert_int_equal(requests(vm.cpu[i]), REQ_SMI);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, lapic_make, lapic_unmake)
		T(lapic_msi_reaches_physical_destinations),
		T(lapic_msi_reaches_logical_destinations_flat_and_cluster),
		T(lapic_lowest_priority_goes_to_one_that_is_enabled),
		T(lapic_msi_delivery_modes_become_requests),
		T(lapic_off_by_its_base_gets_no_message),
		T(lapic_posts_from_other_threads_are_not_lost),
		T(lapic_shorthands),
		T(lapic_starts_another_cpu),
		T(lapic_startup_ipi_finds_a_cpu_that_takes_init),
		T(lapic_second_startup_ipi_changes_nothing),
		T(lapic_init_deassert_and_remote_read_do_nothing),
		T(lapic_smi_by_the_icr),
		T(lapic_ipi_destinations),
		T(lapic_x2apic_ipis),
	};

	return cmocka_run_group_tests_name("lapic_messages", tests, NULL, NULL);
}
