// SPDX-License-Identifier: GPL-2.0-or-later
/* See system_rig.h. */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct sys_rig sys;
const char *sys_model;

enum { SIZE = 2 << 20 };

uint64_t sys_peek(uint64_t gpa, unsigned size)
{
	uint64_t v = 0;

	if (ram_read(sys.ram, gpa, &v, size))
		abort();
	return v;
}

void sys_poke(uint64_t gpa, unsigned size, uint64_t value)
{
	if (ram_write(sys.ram, gpa, &value, size))
		abort();
}

uint64_t sys_desc(uint32_t base, uint32_t limit, unsigned attr)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(attr & 0xff) << 40 |
	       (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)(attr >> 12 & 15) << 52 | (uint64_t)(base >> 24) << 56;
}

static void gdt(uint16_t sel, uint32_t base, uint32_t limit, unsigned attr)
{
	sys_poke(SYS_GDT + (sel & ~7u), 8, sys_desc(base, limit, attr));
}

static void tables(enum sys_mode mode)
{
	enum { CODE = 0x9a, DATA = 0x92, U = 0x60, G = ATTR_G, DB = ATTR_DB, L = ATTR_L };
	bool lm = mode == SYS_LONG || mode == SYS_COMPAT;

	gdt(SEL_CODE64, 0, 0xfffff, CODE | G | L);
	gdt(SEL_DATA, 0, 0xfffff, DATA | G | DB);
	gdt(SEL_CODE32, 0, 0xfffff, CODE | G | DB);
	gdt(SEL_USER32, 0, 0xfffff, CODE | U | G | DB);
	gdt(SEL_USER_DATA, 0, 0xfffff, DATA | U | G | DB);
	gdt(SEL_USER64, 0, 0xfffff, CODE | U | G | L);
	gdt(SEL_TSS, SYS_TSS_AT, 0x1067, 0x89);
	gdt(SEL_LDT, SYS_LDT_AT, 0xff, 0x82);
	gdt(SEL_CODE16, 0, 0xffff, CODE);
	gdt(SEL_DATA16, 0, 0xffff, DATA);
	gdt(SEL_CONFORMING64, 0, 0xfffff, CODE | TYPE_C | G | L);
	gdt(SEL_ABSENT, 0, 0xfffff, (DATA & ~0x80) | G | DB);
	gdt(SEL_EXEC_ONLY, 0, 0xfffff, (CODE & ~2) | G | DB);
	gdt(SEL_READ_ONLY, 0, 0xfffff, (DATA & ~2) | G | DB);
	gdt(SEL_TSS32, SYS_TSS32_AT, 0x67, 0x89);
	gdt(SEL_CODE32_R1, 0, 0xfffff, CODE | 0x20 | G | DB);
	gdt(SEL_DATA_R1, 0, 0xfffff, DATA | 0x20 | G | DB);
	gdt(SEL_BOTH_LD, 0, 0xfffff, CODE | G | DB | L);
	gdt(SEL_EXPAND_DOWN, 0, 0xfff, DATA | TYPE_E | DB);

	for (unsigned v = 0; v < 256; v++) {
		uint64_t off = SYS_HANDLER + v, sel = lm ? SEL_CODE64 : SEL_CODE32;

		if (lm) {
			sys_poke(SYS_IDT + v * 16, 8, off | sel << 16 | 0x8e00ull << 32);
			sys_poke(SYS_IDT + v * 16 + 8, 8, 0);
		} else {
			sys_poke(SYS_IDT + v * 8, 8, off | sel << 16 | 0x8e00ull << 32);
		}
		sys_poke(off, 1, 0xf4);
	}
	sys_poke(SYS_TSS_AT + 4, 8, SYS_RSP0);
	sys_poke(SYS_TSS_AT + 12, 8, SYS_RSP1);
	sys_poke(SYS_TSS_AT + 20, 8, SYS_RSP2);
	sys_poke(SYS_TSS_AT + 36, 8, SYS_IST1);
	sys_poke(SYS_TSS_AT + 0x66, 2, 0x68);
	sys_poke(SYS_TSS32_AT + 4, 4, SYS_RSP0);
	sys_poke(SYS_TSS32_AT + 8, 4, SEL_DATA);
	sys_poke(SYS_TSS32_AT + 12, 4, SYS_RSP1);
	sys_poke(SYS_TSS32_AT + 16, 4, SEL_DATA_R1 | 1);

	sys_poke(SYS_PML4, 8, (SYS_PML4 + 0x1000) | 7);
	sys_poke(SYS_PML4 + 0x1000, 8, (SYS_PML4 + 0x2000) | 7);
	sys_poke(SYS_PML4 + 0x2000, 8, SYS_PT | 7);
	for (unsigned i = 0; i < 512; i++)
		sys_poke(SYS_PT + i * 8, 8, i * 4096ull | 7);
}

static void segment(unsigned seg, uint16_t sel)
{
	struct desc d = { .low = sys_peek(SYS_GDT + (sel & ~7u), 8) };

	sys.c->seg[seg] = desc_segment(sys.c, sel, &d);
	sys.c->seg[seg].attr |= 1;
}

static void translate_if_asked(void)
{
	struct soft_tuning tuning = SOFT_TUNING_DEFAULT;

	tuning.hot = 0;
	tuning.exact_flags = true;
	if (getenv("SYS_TRANSLATE"))
		assert_int_equal(soft_vm_translate(sys.vm, &tuning), 0);
}

void sys_start(enum sys_mode mode, unsigned cpl)
{
	struct vm_clock clock;
	struct error err;
	struct cpu *c;
	bool lm = mode == SYS_LONG || mode == SYS_COMPAT;

	sys_finish();
	vm_clock_init(&clock);
	vm_clock_resume(&clock);
	sys.run = aligned_alloc(4096, 4096);
	memset(sys.run, 0, 4096);
	if (ram_create(SIZE, NULL, &sys.ram, &err) ||
	    ram_set_slot(sys.ram, 0, &(struct ram_slot){ .gpa = 0, .size = SIZE }) ||
	    soft_vm_create(sys.ram, cpu_model_find(sys_model), 1, &clock, &sys.run, &sys.vm)) {
		fprintf(stderr, "cannot make the machine\n");
		abort();
	}
	c = sys.c = sys.vm->cpu[0];
	tables(mode);
	c->gpr[GPR_RIP] = SYS_CODE;
	c->gpr[RSP] = SYS_STACK;
	c->idt = (struct vcpu_table){ SYS_IDT, 0xfff };
	c->gdt = (struct vcpu_table){ SYS_GDT, 0xfff };
	if (mode == SYS_REAL) {
		c->seg[SEG_CS].selector = 0;
		c->seg[SEG_CS].base = 0;
		c->idt = (struct vcpu_table){ 0, 0x3ff };
		cpu_mode_changed(c);
		translate_if_asked();
		return;
	}
	c->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP;
	if (lm) {
		c->cr0 |= CR0_PG;
		c->cr3 = SYS_PML4;
		c->cr4 = CR4_PAE;
		c->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NX;
	}
	segment(SEG_CS, mode == SYS_LONG ? cpl ? SEL_USER64 | 3 : SEL_CODE64 : cpl ? SEL_USER32 | 3 : SEL_CODE32);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		if (i != SEG_CS)
			segment(i, cpl ? SEL_USER_DATA | 3 : SEL_DATA);
	c->tr = (struct vcpu_segment){ .base = lm ? SYS_TSS_AT : SYS_TSS32_AT, .limit = lm ? 0x1067 : 0x67,
				       .selector = lm ? SEL_TSS : SEL_TSS32, .attr = 0x8b };
	c->ldt = (struct vcpu_segment){ .attr = ATTR_NULL };
	c->cpl = (uint8_t)cpl;
	cpu_mode_changed(c);
	translate_if_asked();
}

struct cpu *sys_start_cold(unsigned cpl, uint32_t cache_kib)
{
	struct soft_tuning tuning = SOFT_TUNING_DEFAULT;

	sys_start(SYS_LONG, cpl);
	tuning.hot = 1000000;
	tuning.cache_kib = cache_kib;
	assert_int_equal(soft_vm_translate(sys.vm, &tuning), 0);
	return sys.c;
}

void sys_finish(void)
{
	if (!sys.vm)
		return;
	soft_vm_destroy(sys.vm);
	ram_destroy(sys.ram);
	free(sys.run);
	memset(&sys, 0, sizeof(sys));
}

int sys_teardown(void **state)
{
	sys_model = NULL;
	sys_finish();
	return 0;
}

/* What the exit in the run page is for a test. */
static int outcome(void)
{
	struct cpu *c = sys.c;
	uint64_t rip;

	if (sys.run->exit == ENGINE_EXIT_SHUTDOWN)
		return SYS_SHUTDOWN;
	if (sys.run->exit == ENGINE_EXIT_INTERNAL)
		fprintf(stderr, "internal: %s\n", sys.run->internal.why);
	if (sys.run->exit != ENGINE_EXIT_HALT)
		return SYS_OTHER;
	c->activity = VCPU_RUNNING;
	rip = c->gpr[GPR_RIP] + c->seg[SEG_CS].base - 1;
	return rip >= SYS_HANDLER && rip < SYS_HANDLER + 256 ? (int)(rip - SYS_HANDLER) : SYS_HALTED;
}

int sys_go_to_exit(void)
{
	sys.c->activity = VCPU_RUNNING;
	sys.c->halt_told = 0;
	cpu_run(sys.c);
	return outcome();
}

int sys_go(void)
{
	int vector = sys_go_to_exit();

	while (sys.run->exit == ENGINE_EXIT_PIO || sys.run->exit == ENGINE_EXIT_MMIO || sys.run->exit == ENGINE_EXIT_KICK) {
		cpu_run(sys.c);
		vector = outcome();
	}
	return vector;
}

int sys_run(const void *code, size_t len)
{
	struct cpu *c = sys.c;
	uint64_t at;

	if (c->gpr[GPR_RIP] >= SYS_HANDLER && c->gpr[GPR_RIP] <= SYS_HANDLER + 256)
		c->gpr[GPR_RIP] = SYS_CODE; /* the last run ended in a handler */
	at = c->gpr[GPR_RIP] + c->seg[SEG_CS].base;
	if (ram_write(sys.ram, at, code, len))
		abort();
	sys_poke(at + len, 1, 0xf4);
	do {
		c->halt_told = 0;
		cpu_run(c);
	} while (sys.run->exit == ENGINE_EXIT_KICK);
	return outcome();
}

bool sys_rdmsr(uint32_t msr, uint64_t *v)
{
	int r;

	sys.c->gpr[RCX] = msr;
	r = RUN(0x0f, 0x32);
	*v = (uint32_t)sys.c->gpr[RAX] | sys.c->gpr[RDX] << 32;
	if (r != SYS_HALTED)
		assert_int_equal(r, EXC_GP);
	return r == SYS_HALTED;
}

bool sys_wrmsr(uint32_t msr, uint64_t v)
{
	int r;

	sys.c->gpr[RCX] = msr;
	sys.c->gpr[RAX] = (uint32_t)v;
	sys.c->gpr[RDX] = v >> 32;
	r = RUN(0x0f, 0x30);
	if (r != SYS_HALTED)
		assert_int_equal(r, EXC_GP);
	return r == SYS_HALTED;
}

const uint32_t *sys_cpuid(uint32_t leaf, uint32_t sub)
{
	static uint32_t out[4];

	cpuid_query(sys.c, leaf, sub, out);
	return out;
}

uint64_t sys_frame(unsigned n, unsigned size)
{
	return sys_peek(sys.c->gpr[RSP] + n * size, size);
}

void sys_pte(uint64_t linear, uint64_t entry)
{
	sys_poke(SYS_PT + (linear >> 12) * 8, 8, entry);
}

void sys_page(uint64_t linear, unsigned bits)
{
	sys_pte(linear, (linear & ~0xfffull) | bits);
	mmu_flush_all(sys.c);
}
