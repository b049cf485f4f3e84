// SPDX-License-Identifier: GPL-2.0-or-later
/* The record "vcpu": struct vcpu_state as a table of fields (docs/state-format.md). */
#include "engine/vcpu_state.h"

static const struct state_field segment_fields[] = {
	STATE_UINT(struct vcpu_segment, base),
	STATE_UINT(struct vcpu_segment, limit),
	STATE_UINT(struct vcpu_segment, selector),
	STATE_UINT(struct vcpu_segment, attr),
	STATE_END,
};

static const struct state_field table_fields[] = {
	STATE_UINT(struct vcpu_table, base),
	STATE_UINT(struct vcpu_table, limit),
	STATE_END,
};

#define U(member) STATE_UINT(struct vcpu_state, member)
#define O(member) STATE_UINT_OPTIONAL(struct vcpu_state, member)
#define A(member) STATE_UINTS(struct vcpu_state, member)

static const struct state_field vcpu_fields[] = {
	A(gpr),
	U(rip),
	U(rflags),
	STATE_STRUCTS(struct vcpu_state, seg, segment_fields),
	STATE_STRUCT(struct vcpu_state, ldt, segment_fields),
	STATE_STRUCT(struct vcpu_state, tr, segment_fields),
	STATE_STRUCT(struct vcpu_state, gdt, table_fields),
	STATE_STRUCT(struct vcpu_state, idt, table_fields),
	U(cr0), U(cr2), U(cr3), U(cr4), U(cr8), U(xcr0),
	A(dr),
	U(efer), U(apic_base),
	U(star), U(lstar), U(cstar), U(sfmask), U(kernel_gs_base),
	U(sysenter_cs), U(sysenter_esp), U(sysenter_eip),
	U(pat), U(tsc_aux), U(tsc_adjust), U(misc_enable), U(xss), U(spec_ctrl), U(debugctl),
	U(mtrr_def_type), A(mtrr_physbase), A(mtrr_physmask), A(mtrr_fixed),
	U(smbase),
	U(pkrs), U(mcg_status), U(mcg_ctl), A(pdpte),
	U(tsc_delta),
	STATE_BYTES(struct vcpu_state, xsave),
	U(xsave_len),
	A(lapic),
	U(tsc_deadline),
	U(lapic_timer_start_ns),
	U(activity),
	U(sipi_vector), U(init_pending), U(sipi_pending),
	U(nmi_pending), U(nmi_masked),
	U(smi_pending), U(in_smm), U(smm_nmi_masked), U(smm_debug_pending),
	U(debug_pending), U(shadow),
	U(exception_pending), U(exception_vector), U(exception_has_error), U(exception_error),
	U(extint_pending), U(extint_vector),
	O(pv_system_time), O(pv_wall_clock), O(pv_steal_time), O(pv_eoi), O(pv_called), O(pv_kicked),
	STATE_END,
};

const struct state_class vcpu_state_class = { "vcpu", 1, vcpu_fields };
