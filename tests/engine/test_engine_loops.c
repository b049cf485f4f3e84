// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guests that loop for ever, in every way that code can go round: an interrupt reaches each, again and again; and code that is rewritten by others
 * while it goes round, without ever leaving translated code of its own accord. The same for each host.
 */
#include "engine_rig.h"

#include "host/loop.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Waits until the word at @gpa is @value. */
static void wait_for(uint64_t gpa, uint64_t value)
{
	uint64_t give_up = host_monotonic_ns() + 60000000000ull;

	while (erig_peek(gpa, 8) != value) {
		assert_true(host_monotonic_ns() < give_up);
		sched_yield();
	}
}

/* --- interrupts: SDM vol. 3, 6.7 --- */

enum { COUNT = 0x20000, HANDLER = 0x14000, BACK = 0x14100, NEXT_PAGE = 0x11000, NMIS = 20 };

/* How many there were; after the last it does not return. It keeps the flags, by its IRET. */
GUEST(nmi_counts, "incq 0x20000\ncmpq $20, 0x20000\nje 1f\niretq\n1: hlt");
GUEST(returns, "iretq");

GUEST(jump_to_itself, "1: jmp 1b");
GUEST(two_jumps, "1: inc %rax; jmp 2f\nnop\n2: jmp 1b");
GUEST(condition, "1: add $2, %rax; jnz 1b\njmp 1b");
GUEST(carry_is_live, "clc\n1: adc %rax, %rbx; jmp 1b");
GUEST(nested, "1: mov $3, %ecx\n2: dec %ecx; jnz 2b\njmp 1b");
GUEST(loop_insn, "1: mov $3, %ecx\n2: loop 2b\njmp 1b");
GUEST(jrcxz_back, "1: xor %ecx, %ecx\njrcxz 1b");
GUEST(calls_and_returns, "1: call 2f\njmp 1b\n2: ret");
GUEST(calls_that_drop_their_return, "1: call 2f\n2: pop %rax\njmp 1b");
GUEST(returns_alone, "lea 1f(%rip), %rax\n1: push %rax\nret");
GUEST(indirect_jump, "lea 1f(%rip), %rax\n1: jmp *%rax");
GUEST(indirect_call, "lea 1f(%rip), %rax\n1: lea 8(%rsp), %rsp\ncall *%rax");
GUEST(jump_through_memory, "lea 1f(%rip), %rax\nmov %rax, 0x20100\n1: jmp *0x20100");
GUEST(two_pages, "1: jmp 1b + 0x1000");
GUEST(two_pages_back, "1: jmp 1b - 0x1000");
/* From 0x10ff6 on: the MOV begins in one page and ends in the next, which jumps back. */
GUEST(across, "nop\n1: inc %rcx\nnop; nop; nop\nmov $0x12345678, %eax\njmp 1b");
GUEST(fills, "1: mov $0x30000, %edi; mov $0x10000, %ecx; rep stosb; jmp 1b");
GUEST(copies_on_themselves, "1: mov $0x30000, %edi; mov $0x30008, %esi; mov $0x10000, %ecx; rep movsb; jmp 1b");
GUEST(loads, "1: mov 0x30000, %rax; add %rax, 0x31000; jmp 1b");
GUEST(locked, "1: lock incq 0x30ffc; jmp 1b");
GUEST(handler_of_the_interpreters, "1: xor %eax, %eax; cpuid; jmp 1b");
GUEST(software_interrupts, "1: int $0x80; jmp 1b");
GUEST(faults_for_ever, "ud2");
GUEST(patches_itself, "1: incl 2f + 1(%rip)\n2: mov $0, %eax\njmp 1b");
GUEST(vectors, "1: paddd %xmm0, %xmm1; jmp 1b");
GUEST(x87, "fninit\n1: fld1; fstp %st(0); jmp 1b");
GUEST(tables_change, "1: mov %cr3, %rax; mov %rax, %cr3; jmp 1b");
GUEST(invlpg, "1: invlpg 0x30000; mov 0x30000, %eax; jmp 1b");
GUEST(interrupts_on_and_off, "1: sti; cli; sti; nop; jmp 1b");

/* The same in compatibility mode: flat 32-bit code, and 16-bit code whose segment begins at ERIG_CODE. The handlers are 64-bit code. */
GUEST32(jump32, "1: inc %eax; jmp 1b");
GUEST32(calls_and_returns32, "1: call 2f\njmp 1b\n2: ret");
GUEST32(returns_alone32, "mov $0x10005, %eax\npush %eax\nret");
GUEST32(indirect_jump32, "mov $0x10005, %eax\njmp *%eax");
GUEST32(two_pages32, "1: jmp 1b + 0x1000");
GUEST32(two_pages_back32, "1: jmp 1b - 0x1000");
GUEST32(memory32, "1: mov 0x30000, %eax; add %eax, %gs:0x31000; jmp 1b");
GUEST32(far_jump32, "ljmp $0x20, $0x10000");
GUEST32(far_return32, "push %cs; push $0x10000; lret");
GUEST16(jump16, "1: inc %ax; jmp 1b");
GUEST16(calls_and_returns16, "1: call 2f\njmp 1b\n2: ret");
GUEST16(indirect_jump16, "mov $3, %ax\njmp *%ax");
GUEST16(loops16, "1: mov $3, %cx\n2: loop 2b\njmp 1b");

enum { CODE64 = 8, CODE32 = 0x20, CODE16 = 0x28 };

static const struct loop {
	const char *name, *code, *end;
	unsigned offset, sel;
} loops[] = {
#define LOOP(name, offset) { #name, guest_##name, guest_##name##_end, offset, CODE64 }
#define LOOP_IN(name, sel) { #name, guest_##name, guest_##name##_end, 0, sel }
	LOOP(jump_to_itself, 0), LOOP(two_jumps, 0), LOOP(condition, 0), LOOP(carry_is_live, 0), LOOP(nested, 0), LOOP(loop_insn, 0),
	LOOP(jrcxz_back, 0), LOOP(calls_and_returns, 0), LOOP(calls_that_drop_their_return, 0), LOOP(returns_alone, 0),
	LOOP(indirect_jump, 0), LOOP(indirect_call, 0), LOOP(jump_through_memory, 0), LOOP(two_pages, 0), LOOP(across, 0xff6),
	LOOP(fills, 0), LOOP(copies_on_themselves, 0), LOOP(loads, 0), LOOP(locked, 0), LOOP(handler_of_the_interpreters, 0),
	LOOP(software_interrupts, 0), LOOP(faults_for_ever, 0), LOOP(patches_itself, 0), LOOP(vectors, 0), LOOP(x87, 0),
	LOOP(tables_change, 0), LOOP(invlpg, 0), LOOP(interrupts_on_and_off, 0),
	LOOP_IN(jump32, CODE32), LOOP_IN(calls_and_returns32, CODE32), LOOP_IN(returns_alone32, CODE32), LOOP_IN(indirect_jump32, CODE32),
	LOOP_IN(two_pages32, CODE32), LOOP_IN(memory32, CODE32), LOOP_IN(far_jump32, CODE32), LOOP_IN(far_return32, CODE32),
	LOOP_IN(jump16, CODE16), LOOP_IN(calls_and_returns16, CODE16), LOOP_IN(indirect_jump16, CODE16), LOOP_IN(loops16, CODE16),
};

static void start_loop(const struct loop *l)
{
	struct vcpu_state *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	erig_start(1);
	erig_load(ERIG_CODE + l->offset, l->code, (size_t)(l->end - l->code));
	if (l->code == guest_two_pages)
		ERIG_LOAD(NEXT_PAGE, two_pages_back);
	if (l->code == guest_two_pages32)
		ERIG_LOAD(NEXT_PAGE, two_pages_back32);
	ERIG_LOAD(HANDLER, nmi_counts);
	ERIG_LOAD(BACK, returns);
	erig_vector(2, HANDLER);
	erig_vector(6, BACK);
	erig_vector(0x80, BACK);
	erig_poke(ERIG_GDT + CODE32, 8, 0x00cf9b000000ffff);
	erig_poke(ERIG_GDT + CODE16, 8, 0x00009b010000ffff);
	erig_long_mode(0, ERIG_CODE + l->offset);
	erig_get(0, s);
	if (l->sel == CODE32)
		s->seg[SEG_CS] = (struct vcpu_segment){ .limit = ~0u, .selector = CODE32, .attr = 0xc09b };
	if (l->sel == CODE16) {
		s->seg[SEG_CS] = (struct vcpu_segment){ .base = ERIG_CODE, .limit = 0xffff, .selector = CODE16, .attr = 0x9b };
		s->rip = 0;
	}
	erig_set(0, s);
	free(s);
}

/* Each NMI is posted when the one before has been counted: so it finds the loop under way again. */
static void an_interrupt_reaches_every_kind_of_loop(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
		const struct loop *l = &loops[i];
		pthread_t t;

		print_message("%s\n", l->name);
		start_loop(l);
		t = erig_run_beside(0);
		for (unsigned n = 0; n < NMIS; n++) {
			wait_for(COUNT, n);
			erig.ops->vcpu_nmi(erig.e->vcpu[0]);
		}
		assert_int_equal(erig_join(t), ENGINE_EXIT_HALT);
		assert_int_equal(erig_peek(COUNT, 8), NMIS);
		erig_finish();
	}
}

/* --- code that changes under a loop: SDM vol. 3, 8.1.3 --- */

enum { SAYS = 0x20000, TURNS = 150 };
#define LAST 0xffff0000u

/* Each says what it has last loaded by an immediate, which the others make larger by 0x10000 each time it is seen, until it is the last. */
GUEST(one_block, "1: mov $0x10000, %eax; mov %rax, 0x20000; cmp $0xffff0000, %eax; jne 1b\nhlt");
/* The block that changes is the second of three that are linked. */
GUEST(three_blocks, "jmp 1f\n.fill 5, 1, 0x90\n1: inc %rcx; jmp 2f\n.fill 0xf0, 1, 0x90\n2: mov $0x10000, %eax; jmp 3f\n.fill 0xf0, 1, 0x90\n"
		    "3: mov %rax, 0x20000; cmp $0xffff0000, %eax; jne 1b\nhlt");
/* The store is far from the loop's end: what runs meanwhile is not the changed code. */
GUEST(inner_loop, "1: mov $0x10000, %eax; mov %rax, 0x20000\nmov $50, %ecx\n2: dec %ecx; jnz 2b\ncmp $0xffff0000, %eax; jne 1b\nhlt");
/* At 0x10ffd: the upper half of the immediate is in the next page. */
GUEST(across_two_pages, "1: mov $0x10000, %eax; mov %rax, 0x20000; cmp $0xffff0000, %eax; jne 1b\nhlt");

/* R8: where the immediate is. */
GUEST(writer, "mov $0x10000, %eax\n1: cmp %rax, 0x20000; jne 1b\nadd $0x10000, %eax; mov %eax, (%r8)\n"
	      "cmp %r9d, %eax; jne 1b\n2: cmp %rax, 0x20000; jne 2b\nmovl $0xffff0000, (%r8)\nhlt");

static const struct changing {
	const char *name, *code, *end;
	unsigned offset, immediate; /* in the page of code */
} changing[] = {
#define CHANGING(name, offset, immediate) { #name, guest_##name, guest_##name##_end, offset, immediate }
	CHANGING(one_block, 0, 1),
	CHANGING(three_blocks, 0, 0x100),
	CHANGING(inner_loop, 0, 1),
	CHANGING(across_two_pages, 0xffd, 0xffe),
};

static void start_changing(const struct changing *x, unsigned vcpus)
{
	uint32_t imm;

	print_message("%s\n", x->name);
	erig_start(vcpus);
	erig_load(ERIG_CODE + x->offset, x->code, (size_t)(x->end - x->code));
	imm = (uint32_t)erig_peek(ERIG_CODE + x->immediate, 4);
	assert_int_equal(imm, 0x10000);
	erig_long_mode(0, ERIG_CODE + x->offset);
}

/* As a device stores: by ram_write. */
static void a_linked_loop_that_a_device_rewrites_is_run_as_it_is_now(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(changing) / sizeof(changing[0]); i++) {
		const struct changing *x = &changing[i];
		pthread_t t;

		start_changing(x, 1);
		t = erig_run_beside(0);
		for (unsigned n = 1; n < TURNS; n++) {
			wait_for(SAYS, (uint64_t)n << 16);
			erig_poke(ERIG_CODE + x->immediate, 4, (uint64_t)(n + 1) << 16);
		}
		erig_poke(ERIG_CODE + x->immediate, 4, LAST);
		assert_int_equal(erig_join(t), ENGINE_EXIT_HALT);
		assert_int_equal(erig_peek(SAYS, 8), LAST);
		erig_finish();
	}
}

static void a_linked_loop_that_another_vcpu_rewrites_is_run_as_it_is_now(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(changing) / sizeof(changing[0]); i++) {
		const struct changing *x = &changing[i];

		start_changing(x, 2);
		ERIG_LOAD(0x13000, writer);
		erig_long_mode(1, 0x13000);
		erig_set_reg(1, R8, ERIG_CODE + x->immediate);
		erig_set_reg(1, R9, (uint64_t)TURNS << 16);
		assert_true(erig_all_halt(2));
		assert_int_equal(erig_peek(SAYS, 8), LAST);
		erig_finish();
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(an_interrupt_reaches_every_kind_of_loop),
		TEST(a_linked_loop_that_a_device_rewrites_is_run_as_it_is_now),
		TEST(a_linked_loop_that_another_vcpu_rewrites_is_run_as_it_is_now),
	};
	int status;

	if (erig_main(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
