// SPDX-License-Identifier: GPL-2.0-or-later
/* The scripted engine and the board that writes down. See fake.h. */
#include "fake.h"

#include "vm/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fake fake;

void fake_init(unsigned cpus)
{
	memset(&fake, 0, sizeof(fake));
	pthread_mutex_init(&fake.lock, NULL);
	fake.cpus = cpus;
}

static uint64_t rip_of(struct fake_vcpu *v)
{
	return *(volatile uint64_t *)&v->state.rip;
}

bool fake_reaches(unsigned cpu, uint64_t n)
{
	for (int i = 0; i < 10000; i++) {
		if (rip_of(&fake.vcpu[cpu]) >= n)
			return true;
		usleep(1000);
	}
	return false;
}

bool fake_logged(uint64_t addr)
{
	bool found = false;

	pthread_mutex_lock(&fake.lock);
	for (unsigned i = 0; i < fake.log_count; i++)
		found |= fake.log[i].addr == addr;
	pthread_mutex_unlock(&fake.lock);
	return found;
}

/* --- the engine --- */

static const struct act spin = DO(SPIN);

static const struct act *script_of(struct fake_vcpu *v)
{
	if (v->base.index == 0 && fake.second_script && atomic_load(&fake.boots) > 1)
		return fake.second_script;
	return fake.script[v->base.index] ? fake.script[v->base.index] : &spin;
}

static int leave(struct fake_vcpu *v, uint32_t kind)
{
	v->page.exit = kind;
	v->page.extint_ready = v->ready && !v->pending;
	return 0;
}

static int begin_access(struct fake_vcpu *v, const struct act *a, uint64_t n)
{
	uint32_t count = a->count ? a->count : 1;

	v->pending = true;
	v->pending_act = (unsigned)n;
	memset(v->page.data, 0, sizeof(v->page.data));
	for (uint32_t i = 0; i < count && a->size <= 8 && (i + 1) * a->size <= RUN_DATA_MAX; i++)
		memcpy(v->page.data + i * a->size, &a->value, a->size);
	if (a->kind == ACT_OUT || a->kind == ACT_IN) {
		v->page.pio.port = (uint16_t)a->addr;
		v->page.pio.size = (uint8_t)a->size;
		v->page.pio.write = a->kind == ACT_OUT;
		v->page.pio.count = count;
		return leave(v, ENGINE_EXIT_PIO);
	}
	v->page.mmio.gpa = a->addr;
	v->page.mmio.size = a->size;
	v->page.mmio.write = a->kind == ACT_STORE;
	return leave(v, ENGINE_EXIT_MMIO);
}

/* Finishes what waits. True: the same instruction has another access to make. */
static bool complete(struct fake_vcpu *v)
{
	const struct act *a = &script_of(v)[v->pending_act];

	if (!v->pending)
		return false;
	v->pending = false;
	v->answer = 0;
	memcpy(&v->answer, v->page.data, a->size < 8 ? a->size : 8);
	if (a->kind == ACT_MSR)
		v->msr_fault = v->page.msr.fault;
	v->state.rip = v->pending_act + 1;
	return a->more;
}

static bool at_breakpoint(struct fake_vcpu *v)
{
	for (unsigned i = 0; v->debug && i < v->debug->count; i++) {
		if (v->debug->breakpoint[i] == v->state.rip)
			return true;
	}
	return false;
}

static int leave_debug(struct fake_vcpu *v, bool step)
{
	v->page.debug.rip = v->state.rip;
	v->page.debug.dr6 = 0;
	v->page.debug.step = step;
	return leave(v, ENGINE_EXIT_DEBUG);
}

static int do_act(struct fake_vcpu *v, const struct act *a)
{
	uint64_t n = v->state.rip;

	switch (a->kind) {
	case ACT_OUT: case ACT_IN: case ACT_STORE: case ACT_LOAD:
		return begin_access(v, a, n);
	case ACT_MSR:
		v->pending = true;
		v->pending_act = (unsigned)n;
		v->page.msr.index = (uint32_t)a->addr;
		v->page.msr.write = 0;
		v->page.msr.fault = 0;
		return leave(v, ENGINE_EXIT_MSR);
	case ACT_HYPERCALL:
		v->state.rip++;
		v->page.hypercall.nr = a->value;
		return leave(v, ENGINE_EXIT_HYPERCALL);
	case ACT_EOI:
		v->state.rip++;
		v->page.eoi.vector = (uint32_t)a->value;
		return leave(v, ENGINE_EXIT_EOI);
	case ACT_TRIPLE:
		v->page.shutdown.triple_fault = 1;
		v->page.shutdown.vector = 13;
		return leave(v, ENGINE_EXIT_SHUTDOWN);
	case ACT_INTERNAL:
		memset(v->page.internal.why, 'A', sizeof(v->page.internal.why)); /* no NUL */
		v->page.internal.why[1] = '\x1b';
		return leave(v, ENGINE_EXIT_INTERNAL);
	case ACT_RAW_EXIT:
		v->state.rip++;
		return leave(v, (uint32_t)a->value);
	case ACT_READY:
		v->state.rip++;
		v->ready = true;
		return leave(v, ENGINE_EXIT_EXTINT_WINDOW);
	default:
		return -EIO;
	}
}

static int fake_run(struct engine_vcpu *vcpu)
{
	struct fake_vcpu *v = (struct fake_vcpu *)vcpu;

	if (complete(v))
		return do_act(v, &script_of(v)[v->state.rip]);
	if (v->page.immediate_exit)
		return leave(v, ENGINE_EXIT_KICK);
	for (;;) {
		const struct act *a = &script_of(v)[v->state.rip];

		if (atomic_exchange(&v->kicked, false))
			return leave(v, ENGINE_EXIT_KICK);
		if (v->ready && v->page.request_extint)
			return leave(v, ENGINE_EXIT_EXTINT_WINDOW);
		if (v->state.activity == VCPU_WAIT_SIPI && !fake.go[3]) {
			usleep(200);
			continue;
		}
		v->state.activity = v->state.activity == VCPU_WAIT_SIPI ? VCPU_RUNNING : v->state.activity;
		if (v->debug && !v->debug->step && at_breakpoint(v))
			return leave_debug(v, false);
		switch (a->kind) {
		case ACT_SPIN:
			usleep(200);
			break;
		case ACT_WAIT:
			if (fake.go[a->value])
				v->state.rip++;
			else
				usleep(200);
			break;
		case ACT_NOP:
		case ACT_JUMP:
			v->state.rip = a->kind == ACT_NOP ? v->state.rip + 1 : a->value;
			if (v->debug && v->debug->step)
				return leave_debug(v, true);
			break;
		case ACT_HALT:
			v->state.activity = VCPU_HALTED;
			v->state.rflags &= ~(1ull << 9);
			if (!v->halt_told) {
				v->halt_told = true;
				return leave(v, ENGINE_EXIT_HALT);
			}
			usleep(200);
			break;
		default:
			return do_act(v, a);
		}
	}
}

static int fake_extint(struct engine_vcpu *vcpu, uint8_t vector)
{
	struct fake_vcpu *v = (struct fake_vcpu *)vcpu;

	if (!v->ready || v->pending)
		return -EINVAL;
	v->ready = false;
	v->extint = vector;
	return 0;
}

static void fake_kick(struct engine_vcpu *vcpu)
{
	atomic_store(&((struct fake_vcpu *)vcpu)->kicked, true);
}

static int fake_get_state(struct engine_vcpu *vcpu, struct vcpu_state *state)
{
	struct fake_vcpu *v = (struct fake_vcpu *)vcpu;

	if (v->pending)
		return -EBUSY;
	*state = v->state;
	return 0;
}

static int fake_set_state(struct engine_vcpu *vcpu, const struct vcpu_state *state)
{
	struct fake_vcpu *v = (struct fake_vcpu *)vcpu;

	v->state = *state;
	v->pending = v->halt_told = v->ready = false;
	return 0;
}

static int fake_settled(struct engine_vcpu *vcpu)
{
	return !((struct fake_vcpu *)vcpu)->pending;
}

static int fake_debug(struct engine_vcpu *vcpu, const struct engine_debug *debug)
{
	((struct fake_vcpu *)vcpu)->debug = debug;
	return 0;
}

static int fake_translate(struct engine_vcpu *vcpu, uint64_t linear, uint64_t *gpa)
{
	*gpa = linear;
	return linear < 1 << 30 ? 0 : -EFAULT;
}

static int fake_msi(struct engine *engine, const struct engine_msi *msi)
{
	return 0;
}

static int fake_set_routes(struct engine *engine, const struct engine_msi *route, unsigned count)
{
	fake.routes++;
	return 0;
}

static int fake_clock_changed(struct engine *engine)
{
	fake.clock_changes++;
	return 0;
}

static void fake_destroy(struct engine *engine)
{
	free(engine);
}

static void fake_smi(struct engine_vcpu *vcpu)
{
}

static int fake_slots_changed(struct engine *engine)
{
	fake.slots_changes++;
	return 0;
}

static int fake_dirty_log_sync(struct engine *engine)
{
	return 0;
}

static void fake_nmi(struct engine_vcpu *vcpu)
{
}

static const struct engine_ops fake_ops = {
	.name = "fake",
	.destroy = fake_destroy,
	.vcpu_run = fake_run,
	.vcpu_extint = fake_extint,
	.vcpu_kick = fake_kick,
	.vcpu_nmi = fake_nmi,
	.vcpu_smi = fake_smi,
	.dirty_log_sync = fake_dirty_log_sync,
	.vcpu_get_state = fake_get_state,
	.vcpu_set_state = fake_set_state,
	.vcpu_settled = fake_settled,
	.vcpu_debug = fake_debug,
	.vcpu_translate = fake_translate,
	.msi = fake_msi,
	.set_routes = fake_set_routes,
	.clock_changed = fake_clock_changed,
	.slots_changed = fake_slots_changed,
};

int engine_create(const char *spec, const struct engine_config *config, struct engine **out, char *why, size_t why_len,
		  struct error *err)
{
	struct engine *e = calloc(1, sizeof(*e));

	e->ops = &fake_ops;
	e->vcpu_count = config->vcpus;
	for (unsigned i = 0; i < config->vcpus; i++) {
		struct fake_vcpu *v = &fake.vcpu[i];

		memset(v, 0, sizeof(*v));
		v->base = (struct engine_vcpu){ e, &v->page, i };
		v->extint = -1;
		v->state.activity = i ? VCPU_WAIT_SIPI : VCPU_RUNNING;
		v->state.rflags = 2;
		e->vcpu[i] = &v->base;
	}
	*out = e;
	return 0;
}

const char *engine_exit_name(enum engine_exit exit)
{
	return "exit";
}

const char *const engine_counter_names[] = { NULL };

static const struct state_field vcpu_fields[] = {
	STATE_UINT(struct vcpu_state, rip),
	STATE_UINT(struct vcpu_state, rflags),
	STATE_UINT(struct vcpu_state, activity),
	STATE_END,
};
const struct state_class vcpu_state_class = { "vcpu", 1, vcpu_fields };

/* --- the board --- */

struct board {
	struct board_config config;
	uint32_t writes; /* its saved state */
	struct vm_timers timers;
	struct vm_timer timer;
	bool a20_closed;
	int kept; /* a byte that the serial stream refused, or -1 */
	pthread_mutex_t lock;
};

static const struct state_field board_fields[] = {
	STATE_UINT(struct board, writes),
	STATE_UINT(struct board, a20_closed),
	STATE_END,
};
static const struct state_class board_class = { "fake-board", 1, board_fields };

static void timer_due(void *opaque)
{
	fake.timers++;
}

static void timer_changed(void *opaque, uint64_t deadline_ns)
{
	struct board *b = opaque;

	b->config.wires.timer(b->config.wires.opaque, deadline_ns);
}

int board_create(const struct board_config *config, struct board **out, struct error *err)
{
	struct board *b = calloc(1, sizeof(*b));

	b->config = *config;
	b->kept = -1;
	b->timers.changed = timer_changed;
	b->timers.opaque = b;
	pthread_mutex_init(&b->lock, NULL);
	vm_timer_init(&b->timer, timer_due, b);
	fake.config = &b->config;
	b->config.wires.routes(b->config.wires.opaque, NULL, 0); /* as a real one does at its reset */
	*out = b;
	return 0;
}

void board_destroy(struct board *board)
{
	fake.devices_stand = false;
	free(board);
}

void board_reset(struct board *board)
{
	fake.resets++;
	board->a20_closed = false;
	board->config.wires.a20(board->config.wires.opaque, true);
}

static void write_down(bool mmio, bool write, uint64_t addr, unsigned size, unsigned count, const void *data)
{
	pthread_mutex_lock(&fake.lock);
	if (fake.log_count < FAKE_LOG) {
		unsigned n = fake.log_count++;

		fake.log[n].mmio = mmio;
		fake.log[n].write = write;
		fake.log[n].addr = addr;
		fake.log[n].size = size;
		fake.log[n].count = count;
		fake.log[n].value = 0;
		fake.log[n].a20_mapped_closed = fake.a20_mapped_closed;
		if (write)
			memcpy(&fake.log[n].value, data, size < 8 ? size : 8);
	}
	pthread_mutex_unlock(&fake.lock);
}

static void port_write(struct board *b, uint16_t port, uint32_t value)
{
	const struct board_wires *w = &b->config.wires;
	struct engine_msi nmi = { 0xfee00000, 4 << 8 };

	b->writes++;
	switch (port) {
	case PORT_POWER_OFF: w->event(w->opaque, BOARD_EVENT_POWER_OFF, 0); break;
	case PORT_RESET: w->event(w->opaque, BOARD_EVENT_RESET, 0); break;
	case PORT_DEBUG_EXIT: w->event(w->opaque, BOARD_EVENT_DEBUG_EXIT, value); break;
	case PORT_RAISE_INTR: w->extint(w->opaque, true); break;
	case PORT_TIMER:
		vm_timer_set(&b->timers, &b->timer, vm_clock_ns(b->config.clock) + value * 1000ull);
		break;
	case PORT_A20:
		b->a20_closed = !(value & 2);
		w->a20(w->opaque, !b->a20_closed);
		break;
	case PORT_NMI_ROUTE: w->routes(w->opaque, &nmi, 1); break;
	case PORT_SERIAL:
		if (b->kept < 0 && !b->config.serial.put(b->config.serial.opaque, (uint8_t)value))
			b->kept = (uint8_t)value;
		break;
	default: break;
	}
}

void board_pio(struct board *board, uint16_t port, unsigned size, bool write, void *data, unsigned count)
{
	uint32_t value = 0;

	pthread_mutex_lock(&board->lock);
	write_down(false, write, port, size, count, data);
	memcpy(&value, data, size);
	if (write)
		port_write(board, port, value);
	else
		memset(data, 0x5a, (size_t)size * count);
	pthread_mutex_unlock(&board->lock);
}

void board_mmio(struct board *board, uint64_t gpa, unsigned size, bool write, void *data)
{
	write_down(true, write, gpa, size, 1, data);
	if (!write)
		memset(data, 0xa5, size);
}

void board_eoi(struct board *board, uint8_t vector)
{
	fake.eois += vector;
}

int board_extint_ack(struct board *board)
{
	board->config.wires.extint(board->config.wires.opaque, false);
	return 0x30;
}

void board_timers(struct board *board)
{
	pthread_mutex_lock(&board->lock);
	vm_timers_run(&board->timers, vm_clock_ns(board->config.clock));
	pthread_mutex_unlock(&board->lock);
}

size_t board_serial_input(struct board *board, const uint8_t *bytes, size_t len)
{
	return len;
}

void board_serial_output_ready(struct board *board)
{
	pthread_mutex_lock(&board->lock);
	if (board->kept >= 0 && board->config.serial.put(board->config.serial.opaque, (uint8_t)board->kept))
		board->kept = -1;
	pthread_mutex_unlock(&board->lock);
}

/* These do not nest. */
void board_pause(struct board *board)
{
	if (atomic_exchange(&fake.devices_stand, true))
		fake.devices_wrong = true;
}

void board_resume(struct board *board)
{
	if (!atomic_exchange(&fake.devices_stand, false))
		fake.devices_wrong = true;
}

void board_lines(struct board *board)
{
}

void board_save(struct board *board, struct state_writer *w)
{
	if (!fake.devices_stand)
		fake.devices_wrong = true;
	state_save(w, &board_class, 0, board);
}

int board_load(struct board *board, struct state_reader *r)
{
	if (!fake.devices_stand)
		fake.devices_wrong = true;
	return state_load(r, &board_class, 0, board);
}

bool board_a20(struct board *board)
{
	return !board->a20_closed;
}

int board_map_a20(struct ram *ram, bool open)
{
	if (!fake.devices_stand)
		fake.devices_wrong = true;
	if (!open && !fake.a20_mapped_closed && fake.a20_was_closed)
		fake.saved_open = true;
	fake.a20_was_closed |= !open;
	fake.a20_mapped_closed = !open;
	return 0;
}

int board_map_ram(struct ram *ram, struct error *err)
{
	struct ram_slot low = { .gpa = 0, .size = ram->size / 2, .offset = 0 };
	struct ram_slot high = { .gpa = BOARD_HIGH_RAM_BASE, .size = ram->size / 2, .offset = ram->size / 2 };

	return ram_set_slot(ram, 0, &low) || ram_set_slot(ram, 1, &high) ? -EINVAL : 0;
}

void boot_prepare_ap(struct vcpu_state *ap)
{
	(void)ap;
}

int boot_load(struct ram *ram, const struct boot_config *config, struct vcpu_state *bsp, struct error *err)
{
	if (strcmp(config->kernel, "bad") == 0)
		return error_set(err, -ENOENT, STATUS_INPUT, "cannot load %s", "it is bad", "name another", config->kernel);
	fake.boots++;
	fake.booted_open = !fake.a20_mapped_closed;
	bsp->rip = 0;
	return 0;
}
