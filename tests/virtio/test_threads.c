// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A device whose loop runs on a thread of its own while this one is the driver, and the monitor that pauses and resets. Nothing here is timed: a
 * chain that does not come back keeps the test waiting, until its time limit ends it.
 */
#include "echo.h"

#include <poll.h>

enum { CHAINS = 600 };

static struct rig rig;
static struct echo echo;

static void *io_thread(void *opaque)
{
	return loop_run(opaque) ? opaque : NULL;
}

static void wait_used(unsigned n)
{
	while (!rig_used(&rig, n, NULL, NULL))
		poll(NULL, 0, 1);
}

static void begin(unsigned mode, pthread_t *t)
{
	rig_init(&rig, mode);
	echo_init(&echo, &rig);
	rig.threaded = true;
	assert_int_equal(pthread_create(t, NULL, io_thread, rig.loop), 0);
}

static void end(pthread_t t)
{
	void *failed;

	loop_stop(rig.loop);
	pthread_join(t, &failed);
	assert_null(failed);
	rig.threaded = false;
	echo_done(&echo, &rig);
}

static void no_chain_is_lost_between_the_threads(void **state)
{
	for (unsigned mode = 0; mode < RIG_MMIO; mode++) {
		struct rig_part p[] = { { RIG_DATA, 8 }, { RIG_DATA + 16, 8 } };
		pthread_t t;

		begin(mode, &t);
		rig_start(&rig, 0, 16);
		for (unsigned i = 0; i < CHAINS; i++) {
			unsigned burst = 1 + i % 4, n = i & 1;

			for (unsigned k = 0; k < burst; k++)
				rig_add(&rig, n, p, 1, 1);
			rig_kick(&rig, n);
			for (unsigned k = 0; k < burst; k++)
				wait_used(n);
		}
		assert_false(rig_status(&rig) & VIRTIO_NEEDS_RESET);
		end(t);
	}
}

static void pauses_and_resets_come_between_chains(void **state)
{
	for (unsigned mode = 0; mode < RIG_MMIO; mode++) {
		struct rig_part p[] = { { RIG_DATA, 8 }, { RIG_DATA + 16, 8 } };
		pthread_t t;

		begin(mode, &t);
		rig_start(&rig, 0, 16);
		for (unsigned i = 0; i < CHAINS / 10; i++) {
			rig_add(&rig, 0, p, 1, 1);
			rig_kick(&rig, 0);
			if (i % 3 == 0) {
				virtio_pause(&echo.dev);
				assert_int_equal(echo.dev.in_flight, 0);
				virtio_resume(&echo.dev);
			}
			if (i % 5 == 0) {
				rig_start(&rig, 0, 16);
				continue;
			}
			wait_used(0);
		}
		end(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_chain_is_lost_between_the_threads),
		cmocka_unit_test(pauses_and_resets_come_between_chains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
