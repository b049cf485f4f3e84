// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The Linux boot protocol for x86 (Linux Documentation/arch/x86/boot.rst and zero-page.rst): the 64-bit
 * entry for kernels that have one, the 32-bit entry for others.
 *
 * A bzImage is a real-mode part (setup sectors, with the setup header), a protected-mode part (the
 * decompressor), and in this the packed vmlinux. We unpack vmlinux here, where that runs at the
 * host's speed, and enter it as the decompressor would: without relocation, at the address that
 * it was linked for. When we do not know how to unpack it, the decompressor is entered instead.
 */
#include "machine/boot/boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGE_MAX = BOOT_PAYLOAD_MAX, SECTOR = 512, PARAGRAPH = 16, VERSION_MIN = 0x20a, VERSION_XLOADFLAGS = 0x20c };

/* Offsets in the file and in boot_params ("The real-mode kernel header"; zero-page.rst). */
enum {
	HDR_SETUP_SECTS = 0x1f1,
	HDR_SYSSIZE = 0x1f4,
	HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP = 0x200, /* its second byte: the header ends at 0x202 + it */
	HDR_HEADER = 0x202,
	HDR_VERSION = 0x206,
	HDR_TYPE_OF_LOADER = 0x210,
	HDR_LOADFLAGS = 0x211,
	HDR_CODE32_START = 0x214,
	HDR_RAMDISK_IMAGE = 0x218,
	HDR_RAMDISK_SIZE = 0x21c,
	HDR_CMD_LINE_PTR = 0x228,
	HDR_INITRD_ADDR_MAX = 0x22c,
	HDR_KERNEL_ALIGNMENT = 0x230,
	HDR_RELOCATABLE = 0x234,
	HDR_XLOADFLAGS = 0x236,
	HDR_CMDLINE_SIZE = 0x238,
	HDR_PAYLOAD_OFFSET = 0x248,
	HDR_PAYLOAD_LENGTH = 0x24c,
	HDR_PREF_ADDRESS = 0x258,
	HDR_INIT_SIZE = 0x260,
	HDR_END_MIN = 0x264,
	HDR_END_MAX = 0x290, /* boot_params has something else there */
	PARAMS_SCREEN_MODE = 0x006, /* struct screen_info */
	PARAMS_SCREEN_COLUMNS = 0x007,
	PARAMS_SCREEN_EGA_BX = 0x00a,
	PARAMS_SCREEN_LINES = 0x00e,
	PARAMS_SCREEN_IS_VGA = 0x00f,
	PARAMS_SCREEN_POINTS = 0x010,
	PARAMS_ACPI_RSDP = 0x070,
	PARAMS_E820_ENTRIES = 0x1e8,
	PARAMS_E820_TABLE = 0x2d0, /* 20 bytes each: address, size, type */
	PARAMS_SIZE = 4096,
};
enum {
	BOOT_FLAG = 0xaa55,
	LOADER_UNDEFINED = 0xff,
	LOADED_HIGH = 1 << 0,
	XLF_KERNEL_64 = 1 << 0,
	ENTRY_64 = 0x200, /* of the protected-mode part */
};

struct linux_image {
	uint8_t *bytes;
	size_t len;
	size_t setup_len; /* the protected-mode part begins here */
	size_t system_len;
	size_t header_end;
	uint32_t initrd_addr_max, kernel_alignment, cmdline_size, init_size;
	uint64_t pref_address;
	bool relocatable, wide; /* wide: there is a 64-bit entry */
};

static uint64_t get(const uint8_t *bytes, size_t at, size_t size)
{
	uint64_t v = 0;

	memcpy(&v, bytes + at, size);
	return v;
}

static void put(uint8_t *bytes, size_t at, size_t size, uint64_t v)
{
	memcpy(bytes + at, &v, size);
}

/* --- the setup header --- */

static int linux_truncated(struct boot *b, const char *where)
{
	return boot_kernel_error(b, -ENODATA, boot_fix_damaged, "it ends after %llu bytes, inside %s",
				 (unsigned long long)b->kernel.size, where);
}

static int linux_read(struct boot *b, struct linux_image *k)
{
	int ret;

	if (b->kernel.size < HDR_END_MIN)
		return linux_truncated(b, "its setup header");
	if (b->kernel.size > IMAGE_MAX)
		return boot_kernel_error(b, -EFBIG, boot_fix_kernel,
					 "it has %llu MiB, and a bzImage at most %u",
					 (unsigned long long)b->kernel.size >> 20, IMAGE_MAX >> 20);
	k->len = b->kernel.size;
	k->bytes = malloc(k->len);
	ret = k->bytes ? boot_file_read(&b->kernel, 0, k->bytes, k->len) : -ENOMEM;
	return ret ? boot_kernel_read_error(b, ret) : 0;
}

static int linux_check_header(struct boot *b, const struct linux_image *k)
{
	unsigned version = get(k->bytes, HDR_VERSION, 2);

	if (get(k->bytes, HDR_BOOT_FLAG, 2) != BOOT_FLAG || memcmp(k->bytes + HDR_HEADER, "HdrS", 4) != 0)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged, "its setup header has no boot flag");
	if (version < VERSION_MIN)
		return boot_kernel_error(
			b, -ENOEXEC, "name a Linux kernel of version 2.6.31 or later with --kernel",
			"it knows the boot protocol only up to %u.%02u, which does not tell the memory it needs",
			version >> 8, version & 0xff);
	if (!(k->bytes[HDR_LOADFLAGS] & LOADED_HIGH))
		return boot_kernel_error(b, -ENOEXEC, boot_fix_kernel, "it is a zImage, not a bzImage");
	return 0;
}

static int linux_parse(struct boot *b, struct linux_image *k)
{
	unsigned sectors = k->bytes[HDR_SETUP_SECTS];
	int ret = linux_check_header(b, k);

	if (ret)
		return ret;
	k->setup_len = ((sectors ? sectors : 4) + 1) * (size_t)SECTOR;
	k->system_len = get(k->bytes, HDR_SYSSIZE, 4) * PARAGRAPH;
	k->header_end = HDR_HEADER + k->bytes[HDR_JUMP + 1];
	if (k->header_end > HDR_END_MAX)
		k->header_end = HDR_END_MAX;
	if (k->header_end < HDR_END_MIN)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged,
					 "its setup header is too short for its version");
	if (k->len < k->setup_len || k->len < k->header_end)
		return linux_truncated(b, "its setup sectors");
	/* The size counts paragraphs, and not every image fills its last one (memtest86+). */
	if (k->system_len >= k->len - k->setup_len + PARAGRAPH)
		return linux_truncated(b, "its protected-mode part");
	if (k->system_len > k->len - k->setup_len)
		k->system_len = k->len - k->setup_len;
	k->initrd_addr_max = get(k->bytes, HDR_INITRD_ADDR_MAX, 4);
	k->kernel_alignment = get(k->bytes, HDR_KERNEL_ALIGNMENT, 4);
	k->cmdline_size = get(k->bytes, HDR_CMDLINE_SIZE, 4);
	k->init_size = get(k->bytes, HDR_INIT_SIZE, 4);
	k->pref_address = get(k->bytes, HDR_PREF_ADDRESS, 8);
	k->relocatable = k->bytes[HDR_RELOCATABLE];
	k->wide = get(k->bytes, HDR_VERSION, 2) >= VERSION_XLOADFLAGS &&
		  get(k->bytes, HDR_XLOADFLAGS, 2) & XLF_KERNEL_64;
	return 0;
}

/* --- the kernel --- */

/* Where the kernel is: its first byte, where it is entered, the end of the memory that it needs. */
struct placed {
	uint64_t start, entry, end;
};

/* What the kernel will use from where it runs, before it knows the memory map. */
static int linux_check_memory(struct boot *b, uint64_t base, uint64_t size)
{
	if (boot_range_free(b, base, size))
		return 0;
	return boot_kernel_error(b, -ENOMEM, boot_fix_memory,
				 "it needs memory from 0x%llx to 0x%llx, and the guest's ends at 0x%llx",
				 (unsigned long long)base, (unsigned long long)(base + size),
				 (unsigned long long)b->low_end);
}

/*
 * Enters vmlinux itself. Returns 1 with @p filled, 0 when the payload is no vmlinux, or a negative
 * errno.
 */
static int linux_place_vmlinux(struct boot *b, const struct linux_image *k, const struct boot_image *vmlinux,
			       struct placed *p)
{
	struct elf elf;
	int ret;

	if (!elf_detect(vmlinux->bytes, vmlinux->size))
		return 0;
	ret = elf_parse(b, vmlinux, &elf);
	if (ret)
		return ret;
	if (elf.wide != k->wide)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged,
					 "its header is of a %u-bit kernel, and its payload is none",
					 k->wide ? 64 : 32);
	elf.entry = elf_physical(&elf, elf.entry);
	if (!elf_covers(&elf, elf.entry))
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged,
					 "its entry point 0x%llx is not in its segments",
					 (unsigned long long)elf.entry);
	ret = elf_place(b, &elf);
	if (ret)
		return ret;
	*p = (struct placed){ .start = k->pref_address, .entry = elf.entry, .end = elf.end };
	if (k->pref_address + k->init_size > p->end)
		p->end = k->pref_address + k->init_size;
	ret = linux_check_memory(b, p->start, p->end - p->start);
	if (!ret)
		ret = elf_load(b, vmlinux, &elf);
	return ret ? ret : 1;
}

/* Enters the decompressor. A kernel that can be relocated runs best where it prefers to be. */
static int linux_place_system(struct boot *b, const struct linux_image *k, struct placed *p)
{
	uint64_t base = k->relocatable ? k->pref_address : BOOT_HIGH_START, align = k->kernel_alignment;
	uint64_t size = k->init_size > k->system_len ? k->init_size : k->system_len;
	uint64_t entry = k->wide ? ENTRY_64 : 0;
	int ret;

	if (k->relocatable && align && !(align & (align - 1)))
		base = (base + align - 1) & ~(align - 1);
	if (k->system_len <= entry)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged, "its protected-mode part is empty");
	ret = linux_check_memory(b, base, size);
	/* One that cannot be relocated unpacks itself to where it prefers to be. */
	if (!ret && !k->relocatable && k->init_size)
		ret = linux_check_memory(b, k->pref_address, k->init_size);
	if (ret)
		return ret;
	*p = (struct placed){ .start = base, .entry = base + entry, .end = base + size };
	if (!k->relocatable && k->pref_address + k->init_size > p->end)
		p->end = k->pref_address + k->init_size;
	ret = ram_write(b->ram, base, k->bytes + k->setup_len, k->system_len);
	return ret ? boot_kernel_read_error(b, ret) : 0;
}

static int linux_place(struct boot *b, const struct linux_image *k, struct placed *p)
{
	uint64_t offset = get(k->bytes, HDR_PAYLOAD_OFFSET, 4), len = get(k->bytes, HDR_PAYLOAD_LENGTH, 4);
	struct boot_image vmlinux = { 0 };
	uint8_t *bytes = NULL;
	int ret = 0;

	if (offset > k->system_len || len > k->system_len - offset)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged, "its payload lies outside of it");
	/* An address that wraps around is none. */
	if (k->pref_address > UINT32_MAX)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_damaged, "it wants to run at 0x%llx",
					 (unsigned long long)k->pref_address);
	if (len) {
		ret = payload_unpack(b, k->bytes + k->setup_len + offset, len, &bytes, &vmlinux.size);
		vmlinux.bytes = bytes;
	}
	if (ret == 1)
		ret = linux_place_vmlinux(b, k, &vmlinux, p);
	free(bytes);
	return ret ? (ret < 0 ? ret : 0) : linux_place_system(b, k, p);
}

/* --- boot_params --- */

static void linux_e820(const struct boot *b, uint8_t *params)
{
	struct memmap_entry map[MEMMAP_MAX];
	unsigned count = memmap_fill(b->ram, map);

	for (unsigned i = 0; i < count; i++) {
		size_t at = PARAMS_E820_TABLE + i * 20;

		put(params, at, 8, map[i].base);
		put(params, at + 8, 8, map[i].size);
		put(params, at + 16, 4, map[i].type);
	}
	params[PARAMS_E820_ENTRIES] = (uint8_t)count;
}

/* The display is a VGA in mode 3. */
static void linux_screen(uint8_t *params)
{
	params[PARAMS_SCREEN_MODE] = 3;
	params[PARAMS_SCREEN_COLUMNS] = TEXT_COLUMNS;
	params[PARAMS_SCREEN_EGA_BX] = 3; /* memory of 256 KiB, as a VGA says */
	params[PARAMS_SCREEN_LINES] = TEXT_ROWS;
	params[PARAMS_SCREEN_IS_VGA] = 1;
	params[PARAMS_SCREEN_POINTS] = 16;
}

static int linux_write_params(struct boot *b, const struct linux_image *k, uint64_t start, uint64_t initrd,
			      uint64_t initrd_size)
{
	uint8_t params[PARAMS_SIZE] = { 0 };

	memcpy(params + HDR_SETUP_SECTS, k->bytes + HDR_SETUP_SECTS, k->header_end - HDR_SETUP_SECTS);
	params[HDR_TYPE_OF_LOADER] = LOADER_UNDEFINED;
	params[HDR_LOADFLAGS] = LOADED_HIGH;
	put(params, HDR_CODE32_START, 4, start);
	put(params, HDR_RAMDISK_IMAGE, 4, initrd);
	put(params, HDR_RAMDISK_SIZE, 4, initrd_size);
	put(params, HDR_CMD_LINE_PTR, 4, BOOT_CMDLINE);
	put(params, PARAMS_ACPI_RSDP, 8, b->rsdp);
	linux_screen(params);
	linux_e820(b, params);
	return ram_write(b->ram, BOOT_PARAMS, params, sizeof(params));
}

static int linux_boot(struct boot *b, struct linux_image *k)
{
	uint64_t initrd = 0, initrd_size = 0, ceiling;
	struct placed p = { 0 };
	int ret = linux_parse(b, k);

	if (!ret)
		ret = boot_write_cmdline(b, k->cmdline_size);
	if (!ret)
		ret = linux_place(b, k, &p);
	if (ret)
		return ret;
	ceiling = k->initrd_addr_max + 1ull < b->low_end ? k->initrd_addr_max + 1ull : b->low_end;
	ret = initrd_load(b, p.end, ceiling, &initrd, &initrd_size);
	if (ret)
		return ret;
	ret = linux_write_params(b, k, p.start, initrd, initrd_size);
	if (!ret)
		ret = k->wide ? entry_long_mode(b, p.entry, BOOT_PARAMS)
			      : entry_linux32(b, (uint32_t)p.entry, BOOT_PARAMS);
	return ret ? boot_kernel_read_error(b, ret) : 0;
}

int linux_load(struct boot *b)
{
	struct linux_image k = { 0 };
	int ret = linux_read(b, &k);

	if (!ret)
		ret = linux_boot(b, &k);
	free(k.bytes);
	return ret;
}
