// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Networks: one end of a cable. The guest's network device is at the other.
 *
 *   config.c          the words of --net, --publish; addresses made from a VM's name
 *   port.c            what all ports do: checks, counters, capture, offloads in software, the backlog
 *   segment.c         a frame with offloads is made into frames without
 *   pieces.c          bounded queues of frames
 *   pcap.c            captures, written by a thread of their own
 *   user.c            the user's own network: NAT by libslirp, without root
 *   merge.c           segments in a row become one frame
 *   tap.c             a network interface of the host
 *   switch_port.c     a cable to a switch between the VMs of this host
 *   switch_core.c     that switch itself, without sockets; switch_process.c: its process
 *   switch_place.c    where it lives, how it is started and found; switch.h: what commands use of it
 *
 * Everything of a port happens on the thread of its loop: net_open, before the loop runs or on its
 * thread; all other calls and all callbacks on its thread (net_close also after the loop has ended).
 *
 * A frame is an Ethernet frame without its check sequence: destination, source, type, payload. What
 * the guest sends and what other VMs send is hostile: a frame that cannot be one is dropped and counted.
 */
#ifndef SUBRING_NET_NET_H
#define SUBRING_NET_NET_H

#include "host/error.h"
#include "host/loop.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
	NET_MAC_BYTES = 6,
	NET_HEADER_BYTES = 14,	  /* of an Ethernet frame: the shortest that is taken */
	NET_FRAME_MAX = 65550,	  /* a frame with segmentation offload: a whole IP packet behind its header */
	NET_IOVS_MAX = 1023,	  /* iovecs of one frame */
	NET_PUBLISH_MAX = 32,
	NET_NAME_MAX = 32,	  /* bytes of a switch's name */
};

/* --- configuration --- */

enum net_kind { NET_NONE, NET_USER, NET_TAP, NET_SWITCH };

/* A port of the host that is the guest's: --publish [ADDR:]HOST:GUEST[/udp]. */
struct net_publish {
	bool udp, v6;
	uint8_t addr[16]; /* of the host, network order; 4 bytes without v6 */
	uint16_t host, guest;
};

struct net_config {
	enum net_kind kind;
	uint8_t mac[NET_MAC_BYTES]; /* of the guest's device; all 0: none was chosen, see net_mac_of */
	char name[NET_NAME_MAX + 1]; /* of the switch or of the tap interface; "" for a tap: the kernel's choice */
	char bridge[IFNAMSIZ];	    /* tap: attach it to this bridge; "": to none */
	char uplink[IFNAMSIZ + 8];  /* switch: "", "user", "tap" or "tap:NAME" */
	bool restricted;	    /* user: the guest reaches nothing but what is published to it */
	bool no_loopback;	    /* user: 10.0.2.2 does not reach the host's own loopback */
	bool isolated;		    /* switch: this port reaches only the uplink and ports that are not isolated */
	bool promiscuous;	    /* switch: this port gets all frames */
	char pcap[4096];	    /* capture into this file; "": do not */
	char vm[65];		    /* name of the VM, for DHCP and `subring net show`; may be "" */
	struct net_publish publish[NET_PUBLISH_MAX];
	unsigned publishes;
};

/*
 * Reads the value of --net: none, user[,restrict][,no-loopback], tap[=NAME][,bridge=BR],
 * switch=NAME[,isolated][,promiscuous][,uplink=user|tap[:NAME]]; behind each kind also mac=ADDRESS and
 * pcap=FILE. @c is overwritten, except vm. 0, or -EINVAL with @err.
 */
int net_config_parse(const char *text, struct net_config *c, struct error *err);
/* Adds the value of --publish, [ADDR:]HOST:GUEST[/tcp|/udp], to @c. ADDR is IPv4 or [IPv6]; 127.0.0.1 without. */
int net_publish_parse(const char *text, struct net_config *c, struct error *err);
/* The address of the @index-th interface of the VM called @vm: always the same, unicast, locally administered. */
void net_mac_of(const char *vm, unsigned index, uint8_t mac[NET_MAC_BYTES]);
/* False: @text is no unicast address such as 02:00:5e:10:00:01. */
bool net_mac_parse(const char *text, uint8_t mac[NET_MAC_BYTES]);

/* --- offloads --- */

/*
 * What is still to be done to a frame, as in the first ten bytes of VIRTIO 1.2's virtio_net_hdr (5.1.6),
 * with host byte order. All 0: nothing.
 */
struct net_offload {
	uint8_t flags;	   /* NET_OFFLOAD_* */
	uint8_t gso_type;  /* enum net_gso, perhaps with NET_GSO_ECN */
	uint16_t hdr_len;  /* a hint: nothing relies on it */
	uint16_t gso_size; /* payload bytes of each segment */
	uint16_t csum_start, csum_offset; /* sum from start on, store at start + offset */
};

enum { NET_OFFLOAD_CSUM = 1, NET_OFFLOAD_CSUM_VALID = 2 };
enum net_gso { NET_GSO_NONE = 0, NET_GSO_TCPV4 = 1, NET_GSO_TCPV6 = 4, NET_GSO_ECN = 0x80 };

/*
 * What a port takes from the device, and may give to it. All ports take all three: what the back-end
 * cannot do, the port does in software, which costs less here than in the guest. What is given has to be
 * asked for by net_set_offloads, and is nothing before.
 */
enum {
	NET_TAKES_CSUM = 1u << 0,
	NET_TAKES_TSO4 = 1u << 1, /* with ECN */
	NET_TAKES_TSO6 = 1u << 2,
	NET_GIVES_CSUM = 1u << 8,
	NET_GIVES_TSO4 = 1u << 9, /* with ECN */
	NET_GIVES_TSO6 = 1u << 10,
};

/* --- ports --- */

struct net_port;

struct net_port_ops {
	/*
	 * A frame for the device, in memory of the port that is valid during the call. @o is never NULL and asks
	 * only for what net_set_offloads allowed. Called only while the port is not paused; it may call net_pause
	 * and net_send, not net_close.
	 */
	void (*receive)(void *opaque, const struct iovec *iov, unsigned iovs, const struct net_offload *o);
	/* There is room again after net_send returned -EAGAIN. Never called from within net_send. */
	void (*writable)(void *opaque);
};

/* Why frames were dropped, with names for messages and tables. */
#define NET_DROPS(X)                                                                               \
	X(SHORT, "short")      /* shorter than an Ethernet header */                               \
	X(LONG, "long")	       /* longer than the cable takes */                                   \
	X(OFFLOAD, "offload")  /* what the offload header asks for cannot be */                    \
	X(PAUSED, "paused")    /* for the device, which had no room for too long */                \
	X(BACKEND, "backend")  /* the host refused it: an interface that is down, a full queue */  \
	X(UNPLUGGED, "unplugged") /* nothing at the other end: none, or a switch that has gone */  \
	X(CAPTURE, "capture")  /* not dropped, but missing in the capture: its disk is too slow */

enum net_drop {
#define X(id, name) NET_DROP_##id,
	NET_DROPS(X)
#undef X
	NET_DROP_COUNT
};

struct net_stats {
	uint64_t sent_frames, sent_bytes;	  /* by the device */
	uint64_t received_frames, received_bytes; /* by the device */
	uint64_t dropped[NET_DROP_COUNT];
};

/*
 * Opens what @config describes on @loop. Config and its strings are copied. 0, or a negative errno with @err.
 * NET_NONE is a port as well: a cable with nothing at its end.
 */
int net_open(const struct net_config *config, struct loop *loop, const struct net_port_ops *ops, void *opaque,
	     struct net_port **out, struct error *err);
void net_close(struct net_port *p); /* NULL is fine; ends the capture, so that its file is whole */

/*
 * Sends a frame of the device; its memory is the caller's again afterwards. @o may be NULL. 0: it is on its way, or
 * was dropped and counted. -EAGAIN: the queue is full, nothing was taken, and `writable` will be called.
 */
int net_send(struct net_port *p, const struct iovec *iov, unsigned iovs, const struct net_offload *o);

/*
 * While paused nothing is received: the source is held where that is possible, else a bounded number of frames
 * waits. Taking the pause back may call `receive` before this returns.
 */
void net_pause(struct net_port *p, bool paused);

unsigned net_features(const struct net_port *p); /* NET_TAKES_* and NET_GIVES_* */
/* Which NET_GIVES_* the device can take, as negotiated by its driver. */
void net_set_offloads(struct net_port *p, unsigned gives);

/* Is there something at the other end? A switch that ended is started anew: the link goes down and up. */
bool net_link_up(const struct net_port *p);
const struct net_stats *net_stats(const struct net_port *p); /* valid until net_close */
const char *net_drop_name(enum net_drop drop);
/* The host's name of what the port is at ("tap0", "switch office"), for messages; valid until net_close. */
const char *net_describe(const struct net_port *p);

#endif
