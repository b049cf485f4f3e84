// SPDX-License-Identifier: GPL-2.0-or-later
/* Options: parsing and --help, both from a command's one table. */
#include "cmd/cmd.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

static const struct option_spec help_option = {
	.name = "help", .help = "show this help", .kind = OPTION_FLAG,
};

/* --- values --- */

static bool parse_digits(const char **p, uint64_t *value)
{
	uint64_t v = 0;

	if (!isdigit((unsigned char)**p))
		return false;
	for (; isdigit((unsigned char)**p); (*p)++) {
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
			return false;
	}
	*value = v;
	return true;
}

bool parse_size(const char *text, uint64_t *bytes)
{
	static const char suffix[] = "KMGT";
	const char *at;
	uint64_t v;

	if (!parse_digits(&text, &v))
		return false;
	at = *text ? strchr(suffix, toupper((unsigned char)*text)) : NULL;
	if (!at || text[1])
		return false;
	return !__builtin_mul_overflow(v, (uint64_t)1 << 10 * (at - suffix + 1), bytes);
}

/* A size as a user would write it. */
static void size_text(uint64_t bytes, char *buf, size_t len)
{
	static const char suffix[] = "KMGT";
	int i = 0;

	bytes >>= 10;
	while (i < 3 && bytes && bytes % 1024 == 0) {
		bytes >>= 10;
		i++;
	}
	snprintf(buf, len, "%llu%c", (unsigned long long)bytes, suffix[i]);
}

static int set_size(const struct option_spec *o, const char *value, uint64_t *to, struct error *err)
{
	char min[32], max[32];
	uint64_t v;

	size_text(o->min, min, sizeof(min));
	size_text(o->max, max, sizeof(max));
	if (!parse_size(value, &v))
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot use '%s' for --%s",
				 "a size is a whole number and one of the letters K, M, G and T",
				 "write a size from %s to %s, such as 512M or 2G", value, o->name, min, max);
	if (v < o->min || v > o->max || v % 4096)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot use '%s' for --%s", "%s",
				 "write a size from %s to %s, such as 512M or 2G", value, o->name,
				 v < o->min ? "it is too small" :
				 v > o->max ? "it is too large" :
					      "it is not a multiple of 4K",
				 min, max);
	*to = v;
	return 0;
}

static int set_number(const struct option_spec *o, const char *value, unsigned *to, struct error *err)
{
	const char *p = value;
	uint64_t v;
	const char *why = NULL;

	if (!parse_digits(&p, &v) || *p)
		why = "it is not a whole number";
	else if (v < o->min)
		why = "it is too small";
	else if (v > o->max)
		why = "it is too large";
	if (why)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot use '%s' for --%s", "%s",
				 "write a number from %u to %u", value, o->name, why, (unsigned)o->min,
				 (unsigned)o->max);
	*to = (unsigned)v;
	return 0;
}

static int add_item(const struct option_spec *o, const char *value, struct option_list *to, struct error *err)
{
	if (to->count == OPTION_LIST_MAX)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot take another --%s", "%s", "leave some out", o->name,
				 "there are as many as there can be");
	to->item[to->count++] = value;
	return 0;
}

static int set_option(const struct option_spec *o, const char *value, void *to, struct error *err)
{
	void *at = (char *)to + o->offset;

	switch (o->kind) {
	case OPTION_FLAG: *(bool *)at = true; return 0;
	case OPTION_STRING: *(const char **)at = value; return 0;
	case OPTION_LIST: return add_item(o, value, at, err);
	case OPTION_SIZE: return set_size(o, value, at, err);
	default: return set_number(o, value, at, err);
	}
}

/* --- names --- */

enum { NAME_MAX_LEN = 40 };

/* Edit distance (insert, delete, replace, swap neighbours); words longer than the limit are far. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[3][NAME_MAX_LEN + 1];
	size_t la = strlen(a), lb = strlen(b);
	unsigned *before = row[0], *last = row[1], *now = row[2];

	if (la > NAME_MAX_LEN || lb > NAME_MAX_LEN)
		return NAME_MAX_LEN;
	for (size_t j = 0; j <= lb; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned *t;

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
		t = before;
		before = last;
		last = now;
		now = t;
	}
	return last[lb];
}

const char *nearest_name(const char *word, const char *const *names)
{
	unsigned limit = (unsigned)(strlen(word) / 3) + 1, best = limit + 1;
	const char *found = NULL;

	for (; *names; names++) {
		unsigned d = distance(word, *names);

		if (d < best) {
			best = d;
			found = *names;
		}
	}
	return found;
}

/* --- parsing --- */

static const struct option_spec *find_option(const struct option_spec *table, const char *name, size_t len)
{
	for (; table->name; table++) {
		if (strlen(table->name) == len && memcmp(table->name, name, len) == 0)
			return table;
	}
	return NULL;
}

static int unknown_option(const struct command *command, const char *arg, size_t len, struct error *err)
{
	const char *names[64];
	char word[NAME_MAX_LEN + 1];
	const char *near;
	size_t n = 0;

	for (const struct option_spec *o = command->options; o->name && n < 62; o++)
		names[n++] = o->name;
	names[n++] = help_option.name;
	names[n] = NULL;
	snprintf(word, sizeof(word), "%.*s", (int)(len < NAME_MAX_LEN ? len : NAME_MAX_LEN), arg);
	while (*word == '-')
		memmove(word, word + 1, strlen(word));
	near = nearest_name(word, names);
	return error_set(err, -EINVAL, STATUS_USAGE, "cannot understand the option %.*s",
			 "the command %s has no such option",
			 near ? "did you mean --%s? 'subring help %s' lists them all" :
				"%s'subring help %s' lists its options",
			 (int)(len < 100 ? len : 100), arg, command->name, near ? near : "", command->name);
}

static int one_option(const struct command *command, int argc, char **argv, int *i, void *to, struct error *err)
{
	const char *arg = argv[*i], *equals = strchr(arg, '=');
	size_t len = equals ? (size_t)(equals - arg) : strlen(arg);
	const struct option_spec *o = len > 2 ? find_option(command->options, arg + 2, len - 2) : NULL;
	const char *value = equals ? equals + 1 : NULL;

	if (!o || strncmp(arg, "--", 2) != 0)
		return unknown_option(command, arg, len, err);
	if (o->kind == OPTION_FLAG && value)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot use '%s' for --%s", "this option takes no value",
				 "write --%s alone", value, o->name, o->name);
	if (o->kind != OPTION_FLAG && !value) {
		/* What begins with two dashes is the next option, far more often than it is a value. */
		if (*i + 1 >= argc || strncmp(argv[*i + 1], "--", 2) == 0)
			return error_set(err, -EINVAL, STATUS_USAGE, "cannot use --%s alone", "it needs a value: %s",
					 "write --%s %s (or --%s=%s when the value begins with --)", o->name, o->arg,
					 o->name, o->arg, o->name, o->arg);
		value = argv[++*i];
	}
	return set_option(o, value, to, err);
}

int options_parse(const struct command *command, int argc, char **argv, void *to, const char **operand,
		  struct error *err)
{
	bool only_operands = false, have_operand = false;

	for (int i = 1; i < argc; i++) {
		int ret;

		if (!only_operands && strcmp(argv[i], "--") == 0) {
			only_operands = true;
			continue;
		}
		if (!only_operands && argv[i][0] == '-' && argv[i][1]) {
			ret = one_option(command, argc, argv, &i, to, err);
			if (ret)
				return ret;
			continue;
		}
		if (!command->operand || have_operand)
			return error_set(err, -EINVAL, STATUS_USAGE, "cannot understand '%s'",
					 command->operand ? "the command %s takes one operand" :
							    "the command %s takes options only",
					 "'subring help %s' shows how it is used", argv[i], command->name, command->name);
		*operand = argv[i];
		have_operand = true;
	}
	return 0;
}

bool options_want_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	}
	return false;
}

/* --- help --- */

enum { HELP_COLUMN = 26, HELP_WIDTH = 78 };

/* Prints @text from HELP_COLUMN on, broken at spaces; the cursor is at @column. */
static void print_wrapped(const char *text, size_t column, FILE *out)
{
	size_t at;

	if (column >= HELP_COLUMN) {
		fprintf(out, "\n");
		column = 0;
	}
	fprintf(out, "%*s", (int)(HELP_COLUMN - column), "");
	at = HELP_COLUMN;
	while (*text) {
		size_t len = strcspn(text, " ");

		if (at > HELP_COLUMN && at + 1 + len > HELP_WIDTH) {
			fprintf(out, "\n%*s", HELP_COLUMN, "");
			at = HELP_COLUMN;
		} else if (at > HELP_COLUMN) {
			fputc(' ', out);
			at++;
		}
		fprintf(out, "%.*s", (int)len, text);
		at += len;
		text += len;
		text += *text == ' ';
	}
	fprintf(out, "\n");
}

static void print_option(const struct option_spec *o, FILE *out)
{
	int n = fprintf(out, "  --%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");

	print_wrapped(o->help, n > 0 ? (size_t)n : 0, out);
}

void options_help(const struct command *command, FILE *out)
{
	fprintf(out, "usage: subring %s [option ...]%s%s%s\n\n%s.\n\noptions:\n", command->name,
		command->operand ? " [" : "", command->operand ? command->operand : "", command->operand ? "]" : "",
		command->summary);
	for (const struct option_spec *o = command->options; o->name; o++)
		print_option(o, out);
	print_option(&help_option, out);
}
