// SPDX-License-Identifier: GPL-2.0-or-later
/* Ctrl-a on a terminal. */
#include "cmd/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void what_is_typed_goes_to_the_guest(void **state)
{
	struct keys keys = { 0 };
	uint8_t byte;

	for (int c = 0; c < 256; c++) {
		if (c == KEY_ESCAPE)
			continue;
		assert_int_equal(keys_feed(&keys, (uint8_t)c, &byte), KEY_BYTE);
		assert_int_equal(byte, c);
	}
}

static void ctrl_a_and_a_letter_is_a_key(void **state)
{
	static const struct {
		char letter;
		enum key key;
	} want[] = { { 'x', KEY_LEAVE }, { 'X', KEY_LEAVE }, { 'h', KEY_HELP }, { '?', KEY_HELP },
		     { 's', KEY_SUMMARY }, { 'p', KEY_PAUSE }, { 'q', KEY_HELP } };
	struct keys keys = { 0 };
	uint8_t byte;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_int_equal(keys_feed(&keys, KEY_ESCAPE, &byte), KEY_NONE);
		assert_int_equal(keys_feed(&keys, (uint8_t)want[i].letter, &byte), want[i].key);
		assert_int_equal(keys_feed(&keys, 'x', &byte), KEY_BYTE);
	}
}

static void ctrl_a_twice_sends_one(void **state)
{
	struct keys keys = { 0 };
	uint8_t byte;

	assert_int_equal(keys_feed(&keys, KEY_ESCAPE, &byte), KEY_NONE);
	assert_int_equal(keys_feed(&keys, KEY_ESCAPE, &byte), KEY_BYTE);
	assert_int_equal(byte, KEY_ESCAPE);
	assert_int_equal(keys_feed(&keys, 'x', &byte), KEY_BYTE);
}

static void the_help_lists_every_key(void **state)
{
#define X(id, letter, help)                                                                        \
	assert_non_null(strstr(keys_help, "Ctrl-a " letter));                                      \
	assert_non_null(strstr(keys_help, help));
	KEYS(X)
#undef X
}

static void the_man_page_names_every_key(void **state)
{
	static char page[65536];
	FILE *in = fopen(getenv("MANPAGE") ? getenv("MANPAGE") : "docs/subring.1", "r");

	if (!in) {
		print_message("skipped: no man page in $MANPAGE\n");
		skip();
	}
	page[fread(page, 1, sizeof(page) - 1, in)] = 0;
	fclose(in);
#define X(id, letter, help) assert_non_null(strstr(page, ".It Ic Ctrl-a " letter "\n"));
	KEYS(X)
#undef X
	assert_non_null(strstr(page, ".It Ic Ctrl-a Ctrl-a\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_typed_goes_to_the_guest),
		cmocka_unit_test(ctrl_a_and_a_letter_is_a_key),
		cmocka_unit_test(ctrl_a_twice_sends_one),
		cmocka_unit_test(the_help_lists_every_key),
		cmocka_unit_test(the_man_page_names_every_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
