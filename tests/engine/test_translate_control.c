// SPDX-License-Identifier: GPL-2.0-or-later
/* Transfers of control in translated code (translate/control.c, block.c): what a way out of their middle leaves behind. */
#include "system_rig.h"

#include "engine/soft/translate/cache.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

/* Code that lies 64 KiB behind offset FAR_AT of the code. */
enum { FAR_AT = 0x19 };
static uint8_t far_code[3];
static bool high_alias; /* all memory is at HIGH, too */
#define HIGH 0xffffffff80000000ull

struct outcome {
	int how;
	uint64_t gpr[17], frame[6];
	uint64_t rflags;
};

static struct outcome run(bool translated, uint32_t stir, const uint8_t *code, size_t len)
{
	struct soft_tuning tuning = SOFT_TUNING_DEFAULT;
	struct outcome o = { 0 };

	tuning.hot = 0;
	tuning.interrupt_every = stir;
	sys_start(SYS_LONG, 0);
	if (translated)
		assert_int_equal(soft_vm_translate(sys.vm, &tuning), 0);
	sys.c->gpr[RAX] = 0x8123456789abcdef;
	sys.c->gpr[RDX] = 0xf0e1d2c3b4a59687;
	for (unsigned i = 0; i < sizeof(far_code); i++)
		sys_poke(SYS_CODE + JUMPS_COVER + FAR_AT + i, 1, far_code[i]);
	if (high_alias) {
		sys_poke(SYS_PML4 + 511 * 8, 8, (SYS_PML4 + 0x1000) | 7);
		sys_poke(SYS_PML4 + 0x1000 + 510 * 8, 8, (SYS_PML4 + 0x2000) | 7);
	}
	o.how = sys_run(code, len);
	memcpy(o.gpr, sys.c->gpr, sizeof(o.gpr));
	o.rflags = cpu_rflags(sys.c);
	for (unsigned i = 0; i < 6; i++)
		o.frame[i] = sys_frame(i, 8);
	return o;
}

/* The outcome, the same in both tiers; the translated VM is left for the caller to look at. */
static struct outcome same(uint32_t stir, const uint8_t *code, size_t len)
{
	struct outcome want = run(false, 0, code, len), got;

	sys_finish();
	got = run(true, stir, code, len);
	assert_true(sys.vm->tr->block_count > 0);
	assert_memory_equal(&want, &got, sizeof(got));
	return got;
}
#define SAME(stir, ...) same(stir, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void a_request_in_a_loop_changes_neither_flags_nor_registers(void **state)
{
	(void)state;
	/* mov ecx, 200000; clc; 1: adc rax, rdx; dec ecx; jnz 1b: CF is live at the head, RCX is the counter */
	SAME(1, 0xb9, 0x40, 0x0d, 0x03, 0x00, 0xf8, 0x48, 0x11, 0xd0, 0xff, 0xc9, 0x75, 0xf9);
	assert_true(sys.c->t.exits[EXIT_POLL] > 0);
	sys_finish();
}

static void a_return_to_an_address_that_is_not_canonical_faults_with_the_stack_as_it_was(void **state)
{
	struct outcome o;

	(void)state;
	o = SAME(0,
		 0xb9, 0x08, 0x00, 0x00, 0x00,		   /*    mov ecx, 8 */
		 0x48, 0x8d, 0x1d, 0x0a, 0x00, 0x00, 0x00, /* 1: lea rbx, [2f] */
		 0x83, 0xf9, 0x01,			   /*    cmp ecx, 1 */
		 0x48, 0x0f, 0x44, 0xd8,		   /*    cmove rbx, rax */
		 0x53, 0xc3, 0xcc,			   /*    push rbx; ret */
		 0xff, 0xc9,				   /* 2: dec ecx */
		 0x75, 0xeb);				   /*    jnz 1b */
	assert_int_equal(o.how, EXC_GP);
	assert_int_equal(o.gpr[RCX], 1);
	assert_int_equal(o.frame[1], SYS_CODE + 20);
	sys_finish();
}

static void a_return_to_where_no_code_is_known_takes_its_address_once(void **state)
{
	struct outcome o;

	(void)state;
	o = SAME(0,
		 0xb9, 0x08, 0x00, 0x00, 0x00,		   /*    mov ecx, 8 */
		 0x48, 0x8d, 0x1d, 0x06, 0x00, 0x00, 0x00, /* 1: lea rbx, [2f] */
		 0x48, 0x01, 0xcb,			   /*    add rbx, rcx */
		 0x53, 0xc3, 0xcc,			   /*    push rbx; ret */
		 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, /* 2: */
		 0xff, 0xc2, 0xff, 0xc9,		   /*    inc edx; dec ecx */
		 0x75, 0xe4);				   /*    jnz 1b */
	assert_int_equal(o.how, SYS_HALTED);
	assert_true(sys.c->t.exits[EXIT_JUMP] > 0);
	sys_finish();
}

static void two_functions_of_one_entry_of_the_jump_cache_are_called_without_leaving(void **state)
{
	struct outcome o;

	(void)state;
	far_code[0] = 0xffu; /* inc eax; ret: JUMPS_COVER from the function at 2 */
	far_code[1] = 0xc0u;
	far_code[2] = 0xc3u;
	o = SAME(0,
		 0xb9, 0x64, 0x00, 0x00, 0x00,		   /*    mov ecx, 100 */
		 0x48, 0x8d, 0x1d, 0x0d, 0x00, 0x00, 0x00, /*    lea rbx, [2f] */
		 0xe8, FAR_AT - 0x11, 0x00, JUMPS_COVER >> 16, 0x00, /* 1: call far_code */
		 0xff, 0xd3,				   /*    call rbx */
		 0xff, 0xc9,				   /*    dec ecx */
		 0x75, 0xf5,				   /*    jnz 1b */
		 0xeb, 0x05,				   /*    jmp 3f */
		 0x83, 0xc2, 0x03, 0xc3, 0x90);		   /* 2: add edx, 3; ret; 3: */
	assert_int_equal(o.how, SYS_HALTED);
	assert_int_equal(o.gpr[RDX], (uint32_t)0xb4a59687 + 300);
	assert_true(sys.c->t.exits[EXIT_JUMP] < 20);
	sys_finish();
	memset(far_code, 0, sizeof(far_code));
}

static void a_call_as_far_back_as_can_be_pushes_its_return_address(void **state)
{
	struct outcome o;

	(void)state;
	high_alias = true;
	o = SAME(0,
		 0xb9, 0x05, 0x00, 0x00, 0x00, /*    mov ecx, 5 */
		 0xe8, 0x00, 0x00, 0x00, 0x80, /* 1: call to what is behind it, at HIGH */
		 0x58,			       /*    pop rax */
		 0xff, 0xc9,		       /*    dec ecx */
		 0x74, 0x06,		       /*    jz 2f */
		 0x48, 0x8d, 0x50, 0xfb,       /*    lea rdx, [rax - 5] */
		 0xff, 0xe2);		       /*    jmp rdx; 2: */
	assert_int_equal(o.how, SYS_HALTED);
	assert_int_equal(o.gpr[RAX], SYS_CODE + 10);
	assert_true(o.gpr[GPR_RIP] > HIGH);
	assert_true(sys.c->t.exits[EXIT_JUMP] > 0);
	sys_finish();
	high_alias = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_in_a_loop_changes_neither_flags_nor_registers),
		cmocka_unit_test(a_return_to_an_address_that_is_not_canonical_faults_with_the_stack_as_it_was),
		cmocka_unit_test(two_functions_of_one_entry_of_the_jump_cache_are_called_without_leaving),
		cmocka_unit_test(a_call_as_far_back_as_can_be_pushes_its_return_address),
		cmocka_unit_test(a_return_to_where_no_code_is_known_takes_its_address_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
