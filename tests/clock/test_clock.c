// SPDX-License-Identifier: GPL-2.0-or-later
/* The VM clock: frequency, conversions at the edges, pause and resume, save and load. */
#include "clock/clock.h"

#include "host/loop.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t raw_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *ask_hz(void *arg)
{
	*(uint64_t *)arg = host_tsc_hz();
	return NULL;
}

static void tsc_hz_is_one_answer_for_all_threads(void **state)
{
	pthread_t thread[4];
	uint64_t hz[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, ask_hz, &hz[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < 4; i++)
		assert_int_equal(hz[i], host_tsc_hz());
}

static void tsc_hz_agrees_with_a_long_measurement(void **state)
{
	uint64_t hz = host_tsc_hz(), best = UINT64_MAX;

	/* The best of some tries: the machine may be busy in between the two readings. */
	for (int i = 0; i < 5; i++) {
		uint64_t ns = raw_ns(), tsc = host_tsc(), measured, diff;

		usleep(60000);
		ns = raw_ns() - ns;
		tsc = host_tsc() - tsc;
		measured = (uint64_t)((unsigned __int128)tsc * 1000000000u / ns);
		diff = measured > hz ? measured - hz : hz - measured;
		best = diff < best ? diff : best;
	}
	print_message("host TSC: %llu Hz, off by %.1f ppm\n", (unsigned long long)hz,
		      1e6 * (double)best / (double)hz);
	assert_true(best < hz / 2000);
}

static void clock_starts_paused_at_zero(void **state)
{
	struct vm_clock c;

	vm_clock_init(&c);
	assert_false(c.running);
	assert_int_equal(c.tsc_hz, host_tsc_hz());
	assert_int_equal(vm_clock_tsc(&c), 0);
	usleep(1000);
	assert_int_equal(vm_clock_ns(&c), 0);
	assert_true((uint64_t)time(NULL) - c.epoch_s < 5);
}

static void clock_runs_from_where_it_was_paused(void **state)
{
	struct vm_clock c;
	uint64_t a, b;

	vm_clock_init(&c);
	vm_clock_resume(&c);
	usleep(3000);
	vm_clock_pause(&c);
	a = vm_clock_tsc(&c);
	assert_true(vm_clock_ns(&c) >= 3000000);
	usleep(20000);
	assert_int_equal(vm_clock_tsc(&c), a);
	vm_clock_resume(&c);
	b = vm_clock_tsc(&c);
	assert_true(b >= a);
	assert_true(b - a < c.tsc_hz / 100);
	/* A second one changes nothing. */
	vm_clock_resume(&c);
	assert_true(vm_clock_tsc(&c) - b < c.tsc_hz / 100);
	vm_clock_pause(&c);
	a = vm_clock_tsc(&c);
	vm_clock_pause(&c);
	assert_int_equal(vm_clock_tsc(&c), a);
}

static void clock_conversion_is_exact_and_does_not_drift(void **state)
{
	struct vm_clock c = {.tsc_hz = 2999999999u};

	assert_int_equal(vm_clock_tsc_to_ns(&c, 0), 0);
	assert_int_equal(vm_clock_tsc_to_ns(&c, c.tsc_hz), 1000000000u);
	assert_int_equal(vm_clock_tsc_to_ns(&c, c.tsc_hz - 1), 999999999u);
	/* Ten years on, to the nanosecond. */
	assert_int_equal(vm_clock_tsc_to_ns(&c, c.tsc_hz * 315360000u), 315360000000000000u);
	assert_int_equal(vm_clock_tsc_to_ns(&c, c.tsc_hz * 315360000u - 1), 315359999999999999u);
}

static void clock_conversion_survives_absurd_frequencies(void **state)
{
	struct vm_clock c = {.tsc_hz = 0};

	assert_int_equal(vm_clock_tsc_to_ns(&c, UINT64_MAX), 0);
	c.tsc_hz = 1;
	assert_int_equal(vm_clock_tsc_to_ns(&c, 1), 1000000000u);
	assert_int_equal(vm_clock_tsc_to_ns(&c, UINT64_MAX), UINT64_MAX);
	c.tsc_hz = UINT64_MAX;
	assert_int_equal(vm_clock_tsc_to_ns(&c, UINT64_MAX), 1000000000u);
}

static void clock_deadline_is_when_vm_time_gets_there(void **state)
{
	struct vm_clock c;
	uint64_t vm, host;

	vm_clock_init(&c);
	assert_int_equal(vm_clock_host_deadline(&c, 5), UINT64_MAX);
	vm_clock_resume(&c);
	vm = vm_clock_ns(&c) + 5000000;
	host = vm_clock_host_deadline(&c, vm);
	while (host_monotonic_ns() < host)
		continue;
	/* The monotonic clock may be slewed by up to 500 ppm against the TSC. */
	assert_true(vm_clock_ns(&c) + 5000 >= vm);
	host = host_monotonic_ns();
	assert_true(vm_clock_host_deadline(&c, 0) - host < 1000000000u);
	assert_int_equal(vm_clock_host_deadline(&c, UINT64_MAX), UINT64_MAX);
	assert_int_equal(vm_clock_host_deadline(&c, UINT64_MAX - 1), UINT64_MAX - 1);
}

/* Saves @saved, loads into @loaded; the result of loading, and its reason in @why. */
static int save_and_load(const struct vm_clock *saved, struct vm_clock *loaded, char why[256])
{
	struct state_writer *w;
	struct state_reader *r;
	const void *bytes;
	size_t len;
	int ret;

	assert_int_equal(state_writer_create(&w), 0);
	vm_clock_save(w, saved);
	assert_int_equal(state_writer_finish(w, &bytes, &len), 0);
	assert_int_equal(state_reader_create(bytes, len, &r), 0);
	ret = vm_clock_load(r, loaded);
	snprintf(why, 256, "%s", state_reader_why(r));
	state_reader_destroy(r);
	state_writer_destroy(w);
	return ret;
}

static void clock_saved_running_loads_paused_at_that_moment(void **state)
{
	struct vm_clock c, d;
	uint64_t before, after;
	char why[256];

	vm_clock_init(&c);
	c.tsc_paused = 123456789;
	c.epoch_s = 1700000000;
	vm_clock_resume(&c);
	before = vm_clock_tsc(&c);
	assert_int_equal(save_and_load(&c, &d, why), 0);
	after = vm_clock_tsc(&c);
	assert_true(c.running);
	assert_false(d.running);
	assert_true(d.tsc_paused >= before && d.tsc_paused <= after);
	assert_int_equal(d.tsc_hz, c.tsc_hz);
	assert_int_equal(d.epoch_s, 1700000000);
	vm_clock_resume(&d);
	assert_true(vm_clock_tsc(&d) >= before);
}

static void clock_of_another_frequency_does_not_load(void **state)
{
	struct vm_clock c, d;
	uint64_t hz = host_tsc_hz();
	char why[256];

	vm_clock_init(&c);
	vm_clock_init(&d);
	c.tsc_hz = hz + hz / 1000 - 1;
	assert_int_equal(save_and_load(&c, &d, why), 0);
	assert_int_equal(d.tsc_hz, c.tsc_hz);
	c.tsc_hz = hz - hz / 1000 + 1;
	assert_int_equal(save_and_load(&c, &d, why), 0);

	vm_clock_init(&d);
	c.tsc_hz = hz + hz / 500;
	assert_int_equal(save_and_load(&c, &d, why), -EPROTO);
	assert_non_null(strstr(why, "kHz"));
	assert_int_equal(d.tsc_hz, hz);
	c.tsc_hz = 0;
	assert_int_equal(save_and_load(&c, &d, why), -EPROTO);
	c.tsc_hz = UINT64_MAX;
	assert_int_equal(save_and_load(&c, &d, why), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tsc_hz_is_one_answer_for_all_threads),
		cmocka_unit_test(tsc_hz_agrees_with_a_long_measurement),
		cmocka_unit_test(clock_starts_paused_at_zero),
		cmocka_unit_test(clock_runs_from_where_it_was_paused),
		cmocka_unit_test(clock_conversion_is_exact_and_does_not_drift),
		cmocka_unit_test(clock_conversion_survives_absurd_frequencies),
		cmocka_unit_test(clock_deadline_is_when_vm_time_gets_there),
		cmocka_unit_test(clock_saved_running_loads_paused_at_that_moment),
		cmocka_unit_test(clock_of_another_frequency_does_not_load),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
