// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Network device: virtio 1.2, 5.1, at one end of a port of net/net.h: the port's callbacks are virtio_net_port_ops.
 *
 * Checksum and segmentation offloads as the port has them; mergeable receive buffers; several pairs of queues, of which a flow's
 * frames come in by the one that it last went out by; a control queue with MAC addresses, filters, offloads and announcements.
 *
 * When the driver has no buffer for a frame, that frame waits here and the port is paused until there is one.
 */
#ifndef SUBRING_VIRTIO_NET_H
#define SUBRING_VIRTIO_NET_H

#include "net/net.h"
#include "virtio/device.h"

struct virtio_net;

enum { VIRTIO_NET_PAIRS_MAX = 8 };

/* Makes the device; then the port is opened with virtio_net_port_ops and the device as opaque, and given by virtio_net_plug. */
int virtio_net_create(struct ram *ram, struct loop *loop, const uint8_t mac[NET_MAC_BYTES], unsigned pairs,
		      struct virtio_net **out);
/* Before the guest runs. The port outlives the device; it is closed before or after on the loop's thread, or when that has ended. */
void virtio_net_plug(struct virtio_net *n, struct net_port *port);
void virtio_net_destroy(struct virtio_net *n); /* NULL is fine */
struct virtio_device *virtio_net_device(struct virtio_net *n);

extern const struct net_port_ops virtio_net_port_ops;
/* State: filters, offloads, pairs in use. After loading the driver is asked to announce itself. */
extern const struct chip_ops virtio_net_ops;

#endif
