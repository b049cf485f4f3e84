// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tests of the ACPI tables as a guest finds them in its memory: the way from the RSDP to each
 * table, lengths, checksums, and the facts that the board must keep. dsdt.sh has the interpreter's word on the
 * DSDT.
 */
#include "util.h"

#include "chip/acpi_pm.h"
#include "machine/acpi/acpi.h"

#include <stdio.h>
#include <string.h>

static uint8_t sum(const uint8_t *bytes, size_t len)
{
	uint8_t s = 0;

	for (size_t i = 0; i < len; i++)
		s += bytes[i];
	return s;
}

struct tables {
	struct ram *ram;
	uint64_t rsdp, root[8];
	unsigned roots;
	uint8_t table[8192];
	size_t len;
};

/* Reads the table at @gpa: its header is sound and it lies in reserved memory. */
static void get_table(struct tables *t, uint64_t gpa)
{
	assert_true(gpa >= ACPI_TABLES_BASE && gpa < ACPI_TABLES_END);
	ram_get(t->ram, gpa, t->table, 36);
	t->len = peek(t->table, 4, 4);
	assert_true(t->len >= 36 && t->len <= sizeof(t->table) && gpa + t->len <= ACPI_TABLES_END);
	ram_get(t->ram, gpa, t->table, t->len);
}

static void get_sdt(struct tables *t, uint64_t gpa, const char *signature)
{
	get_table(t, gpa);
	assert_memory_equal(t->table, signature, 4);
	assert_int_equal(sum(t->table, t->len), 0);
}

static void find(struct tables *t, const char *signature)
{
	for (unsigned i = 0; i < t->roots; i++) {
		get_table(t, t->root[i]);
		if (memcmp(t->table, signature, 4) == 0) {
			get_sdt(t, t->root[i], signature);
			return;
		}
	}
	fail_msg("no table %s", signature);
}

static void tables_new(struct tables *t, unsigned cpus)
{
	uint8_t rsdp[36];

	memset(t, 0, sizeof(*t));
	t->ram = test_ram(16);
	assert_int_equal(acpi_write_tables(t->ram, cpus, &t->rsdp), 0);
	ram_get(t->ram, t->rsdp, rsdp, sizeof(rsdp));
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	get_sdt(t, peek(rsdp, 24, 8), "XSDT");
	t->roots = (unsigned)(t->len - 36) / 8;
	assert_in_range(t->roots, 1, 8);
	for (unsigned i = 0; i < t->roots; i++)
		t->root[i] = peek(t->table, 36 + i * 8, 8);
}

static void the_rsdp_is_found_by_searching(void **state)
{
	struct tables t;
	uint8_t rsdp[36];

	tables_new(&t, 1);
	assert_true(t.rsdp >= 0xe0000 && t.rsdp < 0x100000 && t.rsdp % 16 == 0);
	ram_get(t.ram, t.rsdp, rsdp, sizeof(rsdp));
	assert_int_equal(rsdp[15], 2);
	assert_int_equal(peek(rsdp, 20, 4), 36);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	ram_destroy(t.ram);
}

static void rsdt_and_xsdt_name_the_same_tables(void **state)
{
	struct tables t;
	uint8_t rsdp[36];

	tables_new(&t, 4);
	ram_get(t.ram, t.rsdp, rsdp, sizeof(rsdp));
	get_sdt(&t, peek(rsdp, 16, 4), "RSDT");
	assert_int_equal(t.len, 36 + t.roots * 4);
	for (unsigned i = 0; i < t.roots; i++)
		assert_int_equal(peek(t.table, 36 + i * 4, 4), t.root[i]);
	ram_destroy(t.ram);
}

static void every_table_has_its_length_and_checksum(void **state)
{
	static const char *const signatures[] = { "FACP", "APIC", "MCFG" };

	for (unsigned cpus = 1; cpus <= 16; cpus += 5) {
		struct tables t;

		tables_new(&t, cpus);
		assert_int_equal(t.roots, 3);
		for (unsigned i = 0; i < 3; i++)
			find(&t, signatures[i]);
		ram_destroy(t.ram);
	}
}

/* A generic address structure of system I/O. */
static void check_gas(const uint8_t *gas, unsigned port, unsigned bytes)
{
	assert_int_equal(gas[0], 1);
	assert_int_equal(gas[1], bytes * 8);
	assert_int_equal(gas[2], 0);
	assert_int_equal(peek(gas, 4, 8), port);
}

static void fadt_describes_the_pm_block_twice_and_alike(void **state)
{
	struct tables t;
	const uint8_t *f = t.table;

	tables_new(&t, 1);
	find(&t, "FACP");
	assert_int_equal(t.len, 276);
	assert_int_equal(f[8], 6);
	assert_int_equal(peek(f, 46, 2), 9);	 /* SCI_INT */
	assert_int_equal(peek(f, 48, 4), 0xb2);	 /* SMI_CMD */
	assert_int_equal(peek(f, 56, 4), 0x600); /* PM1a_EVT_BLK */
	assert_int_equal(peek(f, 64, 4), 0x604); /* PM1a_CNT_BLK */
	assert_int_equal(peek(f, 76, 4), 0x608); /* PM_TMR_BLK */
	assert_int_equal(peek(f, 80, 4), 0x620); /* GPE0_BLK */
	assert_int_equal(f[88], 4);
	assert_int_equal(f[89], 2);
	assert_int_equal(f[91], 4);
	assert_int_equal(f[92], 4);
	check_gas(f + 148, 0x600, 4);
	check_gas(f + 172, 0x604, 2);
	check_gas(f + 208, 0x608, 4);
	check_gas(f + 220, 0x620, 4);
	ram_destroy(t.ram);
}

static void fadt_says_how_to_reset_and_what_is_not_there(void **state)
{
	struct tables t;
	uint32_t flags;

	tables_new(&t, 1);
	find(&t, "FACP");
	flags = (uint32_t)peek(t.table, 112, 4);
	assert_true(flags & 1 << 10);	 /* RESET_REG_SUP */
	assert_true(flags & 1 << 8);	 /* TMR_VAL_EXT */
	assert_false(flags & 1 << 20);	 /* HW_REDUCED_ACPI */
	check_gas(t.table + 116, 0xcf9, 1);
	assert_int_equal(t.table[128], ACPI_PM_RESET_VALUE);
	assert_int_equal(peek(t.table, 109, 2), 3); /* 8042, legacy devices, a VGA, an RTC */
	assert_int_equal(t.table[108], 0x32);	    /* century */
	ram_destroy(t.ram);
}

static void fadt_leads_to_facs_and_dsdt(void **state)
{
	struct tables t;
	uint64_t facs, dsdt;

	tables_new(&t, 1);
	find(&t, "FACP");
	facs = peek(t.table, 36, 4);
	dsdt = peek(t.table, 40, 4);
	assert_int_equal(peek(t.table, 140, 8), dsdt);
	assert_int_equal(facs % 64, 0);
	get_table(&t, facs);
	assert_memory_equal(t.table, "FACS", 4);
	assert_int_equal(t.len, 64);
	get_sdt(&t, dsdt, "DSDT");
	assert_int_equal(t.table[8], 2);
	ram_destroy(t.ram);
}

static void madt_lists_cpus_ioapic_and_overrides(void **state)
{
	struct tables t;
	unsigned lapics = 0, ioapics = 0, overrides = 0, nmis = 0;

	tables_new(&t, 16);
	find(&t, "APIC");
	assert_int_equal(peek(t.table, 36, 4), 0xfee00000);
	for (size_t at = 44; at < t.len; at += t.table[at + 1]) {
		const uint8_t *e = t.table + at;

		assert_true(e[1] >= 2 && at + e[1] <= t.len);
		switch (e[0]) {
		case 0:
			assert_int_equal(e[3], lapics++);
			assert_int_equal(peek(e, 4, 4), 1);
			break;
		case 1:
			ioapics++;
			assert_int_equal(peek(e, 4, 4), 0xfec00000);
			assert_int_equal(peek(e, 8, 4), 0);
			break;
		case 2:
			overrides++;
			assert_int_equal(peek(e, 4, 4), e[3] == 0 ? 2 : 9);
			assert_int_equal(peek(e, 8, 2), e[3] == 0 ? 0 : 0xd);
			break;
		case 4:
			nmis++;
			assert_int_equal(e[2], 0xff);
			assert_int_equal(e[5], 1);
			break;
		default: fail();
		}
	}
	assert_int_equal(lapics, 16);
	assert_int_equal(ioapics, 1);
	assert_int_equal(overrides, 2);
	assert_int_equal(nmis, 1);
	ram_destroy(t.ram);
}

static void mcfg_names_the_ecam_window(void **state)
{
	struct tables t;

	tables_new(&t, 1);
	find(&t, "MCFG");
	assert_int_equal(t.len, 60);
	assert_int_equal(peek(t.table, 44, 8), BOARD_ECAM_BASE);
	assert_int_equal(peek(t.table, 52, 2), 0);
	assert_int_equal(t.table[54], 0);
	assert_int_equal(t.table[55], 255);
	ram_destroy(t.ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_rsdp_is_found_by_searching),
		cmocka_unit_test(rsdt_and_xsdt_name_the_same_tables),
		cmocka_unit_test(every_table_has_its_length_and_checksum),
		cmocka_unit_test(fadt_describes_the_pm_block_twice_and_alike),
		cmocka_unit_test(fadt_says_how_to_reset_and_what_is_not_there),
		cmocka_unit_test(fadt_leads_to_facs_and_dsdt),
		cmocka_unit_test(madt_lists_cpus_ioapic_and_overrides),
		cmocka_unit_test(mcfg_names_the_ecam_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
