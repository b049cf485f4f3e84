// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The trace: lines about what the VM does, by topic, to standard error or a file. Off unless
 * asked for; a test of one word is all that an untraced path pays.
 */
#ifndef SUBRING_HOST_LOG_H
#define SUBRING_HOST_LOG_H

#include "host/error.h"

#include <stdbool.h>
#include <stdint.h>

/* The one list of topics: name as typed after --trace, and what it shows. */
#define TRACE_TOPICS(X)                                                                            \
	X(EXITS, "exits", "every exit from an engine to the devices")                              \
	X(INT, "int", "interrupts, exceptions and their delivery")                                 \
	X(MMU, "mmu", "page walks, TLB flushes, page faults")                                      \
	X(CPU, "cpu", "mode changes, MSRs, CPUID, control registers")                             \
	X(CODE, "code", "every block that the translator makes: guest and host code")

enum trace_topic {
#define X(id, name, help) TRACE_##id,
	TRACE_TOPICS(X)
#undef X
	TRACE_TOPIC_COUNT
};

extern uint32_t trace_mask; /* bit n: topic n is on; written before any other thread starts */

/*
 * Turns on the topics of @list ("exits,int", or "all", with an optional ":PATH" at the end that
 * names a file to append to). 0, or -EINVAL / -errno with @err filled.
 */
int trace_enable(const char *list, struct error *err);

static inline bool trace_on(enum trace_topic topic)
{
	return __builtin_expect((trace_mask & (1u << topic)) != 0, 0);
}

/* Writes one line (a newline is added) with the topic and a microsecond stamp. Any thread. */
void trace(enum trace_topic topic, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A line for the user on standard error: "subring: ...". Any thread. */
void log_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
