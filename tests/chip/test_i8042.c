// SPDX-License-Identifier: GPL-2.0-or-later
#include "rig.h"

#include "chip/i8042.h"

struct kbc {
	struct rig rig;
	struct i8042 k;
};

static struct kbc *fresh(struct kbc *s)
{
	memset(s, 0, sizeof(*s));
	rig_init(&s->rig);
	i8042_init(&s->k, &s->rig.line[1], rig_call, &s->rig);
	return s;
}

static struct kbc *make(void **state)
{
	static struct kbc s;

	return fresh(&s);
}

static uint8_t status(struct kbc *s)
{
	return (uint8_t)i8042_ops.read(&s->k, I8042_REGION_COMMAND, 0, 1);
}

static uint8_t data(struct kbc *s)
{
	assert_int_equal(status(s) & 1, 1);
	return (uint8_t)i8042_ops.read(&s->k, I8042_REGION_DATA, 0, 1);
}

static void command(struct kbc *s, uint8_t v)
{
	i8042_ops.write(&s->k, I8042_REGION_COMMAND, 0, 1, v);
}

static void send(struct kbc *s, uint8_t v)
{
	i8042_ops.write(&s->k, I8042_REGION_DATA, 0, 1, v);
}

static void i8042_passes_its_tests(void **state)
{
	struct kbc *s = make(state);

	assert_int_equal(status(s), 0x14); /* SYS, not locked */
	command(s, 0xaa);
	assert_int_equal(status(s) & 8, 8);
	assert_int_equal(data(s), 0x55);
	assert_int_equal(status(s) & 1, 0);
	command(s, 0xab);
	assert_int_equal(data(s), 0);
	command(s, 0xa4);
	assert_int_equal(data(s), 0xf1);
}

static void i8042_command_byte_reads_back(void **state)
{
	struct kbc *s = make(state);

	command(s, 0x20);
	assert_int_equal(data(s), 0x65);
	command(s, 0x60);
	send(s, 0x30);
	command(s, 0x20);
	assert_int_equal(data(s), 0x30);
	assert_int_equal(status(s) & 4, 0);
	command(s, 0xae);
	command(s, 0x20);
	assert_int_equal(data(s), 0x20);
	command(s, 0xad);
	command(s, 0x20);
	assert_int_equal(data(s), 0x30);
	command(s, 0x65);
	send(s, 0x99);
	command(s, 0x25);
	assert_int_equal(data(s), 0x99);
}

/* Linux: i8042_check_aux must end with "no port", without waiting for anything that never comes. */
static void i8042_has_no_auxiliary_port(void **state)
{
	struct kbc *s = make(state);

	command(s, 0xd3);
	send(s, 0x5a);
	assert_int_equal(status(s) & 0x21, 0x01); /* a byte, but not from an auxiliary device */
	command(s, 0xa9);
	assert_int_equal(data(s), 1);
	command(s, 0xd4);
	send(s, 0xff);
	assert_int_equal(status(s) & 0x41, 0x41);
	assert_int_equal(data(s), 0xfe);
	assert_int_equal(status(s) & 0x41, 0);
}

static void i8042_keyboard_answers_what_atkbd_asks(void **state)
{
	struct kbc *s = make(state);

	send(s, 0xff);
	assert_int_equal(data(s), 0xfa);
	assert_int_equal(data(s), 0xaa);
	send(s, 0xf2);
	assert_int_equal(data(s), 0xfa);
	assert_int_equal(data(s), 0xab);
	assert_int_equal(data(s), 0x41); /* 0x83, translated */
	send(s, 0xed);
	assert_int_equal(data(s), 0xfa);
	send(s, 0x02);
	assert_int_equal(data(s), 0xfa);
	send(s, 0xf3);
	assert_int_equal(data(s), 0xfa);
	send(s, 0x00);
	assert_int_equal(data(s), 0xfa);
	send(s, 0xf4);
	assert_int_equal(data(s), 0xfa);
	send(s, 0xee);
	assert_int_equal(data(s), 0xee);
	send(s, 0xfe);
	assert_int_equal(data(s), 0xee);
	send(s, 0x12);
	assert_int_equal(data(s), 0xfe);
	assert_int_equal(status(s) & 1, 0);
}

static void i8042_keyboard_knows_its_scan_code_set(void **state)
{
	struct kbc *s = make(state);

	command(s, 0x60);
	send(s, 0x05); /* no translation */
	send(s, 0xf0);
	assert_int_equal(data(s), 0xfa);
	send(s, 0);
	assert_int_equal(data(s), 0xfa);
	assert_int_equal(data(s), 2);
	send(s, 0xf0);
	data(s);
	send(s, 3);
	assert_int_equal(data(s), 0xfa);
	send(s, 0xf0);
	data(s);
	send(s, 0);
	data(s);
	assert_int_equal(data(s), 3);
	send(s, 0xf0);
	data(s);
	send(s, 0xf2); /* a command in place of the byte it waits for */
	assert_int_equal(data(s), 0xfa);
	assert_int_equal(data(s), 0xab);
	assert_int_equal(data(s), 0x83);
}

static void i8042_interrupts_for_each_byte(void **state)
{
	struct kbc *s = make(state);

	send(s, 0xff);
	assert_int_equal(s->rig.rises[1], 1);
	data(s);
	assert_int_equal(s->rig.rises[1], 2);
	data(s);
	assert_int_equal(s->rig.rises[1], 2);
	assert_false(s->rig.level[1]);
	command(s, 0x60);
	send(s, 0x64); /* interrupt off */
	send(s, 0xee);
	assert_false(s->rig.level[1]);
	command(s, 0x60);
	send(s, 0x65);
	assert_true(s->rig.level[1]);
}

static void i8042_disabled_keyboard_keeps_its_bytes(void **state)
{
	struct kbc *s = make(state);

	send(s, 0xf2);
	command(s, 0xad);
	assert_int_equal(data(s), 0xfa);
	assert_int_equal(status(s) & 1, 0);
	command(s, 0xae);
	assert_int_equal(data(s), 0xab);
}

static void i8042_resets_the_machine(void **state)
{
	struct kbc *s = make(state);

	command(s, 0xff);
	assert_int_equal(s->rig.calls, 0);
	command(s, 0xfe);
	assert_int_equal(s->rig.calls, 1);
	command(s, 0xd1);
	send(s, 0x02);
	assert_int_equal(s->rig.calls, 2);
	i8042_ops.write(&s->k, I8042_REGION_PORT92, 0, 1, 2);
	assert_int_equal(s->rig.calls, 2);
	i8042_ops.write(&s->k, I8042_REGION_PORT92, 0, 1, 3);
	assert_int_equal(s->rig.calls, 3);
	i8042_ops.write(&s->k, I8042_REGION_PORT92, 0, 1, 3);
	assert_int_equal(s->rig.calls, 3);
}

static void i8042_a20_has_two_switches(void **state)
{
	struct kbc *s = make(state);

	assert_true(i8042_a20(&s->k));
	command(s, 0xd1);
	send(s, 0xdd);
	assert_false(i8042_a20(&s->k));
	assert_int_equal(i8042_ops.read(&s->k, I8042_REGION_PORT92, 0, 1), 0);
	i8042_ops.write(&s->k, I8042_REGION_PORT92, 0, 1, 2);
	assert_true(i8042_a20(&s->k));
	command(s, 0xd0);
	assert_int_equal(data(s) & 3, 3);
	command(s, 0xdd);
	assert_false(i8042_a20(&s->k));
	command(s, 0xdf);
	assert_true(i8042_a20(&s->k));
}

static void i8042_tells_of_each_change_of_the_a20_gate(void **state)
{
	struct kbc *s = make(state);
	static struct kbc t;

	i8042_wire_a20(&s->k, &s->rig.line[2]);
	s->rig.level[2] = true;
	command(s, 0xdf); /* it is open */
	command(s, 0xdd);
	assert_false(s->rig.level[2]);
	i8042_ops.write(&s->k, I8042_REGION_PORT92, 0, 1, 2);
	assert_true(s->rig.level[2]);
	assert_int_equal(s->rig.rises[2], 1);
	command(s, 0xd1); /* the output port, with the CPU's reset line up */
	send(s, 0x01);
	assert_false(s->rig.level[2]);
	fresh(&t);
	i8042_wire_a20(&t.k, &t.rig.line[2]);
	t.rig.level[2] = true;
	assert_int_equal(rig_copy(&i8042_ops, &s->k, &t.k), 0);
	assert_false(t.rig.level[2]);
	i8042_ops.reset(&t.k);
	assert_true(t.rig.level[2] && i8042_a20(&t.k));
}

static void i8042_goes_on_from_a_saved_answer(void **state)
{
	struct kbc *s = make(state);
	static struct kbc t;

	send(s, 0xf2);
	data(s);
	command(s, 0x60); /* waits for its byte */
	fresh(&t);
	assert_int_equal(rig_copy(&i8042_ops, &s->k, &t.k), 0);
	assert_true(t.rig.level[1]);
	assert_int_equal(data(&t), 0xab);
	send(&t, 0x05);
	assert_int_equal(data(&t), 0x41);
	command(&t, 0x20);
	assert_int_equal(data(&t), 0x05);
	t.k.kbd_count = I8042_QUEUE + 1;
	assert_int_equal(i8042_ops.loaded(&t.k), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(i8042_passes_its_tests),
		cmocka_unit_test(i8042_command_byte_reads_back),
		cmocka_unit_test(i8042_has_no_auxiliary_port),
		cmocka_unit_test(i8042_keyboard_answers_what_atkbd_asks),
		cmocka_unit_test(i8042_keyboard_knows_its_scan_code_set),
		cmocka_unit_test(i8042_interrupts_for_each_byte),
		cmocka_unit_test(i8042_disabled_keyboard_keeps_its_bytes),
		cmocka_unit_test(i8042_resets_the_machine),
		cmocka_unit_test(i8042_a20_has_two_switches),
		cmocka_unit_test(i8042_tells_of_each_change_of_the_a20_gate),
		cmocka_unit_test(i8042_goes_on_from_a_saved_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
