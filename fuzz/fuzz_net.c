// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzzes what reaches src/net/ from outside: the first byte chooses. 0: frames into the learning switch, with ports that come and
 * go. 1: messages of the switch's protocol. 2: frames whose offloads are done in software; what comes out is never
 * more than went in allows. 3: values of --net and --publish. 4: frames into the user's network.
 * Sources: net_dep (switch_core.c, segment.c, config.c, user.c).
 */
#include "net/switch_private.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each step is 16 bytes: what, port, time, and the start of a frame. */
static void fuzz_switch(const uint8_t *data, size_t size)
{
	static struct switch_mac_info macs[SWITCH_MACS_MAX];
	struct switch_core *c = switch_core_create(data[0]);
	uint64_t now = 0, used = 0;

	for (; size >= 16; data += 16, size -= 16) {
		unsigned port = data[1] % SWITCH_PORTS_MAX;
		uint64_t out, bit = 1ull << port;
		bool bad;

		now += (uint64_t)(data[0] >> 4) * 20000;
		switch (data[0] & 15) {
		case 0:
			if (!(used & bit))
				switch_core_join(c, port, data[2] & 7);
			used |= bit;
			break;
		case 1:
			if (used & bit)
				switch_core_leave(c, port);
			used &= ~bit;
			break;
		case 2:
			if (switch_core_macs(c, macs, data[2], now) > data[2])
				abort();
			break;
		default:
			out = switch_core_forward(c, port, data + 2, now, &bad);
			if (out & ~used || out & bit || (bad && out) || switch_core_macs_of(c, port) > SWITCH_MACS_PER_PORT)
				abort();
		}
	}
	if (switch_core_macs(c, macs, SWITCH_MACS_MAX, now) > SWITCH_MACS_MAX)
		abort();
	switch_core_destroy(c);
}

static void fuzz_protocol(const uint8_t *data, size_t size)
{
	struct switch_report *r = malloc(size + 8);
	struct switch_hello h = { .magic = 0 };

	memcpy(&h, data, size < sizeof(h) ? size : sizeof(h));
	if (!switch_hello_check(&h, size) && strlen(h.vm) + strlen(h.uplink) > sizeof(h))
		abort();
	memcpy(r, data, size);
	if (switch_report_check(r, size)) {
		for (uint32_t i = 0; i < r->ports; i++) {
			if (strlen(r->port[i].vm) >= sizeof(r->port[i].vm))
				abort();
		}
		for (uint32_t i = 0; i < r->macs; i++) {
			if ((const uint8_t *)&switch_report_macs(r)[i + 1] > (const uint8_t *)r + size)
				abort();
		}
	}
	free(r);
}

struct sums {
	size_t frames, bytes;
};

static void sum(void *opaque, const void *frame, size_t len)
{
	struct sums *s = opaque;

	if (len < NET_HEADER_BYTES || len > NET_FRAME_MAX)
		abort();
	s->frames++;
	s->bytes += len;
}

static void fuzz_segment(const uint8_t *data, size_t size)
{
	static uint8_t frame[NET_FRAME_MAX];
	struct net_offload o;
	struct sums s = { 0 };

	if (size < sizeof(o))
		return;
	memcpy(&o, data, sizeof(o));
	size -= sizeof(o);
	size = size < NET_FRAME_MAX ? size : NET_FRAME_MAX;
	memcpy(frame, data + sizeof(o), size);
	if (size < NET_HEADER_BYTES || net_offload_check(&o, size))
		return;
	if (net_segment(frame, size, &o, sum, &s) == 0 && (!s.frames || s.frames > size || s.bytes < size))
		abort();
}

static void fuzz_words(const uint8_t *data, size_t size)
{
	struct net_config c = { .vm = "v" };
	struct error err;
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = 0;
	if (net_config_parse(text, &c, &err) == 0 && (strlen(c.name) > NET_NAME_MAX || strchr(c.name, '/') || *c.name == '.'))
		abort();
	net_publish_parse(text, &c, &err);
	free(text);
}

static void receive(void *opaque, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	if (net_offload_check(o, net_iov_len(iov, iovs)))
		abort();
}

static void writable(void *opaque)
{
}

/*
 * For a device with offloads or without: frames of up to 255 bytes behind a byte with their length. Restricted, so that
 * nothing leaves this machine.
 */
static void fuzz_user(const uint8_t *data, size_t size)
{
	static const struct net_port_ops ops = { .receive = receive, .writable = writable };
	static struct net_port *port;
	static struct loop *loop;

	if (!port) {
		struct net_config c = { .kind = NET_USER, .restricted = true };

		if (loop_create(&loop) || net_open(&c, loop, &ops, NULL, &port, NULL))
			abort();
	}
	net_set_offloads(port, data[0] & 1 ? net_features(port) : 0);
	data++;
	size--;
	while (size > 1) {
		size_t len = data[0] < size - 1 ? data[0] : size - 1;
		struct iovec iov = { (void *)(data + 1), len };

		net_send(port, &iov, 1, NULL);
		data += 1 + len;
		size -= 1 + len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parts[])(const uint8_t *data, size_t size) = {
		fuzz_switch, fuzz_protocol, fuzz_segment, fuzz_words, fuzz_user,
	};

	if (size > 1)
		parts[data[0] % 5](data + 1, size - 1);
	return 0;
}
