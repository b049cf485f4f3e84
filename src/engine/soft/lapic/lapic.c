// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The local APIC: registers, priorities, EOI, errors, saved state (SDM vol. 3, chapter 11; x2APIC:
 * 11.12).
 *
 * What is here of what a model may have: version 0x14, six LVT entries (thermal and performance
 * counters never fire), no CMCI, suppression of EOI broadcasts (as KVM shows them beside an I/O APIC outside of it);
 * an xAPIC's ID can be written (11.4.6 leaves it to the model; KVM's can).
 *
 * Invariants: in x2APIC mode ID is the vCPU's index; while the APIC is disabled
 * by SVR all LVT entries are masked; IRR, ISR and TMR have no bits below vector 16; a fixed
 * interrupt enters IRR only through lapic_sync or lapic_local, on the vCPU's own thread.
 */
#include "engine/soft/lapic/lapic_private.h"

#include <errno.h>
#include <string.h>

enum { LVT_MAX = 5, VERSION_EOI_SUPPRESSION = 1 << 24, APIC_VERSION = 0x14 | LVT_MAX << 16 | VERSION_EOI_SUPPRESSION };
enum { ICR_WRITABLE = 0xccfff, SVR_NO_EOI_BROADCAST = 1 << 12, SVR_WRITABLE = 0x1ff | SVR_NO_EOI_BROADCAST, LVT_READ_ONLY = 1 << 12 | 1 << 14 };
enum { LVT_EXTINT = MODE_EXTINT << 8, LVT_NMI = MODE_NMI << 8 };
enum { MSR_X2APIC = 0x800, MSR_X2APIC_END = 0x8ff, MSR_TSC_DEADLINE = 0x6e0 };

/* Writable bits of LVT entry @n; 0: there is no such entry. */
static uint32_t lvt_bits(const struct cpu *c, unsigned n)
{
	switch (n) {
	case LAPIC_LVT_TIMER: return cpu_model_has(c->vm->model, FEAT_TSC_DEADLINE) ? 0x700ff : 0x300ff;
	case LAPIC_LVT_THERMAL:
	case LAPIC_LVT_PMC: return 0x107ff;
	case LAPIC_LVT_LINT0:
	case LAPIC_LVT_LINT1: return 0x1a7ff;
	case LAPIC_LVT_ERROR: return 0x100ff;
	default: return 0;
	}
}

static bool enabled(const struct cpu *c)
{
	return base_enabled(c->apic_base) && (c->lapic.reg[LAPIC_SVR] & SVR_ENABLED);
}

/* --- bit sets of vectors --- */

static void set_bit(uint32_t *set, unsigned vector)
{
	set[vector / 32] |= 1u << vector % 32;
}

static void clear_bit(uint32_t *set, unsigned vector)
{
	set[vector / 32] &= ~(1u << vector % 32);
}

static bool test_bit(const uint32_t *set, unsigned vector)
{
	return set[vector / 32] >> vector % 32 & 1;
}

static int highest(const uint32_t *set)
{
	for (int i = 7; i >= 0; i--)
		if (set[i])
			return i * 32 + 31 - __builtin_clz(set[i]);
	return -1;
}

/* --- priorities: 11.8.3 --- */

static uint32_t ppr(const struct cpu *c)
{
	uint32_t tpr = c->lapic.reg[LAPIC_TPR];
	int isr = highest(&c->lapic.reg[LAPIC_ISR]);
	uint32_t serving = isr < 0 ? 0 : (uint32_t)isr & 0xf0;

	return (tpr & 0xf0) >= serving ? tpr : serving;
}

int lapic_pending(struct cpu *c)
{
	int v;

	/* What IRR holds while SVR disables the APIC still goes to the CPU (11.4.7.2); new ones do not come in. */
	if (!base_enabled(c->apic_base))
		return -1;
	v = highest(&c->lapic.reg[LAPIC_IRR]);
	return v >= 0 && ((uint32_t)v & 0xf0) > (ppr(c) & 0xf0) ? v : -1;
}

void lapic_look(struct cpu *c)
{
	if (lapic_pending(c) >= 0)
		cpu_request(c, REQ_EVENT);
}

void lapic_ack(struct cpu *c, unsigned vector)
{
	struct lapic *l = &c->lapic;
	bool alone = highest(&l->reg[LAPIC_ISR]) < 0;

	clear_bit(&l->reg[LAPIC_IRR], vector);
	set_bit(&l->reg[LAPIC_ISR], vector);
	if ((c->pv.eoi & 1) && alone && highest(&l->reg[LAPIC_IRR]) < 0 && !test_bit(&l->reg[LAPIC_TMR], vector))
		pv_eoi_offer(c);
}

static void set_tpr(struct cpu *c, uint32_t v)
{
	c->lapic.reg[LAPIC_TPR] = v & 0xff;
	lapic_look(c);
}

uint64_t lapic_cr8(struct cpu *c)
{
	return c->lapic.reg[LAPIC_TPR] >> 4;
}

void lapic_set_cr8(struct cpu *c, uint64_t value)
{
	set_tpr(c, (uint32_t)(value & 15) << 4);
}

static void end_of_interrupt(struct cpu *c)
{
	struct lapic *l = &c->lapic;
	int v;

	lapic_eoi_settle(c);
	v = highest(&l->reg[LAPIC_ISR]);
	if (v < 0)
		return;
	clear_bit(&l->reg[LAPIC_ISR], (unsigned)v);
	/* 11.8.5: a suppressed EOI is the software's to bring to the I/O APIC, by its EOI register. */
	if (!(l->reg[LAPIC_SVR] & SVR_NO_EOI_BROADCAST) && test_bit(&l->reg[LAPIC_TMR], (unsigned)v) &&
	    (atomic_load_explicit(&c->vm->eoi_exit[v / 64], memory_order_relaxed) >> v % 64 & 1)) {
		set_bit(l->eoi_wait, (unsigned)v);
		cpu_request(c, REQ_EVENT);
	}
	lapic_look(c);
}

void lapic_eoi_settle(struct cpu *c)
{
	if (c->pv.eoi_offered && pv_eoi_take(c))
		end_of_interrupt(c);
}

int lapic_eoi_exit(struct cpu *c)
{
	int v = highest(c->lapic.eoi_wait);

	if (v >= 0)
		clear_bit(c->lapic.eoi_wait, (unsigned)v);
	return v;
}

bool lapic_eoi_waits(const struct cpu *c)
{
	return highest(c->lapic.eoi_wait) >= 0;
}

bool lapic_accepts_extint(const struct cpu *c)
{
	uint32_t lint0 = c->lapic.reg[LAPIC_LVT_LINT0];

	return !base_enabled(c->apic_base) || (lint0 & (LVT_MASKED | 0x700)) == LVT_EXTINT;
}

/* --- interrupts that come in --- */

void lapic_post(struct cpu *c, unsigned vector, bool level)
{
	struct lapic *l = &c->lapic;
	uint32_t bit = 1u << vector % 32;

	vector &= 0xff;
	if (vector < 16) {
		atomic_fetch_or(&l->esr_post, (uint32_t)ESR_RECEIVE_VECTOR);
	} else {
		/* The trigger first: whoever takes the vector must find it. */
		atomic_fetch_or(level ? &l->tmr_level[vector / 32] : &l->tmr_edge[vector / 32], bit);
		atomic_fetch_or(&l->irr_post[vector / 32], bit);
	}
	cpu_request(c, REQ_INTR);
}

/* 11.5.3: the first error since the last write of ESR raises the error interrupt. */
static void sync_errors(struct cpu *c)
{
	struct lapic *l = &c->lapic;
	uint32_t errors = atomic_load(&l->esr_post);
	bool first = errors && !l->esr_seen;

	l->esr_seen |= errors;
	if (first)
		lapic_local(c, LAPIC_LVT_ERROR);
}

void lapic_error(struct cpu *c, uint32_t bits)
{
	atomic_fetch_or(&c->lapic.esr_post, bits);
	sync_errors(c);
}

void lapic_local(struct cpu *c, unsigned n)
{
	uint32_t lvt = c->lapic.reg[n], vector = lvt & 0xff;

	if ((lvt & LVT_MASKED) || !enabled(c))
		return;
	if (vector < 16) {
		if (n != LAPIC_LVT_ERROR) /* an error interrupt with an illegal vector does not raise itself */
			lapic_error(c, ESR_RECEIVE_VECTOR);
		else
			atomic_fetch_or(&c->lapic.esr_post, (uint32_t)ESR_RECEIVE_VECTOR);
		return;
	}
	lapic_eoi_settle(c);
	set_bit(&c->lapic.reg[LAPIC_IRR], vector);
	clear_bit(&c->lapic.reg[LAPIC_TMR], vector);
	lapic_look(c);
}

void lapic_sync(struct cpu *c)
{
	struct lapic *l = &c->lapic;

	for (unsigned i = 0; i < 8; i++) {
		uint32_t irr, edge, level;

		if (!atomic_load_explicit(&l->irr_post[i], memory_order_relaxed))
			continue;
		irr = atomic_exchange(&l->irr_post[i], 0);
		edge = atomic_exchange(&l->tmr_edge[i], 0);
		level = atomic_exchange(&l->tmr_level[i], 0);
		if (!enabled(c)) /* 11.4.7.2: not accepted */
			continue;
		lapic_eoi_settle(c);
		l->reg[LAPIC_TMR + i] = (l->reg[LAPIC_TMR + i] & ~edge) | level;
		l->reg[LAPIC_IRR + i] |= irr;
	}
	sync_errors(c);
}

/* --- registers, as the page and the MSRs share them --- */

static uint32_t read_register(struct cpu *c, unsigned n)
{
	lapic_eoi_settle(c);
	switch (n) {
	case LAPIC_PPR: return ppr(c);
	case LAPIC_TIMER_CURRENT: return lapic_timer_current(c);
	default:
		lapic_sync(c); /* IRR and TMR include what was posted */
		return c->lapic.reg[n];
	}
}

static void write_svr(struct cpu *c, uint32_t v)
{
	reg_poke(c, LAPIC_SVR, v & SVR_WRITABLE);
	if (!(v & SVR_ENABLED))
		for (unsigned n = LAPIC_LVT_TIMER; n <= LAPIC_LVT_ERROR; n++)
			c->lapic.reg[n] |= LVT_MASKED;
}

static void write_lvt(struct cpu *c, unsigned n, uint32_t v)
{
	v &= lvt_bits(c, n);
	if (!(c->lapic.reg[LAPIC_SVR] & SVR_ENABLED))
		v |= LVT_MASKED;
	if (n == LAPIC_LVT_TIMER)
		lapic_timer_set_lvt(c, v);
	else
		c->lapic.reg[n] = v;
	if (n == LAPIC_LVT_LINT0) /* an ExtINT may be waiting behind it */
		cpu_request(c, REQ_EVENT);
}

static void write_esr(struct cpu *c)
{
	c->lapic.reg[LAPIC_ESR] = atomic_exchange(&c->lapic.esr_post, 0);
	c->lapic.esr_seen = 0;
}

/* True when the register exists and can be written in both modes. */
static bool write_register(struct cpu *c, unsigned n, uint32_t v)
{
	switch (n) {
	case LAPIC_TPR: set_tpr(c, v); return true;
	case LAPIC_EOI: end_of_interrupt(c); return true;
	case LAPIC_SVR: write_svr(c, v); return true;
	case LAPIC_ESR: write_esr(c); return true;
	case LAPIC_TIMER_INIT: lapic_timer_set_initial(c, v); return true;
	case LAPIC_TIMER_DIVIDE: lapic_timer_set_divide(c, v); return true;
	default:
		if (!lvt_bits(c, n))
			return false;
		write_lvt(c, n, v);
		return true;
	}
}

static bool readable(const struct cpu *c, unsigned n)
{
	switch (n) {
	case LAPIC_ID:
	case LAPIC_VERSION:
	case LAPIC_TPR:
	case LAPIC_PPR:
	case LAPIC_LDR:
	case LAPIC_SVR:
	case LAPIC_ESR:
	case LAPIC_ICR:
	case LAPIC_TIMER_INIT:
	case LAPIC_TIMER_CURRENT:
	case LAPIC_TIMER_DIVIDE: return true;
	default: return (n >= LAPIC_ISR && n < LAPIC_IRR + 8) || lvt_bits(c, n);
	}
}

/*
 * Registers that are read-only, or not there but named in table 11-1 (the arbitration priority and
 * remote read registers): an access in the wrong direction is no access to a reserved one.
 */
static bool known(const struct cpu *c, unsigned n)
{
	return readable(c, n) || n == LAPIC_APR || n == LAPIC_RRD;
}

/* --- the page: 11.4.1 --- */

uint32_t lapic_page_read(struct cpu *c, unsigned offset)
{
	unsigned n = offset >> 4 & 0xff;

	if (!base_enabled(c->apic_base) || x2apic(c))
		return 0xffffffff;
	if (n < LAPIC_WORDS && readable(c, n))
		return read_register(c, n);
	switch (n) {
	case LAPIC_DFR:
	case LAPIC_ICR_HIGH: return c->lapic.reg[n];
	case LAPIC_EOI: return 0; /* write-only, but it exists */
	default:
		if (!known(c, n))
			lapic_error(c, ESR_REGISTER);
		return 0;
	}
}

void lapic_page_write(struct cpu *c, unsigned offset, uint32_t value)
{
	unsigned n = offset >> 4 & 0xff;

	if (!base_enabled(c->apic_base) || x2apic(c))
		return;
	if (write_register(c, n, value))
		return;
	switch (n) {
	case LAPIC_ID:
	case LAPIC_LDR: reg_poke(c, n, value & 0xff000000); break;
	case LAPIC_DFR: reg_poke(c, n, value | 0x0fffffff); break;
	case LAPIC_ICR_HIGH: c->lapic.reg[n] = value & 0xff000000; break;
	case LAPIC_ICR:
		c->lapic.reg[n] = value & ICR_WRITABLE;
		lapic_send_ipi(c);
		break;
	default:
		if (!known(c, n))
			lapic_error(c, ESR_REGISTER);
		break;
	}
}

/* --- the MSRs: table 11-6 --- */

int lapic_msr_read(struct cpu *c, uint32_t index, uint64_t *value)
{
	unsigned n = index - MSR_X2APIC;

	if (index == MSR_TSC_DEADLINE) {
		*value = c->lapic.tsc_deadline;
		return 0;
	}
	if (index < MSR_X2APIC || index > MSR_X2APIC_END || !x2apic(c) || n >= LAPIC_WORDS || !readable(c, n))
		return -1;
	*value = read_register(c, n);
	if (n == LAPIC_ICR)
		*value |= (uint64_t)c->lapic.reg[LAPIC_ICR_HIGH] << 32;
	return 0;
}

/* Bits of register @n that may be written as 1; read-only ones of an LVT entry are let pass. */
static uint32_t x2apic_bits(const struct cpu *c, unsigned n)
{
	switch (n) {
	case LAPIC_TPR: return 0xff;
	case LAPIC_EOI:
	case LAPIC_ESR: return 0;
	case LAPIC_SVR: return 0x3ff | SVR_NO_EOI_BROADCAST;
	case LAPIC_TIMER_INIT: return 0xffffffff;
	case LAPIC_TIMER_DIVIDE: return 0xb;
	default: return lvt_bits(c, n) | LVT_READ_ONLY;
	}
}

int lapic_msr_write(struct cpu *c, uint32_t index, uint64_t value)
{
	unsigned n = index - MSR_X2APIC;

	if (index == MSR_TSC_DEADLINE) {
		lapic_timer_set_deadline(c, value);
		return 0;
	}
	if (index < MSR_X2APIC || index > MSR_X2APIC_END || !x2apic(c))
		return -1;
	if (n == LAPIC_ICR) {
		if ((uint32_t)value & ~(ICR_WRITABLE | 1u << 12))
			return -1;
		c->lapic.reg[LAPIC_ICR] = (uint32_t)value & ICR_WRITABLE;
		c->lapic.reg[LAPIC_ICR_HIGH] = (uint32_t)(value >> 32);
		lapic_send_ipi(c);
		return 0;
	}
	if (n == LAPIC_SELF_IPI) {
		if (value >> 8)
			return -1;
		if (value < 16)
			lapic_error(c, ESR_SEND_VECTOR);
		else
			lapic_post(c, (unsigned)value, false);
		return 0;
	}
	if (value & ~(uint64_t)x2apic_bits(c, n))
		return -1;
	return write_register(c, n, (uint32_t)value) ? 0 : -1;
}

/* --- reset and modes --- */

/* The initial ID, and in x2APIC mode LDR, are what the mode makes of the vCPU's number (11.12.10.2). */
static void set_id(struct cpu *c)
{
	if (x2apic(c)) {
		reg_poke(c, LAPIC_ID, c->index);
		reg_poke(c, LAPIC_LDR, c->index >> 4 << 16 | 1u << (c->index & 15));
	} else {
		reg_poke(c, LAPIC_ID, c->index << 24);
	}
}

/*
 * INIT has no effect on the ID (11.4.7.3), not for a moment either: a startup IPI may be on its way while this runs, and other
 * vCPUs' threads compare its destination with the register.
 */
static void reset_registers(struct cpu *c, bool init)
{
	struct lapic *l = &c->lapic;

	lapic_eoi_settle(c);
	for (unsigned n = 0; n < LAPIC_WORDS; n++)
		if (n != LAPIC_ID && !(n == LAPIC_LDR && x2apic(c)))
			reg_poke(c, n, 0);
	l->reg[LAPIC_VERSION] = APIC_VERSION;
	reg_poke(c, LAPIC_DFR, 0xffffffff);
	reg_poke(c, LAPIC_SVR, 0xff);
	for (unsigned n = LAPIC_LVT_TIMER; n <= LAPIC_LVT_ERROR; n++)
		l->reg[n] = LVT_MASKED;
	for (unsigned i = 0; i < 8; i++) {
		atomic_store(&l->irr_post[i], 0);
		atomic_store(&l->tmr_level[i], 0);
		atomic_store(&l->tmr_edge[i], 0);
		l->eoi_wait[i] = 0;
	}
	atomic_store(&l->esr_post, 0);
	l->esr_seen = 0;
	l->timer_start_ns = 0;
	lapic_timer_stop(c);
	if (!init)
		set_id(c);
}

void lapic_reset(struct cpu *c, bool init)
{
	reset_registers(c, init);
	if (init || c->index)
		return;
	/*
	 * As firmware leaves the bootstrap processor: the 8259 pair comes in at LINT0, NMI at LINT1
	 * ("virtual wire mode", MultiProcessor Specification 3.6.2.2). There is no firmware here.
	 */
	c->lapic.reg[LAPIC_LVT_LINT0] = LVT_EXTINT;
	c->lapic.reg[LAPIC_LVT_LINT1] = LVT_NMI;
}

int lapic_base_write(struct cpu *c, uint64_t value)
{
	uint64_t old = c->apic_base;
	bool en = value & APIC_BASE_EN, extd = value & APIC_BASE_EXTD;

	if (value & ~(((1ull << CPU_PHYS_BITS) - 1) & ~0xfffull) & ~(uint64_t)(APIC_BASE_BSP | APIC_BASE_EXTD | APIC_BASE_EN))
		return -1;
	/* Figure 11-27: EXTD only with EN; into x2APIC mode only from xAPIC mode; out of it only by disabling. */
	if (extd && (!en || !base_enabled(old) || !cpu_model_has(c->vm->model, FEAT_X2APIC)))
		return -1;
	if (en && !extd && base_x2apic(old))
		return -1;
	__atomic_store_n(&c->apic_base, value, __ATOMIC_RELAXED);
	if (!en && base_enabled(old))
		reset_registers(c, false);
	else if (x2apic(c) != base_x2apic(old))
		set_id(c);
	cpu_request(c, REQ_EVENT);
	return 0;
}

/* --- engine-neutral state --- */

void lapic_get_state(struct cpu *c, struct vcpu_state *s)
{
	struct lapic *l = &c->lapic;

	lapic_eoi_settle(c);
	lapic_sync(c);
	if (l->timer_due_ns <= vm_clock_ns(&c->vm->clock))
		lapic_timer_check(c);
	memcpy(s->lapic, l->reg, sizeof(s->lapic));
	s->lapic[LAPIC_PPR] = ppr(c);
	/* 0 says that a one-shot count has expired. */
	s->lapic[LAPIC_TIMER_CURRENT] = lapic_timer_current(c);
	/* Errors that ESR does not show yet have no place of their own. */
	s->lapic[LAPIC_ESR] |= atomic_load(&l->esr_post);
	s->tsc_deadline = l->tsc_deadline;
	s->lapic_timer_start_ns = l->timer_start_ns;
}

void lapic_set_state(struct cpu *c, const struct vcpu_state *s)
{
	struct lapic *l = &c->lapic;

	reset_registers(c, false);
	for (unsigned n = 0; n < LAPIC_WORDS; n++)
		if (readable(c, n) || n == LAPIC_DFR || n == LAPIC_ICR_HIGH)
			reg_poke(c, n, s->lapic[n]);
	/* Registers of a hostile file: what cannot be is cut off. */
	l->reg[LAPIC_VERSION] = APIC_VERSION;
	l->reg[LAPIC_TPR] &= 0xff;
	l->reg[LAPIC_PPR] = l->reg[LAPIC_TIMER_CURRENT] = 0;
	reg_poke(c, LAPIC_SVR, l->reg[LAPIC_SVR] & SVR_WRITABLE);
	reg_poke(c, LAPIC_DFR, l->reg[LAPIC_DFR] | 0x0fffffff);
	l->reg[LAPIC_ICR] &= ICR_WRITABLE;
	l->reg[LAPIC_TIMER_DIVIDE] &= 0xb;
	l->reg[LAPIC_ISR] &= 0xffff0000;
	l->reg[LAPIC_IRR] &= 0xffff0000;
	l->reg[LAPIC_TMR] &= 0xffff0000;
	for (unsigned n = LAPIC_LVT_TIMER; n <= LAPIC_LVT_ERROR; n++)
		l->reg[n] &= lvt_bits(c, n);
	if (x2apic(c))
		set_id(c);
	else
		reg_poke(c, LAPIC_ID, s->lapic[LAPIC_ID] & 0xff000000);
	l->tsc_deadline = s->tsc_deadline;
	l->timer_start_ns = s->lapic_timer_start_ns;
	lapic_timer_restore(c, !s->lapic[LAPIC_TIMER_CURRENT]);
	cpu_request(c, REQ_EVENT);
}
