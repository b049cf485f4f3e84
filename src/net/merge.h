// SPDX-License-Identifier: GPL-2.0-or-later
/* Segments of TCP that follow each other are put together into one frame for a device that takes segmentation. */
#ifndef SUBRING_NET_MERGE_H
#define SUBRING_NET_MERGE_H

#include "net/net_private.h"

enum { MERGE_MIN = 256 }; /* bytes of data in a segment */

struct merge {
	struct net_port *port;
	size_t len; /* of what is put together; 0: nothing is */
	size_t headers, segment;
	unsigned segments;
	uint32_t next_seq;
	uint8_t frame[NET_FRAME_MAX];
};

/* A frame for the device, with whole checksums; it is delivered now or by merge_flush. */
void merge_frame(struct merge *m, const uint8_t *frame, size_t len);
void merge_flush(struct merge *m);

#endif
