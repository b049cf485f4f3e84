// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * File I/O off the loop's thread.
 *
 * One eventfd, watched by the loop, says that something is done: helper threads and the ring both signal it. While
 * the loop's own thread hands requests to the ring, the ring is told not to, for it finds what was done at once anyway
 * (reads from the page cache for the most part).
 *
 * Invariants:
 *  - in_flight counts what was submitted and whose done was not yet called.
 *  - done is called by reap() alone, which is entered from the loop, aio_unplug if asked for, and aio_wait, never from aio_submit.
 *  - pool.lock guards the two lists and the threads' state; nothing is called with it held.
 *  - No more than RING_ENTRIES requests are in the ring, so that its completion queue (twice as long) never overflows; others wait in `later`.
 */
#include "host/aio.h"
#include "host/file.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { RING_ENTRIES = 256, POOL_THREADS = 8, REST = sizeof(((struct aio_request *)0)->rest) / sizeof(struct iovec) };

struct list {
	struct aio_request *first, **end;
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work, done_cond;
	struct list todo, done;
	unsigned threads, idle;
	bool stopping;
	pthread_t thread[POOL_THREADS];
};

struct aio {
	struct loop *loop;
	int event;
	bool uring;
	struct io_uring ring;
	unsigned in_ring, in_flight, plugs;
	bool unsubmitted;
	struct list later;   /* waits for room in the ring */
	struct list results; /* AIO_RESULT, and what failed at once */
	struct list over;    /* done is about to be called */
	struct pool pool;
};

static void list_init(struct list *l)
{
	l->first = NULL;
	l->end = &l->first;
}

static void list_add(struct list *l, struct aio_request *r)
{
	r->next = NULL;
	*l->end = r;
	l->end = &r->next;
}

static struct aio_request *list_take(struct list *l)
{
	struct aio_request *r = l->first;

	if (r) {
		l->first = r->next;
		if (!l->first)
			l->end = &l->first;
	}
	return r;
}

/* --- helper threads --- */

static int perform(struct aio_request *r)
{
	switch (r->op) {
	case AIO_READ: return file_readv(r->fd, r->offset, r->iov, r->iovs);
	case AIO_WRITE: return file_writev(r->fd, r->offset, r->iov, r->iovs, r->dsync);
	case AIO_SYNC: return file_sync(r->fd);
	case AIO_CALL: return r->call(r);
	default: return r->error;
	}
}

static void signal_event(struct aio *aio)
{
	/* It fails only when the counter is full, and then it is readable anyway. */
	eventfd_write(aio->event, 1);
}

static void *pool_main(void *opaque)
{
	struct aio *aio = opaque;
	struct pool *p = &aio->pool;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct aio_request *r = list_take(&p->todo);
		bool first;

		if (!r && p->stopping)
			break;
		if (!r) {
			p->idle++;
			pthread_cond_wait(&p->work, &p->lock);
			p->idle--;
			continue;
		}
		pthread_mutex_unlock(&p->lock);
		r->error = perform(r);
		pthread_mutex_lock(&p->lock);
		first = !p->done.first;
		list_add(&p->done, r);
		pthread_cond_signal(&p->done_cond);
		if (first)
			signal_event(aio);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* With the lock held. Without a first thread there is nobody to do the work. */
static bool pool_grow(struct aio *aio)
{
	struct pool *p = &aio->pool;
	sigset_t all, old;
	int ret;

	if (p->idle || p->threads == POOL_THREADS)
		return true;
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&p->thread[p->threads], NULL, pool_main, aio);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!ret)
		p->threads++;
	return p->threads > 0;
}

static void pool_submit(struct aio *aio, struct aio_request *r)
{
	struct pool *p = &aio->pool;

	pthread_mutex_lock(&p->lock);
	if (pool_grow(aio)) {
		list_add(&p->todo, r);
		pthread_cond_signal(&p->work);
	} else {
		r->error = -EAGAIN;
		list_add(&p->done, r);
		signal_event(aio);
	}
	pthread_mutex_unlock(&p->lock);
}

/* --- io_uring --- */

/* Puts what is left of @r into the ring, in which there is room. */
static void ring_put(struct aio *aio, struct aio_request *r)
{
	struct io_uring_sqe *sqe;
	size_t left = r->bytes - r->at, got = left;
	const struct iovec *iov = r->iov;
	unsigned iovs = r->iovs;

	if (r->op != AIO_SYNC && file_calls->uring) {
		ssize_t n = file_calls->uring(r->fd, r->op == AIO_WRITE, (off_t)(r->offset + r->at), left);

		if (n < 0) {
			r->error = (int)n;
			list_add(&aio->results, r);
			signal_event(aio);
			return;
		}
		left = (size_t)n < left ? (size_t)n : left;
	}
	if (r->op != AIO_SYNC && (r->at || iovs > 1024 || left < got)) {
		iovs = iov_slice(iov, iovs, r->at, left, r->rest, REST, &got);
		iov = r->rest;
	}
	sqe = io_uring_get_sqe(&aio->ring);
	if (!sqe) {
		io_uring_submit(&aio->ring);
		sqe = io_uring_get_sqe(&aio->ring);
	}
	if (!sqe) {
		list_add(&aio->later, r);
		return;
	}
	if (r->op == AIO_SYNC)
		io_uring_prep_fsync(sqe, r->fd, IORING_FSYNC_DATASYNC);
	else if (r->op == AIO_READ)
		io_uring_prep_readv(sqe, r->fd, iov, iovs, r->offset + r->at);
	else
		io_uring_prep_writev2(sqe, r->fd, iov, iovs, r->offset + r->at, r->dsync ? RWF_DSYNC : 0);
	io_uring_sqe_set_data(sqe, r);
	aio->in_ring++;
	aio->unsubmitted = true;
}

static void ring_fill(struct aio *aio)
{
	while (aio->later.first && aio->in_ring < RING_ENTRIES)
		ring_put(aio, list_take(&aio->later));
}

/* Hands over what is gathered. What the kernel cannot take now stays in the submission queue for the next time. */
static void ring_submit(struct aio *aio)
{
	if (!aio->unsubmitted)
		return;
	io_uring_cq_eventfd_toggle(&aio->ring, false);
	if (io_uring_submit(&aio->ring) >= 0 && !io_uring_sq_ready(&aio->ring))
		aio->unsubmitted = false;
	else
		signal_event(aio); /* the kernel has no memory now: again on the next round */
	io_uring_cq_eventfd_toggle(&aio->ring, true);
}

/* One completion. True: @r is over, with r->error. */
static bool ring_completed(struct aio_request *r, int result)
{
	if (result == -EINTR || result == -EAGAIN)
		return false;
	r->error = result < 0 ? result : 0;
	if (result < 0 || r->op == AIO_SYNC)
		return true;
	if (result == 0) {
		/* The end: of a file, or of a device that cannot grow. */
		if (r->op == AIO_WRITE)
			r->error = -ENOSPC;
		else
			iov_zero(r->iov, r->iovs, r->at, r->bytes - r->at);
		return true;
	}
	r->at += (size_t)result;
	return r->at >= r->bytes;
}

static void ring_reap(struct aio *aio, struct list *over)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&aio->ring, &cqe) == 0) {
		struct aio_request *r = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&aio->ring, cqe);
		aio->in_ring--;
		list_add(ring_completed(r, result) ? over : &aio->later, r);
	}
}

/* --- both --- */

static bool reap(struct aio *aio)
{
	struct aio_request *r;
	bool any;

	while ((r = list_take(&aio->results)))
		list_add(&aio->over, r);
	pthread_mutex_lock(&aio->pool.lock);
	while ((r = list_take(&aio->pool.done)))
		list_add(&aio->over, r);
	pthread_mutex_unlock(&aio->pool.lock);
	if (aio->uring) {
		ring_reap(aio, &aio->over);
		ring_fill(aio);
		if (!aio->plugs)
			ring_submit(aio);
	}
	any = aio->over.first;
	/* What callbacks submit goes to the host together. */
	aio_plug(aio);
	while ((r = list_take(&aio->over))) {
		aio->in_flight--;
		r->done(r, r->error);
	}
	aio_unplug(aio, false);
	return any;
}

static void event_ready(void *opaque, int fd, uint32_t events)
{
	eventfd_t n;

	eventfd_read(fd, &n);
	reap(opaque);
}

static bool ring_create(struct aio *aio)
{
	struct io_uring_probe *probe;
	bool ok;

	if (io_uring_queue_init(RING_ENTRIES, &aio->ring, 0) < 0)
		return false;
	probe = io_uring_get_probe_ring(&aio->ring);
	ok = probe && io_uring_opcode_supported(probe, IORING_OP_READV) &&
	     io_uring_opcode_supported(probe, IORING_OP_WRITEV) && io_uring_opcode_supported(probe, IORING_OP_FSYNC);
	free(probe);
	if (ok && io_uring_register_eventfd(&aio->ring, aio->event) == 0)
		return true;
	io_uring_queue_exit(&aio->ring);
	return false;
}

int aio_create(struct loop *loop, enum aio_kind kind, struct aio **out)
{
	struct aio *aio = calloc(1, sizeof(*aio));
	int ret;

	if (!aio)
		return -ENOMEM;
	aio->loop = loop;
	list_init(&aio->later);
	list_init(&aio->results);
	list_init(&aio->over);
	list_init(&aio->pool.todo);
	list_init(&aio->pool.done);
	pthread_mutex_init(&aio->pool.lock, NULL);
	pthread_cond_init(&aio->pool.work, NULL);
	pthread_cond_init(&aio->pool.done_cond, NULL);
	aio->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (aio->event < 0) {
		ret = -errno;
		goto fail;
	}
	if (kind != AIO_THREADS)
		aio->uring = ring_create(aio);
	ret = -ENOSYS;
	if (kind == AIO_URING && !aio->uring)
		goto fail;
	ret = loop_watch(loop, aio->event, EPOLLIN, event_ready, aio);
	if (ret)
		goto fail;
	*out = aio;
	return 0;

fail:
	aio_destroy(aio);
	return ret;
}

void aio_destroy(struct aio *aio)
{
	struct pool *p;

	if (!aio)
		return;
	p = &aio->pool;
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->threads; i++)
		pthread_join(p->thread[i], NULL);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->done_cond);
	pthread_mutex_destroy(&p->lock);
	if (aio->event >= 0)
		loop_unwatch(aio->loop, aio->event);
	if (aio->uring)
		io_uring_queue_exit(&aio->ring);
	if (aio->event >= 0)
		close(aio->event);
	free(aio);
}

enum aio_kind aio_kind(const struct aio *aio)
{
	return aio->uring ? AIO_URING : AIO_THREADS;
}

void aio_submit(struct aio *aio, struct aio_request *r)
{
	aio->in_flight++;
	r->at = 0;
	r->bytes = r->op == AIO_READ || r->op == AIO_WRITE ? iov_bytes(r->iov, r->iovs) : 0;
	if (r->op == AIO_RESULT || (r->op <= AIO_WRITE && !r->bytes)) {
		if (r->op != AIO_RESULT)
			r->error = 0;
		list_add(&aio->results, r);
		signal_event(aio);
		return;
	}
	if (!aio->uring || r->op == AIO_CALL) {
		pool_submit(aio, r);
		return;
	}
	list_add(&aio->later, r);
	aio_plug(aio);
	ring_fill(aio);
	aio_unplug(aio, false);
}

void aio_plug(struct aio *aio)
{
	aio->plugs++;
}

void aio_unplug(struct aio *aio, bool now)
{
	if (--aio->plugs)
		return;
	if (aio->uring)
		ring_submit(aio);
	if (now)
		reap(aio);
	else if (aio->uring && io_uring_cq_ready(&aio->ring))
		signal_event(aio);
}

/* Waits for the eventfd, which every way of being done signals (the ring: unless it was found done at once). */
bool aio_wait(struct aio *aio)
{
	while (aio->in_flight) {
		struct pollfd wait = {.fd = aio->event, .events = POLLIN};
		eventfd_t n;

		/* From done, what was just submitted is still gathered: see reap. */
		if (aio->uring) {
			ring_fill(aio);
			ring_submit(aio);
		}
		if (reap(aio))
			return true;
		if (aio->unsubmitted || (aio->uring && io_uring_cq_ready(&aio->ring)))
			continue;
		if (poll(&wait, 1, -1) > 0)
			eventfd_read(aio->event, &n);
	}
	return false;
}
