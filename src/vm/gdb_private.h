// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The parts of the debugger stub (GDB manual, appendix E, "GDB Remote Serial Protocol"):
 *
 *   gdb_packet.c     framing: bytes to packets and back; numbers
 *   gdb_registers.c  the register table, target.xml
 *   gdb_session.c    commands and replies, over a struct gdb_target
 *   gdb_target.c     a VM as a struct gdb_target
 *   gdb.c            the socket
 *
 * The session knows no VM and no socket, so that a test (and a fuzzer) can drive it.
 */
#ifndef SUBRING_VM_GDB_PRIVATE_H
#define SUBRING_VM_GDB_PRIVATE_H

#include "engine/engine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- packets --- */

enum { GDB_PACKET_MAX = 4096 };

enum gdb_event {
	GDB_NOTHING,
	GDB_PACKET,    /* a whole one with the right checksum is in rx->data */
	GDB_BAD,       /* wrong checksum or too long: ask again */
	GDB_ACK,
	GDB_NAK,
	GDB_INTERRUPT, /* Ctrl-C */
};

struct gdb_rx {
	int state; /* private */
	uint8_t sum, sum_sent;
	bool escaped, too_long;
	size_t len;
	char data[GDB_PACKET_MAX + 1]; /* NUL behind it; escapes are undone */
};

enum gdb_event gdb_rx_byte(struct gdb_rx *rx, uint8_t byte);

/* A reply under construction, unframed. What does not fit is dropped and sets full. */
struct gdb_text {
	size_t len;
	bool full;
	char data[GDB_PACKET_MAX];
};

void gdb_put(struct gdb_text *text, const char *bytes, size_t len);
void gdb_puts(struct gdb_text *text, const char *string);
void gdb_printf(struct gdb_text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void gdb_put_hex(struct gdb_text *text, const void *bytes, size_t len);
/* Frames @text: "$", the text escaped, "#", checksum. Returns the length, 0 when @size is too small. */
size_t gdb_frame(const struct gdb_text *text, char *out, size_t size);

/* Reads a hexadecimal number of at least one and at most 16 digits; moves *p behind it. */
bool gdb_get_number(const char **p, uint64_t *value);
/* Reads exactly @len bytes as pairs of digits. */
bool gdb_get_hex(const char **p, void *bytes, size_t len);
/* Moves *p behind @word if the text begins with it. */
bool gdb_get_word(const char **p, const char *word);

/* --- registers --- */

enum { GDB_REG_SIZE_MAX = 16 };

unsigned gdb_reg_count(void);
/* Bytes of register @n (0 when there is none), in target order, into @bytes. */
size_t gdb_reg_get(const struct vcpu_state *s, unsigned n, uint8_t bytes[GDB_REG_SIZE_MAX]);
/* Takes gdb_reg_size(n) bytes. Registers that cannot be changed alone keep their value. */
void gdb_reg_put(struct vcpu_state *s, unsigned n, const uint8_t *bytes);
size_t gdb_reg_size(unsigned n);
/* target.xml, made once. */
const char *gdb_target_xml(size_t *len);

/* --- the target --- */

enum gdb_action { GDB_STAY, GDB_CONTINUE, GDB_STEP };

/* All functions with every CPU stopped, except interrupt. 0 or a negative errno. */
struct gdb_target {
	unsigned cpus;
	void *opaque;
	int (*get_state)(void *opaque, unsigned cpu, struct vcpu_state *s);
	int (*set_state)(void *opaque, unsigned cpu, const struct vcpu_state *s);
	/* By linear address; how many bytes could be reached. */
	size_t (*read)(void *opaque, unsigned cpu, uint64_t linear, void *buf, size_t len);
	size_t (*write)(void *opaque, unsigned cpu, uint64_t linear, const void *buf, size_t len);
	/* Lets CPUs go on; gdb_session_stopped tells when they have stopped again. */
	void (*resume)(void *opaque, const enum gdb_action *action, const uint64_t *breakpoint, unsigned count);
	/*
	 * For watchpoints; both NULL where there are none. What to watch from the next resume on; -ENOTSUP when
	 * the engine cannot. Whether @cpu has stopped because of a watched access, and which watch it was.
	 */
	int (*watch)(void *opaque, const struct engine_watch *watch, unsigned count);
	bool (*watched)(void *opaque, unsigned cpu, uint64_t *linear);
	/* Stops all CPUs, now. */
	int (*interrupt)(void *opaque);
	void (*kill)(void *opaque);
};

/* --- the session --- */

struct gdb_breakpoint {
	uint64_t addr;
	bool hardware; /* as the debugger asked: only the stop reply differs */
};

struct gdb_session {
	const struct gdb_target *target;
	struct gdb_rx rx;
	struct gdb_text reply;
	bool running;	/* CPUs run; the debugger waits for a stop reply */
	bool no_ack;
	bool swbreak;	/* the debugger understands swbreak/hwbreak in stop replies */
	bool detached;	/* D was answered: close */
	bool broken;	/* output overflowed: close */
	unsigned cpu;	/* of g, G, p, P, m, M */
	unsigned stop_cpu, stop_signal;
	unsigned breakpoint_count;
	struct gdb_breakpoint breakpoint[ENGINE_BREAKPOINTS_MAX];
	unsigned watch_count;
	struct engine_watch watch[ENGINE_WATCHES_MAX];
	unsigned thread_next; /* qsThreadInfo */
	size_t last_len;      /* the last framed reply, for a NAK */
	char last[2 * GDB_PACKET_MAX + 8];
	size_t out_len;	      /* bytes for the debugger */
	char out[4 * GDB_PACKET_MAX];
};

enum { GDB_SIGINT = 2, GDB_SIGTRAP = 5 };

/* A debugger has come; all CPUs are stopped. */
void gdb_session_begin(struct gdb_session *s, const struct gdb_target *target);
void gdb_session_feed(struct gdb_session *s, const void *bytes, size_t len);
void gdb_session_stopped(struct gdb_session *s, unsigned cpu, unsigned signal);
void gdb_session_exited(struct gdb_session *s, unsigned status);

/* --- a VM as a target --- */

struct vm;
void gdb_target_init(struct gdb_target *target, struct vm *vm);

#endif
