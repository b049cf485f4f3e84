// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * subring run: from the options to a VM description, the terminal around its run, and from the way
 * it ended to the exit status.
 */
#include "cmd/cmd.h"
#include "cmd/devices.h"
#include "cmd/keys.h"
#include "cmd/serial.h"
#include "cmd/terminal.h"
#include "engine/engine.h"
#include "host/log.h"
#include "machine/machine.h"
#include "vm/vm.h"

#include <ctype.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct run_options {
	const char *name, *engine, *cpu, *kernel, *initrd, *cmdline, *serial, *trace, *gdb;
	struct option_list disk, net, publish;
	unsigned cpus;
	uint64_t mem;
	bool debug_exit, test_device, rng, no_reboot, counters;
};

#define STRING(name, arg, member, help)                                                            \
	{ name, arg, help, OPTION_STRING, offsetof(struct run_options, member), 0, 0 }
#define LIST(name, arg, member, help) { name, arg, help, OPTION_LIST, offsetof(struct run_options, member), 0, 0 }
#define FLAG(name, member, help) { name, NULL, help, OPTION_FLAG, offsetof(struct run_options, member), 0, 0 }

static const struct option_spec run_table[] = {
	STRING("name", "NAME", name, "call the VM so in messages"),
	STRING("engine", "ENGINE", engine,
	       "what runs the CPUs: auto (the default: kvm where that works, or else soft), kvm, soft; soft,host=process "
	       "keeps the engine in a process of its own, soft,tier=interp translates nothing"),
	STRING("cpu", "MODEL", cpu,
	       "the CPU model: " CPU_MODELS_TEXT "; \"v3,-x2apic\" is v3 without that feature, \"v3,+pku\" adds one that only max has"),
	{ "cpus", "N", "number of CPUs, 1 to 16 (default 1)", OPTION_NUMBER, offsetof(struct run_options, cpus), 1,
	  VCPUS_MAX },
	{ "mem", "SIZE", "memory, such as 512M or 2G (default 256M)", OPTION_SIZE, offsetof(struct run_options, mem),
	  BOARD_MEM_MIN, BOARD_MEM_MAX },
	STRING("kernel", "FILE", kernel, "a Linux bzImage, an ELF kernel with a PVH entry, a Multiboot kernel or a boot sector; without it, the default guest"),
	STRING("initrd", "FILE", initrd, "its initial RAM disk; for Multiboot its modules: \"FILE ARGUMENTS,FILE ...\""),
	STRING("cmdline", "TEXT", cmdline, "its command line (default console=ttyS0)"),
	STRING("serial", "WHERE", serial, "the serial port: stdio (the default), file:PATH or none"),
	LIST("disk", "PATH[,...]", disk,
	     "a disk: a raw or qcow2 image, a block device or an ISO image; then format=raw|qcow2, readonly, snapshot (what is written is "
	     "forgotten), "
	     "serial=TEXT, size=SIZE (grow a raw file), cache=writethrough, iops=N, bps=SIZE"),
	LIST("net", "KIND[,...]", net,
	     "a network: user (NAT, without root), tap[=NAME][,bridge=BR], switch=NAME (with other VMs), none; then mac=ADDRESS, pcap=FILE"),
	LIST("publish", "[ADDR:]HOST:GUEST[/udp]", publish, "a port of the host's, 127.0.0.1 without ADDR, that is the guest's (--net user)"),
	FLAG("debug-exit", debug_exit, "a byte v written to port 0xf4 ends the run with status (v << 1) | 1"),
	FLAG("rng", rng, "add a virtio entropy device"),
	FLAG("test-device", test_device, "add the device of test suites: ports 0xe0 to 0xe7, interrupt lines at 0x2000"),
	FLAG("no-reboot", no_reboot, "end the run when the guest resets the machine"),
#define X(id, name, help) name ", "
	STRING("trace", "LIST[:FILE]", trace,
	       "tell what happens, to standard error or a file: " TRACE_TOPICS(X) "or all, separated by commas"),
#undef X
	FLAG("counters", counters, "when the run ends, tell what the engine counted (Ctrl-a s tells while it runs)"),
	STRING("gdb", "ADDR", gdb, "wait for gdb at HOST:PORT, :PORT or unix:PATH before the VM begins"),
	{ 0 },
};

/* --- the run: what callbacks of the loop and the back-ends reach --- */

struct run {
	struct vm *vm;
	struct serial_out *out;
	struct serial_in *in;
	struct keys keys;
	int signal_fd;
	bool terminal;	 /* standard input is one, and raw */
	bool user_left;	 /* by key or signal */
	_Atomic bool output_failed; /* output_error is written before */
	struct error output_error;
	unsigned patience; /* of the last flush, in steps */
};

static void leave(struct run *run)
{
	run->user_left = true;
	vm_stop(run->vm);
}

static void on_signal(void *opaque, int fd, uint32_t events)
{
	struct run *run = opaque;

	loop_unwatch(vm_loop(run->vm), fd);
	leave(run);
}

static void on_hangup(void *opaque)
{
	leave(opaque);
}

/* A text of ours on the raw terminal, between the guest's lines. */
static void tell(const char *text)
{
	for (; *text; text++) {
		if (*text == '\n')
			fputc('\r', stderr);
		fputc(*text, stderr);
	}
	fflush(stderr);
}

static void tell_summary(struct run *run)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return;
	vm_summary(run->vm, out);
	fclose(out);
	tell("\n");
	tell(text);
	free(text);
}

static void toggle_pause(struct run *run)
{
	if (vm_paused(run->vm)) {
		vm_resume(run->vm);
		tell("\nsubring: the VM goes on\n");
	} else if (vm_pause(run->vm) == 0) {
		tell("\nsubring: the VM is paused; Ctrl-a p lets it go on\n");
	}
}

static bool on_key(void *opaque, uint8_t *byte)
{
	struct run *run = opaque;

	switch (keys_feed(&run->keys, *byte, byte)) {
	case KEY_BYTE:
		return true;
	case KEY_LEAVE:
		leave(run);
		break;
	case KEY_HELP:
		fprintf(stderr, "\r\n%s", keys_help);
		fflush(stderr);
		break;
	case KEY_SUMMARY:
		tell_summary(run);
		break;
	case KEY_PAUSE:
		toggle_pause(run);
		break;
	case KEY_NONE:
		break;
	}
	return false;
}

static size_t on_input(void *opaque, const uint8_t *bytes, size_t len)
{
	struct run *run = opaque;

	return vm_serial_input(run->vm, bytes, len);
}

static void on_output_ready(void *opaque)
{
	struct run *run = opaque;

	vm_serial_ready(run->vm);
}

static void on_output_failed(void *opaque, const struct error *err)
{
	struct run *run = opaque;

	run->output_error = *err;
	atomic_store(&run->output_failed, true);
	vm_fail(run->vm, err);
}

/*
 * A guest that ended by itself waits for whoever reads its output, as a program in a pipe does; a
 * user who has left waits a second.
 */
static bool out_of_patience(void *opaque)
{
	struct run *run = opaque;

	if (!run->user_left && !signals_came())
		return false;
	if (run->patience == 0)
		return true;
	run->patience--;
	return false;
}

static void flush_output(struct run *run)
{
	run->patience = 10;
	serial_out_flush(run->out, out_of_patience, run);
	/* The chip may hold bytes that the full buffer had refused. */
	vm_serial_flush(run->vm);
	serial_out_flush(run->out, out_of_patience, run);
}

static int start_input(struct run *run, const struct run_options *o, struct error *err)
{
	struct serial_in_config config = {
		.fd = STDIN_FILENO,
		.loop = vm_loop(run->vm),
		.terminal = isatty(STDIN_FILENO),
		.filter = on_key,
		.take = on_input,
		.hangup = on_hangup,
		.opaque = run,
	};
	int ret;

	if (!serial_is_stdio(o->serial))
		return 0;
	/* A closed standard input is one without bytes. */
	ret = serial_in_create(&config, &run->in);
	if (ret == -EBADF)
		return 0;
	if (ret)
		return error_set(err, ret, STATUS_HOST, "cannot read standard input", "%s",
				 "use --serial file:PATH or --serial none", strerror(-ret));
	if (config.terminal) {
		if (!strcmp(o->engine, "auto"))
			log_note("%s", vm_engine_why(run->vm));
		log_note("Ctrl-a x leaves, Ctrl-a h shows what else there is");
		/* Traced to the terminal: lines with bare newlines would run off to the right. */
		ret = terminal_raw(STDIN_FILENO, o->trace && !strchr(o->trace, ':'));
		if (ret)
			return error_set(err, ret, STATUS_HOST, "cannot take over the terminal", "%s",
					 "redirect standard input from /dev/null", strerror(-ret));
		run->terminal = true;
	}
	return 0;
}

/* --- the end --- */

static int exit_status(const struct vm_result *result)
{
	switch (result->end) {
	case VM_DEBUG_EXIT: return (int)((result->code << 1 | 1) & 0xff);
	case VM_TRIPLE_FAULT:
	case VM_INTERNAL:
	case VM_FAILED: return (int)result->error.status;
	default: return STATUS_OK;
	}
}

static int tell_end(struct run *run, const struct vm_result *result)
{
	static const char *const text[] = {
#define X(id, help) [VM_##id] = help,
		VM_ENDS(X)
#undef X
	};
	int status = exit_status(result);

	if (result->report)
		fputs(result->report, stderr);
	if (result->end == VM_TRIPLE_FAULT || result->end == VM_INTERNAL || result->end == VM_FAILED) {
		error_print(&result->error);
	} else if (atomic_load(&run->output_failed)) {
		/* The guest had ended when its last bytes turned out to be lost. */
		error_print(&run->output_error);
		status = (int)run->output_error.status;
	} else if (run->terminal) {
		log_note("%s", text[result->end]);
	}
	return status;
}

/* --- from the options to a VM --- */

static int check_name(const char *name, struct error *err)
{
	size_t len = strlen(name), i;

	for (i = 0; i < len; i++) {
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			break;
	}
	if (!len || len > 64 || i < len || !isalnum((unsigned char)name[0]))
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot call a VM '%.80s'", "%s",
				 "choose another with --name", name,
				 len > 64 ? "a name has at most 64 characters" :
					    "a name consists of letters, digits, '.', '_' and '-', and begins with a letter or digit");
	return 0;
}

/* The default guest's kernel, or only its initrd, where the user named none. */
static int add_default_guest(struct run_options *o, struct default_guest *guest, struct error *err)
{
	int ret;

	if (o->kernel) {
		if (!o->cmdline)
			o->cmdline = "console=ttyS0";
		return 0;
	}
	ret = default_guest_find(guest, err);
	if (ret)
		return ret;
	o->kernel = guest->kernel;
	if (!o->initrd)
		o->initrd = guest->initrd;
	if (!o->cmdline)
		o->cmdline = "console=ttyS0 quiet"; /* a prompt at once, not a screen of messages */
	return 0;
}

static int read_options(int argc, char **argv, struct run_options *o, struct default_guest *guest, struct error *err)
{
	struct cpu_model model;
	int ret;

	*o = (struct run_options){
		.name = "vm",
		.engine = "auto",
		.cpus = 1,
		.mem = 256ull << 20,
		.serial = "stdio",
	};
	ret = options_parse(&command_run, argc, argv, o, NULL, err);
	if (!ret)
		ret = check_name(o->name, err);
	if (!ret)
		ret = cpu_model_parse(o->cpu, &model, err); /* before a default guest is looked for */
	if (!ret && o->trace)
		ret = trace_enable(o->trace, err);
	if (!ret)
		ret = add_default_guest(o, guest, err);
	return ret;
}

static int build_vm(struct run *run, const struct run_options *o, const struct devices *devices, struct error *err)
{
	struct vm_config config = {
		.name = o->name,
		.engine = o->engine,
		.cpu = o->cpu,
		.cpus = o->cpus,
		.mem = o->mem,
		.kernel = o->kernel,
		.initrd = o->initrd,
		.cmdline = o->cmdline,
		.debug_exit = o->debug_exit,
		.test_device = o->test_device,
		.rng = o->rng,
		.disk = devices->disk,
		.disks = devices->disks,
		.net = devices->net,
		.nets = devices->nets,
		.no_reboot = o->no_reboot,
		.gdb = o->gdb,
	};
	int ret;

	ret = serial_out_create(o->serial, &run->out, err);
	if (ret)
		return ret;
	config.serial = serial_out_stream(run->out);
	signals_block();
	ret = vm_create(&config, &run->vm, err);
	signals_unblock();
	if (!ret)
		ret = vm_boot(run->vm, err);
	if (ret)
		return ret;
	ret = loop_watch(vm_loop(run->vm), run->signal_fd, EPOLLIN, on_signal, run);
	if (!ret)
		ret = serial_out_start(run->out, on_output_ready, on_output_failed, run);
	if (ret)
		return error_set(err, ret, STATUS_HOST, "cannot start the VM %s", "%s",
				 "raise the limits of threads and open files (ulimit -u, ulimit -n)", o->name,
				 strerror(-ret));
	return 0;
}

static int run_vm(struct run *run, const struct run_options *o, struct error *err)
{
	struct vm_result result;
	struct devices *devices = malloc(sizeof(*devices)); /* some hundred KB */
	int ret;

	if (!devices) {
		error_set(err, -ENOMEM, STATUS_HOST, "cannot make a VM", "%s", "end other programs", "the host has no memory left");
		return (int)err->status;
	}
	ret = devices_parse(&o->disk, &o->net, &o->publish, o->name, devices, err);
	if (!ret)
		ret = build_vm(run, o, devices, err);
	devices_free(devices);
	free(devices);
	if (!ret)
		ret = start_input(run, o, err);
	if (ret && err->status == STATUS_OK)
		error_set(err, ret, STATUS_INTERNAL, "cannot start the VM %s", "%s",
			  "this is a defect of subring: please report it", o->name, strerror(-ret));
	if (ret)
		return (int)err->status;
	ret = vm_run(run->vm, &result);
	if (ret) {
		error_set(err, ret, STATUS_HOST, "cannot start the VM %s", "%s",
			  "raise the limit of threads (ulimit -u), or ask for fewer --cpus", o->name, strerror(-ret));
		return (int)err->status;
	}
	flush_output(run);
	terminal_restore();
	if (o->counters)
		vm_summary(run->vm, stderr);
	return tell_end(run, &result);
}

static int run_run(int argc, char **argv)
{
	/* Its thread may outlive us, blocked in a write. */
	static struct run run;
	struct default_guest guest;
	struct run_options o;
	struct error err = { .status = STATUS_OK };
	int status;

	if (read_options(argc, argv, &o, &guest, &err)) {
		error_print(&err);
		return (int)err.status;
	}
	run.signal_fd = signals_install();
	if (run.signal_fd < 0) {
		error_set(&err, run.signal_fd, STATUS_HOST, "cannot start the VM %s", "%s",
			  "raise the limit of open files (ulimit -n)", o.name, strerror(-run.signal_fd));
		error_print(&err);
		return (int)err.status;
	}
	status = run_vm(&run, &o, &err);
	terminal_restore();
	if (err.status != STATUS_OK)
		error_print(&err);
	serial_in_destroy(run.in);
	serial_out_destroy(run.out);
	vm_destroy(run.vm);
	return status;
}

const struct command command_run = {
	.name = "run",
	.summary = "Runs a VM until its guest powers off or you leave",
	.options = run_table,
	.run = run_run,
};
