// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The one error object: what failed, why, and what to do about it.
 *
 * Inside, functions return 0 or a negative errno. Where the words of the user are known (a file
 * name, an option), the function that fails also fills a struct error and still returns the
 * negative errno. The command that owns the terminal prints it as three lines and leaves with
 * the status that error.status names.
 */
#ifndef SUBRING_HOST_ERROR_H
#define SUBRING_HOST_ERROR_H

#include <stddef.h>

/*
 * Exit statuses of the program. All are even: with --debug-exit the guest ends the run with
 * (v << 1) | 1, which is always odd, so that the two never meet. docs/subring.1 lists them.
 */
enum status {
	STATUS_OK = 0,		 /* the guest powered off or halted for good; the user left */
	STATUS_USAGE = 2,	 /* the command line cannot be understood */
	STATUS_HOST = 4,	 /* the host lacks something: memory, a CPU feature, a permission */
	STATUS_INPUT = 6,	 /* a file that was named is missing, damaged or of the wrong kind */
	STATUS_TRIPLE_FAULT = 8, /* the guest faulted three times over, or shut its CPU down */
	STATUS_INTERNAL = 10,	 /* a defect of subring */
};

struct error {
	enum status status;
	char what[256]; /* "cannot load the kernel /boot/vmlinuz" */
	char why[1024]; /* "it ends after 512 bytes, inside its setup header" */
	char fix[256];	/* "name a whole bzImage or ELF kernel with --kernel" */
};

/*
 * Fills @err (which may be NULL) and returns @errnum, a negative errno, so that a function can
 * `return error_set(...)`. @what, @why and @fix are printf formats that take their arguments in
 * turn from the one list; each is cut at its field's end. Any thread; @err is the caller's.
 */
int error_set(struct error *err, int errnum, enum status status, const char *what, const char *why,
	      const char *fix, ...);

/* Prints @err on standard error as three lines: "subring: WHAT", "  why: WHY", "  fix: FIX". */
void error_print(const struct error *err);

#endif
