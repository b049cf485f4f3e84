// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every chip, stopped at a random moment of random work, saved, loaded into a fresh chip: from
 * there on the two must answer every access alike and drive every wire alike.
 */
#include "rig.h"

#include "chip/acpi_pm.h"
#include "chip/i8042.h"
#include "chip/i8254.h"
#include "chip/i8259.h"
#include "chip/ioapic.h"
#include "chip/mc146818.h"
#include "chip/ns16550a.h"
#include "chip/port80.h"
#include "chip/vga.h"

#include <stdlib.h>

enum { ROUNDS = 300, STEPS = 120 };

union any_chip {
	struct acpi_pm acpi_pm;
	struct i8042 i8042;
	struct i8254 i8254;
	struct i8259_pair i8259;
	struct ioapic ioapic;
	struct mc146818 mc146818;
	struct ns16550a ns16550a;
	struct port80 port80;
	struct vga vga;
};

struct stand {
	struct rig rig;
	union any_chip chip;
	uint64_t messages; /* a sum over what the I/O APIC sent */
};

struct kind {
	const char *name;
	const struct chip_ops *ops;
	unsigned regions;
	unsigned ports[6]; /* of each region */
	void (*init)(struct stand *s);
	/* Something from outside: a line, input, a button. NULL: there is nothing. */
	void (*outside)(struct stand *s, uint32_t random);
};

static void init_uart(struct stand *s)
{
	ns16550a_init(&s->chip.ns16550a, &s->rig.time, &s->rig.line[0], &s->rig.stream);
}

static void feed_uart(struct stand *s, uint32_t random)
{
	uint8_t bytes[4];

	memcpy(bytes, &random, 4);
	switch (random % 5) {
	case 0: ns16550a_break(&s->chip.ns16550a); break;
	case 1: ns16550a_modem(&s->chip.ns16550a, (uint8_t)(random >> 8)); break;
	case 2:
		s->rig.out_room = random >> 8 & 31;
		ns16550a_output_ready(&s->chip.ns16550a);
		break;
	default: ns16550a_input(&s->chip.ns16550a, bytes, 4); break;
	}
}

static void init_pic(struct stand *s)
{
	static unsigned n;

	n++; /* with and without automatic EOI */
	i8259_init(&s->chip.i8259, &s->rig.line[0]);
	for (unsigned i = 0; i < 2; i++) {
		i8259_ops.write(&s->chip, i, 0, 1, 0x11);
		i8259_ops.write(&s->chip, i, 1, 1, 0x30 + i * 8);
		i8259_ops.write(&s->chip, i, 1, 1, i ? 2 : 4);
		i8259_ops.write(&s->chip, i, 1, 1, n & 2 ? 3 : 1);
	}
}

static void drive_pic(struct stand *s, uint32_t random)
{
	if (random % 4 == 0)
		s->messages = s->messages * 31 + i8259_ack(&s->chip.i8259);
	else if (random % 16 == 1) /* OCW2: end of interrupt, rotation */
		i8259_ops.write(&s->chip, random >> 4 & 1, 0, 1, random >> 8 & 0xe7);
	else
		i8259_set_irq(&s->chip.i8259, random >> 8 & 15, random >> 12 & 1);
}

static void init_pit(struct stand *s)
{
	i8254_init(&s->chip.i8254, &s->rig.time, &s->rig.line[0]);
}

static void init_rtc(struct stand *s)
{
	mc146818_init(&s->chip.mc146818, &s->rig.time, &s->rig.line[0]);
}

static void select_rtc(struct stand *s, uint32_t random)
{
	unsigned i = (random & 3) == 0 ? 12 : (random >> 2) % 15;

	mc146818_ops.write(&s->chip, 0, 0, 1, i);
	s->messages = s->messages * 31 + mc146818_ops.read(&s->chip, 0, 1, 1);
}

static void init_kbc(struct stand *s)
{
	i8042_init(&s->chip.i8042, &s->rig.line[0], rig_call, &s->rig);
}

static void init_pm(struct stand *s)
{
	struct acpi_pm_wires wires = { s->rig.line[0], rig_call, rig_call, &s->rig, rig_call };

	acpi_pm_init(&s->chip.acpi_pm, &s->rig.time, &wires);
}

static void press_pm(struct stand *s, uint32_t random)
{
	if (random & 1)
		acpi_pm_power_button(&s->chip.acpi_pm);
	else
		acpi_pm_gpe(&s->chip.acpi_pm, random >> 1 & 15);
}

static void on_msi(void *opaque, const struct ioapic_msi *msi)
{
	struct stand *s = opaque;

	s->messages = s->messages * 31 + msi->address + msi->data;
}

static void init_ioapic(struct stand *s)
{
	struct ioapic_wires wires = { on_msi, NULL, s };

	ioapic_init(&s->chip.ioapic, 0, &wires);
}

static void drive_ioapic(struct stand *s, uint32_t random)
{
	switch (random % 4) {
	case 0: ioapic_eoi(&s->chip.ioapic, (uint8_t)(random >> 8)); break;
	case 1: ioapic_ops.write(&s->chip, 0, 0, 4, 0x10 + (random >> 8) % 48); break;
	case 2: ioapic_ops.write(&s->chip, 0, 0x10, 4, (random >> 8 & 0x1afff)); break;
	default: ioapic_set_irq(&s->chip.ioapic, (random >> 8) % 24, random >> 16 & 1); break;
	}
}

static void init_port80(struct stand *s)
{
	port80_init(&s->chip.port80);
}

static void init_vga(struct stand *s)
{
	vga_init(&s->chip.vga, &s->rig.time);
}

static const struct kind kinds[] = {
	{ "ns16550a", &ns16550a_ops, 1, { 8 }, init_uart, feed_uart },
	{ "i8259", &i8259_ops, 3, { 2, 2, 2 }, init_pic, drive_pic },
	{ "i8254", &i8254_ops, 2, { 4, 1 }, init_pit, NULL },
	{ "mc146818", &mc146818_ops, 2, { 2, 2 }, init_rtc, select_rtc },
	{ "i8042", &i8042_ops, 3, { 1, 1, 1 }, init_kbc, NULL },
	{ "ioapic", &ioapic_ops, 1, { 0x50 }, init_ioapic, drive_ioapic },
	{ "acpi_pm", &acpi_pm_ops, 6, { 4, 2, 4, 4, 2, 1 }, init_pm, press_pm },
	{ "port80", &port80_ops, 1, { 16 }, init_port80, NULL },
	{ "vga", &vga_ops, 3, { 8, 16, 8 }, init_vga, NULL },
};

static uint32_t seed;

static uint32_t next(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* One step; what the guest saw of it. */
static uint64_t step(const struct kind *k, struct stand *s, uint32_t *x)
{
	uint32_t what = next(x), value = next(x), where = next(x);
	unsigned region = where % k->regions, n = (where >> 8) % k->ports[region];

	switch (what % 8) {
	case 0:
	case 1:
	case 2: k->ops->write(&s->chip, region, n, 1, value); break;
	case 3: k->ops->write(&s->chip, region, n, 2u << (what >> 8 & 1), value); break;
	case 4:
	case 5: return k->ops->read(&s->chip, region, n, 1u << (what >> 8) % 3);
	case 6: rig_advance_limit(&s->rig, (uint64_t)value >> (what >> 8 & 31), 200); break;
	default:
		if (k->outside)
			k->outside(s, value);
	}
	return 0;
}

static void make_stand(const struct kind *k, struct stand *s)
{
	memset(s, 0, sizeof(*s));
	rig_init(&s->rig);
	k->init(s);
}

static void same_wires(const struct kind *k, const struct stand *a, const struct stand *b, unsigned round, unsigned i)
{
	if (a->rig.level[0] == b->rig.level[0] && a->rig.rises[0] == b->rig.rises[0] &&
	    a->rig.out_len == b->rig.out_len && !memcmp(a->rig.out, b->rig.out, RIG_OUT) &&
	    a->rig.calls == b->rig.calls && a->messages == b->messages)
		return;
	fail_msg("%s: wires differ, seed %u round %u step %u", k->name, seed, round, i);
}

static void every_chip_goes_on_as_it_would_have(void **state)
{
	static struct stand a, b;
	uint32_t x = seed;

	for (unsigned n = 0; n < sizeof(kinds) / sizeof(kinds[0]); n++) {
		const struct kind *k = &kinds[n];

		for (unsigned round = 0; round < ROUNDS; round++) {
			unsigned before = next(&x) % STEPS;

			make_stand(k, &a);
			for (unsigned i = 0; i < before; i++)
				step(k, &a, &x);
			make_stand(k, &b);
			b.rig.clock = a.rig.clock;
			b.rig.out_room = a.rig.out_room;
			if (rig_copy(k->ops, &a.chip, &b.chip))
				fail_msg("%s: does not load, seed %u round %u", k->name, seed, round);
			assert_int_equal(a.rig.level[0], b.rig.level[0]);
			a.rig.rises[0] = b.rig.rises[0] = 0;
			a.rig.calls = b.rig.calls = 0;
			a.rig.out_len = b.rig.out_len = 0;
			a.messages = b.messages = 0;
			memset(a.rig.out, 0, RIG_OUT);
			memset(b.rig.out, 0, RIG_OUT);
			for (unsigned i = 0; i < STEPS; i++) {
				uint32_t xa = x, xb = x;
				uint64_t va = step(k, &a, &xa), vb = step(k, &b, &xb);

				if (va != vb)
					fail_msg("%s: read %llx and %llx, seed %u round %u step %u", k->name,
						 (unsigned long long)va, (unsigned long long)vb, seed, round, i);
				same_wires(k, &a, &b, round, i);
				x = xa;
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_chip_goes_on_as_it_would_have),
	};
	const char *text = getenv("SUBRING_SEED");

	seed = text ? (uint32_t)strtoul(text, NULL, 0) : 20250101;
	if (!seed)
		seed = 1;
	print_message("seed %u (SUBRING_SEED)\n", seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
