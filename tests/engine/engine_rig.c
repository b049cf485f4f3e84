// SPDX-License-Identifier: GPL-2.0-or-later
/* See engine_rig.h. */
#include "engine_rig.h"

#include "engine/soft/host/host.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct erig erig;
const char *erig_host = "host=threads";
const struct cpu_model *erig_model;

enum { ROM_SIZE = 64 << 10 };

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "engine rig: %s\n", what);
	abort();
}

void erig_load(uint64_t gpa, const void *code, size_t len)
{
	must(!ram_write(erig.ram, gpa, code, len), "write");
}

uint64_t erig_peek(uint64_t gpa, unsigned size)
{
	uint64_t v = 0;

	must(!ram_read(erig.ram, gpa, &v, size), "read");
	return v;
}

void erig_poke(uint64_t gpa, unsigned size, uint64_t value)
{
	erig_load(gpa, &value, size);
}

void erig_vector(unsigned vector, uint64_t rip)
{
	erig_poke(ERIG_IDT + vector * 16, 8, (rip & 0xffff) | 8 << 16 | 0x8e00ull << 32 | (rip >> 16 & 0xffff) << 48);
	erig_poke(ERIG_IDT + vector * 16 + 8, 8, rip >> 32);
}

static void create(unsigned vcpus)
{
	struct engine_config config = { .ram = erig.ram, .vcpus = vcpus, .clock = &erig.clock,
					.model = erig_model };
	struct error err = { 0 };
	char spec[64];

	snprintf(spec, sizeof(spec), "%s%s", strncmp(erig_host, "kvm", 3) ? "soft," : "", erig_host);
	if (engine_create(spec, &config, &erig.e, NULL, 0, &err)) {
		error_print(&err);
		must(false, "create");
	}
	erig.ops = erig.e->ops;
}

void erig_start(unsigned vcpus)
{
	struct error err;

	erig_finish();
	vm_clock_init(&erig.clock);
	vm_clock_resume(&erig.clock);
	must(!ram_create(ERIG_RAM_SIZE + ROM_SIZE, NULL, &erig.ram, &err), "memory");
	must(!ram_set_slot(erig.ram, 0, &(struct ram_slot){ .gpa = 0, .size = ERIG_RAM_SIZE }), "slot");
	must(!ram_set_slot(erig.ram, 1, &(struct ram_slot){ .gpa = ERIG_ROM, .size = ROM_SIZE, .offset = ERIG_RAM_SIZE,
							    .readonly = true }), "slot");
	erig_poke(ERIG_PML4, 8, ERIG_PDPT | 7);
	/* 2 MiB pages: not every host's KVM has larger ones. */
	for (uint64_t i = 0; i < 4; i++)
		erig_poke(ERIG_PDPT + i * 8, 8, (ERIG_PD + i * 4096) | 7);
	for (uint64_t i = 0; i < 4 * 512; i++)
		erig_poke(ERIG_PD + i * 8, 8, i << 21 | 0x83);
	erig_poke(ERIG_GDT + 8, 8, 0x00af9b000000ffff);
	erig_poke(ERIG_GDT + 16, 8, 0x00cf93000000ffff);
	for (unsigned v = 0; v < 256; v++) {
		erig_vector(v, ERIG_HANDLER + v);
		erig_poke(ERIG_HANDLER + v, 1, 0xf4);
	}
	create(vcpus);
}

void erig_renew(unsigned vcpus)
{
	erig.ops->destroy(erig.e);
	create(vcpus);
}

void erig_finish(void)
{
	if (erig.e)
		erig.ops->destroy(erig.e);
	ram_destroy(erig.ram);
	memset(&erig, 0, sizeof(erig));
}

void erig_get(unsigned vcpu, struct vcpu_state *s)
{
	must(!erig.ops->vcpu_get_state(erig.e->vcpu[vcpu], s), "get state");
}

void erig_set(unsigned vcpu, const struct vcpu_state *s)
{
	must(!erig.ops->vcpu_set_state(erig.e->vcpu[vcpu], s), "set state");
}

void erig_long_mode(unsigned vcpu, uint64_t rip)
{
	struct vcpu_state *s = calloc(1, sizeof(*s));

	must(s, "memory");
	erig_get(vcpu, s);
	s->cr0 = 0x80010033;
	s->cr3 = ERIG_PML4;
	s->cr4 = 0x6a0; /* PAE, PGE, OSFXSR, OSXMMEXCPT */
	s->efer = 0xd00;
	s->rip = rip;
	s->rflags = 2;
	memset(s->gpr, 0, sizeof(s->gpr));
	s->gpr[RSP] = ERIG_STACK + vcpu * 0x4000;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = (struct vcpu_segment){ .limit = ~0u, .selector = 16, .attr = 0xc093 };
	s->seg[SEG_CS] = (struct vcpu_segment){ .limit = ~0u, .selector = 8, .attr = 0xa09b };
	s->tr = (struct vcpu_segment){ .base = ERIG_TSS, .limit = 0x67, .selector = 24, .attr = 0x8b };
	s->gdt = (struct vcpu_table){ ERIG_GDT, 0xff };
	s->idt = (struct vcpu_table){ ERIG_IDT, 0xfff };
	s->lapic[0xf] |= 0x100; /* SVR: enabled */
	s->activity = VCPU_RUNNING;
	erig_set(vcpu, s);
	free(s);
}

static void record(char kind, bool write, uint64_t addr, uint32_t size, uint8_t *data)
{
	struct erig_access *a = &erig.log[erig.log_count];
	uint64_t v;

	must(erig.log_count < ERIG_LOG_MAX, "log");
	erig.log_count++;
	if (data && !write) {
		v = erig.log_count * 0x0101010101010101ull;
		memcpy(data, &v, size);
	}
	*a = (struct erig_access){ .kind = kind, .write = write, .size = size, .addr = addr };
	if (data)
		memcpy(&a->value, data, size);
}

bool erig_answer(unsigned vcpu)
{
	struct run_page *run = erig.e->vcpu[vcpu]->run;

	switch (run->exit) {
	case ENGINE_EXIT_MMIO: record('m', run->mmio.write, run->mmio.gpa, run->mmio.size, run->data); return true;
	case ENGINE_EXIT_PIO:
		for (uint32_t i = 0; i < run->pio.count; i++)
			record('p', run->pio.write, run->pio.port, run->pio.size, run->data + i * run->pio.size);
		return true;
	case ENGINE_EXIT_EOI: record('e', true, run->eoi.vector, 0, NULL); return true;
	default: return false;
	}
}

enum engine_exit erig_run(unsigned vcpu)
{
	do
		must(!erig.ops->vcpu_run(erig.e->vcpu[vcpu]), "run");
	while (erig_answer(vcpu) || erig.e->vcpu[vcpu]->run->exit == ENGINE_EXIT_KICK);
	if (erig.e->vcpu[vcpu]->run->exit == ENGINE_EXIT_INTERNAL)
		fprintf(stderr, "internal: %s\n", erig.e->vcpu[vcpu]->run->internal.why);
	return erig.e->vcpu[vcpu]->run->exit;
}

void erig_settle(unsigned vcpu)
{
	struct engine_vcpu *v = erig.e->vcpu[vcpu];

	atomic_store(&v->run->immediate_exit, 1);
	while (!erig.ops->vcpu_settled(v)) {
		must(!erig.ops->vcpu_run(v), "run");
		must(erig_answer(vcpu) || v->run->exit == ENGINE_EXIT_KICK, "settle");
	}
	atomic_store(&v->run->immediate_exit, 0);
}

struct vcpu_state *erig_state(void)
{
	struct vcpu_state *s = calloc(1, sizeof(*s));

	must(s, "memory");
	erig_settle(0);
	erig_get(0, s);
	return s;
}

void erig_move(const char *host)
{
	struct vcpu_state *s = erig_state();

	erig_host = host;
	erig_renew(1);
	erig_set(0, s);
	free(s);
}

uint64_t erig_reg(unsigned vcpu, unsigned reg)
{
	struct vcpu_state s;

	erig_get(vcpu, &s);
	return s.gpr[reg];
}

void erig_set_reg(unsigned vcpu, unsigned reg, uint64_t value)
{
	struct vcpu_state s;

	erig_get(vcpu, &s);
	s.gpr[reg] = value;
	erig_set(vcpu, &s);
}

static void *run_thread(void *vcpu)
{
	return (void *)(uintptr_t)erig_run((unsigned)(uintptr_t)vcpu);
}

pthread_t erig_run_beside(unsigned vcpu)
{
	pthread_t t;

	must(!pthread_create(&t, NULL, run_thread, (void *)(uintptr_t)vcpu), "thread");
	return t;
}

enum engine_exit erig_join(pthread_t t)
{
	void *exit;

	must(!pthread_join(t, &exit), "join");
	return (enum engine_exit)(uintptr_t)exit;
}

bool erig_all_halt(unsigned n)
{
	pthread_t t[VCPUS_MAX];
	bool all = true;

	must(n <= VCPUS_MAX, "so many threads");
	for (unsigned i = 0; i < n; i++)
		t[i] = erig_run_beside(i);
	for (unsigned i = 0; i < n; i++) {
		enum engine_exit how = erig_join(t[i]);

		if (how != ENGINE_EXIT_HALT)
			fprintf(stderr, "vCPU %u: exit %u\n", i, (unsigned)how);
		all &= how == ENGINE_EXIT_HALT;
	}
	return all;
}

int erig_teardown(void **state)
{
	erig_model = NULL;
	erig_finish();
	return 0;
}

int erig_child(void)
{
	DIR *d = opendir("/proc");
	struct dirent *de;
	int found = -1;

	must(d, "/proc");
	while (found < 0 && (de = readdir(d))) {
		char path[300], state;
		int pid, ppid;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/stat", de->d_name);
		f = *de->d_name >= '1' && *de->d_name <= '9' ? fopen(path, "re") : NULL;
		if (!f)
			continue;
		if (fscanf(f, "%d %*s %c %d", &pid, &state, &ppid) == 3 && ppid == getpid() && state != 'Z')
			found = pid;
		fclose(f);
	}
	closedir(d);
	return found;
}

bool erig_main(int argc, char **argv, int *status)
{
	if (argc > 1 && !strcmp(argv[1], SOFT_CHILD_ARGUMENT)) {
		*status = soft_child_main();
		return true;
	}
	unsetenv("SUBRING_EXE"); /* the engine's process is this very program */
	if (argc > 1)
		erig_host = argv[1];
	return false;
}
