// SPDX-License-Identifier: GPL-2.0-or-later
/* Work of the kernel on files of a tmpfs, and on a TCP connection to itself. */
#include "kernel_io.h"

#include "workloads.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

/* A small file is created, written, read again, looked up, renamed and removed, in a directory with some others. */
uint64_t files(uint64_t n)
{
	enum { OTHERS = 16, SIZE = 3000 };
	char dir[] = "/dev/shm/bench-XXXXXX", path[64], renamed[64], buf[SIZE];
	uint64_t sum = 0;
	struct statfs fs;
	struct stat st;

	must(!statfs("/dev/shm", &fs) && fs.f_type == TMPFS_MAGIC, "/dev/shm is no tmpfs");
	must(mkdtemp(dir) != NULL, dir);
	memset(buf, 'x', sizeof(buf));
	while (n--) {
		int fd;

		snprintf(path, sizeof(path), "%s/%u", dir, (unsigned)n % OTHERS);
		snprintf(renamed, sizeof(renamed), "%s/to-%u", dir, (unsigned)n % OTHERS);
		buf[n % SIZE]++;
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		must(fd >= 0 && write(fd, buf, SIZE) == SIZE && pread(fd, buf, SIZE, 0) == SIZE, path);
		close(fd);
		must(!stat(path, &st) && !rename(path, renamed) && stat(path, &st), path);
		fd = open(renamed, O_RDONLY | O_CLOEXEC);
		must(fd >= 0 && read(fd, buf, 100) == 100 && !fstat(fd, &st), renamed);
		close(fd);
		sum = sum * 31 + (uint64_t)st.st_size + (uint64_t)buf[n % 100];
		must(!unlink(renamed), renamed);
	}
	rmdir(dir);
	return sum;
}

enum { MESSAGE = 64, MESSAGES = 20, BULK = 256 << 10 };

static void exactly(ssize_t (*transfer)(int, void *, size_t), int fd, char *buf, size_t size)
{
	while (size) {
		ssize_t r = transfer(fd, buf, size);

		must(r > 0, "tcp");
		buf += r;
		size -= (size_t)r;
	}
}

static ssize_t send_some(int fd, void *buf, size_t size)
{
	return write(fd, buf, size);
}

/* Answers messages, then takes the bulk and tells its sum. */
static void serve(int listener, uint64_t n)
{
	static char buf[BULK];

	while (n--) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		uint64_t sum = 0;

		must(fd >= 0, "accept");
		for (unsigned i = 0; i < MESSAGES; i++) {
			exactly(read, fd, buf, MESSAGE);
			buf[0]++;
			exactly(send_some, fd, buf, MESSAGE);
		}
		exactly(read, fd, buf, BULK);
		for (unsigned i = 0; i < BULK; i += 997)
			sum = sum * 31 + (unsigned char)buf[i];
		exactly(send_some, fd, (char *)&sum, sizeof(sum));
		close(fd);
	}
}

static uint64_t converse(const struct sockaddr_in *to, uint64_t round)
{
	static char buf[BULK];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t sum = 0, bulk;

	must(fd >= 0 && !connect(fd, (const struct sockaddr *)to, sizeof(*to)), "connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	for (unsigned i = 0; i < MESSAGES; i++) {
		memset(buf, (int)(round + i), MESSAGE);
		exactly(send_some, fd, buf, MESSAGE);
		exactly(read, fd, buf, MESSAGE);
		sum = sum * 31 + (unsigned char)buf[0] + (unsigned char)buf[MESSAGE - 1];
	}
	for (unsigned i = 0; i < BULK; i += 997)
		buf[i] = (char)(round * i);
	exactly(send_some, fd, buf, BULK);
	exactly(read, fd, (char *)&bulk, sizeof(bulk));
	close(fd);
	return sum * 31 + bulk;
}

/* Connections to a child process: small messages to and fro, a bulk of data, the end. */
uint64_t tcp(uint64_t n)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(to);
	uint64_t sum = 0;
	pid_t pid;

	must(listener >= 0 && !bind(listener, (struct sockaddr *)&to, len) && !listen(listener, 8) &&
		     !getsockname(listener, (struct sockaddr *)&to, &len),
	     "listen");
	pid = fork();
	must(pid >= 0, "fork");
	if (!pid) {
		serve(listener, n);
		_exit(0);
	}
	close(listener);
	while (n--)
		sum = sum * 31 + converse(&to, n);
	waitpid(pid, NULL, 0);
	return sum;
}
