// SPDX-License-Identifier: GPL-2.0-or-later
/* Integer code as compilers make it: hashing, sorting through a callback, a bytecode loop, recursion. */
#include "workloads.h"

#include <stdlib.h>

static uint64_t hash(uint64_t n)
{
	static uint8_t buf[4096];
	uint64_t s = 1, h = 0xcbf29ce484222325ull;

	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)next_random(&s);
	while (n--)
		for (unsigned i = 0; i < sizeof(buf); i++)
			h = (h ^ buf[i]) * 0x100000001b3ull;
	return h;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t sort(uint64_t n)
{
	uint32_t *v = malloc(20000 * sizeof(*v));
	uint64_t s = 2, sum = 0;

	must(v != NULL, "malloc");
	while (n--) {
		for (unsigned i = 0; i < 20000; i++)
			v[i] = (uint32_t)next_random(&s);
		qsort(v, 20000, sizeof(*v), compare);
		sum = sum * 31 + v[100] + v[19999];
	}
	free(v);
	return sum;
}

/* A machine with an accumulator, a counter and eight cells. */
static uint64_t bytecode(uint64_t n)
{
	enum { LOAD, ADD, XOR, STORE, SHIFT, DEC, JUMP, HALT };
	static const uint8_t program[] = { LOAD, 0, ADD, 1, XOR, 2, SHIFT, 3, STORE, 0, LOAD, 1, ADD, 0, STORE, 1, DEC, 0, JUMP, 0, HALT, 0 };
	uint64_t cell[8] = { 1, 2, 3, 4 }, acc = 0, count = n;
	const uint8_t *pc = program;

	for (;;) {
		uint8_t op = pc[0], arg = pc[1];

		pc += 2;
		switch (op) {
		case LOAD: acc = cell[arg]; break;
		case ADD: acc += cell[arg]; break;
		case XOR: acc ^= cell[arg]; break;
		case STORE: cell[arg] = acc; break;
		case SHIFT: acc = acc << arg | acc >> 61; break;
		case DEC: count--; break;
		case JUMP:
			if (count)
				pc = program;
			break;
		case HALT: return cell[0] ^ cell[1];
		}
	}
}

static __attribute__((noinline)) uint64_t fib(unsigned n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static uint64_t recursion(uint64_t n)
{
	uint64_t sum = 0;

	while (n--)
		sum += fib(20 + (n & 1));
	return sum;
}

static uint64_t mixed(uint64_t n)
{
	static uint8_t sieve[65536];
	uint64_t sum = 0, x = 12345;

	while (n--) {
		for (unsigned i = 2; i < sizeof(sieve); i++)
			sieve[i] = 1;
		for (unsigned i = 2; i * i < sizeof(sieve); i++)
			if (sieve[i])
				for (unsigned k = i * i; k < sizeof(sieve); k += i)
					sieve[k] = 0;
		for (unsigned i = 2; i < sizeof(sieve); i += 7) {
			x = (x * 6364136223846793005ull + i) % 1000000007u;
			sum += sieve[i] * x + (unsigned)__builtin_popcountll(x);
		}
	}
	return sum;
}

const struct workload integer_workloads[] = {
	{ "integer", "hash", hash, 8000, NULL },	   { "integer", "sort", sort, 16, NULL },
	{ "integer", "bytecode", bytecode, 8000000, NULL }, { "integer", "recursion", recursion, 1000, NULL },
	{ "integer", "mixed", mixed, 500, NULL },	   { 0 },
};
