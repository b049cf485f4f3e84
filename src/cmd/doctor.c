// SPDX-License-Identifier: GPL-2.0-or-later
/* subring doctor: what this host offers, what is missing and how to get it, which engine a VM gets. */
#include "cmd/checks.h"
#include "cmd/cmd.h"
#include "engine/kvm/kvm.h"

#include <json-c/json.h>
#include <string.h>

struct doctor_options {
	bool json;
};

static const struct option_spec doctor_table[] = {
	{ "json", NULL, "print one JSON object instead of a table", OPTION_FLAG, offsetof(struct doctor_options, json), 0, 0 },
	{ 0 },
};

struct diagnosis {
	bool can_run;
	bool engine_ok;
	char engine[32], why[256];
	struct finding finding[32];
	size_t count;
};

static const char *const state_name[] = { "ok", "absent", "missing" };

static void diagnose(struct diagnosis *d)
{
	memset(d, 0, sizeof(*d));
	d->engine_ok = check_auto_engine(d->engine, sizeof(d->engine), d->why, sizeof(d->why));
	d->can_run = d->engine_ok;
	for (const struct check *c = check_table; c->id && d->count < 32; c++) {
		struct finding *f = &d->finding[d->count++];

		c->look(f);
		if (f->state == FINDING_MISSING)
			d->can_run = false;
	}
}

static const char *const result_name[] = { [KVM_PROBE_OK] = "ok", [KVM_PROBE_FAILED] = "failed", [KVM_PROBE_SKIPPED] = "skipped" };

static void print_kvm_parts(int width)
{
	const struct kvm_probe *probe = check_kvm_probe();

	/* The first is told by the check itself. */
	for (unsigned i = 1; i < probe->count; i++)
		printf("%-8s   %-*s  %s\n", result_name[probe->part[i].result], width - 2, probe->part[i].name,
		       probe->part[i].detail);
}

static void print_table(const struct diagnosis *d)
{
	int width = 0;

	for (size_t i = 0; i < d->count; i++) {
		int n = (int)strlen(check_table[i].title);

		width = n > width ? n : width;
	}
	for (size_t i = 0; i < d->count; i++) {
		const struct finding *f = &d->finding[i];

		printf("%-8s %-*s  %s\n", state_name[f->state], width, check_table[i].title, f->detail);
		if (*f->fix)
			printf("%-8s %-*s  to get it: %s\n", "", width, "", f->fix);
		if (!strcmp(check_table[i].id, "kvm"))
			print_kvm_parts(width);
	}
	printf("%-8s %-*s  %s\n", d->engine_ok ? "ok" : "missing", width, "engine that 'auto' takes", d->why);
	printf("\n%s\n", d->can_run ? "A VM can run here." : "No VM can run here: see what is missing above.");
}

static void add_string(struct json_object *to, const char *key, const char *value)
{
	json_object_object_add(to, key, json_object_new_string(value));
}

static struct json_object *kvm_parts(void)
{
	const struct kvm_probe *probe = check_kvm_probe();
	struct json_object *parts = json_object_new_array();

	for (unsigned i = 0; i < probe->count; i++) {
		struct json_object *part = json_object_new_object();

		add_string(part, "name", probe->part[i].name);
		add_string(part, "result", result_name[probe->part[i].result]);
		add_string(part, "detail", probe->part[i].detail);
		json_object_array_add(parts, part);
	}
	return parts;
}

static void print_json(const struct diagnosis *d)
{
	struct json_object *root = json_object_new_object();
	struct json_object *engine = json_object_new_object();
	struct json_object *checks = json_object_new_array();

	add_string(root, "version", SUBRING_VERSION);
	json_object_object_add(root, "can_run", json_object_new_boolean(d->can_run));
	add_string(engine, "auto", d->engine);
	add_string(engine, "why", d->why);
	json_object_object_add(root, "engine", engine);
	for (size_t i = 0; i < d->count; i++) {
		struct json_object *check = json_object_new_object();

		add_string(check, "id", check_table[i].id);
		add_string(check, "title", check_table[i].title);
		add_string(check, "state", state_name[d->finding[i].state]);
		add_string(check, "detail", d->finding[i].detail);
		if (*d->finding[i].fix)
			add_string(check, "fix", d->finding[i].fix);
		if (!strcmp(check_table[i].id, "kvm"))
			json_object_object_add(check, "parts", kvm_parts());
		json_object_array_add(checks, check);
	}
	json_object_object_add(root, "checks", checks);
	printf("%s\n", json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(root);
}

static int doctor_run(int argc, char **argv)
{
	struct doctor_options options = { .json = false };
	struct diagnosis d;
	struct error err;

	if (options_parse(&command_doctor, argc, argv, &options, NULL, &err)) {
		error_print(&err);
		return (int)err.status;
	}
	diagnose(&d);
	if (options.json)
		print_json(&d);
	else
		print_table(&d);
	return d.can_run ? STATUS_OK : STATUS_HOST;
}

const struct command command_doctor = {
	.name = "doctor",
	.summary = "Tells what this host offers, what is missing, and which engine a VM gets",
	.options = doctor_table,
	.run = doctor_run,
};
