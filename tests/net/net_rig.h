// SPDX-License-Identifier: GPL-2.0-or-later
/* Frames made by hand, and a device that keeps what it receives. */
#ifndef SUBRING_TESTS_NET_RIG_H
#define SUBRING_TESTS_NET_RIG_H

#include "net/net_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* --- a device --- */

enum { KEPT_MAX = 8192 };

struct kept {
	size_t len;
	struct net_offload o;
	uint8_t *bytes;
};

struct device {
	struct net_port *port;
	struct kept kept[KEPT_MAX];
	unsigned count, writables;
	/* NULL, or what `receive` does besides. */
	void (*also)(struct device *d);
};

static inline void device_receive(void *opaque, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	struct device *d = opaque;
	struct kept *k = &d->kept[d->count];

	assert_true(d->count < KEPT_MAX);
	k->len = net_iov_len(iov, iovs);
	k->o = *o;
	k->bytes = malloc(k->len);
	net_iov_read(iov, iovs, 0, k->bytes, k->len);
	d->count++;
	if (d->also)
		d->also(d);
}

static inline void device_writable(void *opaque)
{
	((struct device *)opaque)->writables++;
}

static const struct net_port_ops device_ops = { .receive = device_receive, .writable = device_writable };

static inline void device_forget(struct device *d)
{
	while (d->count)
		free(d->kept[--d->count].bytes);
}

/* A loop, and devices (up to NULL) without ports. */
static inline int rig_make(struct loop **loop, struct device *const *d)
{
	for (; *d; d++)
		memset(*d, 0, sizeof(**d));
	return loop_create(loop);
}

static inline void rig_unplug(struct device *const *d)
{
	for (; *d; d++) {
		net_close((*d)->port);
		device_forget(*d);
	}
}

static inline int device_send(struct device *d, const void *frame, size_t len, const struct net_offload *o)
{
	struct iovec iov[2] = { { (void *)frame, len / 3 }, { (uint8_t *)frame + len / 3, len - len / 3 } };

	return net_send(d->port, iov, 2, o);
}

/* Opens a port with the value @text of --net. */
static inline void device_open(struct device *d, struct loop *loop, const char *text)
{
	struct net_config c = { .vm = "rig" };
	struct error err;

	if (net_config_parse(text, &c, &err) || net_open(&c, loop, &device_ops, d, &d->port, &err)) {
		error_print(&err);
		fail();
	}
}

static inline void stop_loop(void *opaque)
{
	loop_stop(opaque);
}

/* Runs the loop until @done says so, or for 10 s, which is a failure. */
static inline bool run_until(struct loop *loop, bool (*done)(void *opaque), void *opaque)
{
	uint64_t end = host_monotonic_ns() + 10000000000u;

	loop_set_alarm_fn(loop, stop_loop, loop);
	while (!done(opaque)) {
		if (host_monotonic_ns() > end)
			return false;
		loop_alarm(loop, host_monotonic_ns() + 2000000);
		assert_int_equal(loop_run(loop), 0);
	}
	return true;
}

/* Gives the interface @name the address @addr/24; its own hardware address goes to @mac unless that is NULL. */
static inline void rig_set_address(const char *name, uint32_t addr, uint8_t *mac)
{
	struct ifreq r = { .ifr_flags = 0 };
	struct sockaddr_in in = { .sin_family = AF_INET };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	in.sin_addr.s_addr = htonl(addr);
	memcpy(&r.ifr_addr, &in, sizeof(in));
	assert_int_equal(ioctl(s, SIOCSIFADDR, &r), 0);
	in.sin_addr.s_addr = htonl(0xffffff00);
	memcpy(&r.ifr_addr, &in, sizeof(in));
	assert_int_equal(ioctl(s, SIOCSIFNETMASK, &r), 0);
	assert_int_equal(ioctl(s, SIOCGIFHWADDR, &r), 0);
	if (mac)
		memcpy(mac, r.ifr_hwaddr.sa_data, 6);
	close(s);
}

/* --- frames --- */

/* RFC 1071, byte by byte: not the one under test. */
static inline uint32_t rig_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++) {
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static inline uint16_t rig_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t rig_get32(const uint8_t *p)
{
	return (uint32_t)rig_get16(p) << 16 | rig_get16(p + 2);
}

static inline void rig_put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void rig_put32(uint8_t *p, uint32_t v)
{
	rig_put16(p, v >> 16);
	rig_put16(p + 2, v & 0xffff);
}

static inline void rig_ethernet(uint8_t *f, const uint8_t *to, const uint8_t *from, unsigned type)
{
	memcpy(f, to, 6);
	memcpy(f + 6, from, 6);
	rig_put16(f + 12, type);
}

/* The sum over the pseudo header of IPv4 and everything behind it: 0xffff when the checksum is right. */
static inline uint32_t rig_l4_sum4(const uint8_t *ip, size_t ip_len)
{
	size_t ihl = 4u * (ip[0] & 15), l4 = ip_len - ihl;

	return rig_sum(ip + ihl, l4, rig_sum(ip + 12, 8, 0) + ip[9] + (uint32_t)l4);
}

static inline uint32_t rig_l4_sum6(const uint8_t *ip, size_t ip_len)
{
	size_t l4 = ip_len - 40;

	return rig_sum(ip + 40, l4, rig_sum(ip + 8, 32, 0) + ip[6] + (uint32_t)l4);
}

static inline void rig_ipv4(uint8_t *ip, size_t ip_len, unsigned protocol, uint32_t from, uint32_t to)
{
	memset(ip, 0, 20);
	ip[0] = 0x45;
	rig_put16(ip + 2, (unsigned)ip_len);
	ip[8] = 64;
	ip[9] = (uint8_t)protocol;
	rig_put32(ip + 12, from);
	rig_put32(ip + 16, to);
	rig_put16(ip + 10, ~rig_sum(ip, 20, 0));
}

struct rig_tcp {
	uint32_t from, to, seq, ack;
	uint16_t from_port, to_port;
	uint8_t flags;
};

/* A TCP segment over IPv4 at @f with @len bytes of @data; with a whole checksum. Returns the frame's length. */
static inline size_t rig_tcp4(uint8_t *f, const uint8_t *to, const uint8_t *from, const struct rig_tcp *t,
			      const void *data, size_t len)
{
	uint8_t *ip = f + 14, *tcp = ip + 20;

	rig_ethernet(f, to, from, 0x0800);
	rig_ipv4(ip, 40 + len, 6, t->from, t->to);
	memset(tcp, 0, 20);
	rig_put16(tcp, t->from_port);
	rig_put16(tcp + 2, t->to_port);
	rig_put32(tcp + 4, t->seq);
	rig_put32(tcp + 8, t->ack);
	tcp[12] = 0x50;
	tcp[13] = t->flags;
	rig_put16(tcp + 14, 65535);
	if (len)
		memcpy(tcp + 20, data, len);
	rig_put16(tcp + 16, ~rig_l4_sum4(ip, 40 + len));
	return 54 + len;
}

#endif
