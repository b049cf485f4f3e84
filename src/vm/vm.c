// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Building a VM, booting and resetting it, and the wires from the board to the engine.
 *
 * Order of building: loop, memory, clock, engine, board, so that everything that a wire reaches
 * stands before the board can pull it.
 */
#include "vm/vm_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- wires: called with the board lock held, on any thread (machine/machine.h) --- */

static void wire_msi(void *opaque, const struct engine_msi *msi)
{
	struct vm *vm = opaque;

	vm->ops->msi(vm->engine, msi);
}

/* Delivery modes that reach a CPU which has interrupts off (I/O APIC redirection table, bits 8-10). */
static bool route_wakes_halted(const struct engine_msi *route)
{
	enum { MODE_SMI = 2, MODE_NMI = 4, MODE_INIT = 5 };
	unsigned mode = route->data >> 8 & 7;

	return mode == MODE_SMI || mode == MODE_NMI || mode == MODE_INIT;
}

static void wire_routes(void *opaque, const struct engine_msi *route, unsigned count)
{
	struct vm *vm = opaque;
	bool wakes = false;

	for (unsigned i = 0; i < count; i++)
		wakes |= route_wakes_halted(&route[i]);
	atomic_store(&vm->nmi_routes, wakes);
	vm->ops->set_routes(vm->engine, route, count);
}

static void wire_extint(void *opaque, bool level)
{
	struct vm *vm = opaque;
	struct vm_vcpu *bsp = &vm->vcpu[0];

	atomic_store(&vm->extint, level);
	atomic_store(&bsp->engine->run->request_extint, level);
	/* On its own thread it is outside the engine and looks before it goes back. */
	if (level && vcpu_self != bsp)
		vm->ops->vcpu_kick(bsp->engine);
}

static void wire_nmi(void *opaque)
{
	struct vm *vm = opaque;

	vm->ops->vcpu_nmi(vm->vcpu[0].engine);
}

/*
 * SMI# goes to the CPU whose port access it was, and to the first one otherwise: firmware for virtual
 * machines may have moved the SMBASE of that one alone. Those that want more CPUs send SMIs by the ICR.
 */
static void wire_smi(void *opaque)
{
	struct vm *vm = opaque;

	vm->ops->vcpu_smi((vcpu_self ? vcpu_self : &vm->vcpu[0])->engine);
}

static void wire_a20(void *opaque, bool open)
{
	struct vm *vm = opaque;

	if (open != atomic_load(&vm->a20_closed))
		return;
	atomic_fetch_or(&vm->hold, HOLD_A20);
	vm_kick_all(vm);
	vm_ask(vm, CTL_A20);
}

static void wire_event(void *opaque, enum board_event event, unsigned code)
{
	struct vm *vm = opaque;
	uint32_t none = BOARD_EVENT_NONE;

	if (event == BOARD_EVENT_NONE)
		return;
	if (!atomic_compare_exchange_strong(&vm->event, &none, (uint32_t)event | (code & 0xff) << 8))
		return;
	atomic_fetch_or(&vm->hold, HOLD_EVENT);
	vm_kick_all(vm);
	vm_ask(vm, CTL_EVENT);
}

static void wire_timer(void *opaque, uint64_t vm_ns)
{
	struct vm *vm = opaque;

	pthread_mutex_lock(&vm->lock);
	vm->timer_ns = vm_ns;
	pthread_mutex_unlock(&vm->lock);
	vm_arm(vm);
}

/* The next two on any thread, without the board lock. */

static int wire_doorbell(void *opaque, const struct engine_doorbell *doorbell, bool add)
{
	struct vm *vm = opaque;

	return add ? vm->ops->add_doorbell(vm->engine, doorbell) : vm->ops->remove_doorbell(vm->engine, doorbell);
}

static void wire_lines_later(void *opaque)
{
	vm_ask(opaque, CTL_LINES);
}

/* --- building --- */

static int copy_string(char **to, const char *from)
{
	if (!from)
		return 0;
	*to = strdup(from);
	return *to ? 0 : -ENOMEM;
}

static int copy_config(struct vm *vm, const struct vm_config *config)
{
	vm->mem = config->mem;
	vm->cpus = config->cpus;
	vm->no_reboot = config->no_reboot;
	if (copy_string(&vm->name, config->name ? config->name : "vm") || copy_string(&vm->kernel, config->kernel) ||
	    copy_string(&vm->initrd, config->initrd) ||
	    copy_string(&vm->cmdline, config->cmdline ? config->cmdline : ""))
		return -ENOMEM;
	return 0;
}

static int create_engine(struct vm *vm, const struct vm_config *config, struct error *err)
{
	const char *spec = config->engine ? config->engine : "auto";
	struct engine_config engine_config = {
		.ram = vm->ram,
		.vcpus = vm->cpus,
		.clock = &vm->clock,
		.options = "",
	};
	int ret;

	ret = cpu_model_parse(config->cpu, &vm->model, err);
	engine_config.model = &vm->model;
	if (ret)
		return ret;
	ret = engine_create(spec, &engine_config, &vm->engine, vm->engine_why, sizeof(vm->engine_why), err);
	if (ret)
		return ret;
	vm->ops = vm->engine->ops;
	for (unsigned i = 0; i < vm->cpus; i++) {
		struct vm_vcpu *vc = &vm->vcpu[i];

		vc->vm = vm;
		vc->index = i;
		vc->engine = vm->engine->vcpu[i];
		vc->parked = true;
		ret = vm->ops->vcpu_get_state(vc->engine, &vc->reset);
		if (ret)
			return error_set(err, ret, STATUS_INTERNAL, "cannot read the state of vCPU %u", "%s",
					 "this is a defect of subring: please report it", i, strerror(-ret));
	}
	return 0;
}

static int create_board(struct vm *vm, const struct vm_config *config, struct error *err)
{
	struct board_config board_config = {
		.ram = vm->ram,
		.clock = &vm->clock,
		.cpus = vm->cpus,
		.debug_exit = config->debug_exit,
		.test_device = config->test_device,
		.rng = config->rng,
		.disk = config->disk,
		.disks = config->disks,
		.net = config->net,
		.nets = config->nets,
		.serial = config->serial,
		.debugcon = config->debugcon,
		.wires = {
			.msi = wire_msi,
			.routes = wire_routes,
			.extint = wire_extint,
			.nmi = wire_nmi,
			.smi = wire_smi,
			.a20 = wire_a20,
			.event = wire_event,
			.timer = wire_timer,
			.doorbell = wire_doorbell,
			.lines_later = wire_lines_later,
			.opaque = vm,
		},
	};
	int ret;

	ret = board_create(&board_config, &vm->board, err);
	if (!ret)
		board_pause(vm->board); /* as the clock is: vm_release */
	return ret;
}

static int check_config(const struct vm_config *config, struct error *err)
{
	if (config->cpus < 1 || config->cpus > VCPUS_MAX)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot make a VM with %u vCPUs", "it can have 1 to %u",
				 "give a number in this range", config->cpus, (unsigned)VCPUS_MAX);
	if (config->mem < BOARD_MEM_MIN || config->mem > BOARD_MEM_MAX || config->mem % FRAME_SIZE)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot make a VM with %llu bytes of memory",
				 "it can have %lluM to %lluT, in whole 4K pages", "give a size in this range",
				 (unsigned long long)config->mem, (unsigned long long)BOARD_MEM_MIN >> 20,
				 (unsigned long long)BOARD_MEM_MAX >> 40);
	return 0;
}

static int build(struct vm *vm, const struct vm_config *config, struct error *err)
{
	int ret;

	ret = loop_create(&vm->loop);
	if (ret)
		return error_set(err, ret, STATUS_HOST, "cannot make an event loop", "%s",
				 "raise the limit of open files (ulimit -n)", strerror(-ret));
	vm_clock_init(&vm->clock);
	ret = ram_create(vm->mem, NULL, &vm->ram, err);
	if (!ret)
		ret = board_map_ram(vm->ram, err);
	if (!ret)
		ret = create_engine(vm, config, err);
	if (!ret)
		ret = create_board(vm, config, err);
	if (!ret && config->gdb) {
		atomic_fetch_or(&vm->hold, HOLD_GDB);
		ret = gdb_create(vm, config->gdb, &vm->gdb, err);
	}
	return ret;
}

int vm_create(const struct vm_config *config, struct vm **out, struct error *err)
{
	struct vm *vm;
	int ret;

	ret = check_config(config, err);
	if (ret)
		return ret;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return error_set(err, -ENOMEM, STATUS_HOST, "cannot make a VM", "the host has no memory left",
				 "end other programs");
	pthread_mutex_init(&vm->ctl, NULL);
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->parked_cond, NULL);
	pthread_cond_init(&vm->go_cond, NULL);
	atomic_flag_clear(&vm->failed);
	vm->timer_ns = UINT64_MAX;
	atomic_store(&vm->hold, HOLD_START);

	ret = copy_config(vm, config);
	if (ret)
		error_set(err, ret, STATUS_HOST, "cannot make a VM", "the host has no memory left", "end other programs");
	else
		ret = build(vm, config, err);
	if (ret) {
		vm_destroy(vm);
		return ret;
	}
	*out = vm;
	return 0;
}

void vm_destroy(struct vm *vm)
{
	if (!vm || vm->stuck)
		return;
	gdb_destroy(vm->gdb);
	board_destroy(vm->board);
	if (vm->engine)
		vm->engine->ops->destroy(vm->engine);
	ram_destroy(vm->ram);
	loop_destroy(vm->loop);
	pthread_cond_destroy(&vm->go_cond);
	pthread_cond_destroy(&vm->parked_cond);
	pthread_mutex_destroy(&vm->lock);
	pthread_mutex_destroy(&vm->ctl);
	free(vm->report);
	free(vm->name);
	free(vm->kernel);
	free(vm->initrd);
	free(vm->cmdline);
	free(vm);
}

struct loop *vm_loop(struct vm *vm)
{
	return vm->loop;
}

const char *vm_engine_why(const struct vm *vm)
{
	return vm->engine_why;
}

/* --- boot and reset --- */

static int set_state(struct vm *vm, unsigned cpu, const struct vcpu_state *state, struct error *err)
{
	int ret = vm->ops->vcpu_set_state(vm->vcpu[cpu].engine, state);

	if (ret)
		return error_set(err, ret, STATUS_INTERNAL, "cannot set the state of vCPU %u", "%s",
				 "this is a defect of subring: please report it", cpu, strerror(-ret));
	return 0;
}

int vm_boot(struct vm *vm, struct error *err)
{
	struct vcpu_state bsp = vm->vcpu[0].reset;
	struct boot_config config = {
		.kernel = vm->kernel,
		.initrd = vm->initrd,
		.cmdline = vm->cmdline,
		.cpus = vm->cpus,
	};
	int ret;

	if (!vm->kernel)
		return error_set(err, -EINVAL, STATUS_INPUT, "cannot boot the VM %s", "it has no kernel",
				 "name one with --kernel", vm->name);
	ret = boot_load(vm->ram, &config, &bsp, err);
	if (ret)
		return ret;
	ret = set_state(vm, 0, &bsp, err);
	for (unsigned i = 1; i < vm->cpus && !ret; i++) {
		struct vcpu_state ap = vm->vcpu[i].reset;

		boot_prepare_ap(&ap);
		ret = set_state(vm, i, &ap, err);
	}
	return ret;
}

int vm_apply_a20(struct vm *vm)
{
	bool open = board_a20(vm->board);
	int ret;

	if (open != atomic_load(&vm->a20_closed))
		return 0;
	if (vm->clock.running)
		board_pause(vm->board);
	ret = board_map_a20(vm->ram, open);
	if (!ret) {
		atomic_store(&vm->a20_closed, !open);
		ret = vm->ops->slots_changed(vm->engine);
	}
	if (vm->clock.running)
		board_resume(vm->board);
	return ret;
}

/*
 * A reset by the guest: board and CPUs start anew and the kernel is loaded again, for there is no
 * firmware that could. Memory keeps what the loader does not write, as in a warm reset.
 */
int vm_reset(struct vm *vm, struct error *err)
{
	int ret;

	board_reset(vm->board);
	ret = vm_apply_a20(vm); /* before the loader writes to the second megabyte */
	if (ret)
		return error_set(err, ret, STATUS_INTERNAL, "cannot lay out guest memory after a reset", "%s",
				 "this is a defect of subring: please report it", strerror(-ret));
	for (unsigned i = 0; i < vm->cpus; i++) {
		struct vm_vcpu *vc = &vm->vcpu[i];

		ret = set_state(vm, i, &vc->reset, err);
		if (ret)
			return ret;
		atomic_store(&vc->ran, false);
		atomic_store(&vc->halted, false);
		atomic_fetch_and(&vc->hold, ~(uint32_t)HOLD_FAULT);
		vc->extint_ready = false;
	}
	return vm_boot(vm, err);
}
