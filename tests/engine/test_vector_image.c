// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * State images: FXSAVE, the XSAVE family and the x87 environment. Against the host where a process may
 * run them, by hand where it may not (other modes, XSAVES).
 */
#include "random.h"
#include "test_vector_rig.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>

#define OFF(member) offsetof(struct cpu_xsave, member)

static uint64_t at(unsigned offset)
{
	return (uint64_t)(uintptr_t)vrig.ram + offset;
}

static int setup(void **state)
{
	vrig_reset(INSN_MODE64);
	return 0;
}

/* Registers with many zeros, so that components are in their initial state now and then. */
static void random_registers(struct cpu_xsave *x)
{
	unsigned what = below(8);

	for (unsigned i = 0; i < 16; i++)
		for (unsigned k = 0; k < 16; k++) {
			x->xmm[i][k] = what & 1 ? (uint8_t)rnd() : 0;
			x->ymm_hi[i][k] = what & 2 ? (uint8_t)rnd() : 0;
		}
	memset(x->st, 0, sizeof(x->st));
	x->fip = x->fdp = x->fop = 0;
	x->fcw = 0x37f;
	x->fsw = 0;
	x->ftw = 0;
	x->mxcsr = below(2) ? 0x1f80 : (uint32_t)rnd() & 0xffff;
	if (!(what & 4))
		return;
	for (unsigned i = 0; i < 8; i++) {
		uint64_t m = rnd() | (below(3) ? 1ull << 63 : 0);
		uint16_t e = (uint16_t)(below(3) ? rnd() : 0);

		if (!below(6))
			m = 0;
		memcpy(x->st[i], &m, 8);
		memcpy(x->st[i] + 8, &e, 2);
	}
	x->fcw = (uint16_t)((rnd() & 0x1f3f) | 0x40);
	x->fsw = (uint16_t)(rnd() & 0x7f7f);
	if (x->fsw & ~x->fcw & 0x3f)
		x->fsw |= 0x8080;
	x->ftw = (uint8_t)rnd();
}

/* An image in memory that can be restored most of the time. */
static void random_image(uint8_t *p, bool header)
{
	struct cpu_xsave x;

	for (unsigned i = 0; i < sizeof(x); i++)
		((uint8_t *)&x)[i] = (uint8_t)rnd();
	x.mxcsr &= below(10) ? 0xffff : 0xfffcffff;
	x.fip = x.fdp = 0;
	if (header) {
		x.xstate_bv = below(8);
		x.xcomp_bv = 0;
		memset(x.hdr_rsvd, 0, sizeof(x.hdr_rsvd));
		switch (below(8)) {
		case 0:
		case 1: x.xcomp_bv = 1ull << 63 | below(8); break;
		case 2: x.xcomp_bv = 1ull << 63 | 7; break;
		case 3: x.xstate_bv |= 8; break;
		case 4: x.xcomp_bv = below(2) ? 1 : 1ull << 63 | 0xf; break;
		case 5: x.hdr_rsvd[below(6)] = 1; break;
		default: break;
		}
	}
	memcpy(p, &x, sizeof(x));
}

struct form {
	const char *name;
	uint8_t code[8];
	uint8_t len;
	uint8_t align;	/* offset is a multiple of this, most of the time */
	bool load, header;
	uint8_t forget_from, forget_to; /* bytes of instruction and data pointers in the image */
};

static const struct form forms[] = {
	{ "fxsave", { 0x0f, 0xae, 0x03 }, 3, 16, false, false, 6, 24 },
	{ "fxsave64", { 0x48, 0x0f, 0xae, 0x03 }, 4, 16, false, false, 6, 24 },
	{ "fxrstor", { 0x0f, 0xae, 0x0b }, 3, 16, true, false, 0, 0 },
	{ "fxrstor64", { 0x48, 0x0f, 0xae, 0x0b }, 4, 16, true, false, 0, 0 },
	{ "xsave", { 0x0f, 0xae, 0x23 }, 3, 64, false, true, 6, 24 },
	{ "xsave64", { 0x48, 0x0f, 0xae, 0x23 }, 4, 64, false, true, 6, 24 },
	{ "xsaveopt", { 0x0f, 0xae, 0x33 }, 3, 64, false, true, 6, 24 },
	{ "xsavec", { 0x0f, 0xc7, 0x23 }, 3, 64, false, true, 6, 24 },
	{ "xrstor", { 0x0f, 0xae, 0x2b }, 3, 64, true, true, 0, 0 },
	{ "xrstor64", { 0x48, 0x0f, 0xae, 0x2b }, 4, 64, true, true, 0, 0 },
	{ "fnstenv", { 0xd9, 0x33 }, 2, 1, false, false, 12, 26 },
	{ "fnstenv16", { 0x66, 0xd9, 0x33 }, 3, 1, false, false, 6, 14 },
	{ "fldenv", { 0xd9, 0x23 }, 2, 1, true, false, 0, 0 },
	{ "fldenv16", { 0x66, 0xd9, 0x23 }, 3, 1, true, false, 0, 0 },
	{ "fnsave", { 0xdd, 0x33 }, 2, 1, false, false, 12, 26 },
	{ "fnsave16", { 0x66, 0xdd, 0x33 }, 3, 1, false, false, 6, 14 },
	{ "frstor", { 0xdd, 0x23 }, 2, 1, true, false, 0, 0 },
	{ "frstor16", { 0x66, 0xdd, 0x23 }, 3, 1, true, false, 0, 0 },
};

static uint8_t before[VRIG_RAM], host_ram[VRIG_RAM];

/* The state component (a bit of XSTATE_BV) that byte @o of an XSAVE image belongs to; 0: the header. */
static unsigned component_at(unsigned o)
{
	if (o < 24 || (o >= OFF(st) && o < OFF(xmm)))
		return 1;
	if (o < OFF(xstate_bv))
		return 2;
	return o >= OFF(ymm_hi) ? 4 : 0;
}

/*
 * A processor may count a component as in use that is in its initial configuration (SDM vol. 1, 13.6): what it saves is right
 * then, too, and we, who know better, have left the bytes as they were.
 */
static bool saved_initial(const struct form *f, unsigned offset, unsigned o)
{
	unsigned more, host = host_ram[offset + OFF(xstate_bv)], ours = vrig.ram[offset + OFF(xstate_bv)];

	if (f->load || f->align != 64 || o >= sizeof(struct cpu_xsave))
		return false;
	more = host & ~ours;
	if ((host & ours) != ours || !more)
		return false;
	if (o == OFF(xstate_bv))
		return !(more & ~7u);
	return (component_at(o) & more) && vrig.ram[offset + o] == before[offset + o];
}

/*
 * A processor may access all of a component that it is asked to restore, also when XSTATE_BV says that it is in its initial
 * configuration (SDM vol. 1, 13.13): the host has met the end of memory there, and we have not.
 */
static bool touched_initial(const struct form *f, unsigned offset, const struct native *n)
{
	uint64_t o = n->fault - at(offset);

	return f->load && f->header && vrig.vector == VRIG_NO_FAULT && n->fault >= at(VRIG_RAM) && o < sizeof(struct cpu_xsave) &&
	       offset + OFF(xstate_bv) < VRIG_RAM && (component_at((unsigned)o) & vrig.c->gpr[RAX]) &&
	       !(component_at((unsigned)o) & before[offset + OFF(xstate_bv)]);
}

static void try_form(const struct form *f)
{
	struct cpu *c = vrig.c;
	unsigned offset = below(4) ? 4096 - 512 : VRIG_RAM - 832;
	struct native n;
	bool restored;

	random_registers(&c->x);
	offset = offset / f->align * f->align;
	if (!below(20))
		offset += below(64);
	if (!below(8))
		offset = VRIG_RAM - (f->align == 1 ? below(120) : 64 * below(14));
	random_image(vrig.ram + (offset > VRIG_RAM - 832 ? 0 : offset), f->header);
	c->gpr[RBX] = at(offset);
	c->gpr[RAX] = below(8);
	c->gpr[RDX] = 0;
	memcpy(before, vrig.ram, VRIG_RAM);
	native_from_cpu(&n, c);
	native_run(&n, f->code, f->len);
	memcpy(host_ram, vrig.ram, VRIG_RAM);
	memcpy(vrig.ram, before, VRIG_RAM);
	vrig_run(f->code, f->len);
	if (touched_initial(f, offset, &n))
		return;
	if (!native_same_fault(n.signal, vrig.vector))
		fprintf(stderr, "%s at %x rfbm %x: signal %d (%llx) vector %d\n", f->name, offset, (unsigned)c->gpr[RAX], n.signal,
			(unsigned long long)n.fault, vrig.vector);
	assert_true(native_same_fault(n.signal, vrig.vector));
	/* a host with more state components accepts what the model does not */
	native_compare(&n, c, f->name);
	restored = f->load || n.signal;
	for (unsigned i = 0; i < VRIG_RAM; i++) {
		unsigned o = i - offset;

		if (host_ram[i] == vrig.ram[i] || (o >= f->forget_from && o < f->forget_to))
			continue;
		if (f->align > 1 && o >= OFF(mxcsr_mask) && o < OFF(st))
			continue;
		if (saved_initial(f, offset, o))
			continue;
		/* a save that faults may have begun */
		if (!f->load && n.signal)
			continue;
		fprintf(stderr, "%s at %x rfbm %x: byte %x host %02x ours %02x\n", f->name, offset,
			(unsigned)c->gpr[RAX], o, host_ram[i], vrig.ram[i]);
		assert_true(restored && host_ram[i] == vrig.ram[i]);
	}
}

static void images_are_what_the_host_makes_of_them(void **state)
{
	for (unsigned i = 0; i < 20000; i++) {
		if (i % 64 == 0)
			vrig_reset(INSN_MODE64);
		try_form(&forms[i % (sizeof(forms) / sizeof(forms[0]))]);
	}
}

/* --- by hand --- */

static void fxsave_outside_64_bit_mode_has_eight_registers(void **state)
{
	struct cpu *c = vrig.c;

	vrig_reset(INSN_MODE32);
	memset(c->x.xmm, 0x11, sizeof(c->x.xmm));
	c->x.fip = 0x123456789abcdef0;
	c->gpr[RBX] = at(0);
	memset(vrig.ram, 0xaa, 512);
	assert_int_equal(VRUN(0x0f, 0xae, 0x03), VRIG_NO_FAULT);
	assert_int_equal(vrig.ram[OFF(xmm[7])], 0x11);
	assert_int_equal(vrig.ram[OFF(xmm[8])], 0xaa);
	assert_memory_equal(vrig.ram + OFF(fip), "\xf0\xde\xbc\x9a\0\0\0\0", 8);
	memset(c->x.xmm, 0x22, sizeof(c->x.xmm));
	assert_int_equal(VRUN(0x0f, 0xae, 0x0b), VRIG_NO_FAULT);
	assert_int_equal(c->x.xmm[7][0], 0x11);
	assert_int_equal(c->x.xmm[8][0], 0x22);
	assert_int_equal(c->x.fip, 0x9abcdef0);
}

static void fxsave_without_osfxsr_leaves_sse_out(void **state)
{
	struct cpu *c = vrig.c;

	c->cr4 &= ~(uint64_t)CR4_OSFXSR;
	c->gpr[RBX] = at(0);
	memset(vrig.ram, 0xaa, 512);
	assert_int_equal(VRUN(0x0f, 0xae, 0x03), VRIG_NO_FAULT);
	assert_int_equal(vrig.ram[OFF(mxcsr)], 0xaa);
	assert_int_equal(vrig.ram[OFF(xmm)], 0xaa);
	assert_int_equal(vrig.ram[OFF(st)], 0);
	assert_int_equal(VRUN(0x0f, 0xae, 0x0b), VRIG_NO_FAULT); /* MXCSR is not looked at */
	assert_int_equal(c->x.mxcsr, 0x1f80);
	c->cr0 |= CR0_TS;
	assert_int_equal(VRUN(0x0f, 0xae, 0x03), EXC_NM);
}

static void x87_image_has_the_guests_pointers(void **state)
{
	struct cpu *c = vrig.c;
	uint8_t env[28] = { 0x7f, 3, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x78, 0x56, 0x34, 0x12,
			    0, 0, 0xc1, 6, 0x21, 0x43, 0x65, 0x87, 0, 0, 0xff, 0xff };

	c->x.fip = 0x12345678;
	c->x.fdp = 0x87654321;
	c->x.fop = 0x6c1;
	c->gpr[RBX] = at(0);
	VRUN(0xd9, 0x33); /* fnstenv [rbx] */
	assert_memory_equal(vrig.ram, env, 28);
	assert_int_equal(c->x.fcw, 0x37f);
	c->x.fip = c->x.fdp = c->x.fop = 0;
	VRUN(0xd9, 0x23); /* fldenv [rbx] */
	assert_int_equal(c->x.fip, 0x12345678);
	assert_int_equal(c->x.fdp, 0x87654321);
	assert_int_equal(c->x.fop, 0x6c1);
}

static void x87_environment_of_real_mode_has_linear_addresses(void **state)
{
	struct cpu *c = vrig.c;

	vrig_reset(INSN_MODE16);
	c->x.fip = 0x12345;
	c->x.fdp = 0xabcde;
	c->x.fop = 0x7ff;
	c->gpr[RBX] = 0x100;
	c->segbase[SEG_DS] = at(0) - 0x100;
	VRUN(0xd9, 0x37); /* fnstenv [bx] */
	assert_memory_equal(vrig.ram + 6, "\x45\x23\xff\x17\xde\xbc\x00\xa0", 8);
	c->x.fip = c->x.fdp = c->x.fop = 0;
	VRUN(0xd9, 0x27);
	assert_int_equal(c->x.fip, 0x12345);
	assert_int_equal(c->x.fdp, 0xabcde);
	assert_int_equal(c->x.fop, 0x7ff);
	VRUN(0x66, 0xd9, 0x37); /* 32-bit */
	assert_memory_equal(vrig.ram + 12, "\x45\x23\xff\xff\xff\x17\x00\x00\xde\xbc\xff\xff\x00\xa0\x00\x00", 16);
	c->x.fip = c->x.fdp = c->x.fop = 0;
	VRUN(0x66, 0xd9, 0x27);
	assert_int_equal(c->x.fip, 0x12345);
	assert_int_equal(c->x.fdp, 0xabcde);
	assert_int_equal(c->x.fop, 0x7ff);
}

static void xsaves_is_compacted_and_xrstors_wants_it_so(void **state)
{
	struct cpu *c = vrig.c;
	uint64_t header[2];

	c->cpl = 0;
	memset(c->x.ymm_hi, 0x33, sizeof(c->x.ymm_hi));
	c->gpr[RAX] = c->gpr[RDX] = ~0ull;
	c->gpr[RBX] = at(64);
	assert_int_equal(VRUN(0x0f, 0xc7, 0x2b), VRIG_NO_FAULT); /* xsaves [rbx] */
	memcpy(header, vrig.ram + 64 + OFF(xstate_bv), 16);
	assert_int_equal(header[0], 4);
	assert_int_equal(header[1], 1ull << 63 | 7);
	memset(c->x.xmm, 1, sizeof(c->x.xmm));
	memset(c->x.ymm_hi, 1, sizeof(c->x.ymm_hi));
	c->x.mxcsr = 0x1fbf;
	assert_int_equal(VRUN(0x0f, 0xc7, 0x1b), VRIG_NO_FAULT); /* xrstors [rbx] */
	assert_int_equal(c->x.xmm[0][0], 0);
	assert_int_equal(c->x.ymm_hi[15][15], 0x33);
	assert_int_equal(c->x.mxcsr, 0x1f80);
	memset(vrig.ram + 64 + OFF(xcomp_bv), 0, 8);
	assert_int_equal(VRUN(0x0f, 0xc7, 0x1b), EXC_GP);
	c->cr4 &= ~(uint64_t)CR4_OSXSAVE;
	assert_int_equal(VRUN(0x0f, 0xc7, 0x1b), EXC_UD);
}

static void a_restore_that_faults_changes_nothing(void **state)
{
	struct cpu *c = vrig.c;

	memset(c->x.xmm, 0x44, sizeof(c->x.xmm));
	memset(c->x.ymm_hi, 0x44, sizeof(c->x.ymm_hi));
	c->gpr[RAX] = 7;
	c->gpr[RBX] = at(VRIG_RAM - 576 - 64);
	memset(vrig.ram, 0, VRIG_RAM);
	vrig.ram[VRIG_RAM - 128] = 7; /* XSTATE_BV */
	assert_int_equal(VRUN(0x0f, 0xae, 0x2b), EXC_PF); /* the AVX part is missing */
	assert_int_equal(c->x.xmm[0][0], 0x44);
	assert_int_equal(c->x.ymm_hi[0][0], 0x44);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup(f, setup)
		T(images_are_what_the_host_makes_of_them),
		T(fxsave_outside_64_bit_mode_has_eight_registers),
		T(fxsave_without_osfxsr_leaves_sse_out),
		T(x87_image_has_the_guests_pointers),
		T(x87_environment_of_real_mode_has_linear_addresses),
		T(xsaves_is_compacted_and_xrstors_wants_it_so),
		T(a_restore_that_faults_changes_nothing),
	};

	random_options(argc, argv, NULL);
	if (vector_init())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
