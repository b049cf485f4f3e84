// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See cards.h. A card is a transport (virtio/pci.h), a device and its model, and an I/O thread.
 *
 * Interrupts. MSI-X goes from the I/O thread to the engine. A pin belongs to the board, whose lock an I/O thread does not wait for: it takes the lock
 * if nobody has it, and asks for cards_lines otherwise.
 */
#include "machine/cards.h"

#include "host/io_thread.h"
#include "virtio/blk.h"
#include "virtio/net.h"
#include "virtio/pci.h"
#include "virtio/rng.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CARDS_MAX = PCI_SLOTS - 1 };

struct card {
	struct cards *cards;
	struct virtio_pci pci;
	struct virtio_device *dev;
	struct io_thread *io;
	void *model;
	const struct chip_ops *model_ops; /* or NULL: it has no state of its own */
	void (*destroy)(void *model);	  /* the I/O thread has ended */
	struct disk *disk;		  /* or NULL */
	struct net_port *port;		  /* or NULL */
	unsigned slot;
};

struct cards {
	struct card_wires wires;
	struct card *card[CARDS_MAX];
	unsigned count;
};

/* --- wires --- */

static void card_msi(void *opaque, uint64_t address, uint32_t data)
{
	const struct card_wires *w = &((struct card *)opaque)->cards->wires;

	w->msi(w->opaque, &(struct engine_msi){ .address = address, .data = data });
}

static void card_line(void *opaque)
{
	struct card *card = opaque;
	const struct card_wires *w = &card->cards->wires;

	if (pthread_mutex_trylock(w->lock)) {
		w->lines_later(w->opaque);
		return;
	}
	virtio_pci_update_line(&card->pci);
	pthread_mutex_unlock(w->lock);
}

static int card_doorbell(void *opaque, const struct virtio_doorbell *doorbell, bool add)
{
	const struct card_wires *w = &((struct card *)opaque)->cards->wires;
	struct engine_doorbell d = { .address = doorbell->address, .fd = doorbell->fd };

	if (doorbell->match) {
		d.len = 4;
		d.match = true;
		d.value = doorbell->value;
	}
	return w->doorbell(w->opaque, &d, add);
}

/* --- making --- */

static void card_free(struct card *card)
{
	if (card->dev) {
		pthread_mutex_lock(card->cards->wires.lock);
		virtio_pci_destroy(&card->pci);
		pthread_mutex_unlock(card->cards->wires.lock);
	}
	if (card->model)
		card->destroy(card->model);
	disk_close(card->disk);
	net_close(card->port);
	io_thread_destroy(card->io);
	free(card);
}

/* A card with a thread called @name; the caller gives it a model, then card_plug. NULL: no memory, no descriptors. */
static struct card *card_new(struct cards *cards, const char *name, unsigned slot)
{
	struct card *card = calloc(1, sizeof(*card));

	if (!card)
		return NULL;
	card->cards = cards;
	card->slot = slot;
	if (io_thread_create(name, &card->io)) {
		free(card);
		return NULL;
	}
	return card;
}

static int card_plug(struct card *card, struct pci *pci, struct virtio_device *dev)
{
	const struct virtio_wires wires = { .msi = card_msi, .line = card_line,
					    .doorbell = card->cards->wires.doorbell ? card_doorbell : NULL, .opaque = card };
	int ret = virtio_pci_init(&card->pci, dev, &wires);

	if (ret)
		return ret;
	card->dev = dev;
	ret = pci_add(pci, &card->pci.pci, card->slot);
	if (!ret)
		card->cards->card[card->cards->count++] = card;
	return ret;
}

static int no_room(struct error *err, int ret, const char *what)
{
	return error_set(err, ret, STATUS_HOST, "cannot make the %s", "%s",
			 "end other programs, or raise the limit of open files (ulimit -n)", what, strerror(-ret));
}

static void destroy_rng(void *model)
{
	virtio_rng_destroy(model);
}

static int add_rng(struct cards *cards, const struct cards_config *config, struct pci *pci, struct error *err)
{
	struct card *card = card_new(cards, "rng", CARD_SLOT_RNG);
	struct virtio_rng *rng;
	int ret = card ? virtio_rng_create(config->ram, io_thread_loop(card->io), &rng) : -ENOMEM;

	if (!ret) {
		card->model = rng;
		card->destroy = destroy_rng;
		ret = card_plug(card, pci, &rng->dev);
	}
	if (!ret)
		return 0;
	if (card)
		card_free(card);
	return no_room(err, ret, "entropy device");
}

static void destroy_blk(void *model)
{
	virtio_blk_destroy(model);
}

static int add_disk(struct cards *cards, const struct cards_config *config, unsigned n, struct pci *pci, struct error *err)
{
	const struct card_disk *of = &config->disk[n];
	struct virtio_blk *blk;
	struct card *card;
	char name[16];
	int ret;

	snprintf(name, sizeof(name), "disk%u", n);
	card = card_new(cards, name, CARD_SLOT_DISK + n);
	if (!card)
		return no_room(err, -ENOMEM, "disk");
	ret = disk_open(&of->disk, io_thread_loop(card->io), &card->disk, err);
	if (ret) {
		card_free(card);
		return ret;
	}
	ret = virtio_blk_create(config->ram, io_thread_loop(card->io), card->disk, of->serial, config->cpus < 4 ? config->cpus : 4, &blk);
	if (!ret) {
		card->model = blk;
		card->model_ops = &virtio_blk_ops;
		card->destroy = destroy_blk;
		ret = card_plug(card, pci, virtio_blk_device(blk));
	}
	if (!ret)
		return 0;
	card_free(card);
	return no_room(err, ret, "disk");
}

static void destroy_net(void *model)
{
	virtio_net_destroy(model);
}

static int add_net(struct cards *cards, const struct cards_config *config, unsigned n, struct pci *pci, struct error *err)
{
	const struct net_config *of = &config->net[n];
	struct virtio_net *net;
	struct card *card;
	char name[16];
	int ret;

	snprintf(name, sizeof(name), "net%u", n);
	card = card_new(cards, name, CARD_SLOT_NET + n);
	if (!card)
		return no_room(err, -ENOMEM, "network device");
	ret = virtio_net_create(config->ram, io_thread_loop(card->io), of->mac, 1, &net);
	if (ret) {
		card_free(card);
		return no_room(err, ret, "network device");
	}
	card->model = net;
	card->model_ops = &virtio_net_ops;
	card->destroy = destroy_net;
	ret = net_open(of, io_thread_loop(card->io), &virtio_net_port_ops, net, &card->port, err);
	if (ret) {
		card_free(card);
		return ret;
	}
	virtio_net_plug(net, card->port);
	ret = card_plug(card, pci, virtio_net_device(net));
	if (!ret)
		return 0;
	card_free(card);
	return no_room(err, ret, "network device");
}

int cards_create(const struct cards_config *config, struct pci *pci, struct cards **out, struct error *err)
{
	struct cards *cards = calloc(1, sizeof(*cards));
	int ret = 0;

	if (!cards)
		return no_room(err, -ENOMEM, "cards");
	cards->wires = config->wires;
	if (config->rng)
		ret = add_rng(cards, config, pci, err);
	for (unsigned i = 0; i < config->nets && !ret; i++)
		ret = add_net(cards, config, i, pci, err);
	for (unsigned i = 0; i < config->disks && !ret; i++)
		ret = add_disk(cards, config, i, pci, err);
	if (ret) {
		cards_destroy(cards);
		return ret;
	}
	*out = cards;
	return 0;
}

int cards_start(struct cards *cards, struct error *err)
{
	for (unsigned i = 0; i < cards->count; i++) {
		int ret = io_thread_start(cards->card[i]->io);

		if (ret)
			return error_set(err, ret, STATUS_HOST, "cannot start an I/O thread", "%s",
					 "end other programs, or raise the limit of threads (ulimit -u)", strerror(-ret));
	}
	return 0;
}

void cards_destroy(struct cards *cards)
{
	if (!cards)
		return;
	/* What the guest has asked for is done. */
	cards_pause(cards);
	for (unsigned i = 0; i < cards->count; i++)
		io_thread_stop(cards->card[i]->io);
	for (unsigned i = 0; i < cards->count; i++)
		card_free(cards->card[i]);
	free(cards);
}

/* --- running --- */

void cards_parts(struct cards *cards, void (*part)(void *opaque, const struct chip_ops *ops, void *chip, uint32_t instance), void *opaque)
{
	for (unsigned i = 0; i < cards->count; i++) {
		struct card *card = cards->card[i];

		part(opaque, &pci_device_ops, &card->pci.pci, card->slot);
		part(opaque, &virtio_pci_ops, &card->pci, card->slot);
		part(opaque, &virtio_device_ops, card->dev, card->slot);
		if (card->model_ops)
			part(opaque, card->model_ops, card->model, card->slot);
	}
}

void cards_pause(struct cards *cards)
{
	for (unsigned i = 0; i < cards->count; i++)
		virtio_pause(cards->card[i]->dev);
}

void cards_resume(struct cards *cards)
{
	for (unsigned i = 0; i < cards->count; i++)
		virtio_resume(cards->card[i]->dev);
}

void cards_lines(struct cards *cards)
{
	for (unsigned i = 0; i < cards->count; i++)
		virtio_pci_update_line(&cards->card[i]->pci);
}
