// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A network device's control queue (virtio 1.2, 5.1.6.5), the filters that it sets, and saved state.
 *
 * A command is class, command and data, readable, and a byte for the answer, the first writable one.
 */
#include "virtio/net_private.h"

#include <errno.h>
#include <string.h>

enum { CLASS_RX, CLASS_MAC, CLASS_VLAN, CLASS_ANNOUNCE, CLASS_MQ, CLASS_GUEST_OFFLOADS };
enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST };
enum { MAC_TABLE_SET, MAC_ADDR_SET };
enum { ANSWER_OK, ANSWER_ERR };
enum { DATA = 2 };

unsigned net_control_queue(const struct virtio_net *n)
{
	return virtio_has(&n->dev, NET_F_MQ) ? n->pairs * 2 : 2;
}

void net_control_reset(struct virtio_net *n)
{
	/* 5.1.6.5.1: without a word of the driver everything comes in. */
	n->promiscuous = true;
	n->all_multicast = n->all_unicast = n->no_multicast = n->no_unicast = n->no_broadcast = false;
	n->unicasts = n->multicasts = 0;
	memset(n->unicast, 0, sizeof(n->unicast));
	memset(n->multicast, 0, sizeof(n->multicast));
	n->pairs_used = 1;
	n->offloads = 0;
	n->announce = false;
}

/* 5.1.3.1: bits that need others. */
bool net_features_ok(void *model, uint64_t f)
{
	if ((f & (NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6)) && !(f & NET_F_GUEST_CSUM))
		return false;
	if ((f & NET_F_GUEST_ECN) && !(f & (NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6)))
		return false;
	if ((f & (NET_F_HOST_TSO4 | NET_F_HOST_TSO6)) && !(f & NET_F_CSUM))
		return false;
	if ((f & NET_F_HOST_ECN) && !(f & (NET_F_HOST_TSO4 | NET_F_HOST_TSO6)))
		return false;
	if ((f & (NET_F_CTRL_RX | NET_F_GUEST_ANNOUNCE | NET_F_MQ | NET_F_CTRL_MAC_ADDR | NET_F_CTRL_GUEST_OFFLOADS)) &&
	    !(f & NET_F_CTRL_VQ))
		return false;
	return !(f & NET_F_CTRL_RX_EXTRA) || (f & NET_F_CTRL_RX);
}

/* --- filters --- */

static bool in_table(const struct net_mac *table, uint32_t count, const uint8_t *mac)
{
	if (count > NET_MACS_MAX)
		return true;
	for (uint32_t i = 0; i < count; i++)
		if (!memcmp(table[i].byte, mac, NET_MAC_BYTES))
			return true;
	return false;
}

bool net_filter(const struct virtio_net *n, const uint8_t *head, size_t len)
{
	static const uint8_t broadcast[NET_MAC_BYTES] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (len < NET_HEADER_BYTES)
		return false;
	if (n->promiscuous)
		return true;
	if (!memcmp(head, broadcast, NET_MAC_BYTES))
		return !n->no_broadcast;
	if (head[0] & 1)
		return !n->no_multicast && (n->all_multicast || in_table(n->multicast, n->multicasts, head));
	if (n->no_unicast)
		return false;
	return n->all_unicast || !memcmp(head, n->dev.config, NET_MAC_BYTES) || in_table(n->unicast, n->unicasts, head);
}

/* --- commands: whether it was carried out --- */

/* @len bytes of the command's data from @at on. */
static bool data(struct virtio_net *n, unsigned q, uint64_t at, void *bytes, unsigned len)
{
	return !virtq_read(&n->dev.queue[q], &n->control, DATA + at, bytes, len);
}

static bool set_rx(struct virtio_net *n, unsigned q, uint8_t command)
{
	bool *const flag[] = {
		[RX_PROMISC] = &n->promiscuous, [RX_ALLMULTI] = &n->all_multicast, [RX_ALLUNI] = &n->all_unicast,
		[RX_NOMULTI] = &n->no_multicast, [RX_NOUNI] = &n->no_unicast,	   [RX_NOBCAST] = &n->no_broadcast,
	};
	uint8_t on;

	if (!virtio_has(&n->dev, command > RX_ALLMULTI ? NET_F_CTRL_RX_EXTRA : NET_F_CTRL_RX) || command > RX_NOBCAST ||
	    !data(n, q, 0, &on, 1))
		return false;
	*flag[command] = on;
	return true;
}

/* One of the two tables at @at: a count and addresses. Where the next one begins, or 0. */
static uint64_t read_table(struct virtio_net *n, unsigned q, uint64_t at, uint32_t *count, struct net_mac *table)
{
	uint64_t end;

	if (!data(n, q, at, count, 4))
		return 0;
	end = at + 4 + (uint64_t)*count * NET_MAC_BYTES;
	if (end + DATA > n->control.out_len)
		return 0;
	/* Of more than fit none is kept: then all come in. */
	if (*count <= NET_MACS_MAX && !data(n, q, at + 4, table, *count * NET_MAC_BYTES))
		return 0;
	return end;
}

static bool set_tables(struct virtio_net *n, unsigned q)
{
	struct net_mac uni[NET_MACS_MAX] = { 0 }, multi[NET_MACS_MAX] = { 0 };
	uint32_t unis, multis;
	uint64_t next = read_table(n, q, 0, &unis, uni);

	if (!next || !read_table(n, q, next, &multis, multi))
		return false;
	n->unicasts = unis > NET_MACS_MAX ? NET_MACS_MAX + 1 : unis;
	n->multicasts = multis > NET_MACS_MAX ? NET_MACS_MAX + 1 : multis;
	memcpy(n->unicast, uni, sizeof(uni));
	memcpy(n->multicast, multi, sizeof(multi));
	return true;
}

static bool set_mac(struct virtio_net *n, unsigned q)
{
	uint8_t mac[NET_MAC_BYTES];

	if (!virtio_has(&n->dev, NET_F_CTRL_MAC_ADDR) || !data(n, q, 0, mac, sizeof(mac)))
		return false;
	memcpy(n->dev.config, mac, sizeof(mac)); /* until the next reset */
	return true;
}

static bool set_pairs(struct virtio_net *n, unsigned q)
{
	uint16_t pairs;

	if (!virtio_has(&n->dev, NET_F_MQ) || !data(n, q, 0, &pairs, 2) || !pairs || pairs > n->pairs)
		return false;
	n->pairs_used = pairs;
	return true;
}

static bool set_offloads(struct virtio_net *n, unsigned q)
{
	uint64_t o;

	if (!virtio_has(&n->dev, NET_F_CTRL_GUEST_OFFLOADS) || !data(n, q, 0, &o, 8) ||
	    (o & ~(n->dev.driver_features & NET_GUEST_OFFLOADS)))
		return false;
	n->offloads = o;
	virtio_work(&n->dev);
	return true;
}

void net_announce(struct virtio_net *n)
{
	if (virtio_has(&n->dev, NET_F_GUEST_ANNOUNCE | NET_F_STATUS))
		virtio_config_change(&n->dev, NET_CONFIG_STATUS, 2,
				     virtio_config_get(&n->dev, NET_CONFIG_STATUS, 2) | NET_S_ANNOUNCE);
}

static bool announced(struct virtio_net *n)
{
	uint8_t status = n->dev.config[NET_CONFIG_STATUS];

	n->dev.config[NET_CONFIG_STATUS] = status & ~NET_S_ANNOUNCE;
	n->dev.config_reset[NET_CONFIG_STATUS] &= (uint8_t)~NET_S_ANNOUNCE;
	return true;
}

static bool command(struct virtio_net *n, unsigned q)
{
	uint8_t c[2];

	if (virtq_read(&n->dev.queue[q], &n->control, 0, c, 2))
		return false;
	switch (c[0]) {
	case CLASS_RX: return set_rx(n, q, c[1]);
	case CLASS_MAC: return c[1] == MAC_TABLE_SET ? set_tables(n, q) : c[1] == MAC_ADDR_SET && set_mac(n, q);
	case CLASS_ANNOUNCE: return c[1] == 0 && announced(n);
	case CLASS_MQ: return c[1] == 0 && set_pairs(n, q);
	case CLASS_GUEST_OFFLOADS: return c[1] == 0 && set_offloads(n, q);
	default: return false;
	}
}

enum virtio_queue_result net_control(struct virtio_net *n, unsigned q)
{
	while (virtio_pop(&n->dev, q, &n->control)) {
		uint8_t answer = command(n, q) ? ANSWER_OK : ANSWER_ERR;

		/* Without a place for the answer the driver broke the rules. */
		if (virtq_write(&n->dev.queue[q], &n->control, 0, &answer, 1))
			virtio_needs_reset(&n->dev);
		virtio_push(&n->dev, q, &n->control, n->control.in_len > 0);
	}
	return VIRTIO_QUEUE_DONE;
}

/* --- state --- */

static int loaded(void *chip)
{
	struct virtio_net *n = chip;

	if (!n->pairs_used || n->pairs_used > n->pairs || n->unicasts > NET_MACS_MAX + 1 ||
	    n->multicasts > NET_MACS_MAX + 1 || (n->offloads & ~(n->dev.driver_features & NET_GUEST_OFFLOADS)))
		return -EPROTO;
	virtio_lock(&n->dev);
	n->announce = true;
	virtio_work(&n->dev);
	virtio_unlock(&n->dev);
	return 0;
}

static const struct state_field mac_fields[] = { STATE_BYTES(struct net_mac, byte), STATE_END };
static const struct state_field fields[] = {
	STATE_UINT(struct virtio_net, promiscuous),
	STATE_UINT(struct virtio_net, all_multicast),
	STATE_UINT(struct virtio_net, all_unicast),
	STATE_UINT(struct virtio_net, no_multicast),
	STATE_UINT(struct virtio_net, no_unicast),
	STATE_UINT(struct virtio_net, no_broadcast),
	STATE_UINT(struct virtio_net, unicasts),
	STATE_UINT(struct virtio_net, multicasts),
	STATE_STRUCTS(struct virtio_net, unicast, mac_fields),
	STATE_STRUCTS(struct virtio_net, multicast, mac_fields),
	STATE_UINT(struct virtio_net, pairs_used),
	STATE_UINT(struct virtio_net, offloads),
	STATE_END,
};
static const struct state_class class = { "virtio-net", 1, fields };
const struct chip_ops virtio_net_ops = { .state = &class, .loaded = loaded };
