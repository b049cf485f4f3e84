// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target: any bytes as saved state.
 *
 * The reader either refuses them, or what it loads can be saved again and then loads as the same.
 * The table has every kind of field, optional ones and structures inside structures.
 */
#include "state/state.h"

#include <stdlib.h>
#include <string.h>

struct leaf {
	uint16_t count;
	bool gate;
	uint8_t bytes[3];
};

struct node {
	uint64_t wide;
	struct leaf leaf[2];
};

struct root {
	uint8_t u8;
	uint16_t u16[3];
	uint32_t u32;
	bool flag[2];
	uint8_t blob[8];
	struct node node[2];
	struct leaf hint;
};

static const struct state_field leaf_fields[] = {
	STATE_UINT(struct leaf, count),
	STATE_UINT(struct leaf, gate),
	STATE_BYTES(struct leaf, bytes),
	STATE_END,
};

static const struct state_field node_fields[] = {
	STATE_UINT(struct node, wide),
	STATE_STRUCTS(struct node, leaf, leaf_fields),
	STATE_END,
};

static const struct state_field root_fields[] = {
	STATE_UINT_OPTIONAL(struct root, u8),
	STATE_UINTS(struct root, u16),
	STATE_UINT(struct root, u32),
	STATE_UINTS(struct root, flag),
	STATE_BYTES(struct root, blob),
	STATE_STRUCTS(struct root, node, node_fields),
	{"hint", offsetof(struct root, hint), sizeof(struct leaf), 1, STATE_KIND_STRUCT, STATE_OPTIONAL,
	 leaf_fields},
	STATE_END,
};

/* All fields optional: what a mutated stream most easily gets through. */
static const struct state_field loose_fields[] = {
	STATE_UINT_OPTIONAL(struct root, u32),
	STATE_UINT_OPTIONAL(struct root, u8),
	STATE_END,
};

static const struct state_class root_class = {"root", 2, root_fields},
				loose_class = {"loose", 1, loose_fields};

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void save_and_compare(const struct state_class *class, uint32_t instance, const struct root *object)
{
	struct state_writer *w;
	struct state_reader *r;
	struct root back;
	const void *bytes;
	size_t len;

	/* Padding is nobody's: start from the same bytes on both sides. */
	memset(&back, 0, sizeof(back));
	must(state_writer_create(&w) == 0);
	state_save(w, class, instance, object);
	must(state_writer_finish(w, &bytes, &len) == 0);
	must(state_reader_create(bytes, len, &r) == 0);
	must(state_load(r, class, instance, &back) == 0);
	must(state_reader_finish(r) == 0);
	must(memcmp(object, &back, sizeof(back)) == 0);
	state_reader_destroy(r);
	state_writer_destroy(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const struct state_class *const classes[] = {&root_class, &loose_class};
	struct state_reader *r;

	if (state_reader_create(bytes, len, &r)) {
		must(strlen(state_reader_why(NULL)) < 256);
		return 0;
	}
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		for (uint32_t instance = 0; instance < 2; instance++) {
			struct root object;

			memset(&object, 0, sizeof(object));
			if (state_load(r, classes[i], instance, &object) == 0)
				save_and_compare(classes[i], instance, &object);
		}
	}
	state_reader_finish(r);
	must(strlen(state_reader_why(r)) < 256);
	state_reader_destroy(r);
	return 0;
}
