// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where the board puts RAM. Offsets into RAM equal guest-physical addresses below 4 GiB; what does
 * not fit below the hole for devices continues at 4 GiB. The frames behind the VGA
 * window are lost, but for those of its text memory: there is no need to see each character come.
 */
#ifndef SUBRING_MACHINE_RAM_MAP_H
#define SUBRING_MACHINE_RAM_MAP_H

#include "machine/machine.h"

enum { RAM_MAP_SLOTS = 6 };
enum { RAM_VGA_BASE = 0xa0000, RAM_VGA_END = 0xb8000 };
/* What shows the first megabyte while the A20 gate is closed. */
enum { RAM_A20_BASE = 0x100000, RAM_A20_END = 0x200000 };

static inline uint64_t ram_low_size(uint64_t size)
{
	return size < BOARD_LOW_RAM_MAX ? size : BOARD_LOW_RAM_MAX;
}

static inline uint64_t ram_high_size(uint64_t size)
{
	return size - ram_low_size(size);
}

/* The slots for @size bytes (at least BOARD_MEM_MIN), with the A20 gate open or closed; returns their number. */
static inline unsigned ram_map(uint64_t size, bool a20, struct ram_slot slot[RAM_MAP_SLOTS])
{
	uint64_t low = ram_low_size(size), high = ram_high_size(size);
	unsigned n = 0;

	slot[n++] = (struct ram_slot){ .gpa = 0, .size = RAM_VGA_BASE, .offset = 0 };
	if (a20) {
		slot[n++] = (struct ram_slot){ .gpa = RAM_VGA_END, .size = low - RAM_VGA_END, .offset = RAM_VGA_END };
	} else {
		/* Up to the end of the first megabyte RAM and addresses are one: so is the alias of its upper part. */
		uint64_t upper = RAM_A20_BASE - RAM_VGA_END;

		slot[n++] = (struct ram_slot){ .gpa = RAM_VGA_END, .size = upper, .offset = RAM_VGA_END };
		slot[n++] = (struct ram_slot){ .gpa = RAM_A20_BASE, .size = RAM_VGA_BASE, .offset = 0 };
		slot[n++] = (struct ram_slot){ .gpa = RAM_A20_BASE + RAM_VGA_END, .size = upper, .offset = RAM_VGA_END };
		slot[n++] = (struct ram_slot){ .gpa = RAM_A20_END, .size = low - RAM_A20_END, .offset = RAM_A20_END };
	}
	if (high)
		slot[n++] = (struct ram_slot){ .gpa = BOARD_HIGH_RAM_BASE, .size = high, .offset = low };
	return n;
}

#endif
