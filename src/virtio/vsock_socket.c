// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Socket device: the host's end, Unix stream sockets. See vsock.h. All of this is on the I/O thread.
 *
 * Invariants: `len` bytes at `at` of a ring of VIRTIO_VSOCK_BUFFER wait for the socket to take them; fwd counts what it has taken, so
 * that the guest, which knows fwd and the buffer's size, never has reason to send more than fits.
 */
#include "virtio/vsock_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_socket(void *opaque, int fd, uint32_t events);

static struct vsock_conn *conn_new(struct virtio_vsock *v, int fd, enum vsock_state state)
{
	struct vsock_conn *c = v->count < VIRTIO_VSOCK_CONNECTIONS_MAX ? calloc(1, sizeof(*c)) : NULL;

	if (!c)
		return NULL;
	*c = (struct vsock_conn){ .v = v, .fd = fd, .state = state };
	if (loop_watch(v->loop, fd, 0, on_socket, c)) {
		free(c);
		return NULL;
	}
	c->next = v->conns;
	v->conns = c;
	v->count++;
	return c;
}

void vsock_hang_up(struct vsock_conn *c)
{
	if (c->fd >= 0) {
		loop_unwatch(c->v->loop, c->fd);
		close(c->fd);
	}
	c->fd = -1;
	c->state = VSOCK_CLOSING;
}

void vsock_free(struct vsock_conn *c)
{
	struct vsock_conn **p = &c->v->conns;

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	c->v->count--;
	vsock_hang_up(c);
	free(c->buffer);
	free(c);
}

void vsock_watch(struct vsock_conn *c)
{
	bool connected = c->state == VSOCK_CONNECTED;
	bool read = c->state == VSOCK_HELLO || (connected && !c->starved && !(c->shut & SHUTDOWN_SEND) &&
						!(c->peer_shut & SHUTDOWN_RECEIVE) && vsock_credit(c));

	if (c->v->dev.paused)
		read = false;
	/* Once the program has sent all, its end is a hang-up; before, that is found behind the bytes. */
	loop_change(c->v->loop, c->fd, (read ? EPOLLIN : 0) | (connected && c->len ? EPOLLOUT : 0) |
					       (connected && (c->shut & SHUTDOWN_SEND) ? EPOLLHUP : 0));
}

/* --- the guest's bytes --- */

int vsock_take(struct vsock_conn *c, const void *bytes, uint32_t len)
{
	uint32_t end = (c->at + c->len) % VIRTIO_VSOCK_BUFFER, first = VIRTIO_VSOCK_BUFFER - end;

	if (len > VIRTIO_VSOCK_BUFFER - c->len)
		return -ENOSPC;
	if (!c->buffer)
		c->buffer = malloc(VIRTIO_VSOCK_BUFFER);
	if (!c->buffer)
		return -ENOMEM;
	if (first > len)
		first = len;
	memcpy(c->buffer + end, bytes, first);
	memcpy(c->buffer, (const uint8_t *)bytes + first, len - first);
	c->len += len;
	return 0;
}

/* What is to be done when the guest sends no more and all that it sent was taken. */
static void drained(struct vsock_conn *c)
{
	if (c->peer_shut == SHUTDOWN_BOTH) {
		c->tell = 1u << OP_RST; /* 5.10.6.6: the answer to a full shutdown */
		vsock_hang_up(c);
	} else if (c->peer_shut & SHUTDOWN_SEND) {
		shutdown(c->fd, SHUT_WR);
	}
}

void vsock_flush(struct vsock_conn *c)
{
	while (c->len) {
		uint32_t part = VIRTIO_VSOCK_BUFFER - c->at < c->len ? VIRTIO_VSOCK_BUFFER - c->at : c->len;
		ssize_t n = send(c->fd, c->buffer + c->at, part, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n < 0) {
			c->tell = 1u << OP_RST;
			vsock_hang_up(c);
			return;
		}
		c->at = (c->at + (uint32_t)n) % VIRTIO_VSOCK_BUFFER;
		c->len -= (uint32_t)n;
		c->fwd += (uint32_t)n;
	}
	/* Told before the guest has used up what it knows of. */
	if (c->fwd - c->fwd_told >= VIRTIO_VSOCK_BUFFER / 4)
		c->tell |= 1u << OP_CREDIT_UPDATE;
	if (!c->len)
		drained(c);
}

void vsock_peer_shut(struct vsock_conn *c, uint32_t flags)
{
	c->peer_shut |= flags;
	if (c->state != VSOCK_CONNECTED) {
		c->tell = 1u << OP_RST;
		vsock_hang_up(c);
	} else if (!c->len) {
		drained(c);
	}
}

/* --- connections --- */

struct vsock_conn *vsock_connect(struct virtio_vsock *v, uint32_t host_port, uint32_t guest_port)
{
	struct sockaddr_un to = v->address;
	size_t len = strlen(to.sun_path);
	struct vsock_conn *c;
	int fd, n;

	n = snprintf(to.sun_path + len, sizeof(to.sun_path) - len, "_%u", host_port);
	if (n < 0 || (size_t)n >= sizeof(to.sun_path) - len)
		return NULL;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return NULL;
	/* A Unix socket connects at once or not at all. */
	c = connect(fd, (struct sockaddr *)&to, sizeof(to)) ? NULL : conn_new(v, fd, VSOCK_CONNECTED);
	if (!c) {
		close(fd);
		return NULL;
	}
	c->host_port = host_port;
	c->guest_port = guest_port;
	return c;
}

void vsock_accepted(struct vsock_conn *c)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "OK %u\n", c->host_port);

	c->state = VSOCK_CONNECTED;
	if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n) {
		c->tell = 1u << OP_RST;
		vsock_hang_up(c);
	}
}

/* A port of ours that no connection has. */
static uint32_t free_port(struct virtio_vsock *v)
{
	for (;;) {
		const struct vsock_conn *c = v->conns;
		uint32_t port = v->next_port++;

		if (v->next_port == UINT32_MAX)
			v->next_port = 1 << 30;
		while (c && c->host_port != port)
			c = c->next;
		if (!c)
			return port;
	}
}

/* "CONNECT PORT\n": 1, 0 when it is not whole yet, -EPROTO. What follows it is the guest's, so no byte more is read. */
static int hello(struct vsock_conn *c)
{
	unsigned long port;
	char *rest;

	for (;;) {
		char *byte = &c->hello[c->hello_len];
		ssize_t n = recv(c->fd, byte, 1, MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -EPROTO;
		if (n == 0 || ++c->hello_len == VSOCK_HELLO_MAX)
			return -EPROTO;
		if (*byte == '\n') {
			*byte = '\0';
			break;
		}
	}
	if (strncmp(c->hello, "CONNECT ", 8) || c->hello[8] < '0' || c->hello[8] > '9')
		return -EPROTO;
	errno = 0;
	port = strtoul(c->hello + 8, &rest, 10);
	if (errno || *rest || port > UINT32_MAX)
		return -EPROTO;
	c->guest_port = (uint32_t)port;
	return 1;
}

static void on_hello(struct vsock_conn *c)
{
	int ret = virtio_running(&c->v->dev) ? hello(c) : -EPROTO;

	if (ret < 0) {
		vsock_free(c);
		return;
	}
	if (ret > 0) {
		c->host_port = free_port(c->v);
		c->state = VSOCK_REQUESTED;
		c->tell |= 1u << OP_REQUEST;
	}
	vsock_watch(c);
}

/* The program's bytes go to the guest as long as it takes them. */
static void on_readable(struct vsock_conn *c)
{
	int ret;

	/* What is to be told comes first: the guest's own connection is accepted before it gets bytes. */
	vsock_pump(c->v);
	if (c->tell) {
		c->starved = true;
		return;
	}
	do
		ret = vsock_forward(c);
	while (ret > 0);
	if (ret == 0) {
		c->starved = c->v->dev.budget > 0 && vsock_credit(c);
	} else if (ret == -ENODATA) {
		c->shut |= SHUTDOWN_SEND;
		c->tell |= 1u << OP_SHUTDOWN;
	} else if (ret != -EAGAIN) {
		c->tell = 1u << OP_RST;
		vsock_hang_up(c);
	}
}

static void on_socket(void *opaque, int fd, uint32_t events)
{
	struct vsock_conn *c = opaque;
	struct virtio_vsock *v = c->v;

	virtio_lock(&v->dev);
	if (c->state == VSOCK_HELLO) {
		on_hello(c);
	} else if (!virtio_running(&v->dev)) {
		loop_change(v->loop, fd, 0); /* vsock_work watches it again */
	} else {
		if (events & EPOLLOUT)
			vsock_flush(c);
		if (c->fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !(c->shut & SHUTDOWN_SEND))
			on_readable(c);
		/* Both ends of the socket are shut, and nothing is left in it: the program is gone. */
		if (c->fd >= 0 && (events & (EPOLLHUP | EPOLLERR)) && (c->shut & SHUTDOWN_SEND)) {
			c->shut = SHUTDOWN_BOTH;
			c->tell = 1u << OP_SHUTDOWN | 1u << OP_RST;
			vsock_hang_up(c);
		}
		if (c->fd >= 0)
			vsock_watch(c);
	}
	vsock_pump(v);
	virtio_unlock(&v->dev);
}

/* --- listening --- */

static void on_accept(void *opaque, int fd, uint32_t events)
{
	struct virtio_vsock *v = opaque;
	int s = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct vsock_conn *c;

	if (s < 0)
		return;
	virtio_lock(&v->dev);
	c = conn_new(v, s, VSOCK_HELLO);
	if (c)
		vsock_watch(c);
	virtio_unlock(&v->dev);
	if (!c)
		close(s);
}

/* Nobody listens there any more: its owner was killed. */
static bool is_stale(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	bool stale;

	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)address, sizeof(*address)) && errno == ECONNREFUSED;
	close(fd);
	return stale;
}

int vsock_listen(struct virtio_vsock *v, const char *path, struct error *err)
{
	/* Room for "_PORT" behind it */
	enum { MAX = sizeof(v->address.sun_path) - 12 };
	int ret;

	if (strlen(path) > MAX || !*path)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot listen on %s",
				 "the path of the vsock device's socket is longer than %d bytes, or empty",
				 "name a shorter one", path, (int)MAX);
	v->address.sun_family = AF_UNIX;
	memcpy(v->address.sun_path, path, strlen(path) + 1);
	v->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (v->listener < 0)
		goto fail;
	if (is_stale(&v->address))
		unlink(path);
	if (bind(v->listener, (struct sockaddr *)&v->address, sizeof(v->address)))
		goto fail;
	if (listen(v->listener, 64))
		goto fail_bound;
	ret = loop_watch(v->loop, v->listener, EPOLLIN, on_accept, v);
	if (!ret)
		return 0;
	errno = -ret;
fail_bound:
	unlink(path);
fail:
	ret = -errno;
	if (v->listener >= 0)
		close(v->listener);
	v->listener = -1;
	return error_set(err, ret, STATUS_HOST, "cannot listen on %s", "%s", "name a path in a folder that you can write to", path,
			 strerror(-ret));
}
