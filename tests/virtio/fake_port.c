// SPDX-License-Identifier: GPL-2.0-or-later
/* See fake_port.h. */
#include "fake_port.h"

#include <errno.h>
#include <string.h>

unsigned net_features(const struct net_port *p)
{
	return NET_TAKES_CSUM | NET_TAKES_TSO4 | NET_TAKES_TSO6 | NET_GIVES_CSUM | NET_GIVES_TSO4 | NET_GIVES_TSO6;
}

void net_set_offloads(struct net_port *p, unsigned gives)
{
	p->gives = gives;
}

bool net_link_up(const struct net_port *p)
{
	return !p->down;
}

void net_pause(struct net_port *p, bool paused)
{
	p->paused = paused;
}

int net_send(struct net_port *p, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	struct fake_frame *f = &p->frame[p->sent % FAKE_FRAMES];
	size_t len = 0;

	if (p->full)
		return -EAGAIN;
	for (unsigned i = 0; i < iovs; i++) {
		for (size_t k = 0; k < iov[i].iov_len && len + k < sizeof(f->bytes); k++)
			f->bytes[len + k] = ((const uint8_t *)iov[i].iov_base)[k];
		len += iov[i].iov_len;
	}
	f->len = len;
	f->o = *o;
	p->sent++;
	if (p->echo && !p->paused)
		p->ops->receive(p->opaque, iov, iovs, o);
	return 0;
}
