// SPDX-License-Identifier: GPL-2.0-or-later
/* A port for tests, in place of net/: it keeps what the device sends, and the test gives it frames through the device's callbacks. */
#ifndef SUBRING_TESTS_VIRTIO_FAKE_PORT_H
#define SUBRING_TESTS_VIRTIO_FAKE_PORT_H

#include "net/net.h"

enum { FAKE_FRAMES = 64 };

struct net_port {
	bool paused, full, down;
	unsigned gives;
	bool echo; /* what is sent comes back at once, from within net_send */
	const struct net_port_ops *ops;
	void *opaque;
	unsigned sent;
	struct fake_frame {
		size_t len;
		struct net_offload o;
		uint8_t bytes[2048]; /* the first of them */
	} frame[FAKE_FRAMES];
};

#endif
