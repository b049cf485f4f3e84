// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Chooses what runs a decoded instruction.
 *
 * What an instruction needs of the mode (CPL 0, protected mode) and of the CPU model is decided here, once:
 * the block cache keeps blocks of different CPL and mode apart, and a model never changes. What is not allowed, and what nobody runs,
 * gets a handler that raises.
 */
#include "engine/soft/interp/interp.h"
#include "engine/soft/soft.h"

static void raise_ud(struct cpu *c, const struct insn *in)
{
	cpu_raise(c, EXC_UD);
}

static void raise_gp(struct cpu *c, const struct insn *in)
{
	cpu_raise_error(c, EXC_GP, 0);
}

static insn_bind_fn *const families[] = {
	bind_integer, bind_control, bind_bits, bind_string, bind_vector_special, bind_system,
};

void interp_bind(struct cpu *c, struct insn *in)
{
	uint32_t attr = opcode_table[in->row].attr;

	in->fn = raise_ud;
	if (((attr & OP_PROT) && c->real) || !cpu_model_has(c->vm->model, opcode_table[in->row].feature))
		return;
	if ((attr & OP_CPL0) && c->cpl) {
		in->fn = raise_gp;
		return;
	}
	if (attr & OP_NATIVE) {
		if (vector_bind(c, in))
			in->fn = raise_ud;
		return;
	}
	/* First: with LOCK, a row of another family is not run as it stands there. */
	insn_fn *fn = bind_atomic(c, in);

	for (unsigned i = 0; !fn && i < sizeof(families) / sizeof(families[0]); i++)
		fn = families[i](c, in);
	if (fn)
		in->fn = fn;
}
