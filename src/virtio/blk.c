// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Block device: virtio 1.2, 5.2. See blk.h.
 *
 * A request (5.2.6) is a header of 16 readable bytes, data, and a status byte that is the last writable one; how that is cut into
 * descriptors means nothing (2.7.4.1). Discards and write zeroes have several segments, which are done one after the other.
 *
 * Invariants: `inside` is true while ops->queue runs, on the I/O thread, which alone reads it: the lock is held then, and
 * disk_unplug may call blk_done. A request is on the free list or in flight.
 */
#include "virtio/blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLK_F_SEG_MAX (1ull << 2)
#define BLK_F_RO (1ull << 5)
#define BLK_F_BLK_SIZE (1ull << 6)
#define BLK_F_FLUSH (1ull << 9)
#define BLK_F_TOPOLOGY (1ull << 10)
#define BLK_F_CONFIG_WCE (1ull << 11)
#define BLK_F_MQ (1ull << 12)
#define BLK_F_DISCARD (1ull << 13)
#define BLK_F_WRITE_ZEROES (1ull << 14)

/* struct virtio_blk_config (5.2.4) */
enum {
	CAPACITY = 0, SEG_MAX = 12, BLK_SIZE = 20, PHYSICAL_BLOCK_EXP = 24, ALIGNMENT_OFFSET = 25, MIN_IO_SIZE = 26,
	OPT_IO_SIZE = 28, WRITEBACK = 32, NUM_QUEUES = 34, MAX_DISCARD_SECTORS = 36, MAX_DISCARD_SEG = 40,
	DISCARD_SECTOR_ALIGNMENT = 44, MAX_WRITE_ZEROES_SECTORS = 48, MAX_WRITE_ZEROES_SEG = 52,
	WRITE_ZEROES_MAY_UNMAP = 56, CONFIG_SIZE = 60,
};
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
enum { RANGE_UNMAP = 1 };

/* Two descriptors of a ring are the header's and the status's. */
enum { QUEUE_SIZE = 256, QUEUES_MAX = 16, SEGMENTS = QUEUE_SIZE - 2, RANGES_MAX = 16, RANGE_SECTORS = 1 << 22 };

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};
_Static_assert(sizeof(struct header) == 16, "5.2.6");

/* struct virtio_blk_discard_write_zeroes */
struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};
_Static_assert(sizeof(struct range) == 16, "5.2.6");

struct blk_request {
	struct block_request r;
	struct virtio_blk *blk;
	struct blk_request *next; /* free */
	unsigned queue;
	uint32_t type;
	struct virtq_element e;
	struct virtq_iov v;
	struct range range[RANGES_MAX];
	unsigned ranges, range_at;
};

struct virtio_blk {
	struct virtio_device dev;
	struct disk *disk;
	uint8_t serial[VIRTIO_BLK_SERIAL];
	struct blk_request *free;
	bool inside;
	uint64_t capacity, saved_capacity; /* sectors */
};

struct virtio_device *virtio_blk_device(struct virtio_blk *b)
{
	return &b->dev;
}

/* --- the end of a request --- */

static void finish(struct blk_request *q, uint8_t status)
{
	struct virtio_blk *b = q->blk;
	struct virtq *vq = &b->dev.queue[q->queue];
	uint64_t data = q->e.in_len - 1;
	uint32_t written = 0;

	if (q->type == T_IN)
		virtq_unmap_in(vq, &q->e, 0, data);
	if (virtq_write(vq, &q->e, data, &status, 1))
		virtio_needs_reset(&b->dev);
	/* Bytes from the start on that are sure to be written (2.7.8.2). */
	if (status == S_OK && q->type == T_IN)
		written = (uint32_t)q->e.in_len;
	else if (status == S_OK && q->type == T_GET_ID && data > VIRTIO_BLK_SERIAL)
		written = VIRTIO_BLK_SERIAL;
	else if (!data || (status == S_OK && q->type == T_GET_ID))
		written = (uint32_t)data + 1;
	virtio_push(&b->dev, q->queue, &q->e, written);
	q->next = b->free;
	b->free = q;
}

static void submit_range(struct blk_request *q)
{
	const struct range *range = &q->range[q->range_at++];

	q->r.offset = range->sector * BLOCK_SECTOR;
	q->r.bytes = (uint64_t)range->sectors * BLOCK_SECTOR;
	q->r.flags = (q->r.flags & ~BLOCK_UNMAP) | (range->flags & RANGE_UNMAP ? BLOCK_UNMAP : 0);
	disk_submit(q->blk->disk, &q->r);
}

static void blk_done(struct block_request *r, int error)
{
	struct blk_request *q = (struct blk_request *)r;
	struct virtio_blk *b = q->blk;
	unsigned queue = q->queue;

	if (!error && q->range_at < q->ranges) {
		submit_range(q);
		return;
	}
	if (b->inside) {
		finish(q, error ? S_IOERR : S_OK);
		return;
	}
	virtio_lock(&b->dev);
	finish(q, error ? S_IOERR : S_OK);
	virtio_notify(&b->dev, queue);
	virtio_unlock(&b->dev);
}

/* --- its beginning: a status, or -EINPROGRESS --- */

/* What is acknowledged has to be on stable storage (5.2.5.2 and 5.2.6.2). */
static bool write_through(const struct virtio_blk *b)
{
	if (virtio_has(&b->dev, BLK_F_CONFIG_WCE))
		return !virtio_config_get(&b->dev, WRITEBACK, 1);
	return !virtio_has(&b->dev, BLK_F_FLUSH);
}

static int transfer(struct blk_request *q, uint64_t sector)
{
	struct virtio_blk *b = q->blk;
	bool in = q->type == T_IN;
	uint64_t offset = in ? 0 : sizeof(struct header);
	uint64_t bytes = in ? q->e.in_len - 1 : q->e.out_len - sizeof(struct header);
	int ret;

	/* The disk checks the rest; this one is about our multiplication. */
	if (bytes % BLOCK_SECTOR || sector > b->capacity || bytes / BLOCK_SECTOR > b->capacity - sector)
		return S_IOERR;
	if (!bytes)
		return S_OK;
	q->v.count = 0;
	ret = virtq_map(&b->dev.queue[q->queue], &q->e, in, offset, bytes, &q->v);
	if (ret) {
		if (ret == -EPROTO)
			virtio_needs_reset(&b->dev);
		return S_IOERR;
	}
	q->r.op = in ? BLOCK_READ : BLOCK_WRITE;
	q->r.flags = !in && write_through(b) ? BLOCK_FUA : 0;
	q->r.offset = sector * BLOCK_SECTOR;
	q->r.bytes = bytes;
	q->r.iov = q->v.iov;
	q->r.iovs = q->v.count;
	disk_submit(b->disk, &q->r);
	return -EINPROGRESS;
}

/* 5.2.6.2: what the segments of a discard or write zeroes may be. */
static int check_range(const struct virtio_blk *b, uint32_t type, const struct range *range)
{
	if (range->flags & ~(type == T_WRITE_ZEROES ? RANGE_UNMAP : 0))
		return S_UNSUPP;
	if (range->sectors > RANGE_SECTORS || range->sector > b->capacity ||
	    range->sectors > b->capacity - range->sector)
		return S_IOERR;
	return S_OK;
}

static int ranges(struct blk_request *q)
{
	struct virtio_blk *b = q->blk;
	uint64_t bytes = q->e.out_len - sizeof(struct header);
	int status = S_OK;

	if (!virtio_has(&b->dev, q->type == T_DISCARD ? BLK_F_DISCARD : BLK_F_WRITE_ZEROES))
		return S_UNSUPP;
	if (!bytes || bytes % sizeof(struct range) || bytes / sizeof(struct range) > RANGES_MAX)
		return S_IOERR;
	if (virtq_read(&b->dev.queue[q->queue], &q->e, sizeof(struct header), q->range, bytes)) {
		virtio_needs_reset(&b->dev);
		return S_IOERR;
	}
	for (unsigned i = 0; i < bytes / sizeof(struct range); i++) {
		status = check_range(b, q->type, &q->range[i]);
		if (status)
			return status;
		/* Empty ones are nothing to ask the disk for. */
		if (q->range[i].sectors)
			q->range[q->ranges++] = q->range[i];
	}
	if (!q->ranges)
		return S_OK;
	q->r.op = q->type == T_DISCARD ? BLOCK_DISCARD : BLOCK_WRITE_ZEROES;
	q->r.flags = q->type == T_WRITE_ZEROES && write_through(b) ? BLOCK_FUA : 0;
	q->r.iov = NULL;
	q->r.iovs = 0;
	submit_range(q);
	return -EINPROGRESS;
}

static int get_id(struct blk_request *q)
{
	struct virtio_blk *b = q->blk;
	uint64_t room = q->e.in_len - 1, n = room < VIRTIO_BLK_SERIAL ? room : VIRTIO_BLK_SERIAL;

	if (virtq_write(&b->dev.queue[q->queue], &q->e, 0, b->serial, n)) {
		virtio_needs_reset(&b->dev);
		return S_IOERR;
	}
	return S_OK;
}

static int begin(struct blk_request *q, const struct header *h)
{
	bool writes = h->type == T_OUT || h->type == T_DISCARD || h->type == T_WRITE_ZEROES;

	if (writes && virtio_has(&q->blk->dev, BLK_F_RO))
		return S_IOERR;
	switch (h->type) {
	case T_IN:
	case T_OUT: return transfer(q, h->sector);
	case T_DISCARD:
	case T_WRITE_ZEROES: return ranges(q);
	case T_GET_ID: return get_id(q);
	case T_FLUSH:
		q->r.op = BLOCK_FLUSH;
		q->r.flags = 0;
		q->r.offset = q->r.bytes = 0;
		q->r.iov = NULL;
		q->r.iovs = 0;
		disk_submit(q->blk->disk, &q->r);
		return -EINPROGRESS;
	default: return S_UNSUPP;
	}
}

static struct blk_request *get_request(struct virtio_blk *b)
{
	struct blk_request *q = b->free;

	if (q) {
		b->free = q->next;
		return q;
	}
	q = calloc(1, sizeof(*q));
	if (!q)
		return NULL;
	q->blk = b;
	q->r.done = blk_done;
	return q;
}

static void begin_chain(struct virtio_blk *b, struct blk_request *q, unsigned n)
{
	struct header h;
	int status;

	q->queue = n;
	q->ranges = q->range_at = 0;
	if (!q->e.in_len || virtq_read(&b->dev.queue[n], &q->e, 0, &h, sizeof(h))) {
		/* No header or no place for the status: there is no request to answer. */
		virtio_needs_reset(&b->dev);
		virtio_push(&b->dev, n, &q->e, 0);
		q->next = b->free;
		b->free = q;
		return;
	}
	q->type = h.type;
	status = begin(q, &h);
	if (status != -EINPROGRESS)
		finish(q, (uint8_t)status);
}

static enum virtio_queue_result blk_queue(void *model, unsigned n)
{
	struct virtio_blk *b = model;

	b->inside = true;
	disk_plug(b->disk);
	for (;;) {
		struct blk_request *q = get_request(b);

		if (!q)
			break;
		if (!virtio_pop(&b->dev, n, &q->e)) {
			q->next = b->free;
			b->free = q;
			break;
		}
		begin_chain(b, q, n);
	}
	disk_unplug(b->disk);
	b->inside = false;
	return VIRTIO_QUEUE_DONE;
}

static void blk_reset(void *model)
{
}

static const struct virtio_model_ops model_ops = { .id = VIRTIO_ID_BLK, .queue = blk_queue, .reset = blk_reset };

/* --- state --- */

static int blk_loaded(void *chip)
{
	struct virtio_blk *b = chip;

	return b->saved_capacity == b->capacity ? 0 : -EPROTO;
}

static const struct state_field fields[] = { STATE_UINT(struct virtio_blk, saved_capacity), STATE_END };
static const struct state_class class = { "virtio-blk", 1, fields };
const struct chip_ops virtio_blk_ops = { .state = &class, .loaded = blk_loaded };

/* --- building --- */

static void set_config(struct virtio_blk *b, const struct disk_info *info, unsigned queues)
{
	struct virtio_device *dev = &b->dev;
	unsigned logical = info->logical_block ? info->logical_block : BLOCK_SECTOR;
	unsigned physical = info->physical_block > logical ? info->physical_block : logical;
	uint64_t granularity = info->discard_granularity > logical ? info->discard_granularity : logical;

	virtio_config_set(dev, CAPACITY, 8, b->capacity, false);
	virtio_config_set(dev, SEG_MAX, 4, SEGMENTS, false);
	virtio_config_set(dev, BLK_SIZE, 4, logical, false);
	virtio_config_set(dev, PHYSICAL_BLOCK_EXP, 1, (unsigned)__builtin_ctz(physical / logical), false);
	virtio_config_set(dev, MIN_IO_SIZE, 2, physical / logical, false);
	virtio_config_set(dev, WRITEBACK, 1, 1, true);
	virtio_config_set(dev, NUM_QUEUES, 2, queues, false);
	virtio_config_set(dev, MAX_DISCARD_SECTORS, 4, RANGE_SECTORS, false);
	virtio_config_set(dev, MAX_DISCARD_SEG, 4, RANGES_MAX, false);
	virtio_config_set(dev, DISCARD_SECTOR_ALIGNMENT, 4, granularity / BLOCK_SECTOR, false);
	virtio_config_set(dev, MAX_WRITE_ZEROES_SECTORS, 4, RANGE_SECTORS, false);
	virtio_config_set(dev, MAX_WRITE_ZEROES_SEG, 4, RANGES_MAX, false);
	virtio_config_set(dev, WRITE_ZEROES_MAY_UNMAP, 1, info->can_discard, false);
}

int virtio_blk_create(struct ram *ram, struct loop *loop, struct disk *disk, const char *serial, unsigned queues,
		      struct virtio_blk **out)
{
	const struct disk_info *info = disk_info(disk);
	struct virtio_blk *b = calloc(1, sizeof(*b));
	struct virtio_device_config config = {
		.ops = &model_ops,
		.model = b,
		.ram = ram,
		.loop = loop,
		.features = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH | BLK_F_TOPOLOGY | BLK_F_CONFIG_WCE |
			    (queues > 1 ? BLK_F_MQ : 0),
		.queues = queues,
		.queue_size = QUEUE_SIZE,
		.config_size = CONFIG_SIZE,
	};
	int ret;

	if (!b)
		return -ENOMEM;
	config.features |= info->readonly ? BLK_F_RO : BLK_F_WRITE_ZEROES | (info->can_discard ? BLK_F_DISCARD : 0);
	ret = queues && queues <= QUEUES_MAX ? virtio_device_init(&b->dev, &config) : -EINVAL;
	if (ret) {
		free(b);
		return ret;
	}
	b->disk = disk;
	b->capacity = b->saved_capacity = info->bytes / BLOCK_SECTOR;
	memcpy(b->serial, serial, strnlen(serial, VIRTIO_BLK_SERIAL));
	set_config(b, info, queues);
	*out = b;
	return 0;
}

void virtio_blk_destroy(struct virtio_blk *b)
{
	if (!b)
		return;
	virtio_device_destroy(&b->dev);
	while (b->free) {
		struct blk_request *q = b->free;

		b->free = q->next;
		virtq_element_free(&q->e);
		virtq_iov_free(&q->v);
		free(q);
	}
	free(b);
}
