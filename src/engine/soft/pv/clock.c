// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kvmclock (msr.rst, MSR_KVM_SYSTEM_TIME_NEW) and the wall clock (MSR_KVM_WALL_CLOCK_NEW).
 *
 * VM time is an affine function of the guest's TSC, through pauses, saving and loading. So an area is written once, and
 * again only when the vCPU's TSC moves against the VM clock or the VM comes from another engine. All vCPUs get the
 * same line, from VM time 0 on: whenever they read it, and whenever it was written, they agree to the nanosecond. That is what
 * the "stable" flag says. The line's slope has 32 significant bits: the clock is off by at most 20 us a day.
 *
 * The wall clock is the time of day at VM time 0, as the board's real-time clock has it (struct vm_clock: epoch_s).
 */
#include "engine/soft/pv/pv.h"
#include "engine/soft/soft.h"

#include <string.h>

enum { NS_PER_S = 1000000000, FLAG_TSC_STABLE = 1, FLAG_GUEST_STOPPED = 2, SYSTEM_TIME_ENABLED = 1 };

struct time_info {
	uint32_t version, pad0;
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags, pad[2];
};
_Static_assert(sizeof(struct time_info) == 32, "the interface's layout");

struct wall_clock {
	uint32_t version, sec, nsec;
};

/* ns = (ticks shifted left by *shift) * *mul / 2^32, with as many bits in *mul as there is room for. */
static void scale(uint64_t hz, uint32_t *mul, int8_t *shift)
{
	unsigned __int128 m = 0;
	int s;

	for (s = -31; s <= 31; s++) {
		m = ((unsigned __int128)NS_PER_S << (32 - s)) / (hz ? hz : 1);
		if (m <= UINT32_MAX)
			break;
	}
	*mul = m > UINT32_MAX ? UINT32_MAX : (uint32_t)m;
	*shift = (int8_t)(s > 31 ? 31 : s);
}

/*
 * Odd while the rest is being written, and never the version of before. Both parts are whole: the area is in writable memory or
 * nothing is written at all.
 */
static void write_versioned(struct cpu *c, uint64_t gpa, uint32_t *version, const void *area, unsigned size)
{
	uint32_t old;

	if (!pv_area_writable(c, gpa, size) || pv_area_read(c, gpa, &old, sizeof(old)))
		return;
	*version = (old + 1) | 1;
	if (pv_area_write(c, gpa, version, sizeof(*version)))
		return;
	atomic_thread_fence(memory_order_seq_cst);
	pv_area_write(c, gpa, area, size);
	atomic_thread_fence(memory_order_seq_cst);
	++*version;
	pv_area_write(c, gpa, version, sizeof(*version));
}

void pv_clock_update(struct cpu *c)
{
	uint64_t gpa = c->pv.system_time & ~(uint64_t)SYSTEM_TIME_ENABLED;
	struct time_info t = { .tsc_timestamp = c->tsc_delta }, old;

	c->pv.clock_stale = false;
	if (!(c->pv.system_time & SYSTEM_TIME_ENABLED) || pv_area_read(c, gpa, &old, sizeof(old)))
		return;
	scale(c->vm->clock.tsc_hz, &t.tsc_to_system_mul, &t.tsc_shift);
	t.flags = old.flags & FLAG_GUEST_STOPPED; /* the guest's to clear */
	if (cpu_model_has(c->vm->model, FEAT_KVM_CLOCK_STABLE))
		t.flags |= FLAG_TSC_STABLE;
	write_versioned(c, gpa, &t.version, &t, sizeof(t));
}

void pv_wall_clock_write(struct cpu *c, uint64_t gpa)
{
	struct wall_clock w = { .sec = (uint32_t)c->vm->clock.epoch_s };

	if (gpa)
		write_versioned(c, gpa, &w.version, &w, sizeof(w));
}
