// SPDX-License-Identifier: GPL-2.0-or-later
/* What the tests of engine kvm share. A host may lack KVM, or have one that is a software emulator with gaps. */
#ifndef SUBRING_TESTS_KVM_TESTS_H
#define SUBRING_TESTS_KVM_TESTS_H

#include "engine_scenes.h"

#include "engine/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define KVM_SPEC  "kvm,features=host"
#define SOFT_SPEC "host=threads"

/* Ends the program with meson's status for "skipped" when there is no KVM. */
static inline void need_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		printf("skipped: /dev/kvm: %s\n", strerror(errno));
		exit(77);
	}
	close(fd);
}

/* This KVM is a processor's, as far as the probe can tell; where it is an emulator, @what is beyond it. */
static inline bool real_kvm(const char *what)
{
	static struct kvm_probe probe;

	if (!probe.count)
		kvm_probe(&probe, false);
	if (!probe.usable)
		printf("skipped: %s: %s\n", what, probe.why);
	return probe.usable;
}

#endif
