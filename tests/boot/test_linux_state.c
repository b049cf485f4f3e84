// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * usage: test_linux_state KERNEL INITRD CPUS ENGINE...
 *
 * Boots the test guest (guests/test/init, functions state and dmesg) again and again into new VMs:
 * at each of the moments below the VM is paused, saved, destroyed, and goes on in a VM made anew,
 * whose engine is the next of the ENGINEs. Then the console's text, as it came from all of them
 * together, must be what one uninterrupted VM prints:
 *
 *  - what the kernel printed while it booted is the beginning of its own log, line by line;
 *  - what the job printed is what it printed in an uninterrupted run, but for the time it slept;
 *  - the log's times never go back, it has no warning, and no more time has passed in the guest than
 *    while its VMs ran.
 *
 * Nothing of a saved VM's memory is in the new one, so that whatever the saved state forgets is
 * forgotten here. Prints TAP; exit status 77 when there is no guest.
 */
#include "vm/vm.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 20, ENGINES_MAX = 4, WAIT_S = 60, MEM = 128 << 20 };

/*
 * A moment: after @until was printed and @more bytes and @us microseconds after it. With @full the
 * console takes no byte from then on until the VM has moved, so that the UART holds some and waits.
 */
struct moment {
	const char *until;
	unsigned more, us, times; /* times: so often, with @more bytes in between; 0 is 1 */
	bool full;
	const char *type; /* typed while the VM is paused: the UART holds what it takes, the rest comes after */
};

static const struct moment moments[] = {
	/* The kernel has not printed anything yet. */
	{ .until = "", .us = 300 },
	{ .until = "", .us = 3000 },
	{ .until = "", .us = 30000 },
	{ .until = "", .us = 100000 },
	/* Its boot. */
	{ .until = "Linux version", .more = 100, .full = true },
	{ .until = "console [ttyS0] enabled" },
	{ .until = "Switch to symmetric I/O mode", .more = 1 },
	{ .until = "pid_max", .us = 500 },
	{ .until = "Performance Events", .us = 1000 },
	{ .until = "Bringing up secondary CPUs", .us = 200 },
	{ .until = "", .us = 5000 },
	{ .until = "PCI: Using configuration", .us = 10000 },
	{ .until = "Serial: 8250", .more = 20, .full = true },
	{ .until = "rtc_cmos", .more = 10 },
	/* User space. */
	{ .until = "<<< state", .us = 20000 },
	{ .until = "tick 3 ", .more = 77, .times = 12 },
	{ .until = "tick 60 ", .more = 113, .times = 6, .full = true },
	{ .until = "tick 100 ", .us = 1300 },
	{ .until = "sleeping", .us = 300000 },
	{ .until = "", .us = 700000 },
	{ .until = "reading", .us = 100000, .type = "these words are more than a UART holds\n" },
	{ .until = "<<< dmesg", .more = 301, .times = 8, .full = true },
	/* As many as come before the guest has printed all. */
	{ .until = "", .more = 449, .times = 12 },
};

enum { MOMENTS = sizeof(moments) / sizeof(moments[0]) };

/* The text of all the VMs of a run, one after another. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	size_t len;
	/* What is waited for: @until in the text from @from on, and @count bytes after it. */
	const char *until;
	size_t from, count;
	bool reached, stop_there, full;
	bool done; /* the test guest has said its last word */
	char text[TEXT_MAX];
} console = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

struct machine {
	struct vm *vm;
	struct vm_result result;
	pthread_t thread;
};

static const char *kernel, *initrd, *engine[ENGINES_MAX];
static double began, ran; /* seconds: when the present VM began to run, and how long those before it did */
static unsigned cpus, engines, number;

static void told(bool ok, const char *what)
{
	printf("%sok %u - %u vCPU, %s%s%s: %s\n", ok ? "" : "not ", ++number, cpus, engine[0], engines > 1 ? " and " : "",
	       engines > 1 ? engine[1] : "", what);
	fflush(stdout);
	if (ok)
		return;
	printf("# the console's end: %s\n", console.text + (console.len > 600 ? console.len - 600 : 0));
	exit(1);
}

/* --- the console --- */

/* Whether what is waited for has come. */
static bool look(void)
{
	const char *at;

	if (*console.until) {
		at = strstr(console.text + console.from, console.until);
		if (!at)
			return false;
		console.from = (size_t)(at - console.text) + strlen(console.until);
		console.until = "";
	}
	return console.len - console.from >= console.count;
}

static int put(void *opaque, uint8_t byte)
{
	int taken = 0;

	pthread_mutex_lock(&console.lock);
	if (!console.full && console.len < TEXT_MAX - 1) {
		console.text[console.len++] = (char)byte;
		taken = 1;
		if (!console.reached && look()) {
			console.reached = true;
			console.full = console.stop_there;
			pthread_cond_signal(&console.more);
		}
		if (byte == '\n' && strstr(console.text + (console.len > 30 ? console.len - 30 : 0), "=== test guest done")) {
			console.done = true;
			pthread_cond_signal(&console.more);
		}
	}
	pthread_mutex_unlock(&console.lock);
	return taken;
}

/* Lets the VM print again, to the moment @m, or to its end. */
static void console_expect(const struct moment *m)
{
	static const struct moment never = { .until = "(this is never printed)" };

	m = m ? m : &never;
	pthread_mutex_lock(&console.lock);
	console.until = m->until;
	if (!*m->until)
		console.from = console.len;
	console.count = m->more;
	console.stop_there = m->full;
	console.reached = look();
	console.full = console.reached && m->full;
	pthread_mutex_unlock(&console.lock);
}

/* Waits for the moment. False when it did not come: in time, or before the guest's end. */
static bool console_wait(void)
{
	struct timespec until;
	bool reached;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	pthread_mutex_lock(&console.lock);
	while (!console.reached && !console.done && pthread_cond_timedwait(&console.more, &console.lock, &until) == 0)
		;
	reached = console.reached;
	pthread_mutex_unlock(&console.lock);
	return reached;
}

static void console_begin(void)
{
	pthread_mutex_lock(&console.lock);
	memset(console.text, 0, console.len);
	console.len = console.from = 0;
	console.done = false;
	pthread_mutex_unlock(&console.lock);
}

/* --- a VM --- */

static void fail(const struct error *err, const char *what)
{
	error_print(err);
	told(false, what);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *run(void *arg)
{
	struct machine *m = arg;

	if (vm_run(m->vm, &m->result))
		m->result.end = VM_FAILED;
	return NULL;
}

static void start(struct machine *m)
{
	began = now();
	pthread_create(&m->thread, NULL, run, m);
}

static void make(struct machine *m, unsigned n)
{
	struct vm_config config = {
		.name = "state",
		.engine = engine[n % engines],
		.cpus = cpus,
		.mem = MEM,
		.kernel = kernel,
		.initrd = initrd,
		.cmdline = "console=ttyS0 loglevel=8 panic=-1 subring.run=state,dmesg",
		.serial = { .put = put },
	};
	struct error err;

	memset(m, 0, sizeof(*m));
	if (vm_create(&config, &m->vm, &err))
		fail(&err, "a VM is made");
}

static void type(struct machine *m, const char *text)
{
	size_t len = strlen(text);

	/* Not faster than the tty takes it. */
	for (size_t n = 0; n < len; usleep(1000))
		n += vm_serial_input(m->vm, (const uint8_t *)text + n, len - n < 16 ? len - n : 16);
}

/* Saves the paused VM, ends it, and goes on in a new one with the @n-th engine, to the moment @next (NULL: the end). */
static void move(struct machine *m, unsigned n, const char *text, const struct moment *next)
{
	struct state_writer *w;
	struct state_reader *r;
	struct error err;
	const void *bytes;
	size_t len = 0, typed = 0;
	bool ok;

	if (text)
		typed = vm_serial_input(m->vm, (const uint8_t *)text, strlen(text));
	ok = state_writer_create(&w) == 0 && vm_save(m->vm, w) == 0 && state_writer_finish(w, &bytes, &len) == 0;
	if (!ok)
		told(false, "the VM is saved");
	vm_stop(m->vm);
	pthread_join(m->thread, NULL);
	/* The last moments may come when the guest has powered off already: then so does the next VM. */
	if (m->result.end != VM_LEFT && m->result.end != VM_POWERED_OFF)
		told(false, "a VM that was saved ends when it is told to");
	vm_destroy(m->vm);

	make(m, n);
	console_expect(next);
	if (state_reader_create(bytes, len, &r))
		told(false, "the saved state is whole");
	if (vm_load(m->vm, r, &err))
		fail(&err, "a new VM takes the saved state");
	state_reader_destroy(r);
	state_writer_destroy(w);
	start(m);
	if (text)
		type(m, text + typed);
}

static void end(struct machine *m, const char *what)
{
	pthread_join(m->thread, NULL);
	vm_serial_flush(m->vm);
	if (m->result.end == VM_FAILED || m->result.end == VM_INTERNAL)
		error_print(&m->result.error);
	told(m->result.end == VM_POWERED_OFF, what);
	vm_destroy(m->vm);
}

/* The text of one run that nothing interrupts; the caller's. */
static char *run_whole(void)
{
	struct machine m;
	struct error err;
	char *text;

	console_begin();
	make(&m, 0);
	if (vm_boot(m.vm, &err))
		fail(&err, "the kernel is loaded");
	console_expect(&(struct moment){ .until = "reading\r\n" });
	start(&m);
	told(console_wait(), "an uninterrupted run reads its input");
	type(&m, "these words are more than a UART holds\n");
	end(&m, "an uninterrupted run powers off");
	text = strdup(console.text);
	if (!text)
		told(false, "there is memory");
	return text;
}

/* The moments one by one; NULL after the last. */
static const struct moment *moment(unsigned n)
{
	static struct moment m;

	for (unsigned i = 0; i < MOMENTS; i++) {
		unsigned times = moments[i].times ? moments[i].times : 1;

		if (n >= times) {
			n -= times;
			continue;
		}
		m = moments[i];
		if (n)
			m.until = "";
		return &m;
	}
	return NULL;
}

/* The same with a new VM at each moment. */
static void run_moving(void)
{
	const struct moment *at;
	struct machine m;
	struct error err;
	unsigned moved = 0;
	char what[96];

	console_begin();
	ran = 0;
	make(&m, 0);
	if (vm_boot(m.vm, &err))
		fail(&err, "the kernel is loaded");
	console_expect(moment(0));
	start(&m);
	while ((at = moment(moved))) {
		const char *text = at->type;

		if (!console_wait() && console.done)
			break;
		snprintf(what, sizeof(what), "'%s' is printed after %u moves", at->until, moved);
		if (!console.reached)
			told(false, what);
		usleep(at->us);
		if (vm_pause(m.vm))
			told(false, "the VM pauses");
		ran += now() - began;
		moved++;
		move(&m, moved, text, moment(moved));
	}
	snprintf(what, sizeof(what), "it powers off after %u moves", moved);
	end(&m, what);
	ran += now() - began;
	told(moved > 40, "it moved often");
}

/* --- what was printed --- */

/* The next line of @at, without its end; NULL at the end. */
static char *next_line(char **at)
{
	char *line = *at, *e;

	if (!line || !*line)
		return NULL;
	e = strchr(line, '\n');
	*at = e ? e + 1 : NULL;
	if (e)
		*e = 0;
	for (e = line + strlen(line); e > line && e[-1] == '\r';)
		*--e = 0;
	return line;
}

/* What function @name of the test guest printed: a copy, the caller's. */
static char *part(const char *text, const char *name)
{
	char begin[32], last[32], *copy;
	const char *a, *b;

	snprintf(begin, sizeof(begin), "<<< %s\r\n", name);
	snprintf(last, sizeof(last), ">>> %s\r\n", name);
	a = strstr(text, begin);
	b = a ? strstr(a, last) : NULL;
	if (!b)
		return NULL;
	a += strlen(begin);
	copy = strndup(a, (size_t)(b - a));
	return copy;
}

/* The time of "slept A B", or -1. */
static double slept(const char *line)
{
	double a, b;

	return sscanf(line, "slept %lf %lf", &a, &b) == 2 ? b - a : -1;
}

/* The job's text is the same, but for how long it slept. */
static void compare_job(const char *whole, const char *moved)
{
	char *a = part(whole, "state"), *b = part(moved, "state");
	char *at_a = a, *at_b = b, *la, *lb;

	told(a && b, "the job came to its end");
	do {
		la = next_line(&at_a);
		lb = next_line(&at_b);
		if (la && lb && slept(la) >= 0 && slept(lb) >= 0) {
			printf("# slept for 2 s: %.2f and %.2f\n", slept(la), slept(lb));
			told(slept(lb) >= 1.99 && slept(lb) < 4, "the job slept as long as it wanted to");
			continue;
		}
		if (!la != !lb || (la && strcmp(la, lb))) {
			printf("# uninterrupted: %s\n# moved: %s\n", la ? la : "(the end)", lb ? lb : "(the end)");
			told(false, "the job printed what it prints in an uninterrupted run");
		}
	} while (la && lb);
	told(true, "the job printed what it prints in an uninterrupted run");
	free(a);
	free(b);
}

/* The text of a line of the kernel's log without its level, which is left in @level; NULL: it is none. */
static const char *log_line(const char *line, unsigned *level, double *time)
{
	int n = 0;

	*level = 0;
	if (sscanf(line, "<%u>%n", level, &n) == 1)
		line += n;
	n = 0;
	return sscanf(line, "[%lf] %n", time, &n) == 1 && n ? line : NULL;
}

static void check_log(const char *text)
{
	char *log = part(text, "dmesg"), *console_text = strdup(text), *at_log = log, *at = console_text;
	unsigned level, lines = 0, warnings = 0, back = 0, ignored;
	const char *off = strstr(text, "reboot: Power down");
	double last = 0, time;
	char *line;

	told(log && console_text, "the kernel's log is there");
	/* Nothing of the kernel is printed after the job's begin but what it says when it powers off. */
	*strstr(console_text, "<<< state") = 0;
	while ((line = next_line(&at_log))) {
		const char *said = log_line(line, &level, &time), *printed = NULL;
		char *l;

		if (!said) {
			printf("# no line of a log: %s\n", line);
			told(false, "the log's lines are whole");
		}
		/* Said when the host takes a vCPU's thread away at the wrong time. */
		if ((level & 7) <= 4 && !strstr(said, "hrtimer: interrupt took")) {
			warnings++;
			printf("# warning: %s\n", said);
		}
		/* Until its clock is marked as stable, two CPUs of Linux may differ by a tick (kernel/sched/clock.c). */
		if (time < last - (cpus > 1 ? 0.004 : 0)) {
			back++;
			printf("# back from %f: %s\n", last, said);
		}
		last = time;
		while (!printed && (l = next_line(&at)))
			printed = log_line(l, &ignored, &time);
		if (printed && strcmp(said, printed)) {
			printf("# in the log: %s\n# printed: %s\n", said, printed);
			told(false, "the kernel's messages were printed once each");
		}
		lines += printed != NULL;
	}
	while ((line = next_line(&at)))
		told(!log_line(line, &ignored, &time), "the kernel's messages were printed once each");
	printf("# %u lines of the kernel\n", lines);
	told(lines > 100, "the kernel's messages were printed once each");
	told(!back, "the kernel's time never went back");
	while (off && off > text && off[-1] != '\n')
		off--;
	told(off && log_line(off, &ignored, &time), "the kernel says when it powers off");
	printf("# %.3f s passed in the guest, %.3f s outside while it ran\n", time, ran);
	told(time < ran, "no more time passed in the guest than outside");
	told(!warnings, "the kernel warned of nothing");
	free(log);
	free(console_text);
}

int main(int argc, char **argv)
{
	char *whole;

	if (argc < 5 || argc > 4 + ENGINES_MAX)
		return 2;
	kernel = argv[1];
	initrd = argv[2];
	cpus = (unsigned)atoi(argv[3]);
	for (engines = 0; argv[4 + engines]; engines++)
		engine[engines] = argv[4 + engines];
	if (access(kernel, R_OK) || access(initrd, R_OK)) {
		printf("1..0 # SKIP no guest: run make test-guest\n");
		return 77;
	}
	whole = run_whole();
	run_moving();
	compare_job(whole, console.text);
	check_log(console.text);
	if (getenv("SUBRING_TEST_CONSOLE")) { /* for whoever looks into a failure */
		FILE *f = fopen(getenv("SUBRING_TEST_CONSOLE"), "w");

		if (f) {
			fwrite(console.text, 1, console.len, f);
			fclose(f);
		}
	}
	free(whole);
	printf("1..%u\n", number);
	return 0;
}
