// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where switches live, and how they are started and found.
 *
 * The lock NAME.lock (flock(2)) decides who starts a switch and whether it may end: whoever connects holds it from before the
 * attempt until the connection stands, and the switch ends only with it. So nobody ever connects to a switch that
 * goes. A socket on which nobody listens is what a crash left; whoever holds the lock replaces it. Lock files stay.
 *
 * Whoever starts a switch makes the listening socket itself and hands it over, so that it can connect at once. The new process
 * forks once more and lets its parent go (switch_process.c): a switch is nobody's child.
 */
#include "net/switch_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LISTEN_FD = 3, BACKLOG = 64, PATIENCE_S = 5 };

static int fail(struct error *err, int ret, const char *name, const char *why, const char *fix)
{
	return error_set(err, ret, STATUS_HOST, "cannot reach the switch %s", "%s", "%s", name, why, fix);
}

/* --- the folder --- */

/* A folder in @at that is this user's and nobody else's to enter. */
static int private_folder(int at, const char *name)
{
	struct stat st;
	int fd;

	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || st.st_mode & 022) {
		close(fd);
		return -EPERM;
	}
	return fd;
}

int switch_place_open(struct error *err)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	char path[128], name[64] = "subring";
	int base, mid, fd = -ENOENT;

	snprintf(path, sizeof(path), "/run/user/%u", geteuid());
	run = run && *run == '/' ? run : path;
	base = open(run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base < 0) {
		run = "/tmp";
		snprintf(name, sizeof(name), "subring-%u", geteuid());
		base = open(run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	mid = base < 0 ? -errno : private_folder(base, name);
	if (mid >= 0)
		fd = private_folder(mid, "switch");
	else
		fd = mid;
	if (base >= 0)
		close(base);
	if (mid >= 0)
		close(mid);
	if (fd < 0)
		error_set(err, fd, STATUS_HOST, "cannot use the folder %.180s/%s/switch", "%s",
			  "set XDG_RUNTIME_DIR to a folder that is yours alone", run, name,
			  fd == -EPERM ? "others may write to it" : strerror(-fd));
	return fd;
}

/* --- the lock and the socket --- */

static void file_name(char *to, size_t size, const char *name, const char *ending)
{
	snprintf(to, size, "%.*s.%s", NET_NAME_MAX, name, ending);
}

int switch_place_lock(int place, const char *name, bool try)
{
	char file[NET_NAME_MAX + 8];
	int fd;

	file_name(file, sizeof(file), name, "lock");
	fd = openat(place, file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX | (try ? LOCK_NB : 0)) < 0) {
		int ret = -errno;

		if (ret == -EINTR)
			continue;
		close(fd);
		return ret == -EWOULDBLOCK ? -EAGAIN : ret;
	}
	return fd;
}

void switch_place_unlink(int place, const char *name)
{
	char file[NET_NAME_MAX + 8];

	file_name(file, sizeof(file), name, "sock");
	unlinkat(place, file, 0);
}

/* By way of /proc, since the path may be longer than an address can be. */
static socklen_t address(struct sockaddr_un *a, int place, const char *name)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(a->sun_path, sizeof(a->sun_path), "/proc/self/fd/%d/%.*s.sock", place, NET_NAME_MAX, name);
	return sizeof(*a);
}

static int try_connect(int place, const char *name)
{
	struct timeval patience = { .tv_sec = PATIENCE_S };
	struct sockaddr_un a;
	socklen_t len = address(&a, place, name);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), bytes = SWITCH_SOCKET_BYTES, ret;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	if (connect(fd, (struct sockaddr *)&a, len) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

static int listen_at(int place, const char *name)
{
	struct sockaddr_un a;
	socklen_t len = address(&a, place, name);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), ret;

	if (fd < 0)
		return -errno;
	switch_place_unlink(place, name);
	if (bind(fd, (struct sockaddr *)&a, len) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

/* --- starting --- */

extern char **environ;

static int spawn(int listener, const char *name)
{
	char *argv[] = { (char *)"subring", (char *)SWITCH_ARGUMENT, (char *)name, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int ret, status;
	pid_t pid;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	ret = posix_spawn_file_actions_adddup2(&actions, listener, LISTEN_FD);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	if (!ret)
		ret = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	if (ret)
		return -ret;
	/* It goes at once, and leaves the switch behind. */
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ECHILD;
}

static int start(int place, const char *name)
{
	int listener = listen_at(place, name), ret;

	if (listener < 0)
		return listener;
	ret = spawn(listener, name);
	close(listener);
	if (ret) {
		switch_place_unlink(place, name);
		return ret;
	}
	return try_connect(place, name);
}

int switch_place_connect(const char *name, bool start_it, bool try, struct error *err)
{
	int place = switch_place_open(err), lock = -1, fd;

	if (place < 0)
		return place;
	if (start_it) {
		lock = switch_place_lock(place, name, try);
		if (lock < 0) {
			close(place);
			return lock == -EAGAIN ? lock : fail(err, lock, name, strerror(-lock), "look at its lock file");
		}
	}
	fd = try_connect(place, name);
	if (start_it && (fd == -ECONNREFUSED || fd == -ENOENT))
		fd = start(place, name);
	if (lock >= 0)
		close(lock);
	close(place);
	if (fd == -ECONNREFUSED || fd == -ENOENT)
		return fail(err, -ENOENT, name, "there is no such switch", "'subring net ls' lists those that there are");
	if (fd < 0)
		return fail(err, fd, name, strerror(-fd), "try again");
	return fd;
}

/* --- asking --- */

int switch_query(const char *name, struct switch_report **out, struct error *err)
{
	const struct switch_hello hello = { .magic = SWITCH_MAGIC, .version = SWITCH_VERSION, .kind = SWITCH_QUERY };
	size_t max = sizeof(struct switch_report) + SWITCH_PORTS_MAX * sizeof(struct switch_port_info) +
		     SWITCH_MACS_MAX * sizeof(struct switch_mac_info) + 1;
	struct switch_report *r;
	int fd = switch_place_connect(name, false, false, err), ret = 0;
	ssize_t n;

	if (fd < 0)
		return fd;
	r = malloc(max);
	if (!r) {
		close(fd);
		return fail(err, -ENOMEM, name, "the host has no memory left", "end other programs");
	}
	n = send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) < 0 ? -1 : recv(fd, r, max, 0);
	/* It may have ended between the two. */
	if (n == 0 || (n < 0 && (errno == EPIPE || errno == ECONNRESET)))
		ret = fail(err, -ENOENT, name, "it has just ended", "'subring net ls' lists those that there are");
	else if (n < 0)
		ret = fail(err, -errno, name, errno == EAGAIN ? "it does not answer" : strerror(errno), "try again");
	else if (!switch_report_check(r, (size_t)n))
		ret = fail(err, -EPROTO, name, "it was started by another version of subring",
			   "use that version, or end the VMs on it");
	close(fd);
	if (ret)
		free(r);
	else
		*out = r;
	return ret;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

int switch_names(switch_name_fn *fn, void *opaque, struct error *err)
{
	char (*names)[NET_NAME_MAX + 1] = NULL, (*more)[NET_NAME_MAX + 1];
	int place = switch_place_open(err);
	size_t count = 0, room = 0;
	struct dirent *e;
	DIR *dir;

	if (place < 0)
		return place;
	dir = fdopendir(place);
	if (!dir) {
		close(place);
		return error_set(err, -ENOMEM, STATUS_HOST, "cannot list the switches", "the host has no memory left",
				 "end other programs");
	}
	while ((e = readdir(dir))) {
		size_t len = strlen(e->d_name);

		if (len <= 5 || len - 5 > NET_NAME_MAX || strcmp(e->d_name + len - 5, ".sock") != 0)
			continue;
		if (count == room) {
			more = realloc(names, (room + 64) * sizeof(*names));
			if (!more)
				break;
			names = more;
			room += 64;
		}
		snprintf(names[count], sizeof(names[0]), "%.*s", (int)(len - 5), e->d_name);
		count++;
	}
	closedir(dir);
	if (count)
		qsort(names, count, sizeof(names[0]), by_name);
	for (size_t i = 0; i < count; i++)
		fn(opaque, names[i]);
	free(names);
	return 0;
}
