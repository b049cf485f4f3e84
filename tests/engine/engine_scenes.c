// SPDX-License-Identifier: GPL-2.0-or-later
/* See engine_scenes.h. */
#include "engine_scenes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <cmocka.h>

void fill_data(void)
{
	for (unsigned i = 0; i < 64; i++)
		erig_poke(ERIG_DATA + i, 1, 0xa0 + i);
}

struct outcome *run_moving(unsigned at, const char *host)
{
	struct outcome *o = calloc(1, sizeof(*o));
	struct vcpu_state *s;

	assert_non_null(o);
	for (;;) {
		assert_int_equal(erig.ops->vcpu_run(erig.e->vcpu[0]), 0);
		if (!erig_answer(0))
			break;
		if (++o->exits == at)
			erig_move(host);
	}
	assert_int_equal(erig.e->vcpu[0]->run->exit, ENGINE_EXIT_HALT);
	s = erig_state();
	o->s = *s;
	free(s);
	o->count = erig.log_count;
	memcpy(o->log, erig.log, sizeof(o->log));
	assert_int_equal(ram_read(erig.ram, ERIG_DATA, o->data, sizeof(o->data)), 0);
	return o;
}

void assert_outcomes_alike(const struct outcome *a, const struct outcome *b)
{
	assert_int_equal(a->count, b->count);
	assert_memory_equal(a->log, b->log, sizeof(a->log));
	assert_memory_equal(a->data, b->data, sizeof(a->data));
	assert_memory_equal(a->s.gpr, b->s.gpr, sizeof(a->s.gpr));
	assert_int_equal(a->s.rip, b->s.rip);
	assert_int_equal(a->s.rflags, b->s.rflags);
	assert_int_equal(a->s.activity, b->s.activity);
}

GUEST(eoi_main, "sti\n1: inc %rax; cmp $2, %rcx; jne 1b\ncli\nhlt");
GUEST(eoi_handler, GUEST_EOI "inc %rcx\niretq");

void start_eoi(void)
{
	static const struct engine_msi level = { .address = 0xfee00000, .data = 0xc000 | 0x51 },
				       edge = { .address = 0xfee00000, .data = 0x61 };
	struct engine_msi route[2] = { level, edge };

	erig_start(1);
	ERIG_LOAD(ERIG_CODE, eoi_main);
	ERIG_LOAD(ERIG_CODE + 0x100, eoi_handler);
	erig_vector(0x51, ERIG_CODE + 0x100);
	erig_vector(0x61, ERIG_CODE + 0x100);
	erig_long_mode(0, ERIG_CODE);
	assert_int_equal(erig.ops->set_routes(erig.e, route, 2), 0);
	assert_int_equal(erig.ops->msi(erig.e, &level), 0);
	assert_int_equal(erig.ops->msi(erig.e, &edge), 0);
}

uint64_t rung(int fd)
{
	uint64_t v = 0;

	return read(fd, &v, 8) == 8 ? v : 0;
}

void add_doorbells(struct engine_doorbell bell[DOORBELLS])
{
	bell[0] = (struct engine_doorbell){ .address = ERIG_DEVICE, .len = 4 };
	bell[1] = (struct engine_doorbell){ .address = ERIG_DEVICE + 4, .len = 4, .match = true, .value = 5 };
	bell[2] = (struct engine_doorbell){ .address = 0x300, .pio = true };
	for (unsigned i = 0; i < DOORBELLS; i++) {
		bell[i].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		assert_int_equal(erig.ops->add_doorbell(erig.e, &bell[i]), 0);
		assert_int_equal(erig.ops->add_doorbell(erig.e, &bell[i]), -EEXIST);
	}
}

void remove_doorbells(struct engine_doorbell bell[DOORBELLS])
{
	for (unsigned i = 0; i < DOORBELLS; i++) {
		assert_int_equal(erig.ops->remove_doorbell(erig.e, &bell[i]), 0);
		assert_int_equal(erig.ops->remove_doorbell(erig.e, &bell[i]), -ENOENT);
	}
	erig_long_mode(0, ERIG_CODE);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	for (unsigned i = 0; i < DOORBELLS; i++) {
		assert_int_equal(rung(bell[i].fd), 0);
		close(bell[i].fd);
	}
}

GUEST(spin, "1: jmp 1b");
GUEST(sleep, "sti\n1: hlt; jmp 1b");

static void *kick_soon(void *vcpu)
{
	usleep(20000);
	erig.ops->vcpu_kick(vcpu);
	return NULL;
}

static void run_until_kicked(void)
{
	struct engine_vcpu *v = erig.e->vcpu[0];
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, kick_soon, v), 0);
	assert_int_equal(erig.ops->vcpu_run(v), 0);
	pthread_join(t, NULL);
	assert_int_equal(v->run->exit, ENGINE_EXIT_KICK);
}

void scene_kicks_end_a_loop_and_a_halt_and_the_next_run(void)
{
	erig_start(1);
	ERIG_LOAD(ERIG_CODE, spin);
	ERIG_LOAD(ERIG_CODE + 0x100, sleep);
	erig_long_mode(0, ERIG_CODE);
	run_until_kicked();
	erig_long_mode(0, ERIG_CODE + 0x100);
	run_until_kicked();
	run_until_kicked();
	erig.ops->vcpu_kick(erig.e->vcpu[0]);
	assert_int_equal(erig.ops->vcpu_run(erig.e->vcpu[0]), 0);
	assert_int_equal(erig.e->vcpu[0]->run->exit, ENGINE_EXIT_KICK);
}

void scene_an_nmi_ends_a_halt_with_interrupts_off(void)
{
	struct vcpu_state s;

	erig_start(1);
	erig_poke(ERIG_CODE, 1, 0xf4);
	erig_long_mode(0, ERIG_CODE);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	erig.ops->vcpu_nmi(erig.e->vcpu[0]);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	erig_get(0, &s);
	assert_int_equal(s.rip, ERIG_HANDLER + 2 + 1);
	assert_int_equal(s.nmi_masked, 1);
	assert_int_equal(s.nmi_pending, 0);
}

void scene_an_extint_is_taken_in_its_window(void)
{
	struct engine_vcpu *v;
	struct vcpu_state s;

	erig_start(1);
	v = erig.e->vcpu[0];
	ERIG_LOAD(ERIG_CODE, sleep);
	erig_long_mode(0, ERIG_CODE);
	atomic_store(&v->run->request_extint, 1);
	assert_int_equal(erig_run(0), ENGINE_EXIT_EXTINT_WINDOW);
	assert_true(v->run->extint_ready);
	atomic_store(&v->run->request_extint, 0);
	assert_int_equal(erig.ops->vcpu_extint(v, 0x33), 0);
	/* a state taken in between has it */
	erig_get(0, &s);
	assert_int_equal(s.extint_pending, 1);
	assert_int_equal(s.extint_vector, 0x33);
	assert_int_equal(erig_run(0), ENGINE_EXIT_HALT);
	erig_get(0, &s);
	assert_int_equal(s.rip, ERIG_HANDLER + 0x33 + 1);
	assert_int_equal(s.extint_pending, 0);
}

void scene_a_triple_fault_leaves_with_shutdown(void)
{
	struct vcpu_state s;

	erig_start(1);
	erig_poke(ERIG_CODE, 2, 0x0b0f);
	erig_long_mode(0, ERIG_CODE);
	erig_get(0, &s);
	s.idt.limit = 0;
	erig_set(0, &s);
	assert_int_equal(erig_run(0), ENGINE_EXIT_SHUTDOWN);
	assert_int_equal(erig.e->vcpu[0]->run->shutdown.triple_fault, 1);
	erig_get(0, &s);
	assert_int_equal(s.activity, VCPU_SHUTDOWN);
}
