// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Private to block/: qcow2 images, after the specification docs/interop/qcow2 of the QEMU project ("the specification").
 *
 *   qcow2.c           opening and what is checked then; which byte of the disk is where
 *   qcow2_table.c     the cache of L2 tables and refcount blocks; writing them, in an order that leaves only leaks
 *   qcow2_refs.c      refcounts: finding free clusters, giving them back
 *   qcow2_write.c     writes, zeroes, discards
 *   qcow2_compress.c  compressed clusters
 *   qcow2_create.c    new images; resizing
 *   qcow2_snapshot.c  internal snapshots
 *   qcow2_check.c     counting references; repair
 *
 * How metadata get to the file. Changes are made in memory: in cached tables, l1[] and reftable[], and are written by qcow2_commit, at a
 * flush or when the cache is full of changes, in these steps, each on stable storage before the next begins:
 *
 *	1. guest data (written before), refcount blocks
 *	2. the refcount table
 *	3. L2 tables
 *	4. L1 entries
 *	5. only now clusters that nothing refers to any more lose their reference (in memory: it is written with the next commit), so
 *	   that they are not used again while something on the disk may still refer to them
 *
 * So what is on the disk at any time refers only to clusters whose refcount is high enough; a refcount may be too high: a leak.
 */
#ifndef SUBRING_BLOCK_QCOW2_H
#define SUBRING_BLOCK_QCOW2_H

#include "block/image.h"

enum {
	QCOW2_MIN_BITS = 9,
	QCOW2_MAX_BITS = 21,
	QCOW2_MAX_L1 = 32 << 20,       /* bytes of an L1 table */
	QCOW2_MAX_REFTABLE = 8 << 20,  /* bytes */
	QCOW2_MAX_SNAPSHOTS = 65536,
	QCOW2_MAX_SNAPSHOT_TABLE = 16 << 20,
	QCOW2_CACHE = 32 << 20, /* bytes of cached tables, but at least QCOW2_MIN_TABLES of them */
	QCOW2_MIN_TABLES = 16,
	QCOW2_HASH = 1024,
};

#define QCOW2_MAGIC 0x514649fbu
#define QCOW2_OFFSET 0x00fffffffffffe00ull /* bits 9 to 55 of L1 and L2 entries */
#define QCOW2_COPIED (1ull << 63)
#define QCOW2_COMPRESSED (1ull << 62)
#define QCOW2_ZERO 1ull
#define QCOW2_L1_RESERVED 0x7f000000000001ffull
#define QCOW2_L2_RESERVED 0x3f000000000001feull

enum { QCOW2_DIRTY = 1, QCOW2_CORRUPT = 2, QCOW2_COMPRESSION = 8 }; /* incompatible features that are known */

/* Offsets in the header */
enum {
	QCOW2_H_BACKING = 8,
	QCOW2_H_SIZE = 24,
	QCOW2_H_L1_SIZE = 36, /* with the offset behind it: 12 bytes that change together */
	QCOW2_H_REFTABLE = 48, /* with the number of clusters: the same */
	QCOW2_H_SNAPSHOTS = 60, /* number and offset: the same */
	QCOW2_H_INCOMPATIBLE = 72,
	QCOW2_H_AUTOCLEAR = 88,
	QCOW2_H_V3 = 104,
};

enum table_kind { TABLE_L2, TABLE_REFS };

/* A cached cluster of metadata, as it is in the file (big endian). */
struct table {
	uint64_t offset;
	enum table_kind kind;
	uint8_t *data;
	unsigned dirty_from, dirty_to; /* bytes that are not in the file yet; equal: none */
	struct table *hash_next;
	struct table *newer, *older; /* order of last use */
};

struct qcow2_snapshot {
	uint64_t l1_offset;
	uint32_t l1_size;
	char *id, *name;
	uint32_t seconds, nanoseconds;
	uint64_t vm_clock, vm_state, bytes;
	uint8_t *extra; /* what is behind the known extra data, kept as it is */
	uint32_t extra_bytes;
};

struct qcow2 {
	struct image *img;
	unsigned version, bits, l2_bits, refcount_order, block_bits; /* block_bits: refcounts in a block */
	uint64_t cluster;
	uint32_t incompatible, compression, header_length;
	uint64_t *l1; /* l1, reftable: in the host's byte order */
	uint32_t l1_size;
	uint64_t l1_offset;
	uint32_t l1_dirty_from, l1_dirty_to; /* entries */
	uint64_t *reftable;
	uint32_t reftable_entries, reftable_clusters, ref_dirty_from, ref_dirty_to;
	uint64_t reftable_offset;
	struct qcow2_snapshot *snapshots;
	uint32_t snapshot_count, snapshot_table_bytes;
	uint64_t snapshots_offset;
	char *backing_name, *backing_format;
	bool bitmaps; /* there are bitmaps, whose clusters are not understood here */

	struct table *hash[QCOW2_HASH];
	struct table *newest, *oldest;
	unsigned tables, max_tables;

	uint64_t hint;	   /* no cluster below is free */
	uint64_t file_end; /* what is at or behind it in the file reads as zeroes */
	uint64_t *pending; /* clusters that lose a reference after the next commit */
	size_t pending_count, pending_room;
	int failed;	 /* a sync failed: what the file has is unknown, and nothing more is written */

	uint8_t *plain, *packed; /* a cluster, and its compressed form; made at first use */
	uint64_t plain_entry;	 /* the L2 entry that plain is of; 0: none */
	uint64_t packed_at;	 /* where the next compressed cluster may begin; 0: nowhere */
};

static inline struct qcow2 *qcow2_of(struct image *img)
{
	return img->format;
}

static inline uint64_t qcow2_round(const struct qcow2 *q, uint64_t bytes)
{
	return (bytes + q->cluster - 1) & ~(q->cluster - 1);
}

extern const struct image_ops qcow2_ops;

/* --- qcow2.c --- */

/* Is [offset, offset + bytes) where only metadata that is always known lies: header, L1 table, refcount table, snapshot table, cached tables? */
bool qcow2_is_metadata(struct qcow2 *q, uint64_t offset, uint64_t bytes);
/* A cluster of the file that a table names: aligned, inside of the file, not the header. */
bool qcow2_good_cluster(const struct qcow2 *q, uint64_t offset);
/* Where the compressed data of an entry are, and how many bytes at most. */
void qcow2_compressed_at(const struct qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *bytes);
/* The backing file's path, which the caller frees; NULL: no memory. There is one. */
char *qcow2_backing_path(const struct qcow2 *q);
/* Reads a table of entries. NULL and *ret on failure. */
uint64_t *qcow2_read_entries(struct qcow2 *q, uint64_t offset, uint32_t count, int *ret);

/* --- qcow2_table.c --- */

/* What is returned stays for the next eight calls of table_get and table_new. -EAGAIN: not cached, and @may_block is false. */
int table_get(struct qcow2 *q, uint64_t offset, enum table_kind kind, bool may_block, struct table **out);
int table_new(struct qcow2 *q, uint64_t offset, enum table_kind kind, struct table **out); /* zeroes, all of it dirty */
void table_dirty(struct table *t, unsigned offset, unsigned bytes);
void table_drop(struct qcow2 *q, uint64_t offset);
bool table_is_cached(const struct qcow2 *q, uint64_t offset);
void tables_free(struct qcow2 *q);
uint64_t table_entry(const struct table *t, unsigned index);
void table_set_entry(struct table *t, unsigned index, uint64_t value);
void qcow2_set_l1(struct qcow2 *q, uint32_t index, uint64_t value);
void qcow2_set_reftable(struct qcow2 *q, uint32_t index, uint64_t value);
bool qcow2_dirty(struct qcow2 *q);
int qcow2_commit(struct qcow2 *q);
int qcow2_commit_all(struct qcow2 *q); /* and what that frees, until nothing is left */
int qcow2_sync(struct qcow2 *q);
/* Writes @bytes of the header, all within one sector, and syncs before and after. */
int qcow2_write_header(struct qcow2 *q, unsigned offset, const void *from, unsigned bytes);
int qcow2_write_entries(struct qcow2 *q, uint64_t offset, const uint64_t *entries, uint32_t count);

/* --- qcow2_refs.c --- */

int refs_get(struct qcow2 *q, uint64_t cluster, uint64_t *count);
int refs_set(struct qcow2 *q, uint64_t cluster, uint64_t count); /* -ERANGE: does not fit */
int refs_add(struct qcow2 *q, uint64_t cluster, int64_t by);
/* @want contiguous clusters at most, at least one, each with one reference then. Fills offset and how many. */
int refs_alloc(struct qcow2 *q, uint64_t want, uint64_t *offset, uint64_t *got);
int refs_alloc_all(struct qcow2 *q, uint64_t want, uint64_t *offset); /* exactly so many */
void refs_undo(struct qcow2 *q, uint64_t offset, uint64_t clusters);  /* of what was never referred to */
int refs_free_later(struct qcow2 *q, uint64_t cluster);
int refs_free_entry(struct qcow2 *q, uint64_t entry); /* all that an L2 entry refers to */
int refs_add_entry(struct qcow2 *q, uint64_t entry, int by); /* at once */
void refs_apply_pending(struct qcow2 *q);
uint64_t refs_in_block(const struct qcow2 *q, const uint8_t *block, unsigned index);

/* --- qcow2_write.c --- */

/* The L2 table for @offset, to be changed: it is made, or copied if it is shared. */
int qcow2_l2_for_write(struct qcow2 *q, uint64_t offset, struct table **out, unsigned *index);
int qcow2_write(struct image *img, uint64_t offset, const struct iovec *iov, unsigned iovs);
int qcow2_zero(struct image *img, uint64_t offset, uint64_t bytes, bool unmap);
int qcow2_discard(struct image *img, uint64_t offset, uint64_t bytes);

/* --- qcow2_compress.c --- */

int qcow2_read_compressed(struct image *img, uint64_t offset, const struct iovec *iov, unsigned iovs);
/* One whole cluster (the last one of the disk filled up with zeroes). 1: it does not get smaller; it was written as it is. */
int qcow2_write_compressed(struct image *img, uint64_t offset, const void *from);

/* --- qcow2_create.c --- */

struct qcow2_create {
	uint64_t bytes;
	unsigned cluster_bits; /* 0: 16 */
	const char *backing, *backing_format;
	bool zstd;
};

int qcow2_create(int fd, const char *path, const struct qcow2_create *c, struct error *err);
int qcow2_resize(struct image *img, uint64_t bytes, struct error *err);

/* --- qcow2_snapshot.c --- */

int qcow2_load_snapshots(struct qcow2 *q, uint32_t count, struct error *err);
void qcow2_free_snapshots(struct qcow2 *q);
int qcow2_snapshot_create(struct image *img, const char *name, struct error *err);
int qcow2_snapshot_apply(struct image *img, const char *name, struct error *err);
int qcow2_snapshot_delete(struct image *img, const char *name, struct error *err);

/* --- qcow2_check.c --- */

struct qcow2_check {
	uint64_t clusters, used; /* of the file; those that something refers to */
	uint64_t leaks, corruptions, flags; /* flags: "refcount is one" bits that are wrong, in the harmless direction */
	uint64_t fixed;
	bool may_repair; /* in */
	char first[128]; /* the first corruption, in words */
};

int qcow2_check(struct image *img, struct qcow2_check *c);
/* Sets the COPIED bits of the active tables by the refcounts. */
int qcow2_update_copied(struct qcow2 *q);

#endif
