// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Makes cases. Everything follows from (seed, index): a case can be made again alone.
 *
 * A row of the opcode table and a kind of case give an encoding with random prefixes, registers and
 * immediates, sometimes an illegal one. The instruction is then decoded, and registers are chosen so
 * that its operands point where it is interesting.
 */
#include "gen.h"

#include <string.h>

static struct dt_options opt;
static bool only_programs;
struct cpu_model dt_model;

void dt_model_default(void)
{
	struct error err = { 0 };

	if (!dt_model.name)
		cpu_model_parse("host", &dt_model, &err);
}

/* (row, kind) pairs to choose from */
static struct {
	uint16_t row;
	uint8_t kind;
} choice[16384];
static unsigned choices;

/* What user code may execute, if only to be refused; what only the host has it executes, too, so that is left out. */
bool runs_natively(const struct opcode *op)
{
	if (!cpu_model_has(&dt_model, op->feature) || (opcode_is_avx512(op) && !cpu_model_has(&dt_model, FEAT_AVX512F)))
		return false;
	switch (op->id) {
	case INSN_ID_INTO: /* a vector that user code may name */
	case INSN_ID_CLI:  /* IOPL is 0 */
	case INSN_ID_STI: return true;
	default: return op->attr & (OP_USER | OP_CPL0);
	}
}

void set_kind(struct dt_case *c, enum dt_kind kind)
{
	c->kind = kind;
	c->mode = kind == DT_KIND_64 ? INSN_MODE64 : kind == DT_KIND_16 ? INSN_MODE16 : INSN_MODE32;
}

/* --- a case --- */

static void random_avx512(struct dt_state *s)
{
	if (one_in(8)) /* in their initial configuration */
		return;
	for (unsigned i = 0; i < 32; i++)
		for (unsigned lane = i < 16 ? 2 : 0; lane < 4; lane++)
			random_vector(dt_lane(s, i, lane));
	for (unsigned i = 0; i < 8; i++)
		s->k[i] = one_in(6) ? 0 : one_in(6) ? ~0ull : one_in(3) ? rnd() & rnd() & rnd() : rnd();
}

static void random_fp(struct dt_state *s)
{
	uint16_t pending;

	s->mxcsr = (uint32_t)(0x1f80 | (below(4) << 13) | (one_in(4) ? 0x8000 : 0) | (one_in(4) ? 0x40 : 0) |
			      (one_in(2) ? below(64) : 0));
	if (one_in(5))
		s->mxcsr = (s->mxcsr & ~0x1f80u) | below(64) << 7;
	s->fcw = (uint16_t)(0x7f | below(4) << 10 | (one_in(2) ? 3 : below(4)) << 8 | (one_in(16) ? 0x1000 : 0));
	if (one_in(5))
		s->fcw = (uint16_t)((s->fcw & ~0x3f) | below(64));
	s->fsw = (uint16_t)(below(8) << 11 | (rnd() & 0x4700));
	pending = one_in(3) ? (uint16_t)below(64) | (one_in(4) ? 0x40 : 0) : 0;
	if ((pending & ~s->fcw & 0x3f) && !one_in(4)) /* a pending exception ends nearly every instruction: not too often */
		pending &= s->fcw & 0x7f;
	s->fsw |= pending;
	if (pending & ~s->fcw & 0x3f)
		s->fsw |= 0x8080;
	s->ftw = one_in(3) ? 0xff : one_in(3) ? 0 : (uint8_t)rnd();
	for (unsigned i = 0; i < 8; i++) {
		memset(s->st[i], 0, 16);
		random_extended(s->st[i]);
	}
	for (unsigned i = 0; i < 16; i++) {
		random_vector(s->xmm[i]);
		random_vector(s->ymm_hi[i]);
	}
	if (cpu_model_has(&dt_model, FEAT_AVX512F))
		random_avx512(s);
}

void random_state(struct dt_case *c)
{
	struct dt_state *s = &c->in;
	static const uint64_t bases[] = { 0, 0, DT_DATA, 0x1000, 0xfffffffffffff000ull, 0x100000 };

	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = c->mode == INSN_MODE64 ? interesting() : i < 8 ? (uint32_t)interesting() : 0;
	s->rflags = RF_FIXED | RF_IF | (rnd() & FL_ALL) | (one_in(6) ? RF_DF : 0) | (one_in(24) ? RF_AC : 0);
	s->fs_base = bases[below(6)];
	s->gs_base = bases[below(6)];
	if (c->mode != INSN_MODE64) {
		s->fs_base = (uint32_t)s->fs_base;
		s->gs_base = (uint32_t)s->gs_base;
	}
	choose_segments(c);
	random_fp(s);
	if (c->mode != INSN_MODE64) {
		memset(s->xmm[8], 0, sizeof(s->xmm) / 2);
		memset(s->ymm_hi[8], 0, sizeof(s->ymm_hi) / 2);
		memset(s->zmm_hi[8], 0, sizeof(s->zmm_hi) / 2);
		memset(s->hi16, 0, sizeof(s->hi16));
	}
}

/* In its segment, with the first byte below the limit: the rest may be over it. */
static bool choose_place(struct dt_case *c)
{
	const struct vcpu_segment *cs = &c->seg[SEG_CS];
	bool ldt = c->kind == DT_KIND_16 || c->kind == DT_KIND_LDT;
	uint64_t end = DT_CODE + DT_CODE_PAGES * DT_PAGE, la;

	switch (below(32)) {
	case 0: la = DT_CODE + DT_PAGE - 1 - below(15); break; /* across the pages */
	case 1: la = end - 1 - below(18); break;	 /* at the very end */
	case 2:
	case 3:
		if (ldt) { /* at the end of the first 64 KiB, or of the segment */
			la = one_in(2) ? cs->base + 0xffffull - below(16) : (uint32_t)(cs->base + cs->limit - below(16));
			break;
		}
		__attribute__((fallthrough));
	default:
		do {
			la = DT_CODE + 256 + below(DT_CODE_PAGES * DT_PAGE - 512);
		} while (la + 32 > DT_LANDING && la < DT_LANDING + 256 + 32);
	}
	if (la >= DT_CODE_TOP && la < DT_CODE_TOP + DT_PAGE)
		end = DT_CODE_TOP + DT_PAGE;
	else if (la < DT_CODE || la >= end || (la + 32 > DT_LANDING && la < DT_LANDING + 256))
		return false;
	c->code = la;
	c->in.rip = c->mode == INSN_MODE64 ? la : (uint32_t)(la - cs->base);
	if (!ldt)
		c->in.rip = la;
	else if ((c->mode == INSN_MODE16 && c->in.rip > 0xffff) || !segment_inside(cs, c->in.rip, 1))
		return false;
	c->avail = end - la < INSN_BYTES_MAX + 1 ? (uint16_t)(end - la) : INSN_BYTES_MAX + 1;
	return true;
}

/* Bytes of an instruction that are in its segment. */
static bool cut_by_limit(const struct dt_case *c)
{
	return c->mode != INSN_MODE64 && !segment_inside(&c->seg[SEG_CS], c->in.rip, INSN_BYTES_MAX);
}

/* Of a model with less than the host, illegal forms may be what only the host has. */
static bool lacks_host_features(void)
{
	return cpu_model_host_features() & ~dt_model.features;
}

static bool try_case(struct dt_case *c, unsigned pair)
{
	const struct opcode *op = &opcode_table[choice[pair].row];
	struct enc e = { .n = 0 };
	struct insn in;
	int r;

	c->row = choice[pair].row;
	set_kind(c, choice[pair].kind);
	c->has_ea = false;
	c->poke_len = 0;
	random_state(c);
	if (!choose_place(c))
		return false;
	enc_prefixes(&e, op, c->kind);
	enc_opcode(&e, op, c->mode, -1);
	enc_tail(&e, op);
	memcpy(c->bytes, e.b, INSN_BYTES_MAX + 1);
	r = insn_decode(c->bytes, INSN_BYTES_MAX + 1, c->mode, &in);
	if (r == DECODE_LONG || r == DECODE_MORE)
		return false;
	if (r > 0) {
		if (!runs_natively(&opcode_table[in.row]))
			return false;
		fit_registers(c, &in);
		r = insn_decode(c->bytes, INSN_BYTES_MAX + 1, c->mode, &in);
		if (r <= 0 || !runs_natively(&opcode_table[in.row]) || compare_excluded(c, &in))
			return false;
		c->row = in.row;
	} else if (!one_in(10) || ((op->attr & OP_VEX) && (op->feature == FEAT_AES || op->feature == FEAT_PCLMUL)) ||
		   lacks_host_features()) {
		return false; /* illegal forms: fewer of them; none that VAES, VPCLMULQDQ make legal on a newer host */
	} else if (c->avail < INSN_BYTES_MAX || cut_by_limit(c)) {
		return false; /* how many bytes of an illegal instruction are fetched is up to the processor */
	}
	c->decoded = (int8_t)r;
	c->len = r > 0 ? (uint8_t)r : INSN_BYTES_MAX;
	c->count = 1;
	memset(c->bytes + c->len, 0xcc, sizeof(c->bytes) - c->len);
	return true;
}

void gen_case(uint64_t index, struct dt_case *c)
{
	/* Where both are wanted, every other group of DT_RUNS is a program's */
	if (opt.programs && (only_programs || index / DT_RUNS % 2)) {
		program_case(index, NULL, c);
		return;
	}
	gen_rng = mix(opt.seed * 0x9e3779b97f4a7c15ull ^ mix(index));
	memset(c, 0, sizeof(*c));
	c->index = index;
	if (opt.block > 1) {
		do {
			set_kind(c, choice[below(choices)].kind);
			random_state(c);
		} while (!choose_place(c) || !block_starts(c));
		c->avail = DT_BYTES - 1;
		while (c->count < opt.block) {
			unsigned pair = below(choices);

			if (choice[pair].kind == c->kind)
				block_append(c, choice[pair].row);
		}
		block_finish(c);
		return;
	}
	while (!try_case(c, below(choices)))
		;
}

/* Whether a row of the table exists in cases of @kind. */
static bool exists(const struct opcode *op, enum dt_kind kind)
{
	if (!(opt.kinds & 1u << kind))
		return false;
	if (kind == DT_KIND_64)
		return !(op->attr & OP_NO64);
	return !(op->attr & OP_ONLY64) && !(op->attr & OP_W1 && !(op->attr & OP_VEX));
}

void gen_init(const struct dt_options *o)
{
	struct insn probe;

	dt_model_default();
	opt = *o;
	only_programs = !o->kinds;
	if (only_programs)
		opt.kinds = o->programs; /* for gen_rows */
	insn_decode((const uint8_t *)"\x90", 1, INSN_MODE64, &probe);
	gen_low_pages(o->low_pages);
	segments_init(o->seed);
	fill_memory_before(o->seed);
	program_init(o);
	choices = 0;
	for (unsigned r = 0; r < opcode_count; r++) {
		const struct opcode *op = &opcode_table[r];

		if (!runs_natively(op) || (opt.row && strcmp(opt.row, op->name)) || (opt.avx512 && !opcode_is_avx512(op)))
			continue;
		for (unsigned k = 0; k < DT_KINDS; k++) {
			if (!exists(op, (enum dt_kind)k) || choices == sizeof(choice) / sizeof(choice[0]))
				continue;
			choice[choices].row = (uint16_t)r;
			choice[choices++].kind = (uint8_t)k;
		}
	}
}

unsigned gen_rows(void)
{
	return choices;
}
