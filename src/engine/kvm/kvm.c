// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The VM under KVM: its making, interrupt messages, doorbells (Linux, Documentation/virt/kvm/api.rst).
 *
 * The interrupt controller is split (KVM_CAP_SPLIT_IRQCHIP): KVM has the local APICs; what the board's chips want
 * delivered comes as messages (KVM_SIGNAL_MSI). KVM learns which vectors are level-triggered from its GSI routing, where
 * each route of set_routes takes one GSI: the EOI of such a vector leaves KVM_RUN.
 *
 * Quirks of KVM that keep old monitors working are turned off where the host lets us: they differ from the manuals.
 */
#include "engine/kvm/private.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RUN_PAGE = 4096 };
/* Pages that KVM on some Intel processors needs for real mode; no RAM and no device is there. */
enum { IDENTITY_MAP_ADDR = 0xfffbc000u, TSS_ADDR = 0xfffbd000u };

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int r;

	do
		r = ioctl(fd, request, arg);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static int check(int fd, unsigned long cap)
{
	int r = ioctl(fd, KVM_CHECK_EXTENSION, cap);

	return r < 0 ? 0 : r;
}

static int enable(struct kvm_engine *e, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap k = { .cap = cap, .args[0] = arg };

	return kvm_ioctl(e->vm, KVM_ENABLE_CAP, &k);
}

/* --- interrupts --- */

static int kvm_msi(struct engine *base, const struct engine_msi *msi)
{
	struct kvm_engine *e = kvm_engine_of(base);
	struct kvm_msi k = { .address_lo = (uint32_t)msi->address, .address_hi = (uint32_t)(msi->address >> 32), .data = msi->data };
	int r;

	pthread_rwlock_rdlock(&e->apic_lock);
	r = kvm_ioctl(e->vm, KVM_SIGNAL_MSI, &k);
	pthread_rwlock_unlock(&e->apic_lock);
	return r < 0 ? r : 0; /* 0 of KVM's: nobody took it */
}

/* --- doorbells --- */

static int ioeventfd(struct kvm_engine *e, const struct engine_doorbell *d, bool add)
{
	struct kvm_ioeventfd k = {
		.datamatch = d->match ? d->value : 0,
		.addr = d->address,
		.len = d->len,
		.fd = d->fd,
		.flags = (d->match ? 1u << kvm_ioeventfd_flag_nr_datamatch : 0) | (d->pio ? 1u << kvm_ioeventfd_flag_nr_pio : 0) |
			 (add ? 0 : 1u << kvm_ioeventfd_flag_nr_deassign),
	};

	return kvm_ioctl(e->vm, KVM_IOEVENTFD, &k);
}

static bool same_doorbell(const struct engine_doorbell *a, const struct engine_doorbell *b)
{
	return a->address == b->address && a->len == b->len && a->pio == b->pio && a->match == b->match &&
	       (!a->match || a->value == b->value);
}

static int kvm_add_doorbell(struct engine *base, const struct engine_doorbell *doorbell)
{
	struct kvm_engine *e = kvm_engine_of(base);
	struct engine_doorbell copy = *doorbell;
	int r = 0;

	pthread_mutex_lock(&e->doorbell_lock);
	for (unsigned i = 0; i < e->doorbells && !r; i++)
		r = same_doorbell(&e->doorbell[i], doorbell) ? -EEXIST : 0;
	if (!r && e->doorbells == KVM_DOORBELLS_MAX)
		r = -ENOSPC;
	if (!r) {
		copy.fd = fcntl(doorbell->fd, F_DUPFD_CLOEXEC, 0);
		r = copy.fd < 0 ? -errno : ioeventfd(e, &copy, true);
		if (!r)
			e->doorbell[e->doorbells++] = copy;
		else if (copy.fd >= 0)
			close(copy.fd);
	}
	pthread_mutex_unlock(&e->doorbell_lock);
	return r;
}

static int kvm_remove_doorbell(struct engine *base, const struct engine_doorbell *doorbell)
{
	struct kvm_engine *e = kvm_engine_of(base);
	int r = -ENOENT;

	pthread_mutex_lock(&e->doorbell_lock);
	for (unsigned i = 0; i < e->doorbells; i++) {
		if (!same_doorbell(&e->doorbell[i], doorbell))
			continue;
		r = ioeventfd(e, &e->doorbell[i], false);
		close(e->doorbell[i].fd);
		e->doorbell[i] = e->doorbell[--e->doorbells];
		break;
	}
	pthread_mutex_unlock(&e->doorbell_lock);
	return r;
}

/* --- making --- */

static void kvm_destroy(struct engine *base)
{
	struct kvm_engine *e = kvm_engine_of(base);

	if (!e)
		return;
	for (unsigned i = 0; i < e->base.vcpu_count; i++) {
		struct kvm_vcpu *v = &e->vcpu[i];

		kvm_vcpu_finish(v);
		if (v->kr)
			munmap(v->kr, e->kr_len);
		if (v->fd >= 0)
			close(v->fd);
	}
	for (unsigned i = 0; i < e->doorbells; i++)
		close(e->doorbell[i].fd);
	kvm_irqfds_finish(e);
	if (e->vm >= 0)
		close(e->vm);
	if (e->sys >= 0)
		close(e->sys);
	if (e->run)
		munmap(e->run, e->run_len);
	pthread_rwlock_destroy(&e->apic_lock);
	pthread_mutex_destroy(&e->doorbell_lock);
	pthread_mutex_destroy(&e->route_lock);
	free(e);
}

static const struct engine_ops kvm_ops = {
	.name = "kvm",
	.create = kvm_create,
	.destroy = kvm_destroy,
	.vcpu_run = kvm_vcpu_run,
	.vcpu_extint = kvm_vcpu_extint,
	.vcpu_kick = kvm_vcpu_kick,
	.vcpu_nmi = kvm_vcpu_nmi,
	.vcpu_smi = kvm_vcpu_smi,
	.vcpu_get_state = kvm_vcpu_get_state,
	.vcpu_set_state = kvm_vcpu_set_state,
	.vcpu_settled = kvm_vcpu_settled,
	.vcpu_debug = kvm_vcpu_debug,
	.vcpu_translate = kvm_vcpu_translate,
	.msi = kvm_msi,
	.set_routes = kvm_set_routes,
	.add_irqfd = kvm_add_irqfd,
	.remove_irqfd = kvm_remove_irqfd,
	.add_doorbell = kvm_add_doorbell,
	.remove_doorbell = kvm_remove_doorbell,
	.slots_changed = kvm_slots_changed,
	.clock_changed = kvm_clock_changed,
	.dirty_log_start = kvm_dirty_log_start,
	.dirty_log_sync = kvm_dirty_log_sync,
};

static int open_kvm(struct kvm_engine *e, struct error *err)
{
	/* Without these nothing goes: each has been in Linux since 4.12 or longer. */
	static const struct {
		int cap;
		const char *name;
	} needed[] = {
		{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" }, { KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP" },
		{ KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI" },	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
		{ KVM_CAP_XSAVE, "KVM_CAP_XSAVE" },		{ KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS" },
		{ KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS" },
		{ KVM_CAP_X2APIC_API, "KVM_CAP_X2APIC_API" },	{ KVM_CAP_TSC_DEADLINE_TIMER, "KVM_CAP_TSC_DEADLINE_TIMER" },
		{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE" },	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH" },
	};
	int r;

	e->sys = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (e->sys < 0)
		return error_set(err, -errno, STATUS_HOST, "cannot open /dev/kvm", "%s", "%s", strerror(errno),
				 errno == ENOENT ? "load the module kvm_intel or kvm_amd, or use --engine soft" :
				 errno == EACCES ? "join the group that owns /dev/kvm, or use --engine soft" :
						   "use --engine soft");
	r = kvm_ioctl(e->sys, KVM_GET_API_VERSION, NULL);
	if (r != KVM_API_VERSION)
		return error_set(err, -ENOTSUP, STATUS_HOST, "cannot use /dev/kvm", "it speaks version %d of its interface, not %d",
				 "use --engine soft", r, KVM_API_VERSION);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (!check(e->sys, (unsigned long)needed[i].cap))
			return error_set(err, -ENOTSUP, STATUS_HOST, "cannot use this host's KVM", "it lacks %s",
					 "use a host with a newer kernel, or --engine soft", needed[i].name);
	r = kvm_ioctl(e->sys, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (r < (int)sizeof(struct kvm_run))
		return error_set(err, -EIO, STATUS_HOST, "cannot use this host's KVM", "its run area has %d bytes",
				 "use --engine soft", r);
	e->kr_len = (size_t)r;
	do
		e->vm = ioctl(e->sys, KVM_CREATE_VM, 0);
	while (e->vm < 0 && errno == EINTR);
	if (e->vm < 0)
		return error_set(err, -errno, STATUS_HOST, "cannot make a VM with KVM", "%s",
				 errno == EBUSY ? "another hypervisor has the processor: stop it, or use --engine soft" :
						  "use --engine soft", strerror(errno));
	return 0;
}

/* CPUID leaf 1 ECX bit 5: VMCALL goes with it. */
static bool has_vmx(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(1, &a, &b, &c, &d) && (c >> 5 & 1);
}

static int enable_caps(struct kvm_engine *e)
{
	const uint64_t quirks = KVM_X86_QUIRK_LINT0_REENABLED | KVM_X86_QUIRK_CD_NW_CLEARED | KVM_X86_QUIRK_LAPIC_MMIO_HOLE |
				KVM_X86_QUIRK_OUT_7E_INC_RIP | KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT | KVM_X86_QUIRK_FIX_HYPERCALL_INSN |
				KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS;
	uint64_t identity = IDENTITY_MAP_ADDR;
	struct kvm_caps *c = &e->caps;
	int known, r;

	if (check(e->vm, KVM_CAP_SET_IDENTITY_MAP_ADDR))
		kvm_ioctl(e->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (check(e->vm, KVM_CAP_SET_TSS_ADDR))
		ioctl(e->vm, KVM_SET_TSS_ADDR, (unsigned long)TSS_ADDR);
	r = enable(e, KVM_CAP_SPLIT_IRQCHIP, KVM_ROUTES_MAX);
	if (!r)
		r = enable(e, KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS);
	if (r)
		return r;
	c->vmcall = has_vmx();
	c->sregs2 = check(e->vm, KVM_CAP_SREGS2);
	c->xcrs = check(e->vm, KVM_CAP_XCRS);
	c->irqfd = check(e->vm, KVM_CAP_IRQFD);
	c->readonly_mem = check(e->vm, KVM_CAP_READONLY_MEM);
	c->tsc_offset = check(e->vm, KVM_CAP_VCPU_ATTRIBUTES);
	c->smm = check(e->vm, KVM_CAP_X86_SMM);
	c->user_msr = check(e->vm, KVM_CAP_X86_USER_SPACE_MSR) &&
		      !enable(e, KVM_CAP_X86_USER_SPACE_MSR,
			      KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER);
	c->msr_filter = check(e->vm, KVM_CAP_X86_MSR_FILTER);
	if (check(e->vm, SUBRING_KVM_CAP_X86_APIC_BUS_CYCLES_NS))
		enable(e, SUBRING_KVM_CAP_X86_APIC_BUS_CYCLES_NS, 1000000000 / CPU_CRYSTAL_HZ);
	known = check(e->vm, KVM_CAP_DISABLE_QUIRKS2);
	if (known)
		enable(e, KVM_CAP_DISABLE_QUIRKS2, quirks & (unsigned)known);
	else if (check(e->vm, KVM_CAP_DISABLE_QUIRKS))
		enable(e, KVM_CAP_DISABLE_QUIRKS, KVM_X86_QUIRK_LINT0_REENABLED | KVM_X86_QUIRK_CD_NW_CLEARED);
	if (check(e->vm, KVM_CAP_PMU_CAPABILITY))
		enable(e, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE);
	/* What CPUID does not announce does not exist: its MSRs, its hypercalls. */
	if (check(e->vm, KVM_CAP_ENFORCE_PV_FEATURE_CPUID))
		enable(e, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1);
	if (check(e->vm, KVM_CAP_EXIT_ON_EMULATION_FAILURE))
		enable(e, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1);
	return 0;
}

static int make_vcpu(struct kvm_engine *e, unsigned index)
{
	struct kvm_vcpu *v = &e->vcpu[index];
	int r;

	v->base = (struct engine_vcpu){ .engine = &e->base, .index = index,
					.run = (struct run_page *)((char *)e->run + (size_t)index * RUN_PAGE) };
	v->engine = e;
	v->fd = -1;
	r = kvm_vcpu_init(v);
	if (r)
		return r;
	e->base.vcpu[index] = &v->base;
	e->base.vcpu_count = index + 1;
	v->fd = ioctl(e->vm, KVM_CREATE_VCPU, (unsigned long)index);
	if (v->fd < 0)
		return -errno;
	v->kr = mmap(NULL, e->kr_len, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->kr == MAP_FAILED) {
		v->kr = NULL;
		return -errno;
	}
	return 0;
}

static int reset_vcpu(struct kvm_vcpu *v)
{
	struct vcpu_state s;

	kvm_reset_state(v, &s);
	return kvm_vcpu_set_state(&v->base, &s);
}

static int make(struct kvm_engine *e, const struct engine_config *config, bool lenient, struct error *err)
{
	int r = open_kvm(e, err);
	const char *doing = "its interrupt controller";

	if (r)
		return r;
	e->run_len = (size_t)config->vcpus * RUN_PAGE;
	e->run = mmap(NULL, e->run_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (e->run == MAP_FAILED) {
		e->run = NULL;
		return error_set(err, -ENOMEM, STATUS_HOST, "cannot create the virtual CPUs", "%s", "free some memory",
				 strerror(ENOMEM));
	}
	r = enable_caps(e);
	if (!r) {
		doing = "its virtual CPUs";
		for (unsigned i = 0; i < config->vcpus && !r; i++)
			r = make_vcpu(e, i);
	}
	if (!r) {
		r = kvm_cpuid_init(e, lenient, err);
		if (r)
			return r;
		doing = "its model-specific registers";
		r = kvm_msr_init(e);
	}
	if (!r) {
		doing = "its memory";
		r = kvm_slots_changed(&e->base);
	}
	for (unsigned i = 0; i < config->vcpus && !r; i++) {
		doing = "the state of its virtual CPUs";
		r = reset_vcpu(&e->vcpu[i]);
	}
	if (r)
		return error_set(err, r, STATUS_HOST, "cannot make a VM with KVM", "%s: %s", "use --engine soft", doing, strerror(-r));
	return 0;
}

/* Reads "features=host" and the like. */
static int options_parse(const char *text, bool *lenient, struct error *err)
{
	*lenient = false;
	while (*text) {
		size_t n = strcspn(text, ",");

		if (n == strlen("features=host") && !strncmp(text, "features=host", n))
			*lenient = true;
		else if (n == strlen("features=all") && !strncmp(text, "features=all", n))
			*lenient = false;
		else
			return error_set(err, -EINVAL, STATUS_USAGE, "cannot understand the options of engine kvm",
					 "\"%.*s\" is none of them", "use features=all or features=host", (int)n, text);
		text += n;
		text += *text == ',';
	}
	return 0;
}

int kvm_create(const struct engine_config *config, struct engine **out, struct error *err)
{
	struct kvm_engine *e;
	bool lenient;
	int r = options_parse(config->options ? config->options : "", &lenient, err);

	if (r)
		return r;
	e = calloc(1, sizeof(*e));
	if (!e)
		return error_set(err, -ENOMEM, STATUS_HOST, "cannot make a VM with KVM", "%s", "free some memory", strerror(ENOMEM));
	e->base.ops = &kvm_ops;
	e->base.clock = config->clock;
	e->sys = e->vm = -1;
	e->ram = config->ram;
	e->own_model = config->model ? *config->model : *cpu_model_find(NULL);
	e->model = &e->own_model;
	e->kick_signal = SIGRTMIN;
	e->frozen = !config->clock->running;
	pthread_rwlock_init(&e->apic_lock, NULL);
	pthread_mutex_init(&e->doorbell_lock, NULL);
	pthread_mutex_init(&e->route_lock, NULL);
	r = make(e, config, lenient, err);
	if (r) {
		kvm_destroy(&e->base);
		return r;
	}
	*out = &e->base;
	return 0;
}
