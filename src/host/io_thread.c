// SPDX-License-Identifier: GPL-2.0-or-later
/* See io_thread.h. */
#include "host/io_thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct io_thread {
	struct loop *loop;
	pthread_t thread;
	bool runs;
	char name[16];
};

int io_thread_create(const char *name, struct io_thread **out)
{
	struct io_thread *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return -ENOMEM;
	snprintf(t->name, sizeof(t->name), "%s", name);
	ret = loop_create(&t->loop);
	if (ret) {
		free(t);
		return ret;
	}
	*out = t;
	return 0;
}

struct loop *io_thread_loop(struct io_thread *t)
{
	return t->loop;
}

static void *run(void *opaque)
{
	struct io_thread *t = opaque;

	pthread_setname_np(pthread_self(), t->name);
	loop_run(t->loop);
	return NULL;
}

int io_thread_start(struct io_thread *t)
{
	sigset_t all, before;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	ret = pthread_create(&t->thread, NULL, run, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	t->runs = !ret;
	return -ret;
}

void io_thread_stop(struct io_thread *t)
{
	if (!t->runs)
		return;
	loop_stop(t->loop);
	pthread_join(t->thread, NULL);
	t->runs = false;
}

void io_thread_destroy(struct io_thread *t)
{
	if (!t)
		return;
	io_thread_stop(t);
	loop_destroy(t->loop);
	free(t);
}
