/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 32-bit protected mode: to ring 3 and back by IRET, interrupt gates, a call gate (SDM vol. 3, 5.8, 6.12; vol. 2, IRET). */
#include "trace.inc"
guest:
	mask_pic			/* rings with interrupts on; a slow host may see a tick of the clock */
	call segments32
	movl $SEL_DATA, tss + 8		/* SS0 */
	movl $ring0_top, tss + 4	/* ESP0 */
	load_tss
	mov $0xee00, %edx		/* for ring 3 */
	gate 32, 0x40, from_user
	gate 32, 3, breakpoint
	mov $0x8e00, %edx
	gate 32, 13, protection
	mov $call_gate, %eax		/* to ring 0, two words of parameters */
	mov %ax, gdt_free
	movw $SEL_CODE32, gdt_free + 2
	movw $0xec02, gdt_free + 4
	shr $16, %eax
	mov %ax, gdt_free + 6

	mark				/* INT3 and back */
	int3
	mark				/* ring 3 and back */
	push $SEL_USER_DATA + 3
	push $user_top
	push $0x202
	push $SEL_USER32 + 3
	push $user
	iret

user:	mov $SEL_USER_DATA + 3, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %cs, %esi
	int $0x40			/* tells ESI */
	mov %ss, %esi
	int $0x40
	mov $-2, %esi
	int $0x40
	mov $1f, %ebp
	cli				/* #GP: IOPL is 0 */
1:	mov $1f, %ebp
	mov $0, %edx
	out %al, %dx			/* #GP: no I/O bitmap */
1:	mov $1f, %ebp
	mov %cr0, %eax			/* #GP */
1:	mov $-3, %esi
	int $0x40
	push $0x11
	push $0x22
	lcall $SEL_FREE + 3, $0
	mov %esp, %esi
	sub $user_top, %esi		/* 0: the parameters are gone */
	int $0x40
	xor %esi, %esi
	dec %esi
	int $0x40			/* -1: the end */
	ud2

from_user:
	cmp $-1, %esi
	je 2f
	cmp $-2, %esi
	je 3f
	cmp $-3, %esi
	je 4f
	say %esi
	pushf				/* an interrupt gate clears IF, which IRET sets again */
	pop %eax
	and $0x200, %eax
	out %eax, $0x80
	mov 8(%esp), %eax
	and $0x200, %eax
	out %eax, $0x80
	iret
2:	mov %esp, %eax
	sub $ring0_top, %eax		/* -20: SS, ESP, EFLAGS, CS, EIP */
	out %eax, $0x80
	xor %eax, %eax
	jmp done
3:	mark				/* what ring 3 may not do */
	iret
4:	mark				/* a call gate */
	iret
breakpoint:
	say $3
	iret
protection:				/* with an error code */
	pop %eax
	out %eax, $0x80
	mov %ebp, (%esp)
	iret
call_gate:
	say 8(%esp)
	say 12(%esp)
	mov %cs, %eax
	out %eax, $0x80
	lret $8

	.bss
	.balign 16
	.skip 1024
ring0_top:
	.skip 1024
user_top:
