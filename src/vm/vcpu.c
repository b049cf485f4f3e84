// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The thread of a vCPU: run it, act on its exit, stand aside when asked to.
 *
 * The run page is shared with whatever hosts the engine and counts as hostile: every field is
 * read once into a local, checked, and used from there (engine/engine.h).
 *
 * Invariant: a parked vCPU is settled (nothing waits for completion in the engine) or has
 * HOLD_FAULT, so that its state can be read and saved.
 */
#include "vm/vm_private.h"

#include "host/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define ONCE(x) (*(const volatile __typeof__(x) *)&(x))

/*
 * An instruction makes a bounded number of accesses, each of which is one round of settling. An
 * engine that asks for more than this is broken.
 */
enum { SETTLE_ROUNDS_MAX = 4096 };

/* What a hypercall that nobody knows returns: KVM's ENOSYS (Linux, Documentation/virt/kvm/x86/hypercalls.rst). */
#define HYPERCALL_ENOSYS ((uint64_t)-1000)

_Thread_local struct vm_vcpu *vcpu_self;

static void vcpu_fault(struct vm_vcpu *vc, int errnum, const char *why)
{
	vc->fault_errno = errnum;
	vc->fault_why = why;
	atomic_fetch_or(&vc->hold, HOLD_FAULT);
	vm_ask(vc->vm, CTL_FAULT);
}

static uint64_t first_element(const void *data, uint32_t size)
{
	uint64_t v = 0;

	memcpy(&v, data, size < sizeof(v) ? size : sizeof(v));
	return v;
}

static void act_pio(struct vm_vcpu *vc, struct run_page *run, struct exit_record *rec)
{
	uint8_t data[RUN_DATA_MAX] __attribute__((aligned(8)));
	uint16_t port = ONCE(run->pio.port);
	uint8_t size = ONCE(run->pio.size);
	bool write = ONCE(run->pio.write) != 0;
	uint32_t count = ONCE(run->pio.count);

	rec->addr = port;
	rec->size = size;
	rec->count = count;
	rec->write = write;
	if ((size != 1 && size != 2 && size != 4) || !count || count > RUN_DATA_MAX / size) {
		vcpu_fault(vc, 0, "a port access of an impossible size");
		return;
	}
	if (write)
		memcpy(data, run->data, (size_t)count * size);
	else
		memset(data, 0xff, (size_t)count * size);
	board_pio(vc->vm->board, port, size, write, data, count);
	if (!write)
		memcpy(run->data, data, (size_t)count * size);
	rec->value = first_element(data, size);
}

static void act_mmio(struct vm_vcpu *vc, struct run_page *run, struct exit_record *rec)
{
	uint8_t data[8] __attribute__((aligned(8)));
	uint64_t gpa = ONCE(run->mmio.gpa);
	uint32_t size = ONCE(run->mmio.size);
	bool write = ONCE(run->mmio.write) != 0;

	rec->addr = gpa;
	rec->size = size;
	rec->write = write;
	if (size < 1 || size > 8) {
		vcpu_fault(vc, 0, "a memory-mapped access of an impossible size");
		return;
	}
	memset(data, 0xff, sizeof(data));
	if (write)
		memcpy(data, run->data, size);
	/* The bus knows powers of two; what is left of an access that crossed a page may be anything. */
	if ((size & (size - 1)) == 0) {
		board_mmio(vc->vm->board, gpa, size, write, data);
	} else {
		for (uint32_t i = 0; i < size; i++)
			board_mmio(vc->vm->board, gpa + i, 1, write, data + i);
	}
	if (!write)
		memcpy(run->data, data, size);
	rec->value = first_element(data, size);
}

/* Every MSR that an engine does not know itself is one that this CPU does not have: #GP(0). */
static void act_msr(struct run_page *run, struct exit_record *rec)
{
	rec->addr = ONCE(run->msr.index);
	rec->write = ONCE(run->msr.write) != 0;
	rec->value = rec->write ? ONCE(run->msr.data) : 0;
	rec->count = 1;
	if (!rec->write)
		run->msr.data = 0;
	run->msr.fault = 1;
}

static void act_debug(struct vm_vcpu *vc, struct run_page *run, struct exit_record *rec)
{
	rec->addr = ONCE(run->debug.rip);
	rec->value = ONCE(run->debug.dr6);
	rec->count = ONCE(run->debug.step);
	vc->watch_linear = ONCE(run->debug.linear);
	vc->watch_hit = rec->count == 2;
	vc->debug_hit = true;
	atomic_fetch_or(&vc->vm->hold, HOLD_GDB);
	vm_ask(vc->vm, CTL_DEBUG);
}

static void act(struct vm_vcpu *vc, struct run_page *run, uint32_t kind, struct exit_record *rec)
{
	switch (kind) {
	case ENGINE_EXIT_KICK:
	case ENGINE_EXIT_EXTINT_WINDOW:
		break; /* the loop offers the interrupt before it runs again */
	case ENGINE_EXIT_PIO:
		act_pio(vc, run, rec);
		break;
	case ENGINE_EXIT_MMIO:
		act_mmio(vc, run, rec);
		break;
	case ENGINE_EXIT_EOI:
		rec->addr = ONCE(run->eoi.vector) & 0xff;
		board_eoi(vc->vm->board, (uint8_t)rec->addr);
		break;
	case ENGINE_EXIT_MSR:
		act_msr(run, rec);
		break;
	case ENGINE_EXIT_HYPERCALL:
		rec->addr = ONCE(run->hypercall.nr);
		rec->value = ONCE(run->hypercall.arg[0]);
		run->hypercall.ret = HYPERCALL_ENOSYS;
		break;
	case ENGINE_EXIT_DEBUG:
		act_debug(vc, run, rec);
		break;
	case ENGINE_EXIT_HALT:
		vm_ask(vc->vm, CTL_HALT);
		break;
	case ENGINE_EXIT_SHUTDOWN:
		rec->count = ONCE(run->shutdown.triple_fault);
		rec->addr = ONCE(run->shutdown.vector);
		vcpu_fault(vc, 0, NULL);
		break;
	case ENGINE_EXIT_INTERNAL:
		vcpu_fault(vc, 0, NULL);
		break;
	default:
		vcpu_fault(vc, 0, "an exit of an unknown kind");
		break;
	}
}

/* A line for each element of string I/O, so that engines which leave once or many times for it are traced alike. */
static void trace_exit(const struct vm_vcpu *vc, const struct run_page *run, const struct exit_record *rec)
{
	struct exit_record element = *rec;
	bool string = rec->kind == ENGINE_EXIT_PIO && rec->size && rec->count <= RUN_DATA_MAX / rec->size;
	uint32_t count = string ? rec->count : 1;
	char text[128];

	for (uint32_t i = 0; i < count; i++) {
		if (count > 1) {
			element.count = 1;
			element.value = first_element(run->data + (size_t)i * rec->size, rec->size);
		}
		exit_text(&element, text, sizeof(text));
		trace(TRACE_EXITS, "vcpu%u %s", vc->index, text);
	}
}

/* One stay in the engine, and what it asked for. */
static void vcpu_once(struct vm_vcpu *vc)
{
	struct run_page *run = vc->engine->run;
	struct exit_record *rec;
	uint32_t kind;
	int err;

	err = vc->vm->ops->vcpu_run(vc->engine);
	if (err) {
		vcpu_fault(vc, err, NULL);
		return;
	}
	kind = ONCE(run->exit);
	vc->extint_ready = ONCE(run->extint_ready) != 0;
	if (kind < ENGINE_EXIT_COUNT)
		vc->exit_count[kind]++;
	if (kind == ENGINE_EXIT_KICK)
		return; /* not worth a place in the ring: the monitor's own doing */
	/* Before the main thread is asked to look at them. */
	atomic_store(&vc->halted, kind == ENGINE_EXIT_HALT);
	atomic_store(&vc->ran, true);

	rec = &vc->ring[vc->exits++ % EXIT_RING];
	*rec = (struct exit_record){ .seq = vc->exits, .kind = kind };
	act(vc, run, kind, rec);
	if (trace_on(TRACE_EXITS))
		trace_exit(vc, run, rec);
}

static uint32_t vcpu_held(struct vm_vcpu *vc)
{
	return atomic_load(&vc->vm->hold) | atomic_load(&vc->hold);
}

/* Completes what the guest's last instruction waits for, without running another one. */
static void vcpu_settle(struct vm_vcpu *vc)
{
	const struct engine_ops *ops = vc->vm->ops;
	struct run_page *run = vc->engine->run;
	unsigned rounds = 0;

	if (atomic_load(&vc->hold) & HOLD_FAULT)
		return;
	atomic_store(&run->immediate_exit, 1);
	while (!ops->vcpu_settled(vc->engine) && !(atomic_load(&vc->hold) & HOLD_FAULT)) {
		if (++rounds > SETTLE_ROUNDS_MAX)
			vcpu_fault(vc, 0, "an instruction that never completes");
		else
			vcpu_once(vc);
	}
	atomic_store(&run->immediate_exit, 0);
}

/* Waits while the vCPU is held. False when its thread shall leave. */
static bool vcpu_gate(struct vm_vcpu *vc)
{
	struct vm *vm = vc->vm;
	uint32_t held;

	while ((held = vcpu_held(vc)) != 0) {
		if (held & HOLD_QUIT)
			return false;
		vcpu_settle(vc);
		pthread_mutex_lock(&vm->lock);
		while ((held = vcpu_held(vc)) != 0 && !(held & HOLD_QUIT)) {
			vc->parked = true;
			pthread_cond_broadcast(&vm->parked_cond);
			pthread_cond_wait(&vm->go_cond, &vm->lock);
		}
		vc->parked = false;
		pthread_mutex_unlock(&vm->lock);
	}
	return true;
}

/* Hands the 8259 pair's interrupt over when the vCPU can take it. */
static void vcpu_offer_extint(struct vm_vcpu *vc)
{
	struct vm *vm = vc->vm;
	int vector, err;

	if (vc->index != 0 || !vc->extint_ready || !atomic_load(&vm->extint))
		return;
	if (!vm->ops->vcpu_settled(vc->engine))
		return;
	vector = board_extint_ack(vm->board);
	if (vector < 0)
		return;
	vc->extint_ready = false;
	if (trace_on(TRACE_INT))
		trace(TRACE_INT, "vcpu0 takes vector 0x%02x from the 8259", (unsigned)vector);
	err = vm->ops->vcpu_extint(vc->engine, (uint8_t)vector);
	if (err)
		vcpu_fault(vc, err, NULL);
}

/* Signals are the main thread's; a vCPU's stack may not even be one that a handler could use. */
static void block_signals(void)
{
	static const int list[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH, SIGPIPE };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		sigaddset(&set, list[i]);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void *vcpu_thread(void *arg)
{
	struct vm_vcpu *vc = arg;
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", vc->index);
	pthread_setname_np(pthread_self(), name);
	block_signals();
	vcpu_self = vc;

	while (vcpu_gate(vc)) {
		vcpu_offer_extint(vc);
		vcpu_once(vc);
	}

	pthread_mutex_lock(&vc->vm->lock);
	vc->parked = true;
	pthread_cond_broadcast(&vc->vm->parked_cond);
	pthread_mutex_unlock(&vc->vm->lock);
	return NULL;
}
