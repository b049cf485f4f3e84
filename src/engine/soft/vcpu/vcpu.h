// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Private to engine soft: what surrounds instructions on a vCPU's thread.
 *
 *   leave.c   unwinding out of an instruction: exceptions, exits, replayed accesses
 *   event.c   requests, interrupts, HLT
 *   timer.c   the host timer behind the local APIC's
 *   world.c   one vCPU alone
 */
#ifndef SUBRING_ENGINE_SOFT_VCPU_H
#define SUBRING_ENGINE_SOFT_VCPU_H

#include "engine/soft/soft.h"

enum { LEFT_BY_EXCEPTION, LEFT_BY_EXIT };
enum { DELIVER_NONE = -1, DELIVER_EXTERNAL = 0x100 };

/* Leaves cpu_run with @exit, in the middle of an instruction (RIP goes back) or between two. */
_Noreturn void cpu_leave(struct cpu *c, enum engine_exit exit);

/* At entry: takes the answer to the access that the last exit asked for. */
void replay_resume(struct cpu *c);

/*
 * Between two instructions: acts on requests and pending events. True: leave cpu_run, the run page is
 * filled. It may start an event: then c->delivering is set and the caller delivers it.
 */
bool events_check(struct cpu *c);
/* Waits in HLT or for a SIPI until something happens. True: leave cpu_run. */
bool events_wait(struct cpu *c);
/* Makes the vector that was raised (by an instruction, or while delivering) the one to deliver. True: shutdown. */
bool events_raised(struct cpu *c);

/* system/idle.c, MWAIT's wait: whether it is over (then the vCPU runs); a store into @frame was noticed. */
bool monitor_over(struct cpu *c);
void monitor_stored(struct cpu *c, uint64_t frame);
enum { MWAIT_POLL_NS = 1000000, HALT_PATIENCE_NS = 5000000 };

/* Leaves with DEBUG: a debugger's breakpoint (0) or step (1), or the watchpoint (2) that was hit. Returns true. */
bool debugger_leave(struct cpu *c, unsigned why);

int cpu_timer_init(struct cpu *c); /* on the vCPU's thread, before it runs */
void cpu_timer_finish(struct cpu *c);

void world_enter(struct cpu *c); /* the thread begins to run guest code */
void world_leave(struct cpu *c);
void world_park(struct cpu *c);	 /* REQ_WORLD came */

#endif
