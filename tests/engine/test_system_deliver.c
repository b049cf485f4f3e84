// SPDX-License-Identifier: GPL-2.0-or-later
/* Delivery through the IVT and the IDT, IRET, and what may go wrong in between. */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void gate_type(unsigned vector, unsigned attr)
{
	sys_poke(SYS_IDT + vector * 16 + 5, 1, attr);
}

/* --- frames --- */

static void ud_in_kernel_pushes_an_aligned_frame_on_the_same_stack(void **state)
{
	sys_start(SYS_LONG, 0);
	sys.c->gpr[RSP] = SYS_STACK - 3;
	assert_int_equal(RUN(0x0f, 0x0b), EXC_UD);
	assert_int_equal(sys.c->gpr[RSP], (SYS_STACK - 16) - 40);
	assert_int_equal(sys_frame(0, 8), SYS_CODE);
	assert_int_equal(sys_frame(1, 8), SEL_CODE64);
	assert_int_equal(sys_frame(2, 8), RF_FIXED | RF_RF);
	assert_int_equal(sys_frame(3, 8), SYS_STACK - 3);
	assert_int_equal(sys_frame(4, 8), SEL_DATA);
}

static void fault_in_user_code_switches_to_rsp0_with_a_null_ss(void **state)
{
	sys_start(SYS_LONG, 3);
	assert_int_equal(RUN(0xf4), EXC_GP);
	assert_int_equal(sys.c->cpl, 0);
	assert_int_equal(sys.c->seg[SEG_SS].selector, 0);
	assert_int_equal(sys.c->gpr[RSP], SYS_RSP0 - 48);
	assert_int_equal(sys_frame(0, 8), 0);
	assert_int_equal(sys_frame(1, 8), SYS_CODE);
	assert_int_equal(sys_frame(2, 8), SEL_USER64 | 3);
	assert_int_equal(sys_frame(4, 8), SYS_STACK);
	assert_int_equal(sys_frame(5, 8), SEL_USER_DATA | 3);
}

static void ist_switches_the_stack_even_at_the_same_level(void **state)
{
	sys_start(SYS_LONG, 0);
	sys_poke(SYS_IDT + EXC_UD * 16 + 4, 1, 1);
	assert_int_equal(RUN(0x0f, 0x0b), EXC_UD);
	assert_int_equal(sys.c->gpr[RSP], SYS_IST1 - 40);
	assert_int_equal(sys.c->seg[SEG_SS].selector, SEL_DATA);
}

static void interrupt_gate_clears_if_and_trap_gate_keeps_it(void **state)
{
	sys_start(SYS_LONG, 0);
	gate_type(0x80, 0xef);
	sys_poke(SYS_HANDLER + 0x80, 4, 0xf4fa589c); /* pushf; pop rax; cli; hlt */
	RUN(0xfb, 0x90, 0xcd, 0x80);
	assert_true(sys.c->gpr[RAX] & RF_IF);
	sys_start(SYS_LONG, 0);
	sys_poke(SYS_HANDLER + 0x80, 4, 0xf4fa589c);
	RUN(0xfb, 0x90, 0xcd, 0x80);
	assert_false(sys.c->gpr[RAX] & RF_IF);
}

static void int_n_pushes_the_next_address_without_rf(void **state)
{
	sys_start(SYS_LONG, 3);
	gate_type(0x80, 0xee);
	sys.c->sysflags |= RF_RF;
	assert_int_equal(RUN(0xcd, 0x80), 0x80);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 2);
	assert_int_equal(sys_frame(2, 8), RF_FIXED);
}

static void page_fault_sets_cr2_and_pushes_its_error_code(void **state)
{
	sys_start(SYS_LONG, 3);
	sys_page(SYS_DATA, 3);
	assert_int_equal(RUN(0xc6, 0x04, 0x25, 0x10, 0xc0, 0, 0, 1), EXC_PF); /* mov byte [0xc010], 1 */
	assert_int_equal(sys.c->cr2, SYS_DATA + 0x10);
	assert_int_equal(sys_frame(0, 8), 7);
	assert_int_equal(sys_frame(1, 8), SYS_CODE);
}

/* --- privilege and gates --- */

static void int_n_to_a_gate_of_dpl_0_is_gp_with_the_vector_and_idt_bit(void **state)
{
	sys_start(SYS_LONG, 3);
	assert_int_equal(RUN(0xcd, 0x80), EXC_GP);
	assert_int_equal(sys_frame(0, 8), 0x80 * 8 + 2);
	assert_int_equal(sys_frame(1, 8), SYS_CODE);
}

static void int1_ignores_the_gates_dpl(void **state)
{
	sys_start(SYS_LONG, 3);
	assert_int_equal(RUN(0xf1), EXC_DB);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 1);
}

static void absent_gate_is_np_and_for_a_hardware_event_ext_is_set(void **state)
{
	sys_start(SYS_LONG, 0);
	gate_type(0x80, 0x6e);
	assert_int_equal(RUN(0xcd, 0x80), EXC_NP);
	assert_int_equal(sys_frame(0, 8), 0x80 * 8 + 2);
	sys_start(SYS_LONG, 0);
	gate_type(EXC_UD, 0x6e);
	assert_int_equal(RUN(0x0f, 0x0b), EXC_NP);
	assert_int_equal(sys_frame(0, 8), EXC_UD * 8 + 3);
	assert_int_equal(sys_frame(1, 8), SYS_CODE);
}

static void vector_beyond_the_idt_limit_is_gp(void **state)
{
	sys_start(SYS_LONG, 0);
	sys.c->idt.limit = 0x80 * 16 + 14;
	assert_int_equal(RUN(0xcd, 0x80), EXC_GP);
	assert_int_equal(sys_frame(0, 8), 0x80 * 8 + 2);
}

static void gate_to_32_bit_code_in_long_mode_is_gp_with_the_selector(void **state)
{
	sys_start(SYS_LONG, 0);
	sys_poke(SYS_IDT + 0x80 * 16 + 2, 2, SEL_CODE32);
	assert_int_equal(RUN(0xcd, 0x80), EXC_GP);
	assert_int_equal(sys_frame(0, 8), SEL_CODE32);
}

static void int_n_that_faults_changes_no_register(void **state)
{
	sys_start(SYS_LONG, 3);
	gate_type(0x80, 0xee);
	sys_poke(SYS_TSS_AT + 4, 8, 0x8000000000000000);
	sys_poke(SYS_IDT + EXC_SS * 16 + 4, 1, 1);
	assert_int_equal(RUN(0xcd, 0x80), EXC_SS);
	assert_int_equal(sys_frame(0, 8), 0);
	assert_int_equal(sys_frame(1, 8), SYS_CODE);
	assert_int_equal(sys_frame(4, 8), SYS_STACK);
	assert_int_equal(sys_frame(5, 8), SEL_USER_DATA | 3);
}

static void tss_too_short_for_the_stack_is_ts_with_its_selector(void **state)
{
	sys_start(SYS_LONG, 3);
	sys.c->tr.limit = 10;
	/* A conforming handler stays at CPL 3 and needs no stack; OUT with IOPL 3 ends the run. */
	sys_poke(SYS_IDT + EXC_TS * 16 + 2, 2, SEL_CONFORMING64);
	sys_poke(SYS_HANDLER + EXC_TS, 2, 0x00e6);
	sys.c->sysflags |= RF_IOPL;
	assert_int_equal(RUN(0x0f, 0x0b), SYS_OTHER);
	assert_int_equal(sys.run->exit, ENGINE_EXIT_PIO);
	assert_int_equal(sys_frame(0, 8), SEL_TSS | 1);
	assert_int_equal(sys_frame(1, 8), SYS_CODE);
}

/* --- faults on faults --- */

static void fault_while_delivering_combines_as_the_table_says(void **state)
{
	assert_int_equal(exception_combine(EXC_GP, EXC_NP), EXC_DF);
	assert_int_equal(exception_combine(EXC_GP, EXC_PF), EXC_PF);
	assert_int_equal(exception_combine(EXC_PF, EXC_PF), EXC_DF);
	assert_int_equal(exception_combine(EXC_PF, EXC_GP), EXC_DF);
	assert_int_equal(exception_combine(EXC_PF, EXC_UD), EXC_UD);
	assert_int_equal(exception_combine(EXC_UD, EXC_GP), EXC_GP);
	assert_int_equal(exception_combine(EXC_DF, EXC_GP), -1);
	assert_int_equal(exception_combine(EXC_DF, EXC_PF), -1);
	assert_int_equal(exception_combine(EXC_DF, EXC_DB), EXC_DB);
	assert_int_equal(exception_combine(0x100 + EXC_GP, EXC_GP), EXC_GP);
}

static void gp_without_a_gate_becomes_df_with_error_code_0(void **state)
{
	sys_start(SYS_LONG, 0);
	gate_type(EXC_GP, 0);
	sys.c->gpr[RCX] = 0xf0f0;
	assert_int_equal(RUN(0x0f, 0x32), EXC_DF); /* rdmsr */
	assert_int_equal(sys_frame(0, 8), 0);
	assert_int_equal(sys_frame(1, 8), SYS_CODE);
}

static void fault_while_delivering_df_is_a_shutdown(void **state)
{
	sys_start(SYS_LONG, 0);
	gate_type(EXC_GP, 0);
	gate_type(EXC_DF, 0);
	sys.c->gpr[RCX] = 0xf0f0;
	assert_int_equal(RUN(0x0f, 0x32), SYS_SHUTDOWN);
	assert_int_equal(sys.run->shutdown.triple_fault, 1);
}

static void page_fault_on_the_new_stack_is_df_on_an_ist(void **state)
{
	sys_start(SYS_LONG, 3);
	sys_page(SYS_RSP0 - 0x1000, 0);
	sys_page(SYS_DATA, 0);
	sys_poke(SYS_IDT + EXC_DF * 16 + 4, 1, 1);
	assert_int_equal(RUN(0x8a, 0x04, 0x25, 0, 0xc0, 0, 0), EXC_DF);
	assert_int_equal(sys_frame(0, 8), 0);
	assert_int_equal(sys_frame(1, 8), SYS_CODE);
	assert_int_equal(sys_frame(4, 8), SYS_STACK);
	assert_int_equal(sys.c->cr2, SYS_RSP0 - 8);
}

/* --- IRET --- */

static void push_frame(uint64_t rip, uint64_t cs, uint64_t flags, uint64_t rsp, uint64_t ss)
{
	uint64_t frame[5] = { rip, cs, flags, rsp, ss };

	sys.c->gpr[RSP] = SYS_STACK - 40;
	for (unsigned i = 0; i < 5; i++)
		sys_poke(SYS_STACK - 40 + i * 8, 8, frame[i]);
}

static void iretq_to_user_loads_everything_and_drops_kernel_segments(void **state)
{
	sys_start(SYS_LONG, 0);
	push_frame(0xd000, SEL_USER64 | 3, RF_FIXED | RF_AC | FL_CF | RF_IOPL, 0xe800, SEL_USER_DATA | 3);
	sys_poke(0xd000, 1, 0xf4); /* #GP */
	assert_int_equal(RUN(0x48, 0xcf), EXC_GP);
	assert_int_equal(sys_frame(1, 8), 0xd000);
	assert_int_equal(sys_frame(2, 8), SEL_USER64 | 3);
	assert_int_equal(sys_frame(3, 8), RF_FIXED | RF_AC | FL_CF | RF_IOPL | RF_RF);
	assert_int_equal(sys_frame(4, 8), 0xe800);
	assert_int_equal(sys.c->seg[SEG_DS].selector, 0);
	assert_true(sys.c->seg[SEG_DS].attr & ATTR_NULL);
}

static void iretq_to_a_null_ss_is_allowed_below_cpl_3_only(void **state)
{
	sys_start(SYS_LONG, 0);
	push_frame(SYS_CODE + 2, SEL_CODE64, RF_FIXED, 0xe800, 0);
	assert_int_equal(RUN(0x48, 0xcf), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RSP], 0xe800);
	sys_start(SYS_LONG, 0);
	push_frame(0xd000, SEL_USER64 | 3, RF_FIXED, 0xe800, 0);
	assert_int_equal(RUN(0x48, 0xcf), EXC_GP);
	assert_int_equal(sys_frame(0, 8), 0);
	assert_int_equal(sys_frame(1, 8), SYS_CODE);
}

static void iretq_to_a_non_canonical_address_is_gp_before_anything_changes(void **state)
{
	sys_start(SYS_LONG, 0);
	push_frame(0x800000000000, SEL_USER64 | 3, RF_FIXED, 0xe800, SEL_USER_DATA | 3);
	assert_int_equal(RUN(0x48, 0xcf), EXC_GP);
	assert_int_equal(sys.c->cpl, 0);
	assert_int_equal(sys_frame(1, 8), SYS_CODE);
	assert_int_equal(sys_frame(2, 8), SEL_CODE64);
	assert_int_equal(sys_frame(4, 8), SYS_STACK - 40);
}

static void iretq_to_compatibility_mode_runs_32_bit_code(void **state)
{
	sys_start(SYS_LONG, 0);
	push_frame(0xd000, SEL_USER32 | 3, RF_FIXED, 0xe800, SEL_USER_DATA | 3);
	sys_poke(0xd000, 4, 0xf40b0f40); /* inc eax (REX in 64-bit mode); ud2 */
	sys.c->gpr[RAX] = 0xffffffff00000007;
	assert_int_equal(RUN(0x48, 0xcf), EXC_UD);
	assert_int_equal(sys.c->gpr[RAX], 8);
	assert_int_equal(sys_frame(0, 8), 0xd001);
}

static void iret_in_user_mode_cannot_change_iopl_or_if(void **state)
{
	sys_start(SYS_LONG, 3);
	push_frame(SYS_CODE + 2, SEL_USER64 | 3, RF_FIXED | RF_IOPL | RF_IF | RF_DF, SYS_STACK, SEL_USER_DATA | 3);
	assert_int_equal(RUN(0x48, 0xcf), EXC_GP); /* HLT */
	assert_int_equal(sys_frame(3, 8), RF_FIXED | RF_DF | RF_RF);
}

static void iret_with_nt_in_long_mode_is_gp(void **state)
{
	sys_start(SYS_LONG, 0);
	push_frame(SYS_CODE + 2, SEL_CODE64, RF_FIXED, SYS_STACK, SEL_DATA);
	sys.c->sysflags |= RF_NT;
	assert_int_equal(RUN(0x48, 0xcf), EXC_GP);
	assert_int_equal(sys_frame(0, 8), 0);
}

static void iret_ends_the_masking_of_nmis(void **state)
{
	sys_start(SYS_LONG, 0);
	push_frame(SYS_CODE + 2, SEL_CODE64, RF_FIXED, SYS_STACK, SEL_DATA);
	sys.c->nmi_pending = sys.c->nmi_masked = 1;
	assert_int_equal(RUN(0x48, 0xcf), EXC_NMI);
	assert_int_equal(sys.c->nmi_masked, 1);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 2);
}

/* --- 32-bit protected mode --- */

static void fault_at_the_same_level_in_32_bit_mode_pushes_three_words(void **state)
{
	sys_start(SYS_PROT32, 0);
	assert_int_equal(RUN(0x0f, 0x0b), EXC_UD);
	assert_int_equal(sys.c->gpr[RSP], SYS_STACK - 12);
	assert_int_equal(sys_frame(0, 4), SYS_CODE);
	assert_int_equal(sys_frame(1, 4), SEL_CODE32);
}

static void user_fault_in_32_bit_mode_takes_ss0_esp0_and_iret_goes_back(void **state)
{
	sys_start(SYS_PROT32, 3);
	assert_int_equal(RUN(0x0f, 0x0b), EXC_UD);
	assert_int_equal(sys.c->gpr[RSP], SYS_RSP0 - 20);
	assert_int_equal(sys.c->seg[SEG_SS].selector, SEL_DATA);
	assert_int_equal(sys_frame(3, 4), SYS_STACK);
	assert_int_equal(sys_frame(4, 4), SEL_USER_DATA | 3);
	sys_poke(sys.c->gpr[RSP], 4, 0xd000);
	sys_poke(0xd000, 1, 0xf4);
	assert_int_equal(RUN(0xcf), EXC_GP);
	assert_int_equal(sys_frame(1, 4), 0xd000);
	assert_int_equal(sys_frame(4, 4), SYS_STACK);
	assert_int_equal(sys.c->gpr[RSP], SYS_RSP0 - 24);
}

static void bad_stack_segment_of_the_tss_is_ts_with_that_selector(void **state)
{
	sys_start(SYS_PROT32, 3);
	sys_poke(SYS_TSS32_AT + 8, 4, SEL_READ_ONLY);
	/* #TS needs the same bad stack: #DF, then shutdown. A conforming handler stays at CPL 3. */
	sys_poke(SYS_GDT + SEL_SPARE, 8, sys_desc(0, 0xfffff, 0x9e | ATTR_G | ATTR_DB));
	sys_poke(SYS_IDT + EXC_TS * 8 + 2, 2, SEL_SPARE);
	sys_poke(SYS_HANDLER + EXC_TS, 2, 0x00e6);
	sys.c->sysflags |= RF_IOPL;
	assert_int_equal(RUN(0x0f, 0x0b), SYS_OTHER);
	assert_int_equal(sys.run->exit, ENGINE_EXIT_PIO);
	assert_int_equal(sys_frame(0, 4), SEL_READ_ONLY | 1);
}

/* --- virtual-8086 mode --- */

static void vm86_round_trip_saves_and_restores_segments(void **state)
{
	uint32_t frame[9] = { 0x10, 0xd00, RF_FIXED | RF_VM, 0x800, 0xe00, 0x111, 0x222, 0x333, 0x444 };

	sys_start(SYS_PROT32, 0);
	sys.c->gpr[RSP] = SYS_STACK - sizeof(frame);
	for (unsigned i = 0; i < 9; i++)
		sys_poke(SYS_STACK - sizeof(frame) + i * 4, 4, frame[i]);
	sys_poke(0xd010, 2, 0x0b0f);
	assert_int_equal(RUN(0xcf), EXC_UD);
	assert_int_equal(sys.c->gpr[RSP], SYS_RSP0 - 36);
	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(sys_frame(i, 4), frame[i] | (i == 2 ? RF_RF : 0));
	assert_false(sys.c->sysflags & RF_VM);
	assert_true(sys.c->seg[SEG_ES].attr & ATTR_NULL);
}

static void int_n_in_vm86_needs_iopl_3(void **state)
{
	uint32_t frame[9] = { 0x10, 0xd00, RF_FIXED | RF_VM, 0x800, 0xe00 };

	for (unsigned iopl = 0; iopl <= 3; iopl += 3) {
		sys_start(SYS_PROT32, 0);
		frame[2] |= iopl << 12;
		sys.c->gpr[RSP] = SYS_STACK - sizeof(frame);
		for (unsigned i = 0; i < 9; i++)
			sys_poke(SYS_STACK - sizeof(frame) + i * 4, 4, frame[i]);
		sys_poke(SYS_IDT + 0x20 * 8 + 5, 1, 0xee);
		sys_poke(0xd010, 2, 0x20cd);
		assert_int_equal(RUN(0xcf), iopl == 3 ? 0x20 : EXC_GP);
		assert_int_equal(sys_frame(iopl == 3 ? 0 : 1, 4), iopl == 3 ? 0x12 : 0x10);
	}
}

/* --- real mode --- */

static void real_mode_pushes_flags_cs_ip_and_iret_pops_them(void **state)
{
	sys_start(SYS_REAL, 0);
	sys.c->gpr[RSP] = 0x8000;
	sys_poke(0x20 * 4, 4, 0x0a000000); /* 0a00:0000 */
	sys_poke(0xa000, 1, 0xcf);
	assert_int_equal(RUN(0xf9, 0xcd, 0x20), SYS_HALTED); /* stc; int 0x20 */
	assert_int_equal(sys.c->gpr[GPR_RIP], SYS_CODE + 4);
	assert_int_equal(sys.c->gpr[RSP], 0x8000);
	assert_int_equal(sys_peek(0x8000 - 6, 2), SYS_CODE + 3);
	assert_int_equal(sys_peek(0x8000 - 2, 2), RF_FIXED | FL_CF);
}

static void real_mode_vector_beyond_the_limit_leads_to_shutdown(void **state)
{
	sys_start(SYS_REAL, 0);
	sys.c->idt.limit = 0;
	assert_int_equal(RUN(0xcd, 0x20), SYS_SHUTDOWN);
}

static void bound_outside_is_br(void **state)
{
	sys_start(SYS_PROT32, 0);
	sys_poke(SYS_DATA, 4, (uint32_t)-5);
	sys_poke(SYS_DATA + 4, 4, 5);
	sys.c->gpr[RCX] = 6;
	assert_int_equal(RUN(0x62, 0x0d, 0, 0xc0, 0, 0), EXC_BR);
	assert_int_equal(sys_frame(0, 4), SYS_CODE);
	sys_start(SYS_PROT32, 0);
	sys_poke(SYS_DATA, 4, (uint32_t)-5);
	sys_poke(SYS_DATA + 4, 4, 5);
	sys.c->gpr[RCX] = (uint32_t)-5;
	assert_int_equal(RUN(0x62, 0x0d, 0, 0xc0, 0, 0), SYS_HALTED);
}

/* --- without end --- */

enum { AC_MANY = 1000, AC_TOO_MANY = 100000 };
static unsigned ac_count;

/* Somebody wants the vCPU after a while; one that never comes out of it is ended. */
static bool ask_after_many(struct cpu *c, unsigned vector, bool has_error, uint32_t error)
{
	if (++ac_count == AC_MANY)
		cpu_request(c, REQ_KICK);
	return ac_count == AC_TOO_MANY;
}

/* #AC is benign (table 6-4): one that comes up while another is delivered is delivered after it (6.15). */
static void vcpu_whose_ac_handler_always_faults_can_be_kicked_and_keeps_the_exception(void **state)
{
	struct vcpu_state s;
	struct cpu *c;

	sys_start(SYS_PROT32, 3);
	c = sys.c;
	sys_poke(SYS_IDT + EXC_AC * 8, 8, SYS_HANDLER | (SEL_USER32 | 3ull) << 16 | 0xee00ull << 32);
	c->cr0 |= CR0_AM;
	c->sysflags |= RF_AC;
	c->gpr[RSP] = SYS_STACK - 1;
	cpu_mode_changed(c);
	sys_poke(SYS_CODE, 2, 0xf450); /* push eax */
	c->exc_hook = ask_after_many;
	ac_count = 0;
	cpu_run(c);
	assert_int_equal(sys.run->exit, ENGINE_EXIT_KICK);
	assert_true(ac_count < AC_TOO_MANY);
	assert_true(cpu_settled(c));
	cpu_get_state(c, &s);
	assert_int_equal(s.exception_pending, 1);
	assert_int_equal(s.exception_vector, EXC_AC);
	assert_int_equal(s.exception_has_error, 1);
	assert_int_equal(s.rip, SYS_CODE);
	/* With a stack that it can use the handler is entered. */
	c->exc_hook = NULL;
	c->gpr[RSP] = SYS_STACK;
	sys_poke(SYS_HANDLER, 1, 0xf4); /* at CPL 3: #GP */
	cpu_run(c);
	assert_int_equal(sys.run->exit, ENGINE_EXIT_HALT);
	assert_int_equal(c->gpr[GPR_RIP], SYS_HANDLER + EXC_GP + 1);
	assert_int_equal(sys_peek(SYS_STACK - 16, 4), 0);
	assert_int_equal(sys_peek(SYS_STACK - 12, 4), SYS_CODE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ud_in_kernel_pushes_an_aligned_frame_on_the_same_stack),
		cmocka_unit_test(fault_in_user_code_switches_to_rsp0_with_a_null_ss),
		cmocka_unit_test(ist_switches_the_stack_even_at_the_same_level),
		cmocka_unit_test(interrupt_gate_clears_if_and_trap_gate_keeps_it),
		cmocka_unit_test(int_n_pushes_the_next_address_without_rf),
		cmocka_unit_test(page_fault_sets_cr2_and_pushes_its_error_code),
		cmocka_unit_test(int_n_to_a_gate_of_dpl_0_is_gp_with_the_vector_and_idt_bit),
		cmocka_unit_test(int1_ignores_the_gates_dpl),
		cmocka_unit_test(absent_gate_is_np_and_for_a_hardware_event_ext_is_set),
		cmocka_unit_test(vector_beyond_the_idt_limit_is_gp),
		cmocka_unit_test(gate_to_32_bit_code_in_long_mode_is_gp_with_the_selector),
		cmocka_unit_test(int_n_that_faults_changes_no_register),
		cmocka_unit_test(tss_too_short_for_the_stack_is_ts_with_its_selector),
		cmocka_unit_test(fault_while_delivering_combines_as_the_table_says),
		cmocka_unit_test(gp_without_a_gate_becomes_df_with_error_code_0),
		cmocka_unit_test(fault_while_delivering_df_is_a_shutdown),
		cmocka_unit_test(page_fault_on_the_new_stack_is_df_on_an_ist),
		cmocka_unit_test(iretq_to_user_loads_everything_and_drops_kernel_segments),
		cmocka_unit_test(iretq_to_a_null_ss_is_allowed_below_cpl_3_only),
		cmocka_unit_test(iretq_to_a_non_canonical_address_is_gp_before_anything_changes),
		cmocka_unit_test(iretq_to_compatibility_mode_runs_32_bit_code),
		cmocka_unit_test(iret_in_user_mode_cannot_change_iopl_or_if),
		cmocka_unit_test(iret_with_nt_in_long_mode_is_gp),
		cmocka_unit_test(iret_ends_the_masking_of_nmis),
		cmocka_unit_test(fault_at_the_same_level_in_32_bit_mode_pushes_three_words),
		cmocka_unit_test(user_fault_in_32_bit_mode_takes_ss0_esp0_and_iret_goes_back),
		cmocka_unit_test(bad_stack_segment_of_the_tss_is_ts_with_that_selector),
		cmocka_unit_test(vm86_round_trip_saves_and_restores_segments),
		cmocka_unit_test(int_n_in_vm86_needs_iopl_3),
		cmocka_unit_test(real_mode_pushes_flags_cs_ip_and_iret_pops_them),
		cmocka_unit_test(real_mode_vector_beyond_the_limit_leads_to_shutdown),
		cmocka_unit_test(vcpu_whose_ac_handler_always_faults_can_be_kicked_and_keeps_the_exception),
		cmocka_unit_test(bound_outside_is_br),
	};

	return cmocka_run_group_tests(tests, NULL, sys_teardown);
}
