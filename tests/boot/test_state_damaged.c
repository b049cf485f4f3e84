// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * usage: test_state_damaged SECONDS ELF...
 *
 * Saves a VM in the middle of each small guest ELF, damages the stream, and loads it into a new VM:
 * that must be refused, or give a VM that runs and stops, whatever its guest does. A byte is
 * changed everywhere but in the long stretches of zeros and of memory's text, as far as the
 * seconds allow, so that every record, field and value is hit; and the stream is cut short.
 * The loads are made in a child, which has to live. Prints TAP.
 */
#include "vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CPUS = 2, MEM = 16 << 20, RUN_US = 1000, SAVE_US = 20000, SLOW_MS = 5000, DEAD_S = 40 };

/* What the child does, for the parent to tell. */
struct progress {
	size_t at;
	unsigned how, loads, taken, cuts;
	bool too_slow, cut_taken;
};

static unsigned number, failed;

static void told(bool ok, const char *elf, const char *what)
{
	const char *slash = strrchr(elf, '/');

	printf("%sok %u - %s: %s\n", ok ? "" : "not ", ++number, slash ? slash + 1 : elf, what);
	fflush(stdout);
	failed += !ok;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct vm *make(const char *elf)
{
	struct vm_config config = { .name = "damaged", .engine = "soft", .cpus = CPUS, .mem = MEM, .kernel = elf, .no_reboot = true };
	struct error err;
	struct vm *vm;

	if (vm_create(&config, &vm, &err)) {
		error_print(&err);
		exit(1);
	}
	return vm;
}

/* --- a VM that is stopped, or saved, by a timer of its loop --- */

struct stop {
	struct vm *vm;
	int fd;
	struct state_writer *save; /* or NULL */
	bool saved;
};

static void on_timer(void *opaque, int fd, uint32_t events)
{
	struct stop *s = opaque;

	loop_unwatch(vm_loop(s->vm), fd);
	if (s->save && (vm_pause(s->vm) || vm_save(s->vm, s->save))) {
		printf("# cannot save\n");
		exit(1);
	}
	s->saved = s->save != NULL;
	vm_stop(s->vm);
}

/* True: it was saved. False: nobody asked, or its guest had ended by then. */
static bool run_for(struct vm *vm, unsigned us, struct state_writer *save)
{
	struct stop s = { .vm = vm, .save = save, .fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK) };
	struct itimerspec when = { .it_value.tv_nsec = us * 1000 };
	struct vm_result result;

	timerfd_settime(s.fd, 0, &when, NULL);
	if (s.fd < 0 || loop_watch(vm_loop(vm), s.fd, EPOLLIN, on_timer, &s))
		exit(1);
	vm_run(vm, &result);
	close(s.fd);
	return s.saved;
}

/* In the middle: earlier, when the guest has ended too soon. */
static bool save_into(const char *elf, struct state_writer *w)
{
	bool saved = false;

	for (unsigned us = SAVE_US; us && !saved; us /= 2) {
		struct vm *vm = make(elf);
		struct error err;

		if (vm_boot(vm, &err))
			us = 1;
		else
			saved = run_for(vm, us, w);
		vm_destroy(vm);
	}
	return saved;
}

static uint8_t *save(const char *elf, size_t *len)
{
	struct state_writer *w;
	const void *bytes;
	uint8_t *copy;

	if (state_writer_create(&w))
		return NULL;
	if (!save_into(elf, w)) {
		state_writer_destroy(w);
		return NULL;
	}
	if (state_writer_finish(w, &bytes, len))
		return NULL;
	copy = malloc(*len);
	if (copy)
		memcpy(copy, bytes, *len);
	state_writer_destroy(w);
	return copy;
}

/* --- damage --- */

/* True: a new VM has taken the stream. */
static bool load(const char *elf, const uint8_t *bytes, size_t len)
{
	struct state_reader *r;
	struct error err;
	struct vm *vm;
	bool taken;

	if (state_reader_create(bytes, len, &r))
		return false;
	vm = make(elf);
	taken = vm_load(vm, r, &err) == 0;
	state_reader_destroy(r);
	if (taken)
		run_for(vm, RUN_US, NULL);
	vm_destroy(vm);
	return taken;
}

/* In a long stretch of one value there is nothing to learn but at its ends. */
static bool dull(const uint8_t *bytes, size_t len, size_t at)
{
	enum { FAR = 24 };

	if (at < FAR || at + FAR >= len)
		return false;
	for (size_t i = at - FAR; i < at + FAR; i++) {
		if (bytes[i] != bytes[at])
			return false;
	}
	return true;
}

static uint8_t damaged(uint8_t byte, unsigned how)
{
	switch (how % 4) {
	case 0: return byte ^ (uint8_t)(1u << rand() % 8);
	case 1: return byte == 0xff ? 0x7f : 0xff;
	case 2: return (uint8_t)(byte + 1);
	default: return (uint8_t)(byte ^ (1 + rand() % 255));
	}
}

/* Every place of interest once, in an order that covers the stream evenly at any time; then again, otherwise. */
static void damage(const char *elf, uint8_t *bytes, size_t len, uint64_t until_ms, struct progress *p)
{
	const size_t stride = 7919; /* a prime that does not divide the length, or there is one place in 7919 less */

	for (p->how = 0; p->how < 8; p->how++) {
		size_t at = 0;

		for (size_t n = 0; n < len; n++) {
			uint64_t begin;
			uint8_t was = bytes[at = (at + stride) % len];

			if (dull(bytes, len, at))
				continue;
			begin = now_ms();
			if (begin > until_ms)
				return;
			p->at = at;
			bytes[at] = damaged(was, p->how);
			alarm(DEAD_S);
			p->taken += load(elf, bytes, len);
			bytes[at] = was;
			p->loads++;
			if (now_ms() - begin > SLOW_MS) {
				p->too_slow = true;
				return;
			}
		}
	}
}

static void cut(const char *elf, const uint8_t *bytes, size_t len, struct progress *p)
{
	for (size_t n = 0; n < len; n += dull(bytes, len, n) ? 4099 : 1) {
		uint8_t *shorter = malloc(n + 1); /* of its own, so that a checker sees who reads beyond its end */

		if (!shorter)
			return;
		memcpy(shorter, bytes, n);
		p->at = n;
		p->cut_taken |= load(elf, shorter, n);
		p->cuts++;
		free(shorter);
	}
}

static void child(const char *elf, unsigned seconds, struct progress *p)
{
	int null = open("/dev/null", O_WRONLY);
	uint8_t *bytes;
	size_t len;

	dup2(null, STDERR_FILENO); /* what the VMs say about their ends */
	srand(1);
	bytes = save(elf, &len);
	if (!bytes || !load(elf, bytes, len))
		_exit(2);
	cut(elf, bytes, len, p);
	damage(elf, bytes, len, now_ms() + seconds * 1000, p);
	_exit(0);
}

static void check(const char *elf, unsigned seconds)
{
	struct progress *p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t pid;

	if (p == MAP_FAILED)
		exit(1);
	pid = fork();
	if (!pid)
		child(elf, seconds, p);
	waitpid(pid, &status, 0);
	printf("# %u cuts; %u damaged streams, of which %u were taken and ran\n", p->cuts, p->loads, p->taken);
	told(!WIFEXITED(status) || WEXITSTATUS(status) != 2, elf, "it is saved, and loaded when nothing is damaged");
	if (status)
		printf("# status %x, at byte %zu, manner %u\n", (unsigned)status, p->at, p->how);
	told(status == 0, elf, "a damaged stream harms nobody");
	told(p->cuts && !p->cut_taken, elf, "a stream that was cut short is refused");
	told(!p->too_slow, elf, "a VM of a damaged stream stops when it is told to");
	munmap(p, sizeof(*p));
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	for (int i = 2; i < argc; i++)
		check(argv[i], (unsigned)atoi(argv[1]));
	printf("1..%u\n", number);
	return failed != 0;
}
