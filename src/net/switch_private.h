// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The protocol of a switch, and its parts.
 *
 * The socket is SOCK_SEQPACKET: a message is a record, never cut or merged. The first message of a client is a
 * struct switch_hello. To SWITCH_PORT the switch answers with a struct switch_welcome, and if that says yes, every further
 * message of either side is a frame behind a struct net_offload; all ports take all offloads. To SWITCH_QUERY
 * it answers with one struct switch_report and hangs up. Numbers are the host's.
 */
#ifndef SUBRING_NET_SWITCH_PRIVATE_H
#define SUBRING_NET_SWITCH_PRIVATE_H

#include "net/net_private.h"
#include "net/switch.h"

enum {
	SWITCH_MAGIC = 0x53525753,
	SWITCH_VERSION = 1,
	SWITCH_MACS_MAX = 8192, /* SWITCH_PORTS_MAX times: nobody can take the others' room */
	SWITCH_MACS_PER_PORT = 128,
	SWITCH_AGE_MS = 300 * 1000,
	SWITCH_MESSAGE_MAX = sizeof(struct net_offload) + NET_FRAME_MAX,
	SWITCH_SOCKET_BYTES = 1 << 20, /* asked for; the kernel may give less */
};

enum switch_hello_kind { SWITCH_PORT = 1, SWITCH_QUERY = 2 };

struct switch_hello {
	uint32_t magic, version, kind, flags;
	uint8_t mac[NET_MAC_BYTES];
	char vm[SWITCH_VM_BYTES], uplink[SWITCH_UPLINK_BYTES]; /* "": none is asked for */
};

struct switch_welcome {
	uint32_t magic, version;
	int32_t error; /* 0, or a negative errno with the reason */
	uint32_t port;
	char why[512], fix[256];
};

/* Whether @len bytes are a hello; its strings have ends then. NULL, or what is wrong. */
const char *switch_hello_check(const struct switch_hello *h, size_t len);
/* Whether @len bytes are a report as long as it says. */
bool switch_report_check(const struct switch_report *r, size_t len);

/* --- switch_core.c: the switch without its sockets --- */

struct switch_core;

struct switch_core *switch_core_create(uint64_t seed); /* NULL: no memory */
void switch_core_destroy(struct switch_core *c);
void switch_core_join(struct switch_core *c, unsigned port, unsigned flags);
void switch_core_leave(struct switch_core *c, unsigned port);
/*
 * A frame, of which the first NET_HEADER_BYTES are at @header, came in at @port. Returns a bit for each port that it
 * goes out at; sets @bad when it is none that a switch may pass on.
 */
uint64_t switch_core_forward(struct switch_core *c, unsigned port, const uint8_t *header, uint64_t now_ms, bool *bad);
/* Fills in up to @max addresses; returns how many. Those too old are forgotten. */
unsigned switch_core_macs(struct switch_core *c, struct switch_mac_info *to, unsigned max, uint64_t now_ms);
unsigned switch_core_macs_of(const struct switch_core *c, unsigned port);

/* --- switch_place.c: where switches live --- */

/* The folder, made if it is not there; a descriptor, or a negative errno with @err. */
int switch_place_open(struct error *err);
/*
 * Connects to the switch @name. With @start it is started when it is not there; the lock is waited for, or, with
 * @try, -EAGAIN is returned while somebody else holds it. A descriptor, or a negative errno with @err.
 */
int switch_place_connect(const char *name, bool start, bool try, struct error *err);
/* For the switch itself: takes the lock without waiting. A descriptor, or a negative errno. */
int switch_place_lock(int place, const char *name, bool try);
void switch_place_unlink(int place, const char *name);

#endif
