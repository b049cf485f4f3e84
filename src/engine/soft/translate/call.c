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

#include "engine/soft/interp/interp.h"
#include "engine/soft/mmu/tlb.h"
#include "engine/soft/translate/translate.h"
#include "engine/soft/vcpu/vcpu.h"

#include <errno.h>
#include <stdlib.h>

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

/* The block at @rip, which is in the jump cache now; or NULL. */
static const struct tblock *block_for(struct cpu *c, uint64_t rip)
{
	const struct tblock *b;

	if (!mmu_try_fetch(c, rip))
		return NULL;
	fetch_from(c, rip & ~(uint64_t)(FRAME_SIZE - 1));
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
	if (atomic_load_explicit(&c->req, memory_order_relaxed))
		return false;
	/* Who made the last request may have closed the gate after it was granted. */
	jumps_open(c);
	return block_for(c, rip);
}

/* Runs @in, which is at RIP, by its handler; where to go on, or NULL: in the run loop. */
static const uint8_t *run_handler(struct cpu *c, const struct insn *in)
{
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

const uint8_t *call_run(struct cpu *c)
{
	const struct insn *in = &c->t.tr->calls[c->t.exit_slot];

	c->gpr[GPR_RIP] = c->t.page + c->t.exit_at;
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

/* --- instructions across two pages --- */

/*
 * A block is of one page, so these are in none. Each vCPU remembers some that it has decoded: good as long as both pages are
 * where they were, and no code was stored to there (cache.h).
 */
struct crossing {
	uint64_t rip;
	uint64_t frame[2];
	uint32_t gen[2];
	uint32_t mode;
	struct insn in;
};
enum { CROSSINGS = 256 };

int calls_init(struct cpu *c)
{
	c->t.crossing = calloc(CROSSINGS, sizeof(*c->t.crossing));
	return c->t.crossing ? 0 : -ENOMEM;
}

void calls_finish(struct cpu *c)
{
	free(c->t.crossing);
	c->t.crossing = NULL;
}

/* The bytes of the page at @page, and its frame; NULL: it has to be walked to by others. */
static const uint8_t *code_page(struct cpu *c, uint64_t page, uint64_t *frame)
{
	const uint8_t *host;

	if (!mmu_try_fetch(c, page))
		return NULL;
	host = (const uint8_t *)(uintptr_t)(page + c->tlb->entry[tlb_index(page)].addend);
	*frame = (uint64_t)(host - c->ram_host) >> FRAME_SHIFT;
	return host;
}

/* Decodes the instruction that begins @first bytes before the end of a page. False: there is none, or it is not across, or no handler's. */
static bool crossing_decode(struct cpu *c, struct crossing *x, const uint8_t *const host[2], unsigned first)
{
	uint8_t bytes[2 * INSN_BYTES_MAX];
	int len;

	for (unsigned i = 0; i < 2; i++)
		x->gen[i] = cache_watch_frame(c, x->frame[i]);
	cache_add_lines(c->t.tr, x->frame[0], cache_lines(FRAME_SIZE - first, first));
	cache_add_lines(c->t.tr, x->frame[1], cache_lines(0, INSN_BYTES_MAX));
	for (unsigned i = 0; i < first; i++)
		bytes[i] = *(const volatile uint8_t *)(host[0] + FRAME_SIZE - first + i);
	for (unsigned i = 0; i < INSN_BYTES_MAX; i++)
		bytes[first + i] = *(const volatile uint8_t *)(host[1] + i);
	len = insn_decode(bytes, first + INSN_BYTES_MAX, INSN_MODE64, &x->in);
	if (len <= (int)first || (opcode_table[x->in.row].attr & OP_NATIVE))
		return false;
	interp_bind(c, &x->in);
	return true;
}

static const struct insn *crossing_at(struct cpu *c, uint64_t rip)
{
	uint64_t page = rip & ~(uint64_t)(FRAME_SIZE - 1), frame[2];
	struct crossing *x = &c->t.crossing[(rip >> FRAME_SHIFT) % CROSSINGS];
	uint32_t mode = translate_mode(c);
	const uint8_t *host[2];

	for (unsigned i = 0; i < 2; i++) {
		host[i] = code_page(c, page + i * FRAME_SIZE, &frame[i]);
		if (!host[i])
			return NULL;
	}
	if (x->rip == rip && x->mode == mode && x->frame[0] == frame[0] && x->frame[1] == frame[1] &&
	    x->gen[0] == atomic_load_explicit(&c->code_gen[frame[0]], memory_order_relaxed) &&
	    x->gen[1] == atomic_load_explicit(&c->code_gen[frame[1]], memory_order_relaxed))
		return &x->in;
	*x = (struct crossing){ .frame = { frame[0], frame[1] }, .mode = mode };
	if (!crossing_decode(c, x, host, (unsigned)(page + FRAME_SIZE - rip)))
		return NULL;
	x->rip = rip;
	return &x->in;
}

bool call_crossing(struct cpu *c, const uint8_t **code)
{
	uint64_t rip = c->t.page + c->t.exit_at;
	const struct insn *in;

	if ((rip & (FRAME_SIZE - 1)) <= FRAME_SIZE - INSN_BYTES_MAX || c->shadow)
		return false;
	translate_vector_save(c);
	in = crossing_at(c, rip);
	if (!in)
		return false;
	c->gpr[GPR_RIP] = rip;
	*code = run_handler(c, in);
	return true;
}
