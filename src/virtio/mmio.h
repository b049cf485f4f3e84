// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Virtio over MMIO: virtio 1.2, 4.2, version 2 of the register layout alone. One window and one interrupt line, level-triggered.
 *
 * On the board a device is virtio_mmio_ops of t, virtio_device_ops of its device and the model's ops if it has any, in this order.
 */
#ifndef SUBRING_VIRTIO_MMIO_H
#define SUBRING_VIRTIO_MMIO_H

#include "virtio/device.h"

#include <stdatomic.h>

enum { VIRTIO_MMIO_SIZE = 0x200 };

struct virtio_mmio {
	/* saved */
	uint32_t device_feature_select, driver_feature_select, queue_select;
	_Atomic uint8_t isr; /* InterruptStatus */
	/* fixed after init */
	struct virtio_device *dev;
	struct virtio_wires wires;
	struct irq_line irq;
	uint64_t base;
	bool doorbell[VIRTIO_QUEUES_MAX]; /* is installed */
};

extern const struct chip_ops virtio_mmio_ops; /* one region of VIRTIO_MMIO_SIZE bytes */

/* @dev outlives it. @base is where the window will be, for doorbells. */
void virtio_mmio_init(struct virtio_mmio *t, struct virtio_device *dev, const struct virtio_wires *wires,
		      const struct irq_line *irq, uint64_t base);
/* Board lock held: the doorbells go. */
void virtio_mmio_destroy(struct virtio_mmio *t);
/* Drives the line as InterruptStatus has it. Board lock held. */
void virtio_mmio_update_line(struct virtio_mmio *t);

#endif
