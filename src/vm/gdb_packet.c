// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Framing of the remote protocol (GDB manual, E.1 "Overview"): "$" data "#" two digits of checksum.
 * In data, "}" escapes: the byte after it is XORed with 0x20.
 *
 * Every byte comes from a socket and may be anything; nothing here reads or writes outside its
 * buffer, and each byte costs constant time.
 */
#include "vm/gdb_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { RX_IDLE, RX_DATA, RX_SUM1, RX_SUM2 };

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static void rx_begin(struct gdb_rx *rx)
{
	rx->state = RX_DATA;
	rx->sum = 0;
	rx->len = 0;
	rx->escaped = false;
	rx->too_long = false;
}

static enum gdb_event rx_idle(struct gdb_rx *rx, uint8_t byte)
{
	switch (byte) {
	case '$': rx_begin(rx); return GDB_NOTHING;
	case '+': return GDB_ACK;
	case '-': return GDB_NAK;
	case 0x03: return GDB_INTERRUPT;
	default: return GDB_NOTHING;
	}
}

static enum gdb_event rx_data(struct gdb_rx *rx, uint8_t byte)
{
	if (byte == '$') { /* never inside a packet: the last one was cut off */
		rx_begin(rx);
		return GDB_NOTHING;
	}
	if (byte == '#') {
		rx->state = RX_SUM1;
		return GDB_NOTHING;
	}
	rx->sum += byte;
	if (byte == '}' && !rx->escaped) {
		rx->escaped = true;
		return GDB_NOTHING;
	}
	if (rx->escaped)
		byte ^= 0x20;
	rx->escaped = false;
	if (rx->len < GDB_PACKET_MAX)
		rx->data[rx->len++] = (char)byte;
	else
		rx->too_long = true;
	return GDB_NOTHING;
}

enum gdb_event gdb_rx_byte(struct gdb_rx *rx, uint8_t byte)
{
	int digit;

	switch (rx->state) {
	case RX_DATA:
		return rx_data(rx, byte);
	case RX_SUM1:
		digit = hex_digit((char)byte);
		if (digit < 0)
			break;
		rx->sum_sent = (uint8_t)(digit << 4);
		rx->state = RX_SUM2;
		return GDB_NOTHING;
	case RX_SUM2:
		digit = hex_digit((char)byte);
		rx->state = RX_IDLE;
		rx->data[rx->len] = 0;
		if (digit < 0 || (rx->sum_sent | digit) != rx->sum || rx->too_long || rx->escaped)
			return GDB_BAD;
		return GDB_PACKET;
	default:
		return rx_idle(rx, byte);
	}
	rx->state = RX_IDLE;
	return GDB_BAD;
}

/* --- replies --- */

void gdb_put(struct gdb_text *text, const char *bytes, size_t len)
{
	if (len > sizeof(text->data) - text->len) {
		text->full = true;
		return;
	}
	memcpy(text->data + text->len, bytes, len);
	text->len += len;
}

void gdb_puts(struct gdb_text *text, const char *string)
{
	gdb_put(text, string, strlen(string));
}

void gdb_printf(struct gdb_text *text, const char *fmt, ...)
{
	char buf[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(buf))
		text->full = true;
	else
		gdb_put(text, buf, (size_t)n);
}

void gdb_put_hex(struct gdb_text *text, const void *bytes, size_t len)
{
	static const char digit[] = "0123456789abcdef";
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++)
		gdb_put(text, (char[]){ digit[b[i] >> 4], digit[b[i] & 15] }, 2);
}

size_t gdb_frame(const struct gdb_text *text, char *out, size_t size)
{
	size_t n = 0;
	uint8_t sum = 0;

	if (size < 2 * text->len + 8)
		return 0;
	out[n++] = '$';
	for (size_t i = 0; i < text->len; i++) {
		char c = text->data[i];

		if (c == '$' || c == '#' || c == '}' || c == '*') {
			out[n++] = '}';
			sum += '}';
			c ^= 0x20;
		}
		out[n++] = c;
		sum += (uint8_t)c;
	}
	n += (size_t)snprintf(out + n, 4, "#%02x", sum);
	return n;
}

/* --- reading commands; the text ends with a NUL --- */

bool gdb_get_number(const char **p, uint64_t *value)
{
	uint64_t v = 0;
	unsigned n = 0;
	int digit;

	while ((digit = hex_digit((*p)[n])) >= 0) {
		if (++n > 16)
			return false;
		v = v << 4 | (uint64_t)digit;
	}
	if (!n)
		return false;
	*p += n;
	*value = v;
	return true;
}

bool gdb_get_hex(const char **p, void *bytes, size_t len)
{
	uint8_t *to = bytes;

	for (size_t i = 0; i < len; i++) {
		int hi = hex_digit((*p)[0]);
		int lo = hi < 0 ? -1 : hex_digit((*p)[1]);

		if (lo < 0)
			return false;
		to[i] = (uint8_t)(hi << 4 | lo);
		*p += 2;
	}
	return true;
}

bool gdb_get_word(const char **p, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*p, word, len) != 0)
		return false;
	*p += len;
	return true;
}
