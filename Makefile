# SPDX-License-Identifier: GPL-2.0-or-later
# The commands that matter. Everything else is Meson's: see meson.build.
BUILD ?= build
GUEST := $(BUILD)/guest
TEST_GUEST := $(BUILD)/test-guest

.PHONY: all setup guest test-guest run test bench clean

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
test-guest: guest $(TEST_GUEST)/vmlinuz $(TEST_GUEST)/initrd.img

$(TEST_GUEST)/vmlinuz:
	@guests/fetch-kernel amd64 $(TEST_GUEST)

$(TEST_GUEST)/initrd.img: guests/test/init guests/make-initramfs
	@mkdir -p $(TEST_GUEST)
	@guests/make-initramfs guests/test/init $@

run: setup
	@$(MAKE) --no-print-directory all guest
	@$(BUILD)/subring run $(ARGS)

test: setup
	@$(MAKE) --no-print-directory all test-guest
	@tests/run-all $(BUILD)

bench:
	@tools/setup tools/packages-bench
	@$(MAKE) --no-print-directory all guest
	@bench/run $(BUILD)

clean:
	rm -rf $(BUILD)
