/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupts by the 8259 pair: the 8254's counter 0 in mode 0 (one interrupt for each load), waited for by HLT; then
 * the UART's line, which is up already (Intel 8259A data sheet; SDM vol. 3, 6.8.1 for STI's shadow).
 */
#include "trace.inc"
guest:
	enter_long_mode
	mov $0x8e00, %edx
	gate 64, 0x20, timer
	gate 64, 0x24, serial
	mov $0x11, %al			/* ICW1 to ICW4 of both */
	out %al, $0x20
	out %al, $0xa0
	mov $0x20, %al
	out %al, $0x21
	mov $0x28, %al
	out %al, $0xa1
	mov $4, %al
	out %al, $0x21
	mov $2, %al
	out %al, $0xa1
	mov $1, %al
	out %al, $0x21
	out %al, $0xa1
	mov $0xfe, %al			/* IRQ 0 alone */
	out %al, $0x21
	mov $0xff, %al
	out %al, $0xa1
	mark				/* the timer */
	three_ticks
	mark				/* the UART */
	mov $0xef, %al			/* IRQ 4 alone: the transmitter is empty, so that it comes at once */
	out %al, $0x21
	uart_interrupt
	cli
	xor %eax, %eax
	jmp done64
timer:	push %rax
	say $0x7001
	mov $0x0b, %al			/* in service */
	out %al, $0x20
	in $0x20, %al
	movzbl %al, %eax
	out %eax, $0x80
	mov $0x20, %al
	out %al, $0x20
	pop %rax
	iretq
serial:	push %rax
	push %rdx
	say $0x7004
	mov $0x3fa, %dx
	in %dx, %al
	xor %eax, %eax
	mov $0x3f9, %dx
	out %al, %dx
	mov $0x20, %al
	out %al, $0x20
	pop %rdx
	pop %rax
	iretq
