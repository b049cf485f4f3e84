// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The main thread of a VM: its loop, holding and releasing the vCPUs, the guest's events, the end.
 *
 * vCPU threads and chips never change the VM as a whole; they leave a bit in vm->ctl_bits and wake
 * the loop. The VM clock is changed here alone, with ctl held and every vCPU parked.
 */
#include "vm/vm_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A kicked vCPU comes back within microseconds; one that has not after this long is lost. */
enum { HOLD_TIMEOUT_S = 30 };

void vm_ask(struct vm *vm, uint32_t ctl)
{
	atomic_fetch_or(&vm->ctl_bits, ctl);
	loop_wake(vm->loop);
}

void vm_kick_all(struct vm *vm)
{
	for (unsigned i = 0; i < vm->cpus; i++) {
		if (&vm->vcpu[i] != vcpu_self)
			vm->ops->vcpu_kick(vm->vcpu[i].engine);
	}
}

void vm_arm(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	loop_alarm(vm->loop, vm->timer_ns == UINT64_MAX ? UINT64_MAX :
							  vm_clock_host_deadline(&vm->clock, vm->timer_ns));
	pthread_mutex_unlock(&vm->lock);
}

/* --- holding --- */

static bool all_parked(const struct vm *vm)
{
	for (unsigned i = 0; i < vm->cpus; i++) {
		if (!vm->vcpu[i].parked)
			return false;
	}
	return true;
}

int vm_hold(struct vm *vm, uint32_t bits)
{
	struct timespec until;
	int err = 0;

	atomic_fetch_or(&vm->hold, bits);
	vm_kick_all(vm);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += HOLD_TIMEOUT_S;
	pthread_mutex_lock(&vm->lock);
	while (!all_parked(vm) && err == 0)
		err = pthread_cond_timedwait(&vm->parked_cond, &vm->lock, &until);
	if (all_parked(vm))
		err = 0;
	pthread_mutex_unlock(&vm->lock);
	if (err)
		return -ETIMEDOUT;
	if ((atomic_load(&vm->hold) & HOLD_CLOCK) && vm->clock.running) {
		vm_clock_pause(&vm->clock);
		vm->ops->clock_changed(vm->engine);
		vm_arm(vm);
		board_pause(vm->board);
	}
	return 0;
}

void vm_release(struct vm *vm, uint32_t bits)
{
	uint32_t left = atomic_load(&vm->hold) & ~bits;

	/* Only while nobody runs; whoever lets them run again comes by here. */
	if (!(left & HOLD_CLOCK) && !vm->clock.running) {
		board_resume(vm->board);
		vm_clock_resume(&vm->clock);
		vm->ops->clock_changed(vm->engine);
		vm_arm(vm);
	}
	pthread_mutex_lock(&vm->lock);
	atomic_fetch_and(&vm->hold, ~bits);
	pthread_cond_broadcast(&vm->go_cond);
	pthread_mutex_unlock(&vm->lock);
}

int vm_pause(struct vm *vm)
{
	int err;

	pthread_mutex_lock(&vm->ctl);
	err = vm_hold(vm, HOLD_USER);
	if (err)
		vm_release(vm, HOLD_USER);
	pthread_mutex_unlock(&vm->ctl);
	return err;
}

int vm_resume(struct vm *vm)
{
	pthread_mutex_lock(&vm->ctl);
	vm_release(vm, HOLD_USER);
	pthread_mutex_unlock(&vm->ctl);
	return 0;
}

bool vm_paused(const struct vm *vm)
{
	return (atomic_load(&vm->hold) & HOLD_USER) != 0;
}

/* --- the end --- */

void vm_end(struct vm *vm, enum vm_end end, unsigned code)
{
	if (vm->ended)
		return;
	vm->ended = true;
	vm->result.end = end;
	vm->result.code = code;
	loop_stop(vm->loop);
}

void vm_end_error(struct vm *vm, enum vm_end end, const struct error *err)
{
	if (vm->ended)
		return;
	vm->result.error = *err;
	vm_end(vm, end, 0);
}

void vm_stop(struct vm *vm)
{
	vm_ask(vm, CTL_STOP);
}

void vm_fail(struct vm *vm, const struct error *err)
{
	if (atomic_flag_test_and_set(&vm->failed))
		return;
	vm->failure = *err;
	vm_ask(vm, CTL_FAIL);
}

void vm_end_stuck(struct vm *vm)
{
	struct error err;

	error_set(&err, -ETIMEDOUT, STATUS_INTERNAL, "a vCPU of the VM %s does not stop",
		  "it was asked to %d seconds ago", "this is a defect of subring: please report it", vm->name,
		  (int)HOLD_TIMEOUT_S);
	vm->stuck = true;
	vm_end_error(vm, VM_INTERNAL, &err);
}

/* --- what the main thread is asked to do; all with ctl held --- */

static void control_reset(struct vm *vm)
{
	struct error err;

	if (vm->no_reboot) {
		vm_end(vm, VM_RESET, 0);
		return;
	}
	if (vm_hold(vm, HOLD_CONTROL)) {
		vm_end_stuck(vm);
		return;
	}
	if (vm_reset(vm, &err)) {
		vm_end_error(vm, VM_FAILED, &err);
		return;
	}
	/* Faults and halts that were told before the reset are history. */
	atomic_fetch_and(&vm->ctl_bits, ~(uint32_t)(CTL_FAULT | CTL_HALT));
	atomic_store(&vm->event, BOARD_EVENT_NONE);
	vm_release(vm, HOLD_CONTROL | HOLD_EVENT);
}

static void control_event(struct vm *vm)
{
	uint32_t event = atomic_load(&vm->event);

	switch (event & 0xff) {
	case BOARD_EVENT_POWER_OFF:
		vm_end(vm, VM_POWERED_OFF, 0);
		break;
	case BOARD_EVENT_DEBUG_EXIT:
		vm_end(vm, VM_DEBUG_EXIT, event >> 8);
		break;
	case BOARD_EVENT_RESET:
		control_reset(vm);
		break;
	default:
		break;
	}
}

/* A chip moved the A20 gate; all vCPUs wait for memory to follow. */
static void control_a20(struct vm *vm)
{
	struct error err;
	int ret;

	if (vm_hold(vm, HOLD_CONTROL)) {
		vm_end_stuck(vm);
		return;
	}
	ret = vm_apply_a20(vm);
	if (ret) {
		error_set(&err, ret, STATUS_INTERNAL, "cannot move the A20 gate of the VM %s", "%s",
			  "this is a defect of subring: please report it", vm->name, strerror(-ret));
		vm_end_error(vm, VM_FAILED, &err);
		return;
	}
	vm_release(vm, HOLD_CONTROL | HOLD_A20);
}

static void control_fault(struct vm *vm)
{
	struct error err;
	size_t len;
	enum vm_end end;
	FILE *out;

	if (vm_hold(vm, HOLD_CONTROL)) {
		vm_end_stuck(vm);
		return;
	}
	for (unsigned i = 0; i < vm->cpus; i++) {
		if (!(atomic_load(&vm->vcpu[i].hold) & HOLD_FAULT))
			continue;
		out = open_memstream(&vm->report, &len);
		if (out) {
			vm_report(vm, i, out);
			fclose(out);
		}
		end = vm_fault_error(vm, i, &err);
		vm_end_error(vm, end, &err);
		return;
	}
	vm_release(vm, HOLD_CONTROL);
}

/* Nothing but an NMI, SMI or INIT can wake it, and none is on its way. */
static bool stopped_for_good(struct vm *vm, unsigned cpu)
{
	struct vcpu_state s;
	enum { RFLAGS_IF = 1 << 9 };

	if (vm->ops->vcpu_get_state(vm->vcpu[cpu].engine, &s))
		return false;
	if (s.init_pending || s.exception_pending || s.extint_pending)
		return false;
	switch (s.activity) {
	case VCPU_HALTED:
		return !(s.rflags & RFLAGS_IF) && !(s.nmi_pending && !s.nmi_masked) && !(s.smi_pending && !s.in_smm);
	case VCPU_WAIT_SIPI: return !s.sipi_pending;
	default: return false;
	}
}

/*
 * A vCPU has halted with interrupts off. When all have, or wait for a startup IPI, and no device
 * can send an NMI, the guest has stopped for good. What the vCPUs' threads remember only says
 * whether looking is worth while; the states, with everybody parked, decide.
 */
static void control_halt(struct vm *vm)
{
	bool good = true;

	for (unsigned i = 0; i < vm->cpus; i++) {
		if (atomic_load(&vm->vcpu[i].ran) && !atomic_load(&vm->vcpu[i].halted))
			return;
	}
	if (atomic_load(&vm->nmi_routes))
		return;
	if (vm_hold(vm, HOLD_CONTROL)) {
		vm_end_stuck(vm);
		return;
	}
	for (unsigned i = 0; i < vm->cpus && good; i++)
		good = stopped_for_good(vm, i);
	if (good && atomic_load(&vm->event) == BOARD_EVENT_NONE)
		vm_end(vm, VM_HALTED, 0);
	else
		vm_release(vm, HOLD_CONTROL);
}

static void control_debug(struct vm *vm)
{
	if (vm_hold(vm, HOLD_GDB)) {
		vm_end_stuck(vm);
		return;
	}
	if (!vm->gdb) {
		vm_release(vm, HOLD_GDB);
		return;
	}
	for (unsigned n = 1; n <= vm->cpus; n++) {
		unsigned i = (vm->debug_told + n) % vm->cpus; /* in turn, so that none waits for ever */
		struct vm_vcpu *vc = &vm->vcpu[i];

		/* Those of others stay for the next resume; one that the debugger holds was not asked. */
		if (vc->debug_hit && !(atomic_load(&vc->hold) & HOLD_STEP)) {
			vc->debug_hit = false;
			vm->debug_told = i;
			gdb_stopped(vm->gdb, i);
			return;
		}
	}
}

static void vm_control(void *opaque)
{
	struct vm *vm = opaque;
	uint32_t bits = atomic_exchange(&vm->ctl_bits, 0);

	pthread_mutex_lock(&vm->ctl);
	if (bits & CTL_STOP)
		vm_end(vm, VM_LEFT, 0);
	if (bits & CTL_FAIL)
		vm_end_error(vm, VM_FAILED, &vm->failure);
	if ((bits & CTL_EVENT) && !vm->ended)
		control_event(vm);
	if (bits & CTL_LINES)
		board_lines(vm->board);
	if ((bits & CTL_A20) && !vm->ended)
		control_a20(vm);
	if ((bits & CTL_FAULT) && !vm->ended)
		control_fault(vm);
	if ((bits & CTL_HALT) && !vm->ended)
		control_halt(vm);
	if ((bits & CTL_DEBUG) && !vm->ended)
		control_debug(vm);
	if ((bits & CTL_SERIAL) && !vm->ended)
		board_serial_output_ready(vm->board);
	pthread_mutex_unlock(&vm->ctl);
}

static void vm_alarm(void *opaque)
{
	struct vm *vm = opaque;

	pthread_mutex_lock(&vm->ctl);
	if (vm->clock.running) {
		board_timers(vm->board);
		/* Again, in case that the alarm came a little before its time in the VM's clock. */
		vm_arm(vm);
	}
	pthread_mutex_unlock(&vm->ctl);
}

/* --- the run --- */

static int start_threads(struct vm *vm)
{
	for (unsigned i = 0; i < vm->cpus; i++) {
		struct vm_vcpu *vc = &vm->vcpu[i];
		int err;

		vc->parked = false; /* a hold waits for the thread from now on */
		err = pthread_create(&vc->thread, NULL, vcpu_thread, vc);
		if (err) {
			vc->parked = true;
			return -err;
		}
		vc->thread_runs = true;
	}
	return 0;
}

static void stop_threads(struct vm *vm)
{
	if (vm->stuck)
		return;
	pthread_mutex_lock(&vm->lock);
	atomic_fetch_or(&vm->hold, HOLD_QUIT);
	pthread_cond_broadcast(&vm->go_cond);
	pthread_mutex_unlock(&vm->lock);
	for (unsigned i = 0; i < vm->cpus; i++) {
		if (vm->vcpu[i].thread_runs)
			pthread_join(vm->vcpu[i].thread, NULL);
		vm->vcpu[i].thread_runs = false;
	}
	atomic_fetch_and(&vm->hold, ~(uint32_t)HOLD_QUIT);
}

static void finish(struct vm *vm, struct vm_result *result)
{
	if (!vm->stuck && vm_hold(vm, HOLD_START))
		vm_end_stuck(vm);
	stop_threads(vm);
	vm->running = false;
	vm->result.report = vm->report;
	*result = vm->result;
	if (vm->gdb)
		gdb_ended(vm->gdb, result->end == VM_DEBUG_EXIT ? (result->code << 1 | 1) & 0xff :
				   result->end >= VM_TRIPLE_FAULT ? (unsigned)result->error.status : 0);
}

int vm_run(struct vm *vm, struct vm_result *result)
{
	int err;

	memset(result, 0, sizeof(*result));
	pthread_mutex_lock(&vm->ctl);
	if (vm->running || vm->ended) {
		pthread_mutex_unlock(&vm->ctl);
		return -EBUSY;
	}
	loop_set_wake_fn(vm->loop, vm_control, vm);
	loop_set_alarm_fn(vm->loop, vm_alarm, vm);
	vm->running = true;
	err = start_threads(vm);
	if (err) {
		finish(vm, result);
		pthread_mutex_unlock(&vm->ctl);
		return err;
	}
	vm_release(vm, HOLD_START);
	pthread_mutex_unlock(&vm->ctl);

	/* A loaded VM may have halted for good already; and wakes from before the loop began count. */
	vm_ask(vm, CTL_HALT);
	err = loop_run(vm->loop);

	pthread_mutex_lock(&vm->ctl);
	if (err && !vm->ended) {
		struct error why;

		error_set(&why, err, STATUS_INTERNAL, "the event loop failed", "%s",
			  "this is a defect of subring: please report it", strerror(-err));
		vm_end_error(vm, VM_FAILED, &why);
	}
	finish(vm, result);
	pthread_mutex_unlock(&vm->ctl);
	return 0;
}

/* --- the serial port --- */

void vm_serial_ready(struct vm *vm)
{
	vm_ask(vm, CTL_SERIAL);
}

size_t vm_serial_input(struct vm *vm, const uint8_t *bytes, size_t len)
{
	size_t taken;

	pthread_mutex_lock(&vm->ctl);
	taken = board_serial_input(vm->board, bytes, len);
	pthread_mutex_unlock(&vm->ctl);
	return taken;
}

void vm_serial_flush(struct vm *vm)
{
	if (vm->stuck)
		return;
	pthread_mutex_lock(&vm->ctl);
	board_serial_output_ready(vm->board);
	pthread_mutex_unlock(&vm->ctl);
}
