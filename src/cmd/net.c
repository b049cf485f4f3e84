// SPDX-License-Identifier: GPL-2.0-or-later
/* subring net ls, show NAME, capture NAME: the switches between this user's VMs. */
#include "cmd/cmd.h"
#include "net/switch.h"

#include <errno.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct net_options {
	bool json;
	const char *pcap;
};

static const struct option_spec net_table[] = {
	{ "json", NULL, "ls, show: print JSON instead of a table", OPTION_FLAG, offsetof(struct net_options, json), 0, 0 },
	{ "pcap", "FILE", "capture: the file that the frames are written to", OPTION_STRING, offsetof(struct net_options, pcap),
	  0, 0 },
	{ 0 },
};

static const char *mac_text(const uint8_t *mac, char text[18])
{
	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return text;
}

/* Names come from other processes: nothing but printable ASCII reaches the terminal. */
static const char *clean(const char *name, char text[SWITCH_VM_BYTES + 3])
{
	size_t i;

	for (i = 0; name[i] && i < SWITCH_VM_BYTES + 2; i++)
		text[i] = (char)(name[i] >= ' ' && name[i] <= '~' ? name[i] : '?');
	text[i] = 0;
	return text;
}

static const char *what_port(uint32_t flags)
{
	switch (flags & (SWITCH_UPLINK | SWITCH_ISOLATED | SWITCH_PROMISCUOUS)) {
	case 0: return "port";
	case SWITCH_ISOLATED: return "isolated";
	case SWITCH_PROMISCUOUS: return "promiscuous";
	case SWITCH_ISOLATED | SWITCH_PROMISCUOUS: return "isolated, promiscuous";
	default: return "uplink";
	}
}

static void add(struct json_object *to, const char *key, uint64_t value)
{
	json_object_object_add(to, key, json_object_new_uint64(value));
}

static void print_json(struct json_object *root)
{
	printf("%s\n", json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(root);
}

/* --- ls --- */

struct listing {
	struct json_object *array; /* NULL: a table */
	unsigned count;
};

static const char *uplink_of(const struct switch_report *r, char text[SWITCH_VM_BYTES + 3])
{
	for (uint32_t i = 0; i < r->ports; i++) {
		if (r->port[i].flags & SWITCH_UPLINK)
			return clean(r->port[i].vm, text);
	}
	return NULL;
}

static void list_one(void *opaque, const char *name)
{
	struct listing *l = opaque;
	char text[SWITCH_VM_BYTES + 3];
	struct switch_report *r;
	const char *uplink;
	unsigned ports;

	/* A socket that nobody listens at is what a crash has left. */
	if (switch_query(name, &r, NULL))
		return;
	uplink = uplink_of(r, text);
	ports = r->ports - (uplink != NULL);
	if (l->array) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "name", json_object_new_string(name));
		add(o, "ports", ports);
		json_object_object_add(o, "uplink", uplink ? json_object_new_string(uplink) : NULL);
		add(o, "addresses", r->macs);
		add(o, "pid", (uint64_t)r->pid);
		add(o, "uptime_seconds", r->uptime_s);
		json_object_array_add(l->array, o);
	} else {
		if (!l->count)
			printf("%-20s %6s %10s %8s  %s\n", "SWITCH", "PORTS", "ADDRESSES", "PID", "UPLINK");
		printf("%-20s %6u %10u %8d  %s\n", name, ports, r->macs, r->pid, uplink ? uplink : "none");
	}
	l->count++;
	free(r);
}

static int list_switches(const struct net_options *options, struct error *err)
{
	struct listing l = { .array = options->json ? json_object_new_array() : NULL };
	int ret = switch_names(list_one, &l, err);

	if (l.array && !ret)
		print_json(l.array);
	else if (l.array)
		json_object_put(l.array);
	else if (!ret && !l.count)
		printf("There is no switch. The first VM with --net switch=NAME starts one.\n");
	return ret;
}

/* --- show --- */

static void show_table(const char *name, const struct switch_report *r)
{
	const struct switch_mac_info *m = switch_report_macs(r);
	char mac[18], vm[SWITCH_VM_BYTES + 3];

	printf("switch %s, process %d, up %u s\n\n", name, r->pid, r->uptime_s);
	printf("%4s  %-20s %-17s %10s %14s %10s %14s %8s %8s %6s  %s\n", "PORT", "VM", "ADDRESS", "FRAMES IN", "BYTES IN",
	       "FRAMES OUT", "BYTES OUT", "BAD", "DROPPED", "QUEUED", "KIND");
	for (uint32_t i = 0; i < r->ports; i++) {
		const struct switch_port_info *p = &r->port[i];

		printf("%4u  %-20s %-17s %10llu %14llu %10llu %14llu %8llu %8llu %6u  %s\n", p->number, clean(p->vm, vm),
		       p->flags & SWITCH_UPLINK ? "" : mac_text(p->mac, mac), (unsigned long long)p->in_frames,
		       (unsigned long long)p->in_bytes, (unsigned long long)p->out_frames,
		       (unsigned long long)p->out_bytes, (unsigned long long)p->dropped_bad,
		       (unsigned long long)p->dropped_full, p->queued, what_port(p->flags));
	}
	printf("\n%-17s %4s %6s\n", "ADDRESS", "PORT", "AGE/S");
	for (uint32_t i = 0; i < r->macs; i++)
		printf("%-17s %4u %6u\n", mac_text(m[i].mac, mac), m[i].port, m[i].age_s);
}

static struct json_object *port_json(const struct switch_port_info *p)
{
	struct json_object *o = json_object_new_object();
	char mac[18], vm[SWITCH_VM_BYTES + 3];

	add(o, "port", p->number);
	json_object_object_add(o, p->flags & SWITCH_UPLINK ? "uplink" : "vm", json_object_new_string(clean(p->vm, vm)));
	if (!(p->flags & SWITCH_UPLINK)) {
		json_object_object_add(o, "address", json_object_new_string(mac_text(p->mac, mac)));
		add(o, "pid", (uint64_t)p->pid);
	}
	json_object_object_add(o, "isolated", json_object_new_boolean((p->flags & SWITCH_ISOLATED) != 0));
	json_object_object_add(o, "promiscuous", json_object_new_boolean((p->flags & SWITCH_PROMISCUOUS) != 0));
	add(o, "in_frames", p->in_frames);
	add(o, "in_bytes", p->in_bytes);
	add(o, "out_frames", p->out_frames);
	add(o, "out_bytes", p->out_bytes);
	add(o, "dropped_bad", p->dropped_bad);
	add(o, "dropped_full", p->dropped_full);
	add(o, "queued", p->queued);
	return o;
}

static void show_json(const char *name, const struct switch_report *r)
{
	struct json_object *root = json_object_new_object(), *ports = json_object_new_array();
	struct json_object *macs = json_object_new_array();
	const struct switch_mac_info *m = switch_report_macs(r);
	char mac[18];

	json_object_object_add(root, "name", json_object_new_string(name));
	add(root, "pid", (uint64_t)r->pid);
	add(root, "uptime_seconds", r->uptime_s);
	for (uint32_t i = 0; i < r->ports; i++)
		json_object_array_add(ports, port_json(&r->port[i]));
	for (uint32_t i = 0; i < r->macs; i++) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "address", json_object_new_string(mac_text(m[i].mac, mac)));
		add(o, "port", m[i].port);
		add(o, "age_seconds", m[i].age_s);
		json_object_array_add(macs, o);
	}
	json_object_object_add(root, "ports", ports);
	json_object_object_add(root, "addresses", macs);
	print_json(root);
}

static int query(const char *name, struct switch_report **r, struct error *err)
{
	struct net_config c = { .kind = NET_NONE };
	char word[NET_NAME_MAX + 16];

	/* The name becomes a file's: it is held to the rules of --net. */
	snprintf(word, sizeof(word), "switch=%.*s", NET_NAME_MAX + 1, name);
	if (strchr(name, ',') || net_config_parse(word, &c, NULL))
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot use the switch '%.100s'", "that is no name of a switch",
				 "'subring net ls' lists those that there are", name);
	return switch_query(name, r, err);
}

static int show_switch(const struct net_options *options, const char *name, struct error *err)
{
	struct switch_report *r;
	int ret = query(name, &r, err);

	if (ret)
		return ret;
	if (options->json)
		show_json(name, r);
	else
		show_table(name, r);
	free(r);
	return 0;
}

/* --- capture --- */

enum { LOOK_NS = 1000000000 };

struct capture {
	const char *name;
	struct loop *loop;
	struct net_port *port;
};

static void take_no_notice(void *opaque, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	/* The port has written it to the file already. */
}

static void never_sends(void *opaque)
{
}

static void end_capture(void *opaque, int fd, uint32_t events)
{
	struct capture *c = opaque;

	loop_stop(c->loop);
}

/* Is anybody on the switch but its uplink and who captures? */
static bool anybody_there(const char *name)
{
	struct switch_report *r;
	bool there = false;

	if (switch_query(name, &r, NULL))
		return false;
	for (uint32_t i = 0; i < r->ports; i++)
		there |= !(r->port[i].flags & SWITCH_UPLINK) && r->port[i].pid != getpid();
	free(r);
	return there;
}

static void look_again(void *opaque)
{
	struct capture *c = opaque;

	if (!net_link_up(c->port) || !anybody_there(c->name))
		loop_stop(c->loop);
	else
		loop_alarm(c->loop, host_monotonic_ns() + LOOK_NS);
}

static int run_capture(struct capture *c, const struct net_config *config, struct error *err)
{
	static const struct net_port_ops ops = { .receive = take_no_notice, .writable = never_sends };
	const struct net_stats *stats;
	sigset_t ends;
	int fd, ret;

	ret = net_open(config, c->loop, &ops, c, &c->port, err);
	if (ret)
		return ret;
	/* What is captured has its offloads still to be done, as the VMs exchange it. */
	net_set_offloads(c->port, net_features(c->port));
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
	ret = fd < 0 ? -errno : loop_watch(c->loop, fd, EPOLLIN, end_capture, c);
	loop_set_alarm_fn(c->loop, look_again, c);
	loop_alarm(c->loop, host_monotonic_ns() + LOOK_NS);
	if (!ret && isatty(STDERR_FILENO))
		fprintf(stderr, "Capturing all frames of the switch %s into %s. Ctrl-c ends it.\n", c->name, config->pcap);
	if (!ret)
		ret = loop_run(c->loop);
	stats = net_stats(c->port);
	if (!ret)
		printf("%llu frames, %llu missing\n", (unsigned long long)stats->received_frames,
		       (unsigned long long)stats->dropped[NET_DROP_CAPTURE]);
	else
		error_set(err, ret, STATUS_HOST, "cannot capture", "%s", "end other programs", strerror(-ret));
	net_close(c->port);
	if (fd >= 0) {
		loop_unwatch(c->loop, fd);
		close(fd);
	}
	return ret;
}

static int capture_switch(const struct net_options *options, const char *name, struct error *err)
{
	struct net_config config = { .kind = NET_SWITCH, .promiscuous = true, .vm = "capture" };
	struct capture c = { .name = name };
	struct switch_report *r;
	int ret;

	if (!options->pcap || !*options->pcap || strlen(options->pcap) >= sizeof(config.pcap))
		return error_set(err, -EINVAL, STATUS_USAGE, "cannot capture without a file", "--pcap is missing",
				 "write 'subring net capture %.100s --pcap FILE'", name);
	/* A capture does not start a switch. */
	ret = query(name, &r, err);
	if (ret)
		return ret;
	free(r);
	snprintf(config.name, sizeof(config.name), "%s", name);
	snprintf(config.pcap, sizeof(config.pcap), "%s", options->pcap);
	ret = loop_create(&c.loop);
	if (ret)
		return error_set(err, ret, STATUS_HOST, "cannot capture", "%s", "end other programs", strerror(-ret));
	ret = run_capture(&c, &config, err);
	loop_destroy(c.loop);
	return ret;
}

static int net_run(int argc, char **argv)
{
	struct net_options options = { .json = false };
	const char *verb = argc > 1 ? argv[1] : "", *name = NULL;
	struct error err;
	int ret;

	if (strcmp(verb, "ls") != 0 && strcmp(verb, "show") != 0 && strcmp(verb, "capture") != 0)
		ret = error_set(&err, -EINVAL, STATUS_USAGE, "cannot understand 'net %.100s'", "it is followed by ls, show or capture",
				"write 'subring net ls' or 'subring net show NAME'", verb);
	else
		ret = options_parse(&command_net, argc - 1, argv + 1, &options, &name, &err);
	if (!ret && *verb == 'l' && name)
		ret = error_set(&err, -EINVAL, STATUS_USAGE, "cannot understand '%.100s'", "net ls takes no name",
				"write 'subring net show %.100s' for one switch", name, name);
	else if (!ret && *verb != 'l' && !name)
		ret = error_set(&err, -EINVAL, STATUS_USAGE, "cannot %s a switch", "it has no name here",
				"write 'subring net %s NAME'; 'subring net ls' lists the names", verb, verb);
	else if (!ret && *verb == 'l')
		ret = list_switches(&options, &err);
	else if (!ret)
		ret = *verb == 's' ? show_switch(&options, name, &err) : capture_switch(&options, name, &err);
	if (!ret)
		return STATUS_OK;
	error_print(&err);
	return (int)err.status;
}

const struct command command_net = {
	.name = "net",
	.summary = "Lists the switches between VMs (ls), shows one (show NAME), captures its frames (capture NAME)",
	.operand = "ls|show NAME|capture NAME",
	.options = net_table,
	.run = net_run,
};
