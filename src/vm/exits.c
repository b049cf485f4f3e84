// SPDX-License-Identifier: GPL-2.0-or-later
/* Exits as text: the lines of --trace exits and of the report. */
#include "vm/vm_private.h"

#include <stdio.h>

static void pio_text(const struct exit_record *rec, char *buf, size_t len)
{
	char count[32] = "";

	if (rec->count != 1)
		snprintf(count, sizeof(count), " x%u", rec->count);
	snprintf(buf, len, "%s port 0x%04x size %u%s %s 0x%0*llx", rec->write ? "out" : "in", (unsigned)rec->addr,
		 rec->size, count, rec->write ? "<-" : "->", (int)(rec->size <= 8 ? rec->size * 2 : 2),
		 (unsigned long long)rec->value);
}

void exit_text(const struct exit_record *rec, char *buf, size_t len)
{
	unsigned long long addr = rec->addr, value = rec->value;

	switch (rec->kind) {
	case ENGINE_EXIT_PIO:
		pio_text(rec, buf, len);
		break;
	case ENGINE_EXIT_MMIO:
		snprintf(buf, len, "mmio %s 0x%llx size %u %s 0x%0*llx", rec->write ? "store" : "load", addr,
			 rec->size, rec->write ? "<-" : "->", (int)(rec->size <= 8 ? rec->size * 2 : 2), value);
		break;
	case ENGINE_EXIT_EOI:
		snprintf(buf, len, "eoi vector 0x%02llx", addr);
		break;
	case ENGINE_EXIT_MSR:
		snprintf(buf, len, "%s 0x%llx%s", rec->write ? "wrmsr" : "rdmsr", addr,
			 rec->count ? " -> #GP(0)" : "");
		break;
	case ENGINE_EXIT_HYPERCALL:
		snprintf(buf, len, "hypercall %llu (0x%llx, ...) -> not known", addr, value);
		break;
	case ENGINE_EXIT_EXTINT_WINDOW:
		snprintf(buf, len, "extint window");
		break;
	case ENGINE_EXIT_DEBUG:
		snprintf(buf, len, "debug %s at 0x%llx", rec->count ? "step" : "breakpoint", addr);
		break;
	case ENGINE_EXIT_HALT:
		snprintf(buf, len, "hlt with interrupts off");
		break;
	case ENGINE_EXIT_SHUTDOWN:
		snprintf(buf, len, "%s, first exception %llu", rec->count ? "triple fault" : "shutdown", addr);
		break;
	case ENGINE_EXIT_INTERNAL:
		snprintf(buf, len, "internal error of the engine");
		break;
	case ENGINE_EXIT_KICK:
		snprintf(buf, len, "kick");
		break;
	default:
		snprintf(buf, len, "exit of unknown kind %u", rec->kind);
		break;
	}
}
