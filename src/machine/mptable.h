// SPDX-License-Identifier: GPL-2.0-or-later
/* Intel's MP tables, which guests from before ACPI read; written into guest memory at boot. */
#ifndef SUBRING_MACHINE_MPTABLE_H
#define SUBRING_MACHINE_MPTABLE_H

#include "mem/mem.h"

/* Where they are: behind the ACPI tables. */
enum { MP_TABLES_BASE = 0xfe000, MP_TABLES_END = 0xff000 };

/* 0, or a negative errno when they do not fit or no RAM is there. */
int mp_write_tables(struct ram *ram, unsigned cpus);

#endif
