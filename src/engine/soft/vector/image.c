// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * FXSAVE and FXRSTOR (SDM vol. 1, 10.5), LDMXCSR and STMXCSR, VZEROUPPER and VZEROALL, the state
 * after RESET.
 *
 * The image is struct cpu_xsave's first part as it stands, but for three things: without REX.W
 * FIP and FDP have 32 bits, with a selector (0 here) above them; outside 64-bit mode XMM8-XMM15 are
 * neither stored nor loaded; with CR4.OSFXSR clear no XMM register and no MXCSR is.
 */
#include "engine/soft/vector/vector.h"

#include <string.h>

enum { IMAGE_SIZE = 512 };

#define OFF(member) offsetof(struct cpu_xsave, member)

static uint64_t image_address(struct cpu *c, const struct insn *in, enum mmu_access access)
{
	uint64_t addr;

	if (c->cr0 & (CR0_EM | CR0_TS))
		cpu_raise(c, EXC_NM);
	addr = insn_linear(c, in, IMAGE_SIZE, access);
	if (addr & 15) {
		vector_check_canonical(c, in->seg, addr, 4); /* the host looks at the first four bytes' addresses first */
		cpu_raise_error(c, EXC_GP, 0);
	}
	return addr;
}

static void fxsave(struct cpu *c, const struct insn *in)
{
	uint64_t addr = image_address(c, in, MMU_WRITE);
	struct cpu_xsave img;

	memcpy(&img, &c->x, IMAGE_SIZE);
	img.rsvd0 = 0;
	img.mxcsr_mask = MXCSR_MASK;
	if (!(in->flags & INSN_W)) {
		img.fip = (uint32_t)img.fip;
		img.fdp = (uint32_t)img.fdp;
	}
	mmu_probe(c, in->seg, addr, IMAGE_SIZE, MMU_WRITE);
	if (c->cr4 & CR4_OSFXSR) {
		mmu_store_bytes(c, in->seg, addr, &img,
				c->mode == INSN_MODE64 ? OFF(xmm[16]) : OFF(xmm[8]));
		return;
	}
	mmu_store_bytes(c, in->seg, addr, &img, OFF(mxcsr));
	mmu_store_bytes(c, in->seg, addr + OFF(st), img.st, sizeof(img.st));
}

static void fxrstor(struct cpu *c, const struct insn *in)
{
	uint64_t addr = image_address(c, in, MMU_READ);
	struct cpu_xsave img;
	bool sse = c->cr4 & CR4_OSFXSR;

	mmu_load_bytes(c, in->seg, addr, &img, IMAGE_SIZE);
	if (sse && (img.mxcsr & ~MXCSR_MASK))
		cpu_raise_error(c, EXC_GP, 0);
	x87_take(c, &img, in->flags & INSN_W);
	if (!sse)
		return;
	c->x.mxcsr = img.mxcsr;
	memcpy(c->x.xmm, img.xmm, c->mode == INSN_MODE64 ? sizeof(img.xmm) : sizeof(img.xmm) / 2);
}

void x87_take(struct cpu *c, const struct cpu_xsave *img, bool wide)
{
	struct cpu_xsave *x = &c->x;

	x->fsw = img->fsw;
	x->ftw = img->ftw;
	x->fop = img->fop & 0x7ff;
	x->fip = wide ? img->fip : (uint32_t)img->fip;
	x->fdp = wide ? img->fdp : (uint32_t)img->fdp;
	for (unsigned i = 0; i < 8; i++)
		memcpy(x->st[i], img->st[i], 10);
	x87_set_fcw(c, img->fcw);
	x87_update_es(c);
}

/* --- MXCSR --- */

static void load_mxcsr(struct cpu *c, const struct insn *in)
{
	uint32_t v = (uint32_t)mmu_load(c, in->seg, insn_linear(c, in, 4, MMU_READ), 4);

	if (v & ~(uint32_t)MXCSR_MASK)
		cpu_raise_error(c, EXC_GP, 0);
	c->x.mxcsr = v;
}

static void store_mxcsr(struct cpu *c, const struct insn *in)
{
	mmu_store(c, in->seg, insn_linear(c, in, 4, MMU_WRITE), 4, c->x.mxcsr);
}

static void ldmxcsr(struct cpu *c, const struct insn *in)
{
	check_sse(c);
	load_mxcsr(c, in);
}

static void stmxcsr(struct cpu *c, const struct insn *in)
{
	check_sse(c);
	store_mxcsr(c, in);
}

static void vldmxcsr(struct cpu *c, const struct insn *in)
{
	check_avx(c);
	load_mxcsr(c, in);
}

static void vstmxcsr(struct cpu *c, const struct insn *in)
{
	check_avx(c);
	store_mxcsr(c, in);
}

/* --- whole registers; outside 64-bit mode there are eight --- */

static void vzeroupper(struct cpu *c, const struct insn *in)
{
	check_avx(c);
	memset(c->x.ymm_hi, 0, c->mode == INSN_MODE64 ? sizeof(c->x.ymm_hi) : sizeof(c->x.ymm_hi) / 2);
	memset(c->z.zmm_hi, 0, c->mode == INSN_MODE64 ? sizeof(c->z.zmm_hi) : sizeof(c->z.zmm_hi) / 2);
}

static void vzeroall(struct cpu *c, const struct insn *in)
{
	vzeroupper(c, in);
	memset(c->x.xmm, 0, c->mode == INSN_MODE64 ? sizeof(c->x.xmm) : sizeof(c->x.xmm) / 2);
}

/* SDM vol. 3, table 10-1: INIT leaves all of this as it is. */
void vector_reset(struct cpu *c, bool init)
{
	if (init)
		return;
	memset(&c->x, 0, sizeof(c->x));
	memset(&c->z, 0, sizeof(c->z));
	c->x.fcw = 0x40;
	c->x.ftw = 0xff; /* FTW is 5555H: all zero, none empty */
	c->x.mxcsr = MXCSR_INIT;
	c->x.mxcsr_mask = MXCSR_MASK;
}

insn_fn *bind_image(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_FXSAVE: return fxsave;
	case INSN_ID_FXRSTOR: return fxrstor;
	case INSN_ID_LDMXCSR: return ldmxcsr;
	case INSN_ID_STMXCSR: return stmxcsr;
	case INSN_ID_VLDMXCSR: return vldmxcsr;
	case INSN_ID_VSTMXCSR: return vstmxcsr;
	case INSN_ID_VZEROUPPER: return vzeroupper;
	case INSN_ID_VZEROALL: return vzeroall;
	default: return NULL;
	}
}
