// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Limits of code (SDM vol. 3, 5.3), real mode (20.1) and what protected mode leaves in it (9.9), 16-bit gates
 * and returns (5.8, 21.4), and 16-bit forms of what works on the stack and on tables (vol. 2).
 */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static uint32_t frame(unsigned n)
{
	return (uint32_t)sys_frame(n, 4);
}

static void desc(uint16_t sel, uint32_t base, uint32_t limit, unsigned attr)
{
	sys_poke(SYS_GDT + (sel & ~7u), 8, sys_desc(base, limit, attr));
}

/* --- the limit of CS --- */

static void code_runs_up_to_its_limit_and_faults_beyond(void **state)
{
	static const struct {
		uint8_t code[8];
		uint32_t limit; /* from the code's start */
		uint32_t ip;	/* of the fault */
		uint32_t eax;
	} t[] = {
		{ { 0x90, 0x90, 0x40, 0x40 }, 3, 4, 2 },
		{ { 0x40, 0xb8, 1, 0, 0, 0 }, 5, 6, 1 },    /* mov eax, 1 ends at the limit */
		{ { 0x40, 0xb8, 9, 0, 0, 0 }, 4, 1, 1 },    /* and goes beyond it */
		{ { 0x40, 0xb8, 9, 0, 0, 0 }, 1, 1, 1 },
		{ { 0x40, 0xb8, 9, 0, 0, 0 }, 0, 1, 1 },
		{ { 0x40, 0x0f, 0x0b }, 1, 1, 1 },	    /* UD2, of which one byte is there */
		{ { 0x40, 0x66, 0x66, 0x66 }, 3, 1, 1 },
		{ { 0x74, 0x10, 0x40 }, 2, 3, 1 },	    /* jz, not taken */
		{ { 0xeb, 0x10 }, 1, 0, 0 },		    /* jmp beyond: the jump's own fault */
		{ { 0xeb, 0x00 }, 1, 0, 0 },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		sys_start(SYS_PROT32, 0);
		sys.c->seg[SEG_CS].limit = SYS_CODE + t[i].limit;
		assert_int_equal(sys_run(t[i].code, sizeof(t[i].code)), EXC_GP);
		assert_int_equal(frame(0), 0);
		assert_int_equal(frame(1), SYS_CODE + t[i].ip);
		assert_int_equal(sys.c->gpr[RAX], t[i].eax);
	}
}

static void the_limit_holds_for_code_that_ran_before_without_it(void **state)
{
	uint8_t code[64];
	struct cpu *c;

	memset(code, 0x40, sizeof(code));
	sys_start(SYS_PROT32, 0);
	c = sys.c;
	assert_int_equal(sys_run(code, sizeof(code)), SYS_HALTED);
	for (unsigned n = 1; n < sizeof(code); n++) {
		c->seg[SEG_CS].limit = SYS_CODE + n - 1;
		cpu_mode_changed(c);
		c->gpr[GPR_RIP] = SYS_CODE;
		c->gpr[RAX] = 0;
		c->gpr[RSP] = SYS_STACK;
		c->halt_told = 0;
		cpu_run(c);
		assert_int_equal(c->gpr[GPR_RIP], SYS_HANDLER + EXC_GP + 1);
		assert_int_equal(c->gpr[RAX], n);
		assert_int_equal(frame(1), SYS_CODE + n);
		c->activity = VCPU_RUNNING;
	}
}

static void an_instruction_beyond_the_limit_does_not_touch_the_next_page(void **state)
{
	sys_start(SYS_COMPAT, 0);
	sys_page(0x9000, 0);
	sys.c->gpr[GPR_RIP] = 0x8ffe;
	sys.c->seg[SEG_CS].limit = 0x8fff;
	sys_poke(0x8ffe, 2, 0x00b8);
	cpu_run(sys.c);
	assert_int_equal(sys.c->gpr[GPR_RIP], SYS_HANDLER + EXC_GP + 1);
	assert_int_equal(sys_frame(1, 8), 0x8ffe);
	/* with the limit out of the way, it is a page fault */
	sys_start(SYS_COMPAT, 0);
	sys_page(0x9000, 0);
	sys.c->gpr[GPR_RIP] = 0x8ffe;
	sys_poke(0x8ffe, 2, 0x00b8);
	cpu_run(sys.c);
	assert_int_equal(sys.c->gpr[GPR_RIP], SYS_HANDLER + EXC_PF + 1);
	assert_int_equal(sys.c->cr2, 0x9000);
}

/* --- real mode --- */

/* Handlers are at SYS_HANDLER + vector, as in the other modes. */
static struct cpu *real_mode(void)
{
	sys_start(SYS_REAL, 0);
	for (unsigned v = 0; v < 256; v++)
		sys_poke(v * 4, 4, (uint32_t)(SYS_HANDLER >> 4) << 16 | v);
	sys.c->gpr[RSP] = 0x7000;
	return sys.c;
}

static void real_mode_code_does_not_wrap_at_64_kib(void **state)
{
	struct cpu *c = real_mode();

	c->gpr[GPR_RIP] = 0xffff;
	assert_int_equal(RUN(0x90), EXC_GP);
	assert_int_equal(sys_frame(0, 2), 0); /* IP: 10000h */
	c = real_mode();
	c->gpr[GPR_RIP] = 0xffff;
	assert_int_equal(RUN(0xb0, 1), EXC_GP);
	assert_int_equal(sys_frame(0, 2), 0xffff);
	/* branches of 16 bits do */
	c = real_mode();
	c->gpr[GPR_RIP] = 0xfff0;
	sys_poke(0x12, 1, 0xf4);
	assert_int_equal(RUN(0xeb, 0x20), SYS_HALTED);
	assert_int_equal(c->gpr[GPR_RIP], 0x13);
	/* a limit that protected mode left lets code go on, in 16-bit code too */
	c = real_mode();
	c->seg[SEG_CS].limit = 0xffffffff;
	c->gpr[GPR_RIP] = 0xffff;
	assert_int_equal(RUN(0x90), SYS_HALTED);
	assert_int_equal(c->gpr[GPR_RIP], 0x10001);
}

static void real_mode_operands_across_64_kib_are_gp_or_ss(void **state)
{
	static const struct {
		unsigned len;
		uint8_t code[6];
		uint32_t ebx;
		int vector;
	} t[] = {
		{ 2, { 0x8b, 0x07 }, 0xffff, EXC_GP },		/* mov ax, [bx] */
		{ 2, { 0x8b, 0x07 }, 0xfffe, SYS_HALTED },
		{ 3, { 0x66, 0x8b, 0x07 }, 0xfffd, EXC_GP },	/* mov eax, [bx] */
		{ 3, { 0x36, 0x8b, 0x07 }, 0xffff, EXC_SS },
		{ 3, { 0x67, 0x8a, 0x03 }, 0x10000, EXC_GP },	/* mov al, [ebx] */
		{ 3, { 0x67, 0x8a, 0x03 }, 0xffff, SYS_HALTED },
		{ 4, { 0x67, 0x36, 0x8a, 0x03 }, 0x10000, EXC_SS },
		{ 2, { 0xc4, 0x07 }, 0xfffd, EXC_GP },		/* les ax, [bx] */
		{ 3, { 0x8b, 0x47, 0x02 }, 0xfffe, SYS_HALTED },	/* [bx + 2]: the offset wraps */
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct cpu *c = real_mode();

		c->gpr[RBX] = t[i].ebx;
		assert_int_equal(sys_run(t[i].code, t[i].len), t[i].vector);
		if (t[i].vector != SYS_HALTED)
			assert_int_equal(sys_frame(0, 2), SYS_CODE); /* without an error code */
	}
}

static void a_push_across_the_top_of_the_stack_segment_is_ss(void **state)
{
	struct cpu *c = real_mode();

	/* SP = 0 is no crossing. At 1 even #SS cannot be delivered (20.1.4). */
	c->gpr[RSP] = 0;
	assert_int_equal(RUN(0x50), SYS_HALTED);
	assert_int_equal(c->gpr[RSP], 0xfffe);
	real_mode()->gpr[RSP] = 1;
	assert_int_equal(RUN(0x50), SYS_SHUTDOWN);
	c = real_mode();
	c->gpr[RSP] = 0xffff;
	assert_int_equal(RUN(0x58), EXC_SS);
	assert_int_equal(c->gpr[RSP], 0xffff - 6);
}

static void real_mode_interrupts_respect_base_and_limit_of_the_idt(void **state)
{
	struct cpu *c = real_mode();

	c->idt.limit = 0x20 * 4 + 3;
	assert_int_equal(RUN(0xcd, 0x20), 0x20);
	assert_int_equal(sys_frame(0, 2), SYS_CODE + 2);
	c = real_mode();
	c->idt.limit = 0x20 * 4 + 2;
	assert_int_equal(RUN(0xcd, 0x20), EXC_GP);
	assert_int_equal(sys_frame(0, 2), SYS_CODE);
	assert_int_equal(c->gpr[RSP], 0x7000 - 6);
	c = real_mode();
	sys_poke(0x600, 6, 0x500003ff); /* lidt [0x600]: base 0x5000 */
	sys_poke(0x5000 + 0x20 * 4, 4, (uint32_t)(SYS_HANDLER >> 4) << 16 | 0x77);
	assert_int_equal(RUN(0x0f, 0x01, 0x1e, 0x00, 0x06, 0xcd, 0x20), 0x77);
}

/* 9.9: limits and the D bit stay when CR0.PE is cleared, and loads of real mode change the base only. */
static void big_segments_survive_the_way_back_to_real_mode(void **state)
{
	struct cpu *c = real_mode();

	sys_poke(0x100004, 4, 0x600df00d);
	assert_int_equal(RUN(0x0f, 0x20, 0xc0,			/* mov eax, cr0 */
			     0x0c, 0x01, 0x0f, 0x22, 0xc0,	/* or al, 1; mov cr0, eax */
			     0xbb, SEL_DATA, 0, 0x8e, 0xdb,	/* mov bx, SEL_DATA; mov ds, bx */
			     0x24, 0xfe, 0x0f, 0x22, 0xc0,	/* and al, ~1; mov cr0, eax */
			     0x31, 0xdb, 0x8e, 0xdb,		/* xor bx, bx; mov ds, bx */
			     0x66, 0x67, 0x8b, 0x0d, 4, 0, 0x10, 0), SYS_HALTED); /* mov ecx, [0x100004] */
	assert_int_equal(c->gpr[RCX], 0x600df00d);
	assert_int_equal(c->seg[SEG_DS].limit, 0xffffffff);
	assert_int_equal(c->seg[SEG_DS].base, 0);
	assert_int_equal(c->seg[SEG_ES].limit, 0xffff);
}

static void iretd_of_real_mode_keeps_vif_and_vip(void **state)
{
	struct cpu *c = real_mode();

	c->gpr[RSP] = 0x7000 - 12;
	sys_poke(0x7000 - 12, 4, SYS_CODE + 0x40);
	sys_poke(0x7000 - 8, 4, 0);
	sys_poke(0x7000 - 4, 4, RF_FIXED | RF_VIF | RF_VIP | RF_AC | RF_VM | RF_IOPL | RF_ID);
	sys_poke(SYS_CODE + 0x40, 1, 0xf4);
	assert_int_equal(RUN(0x66, 0xcf), SYS_HALTED);
	assert_int_equal(c->sysflags, RF_FIXED | RF_AC | RF_IOPL | RF_ID);
}

/* --- gates and returns of 16 bits --- */

static void code16(struct cpu *c, unsigned cpl)
{
	desc(SEL_SPARE, 0, 0xffff, 0x9a | cpl << 5);
	c->seg[SEG_CS] = (struct vcpu_segment){ .limit = 0xffff, .selector = (uint16_t)(SEL_SPARE | cpl),
						.attr = 0x9b | cpl << 5 };
	cpu_mode_changed(c);
}

static void a_16_bit_call_gate_copies_words(void **state)
{
	struct cpu *c;

	sys_start(SYS_PROT32, 3);
	c = sys.c;
	sys_poke(SYS_GDT + SEL_GATE, 8, (uint64_t)SYS_DATA | SEL_CODE32 << 16 | 0xe402ull << 32);
	sys_poke(SYS_DATA, 1, 0xf4);
	c->gpr[RSP] = SYS_STACK - 4;
	sys_poke(SYS_STACK - 4, 4, 0x22221111);
	assert_int_equal(RUN(0x9a, 0, 0, 0, 0, SEL_GATE | 3, 0), SYS_HALTED);
	assert_int_equal(c->cpl, 0);
	assert_int_equal(c->gpr[GPR_RIP], SYS_DATA + 1);
	assert_int_equal(c->gpr[RSP], SYS_RSP0 - 12);
	assert_int_equal(sys_frame(0, 2), SYS_CODE + 7);
	assert_int_equal(sys_frame(1, 2), SEL_USER32 | 3);
	assert_int_equal(sys_frame(2, 2), 0x1111);
	assert_int_equal(sys_frame(3, 2), 0x2222);
	assert_int_equal(sys_frame(4, 2), (SYS_STACK - 4) & 0xffff);
	assert_int_equal(sys_frame(5, 2), SEL_USER_DATA | 3);
}

static void a_16_bit_interrupt_gate_pushes_words_and_a_16_bit_tss_gives_the_stack(void **state)
{
	struct cpu *c;

	sys_start(SYS_PROT32, 3);
	c = sys.c;
	c->tr.attr = 0x83;
	c->tr.limit = 0x2b;
	sys_poke(SYS_TSS32_AT + 2, 4, (uint32_t)SEL_DATA16 << 16 | 0xf000);
	sys_poke(SYS_IDT + 0x20 * 8, 8, (uint64_t)(SYS_HANDLER + 0x20) | SEL_CODE32 << 16 | 0xe6ull << 40);
	c->gpr[RSP] = 0x12348;
	assert_int_equal(RUN(0xcd, 0x20), 0x20);
	assert_int_equal(c->stack_size, 2);
	assert_int_equal((uint16_t)c->gpr[RSP], 0xf000 - 10);
	assert_int_equal(sys_peek(0xf000 - 10, 2), SYS_CODE + 2);
	assert_int_equal(sys_peek(0xf000 - 8, 2), SEL_USER32 | 3);
	assert_int_equal(sys_peek(0xf000 - 6, 2), RF_FIXED);
	assert_int_equal(sys_peek(0xf000 - 4, 2), 0x2348);
	assert_int_equal(sys_peek(0xf000 - 2, 2), SEL_USER_DATA | 3);
}

/* Only SP is loaded when the outer stack has 16 bits: the upper half of ESP stays the inner level's. */
static void a_return_to_a_16_bit_stack_keeps_the_upper_half_of_esp(void **state)
{
	struct cpu *c;

	sys_start(SYS_PROT32, 0);
	c = sys.c;
	desc(SEL_SPARE2, 0, 0xffff, 0xf2);
	sys_poke(SYS_STACK - 20, 4, SYS_DATA);
	sys_poke(SYS_STACK - 16, 4, SEL_USER32 | 3);
	sys_poke(SYS_STACK - 12, 4, RF_FIXED);
	sys_poke(SYS_STACK - 8, 4, 0x99995678);
	sys_poke(SYS_STACK - 4, 4, SEL_SPARE2 | 3);
	sys_poke(SYS_DATA, 2, 0x0b0f);
	c->gpr[RSP] = SYS_STACK - 20;
	assert_int_equal(RUN(0xcf), EXC_UD);
	assert_int_equal(frame(3), (SYS_STACK & 0xffff0000) | 0x5678);
}

static void far_call_and_return_in_16_bit_code_use_words(void **state)
{
	struct cpu *c;

	sys_start(SYS_PROT32, 0);
	c = sys.c;
	code16(c, 0);
	sys_poke(SYS_DATA, 3, 0x0002ca); /* retf 2 */
	assert_int_equal(RUN(0x9a, SYS_DATA & 0xff, SYS_DATA >> 8, SEL_SPARE, 0), SYS_HALTED);
	assert_int_equal(c->gpr[GPR_RIP], SYS_CODE + 6);
	assert_int_equal(c->gpr[RSP], SYS_STACK + 2);
	assert_int_equal(sys_peek(SYS_STACK - 4, 4), SEL_SPARE << 16 | (SYS_CODE + 5));
}

/* A segment that the outer level may not use becomes null; the base stays (vol. 2, RET, IRET). */
static void a_return_to_an_outer_level_drops_inner_segments(void **state)
{
	struct cpu *c;

	sys_start(SYS_LONG, 0);
	c = sys.c;
	c->seg[SEG_GS].base = c->segbase[SEG_GS] = 0x4000;
	sys_poke(SYS_STACK - 32, 8, SYS_DATA);
	sys_poke(SYS_STACK - 24, 8, SEL_USER64 | 3);
	sys_poke(SYS_STACK - 16, 8, SYS_STACK);
	sys_poke(SYS_STACK - 8, 8, SEL_USER_DATA | 3);
	/* mov rax, gs:[8000h]; ud2 */
	sys_poke(SYS_DATA, 5, 0x25048b4865);
	sys_poke(SYS_DATA + 5, 4, 0x8000);
	sys_poke(SYS_DATA + 9, 2, 0x0b0f);
	c->gpr[RSP] = SYS_STACK - 32;
	assert_int_equal(RUN(0x48, 0xcb), EXC_UD);
	assert_int_equal(c->seg[SEG_GS].selector, 0);
	assert_true(c->seg[SEG_GS].attr & ATTR_NULL);
	assert_int_equal(c->seg[SEG_GS].base, 0x4000);
	assert_int_equal(c->gpr[RAX], sys_peek(0xc000, 8));
}

/* --- 16-bit forms --- */

static void sixteen_bit_stack_instructions_move_sp_by_words(void **state)
{
	struct cpu *c = real_mode();

	for (unsigned i = 0; i < 8; i++)
		c->gpr[i] = i == RSP ? 0x7000 : 0xaaaa0000 | (i + 1) * 0x101;
	assert_int_equal(RUN(0x60), SYS_HALTED); /* pusha */
	assert_int_equal(c->gpr[RSP], 0x7000 - 16);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(sys_peek(0x7000 - 2 - i * 2, 2), i == RSP ? 0x7000 : (i + 1) * 0x101);
	for (unsigned i = 0; i < 8; i++)
		if (i != RSP)
			c->gpr[i] = 0xbbbbbbbb;
	assert_int_equal(RUN(0x61), SYS_HALTED); /* popa */
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(c->gpr[i], i == RSP ? 0x7000 : 0xbbbb0000 | (i + 1) * 0x101);

	/* enter 6, 2: BP, the outer frame's pointer, the new one; leave undoes it */
	c = real_mode();
	c->gpr[RBP] = 0x7f00;
	sys_poke(0x7efe, 2, 0x7777);
	assert_int_equal(RUN(0xc8, 6, 0, 2), SYS_HALTED);
	assert_int_equal(c->gpr[RBP], 0x6ffe);
	assert_int_equal(c->gpr[RSP], 0x7000 - 6 - 6);
	assert_int_equal(sys_peek(0x6ffe, 2), 0x7f00);
	assert_int_equal(sys_peek(0x6ffc, 2), 0x7777);
	assert_int_equal(sys_peek(0x6ffa, 2), 0x6ffe);
	assert_int_equal(RUN(0xc9), SYS_HALTED);
	assert_int_equal(c->gpr[RBP], 0x7f00);
	assert_int_equal(c->gpr[RSP], 0x7000);
}

static void instructions_that_only_legacy_modes_have(void **state)
{
	static const struct {
		unsigned len;
		uint8_t code[5];
		uint32_t eax, flags; /* AF_* before */
		int vector;
		uint32_t after;
	} t[] = {
		{ 2, { 0xd4, 10 }, 0x1247, 0, SYS_HALTED, 0x0701 },     /* aam: 71 */
		{ 2, { 0xd4, 0 }, 0x47, 0, EXC_DE, 0x47 },
		{ 2, { 0xd5, 10 }, 0x0701, 0, SYS_HALTED, 0x47 },	     /* aad */
		{ 2, { 0xd5, 16 }, 0x0302, 0, SYS_HALTED, 0x32 },
		{ 1, { 0x27 }, 0x9b, 0, SYS_HALTED, 0x01 },	     /* daa */
		{ 1, { 0x2f }, 0x1f, AF_AF, SYS_HALTED, 0x19 },	     /* das */
		{ 1, { 0x37 }, 0x000b, 0, SYS_HALTED, 0x0101 },	     /* aaa */
		{ 1, { 0x3f }, 0x020b, 0, SYS_HALTED, 0x0105 },	     /* aas */
		{ 1, { 0xd6 }, 0x1234, AF_CF, SYS_HALTED, 0x12ff },     /* salc */
		{ 1, { 0xd6 }, 0x1234, 0, SYS_HALTED, 0x1200 },
		{ 1, { 0xce }, 0, 0, SYS_HALTED, 0 },		     /* into */
		{ 1, { 0xce }, 0, AF_OF, EXC_OF, 0 },
		{ 1, { 0xf1 }, 0, 0, EXC_DB, 0 },			     /* int1 */
		{ 3, { 0x82, 0xc0, 0x05 }, 0x10, 0, SYS_HALTED, 0x15 }, /* add al, 5: the alias of 80 /0 */
		{ 2, { 0x2e, 0xd7 }, 0x05, 0, SYS_HALTED, 0x99 },	     /* xlat cs:[bx + al] */
		{ 4, { 0x67, 0xe3, 0x01, 0x40 }, 7, 0, SYS_HALTED, 7 }, /* jecxz over inc */
		{ 4, { 0x62, 0x06, 0x00, 0x60 }, 5, 0, SYS_HALTED, 5 }, /* bound ax, [6000h]: -4 to 8 */
		{ 4, { 0x62, 0x06, 0x00, 0x60 }, 9, 0, EXC_BR, 9 },
		{ 4, { 0x62, 0x06, 0x00, 0x60 }, 0xfffb, 0, EXC_BR, 0xfffb },
		{ 2, { 0x62, 0xc0 }, 0, 0, EXC_UD, 0 },		     /* register form */
		{ 2, { 0x8d, 0xc0 }, 0, 0, EXC_UD, 0 },		     /* lea with a register */
		{ 2, { 0xc5, 0xc0 }, 0, 0, EXC_UD, 0 },		     /* VEX in real mode */
		{ 2, { 0x8e, 0xc8 }, 0, 0, EXC_UD, 0 },		     /* mov cs */
		{ 3, { 0x0f, 0xff, 0xc0 }, 0, 0, EXC_UD, 0 },	     /* ud0 */
		{ 3, { 0x0f, 0xb9, 0xc0 }, 0, 0, EXC_UD, 0 },	     /* ud1 */
		{ 2, { 0x63, 0xc0 }, 0, 0, EXC_UD, 0 },		     /* arpl */
		{ 2, { 0xf0, 0x40 }, 0, 0, EXC_UD, 0 },		     /* lock inc ax */
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct cpu *c = real_mode();
		sys_poke(0x6000, 4, 0x0008fffc);
		sys_poke(0x6105, 1, 0x99);
		c->gpr[RBX] = 0x6100;
		c->gpr[RAX] = t[i].eax;
		c->flags = t[i].flags;
		assert_int_equal(sys_run(t[i].code, t[i].len), t[i].vector);
		assert_int_equal(c->gpr[RAX], t[i].after);
	}
}

static void invpcid_is_recognized_in_real_mode(void **state)
{
	struct cpu *c = real_mode();

	c->gpr[RAX] = 2;
	c->gpr[RBX] = SYS_DATA;
	assert_int_equal(RUN(0x66, 0x0f, 0x38, 0x82, 0x07), SYS_HALTED);
	c = real_mode();
	c->gpr[RAX] = 4;
	c->gpr[RBX] = SYS_DATA;
	assert_int_equal(RUN(0x66, 0x0f, 0x38, 0x82, 0x07), EXC_GP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(code_runs_up_to_its_limit_and_faults_beyond),
		cmocka_unit_test(the_limit_holds_for_code_that_ran_before_without_it),
		cmocka_unit_test(an_instruction_beyond_the_limit_does_not_touch_the_next_page),
		cmocka_unit_test(real_mode_code_does_not_wrap_at_64_kib),
		cmocka_unit_test(real_mode_operands_across_64_kib_are_gp_or_ss),
		cmocka_unit_test(a_push_across_the_top_of_the_stack_segment_is_ss),
		cmocka_unit_test(real_mode_interrupts_respect_base_and_limit_of_the_idt),
		cmocka_unit_test(big_segments_survive_the_way_back_to_real_mode),
		cmocka_unit_test(iretd_of_real_mode_keeps_vif_and_vip),
		cmocka_unit_test(a_16_bit_call_gate_copies_words),
		cmocka_unit_test(a_16_bit_interrupt_gate_pushes_words_and_a_16_bit_tss_gives_the_stack),
		cmocka_unit_test(a_return_to_a_16_bit_stack_keeps_the_upper_half_of_esp),
		cmocka_unit_test(far_call_and_return_in_16_bit_code_use_words),
		cmocka_unit_test(a_return_to_an_outer_level_drops_inner_segments),
		cmocka_unit_test(sixteen_bit_stack_instructions_move_sp_by_words),
		cmocka_unit_test(instructions_that_only_legacy_modes_have),
		cmocka_unit_test(invpcid_is_recognized_in_real_mode),
	};

	return cmocka_run_group_tests(tests, NULL, sys_teardown);
}
