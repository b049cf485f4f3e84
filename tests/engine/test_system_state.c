// SPDX-License-Identifier: GPL-2.0-or-later
/* struct cpu <-> struct vcpu_state <-> the record "vcpu". */
#include "system_rig.h"
#include "vcpu_states.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Every field set to something of its own. */
static void colour(struct vcpu_state *s)
{
	vcpu_colour(s);
	s->tsc_aux = 3;
	s->debugctl = 2;
	s->xcr0 = 7;
	s->shadow = 1;
	s->exception_pending = 1;
	s->exception_vector = EXC_PF;
	s->exception_has_error = 1;
	s->exception_error = 6;
	for (unsigned i = 576; i < 832; i++)
		s->xsave[i] = (uint8_t)(i * 7);
}

static struct vcpu_state *get(void)
{
	struct vcpu_state *s = calloc(1, sizeof(*s));

	cpu_get_state(sys.c, s);
	return s;
}

static void set_then_get_gives_the_same_state(void **state)
{
	struct vcpu_state *a, *b;

	sys_start(SYS_LONG, 0);
	a = get();
	colour(a);
	assert_int_equal(cpu_set_state(sys.c, a), 0);
	b = get();
	vcpu_assert_same(a, b);
	free(a);
	free(b);
}

static void keys_and_machine_check_registers_are_part_of_the_state(void **state)
{
	struct vcpu_state *a, *b;
	uint32_t pkru = 0x55555554;

	sys_model = "max";
	sys_start(SYS_LONG, 0);
	a = get();
	assert_int_equal(a->xsave_len, XSAVE_PKRU_OFFSET + XSAVE_PKRU_SIZE);
	colour(a);
	a->pkrs = 0x12345678;
	a->mcg_status = 5;
	a->mcg_ctl = ~0ull;
	a->cr4 |= CR4_PKE | CR4_PKS;
	memcpy(a->xsave + XSAVE_PKRU_OFFSET, &pkru, sizeof(pkru));
	assert_int_equal(cpu_set_state(sys.c, a), 0);
	assert_int_equal(sys.c->pkru, pkru);
	b = get();
	vcpu_assert_same(a, b);
	a->xsave[offsetof(struct cpu_xsave, xstate_bv) + 1] = 0; /* initial configuration */
	assert_int_equal(cpu_set_state(sys.c, a), 0);
	assert_int_equal(sys.c->pkru, 0);
	a->pkrs = 1ull << 32;
	assert_int_equal(cpu_set_state(sys.c, a), -EINVAL);
	free(a);
	free(b);
	sys_model = NULL;
}

/* What the PDPTEs in memory say does not matter: those that were latched are loaded. */
static void pdptes_are_part_of_the_state(void **state)
{
	struct vcpu_state *s;

	sys_start(SYS_PROT32, 0);
	s = get();
	s->cr0 |= CR0_PG;
	s->cr4 |= CR4_PAE;
	s->cr3 = 0x100000;
	s->pdpte[0] = SYS_PML4 + 0x2001;
	assert_int_equal(cpu_set_state(sys.c, s), 0);
	assert_int_equal(sys.c->pdpte[0], SYS_PML4 + 0x2001);
	s->pdpte[3] = 3; /* bit 1 is reserved */
	assert_int_equal(cpu_set_state(sys.c, s), -EINVAL);
	s->pdpte[3] = 2; /* not present */
	assert_int_equal(cpu_set_state(sys.c, s), 0);
	s->pdpte[3] = 3;
	s->cr4 &= ~(uint64_t)CR4_PAE; /* another paging mode does not use them */
	assert_int_equal(cpu_set_state(sys.c, s), 0);
	free(s);
}

static void the_record_loads_into_a_fresh_machine(void **state)
{
	struct state_writer *w;
	struct state_reader *r;
	struct vcpu_state *a, *b = calloc(1, sizeof(*b)), *after;
	const void *bytes;
	size_t len;

	sys_start(SYS_LONG, 3);
	a = get();
	colour(a);
	a->rip = SYS_CODE;
	assert_int_equal(state_writer_create(&w), 0);
	state_save(w, &vcpu_state_class, 0, a);
	assert_int_equal(state_writer_finish(w, &bytes, &len), 0);
	assert_int_equal(state_reader_create(bytes, len, &r), 0);
	assert_int_equal(state_load(r, &vcpu_state_class, 0, b), 0);
	assert_int_equal(state_reader_finish(r), 0);
	vcpu_assert_same(a, b);
	state_reader_destroy(r);
	state_writer_destroy(w);
	sys_start(SYS_REAL, 0);
	assert_int_equal(cpu_set_state(sys.c, b), 0);
	assert_int_equal(sys.c->cpl, 3);
	assert_int_equal(sys.c->mode, INSN_MODE64);
	assert_true(sys.c->flat);
	after = get();
	vcpu_assert_same(a, after);
	free(a);
	free(b);
	free(after);
}

static void states_that_no_cpu_could_be_in_are_refused_and_change_nothing(void **state)
{
	struct vcpu_state *good, *s, *after;

	sys_start(SYS_LONG, 0);
	good = get();
	s = malloc(sizeof(*s));
#define BAD(change)                                                                                           \
	do {                                                                                                  \
		*s = *good;                                                                                   \
		change;                                                                                       \
		assert_int_equal(cpu_set_state(sys.c, s), -EINVAL);                                           \
	} while (0)
	BAD(s->rip = 1ull << 47);
	BAD(s->rflags = 0);
	BAD(s->rflags |= 1ull << 40);
	BAD(s->rflags |= RF_VM); /* not in IA-32e mode */
	BAD(s->cr0 &= ~(uint64_t)CR0_PE);
	BAD(s->cr0 |= 1ull << 33);
	BAD(s->cr3 = 1ull << 50);
	BAD(s->cr4 |= CR4_LA57);
	BAD(s->cr4 &= ~(uint64_t)CR4_PAE);
	BAD(s->cr8 = 16);
	BAD(s->efer &= ~(uint64_t)EFER_LMA);
	BAD(s->efer |= 1 << 12);
	BAD(s->xcr0 = 4);
	BAD(s->xss = 1);
	BAD(s->seg[SEG_CS].attr |= ATTR_DB);
	BAD(s->seg[SEG_CS].attr |= ATTR_NULL);
	BAD(s->seg[SEG_DS].attr |= 1u << 20);
	BAD(s->seg[SEG_FS].base = 1ull << 60);
	BAD(s->gdt.base = 1ull << 60);
	BAD(s->lstar = 1ull << 60);
	BAD(s->pat = 2);
	BAD(s->pkrs = 4); /* v3 has none */
	BAD(s->cr4 |= CR4_PKE);
	BAD(s->mcg_status = 8);
	BAD(s->mcg_ctl = 1);
	BAD(s->misc_enable = 2);
	BAD(s->xsave[offsetof(struct cpu_xsave, xstate_bv) + 1] = 2; s->xsave_len = 4096);
	BAD(s->mtrr_physbase[0] = 7);
	BAD(s->apic_base |= 1);
	BAD(s->apic_base |= 1ull << 50);
	BAD(s->dr[7] |= 1ull << 32);
	BAD(s->activity = 9);
	BAD(s->in_smm = 2);
	BAD(s->smm_nmi_masked = 2);
	BAD(s->smbase = 1ull << 32);
	BAD(s->nmi_pending = 3);
	BAD(s->exception_vector = 40);
	BAD(s->xsave_len = 100);
	BAD(s->xsave_len = 5000);
	BAD(s->xsave[offsetof(struct cpu_xsave, xstate_bv) + 1] = 1);
	BAD(s->xsave[offsetof(struct cpu_xsave, xcomp_bv) + 7] = 0x80);
	BAD(s->xsave[offsetof(struct cpu_xsave, mxcsr) + 2] = 1);
#undef BAD
	after = get();
	vcpu_assert_same(good, after);
	free(good);
	free(s);
	free(after);
}

static void a_loaded_exception_is_delivered_first(void **state)
{
	struct vcpu_state *s;

	sys_start(SYS_LONG, 0);
	s = get();
	s->exception_pending = 1;
	s->exception_vector = EXC_GP;
	s->exception_has_error = 1;
	s->exception_error = 0x18;
	assert_int_equal(cpu_set_state(sys.c, s), 0);
	assert_int_equal(RUN(0x90), EXC_GP);
	assert_int_equal(sys_frame(0, 8), 0x18);
	free(s);
}

static void components_without_their_bit_come_up_in_their_initial_state(void **state)
{
	struct vcpu_state *s;

	sys_start(SYS_LONG, 0);
	s = get();
	colour(s);
	s->xsave[offsetof(struct cpu_xsave, xstate_bv)] = 0;
	assert_int_equal(cpu_set_state(sys.c, s), 0);
	assert_int_equal(sys.c->x.fcw, 0x37f);
	assert_int_equal(sys.c->x.mxcsr, 0x1f80);
	assert_int_equal(sys.c->x.xmm[0][5], 0);
	assert_int_equal(sys.c->x.ymm_hi[0][5], 0);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_then_get_gives_the_same_state),
		cmocka_unit_test(the_record_loads_into_a_fresh_machine),
		cmocka_unit_test(keys_and_machine_check_registers_are_part_of_the_state),
		cmocka_unit_test(pdptes_are_part_of_the_state),
		cmocka_unit_test(states_that_no_cpu_could_be_in_are_refused_and_change_nothing),
		cmocka_unit_test(a_loaded_exception_is_delivered_first),
		cmocka_unit_test(components_without_their_bit_come_up_in_their_initial_state),
	};

	return cmocka_run_group_tests(tests, NULL, sys_teardown);
}
