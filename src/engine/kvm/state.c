// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KVM's registers <-> struct vcpu_state.
 *
 * Where the two disagree about what they tell:
 *  - an interrupt that KVM has taken from its local APIC (or that was an ExtINT) and has not delivered yet is
 *    extint_pending; an NMI in that state is nmi_pending, not yet masked;
 *  - a pending exception has its DR6 bits and CR2 in the registers already (KVM_CAP_EXCEPTION_PAYLOAD stays off), so
 *    debug_pending is 0 when it comes from here, and is turned into a pending #DB when it comes here;
 *  - AMD's interrupt shadow does not tell STI from MOV SS: with interrupts on it is taken for STI's;
 *  - KVM has no shutdown state: kvm_vcpu.shut_down;
 *  - components of an XSAVE image that are in their initial configuration are written out, XSTATE_BV has every
 *    component of the model: images of all engines compare equal.
 *
 * A state may come from a file that somebody tampered with. What KVM does not check itself is checked here, by the
 * rules of a VM entry (SDM vol. 3, 26.3.1); when something is refused half way, the state from before is put back.
 */
#include "engine/kvm/private.h"

#include <errno.h>
#include <string.h>

enum {
	ATTR_NULL = 1 << 16, FLAG_FIXED = 1 << 1, FLAG_IF = 1 << 9, FLAG_VM = 1 << 17,
	CR0_PE = 1 << 0, CR4_PAE = 1 << 5, EFER_LMA = 1 << 10, EXC_DB = 1,
};
#define CR0_PG (1ull << 31)

/* --- segments --- */

static struct vcpu_segment segment_get(const struct kvm_segment *g, bool stack)
{
	struct vcpu_segment s = { .base = g->base, .limit = g->limit, .selector = g->selector };

	s.attr = (g->type & 15u) | (g->s & 1u) << 4 | (g->dpl & 3u) << 5 | (g->present & 1u) << 7 | (g->avl & 1u) << 12 |
		 (g->l & 1u) << 13 | (g->db & 1u) << 14 | (g->g & 1u) << 15;
	/* SS's DPL is the CPL, null or not; nothing else of a null register means anything. */
	if (g->unusable || !g->present)
		s.attr = ATTR_NULL | (stack ? s.attr & 3 << 5 : 0);
	return s;
}

static struct kvm_segment segment_set(const struct vcpu_segment *s)
{
	bool null = s->attr & ATTR_NULL;

	return (struct kvm_segment){
		.base = s->base, .limit = s->limit, .selector = s->selector, .type = s->attr & 15, .s = s->attr >> 4 & 1,
		.dpl = s->attr >> 5 & 3, .present = null ? 0 : s->attr >> 7 & 1, .avl = s->attr >> 12 & 1, .l = s->attr >> 13 & 1,
		.db = s->attr >> 14 & 1, .g = s->attr >> 15 & 1, .unusable = null,
	};
}

#define SEGMENTS(X) X(es, seg[SEG_ES]) X(cs, seg[SEG_CS]) X(ss, seg[SEG_SS]) X(ds, seg[SEG_DS]) X(fs, seg[SEG_FS]) \
	X(gs, seg[SEG_GS]) X(ldt, ldt) X(tr, tr)
#define CONTROLS(X) X(cr0) X(cr2) X(cr3) X(cr4) X(cr8) X(efer) X(apic_base)

static void sregs_to_state(const struct kvm_sregs2 *k, struct vcpu_state *s)
{
#define X(theirs, ours) s->ours = segment_get(&k->theirs, &s->ours == &s->seg[SEG_SS]);
	SEGMENTS(X)
#undef X
#define X(name) s->name = k->name;
	CONTROLS(X)
#undef X
	s->gdt = (struct vcpu_table){ .base = k->gdt.base, .limit = k->gdt.limit };
	s->idt = (struct vcpu_table){ .base = k->idt.base, .limit = k->idt.limit };
}

static void state_to_sregs(const struct vcpu_state *s, struct kvm_sregs2 *k)
{
	memset(k, 0, sizeof(*k));
#define X(theirs, ours) k->theirs = segment_set(&s->ours);
	SEGMENTS(X)
#undef X
#define X(name) k->name = s->name;
	CONTROLS(X)
#undef X
	k->gdt = (struct kvm_dtable){ .base = s->gdt.base, .limit = s->gdt.limit };
	k->idt = (struct kvm_dtable){ .base = s->idt.base, .limit = s->idt.limit };
}

static bool pae_paging(const struct vcpu_state *s)
{
	return (s->cr0 & CR0_PG) && (s->cr4 & CR4_PAE) && !(s->efer & EFER_LMA);
}

/* struct kvm_sregs begins like kvm_sregs2 and ends with the interrupt bitmap in place of the PDPTEs. */
_Static_assert(offsetof(struct kvm_sregs, interrupt_bitmap) == offsetof(struct kvm_sregs2, flags), "one layout");

static int sregs_get(struct kvm_vcpu *v, struct vcpu_state *s)
{
	union {
		struct kvm_sregs old;
		struct kvm_sregs2 new;
	} k = { 0 };
	bool two = v->engine->caps.sregs2;
	int r = kvm_ioctl(v->fd, two ? KVM_GET_SREGS2 : KVM_GET_SREGS, &k);

	if (r)
		return r;
	sregs_to_state(&k.new, s);
	if (two && (k.new.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) && pae_paging(s))
		memcpy(s->pdpte, k.new.pdptrs, sizeof(s->pdpte));
	return 0;
}

static int sregs_set(struct kvm_vcpu *v, const struct vcpu_state *s)
{
	union {
		struct kvm_sregs old;
		struct kvm_sregs2 new;
	} k = { 0 };
	bool two = v->engine->caps.sregs2;

	state_to_sregs(s, &k.new);
	if (!two)
		memset(k.old.interrupt_bitmap, 0, sizeof(k.old.interrupt_bitmap));
	if (two && pae_paging(s)) {
		memcpy(k.new.pdptrs, s->pdpte, sizeof(s->pdpte));
		/* An engine that does not keep them leaves 0: then they are read from memory. */
		if (s->pdpte[0] | s->pdpte[1] | s->pdpte[2] | s->pdpte[3])
			k.new.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	}
	return kvm_ioctl(v->fd, two ? KVM_SET_SREGS2 : KVM_SET_SREGS, &k);
}

/* --- general registers, debug registers --- */

#define GPRS(X) X(rax, RAX) X(rcx, RCX) X(rdx, RDX) X(rbx, RBX) X(rsp, RSP) X(rbp, RBP) X(rsi, RSI) X(rdi, RDI) X(r8, R8) \
	X(r9, R9) X(r10, R10) X(r11, R11) X(r12, R12) X(r13, R13) X(r14, R14) X(r15, R15)

static int regs_get(struct kvm_vcpu *v, struct vcpu_state *s)
{
	struct kvm_regs k;
	struct kvm_debugregs d;
	int r = kvm_ioctl(v->fd, KVM_GET_REGS, &k);

	if (!r)
		r = kvm_ioctl(v->fd, KVM_GET_DEBUGREGS, &d);
	if (r)
		return r;
#define X(name, n) s->gpr[n] = k.name;
	GPRS(X)
#undef X
	s->rip = k.rip;
	s->rflags = k.rflags;
	memcpy(s->dr, d.db, sizeof(d.db));
	s->dr[6] = d.dr6;
	s->dr[7] = d.dr7;
	return 0;
}

static int regs_set(struct kvm_vcpu *v, const struct vcpu_state *s)
{
	struct kvm_regs k = { .rip = s->rip, .rflags = s->rflags };
	struct kvm_debugregs d = { .dr6 = (s->dr[6] & 0xe00f) | 0xffff0ff0 | s->debug_pending,
				   .dr7 = (s->dr[7] & ~0xd800ull) | 0x400 };
	int r;

#define X(name, n) k.name = s->gpr[n];
	GPRS(X)
#undef X
	memcpy(d.db, s->dr, sizeof(d.db));
	r = kvm_ioctl(v->fd, KVM_SET_REGS, &k);
	return r ? r : kvm_ioctl(v->fd, KVM_SET_DEBUGREGS, &d);
}

/* --- XSAVE (SDM vol. 1, 13.4) --- */

/* The parts of an image that are looked at. */
struct xsave_image {
	uint16_t fcw, fsw;
	uint8_t ftw, reserved0;
	uint16_t fop;
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask;
	uint8_t st[8][16], xmm[16][16], reserved1[96];
	uint64_t xstate_bv, xcomp_bv, reserved2[6];
	uint8_t ymm_hi[16][16];
};
_Static_assert(offsetof(struct xsave_image, ymm_hi) == XSAVE_AVX_OFFSET, "the manual's layout");

/* Writes components that XSTATE_BV says to be in their initial configuration; then XSTATE_BV is @all. */
static void write_out_initial(uint8_t bytes[VCPU_XSAVE_SIZE], uint64_t all)
{
	struct xsave_image x;

	memcpy(&x, bytes, sizeof(x));
	if (!(x.xstate_bv & XCR0_X87)) {
		memset(&x, 0, offsetof(struct xsave_image, mxcsr));
		memset(x.st, 0, sizeof(x.st));
		x.fcw = 0x37f;
	}
	if (!(x.xstate_bv & XCR0_SSE))
		memset(x.xmm, 0, sizeof(x.xmm));
	if (!(x.xstate_bv & (XCR0_SSE | XCR0_AVX)))
		x.mxcsr = 0x1f80;
	if (!(x.xstate_bv & XCR0_AVX))
		memset(x.ymm_hi, 0, sizeof(x.ymm_hi));
	if ((all & XCR0_PKRU) && !(x.xstate_bv & XCR0_PKRU))
		memset(bytes + XSAVE_PKRU_OFFSET, 0, XSAVE_PKRU_SIZE);
	x.mxcsr_mask = 0xffff;
	memset(x.reserved1, 0, sizeof(x.reserved1));
	memset(x.reserved2, 0, sizeof(x.reserved2));
	x.xstate_bv = all;
	x.xcomp_bv = 0;
	memcpy(bytes, &x, sizeof(x));
}

static int xsave_get(struct kvm_vcpu *v, struct vcpu_state *s)
{
	uint64_t all = cpu_model_image(v->engine->model);
	struct kvm_xsave k;
	struct kvm_xcrs x = { 0 };
	int r = kvm_ioctl(v->fd, KVM_GET_XSAVE, &k);

	if (!r && v->engine->caps.xcrs)
		r = kvm_ioctl(v->fd, KVM_GET_XCRS, &x);
	if (r)
		return r;
	s->xcr0 = XCR0_X87; /* what a processor without XSAVE has in effect */
	for (uint32_t i = 0; i < x.nr_xcrs && i < sizeof(x.xcrs) / sizeof(x.xcrs[0]); i++)
		if (x.xcrs[i].xcr == 0)
			s->xcr0 = x.xcrs[i].value;
	s->xsave_len = xsave_size(all, false);
	memcpy(s->xsave, k.region, s->xsave_len);
	write_out_initial(s->xsave, all);
	return 0;
}

static int xsave_set(struct kvm_vcpu *v, const struct vcpu_state *s)
{
	static const uint8_t zero[XSAVE_AVX_SIZE];
	uint64_t have = v->engine->caps.xcr0;
	struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs[0] = { .xcr = 0, .value = s->xcr0 } };
	struct kvm_xsave k = { 0 };
	uint64_t *bv = (uint64_t *)((char *)k.region + offsetof(struct xsave_image, xstate_bv));
	int r;

	memcpy(k.region, s->xsave, s->xsave_len);
	write_out_initial((uint8_t *)k.region, cpu_model_image(v->engine->model));
	/* What this host lacks can only be in its initial configuration. */
	if (!(have & XCR0_AVX) && memcmp((char *)k.region + XSAVE_AVX_OFFSET, zero, XSAVE_AVX_SIZE))
		return -ENOTSUP;
	if ((*bv & ~have & XCR0_PKRU) && memcmp((char *)k.region + XSAVE_PKRU_OFFSET, zero, XSAVE_PKRU_SIZE))
		return -ENOTSUP;
	*bv &= have | 3;
	if (!v->engine->caps.xcrs && s->xcr0 != XCR0_X87)
		return -ENOTSUP;
	r = v->engine->caps.xcrs ? kvm_ioctl(v->fd, KVM_SET_XCRS, &x) : 0;
	return r ? r : kvm_ioctl(v->fd, KVM_SET_XSAVE, &k);
}

/* --- what is under way --- */

static uint8_t shadow_get(uint8_t kvm, uint64_t rflags)
{
	switch (kvm & (KVM_X86_SHADOW_INT_MOV_SS | KVM_X86_SHADOW_INT_STI)) {
	case 0: return 0;
	case KVM_X86_SHADOW_INT_STI: return 1;
	case KVM_X86_SHADOW_INT_MOV_SS: return 2;
	default: return rflags & FLAG_IF ? 1 : 2;
	}
}

static int events_get(struct kvm_vcpu *v, uint32_t mp_state, struct vcpu_state *s)
{
	struct kvm_vcpu_events k;
	int r = kvm_ioctl(v->fd, KVM_GET_VCPU_EVENTS, &k);

	if (r)
		return r;
	switch (mp_state) {
	case KVM_MP_STATE_RUNNABLE: s->activity = VCPU_RUNNING; break;
	case KVM_MP_STATE_HALTED: s->activity = VCPU_HALTED; break;
	default: s->activity = VCPU_WAIT_SIPI; break;
	}
	if (v->shut_down)
		s->activity = VCPU_SHUTDOWN;
	s->sipi_pending = mp_state == KVM_MP_STATE_SIPI_RECEIVED;
	s->sipi_vector = (uint8_t)k.sipi_vector;
	s->exception_pending = k.exception.injected || k.exception.pending;
	if (s->exception_pending) {
		s->exception_vector = k.exception.nr & 31;
		s->exception_has_error = k.exception.has_error_code != 0;
		s->exception_error = s->exception_has_error ? k.exception.error_code : 0;
	}
	s->extint_pending = k.interrupt.injected || v->extint_pending;
	s->extint_vector = k.interrupt.injected ? k.interrupt.nr : v->extint_vector;
	if (!s->extint_pending)
		s->extint_vector = 0;
	s->shadow = shadow_get(k.interrupt.shadow, s->rflags);
	s->nmi_pending = (k.nmi.injected & 1) + k.nmi.pending + (atomic_load(&v->req) & KVM_REQ_NMI ? 1 : 0);
	s->nmi_pending = s->nmi_pending > 2 ? 2 : s->nmi_pending;
	s->nmi_masked = k.nmi.masked && !k.nmi.injected;
	s->smi_pending = (k.smi.pending & 1) || (atomic_load(&v->req) & KVM_REQ_SMI);
	s->in_smm = k.smi.smm & 1;
	s->smm_nmi_masked = s->in_smm && (k.smi.smm_inside_nmi & 1);
	s->init_pending = k.smi.latched_init & 1;
	return 0;
}

static int events_set(struct kvm_vcpu *v, const struct vcpu_state *s)
{
	struct kvm_vcpu_events k = {
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR | KVM_VCPUEVENT_VALID_SHADOW,
		.sipi_vector = s->sipi_vector,
		.nmi = { .pending = s->nmi_pending, .masked = s->nmi_masked },
		.interrupt.shadow = (s->shadow & 1 ? KVM_X86_SHADOW_INT_STI : 0) | (s->shadow & 2 ? KVM_X86_SHADOW_INT_MOV_SS : 0),
	};
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
	bool wakes = s->exception_pending || s->debug_pending || (s->extint_pending && (s->rflags & FLAG_IF));
	int r;

	if (s->exception_pending || s->debug_pending) {
		k.exception.injected = 1;
		k.exception.nr = s->exception_pending ? s->exception_vector : EXC_DB;
		k.exception.has_error_code = s->exception_pending && s->exception_has_error;
		k.exception.error_code = s->exception_error;
	}
	if (v->engine->caps.smm) {
		k.flags |= KVM_VCPUEVENT_VALID_SMM;
		k.smi.smm = s->in_smm;
		k.smi.pending = s->smi_pending;
		k.smi.smm_inside_nmi = s->in_smm && s->smm_nmi_masked;
		k.smi.latched_init = s->init_pending;
	} else if (s->in_smm || s->smi_pending || s->init_pending) {
		return -ENOTSUP;
	}
	if (s->activity == VCPU_HALTED && !wakes && !s->pv_kicked)
		mp.mp_state = KVM_MP_STATE_HALTED;
	else if (s->activity == VCPU_WAIT_SIPI)
		mp.mp_state = s->sipi_pending ? KVM_MP_STATE_SIPI_RECEIVED : KVM_MP_STATE_INIT_RECEIVED;
	r = kvm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &k);
	return r ? r : kvm_ioctl(v->fd, KVM_SET_MP_STATE, &mp);
}

/* --- checks of what KVM takes without a look --- */

static bool canonical(const struct kvm_vcpu *v, uint64_t a)
{
	unsigned shift = 64 - cpu_model_linear_bits(v->engine->model);

	return (uint64_t)((int64_t)(a << shift) >> shift) == a;
}

static bool segments_valid(const struct kvm_vcpu *v, const struct vcpu_state *s)
{
	enum { S = 1 << 4, L = 1 << 13, DB = 1 << 14 };
	uint32_t cs = s->seg[SEG_CS].attr;

	for (unsigned i = 0; i < SEG_COUNT + 2; i++) {
		const struct vcpu_segment *g = i < SEG_COUNT ? &s->seg[i] : i == SEG_COUNT ? &s->ldt : &s->tr;

		if ((g->attr & ~(0xf0ffu | ATTR_NULL)) || !canonical(v, g->base))
			return false;
	}
	if (!canonical(v, s->gdt.base) || !canonical(v, s->idt.base) || (s->tr.attr & S) || (cs & ATTR_NULL))
		return false;
	if ((s->efer & EFER_LMA) && (cs & L))
		return !(cs & DB) && canonical(v, s->rip);
	return !(s->rip >> 32);
}

static bool registers_valid(const struct kvm_vcpu *v, const struct vcpu_state *s)
{
	const uint64_t cr0_known = 0xe005003f, flags_known = 0x3f7fd7;
	uint64_t base_bits = ((1ull << CPU_PHYS_BITS) - 1) & ~0xfffull;

	if ((s->rflags & ~flags_known) || !(s->rflags & FLAG_FIXED))
		return false;
	if ((s->rflags & FLAG_VM) && (!(s->cr0 & CR0_PE) || (s->efer & EFER_LMA)))
		return false;
	if ((s->cr0 & ~cr0_known) || !(s->cr0 & 1 << 4) || ((s->cr0 & CR0_PG) && !(s->cr0 & CR0_PE)) ||
	    ((s->cr0 & 1 << 29) && !(s->cr0 & 1 << 30)))
		return false;
	if (s->cr3 >> CPU_PHYS_BITS || s->cr8 > 15 || s->dr[6] >> 32 || s->dr[7] >> 32 || (s->debug_pending & ~0xe00fu))
		return false;
	return !(s->apic_base & ~(base_bits | 0xd00)) && (s->apic_base & 0xc00) != 0x400;
}

/* IA32_PAT: eight memory types, of which 2 and 3 do not exist. Not every KVM looks. */
static bool pat_valid(uint64_t pat)
{
	for (unsigned i = 0; i < 8; i++, pat >>= 8)
		if ((pat & 0xff) > 7 || (pat & 0xfe) == 2)
			return false;
	return true;
}

static bool xsave_valid(const struct kvm_vcpu *v, const struct vcpu_state *s)
{
	uint64_t all = cpu_model_image(v->engine->model);
	struct xsave_image x;

	if (s->xsave_len < xsave_size(XCR0_V3, false) || s->xsave_len > sizeof(s->xsave))
		return false;
	memcpy(&x, s->xsave, sizeof(x));
	if ((x.xstate_bv & XCR0_PKRU) && s->xsave_len < xsave_size(all, false))
		return false;
	return !(x.xstate_bv & ~all) && !x.xcomp_bv && !(x.mxcsr & ~0xffffu) &&
	       !(s->xcr0 & ~cpu_model_xcr0(v->engine->model)) && (s->xcr0 & 1);
}

static bool under_way_valid(const struct vcpu_state *s)
{
	return s->activity <= VCPU_SHUTDOWN && s->shadow <= 3 && s->exception_vector < 32 && s->exception_pending <= 1 &&
	       s->exception_has_error <= 1 && s->nmi_pending <= 2 && s->nmi_masked <= 1 && s->smi_pending <= 1 &&
	       s->in_smm <= 1 && s->init_pending <= 1 && s->sipi_pending <= 1 && s->extint_pending <= 1 && s->pv_kicked <= 1 &&
	       s->pv_called <= 1 &&
	       !(s->exception_pending && s->exception_vector == 2);
}

/* --- all --- */

int kvm_vcpu_get_state(struct engine_vcpu *base, struct vcpu_state *s)
{
	struct kvm_vcpu *v = kvm_vcpu_of(base);
	struct kvm_mp_state mp;
	int r = kvm_ioctl(v->fd, KVM_GET_MP_STATE, &mp); /* first: it takes in INIT and startup IPIs, which reset registers */

	memset(s, 0, sizeof(*s));
	if (!r)
		r = regs_get(v, s);
	if (!r)
		r = sregs_get(v, s);
	if (!r)
		r = xsave_get(v, s);
	if (!r)
		r = kvm_msr_get(v, s);
	if (!r)
		r = kvm_apic_get(v, s);
	if (!r)
		r = events_get(v, mp.mp_state, s);
	s->pv_called = v->pv_called;
	return r;
}

/* Nothing gives KVM a kick that came before its HLT, but the message that KVM_HC_KICK_CPU itself sends: "remote read". */
static void kick_again(struct kvm_vcpu *v)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000 | v->base.index << 12, .data = 3 << 8 };

	kvm_ioctl(v->engine->vm, KVM_SIGNAL_MSI, &msi);
}

static int apply(struct kvm_vcpu *v, const struct vcpu_state *s)
{
	int r;

	/* In this order: segments and modes, then what depends on them; the events last, for others clear them. */
	r = sregs_set(v, s);
	if (!r)
		r = regs_set(v, s);
	if (!r)
		r = xsave_set(v, s);
	if (!r)
		r = kvm_msr_set(v, s);
	if (!r)
		r = kvm_apic_set(v, s);
	if (!r)
		r = events_set(v, s);
	if (r)
		return r;
	if (s->pv_kicked)
		kick_again(v);
	v->pv_called = s->pv_called;
	v->pending = false;
	v->shut_down = s->activity == VCPU_SHUTDOWN;
	v->extint_pending = s->extint_pending;
	v->extint_vector = s->extint_vector;
	v->halt_told = false;
	v->kr->ready_for_interrupt_injection = 0;
	atomic_store(&v->req, 0);
	return 0;
}

int kvm_vcpu_set_state(struct engine_vcpu *base, const struct vcpu_state *s)
{
	struct kvm_vcpu *v = kvm_vcpu_of(base);
	struct vcpu_state before;
	int r;

	if (!registers_valid(v, s) || !segments_valid(v, s) || !xsave_valid(v, s) || !under_way_valid(s) ||
	    !pat_valid(s->pat))
		return -EINVAL;
	if (s->pv_called && !v->engine->caps.vmcall)
		return -ENOTSUP; /* the guest's hypercalls would be invalid instructions */
	r = kvm_vcpu_get_state(base, &before);
	if (r)
		return r;
	r = apply(v, s);
	if (r && apply(v, &before))
		return -EIO; /* neither one nor the other: the vCPU is lost */
	return r;
}

void kvm_reset_state(const struct kvm_vcpu *v, struct vcpu_state *s)
{
	enum { P_S_W_A = 0x93, CODE = 8, LDT = 0x82, BUSY_TSS = 0x8b, MASKED = 1 << 16, LVT_FIRST = 0x32, LVT_LAST = 0x37 };
	struct xsave_image x = { .fcw = 0x40, .ftw = 0xff, .mxcsr = 0x1f80, .mxcsr_mask = 0xffff };
	unsigned index = v->base.index;

	memset(s, 0, sizeof(*s));
	s->gpr[RDX] = CPU_SIGNATURE;
	s->rip = 0xfff0;
	s->rflags = FLAG_FIXED;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = (struct vcpu_segment){ .limit = 0xffff, .attr = P_S_W_A };
	s->seg[SEG_CS] = (struct vcpu_segment){ .base = 0xffff0000, .limit = 0xffff, .selector = 0xf000, .attr = P_S_W_A | CODE };
	s->ldt = (struct vcpu_segment){ .limit = 0xffff, .attr = LDT };
	s->tr = (struct vcpu_segment){ .limit = 0xffff, .attr = BUSY_TSS };
	s->gdt = s->idt = (struct vcpu_table){ .limit = 0xffff };
	s->cr0 = 0x60000010;
	s->xcr0 = XCR0_X87;
	s->dr[6] = 0xffff0ff0;
	s->dr[7] = 0x400;
	s->apic_base = 0xfee00000 | 1 << 11 | (index ? 0 : 1 << 8);
	s->pat = 0x0007040600070406;
	s->misc_enable = 0x1801;
	s->smbase = 0x30000;
	x.xstate_bv = cpu_model_image(v->engine->model);
	s->xsave_len = xsave_size(x.xstate_bv, false);
	memcpy(s->xsave, &x, sizeof(x));
	s->lapic[0x2] = index << 24;
	s->lapic[0x3] = 0x14 | 5 << 16 | 1 << 24;
	s->lapic[0xe] = 0xffffffff;
	s->lapic[0xf] = 0xff;
	for (unsigned n = LVT_FIRST; n <= LVT_LAST; n++)
		s->lapic[n] = MASKED;
	/* As firmware leaves the bootstrap processor: ExtINT at LINT0, NMI at LINT1. */
	if (!index) {
		s->lapic[0x35] = 7 << 8;
		s->lapic[0x36] = 4 << 8;
	}
	s->activity = index ? VCPU_WAIT_SIPI : VCPU_RUNNING;
}
