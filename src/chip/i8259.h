// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The pair of 8259A interrupt controllers of a PC, the slave on the master's input 2 (Intel 8259A
 * data sheet), with the ELCR registers of a PCI chipset.
 */
#ifndef SUBRING_CHIP_I8259_H
#define SUBRING_CHIP_I8259_H

#include "bus/chip.h"

/* Regions: ports 0x20-0x21, 0xa0-0xa1, 0x4d0-0x4d1. */
enum { I8259_REGION_MASTER, I8259_REGION_SLAVE, I8259_REGION_ELCR };
enum { I8259_PORTS = 2, I8259_ELCR_PORTS = 2 };

struct i8259 {
	uint8_t irr, isr, imr;
	uint8_t lines;	  /* input levels */
	uint8_t elcr;	  /* bit set: level-triggered input */
	uint8_t base;	  /* ICW2: vector of input 0 */
	uint8_t icw3, icw4;
	uint8_t lowest;	  /* input of lowest priority (7 after initialization) */
	uint8_t init;	  /* next ICW expected: 0 none, 2, 3, 4 */
	bool need_icw4, single, ltim;
	bool read_isr;	  /* OCW3: reading port 0 gives ISR instead of IRR */
	bool poll;	  /* OCW3: the next read is a poll */
	bool special_mask;
	bool rotate_aeoi; /* rotate in automatic EOI mode */
	bool ready;	  /* was initialized: interrupts may come out */
};

struct i8259_pair {
	struct i8259 pic[2]; /* master, slave */
	bool output;	     /* what intr was last told */
	struct irq_line intr;
};

extern const struct chip_ops i8259_ops; /* of struct i8259_pair */

/* @intr: the INTR output of the master. */
void i8259_init(struct i8259_pair *p, const struct irq_line *intr);
/* Drives input @n (0-15; 2 is the cascade: ignored). Fits struct irq_line.set, @opaque is the pair. */
void i8259_set_irq(void *opaque, unsigned n, bool level);
/* Whether INTR is up. */
bool i8259_output(const struct i8259_pair *p);
/* Both INTA cycles: the vector. With nothing pending it is the spurious one (input 7), as on the chip. */
uint8_t i8259_ack(struct i8259_pair *p);

#endif
