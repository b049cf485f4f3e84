// SPDX-License-Identifier: GPL-2.0-or-later
/* The host's side of the serial port. See serial.h. */
#include "cmd/serial.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* --- output --- */

enum { RING_SIZE = 65536, WRITE_MAX = 4096 };

struct serial_out {
	int fd; /* -1: none */
	bool own_fd;
	char name[128]; /* for messages */
	pthread_t thread;
	bool started;
	void (*ready)(void *opaque);
	void (*failed)(void *opaque, const struct error *err);
	void *opaque;

	pthread_mutex_t lock; /* guards what follows; a leaf */
	pthread_cond_t work, drained;
	bool stop, dead; /* dead: writing failed */
	bool asleep;	 /* the writer waits for work */
	bool refused;	 /* put has said no since the last ready */
	bool gone;	 /* the writer has left */
	size_t head, len;
	uint8_t ring[RING_SIZE];
};

bool serial_is_stdio(const char *spec)
{
	return strcmp(spec, "stdio") == 0;
}

static int open_output(const char *spec, struct serial_out *out, struct error *err)
{
	const char *path;

	if (serial_is_stdio(spec)) {
		out->fd = STDOUT_FILENO;
		snprintf(out->name, sizeof(out->name), "standard output");
		return 0;
	}
	if (strcmp(spec, "none") == 0)
		return 0;
	if (strncmp(spec, "file:", 5) != 0 || !spec[5])
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot use '%s' for --serial", "it is no kind of serial port",
				 "write stdio, file:PATH or none", spec);
	path = spec + 5;
	out->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
	if (out->fd < 0)
		return error_set(err, -errno, STATUS_INPUT, "cannot write the serial port to %s", "%s",
				 "name a file that you may write", path, strerror(errno));
	out->own_fd = true;
	snprintf(out->name, sizeof(out->name), "%s", path);
	return 0;
}

int serial_out_create(const char *spec, struct serial_out **to, struct error *err)
{
	struct serial_out *out = calloc(1, sizeof(*out));
	int ret;

	if (!out)
		return error_set(err, -ENOMEM, STATUS_HOST, "cannot make the serial port", "the host has no memory left",
				 "end other programs");
	out->fd = -1;
	pthread_mutex_init(&out->lock, NULL);
	pthread_cond_init(&out->work, NULL);
	pthread_cond_init(&out->drained, NULL);
	ret = open_output(spec, out, err);
	if (ret) {
		serial_out_destroy(out);
		return ret;
	}
	*to = out;
	return 0;
}

static int put(void *opaque, uint8_t byte)
{
	struct serial_out *out = opaque;
	int taken = 1;

	pthread_mutex_lock(&out->lock);
	if (out->dead || out->fd < 0) {
		/* nobody will ever read it */
	} else if (out->len == RING_SIZE) {
		out->refused = true;
		taken = 0;
	} else {
		out->ring[(out->head + out->len++) % RING_SIZE] = byte;
		if (out->asleep)
			pthread_cond_signal(&out->work);
	}
	pthread_mutex_unlock(&out->lock);
	return taken;
}

struct chip_stream serial_out_stream(struct serial_out *out)
{
	return (struct chip_stream){ .put = out->fd < 0 ? NULL : put, .opaque = out };
}

/* Writes all of it, however long that takes. 0 or negative errno. */
static int write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);
		struct pollfd p = { .fd = fd, .events = POLLOUT };

		if (n >= 0) {
			bytes += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			poll(&p, 1, -1); /* whoever shares the descriptor made it non-blocking */
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static void tell_failed(struct serial_out *out, int err)
{
	struct error e;

	error_set(&e, err, err == -EPIPE ? STATUS_HOST : STATUS_INPUT, "cannot write the serial port to %s", "%s",
		  err == -EPIPE ? "keep the reader alive until the VM has ended" :
				  "make room, or name another file with --serial file:PATH",
		  out->name, strerror(-err));
	out->failed(out->opaque, &e);
}

/* From now on nothing is kept. Whoever flushes waits until the failure has been told. */
static void writer_failed(struct serial_out *out, int err)
{
	out->dead = true;
	if (out->stop)
		return; /* whoever would be told may be gone */
	pthread_mutex_unlock(&out->lock);
	tell_failed(out, err);
	pthread_mutex_lock(&out->lock);
}

static void *writer(void *arg)
{
	struct serial_out *out = arg;
	uint8_t part[WRITE_MAX];

	pthread_mutex_lock(&out->lock);
	for (;;) {
		size_t n;
		bool ready;
		int err;

		while (!out->len && !out->stop) {
			out->asleep = true;
			pthread_cond_wait(&out->work, &out->lock);
			out->asleep = false;
		}
		if (out->stop)
			break;
		n = out->len < WRITE_MAX ? out->len : WRITE_MAX;
		for (size_t i = 0; i < n; i++)
			part[i] = out->ring[(out->head + i) % RING_SIZE];
		pthread_mutex_unlock(&out->lock);
		err = write_all(out->fd, part, n);
		pthread_mutex_lock(&out->lock);
		if (err) {
			writer_failed(out, err);
			n = out->len;
		}
		/* Only now is there room: what is being written still counts as not flushed. */
		out->head = (out->head + n) % RING_SIZE;
		out->len -= n;
		ready = out->refused && out->len <= RING_SIZE / 2 && !out->stop;
		if (ready)
			out->refused = false;
		if (!out->len)
			pthread_cond_broadcast(&out->drained);
		pthread_mutex_unlock(&out->lock);
		if (ready)
			out->ready(out->opaque);
		pthread_mutex_lock(&out->lock);
	}
	out->gone = true;
	pthread_cond_broadcast(&out->drained);
	pthread_mutex_unlock(&out->lock);
	return NULL;
}

int serial_out_start(struct serial_out *out, void (*ready)(void *opaque),
		     void (*failed)(void *opaque, const struct error *err), void *opaque)
{
	sigset_t all, old;
	int err;

	out->ready = ready;
	out->failed = failed;
	out->opaque = opaque;
	if (out->fd < 0)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* handlers run on the main thread */
	err = pthread_create(&out->thread, NULL, writer, out);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -err;
	pthread_setname_np(out->thread, "serial");
	out->started = true;
	return 0;
}

static void wait_a_moment(struct serial_out *out)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 100000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&out->drained, &out->lock, &until);
}

void serial_out_flush(struct serial_out *out, bool (*give_up)(void *opaque), void *opaque)
{
	if (!out->started)
		return;
	pthread_mutex_lock(&out->lock);
	while (out->len && !give_up(opaque))
		wait_a_moment(out);
	pthread_mutex_unlock(&out->lock);
}

void serial_out_destroy(struct serial_out *out)
{
	bool gone;

	if (!out)
		return;
	if (out->started) {
		pthread_mutex_lock(&out->lock);
		out->stop = true;
		pthread_cond_broadcast(&out->work);
		for (int i = 0; i < 3 && !out->gone; i++)
			wait_a_moment(out);
		gone = out->gone;
		pthread_mutex_unlock(&out->lock);
		if (!gone) {
			/* Blocked in a write that nobody reads: it goes with the process. */
			pthread_detach(out->thread);
			return;
		}
		pthread_join(out->thread, NULL);
	}
	if (out->own_fd)
		close(out->fd);
	pthread_cond_destroy(&out->drained);
	pthread_cond_destroy(&out->work);
	pthread_mutex_destroy(&out->lock);
	free(out);
}

/* --- input --- */

enum { IN_SIZE = 4096 };
/* How long to wait before the chip is offered again what it did not take. */
#define RETRY_MIN_NS 1000000u
#define RETRY_MAX_NS 32000000u

struct serial_in {
	struct serial_in_config c;
	int timer;
	bool ended;
	uint64_t retry_ns;
	size_t len;
	uint8_t bytes[IN_SIZE];
};

static void set_retry(struct serial_in *in, uint64_t ns)
{
	struct itimerspec t = { .it_value.tv_nsec = (long)ns };

	timerfd_settime(in->timer, 0, &t, NULL);
}

/* Gives the chip what it takes, and comes back for the rest. */
static void offer(struct serial_in *in)
{
	size_t n = in->len ? in->c.take(in->c.opaque, in->bytes, in->len) : 0;

	if (n > in->len)
		n = in->len;
	if (n) {
		in->len -= n;
		memmove(in->bytes, in->bytes + n, in->len);
		in->retry_ns = RETRY_MIN_NS;
	} else if (in->retry_ns < RETRY_MAX_NS) {
		in->retry_ns *= 2;
	}
	if (in->len)
		set_retry(in, in->retry_ns);
	/* A terminal is always read, so that Ctrl-a x is seen whatever the guest does. */
	if (!in->ended && !in->c.terminal)
		loop_change(in->c.loop, in->c.fd, in->len < IN_SIZE ? EPOLLIN : 0);
}

static void retry(void *opaque, int fd, uint32_t events)
{
	uint64_t n;

	if (read(fd, &n, sizeof(n)) == sizeof(n))
		offer(opaque);
}

static void end_input(struct serial_in *in)
{
	in->ended = true;
	loop_unwatch(in->c.loop, in->c.fd);
	if (in->c.terminal)
		in->c.hangup(in->c.opaque);
}

static void readable(void *opaque, int fd, uint32_t events)
{
	struct serial_in *in = opaque;
	uint8_t buf[IN_SIZE];
	size_t room = in->c.terminal ? IN_SIZE : IN_SIZE - in->len;
	ssize_t n;

	if (!room)
		return;
	n = read(fd, buf, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end_input(in);
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (in->c.terminal && !in->c.filter(in->c.opaque, &buf[i]))
			continue;
		if (in->len < IN_SIZE) /* typed ahead of a guest that does not listen: the end is lost */
			in->bytes[in->len++] = buf[i];
	}
	offer(in);
}

int serial_in_create(const struct serial_in_config *config, struct serial_in **out)
{
	struct serial_in *in = calloc(1, sizeof(*in));
	int ret;

	if (!in)
		return -ENOMEM;
	in->c = *config;
	in->retry_ns = RETRY_MIN_NS;
	in->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (in->timer < 0) {
		ret = -errno;
		free(in);
		return ret;
	}
	ret = loop_watch(in->c.loop, in->timer, EPOLLIN, retry, in);
	if (!ret)
		ret = loop_watch(in->c.loop, in->c.fd, EPOLLIN, readable, in);
	if (ret) {
		loop_unwatch(in->c.loop, in->timer);
		close(in->timer);
		free(in);
		return ret;
	}
	*out = in;
	return 0;
}

void serial_in_destroy(struct serial_in *in)
{
	if (!in)
		return;
	if (!in->ended)
		loop_unwatch(in->c.loop, in->c.fd);
	loop_unwatch(in->c.loop, in->timer);
	close(in->timer);
	free(in);
}
