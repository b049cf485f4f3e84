// SPDX-License-Identifier: GPL-2.0-or-later
/* Checksums and segmentation in software, held against sums made byte by byte; headers that lie. */
#include "net_rig.h"

static const uint8_t mac_a[] = { 2, 0, 0, 0, 0, 1 }, mac_b[] = { 2, 0, 0, 0, 0, 2 };
static uint8_t frame[NET_FRAME_MAX], data[65536];
static uint8_t got[NET_FRAME_MAX];
static size_t got_len, last_len;
static unsigned frames;
static uint8_t first_flags, middle_flags, last_flags;
static uint32_t next_seq;
static uint16_t next_id;
static size_t ip_at;
static bool v6;

static void collect(void *opaque, const void *segment, size_t len)
{
	const uint8_t *ip = (const uint8_t *)segment + ip_at, *tcp = ip + (v6 ? 40 : 20);
	size_t ip_len = len - ip_at, headers = ip_at + (v6 ? 40u : 20u) + 4u * (tcp[12] >> 4);

	if (v6) {
		assert_int_equal(rig_get16(ip + 4) + 40, ip_len);
		assert_int_equal(rig_l4_sum6(ip, ip_len), 0xffff);
	} else {
		assert_int_equal(rig_get16(ip + 2), ip_len);
		assert_int_equal(rig_sum(ip, 20, 0), 0xffff);
		assert_int_equal(rig_l4_sum4(ip, ip_len), 0xffff);
		assert_int_equal(rig_get16(ip + 4), next_id++);
	}
	assert_int_equal(rig_get32(tcp + 4), next_seq);
	next_seq += (uint32_t)(len - headers);
	if (!frames)
		first_flags = tcp[13];
	middle_flags = last_flags;
	last_flags = tcp[13];
	memcpy(got + got_len, (const uint8_t *)segment + headers, len - headers);
	got_len += len - headers;
	last_len = len - headers;
	frames++;
}

static size_t make4(size_t len, struct net_offload *o)
{
	const struct rig_tcp t = { .from = 0x0a00020f, .to = 0x0a000202, .from_port = 1, .to_port = 2, .seq = 0xfffff000,
				   .flags = 0x10 | 0x08 | 0x01 | 0x80 };
	size_t n = rig_tcp4(frame, mac_b, mac_a, &t, data, len);

	rig_put16(frame + 18, 0xfffe);
	next_id = 0xfffe;
	next_seq = t.seq;
	v6 = false;
	ip_at = 14;
	got_len = frames = 0;
	last_flags = 0;
	*o = (struct net_offload){ .flags = NET_OFFLOAD_CSUM, .gso_type = NET_GSO_TCPV4 | NET_GSO_ECN, .gso_size = 1448,
				   .csum_start = 34, .csum_offset = 16 };
	return n;
}

static void tso4_gives_whole_segments_in_order(void **state)
{
	struct net_offload o;
	size_t n = make4(5000, &o);

	assert_int_equal(net_offload_check(&o, n), 0);
	assert_int_equal(net_segment(frame, n, &o, collect, NULL), 0);
	assert_int_equal(frames, 4);
	assert_int_equal(last_len, 5000 - 3 * 1448);
	assert_int_equal(got_len, 5000);
	assert_memory_equal(got, data, 5000);
	/* FIN and PSH belong to the last, CWR to the first. */
	assert_int_equal(first_flags, 0x90);
	assert_int_equal(middle_flags, 0x10);
	assert_int_equal(last_flags, 0x19);
}

static void tso4_of_all_lengths_keeps_every_byte(void **state)
{
	for (size_t len = 1; len < 65000; len += 977) {
		struct net_offload o;
		size_t n = make4(len, &o);

		o.gso_size = (uint16_t)(64 + len % 1500);
		assert_int_equal(net_segment(frame, n, &o, collect, NULL), 0);
		assert_int_equal(got_len, len);
		assert_memory_equal(got, data, len);
		assert_int_equal(frames, (len + o.gso_size - 1) / o.gso_size);
	}
}

static void tso4_behind_a_vlan_tag_is_found(void **state)
{
	struct net_offload o;
	size_t n = make4(3000, &o);

	memmove(frame + 16, frame + 12, n - 12);
	rig_put16(frame + 12, 0x8100);
	rig_put16(frame + 14, 7);
	ip_at = 18;
	assert_int_equal(net_segment(frame, n + 4, &o, collect, NULL), 0);
	assert_int_equal(got_len, 3000);
	assert_memory_equal(got, data, 3000);
}

static void tso6_gives_whole_segments_in_order(void **state)
{
	struct net_offload o = { .flags = NET_OFFLOAD_CSUM, .gso_type = NET_GSO_TCPV6, .gso_size = 1000,
				 .csum_start = 54, .csum_offset = 16 };
	size_t n = make4(4001, &(struct net_offload){ 0 });

	memmove(frame + 54, frame + 34, n - 34);
	rig_put16(frame + 12, 0x86dd);
	memset(frame + 14, 0, 40);
	frame[14] = 0x60;
	rig_put16(frame + 18, (unsigned)(n - 34));
	frame[20] = 6;
	frame[22 + 15] = 1;
	frame[38 + 15] = 2;
	v6 = true;
	assert_int_equal(net_segment(frame, n + 20, &o, collect, NULL), 0);
	assert_int_equal(frames, 5);
	assert_int_equal(got_len, 4001);
	assert_memory_equal(got, data, 4001);
}

static void plain(void *opaque, const void *f, size_t len)
{
	memcpy(got, f, len);
	got_len = len;
}

static void checksum_of_even_and_odd_lengths_is_right(void **state)
{
	for (size_t len = 0; len < 70; len++) {
		struct net_offload o = { .flags = NET_OFFLOAD_CSUM, .csum_start = 34, .csum_offset = 16 }, unused;
		size_t n = make4(len, &unused);
		uint8_t *ip = frame + 14;

		/* The driver leaves the sum of the pseudo header in the field. */
		rig_put16(frame + 50, rig_sum(ip + 12, 8, 0) + 6 + (unsigned)len + 20);
		assert_int_equal(net_segment(frame, n, &o, plain, NULL), 0);
		assert_int_equal(got_len, n);
		assert_int_equal(rig_l4_sum4(got + 14, n - 14), 0xffff);
	}
}

static void headers_that_point_out_of_the_frame_are_refused(void **state)
{
	struct net_offload good, o;
	size_t n = make4(100, &good);

#define REFUSED(change)                                                                                                    \
	do {                                                                                                               \
		o = good;                                                                                                  \
		change;                                                                                                    \
		assert_int_equal(net_offload_check(&o, n), -EINVAL);                                                       \
	} while (0)
	assert_int_equal(net_offload_check(&good, n), 0);
	REFUSED(o.csum_start = (uint16_t)(n - 17));
	REFUSED(o.csum_start = 0xffff);
	REFUSED((o.csum_start = 0xffff, o.csum_offset = 0xffff));
	REFUSED(o.csum_start = 13);
	REFUSED(o.gso_size = 0);
	REFUSED(o.gso_size = 63);
	REFUSED(o.flags = 0);
	REFUSED(o.flags = 0xff);
	REFUSED(o.gso_type = 2);
	REFUSED(o.gso_type = 3);
	REFUSED(o.gso_type = NET_GSO_ECN);
}

static void segmentation_of_what_is_no_tcp_is_refused(void **state)
{
	static const struct {
		unsigned at;
		uint8_t value;
	} lies[] = { { 12, 9 }, { 14, 0x55 }, { 14, 0x44 }, { 23, 17 }, { 46, 0x40 }, { 46, 0xf0 }, { 14, 0x4f } };

	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct net_offload o;
		size_t n = make4(8, &o);

		frame[lies[i].at] = lies[i].value;
		assert_int_equal(net_segment(frame, n, &o, collect, NULL), -EINVAL);
		assert_int_equal(frames, 0);
	}
	for (size_t n = NET_HEADER_BYTES; n < 54; n++) {
		struct net_offload o;

		make4(8, &o);
		assert_int_equal(net_segment(frame, n, &o, collect, NULL), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tso4_gives_whole_segments_in_order),
		cmocka_unit_test(tso4_of_all_lengths_keeps_every_byte),
		cmocka_unit_test(tso4_behind_a_vlan_tag_is_found),
		cmocka_unit_test(tso6_gives_whole_segments_in_order),
		cmocka_unit_test(checksum_of_even_and_odd_lengths_is_right),
		cmocka_unit_test(headers_that_point_out_of_the_frame_are_refused),
		cmocka_unit_test(segmentation_of_what_is_no_tcp_is_refused),
	};

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + (i >> 8));
	return cmocka_run_group_tests_name("net_segment", tests, NULL, NULL);
}
