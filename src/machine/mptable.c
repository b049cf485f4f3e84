// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The MP tables (Intel MultiProcessor Specification 1.4, chapter 4): a floating pointer in the BIOS
 * area and the configuration table behind it. They say what the ACPI tables say: MADT (CPUs, I/O APIC,
 * overrides, NMI) and the DSDT's _PRT (PCI's lines).
 */
#include "machine/mptable.h"

#include "engine/cpu_model.h"
#include "machine/checksum.h"
#include "machine/layout.h"
#include "machine/machine.h"

#include <errno.h>
#include <string.h>

#define PACKED __attribute__((packed))

struct mp_pointer { /* 4.1 */
	char signature[4];
	uint32_t table;
	uint8_t length, revision, checksum, feature[5];
} PACKED;
_Static_assert(sizeof(struct mp_pointer) == 16, "one paragraph");

struct mp_header { /* 4.2 */
	char signature[4];
	uint16_t length;
	uint8_t revision, checksum;
	char oem_id[8], product_id[12];
	uint32_t oem_table;
	uint16_t oem_size, entries;
	uint32_t lapic_address;
	uint16_t extended_length;
	uint8_t extended_checksum, reserved;
} PACKED;
_Static_assert(sizeof(struct mp_header) == 44, "table 4-2");

enum { MP_PROCESSOR, MP_BUS, MP_IOAPIC, MP_INTERRUPT, MP_LOCAL_INTERRUPT };
enum { CPU_ENABLED = 1, CPU_BOOT = 2 };
enum { TYPE_INT, TYPE_NMI, TYPE_SMI, TYPE_EXTINT };
/* Table 4-10: polarity and trigger; 0 is what the bus has (ISA: high, edge; PCI: low, level). */
enum { FLAGS_CONFORMING = 0, FLAGS_HIGH_LEVEL = 1 | 3 << 2 };
enum { BUS_PCI, BUS_ISA, ALL_LAPICS = 0xff };
enum { LAPIC_VERSION = 0x14, IOAPIC_VERSION = 0x20 };
/* CPUID leaf 1 EDX: FPU, TSC, MSR, CX8, APIC. */
enum { CPU_FEATURES = 1 << 0 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 };

struct mp_processor { /* 4.3.1 */
	uint8_t type, apic_id, apic_version, flags;
	uint32_t signature, features, reserved[2];
} PACKED;

struct mp_bus { /* 4.3.2 */
	uint8_t type, id;
	char name[6];
} PACKED;

struct mp_ioapic { /* 4.3.3 */
	uint8_t type, id, version, flags;
	uint32_t address;
} PACKED;

struct mp_interrupt { /* 4.3.4, 4.3.5 */
	uint8_t type, interrupt;
	uint16_t flags;
	uint8_t bus, source, apic, input;
} PACKED;

struct builder {
	uint8_t bytes[MP_TABLES_END - MP_TABLES_BASE];
	size_t len;
	unsigned entries;
	bool full;
};

static void put(struct builder *b, const void *entry, size_t len)
{
	if (len > sizeof(b->bytes) - b->len) {
		b->full = true;
		return;
	}
	memcpy(b->bytes + b->len, entry, len);
	b->len += len;
	b->entries++;
}

static void put_bus(struct builder *b, uint8_t id, const char *name)
{
	struct mp_bus bus = { .type = MP_BUS, .id = id };

	memcpy(bus.name, name, sizeof(bus.name));
	put(b, &bus, sizeof(bus));
}

static void put_interrupt(struct builder *b, struct mp_interrupt entry)
{
	put(b, &entry, sizeof(entry));
}

/* ISA interrupts have the pin of their number, but for the 8254's and the cascade's. */
static void put_isa(struct builder *b)
{
	for (unsigned irq = 0; irq < 16; irq++) {
		uint16_t flags = irq == IRQ_SCI ? FLAGS_HIGH_LEVEL : FLAGS_CONFORMING;
		unsigned pin = irq == IRQ_PIT ? GSI_PIT : irq;

		if (irq != 2)
			put_interrupt(b, (struct mp_interrupt){ MP_INTERRUPT, TYPE_INT, flags, BUS_ISA,
								(uint8_t)irq, 0, (uint8_t)pin });
	}
}

static void put_pci(struct builder *b)
{
	/* Appendix D.3: bits 2 to 6 are the slot, bits 0 and 1 the pin. */
	for (unsigned source = 0; source < 128; source++) {
		unsigned pin = GSI_PCI + (((source >> 2) + (source & 3)) & PCI_LINES_MASK);

		put_interrupt(b, (struct mp_interrupt){ MP_INTERRUPT, TYPE_INT, FLAGS_CONFORMING, BUS_PCI,
							(uint8_t)source, 0, (uint8_t)pin });
	}
}

static void put_entries(struct builder *b, unsigned cpus)
{
	for (unsigned i = 0; i < cpus; i++) {
		struct mp_processor cpu = { MP_PROCESSOR, (uint8_t)i, LAPIC_VERSION,
					    (uint8_t)(CPU_ENABLED | (i ? 0 : CPU_BOOT)), CPU_SIGNATURE,
					    CPU_FEATURES, { 0 } };

		put(b, &cpu, sizeof(cpu));
	}
	put_bus(b, BUS_PCI, "PCI   ");
	put_bus(b, BUS_ISA, "ISA   ");
	put(b, &(struct mp_ioapic){ MP_IOAPIC, 0, IOAPIC_VERSION, 1, BOARD_IOAPIC_BASE }, sizeof(struct mp_ioapic));
	put_isa(b);
	put_pci(b);
	put_interrupt(b, (struct mp_interrupt){ MP_LOCAL_INTERRUPT, TYPE_EXTINT, 0, BUS_ISA, 0, 0, 0 });
	put_interrupt(b, (struct mp_interrupt){ MP_LOCAL_INTERRUPT, TYPE_NMI, 0, BUS_ISA, 0, ALL_LAPICS, 1 });
}

int mp_write_tables(struct ram *ram, unsigned cpus)
{
	struct mp_pointer pointer = { "_MP_", MP_TABLES_BASE + sizeof(pointer), 1, 4, 0, { 0 } };
	struct mp_header header = { .signature = "PCMP", .revision = 4, .lapic_address = BOARD_LAPIC_BASE };
	struct builder b = { .len = sizeof(pointer) + sizeof(header) };

	put_entries(&b, cpus);
	if (b.full)
		return -ENOSPC;
	pointer.checksum = checksum(&pointer, sizeof(pointer));
	memcpy(header.oem_id, "SUBRNG  ", sizeof(header.oem_id));
	memcpy(header.product_id, "SUBRBORD    ", sizeof(header.product_id));
	header.length = (uint16_t)(b.len - sizeof(pointer));
	header.entries = (uint16_t)b.entries;
	memcpy(b.bytes, &pointer, sizeof(pointer));
	memcpy(b.bytes + sizeof(pointer), &header, sizeof(header));
	((struct mp_header *)(b.bytes + sizeof(pointer)))->checksum =
		checksum(b.bytes + sizeof(pointer), header.length);
	return ram_write(ram, MP_TABLES_BASE, b.bytes, b.len);
}
