// SPDX-License-Identifier: GPL-2.0-or-later
/* What the back-ends of src/net/ see of a port, and of each other. */
#ifndef SUBRING_NET_NET_PRIVATE_H
#define SUBRING_NET_NET_PRIVATE_H

#include "net/net.h"
#include "net/pieces.h"

struct pcap;

struct net_backend {
	/* Opens what p->config says. 0, or a negative errno with @err. */
	int (*open)(struct net_port *p, struct error *err);
	void (*close)(struct net_port *p); /* called only after open succeeded */
	/*
	 * A frame of at most NET_FRAME_MAX bytes with only offloads of p->takes. 0 or -EAGAIN, as for net_send;
	 * what is dropped is counted here.
	 */
	int (*send)(struct net_port *p, const struct iovec *iov, unsigned iovs, size_t len,
		    const struct net_offload *o);
	/*
	 * For back-ends whose answers come from within `send`, so that a capture has them behind the question: whether
	 * `send` would refuse, which it then does not. May be NULL.
	 */
	bool (*full)(struct net_port *p);
	void (*pause)(struct net_port *p, bool paused); /* may be NULL: cannot be held */
	void (*offloads)(struct net_port *p);		/* p->gives has changed; may be NULL */
};

enum {
	HELD_FRAMES_MAX = 1024,
	HELD_BYTES_MAX = 2 << 20,
};

struct net_port {
	struct net_config config;
	const struct net_backend *backend;
	void *private; /* the back-end's */
	struct loop *loop;
	const struct net_port_ops *ops;
	void *opaque;
	unsigned takes;	    /* NET_TAKES_*: what the back-end itself takes */
	unsigned can_give;  /* NET_GIVES_*: what it can give */
	unsigned gives;	    /* what the device takes of it */
	bool paused, link_up, releasing;
	bool blocked; /* net_send has said -EAGAIN, and `writable` is owed */
	struct pcap *pcap;
	struct net_stats stats;
	struct pieces held;   /* for the device */
	struct pieces unsent; /* for the back-end: what a frame was made into */
	uint8_t flat_in[NET_FRAME_MAX], flat_out[NET_FRAME_MAX]; /* frames that are worked on, to and from the device */
	char describe[96];
};

extern const struct net_backend net_user_backend, net_tap_backend, net_switch_backend;

/* --- port.c --- */

/* A frame for the device came from the back-end. May call `receive`; the memory is the caller's afterwards. */
void net_deliver(struct net_port *p, const struct iovec *iov, unsigned iovs, const struct net_offload *o);
void net_drop(struct net_port *p, enum net_drop why);
/* The back-end's `send` has said -EAGAIN before and has room again. Not from within `send`. */
void net_writable(struct net_port *p);
/* False: nothing further may be taken in now; for back-ends that can leave it where it is. */
static inline bool net_wants(const struct net_port *p)
{
	return !p->paused && !pieces_first(&p->held);
}

size_t net_iov_len(const struct iovec *iov, unsigned iovs);
/* Copies up to @len bytes from @offset on; returns how many there were. */
size_t net_iov_read(const struct iovec *iov, unsigned iovs, size_t offset, void *to, size_t len);

/* --- segment.c --- */

/*
 * Whether @o is possible for a frame of @len bytes: 0 or -EINVAL. A header that passes cannot send anybody out of the
 * frame.
 */
int net_offload_check(const struct net_offload *o, size_t len);
/* The NET_TAKES_* that a taker of this frame needs. */
unsigned net_offload_needs(const struct net_offload *o);

typedef void net_frame_fn(void *opaque, const void *frame, size_t len);
/*
 * Does what @o asks for: calls @fn for each frame that comes out, in order, each in a buffer that is valid
 * during the call. @frame (of @len bytes, at most NET_FRAME_MAX) is changed. 0, or -EINVAL when the frame is not
 * what @o says; @fn was not called then.
 */
int net_segment(uint8_t *frame, size_t len, const struct net_offload *o, net_frame_fn *fn, void *opaque);
/* Fills in the checksum alone; what @o asks for has passed net_offload_check. */
void net_complete_checksum(uint8_t *frame, size_t len, const struct net_offload *o);
/*
 * Gives the headers of a TCP segment over IPv4 that is still to be cut, the one at @ip and the other at @tcp, what they
 * need for that: the length, IPv4's checksum, and the sum of the pseudo header in TCP's.
 */
void net_gso4_headers(uint8_t *frame, size_t len, size_t ip, size_t tcp);

/* --- pcap.c --- */

/* A capture into a new file at @path. 0, or a negative errno with @err. */
int pcap_open(const char *path, struct pcap **out, struct error *err);
/* False: it has no room in the buffer, and is not in the capture. Never waits for the disk. */
bool pcap_frame(struct pcap *c, const struct iovec *iov, unsigned iovs);
void pcap_close(struct pcap *c); /* writes what is left; NULL is fine */

#endif
