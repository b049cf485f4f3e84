// SPDX-License-Identifier: GPL-2.0-or-later
/* What all ports do: checks and counters, the backlog of a paused device, offloads in software, captures. */
#include "net_rig.h"

#include <fcntl.h>

static struct loop *loop;
static struct device d;
static uint8_t frame[NET_FRAME_MAX + 100], payload[5000];
static const uint8_t mac_a[] = { 2, 0, 0, 0, 0, 1 }, mac_b[] = { 2, 0, 0, 0, 0, 2 };
static const struct net_offload nothing;

static struct device *const devices[] = { &d, NULL };

static int make_loop(void **state)
{
	return rig_make(&loop, devices);
}

static int drop_loop(void **state)
{
	rig_unplug(devices);
	loop_destroy(loop);
	return 0;
}

static void deliver(const void *bytes, size_t len, const struct net_offload *o)
{
	struct iovec iov = { (void *)bytes, len };

	net_deliver(d.port, &iov, 1, o);
}

static uint64_t dropped(enum net_drop why)
{
	return net_stats(d.port)->dropped[why];
}

static void none_counts_what_is_sent_and_drops_it(void **state)
{
	device_open(&d, loop, "none");
	assert_int_equal(device_send(&d, frame, 60, NULL), 0);
	assert_int_equal(net_stats(d.port)->sent_frames, 1);
	assert_int_equal(net_stats(d.port)->sent_bytes, 60);
	assert_int_equal(dropped(NET_DROP_UNPLUGGED), 1);
	assert_false(net_link_up(d.port));
}

static void port_drops_and_counts_what_is_no_frame(void **state)
{
	const struct net_offload bad = { .flags = NET_OFFLOAD_CSUM, .csum_start = 60 };
	struct iovec many[NET_IOVS_MAX + 1];

	device_open(&d, loop, "none");
	assert_int_equal(device_send(&d, frame, 13, NULL), 0);
	assert_int_equal(device_send(&d, frame, 0, NULL), 0);
	assert_int_equal(dropped(NET_DROP_SHORT), 2);
	assert_int_equal(device_send(&d, frame, NET_FRAME_MAX + 1, NULL), 0);
	assert_int_equal(dropped(NET_DROP_LONG), 1);
	for (unsigned i = 0; i <= NET_IOVS_MAX; i++)
		many[i] = (struct iovec){ frame, 1 };
	assert_int_equal(net_send(d.port, many, NET_IOVS_MAX + 1, NULL), 0);
	assert_int_equal(dropped(NET_DROP_LONG), 2);
	assert_int_equal(device_send(&d, frame, 60, &bad), 0);
	assert_int_equal(dropped(NET_DROP_OFFLOAD), 1);
	deliver(frame, 13, &nothing);
	deliver(frame, 60, &bad);
	assert_int_equal(dropped(NET_DROP_SHORT), 3);
	assert_int_equal(dropped(NET_DROP_OFFLOAD), 2);
	assert_int_equal(net_stats(d.port)->sent_frames, 0);
	assert_int_equal(d.count, 0);
}

static void paused_device_gets_its_frames_later_in_order(void **state)
{
	device_open(&d, loop, "none");
	deliver("0_____________", 14, &nothing);
	net_pause(d.port, true);
	deliver("1_____________", 14, &nothing);
	deliver("2_____________", 14, &nothing);
	assert_int_equal(d.count, 1);
	net_pause(d.port, false);
	deliver("3_____________", 14, &nothing);
	assert_int_equal(d.count, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(d.kept[i].bytes[0], '0' + i);
	assert_int_equal(net_stats(d.port)->received_frames, 4);
}

static void pause_again(struct device *dev)
{
	net_pause(dev->port, true);
}

static void device_that_pauses_at_each_frame_gets_one_at_a_time(void **state)
{
	device_open(&d, loop, "none");
	d.also = pause_again;
	for (unsigned i = 0; i < 5; i++)
		deliver("______________", 14, &nothing);
	for (unsigned i = 1; i < 5; i++) {
		assert_int_equal(d.count, i);
		net_pause(d.port, false);
	}
	assert_int_equal(d.count, 5);
}

static void deliver_one_more(struct device *dev)
{
	if (dev->count == 1)
		deliver("3_____________", 14, &nothing);
}

static void frame_that_comes_while_the_device_receives_does_not_overtake(void **state)
{
	device_open(&d, loop, "none");
	net_pause(d.port, true);
	deliver("1_____________", 14, &nothing);
	deliver("2_____________", 14, &nothing);
	d.also = deliver_one_more;
	net_pause(d.port, false);
	assert_int_equal(d.count, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(d.kept[i].bytes[0], '1' + i);
}

static void backlog_of_a_paused_device_is_bounded(void **state)
{
	device_open(&d, loop, "none");
	net_pause(d.port, true);
	for (unsigned i = 0; i < 5000; i++)
		deliver(frame, 14, &nothing);
	assert_int_equal(dropped(NET_DROP_PAUSED), 5000 - HELD_FRAMES_MAX);
	net_pause(d.port, false);
	assert_int_equal(d.count, HELD_FRAMES_MAX);
	device_forget(&d);
	net_pause(d.port, true);
	for (unsigned i = 0; i < 100; i++)
		deliver(frame, 65000, &nothing);
	net_pause(d.port, false);
	assert_int_equal(d.count, HELD_BYTES_MAX / 65000);
}

static void offloads_are_done_for_a_device_that_takes_none(void **state)
{
	const struct rig_tcp t = { .flags = 0x10 };
	struct net_offload o = { .flags = NET_OFFLOAD_CSUM, .gso_type = NET_GSO_TCPV4, .gso_size = 1000, .csum_start = 34,
				 .csum_offset = 16 };
	size_t n = rig_tcp4(frame, mac_b, mac_a, &t, payload, 2500);

	device_open(&d, loop, "none");
	d.port->can_give = NET_GIVES_CSUM | NET_GIVES_TSO4;
	deliver(frame, n, &o);
	assert_int_equal(d.count, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_memory_equal(&d.kept[i].o, &nothing, sizeof(nothing));
		assert_int_equal(rig_l4_sum4(d.kept[i].bytes + 14, d.kept[i].len - 14), 0xffff);
	}
	/* And are left to one that takes them. */
	net_set_offloads(d.port, NET_GIVES_CSUM | NET_GIVES_TSO4 | NET_GIVES_TSO6);
	deliver(frame, n, &o);
	assert_int_equal(d.count, 4);
	assert_memory_equal(&d.kept[3].o, &o, sizeof(o));
	assert_int_equal(d.kept[3].len, n);
	/* Segmentation without checksums is none. */
	net_set_offloads(d.port, NET_GIVES_TSO4);
	deliver(frame, n, &o);
	assert_int_equal(d.count, 7);
	o = (struct net_offload){ .flags = NET_OFFLOAD_CSUM_VALID };
	deliver(frame, n, &o);
	assert_memory_equal(&d.kept[7].o, &nothing, sizeof(nothing));
}

static void segments_of_a_frame_wait_for_a_paused_device(void **state)
{
	const struct rig_tcp t = { .flags = 0x10 };
	const struct net_offload o = { .flags = NET_OFFLOAD_CSUM, .gso_type = NET_GSO_TCPV4, .gso_size = 1000,
				       .csum_start = 34, .csum_offset = 16 };
	size_t n = rig_tcp4(frame, mac_b, mac_a, &t, payload, 2500);

	device_open(&d, loop, "none");
	d.also = pause_again;
	deliver(frame, n, &o);
	assert_int_equal(d.count, 1);
	d.also = NULL;
	net_pause(d.port, false);
	assert_int_equal(d.count, 3);
	assert_int_equal(dropped(NET_DROP_PAUSED), 0);
}

/* --- a back-end that is full at times --- */

static unsigned room, came;

static int stuck_send(struct net_port *p, const struct iovec *iov, unsigned iovs, size_t len, const struct net_offload *o)
{
	if (!room)
		return -EAGAIN;
	room--;
	came++;
	assert_memory_equal(o, &nothing, sizeof(nothing));
	return 0;
}

static void stuck_close(struct net_port *p)
{
}

static void full_back_end_gets_every_segment_of_a_frame_once(void **state)
{
	static const struct net_backend stuck = { .close = stuck_close, .send = stuck_send };
	const struct rig_tcp t = { .flags = 0x10 };
	const struct net_offload o = { .flags = NET_OFFLOAD_CSUM, .gso_type = NET_GSO_TCPV4, .gso_size = 1000,
				       .csum_start = 34, .csum_offset = 16 };
	size_t n = rig_tcp4(frame, mac_b, mac_a, &t, payload, 4500);

	device_open(&d, loop, "none");
	d.port->backend = &stuck;
	d.port->takes = 0;
	room = 2;
	came = 0;
	assert_int_equal(device_send(&d, frame, n, &o), 0);
	assert_int_equal(came, 2);
	assert_int_equal(device_send(&d, frame, 60, NULL), -EAGAIN);
	room = 1;
	net_writable(d.port);
	assert_int_equal(came, 3);
	assert_int_equal(d.writables, 0);
	assert_int_equal(device_send(&d, frame, 60, NULL), -EAGAIN);
	room = 3;
	net_writable(d.port);
	assert_int_equal(came, 5);
	assert_int_equal(d.writables, 1);
	assert_int_equal(device_send(&d, frame, 60, NULL), 0);
	assert_int_equal(net_stats(d.port)->sent_frames, 2);
}

/* --- captures --- */

static size_t read_file(const char *path, uint8_t *to, size_t max)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, to, max);

	assert_true(n >= 0);
	close(fd);
	return (size_t)n;
}

static uint32_t host32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static void capture_holds_every_frame_of_both_directions(void **state)
{
	char path[] = "/tmp/subring-test-pcap.XXXXXX", text[128];
	static uint8_t file[1 << 20];
	size_t len, at = 24;

	close(mkstemp(path));
	snprintf(text, sizeof(text), "none,pcap=%s", path);
	device_open(&d, loop, text);
	for (unsigned i = 0; i < 500; i++) {
		memset(frame, (int)i & 255, 2000);
		if (i % 2)
			assert_int_equal(device_send(&d, frame, 14 + i, NULL), 0);
		else
			deliver(frame, 14 + i, &nothing);
	}
	net_close(d.port);
	d.port = NULL;
	len = read_file(path, file, sizeof(file));
	unlink(path);
	assert_int_equal(host32(file), 0xa1b23c4d);
	assert_int_equal(host32(file + 20), 1);
	for (unsigned i = 0; i < 500; i++) {
		assert_true(at + 16 <= len);
		assert_true(host32(file + at + 4) < 1000000000);
		assert_int_equal(host32(file + at + 8), 14 + i);
		assert_int_equal(host32(file + at + 12), 14 + i);
		assert_int_equal(file[at + 16 + 13 + i], i & 255);
		at += 16 + 14 + i;
	}
	assert_int_equal(at, len);
}

static void capture_into_a_full_disk_is_an_error(void **state)
{
	device_open(&d, loop, "none");
	assert_int_equal(pcap_open("/dev/full", &d.port->pcap, &(struct error){ 0 }), -ENOSPC);
}

static void capture_where_no_file_can_be_is_an_error(void **state)
{
	struct net_config c;
	struct error err;

	assert_int_equal(net_config_parse("none,pcap=/nowhere/x", &c, &err), 0);
	assert_int_equal(net_open(&c, loop, &device_ops, &d, &d.port, &err), -ENOENT);
	assert_int_equal(err.status, STATUS_INPUT);
	assert_non_null(strstr(err.what, "/nowhere/x"));
}

static void only_the_users_network_publishes_ports(void **state)
{
	struct net_config c;
	struct error err;

	assert_int_equal(net_config_parse("none", &c, &err), 0);
	assert_int_equal(net_publish_parse("8080:80", &c, &err), 0);
	assert_int_equal(net_open(&c, loop, &device_ops, &d, &d.port, &err), -EINVAL);
	assert_int_equal(err.status, STATUS_USAGE);
	assert_non_null(strstr(err.what, "8080"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_loop, drop_loop)
	const struct CMUnitTest tests[] = {
		TEST(none_counts_what_is_sent_and_drops_it),
		TEST(port_drops_and_counts_what_is_no_frame),
		TEST(paused_device_gets_its_frames_later_in_order),
		TEST(device_that_pauses_at_each_frame_gets_one_at_a_time),
		TEST(frame_that_comes_while_the_device_receives_does_not_overtake),
		TEST(backlog_of_a_paused_device_is_bounded),
		TEST(offloads_are_done_for_a_device_that_takes_none),
		TEST(segments_of_a_frame_wait_for_a_paused_device),
		TEST(full_back_end_gets_every_segment_of_a_frame_once),
		TEST(capture_holds_every_frame_of_both_directions),
		TEST(capture_into_a_full_disk_is_an_error),
		TEST(only_the_users_network_publishes_ports),
		TEST(capture_where_no_file_can_be_is_an_error),
	};

	return cmocka_run_group_tests_name("net_port", tests, NULL, NULL);
}
