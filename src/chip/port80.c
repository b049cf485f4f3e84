// SPDX-License-Identifier: GPL-2.0-or-later
/* POST code port and DMA page registers (0x80-0x8f): plain bytes. */
#include "chip/port80.h"

#include "chip/bytes.h"

#include <string.h>

static void port80_reset(void *chip)
{
	struct port80 *p = chip;

	memset(p->byte, 0, sizeof(p->byte));
}

static uint8_t read_byte(void *chip, unsigned region, unsigned n)
{
	struct port80 *p = chip;

	return p->byte[n];
}

static void write_byte(void *chip, unsigned region, unsigned n, uint8_t v)
{
	struct port80 *p = chip;

	p->byte[n] = v;
}

static uint64_t port80_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	return bytes_read(read_byte, chip, region, offset, size, PORT80_PORTS);
}

static void port80_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	bytes_write(write_byte, chip, region, offset, size, PORT80_PORTS, value);
}

static const struct state_field fields[] = {
	STATE_BYTES(struct port80, byte),
	STATE_END,
};

static const struct state_class class = { .name = "port80", .version = 1, .fields = fields };

const struct chip_ops port80_ops = {
	.state = &class,
	.reset = port80_reset,
	.read = port80_read,
	.write = port80_write,
};

void port80_init(struct port80 *p)
{
	port80_reset(p);
}
