// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Unwinding out of an instruction: exceptions, exits, and the accesses that are replayed.
 *
 * An access that the monitor has to finish cannot be finished in the middle of a handler. So the
 * handler is unwound, the request stands in the run page, and when the answer is there the
 * instruction runs again from its start; the accesses that it had made are answered from
 * c->replay, in the order in which it makes them. An instruction whose accesses change between
 * two executions (another vCPU rewrote its page tables) starts over with an empty log.
 */
#include "engine/soft/translate/translate.h"
#include "engine/soft/vcpu/vcpu.h"

#include "host/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* RIP back to the start of the instruction under way, if there is one. */
static void rewind_rip(struct cpu *c)
{
	if (!c->cur)
		return;
	c->gpr[GPR_RIP] -= c->cur->len;
	if (c->mode != INSN_MODE64)
		c->gpr[GPR_RIP] = (uint32_t)c->gpr[GPR_RIP];
	c->cur = NULL;
}

static _Noreturn void unwind(struct cpu *c, int how)
{
	translate_vector_save(c); /* call.c */
	rewind_rip(c);
	c->left = (uint8_t)how;
	__builtin_longjmp(c->jmp, 1);
}

static _Noreturn void raise(struct cpu *c, unsigned vector, bool has_error, uint32_t error)
{
	c->raised_vector = (uint8_t)vector;
	c->raised_has_error = has_error;
	c->raised_error = error;
	unwind(c, LEFT_BY_EXCEPTION);
}

_Noreturn void cpu_raise(struct cpu *c, unsigned vector)
{
	raise(c, vector, false, 0);
}

_Noreturn void cpu_raise_error(struct cpu *c, unsigned vector, uint32_t error)
{
	raise(c, vector, true, error);
}

_Noreturn void cpu_raise_pf(struct cpu *c, uint64_t linear, uint32_t error)
{
	c->cr2 = linear;
	raise(c, EXC_PF, true, error);
}

_Noreturn void cpu_raise_ac(struct cpu *c)
{
	raise(c, EXC_AC, true, 0);
}

_Noreturn void cpu_raise_fetch(struct cpu *c, int decode_result)
{
	if (decode_result == DECODE_LONG)
		raise(c, EXC_GP, true, 0);
	raise(c, EXC_UD, false, 0);
}

_Noreturn void cpu_leave(struct cpu *c, enum engine_exit exit)
{
	c->run->exit = exit;
	unwind(c, LEFT_BY_EXIT);
}

_Noreturn void cpu_internal(struct cpu *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->run->internal.why, sizeof(c->run->internal.why), fmt, ap);
	va_end(ap);
	c->run->internal.code_len = 0;
	cpu_leave(c, ENGINE_EXIT_INTERNAL);
}

/* --- accesses that the monitor finishes --- */

/* The answer to the next access of this instruction, or NULL: it has to leave. */
static struct cpu_replay *replay_take(struct cpu *c, uint8_t kind, uint64_t addr, unsigned size, bool write)
{
	struct cpu_replay *r;

	if (c->replay_next >= c->replay_count)
		return NULL;
	r = &c->replay[c->replay_next];
	if (r->kind != kind || r->addr != addr || r->size != size || r->write != write) {
		c->replay_count = c->replay_next;
		return NULL;
	}
	c->replay_next++;
	return r;
}

static void replay_ask(struct cpu *c, uint8_t kind, uint64_t addr, unsigned size, bool write)
{
	struct cpu_replay *r;

	if (c->replay_count == REPLAY_MAX)
		cpu_internal(c, "one instruction made more than %d device accesses", REPLAY_MAX);
	r = &c->replay[c->replay_count];
	*r = (struct cpu_replay){ .addr = addr, .size = size, .kind = kind, .write = write };
	c->pending_exit = 1;
}

/* The store is done without leaving (a doorbell, the local APIC), and must not be done again in a replay. */
static void replay_finished(struct cpu *c)
{
	c->pending_exit = 0;
	c->replay_next = ++c->replay_count;
	c->brk = 1; /* the log is cleared between blocks */
}

bool cpu_store_once(struct cpu *c, uint64_t gpa, unsigned size)
{
	if (replay_take(c, 'l', gpa, size, true))
		return false;
	replay_ask(c, 'l', gpa, size, true);
	replay_finished(c);
	return true;
}

bool cpu_load_again(struct cpu *c, uint64_t gpa, unsigned size, uint64_t *value)
{
	struct cpu_replay *r = replay_take(c, 'l', gpa, size, false);

	if (r)
		*value = r->data[0];
	return r;
}

void cpu_loaded(struct cpu *c, uint64_t gpa, unsigned size, uint64_t value)
{
	replay_ask(c, 'l', gpa, size, false);
	c->replay[c->replay_count].data[0] = value;
	replay_finished(c);
}

void replay_resume(struct cpu *c)
{
	struct cpu_replay *r = &c->replay[c->replay_count];

	if (!c->pending_exit)
		return;
	c->pending_exit = 0;
	if (!r->write && r->kind != 'P')
		memcpy(r->data, c->run->data, r->size);
	c->replay_count++;
	c->replay_next = 0;
}

uint64_t cpu_mmio_load(struct cpu *c, uint64_t gpa, unsigned size)
{
	struct cpu_replay *r = replay_take(c, 'm', gpa, size, false);

	if (r)
		return r->data[0] & (size == 8 ? ~0ull : (1ull << size * 8) - 1);
	replay_ask(c, 'm', gpa, size, false);
	c->run->mmio.gpa = gpa;
	c->run->mmio.size = size;
	c->run->mmio.write = 0;
	cpu_leave(c, ENGINE_EXIT_MMIO);
}

void cpu_mmio_store(struct cpu *c, uint64_t gpa, unsigned size, uint64_t value)
{
	if (replay_take(c, 'm', gpa, size, true))
		return;
	replay_ask(c, 'm', gpa, size, true);
	if (soft_vm_ring(c->vm, false, gpa, size, value)) {
		replay_finished(c);
		return;
	}
	c->run->mmio.gpa = gpa;
	c->run->mmio.size = size;
	c->run->mmio.write = 1;
	memcpy(c->run->data, &value, 8);
	cpu_leave(c, ENGINE_EXIT_MMIO);
}

uint64_t cpu_io_in(struct cpu *c, uint16_t port, unsigned size)
{
	struct cpu_replay *r = replay_take(c, 'p', port, size, false);

	debug_port(c, port, size);
	if (r) {
		smm_note_io(c, port, size, true);
		return r->data[0] & ((1ull << size * 8) - 1);
	}
	replay_ask(c, 'p', port, size, false);
	c->run->pio.port = port;
	c->run->pio.size = (uint8_t)size;
	c->run->pio.write = 0;
	c->run->pio.count = 1;
	cpu_leave(c, ENGINE_EXIT_PIO);
}

void cpu_io_out(struct cpu *c, uint16_t port, unsigned size, uint64_t value)
{
	debug_port(c, port, size);
	if (replay_take(c, 'p', port, size, true)) {
		smm_note_io(c, port, size, false);
		return;
	}
	replay_ask(c, 'p', port, size, true);
	if (soft_vm_ring(c->vm, true, port, size, value)) {
		replay_finished(c);
		return;
	}
	c->run->pio.port = port;
	c->run->pio.size = (uint8_t)size;
	c->run->pio.write = 1;
	c->run->pio.count = 1;
	memcpy(c->run->data, &value, 8);
	cpu_leave(c, ENGINE_EXIT_PIO);
}

/* --- string I/O: several elements --- */

static bool port_run(struct cpu *c, uint16_t port, unsigned size, unsigned count, bool write)
{
	if (c->replay_next < c->replay_count) {
		if (c->replay[c->replay_next].kind == 'p')
			return false; /* it went as a single element: that is not to be forgotten */
		if (replay_take(c, 'P', port, size * count, write)) {
			smm_note_io(c, port, size, !write);
			return true;
		}
	}
	if (debug_ports_watched(c) || soft_vm_port_rings(c->vm, port))
		return false;
	replay_ask(c, 'P', port, size * count, write);
	c->run->pio.port = port;
	c->run->pio.size = (uint8_t)size;
	c->run->pio.write = write;
	c->run->pio.count = count;
	return true;
}

bool cpu_io_in_run(struct cpu *c, uint16_t port, unsigned size, unsigned count, void *host)
{
	if (!port_run(c, port, size, count, false))
		return false;
	if (c->pending_exit)
		cpu_leave(c, ENGINE_EXIT_PIO);
	/* The answer came with the last resume: nothing has written the run page since. */
	memcpy(host, c->run->data, (size_t)size * count);
	return true;
}

bool cpu_io_out_run(struct cpu *c, uint16_t port, unsigned size, unsigned count, const void *host)
{
	if (!port_run(c, port, size, count, true))
		return false;
	if (!c->pending_exit)
		return true;
	memcpy(c->run->data, host, (size_t)size * count);
	cpu_leave(c, ENGINE_EXIT_PIO);
}
