// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Compressed clusters (the specification, "Compressed Clusters Descriptor"): each is one raw deflate stream (RFC 1951), or one zstd frame
 * (RFC 8878), that gives exactly a cluster.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

/* The buffers: of a cluster, and of the most that an entry can say, two clusters. */
static int need_buffers(struct qcow2 *q)
{
	if (!q->plain)
		q->plain = malloc(q->cluster);
	if (!q->packed)
		q->packed = malloc(q->cluster * 2);
	return q->plain && q->packed ? 0 : -ENOMEM;
}

static int inflate_cluster(struct qcow2 *q, uint64_t bytes)
{
	z_stream z = {.next_in = q->packed, .avail_in = (uInt)bytes, .next_out = q->plain, .avail_out = (uInt)q->cluster};
	int ret;

	if (inflateInit2(&z, -15) != Z_OK)
		return -ENOMEM;
	ret = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	/* What is behind the stream, up to the sector's end, is none of its own. */
	return (ret == Z_STREAM_END || ret == Z_BUF_ERROR || ret == Z_OK) && !z.avail_out ? 0 : -EIO;
}

static int unzstd_cluster(struct qcow2 *q, uint64_t bytes)
{
	ZSTD_inBuffer in = {q->packed, bytes, 0};
	ZSTD_outBuffer out = {q->plain, q->cluster, 0};
	ZSTD_DCtx *d = ZSTD_createDCtx();
	size_t left = 1;

	if (!d)
		return -ENOMEM;
	/* A window need not be larger than what comes out. */
	ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, QCOW2_MAX_BITS);
	while (out.pos < out.size && left) {
		size_t before = in.pos + out.pos;

		left = ZSTD_decompressStream(d, &out, &in);
		if (ZSTD_isError(left) || in.pos + out.pos == before)
			break;
	}
	ZSTD_freeDCtx(d);
	return out.pos == out.size ? 0 : -EIO;
}

static int load(struct qcow2 *q, uint64_t entry)
{
	uint64_t offset, bytes;
	int ret;

	if (q->plain_entry == entry)
		return 0;
	ret = need_buffers(q);
	if (ret)
		return ret;
	q->plain_entry = 0;
	qcow2_compressed_at(q, entry, &offset, &bytes);
	if (bytes > q->cluster * 2)
		bytes = q->cluster * 2;
	ret = file_read(q->img->fd, offset, q->packed, bytes);
	if (!ret)
		ret = q->compression ? unzstd_cluster(q, bytes) : inflate_cluster(q, bytes);
	if (!ret)
		q->plain_entry = entry;
	return ret;
}

int qcow2_read_compressed(struct image *img, uint64_t offset, const struct iovec *iov, unsigned iovs)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t l1 = q->l1[offset >> (q->bits + q->l2_bits)], within = offset & (q->cluster - 1);
	size_t bytes = iov_bytes(iov, iovs);
	struct table *t;
	int ret = table_get(q, l1 & QCOW2_OFFSET, TABLE_L2, true, &t);

	if (ret)
		return ret;
	ret = load(q, table_entry(t, (unsigned)(offset >> q->bits & ((1u << q->l2_bits) - 1))));
	if (ret)
		return ret;
	if (bytes > q->cluster - within)
		return -EINVAL;
	iov_put(iov, iovs, 0, q->plain + within, bytes);
	return 0;
}

/* --- writing --- */

static int64_t pack(struct qcow2 *q, const void *from)
{
	size_t room = q->cluster - 1, n;
	int ret;

	if (q->compression) {
		n = ZSTD_compress(q->packed, room, from, q->cluster, 3);
		return ZSTD_isError(n) ? 0 : (int64_t)n;
	}
	z_stream z = {.next_in = (Bytef *)(uintptr_t)from, .avail_in = (uInt)q->cluster, .next_out = q->packed, .avail_out = (uInt)room};

	/* A window of 4 KiB: what readers of the format count on. */
	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	ret = deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return ret == Z_STREAM_END ? (int64_t)(room - z.avail_out) : 0;
}

/*
 * A place for @bytes: behind the last one, in the cluster that it ended in and, if the next one is free, on into that. Each
 * cluster that is touched gets a reference.
 */
static int find_place(struct qcow2 *q, uint64_t bytes, uint64_t *offset)
{
	uint64_t left = q->packed_at ? qcow2_round(q, q->packed_at) - q->packed_at : 0, next = 0, got;
	int ret = 0;

	if (left < bytes) {
		ret = refs_alloc(q, 1, &next, &got);
		if (ret)
			return ret;
	}
	if (!left || (next && next != q->packed_at + left)) {
		*offset = next;
	} else {
		*offset = q->packed_at;
		ret = refs_add(q, q->packed_at >> q->bits, 1);
		if (ret == -ERANGE && next) {
			*offset = next;
			ret = 0;
		}
	}
	q->packed_at = *offset + bytes;
	if (!(q->packed_at & (q->cluster - 1)))
		q->packed_at = 0;
	return ret;
}

int qcow2_write_compressed(struct image *img, uint64_t offset, const void *from)
{
	struct qcow2 *q = qcow2_of(img);
	unsigned x = 62 - (q->bits - 8), index;
	uint64_t host, old, entry;
	struct table *t;
	int64_t bytes;
	int ret = need_buffers(q);

	if (ret)
		return ret;
	q->plain_entry = 0;
	bytes = pack(q, from);
	if (bytes < 0)
		return (int)bytes;
	if (!bytes) {
		uint64_t n = img->bytes - offset < q->cluster ? img->bytes - offset : q->cluster;
		struct iovec iov = {(void *)(uintptr_t)from, n};

		ret = qcow2_write(img, offset, &iov, 1);
		return ret ? ret : 1;
	}
	ret = find_place(q, (uint64_t)bytes, &host);
	if (ret)
		return ret;
	if (host >> x)
		return -EFBIG;
	ret = file_write(img->fd, host, q->packed, (size_t)bytes);
	if (q->file_end < host + (uint64_t)bytes)
		q->file_end = host + (uint64_t)bytes;
	if (!ret)
		ret = qcow2_l2_for_write(q, offset, &t, &index);
	if (ret)
		return ret;
	entry = QCOW2_COMPRESSED | (((host + (uint64_t)bytes - 1) >> 9) - (host >> 9)) << x | host;
	old = table_entry(t, index);
	table_set_entry(t, index, entry);
	return refs_free_entry(q, old);
}
