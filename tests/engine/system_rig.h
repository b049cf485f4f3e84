// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A vCPU with descriptor tables, a TSS, an IDT and page tables around it, for the tests of system/.
 *
 * Everything is identity-mapped, 2 MiB of it. Each vector's handler is a HLT at SYS_HANDLER +
 * vector with interrupts off, so that a run ends in the first handler that it enters, or at any other HLT.
 */
#ifndef SUBRING_TESTS_SYSTEM_RIG_H
#define SUBRING_TESTS_SYSTEM_RIG_H

#include "engine/soft/soft.h"
#include "engine/soft/system/system.h"

enum {
	SYS_GDT = 0x1000, SYS_IDT = 0x2000, SYS_TSS_AT = 0x3000, SYS_PML4 = 0x4000, SYS_PT = 0x7000,
	SYS_CODE = 0x8000, SYS_LDT_AT = 0x9000, SYS_HANDLER = 0xa000, SYS_TSS32_AT = 0xb000, SYS_DATA = 0xc000,
	SYS_STACK = 0x18000, /* top of the stack that a test starts on */
	SYS_RSP0 = 0x20000, SYS_RSP1 = 0x22000, SYS_RSP2 = 0x24000, SYS_IST1 = 0x26000,
};

/* Selectors of the GDT; L64 code, D32 code, data at DPL 0 to 3 */
enum {
	SEL_CODE64 = 0x08, SEL_DATA = 0x10, SEL_CODE32 = 0x18, SEL_USER32 = 0x20, SEL_USER_DATA = 0x28, SEL_USER64 = 0x30,
	SEL_TSS = 0x40, SEL_LDT = 0x50, SEL_CODE16 = 0x60, SEL_DATA16 = 0x68, SEL_CONFORMING64 = 0x70,
	SEL_ABSENT = 0x78, SEL_EXEC_ONLY = 0x80, SEL_READ_ONLY = 0x88, SEL_GATE = 0x90, SEL_TSS32 = 0xa0, SEL_GATE32 = 0xa8,
	SEL_CODE32_R1 = 0xb0, SEL_DATA_R1 = 0xb8, SEL_BOTH_LD = 0xc0, SEL_EXPAND_DOWN = 0xc8, SEL_SPARE = 0xd0,
	SEL_SPARE2 = 0xd8,
};

enum sys_mode { SYS_LONG, SYS_COMPAT, SYS_PROT32, SYS_REAL };
enum { SYS_HALTED = -1, SYS_SHUTDOWN = -2, SYS_OTHER = -3 };

struct sys_rig {
	struct ram *ram;
	struct soft_vm *vm;
	struct cpu *c;
	struct run_page *run;
};
extern struct sys_rig sys;
/* The CPU model of machines made from now on; NULL: the default. */
extern const char *sys_model;

/*
 * A fresh machine at SYS_CODE, CPL @cpl, interrupts off, rSP at SYS_STACK. With SYS_TRANSLATE in the environment all of its code is translated, with
 * exact flags; then who changes segments by hand must say so (cpu_mode_changed).
 */
void sys_start(enum sys_mode mode, unsigned cpl);
void sys_finish(void);
/* The same in long mode, with a translator that finds no code hot: the interpreter runs it, under the translator's rules. */
struct cpu *sys_start_cold(unsigned cpl, uint32_t cache_kib);
/* Puts code at RIP and runs it; the vector whose handler was entered, or SYS_*. */
int sys_run(const void *code, size_t len);
/* Goes on where it stands, also if that is a HLT; ports and devices answer with what the run page holds. As sys_run. */
int sys_go(void);
/* The same until the first exit, whatever it is. */
int sys_go_to_exit(void);
/* RDMSR, WRMSR: false when the instruction raised #GP. */
bool sys_rdmsr(uint32_t msr, uint64_t *v);
bool sys_wrmsr(uint32_t msr, uint64_t v);
/* CPUID: its registers, until the next call. */
const uint32_t *sys_cpuid(uint32_t leaf, uint32_t sub);
uint64_t sys_peek(uint64_t gpa, unsigned size);
void sys_poke(uint64_t gpa, unsigned size, uint64_t value);
/* Element @n of the stack frame at rSP, @size bytes each. */
uint64_t sys_frame(unsigned n, unsigned size);
/* The access bits of page @page: 0 absent, 1 read-only supervisor, ... as in a PTE's low bits. */
void sys_page(uint64_t linear, unsigned bits);
/* The whole entry of a page; nothing is flushed. */
void sys_pte(uint64_t linear, uint64_t entry);
uint64_t sys_desc(uint32_t base, uint32_t limit, unsigned attr); /* attr as vcpu_segment.attr */

/* Leaves nothing of a test to the next one: no machine, and the default CPU model. For cmocka. */
int sys_teardown(void **state);
#define TEST(name) cmocka_unit_test_teardown(name, sys_teardown)

#define RUN(...) sys_run((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

#endif
