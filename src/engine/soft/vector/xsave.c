// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * XSAVE, XSAVEOPT, XSAVEC, XSAVES, XRSTOR, XRSTORS (SDM vol. 1, 13.4 to 13.12).
 *
 * Components are x87 (0), SSE (1), AVX (2) and, where the model has them, opmasks (5), the upper halves of ZMM0-ZMM15 (6),
 * ZMM16-ZMM31 (7) and PKRU (9). A component is "in use" when it is not in its initial configuration, found by looking at it; there is
 * no modified optimisation. AVX lies at 576 in the compacted format too, because it is the first one
 * behind the header; the places of the others depend on the format.
 *
 * MXCSR and its mask are written by XSAVE and XSAVEOPT, and MXCSR is read by XRSTOR of the standard form,
 * if SSE or AVX is asked for, whatever XSTATE_BV says; in the compacted format they are part of
 * SSE, which then counts as in use when MXCSR is not 1F80H.
 *
 * The header is struct cpu_xsave's; a fault leaves the registers as they were, because everything is
 * read before anything is taken, and the whole area is probed before anything is written.
 */
#include "engine/soft/vector/vector.h"

#include <string.h>

#define OFF(member) offsetof(struct cpu_xsave, member)
#define XCOMP_COMPACTED (1ull << 63)

enum { HEADER = OFF(xstate_bv), HEADER_SIZE = 64, LEGACY_SIZE = 512, AVX_SIZE = 256 };

/* XMM and YMM registers that the mode has. */
static unsigned registers(const struct cpu *c)
{
	return c->mode == INSN_MODE64 ? 16 : 8;
}

static bool is_zero(const void *p, size_t len)
{
	const uint64_t *w = p;
	uint64_t any = 0;

	for (size_t i = 0; i < len / 8; i++)
		any |= w[i];
	return !any;
}

uint64_t vector_xinuse(const struct cpu *c)
{
	const struct cpu_xsave *x = &c->x;
	uint64_t inuse = 0;

	if (x->fcw != FCW_INIT || x->fsw || x->ftw || x->fop || x->fip || x->fdp || !is_zero(x->st, sizeof(x->st)))
		inuse |= XSTATE_X87;
	if (!is_zero(x->xmm, 16 * registers(c)))
		inuse |= XSTATE_SSE;
	if (!is_zero(x->ymm_hi, 16 * registers(c)))
		inuse |= XSTATE_AVX;
	if (c->wide) {
		if (!is_zero(c->z.k, sizeof(c->z.k)))
			inuse |= XSTATE_OPMASK;
		if (!is_zero(c->z.zmm_hi, 32 * registers(c)))
			inuse |= XSTATE_ZMM_HI;
		if (c->mode == INSN_MODE64 && !is_zero(c->z.hi16, sizeof(c->z.hi16)))
			inuse |= XSTATE_HI16_ZMM;
	}
	if (c->pkru)
		inuse |= XSTATE_PKRU;
	return inuse;
}

static uint64_t requested(const struct cpu *c, bool supervisor)
{
	uint64_t mask = c->gpr[RDX] << 32 | (uint32_t)c->gpr[RAX];

	return mask & (c->xcr0 | (supervisor ? c->xss : 0));
}

/* #UD, #NM, #GP; the area's address. @size is for segment limits. */
static uint64_t area_address(struct cpu *c, const struct insn *in, unsigned size, enum mmu_access access)
{
	uint64_t addr;

	if (!(c->cr4 & CR4_OSXSAVE))
		cpu_raise(c, EXC_UD);
	if (c->cr0 & CR0_TS)
		cpu_raise(c, EXC_NM);
	addr = insn_linear(c, in, size, access);
	if (addr & 63)
		cpu_raise_error(c, EXC_GP, 0);
	return addr;
}

/* AVX-512's components: where they are in struct cpu, and what of them the mode has. */
struct part {
	uint64_t bit;
	void *at;
	unsigned size;
};

static void parts(struct cpu *c, struct part p[3])
{
	p[0] = (struct part){ XSTATE_OPMASK, c->z.k, sizeof(c->z.k) };
	p[1] = (struct part){ XSTATE_ZMM_HI, c->z.zmm_hi, 32 * registers(c) };
	p[2] = (struct part){ XSTATE_HI16_ZMM, c->z.hi16, c->mode == INSN_MODE64 ? sizeof(c->z.hi16) : 0 };
}

/* Stores @components of an area with room for @all; MXCSR apart. */
static void store_components(struct cpu *c, const struct insn *in, uint64_t addr, uint64_t components, uint64_t all, bool compacted)
{
	struct cpu_xsave img;
	struct part p[3];

	if (components & XSTATE_X87) {
		memcpy(&img, &c->x, OFF(xmm));
		img.rsvd0 = 0;
		if (!(in->flags & INSN_W)) {
			img.fip = (uint32_t)img.fip;
			img.fdp = (uint32_t)img.fdp;
		}
		mmu_store_bytes(c, in->seg, addr, &img, OFF(mxcsr));
		mmu_store_bytes(c, in->seg, addr + OFF(st), img.st, sizeof(img.st));
	}
	if (components & XSTATE_SSE)
		mmu_store_bytes(c, in->seg, addr + OFF(xmm), c->x.xmm, 16 * registers(c));
	if (components & XSTATE_AVX)
		mmu_store_bytes(c, in->seg, addr + OFF(ymm_hi), c->x.ymm_hi, 16 * registers(c));
	if (components & XSTATE_PKRU)
		mmu_store(c, in->seg, addr + xsave_pkru_offset(all, compacted), XSAVE_PKRU_SIZE, c->pkru);
	if (!(components & XSTATE_AVX512))
		return;
	parts(c, p);
	for (unsigned i = 0; i < 3; i++)
		if ((components & p[i].bit) && p[i].size)
			mmu_store_bytes(c, in->seg, addr + xsave_offset(all, p[i].bit, compacted), p[i].at, p[i].size);
}

static void store_mxcsr(struct cpu *c, const struct insn *in, uint64_t addr)
{
	uint32_t both[2] = { c->x.mxcsr, MXCSR_MASK };

	mmu_store_bytes(c, in->seg, addr + OFF(mxcsr), both, sizeof(both));
}

static void save_standard(struct cpu *c, const struct insn *in, bool optimised)
{
	uint64_t rfbm = requested(c, false), inuse = vector_xinuse(c), bv;
	unsigned size = xsave_size(rfbm, false);
	uint64_t addr = area_address(c, in, size, MMU_WRITE);

	mmu_probe(c, in->seg, addr, size, MMU_WRITE);
	bv = mmu_load(c, in->seg, addr + HEADER, 8);
	store_components(c, in, addr, optimised ? rfbm & inuse : rfbm, rfbm, false);
	if (rfbm & (XSTATE_SSE | XSTATE_AVX))
		store_mxcsr(c, in, addr);
	mmu_store(c, in->seg, addr + HEADER, 8, (bv & ~rfbm) | (inuse & rfbm));
}

static void save_compacted(struct cpu *c, const struct insn *in, bool supervisor)
{
	uint64_t rfbm = requested(c, supervisor), inuse = vector_xinuse(c);
	unsigned size = xsave_size(rfbm, true);
	uint64_t addr = area_address(c, in, size, MMU_WRITE), header[2];

	if (c->x.mxcsr != MXCSR_INIT)
		inuse |= XSTATE_SSE;
	mmu_probe(c, in->seg, addr, size, MMU_WRITE);
	store_components(c, in, addr, rfbm & inuse, rfbm, true);
	if (rfbm & inuse & XSTATE_SSE)
		store_mxcsr(c, in, addr);
	header[0] = rfbm & inuse;
	header[1] = rfbm | XCOMP_COMPACTED;
	mmu_store_bytes(c, in->seg, addr + HEADER, header, sizeof(header));
}

static void xsave(struct cpu *c, const struct insn *in)
{
	save_standard(c, in, false);
}

static void xsaveopt(struct cpu *c, const struct insn *in)
{
	save_standard(c, in, true);
}

static void xsavec(struct cpu *c, const struct insn *in)
{
	save_compacted(c, in, false);
}

static void xsaves(struct cpu *c, const struct insn *in)
{
	save_compacted(c, in, true);
}

/* 13.8 and 13.12: what the header must look like */
static bool header_ok(const struct cpu *c, const uint64_t h[8], bool supervisor)
{
	uint64_t allowed = c->xcr0 | (supervisor ? c->xss : 0);

	if (!(h[1] & XCOMP_COMPACTED))
		return !supervisor && !(h[0] & ~allowed) && !h[1] && !h[2];
	if ((h[1] & ~XCOMP_COMPACTED & ~allowed) || (h[0] & ~(h[1] & ~XCOMP_COMPACTED)))
		return false;
	return is_zero(h + 2, HEADER_SIZE - 16);
}

/* What is not in @bv is zero. @xcomp: of a compacted area, else 0. */
static void load_avx512(struct cpu *c, const struct insn *in, uint64_t addr, uint64_t bv, uint64_t xcomp, struct cpu_avx512 *z)
{
	struct part p[3];

	memset(z, 0, sizeof(*z));
	parts(c, p);
	for (unsigned i = 0; i < 3; i++)
		if ((bv & p[i].bit) && p[i].size)
			mmu_load_bytes(c, in->seg, addr + xsave_offset(xcomp, p[i].bit, xcomp != 0),
				       (uint8_t *)z + ((uint8_t *)p[i].at - (uint8_t *)&c->z), p[i].size);
}

static void take_avx512(struct cpu *c, uint64_t rfbm, const struct cpu_avx512 *z)
{
	struct part p[3];

	parts(c, p);
	for (unsigned i = 0; i < 3; i++)
		if (rfbm & p[i].bit)
			memcpy(p[i].at, (const uint8_t *)z + ((uint8_t *)p[i].at - (uint8_t *)&c->z), p[i].size);
}

static void restore(struct cpu *c, const struct insn *in, bool supervisor)
{
	static const struct cpu_xsave init = { .fcw = FCW_INIT };
	uint64_t rfbm = requested(c, supervisor), header[8], bv, addr;
	uint32_t mxcsr = MXCSR_INIT;
	bool compacted, take_mxcsr;
	struct cpu_xsave img;
	struct cpu_avx512 z;
	uint32_t pkru = 0;

	addr = area_address(c, in, HEADER + HEADER_SIZE, MMU_READ);
	mmu_probe(c, in->seg, addr, 1, MMU_READ); /* the host touches the area's start before it looks at the header */
	mmu_load_bytes(c, in->seg, addr + HEADER, header, sizeof(header));
	if (!header_ok(c, header, supervisor))
		cpu_raise_error(c, EXC_GP, 0);
	bv = header[0] & rfbm;
	compacted = header[1] & XCOMP_COMPACTED;
	take_mxcsr = rfbm & (compacted ? XSTATE_SSE : XSTATE_SSE | XSTATE_AVX);

	img = init;
	if ((bv & (XSTATE_X87 | XSTATE_SSE)) || (take_mxcsr && !compacted)) {
		mmu_load_bytes(c, in->seg, addr, &img, LEGACY_SIZE);
		if (!compacted || (bv & XSTATE_SSE))
			mxcsr = img.mxcsr;
	}
	if (bv & XSTATE_AVX)
		mmu_load_bytes(c, in->seg, addr + OFF(ymm_hi), img.ymm_hi, AVX_SIZE);
	if (bv & XSTATE_PKRU)
		pkru = (uint32_t)mmu_load(c, in->seg, addr + xsave_pkru_offset(header[1], compacted), XSAVE_PKRU_SIZE);
	if (rfbm & XSTATE_AVX512)
		load_avx512(c, in, addr, bv, compacted ? header[1] : 0, &z);
	if (take_mxcsr && (mxcsr & ~(uint32_t)MXCSR_MASK))
		cpu_raise_error(c, EXC_GP, 0);

	if (rfbm & XSTATE_X87)
		x87_take(c, bv & XSTATE_X87 ? &img : &init, in->flags & INSN_W);
	if (rfbm & XSTATE_SSE)
		memcpy(c->x.xmm, bv & XSTATE_SSE ? img.xmm : init.xmm, 16 * registers(c));
	if (rfbm & XSTATE_AVX)
		memcpy(c->x.ymm_hi, bv & XSTATE_AVX ? img.ymm_hi : init.ymm_hi, 16 * registers(c));
	if (rfbm & XSTATE_AVX512)
		take_avx512(c, rfbm, &z);
	if (take_mxcsr)
		c->x.mxcsr = mxcsr;
	if (rfbm & XSTATE_PKRU)
		mmu_set_pkru(c, pkru);
}

static void xrstor(struct cpu *c, const struct insn *in)
{
	restore(c, in, false);
}

static void xrstors(struct cpu *c, const struct insn *in)
{
	restore(c, in, true);
}

insn_fn *bind_xsave(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_XSAVE: return xsave;
	case INSN_ID_XSAVEOPT: return xsaveopt;
	case INSN_ID_XSAVEC: return xsavec;
	case INSN_ID_XSAVES: return xsaves;
	case INSN_ID_XRSTOR: return xrstor;
	case INSN_ID_XRSTORS: return xrstors;
	default: return NULL;
	}
}
