// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Saved state: the writer and the reader of the format in docs/state-format.md.
 *
 *   bytes      growing and reading little-endian bytes
 *   writer     struct state_writer
 *   framing    what state_reader_create checks of the whole stream
 *   loading    state_load: one record into a C structure by its table
 *
 * Invariants:
 *  - Tables (struct state_field) are trusted, streams are not. The reader touches no byte of a
 *    stream before it has compared with the end of what encloses it, and stores into an object
 *    only element sizes and counts that its table gives.
 *  - Recursion is bounded by STATE_DEPTH_MAX on both sides; memory taken for a stream, by
 *    STATE_RECORDS_MAX; time, by the stream's length times the length of the longest table.
 */
#include "state/state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- bytes --- */

static const uint8_t magic[8] = {'S', 'u', 'b', 'r', 'i', 'n', 'g', 0x1a};

enum {
	FORMAT_VERSION = 1,
	HEADER_SIZE = 24,     /* magic, u32 format version, u32 records, u64 length of the stream */
	HEADER_RECORDS = 12,  /* offset of the number of records */
	HEADER_LENGTH = 16,   /* offset of the length */
	RECORD_SIZE_MIN = 14, /* u32 length, u8 + 1 byte of name, u32 instance, u32 version */
	WHY_SIZE = 256,
	PATH_SIZE = 160,
};

/* Element kinds as they stand in a stream; the same numbers as enum state_kind, and as fixed. */
_Static_assert(STATE_KIND_UINT == 1 && STATE_KIND_BYTES == 2 && STATE_KIND_STRUCT == 3,
	       "these are the file format");
_Static_assert(STATE_OPTIONAL == 1, "this is the file format");

static void put_le(uint8_t *to, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		to[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get_le(const uint8_t *from, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)from[i] << 8 * i;
	return value;
}

/* An unsigned element of @size bytes in a C structure, in the host's byte order. */
static uint64_t load_uint(const void *from, unsigned size)
{
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;

	switch (size) {
	case 1: return memcpy(&u8, from, 1), u8;
	case 2: return memcpy(&u16, from, 2), u16;
	case 4: return memcpy(&u32, from, 4), u32;
	default: return memcpy(&u64, from, 8), u64;
	}
}

static void store_uint(void *to, unsigned size, uint64_t value)
{
	uint8_t u8 = (uint8_t)value;
	uint16_t u16 = (uint16_t)value;
	uint32_t u32 = (uint32_t)value;

	switch (size) {
	case 1: memcpy(to, &u8, 1); break;
	case 2: memcpy(to, &u16, 2); break;
	case 4: memcpy(to, &u32, 4); break;
	default: memcpy(to, &value, 8); break;
	}
}

static bool uint_size_ok(uint32_t size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

static bool name_ok(const void *name, size_t len)
{
	const uint8_t *p = name;

	if (len == 0 || len > STATE_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (p[i] <= 0x20 || p[i] >= 0x7f)
			return false;
	return true;
}

/* --- writer --- */

struct state_writer {
	uint8_t *buf;
	size_t len, cap;
	uint32_t records;
	int error; /* the first one; nothing is written after it */
};

static void put_bytes(struct state_writer *w, const void *bytes, size_t len)
{
	if (w->error || len == 0)
		return;
	if (len > w->cap - w->len) {
		size_t cap = w->cap * 2;
		uint8_t *buf;

		if (cap < w->len + len)
			cap = w->len + len;
		buf = realloc(w->buf, cap);
		if (!buf) {
			w->error = -ENOMEM;
			return;
		}
		w->buf = buf;
		w->cap = cap;
	}
	memcpy(w->buf + w->len, bytes, len);
	w->len += len;
}

static void put_uint(struct state_writer *w, uint64_t value, unsigned size)
{
	uint8_t bytes[8];

	put_le(bytes, value, size);
	put_bytes(w, bytes, size);
}

static void put_name(struct state_writer *w, const char *name)
{
	size_t len = strlen(name);

	if (!name_ok(name, len)) {
		w->error = w->error ? w->error : -EINVAL;
		return;
	}
	put_uint(w, len, 1);
	put_bytes(w, name, len);
}

/* Leaves room for a length of 4 bytes; end_length fills it with what came after. */
static size_t begin_length(struct state_writer *w)
{
	size_t at = w->len;

	put_uint(w, 0, 4);
	return at;
}

static void end_length(struct state_writer *w, size_t at)
{
	size_t len = w->len - at - 4;

	if (w->error)
		return;
	if (len > UINT32_MAX)
		w->error = -EOVERFLOW;
	else
		put_le(w->buf + at, len, 4);
}

static void put_fields(struct state_writer *w, const struct state_field *table, const uint8_t *object,
		       unsigned depth);

static void put_field(struct state_writer *w, const struct state_field *f, const uint8_t *object,
		      unsigned depth)
{
	const uint8_t *first = object + f->offset;
	size_t length_at;

	put_name(w, f->name);
	put_uint(w, f->kind, 1);
	put_uint(w, f->flags & STATE_OPTIONAL, 1);
	put_uint(w, f->kind == STATE_KIND_STRUCT ? 0 : f->size, 4);
	put_uint(w, f->count, 4);
	length_at = begin_length(w);
	switch (f->kind) {
	case STATE_KIND_UINT:
		if (!uint_size_ok(f->size)) {
			w->error = w->error ? w->error : -EINVAL;
			return;
		}
		for (uint32_t i = 0; i < f->count; i++)
			put_uint(w, load_uint(first + (size_t)i * f->size, f->size), f->size);
		break;
	case STATE_KIND_BYTES: put_bytes(w, first, (size_t)f->size * f->count); break;
	case STATE_KIND_STRUCT:
		for (uint32_t i = 0; i < f->count; i++) {
			size_t element_at = begin_length(w);

			put_fields(w, f->sub, first + (size_t)i * f->size, depth + 1);
			end_length(w, element_at);
		}
		break;
	default: w->error = w->error ? w->error : -EINVAL; return;
	}
	end_length(w, length_at);
}

static void put_fields(struct state_writer *w, const struct state_field *table, const uint8_t *object,
		       unsigned depth)
{
	unsigned n = 0;

	if (depth > STATE_DEPTH_MAX) {
		w->error = w->error ? w->error : -EINVAL;
		return;
	}
	for (const struct state_field *f = table; f && f->kind != STATE_KIND_END && !w->error; f++) {
		if (++n > STATE_FIELDS_MAX) {
			w->error = -EINVAL;
			return;
		}
		put_field(w, f, object, depth);
	}
}

int state_writer_create(struct state_writer **out)
{
	struct state_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->cap = 4096;
	w->buf = malloc(w->cap);
	if (!w->buf) {
		free(w);
		return -ENOMEM;
	}
	put_bytes(w, magic, sizeof(magic));
	put_uint(w, FORMAT_VERSION, 4);
	put_uint(w, 0, 4);
	put_uint(w, 0, 8);
	*out = w;
	return 0;
}

void state_writer_destroy(struct state_writer *w)
{
	if (!w)
		return;
	free(w->buf);
	free(w);
}

/* Has the writer's own stream, which is well formed, a record of that name and instance? */
static bool already_saved(const struct state_writer *w, const char *name, uint32_t instance)
{
	size_t at = HEADER_SIZE, len = strlen(name);

	while (at < w->len) {
		const uint8_t *r = w->buf + at;

		if (r[4] == len && !memcmp(r + 5, name, len) && get_le(r + 5 + len, 4) == instance)
			return true;
		at += 4 + (size_t)get_le(r, 4);
	}
	return false;
}

void state_save(struct state_writer *w, const struct state_class *class, uint32_t instance,
		const void *object)
{
	size_t length_at;

	if (w->error)
		return;
	if (already_saved(w, class->name, instance)) {
		w->error = -EEXIST;
		return;
	}
	if (w->records == STATE_RECORDS_MAX) {
		w->error = -ENOSPC;
		return;
	}
	length_at = begin_length(w);
	put_name(w, class->name);
	put_uint(w, instance, 4);
	put_uint(w, class->version, 4);
	put_fields(w, class->fields, object, 1);
	end_length(w, length_at);
	w->records++;
}

int state_writer_finish(struct state_writer *w, const void **bytes, size_t *len)
{
	if (w->error)
		return w->error;
	put_le(w->buf + HEADER_RECORDS, w->records, 4);
	put_le(w->buf + HEADER_LENGTH, w->len, 8);
	*bytes = w->buf;
	*len = w->len;
	return 0;
}

/* --- framing --- */

/* A part of the stream that is still to be read. */
struct cursor {
	const uint8_t *p, *end;
};

struct record {
	const uint8_t *name;
	uint8_t name_len;
	bool loaded;
	uint32_t instance, version;
	struct cursor fields;
};

struct state_reader {
	struct record *record;
	uint32_t records;
	char why[WHY_SIZE];
	char path[PATH_SIZE]; /* where in the stream the reader is, for why */
};

/* The header of a field, and its data. */
struct field {
	const uint8_t *name;
	uint8_t name_len, kind, flags;
	uint32_t size, count;
	struct cursor data;
};

static _Thread_local char create_why[WHY_SIZE];

static size_t left(const struct cursor *c)
{
	return (size_t)(c->end - c->p);
}

static bool take_uint(struct cursor *c, unsigned size, uint64_t *value)
{
	if (left(c) < size)
		return false;
	*value = get_le(c->p, size);
	c->p += size;
	return true;
}

static bool take_u32(struct cursor *c, uint32_t *value)
{
	uint64_t v;

	if (!take_uint(c, 4, &v))
		return false;
	*value = (uint32_t)v;
	return true;
}

static bool take_u8(struct cursor *c, uint8_t *value)
{
	uint64_t v;

	if (!take_uint(c, 1, &v))
		return false;
	*value = (uint8_t)v;
	return true;
}

static bool take_part(struct cursor *c, uint32_t len, struct cursor *part)
{
	if (left(c) < len)
		return false;
	*part = (struct cursor){c->p, c->p + len};
	c->p += len;
	return true;
}

static bool take_name(struct cursor *c, const uint8_t **name, uint8_t *len)
{
	struct cursor part;

	if (!take_u8(c, len) || !take_part(c, *len, &part) || !name_ok(part.p, *len))
		return false;
	*name = part.p;
	return true;
}

/* Takes a field, and checks that its sizes agree with each other. */
static bool take_field(struct cursor *c, struct field *f)
{
	uint32_t len;

	if (!take_name(c, &f->name, &f->name_len) || !take_u8(c, &f->kind) || !take_u8(c, &f->flags) ||
	    !take_u32(c, &f->size) || !take_u32(c, &f->count) || !take_u32(c, &len) ||
	    !take_part(c, len, &f->data))
		return false;
	if (f->flags & ~STATE_OPTIONAL)
		return false;
	switch (f->kind) {
	case STATE_KIND_UINT: return uint_size_ok(f->size) && (uint64_t)f->size * f->count == len;
	case STATE_KIND_BYTES: return (uint64_t)f->size * f->count == len;
	case STATE_KIND_STRUCT: return f->size == 0;
	default:
		/* A kind that does not exist yet can be stepped over, where it may be. */
		return f->flags & STATE_OPTIONAL;
	}
}

static int fail(struct state_reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "record i8254/0, field channel[1].count: ..." */
static int fail(struct state_reader *r, const char *fmt, ...)
{
	int used = snprintf(r->why, sizeof(r->why), "%s%s", r->path, r->path[0] ? ": " : "");
	va_list args;

	va_start(args, fmt);
	vsnprintf(r->why + used, sizeof(r->why) - (size_t)used, fmt, args);
	va_end(args);
	return -EPROTO;
}

/* Appends to the path; the caller cuts it back to what path_push returned. */
static size_t path_push(struct state_reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static size_t path_push(struct state_reader *r, const char *fmt, ...)
{
	size_t used = strlen(r->path);
	va_list args;

	va_start(args, fmt);
	vsnprintf(r->path + used, sizeof(r->path) - used, fmt, args);
	va_end(args);
	return used;
}

static void path_pop(struct state_reader *r, size_t used)
{
	r->path[used] = '\0';
}

static size_t path_push_record(struct state_reader *r, const struct record *rec)
{
	r->path[0] = '\0';
	return path_push(r, "record %.*s/%u", rec->name_len, (const char *)rec->name, rec->instance);
}

static size_t path_push_field(struct state_reader *r, const uint8_t *name, size_t len, unsigned depth)
{
	return path_push(r, "%s%.*s", depth == 1 ? ", field " : ".", (int)len, (const char *)name);
}

static int check_fields(struct state_reader *r, struct cursor c, unsigned depth);

static int check_structs(struct state_reader *r, const struct field *f, unsigned depth)
{
	struct cursor c = f->data, element;
	uint32_t len;

	/* Each element takes 4 bytes at least: the stream's length bounds this loop. */
	for (uint32_t i = 0; i < f->count; i++) {
		size_t mark;
		int ret;

		if (!take_u32(&c, &len) || !take_part(&c, len, &element))
			return fail(r, "element %u runs past the field's end", i);
		mark = path_push(r, "[%u]", i);
		ret = check_fields(r, element, depth + 1);
		if (ret)
			return ret;
		path_pop(r, mark);
	}
	return left(&c) ? fail(r, "%zu bytes are left over after its elements", left(&c)) : 0;
}

static int check_fields(struct state_reader *r, struct cursor c, unsigned depth)
{
	unsigned n = 0;

	if (depth > STATE_DEPTH_MAX)
		return fail(r, "structures are nested more than %d deep", STATE_DEPTH_MAX);
	while (left(&c)) {
		struct field f;
		size_t mark;
		int ret = 0;

		if (++n > STATE_FIELDS_MAX)
			return fail(r, "it has more than %d fields", STATE_FIELDS_MAX);
		if (!take_field(&c, &f))
			return fail(r, "field number %u is damaged", n - 1);
		mark = path_push_field(r, f.name, f.name_len, depth);
		if (f.kind == STATE_KIND_STRUCT)
			ret = check_structs(r, &f, depth);
		if (ret)
			return ret;
		path_pop(r, mark);
	}
	return 0;
}

static struct record *find_record(struct state_reader *r, const void *name, size_t len, uint32_t instance)
{
	for (uint32_t i = 0; i < r->records; i++) {
		struct record *rec = &r->record[i];

		if (rec->name_len == len && rec->instance == instance && !memcmp(rec->name, name, len))
			return rec;
	}
	return NULL;
}

static int check_record(struct state_reader *r, struct cursor *stream)
{
	struct cursor body;
	struct record rec = {0};
	uint32_t len;
	int ret;

	if (!take_u32(stream, &len) || !take_part(stream, len, &body))
		return fail(r, "record number %u runs past the stream's end", r->records);
	if (!take_name(&body, &rec.name, &rec.name_len) || !take_u32(&body, &rec.instance) ||
	    !take_u32(&body, &rec.version))
		return fail(r, "record number %u is damaged", r->records);
	rec.fields = body;
	path_push_record(r, &rec);
	if (find_record(r, rec.name, rec.name_len, rec.instance))
		return fail(r, "it is there twice");
	ret = check_fields(r, body, 1);
	if (ret)
		return ret;
	r->path[0] = '\0';
	r->record[r->records++] = rec;
	return 0;
}

static int check_stream(struct state_reader *r, struct cursor c)
{
	size_t total = left(&c);
	uint32_t version, records;
	uint64_t length;

	if (total < HEADER_SIZE || memcmp(c.p, magic, sizeof(magic)))
		return fail(r, "it is no saved state");
	c.p += sizeof(magic);
	/* The header is there: these cannot fail. */
	if (!take_u32(&c, &version) || !take_u32(&c, &records) || !take_uint(&c, 8, &length))
		return fail(r, "it is no saved state");
	if (version != FORMAT_VERSION)
		return fail(r, "it is of format version %u, this program reads version %d", version,
			    FORMAT_VERSION);
	if (length != total)
		return fail(r, "it says it is %llu bytes long, but is %zu", (unsigned long long)length,
			    total);
	if (records > STATE_RECORDS_MAX || records > left(&c) / RECORD_SIZE_MIN)
		return fail(r, "it cannot hold %u records", records);
	r->record = calloc(records ? records : 1, sizeof(*r->record));
	if (!r->record)
		return -ENOMEM;
	while (r->records < records) {
		int ret = check_record(r, &c);

		if (ret)
			return ret;
	}
	return left(&c) ? fail(r, "%zu bytes follow the last record", left(&c)) : 0;
}

int state_reader_create(const void *bytes, size_t len, struct state_reader **out)
{
	struct state_reader *r = calloc(1, sizeof(*r));
	const uint8_t *p = len ? bytes : magic;
	int ret;

	if (!r) {
		create_why[0] = '\0';
		return -ENOMEM;
	}
	ret = check_stream(r, (struct cursor){p, p + len});
	memcpy(create_why, r->why, sizeof(create_why));
	if (ret) {
		state_reader_destroy(r);
		return ret;
	}
	*out = r;
	return 0;
}

void state_reader_destroy(struct state_reader *r)
{
	if (!r)
		return;
	free(r->record);
	free(r);
}

/* --- loading --- */

static int load_fields(struct state_reader *r, struct cursor c, const struct state_field *table,
		       uint8_t *object, unsigned depth);

static int load_uints(struct state_reader *r, struct field *f, const struct state_field *t, uint8_t *first)
{
	uint64_t max = t->size == 8 ? UINT64_MAX : (1ull << 8 * t->size) - 1;

	if (t->flags & STATE_BOOL)
		max = 1;
	if (f->count != t->count)
		return fail(r, "it has %u elements, not %u", f->count, t->count);
	for (uint32_t i = 0; i < t->count; i++) {
		uint64_t value;

		if (!take_uint(&f->data, f->size, &value))
			return fail(r, "it is cut short");
		if (value > max)
			return fail(r, "element %u is 0x%llx, more than 0x%llx", i, (unsigned long long)value,
				    (unsigned long long)max);
		store_uint(first + (size_t)i * t->size, t->size, value);
	}
	return 0;
}

static int load_structs(struct state_reader *r, struct field *f, const struct state_field *t, uint8_t *first,
			unsigned depth)
{
	if (f->count != t->count)
		return fail(r, "it has %u elements, not %u", f->count, t->count);
	for (uint32_t i = 0; i < t->count; i++) {
		struct cursor element;
		uint32_t len;
		size_t mark;
		int ret;

		if (!take_u32(&f->data, &len) || !take_part(&f->data, len, &element))
			return fail(r, "it is cut short");
		mark = path_push(r, "[%u]", i);
		ret = load_fields(r, element, t->sub, first + (size_t)i * t->size, depth + 1);
		if (ret)
			return ret;
		path_pop(r, mark);
	}
	return 0;
}

static int load_field(struct state_reader *r, struct field *f, const struct state_field *t, uint8_t *object,
		      unsigned depth)
{
	uint8_t *first = object + t->offset;

	if (f->kind != t->kind)
		return fail(r, "it is of kind %u, not %u", f->kind, t->kind);
	switch (t->kind) {
	case STATE_KIND_UINT: return load_uints(r, f, t, first);
	case STATE_KIND_BYTES:
		if (f->size != t->size || f->count != t->count)
			return fail(r, "it has %u * %u bytes, not %u * %u", f->count, f->size, t->count,
				    t->size);
		memcpy(first, f->data.p, (size_t)t->size * t->count);
		return 0;
	default: return load_structs(r, f, t, first, depth);
	}
}

/* The index in @table of the field called @name; -1: there is none. */
static int find_field(const struct state_field *table, const uint8_t *name, size_t len)
{
	for (int i = 0; i < STATE_FIELDS_MAX && table && table[i].kind != STATE_KIND_END; i++)
		if (strlen(table[i].name) == len && !memcmp(table[i].name, name, len))
			return i;
	return -1;
}

static int load_fields(struct state_reader *r, struct cursor c, const struct state_field *table,
		       uint8_t *object, unsigned depth)
{
	uint64_t seen[STATE_FIELDS_MAX / 64] = {0};

	if (depth > STATE_DEPTH_MAX)
		return fail(r, "structures are nested more than %d deep", STATE_DEPTH_MAX);
	while (left(&c)) {
		struct field f;
		size_t mark;
		int i, ret = 0;

		if (!take_field(&c, &f))
			return fail(r, "a field is damaged");
		mark = path_push_field(r, f.name, f.name_len, depth);
		i = find_field(table, f.name, f.name_len);
		if (i < 0) {
			if (!(f.flags & STATE_OPTIONAL))
				return fail(r, "this program does not know it, and it must not be ignored");
		} else if (seen[i / 64] & 1ull << i % 64) {
			return fail(r, "it is there twice");
		} else {
			seen[i / 64] |= 1ull << i % 64;
			ret = load_field(r, &f, &table[i], object, depth);
		}
		if (ret)
			return ret;
		path_pop(r, mark);
	}
	for (int i = 0; i < STATE_FIELDS_MAX && table && table[i].kind != STATE_KIND_END; i++) {
		if ((table[i].flags & STATE_OPTIONAL) || (seen[i / 64] & 1ull << i % 64))
			continue;
		path_push_field(r, (const uint8_t *)table[i].name, strlen(table[i].name), depth);
		return fail(r, "it is missing");
	}
	return 0;
}

int state_load(struct state_reader *r, const struct state_class *class, uint32_t instance, void *object)
{
	struct record *rec = find_record(r, class->name, strlen(class->name), instance);
	int ret;

	r->path[0] = '\0';
	if (!rec) {
		fail(r, "there is no record %s/%u", class->name, instance);
		return -ENOENT;
	}
	path_push_record(r, rec);
	if (rec->version > class->version)
		return fail(r, "it is of version %u, this program reads up to version %u", rec->version,
			    class->version);
	ret = load_fields(r, rec->fields, class->fields, object, 1);
	if (!ret)
		rec->loaded = true;
	return ret;
}

int state_reader_finish(struct state_reader *r)
{
	for (uint32_t i = 0; i < r->records; i++) {
		if (r->record[i].loaded)
			continue;
		path_push_record(r, &r->record[i]);
		return fail(r, "nothing in this VM has such a state");
	}
	return 0;
}

const char *state_reader_why(const struct state_reader *r)
{
	return r ? r->why : create_why;
}

int state_reader_fail(struct state_reader *r, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(r->why, sizeof(r->why), fmt, args);
	va_end(args);
	return -EPROTO;
}
