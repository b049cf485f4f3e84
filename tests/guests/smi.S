/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An SMI by the command port, from protected mode: the handler at SMBASE + 0x8000 sees the command, counts,
 * and returns. Without the enable bits there is none. Ends with 0, or with the number of what is wrong.
 */
#include "pvh.inc"
	.set COUNT, 0x50000
guest:
	mov $handler, %esi
	mov $0x38000, %edi
	mov $(handler_end - handler), %ecx
	rep movsb
	movl $0, COUNT
	mov $0x42, %al
	out %al, $0xb2
	mov $1, %ebx
	cmpl $0, COUNT
	jne 9f
	mov $0x630, %dx			/* SMI_EN: GBL_SMI_EN, APMC_EN */
	mov $0x21, %eax
	out %eax, %dx
	mov $0x12345678, %esi
	mov $0x42, %al
	out %al, $0xb2
	mov $2, %ebx
	cmpl $0x4201, COUNT		/* at once: before this instruction */
	jne 9f
	mov $3, %ebx
	cmp $0x12345678, %esi
	jne 9f
	mov $0x634, %dx			/* SMI_STS: APM_STS, cleared by writing 1 */
	in %dx, %eax
	mov $4, %ebx
	test $0x20, %al
	jz 9f
	out %eax, %dx
	in %dx, %eax
	mov $5, %ebx
	test $0x20, %al
	jnz 9f
	mov $0x43, %al
	out %al, $0xb2
	mov $6, %ebx
	cmpl $0x4302, COUNT
	jne 9f
	xor %ebx, %ebx
9:	mov %ebx, %eax
	jmp done

	.code16
handler:
	xor %esi, %esi
	mov $0x5000, %ax
	mov %ax, %ds
	in $0xb2, %al
	incb 0
	mov %al, 1
	rsm
handler_end:
	.code32
