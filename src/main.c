// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The program: the command line, or, when the monitor started it as such, the process that hosts
 * engine soft, or that of a switch between VMs.
 */
#include "cmd/cmd.h"
#include "engine/soft/host/host.h"
#include "net/switch.h"

#include <string.h>

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], SOFT_CHILD_ARGUMENT) == 0)
		return soft_child_main();
	if (argc > 1 && strcmp(argv[1], SWITCH_ARGUMENT) == 0)
		return switch_main(argc, argv);
	return cmd_main(argc, argv);
}
