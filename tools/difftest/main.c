// SPDX-License-Identifier: GPL-2.0-or-later
/* difftest: options, the loop over batches, reports. */
#include "difftest.h"

#include "engine/soft/host/host.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STATUS_EQUAL = 0, STATUS_DIFFERENT = 1, STATUS_SKIPPED = 77 }; /* and STATUS_USAGE of host/error.h */
enum { ROWS = 4096 };

static struct {
	uint64_t count, index;
	bool one, list, json, whole;
	bool tier[DT_TIERS];
	struct program_drop drop;
	bool dropping;
	struct soft_tuning tuning;
	unsigned max_reports;
} args = { .count = 100000, .max_reports = 20 };
static uint64_t seed;

static const char *const tier_names[DT_TIERS] = { "interp", "translate" };

/* Cases of each row and kind; completed: without an exception */
static struct coverage {
	uint32_t run, completed, different;
} coverage[ROWS][DT_KINDS];

static const char *const kind_names[DT_KINDS] = { "64", "32", "16", "ldt" };

static void usage(FILE *f)
{
	fputs("Usage: difftest [OPTION]...\n"
	      "Runs random instructions on this CPU and under engine soft, and compares everything.\n\n"
	      "  --count N     instructions to run (100000)\n"
	      "  --seed N      of the generator; default: the time\n"
	      "  --index N     run this one case of the seed alone, and show it\n"
	      "  --mode M,...  64: 64-bit mode; 32: 32-bit code, flat; 16: 16-bit code, ldt: 32-bit code, both with\n"
	      "                segments of all kinds from the LDT; both: 64,32; all: these four (all)\n"
	      "                blocks64, blocks32: programs with branches, loops and calls; blocks: both\n"
	      "  --tier T      interp, translate or both (both): what is compared with this CPU\n"
	      "  --soft OPT    options of engine soft, as behind \"soft,\" on subring's command line; with flags=exact,\n"
	      "                arithmetic flags that nobody reads are compared in exceptions, too (hot=0,cache=4096)\n"
	      "  --cpu MODEL   as on subring's command line (host)\n"
	      "  --avx512      only EVEX encodings and opmask instructions\n"
	      "  --row NAME    only this mnemonic, as the opcode table has it\n"
	      "  --block N     straight lines of N instructions, at most 16 (1)\n"
	      "  --list        list how often each row ran\n"
	      "  --whole       do not make blocks that differ smaller\n"
	      "  --drop HEX    with --index: leave out these pieces of the block, as a report says\n"
	      "  --reports N   show at most N differences (20)\n"
	      "  --json        the summary as JSON\n\n"
	      "Status: 0 no difference, 1 differences, 2 bad usage, 77 the host cannot do this.\n",
	      f);
}

static void print_state(const char *title, const struct dt_state *s)
{
	static const char *const names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					       "r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15" };

	printf("  %s\n", title);
	for (unsigned i = 0; i < 16; i++)
		printf("    %s %016" PRIx64 "%s", names[i], s->gpr[i], i % 4 == 3 ? "\n" : "");
	printf("    rip %016" PRIx64 "    rflags %08" PRIx64 " fs %" PRIx64 " gs %" PRIx64 "\n", s->rip, s->rflags, s->fs_base,
	       s->gs_base);
	printf("    fcw %04x fsw %04x ftw %02x mxcsr %08x\n", s->fcw, s->fsw, s->ftw, s->mxcsr);
}

static void print_avx512(const struct dt_state *state)
{
	struct dt_state s = *state;

	for (unsigned i = 0; i < 32; i++) {
		printf("    zmm%-2u ", i);
		for (unsigned k = 64; k-- > (i < 16 ? 32 : 0);)
			printf("%02x%s", dt_lane(&s, i, k / 16)[k % 16], k % 16 ? "" : "'");
		if (i < 8)
			printf("  k%u %016" PRIx64, i, s.k[i]);
		printf("\n");
	}
}

static void print_vectors(const struct dt_state *s)
{
	if (cpu_model_has(&dt_model, FEAT_AVX512F))
		print_avx512(s);
	for (unsigned i = 0; i < 16; i++) {
		printf("    ymm%-2u ", i);
		for (unsigned k = 16; k-- > 0;)
			printf("%02x", s->ymm_hi[i][k]);
		printf("'");
		for (unsigned k = 16; k-- > 0;)
			printf("%02x", s->xmm[i][k]);
		if (i < 8) {
			printf("  st%u ", i);
			for (unsigned k = 10; k-- > 0;)
				printf("%02x", s->st[i][k]);
		}
		printf("\n");
	}
}

static void print_segments(const struct dt_case *c)
{
	static const char *const names[SEG_COUNT] = { "es", "cs", "ss", "ds", "fs", "gs" };

	for (unsigned i = 0; i < SEG_COUNT; i++)
		printf("    %s %04x base %08" PRIx64 " limit %08x attr %05x\n", names[i], c->in.sel[i], c->seg[i].base,
		       c->seg[i].limit, c->seg[i].attr);
}

static void print_case(const struct dt_case *c)
{
	struct insn in;
	char text[128] = "(illegal)";
	unsigned at = 0;

	printf("#%" PRIu64 " mode %s, row %u", c->index, kind_names[c->kind], c->row);
	for (unsigned k = 0; k < c->count; k++) {
		int len = c->decoded > 0 ? insn_decode(c->bytes + at, sizeof(c->bytes) - at, c->mode, &in) : -1;

		if (len > 0)
			insn_print(&in, c->in.rip + at, text, sizeof(text));
		printf(k ? "    %llx:" : ":", (unsigned long long)c->in.rip + at);
		for (unsigned i = 0; i < (len > 0 ? (unsigned)len : INSN_BYTES_MAX); i++)
			printf(" %02x", c->bytes[at + i]);
		printf("  %s\n", text);
		if (len <= 0)
			break;
		at += (unsigned)len;
	}
	if (c->has_ea) {
		printf("    memory operand at %" PRIx64 ":", c->ea);
		for (unsigned i = 0; i < 16; i++) {
			const uint8_t *p = gen_memory(c, c->ea + i);

			if (p)
				printf(" %02x", *p);
			else
				printf(" --");
		}
		printf("\n");
	}
	if (c->poke_len) {
		printf("    before, at %" PRIx64 ":", c->poke_la);
		for (unsigned i = 0; i < c->poke_len; i++)
			printf(" %02x", c->poke[i]);
		printf("\n");
	}
	if (c->kind == DT_KIND_16 || c->kind == DT_KIND_LDT)
		print_segments(c);
}

static bool uses_vectors(const struct dt_case *c)
{
	return c->count > 1 || opcode_table[c->row].attr & (OP_X87 | OP_MMX | OP_SSE | OP_AVX);
}

static uint64_t completed;
static uint64_t endings[33]; /* by vector; 32: other ways */

/* Why blocks that differ do not count, and how many. */
static struct {
	const char *why;
	uint64_t count;
} unfair[64];

static void count_unfair(const char *why)
{
	unsigned i = 0;

	while (i + 1 < sizeof(unfair) / sizeof(unfair[0]) && unfair[i].why && unfair[i].why != why)
		i++;
	unfair[i].why = why;
	unfair[i].count++;
}

static void print_results(const struct dt_result *native, const struct dt_result *soft)
{
	print_state("host", &native->out);
	for (unsigned t = 0; t < DT_TIERS; t++)
		if (args.tier[t])
			print_state(tier_names[t], &soft[t].out);
	printf("  host ended by vector %u error %x cr2 %" PRIx64 "\n", native->vector, native->error, native->cr2);
}

static void print_again(const struct dt_case *c, const struct program_drop *drop, uint64_t first)
{
	printf("  again: --mode blocks%s --seed %" PRIu64 " --index %" PRIu64, kind_names[c->kind], seed, c->index);
	printf(" --drop %" PRIx64 ":%" PRIx64 "%s\n", drop->bits[1], drop->bits[0],
	       first == c->index ? "" : "   (differs only after the runs before it)");
}

/* A block that differs, made smaller. */
static void print_smaller(const struct dt_case *whole, enum dt_tier tier)
{
	static struct dt_result native, soft;
	static char why[16384];
	struct program_drop drop;
	struct dt_case c = *whole;
	uint64_t first = shrink(&c, tier, &drop);

	soft_forget(tier);
	for (uint64_t i = first; i <= whole->index; i++) {
		program_case(i, &drop, &c);
		soft_run(&c, tier, &soft);
	}
	native_run(&c, 1, &native);
	if (compare_results(&c, &native, &soft, why, sizeof(why))) {
		printf("  it does not differ again\n");
		return;
	}
	printf("  smaller:\n");
	print_case(&c);
	print_state("before", &c.in);
	fputs(why, stdout);
	print_again(&c, &drop, first);
}

static void report(const struct dt_case *c, const struct dt_result *native, const struct dt_result *soft, unsigned tier,
		   const char *why)
{
	bool shrinks = c->program && *why && !args.whole && !args.dropping;

	printf("%s: ", tier_names[tier]);
	if (shrinks && !args.one) {
		printf("block #%" PRIu64 " differs\n", c->index);
	} else {
		print_case(c);
		print_state("before", &c->in);
		if (uses_vectors(c))
			print_vectors(&c->in);
	}
	if (args.one)
		print_results(native, soft);
	fputs(why, stdout);
	if (shrinks)
		print_smaller(c, (enum dt_tier)tier);
	fflush(stdout);
}

static void make_case(uint64_t index, struct dt_case *c)
{
	if (args.dropping)
		program_case(index, &args.drop, c);
	else
		gen_case(index, c);
}

/* Runs one batch; returns how many cases differed. @shown: only from this index on is there anything to tell. */
static unsigned run_batch(uint64_t first, unsigned n, uint64_t shown)
{
	static struct dt_case cases[DT_BATCH];
	static struct dt_result native[DT_BATCH];
	static struct dt_result soft[DT_TIERS];
	static unsigned reports;
	static uint64_t told = ~0ull; /* the program of the last report */
	static char why[16384];
	unsigned bad = 0;

	for (unsigned i = 0; i < n; i++)
		make_case(first + i, &cases[i]);
	native_run(cases, n, native);
	for (unsigned i = 0; i < n; i++) {
		const struct dt_case *c = &cases[i];
		struct coverage *count = &coverage[c->row][c->kind];
		const char *excuse = NULL;
		bool equal = true;

		count->run++;
		if (native[i].vector == DT_STUCK) {
			count_unfair("which do not end");
			continue;
		}
		for (unsigned t = 0; t < DT_TIERS; t++)
			if (args.tier[t])
				soft_run(c, (enum dt_tier)t, &soft[t]);
		if (c->index < shown)
			continue;
		for (unsigned t = 0; t < DT_TIERS && equal; t++) {
			if (!args.tier[t])
				continue;
			equal = compare_results(c, &native[i], &soft[t], why, sizeof(why));
			excuse = !equal && (c->program || c->count > 1) ? soft_excuse(c, (enum dt_tier)t, &native[i]) : NULL;
			if (excuse) {
				count_unfair(excuse);
				equal = true;
				break;
			}
			if (equal || (c->program && c->index / DT_RUNS == told))
				continue; /* the other runs of a program have little to add */
			told = c->program ? c->index / DT_RUNS : ~0ull;
			if (reports++ < args.max_reports)
				report(c, &native[i], soft, t, why);
		}
		if (equal && !excuse && args.tier[DT_INTERP] && args.tier[DT_TRANSLATE] && !compare_tiers(soft, why, sizeof(why))) {
			equal = false;
			if (reports++ < args.max_reports)
				report(c, &native[i], soft, DT_TRANSLATE, why);
		}
		endings[native[i].vector < 32 ? native[i].vector : 32]++;
		if (native[i].vector == EXC_BP) {
			count->completed++;
			completed++;
		}
		if (!equal) {
			count->different++;
			bad++;
		} else if (args.one) {
			report(c, &native[i], soft, args.tier[DT_INTERP] ? DT_INTERP : DT_TRANSLATE, "");
		}
	}
	return bad;
}

/* Sets of kinds; false: there is no such mode. */
static bool parse_kinds(char *text, struct dt_options *o)
{
	const unsigned flat = 1u << DT_KIND_64 | 1u << DT_KIND_32;

	o->kinds = o->programs = 0;
	for (char *word = strtok(text, ","); word; word = strtok(NULL, ",")) {
		unsigned k = 0;

		if (!strcmp(word, "all"))
			o->kinds |= (1u << DT_KINDS) - 1;
		else if (!strcmp(word, "both"))
			o->kinds |= flat;
		else if (!strcmp(word, "blocks"))
			o->programs |= flat;
		else if (!strcmp(word, "blocks64"))
			o->programs |= 1u << DT_KIND_64;
		else if (!strcmp(word, "blocks32"))
			o->programs |= 1u << DT_KIND_32;
		else {
			while (k < DT_KINDS && strcmp(word, kind_names[k]))
				k++;
			if (k == DT_KINDS)
				return false;
			o->kinds |= 1u << k;
		}
	}
	return o->kinds || o->programs;
}

static bool parse_tier(const char *text)
{
	bool both = !strcmp(text, "both");

	for (unsigned t = 0; t < DT_TIERS; t++)
		args.tier[t] = both || !strcmp(text, tier_names[t]);
	return args.tier[DT_INTERP] || args.tier[DT_TRANSLATE];
}

/* Frames of the tester's would soon all be mixed (translate/mixed.c): that is for runs which ask for it. */
static bool parse_soft(const char *text)
{
	struct soft_options options;
	struct error err = { 0 };
	char all[256];

	snprintf(all, sizeof(all), "hot=0,cache=4096,mixed=4000,%s", text);
	if (soft_options_parse(all, &options, &err)) {
		fprintf(stderr, "difftest: --soft %s: no such option\n", text);
		return false;
	}
	args.tuning = options.tuning;
	return true;
}

static bool parse_drop(char *text)
{
	char *low = strchr(text, ':');

	if (!low)
		return false;
	args.drop.bits[1] = strtoull(text, NULL, 16);
	args.drop.bits[0] = strtoull(low + 1, NULL, 16);
	args.dropping = true;
	return true;
}

static int parse(int argc, char **argv, struct dt_options *o)
{
	static const struct option options[] = {
		{ "count", required_argument, NULL, 'c' }, { "seed", required_argument, NULL, 's' },
		{ "index", required_argument, NULL, 'i' }, { "mode", required_argument, NULL, 'm' },
		{ "row", required_argument, NULL, 'r' },   { "list", no_argument, NULL, 'l' },
		{ "json", no_argument, NULL, 'j' },	   { "reports", required_argument, NULL, 'n' },
		{ "block", required_argument, NULL, 'b' }, { "tier", required_argument, NULL, 't' },
		{ "soft", required_argument, NULL, 'o' },  { "whole", no_argument, NULL, 'w' },
		{ "drop", required_argument, NULL, 'd' },  { "cpu", required_argument, NULL, 'p' },
		{ "avx512", no_argument, NULL, 'a' },
		{ "help", no_argument, NULL, 'h' },	   { 0 },
	};
	struct error err = { 0 };
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (opt) {
		case 'c': args.count = strtoull(optarg, NULL, 0); break;
		case 's': o->seed = strtoull(optarg, NULL, 0); break;
		case 'a': o->avx512 = true; break;
		case 'p':
			if (cpu_model_parse(optarg, &dt_model, &err)) {
				fprintf(stderr, "difftest: --cpu %s: no such model here\n", optarg);
				return false;
			}
			break;
		case 'i':
			args.index = strtoull(optarg, NULL, 0);
			args.one = true;
			args.count = 1;
			break;
		case 'm':
			if (!parse_kinds(optarg, o))
				return -1;
			break;
		case 't':
			if (!parse_tier(optarg))
				return -1;
			break;
		case 'o':
			if (!parse_soft(optarg))
				return -1;
			break;
		case 'w': args.whole = true; break;
		case 'd':
			if (!parse_drop(optarg))
				return -1;
			break;
		case 'r': o->row = optarg; break;
		case 'l': args.list = true; break;
		case 'j': args.json = true; break;
		case 'n': args.max_reports = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'b':
			o->block = (unsigned)strtoul(optarg, NULL, 0);
			if (o->block < 1 || o->block > DT_BLOCK_MAX)
				return -1;
			break;
		case 'h': usage(stdout); exit(STATUS_EQUAL);
		default: return -1;
		}
	}
	return optind == argc && (!args.dropping || (args.one && o->programs)) ? 0 : -1;
}

/* By which vectors cases ended. */
static void print_endings(void)
{
	for (unsigned i = 0; i < 33; i++)
		if (endings[i])
			printf("ended by %s %u: %" PRIu64 "\n", i < 32 ? "vector" : "other than", i, endings[i]);
}

static void print_list(void)
{
	for (unsigned r = 0; r < opcode_count && r < ROWS; r++) {
		const struct opcode *op = &opcode_table[r];

		if (!(op->attr & (OP_USER | OP_CPL0)) && !coverage[r][DT_KIND_32].run)
			continue;
		printf("%4u %-16s map %u %02x", r, op->name, op->map, op->opcode);
		for (unsigned k = 0; k < DT_KINDS; k++)
			printf("  %s: %8u run %8u completed %u differ", kind_names[k], coverage[r][k].run,
			       coverage[r][k].completed, coverage[r][k].different);
		printf("\n");
	}
}

/* Mnemonics with differences, on one line each. */
static void print_bad_rows(void)
{
	for (unsigned r = 0; r < opcode_count && r < ROWS; r++)
		for (unsigned k = 0; k < DT_KINDS; k++)
			if (coverage[r][k].different)
				printf("row %u %s (map %u %02x, mode %s): %u of %u differ\n", r, opcode_table[r].name,
				       opcode_table[r].map, opcode_table[r].opcode, kind_names[k],
				       coverage[r][k].different, coverage[r][k].run);
}

/* Whoever started this may ignore or block what is to end it, and a run can be long. */
static void allow_termination(void)
{
	static const int signals[] = { SIGTERM, SIGALRM };
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		signal(signals[i], SIG_DFL);
		sigaddset(&set, signals[i]);
	}
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
	struct dt_options o = { .seed = (uint64_t)time(NULL), .kinds = (1u << DT_KINDS) - 1, .low_pages = true, .block = 1 };
	uint64_t done = 0, bad = 0, before = 0;
	bool ldt;
	struct timespec t0, t1;
	double seconds;
	int r;

	allow_termination();
	parse_tier("both");
	parse_soft("");
	if (parse(argc, argv, &o)) {
		usage(stderr);
		return STATUS_USAGE;
	}
	gen_init(&o);
	if (o.avx512 && !cpu_model_has(&dt_model, FEAT_AVX512F)) {
		printf("skipped: this host or this model has no AVX-512\n");
		return STATUS_SKIPPED;
	}
	if (!gen_rows()) {
		fprintf(stderr, "difftest: no such row can be run: %s\n", o.row ? o.row : "(any)");
		return STATUS_USAGE;
	}
	r = native_init(&o.low_pages, &ldt);
	if (!r)
		r = soft_init(o.low_pages, &args.tuning);
	if (r) {
		printf("skipped: the tester cannot be set up here: %s\n", strerror(-r));
		return STATUS_SKIPPED;
	}
	if (!ldt && (o.kinds &= ~(1u << DT_KIND_16 | 1u << DT_KIND_LDT)) == 0 && !o.programs) {
		printf("skipped: this kernel's modify_ldt does not give the segments\n");
		return STATUS_SKIPPED;
	}
	gen_init(&o);
	if (!args.json && !ldt)
		printf("without modes 16 and ldt: this kernel's modify_ldt does not give the segments\n");
	if (!args.json)
		printf("seed %" PRIu64 ", %u rows\n", o.seed, gen_rows());
	fflush(stdout);
	seed = o.seed;
	if (args.one && o.programs) { /* the runs of the same program before it belong to it */
		before = args.index - program_first(args.index);
		args.count += before;
	}
	clock_gettime(CLOCK_MONOTONIC, &t0);
	while (done < args.count) {
		unsigned n = args.count - done < DT_BATCH ? (unsigned)(args.count - done) : DT_BATCH;

		bad += run_batch(args.index - before + done, n, args.index);
		done += n;
	}
	native_finish();
	clock_gettime(CLOCK_MONOTONIC, &t1);
	seconds = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
	if (args.list) {
		print_list();
		print_endings();
	}
	if (args.json) {
		printf("{\"seed\": %" PRIu64 ", \"executed\": %" PRIu64 ", \"completed\": %" PRIu64
		       ", \"different\": %" PRIu64 ", \"rows\": %u, \"seconds\": %.1f}\n",
		       o.seed, done, completed, bad, gen_rows(), seconds);
	} else {
		print_bad_rows();
		printf("%" PRIu64 " executed, %" PRIu64 " of them without exception, %" PRIu64 " differ, %.1f s\n", done,
		       completed, bad, seconds);
		if (args.tier[DT_INTERP] && o.programs)
			printf("over %" PRIu64 " instructions, by the interpreter's count\n", soft_instructions());
		for (unsigned i = 0; unfair[i].count; i++)
			printf("not counted: %" PRIu64 " blocks, %s\n", unfair[i].count, unfair[i].why);
	}
	return bad ? STATUS_DIFFERENT : STATUS_EQUAL;
}
