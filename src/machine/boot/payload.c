// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The payload of a bzImage: vmlinux (an ELF file and, behind it, relocations), packed. Its last
 * four bytes are the unpacked size; in a gzip stream they belong to it, behind the others the
 * kernel's build appends them (Linux arch/x86/boot/compressed, scripts/Makefile.lib: size_append).
 */
#include "machine/boot/boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct sink {
	uint8_t *bytes;
	size_t len, max;
};

static int sink_take(void *opaque, const uint8_t *bytes, size_t len)
{
	struct sink *s = opaque;

	if (len > s->max - s->len)
		return -E2BIG;
	memcpy(s->bytes + s->len, bytes, len);
	s->len += len;
	return 0;
}

static int payload_error(struct boot *b, enum pack pack, int ret)
{
	const char *name = pack_name(pack);

	switch (ret) {
	case -ENOMEM:
		return error_set(b->err, ret, STATUS_HOST, "cannot load the kernel %s",
				 "the host has no memory to unpack it", "end other programs", b->kernel.path);
	case -ENODATA:
		return boot_kernel_error(b, ret, boot_fix_damaged, "its %s payload ends too early", name);
	case -E2BIG:
		return boot_kernel_error(b, ret, boot_fix_damaged, "its %s payload is longer than it says",
					 name);
	case -EOPNOTSUPP:
		return boot_kernel_error(b, ret, boot_fix_damaged,
					 "its %s payload needs options that are not supported", name);
	default: return boot_kernel_error(b, ret, boot_fix_damaged, "its %s payload is damaged", name);
	}
}

int payload_unpack(struct boot *b, const uint8_t *bytes, size_t len, uint8_t **out, size_t *out_len)
{
	enum pack pack = pack_detect(bytes, len);
	struct pack_input in = { .at = bytes, .left = len };
	struct sink sink = { 0 };
	uint32_t size;
	int ret;

	if (!pack_can_unpack(pack) || len < 8)
		return 0;
	memcpy(&size, bytes + len - 4, 4);
	if (pack != PACK_GZIP)
		in.left -= 4;
	if (size > BOOT_PAYLOAD_MAX)
		return boot_kernel_error(b, -EFBIG, boot_fix_damaged,
					 "its payload says that it has %u bytes unpacked; %u are the most",
					 size, (unsigned)BOOT_PAYLOAD_MAX);
	if (size > b->low_end)
		return boot_kernel_error(b, -ENOMEM, boot_fix_memory,
					 "it has %u MiB unpacked, and the guest only %llu MiB for it",
					 size >> 20, (unsigned long long)b->low_end >> 20);
	sink.max = size;
	sink.bytes = malloc(size ? size : 1);
	ret = sink.bytes ? unpack(pack, &in, sink_take, &sink) : -ENOMEM;
	if (!ret && sink.len != size)
		ret = -EBADMSG;
	if (ret) {
		free(sink.bytes);
		return payload_error(b, pack, ret);
	}
	*out = sink.bytes;
	*out_len = sink.len;
	return 1;
}
