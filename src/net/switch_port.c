// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A cable to a switch between the VMs of this host: the VM's end of the protocol in switch_private.h.
 *
 * Opening starts the switch when it is not there, and waits for its welcome. When the switch goes (it crashed, or somebody ended
 * it), the link is down, and a timer tries again: the first VM to come by starts it anew. What the switch sends is
 * checked as if it were hostile.
 */
#include "net/switch_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { BURST = 16, RETRY_MS = 200 };

struct cable {
	int fd;	   /* -1: the link is down */
	int timer; /* of the next attempt */
	bool greeted; /* the welcome has come */
	bool blocked;
	uint32_t events;
	struct mmsghdr message[BURST];
	struct iovec iov[BURST][2];
	struct net_offload offload[BURST];
	uint8_t frame[BURST][NET_FRAME_MAX];
};

static void watch(struct net_port *p)
{
	struct cable *c = p->private;
	uint32_t events = (net_wants(p) || !c->greeted ? EPOLLIN : 0u) | (c->blocked ? EPOLLOUT : 0u);

	if (c->fd < 0 || events == c->events)
		return;
	c->events = events;
	loop_change(p->loop, c->fd, events);
}

static void retry_later(struct cable *c)
{
	struct itimerspec t = { .it_value.tv_nsec = RETRY_MS * 1000000 };

	timerfd_settime(c->timer, 0, &t, NULL);
}

static void link_lost(struct net_port *p)
{
	struct cable *c = p->private;

	loop_unwatch(p->loop, c->fd);
	close(c->fd);
	c->fd = -1;
	c->greeted = false;
	p->link_up = false;
	retry_later(c);
	/* Whoever waits for room may send again: what is sent now is dropped and counted. */
	if (c->blocked) {
		c->blocked = false;
		net_writable(p);
	}
}

/* --- greeting --- */

static int say_hello(const struct net_port *p, int fd)
{
	const struct net_config *config = &p->config;
	struct switch_hello h = {
		.magic = SWITCH_MAGIC, .version = SWITCH_VERSION, .kind = SWITCH_PORT,
		.flags = (config->isolated ? SWITCH_ISOLATED : 0u) | (config->promiscuous ? SWITCH_PROMISCUOUS : 0u),
	};

	memcpy(h.mac, config->mac, NET_MAC_BYTES);
	snprintf(h.vm, sizeof(h.vm), "%s", config->vm);
	snprintf(h.uplink, sizeof(h.uplink), "%s", config->uplink);
	return send(fd, &h, sizeof(h), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Reads the welcome. 0, -EAGAIN, or what stands against it. */
static int hear_welcome(const char *name, int fd, struct error *err)
{
	struct switch_welcome w;
	ssize_t n = recv(fd, &w, sizeof(w), 0);
	int ret = 0;

	if (n < 0)
		return error_set(err, -errno, STATUS_HOST, "cannot reach the switch %s",
				 errno == EAGAIN ? "it does not answer" : strerror(errno), "try again", name);
	if (n != sizeof(w) || w.magic != SWITCH_MAGIC || w.version != SWITCH_VERSION)
		ret = error_set(err, -EPROTO, STATUS_HOST, "cannot use the switch %s",
				n ? "it was started by another version of subring" : "it ended at once",
				"end the VMs on it, or use a switch of another name", name);
	else if (w.error) {
		w.why[sizeof(w.why) - 1] = w.fix[sizeof(w.fix) - 1] = 0;
		ret = error_set(err, w.error < 0 ? w.error : -EPROTO, STATUS_HOST, "cannot use the switch %s", "%s", "%s", name,
				w.why, w.fix);
	}
	return ret;
}

static void on_ready(void *opaque, int fd, uint32_t events);

static int plug_in(struct net_port *p, int fd, bool greeted)
{
	struct cable *c = p->private;
	int ret;

	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return -errno;
	ret = loop_watch(p->loop, fd, EPOLLIN, on_ready, p);
	if (ret)
		return ret;
	c->events = EPOLLIN;
	c->fd = fd;
	c->greeted = greeted;
	p->link_up = greeted;
	return 0;
}

static void on_timer(void *opaque, int timer, uint32_t events)
{
	struct net_port *p = opaque;
	struct cable *c = p->private;
	uint64_t n;
	int fd;

	if (read(timer, &n, sizeof(n)) != sizeof(n) || c->fd >= 0)
		return;
	fd = switch_place_connect(p->config.name, true, true, NULL);
	if (fd >= 0 && say_hello(p, fd) == 0 && plug_in(p, fd, false) == 0)
		return;
	if (fd >= 0)
		close(fd);
	retry_later(c);
}

/* --- frames --- */

static void take(struct net_port *p, struct cable *c, unsigned i)
{
	const struct mmsghdr *m = &c->message[i];
	struct iovec iov = { c->frame[i], m->msg_len - sizeof(struct net_offload) };

	if (m->msg_len < sizeof(struct net_offload) || m->msg_hdr.msg_flags & MSG_TRUNC)
		net_drop(p, m->msg_len < sizeof(struct net_offload) ? NET_DROP_SHORT : NET_DROP_LONG);
	else
		net_deliver(p, &iov, 1, &c->offload[i]);
}

static void cable_receive(struct net_port *p)
{
	struct cable *c = p->private;
	int n;

	if (!net_wants(p))
		return;
	for (unsigned i = 0; i < BURST; i++) {
		c->iov[i][0] = (struct iovec){ &c->offload[i], sizeof(c->offload[i]) };
		c->iov[i][1] = (struct iovec){ c->frame[i], sizeof(c->frame[i]) };
		c->message[i].msg_hdr = (struct msghdr){ .msg_iov = c->iov[i], .msg_iovlen = 2 };
	}
	n = recvmmsg(c->fd, c->message, BURST, MSG_DONTWAIT, NULL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (int i = 0; i < n && c->message[i].msg_len; i++)
		take(p, c, (unsigned)i);
	/* The end of the file is a message without bytes. */
	if (n <= 0 || !c->message[n - 1].msg_len)
		link_lost(p);
	else
		watch(p);
}

static void on_ready(void *opaque, int fd, uint32_t events)
{
	struct net_port *p = opaque;
	struct cable *c = p->private;

	if (!c->greeted) {
		if (hear_welcome(p->config.name, fd, NULL)) {
			link_lost(p);
			return;
		}
		c->greeted = p->link_up = true;
	}
	if (events & EPOLLOUT && c->blocked) {
		c->blocked = false;
		net_writable(p);
		watch(p);
	}
	if (c->fd >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		if (!net_wants(p) && events & (EPOLLHUP | EPOLLERR))
			link_lost(p);
		else
			cable_receive(p);
	}
}

static int cable_send(struct net_port *p, const struct iovec *iov, unsigned iovs, size_t len, const struct net_offload *o)
{
	struct cable *c = p->private;
	struct iovec v[NET_IOVS_MAX + 1];
	struct msghdr m = { .msg_iov = v, .msg_iovlen = iovs + 1 };

	if (!p->link_up) {
		net_drop(p, NET_DROP_UNPLUGGED);
		return 0;
	}
	v[0] = (struct iovec){ (void *)o, sizeof(*o) };
	memcpy(v + 1, iov, iovs * sizeof(*iov));
	if (sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	if (errno == EAGAIN) {
		c->blocked = true;
		watch(p);
		return -EAGAIN;
	}
	/* That the switch has gone is told by the descriptor itself. */
	net_drop(p, errno == EPIPE || errno == ECONNRESET ? NET_DROP_UNPLUGGED : NET_DROP_BACKEND);
	return 0;
}

static void cable_pause(struct net_port *p, bool paused)
{
	watch(p);
}

/* --- life --- */

static void cable_close(struct net_port *p)
{
	struct cable *c = p->private;

	if (c->fd >= 0) {
		loop_unwatch(p->loop, c->fd);
		close(c->fd);
	}
	loop_unwatch(p->loop, c->timer);
	close(c->timer);
	free(c);
}

static int cable_open(struct net_port *p, struct error *err)
{
	struct cable *c = calloc(1, sizeof(*c));
	const char *name = p->config.name;
	int ret = -ENOMEM, fd = -1;

	if (!c)
		goto fail;
	c->fd = c->timer = -1;
	p->private = c;
	c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (c->timer < 0) {
		ret = -errno;
		goto fail;
	}
	fd = switch_place_connect(name, true, false, err);
	ret = fd < 0 ? fd : say_hello(p, fd);
	if (fd >= 0 && !ret)
		ret = hear_welcome(name, fd, err);
	else if (fd >= 0)
		error_set(err, ret, STATUS_HOST, "cannot reach the switch %s", "%s", "try again", name, strerror(-ret));
	if (ret)
		goto fail_told;
	ret = loop_watch(p->loop, c->timer, EPOLLIN, on_timer, p);
	if (ret)
		goto fail;
	ret = plug_in(p, fd, true);
	if (ret) {
		loop_unwatch(p->loop, c->timer);
		goto fail;
	}
	p->takes = NET_TAKES_CSUM | NET_TAKES_TSO4 | NET_TAKES_TSO6;
	p->can_give = NET_GIVES_CSUM | NET_GIVES_TSO4 | NET_GIVES_TSO6;
	snprintf(p->describe, sizeof(p->describe), "switch %s", name);
	return 0;

fail:
	error_set(err, ret, STATUS_HOST, "cannot use the switch %s", "%s", "end other programs", name, strerror(-ret));
fail_told:
	if (fd >= 0)
		close(fd);
	if (c && c->timer >= 0)
		close(c->timer);
	free(c);
	return ret;
}

const struct net_backend net_switch_backend = {
	.open = cable_open, .close = cable_close, .send = cable_send, .pause = cable_pause,
};
