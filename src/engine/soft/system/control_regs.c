// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CR0-CR8 and XCR0: SDM vol. 3, 2.5 (control registers), 2.6 (XCR0), 4.10.4 (what invalidates
 * translations), 9.8.5 (IA-32e mode); vol. 2, MOV to and from them.
 *
 * The software TLB holds permissions as CR0.WP, CR4.SMEP and CR4.SMAP make them, so it is flushed
 * on more changes than a processor needs to.
 */
#include "engine/soft/system/system.h"

#include "host/log.h"

#include <string.h>

#define CR0_FLUSH (CR0_PE | CR0_WP | CR0_PG)
#define CR4_FLUSH (CR4_PSE | CR4_PAE | CR4_PGE | CR4_LA57 | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_PKS)
/* Bits whose change makes PAE paging load the PDPTEs (4.4.1). */
#define CR0_PDPTE (CR0_PG | CR0_CD | CR0_NW)
#define CR4_PDPTE (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)

/* PAE paging of 32-bit mode */
static bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA);
}

/* Loads the PDPTEs from the table at @cr3, or raises #GP(0) and leaves them as they were. */
static void load_pdptes(struct cpu *c, uint64_t cr3)
{
	uint64_t pdpte[4];

	if (!mmu_pdptes_read(c, cr3, pdpte))
		raise_gp0(c);
	memcpy(c->pdpte, pdpte, sizeof(pdpte));
}

/* --- CR0 --- */

/* Turning paging on with EFER.LME (9.8.5 and 9.8.5.3). */
static void check_enter_long(struct cpu *c)
{
	unsigned tss = c->tr.attr & ATTR_TYPE;

	if (!(c->cr4 & CR4_PAE) || (c->seg[SEG_CS].attr & ATTR_L) || tss == SYS_TSS16 || tss == SYS_TSS16_BUSY)
		raise_gp0(c);
}

static void cr0_write(struct cpu *c, uint64_t v)
{
	uint64_t old = c->cr0, changed, efer = c->efer;

	if (v >> 32)
		raise_gp0(c);
	v = (v & CR0_KNOWN) | CR0_ET;
	changed = v ^ old;
	if (((v & CR0_PG) && !(v & CR0_PE)) || ((v & CR0_NW) && !(v & CR0_CD)))
		raise_gp0(c);
	if (!(v & CR0_PG) && (c->cr4 & CR4_PCIDE))
		raise_gp0(c);
	if (changed & CR0_PG) {
		if (v & CR0_PG) {
			if (efer & EFER_LME) {
				check_enter_long(c);
				efer |= EFER_LMA;
			}
		} else {
			if (c->mode == INSN_MODE64)
				raise_gp0(c);
			efer &= ~(uint64_t)EFER_LMA;
		}
	}
	if (pae_paging(v, c->cr4, efer) && (changed & CR0_PDPTE))
		load_pdptes(c, c->cr3);
	c->cr0 = v;
	c->efer = efer;
	if (changed & CR0_FLUSH)
		mmu_flush_all(c);
	if (changed & (CR0_FLUSH | CR0_AM))
		cpu_mode_changed(c);
	c->brk = 1;
}

/* --- CR3 --- */

static void cr3_write(struct cpu *c, uint64_t v)
{
	if (cpu_long_mode(c)) {
		uint64_t reserved = ~((1ull << CPU_PHYS_BITS) - 1);

		if (c->cr4 & CR4_PCIDE)
			reserved &= ~(1ull << 63);
		if (v & reserved)
			raise_gp0(c);
	} else {
		v = (uint32_t)v;
		if (pae_paging(c->cr0, c->cr4, c->efer))
			load_pdptes(c, v);
	}
	mmu_load_cr3(c, v);
	c->brk = 1;
}

bool cr3_switch(struct cpu *c, uint32_t value)
{
	uint64_t pdpte[4];

	if (pae_paging(c->cr0, c->cr4, c->efer)) {
		if (!mmu_pdptes_read(c, value, pdpte))
			return false;
		memcpy(c->pdpte, pdpte, sizeof(pdpte));
	}
	mmu_load_cr3(c, value);
	c->brk = 1;
	return true;
}

/* --- CR4 --- */

static void cr4_write(struct cpu *c, uint64_t v)
{
	uint64_t old = c->cr4, changed = v ^ old;

	if (v & ~cr4_known(c->vm->model))
		raise_gp0(c);
	if (cpu_long_mode(c) && (!(v & CR4_PAE) || (changed & CR4_LA57)))
		raise_gp0(c);
	if ((v & CR4_PCIDE) && (changed & CR4_PCIDE) && (!cpu_long_mode(c) || (c->cr3 & 0xfff)))
		raise_gp0(c);
	if (pae_paging(c->cr0, v, c->efer) && (changed & CR4_PDPTE))
		load_pdptes(c, c->cr3);
	c->cr4 = v;
	if (changed & CR4_FLUSH) {
		mmu_flush_all(c);
		cpu_mode_changed(c);
	}
	c->brk = 1;
}

/* --- by number --- */

void cr_write(struct cpu *c, unsigned n, uint64_t value)
{
	if (trace_on(TRACE_CPU) && n != 8 && n != 3)
		trace(TRACE_CPU, "cpu%u CR%u = %016llx", c->index, n, (unsigned long long)value);
	switch (n) {
	case 0: cr0_write(c, value); break;
	case 2: c->cr2 = value; break;
	case 3: cr3_write(c, value); break;
	case 4: cr4_write(c, value); break;
	case 8:
		if (value >> 4)
			raise_gp0(c);
		lapic_set_cr8(c, value);
		c->attn = c->brk = 1;
		break;
	default: cpu_raise(c, EXC_UD);
	}
}

uint64_t cr_read(struct cpu *c, unsigned n)
{
	switch (n) {
	case 0: return c->cr0;
	case 2: return c->cr2;
	case 3: return c->cr3;
	case 4: return c->cr4;
	case 8: return lapic_cr8(c);
	default: cpu_raise(c, EXC_UD);
	}
}

/* LMSW: MP, EM, TS; PE can only be set. */
static void lmsw(struct cpu *c, const struct insn *in)
{
	uint64_t v;

	need_cpl0(c);
	v = operand16(c, in) & 15;
	cr0_write(c, (c->cr0 & ~0xeull) | v);
}

static void smsw(struct cpu *c, const struct insn *in)
{
	check_umip(c);
	if (in->flags & INSN_MEM)
		operand16_put(c, in, (uint16_t)c->cr0);
	else
		gpr_put(c, in->rm_off, in->opsize, c->cr0);
}

static void clts(struct cpu *c, const struct insn *in)
{
	need_cpl0(c);
	c->cr0 &= ~(uint64_t)CR0_TS;
	c->brk = 1;
}

static unsigned natural_size(const struct cpu *c)
{
	return c->mode == INSN_MODE64 ? 8 : 4;
}

static void mov_from_cr(struct cpu *c, const struct insn *in)
{
	uint64_t v;

	need_cpl0(c);
	v = cr_read(c, in->reg);
	gpr_put(c, in->rm * 8u, natural_size(c), v);
}

static void mov_to_cr(struct cpu *c, const struct insn *in)
{
	need_cpl0(c);
	cr_write(c, in->reg, gpr_get(c, in->rm * 8u, natural_size(c)));
}

/* --- XCR0 --- */

bool xcr0_valid(const struct cpu_model *m, uint64_t v)
{
	if ((v & ~cpu_model_xcr0(m)) || !(v & XCR0_X87))
		return false;
	if ((v & XCR0_AVX512) && ((v & XCR0_AVX512) != XCR0_AVX512 || !(v & XCR0_AVX)))
		return false;
	return !(v & XCR0_AVX) || (v & XCR0_SSE);
}

static void xgetbv(struct cpu *c, const struct insn *in)
{
	uint64_t v;

	if (!(c->cr4 & CR4_OSXSAVE))
		cpu_raise(c, EXC_UD);
	switch ((uint32_t)c->gpr[RCX]) {
	case 0: v = c->xcr0; break;
	case 1:
		if (!cpu_model_has(c->vm->model, FEAT_XGETBV1))
			raise_gp0(c);
		v = c->xcr0 & vector_xinuse(c);
		break;
	default: raise_gp0(c);
	}
	c->gpr[RAX] = (uint32_t)v;
	c->gpr[RDX] = v >> 32;
}

static void xsetbv(struct cpu *c, const struct insn *in)
{
	uint64_t v = (uint32_t)c->gpr[RAX] | c->gpr[RDX] << 32;

	if (!(c->cr4 & CR4_OSXSAVE))
		cpu_raise(c, EXC_UD);
	if (c->cpl || (uint32_t)c->gpr[RCX] || !xcr0_valid(c->vm->model, v))
		raise_gp0(c);
	c->xcr0 = v;
	c->brk = 1;
	if (trace_on(TRACE_CPU))
		trace(TRACE_CPU, "cpu%u XCR0 = %llx", c->index, (unsigned long long)v);
}

/* --- PKRU (vol. 2, RDPKRU and WRPKRU) --- */

static void check_pke(struct cpu *c)
{
	if (!(c->cr4 & CR4_PKE))
		cpu_raise(c, EXC_UD);
	if ((uint32_t)c->gpr[RCX])
		raise_gp0(c);
}

static void rdpkru(struct cpu *c, const struct insn *in)
{
	check_pke(c);
	c->gpr[RAX] = c->pkru;
	c->gpr[RDX] = 0;
}

static void wrpkru(struct cpu *c, const struct insn *in)
{
	check_pke(c);
	if ((uint32_t)c->gpr[RDX])
		raise_gp0(c);
	mmu_set_pkru(c, (uint32_t)c->gpr[RAX]);
}

insn_fn *bind_control_regs(struct cpu *c, const struct insn *in)
{
	bool from = opcode_table[in->row].opnd[0].kind == OPND_R;

	switch (in->id) {
	case INSN_ID_MOV_CR: return from ? mov_from_cr : mov_to_cr;
	case INSN_ID_LMSW: return lmsw;
	case INSN_ID_SMSW: return smsw;
	case INSN_ID_CLTS: return clts;
	case INSN_ID_XGETBV: return xgetbv;
	case INSN_ID_XSETBV: return xsetbv;
	case INSN_ID_RDPKRU: return rdpkru;
	case INSN_ID_WRPKRU: return wrpkru;
	default: return NULL;
	}
}
