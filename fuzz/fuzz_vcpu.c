// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A vCPU of engine soft with a state that somebody tampered with, descriptor tables, code and memory from the
 * input, and interrupts, NMIs, SMIs and INITs in between. The judges: the sanitizers; a vCPU that is kicked comes
 * back (the time limit); and the state that a settled vCPU gives is one that it takes.
 *
 * Input: a byte each for the mode, the CPU model and how many fields of the state are changed; these; then
 * pieces of memory (address, length, bytes). What is left answers reads of devices. Sources: engine_dep.
 */
#include "input.h"

#include "engine/soft/soft.h"
#include "engine/soft/system/system.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAM_SIZE = 1 << 20, ROM = 0x80000, ROM_SIZE = 0x10000, EXITS_MAX = 200, KICKS_MAX = 3, PIECES_MAX = 32, RUN_SIZE = (sizeof(struct run_page) + 4095) & ~4095ul };
enum { GDT = 0x1000, IDT = 0x2000, TSS = 0x3000, TSS2 = 0x3800, PML4 = 0x4000, CODE = 0x8000, STACK = 0x18000 };
enum { SEL_CODE = 0x08, SEL_DATA = 0x10, SEL_USER = 0x18, SEL_USER_DATA = 0x20, SEL_TSS = 0x28, SEL_TSS2 = 0x38 };

static struct ram *ram;
static struct run_page *run;
static pthread_mutex_t kick_lock = PTHREAD_MUTEX_INITIALIZER;
static struct cpu *running;

static void *kicker(void *arg)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	for (;;) {
		nanosleep(&ms, NULL);
		pthread_mutex_lock(&kick_lock);
		if (running)
			cpu_request(running, REQ_KICK);
		pthread_mutex_unlock(&kick_lock);
	}
	return NULL;
}

static void set_running(struct cpu *c)
{
	pthread_mutex_lock(&kick_lock);
	running = c;
	pthread_mutex_unlock(&kick_lock);
}

static void setup(void)
{
	struct error err;
	pthread_t thread;

	run = aligned_alloc(4096, RUN_SIZE);
	if (!run || ram_create(RAM_SIZE, NULL, &ram, &err) ||
	    ram_set_slot(ram, 0, &(struct ram_slot){ .gpa = 0, .size = ROM }) ||
	    ram_set_slot(ram, 1, &(struct ram_slot){ .gpa = ROM, .size = ROM_SIZE, .offset = ROM, .readonly = true }) ||
	    pthread_create(&thread, NULL, kicker, NULL))
		abort();
	pthread_detach(thread);
}

static void poke(uint64_t gpa, uint64_t v)
{
	if (ram_write(ram, gpa, &v, 8))
		abort();
}

static uint64_t desc(uint32_t base, uint32_t limit, unsigned attr)
{
	return (limit & 0xffff) | (uint64_t)base << 16 | (uint64_t)(attr & 0xff) << 40 | (uint64_t)(limit >> 16) << 48 |
	       (uint64_t)(attr >> 12 & 15) << 52;
}

/* Everything mapped one to one for everybody; gates to CODE, at vectors 0x40-0x4f to the second task. */
static void tables(bool lm)
{
	enum { CODE_ATTR = 0x9b | ATTR_G, DATA_ATTR = 0x93 | ATTR_G | ATTR_DB, USER = 0x60 };
	unsigned size = lm ? ATTR_L : ATTR_DB;

	ram_fill(ram, 0, 0, ROM);
	poke(GDT + SEL_CODE, desc(0, 0xfffff, CODE_ATTR | size));
	poke(GDT + SEL_DATA, desc(0, 0xfffff, DATA_ATTR));
	poke(GDT + SEL_USER, desc(0, 0xfffff, CODE_ATTR | size | USER));
	poke(GDT + SEL_USER_DATA, desc(0, 0xfffff, DATA_ATTR | USER));
	poke(GDT + SEL_TSS, desc(TSS, 0x67, 0x8b));
	poke(GDT + SEL_TSS2, desc(TSS2, 0x67, 0x89));
	for (unsigned v = 0; v < 256; v++) {
		uint64_t gate = (CODE + v) | (uint64_t)SEL_CODE << 16 | 0xee00ull << 32;

		if (!lm && v >> 4 == 4)
			gate = (uint64_t)SEL_TSS2 << 16 | 0xe5ull << 40;
		poke(IDT + v * (lm ? 16 : 8), gate);
	}
	for (unsigned at = TSS; at <= TSS2; at += TSS2 - TSS) {
		poke(at + 4, lm ? STACK : STACK | (uint64_t)SEL_DATA << 32);
		poke(at + 0x20, CODE | 2ull << 32);
		poke(at + 0x48, SEL_DATA | (uint64_t)SEL_CODE << 32);
		poke(at + 0x50, SEL_DATA | (uint64_t)SEL_DATA << 32);
	}
	poke(PML4, (PML4 + 0x1000) | 7);
	poke(PML4 + 0x1000, (PML4 + 0x2000) | 7);
	for (unsigned i = 0; i < 512; i++)
		poke(PML4 + 0x2000 + i * 8, i << 21 | 0x87);
}

static struct vcpu_segment segment(uint16_t sel, unsigned attr)
{
	return (struct vcpu_segment){ .limit = 0xffffffff, .selector = sel, .attr = attr | ATTR_G };
}

/* Real mode, 32 bits without and with paging, 64 bits; kernel or user. */
static void basic_state(struct vcpu_state *s, unsigned mode)
{
	bool lm = (mode & 3) == 3, user = mode & 4;

	s->activity = VCPU_RUNNING;
	s->rip = CODE;
	s->gpr[RSP] = STACK;
	s->seg[SEG_CS].base = 0;
	s->seg[SEG_CS].selector = 0;
	if (!(mode & 3))
		return;
	s->cr0 = CR0_PE | CR0_ET | CR0_NE;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = segment(user ? SEL_USER_DATA | 3 : SEL_DATA, (user ? 0xf3 : 0x93) | ATTR_DB);
	s->seg[SEG_CS] = segment(user ? SEL_USER | 3 : SEL_CODE, (user ? 0xfb : 0x9b) | (lm ? ATTR_L : ATTR_DB));
	s->gdt = (struct vcpu_table){ GDT, 0xfff };
	s->idt = (struct vcpu_table){ IDT, 0xfff };
	s->tr = (struct vcpu_segment){ .base = TSS, .limit = 0x67, .selector = SEL_TSS, .attr = 0x8b };
	if ((mode & 3) > 1) {
		s->cr0 |= CR0_PG;
		s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXSAVE;
		s->cr3 = lm ? PML4 : PML4 + 0x1000;
		s->pdpte[0] = (PML4 + 0x2000) | 1;
	}
	if (lm)
		s->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NX;
}

/* One element of one field, as a file may have it. */
static void tamper(struct vcpu_state *s, struct input *in)
{
	const struct state_field *f = vcpu_state_class.fields;
	char *at = (char *)s;

	for (;;) {
		unsigned count = 0, n = (unsigned)take(in, 1);

		while (f[count].name)
			count++;
		f += n % count;
		at += f->offset + (f->count > 1 ? take(in, 1) % f->count * f->size : 0);
		if (f->kind != STATE_KIND_STRUCT)
			break;
		f = f->sub;
	}
	if (f->kind == STATE_KIND_BYTES)
		at += take(in, 2) % f->size;
	for (uint32_t i = 0; i < (f->kind == STATE_KIND_BYTES ? 1 : f->size); i++)
		at[i] ^= (char)take(in, 1);
}

/* What the monitor does with an exit. False: the end. */
static bool answer(struct cpu *c, struct input *in)
{
	switch (run->exit) {
	case ENGINE_EXIT_PIO:
		if (run->pio.size > 4 || !run->pio.size || run->pio.count > RUN_DATA_MAX / run->pio.size)
			abort();
		for (unsigned i = 0; i < run->pio.size * run->pio.count && !run->pio.write; i++)
			run->data[i] = (uint8_t)take(in, 1);
		if (run->pio.write && run->pio.port == 0xb2)
			cpu_request(c, REQ_SMI);
		return true;
	case ENGINE_EXIT_MMIO:
		if (run->mmio.size > 8)
			abort();
		for (unsigned i = 0; i < 8 && !run->mmio.write; i++)
			run->data[i] = (uint8_t)take(in, 1);
		return true;
	case ENGINE_EXIT_MSR: run->msr.fault = take(in, 1) & 1; return true;
	case ENGINE_EXIT_SHUTDOWN:
	case ENGINE_EXIT_INTERNAL: return false;
	default: return true;
	}
}

static void event(struct cpu *c, struct input *in)
{
	static const uint32_t bits[] = { REQ_NMI, REQ_SMI, REQ_INIT, REQ_SIPI, REQ_TIMER, REQ_WORLD, REQ_EVENT };
	unsigned n = (unsigned)take(in, 1);

	if (n < sizeof(bits) / sizeof(bits[0]))
		cpu_request(c, bits[n]);
	if (n == 8 && run->extint_ready) {
		c->extint_vector = (uint8_t)take(in, 1);
		c->extint_pending = 1;
	}
}

static void round_trip(struct cpu *c)
{
	struct vcpu_state s;

	cpu_get_state(c, &s);
	if (cpu_set_state(c, &s))
		abort();
}

static void go(struct cpu *c, struct input *in)
{
	unsigned kicks = 0;

	set_running(c);
	for (unsigned n = 0; n < EXITS_MAX && kicks < KICKS_MAX; n++) {
		cpu_run(c);
		kicks += run->exit == ENGINE_EXIT_KICK || run->exit == ENGINE_EXIT_HALT;
		if (!answer(c, in))
			break;
		if (cpu_settled(c)) {
			event(c, in);
			if (n & 1)
				round_trip(c);
		}
	}
	set_running(NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct vm_clock clock;
	struct soft_vm *vm;
	struct vcpu_state s;
	unsigned mode, changes;
	const char *model;

	if (!ram)
		setup();
	mode = (unsigned)take(&in, 1);
	model = take(&in, 1) & 1 ? "max" : NULL;
	changes = (unsigned)take(&in, 1) & 15;
	tables((mode & 3) == 3);
	memset(run, 0, RUN_SIZE);
	vm_clock_init(&clock);
	vm_clock_resume(&clock);
	if (soft_vm_create(ram, cpu_model_find(model), 1, &clock, &run, &vm))
		abort();
	cpu_get_state(vm->cpu[0], &s);
	basic_state(&s, mode);
	if (cpu_set_state(vm->cpu[0], &s))
		abort();
	while (changes--)
		tamper(&s, &in);
	for (unsigned i = 0, at = CODE; i < PIECES_MAX && in.left; i++, at = (unsigned)take(&in, 3) % ROM) {
		size_t len = take(&in, 1);

		len = len < in.left ? len : in.left;
		len = len < ROM - at ? len : ROM - at;
		if (len && ram_write(ram, at, in.at, len))
			abort();
		in.at += len;
		in.left -= len;
		if (take(&in, 1) & 1)
			break;
	}
	/* A refusal changes nothing: then what was there runs. */
	cpu_set_state(vm->cpu[0], &s);
	go(vm->cpu[0], &in);
	soft_vm_destroy(vm);
	return 0;
}
