// SPDX-License-Identifier: GPL-2.0-or-later
/* The single ports: debug console, debug exit, POST code. */
#include "rig.h"

#include "chip/debug_exit.h"
#include "chip/debugcon.h"
#include "chip/port80.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(debugcon_says_it_is_there_and_passes_bytes_on),
		cmocka_unit_test(debug_exit_tells_the_value),
		cmocka_unit_test(port80_remembers_and_is_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
