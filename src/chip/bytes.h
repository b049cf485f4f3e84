// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Private to chip/: wide accesses to chips whose registers are bytes. As on the ISA bus, they
 * become single bytes at rising addresses; past the end of the region there is nothing.
 */
#ifndef SUBRING_CHIP_BYTES_H
#define SUBRING_CHIP_BYTES_H

#include <stdint.h>

static inline uint64_t bytes_read(uint8_t (*read)(void *chip, unsigned region, unsigned n), void *chip,
				  unsigned region, uint64_t offset, unsigned size, unsigned len)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size && i < 8; i++) {
		uint8_t b = offset < len && i < len - offset ? read(chip, region, (unsigned)offset + i) : 0xff;

		v |= (uint64_t)b << i * 8;
	}
	return v;
}

static inline void bytes_write(void (*write)(void *chip, unsigned region, unsigned n, uint8_t value), void *chip,
			       unsigned region, uint64_t offset, unsigned size, unsigned len, uint64_t value)
{
	for (unsigned i = 0; i < size && i < 8; i++)
		if (offset < len && i < len - offset)
			write(chip, region, (unsigned)offset + i, (uint8_t)(value >> i * 8));
}

#endif
