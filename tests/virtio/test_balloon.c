// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of virtio/balloon.c, and of ram_discard behind it. */
#include "rig.h"

#include "virtio/balloon.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { INFLATE, DEFLATE, STATS, REPORT_LINUX, REPORT };
#define ALL (1ull << 1 | 1ull << 2 | 1ull << 5)
#define PAGES 0x600000ull

static struct rig rig, other;
static struct virtio_balloon *balloon, *balloon2;

static void begin(unsigned mode)
{
	rig_init(&rig, mode);
	assert_int_equal(virtio_balloon_create(rig.ram, rig.loop, &balloon), 0);
	rig_attach(&rig, virtio_balloon_device(balloon));
	rig_start(&rig, ALL, 16);
}

static void end(void)
{
	rig_set_status(&rig, 0);
	rig_detach(&rig);
	virtio_balloon_destroy(balloon);
	rig_done(&rig);
}

static void touch(uint64_t gpa, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++)
		rig_put_le(&rig, gpa + i * 4096, 8, 0x1234567890);
}

/* Blocks of 512 bytes that the host has given for guest memory. */
static uint64_t taken(void)
{
	struct stat st;

	assert_int_equal(fstat(rig.ram->fds.ram, &st), 0);
	return (uint64_t)st.st_blocks;
}

static void pages_in_the_balloon_go_back_to_the_host(void **state)
{
	RIG_EACH(mode) {
		uint64_t before;

		begin(mode);
		touch(PAGES, 16);
		touch(RIG_HIGH, 1);
		for (unsigned i = 0; i < 8; i++)
			rig_put_le(&rig, RIG_DATA + i * 4, 4, (PAGES >> 12) + (i < 4 ? i : 11 - i));
		rig_put_le(&rig, RIG_DATA + 32, 4, RIG_HIGH >> 12);
		before = taken();
		rig_do(&rig, INFLATE, (struct rig_part[]){ { RIG_DATA, 10 }, { RIG_DATA + 10, 26 } }, 2, 0);
		assert_int_equal(before - taken(), 9 * 8);
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(rig_get_le(&rig, PAGES + i * 4096, 8), i < 8 ? 0 : 0x1234567890);
		assert_int_equal(rig_get_le(&rig, RIG_HIGH, 8), 0);
		/* and come again */
		rig_do(&rig, DEFLATE, &(struct rig_part){ RIG_DATA, 36 }, 1, 0);
		touch(PAGES, 8);
		assert_int_equal(rig_get_le(&rig, PAGES, 8), 0x1234567890);
		end();
	}
}

static void page_numbers_that_are_no_ram_mean_nothing(void **state)
{
	begin(0);
	rig_put_le(&rig, RIG_DATA, 4, 0xffffffff);
	rig_put_le(&rig, RIG_DATA + 4, 4, 0);
	rig_put_le(&rig, RIG_DATA + 8, 4, 0xc0000);
	rig_put_le(&rig, RIG_DATA + 12, 4, (RIG_RAM_HALF >> 12) - 1);
	rig_put_le(&rig, RIG_DATA + 16, 4, RIG_RAM_HALF >> 12);
	rig_do(&rig, INFLATE, &(struct rig_part){ RIG_DATA, 19 }, 1, 0);
	assert_false(rig_status(&rig) & VIRTIO_NEEDS_RESET);
	/* a chain as long as it can be ends in time */
	rig_do(&rig, INFLATE, &(struct rig_part){ 0, RIG_RAM_HALF }, 1, 0);
	end();
}

static void reported_pages_go_back_too(void **state)
{
	for (unsigned q = REPORT_LINUX; q <= REPORT; q++) {
		struct rig_part p[] = { { PAGES, 0x4000 }, { PAGES + 0x8010, 0x2000 } };
		struct virtio_balloon_info info;

		begin(0);
		touch(PAGES, 16);
		assert_int_equal(rig_do(&rig, q, p, 0, 2), 0);
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(rig_get_le(&rig, PAGES + i * 4096, 8), i < 4 || i == 9 ? 0 : 0x1234567890);
		virtio_balloon_get(balloon, &info);
		assert_int_equal(info.reported, 0x6000);
		end();
	}
}

static void what_is_discarded_is_dirty_and_its_code_stale(void **state)
{
	uint64_t frame = PAGES >> 12;
	uint32_t gen;

	begin(0);
	gen = rig.ram->code_gen[frame];
	rig.ram->frame[frame] = FRAME_CODE;
	assert_int_equal(ram_discard(rig.ram, PAGES, 4096), 0);
	assert_int_equal(rig.ram->frame[frame], FRAME_DIRTY);
	assert_int_equal(rig.ram->code_gen[frame], gen + 1);
	assert_int_equal(ram_discard(rig.ram, RIG_RAM_HALF - 4096, 8192), -EFAULT);
	assert_int_equal(ram_discard(rig.ram, UINT64_MAX - 4095, 8192), -EFAULT);
	assert_int_equal(ram_discard(rig.ram, UINT64_MAX - 10, 5), -EFAULT);
	assert_int_equal(ram_discard(rig.ram, PAGES + 1, 8190), 0);
	end();
}

static void the_target_is_told_and_what_the_driver_did(void **state)
{
	struct virtio_balloon_info info;

	begin(0);
	virtio_balloon_set_target(balloon, 5 << 20);
	assert_int_equal(rig_interrupts(&rig, -1), 1);
	assert_int_equal(rig_config(&rig, 0, 4), 1280);
	rig_set_config(&rig, 4, 4, 100);
	virtio_balloon_get(balloon, &info);
	assert_int_equal(info.target, 5 << 20);
	assert_int_equal(info.actual, 100 << 12);
	/* the target stays over a reset of the guest */
	rig_set_status(&rig, 0);
	assert_int_equal(rig_config(&rig, 0, 8), 1280);
	end();
}

static void put_stat(unsigned i, unsigned tag, uint64_t value)
{
	rig_put16(&rig, RIG_DATA + i * 10, (uint16_t)tag);
	rig_put_le(&rig, RIG_DATA + i * 10 + 2, 8, value);
}

static void statistics_come_when_they_are_asked_for(void **state)
{
	RIG_EACH(mode) {
		struct virtio_balloon_info info;

		begin(mode);
		put_stat(0, VIRTIO_BALLOON_FREE, 111);
		put_stat(1, 999, 5);
		put_stat(2, VIRTIO_BALLOON_TOTAL, 222);
		rig_add(&rig, STATS, &(struct rig_part){ RIG_DATA, 30 }, 1, 0);
		rig_kick(&rig, STATS);
		rig_run(&rig);
		virtio_balloon_get(balloon, &info);
		assert_int_equal(info.stat[VIRTIO_BALLOON_FREE], 111);
		assert_int_equal(info.stat[VIRTIO_BALLOON_TOTAL], 222);
		assert_int_equal(info.stat[VIRTIO_BALLOON_CACHES], UINT64_MAX);
		/* the buffer is kept until then */
		assert_false(rig_used(&rig, STATS, NULL, NULL));
		for (unsigned i = 0; i < 3; i++) {
			virtio_balloon_ask(balloon);
			rig_run(&rig);
			assert_true(rig_used(&rig, STATS, NULL, NULL));
			put_stat(0, VIRTIO_BALLOON_FREE, 333 + i);
			rig_add(&rig, STATS, &(struct rig_part){ RIG_DATA, 30 }, 1, 0);
			rig_kick(&rig, STATS);
			rig_run(&rig);
			virtio_balloon_get(balloon, &info);
			assert_int_equal(info.stat[VIRTIO_BALLOON_FREE], 333 + i);
		}
		end();
	}
}

static void a_saved_balloon_goes_on(void **state)
{
	RIG_EACH(mode) {
		struct virtio_balloon_info info;

		begin(mode);
		virtio_balloon_set_target(balloon, 1 << 20);
		put_stat(0, VIRTIO_BALLOON_FREE, 111);
		rig_add(&rig, STATS, &(struct rig_part){ RIG_DATA, 10 }, 1, 0);
		rig_kick(&rig, STATS);
		rig_run(&rig);
		rig_init(&other, mode);
		assert_int_equal(virtio_balloon_create(other.ram, other.loop, &balloon2), 0);
		rig_attach(&other, virtio_balloon_device(balloon2));
		assert_int_equal(rig_copy(&rig, &other, NULL, NULL, NULL), 0);
		virtio_balloon_get(balloon2, &info);
		assert_int_equal(info.target, 1 << 20);
		assert_int_equal(info.stat[VIRTIO_BALLOON_FREE], 111);
		virtio_balloon_ask(balloon2);
		rig_run(&other);
		assert_true(rig_used(&other, STATS, NULL, NULL));
		rig_set_status(&other, 0);
		rig_detach(&other);
		virtio_balloon_destroy(balloon2);
		rig_done(&other);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_in_the_balloon_go_back_to_the_host),
		cmocka_unit_test(page_numbers_that_are_no_ram_mean_nothing),
		cmocka_unit_test(reported_pages_go_back_too),
		cmocka_unit_test(what_is_discarded_is_dirty_and_its_code_stale),
		cmocka_unit_test(the_target_is_told_and_what_the_driver_did),
		cmocka_unit_test(statistics_come_when_they_are_asked_for),
		cmocka_unit_test(a_saved_balloon_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
