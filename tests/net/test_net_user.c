// SPDX-License-Identifier: GPL-2.0-or-later
/* The user's own network, as a guest sees it that makes its frames by hand. */
#include "net_rig.h"

#include <fcntl.h>

enum { GUEST = 0x0a00020f, HOST = 0x0a000202 };

static struct loop *loop;
static struct device d;
static const uint8_t guest_mac[] = { 2, 0, 0x5e, 0x10, 0, 1 }, broadcast[] = { 255, 255, 255, 255, 255, 255 };
static const uint8_t host_mac[] = { 0x52, 0x55, 10, 0, 2, 2 };
static uint8_t frame[NET_FRAME_MAX];

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

/* --- waiting for a frame --- */

static bool (*wanted)(const uint8_t *f, size_t len);
static unsigned looked;
static const uint8_t *found;
static size_t found_len;

static bool look(void *opaque)
{
	while (looked < d.count) {
		const struct kept *k = &d.kept[looked++];

		if (wanted(k->bytes, k->len)) {
			found = k->bytes;
			found_len = k->len;
			return true;
		}
	}
	return false;
}

static bool wait_frame(bool (*want)(const uint8_t *f, size_t len))
{
	wanted = want;
	return run_until(loop, look, NULL);
}

static void open_user(const char *text)
{
	looked = 0;
	device_open(&d, loop, text);
}

/* --- ARP, DHCP, IPv6 --- */

static bool is_arp_answer(const uint8_t *f, size_t len)
{
	return len >= 42 && rig_get16(f + 12) == 0x0806 && rig_get16(f + 20) == 2;
}

static void send_arp(unsigned op, uint32_t target, const uint8_t *to)
{
	static const uint8_t start[] = { 0, 1, 8, 0, 6, 4 };

	memset(frame, 0, 60);
	rig_ethernet(frame, to, guest_mac, 0x0806);
	memcpy(frame + 14, start, 6);
	rig_put16(frame + 20, op);
	memcpy(frame + 22, guest_mac, 6);
	rig_put32(frame + 28, GUEST);
	rig_put32(frame + 38, target);
	assert_int_equal(device_send(&d, frame, 60, NULL), 0);
}

static void user_answers_arp_for_its_host(void **state)
{
	open_user("user");
	send_arp(1, HOST, broadcast);
	assert_true(wait_frame(is_arp_answer));
	assert_memory_equal(found + 22, host_mac, 6);
	assert_int_equal(rig_get32(found + 28), HOST);
	assert_true(net_link_up(d.port));
}

static void capture_has_the_answer_behind_the_question(void **state)
{
	char path[] = "/tmp/subring-test-pcap.XXXXXX", text[64];
	uint8_t file[1024];
	int fd = mkstemp(path);

	snprintf(text, sizeof(text), "user,pcap=%s", path);
	open_user(text);
	send_arp(1, HOST, broadcast);
	assert_true(wait_frame(is_arp_answer));
	net_close(d.port);
	d.port = NULL;
	assert_true(read(fd, file, sizeof(file)) >= 24 + 2 * 16 + 60 + 42);
	assert_int_equal(rig_get16(file + 24 + 16 + 20), 1);
	assert_int_equal(rig_get16(file + 24 + 16 + 60 + 16 + 20), 2);
	close(fd);
	unlink(path);
}

static size_t make_dhcp(unsigned type)
{
	uint8_t *ip = frame + 14, *udp = ip + 20, *bootp = udp + 8;
	static const uint8_t cookie[] = { 99, 130, 83, 99, 53, 1 };

	memset(frame, 0, 400);
	rig_ethernet(frame, broadcast, guest_mac, 0x0800);
	rig_ipv4(ip, 20 + 8 + 300, 17, 0, 0xffffffff);
	rig_put16(udp, 68);
	rig_put16(udp + 2, 67);
	rig_put16(udp + 4, 308);
	bootp[0] = bootp[1] = 1;
	bootp[2] = 6;
	rig_put32(bootp + 4, 0x12345678);
	memcpy(bootp + 28, guest_mac, 6);
	memcpy(bootp + 236, cookie, 6);
	bootp[242] = (uint8_t)type;
	bootp[243] = 50;
	bootp[244] = 4;
	rig_put32(bootp + 245, GUEST);
	bootp[249] = 255;
	return 14 + 20 + 8 + 300;
}

static bool is_dhcp_answer(const uint8_t *f, size_t len)
{
	return len > 14 + 20 + 8 + 243 && rig_get16(f + 12) == 0x0800 && f[23] == 17 && rig_get16(f + 34) == 67 &&
	       rig_get32(f + 42 + 4) == 0x12345678;
}

static void user_gives_an_address_by_dhcp(void **state)
{
	open_user("user");
	assert_int_equal(device_send(&d, frame, make_dhcp(1), NULL), 0);
	assert_true(wait_frame(is_dhcp_answer));
	assert_int_equal(found[42 + 242], 2); /* offer */
	assert_int_equal(rig_get32(found + 42 + 16), GUEST);
	assert_int_equal(device_send(&d, frame, make_dhcp(3), NULL), 0);
	assert_true(wait_frame(is_dhcp_answer));
	assert_int_equal(found[42 + 242], 5); /* acknowledged */
}

static bool is_router_advertisement(const uint8_t *f, size_t len)
{
	return len > 54 && rig_get16(f + 12) == 0x86dd && f[20] == 58 && f[54] == 134;
}

static void user_answers_router_solicitations(void **state)
{
	static const uint8_t all_routers[] = { 0x33, 0x33, 0, 0, 0, 2 };
	uint8_t *ip = frame + 14;

	open_user("user");
	memset(frame, 0, 80);
	rig_ethernet(frame, all_routers, guest_mac, 0x86dd);
	ip[0] = 0x60;
	rig_put16(ip + 4, 8);
	ip[6] = 58;
	ip[7] = 255;
	ip[8] = 0xfe, ip[9] = 0x80, ip[23] = 9;
	ip[24] = 0xff, ip[25] = 2, ip[39] = 2;
	ip[40] = 133;
	rig_put16(ip + 42, ~rig_l4_sum6(ip, 48));
	assert_int_equal(device_send(&d, frame, 62, NULL), 0);
	assert_true(wait_frame(is_router_advertisement));
}

/* --- TCP --- */

static struct rig_tcp tcp;

static void send_tcp(uint8_t flags, const void *data, size_t len)
{
	size_t n;

	tcp.flags = flags;
	n = rig_tcp4(frame, host_mac, guest_mac, &tcp, data, len);
	assert_int_equal(device_send(&d, frame, n, NULL), 0);
	tcp.seq += (uint32_t)len + (flags & 3 ? 1 : 0);
}

static bool is_tcp(const uint8_t *f, size_t len)
{
	return len >= 54 && rig_get16(f + 12) == 0x0800 && f[23] == 6;
}

static bool is_syn_ack(const uint8_t *f, size_t len)
{
	return is_tcp(f, len) && (f[47] & 0x17) == 0x12;
}

static bool is_syn(const uint8_t *f, size_t len)
{
	return is_tcp(f, len) && (f[47] & 0x17) == 0x02;
}

/* RST, or ICMP's "destination unreachable". */
static bool is_refusal(const uint8_t *f, size_t len)
{
	return (is_tcp(f, len) && f[47] & 4) || (len > 34 && rig_get16(f + 12) == 0x0800 && f[23] == 1 && f[34] == 3);
}

static bool is_data(const uint8_t *f, size_t len)
{
	return is_tcp(f, len) && rig_get16(f + 16) > 20u + 4u * (f[46] >> 4);
}

static int listen_somewhere(uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

static int listener, peer = -1;

static bool accepted(void *opaque)
{
	peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	return peer >= 0;
}

static void connect_out(void)
{
	uint16_t port;

	listener = listen_somewhere(&port);
	tcp = (struct rig_tcp){ .from = GUEST, .to = HOST, .from_port = 40000, .to_port = port, .seq = 1000 };
	send_arp(1, HOST, broadcast);
	send_tcp(2, NULL, 0);
	assert_true(wait_frame(is_syn_ack));
	assert_int_equal(rig_l4_sum4(found + 14, rig_get16(found + 16)), 0xffff);
	assert_int_equal(rig_get32(found + 42), tcp.seq);
	tcp.ack = rig_get32(found + 38) + 1;
	send_tcp(0x10, NULL, 0);
	assert_true(run_until(loop, accepted, NULL));
}

static uint8_t buffer[1 << 17];
static size_t have;

static bool have_all(void *opaque)
{
	ssize_t n = read(peer, buffer + have, sizeof(buffer) - have);

	have += n > 0 ? (size_t)n : 0;
	return have >= *(size_t *)opaque;
}

static void user_connects_the_guest_to_a_server_of_the_host(void **state)
{
	size_t want = 5;

	open_user("user");
	connect_out();
	send_tcp(0x18, "hello", 5);
	have = 0;
	assert_true(run_until(loop, have_all, &want));
	assert_memory_equal(buffer, "hello", 5);
	assert_int_equal(write(peer, "world!", 6), 6);
	assert_true(wait_frame(is_data));
	assert_memory_equal(found + 14 + rig_get16(found + 16) - 6, "world!", 6);
	close(peer);
	close(listener);
}

static bool is_fin_or_rst(const uint8_t *f, size_t len)
{
	return is_tcp(f, len) && f[47] & 5;
}

static void writing_to_a_server_that_has_gone_ends_nothing_but_the_connection(void **state)
{
	struct linger at_once = { .l_onoff = 1 };

	open_user("user");
	connect_out();
	assert_int_equal(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
	close(peer);
	close(listener);
	for (unsigned i = 0; i < 5; i++)
		send_tcp(0x18, "hello", 5);
	assert_true(wait_frame(is_fin_or_rst));
	send_arp(1, HOST, broadcast);
	assert_true(wait_frame(is_arp_answer));
}

static void user_takes_whole_what_the_guest_did_not_segment(void **state)
{
	static uint8_t data[60000];
	const struct net_offload o = { .flags = NET_OFFLOAD_CSUM, .gso_type = NET_GSO_TCPV4, .gso_size = 1460,
				       .csum_start = 34, .csum_offset = 16 };
	size_t n, want = sizeof(data);
	uint8_t *ip = frame + 14;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 + (i >> 8));
	open_user("user");
	connect_out();
	tcp.flags = 0x18;
	n = rig_tcp4(frame, host_mac, guest_mac, &tcp, data, sizeof(data));
	/* What a driver leaves: the sum of the pseudo header. */
	rig_put16(frame + 50, rig_sum((const uint8_t *)"", 1, rig_sum(ip + 12, 8, 0) + 6 + (unsigned)(n - 34)));
	assert_int_equal(device_send(&d, frame, n, &o), 0);
	have = 0;
	assert_true(run_until(loop, have_all, &want));
	assert_memory_equal(buffer, data, sizeof(data));
	close(peer);
	close(listener);
}

static void restricted_user_reaches_no_server(void **state)
{
	uint16_t port;

	open_user("user,restrict");
	listener = listen_somewhere(&port);
	tcp = (struct rig_tcp){ .from = GUEST, .to = HOST, .from_port = 40000, .to_port = port, .seq = 1000 };
	send_arp(1, HOST, broadcast);
	send_tcp(2, NULL, 0);
	/* What the network answers to after it has dropped that. */
	assert_int_equal(device_send(&d, frame, make_dhcp(1), NULL), 0);
	assert_true(wait_frame(is_dhcp_answer));
	for (unsigned i = 0; i < d.count; i++)
		assert_false(is_syn_ack(d.kept[i].bytes, d.kept[i].len));
	assert_int_equal(accept4(listener, NULL, NULL, SOCK_NONBLOCK), -1);
	close(listener);
}

static void user_without_loopback_does_not_reach_the_hosts_own(void **state)
{
	uint16_t port;

	open_user("user,no-loopback");
	listener = listen_somewhere(&port);
	tcp = (struct rig_tcp){ .from = GUEST, .to = HOST, .from_port = 40000, .to_port = port, .seq = 1000 };
	send_arp(1, HOST, broadcast);
	send_tcp(2, NULL, 0);
	assert_true(wait_frame(is_refusal));
	assert_int_equal(accept4(listener, NULL, NULL, SOCK_NONBLOCK), -1);
	close(listener);
}

static void published_port_brings_the_hosts_client_into_the_guest(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct net_config c = { .vm = "rig" };
	struct error err;
	char text[32];
	uint16_t port;
	int fd;

	/* A port that is free now. */
	close(listen_somewhere(&port));
	assert_int_equal(net_config_parse("user", &c, &err), 0);
	snprintf(text, sizeof(text), "%u:80", port);
	assert_int_equal(net_publish_parse(text, &c, &err), 0);
	looked = 0;
	assert_int_equal(net_open(&c, loop, &device_ops, &d, &d.port, &err), 0);
	send_arp(1, HOST, broadcast);
	a.sin_port = htons(port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_true(wait_frame(is_syn));
	assert_int_equal(rig_get16(found + 36), 80);
	assert_int_equal(rig_get32(found + 30), GUEST);
	close(fd);
}

static bool is_solicitation(const uint8_t *f, size_t len)
{
	return len >= 78 && rig_get16(f + 12) == 0x86dd && f[20] == 58 && f[54] == 135;
}

static void port_published_over_ipv6_goes_to_the_address_made_of_the_mac(void **state)
{
	static const uint8_t guest[] = { 0xfd, 0x53, 0x75, 0x62, 0, 0, 0, 0, 0, 0, 0x5e, 0xff, 0xfe, 0x10, 0, 1 };
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	socklen_t len = sizeof(a);
	struct net_config c = { .vm = "rig" };
	struct error err;
	char text[32];
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || getsockname(fd, (struct sockaddr *)&a, &len)) {
		printf("skipped: IPv6: %s\n", strerror(errno));
		skip();
	}
	close(fd);
	assert_int_equal(net_config_parse("user,mac=02:00:5e:10:00:01", &c, &err), 0);
	snprintf(text, sizeof(text), "[::1]:%u:80", ntohs(a.sin6_port));
	assert_int_equal(net_publish_parse(text, &c, &err), 0);
	looked = 0;
	assert_int_equal(net_open(&c, loop, &device_ops, &d, &d.port, &err), 0);
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_true(wait_frame(is_solicitation));
	assert_memory_equal(found + 62, guest, 16);
	close(fd);
}

static void publishing_a_port_that_is_taken_is_an_error(void **state)
{
	struct net_config c = { .vm = "rig" };
	struct error err;
	char text[32];
	uint16_t port;
	int fd = listen_somewhere(&port);

	assert_int_equal(net_config_parse("user", &c, &err), 0);
	snprintf(text, sizeof(text), "%u:80", port);
	assert_int_equal(net_publish_parse(text, &c, &err), 0);
	assert_int_equal(net_open(&c, loop, &device_ops, &d, &d.port, &err), -EADDRINUSE);
	assert_int_equal(err.status, STATUS_HOST);
	assert_non_null(strstr(err.fix, "--publish"));
	close(fd);
}

/* --- what a device must not be able to break --- */

static void send_while_receiving(struct device *dev)
{
	static uint8_t arp[60];
	static const uint8_t start[] = { 0, 1, 8, 0, 6, 4, 0, 1 };

	rig_ethernet(arp, broadcast, guest_mac, 0x0806);
	memcpy(arp + 14, start, 8);
	rig_put32(arp + 38, HOST);
	if (dev->count < 5)
		device_send(dev, arp, 60, NULL);
}

static bool owed_is_paid(void *opaque)
{
	return d.writables > 0;
}

static void device_that_sends_from_receive_is_called_when_there_is_room(void **state)
{
	open_user("user");
	d.also = send_while_receiving;
	send_arp(1, HOST, broadcast);
	assert_true(run_until(loop, owed_is_paid, NULL));
	assert_true(d.count >= 1);
}

static void paused_device_loses_no_byte_of_a_stream(void **state)
{
	static uint8_t data[30000];
	uint32_t first, end = 0;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 13 + (i >> 8));
	open_user("user");
	connect_out();
	first = tcp.ack;
	net_pause(d.port, true);
	assert_int_equal(write(peer, data, sizeof(data)), sizeof(data));
	loop_set_alarm_fn(loop, stop_loop, loop);
	loop_alarm(loop, host_monotonic_ns() + 20000000);
	assert_int_equal(loop_run(loop), 0);
	/* It stays in the socket meanwhile. */
	assert_int_equal(d.port->held.frames, 0);
	net_pause(d.port, false);
	while (end != first + sizeof(data)) {
		assert_true(wait_frame(is_data));
		if (rig_get32(found + 38) != tcp.ack)
			continue;
		end = tcp.ack + rig_get16(found + 16) - 20 - 4u * (found[46] >> 4);
		assert_memory_equal(found + 14 + 20 + 4u * (found[46] >> 4), data + (tcp.ack - first), end - tcp.ack);
		tcp.ack = end;
		send_tcp(0x10, NULL, 0);
	}
	assert_int_equal(net_stats(d.port)->dropped[NET_DROP_PAUSED], 0);
	close(peer);
	close(listener);
}

static void check_segment(void *opaque, const void *f, size_t len)
{
	assert_true(len <= 1514);
	assert_int_equal(rig_sum((const uint8_t *)f + 14, 20, 0), 0xffff);
	assert_int_equal(rig_l4_sum4((const uint8_t *)f + 14, len - 14), 0xffff);
	(*(unsigned *)opaque)++;
}

static void stream_to_a_device_with_offloads_comes_in_few_frames_and_whole(void **state)
{
	static uint8_t data[60000], copy[NET_FRAME_MAX];
	uint32_t first, end = 0;
	unsigned frames = 0, segments = 0;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 13 + (i >> 8));
	open_user("user");
	net_set_offloads(d.port, net_features(d.port));
	connect_out();
	first = tcp.ack;
	assert_int_equal(write(peer, data, sizeof(data)), sizeof(data));
	while (end != first + sizeof(data)) {
		const struct net_offload *o;

		assert_true(wait_frame(is_data));
		if (rig_get32(found + 38) != tcp.ack)
			continue;
		o = &d.kept[looked - 1].o;
		end = tcp.ack + rig_get16(found + 16) - 20 - 4u * (found[46] >> 4);
		assert_memory_equal(found + 14 + 20 + 4u * (found[46] >> 4), data + (tcp.ack - first), end - tcp.ack);
		memcpy(copy, found, found_len);
		assert_int_equal(net_offload_check(o, found_len), 0);
		assert_int_equal(net_segment(copy, found_len, o, check_segment, &segments), 0);
		frames++;
		tcp.ack = end;
		send_tcp(0x10, NULL, 0);
	}
	assert_true(segments >= sizeof(data) / 1460);
	assert_true(frames < segments);
	close(peer);
	close(listener);
}

static void hostile_frames_leave_the_network_working(void **state)
{
	static uint8_t junk[NET_FRAME_MAX];
	unsigned seed = 1;

	open_user("user");
	for (unsigned i = 0; i < 20000; i++) {
		static const uint16_t types[] = { 0x0800, 0x0806, 0x86dd, 0x8100, 0x1234 };
		size_t len = 14 + (size_t)rand_r(&seed) % (i % 50 ? 120 : 65500);

		for (size_t j = 0; j < len; j++)
			junk[j] = (uint8_t)rand_r(&seed);
		memcpy(junk, i & 1 ? host_mac : broadcast, 6);
		memcpy(junk + 6, guest_mac, 6);
		rig_put16(junk + 12, types[i % 5]);
		if (i % 5 == 0 && len >= 34) {
			rig_ipv4(junk + 14, i & 2 ? len - 14 : (size_t)rand_r(&seed) & 0xffff, i & 4 ? 17 : 6, GUEST, HOST);
			junk[14] = i & 8 ? 0x45 : (uint8_t)rand_r(&seed);
		}
		assert_int_equal(device_send(&d, junk, len, NULL), 0);
		device_forget(&d);
		looked = 0;
	}
	send_arp(1, HOST, broadcast);
	assert_true(wait_frame(is_arp_answer));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_loop, drop_loop)
	const struct CMUnitTest tests[] = {
		TEST(user_answers_arp_for_its_host),
		TEST(capture_has_the_answer_behind_the_question),
		TEST(user_gives_an_address_by_dhcp),
		TEST(user_answers_router_solicitations),
		TEST(user_connects_the_guest_to_a_server_of_the_host),
		TEST(writing_to_a_server_that_has_gone_ends_nothing_but_the_connection),
		TEST(user_takes_whole_what_the_guest_did_not_segment),
		TEST(restricted_user_reaches_no_server),
		TEST(user_without_loopback_does_not_reach_the_hosts_own),
		TEST(published_port_brings_the_hosts_client_into_the_guest),
		TEST(port_published_over_ipv6_goes_to_the_address_made_of_the_mac),
		TEST(publishing_a_port_that_is_taken_is_an_error),
		TEST(device_that_sends_from_receive_is_called_when_there_is_room),
		TEST(paused_device_loses_no_byte_of_a_stream),
		TEST(stream_to_a_device_with_offloads_comes_in_few_frames_and_whole),
		TEST(hostile_frames_leave_the_network_working),
	};

	return cmocka_run_group_tests_name("net_user", tests, NULL, NULL);
}
