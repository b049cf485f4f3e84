// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * 8254 programmable interval timer (Intel 8254 data sheet, order number 231164) and port 0x61.
 *
 * Time is counted in ticks of the 1193182 Hz input clock since VM time 0. A counter remembers
 * the tick at which its counting element was loaded; its value and its OUT follow from the ticks
 * elapsed since. Nothing accumulates, so a periodic counter does not drift.
 *
 * The line of counter 0: each rising edge of OUT that has passed since the last look is driven
 * as one (several are merged into one: a guest that was away does not get a storm). In mode 2
 * OUT is low for one tick only; the line stays high and shows that pulse right before the edge.
 * So it is for the low half of a mode 3 wave that is too fast.
 *
 * Invariants: count and reload are 1 to 65536 once `loaded` or `written` is set; `change` only in
 * modes 2 and 3 while running; the timer is armed for the next edge of counter 0's line.
 */
#include "chip/i8254.h"

#include "chip/bytes.h"

#include <errno.h>

enum { RW_LATCH, RW_LOW, RW_HIGH, RW_BOTH };
enum { PORT61_GATE2 = 1, PORT61_KEPT = 0x0f, PORT61_REFRESH = 0x10, PORT61_OUT2 = 0x20 };
enum { REFRESH_NS = 15085, SEC_NS = 1000000000 };
/* The line rises at most this often, ticks (50 us): a guest cannot keep the monitor's thread busy. */
enum { EDGE_TICKS_MIN = 60 };

static uint64_t tick_now(const struct i8254 *p)
{
	return (uint64_t)((unsigned __int128)vm_clock_ns(p->time.clock) * I8254_HZ / SEC_NS);
}

/* The first VM nanosecond that belongs to @tick. */
static uint64_t tick_ns(uint64_t tick)
{
	unsigned __int128 ns = ((unsigned __int128)tick * SEC_NS + I8254_HZ - 1) / I8254_HZ;

	return ns < UINT64_MAX ? (uint64_t)ns : UINT64_MAX - 1;
}

/* --- one counter --- */

static unsigned modulus(const struct i8254_counter *c)
{
	return c->bcd ? 10000 : 65536;
}

/* Ticks since the counting element was loaded; -1: that happens with the next tick. */
static int64_t elapsed(const struct i8254_counter *c, uint64_t now)
{
	int64_t e = (int64_t)(c->running ? now - c->start : c->elapsed);

	return e < 0 ? -1 : e;
}

static bool periodic(const struct i8254_counter *c)
{
	return c->mode == 2 || c->mode == 3;
}

static bool triggered_by_gate(const struct i8254_counter *c)
{
	return c->mode == 1 || c->mode == 5;
}

/* Ticks for which OUT is high at the beginning of a period of mode 3. */
static unsigned high_half(unsigned count)
{
	return (count + 1) / 2;
}

/* Ticks between two rising edges that the line shows in modes 2 and 3: of a very fast wave only some. */
static unsigned edge_period(const struct i8254_counter *c)
{
	if (c->count >= EDGE_TICKS_MIN)
		return c->count;
	return (EDGE_TICKS_MIN + c->count - 1) / c->count * c->count;
}

/* Rising edges for the line since it was loaded. */
static uint64_t rises(const struct i8254_counter *c, uint64_t now)
{
	int64_t e = elapsed(c, now);

	if (!c->loaded || e < 0)
		return 0;
	switch (c->mode) {
	case 0:
	case 1: return (uint64_t)e >= c->count;
	case 2:
	case 3: return (uint64_t)e / edge_period(c);
	default: return (uint64_t)e > c->count;
	}
}

/* A new count of modes 2 and 3 takes over at the end of a period (mode 3: half period). */
static void take_change(struct i8254_counter *c, uint64_t now)
{
	uint64_t done;

	if (!c->change || (int64_t)(now - c->change_at) < 0)
		return;
	done = c->change_at - c->start;
	c->rise_due |= done / edge_period(c) > c->rises;
	c->start = c->change_at;
	if (c->mode == 3 && done % c->count)
		c->start -= high_half(c->reload);
	c->count = c->reload;
	c->rises = 0;
	c->change = false;
}

static bool output(const struct i8254_counter *c, uint64_t now)
{
	int64_t e = elapsed(c, now);

	if (!c->loaded || e < 0 || (periodic(c) && !c->gate))
		return c->mode != 0;
	switch (c->mode) {
	case 0:
	case 1: return (uint64_t)e >= c->count;
	case 2: return (uint64_t)e % c->count != c->count - 1;
	case 3: return (uint64_t)e % c->count < high_half(c->count);
	default: return (uint64_t)e != c->count;
	}
}

static unsigned value(const struct i8254_counter *c, uint64_t now)
{
	int64_t since = elapsed(c, now);
	uint64_t e = since < 0 ? 0 : (uint64_t)since;
	unsigned top = modulus(c), half;

	if (!c->loaded)
		return c->written ? c->reload % top : 0;
	switch (c->mode) {
	case 2: return (c->count - (unsigned)(e % c->count)) % top;
	case 3:
		e %= c->count;
		half = high_half(c->count);
		if (e >= half)
			e -= half;
		return ((c->count & ~1u) - 2 * (unsigned)e) % top;
	default: return (c->count % top + top - (unsigned)(e % top)) % top;
	}
}

static uint16_t encode(const struct i8254_counter *c, unsigned v)
{
	if (!c->bcd)
		return (uint16_t)v;
	return (uint16_t)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12);
}

static unsigned decode(const struct i8254_counter *c, unsigned v)
{
	if (c->bcd)
		v = ((v >> 12) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15)) % 10000;
	return v ? v : modulus(c);
}

/* The count register goes to the counting element with the next tick. */
static void load(struct i8254_counter *c, uint64_t now)
{
	c->count = c->reload;
	c->loaded = true;
	c->change = false;
	c->rises = 0;
	c->running = triggered_by_gate(c) || c->gate;
	c->start = now + 1;
	c->elapsed = 0;
}

static void hold(struct i8254_counter *c, uint64_t now)
{
	int64_t e = elapsed(c, now);

	if (!c->running)
		return;
	c->elapsed = e < 0 ? 0 : (uint64_t)e;
	c->running = c->change = false;
}

static void set_gate(struct i8254_counter *c, bool level, uint64_t now)
{
	bool rising = level && !c->gate;

	take_change(c, now);
	c->gate = level;
	if (triggered_by_gate(c)) {
		if (rising && c->written)
			load(c, now);
	} else if (c->loaded && !level) {
		hold(c, now);
	} else if (c->loaded && rising && periodic(c)) {
		load(c, now);
	} else if (c->loaded && rising && !c->running) {
		c->start = now - c->elapsed;
		c->running = true;
	}
}

static void set_count(struct i8254_counter *c, unsigned v, uint64_t now)
{
	int64_t e;

	take_change(c, now);
	c->reload = decode(c, v);
	c->written = true;
	if (triggered_by_gate(c))
		return;
	e = elapsed(c, now);
	if (!periodic(c) || !c->loaded || (c->running && e < 0)) {
		load(c, now);
	} else if (c->running) {
		uint64_t in = (uint64_t)e % c->count, end = c->count;

		if (c->mode == 3 && in < high_half(c->count))
			end = high_half(c->count);
		c->change = true;
		c->change_at = now - in + end;
	}
}

static void set_mode(struct i8254_counter *c, uint8_t control)
{
	unsigned mode = control >> 1 & 7;

	*c = (struct i8254_counter){
		.mode = (uint8_t)(mode > 5 ? mode - 4 : mode),
		.access = control >> 4 & 3,
		.bcd = control & 1,
		.gate = c->gate,
	};
}

static void latch_count(struct i8254_counter *c, uint64_t now)
{
	take_change(c, now);
	if (c->latched)
		return;
	c->latched = true;
	c->latch_high = false;
	c->latch = encode(c, value(c, now));
}

static void latch_status(struct i8254_counter *c, uint64_t now)
{
	bool null;

	take_change(c, now);
	if (c->status_latched)
		return;
	null = !c->loaded || c->change || c->reload != c->count || elapsed(c, now) < 0;
	c->status_latched = true;
	c->status = (uint8_t)(output(c, now) << 7 | null << 6 | c->access << 4 | c->mode << 1 | c->bcd);
}

static uint8_t read_counter(struct i8254_counter *c, uint64_t now)
{
	uint16_t v;
	bool high;

	take_change(c, now);
	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	v = c->latched ? c->latch : encode(c, value(c, now));
	high = c->access == RW_HIGH;
	if (c->access == RW_BOTH) {
		bool *flip = c->latched ? &c->latch_high : &c->read_high;

		high = *flip;
		*flip = !high;
		if (high)
			c->latched = false;
	} else {
		c->latched = false;
	}
	return (uint8_t)(high ? v >> 8 : v);
}

static void write_counter(struct i8254_counter *c, uint8_t v, uint64_t now)
{
	switch (c->access) {
	case RW_LOW: set_count(c, v, now); break;
	case RW_HIGH: set_count(c, (unsigned)v << 8, now); break;
	case RW_BOTH:
		if (c->write_high) {
			c->write_high = false;
			set_count(c, (unsigned)v << 8 | c->write_low, now);
			break;
		}
		c->write_high = true;
		c->write_low = v;
		if (c->mode == 0) /* the first byte stops it */
			c->loaded = c->written = c->running = false;
		break;
	default: break; /* never programmed */
	}
}

/* --- the line of counter 0 --- */

/* The tick of the next change that the line has to show; false: none. */
static bool next_edge(const struct i8254_counter *c, uint64_t now, uint64_t *tick)
{
	int64_t since = elapsed(c, now);
	uint64_t e = since < 0 ? 0 : (uint64_t)since, in;

	if (!c->loaded || !c->running)
		return false;
	switch (c->mode) {
	case 0:
	case 1:
	case 4:
	case 5:
		in = c->count + (c->mode >= 4);
		*tick = c->start + in;
		return e < in;
	default:
		in = e % edge_period(c);
		*tick = c->start + e - in + edge_period(c);
		if (c->mode == 3 && in < high_half(c->count) && edge_period(c) == c->count)
			*tick = c->start + e - in + high_half(c->count);
		return true;
	}
}

static void drive(struct i8254 *p, bool level)
{
	if (p->out0 == level)
		return;
	p->out0 = level;
	irq_set(&p->irq, level);
}

static bool edge_due(const struct i8254_counter *c, uint64_t now)
{
	return c->rise_due || rises(c, now) > c->rises;
}

/* What the line has to be between edges: it stays high where the low half is not shown. */
static bool line_level(const struct i8254_counter *c, uint64_t now)
{
	if (c->mode == 2 || (c->mode == 3 && c->loaded && edge_period(c) != c->count))
		return true;
	return output(c, now);
}

static void arm(struct i8254 *p, uint64_t now)
{
	struct i8254_counter *c = &p->counter[0];
	uint64_t edge;

	if (edge_due(c, now) || line_level(c, now) != p->out0)
		vm_timer_set(p->time.timers, &p->timer, tick_ns(now));
	else if (next_edge(c, now, &edge))
		vm_timer_set(p->time.timers, &p->timer, tick_ns(edge));
	else
		vm_timer_cancel(p->time.timers, &p->timer);
}

static void update_irq(struct i8254 *p)
{
	struct i8254_counter *c = &p->counter[0];
	uint64_t now = tick_now(p);

	take_change(c, now);
	if (edge_due(c, now)) {
		drive(p, false);
		drive(p, true);
	}
	c->rises = rises(c, now);
	c->rise_due = false;
	drive(p, line_level(c, now));
	arm(p, now);
}

static void on_timer(void *opaque)
{
	update_irq(opaque);
}

/* --- ports --- */

static void write_control(struct i8254 *p, uint8_t v)
{
	uint64_t now = tick_now(p);
	unsigned n = v >> 6;

	if (n < 3) {
		if ((v >> 4 & 3) == RW_LATCH)
			latch_count(&p->counter[n], now);
		else
			set_mode(&p->counter[n], v);
		return;
	}
	/* Read-back: both may be latched at the same moment; the status is read first. */
	for (n = 0; n < 3; n++) {
		if (!(v >> (n + 1) & 1))
			continue;
		if (!(v & 0x20))
			latch_count(&p->counter[n], now);
		if (!(v & 0x10))
			latch_status(&p->counter[n], now);
	}
}

static uint8_t read_port61(struct i8254 *p)
{
	uint8_t v = p->port61;
	uint64_t now = tick_now(p);

	take_change(&p->counter[2], now);
	if (output(&p->counter[2], now))
		v |= PORT61_OUT2;
	if (vm_clock_ns(p->time.clock) / REFRESH_NS & 1)
		v |= PORT61_REFRESH;
	return v;
}

static uint8_t read_port(void *chip, unsigned region, unsigned n)
{
	struct i8254 *p = chip;

	if (region == I8254_REGION_PORT61)
		return read_port61(p);
	return n < 3 ? read_counter(&p->counter[n], tick_now(p)) : 0xff;
}

static void write_port(void *chip, unsigned region, unsigned n, uint8_t v)
{
	struct i8254 *p = chip;

	if (region == I8254_REGION_PORT61) {
		p->port61 = v & PORT61_KEPT;
		set_gate(&p->counter[2], v & PORT61_GATE2, tick_now(p));
		return;
	}
	update_irq(p); /* edges up to now come before what this changes */
	if (n < 3)
		write_counter(&p->counter[n], v, tick_now(p));
	else
		write_control(p, v);
	update_irq(p);
}

static unsigned ports(unsigned region)
{
	return region == I8254_REGION_PORT61 ? I8254_PORT61_PORTS : I8254_PORTS;
}

static uint64_t pit_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	return bytes_read(read_port, chip, region, offset, size, ports(region));
}

static void pit_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	bytes_write(write_port, chip, region, offset, size, ports(region), value);
}

/* --- reset and state --- */

/* The chip's state after power-on is undefined: nothing counts, counter 0 and 1 are enabled by their gates. */
static void pit_reset(void *chip)
{
	struct i8254 *p = chip;

	for (unsigned i = 0; i < 3; i++)
		p->counter[i] = (struct i8254_counter){ .access = RW_BOTH, .gate = i < 2 };
	p->port61 = 0;
	update_irq(p);
}

static int pit_loaded(void *chip)
{
	struct i8254 *p = chip;

	for (unsigned i = 0; i < 3; i++) {
		struct i8254_counter *c = &p->counter[i];

		if (c->mode > 5 || c->access > RW_BOTH)
			return -EPROTO;
		if ((c->loaded || c->change) && (c->count < 1 || c->count > modulus(c)))
			return -EPROTO;
		if ((c->written || c->loaded || c->change) && (c->reload < 1 || c->reload > modulus(c)))
			return -EPROTO;
		if (c->change && (!periodic(c) || !c->loaded || !c->running))
			return -EPROTO;
	}
	irq_set(&p->irq, p->out0);
	arm(p, tick_now(p)); /* an edge that was due comes with the timer */
	return 0;
}

static const struct state_field counter_fields[] = {
	STATE_UINT(struct i8254_counter, mode),
	STATE_UINT(struct i8254_counter, access),
	STATE_UINT(struct i8254_counter, bcd),
	STATE_UINT(struct i8254_counter, gate),
	STATE_UINT(struct i8254_counter, written),
	STATE_UINT(struct i8254_counter, loaded),
	STATE_UINT(struct i8254_counter, running),
	STATE_UINT(struct i8254_counter, write_high),
	STATE_UINT(struct i8254_counter, read_high),
	STATE_UINT(struct i8254_counter, write_low),
	STATE_UINT(struct i8254_counter, reload),
	STATE_UINT(struct i8254_counter, count),
	STATE_UINT(struct i8254_counter, start),
	STATE_UINT(struct i8254_counter, elapsed),
	STATE_UINT(struct i8254_counter, change),
	STATE_UINT(struct i8254_counter, change_at),
	STATE_UINT(struct i8254_counter, rises),
	STATE_UINT(struct i8254_counter, rise_due),
	STATE_UINT(struct i8254_counter, latched),
	STATE_UINT(struct i8254_counter, status_latched),
	STATE_UINT(struct i8254_counter, latch_high),
	STATE_UINT(struct i8254_counter, latch),
	STATE_UINT(struct i8254_counter, status),
	STATE_END,
};

static const struct state_field fields[] = {
	STATE_STRUCTS(struct i8254, counter, counter_fields),
	STATE_UINT(struct i8254, port61),
	STATE_UINT(struct i8254, out0),
	STATE_END,
};

static const struct state_class class = { .name = "i8254", .version = 1, .fields = fields };

const struct chip_ops i8254_ops = {
	.state = &class,
	.reset = pit_reset,
	.read = pit_read,
	.write = pit_write,
	.loaded = pit_loaded,
};

void i8254_init(struct i8254 *p, const struct chip_time *time, const struct irq_line *irq)
{
	*p = (struct i8254){ .time = *time, .irq = *irq };
	vm_timer_init(&p->timer, on_timer, p);
	pit_reset(p);
}
