// SPDX-License-Identifier: GPL-2.0-or-later
/* How engine soft runs guest code: what follows "soft," on the command line, but for where the engine lives. */
#ifndef SUBRING_ENGINE_SOFT_TUNING_H
#define SUBRING_ENGINE_SOFT_TUNING_H

#include <stdbool.h>
#include <stdint.h>

/* Plain data: it is handed to the engine's process as it is. */
struct soft_tuning {
	bool interp_only;   /* tier=interp */
	bool exact_flags;   /* flags=exact: arithmetic flags nobody reads are right in exceptions, too (docs/translator.md) */
	uint32_t hot;	    /* hot=N: times that the interpreter runs a block before it is translated */
	uint32_t insns_max; /* insns=N: instructions in a block */
	uint32_t cache_kib; /* cache=KIB: size of the code cache */
	uint32_t flush_every;	  /* flush=N: throw the code cache away after N blocks were made; 0: never */
	uint32_t interp_every;	  /* interp=N: interpret one block after every N entries into translated code; 0: never */
	bool perf_map;		  /* perf-map=on: names for perf(1) in /tmp/perf-PID.map */
	char symbols[256];	  /* symbols=FILE: the guest's, as nm(1) writes them; "" */
	uint32_t mixed;		  /* mixed=N: stores into a frame with code before its code is checked, not watched (translate/mixed.c); 0: always */
	uint32_t interrupt_every; /* stir=N: N entries apart (at random, twice that at most), look for requests that nobody made; 0: never */
};

#define SOFT_TUNING_DEFAULT                                                                        \
	((struct soft_tuning){ .hot = 2, .insns_max = 48, .cache_kib = 64 << 10, .mixed = 32 })

#endif
