# SPDX-License-Identifier: GPL-2.0-or-later
# The in-guest part: a kernel module, which the kernel's own make builds (Kbuild).  Here it is only
# listed for the lints, built against the headers that are installed, and handed to DKMS.

guest_FILES := clock.c clock.h cycle.c cycle.h disks.c disks.h home.c home.h offer.c others.c others.h store.c store.h suspend_abi.h \
	symbols.c symbols.h Kbuild
KERNEL_C_FILES += $(patsubst %,guest/%,$(filter %.c,$(guest_FILES)))

# Which kernel's headers: make module KDIR=/lib/modules/VERSION/build
KDIR ?= $(lastword $(sort $(wildcard /lib/modules/*/build)))
dkmsdir := /usr/src/xen-suspend-channel-$(VERSION)

LINTS += module

.PHONY: module install-dkms lint-module
module:	## the guest's kernel module, into build/module
	$(Q)test -n '$(KDIR)' || { echo 'module: no kernel headers; install linux-headers-amd64' >&2; exit 1; }
	$(Q)mkdir -p build/module/guest
	$(Q)cp $(guest_FILES:%=guest/%) build/module/guest/
	$(Q)$(MAKE) -C $(KDIR) M=$(CURDIR)/build/module/guest W=1 modules

install-dkms:	## in a guest: the module's source to where dkms takes it from
	$(Q)$(foreach f,$(guest_FILES),install -D -m 644 guest/$(f) '$(DESTDIR)$(dkmsdir)/guest/$(f)' &&) \
		install -D -m 644 guest/dkms.conf '$(DESTDIR)$(dkmsdir)/dkms.conf'

# Built from scratch with all warnings, as errors.
lint-module:
	$(Q)rm -rf build/module
	$(Q)$(SELF) module KCFLAGS=-Werror >build/module.log 2>&1 || { tail -n 20 build/module.log; exit 1; }
