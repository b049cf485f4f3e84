// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Modules of the Multiboot protocols (Multiboot Specification 0.6.96, 3.3, "mods_count"; 2.0, 3.6.6).
 *
 * --initrd "FILE ARGUMENTS,FILE2 ARGUMENTS" names them: a comma ends a module, two commas stand for
 * one, and a module's file ends at the first space. Its string is what stands there, file included,
 * as loaders have always done it. What a file holds is the kernel's business.
 *
 * Modules lie behind the kernel, in the order given, each on a page of its own: systems that map
 * little memory at first expect them there.
 */
#include "machine/boot/boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The next module of *@spec as a new string; NULL without memory. Moves *@spec behind it. */
static char *next_string(const char **spec)
{
	const char *from = *spec;
	char *text = malloc(strlen(from) + 1), *to = text;

	if (!text)
		return NULL;
	while (*from == ' ')
		from++;
	for (; *from && (*from != ',' || from[1] == ','); from++) {
		from += *from == ',';
		*to++ = *from;
	}
	*to = '\0';
	*spec = *from ? from + 1 : from;
	return text;
}

static int module_no_room(struct boot *b, const struct boot_file *file, uint64_t room)
{
	return error_set(b->err, -ENOMEM, STATUS_INPUT, "cannot load the module %s",
			 "it has %llu KiB, and the guest has memory for %llu KiB beside what is loaded", "%s",
			 file->path, (unsigned long long)(file->size + 1023) >> 10,
			 (unsigned long long)room >> 10, boot_fix_memory);
}

/* Puts the file named by @path at @gpa, if it fits below @ceiling. */
static int module_place(struct boot *b, const char *path, uint64_t gpa, uint64_t ceiling, uint64_t *size)
{
	struct boot_image image = { 0 };
	struct boot_file file;
	int ret = boot_file_open(&file, "module", path, b->err);

	if (ret)
		return ret;
	image = (struct boot_image){ .file = &file, .size = file.size };
	if (gpa > ceiling || file.size > ceiling - gpa) {
		ret = module_no_room(b, &file, gpa > ceiling ? 0 : ceiling - gpa);
	} else {
		ret = boot_image_to_ram(&image, 0, file.size, b->ram, gpa);
		if (ret)
			error_set(b->err, ret, ret == -ENOMEM ? STATUS_HOST : STATUS_INPUT,
				  "cannot load the module %s", "%s", "name a file that can be read", path,
				  ret == -ENODATA ? "it was cut short while it was read" : strerror(-ret));
	}
	*size = file.size;
	boot_file_close(&file);
	return ret;
}

static int module_load(struct boot *b, struct boot_module *m, uint64_t gpa, uint64_t ceiling)
{
	size_t name_len = strcspn(m->string, " ");
	uint64_t size = 0;
	char *path;
	int ret;

	if (!name_len)
		return error_set(b->err, -EINVAL, STATUS_USAGE, "cannot load the modules %s",
				 "a name is missing between two commas",
				 "write --initrd \"FILE ARGUMENTS,FILE2 ARGUMENTS\"", b->config->initrd);
	path = strndup(m->string, name_len);
	if (!path)
		return boot_kernel_read_error(b, -ENOMEM);
	ret = module_place(b, path, gpa, ceiling, &size);
	free(path);
	m->start = (uint32_t)gpa;
	m->end = (uint32_t)(gpa + size);
	return ret;
}

int modules_load(struct boot *b, uint64_t floor, struct boot_modules *out)
{
	const char *spec = b->config->initrd ? b->config->initrd : "";
	uint64_t gpa = floor > BOOT_HIGH_START ? floor : BOOT_HIGH_START;

	*out = (struct boot_modules){ 0 };
	while (*spec) {
		struct boot_module *m = &out->module[out->count];
		int ret;

		if (out->count == BOOT_MODULES_MAX)
			return error_set(b->err, -E2BIG, STATUS_INPUT, "cannot load the modules %s",
					 "there are more than %u", "name fewer, or pack them into one",
					 b->config->initrd, BOOT_MODULES_MAX);
		m->string = next_string(&spec);
		if (!m->string)
			return boot_kernel_read_error(b, -ENOMEM);
		out->count++;
		gpa = (gpa + FRAME_SIZE - 1) & ~(uint64_t)(FRAME_SIZE - 1);
		ret = module_load(b, m, gpa, b->low_end);
		if (ret)
			return ret;
		gpa = m->end;
	}
	return 0;
}

void modules_free(struct boot_modules *modules)
{
	for (unsigned i = 0; i < modules->count; i++)
		free(modules->module[i].string);
	modules->count = 0;
}
