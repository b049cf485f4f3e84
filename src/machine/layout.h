/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses and lines of the board, each in one place: board.c puts the chips there, acpi.c and
 * acpi/dsdt.asl tell the guest. Read by the C compiler and by the ASL compiler, so it holds
 * nothing but plain #defines of numbers without suffixes. What is public is in machine.h.
 */
#ifndef SUBRING_MACHINE_LAYOUT_H
#define SUBRING_MACHINE_LAYOUT_H

/* Ports */
#define PORT_PIC_MASTER 0x20
#define PORT_PIT 0x40
#define PORT_KBD_DATA 0x60
#define PORT_PIT_61 0x61
#define PORT_KBD_COMMAND 0x64
#define PORT_RTC 0x70
#define PORT_RTC_BANK1 0x72
#define PORT_POST 0x80
#define PORT_92 0x92
#define PORT_PIC_SLAVE 0xa0
#define PORT_SMI 0xb2
#define PORT_TEST_LATCH 0xe0 /* these three with --test-device */
#define PORT_TEST_FLUSH 0xe4
#define PORT_DEBUG_EXIT 0xf4
#define PORT_VGA_MONO 0x3b4
#define PORT_VGA 0x3c0
#define PORT_VGA_COLOUR 0x3d4
#define PORT_COM1 0x3f8
#define PORT_DEBUGCON 0x402
#define PORT_ELCR 0x4d0
#define PORT_PM 0x600 /* the block that the next four lie in */
#define PORT_PM_LEN 0x40
#define PORT_PM_EVENT 0x600
#define PORT_PM_CONTROL 0x604
#define PORT_PM_TIMER 0x608
#define PORT_PM_GPE0 0x620
#define PORT_PM_SMI 0x630
#define PORT_PCI_ADDRESS 0xcf8
#define PORT_RESET 0xcf9
#define PORT_PCI_DATA 0xcfc
#define PORT_TEST_LINES 0x2000

/* ISA interrupts; on the I/O APIC their pin is the same, but for IRQ 0 */
#define IRQ_PIT 0
#define IRQ_KBD 1
#define IRQ_MOUSE 12
#define IRQ_COM1 4
#define IRQ_RTC 8
#define IRQ_SCI 9
#define IRQ_PCI_EVEN 10 /* of the 8259 pair only: PCI lines with an even number, and the odd ones */
#define IRQ_PCI_ODD 11
#define GSI_PIT 2
#define GSI_PCI 16 /* PCI lines 0 to 7: INTx of slot s is line (s + x) % 8 */
#define PCI_LINES_MASK 7

/* As machine.h's BOARD_ECAM_* and BOARD_PCI_MMIO_*, which board.c compares with them. */
#define ECAM_BASE 0xb0000000
#define ECAM_SIZE 0x10000000
#define PCI_MMIO_BASE 0xc0000000
#define PCI_MMIO_LAST 0xfebfffff
#define PCI_MMIO_SIZE 0x3ec00000

#define TEST_MEMORY_BASE 0xff000000 /* with --test-device */

#endif
