# SPDX-License-Identifier: GPL-2.0-or-later
#
# One make for the whole tree.  Each folder says what it has in its module.mk;
# objects go to build/<variant>/, so the source folders stay clean.
#
#	make			everything, -O2 with asserts
#	make BUILD=asan check	the tests under AddressSanitizer and UBSan
#	make CC=clang		the other compiler (build/<variant>-clang/)
#	make help		the list of targets

MAKEFLAGS += --no-builtin-rules --no-builtin-variables
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

VERSION := 0.1

# ---- what to build, and how ---------------------------------------------

BUILD ?= release
ifneq ($(filter undefined default,$(origin CC)),)
CC := $(if $(filter fuzz,$(BUILD)),clang,gcc)
endif
COMPILER := $(if $(findstring clang,$(CC)),clang,gcc)
B := build/$(BUILD)$(if $(filter clang,$(if $(filter fuzz,$(BUILD)),gcc,$(COMPILER))),-clang)

VARIANTS := release debug asan tsan cov fuzz
ifeq ($(filter $(BUILD),$(VARIANTS)),)
$(error BUILD=$(BUILD) is none of: $(VARIANTS))
endif

HARDEN := -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
release_CFLAGS := -O2 -g -DTEST_HOOKS=0 $(HARDEN)
debug_CFLAGS := -O0 -g3 -DTEST_HOOKS=1
asan_CFLAGS := -O1 -g -DTEST_HOOKS=1 -fno-omit-frame-pointer \
	-fsanitize=address,undefined -fno-sanitize-recover=all
tsan_CFLAGS := -O1 -g -DTEST_HOOKS=1 -fno-omit-frame-pointer -fsanitize=thread
cov_CFLAGS := -O0 -g -DTEST_HOOKS=1 --coverage
fuzz_CFLAGS := -O1 -g -DTEST_HOOKS=1 -fno-omit-frame-pointer \
	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all

# What else must be passed to the linker, per variant.
release_LDFLAGS := -Wl,-z,relro,-z,now
asan_LDFLAGS := -fsanitize=address,undefined
tsan_LDFLAGS := -fsanitize=thread
cov_LDFLAGS := --coverage
fuzz_LDFLAGS := -fsanitize=address,undefined

WARN := -Wall -Wextra -Wcast-align -Wdate-time -Wformat=2 \
	-Wimplicit-fallthrough -Wmissing-declarations -Wmissing-prototypes \
	-Wnested-externs -Wold-style-definition -Wpointer-arith \
	-Wredundant-decls -Wshadow -Wstrict-prototypes -Wswitch-enum -Wundef \
	-Wvla -Wwrite-strings -Wno-unused-parameter
WARN_gcc := -Wduplicated-branches -Wduplicated-cond -Wlogical-op \
	-Wtrampolines -Wjump-misses-init
WARN_clang := -Wcomma -Wconditional-uninitialized -Wloop-analysis
WERROR := $(if $(filter-out 0,$(CI)),-Werror)

# ---- where things are installed -----------------------------------------

PREFIX ?= /usr/local
DESTDIR ?=
sbindir := $(PREFIX)/sbin
libexecdir := $(PREFIX)/libexec/romulus
mandir := $(PREFIX)/share/man
completiondir := $(PREFIX)/share/bash-completion/completions
unitdir := $(PREFIX)/lib/systemd/system
sysconfdir := /etc/romulus
xenscriptsdir := /etc/xen/scripts
rundir := /run/romulus
statedir := /var/lib/romulus

PATHS := -DVERSION_TEXT='"$(VERSION)"' -DLIBEXEC_DIR='"$(libexecdir)"' \
	-DCONF_DIR='"$(sysconfdir)"' -DRUN_DIR='"$(rundir)"' \
	-DSTATE_DIR='"$(statedir)"'

CPPFLAGS := -I. -D_GNU_SOURCE $(PATHS)
CFLAGS := -std=gnu17 -pthread -fPIE -fno-strict-aliasing \
	-ffile-prefix-map=$(CURDIR)=. $($(BUILD)_CFLAGS) \
	$(WARN) $(WARN_$(COMPILER)) $(WERROR) $(EXTRA_CFLAGS)
LDFLAGS := -pie -pthread $($(BUILD)_LDFLAGS) -Wl,--as-needed $(EXTRA_LDFLAGS)

# ---- what there is ------------------------------------------------------

# An archive per part; X_SRCS lists its files, X_PKGS its pkg-config names.
ARCHIVES :=
# Programs by where they go; P_SRCS starts with the file that has main(),
# P_ARCHIVES names the archives it links, outermost first.
SBIN_PROGRAMS :=
LIBEXEC_PROGRAMS :=
TEST_PROGRAMS :=
UNIT_TESTS :=
FUZZ_TARGETS :=
MAN_PAGES :=
CONF_FILES :=
UNITS :=
COMPLETIONS :=
# What libxl runs: to /etc/xen/scripts.
XEN_SCRIPTS :=
SHELL_SCRIPTS :=
# C files that something else compiles, such as what goes into the lab's images;
# only the lints look at them.
OTHER_C_FILES :=
# C files that a kernel's make compiles: no lint of ours knows their flags.
KERNEL_C_FILES :=
# Further lints (a target lint-X each), and further parts of check: name=command,
# ~ standing for a space.
LINTS :=
CHECKS :=

MODULES := lib replicator netbuffer disk arbiter tools guest man etc docs \
	tests tests/unit tests/sim tests/journal tests/fuzz $(if $(wildcard tests/lab/module.mk),tests/lab)
include $(MODULES:%=%/module.mk)

PROGRAMS := $(SBIN_PROGRAMS) $(LIBEXEC_PROGRAMS) $(TEST_PROGRAMS)
LISTED := $(foreach a,$(ARCHIVES) $(PROGRAMS),$($(a)_SRCS)) $(UNIT_TESTS) \
	$(FUZZ_TARGETS) $(MAN_PAGES) $(CONF_FILES) $(UNITS) $(COMPLETIONS) \
	$(SHELL_SCRIPTS) $(OTHER_C_FILES) $(KERNEL_C_FILES)
# A program exists as soon as its first file does.
have-main = $(wildcard $(firstword $($(1)_SRCS)))
BUILT := $(foreach p,$(PROGRAMS),$(if $(call have-main,$(p)),$(p)))
TESTS_BUILT := $(patsubst tests/unit/%.c,%,$(wildcard $(UNIT_TESTS)))
FUZZ_BUILT := $(patsubst tests/fuzz/%.c,%,$(wildcard $(FUZZ_TARGETS)))
C_FILES := $(filter-out $(KERNEL_C_FILES),$(filter %.c,$(wildcard $(LISTED))))
# Every C file and header of the tree, for the tools that read sources.
FORMAT_FILES = $(shell find lib replicator netbuffer disk arbiter tools guest tests \
	-name '*.[ch]' | LC_ALL=C sort)

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)')
pkg-cflags = $(if $(1),$(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(1))))
pkg-libs = $(if $(1),$(shell pkg-config --libs $(1)))

# ---- rules --------------------------------------------------------------

.PHONY: all
all: $(BUILT:%=$(B)/bin/%) $(ARCHIVES:%=$(B)/libromulus-%.a)	## build every program

# These goals prepare a bare machine by themselves, before anything is built.
SELF_SUFFICIENT := check check-unit check-long check-arbiters nbd-clients demo lab lab-failovers lab-leak \
	bench-peer bench-ktls bench-suspend lab-guest-module lab-module-failovers lab-module-host \
	lab-disk-failovers lab-drill lab-disk-faults lab-split lab-resync lab-switchover lab-story bench-disk module-kernels lab-xstate deps
.PHONY: deps
deps:	## install the Debian packages that building and testing need
	$(Q)tests/install-deps
DEPS := $(if $(filter $(SELF_SUFFICIENT),$(MAKECMDGOALS)),deps)

# Rewritten only when the flags differ, so that a change of flags rebuilds.
FLAGS_TEXT := $(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)
$(B)/flags: FORCE | $(DEPS)
	@mkdir -p $(@D)
	@printf '%s\n' "$$FLAGS_TEXT" | cmp -s - $@ || \
		printf '%s\n' "$$FLAGS_TEXT" >$@
export FLAGS_TEXT
.PHONY: FORCE
FORCE:

$(B)/obj/%.o: %.c $(B)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(call pkg-cflags,$(PKGS)) $(CFLAGS) -MMD -MP -c -o $@ $<

objects = $(patsubst %.c,$(B)/obj/%.o,$(wildcard $(1)))
archives = $(patsubst %,$(B)/libromulus-%.a,$(1))
archive-pkgs = $(sort $(foreach a,$(1),$($(a)_PKGS)))

define archive-rules
$(call objects,$($(1)_SRCS)): private PKGS := $($(1)_PKGS)
$(B)/libromulus-$(1).a: $(call objects,$($(1)_SRCS)) $(MODULES:%=%/module.mk)
	$$(call say,AR,$$@)
	@mkdir -p $$(@D)
	$(Q)rm -f $$@ && ar rcs $$@ $$(filter %.o,$$^)
endef
$(foreach a,$(ARCHIVES),$(eval $(call archive-rules,$(a))))

# $(1) target, $(2) its own sources, $(3) archives, $(4) further packages,
# $(5) further linker flags
define link-rules
$(B)/$(1): $(call objects,$(2)) $(call archives,$(3))
	$$(call say,LINK,$$@)
	@mkdir -p $$(@D)
	$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) $(5) -o $$@ $$(filter %.o,$$^) \
		-Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group \
		$$(call pkg-libs,$$(call archive-pkgs,$(3)) $(4))
endef
$(foreach p,$(BUILT),$(eval $(call objects,$($(p)_SRCS)): private PKGS := $($(p)_PKGS)))
$(foreach p,$(BUILT),$(eval $(call link-rules,bin/$(p),$($(p)_SRCS),$($(p)_ARCHIVES),$($(p)_PKGS),$($(p)_LDFLAGS))))
# A unit test or fuzz target may use any archive; the linker takes what it needs.
$(foreach t,$(TESTS_BUILT),$(if $($(t)_PKGS),$(eval $(call objects,tests/unit/$(t).c): private PKGS := $($(t)_PKGS))))
$(foreach t,$(TESTS_BUILT),$(eval $(call link-rules,unit/$(t),tests/unit/$(t).c,$(ARCHIVES),cmocka $($(t)_PKGS),$($(t)_LDFLAGS))))
$(foreach t,$(FUZZ_BUILT),$(eval $(call link-rules,fuzz/$(t),tests/fuzz/$(t).c,$(ARCHIVES),,-fsanitize=fuzzer)))

-include $(patsubst %.c,$(B)/obj/%.d,$(C_FILES))

# ---- tests --------------------------------------------------------------

RESULTS := $(B)/results
RUN := tests/run -r $(RESULTS) -d $(B)/log
SEEDS ?= $(if $(filter release,$(BUILD)),100000,2000)
FUZZ_SECONDS ?= 5
N ?= 20
CYCLES ?= 100000
KILLS ?= 200
SELF := $(MAKE) --no-print-directory
# Slow or source-only checks run once, in the release build.
FULL := $(filter release,$(BUILD))

.PHONY: tests check check-unit check-long check-complete sim fuzz valgrind
tests: $(TESTS_BUILT:%=$(B)/unit/%)	## build the unit tests

check-complete:	## every listed file exists and every C file is listed
	$(Q)tests/check-complete $(LISTED)

check: deps all tests	## all tests; the last line is "N passed, N failed"
	@rm -f $(RESULTS)
ifneq ($(FULL),)
	@$(foreach l,$(LINTS),$(RUN) -n lint-$(l) -- $(SELF) lint-$(l) || :;)
endif
	@$(RUN) $(TESTS_BUILT:%=$(B)/unit/%) || :
	@$(if $(filter sim,$(BUILT)),$(RUN) -t 600 -v -n sim -- $(SELF) sim || :)
ifneq ($(FULL),)
	@$(RUN) -t 1800 -v -n fuzz -- $(SELF) BUILD=fuzz CC=clang fuzz || :
	@$(foreach c,$(CHECKS),$(RUN) -t 1800 -v -n $(firstword $(subst =, ,$(c))) -- $(subst ~, ,$(lastword $(subst =, ,$(c)))) || :;)
endif
	@tests/run -s -r $(RESULTS)

check-unit: deps all tests	## the unit tests alone
	@rm -f $(RESULTS)
	@$(RUN) $(TESTS_BUILT:%=$(B)/unit/%) || :
	@tests/run -s -r $(RESULTS)

check-long: check	## what is too long for check: more seeds, longer fuzzing, soak
	@rm -f $(RESULTS)-long
	@$(if $(filter sim,$(BUILT)),tests/run -r $(RESULTS)-long -d $(B)/log -t 7200 -v -n sim-long -- $(SELF) SEEDS=5000000 sim || :)
	@tests/run -r $(RESULTS)-long -d $(B)/log -t 14400 -v -n fuzz-long -- $(SELF) BUILD=fuzz CC=clang FUZZ_SECONDS=300 fuzz || :
	@tests/run -r $(RESULTS)-long -d $(B)/log -t 14400 -v -n lab-long -- tests/lab/check-long || :
	@tests/run -s -r $(RESULTS)-long

sim: $(if $(filter sim,$(BUILT)),$(B)/bin/sim)	## the simulator: SEEDS=n many, or SEED=n that one
	$(Q)$(B)/bin/sim $(if $(SEED),--seed=$(SEED),--seeds=$(SEEDS))

.PHONY: sim-mutations journal-prefixes journal-mutants
sim-mutations: $(B)/bin/sim-mutants	## each rule of the cores broken on purpose is caught
	$(Q)$(B)/bin/sim-mutants
journal-prefixes: $(B)/bin/journal-prefixes	## N losses of power in lives of a disk's journal
	$(Q)$(B)/bin/journal-prefixes --prefixes $(if $(filter file,$(origin N)),10000,$(N))
journal-mutants: $(B)/bin/journal-mutants	## journals with a broken rule are caught
	$(Q)$(B)/bin/journal-mutants

ifeq ($(BUILD),fuzz)
fuzz: $(FUZZ_BUILT:%=$(B)/fuzz/%)
	@rm -f $(RESULTS)
	@$(foreach t,$(FUZZ_BUILT),mkdir -p $(B)/corpus/$(t); \
		$(RUN) -t $$(($(FUZZ_SECONDS) + 60)) -n $(t) -- $(B)/fuzz/$(t) \
		-max_total_time=$(FUZZ_SECONDS) -error_exitcode=1 -timeout=5 -rss_limit_mb=1024 \
		-artifact_prefix=$(B)/$(t)- $(B)/corpus/$(t) \
		$(wildcard tests/fuzz/corpus/$(t)) || :;)
	@tests/run -s -z -r $(RESULTS)
else
fuzz:	## each fuzz target for FUZZ_SECONDS
	@$(SELF) BUILD=fuzz CC=clang fuzz
endif

.PHONY: nbd-clients
nbd-clients: deps all	## the disk server under NBD clients
	$(Q)tests/nbd-clients $(B)/bin

.PHONY: check-arbiters
check-arbiters: deps all	## the arbiters, killed while two hosts race for terms
	$(Q)tests/check-arbiters $(B)/bin

valgrind: tests	## the unit tests under valgrind
	@rm -f $(RESULTS)
	@$(foreach t,$(filter-out $(VALGRIND_CANNOT),$(TESTS_BUILT)),$(RUN) -t 300 -n $(t) -- \
		valgrind -q --error-exitcode=9 --leak-check=full $(B)/unit/$(t) || :;)
	@$(foreach t,$(VALGRIND_CANNOT),$(RUN) -n $(t) -- sh -c 'echo valgrind does not know a system call of it; exit 77';)
	@tests/run -s -r $(RESULTS)

# ---- reading the sources ------------------------------------------------

.PHONY: lint tidy format format-check
lint:	## layering, format, shellcheck, cppcheck, mandoc, completeness
	@mkdir -p $(B); rm -f $(RESULTS)-lint
	@$(foreach l,$(LINTS),tests/run -r $(RESULTS)-lint -d $(B)/log -n lint-$(l) -- $(SELF) lint-$(l) || :;)
	@tests/run -s -r $(RESULTS)-lint

LINTS := complete runner layering format shell cppcheck man $(LINTS)
.PHONY: $(LINTS:%=lint-%)
lint-complete: check-complete
lint-layering:
	$(Q)tests/check-layering-test && tests/check-layering
lint-format: format-check
lint-runner:
	$(Q)tests/run-test
lint-shell:
	$(Q)shellcheck -x $(filter-out %.bash,$(wildcard $(SHELL_SCRIPTS) $(XEN_SCRIPTS)))
lint-cppcheck:
	$(Q)mkdir -p build/cppcheck
	$(Q)cppcheck -q -j2 --std=c11 --error-exitcode=1 --inline-suppr \
		--enable=warning,performance,portability --cppcheck-build-dir=build/cppcheck \
		--suppressions-list=tests/cppcheck.suppress -D_GNU_SOURCE -D__cppcheck__ -DTEST_HOOKS=1 \
		-I. $(C_FILES)
lint-man:
	$(Q)for f in $(wildcard $(MAN_PAGES)); do mandoc -T lint -W warning $$f || exit 1; done

# One file a run: clang-tidy 14 invents an uninitialised va_list otherwise.
tidy: $(C_FILES:%=build/tidy/%.ok)	## clang-tidy, one file a run
build/tidy/%.ok: % .clang-tidy
	$(call say,TIDY,$<)
	@mkdir -p $(@D)
	$(Q)clang-tidy --quiet --warnings-as-errors='*' $< -- $(CPPFLAGS) -DTEST_HOOKS=1 \
		$(call pkg-cflags,$(call archive-pkgs,$(ARCHIVES))) -std=gnu17 2>$@.log || \
		{ cat $@.log; exit 1; }
	@touch $@

format:	## put every C file into shape
	$(Q)clang-format -i $(FORMAT_FILES)
format-check:	## say which C files are out of shape
	$(Q)clang-format --dry-run -Werror $(FORMAT_FILES)

# ---- the lab ------------------------------------------------------------

.PHONY: demo lab lab-failovers lab-leak bench-peer bench-ktls bench-suspend lab-guest-module lab-module-failovers lab-module-host lab-disk-failovers lab-drill lab-disk-faults lab-split lab-resync lab-switchover lab-story bench-disk module-kernels lab-xstate
demo: deps all	## protect a VM, kill its host, see it live on
	$(Q)tests/lab/demo
lab: deps all	## two Xen hosts and a prompt
	$(Q)tests/lab/lab shell
lab-failovers: deps all	## N failovers in a row under load
	$(Q)tests/lab/failovers $(N)
lab-leak: deps all	## no frame of an unacknowledged epoch gets out
	$(Q)tests/lab/leak
lab-guest-module: deps all	## CYCLES suspends of a guest with the module
	$(Q)tests/lab/guest-module $(CYCLES)
lab-module-failovers: deps all	## N failovers of a guest with the module
	$(Q)tests/lab/module-failovers $(N)
lab-module-host: deps all	## the host's side of the channel: pauses, reloads, floods, kills
	$(Q)tests/lab/module-host $(KILLS)
lab-disk-failovers: deps all	## N failovers of a database on a protected disk
	$(Q)tests/lab/disk-failovers $(N)
lab-disk-faults: deps all	## a server, host or disk fails under a database on a protected disk; SCENARIOS
	$(Q)tests/lab/disk-faults $(SCENARIOS)
lab-split: deps all	## two hosts and a witness lose each other; SCENARIOS
	$(Q)tests/lab/split $(SCENARIOS)
lab-switchover: deps all	## N planned moves there and back under load
	$(Q)tests/lab/switchover $(N)
lab-story: deps all	## a failover, a repair, protected again, brought back
	$(Q)tests/lab/story
lab-resync: deps all	## what is copied of a disk after 1 % of it changed
	$(Q)tests/lab/disk-resync
module-kernels: deps	## the guest's module built for other kernels, and booted with them
	$(Q)tests/module-kernels
lab-drill: deps all	## N drills of a protected VM (GUEST=g4: with a disk), and what must not come of one
	$(Q)tests/lab/drill $(N) $(GUEST)
lab-xstate: deps all	## AVX registers over checkpoints, ours and the peer's
	$(Q)tests/lab/xstate
bench-peer: deps all	## our pause against xl remus, in pairs
	$(Q)tests/lab/bench-peer
bench-ktls: deps all	## the first copy by the kernel's TLS against OpenSSL's
	$(Q)tests/lab/bench-ktls
bench-disk: deps all	## a guest's disk protected, unprotected, and on a loop device
	$(Q)tests/lab/bench-disk
bench-suspend: deps all	## suspending a guest, by its event channel against xl's way
	$(Q)tests/lab/bench-suspend $(CYCLES)

# ---- installing ---------------------------------------------------------

inst = install -D -m $(1) $(2) '$(DESTDIR)$(3)'
subst-paths = sed -e 's|@sbindir@|$(sbindir)|g' -e 's|@libexecdir@|$(libexecdir)|g' \
	-e 's|@sysconfdir@|$(sysconfdir)|g' -e 's|@rundir@|$(rundir)|g' -e 's|@statedir@|$(statedir)|g'
built-of = $(filter $(BUILT),$(1))
man-target = $(mandir)/man$(subst .,,$(suffix $(1)))/$(notdir $(1))
INSTALLED = $(patsubst %,$(sbindir)/%,$(call built-of,$(SBIN_PROGRAMS))) \
	$(patsubst %,$(libexecdir)/%,$(call built-of,$(LIBEXEC_PROGRAMS))) \
	$(foreach m,$(wildcard $(MAN_PAGES)),$(call man-target,$(m))) \
	$(foreach u,$(wildcard $(UNITS)),$(unitdir)/$(notdir $(u:%.in=%))) \
	$(foreach x,$(wildcard $(XEN_SCRIPTS)),$(xenscriptsdir)/$(notdir $(x))) \
	$(foreach c,$(wildcard $(COMPLETIONS)),$(completiondir)/$(basename $(notdir $(c))))

.PHONY: install uninstall dist-check
install: all	## install below DESTDIR and PREFIX; a config that is there is kept
	$(foreach p,$(call built-of,$(SBIN_PROGRAMS)),$(call inst,755,$(B)/bin/$(p),$(sbindir)/$(p)) &&) \
	$(foreach p,$(call built-of,$(LIBEXEC_PROGRAMS)),$(call inst,755,$(B)/bin/$(p),$(libexecdir)/$(p)) &&) \
	$(foreach m,$(wildcard $(MAN_PAGES)),$(call inst,644,$(m),$(call man-target,$(m))) &&) \
	$(foreach x,$(wildcard $(XEN_SCRIPTS)),$(call inst,755,$(x),$(xenscriptsdir)/$(notdir $(x))) &&) \
	$(foreach c,$(wildcard $(COMPLETIONS)),$(call inst,644,$(c),$(completiondir)/$(basename $(notdir $(c)))) &&) \
	$(foreach u,$(wildcard $(UNITS)),$(subst-paths) $(u) >$(B)/unit.tmp && \
		$(call inst,644,$(B)/unit.tmp,$(unitdir)/$(notdir $(u:%.in=%))) &&) \
	$(foreach c,$(wildcard $(CONF_FILES)),{ test -e '$(DESTDIR)$(sysconfdir)/$(notdir $(c))' || \
		$(call inst,644,$(c),$(sysconfdir)/$(notdir $(c))); } &&) :

uninstall:	## remove what install put there, but never the config
	rm -f $(foreach f,$(INSTALLED),'$(DESTDIR)$(f)')

dist-check: all	## install to a temporary place, compare with tests/dist-files, run the tools
	$(Q)tests/dist-check $(CURDIR)/$(B)/dist

# ---- the rest -----------------------------------------------------------

.PHONY: clean distclean help
clean:	## remove this variant's objects and programs
	rm -rf $(B)
distclean:	## remove every build, caches of the lab included
	rm -rf build

help:	## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | \
		awk -F'|' '{ printf "%-24s %s\n", $$1, $$2 }'
	@printf '%s\n' '' '  BUILD=$(VARIANTS)' '  CC=gcc|clang  CI=1 (-Werror)  V=1 (show commands)'
