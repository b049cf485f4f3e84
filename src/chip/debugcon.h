// SPDX-License-Identifier: GPL-2.0-or-later
/* The debug console port of virtual PCs (0x402): reads 0xe9, and what is written goes to a stream. */
#ifndef SUBRING_CHIP_DEBUGCON_H
#define SUBRING_CHIP_DEBUGCON_H

#include "bus/chip.h"

struct debugcon {
	struct chip_stream out;
};

extern const struct chip_ops debugcon_ops; /* one port */

void debugcon_init(struct debugcon *d, const struct chip_stream *out);

#endif
