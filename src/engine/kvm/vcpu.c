// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Running a vCPU: KVM_RUN and its exits (Linux, Documentation/virt/kvm/api.rst, section 5), kicks, ExtINT, HLT with
 * interrupts off. Debugging is in debug.c.
 *
 * Kicks. One real-time signal, which stays blocked in every thread that runs a vCPU; KVM_SET_SIGNAL_MASK lets it
 * in during KVM_RUN alone. A signal that comes before KVM_RUN waits and ends it at once, so no kick is lost; it is
 * taken back with sigtimedwait, so nothing ever handles it: no handler is installed. Its disposition becomes "ignore", which
 * means nothing while it is blocked, but keeps the process alive should somebody unblock it. Only a thread that is in
 * KVM_RUN is sent it (kick_lock), and at most one at a time (kicked).
 *
 * Settling. With the signal pending before KVM_RUN, KVM finishes what the last exit asked for and acts on what waits in
 * it (an EOI to be told), but runs no instruction: this is what immediate_exit in our run page does. KVM's own
 * immediate_exit would leave before such an EOI.
 *
 * ExtINT. The vector is given to KVM as an injected interrupt (KVM_SET_VCPU_EVENTS) at a moment when it can be delivered,
 * and not with KVM_INTERRUPT: that one's pending vector is in no state that KVM gives out, so that a save would lose it.
 *
 * HLT with interrupts off ends inside KVM, which does not tell. A timer sends the thread the kick signal after 20 ms
 * in KVM_RUN, and then in longer and longer intervals up to half a second; the thread finds that nobody kicked, and looks
 * whether the vCPU is halted with IF clear. It is told once, and again every few seconds, since another vCPU's NMI
 * may have woken it meanwhile unseen.
 */
#include "engine/kvm/private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TICK_MS = 20, TICK_SLOW_MS = 500, TICKS_FAST = 10, HALT_TELL_TICKS = 6 };

int kvm_vcpu_init(struct kvm_vcpu *v)
{
	struct sigaction now, ignore = { .sa_handler = SIG_IGN };

	if (!sigaction(v->engine->kick_signal, NULL, &now) && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL)
		sigaction(v->engine->kick_signal, &ignore, NULL);
	return -pthread_mutex_init(&v->kick_lock, NULL);
}

void kvm_vcpu_finish(struct kvm_vcpu *v)
{
	if (v->has_timer)
		timer_delete(v->timer);
	pthread_mutex_destroy(&v->kick_lock);
}

/* --- the thread: its signal mask and timer --- */

static void timer_pace(struct kvm_vcpu *v, bool slow)
{
	long ms = slow ? TICK_SLOW_MS : TICK_MS;
	struct itimerspec spec = { { 0, ms * 1000000 }, { 0, ms * 1000000 } };

	timer_settime(v->timer, 0, &spec, NULL);
	v->slow = slow;
}

static int make_timer(struct kvm_vcpu *v, pid_t tid)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = v->engine->kick_signal };

	event._sigev_un._tid = tid;
	if (v->has_timer)
		timer_delete(v->timer);
	v->has_timer = !timer_create(CLOCK_MONOTONIC, &event, &v->timer);
	if (!v->has_timer)
		return -errno;
	timer_pace(v, false);
	return 0;
}

/* The mask during KVM_RUN: the thread's own, with the kick signal let in. */
static int prepare_thread(struct kvm_vcpu *v, pid_t tid)
{
	enum { SET_SIZE = 8 }; /* the kernel's, not the C library's */
	union {
		struct kvm_signal_mask head;
		uint8_t bytes[sizeof(struct kvm_signal_mask) + SET_SIZE];
	} mask = { .head.len = SET_SIZE };
	sigset_t kick, old;
	int r;

	sigemptyset(&kick);
	sigaddset(&kick, v->engine->kick_signal);
	r = pthread_sigmask(SIG_BLOCK, &kick, &old);
	if (r)
		return -r;
	sigdelset(&old, v->engine->kick_signal);
	memcpy(mask.bytes + offsetof(struct kvm_signal_mask, sigset), &old, SET_SIZE);
	r = kvm_ioctl(v->fd, KVM_SET_SIGNAL_MASK, &mask);
	if (!r)
		r = make_timer(v, tid);
	v->thread = r ? 0 : tid;
	return r;
}

static void send_signal(struct kvm_vcpu *v, pid_t tid)
{
	syscall(SYS_tgkill, getpid(), tid, v->engine->kick_signal);
}

static void take_signals_back(struct kvm_vcpu *v)
{
	const struct timespec now = { 0 };
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, v->engine->kick_signal);
	while (sigtimedwait(&kick, NULL, &now) > 0)
		;
}

static void set_running(struct kvm_vcpu *v, pid_t tid)
{
	pthread_mutex_lock(&v->kick_lock);
	v->running = tid;
	pthread_mutex_unlock(&v->kick_lock);
}

/* --- from any thread --- */

static void knock(struct kvm_vcpu *v)
{
	pthread_mutex_lock(&v->kick_lock);
	if (v->running)
		send_signal(v, v->running);
	pthread_mutex_unlock(&v->kick_lock);
}

void kvm_vcpu_kick(struct engine_vcpu *base)
{
	struct kvm_vcpu *v = kvm_vcpu_of(base);

	if (!atomic_exchange(&v->kicked, 1))
		knock(v);
}

/* KVM_NMI and KVM_SMI would wait until the vCPU leaves KVM_RUN: its own thread makes them. */
static void request(struct kvm_vcpu *v, uint32_t req)
{
	if (!(atomic_fetch_or(&v->req, req) & req))
		knock(v);
}

void kvm_vcpu_nmi(struct engine_vcpu *base)
{
	request(kvm_vcpu_of(base), KVM_REQ_NMI);
}

void kvm_vcpu_smi(struct engine_vcpu *base)
{
	request(kvm_vcpu_of(base), KVM_REQ_SMI);
}

static void take_requests(struct kvm_vcpu *v)
{
	uint32_t req = atomic_exchange(&v->req, 0);

	if (req & KVM_REQ_NMI)
		kvm_ioctl(v->fd, KVM_NMI, NULL);
	if ((req & KVM_REQ_SMI) && v->engine->caps.smm)
		kvm_ioctl(v->fd, KVM_SMI, NULL);
	if (req)
		v->halt_told = false;
}

/* --- ExtINT --- */

int kvm_vcpu_extint(struct engine_vcpu *base, uint8_t vector)
{
	struct kvm_vcpu *v = kvm_vcpu_of(base);

	v->extint_pending = true;
	v->extint_vector = vector;
	return 0;
}

/* KVM has just said that an interrupt could be delivered. One that is injected does not end HLT by itself. */
static int inject_extint(struct kvm_vcpu *v)
{
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_vcpu_events k;
	int r = kvm_ioctl(v->fd, KVM_GET_VCPU_EVENTS, &k);

	if (r)
		return r;
	k.interrupt.injected = 1;
	k.interrupt.nr = v->extint_vector;
	k.interrupt.soft = 0;
	k.flags = 0; /* what other threads may be changing stays as it is */
	r = kvm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &k);
	if (!r)
		r = kvm_ioctl(v->fd, KVM_SET_MP_STATE, &mp);
	if (!r)
		v->extint_pending = false;
	v->kr->ready_for_interrupt_injection = 0;
	return r;
}

/* --- exits --- */

/* The instruction at CS:RIP, as far as it can be read. */
static uint32_t code_bytes(struct kvm_vcpu *v, uint8_t code[16])
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	uint32_t n = 0;
	uint64_t gpa;

	if (kvm_ioctl(v->fd, KVM_GET_REGS, &regs) || kvm_ioctl(v->fd, KVM_GET_SREGS, &sregs))
		return 0;
	regs.rip += sregs.cs.l ? 0 : sregs.cs.base;
	while (n < 16 && !kvm_vcpu_translate(&v->base, regs.rip + n, &gpa) && !ram_read(v->engine->ram, gpa, code + n, 1))
		n++;
	return n;
}

static const char *suberror_text(uint32_t suberror)
{
	switch (suberror) {
	case KVM_INTERNAL_ERROR_EMULATION: return "KVM cannot emulate an instruction of the guest";
	case KVM_INTERNAL_ERROR_SIMUL_EX: return "KVM met an exception while it delivered another one";
	case KVM_INTERNAL_ERROR_DELIVERY_EV: return "KVM cannot go on with the delivery of an interrupt or exception";
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON: return "the processor left the guest for a reason that KVM does not know";
	default: return "an internal error of KVM";
	}
}

static void leave_internal(struct kvm_vcpu *v, const char *what, const char *name, uint64_t number)
{
	struct run_page *run = v->base.run;

	run->exit = ENGINE_EXIT_INTERNAL;
	run->internal.code_len = code_bytes(v, run->internal.code);
	snprintf(run->internal.why, sizeof(run->internal.why), "%s (%s %llx)", what, name, (unsigned long long)number);
}

static void leave_internal_error(struct kvm_vcpu *v)
{
	const struct kvm_run *kr = v->kr;
	struct run_page *run = v->base.run;
	uint32_t suberror = kr->internal.suberror;
	uint8_t n = kr->emulation_failure.insn_size;

	leave_internal(v, suberror_text(suberror), "suberror", suberror);
	if (suberror == KVM_INTERNAL_ERROR_EMULATION && kr->emulation_failure.ndata >= 3 &&
	    (kr->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) && n && n <= 15) {
		memcpy(run->internal.code, kr->emulation_failure.insn_bytes, n);
		run->internal.code_len = n;
	}
}

static void leave_pio(struct kvm_vcpu *v)
{
	const struct kvm_run *kr = v->kr;
	struct run_page *run = v->base.run;
	uint64_t len = (uint64_t)kr->io.size * kr->io.count;

	if (!len || len > RUN_DATA_MAX || kr->io.data_offset > v->engine->kr_len - len) {
		leave_internal(v, "KVM asks for a port access of an impossible size", "bytes", len);
		return;
	}
	run->exit = ENGINE_EXIT_PIO;
	run->pio.port = kr->io.port;
	run->pio.size = kr->io.size;
	run->pio.count = kr->io.count;
	run->pio.write = kr->io.direction == KVM_EXIT_IO_OUT;
	if (run->pio.write)
		memcpy(run->data, (const char *)kr + kr->io.data_offset, len);
	v->pending = true;
}

static void leave_mmio(struct kvm_vcpu *v)
{
	const struct kvm_run *kr = v->kr;
	struct run_page *run = v->base.run;

	if (kr->mmio.len < 1 || kr->mmio.len > 8) {
		leave_internal(v, "KVM asks for a memory access of an impossible size", "bytes", kr->mmio.len);
		return;
	}
	run->exit = ENGINE_EXIT_MMIO;
	run->mmio.gpa = kr->mmio.phys_addr;
	run->mmio.size = kr->mmio.len;
	run->mmio.write = kr->mmio.is_write != 0;
	if (run->mmio.write)
		memcpy(run->data, kr->mmio.data, kr->mmio.len);
	v->pending = true;
}

static void leave_msr(struct kvm_vcpu *v, bool write)
{
	struct run_page *run = v->base.run;

	run->exit = ENGINE_EXIT_MSR;
	run->msr.index = v->kr->msr.index;
	run->msr.write = write;
	run->msr.data = write ? v->kr->msr.data : 0;
	run->msr.fault = 0;
	v->pending = true;
}

/* Carries the monitor's answer over; the exit's kind is KVM's, the run page may have been changed since. */
static void answer(struct kvm_vcpu *v)
{
	struct kvm_run *kr = v->kr;
	struct run_page *run = v->base.run;

	switch (kr->exit_reason) {
	case KVM_EXIT_IO:
		if (kr->io.direction == KVM_EXIT_IO_IN)
			memcpy((char *)kr + kr->io.data_offset, run->data, (size_t)kr->io.size * kr->io.count);
		break;
	case KVM_EXIT_MMIO:
		if (!kr->mmio.is_write)
			memcpy(kr->mmio.data, run->data, kr->mmio.len);
		break;
	case KVM_EXIT_X86_RDMSR:
		kr->msr.data = run->msr.data;
		kr->msr.error = run->msr.fault != 0;
		break;
	case KVM_EXIT_X86_WRMSR: kr->msr.error = run->msr.fault != 0; break;
	default: break;
	}
}

static void leave_shutdown(struct kvm_vcpu *v, bool triple_fault)
{
	enum { EXC_DF = 8 };
	struct run_page *run = v->base.run;

	v->shut_down = true;
	run->exit = ENGINE_EXIT_SHUTDOWN;
	run->shutdown.triple_fault = triple_fault;
	run->shutdown.vector = triple_fault ? EXC_DF : 0; /* KVM does not tell what came before */
}

/* True: it is an exit of ours, in the run page. */
static bool leave(struct kvm_vcpu *v)
{
	const struct kvm_run *kr = v->kr;
	struct run_page *run = v->base.run;

	switch (kr->exit_reason) {
	case KVM_EXIT_IO: leave_pio(v); return true;
	case KVM_EXIT_MMIO: leave_mmio(v); return true;
	case KVM_EXIT_X86_RDMSR: leave_msr(v, false); return true;
	case KVM_EXIT_X86_WRMSR: leave_msr(v, true); return true;
	case KVM_EXIT_IOAPIC_EOI:
		run->exit = ENGINE_EXIT_EOI;
		run->eoi.vector = kr->eoi.vector;
		return true;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		if (v->extint_pending || !atomic_load(&run->request_extint))
			return false;
		run->exit = ENGINE_EXIT_EXTINT_WINDOW;
		return true;
	case KVM_EXIT_DEBUG: kvm_debug_leave(v); return true;
	case KVM_EXIT_SHUTDOWN: leave_shutdown(v, true); return true;
	case KVM_EXIT_INTERNAL_ERROR: leave_internal_error(v); return true;
	case KVM_EXIT_FAIL_ENTRY:
		leave_internal(v, "the processor refuses to enter the guest", "reason",
			       kr->fail_entry.hardware_entry_failure_reason);
		return true;
	case KVM_EXIT_INTR: return false;
	default: leave_internal(v, "KVM leaves for a reason that this engine does not know", "reason", kr->exit_reason); return true;
	}
}

/* --- HLT with interrupts off --- */

/* The timer's signal ended KVM_RUN. True: the halt is to be told. */
static bool look_for_halt(struct kvm_vcpu *v)
{
	struct kvm_mp_state mp;
	struct kvm_regs regs;

	if (++v->ticks == TICKS_FAST)
		timer_pace(v, true);
	if (v->kr->if_flag || kvm_ioctl(v->fd, KVM_GET_MP_STATE, &mp) || mp.mp_state != KVM_MP_STATE_HALTED ||
	    kvm_ioctl(v->fd, KVM_GET_REGS, &regs)) {
		v->halt_told = false;
		return false;
	}
	if (v->halt_told && v->halt_rip == regs.rip && (!v->slow || ++v->halt_ticks < HALT_TELL_TICKS))
		return false;
	v->halt_told = true;
	v->halt_ticks = 0;
	v->halt_rip = regs.rip;
	v->base.run->exit = ENGINE_EXIT_HALT;
	return true;
}

static void came_out(struct kvm_vcpu *v)
{
	v->ticks = 0;
	if (v->slow)
		timer_pace(v, false);
}

/* --- the run --- */

/* KVM_RUN once. True: the run page has an exit; *@r is what vcpu_run returns if it is not 0. */
static bool enter(struct kvm_vcpu *v, int *r)
{
	struct run_page *run = v->base.run;
	bool settle = atomic_load(&run->immediate_exit);

	take_requests(v);
	if (v->extint_pending && v->kr->ready_for_interrupt_injection && !v->pending && !settle) {
		*r = inject_extint(v);
		if (*r)
			return true;
	}
	v->kr->request_interrupt_window = v->extint_pending || atomic_load(&run->request_extint);
	set_running(v, v->thread);
	/* From here on a kick sends the signal; one that came before is seen now. */
	if (settle || atomic_load(&v->kicked) || atomic_load(&v->req))
		send_signal(v, v->thread);
	*r = ioctl(v->fd, KVM_RUN, 0) < 0 ? -errno : 0;
	set_running(v, 0);
	if (*r == -EINTR || *r == -EAGAIN) {
		bool kicked;

		*r = 0;
		v->pending = false;
		take_signals_back(v);
		kicked = atomic_exchange(&v->kicked, 0);
		if (settle || kicked) {
			run->exit = ENGINE_EXIT_KICK;
			return true;
		}
		return look_for_halt(v);
	}
	v->pending = false;
	if (*r) {
		leave_internal(v, "KVM_RUN failed", "errno", (uint64_t)-*r);
		*r = 0;
		return true;
	}
	came_out(v);
	return leave(v);
}

int kvm_vcpu_run(struct engine_vcpu *base)
{
	struct kvm_vcpu *v = kvm_vcpu_of(base);
	pid_t tid = gettid();
	int r = 0;

	if (v->thread != tid) {
		r = prepare_thread(v, tid);
		if (r)
			return r;
	}
	if (v->shut_down) {
		leave_shutdown(v, false);
		return 0;
	}
	if (v->pending)
		answer(v);
	v->pv_called |= v->engine->caps.vmcall;
	while (!enter(v, &r))
		;
	base->run->extint_ready = v->kr->ready_for_interrupt_injection && !v->pending && !v->extint_pending;
	return r;
}

int kvm_vcpu_settled(struct engine_vcpu *base)
{
	return !kvm_vcpu_of(base)->pending;
}

int kvm_vcpu_translate(struct engine_vcpu *base, uint64_t linear, uint64_t *gpa)
{
	struct kvm_translation t = { .linear_address = linear };
	int r = kvm_ioctl(kvm_vcpu_of(base)->fd, KVM_TRANSLATE, &t);

	if (r)
		return r;
	if (!t.valid)
		return -EFAULT;
	*gpa = t.physical_address;
	return 0;
}
