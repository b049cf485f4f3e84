// SPDX-License-Identifier: GPL-2.0-or-later
/* Saved state: what goes in comes out, and what may change between versions of a program. */
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
	uint8_t bytes[3];
};

struct outer {
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	bool flag;
	bool flags[5];
	uint16_t words[7];
	uint8_t blob[19];
	struct inner one;
	struct inner three[3];
	uint32_t extra;
};

static const struct state_field inner_fields[] = {
	STATE_UINT(struct inner, count),
	STATE_UINT(struct inner, gate),
	STATE_UINTS(struct inner, bytes),
	STATE_END,
};

static const struct state_field outer_fields[] = {
	STATE_UINT(struct outer, u8),
	STATE_UINT(struct outer, u16),
	STATE_UINT(struct outer, u32),
	STATE_UINT(struct outer, u64),
	STATE_UINT(struct outer, flag),
	STATE_UINTS(struct outer, flags),
	STATE_UINTS(struct outer, words),
	STATE_BYTES(struct outer, blob),
	STATE_STRUCT(struct outer, one, inner_fields),
	STATE_STRUCTS(struct outer, three, inner_fields),
	STATE_UINT_OPTIONAL(struct outer, extra),
	STATE_END,
};

static const struct state_class outer_class = {"outer", 3, outer_fields};

static struct state_writer *w;
static struct state_reader *r;

static int make_writer(void **state)
{
	r = NULL;
	return state_writer_create(&w);
}

static int drop(void **state)
{
	state_reader_destroy(r);
	state_writer_destroy(w);
	return 0;
}

/* Finishes the writer, and opens its stream. */
static void reopen(void)
{
	const void *bytes;
	size_t len;

	assert_int_equal(state_writer_finish(w, &bytes, &len), 0);
	assert_int_equal(state_reader_create(bytes, len, &r), 0);
}

/* An object whose every byte was drawn, but that holds only what its members may hold. */
static struct outer random_outer(unsigned seed)
{
	struct outer o;
	uint8_t *p = (uint8_t *)&o;

	srand(seed);
	for (size_t i = 0; i < sizeof(o); i++)
		p[i] = (uint8_t)rand();
	o.flag = rand() & 1;
	for (int i = 0; i < 5; i++)
		o.flags[i] = rand() & 1;
	o.one.gate = rand() & 1;
	for (int i = 0; i < 3; i++)
		o.three[i].gate = rand() & 1;
	return o;
}

static void assert_inner_equal(const struct inner *a, const struct inner *b)
{
	assert_int_equal(a->count, b->count);
	assert_int_equal(a->gate, b->gate);
	assert_memory_equal(a->bytes, b->bytes, sizeof(a->bytes));
}

static void assert_outer_equal(const struct outer *a, const struct outer *b)
{
	assert_int_equal(a->u8, b->u8);
	assert_int_equal(a->u16, b->u16);
	assert_int_equal(a->u32, b->u32);
	assert_int_equal(a->u64, b->u64);
	assert_int_equal(a->flag, b->flag);
	assert_memory_equal(a->flags, b->flags, sizeof(a->flags));
	assert_memory_equal(a->words, b->words, sizeof(a->words));
	assert_memory_equal(a->blob, b->blob, sizeof(a->blob));
	assert_inner_equal(&a->one, &b->one);
	for (int i = 0; i < 3; i++)
		assert_inner_equal(&a->three[i], &b->three[i]);
	assert_int_equal(a->extra, b->extra);
}

static void state_comes_back_as_it_was_saved(void **state)
{
	for (unsigned i = 0; i < 5; i++) {
		struct outer o = random_outer(i);

		state_save(w, &outer_class, i, &o);
	}
	reopen();
	for (unsigned i = 5; i-- > 0;) {
		struct outer o = random_outer(i), back;

		memset(&back, 0, sizeof(back));
		assert_int_equal(state_load(r, &outer_class, i, &back), 0);
		assert_outer_equal(&o, &back);
	}
	assert_int_equal(state_reader_finish(r), 0);
	assert_string_equal(state_reader_why(r), "");
}

static void state_empty_stream_is_a_stream(void **state)
{
	reopen();
	assert_int_equal(state_reader_finish(r), 0);
}

static void state_large_record_is_saved_whole(void **state)
{
	struct big {
		uint8_t vram[1 << 20];
	};
	static const struct state_field fields[] = {STATE_BYTES(struct big, vram), STATE_END};
	static const struct state_class class = {"big", 1, fields};
	static struct big a, b;

	for (size_t i = 0; i < sizeof(a.vram); i++)
		a.vram[i] = (uint8_t)(i * 7 + (i >> 8));
	state_save(w, &class, 0, &a);
	reopen();
	assert_int_equal(state_load(r, &class, 0, &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
}

static void state_absent_record_is_enoent(void **state)
{
	struct outer o = random_outer(1);

	state_save(w, &outer_class, 1, &o);
	reopen();
	assert_int_equal(state_load(r, &outer_class, 0, &o), -ENOENT);
	assert_non_null(strstr(state_reader_why(r), "outer/0"));
}

static void state_record_that_nobody_loaded_fails_the_finish(void **state)
{
	struct outer o = random_outer(1);

	state_save(w, &outer_class, 0, &o);
	state_save(w, &outer_class, 8, &o);
	reopen();
	assert_int_equal(state_load(r, &outer_class, 0, &o), 0);
	assert_int_equal(state_reader_finish(r), -EPROTO);
	assert_non_null(strstr(state_reader_why(r), "outer/8"));
}

static void state_newer_version_fails_and_an_older_one_is_offered(void **state)
{
	static const struct state_class older = {"outer", 2, outer_fields},
					newer = {"outer", 4, outer_fields};
	struct outer o = random_outer(2), back = {0};

	state_save(w, &outer_class, 0, &o);
	reopen();
	assert_int_equal(state_load(r, &older, 0, &back), -EPROTO);
	assert_non_null(strstr(state_reader_why(r), "version 3"));
	assert_int_equal(state_load(r, &newer, 0, &back), 0);
	assert_outer_equal(&o, &back);
}

/* Several shapes of one record, each as a program of its own would have it. */
struct shape {
	uint64_t a, b;
};

static const struct state_field only_a[] = {STATE_UINT(struct shape, a), STATE_END};
static const struct state_field a_and_b[] = {STATE_UINT(struct shape, a), STATE_UINT(struct shape, b),
					     STATE_END};
static const struct state_field a_and_optional_b[] = {STATE_UINT(struct shape, a),
						      STATE_UINT_OPTIONAL(struct shape, b), STATE_END};

static int save_one_load_other(const struct state_field *saved, const struct state_field *loaded,
			       struct shape *back)
{
	const struct state_class save = {"shape", 1, saved}, load = {"shape", 1, loaded};
	struct shape s = {1, 2};

	state_save(w, &save, 0, &s);
	reopen();
	return state_load(r, &load, 0, back);
}

static void state_unknown_mandatory_field_fails(void **state)
{
	struct shape back = {8, 9};

	assert_int_equal(save_one_load_other(a_and_b, only_a, &back), -EPROTO);
	assert_non_null(strstr(state_reader_why(r), "shape/0, field b"));
}

static void state_unknown_optional_field_is_skipped(void **state)
{
	struct shape back = {8, 9};

	assert_int_equal(save_one_load_other(a_and_optional_b, only_a, &back), 0);
	assert_int_equal(back.a, 1);
	assert_int_equal(back.b, 9);
}

static void state_missing_mandatory_field_fails(void **state)
{
	struct shape back = {8, 9};

	assert_int_equal(save_one_load_other(only_a, a_and_b, &back), -EPROTO);
	assert_non_null(strstr(state_reader_why(r), "field b: it is missing"));
}

static void state_missing_optional_field_keeps_its_value(void **state)
{
	struct shape back = {8, 9};

	assert_int_equal(save_one_load_other(only_a, a_and_optional_b, &back), 0);
	assert_int_equal(back.a, 1);
	assert_int_equal(back.b, 9);
}

static void state_rules_hold_inside_structures_too(void **state)
{
	static const struct state_field full[] = {
		STATE_UINT(struct inner, count),
		STATE_UINT(struct inner, gate),
		{"bytes", offsetof(struct inner, bytes), 1, 3, STATE_KIND_UINT, STATE_OPTIONAL, NULL},
		STATE_END,
	};
	static const struct state_field fewer[] = {STATE_UINT(struct inner, count), STATE_END};
	static const struct state_field skips[] = {STATE_UINT(struct inner, count),
						   STATE_UINT(struct inner, gate), STATE_END};
	const struct state_field saved[] = {STATE_STRUCTS(struct outer, three, full), STATE_END};
	const struct state_field bad[] = {STATE_STRUCTS(struct outer, three, fewer), STATE_END};
	const struct state_field good[] = {STATE_STRUCTS(struct outer, three, skips), STATE_END};
	struct outer o = random_outer(3), back = {0};

	state_save(w, &(struct state_class){"nest", 1, saved}, 0, &o);
	reopen();
	assert_int_equal(state_load(r, &(struct state_class){"nest", 1, bad}, 0, &back), -EPROTO);
	assert_non_null(strstr(state_reader_why(r), "field three[0].gate"));
	assert_int_equal(state_load(r, &(struct state_class){"nest", 1, good}, 0, &back), 0);
	assert_int_equal(back.three[2].count, o.three[2].count);
}

static void state_element_may_change_its_width_if_its_value_fits(void **state)
{
	struct narrow {
		uint8_t v[2];
	} n = {{0, 0}};
	struct wide {
		uint64_t v[2];
	} wide = {{255, 17}}, back;
	static const struct state_field narrow_fields[] = {STATE_UINTS(struct narrow, v), STATE_END};
	static const struct state_field wide_fields[] = {STATE_UINTS(struct wide, v), STATE_END};
	static const struct state_class narrow_class = {"n", 1, narrow_fields},
					wide_class = {"n", 1, wide_fields};

	state_save(w, &wide_class, 0, &wide);
	wide.v[1] = 256;
	state_save(w, &wide_class, 1, &wide);
	n.v[0] = 200;
	state_save(w, &narrow_class, 2, &n);
	reopen();
	assert_int_equal(state_load(r, &narrow_class, 0, &n), 0);
	assert_int_equal(n.v[0], 255);
	assert_int_equal(n.v[1], 17);
	assert_int_equal(state_load(r, &narrow_class, 1, &n), -EPROTO);
	assert_non_null(strstr(state_reader_why(r), "element 1"));
	assert_int_equal(state_load(r, &wide_class, 2, &back), 0);
	assert_int_equal(back.v[0], 200);
}

static void state_bool_takes_only_0_and_1(void **state)
{
	struct as_byte {
		uint8_t v;
	} b = {2};
	struct as_bool {
		bool v;
	} back = {false};
	static const struct state_field byte_fields[] = {STATE_UINT(struct as_byte, v), STATE_END};
	static const struct state_field bool_fields[] = {STATE_UINT(struct as_bool, v), STATE_END};

	state_save(w, &(struct state_class){"b", 1, byte_fields}, 0, &b);
	b.v = 1;
	state_save(w, &(struct state_class){"b", 1, byte_fields}, 1, &b);
	reopen();
	assert_int_equal(state_load(r, &(struct state_class){"b", 1, bool_fields}, 0, &back), -EPROTO);
	assert_int_equal(state_load(r, &(struct state_class){"b", 1, bool_fields}, 1, &back), 0);
	assert_true(back.v);
}

static void state_kind_count_and_size_must_be_the_same(void **state)
{
	struct shape back;
	static const struct state_field as_bytes[] = {STATE_BYTES(struct shape, a), STATE_END};
	static const struct state_field two[] = {{"a", 0, 8, 2, STATE_KIND_UINT, 0, NULL}, STATE_END};
	static const struct state_field shorter[] = {{"a", 0, 7, 1, STATE_KIND_BYTES, 0, NULL}, STATE_END};
	static const struct state_field as_struct[] = {{"a", 0, 8, 1, STATE_KIND_STRUCT, 0, only_a},
						       STATE_END};
	struct shape s = {1, 2};

	state_save(w, &(struct state_class){"uint", 1, only_a}, 0, &s);
	state_save(w, &(struct state_class){"bytes", 1, as_bytes}, 0, &s);
	reopen();
	assert_int_equal(state_load(r, &(struct state_class){"uint", 1, as_bytes}, 0, &back), -EPROTO);
	assert_int_equal(state_load(r, &(struct state_class){"uint", 1, as_struct}, 0, &back), -EPROTO);
	assert_int_equal(state_load(r, &(struct state_class){"uint", 1, two}, 0, &back), -EPROTO);
	assert_int_equal(state_load(r, &(struct state_class){"bytes", 1, shorter}, 0, &back), -EPROTO);
	assert_int_equal(state_load(r, &(struct state_class){"bytes", 1, only_a}, 0, &back), -EPROTO);
	assert_int_equal(state_load(r, &(struct state_class){"uint", 1, only_a}, 0, &back), 0);
	assert_int_equal(state_load(r, &(struct state_class){"bytes", 1, as_bytes}, 0, &back), 0);
}

static void state_same_record_twice_is_the_writers_error(void **state)
{
	struct outer o = random_outer(1);
	const void *bytes;
	size_t len;

	state_save(w, &outer_class, 1, &o);
	state_save(w, &outer_class, 1, &o);
	state_save(w, &outer_class, 2, &o);
	assert_int_equal(state_writer_finish(w, &bytes, &len), -EEXIST);
}

static void state_table_that_cannot_be_is_the_writers_error(void **state)
{
	static const struct state_field odd_size[] = {{"x", 0, 3, 1, STATE_KIND_UINT, 0, NULL}, STATE_END};
	static const struct state_field odd_kind[] = {{"x", 0, 4, 1, 77, 0, NULL}, STATE_END};
	static const struct state_field no_name[] = {{"", 0, 4, 1, STATE_KIND_UINT, 0, NULL}, STATE_END};
	static const struct state_field blank[] = {{"a b", 0, 4, 1, STATE_KIND_UINT, 0, NULL}, STATE_END};
	static const struct state_field endless[] = {{"x", 0, 4, 1, STATE_KIND_STRUCT, 0, endless},
						     STATE_END};
	static const struct state_field *const bad[] = {odd_size, odd_kind, no_name, blank, endless};
	uint64_t object = 0;
	const void *bytes;
	size_t len;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct state_writer *one;

		assert_int_equal(state_writer_create(&one), 0);
		state_save(one, &(struct state_class){"x", 1, bad[i]}, 0, &object);
		assert_int_equal(state_writer_finish(one, &bytes, &len), -EINVAL);
		state_writer_destroy(one);
	}
}

static void state_can_be_added_to_after_a_finish(void **state)
{
	struct outer o = random_outer(1);
	const void *bytes;
	size_t len;

	state_save(w, &outer_class, 0, &o);
	assert_int_equal(state_writer_finish(w, &bytes, &len), 0);
	state_save(w, &outer_class, 1, &o);
	reopen();
	assert_int_equal(state_load(r, &outer_class, 0, &o), 0);
	assert_int_equal(state_load(r, &outer_class, 1, &o), 0);
	assert_int_equal(state_reader_finish(r), 0);
}

static void state_loaders_own_words_are_told(void **state)
{
	reopen();
	assert_int_equal(state_reader_fail(r, "register %d is odd", 5), -EPROTO);
	assert_string_equal(state_reader_why(r), "register 5 is odd");
}

static void state_destroy_takes_null(void **state)
{
	state_writer_destroy(NULL);
	state_reader_destroy(NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, make_writer, drop)
	const struct CMUnitTest tests[] = {
		T(state_comes_back_as_it_was_saved),
		T(state_empty_stream_is_a_stream),
		T(state_large_record_is_saved_whole),
		T(state_absent_record_is_enoent),
		T(state_record_that_nobody_loaded_fails_the_finish),
		T(state_newer_version_fails_and_an_older_one_is_offered),
		T(state_unknown_mandatory_field_fails),
		T(state_unknown_optional_field_is_skipped),
		T(state_missing_mandatory_field_fails),
		T(state_missing_optional_field_keeps_its_value),
		T(state_rules_hold_inside_structures_too),
		T(state_element_may_change_its_width_if_its_value_fits),
		T(state_bool_takes_only_0_and_1),
		T(state_kind_count_and_size_must_be_the_same),
		T(state_same_record_twice_is_the_writers_error),
		T(state_table_that_cannot_be_is_the_writers_error),
		T(state_can_be_added_to_after_a_finish),
		T(state_loaders_own_words_are_told),
		cmocka_unit_test(state_destroy_takes_null),
	};

	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
