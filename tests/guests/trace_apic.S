/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC in 64-bit code: its timer once and periodically, counted and not timed; interrupts to itself with
 * priorities and the TPR (CR8); then the same in x2APIC mode (SDM vol. 3, 11.5.4, 11.6.1, 11.8.3, 11.12).
 */
#include "trace.inc"
	.set LAPIC, 0xfee00000

.macro x2write reg, value
	mov $0x800 + \reg, %ecx
	mov $\value, %eax
	xor %edx, %edx
	wrmsr
.endm

guest:
	enter_long_mode
	mov $0x8e00, %edx
	gate 64, 0x51, timer
	gate 64, 0x61, low
	gate 64, 0x81, high
	mask_pic
	mov $LAPIC, %edi
	movl $0x1ff, 0xf0(%rdi)

	mark				/* the timer once */
	mov $0, %r15d			/* EOI by memory */
	movl $0xb, 0x3e0(%rdi)		/* divided by 1 */
	movl $0x51, 0x320(%rdi)
	movl $50000, 0x380(%rdi)
	sti
	hlt
	cli
	mark				/* the timer again and again: the first three count */
	movl $0, ticks
	movl $0x20051, 0x320(%rdi)
	movl $300000, 0x380(%rdi)
1:	sti
	hlt
	cli
	cmpl $3, ticks
	jb 1b
	movl $0, 0x380(%rdi)
	movl $0x10051, 0x320(%rdi)
	sti				/* one more may have come meanwhile */
	nop
	nop
	cli
	mark				/* to itself */
	movl $0x40061, 0x300(%rdi)	/* both at once: the higher one first */
	movl $0x40081, 0x300(%rdi)
	sti
	nop
	nop
	cli
	mark				/* priorities */
	mov $8, %eax			/* CR8: up to 0x8f waits */
	mov %rax, %cr8
	movl $0x40061, 0x300(%rdi)
	movl $0x40081, 0x300(%rdi)
	sti
	nop
	cli
	say 0x230(%rdi)			/* they wait in the IRR */
	say 0x240(%rdi)
	mov $7, %eax			/* 0x81 alone */
	mov %rax, %cr8
	sti
	nop
	nop
	cli
	say 0x80(%rdi)			/* TPR */
	xor %eax, %eax
	mov %rax, %cr8
	sti
	nop
	nop
	cli

	mov $0x1b, %ecx			/* x2APIC */
	rdmsr
	bts $10, %eax
	wrmsr
	mov $1, %r15d
	mark				/* x2APIC */
	movl $0, ticks
	x2write 0x3e, 0xb
	x2write 0x32, 0x51
	x2write 0x38, 50000
	sti
	hlt
	cli
	x2write 0x3f, 0x61		/* self IPI */
	x2write 0x3f, 0x81
	sti
	nop
	nop
	cli
	mov $0x802, %ecx
	rdmsr
	out %eax, $0x80
	mov $0x808, %ecx
	rdmsr
	out %eax, $0x80
	xor %eax, %eax
	jmp done64

timer:	push %rax
	incl ticks
	cmpl $3, ticks
	ja 1f
	say $0x51
	jmp 1f
low:	push %rax
	say $0x61
	jmp 1f
high:	push %rax
	say $0x81
1:	push %rcx
	push %rdx
	test %r15d, %r15d
	jnz 2f
	movl $0, 0xb0(%rdi)
	jmp 3f
2:	x2write 0x0b, 0
3:	pop %rdx
	pop %rcx
	pop %rax
	iretq
	.data
ticks:	.long 0
