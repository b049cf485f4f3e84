/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports and device memory: all sizes, string I/O both ways, operands of every kind, an access that crosses into nothing. */
#include "trace.inc"
	.set NOTHING, 0xd0000000	/* PCI memory that no device has */
	.set IOAPIC, 0xfec00000
guest:
	call segments32
	mark				/* ports */
	mov $0x11, %al			/* immediate ports */
	out %al, $0x80
	mov $0x2222, %ax
	out %ax, $0x80
	mov $0x5432, %dx		/* nobody's */
	in %dx, %al
	movzbl %al, %eax
	out %eax, $0x80
	in %dx, %ax
	movzwl %ax, %eax
	out %eax, $0x80
	in %dx, %eax
	out %eax, $0x80
	mark				/* strings out */
	mov $0x80, %dx
	mov $text, %esi
	mov $3, %ecx
	cld
	rep outsb
	mov $2, %ecx
	rep outsw
	mov $2, %ecx
	rep outsl
	mov $text + 3, %esi
	mov $4, %ecx
	std
	rep outsb
	cld
	outsb
	xor %ecx, %ecx
	rep outsb			/* none */
	mov %esi, %eax
	sub $text, %eax
	out %eax, $0x80
	mark				/* strings in */
	mov $0x71, %dx			/* what is read must be the same each time: RAM of the clock chip */
	mov $0x40, %al
	out %al, $0x70
	mov $0x5a, %al
	out %al, $0x71
	mov $buffer, %edi
	mov $5, %ecx
	rep insb
	mov $0x5432, %dx
	mov $2, %ecx
	rep insl
	say buffer
	say buffer + 4

	mark				/* PCI configuration */
	mov $0xcf8, %dx			/* the host bridge */
	mov $0x80000000, %eax
	out %eax, %dx
	mov $0xcfc, %dx
	in %dx, %eax
	out %eax, $0x80
	mov $0xcfe, %dx
	in %dx, %ax
	mov $0xb0000000, %ebx		/* the same by memory */
	mov (%ebx), %eax
	out %eax, $0x80
	movzwl 2(%ebx), %eax
	out %eax, $0x80
	movsbl 1(%ebx), %eax
	out %eax, $0x80

	mark				/* a device's registers */
	mov $IOAPIC, %ebx
	movl $1, (%ebx)			/* version */
	say 0x10(%ebx)
	movl $0x20, (%ebx)
	movl $0x00010077, 0x10(%ebx)
	mov 0x10(%ebx), %ecx
	push 0x10(%ebx)			/* memory to memory */
	pop %eax
	out %eax, $0x80
	orl $0x100, 0x10(%ebx)		/* read, change, write */
	say 0x10(%ebx)
	movl $0x22, %eax
	xchg %eax, (%ebx)
	incl (%ebx)
	testl $0x23, (%ebx)
	setz %al
	movzbl %al, %eax
	out %eax, $0x80
	cmpl $0x23, (%ebx)
	sete %al
	movzbl %al, %eax
	out %eax, $0x80

	mark				/* where no device is */
	mov $NOTHING, %ebx
	mov (%ebx), %al
	mov %al, 1(%ebx)
	mov %ax, 2(%ebx)
	mov (%ebx), %ax
	mov %eax, (%ebx)
	movb $0x12, (%ebx)
	movl $0x12345678, 4(%ebx)
	mark				/* strings there */
	mov %ebx, %edi			/* strings in device memory */
	mov $0x33, %al
	mov $3, %ecx
	rep stosb
	mov %ebx, %esi
	mov $buffer, %edi
	mov $2, %ecx
	rep movsl
	mov $text, %esi
	mov %ebx, %edi
	mov $2, %ecx
	rep movsw
	mov %ebx, %edi
	mov $0xff, %al
	mov $3, %ecx
	repne scasb
	mov %ecx, %eax
	out %eax, $0x80
	xor %eax, %eax
	jmp done
	.data
	.balign 8
text:	.ascii "string operations"
	.balign 8
buffer:	.fill 32
