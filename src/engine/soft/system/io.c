// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Ports: the permission check (SDM vol. 1, 19.5) and IN, OUT (vol. 2).
 */
#include "engine/soft/system/system.h"

enum { TSS_IOMAP = 0x66 };

static uint64_t tss_linear(const struct cpu *c, uint32_t offset)
{
	return cpu_long_mode(c) ? c->tr.base + offset : (uint32_t)(c->tr.base + offset);
}

void io_check(struct cpu *c, uint16_t port, unsigned size)
{
	uint32_t at;
	unsigned bits;

	if (!(c->cr0 & CR0_PE) || (c->cpl <= cpu_iopl(c) && !in_vm86(c)))
		return;
	/* Only a 32-bit or 64-bit TSS has a bitmap; its type is 9 or 11. */
	if ((c->tr.attr & ATTR_TYPE) < SYS_TSS || (c->tr.attr & ATTR_NULL) || c->tr.limit < TSS_IOMAP + 1)
		raise_gp0(c);
	at = (uint32_t)mmu_load_sys(c, tss_linear(c, TSS_IOMAP), 2) + port / 8;
	if (at + 1 > c->tr.limit) /* two bytes are always read */
		raise_gp0(c);
	bits = (unsigned)mmu_load_sys(c, tss_linear(c, at), 2);
	if (bits >> (port & 7) & ((1u << size) - 1))
		raise_gp0(c);
}

static inline uint16_t port_of(const struct cpu *c, const struct insn *in)
{
	return opcode_table[in->row].implicit & IMPL_RDX_R ? (uint16_t)c->gpr[RDX] : (uint8_t)in->imm;
}

static void in_port(struct cpu *c, const struct insn *in)
{
	uint16_t port = port_of(c, in);
	unsigned size = in->opsize > 4 ? 4 : in->opsize;

	io_check(c, port, size);
	gpr_put(c, RAX * 8, size, cpu_io_in(c, port, size));
}

static void out_port(struct cpu *c, const struct insn *in)
{
	uint16_t port = port_of(c, in);
	unsigned size = in->opsize > 4 ? 4 : in->opsize;

	io_check(c, port, size);
	cpu_io_out(c, port, size, gpr_get(c, RAX * 8, size));
}

insn_fn *bind_io(struct cpu *c, const struct insn *in)
{
	return in->id == INSN_ID_IN ? in_port : in->id == INSN_ID_OUT ? out_port : NULL;
}
