// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where the board puts RAM. Offsets into RAM equal guest-physical addresses below 4 GiB; what does
 * not fit below the hole for devices continues at 4 GiB. The frames behind the VGA window are lost.
 */
#ifndef SUBRING_MACHINE_RAM_MAP_H
#define SUBRING_MACHINE_RAM_MAP_H

#include "machine/machine.h"

enum { RAM_MAP_SLOTS = 3 };
enum { RAM_VGA_BASE = 0xa0000, RAM_VGA_END = 0xc0000 };

static inline uint64_t ram_low_size(uint64_t size)
{
	return size < BOARD_LOW_RAM_MAX ? size : BOARD_LOW_RAM_MAX;
}

static inline uint64_t ram_high_size(uint64_t size)
{
	return size - ram_low_size(size);
}

/* The slots for @size bytes (at least BOARD_MEM_MIN); returns their number. */
static inline unsigned ram_map(uint64_t size, struct ram_slot slot[RAM_MAP_SLOTS])
{
	uint64_t low = ram_low_size(size), high = ram_high_size(size);

	slot[0] = (struct ram_slot){ .gpa = 0, .size = RAM_VGA_BASE, .offset = 0 };
	slot[1] = (struct ram_slot){ .gpa = RAM_VGA_END, .size = low - RAM_VGA_END, .offset = RAM_VGA_END };
	if (!high)
		return 2;
	slot[2] = (struct ram_slot){ .gpa = BOARD_HIGH_RAM_BASE, .size = high, .offset = low };
	return 3;
}

#endif
