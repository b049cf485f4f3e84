// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A run of guest instructions within one page, or one that lies across two, becomes a block of host code.
 *
 * Layout: the far entry (T0 is the linear RIP: t.page is made of it), the near entry with the NOP that invalidation exchanges
 * (cache.h), a test for requests where the block branches back, the instructions, and behind them the stubs: one for each way to leave
 * in the middle, which say by a number where and why (struct exit_point) and go to the common way out.
 *
 * The guest's bytes are read once, as a copy. Before the block is entered, under the lock and with the lines that it depends on
 * already noted (so that a store to them is noticed), the copy is compared with memory again.
 */
#include "engine/soft/translate/block.h"

#include "engine/soft/interp/block.h"
#include "engine/soft/mmu/mmu.h"
#include "engine/soft/translate/dump.h"
#include "engine/soft/translate/legacy_emit.h"

#include "host/log.h"

#include <stdlib.h>
#include <string.h>

enum { AFTER_BRANCH_MAX = 24, BRANCHES_MAX = 6, PEEK_INSNS = 6, RANGE_MAX = 512, NEAR_ALIGN = 16, FAR_BYTES = 16 };

struct stub *emit_stub(struct emit *e, uint8_t *rel, enum exit_kind kind)
{
	struct stub *s = &e->stub[e->stubs < STUBS_MAX ? e->stubs++ : STUBS_MAX - 1];

	if (e->stubs == STUBS_MAX)
		e->failed = true;
	*s = (struct stub){ .rel = rel, .kind = (uint8_t)kind, .at = (uint16_t)insn_at(e) };
	return s;
}

void emit_flags_save(struct emit *e)
{
	struct code *c = &e->c;

	asm_store(c, 8, HOST_CPU(t.save_rax), RAX);
	asm_bytes(c, "\x9f\x0f\x90\xc0\x0f\xb7\xc0", 7); /* LAHF; SETO AL; MOVZX EAX, AX */
	asm_store(c, 4, HOST_CPU(t.flags), RAX);
	asm_load(c, 8, RAX, HOST_CPU(t.save_rax));
}

void emit_flags_restore(struct emit *e)
{
	struct code *c = &e->c;

	asm_store(c, 8, HOST_CPU(t.save_rax), RAX);
	asm_load(c, 4, RAX, HOST_CPU(t.flags));
	asm_bytes(c, "\x04\x7f\x9e", 3); /* ADD AL, 127: OF; SAHF */
	asm_load(c, 8, RAX, HOST_CPU(t.save_rax));
}

void emit_flags_to_rax(struct emit *e)
{
	asm_mov(&e->c, 8, T1, RAX);
	asm_bytes(&e->c, "\x9f\x0f\x90\xc0", 4); /* LAHF; SETO AL */
}

void emit_flags_from_rax(struct emit *e)
{
	asm_bytes(&e->c, "\x04\x7f\x9e", 3); /* ADD AL, 127: OF; SAHF */
	asm_mov(&e->c, 8, RAX, T1);
}

void emit_flags_home(struct code *c)
{
	asm_bytes(c, "\x0f\xb7\xc0", 3); /* MOVZX EAX, AX */
	asm_store(c, 4, HOST_CPU(t.flags), RAX);
	asm_mov(c, 8, RAX, T1);
}

static uint32_t area_offset(const struct emit *e, const uint8_t *p)
{
	return (uint32_t)(p - e->tr->rw);
}

/* Leaves with what @x tells by the routine at @by in the area; the flags and T0 stay as they are. */
static void emit_exit(struct emit *e, const struct exit_point *x, uint32_t by)
{
	struct translator *tr = e->tr;

	tr->exits[tr->exit_count + e->exits] = *x;
	asm_mov_imm(&e->c, T1, tr->exit_count + e->exits++);
	asm_link(asm_jmp(&e->c), tr->rw + by);
}

static void emit_fill_stub(struct emit *e, const struct stub *s)
{
	struct code *c = &e->c;

	asm_mov_imm(c, T1, s->slot);
	asm_link(asm_jmp(c), e->tr->rw + s->to);
	if (s->flags_in_rax) {
		e->tr->sites[s->slot].resume = area_offset(e, c->p);
		emit_flags_restore(e);
		asm_link(asm_jmp(c), s->back);
	}
}

static void emit_stubs(struct emit *e, struct tblock *b)
{
	struct code *c = &e->c;

	for (unsigned i = 0; i < e->stubs && !c->full; i++) {
		const struct stub *s = &e->stub[i];

		asm_link(s->rel, c->p);
		if (s->flags_in_rax)
			emit_flags_home(c);
		if (s->rcx_in_t1)
			asm_mov(c, 8, RCX, T1);
		if (s->popped)
			asm_lea(c, 8, RSP, host_at(RSP, -8));
		if (s->kind == EXIT_FILL) {
			emit_fill_stub(e, s);
			continue;
		}
		emit_exit(e, &(struct exit_point){ .kind = s->kind, .at = s->at, .slot = s->slot, .size = s->size,
						   .flags_saved = s->flags_saved,
						   .site = s->links   ? area_offset(e, s->rel)
							   : s->retry ? area_offset(e, s->retry)
								      : 0 },
			  s->looks_up    ? e->tr->jump_miss
			  : s->rcx_saved ? e->tr->exit_rcx
					 : e->tr->exit);
	}
	b->stale = area_offset(e, c->p);
	emit_exit(e, &(struct exit_point){ .kind = EXIT_STALE, .at = (uint16_t)e->offset }, e->tr->exit);
}

/* --- the trace --- */

static bool in_model(const struct cpu *c, const struct insn *in)
{
	if (c->real && opcode_table[in->row].attr & (OP_PROT | OP_VEX))
		return false;
	return cpu_model_has(c->vm->model, opcode_table[in->row].feature) && interp_model_has(c, in);
}

/*
 * Whether a trace goes on behind a conditional branch: so that most of what runs in a row is in one block. Not for ever, since what follows is
 * translated again for whoever comes in between; and not into what has a block already.
 */
static bool goes_on(struct cpu *c, const struct trace *t, uint64_t next, uint32_t mode, unsigned branches)
{
	return t->count < AFTER_BRANCH_MAX && branches < BRANCHES_MAX && !cache_find(c->t.tr, next, mode);
}

/* True: it ended before an instruction that the interpreter has to run. */
static bool take_trace(struct cpu *c, struct source *s, struct trace *t, uint64_t key, uint32_t mode, unsigned most, bool checked)
{
	unsigned at = s->offset, branches = 0;

	t->count = t->bytes = 0;
	s->cut = false;
	while (t->count < most && at < FRAME_SIZE) {
		struct trace_insn *ti = &t->insn[t->count];
		unsigned avail = s->end - at < 16 ? s->end - at : 16;
		int len;

		*ti = (struct trace_insn){ .at = (uint16_t)(at - s->offset) };
		len = insn_decode(s->copy + at, avail, c->mode, &ti->in);
		s->read = at + avail;
		s->cut = len == DECODE_MORE;
		if (len < 0 || !in_model(c, &ti->in) || !(is_translated(&ti->in) || can_be_called(&ti->in)))
			return true;
		at += (unsigned)len;
		t->count++;
		t->bytes = (uint16_t)(at - s->offset);
		if (checked && mixed_insn_ends(&ti->in))
			break;
		if (ti->in.id == INSN_ID_JCC && is_translated(&ti->in) && goes_on(c, t, (key & ~(uint64_t)(FRAME_SIZE - 1)) | at, mode, ++branches))
			continue;
		if (!is_translated(&ti->in) || (ti->in.flags & INSN_ENDS && !system_goes_on(c, &ti->in)))
			break;
	}
	return false;
}

bool emit_is_cut(const struct emit *e, int64_t at)
{
	const struct source *s = &e->cpu->t.work->source;
	struct insn in;

	return at > FRAME_SIZE - INSN_BYTES_MAX && at < FRAME_SIZE &&
	       insn_decode(s->copy + at, FRAME_SIZE - (size_t)at, s->mode, &in) == DECODE_MORE;
}

/* Flags that may be live at @at; what was looked at to know is noted. */
static unsigned peek(struct source *s, int64_t at)
{
	unsigned avail;

	if (at < 0 || at >= FRAME_SIZE || s->peeks == sizeof(s->peek) / sizeof(s->peek[0]))
		return FL_ALL;
	avail = FRAME_SIZE - (unsigned)at;
	if (avail > PEEK_INSNS * INSN_BYTES_MAX)
		avail = PEEK_INSNS * INSN_BYTES_MAX;
	s->peek[s->peeks].from = (unsigned)at;
	s->peek[s->peeks++].to = (unsigned)at + avail;
	return flags_live_at(s->copy + at, avail, s->mode, PEEK_INSNS);
}

/* The same where the branch @ti goes: an offset in the page, unless the target is cut to 16 bits on the way. */
static unsigned peek_target(struct source *s, const struct trace_insn *ti)
{
	int64_t to = (int64_t)s->offset + ti->at + ti->in.len + (int64_t)ti->in.imm;

	return ti->in.opsize == 2 && s->mode == INSN_MODE32 ? FL_ALL : peek(s, to);
}

/* Also fills live_taken of the branches in the middle. With @exact nothing is known of what follows: it may fault. */
static unsigned live_at_end(struct source *s, struct trace *t, bool exact)
{
	const struct trace_insn *last = &t->insn[t->count - 1];
	int64_t next = (int64_t)s->offset + last->at + last->in.len;

	for (unsigned i = 0; i + 1 < t->count; i++) {
		struct trace_insn *ti = &t->insn[i];

		ti->live_taken = FL_ALL;
		if (ti->in.id == INSN_ID_JCC && !exact)
			ti->live_taken = (uint16_t)peek_target(s, ti);
	}

	if (!is_translated(&last->in))
		return FL_ALL;
	if (exact)
		return FL_ALL;
	switch (last->in.id) {
	case INSN_ID_JMP: return peek_target(s, last);
	case INSN_ID_JCC:
	case INSN_ID_LOOP:
	case INSN_ID_LOOPE:
	case INSN_ID_LOOPNE:
	case INSN_ID_JCXZ: return peek(s, next) | peek_target(s, last);
	case INSN_ID_JMP_IND:
	case INSN_ID_CALL:
	case INSN_ID_CALL_IND:
	case INSN_ID_RET: return FL_ALL;
	default: return peek(s, next);
	}
}

/* Inside the page, by a branch that gets linked: on the way to another page requests are seen anyway. */
static bool branches_back(const struct trace *t, unsigned offset)
{
	for (unsigned i = 0; i < t->count; i++) {
		const struct insn *in = &t->insn[i].in;

		if (opcode_table[in->row].opnd[0].kind == OPND_J && (int64_t)in->imm < 0 &&
		    (int64_t)offset + t->insn[i].at + in->len + (int64_t)in->imm >= 0)
			return true;
	}
	return false;
}

/* --- emitting --- */

static void emit_poll(struct emit *e)
{
	struct code *c = &e->c;
	struct stub *s;
	uint8_t *ok;

	if (!e->t->insn[0].live_in) {
		asm_alu_mi(c, ALU_CMP, 4, HOST_CPU(req), 0);
		emit_stub(e, asm_jcc(c, 5), EXIT_POLL);
		return;
	}
	asm_mov(c, 8, T1, RCX); /* and not to memory: a loop's counter would be carried through it */
	asm_load(c, 4, RCX, HOST_CPU(req));
	ok = asm_jrcxz(c);
	s = emit_stub(e, asm_jmp(c), EXIT_POLL);
	s->rcx_in_t1 = true;
	if (!c->full)
		asm_link8(ok, c->p);
	asm_mov(c, 8, RCX, T1);
}

static void emit_entries(struct emit *e, struct tblock *b)
{
	struct code *c = &e->c;

	b->far_code = area_offset(e, c->p);
	asm_lea(c, 8, T0, host_at(T0, -(int32_t)e->offset));
	asm_store(c, 8, HOST_CPU(t.page), T0);
	while ((area_offset(e, c->p) & 7) && !c->full)
		asm_nop(c, 8 - (area_offset(e, c->p) & 7));
	b->code = area_offset(e, c->p);
	asm_bytes(c, "\x0f\x1f\x44\x00\x00", 5); /* the NOP that invalidation exchanges */
}

/* What comes behind the last instruction of a block is to be emitted: a jump there. */
static bool goes_on_behind(const struct cpu *c, const struct insn *in)
{
	return is_translated(in) && (!(in->flags & INSN_ENDS) || system_goes_on(c, in));
}

static void emit_body(struct emit *e, struct tblock *b, const uint8_t *bytes)
{
	const struct trace *t = e->t;

	e->ti = &t->insn[0];
	if (e->checked)
		emit_own_bytes(e, b->key, bytes, t->bytes);
	emit_code_range(e);
	if (branches_back(t, e->offset))
		emit_poll(e);
	for (unsigned i = 0; i < t->count && !e->failed; i++) {
		e->ti = &t->insn[i];
		e->at = i;
		b->point[i] = (struct block_point){ e->ti->at, (uint16_t)(area_offset(e, e->c.p) - b->code) };
		emit_leader_checks(e);
		if (is_translated(&e->ti->in)) {
			emit_vector_check(e);
			emitter_for(&e->ti->in)(e, &e->ti->in);
		} else {
			emit_call_handler(e, &e->ti->in);
		}
		if (e->shadow_until && e->shadow_until == i)
			emit_shadow_end(e);
	}
	if (e->failed)
		return;
	b->point[t->count] = (struct block_point){ t->bytes, (uint16_t)(area_offset(e, e->c.p) - b->code) };
	if (e->cut) {
		emit_next(e, (int64_t)e->offset + t->bytes);
	} else if (e->untranslated) {
		struct stub *s = emit_stub(e, asm_jmp(&e->c), EXIT_ONE);

		s->at = (uint16_t)(e->offset + t->bytes);
	} else if (goes_on_behind(e->cpu, &e->ti->in)) {
		emit_next(e, (int64_t)e->offset + t->bytes);
	}
	emit_aways(e);
}

static unsigned decoded_end(const struct source *s)
{
	return s->read < FRAME_SIZE ? s->read : FRAME_SIZE;
}

static uint64_t lines_of(const struct source *s)
{
	uint64_t lines = cache_lines(s->offset, decoded_end(s) - s->offset);

	for (unsigned i = 0; i < s->peeks; i++)
		lines |= cache_lines(s->peek[i].from, s->peek[i].to - s->peek[i].from);
	return lines;
}

/* Of the second page. */
static unsigned decoded_beyond(const struct source *s)
{
	return s->read - decoded_end(s);
}

static bool unchanged(const struct source *s, const uint8_t *const page[2])
{
	if (memcmp(s->copy + s->offset, page[0] + s->offset, decoded_end(s) - s->offset) ||
	    (decoded_beyond(s) && memcmp(s->copy + FRAME_SIZE, page[1], decoded_beyond(s))))
		return false;
	for (unsigned i = 0; i < s->peeks; i++)
		if (memcmp(s->copy + s->peek[i].from, page[0] + s->peek[i].from, s->peek[i].to - s->peek[i].from))
			return false;
	return true;
}

/* For people and profilers. */
static void block_show(const struct translator *tr, const struct tblock *b)
{
	char *text = NULL, *save = NULL;
	size_t len;
	FILE *f;

	if (tr->perf_map)
		perf_map_block(tr->perf_map, tr, b, tr->symbols);
	if (!trace_on(TRACE_CODE))
		return;
	f = open_memstream(&text, &len);
	if (!f)
		return;
	translate_dump(f, tr, b, tr->symbols);
	fclose(f);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		trace(TRACE_CODE, "%s", line);
	free(text);
}

/* Where a block is to be from, and what memory has there. */
struct place {
	uint64_t key, linear;
	uint32_t mode;
	uint64_t second; /* or FRAME_NONE */
	const uint8_t *const *page;
	bool checked; /* it compares its own bytes, and depends on no store's being noticed (mixed.c) */
};

/* From here on stores are noticed; false: they were not, or have been. */
static bool depend(struct translator *tr, const struct tblock *b, const struct source *s, const struct place *p)
{
	if (b->checked)
		return true;
	return cache_add_lines(tr, b->key >> FRAME_SHIFT, b->lines) &&
	       (b->second == FRAME_NONE || cache_add_lines(tr, b->second, b->second_lines)) && unchanged(s, p->page);
}

/* Under the lock. */
static struct tblock *emit_block(struct cpu *c, struct source *s, const struct trace *t, const struct place *p, bool untranslated)
{
	struct translator *tr = c->t.tr;
	struct emit *e = &c->t.work->emit;
	struct tblock *b;

	memset(e, 0, offsetof(struct emit, away));
	b = cache_begin(tr, t->count, STUBS_MAX + 1, &e->first_slot, 2 * t->count + 3);
	if (!b)
		return NULL;
	b->key = p->key;
	b->linear = p->linear;
	b->mode = p->mode;
	b->second = p->second;
	b->second_lines = cache_lines(0, INSN_BYTES_MAX);
	b->bytes = t->bytes;
	b->insns = (uint16_t)t->count;
	b->checked = p->checked;
	b->lines = b->checked ? 0 : lines_of(s);
	if (!depend(tr, b, s, p))
		return NULL;
	e->tr = tr;
	e->t = t;
	e->offset = s->offset;
	e->ti = &t->insn[0];
	e->untranslated = untranslated;
	e->cut = s->cut;
	e->checked = b->checked;
	e->cpu = c;
	e->mode = p->mode;
	e->c = (struct code){ .p = tr->rw + ((tr->used + NEAR_ALIGN - 1) & ~(uint32_t)(NEAR_ALIGN - 1)),
			      .end = tr->rw + tr->used + CACHE_BLOCK_ROOM, .to_rx = tr->rx - tr->rw };
	emit_entries(e, b);
	emit_body(e, b, s->copy + s->offset);
	emit_stubs(e, b);
	if (e->failed || e->c.full)
		return NULL;
	cache_commit(tr, b, area_offset(e, e->c.p), e->exits, e->slots);
	block_show(tr, b);
	return b;
}

/* Of work.source; at most @most instructions. */
static struct tblock *translate_source(struct cpu *c, const struct place *p, unsigned most)
{
	struct translator *tr = c->t.tr;
	struct translate_work *w = c->t.work;
	bool untranslated, across = p->second != FRAME_NONE, exact = tr->tuning.exact_flags;
	struct tblock *b;

	w->source.offset = p->key & (FRAME_SIZE - 1);
	w->source.mode = c->mode;
	w->trace.checked = checked_segments(p->mode);
	w->never = false;
	/* One that takes too much room, or has an instruction that cannot be emitted, is tried again with less in it. */
	for (; most; most = w->emit.failed ? w->emit.at : most / 2) {
		w->source.peeks = 0;
		untranslated = take_trace(c, &w->source, &w->trace, p->key, p->mode, most, p->checked);
		if (!w->trace.count || (across && w->source.offset + w->trace.bytes <= FRAME_SIZE))
			break;
		analyse_flags(&w->trace, live_at_end(&w->source, &w->trace, exact || p->checked), exact);
		analyse_memory(&w->trace, RANGE_MAX, is_translated);
		w->emit.failed = w->emit.c.full = false;
		pthread_mutex_lock(&tr->lock);
		b = cache_find_crossing(tr, p->key, p->mode, p->second); /* another vCPU may have been faster */
		if (!b)
			b = emit_block(c, &w->source, &w->trace, p, untranslated);
		pthread_mutex_unlock(&tr->lock);
		if (b || (!w->emit.failed && !w->emit.c.full))
			return b;
	}
	w->never = true;
	return NULL;
}

struct tblock *translate_block(struct cpu *c, uint64_t key, uint32_t mode, const uint8_t *page)
{
	const struct place p = { .key = key, .linear = linear_of_rip(c), .mode = mode, .second = FRAME_NONE, .page = &page,
				 .checked = cache_mixed(c->t.tr, key >> FRAME_SHIFT) };
	struct source *s = &c->t.work->source;

	if (!p.checked)
		cache_watch_frame(c, key >> FRAME_SHIFT);
	memcpy(s->copy, page, FRAME_SIZE);
	s->end = FRAME_SIZE;
	return translate_source(c, &p, c->t.tr->tuning.insns_max);
}

struct tblock *translate_crossing(struct cpu *c, uint64_t linear, uint64_t key, uint32_t mode, uint64_t second,
				  const uint8_t *const page[2])
{
	const struct place p = { .key = key, .linear = linear, .mode = mode, .second = second, .page = page };
	struct source *s = &c->t.work->source;

	cache_watch_frame(c, key >> FRAME_SHIFT);
	cache_watch_frame(c, second);
	memcpy(s->copy, page[0], FRAME_SIZE);
	memcpy(s->copy + FRAME_SIZE, page[1], INSN_BYTES_MAX);
	s->end = FRAME_SIZE + INSN_BYTES_MAX;
	return translate_source(c, &p, 1);
}
