// SPDX-License-Identifier: GPL-2.0-or-later
/* A compiler: TCC compiles a generated C program of 200 functions in memory and calls its main. */
#include "programs.h"

#include <libtcc.h>
#include <stdio.h>
#include <stdlib.h>

enum { FUNCTIONS = 200 };

static char source[FUNCTIONS * 640 + 4096];

void make_source(void)
{
	uint64_t s = 13;
	char *p = source;

	p += sprintf(p, "typedef unsigned long u64;\nstruct pair { int a; short b[4]; u64 c; struct pair *next; };\n"
			"static struct pair pairs[16];\n#define MIX(x, y) (((x) << 5 ^ (y)) * 2654435761u)\n");
	for (unsigned i = 0; i < FUNCTIONS; i++) {
		unsigned a = (unsigned)(next_random(&s) >> 40), b = (unsigned)(next_random(&s) >> 48);

		p += sprintf(p,
			     "static u64 f%u(u64 x, int depth)\n{\n"
			     "\tstruct pair *p = &pairs[x & 15];\n\tu64 sum = %uu;\n\tint i;\n\n"
			     "\tfor (i = 0; i < %u; i++) {\n"
			     "\t\tp->c += MIX(x, i) + %u; /* round i of function %u */\n"
			     "\t\tsum ^= p->c >> (i & 7) | (p->b[i & 3] = (short)sum);\n\t}\n"
			     "\tswitch (sum %% 5) {\n\tcase 0: p->a -= %u; break;\n\tcase 1: p->a++; /* fall through */\n"
			     "\tcase 2: sum += p->a > 3 && x != 7 ? p->a : ~x; break;\n\tdefault: sum -= sizeof(*p);\n\t}\n",
			     i, a, 1 + b % 4, b, i, a % 100);
		p += i ? sprintf(p, "\treturn depth > 0 ? f%u(sum, depth - 1) + f%u(x + 1, depth - 2) : sum;\n}\n", i - 1, i / 2)
		       : sprintf(p, "\treturn sum;\n}\n");
	}
	sprintf(p, "u64 start(u64 x)\n{\n\treturn f%u(x, 6);\n}\n", FUNCTIONS - 1);
}

uint64_t run_tcc(uint64_t n)
{
	uint64_t sum = 0;

	while (n--) {
		TCCState *t = tcc_new();
		uint64_t (*start)(uint64_t);

		must(t != NULL, "tcc_new");
		tcc_set_options(t, "-nostdlib -nostdinc");
		tcc_set_output_type(t, TCC_OUTPUT_MEMORY);
		must(tcc_compile_string(t, source) == 0, "tcc_compile_string");
		must(tcc_relocate(t, TCC_RELOCATE_AUTO) == 0, "tcc_relocate");
		start = (uint64_t (*)(uint64_t))(uintptr_t)tcc_get_symbol(t, "start");
		must(start != NULL, "tcc_get_symbol");
		sum = sum * 31 + start(n);
		tcc_delete(t);
	}
	return sum;
}
