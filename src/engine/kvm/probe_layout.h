/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What probe.c and its guests (probe_guests.S) agree on: guest-physical addresses, ports, selectors. */
#ifndef SUBRING_ENGINE_KVM_PROBE_LAYOUT_H
#define SUBRING_ENGINE_KVM_PROBE_LAYOUT_H

#define PROBE_PML4  0x1000
#define PROBE_PDPT  0x2000
#define PROBE_PD    0x3000
#define PROBE_PD32  0x4000 /* page directory of 32-bit paging */
#define PROBE_GDT   0x5000
#define PROBE_IDT   0x6000
#define PROBE_STACK 0x7ff0
#define PROBE_DATA  0x8000
#define PROBE_CODE  0x9000
#define PROBE_MEM   0x10000 /* bytes of memory */

#define PROBE_CS64 0x08 /* selectors; data is the next, as SYSCALL wants it (SDM vol. 2, SYSCALL) */
#define PROBE_CS64_USER 0x1b
#define PROBE_CS32 0x28

#define PROBE_START 0x7e /* ports */
#define PROBE_DONE  0x7f

#define PROBE_LOOPS   20000
#define PROBE_SYSCALL 0x40

#endif
