// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The VM clock: VM time is the guest's TSC in other units, so that the two can never drift apart.
 *
 * Invariants:
 *  - Conversions are exact, rounded down, in 128 bits; what does not fit is UINT64_MAX.
 *  - A paused clock is the pair (tsc_paused, not running); saving a running one saves the moment.
 *  - After a load tsc_hz is the saved one: deadlines of chips are VM times of that frequency, and
 *    the guest has calibrated by it. It may differ from the host's by up to 0.1 percent.
 */
#include "clock/clock.h"

#include "host/loop.h"

#include <errno.h>
#include <time.h>

enum { NS_PER_S = 1000000000 };

void vm_clock_init(struct vm_clock *clk)
{
	*clk = (struct vm_clock){.tsc_hz = host_tsc_hz(), .epoch_s = (uint64_t)time(NULL)};
}

void vm_clock_resume(struct vm_clock *clk)
{
	if (clk->running)
		return;
	clk->tsc_offset = clk->tsc_paused - host_tsc();
	clk->running = true;
}

void vm_clock_pause(struct vm_clock *clk)
{
	if (!clk->running)
		return;
	clk->tsc_paused = host_tsc() + clk->tsc_offset;
	clk->running = false;
}

uint64_t vm_clock_tsc(const struct vm_clock *clk)
{
	return clk->running ? host_tsc() + clk->tsc_offset : clk->tsc_paused;
}

uint64_t vm_clock_tsc_to_ns(const struct vm_clock *clk, uint64_t tsc)
{
	unsigned __int128 ns;

	if (!clk->tsc_hz)
		return 0;
	ns = (unsigned __int128)tsc * NS_PER_S / clk->tsc_hz;
	return ns > UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

uint64_t vm_clock_ns(const struct vm_clock *clk)
{
	return vm_clock_tsc_to_ns(clk, vm_clock_tsc(clk));
}

uint64_t vm_clock_host_deadline(const struct vm_clock *clk, uint64_t vm_ns)
{
	uint64_t vm_now, host_now, wait;

	if (!clk->running || vm_ns == UINT64_MAX)
		return UINT64_MAX;
	/* In this order, so that what passes in between makes the deadline late rather than early. */
	vm_now = vm_clock_ns(clk);
	host_now = host_monotonic_ns();
	if (vm_ns <= vm_now)
		return host_now;
	/* One more, because vm_now was rounded down. */
	wait = vm_ns - vm_now + 1;
	return wait < UINT64_MAX - host_now ? host_now + wait : UINT64_MAX - 1;
}

static const struct state_field vm_clock_fields[] = {
	STATE_UINT(struct vm_clock, tsc_hz),
	STATE_UINT(struct vm_clock, tsc_paused),
	STATE_UINT(struct vm_clock, epoch_s),
	STATE_END,
};

const struct state_class vm_clock_state_class = {"vm_clock", 1, vm_clock_fields};

void vm_clock_save(struct state_writer *w, const struct vm_clock *clk)
{
	struct vm_clock paused = *clk;

	vm_clock_pause(&paused);
	state_save(w, &vm_clock_state_class, 0, &paused);
}

int vm_clock_load(struct state_reader *r, struct vm_clock *clk)
{
	struct vm_clock loaded = {0};
	uint64_t host_hz = host_tsc_hz(), diff;
	int ret = state_load(r, &vm_clock_state_class, 0, &loaded);

	if (ret)
		return ret;
	diff = loaded.tsc_hz > host_hz ? loaded.tsc_hz - host_hz : host_hz - loaded.tsc_hz;
	if (!loaded.tsc_hz || diff > host_hz / 1000)
		return state_reader_fail(r, "it was saved with a TSC of %llu kHz; this host's has %llu kHz",
					 (unsigned long long)loaded.tsc_hz / 1000,
					 (unsigned long long)host_hz / 1000);
	*clk = loaded;
	return 0;
}
