// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A VM's life: build it from a description, boot or load it, run it to its end, pause it, save it.
 *
 *   vm.c       create and destroy, boot and reset, the wires from the board to the engine
 *   run.c      the main thread: its loop, holding the vCPUs, events, the end
 *   vcpu.c     the thread of a vCPU: run, act on the exit, stand aside when asked to
 *   exits.c    exits as text, for the trace and for the report
 *   report.c   what a user sees after a triple fault or an internal error; the counters
 *   save.c     saved state of the whole VM
 *   gdb*.c     the debugger's remote protocol
 *
 * Threads. The thread that calls vm_run is the main thread: it owns the loop, the chips' timers,
 * input, and every change of the VM clock. Each vCPU has a thread of its own, which calls into
 * the board only to finish its own exits. Locks, outermost first: vm->ctl (what the main thread
 * and callers of this header do to the VM as a whole), the board lock, vm->lock (who is held,
 * who stands; a leaf).
 */
#ifndef SUBRING_VM_VM_H
#define SUBRING_VM_VM_H

#include "bus/chip.h"
#include "host/error.h"
#include "host/loop.h"
#include "machine/cards.h"
#include "state/state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct vm;

/* The description. Strings are copied by vm_create. */
struct vm_config {
	const char *name;   /* for messages */
	const char *engine; /* "auto", "soft", "soft,host=process" */
	const char *cpu;    /* the CPU model, as cpu_model_parse takes it; NULL: the default */
	unsigned cpus;
	uint64_t mem;	    /* bytes */
	const char *kernel; /* what vm_boot and a reset load; NULL: neither is possible */
	const char *initrd; /* or NULL */
	const char *cmdline;
	bool debug_exit, test_device;
	bool rng;	    /* an entropy device */
	const struct card_disk *disk; /* disks and net: their strings are read by vm_create alone */
	unsigned disks;
	const struct net_config *net;
	unsigned nets;
	bool no_reboot;	    /* a reset ends the run instead */
	const char *gdb;    /* address for a debugger, or NULL; the VM then starts stopped */
	/*
	 * COM1's output. put is called on vCPU threads and on the main thread with the board lock held;
	 * it does not block and calls nothing of the VM except vm_serial_ready.
	 */
	struct chip_stream serial;
	struct chip_stream debugcon;
};

/* How a run ended. */
#define VM_ENDS(X)                                                                                 \
	X(LEFT, "the user left")                                                                   \
	X(POWERED_OFF, "the guest powered off")                                                    \
	X(HALTED, "the guest halted for good")                                                     \
	X(RESET, "the guest asked for a reset, and reboots are off")                               \
	X(DEBUG_EXIT, "the guest wrote to the debug exit port")                                    \
	X(TRIPLE_FAULT, "the guest shut its CPU down")                                             \
	X(INTERNAL, "the engine could not go on")                                                  \
	X(FAILED, "the monitor could not go on; result.error says why")

enum vm_end {
#define X(id, help) VM_##id,
	VM_ENDS(X)
#undef X
};

struct vm_result {
	enum vm_end end;
	unsigned code;	    /* DEBUG_EXIT: the byte written */
	struct error error; /* TRIPLE_FAULT, INTERNAL, FAILED: for error_print */
	const char *report; /* TRIPLE_FAULT, INTERNAL: registers, last exits, code; the VM's; or NULL */
};

/* Builds memory, engine and board. The VM holds still until vm_run. Any one
 * thread, which lives as long as the VM: an engine in a process of its own ends with it (PR_SET_PDEATHSIG). */
int vm_create(const struct vm_config *config, struct vm **out, struct error *err);
/* Not while vm_run runs. NULL is fine. */
void vm_destroy(struct vm *vm);
/* Loads the kernel; before vm_run. */
int vm_boot(struct vm *vm, struct error *err);

/*
 * Runs the VM to its end, which @result tells. Returns 0, or a negative errno when the run could
 * not begin. After a triple fault or an internal error a report stands on standard error.
 */
int vm_run(struct vm *vm, struct vm_result *result);

/* The main thread's loop, for the caller's own descriptors (terminal, signals). */
struct loop *vm_loop(struct vm *vm);
/* One line on which engine was taken and why. */
const char *vm_engine_why(const struct vm *vm);

/* --- any thread --- */

/* Ends the run with VM_LEFT. Safe in a callback of the loop. */
void vm_stop(struct vm *vm);
/* As vm_stop, with a failure to tell. The first one counts. */
void vm_fail(struct vm *vm, const struct error *err);
/* The serial back-end has room again after it had refused a byte. */
void vm_serial_ready(struct vm *vm);

/*
 * vm_pause returns when every vCPU stands still between two instructions and the VM clock is
 * stopped; vm_resume lets them go on. -ETIMEDOUT when a vCPU does not come back. Not in callbacks
 * that the VM itself makes.
 */
int vm_pause(struct vm *vm);
int vm_resume(struct vm *vm);
bool vm_paused(const struct vm *vm);

/*
 * The whole VM as one stream: clock, memory, board, vCPUs. Only while paused or before vm_run
 * (-EBUSY otherwise). vm_load goes into a VM made with the same cpus and mem; after a failure the
 * VM can only be destroyed.
 */
int vm_save(struct vm *vm, struct state_writer *w);
int vm_load(struct vm *vm, struct state_reader *r, struct error *err);

/* Feeds COM1; returns how many bytes it took. The main thread. */
size_t vm_serial_input(struct vm *vm, const uint8_t *bytes, size_t len);

/*
 * Offers the back-end what the chip still holds: after vm_run, when the back-end is empty, so that
 * the guest's last bytes are not lost.
 */
void vm_serial_flush(struct vm *vm);

/* Exits and counters of each vCPU, as text. The main thread, or before and after vm_run. */
void vm_summary(struct vm *vm, FILE *out);

#endif
