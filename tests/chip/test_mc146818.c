// SPDX-License-Identifier: GPL-2.0-or-later
#include "rig.h"

#include "chip/mc146818.h"

#include <time.h>

enum { SEC, SEC_ALARM, MIN, MIN_ALARM, HOUR, HOUR_ALARM, WDAY, DAY, MONTH, YEAR, A, B, C, D, CENTURY = 0x32 };

#define SECOND 1000000000ull

struct rtc {
	struct rig rig;
	struct mc146818 r;
};

static struct rtc *fresh(struct rtc *s)
{
	memset(s, 0, sizeof(*s));
	rig_init(&s->rig);
	mc146818_init(&s->r, &s->rig.time, &s->rig.line[8]);
	return s;
}

static struct rtc *make(void **state)
{
	static struct rtc s;

	return fresh(&s);
}

static uint8_t get(struct rtc *s, unsigned i)
{
	mc146818_ops.write(&s->r, i >> 7, 0, 1, i & 0x7f);
	return (uint8_t)mc146818_ops.read(&s->r, i >> 7, 1, 1);
}

static void put(struct rtc *s, unsigned i, uint8_t v)
{
	mc146818_ops.write(&s->r, i >> 7, 0, 1, i & 0x7f);
	mc146818_ops.write(&s->r, i >> 7, 1, 1, v);
}

/* The whole time as Linux reads it, BCD. */
static void expect(struct rtc *s, unsigned date, unsigned time)
{
	assert_int_equal(get(s, CENTURY) << 24 | get(s, YEAR) << 16 | get(s, MONTH) << 8 | get(s, DAY), date);
	assert_int_equal(get(s, HOUR) << 16 | get(s, MIN) << 8 | get(s, SEC), time);
}

static void mc146818_tells_utc_of_the_vm_clock(void **state)
{
	struct rtc *s = make(state);

	expect(s, 0x20010909, 0x014640);
	assert_int_equal(get(s, WDAY), 1);
	rig_advance(&s->rig, 20 * SECOND - 1);
	expect(s, 0x20010909, 0x014659);
	rig_advance(&s->rig, 1);
	expect(s, 0x20010909, 0x014700);
	rig_advance(&s->rig, 86400ull * 365 * SECOND);
	expect(s, 0x20020909, 0x014700);
	assert_int_equal(get(s, WDAY), 2);
	assert_int_equal(get(s, D), 0x80);
}

static void mc146818_calendar_agrees_with_gmtime(void **state)
{
	struct rtc *s = make(state);

	put(s, B, 0x06); /* binary */
	for (uint64_t t = 0; t < 10000000000ull; t += 12345678) {
		time_t tt = (time_t)t;
		struct tm tm;

		gmtime_r(&tt, &tm);
		s->r.base_s = t;
		assert_int_equal(get(s, CENTURY) * 100 + get(s, YEAR), tm.tm_year + 1900);
		assert_int_equal(get(s, MONTH), tm.tm_mon + 1);
		assert_int_equal(get(s, DAY), tm.tm_mday);
		assert_int_equal(get(s, HOUR), tm.tm_hour);
		assert_int_equal(get(s, MIN), tm.tm_min);
		assert_int_equal(get(s, SEC), tm.tm_sec);
		assert_int_equal(get(s, WDAY), tm.tm_wday + 1);
		/* and the way back: rewriting a register with itself changes nothing */
		put(s, DAY, get(s, DAY));
		assert_int_equal(s->r.base_s, t);
	}
}

static void mc146818_formats(void **state)
{
	struct rtc *s = make(state);

	rig_advance(&s->rig, 13 * 3600 * SECOND); /* 14:46:40 */
	assert_int_equal(get(s, HOUR), 0x14);
	put(s, B, 0);
	assert_int_equal(get(s, HOUR), 0x82);
	put(s, B, 4);
	assert_int_equal(get(s, HOUR), 0x82);
	assert_int_equal(get(s, MIN), 46);
	rig_advance(&s->rig, 10 * 3600 * SECOND); /* 00:46:40 */
	assert_int_equal(get(s, HOUR), 12);
	put(s, HOUR, 0x80 | 11);
	put(s, B, 6);
	assert_int_equal(get(s, HOUR), 23);
	put(s, B, 0);
	put(s, HOUR, 0x12);
	put(s, B, 2);
	assert_int_equal(get(s, HOUR), 0);
}

static void mc146818_set_stops_and_starts_the_time(void **state)
{
	struct rtc *s = make(state);

	rig_advance(&s->rig, SECOND / 4);
	put(s, B, 0x82);
	rig_advance(&s->rig, 100 * SECOND);
	expect(s, 0x20010909, 0x014640);
	put(s, SEC, 0x58);
	put(s, MIN, 0x59);
	put(s, HOUR, 0x23);
	put(s, DAY, 0x28);
	put(s, MONTH, 0x02);
	put(s, YEAR, 0x24);
	put(s, WDAY, 0x04);
	put(s, CENTURY, 0x20);
	expect(s, 0x20240228, 0x235958);
	put(s, B, 0x02);
	expect(s, 0x20240228, 0x235958);
	/* the divider went on: the next update is three quarters of a second away */
	rig_advance(&s->rig, SECOND * 3 / 4 - 1);
	expect(s, 0x20240228, 0x235958);
	rig_advance(&s->rig, 1);
	expect(s, 0x20240228, 0x235959);
	rig_advance(&s->rig, SECOND);
	expect(s, 0x20240229, 0x000000);
	assert_int_equal(get(s, WDAY), 5);
}

static void mc146818_uip_warns_244_us_before_the_update(void **state)
{
	struct rtc *s = make(state);

	rig_advance(&s->rig, SECOND - 244001);
	assert_int_equal(get(s, A), 0x26);
	rig_advance(&s->rig, 1);
	assert_int_equal(get(s, A), 0xa6);
	assert_int_equal(get(s, SEC), 0x40);
	rig_advance(&s->rig, 243999);
	assert_int_equal(get(s, A), 0xa6);
	rig_advance(&s->rig, 1);
	assert_int_equal(get(s, A), 0x26);
	assert_int_equal(get(s, SEC), 0x41);
	rig_advance(&s->rig, SECOND - 100000);
	put(s, B, 0x82);
	assert_int_equal(get(s, A), 0x26);
}

static void mc146818_divider_reset_gives_half_a_second(void **state)
{
	struct rtc *s = make(state);

	rig_advance(&s->rig, SECOND / 3);
	put(s, A, 0x76);
	rig_advance(&s->rig, 10 * SECOND);
	assert_int_equal(get(s, SEC), 0x40);
	put(s, A, 0x26);
	rig_advance(&s->rig, SECOND / 2 - 1);
	assert_int_equal(get(s, SEC), 0x40);
	rig_advance(&s->rig, 1);
	assert_int_equal(get(s, SEC), 0x41);
}

static void mc146818_update_ended_interrupt(void **state)
{
	struct rtc *s = make(state);

	put(s, B, 0x12);
	rig_advance(&s->rig, SECOND - 1);
	assert_false(s->rig.level[8]);
	rig_advance(&s->rig, 1);
	assert_true(s->rig.level[8]);
	rig_advance(&s->rig, 5 * SECOND);
	assert_int_equal(s->rig.rises[8], 1); /* nobody read register C */
	assert_int_equal(get(s, C) & 0xb0, 0x90);
	assert_false(s->rig.level[8]);
	assert_int_equal(get(s, C), 0);
	rig_advance(&s->rig, SECOND);
	assert_int_equal(s->rig.rises[8], 2);
	put(s, B, 0x92);
	assert_int_equal(get(s, B), 0x82); /* SET clears UIE */
}

static void mc146818_flags_are_set_without_interrupts_too(void **state)
{
	struct rtc *s = make(state);

	rig_advance(&s->rig, SECOND);
	assert_null(s->rig.timers.head);
	assert_int_equal(get(s, C), 0x50);
	assert_int_equal(get(s, C), 0);
	assert_int_equal(s->rig.rises[8], 0);
}

static void mc146818_periodic_interrupt_has_all_rates(void **state)
{
	for (unsigned rs = 1; rs < 16; rs++) {
		struct rtc *s = make(state);
		unsigned hz = rs == 1 ? 256 : rs == 2 ? 128 : 32768 >> (rs - 1), seen = 0;

		put(s, A, (uint8_t)(0x20 | rs));
		put(s, B, 0x42);
		for (unsigned i = 0; i < 32768; i++) {
			rig_advance(&s->rig, SECOND / 32768 + (i % 8 < 5));
			if (s->rig.level[8]) {
				seen++;
				assert_int_equal(get(s, C) & 0xc0, 0xc0);
			}
		}
		assert_in_range(seen, hz - 1, hz);
	}
}

static void mc146818_alarm_matches_and_ignores(void **state)
{
	struct rtc *s = make(state);

	put(s, HOUR_ALARM, 0x01);
	put(s, MIN_ALARM, 0x47);
	put(s, SEC_ALARM, 0x05);
	put(s, B, 0x22);
	rig_advance(&s->rig, 25 * SECOND - 1);
	assert_false(s->rig.level[8]);
	rig_advance(&s->rig, 1);
	assert_true(s->rig.level[8]);
	assert_int_equal(get(s, C) & 0xa0, 0xa0);
	rig_advance(&s->rig, 86400 * SECOND - 1);
	assert_int_equal(s->rig.rises[8], 1);
	rig_advance(&s->rig, 1);
	assert_int_equal(s->rig.rises[8], 2);
	get(s, C);
	put(s, HOUR_ALARM, 0xff); /* every hour */
	put(s, MIN_ALARM, 0xc0);  /* every minute */
	rig_advance(&s->rig, 60 * SECOND);
	assert_int_equal(s->rig.rises[8], 3);
	get(s, C);
	put(s, SEC_ALARM, 0xc0);
	rig_advance(&s->rig, SECOND);
	assert_int_equal(s->rig.rises[8], 4);
	get(s, C);
	put(s, SEC_ALARM, 0x77); /* never */
	rig_advance(&s->rig, 86400 * 2 * SECOND);
	assert_int_equal(s->rig.rises[8], 4);
}

static void mc146818_keeps_memory_in_both_banks(void **state)
{
	struct rtc *s = make(state);

	for (unsigned i = 0x0e; i < 256; i++)
		if (i != CENTURY)
			put(s, i, (uint8_t)(i * 7));
	for (unsigned i = 0x0e; i < 256; i++)
		if (i != CENTURY)
			assert_int_equal(get(s, i), (uint8_t)(i * 7));
	mc146818_ops.reset(&s->r);
	assert_int_equal(get(s, 0x40), (uint8_t)(0x40 * 7));
	assert_int_equal(mc146818_ops.read(&s->r, 0, 0, 1), 0xff);
}

static void mc146818_tells_memory_sizes(void **state)
{
	struct rtc *s = make(state);

	mc146818_set_memory(&s->r, 64ull << 20, 0);
	assert_int_equal(get(s, 0x15) | get(s, 0x16) << 8, 640);
	assert_int_equal(get(s, 0x17) | get(s, 0x18) << 8, 63 << 10);
	assert_int_equal(get(s, 0x34) | get(s, 0x35) << 8, 48 * 16);
	mc146818_set_memory(&s->r, 0xb0000000, 5ull << 30);
	assert_int_equal(get(s, 0x30) | get(s, 0x31) << 8, 0xffff);
	assert_int_equal(get(s, 0x34) | get(s, 0x35) << 8, (0xb0000000u - (16u << 20)) >> 16);
	assert_int_equal(get(s, 0x5b) | get(s, 0x5c) << 8 | get(s, 0x5d) << 16, 5 << 14);
}

static void mc146818_reset_keeps_the_time(void **state)
{
	struct rtc *s = make(state);

	put(s, B, 0x52);
	rig_advance(&s->rig, 3 * SECOND + 5);
	assert_true(s->rig.level[8]);
	mc146818_ops.reset(&s->r);
	assert_false(s->rig.level[8]);
	assert_int_equal(get(s, B), 0x02);
	expect(s, 0x20010909, 0x014643);
	assert_null(s->rig.timers.head);
}

static void mc146818_survives_absurd_times(void **state)
{
	struct rtc *s = make(state);

	for (unsigned mode = 0; mode < 8; mode += 2)
		for (unsigned v = 0; v < 256; v += 5) {
			put(s, B, (uint8_t)(0x80 | mode));
			for (unsigned i = 0; i < 10; i++)
				put(s, i, (uint8_t)(v + i * 77));
			put(s, CENTURY, (uint8_t)(v * 3));
			put(s, B, (uint8_t)mode);
			rig_advance(&s->rig, 12345678901);
			for (unsigned i = 0; i < 14; i++)
				get(s, i);
			get(s, CENTURY);
		}
}

static void mc146818_goes_on_from_a_saved_second(void **state)
{
	struct rtc *s = make(state);
	static struct rtc t;

	put(s, B, 0x72);
	put(s, SEC, 0x30);
	put(s, HOUR_ALARM, 0xc0);
	put(s, MIN_ALARM, 0xc0);
	put(s, SEC_ALARM, 0x33);
	rig_advance(&s->rig, 1234567890);
	fresh(&t);
	t.rig.clock = s->rig.clock;
	assert_int_equal(rig_copy(&mc146818_ops, &s->r, &t.r), 0);
	s->rig.rises[8] = t.rig.rises[8] = 0;
	for (unsigned i = 0; i < 3000; i++) {
		assert_int_equal(get(s, SEC), get(&t, SEC));
		assert_int_equal(s->rig.level[8], t.rig.level[8]);
		if (i % 3 == 0)
			assert_int_equal(get(s, C), get(&t, C));
		rig_advance(&s->rig, 1444444);
		rig_advance(&t.rig, 1444444);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mc146818_tells_utc_of_the_vm_clock),
		cmocka_unit_test(mc146818_calendar_agrees_with_gmtime),
		cmocka_unit_test(mc146818_formats),
		cmocka_unit_test(mc146818_set_stops_and_starts_the_time),
		cmocka_unit_test(mc146818_uip_warns_244_us_before_the_update),
		cmocka_unit_test(mc146818_divider_reset_gives_half_a_second),
		cmocka_unit_test(mc146818_update_ended_interrupt),
		cmocka_unit_test(mc146818_flags_are_set_without_interrupts_too),
		cmocka_unit_test(mc146818_periodic_interrupt_has_all_rates),
		cmocka_unit_test(mc146818_alarm_matches_and_ignores),
		cmocka_unit_test(mc146818_keeps_memory_in_both_banks),
		cmocka_unit_test(mc146818_tells_memory_sizes),
		cmocka_unit_test(mc146818_reset_keeps_the_time),
		cmocka_unit_test(mc146818_survives_absurd_times),
		cmocka_unit_test(mc146818_goes_on_from_a_saved_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
