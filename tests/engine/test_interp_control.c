// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stack, branches, flags and privilege in the interpreter: what needs system state, and so is out
 * of reach of a comparison with the host. Division by reference.
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

/* --- the stack --- */

static void push_and_pop_of_rsp_use_the_old_and_the_popped_value(void **state)
{
	struct cpu *c = rig.c;

	assert_int_equal(RUN(0x54), RIG_NO_FAULT);
	assert_int_equal(c->gpr[RSP], 0x7ff8);
	assert_int_equal(rig_peek(0x7ff8, 8), 0x8000);
	rig_poke(0x7ff8, 8, 0x6000);
	assert_int_equal(RUN(0x5c), RIG_NO_FAULT);
	assert_int_equal(c->gpr[RSP], 0x6000);
}

static void pop_to_memory_addresses_with_rsp_after_the_pop(void **state)
{
	rig_poke(0x8000, 8, 0x1122334455667788);
	assert_int_equal(RUN(0x8f, 0x44, 0x24, 0x10), RIG_NO_FAULT); /* pop qword [rsp+0x10] */
	assert_int_equal(rig_peek(0x8018, 8), 0x1122334455667788);
	assert_int_equal(rig.c->gpr[RSP], 0x8008);
}

static void pop_to_memory_that_faults_leaves_rsp(void **state)
{
	rig.page[4] = PAGE_READONLY;
	rig.c->gpr[RBX] = 0x4000;
	assert_int_equal(RUN(0x8f, 0x03), EXC_PF);
	assert_int_equal(rig.c->gpr[RSP], 0x8000);
}

static void push_in_16_bit_stack_wraps_and_keeps_the_upper_half(void **state)
{
	struct cpu *c = rig.c;

	rig_reset(INSN_MODE16, 0);
	c->gpr[RSP] = 0xabcd0000;
	assert_int_equal(RUN(0x68, 0x34, 0x12), RIG_NO_FAULT);
	assert_int_equal(c->gpr[RSP], 0xabcdfffe);
	assert_int_equal(rig_peek(0xfffe, 2), 0x1234);
}

static void push_imm8_is_sign_extended_to_the_operand(void **state)
{
	assert_int_equal(RUN(0x6a, 0x80), RIG_NO_FAULT);
	assert_int_equal(rig_peek(0x7ff8, 8), 0xffffffffffffff80);
	assert_int_equal(RUN(0x66, 0x6a, 0x80), RIG_NO_FAULT);
	assert_int_equal(rig.c->gpr[RSP], 0x7ff6);
	assert_int_equal(rig_peek(0x7ff6, 2), 0xff80);
}

static void pusha_that_faults_stores_nothing(void **state)
{
	struct cpu *c = rig.c;

	rig_reset(INSN_MODE32, 3);
	rig.page[7] = PAGE_ABSENT;
	c->gpr[RSP] = 0x8010;
	c->gpr[RAX] = 0x11111111;
	assert_int_equal(RUN(0x60), EXC_PF);
	assert_int_equal(c->gpr[RSP], 0x8010);
	assert_int_equal(rig_peek(0x800c, 4), 0);
}

static void popa_skips_the_stack_pointer(void **state)
{
	struct cpu *c = rig.c;

	rig_reset(INSN_MODE32, 3);
	for (unsigned i = 0; i < 8; i++)
		rig_poke(0x8000 + i * 4, 4, 100 + i);
	assert_int_equal(RUN(0x61), RIG_NO_FAULT);
	assert_int_equal(c->gpr[RSP], 0x8020);
	assert_int_equal(c->gpr[RDI], 100);
	assert_int_equal(c->gpr[RBP], 102);
	assert_int_equal(c->gpr[RBX], 104);
	assert_int_equal(c->gpr[RAX], 107);
}

static void enter_builds_a_display(void **state)
{
	struct cpu *c = rig.c;

	c->gpr[RBP] = 0x9000;
	rig_poke(0x8ff8, 8, 0xd1);
	rig_poke(0x8ff0, 8, 0xd2);
	assert_int_equal(RUN(0xc8, 0x20, 0x00, 0x03), RIG_NO_FAULT);
	assert_int_equal(rig_peek(0x7ff8, 8), 0x9000);
	assert_int_equal(rig_peek(0x7ff0, 8), 0xd1);
	assert_int_equal(rig_peek(0x7fe8, 8), 0xd2);
	assert_int_equal(rig_peek(0x7fe0, 8), 0x7ff8);
	assert_int_equal(c->gpr[RBP], 0x7ff8);
	assert_int_equal(c->gpr[RSP], 0x7fc0);
}

static void enter_checks_the_final_stack_pointer_before_it_stores(void **state)
{
	struct cpu *c = rig.c;

	c->gpr[RBP] = 0x9000;
	rig.page[6] = PAGE_ABSENT;
	assert_int_equal(RUN(0xc8, 0x20, 0x10, 0x00), EXC_PF);
	assert_int_equal(c->gpr[RSP], 0x8000);
	assert_int_equal(c->gpr[RBP], 0x9000);
	assert_int_equal(rig_peek(0x7ff8, 8), 0);
}

/* --- branches --- */

static void branch_to_a_noncanonical_address_faults_before_the_push(void **state)
{
	struct cpu *c = rig.c;

	c->gpr[RAX] = 0x0000800000000000;
	assert_int_equal(RUN(0xff, 0xd0), EXC_GP); /* call rax */
	assert_int_equal(c->gpr[RSP], 0x8000);
	assert_int_equal(RUN(0xff, 0xe0), EXC_GP);
	rig_poke(0x8000, 8, 0xffff7fffffffffff);
	assert_int_equal(RUN(0xc3), EXC_GP);
	assert_int_equal(c->gpr[RSP], 0x8000);
	c->gpr[GPR_RIP] = 0x00007ffffffffff0;
	assert_int_equal(RUN(0xe8, 0x20, 0, 0, 0), EXC_GP);
	assert_int_equal(RUN(0x74, 0x20), RIG_NO_FAULT); /* not taken: no matter */
	c->flags = AF_ZF;
	assert_int_equal(RUN(0x74, 0x20), EXC_GP);
}

static void branch_beyond_the_limit_faults(void **state)
{
	struct cpu *c = rig.c;

	rig_reset(INSN_MODE32, 3);
	c->seg[SEG_CS].limit = 0x1fff;
	assert_int_equal(RUN(0xe9, 0xfa, 0x0f, 0, 0), RIG_NO_FAULT); /* to 0x1fff */
	assert_int_equal(c->gpr[GPR_RIP], 0x1fff);
	c->gpr[GPR_RIP] = 0x1000;
	assert_int_equal(RUN(0xe8, 0xfb, 0x0f, 0, 0), EXC_GP);
	assert_int_equal(c->gpr[RSP], 0x8000);
	c->gpr[RCX] = 2;
	c->gpr[GPR_RIP] = 0x1ffd;
	assert_int_equal(RUN(0xe2, 0x10), EXC_GP); /* loop: the count is as it was */
	assert_int_equal(c->gpr[RCX], 2);
}

static void branch_in_16_bit_code_wraps_at_64_kib(void **state)
{
	rig_reset(INSN_MODE16, 0);
	rig.c->gpr[GPR_RIP] = 0xfff0;
	assert_int_equal(RUN(0xe9, 0x20, 0x00), RIG_NO_FAULT);
	assert_int_equal(rig.c->gpr[GPR_RIP], 0x13);
}

static void operand_prefix_does_not_narrow_branches_in_64_bit_mode(void **state)
{
	rig.c->gpr[GPR_RIP] = 0x12345678;
	assert_int_equal(RUN(0x66, 0xe8, 0x00, 0x10, 0, 0), RIG_NO_FAULT);
	assert_int_equal(rig.c->gpr[GPR_RIP], 0x1234667e);
	assert_int_equal(rig.c->gpr[RSP], 0x7ff8);
	rig.c->gpr[GPR_RIP] = 0x12345678;
	assert_int_equal(RUN(0x66, 0x75, 0x10), RIG_NO_FAULT);
	assert_int_equal(rig.c->gpr[GPR_RIP], 0x1234568b);
}

/* --- flags and privilege --- */

static void popf_changes_what_the_privilege_allows(void **state)
{
	struct cpu *c = rig.c;
	const uint64_t all = 0x3f7fd7;

	c->sysflags |= RF_RF;
	rig_poke(0x8000, 8, all);
	assert_int_equal(RUN(0x9d), RIG_NO_FAULT);
	assert_int_equal(cpu_rflags(c), 0x247fd7); /* not VM, VIF, VIP; RF is cleared */
	assert_int_equal(c->brk, 1);

	rig_reset(INSN_MODE64, 3);
	rig_poke(0x8000, 8, all);
	assert_int_equal(RUN(0x9d), RIG_NO_FAULT);
	assert_int_equal(cpu_rflags(c), 0x244dd7); /* nor IOPL and IF */

	rig_reset(INSN_MODE64, 3);
	c->sysflags |= RF_IOPL;
	rig_poke(0x8000, 8, 0x202);
	assert_int_equal(RUN(0x9d), RIG_NO_FAULT);
	assert_int_equal(cpu_rflags(c), 0x3202);

	rig_reset(INSN_MODE64, 0);
	c->sysflags |= RF_AC | RF_ID;
	rig_poke(0x8000, 8, 0x2);
	assert_int_equal(RUN(0x66, 0x9d), RIG_NO_FAULT); /* 16 bits: the upper half stays */
	assert_int_equal(cpu_rflags(c), RF_AC | RF_ID | 2);
}

static void pushf_hides_rf_and_vm(void **state)
{
	struct cpu *c = rig.c;

	c->sysflags |= RF_RF | RF_AC | RF_NT;
	c->flags = AF_OF | AF_SF;
	assert_int_equal(RUN(0x9c), RIG_NO_FAULT);
	assert_int_equal(rig_peek(0x7ff8, 8), RF_AC | RF_NT | 0x882);
}

static void pushf_and_popf_in_vm86_below_iopl_3_raise_gp(void **state)
{
	struct cpu *c = rig.c;

	rig_reset(INSN_MODE16, 3);
	c->real = 1;
	c->sysflags |= RF_VM;
	assert_int_equal(RUN(0x9c), EXC_GP);
	assert_int_equal(RUN(0x9d), EXC_GP);
	c->cr4 = CR4_VME;
	c->sysflags |= RF_VIF;
	assert_int_equal(RUN(0x9c), RIG_NO_FAULT); /* VIF in IF's place, IOPL 3 */
	assert_int_equal(rig_peek(0x7ffe, 2), 0x3202);
	rig_poke(0x7ffe, 2, 2);
	assert_int_equal(RUN(0x9d), RIG_NO_FAULT);
	assert_false(c->sysflags & RF_VIF);
	assert_int_equal(RUN(0x66, 0x9c), EXC_GP);
}

static void sti_shadows_one_instruction_if_interrupts_were_off(void **state)
{
	struct cpu *c = rig.c;

	assert_int_equal(RUN(0xfb), RIG_NO_FAULT);
	assert_int_equal(c->shadow, 1);
	assert_true(c->sysflags & RF_IF);
	c->shadow = 0;
	assert_int_equal(RUN(0xfb), RIG_NO_FAULT);
	assert_int_equal(c->shadow, 0);
	assert_int_equal(RUN(0xfa), RIG_NO_FAULT);
	assert_false(c->sysflags & RF_IF);
}

static void cli_and_sti_need_iopl(void **state)
{
	struct cpu *c = rig.c;

	rig_reset(INSN_MODE64, 3);
	c->sysflags |= RF_IF;
	assert_int_equal(RUN(0xfa), EXC_GP);
	assert_int_equal(RUN(0xfb), EXC_GP);
	assert_true(c->sysflags & RF_IF);
	c->cr4 = CR4_PVI;
	assert_int_equal(RUN(0xfb), RIG_NO_FAULT);
	assert_true(c->sysflags & RF_VIF);
	c->sysflags |= RF_VIP;
	assert_int_equal(RUN(0xfb), EXC_GP);
	c->sysflags |= RF_IOPL;
	assert_int_equal(RUN(0xfa), RIG_NO_FAULT);
	assert_false(c->sysflags & RF_IF);
}

static void privileged_instruction_outside_ring_0_raises_gp(void **state)
{
	rig_reset(INSN_MODE64, 3);
	assert_int_equal(RUN(0xf4), EXC_GP); /* hlt */
	assert_int_equal(rig.error, 0);
	assert_int_equal(RUN(0x0f, 0x30), EXC_GP); /* wrmsr */
}

static void protected_mode_instruction_in_real_mode_raises_ud(void **state)
{
	rig_reset(INSN_MODE16, 0);
	rig.c->real = 1;
	assert_int_equal(RUN(0x0f, 0x00, 0xd0), EXC_UD);	   /* lldt ax */
	assert_int_equal(RUN(0xc4, 0xe2, 0x60, 0xf2, 0xc1), EXC_UD); /* andn */
}

static void lahf_and_sahf_move_five_flags(void **state)
{
	struct cpu *c = rig.c;

	c->gpr[RAX] = 0xff00;
	c->flags = AF_OF;
	assert_int_equal(RUN(0x9e), RIG_NO_FAULT);
	assert_int_equal(cpu_rflags(c), 0x8d7);
	c->gpr[RAX] = 0;
	assert_int_equal(RUN(0x9f), RIG_NO_FAULT);
	assert_int_equal(c->gpr[RAX], 0xd700);
}

/* --- division --- */

static void div_of_bytes_agrees_with_arithmetic(void **state)
{
	struct cpu *c = rig.c;

	for (unsigned b = 0; b < 256; b++) {
		for (unsigned a = 0; a < 65536; a += b % 16 ? 251 : 7) {
			int q, s = (int8_t)b, v = (int16_t)a;

			c->gpr[RAX] = a;
			c->gpr[RBX] = b;
			if (!b || a / b > 255) {
				assert_int_equal(STEP(0xf6, 0xf3), EXC_DE);
				assert_int_equal(c->gpr[RAX], a);
			} else {
				assert_int_equal(STEP(0xf6, 0xf3), RIG_NO_FAULT);
				assert_int_equal(c->gpr[RAX], (a % b) << 8 | a / b);
			}
			c->gpr[RAX] = a;
			q = s ? v / s : 0;
			if (!s || q > 127 || q < -128) {
				assert_int_equal(STEP(0xf6, 0xfb), EXC_DE);
			} else {
				assert_int_equal(STEP(0xf6, 0xfb), RIG_NO_FAULT);
				assert_int_equal(c->gpr[RAX], (uint8_t)(v % s) << 8 | (uint8_t)q);
			}
		}
	}
}

struct division {
	uint64_t lo, hi, divisor;
	bool signed_fits, unsigned_fits;
};

static void div_of_64_bits_raises_at_the_edges(void **state)
{
	static const struct division list[] = {
		{ 1, 0, 0, false, false },
		{ 1ull << 63, ~0ull, ~0ull, false, false },	   /* INT64_MIN / -1 */
		{ 1ull << 63, ~0ull, 1, true, false },		   /* INT64_MIN / 1 */
		{ 1ull << 63, 0, 1, false, true },
		{ 0x7fffffffffffffff, 0, 1, true, true },
		{ 0, 1ull << 63, 1, false, false },		   /* -2^127 */
		{ 0, 1ull << 63, 1ull << 63, false, false },	   /* -2^127 / -2^63 = 2^64 */
		{ 0, ~0ull << 62, 1ull << 63, false, false },	   /* -2^126 / -2^63 = 2^63 */
		{ 1, ~0ull << 62, 1ull << 63, true, false },	   /* just below */
		{ 0, 1ull << 62, 1ull << 63, true, true },	   /* 2^126 / -2^63 = -2^63 */
		{ ~0ull, 4, 5, false, true },
		{ 0, 5, 5, false, false },
	};
	struct cpu *c = rig.c;

	for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		const struct division *d = &list[i];

		c->gpr[RAX] = d->lo;
		c->gpr[RDX] = d->hi;
		c->gpr[RBX] = d->divisor;
		assert_int_equal(STEP(0x48, 0xf7, 0xf3), d->unsigned_fits ? RIG_NO_FAULT : EXC_DE);
		c->gpr[RAX] = d->lo;
		c->gpr[RDX] = d->hi;
		assert_int_equal(STEP(0x48, 0xf7, 0xfb), d->signed_fits ? RIG_NO_FAULT : EXC_DE);
	}
}

static void aam_by_zero_raises_de(void **state)
{
	rig_reset(INSN_MODE32, 3);
	rig.c->gpr[RAX] = 77;
	assert_int_equal(RUN(0xd4, 0x00), EXC_DE);
	assert_int_equal(RUN(0xd4, 0x0a), RIG_NO_FAULT);
	assert_int_equal(rig.c->gpr[RAX], 0x707);
}

#define T(name) cmocka_unit_test_setup(name, reset64)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(push_and_pop_of_rsp_use_the_old_and_the_popped_value),
		T(pop_to_memory_addresses_with_rsp_after_the_pop),
		T(pop_to_memory_that_faults_leaves_rsp),
		T(push_in_16_bit_stack_wraps_and_keeps_the_upper_half),
		T(push_imm8_is_sign_extended_to_the_operand),
		T(pusha_that_faults_stores_nothing),
		T(popa_skips_the_stack_pointer),
		T(enter_builds_a_display),
		T(enter_checks_the_final_stack_pointer_before_it_stores),
		T(branch_to_a_noncanonical_address_faults_before_the_push),
		T(branch_beyond_the_limit_faults),
		T(branch_in_16_bit_code_wraps_at_64_kib),
		T(operand_prefix_does_not_narrow_branches_in_64_bit_mode),
		T(popf_changes_what_the_privilege_allows),
		T(pushf_hides_rf_and_vm),
		T(pushf_and_popf_in_vm86_below_iopl_3_raise_gp),
		T(sti_shadows_one_instruction_if_interrupts_were_off),
		T(cli_and_sti_need_iopl),
		T(privileged_instruction_outside_ring_0_raises_gp),
		T(protected_mode_instruction_in_real_mode_raises_ud),
		T(lahf_and_sahf_move_five_flags),
		T(div_of_bytes_agrees_with_arithmetic),
		T(div_of_64_bits_raises_at_the_edges),
		T(aam_by_zero_raises_de),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
