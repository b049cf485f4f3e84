// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The probe of /dev/kvm, on whatever KVM this host has: what it promises whatever it finds. That it finds a
 * good one good is tested under QEMU (nested.py doctor).
 */
#include "engine/kvm/probe.c"

#include <dirent.h>
#include <setjmp.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <sys/resource.h>

static unsigned entries(const char *folder)
{
	DIR *d = opendir(folder);
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void probe_leaves_nothing_behind(void **state)
{
	struct kvm_probe probe;
	unsigned files = entries("/proc/self/fd"), threads = entries("/proc/self/task");
	sigset_t before, after, pending;
	struct timespec begin;

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (unsigned i = 0; i < 5; i++)
		kvm_probe(&probe, i & 1);
	assert_true(elapsed_ns(&begin) < 10 * 1000000000ull);
	assert_int_equal(files, entries("/proc/self/fd"));
	assert_int_equal(threads, entries("/proc/self/task"));
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	sigpending(&pending);
	for (int s = 1; s < SIGRTMAX; s++) {
		struct sigaction action;

		assert_int_equal(sigismember(&before, s), sigismember(&after, s));
		assert_false(sigismember(&pending, s) == 1);
		if (s >= SIGRTMIN && sigaction(s, NULL, &action) == 0)
			assert_true(action.sa_handler == SIG_DFL);
	}
}

static void probe_says_why(void **state)
{
	struct kvm_probe all, quick;
	bool failed = false;

	kvm_probe(&all, true);
	kvm_probe(&quick, false);
	assert_int_equal(all.usable, quick.usable);
	assert_true(*all.why && *quick.why);
	assert_true(all.count >= 1 && all.count <= KVM_PROBE_PARTS_MAX && quick.count <= all.count);
	for (unsigned i = 0; i < all.count; i++) {
		assert_true(all.part[i].name && *all.part[i].name && *all.part[i].detail);
		failed = failed || all.part[i].result == KVM_PROBE_FAILED;
	}
	assert_int_equal(all.usable, !failed);
	/* The quick one ends with what decided. */
	if (!quick.usable)
		assert_int_equal(quick.part[quick.count - 1].result, KVM_PROBE_FAILED);
}

static void probe_without_descriptors_fails_at_its_first_part(void **state)
{
	struct rlimit was, none;
	struct kvm_probe probe;

	getrlimit(RLIMIT_NOFILE, &was);
	none = was;
	none.rlim_cur = 0;
	setrlimit(RLIMIT_NOFILE, &none);
	kvm_probe(&probe, true);
	setrlimit(RLIMIT_NOFILE, &was);
	assert_false(probe.usable);
	assert_int_equal(probe.count, 1);
	assert_non_null(strstr(probe.why, "/dev/kvm"));
}

/* A VM for one guest of the test's own. */
static bool begin_vm(struct probe_run *p, struct kvm_probe *probe)
{
	*p = (struct probe_run){ .out = probe, .kvm = -1, .vm = -1, .mem = MAP_FAILED };
	memset(probe, 0, sizeof(*probe));
	clock_gettime(CLOCK_MONOTONIC, &p->begin);
	return open_kvm(p) && make_vm(p) && timer_begin(p);
}

static void end_vm(struct probe_run *p)
{
	timer_end(p);
	munmap(p->mem, PROBE_MEM);
	close(p->vm);
	close(p->kvm);
}

static void a_guest_that_spins_is_ended_in_time(void **state)
{
	static const uint8_t spin[] = { 0xeb, 0xfe }; /* jmp . */
	static const struct guest guest = { .name = "spin", .mode = MODE_64_USER, .code = spin, .end = spin + sizeof(spin) };
	struct probe_run p;
	struct kvm_probe probe;
	struct timespec begin;
	char text[100] = "";
	uint64_t ns;

	if (!begin_vm(&p, &probe)) {
		print_message("skipped: %s\n", probe.why);
		skip();
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &begin);
	assert_false(try_guest(&p, &guest, &ns, text, sizeof(text)));
	assert_non_null(strstr(text, "does not come back"));
	assert_true(elapsed_ns(&begin) < 2 * 1000000000ull);
	/* And the next one is not kept from running, as long as there is time. */
	assert_true(try_guest(&p, &guest_loop3, &ns, text, sizeof(text)));
	end_vm(&p);
}

static void a_guest_that_answers_wrong_is_told(void **state)
{
	struct guest guest = guest_loop3;
	struct probe_run p;
	struct kvm_probe probe;
	char text[100] = "";
	uint64_t ns;

	if (!begin_vm(&p, &probe)) {
		print_message("skipped: %s\n", probe.why);
		skip();
		return;
	}
	guest.want[0].value++;
	assert_false(try_guest(&p, &guest, &ns, text, sizeof(text)));
	assert_non_null(strstr(text, "counts wrong"));
	end_vm(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probe_leaves_nothing_behind),
		cmocka_unit_test(probe_says_why),
		cmocka_unit_test(probe_without_descriptors_fails_at_its_first_part),
		cmocka_unit_test(a_guest_that_spins_is_ended_in_time),
		cmocka_unit_test(a_guest_that_answers_wrong_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
