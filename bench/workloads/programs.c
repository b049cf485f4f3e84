// SPDX-License-Identifier: GPL-2.0-or-later
/* The list of whole programs, and text for those that want some. A program whose library was not there has no function. */
#include "programs.h"

#include <string.h>

enum { TEXT = 1 << 20 };

static char text[TEXT + 16];

/* Words of two to eleven letters out of 4,096, small numbers more often, in sentences. */
void make_text(void)
{
	static char words[4096][12];
	uint64_t s = 11;

	for (unsigned i = 0; i < 4096; i++)
		for (unsigned k = 0, len = 2 + next_random(&s) % 10; k < len; k++)
			words[i][k] = "etaoinshrdlucmfwypvbgkjqxz"[next_random(&s) % 26 * (next_random(&s) % 26) / 26];
	for (unsigned at = 0; at < TEXT;) {
		uint64_t r = next_random(&s);
		const char *word = words[(r >> 20 & 4095) * (r >> 40 & 4095) >> 12];
		size_t len = strlen(word);

		memcpy(text + at, word, len > TEXT - at ? TEXT - at : len);
		at += (unsigned)len;
		text[at++] = r % 11 ? ' ' : '\n';
	}
}

const char *piece_of_text(uint64_t n)
{
	return text + n * 7919 % (TEXT - PIECE);
}

const struct workload program_workloads[] = {
	{ "programs", "zlib", run_zlib, 32, make_text }, { "programs", "zstd", run_zstd, 160, make_text },
	{ "programs", "sqlite", run_sqlite, 42, NULL },	 { "programs", "lua", run_lua, 75, NULL },
	{ "programs", "tcc", run_tcc, 17, make_source },	 { "programs", "shell", run_shell, 8, NULL },
	{ 0 },
};
