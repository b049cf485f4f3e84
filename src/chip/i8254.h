// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * 8254 programmable interval timer (Intel 8254 data sheet) and the system control port 0x61 of a
 * PC, which holds the gate and shows the output of counter 2.
 *
 * Counters are not stepped: their values follow from the VM clock when somebody looks.
 */
#ifndef SUBRING_CHIP_I8254_H
#define SUBRING_CHIP_I8254_H

#include "bus/chip.h"

/* Regions: ports 0x40-0x43, port 0x61. */
enum { I8254_REGION_COUNTERS, I8254_REGION_PORT61 };
enum { I8254_PORTS = 4, I8254_PORT61_PORTS = 1 };
enum { I8254_HZ = 1193182 };

struct i8254_counter {
	uint8_t mode;	   /* 0-5 */
	uint8_t access;	   /* RW bits: 1 low byte, 2 high byte, 3 both */
	bool bcd;
	bool gate;
	bool written;	   /* a count was written since the mode was set */
	bool loaded;	   /* it has reached the counting element (modes 1 and 5: was triggered) */
	bool running;	   /* not held by the gate */
	bool write_high;   /* the next byte written is the high one (access 3) */
	bool read_high;
	uint8_t write_low; /* the low byte waiting for its high one */
	uint32_t reload;   /* the count register, 1 to 65536 (BCD: 10000) */
	uint32_t count;	   /* what the counting element was loaded with */
	uint64_t start;	   /* while running: the clock tick at which it was loaded */
	uint64_t elapsed;  /* while held: ticks since it was loaded */
	bool change;	   /* modes 2 and 3: reload is taken over at tick change_at */
	uint64_t change_at;
	uint64_t rises;	   /* rising edges of OUT since start, as far as they were driven on the line */
	bool rise_due;	   /* one more, from before a change */
	bool latched, status_latched;
	bool latch_high;   /* half of the latched count was read */
	uint16_t latch;
	uint8_t status;
};

struct i8254 {
	struct i8254_counter counter[3];
	uint8_t port61;	   /* bits 0-3 as written */
	bool out0;	   /* what irq was last told */
	/* wiring */
	struct irq_line irq;
	struct chip_time time;
	struct vm_timer timer;
};

extern const struct chip_ops i8254_ops;

/* @irq: OUT of counter 0. */
void i8254_init(struct i8254 *p, const struct chip_time *time, const struct irq_line *irq);

#endif
