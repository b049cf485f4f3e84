// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The real-mode interrupt table, as firmware without services leaves it. Kernels and boot loaders that go
 * back to real mode call the BIOS whether or not there is one: Xen asks INT 15h for memory and INT 13h for
 * disks. A service (INT 10h to 1Ah) answers that it does not exist: CF set, AH 86h (IBM PS/2 BIOS Interface
 * Technical Reference, INT 15h). A hardware interrupt is ended at the 8259 pair; everything else is an IRET.
 */
#include "machine/boot/boot.h"

enum { VECTORS = 256, SEGMENT = 0xf000, CODE = 0xff00 };
enum { SERVICE_FIRST = 0x10, SERVICE_LAST = 0x1a };

static const uint8_t code_iret[] = { 0xcf }; /* iret */
static const uint8_t code_service[] = {
	0x55,			/* push bp */
	0x89, 0xe5,		/* mov bp, sp */
	0x80, 0x4e, 0x06, 0x01, /* or byte [bp + 6], 1: CF in the caller's flags */
	0x5d,			/* pop bp */
	0xb4, 0x86,		/* mov ah, 0x86 */
	0xcf,			/* iret */
};
static const uint8_t code_irq_slave[] = {
	0x50,		  /* push ax */
	0xb0, 0x20,	  /* mov al, 0x20: end of interrupt */
	0xe6, 0xa0,	  /* out 0xa0, al */
	0xe6, 0x20,	  /* out 0x20, al */
	0x58,		  /* pop ax */
	0xcf,		  /* iret */
};
static const uint8_t code_irq_master[] = {
	0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf, /* the same without the second 8259 */
};

/* Where each stands in SEGMENT. */
enum { AT_IRET = CODE, AT_SERVICE = CODE + 0x10, AT_IRQ_MASTER = CODE + 0x20, AT_IRQ_SLAVE = CODE + 0x30 };

static uint16_t handler(unsigned vector)
{
	if (vector >= SERVICE_FIRST && vector <= SERVICE_LAST)
		return AT_SERVICE;
	if (vector >= 0x08 && vector <= 0x0f)
		return AT_IRQ_MASTER;
	if (vector >= 0x70 && vector <= 0x77)
		return AT_IRQ_SLAVE;
	return AT_IRET;
}

int boot_write_vectors(struct ram *ram)
{
	static const struct {
		uint16_t at;
		const uint8_t *bytes;
		size_t len;
	} code[] = {
		{ AT_IRET, code_iret, sizeof(code_iret) },
		{ AT_SERVICE, code_service, sizeof(code_service) },
		{ AT_IRQ_MASTER, code_irq_master, sizeof(code_irq_master) },
		{ AT_IRQ_SLAVE, code_irq_slave, sizeof(code_irq_slave) },
	};
	uint32_t table[VECTORS];
	int ret;

	for (unsigned i = 0; i < VECTORS; i++)
		table[i] = (uint32_t)SEGMENT << 16 | handler(i);
	ret = ram_write(ram, 0, table, sizeof(table));
	for (unsigned i = 0; i < sizeof(code) / sizeof(code[0]) && !ret; i++)
		ret = ram_write(ram, (SEGMENT << 4) + code[i].at, code[i].bytes, code[i].len);
	return ret;
}
