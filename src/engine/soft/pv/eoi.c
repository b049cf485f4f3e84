// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * EOI as a store (msr.rst, MSR_KVM_EOI_EN): with the interrupt, the guest finds bit 0 of its word set; its end-of-interrupt
 * routine clears it in one instruction in place of writing to the local APIC.
 *
 * Nobody tells the local APIC of that store. So an offer is made only when no one needs to know at once: the interrupt is the only one in
 * service, none waits behind it, and the I/O APIC does not want to hear of its end (edge-triggered). It is ended, and the
 * bit with it, before a vector enters IRR, before somebody reads or writes the APIC's registers, and when the vCPU leaves. If the bit
 * was still set then, the guest writes to the APIC as ever.
 *
 * Invariant: while eoi_offered, IRR is empty and ISR has one bit.
 */
#include "engine/soft/pv/pv.h"
#include "engine/soft/soft.h"

enum { EOI_ENABLED = 1, EOI_PENDING = 1 };

static _Atomic uint8_t *area(struct cpu *c)
{
	if (!(c->pv.eoi & EOI_ENABLED))
		return NULL;
	return pv_area(c, c->pv.eoi & ~(uint64_t)EOI_ENABLED, 1);
}

void pv_eoi_offer(struct cpu *c)
{
	_Atomic uint8_t *a = area(c);

	if (!a)
		return;
	atomic_store(a, EOI_PENDING);
	pv_area_stored(c, (const void *)a, 1);
	c->pv.eoi_offered = true;
}

bool pv_eoi_take(struct cpu *c)
{
	_Atomic uint8_t *a = area(c);
	uint8_t old;

	c->pv.eoi_offered = false;
	if (!a) /* its memory is gone: it cannot have said so */
		return false;
	old = atomic_fetch_and(a, (uint8_t)~EOI_PENDING);
	pv_area_stored(c, (const void *)a, 1);
	return !(old & EOI_PENDING);
}
