// SPDX-License-Identifier: GPL-2.0-or-later
/* The ACPI tables, written into guest memory at boot. */
#ifndef SUBRING_MACHINE_ACPI_H
#define SUBRING_MACHINE_ACPI_H

#include "mem/mem.h"

/* Where they are: in the last 64 KiB of the first megabyte, which the memory map calls reserved. */
enum { ACPI_TABLES_BASE = 0xf0000, ACPI_TABLES_END = 0xfe000 };

/*
 * Writes all tables for @cpus CPUs. 0 and the address of the RSDP in @rsdp, or a negative errno
 * (-ENOSPC when they do not fit, -EFAULT when no RAM is there).
 */
int acpi_write_tables(struct ram *ram, unsigned cpus, uint64_t *rsdp);

#endif
