// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Offloads in software: checksums (RFC 1071) and the segmentation of TCP over IPv4 and IPv6, as VIRTIO 1.2, 5.1.6.2,
 * asks for them.
 *
 * The frame and its header may come from a hostile guest. Where things lie is read from the frame itself and checked
 * against its length; hdr_len is not looked at. A segment carries at least GSO_MIN bytes, which bounds what
 * one frame can be made into.
 */
#include "net/net_private.h"

#include <errno.h>
#include <string.h>

enum {
	GSO_MIN = 64,
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_VLAN = 0x8100,
	ETHERTYPE_QINQ = 0x88a8,
	ETHERTYPE_IPV6 = 0x86dd,
	IPPROTO_TCP_ = 6,
	TCP_HEADER = 20,
	TCP_FIN = 0x01,
	TCP_PSH = 0x08,
	TCP_CWR = 0x80,
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

/* The sum of RFC 1071 in the bytes' own order, not folded: words of 32 bits into one of 64 cannot overflow here. */
static uint64_t sum_bytes(const uint8_t *p, size_t len, uint64_t sum)
{
	uint32_t w;

	for (; len >= 4; p += 4, len -= 4) {
		memcpy(&w, p, 4);
		sum += w;
	}
	w = 0;
	memcpy(&w, p, len);
	return sum + w;
}

/* The checksum, to be stored with memcpy. Never 0, which UDP takes for "none" and all others for the same as 0xffff. */
static uint16_t fold(uint64_t sum)
{
	uint16_t c;

	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	c = (uint16_t)~sum;
	return c ? c : 0xffff;
}

int net_offload_check(const struct net_offload *o, size_t len)
{
	uint8_t gso = o->gso_type & (uint8_t)~NET_GSO_ECN;

	if (o->flags & ~(NET_OFFLOAD_CSUM | NET_OFFLOAD_CSUM_VALID))
		return -EINVAL;
	if (o->flags & NET_OFFLOAD_CSUM &&
	    (o->csum_start < NET_HEADER_BYTES || (size_t)o->csum_start + o->csum_offset + 2 > len))
		return -EINVAL;
	if (gso == NET_GSO_NONE)
		return o->gso_type ? -EINVAL : 0;
	if (gso != NET_GSO_TCPV4 && gso != NET_GSO_TCPV6)
		return -EINVAL;
	return o->flags & NET_OFFLOAD_CSUM && o->gso_size >= GSO_MIN ? 0 : -EINVAL;
}

unsigned net_offload_needs(const struct net_offload *o)
{
	unsigned needs = o->flags & NET_OFFLOAD_CSUM ? NET_TAKES_CSUM : 0;

	switch (o->gso_type & ~NET_GSO_ECN) {
	case NET_GSO_TCPV4: return needs | NET_TAKES_TSO4;
	case NET_GSO_TCPV6: return needs | NET_TAKES_TSO6;
	default: return needs;
	}
}

void net_complete_checksum(uint8_t *frame, size_t len, const struct net_offload *o)
{
	/* The field already holds the sum of the pseudo header. */
	uint16_t c = fold(sum_bytes(frame + o->csum_start, len - o->csum_start, 0));

	memcpy(frame + o->csum_start + o->csum_offset, &c, 2);
}

/* Where the headers of a TCP segment lie. */
struct layout {
	size_t ip, tcp, payload;
	bool v6;
};

static int find_layout(const uint8_t *f, size_t len, bool v6, struct layout *l)
{
	size_t at = NET_HEADER_BYTES;
	uint16_t type = get16(f + at - 2);

	for (unsigned tags = 0; tags < 2 && (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ); tags++) {
		at += 4;
		if (at > len)
			return -EINVAL;
		type = get16(f + at - 2);
	}
	l->ip = at;
	l->v6 = v6;
	if (v6) {
		if (type != ETHERTYPE_IPV6 || len - at < 40 || f[at] >> 4 != 6 || f[at + 6] != IPPROTO_TCP_)
			return -EINVAL;
		l->tcp = at + 40;
	} else {
		if (type != ETHERTYPE_IPV4 || len - at < 20 || f[at] >> 4 != 4 || (f[at] & 15) < 5 ||
		    f[at + 9] != IPPROTO_TCP_)
			return -EINVAL;
		l->tcp = at + 4u * (f[at] & 15);
	}
	if (l->tcp > len || len - l->tcp < TCP_HEADER || f[l->tcp + 12] >> 4 < 5)
		return -EINVAL;
	l->payload = l->tcp + 4u * (f[l->tcp + 12] >> 4);
	return l->payload <= len ? 0 : -EINVAL;
}

/* Gives the headers of a segment of @len bytes, all in all, their lengths and checksums. */
static void finish_segment(uint8_t *s, size_t len, const struct layout *l, uint16_t id)
{
	uint8_t *ip = s + l->ip, *tcp = s + l->tcp;
	size_t tcp_len = len - l->tcp;
	uint8_t pseudo[4] = { 0, IPPROTO_TCP_ };
	uint64_t sum;
	uint16_t c;

	if (l->v6) {
		put16(ip + 4, (uint16_t)tcp_len);
		sum = sum_bytes(ip + 8, 32, 0);
	} else {
		put16(ip + 2, (uint16_t)(len - l->ip));
		put16(ip + 4, id);
		put16(ip + 10, 0);
		c = fold(sum_bytes(ip, l->tcp - l->ip, 0));
		memcpy(ip + 10, &c, 2);
		sum = sum_bytes(ip + 12, 8, 0);
	}
	put16(pseudo + 2, (uint16_t)tcp_len);
	put16(tcp + 16, 0);
	c = fold(sum_bytes(tcp, tcp_len, sum_bytes(pseudo, 4, sum)));
	memcpy(tcp + 16, &c, 2);
}

void net_gso4_headers(uint8_t *frame, size_t len, size_t ip, size_t tcp)
{
	uint8_t pseudo[4] = { 0, IPPROTO_TCP_ };
	uint16_t c;

	put16(frame + ip + 2, (uint16_t)(len - ip));
	put16(frame + ip + 10, 0);
	c = fold(sum_bytes(frame + ip, tcp - ip, 0));
	memcpy(frame + ip + 10, &c, 2);
	put16(pseudo + 2, (uint16_t)(len - tcp));
	/* The field holds the sum itself, not its complement. */
	c = (uint16_t)~fold(sum_bytes(pseudo, 4, sum_bytes(frame + ip + 12, 8, 0)));
	memcpy(frame + tcp + 16, &c, 2);
}

int net_segment(uint8_t *frame, size_t len, const struct net_offload *o, net_frame_fn *fn, void *opaque)
{
	uint8_t segment[NET_FRAME_MAX];
	struct layout l;
	uint16_t id;
	uint32_t seq;
	uint8_t flags;

	if (!o->gso_type) {
		if (o->flags & NET_OFFLOAD_CSUM)
			net_complete_checksum(frame, len, o);
		fn(opaque, frame, len);
		return 0;
	}
	if (find_layout(frame, len, (o->gso_type & ~NET_GSO_ECN) == NET_GSO_TCPV6, &l))
		return -EINVAL;
	id = get16(frame + l.ip + 4);
	seq = get32(frame + l.tcp + 4);
	flags = frame[l.tcp + 13];
	memcpy(segment, frame, l.payload);
	for (size_t at = l.payload, n;; at += n) {
		bool last;

		n = len - at < o->gso_size ? len - at : o->gso_size;
		last = at + n == len;
		memcpy(segment + l.payload, frame + at, n);
		put32(segment + l.tcp + 4, seq + (uint32_t)(at - l.payload));
		segment[l.tcp + 13] = (uint8_t)(flags & ~((last ? 0 : TCP_FIN | TCP_PSH) | (at == l.payload ? 0 : TCP_CWR)));
		finish_segment(segment, l.payload + n, &l, id++);
		fn(opaque, segment, l.payload + n);
		if (last)
			return 0;
	}
}
