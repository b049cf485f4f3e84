/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Two CPUs: INIT and startup IPI to the second, which comes up in real mode at the vector's page, then talk by memory and
 * by IPIs, each waiting in HLT for the other's, so that only one runs at a time (SDM vol. 3, 8.4.4, 11.6).
 */
#include "trace.inc"
	.set LAPIC, 0xfee00000
	.set PAGE, 0x9000
guest:
	call segments32
	mov $0x8e00, %edx
	gate 32, 0x71, ipi
	mask_pic
	movl $0x1ff, LAPIC + 0xf0
	mov $wake, %esi
	mov $PAGE, %edi
	mov $wake_end - wake, %ecx
	cld
	rep movsb
	mark
	movl $0x01000000, LAPIC + 0x310
	movl $0x4500, LAPIC + 0x300	/* INIT */
	movl $0x4600 + (PAGE >> 12), LAPIC + 0x300 /* startup */
	mov $5, %ebx
1:	sti
	hlt				/* for the other's IPI */
	cli
	say word
	incl word
	movl $0x01000000, LAPIC + 0x310
	movl $0x4071, LAPIC + 0x300
	dec %ebx
	jnz 1b
	sti
	hlt
	cli
	xor %eax, %eax
	jmp done
ipi:	push %eax
	say LAPIC + 0x20		/* whose */
	movl $0, LAPIC + 0xb0
	pop %eax
	iret

second:	mov $SEL_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $second_top, %esp
	lidt idtr32
	movl $0x1ff, LAPIC + 0xf0
1:	say word
	incl word
	movl $0, LAPIC + 0x310
	movl $0x4071, LAPIC + 0x300
	sti
	hlt
	cli
	jmp 1b

	.code16
wake:	mov %cs, %ax
	mov %ax, %ds
	mov %cs, %ax
	movzwl %ax, %eax
	out %eax, $0x80
	lgdtl wake_gdtr - wake
	mov %cr0, %eax
	and $~0x60000000, %eax
	or $1, %eax
	mov %eax, %cr0
	ljmpl $SEL_CODE32, $second
wake_gdtr: .word gdt_end - gdt - 1
	.long gdt
wake_end:
	.code32
	.data
word:	.long 0x100
	.bss
	.balign 16
	.skip 1024
second_top:
