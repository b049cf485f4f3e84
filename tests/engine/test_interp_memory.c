// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the interpreter does around faults, MMIO and repetition: things that no comparison with a
 * single native run shows.
 */
#include "interp_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static int reset64(void **state)
{
	rig_reset(INSN_MODE64, 0);
	return 0;
}

/* --- read-modify-write --- */

static void rmw_of_a_readonly_page_faults_as_a_write(void **state)
{
	struct cpu *c = rig.c;

	rig.page[4] = PAGE_READONLY;
	rig_poke(0x4000, 4, 5);
	c->gpr[RBX] = 0x4000;
	assert_int_equal(RUN(0x83, 0x03, 0x01), EXC_PF); /* add dword [rbx], 1 */
	assert_int_equal(rig.error, 3);
	assert_int_equal(c->cr2, 0x4000);
	assert_int_equal(c->gpr[GPR_RIP], 0x1000);
	assert_int_equal(rig_peek(0x4000, 4), 5);
	assert_int_equal(RUN(0xd1, 0x23), EXC_PF); /* shl dword [rbx], 1 */
	assert_int_equal(rig.error, 3);
	assert_int_equal(RUN(0x0f, 0xba, 0x2b, 0x03), EXC_PF); /* bts dword [rbx], 3 */
	assert_int_equal(rig.error, 3);
}

static void rmw_of_mmio_loads_once_and_stores_once(void **state)
{
	struct cpu *c = rig.c;

	rig.page[4] = PAGE_MMIO;
	rig_poke(0x4010, 4, 0xffffffff);
	c->gpr[RBX] = 0x4010;
	c->flags = AF_CF;
	assert_int_equal(RUN(0x83, 0x13, 0x01), RIG_NO_FAULT); /* adc dword [rbx], 1 */
	assert_int_equal(rig.mmio_loads, 1);
	assert_int_equal(rig.mmio_stores, 1);
	assert_int_equal(rig_peek(0x4010, 4), 1);
	assert_true(c->flags & AF_CF);
}

static void rmw_across_into_a_readonly_page_changes_nothing(void **state)
{
	struct cpu *c = rig.c;

	rig.page[5] = PAGE_READONLY;
	rig_poke(0x4ffe, 4, 0x01020304);
	c->gpr[RBX] = 0x4ffe;
	assert_int_equal(RUN(0xff, 0x03), EXC_PF); /* inc dword [rbx] */
	assert_int_equal(c->cr2 & ~0xfffull, 0x5000);
	assert_int_equal(rig_peek(0x4ffe, 4), 0x01020304);
}

/* --- locked --- */

static void locked_add_across_pages_stops_the_world(void **state)
{
	struct cpu *c = rig.c;

	rig_poke(0x4ffd, 8, 0x00ffffffffffffff);
	c->gpr[RBX] = 0x4ffd;
	c->gpr[RAX] = 1;
	assert_int_equal(RUN(0xf0, 0x48, 0x01, 0x03), RIG_NO_FAULT); /* lock add [rbx], rax */
	assert_int_equal(rig.world_stops, 1);
	assert_false(rig.world_stopped);
	assert_int_equal(rig_peek(0x4ffd, 8), 0x0100000000000000);
}

static void locked_operation_that_faults_never_stops_the_world(void **state)
{
	struct cpu *c = rig.c;

	rig.page[5] = PAGE_ABSENT;
	c->gpr[RBX] = 0x4ffd;
	c->gpr[RAX] = 1;
	assert_int_equal(RUN(0x48, 0x87, 0x03), EXC_PF); /* xchg [rbx], rax */
	assert_int_equal(rig.error, 2);
	assert_int_equal(rig.world_stops, 0);
	assert_int_equal(c->gpr[RAX], 1);
}

static void locked_operation_across_cache_lines_stops_the_world(void **state)
{
	struct cpu *c = rig.c;

	c->gpr[RBX] = 0x403e;
	c->gpr[RAX] = 3;
	assert_int_equal(RUN(0xf0, 0x0f, 0xc1, 0x03), RIG_NO_FAULT); /* lock xadd [rbx], eax */
	assert_int_equal(rig.world_stops, 1);
	assert_int_equal(rig_peek(0x403e, 4), 3);
	assert_int_equal(c->gpr[RAX], 0);
}

static void xchg_with_mmio_leaves_twice_and_swaps(void **state)
{
	struct cpu *c = rig.c;

	rig.page[4] = PAGE_MMIO;
	rig_poke(0x4000, 4, 0xabcd);
	c->gpr[RBX] = 0x4000;
	c->gpr[RAX] = 0x1234;
	assert_int_equal(RUN(0x87, 0x03), RIG_NO_FAULT); /* xchg [rbx], eax */
	assert_int_equal(rig.mmio_loads, 1);
	assert_int_equal(rig.mmio_stores, 1);
	assert_int_equal(rig.world_stops, 0);
	assert_int_equal(c->gpr[RAX], 0xabcd);
	assert_int_equal(rig_peek(0x4000, 4), 0x1234);
}

static void cmpxchg_that_fails_needs_write_permission(void **state)
{
	struct cpu *c = rig.c;

	rig.page[4] = PAGE_READONLY;
	rig_poke(0x4000, 4, 7);
	c->gpr[RBX] = 0x4000;
	c->gpr[RAX] = 8;
	assert_int_equal(RUN(0xf0, 0x0f, 0xb1, 0x0b), EXC_PF); /* lock cmpxchg [rbx], ecx */
	assert_int_equal(rig.error, 3);
	assert_int_equal(c->gpr[RAX], 8);
}

static void cmpxchg16b_checks_alignment_before_the_page(void **state)
{
	struct cpu *c = rig.c;

	rig.page[4] = PAGE_ABSENT;
	c->gpr[RBX] = 0x4008;
	assert_int_equal(RUN(0x48, 0x0f, 0xc7, 0x0b), EXC_GP);
	c->gpr[RBX] = 0x4010;
	assert_int_equal(RUN(0x48, 0x0f, 0xc7, 0x0b), EXC_PF);
}

/* --- strings --- */

static void rep_movs_that_faults_keeps_completed_elements(void **state)
{
	struct cpu *c = rig.c;

	rig.page[6] = PAGE_ABSENT;
	memset(rig.mem + 0x4000, 0x5a, 0x100);
	c->gpr[RSI] = 0x4000;
	c->gpr[RDI] = 0x5fe0;
	c->gpr[RCX] = 0x100;
	assert_int_equal(RUN(0xf3, 0xa4), EXC_PF);
	assert_int_equal(rig.error, 2);
	assert_int_equal(c->cr2, 0x6000);
	assert_int_equal(c->gpr[GPR_RIP], 0x1000);
	assert_int_equal(c->gpr[RCX], 0xe0);
	assert_int_equal(c->gpr[RSI], 0x4020);
	assert_int_equal(c->gpr[RDI], 0x6000);
	assert_int_equal(rig_peek(0x5ff8, 8), 0x5a5a5a5a5a5a5a5a);
}

static void rep_movs_element_across_pages_faults_whole(void **state)
{
	struct cpu *c = rig.c;

	rig.page[6] = PAGE_ABSENT;
	memset(rig.mem + 0x4000, 0x5a, 0x100);
	c->gpr[RSI] = 0x4000;
	c->gpr[RDI] = 0x5ff4;
	c->gpr[RCX] = 4;
	assert_int_equal(RUN(0xf3, 0x48, 0xa5), EXC_PF); /* rep movsq */
	assert_int_equal(c->gpr[RCX], 3);
	assert_int_equal(c->gpr[RDI], 0x5ffc);
	assert_int_equal(rig_peek(0x5ffc, 4), 0);
}

static void rep_movs_forward_into_itself_replicates(void **state)
{
	struct cpu *c = rig.c;

	rig_poke(0x4ff0, 2, 0xbbaa);
	c->gpr[RSI] = 0x4ff0;
	c->gpr[RDI] = 0x4ff2;
	c->gpr[RCX] = 0x40;
	assert_int_equal(RUN(0xf3, 0xa4), RIG_NO_FAULT);
	for (unsigned i = 0; i < 0x42; i += 2)
		assert_int_equal(rig_peek(0x4ff0 + i, 2), 0xbbaa);
}

static void rep_movs_backward_crosses_pages(void **state)
{
	struct cpu *c = rig.c;

	for (unsigned i = 0; i < 0x2000; i++)
		rig.mem[0x4000 + i] = (uint8_t)(i * 7 + (i >> 8));
	c->sysflags |= RF_DF;
	c->gpr[RSI] = 0x5ffb;
	c->gpr[RDI] = 0x8ffd;
	c->gpr[RCX] = 0x1800 / 4;
	assert_int_equal(RUN(0xf3, 0xa5), RIG_NO_FAULT);
	assert_int_equal(c->gpr[RSI], 0x5ffb - 0x1800);
	assert_int_equal(c->gpr[RCX], 0);
	assert_memory_equal(rig.mem + 0x8ffd + 4 - 0x1800, rig.mem + 0x5ffb + 4 - 0x1800, 0x1800);
	assert_int_equal(rig_peek(0x9001, 1), 0);
}

static void rep_movs_backward_faults_at_the_page_below(void **state)
{
	struct cpu *c = rig.c;

	rig.page[8] = PAGE_ABSENT;
	memset(rig.mem + 0x4000, 0x5a, 0x1000);
	c->sysflags |= RF_DF;
	c->gpr[RSI] = 0x4800;
	c->gpr[RDI] = 0x900c;
	c->gpr[RCX] = 100;
	assert_int_equal(RUN(0xf3, 0xa5), EXC_PF);
	assert_int_equal(c->gpr[RCX], 96);
	assert_int_equal(c->gpr[RDI], 0x8ffc);
	assert_int_equal(rig_peek(0x8ffc, 4), 0);
	assert_int_equal(rig_peek(0x9000, 4), 0x5a5a5a5a);
}

static void rep_stos_returns_to_the_loop_after_a_page(void **state)
{
	struct cpu *c = rig.c;

	c->gpr[RDI] = 0x4800;
	c->gpr[RCX] = 0x1000;
	c->gpr[RAX] = 0x77;
	assert_int_equal(STEP(0xf3, 0xaa), RIG_NO_FAULT);
	assert_int_equal(c->gpr[RCX], 0x800);
	assert_int_equal(c->gpr[RDI], 0x5000);
	assert_int_equal(c->gpr[GPR_RIP], 0x1000);
	assert_int_equal(c->brk, 1);
	assert_int_equal(STEP(0xf3, 0xaa), RIG_NO_FAULT);
	assert_int_equal(c->gpr[RCX], 0);
	assert_int_equal(c->gpr[GPR_RIP], 0x1002);
	assert_int_equal(rig_peek(0x57ff, 2), 0x77);
}

static void rep_lods_pauses_when_a_request_waits(void **state)
{
	struct cpu *c = rig.c;

	atomic_store(&c->req, REQ_INTR);
	c->gpr[RSI] = 0x4000;
	c->gpr[RCX] = 10;
	assert_int_equal(STEP(0xf3, 0xac), RIG_NO_FAULT);
	assert_int_equal(c->gpr[RCX], 9);
	assert_int_equal(c->gpr[GPR_RIP], 0x1000);
}

static void rep_movs_from_mmio_loads_each_element_once(void **state)
{
	struct cpu *c = rig.c;

	rig.page[4] = PAGE_MMIO;
	for (unsigned i = 0; i < 16; i++)
		rig_poke(0x4000 + i * 4, 4, i + 1);
	c->gpr[RSI] = 0x4000;
	c->gpr[RDI] = 0x9000;
	c->gpr[RCX] = 16;
	assert_int_equal(RUN(0xf3, 0xa5), RIG_NO_FAULT);
	assert_int_equal(rig.mmio_loads, 16);
	assert_memory_equal(rig.mem + 0x9000, rig.mem + 0x4000, 64);
}

static void single_step_trap_sees_each_repetition(void **state)
{
	struct cpu *c = rig.c;

	c->sysflags |= RF_TF;
	c->gpr[RDI] = 0x4000;
	c->gpr[RCX] = 3;
	assert_int_equal(STEP(0xf3, 0xaa), RIG_NO_FAULT);
	assert_int_equal(c->gpr[RCX], 2);
	assert_int_equal(c->gpr[GPR_RIP], 0x1000);
}

static void repne_scas_stops_behind_the_match(void **state)
{
	struct cpu *c = rig.c;

	rig_poke(0x5003, 1, 0x42);
	c->gpr[RDI] = 0x4ff0;
	c->gpr[RCX] = ~0ull;
	c->gpr[RAX] = 0x42;
	assert_int_equal(RUN(0xf2, 0xae), RIG_NO_FAULT);
	assert_int_equal(c->gpr[RDI], 0x5004);
	assert_int_equal(~c->gpr[RCX], 0x14);
	assert_true(c->flags & AF_ZF);
}

static void repe_cmps_with_count_0_leaves_flags(void **state)
{
	struct cpu *c = rig.c;

	c->flags = AF_CF | AF_OF;
	c->gpr[RSI] = 0xdead000;
	assert_int_equal(RUN(0xf3, 0xa6), RIG_NO_FAULT);
	assert_int_equal(c->flags, AF_CF | AF_OF);
}

static void string_addresses_wrap_at_64_kib_in_16_bit_code(void **state)
{
	struct cpu *c = rig.c;

	rig_reset(INSN_MODE16, 0);
	c->gpr[RDI] = 0x1234fff0;
	c->gpr[RCX] = 0xabcd0020;
	c->gpr[RAX] = 0x99;
	assert_int_equal(RUN(0xf3, 0xaa), RIG_NO_FAULT);
	assert_int_equal(c->gpr[RDI], 0x12340010);
	assert_int_equal(c->gpr[RCX], 0xabcd0000);
	assert_int_equal(rig_peek(0xffff, 1), 0x99);
	assert_int_equal(rig_peek(0x10000, 1), 0);
	assert_int_equal(rig_peek(0xf, 1), 0x99);
}

static void string_run_stops_at_the_segment_limit(void **state)
{
	struct cpu *c = rig.c;

	rig_reset(INSN_MODE32, 3);
	c->seg[SEG_ES].limit = 0x40ff;
	c->gpr[RDI] = 0x40f0;
	c->gpr[RCX] = 8;
	assert_int_equal(RUN(0xf3, 0xab), EXC_GP);
	assert_int_equal(c->gpr[RDI], 0x4100);
	assert_int_equal(c->gpr[RCX], 4);
}

static void ins_checks_the_destination_before_the_port(void **state)
{
	struct cpu *c = rig.c;

	rig.page[4] = PAGE_READONLY;
	c->gpr[RDI] = 0x4000;
	c->gpr[RDX] = 0x1f0;
	assert_int_equal(RUN(0x6c), EXC_PF);
	assert_int_equal(rig.port_reads, 0);
	rig.port_denied = 0x1f0;
	assert_int_equal(RUN(0x6c), EXC_GP);
}

static void rep_ins_reads_the_port_once_an_element(void **state)
{
	struct cpu *c = rig.c;

	c->gpr[RDI] = 0x4000;
	c->gpr[RCX] = 5;
	assert_int_equal(RUN(0xf3, 0x6d), RIG_NO_FAULT);
	assert_int_equal(rig.port_reads, 5);
	assert_int_equal(c->gpr[RCX], 0);
	assert_int_equal(rig_peek(0x4000, 4), 0x55667700);
	assert_int_equal(rig_peek(0x4010, 4), 0x55667704);
}

static void bit_offset_in_a_register_reaches_beyond_the_operand(void **state)
{
	struct cpu *c = rig.c;

	c->gpr[RBX] = 0x4000;
	c->gpr[RCX] = (uint64_t)-1;
	assert_int_equal(RUN(0x0f, 0xab, 0x0b), RIG_NO_FAULT); /* bts [rbx], ecx */
	assert_int_equal(rig_peek(0x3ffc, 4), 0x80000000);
	c->gpr[RCX] = 64 * 8 + 3;
	assert_int_equal(RUN(0xf0, 0x48, 0x0f, 0xab, 0x0b), RIG_NO_FAULT);
	assert_int_equal(rig_peek(0x4040, 8), 8);
}

#define T(name) cmocka_unit_test_setup(name, reset64)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(rmw_of_a_readonly_page_faults_as_a_write),
		T(rmw_of_mmio_loads_once_and_stores_once),
		T(rmw_across_into_a_readonly_page_changes_nothing),
		T(locked_add_across_pages_stops_the_world),
		T(locked_operation_that_faults_never_stops_the_world),
		T(locked_operation_across_cache_lines_stops_the_world),
		T(xchg_with_mmio_leaves_twice_and_swaps),
		T(cmpxchg_that_fails_needs_write_permission),
		T(cmpxchg16b_checks_alignment_before_the_page),
		T(rep_movs_that_faults_keeps_completed_elements),
		T(rep_movs_element_across_pages_faults_whole),
		T(rep_movs_forward_into_itself_replicates),
		T(rep_movs_backward_crosses_pages),
		T(rep_movs_backward_faults_at_the_page_below),
		T(rep_stos_returns_to_the_loop_after_a_page),
		T(rep_lods_pauses_when_a_request_waits),
		T(rep_movs_from_mmio_loads_each_element_once),
		T(single_step_trap_sees_each_repetition),
		T(repne_scas_stops_behind_the_match),
		T(repe_cmps_with_count_0_leaves_flags),
		T(string_addresses_wrap_at_64_kib_in_16_bit_code),
		T(string_run_stops_at_the_segment_limit),
		T(ins_checks_the_destination_before_the_port),
		T(rep_ins_reads_the_port_once_an_element),
		T(bit_offset_in_a_register_reaches_beyond_the_operand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
