// SPDX-License-Identifier: GPL-2.0-or-later
/* qemu-img as the other opinion on qcow2 images. */
#ifndef SUBRING_TESTS_BLOCK_QEMU_IMG_H
#define SUBRING_TESTS_BLOCK_QEMU_IMG_H

#include <stdbool.h>

/* Skips the test, with the reason, where there is none. */
void need_qemu_img(void);
/* Runs "qemu-img ...", in the rig's folder; its output only if it fails. The exit status. */
int qemu_img(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* No errors, no leaks. */
void assert_qemu_img_finds_nothing(const char *path);

#endif
