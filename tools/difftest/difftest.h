// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The differential tester: random instructions, executed by the host CPU and by engine soft from
 * the same state; all that they leave behind is compared. docs/differential-testing.md explains it.
 *
 *   main.c     options, batches, reports
 *   gen.c      makes a case from (seed, index): instruction, registers, where its operands point
 *   values.c   random values, and the memory that each case starts with
 *   native.c   the host CPU as oracle: a forked child, one signal an instruction
 *   soft.c     the same case under the interpreter
 *   compare.c  what must be equal, and the table of what need not be, with the reasons
 *
 * Both sides see the same linear addresses: two pages of code (not writable), two of data, one that is
 * read-only, nothing around them; and, where the host lets us map them, two pages below 64 KiB for
 * 16-bit addresses. Memory starts out the same for each case.
 */
#ifndef SUBRING_DIFFTEST_H
#define SUBRING_DIFFTEST_H

#include "engine/soft/cpu.h"
#include "engine/soft/decode/insn.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	DT_PAGE = 4096,
	DT_CODE = 0x10000000, /* DT_CODE_PAGES, readable and executable, filled with INT3 */
	DT_CODE_PAGES = 2,
	DT_LANDING = DT_CODE + 0x800, /* branch targets; no instruction is placed in the 256 bytes from here */
	DT_DATA = 0x20000000, /* two pages readable and writable, then a read-only one */
	DT_DATA_PAGES = 3,
	DT_RO = DT_DATA + 2 * DT_PAGE,
	DT_LOW = 0x6000,
	DT_LOW_PAGES = 2,
	DT_MEM = (2 + DT_LOW_PAGES) * DT_PAGE, /* writable bytes: two data pages, then the low pages */
	DT_BLOCK_MAX = 16, /* instructions in a case */
	DT_BYTES = DT_BLOCK_MAX * INSN_BYTES_MAX + 1,
	DT_DIFF_MAX = 1024,
	DT_BATCH = 1024,
	DT_DATA_SEL = 0x2b, DT_CODE64_SEL = 0x33, DT_CODE32_SEL = 0x23, /* Linux's selectors of user segments */
};

/* Register file, both as input and as output. */
struct dt_state {
	uint64_t gpr[16];
	uint64_t rip, rflags;
	uint64_t fs_base, gs_base;
	uint16_t sel[SEG_COUNT];
	uint16_t fcw, fsw;
	uint8_t ftw;
	uint32_t mxcsr;
	uint8_t st[8][16];
	uint8_t xmm[16][16];
	uint8_t ymm_hi[16][16];
};

struct dt_case {
	uint64_t index;
	enum insn_mode mode;
	uint16_t row;	    /* the row it was made from */
	uint8_t avail;	    /* bytes before the end of the code pages cuts them off */
	uint8_t bytes[DT_BYTES]; /* one or more instructions, then INT3 */
	uint8_t len;
	uint8_t count;	    /* instructions */
	int8_t decoded;	    /* insn_decode's result for the first */
	bool has_ea;
	uint64_t ea;	    /* linear address of the memory operand */
	struct dt_state in;
};

/* Vectors beyond the CPU's: how else an execution can end */
enum { DT_DIED = 0x100, DT_STUCK, DT_OTHER };

struct dt_result {
	struct dt_state out;
	uint32_t vector; /* EXC_BP when the instruction completed: RIP is then the address of the INT3 + 1 */
	uint32_t error;
	uint64_t cr2;
	uint32_t diff_first, diff_len; /* changed bytes of writable memory, from first to last */
	uint64_t diff_hash;
	uint8_t diff[DT_DIFF_MAX];
};

/* --- gen.c, values.c --- */
struct dt_options {
	uint64_t seed;
	bool mode64, mode32;
	const char *row; /* NULL: all */
	unsigned block; /* instructions a case, 1 to DT_BLOCK_MAX */
	bool low_pages;
};
void gen_init(const struct dt_options *o);
unsigned gen_rows(void); /* how many (row, mode) pairs there are to choose from */
void gen_case(uint64_t index, struct dt_case *c);
extern uint8_t dt_pristine[DT_MEM + DT_PAGE]; /* writable memory, then the read-only page */
/* Where linear address @la is in dt_pristine, or NULL. */
const uint8_t *gen_memory(uint64_t la);

/* --- native.c --- */
/* Maps the pages at their addresses. 0 or -errno. @low tells whether the low pages could be had. */
int native_init(bool *low);
/* Runs @n cases (at most DT_BATCH). Cases that kill or hang the child say so in their result. */
void native_run(const struct dt_case *cases, unsigned n, struct dt_result *results);
void native_finish(void);

/* --- soft.c --- */
int soft_init(bool low);
void soft_run(const struct dt_case *c, struct dt_result *r);

/* --- compare.c --- */
/* True when all is equal; else @why gets one line for each difference. */
bool compare_results(const struct dt_case *c, const struct dt_result *native, const struct dt_result *soft, char *why,
		     size_t len);
/* NULL, or why this case is not a fair one: host and model are known to differ. */
const char *compare_excluded(const struct dt_case *c, const struct insn *in);

/* Shared by native.c and soft.c: finds what changed in @mem, fills the diff of @r, restores it. */
static inline uint64_t dt_hash(const uint8_t *p, unsigned n)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (unsigned i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3ull;
	return h;
}

void dt_memory_diff(uint8_t *data, uint8_t *low, struct dt_result *r);

#endif
