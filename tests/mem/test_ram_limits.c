// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory that the host cannot give: refused with three lines, never with a signal. */
#include "mem/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1ull << 20)

static int try_size(uint64_t size, struct error *e)
{
	struct ram *r = NULL;
	int ret = ram_create(size, NULL, &r, e);

	ram_destroy(r);
	return ret;
}

static void host_memory_is_told(void **state)
{
	uint64_t available, total = ram_host_memory(&available);

	assert_true(total > 16 * MIB);
	assert_true(available <= total);
	assert_int_equal(ram_host_memory(NULL), total);
}

static void ram_larger_than_the_host_is_refused_in_words(void **state)
{
	uint64_t total = ram_host_memory(NULL);
	struct error e = {0};

	assert_int_equal(try_size((total & ~4095ull) + 4096, &e), -ENOMEM);
	assert_int_equal(e.status, STATUS_HOST);
	assert_int_equal(try_size(1ull << 46, &e), -ENOMEM);
	assert_string_equal(e.what, "cannot give the guest 64 TiB of memory");
	assert_non_null(strstr(e.why, "this host has "));
	assert_non_null(strstr(e.why, "available"));
	assert_non_null(strstr(e.fix, "--mem, at most "));
}

static void ram_of_no_possible_size_is_refused(void **state)
{
	static const uint64_t bad[] = {0, 1, 4095, 4097, UINT64_MAX, 1ull << 63, UINT64_MAX & ~4095ull};
	struct error e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(try_size(bad[i], &e), -EINVAL);
		assert_int_equal(e.status, STATUS_USAGE);
	}
	assert_int_equal(ram_create(4095, NULL, &(struct ram *){NULL}, NULL), -EINVAL);
}

static void ram_of_one_frame_is_possible(void **state)
{
	assert_int_equal(try_size(4096, NULL), 0);
}

/* Runs ram_create in a child that has @limit on @resource; what it returned and wrote comes back. */
static int try_limited(int resource, rlim_t limit, uint64_t size, struct error *e)
{
	struct {
		int ret;
		struct error e;
	} answer = {0};
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		struct rlimit lim = {limit, limit};

		if (setrlimit(resource, &lim))
			_exit(1);
		answer.ret = try_size(size, &answer.e);
		_exit(write(fds[1], &answer, sizeof(answer)) != sizeof(answer));
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(read(fds[0], &answer, sizeof(answer)), sizeof(answer));
	close(fds[0]);
	*e = answer.e;
	return answer.ret;
}

static void ram_beyond_the_limit_on_file_sizes_is_refused(void **state)
{
	struct error e;

	assert_int_equal(try_limited(RLIMIT_FSIZE, 8 * MIB, 64 * MIB, &e), -EFBIG);
	assert_int_equal(e.status, STATUS_HOST);
	assert_non_null(strstr(e.why, "ulimit -f) is 8 MiB"));
	assert_int_equal(try_limited(RLIMIT_FSIZE, 64 * MIB, 64 * MIB, &e), 0);
}

static void ram_beyond_the_limit_on_address_space_is_refused(void **state)
{
	struct error e;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	print_message("skipped: the sanitizer's shadow is larger than any such limit\n");
	skip();
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
	print_message("skipped: the sanitizer's shadow is larger than any such limit\n");
	skip();
#endif
#endif
	assert_int_equal(try_limited(RLIMIT_AS, 128 * MIB, 256 * MIB, &e), -ENOMEM);
	assert_int_equal(e.status, STATUS_HOST);
	assert_string_equal(e.what, "cannot give the guest 256 MiB of memory");
	assert_non_null(strstr(e.why, "ulimit -v) is 128 MiB"));
}

static void ram_without_descriptors_is_refused(void **state)
{
	struct error e;

	assert_int_equal(try_limited(RLIMIT_NOFILE, 5, 64 * MIB, &e), -EMFILE);
	assert_int_equal(e.status, STATUS_HOST);
	assert_non_null(strstr(e.fix, "ulimit -n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(host_memory_is_told),
		cmocka_unit_test(ram_larger_than_the_host_is_refused_in_words),
		cmocka_unit_test(ram_of_no_possible_size_is_refused),
		cmocka_unit_test(ram_of_one_frame_is_possible),
		cmocka_unit_test(ram_beyond_the_limit_on_file_sizes_is_refused),
		cmocka_unit_test(ram_beyond_the_limit_on_address_space_is_refused),
		cmocka_unit_test(ram_without_descriptors_is_refused),
	};

	return cmocka_run_group_tests_name("ram_limits", tests, NULL, NULL);
}
