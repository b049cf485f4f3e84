// SPDX-License-Identifier: GPL-2.0-or-later
/* The debug exit port that emulators share (0xf4, four ports wide). It has no state. */
#include "chip/debug_exit.h"

static void debug_exit_reset(void *chip)
{
}

static uint64_t debug_exit_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	return 0;
}

static void debug_exit_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct debug_exit *d = chip;

	if (size < 4)
		value &= (1u << size * 8) - 1;
	if (offset == 0 && d->exit)
		d->exit(d->opaque, (uint32_t)value);
}

const struct chip_ops debug_exit_ops = {
	.reset = debug_exit_reset,
	.read = debug_exit_read,
	.write = debug_exit_write,
};

void debug_exit_init(struct debug_exit *d, void (*exit)(void *opaque, uint32_t value), void *opaque)
{
	*d = (struct debug_exit){ .exit = exit, .opaque = opaque };
}
