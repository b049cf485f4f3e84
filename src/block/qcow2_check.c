// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Checking an image: all references are counted and held against the refcounts.
 *
 * Too high a refcount is a leak: space lost. Too low, or two references to what only one may refer to, or a reference to what is not there, is a
 * corruption. A COPIED bit that is missing costs a copy; one too many, with other references to the cluster, is a corruption.
 *
 * Invariant: the work is bounded by the size of the file: a table that is found a second time in one place is not walked again.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct count {
	struct qcow2 *q;
	struct qcow2_check *c;
	uint32_t *refs; /* of each cluster of the file */
	uint8_t *seen;	/* a bit for each: an L2 table of the L1 table that is walked */
	uint64_t clusters;
};

enum { MAX_CLUSTERS = 1 << 29 }; /* 2 GiB of counters */

static void corrupt(struct qcow2_check *c, const char *what, uint64_t offset)
{
	if (!c->corruptions++)
		snprintf(c->first, sizeof(c->first), "%s at offset %#llx", what, (unsigned long long)offset);
}

/* One reference to each cluster that [offset, offset + bytes) touches. False: not in the file. */
static bool refer(struct count *n, uint64_t offset, uint64_t bytes, const char *what)
{
	if (!bytes)
		return true;
	if (offset >> n->q->bits >= n->clusters || (offset + bytes - 1) >> n->q->bits >= n->clusters) {
		corrupt(n->c, what, offset);
		return false;
	}
	for (uint64_t i = offset >> n->q->bits; i <= (offset + bytes - 1) >> n->q->bits; i++)
		if (n->refs[i] < UINT32_MAX)
			n->refs[i]++;
	return true;
}

static void count_entry(struct count *n, uint64_t entry)
{
	struct qcow2 *q = n->q;
	uint64_t offset = entry & QCOW2_OFFSET, bytes = q->cluster;

	if (entry & QCOW2_COMPRESSED) {
		qcow2_compressed_at(q, entry, &offset, &bytes);
		/* Whole sectors are told; the file may end within the last. */
		if (offset < q->file_end && bytes > q->file_end - offset)
			bytes = q->file_end - offset;
		if (offset < q->cluster || !refer(n, offset, bytes, "compressed data outside of the file"))
			return;
		return;
	}
	if (entry & QCOW2_L2_RESERVED || (!offset && entry & QCOW2_COPIED)) {
		corrupt(n->c, "an L2 entry that cannot be, for what is", offset);
		return;
	}
	if (!offset)
		return;
	if (!qcow2_good_cluster(q, offset))
		corrupt(n->c, "an L2 entry for a cluster that cannot be", offset);
	else
		refer(n, offset, bytes, "a cluster outside of the file");
}

static int count_l1(struct count *n, const uint64_t *l1, uint32_t size)
{
	struct qcow2 *q = n->q;

	memset(n->seen, 0, n->clusters / 8 + 1);
	for (uint32_t i = 0; i < size; i++) {
		uint64_t offset = l1[i] & QCOW2_OFFSET, index = offset >> q->bits;
		struct table *t;
		int ret;

		if (l1[i] & QCOW2_L1_RESERVED || (!offset && l1[i] & QCOW2_COPIED)) {
			corrupt(n->c, "an L1 entry that cannot be, for a table", offset);
			continue;
		}
		if (!offset)
			continue;
		if (!qcow2_good_cluster(q, offset)) {
			corrupt(n->c, "an L2 table that cannot be", offset);
			continue;
		}
		if (n->seen[index / 8] >> index % 8 & 1) {
			corrupt(n->c, "an L2 table that is used twice", offset);
			continue;
		}
		n->seen[index / 8] |= (uint8_t)(1 << index % 8);
		if (!refer(n, offset, q->cluster, "an L2 table outside of the file"))
			continue;
		ret = table_get(q, offset, TABLE_L2, true, &t);
		if (ret == -EIO) {
			corrupt(n->c, "an L2 table that cannot be read, or is something else too,", offset);
			continue;
		}
		if (ret)
			return ret;
		for (unsigned e = 0; e < 1u << q->l2_bits; e++)
			count_entry(n, table_entry(t, e));
	}
	return 0;
}

static int count_snapshots(struct count *n)
{
	struct qcow2 *q = n->q;

	for (uint32_t i = 0; i < q->snapshot_count; i++) {
		struct qcow2_snapshot *s = &q->snapshots[i];
		uint64_t index = s->l1_offset >> q->bits, *l1;
		int ret;

		if (index < n->clusters && n->refs[index]) {
			corrupt(n->c, "an L1 table of a snapshot that is something else too", s->l1_offset);
			continue;
		}
		if (!refer(n, s->l1_offset, s->l1_size ? (uint64_t)s->l1_size * 8 : 1, "an L1 table outside of the file"))
			continue;
		l1 = qcow2_read_entries(q, s->l1_offset, s->l1_size, &ret);
		if (!ret)
			ret = count_l1(n, l1, s->l1_size);
		free(l1);
		if (ret)
			return ret;
	}
	return 0;
}

/* What is told of one cluster; it is set right if asked for. */
static int compare(struct count *n, uint64_t cluster, uint64_t refcount)
{
	uint64_t refs = cluster < n->clusters ? n->refs[cluster] : 0;
	int ret;

	if (refs)
		n->c->used++;
	if (refcount == refs)
		return 0;
	if (refcount > refs)
		n->c->leaks++;
	else
		corrupt(n->c, "a refcount that is too low, of the cluster", cluster << n->q->bits);
	if (!n->c->may_repair)
		return 0;
	ret = refs_set(n->q, cluster, refs);
	if (!ret)
		n->c->fixed++;
	return ret;
}

static int compare_all(struct count *n)
{
	struct qcow2 *q = n->q;
	uint64_t per_block = 1ull << q->block_bits;

	for (uint64_t b = 0; b < q->reftable_entries; b++) {
		uint64_t offset = q->reftable[b];

		for (uint64_t i = 0; i < per_block; i++) {
			uint64_t cluster = b * per_block + i;
			struct table *t = NULL;
			int ret;

			/* Without a block, all refcounts are 0; behind the file there is nothing to compare them to. */
			if (!offset && cluster >= n->clusters)
				break;
			/* A block that is bad, or used twice, was told of. */
			if (offset && (offset >> q->bits >= n->clusters || n->refs[offset >> q->bits] != 1))
				break;
			if (offset) {
				ret = table_get(q, offset, TABLE_REFS, true, &t);
				if (ret == -EIO) {
					corrupt(n->c, "a refcount block that cannot be", offset);
					break;
				}
				if (ret)
					return ret;
			}
			ret = compare(n, cluster, t ? refs_in_block(q, t->data, (unsigned)i) : 0);
			if (ret)
				return ret;
		}
	}
	return 0;
}

/* The COPIED bits of the active tables. */
static int check_copied(struct count *n)
{
	struct qcow2 *q = n->q;

	for (uint32_t i = 0; i < q->l1_size; i++) {
		uint64_t offset = q->l1[i] & QCOW2_OFFSET;
		struct table *t;

		if (!offset || !qcow2_good_cluster(q, offset) || table_get(q, offset, TABLE_L2, true, &t))
			continue;
		if (q->l1[i] & QCOW2_COPIED && n->refs[offset >> q->bits] > 1)
			corrupt(n->c, "a shared L2 table that is taken for unshared", offset);
		else if (!(q->l1[i] & QCOW2_COPIED) && n->refs[offset >> q->bits] == 1)
			n->c->flags++;
		for (unsigned e = 0; e < 1u << q->l2_bits; e++) {
			uint64_t entry = table_entry(t, e), host = entry & QCOW2_OFFSET;

			if (entry & QCOW2_COMPRESSED || !host || !qcow2_good_cluster(q, host))
				continue;
			if (entry & QCOW2_COPIED && n->refs[host >> q->bits] > 1)
				corrupt(n->c, "a shared cluster that is taken for unshared", host);
			else if (!(entry & QCOW2_COPIED) && n->refs[host >> q->bits] == 1)
				n->c->flags++;
		}
	}
	return 0;
}

static int count_all(struct count *n)
{
	struct qcow2 *q = n->q;
	int ret;

	refer(n, 0, q->cluster, "the header");
	refer(n, q->reftable_offset, (uint64_t)q->reftable_clusters << q->bits, "the refcount table outside of the file");
	refer(n, q->l1_offset, (uint64_t)q->l1_size * 8, "the L1 table outside of the file");
	refer(n, q->snapshots_offset, q->snapshot_count ? q->snapshot_table_bytes : 0, "the table of snapshots outside of the file");
	for (uint32_t i = 0; i < q->reftable_entries; i++)
		if (q->reftable[i])
			refer(n, q->reftable[i], q->cluster, "a refcount block outside of the file");
	ret = count_snapshots(n);
	return ret ? ret : count_l1(n, q->l1, q->l1_size);
}

int qcow2_check(struct image *img, struct qcow2_check *c)
{
	struct qcow2 *q = qcow2_of(img);
	struct count n = {.q = q, .c = c};
	int ret = img->readonly ? 0 : qcow2_commit_all(q);

	if (ret)
		return ret;
	n.clusters = qcow2_round(q, q->file_end) >> q->bits;
	c->clusters = n.clusters;
	if (n.clusters > MAX_CLUSTERS)
		return -EFBIG;
	/* The clusters of bitmaps are not counted, so they would count as leaks. */
	if (q->bitmaps)
		return -ENOTSUP;
	n.refs = calloc(n.clusters, sizeof(*n.refs));
	n.seen = calloc(1, n.clusters / 8 + 1);
	ret = n.refs && n.seen ? count_all(&n) : -ENOMEM;
	/* With what cannot be repaired in the tables, refcounts that are too high may be all that keeps data. */
	if (c->corruptions && !(q->incompatible & QCOW2_DIRTY))
		c->may_repair = false;
	if (!ret)
		ret = compare_all(&n);
	if (!ret)
		ret = check_copied(&n);
	if (!ret && c->may_repair && (c->fixed || c->flags)) {
		ret = qcow2_commit_all(q);
		if (!ret)
			ret = qcow2_update_copied(q);
		if (!ret)
			ret = qcow2_commit_all(q);
		c->fixed += c->flags;
	}
	if (!ret && c->may_repair && q->incompatible & QCOW2_DIRTY) {
		uint8_t byte = (uint8_t)(q->incompatible & ~(uint32_t)QCOW2_DIRTY);

		ret = qcow2_write_header(q, QCOW2_H_INCOMPATIBLE + 7, &byte, 1);
		q->incompatible &= ~(uint32_t)QCOW2_DIRTY;
	}
	free(n.refs);
	free(n.seen);
	return ret;
}

/* --- the bits --- */

static uint64_t with_bit(struct qcow2 *q, uint64_t entry, int *ret)
{
	uint64_t count;

	*ret = refs_get(q, (entry & QCOW2_OFFSET) >> q->bits, &count);
	return count == 1 ? entry | QCOW2_COPIED : entry & ~QCOW2_COPIED;
}

int qcow2_update_copied(struct qcow2 *q)
{
	for (uint32_t i = 0; i < q->l1_size; i++) {
		uint64_t l1 = q->l1[i], now;
		int ret;

		if (!(l1 & QCOW2_OFFSET))
			continue;
		now = with_bit(q, l1, &ret);
		if (!ret && now != l1)
			qcow2_set_l1(q, i, now);
		for (unsigned e = 0; e < 1u << q->l2_bits && !ret; e++) {
			struct table *t;
			uint64_t entry;

			ret = table_get(q, l1 & QCOW2_OFFSET, TABLE_L2, true, &t);
			if (ret)
				break;
			entry = table_entry(t, e);
			if (entry & QCOW2_COMPRESSED || !(entry & QCOW2_OFFSET))
				continue;
			now = with_bit(q, entry, &ret);
			/* Refcounts were looked up meanwhile: see table_get. */
			if (!ret)
				ret = table_get(q, l1 & QCOW2_OFFSET, TABLE_L2, true, &t);
			if (!ret && now != entry)
				table_set_entry(t, e, now);
		}
		if (ret)
			return ret;
	}
	return 0;
}
