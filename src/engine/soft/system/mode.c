// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What follows from CR0, CR4, EFER, CS, SS, CPL and RFLAGS; and the state after RESET, INIT and a
 * startup IPI (SDM vol. 3, 9.1 and table 9-1; 8.4 for MP initialization).
 *
 * One deviation: the TSC is not cleared by RESET. It is the VM clock, and clearing it on each vCPU
 * at a different moment would tear the vCPUs' TSCs apart.
 */
#include "engine/soft/system/system.h"
#include "engine/soft/translate/legacy.h"

#include <string.h>

void cpu_mode_changed(struct cpu *c)
{
	bool vm86 = in_vm86(c);
	const struct vcpu_segment *cs = &c->seg[SEG_CS];

	c->real = !(c->cr0 & CR0_PE) || vm86;
	if (c->real)
		c->cpl = vm86 ? 3 : 0;
	if (cpu_long_mode(c) && (cs->attr & ATTR_L))
		c->mode = INSN_MODE64;
	else
		c->mode = cs->attr & ATTR_DB ? INSN_MODE32 : INSN_MODE16;
	c->flat = c->mode == INSN_MODE64;
	c->linear57 = cpu_long_mode(c) && (c->cr4 & CR4_LA57);
	if (c->flat) {
		c->segbase[SEG_ES] = c->segbase[SEG_CS] = c->segbase[SEG_SS] = c->segbase[SEG_DS] = 0;
		c->segbase[SEG_FS] = c->seg[SEG_FS].base;
		c->segbase[SEG_GS] = c->seg[SEG_GS].base;
		c->stack_size = 8;
	} else {
		for (unsigned i = 0; i < SEG_COUNT; i++)
			c->segbase[i] = c->seg[i].base;
		c->stack_size = c->seg[SEG_SS].attr & ATTR_DB ? 4 : 2;
	}
	c->align_check = c->cpl == 3 && (c->cr0 & CR0_AM) && (c->sysflags & RF_AC);
	segments_changed(c);
	mmu_select(c);
	c->brk = 1;
}

void rflags_changed(struct cpu *c, uint64_t old)
{
	c->brk = 1;
	if ((old ^ c->sysflags) & (RF_AC | RF_VM))
		cpu_mode_changed(c);
}

/* --- RESET and INIT --- */

static void reset_segments(struct cpu *c)
{
	for (unsigned i = 0; i < SEG_COUNT; i++)
		c->seg[i] = (struct vcpu_segment){ .limit = 0xffff, .attr = ATTR_P | ATTR_S | TYPE_W | TYPE_A };
	c->seg[SEG_CS].selector = 0xf000;
	c->seg[SEG_CS].base = 0xffff0000;
	c->seg[SEG_CS].attr |= TYPE_CODE;
	c->ldt = (struct vcpu_segment){ .limit = 0xffff, .attr = ATTR_P | SYS_LDT };
	c->tr = (struct vcpu_segment){ .limit = 0xffff, .attr = ATTR_P | SYS_TSS_BUSY };
	c->gdt = c->idt = (struct vcpu_table){ .limit = 0xffff };
}

/* What RESET changes and INIT leaves alone. */
static void reset_only(struct cpu *c)
{
	c->cr0 = CR0_CD | CR0_NW | CR0_ET;
	c->xcr0 = XCR0_X87;
	c->star = c->lstar = c->cstar = c->sfmask = c->kernel_gs_base = 0;
	c->sysenter_cs = c->sysenter_esp = c->sysenter_eip = 0;
	c->pat = PAT_RESET;
	c->misc_enable = MISC_ENABLE_RESET | (cpu_model_has(c->vm->model, FEAT_MONITOR) ? MISC_ENABLE_MONITOR : 0);
	c->tsc_aux = c->xss = c->spec_ctrl = c->debugctl = 0;
	c->tsc_offset -= c->tsc_delta;
	c->tsc_delta = c->tsc_adjust = 0;
	c->mtrr_def_type = 0;
	memset(c->mtrr_physbase, 0, sizeof(c->mtrr_physbase));
	memset(c->mtrr_physmask, 0, sizeof(c->mtrr_physmask));
	memset(c->mtrr_fixed, 0, sizeof(c->mtrr_fixed));
	c->pkru = c->pkrs = 0;
	c->mcg_status = c->mcg_ctl = 0;
	memset(c->pdpte, 0, sizeof(c->pdpte));
	c->smbase = 0x30000;
	c->in_smm = 0;
	c->apic_base = 0xfee00000 | MSR_APIC_BASE_EN | (c->index ? 0 : MSR_APIC_BASE_BSP);
	c->pending_exit = 0;
}

void cpu_reset(struct cpu *c, bool init)
{
	if (init)
		c->cr0 = (c->cr0 & (CR0_CD | CR0_NW)) | CR0_ET;
	else
		reset_only(c);
	memset(c->gpr, 0, sizeof(c->gpr));
	c->gpr[RDX] = CPU_SIGNATURE;
	c->gpr[GPR_RIP] = 0xfff0;
	c->flags = 0;
	c->sysflags = RF_FIXED;
	reset_segments(c);
	c->cr2 = c->cr3 = c->cr4 = c->efer = 0;
	debug_reset(c);
	monitor_finish(c);
	c->cpl = 0;
	c->shadow = c->shadow_was = 0;
	c->nmi_pending = c->nmi_masked = c->smi_pending = 0;
	c->smm = (struct cpu_smm){ 0 };
	c->extint_pending = c->exc_pending = 0;
	c->exc_depth = 0;
	c->delivering = -1;
	cpu_replay_done(c);
	c->activity = c->apic_base & MSR_APIC_BASE_BSP ? VCPU_RUNNING : VCPU_WAIT_SIPI;
	vector_reset(c, init);
	pv_reset(c, init);
	lapic_reset(c, init);
	mmu_flush_all(c);
	cpu_mode_changed(c);
	c->attn = 1;
}

void cpu_sipi(struct cpu *c, unsigned vector)
{
	struct vcpu_segment *cs = &c->seg[SEG_CS];

	cs->selector = (uint16_t)((vector & 0xff) << 8);
	cs->base = (uint64_t)(vector & 0xff) << 12;
	c->gpr[GPR_RIP] = 0;
	c->activity = VCPU_RUNNING;
	cpu_mode_changed(c);
}
