// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * 8042 keyboard controller of a PC/AT with a keyboard that answers but has no keys pressed, and
 * no auxiliary device (IBM PS/2 hardware interface technical reference); the system control port
 * 0x92.
 */
#ifndef SUBRING_CHIP_I8042_H
#define SUBRING_CHIP_I8042_H

#include "bus/chip.h"

/* Regions: port 0x60, port 0x64, port 0x92. */
enum { I8042_REGION_DATA, I8042_REGION_COMMAND, I8042_REGION_PORT92 };
enum { I8042_QUEUE = 16 };

struct i8042 {
	uint8_t status;	 /* OBF, SYS, CMD */
	uint8_t ctr;	 /* command byte */
	uint8_t out;	 /* output buffer */
	bool from_kbd;	 /* the byte in it came from the keyboard */
	uint8_t command; /* one that waits for its byte on port 0x60; 0: none */
	uint8_t port;	 /* output port; bit 1: A20 */
	uint8_t port92;
	uint8_t ram[32];
	/* keyboard */
	uint8_t kbd_command; /* one that waits for its byte; 0: none */
	bool kbd_scanning;
	uint8_t kbd_set;     /* scan code set 1-3 */
	uint8_t kbd_leds, kbd_rate;
	uint8_t kbd_last;    /* for RESEND */
	uint8_t kbd_queue[I8042_QUEUE], kbd_count;
	/* wiring */
	struct irq_line irq;
	struct irq_line a20; /* the gate: true when it is open */
	void (*reset)(void *opaque);
	void *opaque;
};

extern const struct chip_ops i8042_ops;

/* @irq: IRQ 1. @reset is called when the guest pulses the CPU's reset line. */
void i8042_init(struct i8042 *k, const struct irq_line *irq, void (*reset)(void *opaque), void *opaque);
/* Connects the A20 gate, which is told of each change (and of its level when a state was loaded). */
void i8042_wire_a20(struct i8042 *k, const struct irq_line *a20);
/* The A20 gate, as last set by either port. */
bool i8042_a20(const struct i8042 *k);

#endif
