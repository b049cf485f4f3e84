// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Network device: virtio 1.2, 5.1. See net.h. net_control.c: the control queue and what comes through its filters.
 *
 * Invariants: `inside` is true while this file calls the port with the lock held, on the I/O thread, which alone reads it: the port
 * may call net_receive then. A frame is `waiting` only while the port is paused.
 */
#include "virtio/net_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE_SIZE = 256, CONFIG_SIZE = 12 };

struct virtio_device *virtio_net_device(struct virtio_net *n)
{
	return &n->dev;
}

/* --- flows --- */

/*
 * A number that is the same for both directions of a TCP or UDP flow, of other IP traffic between two addresses, and else 0. Only which queue is
 * used depends on it.
 */
static unsigned flow_of(const uint8_t *f, size_t len)
{
	unsigned type = len >= 14 ? f[12] << 8 | f[13] : 0, sum = 0, ports = 0;
	const uint8_t *ip = f + 14;

	if (type == 0x0800 && len >= 34) {
		for (unsigned i = 12; i < 16; i++)
			sum = sum * 31 + (ip[i] ^ ip[i + 4]);
		ports = ip[9] == 6 || ip[9] == 17 ? 14 + (ip[0] & 15) * 4u : 0;
	} else if (type == 0x86dd && len >= 54) {
		for (unsigned i = 8; i < 24; i++)
			sum = sum * 31 + (ip[i] ^ ip[i + 16]);
		ports = ip[6] == 6 || ip[6] == 17 ? 54 : 0;
	}
	if (ports && len >= ports + 4)
		sum = sum * 31 + (unsigned)(f[ports] ^ f[ports + 2]) * 256 + (f[ports + 1] ^ f[ports + 3]);
	return (sum ^ sum >> 8 ^ sum >> 16) % NET_FLOWS;
}

/* The first bytes of a frame: its headers, mostly. */
static size_t head_of(const struct iovec *iov, unsigned iovs, uint8_t *head, size_t max)
{
	size_t len = 0;

	for (unsigned i = 0; i < iovs && len < max; i++) {
		size_t part = iov[i].iov_len < max - len ? iov[i].iov_len : max - len;

		memcpy(head + len, iov[i].iov_base, part);
		len += part;
	}
	return len;
}

/* --- from the port to the driver --- */

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static void make_header(uint8_t h[NET_HEADER], const struct net_offload *o, unsigned buffers)
{
	h[0] = o->flags;
	h[1] = o->gso_type;
	put16(h + 2, o->hdr_len);
	put16(h + 4, o->gso_size);
	put16(h + 6, o->csum_start);
	put16(h + 8, o->csum_offset);
	put16(h + 10, (uint16_t)buffers);
}

/* Pops buffers of queue @q for @need bytes: how many, or 0 when there is not enough, and then notifications are wanted. */
static unsigned take_buffers(struct virtio_net *n, unsigned q, uint64_t need)
{
	unsigned max = virtio_has(&n->dev, NET_F_MRG_RXBUF) ? NET_BUFFERS_MAX : 1, count = 0;
	uint64_t room = 0;

	while (room < need && count < max) {
		if (!virtio_pop(&n->dev, q, &n->rx[count])) {
			/* Asked behind those that were popped: one more is what can help. */
			if (!virtio_running(&n->dev) || !virtio_want_kicks(&n->dev, q, true))
				break;
			continue;
		}
		room += n->rx[count++].in_len;
	}
	if (room >= need)
		return count;
	if (count == max) {
		/* It will never fit into these: the frame is lost, not the queue. */
		n->too_big = true;
	}
	while (count)
		virtio_unpop(&n->dev, q, &n->rx[--count]);
	return 0;
}

/* Copies header and frame into @count buffers and gives them back. */
static void fill_buffers(struct virtio_net *n, unsigned q, unsigned count, const struct iovec *iov, unsigned iovs,
			 const struct net_offload *o)
{
	uint32_t written[NET_BUFFERS_MAX] = { 0 };
	uint8_t header[NET_HEADER];
	struct iovec all[1] = { { header, sizeof(header) } };
	unsigned at = 0;

	make_header(header, o, count);
	for (unsigned i = 0; i <= iovs; i++) {
		const struct iovec *part = i ? &iov[i - 1] : all;
		const uint8_t *from = part->iov_base;

		for (size_t left = part->iov_len; left;) {
			uint64_t room = n->rx[at].in_len - written[at];
			size_t len = left < room ? left : room;

			if (virtq_write(&n->dev.queue[q], &n->rx[at], written[at], from, len))
				virtio_needs_reset(&n->dev);
			written[at] += (uint32_t)len;
			from += len;
			left -= len;
			if (left)
				at++;
		}
	}
	virtio_push_many(&n->dev, q, n->rx, written, count);
}

/* 1 when the frame is gone (to the driver, or lost), 0 when it has to wait for buffers. */
static int deliver(struct virtio_net *n, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	uint8_t head[NET_HEAD];
	size_t head_len = head_of(iov, iovs, head, sizeof(head));
	uint64_t len = NET_HEADER;
	unsigned q, count, budget = n->dev.budget;

	if (!virtio_running(&n->dev) || !net_filter(n, head, head_len))
		return 1;
	for (unsigned i = 0; i < iovs; i++)
		len += iov[i].iov_len;
	q = n->flow[flow_of(head, head_len)] % n->pairs_used * 2;
	if (!n->dev.queue[q].ready)
		q = 0;
	if (!n->dev.queue[q].ready || len > NET_HEADER + NET_FRAME_MAX)
		return 1;
	/* What the port gives bounds this; the budget is for what the guest gives. */
	n->dev.budget = NET_BUFFERS_MAX;
	n->too_big = false;
	count = take_buffers(n, q, len);
	n->dev.budget = budget;
	if (!count)
		return n->too_big || !virtio_running(&n->dev);
	fill_buffers(n, q, count, iov, iovs, o);
	virtio_notify(&n->dev, q);
	return 1;
}

static void keep(struct virtio_net *n, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	n->waiting_len = head_of(iov, iovs, n->waiting, sizeof(n->waiting));
	n->waiting_offload = *o;
	n->has_waiting = true;
	net_pause(n->port, true);
}

static void net_receive(void *opaque, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	struct virtio_net *n = opaque;
	bool inside = n->inside;

	if (!inside)
		virtio_lock(&n->dev);
	n->inside = true;
	if (!n->has_waiting && !deliver(n, iov, iovs, o))
		keep(n, iov, iovs, o);
	n->inside = inside;
	if (!inside)
		virtio_unlock(&n->dev);
}

/* There may be buffers now. */
static void receive_on(struct virtio_net *n)
{
	if (n->has_waiting) {
		struct iovec iov = { n->waiting, n->waiting_len };

		n->has_waiting = false;
		if (!deliver(n, &iov, 1, &n->waiting_offload)) {
			n->has_waiting = true;
			return;
		}
	}
	if (n->port)
		net_pause(n->port, n->dev.paused);
}

/* --- from the driver to the port --- */

static void net_writable(void *opaque)
{
	struct virtio_net *n = opaque;

	for (unsigned pair = 0; pair < n->pairs; pair++)
		if (n->stalled >> pair & 1)
			virtio_kick(&n->dev, pair * 2 + 1);
}

const struct net_port_ops virtio_net_port_ops = { .receive = net_receive, .writable = net_writable };

/* 0, or -EAGAIN. Frames that cannot be are lost, as on a cable. */
static int send_frame(struct virtio_net *n, unsigned q)
{
	struct virtq *vq = &n->dev.queue[q];
	uint8_t h[NET_HEADER], head[NET_HEAD];
	struct net_offload o;
	int ret;

	if (virtq_read(vq, &n->tx, 0, h, sizeof(h)) || n->tx.out_len > NET_HEADER + NET_FRAME_MAX)
		return 0;
	n->tx_iov.count = 0;
	ret = virtq_map(vq, &n->tx, false, NET_HEADER, n->tx.out_len - NET_HEADER, &n->tx_iov);
	if (ret == -EPROTO)
		virtio_needs_reset(&n->dev);
	if (ret || !n->tx_iov.count || n->tx_iov.count > NET_IOVS_MAX || !n->port)
		return 0;
	o = (struct net_offload){
		.flags = h[0] & NET_OFFLOAD_CSUM,
		.gso_type = h[1],
		.hdr_len = get16(h + 2),
		.gso_size = get16(h + 4),
		.csum_start = get16(h + 6),
		.csum_offset = get16(h + 8),
	};
	n->flow[flow_of(head, head_of(n->tx_iov.iov, n->tx_iov.count, head, sizeof(head)))] = (uint8_t)(q / 2);
	return net_send(n->port, n->tx_iov.iov, n->tx_iov.count, &o);
}

static enum virtio_queue_result transmit(struct virtio_net *n, unsigned q)
{
	n->stalled &= ~(1u << q / 2);
	while (virtio_pop(&n->dev, q, &n->tx)) {
		if (send_frame(n, q) == -EAGAIN) {
			virtio_unpop(&n->dev, q, &n->tx);
			n->stalled |= 1u << q / 2;
			return VIRTIO_QUEUE_LEFT;
		}
		virtio_push(&n->dev, q, &n->tx, 0);
	}
	return VIRTIO_QUEUE_DONE;
}

/* --- the model --- */

static enum virtio_queue_result net_queue(void *model, unsigned q)
{
	struct virtio_net *n = model;
	enum virtio_queue_result result = VIRTIO_QUEUE_LEFT;

	n->inside = true;
	if (q == net_control_queue(n))
		result = net_control(n, q);
	else if (q >= n->pairs * 2)
		result = VIRTIO_QUEUE_DONE;
	else if (q & 1)
		result = transmit(n, q);
	else
		receive_on(n);
	n->inside = false;
	return result;
}

static void net_reset(void *model)
{
	struct virtio_net *n = model;

	net_control_reset(n);
	memset(n->flow, 0, sizeof(n->flow));
	n->has_waiting = false;
	n->stalled = 0;
}

static void net_started(void *model)
{
	struct virtio_net *n = model;

	n->offloads = n->dev.driver_features & NET_GUEST_OFFLOADS;
}

/* The port is told what the driver and the pause want of it. */
static void net_work(void *model)
{
	struct virtio_net *n = model;
	uint64_t o = n->dev.status & VIRTIO_DRIVER_OK ? n->offloads : 0;

	if (!n->port)
		return;
	n->inside = true;
	net_set_offloads(n->port, (o & NET_F_GUEST_CSUM ? NET_GIVES_CSUM : 0) | (o & NET_F_GUEST_TSO4 ? NET_GIVES_TSO4 : 0) |
					  (o & NET_F_GUEST_TSO6 ? NET_GIVES_TSO6 : 0));
	if (n->dev.paused)
		net_pause(n->port, true);
	else
		receive_on(n);
	if (n->announce && virtio_running(&n->dev)) {
		n->announce = false;
		net_announce(n);
	}
	n->inside = false;
}

static const struct virtio_model_ops model_ops = {
	.id = VIRTIO_ID_NET,
	.queue = net_queue,
	.reset = net_reset,
	.started = net_started,
	.work = net_work,
	.features_ok = net_features_ok,
};

/* --- building --- */

void virtio_net_plug(struct virtio_net *n, struct net_port *port)
{
	unsigned can = net_features(port);
	uint64_t f = 0;

	f |= can & NET_TAKES_CSUM ? NET_F_CSUM : 0;
	f |= can & NET_TAKES_TSO4 ? NET_F_HOST_TSO4 | NET_F_HOST_ECN : 0;
	f |= can & NET_TAKES_TSO6 ? NET_F_HOST_TSO6 | NET_F_HOST_ECN : 0;
	f |= can & NET_GIVES_CSUM ? NET_F_GUEST_CSUM : 0;
	f |= can & NET_GIVES_TSO4 ? NET_F_GUEST_TSO4 | NET_F_GUEST_ECN : 0;
	f |= can & NET_GIVES_TSO6 ? NET_F_GUEST_TSO6 | NET_F_GUEST_ECN : 0;
	virtio_lock(&n->dev);
	n->port = port;
	n->dev.features |= f;
	virtio_config_set(&n->dev, NET_CONFIG_STATUS, 2, net_link_up(port) ? NET_S_LINK_UP : 0, false);
	virtio_work(&n->dev);
	virtio_unlock(&n->dev);
}

int virtio_net_create(struct ram *ram, struct loop *loop, const uint8_t mac[NET_MAC_BYTES], unsigned pairs,
		      struct virtio_net **out)
{
	struct virtio_net *n = calloc(1, sizeof(*n));
	struct virtio_device_config config = {
		.ops = &model_ops,
		.model = n,
		.ram = ram,
		.loop = loop,
		.features = NET_F_MAC | NET_F_MRG_RXBUF | NET_F_STATUS | NET_F_CTRL_VQ | NET_F_CTRL_RX | NET_F_CTRL_RX_EXTRA |
			    NET_F_GUEST_ANNOUNCE | NET_F_CTRL_MAC_ADDR | NET_F_CTRL_GUEST_OFFLOADS |
			    (pairs > 1 ? NET_F_MQ : 0),
		.queues = pairs * 2 + 1,
		.queue_size = QUEUE_SIZE,
		.config_size = CONFIG_SIZE,
	};
	int ret;

	if (!n)
		return -ENOMEM;
	ret = pairs && pairs <= VIRTIO_NET_PAIRS_MAX ? virtio_device_init(&n->dev, &config) : -EINVAL;
	if (ret) {
		free(n);
		return ret;
	}
	n->pairs = pairs;
	for (unsigned i = 0; i < NET_MAC_BYTES; i++)
		virtio_config_set(&n->dev, i, 1, mac[i], false);
	virtio_config_set(&n->dev, NET_CONFIG_STATUS, 2, 0, false);
	virtio_config_set(&n->dev, NET_CONFIG_PAIRS, 2, pairs, false);
	net_control_reset(n);
	*out = n;
	return 0;
}

void virtio_net_destroy(struct virtio_net *n)
{
	if (!n)
		return;
	virtio_device_destroy(&n->dev);
	for (unsigned i = 0; i < NET_BUFFERS_MAX; i++)
		virtq_element_free(&n->rx[i]);
	virtq_element_free(&n->tx);
	virtq_element_free(&n->control);
	virtq_iov_free(&n->tx_iov);
	free(n);
}
