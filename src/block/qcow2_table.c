// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The cache of L2 tables and refcount blocks, and how changes get to the file: qcow2.h has the order.
 *
 * Invariants:
 *  - A table is in the hash and in the list of use exactly once; a cluster is never cached as both kinds.
 *  - A dirty table is never thrown away; when only such are left, all are written first.
 *  - Only whole sectors are written, so that a power cut never leaves half of an entry.
 */
#include "block/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static unsigned hash(const struct qcow2 *q, uint64_t offset)
{
	return (unsigned)((offset >> q->bits) * 0x9e3779b97f4a7c15ull >> 54) % QCOW2_HASH;
}

static struct table *find(const struct qcow2 *q, uint64_t offset)
{
	struct table *t = q->hash[hash(q, offset)];

	while (t && t->offset != offset)
		t = t->hash_next;
	return t;
}

static void list_remove(struct qcow2 *q, struct table *t)
{
	*(t->newer ? &t->newer->older : &q->newest) = t->older;
	*(t->older ? &t->older->newer : &q->oldest) = t->newer;
}

static void list_add(struct qcow2 *q, struct table *t)
{
	t->newer = NULL;
	t->older = q->newest;
	*(q->newest ? &q->newest->newer : &q->oldest) = t;
	q->newest = t;
}

static void forget(struct qcow2 *q, struct table *t)
{
	struct table **p = &q->hash[hash(q, t->offset)];

	while (*p != t)
		p = &(*p)->hash_next;
	*p = t->hash_next;
	list_remove(q, t);
	q->tables--;
	free(t->data);
	free(t);
}

static bool is_dirty(const struct table *t)
{
	return t->dirty_from < t->dirty_to;
}

/* Makes room for one more. */
static int evict(struct qcow2 *q)
{
	for (int round = 0; q->tables >= q->max_tables; round++) {
		struct table *t = q->oldest;
		int ret;

		/* The newest eight are in use: see table_get. */
		for (unsigned n = q->tables; t && is_dirty(t); t = t->newer)
			if (--n <= 8) {
				t = NULL;
				break;
			}
		if (t) {
			forget(q, t);
			continue;
		}
		ret = round ? -EIO : qcow2_commit(q);
		if (ret)
			return ret;
	}
	return 0;
}

static int make(struct qcow2 *q, uint64_t offset, enum table_kind kind, struct table **out)
{
	struct table *t;
	int ret = evict(q);

	if (ret)
		return ret;
	t = calloc(1, sizeof(*t));
	if (t)
		t->data = calloc(1, q->cluster);
	if (!t || !t->data) {
		free(t);
		return -ENOMEM;
	}
	t->offset = offset;
	t->kind = kind;
	*out = t;
	return 0;
}

static void enter(struct qcow2 *q, struct table *t)
{
	struct table **head = &q->hash[hash(q, t->offset)];

	t->hash_next = *head;
	*head = t;
	list_add(q, t);
	q->tables++;
}

int table_get(struct qcow2 *q, uint64_t offset, enum table_kind kind, bool may_block, struct table **out)
{
	struct table *t = find(q, offset);
	int ret;

	if (t) {
		if (t->kind != kind)
			return -EIO;
		if (t != q->newest) {
			list_remove(q, t);
			list_add(q, t);
		}
		*out = t;
		return 0;
	}
	if (!may_block)
		return -EAGAIN;
	if (!qcow2_good_cluster(q, offset) || qcow2_is_metadata(q, offset, q->cluster))
		return -EIO;
	ret = make(q, offset, kind, &t);
	if (ret)
		return ret;
	ret = file_read(q->img->fd, offset, t->data, q->cluster);
	if (ret) {
		free(t->data);
		free(t);
		return ret;
	}
	enter(q, t);
	*out = t;
	return 0;
}

int table_new(struct qcow2 *q, uint64_t offset, enum table_kind kind, struct table **out)
{
	struct table *t = find(q, offset);
	int ret;

	if (t)
		return -EIO;
	ret = make(q, offset, kind, &t);
	if (ret)
		return ret;
	enter(q, t);
	table_dirty(t, 0, (unsigned)q->cluster);
	if (q->file_end < offset + q->cluster)
		q->file_end = offset + q->cluster;
	*out = t;
	return 0;
}

void table_dirty(struct table *t, unsigned offset, unsigned bytes)
{
	unsigned from = offset / BLOCK_SECTOR * BLOCK_SECTOR;
	unsigned to = (offset + bytes + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR;

	if (!is_dirty(t)) {
		t->dirty_from = from;
		t->dirty_to = to;
		return;
	}
	t->dirty_from = from < t->dirty_from ? from : t->dirty_from;
	t->dirty_to = to > t->dirty_to ? to : t->dirty_to;
}

void table_drop(struct qcow2 *q, uint64_t offset)
{
	struct table *t = find(q, offset);

	if (t)
		forget(q, t);
}

bool table_is_cached(const struct qcow2 *q, uint64_t offset)
{
	return find(q, offset);
}

void tables_free(struct qcow2 *q)
{
	while (q->newest)
		forget(q, q->newest);
}

uint64_t table_entry(const struct table *t, unsigned index)
{
	uint64_t value;

	memcpy(&value, t->data + index * 8, 8);
	return be64toh(value);
}

void table_set_entry(struct table *t, unsigned index, uint64_t value)
{
	value = htobe64(value);
	memcpy(t->data + index * 8, &value, 8);
	table_dirty(t, index * 8, 8);
}

static void widen(uint32_t *from, uint32_t *to, uint32_t index)
{
	bool none = *from == *to;

	*from = none || index < *from ? index : *from;
	*to = none || index + 1 > *to ? index + 1 : *to;
}

void qcow2_set_l1(struct qcow2 *q, uint32_t index, uint64_t value)
{
	q->l1[index] = value;
	widen(&q->l1_dirty_from, &q->l1_dirty_to, index);
}

void qcow2_set_reftable(struct qcow2 *q, uint32_t index, uint64_t value)
{
	q->reftable[index] = value;
	widen(&q->ref_dirty_from, &q->ref_dirty_to, index);
}

/* --- writing --- */

int qcow2_sync(struct qcow2 *q)
{
	int ret = q->failed ? q->failed : file_sync(q->img->fd);

	/*
	 * After a sync that failed the host may have dropped what it could not write, and forgotten about it. What the file
	 * has is not known, so nothing must be built on it.
	 */
	if (ret)
		q->failed = -EIO;
	return ret;
}

static int write_tables(struct qcow2 *q, enum table_kind kind)
{
	for (struct table *t = q->oldest; t; t = t->newer) {
		int ret;

		if (t->kind != kind || !is_dirty(t))
			continue;
		ret = file_write(q->img->fd, t->offset + t->dirty_from, t->data + t->dirty_from, t->dirty_to - t->dirty_from);
		if (ret)
			return ret;
		t->dirty_from = t->dirty_to = 0;
	}
	return 0;
}

int qcow2_write_entries(struct qcow2 *q, uint64_t offset, const uint64_t *entries, uint32_t count)
{
	uint64_t sector[1024];

	while (count) {
		uint32_t n = count < 1024 ? count : 1024;
		int ret;

		for (uint32_t i = 0; i < n; i++)
			sector[i] = htobe64(entries[i]);
		ret = file_write(q->img->fd, offset, sector, n * 8);
		if (ret)
			return ret;
		if (q->file_end < offset + n * 8)
			q->file_end = offset + n * 8;
		entries += n;
		offset += n * 8;
		count -= n;
	}
	return 0;
}

/* The sectors of @table in which entries from @from to @to are. */
static int write_part(struct qcow2 *q, uint64_t offset, const uint64_t *table, uint32_t size, uint32_t *from, uint32_t *to)
{
	uint32_t a = *from / 64 * 64, b = (*to + 63) / 64 * 64;
	int ret = qcow2_write_entries(q, offset + (uint64_t)a * 8, table + a, (b < size ? b : size) - a);

	if (!ret)
		*from = *to = 0;
	return ret;
}

static bool any_dirty(const struct qcow2 *q, enum table_kind kind)
{
	for (const struct table *t = q->oldest; t; t = t->newer)
		if (t->kind == kind && is_dirty(t))
			return true;
	return false;
}

bool qcow2_dirty(struct qcow2 *q)
{
	return q->failed || q->pending_count || q->l1_dirty_from < q->l1_dirty_to || q->ref_dirty_from < q->ref_dirty_to ||
	       any_dirty(q, TABLE_L2) || any_dirty(q, TABLE_REFS);
}

int qcow2_commit(struct qcow2 *q)
{
	bool l1 = q->l1_dirty_from < q->l1_dirty_to, reftable = q->ref_dirty_from < q->ref_dirty_to;
	bool l2 = any_dirty(q, TABLE_L2);
	int ret = q->failed;

	if (!ret)
		ret = write_tables(q, TABLE_REFS);
	if (!ret && reftable) {
		ret = qcow2_sync(q);
		if (!ret)
			ret = write_part(q, q->reftable_offset, q->reftable, q->reftable_entries, &q->ref_dirty_from, &q->ref_dirty_to);
	}
	/* Quick requests write data without telling: with metadata to follow there is always a sync. */
	if (!ret && (l2 || l1))
		ret = qcow2_sync(q);
	if (!ret)
		ret = write_tables(q, TABLE_L2);
	if (!ret && l1) {
		if (l2)
			ret = qcow2_sync(q);
		if (!ret)
			ret = write_part(q, q->l1_offset, q->l1, q->l1_size, &q->l1_dirty_from, &q->l1_dirty_to);
	}
	if (!ret)
		ret = qcow2_sync(q);
	if (!ret)
		refs_apply_pending(q);
	return ret;
}

int qcow2_commit_all(struct qcow2 *q)
{
	int ret = qcow2_commit(q);

	return !ret && qcow2_dirty(q) ? qcow2_commit(q) : ret;
}

int qcow2_write_header(struct qcow2 *q, unsigned offset, const void *from, unsigned bytes)
{
	int ret = qcow2_sync(q);

	if (!ret)
		ret = file_write(q->img->fd, offset, from, bytes);
	return ret ? ret : qcow2_sync(q);
}
