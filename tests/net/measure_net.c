// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How fast networks are, without a VM; not a test.
 *
 *   measure_net frames BYTES [SECONDS]  frames a second from one port of a switch to another
 *   measure_net switch [SECONDS]        TCP between two network namespaces, each a tap with a cable to one switch
 *   measure_net user [SECONDS]          TCP from a namespace to the host through the user's network, and back
 *
 * The last two need root. Between tap and port frames go as a virtio device would pass them on, with offloads.
 */
#include "net_rig.h"

#include "net/switch.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static double seconds = 3;

static double now(void)
{
	return (double)host_monotonic_ns() / 1e9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void open_port(struct net_port **p, struct loop *loop, const char *text, const struct net_port_ops *ops, void *opaque)
{
	struct net_config c = { .vm = "measure" };
	struct error err;

	if (net_config_parse(text, &c, &err) || net_open(&c, loop, ops, opaque, p, &err)) {
		error_print(&err);
		exit(1);
	}
}

/* --- frames --- */

static void ignore(void *opaque)
{
}

static void count(void *opaque, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
}

static bool room;

static void has_room(void *opaque)
{
	room = true;
	loop_stop(opaque);
}

static void receive_frames(int ready, int result)
{
	static const struct net_port_ops ops = { .receive = count, .writable = ignore };
	struct net_port *p;
	struct loop *loop;
	uint64_t n;

	loop_create(&loop);
	open_port(&p, loop, "switch=measure", &ops, NULL);
	net_set_offloads(p, net_features(p));
	if (write(ready, "", 1) != 1)
		die("ready");
	loop_set_alarm_fn(loop, stop_loop, loop);
	loop_alarm(loop, host_monotonic_ns() + (uint64_t)((seconds + 0.3) * 1e9));
	loop_run(loop);
	n = net_stats(p)->received_frames;
	if (write(result, &n, sizeof(n)) != sizeof(n))
		die("result");
	exit(0);
}

static void measure_frames(size_t len)
{
	static const struct net_port_ops ops = { .receive = count, .writable = has_room };
	static const uint8_t to[] = { 2, 0, 0, 0, 0, 1 }, from[] = { 2, 0, 0, 0, 0, 2 };
	static uint8_t frame[NET_FRAME_MAX];
	int ready[2], result[2];
	struct net_port *p;
	struct loop *loop;
	uint64_t sent = 0, received;
	double start;
	char byte;

	if (pipe(ready) || pipe(result))
		die("pipe");
	if (fork() == 0)
		receive_frames(ready[1], result[1]);
	if (read(ready[0], &byte, 1) != 1)
		exit(1);
	loop_create(&loop);
	open_port(&p, loop, "switch=measure", &ops, loop);
	rig_ethernet(frame, to, from, 0x88b5);
	start = now();
	while (now() - start < seconds) {
		for (unsigned i = 0; i < 64; i++) {
			struct iovec iov = { frame, len };

			if (net_send(p, &iov, 1, NULL) == -EAGAIN) {
				room = false;
				while (!room)
					loop_run(loop);
			}
			sent++;
		}
	}
	if (read(result[0], &received, sizeof(received)) != sizeof(received))
		exit(1);
	printf("%zu bytes: %.0f frames/s sent, %.0f frames/s received, %.2f Gbit/s\n", len, (double)sent / seconds,
	       (double)received / seconds, (double)received * (double)len * 8 / seconds / 1e9);
	net_close(p);
	wait(NULL);
}

/* --- a cable between two ports --- */

struct side {
	struct net_port *port, *other;
};

static void pass_on(void *opaque, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	struct side *s = opaque;

	/* The frame itself is lost when there is no room, as in a device whose ring is full; then it holds. */
	if (net_send(s->other, iov, iovs, o) == -EAGAIN)
		net_pause(s->port, true);
}

static void go_on(void *opaque)
{
	struct side *s = opaque;

	net_pause(s->other, false);
}

static const struct net_port_ops cable_ops = { .receive = pass_on, .writable = go_on };

static void connect_sides(struct side *a, struct side *b)
{
	a->other = b->port;
	b->other = a->port;
	net_set_offloads(a->port, net_features(a->port));
	net_set_offloads(b->port, net_features(b->port));
}

/* --- TCP --- */

struct flow {
	struct in_addr addr;
	uint16_t port;
	bool sends;
	int listener; /* -1: connects */
	uint64_t bytes;
};

static void *run_flow(void *opaque)
{
	struct flow *f = opaque;
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = f->addr, .sin_port = htons(f->port) };
	static char buf[2][1 << 17];
	double start;
	ssize_t n;
	int fd;

	if (f->listener >= 0) {
		fd = accept(f->listener, NULL, NULL);
	} else {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		while (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
			usleep(50000);
	}
	start = now();
	do {
		n = f->sends ? write(fd, buf[0], sizeof(buf[0])) : read(fd, buf[1], sizeof(buf[1]));
		f->bytes += n > 0 ? (uint64_t)n : 0;
	} while (n > 0 && now() - start < seconds);
	close(fd);
	return NULL;
}

static int listen_at(const char *addr, uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(*port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(a);

	inet_pton(AF_INET, addr, &a.sin_addr);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1) || getsockname(fd, (struct sockaddr *)&a, &len))
		die("listen");
	*port = ntohs(a.sin_port);
	return fd;
}

static void run_loop_for(struct loop *loop, double s)
{
	loop_set_alarm_fn(loop, stop_loop, loop);
	loop_alarm(loop, host_monotonic_ns() + (uint64_t)(s * 1e9));
	loop_run(loop);
}

static void switch_side(bool sends)
{
	struct side tap, cable;
	struct flow f = { .port = 5001, .sends = sends, .listener = -1 };
	struct loop *loop;
	pthread_t t;

	if (unshare(CLONE_NEWNET))
		die("unshare");
	loop_create(&loop);
	open_port(&tap.port, loop, "tap=t0", &cable_ops, &tap);
	open_port(&cable.port, loop, "switch=measure", &cable_ops, &cable);
	connect_sides(&tap, &cable);
	rig_set_address("t0", sends ? 0x0a070002 : 0x0a070001, NULL);
	inet_pton(AF_INET, "10.7.0.1", &f.addr);
	if (!sends)
		f.listener = listen_at("10.7.0.1", &f.port);
	pthread_create(&t, NULL, run_flow, &f);
	run_loop_for(loop, seconds + 1);
	if (!sends)
		printf("TCP over a switch: %.2f Gbit/s\n", (double)f.bytes * 8 / seconds / 1e9);
	fflush(stdout);
	net_close(tap.port);
	net_close(cable.port);
	_exit(0);
}

static void measure_user(bool up)
{
	struct side tap, user;
	struct flow host = { .sends = !up }, guest = { .sends = up, .listener = -1 };
	struct loop *loop;
	pthread_t a, b;
	int old = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	loop_create(&loop);
	host.listener = listen_at("127.0.0.1", &host.port);
	guest.port = host.port;
	inet_pton(AF_INET, "10.0.2.2", &guest.addr);
	open_port(&user.port, loop, "user", &cable_ops, &user);
	if (unshare(CLONE_NEWNET))
		die("unshare");
	open_port(&tap.port, loop, "tap=t0", &cable_ops, &tap);
	connect_sides(&tap, &user);
	rig_set_address("t0", 0x0a00020f, NULL);
	pthread_create(&a, NULL, run_flow, &guest);
	if (setns(old, CLONE_NEWNET))
		die("setns");
	pthread_create(&b, NULL, run_flow, &host);
	run_loop_for(loop, seconds + 0.5);
	printf("TCP over the user's network, %s: %.2f Gbit/s\n", up ? "guest to host" : "host to guest",
	       (double)(up ? host.bytes : guest.bytes) * 8 / seconds / 1e9);
	fflush(stdout);
	_exit(0);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], SWITCH_ARGUMENT) == 0)
		return switch_main(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	if (argc > 2 && strcmp(argv[1], "frames") == 0) {
		seconds = argc > 3 ? atof(argv[3]) : seconds;
		measure_frames((size_t)atoi(argv[2]));
	} else if (argc > 1 && strcmp(argv[1], "switch") == 0) {
		seconds = argc > 2 ? atof(argv[2]) : seconds;
		for (unsigned i = 0; i < 2; i++) {
			if (fork() == 0)
				switch_side(i);
		}
		wait(NULL);
		wait(NULL);
	} else if (argc > 1 && strcmp(argv[1], "user") == 0) {
		seconds = argc > 2 ? atof(argv[2]) : seconds;
		for (unsigned i = 0; i < 2; i++) {
			if (fork() == 0)
				measure_user(i == 0);
			wait(NULL);
		}
	} else {
		fprintf(stderr, "usage: measure_net frames BYTES|switch|user [SECONDS]\n");
		return 2;
	}
	return 0;
}
