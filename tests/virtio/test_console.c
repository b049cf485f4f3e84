// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of virtio/console.c. */
#include "rig.h"

#include "virtio/console.h"

#include <errno.h>
#include <string.h>

enum { IN, OUT, CTRL_IN, CTRL_OUT, IN1, OUT1 };
enum { READY = 0, ADD = 1, PORT_READY = 3, CONSOLE = 4, RESIZE = 5, OPEN = 6, NAME = 7 };
#define F_MULTIPORT 2ull
#define F_ALL 7ull
#define CTRL (RIG_DATA + 0x1000)
#define BUFFER (RIG_DATA + 0x10000)

static struct rig rig, other;
static struct virtio_console *console, *console2;

struct host {
	uint8_t got[8192];
	size_t len, room;
	unsigned changed;
};
static struct host host[2];

static size_t put(void *opaque, const uint8_t *bytes, size_t len)
{
	struct host *h = opaque;

	if (len > h->room)
		len = h->room;
	memcpy(h->got + h->len, bytes, len);
	h->len += len;
	h->room -= len;
	return len;
}

static void changed(void *opaque)
{
	((struct host *)opaque)->changed++;
}

static void make(struct rig *r, struct virtio_console **c, unsigned mode)
{
	struct virtio_console_port ports[] = {
		{ .put = put, .changed = changed, .opaque = &host[0] },
		{ .name = "org.subring.agent", .put = put, .changed = changed, .opaque = &host[1] },
	};

	rig_init(r, mode);
	assert_int_equal(virtio_console_create(r->ram, r->loop, ports, 2, c), 0);
	rig_attach(r, virtio_console_device(*c));
}

static void begin(unsigned mode, uint64_t features)
{
	memset(host, 0, sizeof(host));
	host[0].room = host[1].room = sizeof(host[0].got);
	make(&rig, &console, mode);
	rig_start(&rig, features, 32);
}

static void finish(struct rig *r, struct virtio_console *c)
{
	rig_set_status(r, 0);
	rig_detach(r);
	virtio_console_destroy(c);
	rig_done(r);
}

static void end(void)
{
	finish(&rig, console);
}

static void say(unsigned id, unsigned event, unsigned value)
{
	rig_put_le(&rig, CTRL, 4, id);
	rig_put_le(&rig, CTRL + 4, 4, event | value << 16);
	rig_do(&rig, CTRL_OUT, &(struct rig_part){ CTRL, 8 }, 1, 0);
	rig_run(&rig);
}

static void control_buffers(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		rig_add(&rig, CTRL_IN, &(struct rig_part){ CTRL + 0x100 + i * 0x100, 64 }, 0, 1);
	rig_kick(&rig, CTRL_IN);
	rig_run(&rig);
}

/* What the device says next must be this. */
static uint32_t hears(unsigned at, unsigned id, unsigned event, unsigned value)
{
	uint32_t len;

	assert_true(rig_used(&rig, CTRL_IN, NULL, &len));
	assert_int_equal(rig_get_le(&rig, CTRL + 0x100 + at * 0x100, 4), id);
	assert_int_equal(rig_get16(&rig, CTRL + 0x104 + at * 0x100), event);
	assert_int_equal(rig_get16(&rig, CTRL + 0x106 + at * 0x100), value);
	return len;
}

static void a_driver_without_ports_has_a_console(void **state)
{
	RIG_EACH(mode) {
		struct rig_part p[] = { { RIG_DATA, 3 }, { RIG_DATA + 3, 5 } };
		char got[8];
		uint32_t len;

		begin(mode, 0);
		rig_put(&rig, RIG_DATA, "hello, w", 8);
		rig_do(&rig, OUT, p, 2, 0);
		assert_int_equal(host[0].len, 8);
		assert_memory_equal(host[0].got, "hello, w", 8);
		assert_int_equal(virtio_console_input(console, 0, (const uint8_t *)"keys", 4), 0);
		rig_add(&rig, IN, p, 0, 2);
		host[0].changed = 0;
		rig_kick(&rig, IN);
		rig_run(&rig);
		assert_true(host[0].changed > 0);
		assert_int_equal(virtio_console_input(console, 0, (const uint8_t *)"keys", 4), 4);
		assert_true(rig_used(&rig, IN, NULL, &len));
		assert_int_equal(len, 4);
		rig_get(&rig, RIG_DATA, got, 4);
		assert_memory_equal(got, "keys", 4);
		assert_int_equal(rig_config(&rig, 0, 4), 80 | 25 << 16);
		end();
	}
}

static void input_fills_several_buffers_and_no_more(void **state)
{
	RIG_EACH(mode) {
		begin(mode, 0);
		for (unsigned i = 0; i < 3; i++)
			rig_add(&rig, IN, &(struct rig_part){ BUFFER + i * 4, 4 }, 0, 1);
		assert_int_equal(virtio_console_input(console, 0, (const uint8_t *)"0123456789abcdef", 16), 12);
		assert_int_equal(rig_get_le(&rig, BUFFER + 8, 4), 0x62613938);
		end();
	}
}

static void ports_are_told_one_thing_after_the_other(void **state)
{
	RIG_EACH(mode) {
		uint32_t len;
		char name[32] = { 0 };

		begin(mode, F_ALL);
		control_buffers(8);
		assert_false(rig_used(&rig, CTRL_IN, NULL, NULL));
		say(0, READY, 1);
		hears(0, 0, ADD, 0);
		hears(1, 1, ADD, 0);
		say(0, PORT_READY, 1);
		hears(2, 0, CONSOLE, 1);
		hears(3, 0, RESIZE, 0);
		assert_int_equal(rig_get16(&rig, CTRL + 0x108 + 0x300), 25);
		hears(4, 0, OPEN, 1);
		say(1, PORT_READY, 1);
		len = hears(5, 1, NAME, 1);
		rig_get(&rig, CTRL + 0x108 + 0x500, name, len - 8);
		assert_string_equal(name, "org.subring.agent");
		hears(6, 1, OPEN, 1);
		assert_false(rig_used(&rig, CTRL_IN, NULL, NULL));
		/* later changes */
		virtio_console_connect(console, 1, false);
		virtio_console_connect(console, 1, false);
		rig_run(&rig);
		hears(7, 1, OPEN, 0);
		virtio_console_resize(console, 132, 50);
		rig_run(&rig);
		assert_int_equal(rig_config(&rig, 0, 4), 132 | 50 << 16);
		assert_false(rig_used(&rig, CTRL_IN, NULL, NULL));
		control_buffers(1);
		hears(0, 0, RESIZE, 0);
		end();
	}
}

static void a_port_takes_input_while_it_is_open(void **state)
{
	begin(0, F_ALL);
	rig_add(&rig, IN1, &(struct rig_part){ BUFFER, 100 }, 0, 1);
	assert_int_equal(virtio_console_input(console, 1, (const uint8_t *)"x", 1), 0);
	host[1].changed = 0;
	say(1, OPEN, 1);
	assert_true(host[1].changed > 0);
	assert_int_equal(virtio_console_input(console, 1, (const uint8_t *)"x", 1), 1);
	say(1, OPEN, 0);
	rig_add(&rig, IN1, &(struct rig_part){ BUFFER, 100 }, 0, 1);
	assert_int_equal(virtio_console_input(console, 1, (const uint8_t *)"x", 1), 0);
	assert_int_equal(virtio_console_input(console, 2, (const uint8_t *)"x", 1), 0);
	/* output of the second port is its own */
	rig_put(&rig, RIG_DATA, "abc", 3);
	rig_do(&rig, OUT1, &(struct rig_part){ RIG_DATA, 3 }, 1, 0);
	assert_int_equal(host[0].len, 0);
	assert_int_equal(host[1].len, 3);
	end();
}

static void output_waits_for_a_back_end_that_is_full(void **state)
{
	RIG_EACH(mode) {
		struct rig_part p[] = { { RIG_DATA, 10 }, { RIG_DATA + 10, 10 } };

		begin(mode, 0);
		rig_put(&rig, RIG_DATA, "0123456789abcdefghijklmnopqrst", 30);
		host[0].room = 13;
		rig_add(&rig, OUT, p, 2, 0);
		rig_add(&rig, OUT, &(struct rig_part){ RIG_DATA + 20, 10 }, 1, 0);
		rig_kick(&rig, OUT);
		rig_run(&rig);
		assert_false(rig_used(&rig, OUT, NULL, NULL));
		host[0].room = 4;
		virtio_console_output_ready(console, 0);
		rig_run(&rig);
		assert_false(rig_used(&rig, OUT, NULL, NULL));
		host[0].room = 100;
		virtio_console_output_ready(console, 0);
		rig_run(&rig);
		assert_true(rig_used(&rig, OUT, NULL, NULL));
		assert_true(rig_used(&rig, OUT, NULL, NULL));
		assert_int_equal(host[0].len, 30);
		assert_memory_equal(host[0].got, "0123456789abcdefghijklmnopqrst", 30);
		end();
	}
}

static void an_emergency_write_needs_no_queue(void **state)
{
	memset(host, 0, sizeof(host));
	host[0].room = 10;
	make(&rig, &console, 0);
	rig_set_config(&rig, 8, 4, 'p');
	rig_set_config(&rig, 8, 4, 'q');
	rig_run(&rig);
	assert_int_equal(host[0].len, 2);
	assert_memory_equal(host[0].got, "pq", 2);
	end();
}

static void control_messages_that_cannot_be_mean_nothing(void **state)
{
	begin(0, F_ALL);
	say(7, PORT_READY, 1);
	say(0xffffffff, OPEN, 1);
	say(0, 99, 1);
	rig_do(&rig, CTRL_OUT, &(struct rig_part){ CTRL, 7 }, 1, 0);
	assert_false(rig_status(&rig) & VIRTIO_NEEDS_RESET);
	/* a buffer for less than a message */
	rig_add(&rig, CTRL_IN, &(struct rig_part){ CTRL + 0x100, 3 }, 0, 1);
	rig_kick(&rig, CTRL_IN);
	say(0, READY, 1);
	assert_true(rig_used(&rig, CTRL_IN, NULL, NULL));
	end();
}

static void queues_that_mean_nothing_are_left_alone(void **state)
{
	begin(0, 0);
	for (unsigned q = CTRL_IN; q <= OUT1; q++) {
		rig_add(&rig, q, &(struct rig_part){ RIG_DATA, 8 }, q & 1, !(q & 1));
		rig_kick(&rig, q);
		rig_run(&rig); /* which returns */
		assert_false(rig_used(&rig, q, NULL, NULL));
	}
	end();
}

static void a_saved_console_goes_on_in_the_middle_of_output(void **state)
{
	RIG_EACH(mode) {
		begin(mode, F_ALL);
		control_buffers(4);
		say(0, OPEN, 1);
		rig_put(&rig, RIG_DATA, "0123456789", 10);
		host[0].room = 4;
		rig_add(&rig, OUT, &(struct rig_part){ RIG_DATA, 10 }, 1, 0);
		rig_kick(&rig, OUT);
		rig_run(&rig);
		make(&other, &console2, mode);
		host[0].room = 100;
		assert_int_equal(rig_copy(&rig, &other, &virtio_console_ops, console, console2), 0);
		rig_run(&other);
		assert_true(rig_used(&other, OUT, NULL, NULL));
		/* the rest, from the copy; and once more from the original, which goes on as well */
		assert_memory_equal(host[0].got, "0123456789", 10);
		rig_add(&other, IN, &(struct rig_part){ BUFFER, 10 }, 0, 1);
		assert_int_equal(virtio_console_input(console2, 0, (const uint8_t *)"x", 1), 1);
		finish(&other, console2);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_driver_without_ports_has_a_console),
		cmocka_unit_test(input_fills_several_buffers_and_no_more),
		cmocka_unit_test(ports_are_told_one_thing_after_the_other),
		cmocka_unit_test(a_port_takes_input_while_it_is_open),
		cmocka_unit_test(output_waits_for_a_back_end_that_is_full),
		cmocka_unit_test(an_emergency_write_needs_no_queue),
		cmocka_unit_test(control_messages_that_cannot_be_mean_nothing),
		cmocka_unit_test(queues_that_mean_nothing_are_left_alone),
		cmocka_unit_test(a_saved_console_goes_on_in_the_middle_of_output),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
