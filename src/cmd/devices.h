// SPDX-License-Identifier: GPL-2.0-or-later
/* From --disk, --net and --publish to descriptions of cards. */
#ifndef SUBRING_CMD_DEVICES_H
#define SUBRING_CMD_DEVICES_H

#include "cmd/cmd.h"
#include "machine/cards.h"

struct devices {
	struct card_disk disk[CARD_DISKS_MAX];
	unsigned disks;
	struct net_config net[CARD_NETS_MAX];
	unsigned nets;
	char *text; /* copies that the disks' strings lie in */
};

/* @vm: the VM's name, from which addresses are made. 0, or -EINVAL, -ENOMEM with @err. devices_free in any case. */
int devices_parse(const struct option_list *disk, const struct option_list *net, const struct option_list *publish, const char *vm,
		  struct devices *d, struct error *err);
void devices_free(struct devices *d);

#endif
