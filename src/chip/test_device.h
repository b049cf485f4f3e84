// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The device that test guests for virtual PCs use: a register that remembers, a port that takes the
 * address of a page, a port for each interrupt line, and memory that is a device's. No PC has it; it is
 * there on request.
 */
#ifndef SUBRING_CHIP_TEST_DEVICE_H
#define SUBRING_CHIP_TEST_DEVICE_H

#include "bus/chip.h"

enum { TEST_DEVICE_LINES = 24 };
enum { TEST_DEVICE_REGION_LATCH, TEST_DEVICE_REGION_FLUSH, TEST_DEVICE_REGION_LINES, TEST_DEVICE_REGION_MEMORY };
enum { TEST_DEVICE_LATCH_PORTS = 4, TEST_DEVICE_FLUSH_PORTS = 4, TEST_DEVICE_MEMORY = 64 << 10 };

struct test_device {
	uint32_t latch;
	uint32_t lines; /* bit n: line n is high by this device's doing */
	uint8_t memory[TEST_DEVICE_MEMORY];
	struct irq_line out; /* its n is not used */
};

extern const struct chip_ops test_device_ops;

/* @out->set is called with numbers of lines below TEST_DEVICE_LINES. */
void test_device_init(struct test_device *t, const struct irq_line *out);

#endif
