// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ways into guest memory for everyone who is no engine: ram_read, ram_write, ram_fill, and
 * parts for the kernel's I/O.
 *
 * Invariants:
 *  - A range is checked whole before its first byte is touched. It may run through several slots
 *    that follow each other in guest-physical addresses, wherever they lie in RAM.
 *  - After a store, in this order: full barrier, dirty bit, look for FRAME_CODE. The dirty bit
 *    comes after the store, so that a dirty log that is read in between shows the frame again.
 *  - An aligned 2, 4 or 8 bytes are one load or store: a vCPU never sees half of an index that a
 *    device writes. Nothing more is promised about order or atomicity.
 */
#include "mem/mem.h"

#include <errno.h>
#include <string.h>

/* A walk through [gpa, gpa + len): each step is a range within one slot. */
struct walk {
	uint64_t gpa;
	size_t len;
	uint64_t offset; /* into RAM, of this step */
	size_t part;     /* bytes of this step */
};

/* The next step. false at the end, and (w->len is not 0 then) where no slot is. */
static bool walk_next(const struct ram *ram, struct walk *w)
{
	const struct ram_slot *s;
	uint64_t in_slot;

	if (w->len == 0)
		return false;
	s = ram_find_slot(ram, w->gpa);
	if (!s)
		return false;
	in_slot = w->gpa - s->gpa;
	w->offset = s->offset + in_slot;
	w->part = s->size - in_slot < w->len ? s->size - in_slot : w->len;
	w->gpa += w->part;
	w->len -= w->part;
	return true;
}

static int check_range(const struct ram *ram, uint64_t gpa, size_t len)
{
	struct walk w = {.gpa = gpa, .len = len};

	if (len && gpa + (len - 1) < gpa)
		return -EFAULT;
	while (walk_next(ram, &w))
		continue;
	return w.len ? -EFAULT : 0;
}

static uint64_t first_frame(const struct walk *w)
{
	return w->offset >> FRAME_SHIFT;
}

static uint64_t last_frame(const struct walk *w)
{
	return (w->offset + w->part - 1) >> FRAME_SHIFT;
}

/* Checks the range, and makes all of its frames writable. */
static int prepare_write(struct ram *ram, uint64_t gpa, size_t len)
{
	struct walk w = {.gpa = gpa, .len = len};
	int ret = check_range(ram, gpa, len);

	if (ret || !ram->base_frames)
		return ret;
	while (walk_next(ram, &w)) {
		for (uint64_t f = first_frame(&w); f <= last_frame(&w) && f < ram->base_frames; f++) {
			ret = ram_make_writable(ram, f);
			if (ret)
				return ret;
		}
	}
	return 0;
}

/* What has to follow the stores of one step. The caller has put the barrier in between. */
static void mark_written(struct ram *ram, const struct walk *w)
{
	for (uint64_t f = first_frame(w); f <= last_frame(w); f++) {
		uint8_t byte = atomic_load_explicit(&ram->frame[f], memory_order_relaxed);

		if (!(byte & FRAME_DIRTY))
			byte = atomic_fetch_or(&ram->frame[f], FRAME_DIRTY);
		if (!(byte & FRAME_CODE))
			continue;
		if (ram->code_written)
			ram->code_written(ram->code_written_opaque, f);
		else
			ram_code_written(ram, f);
	}
}

static void copy(void *to, const void *from, size_t len, const void *guest)
{
	if ((uintptr_t)guest % 8 == 0 && len == 8) {
		uint64_t v;

		/* One of the two is the monitor's buffer, and may lie anywhere. */
		if (guest == from) {
			v = __atomic_load_n((const uint64_t *)from, __ATOMIC_RELAXED);
			memcpy(to, &v, 8);
		} else {
			memcpy(&v, from, 8);
			__atomic_store_n((uint64_t *)to, v, __ATOMIC_RELAXED);
		}
	} else if ((uintptr_t)guest % 4 == 0 && len == 4) {
		uint32_t v;

		if (guest == from) {
			v = __atomic_load_n((const uint32_t *)from, __ATOMIC_RELAXED);
			memcpy(to, &v, 4);
		} else {
			memcpy(&v, from, 4);
			__atomic_store_n((uint32_t *)to, v, __ATOMIC_RELAXED);
		}
	} else if ((uintptr_t)guest % 2 == 0 && len == 2) {
		uint16_t v;

		if (guest == from) {
			v = __atomic_load_n((const uint16_t *)from, __ATOMIC_RELAXED);
			memcpy(to, &v, 2);
		} else {
			memcpy(&v, from, 2);
			__atomic_store_n((uint16_t *)to, v, __ATOMIC_RELAXED);
		}
	} else {
		memcpy(to, from, len);
	}
}

/*
 * How many of the @len bytes at @offset lie in one piece in the host's memory, and where: all of
 * them behind the base, else up to the frame's end.
 */
static size_t readable_part(const struct ram *ram, uint64_t offset, size_t len, const uint8_t **host)
{
	uint64_t frame = offset >> FRAME_SHIFT, in_frame = offset & (FRAME_SIZE - 1);

	*host = ram_frame_bytes(ram, frame) + in_frame;
	if (frame >= ram->base_frames || len <= FRAME_SIZE - in_frame)
		return len;
	return FRAME_SIZE - in_frame;
}

int ram_read(struct ram *ram, uint64_t gpa, void *buf, size_t len)
{
	struct walk w = {.gpa = gpa, .len = len};
	uint8_t *to = buf;
	int ret = check_range(ram, gpa, len);

	if (ret)
		return ret;
	while (walk_next(ram, &w)) {
		while (w.part) {
			const uint8_t *from;
			size_t n = readable_part(ram, w.offset, w.part, &from);

			copy(to, from, n, from);
			to += n;
			w.offset += n;
			w.part -= n;
		}
	}
	return 0;
}

int ram_write(struct ram *ram, uint64_t gpa, const void *buf, size_t len)
{
	struct walk w = {.gpa = gpa, .len = len};
	const uint8_t *from = buf;
	int ret = prepare_write(ram, gpa, len);

	if (ret)
		return ret;
	while (walk_next(ram, &w)) {
		uint8_t *to = ram->host + w.offset;

		copy(to, from, w.part, to);
		from += w.part;
	}
	ram_write_end(ram, gpa, len);
	return 0;
}

int ram_fill(struct ram *ram, uint64_t gpa, uint8_t byte, size_t len)
{
	struct walk w = {.gpa = gpa, .len = len};
	int ret = prepare_write(ram, gpa, len);

	if (ret)
		return ret;
	while (walk_next(ram, &w))
		memset(ram->host + w.offset, byte, w.part);
	ram_write_end(ram, gpa, len);
	return 0;
}

/* Appends [host, host + len), to the part before it if they touch. -E2BIG without room. */
static int iov_add(struct iovec *iov, unsigned max, unsigned *count, const uint8_t *host, size_t len)
{
	if (*count && (uint8_t *)iov[*count - 1].iov_base + iov[*count - 1].iov_len == host) {
		iov[*count - 1].iov_len += len;
		return 0;
	}
	if (*count == max)
		return -E2BIG;
	iov[(*count)++] = (struct iovec){(void *)host, len};
	return 0;
}

int ram_write_begin(struct ram *ram, uint64_t gpa, size_t len, struct iovec *iov, unsigned max)
{
	struct walk w = {.gpa = gpa, .len = len};
	unsigned count = 0;
	int ret = check_range(ram, gpa, len);

	if (ret)
		return ret;
	while (walk_next(ram, &w)) {
		ret = iov_add(iov, max, &count, ram->host + w.offset, w.part);
		if (ret)
			return ret;
	}
	ret = prepare_write(ram, gpa, len);
	return ret ? ret : (int)count;
}

void ram_write_end(struct ram *ram, uint64_t gpa, size_t len)
{
	struct walk w = {.gpa = gpa, .len = len};

	atomic_thread_fence(memory_order_seq_cst);
	while (walk_next(ram, &w))
		mark_written(ram, &w);
}

int ram_read_iov(struct ram *ram, uint64_t gpa, size_t len, struct iovec *iov, unsigned max)
{
	struct walk w = {.gpa = gpa, .len = len};
	unsigned count = 0;
	int ret = check_range(ram, gpa, len);

	if (ret)
		return ret;
	while (walk_next(ram, &w)) {
		while (w.part) {
			const uint8_t *host;
			size_t n = readable_part(ram, w.offset, w.part, &host);

			ret = iov_add(iov, max, &count, host, n);
			if (ret)
				return ret;
			w.offset += n;
			w.part -= n;
		}
	}
	return (int)count;
}
