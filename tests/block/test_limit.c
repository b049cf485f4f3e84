// SPDX-License-Identifier: GPL-2.0-or-later
/* Rate limits, with a clock that the test sets. */
#include "block/limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const uint64_t second = 1000000000, start = 77000000000;

/* How many requests of @bytes pass from @from on for @ns. */
static unsigned passed(struct limiter *l, uint64_t bytes, uint64_t from, uint64_t ns)
{
	unsigned n = 0;

	for (uint64_t now = from; now < from + ns;) {
		uint64_t when = limiter_take(l, bytes, now);

		n += !when;
		if (when) {
			assert_true(when > now);
			now = when;
		}
	}
	return n;
}

static void no_limit_lets_everything_through(void **state)
{
	struct limiter l;

	limiter_init(&l, 0, 0, start);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(limiter_take(&l, UINT64_MAX, start), 0);
}

static void operations_are_held_to_their_rate(void **state)
{
	struct limiter l;

	limiter_init(&l, 100, 0, start);
	assert_in_range(passed(&l, 1 << 20, start, 10 * second), 1000, 1001);
}

static void bytes_are_held_to_their_rate(void **state)
{
	struct limiter l;

	limiter_init(&l, 0, 1000000, start);
	assert_in_range(passed(&l, 4096, start, 10 * second), 2441, 2443);
}

static void the_stricter_limit_counts(void **state)
{
	struct limiter l;

	limiter_init(&l, 100, 4096 * 10, start);
	assert_in_range(passed(&l, 4096, start, 10 * second), 100, 101);
	limiter_init(&l, 10, 4096 * 1000, start);
	assert_in_range(passed(&l, 4096, start, 10 * second), 100, 101);
}

static void what_was_not_used_is_kept_for_a_tenth_of_a_second(void **state)
{
	struct limiter l;

	limiter_init(&l, 100, 0, start);
	limiter_take(&l, 0, start);
	/* After a minute of silence: a burst of ten, and the one that makes the debt. */
	for (int i = 0; i < 11; i++)
		assert_int_equal(limiter_take(&l, 0, start + 60 * second), 0);
	assert_true(limiter_take(&l, 0, start + 60 * second) > 0);
}

static void a_request_larger_than_the_rate_passes_and_is_paid_for_after(void **state)
{
	struct limiter l;

	limiter_init(&l, 0, 1000, start);
	assert_int_equal(limiter_take(&l, 10000, start), 0);
	assert_int_equal(limiter_take(&l, 1, start), start + 10 * second);
	assert_int_equal(limiter_take(&l, 1, start + 10 * second), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_limit_lets_everything_through),
		cmocka_unit_test(operations_are_held_to_their_rate),
		cmocka_unit_test(bytes_are_held_to_their_rate),
		cmocka_unit_test(the_stricter_limit_counts),
		cmocka_unit_test(what_was_not_used_is_kept_for_a_tenth_of_a_second),
		cmocka_unit_test(a_request_larger_than_the_rate_passes_and_is_paid_for_after),
	};

	return cmocka_run_group_tests_name("rate limits", tests, NULL, NULL);
}
