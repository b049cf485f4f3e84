// SPDX-License-Identifier: GPL-2.0-or-later
/* Private to gen.c and values.c: random values of all kinds, and the memory that each case starts with. */
#ifndef SUBRING_DIFFTEST_GEN_H
#define SUBRING_DIFFTEST_GEN_H

#include "difftest.h"

/* --- the generator; reset for each case --- */
extern uint64_t gen_rng;

static inline uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static inline uint64_t rnd(void)
{
	gen_rng += 0x9e3779b97f4a7c15ull;
	return mix(gen_rng);
}

/* True once in @n times. */
static inline bool one_in(unsigned n)
{
	return (rnd() >> 7) % n == 0;
}

static inline unsigned below(unsigned n)
{
	return (unsigned)((rnd() >> 11) % n);
}

/* --- values --- */
uint64_t interesting(void);
void random_extended(uint8_t *p); /* 10 bytes */
void random_vector(uint8_t *p);	  /* 16 bytes */
uint16_t selector(void);
uint16_t code_selector(void);

/* --- memory --- */

/* Kinds of content of memory, a line of 64 bytes each */
enum {
	LINE_VECTOR, LINE_VECTOR2, LINE_VECTOR3, LINE_SAME, LINE_CODE, LINE_EXTENDED, LINE_BCD, LINE_INTEGER,
	LINE_FAR16, /* far pointers, and what far returns and IRET pop, by operand size */
	LINE_FAR32, LINE_FAR64, LINE_FRAME16, LINE_FRAME32, LINE_FRAME64, LINE_KINDS
};

/* Images for XRSTOR and FXRSTOR in the second data page: standard format, then compacted. */
enum { IMAGE = 0x1400, IMAGE_COMPACT = 0x1800, IMAGE_SIZE = 832 };

void fill_memory_before(uint64_t seed);
/* A line of @kind in the data pages. */
uint64_t line_of(unsigned kind);
/* Reads @size bytes at @la as they are before a case; false if any is not there. */
bool peek(uint64_t la, void *buf, unsigned size);
void gen_low_pages(bool there);

#endif
