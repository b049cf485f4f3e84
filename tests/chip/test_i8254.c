// SPDX-License-Identifier: GPL-2.0-or-later
#include "rig.h"

#include "chip/i8254.h"

struct pit {
	struct rig rig;
	struct i8254 p;
};

static struct pit *fresh(struct pit *s)
{
	memset(s, 0, sizeof(*s));
	rig_init(&s->rig);
	i8254_init(&s->p, &s->rig.time, &s->rig.line[0]);
	return s;
}

static struct pit *make(void **state)
{
	static struct pit s;

	return fresh(&s);
}

static uint8_t in(struct pit *s, unsigned n)
{
	return (uint8_t)i8254_ops.read(&s->p, I8254_REGION_COUNTERS, n, 1);
}

static void out(struct pit *s, unsigned n, uint8_t v)
{
	i8254_ops.write(&s->p, I8254_REGION_COUNTERS, n, 1, v);
}

static uint8_t in61(struct pit *s)
{
	return (uint8_t)i8254_ops.read(&s->p, I8254_REGION_PORT61, 0, 1);
}

static void out61(struct pit *s, uint8_t v)
{
	i8254_ops.write(&s->p, I8254_REGION_PORT61, 0, 1, v);
}

static bool out2(struct pit *s)
{
	return in61(s) & 0x20;
}

/* Moves to the beginning of the @n-th tick from the present one. */
static void ticks(struct pit *s, uint64_t n)
{
	uint64_t now = (uint64_t)((unsigned __int128)rig_now(&s->rig) * I8254_HZ / 1000000000);
	uint64_t ns = (uint64_t)(((unsigned __int128)(now + n) * 1000000000 + I8254_HZ - 1) / I8254_HZ);

	if (ns > rig_now(&s->rig))
		rig_advance(&s->rig, ns - rig_now(&s->rig));
}

static void program(struct pit *s, unsigned counter, unsigned mode, uint16_t count)
{
	out(s, 3, (uint8_t)(counter << 6 | 3 << 4 | mode << 1));
	out(s, counter, (uint8_t)count);
	out(s, counter, (uint8_t)(count >> 8));
}

static unsigned count(struct pit *s, unsigned counter)
{
	uint8_t low;

	out(s, 3, (uint8_t)(counter << 6));
	low = in(s, counter);
	return low | in(s, counter) << 8;
}

static void i8254_mode0_raises_out_when_the_count_has_passed(void **state)
{
	struct pit *s = make(state);

	out61(s, 1);
	program(s, 2, 0, 100);
	assert_false(out2(s));
	ticks(s, 1);
	assert_int_equal(count(s, 2), 100);
	ticks(s, 40);
	assert_int_equal(count(s, 2), 60);
	ticks(s, 59);
	assert_int_equal(count(s, 2), 1);
	assert_false(out2(s));
	ticks(s, 1);
	assert_true(out2(s));
	assert_int_equal(count(s, 2), 0);
	ticks(s, 1);
	assert_int_equal(count(s, 2), 0xffff); /* it goes on counting */
	ticks(s, 70000);
	assert_true(out2(s));
	out(s, 2, 1); /* the first byte of a new count takes OUT down */
	assert_false(out2(s));
}

static void i8254_mode0_gate_holds_the_count(void **state)
{
	struct pit *s = make(state);

	out61(s, 1);
	program(s, 2, 0, 100);
	ticks(s, 31);
	out61(s, 0);
	ticks(s, 500);
	assert_int_equal(count(s, 2), 70);
	out61(s, 1);
	ticks(s, 69);
	assert_false(out2(s));
	ticks(s, 1);
	assert_true(out2(s));
}

static void i8254_mode1_is_started_by_the_gate(void **state)
{
	struct pit *s = make(state);

	out61(s, 0);
	program(s, 2, 1, 50);
	ticks(s, 100);
	assert_true(out2(s));
	out61(s, 1);
	ticks(s, 1);
	assert_false(out2(s));
	ticks(s, 30);
	out61(s, 0);
	out61(s, 1); /* retriggered */
	ticks(s, 50);
	assert_false(out2(s));
	ticks(s, 1);
	assert_true(out2(s));
}

static void i8254_mode2_counts_and_reloads(void **state)
{
	struct pit *s = make(state);

	out61(s, 1);
	program(s, 2, 2, 10);
	assert_true(out2(s));
	ticks(s, 1);
	for (unsigned i = 0; i < 35; i++) {
		assert_int_equal(count(s, 2), 10 - i % 10);
		assert_int_equal(out2(s), i % 10 != 9);
		ticks(s, 1);
	}
	out61(s, 0);
	assert_true(out2(s));
	out61(s, 1);
	ticks(s, 1);
	assert_int_equal(count(s, 2), 10);
}

static void i8254_mode2_takes_a_new_count_at_the_end_of_the_period(void **state)
{
	struct pit *s = make(state);

	out61(s, 1);
	program(s, 2, 2, 10);
	ticks(s, 1 + 4);
	out(s, 2, 6);
	out(s, 2, 0);
	ticks(s, 5);
	assert_int_equal(count(s, 2), 1);
	ticks(s, 1);
	assert_int_equal(count(s, 2), 6);
	ticks(s, 6);
	assert_int_equal(count(s, 2), 6);
}

static void i8254_mode3_is_a_square_wave_that_counts_by_two(void **state)
{
	static const uint8_t even[] = { 6, 4, 2, 6, 4, 2 }, odd[] = { 4, 2, 0, 4, 2 };
	struct pit *s = make(state);

	out61(s, 1);
	program(s, 2, 3, 6);
	ticks(s, 1);
	for (unsigned i = 0; i < 12; i++) {
		assert_int_equal(count(s, 2), even[i % 6]);
		assert_int_equal(out2(s), i % 6 < 3);
		ticks(s, 1);
	}
	program(s, 2, 3, 5);
	ticks(s, 1);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(count(s, 2), odd[i % 5]);
		assert_int_equal(out2(s), i % 5 < 3);
		ticks(s, 1);
	}
}

static void i8254_mode3_takes_a_new_count_at_the_end_of_the_half_period(void **state)
{
	struct pit *s = make(state);

	out61(s, 1);
	program(s, 2, 3, 20);
	ticks(s, 1 + 5);
	out(s, 2, 8);
	out(s, 2, 0);
	ticks(s, 4);
	assert_true(out2(s));
	ticks(s, 1); /* the low half, of the new count */
	for (unsigned i = 0; i < 4; i++, ticks(s, 1))
		assert_false(out2(s));
	for (unsigned i = 0; i < 4; i++, ticks(s, 1))
		assert_true(out2(s));
	assert_false(out2(s));
}

static void i8254_modes_4_and_5_strobe_once(void **state)
{
	struct pit *s = make(state);

	for (unsigned mode = 4; mode <= 5; mode++) {
		out61(s, mode == 4);
		program(s, 2, mode, 20);
		out61(s, 1);
		ticks(s, 1);
		for (unsigned i = 0; i < 100; i++) {
			assert_int_equal(out2(s), i != 20);
			ticks(s, 1);
		}
	}
}

static void i8254_counts_in_bcd(void **state)
{
	struct pit *s = make(state);

	out61(s, 1);
	out(s, 3, 0xb5); /* counter 2, both bytes, mode 2, BCD */
	out(s, 2, 0x00);
	out(s, 2, 0x10);
	ticks(s, 1);
	assert_int_equal(count(s, 2), 0x1000);
	ticks(s, 1);
	assert_int_equal(count(s, 2), 0x0999);
	ticks(s, 999);
	assert_int_equal(count(s, 2), 0x1000);
	out(s, 3, 0xb5);
	out(s, 2, 0);
	out(s, 2, 0);
	ticks(s, 2);
	assert_int_equal(count(s, 2), 0x9999);
}

static void i8254_latch_holds_until_both_bytes_are_read(void **state)
{
	struct pit *s = make(state);
	uint8_t low;

	program(s, 0, 2, 0x1234);
	ticks(s, 1);
	out(s, 3, 0x00);
	ticks(s, 3);
	out(s, 3, 0x00); /* ignored: there is one already */
	low = in(s, 0);
	ticks(s, 300);
	assert_int_equal(in(s, 0) << 8 | low, 0x1234);
	low = in(s, 0); /* live again */
	assert_int_equal(in(s, 0) << 8 | low, 0x1234 - 303);
}

static void i8254_one_byte_access_modes(void **state)
{
	struct pit *s = make(state);

	out(s, 3, 0x14); /* low byte only, mode 2 */
	out(s, 0, 200);
	ticks(s, 1);
	assert_int_equal(in(s, 0), 200);
	ticks(s, 1);
	assert_int_equal(in(s, 0), 199);
	out(s, 3, 0x24); /* high byte only */
	out(s, 0, 2);
	ticks(s, 1);
	assert_int_equal(in(s, 0), 2);
	ticks(s, 1);
	assert_int_equal(in(s, 0), 1);
}

static void i8254_read_back_gives_status_then_count(void **state)
{
	struct pit *s = make(state);
	uint8_t low;

	out(s, 3, 0x34);
	out(s, 3, 0xe2); /* status of counter 0 */
	assert_int_equal(in(s, 0), 0x80 | 0x40 | 0x34);
	out(s, 0, 0x00);
	out(s, 0, 0x20);
	ticks(s, 1);
	out(s, 3, 0xc2); /* status and count */
	ticks(s, 9);
	assert_int_equal(in(s, 0), 0x80 | 0x34);
	low = in(s, 0);
	assert_int_equal(in(s, 0) << 8 | low, 0x2000);
	out(s, 3, 0xde); /* nothing of anything */
	assert_int_equal(in(s, 0), 0x2000 - 9 - 0x1f00);
}

static void i8254_mode2_interrupts_do_not_drift(void **state)
{
	struct pit *s = make(state);
	const uint64_t latch = 11932; /* 100 Hz, as Linux computes it */

	program(s, 0, 2, (uint16_t)latch);
	s->rig.rises[0] = 0;
	rig_advance(&s->rig, 3600ull * 1000000000);
	assert_int_equal(s->rig.rises[0], (3600ull * I8254_HZ - 1) / latch);
	/* the last one came at its exact tick */
	assert_int_equal(s->rig.last_rise_ns[0],
			 (((uint64_t)s->rig.rises[0] * latch + 1) * 1000000000 + I8254_HZ - 1) / I8254_HZ);
}

static void i8254_missed_interrupts_are_merged_and_the_next_is_on_time(void **state)
{
	struct pit *s = make(state);

	program(s, 0, 2, 11932);
	s->rig.rises[0] = 0;
	rig_advance_late(&s->rig, 1000000000);
	assert_int_equal(s->rig.rises[0], 1);
	assert_true(s->rig.level[0]);
	rig_advance(&s->rig, 10000000);
	assert_int_equal(s->rig.rises[0], 2);
	assert_int_equal(s->rig.last_rise_ns[0], ((100ull * 11932 + 1) * 1000000000 + I8254_HZ - 1) / I8254_HZ);
}

static void i8254_mode3_line_is_the_wave(void **state)
{
	struct pit *s = make(state);

	program(s, 0, 3, 0);
	s->rig.rises[0] = 0;
	ticks(s, 1 + 32767);
	assert_true(s->rig.level[0]);
	ticks(s, 1);
	assert_false(s->rig.level[0]);
	ticks(s, 32768);
	assert_true(s->rig.level[0]);
	assert_int_equal(s->rig.rises[0], 1);
}

static void i8254_one_shot_interrupts_once(void **state)
{
	struct pit *s = make(state);

	out(s, 3, 0x38); /* mode 4: what Linux uses */
	s->rig.rises[0] = 0;
	out(s, 0, 100);
	out(s, 0, 0);
	ticks(s, 101);
	assert_int_equal(s->rig.rises[0], 0);
	rig_advance(&s->rig, 1000);
	ticks(s, 1);
	rig_advance(&s->rig, 1000000000);
	assert_int_equal(s->rig.rises[0], 1);
	program(s, 0, 0, 100);
	assert_false(s->rig.level[0]);
	ticks(s, 100);
	assert_int_equal(s->rig.rises[0], 1);
	ticks(s, 1);
	assert_int_equal(s->rig.rises[0], 2);
	rig_advance(&s->rig, 1000000000);
	assert_int_equal(s->rig.rises[0], 2);
	assert_null(s->rig.timers.head);
}

static void i8254_a_fast_wave_does_not_flood(void **state)
{
	struct pit *s = make(state);

	program(s, 0, 2, 2);
	s->rig.rises[0] = 0;
	rig_advance(&s->rig, 1000000);
	assert_in_range(s->rig.rises[0], 10, 20);
}

/* Linux: quick_pit_calibrate (arch/x86/kernel/tsc.c), with reads 1 us apart. */
static void i8254_quick_calibration_sees_the_high_byte_fall(void **state)
{
	struct pit *s = make(state);
	uint64_t start, end;

	out61(s, (in61(s) & ~2) | 1);
	out(s, 3, 0xb0);
	out(s, 2, 0xff);
	out(s, 2, 0xff);
	in(s, 2);
	in(s, 2);
	start = 0;
	for (unsigned msb = 0xff; msb > 0xff - 50; msb--) {
		unsigned n = 0;

		for (;; n++) {
			in(s, 2);
			rig_advance(&s->rig, 1000);
			if (in(s, 2) != msb)
				break;
			rig_advance(&s->rig, 1000);
		}
		assert_true(n > 5);
		end = rig_now(&s->rig);
		if (msb == 0xff)
			start = end;
	}
	/* 49 * 256 ticks */
	assert_in_range(end - start, 10513000 - 4000, 10513000 + 4000);
}

/* Linux: pit_calibrate_tsc: mode 0 for 10 ms, polling OUT2. */
static void i8254_calibration_by_out2_takes_its_time(void **state)
{
	struct pit *s = make(state);
	unsigned latch = I8254_HZ / 100;
	uint64_t start;

	out61(s, (in61(s) & ~2) | 1);
	out(s, 3, 0xb0);
	out(s, 2, (uint8_t)latch);
	out(s, 2, (uint8_t)(latch >> 8));
	start = rig_now(&s->rig);
	while (!out2(s))
		rig_advance(&s->rig, 1000);
	assert_in_range(rig_now(&s->rig) - start, 9999000, 10002000);
}

static void i8254_port61_toggles_refresh(void **state)
{
	struct pit *s = make(state);
	unsigned changes = 0;
	uint8_t was = in61(s) & 0x10;

	for (unsigned i = 0; i < 1000; i++) {
		rig_advance(&s->rig, 1000);
		changes += (in61(s) & 0x10) != was;
		was = in61(s) & 0x10;
	}
	assert_in_range(changes, 65, 67);
	out61(s, 0xff);
	assert_int_equal(in61(s) & ~0x30, 0x0f);
}

static void i8254_goes_on_from_a_saved_period(void **state)
{
	struct pit *s = make(state);
	static struct pit t;

	program(s, 0, 2, 11932);
	out61(s, 1);
	program(s, 2, 0, 50000);
	out(s, 3, 0x80);
	in(s, 2); /* half of a latched count */
	rig_advance(&s->rig, 5000000);
	fresh(&t);
	t.rig.clock = s->rig.clock;
	assert_int_equal(rig_copy(&i8254_ops, &s->p, &t.p), 0);
	t.rig.rises[0] = s->rig.rises[0] = 0;
	for (unsigned i = 0; i < 2000; i++) {
		assert_int_equal(in(s, 2), in(&t, 2));
		assert_int_equal(in(s, 0), in(&t, 0));
		assert_int_equal(in61(s), in61(&t));
		rig_advance(&s->rig, 77777);
		rig_advance(&t.rig, 77777);
		assert_int_equal(s->rig.rises[0], t.rig.rises[0]);
	}
	assert_true(t.rig.rises[0] > 10);
}

static void i8254_refuses_impossible_states(void **state)
{
	struct pit *s = make(state);

	program(s, 0, 2, 100);
	s->p.counter[0].count = 0;
	assert_int_equal(i8254_ops.loaded(&s->p), -EPROTO);
	s->p.counter[0].count = 65537;
	assert_int_equal(i8254_ops.loaded(&s->p), -EPROTO);
	s->p.counter[0].count = 65536;
	assert_int_equal(i8254_ops.loaded(&s->p), 0);
	s->p.counter[1].mode = 6;
	assert_int_equal(i8254_ops.loaded(&s->p), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(i8254_mode0_raises_out_when_the_count_has_passed),
		cmocka_unit_test(i8254_mode0_gate_holds_the_count),
		cmocka_unit_test(i8254_mode1_is_started_by_the_gate),
		cmocka_unit_test(i8254_mode2_counts_and_reloads),
		cmocka_unit_test(i8254_mode2_takes_a_new_count_at_the_end_of_the_period),
		cmocka_unit_test(i8254_mode3_is_a_square_wave_that_counts_by_two),
		cmocka_unit_test(i8254_mode3_takes_a_new_count_at_the_end_of_the_half_period),
		cmocka_unit_test(i8254_modes_4_and_5_strobe_once),
		cmocka_unit_test(i8254_counts_in_bcd),
		cmocka_unit_test(i8254_latch_holds_until_both_bytes_are_read),
		cmocka_unit_test(i8254_one_byte_access_modes),
		cmocka_unit_test(i8254_read_back_gives_status_then_count),
		cmocka_unit_test(i8254_mode2_interrupts_do_not_drift),
		cmocka_unit_test(i8254_missed_interrupts_are_merged_and_the_next_is_on_time),
		cmocka_unit_test(i8254_mode3_line_is_the_wave),
		cmocka_unit_test(i8254_one_shot_interrupts_once),
		cmocka_unit_test(i8254_a_fast_wave_does_not_flood),
		cmocka_unit_test(i8254_quick_calibration_sees_the_high_byte_fall),
		cmocka_unit_test(i8254_calibration_by_out2_takes_its_time),
		cmocka_unit_test(i8254_port61_toggles_refresh),
		cmocka_unit_test(i8254_goes_on_from_a_saved_period),
		cmocka_unit_test(i8254_refuses_impossible_states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
