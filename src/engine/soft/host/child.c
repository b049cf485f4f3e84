// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Engine soft in a child process: the child's side.
 *
 * The first thread serves the control socket; one thread a vCPU waits for its hand-over word and
 * runs. The process ends when the socket does.
 */
#include "engine/soft/host/host.h"
#include "engine/soft/mmu/mmu.h"
#include "engine/soft/translate/cache.h"

#include "host/log.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct child {
	struct ram *ram;
	struct soft_vm *vm;
	void *run;
	struct engine_debug debug[VCPUS_MAX];
};

struct child_vcpu {
	struct cpu *cpu;
	struct hand_over *h;
};

enum { SPINS = 2000 };

static void take_extint(struct cpu *c, struct hand_over *h)
{
	uint32_t e = atomic_exchange(&h->extint, 0);

	if (!e)
		return;
	c->extint_pending = 1;
	c->extint_vector = (uint8_t)e;
}

static _Noreturn void *vcpu_thread(void *opaque)
{
	struct child_vcpu *v = opaque;
	uint32_t done = 0;

	for (;;) {
		for (unsigned spin = 0; atomic_load(&v->h->asked) == done; spin++) {
			if (spin < SPINS)
				__builtin_ia32_pause();
			else
				syscall(SYS_futex, &v->h->asked, FUTEX_WAIT, done, NULL, NULL, 0);
		}
		take_extint(v->cpu, v->h);
		cpu_run(v->cpu);
		done++;
		atomic_store(&v->h->answered, done);
		syscall(SYS_futex, &v->h->answered, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
}

static int start(struct child *ch, const struct message *m)
{
	struct ram_fds fds = { CHILD_FD_RAM, CHILD_FD_FRAMES, m->start.has_base ? CHILD_FD_BASE : -1 };
	struct run_page *run[VCPUS_MAX];
	unsigned n = m->start.vcpus;
	struct cpu_model model;
	int r;

	if (ch->vm || !n || n > VCPUS_MAX)
		return -EINVAL;
	trace_mask = m->start.trace;
	r = ram_attach(&fds, m->start.ram_size, &ch->ram);
	if (r)
		return r;
	memcpy(ch->ram->slot, m->start.slot, sizeof(ch->ram->slot));
	ch->run = mmap(NULL, n * RUN_STRIDE, PROT_READ | PROT_WRITE, MAP_SHARED, CHILD_FD_RUN, 0);
	if (ch->run == MAP_FAILED)
		return -errno;
	for (unsigned i = 0; i < n; i++)
		run[i] = run_page_of(ch->run, i);
	if (!memchr(m->start.model, 0, sizeof(m->start.model)) || cpu_model_parse(m->start.model, &model, NULL))
		return -EINVAL;
	r = soft_vm_create(ch->ram, &model, n, &m->start.clock, run, &ch->vm);
	if (!r)
		r = soft_vm_translate(ch->vm, &m->start.tuning);
	if (r)
		return r;
	for (unsigned i = 0; i < n; i++) {
		struct child_vcpu *v = calloc(1, sizeof(*v));
		pthread_t t;

		if (!v)
			return -ENOMEM;
		v->cpu = ch->vm->cpu[i];
		v->h = hand_over_of(ch->run, i);
		r = pthread_create(&t, NULL, (void *(*)(void *))vcpu_thread, v);
		if (r)
			return -r;
	}
	return 0;
}

/* 1: answer with @reply; 0: no answer. */
static int serve(struct child *ch, const struct message *m, int fd, struct message_reply *reply)
{
	struct soft_vm *vm = ch->vm;
	struct engine_doorbell bell;
	struct cpu *c;

	reply->result = -EINVAL;
	if (m->op == MESSAGE_START) {
		reply->result = start(ch, m);
		return 1;
	}
	if (!vm || m->vcpu >= vm->count)
		return 1;
	c = vm->cpu[m->vcpu];
	switch ((enum message_op)m->op) {
	case MESSAGE_START: return 1;
	case MESSAGE_KICK: cpu_request(c, REQ_KICK); return 0;
	case MESSAGE_NMI: cpu_request(c, REQ_NMI); return 0;
	case MESSAGE_SMI:
		cpu_request(c, REQ_SMI);
		reply->result = 0;
		return 1;
	case MESSAGE_MSI: lapic_deliver(vm, &m->msi); return 0;
	case MESSAGE_GET_STATE:
		take_extint(c, hand_over_of(ch->run, m->vcpu));
		cpu_get_state(c, &reply->state);
		reply->result = 0;
		return 1;
	case MESSAGE_SET_STATE: reply->result = cpu_set_state(c, &m->state); return 1;
	case MESSAGE_SETTLED: reply->result = cpu_settled(c); return 1;
	case MESSAGE_DEBUG:
		soft_cpu_set_debug(c, &ch->debug[m->vcpu], &m->debug);
		reply->result = 0;
		return 1;
	case MESSAGE_TRANSLATE: reply->result = mmu_translate(c, m->linear, &reply->gpa); return 1;
	case MESSAGE_ROUTES:
		if (m->routes.count <= SOFT_ROUTES_MAX)
			soft_vm_set_routes(vm, m->routes.route, m->routes.count);
		return 0;
	case MESSAGE_DOORBELL_ADD:
	case MESSAGE_DOORBELL_REMOVE:
		bell = m->doorbell;
		bell.fd = fd;
		reply->result = soft_vm_doorbell(vm, &bell, m->op == MESSAGE_DOORBELL_ADD);
		return 1;
	case MESSAGE_SLOTS:
		memcpy(ch->ram->slot, m->slot, sizeof(ch->ram->slot));
		soft_vm_slots_changed(vm);
		reply->result = 0;
		return 1;
	case MESSAGE_CLOCK:
		soft_vm_set_clock(vm, &m->clock);
		reply->result = 0;
		return 1;
	case MESSAGE_CODE_WRITTEN:
		if (m->frame >= ch->ram->size >> FRAME_SHIFT)
			return 1;
		if (vm->tr)
			cache_frame_written(vm->tr, m->frame);
		else
			ram_code_written(ch->ram, m->frame);
		reply->result = 0;
		return 1;
	case MESSAGE_DIRTY_LOG_START:
		soft_vm_slots_changed(vm);
		reply->result = 0;
		return 1;
	}
	return 1;
}

int soft_child_main(void)
{
	struct child *ch = calloc(1, sizeof(*ch));
	struct message *m = calloc(1, sizeof(*m));
	struct message_reply *reply = calloc(1, sizeof(*reply));

	if (!ch || !m || !reply)
		return STATUS_HOST;
	/* What the terminal sends to the group is for the monitor to act on. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGTSTP, SIG_IGN);
	for (;;) {
		char buf[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
		struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
		struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof(buf) };
		struct cmsghdr *cm;
		ssize_t n = recvmsg(CHILD_FD_CONTROL, &h, MSG_CMSG_CLOEXEC);
		int fd = -1;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(STATUS_OK); /* the monitor has gone: vCPU threads need no farewell */
		cm = CMSG_FIRSTHDR(&h);
		if (cm && cm->cmsg_type == SCM_RIGHTS && cm->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(&fd, CMSG_DATA(cm), sizeof(int));
		if (serve(ch, m, fd, reply) && send(CHILD_FD_CONTROL, reply, sizeof(*reply), MSG_NOSIGNAL) < 0)
			_exit(STATUS_INTERNAL);
		if (fd >= 0)
			close(fd);
	}
}
