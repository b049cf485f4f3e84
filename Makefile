# SPDX-License-Identifier: GPL-2.0-or-later
# The commands that matter. Everything else is Meson's: see meson.build.
BUILD ?= build
GUEST := $(BUILD)/guest
TEST_GUEST := $(BUILD)/test-guest
TEST_GUEST_I386 := $(BUILD)/test-guest-i386
OTHER_GUESTS := $(BUILD)/other-guests

.PHONY: all setup guest test-guest other-guests run test bench clean

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet subring

$(BUILD)/build.ninja:
	@meson setup $(BUILD) >/dev/null

setup:
	@tools/setup

# Debian's cloud kernel and a busybox initramfs: what `subring run` boots.
guest: $(GUEST)/vmlinuz $(GUEST)/initrd.img

$(GUEST)/vmlinuz:
	@guests/fetch-kernel cloud-amd64 $(GUEST)

$(GUEST)/initrd.img: guests/default/init guests/make-initramfs
	@mkdir -p $(GUEST)
	@guests/make-initramfs guests/default/init $@

# The test guest, and Debian's full kernel for it.
test-guest: guest $(TEST_GUEST)/vmlinuz $(TEST_GUEST)/modules $(TEST_GUEST)/initrd.img

$(TEST_GUEST)/vmlinuz $(TEST_GUEST)/modules &:
	@guests/fetch-kernel amd64 $(TEST_GUEST)

$(TEST_GUEST)/initrd.img: guests/test/init guests/make-initramfs
	@mkdir -p $(TEST_GUEST)
	@guests/make-initramfs guests/test/init $@

# Guests of other kinds: Debian's 32-bit kernels with a 32-bit initramfs, memtest86+, Xen. Tests skip those that are not there.
other-guests:
	@-guests/fetch-kernel 686 $(TEST_GUEST_I386)/686
	@-guests/fetch-kernel 686-pae $(TEST_GUEST_I386)/686-pae
	@-guests/fetch-files $(TEST_GUEST_I386)/bin --i386 busybox-static bin/busybox
	@-[ $(TEST_GUEST_I386)/initrd.img -nt guests/test/init ] || [ ! -e $(TEST_GUEST_I386)/bin/busybox ] || \
		BUSYBOX=$(TEST_GUEST_I386)/bin/busybox guests/make-initramfs guests/test/init $(TEST_GUEST_I386)/initrd.img
	@-guests/fetch-files $(OTHER_GUESTS) memtest86+ boot/memtest86+ia32.bin boot/memtest86+x64.bin
	@-guests/fetch-files $(OTHER_GUESTS) xen-hypervisor-4.17-amd64 boot/xen-4.17-amd64.gz

run: setup
	@$(MAKE) --no-print-directory all guest
	@$(BUILD)/subring run $(ARGS)

test: setup
	@$(MAKE) --no-print-directory all test-guest other-guests
	@tests/run-all $(BUILD)

bench:
	@tools/setup bench/packages
	@$(MAKE) --no-print-directory all guest
	@meson setup --reconfigure $(BUILD) >/dev/null
	@bench/run $(BUILD)

clean:
	rm -rf $(BUILD)
