// SPDX-License-Identifier: GPL-2.0-or-later
/* The timer: SDM vol. 3, 11.5.4. */
#include "lapic_rig.h"


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

/* 11.5.4: between one-shot and periodic the count goes on; a count that has come to 0 stays there. */
static void lapic_timer_mode_changes_keep_the_count(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	put(c, LAPIC_TIMER_DIVIDE, 0xb);
	put(c, LAPIC_LVT_TIMER, 0x50);
	put(c, LAPIC_TIMER_INIT, 10000);
	pass(6000 * 40);
	put(c, LAPIC_LVT_TIMER, 0x20050);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 4000);
	pass(5000 * 40);
	tick(c);
	assert_int_equal(take(c), 0x50);
	put(c, LAPIC_EOI, 0);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 9000);
	put(c, LAPIC_LVT_TIMER, 0x50);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 9000);
	pass(9500 * 40); /* expired, and its signal is late */
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 0);
	put(c, LAPIC_LVT_TIMER, 0x20051);
	assert_int_equal(take(c), 0x50); /* by the entry as it was then */
	put(c, LAPIC_EOI, 0);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 0);
	pass(20000 * 40);
	tick(c);
	assert_int_equal(take(c), -1);
	assert_int_equal(get(c, LAPIC_TIMER_INIT), 10000);
}

/* 11.5.4.1: in TSC-deadline mode the count registers are dead; leaving it disarms. */
static void lapic_timer_deadline_mode_is_apart(void **state)
{
	struct cpu *c = vm.cpu[0];

	enable(c);
	put(c, LAPIC_TIMER_INIT, 1000);
	msr(c, 0x6e0, 12345); /* not in that mode: ignored */
	assert_true(rdmsr(c, 0x6e0) == 0);
	put(c, LAPIC_LVT_TIMER, 0x40060);
	assert_int_equal(get(c, LAPIC_TIMER_CURRENT), 0);
	put(c, LAPIC_TIMER_INIT, 5);
	assert_int_equal(get(c, LAPIC_TIMER_INIT), 0);
	msr(c, 0x6e0, vm_clock_ns(&vm.clock) + 5000);
	put(c, LAPIC_LVT_TIMER, 0x00060);
	assert_true(rdmsr(c, 0x6e0) == 0);
	pass(10000);
	tick(c);
	assert_int_equal(take(c), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, lapic_make, lapic_unmake)
		T(lapic_timer_fires_once_in_oneshot_mode),
		T(lapic_timer_periodic_does_not_drift),
		T(lapic_timer_divides),
		T(lapic_timer_counts_while_masked),
		T(lapic_timer_tsc_deadline),
		T(lapic_timer_of_one_count_leaves_time_to_run),
		T(lapic_timer_mode_changes_keep_the_count),
		T(lapic_timer_deadline_mode_is_apart),
	};

	return cmocka_run_group_tests_name("lapic_timer", tests, NULL, NULL);
}
