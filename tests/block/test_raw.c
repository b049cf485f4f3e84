// SPDX-License-Identifier: GPL-2.0-or-later
/* Raw disks, and what all disks have in common, each case with io_uring and with threads. */
#include "block/disk_tool.h"
#include "disk_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static const enum aio_kind kinds[] = {AIO_AUTO, AIO_THREADS};

#define EACH_KIND for (unsigned k = 0; k < 2; k++)

static struct disk *open_kind(const char *path, unsigned k)
{
	return rig_open(&(struct disk_config){.path = path, .format = "raw", .aio = kinds[k]});
}

static uint64_t blocks_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_blocks;
}

static void raw_reads_back_what_was_written_and_zeroes_elsewhere(void **state)
{
	EACH_KIND
	{
		struct disk *d = open_kind(rig_file("disk", 4 * MIB, 0), k);
		char data[8192];

		memset(data, 'x', sizeof(data));
		assert_int_equal(disk_info(d)->bytes, 4 * MIB);
		assert_int_equal(rig_write(d, 512 * 3, data, sizeof(data)), 0);
		rig_assert_filled(d, 0, 512 * 3, 0);
		rig_assert_filled(d, 512 * 3, sizeof(data), 'x');
		rig_assert_filled(d, 512 * 3 + sizeof(data), MIB, 0);
		assert_int_equal(rig_flush(d), 0);
		disk_close(d);
	}
}

static void raw_requests_outside_of_the_disk_or_its_sectors_fail(void **state)
{
	struct disk *d = open_kind(rig_file("disk", MIB, 0), 0);
	char data[1024];

	assert_int_equal(rig_read(d, MIB - 512, data, 1024), -EINVAL);
	assert_int_equal(rig_read(d, UINT64_MAX - 511, data, 1024), -EINVAL);
	assert_int_equal(rig_read(d, 1, data, 512), -EINVAL);
	assert_int_equal(rig_read(d, 0, data, 100), -EINVAL);
	assert_int_equal(rig_request(d, BLOCK_DISCARD, 0, 512, NULL, MIB), -EINVAL);
	assert_int_equal(rig_request(d, 17, 0, 0, data, 512), -EINVAL);
	assert_int_equal(rig_read(d, MIB, data, 0), 0);
	disk_close(d);
}

static void raw_read_only_disks_refuse_writes(void **state)
{
	const char *path = rig_file("disk", MIB, 'a');
	struct disk *d = rig_open(&(struct disk_config){.path = path, .readonly = true});
	char data[512] = {0};

	assert_true(disk_info(d)->readonly);
	assert_int_equal(rig_write(d, 0, data, 512), -EROFS);
	assert_int_equal(rig_request(d, BLOCK_DISCARD, 0, 0, NULL, 512), -EROFS);
	assert_int_equal(rig_request(d, BLOCK_WRITE_ZEROES, 0, 0, NULL, 512), -EROFS);
	assert_int_equal(rig_flush(d), 0);
	rig_assert_filled(d, 0, MIB, 'a');
	disk_close(d);
}

static void raw_discard_and_zeroes_with_unmap_punch_holes_and_others_do_not(void **state)
{
	EACH_KIND
	{
		const char *path = rig_file("disk", 4 * MIB, 'a');
		struct disk *d = open_kind(path, k);
		uint64_t full = blocks_of(path), before;

		assert_int_equal(rig_request(d, BLOCK_DISCARD, 0, MIB, NULL, MIB), 0);
		assert_true(blocks_of(path) <= full - 2000);
		before = blocks_of(path);
		assert_int_equal(rig_request(d, BLOCK_WRITE_ZEROES, BLOCK_UNMAP, 2 * MIB, NULL, MIB), 0);
		assert_true(blocks_of(path) <= before - 2000);
		before = blocks_of(path);
		assert_int_equal(rig_request(d, BLOCK_WRITE_ZEROES, 0, 3 * MIB, NULL, MIB), 0);
		assert_true(blocks_of(path) >= before);
		rig_assert_filled(d, 0, MIB, 'a');
		rig_assert_filled(d, MIB, 3 * MIB, 0);
		disk_close(d);
	}
}

static void raw_zeroes_are_written_where_the_file_system_has_no_way_for_them(void **state)
{
	struct disk *d = open_kind(rig_file("disk", MIB, 'a'), 0);

	rig_set_faults(&(struct rig_faults){.allocate_error = EOPNOTSUPP});
	assert_int_equal(rig_request(d, BLOCK_WRITE_ZEROES, 0, 4096, NULL, 512 * 400), 0);
	assert_int_equal(rig_request(d, BLOCK_DISCARD, 0, 0, NULL, 4096), 0);
	rig_assert_filled(d, 0, 4096, 'a');
	rig_assert_filled(d, 4096, 512 * 400, 0);
	rig_assert_filled(d, 4096 + 512 * 400, 4096, 'a');
	disk_close(d);
}

static void raw_files_grow_to_the_size_that_is_given_and_keep_a_larger_one(void **state)
{
	const char *path = rig_file("disk", 1000, 'a');
	struct disk *d = rig_open(&(struct disk_config){.path = path, .format = "raw"});
	char data[512];

	assert_int_equal(disk_info(d)->bytes, 1024);
	assert_int_equal(rig_read(d, 512, data, 512), 0);
	assert_int_equal(data[487], 'a');
	assert_int_equal(data[488], 0);
	disk_close(d);
	d = rig_open(&(struct disk_config){.path = path, .bytes = 8 * MIB});
	assert_int_equal(disk_info(d)->bytes, 8 * MIB);
	rig_assert_filled(d, 4096, MIB, 0);
	disk_close(d);
	d = rig_open(&(struct disk_config){.path = path, .bytes = MIB});
	assert_int_equal(disk_info(d)->bytes, 8 * MIB);
	disk_close(d);
}

static void short_transfers_are_gone_on_with(void **state)
{
	EACH_KIND
	{
		struct disk *d = open_kind(rig_file("disk", MIB, 0), k);
		char *data = malloc(65536);

		for (int i = 0; i < 65536; i++)
			data[i] = (char)(i * 7);
		rig_set_faults(&(struct rig_faults){.shorten = 1000});
		assert_int_equal(rig_write(d, 512, data, 65536), 0);
		assert_true(rig_writes >= 65);
		memset(data, 0, 65536);
		assert_int_equal(rig_read(d, 512, data, 65536), 0);
		for (int i = 0; i < 65536; i++)
			assert_int_equal(data[i], (char)(i * 7));
		free(data);
		disk_close(d);
	}
}

static void errors_of_the_host_reach_the_caller_and_it_goes_on_after_them(void **state)
{
	EACH_KIND
	{
		struct disk *d = open_kind(rig_file("disk", MIB, 'a'), k);
		char data[4096];

		memset(data, 'b', sizeof(data));
		rig_set_faults(&(struct rig_faults){.read_error = EIO, .write_error = EIO, .allocate_error = EIO});
		assert_int_equal(rig_read(d, 0, data, 4096), -EIO);
		assert_int_equal(rig_write(d, 0, data, 4096), -EIO);
		assert_int_equal(rig_request(d, BLOCK_DISCARD, 0, 0, NULL, 4096), -EIO);
		assert_int_equal(rig_request(d, BLOCK_WRITE_ZEROES, 0, 0, NULL, 4096), -EIO);
		rig_set_faults(&(struct rig_faults){.full_at = 8192});
		assert_int_equal(rig_write(d, 6144, data, 4096), -ENOSPC);
		assert_int_equal(rig_write(d, 0, data, 4096), 0);
		rig_set_faults(&(struct rig_faults){0});
		assert_int_equal(rig_write(d, 6144, data, 4096), 0);
		rig_assert_filled(d, 6144, 4096, 'b');
		disk_close(d);
	}
}

static void flush_and_fua_sync_and_their_errors_are_told(void **state)
{
	struct disk *d = open_kind(rig_file("disk", MIB, 0), 1);
	char data[512] = {1};

	rig_set_faults(&(struct rig_faults){0});
	assert_int_equal(rig_write(d, 0, data, 512), 0);
	assert_int_equal(rig_syncs, 0);
	assert_int_equal(rig_flush(d), 0);
	assert_int_equal(rig_syncs, 1);
	rig_set_faults(&(struct rig_faults){.sync_error = EIO});
	assert_int_equal(rig_flush(d), -EIO);
	assert_int_equal(rig_request(d, BLOCK_WRITE_ZEROES, BLOCK_FUA, 0, NULL, 512), -EIO);
	rig_set_faults(&(struct rig_faults){0});
	disk_close(d);
}

static void an_image_that_is_written_to_cannot_be_opened_twice(void **state)
{
	const char *path = rig_file("disk", MIB, 0);
	struct disk_config config = {.path = path}, reader = {.path = path, .readonly = true};
	struct disk *d = rig_open(&config), *other;
	struct error err;

	assert_int_equal(disk_open(&config, rig_loop, &other, &err), -EBUSY);
	assert_non_null(strstr(err.what, path));
	assert_true(*err.why && *err.fix);
	assert_int_equal(disk_open(&reader, rig_loop, &other, &err), -EBUSY);
	disk_close(d);
	d = rig_open(&reader);
	other = rig_open(&reader);
	disk_close(other);
	assert_int_equal(disk_open(&config, rig_loop, &other, &err), -EBUSY);
	disk_close(d);
	disk_close(rig_open(&config));
}

static void a_disk_that_was_closed_can_be_opened_at_once(void **state)
{
	struct disk_config config = {.path = rig_file("disk", MIB, 0)};
	char *data = calloc(1, 65536);

	for (int i = 0; i < 300; i++) {
		struct disk *d = rig_open(&config);

		assert_int_equal(rig_write(d, 0, data, 65536), 0);
		disk_close(d);
	}
	free(data);
}

static void a_disk_that_was_guessed_to_be_raw_cannot_become_qcow2(void **state)
{
	struct disk *d = rig_open(&(struct disk_config){.path = rig_file("disk", MIB, 0)});
	char data[2048] = "QFI\xfb";

	assert_int_equal(rig_write(d, 0, data, sizeof(data)), -EPERM);
	rig_assert_filled(d, 0, 2048, 0);
	assert_int_equal(rig_write(d, 512, data, 512), 0);
	memset(data, 'x', sizeof(data));
	assert_int_equal(rig_write(d, 0, data, sizeof(data)), 0);
	rig_assert_filled(d, 0, 2048, 'x');
	assert_int_equal(rig_write(d, 0, data, 512), 0);
	disk_close(d);
	memcpy(data, "QFI\xfb", 4);
	d = open_kind(rig_file("disk", MIB, 0), 0);
	assert_int_equal(rig_write(d, 0, data, sizeof(data)), 0);
	disk_close(d);
}

static void what_is_no_disk_is_refused_with_its_name(void **state)
{
	struct disk *d;
	struct error err;

	assert_int_equal(disk_open(&(struct disk_config){.path = rig_path("none")}, rig_loop, &d, &err), -ENOENT);
	assert_non_null(strstr(err.what, "none"));
	assert_int_equal(disk_open(&(struct disk_config){.path = rig_folder, .readonly = true}, rig_loop, &d, &err), -EINVAL);
	assert_int_equal(disk_open(&(struct disk_config){.path = "/dev/null"}, rig_loop, &d, &err), -EINVAL);
	assert_int_equal(disk_open(&(struct disk_config){.path = rig_file("a", 512, 0), .format = "vmdk"}, rig_loop, &d, &err), -EINVAL);
}

/* --- many at a time --- */

enum { MANY = 600 };

struct counted {
	struct block_request r;
	struct iovec iov;
	unsigned *left;
	int error;
};

static void counted_done(struct block_request *r, int error)
{
	struct counted *c = (struct counted *)r;

	c->error = error;
	--*c->left;
}

static void many_requests_are_all_done_and_drain_waits_for_them(void **state)
{
	EACH_KIND
	{
		struct disk *d = open_kind(rig_file("disk", 4 * MIB, 0), k);
		struct counted *c = calloc(MANY, sizeof(*c));
		unsigned left = MANY;
		char *data = malloc(MANY * 4096);

		for (int i = 0; i < MANY; i++)
			memset(data + i * 4096, i, 4096);
		disk_plug(d);
		for (unsigned i = 0; i < MANY; i++) {
			c[i].iov = (struct iovec){data + i * 4096, 4096};
			c[i].left = &left;
			c[i].r = (struct block_request){.op = BLOCK_WRITE, .offset = i * 4096, .bytes = 4096, .iov = &c[i].iov, .iovs = 1, .done = counted_done};
			disk_submit(d, &c[i].r);
		}
		disk_unplug(d);
		disk_drain(d);
		assert_int_equal(left, 0);
		for (unsigned i = 0; i < MANY; i++) {
			assert_int_equal(c[i].error, 0);
			rig_assert_filled(d, i * 4096, 4096, i & 0xff);
		}
		free(data);
		free(c);
		disk_close(d);
	}
}

static void limits_hold_requests_back_and_draining_lets_them_through(void **state)
{
	struct disk *d = rig_open(&(struct disk_config){.path = rig_file("disk", MIB, 0), .limits = {.ops = 10}});
	struct counted c[50] = {0};
	char data[512];
	unsigned left = 50;

	for (unsigned i = 0; i < 50; i++) {
		c[i].iov = (struct iovec){data, 512};
		c[i].left = &left;
		c[i].r = (struct block_request){.op = BLOCK_READ, .bytes = 512, .iov = &c[i].iov, .iovs = 1, .done = counted_done};
		disk_submit(d, &c[i].r);
	}
	/* One more passes once the loop has run for a while; all 50 would take 5 s. */
	assert_int_equal(rig_read(d, 0, data, 512), 0);
	assert_int_equal(left, 0);
	left = 50;
	for (unsigned i = 0; i < 50; i++)
		disk_submit(d, &c[i].r);
	assert_true(left > 0);
	disk_drain(d);
	assert_int_equal(left, 0);
	disk_close(d);
}

/* --- block devices --- */

/* A loop device on a new file; skips the test where there is none to be had. */
static int attach_loop(const char *file, char *device, size_t size)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number, fd, backing;

	number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	if (control >= 0)
		close(control);
	snprintf(device, size, "/dev/loop%d", number);
	fd = number < 0 ? -1 : open(device, O_RDWR | O_CLOEXEC);
	backing = open(file, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, LOOP_SET_FD, backing) < 0) {
		if (fd >= 0)
			close(fd);
		close(backing);
		print_message("skipped: no loop device can be had (it takes root)\n");
		skip();
	}
	close(backing);
	return fd;
}

static void a_block_device_is_a_disk(void **state)
{
	const char *path = rig_file("backing", 4 * MIB, 'a');
	char device[32], data[4096];
	int loop = attach_loop(path, device, sizeof(device));
	struct disk_config config = {.path = device, .format = "raw"};
	struct disk *d = rig_open(&config), *other;
	struct error err;

	memset(data, 'b', sizeof(data));
	assert_int_equal(disk_info(d)->bytes, 4 * MIB);
	assert_int_equal(rig_write(d, 8192, data, sizeof(data)), 0);
	rig_assert_filled(d, 0, 8192, 'a');
	rig_assert_filled(d, 8192, 4096, 'b');
	assert_int_equal(rig_request(d, BLOCK_WRITE_ZEROES, BLOCK_UNMAP, MIB, NULL, MIB), 0);
	assert_int_equal(rig_request(d, BLOCK_WRITE_ZEROES, 0, 512, NULL, 1024), 0);
	assert_int_equal(rig_request(d, BLOCK_DISCARD, 0, 2 * MIB, NULL, MIB), 0);
	assert_int_equal(rig_flush(d), 0);
	rig_assert_filled(d, MIB, 2 * MIB, 0);
	rig_assert_filled(d, 512, 1024, 0);
	rig_assert_filled(d, 3 * MIB, MIB, 'a');
	assert_int_equal(disk_open(&config, rig_loop, &other, &err), -EBUSY);
	disk_close(d);
	ioctl(loop, LOOP_CLR_FD, 0);
	close(loop);
}

/* Writes, flushes, says so on @ready, and goes on writing until it is killed. */
static void write_until_killed(const char *path, int ready)
{
	char data[4096];
	struct disk *d;

	if (loop_create(&rig_loop))
		_exit(1);
	d = rig_open(&(struct disk_config){.path = path});
	memset(data, 'k', sizeof(data));
	for (unsigned i = 0; i < 40; i++)
		if (rig_write(d, i * 8192, data, sizeof(data)))
			_exit(1);
	if (rig_flush(d) || write(ready, "x", 1) != 1)
		_exit(1);
	for (unsigned i = 0;; i++)
		if (rig_write(d, MIB / 2 + i % 100 * 4096, data, sizeof(data)) || (i % 7 == 0 && rig_flush(d)))
			_exit(1);
}

/* What was flushed is there after SIGKILL, and the lock is not. */
static void what_was_flushed_survives_a_kill(void **state)
{
	for (unsigned i = 0; i < 20; i++) {
		const char *path = rig_path("disk");
		struct disk_create create = {.format = i & 1 ? "raw" : "qcow2", .bytes = MIB, .cluster = i & 1 ? 0 : 4096};
		struct disk_check check;
		struct error err;
		struct disk *d;
		int ready[2];
		pid_t pid;
		char c;

		unlink(path);
		assert_int_equal(disk_tool_create(path, &create, &err), 0);
		assert_int_equal(pipe(ready), 0);
		pid = fork();
		if (!pid)
			write_until_killed(path, ready[1]);
		close(ready[1]);
		assert_int_equal(read(ready[0], &c, 1), 1);
		usleep(i * 300);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(ready[0]);
		if (!(i & 1)) {
			assert_int_equal(disk_tool_check(path, false, &check, &err), 0);
			assert_int_equal(check.corruptions, 0);
		}
		d = rig_open(&(struct disk_config){.path = path});
		for (unsigned n = 0; n < 40; n++)
			rig_assert_filled(d, n * 8192, 4096, 'k');
		disk_close(d);
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(raw_reads_back_what_was_written_and_zeroes_elsewhere),
		CASE(raw_requests_outside_of_the_disk_or_its_sectors_fail),
		CASE(raw_read_only_disks_refuse_writes),
		CASE(raw_discard_and_zeroes_with_unmap_punch_holes_and_others_do_not),
		CASE(raw_zeroes_are_written_where_the_file_system_has_no_way_for_them),
		CASE(raw_files_grow_to_the_size_that_is_given_and_keep_a_larger_one),
		CASE(short_transfers_are_gone_on_with),
		CASE(errors_of_the_host_reach_the_caller_and_it_goes_on_after_them),
		CASE(flush_and_fua_sync_and_their_errors_are_told),
		CASE(an_image_that_is_written_to_cannot_be_opened_twice),
		CASE(a_disk_that_was_closed_can_be_opened_at_once),
		CASE(a_disk_that_was_guessed_to_be_raw_cannot_become_qcow2),
		CASE(what_is_no_disk_is_refused_with_its_name),
		CASE(many_requests_are_all_done_and_drain_waits_for_them),
		CASE(limits_hold_requests_back_and_draining_lets_them_through),
		CASE(a_block_device_is_a_disk),
		CASE(what_was_flushed_survives_a_kill),
	};

	return cmocka_run_group_tests_name("raw disks", tests, NULL, NULL);
}
