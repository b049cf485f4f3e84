// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of boot sectors, and of the real-mode interrupt table that every kernel finds. */
#include "util.h"

#include <string.h>

static void make_sector(uint8_t sector[512])
{
	for (unsigned i = 0; i < 510; i++)
		sector[i] = (uint8_t)(i * 7 + 1);
	sector[510] = 0x55;
	sector[511] = 0xaa;
}

/* BIOS Boot Specification 1.01, 6.5.1: at 0000:7C00, the drive in DL. */
static void a_boot_sector_starts_in_real_mode_at_7c00(void **state)
{
	struct ram *ram = test_ram(16);
	struct vcpu_state c;
	struct error err;
	uint8_t sector[512], got[512];

	make_sector(sector);
	assert_int_equal(boot(ram, test_file(0, sector, sizeof(sector)), NULL, "", &c, &err), 0);
	assert_int_equal(c.seg[SEG_CS].selector, 0);
	assert_int_equal(c.seg[SEG_CS].base, 0);
	assert_int_equal(c.rip, 0x7c00);
	assert_int_equal(c.gpr[RDX] & 0xff, 0x80);
	assert_int_equal(c.cr0 & 0x80000001, 0);
	assert_int_equal(c.rflags, 2);
	assert_int_equal(c.idt.base, 0);
	assert_int_equal(c.idt.limit, 0x3ff);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		assert_int_equal(c.seg[i].limit, 0xffff);
	ram_get(ram, 0x7c00, got, sizeof(got));
	assert_memory_equal(got, sector, sizeof(sector));
	ram_destroy(ram);
}

static void a_file_without_the_signature_or_of_another_size_is_none(void **state)
{
	struct ram *ram = test_ram(16);
	uint8_t bytes[1024] = { 0 };

	make_sector(bytes);
	boot_fails(ram, test_file(0, bytes, 511), NULL, "", "too short for any kernel");
	boot_fails(ram, test_file(0, bytes, 513), NULL, "", "too short for any kernel");
	bytes[511] = 0xab;
	boot_fails(ram, test_file(0, bytes, 512), NULL, "", "too short for any kernel");
	ram_destroy(ram);
}

static void a_boot_sector_takes_no_initrd(void **state)
{
	struct ram *ram = test_ram(16);
	uint8_t sector[512];

	make_sector(sector);
	boot_fails(ram, test_file(0, sector, sizeof(sector)), test_file(1, "x", 1), "", "which takes none");
	ram_destroy(ram);
}

/* The BIOS's services are not there, and hardware interrupts are ended: by the code that stands there. */
static void every_vector_leads_to_code_that_returns(void **state)
{
	struct ram *ram = test_ram(16);
	struct vcpu_state c;
	struct error err;
	uint8_t sector[512], code[16];
	uint16_t vector[512];

	make_sector(sector);
	assert_int_equal(boot(ram, test_file(0, sector, sizeof(sector)), NULL, "", &c, &err), 0);
	ram_get(ram, 0, vector, sizeof(vector));
	for (unsigned i = 0; i < 256; i++) {
		bool service = i >= 0x10 && i <= 0x1a, irq = (i & ~7u) == 8 || (i & ~7u) == 0x70;
		const uint8_t *end;

		assert_int_equal(vector[i * 2 + 1], 0xf000);
		ram_get(ram, 0xf0000 + vector[i * 2], code, sizeof(code));
		end = memchr(code, 0xcf, sizeof(code));
		assert_non_null(end);
		/* or byte [bp + 6], 1: CF; out 0x20, al: end of interrupt */
		assert_int_equal(memmem(code, (size_t)(end - code), "\x80\x4e\x06\x01", 4) != NULL, service);
		assert_int_equal(memmem(code, (size_t)(end - code), "\xe6\x20", 2) != NULL, irq);
	}
	ram_destroy(ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_boot_sector_starts_in_real_mode_at_7c00),
		cmocka_unit_test(a_file_without_the_signature_or_of_another_size_is_none),
		cmocka_unit_test(a_boot_sector_takes_no_initrd),
		cmocka_unit_test(every_vector_leads_to_code_that_returns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
