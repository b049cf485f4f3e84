// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The opcode table: the rows of opcodes.def as struct opcode, and names.
 */
#include "engine/soft/decode/insn.h"

static const char *const names[INSN_ID_COUNT] = {
	[INSN_ID_NONE] = "(bad)",
#define INSN(id, name) [INSN_ID_##id] = name,
#define ROW(...)
#define EROW(...)
#include "engine/soft/decode/opcodes.def"
};

/* The same names as constants, for the rows. */
#define INSN(id, name) static const char name_##id[] = name;
#define ROW(...)
#define EROW(...)
#include "engine/soft/decode/opcodes.def"

/* Two steps, because form and flags are macros that stand for several members each. */
#define ROW_(id_, name_, map_, pp_, op_, has_modrm, ext_, mod_, rm_, feat_, attr_, ev_, impl_, flr, flw, flu, ...) \
	{                                                                                                      \
		.id = id_,                                                                                     \
		.map = map_,                                                                                   \
		.pp = pp_,                                                                                     \
		.opcode = op_,                                                                                 \
		.ext = ext_,                                                                                   \
		.mod = mod_,                                                                                   \
		.rm = rm_,                                                                                     \
		.feature = feat_,                                                                              \
		.attr = (attr_) | (has_modrm),                                                                 \
		.implicit = impl_,                                                                             \
		.fl_read = flr,                                                                                \
		.fl_write = flw,                                                                               \
		.fl_undef = flu,                                                                               \
		.evex = ev_,                                                                                   \
		.opnd = { __VA_ARGS__ },                                                                       \
		.name = name_,                                                                                 \
	},
#define ROW1(...) ROW_(__VA_ARGS__)

const struct opcode opcode_table[] = {
#define INSN(id, name)
#define ROW(id, map, pp, op, form, feat, attr, impl, fl, ...)                                                  \
	ROW1(INSN_ID_##id, name_##id, MAP_##map, PP_##pp, op, form, FEAT_##feat, attr, 0, impl, fl, __VA_ARGS__)
#define EROW(id, map, pp, op, form, feat, attr, fl, ev, ...)                                                   \
	ROW1(INSN_ID_##id, name_##id, MAP_##map, PP_##pp, op, form, FEAT_##feat, attr, EV_ROW | (ev), 0, fl, __VA_ARGS__)
#include "engine/soft/decode/opcodes.def"
};

const unsigned opcode_count = sizeof(opcode_table) / sizeof(opcode_table[0]);

const char *insn_name(unsigned id)
{
	return id < INSN_ID_COUNT ? names[id] : names[INSN_ID_NONE];
}
