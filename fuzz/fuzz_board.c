// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzzes a whole board: accesses to ports, memory-mapped registers and configuration space, time
 * that passes, input on the serial port, EOIs, resets, and saving and loading in between; the
 * loaded board must save as the same bytes. Sources: machine_dep.
 */
#include "input.h"

#include "machine/machine.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_msi(void *opaque, const struct engine_msi *msi)
{
	if (msi->address >> 20 != 0xfee)
		abort();
}

static void on_routes(void *opaque, const struct engine_msi *route, unsigned count)
{
	if (count > 24)
		abort();
}

static void on_extint(void *opaque, bool level)
{
}

static void on_nmi(void *opaque)
{
}

static void on_smi(void *opaque)
{
}

static bool a20_moved;

static void on_a20(void *opaque, bool open)
{
	a20_moved = true;
}

static void on_event(void *opaque, enum board_event event, unsigned code)
{
	if (event == BOARD_EVENT_NONE || code > 255)
		abort();
}

static void on_timer(void *opaque, uint64_t vm_ns)
{
	*(uint64_t *)opaque = vm_ns;
}

/* Full now and then, so that output backs up. */
static int put(void *opaque, uint8_t byte)
{
	return byte & 7 ? 1 : 0;
}

struct rig {
	struct ram *ram;
	struct vm_clock clock;
	uint64_t timer_ns;
	struct board *board;
};

static struct board *new_board(struct rig *r)
{
	struct board_config config = {
		.ram = r->ram,
		.clock = &r->clock,
		.cpus = 2,
		.debug_exit = true,
		.test_device = true,
		.serial = { put, NULL },
		.debugcon = { put, NULL },
		.wires = { .msi = on_msi, .routes = on_routes, .extint = on_extint, .nmi = on_nmi, .smi = on_smi, .a20 = on_a20,
			   .event = on_event, .timer = on_timer, .opaque = &r->timer_ns },
	};
	struct board *b;
	struct error err;

	if (board_create(&config, &b, &err))
		abort();
	return b;
}

static struct state_writer *save(struct board *b, const void **bytes, size_t *len)
{
	struct state_writer *w;

	if (state_writer_create(&w))
		abort();
	board_save(b, w);
	if (state_writer_finish(w, bytes, len))
		abort();
	return w;
}

static struct board *loaded(struct rig *r, const void *bytes, size_t len)
{
	struct state_reader *reader;
	struct board *b = new_board(r);

	if (state_reader_create(bytes, len, &reader) || board_load(b, reader) || state_reader_finish(reader))
		abort();
	state_reader_destroy(reader);
	return b;
}

/*
 * Goes on with a board that was loaded. Loading brings up to date what chips account lazily, so the
 * state is the same only from the second time on.
 */
static void replace(struct rig *r)
{
	struct state_writer *w[3];
	struct board *b[2];
	const void *bytes[3];
	size_t len[3];

	w[0] = save(r->board, &bytes[0], &len[0]);
	b[0] = loaded(r, bytes[0], len[0]);
	w[1] = save(b[0], &bytes[1], &len[1]);
	b[1] = loaded(r, bytes[1], len[1]);
	w[2] = save(b[1], &bytes[2], &len[2]);
	if (len[1] != len[2] || memcmp(bytes[1], bytes[2], len[1]) != 0)
		abort();
	for (unsigned i = 0; i < 3; i++)
		state_writer_destroy(w[i]);
	board_destroy(r->board);
	board_destroy(b[0]);
	r->board = b[1];
}

/* Ports and addresses where something is, and any other. */
static uint16_t pick_port(struct input *in)
{
	static const uint16_t ports[] = {
		0x20,  0x21,  0x40,  0x42,  0x43,  0x60,  0x61,  0x64,  0x70,  0x71,  0x80,
		0x92,  0xa0,  0xa1,  0xb2,  0xf4,  0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd,
		0x402, 0x4d0, 0x600, 0x602, 0x604, 0x608, 0x620, 0xcf8, 0xcf9, 0xcfc,
		0x630, 0x634, 0xe0,  0xe4,  0x3b4, 0x3ba, 0x3c0, 0x3c4, 0x3c8, 0x3ce,
		0x3d4, 0x3da, 0x2000, 0x2001, 0x2008, 0x2017,
	};
	uint8_t n = (uint8_t)take(in, 1);

	return n & 0x80 ? (uint16_t)take(in, 2) : ports[n % (sizeof(ports) / sizeof(ports[0]))];
}

static uint64_t pick_address(struct input *in)
{
	uint8_t n = (uint8_t)take(in, 1);

	switch (n & 3) {
	case 0: return n & 4 ? 0xff000000 + take(in, 2) : BOARD_IOAPIC_BASE + (n & 0xf0);
	case 1: return BOARD_ECAM_BASE + take(in, 1);
	case 2: return BOARD_ECAM_BASE + (take(in, 4) & (BOARD_ECAM_SIZE - 1));
	default: return take(in, 8);
	}
}

static void step(struct rig *r, struct input *in)
{
	uint8_t op = (uint8_t)take(in, 1), data[64] = { 0 };
	unsigned size = 1u << (op >> 4 & 3);
	uint64_t v;

	switch (op & 15) {
	case 0:
	case 1:
	case 2:
	case 3: {
		uint16_t port = pick_port(in);

		v = take(in, size & 7);
		memcpy(data, &v, 8);
		board_pio(r->board, port, size > 4 ? 4 : size, op & 1, data, op & 0x80 ? 8 : 1);
		break;
	}
	case 4:
	case 5:
	case 6:
	case 7: {
		uint64_t gpa = pick_address(in);

		v = take(in, size);
		memcpy(data, &v, 8);
		board_mmio(r->board, gpa, size, op & 1, data);
		break;
	}
	case 8:
	case 9:
		v = take(in, 5); /* up to 1100 s */
		r->clock.tsc_paused += (uint64_t)((unsigned __int128)v * r->clock.tsc_hz / 1000000000) + 1;
		board_timers(r->board);
		break;
	case 10: board_eoi(r->board, (uint8_t)take(in, 1)); break;
	case 11: board_extint_ack(r->board); break;
	case 12:
		v = take(in, 8);
		board_serial_input(r->board, (const uint8_t *)&v, op >> 5);
		break;
	case 13: board_serial_output_ready(r->board); break;
	case 14: board_reset(r->board); break;
	default: replace(r); break;
	}
}

/* What the main thread does when the gate has moved. Closed, the second megabyte is the first. */
static void follow_a20(struct rig *r)
{
	bool open = board_a20(r->board);
	uint8_t here = 1, there = 2;

	a20_moved = false;
	if (board_map_a20(r->ram, open) || ram_write(r->ram, 0x500, &here, 1) || ram_write(r->ram, 0x100500, &there, 1) ||
	    ram_read(r->ram, 0x500, &here, 1) || here != (open ? 1 : 2))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ram *ram;
	struct input in = { data, size };
	struct rig r = { .timer_ns = UINT64_MAX };
	struct error err;

	if (!ram && (ram_create(16 << 20, NULL, &ram, &err) || board_map_ram(ram, &err)))
		abort();
	r.ram = ram;
	vm_clock_init(&r.clock);
	r.clock.epoch_s = 1700000000;
	r.board = new_board(&r);
	follow_a20(&r);
	for (unsigned n = 0; in.left && n < 4000; n++) {
		step(&r, &in);
		if (a20_moved)
			follow_a20(&r);
	}
	board_destroy(r.board);
	return 0;
}
