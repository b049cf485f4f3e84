// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What Ctrl-a does on a terminal: the one list of keys, from which Ctrl-a h and the test of the
 * man page are made.
 */
#ifndef SUBRING_CMD_KEYS_H
#define SUBRING_CMD_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#define KEYS(X)                                                                                    \
	X(LEAVE, "x", "leave: end the VM at once")                                                 \
	X(HELP, "h", "show these keys")                                                            \
	X(SUMMARY, "s", "show what the vCPUs have done: exits and counters")                       \
	X(PAUSE, "p", "pause the VM, or let it go on")

enum key {
	KEY_NONE, /* nothing yet */
	KEY_BYTE, /* *byte is for the guest */
#define X(id, letter, help) KEY_##id,
	KEYS(X)
#undef X
};

enum { KEY_ESCAPE = 1 }; /* Ctrl-a; twice, it is for the guest */

struct keys {
	bool escape; /* the last byte was Ctrl-a */
};

enum key keys_feed(struct keys *keys, uint8_t typed, uint8_t *byte);
/* The list, a line a key, each ended by "\r\n". */
extern const char keys_help[];

#endif
