// SPDX-License-Identifier: GPL-2.0-or-later
/* The block device over a real disk image, on an I/O thread of its own: what is written is in the file, and a reset comes in between. */
#include "rig.h"

#include "virtio/blk.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECTORS = 2048, REQUESTS = 8, BYTES = 4096, IN = 0, OUT = 1, FLUSH = 4 };
#define F_FLUSH (1ull << 9)

static struct rig rig;
static struct virtio_blk *blk;
static struct disk *disk;
static char path[] = "/tmp/subring-blk-XXXXXX";
static pthread_t thread;

static void *io_thread(void *opaque)
{
	return loop_run(opaque) ? opaque : NULL;
}

static void begin(unsigned mode)
{
	struct disk_config config = { .path = path, .format = "raw" };
	struct error err;

	rig_init(&rig, mode);
	if (disk_open(&config, rig.loop, &disk, &err)) {
		error_print(&err);
		fail();
	}
	assert_int_equal(virtio_blk_create(rig.ram, rig.loop, disk, "real", 1, &blk), 0);
	rig_attach(&rig, virtio_blk_device(blk));
	rig.threaded = true;
	assert_int_equal(pthread_create(&thread, NULL, io_thread, rig.loop), 0);
	rig_start(&rig, F_FLUSH, 64);
}

static void end(void)
{
	void *failed;

	virtio_pause(virtio_blk_device(blk)); /* which waits for what is in flight */
	virtio_resume(virtio_blk_device(blk));
	rig_set_status(&rig, 0);
	while (rig_status(&rig))
		poll(NULL, 0, 1);
	loop_stop(rig.loop);
	pthread_join(thread, &failed);
	assert_null(failed);
	rig_detach(&rig);
	virtio_blk_destroy(blk);
	disk_close(disk);
	rig_done(&rig);
}

static uint64_t data_of(unsigned i)
{
	return RIG_DATA + 0x10000 + i * 0x2000;
}

static void add(unsigned i, uint32_t type, uint64_t sector)
{
	uint64_t header = RIG_DATA + i * 64;
	struct rig_part p[] = { { header, 16 }, { data_of(i), BYTES }, { header + 32, 1 } };

	rig_put_le(&rig, header, 8, type);
	rig_put_le(&rig, header + 8, 8, sector);
	rig_put_le(&rig, header + 32, 1, 0xee);
	rig_add(&rig, 0, p, type == IN ? 1 : 2, type == IN ? 2 : 1);
}

static void wait_all(void)
{
	for (unsigned i = 0; i < REQUESTS; i++)
		while (!rig_used(&rig, 0, NULL, NULL))
			poll(NULL, 0, 1);
	for (unsigned i = 0; i < REQUESTS; i++)
		assert_int_equal(rig_get_le(&rig, RIG_DATA + i * 64 + 32, 1), 0);
}

static void fill(unsigned i, uint8_t seed)
{
	uint8_t bytes[BYTES];

	memset(bytes, seed, sizeof(bytes));
	rig_put(&rig, data_of(i), bytes, sizeof(bytes));
}

static void what_is_written_is_in_the_file_and_read_back(void **state)
{
	for (unsigned mode = 0; mode < RIG_MMIO; mode++) {
		uint8_t got[BYTES];
		int fd = open(path, O_RDONLY);

		begin(mode);
		for (unsigned i = 0; i < REQUESTS; i++) {
			fill(i, (uint8_t)(mode * 16 + i));
			add(i, OUT, i * 8);
		}
		rig_kick(&rig, 0);
		wait_all();
		for (unsigned i = 0; i < REQUESTS; i++) {
			assert_int_equal(pread(fd, got, BYTES, i * BYTES), BYTES);
			assert_int_equal(got[0], mode * 16 + i);
			assert_int_equal(got[BYTES - 1], mode * 16 + i);
			fill(i, 0xff);
			add(i, IN, (REQUESTS - 1 - i) * 8);
		}
		rig_kick(&rig, 0);
		wait_all();
		for (unsigned i = 0; i < REQUESTS; i++) {
			rig_get(&rig, data_of(i), got, BYTES);
			assert_int_equal(got[0], mode * 16 + REQUESTS - 1 - i);
			assert_int_equal(got[BYTES - 1], mode * 16 + REQUESTS - 1 - i);
		}
		close(fd);
		end();
	}
}

static void a_driver_may_reset_in_the_middle(void **state)
{
	for (unsigned round = 0; round < 20; round++) {
		begin(round % RIG_MMIO);
		for (unsigned i = 0; i < REQUESTS; i++)
			add(i, i & 1 ? OUT : IN, i * 64);
		rig_kick(&rig, 0);
		rig_set_status(&rig, 0);
		while (rig_status(&rig))
			poll(NULL, 0, 1);
		assert_int_equal(virtio_blk_device(blk)->in_flight, 0);
		rig_start(&rig, F_FLUSH, 64);
		for (unsigned i = 0; i < REQUESTS; i++)
			add(i, IN, i * 64);
		rig_kick(&rig, 0);
		wait_all();
		end();
	}
}

static int make_file(void **state)
{
	int fd = mkstemp(path);

	if (fd < 0 || ftruncate(fd, SECTORS * 512))
		return -1;
	return close(fd);
}

static int remove_file(void **state)
{
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_in_the_file_and_read_back),
		cmocka_unit_test(a_driver_may_reset_in_the_middle),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
