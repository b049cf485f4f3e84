// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Breakpoints and traps of one vCPU: DR0-DR7 (SDM vol. 3, 17.2 and 17.3), and the watchpoints that a
 * debugger outside the guest sets. The code is in system/debug.c.
 *
 * Nothing of it costs anything while it is off:
 *  - Data breakpoints keep their pages out of the TLB for loads and stores, so that every access to
 *    these pages takes the slow paths of mmu/, which compare. One test of watch_count is on those paths.
 *  - Code breakpoints, and a debugger, make the run loop take its stepping side (`step`), which looks
 *    before each instruction of a block that has a breakpoint in it.
 *  - I/O breakpoints are compared where ports are accessed.
 *
 * What a data or I/O breakpoint finds is gathered in `hits` while its instruction runs. An
 * instruction that does not complete (it faults, or leaves to be run again) takes its hits with it.
 * After it has completed they join `pending`, the DR6 bits of the #DB that is delivered at the next
 * boundary, unless SS was loaded: then one instruction later (vol. 3, 6.8.3). `hits` being set implies
 * that cpu.attn and cpu.brk are.
 */
#ifndef SUBRING_ENGINE_SOFT_DEBUG_H
#define SUBRING_ENGINE_SOFT_DEBUG_H

#include "engine/engine.h"

#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct insn;

/* DR6 (17.2.3): bits that are always 1, among them BLD (11) and RTM (16), which this model has not. */
#define DR6_FIXED 0xffff0ff0ull
#define DR6_WRITABLE 0xe00full
enum { DR6_B = 15, DR6_BD = 1 << 13, DR6_BS = 1 << 14, DR6_BT = 1 << 15 };
/* DR7 (17.2.4) */
#define DR7_FIXED 0x400ull
#define DR7_WRITABLE 0xffff23ffull
enum { DR7_ENABLES = 0xff, DR7_LOCAL = 0x155, DR7_GD = 1 << 13 };
enum dr7_rw { DR7_EXEC, DR7_WRITE, DR7_IO, DR7_READ_WRITE };

/* MSR IA32_DEBUGCTL (17.4.1) */
enum { DEBUGCTL_BTF = 1 << 1 };

enum { DEBUG_WATCHES = 4 + ENGINE_WATCHES_MAX };

struct debug_watch {
	uint64_t linear;
	uint64_t len;
	bool load;     /* loads are hits, too */
	bool store;
	uint32_t hit;  /* DR6_B bit, or DEBUG_HIT_OUTSIDE */
};

/* In `hits`, beyond the bits of DR6: a watchpoint of the debugger outside. */
enum { DEBUG_HIT_OUTSIDE = 1 << 30 };

struct cpu_debug {
	uint32_t pending; /* vcpu_state.debug_pending */
	uint32_t hits;
	uint32_t rf_was;  /* RF_RF before the instruction under way, or 0 */
	uint8_t step;	  /* the run loop takes its stepping side: `code`, or a debugger outside */
	uint8_t code;	  /* bit n: DRn is an enabled code breakpoint */
	unsigned watch_count;
	struct debug_watch watch[DEBUG_WATCHES];
	uint64_t outside_linear; /* of the last hit that is the debugger's */
};

/* DR0-DR3, DR7 or the debugger's wishes have changed. */
void debug_rearm(struct cpu *c);
/* Whether the page of @linear has to stay out of the TLB for loads and stores; only with watch_count. */
bool debug_page_watched(const struct cpu *c, uint64_t linear);
/* An access of the instruction or event under way, on a slow path; only with watch_count. */
void debug_access(struct cpu *c, uint64_t linear, uint64_t size, bool store);
/* IN or OUT (or an element of INS, OUTS) of @size bytes at @port. */
void debug_port(struct cpu *c, uint16_t port, unsigned size);
/* Whether debug_port could find a hit: then string I/O goes element by element. */
bool debug_ports_watched(const struct cpu *c);
/* DR6's B bits of the code breakpoints at @linear. */
uint32_t debug_code_at(const struct cpu *c, uint64_t linear);
/* Whether a code breakpoint, the guest's or the debugger's, lies in [linear, linear + bytes). */
bool debug_code_within(const struct cpu *c, uint64_t linear, unsigned bytes);
/* Another trap of the instruction that is just completing: DR6 bits (BS, BT). */
void debug_trap(struct cpu *c, uint32_t dr6);
/* Puts what is pending, and @dr6, into DR6: a #DB is about to be delivered. */
void debug_report(struct cpu *c, uint32_t dr6);
/*
 * What a hardware task switch does to the debug registers (17.2.4, 17.3.1.5): clears L0-L3 and LE, and
 * raises the trap of the new TSS's T flag.
 */
void debug_task_switched(struct cpu *c, bool t_flag);
/* RESET and INIT. */
void debug_reset(struct cpu *c);

#endif
