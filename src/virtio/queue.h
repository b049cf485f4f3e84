// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Virtqueues, seen from the device: split (virtio 1.2, 2.7) and packed (2.8), with indirect descriptors and event suppression
 * by flags and by event index. A queue knows guest memory and nothing of devices, registers or interrupts.
 *
 * What the device gets of a chain of descriptors is a struct virtq_element: ranges of guest memory, the device-readable
 * ("out") ones first, then the device-writable ("in") ones. They are ranges, not pointers: virtq_read and virtq_write
 * copy, and virtq_map makes an iovec for the time of one request.
 *
 * Hostile drivers. Everything in guest memory may be anything, and may change while it is read; what was checked is not read again. A chain
 * that cannot be (it loops, an index runs wild, memory is not there, it breaks the rules of 2.7.4.2 or 2.7.5.3) is
 * told as -EPROTO, after which the device needs a reset; so is a ring that is not in RAM. The descriptors of one chain, the chains in
 * flight and their memory are bounded.
 *
 * Threads: the caller sees to it that one thread at a time uses a queue (device.h: the device's lock).
 */
#ifndef SUBRING_VIRTIO_QUEUE_H
#define SUBRING_VIRTIO_QUEUE_H

#include "mem/mem.h"
#include "state/state.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
	VIRTQ_SIZE_MAX = 1024,	/* entries of a ring */
	VIRTQ_CHAIN_MAX = 1024, /* descriptors of a chain */
	VIRTQ_IOV_MAX = 16384,	/* parts of a mapped chain */
};

struct virtq {
	/* as the driver set it up (saved) */
	uint16_t size;			 /* entries; a power of two when split */
	bool ready;
	uint64_t desc, driver, device;	 /* areas: guest-physical addresses (2.6) */
	uint16_t vector;		 /* of its interrupts; the transport's */
	/* where the device is (saved) */
	uint16_t next_avail, next_used;	 /* split: free-running; packed: places in the ring */
	bool avail_wrap, used_wrap;	 /* packed: the wrap counters (2.8.1) */
	uint16_t unsignalled;		 /* entries used since it was last decided on an interrupt */
	bool kicks;			 /* the driver was told that it shall notify */
	/* negotiated, and fixed */
	bool packed, indirect, event_idx;
	uint16_t size_max;
	struct ram *ram;
	uint16_t in_flight;		 /* entries (packed) or chains (split) popped and not yet pushed */
};

struct virtq_segment {
	uint64_t gpa;
	uint32_t len;
};

/* Zero it before its first use; virtq_element_free when it is no longer needed. It may be popped into again and again. */
struct virtq_element {
	uint16_t id;	  /* split: the head's index; packed: the buffer ID */
	uint16_t entries; /* of the ring that it takes */
	unsigned outs, ins;
	uint64_t out_len, in_len;
	struct virtq_segment *seg; /* outs, then ins */
	unsigned seg_max;
};

/* Parts in the host's memory. Zero it before its first use; may be used again after count was set to 0. */
struct virtq_iov {
	struct iovec *iov;
	unsigned count, max;
};

/* As after a reset of the device. */
void virtq_reset(struct virtq *q);
/* The driver says that it is ready, with @features negotiated. -EINVAL when its size or an address cannot be. */
int virtq_start(struct virtq *q, uint64_t features);

/* The next available chain: 1 and @e, 0 when there is none, -EPROTO or -ENOMEM. */
int virtq_pop(struct virtq *q, struct virtq_element *e);
/* Puts back @e, the last one that was popped. */
void virtq_unpop(struct virtq *q, const struct virtq_element *e);
/*
 * Gives @n elements back, @written[i] bytes of whose in part were written: all become visible to the driver at one moment.
 * -EPROTO when the ring is not in RAM.
 */
int virtq_push(struct virtq *q, const struct virtq_element *e, const uint32_t *written, unsigned n);
/* Whether the driver wants an interrupt for what was pushed since it was last asked: 1, 0 or -EPROTO. */
int virtq_interrupt(struct virtq *q);
/*
 * Tells the driver whether to notify of new chains (a hint). 1: there are chains now, which it may not have
 * notified of, 0: there are none, or -EPROTO.
 */
int virtq_want_kicks(struct virtq *q, bool on);

/* Copies from the out part, from @offset on. 0, -ENODATA when it is too short, -EPROTO when it is not in RAM. */
int virtq_read(struct virtq *q, const struct virtq_element *e, uint64_t offset, void *buf, uint64_t len);
/* Copies to the in part. */
int virtq_write(struct virtq *q, const struct virtq_element *e, uint64_t offset, const void *buf, uint64_t len);
/*
 * Appends [offset, offset + len) of the out or in part to @v, for I/O by the kernel. -ENODATA, -EPROTO, -E2BIG, -ENOMEM. What was mapped as
 * in is given to virtq_unmap_in, with the same range, after the last byte was stored; also after a failure of this.
 */
int virtq_map(struct virtq *q, const struct virtq_element *e, bool in, uint64_t offset, uint64_t len, struct virtq_iov *v);
void virtq_unmap_in(struct virtq *q, const struct virtq_element *e, uint64_t offset, uint64_t len);

void virtq_element_free(struct virtq_element *e);
void virtq_iov_free(struct virtq_iov *v);

/* Saved with nothing in flight. */
extern const struct state_field virtq_fields[];
int virtq_loaded(struct virtq *q, uint64_t features); /* 0 or -EPROTO */

/* The rings' own parts, for queue.c: queue_split.c and queue_packed.c. */
int virtq_split_pop(struct virtq *q, struct virtq_element *e);
int virtq_split_push(struct virtq *q, const struct virtq_element *e, const uint32_t *written, unsigned n);
int virtq_split_interrupt(struct virtq *q, uint16_t used);
int virtq_split_want_kicks(struct virtq *q, bool on);
int virtq_packed_pop(struct virtq *q, struct virtq_element *e);
int virtq_packed_push(struct virtq *q, const struct virtq_element *e, const uint32_t *written, unsigned n);
int virtq_packed_interrupt(struct virtq *q, uint16_t used);
int virtq_packed_want_kicks(struct virtq *q, bool on);
/* Appends a descriptor's range; -EPROTO for a readable one after a writable one. */
int virtq_element_add(struct virtq_element *e, uint64_t gpa, uint32_t len, bool in);
/* Guest memory as little-endian numbers; -EPROTO. */
int virtq_get16(struct virtq *q, uint64_t gpa, uint16_t *v);
int virtq_put16(struct virtq *q, uint64_t gpa, uint16_t v);
/* vring_need_event of 2.7.10: whether @event is among the last @n values up to @now. */
static inline bool virtq_passed(uint16_t event, uint16_t now, uint16_t n)
{
	return (uint16_t)(now - event - 1) < n;
}

/* Flags of descriptors (2.7.5, 2.8.13) */
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4, DESC_AVAIL = 1 << 7, DESC_USED = 1 << 15 };

#endif
