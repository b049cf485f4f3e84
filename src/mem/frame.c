// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Frames: where their content is, copying on write, code generations, the dirty log.
 *
 * Copying on write, between any number of threads and processes that share the frame bytes:
 *
 *   nothing -> BUSY              by compare-and-swap: exactly one wins and copies
 *   BUSY    -> PRESENT           in one step, after the last byte was copied (release)
 *   BUSY    -> nothing           the base could not be read
 *
 * Whoever finds BUSY waits for either; whoever finds PRESENT (acquire) may store, since the copy
 * came before. Only the holder of BUSY changes BUSY and PRESENT; the other bits of the byte change
 * at any time, so every change here is an atomic operation on single bits. PRESENT is never
 * cleared again. A holder that dies leaves the frame BUSY: waiting gives up in the end, since the
 * VM has then lost its engine anyway.
 *
 * Whoever has got a pointer into the base before a frame became PRESENT still sees what the base
 * has. For one read that is the content just before the store; an engine that keeps such pointers
 * in a TLB has to drop them when another vCPU makes the frame writable, or else to call
 * ram_make_writable for reads too.
 */
#include "mem/mem.h"

#include "host/loop.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#define BUSY_WAIT_NS 10000000000ull

/* Copies what the base has of @frame (its last frame may be cut short) into the memfd. */
static int copy_from_base(struct ram *ram, uint64_t frame)
{
	uint64_t at = frame << FRAME_SHIFT;
	size_t done = 0;

	/* read(2), not memcpy from the mapping: a base that was cut is then an error, not a SIGBUS. */
	while (done < FRAME_SIZE) {
		ssize_t n =
			pread(ram->fds.base, ram->host + at + done, FRAME_SIZE - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -EIO;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	/* Only the last frame of the base may be cut short, and never to nothing. */
	if (done < FRAME_SIZE && (done == 0 || frame + 1 < ram->base_frames))
		return -EIO;
	return 0;
}

/* Waits until @frame is no longer BUSY, and returns its byte; still BUSY after a long time. */
static uint8_t wait_busy(struct ram *ram, uint64_t frame)
{
	uint64_t deadline = 0;
	uint8_t byte;

	for (unsigned i = 0;
	     (byte = atomic_load_explicit(&ram->frame[frame], memory_order_acquire)) & FRAME_BUSY; i++) {
		if (i < 100) {
			__builtin_ia32_pause();
			continue;
		}
		if (!deadline)
			deadline = host_monotonic_ns() + BUSY_WAIT_NS;
		else if (host_monotonic_ns() > deadline)
			break;
		sched_yield();
	}
	return byte;
}

static int copy_on_write(struct ram *ram, uint64_t frame)
{
	uint8_t byte = atomic_load_explicit(&ram->frame[frame], memory_order_acquire);
	int ret;

	for (;;) {
		if (byte & FRAME_PRESENT)
			return 0;
		if (byte & FRAME_BUSY) {
			byte = wait_busy(ram, frame);
			if (byte & FRAME_BUSY)
				return -EIO;
			continue;
		}
		if (atomic_compare_exchange_weak_explicit(&ram->frame[frame], &byte, byte | FRAME_BUSY,
							  memory_order_acquire, memory_order_acquire))
			break;
	}
	ret = copy_from_base(ram, frame);
	if (ret)
		atomic_fetch_and_explicit(&ram->frame[frame], (uint8_t)~FRAME_BUSY, memory_order_release);
	else
		atomic_fetch_xor_explicit(&ram->frame[frame], FRAME_BUSY | FRAME_PRESENT,
					  memory_order_release);
	return ret;
}

int ram_make_writable(struct ram *ram, uint64_t frame)
{
	if (frame >= ram->base_frames ||
	    (atomic_load_explicit(&ram->frame[frame], memory_order_acquire) & FRAME_PRESENT))
		return 0;
	return copy_on_write(ram, frame);
}

const uint8_t *ram_frame_bytes(const struct ram *ram, uint64_t frame)
{
	if (frame >= ram->base_frames ||
	    (atomic_load_explicit(&ram->frame[frame], memory_order_acquire) & FRAME_PRESENT))
		return ram->host + (frame << FRAME_SHIFT);
	return ram->base + (frame << FRAME_SHIFT);
}

void ram_code_written(struct ram *ram, uint64_t frame)
{
	/*
	 * In this order. Whoever decodes notes the generation, then sets the bit, then reads the
	 * bytes: a bit that this clears was set after a generation that this ends. The other way
	 * round a decoder that comes in between would have the new generation and no bit, and the
	 * next store would go unseen.
	 */
	atomic_fetch_and(&ram->frame[frame], (uint8_t)~FRAME_CODE);
	atomic_fetch_add(&ram->code_gen[frame], 1);
}

int ram_dirty_log(struct ram *ram, unsigned index, uint64_t *bitmap, size_t words)
{
	const struct ram_slot *slot;
	uint64_t first, count;

	if (index >= RAM_SLOTS_MAX)
		return -EINVAL;
	slot = &ram->slot[index];
	first = slot->offset >> FRAME_SHIFT;
	count = slot->size >> FRAME_SHIFT;
	if (words < (count + 63) / 64)
		return -EINVAL;
	memset(bitmap, 0, words * sizeof(*bitmap));
	for (uint64_t i = 0; i < count; i++) {
		_Atomic uint8_t *byte = &ram->frame[first + i];

		if (!(atomic_load_explicit(byte, memory_order_relaxed) & FRAME_DIRTY))
			continue;
		/* Before the caller reads the content: a store that comes later sets the bit again. */
		atomic_fetch_and(byte, (uint8_t)~FRAME_DIRTY);
		bitmap[i / 64] |= 1ull << i % 64;
	}
	return 0;
}
