// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of the MP tables as a guest finds them (MultiProcessor Specification 1.4, chapter 4). */
#include "util.h"

#include "machine/mptable.h"

#include <string.h>

enum { PROCESSOR, BUS, IOAPIC, INTERRUPT, LOCAL_INTERRUPT };

struct mp {
	uint8_t bytes[MP_TABLES_END - MP_TABLES_BASE];
	const uint8_t *header;
};

static uint8_t sum(const uint8_t *bytes, size_t len)
{
	uint8_t s = 0;

	for (size_t i = 0; i < len; i++)
		s += bytes[i];
	return s;
}

static void get(unsigned cpus, struct mp *mp)
{
	struct ram *ram = test_ram(16);

	assert_int_equal(mp_write_tables(ram, cpus), 0);
	ram_get(ram, MP_TABLES_BASE, mp->bytes, sizeof(mp->bytes));
	mp->header = mp->bytes + (peek(mp->bytes, 4, 4) - MP_TABLES_BASE);
	ram_destroy(ram);
}

static unsigned entry_len(uint8_t type)
{
	return type == PROCESSOR ? 20 : 8;
}

/* The @n-th entry of @type, or NULL. */
static const uint8_t *find(const struct mp *mp, uint8_t type, unsigned n)
{
	const uint8_t *at = mp->header + 44;

	for (unsigned i = 0; i < peek(mp->header, 34, 2); i++, at += entry_len(*at))
		if (*at == type && n-- == 0)
			return at;
	return NULL;
}

/* 4.1: on a paragraph, "_MP_", its checksum; 4.2: "PCMP", its checksum, its length. */
static void pointer_and_header_are_sound(void **state)
{
	for (unsigned cpus = 1; cpus <= 16; cpus++) {
		struct mp mp;
		const uint8_t *at;

		get(cpus, &mp);
		assert_int_equal(MP_TABLES_BASE % 16, 0);
		assert_memory_equal(mp.bytes, "_MP_", 4);
		assert_int_equal(mp.bytes[8], 1);
		assert_int_equal(sum(mp.bytes, 16), 0);
		assert_memory_equal(mp.header, "PCMP", 4);
		assert_int_equal(mp.header[6], 4);
		assert_int_equal(sum(mp.header, peek(mp.header, 4, 2)), 0);
		assert_int_equal(peek(mp.header, 36, 4), 0xfee00000);
		at = mp.header + 44;
		for (unsigned i = 0; i < peek(mp.header, 34, 2); i++)
			at += entry_len(*at);
		assert_int_equal(at - mp.header, peek(mp.header, 4, 2));
	}
}

/* 4.3.1: one entry a CPU, the first of them the boot processor. */
static void each_cpu_has_an_entry_and_one_is_the_boot_processor(void **state)
{
	struct mp mp;

	get(3, &mp);
	for (unsigned i = 0; i < 3; i++) {
		const uint8_t *e = find(&mp, PROCESSOR, i);

		assert_non_null(e);
		assert_int_equal(e[1], i);
		assert_int_equal(e[3], i ? 1 : 3);
		assert_int_not_equal(peek(e, 4, 4), 0);
		assert_true(peek(e, 8, 4) & 1 << 9);
	}
	assert_null(find(&mp, PROCESSOR, 3));
}

static void there_is_one_ioapic_and_two_buses(void **state)
{
	struct mp mp;
	const uint8_t *e;

	get(1, &mp);
	e = find(&mp, IOAPIC, 0);
	assert_int_equal(e[1], 0);
	assert_int_equal(e[3], 1);
	assert_int_equal(peek(e, 4, 4), 0xfec00000);
	assert_null(find(&mp, IOAPIC, 1));
	assert_memory_equal(find(&mp, BUS, 0) + 2, "PCI   ", 6);
	assert_memory_equal(find(&mp, BUS, 1) + 2, "ISA   ", 6);
}

/* The pin of interrupt @source of bus @bus, or -1; its flags in @flags. */
static int pin_of(const struct mp *mp, uint8_t bus, uint8_t source, uint16_t *flags)
{
	const uint8_t *e;

	for (unsigned n = 0; (e = find(mp, INTERRUPT, n)); n++) {
		if (e[4] != bus || e[5] != source)
			continue;
		*flags = (uint16_t)peek(e, 2, 2);
		return e[7];
	}
	return -1;
}

/* As the MADT has it: IRQ 0 on pin 2, the SCI (9) high and level; and as _PRT: INTx of slot s on 16 + (s + x) % 8. */
static void interrupts_are_those_of_acpi(void **state)
{
	struct mp mp;
	uint16_t flags;

	get(1, &mp);
	for (unsigned irq = 0; irq < 16; irq++) {
		int pin = pin_of(&mp, 1, (uint8_t)irq, &flags);

		if (irq == 2) {
			assert_int_equal(pin, -1);
			continue;
		}
		assert_int_equal(pin, irq == 0 ? 2 : (int)irq);
		assert_int_equal(flags, irq == 9 ? 0xd : 0);
	}
	for (unsigned slot = 0; slot < 32; slot++)
		for (unsigned x = 0; x < 4; x++) {
			assert_int_equal(pin_of(&mp, 0, (uint8_t)(slot << 2 | x), &flags), 16 + (slot + x) % 8);
			assert_int_equal(flags, 0);
		}
}

/* 4.3.5: the 8259 pair on LINT0 of the first CPU, NMI on LINT1 of all. */
static void local_interrupts_are_virtual_wire_and_nmi(void **state)
{
	struct mp mp;
	const uint8_t *e;

	get(2, &mp);
	e = find(&mp, LOCAL_INTERRUPT, 0);
	assert_int_equal(e[1], 3);
	assert_int_equal(e[6], 0);
	assert_int_equal(e[7], 0);
	e = find(&mp, LOCAL_INTERRUPT, 1);
	assert_int_equal(e[1], 1);
	assert_int_equal(e[6], 0xff);
	assert_int_equal(e[7], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pointer_and_header_are_sound),
		cmocka_unit_test(each_cpu_has_an_entry_and_one_is_the_boot_processor),
		cmocka_unit_test(there_is_one_ioapic_and_two_buses),
		cmocka_unit_test(interrupts_are_those_of_acpi),
		cmocka_unit_test(local_interrupts_are_virtual_wire_and_nmi),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
