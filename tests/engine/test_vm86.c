// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Virtual-8086 mode and virtual interrupts (SDM vol. 3, chapter 20): IOPL-sensitive instructions, VME and
 * its redirection bitmap (20.3, table 20-2), PVI (20.4), ways in and out.
 */
#include "system_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum {
	V_CS = 0x800, V_SS = 0x1000, V_SP = 0x8000, V_HANDLER_CS = 0x900, V_HANDLER_IP = 0x10,
	STACK_TOP = V_SS * 16 + V_SP, VECTOR = 0x20, IOMAP = 0x88, REDIRECT = IOMAP - 32,
};

/* In virtual-8086 mode at V_CS:0. All vectors are redirected (if CR4.VME is set), no port is allowed. */
static struct cpu *v86(uint32_t cr4, uint32_t flags)
{
	struct cpu *c;

	sys_start(SYS_PROT32, 0);
	c = sys.c;
	c->tr.limit = 0x100;
	sys_poke(SYS_TSS32_AT + 0x66, 2, IOMAP);
	sys_poke(SYS_TSS32_AT + IOMAP, 8, ~0ull);
	sys_poke(SYS_IDT + VECTOR * 8 + 5, 1, 0xee);
	sys_poke(VECTOR * 4, 4, (uint32_t)V_HANDLER_CS << 16 | V_HANDLER_IP);
	sys_poke(V_HANDLER_CS * 16 + V_HANDLER_IP, 1, 0xf4);
	c->cr4 = cr4;
	c->sysflags = RF_FIXED | RF_VM | flags;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		c->seg[i] = seg_real(c, i, i == SEG_CS ? V_CS : i == SEG_SS ? V_SS : 0x123, true);
	c->gpr[GPR_RIP] = 0;
	c->gpr[RSP] = V_SP;
	cpu_mode_changed(c);
	return c;
}

static void dont_redirect(unsigned vector)
{
	sys_poke(SYS_TSS32_AT + REDIRECT + vector / 8, 1, 1u << (vector & 7));
}

/* The frame of a fault with an error code that came from virtual-8086 mode */
enum { F_ERROR, F_EIP, F_CS, F_FLAGS, F_ESP };

static uint32_t frame(unsigned n)
{
	return (uint32_t)sys_frame(n, 4);
}

/* The HLT at @ip was reached: #GP(0) at CPL 3. */
static void reached(int vector, unsigned cs, unsigned ip)
{
	assert_int_equal(vector, EXC_GP);
	assert_int_equal(frame(F_ERROR), 0);
	assert_int_equal(frame(F_EIP), ip);
	assert_int_equal(frame(F_CS), cs);
	assert_true(frame(F_FLAGS) & RF_VM);
}

/* --- INT n: table 20-2 --- */

static void int_n_goes_where_table_20_2_says(void **state)
{
	enum { HANDLER, GP, REDIRECTED };
	static const struct {
		uint32_t cr4, iopl;
		bool bit;
		int where;
	} t[] = {
		{ 0, RF_IOPL, false, HANDLER },		/* method 1 */
		{ 0, 0, false, GP },			/* method 2 */
		{ CR4_VME, 0, true, GP },		/* method 3 */
		{ CR4_VME, 2 << 12, true, GP },
		{ CR4_VME, RF_IOPL, true, HANDLER },	/* method 4 */
		{ CR4_VME, RF_IOPL, false, REDIRECTED },/* method 5 */
		{ CR4_VME, 0, false, REDIRECTED },	/* method 6 */
		{ CR4_VME, 2 << 12, false, REDIRECTED },
		{ CR4_PVI, RF_IOPL, false, HANDLER },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int v;

		v86(t[i].cr4, t[i].iopl);
		if (t[i].bit)
			dont_redirect(VECTOR);
		v = RUN(0xcd, VECTOR);
		if (t[i].where == HANDLER) {
			assert_int_equal(v, VECTOR);
			assert_int_equal(frame(0), 2);
		} else if (t[i].where == GP) {
			reached(v, V_CS, 0);
		} else {
			reached(v, V_HANDLER_CS, V_HANDLER_IP);
			assert_int_equal(frame(F_ESP), V_SP - 6);
			assert_int_equal(sys_peek(STACK_TOP - 6, 2), 2);
			assert_int_equal(sys_peek(STACK_TOP - 4, 2), V_CS);
		}
	}
}

static void a_redirected_interrupt_uses_if_at_iopl_3_and_vif_below(void **state)
{
	v86(CR4_VME, RF_IOPL | RF_IF | RF_VIF);
	reached(RUN(0xcd, VECTOR), V_HANDLER_CS, V_HANDLER_IP);
	assert_int_equal(sys_peek(STACK_TOP - 2, 2), RF_FIXED | RF_IOPL | RF_IF);
	assert_int_equal(frame(F_FLAGS) & ~(uint32_t)RF_RF, RF_FIXED | RF_VM | RF_IOPL | RF_VIF);

	v86(CR4_VME, RF_IF);
	reached(RUN(0xcd, VECTOR), V_HANDLER_CS, V_HANDLER_IP);
	assert_int_equal(sys_peek(STACK_TOP - 2, 2), RF_FIXED | RF_IOPL);
	assert_int_equal(frame(F_FLAGS) & ~(uint32_t)RF_RF, RF_FIXED | RF_VM | RF_IF);

	v86(CR4_VME, RF_VIF | RF_NT);
	reached(RUN(0xcd, VECTOR), V_HANDLER_CS, V_HANDLER_IP);
	assert_int_equal(sys_peek(STACK_TOP - 2, 2), RF_FIXED | RF_IOPL | RF_IF | RF_NT);
	assert_int_equal(frame(F_FLAGS) & ~(uint32_t)RF_RF, RF_FIXED | RF_VM | RF_NT);
}

static void the_bitmap_has_a_bit_for_each_vector(void **state)
{
	for (unsigned v = 0; v < 256; v += 15) {
		v86(CR4_VME, 0);
		dont_redirect(v);
		sys_poke(v * 4, 4, (uint32_t)V_HANDLER_CS << 16 | V_HANDLER_IP);
		reached(RUN(0xcd, v), V_CS, 0);
		v86(CR4_VME, 0);
		dont_redirect(v ^ 1);
		dont_redirect((v + 16) & 0xff);
		sys_poke(v * 4, 4, (uint32_t)V_HANDLER_CS << 16 | V_HANDLER_IP);
		reached(RUN(0xcd, v), V_HANDLER_CS, V_HANDLER_IP);
	}
}

static void a_bitmap_that_the_tss_does_not_hold_is_gp(void **state)
{
	v86(CR4_VME, RF_IOPL);
	sys.c->tr.limit = REDIRECT + VECTOR / 8 - 1;
	reached(RUN(0xcd, VECTOR), V_CS, 0);
	v86(CR4_VME, RF_IOPL);
	sys_poke(SYS_TSS32_AT + 0x66, 2, 0);
	reached(RUN(0xcd, VECTOR), V_CS, 0);
}

static void int3_and_into_are_not_redirected_and_ignore_iopl(void **state)
{
	v86(CR4_VME, 0);
	sys_poke(SYS_IDT + EXC_BP * 8 + 5, 1, 0xee);
	assert_int_equal(RUN(0xcc), EXC_BP);
	v86(CR4_VME, 0);
	sys_poke(SYS_IDT + EXC_OF * 8 + 5, 1, 0xee);
	sys.c->flags = AF_OF;
	assert_int_equal(RUN(0xce), EXC_OF);
	assert_int_equal(frame(0), 1);
}

/* --- CLI, STI, PUSHF, POPF, IRET --- */

enum { FAULTS = -1 };

static void cli_and_sti_change_if_at_iopl_3_and_vif_with_vme(void **state)
{
	static const struct {
		uint8_t code;
		uint32_t cr4, flags;
		int64_t after; /* RFLAGS, or FAULTS */
	} t[] = {
		{ 0xfa, 0, RF_IOPL | RF_IF, RF_IOPL },
		{ 0xfb, 0, RF_IOPL, RF_IOPL | RF_IF },
		{ 0xfa, 0, RF_IF, FAULTS },
		{ 0xfb, 0, 0, FAULTS },
		{ 0xfa, CR4_PVI, RF_IF, FAULTS },
		{ 0xfa, CR4_VME, RF_IF | RF_VIF, RF_IF },
		{ 0xfb, CR4_VME, 0, RF_VIF },
		{ 0xfb, CR4_VME, RF_VIP, FAULTS },
		{ 0xfb, CR4_VME, RF_IOPL | RF_VIP, RF_IOPL | RF_VIP | RF_IF },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int v;

		v86(t[i].cr4, t[i].flags);
		v = RUN(t[i].code);
		reached(v, V_CS, t[i].after == FAULTS ? 0 : 1);
		if (t[i].after != FAULTS)
			assert_int_equal(frame(F_FLAGS) & ~(uint32_t)RF_RF, RF_FIXED | RF_VM | (uint32_t)t[i].after);
	}
}

static void pushf_shows_vif_as_if_and_iopl_3(void **state)
{
	static const struct {
		uint32_t cr4, flags;
		int pushed;
	} t[] = {
		{ 0, RF_IOPL | RF_IF, RF_FIXED | RF_IOPL | RF_IF },
		{ 0, RF_IF, FAULTS },
		{ CR4_VME, RF_IF, RF_FIXED | RF_IOPL },
		{ CR4_VME, RF_VIF, RF_FIXED | RF_IOPL | RF_IF },
		{ CR4_VME, RF_IOPL | RF_VIF, RF_FIXED | RF_IOPL },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		v86(t[i].cr4, t[i].flags);
		reached(RUN(0x9c), V_CS, t[i].pushed == FAULTS ? 0 : 1);
		if (t[i].pushed != FAULTS)
			assert_int_equal(sys_peek(STACK_TOP - 2, 2), t[i].pushed);
	}
	/* 32 bits: never virtual; VM and RF are pushed as 0 */
	v86(CR4_VME, 0);
	reached(RUN(0x66, 0x9c), V_CS, 0);
	v86(CR4_VME, RF_IOPL | RF_VIF);
	reached(RUN(0x66, 0x9c), V_CS, 2);
	assert_int_equal(sys_peek(STACK_TOP - 4, 4), RF_FIXED | RF_IOPL | RF_VIF);
}

/* POPF, and IRET to V_CS:0x40, with @image on the stack */
static int pop_flags(bool iret, bool wide, uint32_t image)
{
	unsigned size = wide ? 4 : 2, words = iret ? 3 : 1;
	uint64_t at = STACK_TOP - words * size;

	sys.c->gpr[RSP] = V_SP - words * size;
	if (iret) {
		sys_poke(at, size, 0x40);
		sys_poke(at + size, size, V_CS);
		sys_poke(V_CS * 16 + 0x40, 1, 0xf4);
	}
	sys_poke(at + (words - 1) * size, size, image);
	if (wide)
		return iret ? RUN(0x66, 0xcf) : RUN(0x66, 0x9d);
	return iret ? RUN(0xcf) : RUN(0x9d);
}

static void popf_and_iret_set_vif_for_if(void **state)
{
	static const struct {
		uint32_t cr4, flags, image;
		int64_t after;
	} t[] = {
		{ 0, RF_IOPL, RF_IF, RF_IOPL | RF_IF },
		{ 0, RF_IOPL | RF_IF, RF_DF, RF_IOPL | RF_DF }, /* IOPL stays */
		{ 0, 0, 0, FAULTS },
		{ CR4_VME, 0, RF_IF | RF_IOPL, RF_VIF },
		{ CR4_VME, RF_IF | RF_VIF, RF_DF, RF_IF | RF_DF },
		{ CR4_VME, RF_VIP, 0, RF_VIP },
		{ CR4_VME, RF_VIP, RF_IF, FAULTS },
		{ CR4_VME, 0, RF_TF, FAULTS },
		{ CR4_VME, RF_IOPL | RF_VIP, RF_IF, RF_IOPL | RF_IF | RF_VIP },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]) * 2; i++) {
		unsigned n = i / 2, iret = i & 1;
		int v;

		v86(t[n].cr4, t[n].flags);
		v = pop_flags(iret, false, t[n].image | RF_FIXED);
		if (t[n].after == FAULTS) {
			reached(v, V_CS, 0);
			assert_int_equal(frame(F_ESP), iret ? V_SP - 6 : V_SP - 2);
			assert_int_equal(frame(F_FLAGS) & ~(uint32_t)RF_RF, RF_FIXED | RF_VM | t[n].flags);
		} else {
			reached(v, V_CS, iret ? 0x40 : 1);
			assert_int_equal(frame(F_ESP), V_SP);
			assert_int_equal(frame(F_FLAGS) & ~(uint32_t)RF_RF, RF_FIXED | RF_VM | (uint32_t)t[n].after);
		}
	}
}

static void popfd_and_iretd_need_iopl_3_and_keep_vm_iopl_vif_vip(void **state)
{
	for (unsigned iret = 0; iret < 2; iret++) {
		v86(CR4_VME, 0);
		reached(pop_flags(iret, true, RF_FIXED), V_CS, 0);
		v86(CR4_VME, RF_IOPL | RF_VIP);
		reached(pop_flags(iret, true, RF_FIXED | RF_VIF | RF_AC | RF_IF), V_CS, iret ? 0x40 : 2);
		assert_int_equal(frame(F_FLAGS) & ~(uint32_t)RF_RF, RF_FIXED | RF_VM | RF_IOPL | RF_VIP | RF_AC | RF_IF);
	}
}

/* --- VIF and VIP together (20.3.2): #GP at the beginning of an instruction --- */

/* IRET from CPL 0 to virtual-8086 mode with @flags */
static int enter(uint32_t cr4, uint32_t flags)
{
	uint32_t image[9] = { 0, V_CS + 0x40, RF_FIXED | RF_VM | flags, V_SP, V_SS, 1, 2, 3, 4 };

	sys_start(SYS_PROT32, 0);
	sys.c->cr4 = cr4;
	sys.c->gpr[RSP] = SYS_STACK - sizeof(image);
	for (unsigned i = 0; i < 9; i++)
		sys_poke(SYS_STACK - sizeof(image) + i * 4, 4, image[i]);
	sys_poke((V_CS + 0x40) * 16, 2, 0xf490);
	return RUN(0xcf);
}

static void iret_to_both_set_is_gp_at_the_target(void **state)
{
	reached(enter(CR4_VME, RF_VIF | RF_VIP), V_CS + 0x40, 0);
	assert_int_equal(frame(F_FLAGS) & (RF_VIF | RF_VIP), RF_VIF | RF_VIP);
	reached(enter(CR4_VME, RF_VIF), V_CS + 0x40, 1);
	reached(enter(CR4_VME, RF_VIP), V_CS + 0x40, 1);
	reached(enter(CR4_VME, RF_VIF | RF_VIP | RF_IOPL), V_CS + 0x40, 1);
	reached(enter(CR4_PVI, RF_VIF | RF_VIP), V_CS + 0x40, 1);
}

/* --- PVI (20.4) --- */

static void pvi_gives_cli_and_sti_at_cpl_3_vif(void **state)
{
	static const struct {
		uint8_t code;
		uint32_t cr4, flags;
		int64_t after;
	} t[] = {
		{ 0xfa, CR4_PVI, RF_VIF | RF_IF, RF_IF },
		{ 0xfb, CR4_PVI, 0, RF_VIF },
		{ 0xfb, CR4_PVI, RF_VIP, FAULTS },
		{ 0xfa, CR4_VME, 0, FAULTS },
		{ 0xfb, 0, 0, FAULTS },
		{ 0xfb, CR4_PVI, RF_IOPL | RF_VIP, RF_IOPL | RF_VIP | RF_IF },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		sys_start(SYS_PROT32, 3);
		sys.c->cr4 = t[i].cr4;
		sys.c->sysflags |= t[i].flags;
		assert_int_equal(RUN(t[i].code), EXC_GP);
		assert_int_equal(frame(F_EIP), SYS_CODE + (t[i].after != FAULTS));
		if (t[i].after != FAULTS)
			assert_int_equal(frame(F_FLAGS) & ~(uint32_t)RF_RF, RF_FIXED | (uint32_t)t[i].after);
	}
	/* PUSHF, POPF do not know of it */
	sys_start(SYS_PROT32, 3);
	sys.c->cr4 = CR4_PVI;
	sys.c->sysflags |= RF_VIF;
	assert_int_equal(RUN(0x9c, 0x66, 0x58, 0x66, 0x6a, 0, 0x66, 0x9d), EXC_GP); /* pushf, pop ax, push 0, popf */
	assert_false(sys.c->gpr[RAX] & RF_IF);
	assert_true(frame(F_FLAGS) & RF_VIF);
}

static void iret_to_cpl_3_with_both_set_is_gp_at_the_target(void **state)
{
	for (unsigned pvi = 0; pvi < 2; pvi++) {
		uint32_t image[5] = { SYS_DATA, SEL_USER32 | 3, RF_FIXED | RF_VIF | RF_VIP, SYS_STACK, SEL_USER_DATA | 3 };

		sys_start(SYS_PROT32, 0);
		sys.c->cr4 = pvi ? CR4_PVI : CR4_VME;
		sys.c->gpr[RSP] = SYS_STACK - sizeof(image);
		for (unsigned i = 0; i < 5; i++)
			sys_poke(SYS_STACK - sizeof(image) + i * 4, 4, image[i]);
		sys_poke(SYS_DATA, 2, 0xf490);
		assert_int_equal(RUN(0xcf), EXC_GP);
		assert_int_equal(frame(F_EIP), SYS_DATA + !pvi);
		assert_int_equal(frame(F_CS), SEL_USER32 | 3);
	}
}

/* --- the rest --- */

static void handlers_have_to_be_at_cpl_0(void **state)
{
	static const uint16_t sel[] = { SEL_CODE32_R1, SEL_SPARE, SEL_SPARE2 };

	for (unsigned i = 0; i < 3; i++) {
		v86(0, RF_IOPL);
		sys_poke(SYS_GDT + SEL_SPARE, 8, sys_desc(0, 0xfffff, 0x9e | ATTR_G | ATTR_DB));  /* conforming */
		sys_poke(SYS_GDT + SEL_SPARE2, 8, sys_desc(0, 0xfffff, 0xfa | ATTR_G | ATTR_DB)); /* DPL 3 */
		sys_poke(SYS_IDT + VECTOR * 8 + 2, 2, sel[i]);
		assert_int_equal(RUN(0xcd, VECTOR), EXC_GP);
		assert_int_equal(frame(F_ERROR), sel[i]);
		assert_int_equal(frame(F_EIP), 0);
	}
}

static void ports_need_the_bitmap_even_at_iopl_3(void **state)
{
	v86(0, RF_IOPL);
	reached(RUN(0xe6, 0x10), V_CS, 0);
	v86(0, 0);
	sys_poke(SYS_TSS32_AT + IOMAP + 2, 1, 0);
	assert_int_equal(RUN(0xe6, 0x10), SYS_OTHER);
	assert_int_equal(sys.run->exit, ENGINE_EXIT_PIO);
}

static void what_needs_protected_mode_is_ud_and_what_needs_cpl_0_is_gp(void **state)
{
	static const struct {
		uint8_t code[4];
		int vector;
	} t[] = {
		{ { 0x0f, 0x00, 0xc0, 0x90 }, EXC_UD }, /* sldt ax */
		{ { 0x0f, 0x00, 0xd8, 0x90 }, EXC_UD }, /* ltr ax */
		{ { 0x0f, 0x00, 0xe0, 0x90 }, EXC_UD }, /* verr ax */
		{ { 0x0f, 0x02, 0xc0, 0x90 }, EXC_UD }, /* lar */
		{ { 0x0f, 0x03, 0xc0, 0x90 }, EXC_UD }, /* lsl */
		{ { 0x63, 0xc0, 0x90, 0x90 }, EXC_UD }, /* arpl */
		{ { 0x0f, 0x20, 0xc0, 0x90 }, EXC_GP }, /* mov eax, cr0 */
		{ { 0x0f, 0x01, 0x16, 0x00 }, EXC_GP }, /* lgdt */
		{ { 0x0f, 0x06, 0x90, 0x90 }, EXC_GP }, /* clts */
		{ { 0x0f, 0x09, 0x90, 0x90 }, EXC_GP }, /* wbinvd */
		{ { 0x0f, 0x32, 0x90, 0x90 }, EXC_GP }, /* rdmsr */
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		v86(0, RF_IOPL);
		assert_int_equal(sys_run(t[i].code, 4), t[i].vector);
		assert_int_equal(frame(t[i].vector == EXC_GP ? F_EIP : 0), 0);
	}
	v86(0, 0); /* smsw ax; mov ds, ax: the selector is a paragraph */
	sys.c->gpr[RBX] = 0x4321;
	reached(RUN(0x0f, 0x01, 0xe0, 0x8e, 0xdb), V_CS, 5);
	assert_int_equal(frame(7), 0x4321); /* DS: after SS come ES, DS, FS, GS */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(int_n_goes_where_table_20_2_says),
		cmocka_unit_test(a_redirected_interrupt_uses_if_at_iopl_3_and_vif_below),
		cmocka_unit_test(the_bitmap_has_a_bit_for_each_vector),
		cmocka_unit_test(a_bitmap_that_the_tss_does_not_hold_is_gp),
		cmocka_unit_test(int3_and_into_are_not_redirected_and_ignore_iopl),
		cmocka_unit_test(cli_and_sti_change_if_at_iopl_3_and_vif_with_vme),
		cmocka_unit_test(pushf_shows_vif_as_if_and_iopl_3),
		cmocka_unit_test(popf_and_iret_set_vif_for_if),
		cmocka_unit_test(popfd_and_iretd_need_iopl_3_and_keep_vm_iopl_vif_vip),
		cmocka_unit_test(iret_to_both_set_is_gp_at_the_target),
		cmocka_unit_test(pvi_gives_cli_and_sti_at_cpl_3_vif),
		cmocka_unit_test(iret_to_cpl_3_with_both_set_is_gp_at_the_target),
		cmocka_unit_test(handlers_have_to_be_at_cpl_0),
		cmocka_unit_test(ports_need_the_bitmap_even_at_iopl_3),
		cmocka_unit_test(what_needs_protected_mode_is_ud_and_what_needs_cpl_0_is_gp),
	};

	return cmocka_run_group_tests(tests, NULL, sys_teardown);
}
