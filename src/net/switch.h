// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Switches between the VMs of one host: what the command line uses of them.
 *
 * A switch is a process of its own, started by its first user and gone after its last port has left. It listens on a
 * Unix socket, NAME.sock, in $XDG_RUNTIME_DIR/subring/switch (without the variable /run/user/UID, else /tmp/subring-UID), which
 * only this user can enter; it speaks to this user and to root alone. NAME.lock is held while a switch is started,
 * reached, or ends.
 */
#ifndef SUBRING_NET_SWITCH_H
#define SUBRING_NET_SWITCH_H

#include "host/error.h"
#include "net/net.h"

#include <stddef.h>

/* The program with this as its first argument, and a name as its second, is the switch; see switch_main. */
#define SWITCH_ARGUMENT "--net-switch"

enum {
	SWITCH_PORTS_MAX = 64, /* the uplink included */
	SWITCH_VM_BYTES = 65,
	SWITCH_UPLINK_BYTES = IFNAMSIZ + 8,
};

/* Runs the switch @argv[2], whose listening socket is descriptor 3. Returns the exit status. */
int switch_main(int argc, char **argv);

/* --- what a switch tells about itself; these are also the bytes of the protocol --- */

enum { SWITCH_ISOLATED = 1, SWITCH_PROMISCUOUS = 2, SWITCH_UPLINK = 4 };

struct switch_port_info {
	uint32_t number, flags;
	int32_t pid; /* of the VM's monitor */
	uint8_t mac[NET_MAC_BYTES], pad[2];
	char vm[SWITCH_VM_BYTES + 3]; /* its name, or what the uplink is */
	uint64_t in_frames, in_bytes, out_frames, out_bytes; /* seen from the switch */
	uint64_t dropped_bad;  /* came in and could not be frames */
	uint64_t dropped_full; /* should have gone out, but the port was too slow */
	uint32_t queued, macs; /* frames that wait; addresses learnt at this port */
};

struct switch_mac_info {
	uint8_t mac[NET_MAC_BYTES];
	uint16_t port;
	uint32_t age_s; /* since it was last heard */
};

struct switch_report {
	uint32_t magic, version;
	int32_t pid;
	uint32_t uptime_s, ports, macs;
	/* ports * struct switch_port_info, macs * struct switch_mac_info */
	struct switch_port_info port[];
};

static inline const struct switch_mac_info *switch_report_macs(const struct switch_report *r)
{
	return (const struct switch_mac_info *)&r->port[r->ports];
}

/* Asks the switch @name. 0 and @out (free it), -ENOENT when there is none, or a negative errno; with @err. */
int switch_query(const char *name, struct switch_report **out, struct error *err);

typedef void switch_name_fn(void *opaque, const char *name);
/* Calls @fn with the name of each socket in the folder, sorted; not each needs to have a switch behind it. */
int switch_names(switch_name_fn *fn, void *opaque, struct error *err);

#endif
