// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The memory map that guests are told, in rising order. What is not in it is not RAM: the VGA
 * window (its text memory, too) and the ROM area before the ACPI tables, the PCI hole, the APICs.
 */
#include "machine/boot/boot.h"
#include "machine/ram_map.h"

unsigned memmap_fill(const struct ram *ram, struct memmap_entry map[MEMMAP_MAX])
{
	uint64_t low = ram_low_size(ram->size), high = ram_high_size(ram->size);
	unsigned n = 0;

	map[n++] = (struct memmap_entry){ 0, BOOT_EBDA, MEMMAP_RAM };
	map[n++] = (struct memmap_entry){ BOOT_EBDA, BOOT_LOW_END - BOOT_EBDA, MEMMAP_RESERVED };
	map[n++] = (struct memmap_entry){ BOOT_ROM, BOOT_HIGH_START - BOOT_ROM, MEMMAP_RESERVED };
	map[n++] = (struct memmap_entry){ BOOT_HIGH_START, low - BOOT_HIGH_START, MEMMAP_RAM };
	map[n++] = (struct memmap_entry){ BOARD_ECAM_BASE, BOARD_ECAM_SIZE, MEMMAP_RESERVED };
	if (high)
		map[n++] = (struct memmap_entry){ BOARD_HIGH_RAM_BASE, high, MEMMAP_RAM };
	return n;
}
