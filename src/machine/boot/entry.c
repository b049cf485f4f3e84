// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The CPU's state at a kernel's entry, and what firmware leaves in the CPUs before (SDM vol. 3,
 * 9.8 and 11.5; Linux Documentation/arch/x86/boot.rst; Xen's PVH specification).
 *
 * Fields that are not named here keep their values after RESET.
 */
#include "machine/boot/boot.h"

#include <string.h>

enum {
	CR0_PE = 1 << 0,
	CR0_ET = 1 << 4,
	CR0_NE = 1 << 5,
	CR4_PAE = 1 << 5,
	EFER_LME = 1 << 8,
	EFER_LMA = 1 << 10,
	RFLAGS_FIXED = 1 << 1,
};
#define CR0_PG (1ull << 31)

/* Selectors of the GDTs below; __BOOT_CS and __BOOT_DS are what Linux asks for. */
enum { SEL_BOOT_CS = 0x10, SEL_BOOT_DS = 0x18, SEL_FLAT_CS = 0x08, SEL_FLAT_DS = 0x10, SEL_TSS = 0x20 };

/* Attributes as vcpu_state.h packs them: type, S, DPL, P in bits 0-7; L, D/B, G in bits 13-15. */
enum {
	ATTR_CODE32 = 0xc09b,
	ATTR_CODE64 = 0xa09b,
	ATTR_DATA = 0xc093,
	ATTR_TSS = 0x008b, /* busy */
	ATTR_LDT = 0x0082,
	ATTR_REAL_CODE = 0x009b,
	ATTR_REAL_DATA = 0x0093,
	TSS_LIMIT = 0x67,
};

enum { GDT_ENTRIES = 6 };
#define DESC_CODE32 0x00cf9b000000ffffull
#define DESC_CODE64 0x00af9b000000ffffull
#define DESC_DATA 0x00cf93000000ffffull
#define DESC_TSS 0x00008b0000000067ull /* at 0; its upper half in 64-bit mode is 0 */

static const uint64_t gdt_linux64[GDT_ENTRIES] = { 0, 0, DESC_CODE64, DESC_DATA, DESC_TSS, 0 };
static const uint64_t gdt_linux32[GDT_ENTRIES] = { 0, 0, DESC_CODE32, DESC_DATA, DESC_TSS, 0 };
/*
 * PVH and Multiboot leave the selectors open. Boot loaders have always used these, and there are systems
 * that keep them under a GDT of their own (xv6).
 */
static const uint64_t gdt_flat[GDT_ENTRIES] = { 0, DESC_CODE32, DESC_DATA, 0, DESC_TSS, 0 };

/* Words of vcpu_state.lapic: register offset / 16. */
enum { LAPIC_SVR = 0xf0 / 16, LAPIC_LVT_LINT0 = 0x350 / 16, LAPIC_LVT_LINT1 = 0x360 / 16 };
enum { SVR_ENABLED = 0x100, LVT_EXTINT = 7 << 8, LVT_NMI = 4 << 8 };

enum { MTRR_WB = 6, MTRR_DEF_FIXED = 1 << 10, MTRR_DEF_ENABLE = 1 << 11 };
#define MTRR_WB_8 (0x0101010101010101ull * MTRR_WB)

/*
 * Memory is write-back everywhere but in the VGA window. The devices' addresses above RAM are left
 * to the PAT: how wide the masks of variable ranges may be is the engine's business.
 */
void boot_prepare_ap(struct vcpu_state *cpu)
{
	cpu->mtrr_def_type = MTRR_DEF_ENABLE | MTRR_DEF_FIXED | MTRR_WB;
	for (unsigned i = 0; i < sizeof(cpu->mtrr_fixed) / sizeof(cpu->mtrr_fixed[0]); i++)
		cpu->mtrr_fixed[i] = MTRR_WB_8; /* 64K at 0; 16K at 0x80000, 0xa0000; 4K from 0xc0000 */
	cpu->mtrr_fixed[2] = 0;
}

/* Virtual wire mode (MultiProcessor Specification 1.4, 3.6.2.2): the 8259's INTR comes in on LINT0. */
static void entry_firmware(struct vcpu_state *cpu)
{
	boot_prepare_ap(cpu);
	cpu->lapic[LAPIC_SVR] = SVR_ENABLED | 0xff;
	cpu->lapic[LAPIC_LVT_LINT0] = LVT_EXTINT;
	cpu->lapic[LAPIC_LVT_LINT1] = LVT_NMI;
}

static int entry_write_gdt(struct boot *b, const uint64_t gdt[GDT_ENTRIES])
{
	return ram_write(b->ram, BOOT_GDT, gdt, GDT_ENTRIES * sizeof(gdt[0]));
}

static void entry_segments(struct vcpu_state *cpu, uint16_t cs, uint32_t cs_attr, uint16_t ds)
{
	for (unsigned i = 0; i < SEG_COUNT; i++)
		cpu->seg[i] = (struct vcpu_segment){ .limit = UINT32_MAX, .selector = ds, .attr = ATTR_DATA };
	cpu->seg[SEG_CS].selector = cs;
	cpu->seg[SEG_CS].attr = cs_attr;
	cpu->tr = (struct vcpu_segment){ .limit = TSS_LIMIT, .selector = SEL_TSS, .attr = ATTR_TSS };
	cpu->ldt = (struct vcpu_segment){ .attr = ATTR_LDT };
	cpu->gdt = (struct vcpu_table){ .base = BOOT_GDT, .limit = GDT_ENTRIES * 8 - 1 };
	cpu->idt = (struct vcpu_table){ 0 };
}

/* 2 MiB pages for the first 4 GiB. */
static int entry_write_page_tables(struct boot *b)
{
	enum { P_RW = 3, P_PS = 0x80, ENTRIES = 512, DIRECTORIES = 4 };
	uint64_t table[ENTRIES] = { BOOT_PAGE_TABLES + FRAME_SIZE + P_RW };
	int ret = ram_write(b->ram, BOOT_PAGE_TABLES, table, sizeof(table));

	memset(table, 0, sizeof(table));
	for (unsigned i = 0; i < DIRECTORIES; i++)
		table[i] = BOOT_PAGE_TABLES + (2 + i) * FRAME_SIZE + P_RW;
	if (!ret)
		ret = ram_write(b->ram, BOOT_PAGE_TABLES + FRAME_SIZE, table, sizeof(table));
	for (uint64_t i = 0; i < DIRECTORIES && !ret; i++) {
		for (uint64_t j = 0; j < ENTRIES; j++)
			table[j] = (i * ENTRIES + j) << 21 | P_PS | P_RW;
		ret = ram_write(b->ram, BOOT_PAGE_TABLES + (2 + i) * FRAME_SIZE, table, sizeof(table));
	}
	return ret;
}

int entry_long_mode(struct boot *b, uint64_t rip, uint64_t rsi)
{
	struct vcpu_state *cpu = b->bsp;
	int ret = entry_write_gdt(b, gdt_linux64);

	if (!ret)
		ret = entry_write_page_tables(b);
	if (ret)
		return ret;
	entry_firmware(cpu);
	entry_segments(cpu, SEL_BOOT_CS, ATTR_CODE64, SEL_BOOT_DS);
	cpu->cr0 = CR0_PG | CR0_NE | CR0_ET | CR0_PE;
	cpu->cr3 = BOOT_PAGE_TABLES;
	cpu->cr4 = CR4_PAE;
	cpu->efer = EFER_LME | EFER_LMA;
	cpu->rflags = RFLAGS_FIXED;
	memset(cpu->gpr, 0, sizeof(cpu->gpr));
	cpu->gpr[RSI] = rsi;
	cpu->rip = rip;
	return 0;
}

/* 32-bit protected mode without paging, with @gdt. */
static int entry_protected(struct boot *b, const uint64_t gdt[GDT_ENTRIES], uint16_t cs, uint16_t ds, uint32_t eip)
{
	struct vcpu_state *cpu = b->bsp;

	entry_firmware(cpu);
	entry_segments(cpu, cs, ATTR_CODE32, ds);
	cpu->cr0 = CR0_ET | CR0_PE;
	cpu->cr4 = 0;
	cpu->efer = 0;
	cpu->rflags = RFLAGS_FIXED;
	memset(cpu->gpr, 0, sizeof(cpu->gpr));
	cpu->rip = eip;
	return entry_write_gdt(b, gdt);
}

int entry_protected_mode(struct boot *b, uint32_t eip, uint32_t ebx)
{
	int ret = entry_protected(b, gdt_flat, SEL_FLAT_CS, SEL_FLAT_DS, eip);

	b->bsp->gpr[RBX] = ebx;
	return ret;
}

int entry_linux32(struct boot *b, uint32_t eip, uint32_t esi)
{
	int ret = entry_protected(b, gdt_linux32, SEL_BOOT_CS, SEL_BOOT_DS, eip);

	b->bsp->gpr[RSI] = esi;
	return ret;
}

void entry_real_mode(struct boot *b, uint16_t cs, uint16_t ip)
{
	struct vcpu_state *cpu = b->bsp;

	entry_firmware(cpu);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		cpu->seg[i] = (struct vcpu_segment){ .limit = 0xffff, .attr = ATTR_REAL_DATA };
	cpu->seg[SEG_CS] = (struct vcpu_segment){
		.base = (uint64_t)cs << 4, .limit = 0xffff, .selector = cs, .attr = ATTR_REAL_CODE };
	cpu->idt = (struct vcpu_table){ .limit = 0x3ff };
	cpu->cr0 = CR0_ET;
	cpu->cr4 = 0;
	cpu->efer = 0;
	cpu->rflags = RFLAGS_FIXED;
	memset(cpu->gpr, 0, sizeof(cpu->gpr));
	cpu->rip = ip;
}
