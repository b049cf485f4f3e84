// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a user sees after a triple fault or an internal error: registers, the last exits, the code
 * bytes; and the counters that Ctrl-a s shows. Registers are laid out as in the SDM's tables.
 */
#include "vm/linear.h"
#include "vm/vm_private.h"

#include <errno.h>
#include <string.h>

enum { CODE_BYTES = 16 };

static const char *const exception_name[] = {
	"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "coprocessor overrun", "#TS",
	"#NP", "#SS", "#GP", "#PF", "15",  "#MF", "#AC", "#MC", "#XM",
};

static const char *vector_name(uint32_t vector)
{
	if (vector < sizeof(exception_name) / sizeof(exception_name[0]))
		return exception_name[vector];
	return "an interrupt";
}

static void print_gprs(const struct vcpu_state *s, FILE *out)
{
	static const char name[GPR_COUNT][4] = {
		"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
		"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15",
	};
	static const uint8_t order[GPR_COUNT] = { RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP,
						  R8,  R9,  R10, R11, R12, R13, R14, R15 };

	for (unsigned i = 0; i < GPR_COUNT; i++)
		fprintf(out, "%s%3s %016llx%s", i % 4 ? " " : "  ", name[order[i]],
			(unsigned long long)s->gpr[order[i]], i % 4 == 3 ? "\n" : "");
	fprintf(out, "  rip %016llx rflags %08llx\n", (unsigned long long)s->rip, (unsigned long long)s->rflags);
}

static void print_segment(const char *name, const struct vcpu_segment *seg, FILE *out)
{
	fprintf(out, "  %-4s %04x base %016llx limit %08x attr %05x\n", name, seg->selector,
		(unsigned long long)seg->base, seg->limit, seg->attr);
}

static void print_state(const struct vcpu_state *s, FILE *out)
{
	static const char name[SEG_COUNT][3] = { "es", "cs", "ss", "ds", "fs", "gs" };

	print_gprs(s, out);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		print_segment(name[i], &s->seg[i], out);
	print_segment("ldtr", &s->ldt, out);
	print_segment("tr", &s->tr, out);
	fprintf(out, "  gdtr base %016llx limit %04x  idtr base %016llx limit %04x\n",
		(unsigned long long)s->gdt.base, s->gdt.limit, (unsigned long long)s->idt.base, s->idt.limit);
	fprintf(out, "  cr0 %08llx cr2 %016llx cr3 %016llx cr4 %08llx cr8 %llx efer %04llx\n",
		(unsigned long long)s->cr0, (unsigned long long)s->cr2, (unsigned long long)s->cr3,
		(unsigned long long)s->cr4, (unsigned long long)s->cr8, (unsigned long long)s->efer);
}

static void print_code(struct vm *vm, unsigned cpu, const struct vcpu_state *s, FILE *out)
{
	uint8_t code[CODE_BYTES];
	uint64_t at = linear_rip(s);
	size_t n = vm_read_linear(vm, cpu, at, code, sizeof(code));

	fprintf(out, "code at %016llx:", (unsigned long long)at);
	for (size_t i = 0; i < n; i++)
		fprintf(out, " %02x", code[i]);
	fprintf(out, n ? "\n" : " not mapped\n");
}

static void print_exits(const struct vm_vcpu *vc, FILE *out)
{
	char text[128];

	fprintf(out, "last exits of vCPU %u, newest last:\n", vc->index);
	for (unsigned i = 0; i < EXIT_RING; i++) {
		const struct exit_record *rec = &vc->ring[(vc->exits + i) % EXIT_RING];

		if (!rec->seq)
			continue;
		exit_text(rec, text, sizeof(text));
		fprintf(out, "  %8llu  %s\n", (unsigned long long)rec->seq, text);
	}
}

void vm_report(struct vm *vm, unsigned cpu, FILE *out)
{
	struct vm_vcpu *vc = &vm->vcpu[cpu];
	struct vcpu_state s;

	fprintf(out, "vCPU %u of %u, VM %s:\n", cpu, vm->cpus, vm->name);
	if (vm->ops->vcpu_get_state(vc->engine, &s) == 0) {
		print_state(&s, out);
		print_code(vm, cpu, &s, out);
	} else {
		fprintf(out, "  its registers cannot be read\n");
	}
	print_exits(vc, out);
}

/* A string out of the run page: cut, and nothing in it that a terminal could act on. */
static void copy_printable(char *to, const char *from, size_t len)
{
	size_t i;

	for (i = 0; i + 1 < len; i++) {
		char c = ((const volatile char *)from)[i];

		if (!c)
			break;
		to[i] = c >= ' ' && c < 0x7f ? c : '?';
	}
	to[i] = 0;
}

static enum vm_end internal_error(struct vm *vm, unsigned cpu, const char *why, struct error *err)
{
	error_set(err, -EIO, STATUS_INTERNAL, "vCPU %u of the VM %s cannot go on", "%s",
		  "this is a defect of subring: please report it with the lines above", cpu, vm->name, why);
	return VM_INTERNAL;
}

enum vm_end vm_fault_error(struct vm *vm, unsigned cpu, struct error *err)
{
	struct vm_vcpu *vc = &vm->vcpu[cpu];
	struct run_page *run = vc->engine->run;
	char why[sizeof(run->internal.why)];
	const struct exit_record *last = &vc->ring[(vc->exits + EXIT_RING - 1) % EXIT_RING];

	if (vc->fault_errno) {
		snprintf(why, sizeof(why), "the engine is gone: %s", strerror(-vc->fault_errno));
		return internal_error(vm, cpu, why, err);
	}
	if (vc->fault_why) {
		snprintf(why, sizeof(why), "the engine asked for %s", vc->fault_why);
		return internal_error(vm, cpu, why, err);
	}
	if (last->kind == ENGINE_EXIT_INTERNAL) {
		copy_printable(why, run->internal.why, sizeof(why));
		return internal_error(vm, cpu, why, err);
	}
	error_set(err, -EFAULT, STATUS_TRIPLE_FAULT, "the guest of the VM %s shut its vCPU %u down",
		  last->count ? "triple fault: %s, and its handlers could not be reached" :
				"it went into the shutdown state (%s)",
		  "the lines above show where; --trace int,cpu shows what led to it", vm->name, cpu,
		  vector_name((uint32_t)last->addr));
	return VM_TRIPLE_FAULT;
}

void vm_summary(struct vm *vm, FILE *out)
{
	pthread_mutex_lock(&vm->ctl);
	if (vm_hold(vm, HOLD_CONTROL)) {
		pthread_mutex_unlock(&vm->ctl);
		return;
	}
	fprintf(out, "VM %s, %.3f s of VM time%s\n", vm->name, (double)vm_clock_ns(&vm->clock) / 1e9,
		vm_paused(vm) ? ", paused" : "");
	for (unsigned i = 0; i < vm->cpus; i++) {
		const struct vm_vcpu *vc = &vm->vcpu[i];

		fprintf(out, "vCPU %u exits:", i);
		for (unsigned k = 0; k < ENGINE_EXIT_COUNT; k++) {
			if (vc->exit_count[k])
				fprintf(out, " %s %llu", engine_exit_name(k), (unsigned long long)vc->exit_count[k]);
		}
		fprintf(out, "\nvCPU %u counters:", i);
		for (unsigned k = 0; k < 64 && engine_counter_names[k]; k++) {
			uint64_t n = *(volatile uint64_t *)&vc->engine->run->counter[k];

			if (n)
				fprintf(out, " %s %llu", engine_counter_names[k], (unsigned long long)n);
		}
		fprintf(out, "\n");
	}
	/* An event may have come meanwhile: its own hold stays. */
	vm_release(vm, HOLD_CONTROL);
	pthread_mutex_unlock(&vm->ctl);
}
