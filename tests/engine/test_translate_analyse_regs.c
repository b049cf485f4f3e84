// SPDX-License-Identifier: GPL-2.0-or-later
/* Registers that an instruction reads and writes (translate/analyse_regs.c), by hand: what the table does not say in its operands. */
#include "engine/soft/translate/analyse.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>
#include <cmocka.h>

#define R(n) (1u << (n))
static void assert_gprs(const uint8_t *code, size_t len, enum insn_mode mode, uint32_t read, uint32_t written)
{
	struct insn in;

	assert_int_equal(insn_decode(code, len, mode, &in), len);
	assert_int_equal(insn_gprs_read(&in), read);
	assert_int_equal(insn_gprs_written(&in), written);
}
#define GPRS(read, written, ...)                                                                             \
	assert_gprs((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }), INSN_MODE64, read, written)

static void registers_of_instructions(void **state)
{
	GPRS(R(RBX), R(RAX), 0x48, 0x89, 0xd8);				    /* mov rax, rbx */
	GPRS(R(RBX), R(RAX), 0x89, 0xd8);				    /* mov eax, ebx */
	GPRS(R(RBX) | R(RAX), R(RAX), 0x66, 0x89, 0xd8);		    /* mov ax, bx keeps the rest */
	GPRS(R(RBX) | R(RAX), R(RAX), 0x88, 0xdc);			    /* mov ah, bl */
	GPRS(R(RBX) | R(R15), R(R9), 0x4e, 0x8d, 0x4c, 0x3b, 0x08);	    /* lea r9, [rbx+r15+8] */
	GPRS(0, R(RAX), 0x8b, 0x05, 0, 0, 0, 0);			    /* mov eax, [rip] */
	GPRS(R(RAX) | R(RDX) | R(RBX), R(RAX) | R(RDX), 0xf7, 0xf3);	    /* div ebx */
	GPRS(R(RAX) | R(RBX), R(RAX) | R(RDX), 0xf7, 0xe3);		    /* mul ebx */
	GPRS(R(RAX), R(RDX), 0x48, 0x99);				    /* cqo */
	GPRS(R(RAX) | R(RCX), R(RAX), 0xd3, 0xe0);			    /* shl eax, cl */
	GPRS(R(RSP) | R(RBX), R(RSP), 0x53);				    /* push rbx */
	GPRS(R(RSP), R(RSP) | R(R12), 0x41, 0x5c);			    /* pop r12 */
	GPRS(R(RSI) | R(RDI), R(RSI) | R(RDI), 0xa4);			    /* movsb */
	GPRS(R(RSI) | R(RDI) | R(RCX), R(RSI) | R(RDI) | R(RCX), 0xf3, 0xa4); /* rep movsb */
	GPRS(R(RSI), R(RSI) | R(RAX), 0xad);				    /* lodsd */
	GPRS(R(RSI) | R(RCX) | R(RAX), R(RSI) | R(RCX) | R(RAX), 0xf3, 0xad); /* rep lodsd: maybe none */
	GPRS(R(RDI), 0, 0x66, 0x0f, 0xf7, 0xc1);			    /* maskmovdqu */
	GPRS(R(RBX), 0, 0xc4, 0xe2, 0x69, 0x90, 0x04, 0x0b);		    /* vpgatherdd: the index is no gpr */
	GPRS(0, R(RCX) | R(R11), 0x0f, 0x05);				    /* syscall */
	GPRS(R(RCX) | R(R11), 0, 0x48, 0x0f, 0x07);			    /* sysretq */
	GPRS(0xffff, 0xffff, 0x48, 0xcf);				    /* iretq: a task's registers, for all it says */
	GPRS(R(RAX) | R(RBX) | R(RCX) | R(RDX) | R(RSI), R(RAX) | R(RDX), 0x48, 0x0f, 0xc7, 0x0e); /* cmpxchg16b [rsi] */
	assert_gprs((const uint8_t[]){ 0x60 }, 1, INSN_MODE32, 0xff, R(RSP)); /* pusha */
	assert_gprs((const uint8_t[]){ 0x61 }, 1, INSN_MODE32, 0xff, 0xff);   /* popa */
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_of_instructions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
