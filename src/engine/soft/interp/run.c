// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The loop of tier 1: find the block at RIP, run its instructions one after another, look after
 * events between blocks.
 *
 * Exceptions and exits unwind to run_loop with __builtin_longjmp (vcpu/leave.c). Everything that
 * asks for attention sets c->req (other threads), c->attn (this thread) or c->brk (the block ends
 * after this instruction), so that a running block tests one byte an instruction and the loop one
 * word a block. A block has at most BLOCK_INSNS_MAX instructions, each of which does a bounded
 * amount of work (a page of a string operation): that bounds the delay of an interrupt.
 */
#include "engine/soft/interp/block.h"
#include "engine/soft/translate/translate.h"
#include "engine/soft/vcpu/vcpu.h"

#include <string.h>

static void execute64(struct cpu *c, const struct block *b, unsigned count)
{
	const struct insn *in = b->insn, *end = in + count;

	c->brk = 0;
	do {
		c->gpr[GPR_RIP] += in->len;
		c->cur = in;
		in->fn(c, in);
		in++;
	} while (in != end && !c->brk);
	c->insn_count += (uint64_t)(in - b->insn);
}

/* 16- and 32-bit code: EIP wraps at 32 bits in both; the limit of CS is looked after by block_at_rip. */
static void execute_legacy(struct cpu *c, const struct block *b, unsigned count)
{
	const struct insn *in = b->insn, *end = in + count;

	c->brk = 0;
	do {
		c->gpr[GPR_RIP] = (uint32_t)(c->gpr[GPR_RIP] + in->len);
		c->cur = in;
		in->fn(c, in);
		in++;
	} while (in != end && !c->brk);
	c->insn_count += (uint64_t)(in - b->insn);
}

static uint64_t rip_linear(const struct cpu *c)
{
	uint64_t rip = c->gpr[GPR_RIP];

	return c->mode == INSN_MODE64 ? rip : (uint32_t)(rip + c->seg[SEG_CS].base);
}

static bool at_breakpoint(const struct cpu *c, uint64_t linear)
{
	for (unsigned i = 0; c->debug && i < c->debug->count; i++)
		if (c->debug->breakpoint[i] == linear)
			return true;
	return false;
}

/*
 * Breakpoints at the instruction that is about to run (SDM vol. 3, 17.3.1.1): the guest's are
 * faults, which RF holds off, and the loading of SS by the instruction before. True: leave.
 */
static bool code_breakpoint(struct cpu *c, uint64_t linear)
{
	uint32_t bits;

	if (at_breakpoint(c, linear))
		return debugger_leave(c, 0);
	if ((c->sysflags & RF_RF) || c->shadow == 2)
		return false;
	bits = debug_code_at(c, linear);
	if (bits) {
		debug_report(c, bits);
		cpu_raise(c, EXC_DB);
	}
	return false;
}

/*
 * Whether a single-step trap follows an instruction that has completed (17.3.1.4). TF counts as it was
 * before the instruction, so that none follows the POPF or IRET that sets it; but
 *  - SYSCALL and SYSRET look at TF as they leave it;
 *  - those that enter a handler (INT n and its kin) clear TF, and nothing is left to trap;
 *  - the loading of SS holds it off, for good: the next instruction has a trap of its own.
 * With IA32_DEBUGCTL.BTF only taken branches count (17.4.3).
 */
static bool single_step_due(const struct cpu *c, unsigned id, bool tf, bool sequential)
{
	bool now = (c->sysflags & RF_TF) != 0;

	switch (id) {
	case INSN_ID_SYSCALL: return now;
	case INSN_ID_SYSRET: return false; /* it sees to that itself */
	case INSN_ID_RSM: return false; /* what was pending when the SMI came is what it leaves */
	case INSN_ID_INT:
	case INSN_ID_INT3:
	case INSN_ID_INTO:
	case INSN_ID_INT1:
		tf = tf && now;
		break;
	}
	if (!tf || c->shadow == 2)
		return false;
	return !(c->debugctl & DEBUGCTL_BTF) || !sequential;
}

/* Runs the one instruction at the start of @b. */
static void step_one(struct cpu *c, const struct block *b)
{
	const struct insn *in = &b->insn[0];
	bool tf = (c->sysflags & RF_TF) != 0, repeated = in->flags & (INSN_REP | INSN_REPNE), sequential;
	uint64_t start = c->gpr[GPR_RIP], next = start + in->len;

	if (c->mode != INSN_MODE64)
		next = (uint32_t)next;
	c->shadow_was = c->shadow;
	c->shadow = 0;
	/* RF ends at the start of the instruction (17.3.1.1); one that does not complete gets it back. */
	c->dbg.rf_was = c->sysflags & RF_RF;
	c->sysflags &= ~(uint32_t)RF_RF;
	c->gpr[GPR_RIP] = next;
	c->cur = in;
	in->fn(c, in);
	c->cur = NULL;
	c->shadow_was = 0;
	c->dbg.rf_was = 0;
	c->insn_count++;
	c->attn = 1;
	cpu_replay_done(c);
	sequential = c->gpr[GPR_RIP] == next || (repeated && c->gpr[GPR_RIP] == start);
	if (single_step_due(c, in->id, tf, sequential))
		debug_trap(c, DR6_BS);
}

/*
 * The other side of the loop: one instruction in an interrupt shadow, with TF or RF, under a debugger,
 * or when it is being run again with the answer to an access; a whole block when it is only that
 * breakpoints exist elsewhere. True: leave.
 */
static bool step(struct cpu *c)
{
	bool stepped = c->debug && c->debug->step, one = stepped;
	uint64_t linear = rip_linear(c);
	struct block *b;

	c->cur = NULL;
	if (c->dbg.step && !c->replay_count && code_breakpoint(c, linear))
		return true;
	c->shadow_was = c->shadow; /* the fetch may leave the engine, too */
	b = block_at_rip(c, NULL);
	one |= c->shadow || (c->sysflags & (RF_TF | RF_RF)) || c->replay_count;
	if (one || debug_code_within(c, linear, b->bytes)) {
		step_one(c, b);
		return stepped && debugger_leave(c, 1);
	}
	if (c->mode == INSN_MODE64)
		execute64(c, b, b->count);
	else
		execute_legacy(c, b, b->count);
	if (c->replay_count)
		cpu_replay_done(c);
	return false;
}

/*
 * Tier 2, as far as it goes. Then NULL, when the loop is to look at events; or the block of which @count instructions
 * have to be interpreted first.
 */
static struct block *translated(struct cpu *c, unsigned *count)
{
	enum translate_next next;
	struct block *b;

	if (translate_skip(c)) {
		b = block_at_rip(c, NULL);
		*count = b->count;
		return b;
	}
	if (!translate_again(c, &next)) {
		b = block_at_rip(c, NULL);
		next = translate_run(c, b);
		if (next == NEXT_GIVEN) {
			*count = b->count;
			return b;
		}
	}
	if (next == NEXT_LOOP)
		return NULL;
	b = block_at_rip(c, NULL);
	*count = next == NEXT_ONE ? 1 : b->count;
	return b;
}

static void run_loop(struct cpu *c)
{
	unsigned count;
	struct block *b;

	if (__builtin_setjmp(c->jmp)) {
		c->sysflags |= c->dbg.rf_was;
		c->dbg.rf_was = c->dbg.hits = 0;
		if (c->left == LEFT_BY_EXIT) {
			c->shadow = c->shadow_was;
			return;
		}
		if (events_raised(c))
			return;
	}
	c->shadow_was = 0;
	b = NULL;
	for (;;) {
		if (c->delivering != DELIVER_NONE) {
			c->cur = NULL;
			deliver(c, c->deliver_vector, c->deliver_has_error, c->deliver_error, false);
			c->delivering = DELIVER_NONE;
			cpu_replay_done(c);
			b = NULL;
		}
		if (atomic_load_explicit(&c->req, memory_order_relaxed) | c->attn) {
			if (events_check(c))
				return;
			b = NULL;
			if (c->delivering != DELIVER_NONE)
				continue;
		}
		if (c->activity != VCPU_RUNNING) {
			if (events_wait(c))
				return;
			c->attn = 1;
			continue;
		}
		if (c->shadow | (c->sysflags & (RF_TF | RF_RF)) | c->replay_count | c->dbg.step) {
			if (step(c))
				return;
			b = NULL;
			continue;
		}
		c->cur = NULL; /* a fault of fetching belongs to no instruction */
		if (translate_possible(c)) {
			b = translated(c, &count);
			if (!b)
				continue;
		} else {
			b = block_at_rip(c, b);
			count = b->count;
		}
		if (c->mode == INSN_MODE64)
			execute64(c, b, count);
		else
			execute_legacy(c, b, count);
		if (c->replay_count)
			cpu_replay_done(c);
	}
}

void cpu_run(struct cpu *c)
{
	if (cpu_timer_init(c)) {
		c->run->exit = ENGINE_EXIT_INTERNAL;
		strcpy(c->run->internal.why, "the host gives no more timers");
		c->run->internal.code_len = 0;
		return;
	}
	world_enter(c);
	pv_enter(c);
	replay_resume(c);
	c->attn = 1;
	cpu_fetch_forget(c);
	run_loop(c);
	c->run->extint_ready = (c->sysflags & RF_IF) && !c->shadow && !c->extint_pending && !c->replay_count &&
			       !c->pending_exit && c->delivering == DELIVER_NONE && lapic_accepts_extint(c) &&
			       c->activity <= VCPU_HALTED;
	c->run->counter[0] = c->insn_count;
	c->run->counter[1] = c->blocks->decoded;
	c->run->counter[2] = c->blocks->flushes;
	if (c->t.tr)
		translate_counters(c, &c->run->counter[3]);
	pv_leave(c);
	world_leave(c);
}

bool cpu_settled(const struct cpu *c)
{
	return !c->pending_exit && !c->replay_count && c->delivering == DELIVER_NONE && !lapic_eoi_waits(c);
}
