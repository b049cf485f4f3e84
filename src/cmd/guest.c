// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where the default guest is: a folder with vmlinuz and initrd.img. $SUBRING_GUEST_DIR alone when
 * it is set; else the user's data folder (XDG base directory specification), else the build tree
 * that the program was started from.
 */
#include "cmd/cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIR_MAX = 4000 };

static bool has_guest(const char *dir, struct default_guest *guest)
{
	snprintf(guest->kernel, sizeof(guest->kernel), "%s/vmlinuz", dir);
	snprintf(guest->initrd, sizeof(guest->initrd), "%s/initrd.img", dir);
	return access(guest->kernel, R_OK) == 0 && access(guest->initrd, R_OK) == 0;
}

/* False: there is no such folder to look at. */
static bool data_dir(char dir[DIR_MAX])
{
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	int n;

	if (data && *data == '/') /* relative ones are invalid, says the specification */
		n = snprintf(dir, DIR_MAX, "%s/subring/default", data);
	else if (home && *home)
		n = snprintf(dir, DIR_MAX, "%s/.local/share/subring/default", home);
	else
		return false;
	return n < DIR_MAX;
}

static bool build_dir(char dir[DIR_MAX])
{
	ssize_t n = readlink("/proc/self/exe", dir, DIR_MAX - 16);
	char *slash;

	if (n <= 0)
		return false;
	dir[n] = 0;
	slash = strrchr(dir, '/');
	if (!slash)
		return false;
	strcpy(slash, "/guest");
	return true;
}

int default_guest_find(struct default_guest *guest, struct error *err)
{
	static const char what[] = "cannot find the default guest";
	static const char fix[] = "run 'make guest' in the source tree, or name a kernel with --kernel FILE";
	const char *own = getenv("SUBRING_GUEST_DIR");
	char data[DIR_MAX] = "", build[DIR_MAX] = "";

	if (own && *own) {
		if (strlen(own) < DIR_MAX && has_guest(own, guest))
			return 0;
		return error_set(err, -ENOENT, STATUS_INPUT, what,
				 "SUBRING_GUEST_DIR is %.150s, which has no readable vmlinuz and initrd.img", fix, own);
	}
	if (data_dir(data) && has_guest(data, guest))
		return 0;
	if (build_dir(build) && has_guest(build, guest))
		return 0;
	return error_set(err, -ENOENT, STATUS_INPUT, what,
			 "there is no readable vmlinuz and initrd.img in %.80s or %.80s", fix, *data ? data : "~", build);
}
