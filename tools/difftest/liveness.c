// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which arithmetic flags are dead at an instruction of a program: overwritten before anything reads them, on all paths. A
 * translator may have something else in them when that instruction faults (docs/translator.md); nothing but the
 * handler of the exception could tell. Where the program does not tell what follows, all are live.
 */
#include "difftest.h"

#include <string.h>

enum { NODES_MAX = 160, NOWHERE = -1 };

struct node {
	unsigned at, len;
	uint32_t reads, kills, live;
	int next[2]; /* offsets, or NOWHERE */
};

static bool is_shift(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_SHL:
	case INSN_ID_SHR:
	case INSN_ID_SAR:
	case INSN_ID_ROL:
	case INSN_ID_ROR:
	case INSN_ID_RCL:
	case INSN_ID_RCR:
	case INSN_ID_SHLD:
	case INSN_ID_SHRD: return true;
	default: return false;
	}
}

/*
 * Flags that the manual calls undefined count as overwritten. A shift by 0, and a repeated comparison of nothing, leave the
 * flags as they are: the table's rows call that reading, but what is passed on is read only if somebody reads it later.
 */
static void flags_of(const struct insn *in, uint32_t *reads, uint32_t *kills)
{
	const struct opcode *op = &opcode_table[in->row];
	bool may_leave = false;

	*reads = op->fl_read;
	*kills = op->fl_write | op->fl_undef;
	if (is_shift(in)) {
		*reads = in->id == INSN_ID_RCL || in->id == INSN_ID_RCR ? FL_CF : 0;
		may_leave = op->implicit & IMPL_RCX_R || !(in->imm & (in->opsize == 8 ? 63 : 31));
	} else if (op->attr & OP_REPSTR) {
		*reads = 0;
		may_leave = in->flags & (INSN_REP | INSN_REPNE);
	}
	if (may_leave)
		*kills = 0;
}

static bool decode(const struct dt_case *c, unsigned at, struct node *n)
{
	const struct opcode *op;
	struct insn in;
	/* An instruction may go on in what stands behind the program: there are INT3s, here and in memory. */
	int r = at < c->avail && at < c->len ? insn_decode(c->bytes + at, c->avail - at, c->mode, &in) : -1;
	int to;

	if (r <= 0)
		return false;
	op = &opcode_table[in.row];
	*n = (struct node){ .at = at, .len = (unsigned)r, .next = { (int)at + r, NOWHERE } };
	flags_of(&in, &n->reads, &n->kills);
	if (!(op->attr & OP_ENDS))
		return true;
	to = (int)at + r + (int)(int64_t)in.imm;
	switch (in.id) {
	case INSN_ID_JCC:
	case INSN_ID_LOOP:
	case INSN_ID_LOOPE:
	case INSN_ID_LOOPNE:
	case INSN_ID_JCXZ: n->next[1] = to; break;
	case INSN_ID_JMP:
	case INSN_ID_CALL: n->next[0] = to; break;
	case INSN_ID_POPF:
	case INSN_ID_STI: /* it faults here, and a translator's trace goes on behind it all the same */
	case INSN_ID_MOV_SEG: /* the same code follows */
	case INSN_ID_POP_SEG:
	case INSN_ID_UD2: break;
	default: n->reads = FL_ALL; /* goes who knows where */
	}
	return true;
}

static int find(const struct node *node, unsigned n, int at)
{
	for (unsigned i = 0; i < n; i++)
		if ((int)node[i].at == at)
			return (int)i;
	return NOWHERE;
}

static uint32_t live_at(const struct node *node, unsigned n, int at)
{
	int i = find(node, n, at);

	return i < 0 ? FL_ALL : node[i].live;
}

/* The instructions that can be reached from the one at @at, wherever it begins: what goes astray may begin inside another. */
static unsigned reach(const struct dt_case *c, unsigned at, struct node *node)
{
	unsigned n = 0;

	if (!decode(c, at, &node[n]))
		return 0;
	n++;
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < 2; k++) {
			int next = node[i].next[k];

			if (next >= 0 && n < NODES_MAX && find(node, n, next) < 0 && decode(c, (unsigned)next, &node[n]))
				n++;
		}
	return n;
}

uint32_t dead_flags(const struct dt_case *c, uint64_t rip)
{
	static struct node node[NODES_MAX];
	uint64_t offset = c->program ? dt_first_mapping(rip) - dt_first_mapping(c->code) : rip - c->in.rip;
	bool changed;
	unsigned n;

	if (c->stores_code) /* its bytes are not what they were */
		return FL_ALL;
	n = offset < c->len ? reach(c, (unsigned)offset, node) : 0;
	if (!n)
		return 0;
	do { /* from nothing upwards: the least solution */
		changed = false;
		for (unsigned i = n; i-- > 0;) {
			uint32_t out = live_at(node, n, node[i].next[0]);

			if (node[i].next[1] != NOWHERE)
				out |= live_at(node, n, node[i].next[1]);
			out = node[i].reads | (out & ~node[i].kills);
			changed |= out != node[i].live;
			node[i].live = out;
		}
	} while (changed);
	return FL_ALL & ~node[0].live;
}
