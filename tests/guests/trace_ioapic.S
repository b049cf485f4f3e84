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
	call segments32
	call long_mode
	ljmp $SEL_CODE64, $1f
	.code64
1:	lidt idtr64
	mov $IOAPIC, %esi
	mov $LAPIC, %edi
	mov $0x8e00, %edx
	mov $0x51, %ecx
	mov $serial, %eax
	call gate64
	mov $0x52, %ecx
	mov $timer, %eax
	call gate64
	mov $0xff, %al			/* the 8259 pair is silent */
	out %al, $0x21
	out %al, $0xa1
	movl $0x1ff, 0xf0(%rdi)	/* on */
	mark				/* the UART: level */
	redirect 4, 0x8051		/* level, to APIC 0 */
	redirect 2, 0x0052
	mov $0xb, %al
	mov $0x3fc, %dx
	out %al, %dx
	mov $2, %al
	mov $0x3f9, %dx
	out %al, %dx
	sti
	hlt				/* the first one */
1:	cmpl $3, count			/* twice more: the handler leaves the line up until then */
	jne 1b
	cli
	mark				/* the timer: edges */
	mov $3, %ebx
1:	mov $0x30, %al
	out %al, $0x43
	mov $0x00, %al
	out %al, $0x40
	mov $0x04, %al
	out %al, $0x40
	sti
	hlt
	cli
	dec %ebx
	jnz 1b
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
