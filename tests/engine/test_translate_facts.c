// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the translator believes of single instructions (translate/analyse.h), held against the host CPU: the
 * differential tester's cases (tools/difftest), all rows of the table that user code may execute, in all modes.
 *
 * A case is run as it is, and again with other values in whatever the analysis says is not read: registers, and flags that are dead
 * for a random choice of flags that are wanted afterwards. Nothing else may come out differently, and
 * what is said to be not written has to be what it was. --count N is the number of cases, --seed N
 * makes the same ones again.
 */
#include "difftest/difftest.h"
#include "random.h"

#include "engine/soft/translate/analyse.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

enum { VARIANTS = 3, CASES = DT_BATCH / VARIANTS };

static uint64_t seed;
static unsigned long count = 60000;
static unsigned kinds = 1u << DT_KIND_64;
static bool low_pages;
/* What the analysis says of a case. */
struct facts {
	struct trace trace;
	uint32_t read, written;
	unsigned live_in, live_out;
};

static struct dt_case cases[DT_BATCH];
static struct dt_result results[DT_BATCH];
static struct facts facts[CASES];
static uint32_t row_completed[4096];

/* False: its bytes are not all instructions. */
static bool analyse(const struct dt_case *c, struct facts *f)
{
	unsigned at = 0;

	f->trace.count = f->trace.bytes = 0;
	if (c->decoded <= 0)
		return false;
	for (unsigned i = 0; i < c->count; i++) {
		struct trace_insn *ti = &f->trace.insn[f->trace.count++];
		int len = insn_decode(c->bytes + at, sizeof(c->bytes) - at, c->mode, &ti->in);

		if (len <= 0)
			return false;
		ti->live_taken = FL_ALL;
		at += (unsigned)len;
	}
	f->live_out = rnd() & 1 ? FL_ALL : rnd() & FL_ALL;
	analyse_flags(&f->trace, f->live_out, false);
	f->live_in = f->trace.insn[0].live_in;
	if (c->count == 1) {
		f->read = insn_gprs_read(&f->trace.insn[0].in);
		f->written = insn_gprs_written(&f->trace.insn[0].in);
	} else {
		f->read = f->written = 0xffff;
	}
	return true;
}

static void change_what_is_not_read(struct dt_case *c, const struct facts *f)
{
	for (unsigned r = 0; r < (c->mode == INSN_MODE64 ? 16u : 8u); r++) {
		if (f->read & 1u << r)
			continue;
		c->in.gpr[r] = c->mode == INSN_MODE64 ? rnd() : (uint32_t)rnd();
	}
	c->in.rflags ^= rnd() & FL_ALL & ~f->live_in;
}

/* --- what may differ --- */

static bool same_fp(const struct dt_state *a, const struct dt_state *b)
{
	return a->fcw == b->fcw && a->fsw == b->fsw && a->ftw == b->ftw && a->mxcsr == b->mxcsr &&
	       !memcmp(a->st, b->st, sizeof(a->st)) && !memcmp(a->xmm, b->xmm, sizeof(a->xmm)) &&
	       !memcmp(a->ymm_hi, b->ymm_hi, sizeof(a->ymm_hi));
}

static bool same_end(const struct dt_result *a, const struct dt_result *b)
{
	return a->vector == b->vector && a->error == b->error && a->cr2 == b->cr2 && a->out.rip == b->out.rip &&
	       !memcmp(a->out.sel, b->out.sel, sizeof(a->out.sel)) && a->out.fs_base == b->out.fs_base &&
	       a->out.gs_base == b->out.gs_base;
}

static bool same_memory(const struct dt_result *a, const struct dt_result *b)
{
	return a->lines == b->lines && a->diff_hash == b->diff_hash;
}

/*
 * A branch to what is no landing: into its own bytes, or to memory that is full of anything. Another instruction
 * runs then, of which nothing is known.
 */
static bool runs_on(const struct dt_case *c, const struct facts *f, const struct dt_result *r)
{
	const struct insn *in = &f->trace.insn[0].in;

	if (c->count > 1 || !(in->flags & INSN_ENDS))
		return false;
	return r->vector != EXC_BP || r->out.rip - c->in.rip - 1 < in->len;
}

/* NULL, or what is wrong. @a is the result of the case @ca as it was made, @b that of its variant @cb. */
static const char *compare(const struct facts *f, const struct dt_case *ca, const struct dt_result *a, const struct dt_case *cb,
			   const struct dt_result *b)
{
	bool completed = a->vector == EXC_BP;
	/* RF in a fault's frame: interrupts of the host may have been between. */
	uint64_t wanted = (completed ? f->live_out : 0) | (~(uint64_t)FL_ALL & ~(uint64_t)RF_RF);
	uint64_t mask = ca->mode == INSN_MODE64 ? ~0ull : 0xffffffff;
	static char text[96];

	if (a->vector >= DT_DIED || b->vector >= DT_DIED)
		return "it did not end";
	if (runs_on(ca, f, a) || runs_on(ca, f, b))
		return NULL;
	if (!same_end(a, b))
		return "how it ends depends on what is not read";
	if (!same_fp(&a->out, &b->out))
		return "vector or x87 state depends on what is not read";
	if (!same_memory(a, b))
		return "what it stores depends on what is not read";
	if ((a->out.rflags ^ b->out.rflags) & wanted) {
		snprintf(text, sizeof(text), "flags %#llx depend on dead flags, or registers that are not read",
			 (unsigned long long)((a->out.rflags ^ b->out.rflags) & wanted));
		return text;
	}
	for (unsigned r = 0; r < (ca->mode == INSN_MODE64 ? 16u : 8u); r++) {
		bool kept = !((a->out.gpr[r] ^ ca->in.gpr[r]) & mask) && !((b->out.gpr[r] ^ cb->in.gpr[r]) & mask);

		if (!(f->written & 1u << r) && !kept)
			snprintf(text, sizeof(text), "register %u changes", r);
		else if (((a->out.gpr[r] ^ b->out.gpr[r]) & mask) && (!kept || (completed && (f->written & 1u << r))))
			snprintf(text, sizeof(text), "register %u depends on what is not read", r);
		else
			continue;
		return text;
	}
	return NULL;
}

static void report(const struct dt_case *c, const struct dt_case *v, const struct facts *f, const struct dt_result *a,
		   const struct dt_result *b, const char *why)
{
	char text[128];

	print_error("seed %llu, case %llu, mode %u: %s\n", (unsigned long long)seed, (unsigned long long)c->index, (unsigned)c->kind, why);
	for (unsigned i = 0; i < f->trace.count; i++)
		print_error("    %s  (live in %#x, out %#x)\n", insn_print(&f->trace.insn[i].in, c->in.rip, text, sizeof(text)),
			    f->trace.insn[i].live_in, f->trace.insn[i].live_out);
	print_error("    read %#x written %#x; vector %u and %u; rflags %#llx to %#llx, %#llx to %#llx\n", f->read, f->written, a->vector,
		    b->vector, (unsigned long long)c->in.rflags, (unsigned long long)a->out.rflags,
		    (unsigned long long)v->in.rflags, (unsigned long long)b->out.rflags);
}

/* --- batches --- */

static unsigned run_batch(uint64_t first, unsigned *wrong)
{
	unsigned n = 0;

	rnd_start(seed ^ first << 32);
	for (unsigned i = 0; i < CASES; i++) {
		struct dt_case *c = &cases[n * VARIANTS];

		gen_case(first + i, c);
		if (!analyse(c, &facts[n]))
			continue;
		for (unsigned v = 1; v < VARIANTS; v++) {
			c[v] = c[0];
			change_what_is_not_read(&c[v], &facts[n]);
		}
		n++;
	}
	native_run(cases, n * VARIANTS, results);
	for (unsigned i = 0; i < n; i++) {
		const struct dt_case *c = &cases[i * VARIANTS];
		const struct dt_result *r = &results[i * VARIANTS];

		row_completed[c->row] += c->count == 1 && r->vector == EXC_BP;
		for (unsigned v = 1; v < VARIANTS; v++) {
			const char *why = compare(&facts[i], c, r, &c[v], &r[v]);

			if (why && ++*wrong < 20)
				report(c, &c[v], &facts[i], r, &r[v], why);
		}
	}
	return n;
}

/* All of one seed, for memory as cases find it comes from the seed. */
static void init(unsigned block)
{
	struct dt_options o = { .seed = seed, .kinds = kinds, .block = block, .low_pages = low_pages };

	gen_init(&o);
}

static void run_cases(unsigned block, uint64_t n)
{
	unsigned wrong = 0;

	init(block);
	for (uint64_t at = 0; at < n; at += CASES)
		run_batch(at, &wrong);
	assert_int_equal(wrong, 0);
}

static void registers_and_flags_not_read_do_not_matter_and_those_not_written_stay(void **state)
{
	unsigned missing = 0;

	(void)state;
	run_cases(1, count);
	/* Nearly every row has been seen to complete; a few are hard to hit. */
	for (unsigned row = 0; row < opcode_count; row++) {
		if (!(opcode_table[row].attr & OP_USER) || row_completed[row])
			continue;
		if (getenv("FACTS_VERBOSE"))
			print_message("never completed: row %u, %s\n", row, opcode_table[row].name);
		missing++;
	}
	assert_true(missing < opcode_count / 20);
}

static void flags_dead_before_straight_lines_do_not_matter(void **state)
{
	(void)state;
	run_cases(8, count / 4);
}

static int start(void **state)
{
	bool low = true, ldt;
	int r;

	(void)state;
	init(1);
	r = native_init(&low, &ldt);
	if (r) {
		print_message("the host cannot do this: %s\n", strerror(-r));
		exit(77);
	}
	kinds = 1u << DT_KIND_64 | 1u << DT_KIND_32 | (ldt ? 1u << DT_KIND_LDT : 0) | (ldt && low ? 1u << DT_KIND_16 : 0);
	low_pages = low;
	return 0;
}

static int finish(void **state)
{
	(void)state;
	native_finish();
	return 0;
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_and_flags_not_read_do_not_matter_and_those_not_written_stay),
		cmocka_unit_test(flags_dead_before_straight_lines_do_not_matter),
	};

	seed = random_options(argc, argv, &count);
	return cmocka_run_group_tests(tests, start, finish);
}
