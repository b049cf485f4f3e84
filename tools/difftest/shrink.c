// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Makes a program that differs smaller: units are left out, one after the other and again from the start, as long as
 * what is left still differs. A case may differ only after the runs of the same program before it, which fill caches: then
 * those are made each time, too.
 */
#include "difftest.h"

#include <string.h>

/* Runs [@first, @index] without @drop; whether the last one differs. */
static bool still_differs(uint64_t first, uint64_t index, enum dt_tier tier, const struct program_drop *drop, struct dt_case *c)
{
	static struct dt_result native, soft;
	static char why[16384];
	bool differs = false;

	program_case(index, drop, c);
	native_run(c, 1, &native);
	if (native.vector == DT_STUCK)
		return false;
	for (uint64_t i = first; i <= index; i++) {
		program_case(i, drop, c);
		soft_run(c, tier, &soft);
	}
	differs = !compare_results(c, &native, &soft, why, sizeof(why));
	return differs && !soft_excuse(c, tier, &native);
}

uint64_t shrink(struct dt_case *c, enum dt_tier tier, struct program_drop *drop)
{
	uint64_t index = c->index, first = index;
	unsigned units = program_units(index);
	bool smaller = true;

	memset(drop, 0, sizeof(*drop));
	/* Code that ran before is still there, and translated: something else has to come between. */
	soft_forget(tier);
	if (!still_differs(first, index, tier, drop, c))
		first = program_first(index);
	while (smaller) {
		smaller = false;
		for (unsigned u = 0; u < units; u++) {
			struct program_drop less = *drop;

			program_drop_unit(&less, u);
			if (!memcmp(&less, drop, sizeof(less)))
				continue;
			soft_forget(tier);
			if (!still_differs(first, index, tier, &less, c))
				continue;
			*drop = less;
			smaller = true;
		}
	}
	program_case(index, drop, c);
	return first;
}
