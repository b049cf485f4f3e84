// SPDX-License-Identifier: GPL-2.0-or-later
/* Private to what makes cases: random numbers and values, encodings, segments, where operands point. */
#ifndef SUBRING_DIFFTEST_GEN_H
#define SUBRING_DIFFTEST_GEN_H

#include "difftest.h"

/* --- the generator; reset for each case --- */
extern uint64_t gen_rng;

static inline uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static inline uint64_t rnd(void)
{
	gen_rng += 0x9e3779b97f4a7c15ull;
	return mix(gen_rng);
}

/* True once in @n times. */
static inline bool one_in(unsigned n)
{
	return (rnd() >> 7) % n == 0;
}

static inline unsigned below(unsigned n)
{
	return (unsigned)((rnd() >> 11) % n);
}

/* --- values --- */
uint64_t interesting(void);
void random_extended(uint8_t *p); /* 10 bytes */
void random_vector(uint8_t *p);	  /* 16 bytes */

/* --- encode.c --- */
struct enc {
	uint8_t b[32];
	unsigned n;
};
void enc_byte(struct enc *e, unsigned b);
void enc_prefixes(struct enc *e, const struct opcode *op, enum dt_kind kind);
/* Prefixes REX or VEX too. @xb: the bits X and B, as they are to be; negative: any. */
void enc_opcode(struct enc *e, const struct opcode *op, enum insn_mode mode, int xb);
unsigned enc_modrm(const struct opcode *op);
void enc_tail(struct enc *e, const struct opcode *op); /* ModRM, SIB, displacement, immediate, if there are such */

/* --- segments.c --- */
void segments_init(uint64_t seed);
void choose_segments(struct dt_case *c);
uint16_t selector(void);       /* of any kind */
uint16_t code_selector(void);  /* mostly of code */
uint16_t data_selector(void);  /* mostly such that DS may have it */
uint16_t stack_selector(void); /* such that SS may have it */
uint64_t landing(uint16_t sel); /* offset of a branch target in code segment @sel */

/* --- address.c --- */
uint64_t target(const struct dt_case *c, unsigned seg, unsigned size, unsigned addrsize); /* an offset */
void set_gpr(struct dt_case *c, unsigned n, uint64_t v);
void aim(struct dt_case *c, struct insn *in, uint64_t offset); /* makes the memory operand have that offset */
void aim_linear(struct dt_case *c, struct insn *in, uint64_t la);
void find_ea(struct dt_case *c, const struct insn *in);
unsigned memory_size(const struct insn *in); /* bytes of the memory operand */
/* Reads @size bytes at @la as they are before the case; false if any is not there. */
bool peek(const struct dt_case *c, uint64_t la, void *buf, unsigned size);
/* Gives the case bytes of its own at @la, if that is writable memory. */
void poke(struct dt_case *c, uint64_t la, const void *bytes, unsigned size);

/* --- gen.c --- */
bool runs_natively(const struct opcode *op);
void set_kind(struct dt_case *c, enum dt_kind kind);
void random_state(struct dt_case *c); /* all registers; wants the kind */

/* --- block.c: made by block_starts, block_append until there are enough, block_finish --- */
bool block_starts(struct dt_case *c); /* false: not at this place */
void block_append(struct dt_case *c, unsigned row);
void block_finish(struct dt_case *c);

/* --- operands.c --- */
void fit_registers(struct dt_case *c, struct insn *in);

/* --- memory --- */

/* Kinds of content of memory, a line of 64 bytes each */
enum {
	LINE_VECTOR, LINE_VECTOR2, LINE_VECTOR3, LINE_SAME, LINE_CODE, LINE_EXTENDED, LINE_BCD, LINE_INTEGER,
	LINE_KINDS
};

/* Images for XRSTOR and FXRSTOR in the second data page: standard format, then compacted. */
enum { IMAGE = 0x1400, IMAGE_COMPACT = 0x1800, IMAGE_SIZE = 832 };

void fill_memory_before(uint64_t seed);
void gen_low_pages(bool there);

#endif
