/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes random values of all sizes to random ports, and reads them, 200,000 times; then ends with 0: status 1. */
#include "pvh.inc"
guest:
	mov $200000, %ebx
1:	call random
	mov %eax, %edx
	cmp $0xf4, %dx
	je 2f
	call random
	test $0x10000, %edx
	jz 3f
	out %al, %dx
	in %dx, %al
	jmp 2f
3:	test $0x20000, %edx
	jz 4f
	out %ax, %dx
	in %dx, %ax
	jmp 2f
4:	out %eax, %dx
	in %dx, %eax
2:	dec %ebx
	jnz 1b
	xor %eax, %eax
	jmp done
