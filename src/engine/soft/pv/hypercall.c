// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KVM's hypercalls (hypercalls.rst), by VMCALL or VMMCALL: number in RAX, arguments in RBX, RCX, RDX, RSI, the result in
 * RAX. Outside 64-bit mode all are 32 bits wide. At CPL 0 only.
 *
 * Each is finished here. One that the CPU model does not announce is as unknown as any other number.
 */
#include "engine/soft/interp/interp.h"
#include "engine/soft/pv/pv.h"
#include "engine/soft/soft.h"

#include <sched.h>

enum { HC_VAPIC_POLL_IRQ = 1, HC_KICK_CPU = 5, HC_SEND_IPI = 10, HC_SCHED_YIELD = 11 };
enum { HC_EPERM = 1, HC_EINVAL = 22, HC_ENOSYS = 1000 };
enum { ICR_VECTOR = 0xff, ICR_MODE = 7 << 8, ICR_LOGICAL = 1 << 11, ICR_SHORTHAND = 3 << 18 };

static struct cpu *by_apic_id(struct cpu *c, uint64_t id)
{
	return id < c->vm->count ? c->vm->cpu[id] : NULL;
}

/* Those of the CPUs named by @bits, of which bit 0 is APIC ID @min; how many got it. */
static unsigned send_to(struct cpu *c, uint64_t bits, uint64_t min, uint32_t icr)
{
	unsigned sent = 0;

	for (uint64_t id = min; bits && id < c->vm->count; id++, bits >>= 1) {
		const struct engine_msi msi = { .address = 0xfee00000 | id << 12, .data = icr & (ICR_VECTOR | ICR_MODE) };

		if ((bits & 1) && !lapic_deliver(c->vm, &msi))
			sent++;
	}
	return sent;
}

static int64_t send_ipi(struct cpu *c, const uint64_t arg[4], bool wide)
{
	uint64_t min = arg[2], next = min + (wide ? 64 : 32);
	uint32_t icr = (uint32_t)arg[3];

	if (arg[3] & (ICR_LOGICAL | ICR_SHORTHAND))
		return -HC_EINVAL;
	return send_to(c, arg[0], min, icr) + (next > min ? send_to(c, arg[1], next, icr) : 0);
}

static int64_t kick(struct cpu *c, uint64_t id)
{
	struct cpu *to = by_apic_id(c, id);

	if (to)
		cpu_request(to, REQ_KICKED);
	return 0;
}

static int64_t yield_to(struct cpu *c, uint64_t id)
{
	struct cpu *to = by_apic_id(c, id);

	if (to && to != c)
		sched_yield();
	return 0;
}

static int64_t answer(struct cpu *c, uint64_t nr, const uint64_t arg[4], bool wide)
{
	const struct cpu_model *m = c->vm->model;

	if (c->cpl)
		return -HC_EPERM;
	switch (nr) {
	case HC_VAPIC_POLL_IRQ: return 0; /* the block ends here: what waits is looked at */
	case HC_KICK_CPU:
		if (cpu_model_has(m, FEAT_KVM_PV_UNHALT))
			return kick(c, arg[1]);
		break;
	case HC_SEND_IPI:
		if (cpu_model_has(m, FEAT_KVM_PV_IPI))
			return send_ipi(c, arg, wide);
		break;
	case HC_SCHED_YIELD:
		if (cpu_model_has(m, FEAT_KVM_PV_SCHED_YIELD))
			return yield_to(c, arg[0]);
		break;
	}
	return -HC_ENOSYS;
}

void pv_hypercall(struct cpu *c, const struct insn *in)
{
	static const uint8_t regs[4] = { RBX, RCX, RDX, RSI };
	bool wide = c->mode == INSN_MODE64;
	unsigned size = wide ? 8 : 4;
	uint64_t arg[4];

	c->pv.called = true;
	for (unsigned i = 0; i < 4; i++)
		arg[i] = gpr_get(c, regs[i] * 8u, size);
	gpr_put(c, RAX * 8, size, (uint64_t)answer(c, gpr_get(c, RAX * 8, size), arg, wide));
	c->attn = c->brk = 1;
}

/* --- kicks --- */

/* HLT is over; MWAIT's wait may end for any reason, and does. */
void pv_kicked(struct cpu *c)
{
	if (c->activity != VCPU_HALTED) {
		c->pv.kicked = true;
		return;
	}
	c->activity = VCPU_RUNNING;
	c->halt_told = 0;
	if (c->monitor.waiting)
		monitor_finish(c);
}

bool pv_halt_over(struct cpu *c)
{
	bool over = c->pv.kicked;

	c->pv.kicked = false;
	return over;
}
