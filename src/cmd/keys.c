// SPDX-License-Identifier: GPL-2.0-or-later
/* What Ctrl-a does on a terminal. */
#include "cmd/keys.h"

#include <stddef.h>

static const struct {
	char letter;
	enum key key;
} key_table[] = {
#define X(id, letter, help) { letter[0], KEY_##id },
	KEYS(X)
#undef X
};

const char keys_help[] =
#define X(id, letter, help) "  Ctrl-a " letter "       " help "\r\n"
	KEYS(X)
#undef X
	"  Ctrl-a Ctrl-a  send Ctrl-a to the guest\r\n";

enum key keys_feed(struct keys *keys, uint8_t typed, uint8_t *byte)
{
	bool escaped = keys->escape;

	keys->escape = false;
	*byte = typed;
	if (!escaped) {
		if (typed != KEY_ESCAPE)
			return KEY_BYTE;
		keys->escape = true;
		return KEY_NONE;
	}
	if (typed == KEY_ESCAPE)
		return KEY_BYTE;
	for (size_t i = 0; i < sizeof(key_table) / sizeof(key_table[0]); i++) {
		if ((typed | 0x20) == key_table[i].letter)
			return key_table[i].key;
	}
	return KEY_HELP; /* whoever types something else wants to know what there is */
}
