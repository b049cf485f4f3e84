// SPDX-License-Identifier: GPL-2.0-or-later
/* Copying whole images: convert, and commit into a backing file. Holes and zeroes stay holes. */
#include "block/disk_tool.h"
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 2 << 20, GRAIN = 4096 };

struct copy {
	struct image *from, *to;
	uint8_t *memory; /* CHUNK bytes */
	bool compress;
	const struct disk_progress *progress;
};

static void report(const struct copy *c, uint64_t done, uint64_t total)
{
	if (c->progress && c->progress->report)
		c->progress->report(c->progress->opaque, done, total);
}

static bool all_zero(const uint8_t *memory, size_t bytes)
{
	return !bytes || (!memory[0] && !memcmp(memory, memory + 1, bytes - 1));
}

static int extent_at(struct copy *c, uint64_t offset, uint64_t bytes, struct extent *e)
{
	struct image *in;
	int ret = image_map(c->from, offset, bytes, true, e, &in);

	if (!ret && e->kind == EXTENT_DATA && in->independent)
		ret = raw_map_holes(in, e->host, e->bytes, e);
	return ret;
}

/* Writes those grains of c->memory that are not zeroes; the target is empty. */
static int write_grains(struct copy *c, uint64_t offset, size_t bytes)
{
	size_t grain = c->to->ops == &qcow2_ops ? (size_t)qcow2_of(c->to)->cluster : GRAIN, at = 0;

	while (at < bytes) {
		size_t from = at, n;

		for (; at < bytes; at += n) {
			n = bytes - at < grain ? bytes - at : grain;
			if (all_zero(c->memory + at, n))
				break;
		}
		if (at > from) {
			struct iovec iov = {c->memory + from, at - from};
			int ret = image_write(c->to, offset + from, &iov, 1);

			if (ret)
				return ret;
		}
		at += at < bytes ? (bytes - at < grain ? bytes - at : grain) : 0;
	}
	return 0;
}

static int write_compressed(struct copy *c, uint64_t offset, size_t bytes)
{
	size_t cluster = (size_t)qcow2_of(c->to)->cluster;

	/* The last cluster may be there in part only. */
	if (bytes % cluster)
		memset(c->memory + bytes, 0, cluster - bytes % cluster);
	for (size_t at = 0; at < bytes; at += cluster) {
		int ret = all_zero(c->memory + at, cluster) ? 0 : qcow2_write_compressed(c->to, offset + at, c->memory + at);

		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Whole chunks, so that clusters of the target are never cut. */
static int copy_chunk(struct copy *c, uint64_t offset, size_t bytes)
{
	size_t at = 0;
	bool data = false;

	while (at < bytes) {
		struct extent e;
		int ret = extent_at(c, offset + at, bytes - at, &e);

		if (!ret && e.kind == EXTENT_ZERO)
			memset(c->memory + at, 0, (size_t)e.bytes);
		else if (!ret)
			ret = image_read_buffer(c->from, offset + at, c->memory + at, (size_t)e.bytes);
		if (ret)
			return ret;
		data |= e.kind != EXTENT_ZERO;
		at += (size_t)e.bytes;
	}
	if (!data)
		return 0;
	return c->compress ? write_compressed(c, offset, bytes) : write_grains(c, offset, bytes);
}

static int copy_all(struct copy *c)
{
	uint64_t total = c->from->bytes, offset = 0;

	while (offset < total) {
		size_t bytes = total - offset < CHUNK ? (size_t)(total - offset) : CHUNK;
		struct extent e;
		int ret = extent_at(c, offset, total - offset, &e);

		/* Whole chunks of nothing are passed over at once. */
		if (!ret && e.kind == EXTENT_ZERO && e.bytes > CHUNK) {
			offset += e.bytes / CHUNK * CHUNK;
		} else if (!ret) {
			ret = copy_chunk(c, offset, bytes);
			offset += bytes;
		}
		if (ret)
			return ret;
		report(c, offset, total);
	}
	return image_flush(c->to);
}

static int convert_into(struct copy *c, const char *from, const char *to, const struct disk_convert *convert, struct error *err)
{
	struct disk_create create = {.format = convert->to_format, .bytes = c->from->bytes, .cluster = convert->cluster,
				     .compression = convert->compression};
	struct image_options o = {.path = to, .format = convert->to_format ? convert->to_format : "qcow2"};
	int ret;

	if (convert->compress && strcmp(o.format, "qcow2"))
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot convert %s to %s", "raw images cannot be compressed",
				 "leave --compress out, or write qcow2", from, to);
	ret = disk_tool_create(to, &create, err);
	if (ret)
		return ret;
	ret = image_open(&o, &c->to, err);
	if (!ret) {
		c->memory = malloc(CHUNK);
		ret = c->memory ? copy_all(c) : -ENOMEM;
		if (ret)
			image_error(err, ret, "convert", from);
		free(c->memory);
		image_close(c->to);
	}
	if (ret)
		unlink(to);
	return ret;
}

int disk_tool_convert(const char *from, const char *to, const struct disk_convert *convert, const struct disk_progress *progress,
		      struct error *err)
{
	struct image_options o = {.path = from, .format = convert->from_format, .readonly = true};
	struct copy c = {.compress = convert->compress, .progress = progress};
	int ret = image_open(&o, &c.from, err);

	if (ret)
		return ret;
	/* What has no size cannot be created; a sector is as good as nothing. */
	if (!c.from->bytes)
		ret = error_set(err, -EINVAL, STATUS_INPUT, "cannot convert %s", "it is empty", "name another image", from);
	else
		ret = convert_into(&c, from, to, convert, err);
	image_close(c.from);
	return ret;
}

/* --- commit --- */

/* Writes what @c->from itself has to c->to. */
static int commit_all(struct copy *c)
{
	uint64_t total = c->from->bytes, offset = 0;

	while (offset < total) {
		uint64_t bytes = total - offset < CHUNK ? total - offset : CHUNK;
		struct iovec iov = {c->memory, 0};
		struct extent e;
		int ret = c->from->ops->map(c->from, offset, bytes, true, &e);

		if (ret)
			return ret;
		iov.iov_len = (size_t)e.bytes;
		if (e.kind == EXTENT_ZERO) {
			ret = image_zero(c->to, offset, e.bytes, true);
		} else if (e.kind != EXTENT_BACKING) {
			ret = image_read(c->from, offset, &iov, 1);
			if (!ret)
				ret = image_write(c->to, offset, &iov, 1);
		}
		if (ret)
			return ret;
		offset += e.bytes;
		report(c, offset, total);
	}
	return image_flush(c->to);
}

static int commit_into(struct copy *c, const char *path, const char *backing, struct error *err)
{
	struct qcow2 *q = qcow2_of(c->from);
	struct image_options o = {.path = backing, .format = q->backing_format ? q->backing_format : "raw"};
	int ret = image_open(&o, &c->to, err);

	if (ret)
		return ret;
	if (c->to->bytes < c->from->bytes)
		ret = c->to->ops->resize(c->to, c->from->bytes, err);
	if (!ret) {
		ret = commit_all(c);
		/* All of it is safe below now. What snapshots refer to stays theirs. */
		if (!ret)
			ret = image_discard(c->from, 0, c->from->bytes);
		if (!ret)
			ret = qcow2_commit_all(q);
		if (ret)
			image_error(err, ret, "commit", path);
	}
	image_close(c->to);
	return ret;
}

int disk_tool_commit(const char *path, const struct disk_progress *progress, struct error *err)
{
	struct image_options o = {.path = path, .no_backing = true};
	struct copy c = {.progress = progress};
	char *backing;
	int ret = image_open(&o, &c.from, err);

	if (ret)
		return ret;
	if (c.from->ops != &qcow2_ops || !qcow2_of(c.from)->backing_name) {
		image_close(c.from);
		return error_set(err, -EINVAL, STATUS_INPUT, "cannot commit %s", "it has no backing file",
				 "name an image that was made with --backing", path);
	}
	backing = qcow2_backing_path(qcow2_of(c.from));
	c.memory = malloc(CHUNK);
	ret = backing && c.memory ? commit_into(&c, path, backing, err) : image_error(err, -ENOMEM, "commit", path);
	free(c.memory);
	free(backing);
	image_close(c.from);
	return ret;
}
