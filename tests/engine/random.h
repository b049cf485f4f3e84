// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random numbers that follow from a seed (xorshift64*), and the options of tests that use them. A test program includes this once.
 */
#ifndef SUBRING_TESTS_RANDOM_H
#define SUBRING_TESTS_RANDOM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t rnd_state = 1;

static inline uint64_t rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state * 0x2545f4914f6cdd1d;
}

/* 0 to @n - 1 */
static inline unsigned below(unsigned n)
{
	return (unsigned)(rnd() >> 33) % n;
}

static inline bool one_in(unsigned n)
{
	return below(n) == 0;
}

static inline void rnd_start(uint64_t seed)
{
	rnd_state = 88172645463325252 ^ seed * 0x9e3779b97f4a7c15;
	rnd_state |= !rnd_state;
}

/*
 * --count N: how many random cases, else @count (or NULL) stays as it is. --seed N, else the time. Prints the seed, starts with it,
 * and returns it.
 */
static inline uint64_t random_options(int argc, char **argv, unsigned long *count)
{
	uint64_t seed = (uint64_t)time(NULL);

	for (int i = 1; i + 1 < argc; i += 2) {
		if (count && !strcmp(argv[i], "--count"))
			*count = strtoul(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 0);
	}
	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	rnd_start(seed);
	return seed;
}

#endif
