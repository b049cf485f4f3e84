// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MC146818 real-time clock with CMOS memory (Motorola MC146818 data sheet), and a PC's second
 * bank of 128 bytes.
 *
 * The time of day follows from the VM clock (struct vm_clock: epoch_s + VM time) when somebody
 * looks; it is UTC.
 */
#ifndef SUBRING_CHIP_MC146818_H
#define SUBRING_CHIP_MC146818_H

#include "bus/chip.h"

/* Regions: ports 0x70-0x71, and 0x72-0x73 for the second bank. */
enum { MC146818_REGION_BANK0, MC146818_REGION_BANK1 };
enum { MC146818_PORTS = 2 };

struct mc146818 {
	uint8_t index[2];     /* selected byte of each bank; bit 7 of [0]: NMI is masked */
	uint8_t cmos[256];    /* both banks; alarms and registers A-D in their places; the time only while SET is 1 */
	uint64_t base_s;      /* calendar seconds since 1970 at base_ns */
	uint64_t base_ns;     /* VM time of that update; updates happen a multiple of 1 s from it */
	uint8_t wday_shift;   /* what the guest wrote as day of the week, less what the date says */
	uint64_t checked_ns;  /* the flags of register C are accounted up to here */
	/* wiring */
	struct irq_line irq;
	struct chip_time time;
	struct vm_timer timer;
};

extern const struct chip_ops mc146818_ops;

/* @irq: IRQ 8. The clock of @time must have its epoch. */
void mc146818_init(struct mc146818 *r, const struct chip_time *time, const struct irq_line *irq);
/* The bytes in which a PC's firmware tells memory sizes; @low: bytes below 4 GiB, @high: above. */
void mc146818_set_memory(struct mc146818 *r, uint64_t low, uint64_t high);
/* Any other byte of the 256, for the board. */
void mc146818_set_byte(struct mc146818 *r, uint8_t index, uint8_t value);

#endif
