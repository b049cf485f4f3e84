// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An engine whose vCPUs run a script of exits, and a board that writes down what it is asked, for
 * tests of vm/ without either.
 *
 * A script is an array of acts; state.rip is the number of the next one, so that saving, loading
 * and setting a vCPU's state work as with a real engine.
 */
#ifndef SUBRING_TESTS_VM_FAKE_H
#define SUBRING_TESTS_VM_FAKE_H

#include "engine/engine.h"
#include "machine/machine.h"

enum act_kind {
	ACT_SPIN,      /* no exit until kicked, for ever: what an all-zero act does */
	ACT_OUT,       /* port, size, count (0: 1), value */
	ACT_IN,
	ACT_STORE,     /* gpa, size, value; with more: the next act is of the same instruction */
	ACT_LOAD,
	ACT_MSR,       /* rdmsr */
	ACT_HYPERCALL,
	ACT_EOI,
	ACT_HALT,      /* hlt with interrupts off */
	ACT_TRIPLE,
	ACT_INTERNAL,
	ACT_RAW_EXIT,  /* an exit of kind value */
	ACT_GONE,      /* vcpu_run fails with -EIO */
	ACT_READY,     /* from here on an ExtINT can be injected; leaves with a window if one is wanted */
	ACT_WAIT,      /* until fake.go[value] */
	ACT_NOP,       /* no exit: an instruction that a debugger can step */
	ACT_JUMP,      /* to act value */
};

struct act {
	enum act_kind kind;
	uint64_t addr;
	uint32_t size, count;
	uint64_t value;
	bool more;
};

#define DO(what)	   { .kind = ACT_##what }
#define DO_WITH(what, v)   { .kind = ACT_##what, .value = v }
#define OUT(port, v)	   { .kind = ACT_OUT, .addr = port, .size = 1, .count = 1, .value = v }
#define POWER_OFF	   OUT(PORT_POWER_OFF, 1)

/* What the board does on these ports. */
enum {
	PORT_POWER_OFF = 0x501, /* OUT */
	PORT_RESET = 0x502,
	PORT_DEBUG_EXIT = 0x503,
	PORT_RAISE_INTR = 0x504,
	PORT_TIMER = 0x505, /* in value microseconds */
	PORT_NMI_ROUTE = 0x506,
	PORT_A20 = 0x92, /* bit 1: open */
	PORT_SERIAL = 0x3f8, /* to the serial stream; refused bytes are kept */
};

struct fake_vcpu {
	struct engine_vcpu base;
	struct run_page page;
	struct vcpu_state state;
	bool pending, halt_told, ready;
	unsigned pending_act;
	_Atomic bool kicked;
	const struct engine_debug *debug;
	uint64_t answer;      /* of the last completed read */
	uint32_t msr_fault;
	int extint;	      /* last vector, -1: none */
};

enum { FAKE_LOG = 256 };

struct fake {
	const struct act *script[VCPUS_MAX];
	const struct act *second_script; /* of vCPU 0, from the second boot on */
	unsigned cpus;
	struct fake_vcpu vcpu[VCPUS_MAX];
	_Atomic uint32_t go[4];
	_Atomic unsigned slots_changes;
	_Atomic bool a20_mapped_closed; /* as board_map_a20 was last asked for */
	bool a20_was_closed, booted_open, saved_open;	/* so at the last boot; at some moment when it was asked again, being closed */
	_Atomic bool devices_stand; /* board_pause */
	_Atomic bool devices_wrong; /* that was nested; or board_save, board_load or board_map_a20 came without */
	_Atomic unsigned boots, resets, timers, routes, clock_changes, eois;
	/* accesses that reached the board, in order */
	pthread_mutex_t lock;
	unsigned log_count;
	struct {
		bool mmio, write;
		uint64_t addr;
		unsigned size, count;
		uint64_t value;
		bool a20_mapped_closed; /* at this moment */
	} log[FAKE_LOG];
	const struct board_config *config;
};

extern struct fake fake;

void fake_init(unsigned cpus);
/* Waits until vCPU @cpu has reached act @n, at most ten seconds. */
bool fake_reaches(unsigned cpu, uint64_t n);
/* Whether an access to @addr is in the log. */
bool fake_logged(uint64_t addr);

#endif
