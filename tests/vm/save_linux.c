// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * usage: save_linux KERNEL INITRD ENGINE CPUS
 *
 * Boots the default guest to its shell, saves the VM in the middle of a command, loads the state
 * into a VM made anew, and sees the command and the shell go on there: the two VMs share nothing
 * but the stream. Prints TAP; exit status 77 when there is no guest.
 */
#include "vm/vm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 20, WAIT_S = 240 };

struct console {
	pthread_mutex_t lock;
	size_t len, seen;
	char text[TEXT_MAX];
};

struct session {
	struct vm *vm;
	struct vm_result result;
	struct console console;
	pthread_t thread;
};

static unsigned number;

static void told(bool ok, const char *what)
{
	printf("%sok %u %s\n", ok ? "" : "not ", ++number, what);
	fflush(stdout);
	if (!ok)
		exit(1);
}

static int put(void *opaque, uint8_t byte)
{
	struct console *c = opaque;

	pthread_mutex_lock(&c->lock);
	if (c->len + 1 < TEXT_MAX)
		c->text[c->len++] = (char)byte;
	pthread_mutex_unlock(&c->lock);
	return 1;
}

/* Waits for @what in what was printed since the last call that found something. */
static bool expect(struct console *c, const char *what)
{
	for (int i = 0; i < WAIT_S * 100; i++) {
		char *at;

		pthread_mutex_lock(&c->lock);
		at = strstr(c->text + c->seen, what);
		if (at)
			c->seen = (size_t)(at - c->text) + strlen(what);
		pthread_mutex_unlock(&c->lock);
		if (at)
			return true;
		usleep(10000);
	}
	printf("# waited in vain for: %s\n# last: %s\n", what, c->text + (c->len > 400 ? c->len - 400 : 0));
	return false;
}

static void type(struct session *s, const char *text)
{
	size_t len = strlen(text);

	for (size_t n = 0; n < len; usleep(2000))
		n += vm_serial_input(s->vm, (const uint8_t *)text + n, len - n);
}

static void *run(void *arg)
{
	struct session *s = arg;

	vm_run(s->vm, &s->result);
	return NULL;
}

static struct session *make(char **argv)
{
	struct session *s = calloc(1, sizeof(*s));
	struct vm_config config = {
		.name = "save",
		.engine = argv[3],
		.cpus = (unsigned)atoi(argv[4]),
		.mem = 256 << 20,
		.kernel = argv[1],
		.initrd = argv[2],
		.cmdline = "console=ttyS0 quiet",
		.serial = { put, &s->console },
	};
	struct error err;

	pthread_mutex_init(&s->console.lock, NULL);
	if (vm_create(&config, &s->vm, &err)) {
		error_print(&err);
		exit(1);
	}
	return s;
}

static void destroy(struct session *s)
{
	vm_destroy(s->vm);
	free(s);
}

/* Boots, starts a command that counts, and saves while it does. */
static const void *boot_and_save(char **argv, struct state_writer *w, size_t *len)
{
	struct session *s = make(argv);
	struct error err;
	const void *bytes = NULL;
	bool ok;

	told(vm_boot(s->vm, &err) == 0, "the kernel is loaded");
	pthread_create(&s->thread, NULL, run, s);
	told(expect(&s->console, ":~# "), "it boots to a shell");
	type(s, "x=kept; for i in $(seq 1 400); do echo line $i $(echo $i | sha256sum | cut -c 1-8); done; echo all-$x\n");
	told(expect(&s->console, "line 20 "), "a command runs");
	told(vm_pause(s->vm) == 0, "the VM pauses");
	ok = vm_save(s->vm, w) == 0 && state_writer_finish(w, &bytes, len) == 0;
	told(ok, "it is saved in the middle of the command");
	told(!strstr(s->console.text, "line 400"), "which had not ended");
	vm_stop(s->vm);
	pthread_join(s->thread, NULL);
	told(s->result.end == VM_LEFT, "the first VM ends");
	destroy(s);
	return bytes;
}

static void load_and_go_on(char **argv, const void *bytes, size_t len)
{
	struct session *s = make(argv);
	struct state_reader *r;
	struct error err;
	int ret;

	told(state_reader_create(bytes, len, &r) == 0, "the stream is whole");
	ret = vm_load(s->vm, r, &err);
	if (ret)
		error_print(&err);
	state_reader_destroy(r);
	told(ret == 0, "a new VM takes it");
	pthread_create(&s->thread, NULL, run, s);
	told(expect(&s->console, "line 400 "), "the command goes on");
	told(expect(&s->console, "all-kept"), "and ends with what the shell remembered");
	told(expect(&s->console, ":~# "), "the shell answers");
	type(s, "dmesg | grep -ciE 'warning|bug:|lockup|stall'; echo done-$((6 * 7))\n");
	told(expect(&s->console, "\n0\r\n"), "the kernel noticed nothing");
	told(expect(&s->console, "done-42"), "typing works");
	type(s, "exit\n");
	pthread_join(s->thread, NULL);
	told(s->result.end == VM_POWERED_OFF, "it powers off");
	destroy(s);
}

int main(int argc, char **argv)
{
	struct state_writer *w;
	const void *bytes;
	size_t len = 0;

	if (argc != 5)
		return 2;
	if (access(argv[1], R_OK) || access(argv[2], R_OK)) {
		printf("1..0 # SKIP no guest: run make test-guest\n");
		return 77;
	}
	if (state_writer_create(&w))
		return 1;
	bytes = boot_and_save(argv, w, &len);
	load_and_go_on(argv, bytes, len);
	state_writer_destroy(w);
	printf("1..%u\n", number);
	return 0;
}
