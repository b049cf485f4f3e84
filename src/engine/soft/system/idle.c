// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * HLT, MONITOR, MWAIT, PAUSE: the instructions with which a processor says that it has nothing to do (SDM
 * vol. 2 under each; vol. 3, 8.10).
 *
 * MONITOR watches the whole 4 KiB frame of the line (with a translator, the line), by the machinery that notices stores into code
 * (mem.h): it sets FRAME_CODE after noting the frame's generation, and every store of every vCPU and
 * device into the frame then ends the generation. So a store after MONITOR is never missed, and what it
 * stores does not matter; a store elsewhere in the frame ends the wait early, which software has to expect
 * (8.10.4). Comparing the line's bytes would miss a store of what was there already, and ABA.
 *
 * MWAIT sleeps as HLT does. A vCPU whose store ends a generation wakes who waits for it
 * (monitor_stored); it looks for waiters after it has ended the generation, and a waiter tells of itself before
 * it looks at the generation, so one of the two sees the other. Devices may be in another process and wake
 * nobody: for them the waiter looks again each MWAIT_POLL_NS.
 *
 * A wait is not part of a vCPU's saved state: MWAIT may end for any reason, so a loaded vCPU stands behind it.
 */
#include "engine/soft/interp/block.h"
#include "engine/soft/mmu/walk.h"
#include "engine/soft/system/system.h"
#include "engine/soft/translate/cache.h"
#include "engine/soft/vcpu/vcpu.h"

#include <sched.h>

/*
 * PAUSEs between two events after which the host may run something else: a loop of the interpreter makes one
 * in some 10 ns, and a lock whose holder runs is free again in less than this many.
 */
enum { PAUSE_SPINS = 256 };

static void hlt(struct cpu *c, const struct insn *in)
{
	need_cpl0(c);
	c->brk = 1;
	if (pv_halt_over(c))
		return;
	c->activity = VCPU_HALTED;
	c->monitor.waiting = false;
}

static void need_monitor(struct cpu *c)
{
	if (c->cpl || !(c->misc_enable & MISC_ENABLE_MONITOR))
		cpu_raise(c, EXC_UD);
}

static void monitor_disarm(struct cpu *c)
{
	atomic_store(&c->monitor.frame, MONITOR_NONE);
}

static void monitor(struct cpu *c, const struct insn *in)
{
	uint64_t ea = c->gpr[RAX], lin, gpa, frame;
	const struct ram_slot *slot;

	need_monitor(c);
	if (gpr_get(c, RCX * 8, c->mode == INSN_MODE64 ? 8 : 4)) /* no extension is defined */
		raise_gp0(c);
	if (in->addrsize != 8)
		ea = in->addrsize == 4 ? (uint32_t)ea : (uint16_t)ea;
	lin = linear(c, in->seg, ea, 1, MMU_READ);
	mmu_probe(c, in->seg, lin, 1, MMU_READ); /* checked as a load of a byte */
	if (c->dbg.watch_count)
		debug_access(c, lin, 1, false);
	monitor_disarm(c);
	if (mmu_translate(c, lin, &gpa))
		return;
	slot = mmu_slot(c, gpa, &frame);
	if (!slot)
		return; /* no memory: nothing can be told about it, and MWAIT goes on at once */
	atomic_store(&c->monitor.frame, frame);
	c->monitor.gen = block_watch_frame(c, frame);
	if (c->t.tr)
		cache_add_lines(c->t.tr, frame, cache_lines(gpa & (FRAME_SIZE - 1) & ~63u, 64));
}

/* The wait is over, or there is nothing to wait for. */
static bool monitor_hit(const struct cpu *c)
{
	uint64_t frame = atomic_load(&c->monitor.frame);

	return frame == MONITOR_NONE || atomic_load(&c->code_gen[frame]) != c->monitor.gen;
}

static void mwait(struct cpu *c, const struct insn *in)
{
	uint64_t extensions = gpr_get(c, RCX * 8, c->mode == INSN_MODE64 ? 8 : 4);

	need_monitor(c);
	if (extensions & ~1ull) /* bit 0: an interrupt ends the wait even if IF is clear */
		raise_gp0(c);
	c->brk = 1;
	if (monitor_hit(c)) {
		monitor_disarm(c);
		return;
	}
	c->activity = VCPU_HALTED;
	c->monitor.waiting = true;
	c->monitor.masked_interrupts = extensions & 1;
	c->attn = 1;
}

bool monitor_over(struct cpu *c)
{
	bool interrupt = c->monitor.masked_interrupts && (c->extint_pending || lapic_pending(c) >= 0);

	if (!interrupt && !monitor_hit(c))
		return false;
	c->activity = VCPU_RUNNING;
	monitor_finish(c);
	return true;
}

void monitor_finish(struct cpu *c)
{
	c->monitor.waiting = false;
	monitor_disarm(c);
}

void monitor_stored(struct cpu *c, uint64_t frame)
{
	for (unsigned i = 0; i < c->vm->count; i++) {
		struct cpu *o = c->vm->cpu[i];

		if (o != c && atomic_load(&o->monitor.frame) == frame)
			cpu_request(o, REQ_EVENT);
	}
}

/* A vCPU that spins may be waiting for one that the host does not run. */
static void spin_hint(struct cpu *c, const struct insn *in)
{
	if (++c->pauses < PAUSE_SPINS)
		return;
	c->pauses = 0;
	sched_yield();
}

insn_fn *bind_idle(struct cpu *c, const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_HLT: return hlt;
	case INSN_ID_MONITOR: return monitor;
	case INSN_ID_MWAIT: return mwait;
	case INSN_ID_PAUSE: return spin_hint;
	default: return NULL;
	}
}
