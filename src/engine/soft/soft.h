// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Engine soft, table of contents.
 *
 *   cpu.h        struct cpu: all state of a vCPU
 *   debug.h      breakpoints, single steps: how they cost nothing while they are off
 *   decode/      instruction table, decoder
 *   mmu/         software TLB, page walk
 *   lapic/       local APIC
 *   interp/      tier 1: one file per instruction family; block.c keeps decoded code, run.c is the loop
 *   translate/   tier 2: translation of x86 to x86
 *   vector/      x87, MMX, SSE, AVX by native execution; XSAVE images
 *   system/      what the CPU does around instructions: segments, exceptions, modes, MSRs, CPUID
 *   pv/          KVM's paravirtual interfaces: clock, stolen time, EOI, hypercalls
 *   vcpu/        between instructions: leaving one, events, the timer, being alone
 *   vm.c         struct soft_vm: the vCPUs together
 *   host/        where the engine lives: threads.c in the monitor, process.c and child.c in a process
 */
#ifndef SUBRING_ENGINE_SOFT_SOFT_H
#define SUBRING_ENGINE_SOFT_SOFT_H

#include "engine/soft/cpu.h"
#include "engine/soft/tuning.h"

#include <pthread.h>

enum { SOFT_DOORBELLS_MAX = 64, SOFT_ROUTES_MAX = 256 };

/*
 * All vCPUs of a VM, in whichever process hosts them. Nothing here knows how the monitor is
 * reached.
 */
struct soft_vm {
	struct ram *ram;
	const struct cpu_model *model; /* own_model */
	struct cpu_model own_model;
	struct vm_clock clock;	   /* a copy: changed only while all vCPUs are stopped */
	unsigned count;
	struct cpu *cpu[VCPUS_MAX];
	_Atomic uint64_t eoi_exit[4]; /* bit n: EOI of vector n leaves with EOI (from the routes) */
	pthread_mutex_t doorbell_lock;
	_Atomic unsigned doorbell_count;
	struct engine_doorbell doorbell[SOFT_DOORBELLS_MAX];
	pthread_mutex_t world_lock; /* held by the vCPU that is alone */
	_Atomic uint32_t world_wanted;
	_Atomic uint32_t monitors; /* vCPUs that are waiting in MWAIT */
	struct translator *tr;	   /* NULL: interpreter only */
	_Atomic uint64_t wall_clock_msr; /* pv/: of all vCPUs */
};

int soft_vm_create(struct ram *ram, const struct cpu_model *model, unsigned count, const struct vm_clock *clock,
		   struct run_page *const run[], struct soft_vm **out);
/* Switches tier 2 on as @tuning says, before any vCPU runs. Without it the interpreter runs everything. -ENOMEM, ... */
int soft_vm_translate(struct soft_vm *vm, const struct soft_tuning *tuning);
void soft_vm_untranslate(struct soft_vm *vm);
void soft_vm_destroy(struct soft_vm *vm);
void soft_vm_set_clock(struct soft_vm *vm, const struct vm_clock *clock);
void soft_vm_slots_changed(struct soft_vm *vm);
void soft_vm_set_routes(struct soft_vm *vm, const struct engine_msi *route, unsigned count);
int soft_vm_doorbell(struct soft_vm *vm, const struct engine_doorbell *d, bool add);
/* A store of the guest at @address: 1 if a doorbell took it. */
/* Whether a doorbell could take a store to @port. */
bool soft_vm_port_rings(struct soft_vm *vm, uint16_t port);
int soft_vm_ring(struct soft_vm *vm, bool pio, uint64_t address, unsigned len, uint64_t value);

/* Runs @c until an exit stands in its run page. Its own thread. */
void cpu_run(struct cpu *c);
bool cpu_settled(const struct cpu *c);
void cpu_get_state(struct cpu *c, struct vcpu_state *s);
int cpu_set_state(struct cpu *c, const struct vcpu_state *s);

/*
 * All other vCPUs stand still between soft_world_stop and soft_world_start: for locked operations
 * that cross a page or touch MMIO. Called by a vCPU in the middle of an instruction; may raise nothing in between.
 */
void soft_world_stop(struct cpu *c);
void soft_world_start(struct cpu *c);

/* Sets when REQ_TIMER comes to @c: VM time in ns, UINT64_MAX never. Its thread, or any while it is stopped. */
void cpu_timer_set(struct cpu *c, uint64_t vm_ns);
/* A startup IPI: real mode at @vector << 12. */
void cpu_sipi(struct cpu *c, unsigned vector);
/* An exception @second while delivering @first: the vector to deliver (EXC_DF, or @second), or -1: shutdown (SDM table 6-5). */
int exception_combine(unsigned first, unsigned second);
/* Once a process: the SIGFPE handler and the memory for native code. 0 or a negative errno. */
int vector_init(void);

/* --- system/ --- */

/* CPUID of the model for this vCPU. */
void cpuid_query(const struct cpu *c, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
/* 0, or -1: #GP(0). May leave the engine (replayed) for MSRs that are the monitor's. */
int msr_read(struct cpu *c, uint32_t index, uint64_t *value);
int msr_write(struct cpu *c, uint32_t index, uint64_t value);
/* MOV to CRn / DRn with the checks of the SDM; raise. CR8 too. */
void cr_write(struct cpu *c, unsigned n, uint64_t value);
uint64_t cr_read(struct cpu *c, unsigned n);
/* Delivers an exception or interrupt through the IVT/IDT (SDM vol. 3, chapter 6). @soft: INT n, INT3, INTO;
 * nests to #DF and shutdown. Not called in the middle of an instruction except for INT n. */
void deliver(struct cpu *c, unsigned vector, bool has_error, uint32_t error, bool soft);

/* An SMI waits and can be taken now; takes it. Between two instructions. */
bool smm_wanted(const struct cpu *c);
void smm_enter(struct cpu *c);
/* IN or OUT of the instruction under way, which has its answer now: for an SMI right after it. */
void smm_note_io(struct cpu *c, uint16_t port, unsigned size, bool in);
/* Ends MWAIT's wait, and what MONITOR watches. */
void monitor_finish(struct cpu *c);
/* IN, OUT, INS, OUTS: IOPL and the TSS's I/O bitmap (SDM vol. 1, 19.5.2); raises #GP(0). */
void io_check(struct cpu *c, uint16_t port, unsigned size);
/* Data alignment: #AC(0) at CPL 3 with CR0.AM and EFLAGS.AC (SDM vol. 3, 6.15 "17"). Inlined test by the caller:
 * c->align_check is set by cpu_mode_changed. */
_Noreturn void cpu_raise_ac(struct cpu *c);

/* --- interp/ --- */

/* Chooses the handler (and thunk) for a decoded instruction in the present mode. Never fails: what cannot be run gets a handler that raises #UD. */
void interp_bind(struct cpu *c, struct insn *in);
/* The CPU model knows this instruction, in this mode and with this vector length; TZCNT and LZCNT at least as BSF and BSR. */
bool interp_model_has(const struct cpu *c, const struct insn *in);

/* --- vector/ --- */

/* Binds an OP_NATIVE instruction. 0, or -1 when there is no way to run it. */
int vector_bind(struct cpu *c, struct insn *in);
/* The x87, SSE and AVX state after RESET, or (@init) INIT, which leaves it alone. */
void vector_reset(struct cpu *c, bool init);
/* XINUSE (SDM vol. 1, 13.6): the state components that are not in their initial configuration. */
uint64_t vector_xinuse(const struct cpu *c);
/* Asked first about a SIGFPE, with its ucontext_t: true when it is done with. NULL: nobody is. */
extern bool (*vector_fault_hook)(void *context);
/* Undoes one vector_init; the last one gives back memory and the handler of SIGFPE. No vCPU runs. */
void vector_finish(void);

#endif
