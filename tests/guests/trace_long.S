/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 64-bit ring 0: exceptions with their error codes and CR2 (SDM vol. 3, 6.14, 6.15, 4.7), x87 and SSE, CMPXCHG16B, MSRs, the
 * 64-bit stack alignment of interrupts, page protection by WP.
 */
#include "trace.inc"

guest:
	enter_long_mode
	fault_gates 64, 20

	expect
	xor %ecx, %ecx
	div %rcx			/* #DE */
9:	expect
	ud2				/* #UD */
9:	expect
	mov $0x8000000000000000, %rax
	mov (%rax), %rax		/* #GP: not canonical */
9:	expect
	mov $0x8000000000000000, %rbp
	mov (%rbp), %rax		/* #SS: the same by the stack's segment */
9:	expect
	mov $0xc000000000, %rax
	mov (%rax), %rax		/* #PF: not present, read */
9:	expect
	mov $0xc000000123, %rax
	mov %rax, (%rax)		/* #PF: not present, write */
9:	expect
	mov $0xc000000000, %rax
	jmp *%rax			/* #PF: not present (a fetch tells itself only with NX or SMEP) */
9:	mov %cr0, %rax
	bts $16, %rax			/* WP */
	mov %rax, %cr0
	andl $~2, pd + 8 * 8		/* 16 MiB: read only */
	invlpg 0x1000000
	expect
	mov 0x1000000, %eax
	mov %eax, 0x1000000		/* #PF: present, write */
9:	mov %cr0, %rax
	btr $16, %rax
	mov %rax, %cr0
	movl $0x77, 0x1000000
	say 0x1000000
	movl $0x80000000, pd + 9 * 8 + 4 /* 18 MiB: a reserved bit (NX with EFER.NXE = 0) */
	invlpg 0x1200000
	expect
	mov 0x1200000, %eax		/* #PF: reserved */
9:	expect
	mov $0xc0000080, %ecx
	mov $0xffffffff, %eax
	mov $0xffffffff, %edx
	wrmsr				/* #GP: reserved bits of EFER */
9:	expect
	mov %cr4, %rax
	bts $63, %rax
	mov %rax, %cr4			/* #GP */
9:	expect
	mov $0x80000000, %eax
	mov %rax, %cr0			/* #GP: PG without PE */
9:	mark
	mov $0xc0000102, %ecx		/* KERNEL_GS_BASE */
	mov $0x12345678, %eax
	mov $0xffff8000, %edx
	wrmsr
	swapgs
	mov $0xc0000101, %ecx
	rdmsr
	out %eax, $0x80
	mov %edx, %eax
	out %eax, $0x80
	swapgs
	expect
	mov %cr0, %rax
	bts $3, %rax			/* TS */
	mov %rax, %cr0
	fldz				/* #NM */
9:	mark
	clts
	fninit
	fldpi
	fld1
	faddp
	fistl number
	say number
	mark
	mov $3, %eax
	cvtsi2sd %eax, %xmm0
	sqrtsd %xmm0, %xmm0
	movq %xmm0, %rax
	out %eax, $0x80
	shr $32, %rax
	out %eax, $0x80
	movl $0, number			/* unmasked invalid operation of SSE */
	movl $0x1f00, number
	ldmxcsr number
	expect
	pxor %xmm1, %xmm1
	divsd %xmm1, %xmm1		/* #XM */
9:	movl $0x1f80, number
	ldmxcsr number
	mark
	xor %eax, %eax
	xor %edx, %edx
	mov $0x1111, %ebx
	mov $0x2222, %ecx
	cmpxchg16b pair
	say pair
	say pair + 8
	expect
	movaps number + 4, %xmm0	/* #GP: not aligned */
9:	mov $stack_top - 3, %rsp	/* an interrupt aligns it */
	expect
	int3
9:
	xor %eax, %eax
	jmp done64

/* On the stack: vector, code, RIP, CS, RFLAGS, RSP, SS. */
fault:	pop %rax
	mov %eax, %ecx
	out %eax, $0x80
	pop %rax
	out %eax, $0x80
	mov (%rsp), %rax
	sub begun, %rax
	out %eax, $0x80
	mov %esp, %eax
	and $15, %eax
	out %eax, $0x80
	cmp $14, %ecx
	jne 1f
	mov %cr2, %rax
	out %eax, $0x80
	shr $32, %rax
	out %eax, $0x80
1:	mov behind, %rax
	mov %rax, (%rsp)
	iretq

	fault_stubs 20
	.data
	.balign 16
pair:	.quad 0, 0
number:	.quad 0, 0
