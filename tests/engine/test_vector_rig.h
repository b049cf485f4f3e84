// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A stand for vector/: one vCPU whose linear memory is a few pages of this process at their own
 * addresses, so that the same instruction with the same registers can be run by the vCPU and by the
 * host, and everything compared.
 *
 * Pages: absent, RAM, RAM, absent. Stores need no permission but presence; MMIO there is none.
 */
#ifndef SUBRING_TESTS_VECTOR_RIG_H
#define SUBRING_TESTS_VECTOR_RIG_H

#include "engine/soft/interp/interp.h"
#include "engine/soft/soft.h"

enum { VRIG_RAM = 2 * 4096, VRIG_NO_FAULT = -1 };

struct vrig {
	struct cpu *c;
	uint8_t *ram;	/* VRIG_RAM bytes below 2 GiB, between two absent pages */
	int vector;	/* of the last instruction, or VRIG_NO_FAULT */
	uint32_t error;
	unsigned slow;	/* accesses that missed the TLB */
};

extern struct vrig vrig;

/* A fresh vCPU in @mode at CPL 3, everything switched on, x87 and SSE in their initial state. */
void vrig_reset(enum insn_mode mode);
/* No access hits the TLB. */
void vrig_without_tlb(void);
/* Runs one instruction; vrig.vector. */
int vrig_run(const uint8_t *code, size_t len);
#define VRUN(...) vrig_run((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* What the host needs and gives. RSP is not the guest's. */
struct native {
	uint64_t gpr[16], rflags;
	struct cpu_xsave x;
	int signal;	/* 0: none */
	uint64_t fault; /* where the page fault was; 0: it was none */
};

/* Takes the registers of the vCPU, or gives them back. */
void native_from_cpu(struct native *n, const struct cpu *c);
/* Runs @code on the host. */
void native_run(struct native *n, const uint8_t *code, size_t len);
/* Fails the test unless the vCPU and @n agree; @what is printed then. FIP, FDP and FOP apart. */
void native_compare(const struct native *n, const struct cpu *c, const char *what);
/* 1 when they differ; says how on stderr. */
int native_differs(const struct native *n, const struct cpu *c, const char *what);
/* Whether @signal is what @vector (VRIG_NO_FAULT: none) looks like to a process. */
int native_same_fault(int signal, int vector);

#endif
