/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exceptions of 32-bit protected mode, each told by its vector, its error code and the distance of its EIP from where it
 * was to happen (SDM vol. 3, 6.15; segment limits and types: 5.3, 5.4).
 */
#include "trace.inc"

/* What follows until 9: must fault; then it goes on behind it. */
.macro expect
	mark
	mov $9f, %ebp
	mov $8f, %ebx
8:
.endm

.macro stub vector, code
	.if \code == 0
	push $0
	.endif
	push $\vector
	jmp fault
.endm

guest:
	call segments32
	mov $0x8e00, %edx
	xor %ecx, %ecx
1:	mov stubs(, %ecx, 4), %eax
	call gate32
	inc %ecx
	cmp $15, %ecx
	jne 1b
	mov $0x40, %ecx
	mov $soft_int, %eax
	call gate32
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
	sub %ebx, %eax
	out %eax, $0x80
	mov stack_was, %esp
	jmp *%ebp
soft_int:
	push $0
	push $0x40
	jmp fault

s0:	stub 0, 0
s1:	stub 1, 0
s2:	stub 2, 0
s3:	stub 3, 0
s4:	stub 4, 0
s5:	stub 5, 0
s6:	stub 6, 0
s7:	stub 7, 0
s8:	stub 8, 1
s9:	stub 9, 0
s10:	stub 10, 1
s11:	stub 11, 1
s12:	stub 12, 1
s13:	stub 13, 1
s14:	stub 14, 1
	.data
stubs:	.long s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14
bounds:	.long 0, 10
stack_was: .long 0
