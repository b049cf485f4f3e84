// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Port 0x80: the POST code of firmware, and the port that Linux writes to for a short delay. It
 * and its neighbours up to 0x8f are DMA page registers in a PC: bytes that keep what was written.
 */
#ifndef SUBRING_CHIP_PORT80_H
#define SUBRING_CHIP_PORT80_H

#include "bus/chip.h"

enum { PORT80_PORTS = 16 };

struct port80 {
	uint8_t byte[PORT80_PORTS]; /* [0]: the last POST code */
};

extern const struct chip_ops port80_ops;

void port80_init(struct port80 *p);

#endif
