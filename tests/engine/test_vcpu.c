// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What happens between instructions: shadows, single-stepping, NMI, ExtINT, HLT, exceptions in the middle
 * of a delivery (SDM vol. 3, chapter 6 and 17.3), and how long an interrupt may have to wait.
 */
#include "system_rig.h"

#include "engine/soft/interp/block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { VECTOR = 0x40, HANDLER = SYS_DATA + 0x800 };

static struct cpu *start(void)
{
	struct cpu *c;

	sys_start(SYS_LONG, 0);
	c = sys.c;
	c->lapic.reg[LAPIC_SVR] |= 1 << 8;
	return c;
}

/* The handler of @vector: @code. */
static void handler(unsigned vector, const void *code, size_t len)
{
	sys_poke(SYS_IDT + vector * 16, 2, HANDLER);
	if (ram_write(sys.ram, HANDLER, code, len))
		fail();
}

/* --- shadows: vol. 3, 6.8.3; vol. 2, STI --- */

static void sti_holds_interrupts_off_for_one_instruction(void **state)
{
	lapic_post(start(), VECTOR, false);
	assert_int_equal(RUN(0xfb, 0x90, 0x90), VECTOR); /* STI; NOP; NOP */
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 2);
}

static void sti_with_if_set_holds_nothing_off(void **state)
{
	struct cpu *c = start();

	c->sysflags |= RF_IF;
	c->shadow = 1; /* of another STI just before */
	lapic_post(c, VECTOR, false);
	assert_int_equal(RUN(0xfb, 0x90, 0x90), VECTOR);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 1);
}

static void sti_and_hlt_wait_for_the_interrupt(void **state)
{
	lapic_post(start(), VECTOR, false);
	assert_int_equal(RUN(0xfb, 0xf4), VECTOR);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 2);
	assert_true(sys_frame(2, 8) & RF_IF);
}

static void mov_ss_holds_interrupts_off_for_one_instruction(void **state)
{
	struct cpu *c = start();

	c->gpr[RAX] = SEL_DATA;
	lapic_post(c, VECTOR, false);
	assert_int_equal(RUN(0xfb, 0x8e, 0xd0, 0x90, 0x90), VECTOR); /* STI; MOV SS, AX; NOP; NOP */
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 4);
}

static void mov_ss_holds_nmi_off_too(void **state)
{
	struct cpu *c = start();

	c->shadow = 2;
	cpu_request(c, REQ_NMI);
	assert_int_equal(RUN(0x90, 0x90), EXC_NMI);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 1);
}

static void a_fault_in_a_shadow_ends_the_shadow(void **state)
{
	struct cpu *c = start();

	c->sysflags |= RF_IF;
	c->shadow = 2;
	assert_int_equal(RUN(0x0f, 0x0b), EXC_UD);
	assert_int_equal(c->shadow, 0);
	assert_int_equal(sys_frame(0, 8), SYS_CODE);
}

/* --- single steps: vol. 3, 17.3.1.4 --- */

static void a_step_traps_after_the_instruction_with_bs(void **state)
{
	struct cpu *c = start();

	c->sysflags |= RF_TF;
	assert_int_equal(RUN(0x90, 0x90), EXC_DB);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 1);
	assert_true(sys_frame(2, 8) & RF_TF);
	assert_false(sys_frame(2, 8) & RF_RF);
	assert_true(c->dr[6] & DR6_BS);
	assert_false(c->sysflags & RF_TF);
}

static void popf_that_sets_tf_is_not_stepped_but_what_follows(void **state)
{
	/* PUSHF; OR WORD [RSP], 0x100; POPF; NOP; NOP */
	start();
	assert_int_equal(RUN(0x9c, 0x66, 0x81, 0x0c, 0x24, 0x00, 0x01, 0x9d, 0x90, 0x90), EXC_DB);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 9);
}

static void a_step_over_mov_ss_traps_one_later(void **state)
{
	struct cpu *c = start();

	c->gpr[RAX] = SEL_DATA;
	c->sysflags |= RF_TF;
	assert_int_equal(RUN(0x8e, 0xd0, 0x90, 0x90), EXC_DB);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 3);
}

static void a_step_over_hlt_traps_and_does_not_halt(void **state)
{
	struct cpu *c = start();

	c->sysflags |= RF_TF;
	assert_int_equal(RUN(0xf4, 0x90), EXC_DB);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 1);
}

static void a_step_of_rep_is_one_iteration(void **state)
{
	struct cpu *c = start();

	c->gpr[RCX] = 3;
	c->gpr[RSI] = c->gpr[RDI] = SYS_DATA;
	c->sysflags |= RF_TF;
	assert_int_equal(RUN(0xf3, 0xa4), EXC_DB);
	assert_int_equal(sys_frame(0, 8), SYS_CODE);
	assert_int_equal(c->gpr[RCX], 2);
}

static void a_fault_of_a_stepped_instruction_is_no_step(void **state)
{
	struct cpu *c = start();

	c->sysflags |= RF_TF;
	assert_int_equal(RUN(0x0f, 0x0b), EXC_UD);
	assert_false(c->dr[6] & DR6_BS);
}

/* --- NMI: 6.7.1 --- */

static void nmi_is_masked_until_iret(void **state)
{
	struct cpu *c = start();

	handler(EXC_NMI, "\xf4\x90\x48\xcf", 4); /* HLT; NOP; IRETQ */
	cpu_request(c, REQ_NMI);
	assert_int_equal(RUN(0x90, 0x90), SYS_HALTED);
	assert_int_equal(c->gpr[GPR_RIP], HANDLER + 1);
	assert_int_equal(sys_frame(0, 8), SYS_CODE);
	cpu_request(c, REQ_NMI);
	cpu_request(c, REQ_NMI); /* one is remembered */
	assert_int_equal(sys_go_to_exit(), SYS_HALTED);
	assert_int_equal(c->gpr[GPR_RIP], HANDLER + 1); /* again, after the IRET */
	assert_int_equal(sys_frame(0, 8), SYS_CODE);
	assert_int_equal(sys_go_to_exit(), SYS_HALTED);
	assert_int_equal(c->gpr[GPR_RIP], SYS_CODE + 3);
}

static void nmi_ends_a_halt_with_interrupts_off(void **state)
{
	struct cpu *c = start();

	assert_int_equal(RUN(0x90), SYS_HALTED);
	cpu_request(c, REQ_NMI);
	c->activity = VCPU_HALTED;
	cpu_run(c);
	assert_int_equal(c->gpr[GPR_RIP], SYS_HANDLER + EXC_NMI + 1);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 2);
}

/* --- INIT: vol. 3, 9.4.3 --- */

static void init_forgets_a_startup_ipi_from_before_it(void **state)
{
	struct cpu *c = start();

	c->apic_base &= ~(1ull << 8); /* not the bootstrap processor */
	atomic_store(&c->lapic.sipi_vector, 8);
	cpu_request(c, REQ_SIPI);
	cpu_request(c, REQ_INIT);
	cpu_request(c, REQ_KICK);
	cpu_run(c);
	assert_int_equal(c->activity, VCPU_WAIT_SIPI);
	cpu_request(c, REQ_SIPI);
	cpu_request(c, REQ_KICK);
	cpu_run(c);
	assert_int_equal(c->activity, VCPU_RUNNING);
	assert_int_equal(c->seg[SEG_CS].base, 0x8000);
}

/* --- ExtINT --- */

static void an_extint_waits_for_its_window(void **state)
{
	struct cpu *c = start();

	atomic_store(&sys.run->request_extint, 1);
	assert_int_equal(RUN(0x90, 0xfb, 0x90, 0x90), SYS_OTHER); /* NOP; STI; NOP; NOP */
	assert_int_equal(sys.run->exit, ENGINE_EXIT_EXTINT_WINDOW);
	assert_true(sys.run->extint_ready);
	assert_int_equal(c->gpr[GPR_RIP], SYS_CODE + 3);
	atomic_store(&sys.run->request_extint, 0);
	c->extint_pending = 1;
	c->extint_vector = 0x77;
	assert_int_equal(sys_go_to_exit(), 0x77);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 3);
	assert_false(sys.run->extint_ready); /* IF is off */
	assert_false(c->lapic.reg[LAPIC_ISR + 3] >> 23 & 1);
}

static void no_window_while_lint0_is_masked(void **state)
{
	struct cpu *c = start();

	c->lapic.reg[LAPIC_LVT_LINT0] |= 1 << 16;
	atomic_store(&sys.run->request_extint, 1);
	assert_int_equal(RUN(0xfb, 0x90, 0xfa, 0x90), SYS_HALTED);
	assert_false(sys.run->extint_ready);
}

static void an_nmi_goes_before_an_interrupt_and_the_higher_before_the_lower(void **state)
{
	struct cpu *c = start();

	c->sysflags |= RF_IF;
	lapic_post(c, VECTOR, false);
	lapic_post(c, VECTOR + 0x20, false);
	cpu_request(c, REQ_NMI);
	assert_int_equal(RUN(0x90), EXC_NMI);
	c->sysflags |= RF_IF; /* the handler of NMI lets interrupts in */
	c->activity = VCPU_HALTED;
	cpu_run(c);
	assert_int_equal(c->gpr[GPR_RIP], SYS_HANDLER + VECTOR + 0x20 + 1);
	c->sysflags |= RF_IF;
	c->activity = VCPU_HALTED;
	/* the lower one has to wait for the EOI of the higher */
	atomic_store(&sys.run->immediate_exit, 1);
	cpu_run(c);
	assert_int_equal(sys.run->exit, ENGINE_EXIT_KICK);
	assert_int_equal(c->gpr[GPR_RIP], SYS_HANDLER + VECTOR + 0x20 + 1);
}

/* --- exceptions in the middle of deliveries: table 6-5 --- */

static void absent(unsigned vector)
{
	sys_poke(SYS_IDT + vector * 16 + 5, 1, 0x0e);
}

static void a_contributory_fault_after_a_benign_one_is_serial(void **state)
{
	start();
	absent(EXC_UD);
	assert_int_equal(RUN(0x0f, 0x0b), EXC_NP);
	assert_int_equal(sys_frame(0, 8), EXC_UD * 8 + 2 + 1);
	assert_int_equal(sys_frame(1, 8), SYS_CODE);
}

static void two_contributory_faults_are_a_double_fault(void **state)
{
	struct cpu *c = start();

	absent(EXC_GP);
	c->gpr[RBX] = 1ull << 63;
	assert_int_equal(RUN(0x8a, 0x03), EXC_DF);
	assert_int_equal(sys_frame(0, 8), 0);
	assert_int_equal(sys_frame(1, 8), SYS_CODE);
}

static void a_page_fault_in_the_delivery_of_a_page_fault_is_a_double_fault(void **state)
{
	struct cpu *c = start();

	sys_poke(SYS_IDT + EXC_DF * 16 + 4, 1, 1); /* IST 1: the stack is no good */
	c->gpr[RSP] = 0x1000008;
	c->gpr[RBX] = 0x2000000;
	assert_int_equal(RUN(0x8a, 0x03), EXC_DF);
	assert_true(c->cr2 == 0x1000000 - 8); /* of the push of SS */
}

static void a_fault_in_the_delivery_of_a_double_fault_is_shutdown(void **state)
{
	struct cpu *c = start();

	absent(EXC_GP);
	absent(EXC_DF);
	c->gpr[RBX] = 1ull << 63;
	assert_int_equal(RUN(0x8a, 0x03), SYS_SHUTDOWN);
	assert_int_equal(sys.run->shutdown.triple_fault, 1);
	assert_int_equal(sys.run->shutdown.vector, EXC_GP); /* where the chain began */
	assert_int_equal(c->gpr[GPR_RIP], SYS_CODE);
	/* and stays there */
	cpu_run(c);
	assert_int_equal(sys.run->exit, ENGINE_EXIT_SHUTDOWN);
}

static void an_idt_of_nothing_is_shutdown(void **state)
{
	struct cpu *c = start();

	c->idt.limit = 0;
	assert_int_equal(RUN(0x0f, 0x0b), SYS_SHUTDOWN);
}

/* --- the bound on an interrupt's delay: interp/run.c --- */

static insn_fn *hooked;
static unsigned hook_skip;
static uint64_t hook_at[2]; /* RAX and RCX when it was posted */

/* Posts the interrupt in the middle of a block, as another thread does: nothing but c->req says so. */
static void hook(struct cpu *c, const struct insn *in)
{
	if (!hook_skip--) {
		hook_at[0] = c->gpr[RAX];
		hook_at[1] = c->gpr[RCX];
		lapic_post(c, VECTOR, false);
	}
	hooked(c, in);
}

static struct block *block_of(const void *code, size_t len, unsigned insn, unsigned skip)
{
	struct cpu *c = start();
	struct block *b;

	if (ram_write(sys.ram, SYS_CODE, code, len))
		fail();
	c->sysflags |= RF_IF;
	b = block_at_rip(c, NULL);
	assert_true(insn < b->count);
	hooked = b->insn[insn].fn;
	hook_skip = skip;
	b->insn[insn].fn = hook;
	return b;
}

static void a_posted_interrupt_waits_for_the_rest_of_one_block_at_most(void **state)
{
	uint8_t code[256];

	/* INC RAX and a jump back: as many instructions as a block can have */
	for (unsigned i = 0; i < BLOCK_INSNS_MAX - 1; i++)
		memcpy(code + i * 3, "\x48\xff\xc0", 3);
	code[(BLOCK_INSNS_MAX - 1) * 3] = 0xe9;
	memcpy(code + (BLOCK_INSNS_MAX - 1) * 3 + 1, &(int32_t){ -((BLOCK_INSNS_MAX - 1) * 3 + 5) }, 4);
	for (unsigned insn = 0; insn < BLOCK_INSNS_MAX; insn++) {
		struct block *b = block_of(code, (BLOCK_INSNS_MAX - 1) * 3 + 5, insn, 1000);

		assert_int_equal(b->count, BLOCK_INSNS_MAX);
		assert_int_equal(sys_go_to_exit(), VECTOR);
		assert_in_range(sys.c->gpr[RAX] - hook_at[0], 0, BLOCK_INSNS_MAX);
		sys_finish();
	}
}

static void a_posted_interrupt_ends_a_loop_of_one_jump(void **state)
{
	block_of("\xeb\xfe", 2, 0, 100000);
	assert_int_equal(sys_go_to_exit(), VECTOR);
	assert_int_equal(sys_frame(0, 8), SYS_CODE);
}

static void a_posted_interrupt_waits_for_one_page_of_rep_stos_at_most(void **state)
{
	block_of("\xf3\xaa\xeb\xfc", 4, 0, 10);
	sys.c->gpr[RDI] = 0x100123;
	sys.c->gpr[RCX] = 0x80000;
	assert_int_equal(sys_go_to_exit(), VECTOR);
	assert_in_range(hook_at[1] - sys.c->gpr[RCX], 1, FRAME_SIZE);
	assert_int_equal(sys_frame(0, 8), SYS_CODE);
	assert_int_equal(sys.c->gpr[RDI] - 0x100123, 0x80000 - sys.c->gpr[RCX]);
}

static void a_posted_interrupt_stops_elements_that_go_one_by_one(void **state)
{
	block_of("\xf3\xac\xeb\xfc", 4, 0, 10); /* REP LODSB */
	sys.c->gpr[RSI] = 0x100123;
	sys.c->gpr[RCX] = 0x80000;
	assert_int_equal(sys_go_to_exit(), VECTOR);
	assert_in_range(hook_at[1] - sys.c->gpr[RCX], 0, 1024);
}

static void a_kick_ends_a_run_within_one_block(void **state)
{
	struct cpu *c;

	block_of("\xeb\xfe", 2, 0, ~0u);
	c = sys.c;
	cpu_request(c, REQ_KICK);
	assert_int_equal(sys_go_to_exit(), SYS_OTHER);
	assert_int_equal(sys.run->exit, ENGINE_EXIT_KICK);
	atomic_store(&sys.run->immediate_exit, 1);
	assert_int_equal(sys_go_to_exit(), SYS_OTHER);
	assert_int_equal(sys.run->exit, ENGINE_EXIT_KICK);
	assert_int_equal(c->gpr[GPR_RIP], SYS_CODE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sti_holds_interrupts_off_for_one_instruction),
		TEST(sti_with_if_set_holds_nothing_off),
		TEST(sti_and_hlt_wait_for_the_interrupt),
		TEST(mov_ss_holds_interrupts_off_for_one_instruction),
		TEST(mov_ss_holds_nmi_off_too),
		TEST(a_fault_in_a_shadow_ends_the_shadow),
		TEST(a_step_traps_after_the_instruction_with_bs),
		TEST(popf_that_sets_tf_is_not_stepped_but_what_follows),
		TEST(a_step_over_mov_ss_traps_one_later),
		TEST(a_step_over_hlt_traps_and_does_not_halt),
		TEST(a_step_of_rep_is_one_iteration),
		TEST(a_fault_of_a_stepped_instruction_is_no_step),
		TEST(nmi_is_masked_until_iret),
		TEST(nmi_ends_a_halt_with_interrupts_off),
		TEST(init_forgets_a_startup_ipi_from_before_it),
		TEST(an_extint_waits_for_its_window),
		TEST(no_window_while_lint0_is_masked),
		TEST(an_nmi_goes_before_an_interrupt_and_the_higher_before_the_lower),
		TEST(a_contributory_fault_after_a_benign_one_is_serial),
		TEST(two_contributory_faults_are_a_double_fault),
		TEST(a_page_fault_in_the_delivery_of_a_page_fault_is_a_double_fault),
		TEST(a_fault_in_the_delivery_of_a_double_fault_is_shutdown),
		TEST(an_idt_of_nothing_is_shutdown),
		TEST(a_posted_interrupt_waits_for_the_rest_of_one_block_at_most),
		TEST(a_posted_interrupt_ends_a_loop_of_one_jump),
		TEST(a_posted_interrupt_waits_for_one_page_of_rep_stos_at_most),
		TEST(a_posted_interrupt_stops_elements_that_go_one_by_one),
		TEST(a_kick_ends_a_run_within_one_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
