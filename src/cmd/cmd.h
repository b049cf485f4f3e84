// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The command line.
 *
 *   commands.c  the table of commands, and the choice of one
 *   options.c   options: one table a command, from which parser, --help and the test of the man
 *               page all work
 *   run.c       subring run
 *   doctor.c    subring doctor: what it prints; checks.c: what it looks at
 *   disk.c      subring disk
 *   net.c       subring net: switches between VMs
 *   help.c      subring help, subring version
 *   guest.c     where the default guest is
 *   terminal.c  the user's terminal and signals
 *   keys.c      what Ctrl-a does
 *   serial.c    the host's side of the serial port
 */
#ifndef SUBRING_CMD_CMD_H
#define SUBRING_CMD_CMD_H

#include "host/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* --- options --- */

enum option_kind {
	OPTION_FLAG,   /* sets the bool at offset */
	OPTION_STRING, /* sets the const char * at offset to the argument (no copy) */
	OPTION_SIZE,   /* sets the uint64_t at offset to a size such as 512M */
	OPTION_NUMBER, /* sets the unsigned at offset */
	OPTION_LIST,   /* adds the argument to the struct option_list at offset (no copy) */
};

enum { OPTION_LIST_MAX = 32 };
struct option_list {
	const char *item[OPTION_LIST_MAX];
	unsigned count;
};

struct option_spec {
	const char *name; /* without dashes; NULL ends the table */
	const char *arg;  /* how the argument is called in --help; NULL for flags */
	const char *help;
	enum option_kind kind;
	size_t offset;	   /* in the command's options struct */
	uint64_t min, max; /* of sizes and numbers */
};

struct command {
	const char *name;
	const char *summary; /* one line for the list of commands */
	const char *operand; /* how its operand is called; NULL: it has none. At most one is taken */
	const struct option_spec *options;
	int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit status */
};

extern const struct command command_run, command_disk, command_doctor, command_net, command_help, command_version;
extern const struct command *const commands[]; /* NULL at the end */

const struct command *command_find(const char *name);

/*
 * Reads the options of @command into @to, and its operand, if any, into @operand (may be NULL
 * when the command takes none). "--opt value" and "--opt=value"; "--" ends the options.
 */
int options_parse(const struct command *command, int argc, char **argv, void *to, const char **operand,
		  struct error *err);
/* "--help" is an option of every command: whether it is in @argv before any "--". */
bool options_want_help(int argc, char **argv);
void options_help(const struct command *command, FILE *out);

/* A number of K, M, G or T (powers of 1024). False: it is none, or too large for 64 bits. */
bool parse_size(const char *text, uint64_t *bytes);
/* The name in @names (NULL at the end) that @word was probably meant to be, or NULL. */
const char *nearest_name(const char *word, const char *const *names);

/* The whole program. Returns the exit status. */
int cmd_main(int argc, char **argv);

/* --- the default guest --- */

struct default_guest {
	char kernel[4096], initrd[4096];
};

/* 0; -ENOENT with @err when there is none. */
int default_guest_find(struct default_guest *guest, struct error *err);

#endif
