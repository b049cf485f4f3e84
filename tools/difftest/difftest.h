// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The differential tester: random instructions, executed by the host CPU and by engine soft from
 * the same state; all that they leave behind is compared. docs/differential-testing.md explains it.
 *
 *   main.c     options, batches, reports
 *   gen.c      makes a case from (seed, index)
 *   encode.c   its bytes
 *   operands.c, address.c   registers and memory fitted to the instruction: where its operands point
 *   block.c    straight lines of several instructions
 *   program.c, pieces.c   blocks: programs with branches, loops, calls, self-modification
 *   shrink.c   makes a block that differs smaller
 *   segments.c the LDT, and the segment registers
 *   values.c   random values, and the memory that each case starts with
 *   native.c   the host CPU as oracle: a forked child, one signal an instruction
 *   soft.c     the same case under engine soft: by the interpreter, by the translator
 *   compare.c  what must be equal, and the tables of what need not be, with the reasons
 *   liveness.c flags that are dead at an instruction of a block
 *   exclude.c  cases that are not fair, with the reasons
 *
 * Both sides see the same linear addresses: two pages of code (not writable), two of data, one that is
 * read-only, nothing around them; a page of each at the end of the 64 KiB that begin with them; and, where the
 * host lets us map them, two pages below 64 KiB for 16-bit addresses. The pages of code and data that lie together
 * are mapped a second time DT_ALIAS bytes further on; the code is writable there. Memory starts out the same for each
 * case but for a few bytes of its own (dt_case.poke).
 */
#ifndef SUBRING_DIFFTEST_H
#define SUBRING_DIFFTEST_H

#include "engine/soft/cpu.h"
#include "engine/soft/decode/insn.h"
#include "engine/soft/tuning.h"

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
	DT_ALIAS = 0x20000,
	DT_LDT_ENTRIES = 384,
	DT_BLOCK_MAX = 16, /* instructions in a straight line */
	DT_BYTES = 900,	   /* of a case */
	DT_RUNS = 4,	   /* a program runs so often in a row, with other registers each time */
	DT_LINE = 64,
	DT_LINES_MAX = 64, /* changed lines of memory that a result keeps */
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

/* How engine soft runs a case. */
enum dt_tier { DT_INTERP, DT_TRANSLATE, DT_TIERS };

/* Register file, both as input and as output. */
struct dt_state {
	uint64_t gpr[16];
	uint64_t rip, rflags;
	uint64_t fs_base, gs_base;
	uint16_t sel[SEG_COUNT];
	uint16_t fcw, fsw;
	uint8_t ftw;
	uint16_t fop; /* with fip and fdp: of engine soft alone, 0 before each case */
	uint64_t fip, fdp;
	uint32_t mxcsr;
	uint8_t st[8][16];
	uint8_t xmm[16][16];
	uint8_t ymm_hi[16][16];
	uint8_t zmm_hi[16][32], hi16[16][64]; /* zero where the model has no AVX-512 */
	uint64_t k[8];
};
/* 16 bytes, @lane 0 to 3, of vector register @n, 0 to 31. */
static inline uint8_t *dt_lane(struct dt_state *s, unsigned n, unsigned lane)
{
	if (n >= 16)
		return s->hi16[n - 16] + 16 * lane;
	return lane == 0 ? s->xmm[n] : lane == 1 ? s->ymm_hi[n] : s->zmm_hi[n] + 16 * (lane - 2);
}

struct dt_case {
	uint64_t index;
	enum dt_kind kind;
	enum insn_mode mode; /* of the kind */
	uint16_t row;	    /* the row it was made from */
	bool program;	    /* a block with control flow: program.c */
	bool stores_code;   /* it modifies itself */
	uint16_t avail;	    /* bytes before the end of the code pages cuts them off */
	uint8_t bytes[DT_BYTES]; /* one or more instructions, then INT3 */
	uint16_t len;
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
	uint64_t diff_hash; /* of the changed lines of writable memory */
	uint32_t lines;	    /* how many there are; the first DT_LINES_MAX are here */
	uint64_t code_hash; /* of the code pages after a program that changed them, or 0 */
	bool dead_flags;    /* flags that are dead at an instruction that faults are not specified */
	uint16_t line[DT_LINES_MAX];
	uint8_t content[DT_LINES_MAX][DT_LINE];
};

/* The low @size bytes of @v. */
static inline uint64_t cut(uint64_t v, unsigned size)
{
	return size == 8 ? v : v & ((1ull << 8 * size) - 1);
}

/* The CPU model that engine soft has, and cases are made for. */
extern struct cpu_model dt_model;
void dt_model_default(void); /* "host", if nothing was chosen */

/* --- gen.c, values.c, segments.c, address.c --- */
struct dt_options {
	uint64_t seed;
	unsigned kinds; /* 1 << enum dt_kind; of single instructions and straight lines */
	unsigned programs; /* the same, of programs */
	const char *row; /* NULL: all */
	bool avx512;	 /* only AVX-512's */
	unsigned block; /* instructions a case, 1 to DT_BLOCK_MAX */
	bool low_pages;
};
void gen_init(const struct dt_options *o);
unsigned gen_rows(void); /* how many (row, mode) pairs there are to choose from */
void gen_case(uint64_t index, struct dt_case *c);
extern uint8_t dt_pristine[DT_MEM + DT_PAGE]; /* writable memory, then the read-only page */
/* Where memory is looked at while a case runs: byte @la, or NULL. NULL: as it is before the case. */
extern const uint8_t *(*gen_live_memory)(uint64_t la);
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

/* --- program.c --- */
enum { PROGRAM_ITEMS_MAX = 96 };
struct program_drop { /* bit n: item n is left out */
	uint64_t bits[(PROGRAM_ITEMS_MAX + 63) / 64];
};
/* For the shrinker: what the program of case @index is made of; pieces that belong together have the same unit. */
void program_init(const struct dt_options *o);
unsigned program_units(uint64_t index);
void program_drop_unit(struct program_drop *drop, unsigned unit);
/* The case @index without what is in @drop (or NULL). */
void program_case(uint64_t index, const struct program_drop *drop, struct dt_case *c);
/* All runs of a program but the first want those before them. */
static inline uint64_t program_first(uint64_t index)
{
	return index - index % DT_RUNS;
}

/* --- shrink.c --- */
/* Makes *@c, which differs under @tier, smaller. The first of the runs that have to be made so that it differs. */
uint64_t shrink(struct dt_case *c, enum dt_tier tier, struct program_drop *drop);

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
int soft_init(bool low, const struct soft_tuning *tuning); /* of the translator's */
void soft_run(const struct dt_case *c, enum dt_tier tier, struct dt_result *r);
uint64_t soft_instructions(void); /* that the interpreter has executed, without those before an exception in their block */
void soft_forget(enum dt_tier tier); /* what it has in its caches */
/*
 * Why a program that differs under @tier is not to be counted, or NULL. Runs it instruction by instruction, for one that is
 * not fair as it stands there. A program that stores into itself may make flags live that were dead when it was translated: with
 * exact flags it does not differ then.
 */
const char *soft_excuse(const struct dt_case *c, enum dt_tier tier, const struct dt_result *native);

/* --- liveness.c --- */
/* Arithmetic flags that are overwritten before they are read, on every path from the instruction at @rip of a case. */
uint32_t dead_flags(const struct dt_case *c, uint64_t rip);

/* --- compare.c --- */
/* What the host does not show of its own: FIP, FDP and FOP have to be the same in both tiers. As compare_results. */
bool compare_tiers(const struct dt_result soft[DT_TIERS], char *why, size_t len);
/* True when all is equal; else @why gets one line for each difference. */
bool compare_results(const struct dt_case *c, const struct dt_result *native, const struct dt_result *soft, char *why,
		     size_t len);
/* The instruction that ended a case, or its last one; zero when it is illegal. */
void ending_instruction(const struct dt_case *c, const struct dt_result *n, struct insn *in);
/* What is below rSP is not compared when it faults. */
bool stores_before_fault(const struct insn *in);

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
/* The pages of code as they are before a case: INT3, but for the bytes of the case. */
enum { DT_CODE_SIZE = (DT_CODE_PAGES + 1) * DT_PAGE };
struct dt_code {
	uint8_t image[DT_CODE_SIZE];
	unsigned from, to; /* where the bytes are */
};
void dt_code_init(struct dt_code *k);
struct dt_range {
	unsigned from, to;
};
/* Makes @k as @c wants it; how many ranges have to be written: none when the code is there already. */
unsigned dt_code_place(struct dt_code *k, const struct dt_case *c, struct dt_range r[2]);
/* Zero when @code is as @k says; else a number that tells one change from another, and where it has to be restored. */
uint64_t dt_code_changed(const struct dt_code *k, const uint8_t *code, struct dt_range *r);
/* Finds what changed since the run began, puts it into @r, restores it. */
void dt_memory_diff(const struct dt_memory *m, struct dt_result *r);
/* Of the pages that are mapped twice, the first address. */
static inline uint64_t dt_first_mapping(uint64_t la)
{
	bool code = la - (DT_CODE + DT_ALIAS) < DT_CODE_PAGES * DT_PAGE, data = la - (DT_DATA + DT_ALIAS) < DT_DATA_PAGES * DT_PAGE;

	return code || data ? la - DT_ALIAS : la;
}
/* Where in the DT_CODE_PAGES + 1 pages of code @la is. */
static inline unsigned dt_code_at(uint64_t la)
{
	la = dt_first_mapping(la);
	return la >= DT_CODE_TOP ? (unsigned)(la - DT_CODE_TOP + DT_CODE_PAGES * DT_PAGE) : (unsigned)(la - DT_CODE);
}

#endif
