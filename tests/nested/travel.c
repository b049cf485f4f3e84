// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * usage: travel ENGINE CPUS KERNEL INITRD IN UNTIL OUT
 *
 * One leg of a VM's journey between engines and machines. The VM is booted (IN is "-") or loaded from the file IN; runs on
 * ENGINE until it has printed UNTIL; is saved to OUT, a file or a disk. When UNTIL is "-" it runs until it powers off.
 * What it prints goes to standard output, with nothing added or left out, so that the outputs of all legs are one text.
 * When it has printed "reading", a line is typed for it.
 *
 * The guest is the test guest (guests/test/init, function state). Its kernel is told to do without those features of the CPU
 * model that an emulated AMD processor does not have, since it keeps what it has seen at its boot; its CPU model lacks the hypercalls, which
 * a guest of Intel's vendor does not have under KVM on AMD's processors.
 *
 * A file is the length as 8 bytes, little endian, and the stream: a disk is longer than what is on it.
 */
#include "vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 20, WAIT_S = 100, MEM = 96 << 20 };
static const uint64_t stream_max = 1ull << 30;

static const char cmdline[] =
	"console=ttyS0 quiet panic=-1 nopcid noinvpcid clearcpuid=vme,invpcid,rdseed,sha_ni,rdpid,xsavec,xsaves,smap,umip subring.run=state";

static const char cpu[] = "v3,-kvm-pv-unhalt,-kvm-pv-ipi,-kvm-pv-sched-yield";

static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	size_t len, printed;
	bool ended;
	char text[TEXT_MAX];
} console = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER };

static struct vm *vm;
static struct vm_result result;

static void fail(const struct error *err, const char *what)
{
	if (err)
		error_print(err);
	fprintf(stderr, "travel: %s\n", what);
	exit(1);
}

static int put(void *opaque, uint8_t byte)
{
	pthread_mutex_lock(&console.lock);
	if (console.len < TEXT_MAX - 1)
		console.text[console.len++] = (char)byte;
	if (byte == '\n')
		pthread_cond_signal(&console.more);
	pthread_mutex_unlock(&console.lock);
	return 1;
}

static void *run(void *arg)
{
	if (vm_run(vm, &result))
		result.end = VM_FAILED;
	pthread_mutex_lock(&console.lock);
	console.ended = true;
	pthread_cond_signal(&console.more);
	pthread_mutex_unlock(&console.lock);
	return NULL;
}

/* Waits until @text is printed, or the VM has ended: false. */
static bool wait_for(const char *text)
{
	struct timespec until;
	bool seen = false;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	pthread_mutex_lock(&console.lock);
	while (!(seen = strstr(console.text, text) != NULL) && !console.ended && !r)
		r = pthread_cond_timedwait(&console.more, &console.lock, &until);
	pthread_mutex_unlock(&console.lock);
	return seen;
}

static void print_console(void)
{
	pthread_mutex_lock(&console.lock);
	fwrite(console.text, 1, console.len, stdout);
	fflush(stdout);
	pthread_mutex_unlock(&console.lock);
}

static void transfer(int fd, uint8_t *bytes, size_t len, bool out)
{
	for (size_t n = 0; n < len;) {
		ssize_t r = out ? write(fd, bytes + n, len - n) : read(fd, bytes + n, len - n);

		if (r <= 0)
			fail(NULL, out ? "the state cannot be written" : "the state cannot be read");
		n += (size_t)r;
	}
}

static void save(const char *path)
{
	struct state_writer *w;
	const void *bytes = NULL;
	size_t len = 0;
	uint64_t head;
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		fail(NULL, "the file for the state cannot be opened");
	if (vm_pause(vm))
		fail(NULL, "the VM does not pause");
	if (state_writer_create(&w) || vm_save(vm, w) || state_writer_finish(w, &bytes, &len))
		fail(NULL, "the VM cannot be saved");
	head = len;
	transfer(fd, (uint8_t *)&head, sizeof(head), true);
	transfer(fd, (uint8_t *)bytes, len, true);
	if (fsync(fd) || close(fd))
		fail(NULL, "the state cannot be written");
	state_writer_destroy(w);
}

static void load(const char *path)
{
	struct state_reader *r;
	struct error err = { .status = STATUS_OK };
	uint64_t len;
	uint8_t *bytes;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fail(NULL, "the state cannot be opened");
	transfer(fd, (uint8_t *)&len, sizeof(len), false);
	bytes = len <= stream_max ? malloc(len) : NULL;
	if (!bytes)
		fail(NULL, "the state is too big");
	transfer(fd, bytes, len, false);
	if (state_reader_create(bytes, len, &r))
		fail(NULL, "the state is damaged");
	if (vm_load(vm, r, &err))
		fail(&err, "the state does not load");
	state_reader_destroy(r);
	free(bytes);
	close(fd);
}

static void type(const char *text)
{
	size_t len = strlen(text);

	for (size_t n = 0; n < len; usleep(1000))
		n += vm_serial_input(vm, (const uint8_t *)text + n, len - n < 16 ? len - n : 16);
}

int main(int argc, char **argv)
{
	struct vm_config config = { .name = "travel", .mem = MEM, .cpu = cpu, .cmdline = cmdline, .serial = { .put = put } };
	struct error err = { .status = STATUS_OK };
	pthread_t thread;

	if (argc != 8)
		return 2;
	config.engine = argv[1];
	config.cpus = (unsigned)strtoul(argv[2], NULL, 10);
	config.kernel = argv[3];
	config.initrd = argv[4];
	if (vm_create(&config, &vm, &err))
		fail(&err, "no VM");
	if (!strcmp(argv[5], "-") && vm_boot(vm, &err))
		fail(&err, "no boot");
	if (strcmp(argv[5], "-"))
		load(argv[5]);
	pthread_create(&thread, NULL, run, NULL);
	if (strcmp(argv[6], "-")) {
		if (!wait_for(argv[6])) {
			print_console();
			fail(&result.error, "the text did not come");
		}
		save(argv[7]);
		print_console();
		_exit(0);
	}
	if (wait_for("reading\r\n"))
		type("these words are more than a UART holds\n");
	if (!wait_for("(this is never printed)") && !console.ended) {
		print_console();
		fail(NULL, "the VM does not end");
	}
	pthread_join(thread, NULL);
	vm_serial_flush(vm);
	print_console();
	if (result.end != VM_POWERED_OFF)
		fail(&result.error, "the VM did not power off");
	vm_destroy(vm);
	return 0;
}
