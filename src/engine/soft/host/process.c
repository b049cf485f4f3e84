// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Engine soft in a child process: the monitor's side.
 *
 * A vCPU thread of the monitor hands its vCPU over with the `asked` word and waits for `answered`: a
 * short spin, since most exits come back at once, then a futex. A watcher thread sees the
 * child's end and wakes everybody, so that no thread waits for a dead engine.
 *
 * The child runs the guest, so what comes from it may be the guest's choice: results are cut to
 * what they can mean, and a child that for PATIENCE_S does not answer a message, does not read its
 * socket or does not come back after a kick is killed, which ends every wait.
 *
 * Locks: control_lock guards the socket: one request and its answer at a time.
 */
#include "engine/soft/host/host.h"

#include "host/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SPINS = 2000 };
/* Far more than a busy host needs, less than a user who waits for the end. */
enum { PATIENCE_S = 20 };

struct process_engine {
	struct engine base;
	struct engine_vcpu vcpu[VCPUS_MAX];
	struct ram *ram;
	void *run;
	size_t run_len;
	int run_fd, control;
	pid_t pid;
	pthread_t watcher;
	bool watching;
	_Atomic uint32_t dead;
	_Atomic bool kicked[VCPUS_MAX]; /* since its last run came back */
	pthread_mutex_t control_lock;
};

static struct process_engine *engine_of(struct engine *e)
{
	return (struct process_engine *)e;
}

/* Its end is certain then; the watcher sees it. The pid is the child's until process_destroy reaps it. */
static void kill_child(struct process_engine *e)
{
	if (e->watching)
		kill(e->pid, SIGKILL);
}

static size_t message_len(const struct message *m)
{
#define UP_TO(member) (offsetof(struct message, member) + sizeof(m->member))
	switch ((enum message_op)m->op) {
	case MESSAGE_START: return UP_TO(start);
	case MESSAGE_MSI: return UP_TO(msi);
	case MESSAGE_SET_STATE: return UP_TO(state);
	case MESSAGE_DEBUG: return UP_TO(debug);
	case MESSAGE_TRANSLATE: return UP_TO(linear);
	case MESSAGE_CODE_WRITTEN: return UP_TO(frame);
	case MESSAGE_ROUTES: return UP_TO(routes);
	case MESSAGE_DOORBELL_ADD:
	case MESSAGE_DOORBELL_REMOVE: return UP_TO(doorbell);
	case MESSAGE_SLOTS: return UP_TO(slot);
	case MESSAGE_CLOCK: return UP_TO(clock);
	case MESSAGE_KICK:
	case MESSAGE_NMI:
	case MESSAGE_SMI:
	case MESSAGE_GET_STATE:
	case MESSAGE_SETTLED:
	case MESSAGE_DIRTY_LOG_START: break;
	}
	return offsetof(struct message, start);
#undef UP_TO
}

static int send_message(struct process_engine *e, const struct message *m, int fd)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)m, .iov_len = message_len(m) };
	char buf[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *c;

		h.msg_control = buf;
		h.msg_controllen = sizeof(buf);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	do {
		n = sendmsg(e->control, &h, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		kill_child(e); /* it has gone, or does not read */
	return n < 0 ? -EIO : 0;
}

/* A message without an answer. */
static int post(struct process_engine *e, const struct message *m)
{
	return atomic_load(&e->dead) ? -EIO : send_message(e, m, -1);
}

static int ask(struct process_engine *e, const struct message *m, int fd, struct message_reply *reply)
{
	struct message_reply *own = reply ? reply : malloc(sizeof(*own));
	ssize_t n = -1;
	int r;

	if (!own)
		return -ENOMEM;
	pthread_mutex_lock(&e->control_lock);
	r = atomic_load(&e->dead) ? -EIO : send_message(e, m, fd);
	if (!r) {
		do {
			n = recv(e->control, own, sizeof(*own), 0);
		} while (n < 0 && errno == EINTR);
		r = n == (ssize_t)sizeof(*own) ? own->result : -EIO;
		if (n != (ssize_t)sizeof(*own))
			kill_child(e); /* from here on answers would not belong to their questions */
	}
	pthread_mutex_unlock(&e->control_lock);
	if (!reply)
		free(own);
	/* 0, an errno, or the 1 of MESSAGE_SETTLED */
	if (r < -4095 || r > (m->op == MESSAGE_SETTLED))
		r = -EIO;
	return r;
}

static int ask_vcpu(struct engine_vcpu *v, enum message_op op)
{
	return ask(engine_of(v->engine), &(struct message){ .op = op, .vcpu = v->index }, -1, NULL);
}

static void wake_all(struct process_engine *e)
{
	for (unsigned i = 0; i < e->base.vcpu_count; i++) {
		struct hand_over *h = hand_over_of(e->run, i);

		atomic_fetch_add(&h->answered, 0x80000000u);
		syscall(SYS_futex, &h->answered, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	}
}

/* Waits for the child's end, and leaves it to process_destroy to reap it. */
static void *watch(void *opaque)
{
	struct process_engine *e = opaque;
	siginfo_t info;

	while (waitid(P_PID, (id_t)e->pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
		;
	atomic_store(&e->dead, 1);
	wake_all(e);
	return NULL;
}

static void process_destroy(struct engine *engine)
{
	struct process_engine *e = engine_of(engine);

	if (!e)
		return;
	if (e->ram->code_written_opaque == e)
		e->ram->code_written = NULL;
	if (e->watching) {
		kill_child(e); /* it has nothing of its own to bring to an end */
		pthread_join(e->watcher, NULL);
		waitpid(e->pid, NULL, 0);
	}
	if (e->control >= 0)
		close(e->control);
	if (e->run)
		munmap(e->run, e->run_len);
	if (e->run_fd >= 0)
		close(e->run_fd);
	pthread_mutex_destroy(&e->control_lock);
	free(e);
}

static int process_run(struct engine_vcpu *v)
{
	struct process_engine *e = engine_of(v->engine);
	struct hand_over *h = hand_over_of(e->run, v->index);
	uint32_t want = atomic_fetch_add(&h->asked, 1) + 1;
	const struct timespec second = { .tv_sec = 1 };
	unsigned late = 0; /* seconds; counted so, they do not pass while both processes are stopped */

	syscall(SYS_futex, &h->asked, FUTEX_WAKE, 1, NULL, NULL, 0);
	for (unsigned spin = 0;; spin++) {
		uint32_t got = atomic_load(&h->answered);

		if (atomic_load(&e->dead))
			return -EIO;
		if (got == want) {
			atomic_store(&e->kicked[v->index], false);
			return 0;
		}
		if (spin < SPINS) {
			__builtin_ia32_pause();
			continue;
		}
		if (syscall(SYS_futex, &h->answered, FUTEX_WAIT, got, &second, NULL, 0) < 0 && errno == ETIMEDOUT &&
		    atomic_load(&e->kicked[v->index]) && ++late == PATIENCE_S)
			kill_child(e);
	}
}

static int process_extint(struct engine_vcpu *v, uint8_t vector)
{
	atomic_store(&hand_over_of(engine_of(v->engine)->run, v->index)->extint, HAND_OVER_EXTINT | vector);
	return 0;
}

static void process_kick(struct engine_vcpu *v)
{
	atomic_store(&engine_of(v->engine)->kicked[v->index], true);
	post(engine_of(v->engine), &(struct message){ .op = MESSAGE_KICK, .vcpu = v->index });
}

static void process_nmi(struct engine_vcpu *v)
{
	post(engine_of(v->engine), &(struct message){ .op = MESSAGE_NMI, .vcpu = v->index });
}

static void process_smi(struct engine_vcpu *v)
{
	ask_vcpu(v, MESSAGE_SMI);
}

static int process_get_state(struct engine_vcpu *v, struct vcpu_state *state)
{
	struct message_reply *reply = calloc(1, sizeof(*reply));
	int r = -ENOMEM;

	if (!reply)
		return r;
	r = ask(engine_of(v->engine), &(struct message){ .op = MESSAGE_GET_STATE, .vcpu = v->index }, -1, reply);
	if (!r && reply->state.xsave_len > sizeof(reply->state.xsave))
		r = -EIO;
	if (!r)
		*state = reply->state;
	free(reply);
	return r;
}

static int process_set_state(struct engine_vcpu *v, const struct vcpu_state *state)
{
	struct message *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->op = MESSAGE_SET_STATE;
	m->vcpu = v->index;
	m->state = *state;
	r = ask(engine_of(v->engine), m, -1, NULL);
	free(m);
	return r;
}

static int process_settled(struct engine_vcpu *v)
{
	return ask_vcpu(v, MESSAGE_SETTLED);
}

static int process_debug(struct engine_vcpu *v, const struct engine_debug *debug)
{
	return ask(engine_of(v->engine), &(struct message){ .op = MESSAGE_DEBUG, .vcpu = v->index, .debug = *debug }, -1,
		   NULL);
}

static int process_translate(struct engine_vcpu *v, uint64_t linear, uint64_t *gpa)
{
	struct message_reply *reply = calloc(1, sizeof(*reply));
	int r = -ENOMEM;

	if (!reply)
		return r;
	r = ask(engine_of(v->engine), &(struct message){ .op = MESSAGE_TRANSLATE, .vcpu = v->index, .linear = linear }, -1,
		reply);
	if (!r)
		*gpa = reply->gpa;
	free(reply);
	return r;
}

static int process_msi(struct engine *engine, const struct engine_msi *msi)
{
	return post(engine_of(engine), &(struct message){ .op = MESSAGE_MSI, .msi = *msi });
}

static int process_routes(struct engine *engine, const struct engine_msi *route, unsigned count)
{
	struct message m = { .op = MESSAGE_ROUTES };

	m.routes.count = count < SOFT_ROUTES_MAX ? count : SOFT_ROUTES_MAX;
	memcpy(m.routes.route, route, m.routes.count * sizeof(*route));
	return post(engine_of(engine), &m);
}

static int process_doorbell_add(struct engine *engine, const struct engine_doorbell *d)
{
	return ask(engine_of(engine), &(struct message){ .op = MESSAGE_DOORBELL_ADD, .doorbell = *d }, d->fd, NULL);
}

static int process_doorbell_remove(struct engine *engine, const struct engine_doorbell *d)
{
	return ask(engine_of(engine), &(struct message){ .op = MESSAGE_DOORBELL_REMOVE, .doorbell = *d }, -1, NULL);
}

static int process_slots(struct engine *engine)
{
	struct process_engine *e = engine_of(engine);
	struct message m = { .op = MESSAGE_SLOTS };

	memcpy(m.slot, e->ram->slot, sizeof(m.slot));
	return ask(e, &m, -1, NULL);
}

/*
 * Translated code is the child's, and is out of use when it has answered: a device may then say that its transfer is complete. The
 * interpreter alone needs no more than the frame's generation, which is in shared memory.
 */
static void process_code_written(void *opaque, uint64_t frame)
{
	struct process_engine *e = opaque;

	if (ask(e, &(struct message){ .op = MESSAGE_CODE_WRITTEN, .frame = frame }, -1, NULL))
		ram_code_written(e->ram, frame);
}

static int process_clock(struct engine *engine)
{
	return ask(engine_of(engine), &(struct message){ .op = MESSAGE_CLOCK, .clock = *engine->clock }, -1, NULL);
}

static int process_dirty_log_sync(struct engine *engine)
{
	return 0; /* a frame is marked before the first store to it */
}

static int process_dirty_log_start(struct engine *engine)
{
	return ask(engine_of(engine), &(struct message){ .op = MESSAGE_DIRTY_LOG_START }, -1, NULL);
}

static const struct engine_ops process_ops = {
	.name = "soft",
	.destroy = process_destroy,
	.vcpu_run = process_run,
	.vcpu_extint = process_extint,
	.vcpu_kick = process_kick,
	.vcpu_nmi = process_nmi,
	.vcpu_smi = process_smi,
	.vcpu_get_state = process_get_state,
	.vcpu_set_state = process_set_state,
	.vcpu_settled = process_settled,
	.vcpu_debug = process_debug,
	.vcpu_translate = process_translate,
	.msi = process_msi,
	.set_routes = process_routes,
	.add_doorbell = process_doorbell_add,
	.remove_doorbell = process_doorbell_remove,
	.slots_changed = process_slots,
	.clock_changed = process_clock,
	.dirty_log_start = process_dirty_log_start,
	.dirty_log_sync = process_dirty_log_sync,
};

/* The child between fork and exec: only async-signal-safe calls. */
static _Noreturn void child_exec(const int fd[CHILD_FD_COUNT], const char *exe)
{
	char *argv[] = { (char *)"subring", (char *)SOFT_CHILD_ARGUMENT, NULL };
	char *envp[] = { NULL };
	int high[CHILD_FD_COUNT];

	/* Out of the way of the final numbers first. */
	for (int i = CHILD_FD_CONTROL; i < CHILD_FD_COUNT; i++)
		high[i] = fd[i] < 0 ? -1 : fcntl(fd[i], F_DUPFD, 64);
	for (int i = CHILD_FD_CONTROL; i < CHILD_FD_COUNT; i++) {
		if (high[i] < 0)
			close(i);
		else
			dup2(high[i], i);
	}
	syscall(SYS_close_range, CHILD_FD_COUNT, ~0u, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execve(exe, argv, envp);
	_exit(127);
}

static int start_child(struct process_engine *e, const struct engine_config *config)
{
	const char *exe = getenv("SUBRING_EXE");
	int pair[2], fd[CHILD_FD_COUNT] = { -1, -1, -1, -1, -1, -1, -1, -1 };
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	sigset_t all, old;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	e->control = pair[0];
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	fd[CHILD_FD_CONTROL] = pair[1];
	fd[CHILD_FD_RUN] = e->run_fd;
	fd[CHILD_FD_RAM] = config->ram->fds.ram;
	fd[CHILD_FD_FRAMES] = config->ram->fds.frames;
	fd[CHILD_FD_BASE] = config->ram->fds.base;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	e->pid = fork();
	if (!e->pid) {
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		child_exec(fd, exe ? exe : "/proc/self/exe");
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	close(pair[1]);
	if (e->pid < 0)
		return -errno;
	if (pthread_create(&e->watcher, NULL, watch, e)) {
		kill(e->pid, SIGKILL);
		waitpid(e->pid, NULL, 0);
		return -EAGAIN;
	}
	e->watching = true; /* and e->pid is not reaped before process_destroy */
	return 0;
}

int soft_process_create(const struct engine_config *config, const struct soft_tuning *tuning, struct engine **out,
			struct error *err)
{
	struct process_engine *e = calloc(1, sizeof(*e));
	struct message m = { .op = MESSAGE_START };
	int r = -ENOMEM;

	if (!e)
		goto fail;
	e->base.ops = &process_ops;
	e->base.clock = config->clock;
	e->base.vcpu_count = config->vcpus;
	e->ram = config->ram;
	e->control = e->run_fd = -1;
	pthread_mutex_init(&e->control_lock, NULL);
	e->run_len = (size_t)config->vcpus * RUN_STRIDE;
	e->run_fd = memfd_create("subring-run-pages", MFD_CLOEXEC);
	if (e->run_fd < 0 || ftruncate(e->run_fd, (off_t)e->run_len)) {
		r = -errno;
		goto fail;
	}
	e->run = mmap(NULL, e->run_len, PROT_READ | PROT_WRITE, MAP_SHARED, e->run_fd, 0);
	if (e->run == MAP_FAILED) {
		e->run = NULL;
		r = -errno;
		goto fail;
	}
	for (unsigned i = 0; i < config->vcpus; i++) {
		e->vcpu[i] = (struct engine_vcpu){ .engine = &e->base, .run = run_page_of(e->run, i), .index = i };
		e->base.vcpu[i] = &e->vcpu[i];
	}
	r = start_child(e, config);
	if (r)
		goto fail;
	m.start.ram_size = config->ram->size;
	m.start.vcpus = config->vcpus;
	m.start.trace = trace_mask;
	snprintf(m.start.model, sizeof(m.start.model), "%s", config->model->text);
	m.start.clock = *config->clock;
	m.start.tuning = *tuning;
	m.start.has_base = config->ram->fds.base >= 0;
	memcpy(m.start.slot, config->ram->slot, sizeof(m.start.slot));
	r = ask(e, &m, -1, NULL);
	if (r)
		goto fail;
	if (!tuning->interp_only) {
		e->ram->code_written = process_code_written;
		e->ram->code_written_opaque = e;
	}
	*out = &e->base;
	return 0;
fail:
	if (e)
		process_destroy(&e->base);
	if (r == -ENOTSUP)
		return soft_host_lacks(err, config->model);
	return error_set(err, r, STATUS_HOST, "cannot start the engine's process", "%s",
			 "allow this user another process and some memory, or use --engine soft,host=threads",
			 strerror(-r));
}
