// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The PVH boot protocol (Xen docs/misc/pvh.pandoc, include/public/arch-x86/hvm/start_info.h): an
 * ELF kernel whose note XEN_ELFNOTE_PHYS32_ENTRY names its entry, in 32-bit protected mode without
 * paging, with EBX pointing at hvm_start_info.
 */
#include "machine/boot/boot.h"

#include <errno.h>
#include <string.h>

#define START_MAGIC 0x336ec578u

struct hvm_start_info { /* version 1 */
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
	uint32_t memmap_entries, reserved;
};

struct hvm_modlist_entry {
	uint64_t paddr, size, cmdline_paddr, reserved;
};

struct hvm_memmap_entry {
	uint64_t addr, size;
	uint32_t type, reserved;
};

/* The page of boot parameters. */
struct pvh_page {
	struct hvm_start_info info;
	struct hvm_modlist_entry module;
	struct hvm_memmap_entry map[MEMMAP_MAX];
};
_Static_assert(sizeof(struct pvh_page) <= BOOT_CMDLINE - BOOT_PARAMS, "fits before the command line");

static int pvh_write_info(struct boot *b, uint64_t initrd, uint64_t initrd_size)
{
	struct memmap_entry map[MEMMAP_MAX];
	struct pvh_page page = {
		.info = {
			.magic = START_MAGIC,
			.version = 1,
			.nr_modules = initrd_size ? 1 : 0,
			.modlist_paddr = initrd_size ? BOOT_PARAMS + offsetof(struct pvh_page, module) : 0,
			.cmdline_paddr = BOOT_CMDLINE,
			.rsdp_paddr = b->rsdp,
			.memmap_paddr = BOOT_PARAMS + offsetof(struct pvh_page, map),
			.memmap_entries = memmap_fill(b->ram, map),
		},
		.module = { .paddr = initrd, .size = initrd_size },
	};

	for (unsigned i = 0; i < page.info.memmap_entries; i++)
		page.map[i] = (struct hvm_memmap_entry){ map[i].base, map[i].size, map[i].type, 0 };
	return ram_write(b->ram, BOOT_PARAMS, &page, sizeof(page));
}

static int pvh_check(struct boot *b, const struct elf *elf)
{
	if (!elf->has_pvh)
		return boot_kernel_error(
			b, -ENOEXEC, "name the bzImage of this kernel, or build it with CONFIG_PVH",
			"it is an ELF file without a PVH entry (note XEN_ELFNOTE_PHYS32_ENTRY)");
	if (elf->pvh_entry > UINT32_MAX || !elf_covers(elf, elf->pvh_entry))
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged,
					 "its PVH entry point 0x%llx is not in its segments",
					 (unsigned long long)elf->pvh_entry);
	return 0;
}

int pvh_load(struct boot *b)
{
	struct boot_image image = { .file = &b->kernel, .size = b->kernel.size };
	uint64_t initrd = 0, initrd_size = 0;
	struct elf elf;
	int ret = elf_parse(b, &image, &elf);

	if (!ret)
		ret = pvh_check(b, &elf);
	if (!ret)
		ret = elf_place(b, &elf);
	if (!ret)
		ret = boot_write_cmdline(b, BOOT_CMDLINE_MAX);
	if (!ret)
		ret = elf_load(b, &image, &elf);
	if (!ret)
		ret = initrd_load(b, elf.end > BOOT_HIGH_START ? elf.end : BOOT_HIGH_START, b->low_end, &initrd,
				  &initrd_size);
	if (ret)
		return ret;
	ret = pvh_write_info(b, initrd, initrd_size);
	if (!ret)
		ret = entry_protected_mode(b, (uint32_t)elf.pvh_entry, BOOT_PARAMS);
	return ret ? boot_kernel_read_error(b, ret) : 0;
}
