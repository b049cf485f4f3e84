// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which general registers an instruction reads and writes (SDM vol. 2, each instruction's "Operation"), from the rows of the
 * opcode table.
 *
 * Invariants, wherever the table leaves something open:
 *  - "written" has every register that may change; "read" has every register on which anything that the instruction
 *    leaves may depend: results, flags, addresses, faults;
 *  - so a register that is written only in part (8 and 16 bits), or only sometimes, is read as well: one that
 *    is written and not read loses all of its 64 bits, whenever the instruction completes.
 */
#include "engine/soft/translate/analyse.h"

enum { GPRS_ALL = 0xffff };
#define BIT(n) (1u << (n))

struct gprs {
	uint32_t read, written;
};

static void add(struct gprs *g, unsigned n, unsigned access, bool whole)
{
	if (n > R15)
		return; /* RIP, or no register */
	if (access & ACCESS_W)
		g->written |= BIT(n);
	if ((access & ACCESS_R) || !whole)
		g->read |= BIT(n);
}

static void add_operand(struct gprs *g, const struct insn *in, unsigned n)
{
	const struct operand *o = &opcode_table[in->row].opnd[n];
	unsigned access = o->access & ACCESS_RW;
	bool whole = insn_operand_size(in, n) >= 4;

	if (!access)
		return;
	switch (o->kind) {
	case OPND_E:
	case OPND_R:
		if (!(in->flags & INSN_MEM))
			add(g, in->rm_off >> 3, access, whole);
		break;
	case OPND_G: add(g, in->reg_off >> 3, access, whole); break;
	case OPND_B: add(g, in->vvvv, access, whole); break;
	default: break;
	}
}

static void add_address(struct gprs *g, const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];

	if (!(in->flags & INSN_MEM))
		return;
	add(g, in->base, ACCESS_R, true);
	for (unsigned i = 0; i < 4; i++)
		if (op->opnd[i].kind == OPND_VM)
			return; /* the index is a vector register */
	add(g, in->index, ACCESS_R, true);
}

static bool repeats(const struct insn *in)
{
	return in->flags & (INSN_REP | INSN_REPNE);
}

/* Does it write all of the registers that it writes implicitly, and always? */
static bool implicit_whole(const struct insn *in)
{
	if (in->opsize < 4)
		return false;
	switch (in->id) {
	case INSN_ID_CWD:
	case INSN_ID_MUL:
	case INSN_ID_IMUL:
	case INSN_ID_RDTSC:
	case INSN_ID_RDTSCP:
	case INSN_ID_RDMSR:
	case INSN_ID_RDPMC:
	case INSN_ID_RDPKRU:
	case INSN_ID_XGETBV:
	case INSN_ID_CPUID:
	case INSN_ID_SYSCALL:
	case INSN_ID_IN: return true;
	case INSN_ID_LODS: return !repeats(in);
	default: return false;
	}
}

static void add_implicit(struct gprs *g, const struct insn *in)
{
	static const struct {
		uint16_t impl;
		uint8_t gpr, access;
	} bits[] = {
		{ IMPL_RAX_R, RAX, ACCESS_R },	{ IMPL_RAX_W, RAX, ACCESS_W },	{ IMPL_RDX_R, RDX, ACCESS_R },
		{ IMPL_RDX_W, RDX, ACCESS_W },	{ IMPL_RCX_R, RCX, ACCESS_R },	{ IMPL_RCX_W, RCX, ACCESS_W },
		{ IMPL_RBX_R, RBX, ACCESS_R },	{ IMPL_RBX_W, RBX, ACCESS_W },	{ IMPL_RSI, RSI, ACCESS_RW },
		{ IMPL_RDI, RDI, ACCESS_RW },	{ IMPL_RSP, RSP, ACCESS_RW },	{ IMPL_RBP, RBP, ACCESS_RW },
	};
	uint16_t impl = opcode_table[in->row].implicit;
	bool whole = implicit_whole(in);

	if ((opcode_table[in->row].attr & OP_REPSTR) && !repeats(in))
		impl &= (uint16_t)~(IMPL_RCX_R | IMPL_RCX_W); /* it counts only where it repeats */
	for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		if (impl & bits[i].impl)
			add(g, bits[i].gpr, bits[i].access, whole);
}

/* What the rows do not say. */
static void add_special(struct gprs *g, const struct insn *in)
{
	switch (in->id) {
	/* Anything may happen: another task's registers (SDM vol. 3, 8.3), a saved state, a hypercall. */
	case INSN_ID_NONE:
	case INSN_ID_RSM:
	case INSN_ID_VMCALL:
	case INSN_ID_VMMCALL:
	case INSN_ID_CALL_FAR:
	case INSN_ID_CALL_FAR_IND:
	case INSN_ID_JMP_FAR:
	case INSN_ID_JMP_FAR_IND:
	case INSN_ID_INT:
	case INSN_ID_INT1:
	case INSN_ID_INT3:
	case INSN_ID_INTO:
	case INSN_ID_IRET:
		g->read = g->written = GPRS_ALL;
		break;
	case INSN_ID_SYSCALL: g->written |= BIT(R11); break;
	case INSN_ID_SYSRET: g->read |= BIT(R11); break;
	case INSN_ID_PUSHA: g->read |= 0xff; break;
	case INSN_ID_POPA:
		g->read |= 0xff;
		g->written |= 0xff;
		break;
	case INSN_ID_MASKMOVQ:
	case INSN_ID_MASKMOVDQU:
	case INSN_ID_VMASKMOVDQU: g->written &= ~BIT(RDI); break;
	default: break;
	}
}

static struct gprs gprs_of(const struct insn *in)
{
	struct gprs g = { 0, 0 };

	if (in->row >= opcode_count)
		return (struct gprs){ GPRS_ALL, GPRS_ALL };
	for (unsigned n = 0; n < 4; n++)
		add_operand(&g, in, n);
	add_address(&g, in);
	add_implicit(&g, in);
	add_special(&g, in);
	return g;
}

uint32_t insn_gprs_read(const struct insn *in)
{
	return gprs_of(in).read;
}

uint32_t insn_gprs_written(const struct insn *in)
{
	return gprs_of(in).written;
}
