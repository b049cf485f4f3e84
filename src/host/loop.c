// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The event loop over epoll(7), with one timerfd(2) for the alarm and one eventfd(2) for wakes.
 *
 * Invariants:
 *  - epoll is given a watch's serial number, never a pointer: an event whose watch has gone, even
 *    in the middle of the batch in which the event came, finds nothing and is dropped. Serial
 *    numbers are not used twice, so that a descriptor that was closed and opened again in between
 *    does not get its predecessor's event.
 *  - A watch that wants no events is not in the epoll set, since epoll tells hang-ups even when
 *    asked for nothing.
 *  - Descriptors that epoll refuses with EPERM (regular files, /dev/null) are always ready, as
 *    poll(2) has it.
 *  - What is posted runs in the order of posting, without post_lock held.
 */
#include "host/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32 };

/* Serial numbers of what the loop itself watches. */
enum { SERIAL_WAKE = 0, SERIAL_ALARM = 1, SERIAL_FIRST = 2 };

struct watch {
	uint64_t serial;
	int fd;
	uint32_t events;
	bool in_epoll;
	bool always; /* epoll cannot watch it: ready whenever it is asked */
	loop_fd_fn *fn;
	void *opaque;
	struct watch *next;
};

struct post {
	loop_fn *fn;
	void *opaque;
	struct post *next;
};

struct loop {
	int epoll, timer, event;
	struct watch *watches;
	uint64_t next_serial;
	loop_fn *alarm_fn, *wake_fn;
	void *alarm_opaque, *wake_opaque;
	_Atomic bool woken, stopping;
	pthread_mutex_t post_lock; /* guards posts and posts_end */
	struct post *posts, **posts_end;
};

static int add_own(struct loop *loop, int fd, uint64_t serial)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = serial};

	return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

int loop_create(struct loop **out)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int ret;

	if (!loop)
		return -ENOMEM;
	pthread_mutex_init(&loop->post_lock, NULL);
	loop->posts_end = &loop->posts;
	loop->next_serial = SERIAL_FIRST;
	loop->timer = loop->event = -1;
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0)
		goto fail_errno;
	loop->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (loop->timer < 0)
		goto fail_errno;
	loop->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop->event < 0)
		goto fail_errno;
	ret = add_own(loop, loop->event, SERIAL_WAKE);
	if (!ret)
		ret = add_own(loop, loop->timer, SERIAL_ALARM);
	if (ret)
		goto fail;
	*out = loop;
	return 0;

fail_errno:
	ret = -errno;
fail:
	loop_destroy(loop);
	return ret;
}

void loop_destroy(struct loop *loop)
{
	if (!loop)
		return;
	while (loop->watches) {
		struct watch *w = loop->watches;

		loop->watches = w->next;
		free(w);
	}
	while (loop->posts) {
		struct post *p = loop->posts;

		loop->posts = p->next;
		free(p);
	}
	pthread_mutex_destroy(&loop->post_lock);
	if (loop->event >= 0)
		close(loop->event);
	if (loop->timer >= 0)
		close(loop->timer);
	if (loop->epoll >= 0)
		close(loop->epoll);
	free(loop);
}

static struct watch *find_fd(struct loop *loop, int fd)
{
	for (struct watch *w = loop->watches; w; w = w->next)
		if (w->fd == fd)
			return w;
	return NULL;
}

static struct watch *find_serial(struct loop *loop, uint64_t serial)
{
	for (struct watch *w = loop->watches; w; w = w->next)
		if (w->serial == serial)
			return w;
	return NULL;
}

/* Brings the epoll set in line with w->events. */
static int sync_watch(struct loop *loop, struct watch *w)
{
	struct epoll_event ev = {.events = w->events, .data.u64 = w->serial};
	int op = w->in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (w->always || (!w->events && !w->in_epoll))
		return 0;
	if (!w->events)
		op = EPOLL_CTL_DEL;
	if (epoll_ctl(loop->epoll, op, w->fd, &ev) == 0) {
		w->in_epoll = op != EPOLL_CTL_DEL;
		return 0;
	}
	if (errno == EPERM && op == EPOLL_CTL_ADD) {
		w->always = true;
		return 0;
	}
	return -errno;
}

int loop_watch(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn, void *opaque)
{
	struct watch *w;
	int ret;

	if (find_fd(loop, fd))
		return -EEXIST;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = (struct watch){
		.serial = loop->next_serial++, .fd = fd, .events = events, .fn = fn, .opaque = opaque};
	ret = sync_watch(loop, w);
	if (ret) {
		free(w);
		return ret;
	}
	w->next = loop->watches;
	loop->watches = w;
	return 0;
}

int loop_change(struct loop *loop, int fd, uint32_t events)
{
	struct watch *w = find_fd(loop, fd);
	uint32_t old;
	int ret;

	if (!w)
		return -ENOENT;
	old = w->events;
	w->events = events;
	ret = sync_watch(loop, w);
	if (ret)
		w->events = old;
	return ret;
}

void loop_unwatch(struct loop *loop, int fd)
{
	for (struct watch **p = &loop->watches; *p; p = &(*p)->next) {
		struct watch *w = *p;

		if (w->fd != fd)
			continue;
		if (w->in_epoll)
			epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
		*p = w->next;
		free(w);
		return;
	}
}

void loop_set_alarm_fn(struct loop *loop, loop_fn *fn, void *opaque)
{
	loop->alarm_fn = fn;
	loop->alarm_opaque = opaque;
}

void loop_alarm(struct loop *loop, uint64_t deadline_ns)
{
	struct itimerspec t = {0};

	/* An all-zero it_value disarms; a deadline of 0 is long past instead. */
	if (deadline_ns == 0)
		deadline_ns = 1;
	if (deadline_ns != UINT64_MAX) {
		t.it_value.tv_sec = (time_t)(deadline_ns / 1000000000u);
		t.it_value.tv_nsec = (long)(deadline_ns % 1000000000u);
	}
	timerfd_settime(loop->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

void loop_set_wake_fn(struct loop *loop, loop_fn *fn, void *opaque)
{
	loop->wake_fn = fn;
	loop->wake_opaque = opaque;
}

/* Makes epoll_wait return. EAGAIN means that the counter is full: then it returns anyway. */
static void signal_loop(struct loop *loop)
{
	int saved = errno;
	uint64_t one = 1;
	ssize_t n;

	do
		n = write(loop->event, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
	errno = saved;
}

void loop_wake(struct loop *loop)
{
	/* A wake that is pending already brings this one along. */
	if (!atomic_exchange(&loop->woken, true))
		signal_loop(loop);
}

int loop_post(struct loop *loop, loop_fn *fn, void *opaque)
{
	struct post *p = malloc(sizeof(*p));
	bool first;

	if (!p)
		return -ENOMEM;
	*p = (struct post){.fn = fn, .opaque = opaque};
	pthread_mutex_lock(&loop->post_lock);
	first = !loop->posts;
	*loop->posts_end = p;
	loop->posts_end = &p->next;
	pthread_mutex_unlock(&loop->post_lock);
	if (first)
		signal_loop(loop);
	return 0;
}

static void run_posts(struct loop *loop)
{
	struct post *p, *next;

	pthread_mutex_lock(&loop->post_lock);
	p = loop->posts;
	loop->posts = NULL;
	loop->posts_end = &loop->posts;
	pthread_mutex_unlock(&loop->post_lock);
	for (; p; p = next) {
		next = p->next;
		p->fn(p->opaque);
		free(p);
	}
}

void loop_stop(struct loop *loop)
{
	atomic_store(&loop->stopping, true);
	signal_loop(loop);
}

static void dispatch(struct loop *loop, const struct epoll_event *ev)
{
	struct watch *w;
	uint64_t n;

	switch (ev->data.u64) {
	case SERIAL_WAKE:
		if (read(loop->event, &n, sizeof(n)) < 0) {
			/* EAGAIN: somebody else's batch took it; woken still tells. */
		}
		run_posts(loop);
		if (atomic_exchange(&loop->woken, false) && loop->wake_fn)
			loop->wake_fn(loop->wake_opaque);
		return;
	case SERIAL_ALARM:
		/* It fails with EAGAIN when the alarm was set anew after it had expired: the newest call
		 * wins. */
		if (read(loop->timer, &n, sizeof(n)) == sizeof(n) && loop->alarm_fn)
			loop->alarm_fn(loop->alarm_opaque);
		return;
	default:
		w = find_serial(loop, ev->data.u64);
		/* An earlier callback of the batch may have changed what is asked for. */
		if (w && w->events && ev->events & (w->events | EPOLLERR | EPOLLHUP))
			w->fn(w->opaque, w->fd, ev->events & (w->events | EPOLLERR | EPOLLHUP));
	}
}

/* Is there a watch that is always ready? */
static bool any_always(const struct loop *loop)
{
	for (const struct watch *w = loop->watches; w; w = w->next)
		if (w->always && (w->events & (EPOLLIN | EPOLLOUT)))
			return true;
	return false;
}

/*
 * Calls those that are always ready, each once. Callbacks may change the list, so each step looks
 * for the lowest serial number that comes after the last one; new watches wait for the next round.
 */
static void dispatch_always(struct loop *loop)
{
	uint64_t last = 0, end = loop->next_serial;

	for (;;) {
		struct watch *next = NULL;

		for (struct watch *w = loop->watches; w; w = w->next)
			if (w->always && (w->events & (EPOLLIN | EPOLLOUT)) && w->serial > last &&
			    w->serial < end && (!next || w->serial < next->serial))
				next = w;
		if (!next)
			return;
		last = next->serial;
		next->fn(next->opaque, next->fd, next->events & (EPOLLIN | EPOLLOUT));
	}
}

int loop_run(struct loop *loop)
{
	struct epoll_event ev[BATCH];

	while (!atomic_exchange(&loop->stopping, false)) {
		bool always = any_always(loop);
		int n = epoll_wait(loop->epoll, ev, BATCH, always ? 0 : -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		/* A stop in the middle does not cut the batch short: edge-triggered events would be lost. */
		for (int i = 0; i < n; i++)
			dispatch(loop, &ev[i]);
		if (always)
			dispatch_always(loop);
	}
	return 0;
}

uint64_t host_monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
