// SPDX-License-Identifier: GPL-2.0-or-later
/* struct soft_vm: the vCPUs of a VM together, in whichever process hosts them. */
#include "engine/soft/interp/block.h"
#include "engine/soft/mmu/mmu.h"
#include "engine/soft/vcpu/vcpu.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A vCPU with its translation slots behind it. */
#define CPU_BYTES (sizeof(struct cpu) + SLOTS_MAX * sizeof(struct slot))

static struct cpu *cpu_create(struct soft_vm *vm, unsigned index, struct run_page *run)
{
	struct cpu *c = mmap(NULL, CPU_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (c == MAP_FAILED)
		return NULL;
	c->vm = vm;
	c->wide = cpu_model_has(vm->model, FEAT_AVX512F);
	c->index = index;
	c->run = run;
	c->ram_host = vm->ram->host;
	c->frame = vm->ram->frame;
	c->code_gen = vm->ram->code_gen;
	c->ram_size = vm->ram->size;
	c->delivering = DELIVER_NONE;
	c->fetch_linear = ~0ull;
	atomic_store(&c->parked, 1);
	if (mmu_init(c) || block_cache_init(c)) {
		mmu_finish(c);
		munmap(c, CPU_BYTES);
		return NULL;
	}
	c->tsc_offset = vm->clock.tsc_offset;
	cpu_reset(c, false);
	return c;
}

int soft_vm_create(struct ram *ram, const struct cpu_model *model, unsigned count, const struct vm_clock *clock,
		   struct run_page *const run[], struct soft_vm **out)
{
	struct soft_vm *vm;
	int r;

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0))
		return -errno;
	r = vector_init();
	if (r)
		return r;
	vm = calloc(1, sizeof(*vm));
	if (!vm) {
		vector_finish();
		return -ENOMEM;
	}
	vm->ram = ram;
	vm->own_model = *model;
	vm->model = &vm->own_model;
	vm->clock = *clock;
	pthread_mutex_init(&vm->doorbell_lock, NULL);
	pthread_mutex_init(&vm->world_lock, NULL);
	for (vm->count = 0; vm->count < count; vm->count++) {
		vm->cpu[vm->count] = cpu_create(vm, vm->count, run[vm->count]);
		if (!vm->cpu[vm->count]) {
			soft_vm_destroy(vm);
			return -ENOMEM;
		}
	}
	*out = vm;
	return 0;
}

void soft_vm_destroy(struct soft_vm *vm)
{
	if (!vm)
		return;
	if (vm->tr)
		soft_vm_untranslate(vm);
	for (unsigned i = 0; i < vm->count; i++) {
		struct cpu *c = vm->cpu[i];

		cpu_timer_finish(c);
		pv_finish(c);
		block_cache_finish(c);
		mmu_finish(c);
		munmap(c, CPU_BYTES);
	}
	for (unsigned i = 0; i < vm->doorbell_count; i++)
		close(vm->doorbell[i].fd);
	pthread_mutex_destroy(&vm->doorbell_lock);
	pthread_mutex_destroy(&vm->world_lock);
	vector_finish();
	free(vm);
}

void soft_vm_set_clock(struct soft_vm *vm, const struct vm_clock *clock)
{
	vm->clock = *clock;
	for (unsigned i = 0; i < vm->count; i++) {
		vm->cpu[i]->tsc_offset = clock->tsc_offset + vm->cpu[i]->tsc_delta;
		vm->cpu[i]->pv.clock_stale = true;
		lapic_timer_arm(vm->cpu[i]);
	}
}

void soft_vm_slots_changed(struct soft_vm *vm)
{
	for (unsigned i = 0; i < vm->count; i++)
		mmu_flush_all(vm->cpu[i]);
}

void soft_vm_set_routes(struct soft_vm *vm, const struct engine_msi *route, unsigned count)
{
	uint64_t bits[4] = { 0 };

	for (unsigned i = 0; i < count; i++)
		if (route[i].data >> 15 & 1)
			bits[(route[i].data & 0xff) / 64] |= 1ull << (route[i].data % 64);
	for (unsigned i = 0; i < 4; i++)
		atomic_store(&vm->eoi_exit[i], bits[i]);
}

static bool same_doorbell(const struct engine_doorbell *a, const struct engine_doorbell *b)
{
	return a->address == b->address && a->len == b->len && a->pio == b->pio && a->match == b->match &&
	       (!a->match || a->value == b->value);
}

int soft_vm_doorbell(struct soft_vm *vm, const struct engine_doorbell *d, bool add)
{
	int r = add ? 0 : -ENOENT;

	pthread_mutex_lock(&vm->doorbell_lock);
	for (unsigned i = 0; i < vm->doorbell_count; i++) {
		if (!same_doorbell(&vm->doorbell[i], d))
			continue;
		r = add ? -EEXIST : 0;
		if (!add) {
			close(vm->doorbell[i].fd);
			vm->doorbell[i] = vm->doorbell[vm->doorbell_count - 1];
			vm->doorbell_count--;
		}
		break;
	}
	if (add && !r) {
		struct engine_doorbell copy = *d;

		copy.fd = vm->doorbell_count == SOFT_DOORBELLS_MAX ? -1 : fcntl(d->fd, F_DUPFD_CLOEXEC, 0);
		if (copy.fd < 0)
			r = vm->doorbell_count == SOFT_DOORBELLS_MAX ? -ENOSPC : -errno;
		else
			vm->doorbell[vm->doorbell_count++] = copy;
	}
	pthread_mutex_unlock(&vm->doorbell_lock);
	return r;
}

int soft_vm_ring(struct soft_vm *vm, bool pio, uint64_t address, unsigned len, uint64_t value)
{
	int taken = 0;

	if (!atomic_load_explicit(&vm->doorbell_count, memory_order_relaxed))
		return 0;
	if (len < 8)
		value &= (1ull << len * 8) - 1;
	pthread_mutex_lock(&vm->doorbell_lock);
	for (unsigned i = 0; i < vm->doorbell_count && !taken; i++) {
		const struct engine_doorbell *d = &vm->doorbell[i];
		uint64_t one = 1;

		if (d->pio != pio || d->address != address || (d->len && d->len != len) || (d->match && d->value != value))
			continue;
		/* A full counter means that the other side has not looked yet: nothing is lost. */
		taken = write(d->fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN;
	}
	pthread_mutex_unlock(&vm->doorbell_lock);
	return taken;
}

bool soft_vm_port_rings(struct soft_vm *vm, uint16_t port)
{
	bool found = false;

	if (!atomic_load_explicit(&vm->doorbell_count, memory_order_relaxed))
		return false;
	pthread_mutex_lock(&vm->doorbell_lock);
	for (unsigned i = 0; i < vm->doorbell_count; i++)
		found |= vm->doorbell[i].pio && vm->doorbell[i].address == port;
	pthread_mutex_unlock(&vm->doorbell_lock);
	return found;
}
