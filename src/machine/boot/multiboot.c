// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The Multiboot protocol, version 1 (Multiboot Specification 0.6.96).
 *
 * The header is searched in the first 8 KiB (3.1); it says what the kernel wants, and with bit 16
 * where it belongs. Without that bit the kernel is an ELF file of either class. It is entered as 3.2
 * says, with the information of 3.3: memory, command line, modules, memory map, the loader's name, and
 * the text mode that the display is in when the header asks for one. There is nothing to tell of
 * symbols, drives, a configuration table, APM, and VBE.
 *
 * The command line is the user's alone, "independently of other factors like image name" (3.3).
 */
#include "machine/boot/boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SEARCH = 8192, HEADER_MIN = 12, HEADER_KLUDGE = 32, HEADER_VIDEO = 48 };
enum { HEADER_MAGIC = 0x1badb002, LOADER_MAGIC = 0x2badb002 };
enum { /* the header's flags */
	WANT_PAGE_ALIGN = 1 << 0,
	WANT_MEMORY = 1 << 1,
	WANT_VIDEO = 1 << 2,
	MANDATORY = 0xffff,
	HAS_ADDRESSES = 1 << 16,
};
enum { /* the information's flags */
	INFO_MEMORY = 1 << 0,
	INFO_CMDLINE = 1 << 2,
	INFO_MODULES = 1 << 3,
	INFO_MEMMAP = 1 << 6,
	INFO_LOADER_NAME = 1 << 9,
	INFO_FRAMEBUFFER = 1 << 12,
};

struct mb_info { /* 3.3, "Boot information format" */
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
	uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name, apm_table;
	uint32_t vbe_control_info, vbe_mode_info, vbe_mode_and_interface[2];
	uint64_t framebuffer_addr;
	uint32_t framebuffer_pitch, framebuffer_width, framebuffer_height;
	uint8_t framebuffer_bpp, framebuffer_type, color_info[6];
} __attribute__((packed));
_Static_assert(offsetof(struct mb_info, framebuffer_addr) == 88 && sizeof(struct mb_info) == 116,
	       "the specification's offsets");

struct mb_module {
	uint32_t start, end, string, reserved;
};

struct mb_memmap {
	uint32_t size; /* of what follows */
	uint64_t base, length;
	uint32_t type;
} __attribute__((packed));

static uint32_t word(const uint8_t *bytes, size_t at)
{
	uint32_t v;

	memcpy(&v, bytes + at, 4);
	return v;
}

/* --- the header --- */

bool multiboot_find(const uint8_t *head, size_t len, struct multiboot_header *h)
{
	if (len > SEARCH)
		len = SEARCH;
	for (size_t at = 0; at + HEADER_MIN <= len; at += 4) {
		if (word(head, at) != HEADER_MAGIC || HEADER_MAGIC + word(head, at + 4) + word(head, at + 8) != 0)
			continue;
		*h = (struct multiboot_header){ .offset = at, .flags = word(head, at + 4) };
		if (!(h->flags & HAS_ADDRESSES))
			return true;
		if (len - at < HEADER_KLUDGE)
			continue;
		h->header_addr = word(head, at + 12);
		h->load_addr = word(head, at + 16);
		h->load_end_addr = word(head, at + 20);
		h->bss_end_addr = word(head, at + 24);
		h->entry_addr = word(head, at + 28);
		return true;
	}
	return false;
}

static int mb_bad_header(struct boot *b, const char *what)
{
	return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged, "the addresses in its Multiboot header %s", what);
}

/* --- the kernel --- */

int multiboot_load_addresses(struct boot *b, const struct multiboot_header *h, uint64_t *end)
{
	struct boot_image image = { .file = &b->kernel, .size = b->kernel.size };
	uint64_t before = h->header_addr - h->load_addr, offset, len, memory;
	int ret;

	if (h->load_addr > h->header_addr || before > h->offset)
		return mb_bad_header(b, "begin before the file");
	offset = h->offset - before;
	len = image.size - offset;
	if (h->load_end_addr) {
		if (h->load_end_addr < h->load_addr)
			return mb_bad_header(b, "end before they begin");
		if (h->load_end_addr - h->load_addr > len)
			return boot_kernel_error(b, -ENODATA, boot_fix_damaged,
						 "it ends after %llu bytes, inside what it wants loaded",
						 (unsigned long long)image.size);
		len = h->load_end_addr - h->load_addr;
	}
	memory = len;
	if (h->bss_end_addr) {
		if (h->bss_end_addr < h->load_addr + len)
			return mb_bad_header(b, "have no room for what is in the file");
		memory = h->bss_end_addr - h->load_addr;
	}
	if (h->entry_addr < h->load_addr || h->entry_addr - h->load_addr >= memory)
		return mb_bad_header(b, "do not hold its entry point");
	if (!boot_range_free(b, h->load_addr, memory))
		return boot_kernel_error(b, -ENOMEM, boot_fix_memory,
					 "it needs memory from 0x%llx to 0x%llx, which the guest has not",
					 (unsigned long long)h->load_addr,
					 (unsigned long long)(h->load_addr + memory));
	ret = boot_image_to_ram(&image, offset, len, b->ram, h->load_addr);
	if (!ret && memory > len)
		ret = ram_fill(b->ram, h->load_addr + len, 0, memory - len);
	if (ret)
		return boot_kernel_read_error(b, ret);
	*end = h->load_addr + memory;
	return 0;
}

int multiboot_load_elf(struct boot *b, uint32_t *entry, uint64_t *end)
{
	struct boot_image image = { .file = &b->kernel, .size = b->kernel.size };
	uint8_t magic[4];
	struct elf elf;
	int ret = boot_file_read(&b->kernel, 0, magic, sizeof(magic));

	if (ret)
		return boot_kernel_read_error(b, ret);
	if (!elf_detect(magic, sizeof(magic)))
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged,
					 "its Multiboot header has no addresses, and it is no ELF file");
	ret = elf_parse(b, &image, &elf);
	if (!ret)
		ret = elf_place(b, &elf);
	if (ret)
		return ret;
	elf.entry = elf_physical(&elf, elf.entry);
	if (!elf_covers(&elf, elf.entry))
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged,
					 "its entry point 0x%llx is not in its segments",
					 (unsigned long long)elf.entry);
	*entry = (uint32_t)elf.entry;
	*end = elf.end;
	return elf_load(b, &image, &elf);
}

static int mb_load_kernel(struct boot *b, const struct multiboot_header *h, uint32_t *entry, uint64_t *end)
{
	if (h->flags & MANDATORY & ~(WANT_PAGE_ALIGN | WANT_MEMORY | WANT_VIDEO))
		return boot_kernel_error(b, -ENOEXEC, boot_fix_kernel,
					 "its Multiboot header asks for something unknown (flags 0x%x)",
					 h->flags & MANDATORY);
	if (!(h->flags & HAS_ADDRESSES))
		return multiboot_load_elf(b, entry, end);
	*entry = h->entry_addr;
	return multiboot_load_addresses(b, h, end);
}

/* --- the information --- */

void *mb_block_take(struct mb_block *block, uint64_t len, unsigned align, uint32_t *gpa)
{
	uint64_t at = (block->len + align - 1) & ~(uint64_t)(align - 1);

	if (block->full || len > sizeof(block->bytes) || at > sizeof(block->bytes) - len) {
		block->full = true;
		return NULL;
	}
	block->len = at + len;
	*gpa = (uint32_t)(BOOT_PARAMS + at);
	return block->bytes + at;
}

static uint32_t block_string(struct mb_block *block, const char *text)
{
	size_t len = strlen(text) + 1;
	uint32_t gpa = 0;
	void *at = mb_block_take(block, len, 1, &gpa);

	if (at)
		memcpy(at, text, len);
	return gpa;
}

int mb_block_write(struct boot *b, const struct mb_block *block)
{
	int ret;

	if (block->full)
		return error_set(b->err, -E2BIG, STATUS_INPUT, "cannot boot the kernel %s",
				 "the command line and the modules' strings have more than %zu bytes",
				 "shorten --cmdline and --initrd", b->kernel.path, sizeof(block->bytes) - 1024);
	ret = ram_write(b->ram, BOOT_PARAMS, block->bytes, block->len);
	return ret ? boot_kernel_read_error(b, ret) : 0;
}

static void info_modules(struct mb_block *block, struct mb_info *info, const struct boot_modules *modules)
{
	uint32_t gpa = 0;
	struct mb_module *m = mb_block_take(block, modules->count * sizeof(*m), 4, &gpa);

	info->mods_addr = gpa;
	info->mods_count = modules->count;
	for (unsigned i = 0; m && i < modules->count; i++)
		m[i] = (struct mb_module){ modules->module[i].start, modules->module[i].end,
					   block_string(block, modules->module[i].string), 0 };
}

static void info_memory(const struct boot *b, struct mb_block *block, struct mb_info *info)
{
	struct memmap_entry map[MEMMAP_MAX];
	unsigned count = memmap_fill(b->ram, map);
	uint32_t gpa = 0;
	struct mb_memmap *m = mb_block_take(block, count * sizeof(*m), 4, &gpa);

	info->mmap_addr = gpa;
	info->mem_lower = BOOT_EBDA >> 10;
	info->mem_upper = (uint32_t)((b->low_end - BOOT_HIGH_START) >> 10);
	info->mmap_length = (uint32_t)(count * sizeof(*m));
	for (unsigned i = 0; m && i < count; i++)
		m[i] = (struct mb_memmap){ sizeof(*m) - 4, map[i].base, map[i].size, map[i].type };
}

static int mb_write_info(struct boot *b, const struct multiboot_header *h, const struct boot_modules *modules)
{
	struct mb_info info = { .flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MEMMAP | INFO_LOADER_NAME };
	struct mb_block *block = calloc(1, sizeof(*block));
	uint32_t gpa;
	int ret = -ENOMEM;

	if (block) {
		mb_block_take(block, sizeof(info), 8, &gpa);
		info_memory(b, block, &info);
		info_modules(block, &info, modules);
		info.cmdline = block_string(block, b->cmdline);
		info.boot_loader_name = block_string(block, MULTIBOOT_LOADER_NAME);
		if (h->flags & WANT_VIDEO) {
			info.flags |= INFO_FRAMEBUFFER;
			info.framebuffer_addr = TEXT_BASE;
			info.framebuffer_pitch = TEXT_PITCH;
			info.framebuffer_width = TEXT_COLUMNS;
			info.framebuffer_height = TEXT_ROWS;
			info.framebuffer_bpp = 16;
			info.framebuffer_type = FRAMEBUFFER_TEXT;
		}
		memcpy(block->bytes, &info, sizeof(info));
		ret = mb_block_write(b, block);
	} else {
		boot_kernel_read_error(b, ret);
	}
	free(block);
	return ret;
}

int multiboot_load(struct boot *b, const struct multiboot_header *h)
{
	struct boot_modules modules = { 0 };
	uint32_t entry = 0;
	uint64_t end = 0;
	int ret = mb_load_kernel(b, h, &entry, &end);

	if (!ret)
		ret = modules_load(b, end, &modules);
	if (!ret)
		ret = mb_write_info(b, h, &modules);
	modules_free(&modules);
	if (ret)
		return ret;
	ret = entry_protected_mode(b, entry, BOOT_PARAMS);
	if (ret)
		return boot_kernel_read_error(b, ret);
	b->bsp->gpr[RAX] = LOADER_MAGIC;
	return 0;
}
