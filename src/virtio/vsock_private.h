// SPDX-License-Identifier: GPL-2.0-or-later
/* What vsock.c (packets) and vsock_socket.c (the host's sockets) share. */
#ifndef SUBRING_VIRTIO_VSOCK_PRIVATE_H
#define SUBRING_VIRTIO_VSOCK_PRIVATE_H

#include "virtio/vsock.h"

#include <sys/un.h>

/* Queues and operations (5.10.2, 5.10.6) */
enum { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };
enum {
	OP_REQUEST = 1, OP_RESPONSE, OP_RST, OP_SHUTDOWN, OP_RW, OP_CREDIT_UPDATE, OP_CREDIT_REQUEST,
};
enum { SHUTDOWN_RECEIVE = 1, SHUTDOWN_SEND = 2, SHUTDOWN_BOTH = 3 };
enum { VSOCK_ORPHANS_MAX = 64, VSOCK_HELLO_MAX = 32 };

struct vsock_header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));
_Static_assert(sizeof(struct vsock_header) == 44, "5.10.6");

enum vsock_state {
	VSOCK_HELLO,	 /* a program has connected, and not yet said to what */
	VSOCK_REQUESTED, /* the guest was asked */
	VSOCK_CONNECTED,
	VSOCK_CLOSING,	 /* only what waits to be told is left */
};

struct vsock_conn {
	struct vsock_conn *next;
	struct virtio_vsock *v;
	enum vsock_state state;
	int fd; /* -1: gone */
	uint32_t host_port, guest_port;
	unsigned tell;	  /* bit OP_*: to be told to the guest */
	uint32_t shut;	  /* of us: SHUTDOWN_*, told or to be told */
	uint32_t peer_shut;
	bool starved;	  /* the socket has bytes, the guest no buffer or no credit for them */
	/* credit (5.10.6.3): of the guest, and ours; all wrap */
	char hello[VSOCK_HELLO_MAX]; /* what a program has said so far */
	unsigned hello_len;
	uint32_t peer_alloc, peer_fwd, sent;
	uint32_t fwd, fwd_told;
	/* bytes of the guest that the socket did not take yet */
	uint8_t *buffer;
	uint32_t at, len;
};

struct virtio_vsock {
	struct virtio_device dev;
	struct loop *loop;
	uint32_t cid, next_port;
	int listener;
	struct sockaddr_un address;
	struct vsock_conn *conns;
	unsigned count;
	bool drop; /* all connections go, on the I/O thread */
	bool event; /* saved: the driver is to be told of a transport reset */
	struct virtq_element tx, rx;
	struct virtq_iov iov;
	/* answers to packets that belong to no connection */
	struct {
		uint32_t host_port, guest_port;
	} orphan[VSOCK_ORPHANS_MAX];
	unsigned orphans;
};

/* vsock.c */
void vsock_pump(struct virtio_vsock *v); /* tells the guest what there is to tell */
/* One packet with bytes of @c's socket: 1, 0 when the guest has no room, -EAGAIN, or another error; ENODATA at the stream's end. */
int vsock_forward(struct vsock_conn *c);

/* vsock_socket.c; on the I/O thread */
int vsock_listen(struct virtio_vsock *v, const char *path, struct error *err);
struct vsock_conn *vsock_connect(struct virtio_vsock *v, uint32_t host_port, uint32_t guest_port);
void vsock_accepted(struct vsock_conn *c);			   /* the guest answered */
int vsock_take(struct vsock_conn *c, const void *bytes, uint32_t len); /* bytes of the guest */
void vsock_flush(struct vsock_conn *c);
void vsock_peer_shut(struct vsock_conn *c, uint32_t flags);
void vsock_watch(struct vsock_conn *c);				   /* what is waited for changed */
void vsock_hang_up(struct vsock_conn *c);			   /* closes the socket; the connection stays to be told */
void vsock_free(struct vsock_conn *c);
uint32_t vsock_credit(const struct vsock_conn *c);

#endif
