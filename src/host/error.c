// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The error object: three formats filled from one argument list.
 *
 * What a va_list points at after vsnprintf is indeterminate (C17 7.16, footnote 254), so the three
 * fields cannot be formatted one after the other from one list. Instead each is the end of a
 * longer text: "what", "what" + "why" and "what" + "why" + "fix" are each formatted from a fresh
 * copy, and the length of the shorter one says where the next field begins.
 *
 * Invariants: a field is always terminated, is UTF-8 if its arguments are, and holds no control
 * character, so that three lines stay three lines whatever a file is called.
 */
#include "host/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Copies @src, cut before the first character that does not fit whole, control characters as '?'. */
static void set_field(char *field, size_t size, const char *src)
{
	size_t len = strlen(src);

	if (len >= size) {
		len = size - 1;
		while (len > 0 && ((unsigned char)src[len] & 0xc0) == 0x80)
			len--;
	}
	for (size_t i = 0; i < len; i++)
		field[i] = (unsigned char)src[i] < 0x20 || src[i] == 0x7f ? '?' : src[i];
	field[len] = '\0';
}

/* Formats from a copy of @args; NULL without memory. The caller frees. */
static __attribute__((format(printf, 1, 0))) char *format_copy(const char *format, va_list args)
{
	va_list copy;
	char *text = NULL;

	va_copy(copy, args);
	if (vasprintf(&text, format, copy) < 0)
		text = NULL;
	va_end(copy);
	return text;
}

int error_set(struct error *err, int errnum, enum status status, const char *what, const char *why,
	      const char *fix, ...)
{
	const char *format[3] = {what ? what : "", why ? why : "", fix ? fix : ""};
	char *field[3];
	size_t done = 0, used = 0;
	char *joined;
	va_list args;

	if (!err)
		return errnum;
	field[0] = err->what;
	field[1] = err->why;
	field[2] = err->fix;
	err->status = status;

	joined = malloc(strlen(format[0]) + strlen(format[1]) + strlen(format[2]) + 1);
	va_start(args, fix);
	for (int i = 0; i < 3; i++) {
		char *text = NULL;

		if (joined) {
			strcpy(joined + used, format[i]);
			used += strlen(format[i]);
			text = format_copy(joined, args);
		}
		/* Without memory the bare format still says more than nothing. */
		set_field(field[i], i == 1 ? sizeof(err->why) : sizeof(err->what), text ? text + done : format[i]);
		if (text)
			done = strlen(text);
		free(text);
	}
	va_end(args);
	free(joined);
	return errnum;
}

void error_print(const struct error *err)
{
	/* One call, so that lines of other threads do not come in between. */
	fprintf(stderr, "subring: %s\n  why: %s\n  fix: %s\n", err->what, err->why, err->fix);
}
