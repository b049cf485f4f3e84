// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The process of a switch: sockets around switch_core.c. One thread, one loop.
 *
 * Invariants:
 *  - No port waits for another. What a port's socket does not take is copied into its queue, which is bounded; what the
 *    queue does not take is dropped and counted. Each port's turn is a burst of at most BURST frames.
 *  - Frames for a port keep their order: nothing goes past its queue.
 *  - What comes from a port is hostile: its messages are checked before they are believed, connections that have not
 *    said what they are, are few and are hung up on after PATIENCE_MS.
 *  - The process ends only with the lock of its name, when no port is left and nobody is at the door.
 */
#include "net/switch_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LISTENER = 3,
	BURST = 32,
	WAITING_MAX = 16,
	PATIENCE_MS = 5000,
	LOCK_RETRY_MS = 50,
	DEAF_MS = 200,
	QUEUE_FRAMES = 1024,
	QUEUE_BYTES = 2 << 20,
};

struct sw;

struct switch_end {
	struct sw *sw;
	unsigned number;
	bool used;
	int fd; /* -1: the uplink */
	uint32_t events;
	struct net_port *uplink;
	struct pieces queue;
	struct switch_port_info info;
	unsigned batch[BURST], batched; /* frames of this burst that go out here */
};

/* Somebody who has connected and has not said why. */
struct waiting {
	struct sw *sw;
	int fd; /* -1: free */
	pid_t pid;
	uint64_t until_ms;
};

struct sw {
	const char *name;
	struct loop *loop;
	struct switch_core *core;
	int place;
	uint64_t born_ms, end_at_ms; /* 0: not about to end */
	uint64_t deaf_until_ms; /* no descriptors are left to let anybody in with; 0: there are */
	unsigned plugged; /* ports, without the uplink */
	struct switch_end port[SWITCH_PORTS_MAX];
	struct waiting waiting[WAITING_MAX];
	struct switch_end *uplink;
	char uplink_text[SWITCH_UPLINK_BYTES];
	struct mmsghdr message[BURST], out[BURST];
	struct iovec iov[BURST][2];
	struct net_offload offload[BURST];
	uint8_t frame[BURST][NET_FRAME_MAX];
};

static uint64_t now_ms(void)
{
	return host_monotonic_ns() / 1000000u;
}

/* --- out --- */

static void watch(struct switch_end *e)
{
	uint32_t events = EPOLLIN | (pieces_first(&e->queue) ? EPOLLOUT : 0u);

	if (e->fd < 0 || events == e->events)
		return;
	e->events = events;
	loop_change(e->sw->loop, e->fd, events);
}

static void count_out(struct switch_end *e, size_t len)
{
	e->info.out_frames++;
	e->info.out_bytes += len;
}

static void enqueue(struct switch_end *e, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	if (!pieces_put(&e->queue, iov, iovs, o))
		e->info.dropped_full++;
	watch(e);
}

/* 0, or -EAGAIN; what cannot go at all is dropped. */
static int send_now(struct switch_end *e, const struct iovec *iov, unsigned iovs, size_t len, const struct net_offload *o)
{
	struct iovec v[NET_IOVS_MAX + 1];
	struct msghdr m = { .msg_iov = v, .msg_iovlen = iovs + 1 };

	if (e->uplink) {
		if (net_send(e->uplink, iov, iovs, o))
			return -EAGAIN;
	} else {
		v[0] = (struct iovec){ (void *)o, sizeof(*o) };
		memcpy(v + 1, iov, iovs * sizeof(*iov));
		if (sendmsg(e->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
			if (errno == EAGAIN)
				return -EAGAIN;
			e->info.dropped_full++;
			return 0;
		}
	}
	count_out(e, len);
	return 0;
}

static void flush_queue(struct switch_end *e)
{
	struct piece *f;

	while ((f = pieces_first(&e->queue))) {
		struct iovec iov = { f->bytes, f->len };

		if (send_now(e, &iov, 1, f->len, &f->offload) == -EAGAIN)
			break;
		pieces_drop_first(&e->queue);
	}
	watch(e);
}

static void send_one(struct switch_end *e, const struct iovec *iov, unsigned iovs, size_t len, const struct net_offload *o)
{
	if (pieces_first(&e->queue) || send_now(e, iov, iovs, len, o) == -EAGAIN)
		enqueue(e, iov, iovs, o);
}

/* Sends the frames of the burst that go out at @e with one system call. */
static void send_batch(struct sw *sw, struct switch_end *e)
{
	unsigned n = e->batched, done = 0;

	e->batched = 0;
	if (e->fd >= 0 && !pieces_first(&e->queue)) {
		int sent;

		for (unsigned i = 0; i < n; i++)
			sw->out[i] = sw->message[e->batch[i]];
		sent = sendmmsg(e->fd, sw->out, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		done = sent > 0 ? (unsigned)sent : 0;
		for (unsigned i = 0; i < done; i++)
			count_out(e, sw->iov[e->batch[i]][1].iov_len);
	}
	for (unsigned i = done; i < n; i++)
		send_one(e, &sw->iov[e->batch[i]][1], 1, sw->iov[e->batch[i]][1].iov_len, &sw->offload[e->batch[i]]);
}

/* --- in --- */

/* Where a frame goes that has passed its checks; counts it. */
static uint64_t route(struct switch_end *e, const uint8_t *header, size_t len, const struct net_offload *o)
{
	uint64_t out = 0;
	bool bad = len < NET_HEADER_BYTES || len > NET_FRAME_MAX || net_offload_check(o, len);

	if (!bad)
		out = switch_core_forward(e->sw->core, e->number, header, now_ms(), &bad);
	if (bad) {
		e->info.dropped_bad++;
		return 0;
	}
	e->info.in_frames++;
	e->info.in_bytes += len;
	return out;
}

static void unplug(struct switch_end *e);

static void take_burst(struct switch_end *e)
{
	struct sw *sw = e->sw;
	uint64_t touched = 0;
	int n;

	for (unsigned i = 0; i < BURST; i++) {
		sw->iov[i][0] = (struct iovec){ &sw->offload[i], sizeof(sw->offload[i]) };
		sw->iov[i][1] = (struct iovec){ sw->frame[i], sizeof(sw->frame[i]) };
		sw->message[i].msg_hdr = (struct msghdr){ .msg_iov = sw->iov[i], .msg_iovlen = 2 };
		sw->message[i].msg_len = 0;
	}
	n = recvmmsg(e->fd, sw->message, BURST, MSG_DONTWAIT, NULL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (int i = 0; i < n && sw->message[i].msg_len; i++) {
		size_t len = sw->message[i].msg_len;
		uint64_t out;

		len = len > sizeof(struct net_offload) && !(sw->message[i].msg_hdr.msg_flags & MSG_TRUNC) ?
			      len - sizeof(struct net_offload) : 0;
		sw->iov[i][1].iov_len = len;
		out = route(e, sw->frame[i], len, &sw->offload[i]);
		touched |= out;
		for (; out; out &= out - 1) {
			struct switch_end *to = &sw->port[__builtin_ctzll(out)];

			to->batch[to->batched++] = (unsigned)i;
		}
	}
	for (; touched; touched &= touched - 1)
		send_batch(sw, &sw->port[__builtin_ctzll(touched)]);
	/* The end of the file is a message without bytes. */
	if (n <= 0 || !sw->message[n - 1].msg_len)
		unplug(e);
}

static void on_port(void *opaque, int fd, uint32_t events)
{
	struct switch_end *e = opaque;

	if (events & EPOLLOUT)
		flush_queue(e);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		take_burst(e);
}

/* --- the uplink --- */

static void uplink_receive(void *opaque, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	struct switch_end *e = opaque;
	size_t len = net_iov_len(iov, iovs);
	uint8_t header[NET_HEADER_BYTES] = { 0 };
	uint64_t out;

	net_iov_read(iov, iovs, 0, header, sizeof(header));
	out = route(e, header, len, o);
	for (; out; out &= out - 1)
		send_one(&e->sw->port[__builtin_ctzll(out)], iov, iovs, len, o);
}

static void uplink_writable(void *opaque)
{
	flush_queue(opaque);
}

static struct switch_end *free_port(struct sw *sw)
{
	for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++) {
		if (!sw->port[i].used)
			return &sw->port[i];
	}
	return NULL;
}

static void plug_in(struct switch_end *e, int fd, unsigned flags)
{
	e->used = true;
	e->fd = fd;
	e->events = EPOLLIN;
	e->batched = 0;
	e->info = (struct switch_port_info){ .number = e->number, .flags = flags };
	pieces_init(&e->queue, QUEUE_FRAMES, QUEUE_BYTES);
	switch_core_join(e->sw->core, e->number, flags);
}

static int open_uplink(struct sw *sw, const char *text, struct error *err)
{
	static const struct net_port_ops ops = { .receive = uplink_receive, .writable = uplink_writable };
	struct net_config c = { .kind = NET_USER };
	struct switch_end *e;
	int ret;

	if (sw->uplink && strcmp(sw->uplink_text, text) == 0)
		return 0;
	if (sw->uplink)
		return error_set(err, -EBUSY, STATUS_HOST, "uplink", "it has another uplink already: %s",
				 "leave uplink= out, or use a switch of another name", sw->uplink_text);
	if (strncmp(text, "tap", 3) == 0) {
		c.kind = NET_TAP;
		if (text[3] == ':')
			snprintf(c.name, IFNAMSIZ, "%s", text + 4);
	}
	e = free_port(sw);
	if (!e)
		return error_set(err, -ENOSPC, STATUS_HOST, "uplink", "all its ports are taken", "use a second switch");
	plug_in(e, -1, SWITCH_UPLINK);
	ret = net_open(&c, sw->loop, &ops, e, &e->uplink, err);
	if (ret) {
		switch_core_leave(sw->core, e->number);
		e->used = false;
		return ret;
	}
	net_set_offloads(e->uplink, net_features(e->uplink));
	snprintf(e->info.vm, sizeof(e->info.vm), "%s", net_describe(e->uplink));
	sw->uplink = e;
	snprintf(sw->uplink_text, sizeof(sw->uplink_text), "%s", text);
	return 0;
}

/* --- who comes and goes --- */

static void on_alarm(void *opaque);

/* The alarm is at the earliest of what is due. */
static void set_alarm(struct sw *sw)
{
	uint64_t due = sw->end_at_ms ? sw->end_at_ms : UINT64_MAX;

	if (sw->deaf_until_ms && sw->deaf_until_ms < due)
		due = sw->deaf_until_ms;
	for (unsigned i = 0; i < WAITING_MAX; i++) {
		if (sw->waiting[i].fd >= 0 && sw->waiting[i].until_ms < due)
			due = sw->waiting[i].until_ms;
	}
	loop_alarm(sw->loop, due == UINT64_MAX ? UINT64_MAX : due * 1000000u);
}

static void unplug(struct switch_end *e)
{
	struct sw *sw = e->sw;

	loop_unwatch(sw->loop, e->fd);
	close(e->fd);
	e->fd = -1;
	e->used = false;
	pieces_clear(&e->queue);
	switch_core_leave(sw->core, e->number);
	if (--sw->plugged == 0) {
		sw->end_at_ms = now_ms();
		set_alarm(sw);
	}
}

static void dismiss(struct waiting *w, bool hang_up)
{
	loop_unwatch(w->sw->loop, w->fd);
	if (hang_up)
		close(w->fd);
	w->fd = -1;
}

static void refuse(struct waiting *w, int error, const char *why, const char *fix)
{
	struct switch_welcome answer = { .magic = SWITCH_MAGIC, .version = SWITCH_VERSION, .error = error };

	snprintf(answer.why, sizeof(answer.why), "%s", why);
	snprintf(answer.fix, sizeof(answer.fix), "%s", fix);
	send(w->fd, &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
	dismiss(w, true);
	/* It may have been the one for whom all this was started. */
	if (!w->sw->plugged)
		w->sw->end_at_ms = now_ms();
}

static void admit(struct waiting *w, const struct switch_hello *h)
{
	struct switch_welcome answer = { .magic = SWITCH_MAGIC, .version = SWITCH_VERSION };
	struct sw *sw = w->sw;
	struct switch_end *e;
	struct error err = { .why = "" };
	int fd = w->fd, ret;

	if (*h->uplink) {
		ret = open_uplink(sw, h->uplink, &err);
		if (ret) {
			refuse(w, ret, err.why, err.fix);
			return;
		}
	}
	e = free_port(sw);
	if (!e) {
		refuse(w, -ENOSPC, "all its ports are taken", "use a second switch");
		return;
	}
	answer.port = e->number;
	dismiss(w, false);
	if (send(fd, &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 || loop_watch(sw->loop, fd, EPOLLIN, on_port, e)) {
		close(fd);
		return;
	}
	plug_in(e, fd, h->flags);
	e->info.pid = w->pid;
	memcpy(e->info.mac, h->mac, NET_MAC_BYTES);
	snprintf(e->info.vm, sizeof(e->info.vm), "%s", h->vm);
	sw->plugged++;
	sw->end_at_ms = 0;
}

static void report(struct waiting *w)
{
	struct sw *sw = w->sw;
	uint64_t now = now_ms();
	size_t len = sizeof(struct switch_report) + SWITCH_PORTS_MAX * sizeof(struct switch_port_info) +
		     SWITCH_MACS_MAX * sizeof(struct switch_mac_info);
	struct switch_report *r = calloc(1, len);
	struct switch_mac_info *macs;

	if (r) {
		*r = (struct switch_report){ .magic = SWITCH_MAGIC, .version = SWITCH_VERSION, .pid = getpid(),
					     .uptime_s = (uint32_t)((now - sw->born_ms) / 1000) };
		for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++) {
			struct switch_port_info *info = &r->port[r->ports];

			if (!sw->port[i].used)
				continue;
			*info = sw->port[i].info;
			info->queued = (uint32_t)sw->port[i].queue.frames;
			info->macs = switch_core_macs_of(sw->core, i);
			r->ports++;
		}
		macs = (struct switch_mac_info *)&r->port[r->ports];
		r->macs = switch_core_macs(sw->core, macs, SWITCH_MACS_MAX, now);
		len = (size_t)((char *)(macs + r->macs) - (char *)r);
		send(w->fd, r, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		free(r);
	}
	dismiss(w, true);
}

static void on_hello(void *opaque, int fd, uint32_t events)
{
	struct waiting *w = opaque;
	struct switch_hello h = { .magic = 0 };
	ssize_t n = recv(fd, &h, sizeof(h), MSG_DONTWAIT | MSG_TRUNC);
	const char *wrong;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	wrong = switch_hello_check(&h, n < 0 ? 0 : (size_t)n);
	if (n <= 0)
		dismiss(w, true);
	else if (wrong)
		refuse(w, -EPROTO, wrong, "end the VMs on it, or use a switch of another name");
	else if (h.kind == SWITCH_QUERY)
		report(w);
	else
		admit(w, &h);
	set_alarm(w->sw);
}

static bool let_in(struct sw *sw, int fd)
{
	int bytes = SWITCH_SOCKET_BYTES;
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || (peer.uid != geteuid() && peer.uid != 0))
		return false;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	for (unsigned i = 0; i < WAITING_MAX; i++) {
		struct waiting *w = &sw->waiting[i];

		if (w->fd >= 0)
			continue;
		if (loop_watch(sw->loop, fd, EPOLLIN, on_hello, w))
			return false;
		w->fd = fd;
		w->pid = peer.pid;
		w->until_ms = now_ms() + PATIENCE_MS;
		set_alarm(sw);
		return true;
	}
	return false;
}

/* Lets in who is at the door. Whether there was somebody. */
static bool answer_door(struct sw *sw)
{
	int fd = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
		/* Who waits keeps the listener ready: look again later. */
		sw->deaf_until_ms = now_ms() + DEAF_MS;
		loop_change(sw->loop, LISTENER, 0);
		set_alarm(sw);
		return true;
	}
	if (fd < 0)
		return false;
	if (!let_in(sw, fd))
		close(fd);
	return true;
}

static void on_listener(void *opaque, int fd, uint32_t events)
{
	answer_door(opaque);
}

/* --- the end --- */

static bool anybody_waits(const struct sw *sw)
{
	for (unsigned i = 0; i < WAITING_MAX; i++) {
		if (sw->waiting[i].fd >= 0)
			return true;
	}
	return false;
}

static void try_to_end(struct sw *sw)
{
	int lock;

	sw->end_at_ms = now_ms() + LOCK_RETRY_MS;
	if (anybody_waits(sw))
		return;
	lock = switch_place_lock(sw->place, sw->name, true);
	if (lock < 0)
		return;
	if (answer_door(sw)) {
		close(lock);
		return;
	}
	/* Nobody can come any more. The lock goes with the process. */
	switch_place_unlink(sw->place, sw->name);
	sw->end_at_ms = 0;
	loop_stop(sw->loop);
}

static void on_alarm(void *opaque)
{
	struct sw *sw = opaque;
	uint64_t now = now_ms();

	for (unsigned i = 0; i < WAITING_MAX; i++) {
		if (sw->waiting[i].fd >= 0 && sw->waiting[i].until_ms <= now)
			dismiss(&sw->waiting[i], true);
	}
	if (sw->deaf_until_ms && sw->deaf_until_ms <= now) {
		sw->deaf_until_ms = 0;
		loop_change(sw->loop, LISTENER, EPOLLIN);
	}
	if (sw->end_at_ms && sw->end_at_ms <= now)
		try_to_end(sw);
	set_alarm(sw);
}

/* Nobody's child, no terminal, no descriptors but the listener. The first process tells whether that worked. */
static int become_daemon(const char *name)
{
	char title[16];
	int null, listens = 0;
	socklen_t len = sizeof(listens);
	struct rlimit files;
	pid_t pid;

	if (getsockopt(LISTENER, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 || !listens)
		return -EINVAL;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid > 0)
		_exit(0);
	setsid();
	null = open("/dev/null", O_RDWR);
	if (null < 0 || chdir("/") < 0)
		return -errno;
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	close_range(LISTENER + 1, ~0u, 0);
	fcntl(LISTENER, F_SETFD, FD_CLOEXEC);
	fcntl(LISTENER, F_SETFL, O_NONBLOCK);
	/* An uplink to the user's network needs one for each connection. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	snprintf(title, sizeof(title), "sw %.12s", name);
	prctl(PR_SET_NAME, title);
	return 0;
}

static int set_up(struct sw *sw)
{
	uint64_t seed;
	int ret;

	for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++)
		sw->port[i] = (struct switch_end){ .sw = sw, .number = i, .fd = -1 };
	for (unsigned i = 0; i < WAITING_MAX; i++)
		sw->waiting[i] = (struct waiting){ .sw = sw, .fd = -1 };
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return -EIO;
	sw->core = switch_core_create(seed);
	if (!sw->core)
		return -ENOMEM;
	sw->place = switch_place_open(NULL);
	if (sw->place < 0)
		return sw->place;
	ret = loop_create(&sw->loop);
	if (ret)
		return ret;
	loop_set_alarm_fn(sw->loop, on_alarm, sw);
	sw->born_ms = now_ms();
	/* Whoever started it is expected; should he never come, it ends as if he had left. */
	sw->end_at_ms = sw->born_ms + PATIENCE_MS;
	set_alarm(sw);
	return loop_watch(sw->loop, LISTENER, EPOLLIN, on_listener, sw);
}

int switch_main(int argc, char **argv)
{
	struct sw *sw;
	int ret;

	if (argc != 3 || become_daemon(argv[2]))
		return STATUS_INTERNAL;
	sw = calloc(1, sizeof(*sw));
	if (!sw)
		return STATUS_HOST;
	sw->name = argv[2];
	ret = set_up(sw);
	if (!ret)
		ret = loop_run(sw->loop);
	for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++) {
		net_close(sw->port[i].uplink);
		pieces_clear(&sw->port[i].queue);
	}
	loop_destroy(sw->loop);
	switch_core_destroy(sw->core);
	free(sw);
	return ret ? STATUS_HOST : STATUS_OK;
}
