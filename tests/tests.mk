# SPDX-License-Identifier: BSD-2-Clause
#
# Test programs and test targets; included by the Makefile.

JOBS ?= $(shell nproc)
CHECK_LIBS := -lcheck -lsubunit -lrt -lm
# Check gives a test 4 s, which a sanitizer on a busy machine can use up.
export CK_TIMEOUT_MULTIPLIER ?= 5

# ---- unit tests: one module at a time -----------------------------------

SOURCES_unit := $(sort $(wildcard tests/unit/*.c)) $(COMMON) $(PROVIDERS) \
	blkback/blkif-abi.c blkback/inflight.c blkback/page-pool.c \
	blkback/request.c blkback/ring.c blkback/vdev.c \
	blkback/worker-message.c
LIBS_unit := $(CHECK_LIBS) -luring
# Whole queues, over a transport that does as the test says.
SOURCES_unit-queue := $(sort $(wildcard tests/unit/queue/*.c)) \
	tests/unit/slot.c tests/unit/unit-main.c $(COMMON) $(PROVIDERS) \
	blkback/blkif-abi.c blkback/connection-params.c blkback/connection.c \
	blkback/inflight.c \
	blkback/page-pool.c blkback/queue.c blkback/request.c blkback/ring.c
LIBS_unit-queue := $(CHECK_LIBS) -luring

# ---- the simulation: real daemon, real xenstored, real xl, no Xen --------

TRANSPORT_SIM := tests/sim/evtchn-sim.c tests/sim/gnttab-sim.c \
	tests/sim/sim-client.c
SOURCES_xen-diskd-worker-sim := $(WORKER) blkback/connection-params.c \
	$(TRANSPORT_SIM)
LIBS_xen-diskd-worker-sim := -luring

SIM_HOST := tests/sim/blkfront.c tests/sim/host-control.c \
	tests/sim/host-process.c tests/sim/host-toolstack.c tests/sim/host.c \
	tests/sim/sim.c
SIM_TESTS := control frontend-faults handshake hostile io races transport xenstored xl
define sim_test
SOURCES_test-$(1) := tests/sim/test-$(1).c $$(SIM_HOST)
LIBS_test-$(1) := $$(CHECK_LIBS) -lxenstore -ljansson
endef
$(foreach t,$(SIM_TESTS),$(eval $(call sim_test,$(t))))
SOURCES_test-transport += tests/sim/conformance.c $(TRANSPORT_SIM)

# Preloaded into programs that are not ours: never with a sanitizer, nor with
# _FORTIFY_SOURCE, whose inline open() it would collide with.
SIM_PRELOAD := $(TEST_BIN)/xenstored-preload.so
$(SIM_PRELOAD): tests/sim/xenstored-preload.c tests/sim/sim-wire.h
	@mkdir -p $(@D)
	$(call say,CC   $@)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g -I. $(WARNINGS) -shared \
		-fPIC -o $@ $< -ldl

SOURCES_ctl-answer := tests/ctl/answer.c

TEST_PROGRAMS := unit unit-queue xen-diskd-worker-sim ctl-answer \
	$(SIM_TESTS:%=test-%)

test-programs: all $(TEST_PROGRAMS:%=$(TEST_BIN)/%) $(SIM_PRELOAD)

worker-sim: all $(TEST_BIN)/xen-diskd-worker-sim

# ---- what the machine needs -----------------------------------------------

deps:
	@tests/install-packages.sh tests/packages
deps-xen:
	@tests/install-packages.sh tests/packages tests/xen/packages

# ---- suites -----------------------------------------------------------------

# One variant's fast suites, as NAME=COMMAND for check.sh.
fast_suites = 'unit-$(1)=build/$(1)/tests/unit' \
	'unit-queue-$(1)=build/$(1)/tests/unit-queue' \
	$(foreach t,$(SIM_TESTS),'sim-$(t)-$(1)=build/$(1)/tests/test-$(t)')
# The threads are the worker's; the frontend races with it on purpose.
TSAN_SUITES := 'sim-io-tsan=TEST_DAEMON=$$PWD/build/tsan/bin/xen-diskd \
	TEST_WORKER=$$PWD/build/tsan/tests/xen-diskd-worker-sim \
	build/release/tests/test-io'
FAST_SUITES := $(call fast_suites,release) $(call fast_suites,asan) \
	$(TSAN_SUITES) \
	'ctl=BIN=build/release/bin TEST_BIN=build/release/tests TOP=. tests/ctl/ctl.sh' \
	'options=BIN=build/release/bin TOP=. tests/ctl/options.sh' \
	'layers=tests/layers.sh' 'format=tests/format.sh'
XEN_SUITES := 'xen=tests/xen/run.sh --dest build/release/dest --out build/release/xen $(SCENARIO)'

check-programs: deps
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=release DEVELOPER=1 \
		test-programs
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=asan DEVELOPER=1 \
		test-programs
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=tsan DEVELOPER=1 \
		worker-sim

check-fast: check-programs
	@tests/check.sh build/check -j 3 $(FAST_SUITES)

# The image is made beside the builds and the fast suites: it mostly waits for
# downloads.  Nothing runs beside a boot.
check: deps-xen
	@mkdir -p build; rm -f build/check-fast.log build/check-xen.log
	@tests/xen/image.sh build/lab/image > build/lab-image.log 2>&1 & \
	image=$$!; \
	$(MAKE) --no-print-directory check-programs && \
	tests/check.sh build/check -j 3 $(FAST_SUITES) > build/check-fast.log; \
	cat build/check-fast.log; \
	wait $$image || cat build/lab-image.log; \
	$(MAKE) --no-print-directory dest && \
	tests/check.sh build/check $(XEN_SUITES) > build/check-xen.log; \
	cat build/check-xen.log; \
	tests/check-total.sh build/check-fast.log build/check-xen.log

dest:
	@rm -rf build/release/dest
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=release install \
		DESTDIR=$(CURDIR)/build/release/dest > /dev/null

check-xen: deps-xen dest
	@tests/xen/run.sh --dest build/release/dest --out build/release/xen \
		$(SCENARIO)
soak-xen: deps-xen dest
	@SOAK=1 tests/xen/run.sh --dest build/release/dest \
		--out build/release/xen-soak $(SCENARIO)
xen-shell: deps-xen dest
	@tests/xen/shell.sh --dest build/release/dest
demo: deps-xen dest
	@tests/xen/demo.sh --dest build/release/dest
mutants: check-programs
	@tests/mutants/run.sh $(MUTANT)

#: make demo              real Xen, a real guest, a disk that we serve to it
#: make check             every test, real Xen included
#: make check-fast        without real Xen
#: make check-xen         the scenarios on real Xen (SCENARIO=name for one)
#: make soak-xen          the scenarios with their whole counts
#: make xen-shell         a shell in dom0, the daemon running and a guest up
#: make mutants           faults put into the source, each must be caught
#: make format            lay all C files out as .clang-format has it
#: make deps              install Debian packages to build and test with

format:
	@tests/format.sh --fix

.PHONY: format test-programs worker-sim deps deps-xen check-programs check check-fast check-xen \
	soak-xen xen-shell demo mutants dest
