// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzzes the debugger's protocol: the input is what a debugger sends, with a bare 0xff in it for a
 * stop of the VM; packets in it that lack their checksum get the right one, so that the commands
 * behind it are reached. Sources: vm_dep (gdb_packet.c, gdb_session.c, gdb_registers.c).
 */
#include "vm/gdb_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vcpu_state cpu[3];
static uint8_t memory[8192];

static int get_state(void *opaque, unsigned n, struct vcpu_state *s)
{
	if (n >= 3)
		abort();
	*s = cpu[n];
	return 0;
}

static int set_state(void *opaque, unsigned n, const struct vcpu_state *s)
{
	if (n >= 3)
		abort();
	cpu[n] = *s;
	return s->cr0 & 1 ? -EINVAL : 0;
}

static size_t reach(uint64_t at, size_t len)
{
	if (at >= sizeof(memory))
		return 0;
	return len < sizeof(memory) - at ? len : sizeof(memory) - (size_t)at;
}

static size_t read_memory(void *opaque, unsigned n, uint64_t at, void *buf, size_t len)
{
	len = reach(at, len);
	if (len)
		memcpy(buf, memory + at, len);
	return len;
}

static size_t write_memory(void *opaque, unsigned n, uint64_t at, const void *buf, size_t len)
{
	len = reach(at, len);
	if (len)
		memcpy(memory + at, buf, len);
	return len;
}

static void resume(void *opaque, const enum gdb_action *action, const uint64_t *breakpoint, unsigned count)
{
	if (count > ENGINE_BREAKPOINTS_MAX)
		abort();
	for (unsigned i = 0; i < 3; i++) {
		if (action[i] > GDB_STEP)
			abort();
	}
}

static int interrupt(void *opaque)
{
	return 0;
}

static void kill_vm(void *opaque)
{
}

static const struct gdb_target target = {
	.cpus = 3, .get_state = get_state, .set_state = set_state, .read = read_memory, .write = write_memory,
	.resume = resume, .interrupt = interrupt, .kill = kill_vm,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gdb_session s;
	uint8_t sum = 0;
	char end[4];

	memset(cpu, 0, sizeof(cpu));
	gdb_session_begin(&s, &target);
	for (size_t i = 0; i < size && !s.broken && !s.detached; i++) {
		if (data[i] == 0xff) {
			gdb_session_stopped(&s, (unsigned)i, GDB_SIGTRAP);
		} else if (data[i] == '#') {
			snprintf(end, sizeof(end), "#%02x", sum);
			gdb_session_feed(&s, end, 3);
		} else {
			sum = data[i] == '$' ? 0 : (uint8_t)(sum + data[i]);
			gdb_session_feed(&s, &data[i], 1);
		}
		s.out_len = 0; /* the debugger reads all the time */
	}
	return 0;
}
