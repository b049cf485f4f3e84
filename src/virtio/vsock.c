// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Socket device: packets. virtio 1.2, 5.10.6. See vsock.h; vsock_socket.c has the other end.
 *
 * What the guest is to be told is bits of a connection (`tell`), and a bounded list of resets for packets of none: a driver without
 * buffers makes nothing grow.
 */
#include "virtio/vsock_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TYPE_STREAM = 1, QUEUE_SIZE = 128, CONFIG_SIZE = 8, PACKET_MAX = 64 << 10, FIRST_PORT = 1 << 30 };

struct virtio_device *virtio_vsock_device(struct virtio_vsock *v)
{
	return &v->dev;
}

/* --- to the guest --- */

uint32_t vsock_credit(const struct vsock_conn *c)
{
	uint32_t out = c->sent - c->peer_fwd;

	return out < c->peer_alloc ? c->peer_alloc - out : 0;
}

static struct vsock_header header(struct virtio_vsock *v, uint32_t host_port, uint32_t guest_port, uint16_t op)
{
	return (struct vsock_header){
		.src_cid = VIRTIO_VSOCK_HOST_CID,
		.dst_cid = v->cid,
		.src_port = host_port,
		.dst_port = guest_port,
		.type = TYPE_STREAM,
		.op = op,
	};
}

static struct vsock_header header_of(struct vsock_conn *c, uint16_t op)
{
	struct vsock_header h = header(c->v, c->host_port, c->guest_port, op);

	h.buf_alloc = VIRTIO_VSOCK_BUFFER;
	h.fwd_cnt = c->fwd_told = c->fwd;
	c->tell &= ~(1u << OP_CREDIT_UPDATE); /* every packet carries it */
	return h;
}

/* A buffer for a packet; false: there is none, and notifications are wanted. */
static bool rx_buffer(struct virtio_vsock *v)
{
	do
		if (virtio_pop(&v->dev, VSOCK_RX, &v->rx))
			return true;
	while (virtio_running(&v->dev) && v->dev.budget && virtio_want_kicks(&v->dev, VSOCK_RX, true));
	return false;
}

static void rx_send(struct virtio_vsock *v, const struct vsock_header *h)
{
	/* A buffer without room for a header is the driver's mistake (5.10.6.1). */
	if (virtq_write(&v->dev.queue[VSOCK_RX], &v->rx, 0, h, sizeof(*h)))
		virtio_needs_reset(&v->dev);
	virtio_push(&v->dev, VSOCK_RX, &v->rx, (uint32_t)sizeof(*h) + h->len);
}

/* Tells one thing of @c; false: no buffer. */
static bool tell_one(struct vsock_conn *c)
{
	struct vsock_header h;
	unsigned op;

	/* A reset is the last word. */
	if (c->tell & 1u << OP_RST)
		c->tell = 1u << OP_RST;
	op = (unsigned)__builtin_ctz(c->tell);
	if (!rx_buffer(c->v))
		return false;
	c->tell &= ~(1u << op);
	h = header_of(c, (uint16_t)op);
	if (op == OP_SHUTDOWN)
		h.flags = c->shut;
	rx_send(c->v, &h);
	return true;
}

void vsock_pump(struct virtio_vsock *v)
{
	bool room = virtio_running(&v->dev);

	while (room && v->orphans && (room = rx_buffer(v))) {
		struct vsock_header h = header(v, v->orphan[0].host_port, v->orphan[0].guest_port, OP_RST);

		memmove(&v->orphan[0], &v->orphan[1], --v->orphans * sizeof(v->orphan[0]));
		rx_send(v, &h);
	}
	for (struct vsock_conn *c = v->conns, *next; c; c = next) {
		next = c->next;
		while (c->tell && room)
			room = tell_one(c);
		if (c->state == VSOCK_CLOSING && !c->tell)
			vsock_free(c);
	}
	virtio_notify(&v->dev, VSOCK_RX);
	/* What is left when this run has had its share goes on in the next one. */
	if (!v->dev.budget)
		virtio_kick(&v->dev, VSOCK_RX);
}

int vsock_forward(struct vsock_conn *c)
{
	struct virtio_vsock *v = c->v;
	struct vsock_header h;
	uint64_t max = vsock_credit(c);
	ssize_t n;
	int ret;

	if (!max || !rx_buffer(v))
		return 0;
	if (v->rx.in_len < sizeof(h)) {
		virtio_needs_reset(&v->dev);
		virtio_unpop(&v->dev, VSOCK_RX, &v->rx);
		return 0;
	}
	if (max > v->rx.in_len - sizeof(h))
		max = v->rx.in_len - sizeof(h);
	if (max > PACKET_MAX)
		max = PACKET_MAX;
	v->iov.count = 0;
	ret = virtq_map(&v->dev.queue[VSOCK_RX], &v->rx, true, sizeof(h), max, &v->iov);
	n = ret ? -1 : readv(c->fd, v->iov.iov, v->iov.count < 1024 ? (int)v->iov.count : 1024);
	if (!ret && n < 0)
		ret = errno == EINTR ? -EAGAIN : -errno;
	virtq_unmap_in(&v->dev.queue[VSOCK_RX], &v->rx, sizeof(h), max);
	if (n <= 0) {
		virtio_unpop(&v->dev, VSOCK_RX, &v->rx);
		if (ret == -EPROTO)
			virtio_needs_reset(&v->dev);
		return n == 0 && !ret ? (max ? -ENODATA : 0) : ret;
	}
	h = header_of(c, OP_RW);
	h.len = (uint32_t)n;
	c->sent += (uint32_t)n;
	rx_send(v, &h);
	return 1;
}

/* --- from the guest --- */

static void orphan(struct virtio_vsock *v, const struct vsock_header *h)
{
	/* Nobody answers a reset with a reset; more than these the guest finds out by time-outs. */
	if (h->op == OP_RST || v->orphans == VSOCK_ORPHANS_MAX)
		return;
	v->orphan[v->orphans].host_port = h->dst_port;
	v->orphan[v->orphans++].guest_port = h->src_port;
}

static void refuse(struct vsock_conn *c)
{
	c->tell = 1u << OP_RST;
	vsock_hang_up(c);
}

static void on_rw(struct vsock_conn *c, uint32_t len)
{
	struct virtio_vsock *v = c->v;
	uint8_t bytes[4096];

	if (c->state != VSOCK_CONNECTED || (c->peer_shut & SHUTDOWN_SEND)) {
		refuse(c);
		return;
	}
	for (uint32_t at = 0; at < len;) {
		uint32_t n = len - at < sizeof(bytes) ? len - at : (uint32_t)sizeof(bytes);

		if (virtq_read(&v->dev.queue[VSOCK_TX], &v->tx, sizeof(struct vsock_header) + at, bytes, n)) {
			virtio_needs_reset(&v->dev);
			return;
		}
		/* More than it was told there is room for */
		if (vsock_take(c, bytes, n)) {
			refuse(c);
			return;
		}
		at += n;
	}
	vsock_flush(c);
}

static void on_packet(struct virtio_vsock *v, const struct vsock_header *h)
{
	struct vsock_conn *c = v->conns;

	while (c && (c->state == VSOCK_HELLO || c->host_port != h->dst_port || c->guest_port != h->src_port))
		c = c->next;
	if (h->type != TYPE_STREAM || h->dst_cid != VIRTIO_VSOCK_HOST_CID || (c && c->state == VSOCK_CLOSING)) {
		orphan(v, h);
		return;
	}
	if (!c && h->op == OP_REQUEST) {
		c = vsock_connect(v, h->dst_port, h->src_port);
		if (c)
			c->tell |= 1u << OP_RESPONSE;
	}
	if (!c) {
		orphan(v, h);
		return;
	}
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	switch (h->op) {
	case OP_REQUEST:
		if (!(c->tell & 1u << OP_RESPONSE))
			refuse(c);
		break;
	case OP_RESPONSE:
		if (c->state == VSOCK_REQUESTED)
			vsock_accepted(c);
		else
			refuse(c);
		break;
	case OP_RST:
		c->tell = 0;
		vsock_hang_up(c);
		break;
	case OP_SHUTDOWN: vsock_peer_shut(c, h->flags & SHUTDOWN_BOTH); break;
	case OP_RW: on_rw(c, h->len); break;
	case OP_CREDIT_UPDATE: break;
	case OP_CREDIT_REQUEST: c->tell |= 1u << OP_CREDIT_UPDATE; break;
	default: refuse(c); break;
	}
	if (c->fd >= 0)
		vsock_watch(c);
}

static enum virtio_queue_result transmit(struct virtio_vsock *v)
{
	while (virtio_pop(&v->dev, VSOCK_TX, &v->tx)) {
		struct vsock_header h;

		/* 5.10.6.4.1: what does not come from the guest's own address is dropped. */
		if (virtq_read(&v->dev.queue[VSOCK_TX], &v->tx, 0, &h, sizeof(h)) == 0 && h.src_cid == v->cid &&
		    h.len <= v->tx.out_len - sizeof(h))
			on_packet(v, &h);
		virtio_push(&v->dev, VSOCK_TX, &v->tx, 0);
	}
	vsock_pump(v);
	return VIRTIO_QUEUE_DONE;
}

/* There are buffers: what waited goes on. */
static enum virtio_queue_result receive(struct virtio_vsock *v)
{
	vsock_pump(v);
	for (struct vsock_conn *c = v->conns; c; c = c->next) {
		c->starved = false;
		if (c->fd >= 0)
			vsock_watch(c);
	}
	return VIRTIO_QUEUE_LEFT;
}

/* Tells of a transport reset: all connections are gone, and the CID may be another (5.10.6.7). */
static enum virtio_queue_result tell_event(struct virtio_vsock *v)
{
	uint32_t id = 0;

	if (!v->event || !virtio_pop(&v->dev, VSOCK_EVENT, &v->rx))
		return v->event ? VIRTIO_QUEUE_DONE : VIRTIO_QUEUE_LEFT;
	v->event = false;
	if (virtq_write(&v->dev.queue[VSOCK_EVENT], &v->rx, 0, &id, sizeof(id)))
		virtio_needs_reset(&v->dev);
	virtio_push(&v->dev, VSOCK_EVENT, &v->rx, sizeof(id));
	virtio_notify(&v->dev, VSOCK_EVENT);
	return VIRTIO_QUEUE_LEFT;
}

/* --- the model --- */

static enum virtio_queue_result vsock_queue(void *model, unsigned n)
{
	struct virtio_vsock *v = model;

	return n == VSOCK_TX ? transmit(v) : n == VSOCK_RX ? receive(v) : tell_event(v);
}

static void vsock_reset(void *model)
{
	struct virtio_vsock *v = model;

	v->drop = true;
	v->orphans = 0;
	v->event = false;
}

static void vsock_work(void *model)
{
	struct virtio_vsock *v = model;

	while (v->drop && v->conns)
		vsock_free(v->conns);
	v->drop = false;
	for (struct vsock_conn *c = v->conns; c; c = c->next)
		if (c->fd >= 0)
			vsock_watch(c);
}

static const struct virtio_model_ops model_ops = {
	.id = VIRTIO_ID_VSOCK,
	.queue = vsock_queue,
	.reset = vsock_reset,
	.work = vsock_work,
};

/* --- state --- */

static int vsock_loaded(void *chip)
{
	struct virtio_vsock *v = chip;

	virtio_lock(&v->dev);
	v->drop = true;
	v->event = v->dev.status & VIRTIO_DRIVER_OK;
	virtio_config_set(&v->dev, 0, 8, v->cid, false);
	virtio_work(&v->dev);
	virtio_kick(&v->dev, VSOCK_EVENT);
	virtio_unlock(&v->dev);
	return 0;
}

static const struct state_field fields[] = { STATE_UINT(struct virtio_vsock, event), STATE_END };
static const struct state_class class = { "virtio-vsock", 1, fields };
const struct chip_ops virtio_vsock_ops = { .state = &class, .loaded = vsock_loaded };

/* --- building --- */

int virtio_vsock_create(struct ram *ram, struct loop *loop, uint32_t cid, const char *path, struct virtio_vsock **out,
			struct error *err)
{
	struct virtio_vsock *v = calloc(1, sizeof(*v));
	struct virtio_device_config config = {
		.ops = &model_ops,
		.model = v,
		.ram = ram,
		.loop = loop,
		.queues = VSOCK_QUEUES,
		.queue_size = QUEUE_SIZE,
		.config_size = CONFIG_SIZE,
	};
	int ret = v ? virtio_device_init(&v->dev, &config) : -ENOMEM;

	if (ret) {
		free(v);
		return error_set(err, ret, STATUS_HOST, "cannot make the vsock device", "%s",
				 "raise the limit on open files, or free memory", strerror(-ret));
	}
	v->loop = loop;
	v->cid = cid;
	v->next_port = FIRST_PORT;
	v->listener = -1;
	virtio_config_set(&v->dev, 0, 8, cid, false);
	ret = vsock_listen(v, path, err);
	if (ret) {
		virtio_vsock_destroy(v);
		return ret;
	}
	*out = v;
	return 0;
}

void virtio_vsock_destroy(struct virtio_vsock *v)
{
	if (!v)
		return;
	while (v->conns)
		vsock_free(v->conns);
	if (v->listener >= 0) {
		loop_unwatch(v->loop, v->listener);
		close(v->listener);
		unlink(v->address.sun_path);
	}
	virtio_device_destroy(&v->dev);
	virtq_element_free(&v->tx);
	virtq_element_free(&v->rx);
	virtq_iov_free(&v->iov);
	free(v);
}
