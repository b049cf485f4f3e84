// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The engine's process and its monitor: what the end of the one does to the other, and a process that
 * has been taken over by the guest.
 *
 * A hostile process is this program too: the first byte of RAM says how it misbehaves.
 */
#include "engine_rig.h"

#include "engine/soft/host/host.h"
#include "host/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum hostile { HONEST, WILD_RESULTS, SHORT_REPLY, DEAF, WILD_WORDS };

/* --- the hostile process --- */

static _Noreturn void hostile_main(uint8_t *ram, enum hostile how)
{
	struct message *m = calloc(1, sizeof(*m));
	struct message_reply *r = calloc(1, sizeof(*r));
	void *run = mmap(NULL, RUN_STRIDE, PROT_READ | PROT_WRITE, MAP_SHARED, CHILD_FD_RUN, 0);
	struct hand_over *h = hand_over_of(run, 0);
	size_t len = sizeof(*r);

	for (;;) {
		ssize_t n = recv(CHILD_FD_CONTROL, m, sizeof(*m), 0);

		if (n <= 0)
			pause(); /* it does not leave by itself */
		memset(r, m->op == MESSAGE_START ? 0 : 0x7f, sizeof(*r));
		if (m->op == MESSAGE_SETTLED)
			r->result = 77;
		if (m->op == MESSAGE_GET_STATE)
			r->result = 0;
		if (m->op != MESSAGE_START && how == SHORT_REPLY)
			len = 5;
		if (m->op != MESSAGE_KICK && m->op != MESSAGE_MSI && m->op != MESSAGE_NMI)
			send(CHILD_FD_CONTROL, r, len, 0);
		if (how == DEAF)
			for (;;)
				pause();
		if (how == WILD_WORDS)
			for (unsigned i = 0; i < 1000; i++) {
				atomic_fetch_add(&h->asked, 12345);
				atomic_fetch_sub(&h->answered, 777);
				syscall(SYS_futex, &h->answered, FUTEX_WAKE, 1, NULL, NULL, 0);
			}
	}
}

static void start_hostile(enum hostile how)
{
	erig_start(1);
	erig_poke(0, 1, how);
	erig_renew(1);
}

static void results_of_the_process_are_cut_to_what_they_mean(void **state)
{
	struct vcpu_state *s = malloc(sizeof(*s)), *m = malloc(sizeof(*m));
	uint64_t gpa = 5;

	assert_true(s && m);
	memset(s, 1, sizeof(*s));
	memcpy(m, s, sizeof(*m));
	start_hostile(WILD_RESULTS);
	assert_int_equal(erig.ops->vcpu_settled(erig.e->vcpu[0]), -EIO);
	assert_int_equal(erig.ops->vcpu_set_state(erig.e->vcpu[0], s), -EIO);
	assert_int_equal(erig.ops->vcpu_translate(erig.e->vcpu[0], 0, &gpa), -EIO);
	assert_int_equal(gpa, 5);
	/* a length beyond its array */
	assert_int_equal(erig.ops->vcpu_get_state(erig.e->vcpu[0], s), -EIO);
	assert_memory_equal(s, m, sizeof(*s));
	free(s);
	free(m);
}

static void an_answer_of_the_wrong_size_is_the_end_of_the_process(void **state)
{
	uint64_t gpa, give_up = host_monotonic_ns() + 10000000000ull;

	start_hostile(SHORT_REPLY);
	assert_int_equal(erig.ops->vcpu_translate(erig.e->vcpu[0], 0, &gpa), -EIO);
	while (erig_child() > 0)
		assert_true(host_monotonic_ns() < give_up);
	assert_int_equal(erig.ops->vcpu_run(erig.e->vcpu[0]), -EIO);
}

static void a_process_that_does_not_leave_is_ended_by_destroy(void **state)
{
	uint64_t begin = host_monotonic_ns();

	start_hostile(DEAF);
	erig_finish();
	assert_true(host_monotonic_ns() - begin < 5000000000ull);
	assert_int_equal(erig_child(), -1);
}

static void wild_words_end_no_run_for_ever(void **state)
{
	pid_t child;

	start_hostile(WILD_WORDS);
	child = erig_child();
	for (unsigned i = 0; i < 3; i++)
		erig.ops->vcpu_kick(erig.e->vcpu[0]);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(erig.ops->vcpu_run(erig.e->vcpu[0]), -EIO);
}

/* --- the end of the one, and of the other --- */

GUEST(spin, "1: jmp 1b");

static void *killer(void *opaque)
{
	usleep(30000);
	kill(*(int *)opaque, SIGKILL);
	return NULL;
}

static void the_end_of_the_process_is_eio_and_no_hang(void **state)
{
	static const struct engine_msi msi = { .address = 0xfee00000, .data = 0x51 };
	struct vcpu_state s;
	int child;
	pthread_t t;

	erig_start(2);
	ERIG_LOAD(ERIG_CODE, spin);
	erig_long_mode(0, ERIG_CODE);
	child = erig_child();
	assert_true(child > 0);
	assert_int_equal(pthread_create(&t, NULL, killer, &child), 0);
	assert_int_equal(erig.ops->vcpu_run(erig.e->vcpu[0]), -EIO);
	pthread_join(t, NULL);
	assert_int_equal(erig.ops->vcpu_run(erig.e->vcpu[0]), -EIO);
	assert_int_equal(erig.ops->vcpu_run(erig.e->vcpu[1]), -EIO);
	assert_int_equal(erig.ops->vcpu_settled(erig.e->vcpu[0]), -EIO);
	assert_int_equal(erig.ops->vcpu_get_state(erig.e->vcpu[0], &s), -EIO);
	assert_int_equal(erig.ops->msi(erig.e, &msi), -EIO);
	assert_int_equal(erig.ops->clock_changed(erig.e), -EIO);
	erig.ops->vcpu_kick(erig.e->vcpu[0]);
	erig.ops->vcpu_nmi(erig.e->vcpu[1]);
}

static void the_end_of_the_monitor_ends_the_process(void **state)
{
	int child, fd[2];
	pid_t monitor;

	/* Orphans come to us, so that their end can be waited for. */
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	assert_int_equal(pipe(fd), 0);
	monitor = fork();
	if (!monitor) {
		erig_start(1);
		ERIG_LOAD(ERIG_CODE, spin);
		erig_long_mode(0, ERIG_CODE);
		child = erig_child();
		if (write(fd[1], &child, sizeof(child)) == sizeof(child))
			erig.ops->vcpu_run(erig.e->vcpu[0]);
		_exit(1);
	}
	assert_int_equal(read(fd[0], &child, sizeof(child)), sizeof(child));
	usleep(20000);
	assert_int_equal(kill(monitor, SIGKILL), 0);
	assert_int_equal(waitpid(monitor, NULL, 0), monitor);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(fd[0]);
	close(fd[1]);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static unsigned open_files(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void an_engine_leaves_no_descriptor_and_no_process_behind(void **state)
{
	unsigned before;

	erig_start(1);
	erig_finish();
	before = open_files();
	for (unsigned i = 0; i < 20; i++) {
		erig_start(2);
		erig_finish();
	}
	assert_int_equal(open_files(), before);
	assert_int_equal(erig_child(), -1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(results_of_the_process_are_cut_to_what_they_mean),
		TEST(an_answer_of_the_wrong_size_is_the_end_of_the_process),
		TEST(a_process_that_does_not_leave_is_ended_by_destroy),
		TEST(wild_words_end_no_run_for_ever),
		TEST(the_end_of_the_process_is_eio_and_no_hang),
		TEST(the_end_of_the_monitor_ends_the_process),
		TEST(an_engine_leaves_no_descriptor_and_no_process_behind),
	};
	int status;

	if (argc > 1 && !strcmp(argv[1], SOFT_CHILD_ARGUMENT)) {
		uint8_t *ram = mmap(NULL, 4096, PROT_READ, MAP_SHARED, CHILD_FD_RAM, 0);

		if (ram != MAP_FAILED && *ram)
			hostile_main(ram, *ram);
	}
	if (erig_main(argc, argv, &status))
		return status;
	erig_host = "host=process";
	return cmocka_run_group_tests(tests, NULL, NULL);
}
