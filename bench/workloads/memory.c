// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory: copies, streams, string instructions, dependent loads, atomic operations. */
#include "workloads.h"

#include <stdlib.h>
#include <string.h>

static uint64_t copy(uint64_t n)
{
	enum { SIZE = 1 << 18 };
	char *a = malloc(SIZE), *b = malloc(SIZE);
	uint64_t sum = 0;

	must(a && b, "malloc");
	memset(a, 1, SIZE);
	while (n--) {
		memcpy(b, a, SIZE);
		__asm__ volatile("" ::: "memory");
		memcpy(a + 1, b, SIZE - 1);
		sum += (unsigned char)a[n & (SIZE - 1)];
	}
	free(a);
	free(b);
	return sum;
}

static uint64_t stream(uint64_t n)
{
	enum { COUNT = 1 << 20 };
	uint64_t *a = calloc(COUNT, 8), sum = 0;

	must(a != NULL, "calloc");
	while (n--) {
		for (unsigned i = 0; i < COUNT; i++)
			a[i] = a[i] * 3 + i;
		sum ^= a[n & (COUNT - 1)];
	}
	free(a);
	return sum;
}

static uint64_t rep(uint64_t n)
{
	static char a[16384], b[16384];

	while (n--) {
		void *d = a, *s = b;
		size_t c = sizeof(a);

		__asm__ volatile("rep stosb" : "+D"(d), "+c"(c) : "a"((int)n) : "memory");
		d = b, s = a, c = sizeof(a) / 8;
		__asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(c) : : "memory");
	}
	return (unsigned char)b[77];
}

static uint64_t chase(uint64_t n)
{
	enum { COUNT = 1 << 16 };
	static uint32_t next[COUNT];
	uint64_t s = 5;
	uint32_t at = 0;

	for (uint32_t i = 0; i < COUNT; i++)
		next[i] = i;
	for (uint32_t i = COUNT - 1; i; i--) { /* one cycle through all (Sattolo) */
		uint32_t k = (uint32_t)(next_random(&s) % i), t = next[i];

		next[i] = next[k];
		next[k] = t;
	}
	while (n--)
		at = next[at];
	return at;
}

static uint64_t atomics(uint64_t n)
{
	uint64_t x = 0, y = 1;

	while (n--) {
		__atomic_fetch_add(&x, n, __ATOMIC_SEQ_CST);
		__atomic_compare_exchange_n(&y, &(uint64_t){ y }, x, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	return x ^ y;
}

const struct workload memory_workloads[] = {
	{ "memory", "copy", copy, 7000, NULL },	 { "memory", "stream", stream, 150, NULL },	    { "memory", "rep", rep, 120000, NULL },
	{ "memory", "chase", chase, 8000000, NULL }, { "memory", "atomics", atomics, 3000000, NULL }, { 0 },
};
