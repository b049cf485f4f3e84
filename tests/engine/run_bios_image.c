// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * usage: run_bios_image IMAGE [OPTIONS]
 *
 * OPTIONS are engine soft's: tier=interp, or hot=0,flags=exact (the default: all of the code is translated), and the like.
 *
 * Runs a BIOS image of up to 128 KiB on engine soft alone: 2 MiB of memory, the image below 1 MiB, no
 * chips. For CPU test ROMs such as test386.asm. What is written to port 190h (POST codes) is printed
 * on stderr, what is written to port E9h on stdout. Ends at the first HLT with interrupts off, or at
 * anything that ends a run. Status 0: the last POST code was FFh.
 */
#include "engine/soft/host/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RAM_SIZE = 2 << 20, IMAGE_MAX = 128 << 10, TOP = 1 << 20, PORT_POST = 0x190, PORT_TEXT = 0xe9, POST_DONE = 0xff };

static uint8_t image[IMAGE_MAX + 1];

static size_t read_image(const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t n;

	if (!f) {
		perror(path);
		exit(2);
	}
	n = fread(image, 1, sizeof(image), f);
	fclose(f);
	if (!n || n > IMAGE_MAX) {
		fprintf(stderr, "%s: not an image of at most 128 KiB\n", path);
		exit(2);
	}
	return n;
}

static struct cpu *machine(size_t n, const struct soft_tuning *tuning, struct run_page **run)
{
	struct vm_clock clock;
	struct soft_vm *vm;
	struct error err;
	struct ram *ram;
	struct cpu *c;

	vm_clock_init(&clock);
	vm_clock_resume(&clock);
	*run = aligned_alloc(4096, 4096);
	memset(*run, 0, 4096);
	if (vector_init() || ram_create(RAM_SIZE, NULL, &ram, &err) ||
	    ram_set_slot(ram, 0, &(struct ram_slot){ .gpa = 0, .size = RAM_SIZE }) ||
	    ram_write(ram, TOP - n, image, n) ||
	    soft_vm_create(ram, cpu_model_find(NULL), 1, &clock, run, &vm) || soft_vm_translate(vm, tuning)) {
		fprintf(stderr, "cannot make the machine\n");
		exit(2);
	}
	c = vm->cpu[0];
	c->seg[SEG_CS].base = 0xf0000; /* the image has no alias below 4 GiB */
	cpu_mode_changed(c);
	return c;
}

/* The last POST code when the run ends, -1 for none. */
static int run_to_the_end(struct cpu *c, struct run_page *run)
{
	int post = -1;

	for (;;) {
		cpu_run(c);
		if (run->exit == ENGINE_EXIT_KICK)
			continue;
		if (run->exit != ENGINE_EXIT_PIO)
			return post;
		if (!run->pio.write) {
			memset(run->data, 0xff, 8);
		} else if (run->pio.port == PORT_POST) {
			post = run->data[0];
			fprintf(stderr, "POST %02x\n", post);
		} else if (run->pio.port == PORT_TEXT) {
			putchar(run->data[0]);
		}
	}
}

int main(int argc, char **argv)
{
	struct soft_options options;
	struct error err = { 0 };
	struct run_page *run;
	struct cpu *c;
	int post;

	if (argc < 2 || argc > 3 || soft_options_parse(argc == 3 ? argv[2] : "hot=0,flags=exact", &options, &err)) {
		fprintf(stderr, "usage: run_bios_image IMAGE [OPTIONS]\n");
		return 2;
	}
	c = machine(read_image(argv[1]), &options.tuning, &run);
	post = run_to_the_end(c, run);
	fflush(stdout);
	if (post == POST_DONE)
		return 0;
	if (run->exit == ENGINE_EXIT_INTERNAL)
		fprintf(stderr, "internal: %s\n", run->internal.why);
	fprintf(stderr, "ended at %04x:%08llx (base %llx), eflags %llx, cr0 %llx, cr2 %llx, last exception %u, error %x\n",
		c->seg[SEG_CS].selector, (unsigned long long)c->gpr[GPR_RIP], (unsigned long long)c->seg[SEG_CS].base,
		(unsigned long long)cpu_rflags(c), (unsigned long long)c->cr0, (unsigned long long)c->cr2, c->raised_vector,
		c->raised_error);
	return 1;
}
