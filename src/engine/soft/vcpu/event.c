// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a vCPU does between instructions: requests from other threads, interrupts and their
 * priorities (SDM vol. 3, 6.9 and 11.8), HLT, INIT and startup IPIs (9.4).
 */
#include "engine/soft/translate/cache.h"
#include "engine/soft/vcpu/vcpu.h"

#include "host/log.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static unsigned nmis_held(const struct cpu *c, unsigned n)
{
	unsigned most = c->nmi_masked ? 1 : NMI_PENDING_MAX;

	return n < most ? n : most;
}

unsigned cpu_nmis(const struct cpu *c)
{
	return nmis_held(c, c->nmi_pending + atomic_load(&c->nmi_posts));
}

/* Before its request, so that who sees the request finds it. */
static void post_nmi(struct cpu *c)
{
	uint8_t n = atomic_load(&c->nmi_posts);

	while (n < NMI_PENDING_MAX && !atomic_compare_exchange_weak(&c->nmi_posts, &n, n + 1))
		;
}

void cpu_request(struct cpu *c, uint32_t bits)
{
	uint32_t old;

	if (bits & REQ_NMI)
		post_nmi(c);
	if (bits & REQ_INIT) /* a startup IPI from before it found a running CPU: it is not for the one after */
		atomic_fetch_and(&c->req, ~(uint32_t)REQ_SIPI);
	old = atomic_fetch_or(&c->req, bits);
	if (c->t.tr)
		jumps_close(c);

	if ((old & bits) != bits && atomic_load(&c->sleeping))
		syscall(SYS_futex, &c->req, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

bool debugger_leave(struct cpu *c, unsigned why)
{
	if (c->dbg.hits & DEBUG_HIT_OUTSIDE)
		why = 2;
	c->dbg.hits &= ~(uint32_t)DEBUG_HIT_OUTSIDE;
	c->run->exit = ENGINE_EXIT_DEBUG;
	c->run->debug.rip = c->gpr[GPR_RIP];
	c->run->debug.dr6 = c->dr[6];
	c->run->debug.step = why;
	c->run->debug.linear = why == 2 ? c->dbg.outside_linear : 0;
	c->attn = 1;
	return true;
}

static bool can_interrupt(const struct cpu *c)
{
	return (c->sysflags & RF_IF) && !c->shadow;
}

static void start(struct cpu *c, int event, const char *what)
{
	c->delivering = (int16_t)event;
	c->deliver_vector = (uint8_t)event;
	c->deliver_has_error = 0;
	c->deliver_error = 0;
	c->first_exception = (uint8_t)event;
	c->activity = VCPU_RUNNING;
	c->pauses = 0;
	if (c->monitor.waiting)
		monitor_finish(c);
	c->halt_told = 0;
	if (trace_on(TRACE_INT))
		trace(TRACE_INT, "cpu%u %s, vector %u, at rip %016llx", c->index, what, event & 0xff,
		      (unsigned long long)c->gpr[GPR_RIP]);
}

/* INIT and startup IPIs, posted timers and vectors. */
static void take_requests(struct cpu *c)
{
	uint32_t req = atomic_fetch_and(&c->req, ~(uint32_t)(REQ_INTR | REQ_TIMER | REQ_NMI | REQ_INIT | REQ_SIPI |
							     REQ_EVENT | REQ_SMI | REQ_WORLD | REQ_KICKED));

	if (req & REQ_WORLD)
		world_park(c);
	if (req & REQ_TIMER) {
		lapic_timer_check(c);
		pv_tick(c);
	}
	if (req & REQ_INTR)
		lapic_sync(c);
	if (req & REQ_NMI)
		c->nmi_pending = (uint8_t)nmis_held(c, c->nmi_pending + atomic_exchange(&c->nmi_posts, 0));
	if ((req & REQ_INIT) && c->in_smm) { /* it waits for RSM */
		c->smm.init_held = 1;
	} else if (req & REQ_INIT) {
		cpu_reset(c, true);
		c->halt_told = 0;
		if (trace_on(TRACE_CPU))
			trace(TRACE_CPU, "cpu%u INIT", c->index);
	}
	if (req & REQ_SMI)
		c->smi_pending = 1;
	if (req & REQ_KICKED)
		pv_kicked(c);
	if ((req & REQ_SIPI) && c->activity == VCPU_WAIT_SIPI) {
		cpu_sipi(c, atomic_load(&c->lapic.sipi_vector));
		if (trace_on(TRACE_CPU))
			trace(TRACE_CPU, "cpu%u starts at %05x", c->index, c->lapic.sipi_vector << 12);
	}
}

bool events_check(struct cpu *c)
{
	int v;

	/* An instruction that waits to be run again comes first: nothing may get between its halves. */
	if (c->replay_count) {
		if (atomic_load(&c->req) & REQ_WORLD) {
			atomic_fetch_and(&c->req, ~(uint32_t)REQ_WORLD);
			world_park(c);
		}
		c->attn = 1;
		return false;
	}
	c->attn = 0;
	if (c->dbg.hits) {
		if (c->dbg.hits & DEBUG_HIT_OUTSIDE)
			return debugger_leave(c, 2);
		c->dbg.pending |= c->dbg.hits;
		c->dbg.hits = 0;
	}
	if (atomic_load(&c->req) & ~(uint32_t)REQ_KICK)
		take_requests(c);
	v = lapic_eoi_exit(c);
	if (v >= 0) {
		c->run->exit = ENGINE_EXIT_EOI;
		c->run->eoi.vector = (uint32_t)v;
		c->attn = 1;
		return true;
	}
	if (atomic_load(&c->run->immediate_exit) || (atomic_load(&c->req) & REQ_KICK)) {
		atomic_fetch_and(&c->req, ~(uint32_t)REQ_KICK);
		c->run->exit = ENGINE_EXIT_KICK;
		c->attn = 1;
		return true;
	}
	if (c->activity == VCPU_WAIT_SIPI || c->activity == VCPU_SHUTDOWN)
		return false;
	if (c->exc_pending) { /* from a loaded state, or put off */
		c->exc_pending = 0;
		start(c, c->exc_vector, "pending exception");
		c->deliver_has_error = c->exc_has_error;
		c->deliver_error = c->exc_error;
		c->attn = 1;
		return false;
	}
	if (smm_wanted(c)) {
		if (c->monitor.waiting) { /* RSM goes on behind MWAIT */
			c->activity = c->activity == VCPU_HALTED ? VCPU_RUNNING : c->activity;
			monitor_finish(c);
		}
		smm_enter(c);
		return false;
	}
	/* Traps of the instruction before come ahead of interrupts (SDM vol. 3, 6.9), STI's shadow or not. */
	if (c->dbg.pending && c->shadow != 2) {
		c->attn = 1;
		c->cur = NULL;
		debug_report(c, 0);
		cpu_raise(c, EXC_DB);
	}
	if (c->nmi_pending && !c->nmi_masked && !c->shadow) {
		c->nmi_pending--;
		c->nmi_masked = 1;
		start(c, EXC_NMI, "NMI");
		return false;
	}
	if (!can_interrupt(c)) {
		c->attn = c->nmi_pending || c->extint_pending || c->dbg.pending || lapic_pending(c) >= 0 ||
			  atomic_load(&c->run->request_extint);
		return false;
	}
	if (c->extint_pending) {
		c->extint_pending = 0;
		c->attn = 1;
		start(c, DELIVER_EXTERNAL | c->extint_vector, "ExtINT");
		return false;
	}
	if (atomic_load(&c->run->request_extint) && lapic_accepts_extint(c)) {
		c->run->exit = ENGINE_EXIT_EXTINT_WINDOW;
		c->attn = 1;
		return true;
	}
	v = lapic_pending(c);
	if (v >= 0) {
		lapic_ack(c, (unsigned)v);
		c->attn = 1; /* after delivery, there may be a higher one when IF is set again */
		start(c, DELIVER_EXTERNAL | v, "interrupt");
	}
	return false;
}

/* Until a request comes, or @most has passed, or a signal comes. */
static void sleep_in_wait(struct cpu *c, const struct timespec *most)
{
	pv_leave(c);
	world_leave(c);
	atomic_store(&c->sleeping, 1);
	if (!atomic_load(&c->req))
		syscall(SYS_futex, &c->req, FUTEX_WAIT_PRIVATE, 0, most, NULL, 0);
	atomic_store(&c->sleeping, 0);
	world_enter(c);
	pv_enter(c);
}

/*
 * Whether a halt with interrupts off may be one that another vCPU is going to end by a hypercall: a
 * paravirtual spin lock halts so, for microseconds. The monitor is told of those that last.
 */
static bool kick_expected(struct cpu *c)
{
	const struct timespec patience = { .tv_nsec = HALT_PATIENCE_NS };

	if (c->vm->count == 1 || !cpu_model_has(c->vm->model, FEAT_KVM_PV_UNHALT))
		return false;
	sleep_in_wait(c, &patience);
	return atomic_load(&c->req);
}

/* One round of MWAIT's wait (system/idle.c): the loop comes back for the next. */
static bool mwait_wait(struct cpu *c)
{
	const struct timespec poll = { .tv_nsec = MWAIT_POLL_NS };

	atomic_fetch_add(&c->vm->monitors, 1);
	if (!monitor_over(c))
		sleep_in_wait(c, &poll);
	atomic_fetch_sub(&c->vm->monitors, 1);
	return false;
}

bool events_wait(struct cpu *c)
{
	if (c->activity == VCPU_SHUTDOWN) {
		c->run->exit = ENGINE_EXIT_SHUTDOWN;
		c->run->shutdown.triple_fault = 0;
		c->run->shutdown.vector = 0;
		return true;
	}
	if (c->activity == VCPU_HALTED && c->monitor.waiting)
		return mwait_wait(c);
	if (c->activity == VCPU_HALTED && !(c->sysflags & RF_IF) && !c->halt_told) {
		if (kick_expected(c))
			return false;
		c->halt_told = 1;
		c->run->exit = ENGINE_EXIT_HALT;
		return true;
	}
	while (!atomic_load(&c->req))
		sleep_in_wait(c, NULL);
	return false;
}

/*
 * Benign exceptions can follow each other without end: #AC, when its handler at CPL 3 has an unaligned stack. So
 * between two of them whoever asked gets the vCPU, with the second one pending.
 */
static void deliver_later(struct cpu *c)
{
	c->exc_pending = 1;
	c->exc_vector = c->deliver_vector;
	c->exc_has_error = c->deliver_has_error;
	c->exc_error = c->deliver_error;
	c->delivering = DELIVER_NONE;
	c->attn = 1;
}

bool events_raised(struct cpu *c)
{
	int first = c->delivering;
	unsigned v = c->raised_vector;
	bool serial = false;

	c->shadow = 0;
	c->dbg.pending = 0; /* held off by a load of SS, and lost: the instruction after it has faulted */
	cpu_replay_done(c);
	if (trace_on(TRACE_INT))
		trace(TRACE_INT, "cpu%u exception %u, error %x, at rip %016llx cr2 %016llx", c->index, v,
		      c->raised_has_error ? c->raised_error : 0, (unsigned long long)c->gpr[GPR_RIP],
		      (unsigned long long)c->cr2);
	if (c->exc_hook && c->exc_hook(c, v, c->raised_has_error, c->raised_error))
		return true;
	if (first < 0 || first >= DELIVER_EXTERNAL) {
		c->first_exception = (uint8_t)v;
	} else {
		int both = exception_combine((unsigned)first, v);

		if (both < 0) {
			c->activity = VCPU_SHUTDOWN;
			c->delivering = DELIVER_NONE;
			c->run->exit = ENGINE_EXIT_SHUTDOWN;
			c->run->shutdown.triple_fault = 1;
			c->run->shutdown.vector = c->first_exception;
			return true;
		}
		if ((unsigned)both != v) { /* #DF: error code 0 */
			c->raised_has_error = 1;
			c->raised_error = 0;
			v = (unsigned)both;
		} else {
			c->first_exception = (uint8_t)v; /* one after the other */
			serial = true;
		}
	}
	c->activity = VCPU_RUNNING; /* a single-step trap after HLT ends it */
	if (c->monitor.waiting)
		monitor_finish(c);
	c->delivering = (int16_t)v;
	c->deliver_vector = (uint8_t)v;
	c->deliver_has_error = c->raised_has_error;
	c->deliver_error = c->raised_error;
	if (serial && (atomic_load(&c->req) || atomic_load(&c->run->immediate_exit)))
		deliver_later(c);
	return false;
}
