// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The trampolines between C and translated code, at the start of the code cache.
 *
 *   enter   void enter(struct cpu *, host address): keeps the host's callee-saved registers and RSP, loads the guest's
 *           registers and flags, jumps
 *   leave   stores them, and returns to who called enter
 *   exit    leaves at an exit point (state.h): T1 is its index, T0 goes to exit_value
 *   jump_miss  the same for a lookup that missed the first way of the jump cache; but if the second has it, it exchanges them and goes back
 *   fault   where the handler of host signals sends an instruction that faulted: T0 is its offset in the page
 *   fill    a slot was missed: fills it from the TLB, as slot_fill does (slots.c), and goes on behind the check; without an entry it leaves
 *
 * GS is the struct cpu. The vector registers are left alone: run.c says who looks after them.
 *
 * What fill relies on: an entry's tag for loads says that the page may be read, and `base`, `extra` that all of the region may; its tag
 * for stores, that the page may be stored to and its frame has no code. An access is in the page when (address ^ tag) <= 4096 - size,
 * so it is in the region. Nobody else changes the vCPU's TLB and slots meanwhile (slots.c).
 */
#include "engine/soft/translate/emit.h"

#include "engine/soft/mmu/mmu.h"

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
	asm_load(c, 8, T0, HOST_CPU(t.linear)); /* for a far entry */
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

/* --- filling a slot --- */

static void shift(struct code *c, unsigned size, unsigned extension, unsigned reg, unsigned by)
{
	asm_rr(c, size, 0xc1, extension, reg);
	asm_byte(c, by);
}

static void shr(struct code *c, unsigned size, unsigned reg, unsigned by) { shift(c, size, 5, reg, by); }
static void shl(struct code *c, unsigned size, unsigned reg, unsigned by) { shift(c, size, 4, reg, by); }

static size_t tag_of(bool store)
{
	return store ? offsetof(struct tlb_entry, store) : offsetof(struct tlb_entry, read);
}

void emit_tlb_lookup(struct code *c, unsigned t, unsigned entry, bool store)
{
	_Static_assert(sizeof(struct tlb_entry) == 1 << 6, "the shift by 6");
	asm_mov(c, 8, entry, t);
	shr(c, 8, entry, FRAME_SHIFT - 6);
	asm_alu_ri(c, ALU_AND, 4, entry, (TLB_ENTRIES - 1) << 6);
	asm_alu_rm(c, ALU_ADD, 8, entry, HOST_CPU(tlb));
	asm_alu_rm(c, ALU_XOR, 8, t, host_at(entry, (int32_t)tag_of(store)));
}

/* The field at @at of the slot whose offset is in @index. */
static struct host_mem slot_at(unsigned index, size_t at)
{
	return (struct host_mem){ .base = (uint8_t)index, .index = HOST_NONE, .gs = true, .disp = (int32_t)(offsetof(struct cpu, slot) + at) };
}

static const uint8_t fill_uses[] = { RAX, RCX, RDX };

static void fill_registers(struct code *c, bool save)
{
	for (unsigned i = 0; i < sizeof(fill_uses); i++) {
		struct host_mem m = host_cpu(offsetof(struct cpu, t.fill_save) + 8 * i);

		if (save)
			asm_store(c, 8, m, fill_uses[i]);
		else
			asm_load(c, 8, fill_uses[i], m);
	}
}

static void emit_fill_leave(struct translator *tr, struct code *c, enum exit_kind kind)
{
	asm_store(c, 8, HOST_CPU(t.exit_value), T0);
	asm_store_imm(c, 4, HOST_CPU(t.exit_kind), kind);
	asm_link(asm_jmp(c), tr->rw + tr->leave);
}

/* TEST m, imm8; then a branch that is taken if a bit is set. */
static uint8_t *if_bit(struct code *c, struct host_mem m, unsigned bit)
{
	asm_rm(c, 1, 0xf6, 0, m);
	asm_byte(c, bit);
	return asm_jcc(c, 5);
}

/* RAX is the slot's offset, RDX the entry's kind. RCX is clobbered. */
static void emit_log(struct code *c)
{
	uint8_t *done[2], *global, *append;

	_Static_assert(sizeof(struct slot) == 1 << 5, "the shift by 5");
	done[0] = if_bit(c, slot_at(RAX, offsetof(struct slot, log)), SLOT_LOG);
	asm_rr(c, 1, 0xf6, 0, RDX); /* TEST DL, imm8 */
	asm_byte(c, TLB_GLOBAL);
	global = asm_jcc(c, 5);
	asm_load(c, 4, RCX, HOST_CPU(t.slot_logged[0]));
	asm_alu_mi(c, ALU_ADD, 4, HOST_CPU(t.slot_logged[0]), 1);
	asm_alu_mi(c, ALU_OR, 1, slot_at(RAX, offsetof(struct slot, log)), SLOT_LOG);
	shl(c, 8, RCX, 2);
	asm_alu_rm(c, ALU_ADD, 8, RCX, HOST_CPU(t.slot_log[0]));
	append = asm_jmp(c);
	asm_link(global, c->p);
	done[1] = if_bit(c, slot_at(RAX, offsetof(struct slot, log)), SLOT_LOG_GLOBAL);
	asm_load(c, 4, RCX, HOST_CPU(t.slot_logged[1]));
	asm_alu_mi(c, ALU_ADD, 4, HOST_CPU(t.slot_logged[1]), 1);
	asm_alu_mi(c, ALU_OR, 1, slot_at(RAX, offsetof(struct slot, log)), SLOT_LOG_GLOBAL);
	shl(c, 8, RCX, 2);
	asm_alu_rm(c, ALU_ADD, 8, RCX, HOST_CPU(t.slot_log[1]));
	asm_link(append, c->p);
	shr(c, 8, RAX, 5);
	asm_store(c, 4, host_at(RCX, 0), RAX);
	shl(c, 8, RAX, 5);
	asm_link(done[0], c->p);
	asm_link(done[1], c->p);
}

/* T0 is the linear address, RDX the entry's kind. RAX, RCX are clobbered. */
static void emit_note_page(struct code *c)
{
	const struct { unsigned shift; size_t at; } page = { FRAME_SHIFT, offsetof(struct slot_page_set, page) },
						    large = { 30, offsetof(struct slot_page_set, large) };
	uint8_t *small, *done;

	_Static_assert(sizeof(struct slot_page_set) == 1 << 12, "the shift by 12");
	asm_mov(c, 4, RCX, RDX);
	asm_alu_ri(c, ALU_AND, 4, RCX, TLB_GLOBAL);
	shl(c, 4, RCX, 12);
	asm_alu_rm(c, ALU_ADD, 8, RCX, HOST_CPU(t.slot_pages));
	asm_mov(c, 8, RAX, T0);
	asm_rr(c, 1, 0xf6, 0, RDX);
	asm_byte(c, TLB_LARGE);
	small = asm_jcc(c, 4);
	shr(c, 8, RAX, large.shift);
	asm_alu_ri(c, ALU_AND, 4, RAX, SLOT_PAGES - 1);
	asm_store_imm(c, 1, host_indexed(RCX, RAX, 0, (int32_t)large.at), 1);
	done = asm_jmp(c);
	asm_link(small, c->p);
	shr(c, 8, RAX, page.shift);
	asm_alu_ri(c, ALU_AND, 4, RAX, SLOT_PAGES - 1);
	asm_store_imm(c, 1, host_indexed(RCX, RAX, 0, (int32_t)page.at), 1);
	asm_link(done, c->p);
}

/* The slot at RAX from the entry at RDX, for site T1. RCX is clobbered, RDX becomes the entry's kind. */
static void emit_slot(struct code *c, bool store)
{
	asm_load(c, 8, RCX, host_at(RDX, store ? offsetof(struct tlb_entry, store) : offsetof(struct tlb_entry, base)));
	asm_store(c, 8, slot_at(RAX, offsetof(struct slot, base)), RCX);
	if (store)
		asm_mov_imm(c, RCX, 1);
	else
		asm_load(c, 4, RCX, host_at(RDX, offsetof(struct tlb_entry, extra)));
	asm_alu_rm(c, ALU_ADD, 8, RCX, host_at(T1, offsetof(struct slot_site, room)));
	asm_store(c, 8, slot_at(RAX, offsetof(struct slot, limit)), RCX);
	asm_load(c, 8, RCX, host_at(RDX, offsetof(struct tlb_entry, addend)));
	asm_store(c, 8, slot_at(RAX, offsetof(struct slot, addend)), RCX);
	asm_load(c, 4, RDX, host_at(RDX, offsetof(struct tlb_entry, kind)));
	asm_store(c, 1, slot_at(RAX, offsetof(struct slot, kind)), RDX);
	asm_store_imm(c, 1, slot_at(RAX, offsetof(struct slot, store)), store);
	asm_store_imm(c, 1, slot_at(RAX, offsetof(struct slot, pages)), 1);
}

/*
 * T1 is the number of the slot; T0 the linear address, or (@plain) that less slot.base.
 */
static void emit_fill(struct translator *tr, struct code *c, bool store, bool plain)
{
	uint8_t *miss, *hot, *near, *far;

	asm_store(c, 4, HOST_CPU(t.exit_slot), T1);
	fill_registers(c, true);
	asm_mov(c, 4, RAX, T1);
	shl(c, 8, RAX, 5);
	_Static_assert(sizeof(struct slot_site) == 1 << 6, "the shift by 6");
	shl(c, 8, T1, 6);
	asm_alu_rm(c, ALU_ADD, 8, T1, HOST_CPU(t.sites));
	if (plain)
		asm_alu_rm(c, ALU_ADD, 8, T0, slot_at(RAX, offsetof(struct slot, base)));
	asm_mov(c, 8, RCX, T0);
	emit_tlb_lookup(c, RCX, RDX, store);
	asm_alu_rm(c, ALU_CMP, 8, RCX, host_at(T1, offsetof(struct slot_site, room)));
	miss = asm_jcc(c, 7);
	/* The next page, or the one before, is no sign of a site that goes to and fro, but of the contrary. */
	asm_mov(c, 8, RCX, T0);
	asm_alu_rm(c, ALU_SUB, 8, RCX, slot_at(RAX, offsetof(struct slot, base)));
	asm_alu_ri(c, ALU_ADD, 8, RCX, FRAME_SIZE);
	asm_alu_ri(c, ALU_CMP, 8, RCX, 3 * FRAME_SIZE);
	near = asm_jcc(c, 2);
	asm_alu_mi(c, ALU_SUB, 4, host_at(T1, offsetof(struct slot_site, left)), 1);
	hot = asm_jcc(c, 8);
	far = asm_jmp(c);
	asm_link(near, c->p);
	asm_alu_mi(c, ALU_ADD, 4, host_at(T1, offsetof(struct slot_site, left)), 1);
	asm_link(far, c->p);
	emit_slot(c, store);
	emit_log(c);
	asm_load(c, 4, RCX, host_at(T1, offsetof(struct slot_site, resume)));
	asm_alu_rm(c, ALU_ADD, 8, RCX, HOST_CPU(t.code_base));
	asm_store(c, 8, HOST_CPU(t.fill_resume), RCX);
	asm_load(c, 8, T1, slot_at(RAX, offsetof(struct slot, addend)));
	emit_note_page(c);
	fill_registers(c, false);
	asm_jmp_mem(c, HOST_CPU(t.fill_resume));
	asm_link(miss, c->p);
	fill_registers(c, false);
	emit_fill_leave(tr, c, EXIT_FILL);
	asm_link(hot, c->p);
	fill_registers(c, false);
	emit_fill_leave(tr, c, EXIT_HOT);
}

/* --- the second way of the jump cache --- */

/* T1 is as emit_jump_entry leaves it. */
static struct host_mem jump_at(unsigned way, size_t field)
{
	return host_indexed(HOST_NONE, T1, 3, (int32_t)(way * sizeof(struct jump_way) + field));
}

static void flags_back(struct code *c)
{
	asm_load(c, 4, RAX, HOST_CPU(t.flags));
	asm_bytes(c, "\x04\x7f\x9e", 3); /* ADD AL, 127: OF; SAHF */
	asm_load(c, 8, RAX, HOST_CPU(t.save_rax));
}

/*
 * T0 is the address, T1 the exit point's index, RCX is saved. Entries of the two ways have the same number, so that all that looks after
 * tables (jumps.c) does not care which of them holds what.
 */
static void emit_jump_miss(struct translator *tr, struct code *c)
{
	const size_t neg_rip = offsetof(struct jump_entry, neg_rip), code = offsetof(struct jump_entry, code);
	uint8_t *miss;

	_Static_assert(sizeof(struct exit_point) == 1 << 4, "the shift by 4");
	asm_store(c, 8, HOST_CPU(t.save_rax), RAX);
	asm_bytes(c, "\x9f\x0f\x90\xc0\x0f\xb7\xc0", 7); /* LAHF; SETO AL; MOVZX EAX, AX */
	asm_store(c, 4, HOST_CPU(t.flags), RAX);
	asm_store(c, 4, HOST_CPU(t.exit_point), T1);
	emit_jump_entry(c);
	asm_load(c, 8, RCX, jump_at(1, neg_rip));
	asm_mov(c, 8, RAX, RCX);
	asm_alu_rr(c, ALU_ADD, 8, RAX, T0);
	miss = asm_jcc(c, 5);
	asm_load(c, 8, RAX, jump_at(0, neg_rip));
	asm_store(c, 8, jump_at(0, neg_rip), RCX);
	asm_store(c, 8, jump_at(1, neg_rip), RAX);
	asm_load(c, 8, RCX, jump_at(1, code));
	asm_load(c, 8, RAX, jump_at(0, code));
	asm_store(c, 8, jump_at(0, code), RCX);
	asm_store(c, 8, jump_at(1, code), RAX);
	asm_load(c, 4, RCX, HOST_CPU(t.exit_point));
	shl(c, 8, RCX, 4);
	asm_alu_rm(c, ALU_ADD, 8, RCX, HOST_CPU(t.exit_points));
	asm_load(c, 4, RCX, host_at(RCX, offsetof(struct exit_point, site)));
	asm_alu_rm(c, ALU_ADD, 8, RCX, HOST_CPU(t.code_base));
	asm_store(c, 8, HOST_CPU(t.fill_resume), RCX);
	flags_back(c);
	asm_load(c, 8, RCX, HOST_CPU(t.save_rcx));
	asm_jmp_mem(c, HOST_CPU(t.fill_resume));
	asm_link(miss, c->p);
	flags_back(c);
	asm_load(c, 4, T1, HOST_CPU(t.exit_point));
	asm_link(asm_jmp(c), tr->rw + tr->exit_rcx);
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
	tr->exit_rcx = (uint32_t)(c.p - tr->rw);
	asm_load(&c, 8, RCX, HOST_CPU(t.save_rcx));
	tr->exit = (uint32_t)(c.p - tr->rw);
	asm_store(&c, 4, HOST_CPU(t.exit_point), T1);
	asm_store(&c, 8, HOST_CPU(t.exit_value), T0);
	asm_store_imm(&c, 4, HOST_CPU(t.exit_kind), EXIT_AT_POINT);
	asm_link(asm_jmp(&c), tr->rw + tr->leave);
	asm_align(&c, 64);
	tr->jump_miss = (uint32_t)(c.p - tr->rw);
	emit_jump_miss(tr, &c);
	asm_align(&c, 64);
	tr->fault = (uint32_t)(c.p - tr->rw);
	asm_store(&c, 4, HOST_CPU(t.exit_at), T0);
	asm_store_imm(&c, 4, HOST_CPU(t.exit_kind), EXIT_ONE);
	asm_link(asm_jmp(&c), tr->rw + tr->leave);
	for (unsigned i = 0; i < 4; i++) {
		asm_align(&c, 64);
		tr->fill[i / 2][i % 2] = (uint32_t)(c.p - tr->rw);
		emit_fill(tr, &c, i / 2, i % 2);
	}
	asm_align(&c, 64);
	tr->hot_miss = (uint32_t)(c.p - tr->rw);
	asm_store(&c, 4, HOST_CPU(t.exit_slot), T1);
	emit_fill_leave(tr, &c, EXIT_FILL);
	asm_align(&c, 64);
	tr->used = tr->common_end = (uint32_t)(c.p - tr->rw);
}
