// SPDX-License-Identifier: GPL-2.0-or-later
/* The words of --net and --publish, and addresses made from names. */
#include "net_rig.h"

static struct net_config c;
static struct error err;

static void refuses(const char *text, const char *part)
{
	memset(&err, 0, sizeof(err));
	assert_int_equal(net_config_parse(text, &c, &err), -EINVAL);
	assert_int_equal(err.status, STATUS_USAGE);
	assert_non_null(strstr(err.what, "--net"));
	if (!strstr(err.why, part))
		fail_msg("%s: '%s' is not in: %s", text, part, err.why);
	assert_true(*err.fix);
}

static void net_takes_each_kind_and_its_words(void **state)
{
	static const uint8_t mac[] = { 0x02, 0, 0x5e, 0x10, 0xab, 1 };

	strcpy(c.vm, "a");
	assert_int_equal(net_config_parse("user,restrict,no-loopback,mac=02:00:5E:10:ab:01,pcap=/tmp/x=y", &c, &err), 0);
	assert_true(c.kind == NET_USER && c.restricted && c.no_loopback);
	assert_memory_equal(c.mac, mac, 6);
	assert_string_equal(c.pcap, "/tmp/x=y");
	assert_string_equal(c.vm, "a");
	assert_int_equal(net_config_parse("tap", &c, &err), 0);
	assert_true(c.kind == NET_TAP && !*c.name && !c.restricted && !*c.pcap);
	assert_int_equal(net_config_parse("tap=vm0,bridge=br0", &c, &err), 0);
	assert_string_equal(c.name, "vm0");
	assert_string_equal(c.bridge, "br0");
	assert_int_equal(net_config_parse("switch=office,isolated,promiscuous,uplink=tap:up0", &c, &err), 0);
	assert_true(c.kind == NET_SWITCH && c.isolated && c.promiscuous);
	assert_string_equal(c.name, "office");
	assert_string_equal(c.uplink, "tap:up0");
	assert_int_equal(net_config_parse("none", &c, &err), 0);
	assert_int_equal(c.kind, NET_NONE);
}

static void net_refuses_what_it_does_not_know_and_says_why(void **state)
{
	refuses("", "no network of the kind ''");
	refuses("nat", "no network of the kind 'nat'");
	refuses("user=x", "user takes no value");
	refuses("none=", "none takes no value");
	refuses("switch", "switch needs a name");
	refuses("switch=", "1 to 32");
	refuses("switch=../x", "1 to 32");
	refuses("switch=a/b", "1 to 32");
	refuses("switch=123456789012345678901234567890123", "1 to 32");
	refuses("tap=", "1 to 15");
	refuses("tap=1234567890123456", "1 to 15");
	refuses("tap=a b", "1 to 15");
	refuses("user,bridge=br0", "'bridge' is no word");
	refuses("tap,restrict", "'restrict' is no word");
	refuses("user,", "'' is no word");
	refuses("user,restrict,restrict", "twice");
	refuses("user,restrict=1", "restrict takes no value");
	refuses("user,mac", "mac needs a value");
	refuses("user,mac=01:00:5e:00:00:01", "MAC address");
	refuses("user,mac=00:00:00:00:00:00", "MAC address");
	refuses("user,mac=02:00:5e:00:00:1", "MAC address");
	refuses("user,mac=02:00:5e:00:00:012", "MAC address");
	refuses("user,pcap=", "no file's name");
	refuses("switch=a,uplink=eth0", "an uplink is");
	refuses("switch=a,uplink=tap:", "1 to 15");
}

static void net_refuses_a_value_that_is_far_too_long(void **state)
{
	char *text = malloc(100000);

	memset(text, 'a', 99999);
	text[99999] = 0;
	refuses(text, "too long");
	memcpy(text, "user,pcap=", 10);
	text[4300] = 0;
	refuses(text, "no file's name");
	free(text);
}

static void publish_takes_addresses_ports_and_protocols(void **state)
{
	static const uint8_t loopback[] = { 127, 0, 0, 1 }, any[] = { 0, 0, 0, 0 };

	assert_int_equal(net_config_parse("user", &c, &err), 0);
	assert_int_equal(net_publish_parse("8080:80", &c, &err), 0);
	assert_int_equal(net_publish_parse("0.0.0.0:53:5353/udp", &c, &err), 0);
	assert_int_equal(net_publish_parse("[::1]:65535:1/tcp", &c, &err), 0);
	assert_int_equal(c.publishes, 3);
	assert_true(c.publish[0].host == 8080 && c.publish[0].guest == 80 && !c.publish[0].udp && !c.publish[0].v6);
	assert_memory_equal(c.publish[0].addr, loopback, 4);
	assert_true(c.publish[1].udp && c.publish[1].host == 53 && c.publish[1].guest == 5353);
	assert_memory_equal(c.publish[1].addr, any, 4);
	assert_true(c.publish[2].v6 && !c.publish[2].udp && c.publish[2].addr[15] == 1);
}

static void publish_refuses_what_is_none(void **state)
{
	static const char *const bad[] = { "",		"80",	   "80:",	 ":80",	  "0:80",     "65536:80", "80:80/sctp",
					   "localhost:80:80", "::1:80:80", "[::1:80:80", "[]:1:2", "1.2.3:80:80", " 80:80",
					   "80:80:", "+1:80", "/udp", "80/udp:80" };

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(net_config_parse("user", &c, &err), 0);
		assert_int_equal(net_publish_parse(bad[i], &c, &err), -EINVAL);
		assert_int_equal(c.publishes, 0);
		assert_true(*err.why && *err.fix);
	}
	for (unsigned i = 0; i < NET_PUBLISH_MAX; i++)
		assert_int_equal(net_publish_parse("1:1", &c, &err), 0);
	assert_int_equal(net_publish_parse("1:1", &c, &err), -EINVAL);
}

static void mac_of_a_name_is_stable_local_unicast_and_another_for_another(void **state)
{
	static const uint8_t known[] = { 0xa2, 0xcf, 0xce, 0xfa, 0x2b, 0x06 };
	uint8_t seen[512][6];
	char name[32];

	net_mac_of("web", 0, seen[0]);
	assert_memory_equal(seen[0], known, 6);
	for (unsigned i = 0; i < 512; i++) {
		snprintf(name, sizeof(name), "vm%u", i / 2);
		net_mac_of(name, i % 2, seen[i]);
		assert_int_equal(seen[i][0] & 3, 2);
		for (unsigned j = 0; j < i; j++)
			assert_memory_not_equal(seen[i], seen[j], 6);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(net_takes_each_kind_and_its_words),
		cmocka_unit_test(net_refuses_what_it_does_not_know_and_says_why),
		cmocka_unit_test(net_refuses_a_value_that_is_far_too_long),
		cmocka_unit_test(publish_takes_addresses_ports_and_protocols),
		cmocka_unit_test(publish_refuses_what_is_none),
		cmocka_unit_test(mac_of_a_name_is_stable_local_unicast_and_another_for_another),
	};

	return cmocka_run_group_tests_name("net_config", tests, NULL, NULL);
}
