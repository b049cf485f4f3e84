// SPDX-License-Identifier: GPL-2.0-or-later
/* What a fuzzer was given, taken from the front; behind its end are zeroes. */
#ifndef SUBRING_FUZZ_INPUT_H
#define SUBRING_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

struct input {
	const uint8_t *at;
	size_t left;
};

/* A number of @size bytes, at most 8. */
static inline uint64_t take(struct input *in, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size && in->left; i++, in->left--)
		v |= (uint64_t)*in->at++ << i * 8;
	return v;
}

#endif
