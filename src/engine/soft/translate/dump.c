// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A translated block as text.
 *
 * Host code is decoded and printed by the guest's own decoder: what the translator emits is in its table. Two things
 * are then put into words: operands relative to GS, which are fields of struct cpu, and where branches lead.
 */
#include "engine/soft/translate/dump.h"

#include "engine/soft/translate/code.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 160, GUEST_COLUMN = 44 };

/* --- names --- */

/* Fields that emitted code names. Arrays: their elements are numbered, but for gpr[]. */
#define FIELD(member) { #member, offsetof(struct cpu, member), sizeof(((struct cpu *)NULL)->member) }
static const struct field {
	const char *name;
	size_t at, size;
} fields[] = {
	FIELD(flags),	       FIELD(sysflags),	      FIELD(req),	   FIELD(cpl),
	FIELD(t.page),	       FIELD(t.bias),	      FIELD(t.neg_bias),   FIELD(t.stack_base),
	FIELD(t.jumps),	       FIELD(t.host_rsp),     FIELD(t.save_rax),   FIELD(t.save_rcx),
	FIELD(t.flags),	       FIELD(t.vector),	      FIELD(t.x87_at),	   FIELD(t.x87_page),
	FIELD(t.exit_kind),    FIELD(t.exit_at),      FIELD(t.exit_site),  FIELD(t.exit_slot),
	FIELD(t.exit_size),    FIELD(t.exit_value),   FIELD(t.exit_point),
	FIELD(insn_count),     FIELD(kernel_gs_base), FIELD(tsc_offset),
};

static const char *const gpr_names[GPR_FILE] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8",
						 "r9",	"r10", "r11", "r12", "r13", "r14", "r15", "rip", "zero" };
static const char *const segment_names[] = { "es", "cs", "ss", "ds", "fs", "gs" };

static const char *const exit_names[EXIT_COUNT] = {
#define X(id, name) [EXIT_##id] = #id,
	EXIT_KINDS(X)
#undef X
};

/* What is at @offset of struct cpu. */
static void field_name(int64_t offset, char *buf, size_t len)
{
	size_t at = (size_t)offset, n;

	if (at < sizeof(((struct cpu *)NULL)->gpr) && at % 8 == 0) {
		snprintf(buf, len, "gpr.%s", gpr_names[at / 8]);
		return;
	}
	n = (at - offsetof(struct cpu, segbase)) / 8;
	if (at >= offsetof(struct cpu, segbase) && n < sizeof(segment_names) / sizeof(segment_names[0]) && at % 8 == 0) {
		snprintf(buf, len, "base.%s", segment_names[n]);
		return;
	}
	n = (at - offsetof(struct cpu, slot)) / sizeof(struct slot);
	if (at >= offsetof(struct cpu, slot) && n < SLOTS_MAX) {
		static const char *const parts[sizeof(struct slot) / 8] = { "base", "limit", "addend", "kind" };

		snprintf(buf, len, "slot%zu.%s", n, parts[(at - offsetof(struct cpu, slot)) % sizeof(struct slot) / 8]);
		return;
	}
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (at - fields[i].at >= fields[i].size)
			continue;
		if (at == fields[i].at)
			snprintf(buf, len, "%s", fields[i].name);
		else
			snprintf(buf, len, "%s+%zu", fields[i].name, at - fields[i].at);
		return;
	}
	snprintf(buf, len, "cpu%+" PRId64, offset);
}

/* What is left with by the branch at area offset @from; the exit point's index is the immediate of the instruction before. */
static void exit_name(const struct translator *tr, uint32_t from, char *buf, size_t len)
{
	const struct exit_point *x;
	uint32_t n = ~0u;

	if (from >= sizeof(n))
		memcpy(&n, tr->rw + from - sizeof(n), sizeof(n));
	if (n >= tr->exit_max) {
		snprintf(buf, len, "leave");
		return;
	}
	x = &tr->exits[n];
	if (x->size)
		snprintf(buf, len, "leave ; %s at %#x, %u bytes%s", exit_names[x->kind], x->at, x->size & ~EXIT_STORES,
			 x->size & EXIT_STORES ? ", stored" : "");
	else
		snprintf(buf, len, "leave ; %s at %#x", exit_names[x->kind], x->at);
}

/* Where a branch at area offset @from to @to leads. */
static void target_name(const struct translator *tr, uint32_t from, int64_t to, char *buf, size_t len)
{
	uint64_t rx = (uint64_t)(uintptr_t)tr->rx;
	const struct tblock *here = cache_at(tr, rx + from), *there = to < 0 ? NULL : cache_at(tr, rx + (uint64_t)to);

	if (to == tr->exit || to == tr->exit_rcx || to == tr->jump_miss)
		exit_name(tr, from, buf, len);
	else if (to == tr->leave)
		snprintf(buf, len, "leave");
	else if (to == tr->fill[0][0] || to == tr->fill[0][1])
		snprintf(buf, len, "fill");
	else if (to == tr->fill[1][0] || to == tr->fill[1][1])
		snprintf(buf, len, "fill for stores");
	else if (to == tr->enter)
		snprintf(buf, len, "enter");
	else if (to == tr->fault)
		snprintf(buf, len, "fault");
	else if (there && there == here)
		snprintf(buf, len, "+%" PRIx64, (uint64_t)to - there->far_code);
	else if (there && to == there->code)
		snprintf(buf, len, "block %" PRIx64, there->key);
	else if (there)
		snprintf(buf, len, "block %" PRIx64 " +%" PRIx64, there->key, (uint64_t)to - there->far_code);
	else
		snprintf(buf, len, "area %#" PRIx64, (uint64_t)to);
}

/* --- host instructions --- */

static bool has_operand(const struct insn *in, enum operand_kind kind)
{
	for (unsigned i = 0; i < 4; i++)
		if (opcode_table[in->row].opnd[i].kind == kind)
			return true;
	return false;
}

/* "[...]" in @text, with "gs:" before it, becomes "[field]"; registers that are in it stay. */
static void name_field(const struct insn *in, char *text, size_t len)
{
	char *open = strchr(text, '['), *close = open ? strchr(open, ']') : NULL, rest[TEXT_MAX], name[64];
	int n;

	if (!close)
		return;
	snprintf(rest, sizeof(rest), "%s", close + 1);
	if (open - text >= 3 && !memcmp(open - 3, "gs:", 3))
		open -= 3;
	field_name(in->disp, name, sizeof(name));
	n = in->base == GPR_ZERO ? snprintf(open, len - (size_t)(open - text), "[%s]%s", name, rest)
				 : snprintf(open, len - (size_t)(open - text), "[%s+%s]%s", name, gpr_names[in->base], rest);
	(void)n; /* cut off when it is too long */
}

unsigned translate_print_host(const struct translator *tr, const uint8_t *code, size_t avail, uint32_t at, char *buf, size_t len)
{
	struct insn in;

	if (insn_decode(code, avail, INSN_MODE64, &in) <= 0) {
		snprintf(buf, len, ".byte %#x", avail ? code[0] : 0);
		return 1;
	}
	insn_print(&in, at, buf, len);
	if ((in.flags & INSN_MEM) && in.seg == SEG_GS && in.index == GPR_ZERO && in.base != GPR_RIP) {
		name_field(&in, buf, len);
	} else if (has_operand(&in, OPND_J)) {
		char *last = strrchr(buf, ' ');
		int64_t to = (int64_t)at + in.len + (int64_t)in.imm;

		if (last)
			target_name(tr, at, to, last + 1, len - (size_t)(last + 1 - buf));
	}
	return in.len;
}

/* --- a block --- */

struct dump {
	FILE *f;
	const struct translator *tr;
	const struct tblock *b;
};

/* Host code from @from to @to, offsets in the area; @left stands beside its first line. */
static void dump_host(const struct dump *d, uint32_t from, uint32_t to, const char *left)
{
	if (from >= to && *left)
		fprintf(d->f, "  %s\n", left);
	while (from < to) {
		char text[TEXT_MAX];
		unsigned n = translate_print_host(d->tr, d->tr->rw + from, to - from, from, text, sizeof(text));

		fprintf(d->f, "  %-*s +%03" PRIx32 "  %s\n", GUEST_COLUMN, left, from - d->b->far_code, text);
		left = "";
		from += n;
	}
}

static void dump_title(const struct dump *d, const struct symbols *symbols)
{
	static const char *const modes[4] = { "16", "32", "64", "?" };
	const struct tblock *b = d->b;
	uint64_t offset;
	const char *name = symbols_find(symbols, b->linear, &offset);

	fprintf(d->f, "block %" PRIx64 ", at %" PRIx64, b->key, b->linear);
	if (name)
		fprintf(d->f, " %s+%#" PRIx64, name, offset);
	fprintf(d->f, ": %s-bit, CPL %u, mode %#x%s; %u instructions, %u bytes, become %u bytes\n", modes[b->mode & 3], b->mode >> 2 & 3,
		b->mode, b->live ? "" : ", stale", b->insns, b->bytes, b->code_len);
}

/* Instruction @i of the block, as text; it lies at @at from the block's start. */
static void guest_text(const struct dump *d, unsigned i, char *buf, size_t len)
{
	const struct tblock *b = d->b;
	const struct ram *ram = d->tr->vm->ram;
	const uint8_t *frame = ram_frame_bytes(ram, b->key >> FRAME_SHIFT);
	unsigned offset = (b->key & (FRAME_SIZE - 1)) + b->point[i].guest, room;
	uint8_t bytes[2 * INSN_BYTES_MAX];
	struct insn in;
	int n;

	n = snprintf(buf, len, "%03x  ", offset);
	if (offset >= FRAME_SIZE)
		return;
	room = FRAME_SIZE - offset < INSN_BYTES_MAX ? FRAME_SIZE - offset : INSN_BYTES_MAX;
	memcpy(bytes, frame + offset, room);
	if (b->second != FRAME_NONE) {
		memcpy(bytes + room, ram_frame_bytes(ram, b->second), INSN_BYTES_MAX);
		room += INSN_BYTES_MAX;
	}
	if (insn_decode(bytes, room, (enum insn_mode)(b->mode & 3), &in) <= 0)
		snprintf(buf + n, len - (size_t)n, "(other bytes now)");
	else
		insn_print(&in, b->linear + b->point[i].guest, buf + n, len - (size_t)n);
}

void translate_dump(FILE *f, const struct translator *tr, const struct tblock *b, const struct symbols *symbols)
{
	struct dump d = { .f = f, .tr = tr, .b = b };
	uint32_t end = b->far_code + b->code_len;

	dump_title(&d, symbols);
	dump_host(&d, b->far_code, b->code, "far entry");
	dump_host(&d, b->code, b->code + b->point[0].host, "near entry");
	for (unsigned i = 0; i < b->insns; i++) {
		char left[TEXT_MAX];

		guest_text(&d, i, left, sizeof(left));
		dump_host(&d, b->code + b->point[i].host, b->code + b->point[i + 1].host, left);
	}
	dump_host(&d, b->code + b->point[b->insns].host, b->stale, "stubs");
	dump_host(&d, b->stale, end, "stale");
	fputc('\n', f);
}

void translate_dump_all(FILE *f, const struct translator *tr, const struct symbols *symbols)
{
	for (uint32_t i = 0; i < tr->block_count; i++)
		translate_dump(f, tr, &tr->blocks[i], symbols);
}
