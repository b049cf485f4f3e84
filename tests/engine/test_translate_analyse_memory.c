// SPDX-License-Identifier: GPL-2.0-or-later
/* Which memory operands of a run the translator lets share one check (translate/analyse_memory.c). */
#include "analyse_rig.h"

static void memory(void)
{
	analyse_memory(&t, RANGE, NULL);
}

static void assert_stack(unsigned leader, int lo, int hi, bool store)
{
	assert_int_equal(t.insn[leader].stack_lo, lo);
	assert_int_equal(t.insn[leader].stack_hi, hi);
	assert_int_equal(t.insn[leader].stack_store, store);
}

static void assert_group(unsigned leader, int lo, int hi, bool store)
{
	assert_int_equal(t.insn[leader].group_lo, lo);
	assert_int_equal(t.insn[leader].group_hi, hi);
	assert_int_equal(t.insn[leader].group_store, store);
}

static void assert_led(unsigned i, enum mem_how how, unsigned leader, bool store)
{
	assert_int_equal(t.insn[i].how, how);
	assert_int_equal(t.insn[i].leader, leader);
	assert_int_equal(t.insn[i].store, store);
	assert_false(t.insn[i].also_explicit);
}

static void assert_no_range(unsigned i)
{
	assert_stack(i, 0, 0, false);
	assert_group(i, 0, 0, false);
}

static void pushes_share_one_check(void **state)
{
	BEGIN();
	I(0x89, 0xc8);			 /* mov eax, ecx */
	I(0x55);			 /* push rbp */
	I(0x48, 0x89, 0xe5);		 /* mov rbp, rsp */
	I(0x41, 0x54);			 /* push r12 */
	I(0x48, 0x83, 0xec, 0x20);	 /* sub rsp, 32 */
	I(0x48, 0x89, 0x7c, 0x24, 0x08); /* mov [rsp+8], rdi */
	memory();
	assert_led(0, MEM_NONE, 0, false);
	assert_led(1, MEM_STACK, 1, true);
	assert_led(3, MEM_STACK, 1, true);
	assert_led(5, MEM_STACK, 1, true);
	assert_stack(1, -40, 0, true);
	for (unsigned i = 2; i < 6; i++)
		assert_no_range(i);
}

static void pops_and_return_share_one_check(void **state)
{
	BEGIN();
	I(0x48, 0x83, 0xc4, 0x20); /* add rsp, 32 */
	I(0x5b);		   /* pop rbx */
	I(0x5d);		   /* pop rbp */
	I(0xc2, 0x08, 0x00);	   /* ret 8 */
	memory();
	assert_led(1, MEM_STACK, 1, false);
	assert_led(2, MEM_STACK, 1, false);
	assert_led(3, MEM_STACK, 1, false);
	assert_stack(1, 0, 24, false);
}

static void stack_check_moves_up_to_where_no_flags_are_live(void **state)
{
	BEGIN();
	I(0x48, 0x89, 0xc3);	   /* mov rbx, rax */
	I(0x48, 0x83, 0xc4, 0x20); /* add rsp, 32 */
	I(0x31, 0xc0);		   /* xor eax, eax */
	I(0x0f, 0x94, 0xc0);	   /* sete al */
	I(0x5b);		   /* pop rbx */
	I(0xc3);		   /* ret */
	flags(FL_ALL, false);
	assert_int_equal(t.insn[2].live_in, 0);
	memory();
	assert_led(4, MEM_STACK, 2, false);
	assert_led(5, MEM_STACK, 2, false);
	assert_stack(2, 0, 16, false);
	assert_no_range(4);
	/* RSP changes by a constant on the way. */
	BEGIN();
	I(0x31, 0xc0);		   /* xor eax, eax */
	I(0x48, 0x8d, 0x64, 0x24, 0x20); /* lea rsp, [rsp+32] */
	I(0x5b);		   /* pop rbx */
	flags(FL_ALL, false);
	memory();
	assert_led(2, MEM_STACK, 0, false);
	assert_stack(0, 32, 40, false);
	/* Ranges do not overlap: the check of one may move the window from under another. */
	BEGIN();
	I(0x48, 0x89, 0xca);				 /* mov rdx, rcx */
	I(0x31, 0xc0);					 /* xor eax, eax */
	I(0x48, 0x8b, 0x1c, 0x24);			 /* mov rbx, [rsp] */
	I(0x48, 0x8b, 0x8c, 0x24, 0x00, 0x08, 0x00, 0x00); /* mov rcx, [rsp+2048] */
	I(0x48, 0x8b, 0x14, 0x24);			 /* mov rdx, [rsp] */
	flags(FL_ALL, false);
	memory();
	assert_led(2, MEM_STACK, 1, false);
	assert_led(3, MEM_STACK, 3, false);
	assert_led(4, MEM_STACK, 4, false);
	/* It does not where RSP is not known, nor where they always are live. */
	BEGIN();
	I(0x31, 0xc0);	     /* xor eax, eax */
	I(0x48, 0x89, 0xec); /* mov rsp, rbp */
	I(0x5b);	     /* pop rbx */
	flags(FL_ALL, false);
	memory();
	assert_led(2, MEM_STACK, 2, false);
	assert_stack(2, 0, 8, false);
	BEGIN();
	I(0x31, 0xc0);					 /* xor eax, eax */
	I(0x50);					 /* push rax */
	I(0x48, 0x8b, 0x84, 0x24, 0x00, 0x08, 0x00, 0x00); /* mov rax, [rsp+2048] */
	flags(FL_ALL, false);
	memory();
	assert_led(1, MEM_STACK, 0, true);
	assert_led(2, MEM_STACK, 2, false);
	assert_stack(0, -8, 0, true);
	assert_stack(2, 2048, 2056, false);
	BEGIN();
	I(0x48, 0x89, 0xc3); /* mov rbx, rax */
	I(0x5b);	     /* pop rbx */
	flags(FL_ALL, false);
	memory();
	assert_led(1, MEM_STACK, 1, false);
}

static void stack_check_does_not_move_up_into_a_loop(void **state)
{
	for (unsigned back = 0; back < 2; back++) {
		BEGIN();
		I(0x48, 0xff, 0xc0);		     /* inc rax */
		I(0x48, 0x39, 0xd8);		     /* cmp rax, rbx */
		I(0x75, back ? 0xf8 : 0x10);	     /* jne: there, or ahead */
		I(0xc3);			     /* ret, behind which flags are live */
		t.insn[2].live_taken = FL_ALL;
		analyse_flags(&t, FL_ALL, false);
		memory();
		assert_led(3, MEM_STACK, back ? 3 : 1, false);
	}
}

static void red_zone_lies_below_rsp(void **state)
{
	BEGIN();
	I(0x48, 0x89, 0x7c, 0x24, 0xf8); /* mov [rsp-8], rdi */
	I(0x0f, 0xb6, 0x44, 0x24, 0x88); /* movzx eax, byte [rsp-120] */
	memory();
	assert_led(0, MEM_STACK, 0, true);
	assert_led(1, MEM_STACK, 0, false);
	assert_stack(0, -120, 0, true);
}

static void constants_added_to_rsp_keep_the_range(void **state)
{
	BEGIN();
	I(0x48, 0x8b, 0x04, 0x24);	       /* mov rax, [rsp] */
	I(0x48, 0x81, 0xc4, 0x40, 0, 0, 0);    /* add rsp, 64 */
	I(0x48, 0x8d, 0x64, 0x24, 0xf0);       /* lea rsp, [rsp-16] */
	I(0x48, 0xff, 0xcc);		       /* dec rsp */
	I(0x48, 0x83, 0xec, 0xff);	       /* sub rsp, -1 */
	I(0x66, 0x50);			       /* push ax */
	I(0x6a, 0x01);			       /* push 1 */
	I(0x8b, 0x04, 0x24);		       /* mov eax, [rsp] */
	memory();
	assert_led(5, MEM_STACK, 0, true);
	assert_led(7, MEM_STACK, 0, false);
	assert_stack(0, 0, 48, true);
}

/* Each of @code changes RSP by what is not known: the access behind it has a check of its own. */
static void assert_ends_stack_range(const uint8_t *code, size_t len)
{
	BEGIN();
	I(0x50); /* push rax */
	assert_true(add_bytes(code, len));
	I(0x58); /* pop rax */
	memory();
	assert_led(2, MEM_STACK, 2, false);
	assert_stack(2, 0, 8, false);
	assert_int_equal(t.insn[0].stack_lo, -8);
}
#define ENDS_STACK(...) assert_ends_stack_range((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void other_changes_of_rsp_end_the_range(void **state)
{
	ENDS_STACK(0x48, 0x83, 0xe4, 0xf0);	  /* and rsp, -16 */
	ENDS_STACK(0x48, 0x89, 0xec);		  /* mov rsp, rbp */
	ENDS_STACK(0x48, 0x94);			  /* xchg rsp, rax */
	ENDS_STACK(0x48, 0x87, 0xe0);		  /* xchg rax, rsp */
	ENDS_STACK(0x48, 0x01, 0xc4);		  /* add rsp, rax */
	ENDS_STACK(0x83, 0xc4, 0x08);		  /* add esp, 8 */
	ENDS_STACK(0x66, 0x83, 0xc4, 0x08);	  /* add sp, 8 */
	ENDS_STACK(0x40, 0x80, 0xc4, 0x08);	  /* add spl, 8 */
	ENDS_STACK(0x8d, 0x64, 0x24, 0x08);	  /* lea esp, [rsp+8] */
	ENDS_STACK(0x67, 0x48, 0x8d, 0x64, 0x24, 0x08); /* lea rsp, [esp+8] */
	ENDS_STACK(0x48, 0x8d, 0x64, 0x04, 0x08); /* lea rsp, [rsp+rax+8] */
	ENDS_STACK(0x48, 0x8d, 0x65, 0xf8);	  /* lea rsp, [rbp-8] */
	ENDS_STACK(0x5c);			  /* pop rsp */
	ENDS_STACK(0x66, 0x5c);			  /* pop sp */
	ENDS_STACK(0x48, 0x8b, 0x64, 0x24, 0x08); /* mov rsp, [rsp+8] */
	ENDS_STACK(0x48, 0x0f, 0x44, 0xe0);	  /* cmove rsp, rax */
	ENDS_STACK(0xc9);			  /* leave */
	ENDS_STACK(0xc8, 0x10, 0, 0);		  /* enter 16, 0 */
	ENDS_STACK(0x48, 0x81, 0xec, 0, 0, 0, 0x40); /* sub rsp, 1 GiB: a constant, but not near */
}

static void push_and_pop_of_rsp_itself(void **state)
{
	BEGIN();
	I(0x54); /* push rsp */
	I(0x5c); /* pop rsp: its own access is still in the range */
	I(0x58); /* pop rax */
	memory();
	assert_led(0, MEM_STACK, 0, true);
	assert_led(1, MEM_STACK, 0, false);
	assert_led(2, MEM_STACK, 2, false);
	assert_stack(0, -8, 0, true);
}

static void leave_pops_elsewhere(void **state)
{
	BEGIN();
	I(0x50); /* push rax */
	I(0xc9); /* leave */
	I(0xc3); /* ret */
	memory();
	assert_led(1, MEM_SINGLE, 1, false);
	assert_led(2, MEM_STACK, 2, false);
	assert_stack(0, -8, 0, true);
	assert_no_range(1);
	assert_stack(2, 0, 8, false);
}

static void operands_of_push_pop_and_call_have_two_ways(void **state)
{
	BEGIN();
	I(0xff, 0x73, 0x10);	   /* push qword [rbx+16] */
	I(0x8f, 0x44, 0x24, 0x18); /* pop qword [rsp+24] */
	I(0x48, 0x8b, 0x43, 0x18); /* mov rax, [rbx+24] */
	I(0xff, 0x53, 0x08);	   /* call [rbx+8] */
	memory();
	assert_int_equal(t.insn[0].how, MEM_STACK);
	assert_true(t.insn[0].also_explicit && t.insn[0].store);
	assert_int_equal(t.insn[1].how, MEM_STACK);
	assert_true(t.insn[1].also_explicit && !t.insn[1].store);
	assert_int_equal(t.insn[1].leader, 0);
	assert_int_equal(t.insn[2].how, MEM_SINGLE);
	assert_int_equal(t.insn[3].how, MEM_STACK);
	assert_true(t.insn[3].also_explicit && t.insn[3].store);
	assert_stack(0, -8, 0, true);
	BEGIN();
	I(0xff, 0x63, 0x08); /* jmp [rbx+8] */
	memory();
	assert_led(0, MEM_SINGLE, 0, false);
}

static void range_that_grows_too_wide_begins_anew(void **state)
{
	BEGIN();
	I(0x48, 0x8b, 0x04, 0x24);			/* mov rax, [rsp] */
	I(0x48, 0x8b, 0x84, 0x24, 0xf8, 0, 0, 0);	/* mov rax, [rsp+248] */
	I(0x48, 0x8b, 0x84, 0x24, 0xf9, 0, 0, 0);	/* mov rax, [rsp+249] */
	I(0x50);					/* push rax */
	memory();
	assert_led(1, MEM_STACK, 0, false);
	assert_led(2, MEM_STACK, 2, false);
	assert_led(3, MEM_STACK, 3, true);
	assert_stack(0, 0, 256, false);
	assert_stack(2, 249, 257, false);
	assert_stack(3, -8, 0, true);
}

static void access_far_from_rsp_is_single(void **state)
{
	BEGIN();
	I(0x50);				     /* push rax */
	I(0x48, 0x8b, 0x84, 0x24, 0, 0x20, 0, 0);    /* mov rax, [rsp+8192] */
	I(0x48, 0x8b, 0x84, 0x24, 0, 0, 0, 0x80);    /* mov rax, [rsp-2^31] */
	I(0x48, 0x8b, 0x84, 0x24, 0xff, 0xff, 0xff, 0x7f); /* mov rax, [rsp+2^31-1] */
	I(0x58);				     /* pop rax */
	memory();
	for (unsigned i = 1; i < 4; i++)
		assert_led(i, MEM_SINGLE, i, false);
	assert_led(4, MEM_STACK, 0, false);
}

static void operands_on_one_register_are_a_group(void **state)
{
	BEGIN();
	I(0x48, 0x8b, 0x43, 0x10);	 /* mov rax, [rbx+16] */
	I(0x48, 0x8b, 0x4e, 0x08);	 /* mov rcx, [rsi+8] */
	I(0xc6, 0x43, 0xff, 0x01);	 /* mov byte [rbx-1], 1 */
	I(0x0f, 0x10, 0x43, 0x20);	 /* movups xmm0, [rbx+32] */
	memory();
	assert_led(0, MEM_GROUP, 0, false);
	assert_led(1, MEM_SINGLE, 1, false);
	assert_led(2, MEM_GROUP, 0, true);
	assert_led(3, MEM_GROUP, 0, false);
	assert_group(0, -1, 48, true);
	assert_no_range(1);
	assert_no_range(2);
}

static void group_ends_where_its_register_changes(void **state)
{
	BEGIN();
	I(0x48, 0x8b, 0x03);	   /* mov rax, [rbx] */
	I(0x48, 0x8b, 0x5b, 0x08); /* mov rbx, [rbx+8] */
	I(0x48, 0x8b, 0x03);	   /* mov rax, [rbx] */
	I(0xb3, 0x01);		   /* mov bl, 1 */
	I(0x48, 0x8b, 0x4b, 0x08); /* mov rcx, [rbx+8] */
	I(0x48, 0x0f, 0xb1, 0x08); /* cmpxchg [rax], rcx: writes rax */
	I(0x48, 0x8b, 0x48, 0x08); /* mov rcx, [rax+8] */
	memory();
	assert_led(0, MEM_GROUP, 0, false);
	assert_led(1, MEM_GROUP, 0, false);
	assert_led(2, MEM_SINGLE, 2, false);
	assert_led(4, MEM_SINGLE, 4, false);
	assert_led(5, MEM_SINGLE, 5, true);
	assert_led(6, MEM_SINGLE, 6, false);
	assert_group(0, 0, 16, false);
}

static void constants_added_to_its_registers_keep_the_group(void **state)
{
	BEGIN();
	I(0x48, 0x8b, 0x03);		   /* mov rax, [rbx] */
	I(0x48, 0x83, 0xc3, 0x40);	   /* add rbx, 64 */
	I(0x48, 0x8b, 0x43, 0xc8);	   /* mov rax, [rbx-56] */
	I(0x48, 0x8d, 0x5b, 0xf0);	   /* lea rbx, [rbx-16] */
	I(0x48, 0xff, 0xc3);		   /* inc rbx */
	I(0x48, 0x83, 0xeb, 0x01);	   /* sub rbx, 1 */
	I(0x48, 0x89, 0x03);		   /* mov [rbx], rax */
	I(0x83, 0xc3, 0x08);		   /* add ebx, 8: cuts it */
	I(0x48, 0x89, 0x03);		   /* mov [rbx], rax */
	I(0x48, 0x8d, 0x5e, 0x08);	   /* lea rbx, [rsi+8] */
	I(0x48, 0x89, 0x03);		   /* mov [rbx], rax */
	I(0x48, 0x01, 0xc3);		   /* add rbx, rax */
	I(0x48, 0x89, 0x03);		   /* mov [rbx], rax */
	memory();
	assert_led(2, MEM_GROUP, 0, false);
	assert_led(6, MEM_GROUP, 0, true);
	assert_group(0, 0, 56, true);
	assert_led(8, MEM_SINGLE, 8, true);
	assert_led(10, MEM_SINGLE, 10, true);
	assert_led(12, MEM_SINGLE, 12, true);
}

static void operands_with_the_same_index_are_a_group(void **state)
{
	BEGIN();
	I(0x48, 0x8b, 0x04, 0xcb);	   /* mov rax, [rbx+8*rcx] */
	I(0x48, 0x8b, 0x44, 0xcb, 0x10);   /* mov rax, [rbx+8*rcx+16] */
	I(0x48, 0x8b, 0x44, 0x8b, 0x10);   /* mov rax, [rbx+4*rcx+16] */
	I(0x48, 0x8b, 0x44, 0xd3, 0x10);   /* mov rax, [rbx+8*rdx+16] */
	I(0x48, 0xff, 0xc1);		   /* inc rcx */
	I(0x48, 0x83, 0xc3, 0x04);	   /* add rbx, 4 */
	I(0x48, 0x89, 0x04, 0xcb);	   /* mov [rbx+8*rcx], rax: 12 further */
	I(0x48, 0x89, 0xc1);		   /* mov rcx, rax */
	I(0x48, 0x89, 0x04, 0xcb);	   /* mov [rbx+8*rcx], rax */
	memory();
	assert_led(1, MEM_GROUP, 0, false);
	assert_led(2, MEM_SINGLE, 2, false);
	assert_led(3, MEM_SINGLE, 3, false);
	assert_led(6, MEM_GROUP, 0, true);
	assert_led(8, MEM_SINGLE, 8, true);
	assert_group(0, 0, 24, true);
	/* One register for both moves it twice. */
	BEGIN();
	I(0x48, 0x8b, 0x04, 0x5b);	   /* mov rax, [rbx+2*rbx] */
	I(0x48, 0xff, 0xc3);		   /* inc rbx */
	I(0x48, 0x8b, 0x04, 0x5b);	   /* mov rax, [rbx+2*rbx] */
	memory();
	assert_led(2, MEM_GROUP, 0, false);
	assert_group(0, 0, 11, false);
}

static void operands_relative_to_rip_are_a_group(void **state)
{
	BEGIN();
	I(0x48, 0x8b, 0x05, 0x00, 0x10, 0, 0); /* mov rax, [0x1007] */
	I(0x48, 0x89, 0x05, 0x01, 0x10, 0, 0); /* mov [0x100f], rax */
	I(0x48, 0x8b, 0x05, 0x00, 0x20, 0, 0); /* mov rax, [0x2015] */
	I(0x8b, 0x05, 0xff, 0xff, 0xff, 0x7f); /* mov eax, [2^31+26] */
	memory();
	assert_led(1, MEM_GROUP, 0, true);
	assert_group(0, 0x1007, 0x1017, true);
	assert_led(2, MEM_SINGLE, 2, false);
	assert_led(3, MEM_SINGLE, 3, false);
}

static void operands_in_segments_with_a_base_are_groups_of_their_own(void **state)
{
	BEGIN();
	I(0x65, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0); /* mov rax, gs:[0x28] */
	I(0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0); /* mov rax, fs:[0x28] */
	I(0x65, 0x48, 0x8b, 0x04, 0x25, 0x30, 0, 0, 0); /* mov rax, gs:[0x30] */
	I(0x48, 0x8b, 0x04, 0x25, 0x38, 0, 0, 0);	/* mov rax, [0x38] */
	I(0x64, 0x48, 0x8b, 0x03);			/* mov rax, fs:[rbx] */
	I(0x48, 0x8b, 0x03);				/* mov rax, [rbx] */
	I(0x64, 0x48, 0x89, 0x43, 0x08);		/* mov fs:[rbx+8], rax */
	I(0xf3, 0x48, 0x0f, 0xae, 0xd0);		/* wrfsbase rax */
	I(0x64, 0x48, 0x89, 0x03);			/* mov fs:[rbx], rax */
	I(0x65, 0x48, 0x8b, 0x04, 0x25, 0x34, 0, 0, 0); /* mov rax, gs:[0x34] */
	I(0xf3, 0x48, 0x0f, 0xae, 0xd8);		/* wrgsbase rax */
	I(0x65, 0x48, 0x8b, 0x04, 0x25, 0x34, 0, 0, 0); /* mov rax, gs:[0x34] */
	memory();
	assert_led(1, MEM_SINGLE, 1, false);
	assert_led(2, MEM_GROUP, 0, false);
	assert_led(3, MEM_SINGLE, 3, false);
	assert_led(5, MEM_SINGLE, 5, false);
	assert_led(6, MEM_GROUP, 4, true);
	assert_led(8, MEM_SINGLE, 8, true);
	assert_led(9, MEM_GROUP, 0, false);
	assert_led(11, MEM_SINGLE, 11, false);
	assert_group(0, 0x28, 0x3c, false);
	assert_group(4, 0, 16, true);
}

static void group_that_grows_too_wide_begins_anew(void **state)
{
	BEGIN();
	I(0x8b, 0x03);				  /* mov eax, [rbx] */
	I(0x8b, 0x83, 0xfc, 0, 0, 0);		  /* mov eax, [rbx+252] */
	I(0x8b, 0x83, 0xfd, 0, 0, 0);		  /* mov eax, [rbx+253] */
	I(0x8b, 0x83, 0xfe, 0, 0, 0);		  /* mov eax, [rbx+254] */
	memory();
	assert_led(1, MEM_GROUP, 0, false);
	assert_led(2, MEM_GROUP, 2, false);
	assert_led(3, MEM_GROUP, 2, false);
	assert_group(0, 0, 256, false);
	assert_group(2, 253, 258, false);
}

static void conditional_store_does_not_widen_a_group_of_loads(void **state)
{
	BEGIN();
	I(0x8b, 0x03);	     /* mov eax, [rbx] */
	I(0x74, 0x10);	     /* je */
	I(0x8b, 0x43, 0x04); /* mov eax, [rbx+4] */
	I(0x89, 0x43, 0x08); /* mov [rbx+8], eax */
	I(0x89, 0x43, 0x0c); /* mov [rbx+12], eax */
	memory();
	assert_led(2, MEM_GROUP, 0, false);
	assert_led(3, MEM_GROUP, 3, true);
	assert_led(4, MEM_GROUP, 3, true);
	assert_group(0, 0, 8, false);
	assert_group(3, 8, 16, true);
}

/* @code, and [rbx] before and behind it: that one does not belong to their group. */
static void assert_single(const uint8_t *code, size_t len, bool store)
{
	BEGIN();
	I(0x8b, 0x03); /* mov eax, [rbx] */
	assert_true(add_bytes(code, len));
	memory();
	assert_led(1, MEM_SINGLE, 1, store);
	assert_led(0, MEM_SINGLE, 0, false);
	assert_no_range(0);
	assert_no_range(1);
}
#define SINGLE(store, ...) assert_single((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }), store)

static void operands_that_share_no_check_are_single(void **state)
{
	SINGLE(false, 0x8b, 0x04, 0x0b);		   /* mov eax, [rbx+rcx] */
	SINGLE(false, 0x8b, 0x04, 0x24 | 1 << 3);	   /* mov eax, [rsp+rcx] */
	SINGLE(true, 0x89, 0x05, 4, 0, 0, 0);		   /* mov [rip+4], eax */
	SINGLE(false, 0x8b, 0x04, 0x25, 0, 0x10, 0, 0);	   /* mov eax, [0x1000] */
	SINGLE(true, 0xa3, 0, 0, 0, 0, 0, 0x10, 0, 0);	   /* mov [moffs], eax */
	SINGLE(false, 0x67, 0x8b, 0x03);		   /* mov eax, [ebx] */
	SINGLE(false, 0x64, 0x8b, 0x03);		   /* mov eax, fs:[rbx] */
	SINGLE(true, 0x65, 0x89, 0x04, 0x24);		   /* mov gs:[rsp], eax */
	SINGLE(false, 0x0f, 0xa3, 0x03);		   /* bt [rbx], eax */
	SINGLE(true, 0x0f, 0xab, 0x03);			   /* bts [rbx], eax */
	SINGLE(true, 0x0f, 0xae, 0x03);			   /* fxsave [rbx] */
	SINGLE(true, 0x0f, 0xae, 0x23);			   /* xsave [rbx] */
	SINGLE(false, 0xc4, 0xe2, 0x79, 0x2c, 0x03);	   /* vmaskmovps xmm0, xmm0, [rbx] */
	SINGLE(true, 0xc4, 0xe2, 0x79, 0x2e, 0x03);	   /* vmaskmovps [rbx], xmm0, xmm0 */
}

static void bit_test_with_a_constant_is_an_ordinary_operand(void **state)
{
	BEGIN();
	I(0x0f, 0xba, 0x23, 0x03);	 /* bt dword [rbx], 3 */
	I(0x0f, 0xba, 0x6b, 0x08, 0x03); /* bts dword [rbx+8], 3 */
	memory();
	assert_led(1, MEM_GROUP, 0, true);
	assert_group(0, 0, 12, true);
}

static void what_accesses_nothing_through_modrm_has_none(void **state)
{
	BEGIN();
	I(0x48, 0x8d, 0x43, 0x08);	      /* lea rax, [rbx+8] */
	I(0x0f, 0x1f, 0x43, 0x08);	      /* nop [rbx+8] */
	I(0x0f, 0x18, 0x0b);		      /* prefetcht0 [rbx] */
	I(0xf3, 0xa4);			      /* rep movsb */
	I(0xd7);			      /* xlatb */
	I(0x66, 0x0f, 0xf7, 0xc1);	      /* maskmovdqu */
	I(0xc4, 0xe2, 0x69, 0x90, 0x04, 0x0b); /* vpgatherdd xmm0, [rbx+xmm1], xmm2 */
	I(0x01, 0xd8);			      /* add eax, ebx */
	memory();
	for (unsigned i = 0; i < t.count; i++) {
		assert_led(i, MEM_NONE, i, false);
		assert_no_range(i);
	}
}

static bool not_mov_from_ecx(const struct insn *in)
{
	return !(in->id == INSN_ID_MOV && !(in->flags & INSN_MEM));
}

static void interpreted_instruction_ends_all_ranges(void **state)
{
	BEGIN();
	I(0x50);	     /* push rax */
	I(0x8b, 0x03);	     /* mov eax, [rbx] */
	I(0x89, 0xc8);	     /* mov eax, ecx */
	I(0x8b, 0x43, 0x04); /* mov eax, [rbx+4] */
	I(0x58);	     /* pop rax */
	memory();
	assert_group(1, 0, 8, false);
	assert_stack(0, -8, 0, true);
	analyse_memory(&t, RANGE, not_mov_from_ecx);
	assert_led(1, MEM_SINGLE, 1, false);
	assert_led(3, MEM_SINGLE, 3, false);
	assert_led(4, MEM_STACK, 4, false);
	assert_stack(0, -8, 0, true);
	assert_stack(4, 0, 8, false);
	/* Nobody looks after its operand, whatever it has. */
	BEGIN();
	I(0xff, 0x33); /* push [rbx] */
	t.insn[0].in.id = INSN_ID_MOV;
	t.insn[0].in.flags = 0;
	analyse_memory(&t, RANGE, not_mov_from_ecx);
	assert_led(0, MEM_NONE, 0, false);
}

static void what_changes_address_spaces_ends_all_ranges(void **state)
{
	static const uint8_t codes[][3] = {
		{ 0x0f, 0x01, 0xcb }, /* stac */
		{ 0x0f, 0x22, 0xd8 }, /* mov cr3, rax */
		{ 0x0f, 0x01, 0x38 }, /* invlpg [rax] */
		{ 0x0f, 0x00, 0xd0 }, /* lldt ax */
	};

	for (unsigned n = 0; n < sizeof(codes) / sizeof(codes[0]); n++) {
		BEGIN();
		I(0x50);
		I(0x8b, 0x03);
		assert_true(add_bytes(codes[n], 3));
		I(0x8b, 0x43, 0x04);
		I(0x58);
		memory();
		assert_led(1, MEM_SINGLE, 1, false);
		assert_led(3, MEM_SINGLE, 3, false);
		assert_led(4, MEM_STACK, 4, false);
	}
}

static void extreme_displacements_do_not_overflow(void **state)
{
	BEGIN();
	I(0x48, 0x8b, 0x83, 0xff, 0xff, 0xff, 0x7f); /* mov rax, [rbx+2^31-1] */
	I(0x48, 0x8b, 0x83, 0, 0, 0, 0x80);	      /* mov rax, [rbx-2^31] */
	I(0x48, 0x8b, 0x83, 0xf0, 0xff, 0xff, 0x7f); /* mov rax, [rbx+2^31-16] */
	I(0x48, 0x8b, 0x83, 0xf7, 0xff, 0xff, 0x7f); /* mov rax, [rbx+2^31-9] */
	analyse_memory(&t, INT32_MAX, NULL);
	assert_led(0, MEM_SINGLE, 0, false);
	assert_led(1, MEM_SINGLE, 1, false);
	assert_led(2, MEM_GROUP, 2, false);
	assert_led(3, MEM_GROUP, 2, false);
	assert_group(2, 0x7ffffff0, 0x7fffffff, false);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(pushes_share_one_check),
		cmocka_unit_test(pops_and_return_share_one_check),
		cmocka_unit_test(stack_check_moves_up_to_where_no_flags_are_live),
		cmocka_unit_test(stack_check_does_not_move_up_into_a_loop),
		cmocka_unit_test(red_zone_lies_below_rsp),
		cmocka_unit_test(constants_added_to_rsp_keep_the_range),
		cmocka_unit_test(other_changes_of_rsp_end_the_range),
		cmocka_unit_test(push_and_pop_of_rsp_itself),
		cmocka_unit_test(leave_pops_elsewhere),
		cmocka_unit_test(operands_of_push_pop_and_call_have_two_ways),
		cmocka_unit_test(range_that_grows_too_wide_begins_anew),
		cmocka_unit_test(access_far_from_rsp_is_single),
		cmocka_unit_test(operands_on_one_register_are_a_group),
		cmocka_unit_test(group_ends_where_its_register_changes),
		cmocka_unit_test(constants_added_to_its_registers_keep_the_group),
		cmocka_unit_test(operands_with_the_same_index_are_a_group),
		cmocka_unit_test(operands_relative_to_rip_are_a_group),
		cmocka_unit_test(operands_in_segments_with_a_base_are_groups_of_their_own),
		cmocka_unit_test(group_that_grows_too_wide_begins_anew),
		cmocka_unit_test(conditional_store_does_not_widen_a_group_of_loads),
		cmocka_unit_test(operands_that_share_no_check_are_single),
		cmocka_unit_test(bit_test_with_a_constant_is_an_ordinary_operand),
		cmocka_unit_test(what_accesses_nothing_through_modrm_has_none),
		cmocka_unit_test(interpreted_instruction_ends_all_ranges),
		cmocka_unit_test(what_changes_address_spaces_ends_all_ranges),
		cmocka_unit_test(extreme_displacements_do_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
