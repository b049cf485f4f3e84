// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest memory: an optional read-only base file, a private memfd, and one shared byte for each
 * 4 KiB frame.
 *
 * Frames are numbered from 0 in the order of RAM offsets; slots map ranges of guest-physical
 * addresses (GPA) to RAM offsets. Whoever holds the three descriptors (struct ram_fds) can map
 * the same memory: the monitor and, when engine soft is a process of its own, that process.
 *
 * Rules that everything keeps:
 *  - Nobody outside mem/ and engine/soft keeps a raw host pointer into guest memory. Devices use
 *    ram_read and ram_write; kernel I/O (readv, io_uring) uses ram_write_begin/ram_write_end.
 *  - A frame without FRAME_PRESENT has its content in the base. Writing copies it first.
 *  - After a store to a frame that has FRAME_CODE, the writer must call ram_code_written: decoded
 *    or translated instructions of that frame are stale. The order is store, full barrier, look
 *    at the byte (readers of code note the frame's code_gen, set the byte, run membarrier(2), then
 *    read the bytes; what they made of them is good as long as code_gen stays).
 *  - ram_write sets FRAME_DIRTY; an engine sets it when it makes a frame writable for its vCPU.
 */
#ifndef SUBRING_MEM_MEM_H
#define SUBRING_MEM_MEM_H

#include "host/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { FRAME_SHIFT = 12, FRAME_SIZE = 1 << FRAME_SHIFT };

/* Bits of a frame's byte. All accesses are atomic. */
enum {
	FRAME_PRESENT = 1 << 0,  /* its content is in the memfd (else in the base) */
	FRAME_DIRTY = 1 << 1,	 /* written since the dirty log was last read */
	FRAME_CODE = 1 << 2,	 /* an engine holds decoded or translated instructions of it */
	FRAME_COW = 1 << 3,	 /* shared with a snapshot: copy before writing */
	FRAME_SNAPSHOT = 1 << 4, /* its content still has to be written to a snapshot */
	FRAME_BUSY = 1 << 5,	 /* mem/ only: somebody is copying it from the base */
};

enum { RAM_SLOTS_MAX = 16 };

struct ram_slot {
	uint64_t gpa, size; /* both multiples of 4096; size 0: unused */
	uint64_t offset;    /* into RAM */
	bool readonly;	    /* guest stores are ignored by the memory and leave the engine as MMIO */
};

/* What another process needs to map the same memory. Owned by the struct ram. */
struct ram_fds {
	int ram;    /* memfd, ram->size bytes */
	int frames; /* memfd: one byte a frame, then (from ram_code_gen_offset) a uint32_t a frame */
	int base;   /* read-only file, or -1 */
};

struct ram {
	uint64_t size; /* bytes, a multiple of 4096 */
	uint8_t *host; /* the memfd mapped whole: for mem/ and engine/soft only */
	const uint8_t *base;
	uint64_t base_frames; /* frames below this one come from the base until they are PRESENT; the others
			       * (all, without a base) are in the memfd, whether or not the bit is set */
	_Atomic uint8_t *frame;	     /* frame bytes */
	_Atomic uint32_t *code_gen;  /* one a frame: grows with each ram_code_written */
	struct ram_fds fds;
	struct ram_slot slot[RAM_SLOTS_MAX]; /* changed only while no vCPU runs */
	bool owner; /* made by ram_create: its descriptors are closed with it */
	/*
	 * Called in place of ram_code_written after a frame with code was written by someone other than the engine; may be NULL. It
	 * sees to it that ram_code_written is called before it returns, and what the engine made of the frame is void then.
	 */
	void (*code_written)(void *opaque, uint64_t frame);
	void *code_written_opaque;
};

/* Where code_gen begins in the frames memfd, and that file's size, for RAM of @size bytes. */
uint64_t ram_code_gen_offset(uint64_t size);
uint64_t ram_frames_size(uint64_t size);

/*
 * Memory that this process can have at most, in bytes: the host's, or the limit of its control
 * group; in @available, unless NULL, what is free at this moment.
 */
uint64_t ram_host_memory(uint64_t *available);

/*
 * Makes @size bytes of zeroed guest memory (over @base_path, a file of at most that size, if not
 * NULL). -ENOMEM and the like fill @err with STATUS_HOST. Pages are taken from the host as they
 * are touched.
 */
int ram_create(uint64_t size, const char *base_path, struct ram **out, struct error *err);
/* Maps memory that another process made; takes copies of the descriptors. */
int ram_attach(const struct ram_fds *fds, uint64_t size, struct ram **out);
void ram_destroy(struct ram *ram); /* NULL is fine */

/* Adds or (size 0) removes slot @index. -EINVAL for overlap, misalignment or a range outside RAM. */
int ram_set_slot(struct ram *ram, unsigned index, const struct ram_slot *slot);
/* The slot that holds @gpa, or NULL. */
const struct ram_slot *ram_find_slot(const struct ram *ram, uint64_t gpa);

/*
 * Copies @len bytes between guest memory and @buf. 0, or -EFAULT when any byte of the range is
 * outside every slot (nothing is copied then). Read-only slots accept ram_write: it is the
 * monitor that writes (firmware images). Any thread. Not atomic with respect to vCPUs.
 */
int ram_read(struct ram *ram, uint64_t gpa, void *buf, size_t len);
int ram_write(struct ram *ram, uint64_t gpa, const void *buf, size_t len);
int ram_fill(struct ram *ram, uint64_t gpa, uint8_t byte, size_t len);

/*
 * Prepares [gpa, gpa+len) for being written by the kernel: copies frames that need it and fills
 * @iov with at most @max parts. Returns their number, -EFAULT outside slots, -E2BIG when @max is
 * too small. Each successful begin is followed by ram_write_end with the same range, after the
 * last byte has been stored.
 */
int ram_write_begin(struct ram *ram, uint64_t gpa, size_t len, struct iovec *iov, unsigned max);
void ram_write_end(struct ram *ram, uint64_t gpa, size_t len);
/* The same for reading: parts that stay valid until the next change of slots. */
int ram_read_iov(struct ram *ram, uint64_t gpa, size_t len, struct iovec *iov, unsigned max);

/*
 * Gives the frames that lie whole in [gpa, gpa + len) back to the host: they read as zeroes, until somebody writes to
 * them. 0, -EFAULT when some are outside every slot (those before them are gone then), or what the host says. Any thread.
 */
int ram_discard(struct ram *ram, uint64_t gpa, uint64_t len);

/* Makes frame @frame (a number) private and present before a store. 0 or -ENOMEM/-EIO. */
int ram_make_writable(struct ram *ram, uint64_t frame);
/* Host pointer to read frame @frame from: the memfd, or the base. For engines. */
const uint8_t *ram_frame_bytes(const struct ram *ram, uint64_t frame);
/* Whether frame @frame's content is in the memfd: it can be entered into a TLB for reading. */
static inline bool ram_frame_private(const struct ram *ram, uint64_t frame)
{
	return ram->fds.base < 0 || (atomic_load_explicit(&ram->frame[frame], memory_order_acquire) & FRAME_PRESENT);
}
/* Clears FRAME_CODE and advances the frame's code generation. For whoever stored into it. */
void ram_code_written(struct ram *ram, uint64_t frame);

/* Reads and clears the dirty bits of slot @index into @bitmap (one bit a frame, little endian words). */
int ram_dirty_log(struct ram *ram, unsigned index, uint64_t *bitmap, size_t words);

#endif
