/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts by the I/O APIC: the UART's line, level-triggered, whose EOI comes back to it and raises it again while
 * it is up; the same one masked; the 8254 on pin 2 by edges (82093AA data sheet; SDM vol. 3, 11.8.5).
 */
#include "trace.inc"
	.set IOAPIC, 0xfec00000
	.set LAPIC, 0xfee00000

.macro redirect pin, low
	movl $0x10 + 2 * \pin, (%rsi)
	movl $\low, 0x10(%rsi)
.endm

guest:
	enter_long_mode
	mov $IOAPIC, %esi
	mov $LAPIC, %edi
	mov $0x8e00, %edx
	gate 64, 0x51, serial
	gate 64, 0x52, timer
	mask_pic
	movl $0x1ff, 0xf0(%rdi)	/* on */
	mark				/* the UART: level */
	redirect 4, 0x8051		/* level, to APIC 0 */
	redirect 2, 0x0052
	uart_interrupt
1:	cmpl $3, count			/* twice more: the handler leaves the line up until then */
	jne 1b
	cli
	mark				/* the timer: edges */
	three_ticks
	xor %eax, %eax
	jmp done64
serial:	push %rax
	push %rdx
	incl count
	say count
	cmpl $3, count
	jne 1f
	mov $0x3f9, %dx			/* no more */
	xor %eax, %eax
	out %al, %dx
1:	movl $0x10 + 8, (%rsi)		/* remote IRR is set */
	say 0x10(%rsi)
	movl $0, 0xb0(%rdi)
	pop %rdx
	pop %rax
	iretq
timer:	push %rax
	say $0x8052
	say 0x120(%rdi)		/* in service: vectors 0x40 to 0x5f */
	movl $0, 0xb0(%rdi)
	pop %rax
	iretq
	.data
count:	.long 0
