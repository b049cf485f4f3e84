// SPDX-License-Identifier: GPL-2.0-or-later
/* Tap devices, in a network namespace of the test's own; skipped where there can be none. */
#include "net_rig.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <sched.h>

static struct loop *loop;
static struct device a, b;
static const uint8_t mac_a[] = { 2, 0, 0, 0, 0, 1 }, mac_b[] = { 2, 0, 0, 0, 0, 2 };
static const uint8_t broadcast[] = { 255, 255, 255, 255, 255, 255 };
static uint8_t frame[NET_FRAME_MAX];
static uint8_t tap_mac[6];

enum { HOST = 0x0a090001, GUEST = 0x0a090002 };

static struct device *const devices[] = { &a, &b, NULL };

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

/* The kernel knows the guest, so that it sends without asking. */
static void set_neighbour(const char *name)
{
	struct arpreq r = { .arp_flags = ATF_COM | ATF_PERM };
	struct sockaddr_in *in = (struct sockaddr_in *)&r.arp_pa;
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	in->sin_family = AF_INET;
	in->sin_addr.s_addr = htonl(GUEST);
	memcpy(r.arp_ha.sa_data, mac_a, 6);
	strcpy(r.arp_dev, name);
	assert_int_equal(ioctl(s, SIOCSARP, &r), 0);
	close(s);
}

static struct device *receiver;
static const struct kept *found;
static unsigned looked;
static bool (*wanted)(const uint8_t *f, size_t len);

static bool look(void *opaque)
{
	while (looked < receiver->count) {
		found = &receiver->kept[looked++];
		if (wanted(found->bytes, found->len))
			return true;
	}
	return false;
}

static bool wait_frame(struct device *d, bool (*want)(const uint8_t *f, size_t len))
{
	if (receiver != d)
		looked = 0;
	receiver = d;
	wanted = want;
	return run_until(loop, look, NULL);
}

static bool is_arp_answer(const uint8_t *f, size_t len)
{
	return len >= 42 && rig_get16(f + 12) == 0x0806 && rig_get16(f + 20) == 2;
}

static bool is_udp(const uint8_t *f, size_t len)
{
	return len > 42 && rig_get16(f + 12) == 0x0800 && f[23] == 17 && rig_get16(f + 36) == 7777;
}

static bool is_marked(const uint8_t *f, size_t len)
{
	return rig_get16(f + 12) == 0x88b5;
}

static void tap_is_created_and_the_host_answers_on_it(void **state)
{
	static const uint8_t start[] = { 0, 1, 8, 0, 6, 4, 0, 1 };

	device_open(&a, loop, "tap=t0");
	assert_true(net_link_up(a.port));
	assert_non_null(strstr(net_describe(a.port), "t0"));
	rig_set_address("t0", HOST, tap_mac);
	looked = 0;
	rig_ethernet(frame, broadcast, mac_a, 0x0806);
	memcpy(frame + 14, start, 8);
	memcpy(frame + 22, mac_a, 6);
	rig_put32(frame + 28, GUEST);
	rig_put32(frame + 38, HOST);
	assert_int_equal(device_send(&a, frame, 60, NULL), 0);
	assert_true(wait_frame(&a, is_arp_answer));
	assert_memory_equal(found->bytes + 22, tap_mac, 6);
	net_close(a.port);
	a.port = NULL;
	assert_int_equal(if_nametoindex("t0"), 0);
}

static void tap_without_a_name_gets_one(void **state)
{
	device_open(&a, loop, "tap");
	device_open(&b, loop, "tap");
	assert_string_not_equal(net_describe(a.port), net_describe(b.port));
}

static int udp, got_len;
static uint8_t got[65536];

static bool udp_came(void *opaque)
{
	got_len = (int)recv(udp, got, sizeof(got), MSG_DONTWAIT);
	return got_len >= 0;
}

static void bind_udp(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(7777), .sin_addr.s_addr = htonl(HOST) };

	udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(udp, (struct sockaddr *)&in, sizeof(in)), 0);
}

static void kernel_takes_a_frame_whose_checksum_is_left_to_it(void **state)
{
	const struct net_offload o = { .flags = NET_OFFLOAD_CSUM, .csum_start = 34, .csum_offset = 6, .hdr_len = 0xffff };
	uint8_t *ip = frame + 14;

	device_open(&a, loop, "tap=t0");
	rig_set_address("t0", HOST, tap_mac);
	bind_udp();
	rig_ethernet(frame, tap_mac, mac_a, 0x0800);
	rig_ipv4(ip, 33, 17, GUEST, HOST);
	rig_put16(ip + 20, 1);
	rig_put16(ip + 22, 7777);
	rig_put16(ip + 24, 13);
	memcpy(ip + 28, "hello", 5);
	rig_put16(ip + 26, rig_sum(ip + 12, 8, 0) + 17 + 13);
	assert_int_equal(device_send(&a, frame, 47, &o), 0);
	assert_true(run_until(loop, udp_came, NULL));
	assert_int_equal(got_len, 5);
	assert_memory_equal(got, "hello", 5);
	close(udp);
}

static void tap_gives_checksums_only_to_a_device_that_takes_them(void **state)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(7777), .sin_addr.s_addr = htonl(GUEST) };

	device_open(&a, loop, "tap=t0");
	assert_true(net_features(a.port) & NET_GIVES_CSUM);
	rig_set_address("t0", HOST, tap_mac);
	set_neighbour("t0");
	bind_udp();
	looked = 0;
	assert_int_equal(sendto(udp, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
	assert_true(wait_frame(&a, is_udp));
	assert_int_equal(found->o.flags, 0);
	assert_int_equal(rig_l4_sum4(found->bytes + 14, found->len - 14), 0xffff);
	net_set_offloads(a.port, NET_GIVES_CSUM);
	assert_int_equal(sendto(udp, "hello", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
	assert_true(wait_frame(&a, is_udp));
	assert_int_equal(found->o.flags & NET_OFFLOAD_CSUM, NET_OFFLOAD_CSUM);
	assert_int_equal(found->o.csum_start, 34);
	close(udp);
}

static void make_bridge(const char *name)
{
	struct ifreq r = { .ifr_flags = 0 };
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	strcpy(r.ifr_name, name);
	if (ioctl(s, SIOCBRADDBR, name) < 0) {
		printf("skipped: bridges: %s\n", strerror(errno));
		close(s);
		skip();
	}
	r.ifr_flags = IFF_UP;
	assert_int_equal(ioctl(s, SIOCSIFFLAGS, &r), 0);
	close(s);
}

static void taps_on_one_bridge_reach_each_other(void **state)
{
	make_bridge("br7");
	device_open(&a, loop, "tap=t0,bridge=br7");
	device_open(&b, loop, "tap=t1,bridge=br7");
	looked = 0;
	memset(frame, 0x55, 200);
	rig_ethernet(frame, mac_b, mac_a, 0x88b5);
	assert_int_equal(device_send(&a, frame, 200, NULL), 0);
	assert_true(wait_frame(&b, is_marked));
	assert_int_equal(found->len, 200);
	assert_memory_equal(found->bytes, frame, 200);
}

static void refused(const char *text, const char *what, const char *why)
{
	struct net_config c;
	struct error err;

	assert_int_equal(net_config_parse(text, &c, &err), 0);
	assert_true(net_open(&c, loop, &device_ops, &a, &a.port, &err) < 0);
	a.port = NULL;
	assert_int_equal(err.status, STATUS_HOST);
	if (!strstr(err.what, what) || !strstr(err.why, why) || !*err.fix)
		fail_msg("%s: %s: %s: %s", text, err.what, err.why, err.fix);
}

static void tap_that_cannot_be_is_told_with_a_reason(void **state)
{
	refused("tap=lo", "lo", "no tap");
	refused("tap=t0,bridge=br9", "br9", "no interface br9");
	refused("tap=t0,bridge=lo", "bridge lo", "");
	device_open(&b, loop, "tap=t1");
	refused("tap=t1", "t1", "another program");
}

static void tap_of_a_user_without_rights_names_the_command_that_helps(void **state)
{
	if (getuid() || seteuid(65534) < 0) {
		printf("skipped: rights: this is not root\n");
		skip();
	}
	refused("tap=t5", "t5", "");
	assert_int_equal(seteuid(0), 0);
}

static bool link_is_down(void *opaque)
{
	return !net_link_up(a.port);
}

static void removed_interface_takes_the_link_down_and_nothing_else(void **state)
{
	device_open(&a, loop, "tap=t0");
	if (system("ip link del t0 2>/dev/null")) {
		printf("skipped: removal: ip(8) cannot\n");
		skip();
	}
	assert_true(run_until(loop, link_is_down, NULL));
	assert_int_equal(device_send(&a, frame, 60, NULL), 0);
	assert_int_equal(net_stats(a.port)->dropped[NET_DROP_UNPLUGGED], 1);
}

/* A network namespace, in a user namespace when this is not root. */
static bool own_network(void)
{
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		printf("skipped: network namespaces: %s\n", strerror(errno));
		return false;
	}
	if (access("/dev/net/tun", R_OK | W_OK) < 0) {
		printf("skipped: /dev/net/tun: %s\n", strerror(errno));
		return false;
	}
	return true;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_loop, drop_loop)
	const struct CMUnitTest tests[] = {
		TEST(tap_is_created_and_the_host_answers_on_it),
		TEST(tap_without_a_name_gets_one),
		TEST(kernel_takes_a_frame_whose_checksum_is_left_to_it),
		TEST(tap_gives_checksums_only_to_a_device_that_takes_them),
		TEST(taps_on_one_bridge_reach_each_other),
		TEST(tap_that_cannot_be_is_told_with_a_reason),
		TEST(tap_of_a_user_without_rights_names_the_command_that_helps),
		TEST(removed_interface_takes_the_link_down_and_nothing_else),
	};

	if (!own_network())
		return 77;
	return cmocka_run_group_tests_name("net_tap", tests, NULL, NULL);
}
