// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every chip under random accesses, wires, time and saved states. Nothing is compared: the
 * sanitizers and the chips' own bounds are the judge.
 *
 * Input: steps of a command byte and its operands; see step().
 */
#include "input.h"

#include "chip/acpi_pm.h"
#include "chip/debug_exit.h"
#include "chip/debugcon.h"
#include "chip/i8042.h"
#include "chip/i8254.h"
#include "chip/i8259.h"
#include "chip/ioapic.h"
#include "chip/mc146818.h"
#include "chip/ns16550a.h"
#include "chip/port80.h"
#include "chip/test_device.h"
#include "chip/vga.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { CHIPS = 12, STEPS_MAX = 4096, TIMERS_MAX = 64 };

static struct {
	struct vm_clock clock;
	struct vm_timers timers;
	struct chip_time time;
	unsigned room; /* of the stream */
	struct ns16550a uart;
	struct i8259_pair pic;
	struct i8254 pit;
	struct mc146818 rtc;
	struct i8042 kbc;
	struct ioapic ioapic;
	struct acpi_pm pm;
	struct debugcon debugcon;
	struct debug_exit debug_exit;
	struct port80 port80;
	struct test_device test_device;
	struct vga vga;
} b;

static const struct {
	const struct chip_ops *ops;
	void *chip;
} chips[CHIPS] = {
	{ &ns16550a_ops, &b.uart }, { &i8259_ops, &b.pic },	  { &i8254_ops, &b.pit },
	{ &mc146818_ops, &b.rtc },  { &i8042_ops, &b.kbc },	  { &ioapic_ops, &b.ioapic },
	{ &acpi_pm_ops, &b.pm },    { &debugcon_ops, &b.debugcon }, { &debug_exit_ops, &b.debug_exit },
	{ &port80_ops, &b.port80 },  { &test_device_ops, &b.test_device }, { &vga_ops, &b.vga },
};

/* The board's wiring in small: ISA lines go to both interrupt controllers. */
static void on_line(void *opaque, unsigned n, bool level)
{
	i8259_set_irq(&b.pic, n, level);
	ioapic_set_irq(&b.ioapic, n == 0 ? 2 : n, level);
}

static void on_intr(void *opaque, unsigned n, bool level)
{
}

static void on_msi(void *opaque, const struct ioapic_msi *msi)
{
}

static void on_routes(void *opaque, const struct ioapic_msi *route, unsigned count)
{
	if (count > IOAPIC_PINS)
		abort();
}

static void on_event(void *opaque)
{
}

static void on_exit_value(void *opaque, uint32_t value)
{
}

static void on_room(void *opaque)
{
	ns16550a_input(&b.uart, (const uint8_t *)"fuzz", 4);
}

static int on_put(void *opaque, uint8_t byte)
{
	if (!b.room)
		return 0;
	b.room--;
	return 1;
}

/* The wire says what the gate is. */
static void on_a20(void *opaque, unsigned n, bool open)
{
	if (open != i8042_a20(&b.kbc))
		abort();
}

static struct irq_line line(unsigned n)
{
	return (struct irq_line){ on_line, NULL, n };
}

static void build(void)
{
	struct irq_line intr = { on_intr, NULL, 0 }, irq[16];
	struct chip_stream stream = { on_put, NULL };
	struct ioapic_wires wires = { on_msi, on_routes, NULL };
	struct acpi_pm_wires pm = { line(9), on_event, on_event, NULL, on_event };

	memset(&b, 0, sizeof(b));
	for (unsigned i = 0; i < 16; i++)
		irq[i] = line(i);
	b.clock.tsc_hz = 1000000000;
	b.clock.epoch_s = 1700000000;
	b.time = (struct chip_time){ &b.clock, &b.timers };
	b.room = 1000;
	i8259_init(&b.pic, &intr);
	ioapic_init(&b.ioapic, 0, &wires);
	ns16550a_init(&b.uart, &b.time, &irq[4], &stream);
	b.uart.room_again = on_room;
	i8254_init(&b.pit, &b.time, &irq[0]);
	mc146818_init(&b.rtc, &b.time, &irq[8]);
	i8042_init(&b.kbc, &irq[1], on_event, NULL);
	i8042_wire_a20(&b.kbc, &(struct irq_line){ on_a20, NULL, 0 });
	acpi_pm_init(&b.pm, &b.time, &pm);
	debugcon_init(&b.debugcon, &stream);
	debug_exit_init(&b.debug_exit, on_exit_value, NULL);
	port80_init(&b.port80);
	test_device_init(&b.test_device, &irq[0]);
	vga_init(&b.vga, &b.time);
}

static void advance(uint64_t ns)
{
	uint64_t end = b.clock.tsc_paused + ns;

	for (unsigned i = 0; i < TIMERS_MAX && b.timers.head && b.timers.head->deadline_ns <= end; i++) {
		if (b.timers.head->deadline_ns > b.clock.tsc_paused)
			b.clock.tsc_paused = b.timers.head->deadline_ns;
		vm_timers_run(&b.timers, vm_clock_ns(&b.clock));
	}
	b.clock.tsc_paused = end;
}

/* A saved state in which anything may stand. */
static void fill(const struct state_field *f, char *object, struct input *in)
{
	for (; f->name; f++)
		for (uint32_t i = 0; i < f->count; i++) {
			char *element = object + f->offset + (size_t)i * f->size;

			if (f->kind == STATE_KIND_STRUCT) {
				fill(f->sub, element, in);
			} else if (take(in, 1) & 1) {
				for (uint32_t k = 0; k < f->size; k++)
					element[k] = (char)(take(in, 1) & (f->flags & STATE_BOOL ? 1 : 0xff));
			}
		}
}

static void load(unsigned n, struct input *in)
{
	const struct chip_ops *ops = chips[n].ops;

	if (!ops->state)
		return;
	fill(ops->state->fields, chips[n].chip, in);
	if (ops->loaded && ops->loaded(chips[n].chip))
		build();
}

static void outside(struct input *in)
{
	unsigned what = (unsigned)take(in, 1), v = (unsigned)take(in, 1);
	uint8_t bytes[4] = { 'a', (uint8_t)v, 0, 0xff };

	switch (what % 9) {
	case 0: ns16550a_input(&b.uart, bytes, v % 5); break;
	case 1: ns16550a_break(&b.uart); break;
	case 2: ns16550a_modem(&b.uart, (uint8_t)v); break;
	case 3:
		b.room = v;
		ns16550a_output_ready(&b.uart);
		break;
	case 4: i8259_ack(&b.pic); break;
	case 5: on_line(NULL, v & 31, v >> 7); break;
	case 6: ioapic_eoi(&b.ioapic, (uint8_t)v); break;
	case 7: acpi_pm_power_button(&b.pm); break;
	default: acpi_pm_gpe(&b.pm, v & 31); break;
	}
}

static void step(struct input *in)
{
	unsigned command = (unsigned)take(in, 1), n = (unsigned)take(in, 1) % CHIPS;
	unsigned size = 1u << (command >> 6 & 3), region = (unsigned)take(in, 1);
	uint64_t offset = region >> 3 & 31;
	const struct chip_ops *ops = chips[n].ops;

	region &= 7;
	switch (command % 16) {
	case 0:
	case 1:
	case 2:
	case 3: ops->write(chips[n].chip, region, offset, size, take(in, size)); break;
	case 4:
	case 5: ops->read(chips[n].chip, region, offset, size); break;
	case 6: ops->write(chips[n].chip, region, take(in, 8), size, take(in, 8)); break;
	case 7: ops->read(chips[n].chip, region, take(in, 8), size); break;
	case 8: advance(take(in, 2)); break;
	case 9: advance(take(in, 5)); break;
	case 10: outside(in); break;
	case 11: ops->reset(chips[n].chip); break;
	case 12: load(n, in); break;
	default: ops->write(chips[n].chip, region, offset, 1, take(in, 1)); break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	build();
	for (unsigned i = 0; i < STEPS_MAX && in.left; i++)
		step(&in);
	return 0;
}
