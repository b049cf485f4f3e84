// SPDX-License-Identifier: GPL-2.0-or-later
/* See lapic_rig.h. */
#include "lapic_rig.h"

#include <stdlib.h>
#include <string.h>

struct soft_vm vm;
static const struct cpu_model everything = { .name = "everything", .features = ~(unsigned __int128)0 };
uint64_t armed[CPUS];

void cpu_request(struct cpu *c, uint32_t bits)
{
	atomic_fetch_or(&c->req, bits);
}

void cpu_timer_set(struct cpu *c, uint64_t vm_ns)
{
	armed[c->index] = vm_ns;
}

/* No guest here has an EOI in memory. */
void pv_eoi_offer(struct cpu *c)
{
	abort();
}

bool pv_eoi_take(struct cpu *c)
{
	abort();
}

int lapic_make(void **state)
{
	memset(&vm, 0, sizeof(vm));
	vm.model = &everything;
	vm.clock.tsc_hz = 1000000000;
	vm.count = CPUS;
	for (unsigned i = 0; i < CPUS; i++) {
		struct cpu *c = aligned_alloc(64, (sizeof(*c) + 63) & ~(size_t)63);

		assert_non_null(c);
		memset(c, 0, sizeof(*c));
		c->vm = &vm;
		c->index = i;
		c->apic_base = 0xfee00800 | (i ? 0 : 0x100);
		vm.cpu[i] = c;
		lapic_reset(c, false);
	}
	return 0;
}

int lapic_unmake(void **state)
{
	for (unsigned i = 0; i < CPUS; i++)
		free(vm.cpu[i]);
	return 0;
}

uint32_t get(struct cpu *c, unsigned n)
{
	return lapic_page_read(c, n << 4);
}

void put(struct cpu *c, unsigned n, uint32_t v)
{
	lapic_page_write(c, n << 4, v);
}

void enable(struct cpu *c)
{
	put(c, LAPIC_SVR, 0x1ff);
}

void enable_all(void)
{
	for (unsigned i = 0; i < CPUS; i++)
		enable(vm.cpu[i]);
}

void x2apic(struct cpu *c)
{
	assert_int_equal(lapic_base_write(c, c->apic_base | 0xc00), 0);
}

void msr(struct cpu *c, uint32_t index, uint64_t v)
{
	assert_int_equal(lapic_msr_write(c, index, v), 0);
}

uint64_t rdmsr(struct cpu *c, uint32_t index)
{
	uint64_t v = 0;

	assert_int_equal(lapic_msr_read(c, index, &v), 0);
	return v;
}

uint32_t requests(struct cpu *c)
{
	return atomic_exchange(&c->req, 0);
}

void forget_requests(void)
{
	for (unsigned i = 0; i < CPUS; i++)
		requests(vm.cpu[i]);
}

/* What the run loop does with an interrupt. */
int take(struct cpu *c)
{
	int v;

	lapic_sync(c);
	v = lapic_pending(c);
	if (v >= 0)
		lapic_ack(c, (unsigned)v);
	return v;
}

/* Which vCPUs have @vector pending, as a mask; takes it from them. */
unsigned who_got(int vector)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < vm.count; i++) {
		int v = take(vm.cpu[i]);

		if (v < 0)
			continue;
		assert_int_equal(v, vector);
		mask |= 1u << i;
		if (rdmsr(vm.cpu[i], 0x6e0) == 0 && (vm.cpu[i]->apic_base & 0x400))
			msr(vm.cpu[i], 0x80b, 0);
		else
			put(vm.cpu[i], LAPIC_EOI, 0);
	}
	return mask;
}

void pass(uint64_t ns)
{
	vm.clock.tsc_paused += ns;
}

/* The host timer of @c, if it is due. */
void tick(struct cpu *c)
{
	if (armed[c->index] <= vm_clock_ns(&vm.clock))
		lapic_timer_check(c);
}
