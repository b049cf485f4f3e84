// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bus messages to local APICs: MSIs and IPIs (SDM vol. 3: 11.6.1 ICR, 11.6.2 destinations, 11.11
 * messages, 11.12.9-10 x2APIC). Any thread.
 *
 * A lowest-priority message goes to one of the APICs that it names, chosen by its vector: the
 * manual's arbitration by task priority would need the others' registers at one moment, and a
 * fixed choice keeps caches warm.
 */
#include "engine/soft/lapic/lapic_private.h"

#include <errno.h>

/* Interrupt command register */
enum {
	ICR_VECTOR = 0xff, ICR_MODE_SHIFT = 8, ICR_MODE = 7, ICR_LOGICAL = 1 << 11, ICR_ASSERT = 1 << 14, ICR_LEVEL = 1 << 15,
	ICR_SHORTHAND_SHIFT = 18, ICR_SHORTHAND = 3,
};
enum { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };
/* MSI address and data */
enum { MSI_LOGICAL = 1 << 2, MSI_REDIRECT = 1 << 3 };

#define BROADCAST 0xffffffffu

struct message {
	uint32_t dest; /* BROADCAST, or as the sender's format has it */
	bool logical;
	uint8_t vector, mode;
	bool level, deassert, lowest;
};

/* Logical destination of an xAPIC: 11.6.2.2. */
static bool xapic_logical(const struct cpu *c, uint32_t dest)
{
	uint32_t ldr = reg_peek(c, LAPIC_LDR) >> 24;

	if (dest > 0xff)
		return false;
	if (reg_peek(c, LAPIC_DFR) >> 28 == 0xf) /* flat */
		return ldr & dest;
	return ldr >> 4 == dest >> 4 && (ldr & dest & 15);
}

static bool matches(const struct cpu *c, const struct message *m)
{
	uint64_t base = base_peek(c);

	if (!base_enabled(base))
		return false;
	if (m->dest == BROADCAST)
		return true;
	if (!m->logical) /* several xAPICs may have been given one ID */
		return m->dest == (base_x2apic(base) ? reg_peek(c, LAPIC_ID) : reg_peek(c, LAPIC_ID) >> 24);
	if (base_x2apic(base)) {
		uint32_t ldr = reg_peek(c, LAPIC_LDR);

		return ldr >> 16 == m->dest >> 16 && (ldr & m->dest & 0xffff);
	}
	return xapic_logical(c, m->dest);
}

static void accept(struct cpu *c, const struct message *m)
{
	switch (m->mode) {
	case MODE_FIXED:
	case MODE_LOWEST: lapic_post(c, m->vector, m->level); break;
	case MODE_SMI: cpu_request(c, REQ_SMI); break;
	case MODE_NMI: cpu_request(c, REQ_NMI); break;
	case MODE_INIT:
		if (!m->deassert)
			cpu_request(c, REQ_INIT);
		break;
	case MODE_SIPI:
		/* A CPU that has been started by one is not started by the next (9.4.4.1), be it still waking up. */
		if (!(atomic_load(&c->req) & REQ_SIPI))
			atomic_store(&c->lapic.sipi_vector, m->vector);
		cpu_request(c, REQ_SIPI);
		break;
	default: break;
	}
}

/* @except: a vCPU that does not get it, or NULL. */
static void route(struct soft_vm *vm, const struct message *m, const struct cpu *except)
{
	struct cpu *found[VCPUS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < vm->count && n < VCPUS_MAX; i++) {
		struct cpu *c = vm->cpu[i];

		if (!c || c == except || !matches(c, m))
			continue;
		if (m->lowest && !(reg_peek(c, LAPIC_SVR) & SVR_ENABLED))
			continue;
		found[n++] = c;
	}
	if (m->lowest && n) {
		accept(found[m->vector % n], m);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		accept(found[i], m);
}

int lapic_deliver(struct soft_vm *vm, const struct engine_msi *msi)
{
	struct message m = {
		.dest = msi->address >> 12 & 0xff,
		.logical = msi->address & MSI_LOGICAL,
		.vector = (uint8_t)msi->data,
		.mode = msi->data >> 8 & 7,
		.level = msi->data >> 15 & 1,
	};

	if (msi->address >> 20 != 0xfee || m.mode == 3 || m.mode == MODE_EXTINT)
		return -EINVAL;
	if (m.dest == 0xff)
		m.dest = BROADCAST;
	m.lowest = m.mode == MODE_LOWEST || (m.mode == MODE_FIXED && (msi->address & MSI_REDIRECT));
	m.deassert = m.level && !(msi->data >> 14 & 1);
	route(vm, &m, NULL);
	return 0;
}

/* Table 11-4, 11-5: what a shorthand may be combined with. Self and NMI or SMI is accepted too, as other VMMs do. */
static bool valid(unsigned shorthand, unsigned mode)
{
	if (mode == 3 || mode == MODE_EXTINT)
		return false;
	if (shorthand == SHORTHAND_SELF || shorthand == SHORTHAND_ALL)
		return mode == MODE_FIXED || mode == MODE_NMI || mode == MODE_SMI;
	return true;
}

void lapic_send_ipi(struct cpu *c)
{
	uint32_t icr = c->lapic.reg[LAPIC_ICR], high = c->lapic.reg[LAPIC_ICR_HIGH];
	unsigned shorthand = icr >> ICR_SHORTHAND_SHIFT & ICR_SHORTHAND;
	struct message m = {
		.dest = x2apic(c) ? high : high >> 24,
		.logical = icr & ICR_LOGICAL,
		.vector = icr & ICR_VECTOR,
		.mode = icr >> ICR_MODE_SHIFT & ICR_MODE,
	};

	if (!valid(shorthand, m.mode))
		return;
	if (m.mode <= MODE_LOWEST && m.vector < 16) {
		lapic_error(c, ESR_SEND_VECTOR);
		return;
	}
	/* The trigger mode means something only for INIT: "level de-assert" does nothing on these CPUs. */
	m.deassert = (icr & ICR_LEVEL) && !(icr & ICR_ASSERT);
	m.lowest = m.mode == MODE_LOWEST;
	if (shorthand == SHORTHAND_SELF) {
		accept(c, &m);
		return;
	}
	if (shorthand != SHORTHAND_NONE || (!x2apic(c) && m.dest == 0xff))
		m.dest = BROADCAST;
	route(c->vm, &m, shorthand == SHORTHAND_OTHERS ? c : NULL);
}
