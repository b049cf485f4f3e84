// SPDX-License-Identifier: GPL-2.0-or-later
/* Options, sizes and names. */
#include "cmd/cmd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct values {
	bool flag;
	const char *text;
	unsigned number;
	uint64_t size;
};

static const struct option_spec table[] = {
	{ "flag", NULL, "a flag", OPTION_FLAG, offsetof(struct values, flag), 0, 0 },
	{ "text", "TEXT", "a text", OPTION_STRING, offsetof(struct values, text), 0, 0 },
	{ "number", "N", "a number with a long text that has to be broken into several lines, since it is longer than one",
	  OPTION_NUMBER, offsetof(struct values, number), 1, 16 },
	{ "size", "SIZE", "a size", OPTION_SIZE, offsetof(struct values, size), 16 << 20, 1ull << 40 },
	{ 0 },
};
static const struct command plain = { .name = "plain", .summary = "Does", .options = table };
static const struct command with_operand = { .name = "with", .summary = "Does", .operand = "THING", .options = table };

static struct values values;
static const char *operand;
static struct error err;

static int setup(void **state)
{
	values = (struct values){ 0 };
	operand = NULL;
	return 0;
}

/* Splits at blanks and parses. */
static int parse(const struct command *command, const char *line)
{
	static char copy[256];
	char *argv[32] = { (char *)"command" };
	int argc = 1;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	return options_parse(command, argc, argv, &values, &operand, &err);
}

static void both_forms_of_a_value_are_taken(void **state)
{
	assert_int_equal(parse(&plain, "--text one --number=3 --flag --size 512M"), 0);
	assert_string_equal(values.text, "one");
	assert_int_equal(values.number, 3);
	assert_true(values.flag);
	assert_true(values.size == 512ull << 20);
	assert_int_equal(parse(&plain, "--text=--dashes --text="), 0);
	assert_string_equal(values.text, "");
	assert_int_equal(parse(&plain, "--text=a=b"), 0);
	assert_string_equal(values.text, "a=b");
}

static void the_last_of_several_counts(void **state)
{
	assert_int_equal(parse(&plain, "--number 3 --number 4"), 0);
	assert_int_equal(values.number, 4);
}

static void unknown_options_name_the_nearest(void **state)
{
	assert_int_equal(parse(&plain, "--numbr 3"), -EINVAL);
	assert_int_equal(err.status, STATUS_USAGE);
	assert_non_null(strstr(err.what, "--numbr"));
	assert_non_null(strstr(err.fix, "--number"));
	assert_int_equal(parse(&plain, "--isze=512M"), -EINVAL);
	assert_non_null(strstr(err.fix, "--size"));
	assert_int_equal(parse(&plain, "--something-else-entirely"), -EINVAL);
	assert_null(strstr(err.fix, "mean"));
	assert_int_equal(parse(&plain, "-flag"), -EINVAL);
	assert_non_null(strstr(err.fix, "--flag"));
	assert_int_equal(parse(&plain, "--num 3"), -EINVAL); /* no abbreviations: they would be for ever */
	assert_int_equal(parse(&plain, "--=x"), -EINVAL);
	assert_int_equal(parse(&plain, "-"), -EINVAL);
}

static void values_are_demanded_and_refused_where_they_belong(void **state)
{
	assert_int_equal(parse(&plain, "--text"), -EINVAL);
	assert_non_null(strstr(err.why, "TEXT"));
	assert_int_equal(parse(&plain, "--text --flag"), -EINVAL);
	assert_false(values.flag);
	assert_int_equal(parse(&plain, "--flag=yes"), -EINVAL);
	assert_int_equal(err.status, STATUS_USAGE);
}

static void numbers_are_whole_and_in_range(void **state)
{
	static const char *const bad[] = { "0", "17", "-1", "x", "1x", "", "+1", "1.5", "0x1", "99999999999999999999999999" };
	char line[64];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(line, sizeof(line), "--number=%s", bad[i]);
		assert_int_equal(parse(&plain, line), -EINVAL);
		assert_int_equal(err.status, STATUS_USAGE);
		assert_non_null(strstr(err.fix, "1 to 16"));
	}
	assert_int_equal(values.number, 0);
	assert_int_equal(parse(&plain, "--number=16"), 0);
}

static void sizes_have_a_letter_and_are_in_range(void **state)
{
	static const char *const bad[] = { "512", "M", "1.5G", "512MB", "-1M", "0M", "15M", "1025G", "2T", "16385K",
					   "99999999999999999999T", "18446744073709551615T", "", "0x10M" };
	char line[64];
	uint64_t v;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(line, sizeof(line), "--size=%s", bad[i]);
		assert_int_equal(parse(&plain, line), -EINVAL);
		assert_int_equal(err.status, STATUS_USAGE);
		assert_non_null(strstr(err.fix, "16M to 1T"));
	}
	assert_int_equal(parse(&plain, "--size 16384k"), 0);
	assert_true(values.size == 16 << 20);
	assert_true(parse_size("2g", &v) && v == 2ull << 30);
	assert_true(parse_size("16777215T", &v));
	assert_false(parse_size("16777216T", &v));
}

static void operands_are_counted(void **state)
{
	assert_int_equal(parse(&plain, "vmlinuz"), -EINVAL);
	assert_int_equal(parse(&with_operand, "one"), 0);
	assert_string_equal(operand, "one");
	assert_int_equal(parse(&with_operand, "one two"), -EINVAL);
	assert_int_equal(parse(&with_operand, "--flag -- --flag"), 0);
	assert_string_equal(operand, "--flag");
	assert_int_equal(parse(&plain, "-- --flag"), -EINVAL);
	assert_int_equal(parse(&plain, "--"), 0);
}

static void help_names_every_option_in_narrow_lines(void **state)
{
	char *text = NULL, *line;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	options_help(&plain, out);
	fclose(out);
	for (const struct option_spec *o = table; o->name; o++)
		assert_non_null(strstr(text, o->name));
	assert_non_null(strstr(text, "--help"));
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		assert_in_range(strlen(line), 0, 79);
	free(text);
}

static void every_command_has_its_words(void **state)
{
	for (const struct command *const *c = commands; *c; c++) {
		assert_non_null((*c)->name);
		assert_non_null((*c)->summary);
		assert_non_null((*c)->run);
		for (const struct option_spec *o = (*c)->options; o->name; o++) {
			assert_non_null(o->help);
			assert_int_equal(o->arg == NULL, o->kind == OPTION_FLAG);
		}
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
		T(both_forms_of_a_value_are_taken),
		T(the_last_of_several_counts),
		T(unknown_options_name_the_nearest),
		T(values_are_demanded_and_refused_where_they_belong),
		T(numbers_are_whole_and_in_range),
		T(sizes_have_a_letter_and_are_in_range),
		T(operands_are_counted),
		T(help_names_every_option_in_narrow_lines),
		T(every_command_has_its_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
