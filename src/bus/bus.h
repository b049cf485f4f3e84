// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A bus: ranges of addresses, each with the chip region that answers there. The board has two,
 * ports (0 to 0xffff) and memory-mapped I/O.
 *
 * Guarded by the board lock. Ranges do not overlap (PCI BARs that the guest moves onto each other
 * are refused: the second one stays unmapped).
 */
#ifndef SUBRING_BUS_BUS_H
#define SUBRING_BUS_BUS_H

#include "bus/chip.h"

struct bus_range {
	uint64_t base, len;
	const struct chip_ops *ops;
	void *chip;
	unsigned region;
	const char *name; /* for traces and tables; static */
};

enum { BUS_RANGES_MAX = 128 };

struct bus {
	struct bus_range range[BUS_RANGES_MAX]; /* sorted by base */
	unsigned count;
};

/* -EEXIST for an overlap, -ENOSPC when the table is full, -EINVAL for an empty or wrapping range. */
int bus_add(struct bus *bus, const struct bus_range *range);
void bus_remove(struct bus *bus, uint64_t base);
const struct bus_range *bus_find(const struct bus *bus, uint64_t addr);

/*
 * An access of 1, 2, 4 or 8 bytes. One that no range answers, or that starts in a range and runs
 * past its end, is split into bytes; bytes that nobody answers read as 0xff.
 */
uint64_t bus_read(struct bus *bus, uint64_t addr, unsigned size);
void bus_write(struct bus *bus, uint64_t addr, unsigned size, uint64_t value);

#endif
