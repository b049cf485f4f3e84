// SPDX-License-Identifier: GPL-2.0-or-later
/* Translated 16- and 32-bit code whose segments are not flat (translate/legacy.h): bases, limits, rights, sizes, and that they change. */
#include "legacy_rig.h"

#include "engine/soft/translate/cache.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

#define DATA "0xc000"
#define S0 "0xd0" /* LEGACY_SEL(0) */
#define S1 "0xd8"
#define S2 "0xe0"
#define S3 "0xe8"
#define S4 "0xf0"
enum { CODE = 0x30000 }; /* of code segments */
#define LOAD(sel, seg) "mov $" sel ", %eax\nmov %eax, %" seg "\n"

static uint64_t exits(enum exit_kind kind)
{
	return sys.c->t.exits[kind];
}

/* --- data --- */

static void segments_for_data(void)
{
	legacy_desc(0, SYS_DATA + 0x101, 0xff, LEGACY_WRITE | ATTR_DB);
	legacy_desc(1, SYS_DATA + 0x400, 0xff, LEGACY_READ | ATTR_DB);
	legacy_desc(2, SYS_DATA, 0xff, LEGACY_WRITE | TYPE_E | ATTR_DB); /* offsets from 0x100 on */
	legacy_desc(3, SYS_DATA + 0x800, 0xff, LEGACY_CODE | ATTR_DB);
	legacy_desc(4, SYS_DATA + 0xf00, 0xfffff, LEGACY_WRITE | ATTR_DB | ATTR_G);
	for (unsigned i = 0; i < 0x1000; i += 4)
		sys_poke(SYS_DATA + i, 4, 0x9e3779b9u * (i + 1));
}

GUEST32(bases,
	LOAD(S0, "fs") LOAD(S4, "gs") LOAD(S0, "ds")
	"mov $0x80, %ecx\n"
	"1: mov %fs:0xfc, %eax\n"
	"add %gs:(%ecx), %eax\n"
	"adc %eax, %fs:(%ecx)\n"
	"adc %dx, %fs:1(%ecx)\n"
	"adc (%ecx), %dl\n"
	"movb %fs:0xff, %dh\n"
	"pushl %gs:8(%ecx)\n"
	"pop %ebx\n"
	"bt %ecx, %gs:(%ecx)\n"
	"adc %ebx, %es:0xc000\n"
	"movq %fs:(%ecx), %mm0\n"
	"movq %mm0, %gs:0x40(%ecx)\n"
	"xchg %eax, %fs:8\n"
	"dec %ecx\n"
	"jnz 1b\n"
	"emms\n"
	LOAD("0x10", "ds"));
static void accesses_inside_segments_with_bases_stay_in_translated_code(void **state)
{
	(void)state;
	LEGACY(bases, SYS_COMPAT, segments_for_data);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_true(exits(EXIT_ONE) < 30);
}

/* An access of four bytes, one byte over the limit, with registers and flags as they are before it. */
#define OVER(name, insn)                                                                           \
	GUEST32(name, LOAD(S0, "fs") LOAD(S1, "gs") LOAD(S2, "es") LOAD(S3, "ds") "mov $5, %ecx\n"  \
		      "mov $0xfd, %ebx\n"                                                            \
		      "1: dec %ecx\nmov %fs:0xfc, %edx\nmov 0xfc, %esi\nstc\n"                      \
		      "jnz 1b\n" insn "\nhlt\n")
OVER(load_over, "adc %fs:(%ebx), %eax");
OVER(store_over, "mov %eax, %fs:(%ebx)");
OVER(word_over, "mov %ax, %fs:2(%ebx)");
OVER(byte_over, "incb %fs:3(%ebx)");
OVER(below, "mov %fs:-1, %al");
OVER(store_to_read_only, "mov %eax, %gs:0");
OVER(store_to_code, "mov %eax, 0");
OVER(expand_down_low, "mov %es:0xfd, %eax");
OVER(null, "xor %eax, %eax\nmov %eax, %fs\nmov %fs:0, %al");
OVER(string_over, "mov $0x20, %ecx\nmov $0xf0, %edi\ncld\nxor %esi, %esi\nrep movsb %fs:(%esi), %es:(%edi)");
static void an_access_over_the_limit_or_against_the_rights_is_a_general_protection_fault(void **state)
{
	(void)state;
#define FAULTS(name)                                                                               \
	LEGACY(name, SYS_COMPAT, segments_for_data);                                               \
	assert_int_equal(legacy_out.how, EXC_GP);                                                  \
	assert_int_equal(legacy_out.frame[0], 0)
	FAULTS(load_over);
	FAULTS(store_over);
	FAULTS(word_over);
	FAULTS(byte_over);
	FAULTS(below);
	FAULTS(store_to_read_only);
	FAULTS(store_to_code);
	FAULTS(expand_down_low);
	FAULTS(null);
	FAULTS(string_over);
}

static void segments_for_stack(void)
{
	legacy_desc(0, 0, 0x17fff, LEGACY_WRITE | ATTR_DB);
	legacy_desc(1, 0, 0xffff, LEGACY_WRITE);
	legacy_desc(2, 0, 0x7fff, LEGACY_WRITE | TYPE_E | ATTR_DB);
	legacy_desc(3, 0x10000, 0xffff, LEGACY_WRITE);
	legacy_desc(4, 0x100, 0xfffff, LEGACY_WRITE | ATTR_DB | ATTR_G);
}

GUEST32(pop_over, LOAD(S0, "ss") "mov $8, %ecx\n1: sub $12, %esp\npop %eax\npop %eax\npop %eax\nloop 1b\n"
		  "mov $0x17ffe, %esp\nstc\npop %eax\n");
GUEST32(push_over, LOAD(S0, "ss") "mov $8, %ecx\n1: push %ecx\npop %eax\nloop 1b\nmov $0x18002, %esp\npush %eax\n");
GUEST32(frame_over, LOAD(S0, "ss") "mov $0x18000, %ebp\nmov $8, %ecx\n1: mov -4(%ebp), %eax\nloop 1b\nmov -3(%ebp), %eax\n");
GUEST32(leave_over, LOAD(S0, "ss") "mov $0x17ffd, %ebp\nleave\n");
static void an_access_to_the_stack_over_its_limit_is_a_stack_fault(void **state)
{
	(void)state;
#define STACK_FAULTS(name)                                                                         \
	LEGACY(name, SYS_COMPAT, segments_for_stack);                                              \
	assert_int_equal(legacy_out.how, EXC_SS);                                                  \
	assert_int_equal(legacy_out.frame[0], 0)
	STACK_FAULTS(pop_over);
	STACK_FAULTS(push_over);
	STACK_FAULTS(frame_over);
	STACK_FAULTS(leave_over);
}

/* The same code with DS of all kinds. */
enum { TABLE = 0x31000 };
GUEST32(reload_loop,
	"mov $40, %ecx\n"
	"1: mov $0x31000, %esi\n"
	"2: mov %cs:(%esi), %ax\n"
	"mov %eax, %ds\n"
	"mov 0xf8, %ebx\n"
	"add 0xfc, %ebx\n"
	"add %ebx, %edx\n"
	"rol $1, %edx\n"
	"add $2, %esi\n"
	"cmpw $0, %cs:(%esi)\n"
	"jne 2b\n"
	"loop 1b\n");
static void table_of_selectors(void)
{
	static const uint16_t sel[] = { SEL_DATA, LEGACY_SEL(0), LEGACY_SEL(1), SEL_DATA, LEGACY_SEL(3), LEGACY_SEL(4), SEL_READ_ONLY,
					SEL_CODE32, SEL_DATA16, LEGACY_SEL(4), SEL_DATA, 0 };

	segments_for_data();
	legacy_put(TABLE, sel, sizeof(sel));
}
static void code_that_was_translated_for_flat_segments_is_not_run_with_others(void **state)
{
	(void)state;
	LEGACY(reload_loop, SYS_COMPAT, table_of_selectors);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	LEGACY(reload_loop, SYS_PROT32, table_of_selectors);
	assert_int_equal(legacy_out.how, SYS_HALTED);
}

/* DS may be loaded from flat code that cannot be read as CS. */
GUEST32(exec_only,
	"ljmp $0x80, $0x30000\n");
GUEST32(exec_only_there,
	"cld\n"
	"mov $0x31000, %esi\n"
	"mov $0xc000, %edi\n"
	"mov $16, %ecx\n"
	"rep movsb %ds:(%esi), %es:(%edi)\n"
	"mov $16, %ecx\n"
	"rep movsb %cs:(%esi), %es:(%edi)\n");
static void prepare_exec_only(void)
{
	LEGACY_PUT(CODE, exec_only_there);
}
static void flat_code_that_is_only_executed_is_not_copied(void **state)
{
	(void)state;
	LEGACY(exec_only, SYS_COMPAT, prepare_exec_only);
	assert_int_equal(legacy_out.how, EXC_GP);
	assert_int_equal(legacy_out.gpr[RCX], 16);
}

/* --- the stack's size --- */

GUEST32(stack_16,
	"mov $30, %edi\n"
	"mov $0x12340008, %esp\n"
	LOAD(S1, "ss") /* 16 bits */
	"mov $0x12340008, %esp\n"
	"1: push %edi\n"
	"pushw $3\n"
	"pushw $5\n"
	"push $4\n" /* wraps */
	"pushl " DATA "\n"
	"mov %esp, %ebp\n"
	"mov (%bp), %eax\n"
	"popl " DATA " + 4\n"
	"pop %eax\n"
	"popw %ax\n"
	"popw %ax\n"
	"pop %ebx\n"
	"call 2f\n"
	"mov $8, %ebp\n"
	"enter $8, $0\n"
	"leave\n"
	"pushf\n"
	"push %ds\n"
	"pop %ebx\n"
	"popf\n"
	"dec %edi\n"
	"jnz 1b\n"
	"mov %esp, " DATA " + 8\n"
	LOAD("0x10", "ss")
	"mov $0x18000, %esp\n"
	"jmp 3f\n"
	"2: ret\n"
	"3:\n");
static void a_16_bit_stack_wraps_in_sp_and_leaves_the_rest_of_esp(void **state)
{
	(void)state;
	LEGACY(stack_16, SYS_COMPAT, segments_for_stack);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal(sys_peek(SYS_DATA + 8, 4), 0x12340008);
	LEGACY(stack_16, SYS_PROT32, segments_for_stack);
	assert_int_equal(legacy_out.how, SYS_HALTED);
}

/* SS changes between flat, 16-bit, based and expand-down; each time the same two blocks use it. */
GUEST32(stack_changes,
	"mov $20, %edi\n"
	"1: mov $0x10, %edx\n"
	"call 5f\n"
	"mov $0xd8, %edx\n"
	"call 5f\n"
	"mov $0xe8, %edx\n"
	"call 5f\n"
	"mov $0xf0, %edx\n"
	"call 5f\n"
	"mov $0xe0, %edx\n"
	"call 5f\n"
	"dec %edi\n"
	"jnz 1b\n"
	"jmp 9f\n"
	"5: mov %edx, %ss\n"
	"mov $0xff00, %esp\n"
	"push %edx\n"
	"push %edi\n"
	"push (%esp)\n"
	"addl $3, 4(%esp)\n"
	"pop %ebx\n"
	"pop %ecx\n"
	"add %ecx, %esi\n"
	"pop %ebp\n"
	"mov $0x10, %eax\n"
	"mov %eax, %ss\n"
	"mov $0x18000 - 4, %esp\n"
	"ret\n"
	"9:\n");
static void the_stack_segment_changes_between_all_kinds(void **state)
{
	(void)state;
	LEGACY(stack_changes, SYS_COMPAT, segments_for_stack);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	LEGACY(stack_changes, SYS_PROT32, segments_for_stack);
	assert_int_equal(legacy_out.how, SYS_HALTED);
}

/* --- code --- */

/* A code segment of 0x300 bytes at an odd address; the code at its offset 0x200 lies across two pages. */
enum { ODD = 0x30e03 };
static void (*prepare_more)(void);
static void segments_for_code(void)
{
	legacy_desc(0, ODD, 0x2ff, LEGACY_CODE | ATTR_DB);
	legacy_desc(1, CODE, 0xffff, LEGACY_CODE);
	legacy_desc(2, ODD, 0xffff, LEGACY_CODE);
	legacy_desc(3, CODE, 0xfffff, LEGACY_CODE | ATTR_DB | ATTR_G);
	if (prepare_more)
		prepare_more();
}

GUEST32(go_200, "ljmp $0xd0, $0x200\n");
/* Each one runs some rounds in the segment first. */
#define CODE_AT_200(name, insn)                                                                    \
	GUEST32(name, "mov $30, %ecx\nmov $0x300, %ebx\n"                                            \
		      "1: call 2f\nadd $3, %eax\nadc %eax, %edx\nloop 1b\nstc\n" insn "\nhlt\n"       \
		      "2: lea 1(%eax,%edx), %eax\nmov $0x12345678, %esi\nmov $0x9abcdef0, %edi\nret\n");                           \
	static void prepare_##name(void)                                                            \
	{                                                                                           \
		legacy_put(ODD + 0x200, guest_##name, (size_t)(guest_##name##_end - guest_##name));  \
	}
CODE_AT_200(halts, "")
CODE_AT_200(jump_out, "jmp 1b + 0x1000")
CODE_AT_200(jump_out_near, "jmp 1b + 0xf6")
CODE_AT_200(jump_below, "jmp 1b - 0x20b")
CODE_AT_200(jcc_out, "jc 1b + 0x1000")
CODE_AT_200(jcc_out_near, "jc 1b + 0xf6")
CODE_AT_200(call_out, "call 1b + 0x1000")
CODE_AT_200(call_out_near, "call 1b + 0xf6")
CODE_AT_200(jump_ind_out, "jmp *%ebx")
CODE_AT_200(call_ind_out, "call *%ebx")
CODE_AT_200(ret_out, "push %ebx\nret")
CODE_AT_200(ret_out_imm, "push %ebx\nret $12")
static void branches_inside_a_code_segment_that_begins_anywhere_are_taken(void **state)
{
	(void)state;
	prepare_more = prepare_halts;
	LEGACY(go_200, SYS_COMPAT, segments_for_code);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal(legacy_out.gpr[RSI], 0x12345678);
	assert_true(exits(EXIT_ONE) < 15);
}
static void a_branch_over_the_limit_of_code_faults_where_it_stands(void **state)
{
	(void)state;
#define FAULTS_AT(name, offset)                                                                    \
	prepare_more = prepare_##name;                                                              \
	LEGACY(go_200, SYS_COMPAT, segments_for_code);                                             \
	assert_int_equal(legacy_out.how, EXC_GP);                                                  \
	assert_int_equal(legacy_out.frame[0], 0);                                                  \
	assert_int_equal(legacy_out.frame[1], 0x200 + (offset))
	FAULTS_AT(jump_out, 23);
	FAULTS_AT(jump_out_near, 23);
	FAULTS_AT(jump_below, 23);
	FAULTS_AT(jcc_out, 23);
	FAULTS_AT(jcc_out_near, 23);
	FAULTS_AT(call_out, 23);
	FAULTS_AT(call_out_near, 23);
	FAULTS_AT(jump_ind_out, 23);
	FAULTS_AT(call_ind_out, 23);
	FAULTS_AT(ret_out, 24);
	FAULTS_AT(ret_out_imm, 24);
}

/* Runs into the limit: the last instruction ends with the segment, or is cut by its end. */
GUEST32(to_the_limit, "mov $20, %ecx\n1: add $3, %eax\nloop 1b\nadd $0x11, %eax\n");
GUEST32(go_end, "ljmp $0xd0, $0x300 - 13\n");
GUEST32(go_end_cut, "ljmp $0xd0, $0x300 - 12\n");
static void put_at_end(void) { LEGACY_PUT(ODD + 0x300 - 13, to_the_limit); }
static void put_at_end_cut(void) { LEGACY_PUT(ODD + 0x300 - 12, to_the_limit); }
static void code_runs_up_to_its_limit_and_no_further(void **state)
{
	(void)state;
	prepare_more = put_at_end;
	LEGACY(go_end, SYS_COMPAT, segments_for_code);
	assert_int_equal(legacy_out.how, EXC_GP);
	assert_int_equal(legacy_out.frame[1], 0x300);
	prepare_more = put_at_end_cut;
	LEGACY(go_end_cut, SYS_COMPAT, segments_for_code);
	assert_int_equal(legacy_out.how, EXC_GP);
	assert_int_equal(legacy_out.frame[1], 0x300 - 2);
}

/* 16-bit code at the end of its 64 KiB, which jumps on to the start, and back. */
GUEST32(go_fff0, "mov $60, %ecx\nljmp $0xd8, $0xfff0\n");
GUEST32(go_fff0_odd, "mov $60, %ecx\nljmp $0xe0, $0xfff0\n");
GUEST16(at_fff0, "add $3, %ax\n.byte 0xeb, 0x1b\n"); /* to 0x10 */
GUEST16(at_10, "add $5, %bx\n"
	       ".byte 0xe8\n.word 0xfff6 - 0x16\n" /* call 0xfff6 */
	       "dec %cx\n"
	       ".byte 0x0f, 0x85\n.word 0xfff0 - 0x1b\nhlt\n"); /* jnz 0xfff0 */
GUEST16(at_fff6, "inc %dx\nmov %esp, %ebp\nmov (%ebp), %si\nret\n");
static void put_16(uint32_t base)
{
	LEGACY_PUT(base + 0xfff0, at_fff0);
	LEGACY_PUT(base + 0x10, at_10);
	LEGACY_PUT(base + 0xfff6, at_fff6);
}
static void put_16_aligned(void) { put_16(CODE); }
static void put_16_odd(void) { put_16(ODD); }
static void ip_wraps_at_64_kib_in_branches_of_16_bit_code(void **state)
{
	(void)state;
	prepare_more = put_16_aligned;
	LEGACY(go_fff0, SYS_COMPAT, segments_for_code);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal((uint16_t)legacy_out.gpr[RBX], 300);
	assert_int_equal(legacy_out.gpr[RSI], 0x16);
	assert_true(exits(EXIT_ONE) < 20);
	prepare_more = put_16_odd;
	LEGACY(go_fff0_odd, SYS_COMPAT, segments_for_code);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal((uint16_t)legacy_out.gpr[RBX], 300);
}

/* Branches with operands of the other size. */
GUEST32(go_0, "mov $40, %ecx\nljmp $0xd8, $0\n");
GUEST16(sizes_16, "1: calll 2f\n"
		  "mov $3f - 1b, %bx\n"
		  "movzwl %bx, %ebx\n"
		  "callw *%bx\n"
		  "calll *%ebx\n"
		  "jmp 4f\n"
		  "2: inc %eax\n"
		  "retl\n"
		  "3: cmp %ebx, 4(%esp)\n"
		  "mov %esp, %ebp\n"
		  "cmpw $0, 2(%ebp)\n" /* of four bytes the upper two */
		  "je 5f\n"
		  "retw\n"
		  "5: add $1, %dx\n"
		  "retl\n"
		  "4: dec %cx\n"
		  "jnz 1b\n"
		  "xor %ebx, %ebx\n"
		  "mov $0x10000, %ebx\n"
		  "jmpl *%ebx\n");
static void put_sizes(void)
{
	LEGACY_PUT(CODE, sizes_16);
	sys.c->gpr[RSP] = 0x17000;
	sys_poke(0x17000, 4, 0x12345678);
}
static void a_32_bit_branch_of_16_bit_code_over_64_kib_faults(void **state)
{
	(void)state;
	prepare_more = put_sizes;
	LEGACY(go_0, SYS_COMPAT, segments_for_code);
	assert_int_equal(legacy_out.how, EXC_GP);
	assert_int_equal((uint16_t)legacy_out.gpr[RAX], 40);
	assert_int_equal(legacy_out.gpr[RBX], 0x10000);
}

/* --- between modes --- */

GUEST(modes_64, "mov $40, %edi\n"
		"1: lcall *0xc100\n" /* 32 bits, flat */
		"lcall *0xc108\n"    /* 16 bits */
		"lcall *0xc110\n"    /* 32 bits, with a base */
		"push $0x64\n"
		"pop %rdx\n"
		"add %rdx, %rsi\n"
		"dec %edi\n"
		"jnz 1b\n");
GUEST32(modes_32, "push %edi\npush %esp\npop %eax\nadd %eax, %esi\npop %ebx\nadd %ebx, 0xc000\nlret\n");
GUEST16(modes_16, "pushl %edi\npushw %sp\npopw %ax\nadd %ax, %si\npopl %ebx\nadd %ebx, 0xc004\nlretl\n");
static void prepare_modes(void)
{
	segments_for_code();
	LEGACY_PUT(CODE + 0x100, modes_32);
	LEGACY_PUT(CODE + 0x200, modes_16);
	LEGACY_PUT(ODD + 0x100, modes_32);
	sys_poke(SYS_DATA + 0x100, 4, CODE + 0x100);
	sys_poke(SYS_DATA + 0x104, 2, SEL_CODE32);
	sys_poke(SYS_DATA + 0x108, 4, 0x200);
	sys_poke(SYS_DATA + 0x10c, 2, LEGACY_SEL(1));
	sys_poke(SYS_DATA + 0x110, 4, 0x100);
	sys_poke(SYS_DATA + 0x114, 2, LEGACY_SEL(0));
	sys.c->gpr[RDI] = sys.c->gpr[RSI] = 0;
}
static void far_calls_between_64_32_and_16_bit_code_find_their_stack(void **state)
{
	(void)state;
	prepare_more = NULL;
	LEGACY(modes_64, SYS_LONG, prepare_modes);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_int_equal(legacy_out.gpr[RSP], SYS_STACK);
	assert_int_equal(sys_peek(SYS_DATA, 4), 2 * 20 * 41);
}

/* Real mode: segments of 64 KiB, far calls, PUSHF, CLI and STI, strings, and the way to protected mode and back. */
GUEST16(real,
	"mov $0xc00, %ax\nmov %ax, %ds\nmov $0xc80, %ax\nmov %ax, %es\n"
	"xor %ax, %ax\nmov %ax, %ss\nmov $0x7ff0, %sp\n"
	"mov $40, %cx\n"
	"cld\n"
	"1: push %cx\n"
	"mov %cx, %bx\n"
	"mov %bx, (%bx)\n"
	"add 0x10(%bx,%si), %ax\n"
	"lea 0x7fff(%bx), %di\n"
	"addw %ax, %es:(%bx)\n"
	"pushf\n"
	"cli\n"
	"sti\n"
	"popf\n"
	"xor %si, %si\n"
	"xor %di, %di\n"
	"mov $20, %cx\n"
	"rep movsw\n"
	"lodsb\n"
	"stosb\n"
	"scasb\n"
	"cmpsb\n"
	"xlat\n"
	"pusha\n"
	"popa\n"
	"lcall $0xc30, $0\n"
	"pop %cx\n"
	"loop 1b\n"
	"hlt\n");
GUEST16(real_far, "add $1, %dx\nlret\n");
static void prepare_real(void)
{
	for (unsigned i = 0; i < 0x1000; i += 4)
		sys_poke(SYS_DATA + i, 4, 0x9e3779b9u * (i + 1));
	LEGACY_PUT(0xc300, real_far);
}
static void real_mode_code_does_what_the_interpreter_does(void **state)
{
	(void)state;
	LEGACY(real, SYS_REAL, prepare_real);
	assert_int_equal(legacy_out.how, SYS_HALTED);
	assert_true(exits(EXIT_ONE) < 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(accesses_inside_segments_with_bases_stay_in_translated_code),
		TEST(an_access_over_the_limit_or_against_the_rights_is_a_general_protection_fault),
		TEST(an_access_to_the_stack_over_its_limit_is_a_stack_fault),
		TEST(code_that_was_translated_for_flat_segments_is_not_run_with_others),
		TEST(flat_code_that_is_only_executed_is_not_copied),
		TEST(a_16_bit_stack_wraps_in_sp_and_leaves_the_rest_of_esp),
		TEST(the_stack_segment_changes_between_all_kinds),
		TEST(branches_inside_a_code_segment_that_begins_anywhere_are_taken),
		TEST(a_branch_over_the_limit_of_code_faults_where_it_stands),
		TEST(code_runs_up_to_its_limit_and_no_further),
		TEST(ip_wraps_at_64_kib_in_branches_of_16_bit_code),
		TEST(a_32_bit_branch_of_16_bit_code_over_64_kib_faults),
		TEST(far_calls_between_64_32_and_16_bit_code_find_their_stack),
		TEST(real_mode_code_does_what_the_interpreter_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
