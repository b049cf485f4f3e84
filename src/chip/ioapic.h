// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * I/O APIC (82093AA data sheet; version 0x20 with its EOI register as in Intel's ICH data sheets).
 *
 * A line's level here means "asserted": the polarity bit of an entry is kept but the wires are
 * logical.
 */
#ifndef SUBRING_CHIP_IOAPIC_H
#define SUBRING_CHIP_IOAPIC_H

#include "bus/chip.h"

enum { IOAPIC_PINS = 24, IOAPIC_WINDOW = 0x1000 };

/* A message signalled interrupt as a bus write (SDM vol. 3, 11.11). */
struct ioapic_msi {
	uint64_t address;
	uint32_t data;
};

struct ioapic_wires {
	void (*msi)(void *opaque, const struct ioapic_msi *msi);
	/*
	 * The messages that the entries stand for, whenever they change: unmasked entries and those
	 * that still wait for an EOI. Data bit 15: level-triggered, needs ioapic_eoi.
	 */
	void (*routes)(void *opaque, const struct ioapic_msi *route, unsigned count);
	void *opaque;
};

struct ioapic {
	uint8_t select, id;
	uint32_t lines;			/* bit n: pin n is asserted */
	uint64_t redtbl[IOAPIC_PINS];	/* redirection table */
	/* derived */
	struct ioapic_msi route[IOAPIC_PINS];
	unsigned route_count;
	struct ioapic_wires wires;
};

extern const struct chip_ops ioapic_ops; /* one region of IOAPIC_WINDOW bytes */

void ioapic_init(struct ioapic *a, uint8_t id, const struct ioapic_wires *wires);
/* Drives pin @n. Fits struct irq_line.set, @opaque is the I/O APIC. */
void ioapic_set_irq(void *opaque, unsigned n, bool level);
/* A local APIC's EOI of a level-triggered @vector. */
void ioapic_eoi(struct ioapic *a, uint8_t vector);

#endif
