/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 64-bit ring 3: SYSCALL and SYSRET, INT with a stack of the IST, what ring 3 may not do, page protection (SDM vol. 3, 5.8.8, 6.14.5). */
#include "trace.inc"
guest:
	mask_pic			/* rings with interrupts on; a slow host may see a tick of the clock */
	enter_long_mode
	movq $ring0_top, tss + 4
	movq $ist_top, tss + 36		/* IST1 */
	load_tss
	mov $0xee01, %edx		/* for ring 3, by IST1 */
	gate 64, 0x40, by_int
	mov $0xee00, %edx
	gate 64, 0x41, next_step
	mov $0x8e00, %edx
	gate 64, 13, protection
	gate 64, 14, page_fault
	mov $0xc0000081, %ecx		/* STAR */
	xor %eax, %eax
	mov $SEL_USER32 << 16 | SEL_CODE64, %edx
	wrmsr
	mov $0xc0000082, %ecx		/* LSTAR */
	mov $by_syscall, %eax
	xor %edx, %edx
	wrmsr
	mov $0xc0000084, %ecx		/* FMASK: IF, DF */
	mov $0x600, %eax
	wrmsr
	andl $~4, pd + 10 * 8		/* 20 MiB: ring 0's */
	invlpg 0x1400000

	mark				/* IRET to ring 3, SYSCALL and SYSRET */
	push $SEL_USER_DATA + 3
	push $user_top
	push $0x202
	push $SEL_USER64 + 3
	lea user(%rip), %rax
	push %rax
	iretq

user:	mov %cs, %edi
	syscall				/* tells EDI, and what SYSCALL did */
	mov %ss, %edi
	syscall
	std
	mov %rsp, %rdi
	sub $user_top, %rdi
	syscall
	pushf
	pop %rdi
	cld
	and $0x600, %edi
	syscall
	int $0x41			/* INT by a gate with an IST */
	mov $0x77, %edi
	int $0x40
	int $0x41			/* what ring 3 may not do */
	lea 1f(%rip), %rbp
	hlt				/* #GP */
1:	lea 1f(%rip), %rbp
	out %al, $0x80			/* #GP: the bitmap is beyond the TSS */
1:	lea 1f(%rip), %rbp
	mov $0xc0000080, %ecx
	rdmsr				/* #GP */
1:	int $0x41			/* page protection */
	lea 1f(%rip), %rbp
	mov 0x1400000, %eax		/* #PF: user, read, present */
1:	lea 1f(%rip), %rbp
	mov %eax, 0x1400000		/* #PF: user, write, present */
1:	lea 1f(%rip), %rbp
	mov $0x8000000000, %rax
	mov (%rax), %eax		/* #PF: user, read, not present */
1:	int $0x41			/* arithmetic */
	mov $2, %eax			/* natively, where ring 3 is */
	cvtsi2ss %eax, %xmm3
	sqrtss %xmm3, %xmm3
	movd %xmm3, %edi
	syscall
	mov $200000, %ecx		/* long enough for a host to interrupt it */
	mov $1, %eax
1:	imul $1103515245, %eax, %eax
	add $12345, %eax
	dec %ecx
	jnz 1b
	mov %eax, %edi
	syscall
	mov $-1, %rdi
	syscall

by_syscall:
	mov %edi, %eax
	out %eax, $0x80
	cmp $-1, %edi
	je 1f
	mov %cs, %eax
	shl $16, %eax
	mov %ss, %ax
	out %eax, $0x80
	pushf
	pop %rax
	and $0x600, %eax
	out %eax, $0x80
	mov %r11, %rax
	and $0x600, %eax
	out %eax, $0x80
	sysretq
1:	xor %eax, %eax
	jmp done64
by_int:
	mov %edi, %eax
	out %eax, $0x80
	mov %rsp, %rax
	sub $ist_top, %rax		/* -40 */
	out %eax, $0x80
	mov 8(%rsp), %eax
	out %eax, $0x80
	iretq
next_step:
	push %rax
	incl steps
	say steps
	pop %rax
	iretq
protection:
	pop %rax
	out %eax, $0x80
	mov %rsp, %rax
	sub $ring0_top, %rax
	out %eax, $0x80
	mov %rbp, (%rsp)
	iretq
page_fault:
	pop %rax
	or $0xf0000, %eax
	out %eax, $0x80
	mov %cr2, %rax
	out %eax, $0x80
	mov %rbp, (%rsp)
	iretq
	.data
steps:	.long 0x5ec00001
	.bss
	.balign 16
	.skip 1024
ring0_top:
	.skip 1024
ist_top:
	.skip 1024
user_top:
