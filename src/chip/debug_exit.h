// SPDX-License-Identifier: GPL-2.0-or-later
/* The debug exit port of virtual PCs (0xf4): what is written ends the run. */
#ifndef SUBRING_CHIP_DEBUG_EXIT_H
#define SUBRING_CHIP_DEBUG_EXIT_H

#include "bus/chip.h"

enum { DEBUG_EXIT_PORTS = 4 };

struct debug_exit {
	void (*exit)(void *opaque, uint32_t value);
	void *opaque;
};

extern const struct chip_ops debug_exit_ops;

void debug_exit_init(struct debug_exit *d, void (*exit)(void *opaque, uint32_t value), void *opaque);

#endif
