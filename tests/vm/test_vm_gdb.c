// SPDX-License-Identifier: GPL-2.0-or-later
/* A debugger at its socket: stops, steps, breakpoints, and what happens when it leaves; over a scripted engine. */
#include "fake.h"

#include "vm/gdb_private.h"
#include "vm/vm.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64], address[80];
static struct vm *vm;
static struct vm_result result;
static pthread_t runner;
static int fd;

/* Act numbers are addresses here. */
static const struct act script[] = {
	DO(NOP), DO(NOP), OUT(0x80, 1), DO(NOP), DO(NOP), OUT(0x81, 1), DO_WITH(WAIT, 0), POWER_OFF, DO(SPIN),
};
static const struct act loop_script[] = { DO(NOP), DO(NOP), DO_WITH(JUMP, 0) };

static void make(unsigned cpus)
{
	struct vm_config config = { .name = "test", .cpus = cpus, .mem = 16 << 20, .kernel = "kernel", .gdb = address };
	struct error err;

	assert_int_equal(vm_create(&config, &vm, &err), 0);
	assert_int_equal(vm_boot(vm, &err), 0);
}

static void *run_thread(void *arg)
{
	assert_int_equal(vm_run(vm, &result), 0);
	return NULL;
}

static void start(void)
{
	pthread_create(&runner, NULL, run_thread, NULL);
}

static void dial(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	strcpy(sun.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
}

static void send_command(const char *command)
{
	struct gdb_text text = { 0 };
	char framed[2 * GDB_PACKET_MAX + 8];
	size_t n;

	gdb_puts(&text, command);
	n = gdb_frame(&text, framed, sizeof(framed));
	assert_int_equal(write(fd, framed, n), n);
}

/* The next packet, or NULL when none comes within @ms or the connection ends. */
static const char *packet(int ms)
{
	static struct gdb_rx rx;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t byte;

	memset(&rx, 0, sizeof(rx));
	while (poll(&p, 1, ms) > 0 && read(fd, &byte, 1) == 1) {
		if (gdb_rx_byte(&rx, byte) == GDB_PACKET)
			return rx.data;
	}
	return NULL;
}

static const char *ask(const char *command)
{
	send_command(command);
	return packet(5000);
}

static int setup(void **state)
{
	snprintf(path, sizeof(path), "/tmp/subring-test-gdb.%d", getpid());
	snprintf(address, sizeof(address), "unix:%s", path);
	vm = NULL;
	fd = -1;
	fake_init(1);
	fake.script[0] = script;
	return 0;
}

static int teardown(void **state)
{
	if (fd >= 0)
		close(fd);
	vm_destroy(vm);
	assert_int_equal(access(path, F_OK), -1);
	return 0;
}

static void the_vm_waits_for_the_debugger(void **state)
{
	make(1);
	start();
	usleep(30000);
	assert_false(fake_logged(0x80));
	dial();
	assert_string_equal(ask("?"), "T05thread:1;");
	usleep(30000);
	assert_false(fake_logged(0x80));
	fake.go[0] = 1;
	assert_string_equal(ask("c"), "W00");
	pthread_join(runner, NULL);
	assert_int_equal(result.end, VM_POWERED_OFF);
}

static void a_breakpoint_stops_and_stepping_moves_on(void **state)
{
	make(1);
	start();
	dial();
	assert_string_equal(ask("Z0,3,1"), "OK");
	assert_string_equal(ask("c"), "T05thread:1;");
	assert_true(fake_logged(0x80));
	assert_false(fake_logged(0x81));
	assert_string_equal(ask("p10"), "0300000000000000");
	assert_string_equal(ask("z0,3,1"), "OK");
	assert_string_equal(ask("vCont;s:1"), "T05thread:1;");
	assert_string_equal(ask("p10"), "0400000000000000");
	fake.go[0] = 1;
	assert_string_equal(ask("vCont;c"), "W00");
	pthread_join(runner, NULL);
}

static void ctrl_c_stops_a_running_vm_and_its_clock(void **state)
{
	uint64_t tsc;

	make(1);
	start();
	dial();
	send_command("c");
	assert_true(fake_reaches(0, 6));
	assert_int_equal(write(fd, "\x03", 1), 1);
	assert_string_equal(packet(5000), "T02thread:1;");
	tsc = vm_clock_tsc(fake.config->clock);
	usleep(10000);
	assert_true(vm_clock_tsc(fake.config->clock) == tsc);
	assert_string_equal(ask("M2000,4:01020304"), "OK");
	assert_string_equal(ask("m1fff,6"), "000102030400");
	send_command("k");
	pthread_join(runner, NULL);
	assert_int_equal(result.end, VM_LEFT);
}

static void only_the_named_thread_steps(void **state)
{
	uint64_t other;

	fake_init(2);
	fake.script[0] = loop_script;
	fake.script[1] = loop_script;
	fake.go[3] = 1;
	make(2);
	start();
	dial();
	send_command("c");
	usleep(20000);
	assert_int_equal(write(fd, "\x03", 1), 1);
	assert_non_null(packet(5000));
	other = fake.vcpu[0].state.rip;
	for (int i = 0; i < 10; i++) {
		uint64_t before = fake.vcpu[1].state.rip;

		assert_string_equal(ask("vCont;s:2"), "T05thread:2;");
		assert_int_equal(fake.vcpu[1].state.rip, (before + 1) % 3);
		assert_int_equal(fake.vcpu[0].state.rip, other);
	}
	send_command("k");
	pthread_join(runner, NULL);
}

static void breakpoints_hit_at_once_are_told_one_after_the_other(void **state)
{
	const char *reply;
	bool seen[2] = { false };
	char who, same[] = "T05thread:?;";

	fake_init(2);
	fake.script[0] = loop_script;
	fake.script[1] = loop_script;
	fake.go[3] = 1;
	make(2);
	start();
	dial();
	assert_string_equal(ask("Z0,1,1"), "OK");
	/* The stop may come before the other's thread has run at all: 14 times in a row were seen on one core. */
	for (int i = 0; i < 20000 && !(seen[0] && seen[1]); i++) {
		reply = ask("c");
		assert_non_null(reply);
		assert_memory_equal(reply, "T05thread:", 10);
		assert_in_range(reply[10], '1', '2');
		who = reply[10];
		seen[who - '1'] = true;
		/* as a debugger does: step off the breakpoint alone, then go on */
		assert_string_equal(ask("z0,1,1"), "OK");
		same[10] = who;
		assert_string_equal(ask(who == '1' ? "vCont;s:1" : "vCont;s:2"), same);
		assert_string_equal(ask("Z0,1,1"), "OK");
	}
	assert_true(seen[0] && seen[1]);
	send_command("k");
	pthread_join(runner, NULL);
}

static void a_debugger_that_leaves_lets_the_vm_go_on(void **state)
{
	make(1);
	start();
	dial();
	assert_string_equal(ask("Z0,1,1"), "OK");
	assert_string_equal(ask("c"), "T05thread:1;");
	close(fd);
	fd = -1;
	assert_true(fake_reaches(0, 6)); /* past where the breakpoint was */
	dial();				 /* the next one stops it again */
	assert_string_equal(ask("p10"), "0600000000000000");
	assert_string_equal(ask("D"), "OK");
	assert_null(packet(5000));
	fake.go[0] = 1;
	pthread_join(runner, NULL);
	assert_int_equal(result.end, VM_POWERED_OFF);
}

static void a_second_debugger_is_turned_away(void **state)
{
	int first;

	make(1);
	start();
	dial();
	assert_string_equal(ask("?"), "T05thread:1;");
	first = fd;
	dial();
	assert_null(packet(5000));
	close(fd);
	fd = first;
	assert_string_equal(ask("?"), "T05thread:1;");
	send_command("k");
	pthread_join(runner, NULL);
}

static void addresses_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = { "", "1234", "host:", "unix:", "[::1:", "no.such.host.invalid:1" };
	struct vm_config config = { .name = "test", .cpus = 1, .mem = 16 << 20 };
	struct error err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		config.gdb = bad[i];
		assert_true(vm_create(&config, &vm, &err) < 0);
		assert_int_equal(err.status, STATUS_USAGE);
	}
	config.gdb = "unix:/no/such/folder/socket";
	assert_true(vm_create(&config, &vm, &err) < 0);
	assert_int_equal(err.status, STATUS_HOST);
	vm = NULL;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_vm_waits_for_the_debugger),
		T(a_breakpoint_stops_and_stepping_moves_on),
		T(ctrl_c_stops_a_running_vm_and_its_clock),
		T(only_the_named_thread_steps),
		T(breakpoints_hit_at_once_are_told_one_after_the_other),
		T(a_debugger_that_leaves_lets_the_vm_go_on),
		T(a_second_debugger_is_turned_away),
		T(addresses_that_are_none_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
