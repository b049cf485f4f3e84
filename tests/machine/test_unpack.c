// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of machine/boot/unpack.c: every format out of memory and out of a file, whole and damaged. */
#include "util.h"

#include "machine/boot/boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const enum pack pack_of[KIND_COUNT] = { PACK_GZIP, PACK_XZ, PACK_ZSTD, PACK_LZ4 };

struct sink {
	uint8_t *bytes;
	size_t len, max;
};

static int take(void *opaque, const uint8_t *bytes, size_t len)
{
	struct sink *s = opaque;

	if (len > s->max - s->len)
		return -E2BIG;
	memcpy(s->bytes + s->len, bytes, len);
	s->len += len;
	return 0;
}

/* Something that packs well in places. */
static struct bytes content(size_t len)
{
	struct bytes b = { malloc(len), len };
	uint32_t seed = 7;

	assert_non_null(b.at);
	for (size_t i = 0; i < len; i++) {
		if (i % 64 == 0)
			seed = seed * 1664525 + 1013904223;
		b.at[i] = (i / 4096) % 3 ? (uint8_t)(seed >> 24) : (uint8_t)(seed >> (i % 24));
	}
	return b;
}

static int unpack_all(enum pack pack, struct pack_input *in, size_t max, struct sink *out)
{
	*out = (struct sink){ malloc(max + 1), 0, max };
	assert_non_null(out->bytes);
	return unpack(pack, in, take, out);
}

static void formats_are_known_by_their_magic(void **state)
{
	for (unsigned k = 0; k < KIND_COUNT; k++) {
		struct bytes b = pack(k, "x", 1);

		assert_int_equal(pack_detect(b.at, b.len), pack_of[k]);
		assert_int_equal(pack_detect(b.at, 2), PACK_NONE);
		assert_string_equal(pack_name(pack_of[k]), pack_kind_name[k]);
		bytes_free(&b);
	}
	assert_int_equal(pack_detect((const uint8_t *)"BZh9", 4), PACK_BZIP2);
	assert_false(pack_can_unpack(PACK_BZIP2));
	assert_int_equal(pack_detect((const uint8_t *)"070701", 6), PACK_NONE);
}

static void every_format_unpacks_from_memory_and_from_a_file(void **state)
{
	static const size_t sizes[] = { 0, 1, 255, 262144, 262145, 9 << 20 };

	for (unsigned k = 0; k < KIND_COUNT; k++) {
		for (unsigned i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct bytes plain = content(sizes[i / 2] ? sizes[i / 2] : 1), b;
			struct boot_file file = { .fd = -1 };
			struct pack_input in;
			struct sink out;

			plain.len = sizes[i / 2];
			b = pack(k, plain.at, plain.len);
			in = (struct pack_input){ .at = b.at, .left = b.len };
			if (i & 1) {
				assert_int_equal(
					boot_file_open(&file, "test", test_file(0, b.at, b.len), NULL), 0);
				assert_int_equal(pack_input_open(&in, &file), 0);
			}
			assert_int_equal(unpack_all(pack_of[k], &in, plain.len, &out), 0);
			assert_int_equal(out.len, plain.len);
			if (plain.len)
				assert_memory_equal(out.bytes, plain.at, plain.len);
			assert_int_equal(in.left, 0);
			if (i & 1) {
				pack_input_close(&in);
				boot_file_close(&file);
			}
			free(out.bytes);
			bytes_free(&b);
			bytes_free(&plain);
		}
	}
}

static void the_input_stands_behind_the_stream(void **state)
{
	for (unsigned k = 0; k < KIND_COUNT; k++) {
		struct bytes b = pack(k, "hello", 5), two = { calloc(1, b.len + 8), b.len + 8 };
		struct pack_input in = { .at = two.at, .left = two.len };
		struct sink out;

		memcpy(two.at, b.at, b.len);
		assert_int_equal(unpack_all(pack_of[k], &in, 100, &out), 0);
		assert_int_equal(in.left, 8);
		free(out.bytes);
		bytes_free(&b);
		bytes_free(&two);
	}
}

static void truncated_streams_are_told_from_damaged_ones(void **state)
{
	struct bytes plain = content(100000);

	for (unsigned k = 0; k < KIND_COUNT; k++) {
		struct bytes b = pack(k, plain.at, plain.len);

		for (size_t cut = 5; cut < b.len; cut += b.len / 7) {
			struct pack_input in = { .at = b.at, .left = cut };
			struct sink out;

			assert_int_equal(unpack_all(pack_of[k], &in, plain.len, &out), -ENODATA);
			free(out.bytes);
		}
		bytes_free(&b);
	}
	bytes_free(&plain);
}

static void damaged_streams_do_no_harm(void **state)
{
	struct bytes plain = content(20000);
	uint32_t seed = 99;

	for (unsigned k = 0; k < KIND_COUNT; k++) {
		struct bytes b = pack(k, plain.at, plain.len);
		unsigned refused = 0;

		for (unsigned i = 0; i < 300; i++) {
			struct bytes bad = bytes_copy(b.at, b.len);
			struct pack_input in = { .at = bad.at, .left = bad.len };
			struct sink out;
			int ret;

			seed = seed * 1664525 + 1013904223;
			bad.at[(seed >> 8) % bad.len] ^= 1u << (seed >> 29);
			ret = unpack_all(pack_of[k], &in, plain.len, &out);
			refused += ret < 0 || out.len != plain.len ||
				   memcmp(out.bytes, plain.at, plain.len) != 0;
			free(out.bytes);
			bytes_free(&bad);
		}
		assert_true(refused > 150);
		bytes_free(&b);
	}
	bytes_free(&plain);
}

static void output_is_bounded_by_who_takes_it(void **state)
{
	struct bytes zeros = { calloc(1, 1 << 20), 1 << 20 };

	for (unsigned k = 0; k < KIND_COUNT; k++) {
		struct bytes b = pack(k, zeros.at, zeros.len);
		struct pack_input in = { .at = b.at, .left = b.len };
		struct sink out;

		assert_int_equal(unpack_all(pack_of[k], &in, 1000, &out), -E2BIG);
		free(out.bytes);
		bytes_free(&b);
	}
	bytes_free(&zeros);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formats_are_known_by_their_magic),
		cmocka_unit_test(every_format_unpacks_from_memory_and_from_a_file),
		cmocka_unit_test(the_input_stands_behind_the_stream),
		cmocka_unit_test(truncated_streams_are_told_from_damaged_ones),
		cmocka_unit_test(damaged_streams_do_no_harm),
		cmocka_unit_test(output_is_bounded_by_who_takes_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
