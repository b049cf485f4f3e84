// SPDX-License-Identifier: GPL-2.0-or-later
/* The stand of interp_rig.h: the interpreter's surroundings, as small as they can be. */
#include "interp_rig.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct rig rig;
static struct tlb tlb;
/* Handlers and the table are tested here, not the models. */
static const struct cpu_model everything = { .name = "everything", .features = ~0ull };
static struct soft_vm vm = { .model = &everything };
static jmp_buf out;
static _Atomic uint8_t frames[RIG_PAGES];
enum { LEFT_FAULT = 1, LEFT_EXIT = 2 };

/* --- leaving --- */

static _Noreturn void unwind(struct cpu *c, int how)
{
	assert_false(rig.world_stopped);
	c->gpr[GPR_RIP] -= c->cur->len;
	longjmp(out, how);
}

_Noreturn void cpu_raise(struct cpu *c, unsigned vector)
{
	rig.vector = (int)vector;
	rig.error = 0;
	unwind(c, LEFT_FAULT);
}

_Noreturn void cpu_raise_error(struct cpu *c, unsigned vector, uint32_t error)
{
	rig.vector = (int)vector;
	rig.error = error;
	unwind(c, LEFT_FAULT);
}

/* An access of the outside: recorded and left with, answered when the instruction runs again. */
static uint64_t outside(struct cpu *c, uint64_t addr, bool write, unsigned *counter, uint64_t answer)
{
	struct cpu_replay *r = &c->replay[c->replay_next];

	if (c->replay_next < c->replay_count) {
		assert_int_equal(r->addr, addr);
		assert_int_equal(r->write, write);
		c->replay_next++;
		return r->data[0];
	}
	++*counter;
	assert_true(c->replay_count < REPLAY_MAX);
	*r = (struct cpu_replay){ .addr = addr, .write = write, .data = { answer } };
	c->replay_count++;
	unwind(c, LEFT_EXIT);
}

/* --- memory --- */

static enum rig_page page_at(struct cpu *c, uint64_t linear, bool write)
{
	enum rig_page p = linear / FRAME_SIZE < RIG_PAGES ? rig.page[linear / FRAME_SIZE] : PAGE_ABSENT;

	if (p == PAGE_ABSENT || (write && p == PAGE_READONLY)) {
		c->cr2 = linear;
		cpu_raise_error(c, EXC_PF, (write ? 2u : 0u) | (p != PAGE_ABSENT));
	}
	if (p == PAGE_RAM || p == PAGE_READONLY) {
		struct tlb_entry *e = &tlb.entry[linear / FRAME_SIZE];

		e->read = linear & ~(uint64_t)(FRAME_SIZE - 1);
		if (p == PAGE_RAM)
			e->write = e->read;
		e->addend = (uint64_t)(uintptr_t)rig.mem;
	}
	return p;
}

static bool check(struct cpu *c, uint64_t linear, unsigned size, bool write)
{
	bool mmio;

	if (rig.seen)
		rig.seen(linear, size, write);
	mmio = page_at(c, linear, write) == PAGE_MMIO;

	if ((linear ^ (linear + size - 1)) / FRAME_SIZE)
		mmio |= page_at(c, linear + size - 1, write) == PAGE_MMIO;
	return mmio;
}

void mmu_load_bytes(struct cpu *c, unsigned seg, uint64_t linear, void *buf, unsigned size)
{
	if (check(c, linear, size, false)) {
		uint64_t v = outside(c, linear, false, &rig.mmio_loads, rig_peek(linear, size));

		memcpy(buf, &v, size);
	} else {
		memcpy(buf, rig.mem + linear, size);
	}
}

void mmu_store_bytes(struct cpu *c, unsigned seg, uint64_t linear, const void *buf, unsigned size)
{
	if (check(c, linear, size, true))
		outside(c, linear, true, &rig.mmio_stores, 0);
	memcpy(rig.mem + linear, buf, size);
}

uint64_t mmu_load_slow(struct cpu *c, unsigned seg, uint64_t linear, unsigned size)
{
	uint64_t v = 0;

	mmu_load_bytes(c, seg, linear, &v, size);
	return v;
}

void mmu_store_slow(struct cpu *c, unsigned seg, uint64_t linear, unsigned size, uint64_t value)
{
	mmu_store_bytes(c, seg, linear, &value, size);
}

void mmu_probe(struct cpu *c, unsigned seg, uint64_t linear, unsigned size, enum mmu_access access)
{
	check(c, linear, size, access == MMU_WRITE);
}

void *mmu_atomic(struct cpu *c, unsigned seg, uint64_t linear, unsigned size)
{
	bool mmio = check(c, linear, size, true);

	return mmio || (linear ^ (linear + size - 1)) / FRAME_SIZE ? NULL : rig.mem + linear;
}

uint8_t *mmu_run(struct cpu *c, unsigned seg, uint64_t linear, enum mmu_access access, unsigned *bytes)
{
	bool mmio = page_at(c, linear, access == MMU_WRITE) == PAGE_MMIO;

	*bytes = mmio ? 0 : FRAME_SIZE - linear % FRAME_SIZE;
	return mmio ? NULL : rig.mem + linear;
}

void mmu_code_stored(struct cpu *c, uint64_t offset, unsigned n)
{
}

uint64_t seg_linear(struct cpu *c, unsigned seg, uint64_t ea, unsigned size, enum mmu_access access)
{
	if (ea + size - 1 > c->seg[seg].limit)
		cpu_raise_error(c, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
	return (uint32_t)(ea + c->segbase[seg]);
}

uint64_t rig_peek(uint64_t linear, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, rig.mem + linear, size);
	return v;
}

void rig_poke(uint64_t linear, unsigned size, uint64_t value)
{
	memcpy(rig.mem + linear, &value, size);
}

/* --- the rest of the surroundings --- */

void soft_world_stop(struct cpu *c)
{
	rig.world_stops++;
	rig.world_stopped = true;
}

void soft_world_start(struct cpu *c)
{
	rig.world_stopped = false;
}

void io_check(struct cpu *c, uint16_t port, unsigned size)
{
	if (rig.port_denied && port == rig.port_denied)
		cpu_raise_error(c, EXC_GP, 0);
}

uint64_t cpu_io_in(struct cpu *c, uint16_t port, unsigned size)
{
	return outside(c, port, false, &rig.port_reads, 0x1122334455667700ull + rig.port_reads);
}

void cpu_io_out(struct cpu *c, uint16_t port, unsigned size, uint64_t value)
{
	outside(c, port, true, &rig.port_writes, value);
}

/* The rig counts elements. */
bool cpu_io_in_run(struct cpu *c, uint16_t port, unsigned size, unsigned count, void *host)
{
	return false;
}

bool cpu_io_out_run(struct cpu *c, uint16_t port, unsigned size, unsigned count, const void *host)
{
	return false;
}

void cpu_mode_changed(struct cpu *c)
{
}

insn_fn *bind_system(struct cpu *c, const struct insn *in)
{
	return NULL;
}

insn_fn *bind_vector_special(struct cpu *c, const struct insn *in)
{
	return NULL;
}

int vector_bind(struct cpu *c, struct insn *in)
{
	return -1;
}

/* --- running --- */

void rig_reset(enum insn_mode mode, unsigned cpl)
{
	struct cpu *c = rig.c;

	if (!c) {
		c = aligned_alloc(_Alignof(struct cpu), sizeof(*c));
		rig.mem = aligned_alloc(FRAME_SIZE, RIG_PAGES * FRAME_SIZE);
		assert_true(c && rig.mem);
	}
	memset(c, 0, sizeof(*c));
	memset(rig.mem, 0, RIG_PAGES * FRAME_SIZE);
	memset(&tlb, 0xff, sizeof(tlb));
	rig = (struct rig){ .c = c, .mem = rig.mem };
	c->vm = &vm;
	c->tlb = &tlb;
	c->ram_host = rig.mem;
	c->frame = frames;
	c->mode = (uint8_t)mode;
	c->cpl = (uint8_t)cpl;
	c->flat = mode == INSN_MODE64;
	c->stack_size = mode == INSN_MODE64 ? 8 : mode == INSN_MODE32 ? 4 : 2;
	c->sysflags = RF_FIXED;
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		c->seg[i].limit = mode == INSN_MODE16 ? 0xffff : 0xffffffff;
		c->seg[i].attr = ATTR_P | ATTR_S | 3;
	}
	c->gpr[GPR_RIP] = 0x1000;
	c->gpr[RSP] = 0x8000;
}

int rig_step(const void *code, size_t len)
{
	struct cpu *c = rig.c;
	static struct insn in;
	volatile bool again = true;

	assert_int_equal(insn_decode(code, len, c->mode, &in), len);
	interp_bind(c, &in);
	rig.vector = RIG_NO_FAULT;
	c->brk = 0;
	while (again) {
		again = false;
		c->replay_next = 0;
		c->cur = &in;
		c->gpr[GPR_RIP] += len;
		rig.executions++;
		switch (setjmp(out)) {
		case 0: in.fn(c, &in); break;
		case LEFT_EXIT: again = true; break;
		}
	}
	assert_int_equal(c->gpr[GPR_ZERO], 0);
	if (rig.vector == RIG_NO_FAULT)
		assert_int_equal(c->replay_next, c->replay_count);
	c->replay_count = c->replay_next = 0;
	return rig.vector;
}

int rig_run(const void *code, size_t len)
{
	uint64_t rip = rig.c->gpr[GPR_RIP];

	rig.executions = 0;
	do
		rig_step(code, len);
	while (rig.vector == RIG_NO_FAULT && rig.c->gpr[GPR_RIP] == rip && rig.executions < 100000);
	return rig.vector;
}
