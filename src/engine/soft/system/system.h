// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Private to system/: descriptors, stacks, and what the files share.
 *
 *   insns.c         bind_system: which handler an instruction gets
 *   segment.c       descriptors, segment registers, LDTR and TR, limit checks
 *   seginsn.c       MOV/PUSH/POP/LxS of segment registers, LAR LSL VERR VERW ARPL
 *   far.c           far CALL, JMP, RET; call gates
 *   iret.c          IRET
 *   task.c          hardware task switches
 *   fastcall.c      SYSCALL SYSRET SYSENTER SYSEXIT SWAPGS, FS and GS base
 *   deliver.c       interrupts and exceptions through the IVT or IDT; INT n and its kin
 *   mode.c          what follows from CR0, CR4, EFER and CS; RESET, INIT, SIPI
 *   control_regs.c  CR0-CR8, XCR0
 *   debug.c         DR0-DR7, breakpoints, #DB
 *   smm.c           system management mode: SMI, RSM
 *   idle.c          HLT, MONITOR, MWAIT, PAUSE
 *   sysinsn.c       the other privileged instructions
 *   msr.c           model-specific registers
 *   io.c            I/O permission; IN, OUT
 *   state.c         struct cpu <-> struct vcpu_state
 */
#ifndef SUBRING_ENGINE_SOFT_SYSTEM_H
#define SUBRING_ENGINE_SOFT_SYSTEM_H

#include "engine/soft/interp/interp.h"
#include "engine/soft/soft.h"

/* --- descriptors (SDM vol. 3, 3.4.5 and 3.5) --- */

/* A descriptor as it lies in its table; high is only read for 16-byte ones. */
struct desc {
	uint64_t low, high;
	uint64_t linear;
};

/* Types of system descriptors (S = 0), SDM vol. 3, table 3-2. */
enum {
	SYS_TSS16 = 1, SYS_LDT = 2, SYS_TSS16_BUSY = 3, SYS_CALL16 = 4, SYS_TASK_GATE = 5, SYS_INT16 = 6, SYS_TRAP16 = 7,
	SYS_TSS = 9, SYS_TSS_BUSY = 11, SYS_CALL = 12, SYS_INT = 14, SYS_TRAP = 15,
};

/* Type bits of code and data descriptors */
enum { TYPE_A = 1, TYPE_W = 2, TYPE_R = 2, TYPE_E = 4, TYPE_C = 4, TYPE_CODE = 8 };

enum { SEL_RPL = 3, SEL_TI = 4, SEL_INDEX = 0xfff8, SEL_ERROR = 0xfffc };

static inline unsigned desc_type(const struct desc *d) { return d->low >> 40 & 0xf; }
static inline bool desc_s(const struct desc *d) { return d->low >> 44 & 1; }
static inline unsigned desc_dpl(const struct desc *d) { return d->low >> 45 & 3; }
static inline bool desc_present(const struct desc *d) { return d->low >> 47 & 1; }
static inline bool desc_l(const struct desc *d) { return d->low >> 53 & 1; }
static inline bool desc_db(const struct desc *d) { return d->low >> 54 & 1; }
static inline bool desc_is_code(const struct desc *d) { return desc_s(d) && (desc_type(d) & TYPE_CODE); }
static inline bool desc_conforming(const struct desc *d) { return desc_type(d) & TYPE_C; }
static inline bool desc_writable_data(const struct desc *d)
{
	return desc_s(d) && (desc_type(d) & (TYPE_CODE | TYPE_W)) == TYPE_W;
}

static inline bool sel_null(uint16_t sel) { return !(sel & SEL_ERROR); }

/* Reads the 8-byte descriptor of @sel (not null). False when it is outside its table. May raise #PF. */
bool desc_fetch(struct cpu *c, uint16_t sel, struct desc *d);
/* In IA-32e mode, the second half of a system descriptor; false when outside, or when its type field is not 0. */
bool desc_fetch_high(struct cpu *c, uint16_t sel, struct desc *d);
/* A cached descriptor made of @d. In IA-32e mode system segments have a 64-bit base. */
struct vcpu_segment desc_segment(const struct cpu *c, uint16_t sel, const struct desc *d);
/* Sets the accessed bit in the table if it is clear there (atomic); may raise #PF. */
void desc_set_accessed(struct cpu *c, const struct desc *d);
/* The limit with granularity applied. */
uint32_t desc_limit(const struct desc *d);

/* A null segment register; @cpl for SS. */
struct vcpu_segment seg_null(uint16_t sel, unsigned cpl);
/* The segment register for @sel in real or virtual-8086 mode. */
struct vcpu_segment seg_real(const struct cpu *c, unsigned seg, uint16_t sel, bool vm86);

/*
 * Reads, checks and marks the descriptor for a load of ES, SS, DS, FS or GS with @sel at the
 * present CPL. Raises #GP, #NP or #SS (SDM vol. 2, MOV). Changes no register.
 */
struct vcpu_segment seg_prepare(struct cpu *c, unsigned seg, uint16_t sel);
/*
 * The same for SS at level @cpl, as loaded from a TSS, a stack frame or a call gate's stack
 * switch; wrong selectors raise @vector (#TS or #GP) with @ext in bit 0 of the error code.
 */
struct vcpu_segment seg_prepare_stack(struct cpu *c, uint16_t sel, unsigned cpl, unsigned vector, unsigned ext);
/*
 * Checks a code descriptor that was fetched for a direct far JMP or CALL, and gives the segment.
 * RPL becomes the CPL. Raises #GP, #NP.
 */
struct vcpu_segment seg_code_direct(struct cpu *c, uint16_t sel, const struct desc *d);
/* Raises #GP(0) unless @rip may be executed in @cs. */
void seg_check_rip(struct cpu *c, const struct vcpu_segment *cs, uint64_t rip, uint32_t error);

/* Puts a prepared segment in place. Not for CS. */
void seg_commit(struct cpu *c, unsigned seg, const struct vcpu_segment *s);
/* Puts CS, CPL and RIP in place, and what follows from them. */
void seg_commit_code(struct cpu *c, const struct vcpu_segment *cs, unsigned cpl, uint64_t rip);
/* After a return to an outer level: data segments that it may not use become null. */
void seg_forget_inner(struct cpu *c);

/* Whether [offset, offset + size) lies in @s (limit, expand-down). */
bool seg_inside(const struct vcpu_segment *s, uint64_t offset, unsigned size);

/* --- stacks other than the present one --- */

/*
 * A stack that is pushed to before SS and rSP are changed. Violations of its limit or a
 * non-canonical address raise #SS(error).
 */
struct stack {
	struct vcpu_segment ss;
	uint64_t sp;
	uint8_t width;	/* 2, 4, 8: bytes of rSP that move */
	bool inner;	/* accessed as a supervisor whatever the present CPL */
	uint32_t error;
};

/* The present stack. */
struct stack stack_now(const struct cpu *c, uint32_t error);
void stack_write(struct cpu *c, struct stack *s, unsigned size, uint64_t value); /* a push */
uint64_t stack_read(struct cpu *c, struct stack *s, unsigned size);		 /* a pop */
/* Takes SP (and nothing else) from @s. */
void stack_commit(struct cpu *c, const struct stack *s);

/* SS selector and rSP of level @cpl from the TSS (SDM vol. 3, 7.2.1, 7.7). Raises #TS. */
void tss_stack(struct cpu *c, unsigned cpl, unsigned ext, uint16_t *ss, uint64_t *sp);
/* Entry @ist (1-7) of the interrupt stack table. */
uint64_t tss_ist(struct cpu *c, unsigned ist, unsigned ext);

/* --- common --- */

/*
 * By what the model has, whatever the paging mode: for bases that are loaded (MSRs, WRFSBASE, LGDT, LLDT,
 * LTR) and INVPCID's address. What is accessed is checked by cpu_canonical.
 */
static inline bool canonical_base(const struct cpu *c, uint64_t a)
{
	return canonical_bits(a, cpu_model_linear_bits(c->vm->model));
}

static inline bool in_vm86(const struct cpu *c) { return (c->sysflags & RF_VM) != 0; }
static inline unsigned cpu_iopl(const struct cpu *c) { return c->sysflags >> 12 & 3; }
static inline bool protected_mode(const struct cpu *c) { return !c->real; }

static inline _Noreturn void raise_gp0(struct cpu *c) { cpu_raise_error(c, EXC_GP, 0); }
static inline _Noreturn void raise_sel(struct cpu *c, unsigned vector, uint16_t sel, unsigned ext)
{
	cpu_raise_error(c, vector, (sel & SEL_ERROR) | ext);
}

static inline void need_cpl0(struct cpu *c)
{
	if (c->cpl)
		raise_gp0(c);
}

static inline void need_protected(struct cpu *c)
{
	if (c->real)
		cpu_raise(c, EXC_UD);
}

/* SGDT, SIDT, SLDT, STR, SMSW at CPL > 0 with CR4.UMIP. */
static inline void check_umip(struct cpu *c)
{
	if (c->cpl && (c->cr4 & CR4_UMIP))
		raise_gp0(c);
}

/* Sets the mode of RFLAGS bits that an instruction may change; derived state follows. */
void rflags_changed(struct cpu *c, uint64_t old);

/* A 16-bit operand in a register or memory. */
uint16_t operand16(struct cpu *c, const struct insn *in);
/* Stores a 16-bit value: to memory as 16 bits, to a register zero-extended to the operand size. */
void operand16_put(struct cpu *c, const struct insn *in, uint16_t v);


enum { MSR_APIC_BASE_BSP = 1 << 8, MSR_APIC_BASE_X2 = 1 << 10, MSR_APIC_BASE_EN = 1 << 11 };
enum { MTRR_VARIABLE = 8, MTRR_FIXED = 11 };
#define PAT_RESET 0x0007040600070406ull
#define MISC_ENABLE_RESET 0x1801ull /* fast strings; no branch trace store, no PEBS */
#define MISC_ENABLE_LIMIT_CPUID (1ull << 22)
#define MISC_ENABLE_XD_DISABLE (1ull << 34)

/* What CR4, CR0 and EFER may hold. */
static inline uint64_t cr4_known(const struct cpu_model *m)
{
	static const struct {
		uint64_t bits;
		enum cpu_feature feature;
	} t[] = {
		{ CR4_VME | CR4_PVI, FEAT_VME }, { CR4_DE, FEAT_DE }, { CR4_MCE, FEAT_MCE }, { CR4_UMIP, FEAT_UMIP },
		{ CR4_FSGSBASE, FEAT_FSGSBASE }, { CR4_PCIDE, FEAT_PCID }, { CR4_OSXSAVE, FEAT_XSAVE },
		{ CR4_SMEP, FEAT_SMEP }, { CR4_SMAP, FEAT_SMAP }, { CR4_PKE, FEAT_PKU }, { CR4_PKS, FEAT_PKS },
		{ CR4_LA57, FEAT_LA57 },
	};
	uint64_t known = CR4_TSD | CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT;

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		if (cpu_model_has(m, t[i].feature))
			known |= t[i].bits;
	return known;
}
static inline uint64_t efer_known(const struct cpu_model *m)
{
	return EFER_SCE | EFER_LME | EFER_LMA | (cpu_model_has(m, FEAT_NX) ? EFER_NX : 0);
}
#define CR0_KNOWN                                                                                          \
	((uint64_t)(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG))

bool xcr0_valid(const struct cpu_model *m, uint64_t value);
bool pat_valid(uint64_t value);
bool mtrr_physbase_valid(uint64_t value);
bool mtrr_physmask_valid(uint64_t value);
bool mtrr_fixed_valid(uint64_t value);
bool mtrr_def_type_valid(uint64_t value);
bool misc_enable_valid(const struct cpu_model *m, uint64_t value);
bool mcg_status_valid(uint64_t value);
bool mcg_ctl_valid(uint64_t value);
/*
 * Loads CR3 as a task switch does, with the PDPTEs under PAE paging; false, and nothing changed, when one of
 * those has a reserved bit set (SDM vol. 3, 4.4.1). RSM reads CR0 and CR4 first, then this.
 */
bool cr3_switch(struct cpu *c, uint32_t value);

/* Control registers, segments, RFLAGS and RIP of @s are ones that this model can be in. */
bool cpu_state_possible(const struct cpu *c, const struct vcpu_state *s);
/* The CPL that follows from a state. */
unsigned cpu_state_cpl(const struct vcpu_state *s);

/* --- families of handlers; each returns NULL for what is not its own --- */
insn_bind_fn bind_segment;  /* seginsn.c */
insn_bind_fn bind_far;	    /* far.c */
insn_bind_fn bind_iret;	    /* iret.c */
insn_bind_fn bind_fastcall; /* fastcall.c */
insn_bind_fn bind_int;	    /* deliver.c */
insn_bind_fn bind_control_regs; /* control_regs.c */
insn_bind_fn bind_debug;    /* debug.c */
insn_bind_fn bind_idle;	    /* idle.c */
insn_bind_fn bind_sysinsn;  /* sysinsn.c */
insn_bind_fn bind_smm;	    /* smm.c */
insn_bind_fn bind_io;	    /* io.c */

#endif
