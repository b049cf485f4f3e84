// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A frame gets code: what its stores went through is withdrawn from all vCPUs first (src/engine/soft/translate/cache.h).
 */
#include "slots_rig.h"

#include "engine/soft/mmu/mmu.h"
#include "engine/soft/soft.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct {
	struct ram *ram;
	struct soft_vm *vm;
	struct run_page *run[2];
} two;

/* Protected mode without paging. */
static void flat(struct cpu *c)
{
	c->cr0 = CR0_PE | CR0_ET;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		c->seg[i] = (struct vcpu_segment){ .limit = ~0u, .attr = 0xc093 };
	c->seg[SEG_CS].attr = 0xc09b;
	cpu_mode_changed(c);
}

static void start_two(void)
{
	struct soft_tuning tuning = SOFT_TUNING_DEFAULT;
	struct vm_clock clock;
	struct error err;

	vm_clock_init(&clock);
	vm_clock_resume(&clock);
	for (unsigned i = 0; i < 2; i++) {
		two.run[i] = aligned_alloc(4096, 4096);
		memset(two.run[i], 0, 4096);
	}
	assert_int_equal(ram_create(2 << 20, NULL, &two.ram, &err), 0);
	assert_int_equal(ram_set_slot(two.ram, 0, &(struct ram_slot){ .size = 2 << 20 }), 0);
	assert_int_equal(soft_vm_create(two.ram, cpu_model_find(NULL), 2, &clock, two.run, &two.vm), 0);
	assert_int_equal(soft_vm_translate(two.vm, &tuning), 0);
	flat(two.vm->cpu[0]);
	flat(two.vm->cpu[1]);
}

static int finish_two(void **state)
{
	soft_vm_destroy(two.vm);
	ram_destroy(two.ram);
	free(two.run[0]);
	free(two.run[1]);
	memset(&two, 0, sizeof(two));
	return 0;
}

static bool fill(struct cpu *c, unsigned n, uint64_t linear, bool write)
{
	mmu_probe(c, SEG_DS, linear, 8, write ? MMU_WRITE : MMU_READ);
	return slot_fill(c, n, linear, 8, write);
}

/* On a thread that runs both vCPUs by turns. */
static void watch(struct cpu *c, uint64_t frame)
{
	cache_watch_frame(c, frame);
	atomic_store(&c->parked, 1);
}

static void code_takes_storing_slots_of_all_vcpus(void **state)
{
	struct cpu *a, *b;

	start_two();
	a = two.vm->cpu[0];
	b = two.vm->cpu[1];
	assert_true(fill(a, 0, PAGE0, true));
	assert_true(fill(a, 1, PAGE0 + 8, false));
	assert_true(fill(a, 2, PAGE1, true));
	assert_true(fill(b, 0, PAGE0, true));
	assert_true(fill(b, 1, PAGE1, true));
	mmu_probe(b, SEG_SS, PAGE0, 8, MMU_WRITE);
	assert_true(stack_fill(b, PAGE0 + 0x800, -8, 8));
	watch(a, PAGE0 >> FRAME_SHIFT);
	assert_int_equal(a->slot[0].limit, 0);
	assert_int_not_equal(a->slot[1].limit, 0);
	assert_int_not_equal(a->slot[2].limit, 0);
	assert_int_equal(b->slot[0].limit, 0);
	assert_int_not_equal(b->slot[1].limit, 0);
	assert_false(b->t.stack_valid);
	assert_int_equal(two.vm->tr->withdrawals, 1);
	/* Slots that stay are known to later withdrawals; frames that nobody stores to cost none. */
	watch(b, (PAGE1 >> FRAME_SHIFT) + 7);
	assert_int_equal(two.vm->tr->withdrawals, 1);
	watch(b, PAGE1 >> FRAME_SHIFT);
	assert_int_equal(two.vm->tr->withdrawals, 2);
	assert_int_equal(a->slot[2].limit, 0);
	assert_int_equal(b->slot[1].limit, 0);
	/* So is a stack window. */
	mmu_probe(b, SEG_SS, GLOBAL0, 8, MMU_WRITE);
	assert_true(stack_fill(b, GLOBAL0 + 0x800, -8, 8));
	assert_true(fill(a, 0, GLOBAL1, true));
	watch(a, GLOBAL1 >> FRAME_SHIFT);
	assert_true(b->t.stack_valid);
	watch(a, GLOBAL0 >> FRAME_SHIFT);
	assert_false(b->t.stack_valid);
}

static void withdrawal_of_one_frame_forgets_marks_of_slots_that_are_gone(void **state)
{
	struct cpu *a;

	start_two();
	a = two.vm->cpu[0];
	assert_true(fill(a, 0, PAGE0, true));
	assert_true(fill(a, 1, PAGE1, true));
	mmu_flush_all(a);
	assert_true(fill(a, 0, PAGE0, true));
	watch(a, PAGE0 >> FRAME_SHIFT);
	watch(a, PAGE1 >> FRAME_SHIFT);
	assert_int_equal(two.vm->tr->withdrawals, 1);
	/* Epochs of marks come round. */
	for (unsigned i = 0; i < 600; i++) {
		cache_frame_written(two.vm->tr, PAGE0 >> FRAME_SHIFT);
		assert_true(fill(a, 0, PAGE0, true));
		assert_true(fill(a, 1, GLOBAL0, true));
		watch(a, PAGE0 >> FRAME_SHIFT);
		assert_int_equal(a->slot[0].limit, 0);
		assert_int_not_equal(a->slot[1].limit, 0);
	}
	assert_int_equal(two.vm->tr->withdrawals, 601);
}

/*
 * One thread stores through its slot as translated code does, without a look at the frame's byte; the other makes code of the frame, reads
 * it, and then looks whether it was told of every store after.
 */
enum { ROUNDS = 20000 };
static _Atomic bool stop;

/* What the run loop does between two blocks. */
static void look_after_requests(struct cpu *c)
{
	if (!atomic_load(&c->req))
		return;
	atomic_store(&c->req, 0);
	atomic_store(&c->parked, 1);
	while (atomic_load(&c->vm->world_wanted))
		sched_yield();
	atomic_store(&c->parked, 0);
	while (atomic_load(&c->vm->world_wanted)) {
		atomic_store(&c->parked, 1);
		while (atomic_load(&c->vm->world_wanted))
			sched_yield();
		atomic_store(&c->parked, 0);
	}
}

static void *storing(void *opaque)
{
	struct cpu *c = opaque;
	uint32_t value = 0;

	atomic_store(&c->parked, 0);
	while (!atomic_load(&stop)) {
		uint8_t *p = through(c, 0, PAGE0);

		value++;
		if (p)
			*(volatile uint32_t *)p = value;
		else if (!fill(c, 0, PAGE0, true))
			mmu_store(c, SEG_DS, PAGE0, 4, value);
		look_after_requests(c);
	}
	atomic_store(&c->parked, 1);
	return NULL;
}

static void no_store_is_missed_once_code_was_made(void **state)
{
	const uint64_t frame = PAGE0 >> FRAME_SHIFT;
	struct translator *t;
	struct cpu *a;
	pthread_t thread;
	unsigned made = 0;

	start_two();
	t = two.vm->tr;
	a = two.vm->cpu[0];
	atomic_store(&stop, false);
	atomic_store(&a->parked, 0);
	pthread_create(&thread, NULL, storing, two.vm->cpu[1]);
	/* A busy host may run the other thread late. */
	for (unsigned i = 0; i < ROUNDS || !made || !t->withdrawals; i++) {
		volatile uint32_t *code = (volatile uint32_t *)(two.ram->host + PAGE0);
		uint32_t gen = cache_watch_frame(a, frame), seen, now;

		cache_add_lines(t, frame, 1);
		seen = *code;
		for (unsigned k = 0; k < i % 64; k++)
			__builtin_ia32_pause();
		/* In this order: a store that is in memory now has been told of by the time that the storer's next one is. */
		now = *code;
		if (now != seen && now != seen + 1)
			assert_int_not_equal(gen, atomic_load(&two.ram->code_gen[frame]));
		made += now == seen;
		look_after_requests(a);
	}
	atomic_store(&stop, true);
	atomic_store(&a->parked, 1);
	pthread_join(thread, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(code_takes_storing_slots_of_all_vcpus, finish_two),
		cmocka_unit_test_teardown(withdrawal_of_one_frame_forgets_marks_of_slots_that_are_gone, finish_two),
		cmocka_unit_test_teardown(no_store_is_missed_once_code_was_made, finish_two),
	};

	return cmocka_run_group_tests_name("withdrawing slots", tests, NULL, NULL);
}
