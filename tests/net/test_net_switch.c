// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Switches as processes: who starts one and when it ends, what passes between ports, and ports that lie or are slow.
 * This program is its own switch: it is started anew as one, as subring is.
 */
#include "net_rig.h"

#include "net/switch_private.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static struct loop *loop;
static struct device a, b, c;
static char folder[] = "/tmp/subring-test-switch.XXXXXX";
static uint8_t frame[NET_FRAME_MAX];
static const uint8_t mac_a[] = { 2, 0, 0, 0, 0, 1 }, mac_b[] = { 2, 0, 0, 0, 0, 2 }, mac_c[] = { 2, 0, 0, 0, 0, 3 };
static const uint8_t broadcast[] = { 255, 255, 255, 255, 255, 255 };

enum { TEST_TYPE = 0x88b5 };

static bool gone(void *opaque)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/subring/switch/%s.sock", folder, (const char *)opaque);
	return access(path, F_OK) < 0;
}

static struct device *const devices[] = { &a, &b, &c, NULL };

static int make_loop(void **state)
{
	return rig_make(&loop, devices);
}

static int drop_loop(void **state)
{
	rig_unplug(devices);
	assert_true(run_until(loop, gone, (void *)"t"));
	loop_destroy(loop);
	return 0;
}

/* A frame of @len bytes with the number @n in it. */
static void send_numbered(struct device *d, const uint8_t *to, const uint8_t *from, size_t len, uint32_t n)
{
	memset(frame, 0x5a, len);
	rig_ethernet(frame, to, from, TEST_TYPE);
	rig_put32(frame + 14, n);
	assert_int_equal(device_send(d, frame, len, NULL), 0);
}

static struct device *receiver;
static uint32_t number;

static bool has_number(void *opaque)
{
	for (unsigned i = 0; i < receiver->count; i++) {
		const struct kept *k = &receiver->kept[i];

		if (k->len >= 18 && rig_get16(k->bytes + 12) == TEST_TYPE && rig_get32(k->bytes + 14) == number)
			return true;
	}
	return false;
}

static bool arrives(struct device *d, uint32_t n)
{
	receiver = d;
	number = n;
	return run_until(loop, has_number, NULL);
}

static bool arrived(struct device *d, uint32_t n)
{
	receiver = d;
	number = n;
	return has_number(NULL);
}

static struct switch_report *ask(void)
{
	struct switch_report *r = NULL;
	struct error err;

	if (switch_query("t", &r, &err)) {
		error_print(&err);
		fail();
	}
	return r;
}

static pid_t pid_of_switch(void)
{
	struct switch_report *r = ask();
	pid_t pid = r->pid;

	free(r);
	return pid;
}

static void frames_pass_and_addresses_are_learnt(void **state)
{
	device_open(&a, loop, "switch=t");
	device_open(&b, loop, "switch=t");
	device_open(&c, loop, "switch=t");
	assert_true(net_link_up(a.port));
	send_numbered(&a, broadcast, mac_a, 60, 1);
	assert_true(arrives(&b, 1));
	assert_true(arrives(&c, 1));
	send_numbered(&b, mac_a, mac_b, 1514, 2);
	assert_true(arrives(&a, 2));
	send_numbered(&c, broadcast, mac_c, 60, 3);
	assert_true(arrives(&b, 3));
	assert_int_equal(a.kept[0].len, 1514);
	/* c came after it in the switch's eyes, and yet it has not got b's frame for a. */
	assert_false(arrived(&c, 2));
	assert_false(arrived(&a, 1));
}

static void report_tells_ports_addresses_and_counters(void **state)
{
	struct switch_report *r;
	const struct switch_mac_info *macs;

	device_open(&a, loop, "switch=t");
	device_open(&b, loop, "switch=t,isolated,promiscuous");
	send_numbered(&a, broadcast, mac_a, 100, 1);
	assert_true(arrives(&b, 1));
	r = ask();
	assert_int_equal(r->ports, 2);
	assert_int_equal(r->macs, 1);
	macs = switch_report_macs(r);
	assert_memory_equal(macs->mac, mac_a, 6);
	assert_int_equal(macs->port, 0);
	assert_string_equal(r->port[0].vm, "rig");
	assert_int_equal(r->port[0].pid, getpid());
	assert_int_equal(r->port[0].in_frames, 1);
	assert_int_equal(r->port[0].in_bytes, 100);
	assert_int_equal(r->port[0].macs, 1);
	assert_int_equal(r->port[1].out_frames, 1);
	assert_int_equal(r->port[1].out_bytes, 100);
	assert_int_equal(r->port[1].flags, SWITCH_ISOLATED | SWITCH_PROMISCUOUS);
	free(r);
}

/* A zombie counts: when it goes is up to whoever inherited it. */
static bool process_gone(void *opaque)
{
	char path[64], stat[256] = "", *end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", *(pid_t *)opaque);
	f = fopen(path, "r");
	if (!f)
		return true;
	if (!fgets(stat, sizeof(stat), f))
		stat[0] = 0;
	fclose(f);
	end = strrchr(stat, ')');
	return !end || end[2] == 'Z' || end[2] == 'X';
}

static void switch_ends_when_its_last_port_has_left(void **state)
{
	struct switch_report *r;
	struct error err;
	pid_t pid;

	device_open(&a, loop, "switch=t");
	device_open(&b, loop, "switch=t");
	pid = pid_of_switch();
	net_close(a.port);
	a.port = NULL;
	assert_int_equal(pid_of_switch(), pid);
	net_close(b.port);
	b.port = NULL;
	assert_true(run_until(loop, process_gone, &pid));
	assert_true(gone((void *)"t"));
	assert_int_equal(switch_query("t", &r, &err), -ENOENT);
	assert_int_equal(err.status, STATUS_HOST);
}

static void port_that_comes_while_the_last_one_leaves_finds_a_switch(void **state)
{
	for (unsigned i = 0; i < 30; i++) {
		device_open(&a, loop, "switch=t");
		net_close(a.port);
		device_open(&b, loop, "switch=t");
		device_open(&a, loop, "switch=t");
		send_numbered(&a, broadcast, mac_a, 60, i);
		assert_true(arrives(&b, i));
		net_close(a.port);
		net_close(b.port);
	}
	a.port = b.port = NULL;
}

static void those_who_start_a_switch_together_get_one(void **state)
{
	enum { MANY = 6 };
	int out[2], in[2];
	pid_t pids[MANY], switches[MANY];
	char end[MANY];

	assert_int_equal(pipe(out), 0);
	assert_int_equal(pipe(in), 0);
	for (unsigned i = 0; i < MANY; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			pid_t pid;
			char byte;

			device_open(&a, loop, "switch=t");
			pid = pid_of_switch();
			if (write(out[1], &pid, sizeof(pid)) != sizeof(pid) || read(in[0], &byte, 1) != 1)
				_exit(1);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(read(out[0], &switches[i], sizeof(pid_t)), sizeof(pid_t));
	assert_int_equal(write(in[1], end, MANY), MANY);
	for (unsigned i = 0; i < MANY; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
		assert_int_equal(switches[i], switches[0]);
		close(i < 2 ? out[i] : in[i % 2]);
	}
}

static bool a_is_down(void *opaque)
{
	return !net_link_up(a.port);
}

static bool both_are_up(void *opaque)
{
	return net_link_up(a.port) && net_link_up(b.port);
}

static void ports_of_a_crashed_switch_start_it_anew(void **state)
{
	pid_t pid;

	device_open(&a, loop, "switch=t");
	device_open(&b, loop, "switch=t");
	pid = pid_of_switch();
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_true(run_until(loop, a_is_down, NULL));
	send_numbered(&a, broadcast, mac_a, 60, 1);
	assert_int_equal(net_stats(a.port)->dropped[NET_DROP_UNPLUGGED], 1);
	assert_true(run_until(loop, both_are_up, NULL));
	assert_int_not_equal(pid_of_switch(), pid);
	send_numbered(&a, broadcast, mac_a, 60, 2);
	assert_true(arrives(&b, 2));
	assert_false(arrived(&b, 1));
}

static void offloads_travel_to_who_takes_them_and_are_done_for_others(void **state)
{
	const struct rig_tcp t = { .flags = 0x10 };
	const struct net_offload o = { .flags = NET_OFFLOAD_CSUM, .gso_type = NET_GSO_TCPV4, .gso_size = 1400,
				       .csum_start = 34, .csum_offset = 16 };
	static uint8_t data[60000];
	size_t n = rig_tcp4(frame, broadcast, mac_a, &t, data, sizeof(data));

	device_open(&a, loop, "switch=t");
	device_open(&b, loop, "switch=t");
	device_open(&c, loop, "switch=t");
	net_set_offloads(b.port, net_features(b.port));
	assert_int_equal(device_send(&a, frame, n, &o), 0);
	send_numbered(&a, broadcast, mac_a, 60, 1);
	assert_true(arrives(&b, 1));
	assert_true(arrives(&c, 1));
	assert_int_equal(b.count, 2);
	assert_int_equal(b.kept[0].len, n);
	assert_memory_equal(&b.kept[0].o, &o, sizeof(o));
	assert_int_equal(c.count, (60000 + 1399) / 1400 + 1);
	assert_int_equal(rig_l4_sum4(c.kept[7].bytes + 14, c.kept[7].len - 14), 0xffff);
}

static void isolated_ports_do_not_hear_each_other(void **state)
{
	device_open(&a, loop, "switch=t,isolated");
	device_open(&b, loop, "switch=t,isolated");
	device_open(&c, loop, "switch=t");
	send_numbered(&a, broadcast, mac_a, 60, 1);
	assert_true(arrives(&c, 1));
	send_numbered(&c, broadcast, mac_c, 60, 2);
	assert_true(arrives(&b, 2));
	assert_true(arrives(&a, 2));
	assert_false(arrived(&b, 1));
}

/* --- slow ports --- */

static unsigned queued_at(unsigned port)
{
	struct switch_report *r = ask();
	unsigned n = r->port[port].queued;

	free(r);
	return n;
}

/* Sends frame @n as soon as there is room. */
static void send_patiently(struct device *d, size_t len, uint32_t n)
{
	memset(frame, 0x5a, len);
	rig_ethernet(frame, broadcast, mac_a, TEST_TYPE);
	rig_put32(frame + 14, n);
	while (device_send(d, frame, len, NULL) == -EAGAIN) {
		loop_set_alarm_fn(loop, stop_loop, loop);
		loop_alarm(loop, host_monotonic_ns() + 1000000);
		assert_int_equal(loop_run(loop), 0);
	}
}

static void slow_port_loses_frames_and_stalls_nobody(void **state)
{
	enum { FRAMES = 300 };
	struct switch_report *r;
	uint32_t last = 0;

	device_open(&a, loop, "switch=t");
	device_open(&b, loop, "switch=t");
	device_open(&c, loop, "switch=t");
	net_pause(b.port, true);
	for (uint32_t i = 1; i <= FRAMES; i++) {
		send_patiently(&a, 60000, i);
		if (i % 16 == 0)
			assert_true(arrives(&c, i));
	}
	assert_true(arrives(&c, FRAMES));
	r = ask();
	assert_int_equal(r->port[2].dropped_full, 0);
	assert_int_equal(r->port[2].out_frames, FRAMES);
	assert_true(r->port[1].dropped_full > 0);
	assert_true(r->port[1].queued > 0);
	assert_int_equal(r->port[1].out_frames + r->port[1].queued + r->port[1].dropped_full, FRAMES);
	free(r);
	/* What it gets when it goes on is in order, also while more comes in, and news comes through. */
	net_pause(b.port, false);
	loop_set_alarm_fn(loop, stop_loop, loop);
	for (uint32_t i = 1; i < 100 || queued_at(1); i++) {
		send_patiently(&a, 60, FRAMES + i);
		loop_alarm(loop, host_monotonic_ns() + 500000);
		assert_int_equal(loop_run(loop), 0);
	}
	send_patiently(&a, 60, 1000000);
	assert_true(arrives(&b, 1000000));
	for (unsigned i = 0; i < b.count; i++) {
		uint32_t n = rig_get32(b.kept[i].bytes + 14);

		assert_true(n > last);
		last = n;
	}
}

/* --- peers that lie --- */

static int raw_connect(void)
{
	struct error err;
	int fd = switch_place_connect("t", false, false, &err);

	assert_true(fd >= 0);
	return fd;
}

static int raw_port(void)
{
	const struct switch_hello h = { .magic = SWITCH_MAGIC, .version = SWITCH_VERSION, .kind = SWITCH_PORT };
	struct switch_welcome w;
	int fd = raw_connect();

	assert_int_equal(send(fd, &h, sizeof(h), 0), sizeof(h));
	assert_int_equal(recv(fd, &w, sizeof(w), 0), sizeof(w));
	if (w.error) {
		assert_non_null(strstr(w.why, "taken"));
		close(fd);
		return w.error;
	}
	return fd;
}

static void hello_that_is_none_is_refused(void **state)
{
	struct switch_hello h = { .magic = SWITCH_MAGIC, .version = SWITCH_VERSION + 1, .kind = SWITCH_PORT };
	struct switch_welcome w;
	char byte = 0;
	int fd;

	device_open(&a, loop, "switch=t");
	fd = raw_connect();
	assert_int_equal(send(fd, &h, sizeof(h), 0), sizeof(h));
	assert_int_equal(recv(fd, &w, sizeof(w), 0), sizeof(w));
	assert_int_equal(w.error, -EPROTO);
	assert_non_null(strstr(w.why, "another version"));
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
	fd = raw_connect();
	assert_int_equal(send(fd, &byte, 1, 0), 1);
	assert_int_equal(recv(fd, &w, sizeof(w), 0), sizeof(w));
	assert_int_equal(w.error, -EPROTO);
	close(fd);
	fd = raw_connect();
	assert_int_equal(send(fd, frame, 60000, 0), 60000);
	assert_int_equal(recv(fd, &w, sizeof(w), 0), sizeof(w));
	assert_int_equal(w.error, -EPROTO);
	close(fd);
}

static void messages_that_are_no_frames_are_counted_and_dropped(void **state)
{
	static uint8_t message[SWITCH_MESSAGE_MAX + 100];
	const size_t sizes[] = { 1, 9, 10, 23, 24, 70, SWITCH_MESSAGE_MAX, SWITCH_MESSAGE_MAX + 100 };
	struct switch_report *r;
	unsigned seed = 7;
	int fd;

	device_open(&a, loop, "switch=t");
	device_open(&b, loop, "switch=t");
	fd = raw_port();
	for (unsigned i = 0; i < 8; i++) {
		memset(message, 0xff, sizeof(message));
		assert_int_equal(send(fd, message, sizes[i], 0), sizes[i]);
	}
	for (unsigned i = 0; i < 2000; i++) {
		size_t len = 10 + (size_t)rand_r(&seed) % 200;

		for (size_t j = 0; j < len; j++)
			message[j] = (uint8_t)rand_r(&seed);
		if (i % 2)
			memset(message, 0, 10);
		assert_int_equal(send(fd, message, len, 0), len);
	}
	memset(message, 0, 100);
	rig_ethernet(message + 10, broadcast, mac_c, TEST_TYPE);
	rig_put32(message + 24, 5);
	assert_int_equal(send(fd, message, 70, 0), 70);
	assert_true(arrives(&a, 5));
	send_numbered(&a, broadcast, mac_a, 60, 6);
	assert_true(arrives(&b, 6));
	r = ask();
	assert_true(r->port[2].dropped_bad >= 8);
	assert_true(r->port[2].macs <= SWITCH_MACS_PER_PORT);
	free(r);
	close(fd);
}

static void sixty_fifth_port_is_refused(void **state)
{
	int fds[SWITCH_PORTS_MAX];

	device_open(&a, loop, "switch=t");
	for (unsigned i = 1; i < SWITCH_PORTS_MAX; i++) {
		fds[i] = raw_port();
		assert_true(fds[i] >= 0);
	}
	assert_int_equal(raw_port(), -ENOSPC);
	for (unsigned i = 1; i < SWITCH_PORTS_MAX; i++)
		close(fds[i]);
}

static void silent_connections_do_not_keep_others_out_for_long(void **state)
{
	int fds[40];

	device_open(&a, loop, "switch=t");
	for (unsigned i = 0; i < 40; i++)
		fds[i] = raw_connect();
	for (unsigned i = 0; i < 40; i++)
		close(fds[i]);
	device_open(&b, loop, "switch=t");
	send_numbered(&a, broadcast, mac_a, 60, 1);
	assert_true(arrives(&b, 1));
}

/* 0: hung up on; the exit status of a child. */
static int knock_as_nobody(const char path[80])
{
	const struct switch_hello h = { .magic = SWITCH_MAGIC, .version = SWITCH_VERSION, .kind = SWITCH_PORT };
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	char byte;

	strcpy(to.sun_path, path);
	if (setresuid(65534, 65534, 65534) || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return 1;
	if (send(fd, &h, sizeof(h), MSG_NOSIGNAL) < 0)
		return 0;
	return recv(fd, &byte, 1, 0) > 0 ? 2 : 0;
}

static void process_of_another_user_is_hung_up_on(void **state)
{
	char path[3][64], sock[80];
	int status;
	pid_t pid;

	if (getuid()) {
		printf("skipped: another user: this is not root\n");
		skip();
	}
	device_open(&a, loop, "switch=t");
	/* All that keeps others out before it comes to that is taken away. */
	snprintf(path[0], sizeof(path[0]), "%s", folder);
	snprintf(path[1], sizeof(path[1]), "%s/subring", folder);
	snprintf(path[2], sizeof(path[2]), "%s/subring/switch", folder);
	snprintf(sock, sizeof(sock), "%s/t.sock", path[2]);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(chmod(path[i], 0755), 0);
	assert_int_equal(chmod(sock, 0777), 0);
	pid = fork();
	if (pid == 0)
		_exit(knock_as_nobody(sock));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(chmod(path[i], 0700), 0);
	assert_int_equal(pid_of_switch() > 0, 1);
}

static bool welcomed(void *opaque)
{
	struct switch_welcome w;

	return recv(*(int *)opaque, &w, sizeof(w), MSG_DONTWAIT) == sizeof(w) && !w.error;
}

static void switch_without_descriptors_serves_its_ports_and_lets_others_in_later(void **state)
{
	const struct switch_hello h = { .magic = SWITCH_MAGIC, .version = SWITCH_VERSION, .kind = SWITCH_PORT };
	struct rlimit none, old;
	pid_t pid;
	int fd;

	device_open(&a, loop, "switch=t");
	device_open(&b, loop, "switch=t");
	pid = pid_of_switch();
	assert_int_equal(prlimit(pid, RLIMIT_NOFILE, NULL, &old), 0);
	none = (struct rlimit){ .rlim_cur = 5, .rlim_max = old.rlim_max };
	assert_int_equal(prlimit(pid, RLIMIT_NOFILE, &none, NULL), 0);
	fd = raw_connect();
	assert_int_equal(send(fd, &h, sizeof(h), 0), sizeof(h));
	send_numbered(&a, broadcast, mac_a, 60, 1);
	assert_true(arrives(&b, 1));
	assert_false(welcomed(&fd));
	assert_int_equal(prlimit(pid, RLIMIT_NOFILE, &old, NULL), 0);
	assert_true(run_until(loop, welcomed, &fd));
	close(fd);
}

/* --- uplinks --- */

static bool arp_answered(void *opaque)
{
	struct device *d = opaque;

	for (unsigned i = 0; i < d->count; i++) {
		if (d->kept[i].len >= 42 && rig_get16(d->kept[i].bytes + 12) == 0x0806 && rig_get16(d->kept[i].bytes + 20) == 2)
			return true;
	}
	return false;
}

static void uplink_to_the_users_network_serves_every_port(void **state)
{
	static const uint8_t start[] = { 0, 1, 8, 0, 6, 4, 0, 1 };
	struct net_config config = { .vm = "rig" };
	struct switch_report *r;
	struct error err;

	device_open(&a, loop, "switch=t,uplink=user");
	device_open(&b, loop, "switch=t");
	for (unsigned i = 0; i < 2; i++) {
		memset(frame, 0, 60);
		rig_ethernet(frame, broadcast, i ? mac_b : mac_a, 0x0806);
		memcpy(frame + 14, start, 8);
		memcpy(frame + 22, i ? mac_b : mac_a, 6);
		rig_put32(frame + 28, 0x0a000210 + i);
		rig_put32(frame + 38, 0x0a000202);
		assert_int_equal(device_send(i ? &b : &a, frame, 60, NULL), 0);
		assert_true(run_until(loop, arp_answered, i ? &b : &a));
	}
	r = ask();
	assert_int_equal(r->ports, 3);
	assert_true(r->port[0].flags & SWITCH_UPLINK);
	assert_string_equal(r->port[0].vm, "user network");
	free(r);
	/* The same again is no second one; another is refused with a reason. */
	device_open(&c, loop, "switch=t,uplink=user");
	assert_int_equal(net_config_parse("switch=t,uplink=tap:nosuchtap0", &config, &err), 0);
	net_close(c.port);
	c.port = NULL;
	assert_int_equal(net_open(&config, loop, &device_ops, &c, &c.port, &err), -EBUSY);
	assert_non_null(strstr(err.why, "another uplink already: user"));
	c.port = NULL;
}

/* Last, since this process has no way back from its network namespace. */
static void uplink_to_an_interface_brings_the_host_to_every_port(void **state)
{
	static const uint8_t start[] = { 0, 1, 8, 0, 6, 4, 0, 1 };

	if (unshare(CLONE_NEWNET) < 0 || access("/dev/net/tun", R_OK | W_OK) < 0) {
		printf("skipped: uplink: network namespaces or /dev/net/tun: %s\n", strerror(errno));
		skip();
	}
	device_open(&a, loop, "switch=t,uplink=tap:up0");
	rig_set_address("up0", 0x0a080001, NULL);
	device_open(&b, loop, "switch=t,isolated");
	memset(frame, 0, 60);
	rig_ethernet(frame, broadcast, mac_b, 0x0806);
	memcpy(frame + 14, start, 8);
	memcpy(frame + 22, mac_b, 6);
	rig_put32(frame + 28, 0x0a080002);
	rig_put32(frame + 38, 0x0a080001);
	assert_int_equal(device_send(&b, frame, 60, NULL), 0);
	assert_true(run_until(loop, arp_answered, &b));
	assert_false(arp_answered(&a));
}

static void uplink_that_cannot_be_is_told_with_its_reason(void **state)
{
	struct net_config config = { .vm = "rig" };
	struct error err;

	assert_int_equal(net_config_parse("switch=t,uplink=tap:lo", &config, &err), 0);
	assert_true(net_open(&config, loop, &device_ops, &a, &a.port, &err) < 0);
	a.port = NULL;
	assert_int_equal(err.status, STATUS_HOST);
	assert_true(*err.why && *err.fix);
}

/* --- the folder --- */

static void folder_that_others_may_write_to_is_refused(void **state)
{
	struct error err;
	char path[128];

	device_open(&a, loop, "switch=t");
	snprintf(path, sizeof(path), "%s/subring", folder);
	assert_int_equal(chmod(path, 0777), 0);
	assert_int_equal(switch_place_connect("t", false, false, &err), -EPERM);
	assert_non_null(strstr(err.fix, "XDG_RUNTIME_DIR"));
	assert_int_equal(chmod(path, 0700), 0);
}

static void remember(void *opaque, const char *name)
{
	strcat(opaque, name);
	strcat(opaque, " ");
}

static void names_are_those_of_the_sockets(void **state)
{
	char names[256] = "";

	device_open(&a, loop, "switch=t");
	device_open(&b, loop, "switch=another-one");
	assert_int_equal(switch_names(remember, names, NULL), 0);
	assert_string_equal(names, "another-one t ");
	net_close(b.port);
	b.port = NULL;
	assert_true(run_until(loop, gone, (void *)"another-one"));
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_loop, drop_loop)
	const struct CMUnitTest tests[] = {
		TEST(frames_pass_and_addresses_are_learnt),
		TEST(report_tells_ports_addresses_and_counters),
		TEST(switch_ends_when_its_last_port_has_left),
		TEST(port_that_comes_while_the_last_one_leaves_finds_a_switch),
		TEST(those_who_start_a_switch_together_get_one),
		TEST(ports_of_a_crashed_switch_start_it_anew),
		TEST(offloads_travel_to_who_takes_them_and_are_done_for_others),
		TEST(isolated_ports_do_not_hear_each_other),
		TEST(slow_port_loses_frames_and_stalls_nobody),
		TEST(hello_that_is_none_is_refused),
		TEST(messages_that_are_no_frames_are_counted_and_dropped),
		TEST(sixty_fifth_port_is_refused),
		TEST(silent_connections_do_not_keep_others_out_for_long),
		TEST(process_of_another_user_is_hung_up_on),
		TEST(switch_without_descriptors_serves_its_ports_and_lets_others_in_later),
		TEST(uplink_to_the_users_network_serves_every_port),
		TEST(folder_that_others_may_write_to_is_refused),
		TEST(names_are_those_of_the_sockets),
		TEST(uplink_that_cannot_be_is_told_with_its_reason),
		TEST(uplink_to_an_interface_brings_the_host_to_every_port),
	};
	char command[64];
	int ret;

	if (argc > 1 && strcmp(argv[1], SWITCH_ARGUMENT) == 0)
		return switch_main(argc, argv);
	if (!mkdtemp(folder) || setenv("XDG_RUNTIME_DIR", folder, 1))
		return 1;
	ret = cmocka_run_group_tests_name("net_switch", tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) ? 1 : ret;
}
