// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A network interface of the host: tap devices (Documentation/networking/tuntap.rst) with the kernel's offloads.
 *
 * Frames carry the kernel's virtio_net_hdr of ten bytes (IFF_VNET_HDR), which is struct net_offload as it stands on a
 * little-endian host; what the device takes is told with TUNSETOFFLOAD. A tap that does not exist is created where
 * that is allowed, and goes away with the port. The bridge is set over rtnetlink, which takes it well when the tap is there
 * already.
 *
 * A device without room leaves frames in the kernel's queue, which drops and counts what it cannot hold.
 */
#include "net/net_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Frames that are taken from the kernel before others on the loop have their turn. */
enum { BURST = 64 };

_Static_assert(sizeof(struct net_offload) == 10, "the kernel's header");

struct tap {
	int fd;
	char name[IFNAMSIZ];
	bool blocked; /* waits for room */
	uint32_t events; /* that are watched */
	uint8_t frame[NET_FRAME_MAX];
};

/* --- setting up --- */

static int fail(struct error *err, int ret, const char *name, const char *why, const char *fix)
{
	return error_set(err, ret, STATUS_HOST, "cannot use the network interface %s", "%s", "%s", *name ? name : "tap", why,
			 fix);
}

static int attach(struct tap *t, const char *name, struct error *err)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int size = sizeof(struct net_offload);
	char fix[200];

	t->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (t->fd < 0)
		return fail(err, -errno, name, errno == ENOENT ? "the host has no /dev/net/tun" : "/dev/net/tun does not open",
			    "load the kernel's module tun, or use --net user");
	memcpy(r.ifr_name, *name ? name : "tap%d", strlen(*name ? name : "tap%d"));
	if (ioctl(t->fd, TUNSETIFF, &r) < 0) {
		int e = errno;

		snprintf(fix, sizeof(fix), "as root: ip tuntap add dev %s mode tap user NAME; or use --net user",
			 *name ? name : "tap0");
		if (e == EPERM)
			return fail(err, -e, name, "this user may not create or open it", fix);
		if (e == EBUSY)
			return fail(err, -e, name, "another program has it open", "choose another with --net tap=NAME");
		return fail(err, -e, name, e == EINVAL ? "there is an interface of that name that is no tap" : strerror(e),
			    "choose another with --net tap=NAME");
	}
	memcpy(t->name, r.ifr_name, IFNAMSIZ);
	t->name[IFNAMSIZ - 1] = 0;
	if (ioctl(t->fd, TUNSETVNETHDRSZ, &size) < 0)
		return fail(err, -errno, t->name, "the kernel's tap devices lack the offload header", "use --net user");
	return 0;
}

static int bring_up(struct tap *t, struct error *err)
{
	struct ifreq r = { .ifr_flags = 0 };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = 0;
	char fix[64];

	memcpy(r.ifr_name, t->name, IFNAMSIZ);
	if (s < 0 || ioctl(s, SIOCGIFFLAGS, &r) < 0)
		ret = -errno;
	if (!ret && !(r.ifr_flags & IFF_UP)) {
		r.ifr_flags |= IFF_UP;
		ret = ioctl(s, SIOCSIFFLAGS, &r) < 0 ? -errno : 0;
	}
	if (s >= 0)
		close(s);
	if (!ret)
		return 0;
	snprintf(fix, sizeof(fix), "as root: ip link set %s up", t->name);
	return fail(err, ret, t->name, ret == -EPERM ? "it is down, and this user may not bring it up" : strerror(-ret), fix);
}

/* RTM_NEWLINK with IFLA_MASTER, and its answer. */
static int set_master(unsigned index, unsigned master)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
		struct rtattr a;
		uint32_t master;
	} m = {
		.h = { .nlmsg_len = sizeof(m), .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.i = { .ifi_family = AF_UNSPEC, .ifi_index = (int)index },
		.a = { .rta_len = RTA_LENGTH(4), .rta_type = IFLA_MASTER },
		.master = master,
	};
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		char rest[256];
	} answer;
	int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), ret = 0;
	ssize_t n;

	if (s < 0)
		return -errno;
	if (send(s, &m, sizeof(m), 0) < 0) {
		ret = -errno;
	} else {
		n = recv(s, &answer, sizeof(answer), 0);
		if (n < 0)
			ret = -errno;
		else if ((size_t)n < offsetof(typeof(answer), rest) - sizeof(answer.e.msg) || answer.h.nlmsg_type != NLMSG_ERROR)
			ret = -EPROTO;
		else
			ret = answer.e.error;
	}
	close(s);
	return ret;
}

static int join_bridge(struct tap *t, const char *bridge, struct error *err)
{
	unsigned index = if_nametoindex(t->name), master = if_nametoindex(bridge);
	char fix[128];
	int ret;

	if (!master) {
		snprintf(fix, sizeof(fix), "as root: ip link add %s type bridge; or name another bridge", bridge);
		return error_set(err, -ENODEV, STATUS_HOST, "cannot attach %s to the bridge %s", "the host has no interface %s", "%s",
				 t->name, bridge, bridge, fix);
	}
	ret = set_master(index, master);
	if (!ret)
		return 0;
	snprintf(fix, sizeof(fix), "as root: ip link set %s master %s", t->name, bridge);
	return error_set(err, ret, STATUS_HOST, "cannot attach %s to the bridge %s", "%s", "%s", t->name, bridge,
			 ret == -EPERM			      ? "this user may not change it" :
			 ret == -EOPNOTSUPP || ret == -EINVAL ? "that is no bridge" :
								strerror(-ret),
			 ret == -EPERM ? fix : "name a bridge, such as one made by: ip link add br0 type bridge");
}

/* --- frames --- */

static void watch(struct net_port *p)
{
	struct tap *t = p->private;
	uint32_t events = (net_wants(p) ? EPOLLIN : 0u) | (t->blocked ? EPOLLOUT : 0u);

	if (events == t->events)
		return;
	t->events = events;
	loop_change(p->loop, t->fd, events);
}

static void tap_receive(struct net_port *p)
{
	struct tap *t = p->private;

	for (unsigned i = 0; i < BURST && net_wants(p); i++) {
		struct net_offload o;
		struct iovec iov[2] = { { &o, sizeof(o) }, { t->frame, sizeof(t->frame) } };
		ssize_t n = readv(t->fd, iov, 2);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < (ssize_t)sizeof(o)) {
			/* The interface was removed: nothing comes any more. */
			p->link_up = false;
			loop_unwatch(p->loop, t->fd);
			return;
		}
		iov[1].iov_len = (size_t)n - sizeof(o);
		net_deliver(p, &iov[1], 1, &o);
	}
	watch(p);
}

static void on_ready(void *opaque, int fd, uint32_t events)
{
	struct net_port *p = opaque;
	struct tap *t = p->private;

	if (events & EPOLLOUT && t->blocked) {
		t->blocked = false;
		net_writable(p);
		watch(p);
	}
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		tap_receive(p);
}

static int tap_send(struct net_port *p, const struct iovec *iov, unsigned iovs, size_t len, const struct net_offload *o)
{
	struct tap *t = p->private;
	struct iovec v[NET_IOVS_MAX + 1];
	struct net_offload header = *o;

	/* A hint that the kernel refuses when it is out of the frame. */
	header.hdr_len = header.hdr_len < len ? header.hdr_len : (uint16_t)(len < 0xffff ? len : 0xffff);
	v[0] = (struct iovec){ &header, sizeof(header) };
	memcpy(v + 1, iov, iovs * sizeof(*iov));
	if (writev(t->fd, v, (int)iovs + 1) >= 0)
		return 0;
	if (errno == EAGAIN && p->link_up) {
		t->blocked = true;
		watch(p);
		return -EAGAIN;
	}
	net_drop(p, p->link_up ? NET_DROP_BACKEND : NET_DROP_UNPLUGGED);
	return 0;
}

static void tap_pause(struct net_port *p, bool paused)
{
	watch(p);
}

static void tap_offloads(struct net_port *p)
{
	struct tap *t = p->private;
	unsigned long f = (p->gives & NET_GIVES_CSUM ? TUN_F_CSUM : 0u) | (p->gives & NET_GIVES_TSO4 ? TUN_F_TSO4 : 0u) |
			  (p->gives & NET_GIVES_TSO6 ? TUN_F_TSO6 : 0u) |
			  (p->gives & (NET_GIVES_TSO4 | NET_GIVES_TSO6) ? TUN_F_TSO_ECN : 0u);

	/* Should the kernel refuse it, what it gives too much is done in software. */
	ioctl(t->fd, TUNSETOFFLOAD, f);
}

/* --- life --- */

static void tap_close(struct net_port *p)
{
	struct tap *t = p->private;

	loop_unwatch(p->loop, t->fd);
	close(t->fd);
	free(t);
}

static int tap_open(struct net_port *p, struct error *err)
{
	static const unsigned all = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	struct tap *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return fail(err, -ENOMEM, p->config.name, "the host has no memory left", "end other programs");
	t->fd = -1;
	ret = attach(t, p->config.name, err);
	if (!ret && *p->config.bridge)
		ret = join_bridge(t, p->config.bridge, err);
	if (!ret)
		ret = bring_up(t, err);
	if (ret)
		goto fail;
	p->takes = NET_TAKES_CSUM | NET_TAKES_TSO4 | NET_TAKES_TSO6;
	p->can_give = ioctl(t->fd, TUNSETOFFLOAD, all) == 0 ? NET_GIVES_CSUM | NET_GIVES_TSO4 | NET_GIVES_TSO6 : 0;
	p->private = t;
	p->link_up = true;
	tap_offloads(p);
	t->events = EPOLLIN;
	ret = loop_watch(p->loop, t->fd, EPOLLIN, on_ready, p);
	if (ret) {
		fail(err, ret, t->name, strerror(-ret), "use --net user");
		goto fail;
	}
	snprintf(p->describe, sizeof(p->describe), "interface %s%s%s", t->name, *p->config.bridge ? " on bridge " : "",
		 p->config.bridge);
	return 0;

fail:
	if (t->fd >= 0)
		close(t->fd);
	free(t);
	return ret;
}

const struct net_backend net_tap_backend = {
	.open = tap_open, .close = tap_close, .send = tap_send, .pause = tap_pause, .offloads = tap_offloads,
};
