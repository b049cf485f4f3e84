// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What all ports do, whatever is behind them.
 *
 * Sending:   check, count, capture; what the back-end does not take is done in software; the back-end.
 * Receiving: check; what the device does not take is done in software; capture; the device, or, while it is
 *            paused, the backlog.
 *
 * Invariants:
 *  - Frames reach the device in the order in which they came: while `held` is not empty everything goes behind it.
 *  - A frame that was made into several is never half refused: net_send asks the back-end for the first piece, and
 *    the rest waits in `unsent` when it says -EAGAIN after that. Until `unsent` is empty net_send says -EAGAIN.
 *  - The backlogs are bounded in frames and in bytes.
 */
#include "net/net_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const drop_names[] = {
#define X(id, name) [NET_DROP_##id] = name,
	NET_DROPS(X)
#undef X
};

const char *net_drop_name(enum net_drop drop)
{
	return drop_names[drop];
}

size_t net_iov_len(const struct iovec *iov, unsigned iovs)
{
	size_t len = 0;

	for (unsigned i = 0; i < iovs; i++)
		len += iov[i].iov_len;
	return len;
}

size_t net_iov_read(const struct iovec *iov, unsigned iovs, size_t offset, void *to, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < iovs && done < len; i++) {
		size_t n = iov[i].iov_len;

		if (offset >= n) {
			offset -= n;
			continue;
		}
		n -= offset;
		n = n < len - done ? n : len - done;
		memcpy((uint8_t *)to + done, (const uint8_t *)iov[i].iov_base + offset, n);
		offset = 0;
		done += n;
	}
	return done;
}

void net_drop(struct net_port *p, enum net_drop why)
{
	p->stats.dropped[why]++;
}

/* --- none --- */

static int none_open(struct net_port *p, struct error *err)
{
	p->takes = NET_TAKES_CSUM | NET_TAKES_TSO4 | NET_TAKES_TSO6;
	snprintf(p->describe, sizeof(p->describe), "no network");
	return 0;
}

static void none_close(struct net_port *p)
{
}

static int none_send(struct net_port *p, const struct iovec *iov, unsigned iovs, size_t len,
		     const struct net_offload *o)
{
	net_drop(p, NET_DROP_UNPLUGGED);
	return 0;
}

static const struct net_backend net_none_backend = { .open = none_open, .close = none_close, .send = none_send };

/* --- life --- */

int net_open(const struct net_config *config, struct loop *loop, const struct net_port_ops *ops, void *opaque,
	     struct net_port **out, struct error *err)
{
	static const struct net_backend *const backends[] = {
		[NET_NONE] = &net_none_backend,
		[NET_USER] = &net_user_backend,
		[NET_TAP] = &net_tap_backend,
		[NET_SWITCH] = &net_switch_backend,
	};
	struct net_port *p;
	int ret;

	if (config->publishes && config->kind != NET_USER)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot publish port %u of the host",
				 "only the user's own network publishes ports; on others the guest has an address of its own",
				 "use --net user, or leave --publish out", config->publish[0].host);
	p = calloc(1, sizeof(*p));
	if (!p)
		return error_set(err, -ENOMEM, STATUS_HOST, "cannot open a network", "the host has no memory left",
				 "end other programs");
	p->config = *config;
	p->backend = backends[config->kind];
	p->loop = loop;
	p->ops = ops;
	p->opaque = opaque;
	pieces_init(&p->held, HELD_FRAMES_MAX, HELD_BYTES_MAX);
	pieces_init(&p->unsent, HELD_FRAMES_MAX * 4, HELD_BYTES_MAX);
	if (*config->pcap) {
		ret = pcap_open(config->pcap, &p->pcap, err);
		if (ret)
			goto fail;
	}
	ret = p->backend->open(p, err);
	if (ret)
		goto fail;
	*out = p;
	return 0;

fail:
	pcap_close(p->pcap);
	free(p);
	return ret;
}

void net_close(struct net_port *p)
{
	if (!p)
		return;
	p->backend->close(p);
	pcap_close(p->pcap);
	pieces_clear(&p->held);
	pieces_clear(&p->unsent);
	free(p);
}

/* --- to the device --- */

static void capture(struct net_port *p, const struct iovec *iov, unsigned iovs)
{
	if (p->pcap && !pcap_frame(p->pcap, iov, iovs))
		net_drop(p, NET_DROP_CAPTURE);
}

static void hand_over(struct net_port *p, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	p->stats.received_frames++;
	p->stats.received_bytes += net_iov_len(iov, iovs);
	p->ops->receive(p->opaque, iov, iovs, o);
}

/* Hands over what waits, as long as the device takes it. */
static void release_held(struct net_port *p)
{
	struct piece *f;

	while (!p->paused && (f = pieces_first(&p->held))) {
		struct iovec iov = { .iov_base = f->bytes, .iov_len = f->len };

		hand_over(p, &iov, 1, &f->offload);
		pieces_drop_first(&p->held);
	}
}

/* A frame that the device takes as it is. What comes while `receive` runs (it may have sent something) waits. */
static void give(struct net_port *p, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	capture(p, iov, iovs);
	if (p->releasing || !net_wants(p)) {
		if (!pieces_put(&p->held, iov, iovs, o))
			net_drop(p, NET_DROP_PAUSED);
		return;
	}
	p->releasing = true;
	hand_over(p, iov, iovs, o);
	release_held(p);
	p->releasing = false;
}

static void give_segment(void *opaque, const void *frame, size_t len)
{
	static const struct net_offload nothing;
	struct iovec iov = { .iov_base = (void *)frame, .iov_len = len };

	give(opaque, &iov, 1, &nothing);
}

static bool sane(struct net_port *p, unsigned iovs, size_t len, const struct net_offload *o)
{
	if (len < NET_HEADER_BYTES || len > NET_FRAME_MAX || iovs > NET_IOVS_MAX) {
		net_drop(p, len < NET_HEADER_BYTES ? NET_DROP_SHORT : NET_DROP_LONG);
		return false;
	}
	if (net_offload_check(o, len)) {
		net_drop(p, NET_DROP_OFFLOAD);
		return false;
	}
	return true;
}

void net_deliver(struct net_port *p, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	size_t len = net_iov_len(iov, iovs);
	struct net_offload clean = *o;

	if (!sane(p, iovs, len, o))
		return;
	/* GIVES_* are TAKES_* eight bits up. */
	if (net_offload_needs(o) & ~(p->gives >> 8)) {
		net_iov_read(iov, iovs, 0, p->flat_in, len);
		if (net_segment(p->flat_in, len, o, give_segment, p))
			net_drop(p, NET_DROP_OFFLOAD);
		return;
	}
	if (!(p->gives & NET_GIVES_CSUM))
		clean.flags &= (uint8_t)~NET_OFFLOAD_CSUM_VALID;
	give(p, iov, iovs, &clean);
}

void net_pause(struct net_port *p, bool paused)
{
	if (p->paused == paused)
		return;
	p->paused = paused;
	if (!paused && !p->releasing) {
		p->releasing = true;
		release_held(p);
		p->releasing = false;
	}
	if (p->backend->pause)
		p->backend->pause(p, p->paused);
}

/* --- from the device --- */

static void send_segment(void *opaque, const void *frame, size_t len)
{
	static const struct net_offload nothing;
	struct iovec iov = { .iov_base = (void *)frame, .iov_len = len };
	struct net_port *p = opaque;

	if (!pieces_first(&p->unsent) && p->backend->send(p, &iov, 1, len, &nothing) == 0)
		return;
	if (!pieces_put(&p->unsent, &iov, 1, &nothing))
		net_drop(p, NET_DROP_BACKEND);
}

int net_send(struct net_port *p, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	static const struct net_offload nothing;
	size_t len = net_iov_len(iov, iovs);
	bool early = p->backend->full != NULL;
	int ret = 0;

	o = o ? o : &nothing;
	if (pieces_first(&p->unsent) || (early && p->backend->full(p))) {
		p->blocked = true;
		return -EAGAIN;
	}
	if (!sane(p, iovs, len, o))
		return 0;
	if (early)
		capture(p, iov, iovs);
	if (net_offload_needs(o) & ~p->takes) {
		net_iov_read(iov, iovs, 0, p->flat_out, len);
		if (net_segment(p->flat_out, len, o, send_segment, p)) {
			net_drop(p, NET_DROP_OFFLOAD);
			return 0;
		}
	} else {
		ret = p->backend->send(p, iov, iovs, len, o);
	}
	if (ret) {
		p->blocked = true;
		return ret;
	}
	p->stats.sent_frames++;
	p->stats.sent_bytes += len;
	if (!early)
		capture(p, iov, iovs);
	return 0;
}

void net_writable(struct net_port *p)
{
	struct piece *f;

	while ((f = pieces_first(&p->unsent))) {
		struct iovec iov = { .iov_base = f->bytes, .iov_len = f->len };

		if (p->backend->send(p, &iov, 1, f->len, &f->offload) == -EAGAIN)
			return;
		pieces_drop_first(&p->unsent);
	}
	if (!p->blocked)
		return;
	p->blocked = false;
	p->ops->writable(p->opaque);
}

/* --- what there is to know --- */

unsigned net_features(const struct net_port *p)
{
	return NET_TAKES_CSUM | NET_TAKES_TSO4 | NET_TAKES_TSO6 | p->can_give;
}

void net_set_offloads(struct net_port *p, unsigned gives)
{
	gives &= p->can_give;
	/* A segment's checksum is always still to be made. */
	if (!(gives & NET_GIVES_CSUM))
		gives = 0;
	if (gives == p->gives)
		return;
	p->gives = gives;
	if (p->backend->offloads)
		p->backend->offloads(p);
}

bool net_link_up(const struct net_port *p)
{
	return p->link_up;
}

const struct net_stats *net_stats(const struct net_port *p)
{
	return &p->stats;
}

const char *net_describe(const struct net_port *p)
{
	return p->describe;
}
