// SPDX-License-Identifier: GPL-2.0-or-later
/* A shell script: busybox's ash runs loops, arithmetic, command substitutions, pipes and small external commands. */
#include "programs.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUSYBOX "/bin/busybox"

/* $1 rounds. Commands are called by the path of busybox, so that each is executed, on every side. */
static const char script[] =
	"b=" BUSYBOX "\n"
	"words() { for w in alpha beta gamma delta epsilon; do echo \"$w $1\"; done; }\n"
	"round=0 sum=0\n"
	"while [ $round -lt $1 ]; do\n"
	"	round=$((round + 1)) i=0\n"
	"	while [ $i -lt 200 ]; do\n"
	"		i=$((i + 1)) sum=$(((sum * 31 + i) % 65521))\n"
	"		case $sum in *7) sum=$((sum + 1)) ;; *[13]) : ;; esac\n"
	"	done\n"
	"	line=$(words $round)\n"
	"	sorted=$(words $sum | $b sort -r | $b tr a-z A-Z)\n"
	"	set -- \"$1\" $sorted\n"
	"	echo \"$round $sum ${#line} $# ${sorted%% *} $(echo \"$line\" | $b sed -n 's/a \\([0-9]*\\)/<\\1>/p' | $b wc -c) $($b expr $sum + 1)\"\n"
	"	[ $# -gt 3 ] && set -- \"$1\"\n"
	"done\n";

uint64_t run_shell(uint64_t n)
{
	char rounds[24];
	uint64_t sum = 0xcbf29ce484222325ull;
	int out[2], status;
	FILE *from;
	pid_t pid;

	snprintf(rounds, sizeof(rounds), "%llu", (unsigned long long)n);
	must(!pipe(out), "pipe");
	pid = fork();
	must(pid >= 0, "fork");
	if (!pid) {
		dup2(out[1], 1);
		close(out[0]);
		close(out[1]);
		execl(BUSYBOX, "busybox", "ash", "-c", script, "ash", rounds, (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	from = fdopen(out[0], "r");
	must(from != NULL, "fdopen");
	for (int c; (c = getc(from)) != EOF;)
		sum = (sum ^ (uint64_t)c) * 0x100000001b3ull;
	fclose(from);
	must(waitpid(pid, &status, 0) == pid && !status, "busybox ash");
	return sum;
}
