// SPDX-License-Identifier: GPL-2.0-or-later
/* The error object: three fields from one argument list, cut and cleaned; three lines on paper. */
#include "host/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void error_fields_take_arguments_in_turn(void **state)
{
	struct error e;

	assert_int_equal(error_set(&e, -ENOENT, STATUS_INPUT, "a %s %d", "b %llx %s", "c %.*s%%", "one", 2,
				   0x1234567890ull, "three", 2, "four"),
			 -ENOENT);
	assert_int_equal(e.status, STATUS_INPUT);
	assert_string_equal(e.what, "a one 2");
	assert_string_equal(e.why, "b 1234567890 three");
	assert_string_equal(e.fix, "c fo%");
}

static void error_field_without_arguments_is_copied(void **state)
{
	struct error e;

	error_set(&e, -EINVAL, STATUS_USAGE, "plain", "", "%d", 7);
	assert_string_equal(e.what, "plain");
	assert_string_equal(e.why, "");
	assert_string_equal(e.fix, "7");
}

static void error_may_be_nobodys(void **state)
{
	assert_int_equal(error_set(NULL, -EIO, STATUS_HOST, "%s", "%s", "%s", "a", "b", "c"), -EIO);
}

static void error_long_field_is_cut_and_leaves_the_others_whole(void **state)
{
	char longer[5000];
	struct error e;

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	error_set(&e, -EINVAL, STATUS_USAGE, "%s", "why %d", "%s", longer, 5, longer);
	assert_int_equal(strlen(e.what), sizeof(e.what) - 1);
	assert_string_equal(e.why, "why 5");
	assert_int_equal(strlen(e.fix), sizeof(e.fix) - 1);
}

static void error_field_is_cut_between_characters(void **state)
{
	char text[2000];
	struct error e;

	for (int i = 0; i < 1998; i += 2)
		memcpy(text + i, "\xc3\xa9", 2);
	text[1998] = '\0';
	error_set(&e, -EINVAL, STATUS_USAGE, "%s", "x%s", "", text, text);
	/* 255 bytes hold 127 characters of two bytes; 1023 bytes an x and 511 of them. */
	assert_int_equal(strlen(e.what), 254);
	assert_int_equal(strlen(e.why), 1023);
	assert_memory_equal(e.what + 252, "\xc3\xa9", 3);
}

static void error_control_characters_do_not_reach_the_terminal(void **state)
{
	struct error e;

	error_set(&e, -EINVAL, STATUS_USAGE, "%s", "%s", "", "a\nb\x1b[31m\x7f", "\x1f\x1f");
	assert_string_equal(e.what, "a?b?[31m?");
	assert_string_equal(e.why, "??");
	assert_string_equal(e.fix, "");
}

static void error_print_gives_three_lines(void **state)
{
	char text[1024];
	int fds[2], old = dup(STDERR_FILENO);
	struct error e;
	ssize_t n;

	assert_int_equal(pipe(fds), 0);
	error_set(&e, -EINVAL, STATUS_USAGE, "cannot", "because", "do");
	dup2(fds[1], STDERR_FILENO);
	error_print(&e);
	dup2(old, STDERR_FILENO);
	n = read(fds[0], text, sizeof(text) - 1);
	close(old);
	close(fds[0]);
	close(fds[1]);
	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text, "subring: cannot\n  why: because\n  fix: do\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_fields_take_arguments_in_turn),
		cmocka_unit_test(error_field_without_arguments_is_copied),
		cmocka_unit_test(error_may_be_nobodys),
		cmocka_unit_test(error_long_field_is_cut_and_leaves_the_others_whole),
		cmocka_unit_test(error_field_is_cut_between_characters),
		cmocka_unit_test(error_control_characters_do_not_reach_the_terminal),
		cmocka_unit_test(error_print_gives_three_lines),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
