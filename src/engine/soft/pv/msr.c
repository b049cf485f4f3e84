// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The MSRs of KVM's interfaces (msr.rst), and what of them is saved. cpu_model_has_msr has already seen to those that the
 * CPU model does not announce.
 *
 * An address that is no memory is #GP for the EOI's word; the others take it, and then do nothing. Bits that
 * must be 0 are #GP. The wall clock's MSR is one for the VM.
 */
#include "engine/soft/mmu/mmu.h"
#include "engine/soft/pv/pv.h"
#include "engine/soft/soft.h"

enum { MSR_WALL_CLOCK_OLD = 0x11, MSR_SYSTEM_TIME_OLD = 0x12 };
#define MSR_WALL_CLOCK	0x4b564d00u
#define MSR_SYSTEM_TIME 0x4b564d01u
#define MSR_STEAL_TIME	0x4b564d03u
#define MSR_EOI		0x4b564d04u

enum { ENABLED = 1, STEAL_RESERVED = 0x3e, EOI_RESERVED = 2 };

int pv_msr_read(struct cpu *c, uint32_t index, uint64_t *value)
{
	switch (index) {
	case MSR_WALL_CLOCK_OLD:
	case MSR_WALL_CLOCK: *value = atomic_load(&c->vm->wall_clock_msr); return 0;
	case MSR_SYSTEM_TIME_OLD:
	case MSR_SYSTEM_TIME: *value = c->pv.system_time; return 0;
	case MSR_STEAL_TIME: *value = c->pv.steal_time; return 0;
	case MSR_EOI: *value = c->pv.eoi; return 0;
	default: return -1;
	}
}

static int eoi_write(struct cpu *c, uint64_t v)
{
	if ((v & EOI_RESERVED) || ((v & ENABLED) && !pv_area_writable(c, v & ~(uint64_t)ENABLED, 4)))
		return -1;
	lapic_eoi_settle(c);
	c->pv.eoi = v;
	return 0;
}

int pv_msr_write(struct cpu *c, uint32_t index, uint64_t v)
{
	switch (index) {
	case MSR_WALL_CLOCK_OLD:
	case MSR_WALL_CLOCK:
		atomic_store(&c->vm->wall_clock_msr, v);
		pv_wall_clock_write(c, v);
		return 0;
	case MSR_SYSTEM_TIME_OLD:
	case MSR_SYSTEM_TIME:
		c->pv.system_time = v;
		pv_clock_update(c);
		return 0;
	case MSR_STEAL_TIME:
		if (v & STEAL_RESERVED)
			return -1;
		pv_steal_set(c, v);
		return 0;
	case MSR_EOI: return eoi_write(c, v);
	default: return -1;
	}
}

void pv_enter(struct cpu *c)
{
	if (c->pv.clock_stale)
		pv_clock_update(c);
	if (c->pv.steal_time & ENABLED)
		pv_steal_enter(c);
}

void pv_leave(struct cpu *c)
{
	if (c->pv.eoi_offered)
		lapic_eoi_settle(c);
	if (c->pv.steal_time & ENABLED)
		pv_steal_leave(c);
}

void pv_reset(struct cpu *c, bool init)
{
	c->pv.system_time = c->pv.steal_time = c->pv.eoi = 0;
	c->pv.eoi_offered = c->pv.kicked = false;
	c->pv.called &= init;
	if (!init && !c->index)
		atomic_store(&c->vm->wall_clock_msr, 0);
}

/* --- saved state --- */

bool pv_state_valid(const struct cpu *c, const struct vcpu_state *s)
{
	const struct cpu_model *m = c->vm->model;

	if ((s->pv_system_time || s->pv_wall_clock) && !cpu_model_has(m, FEAT_KVM_CLOCK))
		return false;
	if (s->pv_steal_time & STEAL_RESERVED || (s->pv_steal_time && !cpu_model_has(m, FEAT_KVM_STEAL_TIME)))
		return false;
	if (s->pv_eoi & EOI_RESERVED || (s->pv_eoi && !cpu_model_has(m, FEAT_KVM_PV_EOI)))
		return false;
	return s->pv_kicked <= 1 && s->pv_called <= 1;
}

/* A kick that is still on its way has ended the halt: who looks must not think that nothing can. */
void pv_get_state(struct cpu *c, struct vcpu_state *s)
{
	s->pv_system_time = c->pv.system_time;
	s->pv_steal_time = c->pv.steal_time;
	s->pv_eoi = c->pv.eoi;
	s->pv_wall_clock = atomic_load(&c->vm->wall_clock_msr);
	s->pv_called = c->pv.called;
	s->pv_kicked = c->pv.kicked || (atomic_load(&c->req) & REQ_KICKED);
	if (s->pv_kicked && s->activity == VCPU_HALTED) {
		s->activity = VCPU_RUNNING;
		s->pv_kicked = 0;
	}
}

void pv_set_state(struct cpu *c, const struct vcpu_state *s)
{
	c->pv.system_time = s->pv_system_time;
	c->pv.steal_time = s->pv_steal_time;
	c->pv.eoi = s->pv_eoi;
	c->pv.eoi_offered = false;
	c->pv.called = s->pv_called;
	c->pv.kicked = s->pv_kicked;
	c->pv.clock_stale = true;
	atomic_store(&c->vm->wall_clock_msr, s->pv_wall_clock);
	atomic_fetch_and(&c->req, ~(uint32_t)REQ_KICKED);
}
