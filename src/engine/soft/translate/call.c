// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Instructions that translated code has the interpreter's handlers run, without a way through the run loop: SYSCALL, IRET, MOV CR3, WRMSR
 * and whatever else has no emitter. The block ends with EXIT_CALL; here the handler runs, and when nothing asks for the run loop's
 * attention the code at the new RIP follows.
 *
 * A handler may raise, or leave the engine: both unwind to the run loop (vcpu/leave.c), which is below on the stack, as when the
 * interpreter had called it. So everything is as the run loop has it at that point: RIP behind the instruction, cpu.cur, and
 * the vector state at home, unless the handler is known to use no vector register (`is_light`): then only unwinding brings it home.
 *
 * Compiled without vector registers (meson.build).
 */
#include "engine/soft/translate/block.h"
#include "engine/soft/translate/call.h"

#include "engine/soft/interp/interp.h"
#include "engine/soft/mmu/tlb.h"
#include "engine/soft/translate/legacy.h"
#include "engine/soft/translate/translate.h"
#include "engine/soft/vcpu/vcpu.h"

/* Handlers in files that are compiled as this one is, and call nothing else. */
static bool is_light(const struct insn *in)
{
	switch (in->id) {
	case INSN_ID_SYSCALL:
	case INSN_ID_SYSRET:
	case INSN_ID_SWAPGS:
	case INSN_ID_STAC:
	case INSN_ID_CLAC: return true;
	default: return false;
	}
}

/* What is to be seen to before the next instruction, other than running it. */
static bool wanted_elsewhere(const struct cpu *c)
{
	return atomic_load_explicit(&c->req, memory_order_relaxed) || c->attn || c->shadow ||
	       (c->sysflags & (RF_TF | RF_RF)) || c->dbg.step || c->activity != VCPU_RUNNING ||
	       c->delivering != DELIVER_NONE || !translate_possible(c);
}

/* Makes the page at @page, which the TLB has, the one that is fetched from. */
static void fetch_from(struct cpu *c, uint64_t page)
{
	const struct tlb_entry *e = &c->tlb->entry[tlb_index(page)];

	if (c->fetch_linear == page)
		return;
	c->fetch_linear = page;
	c->fetch_host = (const uint8_t *)(uintptr_t)(page + e->addend);
	c->fetch_frame = (uint64_t)(c->fetch_host - c->ram_host) >> FRAME_SHIFT;
	c->t.fetch_kind = (uint8_t)mmu_page_kind(c, page);
}

/* What is at the linear address @page, which may be executed; NULL: it has to be walked to by others. */
static const uint8_t *code_page(struct cpu *c, uint64_t page)
{
	return mmu_try_fetch(c, page) ? (const uint8_t *)(uintptr_t)(page + c->tlb->entry[tlb_index(page)].addend) : NULL;
}

/* The same as block_for, for an instruction at @rip that may go on in the page behind the one that is being fetched from. It is translated at once. */
static const struct tblock *crossing_for(struct cpu *c, uint64_t rip, uint64_t key)
{
	uint64_t next = (rip | (FRAME_SIZE - 1)) + 1, second;
	const uint8_t *page[2] = { c->fetch_host, code_page(c, next & c->t.rip_mask) };
	unsigned kind = page[1] ? mmu_page_kind(c, next & c->t.rip_mask) : 0;
	const struct tblock *b;

	translate_vector_save(c); /* the decoder is not compiled without vector registers */
	if (insn_decode(page[0] + key % FRAME_SIZE, next - rip, (enum insn_mode)c->mode, &(struct insn){ 0 }) != DECODE_MORE)
		return NULL;
	second = page[1] ? (uint64_t)(page[1] - c->ram_host) >> FRAME_SHIFT : FRAME_NONE;
	/* Nobody watches mixed frames. */
	if (second == FRAME_NONE || second == c->fetch_frame || cache_mixed(c->t.tr, second) || cache_mixed(c->t.tr, c->fetch_frame))
		return NULL;
	b = cache_find_crossing(c->t.tr, key, translate_mode(c), second);
	if (!b)
		b = translate_crossing(c, rip, key, translate_mode(c), second, page);
	if (b)
		jumps_set_crossing(c, rip, b->far_code, kind);
	return b;
}

/* The block at @rip, which is in the jump cache now; or NULL. */
static const struct tblock *block_for(struct cpu *c, uint64_t rip)
{
	unsigned offset = rip & (FRAME_SIZE - 1);
	const struct tblock *b;
	uint64_t key;

	if (!mmu_try_fetch(c, rip))
		return NULL;
	fetch_from(c, rip - offset);
	key = c->fetch_frame << FRAME_SHIFT | offset;
	b = cache_find(c->t.tr, key, translate_mode(c));
	if (b)
		jumps_set(c, rip, b->far_code);
	else if (offset > FRAME_SIZE - INSN_BYTES_MAX)
		b = crossing_for(c, rip, key);
	return b;
}

const uint8_t *call_find(struct cpu *c)
{
	uint64_t rip = linear_of_rip(c);
	const uint8_t *known = jumps_find(c, rip);
	const struct tblock *b;

	if (known)
		return known;
	b = block_for(c, rip);
	return b ? c->t.tr->rx + b->far_code : NULL;
}

bool call_jump(struct cpu *c, uint64_t rip)
{
	if (atomic_load_explicit(&c->req, memory_order_relaxed))
		return false;
	/* Who made the last request may have closed the gate after it was granted. */
	jumps_open(c);
	return block_for(c, rip);
}

/* Runs @in, which is at RIP, by its handler; where to go on, or NULL: in the run loop. */
static const uint8_t *run_handler(struct cpu *c, const struct insn *in)
{
	c->gpr[GPR_RIP] = (c->gpr[GPR_RIP] + in->len) & c->t.rip_mask;
	c->cur = in;
	c->brk = 0;
	in->fn(c, in);
	c->cur = NULL;
	c->insn_count++;
	if (c->replay_count)
		cpu_replay_done(c);
	if (wanted_elsewhere(c))
		return NULL;
	jumps_open(c);
	return call_find(c);
}

const uint8_t *call_run(struct cpu *c)
{
	const struct insn *in = &c->t.tr->calls[c->t.exit_slot];

	c->gpr[GPR_RIP] = rip_of(c, c->t.page + c->t.exit_at);
	if (c->shadow) /* the run loop's to step, and to look at what has to wait no longer */
		return NULL;
	if (!is_light(in)) {
		translate_vector_save(c);
		/* It may wait, and another vCPU throw away all blocks, and what belongs to them. */
		c->t.called = *in;
		in = &c->t.called;
	}
	return run_handler(c, in);
}
