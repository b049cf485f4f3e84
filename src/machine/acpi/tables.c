// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The static ACPI tables (ACPI 6.3, chapter 5.2; MCFG: PCI Firmware 3.2, 4.1.2). The DSDT comes
 * out of dsdt.asl.
 *
 * The tables stand one behind the other from ACPI_TABLES_BASE: the RSDP, which old guests find by
 * searching, first. Structures have the names and the order of the specification's tables.
 */
#include "machine/acpi/acpi.h"

#include "chip/acpi_pm.h"
#include "machine/checksum.h"
#include "machine/layout.h"
#include "machine/machine.h"

#include "dsdt.hex" /* dsdt_aml_code[] */

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define PACKED __attribute__((packed))

struct rsdp { /* 5.2.5.3 */
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt_address, length;
	uint64_t xsdt_address;
	uint8_t extended_checksum, reserved[3];
} PACKED;

struct table_header { /* 5.2.6 */
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} PACKED;

enum { GAS_IO = 1 };
enum { GAS_UNDEFINED, GAS_BYTE, GAS_WORD, GAS_DWORD };

struct gas { /* 5.2.3.2, generic address structure */
	uint8_t space, bit_width, bit_offset, access_size;
	uint64_t address;
} PACKED;

enum { /* 5.2.9, table 5-35 and 5-36 */
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_SLP_BUTTON = 1 << 5, /* no sleep button of the fixed kind */
	FADT_FIX_RTC = 1 << 6,	  /* waking by the RTC is not in the fixed registers */
	FADT_TMR_VAL_EXT = 1 << 8,
	FADT_RESET_REG_SUP = 1 << 10,
	BOOT_LEGACY_DEVICES = 1 << 0,
	BOOT_8042 = 1 << 1,
};

struct fadt {
	struct table_header h;
	uint32_t firmware_ctrl, dsdt;
	uint8_t reserved1, preferred_pm_profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_evt_blk, pm1b_evt_blk, pm1a_cnt_blk, pm1b_cnt_blk, pm2_cnt_blk, pm_tmr_blk, gpe0_blk,
		gpe1_blk;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_blk_len, gpe1_blk_len, gpe1_base,
		cst_cnt;
	uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alrm, mon_alrm, century;
	uint16_t iapc_boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t fadt_minor_version;
	uint64_t x_firmware_ctrl, x_dsdt;
	struct gas x_pm1a_evt_blk, x_pm1b_evt_blk, x_pm1a_cnt_blk, x_pm1b_cnt_blk, x_pm2_cnt_blk, x_pm_tmr_blk,
		x_gpe0_blk, x_gpe1_blk;
	struct gas sleep_control_reg, sleep_status_reg;
	uint64_t hypervisor_vendor;
} PACKED;
_Static_assert(sizeof(struct fadt) == 276, "FADT of revision 6");

struct facs { /* 5.2.10; no checksum */
	char signature[4];
	uint32_t length, hardware_signature, firmware_waking_vector, global_lock, flags;
	uint64_t x_firmware_waking_vector;
	uint8_t version, reserved1[3];
	uint32_t ospm_flags;
	uint8_t reserved2[24];
} PACKED;
_Static_assert(sizeof(struct facs) == 64, "FACS");

enum { MADT_PCAT_COMPAT = 1 };
enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LAPIC_NMI = 4 };
/* MPS INTI flags (table 5-48): 0 is what the bus has (ISA: active high, edge). */
enum { INTI_CONFORMING = 0, INTI_HIGH_LEVEL = 1 | 3 << 2 };

struct madt { /* 5.2.12 */
	struct table_header h;
	uint32_t lapic_address, flags;
} PACKED;

struct madt_lapic {
	uint8_t type, length, processor_uid, apic_id;
	uint32_t flags; /* 1: enabled */
} PACKED;

struct madt_ioapic {
	uint8_t type, length, ioapic_id, reserved;
	uint32_t address, gsi_base;
} PACKED;

struct madt_override {
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags;
} PACKED;

struct madt_lapic_nmi {
	uint8_t type, length, processor_uid;
	uint16_t flags;
	uint8_t lint;
} PACKED;

struct mcfg {
	struct table_header h;
	uint64_t reserved;
	uint64_t base;
	uint16_t segment;
	uint8_t bus_start, bus_end;
	uint32_t reserved2;
} PACKED;

enum { CPU_UID_ALL = 0xff };

/* The tables as they grow; @len never passes the size of bytes. */
struct builder {
	uint8_t bytes[ACPI_TABLES_END - ACPI_TABLES_BASE];
	size_t len;
	bool full;
};

/* Takes @size bytes at a multiple of @align: zeroed, and never NULL (a full builder gives its start). */
static void *take(struct builder *b, size_t size, size_t align)
{
	size_t at = (b->len + align - 1) & ~(align - 1);

	if (at > sizeof(b->bytes) || size > sizeof(b->bytes) - at) {
		b->full = true;
		return b->bytes;
	}
	b->len = at + size;
	return memset(b->bytes + at, 0, size);
}

static uint32_t address_of(const struct builder *b, const void *p)
{
	return ACPI_TABLES_BASE + (uint32_t)((const uint8_t *)p - b->bytes);
}

static void *begin(struct builder *b, const char *signature, uint8_t revision, size_t size)
{
	struct table_header *h = take(b, size, 16);

	memcpy(h->signature, signature, 4);
	h->revision = revision;
	memcpy(h->oem_id, "SUBRNG", 6);
	memcpy(h->oem_table_id, "SUBRBORD", 8);
	h->oem_revision = 1;
	memcpy(h->creator_id, "SUBR", 4);
	h->creator_revision = 1;
	return h;
}

/* Ends the table that began at @table and is the last one. */
static void end(struct builder *b, void *table)
{
	struct table_header *h = table;

	h->length = (uint32_t)(b->bytes + b->len - (uint8_t *)table);
	h->checksum = 0;
	h->checksum = checksum(table, h->length);
}

static struct gas io_register(uint16_t port, uint8_t bytes, uint8_t access)
{
	return (struct gas){ .space = GAS_IO, .bit_width = bytes * 8, .access_size = access, .address = port };
}

static void fill_pm_blocks(struct fadt *f)
{
	f->sci_int = IRQ_SCI;
	f->smi_cmd = PORT_SMI;
	f->acpi_enable = ACPI_PM_SMI_ENABLE;
	f->acpi_disable = ACPI_PM_SMI_DISABLE;
	f->pm1a_evt_blk = PORT_PM_EVENT;
	f->pm1a_cnt_blk = PORT_PM_CONTROL;
	f->pm_tmr_blk = PORT_PM_TIMER;
	f->gpe0_blk = PORT_PM_GPE0;
	f->pm1_evt_len = ACPI_PM_EVENT_LEN;
	f->pm1_cnt_len = ACPI_PM_CONTROL_LEN;
	f->pm_tmr_len = ACPI_PM_TIMER_LEN;
	f->gpe0_blk_len = ACPI_PM_GPE0_LEN;
	f->x_pm1a_evt_blk = io_register(PORT_PM_EVENT, ACPI_PM_EVENT_LEN, GAS_WORD);
	f->x_pm1a_cnt_blk = io_register(PORT_PM_CONTROL, ACPI_PM_CONTROL_LEN, GAS_WORD);
	f->x_pm_tmr_blk = io_register(PORT_PM_TIMER, ACPI_PM_TIMER_LEN, GAS_DWORD);
	f->x_gpe0_blk = io_register(PORT_PM_GPE0, ACPI_PM_GPE0_LEN, GAS_BYTE);
	f->reset_reg = io_register(PORT_RESET, 1, GAS_BYTE);
	f->reset_value = ACPI_PM_RESET_VALUE;
}

static uint32_t add_fadt(struct builder *b, uint32_t facs, uint32_t dsdt)
{
	struct fadt *f = begin(b, "FACP", 6, sizeof(*f));

	f->fadt_minor_version = 3;
	f->firmware_ctrl = facs;
	f->dsdt = dsdt;
	f->x_dsdt = dsdt;
	fill_pm_blocks(f);
	/* Latencies that mean: no C2, no C3. */
	f->p_lvl2_lat = 101;
	f->p_lvl3_lat = 1001;
	f->century = 0x32;
	f->iapc_boot_arch = BOOT_LEGACY_DEVICES | BOOT_8042;
	f->flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC | FADT_TMR_VAL_EXT |
		   FADT_RESET_REG_SUP;
	end(b, f);
	return address_of(b, f);
}

static uint32_t add_facs(struct builder *b)
{
	struct facs *f = take(b, sizeof(*f), 64);

	memcpy(f->signature, "FACS", 4);
	f->length = sizeof(*f);
	f->version = 2;
	return address_of(b, f);
}

static void add_override(struct builder *b, uint8_t source, uint32_t gsi, uint16_t flags)
{
	struct madt_override *o = take(b, sizeof(*o), 1);

	*o = (struct madt_override){ MADT_OVERRIDE, sizeof(*o), 0, source, gsi, flags };
}

static uint32_t add_madt(struct builder *b, unsigned cpus)
{
	struct madt *m = begin(b, "APIC", 5, sizeof(*m));
	struct madt_ioapic *io;
	struct madt_lapic_nmi *nmi;

	m->lapic_address = BOARD_LAPIC_BASE;
	m->flags = MADT_PCAT_COMPAT;
	for (unsigned i = 0; i < cpus; i++) {
		struct madt_lapic *l = take(b, sizeof(*l), 1);

		*l = (struct madt_lapic){ MADT_LAPIC, sizeof(*l), (uint8_t)i, (uint8_t)i, 1 };
	}
	io = take(b, sizeof(*io), 1);
	*io = (struct madt_ioapic){ MADT_IOAPIC, sizeof(*io), 0, 0, BOARD_IOAPIC_BASE, 0 };
	add_override(b, IRQ_PIT, GSI_PIT, INTI_CONFORMING);
	add_override(b, IRQ_SCI, IRQ_SCI, INTI_HIGH_LEVEL);
	nmi = take(b, sizeof(*nmi), 1);
	*nmi = (struct madt_lapic_nmi){ MADT_LAPIC_NMI, sizeof(*nmi), CPU_UID_ALL, INTI_CONFORMING, 1 };
	end(b, m);
	return address_of(b, m);
}

static uint32_t add_mcfg(struct builder *b)
{
	struct mcfg *m = begin(b, "MCFG", 1, sizeof(*m));

	m->base = BOARD_ECAM_BASE;
	m->bus_end = BOARD_ECAM_SIZE / (1 << 20) - 1;
	end(b, m);
	return address_of(b, m);
}

static uint32_t add_dsdt(struct builder *b)
{
	void *t = take(b, sizeof(dsdt_aml_code), 16);

	if (!b->full)
		memcpy(t, dsdt_aml_code, sizeof(dsdt_aml_code));
	return address_of(b, t);
}

/* The RSDT, and the XSDT with wide entries. */
static uint32_t add_root(struct builder *b, const char *signature, size_t entry_size, const uint32_t *table,
			 size_t count)
{
	struct table_header *h = begin(b, signature, 1, sizeof(*h));

	for (size_t i = 0; i < count; i++) {
		uint64_t address = table[i];

		memcpy(take(b, entry_size, 1), &address, entry_size);
	}
	end(b, h);
	return address_of(b, h);
}

int acpi_write_tables(struct ram *ram, unsigned cpus, uint64_t *rsdp)
{
	struct builder b = { .len = 0 };
	struct rsdp *root = take(&b, sizeof(*root), 16);
	uint32_t table[3], facs, dsdt;

	facs = add_facs(&b);
	dsdt = add_dsdt(&b);
	table[0] = add_fadt(&b, facs, dsdt);
	table[1] = add_madt(&b, cpus);
	table[2] = add_mcfg(&b);
	memcpy(root->signature, "RSD PTR ", 8);
	memcpy(root->oem_id, "SUBRNG", 6);
	root->revision = 2;
	root->length = sizeof(*root);
	root->rsdt_address = add_root(&b, "RSDT", 4, table, 3);
	root->xsdt_address = add_root(&b, "XSDT", 8, table, 3);
	root->checksum = checksum(root, 20);
	root->extended_checksum = checksum(root, sizeof(*root));
	if (b.full)
		return -ENOSPC;
	*rsdp = address_of(&b, root);
	return ram_write(ram, ACPI_TABLES_BASE, b.bytes, b.len);
}
