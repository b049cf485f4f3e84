// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The host's side of the serial port: where its output goes and where its input comes from.
 *
 * Output is taken into a bounded buffer by whichever thread the chip runs on and written by a
 * thread of its own, for the descriptor may be a file, a pipe or a terminal that blocks. When the
 * buffer is full the chip keeps its byte and is told when there is room.
 */
#ifndef SUBRING_CMD_SERIAL_H
#define SUBRING_CMD_SERIAL_H

#include "bus/chip.h"
#include "host/error.h"
#include "host/loop.h"

#include <stdbool.h>
#include <stddef.h>

struct serial_out;

/* @spec: "stdio", "file:PATH" or "none". */
int serial_out_create(const char *spec, struct serial_out **out, struct error *err);
bool serial_is_stdio(const char *spec);
struct chip_stream serial_out_stream(struct serial_out *out);
/*
 * Starts the writing. @ready is called (on the writer's thread) when there is room again after a
 * byte was refused, @failed once when writing fails; from then on output vanishes.
 */
int serial_out_start(struct serial_out *out, void (*ready)(void *opaque),
		     void (*failed)(void *opaque, const struct error *err), void *opaque);
/* Waits until everything is written; @give_up is asked a few times a second. */
void serial_out_flush(struct serial_out *out, bool (*give_up)(void *opaque), void *opaque);
/* Ends the writer; what it could not write is lost. NULL is fine. */
void serial_out_destroy(struct serial_out *out);

/*
 * Input from standard input, on the loop's thread. @take gets bytes and says how many it took; the
 * rest is offered again. On a terminal, @filter sees each byte first: true, and it goes on.
 */
struct serial_in;

struct serial_in_config {
	int fd;
	struct loop *loop;
	bool terminal;
	bool (*filter)(void *opaque, uint8_t *byte);
	size_t (*take)(void *opaque, const uint8_t *bytes, size_t len);
	void (*hangup)(void *opaque); /* a terminal went away; the end of a file is no event */
	void *opaque;
};

int serial_in_create(const struct serial_in_config *config, struct serial_in **out);
void serial_in_destroy(struct serial_in *in); /* NULL is fine */

#endif
