/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes random values to random addresses from 0xb0000000 up, and reads them, 200,000 times; then ends with 0: status 1. */
#include "pvh.inc"
guest:
	mov $200000, %ebx
1:	call random
	mov %eax, %edi
	test $1, %ebx			/* every second time in the page of a chip */
	jz 2f
	and $0x00200fff, %edi
	or $0xfec00000, %edi
	jmp 3f
2:	and $0x4fffffff, %edi
	add $0xb0000000, %edi
	jc 4f
3:	call random
	mov (%edi), %ecx
	mov %eax, (%edi)
	mov %al, 1(%edi)
	movl $1, %ecx
	lock xadd %ecx, (%edi)
4:	dec %ebx
	jnz 1b
	xor %eax, %eax
	jmp done
