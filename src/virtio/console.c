// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Console device: virtio 1.2, 5.3. See console.h.
 *
 * Queues (5.3.2): 0 and 1 are port 0's input and output, 2 and 3 the control queues, then a pair for each further port. What is to be
 * said by the control queue is kept as bits of each port (`tell`), in the order in which a driver has to hear it, so that a driver
 * without buffers makes nothing grow.
 *
 * Output that the back-end does not take stays in the ring: `out_done` is how much of the first chain has been taken.
 */
#include "virtio/console.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONSOLE_F_SIZE (1ull << 0)
#define CONSOLE_F_MULTIPORT (1ull << 1)
#define CONSOLE_F_EMERG_WRITE (1ull << 2)

enum { COLUMNS = 0, ROWS = 2, MAX_PORTS = 4, EMERGENCY = 8, CONFIG_SIZE = 12 };
enum { QUEUE_SIZE = 128, EMERGENCY_MAX = 256, CONTROL_IN = 2, CONTROL_OUT = 3 };
/* Events of the control queues (5.3.6.2) */
enum {
	DEVICE_READY = 0, PORT_ADD = 1, PORT_REMOVE = 2, PORT_READY = 3, CONSOLE_PORT = 4, RESIZE = 5, PORT_OPEN = 6,
	PORT_NAME = 7,
};
/* What a driver is to be told, lowest bit first. */
enum { TELL_ADD = 1, TELL_CONSOLE = 2, TELL_NAME = 4, TELL_SIZE = 8, TELL_OPEN = 16, TELL_ALL = 31 };

struct control {
	uint32_t id;
	uint16_t event, value;
};
_Static_assert(sizeof(struct control) == 8, "5.3.6.2");

struct port {
	/* saved */
	uint8_t tell;
	bool guest_open; /* the driver said so; without MULTIPORT always */
	uint32_t out_done;
	/* not saved */
	bool connected, stalled;
	struct virtio_console_port host;
	char name[VIRTIO_CONSOLE_NAME_MAX + 1];
};

struct virtio_console {
	struct virtio_device dev;
	unsigned ports;
	struct port port[VIRTIO_CONSOLE_PORTS_MAX];
	struct virtq_element e;
	uint8_t emergency[EMERGENCY_MAX]; /* on its way to port 0's back-end */
	unsigned emergency_len;
};

struct virtio_device *virtio_console_device(struct virtio_console *c)
{
	return &c->dev;
}

static unsigned input_queue(unsigned port)
{
	return port ? port * 2 + 2 : 0;
}

/* The port of queue @n, which is not a control queue. */
static unsigned port_of(unsigned n)
{
	return n < 2 ? 0 : n / 2 - 1;
}

static void host_changed(struct port *p)
{
	if (p->host.changed)
		p->host.changed(p->host.opaque);
}

/* --- what the driver is told --- */

/* The message of bit @bit into @text: its length. */
static size_t message(struct virtio_console *c, unsigned n, unsigned bit, uint8_t *text)
{
	struct port *p = &c->port[n];
	struct control m = { .id = n };
	size_t len = sizeof(m), name = strlen(p->name);

	switch (bit) {
	case TELL_ADD: m.event = PORT_ADD; break;
	case TELL_CONSOLE:
		m.event = CONSOLE_PORT;
		m.value = 1;
		break;
	case TELL_NAME:
		m.event = PORT_NAME;
		m.value = 1;
		memcpy(text + len, p->name, name);
		len += name;
		break;
	case TELL_SIZE:
		m.event = RESIZE;
		/*
		 * The specification has columns before rows (struct virtio_console_resize), Linux, the driver that reads it,
		 * rows before columns, in all its versions that Debian ships. So it gets them in its order.
		 */
		memcpy(text + len, &c->dev.config[ROWS], 2);
		memcpy(text + len + 2, &c->dev.config[COLUMNS], 2);
		len += 4;
		break;
	default:
		m.event = PORT_OPEN;
		m.value = p->connected;
		break;
	}
	memcpy(text, &m, sizeof(m));
	return len;
}

/* Bits that say nothing of this port. */
static uint8_t meaningless(const struct virtio_console *c, unsigned n)
{
	uint8_t no = 0;

	no |= n ? TELL_CONSOLE | TELL_SIZE : 0;
	no |= c->port[n].name[0] ? 0 : TELL_NAME;
	no |= virtio_has(&c->dev, CONSOLE_F_SIZE) ? 0 : TELL_SIZE;
	return no;
}

/* Says what there is to say, as far as the driver has buffers. */
static enum virtio_queue_result tell(struct virtio_console *c)
{
	uint8_t text[sizeof(struct control) + VIRTIO_CONSOLE_NAME_MAX + 1];
	bool any = false;

	for (unsigned n = 0; n < c->ports; n++) {
		struct port *p = &c->port[n];

		for (p->tell &= (uint8_t)~meaningless(c, n); p->tell; p->tell &= p->tell - 1) {
			size_t len = message(c, n, p->tell & -p->tell, text);

			if (!virtio_pop(&c->dev, CONTROL_IN, &c->e)) {
				if (any)
					virtio_notify(&c->dev, CONTROL_IN);
				return VIRTIO_QUEUE_DONE; /* goes on when there are buffers */
			}
			/* 5.3.6.2.1: a driver's buffers may be too small: then it gets what fits. */
			if (len > c->e.in_len)
				len = c->e.in_len;
			if (virtq_write(&c->dev.queue[CONTROL_IN], &c->e, 0, text, len))
				virtio_needs_reset(&c->dev);
			virtio_push(&c->dev, CONTROL_IN, &c->e, (uint32_t)len);
			any = true;
		}
	}
	if (any)
		virtio_notify(&c->dev, CONTROL_IN);
	return VIRTIO_QUEUE_LEFT;
}

static void tell_later(struct virtio_console *c, unsigned n, uint8_t bits)
{
	c->port[n].tell |= bits;
	if (virtio_running(&c->dev) && virtio_has(&c->dev, CONSOLE_F_MULTIPORT))
		virtio_kick(&c->dev, CONTROL_IN);
}

/* --- what the driver says --- */

static void heard(struct virtio_console *c, const struct control *m)
{
	struct port *p = m->id < c->ports ? &c->port[m->id] : NULL;

	switch (m->event) {
	case DEVICE_READY:
		for (unsigned n = 0; n < c->ports && m->value; n++)
			tell_later(c, n, TELL_ADD);
		break;
	case PORT_READY:
		if (p && m->value)
			tell_later(c, m->id, TELL_ALL & ~TELL_ADD);
		break;
	case PORT_OPEN:
		if (p) {
			p->guest_open = m->value;
			host_changed(p);
		}
		break;
	default: break;
	}
}

static enum virtio_queue_result listen_to(struct virtio_console *c)
{
	while (virtio_pop(&c->dev, CONTROL_OUT, &c->e)) {
		struct control m;

		if (virtq_read(&c->dev.queue[CONTROL_OUT], &c->e, 0, &m, sizeof(m)) == 0)
			heard(c, &m);
		virtio_push(&c->dev, CONTROL_OUT, &c->e, 0);
	}
	return VIRTIO_QUEUE_DONE;
}

/* --- bytes --- */

/* Offers the chain's bytes from out_done on to the back-end: true when all were taken. */
static bool put_chain(struct virtio_console *c, struct port *p, unsigned n)
{
	uint8_t bytes[4096];

	while (p->out_done < c->e.out_len && p->host.put) {
		uint64_t left = c->e.out_len - p->out_done;
		size_t len = left < sizeof(bytes) ? left : sizeof(bytes), taken;

		if (virtq_read(&c->dev.queue[n], &c->e, p->out_done, bytes, len)) {
			virtio_needs_reset(&c->dev);
			break;
		}
		taken = p->host.put(p->host.opaque, bytes, len);
		p->out_done += (uint32_t)(taken < len ? taken : len);
		if (taken < len)
			return false;
		/* A chain may have 4 GiB: nobody waits that long for the lock. */
		if (c->dev.budget <= 1)
			return false;
		c->dev.budget--;
	}
	return true;
}

static enum virtio_queue_result output(struct virtio_console *c, unsigned n)
{
	struct port *p = &c->port[port_of(n)];

	p->stalled = false;
	while (virtio_pop(&c->dev, n, &c->e)) {
		/* Another chain than was begun, or it shrank: a driver that does so gets what comes. */
		if (put_chain(c, p, n)) {
			p->out_done = 0;
			virtio_push(&c->dev, n, &c->e, 0);
			continue;
		}
		virtio_unpop(&c->dev, n, &c->e);
		if (c->dev.budget <= 1)
			virtio_kick(&c->dev, n);
		else
			p->stalled = true;
		return VIRTIO_QUEUE_LEFT;
	}
	return VIRTIO_QUEUE_DONE;
}

void virtio_console_output_ready(struct virtio_console *c, unsigned port)
{
	if (port >= c->ports)
		return;
	virtio_lock(&c->dev);
	if (c->port[port].stalled)
		virtio_kick(&c->dev, input_queue(port) + 1);
	virtio_unlock(&c->dev);
}

size_t virtio_console_input(struct virtio_console *c, unsigned port, const uint8_t *bytes, size_t len)
{
	unsigned n = input_queue(port);
	size_t done = 0;

	if (port >= c->ports)
		return 0;
	virtio_lock(&c->dev);
	while (done < len && virtio_running(&c->dev) && c->dev.queue[n].ready && c->port[port].guest_open) {
		size_t part;

		if (!virtio_pop(&c->dev, n, &c->e)) {
			if (c->dev.budget && virtio_want_kicks(&c->dev, n, true))
				continue;
			break;
		}
		part = c->e.in_len < len - done ? c->e.in_len : len - done;
		if (virtq_write(&c->dev.queue[n], &c->e, 0, bytes + done, part))
			virtio_needs_reset(&c->dev);
		virtio_push(&c->dev, n, &c->e, (uint32_t)part);
		done += part;
	}
	if (done)
		virtio_notify(&c->dev, n);
	/* It had its share of buffers, and may go on: `changed` is called. */
	if (!c->dev.budget)
		virtio_kick(&c->dev, n);
	virtio_unlock(&c->dev);
	return done;
}

void virtio_console_connect(struct virtio_console *c, unsigned port, bool connected)
{
	if (port >= c->ports)
		return;
	virtio_lock(&c->dev);
	if (c->port[port].connected != connected) {
		c->port[port].connected = connected;
		tell_later(c, port, TELL_OPEN);
	}
	virtio_unlock(&c->dev);
}

void virtio_console_resize(struct virtio_console *c, uint16_t columns, uint16_t rows)
{
	virtio_lock(&c->dev);
	virtio_config_change(&c->dev, COLUMNS, 4, columns | (uint32_t)rows << 16);
	tell_later(c, 0, TELL_SIZE);
	virtio_unlock(&c->dev);
}

/* --- the model --- */

static enum virtio_queue_result console_queue(void *model, unsigned n)
{
	struct virtio_console *c = model;

	if (!virtio_has(&c->dev, CONSOLE_F_MULTIPORT) && n >= 2)
		return VIRTIO_QUEUE_DONE;
	if (n == CONTROL_IN)
		return tell(c);
	if (n == CONTROL_OUT)
		return listen_to(c);
	if (n & 1)
		return output(c, n);
	/* There are buffers for input. */
	host_changed(&c->port[port_of(n)]);
	return VIRTIO_QUEUE_LEFT;
}

static void console_reset(void *model)
{
	struct virtio_console *c = model;

	for (unsigned n = 0; n < VIRTIO_CONSOLE_PORTS_MAX; n++) {
		c->port[n].tell = 0;
		c->port[n].guest_open = false;
		c->port[n].out_done = 0;
		c->port[n].stalled = false;
	}
}

static void console_started(void *model)
{
	struct virtio_console *c = model;

	if (!virtio_has(&c->dev, CONSOLE_F_MULTIPORT))
		c->port[0].guest_open = true;
}

static void console_work(void *model)
{
	struct virtio_console *c = model;

	if (c->port[0].host.put && c->emergency_len)
		c->port[0].host.put(c->port[0].host.opaque, c->emergency, c->emergency_len);
	c->emergency_len = 0;
	for (unsigned n = 0; n < c->ports; n++)
		host_changed(&c->port[n]);
}

/* 5.3.4: a character for when nothing else works yet. What nobody takes in time is lost. */
static void console_config_written(void *model, unsigned offset, unsigned size)
{
	struct virtio_console *c = model;

	if (offset > EMERGENCY || offset + size <= EMERGENCY || c->emergency_len == EMERGENCY_MAX)
		return;
	c->emergency[c->emergency_len++] = c->dev.config[EMERGENCY];
	virtio_work(&c->dev);
}

static const struct virtio_model_ops model_ops = {
	.id = VIRTIO_ID_CONSOLE,
	.queue = console_queue,
	.reset = console_reset,
	.started = console_started,
	.work = console_work,
	.config_written = console_config_written,
};

/* --- state --- */

static int console_loaded(void *chip)
{
	struct virtio_console *c = chip;

	for (unsigned n = 0; n < VIRTIO_CONSOLE_PORTS_MAX; n++)
		if (c->port[n].tell > TELL_ALL || (n >= c->ports && (c->port[n].tell || c->port[n].guest_open)))
			return -EPROTO;
	virtio_lock(&c->dev);
	/* What is at the host's end is of this host. */
	for (unsigned n = 0; n < c->ports; n++)
		if (c->port[n].guest_open)
			c->port[n].tell |= TELL_OPEN;
	virtio_work(&c->dev);
	virtio_unlock(&c->dev);
	return 0;
}

static const struct state_field port_fields[] = {
	STATE_UINT(struct port, tell),
	STATE_UINT(struct port, guest_open),
	STATE_UINT(struct port, out_done),
	STATE_END,
};
static const struct state_field fields[] = { STATE_STRUCTS(struct virtio_console, port, port_fields), STATE_END };
static const struct state_class class = { "virtio-console", 1, fields };
const struct chip_ops virtio_console_ops = { .state = &class, .loaded = console_loaded };

/* --- building --- */

int virtio_console_create(struct ram *ram, struct loop *loop, const struct virtio_console_port *ports, unsigned count,
			  struct virtio_console **out)
{
	struct virtio_console *c = calloc(1, sizeof(*c));
	struct virtio_device_config config = {
		.ops = &model_ops,
		.model = c,
		.ram = ram,
		.loop = loop,
		.features = CONSOLE_F_SIZE | CONSOLE_F_MULTIPORT | CONSOLE_F_EMERG_WRITE,
		.queues = 2 + count * 2,
		.queue_size = QUEUE_SIZE,
		.config_size = CONFIG_SIZE,
	};
	int ret;

	if (!c)
		return -ENOMEM;
	ret = count && count <= VIRTIO_CONSOLE_PORTS_MAX ? virtio_device_init(&c->dev, &config) : -EINVAL;
	if (ret) {
		free(c);
		return ret;
	}
	c->ports = count;
	for (unsigned n = 0; n < count; n++) {
		const char *name = ports[n].name ? ports[n].name : "";

		c->port[n].host = ports[n];
		c->port[n].connected = true;
		memcpy(c->port[n].name, name, strnlen(name, VIRTIO_CONSOLE_NAME_MAX));
	}
	virtio_config_set(&c->dev, COLUMNS, 2, 80, false);
	virtio_config_set(&c->dev, ROWS, 2, 25, false);
	virtio_config_set(&c->dev, MAX_PORTS, 4, count, false);
	virtio_config_set(&c->dev, EMERGENCY, 4, 0, true);
	*out = c;
	return 0;
}

void virtio_console_destroy(struct virtio_console *c)
{
	if (!c)
		return;
	virtio_device_destroy(&c->dev);
	virtq_element_free(&c->e);
	free(c);
}
