// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Socket device: virtio 1.2, 5.10: streams between the guest and programs of the host, whose end is Unix sockets, as Firecracker has them.
 *
 * To the guest: a program connects to PATH, writes "CONNECT PORT\n", and reads "OK HOSTPORT\n" when the guest has accepted; else it
 * finds the connection closed. From the guest: a connection to port PORT of CID 2 is one to the Unix socket PATH_PORT.
 *
 * A half that is shut down is passed on; what the guest sends while the program does not read waits here, at most VIRTIO_VSOCK_BUFFER a
 * connection, which is what the guest is told.
 */
#ifndef SUBRING_VIRTIO_VSOCK_H
#define SUBRING_VIRTIO_VSOCK_H

#include "virtio/device.h"

enum { VIRTIO_VSOCK_HOST_CID = 2, VIRTIO_VSOCK_CONNECTIONS_MAX = 256, VIRTIO_VSOCK_BUFFER = 256 << 10 };

struct virtio_vsock;

/*
 * @cid: the guest's, above 2. @path: where to listen; a socket that nobody listens on is replaced. 0, or a negative errno with @err.
 */
int virtio_vsock_create(struct ram *ram, struct loop *loop, uint32_t cid, const char *path, struct virtio_vsock **out,
			struct error *err);
void virtio_vsock_destroy(struct virtio_vsock *v); /* NULL is fine; removes PATH */
struct virtio_device *virtio_vsock_device(struct virtio_vsock *v);

/* State: connections do not outlive a VM; after loading the driver is told so (5.10.6.7). */
extern const struct chip_ops virtio_vsock_ops;

#endif
