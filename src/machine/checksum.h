// SPDX-License-Identifier: GPL-2.0-or-later
/* The checksum of firmware tables: ACPI 6.5, 5.2.5 and 5.2.6; MultiProcessor Specification 4.1. */
#ifndef SUBRING_MACHINE_CHECKSUM_H
#define SUBRING_MACHINE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* What makes the bytes sum up to 0. */
static inline uint8_t checksum(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += p[i];
	return (uint8_t)-sum;
}

#endif
