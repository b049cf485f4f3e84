// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Virtio over PCI: virtio 1.2, 4.1, the modern interface alone.
 *
 * BAR 1 is the MSI-X table, BAR 4 (64-bit, prefetchable) holds the structures that the vendor-specific capabilities name. A
 * vector for the configuration and one for each queue.
 *
 * On the board a device is four parts, reset, saved and loaded in this order: pci_device_ops of &t->pci, virtio_pci_ops of t,
 * virtio_device_ops of its device, and the model's own ops if it has any.
 */
#ifndef SUBRING_VIRTIO_PCI_H
#define SUBRING_VIRTIO_PCI_H

#include "bus/msix.h"
#include "virtio/device.h"

#include <stdatomic.h>

enum { VIRTIO_PCI_REGION_MSIX = 1, VIRTIO_PCI_REGION_REGISTERS = 4 };
/* Where the structures are in BAR 4. */
enum {
	VIRTIO_PCI_COMMON = 0x0000,
	VIRTIO_PCI_ISR = 0x1000,
	VIRTIO_PCI_CONFIG = 0x2000,
	VIRTIO_PCI_NOTIFY = 0x3000, /* 4 bytes a queue */
	VIRTIO_PCI_BAR_SIZE = 0x4000,
};

struct virtio_pci {
	struct pci_device pci; /* to be added to its bus after init */
	struct msix msix;
	/* saved */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	_Atomic uint8_t isr; /* bit 0: a queue, bit 1: the configuration (4.1.4.5) */
	/* fixed after init */
	struct virtio_device *dev;
	struct virtio_wires wires;
	uint8_t window; /* offset of the capability for access through configuration space */
	uint64_t doorbell[VIRTIO_QUEUES_MAX]; /* where one is installed; 0: nowhere */
};

extern const struct chip_ops virtio_pci_ops;

/* Puts @dev, which outlives it, onto a card. 0 or a negative errno. */
int virtio_pci_init(struct virtio_pci *t, struct virtio_device *dev, const struct virtio_wires *wires);
/* Board lock held: the doorbells go too. */
void virtio_pci_destroy(struct virtio_pci *t);
/* Drives the interrupt pin as the ISR status has it. Board lock held. */
void virtio_pci_update_line(struct virtio_pci *t);

#endif
