// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of the Multiboot protocol, version 1 (Multiboot Specification 0.6.96; sections at the tests). */
#include "util.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

enum { HEADER = 0x40, CODE = 0x80, KERNEL_SIZE = 0x400 };
#define MAGIC 0x1badb002u

/* A flat kernel of 1 KiB whose header has addresses: it is loaded to 1 MiB. */
struct recipe {
	uint32_t flags; /* besides bit 16 */
	uint32_t at; /* of the header in the file; 0: HEADER */
	uint32_t header_addr, load_addr, load_end, bss_end, entry; /* 0 but load_end, bss_end: as the file lies */
};

static struct bytes make(const struct recipe *r)
{
	uint32_t at = r->at ? r->at : HEADER, flags = r->flags | 1 << 16;
	uint32_t header[8] = { MAGIC, flags, -(MAGIC + flags), r->header_addr ? r->header_addr : 1 * MIB + at,
			       r->load_addr ? r->load_addr : 1 * MIB, r->load_end, r->bss_end,
			       r->entry ? r->entry : 1 * MIB + CODE };
	uint8_t bytes[16384];
	size_t len = at + sizeof(header) > KERNEL_SIZE ? at + sizeof(header) : KERNEL_SIZE;

	memset(bytes, 0x90, sizeof(bytes));
	memcpy(bytes + at, header, sizeof(header));
	return bytes_copy(bytes, len);
}

struct started {
	struct ram *ram;
	struct vcpu_state cpu;
	uint8_t info[116];
};

static void start_file(struct bytes *k, const char *initrd, const char *cmdline, struct started *s)
{
	s->ram = test_ram(32);
	kernel_starts(s->ram, k, initrd, cmdline, &s->cpu);
	bytes_free(k);
	ram_get(s->ram, s->cpu.gpr[RBX], s->info, sizeof(s->info));
}

static void start(const struct recipe *r, const char *initrd, const char *cmdline, struct started *s)
{
	struct bytes k = make(r);

	start_file(&k, initrd, cmdline, s);
}

static void text_at(struct started *s, size_t field, char *text, size_t len)
{
	ram_get(s->ram, peek(s->info, field, 4), text, len);
}

static void fails(const struct recipe *r, const char *why)
{
	kernel_is_refused(16, make(r), why);
}

/* 3.2: EAX, EBX, CS, the data segments, A20, CR0, EFLAGS. */
static void the_machine_state_is_that_of_section_3_2(void **state)
{
	struct started s;

	start(&(struct recipe){ 0 }, NULL, "", &s);
	assert_int_equal(s.cpu.gpr[RAX], 0x2badb002);
	assert_int_equal(s.cpu.rip, 1 * MIB + CODE);
	assert_int_equal(s.cpu.cr0 & 0x80000001, 1);
	assert_int_equal(s.cpu.rflags, 2);
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		assert_int_equal(s.cpu.seg[i].base, 0);
		assert_int_equal(s.cpu.seg[i].limit, 0xffffffff);
		assert_int_equal(s.cpu.seg[i].attr, i == SEG_CS ? 0xc09b : 0xc093);
	}
	ram_destroy(s.ram);
}

/* The selectors lead to descriptors with the same values, for systems that load them again. */
static void the_gdt_holds_what_the_segments_are(void **state)
{
	struct started s;
	uint64_t descriptor;

	start(&(struct recipe){ 0 }, NULL, "", &s);
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		assert_true(s.cpu.seg[i].selector + 7 <= s.cpu.gdt.limit);
		ram_get(s.ram, s.cpu.gdt.base + s.cpu.seg[i].selector, &descriptor, 8);
		assert_int_equal(descriptor, i == SEG_CS ? 0x00cf9b000000ffff : 0x00cf93000000ffff);
	}
	ram_destroy(s.ram);
}

/* 3.1.3: the address fields. */
static void addresses_say_what_is_loaded_and_cleared(void **state)
{
	struct recipe r = { .load_end = 1 * MIB + 0x200, .bss_end = 1 * MIB + 0x1000, .entry = 1 * MIB + 0x10 };
	struct bytes k = make(&r);
	struct ram *ram = test_ram(16);
	struct vcpu_state cpu;
	uint8_t ones[0x2000], got[0x2000];

	memset(ones, 0xff, sizeof(ones));
	assert_int_equal(ram_write(ram, 1 * MIB, ones, sizeof(ones)), 0);
	kernel_starts(ram, &k, NULL, "", &cpu);
	ram_get(ram, 1 * MIB, got, sizeof(got));
	assert_memory_equal(got, k.at, 0x200);
	for (unsigned i = 0x200; i < 0x1000; i++)
		assert_int_equal(got[i], 0);
	assert_int_equal(got[0x1000], 0xff);
	bytes_free(&k);
	ram_destroy(ram);
}

static void loading_may_begin_in_the_middle_of_the_file(void **state)
{
	struct recipe r = { .header_addr = 2 * MIB + 0x20, .load_addr = 2 * MIB, .entry = 2 * MIB };
	struct bytes k = make(&r);
	struct started s;
	uint8_t got[0x100], want[0x100];

	memcpy(want, k.at + HEADER - 0x20, sizeof(want));
	start_file(&k, NULL, "", &s);
	ram_get(s.ram, 2 * MIB, got, sizeof(got));
	assert_memory_equal(got, want, sizeof(want));
	ram_destroy(s.ram);
}

static void impossible_addresses_are_told(void **state)
{
	fails(&(struct recipe){ .header_addr = 1 * MIB, .load_addr = 1 * MIB + 4 }, "begin before the file");
	fails(&(struct recipe){ .header_addr = 1 * MIB + HEADER + 4 }, "begin before the file");
	fails(&(struct recipe){ .load_end = 1 * MIB - 1 }, "end before they begin");
	fails(&(struct recipe){ .load_end = 1 * MIB + KERNEL_SIZE + 1 }, "inside what it wants loaded");
	fails(&(struct recipe){ .bss_end = 1 * MIB + KERNEL_SIZE - 1 }, "no room for what is in the file");
	fails(&(struct recipe){ .bss_end = 16 * MIB + 1 }, "which the guest has not");
	fails(&(struct recipe){ .bss_end = UINT32_MAX }, "which the guest has not");
	fails(&(struct recipe){ .entry = 1 * MIB - 1 }, "do not hold its entry point");
	fails(&(struct recipe){ .entry = 1 * MIB + KERNEL_SIZE }, "do not hold its entry point");
	fails(&(struct recipe){ .header_addr = 0xa0000 + HEADER, .load_addr = 0xa0000, .entry = 0xa0000 },
	      "which the guest has not");
	fails(&(struct recipe){ .header_addr = 0xffffffc0, .load_addr = 0xffffff80, .entry = 0xffffff80 },
	      "which the guest has not");
}

/* 3.1: "contained completely within the first 8192 bytes", "longword (32-bit) aligned". */
static void the_header_is_searched_in_the_first_8_kib(void **state)
{
	struct started s;

	start(&(struct recipe){ .at = 8192 - 32, .entry = 1 * MIB }, NULL, "", &s);
	assert_int_equal(s.cpu.gpr[RAX], 0x2badb002);
	ram_destroy(s.ram);
	fails(&(struct recipe){ .at = 8192 - 28 }, "no Multiboot header");
	fails(&(struct recipe){ .at = 8192 }, "no Multiboot header");
	fails(&(struct recipe){ .at = HEADER + 2 }, "no Multiboot header");
}

static void a_header_whose_checksum_is_wrong_is_none(void **state)
{
	struct bytes k = make(&(struct recipe){ 0 });

	k.at[HEADER + 8] ^= 1;
	kernel_is_refused(16, k, "no Multiboot header");
}

/* 3.1.2: bits 0-15 that are not understood must make the load fail; bits 16-31 may be ignored. */
static void unknown_wishes_end_the_load_unless_they_are_optional(void **state)
{
	struct started s;

	fails(&(struct recipe){ .flags = 1 << 3 }, "asks for something unknown (flags 0x8)");
	fails(&(struct recipe){ .flags = 1 << 15 }, "asks for something unknown");
	start(&(struct recipe){ .flags = 1u << 31 | 1 << 17 | 7 }, NULL, "", &s);
	ram_destroy(s.ram);
}

static void elf_kernels_of_both_classes_are_loaded(void **state)
{
	for (unsigned narrow = 0; narrow < 2; narrow++) {
		uint32_t code[16] = { MAGIC, 0, -MAGIC, 0xfeedf00d };
		struct elf_recipe r = { .narrow = narrow, .paddr = 1 * MIB, .entry = 1 * MIB + 12, .code = code,
					.code_len = sizeof(code), .bss = 4096 };
		struct bytes k = make_elf(&r);
		struct started s;
		uint32_t got;

		start_file(&k, NULL, "", &s);
		assert_int_equal(s.cpu.rip, 1 * MIB + 12);
		ram_get(s.ram, 1 * MIB + 12, &got, 4);
		assert_int_equal(got, 0xfeedf00d);
		ram_destroy(s.ram);
	}
}

/* Kernels that are linked to run high are entered at their physical address. */
static void a_virtual_entry_point_becomes_a_physical_one(void **state)
{
	enum { PH0_VADDR32 = 52 + 8 };
	uint32_t code[16] = { MAGIC, 0, -MAGIC };
	struct elf_recipe r = { .narrow = true, .paddr = 1 * MIB, .entry = 0xc0100020, .code = code,
				.code_len = sizeof(code) };
	struct bytes k = make_elf(&r);
	struct started s;

	poke(&k, 24, 4, 0xc0100020);
	poke(&k, PH0_VADDR32, 4, 0xc0100000);
	start_file(&k, NULL, "", &s);
	assert_int_equal(s.cpu.rip, 1 * MIB + 0x20);
	ram_destroy(s.ram);
}

static void a_pvh_note_comes_before_multiboot(void **state)
{
	uint32_t code[16] = { MAGIC, 0, -MAGIC };
	struct elf_recipe r = { .paddr = 1 * MIB, .entry = 1 * MIB, .code = code, .code_len = sizeof(code), .pvh = true };
	struct bytes k = make_elf(&r);
	struct started s;

	start_file(&k, NULL, "", &s);
	assert_int_not_equal(s.cpu.gpr[RAX], 0x2badb002);
	ram_destroy(s.ram);
}

/* 3.3: flags, mem_lower, mem_upper, cmdline, boot_loader_name. */
static void the_information_tells_memory_command_line_and_loader(void **state)
{
	struct started s;
	char text[32];

	start(&(struct recipe){ 0 }, NULL, "root=x  quiet", &s);
	assert_int_equal(peek(s.info, 0, 4) & 0x7ff, 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
	assert_int_equal(peek(s.info, 4, 4), 639);
	assert_int_equal(peek(s.info, 8, 4), 31 * 1024);
	text_at(&s, 16, text, sizeof(text));
	assert_string_equal(text, "root=x  quiet");
	text_at(&s, 64, text, sizeof(text));
	assert_string_equal(text, "Subring");
	ram_destroy(s.ram);
}

/* 3.3, mmap_*: each entry is preceded by its size. */
static void the_memory_map_tells_all_ram(void **state)
{
	struct started s;
	uint8_t map[256];
	size_t len, at = 0;
	uint64_t usable = 0;

	start(&(struct recipe){ 0 }, NULL, "", &s);
	len = peek(s.info, 44, 4);
	assert_in_range(len, 24, sizeof(map));
	ram_get(s.ram, peek(s.info, 48, 4), map, len);
	while (at < len) {
		assert_int_equal(peek(map, at, 4), 20);
		usable += peek(map, at + 20, 4) == 1 ? peek(map, at + 12, 8) : 0;
		at += peek(map, at, 4) + 4;
	}
	assert_int_equal(at, len);
	assert_int_equal(usable, 31 * MIB + 0x9fc00);
	ram_destroy(s.ram);
}

/* 3.3, mods_*; 3.1.2, bit 0. */
static void modules_lie_on_pages_behind_the_kernel_with_their_strings(void **state)
{
	struct recipe r = { .flags = 1, .bss_end = 1 * MIB + 0x1801 };
	char first[5000], spec[256], got[5000], text[128];
	const char *one, *two;
	struct started s;
	uint8_t list[32];
	uint64_t a, b;

	memset(first, 'a', sizeof(first));
	one = test_file(1, first, sizeof(first));
	two = test_file(2, "bb", 2);
	snprintf(spec, sizeof(spec), "%s x=1 y,%s an,,swer", one, two);
	start(&r, spec, "", &s);
	assert_int_equal(peek(s.info, 20, 4), 2);
	ram_get(s.ram, peek(s.info, 24, 4), list, sizeof(list));
	a = peek(list, 0, 4);
	b = peek(list, 16, 4);
	assert_int_equal(a, 1 * MIB + 0x2000);
	assert_int_equal(peek(list, 4, 4), a + 5000);
	assert_int_equal(b, a + 0x2000);
	assert_int_equal(peek(list, 20, 4), b + 2);
	ram_get(s.ram, a, got, sizeof(first));
	assert_memory_equal(got, first, sizeof(first));
	ram_get(s.ram, b, got, 2);
	assert_memory_equal(got, "bb", 2);
	snprintf(spec, sizeof(spec), "%s x=1 y", one);
	ram_get(s.ram, peek(list, 8, 4), text, sizeof(text));
	assert_string_equal(text, spec);
	snprintf(spec, sizeof(spec), "%s an,swer", two);
	ram_get(s.ram, peek(list, 24, 4), text, sizeof(text));
	assert_string_equal(text, spec);
	ram_destroy(s.ram);
}

static void without_modules_their_number_is_zero(void **state)
{
	struct started s;

	start(&(struct recipe){ 0 }, NULL, "", &s);
	assert_int_equal(peek(s.info, 20, 4), 0);
	ram_destroy(s.ram);
}

static void modules_that_cannot_be_loaded_are_told(void **state)
{
	static uint8_t large[16 << 20];
	struct ram *ram = test_ram(16);
	struct bytes k = make(&(struct recipe){ 0 });
	const char *kernel = test_file(0, k.at, k.len), *one = test_file(1, "x", 1);
	char spec[2048];
	size_t at = 0;

	boot_fails(ram, kernel, "/nonexistent x", "", "No such file");
	snprintf(spec, sizeof(spec), "%s,,y", one);
	boot_fails(ram, kernel, spec, "", "No such file");
	snprintf(spec, sizeof(spec), "%s,/", one);
	boot_fails(ram, kernel, spec, "", "it is a directory");
	boot_fails(ram, kernel, test_file(2, large, sizeof(large)), "", "beside what is loaded");
	for (unsigned i = 0; i < 65; i++)
		at += (size_t)snprintf(spec + at, sizeof(spec) - at, "%s%s", i ? "," : "", one);
	boot_fails(ram, kernel, spec, "", "there are more than 64");
	bytes_free(&k);
	ram_destroy(ram);
}

static void strings_that_have_no_room_are_told(void **state)
{
	static char text[40000];
	struct ram *ram = test_ram(16);
	struct bytes k = make(&(struct recipe){ 0 });

	memset(text, 'x', sizeof(text) - 1);
	boot_fails(ram, test_file(0, k.at, k.len), NULL, text, "the command line and the modules' strings");
	bytes_free(&k);
	ram_destroy(ram);
}

/* 3.3, framebuffer_*: type 2 is text; its size is in characters. */
static void who_asks_for_a_video_mode_is_told_of_the_text_mode(void **state)
{
	struct started s;

	start(&(struct recipe){ .flags = 4 }, NULL, "", &s);
	assert_int_equal(peek(s.info, 0, 4) >> 11, 2);
	assert_int_equal(peek(s.info, 88, 8), 0xb8000);
	assert_int_equal(peek(s.info, 96, 4), 160);
	assert_int_equal(peek(s.info, 100, 4), 80);
	assert_int_equal(peek(s.info, 104, 4), 25);
	assert_int_equal(peek(s.info, 108, 1), 16);
	assert_int_equal(peek(s.info, 109, 1), 2);
	ram_destroy(s.ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_machine_state_is_that_of_section_3_2),
		cmocka_unit_test(the_gdt_holds_what_the_segments_are),
		cmocka_unit_test(addresses_say_what_is_loaded_and_cleared),
		cmocka_unit_test(loading_may_begin_in_the_middle_of_the_file),
		cmocka_unit_test(impossible_addresses_are_told),
		cmocka_unit_test(the_header_is_searched_in_the_first_8_kib),
		cmocka_unit_test(a_header_whose_checksum_is_wrong_is_none),
		cmocka_unit_test(unknown_wishes_end_the_load_unless_they_are_optional),
		cmocka_unit_test(elf_kernels_of_both_classes_are_loaded),
		cmocka_unit_test(a_virtual_entry_point_becomes_a_physical_one),
		cmocka_unit_test(a_pvh_note_comes_before_multiboot),
		cmocka_unit_test(the_information_tells_memory_command_line_and_loader),
		cmocka_unit_test(the_memory_map_tells_all_ram),
		cmocka_unit_test(modules_lie_on_pages_behind_the_kernel_with_their_strings),
		cmocka_unit_test(without_modules_their_number_is_zero),
		cmocka_unit_test(modules_that_cannot_be_loaded_are_told),
		cmocka_unit_test(strings_that_have_no_room_are_told),
		cmocka_unit_test(who_asks_for_a_video_mode_is_told_of_the_text_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
