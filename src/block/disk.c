// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A disk: requests on their way between a device model and an image.
 *
 *	submit -> [limits] -> ready -> quick: pieces straight to the file, many at a time
 *	                            -> slow:  whole requests, on a helper thread that owns the image meanwhile
 *
 * A request is quick when finding out what it means for the file takes no I/O and changes no metadata: reads and writes of
 * what is allocated, flushes when no metadata waits. Everything else about a format with metadata is slow. Requests of
 * formats without metadata (raw) never wait for each other.
 *
 * Invariants:
 *  - The image belongs to the loop's thread, except while `owned` is set: then to the helper thread that runs slow_call, and
 *    nothing quick is in flight.
 *  - Once a slow request waits, what comes after it waits as well, so that it gets its turn.
 *  - A flush is quick only if no metadata is dirty; metadata gets dirty only in slow requests.
 *  - Every request ends in finish(), on the loop's thread, from a completion of aio.
 */
#include "block/image.h"
#include "block/limit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct queue {
	struct block_request *first, **end;
};

struct disk {
	struct loop *loop;
	struct aio *aio;
	struct image *img;
	struct disk_info info;
	struct limiter limits;
	bool limited, writethrough, overlay;
	bool draining; /* limits do not hold */
	int timer;
	bool timer_set;
	struct queue throttled; /* for the limits' sake */
	struct queue ready;	/* wait for the image */
	unsigned quick;		/* requests in flight whose pieces go to the file */
	unsigned unfinished;	/* submitted and not done */
	bool owned;
	struct aio_request slow;
	struct queue batch; /* the slow requests that the helper thread works on */
	struct queue over;  /* those that it has done */
};

static void queue_init(struct queue *q)
{
	q->first = NULL;
	q->end = &q->first;
}

static void queue_add(struct queue *q, struct block_request *r)
{
	r->next = NULL;
	*q->end = r;
	q->end = &r->next;
}

static struct block_request *queue_take(struct queue *q)
{
	struct block_request *r = q->first;

	if (r) {
		q->first = r->next;
		if (!q->first)
			q->end = &q->first;
	}
	return r;
}

static void run_ready(struct disk *d);

static void finish(struct block_request *r, int error)
{
	r->disk->unfinished--;
	r->done(r, error);
}

/* --- what ends at once --- */

static void result_done(struct aio_request *a, int error)
{
	struct block_request *r = (struct block_request *)((char *)a - offsetof(struct block_request, part.aio));

	finish(r, error);
}

static void finish_later(struct disk *d, struct block_request *r, int error)
{
	r->part.aio = (struct aio_request){.op = AIO_RESULT, .error = error, .done = result_done};
	aio_submit(d->aio, &r->part.aio);
}

/* --- quick: pieces that go to files --- */

static bool wants_sync(const struct disk *d, const struct block_request *r)
{
	return (r->op == BLOCK_WRITE || r->op == BLOCK_WRITE_ZEROES) && (d->writethrough || r->flags & BLOCK_FUA);
}

static void part_done(struct aio_request *a, int error)
{
	struct block_part *part = (struct block_part *)((char *)a - offsetof(struct block_part, aio));
	struct block_request *r = part->request;
	struct disk *d = r->disk;

	if (error && !r->error)
		r->error = error;
	free(part->iov);
	if (part != &r->part)
		free(part);
	if (--r->parts)
		return;
	d->quick--;
	finish(r, r->error);
	if (!d->quick)
		run_ready(d);
}

/* A piece of @r: @bytes of its iovecs from @at on. NULL without memory. */
static struct block_part *new_part(struct block_request *r, size_t at, size_t bytes)
{
	struct block_part *part = &r->part;
	size_t got;

	if (r->parts > 1) {
		part = calloc(1, sizeof(*part));
		if (!part)
			return NULL;
	}
	part->request = r;
	part->iov = NULL;
	part->aio = (struct aio_request){.iov = r->iov, .iovs = r->iovs, .done = part_done};
	if (at || bytes < r->bytes) {
		part->iov = calloc(r->iovs, sizeof(*part->iov));
		if (!part->iov) {
			if (part != &r->part)
				free(part);
			return NULL;
		}
		part->aio.iov = part->iov;
		part->aio.iovs = iov_slice(r->iov, r->iovs, at, bytes, part->iov, r->iovs, &got);
	}
	return part;
}

/* May the whole of @r be done without I/O for metadata, and without changes to them? */
static bool is_quick(struct disk *d, const struct block_request *r)
{
	uint64_t at = 0;

	if (r->op == BLOCK_FLUSH)
		return !d->img->ops->dirty(d->img);
	if (r->op != BLOCK_READ && r->op != BLOCK_WRITE)
		return false;
	if (r->op == BLOCK_WRITE && image_is_guarded(d->img, r->offset))
		return false;
	if (r->op == BLOCK_WRITE && !d->img->independent && wants_sync(d, r) && d->img->ops->dirty(d->img))
		return false;
	while (at < r->bytes) {
		struct image *in;
		struct extent e;

		if (image_map(d->img, r->offset + at, r->bytes - at, false, &e, &in) || e.kind == EXTENT_COMPRESSED)
			return false;
		if (r->op == BLOCK_WRITE && (in != d->img || e.kind != EXTENT_DATA || !e.writable))
			return false;
		at += e.bytes;
	}
	return true;
}

static void submit_part(struct disk *d, struct block_part *part, struct image *in, uint64_t host)
{
	struct block_request *r = part->request;

	part->aio.op = r->op == BLOCK_READ ? AIO_READ : AIO_WRITE;
	part->aio.fd = in->fd;
	part->aio.offset = host;
	part->aio.dsync = wants_sync(d, r);
	aio_submit(d->aio, &part->aio);
}

static void run_quick(struct disk *d, struct block_request *r)
{
	uint64_t at = 0;

	d->quick++;
	r->error = 0;
	r->parts = 1; /* its own, until all pieces are on their way */
	if (r->op == BLOCK_FLUSH) {
		r->part = (struct block_part){.request = r, .aio = {.op = AIO_SYNC, .fd = d->img->fd, .done = part_done}};
		aio_submit(d->aio, &r->part.aio);
		return;
	}
	while (at < r->bytes && !r->error) {
		struct block_part *part;
		struct image *in;
		struct extent e;

		r->error = image_map(d->img, r->offset + at, r->bytes - at, false, &e, &in);
		if (r->error)
			break;
		if (e.kind == EXTENT_ZERO) {
			iov_zero(r->iov, r->iovs, (size_t)at, (size_t)e.bytes);
		} else if (e.bytes == r->bytes) {
			submit_part(d, new_part(r, 0, (size_t)e.bytes), in, e.host);
			return;
		} else {
			r->parts++;
			part = new_part(r, (size_t)at, (size_t)e.bytes);
			if (!part) {
				r->parts--;
				r->error = -ENOMEM;
				break;
			}
			submit_part(d, part, in, e.host);
		}
		at += e.bytes;
	}
	/* The request's own part, which had nothing to do. */
	r->part = (struct block_part){.request = r, .aio = {.op = AIO_RESULT, .error = r->error, .done = part_done}};
	aio_submit(d->aio, &r->part.aio);
}

/* --- slow: whole requests on a helper thread --- */

static int perform(struct disk *d, struct block_request *r)
{
	struct image *img = d->img;
	int ret;

	switch (r->op) {
	case BLOCK_READ: return image_read(img, r->offset, r->iov, r->iovs);
	case BLOCK_WRITE: ret = image_write(img, r->offset, r->iov, r->iovs); break;
	case BLOCK_FLUSH: return image_flush(img);
	case BLOCK_DISCARD: return image_discard(img, r->offset, r->bytes);
	case BLOCK_WRITE_ZEROES: ret = image_zero(img, r->offset, r->bytes, r->flags & BLOCK_UNMAP); break;
	default: return -EINVAL;
	}
	return !ret && wants_sync(d, r) ? image_flush(img) : ret;
}

/* On a helper thread: all that waited, in order. */
static int slow_call(struct aio_request *a)
{
	struct disk *d = (struct disk *)((char *)a - offsetof(struct disk, slow));

	for (struct block_request *r = d->batch.first; r; r = r->next)
		r->error = perform(d, r);
	return 0;
}

static bool finish_over(struct disk *d)
{
	struct block_request *r;
	bool any = false;

	while ((r = queue_take(&d->over))) {
		any = true;
		finish(r, r->error);
	}
	return any;
}

static void slow_done(struct aio_request *a, int error)
{
	struct disk *d = (struct disk *)((char *)a - offsetof(struct disk, slow));

	/* No thread could be had. */
	for (struct block_request *r = d->batch.first; error && r; r = r->next)
		r->error = error;
	/* The image is the loop's again before anybody is told. A new batch may begin, and end, before this one is told of. */
	*d->over.end = d->batch.first;
	d->over.end = d->batch.end;
	queue_init(&d->batch);
	d->owned = false;
	finish_over(d);
	run_ready(d);
}

static int independent_call(struct aio_request *a)
{
	struct block_request *r = (struct block_request *)((char *)a - offsetof(struct block_request, part.aio));

	return perform(r->disk, r);
}

/* Starts what may be started. */
static void run_ready(struct disk *d)
{
	aio_plug(d->aio);
	while (d->ready.first && !d->owned) {
		struct block_request *r = d->ready.first;

		if (is_quick(d, r)) {
			run_quick(d, queue_take(&d->ready));
		} else if (d->img->independent) {
			queue_take(&d->ready);
			r->part.aio = (struct aio_request){.op = AIO_CALL, .call = independent_call, .done = result_done};
			aio_submit(d->aio, &r->part.aio);
		} else {
			if (d->quick)
				break;
			/* What follows goes along: it would wait anyway. */
			d->batch.first = d->ready.first;
			d->batch.end = d->ready.end;
			queue_init(&d->ready);
			d->owned = true;
			d->slow = (struct aio_request){.op = AIO_CALL, .call = slow_call, .done = slow_done};
			aio_submit(d->aio, &d->slow);
		}
	}
	aio_unplug(d->aio, false);
}

/* --- limits --- */

static void set_timer(struct disk *d, uint64_t deadline_ns)
{
	struct itimerspec t = {.it_value = {(time_t)(deadline_ns / 1000000000), (long)(deadline_ns % 1000000000)}};

	d->timer_set = true;
	timerfd_settime(d->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

/* Lets through what the limits allow. */
static void run_throttled(struct disk *d)
{
	while (d->throttled.first) {
		struct block_request *r = d->throttled.first;
		uint64_t when = 0;

		if (d->limited && !d->draining && r->op != BLOCK_FLUSH)
			when = limiter_take(&d->limits, r->op == BLOCK_READ || r->op == BLOCK_WRITE ? r->bytes : 0, host_monotonic_ns());
		if (when) {
			set_timer(d, when);
			return;
		}
		queue_add(&d->ready, queue_take(&d->throttled));
	}
}

static void timer_ready(void *opaque, int fd, uint32_t events)
{
	struct disk *d = opaque;
	uint64_t n;

	if (read(fd, &n, sizeof(n)) != sizeof(n))
		return;
	d->timer_set = false;
	run_throttled(d);
	run_ready(d);
}

void disk_set_limits(struct disk *d, const struct disk_limits *limits)
{
	limiter_init(&d->limits, limits->ops, limits->bytes, host_monotonic_ns());
	d->limited = limits->ops || limits->bytes;
	run_throttled(d);
	run_ready(d);
}

/* --- the interface --- */

static int check(const struct disk *d, const struct block_request *r)
{
	if (r->op == BLOCK_FLUSH)
		return 0;
	if (r->op > BLOCK_WRITE_ZEROES || (r->offset | r->bytes) % BLOCK_SECTOR || r->offset > d->info.bytes ||
	    r->bytes > d->info.bytes - r->offset)
		return -EINVAL;
	if (r->op != BLOCK_READ && d->info.readonly)
		return -EROFS;
	if (r->op == BLOCK_READ || r->op == BLOCK_WRITE)
		return iov_bytes(r->iov, r->iovs) == r->bytes ? 0 : -EINVAL;
	return 0;
}

void disk_submit(struct disk *d, struct block_request *r)
{
	int ret = check(d, r);

	r->disk = d;
	d->unfinished++;
	if (ret || (!r->bytes && r->op != BLOCK_FLUSH)) {
		finish_later(d, r, ret);
		return;
	}
	queue_add(&d->throttled, r);
	if (!d->timer_set || d->draining)
		run_throttled(d);
	run_ready(d);
}

void disk_plug(struct disk *d)
{
	aio_plug(d->aio);
}

void disk_unplug(struct disk *d)
{
	aio_unplug(d->aio, true);
}

void disk_drain(struct disk *d)
{
	d->draining = true;
	run_throttled(d);
	run_ready(d);
	while (d->unfinished && (finish_over(d) || aio_wait(d->aio)))
		;
	d->draining = false;
}

const struct disk_info *disk_info(const struct disk *d)
{
	return &d->info;
}

static int open_image(struct disk *d, const struct disk_config *config, struct error *err)
{
	struct image_options o = {
		.path = config->path,
		.format = config->format,
		.readonly = config->readonly || config->overlay,
		.no_lock = config->no_lock,
		.grow = config->bytes,
	};
	int ret = image_open(&o, &d->img, err);

	if (!ret && config->overlay && !config->readonly)
		ret = image_overlay(d->img, &d->img, err);
	return ret;
}

int disk_open(const struct disk_config *config, struct loop *loop, struct disk **out, struct error *err)
{
	struct disk *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return image_error(err, -ENOMEM, "open the disk image", config->path);
	d->loop = loop;
	d->timer = -1;
	queue_init(&d->throttled);
	queue_init(&d->ready);
	queue_init(&d->batch);
	queue_init(&d->over);
	d->overlay = config->overlay;
	d->writethrough = config->cache == DISK_WRITETHROUGH;
	ret = open_image(d, config, err);
	if (ret)
		goto fail;
	ret = aio_create(loop, config->aio, &d->aio);
	if (!ret) {
		d->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		ret = d->timer < 0 ? -errno : loop_watch(loop, d->timer, EPOLLIN, timer_ready, d);
	}
	if (ret) {
		image_error(err, ret, "set up I/O for the disk image", config->path);
		goto fail;
	}
	d->info = (struct disk_info){
		.path = d->img->path,
		.format = d->img->ops->name,
		.bytes = d->img->bytes,
		.logical_block = d->img->logical_block,
		.physical_block = d->img->physical_block,
		.readonly = d->img->readonly,
		.can_discard = d->img->can_discard,
		.discard_granularity = d->img->granularity,
	};
	disk_set_limits(d, &config->limits);
	*out = d;
	return 0;

fail:
	disk_close(d);
	return ret;
}

void disk_close(struct disk *d)
{
	if (!d)
		return;
	if (d->aio)
		disk_drain(d);
	/* Of a temporary file nothing has to be kept. */
	if (d->img && !d->img->readonly && !d->overlay)
		image_flush(d->img);
	image_close(d->img);
	aio_destroy(d->aio);
	if (d->timer >= 0) {
		loop_unwatch(d->loop, d->timer);
		close(d->timer);
	}
	free(d);
}
