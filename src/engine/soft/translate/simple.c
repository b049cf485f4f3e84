// SPDX-License-Identifier: GPL-2.0-or-later
/* Instructions that are neither copied nor transfer control: LEA, and those that need no code. */
#include "engine/soft/translate/emit.h"

void emit_nothing(struct emit *e, const struct insn *in)
{
	(void)e;
	(void)in;
}

void emit_lea(struct emit *e, const struct insn *in)
{
	unsigned dst = in->reg;

	if (dst == RSP && in->base == RSP && in->index == GPR_ZERO && in->opsize == 8 && in->addrsize == 8) {
		asm_lea(&e->c, 8, RSP, host_at(RSP, in->disp));
		return;
	}
	if (in->opsize == 8 && gpr_is_home(dst)) {
		emit_ea(e, in, dst);
		return;
	}
	emit_ea(e, in, T0);
	if (in->opsize == 2) {
		unsigned r = emit_gpr(e, dst, T1);

		asm_rr(&e->c, 2, 0x89, T0, r);
		if (!gpr_is_home(dst))
			emit_gpr_put(e, dst, T1, T0);
		return;
	}
	if (in->opsize == 4)
		asm_mov(&e->c, 4, gpr_is_home(dst) ? dst : T0, T0);
	if (!gpr_is_home(dst))
		emit_gpr_put(e, dst, T0, T1);
}
