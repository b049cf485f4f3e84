// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * EOI as a store into memory (Linux, Documentation/virt/kvm/x86/msr.rst, MSR_KVM_EOI_EN), beside the local APIC's own
 * (SDM vol. 3, 11.8.5).
 */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { PV_EOI = 0x4b564d04, AREA = 0x100000, ROUTINE = 0x110000, VECTOR = 0x61, SECOND = 0x62, LOWER = 0x41 };
enum { ISR = 0x100, TMR = 0x180, IRR = 0x200, EOI = 0xb0 };

/* Guest code, run in the handler of VECTOR */
#define LOAD_WORD(reg)	0x8b, 0x04 | (reg) << 3, 0x25, 0x00, 0x00, 0x10, 0x00	    /* mov reg, [AREA] */
#define END_BY_STORE	0x0f, 0xba, 0x34, 0x25, 0x00, 0x00, 0x10, 0x00, 0x00 /* btr dword [AREA], 0 */
#define NEXT_BLOCK	0xeb, 0x00						     /* jmp: events are looked at */
#define HLT		0xf4
#define IRETQ		0x48, 0xcf
/* Another interrupt by the self shorthand of the ICR; RDI: its page */
#define SELF(vector)	0xc7, 0x87, 0x00, 0x03, 0x00, 0x00, (vector), 0x00, 0x04, 0x00
#define END_BY_APIC	0xc7, 0x87, 0xb0, 0x00, 0x00, 0x00, 0, 0, 0, 0

static int wr(uint64_t v)
{
	sys.c->gpr[RCX] = PV_EOI;
	sys.c->gpr[RAX] = (uint32_t)v;
	sys.c->gpr[RDX] = v >> 32;
	return RUN(0x0f, 0x30);
}

static bool in(unsigned reg, unsigned vector)
{
	return lapic_page_read(sys.c, reg + vector / 32 * 16) >> vector % 32 & 1;
}

static void handler(unsigned vector, uint64_t at)
{
	sys_poke(SYS_IDT + vector * 16, 8, (at & 0xffff) | (uint64_t)SEL_CODE64 << 16 | 0x8e00ull << 32 | (at >> 16 & 0xffff) << 48);
}

#define ROUTINE_AT(at, ...)                                                                                \
	do {                                                                                               \
		static const uint8_t code_[] = { __VA_ARGS__ };                                            \
		assert_int_equal(ram_write(sys.ram, at, code_, sizeof(code_)), 0);                         \
	} while (0)

/* With a local APIC that is on, the interface too unless @off, and the routine of VECTOR at ROUTINE. */
static void start(bool off)
{
	sys_start(SYS_LONG, 0);
	/* the APIC's page is beyond what the rig maps: linear 0x180000 is its */
	sys_page(0x180000, 0);
	sys_poke(SYS_PT + 0x180 * 8, 8, 0xfee00003);
	mmu_flush_all(sys.c);
	lapic_page_write(sys.c, 0xf0, 0x1ff);
	if (!off)
		assert_int_equal(wr(AREA | 1), SYS_HALTED);
	sys.c->gpr[RDI] = 0x180000;
	handler(VECTOR, ROUTINE);
}

/* STI; NOP with an interrupt waiting: ends in the routine's HLT. */
static void interrupt(bool level)
{
	lapic_post(sys.c, VECTOR, level);
	assert_int_equal(RUN(0xfb, 0x90, 0x90), SYS_HALTED);
	assert_in_range(sys.c->gpr[GPR_RIP], ROUTINE, ROUTINE + 0x100);
}

static void an_interrupt_that_is_alone_can_be_ended_by_a_store(void **state)
{
	start(false);
	ROUTINE_AT(ROUTINE, LOAD_WORD(RBX), END_BY_STORE, LOAD_WORD(RDX), HLT);
	interrupt(false);
	assert_int_equal(sys.c->gpr[RBX], 1);
	assert_int_equal(sys.c->gpr[RDX], 0);
	assert_false(in(ISR, VECTOR));
	assert_int_equal(lapic_page_read(sys.c, 0xa0), 0); /* PPR */
}

static void an_interrupt_that_was_not_ended_is_in_service_after_an_exit(void **state)
{
	start(false);
	ROUTINE_AT(ROUTINE, LOAD_WORD(RBX), HLT);
	interrupt(false);
	assert_int_equal(sys.c->gpr[RBX], 1);
	assert_int_equal(sys_peek(AREA, 4), 0); /* and has to be ended at the APIC */
	assert_true(in(ISR, VECTOR));
	lapic_page_write(sys.c, EOI, 0);
	assert_false(in(ISR, VECTOR));
}

/* Reads of the APIC's registers see it as it is. */
static void the_apics_registers_know_of_the_store(void **state)
{
	start(false);
	/* mov edx, [rdi + ISR of VECTOR], before and after */
	ROUTINE_AT(ROUTINE, END_BY_STORE, 0x8b, 0x97, 0x30, 0x01, 0x00, 0x00, HLT);
	interrupt(false);
	assert_int_equal(sys.c->gpr[RDX], 0);
	start(false);
	ROUTINE_AT(ROUTINE, 0x8b, 0x97, 0x30, 0x01, 0x00, 0x00, LOAD_WORD(RBX), HLT);
	interrupt(false);
	assert_int_equal(sys.c->gpr[RDX], 1 << VECTOR % 32);
	assert_int_equal(sys.c->gpr[RBX], 0); /* who has read them ends it there */
}

static void the_next_interrupt_comes_after_the_store(void **state)
{
	start(false);
	ROUTINE_AT(ROUTINE, LOAD_WORD(RBX), END_BY_STORE, SELF(LOWER), NEXT_BLOCK, 0xfb, 0x90, 0x90, HLT);
	handler(LOWER, ROUTINE + 0x100);
	ROUTINE_AT(ROUTINE + 0x100, LOAD_WORD(RDX), HLT);
	lapic_post(sys.c, VECTOR, false);
	assert_int_equal(RUN(0xfb, 0x90, 0x90), SYS_HALTED);
	assert_in_range(sys.c->gpr[GPR_RIP], ROUTINE + 0x100, ROUTINE + 0x180);
	assert_int_equal(sys.c->gpr[RBX], 1);
	assert_int_equal(sys.c->gpr[RDX], 1); /* it is alone again */
	assert_false(in(ISR, VECTOR));
	assert_true(in(ISR, LOWER));
}

static void a_second_interrupt_takes_the_offer_back(void **state)
{
	start(false);
	ROUTINE_AT(ROUTINE, LOAD_WORD(RBX), SELF(LOWER), NEXT_BLOCK, LOAD_WORD(RDX), END_BY_APIC, 0xfb, 0x90, 0x90, HLT);
	handler(LOWER, ROUTINE + 0x100);
	ROUTINE_AT(ROUTINE + 0x100, HLT);
	lapic_post(sys.c, VECTOR, false);
	assert_int_equal(RUN(0xfb, 0x90, 0x90), SYS_HALTED);
	assert_in_range(sys.c->gpr[GPR_RIP], ROUTINE + 0x100, ROUTINE + 0x180);
	assert_int_equal(sys.c->gpr[RBX], 1);
	assert_int_equal(sys.c->gpr[RDX], 0);
}

static void no_offer_is_made_where_the_apic_has_to_hear_of_the_end(void **state)
{
	/* another one waits */
	start(false);
	ROUTINE_AT(ROUTINE, LOAD_WORD(RBX), HLT);
	sys.c->gpr[RBX] = 5;
	lapic_post(sys.c, LOWER, false);
	interrupt(false);
	assert_int_equal(sys.c->gpr[RBX], 0);
	/* one is in service below it */
	start(false);
	handler(LOWER, ROUTINE + 0x100);
	ROUTINE_AT(ROUTINE, LOAD_WORD(RBX), HLT);
	ROUTINE_AT(ROUTINE + 0x100, LOAD_WORD(RDX), SELF(VECTOR), 0xfb, 0x90, 0x90, HLT);
	sys.c->gpr[RBX] = 5;
	lapic_post(sys.c, LOWER, false);
	assert_int_equal(RUN(0xfb, 0x90, 0x90), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RDX], 1);
	assert_int_equal(sys.c->gpr[RBX], 0);
	/* level-triggered */
	start(false);
	ROUTINE_AT(ROUTINE, LOAD_WORD(RBX), HLT);
	sys.c->gpr[RBX] = 5;
	interrupt(true);
	assert_int_equal(sys.c->gpr[RBX], 0);
	/* off */
	start(true);
	sys_poke(AREA, 4, 0);
	ROUTINE_AT(ROUTINE, LOAD_WORD(RBX), HLT);
	sys.c->gpr[RBX] = 5;
	interrupt(false);
	assert_int_equal(sys.c->gpr[RBX], 0);
}

/* The guest ends it both ways: the second finds nothing more to end. */
static void an_eoi_at_the_apic_after_the_store_ends_nothing_else(void **state)
{
	start(false);
	ROUTINE_AT(ROUTINE, END_BY_STORE, END_BY_APIC, HLT);
	interrupt(false);
	assert_false(in(ISR, VECTOR));
	/* and an EOI at the APIC alone takes the offer back */
	start(false);
	ROUTINE_AT(ROUTINE, END_BY_APIC, LOAD_WORD(RBX), HLT);
	sys.c->gpr[RBX] = 5;
	interrupt(false);
	assert_int_equal(sys.c->gpr[RBX], 0);
	assert_false(in(ISR, VECTOR));
}

static void the_msr_takes_aligned_memory_only(void **state)
{
	static const uint64_t bad[] = { AREA | 3, AREA | 2, 0xfee00000 | 1, 2 << 20 | 1, ~0ull & ~2ull, 1ull << 52 | 1 };

	start(true);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(wr(bad[i]), EXC_GP);
	assert_int_equal(wr(1ull << 52), SYS_HALTED); /* off: nothing is looked at */
	assert_int_equal(wr(AREA | 1), SYS_HALTED);
	assert_int_equal(sys.c->pv.eoi, AREA | 1);
}

static void memory_that_goes_away_ends_the_interface_and_nothing_else(void **state)
{
	start(false);
	ROUTINE_AT(ROUTINE, HLT);
	assert_int_equal(wr((2 << 20) - 4096 + 1), SYS_HALTED);
	assert_int_equal(ram_set_slot(sys.ram, 0, &(struct ram_slot){ .gpa = 0, .size = (2 << 20) - 4096 }), 0);
	soft_vm_slots_changed(sys.vm);
	interrupt(false);
	assert_true(in(ISR, VECTOR));
	lapic_page_write(sys.c, EOI, 0);
	assert_false(in(ISR, VECTOR));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_interrupt_that_is_alone_can_be_ended_by_a_store),
		TEST(an_interrupt_that_was_not_ended_is_in_service_after_an_exit),
		TEST(the_apics_registers_know_of_the_store),
		TEST(the_next_interrupt_comes_after_the_store),
		TEST(a_second_interrupt_takes_the_offer_back),
		TEST(no_offer_is_made_where_the_apic_has_to_hear_of_the_end),
		TEST(an_eoi_at_the_apic_after_the_store_ends_nothing_else),
		TEST(the_msr_takes_aligned_memory_only),
		TEST(memory_that_goes_away_ends_the_interface_and_nothing_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
