// SPDX-License-Identifier: GPL-2.0-or-later
/* The event loop: who is called when, and that callbacks may pull the rug from under each other. */
#include "host/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MS 1000000ull

static struct loop *loop;
static int calls, alarms, wakes;

static int make_loop(void **state)
{
	calls = alarms = wakes = 0;
	return loop_create(&loop);
}

static int drop_loop(void **state)
{
	loop_destroy(loop);
	return 0;
}

static void stop(void *opaque)
{
	loop_stop(loop);
}

/* Runs the loop for about @ms, whatever it does meanwhile. */
static void run_for(unsigned ms)
{
	loop_set_alarm_fn(loop, stop, NULL);
	loop_alarm(loop, host_monotonic_ns() + ms * MS);
	assert_int_equal(loop_run(loop), 0);
}

static int ready_fd(void)
{
	return eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
}

static void drain(void *opaque, int fd, uint32_t events)
{
	uint64_t n;

	assert_true(events & EPOLLIN);
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	calls++;
}

static void loop_calls_the_watcher_of_a_ready_descriptor(void **state)
{
	int fd = ready_fd();

	assert_int_equal(loop_watch(loop, fd, EPOLLIN, drain, NULL), 0);
	run_for(5);
	assert_int_equal(calls, 1);
	close(fd);
}

static void loop_watch_refuses_a_second_watch_and_a_bad_descriptor(void **state)
{
	int fd = ready_fd();

	assert_int_equal(loop_watch(loop, fd, EPOLLIN, drain, NULL), 0);
	assert_int_equal(loop_watch(loop, fd, EPOLLIN, drain, NULL), -EEXIST);
	assert_int_equal(loop_watch(loop, 9999, EPOLLIN, drain, NULL), -EBADF);
	assert_int_equal(loop_change(loop, 9999, EPOLLIN), -ENOENT);
	loop_unwatch(loop, 9999);
	close(fd);
}

static int other_fd[2];

/* Whichever comes first unwatches both: the other must not be called. */
static void unwatch_both(void *opaque, int fd, uint32_t events)
{
	calls++;
	loop_unwatch(loop, other_fd[0]);
	loop_unwatch(loop, other_fd[1]);
}

static void loop_callback_may_unwatch_itself_and_others_of_the_same_batch(void **state)
{
	for (int i = 0; i < 2; i++) {
		other_fd[i] = ready_fd();
		assert_int_equal(loop_watch(loop, other_fd[i], EPOLLIN, unwatch_both, NULL), 0);
	}
	run_for(5);
	assert_int_equal(calls, 1);
	close(other_fd[0]);
	close(other_fd[1]);
}

static void never(void *opaque, int fd, uint32_t events)
{
	fail_msg("the event of a closed descriptor went to its successor");
}

/* Closes the other descriptor and watches a new one, quiet, under the same number. */
static void replace_other(void *opaque, int fd, uint32_t events)
{
	int other = fd == other_fd[0] ? other_fd[1] : other_fd[0];
	int quiet;

	calls++;
	loop_unwatch(loop, fd);
	loop_unwatch(loop, other);
	close(other);
	quiet = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(quiet, other);
	assert_int_equal(loop_watch(loop, quiet, EPOLLIN, never, NULL), 0);
}

static void loop_reused_descriptor_does_not_get_its_predecessors_event(void **state)
{
	for (int i = 0; i < 2; i++) {
		other_fd[i] = ready_fd();
		assert_int_equal(loop_watch(loop, other_fd[i], EPOLLIN, replace_other, NULL), 0);
	}
	run_for(5);
	assert_int_equal(calls, 1);
	close(other_fd[0]);
	close(other_fd[1]);
}

/* Asks the other for nothing any more. */
static void silence_other(void *opaque, int fd, uint32_t events)
{
	calls++;
	assert_int_equal(loop_change(loop, fd, 0), 0);
	assert_int_equal(loop_change(loop, fd == other_fd[0] ? other_fd[1] : other_fd[0], 0), 0);
}

static void loop_change_holds_within_the_batch(void **state)
{
	for (int i = 0; i < 2; i++) {
		other_fd[i] = ready_fd();
		assert_int_equal(loop_watch(loop, other_fd[i], EPOLLIN, silence_other, NULL), 0);
	}
	run_for(5);
	assert_int_equal(calls, 1);
	close(other_fd[0]);
	close(other_fd[1]);
}

static void count(void *opaque, int fd, uint32_t events)
{
	calls++;
	*(uint32_t *)opaque = events;
	loop_unwatch(loop, fd);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void loop_without_events_even_a_hang_up_is_not_told(void **state)
{
	uint32_t events = 0;
	uint64_t cpu;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(loop_watch(loop, fds[0], EPOLLIN, count, &events), 0);
	assert_int_equal(loop_change(loop, fds[0], 0), 0);
	close(fds[1]);
	cpu = cpu_ns();
	run_for(50);
	assert_int_equal(calls, 0);
	/* Nor does it turn the loop into a spin. */
	assert_true(cpu_ns() - cpu < 20 * MS);
	assert_int_equal(loop_change(loop, fds[0], EPOLLIN), 0);
	run_for(5);
	assert_int_equal(calls, 1);
	assert_true(events & EPOLLHUP);
	close(fds[0]);
}

static void read_to_end(void *opaque, int fd, uint32_t events)
{
	char byte;

	assert_int_equal(events, EPOLLIN);
	if (read(fd, &byte, 1) == 1)
		calls++;
	else
		loop_unwatch(loop, fd);
}

static void loop_regular_file_counts_as_always_ready(void **state)
{
	char path[] = "/tmp/subring-test-loop-XXXXXX";
	int fd = mkstemp(path), null = open("/dev/null", O_RDONLY);

	unlink(path);
	assert_int_equal(pwrite(fd, "abcde", 5, 0), 5);
	assert_int_equal(loop_watch(loop, fd, EPOLLIN, read_to_end, NULL), 0);
	assert_int_equal(loop_watch(loop, null, EPOLLIN, read_to_end, NULL), 0);
	run_for(20);
	assert_int_equal(calls, 5);
	close(fd);
	close(null);
}

static void count_alarm(void *opaque)
{
	alarms++;
}

static void stop_and_count_alarm(void *opaque)
{
	alarms++;
	loop_stop(loop);
}

static void loop_alarm_comes_once_and_not_early(void **state)
{
	uint64_t deadline = host_monotonic_ns() + 10 * MS;

	loop_set_alarm_fn(loop, stop_and_count_alarm, NULL);
	loop_alarm(loop, deadline);
	assert_int_equal(loop_run(loop), 0);
	assert_true(host_monotonic_ns() >= deadline);
	assert_int_equal(alarms, 1);
}

static void loop_alarm_of_the_past_comes_at_once(void **state)
{
	static const uint64_t past[] = {0, 1, 1000000000};

	loop_set_alarm_fn(loop, stop_and_count_alarm, NULL);
	for (int i = 0; i < 3; i++) {
		loop_alarm(loop, past[i]);
		assert_int_equal(loop_run(loop), 0);
		assert_int_equal(alarms, i + 1);
	}
}

static void stop_later(void *opaque, int fd, uint32_t events)
{
	uint64_t n;

	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	if (calls++ == 0) {
		/* The alarm is due, and in the same batch or the next: take it back. */
		loop_alarm(loop, UINT64_MAX);
		n = 1;
		assert_int_equal(write(fd, &n, sizeof(n)), sizeof(n));
	} else {
		loop_stop(loop);
	}
}

static void loop_alarm_can_be_taken_back_after_it_expired(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	uint64_t one = 1;

	loop_set_alarm_fn(loop, count_alarm, NULL);
	assert_int_equal(loop_watch(loop, fd, EPOLLIN, stop_later, NULL), 0);
	/* The descriptor is ready before the alarm expires, so that its event comes first. */
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
	loop_alarm(loop, host_monotonic_ns() + 3 * MS);
	usleep(6000);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(alarms, 0);
	close(fd);
}

static void loop_alarm_far_away_does_not_come(void **state)
{
	int fd = ready_fd();

	loop_set_alarm_fn(loop, count_alarm, NULL);
	loop_alarm(loop, UINT64_MAX - 1);
	loop_set_wake_fn(loop, stop, NULL);
	loop_wake(loop);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(alarms, 0);
	close(fd);
}

enum { WAKERS = 3, WAKES = 2000 };

static _Atomic int posted;
static int seen;

static void take_posted(void *opaque)
{
	wakes++;
	seen = posted;
	if (seen == WAKERS * WAKES)
		loop_stop(loop);
}

static void *wake_often(void *arg)
{
	for (int i = 0; i < WAKES; i++) {
		posted++;
		loop_wake(loop);
	}
	return NULL;
}

static void loop_no_wake_is_lost(void **state)
{
	pthread_t thread[WAKERS];

	posted = seen = 0;
	loop_set_wake_fn(loop, take_posted, NULL);
	for (int i = 0; i < WAKERS; i++)
		pthread_create(&thread[i], NULL, wake_often, NULL);
	assert_int_equal(loop_run(loop), 0); /* returns only when the last one was seen */
	for (int i = 0; i < WAKERS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(seen, WAKERS * WAKES);
	assert_in_range(wakes, 1, WAKERS * WAKES);
}

static void loop_stop_before_run_counts_and_run_can_be_repeated(void **state)
{
	loop_stop(loop);
	assert_int_equal(loop_run(loop), 0);
	loop_set_wake_fn(loop, stop, NULL);
	loop_wake(loop);
	assert_int_equal(loop_run(loop), 0);
}

static void count_wake(void *opaque)
{
	wakes++;
	loop_stop(loop);
}

static void loop_stop_is_no_wake(void **state)
{
	loop_set_wake_fn(loop, count_wake, NULL);
	run_for(1);
	loop_stop(loop);
	run_for(1);
	run_for(1);
	assert_int_equal(wakes, 0);
	loop_wake(loop);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(wakes, 1);
}

static void *stop_from_thread(void *arg)
{
	usleep(2000);
	loop_stop(loop);
	return NULL;
}

static void loop_stop_works_from_another_thread(void **state)
{
	pthread_t thread;

	pthread_create(&thread, NULL, stop_from_thread, NULL);
	assert_int_equal(loop_run(loop), 0);
	pthread_join(thread, NULL);
}

static void loop_destroy_takes_null(void **state)
{
	loop_destroy(NULL);
}

static int post_order[3], posts;

static void note_post(void *opaque)
{
	assert_true(posts < 3);
	post_order[posts++] = *(int *)opaque;
	if (posts == 3)
		loop_stop(loop);
}

static void *post_three(void *opaque)
{
	static int numbers[3] = {1, 2, 3};

	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_post(loop, note_post, &numbers[i]), 0);
	return NULL;
}

static void loop_posts_of_another_thread_run_once_and_in_order(void **state)
{
	pthread_t thread;

	posts = 0;
	assert_int_equal(pthread_create(&thread, NULL, post_three, NULL), 0);
	assert_int_equal(loop_run(loop), 0);
	pthread_join(thread, NULL);
	for (int i = 0; i < 3; i++)
		assert_int_equal(post_order[i], i + 1);
}

static void post_again(void *opaque)
{
	if (++posts < 3)
		assert_int_equal(loop_post(loop, post_again, NULL), 0);
	else
		loop_stop(loop);
}

static void loop_posts_may_post_and_those_left_over_are_dropped(void **state)
{
	posts = 0;
	assert_int_equal(loop_post(loop, post_again, NULL), 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(posts, 3);
	assert_int_equal(loop_post(loop, post_again, NULL), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make_loop, drop_loop)
	const struct CMUnitTest tests[] = {
		T(loop_calls_the_watcher_of_a_ready_descriptor),
		T(loop_watch_refuses_a_second_watch_and_a_bad_descriptor),
		T(loop_callback_may_unwatch_itself_and_others_of_the_same_batch),
		T(loop_reused_descriptor_does_not_get_its_predecessors_event),
		T(loop_change_holds_within_the_batch),
		T(loop_without_events_even_a_hang_up_is_not_told),
		T(loop_regular_file_counts_as_always_ready),
		T(loop_alarm_comes_once_and_not_early),
		T(loop_alarm_of_the_past_comes_at_once),
		T(loop_alarm_can_be_taken_back_after_it_expired),
		T(loop_alarm_far_away_does_not_come),
		T(loop_no_wake_is_lost),
		T(loop_stop_before_run_counts_and_run_can_be_repeated),
		T(loop_stop_is_no_wake),
		T(loop_stop_works_from_another_thread),
		cmocka_unit_test(loop_destroy_takes_null),
		T(loop_posts_of_another_thread_run_once_and_in_order),
		T(loop_posts_may_post_and_those_left_over_are_dropped),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
