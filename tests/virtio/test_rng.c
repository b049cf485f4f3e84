// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of virtio/rng.c. */
#include "rig.h"

#include "virtio/rng.h"

#include <string.h>

static struct rig rig;
static struct virtio_rng *rng;

static void begin(unsigned mode)
{
	rig_init(&rig, mode);
	assert_int_equal(virtio_rng_create(rig.ram, rig.loop, &rng), 0);
	rig_attach(&rig, &rng->dev);
	rig_start(&rig, 0, 8);
}

static void end(void)
{
	rig_detach(&rig);
	virtio_rng_destroy(rng);
	rig_done(&rig);
}

static void a_buffer_is_filled_with_bytes_that_differ_each_time(void **state)
{
	RIG_EACH(mode) {
		struct rig_part p[] = { { RIG_DATA, 100 }, { RIG_DATA + 200, 300 } };
		uint8_t a[500], b[500];

		begin(mode);
		memset(a, 0, sizeof(a));
		rig_put(&rig, RIG_DATA, a, sizeof(a));
		assert_int_equal(rig_do(&rig, 0, p, 0, 2), 400);
		rig_get(&rig, RIG_DATA, a, sizeof(a));
		assert_int_equal(rig_do(&rig, 0, p, 0, 2), 400);
		rig_get(&rig, RIG_DATA, b, sizeof(b));
		assert_memory_not_equal(a, b, 100);
		assert_memory_not_equal(a + 200, b + 200, 300);
		/* between and behind the parts nothing was written */
		for (unsigned i = 100; i < 200; i++)
			assert_int_equal(a[i], 0);
		assert_memory_equal(a + 100, b + 100, 100);
		assert_int_equal(rig_interrupts(&rig, 0), 2);
		end();
	}
}

static void a_huge_request_gets_a_part(void **state)
{
	struct rig_part p[] = { { RIG_DATA, 1 << 20 } };

	begin(0);
	assert_int_equal(rig_do(&rig, 0, p, 0, 1), 4096);
	end();
}

static void a_request_without_room_comes_back_empty(void **state)
{
	struct rig_part p[] = { { RIG_DATA, 64 } };

	begin(0);
	assert_int_equal(rig_do(&rig, 0, p, 1, 0), 0);
	end();
}

static void a_buffer_outside_of_ram_costs_the_guest_its_device(void **state)
{
	struct rig_part p[] = { { RIG_RAM_HALF - 10, 64 } };

	begin(0);
	rig_add(&rig, 0, p, 0, 1);
	rig_kick(&rig, 0);
	rig_run(&rig);
	assert_true(rig_status(&rig) & VIRTIO_NEEDS_RESET);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_buffer_is_filled_with_bytes_that_differ_each_time),
		cmocka_unit_test(a_huge_request_gets_a_part),
		cmocka_unit_test(a_request_without_room_comes_back_empty),
		cmocka_unit_test(a_buffer_outside_of_ram_costs_the_guest_its_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
