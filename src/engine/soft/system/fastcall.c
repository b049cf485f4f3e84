// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SYSCALL SYSRET SYSENTER SYSEXIT SWAPGS RDFSBASE and kin, as Intel's processors have them (SDM vol. 2 under
 * each; vol. 3, 5.8.7 and 5.8.8): SYSCALL and SYSRET only in 64-bit mode, SYSENTER and SYSEXIT in
 * every protected mode. Segments are made up, no descriptor is read.
 */
#include "engine/soft/system/system.h"

enum { FLAT_ATTR = ATTR_P | ATTR_S | ATTR_G | TYPE_A | TYPE_W };

static struct vcpu_segment flat_code(uint16_t sel, unsigned dpl, bool l)
{
	return (struct vcpu_segment){
		.limit = 0xffffffff, .selector = sel,
		.attr = FLAT_ATTR | TYPE_CODE | dpl << 5 | (l ? ATTR_L : ATTR_DB),
	};
}

static struct vcpu_segment flat_stack(uint16_t sel, unsigned dpl)
{
	return (struct vcpu_segment){ .limit = 0xffffffff, .selector = sel, .attr = FLAT_ATTR | ATTR_DB | dpl << 5 };
}

static void need_syscall(struct cpu *c)
{
	if (c->mode != INSN_MODE64 || !(c->efer & EFER_SCE))
		cpu_raise(c, EXC_UD);
}

static void syscall(struct cpu *c, const struct insn *in)
{
	uint16_t sel = (uint16_t)(c->star >> 32) & SEL_ERROR;
	struct vcpu_segment cs = flat_code(sel, 0, true);
	uint64_t flags;

	need_syscall(c);
	flags = cpu_rflags(c) & ~(uint64_t)RF_RF;
	c->gpr[RCX] = c->gpr[GPR_RIP];
	c->gpr[R11] = flags;
	c->seg[SEG_SS] = flat_stack((uint16_t)(sel + 8), 0);
	cpu_set_rflags(c, flags & ~c->sfmask);
	seg_commit_code(c, &cs, 0, c->lstar);
}

static void sysret(struct cpu *c, const struct insn *in)
{
	uint16_t star = (uint16_t)(c->star >> 48);
	bool wide = in->opsize == 8;
	struct vcpu_segment cs;

	need_syscall(c);
	need_cpl0(c);
	if (wide && !cpu_canonical(c, c->gpr[RCX]))
		raise_gp0(c);
	cs = flat_code((uint16_t)((star + (wide ? 16 : 0)) | 3), 3, wide);
	c->seg[SEG_SS] = flat_stack((uint16_t)((star + 8) | 3), 3);
	cpu_set_rflags(c, c->gpr[R11] & 0x3c7fd7);
	seg_commit_code(c, &cs, 3, wide ? c->gpr[RCX] : (uint32_t)c->gpr[RCX]);
	if (c->sysflags & RF_TF) /* unlike IRET, it traps before the next instruction */
		debug_trap(c, DR6_BS);
}

static void sysenter(struct cpu *c, const struct insn *in)
{
	uint16_t sel = (uint16_t)c->sysenter_cs & SEL_ERROR;
	bool lm = cpu_long_mode(c);
	struct vcpu_segment cs = flat_code(sel, 0, lm);

	if (!(c->cr0 & CR0_PE) || !sel)
		raise_gp0(c);
	c->sysflags &= ~(uint32_t)(RF_VM | RF_IF | RF_RF);
	c->seg[SEG_SS] = flat_stack((uint16_t)(sel + 8), 0);
	c->gpr[RSP] = lm ? c->sysenter_esp : (uint32_t)c->sysenter_esp;
	seg_commit_code(c, &cs, 0, lm ? c->sysenter_eip : (uint32_t)c->sysenter_eip);
}

static void sysexit(struct cpu *c, const struct insn *in)
{
	uint16_t sel = (uint16_t)c->sysenter_cs & SEL_ERROR;
	bool wide = in->opsize == 8;
	uint64_t rip = c->gpr[RDX], rsp = c->gpr[RCX];
	struct vcpu_segment cs;

	if (c->real || !sel || c->cpl)
		raise_gp0(c);
	if (!wide) {
		rip = (uint32_t)rip;
		rsp = (uint32_t)rsp;
	} else if (!cpu_canonical(c, rip) || !cpu_canonical(c, rsp)) {
		raise_gp0(c);
	}
	cs = flat_code((uint16_t)((sel + (wide ? 32 : 16)) | 3), 3, wide);
	c->seg[SEG_SS] = flat_stack((uint16_t)((sel + (wide ? 40 : 24)) | 3), 3);
	c->gpr[RSP] = rsp;
	seg_commit_code(c, &cs, 3, rip);
}

/* --- FS and GS base --- */

static void swapgs(struct cpu *c, const struct insn *in)
{
	uint64_t base = c->seg[SEG_GS].base;

	if (c->mode != INSN_MODE64)
		cpu_raise(c, EXC_UD);
	need_cpl0(c);
	c->seg[SEG_GS].base = c->segbase[SEG_GS] = c->kernel_gs_base;
	c->kernel_gs_base = base;
}

static void need_fsgsbase(struct cpu *c)
{
	if (c->mode != INSN_MODE64 || !(c->cr4 & CR4_FSGSBASE))
		cpu_raise(c, EXC_UD);
}

static void rdbase(struct cpu *c, const struct insn *in)
{
	need_fsgsbase(c);
	gpr_put(c, in->rm_off, in->opsize == 8 ? 8 : 4, c->seg[in->id == INSN_ID_RDFSBASE ? SEG_FS : SEG_GS].base);
}

static void wrbase(struct cpu *c, const struct insn *in)
{
	unsigned seg = in->id == INSN_ID_WRFSBASE ? SEG_FS : SEG_GS;
	uint64_t v;

	need_fsgsbase(c);
	v = gpr_get(c, in->rm_off, in->opsize == 8 ? 8 : 4);
	if (!canonical_base(c, v))
		raise_gp0(c);
	c->seg[seg].base = c->segbase[seg] = v;
}

insn_fn *bind_fastcall(struct cpu *c, const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_SYSCALL: return syscall;
	case INSN_ID_SYSRET: return sysret;
	case INSN_ID_SYSENTER: return sysenter;
	case INSN_ID_SYSEXIT: return sysexit;
	case INSN_ID_SWAPGS: return swapgs;
	case INSN_ID_RDFSBASE:
	case INSN_ID_RDGSBASE: return rdbase;
	case INSN_ID_WRFSBASE:
	case INSN_ID_WRGSBASE: return wrbase;
	default: return NULL;
	}
}
