/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 1.2 thousand million instructions of an integer loop, then 0: for timing (docs/performance.md). */
#include "pvh.inc"
guest:
	mov $200000000, %ecx
	xor %eax, %eax
1:	add %ecx, %eax
	rol $5, %eax
	xor %eax, %edx
	lea 3(%edx,%eax,2), %esi
	dec %ecx
	jnz 1b
	xor %eax, %eax
	jmp done
