// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The map file that perf(1) reads for code without a file (tools/perf/Documentation/jit-interface.txt of Linux):
 * "START SIZE name", hexadecimal without 0x. Where code was thrown away and its place used again there is more than
 * one line for it; perf believes the later one.
 */
#include "engine/soft/translate/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

FILE *perf_map_open(void)
{
	char path[64];
	struct stat st;
	FILE *f;
	int fd;

	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	/* Anybody may have put something there before. */
	fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1) {
		close(fd);
		errno = EEXIST;
		return NULL;
	}
	f = ftruncate(fd, 0) ? NULL : fdopen(fd, "w");
	if (!f)
		close(fd);
	return f;
}

static void line(FILE *f, const struct translator *tr, uint32_t from, uint32_t to)
{
	fprintf(f, "%" PRIxPTR " %" PRIx32 " ", (uintptr_t)(tr->rx + from), to - from);
}

void perf_map_trampolines(FILE *f, const struct translator *tr)
{
	line(f, tr, tr->enter, tr->leave);
	fputs("subring:enter\n", f);
	line(f, tr, tr->leave, tr->fault);
	fputs("subring:leave\n", f);
	line(f, tr, tr->fault, tr->common_end);
	fputs("subring:fault\n", f);
}

void perf_map_block(FILE *f, const struct translator *tr, const struct tblock *b, const struct symbols *symbols)
{
	static const char *const modes[4] = { "16", "32", "64", "?" };
	uint64_t offset;
	const char *name = symbols_find(symbols, b->linear, &offset);

	line(f, tr, b->far_code, b->far_code + b->code_len);
	/* Without the offset: a profile is of functions. */
	if (name)
		fprintf(f, "guest:%s\n", name);
	else
		fprintf(f, "guest:%s-cpl%u@%" PRIx64 "\n", modes[b->mode & 3], b->mode >> 2 & 3, b->key);
}
