// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What asm.c and encode.c share: the ModRM byte with what follows it (SDM vol. 2, 2.1.5, 2.2.1), and
 * room for one instruction.
 */
#ifndef SUBRING_ENGINE_SOFT_TRANSLATE_MODRM_H
#define SUBRING_ENGINE_SOFT_TRANSLATE_MODRM_H

#include "engine/soft/translate/code.h"

#include <string.h>

enum { ENC_REX = 0x40, ENC_W = 8, ENC_R = 4, ENC_X = 2, ENC_B = 1 };
enum { ROOM = 16 }; /* more than any instruction takes */

/*
 * Where to write an instruction: in place while there is room for the longest, else to @tmp, whose real length
 * decides in insn_end. No byte behind the instruction is touched: others may be running it.
 */
static inline uint8_t *insn_begin(const struct code *c, uint8_t tmp[ROOM])
{
	return !c->full && c->end - c->p >= ROOM ? c->p : tmp;
}

static inline void insn_end(struct code *c, const uint8_t *start, uint8_t *end)
{
	if (start == c->p)
		c->p = end;
	else
		asm_bytes(c, start, (size_t)(end - start));
}

/* The REX bits (X, B) that @m needs. */
static inline unsigned mem_rex(struct host_mem m)
{
	return (m.base != HOST_NONE && m.base >= 8 ? ENC_B : 0u) | (m.index != HOST_NONE && m.index >= 8 ? ENC_X : 0u);
}

static inline uint8_t *put_u32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
	return p + 4;
}

static inline uint8_t *put_modrm_reg(uint8_t *p, unsigned reg, unsigned rm)
{
	*p++ = (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7));
	return p;
}

/* ModRM, SIB and displacement of @m; @no_disp8: one byte would mean something else than itself (EVEX). Without a base the displacement is absolute (SIB: RIP-relative is the form without one). */
static inline uint8_t *put_modrm_mem(uint8_t *p, unsigned reg, struct host_mem m, bool no_disp8)
{
	bool no_base = m.base == HOST_NONE, no_index = m.index == HOST_NONE;
	unsigned base = no_base ? 5 : m.base & 7u, index = no_index ? 4 : m.index & 7u, mod;

	reg = (reg & 7) << 3;
	if (no_base)
		mod = 0; /* and 32 bits of displacement */
	else if (!m.disp && base != 5)
		mod = 0;
	else
		mod = m.disp == (int8_t)m.disp && !(no_disp8 && m.disp) ? 0x40 : 0x80;
	if (no_base || !no_index || base == 4) {
		*p++ = (uint8_t)(mod | reg | 4);
		*p++ = (uint8_t)((no_index ? 0 : (unsigned)m.scale << 6) | index << 3 | base);
	} else {
		*p++ = (uint8_t)(mod | reg | base);
	}
	if (mod == 0x40)
		*p++ = (uint8_t)m.disp;
	else if (mod == 0x80 || no_base)
		p = put_u32(p, (uint32_t)m.disp);
	return p;
}

#endif
