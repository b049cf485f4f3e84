// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hardware task switches (SDM vol. 3, chapter 7): what is saved and loaded, busy bits, the link, NT (7.2 to
 * 7.4, table 7-2), and what faults in the old task and in the new one (7.3, table 7-1).
 */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* The old task is the rig's, TSS SEL_TSS32. The new one has a TSS of 32 bits or of 16. */
enum {
	SEL_NEW = 0x100, SEL_NEW16 = 0x108, SEL_TASK_GATE = 0x110, SEL_X = 0x118, SEL_X_USER = 0x118 | 3,
	NEW_TSS = 0xd000, NEW_TSS16 = 0xd100, NEW_CODE = 0xe000, NEW_STACK = 0x28000, NEW_STACK0 = 0x2a000,
	PAGES = 0x30000, PAGES2 = 0x31000, VECTOR = 0x80,
};

/* Offsets in a 32-bit TSS (figure 7-2) */
enum {
	LINK = 0, ESP0 = 4, SS0 = 8, TSS_CR3 = 0x1c, EIP = 0x20, EFLAGS = 0x24, EAX = 0x28, ESP = 0x38, ES = 0x48, CS = 0x4c,
	SS = 0x50, DS = 0x54, FS = 0x58, GS = 0x5c, LDT = 0x60, TRAP = 0x64,
};

static void desc(uint16_t sel, uint32_t base, uint32_t limit, unsigned attr)
{
	sys_poke(SYS_GDT + (sel & ~7u), 8, sys_desc(base, limit, attr));
}

static void task_gate_in_idt(unsigned vector, uint16_t tss)
{
	sys_poke(SYS_IDT + vector * 8, 8, (uint64_t)tss << 16 | 0xe5ull << 40);
}

static bool busy(uint16_t sel)
{
	return sys_peek(SYS_GDT + sel + 5, 1) & 2;
}

static uint32_t tss(unsigned offset)
{
	return (uint32_t)sys_peek(NEW_TSS + offset, 4);
}

static void set(unsigned offset, uint32_t v)
{
	sys_poke(NEW_TSS + offset, 4, v);
}

/* The new task begins with a HLT at CPL @cpl. */
static struct cpu *start(unsigned old_cpl, unsigned cpl)
{
	uint32_t data = cpl ? SEL_USER_DATA | 3 : SEL_DATA;

	sys_start(SYS_PROT32, old_cpl);
	desc(SEL_TSS32, SYS_TSS32_AT, 0x67, 0x8b);
	desc(SEL_NEW, NEW_TSS, 0x67, 0x89);
	desc(SEL_NEW16, NEW_TSS16, 0x2b, 0x81);
	sys_poke(SYS_GDT + SEL_TASK_GATE, 8, (uint64_t)SEL_NEW << 16 | 0x85ull << 40);
	for (unsigned i = 0; i < 8; i++) {
		set(EAX + i * 4, 0x11111111 * (i + 1));
		sys_poke(NEW_TSS16 + 0x12 + i * 2, 2, 0x1111 * (i + 1));
	}
	set(ESP, NEW_STACK);
	sys_poke(NEW_TSS16 + 0x1a, 2, 0xf000);
	set(LINK, 0xdead);
	set(ESP0, NEW_STACK0);
	set(SS0, SEL_DATA);
	set(EIP, NEW_CODE);
	set(EFLAGS, RF_FIXED | FL_CF);
	set(CS, cpl ? SEL_USER32 | 3 : SEL_CODE32);
	for (unsigned at = ES; at <= GS; at += 4)
		if (at != CS)
			set(at, data);
	sys_poke(NEW_TSS16 + 0x0e, 2, NEW_CODE);
	sys_poke(NEW_TSS16 + 0x10, 2, RF_FIXED);
	sys_poke(NEW_TSS16 + 0x22, 2, SEL_DATA);
	sys_poke(NEW_TSS16 + 0x24, 2, SEL_CODE32);
	sys_poke(NEW_TSS16 + 0x26, 2, SEL_DATA16);
	sys_poke(NEW_TSS16 + 0x28, 2, SEL_DATA);
	sys_poke(NEW_CODE, 1, 0xf4);
	return sys.c;
}

#define JMP(sel) 0xea, 0, 0, 0, 0, (sel) & 0xff, (sel) >> 8
#define CALL(sel) 0x9a, 0, 0, 0, 0, (sel) & 0xff, (sel) >> 8
enum { FAR_LEN = 7 };

static void in_new_task(void)
{
	assert_int_equal(sys.c->tr.selector, SEL_NEW);
	assert_int_equal(sys.c->gpr[GPR_RIP], NEW_CODE + 1);
}

static void in_old_task(void)
{
	assert_int_equal(sys.c->tr.selector, SEL_TSS32);
	assert_true(busy(SEL_TSS32));
	assert_int_equal(tss(LINK), 0xdead);
	assert_false(sys.c->cr0 & CR0_TS);
}

/* --- what moves --- */

static void jmp_saves_the_old_state_and_loads_the_new(void **state)
{
	struct cpu *c = start(0, 0);

	for (unsigned i = 0; i < 8; i++)
		if (i != RSP)
			c->gpr[i] = 0xa0000000 + i;
	c->sysflags |= RF_DF;
	c->flags = AF_ZF;
	assert_int_equal(RUN(JMP(SEL_NEW)), SYS_HALTED);
	in_new_task();
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(c->gpr[i], i == RSP ? NEW_STACK : 0x11111111u * (i + 1));
	assert_int_equal(cpu_rflags(c), RF_FIXED | FL_CF);
	assert_true(c->cr0 & CR0_TS);
	assert_int_equal(c->tr.base, NEW_TSS);
	assert_int_equal(c->tr.attr & 0xff, 0x8b);
	/* table 7-2, JMP */
	assert_false(busy(SEL_TSS32));
	assert_true(busy(SEL_NEW));
	assert_int_equal(tss(LINK), 0xdead);

	assert_int_equal(sys_peek(SYS_TSS32_AT + EIP, 4), SYS_CODE + FAR_LEN);
	assert_int_equal(sys_peek(SYS_TSS32_AT + EFLAGS, 4), RF_FIXED | RF_DF | FL_ZF);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(sys_peek(SYS_TSS32_AT + EAX + i * 4, 4), i == RSP ? SYS_STACK : 0xa0000000 + i);
	for (unsigned at = ES; at <= GS; at += 4)
		assert_int_equal(sys_peek(SYS_TSS32_AT + at, 4), at == CS ? SEL_CODE32 : SEL_DATA);
}

static void call_links_the_tasks_and_iret_goes_back(void **state)
{
	struct cpu *c = start(0, 0);

	sys_poke(NEW_CODE, 1, 0xcf);
	assert_int_equal(RUN(CALL(SEL_NEW)), SYS_HALTED);
	assert_int_equal(c->tr.selector, SEL_TSS32);
	assert_int_equal(c->gpr[GPR_RIP], SYS_CODE + FAR_LEN + 1);
	assert_int_equal(c->gpr[RSP], SYS_STACK);
	assert_int_equal(tss(LINK), SEL_TSS32);
	/* IRET left the nested task: not busy, NT clear in what it saved, EIP after the IRET */
	assert_false(busy(SEL_NEW));
	assert_true(busy(SEL_TSS32));
	assert_int_equal(tss(EFLAGS), RF_FIXED | FL_CF);
	assert_int_equal(tss(EIP), NEW_CODE + 1);
	assert_false(c->sysflags & RF_NT);
}

static void call_sets_nt_and_leaves_both_tasks_busy(void **state)
{
	struct cpu *c = start(0, 0);

	assert_int_equal(RUN(CALL(SEL_NEW)), SYS_HALTED);
	in_new_task();
	assert_int_equal(tss(LINK) & 0xffff, SEL_TSS32);
	assert_true(c->sysflags & RF_NT);
	assert_true(busy(SEL_TSS32) && busy(SEL_NEW));
}

static void jmp_through_a_task_gate_needs_only_the_gates_privilege(void **state)
{
	start(3, 0);
	sys_poke(SYS_GDT + SEL_TASK_GATE + 5, 1, 0xe5);
	assert_int_equal(RUN(JMP(SEL_TASK_GATE | 3)), SYS_HALTED);
	in_new_task();
	assert_int_equal(sys.c->cpl, 0);
}

/* --- through the IDT --- */

static void int_n_through_a_task_gate_nests(void **state)
{
	start(3, 0);
	task_gate_in_idt(VECTOR, SEL_NEW);
	assert_int_equal(RUN(0xcd, VECTOR), SYS_HALTED);
	in_new_task();
	assert_int_equal(sys.c->gpr[RSP], NEW_STACK);
	assert_int_equal(sys_peek(SYS_TSS32_AT + EIP, 4), SYS_CODE + 2);
	assert_int_equal(sys_peek(SYS_TSS32_AT + EFLAGS, 4), RF_FIXED);
	assert_int_equal(tss(LINK) & 0xffff, SEL_TSS32);
	assert_true(sys.c->sysflags & RF_NT);
}

static void a_faults_error_code_is_pushed_on_the_new_tasks_stack(void **state)
{
	start(0, 0);
	task_gate_in_idt(EXC_GP, SEL_NEW);
	sys.c->gpr[RAX] = 0x1230;
	assert_int_equal(RUN(0x8e, 0xd8), SYS_HALTED); /* mov ds, ax */
	in_new_task();
	assert_int_equal(sys.c->gpr[RSP], NEW_STACK - 4);
	assert_int_equal(sys_frame(0, 4), 0x1230);
	/* the fault's address, and RF (17.3.1.1) */
	assert_int_equal(sys_peek(SYS_TSS32_AT + EIP, 4), SYS_CODE);
	assert_int_equal(sys_peek(SYS_TSS32_AT + EFLAGS, 4), RF_FIXED | RF_RF);
}

static void a_double_fault_finds_its_task_when_the_stack_is_gone(void **state)
{
	struct cpu *c = start(0, 0);

	task_gate_in_idt(EXC_DF, SEL_NEW);
	c->gpr[RSP] = 0;
	c->seg[SEG_SS].limit = 0xfff;
	assert_int_equal(RUN(0x0f, 0x0b), SYS_HALTED); /* #UD, #SS, #DF */
	in_new_task();
	assert_int_equal(c->gpr[RSP], NEW_STACK - 4);
	assert_int_equal(sys_frame(0, 4), 0);
	assert_int_equal(sys_peek(SYS_TSS32_AT + EIP, 4), SYS_CODE);
	assert_int_equal(sys_peek(SYS_TSS32_AT + ESP, 4), 0);
}

static void an_error_code_has_16_bits_on_the_stack_of_a_16_bit_task(void **state)
{
	start(0, 0);
	task_gate_in_idt(EXC_GP, SEL_NEW16);
	sys.c->gpr[RAX] = 0x1230;
	assert_int_equal(RUN(0x8e, 0xd8), SYS_HALTED);
	assert_int_equal(sys.c->tr.selector, SEL_NEW16);
	assert_int_equal((uint16_t)sys.c->gpr[RSP], 0xf000 - 2);
	assert_int_equal(sys_peek(0xf000 - 2, 2), 0x1230);
}

static void an_error_code_without_room_is_ss_with_ext(void **state)
{
	start(0, 3);
	task_gate_in_idt(EXC_NP, SEL_NEW);
	desc(SEL_X, 0, 0xfff, 0xf2 | ATTR_DB);
	set(SS, SEL_X_USER);
	sys.c->gpr[RAX] = SEL_ABSENT;
	/* #SS while #NP is being delivered: a double fault (table 6-5) */
	assert_int_equal(RUN(0x8e, 0xd8), EXC_DF);
	assert_int_equal(sys.c->tr.selector, SEL_NEW);
}

/* --- 16 bits --- */

static void a_16_bit_tss_takes_and_gives_16_bits(void **state)
{
	struct cpu *c = start(0, 0);

	sys_poke(NEW_TSS16 + 0x10, 2, RF_FIXED | RF_DF);
	c->gpr[RBX] = 0x12345678;
	assert_int_equal(RUN(CALL(SEL_NEW16)), SYS_HALTED);
	assert_int_equal(c->tr.selector, SEL_NEW16);
	assert_int_equal((uint16_t)c->gpr[RBX], 0x4444);
	assert_int_equal((uint16_t)c->gpr[RSP], 0xf000);
	assert_int_equal(cpu_rflags(c), RF_FIXED | RF_DF | RF_NT);
	assert_true((c->seg[SEG_FS].attr & ATTR_NULL) && (c->seg[SEG_GS].attr & ATTR_NULL));
	assert_int_equal(c->seg[SEG_DS].selector, SEL_DATA);
	assert_int_equal(sys_peek(NEW_TSS16, 2), SEL_TSS32);
	assert_int_equal(sys_peek(SYS_TSS32_AT + EAX + RBX * 4, 4), 0x12345678);

	/* and back, by IRET: the 32-bit state is whole again */
	c->gpr[GPR_RIP] = SYS_CODE + 0x100;
	assert_int_equal(RUN(0xcf), SYS_HALTED);
	assert_int_equal(c->tr.selector, SEL_TSS32);
	assert_int_equal(c->gpr[RBX], 0x12345678);
	assert_int_equal(sys_peek(NEW_TSS16 + 0x0e, 2), SYS_CODE + 0x101);
	assert_int_equal(sys_peek(NEW_TSS16 + 0x10, 2), RF_FIXED | RF_DF);
}

/* --- 7.3: what is found before the switch faults in the old task --- */

static void checks_of_the_tss_fault_in_the_old_task(void **state)
{
	static const struct {
		unsigned cpl;
		uint16_t sel;
		uint32_t limit;
		unsigned attr; /* of SEL_NEW */
		uint64_t gate; /* of SEL_TASK_GATE */
		int vector;
		unsigned error;
	} t[] = {
		{ 3, SEL_NEW, 0x67, 0x89, 0, EXC_GP, SEL_NEW },			 /* DPL < CPL */
		{ 0, SEL_NEW | 3, 0x67, 0x89, 0, EXC_GP, SEL_NEW },		 /* DPL < RPL */
		{ 0, SEL_NEW, 0x67, 0x8b, 0, EXC_GP, SEL_NEW },			 /* busy */
		{ 0, SEL_NEW, 0x67, 0x09, 0, EXC_NP, SEL_NEW },			 /* absent */
		{ 0, SEL_NEW, 0x66, 0x89, 0, EXC_TS, SEL_NEW },			 /* too short */
		{ 0, SEL_NEW, 0x2a, 0x81, 0, EXC_TS, SEL_NEW },			 /* too short for 16 bits */
		{ 0, SEL_TASK_GATE, 0x67, 0x89, 0x05ull << 40, EXC_NP, SEL_TASK_GATE },
		{ 3, SEL_TASK_GATE, 0x67, 0x89, 0x85ull << 40, EXC_GP, SEL_TASK_GATE },
		{ 0, SEL_TASK_GATE, 0x67, 0x89, 0x85ull << 40 | SEL_DATA << 16, EXC_GP, SEL_DATA },
		{ 0, SEL_TASK_GATE, 0x67, 0x89, 0x85ull << 40 | (SEL_NEW | 4) << 16, EXC_GP, SEL_NEW | 4 },
		{ 0, SEL_TASK_GATE, 0x67, 0x89, 0x85ull << 40 | 0x1000 << 16, EXC_GP, 0x1000 },
		{ 0, SEL_TASK_GATE, 0x67, 0x89, 0x85ull << 40, EXC_GP, 0 },	 /* null */
		{ 0, SEL_TASK_GATE, 0x67, 0x8b, 0x85ull << 40 | SEL_NEW << 16, EXC_GP, SEL_NEW },
		{ 0, SEL_TASK_GATE, 0x67, 0x09, 0x85ull << 40 | SEL_NEW << 16, EXC_NP, SEL_NEW },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		start(t[i].cpl, 0);
		desc(SEL_NEW, NEW_TSS, t[i].limit, t[i].attr);
		if (t[i].gate)
			sys_poke(SYS_GDT + SEL_TASK_GATE, 8, t[i].gate);
		assert_int_equal(RUN(JMP(t[i].sel)), t[i].vector);
		assert_int_equal(sys_frame(0, 4), t[i].error);
		assert_int_equal(sys_frame(1, 4), SYS_CODE);
		in_old_task();
	}
}

static void checks_of_the_link_are_ts_except_for_presence(void **state)
{
	static const struct {
		uint16_t link;
		unsigned attr;
		int vector;
	} t[] = {
		{ SEL_NEW, 0x89, EXC_TS },	/* not busy */
		{ SEL_NEW | 4, 0x8b, EXC_TS },	/* in the LDT */
		{ 0x1000, 0x8b, EXC_TS },	/* outside the GDT */
		{ SEL_DATA, 0x8b, EXC_TS },
		{ SEL_NEW, 0x0b, EXC_NP },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct cpu *c = start(0, 0);

		desc(SEL_NEW, NEW_TSS, 0x67, t[i].attr);
		sys_poke(SYS_TSS32_AT, 2, t[i].link);
		c->sysflags |= RF_NT;
		assert_int_equal(RUN(0xcf), t[i].vector);
		assert_int_equal(sys_frame(0, 4), t[i].link & SEL_ERROR);
		assert_int_equal(sys_frame(1, 4), SYS_CODE);
		in_old_task();
	}
}

static void a_present_tss_too_short_for_its_state_is_ts(void **state)
{
	struct cpu *c = start(0, 0);

	c->tr.limit = 0x50;
	assert_int_equal(RUN(JMP(SEL_NEW)), EXC_TS);
	assert_int_equal(sys_frame(0, 4), SEL_TSS32);
	in_old_task();
}

/* --- table 7-1: what is found after it faults in the new task --- */

static void checks_of_the_new_state_fault_in_the_new_task(void **state)
{
	static const struct {
		unsigned at;
		uint32_t value;
		uint32_t x_limit; /* of SEL_X, if an entry uses it */
		unsigned x_attr;
		int vector;
		unsigned error;
	} t[] = {
		{ LDT, SEL_DATA, 0, 0, EXC_TS, SEL_DATA },
		{ LDT, SEL_LDT | 4, 0, 0, EXC_TS, SEL_LDT | 4 },
		{ LDT, SEL_X, 0xff, 0x02, EXC_TS, SEL_X },	     /* absent */
		{ LDT, 0x1000, 0, 0, EXC_TS, 0x1000 },
		{ CS, SEL_USER_DATA | 3, 0, 0, EXC_TS, SEL_USER_DATA }, /* no code */
		{ CS, SEL_CODE32 | 3, 0, 0, EXC_TS, SEL_CODE32 },    /* DPL is not RPL */
		{ CS, 0x1003, 0, 0, EXC_TS, 0x1000 },
		{ CS, 3, 0, 0, EXC_TS, 0 },
		{ CS, SEL_X_USER, 0xffff, 0x7a | ATTR_DB, EXC_NP, SEL_X },
		{ SS, 0, 0, 0, EXC_TS, 0 },
		{ SS, SEL_DATA | 3, 0, 0, EXC_TS, SEL_DATA },	     /* DPL is not CPL */
		{ SS, SEL_USER_DATA, 0, 0, EXC_TS, SEL_USER_DATA },  /* RPL is not CPL */
		{ SS, SEL_USER32 | 3, 0, 0, EXC_TS, SEL_USER32 },    /* code */
		{ SS, SEL_X_USER, 0xffff, 0xf0 | ATTR_DB, EXC_TS, SEL_X }, /* read-only */
		{ SS, SEL_X_USER, 0xffff, 0x72 | ATTR_DB, EXC_SS, SEL_X }, /* absent */
		{ DS, SEL_DATA, 0, 0, EXC_TS, SEL_DATA },	     /* DPL < CPL */
		{ ES, SEL_X_USER, 0xffff, 0xf8 | ATTR_DB, EXC_TS, SEL_X }, /* execute-only */
		{ FS, SEL_X_USER, 0xffff, 0x72 | ATTR_DB, EXC_NP, SEL_X },
		{ GS, SEL_TSS32 | 3, 0, 0, EXC_TS, SEL_TSS32 },
		{ GS, 0x2003, 0, 0, EXC_TS, 0x2000 },
		{ CS, SEL_X_USER, NEW_CODE - 1, 0xfa | ATTR_DB, EXC_GP, 0 }, /* EIP beyond the limit */
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		start(0, 3);
		if (t[i].x_attr)
			desc(SEL_X, 0, t[i].x_limit, t[i].x_attr);
		set(t[i].at, t[i].value);
		assert_int_equal(RUN(JMP(SEL_NEW)), t[i].vector);
		assert_int_equal(sys_frame(0, 4), t[i].error);
		assert_int_equal(sys_frame(1, 4), NEW_CODE);
		assert_int_equal(sys_frame(2, 4), tss(CS));
		assert_int_equal(sys_frame(5, 4), tss(SS));
		assert_int_equal(sys.c->gpr[RSP], NEW_STACK0 - 24);
		assert_int_equal(sys.c->tr.selector, SEL_NEW);
		assert_true(busy(SEL_NEW) && !busy(SEL_TSS32));
		assert_int_equal(sys_peek(SYS_TSS32_AT + EIP, 4), SYS_CODE + FAR_LEN);
	}
}

static void ext_is_set_when_an_exception_made_the_switch(void **state)
{
	start(0, 3);
	task_gate_in_idt(EXC_UD, SEL_NEW);
	set(DS, SEL_DATA);
	assert_int_equal(RUN(0x0f, 0x0b), EXC_TS);
	assert_int_equal(sys_frame(0, 4), SEL_DATA | 1);
	start(0, 3);
	task_gate_in_idt(EXC_UD, SEL_NEW);
	desc(SEL_NEW, NEW_TSS, 0x67, 0x8b);
	assert_int_equal(RUN(0x0f, 0x0b), EXC_GP);
	assert_int_equal(sys_frame(0, 4), SEL_NEW | 1);
	start(0, 3);
	task_gate_in_idt(EXC_UD, SEL_NEW);
	desc(SEL_X, 0, NEW_CODE - 1, 0xfa | ATTR_DB);
	set(CS, SEL_X_USER);
	assert_int_equal(RUN(0x0f, 0x0b), EXC_GP);
	assert_int_equal(sys_frame(0, 4), 1);
	/* INT n is no external event */
	start(0, 3);
	task_gate_in_idt(VECTOR, SEL_NEW);
	set(DS, SEL_DATA);
	assert_int_equal(RUN(0xcd, VECTOR), EXC_TS);
	assert_int_equal(sys_frame(0, 4), SEL_DATA);
}

/* --- LDT, virtual-8086 mode, debug trap, paging --- */

static void the_new_tasks_segments_may_be_in_its_ldt(void **state)
{
	struct cpu *c = start(0, 0);

	sys_poke(SYS_LDT_AT + 8, 8, sys_desc(0x1000, 0xfffff, 0xf3 | ATTR_G | ATTR_DB));
	set(LDT, SEL_LDT);
	set(DS, 8 | 4);
	assert_int_equal(RUN(JMP(SEL_NEW)), SYS_HALTED);
	assert_int_equal(c->ldt.base, SYS_LDT_AT);
	assert_int_equal(c->seg[SEG_DS].base, 0x1000);
}

static void a_task_may_begin_in_virtual_8086_mode(void **state)
{
	struct cpu *c = start(0, 0);

	set(EFLAGS, RF_FIXED | RF_VM);
	set(CS, NEW_CODE >> 4);
	set(EIP, 0);
	set(DS, 0x123);
	set(SS, 0x2000);
	set(ESP, 0x100);
	sys_poke(NEW_CODE, 2, 0x0b0f);
	assert_int_equal(RUN(JMP(SEL_NEW)), EXC_UD);
	assert_int_equal(sys_frame(0, 4), 0);
	assert_int_equal(sys_frame(1, 4), NEW_CODE >> 4);
	assert_true(sys_frame(2, 4) & RF_VM);
	assert_int_equal(sys_frame(3, 4), 0x100);
	assert_int_equal(sys_frame(4, 4), 0x2000);
	assert_int_equal(sys_frame(6, 4), 0x123);
	assert_int_equal(c->gpr[RSP], NEW_STACK0 - 36);
}

static void virtual_8086_mode_is_left_through_a_task_gate(void **state)
{
	uint32_t frame[9] = { 0x10, 0xd80, RF_FIXED | RF_VM, 0x800, 0xe00, 0x111, 0x222, 0x333, 0x444 };
	struct cpu *c = start(0, 0);

	task_gate_in_idt(EXC_UD, SEL_NEW);
	for (unsigned i = 0; i < 9; i++)
		sys_poke(SYS_STACK - sizeof(frame) + i * 4, 4, frame[i]);
	c->gpr[RSP] = SYS_STACK - sizeof(frame);
	sys_poke(0xd810, 2, 0x0b0f);
	assert_int_equal(RUN(0xcf), SYS_HALTED);
	in_new_task();
	assert_false(c->sysflags & RF_VM);
	assert_int_equal(sys_peek(SYS_TSS32_AT + EFLAGS, 4), RF_FIXED | RF_VM | RF_RF);
	assert_int_equal(sys_peek(SYS_TSS32_AT + CS, 4), 0xd80);
	assert_int_equal(sys_peek(SYS_TSS32_AT + GS, 4), 0x444);
}

static void the_t_flag_traps_before_the_first_instruction(void **state)
{
	struct cpu *c = start(0, 3);

	set(TRAP, 1);
	c->dr[7] = DR7_FIXED | 0x1ff;
	c->dr[0] = c->dr[1] = c->dr[2] = c->dr[3] = 0x100000;
	debug_rearm(c);
	assert_int_equal(RUN(JMP(SEL_NEW)), EXC_DB);
	assert_int_equal(sys_frame(0, 4), NEW_CODE);
	assert_true(c->dr[6] & DR6_BT);
	/* local breakpoints are the old task's (17.2.4) */
	assert_int_equal(c->dr[7], DR7_FIXED | 0xaa);
}

/* 4 MiB pages in two directories: both map everything to itself. */
static void paging(struct cpu *c)
{
	sys_poke(PAGES, 4, 0x87);
	sys_poke(PAGES2, 4, 0x87);
	c->cr3 = PAGES;
	c->cr4 = CR4_PSE;
	c->cr0 |= CR0_PG;
	mmu_flush_all(c);
	cpu_mode_changed(c);
}

static void cr3_is_loaded_with_paging_only(void **state)
{
	struct cpu *c = start(0, 0);

	set(TSS_CR3, PAGES2);
	c->cr3 = 0x5000;
	assert_int_equal(RUN(JMP(SEL_NEW)), SYS_HALTED);
	assert_int_equal(c->cr3, 0x5000);
	c = start(0, 0);
	paging(c);
	set(TSS_CR3, PAGES2);
	assert_int_equal(RUN(JMP(SEL_NEW)), SYS_HALTED);
	assert_int_equal(c->cr3, PAGES2);
	c = start(0, 0);
	paging(c);
	assert_int_equal(RUN(JMP(SEL_NEW16)), SYS_HALTED);
	assert_int_equal(c->cr3, PAGES);
}

static void pae_entries_with_reserved_bits_are_gp_in_the_new_task(void **state)
{
	struct cpu *c = start(0, 3);

	sys_poke(PAGES, 8, (PAGES + 0x1000) | 1);
	sys_poke(PAGES + 0x1000, 8, 0x87);
	sys_poke(PAGES + 0x2000, 8, 0x1ff);
	c->gpr[RAX] = PAGES;
	c->cr4 = CR4_PAE;
	c->gpr[RBX] = c->cr0 | CR0_PG;
	set(TSS_CR3, PAGES + 0x2000);
	/* mov cr3, eax; mov cr0, ebx; jmp */
	assert_int_equal(RUN(0x0f, 0x22, 0xd8, 0x0f, 0x22, 0xc3, JMP(SEL_NEW)), EXC_GP);
	assert_int_equal(c->cr3, PAGES);
	assert_int_equal(c->tr.selector, SEL_NEW);
}

static void a_page_fault_on_a_tss_comes_before_anything_changes(void **state)
{
	for (unsigned write = 0; write < 2; write++) {
		struct cpu *c = start(0, 0);

		/* One directory, one table; the new TSS's page is absent, or (CALL writes the link) read-only. */
		for (unsigned i = 0; i < 512; i++)
			sys_poke(PAGES2 + i * 4, 4, i * 4096 | 7);
		sys_poke(PAGES2 + (NEW_TSS >> 12) * 4, 4, write ? NEW_TSS | 5 : 0);
		sys_poke(PAGES, 4, PAGES2 | 7);
		c->cr3 = PAGES;
		c->cr0 |= CR0_PG;
		mmu_flush_all(c);
		cpu_mode_changed(c);
		assert_int_equal(write ? RUN(CALL(SEL_NEW)) : RUN(JMP(SEL_NEW)), EXC_PF);
		assert_int_equal(c->cr2, NEW_TSS);
		assert_int_equal(sys_frame(0, 4), write ? 3 : 0);
		assert_int_equal(sys_frame(1, 4), SYS_CODE);
		in_old_task();
		assert_false(busy(SEL_NEW));
		assert_int_equal(sys_peek(SYS_TSS32_AT + EIP, 4), 0);
	}
}

static void task_gates_and_tsss_are_gp_in_ia32e_mode(void **state)
{
	static const uint8_t types[] = { SYS_TASK_GATE, SYS_TSS, SYS_TSS16 };

	for (unsigned i = 0; i < sizeof(types); i++) {
		sys_start(SYS_COMPAT, 0);
		desc(SEL_X, NEW_TSS, 0x67, 0x80 | types[i]);
		assert_int_equal(RUN(JMP(SEL_X)), EXC_GP);
		assert_int_equal(sys_frame(0, 8), SEL_X);
	}
	sys_start(SYS_LONG, 0);
	sys_poke(SYS_IDT + VECTOR * 16 + 5, 1, 0x85);
	assert_int_equal(RUN(0xcd, VECTOR), EXC_GP);
	assert_int_equal(sys_frame(0, 8), VECTOR * 8 + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jmp_saves_the_old_state_and_loads_the_new),
		cmocka_unit_test(call_links_the_tasks_and_iret_goes_back),
		cmocka_unit_test(call_sets_nt_and_leaves_both_tasks_busy),
		cmocka_unit_test(jmp_through_a_task_gate_needs_only_the_gates_privilege),
		cmocka_unit_test(int_n_through_a_task_gate_nests),
		cmocka_unit_test(a_faults_error_code_is_pushed_on_the_new_tasks_stack),
		cmocka_unit_test(a_double_fault_finds_its_task_when_the_stack_is_gone),
		cmocka_unit_test(an_error_code_has_16_bits_on_the_stack_of_a_16_bit_task),
		cmocka_unit_test(an_error_code_without_room_is_ss_with_ext),
		cmocka_unit_test(a_16_bit_tss_takes_and_gives_16_bits),
		cmocka_unit_test(checks_of_the_tss_fault_in_the_old_task),
		cmocka_unit_test(checks_of_the_link_are_ts_except_for_presence),
		cmocka_unit_test(a_present_tss_too_short_for_its_state_is_ts),
		cmocka_unit_test(checks_of_the_new_state_fault_in_the_new_task),
		cmocka_unit_test(ext_is_set_when_an_exception_made_the_switch),
		cmocka_unit_test(the_new_tasks_segments_may_be_in_its_ldt),
		cmocka_unit_test(a_task_may_begin_in_virtual_8086_mode),
		cmocka_unit_test(virtual_8086_mode_is_left_through_a_task_gate),
		cmocka_unit_test(the_t_flag_traps_before_the_first_instruction),
		cmocka_unit_test(cr3_is_loaded_with_paging_only),
		cmocka_unit_test(pae_entries_with_reserved_bits_are_gp_in_the_new_task),
		cmocka_unit_test(a_page_fault_on_a_tss_comes_before_anything_changes),
		cmocka_unit_test(task_gates_and_tsss_are_gp_in_ia32e_mode),
	};

	return cmocka_run_group_tests(tests, NULL, sys_teardown);
}
