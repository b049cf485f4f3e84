// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A learning Ethernet switch (IEEE 802.1Q, 8.6 to 8.8, without VLANs and without a spanning tree), without sockets.
 *
 * The table of addresses is a hash with chains over a fixed pool. An address is forgotten SWITCH_AGE_MS after it was last
 * heard; a port can hold SWITCH_MACS_PER_PORT of them, so that one that invents addresses fills neither the table
 * nor takes others their place: what is not learnt is flooded. The hash has a seed that ports do not know.
 */
#include "net/switch_private.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 2048, NONE = 0xffff };

struct entry {
	uint64_t mac; /* 48 bits */
	uint64_t heard_ms;
	uint16_t next, port;
};

struct switch_core {
	uint64_t seed, swept_ms;
	uint64_t used, isolated, promiscuous, uplinks; /* a bit a port */
	uint16_t bucket[BUCKETS];
	uint16_t spare; /* chain of entries that are not in use */
	unsigned count[SWITCH_PORTS_MAX];
	struct entry entry[SWITCH_MACS_MAX];
};

struct switch_core *switch_core_create(uint64_t seed)
{
	struct switch_core *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->seed = seed | 1;
	memset(c->bucket, 0xff, sizeof(c->bucket));
	for (unsigned i = 0; i < SWITCH_MACS_MAX; i++)
		c->entry[i].next = (uint16_t)(i + 1 < SWITCH_MACS_MAX ? i + 1 : NONE);
	return c;
}

void switch_core_destroy(struct switch_core *c)
{
	free(c);
}

static uint64_t read_mac(const uint8_t *p)
{
	uint64_t mac = 0;

	for (unsigned i = 0; i < NET_MAC_BYTES; i++)
		mac = mac << 8 | p[i];
	return mac;
}

static uint16_t *bucket_of(struct switch_core *c, uint64_t mac)
{
	uint64_t h = (mac ^ c->seed) * 0xff51afd7ed558ccdu;

	h = (h ^ h >> 33 ^ c->seed >> 17) * 0xc4ceb9fe1a85ec53u;
	return &c->bucket[h >> 53];
}

_Static_assert(BUCKETS == 1 << (64 - 53), "bucket_of");

static void remove_at(struct switch_core *c, uint16_t *link)
{
	uint16_t i = *link;

	*link = c->entry[i].next;
	c->count[c->entry[i].port]--;
	c->entry[i].next = c->spare;
	c->spare = i;
}

static bool too_old(const struct entry *e, uint64_t now_ms)
{
	return now_ms - e->heard_ms >= SWITCH_AGE_MS;
}

/* Forgets what is too old. */
static void sweep(struct switch_core *c, uint64_t now_ms)
{
	for (unsigned b = 0; b < BUCKETS; b++) {
		for (uint16_t *link = &c->bucket[b]; *link != NONE;) {
			struct entry *e = &c->entry[*link];

			if (too_old(e, now_ms))
				remove_at(c, link);
			else
				link = &e->next;
		}
	}
}

void switch_core_join(struct switch_core *c, unsigned port, unsigned flags)
{
	uint64_t bit = 1ull << port;

	c->used |= bit;
	c->isolated |= flags & SWITCH_ISOLATED ? bit : 0;
	c->promiscuous |= flags & SWITCH_PROMISCUOUS ? bit : 0;
	c->uplinks |= flags & SWITCH_UPLINK ? bit : 0;
}

void switch_core_leave(struct switch_core *c, unsigned port)
{
	uint64_t keep = ~(1ull << port);

	c->used &= keep;
	c->isolated &= keep;
	c->promiscuous &= keep;
	c->uplinks &= keep;
	for (unsigned b = 0; b < BUCKETS; b++) {
		for (uint16_t *link = &c->bucket[b]; *link != NONE;) {
			if (c->entry[*link].port == port)
				remove_at(c, link);
			else
				link = &c->entry[*link].next;
		}
	}
}

static void learn(struct switch_core *c, unsigned port, uint64_t mac, uint64_t now_ms)
{
	uint16_t *bucket = bucket_of(c, mac), i;
	struct entry *e;

	for (i = *bucket; i != NONE; i = c->entry[i].next) {
		e = &c->entry[i];
		if (e->mac != mac)
			continue;
		if (e->port != port) {
			/* It has moved; not to a port that has too many, which would get others' frames for nothing. */
			if (c->count[port] >= SWITCH_MACS_PER_PORT)
				return;
			c->count[e->port]--;
			c->count[port]++;
			e->port = (uint16_t)port;
		}
		e->heard_ms = now_ms;
		return;
	}
	/* Full: those too old make room, looked for at most once a second. */
	if ((c->count[port] >= SWITCH_MACS_PER_PORT || c->spare == NONE) && now_ms - c->swept_ms >= 1000) {
		c->swept_ms = now_ms;
		sweep(c, now_ms);
	}
	if (c->count[port] >= SWITCH_MACS_PER_PORT || c->spare == NONE)
		return;
	i = c->spare;
	e = &c->entry[i];
	c->spare = e->next;
	*e = (struct entry){ .mac = mac, .heard_ms = now_ms, .next = *bucket, .port = (uint16_t)port };
	*bucket = i;
	c->count[port]++;
}

/* The port where @mac was heard, or SWITCH_PORTS_MAX. */
static unsigned look_up(struct switch_core *c, uint64_t mac, uint64_t now_ms)
{
	for (uint16_t *link = bucket_of(c, mac); *link != NONE; link = &c->entry[*link].next) {
		struct entry *e = &c->entry[*link];

		if (e->mac != mac)
			continue;
		if (!too_old(e, now_ms))
			return e->port;
		remove_at(c, link);
		break;
	}
	return SWITCH_PORTS_MAX;
}

/* 01-80-C2-00-00-00 to -0F: for the next bridge, not for those behind it (8.6.3). */
static bool link_local(uint64_t mac)
{
	return (mac & ~0xfull) == 0x0180c2000000u;
}

uint64_t switch_core_forward(struct switch_core *c, unsigned port, const uint8_t *header, uint64_t now_ms, bool *bad)
{
	uint64_t to = read_mac(header), from = read_mac(header + NET_MAC_BYTES), self = 1ull << port, out;
	unsigned at;

	*bad = !(c->used & self) || !from || from >> 40 & 1 || link_local(to);
	if (*bad)
		return 0;
	learn(c, port, from, now_ms);
	at = to >> 40 & 1 ? SWITCH_PORTS_MAX : look_up(c, to, now_ms);
	out = at == SWITCH_PORTS_MAX ? c->used : 1ull << at;
	out |= c->promiscuous;
	if (c->isolated & self)
		out &= ~c->isolated | c->uplinks;
	return out & c->used & ~self;
}

unsigned switch_core_macs(struct switch_core *c, struct switch_mac_info *to, unsigned max, uint64_t now_ms)
{
	unsigned n = 0;

	sweep(c, now_ms);
	for (unsigned b = 0; b < BUCKETS; b++) {
		for (uint16_t i = c->bucket[b]; i != NONE && n < max; i = c->entry[i].next, n++) {
			const struct entry *e = &c->entry[i];

			to[n] = (struct switch_mac_info){ .port = e->port, .age_s = (uint32_t)((now_ms - e->heard_ms) / 1000) };
			for (unsigned j = 0; j < NET_MAC_BYTES; j++)
				to[n].mac[j] = (uint8_t)(e->mac >> 8 * (5 - j));
		}
	}
	return n;
}

unsigned switch_core_macs_of(const struct switch_core *c, unsigned port)
{
	return c->count[port];
}

/* --- the protocol's messages --- */

static bool has_end(const char *s, size_t size)
{
	return memchr(s, 0, size) != NULL;
}

const char *switch_hello_check(const struct switch_hello *h, size_t len)
{
	if (len < offsetof(struct switch_hello, kind) || h->magic != SWITCH_MAGIC)
		return "that is no port of a switch";
	if (h->version != SWITCH_VERSION || len != sizeof(*h))
		return "the switch was started by another version of subring";
	if ((h->kind != SWITCH_PORT && h->kind != SWITCH_QUERY) || h->flags & ~(SWITCH_ISOLATED | SWITCH_PROMISCUOUS) ||
	    !has_end(h->vm, sizeof(h->vm)) || !has_end(h->uplink, sizeof(h->uplink)))
		return "the switch does not understand what was asked";
	return NULL;
}

bool switch_report_check(const struct switch_report *r, size_t len)
{
	if (len < sizeof(*r) || r->magic != SWITCH_MAGIC || r->version != SWITCH_VERSION || r->ports > SWITCH_PORTS_MAX ||
	    r->macs > SWITCH_MACS_MAX)
		return false;
	if (len != sizeof(*r) + r->ports * sizeof(r->port[0]) + r->macs * sizeof(struct switch_mac_info))
		return false;
	for (uint32_t i = 0; i < r->ports; i++) {
		if (!has_end(r->port[i].vm, sizeof(r->port[i].vm)))
			return false;
	}
	return true;
}
