// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of ELF kernels and the PVH boot protocol. */
#include "util.h"

#include <elf.h>
#include <string.h>

static const uint8_t code[32] = { 0xfa, 0xf4, 0xeb, 0xfc, 9, 8, 7 };

static const struct elf_recipe good = {
	.paddr = 1 * MIB, .entry = 1 * MIB + 4, .code = code, .code_len = sizeof(code), .bss = 100, .pvh = true,
};

static void start(struct ram *ram, const struct elf_recipe *r, const char *initrd, const char *cmdline,
		  struct vcpu_state *cpu)
{
	struct bytes k = make_elf(r);

	kernel_starts(ram, &k, initrd, cmdline, cpu);
	bytes_free(&k);
}

static void elf_kernels_of_both_classes_are_entered_at_their_note(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		struct ram *ram = test_ram(16);
		struct elf_recipe r = good;
		struct vcpu_state cpu;
		uint8_t got[sizeof(code)], ones[100], bss[100], zeros[100] = { 0 };

		r.narrow = i & 1;
		r.note_align = i & 2 ? 8 : 4;
		memset(ones, 0xff, sizeof(ones));
		assert_int_equal(ram_write(ram, 1 * MIB + sizeof(code), ones, sizeof(ones)), 0);
		start(ram, &r, NULL, "", &cpu);
		assert_int_equal(cpu.rip, 1 * MIB + 4);
		ram_get(ram, 1 * MIB, got, sizeof(got));
		assert_memory_equal(got, code, sizeof(code));
		ram_get(ram, 1 * MIB + sizeof(code), bss, sizeof(bss));
		assert_memory_equal(bss, zeros, sizeof(bss));
		ram_destroy(ram);
	}
}

static void the_cpu_starts_as_the_protocol_says(void **state)
{
	struct ram *ram = test_ram(16);
	struct vcpu_state c;

	start(ram, &good, NULL, "", &c);
	assert_int_equal(c.cr0, 0x11);
	assert_int_equal(c.cr4, 0);
	assert_int_equal(c.efer, 0);
	assert_int_equal(c.rflags, 2);
	assert_int_equal(c.seg[SEG_CS].attr, 0xc09b);
	assert_int_equal(c.seg[SEG_CS].base, 0);
	assert_int_equal(c.seg[SEG_CS].limit, 0xffffffff);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		if (i != SEG_CS)
			assert_int_equal(c.seg[i].attr, 0xc093);
	assert_int_equal(c.tr.attr, 0x8b);
	assert_int_equal(c.tr.limit, 0x67);
	ram_destroy(ram);
}

static void start_info_leads_to_everything(void **state)
{
	struct ram *ram = test_ram(64);
	struct bytes cpio = make_cpio("init", "#!/bin/sh\n", 10);
	struct vcpu_state cpu;
	uint8_t info[56], module[32], entry[24], got[1024];
	char text[32];
	uint64_t usable = 0;

	start(ram, &good, test_file(1, cpio.at, cpio.len), "a=b c", &cpu);
	ram_get(ram, cpu.gpr[RBX], info, sizeof(info));
	assert_int_equal(peek(info, 0, 4), 0x336ec578);
	assert_int_equal(peek(info, 4, 4), 1);
	assert_int_equal(peek(info, 12, 4), 1);
	ram_get(ram, peek(info, 16, 8), module, sizeof(module));
	assert_int_equal(peek(module, 0, 8) % 4096, 0);
	assert_true(peek(module, 0, 8) + cpio.len + 4096 > 64 * MIB);
	assert_int_equal(peek(module, 8, 8), cpio.len);
	ram_get(ram, peek(module, 0, 8), got, cpio.len);
	assert_memory_equal(got, cpio.at, cpio.len);
	ram_get(ram, peek(info, 24, 8), text, sizeof(text));
	assert_string_equal(text, "a=b c");
	ram_get(ram, peek(info, 32, 8), text, 8);
	assert_memory_equal(text, "RSD PTR ", 8);
	for (unsigned i = 0; i < peek(info, 48, 4); i++) {
		ram_get(ram, peek(info, 40, 8) + i * 24, entry, sizeof(entry));
		usable += peek(entry, 16, 4) == 1 ? peek(entry, 8, 8) : 0;
	}
	assert_int_equal(usable, 63 * MIB + 0x9fc00);
	bytes_free(&cpio);
	ram_destroy(ram);
}

static void without_initrd_there_is_no_module(void **state)
{
	struct ram *ram = test_ram(16);
	struct vcpu_state cpu;
	uint8_t info[56];

	start(ram, &good, NULL, "", &cpu);
	ram_get(ram, cpu.gpr[RBX], info, sizeof(info));
	assert_int_equal(peek(info, 12, 4), 0);
	assert_int_equal(peek(info, 16, 8), 0);
	ram_destroy(ram);
}

static void a_kernel_may_lie_in_low_memory(void **state)
{
	struct ram *ram = test_ram(16);
	struct elf_recipe r = good;
	struct vcpu_state cpu;

	r.paddr = r.entry = 0x1000;
	start(ram, &r, NULL, "", &cpu);
	assert_int_equal(cpu.rip, 0x1000);
	ram_destroy(ram);
}

/* --- ELF files that cannot be booted --- */

static void fails(const struct elf_recipe *r, const char *why)
{
	kernel_is_refused(16, make_elf(r), why);
}

#define FAILS(why, ...)                                                                            \
	do {                                                                                       \
		struct elf_recipe r_ = good;                                                       \
		struct elf_recipe *r = &r_;                                                        \
		__VA_ARGS__;                                                                       \
		fails(r, why);                                                                     \
	} while (0)

static void elf_files_of_the_wrong_kind_are_told(void **state)
{
	FAILS("ELF file for 64-bit ARM", r->machine = EM_AARCH64);
	FAILS("ELF file for RISC-V", r->machine = EM_RISCV);
	FAILS("ELF file for another kind of machine (machine 4660)", r->machine = 0x1234);
	FAILS("cannot be executed", r->type = ET_REL);
	FAILS("cannot be executed", r->type = ET_CORE);
	FAILS("without a PVH entry", r->pvh = false);
}

static void segments_that_do_not_fit_are_told(void **state)
{
	FAILS("where the guest has no memory", r->paddr = r->entry = 16 * MIB);
	FAILS("where the guest has no memory", r->bss = 15 * MIB);
	FAILS("where the guest has no memory", r->bss = UINT64_MAX - 64);
	FAILS("where the guest has no memory", r->paddr = r->entry = 0xa0000);
	FAILS("where the guest has no memory", r->paddr = r->entry = 0xfffe0);
	FAILS("where the guest has no memory", r->paddr = r->entry = 0x8fff0);
	FAILS("where the guest has no memory", r->paddr = r->entry = 0x100);
	FAILS("PVH entry point 0x300000 is not in its segments", r->entry = 3 * MIB);
	FAILS("PVH entry point 0xfffff is not in its segments", r->entry = 1 * MIB - 1);
}

static void poke_fails(size_t at, unsigned size, uint64_t value, const char *why)
{
	struct bytes k = make_elf(&good);

	poke(&k, at, size, value);
	kernel_is_refused(16, k, why);
}

static void damaged_headers_are_told(void **state)
{
	enum { PHOFF = 32, PHENTSIZE = 54, PHNUM = 56, PH0 = 64, PH1 = 120 };

	poke_fails(4, 1, 7, "another kind of machine");
	poke_fails(5, 1, 2, "another kind of machine");
	poke_fails(PHOFF, 8, 1 << 20, "ends too early");
	poke_fails(PHOFF, 8, UINT64_MAX - 8, "ends too early");
	poke_fails(PHENTSIZE, 2, 57, "program headers of 57 bytes");
	poke_fails(PHNUM, 2, 0, "with 0 program headers");
	poke_fails(PHNUM, 2, 0xffff, "with 65535 program headers");
	poke_fails(PH0 + 8, 8, UINT64_MAX - 8, "inside a segment");
	poke_fails(PH0 + 32, 8, UINT64_MAX, "more bytes in the file than in memory");
	poke_fails(PH0, 4, 0, "without anything to load");
	poke_fails(PH1 + 8, 8, UINT64_MAX - 4, "ends too early"); /* the note */
	poke_fails(PH1 + 32, 8, 65536, "ends too early");
	poke_fails(0x100, 4, UINT32_MAX, "without a PVH entry");
	poke_fails(0x104, 4, UINT32_MAX, "without a PVH entry");
	poke_fails(0x104, 4, 3, "without a PVH entry");
}

static void segments_that_overlap_are_told(void **state)
{
	enum { PH0 = 64, PH1 = 120 };
	struct bytes k = make_elf(&good);

	/* A third program header: the first one again. */
	poke(&k, 56, 2, 3);
	memcpy(k.at + 176, k.at + PH0, 56);
	kernel_is_refused(16, k, "two of its segments overlap");
}

static void truncated_elf_files_are_told(void **state)
{
	struct ram *ram = test_ram(16);
	struct bytes k = make_elf(&good);

	for (size_t len = 4; len < k.len; len += 12) {
		struct bytes cut = { k.at, len };

		kernel_fails(ram, &cut, "it ends ");
	}
	bytes_free(&k);
	ram_destroy(ram);
}

static void a_command_line_that_has_no_room_is_told(void **state)
{
	static char text[65536];
	struct ram *ram = test_ram(16);
	struct bytes k = make_elf(&good);

	memset(text, 'x', sizeof(text) - 1);
	boot_fails(ram, test_file(0, k.at, k.len), NULL, text, "the command line has 65535 bytes");
	bytes_free(&k);
	ram_destroy(ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(elf_kernels_of_both_classes_are_entered_at_their_note),
		cmocka_unit_test(the_cpu_starts_as_the_protocol_says),
		cmocka_unit_test(start_info_leads_to_everything),
		cmocka_unit_test(without_initrd_there_is_no_module),
		cmocka_unit_test(a_kernel_may_lie_in_low_memory),
		cmocka_unit_test(elf_files_of_the_wrong_kind_are_told),
		cmocka_unit_test(segments_that_do_not_fit_are_told),
		cmocka_unit_test(damaged_headers_are_told),
		cmocka_unit_test(segments_that_overlap_are_told),
		cmocka_unit_test(truncated_elf_files_are_told),
		cmocka_unit_test(a_command_line_that_has_no_room_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
