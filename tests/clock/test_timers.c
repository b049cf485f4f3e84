// SPDX-License-Identifier: GPL-2.0-or-later
/* The queue of chip timers: order, re-arming from callbacks, what its owner is told. */
#include "clock/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct vm_timers q;
static uint64_t told;
static int told_count;
static char order[64];

static void changed(void *opaque, uint64_t deadline_ns)
{
	told = deadline_ns;
	told_count++;
}

static int make_queue(void **state)
{
	q = (struct vm_timers){.changed = changed};
	told = 0;
	told_count = 0;
	memset(order, 0, sizeof(order));
	return 0;
}

static void note(void *opaque)
{
	order[strlen(order)] = *(const char *)opaque;
}

static void timers_run_in_order_of_deadline_then_of_setting(void **state)
{
	struct vm_timer t[4];

	for (int i = 0; i < 4; i++)
		vm_timer_init(&t[i], note, &"abcd"[i]);
	vm_timer_set(&q, &t[0], 20);
	vm_timer_set(&q, &t[1], 10);
	vm_timer_set(&q, &t[2], 20);
	vm_timer_set(&q, &t[3], 30);
	vm_timers_run(&q, 9);
	assert_string_equal(order, "");
	vm_timers_run(&q, 20);
	assert_string_equal(order, "bac");
	assert_int_equal(t[0].deadline_ns, UINT64_MAX);
	assert_int_equal(t[3].deadline_ns, 30);
	vm_timers_run(&q, UINT64_MAX - 1);
	assert_string_equal(order, "bacd");
	assert_null(q.head);
}

static void timers_owner_hears_when_the_earliest_moves(void **state)
{
	struct vm_timer a, b;

	vm_timer_init(&a, note, "a");
	vm_timer_init(&b, note, "b");
	vm_timer_set(&q, &a, 100);
	assert_int_equal(told, 100);
	vm_timer_set(&q, &b, 200);
	assert_int_equal(told_count, 1);
	vm_timer_set(&q, &b, 50);
	assert_int_equal(told, 50);
	vm_timer_set(&q, &b, 50);
	assert_int_equal(told_count, 2);
	vm_timer_cancel(&q, &b);
	assert_int_equal(told, 100);
	vm_timer_set(&q, &a, 300);
	assert_int_equal(told, 300);
	vm_timer_cancel(&q, &a);
	assert_int_equal(told, UINT64_MAX);
	vm_timer_cancel(&q, &a);
	assert_int_equal(told_count, 5);
}

static void timers_early_run_tells_the_deadline_again(void **state)
{
	struct vm_timer a;

	vm_timer_init(&a, note, "a");
	vm_timer_set(&q, &a, 100);
	vm_timers_run(&q, 99);
	assert_int_equal(told_count, 2);
	assert_int_equal(told, 100);
	assert_string_equal(order, "");
}

static struct vm_timer periodic;
static int ticks;

static void tick(void *opaque)
{
	uint64_t *next = opaque;

	assert_int_equal(periodic.deadline_ns, UINT64_MAX);
	ticks++;
	*next += 10;
	vm_timer_set(&q, &periodic, *next);
}

static void timers_callback_may_set_itself_and_catch_up(void **state)
{
	uint64_t next = 10;

	ticks = 0;
	vm_timer_init(&periodic, tick, &next);
	vm_timer_set(&q, &periodic, next);
	told_count = 0;
	vm_timers_run(&q, 105);
	assert_int_equal(ticks, 10);
	assert_int_equal(told, 110);
	assert_int_equal(told_count, 1);
}

static void set_to_the_past(void *opaque)
{
	ticks++;
	vm_timer_set(&q, &periodic, 0);
}

static void timers_one_that_is_always_due_does_not_keep_the_run(void **state)
{
	ticks = 0;
	vm_timer_init(&periodic, set_to_the_past, NULL);
	vm_timer_set(&q, &periodic, 0);
	vm_timers_run(&q, 5);
	assert_int_equal(ticks, VM_TIMERS_RUN_MAX);
	assert_int_equal(told, 0);
}

static void cancel_other(void *opaque)
{
	note("x");
	vm_timer_cancel(&q, opaque);
}

static void timers_callback_may_cancel_another_that_is_due(void **state)
{
	struct vm_timer a, b;

	vm_timer_init(&b, note, "b");
	vm_timer_init(&a, cancel_other, &b);
	vm_timer_set(&q, &a, 1);
	vm_timer_set(&q, &b, 1);
	vm_timers_run(&q, 1);
	assert_string_equal(order, "x");
	assert_null(q.head);
}

static void timers_without_an_owner_to_tell_work(void **state)
{
	struct vm_timer a;

	q.changed = NULL;
	vm_timer_init(&a, note, "a");
	vm_timer_set(&q, &a, 1);
	vm_timers_run(&q, 1);
	assert_string_equal(order, "a");
}

/* Against a plain array, over a long random sequence. */
static void timers_agree_with_a_sorted_array(void **state)
{
	enum { N = 12 };
	struct vm_timer t[N];
	uint64_t want[N], now = 0;
	char name[N];

	srand(1);
	for (int i = 0; i < N; i++) {
		name[i] = (char)('a' + i);
		vm_timer_init(&t[i], note, &name[i]);
		want[i] = UINT64_MAX;
	}
	for (int step = 0; step < 20000; step++) {
		int i = rand() % N, n = 0;
		uint64_t first = UINT64_MAX;

		if (rand() % 3) {
			want[i] = rand() % 5 ? now + (uint64_t)(rand() % 100) : UINT64_MAX;
			vm_timer_set(&q, &t[i], want[i]);
		} else {
			now += (uint64_t)(rand() % 30);
			memset(order, 0, sizeof(order));
			vm_timers_run(&q, now);
			for (int k = 0; k < N; k++) {
				assert_int_equal(strchr(order, name[k]) != NULL, want[k] <= now);
				n += want[k] <= now;
				if (want[k] <= now)
					want[k] = UINT64_MAX;
			}
			assert_int_equal(strlen(order), n);
		}
		for (int k = 0; k < N; k++)
			first = want[k] < first ? want[k] : first;
		assert_true(told == first || (first == UINT64_MAX && !q.head));
		for (const struct vm_timer *p = q.head; p && p->next; p = p->next)
			assert_true(p->deadline_ns <= p->next->deadline_ns);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, make_queue)
	const struct CMUnitTest tests[] = {
		T(timers_run_in_order_of_deadline_then_of_setting),
		T(timers_owner_hears_when_the_earliest_moves),
		T(timers_early_run_tells_the_deadline_again),
		T(timers_callback_may_set_itself_and_catch_up),
		T(timers_one_that_is_always_due_does_not_keep_the_run),
		T(timers_callback_may_cancel_another_that_is_due),
		T(timers_without_an_owner_to_tell_work),
		T(timers_agree_with_a_sorted_array),
	};

	return cmocka_run_group_tests_name("timers", tests, NULL, NULL);
}
