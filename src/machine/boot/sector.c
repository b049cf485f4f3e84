// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A boot sector: 512 bytes ending in 55 AA, at 0000:7C00 in real mode, with the drive's number in DL
 * (BIOS Boot Specification 1.01, 6.5). There is no BIOS (vectors.c): a sector reaches the chips itself.
 */
#include "machine/boot/boot.h"

#include <errno.h>

enum { SECTOR = 512, SIGNATURE = 510, LOAD = 0x7c00, DRIVE = 0x80 };

bool sector_detect(const uint8_t *bytes, uint64_t file_size)
{
	return file_size == SECTOR && bytes[SIGNATURE] == 0x55 && bytes[SIGNATURE + 1] == 0xaa;
}

int sector_load(struct boot *b)
{
	uint8_t bytes[SECTOR];
	int ret;

	if (b->config->initrd)
		return boot_kernel_error(b, -EINVAL, "leave --initrd out", "it is a boot sector, which takes none");
	ret = boot_file_read(&b->kernel, 0, bytes, sizeof(bytes));
	if (!ret)
		ret = ram_write(b->ram, LOAD, bytes, sizeof(bytes));
	if (ret)
		return boot_kernel_read_error(b, ret);
	entry_real_mode(b, 0, LOAD);
	b->bsp->gpr[RDX] = DRIVE;
	b->bsp->gpr[RSP] = LOAD;
	return 0;
}
