// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Programs: blocks of random instructions with forward branches, loops, calls and stores to code between them. This file
 * makes their control flow and puts them together; pieces.c makes the instructions.
 *
 * They end. Branches backwards are the ends of loops only, with a counter in a register that nothing else in
 * the program writes; no branch leads into a loop from outside, calls go to subroutines further on. What goes astray, by a
 * return address that was overwritten for instance, lands in memory that may not be executed, or in INT3.
 *
 * The DT_RUNS cases of a program follow each other and have the same code at the same place, which stays there:
 * from the second one on, engine soft has decoded and translated it, and knows where its operands were.
 */
#include "program.h"

#include <string.h>

struct program prog;
static struct dt_options opt;
static uint64_t made = ~0ull; /* whose program it is */

enum { PENDING_MAX = 16, SUBS_MAX = 2, DEPTH_MAX = 2 };

static struct {
	struct {
		int label;
		unsigned loop;
	} pending[PENDING_MAX]; /* forward branches whose target is still to come */
	unsigned pendings, loop, loops;
	int sub[SUBS_MAX];
	unsigned subs, sub_now; /* how many are called; in which we are, from 1 on */
} flow;

/* --- items --- */

struct item *program_add(const uint8_t *bytes, unsigned len)
{
	struct item *it = &prog.item[prog.count];

	if (prog.count == PROGRAM_ITEMS_MAX || prog.bytes + len > CODE_MAX)
		return NULL;
	memset(it, 0, sizeof(*it));
	memcpy(it->bytes, bytes, len);
	it->len = (uint8_t)len;
	it->label = NO_LABEL;
	it->unit = (uint8_t)prog.units++;
	prog.bytes += len;
	prog.count++;
	return it;
}

/* Until it is put somewhere, a label is at the end: no branch goes backwards by mistake. */
int label_new(void)
{
	if (prog.labels == LABELS_MAX)
		return NO_LABEL;
	prog.label_at[prog.labels] = PROGRAM_ITEMS_MAX;
	return (int)prog.labels++;
}

void label_here(int label)
{
	if (label != NO_LABEL)
		prog.label_at[label] = (uint8_t)prog.count;
}

/* A relative branch; the opcode's bytes, then a field of @size bytes. */
static struct item *branch(const uint8_t *op, unsigned n, unsigned size, int label)
{
	uint8_t b[8] = { 0 };
	struct item *it;

	memcpy(b, op, n);
	it = label == NO_LABEL ? NULL : program_add(b, n + size);
	if (!it)
		return NULL;
	it->fix = FIX_REL;
	it->fix_at = (uint8_t)n;
	it->fix_size = (uint8_t)size;
	it->label = (int8_t)label;
	return it;
}

static unsigned near_size(void)
{
	return prog.proto.mode == INSN_MODE16 ? 2 : 4;
}

/* A short branch is made a near one where it does not reach. */
static struct item *jcc(unsigned cc, int label)
{
	if (one_in(4))
		return branch((const uint8_t[]){ 0x0f, (uint8_t)(0x80 | cc) }, 2, near_size(), label);
	return branch((const uint8_t[]){ (uint8_t)(0x70 | cc) }, 1, 1, label);
}

static struct item *jmp(int label)
{
	if (one_in(3))
		return branch((const uint8_t[]){ 0xe9 }, 1, near_size(), label);
	return branch((const uint8_t[]){ 0xeb }, 1, 1, label);
}

/* --- putting together --- */

static bool dropped(const struct program_drop *d, unsigned i)
{
	return d && d->bits[i / 64] >> i % 64 & 1;
}

/* Makes near what is short and does not reach. LOOP and JrCXZ have no such form: without them the program ends, too. */
static void lengthen(struct item *it)
{
	unsigned size = near_size();

	if ((it->bytes[0] & 0xf0) == 0x70) {
		it->bytes[1] = 0x80 | (it->bytes[0] & 15);
		it->bytes[0] = 0x0f;
		it->fix_at = 2;
	} else if (it->bytes[0] == 0xeb) {
		it->bytes[0] = 0xe9;
	} else {
		it->fix = FIX_NONE;
		it->len = 0;
		return;
	}
	it->fix_size = (uint8_t)size;
	it->len = (uint8_t)(it->fix_at + size);
}

static int64_t field_value(const struct item *it, const unsigned *at, unsigned i, uint64_t base)
{
	unsigned end = at[i] + it->len, to = it->label == NO_LABEL ? 0 : prog.label_at[it->label];
	int64_t label = at[to < prog.count ? to : prog.count];

	switch (it->fix) {
	case FIX_REL: return label + it->plus - (int64_t)end;
	case FIX_ADDRESS: return (int64_t)(prog.proto.in.rip + (uint64_t)(label + it->plus));
	default: return (int64_t)(it->linear - (base + end));
	}
}

/* Items to bytes. CODE_MAX leaves room for all branches to become long. */
static void assemble(struct dt_case *c, const struct program_drop *drop)
{
	unsigned at[PROGRAM_ITEMS_MAX + 1], n;
	bool again;

	do {
		again = false;
		n = 0;
		for (unsigned i = 0; i < prog.count; i++) {
			at[i] = n;
			n += dropped(drop, i) ? 0 : prog.item[i].len;
		}
		at[prog.count] = n;
		for (unsigned i = 0; i < prog.count; i++) {
			struct item *it = &prog.item[i];
			int64_t v = field_value(it, at, i, c->code);

			if (it->fix != FIX_REL || it->fix_size != 1 || dropped(drop, i) || v == (int8_t)v)
				continue;
			lengthen(it);
			again = true;
		}
	} while (again);
	c->count = 0;
	memset(c->bytes, 0xcc, sizeof(c->bytes));
	for (unsigned i = 0; i < prog.count; i++) {
		struct item *it = &prog.item[i];
		int64_t v = field_value(it, at, i, c->code);

		if (dropped(drop, i) || !it->len)
			continue;
		memcpy(c->bytes + at[i], it->bytes, it->len);
		if (it->fix)
			memcpy(c->bytes + at[i] + it->fix_at, &v, it->fix_size);
		c->count++;
	}
	c->bytes[n] = 0xcc; /* behind everything */
	c->count++;
	c->len = (uint16_t)(n + 1);
}

/* --- control flow --- */

static void pend(int label)
{
	if (label == NO_LABEL)
		return;
	if (flow.pendings == PENDING_MAX) {
		label_here(label);
		return;
	}
	flow.pending[flow.pendings].label = label;
	flow.pending[flow.pendings++].loop = flow.loop;
}

/* Some of the waiting branches of this loop come here; all with @every 1. */
static void land(unsigned every)
{
	for (unsigned i = 0; i < flow.pendings;) {
		if (flow.pending[i].loop != flow.loop || !one_in(every)) {
			i++;
			continue;
		}
		label_here(flow.pending[i].label);
		flow.pending[i] = flow.pending[--flow.pendings];
	}
}

static void sequence(unsigned pieces, unsigned depth);
static bool nearly_full(void);

static void forward_branch(void)
{
	int label = label_new();
	struct item *it;

	if (label == NO_LABEL)
		return;
	if (one_in(12) && !(prog.counters & 1 << RCX))
		it = branch((const uint8_t[]){ 0xe3 }, 1, 1, label); /* JrCXZ; where it does not reach, the case is made anew */
	else
		it = one_in(8) ? jmp(label) : jcc(below(16), label);
	if (it)
		pend(label);
	else
		label_here(label);
}

/* What decides whether the loop goes on, and the branch back to @head. Nothing between them may write the flags. */
static void close_loop(unsigned form, unsigned r, unsigned n, int head)
{
	struct item *it;
	unsigned cc = 5;

	switch (form) {
	case 0: it = add_modrm_op(0xff, 1, r, one_in(2)); break; /* DEC */
	case 1: /* SUB r, 1; or ADD r, -1 with the same ZF */
		it = add_modrm_op(0x83, one_in(2) ? 5 : 0, r, one_in(2));
		if (it)
			it->bytes[it->len - 1] = it->bytes[it->len - 2] & 0x28 ? 1 : 0xff;
		break;
	case 2: /* upwards to n */
		it = add_modrm_op(0x83, 0, r, one_in(2));
		if (it)
			it->bytes[it->len - 1] = 1;
		it = it ? add_modrm_op(0x83, 7, r, one_in(2)) : NULL;
		if (it)
			it->bytes[it->len - 1] = (uint8_t)n;
		cc = one_in(2) ? 2 : 0xc; /* B or L */
		break;
	default: /* upwards from -n: 32 bits */ it = add_modrm_op(0xff, 0, r, false);
	}
	if (it && one_in(3))
		piece_flagless();
	if (it)
		jcc(cc, head);
}

static void loop(unsigned depth)
{
	unsigned r, n = one_in(8) ? 20 + below(60) : 2 + below(depth ? 4 : 8), form = below(4), outer = flow.loop, first, unit, start, tail;
	int head = label_new(), patch;

	for (r = 0; r < 16 && !(prog.counters >> r & 1); r++)
		;
	/* the second counter is for the inner one */
	if (depth)
		for (r = 15; r > 0 && !(prog.counters >> r & 1); r--)
			;
	if (head == NO_LABEL || nearly_full())
		return;
	if (r == RCX && one_in(2))
		form = 4;
	start = prog.count;
	unit = prog.units;
	mov_imm(r, form == 2 ? 0 : form == 3 ? (uint32_t)-n : n);
	flow.loop = ++flow.loops;
	label_here(head);
	first = prog.bytes;
	patch = prog.proto.stores_code && one_in(2) ? piece_patch_begin() : -1;
	sequence(2 + below(5), depth + 1);
	piece_patch_end(patch);
	land(2);
	tail = prog.count;
	if (form == 4 && prog.bytes - first < 90) /* LOOP, LOOPE, LOOPNE */
		branch((const uint8_t[]){ (uint8_t)(0xe2 - (one_in(4) ? 1 + below(2) : 0)) }, 1, 1, head);
	else
		close_loop(form == 4 ? 0 : form, r, n, head);
	for (unsigned i = tail; i < prog.count; i++)
		if (prog.item[i].row == 0)
			prog.item[i].unit = (uint8_t)unit;
	prog.item[start].unit = (uint8_t)unit;
	/* what is left wants to leave the loop */
	for (unsigned i = 0; i < flow.pendings; i++)
		if (flow.pending[i].loop == flow.loop)
			flow.pending[i].loop = outer;
	flow.loop = outer;
}

/* Makes one unit of the items from @start on. */
static void unite(unsigned start)
{
	for (unsigned i = start; i < prog.count; i++)
		prog.item[i].unit = prog.item[start].unit;
}

/* The address of @label in register @r; in the other mapping of the code, sometimes. */
static void point(unsigned r, int label)
{
	mov_label(r, label, one_in(3) ? (prog.in_alias ? -DT_ALIAS : DT_ALIAS) : 0);
}

static bool nearly_full(void)
{
	return prog.count + 12 > PROGRAM_ITEMS_MAX || prog.bytes + 100 > CODE_MAX;
}

/* CALL rel, or through a register. Each subroutine calls only those behind it. */
static void call(void)
{
	unsigned s = flow.sub_now, r = free_register(), start = prog.count;

	if (s >= SUBS_MAX || nearly_full())
		return;
	s += below(SUBS_MAX - s);
	while (flow.subs <= s)
		flow.sub[flow.subs++] = label_new();
	if (flow.sub[s] == NO_LABEL)
		return;
	if (one_in(4)) {
		point(r, flow.sub[s]);
		add_modrm_op(0xff, 2, r, false);
		unite(start);
	} else {
		branch((const uint8_t[]){ 0xe8 }, 1, near_size(), flow.sub[s]);
	}
}

/* JMP through a register or the stack, to further on. */
static void indirect(void)
{
	unsigned r = free_register(), start = prog.count;
	uint8_t push[2] = { 0x41, (uint8_t)(0x50 | (r & 7)) };
	int label = nearly_full() ? NO_LABEL : label_new();

	if (label == NO_LABEL)
		return;
	point(r, label);
	if (one_in(3)) {
		program_add(push + (r < 8), r < 8 ? 1 : 2);
		program_add((const uint8_t[]){ 0xc3 }, 1);
	} else {
		add_modrm_op(0xff, 4, r, false);
	}
	unite(start);
	pend(label);
}

static void sequence(unsigned pieces, unsigned depth)
{
	for (unsigned i = 0; i < pieces; i++) {
		unsigned k = below(100);

		if (k < 9)
			forward_branch();
		else if (k < (prog.proto.stores_code ? 17 : 13) && depth < DEPTH_MAX)
			loop(depth);
		else if (k < 18)
			call();
		else if (k < 20)
			indirect();
		else if (k < 23)
			piece_string();
		else if (k < 31)
			piece_special(depth);
		else if (k < 37 && prog.proto.stores_code)
			one_in(2) ? piece_store_code() : piece_patchable();
		else
			for (unsigned t = 0; t < 24 && !piece_random(); t++)
				;
		land(4);
	}
}

/* What subroutines begin and end with. */
static void subroutine(int label)
{
	bool frame = one_in(2) && !((prog.counters | prog.bases) >> RBP & 1), wide = prog.proto.mode == INSN_MODE64;
	unsigned saved = free_register();
	uint8_t push[2] = { 0x41, (uint8_t)(0x50 | (saved & 7)) }, pop[2] = { 0x41, (uint8_t)(0x58 | (saved & 7)) };
	uint8_t sub[4] = { 0x48, 0x83, 0xec, (uint8_t)(below(8) * 8) };

	label_here(label);
	if (frame) {
		program_add((const uint8_t[]){ 0x55 }, 1);
		program_add((const uint8_t[]){ 0x48, 0x89, 0xe5 } + !wide, wide ? 3 : 2);
		if (one_in(2))
			program_add(sub + !wide, wide ? 4 : 3);
	}
	if (one_in(2)) {
		program_add(push + (saved < 8), saved < 8 ? 1 : 2);
		sequence(1 + below(4), DEPTH_MAX); /* a loop here could use the counter of one that calls */
		land(1);
		program_add(pop + (saved < 8), saved < 8 ? 1 : 2);
	} else {
		sequence(1 + below(4), DEPTH_MAX);
		land(1);
	}
	pieces_finish();
	if (frame)
		program_add((const uint8_t[]){ 0xc9 }, 1);
	if (one_in(6))
		program_add((const uint8_t[]){ 0xc2, (uint8_t)(below(4) * 8), 0 }, 3);
	else if (one_in(8))
		program_add((const uint8_t[]){ 0xf3, 0xc3 }, 2);
	else
		program_add((const uint8_t[]){ 0xc3 }, 1);
	program_add((const uint8_t[]){ 0xcc }, 1);
}

/* --- registers --- */

static unsigned choose_register(unsigned taken)
{
	unsigned r;

	do {
		r = below(prog.proto.mode == INSN_MODE64 ? 16 : 8);
	} while ((taken | 1u << RSP) >> r & 1);
	return r;
}

static void choose_roles(void)
{
	bool many = prog.proto.mode == INSN_MODE64;
	uint16_t *set[3] = { &prog.counters, &prog.bases, &prog.indexes };
	unsigned n[3] = { 2, many ? 2 + below(3) : 2, many ? 1 + below(2) : 1 }, taken = 0;

	prog.counters = prog.bases = prog.indexes = 0;
	if (one_in(2)) { /* for string instructions */
		prog.bases = 1 << RSI | 1 << RDI;
		taken = prog.bases;
		n[1] -= many ? 1 : 2;
	}
	for (unsigned k = 0; k < 3; k++)
		for (unsigned i = 0; i < n[k]; i++) {
			unsigned r = choose_register(taken);

			*set[k] |= (uint16_t)(1u << r);
			taken |= 1u << r;
		}
}

static uint64_t base_value(const struct dt_case *c)
{
	uint64_t end = DT_DATA + 2 * DT_PAGE;

	switch (below(40)) {
	case 0: return DT_DATA + below(64);
	case 1: return end - below(256);
	case 2:
	case 3:
	case 4: return DT_DATA + DT_PAGE - below(96);
	case 5: return DT_RO + below(DT_PAGE);
	case 6: return DT_DATA + DT_ALIAS + 128 + (below(2 * DT_PAGE - 512) & ~7u);
	case 7: return target(c, SEG_DS, 8, 8);
	case 8:
	case 9: return DT_DATA + 128 + below(2 * DT_PAGE - 512);
	default: return DT_DATA + 128 + (below(2 * DT_PAGE - 512) & ~(one_in(3) ? 7u : 63u));
	}
}

static uint64_t stack_value(void)
{
	switch (below(24)) {
	case 0: return DT_DATA + below(48);
	case 1: return DT_DATA + 2 * DT_PAGE - below(48);
	case 2:
	case 3: return DT_DATA + DT_PAGE + 8 * below(8);
	case 4: return DT_DATA + 512 + below(DT_PAGE);
	case 5: return one_in(4) ? DT_RO + 64 : DT_DATA + DT_ALIAS + DT_PAGE;
	default: return DT_DATA + 512 + (below(2 * DT_PAGE - 1024) & ~7u);
	}
}

/* Registers as the program's code wants them; vector state rather without exceptions that end everything at once. */
static void fill_registers(struct dt_case *c)
{
	struct dt_state *s = &c->in;
	static const uint64_t bases[] = { 0, 0, 0, 8, 0x40, 0x1000, ~0xfffull };

	random_state(c);
	s->fs_base = c->seg[SEG_FS].base = cut(bases[below(7)], prog.proto.mode == INSN_MODE64 ? 8 : 4);
	s->gs_base = c->seg[SEG_GS].base = cut(bases[below(7)], prog.proto.mode == INSN_MODE64 ? 8 : 4);
	if (!one_in(8))
		s->mxcsr |= 0x1f80;
	if (!one_in(8)) {
		s->fcw |= 0x3f;
		s->fsw &= 0x7f7f;
	}
	if (!one_in(4))
		s->rflags &= ~(uint64_t)RF_DF;
	for (unsigned r = 0; r < (c->mode == INSN_MODE64 ? 16u : 8u); r++) {
		if (prog.first_bases >> r & 1)
			set_gpr(c, r, base_value(c));
		else if (prog.first_indexes >> r & 1)
			set_gpr(c, r, one_in(4) ? (uint64_t)-(int64_t)below(16) : below(32));
		else if (r == RSP)
			set_gpr(c, r, stack_value());
	}
	if (one_in(3) && !((prog.first_bases | prog.first_indexes) >> RBP & 1))
		set_gpr(c, RBP, s->gpr[RSP] + 8 * below(8));
}

/* --- making one --- */

static void choose_place(struct dt_case *c)
{
	uint64_t border = DT_CODE + DT_PAGE, end = DT_CODE + DT_CODE_PAGES * DT_PAGE;

	switch (below(16)) {
	case 0:
	case 1:
	case 2: c->code = border - below(300); break;
	case 3:
		if (one_in(3)) {
			c->code = end - 1 - below(400);
			break;
		}
		__attribute__((fallthrough));
	default: c->code = border + below(DT_PAGE - DT_BYTES - 16);
	}
	c->avail = (uint16_t)(end - c->code < DT_BYTES ? end - c->code : DT_BYTES);
	prog.in_alias = one_in(c->stores_code ? 2 : 4);
	if (prog.in_alias)
		c->code += DT_ALIAS;
	c->in.rip = c->code;
}

static void make(uint64_t group)
{
	struct dt_case *c = &prog.proto;
	unsigned kinds = opt.programs;

	gen_rng = mix(opt.seed * 0x9e3779b97f4a7c15ull ^ mix(~group));
	memset(&prog, 0, sizeof(prog));
	memset(&flow, 0, sizeof(flow));
	do
		set_kind(c, (enum dt_kind)below(DT_KINDS));
	while (!(kinds >> c->kind & 1));
	c->program = true;
	random_state(c);
	c->stores_code = one_in(8);
	choose_place(c);
	choose_roles();
	prog.first_bases = prog.bases;
	prog.first_indexes = prog.indexes;
	pieces_reset();
	sequence(one_in(4) ? 1 + below(4) : 4 + below(one_in(3) ? 32 : 16), 0);
	pieces_finish();
	land(1);
	program_add((const uint8_t[]){ 0xcc }, 1);
	for (unsigned s = 0; s < flow.subs; s++) {
		flow.sub_now = s + 1;
		subroutine(flow.sub[s]);
	}
	c->stores_code = prog.stores_code;
}

void program_case(uint64_t index, const struct program_drop *drop, struct dt_case *c)
{
	uint64_t group = index / DT_RUNS;

	if (made != group) {
		make(group);
		made = group;
	}
	*c = prog.proto;
	c->index = index;
	assemble(c, drop);
	c->decoded = 1;
	gen_rng = mix(opt.seed ^ mix(index) * 0x9e3779b97f4a7c15ull);
	fill_registers(c);
	c->row = prog.item[below(prog.count)].row;
}

unsigned program_units(uint64_t index)
{
	struct dt_case c;

	program_case(index, NULL, &c);
	return prog.units;
}

void program_drop_unit(struct program_drop *drop, unsigned unit)
{
	for (unsigned i = 0; i < prog.count; i++)
		if (prog.item[i].unit == unit)
			drop->bits[i / 64] |= 1ull << i % 64;
}

void program_init(const struct dt_options *o)
{
	opt = *o;
	made = ~0ull;
	pieces_init();
}
