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

/* RFLAGS from a popped image of @size bytes, as far as the present CPL and IOPL allow. */
void iret_set_flags(struct cpu *c, uint64_t v, unsigned size);

enum task_cause { TASK_JMP, TASK_CALL, TASK_IRET, TASK_GATE };
_Noreturn void task_switch(struct cpu *c, uint16_t sel, enum task_cause cause);

#endif
