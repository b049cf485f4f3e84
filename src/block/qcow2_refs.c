// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Refcounts (the specification, "Host cluster management").
 *
 * Invariants:
 *  - Raising a refcount is safe at any time (a leak at worst); lowering it only once what referred to the cluster is gone from
 *    the disk: refs_free_later.
 *  - A cluster is handed out only when its refcount is 0 and nothing known is in it, whatever the refcounts of a damaged image say.
 *  - A search looks at a bounded number of refcounts beyond those of the file's clusters.
 */
#include "block/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How many entries beyond the end of the file a search may look at before the image counts as damaged. */
enum { SEARCH_BEYOND = 1 << 20 };

uint64_t refs_in_block(const struct qcow2 *q, const uint8_t *block, unsigned index)
{
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	switch (q->refcount_order) {
	case 0: return block[index / 8] >> index % 8 & 1;
	case 1: return block[index / 4] >> index % 4 * 2 & 3;
	case 2: return block[index / 2] >> index % 2 * 4 & 15;
	case 3: return block[index];
	case 4: memcpy(&v16, block + index * 2, 2); return be16toh(v16);
	case 5: memcpy(&v32, block + index * 4, 4); return be32toh(v32);
	default: memcpy(&v64, block + index * 8, 8); return be64toh(v64);
	}
}

static void put(struct qcow2 *q, struct table *t, unsigned index, uint64_t count)
{
	unsigned width = 1u << q->refcount_order, at = index * (width / 8);

	if (width < 8) {
		unsigned shift = index * width % 8, mask = ((1u << width) - 1) << shift;

		at = index * width / 8;
		t->data[at] = (uint8_t)((t->data[at] & ~mask) | (unsigned)count << shift);
		table_dirty(t, at, 1);
		return;
	}
	for (unsigned i = 0; i < width / 8; i++)
		t->data[at + i] = (uint8_t)(count >> (width - 8 - 8 * i));
	table_dirty(t, at, width / 8);
}

/* The refcount block of @cluster, or NULL when there is none. */
static int block_of(struct qcow2 *q, uint64_t cluster, struct table **out)
{
	uint64_t index = cluster >> q->block_bits;

	*out = NULL;
	if (index >= q->reftable_entries || !q->reftable[index])
		return 0;
	return table_get(q, q->reftable[index], TABLE_REFS, true, out);
}

static unsigned in_block(const struct qcow2 *q, uint64_t cluster)
{
	return (unsigned)(cluster & ((1ull << q->block_bits) - 1));
}

int refs_get(struct qcow2 *q, uint64_t cluster, uint64_t *count)
{
	struct table *t;
	int ret = block_of(q, cluster, &t);

	*count = !ret && t ? refs_in_block(q, t->data, in_block(q, cluster)) : 0;
	return ret;
}

/*
 * A larger refcount table, behind all that the old one can describe, with the blocks that describe it and themselves. In the
 * file it is complete before the header says so.
 */
static int grow_table(struct qcow2 *q)
{
	uint64_t first = (uint64_t)q->reftable_entries << q->block_bits, per_block = 1ull << q->block_bits;
	uint64_t entries = (uint64_t)q->reftable_entries * 3 / 2, clusters, blocks, *table, old = q->reftable_offset;
	uint32_t old_clusters = q->reftable_clusters, header[3];
	int ret;

	entries = (qcow2_round(q, (entries + 2) * 8)) / 8;
	clusters = entries * 8 >> q->bits;
	for (blocks = 1; blocks * per_block < clusters + blocks; blocks++)
		;
	if (entries < q->reftable_entries + blocks || entries * 8 > QCOW2_MAX_REFTABLE)
		return -EFBIG;
	/* Nothing on the disk may need what only the new table knows. */
	ret = qcow2_commit(q);
	if (ret)
		return ret;
	table = calloc(entries, 8);
	if (!table)
		return -ENOMEM;
	memcpy(table, q->reftable, (size_t)q->reftable_entries * 8);
	for (uint64_t i = 0; i < blocks; i++)
		table[q->reftable_entries + i] = (first + clusters + i) << q->bits;
	/* From here on the new blocks are found through the new table, in memory. */
	free(q->reftable);
	q->reftable = table;
	q->reftable_entries = (uint32_t)entries;
	for (uint64_t i = 0; i < blocks && !ret; i++) {
		struct table *t;

		ret = table_new(q, (first + clusters + i) << q->bits, TABLE_REFS, &t);
		for (uint64_t c = i * per_block; !ret && c < (i + 1) * per_block && c < clusters + blocks; c++)
			put(q, t, in_block(q, c), 1);
	}
	if (ret) {
		q->failed = -EIO;
		return ret;
	}
	q->reftable_offset = first << q->bits;
	q->reftable_clusters = (uint32_t)clusters;
	q->ref_dirty_from = 0;
	q->ref_dirty_to = q->reftable_entries;
	ret = qcow2_commit(q);
	if (!ret) {
		uint64_t offset = htobe64(q->reftable_offset);

		memcpy(header, &offset, 8);
		header[2] = htobe32(q->reftable_clusters);
		ret = qcow2_write_header(q, QCOW2_H_REFTABLE, header, 12);
	}
	if (ret) {
		/* Nobody knows which of the two the file has. */
		q->failed = -EIO;
		return ret;
	}
	for (uint32_t i = 0; i < old_clusters; i++)
		refs_free_later(q, (old >> q->bits) + i);
	return 0;
}

/* There is a block for @cluster, which is free. It may have become the block itself: *taken. */
static int need_block(struct qcow2 *q, uint64_t cluster, bool *taken)
{
	uint64_t index = cluster >> q->block_bits;
	struct table *t;
	int ret;

	*taken = false;
	if (index >= q->reftable_entries) {
		*taken = true; /* look again */
		return grow_table(q);
	}
	if (q->reftable[index])
		return 0;
	if (qcow2_is_metadata(q, cluster << q->bits, q->cluster))
		return -EIO;
	ret = table_new(q, cluster << q->bits, TABLE_REFS, &t);
	if (ret)
		return ret;
	put(q, t, in_block(q, cluster), 1);
	qcow2_set_reftable(q, (uint32_t)index, cluster << q->bits);
	*taken = true;
	return 0;
}

int refs_set(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
	unsigned width = 1u << q->refcount_order;
	struct table *t;
	int ret;

	if (width < 64 && count >> width)
		return -ERANGE;
	ret = block_of(q, cluster, &t);
	if (ret)
		return ret;
	if (!t)
		return count ? -EIO : 0;
	put(q, t, in_block(q, cluster), count);
	if (!count && cluster < q->hint)
		q->hint = cluster;
	return 0;
}

int refs_add(struct qcow2 *q, uint64_t cluster, int64_t by)
{
	uint64_t count;
	int ret = refs_get(q, cluster, &count);

	if (ret)
		return ret;
	if (by < 0 && count < (uint64_t)-by)
		return -EIO;
	return refs_set(q, cluster, count + (uint64_t)by);
}

/* The next free cluster from q->hint on, which has a block then. */
static int find_free(struct qcow2 *q, uint64_t *cluster)
{
	uint64_t c = q->hint, beyond = 0;

	for (;;) {
		uint64_t end = ((c >> q->block_bits) + 1) << q->block_bits;
		struct table *t;
		bool taken;
		int ret = block_of(q, c, &t);

		if (ret)
			return ret;
		while (t && c < end && refs_in_block(q, t->data, in_block(q, c))) {
			c++;
			if (c << q->bits >= q->file_end && ++beyond > SEARCH_BEYOND)
				return -EIO;
		}
		if (t && c == end)
			continue;
		q->hint = c;
		ret = need_block(q, c, &taken);
		if (ret)
			return ret;
		if (!taken) {
			*cluster = c;
			return 0;
		}
	}
}

int refs_alloc(struct qcow2 *q, uint64_t want, uint64_t *offset, uint64_t *got)
{
	uint64_t first, n = 0;
	struct table *t;
	int ret = q->failed ? q->failed : find_free(q, &first);

	if (!ret)
		ret = block_of(q, first, &t);
	if (ret)
		return ret;
	if ((first + want) << q->bits > QCOW2_OFFSET)
		return -EFBIG;
	while (n < want && first + n < ((first >> q->block_bits) + 1) << q->block_bits &&
	       !refs_in_block(q, t->data, in_block(q, first + n)))
		n++;
	if (qcow2_is_metadata(q, first << q->bits, n << q->bits))
		return -EIO;
	for (uint64_t i = 0; i < n; i++)
		put(q, t, in_block(q, first + i), 1);
	q->hint = first + n;
	*offset = first << q->bits;
	*got = n;
	return 0;
}

int refs_alloc_all(struct qcow2 *q, uint64_t want, uint64_t *offset)
{
	uint64_t have = 0, start = 0;

	/* A new refcount block lies in what it describes: so many clusters follow each other behind it, and no more. */
	if (want >= 1ull << q->block_bits)
		return -EFBIG;
	/* Pieces that turn out too short are given back; the search goes on behind them. */
	for (;;) {
		uint64_t at, got;
		int ret = refs_alloc(q, want - have, &at, &got);

		if (ret) {
			refs_undo(q, start, have);
			return ret;
		}
		if (have && at == start + (have << q->bits)) {
			have += got;
		} else {
			uint64_t hint = q->hint;

			refs_undo(q, start, have);
			q->hint = hint;
			start = at;
			have = got;
		}
		if (have == want) {
			*offset = start;
			return 0;
		}
	}
}

void refs_undo(struct qcow2 *q, uint64_t offset, uint64_t clusters)
{
	for (uint64_t i = 0; i < clusters; i++)
		refs_set(q, (offset >> q->bits) + i, 0);
}

int refs_free_later(struct qcow2 *q, uint64_t cluster)
{
	if (q->pending_count == q->pending_room) {
		size_t room = q->pending_room ? q->pending_room * 2 : 64;
		uint64_t *more = realloc(q->pending, room * sizeof(*more));

		/* Without memory it is leaked. */
		if (!more)
			return -ENOMEM;
		q->pending = more;
		q->pending_room = room;
	}
	q->pending[q->pending_count++] = cluster;
	return 0;
}

int refs_free_entry(struct qcow2 *q, uint64_t entry)
{
	uint64_t offset, bytes;

	if (entry & QCOW2_COMPRESSED) {
		qcow2_compressed_at(q, entry, &offset, &bytes);
		for (uint64_t c = offset >> q->bits; c <= (offset + bytes - 1) >> q->bits; c++)
			refs_free_later(q, c);
		q->plain_entry = 0;
		return 0;
	}
	return entry & QCOW2_OFFSET ? refs_free_later(q, (entry & QCOW2_OFFSET) >> q->bits) : 0;
}

int refs_add_entry(struct qcow2 *q, uint64_t entry, int by)
{
	uint64_t offset = entry & QCOW2_OFFSET, bytes = 1;
	int ret = 0;

	if (entry & QCOW2_COMPRESSED)
		qcow2_compressed_at(q, entry, &offset, &bytes);
	else if (!offset)
		return 0;
	for (uint64_t c = offset >> q->bits; !ret && c <= (offset + bytes - 1) >> q->bits; c++)
		ret = refs_add(q, c, by);
	return ret;
}

/* A refcount that cannot be lowered is a leak, no more. */
void refs_apply_pending(struct qcow2 *q)
{
	/* What this loads into the cache may have to be committed, which comes back here: all that is pending is free by now. */
	while (q->pending_count) {
		uint64_t cluster = q->pending[--q->pending_count], left;

		if (refs_add(q, cluster, -1) || refs_get(q, cluster, &left) || left)
			continue;
		table_drop(q, cluster << q->bits);
		if (q->packed_at >> q->bits == cluster)
			q->packed_at = 0;
		file_punch(q->img->fd, cluster << q->bits, q->cluster);
	}
}
