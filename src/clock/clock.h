// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The VM clock: nanoseconds, an affine function of the guest's TSC.
 *
 * guest TSC = host TSC + offset while running, a constant while paused. Chips see time only
 * through here, so that pausing the VM stops them all at once and a saved VM goes on where it
 * was. The TSC's frequency is part of the state.
 */
#ifndef SUBRING_CLOCK_CLOCK_H
#define SUBRING_CLOCK_CLOCK_H

#include "state/state.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Frequency of the host's TSC in Hz, found once (slow: up to 25 ms the first time). */
uint64_t host_tsc_hz(void);

static inline uint64_t host_tsc(void)
{
	return __builtin_ia32_rdtsc();
}

struct vm_clock {
	uint64_t tsc_hz;     /* of guest and host: they are the same clock at different offsets */
	uint64_t tsc_offset; /* guest TSC = host TSC + tsc_offset (mod 2^64), while running */
	uint64_t tsc_paused; /* the guest TSC while paused */
	bool running;
	uint64_t epoch_s;    /* host UTC seconds (CLOCK_REALTIME) when the guest TSC was 0: for the RTC */
};

/* A clock at guest TSC 0, paused. */
void vm_clock_init(struct vm_clock *clk);
void vm_clock_resume(struct vm_clock *clk);
void vm_clock_pause(struct vm_clock *clk);
uint64_t vm_clock_tsc(const struct vm_clock *clk);		     /* guest TSC now */
uint64_t vm_clock_ns(const struct vm_clock *clk);		     /* VM time now, ns since guest TSC 0 */
uint64_t vm_clock_tsc_to_ns(const struct vm_clock *clk, uint64_t tsc);
/* CLOCK_MONOTONIC ns at which VM time will be @vm_ns; UINT64_MAX while paused. */
uint64_t vm_clock_host_deadline(const struct vm_clock *clk, uint64_t vm_ns);
extern const struct state_class vm_clock_state_class; /* saved paused: the loader resumes */
void vm_clock_save(struct state_writer *w, const struct vm_clock *clk);
int vm_clock_load(struct state_reader *r, struct vm_clock *clk); /* fails if the saved tsc_hz is farther than 0.1 % from ours */

/*
 * Timers of the chips, in VM time. A queue belongs to one VM; it is guarded by the board lock
 * that its owner passes around (see machine/machine.h): every call here is made with it held.
 */
struct vm_timer {
	uint64_t deadline_ns; /* VM time; UINT64_MAX when not armed */
	void (*fn)(void *opaque);
	void *opaque;
	struct vm_timer *next;
};

struct vm_timers {
	struct vm_timer *head; /* sorted by deadline */
	void (*changed)(void *opaque, uint64_t deadline_ns); /* the earliest deadline moved: VM ns or UINT64_MAX */
	void *opaque;
	bool in_run; /* vm_timers_run is at work; it calls changed once, at its end */
};

void vm_timer_init(struct vm_timer *t, void (*fn)(void *), void *opaque);
/* Arms or re-arms; UINT64_MAX disarms. Timers with the same deadline run in the order they were set. */
void vm_timer_set(struct vm_timers *q, struct vm_timer *t, uint64_t deadline_ns);
void vm_timer_cancel(struct vm_timers *q, struct vm_timer *t);
/*
 * Runs all timers due at @now_ns, in order; each is disarmed before its fn is called, which may set
 * and cancel any timer. Always ends by calling changed, so that an alarm that came too early is set
 * again. Timers that set themselves over and over to times that are past do not keep it for ever:
 * after VM_TIMERS_RUN_MAX calls the rest waits for the next run.
 */
enum { VM_TIMERS_RUN_MAX = 4096 };
void vm_timers_run(struct vm_timers *q, uint64_t now_ns);

#endif
