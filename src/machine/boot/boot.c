// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * boot_load: which kind of kernel a file is, and what is common to all of them: firmware tables,
 * the command line, errors.
 */
#include "machine/boot/boot.h"

#include "machine/acpi/acpi.h"
#include "machine/mptable.h"
#include "machine/ram_map.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char boot_fix_kernel[] =
	"name a Linux bzImage, or an ELF kernel with a PVH note or a Multiboot header, with --kernel";
const char boot_fix_damaged[] = "fetch or build the kernel again";
const char boot_fix_memory[] = "give the guest more memory with --mem";

int boot_kernel_error(struct boot *b, int errnum, const char *fix, const char *why, ...)
{
	char text[sizeof(b->err->why)];
	va_list args;

	va_start(args, why);
	vsnprintf(text, sizeof(text), why, args);
	va_end(args);
	return error_set(b->err, errnum, STATUS_INPUT, "cannot load the kernel %s", "%s", "%s",
			 b->kernel.path, text, fix);
}

int boot_kernel_read_error(struct boot *b, int errnum)
{
	if (errnum == -ENODATA)
		return boot_kernel_error(b, errnum, boot_fix_damaged, "it ends too early, after %llu bytes",
					 (unsigned long long)b->kernel.size);
	if (errnum == -ENOMEM)
		return error_set(b->err, errnum, STATUS_HOST, "cannot load the kernel %s",
				 "the host has no memory left", "end other programs", b->kernel.path);
	return boot_kernel_error(b, errnum, "name a file that can be read", "%s", strerror(-errnum));
}

bool boot_range_free(const struct boot *b, uint64_t gpa, uint64_t len)
{
	uint64_t end = gpa < BOOT_DATA ? BOOT_DATA : b->low_end;

	if (gpa < BOOT_LOW_START || (gpa >= BOOT_DATA && gpa < BOOT_HIGH_START) || gpa > end)
		return false;
	return len <= end - gpa;
}

int boot_write_cmdline(struct boot *b, uint64_t max)
{
	size_t len = strlen(b->cmdline);

	if (max > BOOT_CMDLINE_MAX - 1)
		max = BOOT_CMDLINE_MAX - 1;
	if (len > max)
		return error_set(b->err, -E2BIG, STATUS_INPUT, "cannot boot the kernel %s",
				 "the command line has %zu bytes, and this kernel takes %llu",
				 "shorten --cmdline", b->kernel.path, len, (unsigned long long)max);
	return ram_write(b->ram, BOOT_CMDLINE, b->cmdline, len + 1);
}

/* The bytes of the BIOS data area that kernels look at: COM1, EBDA segment, KiB of low memory. */
static int boot_write_bda(struct boot *b)
{
	uint16_t com1 = 0x3f8, ebda = BOOT_EBDA >> 4, kib = BOOT_EBDA >> 10;
	int ret = ram_write(b->ram, BOOT_BDA + 0x00, &com1, 2);

	if (!ret)
		ret = ram_write(b->ram, BOOT_BDA + 0x0e, &ebda, 2);
	if (!ret)
		ret = ram_write(b->ram, BOOT_BDA + 0x13, &kib, 2);
	return ret;
}

/* --- what kind of file --- */

static bool has(const uint8_t *head, size_t len, size_t at, const char *magic, size_t magic_len)
{
	return len >= at + magic_len && memcmp(head + at, magic, magic_len) == 0;
}

/* What a file that is no kernel for us seems to be; NULL when there is no telling. */
static const char *foreign_kind(const uint8_t *head, size_t len)
{
	if (has(head, len, 0x38, "ARM\x64", 4))
		return "it is a kernel image for 64-bit ARM";
	if (has(head, len, 0x38, "RSC\x05", 4) || has(head, len, 0x30, "RISCV", 5))
		return "it is a kernel image for RISC-V";
	if (has(head, len, 0x24, "\x18\x28\x6f\x01", 4))
		return "it is a kernel image for 32-bit ARM";
	if (has(head, len, 0, "MZ", 2))
		return "it is a PE program, not a Linux kernel with the x86 boot protocol";
	if (has(head, len, 0, "\x27\x05\x19\x56", 4))
		return "it is an image for U-Boot";
	if (has(head, len, 0, "070701", 6) || has(head, len, 0, "070702", 6))
		return "it is a cpio archive, such as an initrd";
	if (has(head, len, 0, "!<arch>", 7))
		return "it is an archive, such as a Debian package";
	if (has(head, len, 0, "#!", 2))
		return "it is a script";
	return NULL;
}

static int boot_unknown_kernel(struct boot *b, const uint8_t *head, size_t len)
{
	const char *kind = foreign_kind(head, len);
	enum pack pack = pack_detect(head, len);

	if (kind)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_kernel, "%s", kind);
	if (pack != PACK_NONE)
		return boot_kernel_error(
			b, -ENOEXEC, boot_fix_kernel,
			"it is a file packed by %s: an initrd, or a kernel of another architecture",
			pack_name(pack));
	if (len < 1024)
		return boot_kernel_error(b, -ENOEXEC, boot_fix_kernel,
					 "it ends after %llu bytes, which is too short for any kernel",
					 (unsigned long long)b->kernel.size);
	return boot_kernel_error(b, -ENOEXEC, boot_fix_kernel, "it is neither a bzImage nor an ELF file, and has no Multiboot header");
}

/*
 * What the file is, in this order: a bzImage; an ELF file with a PVH note; Multiboot 2; Multiboot 1; a
 * boot sector. A kernel that knows several protocols gets the one that tells it most.
 */
static int boot_kernel_as(struct boot *b, const uint8_t *head, size_t len)
{
	struct multiboot_header multiboot;
	size_t offset;

	if (has(head, len, 0x202, "HdrS", 4))
		return linux_load(b);
	if (elf_detect(head, len) && elf_is_pvh(b))
		return pvh_load(b);
	if (multiboot2_find(head, len, &offset))
		return multiboot2_load(b, head, len, offset);
	if (multiboot_find(head, len, &multiboot))
		return multiboot_load(b, &multiboot);
	if (elf_detect(head, len))
		return pvh_load(b); /* says what is wrong with it */
	if (sector_detect(head, b->kernel.size))
		return sector_load(b);
	return boot_unknown_kernel(b, head, len);
}

static int boot_kernel(struct boot *b)
{
	size_t len = b->kernel.size < MULTIBOOT2_SEARCH ? b->kernel.size : MULTIBOOT2_SEARCH;
	uint8_t *head = malloc(len);
	int ret = head ? boot_file_read(&b->kernel, 0, head, len) : -ENOMEM;

	ret = ret ? boot_kernel_read_error(b, ret) : boot_kernel_as(b, head, len);
	free(head);
	return ret;
}

int boot_load(struct ram *ram, const struct boot_config *config, struct vcpu_state *bsp, struct error *err)
{
	struct vcpu_state state = *bsp;
	struct boot b = {
		.ram = ram,
		.config = config,
		.cmdline = config->cmdline ? config->cmdline : "",
		.bsp = &state,
		.err = err,
		.low_end = ram_low_size(ram->size),
	};
	int ret = boot_file_open(&b.kernel, "kernel", config->kernel, err);

	if (ret)
		return ret;
	ret = boot_write_vectors(ram);
	if (!ret)
		ret = boot_write_bda(&b);
	if (!ret)
		ret = acpi_write_tables(ram, config->cpus, &b.rsdp);
	if (!ret)
		ret = mp_write_tables(ram, config->cpus);
	if (ret)
		ret = error_set(err, ret, STATUS_INTERNAL, "cannot write the firmware tables", "%s",
				"this is a defect of subring: please report it", strerror(-ret));
	else
		ret = boot_kernel(&b);
	boot_file_close(&b.kernel);
	if (!ret)
		*bsp = state;
	return ret;
}
