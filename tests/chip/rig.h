// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a chip's test stands it on: a clock that moves when told (1 TSC tick is 1 ns), a queue of
 * timers, lines that remember, a stream that collects.
 */
#ifndef SUBRING_TESTS_CHIP_RIG_H
#define SUBRING_TESTS_CHIP_RIG_H

#include "bus/chip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <errno.h>
#include <cmocka.h>

enum { RIG_LINES = 16, RIG_OUT = 256 };

struct rig {
	struct vm_clock clock;
	struct vm_timers timers;
	struct chip_time time;
	struct irq_line line[RIG_LINES];
	bool level[RIG_LINES];
	unsigned rises[RIG_LINES];
	uint64_t last_rise_ns[RIG_LINES];
	uint8_t out[RIG_OUT];
	size_t out_len, out_room;
	struct chip_stream stream;
	unsigned calls; /* of rig_call: resets, power-offs ... */
	uint32_t call_value;
};

static inline void rig_line_set(void *opaque, unsigned n, bool level)
{
	struct rig *r = opaque;

	if (level && !r->level[n]) {
		r->rises[n]++;
		r->last_rise_ns[n] = vm_clock_ns(&r->clock);
	}
	r->level[n] = level;
}

static inline int rig_put(void *opaque, uint8_t byte)
{
	struct rig *r = opaque;

	if (!r->out_room)
		return 0;
	r->out_room--;
	r->out[r->out_len++ % RIG_OUT] = byte;
	return 1;
}

static inline void rig_call(void *opaque)
{
	((struct rig *)opaque)->calls++;
}

static inline void rig_call_with(void *opaque, uint32_t value)
{
	struct rig *r = opaque;

	r->calls++;
	r->call_value = value;
}

static inline void rig_init(struct rig *r)
{
	*r = (struct rig){ .out_room = SIZE_MAX };
	r->clock.tsc_hz = 1000000000;
	r->clock.epoch_s = 1000000000; /* 2001-09-09 01:46:40, a Sunday */
	r->time = (struct chip_time){ .clock = &r->clock, .timers = &r->timers };
	for (unsigned i = 0; i < RIG_LINES; i++)
		r->line[i] = (struct irq_line){ rig_line_set, r, i };
	r->stream = (struct chip_stream){ rig_put, r };
}

static inline uint64_t rig_now(const struct rig *r)
{
	return vm_clock_ns(&r->clock);
}

/* Moves time on, running each timer at its moment (at most @limit of them). */
static inline void rig_advance_limit(struct rig *r, uint64_t ns, unsigned limit)
{
	uint64_t end = r->clock.tsc_paused + ns;

	while (limit-- && r->timers.head && r->timers.head->deadline_ns <= end) {
		if (r->timers.head->deadline_ns > r->clock.tsc_paused)
			r->clock.tsc_paused = r->timers.head->deadline_ns;
		vm_timers_run(&r->timers, rig_now(r));
	}
	r->clock.tsc_paused = end;
}

static inline void rig_advance(struct rig *r, uint64_t ns)
{
	rig_advance_limit(r, ns, 1000000);
}

/* Moves time on and runs the timers only then, as a busy host does. */
static inline void rig_advance_late(struct rig *r, uint64_t ns)
{
	r->clock.tsc_paused += ns;
	vm_timers_run(&r->timers, rig_now(r));
}

/* Saves @from and loads it into @to, which stands on another rig. What `loaded` says. */
static inline int rig_copy(const struct chip_ops *ops, const void *from, void *to)
{
	struct state_writer *w;
	struct state_reader *rd;
	const void *bytes;
	size_t len;
	int ret;

	assert_int_equal(state_writer_create(&w), 0);
	state_save(w, ops->state, 0, from);
	assert_int_equal(state_writer_finish(w, &bytes, &len), 0);
	assert_int_equal(state_reader_create(bytes, len, &rd), 0);
	assert_int_equal(state_load(rd, ops->state, 0, to), 0);
	ret = ops->loaded ? ops->loaded(to) : 0;
	state_reader_destroy(rd);
	state_writer_destroy(w);
	return ret;
}

#endif
