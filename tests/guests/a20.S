/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The A20 gate, by port 0x92 and by the 8042: while it is closed the second megabyte is the first one. Runs from
 * the first megabyte, since it would vanish otherwise. Ends with 0, or with the number of what is wrong.
 */
#include "pvh.inc"
	.set LOW, 0x30000
	.set HIGH, 0x130000
guest:
	mov $inside, %esi
	mov $0x20000, %edi
	mov $(inside_end - inside), %ecx
	rep movsb
	mov $0x20000, %eax
	jmp *%eax

/* Position-independent: it is copied. */
inside:
	mov $0x80000, %esp
	movl $0x11111111, LOW
	movl $0x22222222, HIGH
	mov $1, %ebx
	cmpl $0x11111111, LOW
	jne 9f
	in $0x92, %al
	and $0xfd, %al
	out %al, $0x92
	mov $2, %ebx
	cmpl $0x11111111, HIGH		/* the first megabyte shows through */
	jne 9f
	movl $0x33333333, HIGH
	mov $3, %ebx
	cmpl $0x33333333, LOW
	jne 9f
	cmpl $0, 0x330000		/* other megabytes are where they were */
	mov $4, %ebx
	jne 9f
	in $0x92, %al
	or $2, %al
	out %al, $0x92
	mov $5, %ebx
	cmpl $0x22222222, HIGH
	jne 9f
	mov $0xdd, %al			/* the 8042's commands */
	out %al, $0x64
	mov $6, %ebx
	cmpl $0x33333333, HIGH
	jne 9f
	in $0x92, %al
	mov $7, %ebx
	test $2, %al
	jnz 9f
	mov $0xd1, %al
	out %al, $0x64
	mov $0xdf, %al
	out %al, $0x60
	mov $8, %ebx
	cmpl $0x22222222, HIGH
	jne 9f
	xor %ebx, %ebx
9:	in $0x92, %al
	or $2, %al
	out %al, $0x92
	mov %ebx, %eax
	mov $0xf4, %dx
	out %al, %dx
1:	hlt
	jmp 1b
inside_end:
