// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the translator is told of a run of instructions, for random ones, under the interpreter (interp_rig.h): each access
 * to memory has to lie where the analysis said, and programs that differ in nothing but dead flags have to run alike. A
 * longer run: --count N (rounds), --seed N.
 */
#include "interp_rig.h"

#include "analyse_rig.h"
#include "random.h"

static unsigned long rounds = 20000;
static unsigned long grouped[2]; /* on a register alone, on something else */

/* --- memory: the interpreter sees every access --- */

struct seen {
	uint64_t linear;
	unsigned size;
	bool write;
};
static struct seen seen[64];
static unsigned seen_count;

static void note(uint64_t linear, unsigned size, bool write)
{
	if (seen_count < sizeof(seen) / sizeof(seen[0]))
		seen[seen_count++] = (struct seen){ linear, size, write };
}

/* Few registers, so that accesses meet. */
static unsigned some_gpr(void)
{
	static const uint8_t gprs[] = { RAX, RBX, RBP, RSP, R12, R13 };

	return gprs[below(sizeof(gprs))];
}

static int32_t some_disp(void)
{
	switch (below(8)) {
	case 0: return (int32_t)below(9000) - 4500;
	case 1: return (int32_t)below(512) - 256;
	default: return (int32_t)below(16) * 8 - 64;
	}
}

struct bytes {
	uint8_t b[16];
	unsigned n;
};

static void put(struct bytes *c, unsigned v)
{
	c->b[c->n++] = (uint8_t)v;
}

static void put32(struct bytes *c, uint32_t v)
{
	memcpy(c->b + c->n, &v, 4);
	c->n += 4;
}

/* ModRM and what follows for a memory operand with @reg; a REX byte is at c->b[rex] for its bits. */
static void put_memory_operand(struct bytes *c, unsigned rex, unsigned reg)
{
	unsigned base = some_gpr(), index = below(6) ? RSP : some_gpr();

	c->b[rex] |= (uint8_t)((reg & 8) >> 1 | (index & 8) >> 2 | base >> 3);
	switch (below(16)) {
	case 0: /* RIP-relative: the rig's RIP is 0x1000 */
		put(c, (reg & 7) << 3 | 5);
		put32(c, 0x3000 + below(256));
		return;
	case 1:
		put(c, (reg & 7) << 3 | 4);
		put(c, 0x25);
		put32(c, 0x4000 + below(256));
		c->b[rex] &= (uint8_t)~3;
		return;
	default:
		put(c, 0x80 | (reg & 7) << 3 | 4);
		put(c, (index & 7) << 3 | (base & 7));
		put32(c, (uint32_t)some_disp());
	}
}

/* An instruction with a memory operand, of any size and direction. */
static void memory_insn(struct bytes *c)
{
	static const struct {
		uint8_t escape, opcode, ext, imm;
	} forms[] = {
		{ 0, 0x88, 0xff, 0 },	 { 0, 0x89, 0xff, 0 },	 { 0, 0x8a, 0xff, 0 },	 { 0, 0x8b, 0xff, 0 },
		{ 0, 0x01, 0xff, 0 },	 { 0, 0x03, 0xff, 0 },	 { 0, 0x39, 0xff, 0 },	 { 0, 0x87, 0xff, 0 },
		{ 0, 0x86, 0xff, 0 },	 { 0, 0x8d, 0xff, 0 },	 { 0x0f, 0xb6, 0xff, 0 }, { 0x0f, 0xbf, 0xff, 0 },
		{ 0x0f, 0xb1, 0xff, 0 }, { 0x0f, 0xc1, 0xff, 0 }, { 0x0f, 0xa3, 0xff, 0 }, { 0x0f, 0xab, 0xff, 0 },
		{ 0x0f, 0xba, 5, 1 },	 { 0x0f, 0xba, 4, 1 },	 { 0, 0xff, 0, 0 },	 { 0, 0xff, 6, 0 },
		{ 0, 0x8f, 0, 0 },	 { 0, 0xf7, 2, 0 },	 { 0, 0xf7, 4, 0 },	 { 0, 0xc1, 4, 1 },
		{ 0, 0x83, 7, 1 },	 { 0, 0xc6, 0, 1 },	 { 0x0f, 0x94, 0, 0 },	 { 0x0f, 0x44, 0xff, 0 },
		{ 0x0f, 0x1f, 0, 0 },	 { 0x0f, 0xc3, 0xff, 0 }, { 0x0f, 0xc7, 1, 0 },	 { 0x0f, 0xa4, 0xff, 1 },
	};
	unsigned n = below(sizeof(forms) / sizeof(forms[0])), rex;

	if (!below(24))
		put(c, 0x67);
	if (!below(24))
		put(c, below(2) ? 0x64 : 0x65);
	if (!below(6))
		put(c, 0x66);
	rex = c->n;
	put(c, 0x40 | (below(2) && forms[n].opcode != 0xc7 ? 8 : 0)); /* the rig's devices have no 16 bytes */
	if (forms[n].escape)
		put(c, forms[n].escape);
	put(c, forms[n].opcode);
	put_memory_operand(c, rex, forms[n].ext == 0xff ? some_gpr() : forms[n].ext);
	if (forms[n].imm)
		put(c, below(256));
}

/* One that changes or uses RSP or a base register, or ends ranges. */
static void other_insn(struct bytes *c)
{
	unsigned r = some_gpr();

	switch (below(20)) {
	case 0:
	case 1:
	case 2:
		if (!below(8))
			put(c, 0x66);
		put(c, 0x40 | r >> 3);
		put(c, 0x50 | (r & 7)); /* push */
		break;
	case 3:
	case 4:
		if (!below(8))
			put(c, 0x66);
		put(c, 0x40 | r >> 3);
		put(c, 0x58 | (r & 7)); /* pop */
		break;
	case 5:
		put(c, 0x6a);
		put(c, below(256));
		break;
	case 6:
	case 7: /* add, or, and, sub on rsp, with a constant */
		put(c, 0x48);
		put(c, 0x83);
		put(c, 0xc4 | (below(2) ? 0 : 5) << 3);
		put(c, (below(32) - 16) * 8);
		break;
	case 8:
		put(c, below(3) ? 0x48 : 0x40);
		put(c, 0x83);
		put(c, 0xc0 | below(8) << 3 | RSP);
		put(c, 0xf0);
		break;
	case 9: /* lea rsp */
		put(c, 0x48);
		put(c, 0x8d);
		put(c, 0x40 | RSP << 3 | 4);
		put(c, below(3) ? 0x24 : 0x20 | RBP);
		put(c, below(256));
		break;
	case 10: /* mov to or from rsp */
		put(c, 0x48 | r >> 3);
		put(c, below(2) ? 0x89 : 0x8b);
		put(c, 0xc0 | RSP << 3 | (r & 7));
		break;
	case 11:
		put(c, 0x48);
		put(c, below(2) ? 0x94 : 0x95); /* xchg rsp or rbp, rax */
		break;
	case 12: put(c, 0xc9); break;
	case 13:
		put(c, 0x48);
		put(c, 0xff);
		put(c, 0xc0 | below(2) << 3 | below(8)); /* inc, dec */
		break;
	case 14:
		put(c, 0x70 | below(16)); /* jcc to what follows */
		put(c, 0);
		break;
	case 15:
		put(c, 0xc8); /* enter */
		put(c, below(4) * 8);
		put(c, 0);
		put(c, below(3));
		break;
	case 16:
		put(c, below(2) ? 0xa4 : 0xaa); /* strings */
		break;
	case 17:
		put(c, (below(4) ? 0x48 : 0x40) | r >> 3); /* add r, small */
		put(c, 0x83);
		put(c, 0xc0 | (r & 7));
		put(c, below(16));
		break;
	case 18:
		put(c, 0x9c); /* pushf */
		break;
	default:
		if (below(2)) {
			put(c, 0xe8); /* call what follows */
			put32(c, 0);
		} else {
			put(c, below(2) ? 0xc3 : 0xc2); /* ret */
			if (c->b[0] == 0xc2) {
				put(c, below(4) * 8);
				put(c, 0);
			}
		}
	}
}

static bool inside(const struct seen *s, uint64_t base, int32_t lo, int32_t hi)
{
	return s->linear - (base + (uint64_t)(int64_t)lo) <= (uint64_t)((int64_t)hi - lo) - s->size &&
	       (int64_t)hi - lo >= (int64_t)s->size;
}

/* What operands of a group count from; the rig's segments FS and GS begin somewhere, code at 0x1000. */
static uint64_t group_base(const struct insn *in, const uint64_t gpr[16])
{
	uint64_t at = in->base <= R15 ? gpr[in->base] : in->base == GPR_RIP ? 0x1000 : 0;

	if (in->index <= R15)
		at += gpr[in->index] << in->scale;
	return in->seg == SEG_FS || in->seg == SEG_GS ? at + rig.c->segbase[in->seg] : at;
}

static bool same_group(const struct insn *a, const struct insn *b)
{
	bool based[2] = { a->seg == SEG_FS || a->seg == SEG_GS, b->seg == SEG_FS || b->seg == SEG_GS };

	return a->base == b->base && a->index == b->index && (a->index > R15 || a->scale == b->scale) && based[0] == based[1] &&
	       (!based[0] || a->seg == b->seg);
}

/* The instruction @i was executed: are its accesses where they should be? */
static void check_accesses(unsigned i, uint64_t gpr[TRACE_INSNS_MAX][16])
{
	const struct trace_insn *ti = &t.insn[i], *lead = &t.insn[ti->leader];
	unsigned outside = 0, hits = 0;
	char text[96];

	assert_true(ti->leader <= i);
	for (unsigned k = 0; k < seen_count; k++) {
		const struct seen *s = &seen[k];
		bool in = true;

		switch (ti->how) {
		case MEM_STACK:
			in = inside(s, gpr[ti->leader][RSP], lead->stack_lo, lead->stack_hi);
			break;
		case MEM_GROUP:
			in = inside(s, group_base(&lead->in, gpr[ti->leader]), lead->group_lo, lead->group_hi) &&
			     same_group(&lead->in, &ti->in);
			grouped[!same_group(&ti->in, &(struct insn){ .base = ti->in.base, .index = GPR_ZERO })]++;
			break;
		case MEM_NONE:
			in = ti->in.id == INSN_ID_MOVS || ti->in.id == INSN_ID_STOS || ti->in.id == INSN_ID_ENTER;
			break;
		default: break;
		}
		hits += in;
		outside += !in;
		if (s->write && !ti->also_explicit && ti->how != MEM_NONE)
			in = in && ti->store && (ti->how != MEM_STACK || lead->stack_store) && (ti->how != MEM_GROUP || lead->group_store);
		if (!in && !ti->also_explicit)
			print_error("%u of %u: %s, access at %#llx, %u bytes\n", i, t.count, insn_print(&ti->in, 0x1000, text, sizeof(text)),
				    (unsigned long long)s->linear, s->size);
		assert_true(in || ti->also_explicit);
	}
	/* PUSH m and POP m: one access in the range, the other wherever. */
	if (ti->also_explicit && rig.vector == RIG_NO_FAULT)
		assert_true(hits >= 1 && outside <= seen_count - 1);
}

static void check_ranges(void)
{
	for (unsigned i = 0; i < t.count; i++) {
		const struct trace_insn *ti = &t.insn[i];
		unsigned stack = 0, group = 0;

		for (unsigned k = i; k < t.count; k++) {
			stack += t.insn[k].how == MEM_STACK && t.insn[k].leader == i;
			group += t.insn[k].how == MEM_GROUP && t.insn[k].leader == i;
		}
		assert_int_equal(stack > 0, ti->stack_hi > ti->stack_lo);
		assert_int_equal(group > 0, ti->group_hi > ti->group_lo);
		assert_true(group != 1);
		assert_true(stack <= 1 || ti->stack_hi - ti->stack_lo <= RANGE);
		assert_true(ti->group_hi - ti->group_lo <= RANGE);
	}
}

static uint64_t random_pointer(void)
{
	return 0x5000 + below(0x400) * 8;
}

static unsigned run_random_trace(void)
{
	static uint64_t gpr[TRACE_INSNS_MAX][16];
	static struct bytes code[TRACE_INSNS_MAX];
	unsigned i;

	rig_reset(INSN_MODE64, 0);
	rig.seen = note;
	memset(rig.c->tlb, 0x80, sizeof(*rig.c->tlb)); /* nothing hits */
	for (i = 0; i < RIG_PAGES; i++)
		rig.page[i] = PAGE_MMIO;
	for (i = 0; i < RIG_PAGES * FRAME_SIZE / 8; i++)
		rig_poke(8 * i, 8, random_pointer());
	for (i = 0; i < 16; i++)
		rig.c->gpr[i] = random_pointer();
	rig.c->segbase[SEG_FS] = 0x128;
	rig.c->segbase[SEG_GS] = 0x340;
	t.count = t.bytes = 0;
	for (unsigned n = 1 + below(TRACE_INSNS_MAX); t.count < n;) {
		struct bytes c = { .n = 0 };

		if (below(3))
			memory_insn(&c);
		else
			other_insn(&c);
		code[t.count] = c;
		add_bytes(c.b, c.n); /* or not: [edi], say, where 66 made something else of it */
	}
	analyse_memory(&t, RANGE, NULL);
	check_ranges();
	for (i = 0; i < t.count; i++) {
		uint64_t next;

		memcpy(gpr[i], rig.c->gpr, sizeof(gpr[i]));
		seen_count = 0;
		next = rig.c->gpr[GPR_RIP] + code[i].n;
		rig_step(code[i].b, code[i].n);
		check_accesses(i, gpr);
		if (rig.vector != RIG_NO_FAULT || rig.c->gpr[GPR_RIP] != next)
			break;
	}
	return i;
}

/* --- flags along paths --- */

enum { PROGRAM_INSNS = 12, PROGRAM_STEPS = 100 };

static unsigned random_program(uint8_t *code)
{
	static const struct {
		uint8_t n, b[4];
	} forms[] = {
		{ 2, { 0x39, 0xd8 } },		   /* cmp eax, ebx */
		{ 2, { 0xff, 0xc9 } },		   /* dec ecx */
		{ 2, { 0xff, 0xc0 } },		   /* inc eax */
		{ 3, { 0x83, 0xd0, 0x05 } },	   /* adc eax, 5 */
		{ 3, { 0x0f, 0x92, 0xc3 } },	   /* setb bl */
		{ 3, { 0x0f, 0x94, 0xc0 } },	   /* sete al */
		{ 3, { 0x0f, 0x40, 0xc2 } },	   /* cmovo eax, edx */
		{ 3, { 0x0f, 0x48, 0xc2 } },	   /* cmovs eax, edx */
		{ 2, { 0xd3, 0xe0 } },		   /* shl eax, cl */
		{ 2, { 0xd1, 0xd0 } },		   /* rcl eax, 1 */
		{ 3, { 0xc1, 0xc3, 0x03 } },	   /* rol ebx, 3 */
		{ 1, { 0xf8 } },		   /* clc */
		{ 1, { 0xf5 } },		   /* cmc */
		{ 2, { 0x85, 0xc0 } },		   /* test eax, eax */
		{ 3, { 0x0f, 0xa3, 0xd8 } },	   /* bt eax, ebx */
		{ 2, { 0xf7, 0xe3 } },		   /* mul ebx */
		{ 2, { 0x89, 0xd0 } },		   /* mov eax, edx */
		{ 1, { 0x9f } },		   /* lahf */
	};
	unsigned start[PROGRAM_INSNS + 1], count = 4 + below(PROGRAM_INSNS - 3), at = 0;

	for (unsigned i = 0; i < count; i++) {
		start[i] = at;
		if (below(3)) {
			unsigned k = below(sizeof(forms) / sizeof(forms[0]));

			memcpy(code + at, forms[k].b, forms[k].n);
			at += forms[k].n;
		} else {
			code[at] = below(8) ? 0x70 + (uint8_t)below(16) : below(2) ? 0xeb : 0xe0 + (uint8_t)below(4);
			at += 2;
		}
	}
	start[count] = at;
	for (unsigned i = 0; i < count; i++) {
		unsigned to = start[below(count + 1)];

		if ((code[start[i]] & 0xf0) == 0x70 || code[start[i]] == 0xeb || (code[start[i]] & 0xfc) == 0xe0)
			code[start[i] + 1] = (uint8_t)(to - start[i] - 2);
	}
	return at;
}

/* Where it was after each step; stops behind its end. */
static unsigned run_program(const uint8_t *code, unsigned size, const uint64_t gpr[16], uint32_t flags_in, uint64_t *way)
{
	unsigned n = 0;

	rig_reset(INSN_MODE64, 0);
	memcpy(rig.c->gpr, gpr, 16 * sizeof(gpr[0]));
	rig.c->flags = cpu_flags_from(flags_in);
	while (n < PROGRAM_STEPS && rig.c->gpr[GPR_RIP] - 0x1000 < size) {
		unsigned at = (unsigned)(rig.c->gpr[GPR_RIP] - 0x1000);
		struct insn in;

		assert_true(insn_decode(code + at, size - at, INSN_MODE64, &in) > 0);
		rig_step(code + at, in.len);
		assert_int_equal(rig.vector, RIG_NO_FAULT);
		way[n++] = rig.c->gpr[GPR_RIP];
	}
	return n;
}

static void programs_that_differ_in_dead_flags_run_alike(void **state)
{
	unsigned long some_dead = 0;

	for (unsigned k = 0; k < rounds; k++) {
		static uint64_t way[2][PROGRAM_STEPS];
		uint64_t gpr[16], end[16];
		uint8_t code[PROGRAM_INSNS * 4];
		unsigned size = random_program(code), live = flags_live_in(code, size, 0, INSN_MODE64, 1 + below(40), NULL);
		uint32_t flags_in = (uint32_t)rnd() & FL_ALL, other = flags_in ^ ((uint32_t)rnd() & FL_ALL & ~live), out;
		unsigned steps;

		for (unsigned i = 0; i < 16; i++)
			gpr[i] = below(2) ? rnd() : below(40);
		steps = run_program(code, size, gpr, flags_in, way[0]);
		memcpy(end, rig.c->gpr, sizeof(end));
		out = rig.c->flags;
		assert_int_equal(run_program(code, size, gpr, other, way[1]), steps);
		assert_memory_equal(way[0], way[1], steps * sizeof(way[0][0]));
		assert_memory_equal(end, rig.c->gpr, sizeof(end));
		if (steps < PROGRAM_STEPS) /* it left: all flags may be wanted there */
			assert_int_equal(out, rig.c->flags);
		some_dead += live != FL_ALL;
	}
	assert_true(some_dead > rounds / 4);
}

static void all_accesses_of_random_runs_lie_in_their_ranges(void **state)
{
	unsigned long executed = 0;

	for (unsigned n = 0; n < rounds; n++)
		executed += run_random_trace();
	assert_true(executed > rounds * 3ul); /* not only first instructions */
	assert_true(grouped[0] > rounds / 4 && grouped[1] > rounds / 16);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_that_differ_in_dead_flags_run_alike),
		cmocka_unit_test(all_accesses_of_random_runs_lie_in_their_ranges),
	};

	random_options(argc, argv, &rounds);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
