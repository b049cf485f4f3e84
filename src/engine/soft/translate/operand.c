// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Operands: where guest registers are, how a memory operand becomes a host address, and the instructions
 * that are copied with nothing but their operands changed.
 *
 * A checked access compares the linear address with a slot of its own (state.h):
 *
 *	lea  T0, [ea]
 *	sub  T0, slot.base
 *	cmp  T0, slot.limit
 *	jae  cold			; fills the slot from the TLB (entry.c); or leaves to C, and then to the interpreter
 *	mov  T1, slot.addend
 *	op   [base + T1 + disp]		; or [T0 + T1] when the address has more parts
 *
 * The branch is predicted, so the load does not wait for the comparison. Flags that are live are kept in RAX meanwhile, and RAX in T1.
 *
 * No address that the guest can make gets past it: the difference is taken in 64 bits, unsigned, of the very sum that the processor
 * would take (cut to 32 bits where the address size says so), so that whatever wraps around, or is not canonical, is
 * compared as the number that it is; slots show nothing but pages that the TLB has, and these are canonical. limit + size - 1
 * bytes from base on are memory of the guest's, so the last byte of an access is, too. The operand that is accessed adds up to the
 * same 64-bit sum, plus the addend. A range (analyse.h) is checked from its lowest byte, with a size that
 * reaches its highest: offsets in it cannot wrap if its base address is in the slot.
 */
#include "engine/soft/translate/legacy_emit.h"

#define SLOT_OFF(n) (offsetof(struct cpu, slot) + (size_t)(n) * sizeof(struct slot))

static struct host_mem slot_field(const struct emit *e, unsigned n, size_t field)
{
	return host_cpu(SLOT_OFF(e->first_slot + n) + field);
}

/* --- guest registers --- */

unsigned emit_gpr(struct emit *e, unsigned r, unsigned t)
{
	if (gpr_is_home(r))
		return r;
	if (r == RSP) {
		asm_load(&e->c, 8, t, HOST_CPU(t.neg_bias));
		asm_lea(&e->c, 8, t, host_indexed(RSP, t, 0, 0));
	} else {
		asm_load(&e->c, 8, t, host_cpu(offsetof(struct cpu, gpr) + 8 * (size_t)r));
	}
	return t;
}

void emit_gpr_put(struct emit *e, unsigned r, unsigned t, unsigned free)
{
	if (r == RSP) {
		asm_load(&e->c, 8, free, HOST_CPU(t.bias));
		asm_lea(&e->c, 8, RSP, host_indexed(t, free, 0, 0));
	} else if (gpr_is_home(r)) {
		asm_mov(&e->c, 8, r, t);
	} else {
		asm_store(&e->c, 8, host_cpu(offsetof(struct cpu, gpr) + 8 * (size_t)r), t);
	}
}

/* --- effective addresses --- */

static bool has_segment_base(const struct insn *in)
{
	return (in->seg == SEG_FS || in->seg == SEG_GS) && !(in->flags & INSN_LEGACY);
}

/* The base as a host register; @t if it has to be fetched. HOST_NONE: there is none. Adds to @disp for RIP. */
static unsigned base_register(struct emit *e, const struct insn *in, unsigned t, int64_t *disp)
{
	if (in->base == GPR_ZERO)
		return HOST_NONE;
	if (in->base == GPR_RIP) {
		asm_load(&e->c, 8, t, HOST_CPU(t.page));
		*disp += insn_next(e);
		return t;
	}
	return emit_gpr(e, in->base, t);
}

static void ea_of_32_or_64(struct emit *e, const struct insn *in, unsigned dst)
{
	int64_t disp = in->disp;
	unsigned size = in->addrsize == 8 ? 8 : 4, base, index = HOST_NONE;

	if (in->flags & INSN_MOFFS) {
		asm_mov_imm(&e->c, dst, in->imm);
		return;
	}
	base = base_register(e, in, T0, &disp);
	if (in->index != GPR_ZERO)
		index = emit_gpr(e, in->index, T1);
	if (disp != (int32_t)disp) { /* a RIP-relative one at the edge of what an instruction can say */
		asm_lea(&e->c, 8, T0, host_at(base, in->disp));
		base = T0;
		disp -= in->disp;
	}
	if (base == HOST_NONE && index == HOST_NONE) {
		asm_mov_imm(&e->c, dst, size == 4 ? (uint32_t)disp : (uint64_t)disp);
		return;
	}
	if (index == HOST_NONE && !disp && (size == 8 || base != dst)) {
		if (base != dst || size == 4)
			asm_mov(&e->c, size, dst, base);
		return;
	}
	asm_lea(&e->c, size, dst,
		(struct host_mem){ .base = (uint8_t)base, .index = (uint8_t)index, .scale = in->scale, .disp = (int32_t)disp });
}

void emit_ea(struct emit *e, const struct insn *in, unsigned dst)
{
	ea_of_32_or_64(e, in, dst);
	if (in->addrsize == 2)
		asm_rr(&e->c, 4, 0x0fb7, dst, dst); /* MOVZX */
}

void emit_linear(struct emit *e, const struct insn *in)
{
	emit_ea(e, in, T0);
	if (has_segment_base(in)) {
		asm_load(&e->c, 8, T1, host_cpu(offsetof(struct cpu, segbase) + 8 * (size_t)in->seg));
		asm_lea(&e->c, 8, T0, host_indexed(T0, T1, 0, 0));
	}
}

/* --- checks --- */

static bool flags_live(const struct emit *e)
{
	return e->ti->live_in != 0;
}

/* An operand that the instruction can name with a slot's addend in T1 as its index. */
static bool is_plain(const struct insn *in)
{
	return in->addrsize == 8 && in->index == GPR_ZERO && in->base != GPR_ZERO && in->base != GPR_RIP && in->base != RSP &&
	       in->base < R14 && !has_segment_base(in) && !(in->flags & INSN_MOFFS);
}

static uint32_t offset_of(const struct emit *e, const uint8_t *p)
{
	return (uint32_t)(p - e->tr->rw);
}

struct slot_site *emit_slot_miss(struct emit *e, unsigned n, uint8_t *rel, uint8_t *retry, unsigned size, unsigned flags)
{
	struct slot_site *site = &e->tr->sites[e->first_slot + n];
	struct stub *s = emit_stub(e, rel, EXIT_FILL);

	if (!size || size > FRAME_SIZE)
		e->failed = true;
	s->slot = e->first_slot + n;
	s->to = e->tr->fill[flags & SITE_STORE ? 1 : 0][flags & SITE_PLAIN ? 1 : 0];
	*site = (struct slot_site){
		.room = FRAME_SIZE - (uint64_t)size, .size = size, .left = SITE_MISSES, .retry = offset_of(e, retry),
		.resume = offset_of(e, retry), .at = (uint16_t)insn_at(e), .flags = (uint8_t)flags,
	};
	return site;
}

/*
 * T0, the linear address, is checked against slot @n, and destroyed if SITE_PLAIN is among @flags; T1 is destroyed if not. @retry is where the
 * address is computed anew. With SITE_SAVED the flags are in RAX and stay there; the stub's `back` is for the caller to set.
 */
static struct stub *check_slot(struct emit *e, unsigned n, uint8_t *retry, unsigned size, unsigned flags)
{
	unsigned t = flags & SITE_PLAIN ? T0 : T1;
	struct slot_site *site;
	struct stub *s;
	uint8_t *rel;

	if (t != T0)
		asm_mov(&e->c, 8, t, T0);
	asm_alu_rm(&e->c, ALU_SUB, 8, t, slot_field(e, n, offsetof(struct slot, base)));
	asm_alu_rm(&e->c, ALU_CMP, 8, t, slot_field(e, n, offsetof(struct slot, limit)));
	rel = asm_jcc_within(&e->c, 3);
	site = emit_slot_miss(e, n, rel, retry, size, flags);
	site->jump = rel ? offset_of(e, rel) : 0;
	site->resume = offset_of(e, e->c.p);
	s = &e->stub[e->stubs - 1];
	s->flags_in_rax = flags & SITE_SAVED;
	return s;
}

/* T1 = the addend of slot @n. */
static void load_addend(struct emit *e, unsigned n)
{
	asm_load(&e->c, 8, T1, slot_field(e, n, offsetof(struct slot, addend)));
}

struct stub *emit_slot_check(struct emit *e, unsigned n, uint8_t *retry, unsigned size, unsigned flags)
{
	return check_slot(e, n, retry, size, flags);
}

void emit_slot_addend(struct emit *e, unsigned n, bool resume)
{
	load_addend(e, n);
	if (resume)
		e->tr->sites[e->first_slot + n].resume = offset_of(e, e->c.p);
}

/* Flags are live: they are in RAX, and RAX in T1, while the address is compared. */
static struct host_mem single_saved(struct emit *e, const struct insn *in, unsigned size, bool store)
{
	unsigned n = e->slots++;
	uint8_t *retry = e->c.p;
	struct stub *s;

	emit_linear(e, in);
	emit_flags_to_rax(e);
	s = check_slot(e, n, retry, size, (store ? SITE_STORE : 0) | SITE_PLAIN | SITE_SAVED | SITE_SLOT);
	emit_flags_from_rax(e);
	s->back = e->c.p;
	if (is_plain(in)) {
		load_addend(e, n);
		return host_indexed(in->base, T1, 0, in->disp);
	}
	emit_linear(e, in);
	load_addend(e, n);
	return host_indexed(T0, T1, 0, 0);
}

static struct host_mem single(struct emit *e, const struct insn *in, unsigned size, bool store)
{
	bool plain = is_plain(in);
	uint8_t *retry = e->c.p;
	unsigned n;

	if (flags_live(e))
		return single_saved(e, in, size, store);
	n = e->slots++;
	emit_linear(e, in);
	check_slot(e, n, retry, size, (store ? SITE_STORE : 0) | (plain ? SITE_PLAIN : 0));
	load_addend(e, n);
	e->tr->sites[e->first_slot + n].resume = offset_of(e, e->c.p);
	return plain ? host_indexed(in->base, T1, 0, in->disp) : host_indexed(T0, T1, 0, 0);
}

/* --- groups --- */

/* What operands of a group have in common is one register of the host's. */
static bool group_is_plain(const struct insn *in)
{
	return in->base != GPR_RIP && in->base != GPR_ZERO && in->index == GPR_ZERO && !has_segment_base(in);
}

/* What they have in common, but for displacements: into T0, if it is not in a register already. T1 is clobbered if there are two parts or more. */
static unsigned group_base(struct emit *e, const struct insn *in)
{
	struct host_mem seg = host_cpu(offsetof(struct cpu, segbase) + 8 * (size_t)in->seg);
	unsigned base = HOST_NONE;

	if (in->base == GPR_RIP) {
		asm_load(&e->c, 8, T0, HOST_CPU(t.page));
		base = T0;
	} else if (in->base != GPR_ZERO) {
		base = emit_gpr(e, in->base, T0);
	}
	if (in->index != GPR_ZERO) {
		asm_lea(&e->c, 8, T0, host_indexed(base, emit_gpr(e, in->index, T1), in->scale, 0));
		base = T0;
	}
	if (has_segment_base(in)) {
		asm_load(&e->c, 8, base == HOST_NONE ? T0 : T1, seg);
		if (base != HOST_NONE)
			asm_lea(&e->c, 8, T0, host_indexed(base, T1, 0, 0));
		base = T0;
	}
	return base;
}

static bool group_base_takes_t1(const struct insn *in)
{
	return (in->index != GPR_ZERO && !gpr_is_home(in->index)) || (has_segment_base(in) && (in->base != GPR_ZERO || in->index != GPR_ZERO));
}

static struct host_mem in_group(struct emit *e, const struct insn *in)
{
	int32_t disp = in->base == GPR_RIP ? in->disp + (int32_t)insn_next(e) : in->disp;
	unsigned n = e->group_slot[e->ti->leader], base;
	bool held = e->held == e->c.p && e->held_slot == n && !group_base_takes_t1(in);

	if (in->flags & INSN_LEGACY) {
		emit_ea(e, in, T0); /* leaves T1 alone, as it has no R14 and R15 */
		if (!held)
			load_addend(e, n);
		return host_indexed(T0, T1, 0, 0);
	}
	base = group_base(e, in);
	if (!held)
		load_addend(e, n);
	return host_indexed(base, T1, 0, disp);
}

struct host_mem emit_operand(struct emit *e, const struct insn *in, unsigned size, bool store)
{
	if ((e->ti->also_explicit || e->ti->how == MEM_SINGLE) && in_checked_segment(e, in))
		return emit_checked_operand(e, in, size, store);
	if (e->ti->also_explicit || e->ti->how == MEM_SINGLE)
		return single(e, in, size, store);
	if (e->ti->how == MEM_GROUP)
		return in_group(e, in);
	if (e->ti->how == MEM_STACK)
		return host_at(RSP, in->disp);
	e->failed = true;
	return host_at(RSP, 0);
}

struct host_mem emit_operand_at(struct emit *e, const struct insn *in, unsigned seg, unsigned r, unsigned size, bool store)
{
	struct insn at = *in;

	at.seg = (uint8_t)seg;
	at.base = (uint8_t)r;
	at.index = GPR_ZERO;
	at.disp = 0;
	return in_checked_segment(e, &at) ? emit_checked_operand(e, &at, size, store) : single(e, &at, size, store);
}

/* @dst = @base + @disp, in as little as it takes. */
static void sum(struct emit *e, unsigned dst, unsigned base, int32_t disp)
{
	if (disp)
		asm_lea(&e->c, 8, dst, host_at(base, disp));
	else if (dst != base)
		asm_mov(&e->c, 8, dst, base);
}

static void check_stack(struct emit *e, uint8_t *retry, bool saved)
{
	const struct trace_insn *ti = e->ti;
	int32_t size = ti->stack_hi - ti->stack_lo;
	struct stub *s;

	sum(e, T0, RSP, ti->stack_lo);
	asm_alu_rm(&e->c, ALU_SUB, 8, T0, HOST_CPU(t.stack_base));
	asm_alu_ri(&e->c, ALU_CMP, 8, T0, FRAME_SIZE - size);
	s = emit_stub(e, asm_jcc(&e->c, 7), EXIT_STACK);
	s->retry = retry;
	s->size = (uint32_t)size | (ti->stack_store ? EXIT_STORES : 0);
	s->flags_saved = s->flags_in_rax = saved;
}

/* With @saved the flags are in RAX when it begins, or (not plain) come there, and stay. */
static struct stub *check_group(struct emit *e, uint8_t *retry, bool saved)
{
	const struct trace_insn *ti = e->ti;
	unsigned n = e->slots++, base;
	int32_t lo = ti->group_lo;

	e->group_slot[ti - e->t->insn] = (uint16_t)n;
	if (group_is_plain(&ti->in)) {
		base = emit_gpr(e, ti->in.base, T0);
		if (saved && base == RAX)
			base = T1;
	} else {
		base = group_base(e, &ti->in); /* T0 */
		if (saved)
			emit_flags_to_rax(e);
	}
	if (ti->in.base == GPR_RIP)
		lo += (int32_t)e->offset;
	if (ti->in.flags & INSN_LEGACY)
		asm_lea(&e->c, 4, T0, host_at(base, lo));
	else
		sum(e, T0, base, lo);
	return check_slot(e, n, retry, (uint32_t)(ti->group_hi - ti->group_lo),
			  SITE_GROUP | SITE_SLOT | SITE_PLAIN | (ti->group_store ? SITE_STORE : 0) | (saved ? SITE_SAVED : 0));
}

void emit_leader_checks(struct emit *e)
{
	const struct trace_insn *ti = e->ti;
	bool stack = ti->stack_hi > ti->stack_lo, group = ti->group_hi > ti->group_lo, saved = (stack || group) && flags_live(e);
	bool apart = group && !group_is_plain(&ti->in); /* its address needs T1 */
	struct stub *filled = NULL;
	uint8_t *retry = e->c.p;

	if (saved && (stack || !apart))
		emit_flags_to_rax(e);
	if (stack)
		check_stack(e, retry, saved);
	if (apart) {
		if (saved && stack)
			emit_flags_from_rax(e);
		retry = e->c.p;
	}
	if (group)
		filled = check_group(e, retry, saved);
	if (saved)
		emit_flags_from_rax(e);
	if (filled)
		filled->back = e->c.p;
}

/* --- copies --- */

/* A general-register operand of a row, and where it is. */
struct reg_use {
	uint8_t *to;	 /* in struct encode */
	uint8_t guest;
	uint8_t size;
	uint8_t access;
	bool rm; /* an operand that may also be memory */
};

static unsigned collect(const struct insn *in, struct encode *en, struct reg_use use[4])
{
	const struct opcode *op = &opcode_table[in->row];
	unsigned n = 0;

	for (unsigned i = 0; i < 4; i++) {
		const struct operand *o = &op->opnd[i];
		struct reg_use u = { .size = (uint8_t)insn_operand_size(in, i), .access = o->access };

		switch (o->kind) {
		case OPND_E:
			if (in->flags & INSN_MEM)
				continue;
			u.rm = true;
			/* fall through */
		case OPND_R:
			u.to = &en->rm;
			u.guest = u.size == 1 ? in->rm_off / 8 : in->rm;
			break;
		case OPND_G:
			u.to = &en->reg;
			u.guest = u.size == 1 ? in->reg_off / 8 : in->reg;
			break;
		case OPND_B:
			u.to = &en->vvvv;
			u.guest = in->vvvv;
			break;
		default: continue;
		}
		use[n++] = u;
	}
	return n;
}

static bool uses_scratch(struct host_mem m, unsigned t)
{
	return m.base == t || m.index == t;
}

/* The same register as two results (XADD r, r): which one stays is for the interpreter to know. */
static bool one_result_each(const struct reg_use *use, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < i; k++)
			if (use[i].guest == use[k].guest && (use[i].access & use[k].access & ACCESS_W))
				return false;
	return true;
}

/* From the scratch registers to where the guest's are. RSP comes last: it takes both. */
static void put_results(struct emit *e, const struct reg_use *use, unsigned n)
{
	for (unsigned rsp = 0; rsp < 2; rsp++)
		for (unsigned i = 0; i < n; i++)
			if (!gpr_is_home(use[i].guest) && (use[i].access & ACCESS_W) && (use[i].guest == RSP) == rsp)
				emit_gpr_put(e, use[i].guest, *use[i].to, *use[i].to == T0 ? T1 : T0);
}

/*
 * AH to BH cannot be named beside an operand that takes a REX prefix: then the low byte is, of the register turned by 8. No address may have that register
 * meanwhile: so T0 is the operand's. NULL: no need; else the register's name in @en, and whose it is in @guest.
 */
static uint8_t *high_byte(const struct reg_use *use, unsigned n, const struct encode *en, const struct insn *in, unsigned *guest)
{
	if (!uses_scratch(en->mem, T0) && !uses_scratch(en->mem, T1) && en->mem.base < 8)
		return NULL;
	for (unsigned i = 0; i < n; i++) {
		unsigned offset = use[i].to == &en->reg ? in->reg_off : in->rm_off;

		if (use[i].size == 1 && (offset & 1)) {
			*guest = use[i].guest;
			return use[i].to;
		}
	}
	return NULL;
}

static void emit_high_byte(struct emit *e, const struct insn *in, struct encode *en, uint8_t *name, unsigned guest)
{
	if (in->id == INSN_ID_CMPXCHG) {
		e->failed = true;
		return;
	}
	asm_lea(&e->c, 8, T0, en->mem);
	en->mem = host_at(T0, 0);
	*name = (uint8_t)guest;
	asm_rorx(&e->c, 8, guest, guest, 8);
	if (!encode_insn(&e->c, in, en))
		e->failed = true;
	asm_rorx(&e->c, 8, guest, guest, 56);
}

/*
 * Guest register @u of @n, which is in memory, can be the host's memory operand: all of it is written (32 bits would leave the others), and
 * it means the same there.
 */
static bool named_in_memory(const struct insn *in, const struct reg_use *u, const struct reg_use *use, unsigned n)
{
	if (!u->rm || u->guest < R14 || opcode_table[in->row].mod || (in->flags & INSN_B)) /* EVEX.b is a broadcast then */
		return false;
	if ((u->access & ACCESS_W) && (u->size != 8 || !one_result_each(use, n)))
		return false;
	switch (in->id) {
	case INSN_ID_XCHG: /* locked then */
	case INSN_ID_BT:   /* the bit may be anywhere then */
	case INSN_ID_BTS:
	case INSN_ID_BTR:
	case INSN_ID_BTC: return false;
	default: return true;
	}
}

void emit_copy(struct emit *e, const struct insn *in)
{
	const struct opcode *op = &opcode_table[in->row];
	struct encode en = encode_same(in);
	struct insn copy = *in;
	struct reg_use use[4];
	unsigned n = collect(in, &en, use), free[2], frees = 0, homes = 0, guest;
	uint8_t *high = NULL;
	int m = in->flags & INSN_MEM ? insn_memory_operand(op) : -1;
	bool held = e->held == e->c.p;

	for (unsigned i = 0; i < n; i++) {
		if (named_in_memory(in, &use[i], use, n)) {
			copy.flags |= INSN_MEM;
			en.mem = host_cpu(offsetof(struct cpu, gpr) + in->rm_off);
			use[i--] = use[--n];
		} else {
			homes += !gpr_is_home(use[i].guest);
		}
	}
	if (m >= 0) {
		en.mem = emit_operand(e, in, insn_operand_size(in, (unsigned)m), op->opnd[m].access & ACCESS_W);
		held = e->ti->how == MEM_GROUP && !e->ti->also_explicit;
		if (held)
			e->held_slot = e->group_slot[e->ti->leader];
		if (homes && uses_scratch(en.mem, T0) && uses_scratch(en.mem, T1)) {
			asm_lea(&e->c, 8, T0, en.mem);
			en.mem = host_at(T0, 0);
		}
	}
	if (m < 0 || !uses_scratch(en.mem, T0))
		free[frees++] = T0;
	if (m < 0 || !uses_scratch(en.mem, T1))
		free[frees++] = T1;
	if (homes > frees || (homes > 1 && !one_result_each(use, n))) {
		e->failed = true;
		return;
	}
	for (unsigned i = 0, k = 0; i < n; i++) {
		if (gpr_is_home(use[i].guest))
			continue;
		/* What is written and not read loses all that it was (analyse_regs.c), if that is 32 bits or more. */
		if ((use[i].access & ACCESS_R) || use[i].size < 4)
			emit_gpr(e, use[i].guest, free[k]);
		*use[i].to = (uint8_t)free[k++];
	}
	if (m >= 0)
		high = high_byte(use, n, &en, in, &guest);
	if (high) {
		emit_high_byte(e, in, &en, high, guest);
		return;
	}
	if (!encode_insn(&e->c, &copy, &en)) {
		e->failed = true;
		return;
	}
	put_results(e, use, n);
	if (held && !homes)
		e->held = e->c.p;
}
