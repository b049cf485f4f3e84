/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The little guests of probe.c. Each is copied to guest-physical PROBE_CODE and entered there in the mode that its
 * row in probe.c says, in flat segments, with paging one to one where there is paging. Each leaves its answers at
 * PROBE_DATA and ends with a write to port PROBE_DONE. Addresses are absolute: nothing here is linked where it runs.
 */
#include "engine/kvm/probe_layout.h"

	.section .rodata

.macro guest name
	.globl probe_\name, probe_\name\()_end
	.balign 16
probe_\name:
.endm

.macro endguest name
	.globl probe_\name\()_end
probe_\name\()_end:
.endm

.macro done
	mov	$PROBE_DONE, %edx
	out	%al, %dx
1:	jmp	1b
.endm

/* Real mode: an operand in memory, a call, a string store, an operand of 32 bits. */
	.code16
guest real
	mov	$PROBE_STACK, %sp
	xor	%ax, %ax
	mov	%ax, %es
	mov	$PROBE_DATA, %di
	mov	$4, %cx
	mov	$0x1234, %ax
	cld
	rep stosw
	call	2f
	done
2:	addl	$0x11110000, PROBE_DATA
	ret
	endguest real

/*
 * Protected mode turns 32-bit paging on with 4 MiB pages (SDM vol. 3, 4.3): the second one maps physical 0 again.
 * Answers: the value read through it, CR0 as it is then.
 */
	.code32
guest paging
	mov	$PROBE_PD32, %eax
	mov	%eax, %cr3
	mov	%cr4, %eax
	or	$0x10, %eax		/* PSE */
	mov	%eax, %cr4
	mov	%cr0, %eax
	or	$0x80000000, %eax	/* PG */
	mov	%eax, %cr0
	movl	$0x5eaf00d5, PROBE_DATA + 16
	mov	0x400000 + PROBE_DATA + 16, %eax
	mov	%eax, PROBE_DATA
	mov	%cr0, %eax
	mov	%eax, PROBE_DATA + 4
	done
	endguest paging

/* 64-bit code, ring 0 or 3: PROBE_LOOPS turns between two port writes, for the stopwatch. */
	.code64
guest loop
	mov	$PROBE_START, %edx
	out	%al, %dx
	mov	$PROBE_LOOPS, %ecx
	xor	%eax, %eax
2:	add	%ecx, %eax
	dec	%ecx
	jnz	2b
	mov	%eax, PROBE_DATA
	done
	endguest loop

/* Ring 0: x87 and SSE2 arithmetic. Answers: 1 + 1 by x87, 4 sums by SSE2. */
guest vector
	fninit
	fld1
	fld1
	faddp
	fistpl	PROBE_DATA
	mov	$0x01010101, %eax
	movd	%eax, %xmm0
	pshufd	$0, %xmm0, %xmm0
	paddd	%xmm0, %xmm0
	movaps	%xmm0, PROBE_DATA + 16
	done
	endguest vector

/* Ring 0: UD2 goes through the IDT to a handler, which steps over it with IRETQ. Answers: the handler's mark, then ours. */
guest fault
	lea	3f(%rip), %rax
	mov	$PROBE_IDT + 6 * 16, %edi	/* the gate of #UD (SDM vol. 3, 6.14.1) */
	mov	%ax, (%rdi)
	movw	$PROBE_CS64, 2(%rdi)
	movw	$0x8e00, 4(%rdi)
	shr	$16, %rax
	mov	%ax, 6(%rdi)
	ud2
	movl	$0x600d, PROBE_DATA + 4
	done
3:	movl	$0x0bad0bad, PROBE_DATA
	addq	$2, (%rsp)
	iretq
	endguest fault

/* Ring 3, where SYSCALL's target is PROBE_SYSCALL bytes on. Answers: CS there, CR0 (which only ring 0 may read). */
guest syscall
	syscall
2:	jmp	2b
	.org	probe_syscall + PROBE_SYSCALL, 0x90
	mov	%cs, %eax
	mov	%eax, PROBE_DATA
	mov	%cr0, %rax
	mov	%eax, PROBE_DATA + 4
	done
	endguest syscall

/* Ring 0: a hypercall that nobody has. Answer: what it returns. */
guest vmmcall
	mov	$0x7fffffff, %eax
	vmmcall
	mov	%eax, PROBE_DATA
	done
	endguest vmmcall
guest vmcall
	mov	$0x7fffffff, %eax
	vmcall
	mov	%eax, PROBE_DATA
	done
	endguest vmcall

	.section .note.GNU-stack, "", @progbits
