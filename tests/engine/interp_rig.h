// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A stand for the interpreter's integer families: one vCPU, 128 KiB of linear memory with
 * permissions a page, ports that count. It takes the place of mmu/, system/ and vcpu/, so that a
 * test can say which page faults, what is MMIO, and see in which order things happen.
 */
#ifndef SUBRING_TESTS_INTERP_RIG_H
#define SUBRING_TESTS_INTERP_RIG_H

#include "engine/soft/interp/interp.h"
#include "engine/soft/soft.h"

enum { RIG_PAGES = 32, RIG_NO_FAULT = -1 };
enum rig_page { PAGE_RAM, PAGE_READONLY, PAGE_ABSENT, PAGE_MMIO };

struct rig {
	struct cpu *c;
	uint8_t *mem; /* RIG_PAGES pages: linear address 0 */
	enum rig_page page[RIG_PAGES];
	/* what the last instruction did */
	int vector;	     /* exception, or RIG_NO_FAULT */
	uint32_t error;
	unsigned executions; /* how often its handler was entered */
	unsigned mmio_loads, mmio_stores, port_reads, port_writes, world_stops;
	bool world_stopped;
	uint16_t port_denied; /* io_check refuses it; 0: none */
	void (*seen)(uint64_t linear, unsigned size, bool write); /* told of each access to MMIO, and of those that fault */
};

extern struct rig rig;

/* A fresh vCPU in @mode at CPL @cpl, RIP 0x1000, rSP 0x8000, all memory RAM and zero. */
void rig_reset(enum insn_mode mode, unsigned cpl);
/*
 * Runs the instruction in @code at the present RIP to its end: MMIO and ports are answered and
 * replayed, repeated instructions come back until done. Returns rig.vector.
 */
int rig_run(const void *code, size_t len);
/* The same, but a single execution of its handler (and its replays). */
int rig_step(const void *code, size_t len);

#define RUN(...) rig_run((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))
#define STEP(...) rig_step((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

uint64_t rig_peek(uint64_t linear, unsigned size);
void rig_poke(uint64_t linear, unsigned size, uint64_t value);

#endif
