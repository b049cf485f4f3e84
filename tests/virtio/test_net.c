// SPDX-License-Identifier: GPL-2.0-or-later
/* Tests of virtio/net.c and net_control.c. */
#include "fake_port.h"
#include "rig.h"

#include "virtio/net_private.h"

#include <errno.h>
#include <string.h>

enum { RX, TX, RX1, TX1, CONTROL = 4, PAIRS = 2, HDR = NET_HEADER };
#define ALL (~VIRTIO_F_ALL & 0xffffffff)
#define BUFFER (RIG_DATA + 0x10000)
#define COMMAND (RIG_DATA + 0x200000)

static struct rig rig, other;
static struct net_port port, port2;
static struct virtio_net *net, *net2;
static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };

static void make(struct rig *r, struct net_port *p, struct virtio_net **n, unsigned mode)
{
	rig_init(r, mode);
	memset(p, 0, sizeof(*p));
	assert_int_equal(virtio_net_create(r->ram, r->loop, mac, PAIRS, n), 0);
	p->ops = &virtio_net_port_ops;
	p->opaque = *n;
	virtio_net_plug(*n, p);
	rig_attach(r, virtio_net_device(*n));
}

static void begin(unsigned mode, uint64_t features)
{
	make(&rig, &port, &net, mode);
	rig_start(&rig, features, 64);
}

static void finish(struct rig *r, struct virtio_net *n)
{
	rig_set_status(r, 0);
	rig_detach(r);
	virtio_net_destroy(n);
	rig_done(r);
}

static void end(void)
{
	finish(&rig, net);
}

/* A frame of @len bytes to @to. */
static void make_frame(uint8_t *f, size_t len, const uint8_t *to)
{
	for (size_t i = 0; i < len; i++)
		f[i] = (uint8_t)(i * 3 + len);
	memcpy(f, to, 6);
	f[12] = 0x88;
	f[13] = 0xb5;
}

static void arrive_with(const uint8_t *f, size_t len, const struct net_offload *o)
{
	struct iovec iov[2] = { { (void *)f, 5 }, { (void *)(f + 5), len - 5 } };

	if (!port.paused)
		virtio_net_port_ops.receive(net, iov, 2, o);
}

static void arrive(const uint8_t *f, size_t len)
{
	arrive_with(f, len, &(struct net_offload){ 0 });
}

static void add_buffers(unsigned q, unsigned count, uint32_t len)
{
	for (unsigned i = 0; i < count; i++)
		rig_add(&rig, q, &(struct rig_part){ BUFFER + 0x10000 * q + i * len, len }, 0, 1);
}

static void frames_go_out_with_what_their_header_asks_for(void **state)
{
	RIG_EACH(mode) {
		struct rig_part p[] = { { BUFFER, 10 }, { BUFFER + 10, 20 }, { BUFFER + 0x1000, 82 } };
		uint8_t f[100];

		begin(mode, ALL);
		make_frame(f, 100, mac);
		rig_put_le(&rig, BUFFER, 8, 1 | 1 << 8 | 54ull << 16 | 1448ull << 32 | 34ull << 48);
		rig_put_le(&rig, BUFFER + 8, 4, 16);
		rig_put(&rig, BUFFER + 12, f, 18);
		rig_put(&rig, BUFFER + 0x1000, f + 18, 82);
		rig_do(&rig, TX, p, 3, 0);
		assert_int_equal(port.sent, 1);
		assert_int_equal(port.frame[0].len, 100);
		assert_memory_equal(port.frame[0].bytes, f, 100);
		assert_int_equal(port.frame[0].o.flags, NET_OFFLOAD_CSUM);
		assert_int_equal(port.frame[0].o.gso_type, NET_GSO_TCPV4);
		assert_int_equal(port.frame[0].o.hdr_len, 54);
		assert_int_equal(port.frame[0].o.gso_size, 1448);
		assert_int_equal(port.frame[0].o.csum_start, 34);
		assert_int_equal(port.frame[0].o.csum_offset, 16);
		end();
	}
}

static void frames_come_in_with_their_header(void **state)
{
	RIG_EACH(mode) {
		struct net_offload o = { .flags = 1, .gso_type = 4, .hdr_len = 74, .gso_size = 1400, .csum_start = 54, .csum_offset = 16 };
		uint8_t f[300], got[312];
		uint32_t len;

		begin(mode, ALL);
		make_frame(f, 300, mac);
		add_buffers(RX, 4, 2048);
		arrive_with(f, 300, &o);
		assert_true(rig_used(&rig, RX, NULL, &len));
		assert_int_equal(len, 312);
		rig_get(&rig, BUFFER, got, 312);
		assert_memory_equal(got + HDR, f, 300);
		assert_int_equal(got[0], 1);
		assert_int_equal(got[1], 4);
		assert_int_equal(got[2] | got[3] << 8, 74);
		assert_int_equal(got[4] | got[5] << 8, 1400);
		assert_int_equal(got[6], 54);
		assert_int_equal(got[8], 16);
		assert_int_equal(got[10] | got[11] << 8, 1);
		assert_true(rig_interrupts(&rig, RX) >= 1);
		end();
	}
}

static void a_frame_is_spread_over_mergeable_buffers(void **state)
{
	RIG_EACH(mode) {
		uint8_t f[1000], got[1100];
		uint32_t len, sum = 0;
		unsigned n = 0;

		begin(mode, ALL);
		make_frame(f, 1000, mac);
		add_buffers(RX, 20, 100);
		arrive(f, 1000);
		rig_get(&rig, BUFFER, got, 1100);
		assert_int_equal(got[10], 11);
		assert_memory_equal(got + HDR, f, 1000);
		while (rig_used(&rig, RX, NULL, &len)) {
			sum += len;
			n++;
		}
		assert_int_equal(n, 11);
		assert_int_equal(sum, 1012);
		end();
	}
}

static void without_mergeable_buffers_a_frame_that_does_not_fit_is_lost(void **state)
{
	uint8_t f[1000];
	uint32_t len;

	begin(0, ALL & ~NET_F_MRG_RXBUF);
	make_frame(f, 1000, mac);
	add_buffers(RX, 4, 600);
	arrive(f, 1000);
	assert_false(rig_used(&rig, RX, NULL, NULL));
	assert_false(port.paused);
	arrive(f, 588);
	assert_true(rig_used(&rig, RX, NULL, &len));
	assert_int_equal(len, 600);
	end();
}

static void a_frame_without_buffers_waits_and_the_port_too(void **state)
{
	RIG_EACH(mode) {
		uint8_t f[1000], got[1012];

		begin(mode, ALL);
		make_frame(f, 1000, mac);
		add_buffers(RX, 2, 500); /* 12 bytes too few */
		arrive(f, 1000);
		assert_true(port.paused);
		assert_false(rig_used(&rig, RX, NULL, NULL));
		/* more, but not enough? Enough. */
		rig_add(&rig, RX, &(struct rig_part){ BUFFER + 1000, 500 }, 0, 1);
		rig_kick(&rig, RX);
		rig_run(&rig);
		assert_false(port.paused);
		for (unsigned i = 0; i < 3; i++)
			assert_true(rig_used(&rig, RX, NULL, NULL));
		rig_get(&rig, BUFFER, got, 1012);
		assert_memory_equal(got + HDR, f, 1000);
		assert_int_equal(got[10], 3);
		end();
	}
}

/* With event indices the driver tells only of buffers past the index: it has to lie behind those that are too few. */
static void a_notification_is_wanted_for_the_next_buffer_when_there_are_too_few(void **state)
{
	uint8_t f[1000];

	begin(RIG_EVENT, ALL);
	make_frame(f, 1000, mac);
	add_buffers(RX, 2, 500);
	arrive(f, 1000);
	assert_int_equal(rig_get16(&rig, rig.q[RX].device + 4 + 64 * 8), 2);
	end();
}

static void a_full_port_holds_the_queue_until_it_is_writable(void **state)
{
	RIG_EACH(mode) {
		begin(mode, ALL);
		port.full = true;
		for (unsigned i = 0; i < 3; i++)
			rig_add(&rig, TX, &(struct rig_part){ BUFFER + i * 100, 72 + i }, 1, 0);
		rig_kick(&rig, TX);
		rig_run(&rig);
		assert_false(rig_used(&rig, TX, NULL, NULL));
		port.full = false;
		virtio_net_port_ops.writable(net);
		rig_run(&rig);
		assert_int_equal(port.sent, 3);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(port.frame[i].len, 60 + i);
			assert_true(rig_used(&rig, TX, NULL, NULL));
		}
		end();
	}
}

static void a_port_may_answer_from_within_a_call(void **state)
{
	struct rig_part p = { RIG_DATA, HDR + 60 };

	begin(0, ALL);
	port.echo = true;
	add_buffers(RX, 4, 2048);
	rig_do(&rig, TX, &p, 1, 0);
	assert_true(rig_used(&rig, RX, NULL, NULL));
	end();
}

static void frames_that_cannot_be_are_lost(void **state)
{
	struct rig_part p[] = { { RIG_DATA, 11 }, { RIG_DATA, 12 }, { RIG_DATA, 70000 } };

	begin(0, ALL);
	for (unsigned i = 0; i < 3; i++)
		rig_do(&rig, TX, &p[i], 1, 0);
	assert_int_equal(port.sent, 0);
	assert_false(rig_status(&rig) & VIRTIO_NEEDS_RESET);
	rig_add(&rig, TX, &(struct rig_part){ RIG_RAM_HALF - 30, 100 }, 1, 0);
	rig_kick(&rig, TX);
	rig_run(&rig);
	assert_true(rig_status(&rig) & VIRTIO_NEEDS_RESET);
	end();
}

static unsigned command(unsigned class, unsigned cmd, const void *data, unsigned len)
{
	struct rig_part p[] = { { COMMAND, 2 }, { COMMAND + 16, len }, { COMMAND + 8, 1 } };

	rig_put16(&rig, COMMAND, (uint16_t)(class | cmd << 8));
	rig_put(&rig, COMMAND + 16, data, len);
	rig_put_le(&rig, COMMAND + 8, 1, 0xee);
	rig_do(&rig, CONTROL, p, 2, 1);
	return (unsigned)rig_get_le(&rig, COMMAND + 8, 1);
}

static bool comes_in(const uint8_t *to)
{
	uint8_t f[60];

	make_frame(f, 60, to);
	rig_add(&rig, RX, &(struct rig_part){ BUFFER, 2048 }, 0, 1);
	arrive(f, 60);
	return rig_used(&rig, RX, NULL, NULL);
}

static void the_driver_chooses_what_comes_in(void **state)
{
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 }, uni[6] = { 2, 9, 9, 9, 9, 9 }, uni2[6] = { 2, 8, 8, 8, 8, 8 };
	static const uint8_t multi[6] = { 1, 0, 0x5e, 0, 0, 1 }, multi2[6] = { 1, 0, 0x5e, 0, 0, 2 };
	uint8_t tables[4 + 6 + 4 + 6] = { 1, 0, 0, 0, 2, 9, 9, 9, 9, 9, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1 };

	begin(0, ALL);
	assert_true(comes_in(uni));
	assert_int_equal(command(0, 0, "\0", 1), 0);
	assert_false(comes_in(uni));
	assert_true(comes_in(mac));
	assert_true(comes_in(all));
	assert_false(comes_in(multi));
	assert_int_equal(command(1, 0, tables, sizeof(tables)), 0);
	assert_true(comes_in(uni));
	assert_false(comes_in(uni2));
	assert_true(comes_in(multi));
	assert_false(comes_in(multi2));
	assert_int_equal(command(0, 1, "\1", 1), 0);
	assert_true(comes_in(multi2));
	assert_int_equal(command(0, 3, "\1", 1), 0);
	assert_false(comes_in(multi));
	assert_int_equal(command(0, 5, "\1", 1), 0);
	assert_false(comes_in(all));
	assert_int_equal(command(0, 4, "\1", 1), 0);
	assert_false(comes_in(mac));
	assert_int_equal(command(0, 0, "\1", 1), 0);
	assert_true(comes_in(mac));
	/* a new address, until the reset */
	assert_int_equal(command(1, 1, uni2, 6), 0);
	assert_int_equal(rig_config(&rig, 0, 4), 0x08080802);
	rig_set_status(&rig, 0);
	assert_int_equal(rig_config(&rig, 0, 4), 2);
	end();
}

static void more_addresses_than_fit_let_all_in(void **state)
{
	static uint8_t tables[4 + 100 * 6 + 4] = { 100 };
	static const uint8_t uni[6] = { 2, 9, 9, 9, 9, 9 };

	begin(0, ALL);
	command(0, 0, "\0", 1);
	assert_int_equal(command(1, 0, tables, sizeof(tables)), 0);
	assert_true(comes_in(uni));
	end();
}

static void commands_that_cannot_be_are_refused(void **state)
{
	static const uint8_t huge[8] = { 0xff, 0xff, 0xff, 0xff }, pairs3[2] = { 3 }, pairs0[2] = { 0 };
	uint64_t offloads = 1ull << 10;

	begin(0, ALL);
	assert_int_equal(command(1, 0, huge, 8), 1);
	assert_int_equal(command(1, 1, huge, 5), 1);
	assert_int_equal(command(0, 6, huge, 1), 1);
	assert_int_equal(command(2, 0, huge, 2), 1);
	assert_int_equal(command(9, 0, huge, 2), 1);
	assert_int_equal(command(4, 0, pairs3, 2), 1);
	assert_int_equal(command(4, 0, pairs0, 2), 1);
	assert_int_equal(command(5, 0, &offloads, 8), 1);
	/* no place for the answer */
	rig_add(&rig, CONTROL, &(struct rig_part){ COMMAND, 2 }, 1, 0);
	rig_kick(&rig, CONTROL);
	rig_run(&rig);
	assert_true(rig_status(&rig) & VIRTIO_NEEDS_RESET);
	end();
}

static void offloads_are_what_the_driver_took_and_turned_on(void **state)
{
	uint64_t csum = NET_F_GUEST_CSUM;

	begin(0, ALL);
	assert_int_equal(port.gives, NET_GIVES_CSUM | NET_GIVES_TSO4 | NET_GIVES_TSO6);
	assert_int_equal(command(5, 0, &csum, 8), 0);
	rig_run(&rig);
	assert_int_equal(port.gives, NET_GIVES_CSUM);
	rig_set_status(&rig, 0);
	rig_run(&rig);
	assert_int_equal(port.gives, 0);
	end();
	begin(0, NET_F_MAC);
	assert_int_equal(port.gives, 0);
	end();
}

static void a_flow_comes_in_where_it_goes_out(void **state)
{
	static const uint8_t pairs[2] = { 2 };
	uint8_t f[60], back[60];
	struct rig_part p = { RIG_DATA, HDR + 60 };

	begin(0, ALL);
	assert_int_equal(command(4, 0, pairs, 2), 0);
	make_frame(f, 60, mac);
	memset(f + 12, 0, 48);
	f[12] = 8;
	f[14] = 0x45;
	f[23] = 6;
	memcpy(f + 26, "\12\0\0\1\12\0\0\2", 8);
	memcpy(f + 34, "\0\120\200\1", 4);
	memcpy(back, f, 60);
	memcpy(back + 26, "\12\0\0\2\12\0\0\1", 8);
	memcpy(back + 34, "\200\1\0\120", 4);
	add_buffers(RX, 2, 2048);
	add_buffers(RX1, 2, 2048);
	rig_put(&rig, RIG_DATA + HDR, f, 60);
	rig_do(&rig, TX1, &p, 1, 0);
	arrive(back, 60);
	assert_true(rig_used(&rig, RX1, NULL, NULL));
	back[35]++;
	arrive(back, 60);
	assert_true(rig_used(&rig, RX, NULL, NULL));
	end();
}

static void features_that_need_others_are_refused_without_them(void **state)
{
	static const uint64_t bad[] = { NET_F_GUEST_TSO4, NET_F_HOST_TSO6, NET_F_MQ, NET_F_CTRL_RX,
					NET_F_GUEST_CSUM | NET_F_GUEST_ECN, NET_F_CTRL_VQ | NET_F_CTRL_RX_EXTRA };

	make(&rig, &port, &net, 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rig_set_features(&rig, VIRTIO_F_VERSION_1 | bad[i]);
		rig_set_status(&rig, 11);
		assert_int_equal(rig_status(&rig) & VIRTIO_FEATURES_OK, 0);
		rig_set_status(&rig, 0);
	}
	end();
}

static void a_loaded_device_asks_its_driver_to_announce_it(void **state)
{
	RIG_EACH(mode) {
		unsigned before;

		begin(mode, ALL);
		command(0, 0, "\0", 1);
		make(&other, &port2, &net2, mode);
		assert_int_equal(rig_copy(&rig, &other, &virtio_net_ops, net, net2), 0);
		before = rig_interrupts(&other, -1);
		assert_true(before >= 1);
		assert_int_equal(rig_config(&other, 6, 2), NET_S_LINK_UP | NET_S_ANNOUNCE);
		assert_false(net2->promiscuous);
		assert_int_equal(port2.gives, NET_GIVES_CSUM | NET_GIVES_TSO4 | NET_GIVES_TSO6);
		assert_false(port2.paused);
		finish(&other, net2);
		end();
	}
}

static void a_paused_device_takes_nothing(void **state)
{
	uint8_t f[60];

	begin(0, ALL);
	make_frame(f, 60, mac);
	add_buffers(RX, 2, 2048);
	virtio_pause(virtio_net_device(net));
	arrive(f, 60); /* the port does not know yet */
	rig_run(&rig);
	assert_true(port.paused);
	assert_false(rig_used(&rig, RX, NULL, NULL));
	virtio_resume(virtio_net_device(net));
	rig_run(&rig);
	assert_false(port.paused);
	arrive(f, 60);
	assert_true(rig_used(&rig, RX, NULL, NULL));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_go_out_with_what_their_header_asks_for),
		cmocka_unit_test(frames_come_in_with_their_header),
		cmocka_unit_test(a_frame_is_spread_over_mergeable_buffers),
		cmocka_unit_test(without_mergeable_buffers_a_frame_that_does_not_fit_is_lost),
		cmocka_unit_test(a_frame_without_buffers_waits_and_the_port_too),
		cmocka_unit_test(a_notification_is_wanted_for_the_next_buffer_when_there_are_too_few),
		cmocka_unit_test(a_full_port_holds_the_queue_until_it_is_writable),
		cmocka_unit_test(a_port_may_answer_from_within_a_call),
		cmocka_unit_test(frames_that_cannot_be_are_lost),
		cmocka_unit_test(the_driver_chooses_what_comes_in),
		cmocka_unit_test(more_addresses_than_fit_let_all_in),
		cmocka_unit_test(commands_that_cannot_be_are_refused),
		cmocka_unit_test(offloads_are_what_the_driver_took_and_turned_on),
		cmocka_unit_test(a_flow_comes_in_where_it_goes_out),
		cmocka_unit_test(features_that_need_others_are_refused_without_them),
		cmocka_unit_test(a_loaded_device_asks_its_driver_to_announce_it),
		cmocka_unit_test(a_paused_device_takes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
