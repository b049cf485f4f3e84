// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Debug registers and what they watch: SDM vol. 3, 17.2 (registers), 17.3.1 (#DB), 17.4.3 (BTF);
 * vol. 2, MOV to and from them. debug.h says how it is kept out of the way while it is off.
 *
 *  - A breakpoint is enabled by its L or its G bit (17.2.4). LE and GE are kept and change nothing:
 *    data breakpoints are always exact here.
 *  - DRn's low bits that LENn covers are ignored: the range is aligned to its length (17.2.5).
 *  - A code breakpoint with LENn other than 0 is undefined; it is taken for one of length 0.
 *  - R/Wn = 10b watches ports with CR4.DE and nothing without it.
 *  - A #DB replaces B0-B3 and only sets BD, BS and BT. Only enabled breakpoints set their B bit, which
 *    17.2.3 leaves open.
 *  - Accesses that the processor makes by itself (descriptors, TSS, IDT, stacks of other levels) are
 *    watched by their linear addresses like any other; the page walk's are physical and are not.
 */
#include "engine/soft/system/system.h"

#include <string.h>

enum { DR_COUNT = 4 };

static bool enabled(const struct cpu *c, unsigned n)
{
	return c->dr[7] >> (n * 2) & 3;
}

static enum dr7_rw rw_of(const struct cpu *c, unsigned n)
{
	return (enum dr7_rw)(c->dr[7] >> (16 + n * 4) & 3);
}

/* LENn = 10b is 8 bytes, on every processor with 64-bit mode (17.2.4). */
static unsigned len_of(const struct cpu *c, unsigned n)
{
	static const uint8_t len[4] = { 1, 2, 8, 4 };

	return len[c->dr[7] >> (18 + n * 4) & 3];
}

/* --- arming --- */

static void arm(struct cpu *c, const struct debug_watch *w)
{
	uint64_t last = (w->linear + w->len - 1) & ~0xfffull;

	c->dbg.watch[c->dbg.watch_count++] = *w;
	for (uint64_t page = w->linear & ~0xfffull;; page += FRAME_SIZE) {
		mmu_flush_page(c, page);
		if (page == last)
			break;
	}
}

void debug_rearm(struct cpu *c)
{
	struct cpu_debug *d = &c->dbg;

	d->watch_count = 0;
	d->code = 0;
	for (unsigned n = 0; n < DR_COUNT; n++) {
		uint64_t len = len_of(c, n);
		enum dr7_rw rw = rw_of(c, n);

		if (!enabled(c, n) || rw == DR7_IO)
			continue;
		if (rw == DR7_EXEC) {
			d->code |= (uint8_t)(1 << n);
			continue;
		}
		arm(c, &(struct debug_watch){ .linear = c->dr[n] & ~(len - 1), .len = len, .store = true,
					      .load = rw == DR7_READ_WRITE, .hit = 1u << n });
	}
	for (unsigned i = 0; c->debug && i < c->debug->watch_count; i++) {
		const struct engine_watch *w = &c->debug->watch[i];

		if (w->len && w->len <= ENGINE_WATCH_LEN_MAX)
			arm(c, &(struct debug_watch){ .linear = w->linear, .len = w->len, .store = w->store,
						      .load = w->load, .hit = DEBUG_HIT_OUTSIDE });
	}
	d->step = d->code || (c->debug && (c->debug->step || c->debug->count));
	c->brk = 1;
}

void debug_reset(struct cpu *c)
{
	memset(c->dr, 0, sizeof(c->dr));
	c->dr[6] = DR6_FIXED;
	c->dr[7] = DR7_FIXED;
	c->dbg.pending = c->dbg.hits = c->dbg.rf_was = 0;
	debug_rearm(c);
}

/* --- comparing --- */

bool debug_page_watched(const struct cpu *c, uint64_t linear)
{
	uint64_t page = linear & ~0xfffull;

	for (unsigned i = 0; i < c->dbg.watch_count; i++) {
		const struct debug_watch *w = &c->dbg.watch[i];

		if (w->linear - page < FRAME_SIZE || page - w->linear < w->len)
			return true;
	}
	return false;
}

static void hit(struct cpu *c, uint32_t bits)
{
	c->dbg.hits |= bits;
	c->attn = c->brk = 1;
}

void debug_access(struct cpu *c, uint64_t linear, uint64_t size, bool store)
{
	/* Outside 64-bit mode linear addresses wrap at 4 GiB. */
	if (c->mode != INSN_MODE64 && linear < 1ull << 32 && linear + size > 1ull << 32) {
		debug_access(c, 0, linear + size - (1ull << 32), store);
		size = (1ull << 32) - linear;
	}
	for (unsigned i = 0; i < c->dbg.watch_count; i++) {
		const struct debug_watch *w = &c->dbg.watch[i];

		if (!(store ? w->store : w->load))
			continue;
		if (w->linear - linear >= size && linear - w->linear >= w->len)
			continue;
		if (w->hit == DEBUG_HIT_OUTSIDE)
			c->dbg.outside_linear = w->linear;
		hit(c, w->hit);
	}
}

bool debug_ports_watched(const struct cpu *c)
{
	return (c->dr[7] & DR7_ENABLES) && (c->cr4 & CR4_DE);
}

void debug_port(struct cpu *c, uint16_t port, unsigned size)
{
	if (!debug_ports_watched(c))
		return;
	for (unsigned n = 0; n < DR_COUNT; n++) {
		unsigned len = len_of(c, n);
		uint64_t from = c->dr[n] & ~(uint64_t)(len - 1);

		if (enabled(c, n) && rw_of(c, n) == DR7_IO && (from - port < size || port - from < len))
			hit(c, 1u << n);
	}
}

uint32_t debug_code_at(const struct cpu *c, uint64_t linear)
{
	uint32_t bits = 0;

	for (unsigned n = 0; n < DR_COUNT; n++)
		if ((c->dbg.code >> n & 1) && c->dr[n] == linear)
			bits |= 1u << n;
	return bits;
}

bool debug_code_within(const struct cpu *c, uint64_t linear, unsigned bytes)
{
	for (unsigned n = 0; n < DR_COUNT; n++)
		if ((c->dbg.code >> n & 1) && c->dr[n] - linear < bytes)
			return true;
	for (unsigned i = 0; c->debug && i < c->debug->count; i++)
		if (c->debug->breakpoint[i] - linear < bytes)
			return true;
	return false;
}

/* --- traps --- */

void debug_trap(struct cpu *c, uint32_t dr6)
{
	hit(c, dr6);
}

void debug_report(struct cpu *c, uint32_t dr6)
{
	dr6 |= c->dbg.pending;
	c->dbg.pending = 0;
	c->dr[6] = (c->dr[6] & ~(uint64_t)DR6_B) | dr6;
	c->debugctl &= ~(uint64_t)DEBUGCTL_BTF; /* 17.4.3 */
}

void debug_task_switched(struct cpu *c, bool t_flag)
{
	if (c->dr[7] & DR7_LOCAL) {
		c->dr[7] &= ~(uint64_t)DR7_LOCAL;
		debug_rearm(c);
	}
	if (t_flag)
		debug_trap(c, DR6_BT);
}

/* --- MOV --- */

static unsigned natural_size(const struct cpu *c)
{
	return c->mode == INSN_MODE64 ? 8 : 4;
}

/*
 * Checks access to DRn; gives the number with DR4 and DR5 taken for DR6 and DR7. General detect (17.3.1.3)
 * is a fault, so RF is 1 in the pushed flags; nothing that loaded SS before holds it off.
 */
static unsigned dr_number(struct cpu *c, unsigned n)
{
	need_cpl0(c);
	if (n > 7 || ((n == 4 || n == 5) && (c->cr4 & CR4_DE)))
		cpu_raise(c, EXC_UD);
	if (c->dr[7] & DR7_GD) {
		debug_report(c, DR6_BD);
		c->sysflags |= RF_RF;
		cpu_raise(c, EXC_DB);
	}
	return n == 4 || n == 5 ? n + 2 : n;
}

static void mov_from_dr(struct cpu *c, const struct insn *in)
{
	unsigned n = dr_number(c, in->reg);

	gpr_put(c, in->rm * 8u, natural_size(c), c->dr[n]);
}

static void mov_to_dr(struct cpu *c, const struct insn *in)
{
	unsigned n = dr_number(c, in->reg);
	uint64_t v = gpr_get(c, in->rm * 8u, natural_size(c));

	if (n >= 6 && v >> 32)
		raise_gp0(c);
	if (n == 6) {
		c->dr[6] = (v & DR6_WRITABLE) | DR6_FIXED;
		return;
	}
	c->dr[n] = n == 7 ? (v & DR7_WRITABLE) | DR7_FIXED : v;
	if (n == 7 || (c->dr[7] >> (n * 2) & 3))
		debug_rearm(c);
}

insn_fn *bind_debug(struct cpu *c, const struct insn *in)
{
	if (in->id != INSN_ID_MOV_DR)
		return NULL;
	return opcode_table[in->row].opnd[0].kind == OPND_R ? mov_from_dr : mov_to_dr;
}
