// SPDX-License-Identifier: GPL-2.0-or-later
/* The framing of the debugger's protocol. */
#include "vm/gdb_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Feeds a string; the last event that is not GDB_NOTHING. */
static enum gdb_event feed(struct gdb_rx *rx, const char *bytes, size_t len)
{
	enum gdb_event last = GDB_NOTHING;

	for (size_t i = 0; i < len; i++) {
		enum gdb_event e = gdb_rx_byte(rx, (uint8_t)bytes[i]);

		if (e != GDB_NOTHING)
			last = e;
	}
	return last;
}

static void a_packet_with_the_right_checksum_is_taken(void **state)
{
	struct gdb_rx rx = { 0 };

	assert_int_equal(feed(&rx, "+$m10,4#2a", 10), GDB_BAD);
	assert_int_equal(feed(&rx, "$m10,4#2e", 9), GDB_PACKET);
	assert_int_equal(rx.len, 5);
	assert_string_equal(rx.data, "m10,4");
}

static void noise_between_packets_is_skipped_and_interrupt_is_seen(void **state)
{
	struct gdb_rx rx = { 0 };

	assert_int_equal(gdb_rx_byte(&rx, 'x'), GDB_NOTHING);
	assert_int_equal(gdb_rx_byte(&rx, '+'), GDB_ACK);
	assert_int_equal(gdb_rx_byte(&rx, '-'), GDB_NAK);
	assert_int_equal(gdb_rx_byte(&rx, 0x03), GDB_INTERRUPT);
	assert_int_equal(feed(&rx, "#aa", 3), GDB_NOTHING);
}

static void escapes_are_undone_and_counted_as_sent(void **state)
{
	struct gdb_rx rx = { 0 };

	/* "}" then '#' ^ 0x20 = 0x03: sum is 'X' + 0x7d + 0x03 */
	assert_int_equal(feed(&rx, "$X}\x03#d8", 7), GDB_PACKET);
	assert_int_equal(rx.len, 2);
	assert_memory_equal(rx.data, "X#", 2);
}

static void a_packet_that_is_cut_off_gives_way_to_the_next(void **state)
{
	struct gdb_rx rx = { 0 };

	assert_int_equal(feed(&rx, "$abc$?#3f", 9), GDB_PACKET);
	assert_string_equal(rx.data, "?");
	assert_int_equal(feed(&rx, "$?#zz", 5), GDB_BAD);
	assert_int_equal(feed(&rx, "$?#3f", 5), GDB_PACKET);
	assert_int_equal(feed(&rx, "$?}#bc", 6), GDB_BAD);
}

static void a_packet_that_is_too_long_is_refused_without_harm(void **state)
{
	struct gdb_rx rx = { 0 };
	uint8_t sum = 0;
	char end[4];

	assert_int_equal(gdb_rx_byte(&rx, '$'), GDB_NOTHING);
	for (int i = 0; i < 3 * GDB_PACKET_MAX; i++) {
		assert_int_equal(gdb_rx_byte(&rx, 'a'), GDB_NOTHING);
		sum += 'a';
	}
	snprintf(end, sizeof(end), "#%02x", sum);
	assert_int_equal(feed(&rx, end, 3), GDB_BAD);
	assert_int_equal(feed(&rx, "$?#3f", 5), GDB_PACKET);
}

static void what_is_framed_is_read_back(void **state)
{
	struct gdb_text text = { 0 };
	struct gdb_rx rx = { 0 };
	char out[2 * GDB_PACKET_MAX + 8];
	char bytes[256];
	size_t n;

	for (int i = 0; i < 256; i++)
		bytes[i] = (char)i;
	gdb_put(&text, bytes, sizeof(bytes));
	n = gdb_frame(&text, out, sizeof(out));
	assert_int_equal(feed(&rx, out, n), GDB_PACKET);
	assert_int_equal(rx.len, 256);
	assert_memory_equal(rx.data, bytes, 256);
	assert_int_equal(gdb_frame(&text, out, 100), 0);
}

static void a_reply_that_does_not_fit_is_marked(void **state)
{
	struct gdb_text text = { 0 };
	char byte = 'x';

	for (int i = 0; i < GDB_PACKET_MAX; i++)
		gdb_put(&text, &byte, 1);
	assert_false(text.full);
	gdb_put_hex(&text, &byte, 1);
	assert_true(text.full);
	assert_int_equal(text.len, GDB_PACKET_MAX);
}

static void numbers_are_bounded(void **state)
{
	const char *p = "ffffffffffffffff,";
	uint64_t v;

	assert_true(gdb_get_number(&p, &v));
	assert_int_equal(v, UINT64_MAX);
	assert_string_equal(p, ",");
	p = "10000000000000000";
	assert_false(gdb_get_number(&p, &v));
	p = "";
	assert_false(gdb_get_number(&p, &v));
	p = "xyz";
	assert_false(gdb_get_number(&p, &v));
}

static void hex_bytes_must_be_complete(void **state)
{
	const char *p = "0aFf1";
	uint8_t b[3];

	assert_true(gdb_get_hex(&p, b, 2));
	assert_int_equal(b[0], 0x0a);
	assert_int_equal(b[1], 0xff);
	assert_false(gdb_get_hex(&p, b, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_with_the_right_checksum_is_taken),
		cmocka_unit_test(noise_between_packets_is_skipped_and_interrupt_is_seen),
		cmocka_unit_test(escapes_are_undone_and_counted_as_sent),
		cmocka_unit_test(a_packet_that_is_cut_off_gives_way_to_the_next),
		cmocka_unit_test(a_packet_that_is_too_long_is_refused_without_harm),
		cmocka_unit_test(what_is_framed_is_read_back),
		cmocka_unit_test(a_reply_that_does_not_fit_is_marked),
		cmocka_unit_test(numbers_are_bounded),
		cmocka_unit_test(hex_bytes_must_be_complete),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
