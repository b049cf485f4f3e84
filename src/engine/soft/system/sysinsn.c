// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The remaining privileged and sensitive instructions (SDM vol. 2 under each): TLB and cache
 * control, MSRs, counters, CPUID, STAC and CLAC, and those that only raise #UD.
 */
#include "engine/soft/system/system.h"

#include "host/log.h"

static void invlpg(struct cpu *c, const struct insn *in)
{
	uint64_t lin = insn_ea(c, in) + c->segbase[in->seg];

	need_cpl0(c);
	if (c->mode != INSN_MODE64)
		lin = (uint32_t)lin;
	mmu_flush_page(c, lin);
}

enum { INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL_GLOBAL, INVPCID_ALL };

static void invpcid(struct cpu *c, const struct insn *in)
{
	uint64_t type, lin, desc[2];

	need_cpl0(c);
	type = gpr_get(c, in->reg * 8u, c->mode == INSN_MODE64 ? 8 : 4);
	lin = insn_linear(c, in, 16, MMU_READ);
	mmu_load_bytes(c, in->seg, lin, desc, 16);
	if (type > INVPCID_ALL || desc[0] >> 12)
		raise_gp0(c);
	if (type <= INVPCID_CONTEXT && desc[0] && !(c->cr4 & CR4_PCIDE))
		raise_gp0(c);
	switch (type) {
	case INVPCID_ADDRESS:
		if (!canonical_base(c, desc[1]))
			raise_gp0(c);
		mmu_flush_page_pcid(c, desc[1], (unsigned)desc[0]);
		break;
	case INVPCID_CONTEXT: mmu_flush_pcid(c, (unsigned)desc[0]); break;
	case INVPCID_ALL_GLOBAL: mmu_flush_all(c); break;
	default: mmu_flush_nonglobal(c); break;
	}
}

/* There are no caches that software could tell from memory. */
static void cache_flush(struct cpu *c, const struct insn *in)
{
	need_cpl0(c);
}

/* --- MSRs, counters --- */

static void put_edx_eax(struct cpu *c, uint64_t v)
{
	c->gpr[RAX] = (uint32_t)v;
	c->gpr[RDX] = v >> 32;
}

static void rdmsr(struct cpu *c, const struct insn *in)
{
	uint64_t v = 0;

	need_cpl0(c);
	if (msr_read(c, (uint32_t)c->gpr[RCX], &v)) {
		if (trace_on(TRACE_CPU))
			trace(TRACE_CPU, "cpu%u RDMSR %x: #GP", c->index, (uint32_t)c->gpr[RCX]);
		raise_gp0(c);
	}
	put_edx_eax(c, v);
}

static void wrmsr(struct cpu *c, const struct insn *in)
{
	uint32_t index = (uint32_t)c->gpr[RCX];
	uint64_t v = (uint32_t)c->gpr[RAX] | c->gpr[RDX] << 32;
	int bad;

	need_cpl0(c);
	bad = msr_write(c, index, v);
	if (trace_on(TRACE_CPU) && (bad || index != 0x6e0)) /* not each timer deadline */
		trace(TRACE_CPU, "cpu%u WRMSR %x = %016llx%s", c->index, index, (unsigned long long)v,
		      bad ? ": #GP" : "");
	if (bad)
		raise_gp0(c);
	c->attn = c->brk = 1; /* it may have been the local APIC's */
}

static void check_tsd(struct cpu *c)
{
	if (c->cpl && (c->cr4 & CR4_TSD))
		raise_gp0(c);
}

static void rdtsc(struct cpu *c, const struct insn *in)
{
	check_tsd(c);
	put_edx_eax(c, cpu_tsc(c));
}

static void rdtscp(struct cpu *c, const struct insn *in)
{
	check_tsd(c);
	put_edx_eax(c, cpu_tsc(c));
	c->gpr[RCX] = (uint32_t)c->tsc_aux;
}

static void rdpid(struct cpu *c, const struct insn *in)
{
	gpr_put(c, in->rm * 8u, c->mode == INSN_MODE64 ? 8 : 4, (uint32_t)c->tsc_aux);
}

/* CPUID leaf 0AH says that there are no counters. */
static void rdpmc(struct cpu *c, const struct insn *in)
{
	raise_gp0(c);
}

void cpuid_query(const struct cpu *c, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	const struct cpuid_view view = {
		.model = c->vm->model,
		.index = c->index,
		.count = c->vm->count,
		.tsc_hz = c->vm->clock.tsc_hz,
		.cr4 = c->cr4,
		.xcr0 = c->xcr0,
		.xss = c->xss,
		.apic_base = c->apic_base,
		.misc_enable = c->misc_enable,
		.mode64 = c->mode == INSN_MODE64,
	};

	cpuid_answer(&view, leaf, subleaf, out);
}

static void cpuid(struct cpu *c, const struct insn *in)
{
	uint32_t leaf = (uint32_t)c->gpr[RAX], sub = (uint32_t)c->gpr[RCX], out[4];

	cpuid_query(c, leaf, sub, out);
	c->gpr[RAX] = out[0];
	c->gpr[RBX] = out[1];
	c->gpr[RCX] = out[2];
	c->gpr[RDX] = out[3];
	if (trace_on(TRACE_CPU))
		trace(TRACE_CPU, "cpu%u CPUID %x.%x: %08x %08x %08x %08x", c->index, leaf, sub, out[0], out[1], out[2],
		      out[3]);
}

/* --- SMAP --- */

static void set_ac(struct cpu *c, bool ac)
{
	if (c->cpl)
		cpu_raise(c, EXC_UD);
	if (ac == !!(c->sysflags & RF_AC))
		return;
	c->sysflags ^= RF_AC;
	/* Only the view of memory depends on AC at CPL 0; the block goes on where it is. */
	mmu_select(c);
}

static void stac(struct cpu *c, const struct insn *in)
{
	set_ac(c, true);
}

static void clac(struct cpu *c, const struct insn *in)
{
	set_ac(c, false);
}

/* --- what the model does not have, or only in a mode that it does not have --- */

static void undefined(struct cpu *c, const struct insn *in)
{
	cpu_raise(c, EXC_UD);
}

insn_fn *bind_sysinsn(struct cpu *c, const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_INVLPG: return invlpg;
	case INSN_ID_INVPCID: return invpcid;
	case INSN_ID_INVD:
	case INSN_ID_WBINVD: return cache_flush;
	case INSN_ID_RDMSR: return rdmsr;
	case INSN_ID_WRMSR: return wrmsr;
	case INSN_ID_RDTSC: return rdtsc;
	case INSN_ID_RDTSCP: return rdtscp;
	case INSN_ID_RDPID: return rdpid;
	case INSN_ID_RDPMC: return rdpmc;
	case INSN_ID_CPUID: return cpuid;
	case INSN_ID_STAC: return stac;
	case INSN_ID_CLAC: return clac;
	case INSN_ID_VMCALL:
	case INSN_ID_VMMCALL: return pv_hypercall;
	case INSN_ID_UD0:
	case INSN_ID_UD1:
	case INSN_ID_UD2: return undefined;
	default: return NULL;
	}
}
