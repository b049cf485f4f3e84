// SPDX-License-Identifier: GPL-2.0-or-later
/* What net.c and net_control.c share: the device, and the numbers of virtio 1.2, 5.1. */
#ifndef SUBRING_VIRTIO_NET_PRIVATE_H
#define SUBRING_VIRTIO_NET_PRIVATE_H

#include "virtio/net.h"

#define NET_F_CSUM (1ull << 0)
#define NET_F_GUEST_CSUM (1ull << 1)
#define NET_F_CTRL_GUEST_OFFLOADS (1ull << 2)
#define NET_F_MAC (1ull << 5)
#define NET_F_GUEST_TSO4 (1ull << 7)
#define NET_F_GUEST_TSO6 (1ull << 8)
#define NET_F_GUEST_ECN (1ull << 9)
#define NET_F_HOST_TSO4 (1ull << 11)
#define NET_F_HOST_TSO6 (1ull << 12)
#define NET_F_HOST_ECN (1ull << 13)
#define NET_F_MRG_RXBUF (1ull << 15)
#define NET_F_STATUS (1ull << 16)
#define NET_F_CTRL_VQ (1ull << 17)
#define NET_F_CTRL_RX (1ull << 18)
#define NET_F_CTRL_RX_EXTRA (1ull << 20)
#define NET_F_GUEST_ANNOUNCE (1ull << 21)
#define NET_F_MQ (1ull << 22)
#define NET_F_CTRL_MAC_ADDR (1ull << 23)
/* What CTRL_GUEST_OFFLOADS_SET may turn on and off (5.1.6.5.6.1) */
#define NET_GUEST_OFFLOADS (NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_ECN)

enum { NET_CONFIG_STATUS = 6, NET_CONFIG_PAIRS = 8 };
enum { NET_S_LINK_UP = 1, NET_S_ANNOUNCE = 2 };
enum {
	NET_HEADER = 12,      /* struct virtio_net_hdr (5.1.6) */
	NET_HEAD = 128,	      /* bytes of a frame that filters and flows look at */
	NET_BUFFERS_MAX = 64, /* that a frame is spread over */
	NET_FLOWS = 256,
	NET_MACS_MAX = 64,    /* of each table of the filter */
};

struct net_mac {
	uint8_t byte[NET_MAC_BYTES];
};

struct virtio_net {
	struct virtio_device dev;
	struct net_port *port;
	unsigned pairs;
	/* saved: what came through the control queue */
	bool promiscuous, all_multicast, all_unicast, no_multicast, no_unicast, no_broadcast;
	uint32_t unicasts, multicasts; /* entries of the tables; more than NET_MACS_MAX: all */
	struct net_mac unicast[NET_MACS_MAX], multicast[NET_MACS_MAX];
	uint32_t pairs_used;
	uint64_t offloads; /* NET_GUEST_OFFLOADS that are on */
	/* not saved */
	bool announce; /* the driver is to be asked for an announcement */
	bool inside, too_big;
	uint32_t stalled; /* bit n: transmit queue of pair n waits for the port */
	uint8_t flow[NET_FLOWS]; /* the pair by which it last went out */
	struct virtq_element rx[NET_BUFFERS_MAX], tx, control;
	struct virtq_iov tx_iov;
	bool has_waiting;
	size_t waiting_len;
	struct net_offload waiting_offload;
	uint8_t waiting[NET_FRAME_MAX];
};

/* Its number depends on MQ (5.1.2). */
unsigned net_control_queue(const struct virtio_net *n);
enum virtio_queue_result net_control(struct virtio_net *n, unsigned q);
void net_control_reset(struct virtio_net *n);
bool net_features_ok(void *model, uint64_t features);
/* Whether the driver wants a frame that begins with @head. */
bool net_filter(const struct virtio_net *n, const uint8_t *head, size_t len);
/* Asks the driver to announce itself, if it can. */
void net_announce(struct virtio_net *n);

#endif
