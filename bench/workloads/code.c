// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Code that changes: `patch` rewrites an instruction's immediate before each call, `fresh` writes new functions
 * into new places, as JIT compilers do. Both keep their code in memory that is writable and executable.
 */
#include "workloads.h"

#include <string.h>
#include <sys/mman.h>

static uint8_t *code_memory(size_t size)
{
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	must(p != MAP_FAILED, "mmap");
	return p;
}

static uint8_t *patch_page;

static void patch_prepare(void)
{
	static const uint8_t changing[] = { 0xb8, 0, 0, 0, 0, /* mov eax, imm32 */ 0x48, 0x8d, 0x04, 0x78, /* lea rax, [rax+rdi*2] */ 0xc3 };
	static const uint8_t constant[] = { 0x48, 0x8d, 0x47, 0x11, /* lea rax, [rdi+17] */ 0x48, 0xc1, 0xe0, 0x02, /* shl rax, 2 */ 0xc3 };

	patch_page = code_memory(4096);
	memcpy(patch_page, changing, sizeof(changing));
	memcpy(patch_page + 1024, constant, sizeof(constant));
}

/* A function that is patched right before each call, and one that is not, with data three cache lines behind it. */
static uint64_t patch(uint64_t n)
{
	uint64_t (*changing)(uint64_t) = (uint64_t (*)(uint64_t))(uintptr_t)patch_page;
	uint64_t (*constant)(uint64_t) = (uint64_t (*)(uint64_t))(uintptr_t)(patch_page + 1024);
	volatile uint32_t *immediate = (volatile uint32_t *)(patch_page + 1);
	volatile uint64_t *data = (volatile uint64_t *)(patch_page + 1024 + 192);
	uint64_t sum = 0;

	while (n--) {
		*immediate = (uint32_t)(n * 2654435761u);
		sum = sum * 3 + changing(n);
		*data = sum;
		sum ^= constant(n);
	}
	return sum;
}

enum { FRESH_SIZE = 4 << 20, FRESH_LONGEST = 1024 /* bytes of a function */, FRESH_INSNS = 24 };

static uint8_t *fresh_buffer;

static void fresh_prepare(void)
{
	fresh_buffer = code_memory(FRESH_SIZE);
}

struct emitter {
	uint8_t *at;
	uint64_t random;
};

static void bytes(struct emitter *e, uint64_t value, unsigned count)
{
	memcpy(e->at, &value, 8);
	e->at += count;
}

static unsigned choose(struct emitter *e, unsigned count)
{
	return (unsigned)((next_random(&e->random) >> 33) % count);
}

/* The registers that a function need not keep, without RDI. */
static const uint8_t registers[] = { 0, 1, 2, 6, 8, 9, 10, 11 };

static unsigned any_register(struct emitter *e)
{
	return registers[choose(e, sizeof(registers))];
}

/* REX.W, an opcode of @count bytes, ModRM of two registers. */
static void two_registers(struct emitter *e, unsigned opcode, unsigned count, unsigned reg, unsigned rm)
{
	bytes(e, 0x48 | reg >> 3 << 2 | rm >> 3, 1);
	bytes(e, opcode, count);
	bytes(e, 0xc0 | (reg & 7) << 3 | (rm & 7), 1);
}

/* REX.W, an opcode of @count bytes, a register and a place in the 2 KiB at RDI. */
static void with_memory(struct emitter *e, unsigned opcode, unsigned count, unsigned reg)
{
	bytes(e, 0x48 | reg >> 3 << 2, 1);
	bytes(e, opcode, count);
	bytes(e, 0x87 | (reg & 7) << 3, 1);
	bytes(e, choose(e, 255) * 8, 4);
}

static void any_instruction(struct emitter *e)
{
	static const uint8_t arithmetic[] = { 0x01, 0x09, 0x11, 0x21, 0x29, 0x31, 0x39, 0x85, 0x89 };
	static const uint8_t loads[] = { 0x8b, 0x03, 0x2b, 0x33, 0x3b };
	unsigned a = any_register(e), b = any_register(e), c = any_register(e);

	switch (choose(e, 12)) {
	case 0:
	case 1:
	case 2: return two_registers(e, arithmetic[choose(e, sizeof(arithmetic))], 1, a, b);
	case 3: return two_registers(e, 0xaf0f, 2, a, b); /* imul */
	case 4: /* add, or, and, sub, xor, cmp with an immediate */
		two_registers(e, 0x81, 1, (unsigned[]){ 0, 1, 4, 5, 6, 7 }[choose(e, 6)], b);
		return bytes(e, next_random(&e->random) >> 40, 4);
	case 5: /* rol, ror, shl, shr, sar */
		two_registers(e, 0xc1, 1, (unsigned[]){ 0, 1, 4, 5, 7 }[choose(e, 5)], b);
		return bytes(e, 1 + choose(e, 60), 1);
	case 6: /* lea with base, index and displacement */
		bytes(e, 0x48 | a >> 3 << 2 | b >> 3 << 1 | c >> 3, 1);
		bytes(e, 0x448d | (a & 7) << 11, 2);
		bytes(e, choose(e, 4) << 6 | (b & 7) << 3 | (c & 7), 1);
		return bytes(e, choose(e, 128), 1);
	case 7: return with_memory(e, loads[choose(e, sizeof(loads))], 1, a);
	case 8: return with_memory(e, 0xb60f, 2, a); /* movzx from a byte */
	case 9: return with_memory(e, (unsigned[]){ 0x89, 0x01, 0x31 }[choose(e, 3)], 1, a);
	case 10: /* a condition: compare, and jump over one instruction */
		two_registers(e, 0x39, 1, a, b);
		bytes(e, 0x0370u | choose(e, 16), 2);
		return two_registers(e, 0x01, 1, c, a);
	default: /* compare, and set a byte by a condition; with a REX prefix for all registers */
		two_registers(e, 0x39, 1, a, b);
		bytes(e, 0x40 | c >> 3, 1);
		return bytes(e, 0xc0900fu | choose(e, 16) << 8 | (c & 7) << 16, 3);
	}
}

/* uint64_t f(uint64_t memory[256]): sets its registers, works, goes twice round a loop, and adds up. */
static void emit_function(struct emitter *e)
{
	uint8_t *loop;

	for (unsigned i = 0; i < sizeof(registers); i++) {
		two_registers(e, 0xc7, 1, 0, registers[i]); /* mov r, imm32 */
		bytes(e, next_random(&e->random) >> 33, 4);
	}
	for (unsigned i = 0; i < FRESH_INSNS; i++)
		any_instruction(e);
	bytes(e, 0x026a, 2); /* push 2 */
	loop = e->at;
	for (unsigned i = 0; i < 6; i++)
		any_instruction(e);
	bytes(e, 0x240cff48, 4); /* dec qword [rsp] */
	bytes(e, 0x75, 1);	 /* jnz loop */
	bytes(e, (uint8_t)(loop - e->at - 1), 1);
	bytes(e, 0x59, 1); /* pop rcx */
	for (unsigned i = 1; i < sizeof(registers); i++)
		two_registers(e, 0x01, 1, registers[i], 0); /* add rax, r */
	bytes(e, 0xc3, 1);
}

static uint64_t fresh(uint64_t n)
{
	struct emitter e = { .at = fresh_buffer, .random = 7 };
	uint64_t memory[256], sum = 0;

	for (unsigned i = 0; i < 256; i++)
		memory[i] = next_random(&e.random);
	while (n--) {
		uint64_t (*function)(uint64_t *);

		if (e.at > fresh_buffer + FRESH_SIZE - FRESH_LONGEST)
			e.at = fresh_buffer;
		function = (uint64_t (*)(uint64_t *))(uintptr_t)e.at;
		emit_function(&e);
		e.at += -(uintptr_t)e.at & 15;
		for (uint64_t times = 0; times <= n % 4; times++)
			sum = sum * 5 + function(memory);
	}
	return sum;
}

const struct workload code_workloads[] = {
	{ "code", "patch", patch, 1000000, patch_prepare },
	{ "code", "fresh", fresh, 32000, fresh_prepare },
	{ 0 },
};
