// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the files of vm/ share. See vm.h for the files, threads and locks.
 *
 * Holding: a vCPU runs guest code only while no bit is set in vm->hold or in its own hold. Whoever
 * sets a bit kicks the vCPUs; each finishes what is pending ("settles"), sets parked and waits.
 * Under vm->lock, parked together with a hold bit means: it stays where it is.
 */
#ifndef SUBRING_VM_VM_PRIVATE_H
#define SUBRING_VM_VM_PRIVATE_H

#include "engine/engine.h"
#include "machine/machine.h"
#include "vm/vm.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
	/* of the VM */
	HOLD_START = 1 << 0,   /* vm_run has not begun */
	HOLD_USER = 1 << 1,    /* vm_pause */
	HOLD_GDB = 1 << 2,     /* a debugger looks */
	HOLD_CONTROL = 1 << 3, /* the main thread does something to the whole VM */
	HOLD_EVENT = 1 << 4,   /* power-off, reset, debug exit: no further instruction */
	HOLD_QUIT = 1 << 5,    /* the threads leave */
	/* of a vCPU */
	HOLD_FAULT = 1 << 6, /* it cannot go on: fault says why */
	HOLD_STEP = 1 << 7,  /* the debugger lets only others run */
	/* of the VM */
	HOLD_A20 = 1 << 8,   /* the A20 gate was moved: memory has to follow first */
};
/* While one of these is set, the VM clock stands, and no device touches guest memory. */
enum { HOLD_CLOCK = HOLD_START | HOLD_USER | HOLD_GDB };

/* What the main thread is asked to look at. */
enum {
	CTL_STOP = 1 << 0,
	CTL_EVENT = 1 << 1,
	CTL_FAULT = 1 << 2,
	CTL_HALT = 1 << 3,
	CTL_DEBUG = 1 << 4,
	CTL_SERIAL = 1 << 5,
	CTL_FAIL = 1 << 6,
	CTL_A20 = 1 << 7,
	CTL_LINES = 1 << 8,
};

/* One exit, as it was copied out of the run page. */
struct exit_record {
	uint64_t seq; /* 1 for the vCPU's first exit; 0: empty */
	uint32_t kind; /* enum engine_exit, or what stood there */
	bool write;
	uint32_t size, count; /* MSR: count is 1 when #GP was raised */
	uint64_t addr; /* port, gpa, MSR, hypercall number, vector, rip */
	uint64_t value; /* first element; for reads the answer */
};

enum { EXIT_RING = 16 };

struct vm_vcpu {
	struct vm *vm;
	struct engine_vcpu *engine;
	unsigned index;
	pthread_t thread;
	bool thread_runs;	    /* vm->ctl */
	_Atomic uint32_t hold;	    /* bits above */
	bool parked;		    /* vm->lock */
	/* Hints for the halt check; the truth is in the vCPU's state. */
	_Atomic bool ran;	    /* it has left for something other than a kick */
	_Atomic bool halted;	    /* its last such exit was HALT */
	/* The thread's own; read by others only while it is parked. */
	bool extint_ready;	    /* at the last exit */
	uint64_t exits;
	uint64_t exit_count[ENGINE_EXIT_COUNT];
	struct exit_record ring[EXIT_RING];
	int fault_errno;	    /* HOLD_FAULT: vcpu_run failed with it, or 0 */
	const char *fault_why;	    /* HOLD_FAULT: what was wrong with an exit, or NULL */
	bool debug_hit;		    /* it left with DEBUG; the debugger has not been told */
	struct engine_debug debug;  /* what the engine was given */
	bool watch_hit;		    /* that DEBUG was a watched access, of the watch at watch_linear */
	uint64_t watch_linear;
	struct vcpu_state reset;    /* as the engine made it: after RESET */
};

struct gdb;

struct vm {
	/* Written by vm_create only. */
	char *name, *kernel, *initrd, *cmdline;
	uint64_t mem;
	unsigned cpus;
	bool no_reboot;
	struct loop *loop;
	struct ram *ram;
	struct engine *engine;
	const struct engine_ops *ops;
	struct cpu_model model;
	struct board *board;
	char engine_why[ENGINE_WHY_MAX];

	/* Vm-wide actions: main thread, pause, save. Guards the clock's changes, end, gdb. */
	pthread_mutex_t ctl;
	struct vm_clock clock;
	bool running;		  /* vm_run is under way */
	bool ended;
	bool stuck;		  /* a vCPU's thread did not come back: nothing can be freed */
	char *report;
	struct vm_result result;
	struct gdb *gdb;
	unsigned watch_count;	  /* the debugger's watchpoints */
	struct engine_watch watch[ENGINE_WATCHES_MAX];
	unsigned debug_told;	  /* the vCPU whose breakpoint the debugger was told of last */

	_Atomic uint32_t ctl_bits; /* CTL_* */
	_Atomic uint32_t event;	   /* enum board_event | code << 8; the first one counts */
	_Atomic bool a20_closed;   /* guest memory is laid out so; changed with all vCPUs parked */
	_Atomic bool extint;	   /* INTR of the 8259 pair */
	_Atomic bool nmi_routes;   /* the I/O APIC has an entry that can wake a halted CPU */
	struct error failure;	   /* CTL_FAIL; written once, by who first set failed */
	atomic_flag failed;

	pthread_mutex_t lock;	   /* parked, timer_ns and the loop's alarm; a leaf */
	uint64_t timer_ns;	   /* the board's earliest timer, VM time */
	pthread_cond_t parked_cond, go_cond;
	_Atomic uint32_t hold;
	struct vm_vcpu vcpu[VCPUS_MAX];
};

/* run.c */
void vm_ask(struct vm *vm, uint32_t ctl); /* any thread: the main thread shall look */
/* With ctl held: sets bits and waits until all vCPUs that they stop are parked; -ETIMEDOUT. */
int vm_hold(struct vm *vm, uint32_t bits);
void vm_release(struct vm *vm, uint32_t bits);
void vm_kick_all(struct vm *vm);
void vm_arm(struct vm *vm);		   /* the alarm follows timer_ns and the clock */
void vm_end(struct vm *vm, enum vm_end end, unsigned code); /* with ctl held; the first one counts */
void vm_end_error(struct vm *vm, enum vm_end end, const struct error *err);
void vm_end_stuck(struct vm *vm); /* after vm_hold failed */

/* vm.c */
int vm_reset(struct vm *vm, struct error *err); /* all vCPUs parked */
/* With all vCPUs parked: lays out guest memory as the A20 gate wants it, and tells the engine. */
int vm_apply_a20(struct vm *vm);

/* vcpu.c */
extern _Thread_local struct vm_vcpu *vcpu_self; /* on a vCPU's thread */
void *vcpu_thread(void *arg);

/* exits.c */
void exit_text(const struct exit_record *rec, char *buf, size_t len);

/* linear.c: guest memory by linear address, as @cpu (parked) sees it; how many bytes could be reached */
size_t vm_read_linear(struct vm *vm, unsigned cpu, uint64_t linear, void *buf, size_t len);
size_t vm_write_linear(struct vm *vm, unsigned cpu, uint64_t linear, const void *buf, size_t len);

/* report.c: all vCPUs parked */
void vm_report(struct vm *vm, unsigned cpu, FILE *out);
/* The error of a vCPU that has HOLD_FAULT; returns how the run ends. */
enum vm_end vm_fault_error(struct vm *vm, unsigned cpu, struct error *err);

/* gdb.c */
int gdb_create(struct vm *vm, const char *address, struct gdb **out, struct error *err);
void gdb_destroy(struct gdb *gdb);		/* NULL is fine */
void gdb_stopped(struct gdb *gdb, unsigned cpu); /* all parked under HOLD_GDB; ctl held */
void gdb_ended(struct gdb *gdb, unsigned status); /* ctl held; the run is over */

#endif
