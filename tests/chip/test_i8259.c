// SPDX-License-Identifier: GPL-2.0-or-later
#include "rig.h"

#include "chip/i8259.h"

enum { M = I8259_REGION_MASTER, S = I8259_REGION_SLAVE, E = I8259_REGION_ELCR };

struct pics {
	struct rig rig;
	struct i8259_pair p;
};

static uint8_t in(struct pics *s, unsigned region, unsigned n)
{
	return (uint8_t)i8259_ops.read(&s->p, region, n, 1);
}

static void out(struct pics *s, unsigned region, unsigned n, uint8_t v)
{
	i8259_ops.write(&s->p, region, n, 1, v);
}

static void init_with(struct pics *s, uint8_t icw4_master, uint8_t icw4_slave)
{
	out(s, M, 0, 0x11);
	out(s, M, 1, 0x30);
	out(s, M, 1, 0x04);
	out(s, M, 1, icw4_master);
	out(s, S, 0, 0x11);
	out(s, S, 1, 0x38);
	out(s, S, 1, 0x02);
	out(s, S, 1, icw4_slave);
}

static struct pics *make(void **state)
{
	static struct pics s;

	memset(&s, 0, sizeof(s));
	rig_init(&s.rig);
	i8259_init(&s.p, &s.rig.line[0]);
	init_with(&s, 1, 1);
	return &s;
}

static void pulse(struct pics *s, unsigned n)
{
	i8259_set_irq(&s->p, n, false);
	i8259_set_irq(&s->p, n, true);
}

static bool intr(struct pics *s)
{
	assert_int_equal(s->rig.level[0], i8259_output(&s->p));
	return s->rig.level[0];
}

static void i8259_is_silent_until_initialized(void **state)
{
	struct pics *s = make(state);

	i8259_ops.reset(&s->p);
	pulse(s, 1);
	assert_false(intr(s));
	out(s, M, 0, 0x11);
	out(s, M, 1, 0x30);
	out(s, M, 1, 0x04);
	assert_false(intr(s));
	out(s, M, 1, 1);
	assert_false(intr(s)); /* ICW1 forgot the edge */
	pulse(s, 1);
	assert_true(intr(s));
	assert_int_equal(i8259_ack(&s->p), 0x31);
}

static void i8259_mask_register_reads_back(void **state)
{
	struct pics *s = make(state);

	out(s, M, 1, 0xfb);
	out(s, S, 1, 0xa5);
	assert_int_equal(in(s, M, 1), 0xfb);
	assert_int_equal(in(s, S, 1), 0xa5);
}

static void i8259_delivers_by_priority_and_nests(void **state)
{
	struct pics *s = make(state);

	pulse(s, 5);
	pulse(s, 1);
	assert_int_equal(in(s, M, 0), 0x22); /* IRR */
	assert_int_equal(i8259_ack(&s->p), 0x31);
	assert_false(intr(s)); /* 5 is lower than what is in service */
	out(s, M, 0, 0x0b);
	assert_int_equal(in(s, M, 0), 0x02); /* ISR */
	pulse(s, 0);
	assert_true(intr(s));
	assert_int_equal(i8259_ack(&s->p), 0x30);
	assert_int_equal(in(s, M, 0), 0x03);
	out(s, M, 0, 0x20);
	assert_int_equal(in(s, M, 0), 0x02);
	assert_false(intr(s));
	out(s, M, 0, 0x61);
	assert_true(intr(s));
	assert_int_equal(i8259_ack(&s->p), 0x35);
}

static void i8259_mask_holds_back(void **state)
{
	struct pics *s = make(state);

	out(s, M, 1, 0x08);
	pulse(s, 3);
	assert_false(intr(s));
	out(s, M, 1, 0);
	assert_true(intr(s));
}

static void i8259_slave_comes_through_the_cascade(void **state)
{
	struct pics *s = make(state);

	pulse(s, 12);
	assert_true(intr(s));
	assert_int_equal(in(s, M, 0), 0x04);
	assert_int_equal(i8259_ack(&s->p), 0x3c);
	pulse(s, 8); /* higher in the slave, but the master serves its input 2 */
	assert_false(intr(s));
	out(s, S, 0, 0x20);
	out(s, M, 0, 0x20);
	assert_true(intr(s));
	assert_int_equal(i8259_ack(&s->p), 0x38);
}

static void i8259_special_fully_nested_mode_lets_the_slave_interrupt_itself(void **state)
{
	struct pics *s = make(state);

	init_with(s, 0x11, 1);
	pulse(s, 12);
	assert_int_equal(i8259_ack(&s->p), 0x3c);
	pulse(s, 8);
	assert_true(intr(s));
	assert_int_equal(i8259_ack(&s->p), 0x38);
	pulse(s, 9);
	assert_false(intr(s));
}

static void i8259_request_that_vanishes_is_spurious(void **state)
{
	struct pics *s = make(state);

	pulse(s, 3);
	assert_true(intr(s));
	i8259_set_irq(&s->p, 3, false);
	assert_false(intr(s));
	assert_int_equal(i8259_ack(&s->p), 0x37);
	out(s, M, 0, 0x0b);
	assert_int_equal(in(s, M, 0), 0);
	/* In the slave: the master has its input 2 in service. */
	out(s, S, 0, 0x68); /* special mask has no part in it */
	pulse(s, 10);
	out(s, S, 1, 0xff);
	assert_false(intr(s));
}

static void i8259_edge_needs_a_new_edge_and_level_does_not(void **state)
{
	struct pics *s = make(state);

	i8259_set_irq(&s->p, 5, true);
	assert_int_equal(i8259_ack(&s->p), 0x35);
	out(s, M, 0, 0x20);
	i8259_set_irq(&s->p, 5, true);
	assert_false(intr(s));
	out(s, E, 0, 0xff);
	assert_int_equal(in(s, E, 0), 0xf8);
	out(s, E, 1, 0xff);
	assert_int_equal(in(s, E, 1), 0xde);
	assert_true(intr(s)); /* the line is still up */
	assert_int_equal(i8259_ack(&s->p), 0x35);
	out(s, M, 0, 0x20);
	assert_true(intr(s));
	i8259_set_irq(&s->p, 5, false);
	assert_false(intr(s));
	i8259_set_irq(&s->p, 5, true);
	out(s, E, 0, 0);
	assert_false(intr(s)); /* an edge input again, and no edge since */
}

static void i8259_rotation_gives_equal_chances(void **state)
{
	struct pics *s = make(state);

	pulse(s, 3);
	pulse(s, 4);
	assert_int_equal(i8259_ack(&s->p), 0x33);
	out(s, M, 0, 0xa0); /* rotate on non-specific EOI: 3 is now lowest */
	pulse(s, 3);
	assert_int_equal(i8259_ack(&s->p), 0x34);
	out(s, M, 0, 0x64);
	assert_int_equal(i8259_ack(&s->p), 0x33);
	out(s, M, 0, 0xe3); /* rotate on specific EOI */
	out(s, M, 0, 0xc5); /* set priority: 5 lowest, 6 highest */
	pulse(s, 6);
	pulse(s, 0);
	assert_int_equal(i8259_ack(&s->p), 0x36);
}

static void i8259_automatic_eoi_leaves_nothing_in_service(void **state)
{
	struct pics *s = make(state);

	init_with(s, 3, 1);
	out(s, M, 0, 0x0b);
	pulse(s, 3);
	assert_int_equal(i8259_ack(&s->p), 0x33);
	assert_int_equal(in(s, M, 0), 0);
	out(s, M, 0, 0x80); /* rotate in AEOI mode */
	pulse(s, 3);
	assert_int_equal(i8259_ack(&s->p), 0x33);
	pulse(s, 3);
	pulse(s, 4);
	assert_int_equal(i8259_ack(&s->p), 0x34);
}

static void i8259_special_mask_mode_opens_lower_inputs(void **state)
{
	struct pics *s = make(state);

	pulse(s, 1);
	assert_int_equal(i8259_ack(&s->p), 0x31);
	pulse(s, 6);
	assert_false(intr(s));
	out(s, M, 1, 0x02);
	assert_false(intr(s));
	out(s, M, 0, 0x68);
	assert_true(intr(s));
	assert_int_equal(i8259_ack(&s->p), 0x36);
	out(s, M, 0, 0x20); /* a non-specific EOI passes over the masked one */
	out(s, M, 0, 0x0b);
	assert_int_equal(in(s, M, 0), 0x02);
	out(s, M, 0, 0x48);
	pulse(s, 6);
	assert_false(intr(s));
}

static void i8259_poll_acknowledges(void **state)
{
	struct pics *s = make(state);

	out(s, M, 0, 0x0c);
	assert_int_equal(in(s, M, 0), 0);
	pulse(s, 4);
	out(s, M, 0, 0x0c);
	assert_int_equal(in(s, M, 0), 0x84);
	assert_false(intr(s));
	assert_int_equal(in(s, M, 0), 0); /* IRR again */
	out(s, M, 0, 0x0b);
	assert_int_equal(in(s, M, 0), 0x10);
}

static void i8259_single_mode_skips_icw3(void **state)
{
	struct pics *s = make(state);

	out(s, M, 0, 0x12); /* no ICW4, single */
	out(s, M, 1, 0x40);
	out(s, M, 1, 0x0f);
	assert_int_equal(in(s, M, 1), 0x0f);
	out(s, M, 1, 0);
	pulse(s, 2); /* the cascade input is not to be driven */
	assert_false(intr(s));
	pulse(s, 7);
	assert_int_equal(i8259_ack(&s->p), 0x47);
}

static void i8259_goes_on_from_a_saved_service(void **state)
{
	struct pics *s = make(state);
	static struct pics t;

	pulse(s, 12);
	pulse(s, 3);
	i8259_ack(&s->p);
	out(s, S, 0, 0x11); /* and in the middle of initializing the slave */
	out(s, S, 1, 0x70);
	memset(&t, 0, sizeof(t));
	rig_init(&t.rig);
	i8259_init(&t.p, &t.rig.line[0]);
	assert_int_equal(rig_copy(&i8259_ops, &s->p, &t.p), 0);
	out(&t, S, 1, 0x02);
	out(&t, S, 1, 0x01);
	pulse(&t, 12);
	assert_false(intr(&t)); /* its input of the master is in service, and covers 3 too */
	out(&t, M, 0, 0x20);
	assert_int_equal(i8259_ack(&t.p), 0x74);
	assert_int_equal(in(&t, M, 0), 0x08);
	out(&t, M, 0, 0x0b);
	assert_int_equal(in(&t, M, 0), 0x04);
}

static void i8259_goes_on_rotating_automatically(void **state)
{
	struct pics *s = make(state);
	static struct pics t;

	init_with(s, 3, 1);
	out(s, M, 0, 0x80);
	memset(&t, 0, sizeof(t));
	rig_init(&t.rig);
	i8259_init(&t.p, &t.rig.line[0]);
	assert_int_equal(rig_copy(&i8259_ops, &s->p, &t.p), 0);
	pulse(&t, 3);
	assert_int_equal(i8259_ack(&t.p), 0x33);
	pulse(&t, 3);
	pulse(&t, 4);
	assert_int_equal(i8259_ack(&t.p), 0x34);
}

static void i8259_refuses_impossible_states(void **state)
{
	struct pics *s = make(state);

	s->p.pic[0].lowest = 8;
	assert_int_equal(i8259_ops.loaded(&s->p), -EPROTO);
	s->p.pic[0].lowest = 7;
	s->p.pic[1].init = 9;
	assert_int_equal(i8259_ops.loaded(&s->p), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(i8259_is_silent_until_initialized),
		cmocka_unit_test(i8259_mask_register_reads_back),
		cmocka_unit_test(i8259_delivers_by_priority_and_nests),
		cmocka_unit_test(i8259_mask_holds_back),
		cmocka_unit_test(i8259_slave_comes_through_the_cascade),
		cmocka_unit_test(i8259_special_fully_nested_mode_lets_the_slave_interrupt_itself),
		cmocka_unit_test(i8259_request_that_vanishes_is_spurious),
		cmocka_unit_test(i8259_edge_needs_a_new_edge_and_level_does_not),
		cmocka_unit_test(i8259_rotation_gives_equal_chances),
		cmocka_unit_test(i8259_automatic_eoi_leaves_nothing_in_service),
		cmocka_unit_test(i8259_special_mask_mode_opens_lower_inputs),
		cmocka_unit_test(i8259_poll_acknowledges),
		cmocka_unit_test(i8259_single_mode_skips_icw3),
		cmocka_unit_test(i8259_goes_on_from_a_saved_service),
		cmocka_unit_test(i8259_goes_on_rotating_automatically),
		cmocka_unit_test(i8259_refuses_impossible_states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
