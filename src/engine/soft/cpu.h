// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * struct cpu: a vCPU of engine soft, and the few things that everything in the engine does to one.
 *
 * All tiers work on this one struct. It belongs to the thread that runs the vCPU; what other
 * threads may touch is in the part marked so, all of it atomic.
 *
 * Invariants while an instruction executes (its handler is called with `in`):
 *  - c->cur is `in`; c->gpr[GPR_RIP] is already the address of the NEXT instruction (in 16- and
 *    32-bit code cut to 32 bits; branches of 16 bits cut it to 16).
 *  - cpu_raise* and cpu_leave_* never return: they unwind to cpu_run with longjmp, after putting
 *    RIP back to the start of the instruction. So a handler does everything that can fault or exit
 *    BEFORE it changes a register, and stores to memory after all checks. A handler that has
 *    changed RIP or registers must not raise.
 *  - MMIO and port accesses are replayed: the first execution leaves the engine with the request;
 *    the instruction then runs again from its start, and finds the answer in c->replay. Handlers
 *    need no code for that: they call mmu_load/mmu_store/cpu_io_* and get a value.
 */
#ifndef SUBRING_ENGINE_SOFT_CPU_H
#define SUBRING_ENGINE_SOFT_CPU_H

#include "engine/cpu_model.h"
#include "engine/engine.h"
#include "engine/soft/debug.h"
#include "engine/soft/decode/insn.h"
#include "engine/soft/translate/state.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct soft_vm;
struct tlb;
struct block;

/*
 * Arithmetic flags as LAHF and SETO leave them in AX: cheap to capture after any native
 * operation, cheap to test. cpu_flags_get/put convert to and from RFLAGS positions.
 */
enum {
	AF_OF = 1 << 0,
	AF_CF = 1 << 8,
	AF_PF = 1 << 10,
	AF_AF = 1 << 12,
	AF_ZF = 1 << 14,
	AF_SF = 1 << 15,
	AF_ALL = AF_OF | AF_CF | AF_PF | AF_AF | AF_ZF | AF_SF,
};

/* RFLAGS bits that are not arithmetic (kept in c->sysflags) */
enum {
	RF_FIXED = 1 << 1,
	RF_TF = 1 << 8,
	RF_IF = 1 << 9,
	RF_DF = 1 << 10,
	RF_IOPL = 3 << 12,
	RF_NT = 1 << 14,
	RF_RF = 1 << 16,
	RF_VM = 1 << 17,
	RF_AC = 1 << 18,
	RF_VIF = 1 << 19,
	RF_VIP = 1 << 20,
	RF_ID = 1 << 21,
};

enum {
	CR0_PE = 1u << 0, CR0_MP = 1u << 1, CR0_EM = 1u << 2, CR0_TS = 1u << 3, CR0_ET = 1u << 4, CR0_NE = 1u << 5,
	CR0_WP = 1u << 16, CR0_AM = 1u << 18, CR0_NW = 1u << 29, CR0_CD = 1u << 30, CR0_PG = 1u << 31,
	CR4_VME = 1 << 0, CR4_PVI = 1 << 1, CR4_TSD = 1 << 2, CR4_DE = 1 << 3, CR4_PSE = 1 << 4, CR4_PAE = 1 << 5,
	CR4_MCE = 1 << 6, CR4_PGE = 1 << 7, CR4_PCE = 1 << 8, CR4_OSFXSR = 1 << 9, CR4_OSXMMEXCPT = 1 << 10,
	CR4_UMIP = 1 << 11, CR4_LA57 = 1 << 12, CR4_FSGSBASE = 1 << 16, CR4_PCIDE = 1 << 17, CR4_OSXSAVE = 1 << 18,
	CR4_SMEP = 1 << 20, CR4_SMAP = 1 << 21, CR4_PKE = 1 << 22, CR4_PKS = 1 << 24,
	EFER_SCE = 1 << 0, EFER_LME = 1 << 8, EFER_LMA = 1 << 10, EFER_NX = 1 << 11,
};

/* Bits of vcpu_segment.attr */
enum {
	ATTR_TYPE = 0xf, ATTR_S = 1 << 4, ATTR_DPL = 3 << 5, ATTR_P = 1 << 7, ATTR_AVL = 1 << 12, ATTR_L = 1 << 13,
	ATTR_DB = 1 << 14, ATTR_G = 1 << 15, ATTR_NULL = 1 << 16,
};

enum {
	EXC_DE, EXC_DB, EXC_NMI, EXC_BP, EXC_OF, EXC_BR, EXC_UD, EXC_NM, EXC_DF, EXC_TS = 10, EXC_NP, EXC_SS, EXC_GP,
	EXC_PF, EXC_MF = 16, EXC_AC, EXC_MC, EXC_XM,
};

/* XSAVE standard format (SDM vol. 1, 13.4): the guest's x87, SSE and AVX state, as it is in memory. */
struct cpu_xsave {
	uint16_t fcw, fsw;
	uint8_t ftw, rsvd0;
	uint16_t fop;
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask;
	uint8_t st[8][16];
	uint8_t xmm[16][16];
	uint8_t rsvd1[96];
	uint64_t xstate_bv, xcomp_bv, hdr_rsvd[6];
	uint8_t ymm_hi[16][16];
} __attribute__((aligned(64)));

/* The same for AVX-512, in one piece as there (components 5, 6, 7); all zero where the model has none. */
struct cpu_avx512 {
	uint64_t k[8];
	uint8_t zmm_hi[16][32];
	uint8_t hi16[16][64];
} __attribute__((aligned(64)));

/* Requests to a vCPU from other threads and from its timer; c->req holds a set of them. */
enum {
	REQ_KICK = 1 << 0,  /* leave with KICK */
	REQ_INTR = 1 << 1,  /* vectors were posted to the local APIC */
	REQ_TIMER = 1 << 2, /* the local APIC's timer is due */
	REQ_NMI = 1 << 3,
	REQ_INIT = 1 << 4,
	REQ_SIPI = 1 << 5,
	REQ_WORLD = 1 << 6, /* step out of the way: another vCPU wants to be alone */
	REQ_EVENT = 1 << 7, /* look again (IF was set, TPR lowered, a window asked for) */
	REQ_SMI = 1 << 8,
	REQ_KICKED = 1 << 9, /* a hypercall: HLT is over (pv/) */
};

/* One MMIO or port access that an instruction under way has already made. */
struct cpu_replay {
	uint64_t addr;
	uint32_t size;
	uint8_t kind; /* 'm' MMIO, 'p' port, 'P' several elements (their data stays in the run page), 'l' local APIC, 's' MSR, 'h' hypercall */
	uint8_t write;
	uint8_t fault; /* 's': the monitor said #GP */
	uint64_t data[8];
};
enum { REPLAY_MAX = 352 }; /* XSAVE of all components makes 340 of 8 bytes */

#include "engine/soft/lapic/lapic.h"
#include "engine/soft/pv/pv.h"

/* System management mode, beside in_smm, smi_pending and smbase (system/smm.c). */
struct cpu_smm {
	uint32_t debug_held;	/* vcpu_state.smm_debug_pending */
	uint8_t nmi_was_masked; /* vcpu_state.smm_nmi_masked */
	uint8_t init_held;	/* an INIT came in SMM */
	/* The last IN or OUT that the monitor finished, for an SMI that it caused. */
	uint32_t io;
	uint64_t io_at; /* insn_count after it; 0: none */
	uint64_t io_rip, io_rcx, io_rsi, io_rdi;
};

#define MONITOR_NONE (~0ull)

struct cpu {
	/* --- hot: touched by every instruction --- */
	uint64_t gpr[GPR_FILE];	   /* gpr[GPR_RIP] is RIP, gpr[GPR_ZERO] is 0 for ever */
	uint32_t flags;		   /* arithmetic flags, AF_* */
	uint32_t sysflags;	   /* the other RFLAGS bits (RF_FIXED always set) */
	const struct insn *cur;	   /* the instruction under way */
	struct tlb *tlb;	   /* the view of the present mode: mmu/ */
	uint8_t *ram_host;	   /* = vm->ram->host */
	_Atomic uint8_t *frame;	   /* = vm->ram->frame */
	uint64_t ram_size;
	uint64_t segbase[SEG_COUNT + 2]; /* bases to add to an effective address; in 64-bit mode only FS and GS may differ from 0 */
	uint8_t mode;		   /* enum insn_mode of CS */
	uint8_t cpl;
	uint8_t flat;		   /* no segment checks are needed for data: 64-bit mode */
	uint8_t brk;		   /* leave the block after this instruction */
	uint8_t shadow;		   /* vcpu_state.shadow */
	uint8_t real;		   /* CR0.PE is 0 or vm86: segments are loaded as base = selector * 16 */
	uint8_t stack_size;	   /* 2, 4 or 8: width of rSP */
	uint8_t align_check;	   /* CPL 3, CR0.AM and EFLAGS.AC: unaligned data accesses raise #AC */
	uint8_t linear57;	   /* 5-level paging: linear addresses have 57 bits, not 48 */
	uint8_t wide;		   /* the model has AVX-512 */
	struct cpu_translate t;	   /* what translated code keeps here */

	/* --- from other threads --- */
	_Atomic uint32_t req;	   /* REQ_* */
	_Atomic uint8_t nmi_posts; /* NMIs that REQ_NMI stands for */
	_Atomic uint32_t parked;   /* the thread is outside guest code: see soft_world_* */

	/* --- system state --- */
	uint64_t cr0, cr2, cr3, cr4, xcr0, efer, apic_base;
	uint64_t dr[8];
	struct vcpu_segment seg[SEG_COUNT], ldt, tr;
	struct vcpu_table gdt, idt;
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, tsc_aux, tsc_adjust, misc_enable, xss, spec_ctrl, debugctl;
	uint64_t mtrr_def_type, mtrr_physbase[8], mtrr_physmask[8], mtrr_fixed[11];
	uint64_t smbase;
	uint32_t pkru, pkrs;	   /* two bits for each protection key: AD, WD; set by mmu_set_pkru and mmu_set_pkrs */
	uint64_t mcg_status, mcg_ctl;
	uint64_t pdpte[4];	   /* PAE paging: as the last load of CR3 read them */
	uint64_t tsc_offset;	   /* guest TSC = host TSC + tsc_offset */
	uint64_t tsc_delta;
	uint8_t activity;	   /* enum vcpu_activity */
	uint8_t nmi_pending, nmi_masked, in_smm, smi_pending;
	uint8_t extint_pending, extint_vector;
	uint8_t exc_pending, exc_vector, exc_has_error; /* deliver first: from a loaded state, or put off */
	uint32_t exc_error;
	struct cpu_debug dbg;
	struct cpu_smm smm;
	struct cpu_xsave x;
	struct cpu_avx512 z;
	struct lapic lapic;
	struct cpu_pv pv;

	/* --- how it is run --- */
	struct soft_vm *vm;
	struct run_page *run;
	unsigned index;
	void *jmp[5];		   /* __builtin_setjmp buffer of cpu_run */
	struct cpu_replay replay[REPLAY_MAX];
	unsigned replay_count;	   /* accesses already made by the instruction under way */
	unsigned replay_next;	   /* how many of them this execution has consumed */
	uint8_t pending_exit;	   /* run page holds an access that waits for its completion */
	struct block_cache *blocks;
	struct tlb_set *tlbs;
	_Atomic uint32_t *code_gen; /* = vm->ram->code_gen */
	uint64_t fetch_linear;	   /* page that instructions are being fetched from, or ~0; see cpu_fetch_forget */
	uint64_t fetch_frame;
	const uint8_t *fetch_host;
	uint8_t fetch_bytes[16];   /* code that is not in RAM */
	uint8_t attn;		   /* something may have become deliverable: look before the next block */
	uint8_t left;		   /* how cpu_run was unwound: 0 exception, 1 exit */
	uint8_t halt_told;	   /* this halt was already reported with HALT */
	uint8_t shadow_was;	   /* shadow before the instruction under way, for restarting it */
	int16_t delivering;	   /* event that deliver() is working on: vector, DELIVER_EXTERNAL + vector, or -1 */
	uint8_t raised_vector, raised_has_error;
	uint32_t raised_error;
	uint8_t first_exception;   /* that a double or triple fault began with */
	uint8_t deliver_vector, deliver_has_error;
	uint32_t deliver_error;
	uint64_t insn_count;	   /* guest instructions executed */
	void *host_timer;	   /* timer.c */
	_Atomic uint32_t sleeping; /* its thread waits on req */
	struct {
		_Atomic uint64_t frame; /* that MONITOR watches, or MONITOR_NONE; other vCPUs look at it */
		uint32_t gen;	   /* its code generation then */
		bool waiting;	   /* VCPU_HALTED stands for MWAIT, not HLT */
		bool masked_interrupts; /* which interrupts end, though IF is clear */
	} monitor;
	unsigned pauses;	   /* PAUSEs since the last event, or since the host was let run something else */
	uint64_t fault_linear;	   /* CR2 of a #PF being raised */
	unsigned exc_depth;
	const struct engine_debug *debug; /* NULL: no debugger */
	/* For testers: sees each exception before it is delivered; true ends the run. NULL otherwise. */
	bool (*exc_hook)(struct cpu *c, unsigned vector, bool has_error, uint32_t error);
	void *exc_hook_opaque;
	struct slot slot[];	   /* SLOTS_MAX of them (cpu_create); absent in vCPUs that tests make */
};

/* --- leaving an instruction --- */

/* A fault or trap-like exception of the instruction under way; RIP goes back to its start. */
_Noreturn void cpu_raise(struct cpu *c, unsigned vector);		    /* without error code */
_Noreturn void cpu_raise_error(struct cpu *c, unsigned vector, uint32_t error); /* #TS #NP #SS #GP #PF #AC #DF */
_Noreturn void cpu_raise_pf(struct cpu *c, uint64_t linear, uint32_t error);
/* What insn_decode found instead of an instruction at RIP. */
_Noreturn void cpu_raise_fetch(struct cpu *c, int decode_result);
/* The instruction itself is outside what the engine does: ends the run with INTERNAL. */
_Noreturn void cpu_internal(struct cpu *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- flags --- */

static inline uint64_t cpu_rflags(const struct cpu *c)
{
	return c->sysflags | ((c->flags >> 8) & 0xd5) | (uint64_t)(c->flags & AF_OF) << 11;
}

static inline uint32_t cpu_flags_from(uint64_t rflags)
{
	return (uint32_t)(rflags & 0xd5) << 8 | (uint32_t)(rflags >> 11 & 1);
}

/* Sets all of RFLAGS: no checks; the caller calls cpu_mode_changed if VM or AC changed. */
static inline void cpu_set_rflags(struct cpu *c, uint64_t rflags)
{
	c->flags = cpu_flags_from(rflags);
	c->sysflags = (uint32_t)(rflags & ~(uint64_t)FL_ALL) | RF_FIXED;
}

/* --- general registers by byte offset (insn.reg_off, rm_off) --- */

static inline uint8_t *gpr8(struct cpu *c, unsigned off) { return (uint8_t *)c->gpr + off; }
static inline uint16_t *gpr16(struct cpu *c, unsigned off) { return (uint16_t *)((char *)c->gpr + off); }
static inline uint32_t *gpr32(struct cpu *c, unsigned off) { return (uint32_t *)((char *)c->gpr + off); }
static inline uint64_t *gpr64(struct cpu *c, unsigned off) { return (uint64_t *)((char *)c->gpr + off); }

/* Reads or writes a general register of @size bytes; a 32-bit write clears the upper half. */
static inline uint64_t gpr_get(struct cpu *c, unsigned off, unsigned size)
{
	switch (size) {
	case 1: return *gpr8(c, off);
	case 2: return *gpr16(c, off);
	case 4: return *gpr32(c, off);
	default: return *gpr64(c, off);
	}
}

static inline void gpr_put(struct cpu *c, unsigned off, unsigned size, uint64_t v)
{
	switch (size) {
	case 1: *gpr8(c, off) = (uint8_t)v; break;
	case 2: *gpr16(c, off) = (uint16_t)v; break;
	case 4: *gpr64(c, off) = (uint32_t)v; break;
	default: *gpr64(c, off) = v; break;
	}
}

/* --- mode --- */

/*
 * Recomputes what is derived from CR0, CR4, EFER, CS, SS, CPL and AC: mode, flat, segbase, the TLB
 * view. Whoever changes one of those calls it. Ends the block.
 */
void cpu_mode_changed(struct cpu *c);

static inline bool cpu_long_mode(const struct cpu *c) { return (c->efer & EFER_LMA) != 0; }
static inline bool cpu_paging(const struct cpu *c) { return (c->cr0 & CR0_PG) != 0; }

/* --- canonical addresses (SDM vol. 1, 3.3.7.1) --- */

static inline bool canonical_bits(uint64_t a, unsigned bits)
{
	return (uint64_t)((int64_t)(a << (64 - bits)) >> (64 - bits)) == a;
}

/* In the present paging mode: for addresses that are accessed. The common case is tested first. */
static inline bool cpu_canonical(const struct cpu *c, uint64_t a)
{
	return __builtin_expect(canonical_bits(a, 48), 1) || (c->linear57 && canonical_bits(a, 57));
}

/* --- time --- */
static inline uint64_t cpu_tsc(const struct cpu *c) { return host_tsc() + c->tsc_offset; }

/* --- state after RESET and INIT (SDM vol. 3, table 10-1) --- */
void cpu_reset(struct cpu *c, bool init);

/*
 * NMIs that wait: one, while another is being served; else two, of which the first is taken at once
 * (SDM vol. 3, 6.7.1: hardware holds one pending).
 */
enum { NMI_PENDING_MAX = 2 };
unsigned cpu_nmis(const struct cpu *c);

/* Any thread: asks a vCPU to look at @bits and wakes it from HLT. */
void cpu_request(struct cpu *c, uint32_t bits);

/* The mapping of code may have changed: fetch through the MMU again. */
static inline void cpu_fetch_forget(struct cpu *c)
{
	c->fetch_linear = ~0ull;
	c->brk = 1;
}

/* A string instruction has finished one element and its registers say so: what was replayed is used up. */
static inline void cpu_replay_done(struct cpu *c)
{
	c->replay_count = c->replay_next = 0;
}

/* --- ports, MSRs outside the engine, hypercalls: replayed, may leave (see the invariants) --- */
uint64_t cpu_io_in(struct cpu *c, uint16_t port, unsigned size);
void cpu_io_out(struct cpu *c, uint16_t port, unsigned size, uint64_t value);
/*
 * @count elements of INS or OUTS in one exit, to or from @host (plain memory). False: they have to go one by
 * one, because somebody looks at each (a breakpoint, a doorbell).
 */
bool cpu_io_in_run(struct cpu *c, uint16_t port, unsigned size, unsigned count, void *host);
bool cpu_io_out_run(struct cpu *c, uint16_t port, unsigned size, unsigned count, const void *host);
/* MMIO of at most 8 bytes at a guest-physical address that is no RAM (nor the local APIC). */
uint64_t cpu_mmio_load(struct cpu *c, uint64_t gpa, unsigned size);
void cpu_mmio_store(struct cpu *c, uint64_t gpa, unsigned size, uint64_t value);
/* Before a store that the engine finishes itself (the local APIC's page): false if this instruction has already
 * made it, in an execution that then left for another access. */
bool cpu_store_once(struct cpu *c, uint64_t gpa, unsigned size);
/* A load of the same kind: true with its @value if it was already made, else to be told with cpu_loaded. */
bool cpu_load_again(struct cpu *c, uint64_t gpa, unsigned size, uint64_t *value);
void cpu_loaded(struct cpu *c, uint64_t gpa, unsigned size, uint64_t value);

#endif
