// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The test device of virtual PCs, as kvm-unit-tests use it (x86/ioapic.c, realmode.c, emulator.c,
 * eventinj.c): ports 0xe0-0xe3 remember what was written; 0xe4 takes the address of a page whose mapping
 * the monitor may drop, which no guest can notice;  a byte at 0x2000 + n drives interrupt line n; the
 * 64 KiB at 0xff000000 are memory that only exits reach, so that instructions have to be emulated on it.
 *
 * Invariants: the device drives a line only after the guest wrote to its port, so that lines which
 * the guest leaves alone stay those of their chips. Lines beyond the last do not exist.
 */
#include "chip/test_device.h"

#include "chip/bytes.h"

#include <errno.h>
#include <string.h>

static void drive(struct test_device *t, unsigned n, bool level)
{
	if (t->out.set)
		t->out.set(t->out.opaque, n, level);
}

static void test_device_reset(void *chip)
{
	struct test_device *t = chip;

	for (unsigned n = 0; n < TEST_DEVICE_LINES; n++)
		if (t->lines >> n & 1)
			drive(t, n, false);
	memset(t->memory, 0, sizeof(t->memory));
	t->latch = 0;
	t->lines = 0;
}

static uint8_t read_byte(void *chip, unsigned region, unsigned n)
{
	struct test_device *t = chip;

	return region == TEST_DEVICE_REGION_MEMORY ? t->memory[n] : (uint8_t)(t->latch >> n * 8);
}

static void write_byte(void *chip, unsigned region, unsigned n, uint8_t v)
{
	struct test_device *t = chip;

	if (region == TEST_DEVICE_REGION_MEMORY)
		t->memory[n] = v;
	else
		t->latch = (t->latch & ~(0xffu << n * 8)) | (uint32_t)v << n * 8;
}

static uint64_t test_device_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	if (region == TEST_DEVICE_REGION_LATCH)
		return bytes_read(read_byte, chip, region, offset, size, TEST_DEVICE_LATCH_PORTS);
	if (region == TEST_DEVICE_REGION_MEMORY)
		return bytes_read(read_byte, chip, region, offset, size, TEST_DEVICE_MEMORY);
	return UINT64_MAX;
}

/* A wide write is one write to the line at its address: a guest may store its level in an int. */
static void test_device_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	struct test_device *t = chip;
	bool level = value & (size < 8 ? (1ull << size * 8) - 1 : UINT64_MAX);

	if (region == TEST_DEVICE_REGION_LATCH)
		bytes_write(write_byte, chip, region, offset, size, TEST_DEVICE_LATCH_PORTS, value);
	if (region == TEST_DEVICE_REGION_MEMORY)
		bytes_write(write_byte, chip, region, offset, size, TEST_DEVICE_MEMORY, value);
	if (region != TEST_DEVICE_REGION_LINES || offset >= TEST_DEVICE_LINES)
		return;
	t->lines = (t->lines & ~(1u << offset)) | (uint32_t)level << offset;
	drive(t, (unsigned)offset, level);
}

static int test_device_loaded(void *chip)
{
	struct test_device *t = chip;

	if (t->lines >> TEST_DEVICE_LINES)
		return -EPROTO;
	for (unsigned n = 0; n < TEST_DEVICE_LINES; n++)
		if (t->lines >> n & 1)
			drive(t, n, true);
	return 0;
}

static const struct state_field fields[] = {
	STATE_UINT(struct test_device, latch),
	STATE_UINT(struct test_device, lines),
	STATE_BYTES(struct test_device, memory),
	STATE_END,
};

static const struct state_class class = { .name = "test-device", .version = 1, .fields = fields };

const struct chip_ops test_device_ops = {
	.state = &class,
	.reset = test_device_reset,
	.read = test_device_read,
	.write = test_device_write,
	.loaded = test_device_loaded,
};

void test_device_init(struct test_device *t, const struct irq_line *out)
{
	*t = (struct test_device){ .out = *out };
}
