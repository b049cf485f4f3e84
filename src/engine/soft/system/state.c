// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * struct cpu <-> struct vcpu_state.
 *
 * A state may come from a file that somebody tampered with: cpu_set_state accepts only what a
 * processor of this model could be in, as far as the engine's own invariants rest on it, and
 * changes nothing when it refuses. The checks are those of a VM entry (SDM vol. 3, 26.3.1).
 */
#include "engine/soft/system/system.h"

#include <errno.h>
#include <string.h>

enum { XSAVE_USED = sizeof(struct cpu_xsave) };
_Static_assert(sizeof(struct cpu_avx512) == XSAVE_PKRU_OFFSET - XSAVE_OPMASK_OFFSET &&
	       offsetof(struct cpu_avx512, zmm_hi) == XSAVE_ZMM_HI_OFFSET - XSAVE_OPMASK_OFFSET &&
	       offsetof(struct cpu_avx512, hi16) == XSAVE_HI16_OFFSET - XSAVE_OPMASK_OFFSET, "one piece");

/* Registers that are the same on both sides: X(name). */
#define SAME_FIELDS(X)                                                                                        \
	X(cr0) X(cr2) X(cr3) X(cr4) X(xcr0) X(efer) X(apic_base) X(star) X(lstar) X(cstar) X(sfmask)          \
	X(pkrs) X(mcg_status) X(mcg_ctl)                                                                      \
	X(kernel_gs_base) X(sysenter_cs) X(sysenter_esp) X(sysenter_eip) X(pat) X(tsc_aux) X(tsc_adjust)      \
	X(misc_enable) X(xss) X(spec_ctrl) X(debugctl) X(mtrr_def_type) X(smbase) X(tsc_delta) X(activity)     \
	X(nmi_masked) X(in_smm) X(smi_pending) X(extint_pending) X(extint_vector) X(shadow)

void cpu_get_state(struct cpu *c, struct vcpu_state *s)
{
	uint32_t req = atomic_load(&c->req);
	uint64_t components = cpu_model_image(c->vm->model);

	memset(s, 0, sizeof(*s));
	memcpy(s->gpr, c->gpr, sizeof(s->gpr));
	s->rip = c->gpr[GPR_RIP];
	s->rflags = cpu_rflags(c);
	memcpy(s->seg, c->seg, sizeof(s->seg));
	s->ldt = c->ldt;
	s->tr = c->tr;
	s->gdt = c->gdt;
	s->idt = c->idt;
	s->cr8 = lapic_cr8(c);
	memcpy(s->dr, c->dr, sizeof(s->dr));
#define X(name) s->name = c->name;
	SAME_FIELDS(X)
#undef X
	memcpy(s->pdpte, c->pdpte, sizeof(s->pdpte));
	memcpy(s->mtrr_physbase, c->mtrr_physbase, sizeof(s->mtrr_physbase));
	memcpy(s->mtrr_physmask, c->mtrr_physmask, sizeof(s->mtrr_physmask));
	memcpy(s->mtrr_fixed, c->mtrr_fixed, sizeof(s->mtrr_fixed));
	memcpy(s->xsave, &c->x, XSAVE_USED);
	/* All components of the model are in the image, enabled in XCR0 or not. */
	memset(s->xsave + offsetof(struct cpu_xsave, xstate_bv), 0, XSAVE_HEADER_SIZE);
	memcpy(s->xsave + offsetof(struct cpu_xsave, xstate_bv), &components, sizeof(components));
	s->xsave_len = xsave_size(components, false);
	if (components & XCR0_AVX512)
		memcpy(s->xsave + XSAVE_OPMASK_OFFSET, &c->z, sizeof(c->z));
	if (components & XCR0_PKRU)
		memcpy(s->xsave + XSAVE_PKRU_OFFSET, &c->pkru, sizeof(c->pkru));
	lapic_get_state(c, s);
	s->nmi_pending = cpu_nmis(c);
	s->smi_pending = c->smi_pending || (req & REQ_SMI);
	s->smm_nmi_masked = c->smm.nmi_was_masked;
	s->smm_debug_pending = c->smm.debug_held;
	s->init_pending = (req & REQ_INIT) || c->smm.init_held;
	s->sipi_pending = (req & REQ_SIPI) != 0;
	s->sipi_vector = atomic_load(&c->lapic.sipi_vector);
	if (c->monitor.waiting && c->activity == VCPU_HALTED)
		s->activity = VCPU_RUNNING;
	s->debug_pending = (c->dbg.pending | c->dbg.hits) & DR6_WRITABLE;
	s->exception_pending = c->exc_pending;
	s->exception_vector = c->exc_vector;
	s->exception_has_error = c->exc_has_error;
	s->exception_error = c->exc_error;
	pv_get_state(c, s);
}

/* --- checks --- */

static bool canonical(const struct cpu_model *m, uint64_t a)
{
	return canonical_bits(a, cpu_model_linear_bits(m));
}

static bool control_valid(const struct cpu_model *m, const struct vcpu_state *s)
{
	bool pg = s->cr0 & CR0_PG, lme = s->efer & EFER_LME, lma = s->efer & EFER_LMA;

	if ((s->cr0 & ~CR0_KNOWN) || !(s->cr0 & CR0_ET) || (s->cr4 & ~cr4_known(m)) || (s->efer & ~efer_known(m)))
		return false;
	if ((pg && !(s->cr0 & CR0_PE)) || ((s->cr0 & CR0_NW) && !(s->cr0 & CR0_CD)))
		return false;
	if (lma != (lme && pg) || (lma && !(s->cr4 & CR4_PAE)) || ((s->cr4 & CR4_PCIDE) && !lma))
		return false;
	/* PAE paging walks from these, whatever is in memory. */
	if (pg && !lma && (s->cr4 & CR4_PAE) && !mmu_pdptes_valid(s->pdpte))
		return false;
	if (s->cr3 >> CPU_PHYS_BITS || s->cr8 > 15 || !xcr0_valid(m, s->xcr0) || s->xss)
		return false;
	return !(s->dr[6] >> 32) && !(s->dr[7] >> 32) && !(s->debug_pending & ~(DR6_B | DR6_BS | DR6_BT));
}

static bool msrs_valid(const struct cpu_model *m, const struct vcpu_state *s)
{
	const uint64_t base_bits = ((1ull << CPU_PHYS_BITS) - 1) & ~0xfffull;

	if (!canonical(m, s->lstar) || !canonical(m, s->cstar) || !canonical(m, s->kernel_gs_base) ||
	    !canonical(m, s->sysenter_esp) || !canonical(m, s->sysenter_eip))
		return false;
	if (s->pkrs >> 32 || (s->pkrs && !cpu_model_has(m, FEAT_PKS)) || !mcg_status_valid(s->mcg_status) || !mcg_ctl_valid(s->mcg_ctl) ||
	    !misc_enable_valid(m, s->misc_enable))
		return false;
	if (s->sfmask >> 32 || s->sysenter_cs >> 32 || s->tsc_aux >> 32 || s->spec_ctrl || s->debugctl & ~2ull)
		return false;
	if (!pat_valid(s->pat) || !mtrr_def_type_valid(s->mtrr_def_type))
		return false;
	for (unsigned i = 0; i < MTRR_VARIABLE; i++)
		if (!mtrr_physbase_valid(s->mtrr_physbase[i]) || !mtrr_physmask_valid(s->mtrr_physmask[i]))
			return false;
	for (unsigned i = 0; i < MTRR_FIXED; i++)
		if (!mtrr_fixed_valid(s->mtrr_fixed[i]))
			return false;
	if (s->apic_base & ~(base_bits | MSR_APIC_BASE_BSP | MSR_APIC_BASE_X2 | MSR_APIC_BASE_EN))
		return false;
	return !(s->apic_base & MSR_APIC_BASE_X2) || ((s->apic_base & MSR_APIC_BASE_EN) && cpu_model_has(m, FEAT_X2APIC));
}

static bool segments_valid(const struct cpu_model *m, const struct vcpu_state *s)
{
	const uint32_t attr_known = 0xf0ff | ATTR_NULL;
	bool lma = s->efer & EFER_LMA;

	for (unsigned i = 0; i < SEG_COUNT + 2; i++) {
		const struct vcpu_segment *g = i < SEG_COUNT ? &s->seg[i] : i == SEG_COUNT ? &s->ldt : &s->tr;

		if ((g->attr & ~attr_known) || !canonical(m, g->base))
			return false;
	}
	if (!canonical(m, s->gdt.base) || !canonical(m, s->idt.base) || (s->tr.attr & ATTR_S))
		return false;
	if (lma && (s->seg[SEG_CS].attr & ATTR_L) && (s->seg[SEG_CS].attr & ATTR_DB))
		return false;
	return !(s->seg[SEG_CS].attr & ATTR_NULL);
}

static bool flags_valid(const struct vcpu_state *s)
{
	const uint64_t known = FL_ALL | RF_FIXED | RF_TF | RF_IF | RF_DF | RF_IOPL | RF_NT | RF_RF | RF_VM | RF_AC | RF_VIF |
			       RF_VIP | RF_ID;

	if ((s->rflags & ~known) || !(s->rflags & RF_FIXED))
		return false;
	return !(s->rflags & RF_VM) || ((s->cr0 & CR0_PE) && !(s->efer & EFER_LMA));
}

static bool rip_valid(const struct vcpu_state *s)
{
	if ((s->efer & EFER_LMA) && (s->seg[SEG_CS].attr & ATTR_L))
		return canonical_bits(s->rip, s->cr4 & CR4_LA57 ? 57 : 48);
	return !(s->rip >> 32);
}

bool cpu_state_possible(const struct cpu *c, const struct vcpu_state *s)
{
	const struct cpu_model *m = c->vm->model;

	return control_valid(m, s) && segments_valid(m, s) && flags_valid(s) && rip_valid(s);
}

static bool activity_valid(const struct vcpu_state *s)
{
	return s->activity <= VCPU_SHUTDOWN && s->shadow <= 3 && s->exception_vector < 32 && s->in_smm <= 1 &&
	       s->smi_pending <= 1 && s->smm_nmi_masked <= 1 && s->smbase >> 32 == 0 &&
	       !(s->smm_debug_pending & ~(DR6_B | DR6_BS | DR6_BT)) && s->nmi_pending <= NMI_PENDING_MAX &&
	       s->nmi_masked <= 1 && s->exception_pending <= 1 && s->extint_pending <= 1 &&
	       s->exception_has_error <= 1;
}

static bool xsave_valid(const struct cpu_model *m, const struct vcpu_state *s)
{
	struct cpu_xsave x;

	if (s->xsave_len < XSAVE_USED || s->xsave_len > sizeof(s->xsave))
		return false;
	memcpy(&x, s->xsave, sizeof(x));
	if ((x.xstate_bv & (XCR0_PKRU | XCR0_AVX512)) && s->xsave_len < xsave_size(x.xstate_bv, false))
		return false;
	return !(x.xstate_bv & ~cpu_model_image(m)) && !x.xcomp_bv && !(x.mxcsr & ~0xffffu);
}

/* --- loading --- */

/* A component whose bit is clear is in its initial configuration (SDM vol. 1, 13.6). */
static void load_xsave(struct cpu *c, const struct vcpu_state *s)
{
	struct cpu_xsave x;
	uint64_t bv;

	memcpy(&x, s->xsave, sizeof(x));
	bv = x.xstate_bv;
	if (!(bv & XCR0_X87)) {
		memset(&x, 0, offsetof(struct cpu_xsave, mxcsr));
		memset(x.st, 0, sizeof(x.st));
		x.fcw = 0x37f;
	}
	if (!(bv & XCR0_SSE))
		memset(x.xmm, 0, sizeof(x.xmm));
	if (!(bv & (XCR0_SSE | XCR0_AVX)))
		x.mxcsr = 0x1f80;
	if (!(bv & XCR0_AVX))
		memset(x.ymm_hi, 0, sizeof(x.ymm_hi));
	x.fcw = (uint16_t)((x.fcw & 0x1f3f) | 0x40);
	x.fsw &= ~0x8080;
	if (x.fsw & ~x.fcw & 0x3f)
		x.fsw |= 0x8080; /* ES, B */
	x.rsvd0 = 0;
	for (unsigned i = 0; i < 8; i++)
		memset(x.st[i] + 10, 0, 6);
	memset(x.rsvd1, 0, sizeof(x.rsvd1));
	x.mxcsr_mask = 0xffff;
	x.xstate_bv = XCR0_V3;
	memset(x.hdr_rsvd, 0, sizeof(x.hdr_rsvd));
	c->x = x;
	memset(&c->z, 0, sizeof(c->z));
	if (bv & XCR0_OPMASK)
		memcpy(c->z.k, s->xsave + XSAVE_OPMASK_OFFSET, sizeof(c->z.k));
	if (bv & XCR0_ZMM_HI)
		memcpy(c->z.zmm_hi, s->xsave + XSAVE_ZMM_HI_OFFSET, sizeof(c->z.zmm_hi));
	if (bv & XCR0_HI16_ZMM)
		memcpy(c->z.hi16, s->xsave + XSAVE_HI16_OFFSET, sizeof(c->z.hi16));
	c->pkru = 0;
	if (bv & XCR0_PKRU)
		memcpy(&c->pkru, s->xsave + XSAVE_PKRU_OFFSET, sizeof(c->pkru));
}

unsigned cpu_state_cpl(const struct vcpu_state *s)
{
	if (!(s->cr0 & CR0_PE))
		return 0;
	return s->rflags & RF_VM ? 3 : s->seg[SEG_SS].attr >> 5 & 3;
}

int cpu_set_state(struct cpu *c, const struct vcpu_state *s)
{
	const struct cpu_model *m = c->vm->model;
	uint32_t req = 0;

	if (!cpu_state_possible(c, s) || !msrs_valid(m, s) || !activity_valid(s) || !xsave_valid(m, s) ||
	    !pv_state_valid(c, s))
		return -EINVAL;
	memcpy(c->gpr, s->gpr, sizeof(s->gpr));
	c->gpr[GPR_RIP] = s->rip;
	cpu_set_rflags(c, s->rflags);
	memcpy(c->seg, s->seg, sizeof(c->seg));
	c->ldt = s->ldt;
	c->tr = s->tr;
	c->gdt = s->gdt;
	c->idt = s->idt;
	memcpy(c->dr, s->dr, sizeof(c->dr));
	c->dr[4] = c->dr[5] = 0;
	c->dr[6] = (c->dr[6] & DR6_WRITABLE) | DR6_FIXED;
	c->dr[7] = (c->dr[7] & DR7_WRITABLE) | DR7_FIXED;
	c->dbg.pending = s->debug_pending;
	c->dbg.hits = c->dbg.rf_was = 0;
	monitor_finish(c);
#define X(name) c->name = s->name;
	SAME_FIELDS(X)
#undef X
	memcpy(c->pdpte, s->pdpte, sizeof(c->pdpte));
	memcpy(c->mtrr_physbase, s->mtrr_physbase, sizeof(c->mtrr_physbase));
	memcpy(c->mtrr_physmask, s->mtrr_physmask, sizeof(c->mtrr_physmask));
	memcpy(c->mtrr_fixed, s->mtrr_fixed, sizeof(c->mtrr_fixed));
	load_xsave(c, s);
	c->tsc_offset = c->vm->clock.tsc_offset + c->tsc_delta;
	c->cpl = (uint8_t)cpu_state_cpl(s);
	c->nmi_pending = s->nmi_pending;
	atomic_store(&c->nmi_posts, 0);
	c->smm = (struct cpu_smm){ .nmi_was_masked = s->smm_nmi_masked, .debug_held = s->smm_debug_pending };
	c->exc_pending = s->exception_pending;
	c->exc_vector = s->exception_vector;
	c->exc_has_error = s->exception_has_error;
	c->exc_error = s->exception_error;
	c->shadow_was = 0;
	c->exc_depth = 0;
	c->delivering = -1;
	c->pending_exit = 0;
	c->halt_told = 0;
	cpu_replay_done(c);
	pv_set_state(c, s);
	lapic_set_state(c, s);
	if (lapic_cr8(c) != s->cr8)
		lapic_set_cr8(c, s->cr8);
	atomic_store(&c->lapic.sipi_vector, s->sipi_vector);
	if (s->init_pending)
		req |= REQ_INIT;
	if (s->sipi_pending)
		req |= REQ_SIPI;
	atomic_fetch_and(&c->req, ~(uint32_t)(REQ_INIT | REQ_SIPI | REQ_NMI | REQ_SMI));
	atomic_fetch_or(&c->req, req | REQ_EVENT | REQ_INTR | REQ_TIMER);
	c->attn = 1;
	mmu_flush_all(c);
	cpu_mode_changed(c);
	debug_rearm(c);
	return 0;
}
