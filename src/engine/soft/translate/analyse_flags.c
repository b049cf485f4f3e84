// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which of the six arithmetic flags are live (SDM vol. 1, 3.4.3.1 and appendix A).
 *
 * An instruction reads some flags and defines some anew; in between are those that it may leave as they were: a
 * shift by 0, a repeated comparison of no elements, a flag that the manual calls undefined. Those are
 * neither: they are live before it where they are live behind it.
 *
 * Undefined flags count as defined only where all processors compute them from the operands alone. Nobody may rely on
 * the others either; but the tiers, and the host, have to agree about them.
 */
#include "engine/soft/translate/analyse.h"

struct flag_use {
	unsigned read;	  /* its results, or where it goes, depend on them */
	unsigned defined; /* after it nothing is left of them */
};

/* A shift's or rotate's count as the processor takes it; -1 when it is in CL. */
static int shift_count(const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	for (unsigned i = 1; i < 4; i++)
		if (op->opnd[i].kind == OPND_I)
			return (int)(in->imm & (in->opsize == 8 ? 63 : 31));
	return -1;
}

static struct flag_use shift_use(const struct insn *in)
{
	int count = shift_count(in);
	bool carry_in = in->id == INSN_ID_RCL || in->id == INSN_ID_RCR;
	struct flag_use u = { carry_in ? FL_CF : 0, 0 };

	if (count <= 0)
		return u;
	switch (in->id) {
	case INSN_ID_ROL:
	case INSN_ID_ROR:
	case INSN_ID_RCL:
	case INSN_ID_RCR: u.defined = FL_CF | (count == 1 ? FL_OF : 0); break;
	case INSN_ID_SHLD:
	case INSN_ID_SHRD:
		if (count <= in->opsize * 8) /* else even the result is undefined */
			u.defined = FL_CF | FL_PF | FL_ZF | FL_SF | (count == 1 ? FL_OF : 0);
		break;
	default:
		u.defined = FL_ALL & ~FL_CF; /* AF, and OF of a count above 1, are undefined, but never what they were */
		if (count < in->opsize * 8 || in->id == INSN_ID_SAR)
			u.defined |= FL_CF;
	}
	return u;
}

static struct flag_use flag_use(const struct insn *in)
{
	const struct opcode *op;
	struct flag_use u;

	if (in->row >= opcode_count || in->id == INSN_ID_NONE)
		return (struct flag_use){ FL_ALL, 0 };
	op = &opcode_table[in->row];
	u = (struct flag_use){ op->fl_read, op->fl_write & ~op->fl_undef };
	switch (in->id) {
	case INSN_ID_ROL:
	case INSN_ID_ROR:
	case INSN_ID_RCL:
	case INSN_ID_RCR:
	case INSN_ID_SHL:
	case INSN_ID_SHR:
	case INSN_ID_SAR:
	case INSN_ID_SHLD:
	case INSN_ID_SHRD: return shift_use(in);
	case INSN_ID_CMPS:
	case INSN_ID_SCAS: /* repeated, perhaps no time at all */
		u.read = 0;
		if (in->flags & (INSN_REP | INSN_REPNE))
			u.defined = 0;
		break;
	case INSN_ID_IRET: u = (struct flag_use){ FL_ALL, 0 }; break; /* the handler of its own exception looks at them */
	case INSN_ID_AND:
	case INSN_ID_OR:
	case INSN_ID_XOR:
	case INSN_ID_TEST: u.defined |= FL_AF; break; /* cleared */
	default: break;
	}
	return u;
}

/* Ends a block, but what runs next is the instruction behind it, in the same mode. */
static bool goes_on(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_STI:
	case INSN_ID_CLAC:
	case INSN_ID_STAC:
	case INSN_ID_POPF:
	case INSN_ID_CLTS:
	case INSN_ID_INVLPG:
	case INSN_ID_INVPCID:
	case INSN_ID_WRMSR:
	case INSN_ID_MOV_DR:
	case INSN_ID_XSETBV:
	case INSN_ID_MOV_SEG:
	case INSN_ID_POP_SEG: return true;
	default: return false;
	}
}

static bool transfers(const struct insn *in)
{
	return (in->flags & INSN_ENDS) && !goes_on(in);
}

/* May raise an exception, going by the instruction alone: everything but arithmetic and moves between general registers. */
static bool may_fault(const struct insn *in)
{
	const struct opcode *op;

	if (in->row >= opcode_count || in->id == INSN_ID_NONE)
		return true;
	op = &opcode_table[in->row];
	if (!(op->attr & OP_USER) || (op->attr & (OP_REPSTR | OP_X87 | OP_MMX | OP_SSE | OP_AVX | OP_CPL0)))
		return true;
	if ((op->attr & OP_PROT) && !(op->attr & OP_VEX))
		return true; /* looks at descriptors */
	if (op->implicit & IMPL_RSP)
		return true;
	switch (in->id) {
	case INSN_ID_DIV:
	case INSN_ID_IDIV:
	case INSN_ID_AAM:
	case INSN_ID_BOUND:
	case INSN_ID_XLAT:
	case INSN_ID_RDFSBASE: /* without CR4.FSGSBASE */
	case INSN_ID_RDGSBASE:
	case INSN_ID_WRFSBASE: /* and not canonical */
	case INSN_ID_WRGSBASE:
	case INSN_ID_MOV_SEG: return true;
	case INSN_ID_LEA:
	case INSN_ID_NOP:
	case INSN_ID_PREFETCH: return false;
	default: return in->flags & (INSN_MEM | INSN_ENDS);
	}
}

void analyse_flags(struct trace *t, unsigned live_out_end, bool exact)
{
	unsigned live = live_out_end & FL_ALL;

	for (unsigned i = t->count; i-- > 0;) {
		struct trace_insn *ti = &t->insn[i];
		struct flag_use u = flag_use(&ti->in);

		if (i + 1 < t->count && transfers(&ti->in))
			live |= ti->in.id == INSN_ID_JCC ? ti->live_taken : FL_ALL;
		ti->live_out = (uint16_t)live;
		live = (live & ~u.defined) | u.read;
		if (exact && may_fault(&ti->in))
			live = FL_ALL;
		ti->live_in = (uint16_t)live;
	}
}

/* --- along all paths from an address --- */

enum { PLACES_MAX = 16 };

/* Places that branches lead to, with the flags that were not defined on the way there. */
struct paths {
	const uint8_t *page;
	size_t size;
	enum insn_mode mode;
	unsigned left; /* instructions that may still be looked at */
	unsigned live;
	uint64_t lines;
	unsigned count;
	struct place {
		unsigned at;
		unsigned seen, todo; /* flags that were followed from here, or have to be */
	} place[PLACES_MAX];
};

/* Which flags are live @at, of those in @flags? To be answered when there is time. */
static void path_add(struct paths *p, int64_t at, unsigned flags)
{
	struct place *to = p->place;

	if (at < 0 || (uint64_t)at >= p->size || p->mode == INSN_MODE16) { /* else a branch may wrap */
		p->live |= flags;
		return;
	}
	while (to < p->place + p->count && to->at != (unsigned)at)
		to++;
	if (to == p->place + PLACES_MAX) {
		p->live |= flags;
		return;
	}
	if (to == p->place + p->count)
		p->place[p->count++] = (struct place){ .at = (unsigned)at };
	to->todo |= flags & ~to->seen;
}

static int path_decode(struct paths *p, size_t at, struct insn *in)
{
	int len = insn_decode(p->page + at, p->size - at, p->mode, in);
	size_t end = len > 0 ? at + (size_t)len : at + INSN_BYTES_MAX;

	if (end > p->size)
		end = p->size;
	for (size_t i = at; i < end; i++)
		p->lines |= 1ull << (i / 64 & 63);
	return len;
}

/* -1: that is not known. */
static int64_t branch_to(size_t next, const struct insn *in)
{
	return in->opsize == 2 ? -1 : (int64_t)next + (int64_t)in->imm;
}

/* From @at on as long as it goes straight. */
static void path_follow(struct paths *p, size_t at, unsigned flags)
{
	while (flags & ~p->live) {
		struct insn in;
		struct flag_use u;
		int len;

		if (!p->left || at >= p->size)
			break;
		p->left--;
		len = path_decode(p, at, &in);
		if (len <= 0)
			break;
		u = flag_use(&in);
		p->live |= u.read & flags;
		flags &= ~u.defined;
		at += (size_t)len;
		if (!transfers(&in))
			continue;
		switch (in.id) {
		case INSN_ID_JCC:
		case INSN_ID_LOOP:
		case INSN_ID_LOOPE:
		case INSN_ID_LOOPNE:
		case INSN_ID_JCXZ: path_add(p, branch_to(at, &in), flags); continue;
		case INSN_ID_JMP: path_add(p, branch_to(at, &in), flags); return;
		default: p->live |= flags; return;
		}
	}
	p->live |= flags;
}

unsigned flags_live_in(const uint8_t *page, size_t size, size_t at, enum insn_mode mode, unsigned most, uint64_t *lines)
{
	struct paths p = { .page = page, .size = size, .mode = mode, .left = most, .count = 1 };

	p.place[0] = (struct place){ .at = (unsigned)at, .todo = FL_ALL };
	for (unsigned i = 0; i < p.count; i++) {
		unsigned todo = p.place[i].todo & ~p.live;

		p.place[i].todo = 0;
		if (!todo)
			continue;
		p.place[i].seen |= todo;
		path_follow(&p, p.place[i].at, todo);
		i = ~0u; /* one before it may have got more to do */
	}
	if (lines)
		*lines |= p.lines;
	return p.live;
}

unsigned flags_live_at(const uint8_t *bytes, size_t avail, enum insn_mode mode, unsigned most)
{
	return flags_live_in(bytes, avail, 0, mode, most, NULL);
}
