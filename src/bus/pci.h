// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * PCI: the configuration spaces of bus 0 (PCI Local Bus 3.0, chapter 6) behind configuration
 * mechanism #1 and behind ECAM (PCI Express Base 4.0, 7.2.2), base address registers mapped onto
 * the board's buses, and INTx.
 *
 * A device embeds a struct pci_device. Its owner fills the configuration space with the
 * pci_set functions, says which bits the guest may write, describes its BARs, and adds it; from
 * then on the space belongs to the guest and this file. What lies behind a BAR is a region of a
 * chip like any other.
 *
 * Where BARs are mapped follows from the configuration spaces alone: in the order of device
 * numbers, each enabled BAR is mapped if nothing else (a chip of the board, an earlier BAR) is
 * there. So nothing but the configuration spaces has to be saved.
 */
#ifndef SUBRING_BUS_PCI_H
#define SUBRING_BUS_PCI_H

#include "bus/chip.h"
#include "bus/bus.h"

/* Regions: ports 0xcf8 (CONFIG_ADDRESS) and 0xcfc (CONFIG_DATA), and ECAM. */
enum { PCI_REGION_ADDRESS, PCI_REGION_DATA, PCI_REGION_ECAM };
enum { PCI_ADDRESS_PORTS = 4, PCI_DATA_PORTS = 4 };
enum { PCI_CONFIG_SIZE = 256, PCI_BARS = 6, PCI_SLOTS = 32, PCI_LINES = 8 };

/* Offsets in a header of type 0 (chapter 6.1), and bits of its registers. */
enum {
	PCI_VENDOR_ID = 0x00,
	PCI_DEVICE_ID = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08,
	PCI_CLASS = 0x09, /* programming interface, subclass, class */
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SUBSYSTEM_VENDOR_ID = 0x2c,
	PCI_SUBSYSTEM_ID = 0x2e,
	PCI_CAPABILITIES = 0x34,
	PCI_INTERRUPT_LINE = 0x3c,
	PCI_INTERRUPT_PIN = 0x3d,
};
enum {
	PCI_COMMAND_IO = 1 << 0,
	PCI_COMMAND_MEMORY = 1 << 1,
	PCI_COMMAND_MASTER = 1 << 2,
	PCI_COMMAND_PARITY = 1 << 6,
	PCI_COMMAND_SERR = 1 << 8,
	PCI_COMMAND_INTX_DISABLE = 1 << 10,
	PCI_STATUS_INTX = 1 << 3,
	PCI_STATUS_CAPABILITIES = 1 << 4,
};
enum { PCI_CAPABILITY_VENDOR = 0x09, PCI_CAPABILITY_MSIX = 0x11 };
enum {
	PCI_BAR_IO = 1,
	PCI_BAR_64 = 4,
	PCI_BAR_PREFETCH = 8,
};

struct pci_bar {
	uint64_t size;	  /* a power of two, at least 16 (memory) or 4 (ports); 0: no such BAR */
	uint8_t type;	  /* PCI_BAR_*; one with PCI_BAR_64 takes the next BAR's register too */
	unsigned region;  /* of the device's chip */
	const char *name; /* static */
	bool mapped;
	uint64_t base;	  /* while mapped */
};

struct msix;
struct pci;

struct pci_device {
	uint8_t config[PCI_CONFIG_SIZE];
	bool intx; /* the device asserts its interrupt pin */
	/* fixed after pci_add */
	uint8_t reset[PCI_CONFIG_SIZE];	   /* config after reset */
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits that the guest may write */
	uint8_t clear[PCI_CONFIG_SIZE];	   /* bits that writing 1 clears */
	struct pci_bar bar[PCI_BARS];
	const struct chip_ops *ops;	   /* what answers in the BARs */
	void *chip;
	/* After the guest wrote [offset, offset + size) of config; may be NULL. */
	void (*config_written)(void *chip, unsigned offset, unsigned size);
	/* Before the guest reads [offset, offset + size) of config: the last moment to change what it reads; may be NULL. */
	void (*config_read)(void *chip, unsigned offset, unsigned size);
	/* BAR @n was mapped, moved or unmapped: bar[n] says where it is now. May be NULL. */
	void (*bar_moved)(void *chip, unsigned n);
	struct msix *msix;   /* msix.h; NULL: the device has none */
	uint8_t capability;  /* the last one that was added; 0: none */
	uint8_t capability_end;
	/* wiring */
	struct pci *pci;
	uint8_t slot;
};

struct pci {
	uint32_t address; /* CONFIG_ADDRESS */
	uint8_t lines;	  /* what intx was last told */
	struct pci_device *device[PCI_SLOTS];
	struct bus *pio, *mmio;
	/* Levels of the interrupt lines 0 to 7, whenever one may have changed. */
	void (*intx)(void *opaque, uint8_t lines);
	void *opaque;
};

extern const struct chip_ops pci_ops;
extern const struct chip_ops pci_device_ops; /* its state and reset: one record a device */

void pci_init(struct pci *pci, struct bus *pio, struct bus *mmio, void (*intx)(void *opaque, uint8_t lines),
	      void *opaque);

/* A device with these IDs, @class as 0xccsspp, and an interrupt pin (1-4: INTA-INTD; 0: none). */
void pci_device_init(struct pci_device *d, uint16_t vendor, uint16_t device, uint32_t class, uint8_t revision,
		     uint8_t pin);
/* Sets bytes of the space after reset. Before pci_add. */
void pci_set(struct pci_device *d, unsigned offset, unsigned size, uint32_t value);
void pci_set_writable(struct pci_device *d, unsigned offset, unsigned size, uint32_t bits);
void pci_set_clear(struct pci_device *d, unsigned offset, unsigned size, uint32_t bits);
/* Describes BAR @n; -EINVAL for a size or place that cannot be. Before pci_add. */
int pci_set_bar(struct pci_device *d, unsigned n, uint64_t size, uint8_t type, unsigned region,
		const char *name);
/*
 * Appends a capability (6.7) of @len bytes, its ID and link included, to the list: all read-only zeros but ID and link.
 * Its offset, or -ENOSPC. Before pci_add.
 */
int pci_add_capability(struct pci_device *d, uint8_t id, unsigned len);
/* Puts @d, which stays the caller's, into @slot. -EEXIST when that is taken. */
int pci_add(struct pci *pci, struct pci_device *d, unsigned slot);

/* Drives the device's interrupt pin, which is silent while MSI-X is enabled. */
void pci_set_intx(struct pci_device *d, bool level);

/* The host bridge, device 0 of bus 0. */
void pci_host_bridge_init(struct pci_device *d);

#endif
