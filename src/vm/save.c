// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Saved state of the whole VM: what it is, its clock, its memory, its board, its vCPUs.
 *
 * Memory is saved in chunks, in the order of RAM offsets, instance n for chunk n; a chunk that the
 * stream lacks is zero. A stream has a bounded number of records, so that the size of a chunk
 * follows from that of memory. Every record is read into a buffer of the monitor's first. It is saved and
 * loaded with the A20 gate open, since a closed one hides a part.
 */
#include "vm/vm_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNKS_MAX = STATE_RECORDS_MAX / 2, CHUNK_SIZE_MIN = 1 << 20 };

/* What a VM must be like for this state to fit into it, and what its main thread had still to do. */
struct vm_shape {
	uint64_t mem;
	uint32_t cpus;
	char model[1024]; /* the CPU model's text, padded with zeros */
	uint32_t event; /* struct vm's: the guest has asked for it */
};

static const struct state_field shape_fields[] = {
	STATE_UINT(struct vm_shape, mem),
	STATE_UINT(struct vm_shape, cpus),
	STATE_BYTES(struct vm_shape, model),
	STATE_UINT_OPTIONAL(struct vm_shape, event),
	STATE_END,
};
static const struct state_class shape_class = { "vm", 2, shape_fields };
_Static_assert((int)CPU_MODEL_TEXT_MAX <= (int)sizeof((struct vm_shape){ 0 }.model), "room for any model");

/* A buffer for one chunk, and the record's description. */
struct ram_chunk {
	uint64_t size;
	uint8_t *bytes;
	struct state_field fields[2];
	struct state_class class;
};

static int chunk_init(struct ram_chunk *c, const struct ram *ram)
{
	c->size = CHUNK_SIZE_MIN;
	while (c->size * CHUNKS_MAX < ram->size)
		c->size *= 2;
	c->bytes = malloc(c->size);
	c->fields[0] = (struct state_field){ "bytes", 0, (uint32_t)c->size, 1, STATE_KIND_BYTES, 0, NULL };
	c->fields[1] = (struct state_field)STATE_END;
	c->class = (struct state_class){ "ram", 1, c->fields };
	return c->bytes && c->size <= UINT32_MAX ? 0 : -ENOMEM;
}

static bool holds_still(struct vm *vm)
{
	return (atomic_load(&vm->hold) & HOLD_CLOCK) && !vm->clock.running;
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* The GPA of RAM offset @offset and how many bytes follow it in one slot. False: in no slot. */
static bool find_gpa(const struct ram *ram, uint64_t offset, uint64_t *gpa, uint64_t *run)
{
	for (unsigned i = 0; i < RAM_SLOTS_MAX; i++) {
		const struct ram_slot *slot = &ram->slot[i];

		if (!slot->size || offset < slot->offset || offset - slot->offset >= slot->size)
			continue;
		*gpa = slot->gpa + (offset - slot->offset);
		*run = slot->size - (offset - slot->offset);
		return true;
	}
	return false;
}

/*
 * Whether the range may hold anything but zeros. Reading a page of a memfd that was never touched
 * would take memory for it; the file's holes tell without that.
 */
static bool touched(const struct ram *ram, uint64_t offset, uint64_t len)
{
	off_t data;

	if (ram->base)
		return true;
	data = lseek(ram->fds.ram, (off_t)offset, SEEK_DATA);
	if (data < 0)
		return errno != ENXIO; /* ENXIO: no data from here to the end */
	return (uint64_t)data < offset + len;
}

/* The bytes of RAM that chunk @n stands for. */
static uint64_t chunk_len(const struct ram_chunk *c, const struct ram *ram, uint64_t n)
{
	uint64_t left = ram->size - n * c->size;

	return left < c->size ? left : c->size;
}

/* Copies a chunk between RAM and its buffer; what lies outside all slots is zero and stays so. */
static int chunk_copy(struct ram_chunk *c, struct ram *ram, uint64_t n, bool write)
{
	uint64_t begin = n * c->size, end = begin + chunk_len(c, ram, n);

	for (uint64_t at = begin, run; at < end; at += run) {
		uint64_t gpa;
		uint8_t *bytes = c->bytes + (at - begin);
		int err;

		if (!find_gpa(ram, at, &gpa, &run)) {
			run = FRAME_SIZE;
			continue;
		}
		if (run > end - at)
			run = end - at;
		err = write ? ram_write(ram, gpa, bytes, run) : ram_read(ram, gpa, bytes, run);
		if (err)
			return err;
	}
	return 0;
}

static int save_ram(struct vm *vm, struct state_writer *w)
{
	struct ram_chunk c;
	int err = chunk_init(&c, vm->ram);

	for (uint64_t n = 0; !err && n * c.size < vm->ram->size; n++) {
		if (!touched(vm->ram, n * c.size, chunk_len(&c, vm->ram, n)))
			continue;
		memset(c.bytes, 0, c.size);
		err = chunk_copy(&c, vm->ram, n, false);
		if (!err && !all_zero(c.bytes, c.size))
			state_save(w, &c.class, (uint32_t)n, c.bytes);
	}
	free(c.bytes);
	return err;
}

static int save_ram_to(struct vm *vm, void *stream)
{
	return save_ram(vm, stream);
}

static int load_ram(struct vm *vm, struct state_reader *r)
{
	struct ram_chunk c;
	int err = chunk_init(&c, vm->ram);

	for (uint64_t n = 0; !err && n * c.size < vm->ram->size; n++) {
		err = state_load(r, &c.class, (uint32_t)n, c.bytes);
		if (err == -ENOENT) {
			err = 0;
			if (!touched(vm->ram, n * c.size, chunk_len(&c, vm->ram, n)))
				continue;
			memset(c.bytes, 0, c.size);
		}
		if (!err)
			err = chunk_copy(&c, vm->ram, n, true);
	}
	free(c.bytes);
	return err;
}

static int load_ram_from(struct vm *vm, void *stream)
{
	return load_ram(vm, stream);
}

/* Calls @fn with all of memory in slots, then lays it out again as the engine has it, which needs not know. */
static int with_all(struct vm *vm, int (*fn)(struct vm *vm, void *stream), void *stream)
{
	int err, after;

	if (!atomic_load(&vm->a20_closed))
		return fn(vm, stream);
	err = board_map_a20(vm->ram, true);
	if (!err)
		err = fn(vm, stream);
	after = board_map_a20(vm->ram, false);
	return err ? err : after;
}

int vm_save(struct vm *vm, struct state_writer *w)
{
	struct vm_shape shape = { .mem = vm->mem, .cpus = vm->cpus, .event = atomic_load(&vm->event) };
	struct vcpu_state s;
	int err = 0;

	strncpy(shape.model, vm->model.text, sizeof(shape.model) - 1);
	pthread_mutex_lock(&vm->ctl);
	if (!holds_still(vm)) {
		pthread_mutex_unlock(&vm->ctl);
		return -EBUSY;
	}
	state_save(w, &shape_class, 0, &shape);
	vm_clock_save(w, &vm->clock);
	err = with_all(vm, save_ram_to, w);
	if (!err)
		board_save(vm->board, w);
	for (unsigned i = 0; i < vm->cpus && !err; i++) {
		err = vm->ops->vcpu_get_state(vm->vcpu[i].engine, &s);
		if (!err)
			state_save(w, &vcpu_state_class, i, &s);
	}
	pthread_mutex_unlock(&vm->ctl);
	return err;
}

/* A guest that was saved after it had asked for its end or a reset gets it when the VM runs. */
static void load_event(struct vm *vm, uint32_t event)
{
	atomic_store(&vm->event, event);
	if (event == BOARD_EVENT_NONE) {
		atomic_fetch_and(&vm->hold, ~(uint32_t)HOLD_EVENT);
		return;
	}
	atomic_fetch_or(&vm->hold, HOLD_EVENT);
	vm_ask(vm, CTL_EVENT);
}

static int load_all(struct vm *vm, struct state_reader *r)
{
	struct vm_shape shape = { 0 };
	struct vcpu_state s;
	int err;

	err = state_load(r, &shape_class, 0, &shape);
	if (err)
		return err;
	if (shape.mem != vm->mem || shape.cpus != vm->cpus || strncmp(shape.model, vm->model.text, sizeof(shape.model)))
		return -EXDEV;
	if ((shape.event & 0xff) > BOARD_EVENT_DEBUG_EXIT || shape.event >> 16)
		return state_reader_fail(r, "the guest has asked for something that nobody knows");
	err = vm_clock_load(r, &vm->clock);
	if (!err)
		err = vm->ops->clock_changed(vm->engine);
	if (!err)
		err = with_all(vm, load_ram_from, r);
	/*
	 * The vCPUs before the board: a chip may raise an interrupt when it is loaded (bytes that its
	 * back-end had refused are taken now), which must find the local APICs as they were saved.
	 */
	for (unsigned i = 0; i < vm->cpus && !err; i++) {
		struct vm_vcpu *vc = &vm->vcpu[i];

		memset(&s, 0, sizeof(s));
		err = state_load(r, &vcpu_state_class, i, &s);
		if (!err)
			err = vm->ops->vcpu_set_state(vc->engine, &s);
		vc->extint_ready = false;
		atomic_store(&vc->ran, true);
		atomic_store(&vc->halted, s.activity != VCPU_RUNNING);
		atomic_fetch_and(&vc->hold, ~(uint32_t)HOLD_FAULT);
	}
	if (!err)
		err = board_load(vm->board, r);
	if (!err)
		err = vm_apply_a20(vm);
	if (!err)
		load_event(vm, shape.event);
	return err;
}

int vm_load(struct vm *vm, struct state_reader *r, struct error *err)
{
	int ret;

	pthread_mutex_lock(&vm->ctl);
	ret = holds_still(vm) ? load_all(vm, r) : -EBUSY;
	if (!ret)
		ret = state_reader_finish(r);
	pthread_mutex_unlock(&vm->ctl);
	if (ret == -EXDEV)
		return error_set(err, ret, STATUS_INPUT, "cannot load the saved state into the VM %s",
				 "it was saved with other memory, another number of vCPUs or another CPU model",
				 "make the VM as it was when it was saved", vm->name);
	if (ret)
		return error_set(err, ret, STATUS_INPUT, "cannot load the saved state into the VM %s", "%s",
				 "load a state that this version of subring saved", vm->name,
				 ret == -EPROTO || ret == -ENOENT ? state_reader_why(r) : strerror(-ret));
	return 0;
}
