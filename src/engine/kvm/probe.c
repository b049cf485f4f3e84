// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Does this host's KVM really run operating systems? Asked of a throw-away VM, because the answer is not in any
 * capability: a KVM may create VMs and run their real mode and ring 0 in an instruction emulator (a KVM
 * without hardware below it), which is slow and lacks most instructions.
 *
 * Each guest of probe_guests.S runs on a vCPU of its own, set up directly in the mode that it is about (Linux,
 * Documentation/virt/kvm/api.rst; SDM vol. 3, chapters 4 and 9 for the modes). What it leaves in memory is
 * looked at. Speed is judged by comparing ring 0 with ring 3 in the same VM, since a machine that is slow as a whole, such as
 * an emulated one, is still one whose KVM works.
 *
 * The timer: KVM_RUN comes back with EINTR for a signal that is blocked everywhere but in there (KVM_SET_SIGNAL_MASK), so that
 * no handler is needed. The signal is a real-time one that nobody has taken. Whatever was opened is closed at the end, in kvm_probe.
 */
#include "engine/kvm/kvm.h"

#include "engine/kvm/probe_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* One guest may take so long; all of them together the other. */
enum { GUEST_MS = 1000, ALL_MS = 1500 };
/* Ring 0 is emulated when its loop takes longer than this, and so many times longer than ring 3's. */
enum { SLOW_NS = 5000000, SLOW_TIMES = 10 };
enum { CPUID_MAX = 256 };

enum mode { MODE_REAL, MODE_32, MODE_64, MODE_64_USER };

struct probe_run {
	struct kvm_probe *out;
	int kvm, vm;
	uint8_t *mem;
	int run_size;
	unsigned vcpus; /* created so far: the next one's ID */
	struct timespec begin;
	int signal; /* 0: none could be had */
	timer_t timer;
	bool timer_made;
	sigset_t old_mask;
	uint64_t ring0_ns, ring3_ns;
	union {
		struct kvm_cpuid2 cpuid;
		uint8_t cpuid_room[sizeof(struct kvm_cpuid2) + CPUID_MAX * sizeof(struct kvm_cpuid_entry2)];
	};
};

/* A guest: its code, and what has to be in memory when it is done. */
struct guest {
	const char *name;
	enum mode mode;
	const uint8_t *code, *end;
	struct {
		uint16_t offset; /* from PROBE_DATA */
		uint32_t mask, value;
		const char *wrong; /* what it means when it is otherwise */
	} want[2];
};

#define GUEST_CODE(X) X(real) X(paging) X(loop) X(vector) X(fault) X(syscall) X(vmmcall) X(vmcall)
#define X(n) extern const uint8_t probe_##n[], probe_##n##_end[];
GUEST_CODE(X)
#undef X
#define CODE(n) .code = probe_##n, .end = probe_##n##_end

/* --- parts --- */

static __attribute__((format(printf, 4, 5))) bool part(struct probe_run *p, const char *name, enum kvm_probe_result result,
						       const char *fmt, ...)
{
	struct kvm_probe_part *t;
	va_list ap;

	if (p->out->count == KVM_PROBE_PARTS_MAX)
		return false;
	t = &p->out->part[p->out->count++];
	t->name = name;
	t->result = result;
	va_start(ap, fmt);
	vsnprintf(t->detail, sizeof(t->detail), fmt, ap);
	va_end(ap);
	/* The first thing that went wrong decides. */
	if (result == KVM_PROBE_FAILED && p->out->usable) {
		p->out->usable = false;
		if (p->out->count == 1)
			snprintf(p->out->why, sizeof(p->out->why), "%s %s", name, t->detail);
		else
			snprintf(p->out->why, sizeof(p->out->why), "KVM fails at \"%s\": %s", name, t->detail);
	}
	return result == KVM_PROBE_OK;
}

static uint64_t elapsed_ns(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)((now.tv_sec - since->tv_sec) * 1000000000ll + (now.tv_nsec - since->tv_nsec));
}

/* --- the timer --- */

static bool timer_begin(struct probe_run *p)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID };
	struct sigaction action;
	sigset_t mask;

	for (int s = SIGRTMAX; s >= SIGRTMIN && !p->signal; s--) {
		if (sigaction(s, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
			p->signal = s;
	}
	if (!p->signal)
		return false;
	sigemptyset(&mask);
	sigaddset(&mask, p->signal);
	pthread_sigmask(SIG_BLOCK, &mask, &p->old_mask);
	event.sigev_signo = p->signal;
	event.sigev_notify_thread_id = gettid();
	p->timer_made = timer_create(CLOCK_MONOTONIC, &event, &p->timer) == 0;
	return p->timer_made;
}

static void timer_drain(struct probe_run *p)
{
	static const struct timespec at_once = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, p->signal);
	while (sigtimedwait(&set, NULL, &at_once) > 0)
		;
}

/* Signals after @ms, and again every 10 ms, until it is set to 0. */
static void timer_set(struct probe_run *p, unsigned ms)
{
	struct itimerspec t = { .it_value = { ms / 1000, ms % 1000 * 1000000l } };

	if (ms)
		t.it_interval.tv_nsec = 10000000;
	timer_settime(p->timer, 0, &t, NULL);
	if (!ms)
		timer_drain(p);
}

static void timer_end(struct probe_run *p)
{
	if (p->timer_made)
		timer_delete(p->timer);
	if (p->signal) {
		timer_drain(p);
		pthread_sigmask(SIG_SETMASK, &p->old_mask, NULL);
	}
}

/* --- a vCPU in the mode of a guest --- */

static void put64(uint8_t *at, uint64_t v)
{
	memcpy(at, &v, sizeof(v));
}

static void fill_memory(struct probe_run *p, const struct guest *g)
{
	static const uint64_t gdt[] = {
		0,
		0x00af9b000000ffff, /* PROBE_CS64 */
		0x00cf93000000ffff, /* its data */
		0x00affb000000ffff, /* PROBE_CS64_USER */
		0x00cff3000000ffff,
		0x00cf9b000000ffff, /* PROBE_CS32 */
	};
	uint32_t pde = 0x87; /* present, writable, user, 4 MiB (SDM vol. 3, 4.3) */

	memset(p->mem, 0, PROBE_MEM);
	put64(p->mem + PROBE_PML4, PROBE_PDPT | 7);
	put64(p->mem + PROBE_PDPT, PROBE_PD | 7);
	put64(p->mem + PROBE_PD, 0x87); /* 2 MiB */
	memcpy(p->mem + PROBE_PD32, &pde, sizeof(pde));
	memcpy(p->mem + PROBE_PD32 + 4, &pde, sizeof(pde));
	memcpy(p->mem + PROBE_GDT, gdt, sizeof(gdt));
	memcpy(p->mem + PROBE_CODE, g->code, (size_t)(g->end - g->code));
}

static struct kvm_segment flat(uint16_t selector, bool code, enum mode mode)
{
	return (struct kvm_segment){
		.limit = mode == MODE_REAL ? 0xffff : 0xffffffff,
		.selector = selector,
		.type = code && mode != MODE_REAL ? 11 : 3,
		.present = 1,
		.dpl = mode == MODE_64_USER ? 3 : 0,
		.db = mode == MODE_32 || (mode == MODE_64_USER && !code) || (mode == MODE_64 && !code),
		.s = 1,
		.l = code && (mode == MODE_64 || mode == MODE_64_USER),
		.g = mode != MODE_REAL,
	};
}

static int set_sregs(int vcpu, enum mode mode)
{
	struct kvm_sregs s;
	struct kvm_segment data;
	uint16_t selector;

	if (ioctl(vcpu, KVM_GET_SREGS, &s))
		return -errno;
	selector = mode == MODE_REAL ? 0 : mode == MODE_32 ? PROBE_CS32 : mode == MODE_64 ? PROBE_CS64 : PROBE_CS64_USER;
	s.cs = flat(selector, true, mode);
	selector = mode == MODE_REAL ? 0 : mode == MODE_64_USER ? PROBE_CS64_USER + 8 : PROBE_CS64 + 8;
	data = flat(selector, false, mode);
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.gdt.base = PROBE_GDT;
	s.gdt.limit = 6 * 8 - 1;
	s.idt.base = mode == MODE_REAL ? 0 : PROBE_IDT;
	s.idt.limit = mode == MODE_REAL ? 0x3ff : 256 * 16 - 1;
	/* A busy TSS of the kind that the mode has: VMRUN and VM entry want one (SDM vol. 3, 26.3.1.2). */
	s.tr.type = 11;
	s.tr.present = 1;
	s.tr.s = 0;
	s.tr.limit = 0x67;
	s.tr.base = PROBE_DATA + 0x800;
	if (mode != MODE_REAL)
		s.cr0 = 0x33; /* PE MP ET NE */
	if (mode == MODE_64 || mode == MODE_64_USER) {
		s.cr3 = PROBE_PML4;
		s.cr4 = 0x620;	       /* PAE OSFXSR OSXMMEXCPT */
		s.cr0 |= 0x80000000;   /* PG */
		s.efer = 0x501;	       /* SCE LME LMA */
	}
	return ioctl(vcpu, KVM_SET_SREGS, &s) ? -errno : 0;
}

static int set_registers(int vcpu, enum mode mode)
{
	struct kvm_regs regs = { .rip = PROBE_CODE, .rsp = PROBE_STACK, .rflags = mode == MODE_64_USER ? 0x3002 : 2 };
	static const struct kvm_msr_entry entry[] = {
		{ .index = 0xc0000081, .data = (uint64_t)PROBE_CS64 << 32 },  /* STAR */
		{ .index = 0xc0000082, .data = PROBE_CODE + PROBE_SYSCALL },  /* LSTAR */
		{ .index = 0xc0000084, .data = 0 },			      /* FMASK */
	};
	union {
		struct kvm_msrs head;
		uint8_t room[sizeof(struct kvm_msrs) + sizeof(entry)];
	} msrs = { .head.nmsrs = 3 };
	int r = set_sregs(vcpu, mode);

	memcpy(msrs.room + sizeof(struct kvm_msrs), entry, sizeof(entry));
	if (r)
		return r;
	if (ioctl(vcpu, KVM_SET_REGS, &regs))
		return -errno;
	if (mode == MODE_64_USER && ioctl(vcpu, KVM_SET_MSRS, &msrs) != 3)
		return -EIO;
	return 0;
}

/* While the guest runs, the timer's signal alone is let in. */
static int set_mask(struct probe_run *p, int vcpu)
{
	uint64_t mask = ~(1ull << (p->signal - 1));
	union {
		struct kvm_signal_mask head;
		uint8_t room[sizeof(struct kvm_signal_mask) + sizeof(mask)];
	} m = { .head.len = sizeof(mask) };

	memcpy(m.room + sizeof(struct kvm_signal_mask), &mask, sizeof(mask));
	return ioctl(vcpu, KVM_SET_SIGNAL_MASK, &m) ? -errno : 0;
}

/* A vCPU ready to run @g; its descriptor or a negative errno. */
static int make_vcpu(struct probe_run *p, const struct guest *g)
{
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	int vcpu = ioctl(p->vm, KVM_CREATE_VCPU, p->vcpus++), r = 0;

	if (vcpu < 0)
		return -errno;
	/* All but the first wait for a startup IPI. */
	if (ioctl(vcpu, KVM_SET_CPUID2, &p->cpuid) || ioctl(vcpu, KVM_SET_MP_STATE, &runnable))
		r = -errno;
	if (!r)
		r = set_mask(p, vcpu);
	if (!r)
		r = set_registers(vcpu, g->mode);
	if (r) {
		close(vcpu);
		return r;
	}
	return vcpu;
}

/* --- running a guest --- */

/* An exit that is none of the guest's as text. */
static void tell_exit(int vcpu, const struct kvm_run *run, char *text, size_t len)
{
	struct kvm_sregs s = { 0 };

	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		snprintf(text, len, "internal error %u%s", run->internal.suberror,
			 run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION ? ", an instruction that its emulator lacks" : "");
	else if (run->exit_reason == KVM_EXIT_SHUTDOWN)
		snprintf(text, len, "a triple fault%s",
			 ioctl(vcpu, KVM_GET_SREGS, &s) ? "" : s.ss.dpl ? " in ring 3" : " in ring 0");
	else if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		snprintf(text, len, "the CPU refuses the guest's state (0x%llx)",
			 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
	else
		snprintf(text, len, "an exit that it cannot have made (%u)", run->exit_reason);
}

/* Runs to the guest's end. False: @text says what happened. @ns: from PROBE_START to the end. */
static bool run_to_end(struct probe_run *p, int vcpu, struct kvm_run *run, uint64_t *ns, char *text, size_t len)
{
	struct timespec start = p->begin;

	/* No guest has more exits than these. */
	for (unsigned exits = 0; exits < 8; exits++) {
		if (ioctl(vcpu, KVM_RUN, 0)) {
			if (errno == EINTR)
				snprintf(text, len, "it does not come back from the guest");
			else
				snprintf(text, len, "KVM_RUN: %s", strerror(errno));
			return false;
		}
		if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT && run->io.port == PROBE_DONE) {
			*ns = elapsed_ns(&start);
			return true;
		}
		if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT && run->io.port == PROBE_START) {
			clock_gettime(CLOCK_MONOTONIC, &start);
			continue;
		}
		tell_exit(vcpu, run, text, len);
		return false;
	}
	snprintf(text, len, "exits without end");
	return false;
}

static bool answers_right(struct probe_run *p, const struct guest *g, char *text, size_t len)
{
	for (unsigned i = 0; i < 2; i++) {
		uint32_t v;

		memcpy(&v, p->mem + PROBE_DATA + g->want[i].offset, sizeof(v));
		if ((v & g->want[i].mask) != g->want[i].value) {
			snprintf(text, len, "%s (0x%x)", g->want[i].wrong, v);
			return false;
		}
	}
	return true;
}

/* False: @text says what is wrong. */
static bool try_guest(struct probe_run *p, const struct guest *g, uint64_t *ns, char *text, size_t len)
{
	unsigned spent = (unsigned)(elapsed_ns(&p->begin) / 1000000);
	struct kvm_run *run;
	bool ok;
	int vcpu;

	if (spent >= ALL_MS) {
		snprintf(text, len, "no time is left");
		return false;
	}
	fill_memory(p, g);
	vcpu = make_vcpu(p, g);
	if (vcpu < 0) {
		snprintf(text, len, "a vCPU in that mode: %s", strerror(-vcpu));
		return false;
	}
	run = mmap(NULL, (size_t)p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED) {
		snprintf(text, len, "its run page: %s", strerror(errno));
		close(vcpu);
		return false;
	}
	timer_set(p, ALL_MS - spent < GUEST_MS ? ALL_MS - spent : GUEST_MS);
	ok = run_to_end(p, vcpu, run, ns, text, len) && answers_right(p, g, text, len);
	timer_set(p, 0);
	munmap(run, (size_t)p->run_size);
	close(vcpu);
	return ok;
}

/* --- the parts, in their order --- */

/* A guest as a part. */
static bool try_part(struct probe_run *p, const struct guest *g)
{
	char text[100];
	uint64_t ns;
	bool ok = try_guest(p, g, &ns, text, sizeof(text));

	return part(p, g->name, ok ? KVM_PROBE_OK : KVM_PROBE_FAILED, "%s", ok ? "as the manual says" : text);
}

static const struct guest guests[] = {
	{ .name = "x87 and SSE in ring 0", .mode = MODE_64, CODE(vector),
	  .want = { { 0, ~0u, 2, "x87 adds wrong" }, { 16 + 12, ~0u, 0x02020202, "SSE adds wrong" } } },
	{ .name = "exceptions and IRET in ring 0", .mode = MODE_64, CODE(fault),
	  .want = { { 0, ~0u, 0x0bad0bad, "the handler did not run" }, { 4, ~0u, 0x600d, "IRET went elsewhere" } } },
	{ .name = "SYSCALL from ring 3", .mode = MODE_64_USER, CODE(syscall),
	  .want = { { 0, 0xffff, PROBE_CS64, "it arrives with another CS" }, { 4, 0x80000001, 0x80000001, "CR0 is another" } } },
	{ .name = "32-bit paging", .mode = MODE_32, CODE(paging),
	  .want = { { 4, 0x80000001, 0x80000001, "CR0.PG does not stick" }, { 0, ~0u, 0x5eaf00d5, "it maps wrong" } } },
	{ .name = "real mode", .mode = MODE_REAL, CODE(real),
	  .want = { { 0, ~0u, 0x23451234, "it computes wrong" }, { 4, ~0u, 0x12341234, "it stores wrong" } } },
};

static const struct guest guest_loop0 = {
	.name = "ring 0 at the speed of ring 3", .mode = MODE_64, CODE(loop),
	.want = { { 0, ~0u, (uint32_t)((uint64_t)PROBE_LOOPS * (PROBE_LOOPS + 1) / 2), "it counts wrong" } },
};

static const struct guest guest_loop3 = {
	.name = "64-bit ring 3", .mode = MODE_64_USER, CODE(loop),
	.want = { { 0, ~0u, (uint32_t)((uint64_t)PROBE_LOOPS * (PROBE_LOOPS + 1) / 2), "it counts wrong" } },
};

static bool try_speed(struct probe_run *p)
{
	char text[100];
	uint64_t ns;

	if (!try_guest(p, &guest_loop3, &p->ring3_ns, text, sizeof(text)))
		return part(p, guest_loop3.name, KVM_PROBE_FAILED, "%s", text);
	part(p, guest_loop3.name, KVM_PROBE_OK, "%d turns of a loop in %.2f ms", PROBE_LOOPS, (double)p->ring3_ns / 1e6);
	if (!try_guest(p, &guest_loop0, &p->ring0_ns, text, sizeof(text)))
		return part(p, guest_loop0.name, KVM_PROBE_FAILED, "%s", text);
	/* Another program may have had the CPU meanwhile. */
	if (p->ring0_ns > SLOW_NS && try_guest(p, &guest_loop0, &ns, text, sizeof(text)) && ns < p->ring0_ns)
		p->ring0_ns = ns;
	if (p->ring0_ns > SLOW_NS && p->ring0_ns / SLOW_TIMES > p->ring3_ns)
		return part(p, guest_loop0.name, KVM_PROBE_FAILED, "%.0f times slower (%.1f ms): it is emulated",
			    (double)p->ring0_ns / (double)p->ring3_ns, (double)p->ring0_ns / 1e6);
	return part(p, guest_loop0.name, KVM_PROBE_OK, "the loop in %.2f ms", (double)p->ring0_ns / 1e6);
}

/* The hypercall instruction of the host's CPU: the other vendor's is invalid, and a KVM may patch it. */
static const struct guest hypercall_amd = {
	.name = "hypercalls", .mode = MODE_64, CODE(vmmcall),
	.want = { { 0, ~0u, (uint32_t)-1000, "not an unknown hypercall's answer" } }, /* -KVM_ENOSYS */
};
static const struct guest hypercall_intel = {
	.name = "hypercalls", .mode = MODE_64, CODE(vmcall),
	.want = { { 0, ~0u, (uint32_t)-1000, "not an unknown hypercall's answer" } },
};

static void try_guests(struct probe_run *p, bool all)
{
	bool ok = true;

	for (size_t i = 0; i < sizeof(guests) / sizeof(guests[0]) && (ok || all); i++)
		ok = try_part(p, &guests[i]) && ok;
	if (ok || all)
		ok = try_speed(p) && ok;
	/* Where it is emulated it may spin for ever, and the answer is known already. */
	if (ok)
		try_part(p, __builtin_cpu_is("amd") ? &hypercall_amd : &hypercall_intel);
	else if (all)
		part(p, hypercall_amd.name, KVM_PROBE_SKIPPED, "not tried after the above");
}

struct capability {
	int number;
	const char *name;
};

/* What engine kvm needs. Those of Linux 4.14 are enough. */
static const struct capability capabilities[] = {
	{ KVM_CAP_USER_MEMORY, "user memory" },	    { KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
	{ KVM_CAP_SPLIT_IRQCHIP, "split irqchip" }, { KVM_CAP_SIGNAL_MSI, "signal MSI" },
	{ KVM_CAP_IRQ_ROUTING, "IRQ routing" },	    { KVM_CAP_IRQFD, "irqfd" },
	{ KVM_CAP_IOEVENTFD, "ioeventfd" },	    { KVM_CAP_MP_STATE, "mp state" },
	{ KVM_CAP_VCPU_EVENTS, "vcpu events" },	    { KVM_CAP_DEBUGREGS, "debugregs" },
	{ KVM_CAP_XSAVE, "xsave" },		    { KVM_CAP_XCRS, "xcrs" },
	{ KVM_CAP_EXT_CPUID, "cpuid" },		    { KVM_CAP_GET_TSC_KHZ, "TSC frequency" },
	{ KVM_CAP_SET_GUEST_DEBUG, "guest debug" }, { KVM_CAP_TSC_DEADLINE_TIMER, "TSC deadline timer" },
};

static bool try_capabilities(struct probe_run *p)
{
	char missing[100] = "";
	size_t n = 0;

	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++) {
		if (ioctl(p->kvm, KVM_CHECK_EXTENSION, capabilities[i].number) <= 0 && n < sizeof(missing))
			n += (size_t)snprintf(missing + n, sizeof(missing) - n, "%s%s", n ? ", " : "", capabilities[i].name);
	}
	if (n)
		return part(p, "KVM's capabilities", KVM_PROBE_FAILED, "not there: %s", missing);
	return part(p, "KVM's capabilities", KVM_PROBE_OK, "all that are needed%s",
		    ioctl(p->kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0 ? "" : "; no TSC scaling");
}

/* Creates the VM with its memory and its split interrupt controller. */
static bool make_vm(struct probe_run *p)
{
	static const char name[] = "a virtual machine";
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	struct kvm_userspace_memory_region slot = { .memory_size = PROBE_MEM };

	p->mem = mmap(NULL, PROBE_MEM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->mem == MAP_FAILED)
		return part(p, name, KVM_PROBE_FAILED, "memory: %s", strerror(errno));
	p->run_size = ioctl(p->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (p->run_size < (int)sizeof(struct kvm_run))
		return part(p, name, KVM_PROBE_FAILED, "KVM_GET_VCPU_MMAP_SIZE gives %d", p->run_size);
	p->cpuid.nent = CPUID_MAX;
	if (ioctl(p->kvm, KVM_GET_SUPPORTED_CPUID, &p->cpuid))
		return part(p, name, KVM_PROBE_FAILED, "KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
	/* A signal may come in between: creating a VM takes its time. */
	do
		p->vm = ioctl(p->kvm, KVM_CREATE_VM, 0);
	while (p->vm < 0 && errno == EINTR);
	if (p->vm < 0)
		return part(p, name, KVM_PROBE_FAILED, "%s", strerror(errno));
	/* Where real mode is not run by the CPU itself these are needed (Intel without unrestricted guest); others do not have them. */
	ioctl(p->vm, KVM_SET_IDENTITY_MAP_ADDR, &(uint64_t){ 0xfffbc000 });
	ioctl(p->vm, KVM_SET_TSS_ADDR, 0xfffbd000ul);
	if (ioctl(p->vm, KVM_ENABLE_CAP, &split))
		return part(p, name, KVM_PROBE_FAILED, "split irqchip: %s", strerror(errno));
	slot.userspace_addr = (uintptr_t)p->mem;
	if (ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &slot))
		return part(p, name, KVM_PROBE_FAILED, "its memory: %s", strerror(errno));
	return part(p, name, KVM_PROBE_OK, "with memory and a split interrupt controller");
}

static bool open_kvm(struct probe_run *p)
{
	static const char path[] = "/dev/kvm";
	struct stat st;
	struct group *group;
	int version, e;

	p->kvm = open(path, O_RDWR | O_CLOEXEC);
	if (p->kvm >= 0) {
		version = ioctl(p->kvm, KVM_GET_API_VERSION, 0);
		part(p, path, KVM_PROBE_OK, "can be opened");
		return part(p, "API version", version == KVM_API_VERSION ? KVM_PROBE_OK : KVM_PROBE_FAILED, "%d", version);
	}
	e = errno;
	if ((e != EACCES && e != EPERM) || stat(path, &st))
		return part(p, path, KVM_PROBE_FAILED, "%s", e == ENOENT ? "is not there" : strerror(e));
	group = getgrgid(st.st_gid);
	if (group)
		return part(p, path, KVM_PROBE_FAILED, "may not be opened by this user; its group is %.32s", group->gr_name);
	return part(p, path, KVM_PROBE_FAILED, "may not be opened by this user; its group is %u", st.st_gid);
}

void kvm_probe(struct kvm_probe *probe, bool all)
{
	struct probe_run p = { .out = probe, .kvm = -1, .vm = -1, .mem = MAP_FAILED };

	memset(probe, 0, sizeof(*probe));
	probe->usable = true;
	snprintf(probe->why, sizeof(probe->why), "KVM works, at the CPU's speed");
	clock_gettime(CLOCK_MONOTONIC, &p.begin);
	if (open_kvm(&p) && try_capabilities(&p) && make_vm(&p)) {
		if (timer_begin(&p))
			try_guests(&p, all);
		else
			part(&p, "a timer", KVM_PROBE_FAILED, "%s", p.signal ? strerror(errno) : "every real-time signal is taken");
		timer_end(&p);
	}
	if (p.mem != MAP_FAILED)
		munmap(p.mem, PROBE_MEM);
	if (p.vm >= 0)
		close(p.vm);
	if (p.kvm >= 0)
		close(p.kvm);
}
