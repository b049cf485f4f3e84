// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The debugger's commands and their replies (GDB manual, E.2 "Packets" to E.5). All-stop mode;
 * thread n is vCPU n - 1.
 *
 * Invariants: while s->running, CPUs may run and no command touches them; every other command is
 * answered at once, in one packet of at most GDB_PACKET_MAX bytes; what is not known is answered
 * with an empty packet, as the protocol asks.
 */
#include "vm/gdb_private.h"
#include "vm/linear.h"

#include <errno.h>
#include <string.h>

/* Bytes of memory in one m or x reply, each two digits. */
enum { MEM_MAX = (GDB_PACKET_MAX - 16) / 2 };

static void out_bytes(struct gdb_session *s, const char *bytes, size_t len)
{
	if (len > sizeof(s->out) - s->out_len) {
		s->broken = true;
		return;
	}
	memcpy(s->out + s->out_len, bytes, len);
	s->out_len += len;
}

static void send_reply(struct gdb_session *s)
{
	if (s->reply.full) { /* our own tables are too long for a packet: tell of an error, do not cut */
		s->reply.full = false;
		s->reply.len = 0;
		gdb_puts(&s->reply, "E22");
	}
	s->last_len = gdb_frame(&s->reply, s->last, sizeof(s->last));
	out_bytes(s, s->last, s->last_len);
}

static void begin_reply(struct gdb_session *s)
{
	s->reply.len = 0;
	s->reply.full = false;
}

static void put_error(struct gdb_session *s, int err)
{
	gdb_printf(&s->reply, "E%02x", (unsigned)(err < 0 ? -err : err) & 0xff);
}

static void put_ok(struct gdb_session *s, int err)
{
	if (err)
		put_error(s, err);
	else
		gdb_puts(&s->reply, "OK");
}

/* --- stops --- */

/* The stop is that of a watchpoint: tells its address. */
static bool put_watch(struct gdb_session *s)
{
	uint64_t linear;

	if (!s->target->watched(s->target->opaque, s->stop_cpu, &linear))
		return false;
	for (unsigned i = 0; i < s->watch_count; i++) {
		const struct engine_watch *w = &s->watch[i];

		if (w->linear != linear)
			continue;
		gdb_printf(&s->reply, "%s:%llx;", !w->load ? "watch" : w->store ? "awatch" : "rwatch",
			   (unsigned long long)linear);
		return true;
	}
	return false;
}

static void put_stop(struct gdb_session *s)
{
	struct vcpu_state state;
	uint64_t rip;

	gdb_printf(&s->reply, "T%02xthread:%x;", s->stop_signal, s->stop_cpu + 1);
	if (s->watch_count && s->stop_signal == GDB_SIGTRAP && put_watch(s))
		return;
	if (!s->swbreak || !s->breakpoint_count || s->stop_signal != GDB_SIGTRAP ||
	    s->target->get_state(s->target->opaque, s->stop_cpu, &state))
		return;
	rip = linear_rip(&state);
	for (unsigned i = 0; i < s->breakpoint_count; i++) {
		if (s->breakpoint[i].addr != rip)
			continue;
		gdb_puts(&s->reply, s->breakpoint[i].hardware ? "hwbreak:;" : "swbreak:;");
		return;
	}
}

void gdb_session_begin(struct gdb_session *s, const struct gdb_target *target)
{
	memset(s, 0, sizeof(*s));
	s->target = target;
	s->stop_signal = GDB_SIGTRAP;
}

void gdb_session_stopped(struct gdb_session *s, unsigned cpu, unsigned signal)
{
	s->stop_cpu = cpu < s->target->cpus ? cpu : 0;
	s->stop_signal = signal;
	s->cpu = s->stop_cpu;
	if (!s->running)
		return;
	s->running = false;
	begin_reply(s);
	put_stop(s);
	send_reply(s);
}

void gdb_session_exited(struct gdb_session *s, unsigned status)
{
	s->running = false;
	begin_reply(s);
	gdb_printf(&s->reply, "W%02x", status & 0xff);
	send_reply(s);
}

/* --- threads --- */

/* A thread id: 0 and -1 mean any and all. False when it is none of ours. */
static bool get_thread(struct gdb_session *s, const char **p, int *cpu)
{
	uint64_t id;

	*cpu = -1;
	if (gdb_get_word(p, "-1"))
		return true;
	if (!gdb_get_number(p, &id) || id > s->target->cpus)
		return false;
	*cpu = (int)id - 1;
	return true;
}

static void cmd_set_thread(struct gdb_session *s, const char *p)
{
	char op = *p;
	int cpu;

	if (op != 'g' && op != 'c') {
		put_error(s, EINVAL);
		return;
	}
	p++;
	if (!get_thread(s, &p, &cpu) || *p) {
		put_error(s, EINVAL);
		return;
	}
	/* Hc is only for s and c, which mean all here; vCont names its threads. */
	if (op == 'g')
		s->cpu = cpu < 0 ? s->stop_cpu : (unsigned)cpu;
	gdb_puts(&s->reply, "OK");
}

static void cmd_thread_alive(struct gdb_session *s, const char *p)
{
	int cpu;

	put_ok(s, get_thread(s, &p, &cpu) && cpu >= 0 && !*p ? 0 : EINVAL);
}

static void put_threads(struct gdb_session *s)
{
	if (s->thread_next >= s->target->cpus) {
		gdb_puts(&s->reply, "l");
		return;
	}
	for (char sep = 'm'; s->thread_next < s->target->cpus; sep = ',')
		gdb_printf(&s->reply, "%c%x", sep, ++s->thread_next);
}

static void put_thread_info(struct gdb_session *s, const char *p)
{
	struct vcpu_state state;
	static const char *const activity[] = { "running", "halted", "waiting for a startup IPI", "shut down" };
	const char *text;
	int cpu;

	if (!get_thread(s, &p, &cpu) || cpu < 0) {
		put_error(s, EINVAL);
		return;
	}
	if (s->target->get_state(s->target->opaque, (unsigned)cpu, &state) || state.activity > VCPU_SHUTDOWN)
		text = "unknown";
	else
		text = activity[state.activity];
	gdb_put_hex(&s->reply, text, strlen(text));
}

/* --- registers --- */

static void cmd_get_registers(struct gdb_session *s)
{
	struct vcpu_state state;
	uint8_t bytes[GDB_REG_SIZE_MAX];
	int err = s->target->get_state(s->target->opaque, s->cpu, &state);

	if (err) {
		put_error(s, err);
		return;
	}
	for (unsigned i = 0; i < gdb_reg_count(); i++)
		gdb_put_hex(&s->reply, bytes, gdb_reg_get(&state, i, bytes));
}

static void cmd_set_registers(struct gdb_session *s, const char *p)
{
	struct vcpu_state state;
	uint8_t bytes[GDB_REG_SIZE_MAX];
	int err = s->target->get_state(s->target->opaque, s->cpu, &state);

	for (unsigned i = 0; i < gdb_reg_count() && !err && *p; i++) {
		if (!gdb_get_hex(&p, bytes, gdb_reg_size(i)))
			err = -EINVAL;
		else
			gdb_reg_put(&state, i, bytes);
	}
	if (!err && *p)
		err = -EINVAL;
	put_ok(s, err ? err : s->target->set_state(s->target->opaque, s->cpu, &state));
}

static void cmd_get_register(struct gdb_session *s, const char *p)
{
	struct vcpu_state state;
	uint8_t bytes[GDB_REG_SIZE_MAX];
	uint64_t n;
	int err;

	if (!gdb_get_number(&p, &n) || *p || n >= gdb_reg_count()) {
		put_error(s, EINVAL);
		return;
	}
	err = s->target->get_state(s->target->opaque, s->cpu, &state);
	if (err)
		put_error(s, err);
	else
		gdb_put_hex(&s->reply, bytes, gdb_reg_get(&state, (unsigned)n, bytes));
}

static void cmd_set_register(struct gdb_session *s, const char *p)
{
	struct vcpu_state state;
	uint8_t bytes[GDB_REG_SIZE_MAX];
	uint64_t n;
	int err;

	if (!gdb_get_number(&p, &n) || n >= gdb_reg_count() || !gdb_get_word(&p, "=") ||
	    !gdb_get_hex(&p, bytes, gdb_reg_size((unsigned)n)) || *p) {
		put_error(s, EINVAL);
		return;
	}
	err = s->target->get_state(s->target->opaque, s->cpu, &state);
	if (!err) {
		gdb_reg_put(&state, (unsigned)n, bytes);
		err = s->target->set_state(s->target->opaque, s->cpu, &state);
	}
	put_ok(s, err);
}

/* --- memory --- */

static void cmd_read(struct gdb_session *s, const char *p)
{
	uint8_t bytes[MEM_MAX];
	uint64_t addr, len;
	size_t n;

	if (!gdb_get_number(&p, &addr) || !gdb_get_word(&p, ",") || !gdb_get_number(&p, &len) || *p) {
		put_error(s, EINVAL);
		return;
	}
	if (len > MEM_MAX)
		len = MEM_MAX;
	n = s->target->read(s->target->opaque, s->cpu, addr, bytes, (size_t)len);
	if (!n && len)
		put_error(s, EFAULT);
	else
		gdb_put_hex(&s->reply, bytes, n);
}

/* M (digits) and X (bytes; @end is the end of the packet). */
static void cmd_write(struct gdb_session *s, const char *p, const char *end, bool binary)
{
	uint8_t bytes[GDB_PACKET_MAX];
	uint64_t addr, len;

	if (!gdb_get_number(&p, &addr) || !gdb_get_word(&p, ",") || !gdb_get_number(&p, &len) ||
	    !gdb_get_word(&p, ":") || len > sizeof(bytes)) {
		put_error(s, EINVAL);
		return;
	}
	if (binary) {
		if ((size_t)(end - p) != len) {
			put_error(s, EINVAL);
			return;
		}
		memcpy(bytes, p, (size_t)len);
	} else if (!gdb_get_hex(&p, bytes, (size_t)len) || *p) {
		put_error(s, EINVAL);
		return;
	}
	put_ok(s, s->target->write(s->target->opaque, s->cpu, addr, bytes, (size_t)len) == len ? 0 : EFAULT);
}

/* --- breakpoints --- */

/* Types 2, 3 and 4: stores, loads, both. */
static void watchpoint(struct gdb_session *s, const struct engine_watch *w, bool insert)
{
	unsigned i;

	if (!w->len || w->len > ENGINE_WATCH_LEN_MAX) {
		put_error(s, EINVAL);
		return;
	}
	for (i = 0; i < s->watch_count; i++) {
		const struct engine_watch *o = &s->watch[i];

		if (o->linear == w->linear && o->len == w->len && o->load == w->load && o->store == w->store)
			break;
	}
	if (insert && i == s->watch_count) {
		if (i == ENGINE_WATCHES_MAX) {
			put_error(s, ENOSPC);
			return;
		}
		s->watch[s->watch_count++] = *w;
	} else if (!insert && i < s->watch_count) {
		s->watch[i] = s->watch[--s->watch_count];
	}
	put_ok(s, s->target->watch(s->target->opaque, s->watch, s->watch_count));
}

/* Z and z: "type,addr,kind"; types 0 and 1 are the same here. */
static void cmd_breakpoint(struct gdb_session *s, const char *p, bool insert)
{
	bool hardware = *p == '1';
	uint64_t addr, kind;
	char type = *p;
	unsigned i;

	if (type < '0' || type > (s->target->watch ? '4' : '1'))
		return;
	p++;
	if (!gdb_get_word(&p, ",") || !gdb_get_number(&p, &addr) || !gdb_get_word(&p, ",") ||
	    !gdb_get_number(&p, &kind)) {
		put_error(s, EINVAL);
		return;
	}
	if (type >= '2') {
		watchpoint(s, &(struct engine_watch){ addr, kind, .load = type != '2', .store = type != '3' }, insert);
		return;
	}
	for (i = 0; i < s->breakpoint_count; i++) {
		if (s->breakpoint[i].addr == addr && s->breakpoint[i].hardware == hardware)
			break;
	}
	if (insert && i == s->breakpoint_count) {
		if (i == ENGINE_BREAKPOINTS_MAX) {
			put_error(s, ENOSPC);
			return;
		}
		s->breakpoint[s->breakpoint_count++] = (struct gdb_breakpoint){ addr, hardware };
	} else if (!insert && i < s->breakpoint_count) {
		s->breakpoint[i] = s->breakpoint[--s->breakpoint_count];
	}
	gdb_puts(&s->reply, "OK");
}

/* --- going on --- */

static void resume(struct gdb_session *s, const enum gdb_action *action)
{
	uint64_t list[ENGINE_BREAKPOINTS_MAX];

	for (unsigned i = 0; i < s->breakpoint_count; i++)
		list[i] = s->breakpoint[i].addr;
	s->running = true;
	s->target->resume(s->target->opaque, action, list, s->breakpoint_count);
}

/* c, s, C, S: [signal;][addr]. Signals mean nothing to a CPU. False: answered. */
static bool cmd_go(struct gdb_session *s, const char *p, bool signal, enum gdb_action what)
{
	enum gdb_action action[VCPUS_MAX];
	struct vcpu_state state;
	uint64_t addr, ignored;
	int err;

	if (signal && (!gdb_get_number(&p, &ignored) || (*p && !gdb_get_word(&p, ";")))) {
		put_error(s, EINVAL);
		return false;
	}
	if (*p) {
		if (!gdb_get_number(&p, &addr) || *p) {
			put_error(s, EINVAL);
			return false;
		}
		err = s->target->get_state(s->target->opaque, s->cpu, &state);
		if (!err) {
			state.rip = addr;
			err = s->target->set_state(s->target->opaque, s->cpu, &state);
		}
		if (err) {
			put_error(s, err);
			return false;
		}
	}
	for (unsigned i = 0; i < s->target->cpus; i++)
		action[i] = what == GDB_CONTINUE ? GDB_CONTINUE : i == s->cpu ? GDB_STEP : GDB_STAY;
	resume(s, action);
	return true;
}

/* vCont;action[:thread][;action[:thread]]...: the leftmost that names a thread counts for it. */
static bool cmd_vcont(struct gdb_session *s, const char *p)
{
	enum gdb_action action[VCPUS_MAX];
	bool named[VCPUS_MAX] = { false };
	bool any = false;

	for (unsigned i = 0; i < VCPUS_MAX; i++)
		action[i] = GDB_STAY;
	while (gdb_get_word(&p, ";")) {
		char op = *p;
		enum gdb_action what = op == 's' || op == 'S' ? GDB_STEP : GDB_CONTINUE;
		uint64_t signal;
		int cpu = -1;

		if (op != 'c' && op != 'C' && op != 's' && op != 'S')
			break;
		p++;
		if ((op == 'C' || op == 'S') && !gdb_get_number(&p, &signal))
			break;
		if (gdb_get_word(&p, ":") && !get_thread(s, &p, &cpu))
			break;
		for (unsigned i = 0; i < s->target->cpus; i++) {
			if ((cpu < 0 || (unsigned)cpu == i) && !named[i]) {
				action[i] = what;
				named[i] = true;
				any = true;
			}
		}
	}
	if (*p || !any) {
		put_error(s, EINVAL);
		return false;
	}
	resume(s, action);
	return true;
}

/* --- queries --- */

/* qXfer:features:read:target.xml:offset,length */
static void put_features(struct gdb_session *s, const char *p)
{
	uint64_t offset, len;
	size_t total;
	const char *xml;

	if (!gdb_get_word(&p, "target.xml:") || !gdb_get_number(&p, &offset) || !gdb_get_word(&p, ",") ||
	    !gdb_get_number(&p, &len) || *p) {
		gdb_puts(&s->reply, "E00");
		return;
	}
	xml = gdb_target_xml(&total);
	if (offset > total) {
		put_error(s, EINVAL);
		return;
	}
	if (len > GDB_PACKET_MAX - 1)
		len = GDB_PACKET_MAX - 1;
	if (len > total - offset)
		len = total - offset;
	gdb_puts(&s->reply, offset + len == total ? "l" : "m");
	gdb_put(&s->reply, xml + offset, (size_t)len);
}

static void cmd_query(struct gdb_session *s, const char *p)
{
	if (gdb_get_word(&p, "Supported")) {
		s->swbreak = strstr(p, "swbreak+") != NULL;
		gdb_printf(&s->reply, "PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+",
			   (unsigned)GDB_PACKET_MAX);
	} else if (gdb_get_word(&p, "Xfer:features:read:")) {
		put_features(s, p);
	} else if (gdb_get_word(&p, "fThreadInfo")) {
		s->thread_next = 0;
		put_threads(s);
	} else if (gdb_get_word(&p, "sThreadInfo")) {
		put_threads(s);
	} else if (gdb_get_word(&p, "ThreadExtraInfo,")) {
		put_thread_info(s, p);
	} else if (gdb_get_word(&p, "Attached")) {
		gdb_puts(&s->reply, "1");
	} else if (strcmp(p, "C") == 0) {
		gdb_printf(&s->reply, "QC%x", s->cpu + 1);
	}
}

/* --- the packet --- */

/* True: no reply now. */
static bool command(struct gdb_session *s)
{
	const char *p = s->rx.data + 1, *end = s->rx.data + s->rx.len;

	switch (s->rx.data[0]) {
	case '?': put_stop(s); break;
	case 'g': cmd_get_registers(s); break;
	case 'G': cmd_set_registers(s, p); break;
	case 'p': cmd_get_register(s, p); break;
	case 'P': cmd_set_register(s, p); break;
	case 'm': cmd_read(s, p); break;
	case 'M': cmd_write(s, p, end, false); break;
	case 'X': cmd_write(s, p, end, true); break;
	case 'Z': cmd_breakpoint(s, p, true); break;
	case 'z': cmd_breakpoint(s, p, false); break;
	case 'c': return cmd_go(s, p, false, GDB_CONTINUE);
	case 'C': return cmd_go(s, p, true, GDB_CONTINUE);
	case 's': return cmd_go(s, p, false, GDB_STEP);
	case 'S': return cmd_go(s, p, true, GDB_STEP);
	case 'H': cmd_set_thread(s, p); break;
	case 'T': cmd_thread_alive(s, p); break;
	case 'q': cmd_query(s, p); break;
	case 'Q':
		if (strcmp(p, "StartNoAckMode") == 0) {
			gdb_puts(&s->reply, "OK");
			s->no_ack = true;
		}
		break;
	case 'v':
		if (gdb_get_word(&p, "Cont?"))
			gdb_puts(&s->reply, "vCont;c;C;s;S");
		else if (gdb_get_word(&p, "Cont"))
			return cmd_vcont(s, p);
		break;
	case 'D':
		gdb_puts(&s->reply, "OK");
		s->detached = true;
		break;
	case 'k':
		s->target->kill(s->target->opaque);
		return true;
	default: break;
	}
	return false;
}

static void packet(struct gdb_session *s)
{
	if (!s->no_ack)
		out_bytes(s, "+", 1);
	/* The debugger waits for a stop reply now; only killing needs no CPU to stand. */
	if (s->running && s->rx.data[0] != 'k')
		return;
	begin_reply(s);
	if (!command(s))
		send_reply(s);
}

void gdb_session_feed(struct gdb_session *s, const void *bytes, size_t len)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len && !s->broken && !s->detached; i++) {
		switch (gdb_rx_byte(&s->rx, b[i])) {
		case GDB_PACKET:
			packet(s);
			break;
		case GDB_BAD:
			if (!s->no_ack)
				out_bytes(s, "-", 1);
			break;
		case GDB_NAK:
			if (!s->no_ack)
				out_bytes(s, s->last, s->last_len);
			break;
		case GDB_INTERRUPT:
			if (s->running && s->target->interrupt(s->target->opaque) == 0)
				gdb_session_stopped(s, s->stop_cpu, GDB_SIGINT);
			break;
		default:
			break;
		}
	}
}
