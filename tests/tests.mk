# SPDX-License-Identifier: BSD-2-Clause
#
# Test programs and test targets; included by the Makefile.

JOBS ?= $(shell nproc)
CHECK_LIBS := -lcheck -lsubunit -lrt -lm
# Check gives a test 4 s, which a sanitizer on a busy machine can use up.
export CK_TIMEOUT_MULTIPLIER ?= 5

# ---- unit tests: one module at a time -----------------------------------

SOURCES_unit := $(sort $(wildcard tests/unit/*.c)) $(COMMON) $(PROVIDERS) \
	blkback/blkif-abi.c blkback/idle-poll.c blkback/inflight.c \
	blkback/page-pool.c \
	blkback/request.c blkback/ring.c blkback/sleep-cost.c blkback/throttle.c \
	blkback/vdev.c \
	blkback/worker-message.c
LIBS_unit := $(CHECK_LIBS) -luring
# Whole queues, over a transport that does as the test says.
SOURCES_unit-queue := $(sort $(wildcard tests/unit/queue/*.c)) \
	tests/unit/slot.c tests/unit/unit-main.c $(COMMON) $(PROVIDERS) \
	blkback/blkif-abi.c blkback/connection-params.c blkback/connection.c \
	blkback/grant-cache.c blkback/idle-poll.c blkback/inflight.c \
	blkback/page-pool.c blkback/queue-open.c blkback/queue.c \
	blkback/request.c blkback/ring.c blkback/throttle.c blkback/transfer.c
LIBS_unit-queue := $(CHECK_LIBS) -luring
# The same without what looks at the clock, and without tests.
SOURCES_instructions := tests/bench/instructions.c tests/bench/never-poll.c \
	$(filter-out tests/unit/queue/test-%.c tests/unit/queue/unit-%.c \
	tests/unit/unit-main.c blkback/idle-poll.c,$(SOURCES_unit-queue))
LIBS_instructions := $(LIBS_unit-queue)

# The walls of a worker, from inside.
SOURCES_unit-sandbox := $(sort $(wildcard tests/unit/sandbox/*.c)) \
	tests/unit/unit-main.c common/error-text.c diskd/sandbox-mounts.c \
	diskd/sandbox-syscalls.c diskd/sandbox.c
LIBS_unit-sandbox := $(CHECK_LIBS) -lseccomp

# The disk out of a git tree.
SOURCES_unit-git-fat := $(sort $(wildcard tests/unit/git-fat/*.c)) \
	tests/unit/unit-main.c $(COMMON) $(GIT_FAT) git-fat/git-provider.c \
	$(filter git-fat/verify%.c,$(SOURCES_git-fat)) \
	git-fat/owner.c git-fat/pin.c $(CONTRACT)
LIBS_unit-git-fat := $(CHECK_LIBS) -luring -lgit2 -lmd -lz

# Against real NBD servers, and one that lies.
SOURCES_unit-nbd := $(filter-out %-server.c, \
	$(sort $(wildcard tests/unit/nbd/*.c))) tests/unit/unit-main.c \
	$(COMMON) $(NBD_CLIENT) $(CONTRACT)
LIBS_unit-nbd := $(CHECK_LIBS) -luring -lnbd
SOURCES_nbd-hostile-server := tests/unit/nbd/hostile-server.c
SOURCES_nbd-volatile-server := tests/unit/nbd/volatile-server.c

# ---- the simulation: real daemon, real xenstored, real xl, no Xen --------

TRANSPORT_SIM := tests/sim/evtchn-sim.c tests/sim/gnttab-sim.c \
	tests/sim/sim-client.c
SOURCES_xen-diskd-worker-sim := $(WORKER_LOCAL) $(TRANSPORT_SIM)
LIBS_xen-diskd-worker-sim := -luring -lseccomp
# One that has bugs; see tests/sim/poison.h.
SOURCES_xen-diskd-worker-poison := $(WORKER) $(PROVIDERS) \
	tests/sim/registry-poison.c $(TRANSPORT_SIM)
LIBS_xen-diskd-worker-poison := -luring -lseccomp
# One that the daemon was not started anew for.
SOURCES_xen-diskd-worker-other := tests/sim/worker-other.c $(TRANSPORT_SIM) \
	$(filter-out blkback/worker-message.c diskd/worker-main.c,$(WORKER_LOCAL))
LIBS_xen-diskd-worker-other := -luring -lseccomp
SOURCES_xen-diskd-worker-sim-git := $(WORKER_GIT) $(TRANSPORT_SIM)
LIBS_xen-diskd-worker-sim-git := -luring -lseccomp -lgit2 -lz
SOURCES_xen-diskd-worker-sim-nbd := $(WORKER_NBD) $(TRANSPORT_SIM)
LIBS_xen-diskd-worker-sim-nbd := -luring -lseccomp -lnbd

SIM_HOST := tests/sim/blkfront.c tests/sim/host-control.c \
	tests/sim/host-process.c tests/sim/host-toolstack.c tests/sim/host.c \
	tests/sim/load.c tests/sim/sim.c
SIM_TESTS := control features fence frontend-faults git handshake hostile io left \
	let-go limits nbd paths poison races recovery service transport xenstored xl
define sim_test
SOURCES_test-$(1) := tests/sim/test-$(1).c $$(SIM_HOST)
LIBS_test-$(1) := $$(CHECK_LIBS) -lxenstore -ljansson
endef
$(foreach t,$(SIM_TESTS),$(eval $(call sim_test,$(t))))
SOURCES_test-left += tests/sim/poison.c
SOURCES_test-poison += tests/sim/poison.c
SOURCES_test-features += tests/unit/loop-device.c
SOURCES_test-control += tests/sim/walls.c
SOURCES_test-nbd += tests/sim/walls.c
SOURCES_test-fence += tests/sim/slow-file.c tests/unit/loop-device.c
# Not among the others: it is of the release's workers.
SOURCES_test-kills := tests/sim/test-kills.c tests/sim/killer.c \
	tests/sim/oracle.c tests/unit/loop-device.c $(SIM_HOST)
LIBS_test-kills := $(CHECK_LIBS) -lxenstore -ljansson
# Is a worker itself, too, that was taken over.
SOURCES_test-git += blkback/worker-message.c tests/sim/walls.c
SOURCES_test-recovery += common/sealed-memfd.c blkback/worker-message.c
SOURCES_test-transport += tests/sim/conformance.c common/io-loop.c \
	$(TRANSPORT_SIM)
LIBS_test-transport += -luring

# Preloaded into programs that are not ours: never with a sanitizer, nor with
# _FORTIFY_SOURCE, whose inline open() it would collide with.
SIM_PRELOAD := $(TEST_BIN)/xenstored-preload.so
$(SIM_PRELOAD): tests/sim/xenstored-preload.c tests/sim/sim-wire.h
	@mkdir -p $(@D)
	$(call say,CC   $@)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g -I. $(WARNINGS) -shared \
		-fPIC -o $@ $< -ldl

SOURCES_ctl-answer := tests/ctl/answer.c

SOURCES_git-first-sector := tests/bench/git-first-sector.c \
	common/error-text.c common/number.c $(GIT_FAT)
LIBS_git-first-sector := -lgit2 -lz

SOURCES_nbd-bench := tests/bench/nbd-bench.c $(COMMON) $(NBD_CLIENT) \
	$(CONTRACT)
LIBS_nbd-bench := -luring -lnbd
SOURCES_ring-bench := tests/bench/ring-bench.c tests/bench/meter.c \
	$(SIM_HOST)
SOURCES_vhost-bench := tests/bench/vhost-bench.c tests/bench/meter.c
LIBS_ring-bench := $(CHECK_LIBS) -lxenstore -ljansson

# ---- fuzzing -----------------------------------------------------------------

# With what each needs and no more; clang has libFuzzer.
FUZZERS := raw-tree inflight journal
FUZZ_SOURCES_raw-tree := tests/unit/git-fat/name-invariants.c git-fat/fold.c \
	git-fat/name-set.c git-fat/name-short.c git-fat/name-units.c \
	git-fat/names.c git-fat/raw-tree.c
FUZZ_SOURCES_inflight := blkback/inflight.c common/error-text.c
FUZZ_SOURCES_journal := blkback/blkif-abi.c blkback/connection-params.c \
	blkback/inflight.c blkback/ring.c blkback/vbd-journal.c \
	blkback/worker-message.c common/error-text.c common/log.c
FUZZ := $(FUZZERS:%=build/fuzz/fuzz-%)
FUZZ_SECONDS ?= 60
define fuzzer
build/fuzz/fuzz-$(1): tests/fuzz/fuzz-$(1).c $(FUZZ_SOURCES_$(1))
endef
$(foreach f,$(FUZZERS),$(eval $(call fuzzer,$(f))))
$(FUZZ): $(wildcard blkback/*.h git-fat/*.h common/*.h providers/*.h) \
		tests/unit/git-fat/name-invariants.h
	@mkdir -p $(@D)
	$(call say,FUZZ $@)
	$(Q)clang -std=gnu11 -D_GNU_SOURCE -O1 -g -I. $(WARNINGS) \
		-fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=undefined -o $@ $(filter %.c,$^)

# ---- programs ----------------------------------------------------------------

TEST_PROGRAMS := unit unit-git-fat unit-nbd unit-queue unit-sandbox nbd-hostile-server \
	nbd-volatile-server \
	xen-diskd-worker-sim xen-diskd-worker-sim-git xen-diskd-worker-sim-nbd \
	xen-diskd-worker-poison xen-diskd-worker-other \
	ctl-answer git-first-sector nbd-bench ring-bench \
	vhost-bench instructions test-kills \
	$(SIM_TESTS:%=test-%)

test-programs: all $(TEST_PROGRAMS:%=$(TEST_BIN)/%) $(SIM_PRELOAD)

# Those whose threads TSan is to see.
tsan-programs: all $(TEST_BIN)/xen-diskd-worker-sim $(TEST_BIN)/unit \
	$(TEST_BIN)/unit-git-fat

# ---- what the machine needs -----------------------------------------------

deps:
	@tests/install-packages.sh tests/packages
deps-xen:
	@tests/install-packages.sh tests/packages tests/xen/packages

# ---- suites -----------------------------------------------------------------

# One variant's fast suites, as NAME=COMMAND for check.sh.
fast_suites = 'unit-$(1)=build/$(1)/tests/unit' \
	'unit-git-fat-$(1)=build/$(1)/tests/unit-git-fat' \
	'unit-nbd-$(1)=build/$(1)/tests/unit-nbd' \
	'unit-queue-$(1)=build/$(1)/tests/unit-queue' \
	$(foreach t,$(SIM_TESTS),'sim-$(t)-$(1)=CK_EXCLUDE_TAGS=timed \
	build/$(1)/tests/test-$(t)')
# What threads share: the cache's own tests are among the slow ones.
tsan_git_fat = 'unit-$(1)-tsan=CK_RUN_SUITE=$(1) build/tsan/tests/unit-git-fat'
TSAN_SUITES := $(call tsan_git_fat,git-provider)
TSAN_SUITES += \
	'unit-file-blocks-tsan=CK_RUN_SUITE=file-blocks build/tsan/tests/unit' \
	'unit-file-map-tsan=CK_RUN_SUITE=file-map build/tsan/tests/unit'
# The threads are the worker's; the frontend races with it on purpose.
tsan_sim = 'sim-$(1)-$(2)-tsan=TEST_DAEMON=$$PWD/build/tsan/bin/xen-diskd \
	TEST_WORKER=$$PWD/build/tsan/tests/xen-diskd-worker-sim \
	CK_RUN_CASE=$(2) build/release/tests/test-$(1)'
TSAN_SUITES += $(call tsan_sim,io,requests) $(call tsan_sim,features,features) \
	$(call tsan_sim,limits,size) $(call tsan_sim,limits,limits)
# Whole disks out of repositories of every kind; each prints TAP.
GIT_FAT_SUITES := $(foreach s,corpus repositories revisions hostile, \
	$(if $(wildcard tests/git-fat/$(s).sh),'git-fat-$(s)=BIN=build/release/bin \
	TOP=. timeout 120 tests/git-fat/$(s).sh'))
# The walls: a sanitizer's build has but half of them.
FAST_SUITES := $(call fast_suites,release) $(call fast_suites,asan) \
	'unit-sandbox=build/release/tests/unit-sandbox' \
	'sim-kills=build/release/tests/test-kills' \
	$(TSAN_SUITES) $(GIT_FAT_SUITES) \
	'fuzz-corpus=FUZZ=build/fuzz tests/fuzz/run.sh' \
	'ctl=BIN=build/release/bin TEST_BIN=build/release/tests TOP=. tests/ctl/ctl.sh' \
	'options=BIN=build/release/bin TOP=. tests/ctl/options.sh' \
	'instructions=tests/bench/instructions.sh build/release/tests/instructions' \
	'mutants=tests/mutants/run.sh --apply' \
	'layers=tests/layers.sh' 'format=tests/format.sh'
# With bounds for 99 of 100, which hold with nothing beside them.
TIMED_SUITES := 'sim-recovery-timed=CK_INCLUDE_TAGS=timed \
	build/release/tests/test-recovery'
# Too long to wait for after each change.
SLOW_SUITES := 'fuzz=FUZZ=build/fuzz tests/fuzz/run.sh $(FUZZ_SECONDS)' \
	$(call tsan_git_fat,object-cache)
XEN_SUITES := 'xen=tests/xen/run.sh --dest build/release/dest --out build/release/xen $(SCENARIO)'

release-programs: deps
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=release DEVELOPER=1 \
		test-programs

check-programs: release-programs
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=asan DEVELOPER=1 \
		test-programs
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=tsan DEVELOPER=1 \
		tsan-programs
	@$(MAKE) --no-print-directory $(FUZZ)

check-fast: check-programs
	@tests/check.sh build/check -j 3 $(FAST_SUITES) --alone $(TIMED_SUITES)

# The images are made beside the builds and the fast suites: that mostly waits
# for downloads.  Nothing runs beside a boot, nor beside what is timed.
check: deps-xen
	@mkdir -p build; rm -f build/check-fast.log build/check-xen.log
	@{ tests/xen/image.sh build/lab/image && tests/xen/image.sh \
		--xen 4.20 build/lab/image-xen-4.20; } > build/lab-image.log 2>&1 & \
	image=$$!; \
	$(MAKE) --no-print-directory check-programs && \
	tests/check.sh build/check -j 3 $(SLOW_SUITES) $(FAST_SUITES) \
		> build/check-fast.log; \
	cat build/check-fast.log; \
	wait $$image || cat build/lab-image.log; \
	$(MAKE) --no-print-directory dest && \
	tests/check.sh build/check $(TIMED_SUITES) $(XEN_SUITES) \
		> build/check-xen.log; \
	cat build/check-xen.log; \
	tests/check-total.sh build/check-fast.log build/check-xen.log

dest:
	@rm -rf build/release/dest
	@$(MAKE) --no-print-directory -j$(JOBS) VARIANT=release DEVELOPER=1 \
		install DESTDIR=$(CURDIR)/build/release/dest > /dev/null

check-xen: deps-xen dest
	@tests/xen/run.sh --dest build/release/dest --out build/release/xen \
		$(SCENARIO)
soak-xen: deps-xen dest
	@SOAK=1 tests/xen/run.sh --dest build/release/dest \
		--out build/release/xen-soak $(SCENARIO)
kills-xen:
	@$(MAKE) --no-print-directory soak-xen \
		SCENARIO="kills kills-pvh"
# Big trees, and figures of this machine.
deps-git-fat: deps
	@tests/install-packages.sh tests/git-fat/packages
soak: deps-git-fat release-programs
	@BIN=build/release/bin TOP=. tests/git-fat/soak.sh
bench-git: deps-git-fat release-programs
	@BIN=build/release/bin TEST_BIN=build/release/tests TOP=. \
		tests/git-fat/bench.sh $(REPOSITORY)
deps-bench: deps
	@tests/install-packages.sh tests/bench/packages
# Each for half an hour; of bench-xen, BENCH_CASES="tmpfs" needs ten minutes.
BENCH_ROUNDS ?= 5
BENCH_SECONDS ?= 3
bench: BENCH_CASES ?= null tmpfs disk queues vbds nbd
bench-xen: BENCH_CASES ?= tmpfs disk brd
bench: release-programs deps-bench
	@mkdir -p build/bench
	@tests/bench/engine.sh --bin build/release/tests \
		--rounds $(BENCH_ROUNDS) --seconds $(BENCH_SECONDS) \
		$(BENCH_CASES:%=--case %) --json build/bench/engine.json
# Fewer rounds do not tell 2 % from none.
bench-journal: BENCH_ROUNDS = 15
bench-journal: release-programs
	@tests/bench/journal.sh --rounds $(BENCH_ROUNDS) \
		--seconds $(BENCH_SECONDS)
bench-instructions: release-programs
	@tests/bench/instructions.sh build/release/tests/instructions
bench-instructions-update: release-programs
	@tests/bench/instructions.sh build/release/tests/instructions --update
bench-charts: deps-bench
	@tests/bench/charts.sh build/bench docs
bench-xen: deps-xen dest
	@mkdir -p build/bench
	@tests/xen/bench/bench.sh --dest build/release/dest \
		--rounds $(BENCH_ROUNDS) --seconds $(BENCH_SECONDS) \
		$(BENCH_CASES:%=--case %) --json build/bench/xen.json
profile-xen: BENCH_CASES ?= tmpfs
profile-xen: BENCH_SECONDS = 10
profile-xen: deps-xen deps-bench dest
	@tests/xen/bench/bench.sh --dest build/release/dest --profile \
		--seconds $(BENCH_SECONDS) $(BENCH_CASES:%=--case %)
xen-shell: deps-xen dest
	@tests/xen/shell.sh --dest build/release/dest
demo: deps-xen dest
	@tests/xen/demo.sh --dest build/release/dest
# All kinds of disks together; more than an hour.
KILLS ?= 119000
kills: release-programs
	@KILLS=$(KILLS) tests/sim/kills.sh build/release/tests/test-kills \
		build/kills
mutants: check-programs
	@tests/mutants/run.sh $(MUTANT)

#: make demo              real Xen, a real guest, a disk that we serve to it
#: make check             every test, real Xen included
#: make check-fast        without real Xen
#: make check-xen         the scenarios on real Xen (SCENARIO=name for one)
#: make soak-xen          the scenarios with their whole counts
#: make kills-xen         workers, supervisors and both killed 280 times
#: make soak              the checks of git disks with the kernel's sources
#: make bench-git         how fast a git disk is (REPOSITORY=path)
#: make bench             what the engine costs, beside qemu-storage-daemon and fio
#: make bench-xen         how fast disks are, beside blkback and qdisk
#: make profile-xen       where the time of its loads goes
#: make bench-charts      draws what these two have measured, into docs/
#: make bench-journal     what it costs to write requests down for a successor: < 2 %
#: make bench-instructions  instructions of a request, beside the baseline
#: make bench-instructions-update  makes what is so now the baseline
#: make xen-shell         a shell in dom0, the daemon running and a guest up
#: make kills             workers killed at every store (KILLS=how many)
#: make mutants           faults put into the source, each must be caught
#: make format            lay all C files out as .clang-format has it
#: make deps              install Debian packages to build and test with

format:
	@tests/format.sh --fix

.PHONY: format test-programs tsan-programs deps deps-xen release-programs \
	check-programs check check-fast check-xen soak soak-xen kills kills-xen bench bench-git bench-xen \
	bench-charts bench-instructions bench-instructions-update bench-journal deps-bench \
	deps-git-fat profile-xen xen-shell demo mutants dest
