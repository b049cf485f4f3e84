// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Internal snapshots (the specification, "Snapshots"). A snapshot has an L1 table of its own; what it refers to has a reference more.
 *
 * Each change is one write of the header, with all that it needs on stable storage before, and with what it no longer needs
 * freed after. The bits that say "the refcount is one" are taken away before refcounts rise, and set after they have fallen: what a
 * crash leaves behind is leaks, or a bit that is missing, which costs a copy.
 *
 * An image is checked before any of this, so that loops over its tables end.
 */
#include "block/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ENTRY = 40, KNOWN_EXTRA = 16, MAX_EXTRA = 1024 };

static uint32_t get32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, 4);
	return be32toh(v);
}

static uint64_t get64(const uint8_t *at)
{
	return (uint64_t)get32(at) << 32 | get32(at + 4);
}

static void put32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, 4);
}

static void put64(uint8_t *at, uint64_t value)
{
	value = htobe64(value);
	memcpy(at, &value, 8);
}

/* --- the table --- */

static void free_one(struct qcow2_snapshot *s)
{
	free(s->id);
	free(s->name);
	free(s->extra);
}

void qcow2_free_snapshots(struct qcow2 *q)
{
	for (uint32_t i = 0; i < q->snapshot_count; i++)
		free_one(&q->snapshots[i]);
	free(q->snapshots);
	q->snapshots = NULL;
	q->snapshot_count = 0;
}

static int damaged(struct qcow2 *q, struct error *err, const char *why)
{
	return error_set(err, -EINVAL, STATUS_INPUT, "cannot open the disk image %s", "%s", "restore it from a copy", q->img->path, why);
}

/* One entry at @at; *bytes is how long it is. */
static int load_one(struct qcow2 *q, uint64_t at, struct qcow2_snapshot *s, uint32_t *bytes, struct error *err)
{
	uint8_t fixed[ENTRY], *rest;
	uint32_t id, name, extra, known;
	int ret = file_read(q->img->fd, at, fixed, ENTRY);

	if (ret)
		return image_error(err, ret, "read the snapshots of", q->img->path);
	id = get32(fixed + 12) >> 16;
	name = get32(fixed + 12) & 0xffff;
	extra = get32(fixed + 36);
	if (extra > MAX_EXTRA)
		return damaged(q, err, "a snapshot's entry is too long");
	*bytes = (ENTRY + extra + id + name + 7) & ~7u;
	*s = (struct qcow2_snapshot){.l1_offset = get64(fixed), .l1_size = get32(fixed + 8), .seconds = get32(fixed + 16),
				     .nanoseconds = get32(fixed + 20), .vm_clock = get64(fixed + 24), .vm_state = get32(fixed + 32),
				     .bytes = q->img->bytes};
	rest = calloc(1, (size_t)extra + id + name + 1);
	if (!rest)
		return image_error(err, -ENOMEM, "read the snapshots of", q->img->path);
	ret = file_read(q->img->fd, at + ENTRY, rest, (size_t)extra + id + name);
	if (extra >= 8)
		s->vm_state = get64(rest);
	if (extra >= KNOWN_EXTRA)
		s->bytes = get64(rest + 8);
	known = extra < KNOWN_EXTRA ? extra : KNOWN_EXTRA;
	s->extra_bytes = extra - known;
	s->extra = malloc(s->extra_bytes + 1);
	s->id = strndup((char *)rest + extra, id);
	s->name = strndup((char *)rest + extra + id, name);
	if (s->extra)
		memcpy(s->extra, rest + known, s->extra_bytes);
	free(rest);
	if (!ret && (!s->extra || !s->id || !s->name))
		ret = -ENOMEM;
	if (ret)
		free_one(s);
	return ret ? image_error(err, ret, "read the snapshots of", q->img->path) : 0;
}

static bool l1_fits(const struct qcow2 *q, const struct qcow2_snapshot *s)
{
	uint64_t bytes = (uint64_t)s->l1_size * 8;

	return bytes <= QCOW2_MAX_L1 && !(s->l1_offset & (q->cluster - 1)) && s->l1_offset >= q->cluster && s->l1_offset <= q->file_end &&
	       bytes <= q->file_end - s->l1_offset && s->bytes <= 1ull << 61 && s->bytes % BLOCK_SECTOR == 0;
}

int qcow2_load_snapshots(struct qcow2 *q, uint32_t count, struct error *err)
{
	uint64_t at = q->snapshots_offset;

	if (!count)
		return 0;
	if (count > QCOW2_MAX_SNAPSHOTS || at & (q->cluster - 1) || at < q->cluster || at >= q->file_end)
		return damaged(q, err, "its table of snapshots cannot be");
	for (uint32_t i = 0; i < count; i++) {
		struct qcow2_snapshot *more = NULL;
		uint32_t bytes = 0;
		int ret;

		/* The array grows with what was really there. */
		if (!(i & (i - 1))) {
			more = realloc(q->snapshots, (i ? i * 2 : 1) * sizeof(*more));
			if (!more)
				return image_error(err, -ENOMEM, "read the snapshots of", q->img->path);
			q->snapshots = more;
		}
		if (at >= q->file_end || at - q->snapshots_offset > QCOW2_MAX_SNAPSHOT_TABLE)
			return damaged(q, err, "its table of snapshots is not in the file, or too large");
		ret = load_one(q, at, &q->snapshots[i], &bytes, err);
		if (ret)
			return ret;
		q->snapshot_count = i + 1;
		if (!l1_fits(q, &q->snapshots[i]))
			return damaged(q, err, "the tables of a snapshot are not in the file");
		at += bytes;
	}
	q->snapshot_table_bytes = (uint32_t)(at - q->snapshots_offset);
	return 0;
}

static uint32_t entry_bytes(const struct qcow2_snapshot *s)
{
	return (ENTRY + KNOWN_EXTRA + s->extra_bytes + (uint32_t)strlen(s->id) + (uint32_t)strlen(s->name) + 7) & ~7u;
}

static void put_entry(uint8_t *at, const struct qcow2_snapshot *s)
{
	size_t id = strlen(s->id), name = strlen(s->name);

	put64(at, s->l1_offset);
	put32(at + 8, s->l1_size);
	put32(at + 12, (uint32_t)(id << 16 | name));
	put32(at + 16, s->seconds);
	put32(at + 20, s->nanoseconds);
	put64(at + 24, s->vm_clock);
	put32(at + 32, s->vm_state > UINT32_MAX ? 0 : (uint32_t)s->vm_state);
	put32(at + 36, KNOWN_EXTRA + s->extra_bytes);
	put64(at + 40, s->vm_state);
	put64(at + 48, s->bytes);
	at += ENTRY + KNOWN_EXTRA;
	memcpy(at, s->extra, s->extra_bytes);
	memcpy(at + s->extra_bytes, s->id, id);
	memcpy(at + s->extra_bytes + id, s->name, name);
}

/* Writes a table of @count snapshots, and makes it the one that counts. */
static int write_table(struct qcow2 *q, const struct qcow2_snapshot *s, uint32_t count)
{
	uint64_t offset = 0, old = q->snapshots_offset, bytes = 0, at = 0;
	uint32_t old_bytes = q->snapshot_count ? q->snapshot_table_bytes : 0;
	uint8_t *memory, header[12];
	int ret = 0;

	for (uint32_t i = 0; i < count; i++)
		bytes += entry_bytes(&s[i]);
	if (bytes > QCOW2_MAX_SNAPSHOT_TABLE)
		return -EFBIG;
	memory = calloc(1, bytes + 1);
	if (!memory)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; at += entry_bytes(&s[i]), i++)
		put_entry(memory + at, &s[i]);
	if (bytes)
		ret = refs_alloc_all(q, qcow2_round(q, bytes) >> q->bits, &offset);
	if (!ret)
		ret = file_write(q->img->fd, offset, memory, bytes);
	free(memory);
	if (q->file_end < offset + bytes)
		q->file_end = offset + bytes;
	if (!ret)
		ret = qcow2_commit(q);
	put32(header, count);
	put64(header + 4, offset);
	if (!ret)
		ret = qcow2_write_header(q, QCOW2_H_SNAPSHOTS, header, 12);
	if (ret)
		return ret;
	q->snapshots_offset = offset;
	q->snapshot_table_bytes = (uint32_t)bytes;
	for (uint64_t i = 0; i < qcow2_round(q, old_bytes) >> q->bits; i++)
		refs_free_later(q, (old >> q->bits) + i);
	return 0;
}

/* --- references --- */

/* One reference more, or (later) less, of all that @l1 refers to. */
static int count_tables(struct qcow2 *q, const uint64_t *l1, uint32_t size, bool more)
{
	for (uint32_t i = 0; i < size; i++) {
		uint64_t offset = l1[i] & QCOW2_OFFSET;
		int ret = 0;

		if (!offset)
			continue;
		for (unsigned n = 0; n < 1u << q->l2_bits && !ret; n++) {
			struct table *t;
			uint64_t entry;

			ret = table_get(q, offset, TABLE_L2, true, &t);
			if (ret)
				break;
			entry = table_entry(t, n);
			ret = more ? refs_add_entry(q, entry, 1) : refs_free_entry(q, entry);
		}
		if (!ret)
			ret = more ? refs_add(q, offset >> q->bits, 1) : refs_free_later(q, offset >> q->bits);
		if (ret)
			return ret;
	}
	return 0;
}

/* Takes the COPIED bits away, in the file too: each write copies from now on. */
static int clear_copied(struct qcow2 *q)
{
	for (uint32_t i = 0; i < q->l1_size; i++) {
		struct table *t;
		int ret;

		if (!(q->l1[i] & QCOW2_OFFSET))
			continue;
		ret = table_get(q, q->l1[i] & QCOW2_OFFSET, TABLE_L2, true, &t);
		if (ret)
			return ret;
		for (unsigned n = 0; n < 1u << q->l2_bits; n++)
			if (table_entry(t, n) & QCOW2_COPIED)
				table_set_entry(t, n, table_entry(t, n) & ~QCOW2_COPIED);
		if (q->l1[i] & QCOW2_COPIED)
			qcow2_set_l1(q, i, q->l1[i] & ~QCOW2_COPIED);
	}
	return qcow2_commit(q);
}

/* --- the operations --- */

static int fail(struct qcow2 *q, int ret, const char *verb, const char *name, struct error *err)
{
	return error_set(err, ret, STATUS_INPUT, "cannot %s the snapshot '%s' of %s", "%s",
			 "see what 'subring disk check' says about the image", verb, name, q->img->path, strerror(-ret));
}

static int prepare(struct image *img, const char *verb, const char *name, struct error *err)
{
	struct qcow2_check c = {.may_repair = false};
	int ret = qcow2_check(img, &c);

	if (ret)
		return fail(qcow2_of(img), ret, verb, name, err);
	if (c.corruptions)
		return error_set(err, -EINVAL, STATUS_INPUT, "cannot %s the snapshot '%s' of %s", "the image is damaged: %s",
				 "restore it from a copy", verb, name, img->path, c.first);
	return 0;
}

static int find(struct qcow2 *q, const char *verb, const char *name, uint32_t *index, struct error *err)
{
	for (int by_id = 0; by_id < 2; by_id++)
		for (*index = 0; *index < q->snapshot_count; ++*index)
			if (!strcmp(by_id ? q->snapshots[*index].id : q->snapshots[*index].name, name))
				return 0;
	return error_set(err, -ENOENT, STATUS_INPUT, "cannot %s the snapshot '%s' of %s", "there is none of that name",
			 "'subring disk snapshot %s' shows those that there are", verb, name, q->img->path, q->img->path);
}

static int describe(struct qcow2 *q, const char *name, struct qcow2_snapshot *s)
{
	unsigned long highest = 0;
	struct timespec now;

	for (uint32_t i = 0; i < q->snapshot_count; i++) {
		unsigned long id = strtoul(q->snapshots[i].id, NULL, 10);

		highest = id > highest ? id : highest;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	*s = (struct qcow2_snapshot){.l1_size = q->l1_size, .seconds = (uint32_t)now.tv_sec, .nanoseconds = (uint32_t)now.tv_nsec,
				     .bytes = q->img->bytes, .name = strdup(name), .extra = malloc(1)};
	if (asprintf(&s->id, "%lu", highest + 1) < 0)
		s->id = NULL;
	return s->id && s->name && s->extra ? 0 : -ENOMEM;
}

int qcow2_snapshot_create(struct image *img, const char *name, struct error *err)
{
	struct qcow2 *q = qcow2_of(img);
	struct qcow2_snapshot *more;
	uint64_t *l1;
	uint32_t taken;
	int ret = prepare(img, "make", name, err);

	if (ret)
		return ret;
	if (!*name || strlen(name) > 255 || !find(q, "make", name, &taken, NULL))
		return error_set(err, -EEXIST, STATUS_USAGE, "cannot make the snapshot '%s' of %s",
				 "there is one of that name, or the name is empty or longer than 255 bytes", "use another name", name,
				 img->path);
	more = realloc(q->snapshots, (q->snapshot_count + 1) * sizeof(*more));
	l1 = calloc((size_t)q->l1_size + 1, 8);
	if (more) {
		q->snapshots = more;
		more[q->snapshot_count] = (struct qcow2_snapshot){0};
	}
	ret = more && l1 ? describe(q, name, &more[q->snapshot_count]) : -ENOMEM;
	if (!ret)
		ret = clear_copied(q);
	if (!ret)
		ret = count_tables(q, q->l1, q->l1_size, true);
	if (!ret && q->l1_size) {
		memcpy(l1, q->l1, (size_t)q->l1_size * 8);
		ret = refs_alloc_all(q, qcow2_round(q, (uint64_t)q->l1_size * 8) >> q->bits, &more[q->snapshot_count].l1_offset);
		if (!ret)
			ret = qcow2_write_entries(q, more[q->snapshot_count].l1_offset, l1, q->l1_size);
	} else if (!ret) {
		ret = refs_alloc_all(q, 1, &more[q->snapshot_count].l1_offset);
	}
	if (!ret)
		ret = write_table(q, more, q->snapshot_count + 1);
	free(l1);
	if (ret) {
		if (more)
			free_one(&more[q->snapshot_count]);
		return fail(q, ret, "make", name, err);
	}
	q->snapshot_count++;
	ret = qcow2_commit_all(q);
	return ret ? fail(q, ret, "make", name, err) : 0;
}

/* Frees what @l1, which nothing names any more, refers to, and itself; then the bits are true again. */
static int release(struct qcow2 *q, const uint64_t *l1, uint32_t size, uint64_t offset)
{
	uint64_t clusters = size ? qcow2_round(q, (uint64_t)size * 8) >> q->bits : 1;
	int ret = count_tables(q, l1, size, false);

	for (uint64_t i = 0; i < clusters && !ret; i++)
		ret = refs_free_later(q, (offset >> q->bits) + i);
	if (!ret)
		ret = qcow2_commit_all(q);
	if (!ret)
		ret = qcow2_update_copied(q);
	return ret ? ret : qcow2_commit_all(q);
}

int qcow2_snapshot_delete(struct image *img, const char *name, struct error *err)
{
	struct qcow2 *q = qcow2_of(img);
	struct qcow2_snapshot gone, *rest;
	uint32_t index;
	uint64_t *l1;
	int ret = prepare(img, "delete", name, err);

	if (ret)
		return ret;
	ret = find(q, "delete", name, &index, err);
	if (ret)
		return ret;
	gone = q->snapshots[index];
	l1 = qcow2_read_entries(q, gone.l1_offset, gone.l1_size, &ret);
	rest = calloc(q->snapshot_count, sizeof(*rest));
	if (!l1 || !rest) {
		free(l1);
		free(rest);
		return fail(q, ret ? ret : -ENOMEM, "delete", name, err);
	}
	memcpy(rest, q->snapshots, index * sizeof(*rest));
	memcpy(rest + index, q->snapshots + index + 1, (q->snapshot_count - index - 1) * sizeof(*rest));
	ret = write_table(q, rest, q->snapshot_count - 1);
	if (!ret) {
		memcpy(q->snapshots, rest, (q->snapshot_count - 1) * sizeof(*rest));
		q->snapshot_count--;
		ret = release(q, l1, gone.l1_size, gone.l1_offset);
		free_one(&gone);
	}
	free(rest);
	free(l1);
	return ret ? fail(q, ret, "delete", name, err) : 0;
}

/* The header names @l1 at @offset as the active table, of a disk of @bytes. */
static int switch_l1(struct qcow2 *q, uint32_t size, uint64_t offset, uint64_t bytes)
{
	uint8_t header[24] = {0};

	put64(header, bytes);
	put32(header + 12, size);
	put64(header + 16, offset);
	return qcow2_write_header(q, QCOW2_H_SIZE, header, sizeof(header));
}

int qcow2_snapshot_apply(struct image *img, const char *name, struct error *err)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t *l1 = NULL, *old, offset, old_offset;
	uint32_t index, size, old_size, covers;
	int ret = prepare(img, "go back to", name, err);

	if (ret)
		return ret;
	ret = find(q, "go back to", name, &index, err);
	if (ret)
		return ret;
	size = q->snapshots[index].l1_size;
	covers = (uint32_t)((q->snapshots[index].bytes + (1ull << (q->bits + q->l2_bits)) - 1) >> (q->bits + q->l2_bits));
	ret = qcow2_commit(q);
	if (!ret && covers > size)
		ret = -EINVAL;
	if (!ret)
		l1 = qcow2_read_entries(q, q->snapshots[index].l1_offset, size, &ret);
	for (uint32_t i = 0; i < size && !ret; i++)
		l1[i] &= ~QCOW2_COPIED;
	if (!ret)
		ret = count_tables(q, l1, size, true);
	if (!ret)
		ret = refs_alloc_all(q, size ? qcow2_round(q, (uint64_t)size * 8) >> q->bits : 1, &offset);
	if (!ret)
		ret = qcow2_write_entries(q, offset, l1, size);
	if (!ret)
		ret = qcow2_commit(q);
	if (!ret)
		ret = switch_l1(q, size, offset, q->snapshots[index].bytes);
	if (ret) {
		free(l1);
		return fail(q, ret, "go back to", name, err);
	}
	old = q->l1;
	old_size = q->l1_size;
	old_offset = q->l1_offset;
	q->l1 = l1;
	q->l1_size = size;
	q->l1_offset = offset;
	img->bytes = q->snapshots[index].bytes;
	ret = release(q, old, old_size, old_offset);
	free(old);
	return ret ? fail(q, ret, "go back to", name, err) : 0;
}
