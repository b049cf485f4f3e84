// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where engine soft lives.
 *
 *   options.c   what follows "soft," on the command line
 *   threads.c   in the monitor: its vCPU threads run guest code themselves
 *   process.c   in a child process, the monitor's side
 *   child.c     in a child process, the child's side
 *
 * The child is the same program, started anew with nothing but the descriptors below: it has
 * guest memory, the run pages and a control socket. A run is handed over by two futex words in
 * shared memory; everything else is a message on the socket, answered or not as the list says.
 */
#ifndef SUBRING_ENGINE_SOFT_HOST_H
#define SUBRING_ENGINE_SOFT_HOST_H

#include "engine/soft/soft.h"

/* How the engine is asked to live; from engine_config.options. */
struct soft_options {
	bool process;
	struct soft_tuning tuning;
};

/* options.c. -EINVAL fills @err. */
int soft_options_parse(const char *text, struct soft_options *out, struct error *err);

int soft_threads_create(const struct engine_config *config, const struct soft_tuning *tuning, struct engine **out,
			struct error *err);
int soft_process_create(const struct engine_config *config, const struct soft_tuning *tuning, struct engine **out,
			struct error *err);

/* -ENOTSUP of soft_vm_create in the user's words: the host's CPU lacks what the model needs (vector_init). */
int soft_host_lacks(struct error *err, const struct cpu_model *model);

/* What a debugger and get/set state do to a stopped vCPU: the same in both hosts. */
void soft_cpu_set_debug(struct cpu *c, struct engine_debug *copy, const struct engine_debug *debug);

/* The mapping of run pages: for each vCPU its run page, then its hand-over page. */
enum { RUN_STRIDE = 8192 };

struct hand_over {
	_Atomic uint32_t asked;	   /* runs asked for, by the monitor */
	_Atomic uint32_t answered; /* runs finished, by the child */
	_Atomic uint32_t extint;   /* HAND_OVER_EXTINT | vector: take this ExtINT first; 0: none */
};

enum { HAND_OVER_EXTINT = 0x100 };

static inline struct run_page *run_page_of(void *base, unsigned vcpu)
{
	return (struct run_page *)((char *)base + vcpu * RUN_STRIDE);
}

static inline struct hand_over *hand_over_of(void *base, unsigned vcpu)
{
	return (struct hand_over *)((char *)base + vcpu * RUN_STRIDE + 4096);
}

/* Descriptors of the child. */
enum { CHILD_FD_CONTROL = 3, CHILD_FD_RUN = 4, CHILD_FD_RAM = 5, CHILD_FD_FRAMES = 6, CHILD_FD_BASE = 7, CHILD_FD_COUNT = 8 };

/* Messages. Every one is answered with a struct message_reply unless it says "no answer". */
enum message_op {
	MESSAGE_START,	    /* the first: sizes and the clock */
	MESSAGE_KICK,	    /* no answer */
	MESSAGE_NMI,	    /* no answer */
	MESSAGE_SMI,	    /* answered: the OUT that causes it must not end before it is pending */
	MESSAGE_MSI,	    /* no answer */
	MESSAGE_GET_STATE,
	MESSAGE_SET_STATE,
	MESSAGE_SETTLED,
	MESSAGE_DEBUG,
	MESSAGE_TRANSLATE,
	MESSAGE_ROUTES,	    /* no answer */
	MESSAGE_DOORBELL_ADD, /* carries the eventfd */
	MESSAGE_DOORBELL_REMOVE,
	MESSAGE_SLOTS,
	MESSAGE_CLOCK,
	MESSAGE_DIRTY_LOG_START,
	MESSAGE_CODE_WRITTEN, /* the monitor has stored into a frame with FRAME_CODE */
};

struct message {
	uint32_t op, vcpu;
	union {
		struct {
			uint64_t ram_size;
			uint32_t vcpus, trace;
			char model[CPU_MODEL_TEXT_MAX];
			struct vm_clock clock;
			struct soft_tuning tuning;
			struct ram_slot slot[RAM_SLOTS_MAX];
			bool has_base;
		} start;
		struct engine_msi msi;
		struct vcpu_state state;
		struct engine_debug debug;
		uint64_t linear, frame;
		struct {
			uint32_t count;
			struct engine_msi route[SOFT_ROUTES_MAX];
		} routes;
		struct engine_doorbell doorbell;
		struct ram_slot slot[RAM_SLOTS_MAX];
		struct vm_clock clock;
	};
};

struct message_reply {
	int32_t result;
	union {
		struct vcpu_state state;
		uint64_t gpa;
	};
};

/* main() of the child. Returns its exit status. */
int soft_child_main(void);
/* argv[1] that makes the program call it. */
#define SOFT_CHILD_ARGUMENT "--engine-process"

#endif
