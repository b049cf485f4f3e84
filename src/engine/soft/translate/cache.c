// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The code cache: its area, its blocks, and what makes them invalid. cache.h has the rules.
 *
 * The area is shared memory mapped twice, writable here and executable there. Offset 0 is never code. Blocks, their
 * points and the records of links are arenas that are filled in one direction and emptied together with the area.
 *
 * Instructions that other vCPUs may be running are only changed within 8 aligned bytes, in one store: a
 * block's first 5 bytes, and the rel32 of a branch. They run one or the other (AMD64 manual vol. 2, 7.6.1).
 */
#include "engine/soft/translate/cache.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum {
	HASH_BITS = 16,
	AREA_MIN = 64 << 10,
	AREA_START = 64,
	LARGE = 2 << 20, /* a large page of the host */
	CODE_ALIGN = 16,
	BLOCK_CODE_MIN = 64, /* no block has less code: so many blocks fit into the area */
	EXIT_CODE_MIN = 16,  /* nor a way out, with the branch to it */
	/* A store of so many bytes makes something else of a frame: nothing is watched there any more when its last code is gone. */
	OVERWRITE = 512,
};

/* --- memory --- */

static void *reserve(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void release(void *p, size_t size)
{
	if (p)
		munmap(p, size);
}

/*
 * Room for @size bytes: as far as that is a multiple of large pages of the host, these can show it. A child of fork would share the area and disagree
 * about what is in it: who maps something here sees to that.
 */
static uint8_t *area_reserve(size_t size)
{
	size_t room = size < LARGE ? size : size + LARGE, before;
	uint8_t *p = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	before = size < LARGE ? 0 : -(uintptr_t)p & (LARGE - 1);
	if (before)
		munmap(p, before);
	if (room - before - size)
		munmap(p + before + size, room - before - size);
	return p + before;
}

/* Shared memory without a file: a mapping with a file's name would keep perf(1) from looking into the map of its symbols. */
static int area_create(struct translator *tr, uint32_t size)
{
	uint8_t *rw = area_reserve(size), *rx = area_reserve(size);

	tr->size = size;
	tr->rw = rw;
	tr->rx = rx;
	if (!rw || !rx ||
	    mmap(rw, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED ||
	    mremap(rw, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, rx) == MAP_FAILED) /* of length 0: the same pages once more */
		return -ENOMEM;
	if (mprotect(rx, size, PROT_READ | PROT_EXEC))
		return -errno;
	madvise(rw, size, MADV_DONTFORK);
	madvise(rx, size, MADV_DONTFORK);
	return 0;
}

/* Every array, its member and its number of elements, for making and freeing them. */
#define ARRAYS(X)                                                                                  \
	X(bucket, 1u << HASH_BITS)                                                                 \
	X(frame_blocks, tr->frames)                                                                \
	X(code_lines, tr->frames)                                                                  \
	X(stored, tr->frames)                                                                      \
	X(watched, tr->frames)                                                                     \
	X(mixed, tr->frames)                                                                       \
	X(blocks, tr->block_max)                                                                   \
	X(calls, tr->call_max)                                                                     \
	X(exits, tr->exit_max)                                                                     \
	X(points, tr->point_max)                                                                   \
	X(link, tr->link_max)                                                                      \
	X(sites, SLOTS_MAX)

static void written_by_others(void *opaque, uint64_t frame)
{
	cache_frame_written(opaque, frame);
}

int translator_create(struct soft_vm *vm, uint32_t area_size, struct translator **out)
{
	struct translator *tr;
	int r;

	if (area_size < AREA_MIN || area_size % 4096 || vm->ram->size >> FRAME_SHIFT > UINT32_MAX)
		return -EINVAL;
	tr = calloc(1, sizeof(*tr));
	if (!tr)
		return -ENOMEM;
	pthread_mutex_init(&tr->lock, NULL);
	tr->vm = vm;
	tr->frames = vm->ram->size >> FRAME_SHIFT;
	tr->block_max = area_size / BLOCK_CODE_MIN;
	tr->point_max = area_size / 8;
	tr->call_max = area_size / BLOCK_CODE_MIN;
	tr->exit_max = area_size / EXIT_CODE_MIN;
	tr->link_max = area_size / 16;
	tr->store_epoch = 1;
	tr->used = tr->common_end = AREA_START;
	r = area_create(tr, area_size);
#define X(member, count)                                                                           \
	if (!r && !(tr->member = reserve((count) * sizeof(*tr->member))))                          \
		r = -ENOMEM;
	ARRAYS(X)
#undef X
	tr->closed = jump_caches_map(sizeof(*tr->closed));
	if (!tr->closed)
		r = -ENOMEM;
	if (r) {
		translator_destroy(tr);
		return r;
	}
	tr->closed->way[0].entry[0].neg_rip = tr->closed->way[1].entry[0].neg_rip = JUMP_NONE;
	vm->ram->code_written = written_by_others;
	vm->ram->code_written_opaque = tr;
	*out = tr;
	return 0;
}

void translator_destroy(struct translator *tr)
{
	if (!tr)
		return;
	if (tr->vm->ram->code_written == written_by_others && tr->vm->ram->code_written_opaque == tr)
		tr->vm->ram->code_written = NULL;
#define X(member, count) release((void *)tr->member, (count) * sizeof(*tr->member));
	ARRAYS(X)
#undef X
	release(tr->closed, sizeof(*tr->closed));
	release(tr->rw, tr->size);
	release(tr->rx, tr->size);
	pthread_mutex_destroy(&tr->lock);
	free(tr);
}

/* --- finding blocks --- */

static _Atomic(struct tblock *) *bucket_of(const struct translator *tr, uint64_t key, uint32_t mode)
{
	uint64_t h = (key ^ (uint64_t)mode << 44) * 0x9e3779b97f4a7c15ull;

	return &tr->bucket[h >> (64 - HASH_BITS)];
}

struct tblock *cache_find_crossing(struct translator *tr, uint64_t key, uint32_t mode, uint64_t second)
{
	struct tblock *b = atomic_load_explicit(bucket_of(tr, key, mode), memory_order_acquire);

	while (b && (b->key != key || b->mode != mode || b->second != second))
		b = atomic_load_explicit(&b->next, memory_order_acquire);
	return b;
}

struct tblock *cache_find(struct translator *tr, uint64_t key, uint32_t mode)
{
	return cache_find_crossing(tr, key, mode, FRAME_NONE);
}

const struct tblock *cache_at(const struct translator *tr, uint64_t pc)
{
	uint64_t at = pc - (uint64_t)(uintptr_t)tr->rx;
	uint32_t low = 0, high = __atomic_load_n(&tr->block_count, __ATOMIC_ACQUIRE);

	if (at >= tr->size)
		return NULL;
	while (low < high) { /* blocks from low on may begin behind it */
		uint32_t mid = low + (high - low) / 2;

		if (tr->blocks[mid].far_code <= at)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low || at - tr->blocks[low - 1].far_code >= tr->blocks[low - 1].code_len)
		return NULL;
	return &tr->blocks[low - 1];
}

/* --- making blocks --- */

/*
 * Code is spread over all of the area: with pages of 4 KiB each is two page faults and one more entry that a TLB of the host has to have. A large page of
 * shared memory is there for the asking (Linux 6.1), if there is one page in it. It takes a tenth of the faults' time.
 */
static void area_prepare(struct translator *tr, uint32_t end)
{
	for (; tr->prepared < end && tr->size - tr->prepared >= LARGE; tr->prepared += LARGE) {
		if (tr->prepared >= tr->used)
			*(volatile uint8_t *)(tr->rw + tr->prepared) = 0;
		/* Where the host has none, small ones do. */
		if (!madvise(tr->rw + tr->prepared, LARGE, MADV_COLLAPSE))
			madvise(tr->rx + tr->prepared, LARGE, MADV_COLLAPSE);
	}
}

struct tblock *cache_begin(struct translator *tr, unsigned insns, unsigned exits, uint32_t *first_slot, unsigned slots)
{
	struct tblock *b;

	if (tr->size - tr->used < CACHE_BLOCK_ROOM || tr->block_count == tr->block_max ||
	    tr->point_max - tr->point_count <= insns || tr->exit_max - tr->exit_count < exits ||
	    SLOTS_MAX - tr->slots_used < slots) {
		atomic_store(&tr->flush_wanted, 1);
		return NULL;
	}
	area_prepare(tr, tr->used + CACHE_BLOCK_ROOM);
	b = &tr->blocks[tr->block_count];
	memset(b, 0, sizeof(*b));
	b->second = FRAME_NONE;
	b->point = &tr->points[tr->point_count];
	*first_slot = tr->slots_used;
	return b;
}

/* The next one of those of @frame, which is one of the two that @b may have. */
static struct tblock **next_in(struct tblock *b, uint64_t frame)
{
	return b->second == frame ? &b->next_in_second : &b->next_in_frame;
}

static uint64_t lines_in(const struct tblock *b, uint64_t frame)
{
	return b->second == frame ? b->second_lines : b->lines;
}

static void enter_frame(struct translator *tr, struct tblock *b, uint64_t frame)
{
	*next_in(b, frame) = tr->frame_blocks[frame];
	tr->frame_blocks[frame] = b;
}

void cache_commit(struct translator *tr, struct tblock *b, uint32_t code_end, unsigned exits_used, unsigned slots_used)
{
	_Atomic(struct tblock *) *bucket = bucket_of(tr, b->key, b->mode);

	b->code_len = code_end - b->far_code;
	b->live = true;
	tr->used = (code_end + CODE_ALIGN - 1) & ~(uint32_t)(CODE_ALIGN - 1);
	tr->point_count += b->insns + 1u;
	tr->exit_count += exits_used;
	tr->slots_used += slots_used;
	tr->translated_blocks++;
	tr->translated_insns += b->insns;
	tr->translated_bytes += b->code_len;
	enter_frame(tr, b, b->key >> FRAME_SHIFT);
	if (b->second != FRAME_NONE)
		enter_frame(tr, b, b->second);
	__atomic_store_n(&tr->block_count, tr->block_count + 1, __ATOMIC_RELEASE);
	atomic_store_explicit(&b->next, atomic_load_explicit(bucket, memory_order_relaxed), memory_order_relaxed);
	atomic_store_explicit(bucket, b, memory_order_release);
}

static void put_rel32(struct translator *tr, uint32_t site, int32_t rel)
{
	__atomic_store_n((int32_t *)(void *)(tr->rw + site), rel, __ATOMIC_RELEASE);
}

static int32_t get_rel32(const struct translator *tr, uint32_t site)
{
	return __atomic_load_n((const int32_t *)(const void *)(tr->rw + site), __ATOMIC_RELAXED);
}

void cache_link(struct translator *tr, uint32_t site, struct tblock *b)
{
	int32_t rel = (int32_t)(b->code - (site + 4)), was = get_rel32(tr, site);
	struct cache_link *l;

	/* Without a record it would lead to a block that is not valid any more, and from there outside each time. */
	if (!b->live || was == rel || tr->link_count == tr->link_max)
		return;
	l = &tr->link[tr->link_count++];
	*l = (struct cache_link){ .site = site, .was = was, .next = b->links };
	b->links = tr->link_count;
	put_rel32(tr, site, rel);
	tr->links++;
}

/* --- invalidating blocks, under the lock --- */

static void unlink_from_hash(struct translator *tr, struct tblock *b)
{
	_Atomic(struct tblock *) *at = bucket_of(tr, b->key, b->mode);
	struct tblock *o;

	while ((o = atomic_load_explicit(at, memory_order_relaxed)) && o != b)
		at = &o->next;
	/* b->next stays: somebody may be looking at b. */
	if (o)
		atomic_store_explicit(at, atomic_load_explicit(&b->next, memory_order_relaxed), memory_order_release);
}

/* The entry becomes a jump to the stale exit. */
static void close_entry(struct translator *tr, const struct tblock *b)
{
	uint64_t *entry = (uint64_t *)(void *)(tr->rw + b->code);
	uint64_t rel = (uint32_t)(b->stale - (b->code + 5));

	__atomic_store_n(entry, (*entry & ~0xffffffffffull) | rel << 8 | 0xe9, __ATOMIC_SEQ_CST);
}

/* The caller takes it out of its frame's list. In that of another frame it stays, dead, until somebody comes by. */
static void invalidate(struct translator *tr, struct tblock *b)
{
	b->live = false;
	unlink_from_hash(tr, b);
	close_entry(tr, b);
	for (uint32_t i = b->links; i; i = tr->link[i - 1].next)
		put_rel32(tr, tr->link[i - 1].site, tr->link[i - 1].was);
	b->links = 0;
	tr->invalidated++;
}

void cache_drop(struct translator *tr, struct tblock *b)
{
	struct tblock **at = &tr->frame_blocks[b->key >> FRAME_SHIFT];

	while (*at && *at != b)
		at = next_in(*at, b->key >> FRAME_SHIFT);
	if (!*at)
		return;
	*at = b->next_in_frame;
	invalidate(tr, b);
}

/*
 * Invalidates the frame's blocks that have any of @lines; the lines of the others are left. If there are none and @forget, the frame
 * is watched no more. The order matters to whoever makes code (cache.h): lines, watched, FRAME_CODE, generation.
 */
static void end_lines(struct translator *tr, uint64_t frame, uint64_t lines, bool forget)
{
	struct tblock **at = &tr->frame_blocks[frame], *b;
	struct ram *ram = tr->vm->ram;
	uint64_t rest = 0;

	while ((b = *at)) {
		if (!b->live || lines_in(b, frame) & lines) {
			if (b->live)
				invalidate(tr, b);
			*at = *next_in(b, frame);
		} else {
			rest |= lines_in(b, frame);
			at = next_in(b, frame);
		}
	}
	atomic_store(&tr->code_lines[frame], rest);
	if (rest || !forget) {
		if (!rest)
			mixed_gone(tr, frame);
		atomic_fetch_add(&ram->code_gen[frame], 1);
		return;
	}
	atomic_store(&tr->watched[frame], 0);
	ram_code_written(ram, frame);
}

void cache_frame_written(struct translator *tr, uint64_t frame)
{
	pthread_mutex_lock(&tr->lock);
	end_lines(tr, frame, ~0ull, true);
	pthread_mutex_unlock(&tr->lock);
}

bool cache_code_stored(struct translator *tr, uint64_t frame, unsigned offset, unsigned n)
{
	uint64_t lines = n ? cache_lines(offset, n) : ~0ull;
	bool whole = !n || n >= OVERWRITE, hit;

	atomic_thread_fence(memory_order_seq_cst);
	hit = atomic_load(&tr->code_lines[frame]) & lines;
	if (!(hit && whole) && mixed_stored(tr, frame, hit)) {
		cache_frame_written(tr, frame);
		return true;
	}
	if (!hit)
		return false;
	pthread_mutex_lock(&tr->lock);
	end_lines(tr, frame, lines, whole);
	pthread_mutex_unlock(&tr->lock);
	return true;
}

/* --- noticing stores --- */

uint32_t cache_watch_frame(struct cpu *c, uint64_t frame)
{
	struct translator *tr = c->t.tr;
	uint32_t gen = atomic_load(&c->code_gen[frame]);

	if (atomic_load(&tr->watched[frame]))
		return gen;
	atomic_fetch_or(&c->frame[frame], FRAME_CODE);
	/* Stores that are under way on other CPUs and have looked for FRAME_CODE already are in memory after this. */
	syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	slots_withdraw(c, frame);
	pthread_mutex_lock(&tr->lock);
	if (atomic_load(&c->code_gen[frame]) == gen) /* else FRAME_CODE may have been cleared since */
		atomic_store(&tr->watched[frame], 1);
	pthread_mutex_unlock(&tr->lock);
	return gen;
}

bool cache_add_lines(struct translator *tr, uint64_t frame, uint64_t lines)
{
	if (lines & ~atomic_load(&tr->code_lines[frame]))
		atomic_fetch_or(&tr->code_lines[frame], lines);
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load(&tr->watched[frame]);
}

/* --- throwing all away --- */

/*
 * A cache that is full again before its code has run for much longer than it took to make is too small for what seemed hot: then a block has to
 * run twice as often before it is translated, up to some hundred times, when interpreting it has cost many times as much as translating it. So what stays
 * in the cache is what runs most, and a cache of any size makes nothing slower than a few times the interpreter.
 */
static void adjust_thrift(struct translator *tr)
{
	enum { INSN_CYCLES = 1000, MUCH = 8, LITTLE = 128, THRIFT_MAX = 6 };
	uint64_t now = host_tsc(), spent = (tr->translated_insns - tr->flush_insns) * INSN_CYCLES, passed = now - tr->flush_tsc;
	uint32_t thrift = tr->thrift;

	if (tr->flush_tsc && spent > passed / MUCH)
		thrift += thrift < THRIFT_MAX;
	else if (spent < passed / LITTLE)
		thrift -= thrift > 0;
	__atomic_store_n(&tr->thrift, thrift, __ATOMIC_RELAXED);
	tr->flush_tsc = now;
	tr->flush_insns = tr->translated_insns;
}

static void throw_away(struct translator *tr)
{
	/* Lines stay: the interpreter has blocks there, too. The next store that hits one drops those that are left over. */
	for (uint32_t i = 0; i < tr->block_count; i++) {
		const struct tblock *b = &tr->blocks[i];

		tr->frame_blocks[b->key >> FRAME_SHIFT] = NULL;
		if (b->second != FRAME_NONE)
			tr->frame_blocks[b->second] = NULL;
		atomic_store_explicit(bucket_of(tr, b->key, b->mode), NULL, memory_order_relaxed);
	}
	tr->used = tr->common_end;
	__atomic_store_n(&tr->block_count, 0, __ATOMIC_RELEASE);
	tr->point_count = tr->link_count = tr->slots_used = tr->call_count = tr->exit_count = 0;
	atomic_store(&tr->flush_wanted, 0);
	atomic_fetch_add(&tr->flushes, 1);
	for (unsigned i = 0; i < tr->vm->count; i++) {
		slots_drop(tr->vm->cpu[i], true);
		jumps_drop(tr->vm->cpu[i], -1, true);
	}
}

void cache_flush(struct translator *tr, struct cpu *c)
{
	uint64_t before = atomic_load(&tr->flushes);

	soft_world_stop(c);
	pthread_mutex_lock(&tr->lock);
	if (atomic_load(&tr->flushes) == before) { /* else another vCPU was faster */
		if (atomic_load(&tr->flush_wanted))
			adjust_thrift(tr);
		throw_away(tr);
	}
	pthread_mutex_unlock(&tr->lock);
	soft_world_start(c);
}
