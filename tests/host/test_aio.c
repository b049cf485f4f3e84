// SPDX-License-Identifier: GPL-2.0-or-later
/* File I/O off the loop's thread, each case with io_uring (where there is one) and with threads; and lists of pieces of memory. */
#include "host/aio.h"
#include "host/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static struct loop *loop;
static struct aio *aio;
static int fd, done_calls, last_error;
static bool in_submit;

static int set_up(void **state)
{
	enum aio_kind *kind = *state;

	done_calls = last_error = 0;
	fd = memfd_create("test", MFD_CLOEXEC);
	return fd < 0 || loop_create(&loop) || aio_create(loop, *kind, &aio);
}

static int tear_down(void **state)
{
	aio_destroy(aio);
	loop_destroy(loop);
	close(fd);
	return 0;
}

static void note(struct aio_request *r, int error)
{
	assert_false(in_submit);
	done_calls++;
	last_error = error;
	loop_stop(loop);
}

static void submit(struct aio_request *r)
{
	in_submit = true;
	aio_submit(aio, r);
	in_submit = false;
}

static int carry_out(struct aio_request *r)
{
	int before = done_calls;

	r->fd = fd;
	r->done = note;
	submit(r);
	while (done_calls == before)
		assert_int_equal(loop_run(loop), 0);
	assert_int_equal(done_calls, before + 1);
	return last_error;
}

static void aio_carries_out_each_operation_from_the_loop(void **state)
{
	char out[1000], in[3000];
	struct iovec from[2] = {{out, 300}, {out + 300, 700}}, to = {in, sizeof(in)};

	memset(out, 'x', sizeof(out));
	memset(in, 'y', sizeof(in));
	assert_int_equal(carry_out(&(struct aio_request){.op = AIO_WRITE, .offset = 500, .iov = from, .iovs = 2}), 0);
	assert_int_equal(carry_out(&(struct aio_request){.op = AIO_SYNC}), 0);
	assert_int_equal(carry_out(&(struct aio_request){.op = AIO_READ, .iov = &to, .iovs = 1}), 0);
	/* A hole, what was written, and what is behind the end. */
	for (unsigned i = 0; i < sizeof(in); i++)
		assert_int_equal(in[i], i >= 500 && i < 1500 ? 'x' : 0);
}

static void aio_tells_errors(void **state)
{
	struct iovec iov = {(void *)8, 512};
	int bad = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct aio_request r = {.op = AIO_WRITE, .iov = &(struct iovec){"x", 1}, .iovs = 1, .done = note, .fd = bad};

	assert_int_equal(carry_out(&(struct aio_request){.op = AIO_WRITE, .iov = &iov, .iovs = 1}), -EFAULT);
	assert_int_equal(carry_out(&(struct aio_request){.op = AIO_RESULT, .error = -EROFS}), -EROFS);
	submit(&r);
	while (aio_wait(aio))
		;
	assert_int_equal(last_error, -ENOSPC);
	close(bad);
}

static pthread_t caller;

static int note_thread(struct aio_request *r)
{
	caller = pthread_self();
	return -EXDEV;
}

static void aio_calls_run_on_another_thread(void **state)
{
	assert_int_equal(carry_out(&(struct aio_request){.op = AIO_CALL, .call = note_thread}), -EXDEV);
	assert_false(pthread_equal(caller, pthread_self()));
}

enum { MANY = 1000 };

static void aio_wait_ends_when_all_of_many_are_done(void **state)
{
	struct aio_request *r = calloc(MANY, sizeof(*r));
	struct iovec *iov = calloc(MANY, sizeof(*iov));
	int *numbers = calloc(MANY, sizeof(int)), back;

	aio_plug(aio);
	for (int i = 0; i < MANY; i++) {
		numbers[i] = i * 3;
		iov[i] = (struct iovec){&numbers[i], sizeof(int)};
		r[i] = (struct aio_request){.op = AIO_WRITE, .fd = fd, .offset = (uint64_t)i * 8, .iov = &iov[i], .iovs = 1, .done = note};
		submit(&r[i]);
	}
	assert_int_equal(done_calls, 0);
	aio_unplug(aio, false);
	while (aio_wait(aio))
		;
	assert_int_equal(done_calls, MANY);
	assert_int_equal(last_error, 0);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(pread(fd, &back, sizeof(back), i * 8), sizeof(back));
		assert_int_equal(back, i * 3);
	}
	assert_false(aio_wait(aio));
	free(numbers);
	free(iov);
	free(r);
}

static void again_and_wait(struct aio_request *r, int error)
{
	if (++done_calls == 1) {
		aio_submit(aio, r);
		while (aio_wait(aio))
			;
		assert_int_equal(done_calls, 3);
	}
}

static void aio_requests_may_be_submitted_and_waited_for_from_done(void **state)
{
	char data[2][100];
	struct iovec iov[2] = {{data[0], 100}, {data[1], 100}};
	struct aio_request r[2] = {{.op = AIO_READ, .fd = fd, .iov = &iov[0], .iovs = 1, .done = again_and_wait},
				   {.op = AIO_READ, .fd = fd, .iov = &iov[1], .iovs = 1, .done = again_and_wait}};

	submit(&r[0]);
	submit(&r[1]);
	while (aio_wait(aio))
		;
	assert_int_equal(done_calls, 3);
}

static void iov_slices_are_the_bytes_that_were_asked_for(void **state)
{
	char a[4] = "abcd", b[1] = "e", c[5] = "fghij", flat[16];
	struct iovec iov[4] = {{a, 4}, {b, 1}, {NULL, 0}, {c, 5}}, out[4];
	size_t got;

	for (size_t skip = 0; skip <= 10; skip++) {
		for (size_t bytes = 0; skip + bytes <= 10; bytes++) {
			unsigned n = iov_slice(iov, 4, skip, bytes, out, 4, &got);

			assert_int_equal(got, bytes);
			assert_int_equal(iov_bytes(out, n), bytes);
			memset(flat, 0, sizeof(flat));
			iov_get(out, n, 0, flat, bytes);
			assert_memory_equal(flat, &"abcdefghij"[skip], bytes);
		}
	}
	assert_int_equal(iov_slice(iov, 4, 2, 8, out, 2, &got), 2);
	assert_int_equal(got, 3);
	iov_put(iov, 4, 3, "XYZ", 3);
	iov_zero(iov, 4, 8, 2);
	iov_get(iov, 4, 0, flat, 10);
	assert_memory_equal(flat, "abcXYZgh\0\0", 10);
}

static enum aio_kind uring = AIO_AUTO, threads = AIO_THREADS;

#define BOTH(name)                                                                                                             \
	{#name " (io_uring)", name, set_up, tear_down, &uring},                                                                \
	{                                                                                                                      \
		#name " (threads)", name, set_up, tear_down, &threads                                                          \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(aio_carries_out_each_operation_from_the_loop),
		BOTH(aio_tells_errors),
		BOTH(aio_calls_run_on_another_thread),
		BOTH(aio_wait_ends_when_all_of_many_are_done),
		BOTH(aio_requests_may_be_submitted_and_waited_for_from_done),
		cmocka_unit_test(iov_slices_are_the_bytes_that_were_asked_for),
	};

	return cmocka_run_group_tests_name("file I/O", tests, NULL, NULL);
}
