// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The words of --net and --publish, and MAC addresses made from names.
 *
 * A value of --net is a kind, perhaps with "=VALUE", and then words or WORD=VALUE, separated by commas. One table
 * says which word belongs to which kinds; a word that does not, is refused, and so is one that comes twice.
 */
#include "net/net_private.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct kind {
	const char *name;
	enum net_kind kind;
	enum { VALUE_NONE, VALUE_OPTIONAL, VALUE_NEEDED } value;
	const char *form;
} kinds[] = {
	{ "none", NET_NONE, VALUE_NONE, "none" },
	{ "user", NET_USER, VALUE_NONE, "user" },
	{ "tap", NET_TAP, VALUE_OPTIONAL, "tap or tap=NAME" },
	{ "switch", NET_SWITCH, VALUE_NEEDED, "switch=NAME" },
};

#define KIND(k) (1u << NET_##k)
#define ANY (KIND(NONE) | KIND(USER) | KIND(TAP) | KIND(SWITCH))

struct word {
	const char *name;
	unsigned kinds;
	bool value;
	/* NULL, or what is wrong with @value. */
	const char *(*set)(struct net_config *c, const char *value);
};

/* Names that stand in a file name and in messages as they are. */
static bool plain_name(const char *s, size_t max)
{
	if (!*s || strlen(s) > max || *s == '.' || *s == '-')
		return false;
	for (; *s; s++) {
		if (!isalnum((unsigned char)*s) && !strchr("._-", *s))
			return false;
	}
	return true;
}

static const char *copy_interface(char *to, const char *value)
{
	if (!plain_name(value, IFNAMSIZ - 1))
		return "a network interface's name is 1 to 15 letters, digits, '.', '_' and '-'";
	snprintf(to, IFNAMSIZ, "%s", value);
	return NULL;
}

static const char *set_mac(struct net_config *c, const char *value)
{
	return net_mac_parse(value, c->mac) ? NULL : "a MAC address is six hexadecimal bytes with ':' between, the first of them even";
}

static const char *set_pcap(struct net_config *c, const char *value)
{
	if (!*value || strlen(value) >= sizeof(c->pcap))
		return "that is no file's name";
	snprintf(c->pcap, sizeof(c->pcap), "%s", value);
	return NULL;
}

static const char *set_bridge(struct net_config *c, const char *value)
{
	return copy_interface(c->bridge, value);
}

static const char *set_uplink(struct net_config *c, const char *value)
{
	char name[IFNAMSIZ];
	const char *wrong = NULL;

	if (strncmp(value, "tap:", 4) == 0)
		wrong = copy_interface(name, value + 4);
	else if (strcmp(value, "user") != 0 && strcmp(value, "tap") != 0)
		wrong = "an uplink is user, tap or tap:NAME";
	if (!wrong)
		snprintf(c->uplink, sizeof(c->uplink), "%s", value);
	return wrong;
}

static const char *set_restricted(struct net_config *c, const char *value)
{
	c->restricted = true;
	return NULL;
}

static const char *set_no_loopback(struct net_config *c, const char *value)
{
	c->no_loopback = true;
	return NULL;
}

static const char *set_isolated(struct net_config *c, const char *value)
{
	c->isolated = true;
	return NULL;
}

static const char *set_promiscuous(struct net_config *c, const char *value)
{
	c->promiscuous = true;
	return NULL;
}

static const struct word words[] = {
	{ "mac", ANY, true, set_mac },
	{ "pcap", ANY, true, set_pcap },
	{ "restrict", KIND(USER), false, set_restricted },
	{ "no-loopback", KIND(USER), false, set_no_loopback },
	{ "bridge", KIND(TAP), true, set_bridge },
	{ "uplink", KIND(SWITCH), true, set_uplink },
	{ "isolated", KIND(SWITCH), false, set_isolated },
	{ "promiscuous", KIND(SWITCH), false, set_promiscuous },
};

enum { WORDS = sizeof(words) / sizeof(words[0]), KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static int refuse(struct error *err, const char *text, const char *why, const char *fix)
{
	return error_set(err, -EINVAL, STATUS_USAGE, "cannot use '%.100s' for --net", "%s", "%s", text, why, fix);
}

static int set_kind(struct net_config *c, const char *text, const char *name, const char *value, struct error *err)
{
	char why[128];

	for (const struct kind *k = kinds; k < kinds + KINDS; k++) {
		if (strcmp(k->name, name) != 0)
			continue;
		c->kind = k->kind;
		if (value ? k->value == VALUE_NONE : k->value == VALUE_NEEDED) {
			snprintf(why, sizeof(why), "%s %s", k->name, value ? "takes no value" : "needs a name");
			return refuse(err, text, why, k->form);
		}
		if (!value)
			return 0;
		if (k->kind == NET_SWITCH && !plain_name(value, NET_NAME_MAX))
			return refuse(err, text, "a switch's name is 1 to 32 letters, digits, '.', '_' and '-'",
				      "write a name such as switch=office");
		if (k->kind == NET_TAP && copy_interface(c->name, value))
			return refuse(err, text, copy_interface(c->name, value), "write a name such as tap=vm0");
		snprintf(c->name, sizeof(c->name), "%s", value);
		return 0;
	}
	snprintf(why, sizeof(why), "there is no network of the kind '%.40s'", name);
	return refuse(err, text, why, "write user, tap[=NAME], switch=NAME or none");
}

static int set_word(struct net_config *c, unsigned *seen, const char *text, const char *name, const char *value,
		    struct error *err)
{
	char why[160], fix[160];
	const char *wrong;

	for (unsigned i = 0; i < WORDS; i++) {
		const struct word *w = &words[i];

		if (strcmp(w->name, name) != 0 || !(w->kinds & 1u << c->kind))
			continue;
		snprintf(fix, sizeof(fix), "write %s%s, once", w->name, w->value ? "=VALUE" : "");
		if (*seen & 1u << i)
			return refuse(err, text, "it has the same word twice", fix);
		*seen |= 1u << i;
		if (w->value != (value != NULL)) {
			snprintf(why, sizeof(why), "%s %s", w->name, value ? "takes no value" : "needs a value");
			return refuse(err, text, why, fix);
		}
		wrong = w->set(c, value);
		return wrong ? refuse(err, text, wrong, fix) : 0;
	}
	snprintf(why, sizeof(why), "'%.40s' is no word for a network of this kind", name);
	snprintf(fix, sizeof(fix), "its words are");
	for (unsigned i = 0; i < WORDS; i++) {
		size_t n = strlen(fix);

		if (words[i].kinds & 1u << c->kind)
			snprintf(fix + n, sizeof(fix) - n, " %s%s", words[i].name, words[i].value ? "=" : "");
	}
	return refuse(err, text, why, fix);
}

int net_config_parse(const char *text, struct net_config *c, struct error *err)
{
	char copy[sizeof(c->pcap) + 512], vm[sizeof(c->vm)], *at = copy;
	unsigned seen = 0;
	int ret = 0;

	memcpy(vm, c->vm, sizeof(vm));
	memset(c, 0, sizeof(*c));
	memcpy(c->vm, vm, sizeof(vm));
	if (strlen(text) >= sizeof(copy))
		return refuse(err, "...", "it is too long", "write user, tap[=NAME], switch=NAME or none");
	snprintf(copy, sizeof(copy), "%s", text);
	for (bool first = true; at && !ret; first = false) {
		char *word = at, *comma = strchr(at, ','), *value;

		at = comma ? comma + 1 : NULL;
		if (comma)
			*comma = 0;
		value = strchr(word, '=');
		if (value)
			*value++ = 0;
		ret = first ? set_kind(c, text, word, value, err) : set_word(c, &seen, text, word, value, err);
	}
	return ret;
}

/* --- publishing --- */

static bool parse_port(const char *s, uint16_t *port)
{
	unsigned long v;
	char *end;

	if (!isdigit((unsigned char)*s) || strlen(s) > 5)
		return false;
	v = strtoul(s, &end, 10);
	*port = (uint16_t)v;
	return !*end && v >= 1 && v <= 65535;
}

/* Takes [ADDR:]HOST:GUEST apart in place. NULL, or what is wrong. */
static const char *split_publish(char *s, struct net_publish *to)
{
	char *guest = strrchr(s, ':'), *host, *slash = strrchr(s, '/');

	if (slash) {
		if (strcmp(slash, "/udp") != 0 && strcmp(slash, "/tcp") != 0)
			return "the protocol behind '/' is tcp or udp";
		to->udp = slash[1] == 'u';
		*slash = 0;
	}
	if (!guest)
		return "it has no ':' between the host's port and the guest's";
	*guest++ = 0;
	host = strrchr(s, ':');
	if (host) {
		*host++ = 0;
		if (*s == '[' && host - s >= 3 && host[-2] == ']') {
			host[-2] = 0;
			to->v6 = true;
			if (inet_pton(AF_INET6, s + 1, to->addr) != 1)
				return "what is in brackets is no IPv6 address";
		} else if (inet_pton(AF_INET, s, to->addr) != 1) {
			return "the host's address is neither an IPv4 address nor an IPv6 address in brackets";
		}
	} else {
		host = s;
		inet_pton(AF_INET, "127.0.0.1", to->addr);
	}
	if (!parse_port(host, &to->host) || !parse_port(guest, &to->guest))
		return "a port is a number from 1 to 65535";
	return NULL;
}

int net_publish_parse(const char *text, struct net_config *c, struct error *err)
{
	struct net_publish p = { .udp = false };
	const char *wrong;
	char copy[128];

	if (c->publishes >= NET_PUBLISH_MAX)
		wrong = "there are 32 already";
	else if (strlen(text) >= sizeof(copy))
		wrong = "it is too long";
	else
		wrong = split_publish(strcpy(copy, text), &p);
	if (wrong)
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot use '%.100s' for --publish", "%s",
				 "write [ADDRESS:]HOSTPORT:GUESTPORT[/udp], such as 8080:80", text, wrong);
	c->publish[c->publishes++] = p;
	return 0;
}

/* --- addresses --- */

/* FNV-1a over the bytes, and MurmurHash3's finalizer, so that every bit of the address depends on every byte. */
void net_mac_of(const char *vm, unsigned index, uint8_t mac[NET_MAC_BYTES])
{
	uint64_t h = 0xcbf29ce484222325u;

	for (const unsigned char *s = (const unsigned char *)vm; *s; s++)
		h = (h ^ *s) * 0x100000001b3u;
	h = (h ^ 0xff ^ index) * 0x100000001b3u;
	h = (h ^ h >> 33) * 0xff51afd7ed558ccdu;
	h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53u;
	h ^= h >> 33;
	for (unsigned i = 0; i < NET_MAC_BYTES; i++)
		mac[i] = (uint8_t)(h >> 8 * i);
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
}

bool net_mac_parse(const char *text, uint8_t mac[NET_MAC_BYTES])
{
	uint8_t m[NET_MAC_BYTES];

	for (unsigned i = 0; i < NET_MAC_BYTES; i++, text += 3) {
		static const char hex[] = "0123456789abcdef";
		const char *high, *low;

		if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]) ||
		    text[2] != (i < NET_MAC_BYTES - 1 ? ':' : 0))
			return false;
		high = strchr(hex, tolower((unsigned char)text[0]));
		low = strchr(hex, tolower((unsigned char)text[1]));
		m[i] = (uint8_t)((high - hex) << 4 | (low - hex));
	}
	/* A group's address, or none. */
	if (m[0] & 1 || !(m[0] | m[1] | m[2] | m[3] | m[4] | m[5]))
		return false;
	memcpy(mac, m, sizeof(m));
	return true;
}
