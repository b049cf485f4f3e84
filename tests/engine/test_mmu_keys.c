// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the model `max` and PAE add to the page walk: 5-level paging (SDM vol. 3, 4.5), protection keys of user
 * and supervisor pages (4.6.2, 4.7), the PDPTEs that PAE paging latches (4.4.1).
 */
#include "system_rig.h"

#include "engine/soft/mmu/walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { T4 = 0x100000, T3 = 0x101000, T2 = 0x102000, T1 = 0x103000, T0 = 0x104000, PAGE = 0x180000, PAGE2 = 0x181000 };
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX (1ull << 63)
/* Index 5 at each of the five levels, then 0x123; it is not canonical in 48 bits. */
#define LIN (5ull << 48 | 5ull << 39 | 5ull << 30 | 5ull << 21 | 5ull << 12 | 0x123)
enum { SLOT5 = 5 * 8 };

static const uint64_t table[5] = { T4, T3, T2, T1, T0 };

static int walk(uint64_t linear, enum mmu_access access, enum walk_as as, struct walk *w)
{
	struct walk own;
	uint32_t error = 0;

	return mmu_walk(sys.c, linear, access, as, false, w ? w : &own, &error) ? (int)error : -1;
}

/* --- 4.5: 5-level paging --- */

/* Five levels to PAGE at LIN; the rig's own four levels are behind entry 0. */
static struct cpu *five_levels(void)
{
	sys_model = "max";
	sys_start(SYS_LONG, 0);
	for (unsigned i = 0; i < 5; i++)
		sys_poke(table[i] + SLOT5, 8, (i < 4 ? table[i + 1] : PAGE) | P | W | U);
	sys_poke(T4, 8, SYS_PML4 | P | W | U);
	sys.c->cr3 = T4;
	sys.c->cr4 |= CR4_LA57;
	mmu_flush_all(sys.c);
	cpu_mode_changed(sys.c);
	return sys.c;
}

static void five_levels_translate_57_bits(void **state)
{
	struct walk w;

	five_levels();
	assert_int_equal(walk(LIN, MMU_WRITE, WALK_USER, &w), -1);
	assert_int_equal(w.gpa, PAGE);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(sys_peek(table[i] + SLOT5, 8) & (A | D), i < 4 ? A : A | D);
	/* the same below bit 56, sign-extended: another PML5E */
	assert_int_equal(walk(LIN | 0xffull << 56, MMU_READ, WALK_USER, NULL), PF_U);
}

static void each_of_five_levels_withdraws_rights_and_reserves_bits(void **state)
{
	for (unsigned i = 0; i < 5; i++) {
		uint64_t at = table[i] + SLOT5, e;

		five_levels();
		e = sys_peek(at, 8);
		sys_poke(at, 8, e & ~(uint64_t)W);
		assert_int_equal(walk(LIN, MMU_WRITE, WALK_USER, NULL), PF_P | PF_W | PF_U);
		sys_poke(at, 8, e & ~(uint64_t)U);
		assert_int_equal(walk(LIN, MMU_READ, WALK_USER, NULL), PF_P | PF_U);
		sys_poke(at, 8, e | NX);
		assert_int_equal(walk(LIN, MMU_EXEC, WALK_USER, NULL), PF_P | PF_U | PF_I);
		sys_poke(at, 8, e & ~(uint64_t)P);
		assert_int_equal(walk(LIN, MMU_READ, WALK_USER, NULL), PF_U);
		for (unsigned bit = 46; bit < 52; bit++) {
			sys_poke(at, 8, e | 1ull << bit);
			assert_int_equal(walk(LIN, MMU_READ, WALK_USER, NULL), PF_P | PF_U | PF_RSVD);
		}
		/* tables 4-14 and 4-15: PML5E and PML4E reserve PS */
		sys_poke(at, 8, e | PS);
		assert_int_equal(walk(LIN, MMU_READ, WALK_USER, NULL) != -1, i < 2 || i == 2 || i == 3);
		if (i < 2)
			assert_int_equal(walk(LIN, MMU_READ, WALK_USER, NULL), PF_P | PF_U | PF_RSVD);
	}
}

/* mov eax, [rbx]: the vector, or SYS_HALTED */
static int load(uint64_t linear)
{
	sys.c->gpr[RBX] = linear;
	sys.c->gpr[RSP] = SYS_STACK;
	return RUN(0x8b, 0x03);
}

static void canonical_addresses_have_the_width_of_the_paging_mode(void **state)
{
	static const struct {
		uint64_t linear;
		int four, five;
	} t[] = {
		{ 0x00007ffffffffff0, EXC_PF, EXC_PF }, { 0x0000800000000000, EXC_GP, EXC_PF }, { LIN, EXC_GP, SYS_HALTED },
		{ 0x00fffffffffffff0, EXC_GP, EXC_PF }, { 0x0100000000000000, EXC_GP, EXC_GP },
		{ 0xfeffffffffffffff, EXC_GP, EXC_GP }, { 0xff00000000000000, EXC_GP, EXC_PF },
		{ 0xffff7ffffffffff0, EXC_GP, EXC_PF }, { 0xffff800000000000, EXC_PF, EXC_PF },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		five_levels();
		assert_int_equal(load(t[i].linear), t[i].five);
		sys_start(SYS_LONG, 0);
		assert_int_equal(load(t[i].linear), t[i].four);
	}
}

/* jmp rbx: where a non-canonical target faults, RIP has not moved */
static void branches_take_the_width_of_the_paging_mode(void **state)
{
	five_levels();
	sys_poke(PAGE + 0x123, 1, 0xf4);
	sys.c->gpr[RBX] = LIN;
	assert_int_equal(RUN(0xff, 0xe3), SYS_HALTED);
	assert_int_equal(sys.c->gpr[GPR_RIP], LIN + 1);
	five_levels();
	sys.c->gpr[RBX] = 1ull << 56;
	assert_int_equal(RUN(0xff, 0xe3), EXC_GP);
	assert_int_equal(sys_frame(1, 8), SYS_CODE);
	sys_start(SYS_LONG, 0);
	sys.c->gpr[RBX] = LIN;
	assert_int_equal(RUN(0xff, 0xe3), EXC_GP);
	assert_int_equal(sys_frame(1, 8), SYS_CODE);
}

static void bases_take_57_bits_wherever_the_model_has_them(void **state)
{
	static const uint32_t msr[] = { 0x175, 0x176, 0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102 };

	for (unsigned max = 0; max < 2; max++) {
		sys_model = max ? "max" : "v3";
		sys_start(SYS_LONG, 0); /* with four levels */
		for (unsigned i = 0; i < sizeof(msr) / sizeof(msr[0]); i++) {
			assert_int_equal(msr_write(sys.c, msr[i], 0xff00000000001000), max ? 0 : -1);
			assert_int_equal(msr_write(sys.c, msr[i], 1ull << 56), -1);
			assert_int_equal(msr_write(sys.c, msr[i], 0xffff800000000000), 0);
		}
	}
}

static void la57_cannot_change_in_ia32e_mode(void **state)
{
	struct cpu *c;

	sys_model = "max";
	sys_start(SYS_LONG, 0);
	c = sys.c;
	c->gpr[RAX] = c->cr4 | CR4_LA57;
	assert_int_equal(RUN(0x0f, 0x22, 0xe0), EXC_GP);
	assert_false(c->cr4 & CR4_LA57);
	sys_start(SYS_PROT32, 0);
	c = sys.c;
	c->gpr[RAX] = CR4_LA57 | CR4_PAE;
	assert_int_equal(RUN(0x0f, 0x22, 0xe0), SYS_HALTED);
	assert_int_equal(c->cr4, CR4_LA57 | CR4_PAE);
	c = five_levels();
	c->gpr[RAX] = c->cr4 & ~(uint64_t)CR4_LA57;
	assert_int_equal(RUN(0x0f, 0x22, 0xe0), EXC_GP);
}

/* --- 4.6.2: protection keys --- */

enum { KEY = 9, KEYED = 0x40000000 }; /* the page under test */

/* The rig's four levels, and PAGE at KEYED with protection key KEY. */
static struct cpu *keyed(unsigned cpl, uint64_t pte_bits)
{
	sys_model = "max";
	sys_start(SYS_LONG, cpl);
	sys_poke(SYS_PML4 + 0x1000 + 8, 8, T1 | P | W | U);
	sys_poke(T1, 8, T0 | P | W | U);
	sys_poke(T0, 8, PAGE | P | pte_bits | (uint64_t)KEY << 59);
	sys.c->cr4 |= CR4_PKE | CR4_PKS;
	mmu_flush_all(sys.c);
	return sys.c;
}

/* 4.6.2, from its sentences: does the key forbid the data access? */
static bool manual_key_denies(unsigned rights, bool write, bool as_user, bool wp)
{
	bool ad = rights & 1, wd = rights & 2;

	if (ad)
		return true;
	return wd && write && (as_user || wp);
}

static void keys_forbid_what_the_manual_says_in_every_combination(void **state)
{
	struct cpu *c = keyed(0, W | U);

	for (unsigned n = 0; n < 1u << 7; n++) {
		bool user_page = n & 1, wp = n & 2, pke = n & 4, pks = n & 8, writable = n & 64;
		unsigned rights = n >> 4 & 3;

		c->cr0 = (c->cr0 & ~(uint64_t)CR0_WP) | (wp ? CR0_WP : 0);
		c->cr4 = CR4_PAE | (pke ? CR4_PKE : 0) | (pks ? CR4_PKS : 0);
		/* the other register, and the other keys of this one, must not matter */
		c->pkru = user_page ? (0xffffffff & ~(3u << KEY * 2)) | rights << KEY * 2 : 0xffffffff;
		c->pkrs = user_page ? 0xffffffff : (0xffffffff & ~(3u << KEY * 2)) | rights << KEY * 2;
		sys_poke(T0, 8, PAGE | P | (user_page ? U : 0) | (writable ? W : 0) | (uint64_t)KEY << 59);
		for (unsigned access = 0; access < 3; access++)
			for (unsigned as = 0; as < 3; as++) {
				bool user = as == WALK_USER, counts = user_page ? pke : pks, key, right;
				int want;

				key = counts && access != MMU_EXEC && manual_key_denies(rights, access == MMU_WRITE, user, wp);
				right = (user && !user_page) || (access == MMU_WRITE && !writable && (user || wp));
				/* 4.7: PK tells of the key, whatever else forbids the access */
				want = PF_P | (access == MMU_WRITE ? PF_W : 0) | (user ? PF_U : 0) |
				       (access == MMU_EXEC ? PF_I : 0) | (key ? PF_PK : 0);
				assert_int_equal(walk(KEYED, access, as, NULL), key || right ? want : -1);
			}
	}
}

static void a_fault_of_a_key_leaves_a_and_d_alone(void **state)
{
	struct cpu *c = keyed(0, W | U);

	c->pkru = 3u << KEY * 2;
	assert_int_equal(walk(KEYED, MMU_WRITE, WALK_USER, NULL), PF_P | PF_W | PF_U | PF_PK);
	assert_int_equal(sys_peek(T0, 8) & (A | D), 0);
	assert_int_equal(sys_peek(T1, 8) & A, 0);
}

static void keys_do_not_exist_in_pae_paging(void **state)
{
	sys_model = "max";
	sys_start(SYS_PROT32, 0);
	sys.c->cr0 |= CR0_PG;
	sys.c->cr4 = CR4_PAE | CR4_PKE | CR4_PKS;
	sys.c->pkru = sys.c->pkrs = 0xffffffff;
	sys_poke(T2, 8, T1 | P);
	sys_poke(T1, 8, T0 | P | W | U);
	sys_poke(T0, 8, PAGE | P | W | U);
	assert_true(cr3_switch(sys.c, T2));
	assert_int_equal(walk(0, MMU_WRITE, WALK_USER, NULL), -1);
}

/* mov eax, [rbx] or mov [rbx], eax at KEYED */
static int touch(bool write)
{
	sys.c->gpr[RBX] = KEYED;
	return write ? RUN(0x89, 0x03) : RUN(0x8b, 0x03);
}

static int wrpkru(uint32_t v)
{
	sys.c->gpr[RAX] = v;
	sys.c->gpr[RCX] = sys.c->gpr[RDX] = 0;
	return RUN(0x0f, 0x01, 0xef);
}

static void rights_that_wrpkru_takes_and_gives_are_seen_at_once(void **state)
{
	struct cpu *c = keyed(0, W | U);

	for (unsigned view = 0; view < 2; view++) {
		c->cr4 = CR4_PAE | CR4_PKE | (view ? CR4_SMAP : 0);
		c->sysflags |= RF_AC;
		cpu_mode_changed(c);
		assert_int_equal(wrpkru(0), SYS_HALTED);
		assert_int_equal(touch(true), SYS_HALTED);
		assert_int_equal(touch(false), SYS_HALTED);
		assert_int_equal(wrpkru(2u << KEY * 2), SYS_HALTED);
		assert_int_equal(touch(false), SYS_HALTED);
		assert_int_equal(touch(true), EXC_PF);
		assert_int_equal(sys_frame(0, 8), PF_P | PF_W | PF_PK);
		assert_int_equal(c->cr2, KEYED);
		c->sysflags |= RF_AC; /* the handler's gate leaves it, with SMAP too; be sure */
		cpu_mode_changed(c);
		assert_int_equal(wrpkru(1u << KEY * 2), SYS_HALTED);
		assert_int_equal(touch(false), EXC_PF);
		assert_int_equal(sys_frame(0, 8), PF_P | PF_PK);
		assert_int_equal(wrpkru(3u << (KEY + 1) * 2), SYS_HALTED); /* another key */
		assert_int_equal(touch(true), SYS_HALTED);
	}
}

static void rights_that_wrmsr_of_pkrs_takes_are_seen_at_once(void **state)
{
	struct cpu *c = keyed(0, W);

	assert_int_equal(touch(true), SYS_HALTED);
	c->gpr[RCX] = 0x6e1;
	c->gpr[RAX] = 2u << KEY * 2;
	c->gpr[RDX] = 0;
	assert_int_equal(RUN(0x0f, 0x30), SYS_HALTED);
	assert_int_equal(touch(false), SYS_HALTED);
	assert_int_equal(touch(true), EXC_PF);
	assert_int_equal(sys_frame(0, 8), PF_P | PF_W | PF_PK);
	/* without CR0.WP a supervisor may write all the same */
	c->gpr[RAX] = c->cr0 & ~(uint64_t)CR0_WP;
	assert_int_equal(RUN(0x0f, 0x22, 0xc0), SYS_HALTED);
	assert_int_equal(touch(true), SYS_HALTED);
}

static void keys_are_lost_in_every_address_space(void **state)
{
	struct cpu *c = keyed(0, W | U);

	c->cr4 |= CR4_PCIDE;
	for (unsigned pcid = 1; pcid < 4; pcid++) {
		mmu_load_cr3(c, SYS_PML4 | pcid);
		assert_int_equal(touch(true), SYS_HALTED);
	}
	assert_int_equal(wrpkru(1u << KEY * 2), SYS_HALTED);
	for (unsigned pcid = 1; pcid < 4; pcid++) {
		mmu_load_cr3(c, SYS_PML4 | pcid | 1ull << 63);
		assert_int_equal(touch(false), EXC_PF);
	}
}

static void rdpkru_and_wrpkru_check_their_registers(void **state)
{
	static const struct {
		uint64_t cr4, rcx, rdx;
		int read, write;
	} t[] = {
		{ 0, 0, 0, EXC_UD, EXC_UD },
		{ 0, 1, 0, EXC_UD, EXC_UD },
		{ CR4_PKE, 0, 0, SYS_HALTED, SYS_HALTED },
		{ CR4_PKE, 1, 0, EXC_GP, EXC_GP },
		{ CR4_PKE, 0, 1, SYS_HALTED, EXC_GP },
		{ CR4_PKE, 1ull << 32, 0, SYS_HALTED, SYS_HALTED }, /* ECX and EDX only */
		{ CR4_PKE, 0, 1ull << 32, SYS_HALTED, SYS_HALTED },
	};

	sys_model = "max";
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		sys_start(SYS_LONG, 0);
		sys.c->cr4 |= t[i].cr4;
		sys.c->pkru = 0x55555554;
		sys.c->gpr[RAX] = ~0ull;
		sys.c->gpr[RCX] = t[i].rcx;
		sys.c->gpr[RDX] = t[i].rdx;
		assert_int_equal(RUN(0x0f, 0x01, 0xee), t[i].read);
		if (t[i].read == SYS_HALTED) {
			assert_int_equal(sys.c->gpr[RAX], 0x55555554);
			assert_int_equal(sys.c->gpr[RDX], 0);
		}
		sys.c->gpr[RAX] = 0xffffffff0000000cull;
		sys.c->gpr[RDX] = t[i].rdx;
		assert_int_equal(RUN(0x0f, 0x01, 0xef), t[i].write);
		assert_int_equal(sys.c->pkru, t[i].write == SYS_HALTED ? 0xc : 0x55555554);
	}
	/* vol. 2: legal at any CPL */
	keyed(3, W | U);
	assert_int_equal(wrpkru(0), EXC_GP); /* of the HLT behind it */
	assert_int_equal(sys_frame(1, 8), SYS_CODE + 3);
}

/* --- 4.4.1: PDPTEs --- */

enum { CR4_BASE = CR4_PAE };

static struct cpu *pae(void)
{
	sys_start(SYS_PROT32, 0);
	sys.c->cr4 = CR4_BASE;
	sys.c->cr0 |= CR0_PG;
	sys_poke(T2, 8, T1 | P);
	for (unsigned i = 0; i < 512; i++) {
		sys_poke(T1 + i * 8, 8, i ? 0 : T0 | P | W);
		sys_poke(T0 + i * 8, 8, i * 4096ull | P | W);
	}
	assert_true(cr3_switch(sys.c, T2));
	cpu_mode_changed(sys.c);
	return sys.c;
}

static int mov_cr(unsigned n, uint64_t v)
{
	sys.c->gpr[RAX] = v;
	return RUN(0x0f, 0x22, (uint8_t)(0xc0 | n << 3));
}

static void pdptes_are_read_when_cr3_is_loaded_and_not_before(void **state)
{
	struct walk w;

	pae();
	sys_poke(T2 + 8, 8, T1 | P);
	mmu_flush_all(sys.c);
	assert_int_equal(walk(0x40000000, MMU_READ, WALK_KERNEL, NULL), 0);
	assert_int_equal(mov_cr(3, T2), SYS_HALTED);
	assert_int_equal(walk(0x40000000, MMU_READ, WALK_KERNEL, &w), -1);
	sys_poke(T2 + 8, 8, 0);
	mmu_flush_all(sys.c);
	assert_int_equal(walk(0x40000000, MMU_READ, WALK_KERNEL, &w), -1);
}

static void pdptes_are_read_again_when_cr0_and_cr4_change_what_they_may(void **state)
{
	/* CR0.CD, NW, PG and CR4.PAE, PGE, PSE, SMEP; nothing else */
	static const struct {
		unsigned n;
		uint64_t bits;
		bool reads;
	} t[] = {
		{ 0, CR0_CD, true }, { 0, CR0_CD | CR0_NW, true }, { 0, CR0_TS, false }, { 0, CR0_AM, false },
		{ 4, CR4_PGE, true }, { 4, CR4_PSE, true }, { 4, CR4_SMEP, true }, { 4, CR4_TSD, false }, { 4, CR4_SMAP, false },
	};

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		pae();
		sys_poke(T2 + 8, 8, T1 | P);
		assert_int_equal(mov_cr(t[i].n, (t[i].n ? sys.c->cr4 : sys.c->cr0) | t[i].bits), SYS_HALTED);
		assert_int_equal(sys.c->pdpte[1] & P, t[i].reads);
	}
}

static void a_reserved_bit_in_a_present_pdpte_is_gp_and_loads_nothing(void **state)
{
	struct cpu *c = pae();

	for (unsigned bit = 1; bit < 64; bit++) {
		bool reserved = bit == 1 || bit == 2 || (bit >= 5 && bit <= 8) || bit >= 46;

		sys_poke(T3, 8, T1 | P);
		sys_poke(T3 + 16, 8, P | 1ull << bit);
		assert_int_equal(mov_cr(3, T3), reserved ? EXC_GP : SYS_HALTED);
		assert_int_equal(c->cr3, reserved ? T2 : T3);
		assert_int_equal(c->pdpte[2] & P, reserved ? 0 : P);
		assert_int_equal(cr3_switch(c, T3), !reserved);
		sys_poke(T3 + 16, 8, 1ull << bit); /* not present: nothing is reserved */
		assert_int_equal(mov_cr(3, T3), SYS_HALTED);
		assert_int_equal(mov_cr(3, T2), SYS_HALTED);
	}
}

static void enabling_pae_paging_checks_the_pdptes(void **state)
{
	sys_start(SYS_PROT32, 0);
	sys.c->cr4 = CR4_PAE;
	sys.c->cr3 = T2;
	sys_poke(T2, 8, P | 2);
	assert_int_equal(mov_cr(0, sys.c->cr0 | CR0_PG), EXC_GP);
	assert_false(sys.c->cr0 & CR0_PG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(five_levels_translate_57_bits),
		TEST(each_of_five_levels_withdraws_rights_and_reserves_bits),
		TEST(canonical_addresses_have_the_width_of_the_paging_mode),
		TEST(branches_take_the_width_of_the_paging_mode),
		TEST(bases_take_57_bits_wherever_the_model_has_them),
		TEST(la57_cannot_change_in_ia32e_mode),
		TEST(keys_forbid_what_the_manual_says_in_every_combination),
		TEST(a_fault_of_a_key_leaves_a_and_d_alone),
		TEST(keys_do_not_exist_in_pae_paging),
		TEST(rights_that_wrpkru_takes_and_gives_are_seen_at_once),
		TEST(rights_that_wrmsr_of_pkrs_takes_are_seen_at_once),
		TEST(keys_are_lost_in_every_address_space),
		TEST(rdpkru_and_wrpkru_check_their_registers),
		TEST(pdptes_are_read_when_cr3_is_loaded_and_not_before),
		TEST(pdptes_are_read_again_when_cr0_and_cr4_change_what_they_may),
		TEST(a_reserved_bit_in_a_present_pdpte_is_gp_and_loads_nothing),
		TEST(enabling_pae_paging_checks_the_pdptes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
