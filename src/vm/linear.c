// SPDX-License-Identifier: GPL-2.0-or-later
/* Guest memory by linear address, page by page through the vCPU's present paging. */
#include "vm/vm_private.h"

#include <string.h>

static size_t access_linear(struct vm *vm, unsigned cpu, uint64_t linear, void *to, const void *from, size_t len)
{
	size_t done = 0;

	while (done < len) {
		uint64_t at = linear + done, gpa;
		size_t part = FRAME_SIZE - (at & (FRAME_SIZE - 1));
		int err;

		if (part > len - done)
			part = len - done;
		if (vm->ops->vcpu_translate(vm->vcpu[cpu].engine, at, &gpa))
			break;
		if (to)
			err = ram_read(vm->ram, gpa, (char *)to + done, part);
		else
			err = ram_write(vm->ram, gpa, (const char *)from + done, part);
		if (err)
			break;
		done += part;
	}
	return done;
}

size_t vm_read_linear(struct vm *vm, unsigned cpu, uint64_t linear, void *buf, size_t len)
{
	return access_linear(vm, cpu, linear, buf, NULL, len);
}

size_t vm_write_linear(struct vm *vm, unsigned cpu, uint64_t linear, const void *buf, size_t len)
{
	return access_linear(vm, cpu, linear, NULL, buf, len);
}
