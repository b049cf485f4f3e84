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

/* Each ends where the next one in memory begins. */
void perf_map_trampolines(FILE *f, const struct translator *tr)
{
	const struct {
		const char *name;
		uint32_t at;
	} routine[] = {
		{ "enter", tr->enter },	      { "leave", tr->leave },	       { "fault", tr->fault },		   { "jump-miss", tr->jump_miss },
		{ "exit", tr->exit },	      { "exit-rcx", tr->exit_rcx },    { "fill-load", tr->fill[0][0] },	   { "fill-load-plain", tr->fill[0][1] },
		{ "fill-store", tr->fill[1][0] }, { "fill-store-plain", tr->fill[1][1] }, { "hot-miss", tr->hot_miss },
	};
	enum { ROUTINES = sizeof(routine) / sizeof(routine[0]) };

	for (unsigned i = 0; i < ROUTINES; i++) {
		uint32_t end = tr->common_end;

		for (unsigned k = 0; k < ROUTINES; k++)
			if (routine[k].at > routine[i].at && routine[k].at < end)
				end = routine[k].at;
		line(f, tr, routine[i].at, end);
		fprintf(f, "subring:%s\n", routine[i].name);
	}
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
