// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A VM as the debugger's target. All with vm->ctl held and, but for interrupt and kill, with
 * every vCPU parked under HOLD_GDB.
 */
#include "vm/gdb_private.h"
#include "vm/linear.h"
#include "vm/vm_private.h"

#include <errno.h>
#include <string.h>

static int target_get_state(void *opaque, unsigned cpu, struct vcpu_state *s)
{
	struct vm *vm = opaque;

	return vm->ops->vcpu_get_state(vm->vcpu[cpu].engine, s);
}

static int target_set_state(void *opaque, unsigned cpu, const struct vcpu_state *s)
{
	struct vm *vm = opaque;

	return vm->ops->vcpu_set_state(vm->vcpu[cpu].engine, s);
}

static size_t target_read(void *opaque, unsigned cpu, uint64_t linear, void *buf, size_t len)
{
	return vm_read_linear(opaque, cpu, linear, buf, len);
}

static size_t target_write(void *opaque, unsigned cpu, uint64_t linear, const void *buf, size_t len)
{
	return vm_write_linear(opaque, cpu, linear, buf, len);
}

static int target_watch(void *opaque, const struct engine_watch *watch, unsigned count)
{
	struct vm *vm = opaque;

	if (strcmp(vm->ops->name, "soft"))
		return -ENOTSUP; /* KVM has four registers for it, and they are not used */
	vm->watch_count = count;
	memcpy(vm->watch, watch, count * sizeof(*watch));
	return 0;
}

static bool target_watched(void *opaque, unsigned cpu, uint64_t *linear)
{
	struct vm_vcpu *vc = &((struct vm *)opaque)->vcpu[cpu];

	*linear = vc->watch_linear;
	return vc->watch_hit;
}

/* A vCPU that stands at a breakpoint which the debugger has not been told of, because another came first. */
static bool hit_stands(struct vm_vcpu *vc)
{
	struct vcpu_state s;

	if (vc->watch_hit)
		return true;
	if (vc->vm->ops->vcpu_get_state(vc->engine, &s))
		return false;
	for (unsigned i = 0; i < vc->debug.count; i++) {
		if (vc->debug.breakpoint[i] == linear_rip(&s))
			return true;
	}
	return false;
}

static void target_resume(void *opaque, const enum gdb_action *action, const uint64_t *breakpoint, unsigned count)
{
	struct vm *vm = opaque;
	bool waiting = false;

	for (unsigned i = 0; i < vm->cpus; i++) {
		struct vm_vcpu *vc = &vm->vcpu[i];

		memset(&vc->debug, 0, sizeof(vc->debug));
		vc->debug.step = action[i] == GDB_STEP;
		vc->debug.count = count;
		for (unsigned b = 0; b < count; b++)
			vc->debug.breakpoint[b] = breakpoint[b];
		vc->debug.watch_count = vm->watch_count;
		memcpy(vc->debug.watch, vm->watch, vm->watch_count * sizeof(vm->watch[0]));
		vm->ops->vcpu_debug(vc->engine, &vc->debug);
		if (action[i] == GDB_STAY) {
			atomic_fetch_or(&vc->hold, HOLD_STEP);
			continue;
		}
		vc->debug_hit = vc->debug_hit && hit_stands(vc);
		vc->watch_hit = vc->watch_hit && vc->debug_hit;
		waiting |= vc->debug_hit;
	}
	if (waiting)
		vm_ask(vm, CTL_DEBUG);
	else
		vm_release(vm, HOLD_GDB);
}

static int target_interrupt(void *opaque)
{
	struct vm *vm = opaque;

	if (vm_hold(vm, HOLD_GDB)) {
		vm_end_stuck(vm);
		return -1;
	}
	for (unsigned i = 0; i < vm->cpus; i++)
		atomic_fetch_and(&vm->vcpu[i].hold, ~(uint32_t)HOLD_STEP);
	return 0;
}

static void target_kill(void *opaque)
{
	vm_stop(opaque);
}

void gdb_target_init(struct gdb_target *target, struct vm *vm)
{
	*target = (struct gdb_target){
		.cpus = vm->cpus,
		.opaque = vm,
		.get_state = target_get_state,
		.set_state = target_set_state,
		.read = target_read,
		.write = target_write,
		.resume = target_resume,
		.watch = target_watch,
		.watched = target_watched,
		.interrupt = target_interrupt,
		.kill = target_kill,
	};
}
