// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Opening qcow2 images, and where things are in them (the specification, "Header" and "Cluster mapping").
 *
 * Invariants: everything that is read from the file is hostile. What is allocated for it is bounded by the constants of
 * qcow2.h, whatever the header says; each table entry is looked at when it is used, and a bad one is -EIO for who asked.
 */
#include "block/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool qcow2_is(const void *head, size_t bytes)
{
	return bytes >= 4 && !memcmp(head, "QFI\xfb", 4);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t get64(const uint8_t *at)
{
	return (uint64_t)get32(at) << 32 | get32(at + 4);
}

static bool meet(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
	return a_bytes && b_bytes && a < b + b_bytes && b < a + a_bytes;
}

bool qcow2_good_cluster(const struct qcow2 *q, uint64_t offset)
{
	return offset >= q->cluster && !(offset & (q->cluster - 1)) && offset < qcow2_round(q, q->file_end);
}

static bool in_cache(const struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	for (uint64_t at = offset & ~(q->cluster - 1); at < offset + bytes; at += q->cluster)
		if (table_is_cached(q, at))
			return true;
	return false;
}

bool qcow2_is_metadata(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	return offset < q->cluster || meet(offset, bytes, q->l1_offset, qcow2_round(q, (uint64_t)q->l1_size * 8)) ||
	       meet(offset, bytes, q->reftable_offset, (uint64_t)q->reftable_clusters << q->bits) ||
	       meet(offset, bytes, q->snapshots_offset, qcow2_round(q, q->snapshot_table_bytes)) || in_cache(q, offset, bytes);
}

void qcow2_compressed_at(const struct qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *bytes)
{
	unsigned x = 62 - (q->bits - 8);

	*offset = entry & ((1ull << x) - 1);
	*bytes = ((entry & ~(QCOW2_COPIED | QCOW2_COMPRESSED)) >> x) * 512 + 512 - (*offset & 511);
}

uint64_t *qcow2_read_entries(struct qcow2 *q, uint64_t offset, uint32_t count, int *ret)
{
	/* Not calloc(0), whose answer is NULL or not. */
	uint64_t *entries = calloc((size_t)count + 1, 8);

	*ret = entries ? file_read(q->img->fd, offset, entries, (size_t)count * 8) : -ENOMEM;
	if (*ret) {
		free(entries);
		return NULL;
	}
	for (uint32_t i = 0; i < count; i++)
		entries[i] = be64toh(entries[i]);
	return entries;
}

/* --- map --- */

static int classify(struct qcow2 *q, uint64_t entry, struct extent *e)
{
	e->writable = false;
	e->host = entry & QCOW2_OFFSET;
	if (entry & QCOW2_COMPRESSED) {
		uint64_t bytes;

		e->kind = EXTENT_COMPRESSED;
		qcow2_compressed_at(q, entry, &e->host, &bytes);
		return e->host >= q->cluster && e->host < q->file_end ? 0 : -EIO;
	}
	if (entry & QCOW2_L2_RESERVED || (entry & QCOW2_ZERO && q->version < 3))
		return -EIO;
	if (entry & QCOW2_ZERO) {
		e->kind = EXTENT_ZERO;
		return 0;
	}
	if (!e->host) {
		e->kind = EXTENT_BACKING;
		return entry & QCOW2_COPIED ? -EIO : 0;
	}
	e->kind = EXTENT_DATA;
	e->writable = entry & QCOW2_COPIED;
	return qcow2_good_cluster(q, e->host) ? 0 : -EIO;
}

static int qcow2_map(struct image *img, uint64_t offset, uint64_t bytes, bool may_block, struct extent *e)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t l1_index = offset >> (q->bits + q->l2_bits), within = offset & (q->cluster - 1), run, left, l1;
	unsigned index = (unsigned)(offset >> q->bits & ((1u << q->l2_bits) - 1)), entries = 1u << q->l2_bits;
	struct table *t;
	int ret;

	if (l1_index >= q->l1_size)
		return -EIO;
	left = ((uint64_t)(entries - index) << q->bits) - within;
	left = left < bytes ? left : bytes;
	l1 = q->l1[l1_index];
	if (l1 & QCOW2_L1_RESERVED)
		return -EIO;
	if (!(l1 & QCOW2_OFFSET)) {
		*e = (struct extent){.kind = EXTENT_BACKING, .bytes = left};
		return 0;
	}
	ret = table_get(q, l1 & QCOW2_OFFSET, TABLE_L2, may_block, &t);
	if (!ret)
		ret = classify(q, table_entry(t, index), e);
	if (ret)
		return ret;
	run = q->cluster - within;
	while (run < left && e->kind != EXTENT_COMPRESSED) {
		struct extent next;

		index++;
		if (classify(q, table_entry(t, index), &next) || next.kind != e->kind || next.writable != e->writable ||
		    (e->kind == EXTENT_DATA && next.host != e->host + within + run))
			break;
		run += q->cluster;
	}
	e->bytes = run < left ? run : left;
	e->host += within;
	/* Metadata that is written as if it were data: the image is damaged, or made to do harm. */
	if (e->writable && qcow2_is_metadata(q, e->host, e->bytes))
		return -EIO;
	return 0;
}

/* --- open and close --- */

static int damaged(struct image *img, struct error *err, const char *why)
{
	return error_set(err, -EINVAL, STATUS_INPUT, "cannot open the disk image %s", "%s",
			 "restore it from a copy; 'subring disk check' tells more about images that can be opened", img->path, why);
}

static int unsupported(struct image *img, struct error *err, const char *why)
{
	return error_set(err, -ENOTSUP, STATUS_INPUT, "cannot open the disk image %s", "%s",
			 "convert it with 'qemu-img convert -O qcow2' to an image without that", img->path, why);
}

static int read_extensions(struct qcow2 *q, const uint8_t *head, uint64_t bytes, struct error *err)
{
	uint64_t at = q->header_length;

	while (at + 8 <= bytes) {
		uint32_t type = get32(head + at), length = get32(head + at + 4);

		at += 8;
		if (!type)
			return 0;
		if (length > bytes - at)
			return damaged(q->img, err, "a header extension goes beyond the header");
		if (type == 0xe2792aca && !q->backing_format) {
			q->backing_format = strndup((const char *)head + at, length < 32 ? length : 32);
			if (!q->backing_format)
				return image_error(err, -ENOMEM, "open the disk image", q->img->path);
		}
		if (type == 0x23852875)
			q->bitmaps = true;
		at += (length + 7ull) & ~7ull;
	}
	return 0;
}

static int read_backing_name(struct qcow2 *q, const uint8_t *head, uint64_t bytes, struct error *err)
{
	uint64_t offset = get64(head + QCOW2_H_BACKING);
	uint32_t length = get32(head + 16);

	if (!offset)
		return 0;
	if (!length || length > 1023 || offset > bytes || length > bytes - offset || memchr(head + offset, 0, length))
		return damaged(q->img, err, "the name of its backing file is not in its header");
	q->backing_name = strndup((const char *)head + offset, length);
	return q->backing_name ? 0 : image_error(err, -ENOMEM, "open the disk image", q->img->path);
}

/* The fields of the header, but for the tables'. @head has @bytes, which is a cluster or the file if that is shorter. */
static int read_header(struct qcow2 *q, const uint8_t *head, uint64_t bytes, struct error *err)
{
	uint64_t incompatible = 0;

	q->header_length = 72;
	q->refcount_order = 4;
	if (get32(head + 32))
		return unsupported(q->img, err, "it is encrypted");
	if (q->version >= 3) {
		incompatible = get64(head + QCOW2_H_INCOMPATIBLE);
		q->refcount_order = get32(head + 96);
		q->header_length = get32(head + 100);
		if (q->header_length < QCOW2_H_V3 || q->header_length % 8 || q->header_length > bytes)
			return damaged(q->img, err, "the length of its header cannot be");
		if (q->refcount_order > 6)
			return damaged(q->img, err, "the width of its refcounts cannot be");
		if (q->header_length > 104)
			q->compression = head[104];
	}
	if (incompatible & 4)
		return unsupported(q->img, err, "its data is in a file of its own (an external data file)");
	if (incompatible & 16)
		return unsupported(q->img, err, "it has subclusters (extended L2 entries)");
	if (incompatible & ~31ull)
		return unsupported(q->img, err, "it uses a feature of the format that is not known here");
	q->incompatible = (uint32_t)incompatible;
	if (q->compression > 1 || !(incompatible & QCOW2_COMPRESSION) != !q->compression)
		return unsupported(q->img, err, "its kind of compression is not known here");
	return read_backing_name(q, head, bytes, err) ? -EINVAL : read_extensions(q, head, bytes, err);
}

static bool table_fits(const struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	return !(offset & (q->cluster - 1)) && offset >= q->cluster && offset <= q->file_end && bytes <= q->file_end - offset;
}

static int read_tables(struct qcow2 *q, const uint8_t *head, struct error *err)
{
	uint64_t covers, l1_bytes, ref_bytes;
	int ret;

	q->img->bytes = get64(head + QCOW2_H_SIZE);
	q->l1_size = get32(head + QCOW2_H_L1_SIZE);
	q->l1_offset = get64(head + 40);
	q->reftable_offset = get64(head + QCOW2_H_REFTABLE);
	q->reftable_clusters = get32(head + 56);
	l1_bytes = (uint64_t)q->l1_size * 8;
	ref_bytes = (uint64_t)q->reftable_clusters << q->bits;
	if (q->img->bytes > (1ull << 61) || q->img->bytes % BLOCK_SECTOR || l1_bytes > QCOW2_MAX_L1)
		return damaged(q->img, err, "its size cannot be");
	covers = (q->img->bytes + (1ull << (q->bits + q->l2_bits)) - 1) >> (q->bits + q->l2_bits);
	if (covers > q->l1_size || (l1_bytes && !table_fits(q, q->l1_offset, l1_bytes)))
		return damaged(q->img, err, "its L1 table is too small, or not in the file");
	if (!ref_bytes || ref_bytes > QCOW2_MAX_REFTABLE || !table_fits(q, q->reftable_offset, 8))
		return damaged(q->img, err, "its refcount table is too large, or not in the file");
	if (meet(q->l1_offset, l1_bytes, q->reftable_offset, ref_bytes))
		return damaged(q->img, err, "its tables overlap");
	q->reftable_entries = (uint32_t)(ref_bytes / 8);
	q->l1 = qcow2_read_entries(q, q->l1_offset, q->l1_size, &ret);
	if (q->l1)
		q->reftable = qcow2_read_entries(q, q->reftable_offset, q->reftable_entries, &ret);
	if (ret)
		return image_error(err, ret, "read the tables of", q->img->path);
	for (uint32_t i = 0; i < q->reftable_entries; i++)
		if (q->reftable[i] && (q->reftable[i] & (q->cluster - 1) || q->reftable[i] < q->cluster))
			return damaged(q->img, err, "its refcount table has an entry that cannot be");
	return 0;
}

/* What a writer has to know: that the refcounts are true, and that nobody relies on what is not kept up. */
static int prepare_writing(struct qcow2 *q, const struct image_options *o, struct error *err)
{
	static const uint8_t none[8];
	uint8_t autoclear[8];
	int ret;

	if (q->version < 3)
		return unsupported(q->img, err, "it is of version 2, which is only read here");
	if (!o->repair && q->incompatible & QCOW2_CORRUPT)
		return damaged(q->img, err, "it is marked as corrupt: it can only be read");
	if (!o->repair && q->incompatible & QCOW2_DIRTY)
		return error_set(err, -EINVAL, STATUS_INPUT, "cannot open the disk image %s for writing",
				 "it was not closed, and its refcounts may be wrong", "run 'subring disk check --repair %s' first",
				 q->img->path, q->img->path);
	ret = file_read(q->img->fd, QCOW2_H_AUTOCLEAR, autoclear, 8);
	if (!ret && memcmp(autoclear, none, 8))
		ret = qcow2_write_header(q, QCOW2_H_AUTOCLEAR, none, 8);
	return ret ? image_error(err, ret, "write the header of", q->img->path) : 0;
}

/* A relative name is relative to the folder of the image that has it. */
char *qcow2_backing_path(const struct qcow2 *q)
{
	const char *slash = strrchr(q->img->path, '/');
	char *path;

	if (q->backing_name[0] == '/' || !slash)
		return strdup(q->backing_name);
	return asprintf(&path, "%.*s%s", (int)(slash - q->img->path + 1), q->img->path, q->backing_name) < 0 ? NULL : path;
}

static bool in_front(const struct image *front, const char *path, const struct image_options *o)
{
	struct stat a, b;

	if (stat(path, &a) < 0)
		return false;
	for (; front; front = front->front)
		if (fstat(front->fd, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
			return true;
	return false;
}

static int open_backing(struct qcow2 *q, const struct image_options *front, struct error *err)
{
	struct image_options o = {.format = q->backing_format, .readonly = true, .no_lock = front->no_lock, .depth = front->depth + 1,
				  .front = q->img};
	char *path;
	int ret;

	if (!q->backing_name || front->no_backing)
		return 0;
	if (o.depth >= IMAGE_DEPTH)
		return damaged(q->img, err, "its chain of backing files is too long");
	path = qcow2_backing_path(q);
	if (!path)
		return image_error(err, -ENOMEM, "open the disk image", q->img->path);
	o.path = path;
	if (in_front(q->img, path, &o))
		ret = damaged(q->img, err, "its chain of backing files is a loop");
	else
		ret = image_open(&o, &q->img->backing, err);
	/*
	 * A raw file below could be made by its guest to look like an image with any file of the host behind it, if what it is
	 * were found out by looking.
	 */
	if (!ret && !q->backing_format && q->img->backing->ops == &qcow2_ops)
		ret = error_set(err, -EINVAL, STATUS_INPUT, "cannot open the disk image %s",
				"it does not say of which format its backing file is, and that looks like qcow2",
				"if that is right, say so in the image: qemu-img rebase -u -F qcow2 -b BACKING IMAGE", q->img->path);
	free(path);
	return ret;
}

static int open_all(struct qcow2 *q, const struct image_options *o, uint8_t *head, struct error *err)
{
	struct image *img = q->img;
	uint64_t bytes = q->file_end < q->cluster ? q->file_end : q->cluster;
	int ret = file_read(img->fd, 0, head, q->cluster);

	if (ret)
		return image_error(err, ret, "read the header of", img->path);
	ret = read_header(q, head, bytes, err);
	if (ret)
		return ret;
	/* 3: entries of 8 bytes */
	q->l2_bits = q->bits - 3;
	q->block_bits = q->bits + 3 - q->refcount_order;
	q->max_tables = (unsigned)(QCOW2_CACHE >> q->bits);
	if (q->max_tables < QCOW2_MIN_TABLES)
		q->max_tables = QCOW2_MIN_TABLES;
	ret = read_tables(q, head, err);
	if (ret)
		return ret;
	q->snapshots_offset = get64(head + 64);
	ret = qcow2_load_snapshots(q, get32(head + QCOW2_H_SNAPSHOTS), err);
	if (!ret)
		ret = open_backing(q, o, err);
	if (!ret && !img->readonly)
		ret = prepare_writing(q, o, err);
	return ret;
}

int qcow2_open(struct image *img, const struct image_options *o, struct error *err)
{
	struct qcow2 *q = calloc(1, sizeof(*q));
	uint8_t start[24], *head;
	struct stat st;
	int ret;

	if (!q)
		return image_error(err, -ENOMEM, "open the disk image", img->path);
	q->img = img;
	img->format = q;
	img->ops = &qcow2_ops;
	img->front = o->front;
	ret = file_read(img->fd, 0, start, sizeof(start));
	if (ret || fstat(img->fd, &st) < 0)
		return image_error(err, ret ? ret : -errno, "read the disk image", img->path);
	q->file_end = S_ISBLK(st.st_mode) ? (uint64_t)lseek(img->fd, 0, SEEK_END) : (uint64_t)st.st_size;
	img->device = S_ISBLK(st.st_mode);
	q->version = get32(start + 4);
	q->bits = get32(start + 20);
	if (!qcow2_is(start, sizeof(start)))
		return damaged(img, err, "it is no qcow2 image");
	if (q->version != 2 && q->version != 3)
		return unsupported(img, err, "its version of the format is neither 2 nor 3");
	if (q->bits < QCOW2_MIN_BITS || q->bits > QCOW2_MAX_BITS)
		return damaged(img, err, "the size of its clusters cannot be");
	q->cluster = 1ull << q->bits;
	if (q->file_end < QCOW2_H_V3)
		return damaged(img, err, "it ends within its header");
	img->logical_block = 512;
	img->physical_block = 4096;
	img->granularity = q->cluster;
	img->can_discard = !img->readonly;
	head = malloc(q->cluster);
	ret = head ? open_all(q, o, head, err) : image_error(err, -ENOMEM, "open the disk image", img->path);
	free(head);
	return ret;
}

static void qcow2_close(struct image *img)
{
	struct qcow2 *q = qcow2_of(img);

	if (!q)
		return;
	if (!img->readonly && q->l1 && q->reftable && qcow2_dirty(q))
		qcow2_commit_all(q);
	tables_free(q);
	qcow2_free_snapshots(q);
	free(q->l1);
	free(q->reftable);
	free(q->backing_name);
	free(q->backing_format);
	free(q->pending);
	free(q->plain);
	free(q->packed);
	free(q);
}

static int qcow2_flush(struct image *img)
{
	return img->readonly ? 0 : qcow2_commit(qcow2_of(img));
}

static bool qcow2_image_dirty(struct image *img)
{
	return qcow2_dirty(qcow2_of(img));
}

const struct image_ops qcow2_ops = {
	.name = "qcow2",
	.close = qcow2_close,
	.map = qcow2_map,
	.read_compressed = qcow2_read_compressed,
	.write = qcow2_write,
	.zero = qcow2_zero,
	.discard = qcow2_discard,
	.flush = qcow2_flush,
	.dirty = qcow2_image_dirty,
	.resize = qcow2_resize,
};

int image_overlay(struct image *base, struct image **out, struct error *err)
{
	const char *folder = getenv("TMPDIR");
	struct qcow2_create create = {.bytes = base->bytes};
	struct image_options o = {.path = base->path, .no_backing = true};
	struct image *img = calloc(1, sizeof(*img));
	int ret;

	folder = folder && *folder ? folder : "/tmp";
	if (!img)
		return image_error(err, -ENOMEM, "put an overlay on", base->path);
	img->path = strdup(base->path);
	img->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ret = img->fd < 0 ? image_error(err, -errno, "make a temporary file in", folder) :
			    qcow2_create(img->fd, folder, &create, err);
	if (!ret && img->path)
		ret = qcow2_open(img, &o, err);
	if (ret || !img->path) {
		image_close(img);
		return ret ? ret : -ENOMEM;
	}
	img->backing = base;
	*out = img;
	return 0;
}
