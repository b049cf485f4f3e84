// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of virtio/vsock.c and vsock_socket.c: the guest's side by packets, the host's by Unix sockets. */
#include "rig.h"

#include "virtio/vsock_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CID = 42, PORT = 1234, BUFFERS = 8, BUFFER_SIZE = 4096 };
#define RX (RIG_DATA + 0x10000)

static struct rig rig, other;
static struct virtio_vsock *vsock, *vsock2;
static char dir[] = "/tmp/subring-vsock-XXXXXX", path[64];
static unsigned rx_next;

static void make(struct rig *r, struct virtio_vsock **v, unsigned mode)
{
	struct error err;

	rig_init(r, mode);
	snprintf(path, sizeof(path), "%s/v", dir);
	assert_int_equal(virtio_vsock_create(r->ram, r->loop, CID, path, v, &err), 0);
	rig_attach(r, virtio_vsock_device(*v));
}

static void add_rx(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		rig_add(&rig, VSOCK_RX, &(struct rig_part){ RX + rx_next++ % BUFFERS * BUFFER_SIZE, BUFFER_SIZE }, 0, 1);
	rig_kick(&rig, VSOCK_RX);
	rig_run(&rig);
}

static void begin(unsigned mode)
{
	make(&rig, &vsock, mode);
	rig_start(&rig, 0, 32);
	rx_next = 0;
}

static void end(void)
{
	rig_set_status(&rig, 0);
	rig_run(&rig);
	assert_int_equal(vsock->count, 0);
	rig_detach(&rig);
	virtio_vsock_destroy(vsock);
	rig_done(&rig);
}

static struct sockaddr_un address(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", name);
	return a;
}

static int program_connects(void)
{
	struct sockaddr_un a = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void program_writes(int fd, const void *bytes, size_t len)
{
	assert_int_equal(write(fd, bytes, len), len);
	rig_run(&rig);
}

/* What the program finds: exactly this. */
static void program_reads(int fd, const char *want)
{
	char got[256];

	assert_int_equal(read(fd, got, sizeof(got)), strlen(want));
	assert_memory_equal(got, want, strlen(want));
}

static void program_is_hung_up(int fd)
{
	char c;
	ssize_t n = read(fd, &c, 1);

	assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
	close(fd);
}

static void guest_sends_from(uint64_t cid, uint32_t from, uint32_t to, uint16_t op, uint32_t flags, const void *bytes, uint32_t len)
{
	struct vsock_header h = { .src_cid = cid, .dst_cid = 2, .src_port = from, .dst_port = to, .len = len,
				  .type = 1, .op = op, .flags = flags, .buf_alloc = 10000, .fwd_cnt = 0 };

	rig_put(&rig, RIG_DATA, &h, sizeof(h));
	if (len)
		rig_put(&rig, RIG_DATA + 44, bytes, len);
	rig_do(&rig, VSOCK_TX, &(struct rig_part){ RIG_DATA, 44 + len }, 1, 0);
	rig_run(&rig);
}

static void guest_sends(uint32_t from, uint32_t to, uint16_t op, uint32_t flags, const void *bytes, uint32_t len)
{
	guest_sends_from(CID, from, to, op, flags, bytes, len);
}

/* The next packet that the guest gets; its bytes. */
static struct vsock_header guest_gets(uint16_t op, char *bytes)
{
	static unsigned at;
	struct vsock_header h;
	uint32_t len;

	/* Buffers are used in the order in which they were added. */
	if (rx_next <= BUFFERS && !rig.q[VSOCK_RX].last_used)
		at = 0;
	assert_true(rig_used(&rig, VSOCK_RX, NULL, &len));
	rig_get(&rig, RX + at % BUFFERS * BUFFER_SIZE, &h, sizeof(h));
	if (bytes && h.len) {
		rig_get(&rig, RX + at % BUFFERS * BUFFER_SIZE + 44, bytes, h.len);
		bytes[h.len] = '\0';
	}
	at++;
	assert_int_equal(len, 44 + h.len);
	assert_int_equal(h.src_cid, 2);
	assert_int_equal(h.dst_cid, CID);
	assert_int_equal(h.type, 1);
	assert_true(!op || h.op == op); /* 0: any */
	return h;
}

static void guest_gets_nothing(void)
{
	assert_false(rig_used(&rig, VSOCK_RX, NULL, NULL));
}

/* A program connected to the guest; the host's port. */
static uint32_t connected(int *fd)
{
	struct vsock_header h;
	char text[32];

	*fd = program_connects();
	program_writes(*fd, "CONNECT 1234\n", 13);
	h = guest_gets(OP_REQUEST, NULL);
	assert_int_equal(h.dst_port, PORT);
	guest_sends(PORT, h.src_port, OP_RESPONSE, 0, NULL, 0);
	snprintf(text, sizeof(text), "OK %u\n", h.src_port);
	program_reads(*fd, text);
	return h.src_port;
}

static void a_program_talks_to_the_guest(void **state)
{
	RIG_EACH(mode) {
		char got[4096];
		uint32_t port;
		int fd;

		begin(mode);
		add_rx(BUFFERS);
		assert_int_equal(rig_config(&rig, 0, 8), CID);
		port = connected(&fd);
		program_writes(fd, "hello", 5);
		assert_int_equal(guest_gets(OP_RW, got).len, 5);
		assert_string_equal(got, "hello");
		guest_sends(PORT, port, OP_RW, 0, "world", 5);
		program_reads(fd, "world");
		/* the guest closes */
		guest_sends(PORT, port, OP_SHUTDOWN, SHUTDOWN_BOTH, NULL, 0);
		guest_gets(OP_RST, NULL);
		program_is_hung_up(fd);
		assert_int_equal(vsock->count, 0);
		end();
	}
}

static void the_guest_talks_to_a_program(void **state)
{
	RIG_EACH(mode) {
		struct sockaddr_un a;
		char name[80], got[4096];
		int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd;

		begin(mode);
		add_rx(BUFFERS);
		snprintf(name, sizeof(name), "%s_77", path);
		a = address(name);
		assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
		assert_int_equal(listen(listener, 1), 0);
		guest_sends(PORT, 77, OP_REQUEST, 0, NULL, 0);
		guest_gets(OP_RESPONSE, NULL);
		fd = accept(listener, NULL, NULL);
		assert_true(fd >= 0);
		guest_sends(PORT, 77, OP_RW, 0, "ping", 4);
		program_reads(fd, "ping");
		program_writes(fd, "pong", 4);
		guest_gets(OP_RW, got);
		assert_string_equal(got, "pong");
		/* the program closes */
		close(fd);
		rig_run(&rig);
		while (vsock->count)
			rig_run(&rig);
		close(listener);
		unlink(name);
		/* nobody is there */
		guest_sends(PORT, 78, OP_REQUEST, 0, NULL, 0);
		end();
	}
}

static void a_port_without_a_program_is_reset(void **state)
{
	begin(0);
	add_rx(BUFFERS);
	guest_sends(PORT, 78, OP_REQUEST, 0, NULL, 0);
	assert_int_equal(guest_gets(OP_RST, NULL).src_port, 78);
	guest_sends(PORT, 79, OP_RW, 0, "x", 1);
	assert_int_equal(guest_gets(OP_RST, NULL).src_port, 79);
	guest_sends(PORT, 79, OP_RST, 0, NULL, 0);
	guest_sends_from(CID + 1, PORT, 79, OP_REQUEST, 0, NULL, 0);
	guest_gets_nothing();
	end();
}

static void a_half_that_is_shut_is_passed_on(void **state)
{
	char got[4096];
	uint32_t port;
	int fd;

	begin(0);
	add_rx(BUFFERS);
	port = connected(&fd);
	program_writes(fd, "all", 3);
	shutdown(fd, SHUT_WR);
	rig_run(&rig);
	guest_gets(OP_RW, got);
	assert_int_equal(guest_gets(OP_SHUTDOWN, NULL).flags, SHUTDOWN_SEND);
	guest_sends(PORT, port, OP_RW, 0, "answer", 6);
	program_reads(fd, "answer");
	guest_sends(PORT, port, OP_SHUTDOWN, SHUTDOWN_SEND, NULL, 0);
	program_is_hung_up(fd);
	while (vsock->count)
		rig_run(&rig);
	end();
}

static void the_guest_gets_no_more_than_it_has_room_for(void **state)
{
	static uint8_t bytes[20000];
	struct vsock_header h;
	uint32_t port, sum = 0;
	int fd;

	begin(0);
	add_rx(BUFFERS);
	port = connected(&fd);
	program_writes(fd, bytes, sizeof(bytes));
	for (unsigned i = 0; i < 3; i++) {
		h = guest_gets(OP_RW, NULL);
		sum += h.len;
	}
	guest_gets_nothing();
	assert_int_equal(sum, 10000); /* buf_alloc */
	h = (struct vsock_header){ .src_cid = CID, .dst_cid = 2, .src_port = PORT, .dst_port = port, .type = 1,
				   .op = OP_CREDIT_UPDATE, .buf_alloc = 10000, .fwd_cnt = 10000 };
	rig_put(&rig, RIG_DATA, &h, sizeof(h));
	rig_do(&rig, VSOCK_TX, &(struct rig_part){ RIG_DATA, 44 }, 1, 0);
	rig_run(&rig);
	for (unsigned i = 0; i < 3; i++)
		sum += guest_gets(OP_RW, NULL).len;
	assert_int_equal(sum, 20000);
	close(fd);
	end();
}

static void bytes_wait_for_buffers(void **state)
{
	char got[4096];
	int fd;

	begin(0);
	add_rx(1);
	fd = program_connects();
	program_writes(fd, "CONNECT 1234\n", 13);
	guest_sends(PORT, guest_gets(OP_REQUEST, NULL).src_port, OP_RESPONSE, 0, NULL, 0);
	program_writes(fd, "later", 5);
	guest_gets_nothing();
	add_rx(1);
	guest_gets(OP_RW, got);
	assert_string_equal(got, "later");
	close(fd);
	end();
}

static void a_guest_that_sends_more_than_there_is_room_for_is_reset(void **state)
{
	static uint8_t bytes[60000];
	uint32_t port;
	unsigned op;
	int fd;

	begin(0);
	add_rx(BUFFERS);
	port = connected(&fd);
	for (unsigned i = 0; i < 20 && vsock->count; i++)
		guest_sends(PORT, port, OP_RW, 0, bytes, sizeof(bytes));
	assert_int_equal(vsock->count, 0);
	/* The socket took some of it, of which the guest was told. */
	do
		op = guest_gets(0, NULL).op;
	while (op == OP_CREDIT_UPDATE);
	assert_int_equal(op, OP_RST);
	close(fd);
	end();
}

static void programs_that_say_something_else_are_hung_up(void **state)
{
	static const char *const bad[] = { "GET / HTTP/1.1\n", "CONNECT \n", "CONNECT -1\n", "CONNECT 99999999999\n",
					   "CONNECT 1x\n", "CONNECT 00000000000000000000000000000001\n" };

	begin(0);
	add_rx(BUFFERS);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd = program_connects();

		program_writes(fd, bad[i], strlen(bad[i]));
		program_is_hung_up(fd);
	}
	guest_gets_nothing();
	end();
}

static void packets_that_cannot_be_mean_nothing_or_a_reset(void **state)
{
	struct vsock_header h = { .src_cid = CID, .dst_cid = 2, .src_port = PORT, .dst_port = 1, .type = 1, .op = OP_RW, .len = 5 };
	uint32_t port;
	int fd;

	begin(0);
	add_rx(BUFFERS);
	rig_put(&rig, RIG_DATA, &h, sizeof(h));
	rig_do(&rig, VSOCK_TX, &(struct rig_part){ RIG_DATA, 43 }, 1, 0);
	rig_do(&rig, VSOCK_TX, &(struct rig_part){ RIG_DATA, 48 }, 1, 0);
	guest_gets_nothing();
	port = connected(&fd);
	guest_sends(PORT, port, 99, 0, NULL, 0);
	guest_gets(OP_RST, NULL);
	program_is_hung_up(fd);
	assert_int_equal(vsock->count, 0);
	end();
}

static void a_reset_hangs_all_programs_up(void **state)
{
	int fd;

	begin(0);
	add_rx(BUFFERS);
	connected(&fd);
	rig_start(&rig, 0, 32);
	program_is_hung_up(fd);
	assert_int_equal(vsock->count, 0);
	end();
}

static void after_loading_the_driver_is_told_that_connections_are_gone(void **state)
{
	RIG_EACH(mode) {
		uint32_t len;
		int fd;

		begin(mode);
		add_rx(BUFFERS);
		connected(&fd);
		rig_add(&rig, VSOCK_EVENT, &(struct rig_part){ RIG_DATA + 0x1000, 4 }, 0, 1);
		rig_put_le(&rig, RIG_DATA + 0x1000, 4, 99);
		/* The other VM listens elsewhere. */
		unlink(path);
		make(&other, &vsock2, mode);
		assert_int_equal(rig_copy(&rig, &other, &virtio_vsock_ops, vsock, vsock2), 0);
		rig_run(&other);
		assert_true(rig_used(&other, VSOCK_EVENT, NULL, &len));
		assert_int_equal(len, 4);
		assert_int_equal(rig_get_le(&other, RIG_DATA + 0x1000, 4), 0);
		rig_set_status(&other, 0);
		rig_detach(&other);
		virtio_vsock_destroy(vsock2);
		rig_done(&other);
		close(fd);
		end();
	}
}

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_program_talks_to_the_guest),
		cmocka_unit_test(the_guest_talks_to_a_program),
		cmocka_unit_test(a_port_without_a_program_is_reset),
		cmocka_unit_test(a_half_that_is_shut_is_passed_on),
		cmocka_unit_test(the_guest_gets_no_more_than_it_has_room_for),
		cmocka_unit_test(bytes_wait_for_buffers),
		cmocka_unit_test(a_guest_that_sends_more_than_there_is_room_for_is_reset),
		cmocka_unit_test(programs_that_say_something_else_are_hung_up),
		cmocka_unit_test(packets_that_cannot_be_mean_nothing_or_a_reset),
		cmocka_unit_test(a_reset_hangs_all_programs_up),
		cmocka_unit_test(after_loading_the_driver_is_told_that_connections_are_gone),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
