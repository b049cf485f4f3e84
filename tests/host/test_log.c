// SPDX-License-Identifier: GPL-2.0-or-later
/* The trace: which lists it takes, what its lines look like, and that they stay whole. */
#include "host/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/subring-test-log-XXXXXX";

static int make_file(void **state)
{
	int fd = mkstemp(path);

	trace_mask = 0;
	if (fd >= 0)
		close(fd);
	return fd < 0 ? -1 : 0;
}

static int remove_file(void **state)
{
	unlink(path);
	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
	return 0;
}

static char *read_file(void)
{
	static char text[1 << 20];
	int fd = open(path, O_RDONLY);
	size_t used = 0;
	ssize_t n;

	assert_true(fd >= 0);
	while ((n = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	close(fd);
	text[used] = '\0';
	return text;
}

static void enable_to_file(const char *topics)
{
	char list[128];
	struct error e;

	snprintf(list, sizeof(list), "%s:%s", topics, path);
	assert_int_equal(trace_enable(list, &e), 0);
}

static void trace_list_turns_on_what_it_names(void **state)
{
	struct error e;

	assert_false(trace_on(TRACE_MMU));
	assert_int_equal(trace_enable("int,mmu", &e), 0);
	assert_true(trace_on(TRACE_INT));
	assert_true(trace_on(TRACE_MMU));
	assert_false(trace_on(TRACE_EXITS));
	assert_int_equal(trace_enable("all", &e), 0);
	for (int i = 0; i < TRACE_TOPIC_COUNT; i++)
		assert_true(trace_on((enum trace_topic)i));
}

static void trace_list_refuses_what_is_no_topic(void **state)
{
	static const char *const bad[] = {"",    ",",     "int,",     "in",  "ints", "int,nothing",
					  "INT", ":file", "all,,int", " int"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error e = {0};

		assert_int_equal(trace_enable(bad[i], &e), -EINVAL);
		assert_int_equal(e.status, STATUS_USAGE);
		assert_int_equal(trace_mask, 0);
	}
}

static void trace_error_names_the_topic_and_the_choice(void **state)
{
	struct error e;

	assert_int_equal(trace_enable("int,bogus", &e), -EINVAL);
	assert_non_null(strstr(e.what, "int,bogus"));
	assert_non_null(strstr(e.why, "'bogus'"));
	assert_non_null(strstr(e.fix, "exits, int, mmu, cpu, code, all"));
}

static void trace_file_that_cannot_be_opened_is_an_error(void **state)
{
	struct error e;

	assert_int_equal(trace_enable("int:/nonexistent/file", &e), -ENOENT);
	assert_int_equal(e.status, STATUS_INPUT);
	assert_non_null(strstr(e.what, "/nonexistent/file"));
	assert_int_equal(trace_mask, 0);
}

static void trace_line_has_stamp_topic_and_newline(void **state)
{
	unsigned s, us;
	int end = 0;
	char *text;

	enable_to_file("int");
	trace(TRACE_INT, "vector %d", 32);
	text = read_file();
	assert_int_equal(sscanf(text, "[%u.%u] int: vector 32%n", &s, &us, &end), 2);
	assert_string_equal(text + end, "\n");
}

static void trace_appends_to_its_file(void **state)
{
	FILE *f = fopen(path, "w");

	fputs("before\n", f);
	fclose(f);
	enable_to_file("cpu");
	trace(TRACE_CPU, "x");
	assert_int_equal(strncmp(read_file(), "before\n[", 8), 0);
}

static void trace_long_line_is_cut_but_ends(void **state)
{
	char longer[3000];
	char *text;

	memset(longer, 'y', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	enable_to_file("cpu");
	trace(TRACE_CPU, "%s", longer);
	trace(TRACE_CPU, "next");
	text = read_file();
	assert_non_null(strstr(text, "yyy\n["));
	assert_non_null(strstr(text, "cpu: next\n"));
}

enum { THREADS = 4, LINES = 500 };

static void *write_lines(void *arg)
{
	for (int i = 0; i < LINES; i++)
		trace(TRACE_EXITS, "thread %d line %d end", (int)(intptr_t)arg, i);
	return NULL;
}

static void trace_lines_of_many_threads_stay_whole(void **state)
{
	pthread_t thread[THREADS];
	int lines = 0, next[THREADS] = {0};
	char *p;

	enable_to_file("exits");
	for (intptr_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, write_lines, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	for (p = strtok(read_file(), "\n"); p; p = strtok(NULL, "\n")) {
		int t, n, end = 0;

		assert_int_equal(sscanf(p, "[%*u.%*u] exits: thread %d line %d end%n", &t, &n, &end), 2);
		assert_int_equal(p[end], '\0');
		assert_in_range(t, 0, THREADS - 1);
		assert_int_equal(n, next[t]++);
		lines++;
	}
	assert_int_equal(lines, THREADS * LINES);
}

static void trace_keeps_errno(void **state)
{
	enable_to_file("cpu");
	errno = EXDEV;
	trace(TRACE_CPU, "x");
	assert_int_equal(errno, EXDEV);
}

static void note_goes_to_standard_error_under_the_programs_name(void **state)
{
	char text[256];
	int fds[2], old = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	log_note("hello %s", "you");
	dup2(old, STDERR_FILENO);
	n = read(fds[0], text, sizeof(text) - 1);
	close(old);
	close(fds[0]);
	close(fds[1]);
	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text, "subring: hello you\n");
}

static void note_to_a_full_pipe_is_given_up(void **state)
{
	int fds[2], old = dup(STDERR_FILENO);
	char block[4096] = {0};

	assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
	while (write(fds[1], block, sizeof(block)) > 0)
		continue;
	dup2(fds[1], STDERR_FILENO);
	errno = EXDEV;
	log_note("nobody reads this");
	assert_int_equal(errno, EXDEV);
	dup2(old, STDERR_FILENO);
	close(old);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make_file, remove_file)
	const struct CMUnitTest tests[] = {
		T(trace_list_turns_on_what_it_names),
		T(trace_list_refuses_what_is_no_topic),
		T(trace_error_names_the_topic_and_the_choice),
		T(trace_file_that_cannot_be_opened_is_an_error),
		T(trace_line_has_stamp_topic_and_newline),
		T(trace_appends_to_its_file),
		T(trace_long_line_is_cut_but_ends),
		T(trace_lines_of_many_threads_stay_whole),
		T(trace_keeps_errno),
		T(note_goes_to_standard_error_under_the_programs_name),
		T(note_to_a_full_pipe_is_given_up),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
