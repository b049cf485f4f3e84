// SPDX-License-Identifier: GPL-2.0-or-later
/* Streams that nobody wrote in good faith: each is refused, with words, and nothing is overrun. */
#include "state/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct inner {
	uint16_t count;
	bool gate;
};

struct outer {
	uint32_t a;
	uint8_t blob[4];
	struct inner in[2];
};

static const struct state_field inner_fields[] = {
	STATE_UINT(struct inner, count),
	STATE_UINT(struct inner, gate),
	STATE_END,
};

static const struct state_field outer_fields[] = {
	STATE_UINT(struct outer, a),
	STATE_BYTES(struct outer, blob),
	STATE_STRUCTS(struct outer, in, inner_fields),
	STATE_END,
};

static const struct state_class outer_class = {"outer", 1, outer_fields};

/* --- streams made by hand --- */

static uint8_t buf[1 << 16];
static size_t used;

static void u(uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		buf[used++] = (uint8_t)(value >> 8 * i);
}

static void name(const char *s)
{
	u(strlen(s), 1);
	memcpy(buf + used, s, strlen(s));
	used += strlen(s);
}

static void header(uint32_t records)
{
	used = 0;
	memcpy(buf, "Subring\x1a", 8);
	used = 8;
	u(1, 4);
	u(records, 4);
	u(0, 8);
}

static void field(const char *n, unsigned kind, unsigned flags, uint32_t size, uint32_t count,
		  uint32_t length)
{
	name(n);
	u(kind, 1);
	u(flags, 1);
	u(size, 4);
	u(count, 4);
	u(length, 4);
}

/* Opens a record of one header; record_end puts its length in. */
static size_t record(const char *n, uint32_t instance)
{
	size_t at = used;

	u(0, 4);
	name(n);
	u(instance, 4);
	u(1, 4);
	return at;
}

static void length_at(size_t at)
{
	size_t end = used;

	used = at;
	u(end - at - 4, 4);
	used = end;
}

static uint8_t *stream; /* what the open reader reads */

/* Puts the total length in, and opens the stream from memory that ends where the stream does. */
static int open_stream(struct state_reader **r)
{
	size_t end = used;
	int ret;

	stream = malloc(used);
	used = 16;
	u(end, 8);
	used = end;
	memcpy(stream, buf, used);
	ret = state_reader_create(stream, used, r);
	if (ret) {
		free(stream);
		assert_true(state_reader_why(NULL)[0]);
	}
	return ret;
}

static void close_stream(struct state_reader *r)
{
	state_reader_destroy(r);
	free(stream);
}

static void assert_refused(const char *why)
{
	struct state_reader *r;

	assert_int_equal(open_stream(&r), -EPROTO);
	if (!strstr(state_reader_why(NULL), why))
		fail_msg("'%s' does not say '%s'", state_reader_why(NULL), why);
}

/* --- a good stream, damaged --- */

static uint8_t good[4096];
static size_t good_len;

static int make_good(void **state)
{
	static const struct outer o = {1, "abc", {{2, true}, {3, false}}};
	struct state_writer *w;
	const void *bytes;

	if (state_writer_create(&w))
		return -1;
	state_save(w, &outer_class, 0, &o);
	state_save(w, &outer_class, 1, &o);
	if (state_writer_finish(w, &bytes, &good_len) || good_len > sizeof(good))
		return -1;
	memcpy(good, bytes, good_len);
	state_writer_destroy(w);
	return 0;
}

static int try_all(const uint8_t *bytes, size_t len)
{
	struct state_reader *r;
	struct outer o = {0};
	int ret = state_reader_create(bytes, len, &r);

	if (ret)
		return ret;
	ret = state_load(r, &outer_class, 0, &o);
	if (!ret)
		ret = state_load(r, &outer_class, 1, &o);
	if (!ret)
		ret = state_reader_finish(r);
	if (ret)
		assert_true(state_reader_why(r)[0]);
	state_reader_destroy(r);
	return ret;
}

static void stream_cut_anywhere_is_refused(void **state)
{
	for (size_t len = 0; len < good_len; len++) {
		uint8_t *copy = malloc(len ? len : 1);

		memcpy(copy, good, len);
		assert_int_equal(try_all(copy, len), -EPROTO);
		/* And when the header says that this is all there is. */
		if (len >= 24) {
			for (int i = 0; i < 8; i++)
				copy[16 + i] = (uint8_t)((uint64_t)len >> 8 * i);
			assert_int_equal(try_all(copy, len), -EPROTO);
		}
		free(copy);
	}
}

static void stream_with_any_byte_changed_harms_nobody(void **state)
{
	static const uint8_t values[] = {0x00, 0x01, 0x02, 0x7f, 0x80, 0xff};
	uint8_t *copy = malloc(good_len);

	for (size_t i = 0; i < good_len; i++) {
		for (size_t v = 0; v < sizeof(values); v++) {
			memcpy(copy, good, good_len);
			copy[i] = values[v];
			try_all(copy, good_len);
		}
	}
	free(copy);
}

static void stream_with_random_changes_harms_nobody(void **state)
{
	uint8_t *copy = malloc(good_len);

	srand(7);
	for (int n = 0; n < 50000; n++) {
		memcpy(copy, good, good_len);
		for (int k = rand() % 6; k >= 0; k--)
			copy[8 + (size_t)rand() % (good_len - 8)] =
				(uint8_t)(rand() & 1 ? rand() : rand() % 5);
		try_all(copy, good_len);
	}
	free(copy);
}

static void stream_of_another_kind_is_refused(void **state)
{
	struct state_reader *r;

	assert_int_equal(state_reader_create("", 0, &r), -EPROTO);
	assert_int_equal(state_reader_create(NULL, 0, &r), -EPROTO);
	assert_non_null(strstr(state_reader_why(NULL), "no saved state"));
	header(0);
	buf[0] ^= 1;
	assert_refused("no saved state");
	header(0);
	buf[8] = 2;
	assert_refused("format version 2");
}

static void stream_with_bytes_after_the_last_record_is_refused(void **state)
{
	header(0);
	u(0, 1);
	assert_refused("1 bytes follow");
}

static void stream_of_another_length_than_it_says_is_refused(void **state)
{
	struct state_reader *r;

	assert_int_equal(state_reader_create(good, good_len, &r), 0);
	state_reader_destroy(r);
	good[16]++;
	assert_int_equal(state_reader_create(good, good_len, &r), -EPROTO);
	assert_non_null(strstr(state_reader_why(NULL), "bytes long"));
}

static void stream_that_promises_too_many_records_is_refused(void **state)
{
	header(UINT32_MAX);
	assert_refused("cannot hold 4294967295 records");
	header(1);
	assert_refused("cannot hold 1 records");
	header(STATE_RECORDS_MAX + 1);
	used = sizeof(buf);
	assert_refused("cannot hold 1025 records");
}

static void record_longer_than_the_stream_is_refused(void **state)
{
	size_t at;

	header(1);
	at = record("r", 0);
	u(0, 4);
	length_at(at);
	buf[at]++;
	assert_refused("record number 0 runs past");
	memset(buf + at, 0xff, 4);
	assert_refused("record number 0 runs past");
}

static void record_that_is_there_twice_is_refused(void **state)
{
	header(2);
	length_at(record("r", 5));
	length_at(record("r", 5));
	assert_refused("record r/5: it is there twice");
}

static void record_with_an_unprintable_or_long_name_is_refused(void **state)
{
	char longer[STATE_NAME_MAX + 2];

	header(1);
	length_at(record("a\nb", 0));
	assert_refused("record number 0 is damaged");
	memset(longer, 'n', sizeof(longer));
	longer[STATE_NAME_MAX + 1] = '\0';
	header(1);
	length_at(record(longer, 0));
	assert_refused("record number 0 is damaged");
	header(1);
	length_at(record("", 0));
	u(0, 1);
	assert_refused("record number 0 is damaged");
}

/* One record of one field, whose header is what the caller says and whose data are @data zeros. */
static void one_field(unsigned kind, unsigned flags, uint32_t size, uint32_t count, uint32_t length,
		      unsigned data)
{
	size_t at;

	header(1);
	at = record("r", 0);
	field("f", kind, flags, size, count, length);
	for (unsigned i = 0; i < data; i++)
		u(0, 1);
	length_at(at);
}

static void field_whose_sizes_disagree_is_refused(void **state)
{
	struct state_reader *r;

	one_field(STATE_KIND_UINT, 0, 4, 2, 8, 8);
	assert_int_equal(open_stream(&r), 0);
	close_stream(r);
	one_field(STATE_KIND_UINT, 0, 4, 2, 7, 7);
	assert_refused("field number 0 is damaged");
	one_field(STATE_KIND_UINT, 0, 4, 2, 8, 7);
	assert_refused("field number 0 is damaged");
	one_field(STATE_KIND_UINT, 0, 3, 2, 6, 6);
	assert_refused("field number 0 is damaged");
	one_field(STATE_KIND_UINT, 0, 0, 0, 0, 0);
	assert_refused("field number 0 is damaged");
	one_field(STATE_KIND_UINT, 2, 4, 1, 4, 4);
	assert_refused("field number 0 is damaged");
	/* 2^29 * 8 and 2^31 * 2 are 0 in 32 bits. */
	one_field(STATE_KIND_UINT, 0, 8, 1u << 29, 0, 0);
	assert_refused("field number 0 is damaged");
	one_field(STATE_KIND_BYTES, 0, 1u << 31, 2, 0, 0);
	assert_refused("field number 0 is damaged");
	one_field(STATE_KIND_BYTES, 0, UINT32_MAX, UINT32_MAX, 1, 1);
	assert_refused("field number 0 is damaged");
	one_field(STATE_KIND_STRUCT, 0, 1, 0, 0, 0);
	assert_refused("field number 0 is damaged");
	one_field(STATE_KIND_UINT, 0, 4, 1, UINT32_MAX, 4);
	assert_refused("field number 0 is damaged");
}

static void field_of_an_unknown_kind_passes_only_when_optional(void **state)
{
	struct state_reader *r;

	one_field(9, 0, 4, 1, 4, 4);
	assert_refused("field number 0 is damaged");
	one_field(9, 2, 4, 1, 4, 4);
	assert_refused("field number 0 is damaged");
	one_field(9, STATE_OPTIONAL, 123, 456, 4, 4);
	assert_int_equal(open_stream(&r), 0);
	close_stream(r);
}

static void structures_that_promise_too_many_elements_are_refused(void **state)
{
	one_field(STATE_KIND_STRUCT, 0, 0, UINT32_MAX, 8, 8);
	assert_refused("element 2 runs past");
	one_field(STATE_KIND_STRUCT, 0, 0, 1, 8, 8);
	assert_refused("4 bytes are left over");
	one_field(STATE_KIND_STRUCT, 0, 0, 0, 4, 4);
	assert_refused("4 bytes are left over");
}

/* Writes structures nested @depth deep. */
static void nest(unsigned depth)
{
	size_t length, element;

	field("s", STATE_KIND_STRUCT, STATE_OPTIONAL, 0, 1, 0);
	length = used - 4;
	element = used;
	u(0, 4);
	if (depth > 1)
		nest(depth - 1);
	length_at(element);
	length_at(length);
}

static void structures_nested_too_deep_are_refused(void **state)
{
	struct state_reader *r;
	size_t at;

	header(1);
	at = record("r", 0);
	nest(STATE_DEPTH_MAX - 1);
	length_at(at);
	assert_int_equal(open_stream(&r), 0);
	close_stream(r);

	header(1);
	at = record("r", 0);
	nest(STATE_DEPTH_MAX);
	length_at(at);
	assert_refused("nested more than 8 deep");
	header(1);
	at = record("r", 0);
	nest(1000);
	length_at(at);
	assert_refused("nested more than 8 deep");
}

static void record_with_too_many_fields_is_refused(void **state)
{
	size_t at;

	header(1);
	at = record("r", 0);
	for (int i = 0; i <= STATE_FIELDS_MAX; i++)
		field("f", STATE_KIND_BYTES, STATE_OPTIONAL, 0, 0, 0);
	length_at(at);
	assert_refused("more than 256 fields");
}

static void field_that_is_there_twice_is_refused(void **state)
{
	struct state_reader *r;
	struct outer o;
	size_t at;

	header(1);
	at = record("outer", 0);
	for (int i = 0; i < 2; i++) {
		field("a", STATE_KIND_UINT, 0, 4, 1, 4);
		u(7, 4);
	}
	length_at(at);
	assert_int_equal(open_stream(&r), 0);
	assert_int_equal(state_load(r, &outer_class, 0, &o), -EPROTO);
	assert_string_equal(state_reader_why(r), "record outer/0, field a: it is there twice");
	close_stream(r);
}

static void words_about_deep_and_long_names_are_cut_not_overrun(void **state)
{
	char longer[STATE_NAME_MAX + 1];
	size_t mark[16];
	unsigned n = 0;
	size_t at;

	memset(longer, 'n', sizeof(longer));
	longer[STATE_NAME_MAX] = '\0';
	header(1);
	at = record(longer, UINT32_MAX);
	for (unsigned i = 0; i < STATE_DEPTH_MAX; i++) {
		field(longer, STATE_KIND_STRUCT, 0, 0, 1, 0);
		mark[n++] = used - 4;
		mark[n++] = used;
		u(0, 4);
	}
	while (n)
		length_at(mark[--n]);
	length_at(at);
	assert_refused("nnnnn");
	assert_true(strlen(state_reader_why(NULL)) < 256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(stream_cut_anywhere_is_refused, make_good),
		cmocka_unit_test_setup(stream_with_any_byte_changed_harms_nobody, make_good),
		cmocka_unit_test_setup(stream_with_random_changes_harms_nobody, make_good),
		cmocka_unit_test(stream_of_another_kind_is_refused),
		cmocka_unit_test(stream_with_bytes_after_the_last_record_is_refused),
		cmocka_unit_test_setup(stream_of_another_length_than_it_says_is_refused, make_good),
		cmocka_unit_test(stream_that_promises_too_many_records_is_refused),
		cmocka_unit_test(record_longer_than_the_stream_is_refused),
		cmocka_unit_test(record_that_is_there_twice_is_refused),
		cmocka_unit_test(record_with_an_unprintable_or_long_name_is_refused),
		cmocka_unit_test(field_whose_sizes_disagree_is_refused),
		cmocka_unit_test(field_of_an_unknown_kind_passes_only_when_optional),
		cmocka_unit_test(structures_that_promise_too_many_elements_are_refused),
		cmocka_unit_test(structures_nested_too_deep_are_refused),
		cmocka_unit_test(record_with_too_many_fields_is_refused),
		cmocka_unit_test(field_that_is_there_twice_is_refused),
		cmocka_unit_test(words_about_deep_and_long_names_are_cut_not_overrun),
	};

	return cmocka_run_group_tests_name("state_hostile", tests, NULL, NULL);
}
