// SPDX-License-Identifier: GPL-2.0-or-later
/* Numbers of 1 to 8 bytes, the least significant byte first, anywhere in memory: what registers and rings are made of. */
#ifndef SUBRING_HOST_LE_H
#define SUBRING_HOST_LE_H

#include <stdint.h>

static inline uint64_t le_get(const uint8_t *bytes, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)bytes[i] << i * 8;
	return v;
}

static inline void le_put(uint8_t *bytes, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> i * 8);
}

#endif
