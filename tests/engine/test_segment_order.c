// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the differential tester found about segments, kept for hosts on which it cannot run: the order of checks, and
 * operands that are read in parts.
 */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct { unsigned vector, error; } noted;

/* The first exception ends the run: there may be no stack to deliver it on. */
static bool note_exception(struct cpu *c, unsigned vector, bool has_error, uint32_t error)
{
	noted.vector = vector;
	noted.error = has_error ? error : 0;
	c->run->exit = ENGINE_EXIT_INTERNAL;
	return true;
}

/* SDM vol. 2, CLFLUSH: "allowed to flush a linear address in an execute-only segment" */
static void clflush_takes_an_execute_only_segment_where_a_load_is_gp(void **state)
{
	sys_start(SYS_PROT32, 0);
	sys.c->seg[SEG_CS].attr &= ~(uint32_t)TYPE_R;
	cpu_mode_changed(sys.c);
	assert_int_equal(RUN(0x2e, 0x0f, 0xae, 0x3d, 0x00, 0xc0, 0x00, 0x00), SYS_HALTED);
	assert_int_equal(RUN(0x2e, 0xa0, 0x00, 0xc0, 0x00, 0x00), EXC_GP);
}

/* An effective address of 16 bits wraps (vol. 1, 3.3.7), each part's of a far pointer by itself. */
static void the_selector_of_a_far_pointer_at_the_end_of_64_kib_is_at_offset_0(void **state)
{
	sys_start(SYS_PROT32, 0);
	sys_poke(0xfffe, 4, 0xfff81234);
	sys_poke(0, 2, SEL_DATA);
	sys.c->seg[SEG_ES].selector = 0;
	assert_int_equal(RUN(0x66, 0x67, 0xc4, 0x06, 0xfe, 0xff), SYS_HALTED); /* les ax, [0xfffe] */
	assert_int_equal(sys.c->seg[SEG_ES].selector, SEL_DATA);
	assert_int_equal((uint16_t)sys.c->gpr[RAX], 0x1234);
}

static void the_upper_bound_at_the_end_of_64_kib_is_at_offset_0(void **state)
{
	sys_start(SYS_PROT32, 0);
	sys_poke(0xfffe, 4, 3);
	sys_poke(0, 2, 9);
	sys.c->gpr[RAX] = 5;
	assert_int_equal(RUN(0x66, 0x67, 0x62, 0x06, 0xfe, 0xff), SYS_HALTED);
	sys.c->gpr[RAX] = 10;
	assert_int_equal(RUN(0x66, 0x67, 0x62, 0x06, 0xfe, 0xff), EXC_BR);
}

/* Vol. 2, CALL: "stack not large enough for return address" is asked before the new offset's limit. */
static void a_far_call_without_stack_is_ss_even_if_its_offset_is_over_the_limit(void **state)
{
	for (unsigned room = 0; room < 2; room++) {
		sys_start(SYS_PROT32, 3);
		sys_poke(SYS_GDT + SEL_SPARE, 8, sys_desc(0, 0xf, 0xfa | ATTR_DB));
		sys.c->seg[SEG_SS].limit = 0xffff;
		sys.c->gpr[RSP] = room ? 8 : 4;
		assert_int_equal(RUN(0x9a, 0x00, 0x01, 0x00, 0x00, SEL_SPARE | 3, 0x00), room ? EXC_GP : EXC_SS);
		assert_int_equal(sys_frame(0, 4), 0);
	}
}

/*
 * Vol. 2, CALL, MORE-PRIVILEGE and SAME-PRIVILEGE, and INT n: room for all that is pushed is asked for before the
 * limit of the gate's offset; before any is pushed, and before parameters are read.
 */
static void a_gate_without_stack_is_ss_even_if_its_offset_is_over_the_limit(void **state)
{
	enum { OVER = 0x100000, PARAMS = 3 };

	for (unsigned room = 0; room < 2; room++) {
		/* to a more privileged level: SS, ESP, three parameters, CS, EIP on the new stack */
		sys_start(SYS_PROT32, 3);
		sys_poke(SYS_GDT + SEL_SPARE, 8, sys_desc(0, 0xfffff, 0x9a | ATTR_DB));
		sys_poke(SYS_GDT + SEL_SPARE2, 8, sys_desc(0x30000, 0xffff, 0x92 | ATTR_DB));
		sys_poke(SYS_GDT + SEL_GATE, 8, (OVER & 0xffffull) | SEL_SPARE << 16 | (0xec00ull | PARAMS) << 32 | (OVER >> 16 & 0xffffull) << 48);
		sys_poke(SYS_TSS32_AT + 4, 4, room ? 28 : 27);
		sys_poke(SYS_TSS32_AT + 8, 4, SEL_SPARE2);
		sys.c->seg[SEG_SS].limit = 0xff; /* nor are parameters there */
		sys.c->exc_hook = note_exception;
		RUN(0x9a, 0, 0, 0, 0, SEL_GATE | 3, 0);
		assert_int_equal(noted.vector, room ? EXC_GP : EXC_SS);
		assert_int_equal(noted.error, room ? 0 : SEL_SPARE2);

		/* to the same level: CS, EIP on this one */
		sys_start(SYS_PROT32, 0);
		sys_poke(SYS_GDT + SEL_SPARE, 8, sys_desc(0, 0xfffff, 0x9a | ATTR_DB));
		sys_poke(SYS_GDT + SEL_GATE, 8, (OVER & 0xffffull) | SEL_SPARE << 16 | 0xec00ull << 32 | (OVER >> 16 & 0xffffull) << 48);
		sys.c->gpr[RSP] = room ? 8 : 7;
		sys.c->seg[SEG_SS].limit = 0xffff;
		sys.c->exc_hook = note_exception;
		RUN(0x9a, 0, 0, 0, 0, SEL_GATE, 0);
		assert_int_equal(noted.vector, room ? EXC_GP : EXC_SS);
		assert_int_equal(noted.error, 0);

		/* an interrupt gate at the same level: EFLAGS, CS, EIP */
		sys_start(SYS_PROT32, 0);
		sys_poke(SYS_GDT + SEL_SPARE, 8, sys_desc(0, 0xfffff, 0x9a | ATTR_DB));
		sys_poke(SYS_IDT + 0x40 * 8, 8, (OVER & 0xffffull) | SEL_SPARE << 16 | 0x8e00ull << 32 | (OVER >> 16 & 0xffffull) << 48);
		sys.c->gpr[RSP] = room ? 12 : 11;
		sys.c->seg[SEG_SS].limit = 0xffff;
		sys.c->exc_hook = note_exception;
		RUN(0xcd, 0x40);
		assert_int_equal(noted.vector, room ? EXC_GP : EXC_SS);
		assert_int_equal(sys_peek(7, 4), 0);
	}
}

/*
 * A frame across two pages that are both absent: manuals leave open which is named. The differential tester compares
 * with the host, whose IRET reads the flags first, and whose RET the offset.
 */
static void iret_reads_the_flags_first_and_ret_the_offset(void **state)
{
	static const struct {
		uint8_t opcode;
		uint64_t first;
	} cases[] = { { 0xcf, SYS_DATA + 0x1004 }, { 0xcb, SYS_DATA + 0xffc } };

	for (unsigned i = 0; i < 2; i++) {
		sys_start(SYS_COMPAT, 3);
		sys_page(SYS_DATA, 0);
		sys_page(SYS_DATA + 0x1000, 0);
		sys.c->gpr[RSP] = SYS_DATA + 0x1000 - 4;
		assert_int_equal(RUN(cases[i].opcode), EXC_PF);
		assert_int_equal(sys.c->cr2, cases[i].first);
	}
}

/* Vol. 2, RET and IRET: all of the frame has to be within the limit before any of it is read. */
static void a_frame_over_the_limit_is_ss_before_its_first_page_is_touched(void **state)
{
	static const uint8_t opcode[] = { 0xcb, 0xcf };

	for (unsigned i = 0; i < 2; i++) {
		for (unsigned over = 0; over < 2; over++) {
			sys_start(SYS_COMPAT, 3);
			sys_page(SYS_DATA, 0);
			sys.c->gpr[RSP] = SYS_DATA;
			sys.c->seg[SEG_SS].limit = SYS_DATA + (i ? 12 : 8) - 1 - over;
			assert_int_equal(RUN(opcode[i]), over ? EXC_SS : EXC_PF);
		}
	}
}

/* The source of a string instruction is read before its destination is looked at. */
static void a_fault_of_the_source_of_movs_comes_before_one_of_its_destination(void **state)
{
	sys_start(SYS_COMPAT, 3);
	sys_page(SYS_DATA, 0);
	sys.c->gpr[RSI] = SYS_DATA - 2;
	sys.c->gpr[RCX] = 2;
	sys.c->seg[SEG_ES].attr &= ~(uint32_t)TYPE_W;
	assert_int_equal(RUN(0xf3, 0xa5), EXC_PF);
	assert_int_equal(sys.c->cr2, SYS_DATA);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(clflush_takes_an_execute_only_segment_where_a_load_is_gp),
		TEST(the_selector_of_a_far_pointer_at_the_end_of_64_kib_is_at_offset_0),
		TEST(the_upper_bound_at_the_end_of_64_kib_is_at_offset_0),
		TEST(a_far_call_without_stack_is_ss_even_if_its_offset_is_over_the_limit),
		TEST(a_gate_without_stack_is_ss_even_if_its_offset_is_over_the_limit),
		TEST(iret_reads_the_flags_first_and_ret_the_offset),
		TEST(a_frame_over_the_limit_is_ss_before_its_first_page_is_touched),
		TEST(a_fault_of_the_source_of_movs_comes_before_one_of_its_destination),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
