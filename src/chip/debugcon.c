// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The debug console port that emulators share (0x402). It has no state. A byte that the
 * back-end does not take is lost: there is no way to make the guest wait.
 */
#include "chip/debugcon.h"

#include "chip/bytes.h"

enum { DEBUGCON_PRESENT = 0xe9 };

static void debugcon_reset(void *chip)
{
}

static uint8_t read_byte(void *chip, unsigned region, unsigned n)
{
	return DEBUGCON_PRESENT;
}

static void write_byte(void *chip, unsigned region, unsigned n, uint8_t v)
{
	struct debugcon *d = chip;

	if (d->out.put)
		d->out.put(d->out.opaque, v);
}

static uint64_t debugcon_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	return bytes_read(read_byte, chip, region, offset, size, 1);
}

static void debugcon_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	bytes_write(write_byte, chip, region, offset, size, 1, value);
}

const struct chip_ops debugcon_ops = {
	.reset = debugcon_reset,
	.read = debugcon_read,
	.write = debugcon_write,
};

void debugcon_init(struct debugcon *d, const struct chip_stream *out)
{
	d->out = *out;
}
