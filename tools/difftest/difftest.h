// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The differential tester: random instructions, executed by the host CPU and by engine soft from
 * the same state; all that they leave behind is compared. docs/differential-testing.md explains it.
 *
 *   main.c     options, batches, reports
 *   gen.c      makes a case from (seed, index)
 *   encode.c   its bytes
 *   operands.c, address.c   registers and memory fitted to the instruction: where its operands point
 *   block.c    cases of several instructions
 *   segments.c the LDT, and the segment registers
 *   values.c   random values, and the memory that each case starts with
 *   native.c   the host CPU as oracle: a forked child, one signal an instruction
 *   soft.c     the same case under the interpreter
 *   compare.c  what must be equal, and the tables of what need not be, with the reasons
 *   exclude.c  cases that are not fair, with the reasons
 *
 * Both sides see the same linear addresses: two pages of code (not writable), two of data, one that is
 * read-only, nothing around them; a page of each at the end of the 64 KiB that begin with them; and, where the
 * host lets us map them, two pages below 64 KiB for 16-bit addresses. Memory starts out the same for each
 * case but for a few bytes of its own (dt_case.poke).
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
	DT_CODE_TOP = DT_CODE + 0xf000, /* one more */
	DT_LANDING = DT_CODE + 0x800, /* branch targets; no instruction is placed in the 256 bytes from here */
	DT_DATA = 0x20000000, /* two pages readable and writable, then a read-only one */
	DT_DATA_PAGES = 3,
	DT_RO = DT_DATA + 2 * DT_PAGE,
	DT_TOP = DT_DATA + 0xf000, /* one page readable and writable */
	DT_LOW = 0x6000,
	DT_LOW_PAGES = 2,
	DT_MEM = (2 + 1 + DT_LOW_PAGES) * DT_PAGE, /* writable bytes: two data pages, the top page, the low pages */
	DT_AT_TOP = 2 * DT_PAGE, DT_AT_LOW = 3 * DT_PAGE, /* where they are in it */
	DT_LDT_ENTRIES = 384,
	DT_BLOCK_MAX = 16, /* instructions in a case */
	DT_BYTES = (DT_BLOCK_MAX + 1) * INSN_BYTES_MAX + 1,
	DT_DIFF_MAX = 1024,
	DT_BATCH = 1024,
	DT_DATA_SEL = 0x2b, DT_CODE64_SEL = 0x33, DT_CODE32_SEL = 0x23, /* Linux's selectors of user segments */
};

/* Kinds of cases: the code segment's size, and where segments come from. */
enum dt_kind {
	DT_KIND_64,
	DT_KIND_32,  /* flat segments of the GDT */
	DT_KIND_16,  /* 16-bit code; all segments from the LDT */
	DT_KIND_LDT, /* 32-bit code; all segments from the LDT */
	DT_KINDS
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
	enum dt_kind kind;
	enum insn_mode mode; /* of the kind */
	uint16_t row;	    /* the row it was made from */
	uint8_t avail;	    /* bytes before the end of the code pages cuts them off */
	uint8_t bytes[DT_BYTES]; /* one or more instructions, then INT3 */
	uint8_t len;
	uint8_t count;	    /* instructions */
	int8_t decoded;	    /* insn_decode's result for the first */
	bool has_ea;
	uint64_t ea;	    /* linear address of the memory operand */
	uint64_t ea_offset; /* its offset in its segment */
	uint64_t code;	    /* linear address of the first byte */
	uint64_t poke_la;   /* bytes that this case has in writable memory */
	uint8_t poke_len, poke[40];
	struct vcpu_segment seg[SEG_COUNT]; /* what the selectors name; FS and GS with the case's base */
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

/* The low @size bytes of @v. */
static inline uint64_t cut(uint64_t v, unsigned size)
{
	return size == 8 ? v : v & ((1ull << 8 * size) - 1);
}

/* --- gen.c, values.c, segments.c, address.c --- */
struct dt_options {
	uint64_t seed;
	unsigned kinds; /* 1 << enum dt_kind */
	const char *row; /* NULL: all */
	unsigned block; /* instructions a case, 1 to DT_BLOCK_MAX */
	bool low_pages;
};
void gen_init(const struct dt_options *o);
unsigned gen_rows(void); /* how many (row, mode) pairs there are to choose from */
void gen_case(uint64_t index, struct dt_case *c);
extern uint8_t dt_pristine[DT_MEM + DT_PAGE]; /* writable memory, then the read-only page */
/* The byte that is at linear address @la before @c (in code pages: around the instruction), or NULL. */
const uint8_t *gen_memory(const struct dt_case *c, uint64_t la);
/* The same, 0 where there is nothing. */
static inline uint8_t gen_byte(const struct dt_case *c, uint64_t la)
{
	const uint8_t *p = gen_memory(c, la);

	return p ? *p : 0;
}
/* Where @la is in the DT_MEM bytes that are writable; false: not there. */
bool dt_writable(uint64_t la, uint32_t *at);
extern uint64_t dt_ldt[DT_LDT_ENTRIES];
/* What a selector of the LDT, or of a user segment in Linux's GDT, names; null when it can not be loaded. */
struct vcpu_segment segment_of(uint16_t sel);
bool segment_flat(const struct vcpu_segment *s); /* all offsets, from linear address 0 */
bool segment_inside(const struct vcpu_segment *s, uint64_t offset, unsigned size);
uint64_t linear_of(const struct dt_case *c, unsigned seg, uint64_t offset);
unsigned stack_width(const struct dt_case *c);
uint64_t stack_linear(const struct dt_case *c); /* of SS:rSP */

/* Where an instruction has the selector that it loads or looks at. */
enum selector_place {
	SELECTOR_NONE,
	SELECTOR_REGISTER, SELECTOR_MEMORY, /* the rm operand */
	SELECTOR_POINTER, /* the memory operand, behind an offset */
	SELECTOR_INSN,	  /* the instruction, behind an offset */
	SELECTOR_STACK,
	SELECTOR_FRAME,	  /* the stack, behind an offset */
};
enum selector_place selector_place(const struct insn *in);
uint16_t selector_operand(const struct dt_case *c, const struct insn *in); /* 0 if there is none */

/* --- native.c --- */
/*
 * Maps the pages at their addresses and loads the LDT. 0 or -errno. @low tells whether the low pages could be had,
 * @ldt whether the LDT.
 */
int native_init(bool *low, bool *ldt);
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

/* --- exclude.c --- */
/* NULL, or why this case is not a fair one: host and model are known to differ. */
const char *compare_excluded(const struct dt_case *c, const struct insn *in);
bool operand_is_image(const struct insn *in); /* of FXSAVE, XSAVE and their kin */
bool operand_in_parts(const struct insn *in); /* processors make several accesses */

/* The parts of writable memory where one side has them; NULL: not there. */
struct dt_memory {
	uint8_t *data, *top, *low;
};
/* Puts a case's own bytes there. */
void dt_memory_poke(const struct dt_memory *m, const struct dt_case *c);
/* Finds what changed since the run began, fills the diff of @r, restores it. */
void dt_memory_diff(const struct dt_memory *m, struct dt_result *r);
/* Where in the DT_CODE_PAGES + 1 pages of code @la is. */
static inline unsigned dt_code_at(uint64_t la)
{
	return la >= DT_CODE_TOP ? (unsigned)(la - DT_CODE_TOP + DT_CODE_PAGES * DT_PAGE) : (unsigned)(la - DT_CODE);
}

#endif
