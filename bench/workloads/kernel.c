// SPDX-License-Identifier: GPL-2.0-or-later
/* Work of the kernel: null system call, pipes, processes, page faults, mappings, signals. */
#include "workloads.h"

#include "kernel_io.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t getpid_calls(uint64_t n)
{
	uint64_t done = 0;

	while (n--)
		done += syscall(SYS_getppid) >= 0;
	return done;
}

/* A byte there and back between two processes. */
static uint64_t pipes(uint64_t n)
{
	int to[2], from[2];
	uint64_t sum = 0;
	unsigned char c = 0;
	pid_t pid;

	must(!pipe(to) && !pipe(from), "pipe");
	pid = fork();
	must(pid >= 0, "fork");
	if (!pid) {
		close(to[1]);
		while (read(to[0], &c, 1) == 1)
			must(write(from[1], &c, 1) == 1, "write");
		_exit(0);
	}
	close(to[0]);
	while (n--) {
		c = (unsigned char)n;
		must(write(to[1], &c, 1) == 1 && read(from[0], &c, 1) == 1, "pipe");
		sum += c;
	}
	close(to[1]);
	close(from[0]);
	close(from[1]);
	waitpid(pid, NULL, 0);
	return sum;
}

static uint64_t children(uint64_t n, int exec)
{
	uint64_t sum = 0;

	while (n--) {
		int status = 0;
		pid_t pid = fork();

		must(pid >= 0, "fork");
		if (!pid) {
			if (exec)
				execl("/proc/self/exe", "bench-workloads", "exit", (char *)NULL);
			_exit(7);
		}
		must(waitpid(pid, &status, 0) == pid, "waitpid");
		sum += (uint64_t)WEXITSTATUS(status);
	}
	return sum;
}

static uint64_t fork_exit(uint64_t n)
{
	return children(n, 0);
}

static uint64_t fork_exec(uint64_t n)
{
	return children(n, 1);
}

static uint64_t page_faults(uint64_t n)
{
	enum { SIZE = 4 << 20 };
	uint64_t sum = 0;

	while (n--) {
		char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		must(p != MAP_FAILED, "mmap");
		madvise(p, SIZE, MADV_NOHUGEPAGE);
		for (unsigned i = 0; i < SIZE; i += 4096)
			sum += (uint64_t)++p[i];
		munmap(p, SIZE);
	}
	return sum;
}

static uint64_t mappings(uint64_t n)
{
	uint64_t sum = 0;

	while (n--) {
		char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		must(p != MAP_FAILED, "mmap");
		sum += (uint64_t)++p[n & 0xffff];
		munmap(p, 65536);
	}
	return sum;
}

static volatile uint64_t signals_seen;

static void on_signal(int sig)
{
	(void)sig;
	signals_seen++;
}

static uint64_t signals(uint64_t n)
{
	signal(SIGUSR1, on_signal);
	signals_seen = 0;
	while (n--)
		raise(SIGUSR1);
	return signals_seen;
}

const struct workload kernel_workloads[] = {
	{ "kernel", "syscall", getpid_calls, 300000, NULL }, { "kernel", "pipe", pipes, 6000, NULL },
	{ "kernel", "fork-exit", fork_exit, 400, NULL },     { "kernel", "fork-exec", fork_exec, 120, NULL },
	{ "kernel", "page-fault", page_faults, 30, NULL },   { "kernel", "mmap", mappings, 15000, NULL },
	{ "kernel", "signal", signals, 40000, NULL },
	{ "kernel", "file", files, 1350, NULL },
	{ "kernel", "tcp", tcp, 70, NULL },
	{ 0 },
};
