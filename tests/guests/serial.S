/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes "ok\n" to COM1, byte by byte and with REP OUTSB, and ends with 0. */
#include "pvh.inc"
guest:
	mov $0x3f8, %dx
	mov $'o', %al
	out %al, %dx
	mov $rest, %esi
	mov $2, %ecx
	rep outsb
	xor %eax, %eax
	jmp done
rest:	.ascii "k\n"
