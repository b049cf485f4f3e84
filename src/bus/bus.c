// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A bus: a sorted table of ranges, found by bisection.
 *
 * A chip's write function may change the table (a PCI BAR moves), so nothing of an entry is used
 * after a call into a chip.
 */
#include "bus/bus.h"

#include <errno.h>
#include <string.h>

/* The number of ranges that begin at or below @addr. */
static unsigned bus_rank(const struct bus *bus, uint64_t addr)
{
	unsigned low = 0, high = bus->count;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;

		if (bus->range[mid].base <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

int bus_add(struct bus *bus, const struct bus_range *range)
{
	uint64_t last = range->base + (range->len - 1);
	unsigned at;

	if (!range->len || last < range->base)
		return -EINVAL;
	at = bus_rank(bus, range->base);
	if (at > 0 && range->base - bus->range[at - 1].base < bus->range[at - 1].len)
		return -EEXIST;
	if (at < bus->count && bus->range[at].base <= last)
		return -EEXIST;
	if (bus->count == BUS_RANGES_MAX)
		return -ENOSPC;
	memmove(&bus->range[at + 1], &bus->range[at], (bus->count - at) * sizeof(bus->range[0]));
	bus->range[at] = *range;
	bus->count++;
	return 0;
}

void bus_remove(struct bus *bus, uint64_t base)
{
	unsigned at = bus_rank(bus, base);

	if (at == 0 || bus->range[at - 1].base != base)
		return;
	memmove(&bus->range[at - 1], &bus->range[at], (bus->count - at) * sizeof(bus->range[0]));
	bus->count--;
}

const struct bus_range *bus_find(const struct bus *bus, uint64_t addr)
{
	unsigned at = bus_rank(bus, addr);

	if (at == 0 || addr - bus->range[at - 1].base >= bus->range[at - 1].len)
		return NULL;
	return &bus->range[at - 1];
}

/* The range that holds the whole access, or NULL. */
static const struct bus_range *bus_whole(const struct bus *bus, uint64_t addr, unsigned size)
{
	const struct bus_range *r = bus_find(bus, addr);

	return r && r->len - (addr - r->base) >= size ? r : NULL;
}

uint64_t bus_read(struct bus *bus, uint64_t addr, unsigned size)
{
	const struct bus_range *r = bus_whole(bus, addr, size);
	uint64_t value = 0;

	if (r) {
		value = r->ops->read(r->chip, r->region, addr - r->base, size);
		return size < 8 ? value & ((1ull << size * 8) - 1) : value;
	}
	for (unsigned i = 0; i < size && i < 8; i++) {
		uint8_t byte = 0xff;

		r = bus_find(bus, addr + i);
		if (r)
			byte = (uint8_t)r->ops->read(r->chip, r->region, addr + i - r->base, 1);
		value |= (uint64_t)byte << i * 8;
	}
	return value;
}

void bus_write(struct bus *bus, uint64_t addr, unsigned size, uint64_t value)
{
	const struct bus_range *r = bus_whole(bus, addr, size);

	if (r) {
		if (size < 8)
			value &= (1ull << size * 8) - 1;
		r->ops->write(r->chip, r->region, addr - r->base, size, value);
		return;
	}
	for (unsigned i = 0; i < size && i < 8; i++) {
		r = bus_find(bus, addr + i);
		if (r)
			r->ops->write(r->chip, r->region, addr + i - r->base, 1, value >> i * 8 & 0xff);
	}
}
