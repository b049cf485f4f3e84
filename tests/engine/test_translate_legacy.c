// SPDX-License-Identifier: GPL-2.0-or-later
/* Translated 32-bit code in flat segments (translate/legacy.h): the stack, branches, and where addresses wrap at 4 GiB. */
#include "legacy_rig.h"

#include "engine/soft/translate/cache.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

#define DATA "0xc000"
enum { TOP = 0x40000, HIGH = 0x42000, FAR = 0x44000 }; /* frames */

static uint64_t exits(enum exit_kind kind)
{
	return sys.c->t.exits[kind];
}

static void top_page(void)
{
	legacy_map(0xfffff000, TOP);
}

/* --- ESP --- */

/* What was found to be in the window before still lies there when ESP, below 0 in between, is back; also if C was asked for something meanwhile. */
GUEST32(esp_and_back,
	"mov $0x20000, %ebx\n"
	"1: mov $8, %esp\n"
	"mov %ebx, (%esp)\n"
	"sub $16, %esp\n"
	"mov (%ebx), %ecx\n" /* a page that nobody has asked for */
	"add $16, %esp\n"
	"mov (%esp), %edx\n"
	"movl $1, (%esp)\n"
	"mov %edx, " DATA "\n"
	"add $0x1000, %ebx\n"
	"cmp $0x30000, %ebx\n"
	"jne 1b\n");
static void esp_below_0_and_back_finds_its_stack_where_it_was(void **state)
{
	(void)state;
	LEGACY(esp_and_back, SYS_COMPAT, NULL);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal(legacy_out.gpr[RDX], 0x2f000);
	assert_int_equal(sys_peek(8, 4), 1);
	assert_true(exits(EXIT_FILL) > 10);
	assert_int_equal(exits(EXIT_ONE), 0);
}

GUEST32(esp_wraps,
	"mov $8, %esp\n"
	"push $0x11\n"
	"push $0x22\n"
	"push $0x33\n" /* at 0xfffffffc */
	"push $0x44\n"
	"mov %esp, " DATA "\n"
	"pop %eax\n"
	"pop %ebx\n"
	"pop %ecx\n"
	"pop %edx\n"
	"mov %esp, " DATA " + 4\n"
	"xor %esp, %esp\n"
	"push %edx\n"
	"lea -8(%esp), %esp\n"
	"mov %esp, %ebp\n"
	"mov 8(%ebp), %esi\n"
	"add $12, %esp\n"
	"mov -4(%esp), %edi\n"
	"mov %esp, " DATA " + 8\n"
	"push $0x55\n"
	"add $0x7fffffff, %esp\n"
	"add $0x7fffffff, %esp\n"
	"add $2, %esp\n"
	"pop %eax\n"
	"mov %esp, " DATA " + 12\n");
static void esp_wraps_at_4_gib(void **state)
{
	(void)state;
	LEGACY(esp_wraps, SYS_COMPAT, top_page);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal(sys_peek(TOP + 0xffc, 4), 0x55);
	assert_int_equal(legacy_out.gpr[RDI], 0x11);
	assert_int_equal(legacy_out.gpr[RAX], 0x55);
	assert_int_equal(sys_peek(SYS_DATA, 4), 0xfffffff8);
	assert_int_equal(sys_peek(SYS_DATA + 12, 4), 0);
}

static void stack_of_64_bits(void)
{
	legacy_map(0x100018000 - 0x1000, HIGH);
	sys.c->gpr[RSP] = 0x100018000;
	sys_poke(SYS_DATA + 0x100, 4, 0x8000 + 0x800);
	sys_poke(SYS_DATA + 0x104, 2, SEL_CODE32);
}

/* The same level, so that the window would be there still. */
GUEST(stack_64, "mov $5, %ecx\n"
		"1: push $0x64\n"
		"pop %rax\n"
		"loop 1b\n" /* until there is a window */
		"push $0x64\n"
		"mov %rsp, %rax\n"
		"ljmp *" DATA " + 0x100\n");
GUEST32(stack_32, "push $0x32\n"
		  "pop %ebx\n"
		  "push $0x16\n"
		  "mov %esp, %ecx\n"
		  "hlt\n");
static void prepare_stack_64(void)
{
	stack_of_64_bits();
	LEGACY_PUT(SYS_CODE + 0x800, stack_32);
}
static void a_stack_above_4_gib_is_not_that_of_32_bit_code(void **state)
{
	(void)state;
	LEGACY(stack_64, SYS_LONG, prepare_stack_64);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal(legacy_out.gpr[RBX], 0x32);
	assert_int_equal(legacy_out.gpr[RCX], 0x18000 - 12);
	assert_int_equal(sys_peek(0x18000 - 12, 4), 0x16);
	assert_int_equal(sys_peek(HIGH + 0xff8, 8), 0x64);
	assert_int_equal(sys_peek(HIGH + 0xff0, 8), 0);
}

GUEST32(stack_ops,
	"mov $100, %edi\n"
	"1: push %edi\n"
	"pushw $0x1234\n"
	"pushw %di\n"
	"push $-5\n"
	"pushl " DATA " + 0x40\n"
	"pushw " DATA " + 0x40\n"
	"push %esp\n"
	"push %ds\n"
	"pushw %ss\n"
	"stc\n"
	"pushf\n"
	"pushfw\n"
	"adc %eax, %esi\n"
	"popw %bx\n"
	"pop %ecx\n"
	"popw %dx\n"
	"pop %ebp\n"
	"pop %eax\n"
	"xor %ecx, %eax\n"
	"popw %ax\n"
	"popl " DATA " + 0x44\n"
	"enter $24, $0\n"
	"mov %esp, -8(%ebp)\n"
	"clc\n"
	"leave\n"
	"adc %ebp, %esi\n"
	"mov %esp, %ebp\n"
	".byte 0x66\n enter $4, $0\n"
	".byte 0x66\n leave\n"
	"pusha\n"
	"popa\n"
	"lea 4(%esp), %esp\n"
	"popw %bx\n"
	"popw %bx\n"
	"pop %ebx\n"
	"dec %edi\n"
	"jnz 1b\n"
	"mov %esp, " DATA "\n");
static void pushes_and_pops_of_both_sizes_do_what_the_interpreter_does(void **state)
{
	(void)state;
	LEGACY(stack_ops, SYS_COMPAT, NULL);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal(legacy_out.gpr[RSP], SYS_STACK);
	LEGACY(stack_ops, SYS_PROT32, NULL);
	assert_int_equal(legacy_out.how, SYS_HALTED);
}

/* --- branches --- */

GUEST32(calls,
	"mov $50, %edi\n"
	"1: call 2f\n"
	"call 3f\n"
	"data16 call 5f\n"
	"mov %esp, %esi\n"
	"dec %edi\n"
	"jnz 1b\n"
	"jmp 9f\n"
	"2: inc %eax\n"
	"ret\n"
	"3: push $7\n"
	"push $8\n"
	"call 6f\n"
	"4: ret\n"
	"5: add $2, %eax\n"
	"data16 ret\n"
	"6: add 4(%esp), %ecx\n"
	"ret $8\n"
	"9:\n");
static void calls_and_returns_of_both_sizes_stay_in_translated_code(void **state)
{
	(void)state;
	LEGACY(calls, SYS_COMPAT, NULL);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal(legacy_out.gpr[RAX], 150);
	assert_int_equal(legacy_out.gpr[RCX], 400);
	assert_int_equal(legacy_out.gpr[RSP], SYS_STACK);
	assert_true(exits(EXIT_ONE) < 10);
}

GUEST32(loops,
	"xor %edx, %edx\n"
	"mov $5, %ecx\n"
	"1: adc $3, %eax\n"
	"loop 1b\n"
	"mov $0x10003, %ecx\n"
	"2: inc %ebx\n"
	".byte 0x67\n loop 2b\n" /* by CX: ECX's upper half stays */
	"mov %ecx, " DATA "\n"
	"jcxz 3f\n"
	"mov $0xbad, %edx\n"
	"3: jecxz 4f\n"
	"inc %edx\n"
	"4: mov $10, %ecx\n"
	"5: dec %esi\n"
	"cmp $-4, %esi\n"
	"loopne 5b\n"
	"mov %ecx, " DATA " + 4\n"
	"mov $10, %ecx\n"
	"6: cmp $6, %ecx\n"
	"setae %al\n"
	"cmp $1, %al\n"
	"loope 6b\n"
	"mov %ecx, " DATA " + 8\n"
	"xor %ecx, %ecx\n"
	"jecxz 7f\n"
	"mov $0xbad, %edx\n"
	"7: mov $1, %ecx\n"
	"stc\n"
	"loop 7b\n"
	"adc $0, %ebp\n");
static void loop_and_jcxz_count_in_cx_or_ecx_and_leave_the_flags(void **state)
{
	(void)state;
	LEGACY(loops, SYS_COMPAT, NULL);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal(legacy_out.gpr[RDX], 1);
	assert_int_equal(sys_peek(SYS_DATA, 4), 0x10000);
	assert_int_equal(sys_peek(SYS_DATA + 4, 4), 6);
	assert_int_equal(sys_peek(SYS_DATA + 8, 4), 4);
	assert_int_equal(legacy_out.gpr[RBP], 1);
}

/* --- where linear addresses wrap --- */

GUEST32(access_wraps,
	"mov $0xffffff80, %ebx\n"
	"mov $200, %ecx\n"
	"1: lea (%ebx,%ecx), %esi\n"
	"mov (%esi), %eax\n"
	"add 4(%ebx,%ecx), %eax\n"
	"add %eax, %edx\n"
	"addl $0x01010101, 2(%ebx,%ecx)\n"
	"cmp $0x80, %cl\n"
	"adc 0x10(%esi), %dl\n"
	"dec %ecx\n"
	"jnz 1b\n");
static void fill_both_ends(void)
{
	legacy_map(0xfffff000, TOP);
	for (unsigned i = 0; i < 0x100; i += 4)
		sys_poke(TOP + 0x1000 - 4 - i, 4, 0x9e3779b9u * (i + 1));
}
static void an_access_across_4_gib_goes_on_at_0(void **state)
{
	(void)state;
	LEGACY(access_wraps, SYS_COMPAT, fill_both_ends);
	assert_int_equal(legacy_out.how, SYS_HALTED);
}

/* Code at 0xfffffff8 that runs on into page 0, an instruction across it. */
GUEST32(code_wraps,
	"mov $100, %ebx\n"
	"mov $0xfffffff8, %edx\n"
	"1: call *%edx\n"
	"add %eax, %esi\n"
	"dec %ebx\n"
	"jnz 1b\n"
	"cmpl $0, " DATA "\n" /* once more, with page 0 another */
	"jne 2f\n"
	"incl " DATA "\n"
	"orl $0x44000, 0x7000\n" /* its PTE */
	"invlpg 0\n"
	"mov $100, %ebx\n"
	"jmp 1b\n"
	"2:\n");
GUEST32(code_at_top, "nop\nnop\nnop\nnop\nnop\nnop\n.byte 0xb8, 0x11\n");
static const uint8_t code_at_0[] = { 0x22, 0x33, 0x44, 0xc3 }, code_at_far[] = { 0x55, 0x66, 0x77, 0xc3 };
static void put_code_at_both_ends(void)
{
	legacy_map(0xfffff000, TOP);
	LEGACY_PUT(TOP + 0xff8, code_at_top);
	legacy_put(0, code_at_0, sizeof(code_at_0));
	legacy_put(FAR, code_at_far, sizeof(code_at_far));
}
static void an_instruction_across_4_gib_goes_on_at_0_and_invlpg_of_page_0_finds_it(void **state)
{
	(void)state;
	LEGACY(code_wraps, SYS_COMPAT, put_code_at_both_ends);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal((uint32_t)legacy_out.gpr[RSI], 100u * 0x44332211 + 100u * 0x77665511);
	assert_true(exits(EXIT_ONE) < 20);
}

GUEST32(strings_end,
	"mov $0xffffff00, %edi\n"
	"mov $0xc000, %esi\n"
	"mov $64, %ecx\n"
	"cld\n"
	"rep movsl\n"
	"mov %edi, %ebx\n"
	"mov $0xffffffe0, %edi\n"
	"mov $32, %ecx\n"
	"rep stosb\n"
	"mov $0xfffffff0, %edi\n" /* across */
	"mov $16, %ecx\n"
	"rep stosl\n"
	"mov $0xfffffffd, %esi\n"
	"mov $0xc800, %edi\n"
	"mov $3, %ecx\n"
	"rep movsb\n");
static void strings_end_at_4_gib_or_go_on_at_0(void **state)
{
	(void)state;
	LEGACY(strings_end, SYS_COMPAT, top_page);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal(legacy_out.gpr[RSI], 0);
	assert_int_equal(legacy_out.gpr[RBX], 0);
}

/* Once as 32-bit, once as 64-bit code. */
#define STRINGS_ONCE                                                                               \
	"cld\n"                                                                                     \
	"mov $2, %ebp\n"                                                                            \
	"1: mov $0xcf80, %esi\n" /* across two pages */                                             \
	"mov $0xd7a1, %edi\n"                                                                       \
	"mov $60, %ebx\n"                                                                           \
	"2: lodsb\n"                                                                                \
	"stosb\n"                                                                                   \
	"scasb\n"                                                                                   \
	"adc $0, %edx\n"                                                                            \
	"cmpsb\n"                                                                                   \
	"adc $0, %edx\n"                                                                            \
	"movsb\n"                                                                                   \
	"stc\n"                                                                                     \
	"lodsl\n"                                                                                   \
	"stosl\n"                                                                                   \
	"adc %eax, %edx\n"                                                                          \
	"scasl\n"                                                                                   \
	"adc %eax, %edx\n"                                                                          \
	"cmpsl\n"                                                                                   \
	"adc %eax, %edx\n"                                                                          \
	"clc\n"                                                                                     \
	"movsl\n"                                                                                   \
	"adc %eax, %edx\n"                                                                          \
	"lodsw\n"                                                                                   \
	"stosw\n"                                                                                   \
	"scasw\n"                                                                                   \
	"cmpsw\n"                                                                                   \
	"movsw\n"                                                                                   \
	"mov %ds, %ecx\n"                                                                           \
	"mov %ss, (%edi)\n"                                                                         \
	"mov %fs, %cx\n"                                                                            \
	"add %ecx, %edx\n"                                                                          \
	"dec %ebx\n"                                                                                \
	"jnz 2b\n"                                                                                  \
	"dec %ebp\n"                                                                                \
	"jnz 1b\n"
GUEST32(strings_once_32, STRINGS_ONCE);
GUEST(strings_once_64, STRINGS_ONCE);
GUEST32(strings_down, "std\n"
		      "mov $0xcf80, %esi\n"
		      "mov $0xd7a1, %edi\n"
		      "mov $9, %ebx\n"
		      "1: stc\n"
		      "lodsb\n"
		      "stosb\n"
		      "adc %eax, %edx\n"
		      "cmpsl\n"
		      "movsw\n"
		      "scasl\n"
		      "adc %eax, %edx\n"
		      "dec %ebx\n"
		      "jnz 1b\n"
		      "cld\n");
static void fill_data(void)
{
	for (unsigned i = 0; i < LEGACY_DATA; i += 4)
		sys_poke(SYS_DATA + i, 4, 0x9e3779b9u * (i + 1));
}
static void string_instructions_without_a_prefix_stay_in_translated_code(void **state)
{
	(void)state;
	LEGACY(strings_once_32, SYS_COMPAT, fill_data);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_true(exits(EXIT_CALL) < 5);
	assert_true(exits(EXIT_ONE) < 10);
	LEGACY(strings_once_64, SYS_LONG, fill_data);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_true(exits(EXIT_CALL) < 5);
	assert_true(exits(EXIT_ONE) < 10);
	LEGACY(strings_down, SYS_COMPAT, fill_data);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal(legacy_out.gpr[RSI], 0xcf80 - 9 * (1 + 4 + 2));
}

/* --- the jump cache --- */

/* Each of the two modes keeps what it knows when the other is entered. */
GUEST32(stac_clac, "mov $200, %ecx\n"
		   "mov $0x30000, %ebx\n"
		   "1: stac\n"
		   "call *%ebx\n"
		   "clac\n"
		   "call *%ebx\n"
		   "dec %ecx\n"
		   "jnz 1b\n");
GUEST32(increment, "inc %eax\nret\n");
static void with_smap(void)
{
	sys.c->cr4 |= CR4_SMAP;
	sys_pte(SYS_STACK - 0x1000, (SYS_STACK - 0x1000) | 3);
	LEGACY_PUT(0x30000, increment);
}
static void stac_and_clac_forget_no_jumps(void **state)
{
	(void)state;
	LEGACY(stac_clac, SYS_COMPAT, with_smap);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal(legacy_out.gpr[RAX], 400);
	assert_true(exits(EXIT_JUMP) < 20);
}

/* --- what a mode change leaves in upper halves --- */

GUEST(upper_64, "movabs $0x123456780000c000, %rbx\n"
		"movabs $0xfedcba9800000004, %rsi\n"
		"movabs $0xffffffff00000003, %rcx\n"
		"ljmp *" DATA " + 0x100\n");
GUEST32(upper_32, "mov (%ebx), %eax\n"
		  "mov 4(%ebx), %edx\n"
		  "add 8(%ebx,%esi,2), %eax\n"
		  "bts %eax, (%ebx)\n"
		  "mov %ebx, %edi\n"
		  "1: incl 0x20(%ebx)\n"
		  "loop 1b\n"
		  "lea 0x40(%ebx), %edi\n"
		  "mov $3, %cl\n"
		  "rep stosl\n"
		  "hlt\n");
static void prepare_upper(void)
{
	stack_of_64_bits();
	LEGACY_PUT(SYS_CODE + 0x800, upper_32);
}
static void upper_halves_of_64_bit_code_are_not_seen_by_32_bit_code(void **state)
{
	(void)state;
	LEGACY(upper_64, SYS_LONG, prepare_upper);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal(sys_peek(SYS_DATA + 0x20, 4), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(esp_below_0_and_back_finds_its_stack_where_it_was),
		TEST(esp_wraps_at_4_gib),
		TEST(a_stack_above_4_gib_is_not_that_of_32_bit_code),
		TEST(pushes_and_pops_of_both_sizes_do_what_the_interpreter_does),
		TEST(calls_and_returns_of_both_sizes_stay_in_translated_code),
		TEST(loop_and_jcxz_count_in_cx_or_ecx_and_leave_the_flags),
		TEST(an_access_across_4_gib_goes_on_at_0),
		TEST(an_instruction_across_4_gib_goes_on_at_0_and_invlpg_of_page_0_finds_it),
		TEST(strings_end_at_4_gib_or_go_on_at_0),
		TEST(string_instructions_without_a_prefix_stay_in_translated_code),
		TEST(stac_and_clac_forget_no_jumps),
		TEST(upper_halves_of_64_bit_code_are_not_seen_by_32_bit_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
