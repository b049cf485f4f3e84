// SPDX-License-Identifier: GPL-2.0-or-later
/* Private to system/: what far transfers, IRET and delivery share. */
#ifndef SUBRING_ENGINE_SOFT_FAR_H
#define SUBRING_ENGINE_SOFT_FAR_H

#include "engine/soft/system/system.h"

/* What a far return has popped so far, and how it goes on. */
struct far_frame {
	uint64_t rip;
	uint16_t cs;
	unsigned size;	       /* of each element: 2, 4, 8 */
	unsigned release;      /* bytes of parameters that RET releases, on both stacks */
	bool always_ss;	       /* SS:rSP is there even when the level stays (IRET in 64-bit mode) */
	const uint64_t *flags; /* IRET: the popped RFLAGS; NULL: RET */
};

/*
 * Returns to @f, in protected mode. @s is the present stack after CS was popped (after RFLAGS, for
 * IRET).
 */
void far_return(struct cpu *c, struct stack *s, const struct far_frame *f);

/*
 * Raises #SS unless @n elements of @size bytes that are to be popped, or -@n that are to be pushed, lie in @s: far
 * CALL, RET, IRET and delivery check all of them before any is touched, and before the offset that they go to (SDM
 * vol. 2). A stack of 64-bit code has no limit.
 */
void stack_room(struct cpu *c, const struct stack *s, int n, unsigned size);

/* RFLAGS from a popped image of @size bytes, as far as the present CPL and IOPL allow. */
void iret_set_flags(struct cpu *c, uint64_t v, unsigned size);

/*
 * From here on a fault belongs to what comes after the instruction under way: RIP, and the RF that it began
 * with, are not put back.
 */
static inline void instruction_done(struct cpu *c)
{
	c->cur = NULL;
	c->dbg.rf_was = 0;
}

/*
 * VIF and VIP both set at the beginning of an instruction is #GP(0) (SDM vol. 3, 20.3.2 and 20.4). Only what
 * loads both can bring that about: called when IRET or a task switch has been completed.
 */
void virtual_interrupt_check(struct cpu *c);

/* --- task.c --- */

enum task_cause { TASK_JMP, TASK_CALL, TASK_IRET, TASK_GATE /* of the IDT */ };

/* What is delivered through a task gate of the IDT. */
struct task_event {
	uint64_t flags; /* the image of RFLAGS to save */
	bool has_error;
	uint32_t error;
	unsigned ext;	/* bit 0 of error codes */
};

/*
 * Switches to the task of TSS selector @sel; @e with TASK_GATE, else NULL. Privilege was checked: only
 * the TSS is. Raises #TS, #NP, #SS, #GP, #PF in the old or the new task.
 */
void task_switch(struct cpu *c, uint16_t sel, enum task_cause cause, const struct task_event *e);

#endif
