// SPDX-License-Identifier: GPL-2.0-or-later
/* The host's side of the serial port. */
#include "cmd/serial.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { MUCH = 200000 };

static char path[64], spec[80];
static _Atomic unsigned readies, failures;
static struct error failure;
static bool give_up_now;

static void on_ready(void *opaque)
{
	readies++;
}

static void on_failed(void *opaque, const struct error *err)
{
	failure = *err;
	failures++;
}

static bool give_up(void *opaque)
{
	return give_up_now;
}

static int setup(void **state)
{
	snprintf(path, sizeof(path), "/tmp/subring-test-serial.%d", getpid());
	snprintf(spec, sizeof(spec), "file:%s", path);
	readies = failures = 0;
	give_up_now = false;
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	return 0;
}

static struct serial_out *make(void)
{
	struct serial_out *out;
	struct error err;

	assert_int_equal(serial_out_create(spec, &out, &err), 0);
	return out;
}

static uint8_t byte_at(unsigned i)
{
	return (uint8_t)(i * 7 + i / 256);
}

static void a_file_gets_every_byte_in_order_however_many(void **state)
{
	struct serial_out *out = make();
	struct chip_stream stream = serial_out_stream(out);
	uint8_t buf[4096];
	unsigned n = 0;
	ssize_t got;
	int fd;

	assert_int_equal(serial_out_start(out, on_ready, on_failed, NULL), 0);
	for (unsigned i = 0; i < MUCH; i++) {
		while (!stream.put(stream.opaque, byte_at(i))) {
			unsigned before = readies;

			/* a chip would wait to be told */
			for (int w = 0; w < 5000 && readies == before; w++)
				usleep(1000);
			assert_true(readies > before);
		}
	}
	serial_out_flush(out, give_up, NULL);
	serial_out_destroy(out);
	fd = open(path, O_RDONLY);
	while ((got = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < got; i++, n++)
			assert_int_equal(buf[i], byte_at(n));
	}
	close(fd);
	assert_int_equal(n, MUCH);
	assert_int_equal(failures, 0);
}

static void a_reader_that_does_not_read_blocks_nobody(void **state)
{
	struct serial_out *out;
	struct chip_stream stream;
	unsigned taken = 0;
	int fd;

	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDONLY | O_NONBLOCK);
	out = make();
	stream = serial_out_stream(out);
	assert_int_equal(serial_out_start(out, on_ready, on_failed, NULL), 0);
	for (int i = 0; i < 50; i++) {
		while (stream.put(stream.opaque, 'a'))
			taken++;
		usleep(1000);
	}
	/* the pipe's 64 KiB and ours, and not more */
	assert_in_range(taken, 65536, 200000);
	give_up_now = true;
	serial_out_flush(out, give_up, NULL);
	close(fd);
	serial_out_destroy(out);
}

static void a_reader_that_went_away_is_told_once_and_output_vanishes(void **state)
{
	struct serial_out *out;
	struct chip_stream stream;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDONLY | O_NONBLOCK);
	out = make();
	stream = serial_out_stream(out);
	assert_int_equal(serial_out_start(out, on_ready, on_failed, NULL), 0);
	close(fd);
	for (int i = 0; i < 200000; i++) {
		bool told = failures > 0; /* before the byte is offered: the writer fails when it likes */

		assert_true(stream.put(stream.opaque, 'a') || !told);
	}
	serial_out_flush(out, give_up, NULL);
	for (int i = 0; i < 5000 && !failures; i++)
		usleep(1000);
	assert_int_equal(stream.put(stream.opaque, 'b'), 1);
	serial_out_destroy(out);
	assert_int_equal(failures, 1);
	assert_int_equal(failure.status, STATUS_HOST);
}

static void specs_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = { "", "tcp:1", "file:", "file", "Stdio" };
	struct serial_out *out;
	struct error err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(serial_out_create(bad[i], &out, &err) < 0);
		assert_int_equal(err.status, STATUS_USAGE);
	}
	assert_int_equal(serial_out_create("file:/no/such/folder/file", &out, &err), -ENOENT);
	assert_int_equal(err.status, STATUS_INPUT);
	assert_non_null(strstr(err.what, "/no/such/folder/file"));
}

static void without_a_back_end_bytes_vanish(void **state)
{
	struct serial_out *out;
	struct error err;

	assert_int_equal(serial_out_create("none", &out, &err), 0);
	assert_null(serial_out_stream(out).put);
	assert_int_equal(serial_out_start(out, on_ready, on_failed, NULL), 0);
	serial_out_flush(out, give_up, NULL);
	serial_out_destroy(out);
}

/* --- input --- */

static uint8_t got[MUCH];
static size_t got_len;
static size_t room;
static struct loop *loop;
static bool hung_up;

static size_t take(void *opaque, const uint8_t *bytes, size_t len)
{
	size_t n = len < 16 ? len : 16; /* a FIFO */

	if (n > room)
		n = room;
	memcpy(got + got_len, bytes, n);
	got_len += n;
	room -= n;
	if (!room)
		loop_stop(loop);
	return n;
}

static bool no_x(void *opaque, uint8_t *byte)
{
	return *byte != 'x';
}

static void on_hangup(void *opaque)
{
	hung_up = true;
	loop_stop(loop);
}

static struct serial_in *make_in(int fd, bool terminal)
{
	struct serial_in_config config = {
		.fd = fd, .loop = loop, .terminal = terminal, .filter = no_x, .take = take, .hangup = on_hangup,
	};
	struct serial_in *in;

	assert_int_equal(serial_in_create(&config, &in), 0);
	return in;
}

static void piped_input_arrives_whole_although_the_chip_takes_little(void **state)
{
	struct serial_in *in;
	uint8_t bytes[6000];
	int p[2];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = byte_at(i);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], bytes, sizeof(bytes)), sizeof(bytes));
	close(p[1]);
	assert_int_equal(loop_create(&loop), 0);
	got_len = 0;
	room = sizeof(bytes);
	in = make_in(p[0], false);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(got_len, sizeof(bytes));
	assert_memory_equal(got, bytes, sizeof(bytes));
	serial_in_destroy(in);
	close(p[0]);
	loop_destroy(loop);
}

static void a_regular_file_is_input_too(void **state)
{
	struct serial_in *in;
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	assert_int_equal(write(fd, "hello", 5), 5);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(loop_create(&loop), 0);
	got_len = 0;
	room = 5;
	in = make_in(fd, false);
	assert_int_equal(loop_run(loop), 0);
	assert_memory_equal(got, "hello", 5);
	serial_in_destroy(in);
	close(fd);
	loop_destroy(loop);
}

static void a_terminal_is_filtered_and_its_end_is_told(void **state)
{
	struct serial_in *in;
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], "axbx", 4), 4);
	close(p[1]);
	assert_int_equal(loop_create(&loop), 0);
	got_len = 0;
	room = 100;
	hung_up = false;
	in = make_in(p[0], true);
	assert_int_equal(loop_run(loop), 0);
	assert_true(hung_up);
	assert_int_equal(got_len, 2);
	assert_memory_equal(got, "ab", 2);
	serial_in_destroy(in);
	close(p[0]);
	loop_destroy(loop);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_file_gets_every_byte_in_order_however_many),
		T(a_reader_that_does_not_read_blocks_nobody),
		T(a_reader_that_went_away_is_told_once_and_output_vanishes),
		T(specs_that_are_none_are_refused),
		T(without_a_back_end_bytes_vanish),
		T(piped_input_arrives_whole_although_the_chip_takes_little),
		T(a_regular_file_is_input_too),
		T(a_terminal_is_filtered_and_its_end_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
