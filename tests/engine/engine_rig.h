// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An engine behind its seam: vCPUs in 64-bit mode on identity-mapped memory, run as a VM runs them.
 *
 * RAM 0 to 15 MiB, 64 KiB of ROM at ERIG_ROM, devices everywhere else below 4 GiB. Every vector's
 * handler is a HLT at ERIG_HANDLER + vector. The device behind MMIO and ports answers a read with the
 * number of the access, and keeps a log.
 *
 * The test program itself is the engine's process when it is called so: see erig_main.
 */
#ifndef SUBRING_TESTS_ENGINE_RIG_H
#define SUBRING_TESTS_ENGINE_RIG_H

#include "guest_code.h"

#include "engine/engine.h"

#include <pthread.h>

enum {
	ERIG_PML4 = 0x1000, ERIG_PDPT = 0x2000, ERIG_GDT = 0x3000, ERIG_IDT = 0x4000, ERIG_TSS = 0x5000,
	ERIG_HANDLER = 0x6000, ERIG_CODE = 0x10000, ERIG_DATA = 0x20000, ERIG_STACK = 0x80000,
	ERIG_PD = 0xe00000, /* four of them */
};
#define ERIG_RAM_SIZE (15ull << 20)
#define ERIG_ROM 0xe0000000ull
#define ERIG_DEVICE 0xd0000000ull
#define ERIG_LAPIC 0xfee00000ull

struct erig_access {
	char kind; /* 'm', 'p', 'e' (EOI) */
	uint8_t write;
	uint32_t size;
	uint64_t addr, value;
};

enum { ERIG_LOG_MAX = 512 };

struct erig {
	struct ram *ram;
	struct vm_clock clock;
	struct engine *e;
	const struct engine_ops *ops;
	unsigned log_count;
	struct erig_access log[ERIG_LOG_MAX];
};
extern struct erig erig;
/* "host=threads" or "host=process" of engine soft, or "kvm,...": the program's argument. */
extern const char *erig_host;
/* The CPU model of the next erig_start; NULL: the default. */
extern const struct cpu_model *erig_model;

/* Memory with tables, and an engine of @vcpus on it. */
void erig_start(unsigned vcpus);
void erig_finish(void);
/* The engine alone: gone, and a new one on the same memory. */
void erig_renew(unsigned vcpus);
/* Stops the vCPU at @rip in 64-bit mode, CPL 0, interrupts off. */
void erig_long_mode(unsigned vcpu, uint64_t rip);
void erig_load(uint64_t gpa, const void *code, size_t len);
uint64_t erig_peek(uint64_t gpa, unsigned size);
void erig_poke(uint64_t gpa, unsigned size, uint64_t value);
/* Points the IDT's entry at @rip. */
void erig_vector(unsigned vector, uint64_t rip);
/* Does what the exit that stands in the run page asks for. False: it is no access and no EOI. */
bool erig_answer(unsigned vcpu);
/* Runs until an exit that is neither an access, nor EOI, nor KICK. */
enum engine_exit erig_run(unsigned vcpu);
/* As a VM stops a vCPU: completes what waits, with no further instruction. */
void erig_settle(unsigned vcpu);
void erig_get(unsigned vcpu, struct vcpu_state *s);
void erig_set(unsigned vcpu, const struct vcpu_state *s);
/* The state of vCPU 0 as a VM would save it: settled. To be freed. */
struct vcpu_state *erig_state(void);
/* vCPU 0 goes on in a new engine, which lives at @host, on the same memory. */
void erig_move(const char *host);
uint64_t erig_reg(unsigned vcpu, unsigned reg);
void erig_set_reg(unsigned vcpu, unsigned reg, uint64_t value);
/* A thread that does erig_run; and waiting for what that returns. */
pthread_t erig_run_beside(unsigned vcpu);
enum engine_exit erig_join(pthread_t t);
/* vCPUs 0 to @n - 1, each on a thread; true when all have come to ENGINE_EXIT_HALT, else the others' exits are printed. */
bool erig_all_halt(unsigned n);
/* The only child of this process. */
int erig_child(void);
/* True: the program is the engine's process, and *status what main returns. Else takes argv[1] as the host. */
bool erig_main(int argc, char **argv, int *status);
/* For cmocka: no engine is left behind for the next test. */
int erig_teardown(void **state);
#define TEST(name) cmocka_unit_test_teardown(name, erig_teardown)

#define GUEST_EOI "mov $0xfee000b0, %r10d\nmovl $0, (%r10)\n"
#define ERIG_LOAD(gpa, name) erig_load(gpa, guest_##name, (size_t)(guest_##name##_end - guest_##name))

#endif
