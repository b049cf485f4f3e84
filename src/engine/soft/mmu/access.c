// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The slow side of memory access: TLB misses, page crossings, MMIO, alignment checks.
 *
 * Everything goes through page_get, which answers for one page: a host pointer, or a
 * guest-physical address that is no memory. An access that crosses pages gets both before it
 * touches either, so that a fault on the second leaves the first as it was.
 *
 * A page with a data breakpoint never gets an entry for loads or stores (debug.h), so all accesses
 * to it come here: bytes_read, bytes_write and the atomic ones compare. A probe is no access.
 */
#include "engine/soft/mmu/tlb.h"
#include "engine/soft/mmu/walk.h"
#include "engine/soft/translate/cache.h"
#include "engine/soft/vcpu/vcpu.h"

#include "host/log.h"

#include <errno.h>
#include <string.h>

static _Noreturn void not_canonical(struct cpu *c, unsigned seg)
{
	cpu_raise_error(c, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
}

/* Outside 64-bit mode linear addresses wrap at 4 GiB. */
static uint64_t next_linear(const struct cpu *c, uint64_t linear)
{
	return c->mode == INSN_MODE64 ? linear : (uint32_t)linear;
}

/*
 * The page of @linear for @access in @view. Raises. @seg names the segment for a non-canonical
 * address.
 */
static struct page page_get(struct cpu *c, unsigned seg, uint64_t linear, enum mmu_access access, enum mmu_view view)
{
	struct tlb_view *v = &c->tlbs->now->view[view];
	struct tlb_entry *e = &v->tlb.entry[tlb_index(linear)];
	uint64_t page = linear & ~0xfffull;
	struct walk w;
	uint32_t error;
	struct page p;

	if ((access == MMU_READ ? e->read : access == MMU_WRITE ? e->write : e->exec) == page)
		return (struct page){ .host = (uint8_t *)(uintptr_t)(linear + e->addend) };
	if (cpu_long_mode(c) && !cpu_canonical(c, linear))
		not_canonical(c, seg);
	if (mmu_walk(c, linear, access, (enum walk_as)view, false, &w, &error)) {
		if (trace_on(TRACE_MMU))
			trace(TRACE_MMU, "cpu%u #PF linear %016llx error %x rip %016llx", c->index,
			      (unsigned long long)linear, error, (unsigned long long)c->gpr[GPR_RIP]);
		cpu_raise_pf(c, linear, error);
	}
	if (!mmu_page_enter(c, v, linear, &w, access, false, &p))
		cpu_internal(c, "no memory for guest frame of %llx", (unsigned long long)w.gpa);
	return p;
}

/* --- memory-mapped I/O --- */

static uint64_t device_load(struct cpu *c, uint64_t gpa, unsigned size)
{
	if (is_lapic(c, gpa)) {
		unsigned offset = gpa & 0xfff;
		uint64_t v;

		if (cpu_load_again(c, gpa, size, &v))
			return v;
		/* Only aligned 32-bit reads are defined (SDM 11.4.1); others get the bytes there are. */
		v = lapic_page_read(c, offset & ~15u) >> (offset & 3) * 8;
		v &= size == 8 ? ~0ull : (1ull << size * 8) - 1;
		cpu_loaded(c, gpa, size, v);
		return v;
	}
	return cpu_mmio_load(c, gpa, size);
}

static void device_store(struct cpu *c, uint64_t gpa, unsigned size, uint64_t value)
{
	if (is_lapic(c, gpa)) {
		if (!(gpa & 15) && size >= 4 && cpu_store_once(c, gpa, size))
			lapic_page_write(c, gpa & 0xfff, (uint32_t)value);
		c->attn = c->brk = 1;
		return;
	}
	cpu_mmio_store(c, gpa, size, value);
}

/* --- parts of an access in one page --- */

static void part_read(struct cpu *c, const struct page *p, void *buf, unsigned n)
{
	uint8_t *out = buf;

	if (p->host) {
		switch (n) {
		case 1: *out = *(volatile uint8_t *)p->host; return;
		case 2: memcpy(out, &(uint16_t){ *(volatile uint16_t *)p->host }, 2); return;
		case 4: memcpy(out, &(uint32_t){ *(volatile uint32_t *)p->host }, 4); return;
		case 8: memcpy(out, &(uint64_t){ *(volatile uint64_t *)p->host }, 8); return;
		default: memcpy(out, p->host, n); return;
		}
	}
	for (unsigned done = 0; done < n;) {
		unsigned k = n - done >= 8 ? 8 : n - done >= 4 ? 4 : n - done >= 2 ? 2 : 1;
		uint64_t v = device_load(c, p->gpa + done, k);

		memcpy(out + done, &v, k);
		done += k;
	}
}

static void part_write(struct cpu *c, const struct page *p, const void *buf, unsigned n)
{
	const uint8_t *in = buf;
	uint64_t whole = 0;

	if (p->host) {
		if (n <= 8)
			memcpy(&whole, in, n);
		switch (n) { /* one store each: other vCPUs may look */
		case 1: *(volatile uint8_t *)p->host = (uint8_t)whole; break;
		case 2: *(volatile uint16_t *)p->host = (uint16_t)whole; break;
		case 4: *(volatile uint32_t *)p->host = (uint32_t)whole; break;
		case 8: *(volatile uint64_t *)p->host = whole; break;
		default: memcpy(p->host, in, n); break;
		}
		mmu_after_store(c, p->host, n);
		return;
	}
	for (unsigned done = 0; done < n;) {
		unsigned k = n - done >= 8 ? 8 : n - done >= 4 ? 4 : n - done >= 2 ? 2 : 1;
		uint64_t v = 0;

		memcpy(&v, in + done, k);
		device_store(c, p->gpa + done, k, v);
		done += k;
	}
}

/*
 * An access that leaves canonical space in its middle is #GP (or #SS), before any of its pages is
 * looked at (SDM vol. 1, 3.3.7.1).
 */
static void check_canonical(struct cpu *c, unsigned seg, uint64_t linear, unsigned size)
{
	if (cpu_long_mode(c) && (!cpu_canonical(c, linear) || !cpu_canonical(c, linear + size - 1)))
		not_canonical(c, seg);
}

static void check_alignment(struct cpu *c, uint64_t linear, unsigned size)
{
	if (c->align_check && (size == 2 || size == 4 || size == 8) && (linear & (size - 1)))
		cpu_raise_ac(c);
}

static inline void check_watches(struct cpu *c, uint64_t linear, unsigned size, bool store)
{
	if (__builtin_expect(c->dbg.watch_count, 0))
		debug_access(c, linear, size, store);
}

static void bytes_read(struct cpu *c, unsigned seg, uint64_t linear, void *buf, unsigned size, enum mmu_view view)
{
	unsigned first = FRAME_SIZE - (linear & (FRAME_SIZE - 1));
	struct page a, b;

	check_watches(c, linear, size, false);

	if (size > first)
		check_canonical(c, seg, linear, size);
	a = page_get(c, seg, linear, MMU_READ, view);
	if (size <= first) {
		part_read(c, &a, buf, size);
		return;
	}
	b = page_get(c, seg, next_linear(c, linear + first), MMU_READ, view);
	part_read(c, &a, buf, first);
	part_read(c, &b, (uint8_t *)buf + first, size - first);
}

static void bytes_write(struct cpu *c, unsigned seg, uint64_t linear, const void *buf, unsigned size,
			enum mmu_view view)
{
	unsigned first = FRAME_SIZE - (linear & (FRAME_SIZE - 1));
	struct page a, b;

	check_watches(c, linear, size, true);

	if (size > first)
		check_canonical(c, seg, linear, size);
	a = page_get(c, seg, linear, MMU_WRITE, view);
	if (size <= first) {
		part_write(c, &a, buf, size);
		return;
	}
	b = page_get(c, seg, next_linear(c, linear + first), MMU_WRITE, view);
	part_write(c, &a, buf, first);
	part_write(c, &b, (const uint8_t *)buf + first, size - first);
}

/* --- the interface --- */

uint64_t mmu_load_slow(struct cpu *c, unsigned seg, uint64_t linear, unsigned size)
{
	uint64_t v = 0;

	check_canonical(c, seg, linear, size);
	check_alignment(c, linear, size);
	bytes_read(c, seg, linear, &v, size, c->tlbs->view);
	return v;
}

void mmu_store_slow(struct cpu *c, unsigned seg, uint64_t linear, unsigned size, uint64_t value)
{
	check_canonical(c, seg, linear, size);
	check_alignment(c, linear, size);
	bytes_write(c, seg, linear, &value, size, c->tlbs->view);
}

void mmu_load_bytes(struct cpu *c, unsigned seg, uint64_t linear, void *buf, unsigned size)
{
	const void *host = TLB_HIT(c, linear, size, read);

	if (!host)
		bytes_read(c, seg, linear, buf, size, c->tlbs->view);
	else if (size == 16)
		memcpy(buf, host, 16);
	else if (size == 32)
		memcpy(buf, host, 32);
	else
		part_read(c, &(struct page){ .host = (uint8_t *)(uintptr_t)host }, buf, size);
}

void mmu_store_bytes(struct cpu *c, unsigned seg, uint64_t linear, const void *buf, unsigned size)
{
	void *host = TLB_HIT(c, linear, size, write);

	if (!host) {
		bytes_write(c, seg, linear, buf, size, c->tlbs->view);
		return;
	}
	if (size == 16)
		memcpy(host, buf, 16);
	else if (size == 32)
		memcpy(host, buf, 32);
	else {
		part_write(c, &(struct page){ .host = host }, buf, size);
		return;
	}
	mmu_after_store(c, host, size);
}

void mmu_probe(struct cpu *c, unsigned seg, uint64_t linear, unsigned size, enum mmu_access access)
{
	unsigned first = FRAME_SIZE - (linear & (FRAME_SIZE - 1));

	check_canonical(c, seg, linear, size);
	check_alignment(c, linear, size);
	page_get(c, seg, linear, access, c->tlbs->view);
	if (size > first)
		page_get(c, seg, next_linear(c, linear + first), access, c->tlbs->view);
}

void *mmu_atomic(struct cpu *c, unsigned seg, uint64_t linear, unsigned size)
{
	void *host = TLB_HIT(c, linear, size, write);
	struct page p;

	if (host)
		return host;
	mmu_probe(c, seg, linear, size, MMU_WRITE);
	if (size > FRAME_SIZE - (linear & (FRAME_SIZE - 1)))
		return NULL;
	p = page_get(c, seg, linear, MMU_WRITE, c->tlbs->view);
	if (p.host)
		check_watches(c, linear, size, true);
	return p.host;
}

uint8_t *mmu_run(struct cpu *c, unsigned seg, uint64_t linear, enum mmu_access access, unsigned *bytes)
{
	struct page p = page_get(c, seg, linear, access, c->tlbs->view);

	if (c->dbg.watch_count && debug_page_watched(c, linear))
		p.host = NULL; /* element by element */
	*bytes = p.host ? FRAME_SIZE - (linear & (FRAME_SIZE - 1)) : 0;
	return p.host;
}

uint64_t mmu_load_sys(struct cpu *c, uint64_t linear, unsigned size)
{
	uint64_t v = 0;

	bytes_read(c, SEG_DS, linear, &v, size, VIEW_KERNEL);
	return v;
}

void mmu_store_sys(struct cpu *c, uint64_t linear, unsigned size, uint64_t value)
{
	bytes_write(c, SEG_DS, linear, &value, size, VIEW_KERNEL);
}

void *mmu_atomic_sys(struct cpu *c, uint64_t linear, unsigned size)
{
	struct page p = page_get(c, SEG_DS, linear, MMU_WRITE, VIEW_KERNEL);

	check_watches(c, linear, size, true);
	return size > FRAME_SIZE - (linear & (FRAME_SIZE - 1)) ? NULL : p.host;
}

const uint8_t *mmu_fetch(struct cpu *c, uint64_t linear, unsigned *avail, uint64_t *frame)
{
	struct page p = page_get(c, SEG_CS, linear, MMU_EXEC, c->tlbs->view);

	*avail = FRAME_SIZE - (linear & (FRAME_SIZE - 1));
	if (!p.host) {
		if (*avail > sizeof(c->fetch_bytes))
			*avail = sizeof(c->fetch_bytes);
		part_read(c, &p, c->fetch_bytes, *avail);
		*frame = MMU_NO_FRAME;
		return c->fetch_bytes;
	}
	*frame = (uint64_t)(p.host - c->ram_host) >> FRAME_SHIFT;
	return p.host;
}

int mmu_translate(struct cpu *c, uint64_t linear, uint64_t *gpa)
{
	struct walk w;
	uint32_t error;

	if (cpu_long_mode(c) && !cpu_canonical(c, linear))
		return -EFAULT;
	if (mmu_walk(c, linear, MMU_READ, WALK_KERNEL_AC, true, &w, &error))
		return -EFAULT;
	*gpa = w.gpa | (linear & 0xfff);
	return 0;
}

unsigned mmu_page_kind(const struct cpu *c, uint64_t linear)
{
	const struct tlb_view *v = &c->tlbs->now->view[c->tlbs->view];
	unsigned i = tlb_index(linear);

	if (v->tlb.entry[i].exec != (linear & ~(uint64_t)(FRAME_SIZE - 1)))
		return PAGE_LARGE;
	return (v->global[i / 64] >> (i % 64) & 1 ? PAGE_GLOBAL : 0) | (v->large[i / 64] >> (i % 64) & 1 ? PAGE_LARGE : 0);
}

void mmu_code_stored(struct cpu *c, uint64_t offset, unsigned n)
{
	uint64_t frame = offset >> FRAME_SHIFT;

	if (!c->t.tr)
		ram_code_written(c->vm->ram, frame);
	else if (!cache_code_stored(c->t.tr, frame, offset & (FRAME_SIZE - 1), n))
		return;
	if (atomic_load(&c->vm->monitors))
		monitor_stored(c, frame);
	c->brk = 1; /* the running block may be of that frame */
}
