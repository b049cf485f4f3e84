// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs of instructions for the tests of the translator's analysis (translate/analyse.h). Random runs are in
 * test_translate_analyse_random.c; what the analysis says of single instructions is held against the host in test_translate_facts.c.
 */
#ifndef SUBRING_TESTS_ANALYSE_RIG_H
#define SUBRING_TESTS_ANALYSE_RIG_H

#include "engine/soft/translate/analyse.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

enum { RANGE = 256 };
static struct trace t;

/* False when @code is not one instruction of @len bytes. */
static inline bool add_bytes(const uint8_t *code, size_t len)
{
	struct trace_insn *ti = &t.insn[t.count];

	memset(ti, 0xee, sizeof(*ti)); /* nothing of it may be left */
	ti->at = t.bytes;
	if (insn_decode(code, len, INSN_MODE64, &ti->in) != (int)len)
		return false;
	t.count++;
	t.bytes = (uint16_t)(t.bytes + len);
	return true;
}

#define I(...)                                                                                              \
	assert_true(add_bytes((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })))
#define BEGIN() (t.count = t.bytes = 0)

static inline void flags(unsigned live_out, bool exact)
{
	analyse_flags(&t, live_out, exact);
}

#endif
