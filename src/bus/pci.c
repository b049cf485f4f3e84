// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * PCI configuration spaces and what follows from them. See pci.h.
 *
 * Configuration mechanism #1: PCI Local Bus 3.0, 3.2.2.3.2. A dword written to 0xcf8 selects bus,
 * device, function and dword; 0xcfc-0xcff is a window on it. ECAM: the same spaces in memory, 4
 * KiB a function. No function here has an extended space: beyond its 256 bytes it reads as all ones.
 *
 * Invariants: config differs from reset in writable and clear bits only; bar[].mapped is what the
 * buses hold.
 */
#include "bus/msix.h"

#include "host/le.h"

#include <errno.h>
#include <string.h>

#define CONFIG_ENABLE (1u << 31)

static const struct state_field pci_fields[] = { STATE_UINT(struct pci, address), STATE_END };
static const struct state_class pci_class = { "pci", 1, pci_fields };

static const struct state_field pci_device_fields[] = {
	STATE_BYTES(struct pci_device, config),
	STATE_UINT(struct pci_device, intx),
	STATE_END,
};
static const struct state_class pci_device_class = { "pci-device", 1, pci_device_fields };

/* --- INTx --- */

/* Whether the device's pin is asserted as the chipset sees it. */
static bool pci_intx_out(const struct pci_device *d)
{
	return d->intx && d->config[PCI_INTERRUPT_PIN] && !(d->msix && d->msix->enabled) &&
	       !(le_get(&d->config[PCI_COMMAND], 2) & PCI_COMMAND_INTX_DISABLE);
}

static void pci_update_intx(struct pci *pci)
{
	uint8_t lines = 0;

	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		const struct pci_device *d = pci->device[slot];

		if (d && pci_intx_out(d))
			lines |= 1u << (slot + d->config[PCI_INTERRUPT_PIN] - 1) % PCI_LINES;
	}
	pci->lines = lines;
	if (pci->intx)
		pci->intx(pci->opaque, lines);
}

void pci_set_intx(struct pci_device *d, bool level)
{
	if (d->intx == level)
		return;
	d->intx = level;
	if (d->pci)
		pci_update_intx(d->pci);
}

/* --- BARs --- */

static struct bus *pci_bar_bus(const struct pci *pci, const struct pci_bar *bar)
{
	return bar->type & PCI_BAR_IO ? pci->pio : pci->mmio;
}

static uint64_t pci_bar_address(const struct pci_device *d, unsigned n)
{
	const struct pci_bar *bar = &d->bar[n];
	uint64_t addr = le_get(&d->config[PCI_BAR0 + n * 4], 4);

	if (bar->type & PCI_BAR_64)
		addr |= (uint64_t)le_get(&d->config[PCI_BAR0 + n * 4 + 4], 4) << 32;
	return addr & ~(bar->size - 1);
}

static void pci_map_bar(struct pci_device *d, unsigned n)
{
	struct pci_bar *bar = &d->bar[n];
	unsigned command = le_get(&d->config[PCI_COMMAND], 2);
	struct bus_range range = {
		.base = pci_bar_address(d, n),
		.len = bar->size,
		.ops = d->ops,
		.chip = d->chip,
		.region = bar->region,
		.name = bar->name,
	};

	if (!bar->size || !(command & (bar->type & PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
		return;
	/* 0 is an address that was not assigned yet; ports end at 64 K. */
	if (!range.base || (bar->type & PCI_BAR_IO && range.base > 0x10000 - bar->size))
		return;
	if (bus_add(pci_bar_bus(d->pci, bar), &range) == 0) {
		bar->mapped = true;
		bar->base = range.base;
	}
}

static void pci_map_all(struct pci *pci)
{
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		struct pci_device *d = pci->device[slot];

		for (unsigned n = 0; d && n < PCI_BARS; n++) {
			if (d->bar[n].mapped)
				bus_remove(pci_bar_bus(pci, &d->bar[n]), d->bar[n].base);
			d->bar[n].mapped = false;
		}
	}
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		for (unsigned n = 0; pci->device[slot] && n < PCI_BARS; n++)
			pci_map_bar(pci->device[slot], n);
}

/* Maps all BARs anew, and tells the devices of those that are elsewhere now. */
static void pci_remap(struct pci *pci)
{
	uint64_t was[PCI_SLOTS][PCI_BARS];

	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		for (unsigned n = 0; pci->device[slot] && n < PCI_BARS; n++) {
			const struct pci_bar *bar = &pci->device[slot]->bar[n];

			was[slot][n] = bar->mapped ? bar->base : 0;
		}
	pci_map_all(pci);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		struct pci_device *d = pci->device[slot];

		for (unsigned n = 0; d && d->bar_moved && n < PCI_BARS; n++)
			if (was[slot][n] != (d->bar[n].mapped ? d->bar[n].base : 0))
				d->bar_moved(d->chip, n);
	}
}

/* --- configuration space --- */

static uint8_t pci_config_byte(const struct pci_device *d, unsigned offset)
{
	uint8_t v = d->config[offset];

	if (offset == PCI_STATUS && d->intx)
		v |= PCI_STATUS_INTX;
	return v;
}

static void pci_config_write_byte(struct pci_device *d, unsigned offset, uint8_t value)
{
	uint8_t w = d->writable[offset];

	d->config[offset] = (d->config[offset] & ~w) | (value & w);
	d->config[offset] &= ~(value & d->clear[offset]);
}

/* Only bus 0 exists, and only function 0 of its devices. */
static struct pci_device *pci_find(const struct pci *pci, unsigned bus, unsigned devfn)
{
	return bus == 0 && (devfn & 7) == 0 ? pci->device[devfn >> 3 & 31] : NULL;
}

static uint64_t pci_config_read(struct pci_device *d, unsigned offset, unsigned size)
{
	uint64_t v = 0;

	if (d && d->config_read)
		d->config_read(d->chip, offset, size);
	for (unsigned i = 0; i < size && i < 8; i++) {
		uint8_t byte = d && offset + i < PCI_CONFIG_SIZE ? pci_config_byte(d, offset + i) : 0xff;

		v |= (uint64_t)byte << i * 8;
	}
	return v;
}

static void pci_config_write(struct pci_device *d, unsigned offset, unsigned size, uint64_t value)
{
	if (!d || offset >= PCI_CONFIG_SIZE)
		return;
	if (size > PCI_CONFIG_SIZE - offset)
		size = PCI_CONFIG_SIZE - offset;
	for (unsigned i = 0; i < size; i++)
		pci_config_write_byte(d, offset + i, (uint8_t)(value >> i * 8));

	if (offset < PCI_COMMAND + 2 && offset + size > PCI_COMMAND) {
		pci_remap(d->pci);
		pci_update_intx(d->pci);
	} else if (offset < PCI_BAR0 + PCI_BARS * 4 && offset + size > PCI_BAR0) {
		pci_remap(d->pci);
	}
	if (d->msix) {
		msix_update(d->msix);
		pci_update_intx(d->pci);
	}
	if (d->config_written)
		d->config_written(d->chip, offset, size);
}

/* --- the ways to it --- */

/* CONFIG_ADDRESS is a register of 32 bits: narrower accesses are not for it (they pass on to ISA). */
static uint64_t pci_read_ports(struct pci *pci, unsigned region, uint64_t offset, unsigned size)
{
	uint32_t a = pci->address;

	if (region == PCI_REGION_ADDRESS)
		return offset == 0 && size == 4 ? a : UINT64_MAX;
	if (!(a & CONFIG_ENABLE))
		return UINT64_MAX;
	return pci_config_read(pci_find(pci, a >> 16 & 0xff, a >> 8 & 0xff),
			       (a & 0xfc) + ((unsigned)offset & 3), size);
}

static void pci_write_ports(struct pci *pci, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	uint32_t a = pci->address;

	if (region == PCI_REGION_ADDRESS) {
		if (offset == 0 && size == 4)
			pci->address = (uint32_t)value & 0x80fffffcu;
		return;
	}
	if (a & CONFIG_ENABLE)
		pci_config_write(pci_find(pci, a >> 16 & 0xff, a >> 8 & 0xff),
				 (a & 0xfc) + ((unsigned)offset & 3), size, value);
}

static uint64_t pci_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	struct pci *pci = chip;

	if (region != PCI_REGION_ECAM)
		return pci_read_ports(pci, region, offset, size);
	return pci_config_read(pci_find(pci, offset >> 20 & 0xff, offset >> 12 & 0xff), offset & 0xfff, size);
}

static void pci_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci *pci = chip;

	if (region != PCI_REGION_ECAM)
		pci_write_ports(pci, region, offset, size, value);
	else
		pci_config_write(pci_find(pci, offset >> 20 & 0xff, offset >> 12 & 0xff), offset & 0xfff,
				 size, value);
}

static void pci_reset(void *chip)
{
	struct pci *pci = chip;

	pci->address = 0;
}

static int pci_loaded(void *chip)
{
	struct pci *pci = chip;

	return pci->address & ~0x80fffffcu ? -EPROTO : 0;
}

const struct chip_ops pci_ops = {
	.state = &pci_class,
	.reset = pci_reset,
	.read = pci_read,
	.write = pci_write,
	.loaded = pci_loaded,
};

/* --- devices --- */

static void pci_device_reset(void *chip)
{
	struct pci_device *d = chip;

	memcpy(d->config, d->reset, sizeof(d->config));
	d->intx = false;
	if (d->msix)
		msix_reset(d->msix);
	if (d->pci) {
		pci_remap(d->pci);
		pci_update_intx(d->pci);
	}
}

static int pci_device_loaded(void *chip)
{
	struct pci_device *d = chip;

	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		if ((d->config[i] ^ d->reset[i]) & ~(d->writable[i] | d->clear[i]))
			return -EPROTO;
	if (d->msix)
		msix_update(d->msix);
	if (d->pci) {
		pci_remap(d->pci);
		pci_update_intx(d->pci);
	}
	return 0;
}

const struct chip_ops pci_device_ops = {
	.state = &pci_device_class,
	.reset = pci_device_reset,
	.loaded = pci_device_loaded,
};

void pci_init(struct pci *pci, struct bus *pio, struct bus *mmio, void (*intx)(void *opaque, uint8_t lines),
	      void *opaque)
{
	memset(pci, 0, sizeof(*pci));
	pci->pio = pio;
	pci->mmio = mmio;
	pci->intx = intx;
	pci->opaque = opaque;
}

void pci_set(struct pci_device *d, unsigned offset, unsigned size, uint32_t value)
{
	le_put(&d->reset[offset], size, value);
	le_put(&d->config[offset], size, value);
}

void pci_set_writable(struct pci_device *d, unsigned offset, unsigned size, uint32_t bits)
{
	le_put(&d->writable[offset], size, bits);
}

void pci_set_clear(struct pci_device *d, unsigned offset, unsigned size, uint32_t bits)
{
	le_put(&d->clear[offset], size, bits);
}

void pci_device_init(struct pci_device *d, uint16_t vendor, uint16_t device, uint32_t class, uint8_t revision,
		     uint8_t pin)
{
	memset(d, 0, sizeof(*d));
	pci_set(d, PCI_VENDOR_ID, 2, vendor);
	pci_set(d, PCI_DEVICE_ID, 2, device);
	pci_set(d, PCI_REVISION, 1, revision);
	pci_set(d, PCI_CLASS, 3, class);
	pci_set(d, PCI_INTERRUPT_PIN, 1, pin <= 4 ? pin : 0);
	pci_set_writable(d, PCI_INTERRUPT_LINE, 1, 0xff);
	pci_set_writable(d, PCI_COMMAND, 2,
			 PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | PCI_COMMAND_SERR |
				 (pin ? PCI_COMMAND_INTX_DISABLE : 0));
}

int pci_set_bar(struct pci_device *d, unsigned n, uint64_t size, uint8_t type, unsigned region,
		const char *name)
{
	bool io = type & PCI_BAR_IO, wide = type & PCI_BAR_64;
	uint32_t command = le_get(&d->writable[PCI_COMMAND], 2);

	if (n >= PCI_BARS || (wide && (io || n + 1 >= PCI_BARS)) || (size & (size - 1)) ||
	    size < (io ? 4 : 16) ||
	    size > (io     ? 256ull
		    : wide ? 1ull << 40
			   : 1ull << 31))
		return -EINVAL;
	d->bar[n] = (struct pci_bar){ .size = size, .type = type, .region = region, .name = name };
	pci_set(d, PCI_BAR0 + n * 4, 4, type);
	pci_set_writable(d, PCI_BAR0 + n * 4, 4, (uint32_t)~(size - 1));
	if (wide)
		pci_set_writable(d, PCI_BAR0 + n * 4 + 4, 4, (uint32_t)(~(size - 1) >> 32));
	pci_set_writable(d, PCI_COMMAND, 2, command | (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY));
	return 0;
}

int pci_add_capability(struct pci_device *d, uint8_t id, unsigned len)
{
	unsigned at = d->capability_end ? d->capability_end : 0x40;

	if (len < 2 || len > PCI_CONFIG_SIZE - at)
		return -ENOSPC;
	pci_set(d, at, 1, id);
	pci_set(d, d->capability ? d->capability + 1u : PCI_CAPABILITIES, 1, at);
	pci_set(d, PCI_STATUS, 1, d->reset[PCI_STATUS] | PCI_STATUS_CAPABILITIES);
	d->capability = (uint8_t)at;
	/* Capabilities begin at dwords; a list that fills the space to its end takes no more. */
	at = (at + len + 3) & ~3u;
	d->capability_end = at < PCI_CONFIG_SIZE ? (uint8_t)at : PCI_CONFIG_SIZE - 1;
	return d->capability;
}

int pci_add(struct pci *pci, struct pci_device *d, unsigned slot)
{
	if (slot >= PCI_SLOTS)
		return -EINVAL;
	if (pci->device[slot])
		return -EEXIST;
	d->pci = pci;
	d->slot = (uint8_t)slot;
	pci->device[slot] = d;
	pci_device_reset(d);
	return 0;
}

/* --- the host bridge --- */

/* The memory controller hub of a Q35 chipset: Linux knows it, and nothing there needs a quirk. */
void pci_host_bridge_init(struct pci_device *d)
{
	pci_device_init(d, 0x8086, 0x29c0, 0x060000, 2, 0);
	/* Memory and bus master enable are always 1 there. */
	pci_set(d, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	pci_set_writable(d, PCI_COMMAND, 2, PCI_COMMAND_SERR);
	pci_set_writable(d, PCI_INTERRUPT_LINE, 1, 0);
}
