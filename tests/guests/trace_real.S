/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Real mode, entered from protected mode and left again (SDM vol. 3, 9.9, 20.1): segments by shifting, interrupts by the
 * table at 0, 16-bit and 32-bit operands and addresses, string moves, far calls.
 */
#include "trace.inc"
	.set LOW, 0x8000		/* where the 16-bit code runs */
guest:
	call segments32
	mov $real, %esi
	mov $LOW, %edi
	mov $real_end - real, %ecx
	cld
	rep movsb
	mov %esp, back_stack
	ljmp $SEL_CODE16, $LOW

back:	mov $SEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov back_stack, %esp
	mark				/* back in protected mode */
	xor %eax, %eax
	jmp done

	.code16
#define AT(label) (LOW + label - real)
real:	mov $SEL_DATA16, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov %cr0, %eax
	and $~1, %eax
	mov %eax, %cr0
	ljmp $0, $AT(1f)
1:	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %ss
	mov $0x7c00, %sp
	lidtw AT(real_idt)
	mark

	mov $0x1234, %ax		/* DS = 0x1234: 0x12340 */
	mov %ax, %ds
	movl $0xcafe0001, 0x10
	xor %ax, %ax
	mov %ax, %ds
	mov $0x1235, %ax
	mov %ax, %es
	say %es:0

	mark
	movw $AT(handler), 0x40 * 4	/* the interrupt table */
	movw $0, 0x40 * 4 + 2
	movw $AT(divide), 0
	movw $0, 2
	mov $0x4444, %si
	int $0x40
	xor %cx, %cx
	div %cx				/* #DE: a fault: the handler steps over it */
	mark
	mov $0x10, %ax			/* a copy upwards with overlap */
	mov %ax, %es
	mov $AT(text), %si
	mov $0x9000, %di
	mov $8, %cx
	cld
	rep movsb
	say %es:0x9000
	say %es:0x9004
	mov $0x9007, %si
	mov $0x9009, %di
	mov $0x10, %ax
	mov %ax, %ds
	mov $8, %cx
	std
	rep movsb
	cld
	say 0x9004
	xor %ax, %ax
	mov %ax, %ds
	mark
	lcall $LOW >> 4, $far_call - real
	mov %sp, %ax
	movzwl %ax, %eax
	out %eax, $0x80
	mov $0xffff, %ax		/* the stack wraps at 64K: the word at 0xfffe */
	xor %sp, %sp
	push %ax
	mov %sp, %ax
	movzwl %ax, %eax
	out %eax, $0x80
	mov $0x7c00, %sp
	mov $0xfff0, %ax		/* 20 bits and one more: A20 is open, so that this is beyond 1 MiB */
	mov %ax, %es
	mov 0x200, %ebx
	mov %es:0x300, %eax
	notl %es:0x300
	cmp 0x200, %ebx
	sete %bl
	mov %eax, %es:0x300
	movzbl %bl, %eax
	out %eax, $0x80

	lgdtl AT(real_gdtr)
	mov %cr0, %eax
	or $1, %eax
	mov %eax, %cr0
	ljmpl $SEL_CODE32, $back

handler:
	movzwl %si, %eax
	out %eax, $0x80
	mov %sp, %bp
	movzwl 2(%bp), %eax		/* the caller's CS */
	out %eax, $0x80
	iret
divide:	say $0xde
	mov %sp, %bp
	addw $2, (%bp)
	iret
far_call:
	mov %cs, %ax
	movzwl %ax, %eax
	out %eax, $0x80
	lret

text:	.ascii "realmode"
real_idt: .word 0x3ff
	.long 0
real_gdtr: .word gdt_end - gdt - 1
	.long gdt
real_end:
	.code32
	.data
back_stack: .long 0
