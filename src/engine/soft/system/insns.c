// SPDX-License-Identifier: GPL-2.0-or-later
/* bind_system: asks the families of system/ in turn. */
#include "engine/soft/system/system.h"

static insn_bind_fn *const families[] = {
	bind_segment, bind_int, bind_iret, bind_fastcall, bind_far, bind_io, bind_control_regs, bind_debug, bind_idle, bind_smm, bind_sysinsn,
};

insn_fn *bind_system(struct cpu *c, const struct insn *in)
{
	insn_fn *fn = NULL;

	for (unsigned i = 0; !fn && i < sizeof(families) / sizeof(families[0]); i++)
		fn = families[i](c, in);
	return fn;
}
