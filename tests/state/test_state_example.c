// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The worked example of docs/state-format.md: this test makes the bytes, and the document has to
 * show exactly them. When it fails it prints what the document should show.
 */
#include "state/state.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct example_channel {
	uint16_t count;
	bool gate;
};

struct example {
	uint32_t hz;
	uint8_t rom[4];
	struct example_channel channel[2];
	uint8_t hint;
};

static const struct state_field channel_fields[] = {
	STATE_UINT(struct example_channel, count),
	STATE_UINT(struct example_channel, gate),
	STATE_END,
};

static const struct state_field example_fields[] = {
	STATE_UINT(struct example, hz),
	STATE_BYTES(struct example, rom),
	STATE_STRUCTS(struct example, channel, channel_fields),
	STATE_UINT_OPTIONAL(struct example, hint),
	STATE_END,
};

static const struct state_class example_class = {"timer", 2, example_fields};

/* "offset  16 bytes  |text|", as hexdump -C has it. */
static void dump(char *text, size_t size, const uint8_t *bytes, size_t len)
{
	size_t used = 0;

	for (size_t at = 0; at < len; at += 16) {
		used += (size_t)snprintf(text + used, size - used, "%04zx ", at);
		for (size_t i = at; i < at + 16; i++)
			used += (size_t)(i < len ? snprintf(text + used, size - used, " %02x", bytes[i])
						 : snprintf(text + used, size - used, "   "));
		used += (size_t)snprintf(text + used, size - used, "  |");
		for (size_t i = at; i < at + 16 && i < len; i++)
			used += (size_t)snprintf(text + used, size - used, "%c",
						 isprint(bytes[i]) ? bytes[i] : '.');
		used += (size_t)snprintf(text + used, size - used, "|\n");
	}
}

static void document_shows_the_bytes_of_its_example(void **state)
{
	static const struct example example = {
		.hz = 1193182,
		.rom = {0xde, 0xad, 0xbe, 0xef},
		.channel = {{0x1234, true}, {0xffff, false}},
		.hint = 7,
	};
	static char text[8192], document[65536];
	FILE *f = fopen(STATE_FORMAT_DOC, "r");
	struct state_writer *w;
	const void *bytes;
	size_t len;

	assert_non_null(f);
	document[fread(document, 1, sizeof(document) - 1, f)] = '\0';
	fclose(f);
	assert_int_equal(state_writer_create(&w), 0);
	state_save(w, &example_class, 1, &example);
	assert_int_equal(state_writer_finish(w, &bytes, &len), 0);
	dump(text, sizeof(text), bytes, len);
	state_writer_destroy(w);
	if (!strstr(document, text)) {
		fprintf(stderr, "%s should show:\n%s", STATE_FORMAT_DOC, text);
		fail();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(document_shows_the_bytes_of_its_example)};

	return cmocka_run_group_tests_name("state_example", tests, NULL, NULL);
}
