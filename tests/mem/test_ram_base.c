// SPDX-License-Identifier: GPL-2.0-or-later
/* Guest memory over a base file: what is read from where, and copying on write under contention. */
#include "mem/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB (1ull << 10)

enum { RAM_SIZE = 4 << 20, BASE_SIZE = (1 << 20) + 100, FRAMES = RAM_SIZE / FRAME_SIZE };

static char path[] = "/tmp/subring-test-base-XXXXXX";
static struct ram *ram;

/* What the base holds at @offset. */
static uint8_t base_byte(uint64_t offset)
{
	return offset < BASE_SIZE ? (uint8_t)(offset * 31 + (offset >> 12) * 7 + 1) : 0;
}

static int make_base(void **state)
{
	static uint8_t bytes[BASE_SIZE];
	int fd = mkstemp(path);

	for (uint64_t i = 0; i < BASE_SIZE; i++)
		bytes[i] = base_byte(i);
	if (fd < 0 || write(fd, bytes, BASE_SIZE) != BASE_SIZE)
		return -1;
	close(fd);
	return 0;
}

static int remove_base(void **state)
{
	unlink(path);
	return 0;
}

static int make_ram(void **state)
{
	struct error e;

	if (ram_create(RAM_SIZE, path, &ram, &e)) {
		error_print(&e);
		return -1;
	}
	return ram_set_slot(ram, 0, &(struct ram_slot){.size = RAM_SIZE});
}

static int drop_ram(void **state)
{
	ram_destroy(ram);
	return 0;
}

static void base_is_what_is_read_and_zeros_after_it(void **state)
{
	static uint8_t out[RAM_SIZE];
	struct stat st;

	assert_int_equal(ram_read(ram, 0, out, RAM_SIZE), 0);
	for (uint64_t i = 0; i < RAM_SIZE; i++)
		if (out[i] != base_byte(i))
			fail_msg("byte %llu", (unsigned long long)i);
	assert_int_equal(ram_read(ram, BASE_SIZE - 3, out, 8), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(out[i], base_byte(BASE_SIZE - 3 + (uint64_t)i));
	/* Nothing of it was copied. */
	assert_int_equal(fstat(ram->fds.frames, &st), 0);
	assert_false(ram->frame[0] & FRAME_PRESENT);
	assert_ptr_equal(ram_frame_bytes(ram, 0), ram->base);
	assert_ptr_equal(ram_frame_bytes(ram, 256), ram->base + BASE_SIZE / FRAME_SIZE * FRAME_SIZE);
	assert_ptr_equal(ram_frame_bytes(ram, 257), ram->host + 257 * FRAME_SIZE);
}

static void base_frame_is_copied_by_its_first_write_only(void **state)
{
	uint8_t out[FRAME_SIZE];

	assert_int_equal(ram_write(ram, 5 * FRAME_SIZE + 10, "abc", 3), 0);
	assert_int_equal(ram->frame[5], FRAME_PRESENT | FRAME_DIRTY);
	assert_ptr_equal(ram_frame_bytes(ram, 5), ram->host + 5 * FRAME_SIZE);
	assert_int_equal(ram_write(ram, 5 * FRAME_SIZE + 20, "def", 3), 0);
	assert_int_equal(ram_make_writable(ram, 5), 0);
	assert_int_equal(ram_read(ram, 5 * FRAME_SIZE, out, sizeof(out)), 0);
	for (unsigned i = 0; i < FRAME_SIZE; i++) {
		uint8_t want = base_byte(5 * FRAME_SIZE + i);

		if (i >= 10 && i < 13)
			want = (uint8_t) "abc"[i - 10];
		if (i >= 20 && i < 23)
			want = (uint8_t) "def"[i - 20];
		assert_int_equal(out[i], want);
	}
	assert_int_equal(ram->frame[4], 0);
	assert_int_equal(ram->frame[6], 0);
}

static void base_cut_short_in_a_frame_goes_on_with_zeros(void **state)
{
	uint8_t out[FRAME_SIZE];

	assert_int_equal(ram_write(ram, 256 * FRAME_SIZE + 200, "x", 1), 0);
	assert_int_equal(ram_read(ram, 256 * FRAME_SIZE, out, sizeof(out)), 0);
	for (unsigned i = 0; i < FRAME_SIZE; i++)
		assert_int_equal(out[i], i == 200 ? 'x' : base_byte(256 * FRAME_SIZE + i));
}

static void base_frames_other_bits_survive_the_copy(void **state)
{
	ram->frame[7] = FRAME_CODE | FRAME_SNAPSHOT;
	assert_int_equal(ram_make_writable(ram, 7), 0);
	assert_int_equal(ram->frame[7], FRAME_CODE | FRAME_SNAPSHOT | FRAME_PRESENT);
}

static void base_file_is_never_written(void **state)
{
	static uint8_t bytes[BASE_SIZE];
	int fd;

	assert_int_equal(ram_fill(ram, 0, 0xff, RAM_SIZE), 0);
	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), BASE_SIZE);
	close(fd);
	for (uint64_t i = 0; i < BASE_SIZE; i++)
		if (bytes[i] != base_byte(i))
			fail_msg("byte %llu", (unsigned long long)i);
}

static void read_parts_change_sides_where_frames_do(void **state)
{
	struct iovec iov[4];

	assert_int_equal(ram_make_writable(ram, 3), 0);
	assert_int_equal(ram_read_iov(ram, FRAME_SIZE, 4 * FRAME_SIZE, iov, 4), 3);
	assert_ptr_equal(iov[0].iov_base, ram->base + FRAME_SIZE);
	assert_int_equal(iov[0].iov_len, 2 * FRAME_SIZE);
	assert_ptr_equal(iov[1].iov_base, ram->host + 3 * FRAME_SIZE);
	assert_int_equal(iov[1].iov_len, FRAME_SIZE);
	assert_ptr_equal(iov[2].iov_base, ram->base + 4 * FRAME_SIZE);
	assert_int_equal(iov[2].iov_len, FRAME_SIZE);
	assert_int_equal(ram_read_iov(ram, FRAME_SIZE, 4 * FRAME_SIZE, iov, 2), -E2BIG);
}

static void write_parts_are_copied_before_the_kernel_writes(void **state)
{
	struct iovec iov[1];
	uint8_t byte;

	assert_int_equal(ram_write_begin(ram, FRAME_SIZE + 5, FRAME_SIZE, iov, 1), 1);
	assert_true(ram->frame[1] & ram->frame[2] & FRAME_PRESENT);
	/* The kernel failed: the old content is still there. */
	ram_write_end(ram, FRAME_SIZE + 5, FRAME_SIZE);
	assert_int_equal(ram_read(ram, FRAME_SIZE + 500, &byte, 1), 0);
	assert_int_equal(byte, base_byte(FRAME_SIZE + 500));
}

/* --- contention --- */

enum { WRITERS = 4, STRIDE = 64 };

/* Each writer owns its bytes in every frame. One that is lost was overwritten by a late copy. */
static int write_own_bytes(struct ram *r, unsigned who)
{
	for (uint64_t f = 0; f < FRAMES; f++)
		for (unsigned at = who; at < FRAME_SIZE; at += STRIDE * WRITERS) {
			uint8_t byte = (uint8_t)(0x80 + who);

			if (ram_write(r, f * FRAME_SIZE + at, &byte, 1))
				return 1;
		}
	return 0;
}

static void assert_no_byte_was_lost(void)
{
	static uint8_t out[RAM_SIZE];

	assert_int_equal(ram_read(ram, 0, out, RAM_SIZE), 0);
	for (uint64_t i = 0; i < RAM_SIZE; i++) {
		unsigned in = (unsigned)(i % (STRIDE * WRITERS));
		uint8_t want = in < WRITERS ? (uint8_t)(0x80 + in) : base_byte(i);

		if (out[i] != want)
			fail_msg("byte %llu is %02x, not %02x", (unsigned long long)i, out[i], want);
	}
	for (uint64_t f = 0; f < ram->base_frames; f++)
		assert_int_equal(ram->frame[f], FRAME_PRESENT | FRAME_DIRTY);
}

static void *writer_thread(void *arg)
{
	return (void *)(intptr_t)write_own_bytes(ram, (unsigned)(intptr_t)arg);
}

static void copy_on_write_loses_nothing_between_threads(void **state)
{
	pthread_t thread[WRITERS];

	for (intptr_t i = 0; i < WRITERS; i++)
		pthread_create(&thread[i], NULL, writer_thread, (void *)i);
	for (int i = 0; i < WRITERS; i++) {
		void *ret;

		pthread_join(thread[i], &ret);
		assert_null(ret);
	}
	assert_no_byte_was_lost();
}

static void copy_on_write_loses_nothing_between_processes(void **state)
{
	pid_t pid[WRITERS];

	for (unsigned i = 0; i < WRITERS; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			struct ram *r;

			if (ram_attach(&ram->fds, RAM_SIZE, &r) || ram_set_slot(r, 0, &ram->slot[0]))
				_exit(2);
			_exit(write_own_bytes(r, i));
		}
	}
	for (int i = 0; i < WRITERS; i++) {
		int status;

		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_int_equal(status, 0);
	}
	assert_no_byte_was_lost();
}

/* --- the base goes wrong --- */

static void base_that_was_cut_is_an_error_not_a_crash(void **state)
{
	uint8_t byte = 1;

	assert_int_equal(truncate(path, 4096), 0);
	assert_int_equal(ram_make_writable(ram, 0), 0);
	assert_int_equal(ram_make_writable(ram, 1), -EIO);
	assert_int_equal(ram_write(ram, FRAME_SIZE, &byte, 1), -EIO);
	assert_int_equal(ram->frame[1], 0);
	assert_int_equal(ram_write(ram, 300 * FRAME_SIZE, &byte, 1), 0);
}

static void base_frames_that_are_discarded_are_zeros_and_stay_so(void **state)
{
	uint8_t got[4 * FRAME_SIZE];

	/* the whole frames of the range: 1 and 2 */
	assert_int_equal(ram_discard(ram, 1, 3 * FRAME_SIZE), 0);
	assert_int_equal(ram_read(ram, 0, got, sizeof(got)), 0);
	for (uint64_t i = 0; i < sizeof(got); i++)
		assert_int_equal(got[i], i / FRAME_SIZE == 1 || i / FRAME_SIZE == 2 ? 0 : base_byte(i));
	assert_true(ram->frame[1] & FRAME_PRESENT);
	assert_true(ram->frame[2] & FRAME_DIRTY);
	assert_false(ram->frame[3] & (FRAME_PRESENT | FRAME_DIRTY));
}

static int try_base(const char *base, uint64_t size, struct error *e)
{
	struct ram *r = NULL;
	int ret = ram_create(size, base, &r, e);

	ram_destroy(r);
	return ret;
}

static void base_that_cannot_be_used_is_refused_in_words(void **state)
{
	struct error e;

	assert_int_equal(try_base("/nonexistent", RAM_SIZE, &e), -ENOENT);
	assert_int_equal(e.status, STATUS_INPUT);
	assert_non_null(strstr(e.what, "/nonexistent"));
	assert_int_equal(try_base("/tmp", RAM_SIZE, &e), -EINVAL);
	assert_int_equal(try_base("/dev/zero", RAM_SIZE, &e), -EINVAL);
	assert_int_equal(try_base(path, 4096, &e), -EINVAL);
	assert_non_null(strstr(e.why, "1 MiB long, the guest has 4 KiB"));
}

static void base_that_is_empty_is_none(void **state)
{
	struct error e;
	struct ram *r;

	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(ram_create(RAM_SIZE, path, &r, &e), 0);
	assert_int_equal(r->fds.base, -1);
	assert_int_equal(r->base_frames, 0);
	ram_destroy(r);
}

static int set_up(void **state)
{
	return make_base(state) || make_ram(state);
}

static int tear_down(void **state)
{
	drop_ram(state);
	remove_base(state);
	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
	return 0;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(base_is_what_is_read_and_zeros_after_it),
		T(base_frame_is_copied_by_its_first_write_only),
		T(base_cut_short_in_a_frame_goes_on_with_zeros),
		T(base_frames_other_bits_survive_the_copy),
		T(base_file_is_never_written),
		T(read_parts_change_sides_where_frames_do),
		T(write_parts_are_copied_before_the_kernel_writes),
		T(copy_on_write_loses_nothing_between_threads),
		T(copy_on_write_loses_nothing_between_processes),
		T(base_that_was_cut_is_an_error_not_a_crash),
		T(base_frames_that_are_discarded_are_zeros_and_stay_so),
		T(base_that_cannot_be_used_is_refused_in_words),
		T(base_that_is_empty_is_none),
	};

	return cmocka_run_group_tests_name("ram_base", tests, NULL, NULL);
}
