// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What libslirp sends in a row becomes one frame: the segments of a TCP stream over IPv4 that follow each other with the same
 * headers are put together, for a device that takes segmentation (as receive offload does in a network card). A
 * guest's work is by the frame far more than by the byte.
 *
 * A frame is held only until libslirp is left (merge_flush), so nothing waits. Put together are segments of one length,
 * the last may be shorter, whose headers differ in nothing but identification, sequence number, PSH and checksums; PSH ends it.
 */
#include "net/merge.h"

#include <string.h>

enum { IP = NET_HEADER_BYTES, TCP = IP + 20, ACK = 0x10, PSH = 0x08, FLAGS = TCP + 13, IP_MAX = 65535 };

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The length of the headers when @f is a segment with data that may be put together with others; else 0. */
static size_t headers_of(const uint8_t *f, size_t len)
{
	size_t headers;

	if (len <= TCP + 20 || f[12] != 8 || f[13] != 0 || f[IP] != 0x45 || f[IP + 9] != 6)
		return 0;
	/* No fragment, no padding behind it. */
	if ((f[IP + 6] & 0x3f) || f[IP + 7] || ((size_t)f[IP + 2] << 8 | f[IP + 3]) != len - IP)
		return 0;
	headers = TCP + 4u * (f[TCP + 12] >> 4);
	if (headers < TCP + 20 || headers >= len || (f[FLAGS] & ~PSH) != ACK)
		return 0;
	return headers;
}

static bool follows(const struct merge *m, const uint8_t *f, size_t len, size_t headers)
{
	const uint8_t *a = m->frame;

	return m->len && headers == m->headers && len - headers <= m->segment && m->len + len - headers <= IP + IP_MAX &&
	       get32(f + TCP + 4) == m->next_seq && !memcmp(a, f, IP + 2) /* addresses, type, type of service */ &&
	       !memcmp(a + IP + 6, f + IP + 6, 4) /* flags, time to live */ && !memcmp(a + IP + 12, f + IP + 12, 12) &&
	       !memcmp(a + TCP + 8, f + TCP + 8, 5) /* acknowledgement, length */ && !memcmp(a + TCP + 14, f + TCP + 14, 2) &&
	       !memcmp(a + TCP + 18, f + TCP + 18, headers - TCP - 18);
}

static void pass_on(struct merge *m, const void *frame, size_t len, const struct net_offload *o)
{
	struct iovec iov = { (void *)frame, len };

	net_deliver(m->port, &iov, 1, o);
}

void merge_flush(struct merge *m)
{
	struct net_offload o = { .flags = NET_OFFLOAD_CSUM_VALID };
	size_t len = m->len;

	if (!len)
		return;
	m->len = 0;
	if (m->segments > 1) {
		o = (struct net_offload){ .flags = NET_OFFLOAD_CSUM, .gso_type = NET_GSO_TCPV4, .hdr_len = (uint16_t)m->headers,
					  .gso_size = (uint16_t)m->segment, .csum_start = TCP, .csum_offset = 16 };
		net_gso4_headers(m->frame, len, IP, TCP);
	}
	pass_on(m, m->frame, len, &o);
}

void merge_frame(struct merge *m, const uint8_t *f, size_t len)
{
	static const struct net_offload valid = { .flags = NET_OFFLOAD_CSUM_VALID };
	size_t headers = m->port->gives & NET_GIVES_TSO4 && len <= sizeof(m->frame) ? headers_of(f, len) : 0;

	if (headers && follows(m, f, len, headers)) {
		memcpy(m->frame + m->len, f + headers, len - headers);
		m->len += len - headers;
		m->frame[FLAGS] |= f[FLAGS] & PSH;
		m->segments++;
	} else {
		merge_flush(m);
		/* Less than any path carries: nobody would take it as the size of segments. */
		if (!headers || len - headers < MERGE_MIN) {
			pass_on(m, f, len, &valid);
			return;
		}
		memcpy(m->frame, f, len);
		m->len = len;
		m->headers = headers;
		m->segment = len - headers;
		m->segments = 1;
	}
	m->next_seq = get32(f + TCP + 4) + (uint32_t)(len - headers);
	if (len - headers < m->segment || f[FLAGS] & PSH)
		merge_flush(m);
}
