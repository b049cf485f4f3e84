// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MC146818 real-time clock (Motorola data sheet) in a PC: 14 registers, 114 bytes of CMOS, the
 * century in byte 0x32, and a second bank of 128 bytes.
 *
 * Nothing ticks. The calendar is base_s plus the whole seconds since base_ns; it becomes
 * registers when it is read, and registers become a calendar when they are written. While SET
 * is 1 the time bytes are plain memory. The flags of register C are accounted up to checked_ns;
 * a timer is armed only for a flag whose interrupt is enabled.
 *
 * An update takes no time at its end; UIP is 1 for the 244 us before it.
 *
 * Invariants: base_ns <= checked_ns <= now (as differences mod 2^64: base_ns may lie before VM
 * time 0); cmos[0..9] and the century count only while SET is 1.
 */
#include "chip/mc146818.h"

#include "chip/bytes.h"

#include <errno.h>
#include <string.h>

enum {
	SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, DAY, MONTH, YEAR,
	REG_A, REG_B, REG_C, REG_D, CENTURY = 0x32,
};
enum { A_RS = 0x0f, A_DV = 0x70, A_UIP = 0x80 };
enum { B_DSE = 1, B_24H = 2, B_DM = 4, B_SQWE = 8, B_UIE = 0x10, B_AIE = 0x20, B_PIE = 0x40, B_SET = 0x80 };
enum { C_UF = 0x10, C_AF = 0x20, C_PF = 0x40, C_IRQF = 0x80, C_FLAGS = 0x70 };
enum { D_VRT = 0x80 };
enum { HOUR_PM = 0x80, INDEX_NMI = 0x80 };

#define SEC_NS 1000000000u
enum { UIP_NS = 244000, BASE_HZ = 32768, DAY_S = 86400 };
/* Beyond this a saved calendar is nonsense: about 30,000 years. */
static const int64_t base_s_max = 1000000000000;

struct calendar {
	unsigned second, minute, hour, day, month, year, century;
	unsigned weekday; /* 0: Sunday */
};

static uint64_t now_ns(const struct mc146818 *r)
{
	return vm_clock_ns(r->time.clock);
}

/* --- the calendar --- */

static bool leap(int64_t y)
{
	return y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
}

static unsigned month_days(int64_t y, unsigned m)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[m - 1] + (m == 2 && leap(y));
}

/* Days from 1 January of year 1 to 1 January of year @y, y >= 0 (year 0: -366). */
static int64_t days_before(int64_t y)
{
	int64_t p = y - 1;

	if (y == 0)
		return -366;
	return p * 365 + p / 4 - p / 100 + p / 400;
}

enum { DAYS_BEFORE_1970 = 719162 };

static int64_t from_calendar(const struct calendar *c)
{
	/* Registers can hold anything: a month of 99 counts as January, a day of 99 runs on. */
	int64_t y = (int64_t)c->century * 100 + c->year, days = days_before(y) - DAYS_BEFORE_1970;
	unsigned month = c->month >= 1 && c->month <= 12 ? c->month : 1;

	for (unsigned m = 1; m < month; m++)
		days += month_days(y, m);
	days += (int64_t)c->day - 1;
	return ((days * 24 + c->hour) * 60 + c->minute) * 60 + c->second;
}

static void to_calendar(int64_t s, struct calendar *c)
{
	int64_t days = s / DAY_S, y;
	unsigned rest;

	if (s % DAY_S < 0)
		days--;
	rest = (unsigned)(s - days * DAY_S);
	c->second = rest % 60;
	c->minute = rest / 60 % 60;
	c->hour = rest / 3600;
	c->weekday = (unsigned)(((days + 4) % 7 + 7) % 7); /* 1 January 1970 was a Thursday */
	days += DAYS_BEFORE_1970;
	if (days < -366)
		days = -366;
	/* 400 years have 146097 days: the estimate is at most one year off. */
	y = days < 0 ? 0 : days * 400 / 146097 + 1;
	while (days < days_before(y))
		y--;
	while (days >= days_before(y + 1))
		y++;
	days -= days_before(y);
	for (c->month = 1; days >= month_days(y, c->month); c->month++)
		days -= month_days(y, c->month);
	c->day = (unsigned)days + 1;
	c->year = (unsigned)(y % 100);
	c->century = (unsigned)(y / 100 % 100);
}

static uint8_t encode(const struct mc146818 *r, unsigned v)
{
	return (uint8_t)(r->cmos[REG_B] & B_DM ? v : v / 10 % 10 << 4 | v % 10);
}

static unsigned decode(const struct mc146818 *r, uint8_t v)
{
	return r->cmos[REG_B] & B_DM ? v : (v >> 4) * 10u + (v & 15);
}

static uint8_t encode_hour(const struct mc146818 *r, unsigned h)
{
	if (r->cmos[REG_B] & B_24H)
		return encode(r, h);
	return (uint8_t)(encode(r, h % 12 ? h % 12 : 12) | (h >= 12 ? HOUR_PM : 0));
}

static unsigned decode_hour(const struct mc146818 *r, uint8_t v)
{
	if (r->cmos[REG_B] & B_24H)
		return decode(r, v);
	return decode(r, v & 0x7f) % 12 + (v & HOUR_PM ? 12 : 0);
}

/* --- time --- */

static bool set_mode(const struct mc146818 *r)
{
	return r->cmos[REG_B] & B_SET;
}

/* The divider runs with one of the three time bases, and not while it is reset. */
static bool divider_runs(const struct mc146818 *r)
{
	return (r->cmos[REG_A] & A_DV) <= 0x20;
}

static uint64_t since_base(const struct mc146818 *r, uint64_t now)
{
	return divider_runs(r) ? now - r->base_ns : 0;
}

static int64_t calendar_seconds(const struct mc146818 *r, uint64_t now)
{
	return (int64_t)r->base_s + (int64_t)(since_base(r, now) / SEC_NS);
}

/* Writes the calendar into the time bytes. */
static void time_to_bytes(struct mc146818 *r, uint64_t now)
{
	struct calendar c;

	to_calendar(calendar_seconds(r, now), &c);
	r->cmos[SECONDS] = encode(r, c.second);
	r->cmos[MINUTES] = encode(r, c.minute);
	r->cmos[HOURS] = encode_hour(r, c.hour);
	r->cmos[WEEKDAY] = encode(r, (c.weekday + r->wday_shift) % 7 + 1);
	r->cmos[DAY] = encode(r, c.day);
	r->cmos[MONTH] = encode(r, c.month);
	r->cmos[YEAR] = encode(r, c.year);
	r->cmos[CENTURY] = encode(r, c.century);
}

/* Makes the time bytes the calendar. The divider, and so the moment of the next update, stays as it is. */
static void time_from_bytes(struct mc146818 *r, uint64_t now)
{
	struct calendar c = {
		.second = decode(r, r->cmos[SECONDS]),
		.minute = decode(r, r->cmos[MINUTES]),
		.hour = decode_hour(r, r->cmos[HOURS]),
		.day = decode(r, r->cmos[DAY]),
		.month = decode(r, r->cmos[MONTH]),
		.year = decode(r, r->cmos[YEAR]),
		.century = decode(r, r->cmos[CENTURY]),
	};
	unsigned weekday = decode(r, r->cmos[WEEKDAY]);

	r->base_s = (uint64_t)from_calendar(&c);
	if (divider_runs(r))
		r->base_ns = now - since_base(r, now) % SEC_NS;
	to_calendar((int64_t)r->base_s, &c);
	r->wday_shift = (uint8_t)((weekday + 6 + 7 - c.weekday) % 7);
}

static bool is_time(unsigned i)
{
	return i == SECONDS || i == MINUTES || i == HOURS || (i >= WEEKDAY && i <= YEAR) || i == CENTURY;
}

/* --- interrupts --- */

/* The period of the periodic interrupt in cycles of 32768 Hz; 0: none. */
static unsigned period(const struct mc146818 *r)
{
	unsigned rs = r->cmos[REG_A] & A_RS;

	if (!rs)
		return 0;
	return rs <= 2 ? 64u << rs : 1u << (rs - 1);
}

static uint64_t cycles(uint64_t ns)
{
	return (uint64_t)((unsigned __int128)ns * BASE_HZ / SEC_NS);
}

static bool alarm_matches(const struct mc146818 *r, unsigned i, uint8_t reg)
{
	return (r->cmos[i] & 0xc0) == 0xc0 || r->cmos[i] == reg;
}

/* Seconds from calendar second @s to the next alarm, at least 1; 0: there is none. */
static unsigned until_alarm(const struct mc146818 *r, int64_t s)
{
	unsigned first = (unsigned)(((s + 1) % DAY_S + DAY_S) % DAY_S), t = first, passed = 0;

	while (passed < DAY_S) {
		unsigned step = 0;

		if (!alarm_matches(r, HOURS_ALARM, encode_hour(r, t / 3600)))
			step = 3600 - t % 3600;
		else if (!alarm_matches(r, MINUTES_ALARM, encode(r, t / 60 % 60)))
			step = 60 - t % 60;
		else if (!alarm_matches(r, SECONDS_ALARM, encode(r, t % 60)))
			step = 1;
		if (!step)
			return passed + 1;
		t = (t + step) % DAY_S;
		passed += step;
	}
	return 0;
}

/* Accounts what happened up to @now in register C. */
static void account(struct mc146818 *r, uint64_t now)
{
	uint64_t from = since_base(r, r->checked_ns), to = since_base(r, now);
	uint64_t s0 = from / SEC_NS, s1 = to / SEC_NS;
	unsigned p = period(r);
	uint8_t *c = &r->cmos[REG_C];

	r->checked_ns = now;
	if (to > from) {
		if (p && cycles(to) / p > cycles(from) / p)
			*c |= C_PF;
		if (s1 > s0 && !set_mode(r)) {
			unsigned wait = until_alarm(r, (int64_t)(r->base_s + s0));

			*c |= C_UF;
			if (wait && wait <= s1 - s0)
				*c |= C_AF;
		}
	}
	if (*c & r->cmos[REG_B] & C_FLAGS)
		*c |= C_IRQF;
	else
		*c &= ~C_IRQF;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Drives the line, and arms the timer for the next flag that will raise it. After account(). */
static void update_irq(struct mc146818 *r)
{
	uint64_t t = since_base(r, r->checked_ns), next = UINT64_MAX;
	uint8_t b = r->cmos[REG_B], c = r->cmos[REG_C];
	unsigned p = period(r), wait;

	irq_set(&r->irq, c & C_IRQF);
	if (!(c & C_IRQF) && divider_runs(r)) {
		if ((b & B_PIE) && p) {
			unsigned __int128 edge = (cycles(t) / p + 1) * p;

			next = (uint64_t)((edge * SEC_NS + BASE_HZ - 1) / BASE_HZ);
		}
		if ((b & B_UIE) && !set_mode(r))
			next = earlier(next, (t / SEC_NS + 1) * SEC_NS);
		if ((b & B_AIE) && !set_mode(r)) {
			wait = until_alarm(r, (int64_t)(r->base_s + t / SEC_NS));
			if (wait)
				next = earlier(next, (t / SEC_NS + wait) * SEC_NS);
		}
	}
	if (next == UINT64_MAX)
		vm_timer_cancel(r->time.timers, &r->timer);
	else
		vm_timer_set(r->time.timers, &r->timer, r->base_ns + next);
}

static void on_timer(void *opaque)
{
	struct mc146818 *r = opaque;

	account(r, now_ns(r));
	update_irq(r);
}

/* --- registers --- */

static uint8_t read_byte(struct mc146818 *r, unsigned i)
{
	uint64_t now = now_ns(r);
	uint8_t v;

	if (is_time(i)) {
		if (!set_mode(r))
			time_to_bytes(r, now);
		return r->cmos[i];
	}
	switch (i) {
	case REG_A:
		v = r->cmos[REG_A];
		if (!set_mode(r) && divider_runs(r) && since_base(r, now) % SEC_NS >= SEC_NS - UIP_NS)
			v |= A_UIP;
		return v;
	case REG_C:
		account(r, now);
		v = r->cmos[REG_C];
		r->cmos[REG_C] = 0;
		update_irq(r);
		return v;
	case REG_D: return D_VRT;
	default: return r->cmos[i];
	}
}

static void write_a(struct mc146818 *r, uint8_t v, uint64_t now)
{
	bool ran = divider_runs(r);
	int64_t s = calendar_seconds(r, now);

	r->cmos[REG_A] = v & ~A_UIP;
	if (ran == divider_runs(r))
		return;
	r->base_s = (uint64_t)s;
	/* The first update comes half a second after the divider is released. */
	r->base_ns = ran ? now : now - SEC_NS / 2;
}

static void write_b(struct mc146818 *r, uint8_t v, uint64_t now)
{
	bool was = set_mode(r);

	if (!was && (v & B_SET))
		time_to_bytes(r, now); /* in the format that was */
	if (v & B_SET)
		v &= ~B_UIE;
	r->cmos[REG_B] = v;
	if (was && !(v & B_SET))
		time_from_bytes(r, now);
}

static void write_byte(struct mc146818 *r, unsigned i, uint8_t v)
{
	uint64_t now = now_ns(r);

	if (i > REG_D && i != CENTURY) {
		r->cmos[i] = v;
		return;
	}
	account(r, now);
	if (is_time(i)) {
		if (!set_mode(r))
			time_to_bytes(r, now);
		r->cmos[i] = v;
		if (!set_mode(r))
			time_from_bytes(r, now);
	} else if (i == REG_A) {
		write_a(r, v, now);
	} else if (i == REG_B) {
		write_b(r, v, now);
	} else if (i != REG_C && i != REG_D) {
		r->cmos[i] = v;
	}
	account(r, now);
	update_irq(r);
}

static uint8_t read_port(void *chip, unsigned region, unsigned n)
{
	struct mc146818 *r = chip;
	bool second = region == MC146818_REGION_BANK1;

	if (n == 0)
		return second ? r->index[1] : 0xff;
	return read_byte(r, (r->index[second] & 0x7f) + second * 0x80u);
}

static void write_port(void *chip, unsigned region, unsigned n, uint8_t v)
{
	struct mc146818 *r = chip;
	bool second = region == MC146818_REGION_BANK1;

	if (n == 0)
		r->index[second] = second ? v & 0x7f : v;
	else
		write_byte(r, (r->index[second] & 0x7f) + second * 0x80u, v);
}

static uint64_t rtc_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	return bytes_read(read_port, chip, region, offset, size, MC146818_PORTS);
}

static void rtc_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	bytes_write(write_port, chip, region, offset, size, MC146818_PORTS, value);
}

/* --- what firmware leaves in CMOS --- */

void mc146818_set_byte(struct mc146818 *r, uint8_t index, uint8_t value)
{
	r->cmos[index] = value;
}

static void set_word(struct mc146818 *r, unsigned i, uint64_t v, uint64_t max)
{
	v = v < max ? v : max;
	r->cmos[i] = (uint8_t)v;
	r->cmos[i + 1] = (uint8_t)(v >> 8);
}

void mc146818_set_memory(struct mc146818 *r, uint64_t low, uint64_t high)
{
	uint64_t above_1m = low > 1 << 20 ? low - (1 << 20) : 0;
	uint64_t above_16m = low > 16 << 20 ? low - (16 << 20) : 0;
	uint64_t units = high >> 16;

	set_word(r, 0x15, 640, 640);
	set_word(r, 0x17, above_1m >> 10, 0xffff);
	set_word(r, 0x30, above_1m >> 10, 0xffff);
	set_word(r, 0x34, above_16m >> 16, 0xffff);
	units = units < 0xffffff ? units : 0xffffff;
	set_word(r, 0x5b, units & 0xffff, 0xffff);
	r->cmos[0x5d] = (uint8_t)(units >> 16);
}

/* --- reset and state --- */

/* The RESET pin: time, divider and memory go on by battery. */
static void rtc_reset(void *chip)
{
	struct mc146818 *r = chip;

	account(r, now_ns(r));
	r->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
	r->cmos[REG_C] = 0;
	memset(r->index, 0, sizeof(r->index));
	update_irq(r);
}

static int rtc_loaded(void *chip)
{
	struct mc146818 *r = chip;
	uint64_t now = now_ns(r);
	int64_t s = (int64_t)r->base_s;

	if (s < -base_s_max || s > base_s_max || r->wday_shift > 6)
		return -EPROTO;
	/* A base or a check in the future: no time has passed since. */
	if (now - r->base_ns > INT64_MAX)
		r->base_ns = now;
	if (now - r->checked_ns > now - r->base_ns)
		r->checked_ns = now;
	account(r, now);
	update_irq(r);
	return 0;
}

static const struct state_field fields[] = {
	STATE_UINTS(struct mc146818, index),
	STATE_BYTES(struct mc146818, cmos),
	STATE_UINT(struct mc146818, base_s),
	STATE_UINT(struct mc146818, base_ns),
	STATE_UINT(struct mc146818, wday_shift),
	STATE_UINT(struct mc146818, checked_ns),
	STATE_END,
};

static const struct state_class class = { .name = "mc146818", .version = 1, .fields = fields };

const struct chip_ops mc146818_ops = {
	.state = &class,
	.reset = rtc_reset,
	.read = rtc_read,
	.write = rtc_write,
	.loaded = rtc_loaded,
};

void mc146818_init(struct mc146818 *r, const struct chip_time *time, const struct irq_line *irq)
{
	*r = (struct mc146818){ .time = *time, .irq = *irq };
	vm_timer_init(&r->timer, on_timer, r);
	r->cmos[REG_A] = 0x26; /* 32768 Hz, 1024 interrupts a second, as a PC's firmware leaves it */
	r->cmos[REG_B] = B_24H;
	r->base_s = r->time.clock->epoch_s; /* at VM time 0 */
	r->checked_ns = now_ns(r);
	update_irq(r);
}
