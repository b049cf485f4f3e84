// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Single-stepping: SDM vol. 3, 17.3.1.4 (TF), 17.4.3 (BTF), 6.8.3 (loading SS), vol. 2 under SYSCALL, SYSRET, IRET,
 * POPF. A row is a piece of code and where its traps come, as offsets into it.
 */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { TRAPS_MAX = 8, FAR_AWAY = 0x9800, END = -1 };

/* Returns from the #DB handler as IRETQ does. */
static void back(void)
{
	struct cpu *c = sys.c;
	uint64_t rip = sys_frame(0, 8), flags = sys_frame(2, 8), rsp = sys_frame(3, 8);
	uint16_t cs = (uint16_t)sys_frame(1, 8), ss = (uint16_t)sys_frame(4, 8);

	if ((cs & 3) != c->cpl) {
		c->seg[SEG_CS].selector = cs;
		c->seg[SEG_CS].attr |= 3 << 5;
		c->seg[SEG_SS].selector = ss;
		c->seg[SEG_SS].attr = (c->seg[SEG_SS].attr & ~(uint32_t)ATTR_NULL) | 0xf3;
		c->cpl = cs & 3;
		cpu_mode_changed(c);
	}
	c->gpr[GPR_RIP] = rip;
	cpu_set_rflags(c, flags);
	c->gpr[RSP] = rsp;
}

#define CODE(...) { __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

static const struct step_case {
	const char *what;
	uint8_t code[16];
	unsigned len;
	int traps[TRAPS_MAX]; /* offsets, END last; the HLT behind the code makes the last one */
	int vector;	      /* it ends in */
	uint8_t from_start;   /* TF is set before the first instruction */
} cases[] = {
	{ "plain instructions trap each", CODE(0x90, 0xff, 0xc0), { 1, 3, 4, END }, SYS_OTHER, 1 },
	{ "POPF that sets TF is not stepped", CODE(0x53, 0x9d, 0x90, 0x90), { 3, 4, 5, END }, SYS_OTHER, 0 },
	{ "POPF that clears TF is", CODE(0x51, 0x9d, 0x90), { 1, 2, END }, SYS_HALTED, 1 },
	{ "a load of SS swallows its step", CODE(0x8e, 0xd0, 0x90, 0x90), { 3, 4, 5, END }, SYS_OTHER, 1 },
	{ "STI's shadow does not", CODE(0xfa, 0xfb, 0x90), { 1, 2, 3, 4, END }, SYS_OTHER, 1 },
	{ "INT3 clears TF", CODE(0x90, 0xcc), { 1, END }, EXC_BP, 1 },
	{ "INT n clears TF", CODE(0xcd, 0x31), { END }, 0x31, 1 },
	{ "a fault is no step", CODE(0x90, 0x0f, 0x0b), { 1, END }, EXC_UD, 1 },
	{ "REP is stepped by iteration", CODE(0xf3, 0xa4, 0x90), { 0, 0, 2, 3, 4, END }, SYS_OTHER, 1 },
	{ "a taken branch traps at its target", CODE(0xeb, 0x01, 0x90, 0x90), { 3, 4, 5, END }, SYS_OTHER, 1 },
	{ "instructions that leave the engine are one step", CODE(0xec, 0xa2, 0, 0, 0, 0xd0, 0, 0, 0, 0, 0x90),
	  { 1, 10, 11, 12, END }, SYS_OTHER, 1 },
	{ "CPUID and RDTSC", CODE(0x0f, 0xa2, 0x0f, 0x31), { 2, 4, 5, END }, SYS_OTHER, 1 },
};

static void each_kind_of_instruction_traps_where_the_manual_says(void **state)
{
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct step_case *t = &cases[i];
		unsigned n = 0;
		struct cpu *c;
		int vector;

		sys_start(SYS_LONG, 0);
		c = sys.c;
		/* something that is no memory, for the store of AL */
		sys_poke(SYS_PT + 0x50 * 8, 8, 0xd0000000 | 7);
		c->gpr[RAX] = SEL_DATA;
		c->gpr[RBX] = RF_FIXED | RF_TF;
		c->gpr[RCX] = RF_FIXED;
		c->gpr[RSI] = c->gpr[RDI] = SYS_DATA;
		if (t->code[0] == 0xf3)
			c->gpr[RCX] = 3;
		if (ram_write(sys.ram, SYS_CODE, t->code, t->len))
			fail();
		if (t->code[0] == 0xec)
			sys_poke(SYS_CODE + 2, 8, 0x50000);
		sys_poke(SYS_CODE + t->len, 2, 0xf4f4);
		if (t->from_start)
			c->sysflags |= RF_TF;
		while ((vector = sys_go()) == EXC_DB && n < TRAPS_MAX && t->traps[n] != END) {
			int at = (int)(sys_frame(0, 8) - SYS_CODE);
			bool repeated = t->code[0] == 0xf3 && at == 0;

			if (at != t->traps[n])
				fail_msg("%s: trap %u at %d, not %d", t->what, n, at, t->traps[n]);
			assert_int_equal(c->dr[6], DR6_FIXED | DR6_BS);
			assert_int_equal(!!(sys_frame(2, 8) & RF_RF), repeated);
			c->dr[6] = DR6_FIXED;
			n++;
			back();
			/* The HLT's own trap is the last that is looked at. */
			if (t->vector == SYS_OTHER && t->traps[n] == END) {
				vector = SYS_OTHER;
				break;
			}
		}
		if (vector != t->vector || t->traps[n] != END)
			fail_msg("%s: vector %d after %u traps", t->what, vector, n);
	}
}

/* Vol. 2, SYSCALL: RFLAGS is masked first, and TF as it is then decides. */
static void syscall_traps_if_fmask_leaves_tf(void **state)
{
	for (unsigned masked = 0; masked < 2; masked++) {
		struct cpu *c;

		sys_start(SYS_LONG, 3);
		c = sys.c;
		c->star = (uint64_t)SEL_CODE64 << 32;
		c->lstar = FAR_AWAY;
		c->sfmask = masked ? RF_TF : 0;
		c->sysflags |= RF_TF;
		sys_poke(FAR_AWAY, 1, 0xf4);
		sys_poke(SYS_CODE, 2, 0x050f);
		assert_int_equal(sys_go(), masked ? SYS_HALTED : EXC_DB);
		if (!masked)
			assert_int_equal(sys_frame(0, 8), FAR_AWAY);
		assert_int_equal(!!(c->dr[6] & DR6_BS), !masked);
		assert_true(c->gpr[R11] & RF_TF);
	}
}

static void sysret_that_sets_tf_traps_before_the_next_instruction(void **state)
{
	struct cpu *c;

	sys_start(SYS_LONG, 0);
	c = sys.c;
	c->star = (uint64_t)(SEL_USER32 | 3) << 48;
	c->gpr[R11] = RF_FIXED | RF_TF;
	c->gpr[RCX] = FAR_AWAY;
	sys_poke(FAR_AWAY, 2, 0x0b0f);
	sys_poke(SYS_CODE, 4, 0x070f48);
	assert_int_equal(sys_go(), EXC_DB);
	assert_int_equal(sys_frame(0, 8), FAR_AWAY);
	assert_int_equal(sys_frame(1, 8) & 3, 3);
	assert_int_equal(c->dr[6], DR6_FIXED | DR6_BS);
}

static void iret_that_sets_tf_traps_after_the_next_instruction(void **state)
{
	const uint64_t frame[5] = { SYS_CODE + 2, SEL_CODE64, RF_FIXED | RF_TF, SYS_STACK, SEL_DATA };

	sys_start(SYS_LONG, 0);
	sys.c->gpr[RSP] = SYS_STACK - 0x100;
	for (unsigned i = 0; i < 5; i++)
		sys_poke(sys.c->gpr[RSP] + i * 8, 8, frame[i]);
	sys_poke(SYS_CODE, 4, 0x9090cf48);
	assert_int_equal(sys_go(), EXC_DB);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 3);
}

static void hlt_traps_and_does_not_wait(void **state)
{
	sys_start(SYS_LONG, 0);
	sys.c->sysflags |= RF_TF;
	sys_poke(SYS_CODE, 2, 0x90f4);
	assert_int_equal(sys_go(), EXC_DB);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 1);
	assert_int_equal(sys.c->dr[6], DR6_FIXED | DR6_BS);
}

/* Steps, with breakpoint 0 at SYS_DATA, where RBX points. */
static struct cpu *start_watching(uint64_t dr7)
{
	struct cpu *c;

	sys_start(SYS_LONG, 0);
	c = sys.c;
	c->gpr[RBX] = c->dr[0] = SYS_DATA;
	c->dr[7] = dr7;
	debug_rearm(c);
	c->sysflags |= RF_TF;
	return c;
}

static void a_step_and_a_data_breakpoint_are_one_db(void **state)
{
	struct cpu *c = start_watching(0x10402);

	sys_poke(SYS_CODE, 4, 0x90900388);
	assert_int_equal(sys_go(), EXC_DB);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 2);
	assert_int_equal(c->dr[6], DR6_FIXED | DR6_BS | 1);
	c->dr[6] = DR6_FIXED;
	back();
	assert_int_equal(sys_go(), EXC_DB);
	assert_int_equal(c->dr[6], DR6_FIXED | DR6_BS);
}

/* What is held off by a load of SS is the breakpoint of that instruction; its step is gone. */
static void a_step_behind_a_load_of_ss_tells_the_breakpoint_too(void **state)
{
	struct cpu *c = start_watching(0x30402);

	sys_poke(SYS_DATA, 2, SEL_DATA);
	sys_poke(SYS_CODE, 4, 0x9090138e);
	assert_int_equal(sys_go(), EXC_DB);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 3);
	assert_int_equal(c->dr[6], DR6_FIXED | DR6_BS | 1);
}

static void btf_steps_taken_branches_only_and_is_cleared(void **state)
{
	struct cpu *c;
	/* nop; jnz +1 (not taken); nop; jmp +1; nop; nop */
	static const uint8_t code[] = { 0x90, 0x75, 0x01, 0x90, 0xeb, 0x01, 0x90, 0x90 };

	sys_start(SYS_LONG, 0);
	c = sys.c;
	c->flags |= AF_ZF;
	c->debugctl = DEBUGCTL_BTF;
	c->sysflags |= RF_TF;
	if (ram_write(sys.ram, SYS_CODE, code, sizeof(code)))
		fail();
	assert_int_equal(sys_go(), EXC_DB);
	assert_int_equal(sys_frame(0, 8), SYS_CODE + 7);
	assert_int_equal(c->debugctl, 0);
}

static void a_step_comes_before_an_nmi(void **state)
{
	struct cpu *c;

	sys_start(SYS_LONG, 0);
	c = sys.c;
	c->sysflags |= RF_TF;
	c->shadow = 1;
	cpu_request(c, REQ_NMI);
	sys_poke(SYS_CODE, 2, 0x9090);
	assert_int_equal(sys_go(), EXC_NMI);
	assert_int_equal(sys_frame(0, 8), SYS_HANDLER + EXC_DB); /* it came before the first instruction of #DB's handler */
	assert_int_equal(c->dr[6], DR6_FIXED | DR6_BS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_kind_of_instruction_traps_where_the_manual_says),
		TEST(syscall_traps_if_fmask_leaves_tf),
		TEST(sysret_that_sets_tf_traps_before_the_next_instruction),
		TEST(iret_that_sets_tf_traps_after_the_next_instruction),
		TEST(hlt_traps_and_does_not_wait),
		TEST(a_step_and_a_data_breakpoint_are_one_db),
		TEST(a_step_behind_a_load_of_ss_tells_the_breakpoint_too),
		TEST(btf_steps_taken_branches_only_and_is_cleared),
		TEST(a_step_comes_before_an_nmi),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
