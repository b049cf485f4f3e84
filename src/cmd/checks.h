// SPDX-License-Identifier: GPL-2.0-or-later
/* What subring doctor looks at. */
#ifndef SUBRING_CMD_CHECKS_H
#define SUBRING_CMD_CHECKS_H

#include <stdbool.h>
#include <stddef.h>

enum finding_state {
	FINDING_OK,
	FINDING_ABSENT,	 /* not there, and not needed to run a VM */
	FINDING_MISSING, /* not there, and no VM runs without it */
};

struct finding {
	enum finding_state state;
	char detail[256]; /* what was found */
	char fix[256];	  /* how to get what is absent or missing; or "" */
};

struct check {
	const char *id;	   /* for --json */
	const char *title; /* for people */
	void (*look)(struct finding *finding);
};

extern const struct check check_table[]; /* ends with a NULL id */

/* What the check "kvm" has found, part by part. */
struct kvm_probe;
const struct kvm_probe *check_kvm_probe(void);

/*
 * Makes the engine that `auto` takes, for a moment. False: @why says why it cannot be. To be called before the
 * checks of the table, some of which depend on it.
 */
bool check_auto_engine(char *name, size_t name_len, char *why, size_t why_len);

#endif
