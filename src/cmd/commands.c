// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of commands, and the choice of one. */
#include "cmd/cmd.h"

#include <errno.h>
#include <string.h>

const struct command *const commands[] = {
	&command_run,
	&command_disk,
	&command_doctor,
	&command_net,
	&command_help,
	&command_version,
	NULL,
};

const struct command *command_find(const char *name)
{
	for (const struct command *const *c = commands; *c; c++) {
		if (strcmp((*c)->name, name) == 0)
			return *c;
	}
	return NULL;
}

static int unknown_command(const char *name)
{
	const char *names[16];
	const char *near;
	struct error err;
	size_t n = 0;

	for (const struct command *const *c = commands; *c && n < 15; c++)
		names[n++] = (*c)->name;
	names[n] = NULL;
	near = nearest_name(name, names);
	error_set(&err, -EINVAL, STATUS_USAGE, "cannot understand '%s'", "there is no such command",
		  near ? "did you mean 'subring %s'? 'subring help' lists the commands" :
			 "%s'subring help' lists the commands",
		  name, near ? near : "");
	error_print(&err);
	return (int)err.status;
}

int cmd_main(int argc, char **argv)
{
	const struct command *command;
	const char *name;

	if (argc < 2) {
		command_help.run(1, (char *[]){ (char *)"help", NULL });
		return STATUS_USAGE;
	}
	name = argv[1];
	/* The two options that everybody tries first. */
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		name = "help";
	else if (strcmp(name, "--version") == 0)
		name = "version";
	command = command_find(name);
	if (!command)
		return unknown_command(name);
	if (options_want_help(argc - 1, argv + 1)) {
		options_help(command, stdout);
		return STATUS_OK;
	}
	return command->run(argc - 1, argv + 1);
}
