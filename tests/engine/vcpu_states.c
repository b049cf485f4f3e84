// SPDX-License-Identifier: GPL-2.0-or-later
/* See vcpu_states.h. */
#include "vcpu_states.h"

#include "engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

void vcpu_colour(struct vcpu_state *s)
{
	for (unsigned i = 0; i < GPR_COUNT; i++)
		s->gpr[i] = 0x1111111111111111ull * i;
	s->rip = 0xffffffff81000000;
	s->rflags = 0x40a57; /* AC, OF, IF, and the status flags but SF */
	s->cr2 = 0xdeadbeef000;
	s->star = 0x23001000000000;
	s->lstar = 0xffffffff82000000;
	s->cstar = 0xffffffff82003000;
	s->sfmask = 0x47700;
	s->kernel_gs_base = 0x7fff00000000;
	s->sysenter_cs = 0x10;
	s->sysenter_esp = 0xffffffff82002000;
	s->sysenter_eip = 0xffffffff82001000;
	s->mtrr_def_type = 0xc06;
	s->mtrr_physbase[7] = 0xc0000000;
	s->mtrr_physmask[7] = 0x3fffc0000800;
	s->mtrr_fixed[10] = 0x0505050505050505;
	s->pat = 0x0007010600070106;
	s->seg[SEG_GS].base = 0xffff888012340000;
	s->seg[SEG_FS].base = 0x7f0012340000;
	s->dr[0] = 0x1000;
	s->dr[3] = 0x7fff00001000;
	s->dr[7] = 0x401;
	s->tsc_adjust = 5;
	s->tsc_delta = 5;
	s->nmi_masked = 1;
	for (unsigned i = 160; i < 416; i++) /* XMM */
		s->xsave[i] = (uint8_t)i;
	s->xsave[32] = 0x77; /* ST0 */
	s->xsave[40] = 0x3f;
}

/* As records, field by field as they are saved: the structures have padding. */
void vcpu_assert_same(const struct vcpu_state *a, const struct vcpu_state *b)
{
	const struct vcpu_state *s[2] = { a, b };
	struct state_writer *w[2];
	const void *bytes[2];
	size_t len[2];

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(state_writer_create(&w[i]), 0);
		state_save(w[i], &vcpu_state_class, 0, s[i]);
		assert_int_equal(state_writer_finish(w[i], &bytes[i], &len[i]), 0);
	}
	/* what often differs first, so that the message says more */
	for (unsigned i = 0; i < SEG_COUNT; i++)
		assert_int_equal(a->seg[i].attr, b->seg[i].attr);
	assert_memory_equal(a->lapic, b->lapic, sizeof(a->lapic));
	assert_memory_equal(a->xsave, b->xsave, sizeof(a->xsave));
	assert_int_equal(len[0], len[1]);
	assert_memory_equal(bytes[0], bytes[1], len[0]);
	state_writer_destroy(w[0]);
	state_writer_destroy(w[1]);
}
