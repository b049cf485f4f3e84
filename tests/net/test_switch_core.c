// SPDX-License-Identifier: GPL-2.0-or-later
/* The learning switch without its sockets. */
#include "net_rig.h"

#include "net/switch_private.h"

static struct switch_core *core;

static int make(void **state)
{
	core = switch_core_create(42);
	for (unsigned i = 0; i < 4; i++)
		switch_core_join(core, i, 0);
	return core ? 0 : -1;
}

static int drop(void **state)
{
	switch_core_destroy(core);
	return 0;
}

static bool bad;

/* A frame from the address @from to @to, which comes in at @port at the time @ms. */
static uint64_t forward(unsigned port, uint64_t from, uint64_t to, uint64_t ms)
{
	uint8_t header[NET_HEADER_BYTES] = { 0 };

	for (unsigned i = 0; i < 6; i++) {
		header[i] = (uint8_t)(to >> 8 * (5 - i));
		header[6 + i] = (uint8_t)(from >> 8 * (5 - i));
	}
	return switch_core_forward(core, port, header, ms, &bad);
}

static const uint64_t A = 0x020000000001, B = 0x020000000002, BROADCAST = 0xffffffffffff;

static void unknown_address_is_flooded_and_a_known_one_goes_to_its_port(void **state)
{
	assert_int_equal(forward(0, A, B, 0), 0xe);
	assert_int_equal(forward(2, B, A, 1), 1 << 0);
	assert_int_equal(forward(0, A, B, 2), 1 << 2);
	assert_int_equal(forward(0, A, BROADCAST, 3), 0xe);
	assert_int_equal(forward(0, A, 0x01005e000001, 3), 0xe);
}

static void frame_to_its_own_port_goes_nowhere(void **state)
{
	forward(0, A, BROADCAST, 0);
	forward(0, B, BROADCAST, 0);
	assert_int_equal(forward(0, A, B, 1), 0);
	assert_false(bad);
}

static void address_that_moves_is_found_at_its_new_port(void **state)
{
	forward(0, A, BROADCAST, 0);
	assert_int_equal(forward(1, B, A, 1), 1 << 0);
	forward(3, A, BROADCAST, 2);
	assert_int_equal(forward(1, B, A, 3), 1 << 3);
	assert_int_equal(switch_core_macs_of(core, 0), 0);
	assert_int_equal(switch_core_macs_of(core, 3), 1);
}

static void address_not_heard_for_long_is_forgotten(void **state)
{
	forward(0, A, BROADCAST, 1000);
	assert_int_equal(forward(1, B, A, 1000 + SWITCH_AGE_MS - 1), 1 << 0);
	assert_int_equal(forward(1, B, A, 1000 + SWITCH_AGE_MS), 0xd);
	assert_int_equal(switch_core_macs_of(core, 0), 0);
	forward(0, A, BROADCAST, 1000 + SWITCH_AGE_MS);
	assert_int_equal(forward(1, B, A, 1000 + SWITCH_AGE_MS), 1 << 0);
}

static void addresses_of_a_port_that_leaves_are_forgotten(void **state)
{
	forward(0, A, BROADCAST, 0);
	forward(1, B, BROADCAST, 0);
	switch_core_leave(core, 0);
	assert_int_equal(forward(1, B, A, 1), 0xc);
	assert_int_equal(switch_core_macs_of(core, 0), 0);
	assert_int_equal(forward(2, 7 + A, B, 1), 1 << 1);
}

static void invented_addresses_fill_neither_the_table_nor_take_others_places(void **state)
{
	forward(1, B, BROADCAST, 0);
	for (uint64_t i = 0; i < 100000; i++)
		forward(0, 0x020100000000 + i, BROADCAST, 0);
	assert_int_equal(switch_core_macs_of(core, 0), SWITCH_MACS_PER_PORT);
	assert_int_equal(forward(2, A, B, 1), 1 << 1);
	/* Nor can they take over what another port has, once there are too many. */
	forward(0, B, BROADCAST, 1);
	assert_int_equal(forward(2, A, B, 1), 1 << 1);
	/* When they are old there is room again. */
	forward(0, A + 9, BROADCAST, 2 * SWITCH_AGE_MS);
	assert_int_equal(switch_core_macs_of(core, 0), 1);
}

static void all_ports_can_fill_their_share_of_the_table(void **state)
{
	static struct switch_mac_info macs[SWITCH_MACS_MAX + 1];

	for (unsigned p = 0; p < SWITCH_PORTS_MAX; p++) {
		switch_core_join(core, p, 0);
		for (unsigned i = 0; i < SWITCH_MACS_PER_PORT; i++)
			forward(p, 0x020100000000u + p * 1000 + i, BROADCAST, 5000);
	}
	assert_int_equal(switch_core_macs(core, macs, SWITCH_MACS_MAX + 1, 7000), SWITCH_MACS_MAX);
	for (unsigned i = 0; i < SWITCH_MACS_MAX; i++) {
		assert_int_equal(macs[i].age_s, 2);
		assert_int_equal((rig_get32(macs[i].mac + 2)) / 1000, macs[i].port);
	}
	assert_int_equal(switch_core_macs(core, macs, 10, 7000), 10);
}

static void promiscuous_port_gets_every_frame(void **state)
{
	switch_core_join(core, 3, SWITCH_PROMISCUOUS);
	forward(0, A, BROADCAST, 0);
	forward(1, B, BROADCAST, 0);
	assert_int_equal(forward(0, A, B, 1), 1 << 1 | 1 << 3);
	assert_int_equal(forward(3, A + 5, B, 1), 1 << 1);
}

static void isolated_ports_reach_the_uplink_and_others_but_not_each_other(void **state)
{
	switch_core_leave(core, 0);
	switch_core_leave(core, 1);
	switch_core_join(core, 0, SWITCH_ISOLATED);
	switch_core_join(core, 1, SWITCH_ISOLATED);
	switch_core_join(core, 4, SWITCH_UPLINK);
	forward(1, B, BROADCAST, 0);
	assert_int_equal(forward(0, A, BROADCAST, 0), 1 << 2 | 1 << 3 | 1 << 4);
	assert_int_equal(forward(0, A, B, 1), 0);
	assert_int_equal(forward(2, A + 9, B, 1), 1 << 1);
	assert_int_equal(forward(4, A + 8, BROADCAST, 1), 0xf);
}

static void frames_that_no_switch_passes_on_are_bad(void **state)
{
	assert_int_equal(forward(0, 0x030000000001, B, 0), 0);
	assert_true(bad);
	assert_int_equal(forward(0, 0, B, 0), 0);
	assert_true(bad);
	assert_int_equal(forward(0, A, 0x0180c2000000, 0), 0);
	assert_true(bad);
	assert_int_equal(forward(0, A, 0x0180c200000f, 0), 0);
	assert_true(bad);
	assert_int_equal(forward(9, A, B, 0), 0);
	assert_true(bad);
	assert_int_equal(forward(0, A, 0x0180c2000010, 0), 0xe);
	assert_false(bad);
}

static void hello_is_refused_when_it_is_not_whole(void **state)
{
	struct switch_hello good = { .magic = SWITCH_MAGIC, .version = SWITCH_VERSION, .kind = SWITCH_PORT }, h;

	assert_null(switch_hello_check(&good, sizeof(good)));
	for (size_t len = 0; len < sizeof(good); len++)
		assert_non_null(switch_hello_check(&good, len));
#define REFUSED(change)                                                                                                    \
	do {                                                                                                               \
		h = good;                                                                                                  \
		change;                                                                                                    \
		assert_non_null(switch_hello_check(&h, sizeof(h)));                                                        \
	} while (0)
	REFUSED(h.magic++);
	REFUSED(h.version++);
	REFUSED(h.kind = 0);
	REFUSED(h.kind = 3);
	REFUSED(h.flags = SWITCH_UPLINK);
	REFUSED(memset(h.vm, 'a', sizeof(h.vm)));
	REFUSED(memset(h.uplink, 'a', sizeof(h.uplink)));
}

static void report_is_refused_when_its_counts_lie(void **state)
{
	size_t len = sizeof(struct switch_report) + 2 * sizeof(struct switch_port_info) + 3 * sizeof(struct switch_mac_info);
	struct switch_report *r = calloc(1, len);

	*r = (struct switch_report){ .magic = SWITCH_MAGIC, .version = SWITCH_VERSION, .ports = 2, .macs = 3 };
	assert_true(switch_report_check(r, len));
	assert_false(switch_report_check(r, len - 1));
	assert_false(switch_report_check(r, 3));
	r->ports = 0xffffffff;
	assert_false(switch_report_check(r, len));
	r->ports = 2;
	r->macs = 0x80000003;
	assert_false(switch_report_check(r, len));
	r->macs = 3;
	memset(r->port[1].vm, 'x', sizeof(r->port[1].vm));
	assert_false(switch_report_check(r, len));
	free(r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, drop)
	const struct CMUnitTest tests[] = {
		TEST(unknown_address_is_flooded_and_a_known_one_goes_to_its_port),
		TEST(frame_to_its_own_port_goes_nowhere),
		TEST(address_that_moves_is_found_at_its_new_port),
		TEST(address_not_heard_for_long_is_forgotten),
		TEST(addresses_of_a_port_that_leaves_are_forgotten),
		TEST(invented_addresses_fill_neither_the_table_nor_take_others_places),
		TEST(all_ports_can_fill_their_share_of_the_table),
		TEST(promiscuous_port_gets_every_frame),
		TEST(isolated_ports_reach_the_uplink_and_others_but_not_each_other),
		TEST(frames_that_no_switch_passes_on_are_bad),
		TEST(hello_is_refused_when_it_is_not_whole),
		TEST(report_is_refused_when_its_counts_lie),
	};

	return cmocka_run_group_tests_name("switch_core", tests, NULL, NULL);
}
