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

		/* In the middle: what the other way wants is not known. */
		if (i + 1 < t->count && transfers(&ti->in))
			live = FL_ALL;
		ti->live_out = (uint16_t)live;
		live = (live & ~u.defined) | u.read;
		if (exact && may_fault(&ti->in))
			live = FL_ALL;
		ti->live_in = (uint16_t)live;
	}
}

unsigned flags_live_at(const uint8_t *bytes, size_t avail, enum insn_mode mode, unsigned most)
{
	unsigned live = 0, unknown = FL_ALL; /* not read so far; not defined so far */
	size_t at = 0;

	for (unsigned n = 0; n < most && unknown & ~live; n++) {
		struct insn in;
		struct flag_use u;
		int len = insn_decode(bytes + at, avail - at, mode, &in);

		if (len <= 0)
			break;
		u = flag_use(&in);
		live |= u.read & unknown;
		unknown &= ~u.defined;
		if (transfers(&in))
			break;
		at += (size_t)len;
	}
	return live | unknown;
}
