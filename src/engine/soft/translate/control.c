// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Branches. A direct one inside the page is a jump that gets linked to its target's near entry. All others, returns included,
 * look in the jump cache for the linear address in T0:
 *
 *	mov   rcx, save_rcx		; (stored)
 *	mov   T1, t.jumps
 *	rorx  ecx, T0, JUMP_SHIFT
 *	mov   T1, rcx (16 bits)		; a sixteenth of the address of its entry
 *	lea   T1, [T1 + T1]
 *	mov   rcx, [8 * T1 + neg_rip]
 *	lea   rcx, [rcx + T0]		; 0 if it is of this address
 *	jrcxz hit
 *	jmp   miss			; tries the second way; enters what the code cache has, or the interpreter runs the branch
 *
 * which leaves the flags alone. (Branches to an instruction that lies across two pages do so, too.) While a request waits t.jumps is the closed
 * cache, which has nothing: so there is no other test for requests on this way. Loops inside a page have theirs at the head of the block that
 * branches back.
 */
#include "engine/soft/translate/legacy_emit.h"

void emit_jump_entry(struct code *c)
{
	asm_load(c, 8, T1, HOST_CPU(t.jumps));
	asm_rorx(c, 4, RCX, T0, JUMP_SHIFT);
	asm_rr(c, 2, 0x8b, T1, RCX); /* MOV of 16 bits: the others stay */
	asm_lea(c, 8, T1, host_indexed(T1, T1, 0, 0));
}

/* @retry: where T0 is computed anew, and before which nothing has changed. */
struct stub *emit_lookup(struct emit *e, uint8_t *retry, enum exit_kind kind, uint32_t at)
{
	struct code *c = &e->c;
	struct stub *s;
	uint8_t *hit;

	asm_store(c, 8, HOST_CPU(t.save_rcx), RCX);
	emit_jump_entry(c);
	asm_load(c, 8, RCX, host_indexed(HOST_NONE, T1, 3, offsetof(struct jump_entry, neg_rip)));
	asm_lea(c, 8, RCX, host_indexed(RCX, T0, 0, 0));
	hit = asm_jrcxz(c);
	s = emit_stub(e, asm_jmp(c), kind);
	s->looks_up = true;
	s->at = (uint16_t)at;
	s->retry = retry;
	if (!c->full)
		asm_link8(hit, c->p);
	return s;
}

void emit_jump_hit(struct emit *e)
{
	asm_load(&e->c, 8, RCX, HOST_CPU(t.save_rcx));
	asm_jmp_mem(&e->c, host_indexed(HOST_NONE, T1, 3, offsetof(struct jump_entry, code)));
}

/* T0 = the linear address at offset @to from the page's start, which may lie outside the page. */
static void linear_of(struct emit *e, unsigned t, int64_t to)
{
	asm_load(&e->c, 8, t, HOST_CPU(t.page));
	if (e->ti->in.flags & INSN_LEGACY)
		asm_lea(&e->c, 4, t, host_at(t, (int32_t)to));
	else if (to == (int32_t)to)
		asm_lea(&e->c, 8, t, host_at(t, (int32_t)to));
	else
		e->failed = true;
}

bool emit_can_link(const struct emit *e, int64_t to)
{
	return to >= 0 && to < FRAME_SIZE && !emit_is_cut(e, to);
}

void emit_chain(struct emit *e, uint8_t *rel, int64_t to)
{
	struct stub *s = emit_stub(e, rel, EXIT_CHAIN);

	s->links = true;
	s->at = (uint16_t)to;
}

/* @kind and @at: how it leaves when there is no way to @to. */
static void go(struct emit *e, int64_t to, enum exit_kind kind, uint32_t at)
{
	uint8_t *retry = e->c.p;

	if (emit_can_link(e, to)) {
		emit_chain(e, asm_jmp_aligned(&e->c), to);
		return;
	}
	linear_of(e, T0, to);
	emit_lookup(e, retry, kind, at);
	emit_jump_hit(e);
}

void emit_goto(struct emit *e, int64_t to)
{
	go(e, to, EXIT_JUMP, insn_at(e));
}

void emit_next(struct emit *e, int64_t to)
{
	go(e, to, EXIT_NEXT, (uint32_t)to);
}

static int64_t target(const struct emit *e, const struct insn *in)
{
	return (int64_t)insn_next(e) + (int64_t)in->imm;
}

void emit_jmp(struct emit *e, const struct insn *in)
{
	emit_goto(e, target(e, in));
}

/* The block goes on behind it when it is not the last; the way to another page stands behind the block. */
void emit_jcc(struct emit *e, const struct insn *in)
{
	int64_t to = target(e, in);

	if (emit_can_link(e, to))
		emit_chain(e, asm_jcc_aligned(&e->c, in->cc), to);
	else
		e->away[e->aways++] = (struct away){ asm_jcc(&e->c, in->cc), e->at };
	if (e->at + 1 == e->t->count && !e->untranslated)
		emit_goto(e, insn_next(e));
}

void emit_aways(struct emit *e)
{
	for (unsigned i = 0; i < e->aways; i++) {
		e->at = e->away[i].at;
		e->ti = &e->t->insn[e->at];
		asm_link(e->away[i].rel, e->c.p);
		emit_branch(e, &e->ti->in, target(e, &e->ti->in));
	}
}

static void load_target(struct emit *e, const struct insn *in)
{
	if (in->flags & INSN_MEM) {
		asm_load(&e->c, 8, T0, emit_operand(e, in, 8, false));
	} else {
		unsigned r = emit_gpr(e, in->rm, T0);

		if (r != T0)
			asm_mov(&e->c, 8, T0, r);
	}
}

void emit_jmp_ind(struct emit *e, const struct insn *in)
{
	uint8_t *retry = e->c.p;

	load_target(e, in);
	emit_lookup(e, retry, EXIT_JUMP, insn_at(e));
	emit_jump_hit(e);
}

/* RCX is free here, and the return address, in it, is pushed when nothing can fail any more. */
static void push_and_jump(struct emit *e)
{
	asm_byte(&e->c, 0x51); /* PUSH RCX */
	emit_jump_hit(e);
}

void emit_call(struct emit *e, const struct insn *in)
{
	int64_t to = target(e, in), back;
	uint8_t *retry = e->c.p;

	if (emit_can_link(e, to)) {
		linear_of(e, T0, insn_next(e));
		asm_byte(&e->c, 0x41);
		asm_byte(&e->c, 0x50 | (T0 & 7)); /* PUSH T0 */
		emit_chain(e, asm_jmp_aligned(&e->c), to);
		return;
	}
	linear_of(e, T0, to);
	emit_lookup(e, retry, EXIT_JUMP, insn_at(e));
	back = (int64_t)insn_next(e) - to;
	if (back == (int32_t)back)
		asm_lea(&e->c, 8, RCX, host_at(T0, (int32_t)back));
	else
		linear_of(e, RCX, insn_next(e));
	push_and_jump(e);
}

void emit_call_ind(struct emit *e, const struct insn *in)
{
	uint8_t *retry = e->c.p;

	load_target(e, in);
	emit_lookup(e, retry, EXIT_JUMP, insn_at(e));
	linear_of(e, RCX, insn_next(e));
	push_and_jump(e);
}

void emit_ret(struct emit *e, const struct insn *in)
{
	int32_t drop = opcode_table[in->row].opnd[0].kind == OPND_I ? (int32_t)(uint16_t)in->imm : 0;
	uint8_t *retry = e->c.p;

	asm_byte(&e->c, 0x41);
	asm_byte(&e->c, 0x58 | (T0 & 7)); /* POP T0 */
	emit_lookup(e, retry, EXIT_JUMP, insn_at(e))->popped = true;
	if (drop)
		asm_lea(&e->c, 8, RSP, host_at(RSP, drop));
	emit_jump_hit(e);
}
