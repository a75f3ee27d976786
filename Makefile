# SPDX-License-Identifier: BSD-2-Clause
#
# xen-diskd: one Makefile for everything.  `make help` lists the targets.
# Objects and programs of a variant lie below build/VARIANT/.

VERSION := 0.1.0
VARIANT ?= release

prefix ?= /usr
bindir ?= $(prefix)/bin
sbindir ?= $(prefix)/sbin
datadir ?= $(prefix)/share
mandir ?= $(datadir)/man
unitdir ?= $(prefix)/lib/systemd/system
sysconfdir ?= /etc
DESTDIR ?=

BUILD := build/$(VARIANT)
BIN := $(BUILD)/bin
TEST_BIN := $(BUILD)/tests

# ---- flags ------------------------------------------------------------

CC = gcc
FLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
FLAGS_debug := -O0 -g
FLAGS_asan := -O1 -g -fno-omit-frame-pointer \
	-fsanitize=address,undefined -fno-sanitize-recover=all
# TSan knows no fences: those of the ring are between processes anyway.
FLAGS_tsan := -O1 -g -fsanitize=thread -Wno-tsan
ifndef FLAGS_$(VARIANT)
$(error VARIANT=$(VARIANT): no such variant (release, debug, asan, tsan))
endif

WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes \
	-Wstrict-prototypes
ifeq ($(DEVELOPER),1)
WARNINGS += -Werror
endif

ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -I. -pthread \
	-DXEN_DISKD_VERSION='"$(VERSION)"' \
	-DXEN_DISKD_DATADIR='"$(datadir)/xen-diskd"' \
	$(WARNINGS) $(FLAGS_$(VARIANT)) -MMD -MP $(CFLAGS)
ALL_LDFLAGS = -pthread $(FLAGS_$(VARIANT)) $(LDFLAGS)

# `make V=1` shows the commands themselves.
Q := $(if $(V),,@)
say = $(if $(V),,@echo '  $(1)')

# ---- sources ----------------------------------------------------------

COMMON := common/error-text.c common/io-loop.c common/log.c common/number.c \
	common/sealed-memfd.c
# What providers share.
CONTRACT := providers/mailbox.c providers/provider-spec.c providers/provider.c \
	providers/rmw.c
PROVIDERS := $(CONTRACT) providers/file-blocks.c providers/file-discard.c \
	providers/file-flush.c providers/file-map.c providers/file-ranges.c providers/file.c providers/file-format.c \
	providers/null.c
# The engine: a git tree as a FAT32 disk.
GIT_FAT := git-fat/directory.c git-fat/fold.c git-fat/git-disk-options.c \
	git-fat/git-disk.c git-fat/layout-build.c git-fat/layout-links.c \
	git-fat/layout.c git-fat/loose-objects.c git-fat/name-set.c git-fat/name-short.c \
	git-fat/name-units.c git-fat/names.c git-fat/object-cache.c \
	git-fat/object-table.c git-fat/path-name.c git-fat/raw-tree.c \
	git-fat/repository.c git-fat/spill-file.c git-fat/volume.c \
	git-fat/walk.c
WORKER := $(COMMON) blkback/blkif-abi.c blkback/connection.c \
	blkback/connection-params.c blkback/grant-cache.c blkback/idle-poll.c \
	blkback/inflight.c blkback/page-pool.c blkback/queue-open.c \
	blkback/queue.c blkback/request.c blkback/ring.c blkback/sleep-cost.c \
	blkback/throttle.c blkback/transfer.c blkback/worker-message.c \
	diskd/sandbox-mounts.c diskd/sandbox-syscalls.c diskd/sandbox.c \
	diskd/worker-main.c
# Workers differ in their providers; the names are diskd/worker-programs.c's.
WORKER_LOCAL := $(WORKER) $(PROVIDERS) diskd/registry.c
WORKER_GIT := $(WORKER) $(CONTRACT) \
	$(GIT_FAT) git-fat/git-provider.c git-fat/owner.c git-fat/pin.c \
	diskd/registry-git.c
NBD_CLIENT := nbd-client/dirty-record.c nbd-client/nbd-connect.c \
	nbd-client/nbd-export.c nbd-client/nbd-fence.c nbd-client/nbd-link.c \
	nbd-client/nbd-provider.c nbd-client/nbd-queue.c \
	nbd-client/nbd-recovery.c nbd-client/nbd-request.c \
	nbd-client/nbd-target.c
WORKER_NBD := $(WORKER) $(CONTRACT) \
	$(NBD_CLIENT) diskd/registry-nbd.c
TRANSPORT_XEN := evtchn/evtchn-xen.c gnttab/gnttab-xen.c
SUPERVISOR := $(COMMON) providers/provider-spec.c blkback/backend.c \
	blkback/blkif-abi.c blkback/child-process.c \
	blkback/connection-params.c blkback/inflight.c \
	blkback/negotiate.c blkback/ring.c blkback/vbd.c \
	blkback/vbd-change.c \
	blkback/vbd-hold.c blkback/vbd-journal.c blkback/vbd-state.c \
	blkback/vbd-upgrade.c blkback/vbd-worker.c \
	blkback/vdev.c \
	blkback/worker-message.c blkback/worker-process.c diskd/attach.c \
	diskd/commands.c diskd/control.c diskd/main.c diskd/notify.c \
	diskd/options.c diskd/vbd-json.c diskd/worker-programs.c xenstore-watch/xenstore.c
CTL := common/error-text.c common/number.c diskctl/client.c \
	diskctl/command-list.c diskctl/command-modprobe.c \
	diskctl/command-stat.c diskctl/command-upgrade.c diskctl/command-vbd.c diskctl/command.c \
	diskctl/main.c diskctl/options.c diskctl/printable.c diskctl/table.c

PROGRAMS := xen-diskd xen-diskd-worker xen-diskd-worker-git \
	xen-diskd-worker-nbd xen-diskd-hold xen-diskctl git-fat
SOURCES_xen-diskd := $(SUPERVISOR)
LIBS_xen-diskd := -lxenstore -luring -ljansson
SOURCES_xen-diskd-worker := $(WORKER_LOCAL) $(TRANSPORT_XEN)
LIBS_xen-diskd-worker := -lxengnttab -lxenevtchn -luring -lseccomp
SOURCES_xen-diskd-worker-git := $(WORKER_GIT) $(TRANSPORT_XEN)
LIBS_xen-diskd-worker-git := $(LIBS_xen-diskd-worker) -lgit2 -lz
SOURCES_xen-diskd-worker-nbd := $(WORKER_NBD) $(TRANSPORT_XEN)
LIBS_xen-diskd-worker-nbd := $(LIBS_xen-diskd-worker) -lnbd
SOURCES_xen-diskd-hold := common/error-text.c common/log.c common/number.c \
	providers/provider-spec.c git-fat/loose-objects.c git-fat/owner.c git-fat/pin.c \
	git-fat/repository.c \
	diskd/hold-main.c
LIBS_xen-diskd-hold := -lgit2 -lz
SOURCES_git-fat := common/error-text.c common/number.c $(GIT_FAT) \
	git-fat/command/image.c git-fat/command/ls.c git-fat/command/main.c \
	git-fat/command/verify.c $(sort $(wildcard git-fat/verify*.c))
LIBS_git-fat := -lgit2 -lmd -lz
SOURCES_xen-diskctl := $(CTL)
LIBS_xen-diskctl := -ljansson

include tests/tests.mk

# ---- rules ------------------------------------------------------------

all: $(PROGRAMS:%=$(BIN)/%)

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

# Rebuilds everything when a flag has changed.
FLAGS_FILE := $(BUILD)/flags
$(FLAGS_FILE): FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' | cmp -s - $@ || \
		echo '$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)' > $@
FORCE:

$(BUILD)/obj/%.o: %.c $(FLAGS_FILE)
	@mkdir -p $(@D)
	$(call say,CC   $@)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

define program
$(1)/$(2): $$(call objects,$$(SOURCES_$(2)))
	@mkdir -p $$(@D)
	$$(call say,LINK $$@)
	$$(Q)$$(CC) $$(ALL_LDFLAGS) $$(LINK_$(2)) -o $$@ $$^ $$(LIBS_$(2))
ALL_OBJECTS += $$(call objects,$$(SOURCES_$(2)))
endef
$(foreach p,$(PROGRAMS),$(eval $(call program,$(BIN),$(p))))
$(foreach p,$(TEST_PROGRAMS),$(eval $(call program,$(TEST_BIN),$(p))))

-include $(sort $(ALL_OBJECTS:.o=.d))

install: all
	install -d $(DESTDIR)$(bindir) $(DESTDIR)$(sbindir) \
		$(DESTDIR)$(sysconfdir)/xen/scripts $(DESTDIR)$(unitdir) \
		$(DESTDIR)$(mandir)/man1 $(DESTDIR)$(mandir)/man7 \
		$(DESTDIR)$(mandir)/man8 \
		$(DESTDIR)$(datadir)/xen-diskd/modprobe.d \
		$(DESTDIR)$(datadir)/bash-completion/completions
	install -m 0755 $(BIN)/git-fat $(DESTDIR)$(bindir)
	install -m 0755 $(patsubst %,$(BIN)/%,$(filter-out git-fat,$(PROGRAMS))) \
		$(DESTDIR)$(sbindir)
	sed 's,@sbindir@,$(sbindir),g' dist/block-xen-diskd > \
		$(DESTDIR)$(sysconfdir)/xen/scripts/block-xen-diskd
	chmod 0755 $(DESTDIR)$(sysconfdir)/xen/scripts/block-xen-diskd
	sed 's,@sbindir@,$(sbindir),g' dist/xen-diskd.service > \
		$(DESTDIR)$(unitdir)/xen-diskd.service
	chmod 0644 $(DESTDIR)$(unitdir)/xen-diskd.service
	install -m 0644 dist/modprobe.d/xen-diskd.conf \
		$(DESTDIR)$(datadir)/xen-diskd/modprobe.d/
	install -m 0644 dist/completion/git-fat dist/completion/xen-diskctl \
		dist/completion/xen-diskd \
		$(DESTDIR)$(datadir)/bash-completion/completions/
	install -m 0644 man/*.1 $(DESTDIR)$(mandir)/man1/
	install -m 0644 man/*.7 $(DESTDIR)$(mandir)/man7/
	install -m 0644 man/*.8 $(DESTDIR)$(mandir)/man8/

# What install has put there, and no folder.
uninstall:
	rm -f $(DESTDIR)$(bindir)/git-fat \
		$(patsubst %,$(DESTDIR)$(sbindir)/%,$(filter-out git-fat,$(PROGRAMS))) \
		$(DESTDIR)$(sysconfdir)/xen/scripts/block-xen-diskd \
		$(DESTDIR)$(unitdir)/xen-diskd.service \
		$(DESTDIR)$(datadir)/xen-diskd/modprobe.d/xen-diskd.conf \
		$(patsubst dist/completion/%,$(DESTDIR)$(datadir)/bash-completion/completions/%,$(wildcard dist/completion/*)) \
		$(foreach n,1 7 8,$(patsubst man/%,$(DESTDIR)$(mandir)/man$(n)/%,$(wildcard man/*.$(n))))

clean:
	rm -rf build

help:
	@sed -n 's/^#: *//p' $(MAKEFILE_LIST)

#: make                   build into build/VARIANT/bin (VARIANT=release)
#: make install           install (DESTDIR=, prefix=)
#: make uninstall         remove what install has put there
#: make clean             remove build/
#: make help              this list

.PHONY: all install uninstall clean help FORCE
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all
