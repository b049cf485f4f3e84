// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Console device: virtio 1.2, 5.3, with several ports. Port 0 is a console (hvc0 in Linux); the others are byte streams with a name
 * (/dev/virtio-ports/NAME).
 *
 * A back-end takes what the guest writes by `put`, and says virtio_console_output_ready when there is room again; what it has for the
 * guest it gives by virtio_console_input. All of this happens on the I/O thread.
 */
#ifndef SUBRING_VIRTIO_CONSOLE_H
#define SUBRING_VIRTIO_CONSOLE_H

#include "virtio/device.h"

enum { VIRTIO_CONSOLE_PORTS_MAX = 8, VIRTIO_CONSOLE_NAME_MAX = 63 };

struct virtio_console_port {
	const char *name; /* NULL or "": none; copied */
	/*
	 * The guest's bytes, on the I/O thread with the device's lock held (so it may not call back; it may loop_post): how many were taken. Fewer
	 * than @len: the rest is offered again after virtio_console_output_ready. NULL: bytes vanish.
	 */
	size_t (*put)(void *opaque, const uint8_t *bytes, size_t len);
	/* The guest opened or closed the port, or has room for input again. As put. May be NULL. */
	void (*changed)(void *opaque);
	void *opaque;
};

struct virtio_console;

int virtio_console_create(struct ram *ram, struct loop *loop, const struct virtio_console_port *ports, unsigned count,
			  struct virtio_console **out);
void virtio_console_destroy(struct virtio_console *c); /* NULL is fine */
struct virtio_device *virtio_console_device(struct virtio_console *c);

/* On the I/O thread. */

/* Bytes for the guest; how many it took. 0: it has no room or has not opened the port; `changed` tells when that is otherwise. */
size_t virtio_console_input(struct virtio_console *c, unsigned port, const uint8_t *bytes, size_t len);
/* The back-end of @port takes bytes again. */
void virtio_console_output_ready(struct virtio_console *c, unsigned port);
/* Whether something is at the host's end of the port: the guest's writers wait without. True at first. */
void virtio_console_connect(struct virtio_console *c, unsigned port, bool connected);
/* The size of port 0's terminal. */
void virtio_console_resize(struct virtio_console *c, uint16_t columns, uint16_t rows);

/* State: which ports the driver knows, and what it has not been told. */
extern const struct chip_ops virtio_console_ops;

#endif
