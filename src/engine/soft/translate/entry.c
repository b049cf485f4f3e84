// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The trampolines between C and translated code, at the start of the code cache.
 *
 *   enter   void enter(struct cpu *, host address): keeps the host's callee-saved registers and RSP, loads the guest's
 *           registers and flags, jumps
 *   leave   stores them, and returns to who called enter
 *   fault   where the handler of host signals sends an instruction that faulted: T0 is its offset in the page
 *
 * GS is the struct cpu. The vector registers are left alone: run.c says who looks after them.
 */
#include "engine/soft/translate/emit.h"

static struct host_mem guest(unsigned r)
{
	return host_cpu(offsetof(struct cpu, gpr) + 8 * (size_t)r);
}

static const uint8_t callee_saved[] = { RBX, RBP, R12, R13, R14, R15 };
enum { SAVED = sizeof(callee_saved) };

static void push_pop(struct code *c, unsigned r, unsigned opcode)
{
	if (r >= 8)
		asm_byte(c, 0x41);
	asm_byte(c, opcode | (r & 7));
}

static void emit_enter(struct code *c)
{
	for (unsigned i = 0; i < SAVED; i++)
		push_pop(c, callee_saved[i], 0x50);
	asm_store(c, 8, HOST_CPU(t.host_rsp), RSP);
	asm_mov(c, 8, T1, RSI);
	asm_load(c, 8, T0, guest(GPR_RIP)); /* for a far entry */
	asm_load(c, 8, RSP, guest(RSP));
	asm_alu_rm(c, ALU_ADD, 8, RSP, HOST_CPU(t.bias));
	asm_load(c, 4, RAX, HOST_CPU(flags));
	asm_bytes(c, "\x04\x7f\x9e", 3); /* ADD AL, 127: OF; SAHF */
	for (unsigned r = 0; r < R14; r++)
		if (r != RSP)
			asm_load(c, 8, r, guest(r));
	asm_jmp_reg(c, T1);
}

static void emit_leave_code(struct code *c)
{
	for (unsigned r = 0; r < R14; r++)
		if (r != RSP)
			asm_store(c, 8, guest(r), r);
	asm_bytes(c, "\x9f\x0f\x90\xc0\x0f\xb7\xc0", 7); /* LAHF; SETO AL; MOVZX EAX, AX */
	asm_store(c, 4, HOST_CPU(flags), RAX);
	asm_mov(c, 8, T0, RSP);
	asm_alu_rm(c, ALU_ADD, 8, T0, HOST_CPU(t.neg_bias));
	asm_store(c, 8, guest(RSP), T0);
	asm_load(c, 8, RSP, HOST_CPU(t.host_rsp));
	for (unsigned i = SAVED; i--;)
		push_pop(c, callee_saved[i], 0x58);
	asm_byte(c, 0xc3);
}

void emit_trampolines(struct translator *tr)
{
	struct code c = { .p = tr->rw + tr->used, .end = tr->rw + tr->size, .to_rx = tr->rx - tr->rw };

	asm_align(&c, 64);
	tr->enter = (uint32_t)(c.p - tr->rw);
	emit_enter(&c);
	asm_align(&c, 64);
	tr->leave = (uint32_t)(c.p - tr->rw);
	emit_leave_code(&c);
	asm_align(&c, 64);
	tr->fault = (uint32_t)(c.p - tr->rw);
	asm_store(&c, 4, HOST_CPU(t.exit_at), T0);
	asm_store_imm(&c, 4, HOST_CPU(t.exit_kind), EXIT_ONE);
	asm_link(asm_jmp(&c), tr->rw + tr->leave);
	asm_align(&c, 64);
	tr->used = tr->common_end = (uint32_t)(c.p - tr->rw);
}
