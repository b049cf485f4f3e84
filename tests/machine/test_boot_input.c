// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of files that are no kernels at all: each is told by what it is, and none hangs the loader. */
#include "util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct ram *ram;

static int setup(void **state)
{
	ram = test_ram(16);
	return 0;
}

static int teardown(void **state)
{
	ram_destroy(ram);
	return 0;
}

static const char *good_kernel(void)
{
	static const uint8_t code[16] = { 0xf4 };
	struct elf_recipe r = {
		.paddr = 1 * MIB, .entry = 1 * MIB, .code = code, .code_len = sizeof(code), .pvh = true};
	struct bytes k = make_elf(&r);
	const char *path = test_file(0, k.at, k.len);

	bytes_free(&k);
	return path;
}

/* As the kernel and as the initrd. */
static void both_fail(const char *path, const char *why)
{
	boot_fails(ram, path, NULL, "", why);
	boot_fails(ram, good_kernel(), path, "", why);
}

static void missing_and_unreadable_files_are_told(void **state)
{
	both_fail("/nonexistent/kernel", "No such file or directory");
	both_fail("", "No such file or directory");
	both_fail("/dev/null/kernel", "Not a directory");
}

static void what_is_no_regular_file_is_told_and_does_not_hang(void **state)
{
	char dir[] = "/tmp/subring-test-XXXXXX", fifo[64];

	assert_non_null(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	both_fail(dir, "it is a directory");
	both_fail(fifo, "it is a pipe");
	both_fail("/dev/zero", "it is a device");
	both_fail("/dev/null", "it is a device");
	unlink(fifo);
	rmdir(dir);
}

static void empty_files_are_told(void **state)
{
	both_fail(test_file(2, "", 0), "it is empty");
}

static void kernel_bytes_fail(const void *bytes, size_t len, const char *why)
{
	boot_fails(ram, test_file(2, bytes, len), NULL, "", why);
}

static void foreign_kernels_are_named(void **state)
{
	static const struct {
		size_t at, len;
		const char *magic, *why;
	} kinds[] = {
		{ 0x38, 4, "ARM\x64", "kernel image for 64-bit ARM" },
		{ 0x38, 4, "RSC\x05", "kernel image for RISC-V" },
		{ 0x24, 4, "\x18\x28\x6f\x01", "kernel image for 32-bit ARM" },
		{ 0, 2, "MZ", "PE program" },
		{ 0, 4, "\x27\x05\x19\x56", "U-Boot" },
		{ 0, 6, "070701", "cpio archive" },
		{ 0, 7, "!<arch>", "Debian package" },
		{ 0, 2, "#!", "script" },
		{ 0, 3, "\x1f\x8b\x08", "packed by gzip" },
		{ 0, 6, "\xfd" "7zXZ\0", "packed by XZ" },
		{ 0, 4, "\x28\xb5\x2f\xfd", "packed by Zstandard" },
		{ 0, 3, "BZh", "packed by bzip2" },
		{ 0, 4, "\x7f" "ELF", "another kind of machine" },
		{ 0, 1, "x", "neither a bzImage nor an ELF file" },
	};

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		uint8_t bytes[4096] = { 0 };

		memcpy(bytes + kinds[i].at, kinds[i].magic, kinds[i].len);
		kernel_bytes_fail(bytes, sizeof(bytes), kinds[i].why);
	}
}

static void short_files_are_told(void **state)
{
	static const uint8_t zeros[1023];

	kernel_bytes_fail(zeros, 1, "too short for any kernel");
	kernel_bytes_fail(zeros, sizeof(zeros), "too short for any kernel");
	kernel_bytes_fail("MZ", 2, "PE program");
}

static void errors_name_the_file(void **state)
{
	struct vcpu_state cpu;
	struct error err;

	assert_true(boot(ram, "/nonexistent/vmlinuz", NULL, "", &cpu, &err) < 0);
	assert_string_equal(err.what, "cannot load the kernel /nonexistent/vmlinuz");
	assert_true(boot(ram, good_kernel(), "/nonexistent/initrd.img", "", &cpu, &err) < 0);
	assert_string_equal(err.what, "cannot load the initrd /nonexistent/initrd.img");
}

static void random_bytes_do_no_harm(void **state)
{
	uint32_t seed = 1;

	for (unsigned round = 0; round < 300; round++) {
		uint8_t bytes[3000];
		size_t len = 600 + round * 8;

		for (size_t i = 0; i < len; i++) {
			seed = seed * 1664525 + 1013904223;
			bytes[i] = (uint8_t)(seed >> 24);
		}
		memcpy(bytes + 0x202, "HdrS", 4);
		bytes[0x1fe] = 0x55;
		bytes[0x1ff] = 0xaa;
		bytes[0x207] = 2;
		bytes[0x211] |= 1;
		bytes[0x236] |= 1;
		kernel_bytes_fail(bytes, len, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(missing_and_unreadable_files_are_told),
		cmocka_unit_test(what_is_no_regular_file_is_told_and_does_not_hang),
		cmocka_unit_test(empty_files_are_told),
		cmocka_unit_test(foreign_kernels_are_named),
		cmocka_unit_test(short_files_are_told),
		cmocka_unit_test(errors_name_the_file),
		cmocka_unit_test(random_bytes_do_no_harm),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
