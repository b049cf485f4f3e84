// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A thread that runs an event loop: what devices do for the guest beside its vCPUs.
 *
 * Descriptors are watched before the thread starts, on it, or after it has ended; loop.h says what any thread may call.
 */
#ifndef SUBRING_HOST_IO_THREAD_H
#define SUBRING_HOST_IO_THREAD_H

#include "host/loop.h"

struct io_thread;

/* @name (copied, cut to 15 characters) is what the host's tools show. 0 or a negative errno. */
int io_thread_create(const char *name, struct io_thread **out);
struct loop *io_thread_loop(struct io_thread *t);
/* All signals are blocked in the thread. 0 or a negative errno. */
int io_thread_start(struct io_thread *t);
/* Returns when the thread has ended, between two callbacks. Not on that thread. Nothing to do if it does not run. */
void io_thread_stop(struct io_thread *t);
/* Stops it first. NULL is fine. */
void io_thread_destroy(struct io_thread *t);

#endif
