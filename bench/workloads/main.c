// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * usage: bench-workloads [--scale PERCENT] [NAME ...]
 *
 * Runs the workloads and prints a line each: "BENCH group name nanoseconds checksum", between the
 * marks "BENCH-BEGIN name" and "BENCH-END name", which a driver can time from outside. A workload that this build
 * left out is "BENCH-ABSENT group/name".
 */
#include "workloads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void run(const struct workload *w, unsigned percent)
{
	uint64_t n = w->n * percent / 100, t, sum;

	if (!w->run) {
		printf("BENCH-ABSENT %s/%s\n", w->group, w->name);
		return;
	}
	if (w->prepare)
		w->prepare();
	printf("BENCH-BEGIN %s\n", w->name);
	fflush(stdout);
	t = now_ns();
	sum = w->run(n ? n : 1);
	t = now_ns() - t;
	printf("BENCH-END %s\nBENCH %s %s %llu %016llx\n", w->name, w->group, w->name, (unsigned long long)t,
	       (unsigned long long)sum);
	fflush(stdout);
}

static int wanted(const char *name, char **list, int count)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(list[i], name))
			return 1;
	return count == 0;
}

int main(int argc, char **argv)
{
	const struct workload *const all[] = { integer_workloads, vector_workloads, memory_workloads,
						code_workloads,	   program_workloads, kernel_workloads };
	unsigned percent = 100;

	if (argc > 1 && !strcmp(argv[1], "exit")) /* what the fork+exec workload executes */
		return 7;
	if (argc > 2 && !strcmp(argv[1], "--scale")) {
		percent = (unsigned)atoi(argv[2]);
		argc -= 2;
		argv += 2;
	}
	for (unsigned g = 0; g < sizeof(all) / sizeof(all[0]); g++)
		for (const struct workload *w = all[g]; w->name; w++)
			if (wanted(w->name, argv + 1, argc - 1))
				run(w, percent);
	return 0;
}
