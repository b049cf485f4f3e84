// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The registers of a VGA (IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem"): CRT
 * controller, sequencer, graphics controller, attribute controller, DAC, input status. After reset they
 * are what a BIOS leaves: mode 3, 80 by 25 characters of 9 by 16 pixels in colour.
 *
 * The beam is a function of the clock: 449 lines of 31.78 us, 400 of them shown, which is 70 frames a
 * second. Guests that wait for a retrace see it come and go.
 *
 * Invariants: dac_step is below 3. Index registers hold anything: a register that is not there reads
 * as 0 and ignores writes.
 */
#include "chip/vga.h"

#include "chip/bytes.h"

#include <errno.h>
#include <string.h>

enum { MISC_COLOUR = 1 };
enum { CRTC_OVERFLOW = 0x07, CRTC_RETRACE_END = 0x11, CRTC_PROTECT = 0x80, OVERFLOW_LINE_COMPARE = 0x10 };
enum { STATUS0_SENSE = 0x10, STATUS1_BLANK = 0x01, STATUS1_RETRACE = 0x08 };
enum { LINE_NS = 31778, LINE_SHOWN_NS = 25422, LINES = 449, LINES_SHOWN = 400, RETRACE_FIRST = 412, RETRACE_LINES = 2 };
enum { /* offsets in the common region */
	ATTRIBUTE, ATTRIBUTE_READ, MISC_WRITE, ENABLE, SEQUENCER_INDEX, SEQUENCER_DATA, DAC_MASK, DAC_READ_INDEX,
	DAC_WRITE_INDEX, DAC_DATA, FEATURE_READ, MISC_READ = 0xc, GRAPHICS_INDEX = 0xe, GRAPHICS_DATA,
};
enum { CRTC_INDEX, CRTC_DATA, STATUS1 = 6 }; /* and in the other two */

/* Mode 3. */
static const uint8_t mode_crtc[VGA_CRTC_REGS] = {
	0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
	0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
};
static const uint8_t mode_sequencer[VGA_SEQUENCER_REGS] = { 0x03, 0x00, 0x03, 0x00, 0x02 };
static const uint8_t mode_graphics[VGA_GRAPHICS_REGS] = { 0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff };
static const uint8_t mode_attribute[VGA_ATTRIBUTE_REGS] = {
	0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
	0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00,
};
enum { MODE_MISC = 0x67, MODE_ATTRIBUTE_INDEX = 0x20 };

static void vga_reset(void *chip)
{
	struct vga *v = chip;
	struct chip_time time = v->time;

	*v = (struct vga){ .time = time, .misc = MODE_MISC, .enable = 1, .attribute_index = MODE_ATTRIBUTE_INDEX,
			   .dac_mask = 0xff };
	memcpy(v->crtc, mode_crtc, sizeof(v->crtc));
	memcpy(v->sequencer, mode_sequencer, sizeof(v->sequencer));
	memcpy(v->graphics, mode_graphics, sizeof(v->graphics));
	memcpy(v->attribute, mode_attribute, sizeof(v->attribute));
	/* The 64 colours of the EGA: bits 0-2 are two thirds of blue, green, red, bits 3-5 one third. */
	for (unsigned i = 0; i < 64; i++)
		for (unsigned c = 0; c < 3; c++)
			v->dac[i * 3 + c] = (uint8_t)((i >> (2 - c) & 1) * 0x2a + (i >> (5 - c) & 1) * 0x15);
}

/* --- the beam --- */

static uint8_t input_status1(const struct vga *v)
{
	uint64_t at = vm_clock_ns(v->time.clock) % ((uint64_t)LINE_NS * LINES), line = at / LINE_NS;
	uint8_t status = 0;

	if (line >= LINES_SHOWN || at % LINE_NS >= LINE_SHOWN_NS)
		status |= STATUS1_BLANK;
	if (line >= RETRACE_FIRST && line < RETRACE_FIRST + RETRACE_LINES)
		status |= STATUS1_RETRACE;
	return status;
}

/* --- CRT controller and input status 1 --- */

/* Whether the CRT controller is at the ports of @region. */
static bool answers(const struct vga *v, unsigned region)
{
	return region == (v->misc & MISC_COLOUR ? VGA_REGION_COLOUR : VGA_REGION_MONO);
}

static uint8_t crtc_region_read(struct vga *v, unsigned n)
{
	switch (n) {
	case CRTC_INDEX: return v->crtc_index;
	case CRTC_DATA: return v->crtc_index < VGA_CRTC_REGS ? v->crtc[v->crtc_index] : 0;
	case STATUS1:
		v->attribute_data = false;
		return input_status1(v);
	default: return 0xff;
	}
}

static void crtc_write(struct vga *v, uint8_t value)
{
	unsigned i = v->crtc_index;

	if (i >= VGA_CRTC_REGS)
		return;
	if (i <= CRTC_OVERFLOW && v->crtc[CRTC_RETRACE_END] & CRTC_PROTECT) {
		if (i != CRTC_OVERFLOW)
			return;
		value = (uint8_t)((v->crtc[i] & ~OVERFLOW_LINE_COMPARE) | (value & OVERFLOW_LINE_COMPARE));
	}
	v->crtc[i] = value;
}

static void crtc_region_write(struct vga *v, unsigned n, uint8_t value)
{
	switch (n) {
	case CRTC_INDEX: v->crtc_index = value; break;
	case CRTC_DATA: crtc_write(v, value); break;
	case STATUS1: v->feature = value; break;
	default: break;
	}
}

/* --- DAC --- */

static uint8_t dac_data_read(struct vga *v)
{
	uint8_t value = v->dac[v->dac_read * 3u + v->dac_step];

	if (++v->dac_step == 3) {
		v->dac_step = 0;
		v->dac_read++;
	}
	return value;
}

static void dac_data_write(struct vga *v, uint8_t value)
{
	v->dac[v->dac_write * 3u + v->dac_step] = value & 0x3f;
	if (++v->dac_step == 3) {
		v->dac_step = 0;
		v->dac_write++;
	}
}

static void dac_index(struct vga *v, bool reading, uint8_t value)
{
	*(reading ? &v->dac_read : &v->dac_write) = value;
	v->dac_reading = reading;
	v->dac_step = 0;
}

/* --- the common registers --- */

static void attribute_write(struct vga *v, uint8_t value)
{
	unsigned i = v->attribute_index & 0x1f;

	if (!v->attribute_data)
		v->attribute_index = value & 0x3f;
	else if (i < VGA_ATTRIBUTE_REGS)
		v->attribute[i] = value;
	v->attribute_data = !v->attribute_data;
}

static uint8_t common_read(struct vga *v, unsigned n)
{
	unsigned i = v->attribute_index & 0x1f;

	switch (n) {
	case ATTRIBUTE: return v->attribute_index;
	case ATTRIBUTE_READ: return i < VGA_ATTRIBUTE_REGS ? v->attribute[i] : 0;
	case MISC_WRITE: return STATUS0_SENSE;
	case ENABLE: return v->enable;
	case SEQUENCER_INDEX: return v->sequencer_index;
	case SEQUENCER_DATA: return v->sequencer_index < VGA_SEQUENCER_REGS ? v->sequencer[v->sequencer_index] : 0;
	case DAC_MASK: return v->dac_mask;
	case DAC_READ_INDEX: return v->dac_reading ? 3 : 0;
	case DAC_WRITE_INDEX: return v->dac_write;
	case DAC_DATA: return dac_data_read(v);
	case FEATURE_READ: return v->feature;
	case MISC_READ: return v->misc;
	case GRAPHICS_INDEX: return v->graphics_index;
	case GRAPHICS_DATA: return v->graphics_index < VGA_GRAPHICS_REGS ? v->graphics[v->graphics_index] : 0;
	default: return 0xff;
	}
}

static void common_write(struct vga *v, unsigned n, uint8_t value)
{
	switch (n) {
	case ATTRIBUTE: attribute_write(v, value); break;
	case MISC_WRITE: v->misc = value; break;
	case ENABLE: v->enable = value & 1; break;
	case SEQUENCER_INDEX: v->sequencer_index = value; break;
	case SEQUENCER_DATA:
		if (v->sequencer_index < VGA_SEQUENCER_REGS)
			v->sequencer[v->sequencer_index] = value;
		break;
	case DAC_MASK: v->dac_mask = value; break;
	case DAC_READ_INDEX: dac_index(v, true, value); break;
	case DAC_WRITE_INDEX: dac_index(v, false, value); break;
	case DAC_DATA: dac_data_write(v, value); break;
	case GRAPHICS_INDEX: v->graphics_index = value; break;
	case GRAPHICS_DATA:
		if (v->graphics_index < VGA_GRAPHICS_REGS)
			v->graphics[v->graphics_index] = value;
		break;
	default: break;
	}
}

/* --- accesses --- */

static uint8_t read_byte(void *chip, unsigned region, unsigned n)
{
	if (region == VGA_REGION_COMMON)
		return common_read(chip, n);
	return answers(chip, region) ? crtc_region_read(chip, n) : 0xff;
}

static void write_byte(void *chip, unsigned region, unsigned n, uint8_t value)
{
	if (region == VGA_REGION_COMMON)
		common_write(chip, n, value);
	else if (answers(chip, region))
		crtc_region_write(chip, n, value);
}

static unsigned region_len(unsigned region)
{
	return region == VGA_REGION_COMMON ? VGA_COMMON_PORTS : VGA_CRTC_PORTS;
}

static uint64_t vga_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	return bytes_read(read_byte, chip, region, offset, size, region_len(region));
}

static void vga_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	bytes_write(write_byte, chip, region, offset, size, region_len(region), value);
}

/* --- state --- */

static int vga_loaded(void *chip)
{
	struct vga *v = chip;

	return v->dac_step < 3 ? 0 : -EPROTO;
}

static const struct state_field fields[] = {
	STATE_UINT(struct vga, misc),
	STATE_UINT(struct vga, feature),
	STATE_UINT(struct vga, enable),
	STATE_UINT(struct vga, crtc_index),
	STATE_BYTES(struct vga, crtc),
	STATE_UINT(struct vga, sequencer_index),
	STATE_BYTES(struct vga, sequencer),
	STATE_UINT(struct vga, graphics_index),
	STATE_BYTES(struct vga, graphics),
	STATE_UINT(struct vga, attribute_index),
	STATE_BYTES(struct vga, attribute),
	STATE_UINT(struct vga, attribute_data),
	STATE_UINT(struct vga, dac_mask),
	STATE_UINT(struct vga, dac_read),
	STATE_UINT(struct vga, dac_write),
	STATE_BYTES(struct vga, dac),
	STATE_UINT(struct vga, dac_step),
	STATE_UINT(struct vga, dac_reading),
	STATE_END,
};

static const struct state_class class = { .name = "vga", .version = 1, .fields = fields };

const struct chip_ops vga_ops = {
	.state = &class,
	.reset = vga_reset,
	.read = vga_read,
	.write = vga_write,
	.loaded = vga_loaded,
};

void vga_init(struct vga *v, const struct chip_time *time)
{
	v->time = *time;
	vga_reset(v);
}
