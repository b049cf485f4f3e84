// SPDX-License-Identifier: GPL-2.0-or-later
/* Segment loads, limits, far transfers, gates, system calls, and looking at selectors. */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static uint8_t access_byte(uint16_t sel)
{
	return (uint8_t)sys_peek(SYS_GDT + (sel & ~7u) + 5, 1);
}

/* mov ds, ax / mov ss, ax */
#define LOAD_DS 0x8e, 0xd8
#define LOAD_SS 0x8e, 0xd0

static int load(enum sys_mode mode, unsigned cpl, bool ss, uint16_t sel)
{
	sys_start(mode, cpl);
	sys.c->gpr[RAX] = sel;
	return ss ? RUN(LOAD_SS) : RUN(LOAD_DS);
}

/* --- loads --- */

static void loading_a_data_segment_sets_its_accessed_bit(void **state)
{
	assert_int_equal(load(SYS_PROT32, 0, false, SEL_USER_DATA | 3), SYS_HALTED);
	assert_int_equal(access_byte(SEL_USER_DATA), 0xf3);
	assert_int_equal(sys.c->seg[SEG_DS].attr & 0xff, 0xf3);
	assert_int_equal(sys.c->seg[SEG_DS].limit, 0xffffffff);
	assert_int_equal(access_byte(SEL_DATA), 0x92);
}

static void selectors_that_may_not_be_loaded_fault_with_the_selector(void **state)
{
	static const struct {
		bool ss;
		uint16_t sel;
		int vector;
		unsigned error;
	} t[] = {
		{ false, SEL_ABSENT, EXC_NP, SEL_ABSENT },
		{ true, SEL_ABSENT, EXC_SS, SEL_ABSENT },
		{ false, SEL_EXEC_ONLY, EXC_GP, SEL_EXEC_ONLY },
		{ false, SEL_TSS, EXC_GP, SEL_TSS },
		{ false, 0x1000, EXC_GP, 0x1000 },
		{ false, SEL_LDT | SEL_TI, EXC_GP, SEL_LDT | SEL_TI },
		{ true, SEL_READ_ONLY, EXC_GP, SEL_READ_ONLY },
		{ true, SEL_USER_DATA | 3, EXC_GP, SEL_USER_DATA },
		{ true, SEL_DATA | 1, EXC_GP, SEL_DATA },
		{ true, SEL_CODE32, EXC_GP, SEL_CODE32 },
		{ true, 0, EXC_GP, 0 },
		{ false, SEL_DATA | 1, EXC_GP, SEL_DATA },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(load(SYS_PROT32, 0, t[i].ss, t[i].sel), t[i].vector);
		assert_int_equal(sys_frame(0, 4), t[i].error);
		assert_int_equal(sys_frame(1, 4), SYS_CODE);
		assert_int_equal(sys.c->seg[t[i].ss ? SEG_SS : SEG_DS].selector, SEL_DATA);
	}
}

static void null_ss_is_allowed_in_64_bit_mode_below_cpl_3(void **state)
{
	assert_int_equal(load(SYS_LONG, 0, true, 0), SYS_HALTED);
	assert_true(sys.c->seg[SEG_SS].attr & ATTR_NULL);
	assert_int_equal(load(SYS_LONG, 0, true, 3), EXC_GP);
	assert_int_equal(load(SYS_LONG, 3, true, 3), EXC_GP);
	assert_int_equal(load(SYS_COMPAT, 0, true, 0), EXC_GP);
}

static void user_code_cannot_load_kernel_data_but_can_load_null_and_conforming(void **state)
{
	assert_int_equal(load(SYS_LONG, 3, false, SEL_DATA), EXC_GP);
	sys_start(SYS_LONG, 3);
	sys.c->gpr[RAX] = 0;
	assert_int_equal(RUN(LOAD_DS, 0x0f, 0x0b), EXC_UD);
	sys_start(SYS_LONG, 3);
	sys.c->gpr[RAX] = SEL_CONFORMING64 | 3;
	assert_int_equal(RUN(LOAD_DS, 0x0f, 0x0b), EXC_UD);
}

static void mov_ss_holds_off_an_nmi_for_one_instruction(void **state)
{
	sys_start(SYS_LONG, 0);
	sys.c->gpr[RAX] = SEL_DATA;
	sys.c->sysflags |= RF_TF; /* traps only after the instruction that follows MOV SS */
	assert_int_equal(RUN(LOAD_SS, 0x90, 0x90), EXC_DB);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 3);
	assert_true(sys.c->dr[6] & 1 << 14);
}

static void loading_fs_takes_the_base_from_the_descriptor_and_null_clears_it(void **state)
{
	sys_start(SYS_LONG, 0);
	sys_poke(SYS_GDT + SEL_SPARE, 8, sys_desc(0x89abcdef, 0xfffff, 0x92 | ATTR_G));
	sys.c->gpr[RAX] = SEL_SPARE;
	assert_int_equal(RUN(0x8e, 0xe0), SYS_HALTED);
	assert_int_equal(sys.c->seg[SEG_FS].base, 0x89abcdef);
	assert_int_equal(sys.c->segbase[SEG_FS], 0x89abcdef);
	sys.c->gpr[RAX] = 0;
	assert_int_equal(RUN(0x8e, 0xe0), SYS_HALTED);
	assert_int_equal(sys.c->segbase[SEG_FS], 0);
}

static void pop_seg_moves_the_stack_by_the_operand_size(void **state)
{
	sys_start(SYS_LONG, 0);
	assert_int_equal(RUN(0x0f, 0xa0, 0x0f, 0xa9), SYS_HALTED); /* push fs; pop gs */
	assert_int_equal(sys.c->seg[SEG_GS].selector, SEL_DATA);
	assert_int_equal(sys.c->gpr[RSP], SYS_STACK);
	assert_int_equal(RUN(0x66, 0x0f, 0xa0), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RSP], SYS_STACK - 2);
}

static void lss_loads_ss_and_the_register_together_or_not_at_all(void **state)
{
	sys_start(SYS_PROT32, 0);
	sys_poke(SYS_DATA, 6, 0xe000 | (uint64_t)SEL_DATA << 32);
	assert_int_equal(RUN(0x0f, 0xb2, 0x25, 0, 0xc0, 0, 0), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RSP], 0xe000);
	sys_poke(SYS_DATA, 6, 0xd000 | (uint64_t)SEL_READ_ONLY << 32);
	assert_int_equal(RUN(0x0f, 0xb2, 0x25, 0, 0xc0, 0, 0), EXC_GP);
	assert_int_equal(sys.c->gpr[RSP], 0xe000 - 16);
}

static void ldt_selectors_work_once_an_ldt_is_loaded(void **state)
{
	sys_start(SYS_LONG, 0);
	sys_poke(SYS_LDT_AT + 8, 8, sys_desc(0, 0xfffff, 0x92 | ATTR_G));
	sys.c->gpr[RAX] = SEL_LDT;
	sys.c->gpr[RCX] = 8 | SEL_TI;
	assert_int_equal(RUN(0x0f, 0x00, 0xd0, 0x8e, 0xd9), SYS_HALTED); /* lldt ax; mov ds, cx */
	assert_int_equal(sys.c->seg[SEG_DS].selector, 8 | SEL_TI);
	assert_int_equal(sys.c->ldt.limit, 0xff);
	sys_poke(SYS_GDT + SEL_LDT + 8, 8, 0x1f00ull << 32); /* a type in the upper half */
	assert_int_equal(RUN(0x0f, 0x00, 0xd0), EXC_GP);
	assert_int_equal(sys_frame(0, 8), SEL_LDT);
}

static void ltr_marks_the_tss_busy_and_refuses_a_busy_one(void **state)
{
	sys_start(SYS_LONG, 0);
	sys.c->gpr[RAX] = SEL_TSS;
	assert_int_equal(RUN(0x0f, 0x00, 0xd8), SYS_HALTED);
	assert_int_equal(access_byte(SEL_TSS), 0x8b);
	assert_int_equal(RUN(0x0f, 0x00, 0xd8), EXC_GP);
	assert_int_equal(sys_frame(0, 8), SEL_TSS);
}

/* --- limits and types --- */

static void accesses_beyond_the_limit_are_gp_or_ss(void **state)
{
	sys_start(SYS_PROT32, 0);
	sys.c->seg[SEG_DS].limit = 0xcfff;
	cpu_mode_changed(sys.c);
	assert_int_equal(RUN(0xa1, 0xfd, 0xcf, 0, 0), EXC_GP); /* mov eax, [0xcffd] */
	assert_int_equal(sys_frame(0, 4), 0);
	sys_start(SYS_PROT32, 0);
	sys.c->seg[SEG_DS].limit = 0xcfff;
	cpu_mode_changed(sys.c);
	assert_int_equal(RUN(0xa1, 0xfc, 0xcf, 0, 0), SYS_HALTED);
	sys_start(SYS_PROT32, 0);
	sys_poke(SYS_GDT + SEL_DATA, 8, sys_desc(0, 0xfffff, 0x92 | ATTR_G | ATTR_DB));
	sys.c->gpr[RBP] = 0x30000;
	sys.c->seg[SEG_SS].limit = 0x2ffff;
	cpu_mode_changed(sys.c);
	assert_int_equal(RUN(0x8b, 0x45, 0x00), EXC_SS);
	assert_int_equal(sys_frame(0, 4), 0);
}

static void expand_down_segments_allow_what_is_above_the_limit(void **state)
{
	sys_start(SYS_PROT32, 0);
	sys.c->gpr[RAX] = SEL_EXPAND_DOWN;
	assert_int_equal(RUN(LOAD_DS, 0xa1, 0x00, 0x10, 0, 0), SYS_HALTED);
	assert_int_equal(RUN(0xa1, 0xff, 0x0f, 0, 0), EXC_GP);
	sys.c->seg[SEG_DS].attr &= ~(unsigned)ATTR_DB; /* now the upper bound is 64 KiB */
	assert_int_equal(RUN(0xa1, 0x00, 0x00, 1, 0), EXC_GP);
	assert_int_equal(RUN(0xa1, 0xfc, 0xff, 0, 0), SYS_HALTED);
	assert_int_equal(RUN(0xa1, 0xfd, 0xff, 0, 0), EXC_GP);
}

static void writes_to_code_and_read_only_and_through_null_are_gp(void **state)
{
	sys_start(SYS_PROT32, 0);
	assert_int_equal(RUN(0x2e, 0xa3, 0x00, 0xc0, 0, 0), EXC_GP); /* mov cs:[0xc000], eax */
	sys_start(SYS_PROT32, 0);
	sys.c->gpr[RAX] = SEL_READ_ONLY;
	assert_int_equal(RUN(LOAD_DS, 0xa1, 0, 0xc0, 0, 0, 0xa3, 0, 0xc0, 0, 0), EXC_GP);
	assert_int_equal(sys_frame(1, 4), SYS_CODE + 7);
	sys_start(SYS_PROT32, 0);
	sys.c->gpr[RAX] = 0;
	assert_int_equal(RUN(LOAD_DS, 0xa1, 0, 0xc0, 0, 0), EXC_GP);
	sys_start(SYS_COMPAT, 3);
	sys.c->gpr[RAX] = 3;
	assert_int_equal(RUN(LOAD_DS, 0xa1, 0, 0xc0, 0, 0), EXC_GP);
	assert_int_equal(sys_frame(0, 8), 0);
}

static void real_mode_checks_64_kib_and_wraps_nothing(void **state)
{
	sys_start(SYS_REAL, 0);
	sys.c->gpr[RSP] = 0x7000;
	sys_poke(EXC_GP * 4, 4, 0x0a000000);
	sys_poke(0xa000, 1, 0xf4);
	assert_int_equal(RUN(0xa1, 0xff, 0xff), 0); /* mov ax, [0xffff] */
	assert_int_equal(sys.c->gpr[GPR_RIP], 1);
	assert_int_equal(sys_peek(0x7000 - 6, 2), SYS_CODE);
}

/* --- far transfers --- */

static void far_jump_enters_compatibility_mode_and_back(void **state)
{
	sys_start(SYS_LONG, 0);
	sys_poke(SYS_DATA, 6, 0xd000 | (uint64_t)SEL_CODE32 << 32);
	/* in 32-bit code: inc eax; jmp far SEL_CODE64:0xd100 */
	sys_poke(0xd000, 8, 0x000000d100ea40);
	sys_poke(0xd006, 2, SEL_CODE64);
	sys_poke(0xd100, 4, 0xf4c0ff48); /* inc rax; hlt */
	assert_int_equal(RUN(0xff, 0x2c, 0x25, 0, 0xc0, 0, 0), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RAX], 2);
	assert_int_equal(sys.c->mode, INSN_MODE64);
	assert_int_equal(sys.c->gpr[GPR_RIP], 0xd104);
}

static void far_jump_to_what_is_no_code_is_gp(void **state)
{
	static const struct {
		uint16_t sel;
		int vector;
		unsigned error;
	} t[] = {
		{ 0, EXC_GP, 0 },
		{ SEL_DATA, EXC_GP, SEL_DATA },
		{ SEL_USER64 | 3, EXC_GP, SEL_USER64 },
		{ SEL_BOTH_LD, EXC_GP, SEL_BOTH_LD },
		{ SEL_TSS, EXC_GP, SEL_TSS },
		{ 0x1000, EXC_GP, 0x1000 },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		sys_start(SYS_LONG, 0);
		sys_poke(SYS_DATA, 6, 0xd000 | (uint64_t)t[i].sel << 32);
		assert_int_equal(RUN(0xff, 0x2c, 0x25, 0, 0xc0, 0, 0), t[i].vector);
		assert_int_equal(sys_frame(0, 8), t[i].error);
		assert_int_equal(sys_frame(1, 8), SYS_CODE);
	}
}

static void conforming_code_keeps_the_cpl(void **state)
{
	sys_start(SYS_LONG, 3);
	sys_poke(SYS_DATA, 6, 0xd000 | (uint64_t)SEL_CONFORMING64 << 32);
	sys_poke(0xd000, 2, 0x0b0f);
	assert_int_equal(RUN(0xff, 0x2c, 0x25, 0, 0xc0, 0, 0), EXC_UD);
	assert_int_equal(sys_frame(1, 8), SEL_CONFORMING64 | 3);
}

static void conforming_code_of_a_higher_dpl_is_gp(void **state)
{
	sys_start(SYS_LONG, 0);
	sys_poke(SYS_GDT + SEL_SPARE, 8, sys_desc(0, 0xfffff, 0xfe | ATTR_G | ATTR_L));
	sys_poke(SYS_DATA, 6, 0xd000 | (uint64_t)SEL_SPARE << 32);
	assert_int_equal(RUN(0xff, 0x2c, 0x25, 0, 0xc0, 0, 0), EXC_GP);
	assert_int_equal(sys_frame(0, 8), SEL_SPARE);
}

static void far_call_and_return_in_32_bit_mode(void **state)
{
	sys_start(SYS_PROT32, 0);
	sys_poke(0xd000, 1, 0xcb);
	assert_int_equal(RUN(0x9a, 0x00, 0xd0, 0, 0, SEL_CODE32, 0), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RSP], SYS_STACK);
	assert_int_equal(sys_peek(SYS_STACK - 4, 4), SEL_CODE32);
	assert_int_equal(sys_peek(SYS_STACK - 8, 4), SYS_CODE + 7);
}

static void retf_to_user_releases_parameters_on_both_stacks(void **state)
{
	sys_start(SYS_PROT32, 0);
	sys.c->gpr[RSP] = SYS_STACK - 32;
	sys_poke(SYS_STACK - 32, 4, 0xd000);
	sys_poke(SYS_STACK - 28, 4, SEL_USER32 | 3);
	sys_poke(SYS_STACK - 16, 4, 0xe000);
	sys_poke(SYS_STACK - 12, 4, SEL_USER_DATA | 3);
	sys_poke(0xd000, 2, 0x0b0f);
	assert_int_equal(RUN(0xca, 8, 0), EXC_UD);
	assert_int_equal(sys_frame(0, 4), 0xd000);
	assert_int_equal(sys_frame(3, 4), 0xe008);
	assert_true(sys.c->seg[SEG_DS].attr & ATTR_NULL);
}

static void call_gate_64_switches_to_rsp0(void **state)
{
	sys_start(SYS_LONG, 3);
	sys_poke(SYS_GDT + SEL_GATE, 8, 0xd000 | (uint64_t)SEL_CODE64 << 16 | 0xecull << 40);
	sys_poke(SYS_GDT + SEL_GATE + 8, 8, 0);
	sys_poke(SYS_DATA, 6, (uint64_t)(SEL_GATE | 3) << 32);
	sys_poke(0xd000, 1, 0xf4);
	assert_int_equal(RUN(0xff, 0x1c, 0x25, 0, 0xc0, 0, 0), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RSP], SYS_RSP0 - 32);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 7);
	assert_int_equal(sys_frame(1, 8), SEL_USER64 | 3);
	assert_int_equal(sys_frame(2, 8), SYS_STACK);
	assert_int_equal(sys_frame(3, 8), SEL_USER_DATA | 3);
	assert_int_equal(sys.c->seg[SEG_SS].selector, 0);
	assert_int_equal(sys.c->cpl, 0);
}

static void call_gate_64_from_compatibility_mode_pushes_quadwords(void **state)
{
	sys_start(SYS_COMPAT, 0);
	sys_poke(SYS_GDT + SEL_GATE, 8, 0xd000 | (uint64_t)SEL_CODE64 << 16 | 0x8cull << 40);
	sys_poke(SYS_GDT + SEL_GATE + 8, 8, 0);
	sys_poke(0xd000, 1, 0xf4);
	assert_int_equal(RUN(0x9a, 0, 0, 0, 0, SEL_GATE, 0), SYS_HALTED);
	assert_int_equal(sys.c->mode, INSN_MODE64);
	assert_int_equal(sys.c->gpr[RSP], SYS_STACK - 16);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 7);
	assert_int_equal(sys_frame(1, 8), SEL_CODE32);
}

static void call_gate_32_copies_parameters(void **state)
{
	sys_start(SYS_PROT32, 3);
	sys_poke(SYS_GDT + SEL_GATE, 8, 0xd000 | (uint64_t)SEL_CODE32 << 16 | 2ull << 32 | 0xecull << 40);
	sys_poke(SYS_STACK - 8, 4, 0x11);
	sys_poke(SYS_STACK - 4, 4, 0x22);
	sys.c->gpr[RSP] = SYS_STACK - 8;
	sys_poke(0xd000, 1, 0xf4);
	assert_int_equal(RUN(0x9a, 0, 0, 0, 0, SEL_GATE | 3, 0), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RSP], SYS_RSP0 - 24);
	assert_int_equal(sys_frame(0, 4), SYS_CODE + 7);
	assert_int_equal(sys_frame(2, 4), 0x11);
	assert_int_equal(sys_frame(3, 4), 0x22);
	assert_int_equal(sys_frame(4, 4), SYS_STACK - 8);
}

static void call_gate_of_too_low_dpl_is_gp_with_the_gate(void **state)
{
	sys_start(SYS_LONG, 3);
	sys_poke(SYS_GDT + SEL_GATE, 8, 0xd000 | (uint64_t)SEL_CODE64 << 16 | 0x8cull << 40);
	sys_poke(SYS_GDT + SEL_GATE + 8, 8, 0);
	sys_poke(SYS_DATA, 6, (uint64_t)(SEL_GATE | 3) << 32);
	assert_int_equal(RUN(0xff, 0x1c, 0x25, 0, 0xc0, 0, 0), EXC_GP);
	assert_int_equal(sys_frame(0, 8), SEL_GATE);
}

/* --- SYSCALL and kin --- */

static void syscall_and_sysret_change_level_and_keep_rip_and_flags(void **state)
{
	struct cpu *c;

	sys_start(SYS_LONG, 3);
	c = sys.c;
	c->star = (uint64_t)SEL_CODE64 << 32 | (uint64_t)SEL_USER32 << 48;
	c->lstar = 0xd000;
	c->sfmask = RF_IF | RF_DF;
	c->sysflags |= RF_DF;
	sys_poke(0xd000, 1, 0xf4);
	assert_int_equal(RUN(0x0f, 0x05), SYS_HALTED);
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->gpr[RCX], SYS_CODE + 2);
	assert_int_equal(c->gpr[R11], RF_FIXED | RF_DF);
	assert_false(c->sysflags & RF_DF);
	assert_int_equal(c->seg[SEG_SS].selector, SEL_DATA);
	c->gpr[RCX] = 0xe000;
	sys_poke(0xe000, 2, 0x0b0f);
	assert_int_equal(RUN(0x48, 0x0f, 0x07), EXC_UD);
	assert_int_equal(sys_frame(0, 8), 0xe000);
	assert_int_equal(sys_frame(1, 8), SEL_USER64 | 3);
	assert_int_equal(sys_frame(2, 8), RF_FIXED | RF_DF | RF_RF);
	assert_int_equal(sys_frame(4, 8), SEL_USER_DATA | 3);
}

static void sysret_takes_only_the_flags_that_exist(void **state)
{
	sys_start(SYS_LONG, 0);
	sys.c->star = (uint64_t)SEL_USER32 << 48;
	sys.c->gpr[RCX] = 0xe000;
	sys.c->gpr[R11] = ~(uint64_t)(RF_TF | RF_IF);
	sys_poke(0xe000, 2, 0x0b0f);
	assert_int_equal(RUN(0x48, 0x0f, 0x07), EXC_UD);
	assert_int_equal(sys_frame(2, 8), (0x3c7fd7 & ~(RF_TF | RF_IF)) | RF_RF);
}

static void sysret_to_a_non_canonical_address_is_gp_at_cpl_0(void **state)
{
	sys_start(SYS_LONG, 0);
	sys.c->gpr[RCX] = 1ull << 47;
	assert_int_equal(RUN(0x48, 0x0f, 0x07), EXC_GP);
	assert_int_equal(sys_frame(2, 8), SEL_CODE64);
}

static void syscall_is_ud_without_sce_and_in_compatibility_mode(void **state)
{
	sys_start(SYS_LONG, 3);
	sys.c->efer &= ~(uint64_t)EFER_SCE;
	assert_int_equal(RUN(0x0f, 0x05), EXC_UD);
	sys_start(SYS_COMPAT, 3);
	assert_int_equal(RUN(0x0f, 0x05), EXC_UD);
}

static void sysenter_from_compatibility_mode_enters_64_bit_code(void **state)
{
	struct cpu *c;

	sys_start(SYS_COMPAT, 3);
	c = sys.c;
	assert_int_equal(RUN(0x0f, 0x34), EXC_GP);
	sys_start(SYS_COMPAT, 3);
	c = sys.c;
	c->sysenter_cs = SEL_CODE64;
	c->sysenter_eip = 0xd000;
	c->sysenter_esp = 0xe000;
	sys_poke(0xd000, 1, 0xf4);
	assert_int_equal(RUN(0x0f, 0x34), SYS_HALTED);
	assert_int_equal(c->mode, INSN_MODE64);
	assert_int_equal(c->gpr[RSP], 0xe000);
	assert_int_equal(c->cpl, 0);
	/* back: SYSEXIT to 32-bit code at CS + 16, SS + 24 */
	c->gpr[RDX] = 0xe100;
	c->gpr[RCX] = 0xe800;
	sys_poke(0xe100, 3, 0x0b0f40);
	c->gpr[RAX] = 1;
	assert_int_equal(RUN(0x0f, 0x35), EXC_UD);
	assert_int_equal(c->gpr[RAX], 2);
	assert_int_equal(sys_frame(1, 8), (SEL_CODE64 + 16) | 3);
}

static void swapgs_and_fsgsbase_move_bases(void **state)
{
	struct cpu *c;

	sys_start(SYS_LONG, 0);
	c = sys.c;
	c->cr4 |= CR4_FSGSBASE;
	c->kernel_gs_base = 0xffff888000000000;
	c->gpr[RAX] = 0x12345678;
	/* wrgsbase rax; swapgs; rdgsbase rbx */
	assert_int_equal(RUN(0xf3, 0x48, 0x0f, 0xae, 0xd8, 0x0f, 0x01, 0xf8, 0xf3, 0x48, 0x0f, 0xae, 0xcb), SYS_HALTED);
	assert_int_equal(c->gpr[RBX], 0xffff888000000000);
	assert_int_equal(c->kernel_gs_base, 0x12345678);
	assert_int_equal(c->segbase[SEG_GS], 0xffff888000000000);
	c->gpr[RAX] = 1ull << 63;
	assert_int_equal(RUN(0xf3, 0x48, 0x0f, 0xae, 0xd8), EXC_GP);
	sys_start(SYS_LONG, 3);
	assert_int_equal(RUN(0xf3, 0x48, 0x0f, 0xae, 0xd8), EXC_UD);
}

/* --- looking --- */

static void lar_lsl_verr_verw_tell_in_zf(void **state)
{
	struct cpu *c;

	sys_start(SYS_LONG, 3);
	c = sys.c;
	c->gpr[RAX] = SEL_USER_DATA | 3;
	c->gpr[RDX] = SEL_DATA;
	/* lar ecx, eax; lsl ebx, eax; verr ax; ud2 */
	assert_int_equal(RUN(0x0f, 0x02, 0xc8, 0x0f, 0x03, 0xd8, 0x0f, 0x00, 0xe0, 0x0f, 0x0b), EXC_UD);
	assert_int_equal(c->gpr[RCX] & 0xf0ff00, 0xc0f200);
	assert_int_equal(c->gpr[RBX], 0xffffffff);
	assert_true(c->flags & AF_ZF);
	sys_start(SYS_LONG, 3);
	c = sys.c;
	c->gpr[RDX] = SEL_DATA;
	c->gpr[RCX] = 0x77;
	assert_int_equal(RUN(0x0f, 0x02, 0xca, 0x0f, 0x0b), EXC_UD); /* lar ecx, edx: DPL 0 */
	assert_false(c->flags & AF_ZF);
	assert_int_equal(c->gpr[RCX], 0x77);
	sys_start(SYS_LONG, 0);
	c = sys.c;
	c->gpr[RAX] = SEL_READ_ONLY;
	assert_int_equal(RUN(0x0f, 0x00, 0xe8), SYS_HALTED); /* verw */
	assert_false(c->flags & AF_ZF);
	c->gpr[RAX] = SEL_GATE;
	sys_poke(SYS_GDT + SEL_GATE, 8, 0x85ull << 40); /* a task gate has no meaning in IA-32e mode */
	assert_int_equal(RUN(0x0f, 0x02, 0xc8), SYS_HALTED);
	assert_false(c->flags & AF_ZF);
}

static void arpl_raises_rpl(void **state)
{
	sys_start(SYS_PROT32, 0);
	sys.c->gpr[RAX] = 0xabcd0010;
	sys.c->gpr[RCX] = 3;
	assert_int_equal(RUN(0x63, 0xc8), SYS_HALTED);
	assert_int_equal(sys.c->gpr[RAX], 0xabcd0013);
	assert_true(sys.c->flags & AF_ZF);
}

static void umip_hides_tables_from_user_code(void **state)
{
	sys_start(SYS_LONG, 3);
	assert_int_equal(RUN(0x0f, 0x01, 0x04, 0x25, 0, 0xc0, 0, 0, 0x0f, 0x0b), EXC_UD); /* sgdt */
	assert_int_equal(sys_peek(SYS_DATA, 2), 0xfff);
	assert_int_equal(sys_peek(SYS_DATA + 2, 8), SYS_GDT);
	sys_start(SYS_LONG, 3);
	sys.c->cr4 |= CR4_UMIP;
	assert_int_equal(RUN(0x0f, 0x01, 0x04, 0x25, 0, 0xc0, 0, 0), EXC_GP);
	sys_start(SYS_LONG, 3);
	sys.c->cr4 |= CR4_UMIP;
	assert_int_equal(RUN(0x0f, 0x01, 0xe0), EXC_GP); /* smsw eax */
}

static void lgdt_takes_ten_bytes_in_64_bit_mode_and_checks_the_base(void **state)
{
	sys_start(SYS_LONG, 0);
	sys_poke(SYS_DATA, 2, 0x7ff);
	sys_poke(SYS_DATA + 2, 8, 0xffff800000001000);
	assert_int_equal(RUN(0x0f, 0x01, 0x1c, 0x25, 0, 0xc0, 0, 0), SYS_HALTED); /* lidt */
	assert_int_equal(sys.c->idt.base, 0xffff800000001000);
	assert_int_equal(sys.c->idt.limit, 0x7ff);
	sys_start(SYS_LONG, 0);
	sys_poke(SYS_DATA + 2, 8, 0x0001800000001000);
	assert_int_equal(RUN(0x0f, 0x01, 0x1c, 0x25, 0, 0xc0, 0, 0), EXC_GP);
}

/* --- ports --- */

static void ports_need_iopl_or_the_bitmap(void **state)
{
	sys_start(SYS_LONG, 3);
	sys_poke(SYS_TSS_AT + 0x68 + 0x3f8 / 8, 2, 0xff00);
	assert_int_equal(RUN(0x66, 0xba, 0xf8, 0x03, 0xee), SYS_OTHER); /* mov dx, 0x3f8; out dx, al */
	assert_int_equal(sys.run->exit, ENGINE_EXIT_PIO);
	assert_int_equal(sys.run->pio.port, 0x3f8);
	sys_start(SYS_LONG, 3);
	sys_poke(SYS_TSS_AT + 0x68 + 0x3f8 / 8, 2, 0xff02);
	assert_int_equal(RUN(0x66, 0xba, 0xf8, 0x03, 0x66, 0xef), EXC_GP);
	assert_int_equal(sys_frame(0, 8), 0);
	sys_start(SYS_LONG, 3);
	sys.c->tr.limit = 0x68 + 0x3f8 / 8;
	assert_int_equal(RUN(0x66, 0xba, 0xf8, 0x03, 0xee), EXC_GP);
	sys_start(SYS_LONG, 3);
	sys.c->tr.limit = 0x67;
	sys.c->sysflags |= RF_IOPL;
	assert_int_equal(RUN(0x66, 0xba, 0xf8, 0x03, 0xee), SYS_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loading_a_data_segment_sets_its_accessed_bit),
		cmocka_unit_test(selectors_that_may_not_be_loaded_fault_with_the_selector),
		cmocka_unit_test(null_ss_is_allowed_in_64_bit_mode_below_cpl_3),
		cmocka_unit_test(user_code_cannot_load_kernel_data_but_can_load_null_and_conforming),
		cmocka_unit_test(mov_ss_holds_off_an_nmi_for_one_instruction),
		cmocka_unit_test(loading_fs_takes_the_base_from_the_descriptor_and_null_clears_it),
		cmocka_unit_test(pop_seg_moves_the_stack_by_the_operand_size),
		cmocka_unit_test(lss_loads_ss_and_the_register_together_or_not_at_all),
		cmocka_unit_test(ldt_selectors_work_once_an_ldt_is_loaded),
		cmocka_unit_test(ltr_marks_the_tss_busy_and_refuses_a_busy_one),
		cmocka_unit_test(accesses_beyond_the_limit_are_gp_or_ss),
		cmocka_unit_test(expand_down_segments_allow_what_is_above_the_limit),
		cmocka_unit_test(writes_to_code_and_read_only_and_through_null_are_gp),
		cmocka_unit_test(real_mode_checks_64_kib_and_wraps_nothing),
		cmocka_unit_test(far_jump_enters_compatibility_mode_and_back),
		cmocka_unit_test(far_jump_to_what_is_no_code_is_gp),
		cmocka_unit_test(conforming_code_keeps_the_cpl),
		cmocka_unit_test(conforming_code_of_a_higher_dpl_is_gp),
		cmocka_unit_test(call_gate_64_from_compatibility_mode_pushes_quadwords),
		cmocka_unit_test(sysret_takes_only_the_flags_that_exist),
		cmocka_unit_test(far_call_and_return_in_32_bit_mode),
		cmocka_unit_test(retf_to_user_releases_parameters_on_both_stacks),
		cmocka_unit_test(call_gate_64_switches_to_rsp0),
		cmocka_unit_test(call_gate_32_copies_parameters),
		cmocka_unit_test(call_gate_of_too_low_dpl_is_gp_with_the_gate),
		cmocka_unit_test(syscall_and_sysret_change_level_and_keep_rip_and_flags),
		cmocka_unit_test(sysret_to_a_non_canonical_address_is_gp_at_cpl_0),
		cmocka_unit_test(syscall_is_ud_without_sce_and_in_compatibility_mode),
		cmocka_unit_test(sysenter_from_compatibility_mode_enters_64_bit_code),
		cmocka_unit_test(swapgs_and_fsgsbase_move_bases),
		cmocka_unit_test(lar_lsl_verr_verw_tell_in_zf),
		cmocka_unit_test(arpl_raises_rpl),
		cmocka_unit_test(umip_hides_tables_from_user_code),
		cmocka_unit_test(lgdt_takes_ten_bytes_in_64_bit_mode_and_checks_the_base),
		cmocka_unit_test(ports_need_iopl_or_the_bitmap),
	};

	return cmocka_run_group_tests(tests, NULL, sys_teardown);
}
