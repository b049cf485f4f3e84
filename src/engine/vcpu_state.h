// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The architectural state of a vCPU, in the one format that every engine gives and takes.
 *
 * Names and bit layouts are the Intel SDM's. Nothing here depends on an engine. Saved as the
 * record "vcpu", one instance a vCPU.
 */
#ifndef SUBRING_ENGINE_VCPU_STATE_H
#define SUBRING_ENGINE_VCPU_STATE_H

#include "state/state.h"

#include <stdbool.h>
#include <stdint.h>

/* Encoding order of the ISA (SDM vol. 2, table 3-1). */
enum gpr { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, GPR_COUNT };
enum segment { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

/* A segment register or LDTR/TR: selector and its cached descriptor. */
struct vcpu_segment {
	uint64_t base;
	uint32_t limit; /* in bytes, granularity applied */
	uint16_t selector;
	/* The descriptor's bits 8-15 and 20-23 in place of bits 0-7 and 12-15 (as in a VMCS): type 0-3,
	 * S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15; bit 16: unusable (null). */
	uint32_t attr;
};

struct vcpu_table {
	uint64_t base;
	uint16_t limit;
};

enum vcpu_activity {
	VCPU_RUNNING,
	VCPU_HALTED,	  /* in HLT */
	VCPU_WAIT_SIPI,	  /* after INIT, waiting for a startup IPI */
	VCPU_SHUTDOWN,
};

/* A local APIC as its registers, one 32-bit word for each 16 bytes of its page (SDM vol. 3, table 11-1). */
enum { LAPIC_WORDS = 64 };

enum { VCPU_XSAVE_SIZE = 4096 };

struct vcpu_state {
	uint64_t gpr[GPR_COUNT];
	uint64_t rip, rflags;
	struct vcpu_segment seg[SEG_COUNT], ldt, tr;
	struct vcpu_table gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, cr8, xcr0;
	uint64_t dr[8]; /* 4 and 5 unused */
	uint64_t efer, apic_base;
	/* MSRs by name */
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, tsc_aux, tsc_adjust, misc_enable, xss, spec_ctrl, debugctl;
	uint64_t mtrr_def_type, mtrr_physbase[8], mtrr_physmask[8], mtrr_fixed[11];
	uint64_t smbase;
	uint64_t pkrs;
	uint64_t mcg_status, mcg_ctl;
	uint64_t pdpte[4]; /* PAE paging: as the last load of CR3 read them */
	uint64_t tsc_delta; /* this vCPU's TSC = the VM clock's TSC + tsc_delta */
	/*
	 * Vector and x87 state, PKRU: XSAVE's standard (not compacted) format, components where cpu_model.h has
	 * them (a host may have PKRU elsewhere); header's XSTATE_BV is true.
	 */
	uint8_t xsave[VCPU_XSAVE_SIZE];
	uint32_t xsave_len; /* bytes of it that count: xsave_size of what the model has */
	/* Local APIC */
	uint32_t lapic[LAPIC_WORDS];
	uint64_t tsc_deadline; /* 0: not armed */
	uint64_t lapic_timer_start_ns; /* VM time at which the current count was last loaded */
	/* What is under way */
	uint8_t activity; /* enum vcpu_activity */
	uint8_t sipi_vector, init_pending, sipi_pending;
	uint8_t nmi_pending; /* 0 to 2: one is taken at once, one waits for its end */
	uint8_t nmi_masked;  /* from an NMI's delivery to the next IRET; in SMM from its entry */
	uint8_t smi_pending, in_smm;
	uint8_t smm_nmi_masked; /* in SMM: NMIs were masked when it was entered, and are after RSM */
	uint32_t smm_debug_pending; /* in SMM: what debug_pending was when it was entered, for after RSM */
	uint32_t debug_pending; /* DR6 bits of a #DB trap that has come up and is not yet delivered */
	uint8_t shadow;	 /* interrupts held off for one instruction: 1 by STI, 2 by MOV/POP SS */
	uint8_t exception_pending, exception_vector, exception_has_error;
	uint32_t exception_error;
	uint8_t extint_pending, extint_vector; /* injected, not yet delivered */
	/* KVM's paravirtual MSRs, as written; the wall clock's is the same for all vCPUs of a VM */
	uint64_t pv_system_time, pv_wall_clock, pv_steal_time, pv_eoi;
	uint8_t pv_called; /* it has made a hypercall, and may do so again wherever it goes on */
	uint8_t pv_kicked; /* KVM_HC_KICK_CPU came while it was not halted: its next HLT is over at once */
};

extern const struct state_class vcpu_state_class;

#endif
