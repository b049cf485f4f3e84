// SPDX-License-Identifier: GPL-2.0-or-later
/* The debugger's commands, over a target made of arrays. */
#include "vm/gdb_private.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MEM_BASE = 0x1000, MEM_SIZE = 0x2000 };

static struct fake {
	struct vcpu_state cpu[2];
	uint8_t mem[MEM_SIZE];
	unsigned resumes, kills, interrupts;
	enum gdb_action action[VCPUS_MAX];
	uint64_t breakpoint[ENGINE_BREAKPOINTS_MAX];
	unsigned breakpoints;
	unsigned watches;
	struct engine_watch watch[ENGINE_WATCHES_MAX];
	uint64_t watched; /* address of the watch that stopped CPU 1, or 0 */
} fake;

static int fake_get_state(void *opaque, unsigned cpu, struct vcpu_state *s)
{
	assert_in_range(cpu, 0, 1);
	*s = fake.cpu[cpu];
	return 0;
}

static int fake_set_state(void *opaque, unsigned cpu, const struct vcpu_state *s)
{
	assert_in_range(cpu, 0, 1);
	fake.cpu[cpu] = *s;
	return 0;
}

static size_t reach(uint64_t linear, size_t len)
{
	if (linear < MEM_BASE || linear >= MEM_BASE + MEM_SIZE)
		return 0;
	return len < MEM_BASE + MEM_SIZE - linear ? len : MEM_BASE + MEM_SIZE - linear;
}

static size_t fake_read(void *opaque, unsigned cpu, uint64_t linear, void *buf, size_t len)
{
	size_t n = reach(linear, len);

	if (n)
		memcpy(buf, fake.mem + (linear - MEM_BASE), n);
	return n;
}

static size_t fake_write(void *opaque, unsigned cpu, uint64_t linear, const void *buf, size_t len)
{
	size_t n = reach(linear, len);

	if (n)
		memcpy(fake.mem + (linear - MEM_BASE), buf, n);
	return n;
}

static void fake_resume(void *opaque, const enum gdb_action *action, const uint64_t *breakpoint, unsigned count)
{
	fake.resumes++;
	memcpy(fake.action, action, 2 * sizeof(*action));
	memcpy(fake.breakpoint, breakpoint, count * sizeof(*breakpoint));
	fake.breakpoints = count;
}

static int fake_interrupt(void *opaque)
{
	fake.interrupts++;
	return 0;
}

static void fake_kill(void *opaque)
{
	fake.kills++;
}

static const struct gdb_target target = {
	.cpus = 2,
	.get_state = fake_get_state,
	.set_state = fake_set_state,
	.read = fake_read,
	.write = fake_write,
	.resume = fake_resume,
	.interrupt = fake_interrupt,
	.kill = fake_kill,
};

static struct gdb_session session;

static int begin(void **state)
{
	memset(&fake, 0, sizeof(fake));
	gdb_session_begin(&session, &target);
	return 0;
}

/* Takes the session's output: the text of its one packet, without acknowledgement. */
static const char *output(void)
{
	static struct gdb_rx rx;
	enum gdb_event e = GDB_NOTHING;
	size_t i;

	memset(&rx, 0, sizeof(rx));
	for (i = 0; i < session.out_len && e != GDB_PACKET; i++)
		e = gdb_rx_byte(&rx, (uint8_t)session.out[i]);
	assert_int_equal(i, session.out_len);
	session.out_len = 0;
	return e == GDB_PACKET ? rx.data : NULL;
}

static void send_bytes(const char *bytes, size_t len)
{
	struct gdb_text text = { 0 };
	char framed[2 * GDB_PACKET_MAX + 8];

	gdb_put(&text, bytes, len);
	gdb_session_feed(&session, framed, gdb_frame(&text, framed, sizeof(framed)));
}

static const char *ask(const char *command)
{
	send_bytes(command, strlen(command));
	return output();
}

static void packets_are_acknowledged_until_told_otherwise(void **state)
{
	gdb_session_feed(&session, "$?#3f", 5);
	assert_int_equal(session.out[0], '+');
	assert_string_equal(output(), "T05thread:1;");
	gdb_session_feed(&session, "$?#00", 5);
	assert_int_equal(session.out_len, 1);
	assert_int_equal(session.out[0], '-');
	session.out_len = 0;
	gdb_session_feed(&session, "-", 1);
	assert_string_equal(output(), "T05thread:1;");
	assert_string_equal(ask("QStartNoAckMode"), "OK");
	gdb_session_feed(&session, "$?#3f", 5);
	assert_int_equal(session.out[0], '$');
}

static void unknown_commands_get_an_empty_reply(void **state)
{
	assert_string_equal(ask("vMustReplyEmpty"), "");
	assert_string_equal(ask("Z2,1000,8"), "");
	assert_string_equal(ask("qNothing"), "");
	assert_string_equal(ask("!"), "");
	assert_string_equal(ask(""), "");
}

static void registers_are_read_in_the_order_of_target_xml(void **state)
{
	const char *reply;

	fake.cpu[0].gpr[RAX] = 0x1122334455667788;
	fake.cpu[0].gpr[RBX] = 0x99;
	fake.cpu[0].rip = 0xfff0;
	fake.cpu[0].rflags = 0x246;
	fake.cpu[0].seg[SEG_CS].selector = 0x10;
	fake.cpu[0].seg[SEG_FS].base = 0xabcd;
	reply = ask("g");
	assert_memory_equal(reply, "88776655443322119900000000000000", 32);
	assert_memory_equal(reply + 16 * 16, "f0ff0000000000004602000010000000", 32);
	/* all of them, two digits a byte */
	size_t bytes = 0;

	for (unsigned i = 0; i < gdb_reg_count(); i++)
		bytes += gdb_reg_size(i);
	assert_int_equal(strlen(reply), 2 * bytes);
	assert_string_equal(ask("p10"), "f0ff000000000000");
	assert_string_equal(ask("pfff"), "E16");
	assert_string_equal(ask("p"), "E16");
}

static void registers_are_written_alone_and_all_together(void **state)
{
	char all[2 * GDB_PACKET_MAX] = "G";

	assert_string_equal(ask("P1=0102030405060708"), "OK");
	assert_true(fake.cpu[0].gpr[RBX] == 0x0807060504030201);
	assert_string_equal(ask("P1=01"), "E16");
	assert_string_equal(ask("P1=01020304050607089"), "E16");
	assert_string_equal(ask("P12=2b000000"), "OK");
	assert_int_equal(fake.cpu[0].seg[SEG_CS].selector, 0);

	fake.cpu[0].gpr[R15] = 0x77;
	strcat(all, ask("g"));
	memcpy(all + 1, "0100000000000000", 16);
	assert_string_equal(ask(all), "OK");
	assert_true(fake.cpu[0].gpr[RAX] == 1);
	assert_true(fake.cpu[0].gpr[R15] == 0x77);
	strcat(all, "00");
	assert_string_equal(ask(all), "E16");
	assert_string_equal(ask("Gzz"), "E16");
}

static void vector_state_follows_xstate_bv(void **state)
{
	char command[64];
	unsigned xmm0 = 0, ymm0h = 0, fctrl = 0;
	uint64_t bv;

	/* fctrl follows st7; xmm0 follows fop; ymm0h follows mxcsr */
	for (unsigned i = 0, st = 0; i < gdb_reg_count(); i++) {
		if (gdb_reg_size(i) == 10 && ++st == 8)
			fctrl = i + 1;
		if (gdb_reg_size(i) == 16 && !xmm0)
			xmm0 = i;
	}
	ymm0h = xmm0 + 17;
	memset(fake.cpu[0].xsave, 0xee, 576 + 256);
	memset(fake.cpu[0].xsave + 512, 0, 8);
	snprintf(command, sizeof(command), "p%x", fctrl);
	assert_string_equal(ask(command), "7f030000");
	snprintf(command, sizeof(command), "p%x", xmm0);
	assert_string_equal(ask(command), "00000000000000000000000000000000");
	snprintf(command, sizeof(command), "P%x=000102030405060708090a0b0c0d0e0f", xmm0);
	assert_string_equal(ask(command), "OK");
	memcpy(&bv, fake.cpu[0].xsave + 512, 8);
	assert_int_equal(bv, 2);
	assert_int_equal(fake.cpu[0].xsave[160 + 15], 15);
	assert_int_equal(fake.cpu[0].xsave[176], 0); /* xmm1 has its initial value now */
	snprintf(command, sizeof(command), "P%x=ff000000000000000000000000000000", ymm0h);
	assert_string_equal(ask(command), "OK");
	memcpy(&bv, fake.cpu[0].xsave + 512, 8);
	assert_int_equal(bv, 6);
	snprintf(command, sizeof(command), "p%x", ymm0h);
	assert_string_equal(ask(command), "ff000000000000000000000000000000");
}

static void memory_is_read_and_written_within_bounds(void **state)
{
	assert_string_equal(ask("M1000,4:deadbeef"), "OK");
	assert_memory_equal(fake.mem, "\xde\xad\xbe\xef", 4);
	assert_string_equal(ask("m1000,4"), "deadbeef");
	assert_string_equal(ask("m2ffe,4"), "0000"); /* as far as it goes */
	assert_string_equal(ask("m0,4"), "E0e");
	assert_string_equal(ask("m1000,ffffffffffffffff") + GDB_PACKET_MAX - 16, "");
	assert_string_equal(ask("M1000,4:dead"), "E16");
	assert_string_equal(ask("M1000,ffffffffffffffff:00"), "E16");
	assert_string_equal(ask("M2fff,2:0000"), "E0e");
	send_bytes("X1000,3:\x00#}", 11);
	assert_string_equal(output(), "OK");
	assert_memory_equal(fake.mem, "\x00#}", 3);
	send_bytes("X1000,4:\x00#}", 11);
	assert_string_equal(output(), "E16");
}

static void breakpoints_are_given_to_the_target_on_resume(void **state)
{
	char command[32];

	assert_string_equal(ask("Z0,1234,1"), "OK");
	assert_string_equal(ask("Z0,1234,1"), "OK"); /* twice is once */
	assert_string_equal(ask("Z1,5678,1"), "OK");
	assert_null(ask("c"));
	assert_int_equal(fake.breakpoints, 2);
	assert_true(fake.breakpoint[0] == 0x1234 && fake.breakpoint[1] == 0x5678);
	fake.cpu[1].rip = 0x5678;
	fake.cpu[1].efer = 1 << 10;
	fake.cpu[1].seg[SEG_CS].attr = 1 << 13;
	gdb_session_stopped(&session, 1, GDB_SIGTRAP);
	assert_string_equal(output(), "T05thread:2;");
	assert_string_equal(ask("z0,1234,1"), "OK");
	assert_null(ask("c"));
	assert_int_equal(fake.breakpoints, 1);
	gdb_session_stopped(&session, 0, GDB_SIGTRAP);
	output();
	for (int i = 1; i < ENGINE_BREAKPOINTS_MAX; i++) {
		snprintf(command, sizeof(command), "Z0,%x,1", i);
		assert_string_equal(ask(command), "OK");
	}
	assert_string_equal(ask("Z0,9999,1"), "E1c");
}

static void a_stop_at_a_breakpoint_says_so_when_the_debugger_understands(void **state)
{
	assert_non_null(strstr(ask("qSupported:multiprocess+;swbreak+;hwbreak+"), "PacketSize=1000;"));
	assert_string_equal(ask("Z1,5678,1"), "OK");
	assert_null(ask("vCont;c"));
	fake.cpu[1].rip = 0x5678;
	fake.cpu[1].efer = 1 << 10;
	fake.cpu[1].seg[SEG_CS].attr = 1 << 13;
	gdb_session_stopped(&session, 1, GDB_SIGTRAP);
	assert_string_equal(output(), "T05thread:2;hwbreak:;");
}

static int fake_watch(void *opaque, const struct engine_watch *watch, unsigned count)
{
	fake.watches = count;
	memcpy(fake.watch, watch, count * sizeof(*watch));
	return 0;
}

static bool fake_watched(void *opaque, unsigned cpu, uint64_t *linear)
{
	*linear = fake.watched;
	return cpu == 1 && fake.watched;
}

static void watchpoints_are_given_to_the_target_and_told_in_stops(void **state)
{
	struct gdb_target watching = target;

	watching.watch = fake_watch;
	watching.watched = fake_watched;
	gdb_session_begin(&session, &watching);
	assert_string_equal(ask("Z2,1234,4"), "OK");
	assert_string_equal(ask("Z2,1234,4"), "OK"); /* twice is once */
	assert_string_equal(ask("Z3,2000,8"), "OK");
	assert_string_equal(ask("Z4,3000,1"), "OK");
	assert_string_equal(ask("Z2,1234,0"), "E16");
	assert_int_equal(fake.watches, 3);
	assert_true(fake.watch[0].linear == 0x1234 && fake.watch[0].len == 4);
	assert_true(fake.watch[0].store && !fake.watch[0].load);
	assert_true(!fake.watch[1].store && fake.watch[1].load);
	assert_true(fake.watch[2].store && fake.watch[2].load);
	for (unsigned i = 0; i < 3; i++) {
		static const char *const told[] = { "T05thread:2;watch:1234;", "T05thread:2;rwatch:2000;", "T05thread:2;awatch:3000;" };

		assert_null(ask("c"));
		fake.watched = fake.watch[i].linear;
		gdb_session_stopped(&session, 1, GDB_SIGTRAP);
		assert_string_equal(output(), told[i]);
	}
	assert_string_equal(ask("z2,1234,4"), "OK");
	assert_int_equal(fake.watches, 2);
	assert_null(ask("c"));
	gdb_session_stopped(&session, 0, GDB_SIGTRAP); /* not by a watch */
	assert_string_equal(output(), "T05thread:1;");
}

static void vcont_gives_each_thread_its_leftmost_action(void **state)
{
	assert_string_equal(ask("vCont?"), "vCont;c;C;s;S");
	assert_null(ask("vCont;s:2;c"));
	assert_int_equal(fake.action[0], GDB_CONTINUE);
	assert_int_equal(fake.action[1], GDB_STEP);
	gdb_session_stopped(&session, 1, GDB_SIGTRAP);
	output();
	assert_null(ask("vCont;s:1"));
	assert_int_equal(fake.action[0], GDB_STEP);
	assert_int_equal(fake.action[1], GDB_STAY);
	gdb_session_stopped(&session, 0, GDB_SIGTRAP);
	output();
	assert_string_equal(ask("vCont;r1,2"), "E16");
	assert_string_equal(ask("vCont;c:3"), "E16");
	assert_string_equal(ask("vCont"), "E16");
	assert_int_equal(fake.resumes, 2);
}

static void while_running_only_an_interrupt_and_a_kill_are_heard(void **state)
{
	assert_null(ask("c"));
	assert_null(ask("g"));
	assert_null(ask("Z0,1,1"));
	assert_int_equal(session.breakpoint_count, 0);
	gdb_session_feed(&session, "\x03", 1);
	assert_int_equal(fake.interrupts, 1);
	assert_string_equal(output(), "T02thread:1;");
	gdb_session_feed(&session, "\x03", 1); /* stopped already */
	assert_int_equal(fake.interrupts, 1);
	assert_null(ask("c"));
	assert_null(ask("k"));
	assert_int_equal(fake.kills, 1);
}

static void threads_are_the_vcpus(void **state)
{
	assert_string_equal(ask("qfThreadInfo"), "m1,2");
	assert_string_equal(ask("qsThreadInfo"), "l");
	assert_string_equal(ask("Hg2"), "OK");
	assert_string_equal(ask("qC"), "QC2");
	fake.cpu[1].gpr[RAX] = 5;
	assert_string_equal(ask("p0"), "0500000000000000");
	assert_string_equal(ask("Hg3"), "E16");
	assert_string_equal(ask("Hg-1"), "OK");
	assert_string_equal(ask("T2"), "OK");
	assert_string_equal(ask("T0"), "E16");
	assert_string_equal(ask("T7"), "E16");
	assert_string_equal(ask("qThreadExtraInfo,1"), "72756e6e696e67");
	assert_string_equal(ask("qThreadExtraInfo,9"), "E16");
}

static void target_xml_is_given_in_pieces(void **state)
{
	char command[64], got[32768];
	size_t n = 0, total;
	const char *xml = gdb_target_xml(&total), *reply;

	do {
		snprintf(command, sizeof(command), "qXfer:features:read:target.xml:%zx,ff", n);
		reply = ask(command);
		assert_in_range(n + strlen(reply), 0, sizeof(got) - 1);
		n += (size_t)snprintf(got + n, sizeof(got) - n, "%s", reply + 1);
	} while (*reply == 'm');
	assert_int_equal(n, total);
	assert_string_equal(got, xml);
	assert_non_null(strstr(xml, "</target>"));
	assert_string_equal(ask("qXfer:features:read:target.xml:ffffff,10"), "E16");
	assert_string_equal(ask("qXfer:features:read:other.xml:0,10"), "E00");
}

static void resuming_at_an_address_sets_rip(void **state)
{
	assert_null(ask("c4321"));
	assert_true(fake.cpu[0].rip == 0x4321);
	gdb_session_stopped(&session, 0, GDB_SIGTRAP);
	output();
	assert_null(ask("S05;99"));
	assert_true(fake.cpu[0].rip == 0x99);
	assert_int_equal(fake.action[0], GDB_STEP);
	assert_int_equal(fake.action[1], GDB_STAY);
}

static void detaching_and_the_end_of_the_vm_are_told(void **state)
{
	assert_string_equal(ask("D"), "OK");
	assert_true(session.detached);
	begin(NULL);
	assert_null(ask("c"));
	gdb_session_exited(&session, 43);
	assert_string_equal(output(), "W2b");
}

static void random_bytes_do_no_harm(void **state)
{
	static const char letters[] = "$#}+-0123456789abcdefgGpPmMXcCsSzZHTqQvDk,;:=\x03?vCont";
	unsigned seed = 1;

	for (int round = 0; round < 200; round++) {
		begin(NULL);
		for (int i = 0; i < 2000 && !session.detached; i++) {
			char c = letters[rand_r(&seed) % (sizeof(letters) - 1)];

			gdb_session_feed(&session, &c, 1);
			session.out_len = 0;
			if (session.running && i % 7 == 0)
				gdb_session_stopped(&session, 1, GDB_SIGTRAP);
		}
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, begin)
	const struct CMUnitTest tests[] = {
		T(packets_are_acknowledged_until_told_otherwise),
		T(unknown_commands_get_an_empty_reply),
		T(registers_are_read_in_the_order_of_target_xml),
		T(registers_are_written_alone_and_all_together),
		T(vector_state_follows_xstate_bv),
		T(memory_is_read_and_written_within_bounds),
		T(breakpoints_are_given_to_the_target_on_resume),
		T(a_stop_at_a_breakpoint_says_so_when_the_debugger_understands),
		T(watchpoints_are_given_to_the_target_and_told_in_stops),
		T(vcont_gives_each_thread_its_leftmost_action),
		T(while_running_only_an_interrupt_and_a_kill_are_heard),
		T(threads_are_the_vcpus),
		T(target_xml_is_given_in_pieces),
		T(resuming_at_an_address_sets_rip),
		T(detaching_and_the_end_of_the_vm_are_told),
		T(random_bytes_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
