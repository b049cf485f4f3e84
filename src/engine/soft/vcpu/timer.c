// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host timer behind a vCPU's local APIC timer: a POSIX timer that signals the vCPU's own
 * thread. The handler only sets REQ_TIMER, which the thread sees before the next block, or which
 * ends its wait in HLT. Arming costs one system call, and no other thread has to be scheduled.
 */
#include "engine/soft/translate/cache.h"
#include "engine/soft/vcpu/vcpu.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

struct host_timer {
	timer_t id;
	pid_t tid;
};

static _Thread_local struct cpu *timer_cpu;

static int timer_signal(void)
{
	return SIGRTMIN + 2;
}

static void on_timer(int sig)
{
	struct cpu *c = timer_cpu;

	(void)sig;
	if (!c)
		return;
	atomic_fetch_or(&c->req, REQ_TIMER);
	if (c->t.tr)
		jumps_close(c);
}

static void install_handler(void)
{
	struct sigaction sa = { .sa_handler = on_timer, .sa_flags = SA_RESTART | SA_ONSTACK };

	sigaction(timer_signal(), &sa, NULL);
}

int cpu_timer_init(struct cpu *c)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = timer_signal() };
	struct host_timer *t = c->host_timer;
	pid_t tid = gettid();
	sigset_t set;

	timer_cpu = c;
	if (t && t->tid == tid)
		return 0;
	cpu_timer_finish(c);
	pthread_once(&once, install_handler);
	sigemptyset(&set);
	sigaddset(&set, timer_signal());
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->tid = tid;
	ev.sigev_notify_thread_id = tid;
	if (timer_create(CLOCK_MONOTONIC, &ev, &t->id)) {
		int e = -errno;

		free(t);
		return e;
	}
	c->host_timer = t;
	lapic_timer_arm(c);
	return 0;
}

void cpu_timer_finish(struct cpu *c)
{
	struct host_timer *t = c->host_timer;

	if (!t)
		return;
	timer_delete(t->id);
	if (timer_cpu == c) /* a signal may still be on its way */
		timer_cpu = NULL;
	free(t);
	c->host_timer = NULL;
}

void cpu_timer_set(struct cpu *c, uint64_t vm_ns)
{
	struct host_timer *t = c->host_timer;
	struct itimerspec when = { 0 };
	uint64_t host = vm_ns == UINT64_MAX ? UINT64_MAX : vm_clock_host_deadline(&c->vm->clock, vm_ns);

	if (!t)
		return;
	if (host != UINT64_MAX) {
		when.it_value.tv_sec = (time_t)(host / 1000000000u);
		when.it_value.tv_nsec = (long)(host % 1000000000u);
		if (!host)
			when.it_value.tv_nsec = 1;
	}
	timer_settime(t->id, TIMER_ABSTIME, &when, NULL);
}
