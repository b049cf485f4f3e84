// SPDX-License-Identifier: GPL-2.0-or-later
/* The linear address of the instruction that a vCPU runs next (SDM vol. 3, 3.3 and 3.4.4: the base of CS is 0 in 64-bit mode). */
#ifndef SUBRING_VM_LINEAR_H
#define SUBRING_VM_LINEAR_H

#include "engine/vcpu_state.h"

static inline uint64_t linear_rip(const struct vcpu_state *s)
{
	enum { EFER_LMA_BIT = 1 << 10, SEG_L_BIT = 1 << 13 };

	if ((s->efer & EFER_LMA_BIT) && (s->seg[SEG_CS].attr & SEG_L_BIT))
		return s->rip;
	return (s->seg[SEG_CS].base + s->rip) & 0xffffffff;
}

#endif
