// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The registers of a VGA in text mode. Its text memory at 0xB8000 is RAM (machine/ram_map.h); there is no
 * display behind it yet, and no other memory.
 */
#ifndef SUBRING_CHIP_VGA_H
#define SUBRING_CHIP_VGA_H

#include "bus/chip.h"

/* The ports: 0x3b4 to 0x3bb (monochrome), 0x3c0 to 0x3cf, 0x3d4 to 0x3db (colour). */
enum { VGA_REGION_MONO, VGA_REGION_COMMON, VGA_REGION_COLOUR };
enum { VGA_CRTC_PORTS = 8, VGA_COMMON_PORTS = 16 };
enum { VGA_CRTC_REGS = 25, VGA_SEQUENCER_REGS = 5, VGA_GRAPHICS_REGS = 9, VGA_ATTRIBUTE_REGS = 21 };

struct vga {
	uint8_t misc, feature, enable;
	uint8_t crtc_index, crtc[VGA_CRTC_REGS];
	uint8_t sequencer_index, sequencer[VGA_SEQUENCER_REGS];
	uint8_t graphics_index, graphics[VGA_GRAPHICS_REGS];
	uint8_t attribute_index, attribute[VGA_ATTRIBUTE_REGS];
	bool attribute_data; /* the next write to 0x3c0 is data */
	uint8_t dac_mask, dac_read, dac_write, dac[256 * 3];
	uint8_t dac_step; /* 0 to 2: red, green, blue */
	bool dac_reading;
	struct chip_time time;
};

extern const struct chip_ops vga_ops;

void vga_init(struct vga *v, const struct chip_time *time);

#endif
