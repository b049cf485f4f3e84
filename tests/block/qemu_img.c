// SPDX-License-Identifier: GPL-2.0-or-later
#include "qemu_img.h"
#include "disk_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

void need_qemu_img(void)
{
	if (system("qemu-img --version >/dev/null 2>&1") != 0) {
		print_message("skipped: qemu-img is not installed\n");
		skip();
	}
}

int qemu_img(const char *format, ...)
{
	char *command, *arguments;
	va_list args;
	int status;

	va_start(args, format);
	assert_true(vasprintf(&arguments, format, args) >= 0);
	va_end(args);
	assert_true(asprintf(&command, "cd %s && qemu-img %s >out 2>&1 || { s=$?; echo 'qemu-img %s:' >&2; cat out >&2; exit $s; }",
			     rig_folder, arguments, arguments) >= 0);
	status = system(command);
	free(command);
	free(arguments);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void assert_qemu_img_finds_nothing(const char *path)
{
	assert_int_equal(qemu_img("check -f qcow2 %s", path), 0);
}
