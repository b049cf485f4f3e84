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
#include "engine/soft/vcpu/vcpu.h"

#include <string.h>

enum { DR6_BS = 1 << 14 };

static void execute64(struct cpu *c, const struct block *b)
{
	const struct insn *in = b->insn, *end = in + b->count;

	c->brk = 0;
	do {
		c->gpr[GPR_RIP] += in->len;
		c->cur = in;
		in->fn(c, in);
		in++;
	} while (in != end && !c->brk);
	c->insn_count += (uint64_t)(in - b->insn);
}

/* 16- and 32-bit code: the instruction pointer wraps at its width. */
static void execute_legacy(struct cpu *c, const struct block *b, unsigned count)
{
	const struct insn *in = b->insn, *end = in + count;

	c->brk = 0;
	do {
		uint64_t rip = c->gpr[GPR_RIP] + in->len;

		c->gpr[GPR_RIP] = c->mode == INSN_MODE16 ? (uint16_t)rip : (uint32_t)rip;
		c->cur = in;
		in->fn(c, in);
		in++;
	} while (in != end && !c->brk);
	c->insn_count += (uint64_t)(in - b->insn);
}

static bool at_breakpoint(const struct cpu *c)
{
	uint64_t linear = c->gpr[GPR_RIP];

	if (c->mode != INSN_MODE64)
		linear = (uint32_t)(linear + c->seg[SEG_CS].base);
	for (unsigned i = 0; i < c->debug->count; i++)
		if (c->debug->breakpoint[i] == linear)
			return true;
	return false;
}

static bool leave_for_debugger(struct cpu *c, bool step)
{
	c->run->exit = ENGINE_EXIT_DEBUG;
	c->run->debug.rip = c->gpr[GPR_RIP];
	c->run->debug.dr6 = c->dr[6];
	c->run->debug.step = step;
	return true;
}

/* Instructions that enter a handler which clears TF: no single-step trap follows them. */
static bool swallows_trap(const struct cpu *c, unsigned id)
{
	switch (id) {
	case INSN_ID_INT:
	case INSN_ID_INT3:
	case INSN_ID_INTO:
	case INSN_ID_INT1:
	case INSN_ID_SYSCALL:
	case INSN_ID_SYSENTER: return !(c->sysflags & RF_TF);
	default: return false;
	}
}

/*
 * Runs exactly one instruction: in an interrupt shadow, while single-stepping, under a debugger,
 * or when it is being run again with the answer to an access. True: leave.
 */
static bool step(struct cpu *c)
{
	bool tf = (c->sysflags & RF_TF) != 0;
	struct block *b;
	unsigned id;

	if (c->debug && !c->replay_count && at_breakpoint(c))
		return leave_for_debugger(c, false);
	c->cur = NULL;
	b = block_at_rip(c, NULL);
	id = b->insn[0].id;
	c->shadow_was = c->shadow;
	c->shadow = 0;
	c->gpr[GPR_RIP] += b->insn[0].len;
	if (c->mode != INSN_MODE64)
		c->gpr[GPR_RIP] = c->mode == INSN_MODE16 ? (uint16_t)c->gpr[GPR_RIP] : (uint32_t)c->gpr[GPR_RIP];
	c->cur = &b->insn[0];
	b->insn[0].fn(c, &b->insn[0]);
	c->cur = NULL;
	c->shadow_was = 0;
	c->insn_count++;
	c->attn = 1;
	cpu_replay_done(c);
	if (tf && c->shadow != 2 && !swallows_trap(c, id)) {
		c->dr[6] |= DR6_BS;
		cpu_raise(c, EXC_DB);
	}
	return c->debug && c->debug->step && leave_for_debugger(c, true);
}

static void run_loop(struct cpu *c)
{
	struct block *b;

	if (__builtin_setjmp(c->jmp)) {
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
		if (c->shadow | (c->sysflags & RF_TF) | c->replay_count | (c->debug != NULL)) {
			if (step(c))
				return;
			b = NULL;
			continue;
		}
		c->cur = NULL; /* a fault of fetching belongs to no instruction */
		b = block_at_rip(c, b);
		if (c->mode == INSN_MODE64)
			execute64(c, b);
		else
			execute_legacy(c, b, b->count);
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
	world_leave(c);
}

bool cpu_settled(const struct cpu *c)
{
	return !c->pending_exit && !c->replay_count && c->delivering == DELIVER_NONE && !lapic_eoi_waits(c);
}
