// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Workloads: each does a fixed amount of work, `n` units of it, and returns a checksum of its result,
 * which must be the same wherever it runs. main.c times them.
 */
#ifndef SUBRING_BENCH_WORKLOADS_H
#define SUBRING_BENCH_WORKLOADS_H

#include <stdint.h>

struct workload {
	const char *group, *name;
	uint64_t (*run)(uint64_t n); /* NULL if left out */
	uint64_t n; /* units that take a native CPU some 30 ms */
	void (*prepare)(void); /* what is not timed; or NULL */
};

extern const struct workload integer_workloads[], vector_workloads[], memory_workloads[], code_workloads[],
	program_workloads[], kernel_workloads[];

/* A small generator (xorshift64*), for inputs that are the same everywhere. */
static inline uint64_t next_random(uint64_t *s)
{
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 0x2545f4914f6cdd1dull;
}

/* Ends the program with a message when @ok is false. */
void must(int ok, const char *what);

#endif
