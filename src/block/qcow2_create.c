// SPDX-License-Identifier: GPL-2.0-or-later
/* New qcow2 images, and other sizes of images. */
#include "block/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct layout {
	uint64_t l1_entries, l1_clusters, blocks, table_clusters, total;
};

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

static uint64_t over(uint64_t a, uint64_t b)
{
	return (a + b - 1) / b;
}

/* Header, refcount table, refcount blocks, L1 table, in this order. The refcounts are 16 bits wide. */
static void lay_out(uint64_t bytes, unsigned bits, struct layout *l)
{
	uint64_t cluster = 1ull << bits, per_block = cluster / 2, before;

	*l = (struct layout){.blocks = 1, .table_clusters = 1};
	l->l1_entries = over(bytes, cluster * (cluster / 8));
	l->l1_clusters = over(l->l1_entries * 8, cluster);
	do {
		before = l->total;
		l->total = 1 + l->table_clusters + l->blocks + l->l1_clusters;
		l->blocks = over(l->total, per_block);
		l->table_clusters = over(l->blocks * 8, cluster);
	} while (l->total != before);
}

static int make_header(uint8_t *head, const char *path, const struct qcow2_create *c, unsigned bits, const struct layout *l,
		       struct error *err)
{
	size_t backing = c->backing ? strlen(c->backing) : 0, format = c->backing_format ? strlen(c->backing_format) : 0;
	unsigned at = 112;

	if (backing > 1023 || format > 16 || at + 8 + ((format + 7) & ~7ul) + 8 + backing > 1ul << bits)
		return error_set(err, -ENAMETOOLONG, STATUS_INPUT, "cannot make the disk image %s",
				 "the name of the backing file does not fit into its header", "use a shorter name, or larger clusters",
				 path);
	put32(head, QCOW2_MAGIC);
	put32(head + 4, 3);
	put32(head + 20, bits);
	put64(head + QCOW2_H_SIZE, c->bytes);
	put32(head + QCOW2_H_L1_SIZE, (uint32_t)l->l1_entries);
	put64(head + 40, (1 + l->table_clusters + l->blocks) << bits);
	put64(head + QCOW2_H_REFTABLE, 1ull << bits);
	put32(head + 56, (uint32_t)l->table_clusters);
	put64(head + QCOW2_H_INCOMPATIBLE, c->zstd ? QCOW2_COMPRESSION : 0);
	put32(head + 96, 4);
	put32(head + 100, 112);
	head[104] = c->zstd;
	if (format) {
		put32(head + at, 0xe2792aca);
		put32(head + at + 4, (uint32_t)format);
		memcpy(head + at + 8, c->backing_format, format);
		at += 8 + (unsigned)((format + 7) & ~7ul);
	}
	at += 8; /* the end of the extensions: zeroes */
	if (backing) {
		put64(head + QCOW2_H_BACKING, at);
		put32(head + 16, (uint32_t)backing);
		memcpy(head + at, c->backing, backing);
	}
	return 0;
}

static int write_refcounts(int fd, unsigned bits, const struct layout *l)
{
	uint64_t per_block = (1ull << bits) / 2, cluster = 1ull << bits;
	uint8_t *memory = malloc(cluster);
	int ret = memory ? 0 : -ENOMEM;

	for (uint64_t b = 0; b < l->blocks && !ret; b++) {
		uint8_t entry[8];

		memset(memory, 0, cluster);
		for (uint64_t i = 0; i < per_block && b * per_block + i < l->total; i++)
			memory[i * 2 + 1] = 1;
		ret = file_write(fd, (1 + l->table_clusters + b) << bits, memory, cluster);
		put64(entry, (1 + l->table_clusters + b) << bits);
		if (!ret)
			ret = file_write(fd, cluster + b * 8, entry, 8);
	}
	free(memory);
	return ret;
}

/* @fd is an empty file. The header comes last: without it, it is no image. */
int qcow2_create(int fd, const char *path, const struct qcow2_create *c, struct error *err)
{
	unsigned bits = c->cluster_bits ? c->cluster_bits : 16;
	uint8_t *head;
	struct layout l;
	int ret;

	if (bits < QCOW2_MIN_BITS || bits > QCOW2_MAX_BITS)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot make the disk image %s",
				 "clusters are from 512 bytes to 2 MiB, a power of two", "leave the size of clusters out", path);
	if (c->bytes % BLOCK_SECTOR || c->bytes > 1ull << 56 || (c->bytes >> (2 * bits - 3)) * 8 >= QCOW2_MAX_L1)
		return error_set(err, -EFBIG, STATUS_USAGE, "cannot make the disk image %s",
				 "its size is not a multiple of 512, or too large for clusters of its size", "use a smaller size or larger clusters",
				 path);
	lay_out(c->bytes, bits, &l);
	head = calloc(1, 1ul << bits);
	ret = head ? make_header(head, path, c, bits, &l, err) : image_error(err, -ENOMEM, "make the disk image", path);
	if (!ret) {
		ret = file_resize(fd, l.total << bits);
		if (!ret)
			ret = write_refcounts(fd, bits, &l);
		if (!ret)
			ret = file_sync(fd);
		if (!ret)
			ret = file_write(fd, 0, head, 1ul << bits);
		if (!ret)
			ret = file_sync(fd);
		if (ret)
			image_error(err, ret, "make the disk image", path);
	}
	free(head);
	return ret;
}

/* --- resizing --- */

/* A larger L1 table, complete in the file before the header names it. */
static int grow_l1(struct qcow2 *q, uint64_t entries)
{
	uint64_t *l1 = calloc(entries, 8), offset, old = q->l1_offset, clusters = over(entries * 8, q->cluster);
	uint64_t old_clusters = over((uint64_t)q->l1_size * 8, q->cluster);
	uint8_t header[12];
	int ret = l1 ? qcow2_commit(q) : -ENOMEM;

	if (!ret)
		ret = refs_alloc_all(q, clusters, &offset);
	if (!ret)
		ret = qcow2_commit(q);
	if (ret) {
		free(l1);
		return ret;
	}
	memcpy(l1, q->l1, (size_t)q->l1_size * 8);
	ret = qcow2_write_entries(q, offset, l1, (uint32_t)entries);
	put32(header, (uint32_t)entries);
	put64(header + 4, offset);
	if (!ret)
		ret = qcow2_write_header(q, QCOW2_H_L1_SIZE, header, 12);
	if (ret) {
		q->failed = -EIO; /* which of the two the file has is not known */
		free(l1);
		return ret;
	}
	free(q->l1);
	q->l1 = l1;
	q->l1_size = (uint32_t)entries;
	q->l1_offset = offset;
	for (uint64_t i = 0; i < old_clusters; i++)
		refs_free_later(q, (old >> q->bits) + i);
	return 0;
}

static int grow(struct qcow2 *q, uint64_t bytes)
{
	struct image *img = q->img;
	uint64_t old = img->bytes, entries = over(bytes, 1ull << (q->bits + q->l2_bits)), end = qcow2_round(q, old);
	int ret = entries > q->l1_size ? grow_l1(q, entries) : 0;

	if (ret)
		return ret;
	/* What comes into view reads as zeroes: neither the rest of the last cluster, nor what a longer backing file has there. */
	if (img->backing && img->backing->bytes > end)
		end = img->backing->bytes;
	end = end < bytes ? end : bytes;
	img->bytes = bytes;
	ret = end > old ? qcow2_zero(img, old, end - old, true) : 0;
	return ret;
}

int qcow2_resize(struct image *img, uint64_t bytes, struct error *err)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t old = img->bytes, size, first = qcow2_round(q, bytes);
	int ret = 0;

	if (bytes % BLOCK_SECTOR || over(bytes, 1ull << (q->bits + q->l2_bits)) * 8 > QCOW2_MAX_L1)
		return error_set(err, -EFBIG, STATUS_USAGE, "cannot resize %s",
				 "the size is not a multiple of 512, or too large for clusters of its size", "use another size", img->path);
	if (bytes > old)
		ret = grow(q, bytes);
	else if (first < old)
		ret = qcow2_discard(img, first, old - first);
	if (!ret)
		ret = qcow2_commit(q);
	size = htobe64(bytes);
	if (!ret)
		ret = qcow2_write_header(q, QCOW2_H_SIZE, &size, 8);
	img->bytes = ret ? old : bytes;
	if (!ret)
		ret = qcow2_commit_all(q);
	return ret ? image_error(err, ret, "resize", img->path) : 0;
}
