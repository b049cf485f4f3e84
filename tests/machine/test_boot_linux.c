// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of the Linux boot protocol: where things come to lie, and what the CPU starts with. */
#include "util.h"

#include <elf.h>
#include <string.h>

static const uint8_t code[64] = { 0xf4, 0xeb, 0xfd, 1, 2, 3 };

/* boot_params as the kernel finds them. */
struct started {
	struct vcpu_state cpu;
	uint8_t params[4096];
};

static void start(struct ram *ram, const struct bytes *kernel, const char *initrd, const char *cmdline,
		  struct started *s)
{
	kernel_starts(ram, kernel, initrd, cmdline, &s->cpu);
	ram_get(ram, s->cpu.gpr[RSI], s->params, sizeof(s->params));
}

static struct bytes elf_kernel(void)
{
	struct elf_recipe r = {
		.paddr = 16 * MIB, .entry = 16 * MIB + 3, .code = code, .code_len = sizeof(code), .bss = 256};

	return make_elf(&r);
}

static struct bytes bzimage(enum pack_kind kind)
{
	struct bytes elf = elf_kernel(), payload = make_payload(kind, elf.at, elf.len), k;

	k = make_bzimage(&(struct bzimage_recipe){ .payload = payload.at, .payload_len = payload.len });
	bytes_free(&elf);
	bytes_free(&payload);
	return k;
}

static void a_payload_of_every_format_is_unpacked_and_entered(void **state)
{
	for (unsigned k = 0; k < KIND_COUNT; k++) {
		struct ram *ram = test_ram(32);
		struct bytes kernel = bzimage(k);
		uint8_t got[sizeof(code)], bss[256], zeros[256] = { 0 }, ones[256];
		struct started s;

		memset(ones, 0xff, sizeof(ones));
		assert_int_equal(ram_write(ram, 16 * MIB + sizeof(code), ones, sizeof(ones)), 0);
		start(ram, &kernel, NULL, "", &s);
		assert_int_equal(s.cpu.rip, 16 * MIB + 3);
		ram_get(ram, 16 * MIB, got, sizeof(got));
		assert_memory_equal(got, code, sizeof(code));
		ram_get(ram, 16 * MIB + sizeof(code), bss, sizeof(bss));
		assert_memory_equal(bss, zeros, sizeof(bss));
		bytes_free(&kernel);
		ram_destroy(ram);
	}
}

static uint64_t translate(struct ram *ram, const struct vcpu_state *cpu, uint64_t linear)
{
	uint64_t table = cpu->cr3, entry;

	for (int shift = 39; shift >= 21; shift -= 9) {
		ram_get(ram, table + (linear >> shift & 511) * 8, &entry, 8);
		assert_int_equal(entry & 3, 3);
		table = entry & 0xffffffffff000ull;
		if (shift == 21)
			assert_int_equal(entry & 0x80, 0x80);
	}
	return table + (linear & 0x1fffff);
}

static void the_cpu_starts_as_the_protocol_says(void **state)
{
	struct ram *ram = test_ram(32);
	struct bytes kernel = bzimage(KIND_LZ4);
	struct started s;
	uint64_t gdt[4];
	const struct vcpu_state *c = &s.cpu;

	start(ram, &kernel, NULL, "", &s);
	assert_int_equal(c->cr0 & 0x80000001, 0x80000001);
	assert_int_equal(c->cr0 & 0x60000000, 0); /* caches on */
	assert_int_equal(c->cr4, 1 << 5);
	assert_int_equal(c->efer, 1 << 8 | 1 << 10);
	assert_int_equal(c->rflags, 2);
	assert_int_equal(c->seg[SEG_CS].selector, 0x10);
	assert_int_equal(c->seg[SEG_CS].attr, 0xa09b);
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		if (i == SEG_CS)
			continue;
		assert_int_equal(c->seg[i].selector, 0x18);
		assert_int_equal(c->seg[i].attr, 0xc093);
		assert_int_equal(c->seg[i].limit, 0xffffffff);
		assert_int_equal(c->seg[i].base, 0);
	}
	assert_true(c->gdt.limit >= 0x1f);
	ram_get(ram, c->gdt.base, gdt, sizeof(gdt));
	assert_int_equal(gdt[2], 0x00af9b000000ffff);
	assert_int_equal(gdt[3], 0x00cf93000000ffff);
	for (uint64_t a = 0; a < 4096 * MIB; a += 511 * MIB)
		assert_int_equal(translate(ram, c, a), a);
	assert_int_equal(translate(ram, c, 0xffffffff), 0xffffffff);
	/* as firmware leaves it */
	assert_int_equal(c->lapic[0x0f], 0x1ff);
	assert_int_equal(c->lapic[0x35], 0x700);
	assert_int_equal(c->lapic[0x36], 0x400);
	assert_int_equal(c->mtrr_def_type, 0xc06);
	/* and everything else as RESET did */
	assert_int_equal(c->pat, 0x0007040600070406);
	assert_int_equal(c->apic_base, 0xfee00900);
	bytes_free(&kernel);
	ram_destroy(ram);
}

/* "32-bit boot protocol": __BOOT_CS and __BOOT_DS flat, ESI the parameters, EBP, EDI and EBX zero. */
static void check_entry32(struct ram *ram, const struct vcpu_state *c)
{
	uint64_t gdt[4];

	assert_int_equal(c->cr0 & 0x80000001, 1);
	assert_int_equal(c->cr4, 0);
	assert_int_equal(c->efer, 0);
	assert_int_equal(c->rflags, 2);
	assert_int_equal(c->gpr[RBP] | c->gpr[RDI] | c->gpr[RBX], 0);
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		assert_int_equal(c->seg[i].selector, i == SEG_CS ? 0x10 : 0x18);
		assert_int_equal(c->seg[i].attr, i == SEG_CS ? 0xc09b : 0xc093);
	}
	ram_get(ram, c->gdt.base, gdt, sizeof(gdt));
	assert_int_equal(gdt[2], 0x00cf9b000000ffff);
	assert_int_equal(gdt[3], 0x00cf93000000ffff);
}

static void kernels_without_a_64_bit_entry_are_entered_in_protected_mode(void **state)
{
	struct elf_recipe e = { .narrow = true, .paddr = 16 * MIB, .entry = 16 * MIB + 4, .code = code,
				.code_len = sizeof(code) };
	struct bytes elf = make_elf(&e), p = make_payload(KIND_XZ, elf.at, elf.len);
	struct bytes kernel = make_bzimage(
		&(struct bzimage_recipe){ .payload = p.at, .payload_len = p.len, .xloadflags = 4 });
	struct ram *ram = test_ram(32);
	struct started s;

	start(ram, &kernel, NULL, "x", &s);
	assert_int_equal(s.cpu.rip, 16 * MIB + 4);
	check_entry32(ram, &s.cpu);
	bytes_free(&kernel);
	bytes_free(&p);
	bytes_free(&elf);
	ram_destroy(ram);
}

/* Before protocol 2.12 there were no flags, and no 64-bit entry. */
static void a_32_bit_kernel_may_unpack_itself(void **state)
{
	struct bytes kernel = make_bzimage(&(struct bzimage_recipe){
		.payload = code, .payload_len = sizeof(code), .version = 0x20a, .xloadflags = 1 });
	struct ram *ram = test_ram(32);
	struct started s;

	start(ram, &kernel, NULL, "x", &s);
	assert_int_equal(s.cpu.rip, 16 * MIB);
	check_entry32(ram, &s.cpu);
	bytes_free(&kernel);
	ram_destroy(ram);
}

static void the_last_paragraph_of_an_image_need_not_be_full(void **state)
{
	struct ram *ram = test_ram(32);
	struct bytes kernel = make_bzimage(&(struct bzimage_recipe){ .payload = code, .payload_len = sizeof(code) });
	struct started s;

	poke(&kernel, 0x248, 8, 0); /* no payload */
	kernel.len -= 15;
	start(ram, &kernel, NULL, "x", &s);
	bytes_free(&kernel);
	ram_destroy(ram);
}

static void application_processors_get_the_mtrrs_of_the_first_cpu(void **state)
{
	struct ram *ram = test_ram(32);
	struct bytes kernel = bzimage(KIND_GZIP);
	struct vcpu_state ap = { .rip = 0xfff0 };
	struct started s;

	start(ram, &kernel, NULL, "", &s);
	boot_prepare_ap(&ap);
	assert_int_equal(ap.mtrr_def_type, s.cpu.mtrr_def_type);
	assert_memory_equal(ap.mtrr_fixed, s.cpu.mtrr_fixed, sizeof(ap.mtrr_fixed));
	assert_int_equal(ap.mtrr_fixed[2], 0); /* VGA: uncached */
	assert_int_equal(ap.rip, 0xfff0);
	bytes_free(&kernel);
	ram_destroy(ram);
}

static void boot_params_hold_header_command_line_and_rsdp(void **state)
{
	struct ram *ram = test_ram(32);
	struct bytes kernel = bzimage(KIND_ZSTD);
	struct started s;
	char text[64], rsdp[8];

	start(ram, &kernel, NULL, "console=ttyS0 quiet", &s);
	assert_memory_equal(s.params + 0x1f1, kernel.at + 0x1f1, 0x210 - 0x1f1);
	assert_int_equal(s.params[0x210], 0xff);
	assert_int_equal(s.params[0x211], 1);
	assert_int_equal(peek(s.params, 0x1ef, 1), 0); /* the sentinel */
	ram_get(ram, peek(s.params, 0x228, 4), text, sizeof(text));
	assert_string_equal(text, "console=ttyS0 quiet");
	ram_get(ram, peek(s.params, 0x070, 8), rsdp, 8);
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(peek(s.params, 0x218, 4), 0);
	assert_int_equal(peek(s.params, 0x21c, 4), 0);
	bytes_free(&kernel);
	ram_destroy(ram);
}

static void no_command_line_is_an_empty_one(void **state)
{
	struct ram *ram = test_ram(32);
	struct bytes kernel = bzimage(KIND_XZ);
	struct started s;
	char text[2];

	start(ram, &kernel, NULL, NULL, &s);
	ram_get(ram, peek(s.params, 0x228, 4), text, 2);
	assert_int_equal(text[0], 0);
	bytes_free(&kernel);
	ram_destroy(ram);
}

static void e820_tells_ram_and_what_is_reserved(void **state)
{
	struct ram *ram = test_ram(3072);
	struct bytes kernel = bzimage(KIND_GZIP);
	struct started s;
	uint64_t usable = 0, end = 0;
	bool ecam = false, rom = false;

	start(ram, &kernel, NULL, "", &s);
	for (unsigned i = 0; i < s.params[0x1e8]; i++) {
		uint64_t base = peek(s.params, 0x2d0 + i * 20, 8), size = peek(s.params, 0x2d8 + i * 20, 8);
		uint32_t type = (uint32_t)peek(s.params, 0x2e0 + i * 20, 4);

		assert_true(size && base >= end);
		end = base + size;
		if (type == 1)
			usable += size;
		ecam |= type == 2 && base == BOARD_ECAM_BASE && size == BOARD_ECAM_SIZE;
		rom |= type == 2 && base == 0xf0000 && size == 0x10000;
	}
	assert_true(ecam && rom);
	assert_int_equal(end, 4096 * MIB + 3072 * MIB - BOARD_LOW_RAM_MAX);
	assert_int_equal(usable, 3072 * MIB - MIB + 0x9fc00);
	bytes_free(&kernel);
	ram_destroy(ram);
}

static void the_initrd_lies_high_below_its_limit(void **state)
{
	static const struct {
		unsigned mib;
		uint32_t max;
		uint64_t below;
	} cases[] = { { 64, 0x7fffffff, 64 * MIB }, { 64, 0x2ffffff, 48 * MIB }, { 64, 0x2fffff0, 48 * MIB } };
	struct bytes elf = elf_kernel(), payload = make_payload(KIND_GZIP, elf.at, elf.len);
	struct bytes cpio = make_cpio("init", code, sizeof(code));

	for (unsigned i = 0; i < 3; i++) {
		struct ram *ram = test_ram(cases[i].mib);
		struct bytes kernel = make_bzimage(&(struct bzimage_recipe){
			.payload = payload.at, .payload_len = payload.len, .initrd_addr_max = cases[i].max });
		uint8_t got[1024];
		struct started s;
		uint64_t at;

		start(ram, &kernel, test_file(1, cpio.at, cpio.len), "", &s);
		at = peek(s.params, 0x218, 4);
		assert_int_equal(at % 4096, 0);
		assert_true(at + cpio.len <= cases[i].below && at + 8192 >= cases[i].below);
		assert_int_equal(peek(s.params, 0x21c, 4), cpio.len);
		ram_get(ram, at, got, cpio.len);
		assert_memory_equal(got, cpio.at, cpio.len);
		bytes_free(&kernel);
		ram_destroy(ram);
	}
	bytes_free(&cpio);
	bytes_free(&payload);
	bytes_free(&elf);
}

/* What we cannot unpack unpacks itself. */
static void an_unknown_payload_is_left_to_the_kernel(void **state)
{
	static const char *const payloads[] = { "BZh91AY&SY", "unheard of", "\x89LZO....." };
	struct bytes not_elf = make_payload(KIND_LZ4, "this is no kernel, but it is long enough", 40);

	for (unsigned i = 0; i < 5; i++) {
		struct ram *ram = test_ram(32);
		const void *payload = i < 3 ? (const void *)payloads[i] : not_elf.at;
		size_t len = i < 3 ? 10 : i == 3 ? not_elf.len : 0; /* and one without any payload */
		struct bytes kernel =
			make_bzimage(&(struct bzimage_recipe){.payload = payload, .payload_len = len});
		struct started s;
		uint8_t got[16];

		start(ram, &kernel, NULL, "", &s);
		assert_int_equal(s.cpu.rip, 16 * MIB + 0x200);
		assert_int_equal(peek(s.params, 0x214, 4), 16 * MIB);
		ram_get(ram, 16 * MIB, got, sizeof(got));
		assert_memory_equal(got, kernel.at + 4 * 512, sizeof(got));
		bytes_free(&kernel);
		ram_destroy(ram);
	}
	bytes_free(&not_elf);
}

static void a_fixed_kernel_that_unpacks_itself_lies_at_1_mib(void **state)
{
	struct ram *ram = test_ram(32);
	struct bytes kernel =
		make_bzimage(&(struct bzimage_recipe){.payload = "?", .payload_len = 1, .fixed = true});
	struct started s;

	start(ram, &kernel, NULL, "", &s);
	assert_int_equal(s.cpu.rip, 1 * MIB + 0x200);
	bytes_free(&kernel);
	ram_destroy(ram);
}

static void the_last_byte_of_ram_can_be_used(void **state)
{
	struct ram *ram = test_ram(17);
	struct bytes kernel = bzimage(KIND_GZIP); /* 16 MiB + init_size 1 MiB */
	struct started s;

	start(ram, &kernel, NULL, "", &s);
	bytes_free(&kernel);
	ram_destroy(ram);
}

static void booting_again_gives_the_same(void **state)
{
	struct ram *ram = test_ram(32);
	struct bytes kernel = bzimage(KIND_GZIP);
	struct started a, b;

	start(ram, &kernel, NULL, "long command line", &a);
	start(ram, &kernel, NULL, "x", &b);
	assert_memory_equal(&a, &b, sizeof(a));
	bytes_free(&kernel);
	ram_destroy(ram);
}

/* --- kernels that cannot be booted --- */

static void fails(struct bytes k, unsigned mib, const char *why)
{
	kernel_is_refused(mib, k, why);
}

static struct bytes poked(size_t at, unsigned size, uint64_t value)
{
	struct bytes k = bzimage(KIND_GZIP);

	poke(&k, at, size, value);
	return k;
}

static struct bytes cut(size_t len)
{
	struct bytes k = bzimage(KIND_GZIP);

	assert_true(len < k.len);
	k.len = len;
	return k;
}

static void damaged_headers_are_told(void **state)
{
	fails(poked(0x1fe, 2, 0), 32, "no boot flag");
	fails(poked(0x206, 2, 0x204), 32, "boot protocol only up to 2.04");
	fails(poked(0x236, 2, 2), 32, "its header is of a 32-bit kernel");
	fails(poked(0x211, 1, 0), 32, "zImage");
	fails(poked(0x201, 1, 0x20), 32, "setup header is too short");
	fails(poked(0x1f1, 1, 64), 32, "inside its setup sectors");
	fails(poked(0x1f4, 4, 0x10000), 32, "inside its protected-mode part");
	fails(poked(0x1f4, 4, UINT32_MAX), 32, "inside its protected-mode part");
	fails(poked(0x248, 4, UINT32_MAX), 32, "payload lies outside");
	fails(poked(0x24c, 4, UINT32_MAX), 32, "payload lies outside");
	fails(poked(0x258, 8, UINT64_MAX - 0xfff), 32, "wants to run at");
	fails(poked(0x258, 8, 0xfffff000), 32, "needs memory");
}

static void truncated_kernels_are_told(void **state)
{
	struct bytes k = bzimage(KIND_GZIP);
	size_t len = k.len;

	bytes_free(&k);
	fails(cut(1), 32, "too short for any kernel");
	fails(cut(0x1ff), 32, "too short for any kernel");
	fails(cut(0x201), 32, "too short for any kernel"); /* of 512 bytes it is a boot sector */
	fails(cut(0x220), 32, "inside its setup header");
	fails(cut(0x400), 32, "inside its setup sectors");
	fails(cut(len - 16), 32, "inside its protected-mode part");
	fails(cut(4 * 512 + 0x300), 32, "inside its protected-mode part");
}

/* The payload alone is damaged or cut. */
static void damaged_payloads_are_told(void **state)
{
	struct bytes elf = elf_kernel();

	for (unsigned k = 0; k < KIND_COUNT; k++) {
		struct bytes p = make_payload(k, elf.at, elf.len);
		struct bzimage_recipe r = { .payload = p.at, .payload_len = p.len };
		uint32_t size = (uint32_t)peek(p.at, p.len - 4, 4);

		/* A size that is wrong, and one that is absurd. */
		poke(&p, p.len - 4, 4, size + 1);
		fails(make_bzimage(&r), 32, "damaged");
		if (k != KIND_GZIP) {
			poke(&p, p.len - 4, 4, size - 1);
			fails(make_bzimage(&r), 32, "longer than it says");
		}
		poke(&p, p.len - 4, 4, 0x7fffffff);
		fails(make_bzimage(&r), 32, "are the most");
		poke(&p, p.len - 4, 4, 64 << 20);
		fails(make_bzimage(&r), 32, "it has 64 MiB unpacked, and the guest only 32");
		/* The stream's own structure: a block's length (LZ4), a frame's header, checksummed bytes. */
		poke(&p, p.len - 4, 4, size);
		memset(p.at + (k == KIND_LZ4 ? 6 : k == KIND_ZSTD ? 4 : 20), 0xff, k == KIND_LZ4 ? 1 : 8);
		fails(make_bzimage(&r), 32, k == KIND_LZ4 ? "LZ4 payload" : "damaged");
		bytes_free(&p);
	}
	bytes_free(&elf);
}

static void payload_elf(const struct elf_recipe *e, const char *why)
{
	struct bytes elf = make_elf(e), p = make_payload(KIND_LZ4, elf.at, elf.len);

	fails(make_bzimage(&(struct bzimage_recipe){ .payload = p.at, .payload_len = p.len }), 32, why);
	bytes_free(&elf);
	bytes_free(&p);
}

static void payloads_of_the_wrong_kind_are_told(void **state)
{
	struct elf_recipe e = { .paddr = 16 * MIB, .entry = 16 * MIB, .code = code, .code_len = sizeof(code) };

	e.machine = EM_AARCH64;
	payload_elf(&e, "ELF file for 64-bit ARM");
	e.machine = 0;
	e.narrow = true;
	payload_elf(&e, "its header is of a 64-bit kernel");
	e.narrow = false;
	e.entry = 1 * MIB;
	payload_elf(&e, "entry point 0x100000 is not in its segments");
	e.entry = e.paddr = 40 * MIB;
	payload_elf(&e, "where the guest has no memory");
	e.entry = e.paddr = 0x98000;
	payload_elf(&e, "where the guest has no memory");
	e.entry = e.paddr = UINT64_MAX - 8;
	payload_elf(&e, "where the guest has no memory");
}

static void kernels_larger_than_ram_are_told(void **state)
{
	struct bytes elf = elf_kernel(), p = make_payload(KIND_GZIP, elf.at, elf.len);
	struct bzimage_recipe r = { .payload = p.at, .payload_len = p.len, .init_size = 17 << 20 };

	fails(make_bzimage(&r), 32,
	      "it needs memory from 0x1000000 to 0x2100000, and the guest's ends at 0x2000000");
	r.payload = "?";
	r.payload_len = 1;
	fails(make_bzimage(&r), 32, "it needs memory");
	r.fixed = true;
	fails(make_bzimage(&r), 32, "it needs memory");
	bytes_free(&elf);
	bytes_free(&p);
}

static void command_lines_are_held_to_the_kernels_limit(void **state)
{
	struct ram *ram = test_ram(32);
	struct bytes kernel = bzimage(KIND_GZIP);
	const char *path = test_file(0, kernel.at, kernel.len);
	char text[2049];
	struct vcpu_state cpu;
	struct error err;

	memset(text, 'x', sizeof(text));
	text[2047] = 0;
	assert_int_equal(boot(ram, path, NULL, text, &cpu, &err), 0);
	text[2047] = 'x';
	text[2048] = 0;
	boot_fails(ram, path, NULL, text, "the command line has 2048 bytes, and this kernel takes 2047");
	bytes_free(&kernel);
	ram_destroy(ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_payload_of_every_format_is_unpacked_and_entered),
		cmocka_unit_test(the_cpu_starts_as_the_protocol_says),
		cmocka_unit_test(kernels_without_a_64_bit_entry_are_entered_in_protected_mode),
		cmocka_unit_test(a_32_bit_kernel_may_unpack_itself),
		cmocka_unit_test(the_last_paragraph_of_an_image_need_not_be_full),
		cmocka_unit_test(application_processors_get_the_mtrrs_of_the_first_cpu),
		cmocka_unit_test(boot_params_hold_header_command_line_and_rsdp),
		cmocka_unit_test(no_command_line_is_an_empty_one),
		cmocka_unit_test(e820_tells_ram_and_what_is_reserved),
		cmocka_unit_test(the_initrd_lies_high_below_its_limit),
		cmocka_unit_test(an_unknown_payload_is_left_to_the_kernel),
		cmocka_unit_test(a_fixed_kernel_that_unpacks_itself_lies_at_1_mib),
		cmocka_unit_test(the_last_byte_of_ram_can_be_used),
		cmocka_unit_test(booting_again_gives_the_same),
		cmocka_unit_test(damaged_headers_are_told),
		cmocka_unit_test(truncated_kernels_are_told),
		cmocka_unit_test(damaged_payloads_are_told),
		cmocka_unit_test(payloads_of_the_wrong_kind_are_told),
		cmocka_unit_test(kernels_larger_than_ram_are_told),
		cmocka_unit_test(command_lines_are_held_to_the_kernels_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
