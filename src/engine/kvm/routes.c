// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * KVM's GSI routing (KVM_SET_GSI_ROUTING, KVM_IRQFD in Linux's Documentation/virt/kvm/api.rst): the routes of set_routes,
 * for KVM to know whose EOIs leave, and eventfds that raise MSIs without the monitor.
 *
 * GSIs below KVM_ROUTES_MAX are those that KVM takes for an I/O APIC's pins, and looks at for level-triggered vectors; an
 * eventfd's is KVM_ROUTES_MAX + its place in the table.
 *
 * Invariants: `route` and `irqfd` are what KVM has. An eventfd that is known here is listened to by KVM, except
 * between kvm_irqfds_stop and kvm_irqfds_listen: it counts meanwhile, and its MSI comes at the end.
 */
#include "engine/kvm/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct kvm_irq_routing_entry entry(unsigned gsi, const struct engine_msi *msi)
{
	struct kvm_irq_routing_entry k = { .gsi = gsi, .type = KVM_IRQ_ROUTING_MSI };

	k.u.msi = (struct kvm_irq_routing_msi){ .address_lo = (uint32_t)msi->address, .address_hi = (uint32_t)(msi->address >> 32),
						.data = msi->data };
	return k;
}

/* Tells KVM the routes @level, and the eventfds'. Under route_lock. */
static int tell(struct kvm_engine *e, const struct engine_msi *level, unsigned n)
{
	struct kvm_irq_routing *k = calloc(1, sizeof(*k) + (KVM_ROUTES_MAX + KVM_IRQFDS_MAX) * sizeof(k->entries[0]));
	int r;

	if (!k)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		k->entries[k->nr++] = entry(i, &level[i]);
	for (unsigned i = 0; i < KVM_IRQFDS_MAX; i++)
		if (e->irqfd[i].used)
			k->entries[k->nr++] = entry(KVM_ROUTES_MAX + i, &e->irqfd[i].msi);
	r = kvm_ioctl(e->vm, KVM_SET_GSI_ROUTING, k);
	free(k);
	return r;
}

int kvm_set_routes(struct engine *base, const struct engine_msi *route, unsigned count)
{
	struct kvm_engine *e = kvm_engine_of(base);
	struct engine_msi level[KVM_ROUTES_MAX];
	unsigned n = 0;
	int r = 0;

	/* Only level-triggered ones have EOIs that matter; most changes are to others, and a change is slow. */
	for (unsigned i = 0; i < count && n < KVM_ROUTES_MAX; i++) {
		if (!(route[i].data & ENGINE_MSI_LEVEL))
			continue;
		memset(&level[n], 0, sizeof(level[n])); /* compared with its padding */
		level[n].address = route[i].address;
		level[n++].data = route[i].data;
	}
	pthread_mutex_lock(&e->route_lock);
	if (n != e->routes || memcmp(level, e->route, n * sizeof(level[0])))
		r = tell(e, level, n);
	if (!r) {
		memcpy(e->route, level, n * sizeof(level[0]));
		e->routes = n;
	}
	pthread_mutex_unlock(&e->route_lock);
	return r;
}

/* --- eventfds --- */

static int listen_to(struct kvm_engine *e, unsigned i, bool on)
{
	struct kvm_irqfd k = { .fd = (uint32_t)e->irqfd[i].fd, .gsi = KVM_ROUTES_MAX + i,
			       .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN };

	return kvm_ioctl(e->vm, KVM_IRQFD, &k);
}

/* The place of the caller's @fd; KVM_IRQFDS_MAX: it has none. *@room is a free place, or KVM_IRQFDS_MAX. */
static unsigned find(const struct kvm_engine *e, int fd, unsigned *room)
{
	*room = KVM_IRQFDS_MAX;
	for (unsigned i = 0; i < KVM_IRQFDS_MAX; i++) {
		if (e->irqfd[i].used && e->irqfd[i].caller_fd == fd)
			return i;
		if (!e->irqfd[i].used && *room == KVM_IRQFDS_MAX)
			*room = i;
	}
	return KVM_IRQFDS_MAX;
}

static int change(struct kvm_engine *e, unsigned i, const struct engine_msi *msi)
{
	struct engine_msi before = e->irqfd[i].msi;
	int r;

	e->irqfd[i].msi = *msi;
	r = tell(e, e->route, e->routes);
	if (r)
		e->irqfd[i].msi = before;
	return r;
}

static int add(struct kvm_engine *e, unsigned i, const struct engine_irqfd *irqfd)
{
	int fd = fcntl(irqfd->fd, F_DUPFD_CLOEXEC, 0), r;

	if (fd < 0)
		return -errno;
	e->irqfd[i] = (struct kvm_irqfd_place){ .used = true, .caller_fd = irqfd->fd, .fd = fd, .msi = irqfd->msi };
	r = tell(e, e->route, e->routes);
	if (!r) {
		r = listen_to(e, i, true);
		if (r) {
			e->irqfd[i].used = false;
			tell(e, e->route, e->routes);
		}
	}
	if (r) {
		e->irqfd[i].used = false;
		close(fd);
	}
	return r == -EBUSY ? -EEXIST : r; /* the same eventfd under another number */
}

int kvm_add_irqfd(struct engine *base, const struct engine_irqfd *irqfd)
{
	struct kvm_engine *e = kvm_engine_of(base);
	unsigned i, room;
	int r;

	if (!e->caps.irqfd)
		return -ENOTSUP;
	if (irqfd->msi.data & ENGINE_MSI_LEVEL)
		return -EINVAL;
	/* Not while timers are taken out of KVM and put back: nobody may listen then. */
	pthread_rwlock_rdlock(&e->apic_lock);
	pthread_mutex_lock(&e->route_lock);
	i = find(e, irqfd->fd, &room);
	if (i < KVM_IRQFDS_MAX)
		r = change(e, i, &irqfd->msi);
	else
		r = room < KVM_IRQFDS_MAX ? add(e, room, irqfd) : -ENOSPC;
	pthread_mutex_unlock(&e->route_lock);
	pthread_rwlock_unlock(&e->apic_lock);
	return r;
}

int kvm_remove_irqfd(struct engine *base, int fd)
{
	struct kvm_engine *e = kvm_engine_of(base);
	unsigned i, room;
	int r = -ENOENT;

	pthread_rwlock_rdlock(&e->apic_lock);
	pthread_mutex_lock(&e->route_lock);
	i = find(e, fd, &room);
	if (i < KVM_IRQFDS_MAX) {
		r = listen_to(e, i, false);
		close(e->irqfd[i].fd);
		e->irqfd[i].used = false;
		if (!r)
			r = tell(e, e->route, e->routes);
	}
	pthread_mutex_unlock(&e->route_lock);
	pthread_rwlock_unlock(&e->apic_lock);
	return r;
}

static int all(struct kvm_engine *e, bool on)
{
	int r = 0;

	pthread_mutex_lock(&e->route_lock);
	for (unsigned i = 0; i < KVM_IRQFDS_MAX; i++) {
		int one = e->irqfd[i].used ? listen_to(e, i, on) : 0;

		if (!r)
			r = one;
	}
	pthread_mutex_unlock(&e->route_lock);
	return r;
}

int kvm_irqfds_stop(struct kvm_engine *e)
{
	return all(e, false);
}

int kvm_irqfds_listen(struct kvm_engine *e)
{
	return all(e, true);
}

void kvm_irqfds_finish(struct kvm_engine *e)
{
	for (unsigned i = 0; i < KVM_IRQFDS_MAX; i++)
		if (e->irqfd[i].used)
			close(e->irqfd[i].fd);
}
