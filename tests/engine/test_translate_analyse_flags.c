// SPDX-License-Identifier: GPL-2.0-or-later
/* Which flags the translator takes for live, before and behind each instruction of a run, and at an address (translate/analyse_flags.c). */
#include "analyse_rig.h"

static void flags_that_are_defined_anew_are_dead(void **state)
{
	BEGIN();
	I(0x48, 0x01, 0xd8); /* add rax, rbx */
	I(0x48, 0x39, 0xd1); /* cmp rcx, rdx */
	flags(FL_ALL, false);
	assert_int_equal(t.insn[1].live_out, FL_ALL);
	assert_int_equal(t.insn[1].live_in, 0);
	assert_int_equal(t.insn[0].live_out, 0);
	assert_int_equal(t.insn[0].live_in, 0);
}

static void flags_that_are_read_are_live_up_to_their_definition(void **state)
{
	BEGIN();
	I(0x48, 0x39, 0xd8);	   /* cmp rax, rbx */
	I(0x89, 0xc8);		   /* mov eax, ecx */
	I(0x83, 0xd2, 0x00);	   /* adc edx, 0 */
	I(0x72, 0x10);		   /* jb */
	flags(0, false);
	assert_int_equal(t.insn[3].live_in, FL_CF);
	assert_int_equal(t.insn[2].live_in, FL_CF);
	assert_int_equal(t.insn[1].live_in, FL_CF);
	assert_int_equal(t.insn[0].live_out, FL_CF);
	assert_int_equal(t.insn[0].live_in, 0);
}

static void inc_leaves_the_carry_alone(void **state)
{
	BEGIN();
	I(0xff, 0xc0); /* inc eax */
	flags(FL_ALL, false);
	assert_int_equal(t.insn[0].live_in, FL_CF);
}

static void shift_by_cl_keeps_flags_alive_but_asks_for_none(void **state)
{
	BEGIN();
	I(0xd3, 0xe0); /* shl eax, cl */
	flags(FL_ZF | FL_OF, false);
	assert_int_equal(t.insn[0].live_in, FL_ZF | FL_OF);
	flags(0, false);
	assert_int_equal(t.insn[0].live_in, 0);
	BEGIN();
	I(0x0f, 0xa5, 0xd8); /* shld eax, ebx, cl */
	flags(FL_ALL, false);
	assert_int_equal(t.insn[0].live_in, FL_ALL);
}

static void shift_by_a_constant_defines_flags_unless_it_is_zero(void **state)
{
	BEGIN();
	I(0xc1, 0xe0, 0x04); /* shl eax, 4 */
	flags(FL_ALL, false);
	assert_int_equal(t.insn[0].live_in, 0);
	BEGIN();
	I(0xc1, 0xe0, 0x20); /* shl eax, 32: the count is 0 */
	flags(FL_ALL, false);
	assert_int_equal(t.insn[0].live_in, FL_ALL);
	BEGIN();
	I(0x48, 0xc1, 0xe0, 0x20); /* shl rax, 32 */
	flags(FL_CF | FL_ZF, false);
	assert_int_equal(t.insn[0].live_in, 0);
	BEGIN();
	I(0xd1, 0xe0); /* shl eax, 1 */
	flags(FL_OF, false);
	assert_int_equal(t.insn[0].live_in, 0);
	BEGIN();
	I(0xc0, 0xe0, 0x08); /* shl al, 8: who knows what CF is */
	flags(FL_ALL, false);
	assert_int_equal(t.insn[0].live_in, FL_CF);
}

static void rotation_through_the_carry_reads_it_whatever_is_wanted(void **state)
{
	BEGIN();
	I(0xd1, 0xd0); /* rcl eax, 1 */
	flags(0, false);
	assert_int_equal(t.insn[0].live_in, FL_CF);
	BEGIN();
	I(0xd3, 0xd0); /* rcl eax, cl */
	flags(FL_OF | FL_ZF, false);
	assert_int_equal(t.insn[0].live_in, FL_CF | FL_OF | FL_ZF);
	BEGIN();
	I(0xd1, 0xc0); /* rol eax, 1 */
	flags(FL_ALL, false);
	assert_int_equal(t.insn[0].live_in, FL_ALL & ~(FL_CF | FL_OF));
}

static void repeated_comparison_may_compare_nothing(void **state)
{
	BEGIN();
	I(0xf3, 0xa6); /* repe cmpsb */
	flags(FL_ZF, false);
	assert_int_equal(t.insn[0].live_in, FL_ZF);
	flags(0, false);
	assert_int_equal(t.insn[0].live_in, 0);
	BEGIN();
	I(0xa6); /* cmpsb */
	flags(FL_ALL, false);
	assert_int_equal(t.insn[0].live_in, 0);
}

static void undefined_flags_stay_alive_but_that_of_logic(void **state)
{
	BEGIN();
	I(0x85, 0xc0); /* test eax, eax */
	flags(FL_ALL, false);
	assert_int_equal(t.insn[0].live_in, 0);
	BEGIN();
	I(0xf7, 0xf3); /* div ebx */
	flags(FL_ALL, false);
	assert_int_equal(t.insn[0].live_in, FL_ALL);
	BEGIN();
	I(0x0f, 0xa3, 0xd8); /* bt eax, ebx */
	flags(FL_ALL, false);
	assert_int_equal(t.insn[0].live_in, FL_ALL & ~FL_CF);
}

static void branch_in_the_middle_wants_what_its_target_wants(void **state)
{
	BEGIN();
	I(0x01, 0xd8); /* add eax, ebx */
	I(0x74, 0x10); /* je */
	I(0xff, 0xc0); /* inc eax */
	I(0x0f, 0x92, 0xc1); /* setb cl */
	I(0x39, 0xd8); /* cmp eax, ebx */
	t.insn[1].live_taken = FL_OF;
	flags(0, false);
	assert_int_equal(t.insn[2].live_in, FL_CF);
	assert_int_equal(t.insn[1].live_out, FL_CF | FL_OF);
	assert_int_equal(t.insn[1].live_in, FL_CF | FL_OF | FL_ZF);
	assert_int_equal(t.insn[0].live_in, 0);
	t.insn[1].live_taken = 0;
	flags(0, false);
	assert_int_equal(t.insn[1].live_in, FL_CF | FL_ZF);
}

static void other_transfers_in_the_middle_want_all_flags(void **state)
{
	BEGIN();
	I(0x01, 0xd8); /* add eax, ebx */
	I(0xe2, 0x10); /* loop */
	I(0x39, 0xd8); /* cmp eax, ebx */
	flags(0, false);
	assert_int_equal(t.insn[1].live_out, FL_ALL);
	assert_int_equal(t.insn[0].live_out, FL_ALL);
	BEGIN();
	I(0x01, 0xd8);	     /* add eax, ebx */
	I(0x0f, 0x01, 0xcb); /* stac ends a block, but transfers nothing */
	I(0x39, 0xd8);	     /* cmp eax, ebx */
	flags(0, false);
	assert_int_equal(t.insn[0].live_out, 0);
}

static void with_exact_flags_live_where_an_instruction_may_fault(void **state)
{
	BEGIN();
	I(0x01, 0xd8);	     /* add eax, ebx */
	I(0x8b, 0x03);	     /* mov eax, [rbx] */
	I(0x8d, 0x04, 0x1b); /* lea eax, [rbx+rbx] */
	I(0xf7, 0xf3);	     /* div ebx */
	I(0x01, 0xd8);	     /* add eax, ebx */
	flags(0, true);
	assert_int_equal(t.insn[4].live_in, 0);
	assert_int_equal(t.insn[3].live_in, FL_ALL);
	assert_int_equal(t.insn[2].live_in, FL_ALL);
	assert_int_equal(t.insn[1].live_in, FL_ALL);
	assert_int_equal(t.insn[0].live_in, 0);
	flags(0, false);
	assert_int_equal(t.insn[1].live_in, 0);
	BEGIN();
	I(0xf3, 0x48, 0x0f, 0xae, 0xd3); /* wrfsbase rbx: #GP */
	I(0x01, 0xd8);			 /* add eax, ebx */
	flags(0, true);
	assert_int_equal(t.insn[0].live_in, FL_ALL);
	BEGIN();
	I(0x50);		   /* push rax */
	I(0x0f, 0x58, 0xc1);	   /* addps xmm0, xmm1: #XM */
	I(0xc4, 0xe2, 0x78, 0xf2, 0xc1); /* andn eax, eax, ecx */
	flags(0, true);
	assert_int_equal(t.insn[0].live_in, FL_ALL);
	assert_int_equal(t.insn[1].live_in, FL_ALL);
	assert_int_equal(t.insn[2].live_in, 0);
}

static unsigned live_at(const void *bytes, size_t n, unsigned most)
{
	return flags_live_at(bytes, n, INSN_MODE64, most);
}
#define LIVE(most, ...) live_at((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }), most)

static void flags_at_an_address_are_live_unless_its_code_tells(void **state)
{
	assert_int_equal(LIVE(8, 0x39, 0xd8), 0);			/* cmp */
	assert_int_equal(LIVE(8, 0x89, 0xd8, 0x85, 0xc0, 0x74, 0), 0);	/* mov; test */
	assert_int_equal(LIVE(1, 0x89, 0xd8, 0x85, 0xc0), FL_ALL);	/* one instruction is too few */
	assert_int_equal(LIVE(0, 0x39, 0xd8), FL_ALL);
	assert_int_equal(LIVE(8, 0x83, 0xd0, 0x00), FL_CF);		/* adc */
	assert_int_equal(LIVE(8, 0xff, 0xc0, 0x72, 0x00), FL_CF);	/* inc; jb */
	assert_int_equal(LIVE(8, 0x74, 0x70, 0x39, 0xd8), FL_ALL);	/* je to who knows where */
	assert_int_equal(LIVE(8, 0x74, 0x00, 0x39, 0xd8), FL_ZF);	/* je to what follows */
	assert_int_equal(LIVE(8, 0xc3, 0x39, 0xd8), FL_ALL);		/* ret */
	assert_int_equal(LIVE(8, 0x89), FL_ALL);			/* cut off */
	assert_int_equal(LIVE(8, 0x0f, 0x0b, 0x39, 0xd8), FL_ALL);	/* ud2 */
	assert_int_equal(LIVE(8, 0x06, 0x39, 0xd8), FL_ALL);		/* no instruction */
	assert_int_equal(flags_live_at(NULL, 0, INSN_MODE64, 8), FL_ALL);
	assert_int_equal(LIVE(8, 0xeb, 0x01, 0x90, 0x39, 0xd8), 0);	/* jmp over the nop */
	assert_int_equal(LIVE(8, 0xeb, 0xfd, 0x90, 0x39, 0xd8), FL_ALL); /* jmp to before the start */
	assert_int_equal(flags_live_at((const uint8_t[]){ 0x48, 0xcf }, 2, INSN_MODE64, 8), FL_ALL); /* iretq, whose exception shows them */
	assert_int_equal(flags_live_at((const uint8_t[]){ 0x74, 0x00, 0x39, 0xd8 }, 4, INSN_MODE16, 8), FL_ALL); /* it may wrap */
	assert_int_equal(flags_live_at((const uint8_t[]){ 0x74, 0x00, 0x39, 0xd8 }, 4, INSN_MODE32, 8), FL_ZF);
	assert_int_equal(flags_live_at((const uint8_t[]){ 0x66, 0x74, 0x00, 0x39, 0xd8 }, 5, INSN_MODE32, 8), FL_ALL); /* cut to 16 bits */
	/* What was asked for before it is defined counts, what comes later does not. */
	assert_int_equal(LIVE(8, 0xf8, 0x0f, 0x92, 0xc0, 0x39, 0xd8), 0);		  /* clc; setb; cmp */
	assert_int_equal(LIVE(8, 0x0f, 0x94, 0xc0, 0x39, 0xd8, 0x0f, 0x92, 0xc0), FL_ZF); /* sete; cmp; setb */
}

static void flags_that_only_go_round_a_loop_are_dead(void **state)
{
	/* dec ecx; jne back; cmp */
	assert_int_equal(LIVE(8, 0xff, 0xc9, 0x75, 0xfc, 0x39, 0xd8), 0);
	/* dec ecx; jne back; setb: the carry is live all the way */
	assert_int_equal(LIVE(8, 0xff, 0xc9, 0x75, 0xfc, 0x0f, 0x92, 0xc0, 0x39, 0xd8), FL_CF);
	/* a loop without a way out */
	assert_int_equal(LIVE(8, 0x90, 0xeb, 0xfd), 0);
	assert_int_equal(LIVE(8, 0xe2, 0xfe), FL_ALL); /* loop; and then there is nothing */
	/* Come there once with ZF undefined, and once with all but CF. */
	assert_int_equal(LIVE(16, 0x39, 0xd8, 0x74, 0x02, 0xf8, 0x90, 0x0f, 0x92, 0xc0, 0x39, 0xd8), 0);
	assert_int_equal(LIVE(16, 0x0f, 0x94, 0xc2, 0xf8, 0x74, 0x02, 0x90, 0x90, 0x0f, 0x92, 0xc0, 0x39, 0xd8), FL_ZF);
}

static void place_that_is_reached_again_with_more_flags_is_looked_at_again(void **state)
{
	assert_int_equal(LIVE(32, 0x74, 0x02,	     /*  0: je 4 */
			      0xeb, 0x03,	     /*  2: jmp 7 */
			      0xf8,		     /*  4: clc */
			      0xeb, 0x04,	     /*  5: jmp 11 */
			      0xeb, 0x00,	     /*  7: jmp 9 */
			      0xeb, 0x00,	     /*  9: jmp 11 */
			      0x0f, 0x92, 0xc0,	     /* 11: setb al */
			      0x39, 0xd8),	     /* cmp */
			 FL_ZF | FL_CF);
}

static void more_places_than_are_kept_count_as_unknown(void **state)
{
	uint8_t code[80];

	for (unsigned places = 10; places <= 20; places += 10) {
		for (unsigned i = 0; i < places; i++) {
			code[2 * i] = 0x74; /* je to a cmp of its own */
			code[2 * i + 1] = (uint8_t)(2 * places - 2);
			memcpy(code + 2 * (places + i), "\x39\xd8", 2);
		}
		assert_int_equal(flags_live_in(code, 4 * places, 0, INSN_MODE64, 100, NULL), places == 10 ? FL_ZF : FL_ALL);
	}
}

static void lines_that_were_looked_at_are_told(void **state)
{
	uint8_t page[256];
	uint64_t lines = 1ull << 40;

	memset(page, 0x90, sizeof(page));
	memcpy(page + 70, "\x74\x3a", 2);  /* je 130 */
	memcpy(page + 72, "\x39\xd8", 2);  /* cmp */
	memcpy(page + 130, "\x39\xd8", 2); /* cmp */
	assert_int_equal(flags_live_in(page, sizeof(page), 70, INSN_MODE64, 8, &lines), FL_ZF);
	assert_int_equal(lines, 1ull << 40 | 6);
	lines = 0;
	memcpy(page + 127, "\x39\xd8", 2);
	assert_int_equal(flags_live_in(page, sizeof(page), 127, INSN_MODE64, 8, &lines), 0);
	assert_int_equal(lines, 6);
	lines = 0;
	assert_int_equal(flags_live_in(page, 128, 127, INSN_MODE64, 8, &lines), FL_ALL); /* cut off */
	assert_int_equal(lines, 2);
	lines = 0;
	assert_int_equal(flags_live_in(page, 200, 200, INSN_MODE64, 8, &lines), FL_ALL);
	assert_int_equal(lines, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_that_are_defined_anew_are_dead),
		cmocka_unit_test(flags_that_are_read_are_live_up_to_their_definition),
		cmocka_unit_test(inc_leaves_the_carry_alone),
		cmocka_unit_test(shift_by_cl_keeps_flags_alive_but_asks_for_none),
		cmocka_unit_test(shift_by_a_constant_defines_flags_unless_it_is_zero),
		cmocka_unit_test(rotation_through_the_carry_reads_it_whatever_is_wanted),
		cmocka_unit_test(repeated_comparison_may_compare_nothing),
		cmocka_unit_test(undefined_flags_stay_alive_but_that_of_logic),
		cmocka_unit_test(branch_in_the_middle_wants_what_its_target_wants),
		cmocka_unit_test(other_transfers_in_the_middle_want_all_flags),
		cmocka_unit_test(with_exact_flags_live_where_an_instruction_may_fault),
		cmocka_unit_test(flags_at_an_address_are_live_unless_its_code_tells),
		cmocka_unit_test(flags_that_only_go_round_a_loop_are_dead),
		cmocka_unit_test(place_that_is_reached_again_with_more_flags_is_looked_at_again),
		cmocka_unit_test(more_places_than_are_kept_count_as_unknown),
		cmocka_unit_test(lines_that_were_looked_at_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
