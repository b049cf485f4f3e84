// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * 8042 keyboard controller and keyboard (IBM PS/2 hardware interface technical reference,
 * "Keyboard and Auxiliary Device Controller", and "Keyboards (101- and 102-key)"), port 0x92.
 *
 * Everything is answered at once. A command that asks for an auxiliary device gets the answers
 * of a controller that has none: the interface test fails, and the loop-back byte comes back
 * without the auxiliary flag.
 *
 * Invariants: the line equals OBF and the interrupt enable bit; kbd_count is at most I8042_QUEUE.
 */
#include "chip/i8042.h"

#include "chip/bytes.h"

#include <errno.h>
#include <string.h>

enum { STS_OBF = 1, STS_SYS = 4, STS_CMD = 8, STS_UNLOCKED = 0x10, STS_TIMEOUT = 0x40 };
enum { CTR_KBD_INT = 1, CTR_AUX_INT = 2, CTR_SYS = 4, CTR_KBD_OFF = 0x10, CTR_AUX_OFF = 0x20, CTR_XLATE = 0x40, CTR_BITS = 0x7f };
enum { PORT_RUN = 1, PORT_A20 = 2, PORT_OBF = 0x10, PORT_KBD_LINES = 0xc0 };
enum { PORT92_RESET = 1, PORT92_A20 = 2 };

enum {
	CMD_READ_RAM = 0x20, CMD_WRITE_RAM = 0x60, CMD_PASSWORD_TEST = 0xa4, CMD_AUX_OFF = 0xa7, CMD_AUX_ON = 0xa8,
	CMD_AUX_TEST = 0xa9, CMD_SELF_TEST = 0xaa, CMD_KBD_TEST = 0xab, CMD_KBD_OFF = 0xad, CMD_KBD_ON = 0xae,
	CMD_READ_INPUT = 0xc0, CMD_READ_OUTPUT = 0xd0, CMD_WRITE_OUTPUT = 0xd1, CMD_WRITE_KBD_OBF = 0xd2,
	CMD_WRITE_AUX_OBF = 0xd3, CMD_WRITE_AUX = 0xd4, CMD_A20_OFF = 0xdd, CMD_A20_ON = 0xdf, CMD_PULSE = 0xf0,
};
enum {
	KBD_LEDS = 0xed, KBD_ECHO = 0xee, KBD_SCAN_SET = 0xf0, KBD_IDENTIFY = 0xf2, KBD_RATE = 0xf3, KBD_ENABLE = 0xf4,
	KBD_DISABLE = 0xf5, KBD_DEFAULT = 0xf6, KBD_KEYS_FIRST = 0xf7, KBD_KEYS_LAST = 0xfd, KBD_KEY_TYPE = 0xfb,
	KBD_RESEND = 0xfe, KBD_RESET = 0xff, KBD_ACK = 0xfa, KBD_NAK = 0xfe, KBD_PASSED = 0xaa,
};
/* Answers: 0x55 passed, 0xf1 no password, 1: the clock line is stuck low */
enum { SELF_TEST_PASSED = 0x55, NO_PASSWORD = 0xf1, LINE_STUCK = 1, INPUT_PORT = 0x80 };

static void update_irq(struct i8042 *k)
{
	irq_set(&k->irq, (k->status & STS_OBF) && (k->ctr & CTR_KBD_INT));
}

static void put(struct i8042 *k, uint8_t byte, bool from_kbd)
{
	k->out = byte;
	k->from_kbd = from_kbd;
	k->status |= STS_OBF;
	update_irq(k);
}

/* --- keyboard --- */

/* Scan code set 2 to set 1: of the keyboard's answers only these few are not what they were. */
static uint8_t translate(uint8_t byte)
{
	switch (byte) {
	case 0x01: return 0x43;
	case 0x02: return 0x41;
	case 0x03: return 0x3f;
	case 0x83: return 0x41;
	default: return byte;
	}
}

/* The next byte of the keyboard, if the buffer is free and the keyboard's clock runs. */
static void fill(struct i8042 *k)
{
	uint8_t byte;

	if (!k->kbd_count || (k->status & STS_OBF) || (k->ctr & CTR_KBD_OFF))
		return;
	byte = k->kbd_queue[0];
	k->kbd_count--;
	memmove(k->kbd_queue, k->kbd_queue + 1, k->kbd_count);
	put(k, k->ctr & CTR_XLATE ? translate(byte) : byte, true);
}

static void kbd_answer(struct i8042 *k, uint8_t byte)
{
	if (k->kbd_count < I8042_QUEUE)
		k->kbd_queue[k->kbd_count++] = byte;
	k->kbd_last = byte;
}

static void kbd_defaults(struct i8042 *k)
{
	k->kbd_set = 2;
	k->kbd_rate = 0x2b; /* 10.9 a second after 500 ms */
	k->kbd_scanning = true;
}

/* The byte that @command waited for. */
static void kbd_parameter(struct i8042 *k, uint8_t command, uint8_t v)
{
	kbd_answer(k, KBD_ACK);
	switch (command) {
	case KBD_LEDS: k->kbd_leds = v & 7; break;
	case KBD_RATE: k->kbd_rate = v & 0x7f; break;
	case KBD_SCAN_SET:
		if (v == 0)
			kbd_answer(k, k->kbd_set);
		else if (v <= 3)
			k->kbd_set = v;
		break;
	default: break; /* make/break type of a key: there are no keys */
	}
}

static void kbd_write(struct i8042 *k, uint8_t v)
{
	uint8_t waiting = k->kbd_command;

	k->kbd_command = 0;
	if (waiting && v < KBD_LEDS) {
		kbd_parameter(k, waiting, v);
		return;
	}
	if (v != KBD_RESEND)
		k->kbd_count = 0; /* a command clears what was not sent yet */
	switch (v) {
	case KBD_ECHO: kbd_answer(k, KBD_ECHO); break;
	case KBD_IDENTIFY:
		kbd_answer(k, KBD_ACK);
		kbd_answer(k, 0xab);
		kbd_answer(k, 0x83);
		break;
	case KBD_LEDS:
	case KBD_SCAN_SET:
	case KBD_RATE:
		k->kbd_command = v;
		kbd_answer(k, KBD_ACK);
		break;
	case KBD_ENABLE:
		k->kbd_scanning = true;
		kbd_answer(k, KBD_ACK);
		break;
	case KBD_DISABLE:
	case KBD_DEFAULT:
		kbd_defaults(k);
		k->kbd_scanning = v == KBD_DEFAULT;
		kbd_answer(k, KBD_ACK);
		break;
	case KBD_RESEND: kbd_answer(k, k->kbd_last); break;
	case KBD_RESET:
		kbd_defaults(k);
		k->kbd_leds = 0;
		kbd_answer(k, KBD_ACK);
		kbd_answer(k, KBD_PASSED);
		break;
	default:
		if (v < KBD_KEYS_FIRST || v > KBD_KEYS_LAST) {
			kbd_answer(k, KBD_NAK);
			break;
		}
		if (v >= KBD_KEY_TYPE)
			k->kbd_command = v;
		kbd_answer(k, KBD_ACK);
	}
}

/* --- controller --- */

static void pulse_reset(struct i8042 *k)
{
	if (k->reset)
		k->reset(k->opaque);
}

static void set_port(struct i8042 *k, uint8_t v)
{
	bool was = i8042_a20(k);

	k->port = v;
	if (i8042_a20(k) != was)
		irq_set(&k->a20, !was);
}

static void write_output_port(struct i8042 *k, uint8_t v)
{
	set_port(k, v | PORT_RUN);
	if (!(v & PORT_RUN))
		pulse_reset(k);
}

static void command(struct i8042 *k, uint8_t v)
{
	k->command = 0;
	if (v >= CMD_PULSE) {
		if (!(v & 1)) /* bit 0 low: the CPU's reset line */
			pulse_reset(k);
		return;
	}
	if (v >= CMD_READ_RAM && v < CMD_READ_RAM + 0x20) {
		put(k, v == CMD_READ_RAM ? k->ctr : k->ram[v - CMD_READ_RAM], false);
		return;
	}
	if (v >= CMD_WRITE_RAM && v < CMD_WRITE_RAM + 0x20) {
		k->command = v;
		return;
	}
	switch (v) {
	case CMD_PASSWORD_TEST: put(k, NO_PASSWORD, false); break;
	case CMD_AUX_OFF: k->ctr |= CTR_AUX_OFF; break;
	case CMD_AUX_ON: k->ctr &= ~CTR_AUX_OFF; break;
	case CMD_AUX_TEST: put(k, LINE_STUCK, false); break;
	case CMD_SELF_TEST:
		k->status |= STS_SYS;
		put(k, SELF_TEST_PASSED, false);
		break;
	case CMD_KBD_TEST: put(k, 0, false); break;
	case CMD_KBD_OFF: k->ctr |= CTR_KBD_OFF; break;
	case CMD_KBD_ON: k->ctr &= ~CTR_KBD_OFF; break;
	case CMD_READ_INPUT: put(k, INPUT_PORT, false); break;
	case CMD_READ_OUTPUT:
		put(k, k->port | PORT_KBD_LINES | (k->status & STS_OBF ? PORT_OBF : 0), false);
		break;
	case CMD_WRITE_OUTPUT:
	case CMD_WRITE_KBD_OBF:
	case CMD_WRITE_AUX_OBF:
	case CMD_WRITE_AUX:
		k->command = v;
		break;
	case CMD_A20_OFF: set_port(k, k->port & ~PORT_A20); break;
	case CMD_A20_ON: set_port(k, k->port | PORT_A20); break;
	default: break;
	}
}

static void command_byte(struct i8042 *k, uint8_t cmd, uint8_t v)
{
	switch (cmd) {
	case CMD_WRITE_RAM:
		k->ctr = v & CTR_BITS;
		if (v & CTR_SYS)
			k->status |= STS_SYS;
		else
			k->status &= ~STS_SYS;
		update_irq(k);
		break;
	case CMD_WRITE_OUTPUT: write_output_port(k, v); break;
	case CMD_WRITE_KBD_OBF: put(k, v, true); break;
	case CMD_WRITE_AUX_OBF: put(k, v, false); break;
	case CMD_WRITE_AUX: /* nobody took the byte */
		k->status |= STS_TIMEOUT;
		put(k, KBD_NAK, false);
		break;
	default: k->ram[(cmd - CMD_WRITE_RAM) & 0x1f] = v; break;
	}
}

static uint8_t read_data(struct i8042 *k)
{
	uint8_t v = k->out;

	if (!(k->status & STS_OBF))
		return v;
	k->status &= ~(STS_OBF | STS_TIMEOUT);
	update_irq(k); /* the line falls between two bytes */
	fill(k);
	return v;
}

static void write_data(struct i8042 *k, uint8_t v)
{
	uint8_t cmd = k->command;

	k->status &= ~STS_CMD;
	if (cmd) {
		k->command = 0;
		command_byte(k, cmd, v);
	} else {
		k->ctr &= ~CTR_KBD_OFF; /* sending a byte starts the keyboard's clock */
		kbd_write(k, v);
	}
	fill(k);
}

static void write_port92(struct i8042 *k, uint8_t v)
{
	bool reset = v & ~k->port92 & PORT92_RESET;

	k->port92 = v & ~PORT92_A20;
	set_port(k, (uint8_t)((k->port & ~PORT_A20) | (v & PORT92_A20 ? PORT_A20 : 0)));
	if (reset)
		pulse_reset(k);
}

bool i8042_a20(const struct i8042 *k)
{
	return k->port & PORT_A20;
}

static uint8_t read_port(void *chip, unsigned region, unsigned n)
{
	struct i8042 *k = chip;

	switch (region) {
	case I8042_REGION_DATA: return read_data(k);
	case I8042_REGION_COMMAND: return k->status | STS_UNLOCKED;
	default: return k->port92 | (i8042_a20(k) ? PORT92_A20 : 0);
	}
}

static void write_port(void *chip, unsigned region, unsigned n, uint8_t v)
{
	struct i8042 *k = chip;

	switch (region) {
	case I8042_REGION_DATA: write_data(k, v); break;
	case I8042_REGION_COMMAND:
		k->status |= STS_CMD;
		command(k, v);
		fill(k);
		break;
	default: write_port92(k, v); break;
	}
}

static uint64_t kbc_read(void *chip, unsigned region, uint64_t offset, unsigned size)
{
	return bytes_read(read_port, chip, region, offset, size, 1);
}

static void kbc_write(void *chip, unsigned region, uint64_t offset, unsigned size, uint64_t value)
{
	bytes_write(write_port, chip, region, offset, size, 1, value);
}

/* --- reset and state --- */

/* As a PC's firmware leaves it: tested, translating, keyboard on with its interrupt, A20 on. */
static void kbc_reset(void *chip)
{
	struct i8042 *k = chip;

	*k = (struct i8042){ .irq = k->irq, .a20 = k->a20, .reset = k->reset, .opaque = k->opaque };
	k->status = STS_SYS;
	k->ctr = CTR_XLATE | CTR_AUX_OFF | CTR_SYS | CTR_KBD_INT;
	k->port = PORT_RUN | PORT_A20;
	kbd_defaults(k);
	update_irq(k);
	irq_set(&k->a20, true);
}

static int kbc_loaded(void *chip)
{
	struct i8042 *k = chip;

	if (k->kbd_count > I8042_QUEUE)
		return -EPROTO;
	k->port |= PORT_RUN;
	update_irq(k);
	irq_set(&k->a20, i8042_a20(k));
	return 0;
}

static const struct state_field fields[] = {
	STATE_UINT(struct i8042, status),
	STATE_UINT(struct i8042, ctr),
	STATE_UINT(struct i8042, out),
	STATE_UINT(struct i8042, from_kbd),
	STATE_UINT(struct i8042, command),
	STATE_UINT(struct i8042, port),
	STATE_UINT(struct i8042, port92),
	STATE_BYTES(struct i8042, ram),
	STATE_UINT(struct i8042, kbd_command),
	STATE_UINT(struct i8042, kbd_scanning),
	STATE_UINT(struct i8042, kbd_set),
	STATE_UINT(struct i8042, kbd_leds),
	STATE_UINT(struct i8042, kbd_rate),
	STATE_UINT(struct i8042, kbd_last),
	STATE_BYTES(struct i8042, kbd_queue),
	STATE_UINT(struct i8042, kbd_count),
	STATE_END,
};

static const struct state_class class = { .name = "i8042", .version = 1, .fields = fields };

const struct chip_ops i8042_ops = {
	.state = &class,
	.reset = kbc_reset,
	.read = kbc_read,
	.write = kbc_write,
	.loaded = kbc_loaded,
};

void i8042_wire_a20(struct i8042 *k, const struct irq_line *a20)
{
	k->a20 = *a20;
}

void i8042_init(struct i8042 *k, const struct irq_line *irq, void (*reset)(void *opaque), void *opaque)
{
	*k = (struct i8042){ .irq = *irq, .reset = reset, .opaque = opaque };
	kbc_reset(k);
}
