// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The Multiboot protocol, version 2 (Multiboot Specification 2.0).
 *
 * The header is a list of tags in the first 32 KiB (3.1). A tag that is not optional and that we do not
 * know, or whose wish we cannot fulfil, ends the load: EFI (there is none), and information that the board
 * has none of. The kernel is an ELF file of either class or lies where the address tag says, moved when
 * the relocatable tag asks for it. It is entered as 3.3 says, with the information of 3.6.
 *
 * Invariant: a tag is read only after it was found to lie within the header, and the header within
 * what was read of the file.
 */
#include "machine/boot/boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_SIZE = 16, TAG_SIZE = 8, TAG_ALIGN = 8 };
#define HEADER_MAGIC 0xe85250d6u
enum { LOADER_MAGIC = 0x36d76289, ARCHITECTURE_I386 = 0 };
enum { /* 3.1.3: the header's tags */
	HEADER_END,
	HEADER_INFO_REQUEST,
	HEADER_ADDRESS,
	HEADER_ENTRY,
	HEADER_CONSOLE,
	HEADER_FRAMEBUFFER,
	HEADER_MODULE_ALIGN,
	HEADER_EFI_BOOT_SERVICES,
	HEADER_EFI_ENTRY_I386,
	HEADER_EFI_ENTRY_AMD64,
	HEADER_RELOCATABLE,
};
enum { TAG_OPTIONAL = 1, PREFER_HIGHEST = 2 };
enum { /* 3.6: the information's tags */
	INFO_END,
	INFO_CMDLINE,
	INFO_LOADER_NAME,
	INFO_MODULE,
	INFO_MEMORY,
	INFO_MEMMAP = 6,
	INFO_FRAMEBUFFER = 8,
	INFO_ACPI_OLD = 14,
	INFO_ACPI_NEW = 15,
	INFO_LOAD_BASE = 21,
};
enum { RSDP_OLD_SIZE = 20, RSDP_SIZE = 36 };

struct mb2_info {
	uint32_t total_size, reserved;
};

struct mb2_tag {
	uint32_t type, size;
};

/* What the header says. */
struct mb2_wishes {
	bool addresses, entry, relocatable, framebuffer;
	struct multiboot_header at;
	uint32_t min, max, align, preference;
};

/* The kernel in memory. */
struct mb2_kernel {
	uint64_t entry, end, base; /* base: when it can be moved */
};

static uint32_t word(const uint8_t *bytes, size_t at)
{
	uint32_t v;

	memcpy(&v, bytes + at, 4);
	return v;
}

/* --- the header --- */

bool multiboot2_find(const uint8_t *head, size_t len, size_t *offset)
{
	if (len > MULTIBOOT2_SEARCH)
		len = MULTIBOOT2_SEARCH;
	for (size_t at = 0; at + HEADER_SIZE <= len; at += 8) {
		uint32_t size = word(head, at + 8);

		if (word(head, at) != HEADER_MAGIC ||
		    HEADER_MAGIC + word(head, at + 4) + size + word(head, at + 12) != 0)
			continue;
		*offset = at;
		return true;
	}
	return false;
}

static int mb2_cannot(struct boot *b, const char *what, uint32_t number)
{
	return boot_kernel_error(b, -ENOEXEC, boot_fix_kernel, "its Multiboot 2 header asks for %s (tag %u)",
				 what, number);
}

static bool information_known(uint32_t type)
{
	switch (type) {
	case INFO_CMDLINE:
	case INFO_LOADER_NAME:
	case INFO_MODULE:
	case INFO_MEMORY:
	case INFO_MEMMAP:
	case INFO_FRAMEBUFFER:
	case INFO_ACPI_OLD:
	case INFO_ACPI_NEW:
	case INFO_LOAD_BASE: return true;
	default: return false;
	}
}

/* One tag of @size bytes at @tag, its head included. */
static int mb2_tag(struct boot *b, const uint8_t *tag, uint32_t size, struct mb2_wishes *w)
{
	static const uint8_t needs[] = {
		[HEADER_ADDRESS] = 24, [HEADER_ENTRY] = 12, [HEADER_CONSOLE] = 12, [HEADER_FRAMEBUFFER] = 20,
		[HEADER_RELOCATABLE] = 24,
	};
	unsigned type = word(tag, 0) & 0xffff;
	bool optional = word(tag, 0) >> 16 & TAG_OPTIONAL;

	if (type < sizeof(needs) && size < needs[type])
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged,
					 "a tag in its Multiboot 2 header is too short");
	switch (type) {
	case HEADER_INFO_REQUEST:
		for (uint32_t at = TAG_SIZE; at + 4 <= size && !optional; at += 4)
			if (!information_known(word(tag, at)))
				return mb2_cannot(b, "information that there is none of", word(tag, at));
		return 0;
	case HEADER_ADDRESS:
		w->addresses = true;
		w->at.header_addr = word(tag, 8);
		w->at.load_addr = word(tag, 12);
		w->at.load_end_addr = word(tag, 16);
		w->at.bss_end_addr = word(tag, 20);
		return 0;
	case HEADER_ENTRY:
		w->entry = true;
		w->at.entry_addr = word(tag, 8);
		return 0;
	case HEADER_FRAMEBUFFER: w->framebuffer = true; return 0;
	case HEADER_RELOCATABLE:
		w->relocatable = true;
		w->min = word(tag, 8);
		w->max = word(tag, 12);
		w->align = word(tag, 16);
		w->preference = word(tag, 20);
		return 0;
	case HEADER_CONSOLE:
	case HEADER_MODULE_ALIGN: return 0;
	case HEADER_EFI_BOOT_SERVICES:
	case HEADER_EFI_ENTRY_I386:
	case HEADER_EFI_ENTRY_AMD64: return optional ? 0 : mb2_cannot(b, "EFI, which the machine has not", type);
	default: return optional ? 0 : mb2_cannot(b, "something unknown", type);
	}
}

static int mb2_parse(struct boot *b, const uint8_t *head, size_t len, size_t offset, struct mb2_wishes *w)
{
	const uint8_t *header = head + offset;
	uint32_t size = word(header, 8), at = HEADER_SIZE;

	*w = (struct mb2_wishes){ .at.offset = offset };
	if (word(header, 4) != ARCHITECTURE_I386)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_kernel,
					 "its Multiboot 2 header is for another architecture (%u)",
					 word(header, 4));
	if (size > len - offset)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged,
					 "its Multiboot 2 header does not end within the first %zu bytes", len);
	while (at <= size && size - at >= TAG_SIZE) {
		uint32_t tag_size = word(header, at + 4);
		int ret;

		if ((word(header, at) & 0xffff) == HEADER_END)
			return 0;
		if (tag_size < TAG_SIZE || tag_size > size - at)
			return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged,
						 "a tag in its Multiboot 2 header has %u bytes", tag_size);
		ret = mb2_tag(b, header + at, tag_size, w);
		if (ret)
			return ret;
		at += (tag_size + TAG_ALIGN - 1) & ~(uint32_t)(TAG_ALIGN - 1);
	}
	return 0;
}

/* --- the kernel --- */

/* Where an image of [base, end) goes that can be moved; -ENOMEM when nowhere. */
static int mb2_choose(struct boot *b, const struct mb2_wishes *w, uint64_t base, uint64_t end, uint64_t *to)
{
	uint64_t size = end - base, align = w->align ? w->align : 1;
	uint64_t low = w->min > BOOT_HIGH_START ? w->min : BOOT_HIGH_START;
	uint64_t high = w->max + 1ull < b->low_end ? w->max + 1ull : b->low_end;

	if (w->preference != PREFER_HIGHEST && base >= w->min && base <= w->max && base % align == 0 &&
	    size <= w->max - base + 1ull && boot_range_free(b, base, size)) {
		*to = base;
		return 0;
	}
	low = (low + align - 1) / align * align;
	if (low > high || size > high - low)
		return boot_kernel_error(b, -ENOMEM, boot_fix_memory,
					 "there is no memory of %llu KiB where it can be moved to",
					 (unsigned long long)(size + 1023) >> 10);
	*to = w->preference == PREFER_HIGHEST ? (high - size) / align * align : low;
	return 0;
}

static int mb2_load_elf(struct boot *b, const struct mb2_wishes *w, struct mb2_kernel *k)
{
	struct boot_image image = { .file = &b->kernel, .size = b->kernel.size };
	struct elf elf;
	int ret = elf_parse(b, &image, &elf);

	if (ret)
		return ret;
	k->entry = w->entry ? w->at.entry_addr : elf_physical(&elf, elf.entry);
	if (!elf_covers(&elf, k->entry))
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged,
					 "its entry point 0x%llx is not in its segments",
					 (unsigned long long)k->entry);
	if (w->relocatable) {
		uint64_t base = UINT64_MAX, end = 0;

		for (unsigned i = 0; i < elf.segments; i++) {
			const struct elf_segment *s = &elf.segment[i];

			if (s->memsz > UINT32_MAX || s->paddr > UINT32_MAX)
				return elf_place(b, &elf); /* which says so */
			base = s->paddr < base ? s->paddr : base;
			end = s->paddr + s->memsz > end ? s->paddr + s->memsz : end;
		}
		ret = mb2_choose(b, w, base, end, &k->base);
		for (unsigned i = 0; i < elf.segments; i++)
			elf.segment[i].paddr = elf.segment[i].paddr - base + k->base;
		k->entry = k->entry - base + k->base;
	}
	if (!ret)
		ret = elf_place(b, &elf);
	k->end = elf.end;
	return ret ? ret : elf_load(b, &image, &elf);
}

static int mb2_load_addresses(struct boot *b, struct mb2_wishes *w, struct mb2_kernel *k)
{
	struct multiboot_header *at = &w->at;
	uint64_t base, end, len;
	int ret;

	if (!w->entry)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged,
					 "its Multiboot 2 header has addresses, but no entry point");
	if (at->load_addr == UINT32_MAX) /* from the file's beginning */
		at->load_addr = at->header_addr - (uint32_t)at->offset;
	if (w->relocatable) {
		base = at->load_addr;
		len = b->kernel.size < UINT32_MAX ? b->kernel.size : UINT32_MAX;
		end = at->bss_end_addr ? at->bss_end_addr : at->load_end_addr ? at->load_end_addr : base + len;
		if (end < base || end > UINT32_MAX)
			return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged,
						 "the addresses in its Multiboot 2 header end before they begin");
		ret = mb2_choose(b, w, base, end, &k->base);
		if (ret)
			return ret;
		at->header_addr += (uint32_t)(k->base - base);
		at->load_addr = (uint32_t)k->base;
		at->entry_addr += (uint32_t)(k->base - base);
		if (at->load_end_addr)
			at->load_end_addr += (uint32_t)(k->base - base);
		if (at->bss_end_addr)
			at->bss_end_addr += (uint32_t)(k->base - base);
	}
	k->entry = at->entry_addr;
	return multiboot_load_addresses(b, at, &k->end);
}

/* --- the information --- */

/* A tag with @len bytes behind its head, which the caller fills; NULL when the block is full. */
static void *mb2_put(struct mb_block *block, uint32_t type, size_t len)
{
	uint32_t gpa;
	struct mb2_tag *tag = mb_block_take(block, sizeof(*tag) + len, TAG_ALIGN, &gpa);

	if (!tag)
		return NULL;
	*tag = (struct mb2_tag){ type, (uint32_t)(sizeof(*tag) + len) };
	return tag + 1;
}

static void mb2_put_string(struct mb_block *block, uint32_t type, const uint32_t *words, unsigned count,
			   const char *text)
{
	size_t len = strlen(text) + 1;
	uint8_t *at = mb2_put(block, type, count * sizeof(*words) + len);

	if (!at)
		return;
	if (count)
		memcpy(at, words, count * sizeof(*words));
	memcpy(at + count * sizeof(*words), text, len);
}

static void mb2_put_words(struct mb_block *block, uint32_t type, const uint32_t *words, unsigned count)
{
	void *at = mb2_put(block, type, count * sizeof(*words));

	if (at)
		memcpy(at, words, count * sizeof(*words));
}

static void mb2_put_memory(const struct boot *b, struct mb_block *block)
{
	struct memmap_entry map[MEMMAP_MAX];
	unsigned count = memmap_fill(b->ram, map);
	uint32_t basic[2] = { BOOT_EBDA >> 10, (uint32_t)((b->low_end - BOOT_HIGH_START) >> 10) };
	uint32_t shape[2] = { 24, 0 }; /* bytes of an entry, version */
	uint8_t *at;

	mb2_put_words(block, INFO_MEMORY, basic, 2);
	at = mb2_put(block, INFO_MEMMAP, sizeof(shape) + count * (size_t)shape[0]);
	if (!at)
		return;
	memcpy(at, shape, sizeof(shape));
	for (unsigned i = 0; i < count; i++) {
		uint8_t *entry = at + sizeof(shape) + i * (size_t)shape[0];

		memcpy(entry, &map[i].base, 8);
		memcpy(entry + 8, &map[i].size, 8);
		memcpy(entry + 16, &map[i].type, 4);
	}
}

/* Copies of the RSDP, as ACPI 1.0 has it and whole. */
static int mb2_put_rsdp(struct boot *b, struct mb_block *block)
{
	uint8_t rsdp[RSDP_SIZE];
	int ret = ram_read(b->ram, b->rsdp, rsdp, sizeof(rsdp));
	void *at;

	if (ret)
		return boot_kernel_read_error(b, ret);
	at = mb2_put(block, INFO_ACPI_OLD, RSDP_OLD_SIZE);
	if (at)
		memcpy(at, rsdp, RSDP_OLD_SIZE);
	at = mb2_put(block, INFO_ACPI_NEW, RSDP_SIZE);
	if (at)
		memcpy(at, rsdp, RSDP_SIZE);
	return 0;
}

static int mb2_fill_info(struct boot *b, struct mb_block *block, const struct mb2_wishes *w,
			 const struct mb2_kernel *k, const struct boot_modules *modules)
{
	static const uint32_t text_mode[6] = { TEXT_BASE,    0,		TEXT_PITCH,
					       TEXT_COLUMNS, TEXT_ROWS, 16 | FRAMEBUFFER_TEXT << 8 };
	struct mb2_info *info;
	uint32_t gpa, base = (uint32_t)k->base;
	int ret;

	info = mb_block_take(block, sizeof(*info), TAG_ALIGN, &gpa);
	mb2_put_string(block, INFO_CMDLINE, NULL, 0, b->cmdline);
	mb2_put_string(block, INFO_LOADER_NAME, NULL, 0, MULTIBOOT_LOADER_NAME);
	for (unsigned i = 0; i < modules->count; i++) {
		uint32_t words[2] = { modules->module[i].start, modules->module[i].end };

		mb2_put_string(block, INFO_MODULE, words, 2, modules->module[i].string);
	}
	mb2_put_memory(b, block);
	if (w->framebuffer)
		mb2_put_words(block, INFO_FRAMEBUFFER, text_mode, 6);
	ret = mb2_put_rsdp(b, block);
	if (ret)
		return ret;
	if (w->relocatable)
		mb2_put_words(block, INFO_LOAD_BASE, &base, 1);
	mb2_put(block, INFO_END, 0);
	info->total_size = (uint32_t)block->len;
	return mb_block_write(b, block);
}

int multiboot2_load(struct boot *b, const uint8_t *head, size_t len, size_t offset)
{
	struct boot_modules modules = { 0 };
	struct mb2_kernel k = { 0 };
	struct mb2_wishes w;
	struct mb_block *block = NULL;
	int ret = mb2_parse(b, head, len, offset, &w);

	if (!ret)
		ret = w.addresses ? mb2_load_addresses(b, &w, &k) : mb2_load_elf(b, &w, &k);
	if (!ret)
		ret = modules_load(b, k.end, &modules);
	if (!ret) {
		block = calloc(1, sizeof(*block));
		ret = block ? mb2_fill_info(b, block, &w, &k, &modules) : boot_kernel_read_error(b, -ENOMEM);
	}
	free(block);
	modules_free(&modules);
	if (ret)
		return ret;
	ret = entry_protected_mode(b, (uint32_t)k.entry, BOOT_PARAMS);
	if (ret)
		return boot_kernel_read_error(b, ret);
	b->bsp->gpr[RAX] = LOADER_MAGIC;
	return 0;
}
