// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Saved state: a sequence of records, one for each chip, bus, device, vCPU and clock.
 *
 * A thing that has state describes it once, in a table of struct state_field; the table drives
 * both saving and loading, so that the two cannot drift apart. docs/state-format.md gives the
 * bytes. In short: a stream is a header and records; a record is a name, an instance number, a
 * version and fields; a field is a name, flags, an element size, a count and the elements,
 * little endian. Nothing depends on the layout of a C struct.
 *
 * Loading: a mandatory field in the stream that the reader's table does not know is an error;
 * an optional one is skipped. A field that the table calls mandatory and the stream lacks is an
 * error; an optional one keeps its value. An unsigned element may be wider or narrower in the
 * stream than in the structure as long as its value fits; counts and byte sizes must be the same.
 * A stream is hostile input: every length is checked.
 */
#ifndef SUBRING_STATE_STATE_H
#define SUBRING_STATE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum state_kind {
	STATE_KIND_END = 0,
	STATE_KIND_UINT,   /* count elements of 1, 2, 4 or 8 bytes (bool counts as 1) */
	STATE_KIND_BYTES,  /* size bytes, as they are */
	STATE_KIND_STRUCT, /* count structures of size bytes in memory, each described by sub */
};

enum {
	STATE_OPTIONAL = 1,
	STATE_BOOL = 2, /* set by the macros: a bool, which only 0 and 1 may be loaded into */
};

/* Bounds of every stream, so that a hostile one costs little. */
enum {
	STATE_NAME_MAX = 63,	  /* bytes of a name, printable ASCII without blanks */
	STATE_RECORDS_MAX = 1024, /* in a stream */
	STATE_FIELDS_MAX = 256,	  /* in a record, and in one structure of a field */
	STATE_DEPTH_MAX = 8,	  /* a record's own fields are depth 1 */
};

struct state_field {
	const char *name;
	uint32_t offset; /* of the first element in the C structure */
	uint32_t size;   /* of one element in the C structure */
	uint32_t count;
	uint8_t kind;
	uint8_t flags;
	const struct state_field *sub;
};

#define STATE_MEMBER_(type, member) ((type *)0)->member
#define STATE_BOOL_(member) _Generic((member), bool: STATE_BOOL, default: 0)
/* An unsigned or bool member. */
#define STATE_UINT(type, member)                                                                   \
	{ #member, offsetof(type, member), sizeof(STATE_MEMBER_(type, member)), 1, STATE_KIND_UINT,        \
	  STATE_BOOL_(STATE_MEMBER_(type, member)), NULL }
#define STATE_UINT_OPTIONAL(type, member)                                                          \
	{ #member, offsetof(type, member), sizeof(STATE_MEMBER_(type, member)), 1, STATE_KIND_UINT,        \
	  STATE_OPTIONAL | STATE_BOOL_(STATE_MEMBER_(type, member)), NULL }
/* An array of unsigned members. */
#define STATE_UINTS(type, member)                                                                  \
	{ #member, offsetof(type, member), sizeof(STATE_MEMBER_(type, member)[0]),                 \
	  sizeof(STATE_MEMBER_(type, member)) / sizeof(STATE_MEMBER_(type, member)[0]), STATE_KIND_UINT,   \
	  STATE_BOOL_(STATE_MEMBER_(type, member)[0]), NULL }
/* A byte array, copied as it is. */
#define STATE_BYTES(type, member)                                                                  \
	{ #member, offsetof(type, member), sizeof(STATE_MEMBER_(type, member)), 1, STATE_KIND_BYTES, 0, NULL }
/* An array of structures (or, with STATE_STRUCT, one), each described by the table @fields. */
#define STATE_STRUCTS(type, member, fields)                                                        \
	{ #member, offsetof(type, member), sizeof(STATE_MEMBER_(type, member)[0]),                 \
	  sizeof(STATE_MEMBER_(type, member)) / sizeof(STATE_MEMBER_(type, member)[0]), STATE_KIND_STRUCT, 0, fields }
#define STATE_STRUCT(type, member, fields)                                                         \
	{ #member, offsetof(type, member), sizeof(STATE_MEMBER_(type, member)), 1, STATE_KIND_STRUCT, 0, fields }
#define STATE_END { NULL, 0, 0, 0, STATE_KIND_END, 0, NULL }

/* What kind of record: name ("i8254"), version of its meaning, and its fields. */
struct state_class {
	const char *name;
	uint32_t version; /* a record of a newer version fails to load, an older one is offered */
	const struct state_field *fields;
};

/* --- saving: a writer that grows in memory; errors (-ENOMEM) are kept and told at the end --- */

struct state_writer;

int state_writer_create(struct state_writer **out);
void state_writer_destroy(struct state_writer *w);
void state_save(struct state_writer *w, const struct state_class *class, uint32_t instance, const void *object);
/* The finished stream; owned by @w, valid until it is destroyed. 0 or the first error. */
int state_writer_finish(struct state_writer *w, const void **bytes, size_t *len);

/* --- loading --- */

struct state_reader;

/* Checks the whole stream's framing. @bytes must outlive the reader. -EPROTO for a damaged one. */
int state_reader_create(const void *bytes, size_t len, struct state_reader **out);
void state_reader_destroy(struct state_reader *r);
/*
 * Loads the record @class->name / @instance into @object. 0; -ENOENT when the stream has none;
 * -EPROTO for an unknown mandatory field, a missing mandatory one, a size or version that does
 * not fit (state_reader_why says which). On an error @object may be half loaded: throw it away.
 */
int state_load(struct state_reader *r, const struct state_class *class, uint32_t instance, void *object);
/* -EPROTO when the stream holds a record that nobody loaded. */
int state_reader_finish(struct state_reader *r);
/*
 * In words, what the last call that failed found; "" when none has. NULL asks about the last
 * state_reader_create of this thread that failed. Valid until the next call on @r.
 */
const char *state_reader_why(const struct state_reader *r);
/* For loaders that check more than a table can: sets what state_reader_why says, returns -EPROTO. */
int state_reader_fail(struct state_reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
