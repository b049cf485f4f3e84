// SPDX-License-Identifier: GPL-2.0-or-later
/* The single ports: debug console, debug exit, POST code. */
#include "rig.h"

#include "chip/debug_exit.h"
#include "chip/debugcon.h"
#include "chip/port80.h"
#include "chip/test_device.h"

static void debugcon_says_it_is_there_and_passes_bytes_on(void **state)
{
	struct rig r;
	struct debugcon d;

	rig_init(&r);
	debugcon_init(&d, &r.stream);
	assert_int_equal(debugcon_ops.read(&d, 0, 0, 1), 0xe9);
	debugcon_ops.write(&d, 0, 0, 1, 'o');
	debugcon_ops.write(&d, 0, 0, 4, 'k');
	assert_int_equal(r.out_len, 2);
	assert_memory_equal(r.out, "ok", 2);
	r.stream.put = NULL;
	debugcon_init(&d, &r.stream);
	debugcon_ops.write(&d, 0, 0, 1, 'x');
}

static void debug_exit_tells_the_value(void **state)
{
	struct rig r;
	struct debug_exit d;

	rig_init(&r);
	debug_exit_init(&d, rig_call_with, &r);
	debug_exit_ops.write(&d, 0, 0, 1, 0xffffff07);
	assert_int_equal(r.calls, 1);
	assert_int_equal(r.call_value, 7);
	debug_exit_ops.write(&d, 0, 0, 4, 0x80000001);
	assert_int_equal(r.call_value, 0x80000001);
	debug_exit_ops.write(&d, 0, 1, 1, 9);
	assert_int_equal(r.calls, 2);
}

static void port80_remembers_and_is_saved(void **state)
{
	struct port80 p, q;

	port80_init(&p);
	port80_init(&q);
	port80_ops.write(&p, 0, 0, 1, 0xed);
	port80_ops.write(&p, 0, 15, 2, 0xaabb);
	assert_int_equal(port80_ops.read(&p, 0, 0, 1), 0xed);
	assert_int_equal(port80_ops.read(&p, 0, 15, 2), 0xffbb);
	assert_int_equal(rig_copy(&port80_ops, &p, &q), 0);
	assert_int_equal(q.byte[0], 0xed);
	port80_ops.reset(&p);
	assert_int_equal(port80_ops.read(&p, 0, 0, 1), 0);
}

static void test_device_remembers_and_is_saved(void **state)
{
	static struct test_device t, u;
	struct rig r;

	rig_init(&r);
	test_device_init(&t, &r.line[0]);
	test_device_init(&u, &r.line[0]);
	test_device_ops.write(&t, TEST_DEVICE_REGION_LATCH, 0, 4, 0x12345678);
	test_device_ops.write(&t, TEST_DEVICE_REGION_LATCH, 1, 1, 0xff);
	assert_int_equal(test_device_ops.read(&t, TEST_DEVICE_REGION_LATCH, 0, 4), 0x1234ff78);
	test_device_ops.write(&t, TEST_DEVICE_REGION_MEMORY, 65528, 8, 0x0102030405060708);
	test_device_ops.write(&t, TEST_DEVICE_REGION_MEMORY, 65536, 8, 1);
	assert_int_equal(test_device_ops.read(&t, TEST_DEVICE_REGION_MEMORY, 65532, 4), 0x01020304);
	assert_int_equal(rig_copy(&test_device_ops, &t, &u), 0);
	assert_int_equal(test_device_ops.read(&u, TEST_DEVICE_REGION_LATCH, 0, 4), 0x1234ff78);
	assert_int_equal(test_device_ops.read(&u, TEST_DEVICE_REGION_MEMORY, 65535, 1), 1);
	t.lines = 1u << 24;
	assert_int_equal(rig_copy(&test_device_ops, &t, &u), -EPROTO);
}

static void test_device_drives_the_lines_that_were_written(void **state)
{
	static struct test_device t;
	struct rig r;

	rig_init(&r);
	test_device_init(&t, &r.line[0]);
	r.level[3] = true; /* somebody else's */
	test_device_ops.write(&t, TEST_DEVICE_REGION_LINES, 5, 1, 1);
	test_device_ops.write(&t, TEST_DEVICE_REGION_LINES, 7, 4, 1); /* as one write */
	test_device_ops.write(&t, TEST_DEVICE_REGION_LINES, 24, 1, 1);
	assert_true(r.level[5] && r.level[7] && !r.level[8]);
	test_device_ops.write(&t, TEST_DEVICE_REGION_LINES, 5, 1, 0);
	assert_false(r.level[5]);
	test_device_ops.reset(&t);
	assert_false(r.level[7]);
	assert_true(r.level[3]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(debugcon_says_it_is_there_and_passes_bytes_on),
		cmocka_unit_test(debug_exit_tells_the_value),
		cmocka_unit_test(port80_remembers_and_is_saved),
		cmocka_unit_test(test_device_remembers_and_is_saved),
		cmocka_unit_test(test_device_drives_the_lines_that_were_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
