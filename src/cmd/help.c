// SPDX-License-Identifier: GPL-2.0-or-later
/* subring help, subring version. */
#include "cmd/cmd.h"

#include <errno.h>

static const struct option_spec no_options[] = { { 0 } };

static void list_commands(FILE *out)
{
	fprintf(out, "usage: subring COMMAND [option ...]\n\n"
		     "Runs unmodified operating systems in virtual machines, with or without help of the hardware.\n\n"
		     "commands:\n");
	for (const struct command *const *c = commands; *c; c++)
		fprintf(out, "  %-10s %s\n", (*c)->name, (*c)->summary);
	fprintf(out, "\n'subring help COMMAND' shows a command's options. 'subring run' alone boots a small Linux.\n");
}

static int help_run(int argc, char **argv)
{
	const char *topic = NULL;
	const struct command *command;
	struct error err;

	if (options_parse(&command_help, argc, argv, NULL, &topic, &err)) {
		error_print(&err);
		return (int)err.status;
	}
	if (!topic) {
		list_commands(stdout);
		return STATUS_OK;
	}
	command = command_find(topic);
	if (!command) {
		error_set(&err, -EINVAL, STATUS_USAGE, "cannot help with '%s'", "there is no such command",
			  "'subring help' lists the commands", topic);
		error_print(&err);
		return (int)err.status;
	}
	options_help(command, stdout);
	return STATUS_OK;
}

const struct command command_help = {
	.name = "help",
	.summary = "Shows the commands, or the options of one",
	.operand = "COMMAND",
	.options = no_options,
	.run = help_run,
};

static int version_run(int argc, char **argv)
{
	struct error err;

	if (options_parse(&command_version, argc, argv, NULL, NULL, &err)) {
		error_print(&err);
		return (int)err.status;
	}
	printf("subring %s\n", SUBRING_VERSION);
	return STATUS_OK;
}

const struct command command_version = {
	.name = "version",
	.summary = "Shows the version",
	.options = no_options,
	.run = version_run,
};
