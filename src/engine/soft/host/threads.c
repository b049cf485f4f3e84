// SPDX-License-Identifier: GPL-2.0-or-later
/* Engine soft in the monitor's own process: a vCPU runs on the thread that calls vcpu_run. */
#include "engine/soft/host/host.h"
#include "engine/soft/mmu/mmu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct threads_vcpu {
	struct engine_vcpu base;
	struct cpu *cpu;
	struct engine_debug debug;
};

struct threads_engine {
	struct engine base;
	struct soft_vm *vm;
	void *run; /* run pages, RUN_STRIDE apart */
	size_t run_len;
	struct threads_vcpu vcpu[VCPUS_MAX];
};

static struct soft_vm *vm_of(struct engine *e)
{
	return ((struct threads_engine *)e)->vm;
}

static struct cpu *cpu_of(struct engine_vcpu *v)
{
	return ((struct threads_vcpu *)v)->cpu;
}

void soft_cpu_set_debug(struct cpu *c, struct engine_debug *copy, const struct engine_debug *debug)
{
	*copy = *debug;
	if (copy->count > ENGINE_BREAKPOINTS_MAX)
		copy->count = ENGINE_BREAKPOINTS_MAX;
	if (copy->watch_count > ENGINE_WATCHES_MAX)
		copy->watch_count = ENGINE_WATCHES_MAX;
	c->debug = copy->step || copy->count || copy->watch_count ? copy : NULL;
	debug_rearm(c);
}

static void threads_destroy(struct engine *engine)
{
	struct threads_engine *e = (struct threads_engine *)engine;

	if (!e)
		return;
	soft_vm_destroy(e->vm);
	if (e->run)
		munmap(e->run, e->run_len);
	free(e);
}

static int threads_run(struct engine_vcpu *v)
{
	cpu_run(cpu_of(v));
	return 0;
}

static int threads_extint(struct engine_vcpu *v, uint8_t vector)
{
	cpu_of(v)->extint_pending = 1;
	cpu_of(v)->extint_vector = vector;
	return 0;
}

static void threads_kick(struct engine_vcpu *v)
{
	cpu_request(cpu_of(v), REQ_KICK);
}

static void threads_nmi(struct engine_vcpu *v)
{
	cpu_request(cpu_of(v), REQ_NMI);
}

static void threads_smi(struct engine_vcpu *v)
{
	cpu_request(cpu_of(v), REQ_SMI);
}

static int threads_get_state(struct engine_vcpu *v, struct vcpu_state *state)
{
	cpu_get_state(cpu_of(v), state);
	return 0;
}

static int threads_set_state(struct engine_vcpu *v, const struct vcpu_state *state)
{
	return cpu_set_state(cpu_of(v), state);
}

static int threads_settled(struct engine_vcpu *v)
{
	return cpu_settled(cpu_of(v));
}

static int threads_debug(struct engine_vcpu *v, const struct engine_debug *debug)
{
	soft_cpu_set_debug(cpu_of(v), &((struct threads_vcpu *)v)->debug, debug);
	return 0;
}

static int threads_translate(struct engine_vcpu *v, uint64_t linear, uint64_t *gpa)
{
	return mmu_translate(cpu_of(v), linear, gpa);
}

static int threads_msi(struct engine *e, const struct engine_msi *msi)
{
	return lapic_deliver(vm_of(e), msi);
}

static int threads_routes(struct engine *e, const struct engine_msi *route, unsigned count)
{
	soft_vm_set_routes(vm_of(e), route, count);
	return 0;
}

static int threads_doorbell_add(struct engine *e, const struct engine_doorbell *d)
{
	return soft_vm_doorbell(vm_of(e), d, true);
}

static int threads_doorbell_remove(struct engine *e, const struct engine_doorbell *d)
{
	return soft_vm_doorbell(vm_of(e), d, false);
}

static int threads_slots(struct engine *e)
{
	soft_vm_slots_changed(vm_of(e));
	return 0;
}

static int threads_clock(struct engine *e)
{
	soft_vm_set_clock(vm_of(e), e->clock);
	return 0;
}

static int threads_dirty_log_sync(struct engine *e)
{
	return 0; /* a frame is marked before the first store to it */
}

static const struct engine_ops threads_ops = {
	.name = "soft",
	.destroy = threads_destroy,
	.vcpu_run = threads_run,
	.vcpu_extint = threads_extint,
	.vcpu_kick = threads_kick,
	.vcpu_nmi = threads_nmi,
	.vcpu_smi = threads_smi,
	.vcpu_get_state = threads_get_state,
	.vcpu_set_state = threads_set_state,
	.vcpu_settled = threads_settled,
	.vcpu_debug = threads_debug,
	.vcpu_translate = threads_translate,
	.msi = threads_msi,
	.set_routes = threads_routes,
	.add_doorbell = threads_doorbell_add,
	.remove_doorbell = threads_doorbell_remove,
	.slots_changed = threads_slots,
	.dirty_log_sync = threads_dirty_log_sync,
	.clock_changed = threads_clock,
	.dirty_log_start = threads_slots, /* entries that allow stores are made anew, and mark the frame dirty */
};

int soft_host_lacks(struct error *err, const struct cpu_model *model)
{
	return error_set(err, -ENOTSUP, STATUS_HOST, "cannot run a CPU of the model %s in software here",
			 "arithmetic runs on the host's own CPU, and this one lacks AVX2, FMA, SHA or another of its features",
			 "use a host that has them, or --engine kvm,features=host where there is KVM", model->text);
}

int soft_threads_create(const struct engine_config *config, const struct soft_tuning *tuning, struct engine **out,
			struct error *err)
{
	struct threads_engine *e = calloc(1, sizeof(*e));
	struct run_page *run[VCPUS_MAX];
	int r = -ENOMEM;

	if (!e)
		goto fail;
	e->base.ops = &threads_ops;
	e->base.clock = config->clock;
	e->base.vcpu_count = config->vcpus;
	e->run_len = (size_t)config->vcpus * RUN_STRIDE;
	e->run = mmap(NULL, e->run_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (e->run == MAP_FAILED) {
		e->run = NULL;
		goto fail;
	}
	for (unsigned i = 0; i < config->vcpus; i++)
		run[i] = run_page_of(e->run, i);
	r = soft_vm_create(config->ram, config->model, config->vcpus, config->clock, run, &e->vm);
	if (!r)
		r = soft_vm_translate(e->vm, tuning);
	if (r)
		goto fail;
	for (unsigned i = 0; i < config->vcpus; i++) {
		e->vcpu[i].base = (struct engine_vcpu){ .engine = &e->base, .run = run[i], .index = i };
		e->vcpu[i].cpu = e->vm->cpu[i];
		e->base.vcpu[i] = &e->vcpu[i].base;
	}
	*out = &e->base;
	return 0;
fail:
	if (e)
		threads_destroy(&e->base);
	if (r == -ENOTSUP)
		return soft_host_lacks(err, config->model);
	return error_set(err, r, STATUS_HOST, "cannot create the virtual CPUs", "%s", "free some memory, or lower --cpus",
			 strerror(-r));
}
