// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The debugger's socket: listens at --gdb ADDR, serves one debugger at a time on the main thread.
 *
 * The VM stands still until the first debugger has come and lets it go, and whenever one comes.
 * When a debugger leaves, its breakpoints go and the VM goes on. There is no password in the
 * protocol, so that an address without a host means this host only.
 */
#include "vm/gdb_private.h"
#include "vm/vm_private.h"

#include "host/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct gdb {
	struct vm *vm;
	int listen_fd, fd; /* fd: the debugger, or -1 */
	char *unix_path;   /* to be removed at the end */
	bool waits_for_room;
	struct gdb_target target;
	struct gdb_session session;
};

/* --- addresses --- */

static int bad_address(const char *address, struct error *err)
{
	return error_set(err, -EINVAL, STATUS_USAGE, "cannot listen for a debugger at %s", "it is no address",
			 "write HOST:PORT, :PORT or unix:PATH", address);
}

static int listen_failed(const char *address, int ret, struct error *err)
{
	return error_set(err, ret, STATUS_HOST, "cannot listen for a debugger at %s", "%s",
			 "choose another address", address, strerror(-ret));
}

static int listen_unix(struct gdb *gdb, const char *address, const char *path, struct error *err)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	if (!*path || strlen(path) >= sizeof(sun.sun_path))
		return bad_address(address, err);
	strcpy(sun.sun_path, path);
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path); /* left by a run that was killed */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return listen_failed(address, -errno, err);
	gdb->listen_fd = fd;
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return listen_failed(address, -errno, err);
	gdb->unix_path = strdup(path);
	return listen(fd, 1) < 0 ? listen_failed(address, -errno, err) : 0;
}

/* Splits HOST:PORT at its last colon; [HOST] may be an IPv6 address. */
static int split_host(const char *address, char *host, size_t host_len, const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t len;

	if (!colon || !colon[1])
		return -EINVAL;
	len = (size_t)(colon - address);
	if (len >= 2 && address[0] == '[' && colon[-1] == ']') {
		address++;
		len -= 2;
	}
	if (len >= host_len)
		return -EINVAL;
	memcpy(host, address, len);
	host[len] = 0;
	if (!len)
		snprintf(host, host_len, "127.0.0.1");
	*port = colon + 1;
	return 0;
}

static int listen_tcp(struct gdb *gdb, const char *address, struct error *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list;
	char host[256];
	const char *port;
	int one = 1, ret;

	if (split_host(address, host, sizeof(host), &port))
		return bad_address(address, err);
	ret = getaddrinfo(host, port, &hints, &list);
	if (ret)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot listen for a debugger at %s", "%s",
				 "write HOST:PORT, :PORT or unix:PATH", address, gai_strerror(ret));
	ret = 0;
	gdb->listen_fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (gdb->listen_fd < 0 || setsockopt(gdb->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(gdb->listen_fd, list->ai_addr, list->ai_addrlen) < 0 || listen(gdb->listen_fd, 1) < 0)
		ret = -errno;
	freeaddrinfo(list);
	return ret ? listen_failed(address, ret, err) : 0;
}

/* --- the connection; all with vm->ctl held --- */

static void gdb_close(struct gdb *gdb)
{
	enum gdb_action all[VCPUS_MAX];

	loop_unwatch(gdb->vm->loop, gdb->fd);
	close(gdb->fd);
	gdb->fd = -1;
	if (gdb->vm->ended)
		return;
	/* Without its breakpoints the VM goes on; for that the vCPUs have to stand once more. */
	for (unsigned i = 0; i < VCPUS_MAX; i++)
		all[i] = GDB_CONTINUE;
	if (gdb->target.interrupt(gdb->vm) == 0) {
		gdb->vm->watch_count = 0;
		gdb->target.resume(gdb->vm, all, NULL, 0);
	}
}

static void gdb_flush(struct gdb *gdb)
{
	struct gdb_session *s = &gdb->session;
	bool wait;

	while (s->out_len) {
		ssize_t n = send(gdb->fd, s->out, s->out_len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			s->broken = true;
			return;
		}
		s->out_len -= (size_t)n;
		memmove(s->out, s->out + n, s->out_len);
	}
	wait = s->out_len != 0;
	if (wait != gdb->waits_for_room) {
		gdb->waits_for_room = wait;
		loop_change(gdb->vm->loop, gdb->fd, wait ? EPOLLIN | EPOLLOUT : EPOLLIN);
	}
}

static void gdb_ready(void *opaque, int fd, uint32_t events)
{
	struct gdb *gdb = opaque;
	struct gdb_session *s = &gdb->session;
	char buf[4096];
	ssize_t n;

	pthread_mutex_lock(&gdb->vm->ctl);
	if (gdb->fd != fd || gdb->vm->ended)
		goto out;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		n = recv(fd, buf, sizeof(buf), 0);
		if (n > 0)
			gdb_session_feed(s, buf, (size_t)n);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			s->broken = true;
	}
	if (!s->broken)
		gdb_flush(gdb);
	if (s->broken || s->detached)
		gdb_close(gdb);
out:
	pthread_mutex_unlock(&gdb->vm->ctl);
}

static void gdb_accept(void *opaque, int listen_fd, uint32_t events)
{
	struct gdb *gdb = opaque;
	struct vm *vm = gdb->vm;
	int one = 1;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	pthread_mutex_lock(&vm->ctl);
	if (gdb->fd >= 0 || vm->ended || gdb->target.interrupt(vm)) {
		close(fd); /* one at a time */
	} else if (loop_watch(vm->loop, fd, EPOLLIN, gdb_ready, gdb)) {
		close(fd);
		vm_release(vm, HOLD_GDB);
	} else {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* no use on a UNIX socket */
		gdb->fd = fd;
		gdb->waits_for_room = false;
		gdb_session_begin(&gdb->session, &gdb->target);
	}
	pthread_mutex_unlock(&vm->ctl);
}

/* --- what the VM calls --- */

void gdb_stopped(struct gdb *gdb, unsigned cpu)
{
	for (unsigned i = 0; i < gdb->vm->cpus; i++)
		atomic_fetch_and(&gdb->vm->vcpu[i].hold, ~(uint32_t)HOLD_STEP);
	if (gdb->fd < 0) { /* it left while the breakpoint was being hit */
		vm_release(gdb->vm, HOLD_GDB);
		return;
	}
	gdb_session_stopped(&gdb->session, cpu, GDB_SIGTRAP);
	gdb_flush(gdb);
	if (gdb->session.broken)
		gdb_close(gdb);
}

void gdb_ended(struct gdb *gdb, unsigned status)
{
	if (gdb->fd < 0)
		return;
	gdb_session_exited(&gdb->session, status);
	/* Once, as far as the socket takes it: a debugger that does not read shall not hold the end up. */
	(void)!send(gdb->fd, gdb->session.out, gdb->session.out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
	loop_unwatch(gdb->vm->loop, gdb->fd);
	close(gdb->fd);
	gdb->fd = -1;
}

int gdb_create(struct vm *vm, const char *address, struct gdb **out, struct error *err)
{
	struct gdb *gdb = calloc(1, sizeof(*gdb));
	int ret;

	if (!gdb)
		return error_set(err, -ENOMEM, STATUS_HOST, "cannot listen for a debugger at %s",
				 "the host has no memory left", "end other programs", address);
	gdb->vm = vm;
	gdb->listen_fd = -1;
	gdb->fd = -1;
	gdb_target_init(&gdb->target, vm);
	if (strncmp(address, "unix:", 5) == 0)
		ret = listen_unix(gdb, address, address + 5, err);
	else
		ret = listen_tcp(gdb, address, err);
	if (!ret) {
		ret = loop_watch(vm->loop, gdb->listen_fd, EPOLLIN, gdb_accept, gdb);
		if (ret)
			listen_failed(address, ret, err);
	}
	if (ret) {
		gdb_destroy(gdb);
		return ret;
	}
	log_note("waiting for a debugger at %s", address);
	*out = gdb;
	return 0;
}

void gdb_destroy(struct gdb *gdb)
{
	if (!gdb)
		return;
	if (gdb->fd >= 0)
		close(gdb->fd);
	if (gdb->listen_fd >= 0)
		close(gdb->listen_fd);
	if (gdb->unix_path)
		unlink(gdb->unix_path);
	free(gdb->unix_path);
	free(gdb);
}
