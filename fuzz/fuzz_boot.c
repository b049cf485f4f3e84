// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzzes the loaders: the input is a kernel or an initrd. The first byte says what is put right in
 * it, so that the fuzzer gets behind the magic numbers. Sources: machine_dep.
 */
#include "machine/machine.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	MODE_RAW,
	MODE_BZIMAGE,
	MODE_BZIMAGE_PAYLOAD,
	MODE_ELF64,
	MODE_ELF32,
	MODE_MULTIBOOT,
	MODE_MULTIBOOT2,
	MODE_SECTOR,
	MODE_INITRD,
	MODE_INITRD_CPIO,
	MODES
};
enum { INPUT_MAX = 1 << 20, CODE_AT = 0x300 };

static struct ram *ram;
static int kernel_fd, initrd_fd;
static char kernel_path[64], initrd_path[64], modules[256];
static const char *const module_paths[4] = { NULL, modules, "/nonexistent", initrd_path };

/* An ELF kernel that boots: the first 64 bytes are its header. */
static size_t good_kernel(uint8_t *bytes)
{
	Elf64_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = 1,
			.e_phoff = sizeof(h),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 2};
	Elf64_Phdr p[2] = {
		{.p_type = PT_LOAD, .p_offset = CODE_AT, .p_paddr = 1 << 20, .p_filesz = 16, .p_memsz = 16},
		{.p_type = PT_NOTE, .p_offset = 0x200, .p_filesz = 20, .p_align = 4}};
	uint32_t note[5] = { 4, 4, 18, 0x006e6558, 1 << 20 };

	memset(bytes, 0, CODE_AT + 16);
	memcpy(bytes, &h, sizeof(h));
	memcpy(bytes + sizeof(h), p, sizeof(p));
	memcpy(bytes + 0x200, note, sizeof(note));
	return CODE_AT + 16;
}

static void put_right(unsigned mode, uint8_t *bytes, size_t size)
{
	static const uint8_t magic[4][6] = {{0x1f, 0x8b, 8},
					    {0xfd, '7', 'z', 'X', 'Z', 0},
					    {0x28, 0xb5, 0x2f, 0xfd},
					    {2, 0x21, 0x4c, 0x18}};
	uint8_t good[CODE_AT + 16];

	if ((mode == MODE_BZIMAGE || mode == MODE_BZIMAGE_PAYLOAD) && size >= 0x268) {
		memcpy(bytes + 0x202, "HdrS", 4);
		bytes[0x1fe] = 0x55;
		bytes[0x1ff] = 0xaa;
		bytes[0x201] = 0x66;
		bytes[0x207] = 2;
		bytes[0x206] |= 0xc;
		bytes[0x211] |= 1;
		bytes[0x236] |= 1;
	}
	if (mode == MODE_BZIMAGE_PAYLOAD && size >= 1060) {
		uint32_t v[2] = { 0, (uint32_t)(size - 1024) & ~15u };
		uint32_t syssize = v[1] / 16, unpacked = bytes[0x1f2] << 8;

		bytes[0x1f1] = 1;
		memcpy(bytes + 0x1f4, &syssize, 4);
		memcpy(bytes + 0x248, v, 8);
		memcpy(bytes + 1024, magic[bytes[0x1f3] & 3], 6);
		memcpy(bytes + 1024 + v[1] - 4, &unpacked, 4);
	}
	if ((mode == MODE_ELF64 || mode == MODE_ELF32) && size >= 64) {
		good_kernel(good);
		memcpy(bytes, good, 20);
		bytes[4] = mode == MODE_ELF64 ? ELFCLASS64 : ELFCLASS32;
		memset(bytes + (mode == MODE_ELF64 ? 34 : 30), 0, 6);
		bytes[mode == MODE_ELF64 ? 54 : 42] =
			mode == MODE_ELF64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
		bytes[mode == MODE_ELF64 ? 55 : 43] = 0;
		bytes[mode == MODE_ELF64 ? 57 : 45] = 0;
	}
	if (mode == MODE_MULTIBOOT && size >= 64) {
		uint32_t words[3] = { 0x1badb002 };

		memcpy(&words[1], bytes + 4, 4);
		words[1] &= 0xffff0007;
		words[2] = -(words[0] + words[1]);
		memcpy(bytes + (bytes[63] & 1 ? 0x40 : 0), words, sizeof(words));
	}
	if (mode == MODE_MULTIBOOT2 && size >= 64) {
		uint32_t words[4] = { 0xe85250d6, 0, bytes[8] * 8u };

		words[3] = -(words[0] + words[2]);
		memcpy(bytes, words, sizeof(words));
	}
	if (mode == MODE_SECTOR && size >= 512) {
		bytes[510] = 0x55;
		bytes[511] = 0xaa;
	}
	if (mode == MODE_INITRD_CPIO && size >= 6)
		memcpy(bytes, "070701", 6);
}

static void fill(int fd, const uint8_t *bytes, size_t size)
{
	if (ftruncate(fd, 0) || pwrite(fd, bytes, size, 0) != (ssize_t)size)
		abort();
}

static void setup(void)
{
	struct error err;

	if (ram_create(24 << 20, NULL, &ram, &err) || board_map_ram(ram, &err))
		abort();
	kernel_fd = memfd_create("kernel", 0);
	initrd_fd = memfd_create("initrd", 0);
	snprintf(kernel_path, sizeof(kernel_path), "/proc/self/fd/%d", kernel_fd);
	snprintf(initrd_path, sizeof(initrd_path), "/proc/self/fd/%d", initrd_fd);
	snprintf(modules, sizeof(modules), "%s a,,b c, %s", initrd_path, initrd_path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[INPUT_MAX], good[CODE_AT + 16];
	struct boot_config config = { .kernel = kernel_path, .cmdline = "x", .cpus = 1 };
	struct vcpu_state cpu = { 0 };
	struct error err = { 0 };
	unsigned mode;
	int ret;

	if (!ram)
		setup();
	if (size < 2 || size > INPUT_MAX)
		return 0;
	mode = data[0] % MODES;
	config.kernel = kernel_path;
	memcpy(bytes, data + 1, --size);
	put_right(mode, bytes, size);
	if (mode == MODE_SECTOR && size > 512)
		size = 512;
	if (mode >= MODE_INITRD) {
		fill(kernel_fd, good, good_kernel(good));
		fill(initrd_fd, bytes, size);
		config.initrd = initrd_path;
	} else {
		fill(kernel_fd, bytes, size);
		if (mode == MODE_MULTIBOOT || mode == MODE_MULTIBOOT2)
			config.initrd = module_paths[bytes[size - 1] & 3];
	}
	ret = boot_load(ram, &config, &cpu, &err);
	/* A failure says why; a success has an entry. */
	if (ret < 0 ? !err.what[0] || !err.why[0] || !err.fix[0] : !cpu.cr0)
		abort();
	return 0;
}
