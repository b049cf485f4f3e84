// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The user's own network: a NAT in this process by libslirp, without root.
 *
 * 10.0.2.0/24 and fd53:7562::/64; .2 is the host, .3 the name server, DHCP gives addresses from .15 on. The guest's
 * connections are made by this process with ordinary sockets; into the guest goes only what is published.
 *
 * libslirp is made for a loop around poll(2). Here its descriptors are in an epoll set of their own, which the loop
 * watches: after everything that may have changed what libslirp waits for, `refill` asks it anew and brings the set and
 * the timer in line. All of libslirp runs on the loop's thread.
 *
 * What libslirp sends in a row comes out as one frame, for a device that takes that (merge.c).
 * Segments that the guest leaves to us go in whole: libslirp takes IP packets of up to 64 KiB, and one checksum
 * and one walk through it serve where 45 would be needed.
 */
#include "net/merge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* libslirp 4.7 is the oldest that the timers here fit. */
enum { CONFIG_VERSION = 4, EVENTS_MAX = 64 };

#define PREFIX6 "fd53:7562::"

struct fd_state {
	uint32_t events; /* in the epoll set; 0: not in it */
	uint32_t wanted; /* by the last refill */
	uint32_t got;
};

struct slirp_timer {
	SlirpTimerId id;
	void *opaque;
	int64_t expires_ms; /* INT64_MAX: not set */
	struct slirp_timer *next;
};

struct user {
	struct net_port *port;
	Slirp *slirp;
	int epoll, timer;
	struct fd_state *fds; /* by number */
	size_t fds_size;
	int max_fd; /* no higher one is in use */
	struct slirp_timer *timers;
	bool busy; /* in libslirp: a refill follows anyway */
	bool owed; /* something was refused meanwhile */
	uint8_t frame[NET_FRAME_MAX];
	struct merge merge;
};

static int64_t now_ms(void)
{
	return (int64_t)(host_monotonic_ns() / 1000000u);
}

/* --- descriptors --- */

static struct fd_state *fd_state(struct user *u, int fd)
{
	size_t size = u->fds_size ? u->fds_size : 64;
	struct fd_state *fds;

	if (fd < 0)
		return NULL;
	while (size <= (size_t)fd)
		size *= 2;
	if (size > u->fds_size) {
		fds = realloc(u->fds, size * sizeof(*fds));
		if (!fds)
			return NULL;
		memset(fds + u->fds_size, 0, (size - u->fds_size) * sizeof(*fds));
		u->fds = fds;
		u->fds_size = size;
	}
	u->max_fd = fd > u->max_fd ? fd : u->max_fd;
	return &u->fds[fd];
}

static uint32_t to_epoll(int events)
{
	return (events & SLIRP_POLL_IN ? EPOLLIN : 0u) | (events & SLIRP_POLL_OUT ? EPOLLOUT : 0u) |
	       (events & SLIRP_POLL_PRI ? EPOLLPRI : 0u) | (events & SLIRP_POLL_ERR ? EPOLLERR : 0u) |
	       (events & SLIRP_POLL_HUP ? EPOLLHUP : 0u);
}

static int add_poll(int fd, int events, void *opaque)
{
	struct user *u = opaque;
	struct fd_state *s = fd_state(u, fd);

	if (s)
		s->wanted |= to_epoll(events);
	return fd;
}

static int get_revents(int fd, void *opaque)
{
	struct user *u = opaque;
	uint32_t got = fd >= 0 && (size_t)fd < u->fds_size ? u->fds[fd].got : 0;

	return (got & EPOLLIN ? SLIRP_POLL_IN : 0) | (got & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
	       (got & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (got & EPOLLERR ? SLIRP_POLL_ERR : 0) |
	       (got & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

static void sync_fd(struct user *u, int fd, struct fd_state *s)
{
	struct epoll_event ev = { .events = s->wanted, .data.fd = fd };

	if (s->wanted == s->events)
		return;
	if (!s->wanted)
		epoll_ctl(u->epoll, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(u->epoll, s->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) < 0 &&
		 /* It was closed and opened again in between. */
		 epoll_ctl(u->epoll, s->events ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev) < 0)
		ev.events = 0;
	s->events = ev.events;
}

/* A new descriptor, or one that is about to be closed: nothing is known of this number. */
static void forget_fd(int fd, void *opaque)
{
	struct user *u = opaque;
	struct fd_state *s = fd_state(u, fd);

	if (!s)
		return;
	epoll_ctl(u->epoll, EPOLL_CTL_DEL, fd, NULL);
	*s = (struct fd_state){ .events = 0 };
}

/* --- timers --- */

static void set_timer(struct user *u, uint32_t timeout_ms)
{
	int64_t now = now_ms(), left = timeout_ms == UINT32_MAX ? INT64_MAX : timeout_ms;
	struct itimerspec t = { .it_value.tv_sec = 0 };

	for (struct slirp_timer *s = u->timers; s; s = s->next) {
		if (s->expires_ms == INT64_MAX)
			continue;
		left = s->expires_ms - now < left ? s->expires_ms - now : left;
	}
	if (u->owed)
		left = 0;
	if (left != INT64_MAX) {
		left = left < 1 ? 1 : left;
		t.it_value.tv_sec = left / 1000;
		t.it_value.tv_nsec = left % 1000 * 1000000;
	}
	timerfd_settime(u->timer, 0, &t, NULL);
}

static void *timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
	struct user *u = opaque;
	struct slirp_timer *t = calloc(1, sizeof(*t));

	if (!t)
		abort(); /* libslirp itself ends the process without memory */
	*t = (struct slirp_timer){ .id = id, .opaque = cb_opaque, .expires_ms = INT64_MAX, .next = u->timers };
	u->timers = t;
	return t;
}

static void timer_free(void *timer, void *opaque)
{
	struct user *u = opaque;

	for (struct slirp_timer **p = &u->timers; *p; p = &(*p)->next) {
		if (*p == timer) {
			*p = (*p)->next;
			free(timer);
			return;
		}
	}
}

static void timer_mod(void *timer, int64_t expires_ms, void *opaque)
{
	struct slirp_timer *t = timer;

	t->expires_ms = expires_ms;
}

static void fire_timers(struct user *u)
{
	int64_t now = now_ms();

	/* A timer may free itself or set itself anew: begin again after each. */
	for (struct slirp_timer *t = u->timers; t;) {
		if (t->expires_ms > now) {
			t = t->next;
			continue;
		}
		t->expires_ms = INT64_MAX;
		slirp_handle_timer(u->slirp, t->id, t->opaque);
		t = u->timers;
	}
}

/* --- in and out --- */

/* Brings the epoll set and the timer in line with what libslirp waits for. */
static void refill(struct user *u)
{
	uint32_t timeout = UINT32_MAX;

	slirp_pollfds_fill(u->slirp, &timeout, add_poll, u);
	for (int fd = 0; fd <= u->max_fd; fd++) {
		struct fd_state *s = &u->fds[fd];

		/* With a device that has no room nothing more is read; timers go on. */
		if (u->port->paused)
			s->wanted = 0;
		sync_fd(u, fd, s);
		s->wanted = s->got = 0;
	}
	while (u->max_fd > 0 && !u->fds[u->max_fd].events)
		u->max_fd--;
	set_timer(u, timeout);
}

static void poll_slirp(struct user *u)
{
	struct epoll_event ev[EVENTS_MAX];
	int n = epoll_wait(u->epoll, ev, EVENTS_MAX, 0);

	for (int i = 0; i < n; i++)
		u->fds[ev[i].data.fd].got = ev[i].events;
	u->busy = true;
	slirp_pollfds_poll(u->slirp, 0, get_revents, u);
	fire_timers(u);
	merge_flush(&u->merge);
	u->busy = false;
	refill(u);
}

static void on_fds(void *opaque, int fd, uint32_t events)
{
	poll_slirp(opaque);
}

static void on_timer(void *opaque, int fd, uint32_t events)
{
	uint64_t n;

	struct user *u = opaque;

	if (read(fd, &n, sizeof(n)) != sizeof(n))
		return;
	if (u->owed) {
		u->owed = false;
		net_writable(u->port);
	}
	poll_slirp(u);
}

static ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
	struct user *u = opaque;

	merge_frame(&u->merge, buf, len);
	return (ssize_t)len;
}

/*
 * libslirp cannot be entered from its own callbacks: what the device sends while it gets a frame comes again, when
 * `writable` has called for it.
 */
static bool user_full(struct net_port *p)
{
	struct user *u = p->private;

	u->owed |= u->busy;
	return u->busy;
}

static int user_send(struct net_port *p, const struct iovec *iov, unsigned iovs, size_t len,
		     const struct net_offload *o)
{
	struct user *u = p->private;

	if (user_full(p))
		return -EAGAIN;
	net_iov_read(iov, iovs, 0, u->frame, len);
	if (o->flags & NET_OFFLOAD_CSUM)
		net_complete_checksum(u->frame, len, o);
	u->busy = true;
	slirp_input(u->slirp, u->frame, (int)len);
	merge_flush(&u->merge);
	u->busy = false;
	refill(u);
	return 0;
}

static void user_pause(struct net_port *p, bool paused)
{
	struct user *u = p->private;

	if (!u->busy)
		refill(u);
}

/* --- callbacks that have little to do --- */

static void guest_error(const char *msg, void *opaque)
{
	/* The guest's own affair; the frame is gone. */
}

static int64_t clock_get_ns(void *opaque)
{
	return (int64_t)host_monotonic_ns();
}

static void notify(void *opaque)
{
	/* A refill follows whatever made libslirp call this. */
}

static void init_completed(Slirp *slirp, void *opaque)
{
	struct user *u = opaque;

	u->slirp = slirp;
}

static const SlirpCb callbacks = {
	.send_packet = send_packet, .guest_error = guest_error, .clock_get_ns = clock_get_ns, .timer_free = timer_free,
	.timer_mod = timer_mod, .register_poll_fd = forget_fd, .unregister_poll_fd = forget_fd, .notify = notify,
	.init_completed = init_completed, .timer_new_opaque = timer_new,
};

/* --- life --- */

static int publish(struct user *u, const struct net_publish *pub, struct error *err)
{
	struct sockaddr_in host = { .sin_family = AF_INET, .sin_port = htons(pub->host) };
	struct sockaddr_in guest = { .sin_family = AF_INET, .sin_port = htons(pub->guest) };
	struct sockaddr_in6 host6 = { .sin6_family = AF_INET6, .sin6_port = htons(pub->host) };
	struct sockaddr_in6 guest6 = { .sin6_family = AF_INET6, .sin6_port = htons(pub->guest) };
	const uint8_t *mac = u->port->config.mac;
	int flags = pub->udp ? SLIRP_HOSTFWD_UDP : 0, ret;

	if (pub->v6) {
		/* Where the guest is after stateless configuration: the prefix, and its MAC as an EUI-64 (RFC 4291, A). */
		const uint8_t eui[8] = { mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5] };

		memcpy(&host6.sin6_addr, pub->addr, 16);
		inet_pton(AF_INET6, PREFIX6, &guest6.sin6_addr);
		memcpy(&guest6.sin6_addr.s6_addr[8], eui, 8);
		ret = slirp_add_hostxfwd(u->slirp, (struct sockaddr *)&host6, sizeof(host6),
					 (struct sockaddr *)&guest6, sizeof(guest6), flags | SLIRP_HOSTFWD_V6ONLY);
	} else {
		memcpy(&host.sin_addr, pub->addr, 4);
		inet_pton(AF_INET, "10.0.2.15", &guest.sin_addr);
		ret = slirp_add_hostxfwd(u->slirp, (struct sockaddr *)&host, sizeof(host), (struct sockaddr *)&guest,
					 sizeof(guest), flags);
	}
	if (!ret)
		return 0;
	ret = errno ? -errno : -EIO;
	return error_set(err, ret, STATUS_HOST, "cannot publish port %u of the host", "%s", "%s", pub->host, strerror(-ret),
			 ret == -EADDRINUSE ? "another program has it: choose another port with --publish" :
			 ret == -EACCES	    ? "ports below 1024 are root's: choose a higher one with --publish" :
					      "choose another address or port with --publish");
}

static void user_destroy(struct user *u)
{
	if (u->timer >= 0) {
		loop_unwatch(u->port->loop, u->timer);
		close(u->timer);
	}
	if (u->epoll >= 0)
		loop_unwatch(u->port->loop, u->epoll);
	u->busy = true;
	if (u->slirp)
		slirp_cleanup(u->slirp);
	if (u->epoll >= 0)
		close(u->epoll);
	free(u->fds);
	free(u);
}

static void user_close(struct net_port *p)
{
	user_destroy(p->private);
}

static Slirp *make_slirp(struct user *u, const struct net_config *c)
{
	SlirpConfig config = {
		.version = CONFIG_VERSION, .restricted = c->restricted, .in_enabled = true, .in6_enabled = true,
		.vprefix_len = 64, .vhostname = *c->vm ? c->vm : NULL, .disable_host_loopback = c->no_loopback,
	};

	inet_pton(AF_INET, "10.0.2.0", &config.vnetwork);
	inet_pton(AF_INET, "255.255.255.0", &config.vnetmask);
	inet_pton(AF_INET, "10.0.2.2", &config.vhost);
	inet_pton(AF_INET, "10.0.2.3", &config.vnameserver);
	inet_pton(AF_INET, "10.0.2.15", &config.vdhcp_start);
	inet_pton(AF_INET6, PREFIX6, &config.vprefix_addr6);
	inet_pton(AF_INET6, PREFIX6 "2", &config.vhost6);
	inet_pton(AF_INET6, PREFIX6 "3", &config.vnameserver6);
	return slirp_new(&config, &callbacks, u);
}

static int user_open(struct net_port *p, struct error *err)
{
	struct user *u = calloc(1, sizeof(*u));
	struct sigaction pipe;
	int ret = -ENOMEM;

	if (!u)
		goto fail;
	u->port = u->merge.port = p;
	u->timer = -1;
	u->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (u->epoll < 0)
		goto fail_errno;
	u->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (u->timer < 0)
		goto fail_errno;
	ret = loop_watch(p->loop, u->epoll, EPOLLIN, on_fds, u);
	if (!ret)
		ret = loop_watch(p->loop, u->timer, EPOLLIN, on_timer, u);
	if (ret)
		goto fail;
	ret = -ENOMEM;
	if (!fd_state(u, 0))
		goto fail;
	/* libslirp writes to sockets whose readers may have gone; the signal for that would end this process. */
	if (sigaction(SIGPIPE, NULL, &pipe) == 0 && pipe.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
	u->busy = true;
	u->slirp = make_slirp(u, &p->config);
	u->busy = false;
	ret = -EIO;
	if (!u->slirp)
		goto fail;
	for (unsigned i = 0; i < p->config.publishes; i++) {
		errno = 0;
		ret = publish(u, &p->config.publish[i], err);
		if (ret) {
			user_destroy(u);
			return ret;
		}
	}
	p->private = u;
	p->takes = NET_TAKES_CSUM | NET_TAKES_TSO4;
	p->can_give = NET_GIVES_CSUM | NET_GIVES_TSO4;
	p->link_up = true;
	snprintf(p->describe, sizeof(p->describe), "user network");
	refill(u);
	return 0;

fail_errno:
	ret = -errno;
fail:
	if (u)
		user_destroy(u);
	return error_set(err, ret, STATUS_HOST, "cannot open the user's network", "%s",
			 "close other programs, or use --net none", strerror(-ret));
}

const struct net_backend net_user_backend = {
	.open = user_open, .close = user_close, .send = user_send, .full = user_full, .pause = user_pause,
};
