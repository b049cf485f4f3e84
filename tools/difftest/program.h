// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A program: items in the order in which they stand in memory, mostly one instruction each, with the fields that
 * depend on where items come to lie. So an item can be left out and the rest put together again.
 */
#ifndef SUBRING_DIFFTEST_PROGRAM_H
#define SUBRING_DIFFTEST_PROGRAM_H

#include "gen.h"

enum { LABELS_MAX = 64, NO_LABEL = -1, CODE_MAX = 600 };

/* What stands in the field of an item that is filled in later. */
enum fix {
	FIX_NONE,
	FIX_REL,     /* distance from the item's end to its label (plus) */
	FIX_ADDRESS, /* the label's address plus `plus` */
	FIX_LINEAR,  /* distance from the item's end to `linear` (RIP-relative data) */
};

struct item {
	uint8_t bytes[INSN_BYTES_MAX + 1];
	uint8_t len;
	uint8_t fix, fix_at, fix_size;
	uint8_t unit;  /* items of a unit are left out together */
	int8_t label;
	int32_t plus;
	uint64_t linear;
	uint16_t row;  /* for the statistics */
};

struct program {
	struct dt_case proto;	/* kind, mode, segments, code, rip */
	unsigned count, bytes, labels, units;
	struct item item[PROGRAM_ITEMS_MAX];
	uint8_t label_at[LABELS_MAX]; /* before which item */
	uint16_t bases, indexes, counters; /* sets of registers and what they are kept for, where the next instruction goes */
	uint16_t first_bases, first_indexes; /* at the start */
	bool in_alias, stores_code;
};
extern struct program prog;

/* --- program.c --- */
/* Appends @len bytes; NULL when the program is full. A unit of its own, unless it is set. */
struct item *program_add(const uint8_t *bytes, unsigned len);
int label_new(void); /* NO_LABEL: no more */
void label_here(int label);

/* --- pieces.c --- */
void pieces_init(void);
/* One random instruction, of what compilers emit or of all; false: what came up does not fit. */
bool piece_random(void);
bool piece_flagless(void); /* one that leaves the flags alone */
bool piece_string(void);
bool piece_special(unsigned depth); /* stack frames, POPF, divisions, pointers that move */
/* An instruction that may be patched later (label on its byte @*plus); and a store to one. */
bool piece_patchable(void);
bool piece_store_code(void);
/* Around the body of a loop: what runs first is stored to at the end, and runs again. */
int piece_patch_begin(void);
void piece_patch_end(int which);
void pieces_reset(void);
void pieces_finish(void); /* labels that stores to code wait for */
/* Appends MOV of a 32-bit immediate, the address of a label, to register @r. */
struct item *mov_imm(unsigned r, uint32_t v);
struct item *mov_label(unsigned r, int label, int32_t plus);
/* opcode /ext with register @r and, of 83, a byte for the immediate; @wide: 64 bits, in 64-bit mode. */
struct item *add_modrm_op(unsigned opcode, unsigned ext, unsigned r, bool wide);
unsigned free_register(void); /* none that is kept for something; 8 to 15 in 64-bit mode too */

#endif
