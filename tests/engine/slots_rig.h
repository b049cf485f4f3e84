// SPDX-License-Identifier: GPL-2.0-or-later
/* What the tests of translation slots share. */
#ifndef SUBRING_TESTS_SLOTS_RIG_H
#define SUBRING_TESTS_SLOTS_RIG_H

#include "engine/soft/soft.h"
#include "engine/soft/translate/cache.h"

/* Pages of data; GLOBAL0 and GLOBAL1 are global where a test makes them so. */
enum { PAGE0 = 0x30000, GLOBAL0 = 0x31000, PAGE1 = 0x32000, GLOBAL1 = 0x33000 };

/* The host address at which emitted code would make an access at @linear through slot @n; NULL: it would leave. */
static inline uint8_t *through(struct cpu *c, unsigned n, uint64_t linear)
{
	const struct slot *s = &c->slot[n];

	return linear - s->base < s->limit ? (uint8_t *)(uintptr_t)(linear + s->addend) : NULL;
}

#endif
