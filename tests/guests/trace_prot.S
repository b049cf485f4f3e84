/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exceptions of 32-bit protected mode, each told by its vector, its error code and the distance of its EIP from where it
 * was to happen (SDM vol. 3, 6.15; segment limits and types: 5.3, 5.4).
 */
#include "trace.inc"

guest:
	call segments32
	fault_gates 32, 15
	gate 32, 0x40, soft_int
	mov %esp, stack_was

	expect
	xor %ecx, %ecx
	div %ecx			/* #DE */
9:	expect
	ud2				/* #UD */
9:	expect
	mov $0x1000, %eax
	mov %eax, %ds			/* #GP: beyond the GDT */
9:	expect
	mov $SEL_FREE, %eax
	movl $0x0000ffff, gdt_free
	movl $0x00cf1300, gdt_free + 4	/* writable data, not present */
	mov %eax, %es			/* #NP */
9:	expect
	mov $SEL_FREE, %eax
	mov %eax, %ss			/* #SS: the same */
9:	expect
	movl $0x000000ff, gdt_free	/* 256 bytes */
	movl $0x00409300, gdt_free + 4
	mov $SEL_FREE, %eax
	mov %eax, %fs
	mov %fs:0xfc, %eax
	mov %fs:0xfd, %eax		/* #GP: the last byte is beyond */
9:	expect
	movl $0x000000ff, gdt_free	/* expand down: from 0x100 on */
	movl $0x00409700, gdt_free + 4
	mov $SEL_FREE, %eax
	mov %eax, %fs
	mov %fs:0x100, %eax
	mov %fs:0xff, %eax		/* #GP */
9:	expect
	mov $SEL_CODE32, %eax
	mov %eax, %ds
	mov seed, %eax			/* code may be read */
	mov %eax, seed			/* #GP: and not written */
9:	expect
	mov $0, %eax
	mov %eax, %es
	mov %es:0, %eax			/* #GP: null */
9:	expect
	int $0x41			/* #GP: no such gate: the vector * 8 + 2 */
9:	expect
	int $0x40			/* a gate: its handler tells */
9:	expect
	ljmp $SEL_DATA, $0		/* #GP: data */
9:	expect
	mov $1, %ecx
	mov $0x80000000, %eax
	cltd
	mov $-1, %ecx
	idiv %ecx			/* #DE: too big */
9:	expect
	mov $0x7fffffff, %eax
	bound %eax, bounds		/* #BR */
9:
	xor %eax, %eax
	jmp done

/* On the stack: vector, code, EIP, CS, EFLAGS. It is left by a jump: IRET has a guest of its own. */
fault:
	mov $SEL_DATA, %eax
	mov %eax, %ss
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %fs
	pop %eax
	out %eax, $0x80
	pop %eax
	out %eax, $0x80
	pop %eax
	sub begun, %eax
	out %eax, $0x80
	mov stack_was, %esp
	jmp *behind
soft_int:
	push $0
	push $0x40
	jmp fault

	fault_stubs 15
	.data
bounds:	.long 0, 10
stack_was: .long 0
