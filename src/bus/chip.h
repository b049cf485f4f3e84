// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What every chip has in common.
 *
 * A chip is a plain struct that its owner (machine/) embeds or allocates, a const struct chip_ops
 * that says how the buses, reset and saved state reach it, and irq lines and back-ends that were
 * given to it at init. It knows no bus, no engine and no VM: a test drives it by calling its ops.
 *
 * Threads: all calls into a chip are made with the board lock held (machine/machine.h). A chip
 * never blocks; output goes to a back-end that takes it or queues it.
 *
 * Hostile input: offsets and sizes come from the guest. A chip answers every access.
 */
#ifndef SUBRING_BUS_CHIP_H
#define SUBRING_BUS_CHIP_H

#include "clock/clock.h"
#include "state/state.h"

#include <stdbool.h>
#include <stdint.h>

struct chip_ops {
	const struct state_class *state; /* of the chip's struct; NULL if it has none */
	void (*reset)(void *chip);	 /* as after power-on; may be NULL */
	/*
	 * @region is the chip's own number for one of its windows (0 when it has one), @offset is
	 * relative to it, @size is 1, 2, 4 or 8. A narrow register read wide gives what the chip
	 * gives; unknown offsets read as all ones (ports) and ignore writes.
	 */
	uint64_t (*read)(void *chip, unsigned region, uint64_t offset, unsigned size);
	void (*write)(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value);
	/* After its state was loaded: recompute what is derived, arm timers, drive lines. 0 or -EPROTO
	 * when the values cannot be. May be NULL. */
	int (*loaded)(void *chip);
};

/* One end of an interrupt line (or any wire): the chip drives it, the board knows where it goes. */
struct irq_line {
	void (*set)(void *opaque, unsigned n, bool level);
	void *opaque;
	unsigned n;
};

static inline void irq_set(const struct irq_line *line, bool level)
{
	if (line->set)
		line->set(line->opaque, line->n, level);
}

/* What chips that keep time are given: the VM clock, and the queue of timers. */
struct chip_time {
	const struct vm_clock *clock;
	struct vm_timers *timers;
};

/* A byte stream that a chip writes to and is fed from (serial port, debug console). */
struct chip_stream {
	/* Takes one byte; 1 if taken, 0 if the back-end is full (the chip keeps it and is told by its
	 * own function when there is room again). NULL: bytes vanish. */
	int (*put)(void *opaque, uint8_t byte);
	void *opaque;
};

#endif
