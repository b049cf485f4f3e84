// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stolen time (msr.rst, MSR_KVM_STEAL_TIME): how long the vCPU's thread has waited for a processor of the host while it had
 * guest code to run. That is the "run delay" of /proc/thread-self/schedstat, whose difference since the guest has named its area is
 * added to what the area holds. Time in HLT is not among it, for then the thread sleeps.
 *
 * The figure is brought up to date at timer interrupts, when a wait is over, and when an exit was finished, at most once a
 * LOOK_NS. The area's version is odd while it changes.
 *
 * "preempted" is 1 while the vCPU is not running (pv.h), and the guest adds 2 to ask for a flush of its TLB when it runs
 * again. A thread does not hear that the host's scheduler puts it aside, so in the middle of guest code it stays 0.
 */
#include "engine/soft/mmu/mmu.h"
#include "engine/soft/pv/pv.h"
#include "engine/soft/soft.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STEAL_ENABLED = 1, PREEMPTED = 1, FLUSH_TLB = 2 };
#define LOOKS_PER_S 1000u

struct steal_time {
	uint64_t steal;
	_Atomic uint32_t version;
	uint32_t flags;
	_Atomic uint8_t preempted;
	uint8_t pad[47];
};
_Static_assert(sizeof(struct steal_time) == 64, "the interface's layout");

/* Its address names the thread, for as long as that lives. */
static _Thread_local char this_thread;

static struct steal_time *area(struct cpu *c)
{
	if (!(c->pv.steal_time & STEAL_ENABLED))
		return NULL;
	return pv_area(c, c->pv.steal_time & ~(uint64_t)STEAL_ENABLED, sizeof(struct steal_time));
}

/* The second of the three figures, ns. */
static bool run_delay(const struct cpu *c, uint64_t *ns)
{
	char text[80], *at = text;
	ssize_t n = pread(c->pv.schedstat - 1, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return false;
	text[n] = '\0';
	strtoull(at, &at, 10);
	*ns = strtoull(at, &at, 10);
	return true;
}

/* True: the statistics are those of this very thread, as they were the last time. */
static bool thread_known(struct cpu *c, uint64_t *ns)
{
	if (c->pv.schedstat && c->pv.thread == &this_thread)
		return run_delay(c, ns);
	return false;
}

/* The vCPU has come to another thread: counts from here on. */
static void thread_begin(struct cpu *c)
{
	pv_finish(c);
	c->pv.thread = &this_thread;
	c->pv.run_delay_ns = 0;
	c->pv.schedstat = 1 + open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	if (c->pv.schedstat && !run_delay(c, &c->pv.run_delay_ns))
		pv_finish(c);
}

void pv_finish(struct cpu *c)
{
	if (c->pv.schedstat)
		close(c->pv.schedstat - 1);
	c->pv.schedstat = 0;
}

static void look(struct cpu *c, struct steal_time *st)
{
	uint64_t now;
	uint32_t version;

	c->pv.steal_looked = host_tsc();
	if (!thread_known(c, &now)) {
		if (c->pv.schedstat || c->pv.thread != &this_thread)
			thread_begin(c);
		return;
	}
	if (now == c->pv.run_delay_ns)
		return;
	version = (atomic_load(&st->version) + 1) | 1;
	atomic_store(&st->version, version);
	st->steal += now - c->pv.run_delay_ns;
	c->pv.run_delay_ns = now;
	atomic_store(&st->version, version + 1);
	pv_area_stored(c, st, sizeof(*st));
}

static bool due(const struct cpu *c)
{
	return host_tsc() - c->pv.steal_looked >= c->vm->clock.tsc_hz / LOOKS_PER_S;
}

void pv_steal_set(struct cpu *c, uint64_t value)
{
	c->pv.steal_time = value;
	if (!(value & STEAL_ENABLED))
		return;
	/* What was stolen before is nobody's. */
	if (!thread_known(c, &c->pv.run_delay_ns))
		thread_begin(c);
	pv_steal_enter(c);
}

void pv_tick(struct cpu *c)
{
	struct steal_time *st;

	if (!(c->pv.steal_time & STEAL_ENABLED) || !due(c))
		return;
	st = area(c);
	if (st)
		look(c, st);
}

void pv_steal_enter(struct cpu *c)
{
	struct steal_time *st = area(c);

	if (!st)
		return;
	/* From here on others interrupt it to flush; what they asked for until now is done before it walks page tables. */
	if (atomic_exchange(&st->preempted, 0) & FLUSH_TLB)
		mmu_flush_all(c);
	pv_area_stored(c, st, sizeof(*st));
	if (due(c))
		look(c, st);
}

void pv_steal_leave(struct cpu *c)
{
	struct steal_time *st = area(c);

	if (!st)
		return;
	atomic_store(&st->preempted, PREEMPTED);
	pv_area_stored(c, st, sizeof(*st));
}
