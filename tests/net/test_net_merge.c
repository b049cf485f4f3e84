// SPDX-License-Identifier: GPL-2.0-or-later
/* Segments in a row that become one frame, and those that must not. */
#include "net_rig.h"

#include "net/merge.h"

static struct device d;
static struct loop *loop;
static struct merge m;
static uint8_t frame[NET_FRAME_MAX], data[2000];
static const uint8_t mac_a[] = { 2, 0, 0, 0, 0, 1 }, mac_b[] = { 2, 0, 0, 0, 0, 2 };

static int make(void **state)
{
	memset(&d, 0, sizeof(d));
	assert_int_equal(loop_create(&loop), 0);
	device_open(&d, loop, "none");
	d.port->can_give = NET_GIVES_CSUM | NET_GIVES_TSO4;
	net_set_offloads(d.port, d.port->can_give);
	m = (struct merge){ .port = d.port };
	return 0;
}

static int drop(void **state)
{
	net_close(d.port);
	device_forget(&d);
	loop_destroy(loop);
	return 0;
}

static const struct rig_tcp base = { .from = 0x0a000202, .to = 0x0a00020f, .seq = 0xfffffc00, .ack = 5, .from_port = 80,
				     .to_port = 4000, .flags = 0x10 };

static void put(struct rig_tcp t, size_t at, size_t len)
{
	size_t n;

	t.seq += (uint32_t)at;
	n = rig_tcp4(frame, mac_b, mac_a, &t, data, len);
	merge_frame(&m, frame, n);
}

static void segments_in_a_row_become_one_frame(void **state)
{
	put(base, 0, 1000);
	put(base, 1000, 1000);
	put(base, 2000, 1000);
	assert_int_equal(d.count, 0);
	merge_flush(&m);
	assert_int_equal(d.count, 1);
	assert_int_equal(d.kept[0].len, 54 + 3000);
	assert_int_equal(d.kept[0].o.gso_type, NET_GSO_TCPV4);
	assert_int_equal(d.kept[0].o.gso_size, 1000);
	assert_int_equal(d.kept[0].o.flags, NET_OFFLOAD_CSUM);
	assert_int_equal(rig_get16(d.kept[0].bytes + 16), 3040);
	assert_int_equal(rig_sum(d.kept[0].bytes + 14, 20, 0), 0xffff);
	merge_flush(&m);
	assert_int_equal(d.count, 1);
}

static void shorter_segment_or_push_ends_the_frame_at_once(void **state)
{
	struct rig_tcp push = base;

	put(base, 0, 1000);
	put(base, 1000, 500);
	assert_int_equal(d.count, 1);
	assert_int_equal(d.kept[0].len, 54 + 1500);
	push.flags = 0x18;
	put(base, 1500, 1000);
	put(push, 2500, 1000);
	assert_int_equal(d.count, 2);
	assert_int_equal(d.kept[1].len, 54 + 2000);
	assert_int_equal(d.kept[1].bytes[47], 0x18);
}

static void segment_alone_stays_as_it_was(void **state)
{
	put(base, 0, 1000);
	merge_flush(&m);
	assert_int_equal(d.count, 1);
	assert_int_equal(d.kept[0].len, 1054);
	assert_memory_equal(d.kept[0].bytes, frame, 1054);
	assert_int_equal(d.kept[0].o.gso_type, 0);
	assert_int_equal(d.kept[0].o.flags, NET_OFFLOAD_CSUM_VALID);
}

/* Puts @t behind a frame of 1000 bytes: both come out as they went in, in order. */
static void stays_apart(struct rig_tcp t, size_t at, size_t len)
{
	device_forget(&d);
	put(base, 0, 1000);
	put(t, at, len);
	merge_flush(&m);
	assert_int_equal(d.count, 2);
	assert_int_equal(d.kept[0].len, 1054);
	assert_int_equal(d.kept[1].len, 54 + len);
	assert_memory_equal(d.kept[1].bytes, frame, 54 + len);
}

static void segments_that_do_not_belong_together_stay_apart_in_order(void **state)
{
	struct rig_tcp t;

	stays_apart(base, 1001, 1000);
	stays_apart(base, 0, 1000);
	stays_apart(base, 1000, 1001);
	stays_apart(base, 1000, 0);
#define APART(change)                                                                                                      \
	do {                                                                                                               \
		t = base;                                                                                                  \
		change;                                                                                                    \
		stays_apart(t, 1000, 1000);                                                                                \
	} while (0)
	APART(t.ack++);
	APART(t.from_port++);
	APART(t.to_port++);
	APART(t.from++);
	APART(t.to++);
	APART(t.flags = 0x11);
	APART(t.flags = 0x14);
	APART(t.flags = 0x30);
}

static void frame_grows_to_what_an_ip_packet_can_be_and_no_further(void **state)
{
	size_t total = 0;

	for (size_t at = 0; at < 200000; at += 1460)
		put(base, at, 1460);
	merge_flush(&m);
	assert_int_equal(d.count, 4);
	for (unsigned i = 0; i < d.count; i++) {
		assert_true(d.kept[i].len <= 14 + 65535);
		total += d.kept[i].len - 54;
	}
	assert_int_equal(total, 137 * 1460);
}

static void device_without_segmentation_gets_frames_as_they_come(void **state)
{
	net_set_offloads(d.port, NET_GIVES_CSUM);
	put(base, 0, 1000);
	put(base, 1000, 1000);
	assert_int_equal(d.count, 2);
	assert_int_equal(d.kept[1].o.flags, NET_OFFLOAD_CSUM_VALID);
}

static void what_is_no_tcp_passes_at_once_behind_what_is_held(void **state)
{
	put(base, 0, 1000);
	rig_put16(frame + 12, 0x0806);
	merge_frame(&m, frame, 60);
	assert_int_equal(d.count, 2);
	assert_int_equal(d.kept[0].len, 1054);
	assert_int_equal(d.kept[1].len, 60);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(segments_in_a_row_become_one_frame),
		TEST(shorter_segment_or_push_ends_the_frame_at_once),
		TEST(segment_alone_stays_as_it_was),
		TEST(segments_that_do_not_belong_together_stay_apart_in_order),
		TEST(frame_grows_to_what_an_ip_packet_can_be_and_no_further),
		TEST(device_without_segmentation_gets_frames_as_they_come),
		TEST(what_is_no_tcp_passes_at_once_behind_what_is_held),
	};

	return cmocka_run_group_tests_name("net_merge", tests, NULL, NULL);
}
