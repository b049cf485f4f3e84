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
#include "engine/soft/translate/call.h"

#include "engine/soft/mmu/tlb.h"
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

/* Makes the page at @page the one that is fetched from, if the TLB has it. */
static bool fetch_from(struct cpu *c, uint64_t page)
{
	const struct tlb_entry *e = &c->tlb->entry[tlb_index(page)];

	if (c->fetch_linear == page)
		return true;
	if (e->exec != page)
		return false;
	c->fetch_linear = page;
	c->fetch_host = (const uint8_t *)(uintptr_t)(page + e->addend);
	c->fetch_frame = (uint64_t)(c->fetch_host - c->ram_host) >> FRAME_SHIFT;
	c->t.fetch_kind = (uint8_t)mmu_page_kind(c, page);
	return true;
}

/* The block at @rip, which is in the jump cache now; or NULL. */
static const struct tblock *block_for(struct cpu *c, uint64_t rip)
{
	const struct tblock *b;

	if (!fetch_from(c, rip & ~(uint64_t)(FRAME_SIZE - 1)))
		return NULL;
	b = cache_find(c->t.tr, c->fetch_frame << FRAME_SHIFT | (rip & (FRAME_SIZE - 1)), translate_mode(c));
	if (b)
		jumps_set(c, rip, b->far_code);
	return b;
}

const uint8_t *call_find(struct cpu *c)
{
	uint64_t rip = c->gpr[GPR_RIP];
	const struct jump *j = &c->t.jumps_open->entry[rip & (JUMPS - 1)];
	const struct tblock *b;

	if (!(j->neg_rip + rip))
		return (const uint8_t *)(uintptr_t)j->code;
	b = block_for(c, rip);
	return b ? c->t.tr->rx + b->far_code : NULL;
}

bool call_jump(struct cpu *c, uint64_t rip)
{
#ifdef TRANSLATE_STATS
	extern uint64_t stats_jump[65536][4];
	uint64_t *s = stats_jump[rip & 0xffff];
	s[0]++;
	if (c->t.jumps != c->t.jumps_open) s[3]++;
	if (c->t.jumps_open->entry[rip & 65535].neg_rip + rip) { s[1] = rip; s[2] = -c->t.jumps_open->entry[rip & 65535].neg_rip; }
#endif
	return !atomic_load_explicit(&c->req, memory_order_relaxed) && block_for(c, rip);
}

const uint8_t *call_run(struct cpu *c)
{
	const struct insn *in = &c->t.tr->calls[c->t.exit_slot];

#ifdef TRANSLATE_STATS
	extern uint64_t stats_one[3][2048];

	stats_one[2][in->id]++;
#endif
	c->gpr[GPR_RIP] = c->t.page + c->t.exit_at;
	if (c->shadow) /* the run loop's to step, and to look at what has to wait no longer */
		return NULL;
	if (!is_light(in))
		translate_vector_save(c);
	c->gpr[GPR_RIP] += in->len;
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
