// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One vCPU alone: what a locked operation across two pages needs, since no host instruction on
 * one pointer can do it.
 *
 * c->parked says that the thread executes no guest code. The lone vCPU raises world_wanted and
 * waits until all others are parked; a vCPU that wants to run clears parked first and looks at
 * world_wanted after, with sequential consistency, so that one of the two always sees the other.
 */
#include "engine/soft/vcpu/vcpu.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wait_until_free(struct soft_vm *vm)
{
	while (atomic_load(&vm->world_wanted))
		syscall(SYS_futex, &vm->world_wanted, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
}

void world_enter(struct cpu *c)
{
	for (;;) {
		atomic_store(&c->parked, 0);
		if (!atomic_load(&c->vm->world_wanted))
			return;
		atomic_store(&c->parked, 1);
		wait_until_free(c->vm);
	}
}

void world_leave(struct cpu *c)
{
	atomic_store(&c->parked, 1);
}

void world_park(struct cpu *c)
{
	world_leave(c);
	world_enter(c);
}

void soft_world_stop(struct cpu *c)
{
	struct soft_vm *vm = c->vm;

	/* While it waits for its turn it is out of the way of whoever is alone now. */
	world_leave(c);
	pthread_mutex_lock(&vm->world_lock);
	atomic_store(&vm->world_wanted, 1);
	for (unsigned i = 0; i < vm->count; i++) {
		struct cpu *o = vm->cpu[i];

		if (o == c)
			continue;
		while (!atomic_load(&o->parked)) {
			cpu_request(o, REQ_WORLD);
			sched_yield();
		}
	}
	atomic_store(&c->parked, 0);
}

void soft_world_start(struct cpu *c)
{
	struct soft_vm *vm = c->vm;

	atomic_store(&vm->world_wanted, 0);
	syscall(SYS_futex, &vm->world_wanted, FUTEX_WAKE_PRIVATE, VCPUS_MAX, NULL, NULL, 0);
	pthread_mutex_unlock(&vm->world_lock);
}
