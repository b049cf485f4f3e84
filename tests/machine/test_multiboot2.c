// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of the Multiboot protocol, version 2 (Multiboot Specification 2.0; sections at the tests). */
#include "util.h"

#include <stdio.h>
#include <string.h>

#define MAGIC 0xe85250d6u
enum { OPTIONAL = 1 << 16 };

/* A header under construction, in the code of an ELF kernel or of a flat one. */
struct header {
	uint8_t bytes[1024];
	uint32_t len;
};

static struct header begin(void)
{
	return (struct header){ .len = 16 };
}

static void tag(struct header *h, uint32_t type, const uint32_t *words, unsigned count)
{
	uint32_t size = 8 + count * 4;

	memcpy(h->bytes + h->len, &type, 4);
	memcpy(h->bytes + h->len + 4, &size, 4);
	if (count)
		memcpy(h->bytes + h->len + 8, words, count * 4);
	h->len += (size + 7) & ~7u;
}
#define TAG(h, type, ...)                                                                          \
	tag(h, type, (const uint32_t[]){ __VA_ARGS__ }, sizeof((uint32_t[]){ __VA_ARGS__ }) / 4)

static void finish(struct header *h)
{
	uint32_t words[4] = { MAGIC, 0, 0 };

	tag(h, 0, NULL, 0);
	words[2] = h->len;
	words[3] = -(MAGIC + words[2]);
	memcpy(h->bytes, words, sizeof(words));
}

/* An ELF kernel for 1 MiB with the header at its beginning; entered at 1 MiB + 0x200. */
static struct bytes make(struct header *h)
{
	struct elf_recipe r = { .narrow = true, .paddr = 1 * MIB, .entry = 1 * MIB + 0x200, .code = h->bytes,
				.code_len = sizeof(h->bytes), .bss = 4096 };

	return make_elf(&r);
}

struct started {
	struct ram *ram;
	struct vcpu_state cpu;
	uint8_t info[4096];
	uint32_t len;
};

static void start_file(struct bytes *k, const char *initrd, const char *cmdline, struct started *s)
{
	s->ram = test_ram(32);
	kernel_starts(s->ram, k, initrd, cmdline, &s->cpu);
	bytes_free(k);
	ram_get(s->ram, s->cpu.gpr[RBX], s->info, sizeof(s->info));
	s->len = (uint32_t)peek(s->info, 0, 4);
	assert_in_range(s->len, 16, sizeof(s->info));
}

static void start(struct header *h, const char *initrd, const char *cmdline, struct started *s)
{
	struct bytes k;

	finish(h);
	k = make(h);
	start_file(&k, initrd, cmdline, s);
}

/* The @n-th tag of @type: its offset in the information, or 0. */
static size_t find(const struct started *s, uint32_t type, unsigned n)
{
	size_t at = 8;

	while (at + 8 <= s->len) {
		if (peek(s->info, at, 4) == type && n-- == 0)
			return at;
		if (peek(s->info, at, 4) == 0)
			return 0;
		at += (peek(s->info, at + 4, 4) + 7) & ~7ull;
	}
	fail_msg("the tags have no end");
	return 0;
}

static void fails(struct header *h, const char *why)
{
	finish(h);
	kernel_is_refused(16, make(h), why);
}

/* 3.3 */
static void the_machine_state_is_that_of_section_3_3(void **state)
{
	struct header h = begin();
	struct started s;

	start(&h, NULL, "", &s);
	assert_int_equal(s.cpu.gpr[RAX], 0x36d76289);
	assert_int_equal(s.cpu.gpr[RBX] % 8, 0);
	assert_int_equal(s.cpu.rip, 1 * MIB + 0x200);
	assert_int_equal(s.cpu.cr0 & 0x80000001, 1);
	assert_int_equal(s.cpu.rflags, 2);
	ram_destroy(s.ram);
}

/* 3.6: total_size, reserved; each tag 8-aligned; the last one of type 0 and size 8. */
static void the_information_is_a_list_of_tags_with_an_end(void **state)
{
	struct header h = begin();
	struct started s;

	start(&h, NULL, "a b", &s);
	assert_int_equal(peek(s.info, 4, 4), 0);
	assert_int_equal(find(&s, 0, 0), s.len - 8);
	assert_int_equal(peek(s.info, s.len - 4, 4), 8);
	assert_string_equal((char *)s.info + find(&s, 1, 0) + 8, "a b");
	assert_string_equal((char *)s.info + find(&s, 2, 0) + 8, "Subring");
	assert_int_equal(peek(s.info, find(&s, 4, 0) + 8, 4), 639);
	assert_int_equal(peek(s.info, find(&s, 4, 0) + 12, 4), 31 * 1024);
	assert_memory_equal(s.info + find(&s, 14, 0) + 8, "RSD PTR ", 8);
	assert_int_equal(peek(s.info, find(&s, 14, 0) + 4, 4), 8 + 20);
	assert_memory_equal(s.info + find(&s, 15, 0) + 8, "RSD PTR ", 8);
	assert_int_equal(peek(s.info, find(&s, 15, 0) + 4, 4), 8 + 36);
	assert_int_equal(find(&s, 3, 0), 0);
	assert_int_equal(find(&s, 8, 0), 0);
	assert_int_equal(find(&s, 21, 0), 0);
	ram_destroy(s.ram);
}

/* 3.6.8 */
static void the_memory_map_tells_all_ram(void **state)
{
	struct header h = begin();
	struct started s;
	uint64_t usable = 0;
	size_t at, end;

	start(&h, NULL, "", &s);
	at = find(&s, 6, 0);
	end = at + peek(s.info, at + 4, 4);
	assert_int_equal(peek(s.info, at + 8, 4), 24);
	assert_int_equal(peek(s.info, at + 12, 4), 0);
	for (at += 16; at < end; at += 24)
		usable += peek(s.info, at + 16, 4) == 1 ? peek(s.info, at + 8, 8) : 0;
	assert_int_equal(at, end);
	assert_int_equal(usable, 31 * MIB + 0x9fc00);
	ram_destroy(s.ram);
}

/* 3.6.6 */
static void each_module_has_a_tag(void **state)
{
	struct header h = begin();
	struct started s;
	char spec[128], got[2];
	const char *one = test_file(1, "1", 1), *two = test_file(2, "22", 2);
	size_t at;

	snprintf(spec, sizeof(spec), "%s,%s x", one, two);
	start(&h, spec, "", &s);
	at = find(&s, 3, 0);
	assert_int_equal(peek(s.info, at + 12, 4) - peek(s.info, at + 8, 4), 1);
	assert_string_equal((char *)s.info + at + 16, one);
	at = find(&s, 3, 1);
	ram_get(s.ram, peek(s.info, at + 8, 4), got, 2);
	assert_memory_equal(got, "22", 2);
	snprintf(spec, sizeof(spec), "%s x", two);
	assert_string_equal((char *)s.info + at + 16, spec);
	assert_int_equal(find(&s, 3, 2), 0);
	ram_destroy(s.ram);
}

/* 3.1.4: a request that cannot be fulfilled ends the load, unless it is optional. */
static void requests_for_information_are_fulfilled_or_refused(void **state)
{
	struct header h = begin();
	struct started s;

	TAG(&h, 1, 1, 2, 3, 4, 6, 8, 14, 15, 21);
	TAG(&h, 1 | OPTIONAL, 7, 9, 11, 12, 1000);
	start(&h, NULL, "", &s);
	ram_destroy(s.ram);
	h = begin();
	TAG(&h, 1, 1, 9);
	fails(&h, "information that there is none of (tag 9)");
	h = begin();
	TAG(&h, 77, 1, 2);
	fails(&h, "something unknown (tag 77)");
	h = begin();
	TAG(&h, 77 | OPTIONAL, 1, 2);
	start(&h, NULL, "", &s);
	ram_destroy(s.ram);
}

static void efi_is_refused_unless_it_is_optional(void **state)
{
	struct started s;

	for (unsigned type = 7; type <= 9; type++) {
		struct header h = begin();

		TAG(&h, type, 0x100200);
		fails(&h, "EFI");
		h = begin();
		TAG(&h, type | OPTIONAL, 0x100200);
		start(&h, NULL, "", &s);
		assert_int_equal(s.cpu.rip, 1 * MIB + 0x200);
		ram_destroy(s.ram);
	}
}

/* 3.1.6 */
static void the_entry_tag_comes_before_the_elf_entry(void **state)
{
	struct header h = begin();
	struct started s;

	TAG(&h, 3, 1 * MIB + 0x300);
	start(&h, NULL, "", &s);
	assert_int_equal(s.cpu.rip, 1 * MIB + 0x300);
	ram_destroy(s.ram);
	h = begin();
	TAG(&h, 3, 3 * MIB);
	fails(&h, "is not in its segments");
}

/* A flat kernel with an address tag. */
static struct bytes flat(struct header *h, uint32_t header_addr, uint32_t load, uint32_t load_end, uint32_t bss_end,
			 uint32_t entry)
{
	TAG(h, 2, header_addr, load, load_end, bss_end);
	TAG(h, 3, entry);
	finish(h);
	return bytes_copy(h->bytes, sizeof(h->bytes));
}

/* 3.1.5; load_addr -1: from the beginning of the file. */
static void the_address_tag_says_what_is_loaded(void **state)
{
	static const uint32_t loads[] = { 2 * MIB, UINT32_MAX };

	for (unsigned i = 0; i < 2; i++) {
		struct header h = begin();
		struct bytes k = flat(&h, 2 * MIB, loads[i], 0, 2 * MIB + 0x800, 2 * MIB + 0x100);
		struct started s;
		uint8_t got[1024];

		start_file(&k, NULL, "", &s);
		assert_int_equal(s.cpu.rip, 2 * MIB + 0x100);
		ram_get(s.ram, 2 * MIB, got, sizeof(got));
		assert_memory_equal(got, h.bytes, sizeof(got));
		ram_destroy(s.ram);
	}
}

static void impossible_addresses_are_told(void **state)
{
	static const struct {
		uint32_t header, load, load_end, bss_end, entry;
		const char *why;
	} cases[] = {
		{ 2 * MIB, 2 * MIB + 8, 0, 0, 2 * MIB, "begin before the file" },
		{ 2 * MIB, 2 * MIB - 8, 0, 0, 2 * MIB, "begin before the file" },
		{ 2 * MIB, 2 * MIB, 1 * MIB, 0, 2 * MIB, "end before they begin" },
		{ 2 * MIB, 2 * MIB, 0, 2 * MIB + 8, 2 * MIB, "no room for what is in the file" },
		{ 2 * MIB, 2 * MIB, 0, 0, 1 * MIB, "do not hold its entry point" },
		{ 2 * MIB, 2 * MIB, 0, UINT32_MAX, 2 * MIB, "which the guest has not" },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct header h = begin();
		struct bytes k = flat(&h, cases[i].header, cases[i].load, cases[i].load_end, cases[i].bss_end,
				      cases[i].entry);

		kernel_is_refused(16, k, cases[i].why);
	}
}

/* 3.1.12, 3.6.13: min, max, alignment, preference (0 none, 1 lowest, 2 highest). */
static void a_relocatable_image_goes_where_it_may(void **state)
{
	static const struct {
		uint32_t min, max, align, preference;
		uint64_t base;
	} cases[] = {
		{ 0, UINT32_MAX, 4096, 0, 1 * MIB }, /* where it was linked */
		{ 3 * MIB, UINT32_MAX, 4096, 0, 3 * MIB },
		{ 3 * MIB + 1, UINT32_MAX, 2 * MIB, 1, 4 * MIB },
		{ 0, UINT32_MAX, 2 * MIB, 2, 30 * MIB },
		{ 0, 8 * MIB - 1, 4096, 2, 8 * MIB - 8192 },
		{ 0, UINT32_MAX, 0, 2, 32 * MIB - 1024 - 4096 },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct header h = begin();
		struct started s;
		uint8_t got[16];

		TAG(&h, 10, cases[i].min, cases[i].max, cases[i].align, cases[i].preference);
		start(&h, NULL, "", &s);
		assert_int_equal(peek(s.info, find(&s, 21, 0) + 8, 4), cases[i].base);
		assert_int_equal(s.cpu.rip, cases[i].base + 0x200);
		ram_get(s.ram, cases[i].base, got, sizeof(got));
		assert_memory_equal(got, h.bytes, sizeof(got));
		ram_destroy(s.ram);
	}
}

static void a_relocatable_image_that_fits_nowhere_is_told(void **state)
{
	static const struct {
		uint32_t min, max, align;
	} cases[] = {
		{ 3 * MIB, 3 * MIB + 4096, 1 }, { 64 * MIB, UINT32_MAX, 1 }, { 0, UINT32_MAX, UINT32_MAX },
		{ UINT32_MAX, 0, 1 },		{ 0, 0, 1 },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct header h = begin();

		TAG(&h, 10, cases[i].min, cases[i].max, cases[i].align, 0);
		fails(&h, "no memory of");
	}
}

static void a_flat_image_is_relocated_with_its_entry(void **state)
{
	struct header h = begin();
	struct bytes k;
	struct started s;

	TAG(&h, 10, 5 * MIB, UINT32_MAX, 4096, 1);
	k = flat(&h, 2 * MIB, 2 * MIB, 0, 2 * MIB + 0x800, 2 * MIB + 0x100);
	start_file(&k, NULL, "", &s);
	assert_int_equal(s.cpu.rip, 5 * MIB + 0x100);
	ram_destroy(s.ram);
}

/* 3.1.1: within the first 32768 bytes, 64-bit aligned. */
static void the_header_is_searched_in_the_first_32_kib(void **state)
{
	static uint8_t bytes[40000];
	static const struct {
		size_t at;
		bool found;
	} cases[] = { { 32768 - 72, true }, { 32768, false }, { 4, false } };

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct header h = begin();
		struct bytes k;
		struct started s;

		TAG(&h, 2, 2 * MIB, 2 * MIB, 0, 0);
		TAG(&h, 3, 2 * MIB);
		finish(&h);
		memset(bytes, 0, sizeof(bytes));
		memcpy(bytes + cases[i].at, h.bytes, h.len);
		k = bytes_copy(bytes, sizeof(bytes));
		if (!cases[i].found) {
			kernel_is_refused(16, k, "no Multiboot header");
			continue;
		}
		start_file(&k, NULL, "", &s);
		ram_destroy(s.ram);
	}
}

static void damaged_headers_are_told(void **state)
{
	static const struct {
		uint32_t at, value;
		const char *why;
	} cases[] = {
		{ 4, 4, "for another architecture" }, /* MIPS */
		{ 8, UINT32_MAX - 7, "does not end within" },
		{ 20, 7, "a tag in its Multiboot 2 header has 7 bytes" },
		{ 20, 0, "a tag in its Multiboot 2 header has 0 bytes" },
		{ 20, UINT32_MAX, "has 4294967295 bytes" },
		{ 20, 25, "has 25 bytes" }, /* 24 are left */
		{ 20, 8, "too short" },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct header h = begin();
		struct bytes k;
		uint32_t w[3];

		TAG(&h, 3, 1 * MIB + 0x200);
		finish(&h);
		memcpy(h.bytes + cases[i].at, &cases[i].value, 4);
		memcpy(w, h.bytes, 12);
		w[0] = -(w[0] + w[1] + w[2]);
		memcpy(h.bytes + 12, w, 4);
		k = make(&h);
		kernel_is_refused(16, k, cases[i].why);
	}
}

static void version_2_comes_before_version_1(void **state)
{
	const uint32_t one[3] = { 0x1badb002, 0, -0x1badb002u };
	struct header h = begin();
	struct started s;
	struct bytes k;

	finish(&h);
	memcpy(h.bytes + 512, one, sizeof(one));
	k = make(&h);
	start_file(&k, NULL, "", &s);
	assert_int_equal(s.cpu.gpr[RAX], 0x36d76289);
	ram_destroy(s.ram);
}

/* 3.1.10, 3.6.12 */
static void who_asks_for_a_framebuffer_is_told_of_the_text_mode(void **state)
{
	struct header h = begin();
	struct started s;
	size_t at;

	TAG(&h, 5, 1024, 768, 32);
	start(&h, NULL, "", &s);
	at = find(&s, 8, 0);
	assert_int_equal(peek(s.info, at + 8, 8), 0xb8000);
	assert_int_equal(peek(s.info, at + 16, 4), 160);
	assert_int_equal(peek(s.info, at + 20, 4), 80);
	assert_int_equal(peek(s.info, at + 24, 4), 25);
	assert_int_equal(peek(s.info, at + 28, 1), 16);
	assert_int_equal(peek(s.info, at + 29, 1), 2);
	ram_destroy(s.ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_machine_state_is_that_of_section_3_3),
		cmocka_unit_test(the_information_is_a_list_of_tags_with_an_end),
		cmocka_unit_test(the_memory_map_tells_all_ram),
		cmocka_unit_test(each_module_has_a_tag),
		cmocka_unit_test(requests_for_information_are_fulfilled_or_refused),
		cmocka_unit_test(efi_is_refused_unless_it_is_optional),
		cmocka_unit_test(the_entry_tag_comes_before_the_elf_entry),
		cmocka_unit_test(the_address_tag_says_what_is_loaded),
		cmocka_unit_test(impossible_addresses_are_told),
		cmocka_unit_test(a_relocatable_image_goes_where_it_may),
		cmocka_unit_test(a_relocatable_image_that_fits_nowhere_is_told),
		cmocka_unit_test(a_flat_image_is_relocated_with_its_entry),
		cmocka_unit_test(the_header_is_searched_in_the_first_32_kib),
		cmocka_unit_test(damaged_headers_are_told),
		cmocka_unit_test(version_2_comes_before_version_1),
		cmocka_unit_test(who_asks_for_a_framebuffer_is_told_of_the_text_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
