// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The seam between a VM and what runs its CPUs.
 *
 * An engine gets guest memory (a struct ram with its slots) and makes vCPUs, each with a run
 * page. engine_vcpu_run runs a vCPU until an exit that the monitor has to act on; the exit is
 * described in the run page, whose shape is the same for every engine. HLT, IPIs, the local APIC
 * and its timer finish inside the engine. Interrupts come in as MSIs (I/O APIC, MSI-X) and as
 * ExtINT (the 8259 pair). The whole architectural state of a vCPU goes out and in as one struct
 * vcpu_state (vcpu_state.h), the same for every engine.
 *
 * Nothing in engine/ includes a header of a chip, bus, machine or VM.
 */
#ifndef SUBRING_ENGINE_ENGINE_H
#define SUBRING_ENGINE_ENGINE_H

#include "clock/clock.h"
#include "engine/cpu_model.h"
#include "engine/vcpu_state.h"
#include "host/error.h"
#include "mem/mem.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { VCPUS_MAX = 16 };

/* The one list of exits: name, and what the monitor has to do. */
#define ENGINE_EXITS(X)                                                                            \
	X(KICK, "asked to come back; nothing to do")                                               \
	X(PIO, "finish IN or OUT in run->pio")                                                     \
	X(MMIO, "finish a load or store in run->mmio")                                             \
	X(EOI, "tell the I/O APIC of the EOI of run->eoi.vector")                                  \
	X(MSR, "finish RDMSR or WRMSR in run->msr")                                                \
	X(HYPERCALL, "finish the hypercall in run->hypercall")                                     \
	X(EXTINT_WINDOW, "an ExtINT that was asked for can be injected now")                       \
	X(DEBUG, "a debugger's event in run->debug")                                               \
	X(HALT, "HLT with interrupts off: only NMI, SMI, INIT or a reset can end it")              \
	X(SHUTDOWN, "triple fault or shutdown; run->shutdown says which")                          \
	X(INTERNAL, "the engine cannot go on; run->internal says why")

enum engine_exit {
#define X(id, help) ENGINE_EXIT_##id,
	ENGINE_EXITS(X)
#undef X
	ENGINE_EXIT_COUNT
};

const char *engine_exit_name(enum engine_exit exit);

enum { RUN_DATA_MAX = 2048 };

/*
 * The run page of a vCPU: 4096 bytes, shared with the engine, wherever that is hosted. Written by
 * the engine while the vCPU runs and by the monitor between runs; the words above the line may be
 * written by the monitor at any time. The monitor treats what it reads here as hostile: it copies
 * a field once, checks it, uses the copy.
 */
struct run_page {
	/* Run no guest instruction: finish a pending exit, then leave with KICK. */
	_Atomic uint32_t immediate_exit;
	/* Leave with EXTINT_WINDOW when an ExtINT can be injected. */
	_Atomic uint32_t request_extint;
	/* ---------------------------------------------------------------------------- */
	uint32_t exit;		/* enum engine_exit */
	uint32_t extint_ready;	/* an ExtINT could be injected at this moment */
	union {
		struct {
			uint16_t port;
			uint8_t size;	 /* of an element: 1, 2 or 4 */
			uint8_t write;	 /* 1: OUT */
			uint32_t count;	 /* elements (string I/O may have several); data in run->data */
		} pio;
		struct {
			uint64_t gpa;
			uint32_t size;	 /* 1 to 8 */
			uint32_t write;	 /* data in run->data, little endian */
		} mmio;
		struct {
			uint32_t vector;
		} eoi;
		struct {
			uint32_t index;
			uint32_t write;
			uint64_t data;	 /* RDMSR: filled by the monitor */
			uint32_t fault;	 /* set by the monitor: raise #GP(0) */
		} msr;
		struct {
			uint64_t nr, arg[4];
			uint64_t ret;	 /* filled by the monitor */
		} hypercall;
		struct {
			uint64_t rip, dr6;
			uint32_t step;	 /* 1: one instruction was stepped; 0: a breakpoint at rip; 2: a watched access */
			uint64_t linear; /* 2: where the watch is that it hit */
		} debug;
		struct {
			uint32_t triple_fault; /* 1: exception while delivering a double fault */
			uint32_t vector;       /* the first exception of the chain */
		} shutdown;
		struct {
			char why[128];
			uint8_t code[16]; /* instruction bytes at RIP, as far as they could be read */
			uint32_t code_len;
		} internal;
	};
	uint8_t data[RUN_DATA_MAX] __attribute__((aligned(8)));
	/* Counters, only ever growing; see engine_counter_names. */
	uint64_t counter[64];
};
_Static_assert(sizeof(struct run_page) <= 4096, "a run page is one page");

/* An MSI as a bus write: address (0xfeexxxxx), data. */
struct engine_msi {
	uint64_t address;
	uint32_t data;
};
#define ENGINE_MSI_LEVEL (1u << 15) /* in data: level-triggered (SDM vol. 3, 11.11.2) */

/* Whoever signals @fd (an eventfd) raises @msi, and the monitor has no part in it. */
struct engine_irqfd {
	int fd;		  /* the caller's, open until it is removed; its number is the irqfd's name */
	struct engine_msi msi; /* edge-triggered */
};

/* A doorbell: a guest store of @len bytes at @address signals @fd (an eventfd) and does not exit. */
struct engine_doorbell {
	uint64_t address;
	uint32_t len;	  /* 0: any length */
	bool pio;	  /* @address is a port */
	bool match;	  /* only stores of the value @value */
	uint64_t value;
	int fd;		  /* the caller's; the engine keeps a duplicate */
};

/* What a debugger wants of a vCPU. */
enum { ENGINE_BREAKPOINTS_MAX = 32, ENGINE_WATCHES_MAX = 16, ENGINE_WATCH_LEN_MAX = 1 << 16 };
/* Leave with DEBUG after an instruction that loads from or stores to any of @len bytes at @linear. */
struct engine_watch {
	uint64_t linear, len; /* 1 to ENGINE_WATCH_LEN_MAX */
	bool load, store;
};
struct engine_debug {
	bool step; /* leave with DEBUG after each instruction */
	unsigned count;
	uint64_t breakpoint[ENGINE_BREAKPOINTS_MAX]; /* linear addresses of instructions */
	unsigned watch_count;
	struct engine_watch watch[ENGINE_WATCHES_MAX];
};

struct engine_config {
	struct ram *ram;	 /* outlives the engine; slots are already set */
	const struct cpu_model *model; /* NULL: the default */
	unsigned vcpus;		 /* 1 to VCPUS_MAX; vCPU n has APIC ID n */
	const struct vm_clock *clock; /* read at creation and at engine_clock_changed */
	const char *options;	 /* what follows "soft," on the command line, or "" */
};

struct engine;
struct engine_vcpu;

/*
 * What an engine implements. All functions return 0 or a negative errno. "Stopped" means that no
 * thread is inside vcpu_run of that vCPU (or, for engine-wide calls, of any).
 */
struct engine_ops {
	const char *name; /* as typed after --engine */

	/* Creates the engine and its vCPUs, in their state after RESET. Fills @err on failure. */
	int (*create)(const struct engine_config *config, struct engine **out, struct error *err);
	void (*destroy)(struct engine *engine); /* all vCPUs stopped */

	/* --- a vCPU: from the one thread that runs it --- */
	/* Runs until an exit; 0, then run_page(vcpu)->exit says why. -EIO: the engine is gone. */
	int (*vcpu_run)(struct engine_vcpu *vcpu);
	/* Hands over vector @vector of the 8259 pair; only when extint_ready was 1 at the last exit. */
	int (*vcpu_extint)(struct engine_vcpu *vcpu, uint8_t vector);

	/* --- a vCPU: from any thread --- */
	/* Makes a running vcpu_run leave soon with KICK (or with another exit), or the next one at once. */
	void (*vcpu_kick)(struct engine_vcpu *vcpu);
	void (*vcpu_nmi)(struct engine_vcpu *vcpu);
	void (*vcpu_smi)(struct engine_vcpu *vcpu);

	/* --- a stopped vCPU, from any thread --- */
	/* A pending exit must have been completed first: engine_vcpu_settled says whether it is. */
	int (*vcpu_get_state)(struct engine_vcpu *vcpu, struct vcpu_state *state);
	int (*vcpu_set_state)(struct engine_vcpu *vcpu, const struct vcpu_state *state);
	/* 1 when no PIO/MMIO/MSR exit waits to be completed by another vcpu_run. */
	int (*vcpu_settled)(struct engine_vcpu *vcpu);
	int (*vcpu_debug)(struct engine_vcpu *vcpu, const struct engine_debug *debug);
	/* Linear to physical by the vCPU's present paging. -EFAULT when not mapped. For debuggers. */
	int (*vcpu_translate)(struct engine_vcpu *vcpu, uint64_t linear, uint64_t *gpa);

	/* --- the VM, from any thread --- */
	int (*msi)(struct engine *engine, const struct engine_msi *msi);
	/*
	 * The MSIs that the I/O APIC's entries stand for. The EOI of a vector that a level-triggered
	 * one of them (data bit 15) can raise leaves with EOI.
	 */
	int (*set_routes)(struct engine *engine, const struct engine_msi *route, unsigned count);
	int (*add_doorbell)(struct engine *engine, const struct engine_doorbell *doorbell);
	int (*remove_doorbell)(struct engine *engine, const struct engine_doorbell *doorbell);
	/*
	 * NULL, or -ENOTSUP: the engine cannot; then the caller waits for the eventfd in a loop of its own and calls msi.
	 * Adding a descriptor again changes its message, and no signal is lost. What it counted before it was added raises the
	 * MSI then; what comes while the VM clock is being paused or resumed comes a little later. A signal is in the engine as
	 * soon as it is given: who saves a VM has the signallers quiet first. -EINVAL: not an eventfd, or level-triggered;
	 * -EEXIST: the same eventfd has another number here; -ENOSPC: too many. remove: -ENOENT.
	 */
	int (*add_irqfd)(struct engine *engine, const struct engine_irqfd *irqfd);
	int (*remove_irqfd)(struct engine *engine, int fd);

	/* --- the VM, all vCPUs stopped --- */
	int (*slots_changed)(struct engine *engine);  /* ram's slots were changed */
	int (*clock_changed)(struct engine *engine);  /* the clock was paused, resumed or loaded */
	int (*dirty_log_start)(struct engine *engine); /* dirty bits were cleared: see new stores again */
	int (*dirty_log_sync)(struct engine *engine);  /* bring FRAME_DIRTY up to date with all stores so far */
};

struct engine {
	const struct engine_ops *ops;
	const struct vm_clock *clock;
	unsigned vcpu_count;
	struct engine_vcpu *vcpu[VCPUS_MAX];
};

struct engine_vcpu {
	struct engine *engine;
	struct run_page *run;
	unsigned index;
};

/* The list of engines, in the order in which `auto` prefers them; NULL at the end. */
extern const struct engine_ops *const engine_list[];

/*
 * Finds the engine for @spec ("auto", "kvm", "soft", "soft,host=process") and creates it. @why, if not
 * NULL, gets one line about the choice: "engine NAME: why".
 */
enum { ENGINE_WHY_MAX = 256 };
int engine_create(const char *spec, const struct engine_config *config, struct engine **out,
		  char *why, size_t why_len, struct error *err);

/* Names of run_page.counter[i]; NULL at the end. */
extern const char *const engine_counter_names[];

#endif
