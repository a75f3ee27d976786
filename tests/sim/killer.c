/* SPDX-License-Identifier: BSD-2-Clause */
/* The process that follows workers and kills them; see killer.h. */
#include "tests/sim/killer.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "blkback/inflight.h"
#include "tests/sim/host-process.h"

/* A prime that divides no number of points. */
#define STRIDE UINT64_C(1597)
#define PAGE_BYTES 4096u
#define SYSCALL_BYTES 2u /* of the instruction */
#define SYSCALL_STOP (SIGTRAP | 0x80)
/* Of the ring's head. */
#define REQ_EVENT_BYTE 4u
#define RSP_PROD_WORD 2u

const char *const store_place_names[STORE_PLACES] = {
	[STORE_HEADER] = "a new table's header",
	[STORE_TAKEN] = "header.taken",
	[STORE_RSP_INTENT] = "header.rsp_intent",
	[STORE_RSP_DONE] = "header.rsp_done",
	[STORE_STATE_OF_FREE] = "entry.state, of FREE",
	[STORE_STATE_OF_TAKEN] = "entry.state, of TAKEN",
	[STORE_STATE_OF_DONE] = "entry.state, of DONE",
	[STORE_ENTRY] = "entry: what the guest asks for",
	[STORE_ANSWER] = "entry.answer",
	[STORE_SEGMENTS] = "entry.segments",
	[STORE_REQ_EVENT] = "ring: req_event",
	[STORE_RSP_PROD] = "ring: rsp_prod",
	[STORE_RING_SLOT] = "ring: a slot",
};

struct region {
	uint64_t start, bytes;
};

/* One queue's thread, and what it has mapped. */
struct prey {
	pid_t tid, tgid;
	bool in_call;
	struct region *mapping; /* what the call that it is in maps */
	struct region table, ring;
	uint64_t syscall_at; /* an instruction of that kind */
	uint64_t nr_stores, nr_counted;
	/* The point where it dies. */
	unsigned int point;
	uint64_t last_store;
	enum store_kind counted;
	enum kill_moment moment;
	uint32_t first_rsp_prod;
	bool dying;
	uint64_t kill_ns;
};

static const struct count {
	enum store_kind kind;
	unsigned int span;
} counts[] = {
#define COUNT(kind, span) { kind, span },
	KILLER_COUNTS(COUNT)
#undef COUNT
};
#define NR_COUNTS (sizeof(counts) / sizeof(counts[0]))

static struct killer *shared;
/* Where workers of each kind of disk have died, in all tests. */
static struct reached {
	uint64_t nr_points;
	bool points[KILLER_POINTS];
	uint64_t kills[STORE_PLACES];
} * reached;
static struct prey prey;
static pid_t supervisor_pid;
/* At a point that was chosen. */
static uint64_t nr_killed;

static void die(const char *what) __attribute__((noreturn));
static void die(const char *what)
{
	fprintf(stderr, "killer: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint32_t ring_word(unsigned int word)
{
	return __atomic_load_n(&shared->plan.ring[word], __ATOMIC_RELAXED);
}

/* ---- one thread, stopped ------------------------------------------------ */

/* A tracee may be gone at any call: its end is reported, too. */
static bool resume(enum __ptrace_request how, pid_t tid, int sig)
{
	return ptrace(how, tid, NULL, (void *)(uintptr_t)sig) == 0;
}

/* False when it ended, or got a signal instead. */
static bool step(pid_t tid)
{
	int status;

	if (!resume(PTRACE_SINGLESTEP, tid, 0) ||
	    waitpid(tid, &status, __WALL) != tid)
		return false;
	if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP)
		return true;
	if (WIFSTOPPED(status)) {
		fprintf(stderr, "killer: status %#x in a step\n", status);
		_exit(1);
	}
	return false;
}

/* Leaves the registers to be restored. */
static bool protect(const struct prey *p, const struct region *region, int prot,
		    const struct user_regs_struct *regs)
{
	struct user_regs_struct call = *regs;

	call.rip = p->syscall_at;
	call.rax = SYS_mprotect;
	call.orig_rax = (unsigned long long)-1;
	call.rdi = region->start;
	call.rsi = region->bytes;
	call.rdx = (unsigned long long)prot;
	if (ptrace(PTRACE_SETREGS, p->tid, NULL, &call) < 0 || !step(p->tid) ||
	    ptrace(PTRACE_GETREGS, p->tid, NULL, &call) < 0)
		return false;
	if (call.rax)
		die("mprotect");
	return true;
}

static bool inside(const struct region *region, uint64_t address)
{
	return address - region->start < region->bytes;
}

/* The instruction that faulted, and no other; what it faulted at is closed. */
static bool do_store(const struct prey *p, const struct region *region)
{
	struct user_regs_struct regs;

	return ptrace(PTRACE_GETREGS, p->tid, NULL, &regs) == 0 &&
	       protect(p, region, PROT_READ | PROT_WRITE, &regs) &&
	       ptrace(PTRACE_SETREGS, p->tid, NULL, &regs) == 0 && step(p->tid);
}

static bool close_region(const struct prey *p, const struct region *region)
{
	struct user_regs_struct regs;

	return ptrace(PTRACE_GETREGS, p->tid, NULL, &regs) == 0 &&
	       protect(p, region, PROT_READ, &regs) &&
	       ptrace(PTRACE_SETREGS, p->tid, NULL, &regs) == 0;
}

/* ---- what a store is ----------------------------------------------------- */

static enum store_place place_of_state(const struct prey *p, uint64_t address)
{
	switch ((uint32_t)ptrace(PTRACE_PEEKDATA, p->tid, (void *)address,
				 NULL)) {
	case INFLIGHT_TAKEN:
		return STORE_STATE_OF_TAKEN;
	case INFLIGHT_DONE:
		return STORE_STATE_OF_DONE;
	default:
		return STORE_STATE_OF_FREE;
	}
}

static enum store_place place_in_header(uint64_t at)
{
	switch (at) {
	case offsetof(struct inflight_header, taken):
		return STORE_TAKEN;
	case offsetof(struct inflight_header, rsp_done):
		return STORE_RSP_DONE;
	case offsetof(struct inflight_header, rsp_intent):
		return STORE_RSP_INTENT;
	default:
		return STORE_HEADER;
	}
}

static enum store_place place_of(const struct prey *p, uint64_t address)
{
	uint64_t at = address - p->ring.start;

	if (inside(&p->ring, address)) {
		if (at == REQ_EVENT_BYTE)
			return STORE_REQ_EVENT;
		return at == RSP_PROD_WORD * sizeof(uint32_t) ? STORE_RSP_PROD
							      : STORE_RING_SLOT;
	}
	at = address - p->table.start;
	if (at < INFLIGHT_HEADER_BYTES)
		return place_in_header(at);
	at = (at - INFLIGHT_HEADER_BYTES) % sizeof(struct inflight_entry);
	if (at == offsetof(struct inflight_entry, state))
		return place_of_state(p, address);
	if (at == offsetof(struct inflight_entry, answer))
		return STORE_ANSWER;
	return at >= offsetof(struct inflight_entry, segments) ? STORE_SEGMENTS
							       : STORE_ENTRY;
}

/* ---- killing -------------------------------------------------------------- */

/*
 * One after the other, in steps that are a golden section of them.  A worker that
 * dies without it leaves its point to the next.
 */
static void choose(struct prey *p)
{
	uint64_t i = (shared->plan.first_kill + nr_killed) * STRIDE +
		     shared->plan.seed;
	unsigned int count = (unsigned int)(i % NR_COUNTS);

	i /= NR_COUNTS;
	p->moment = (enum kill_moment)(i % KILL_MOMENTS);
	i /= KILL_MOMENTS;
	p->counted = counts[count].kind;
	p->last_store = 1 + i % counts[count].span;
	for (unsigned int c = 0; c < count; c++)
		p->point += counts[c].span;
	p->point += (unsigned int)p->last_store - 1;
	p->point = p->point * KILL_MOMENTS + p->moment;
	if (shared->plan.first_stores) {
		p->counted = STORES_ALL;
		p->last_store = 1 + i % shared->plan.first_stores;
	}
}

static bool is_counted(const struct prey *p, enum store_place place)
{
	switch (place) {
	case STORE_ENTRY:
	case STORE_SEGMENTS:
		return p->counted == STORES_ALL;
	case STORE_TAKEN:
	case STORE_RSP_INTENT:
	case STORE_RSP_DONE:
	case STORE_RSP_PROD:
	case STORE_REQ_EVENT:
		return true;
	default:
		return p->counted != STORES_OF_INDEX;
	}
}

static void do_kill(struct prey *p, enum store_place place)
{
	p->dying = true;
	p->kill_ns = now_ns();
	shared->kills[place]++;
	reached[shared->plan.kind].kills[place]++;
	kill(p->tgid, SIGKILL);
}

/* Not if it was let run beyond its point, for not being armed until then. */
static void note_point(const struct prey *p)
{
	struct reached *of_kind = &reached[shared->plan.kind];
	bool of_first = shared->plan.first_stores;
	bool exact = p->nr_counted == p->last_store;

	nr_killed += exact || of_first;
	if (exact && !of_first && !of_kind->points[p->point]) {
		of_kind->points[p->point] = true;
		of_kind->nr_points++;
	}
	shared->nr_points = of_kind->nr_points;
}

/* Its threads are all gone: nothing of it stores any more. */
static void has_died(struct prey *p)
{
	uint32_t rsp_prod = ring_word(RSP_PROD_WORD);

	shared->nr_stores += p->nr_stores;
	if (p->dying) {
		note_point(p);
		shared->nr_busy += ring_word(0) != rsp_prod;
		shared->nr_first += rsp_prod == p->first_rsp_prod;
		shared->kill_rsp_prod = rsp_prod;
		shared->kill_ns = p->kill_ns;
		__atomic_fetch_add(&shared->nr_kills, 1, __ATOMIC_RELEASE);
	}
	*p = (struct prey){ 0 };
}

/* It runs meanwhile; false when it is at its next store before that. */
static void kill_later(struct prey *p, enum store_place place)
{
	unsigned int us = shared->plan.later_us;
	uint64_t end = now_ns();
	siginfo_t info;

	end += us ? ((shared->plan.first_kill + nr_killed + 1) * 2654435761u >>
		     8) % us * 1000u
		  : 0;
	while (now_ns() < end) {
		info.si_pid = 0;
		if (waitid(P_PID, (id_t)p->tid, &info,
			   WSTOPPED | WNOHANG | WNOWAIT | __WALL) < 0 ||
		    info.si_pid)
			break;
	}
	do_kill(p, place);
}

static void at_store(struct prey *p, struct region *region, uint64_t address)
{
	enum store_place place = place_of(p, address);
	bool last = is_counted(p, place);

	p->nr_stores++;
	p->nr_counted += last;
	last = last && p->nr_counted >= p->last_store &&
	       __atomic_load_n(&shared->armed, __ATOMIC_RELAXED);
	if (last && p->moment == KILL_BEFORE) {
		do_kill(p, place);
		return;
	}
	if (!do_store(p, region))
		return;
	if (last && p->moment == KILL_AFTER) {
		do_kill(p, place);
		return;
	}
	if (!close_region(p, region) || !resume(PTRACE_CONT, p->tid, 0))
		return;
	if (last)
		kill_later(p, place);
}

/* ---- what is mapped --------------------------------------------------------- */

static bool is_table(const struct prey *p, int fd)
{
	char path[64], to[256];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", p->tgid, fd);
	length = readlink(path, to, sizeof(to) - 1);
	if (length < 0)
		return false;
	to[length] = '\0';
	return strstr(to, ".inflight") != NULL;
}

/* What a call of mmap(2) maps, if that is ours to protect. */
static struct region *region_of(struct prey *p,
				const struct user_regs_struct *regs)
{
	uint64_t at = regs->r9 - shared->plan.ring_offset;

	if (regs->orig_rax != SYS_mmap || !(regs->r10 & MAP_SHARED) ||
	    (int)regs->r8 < 0)
		return NULL;
	if (regs->r10 & MAP_FIXED)
		return at < shared->plan.ring_pages * PAGE_BYTES ? &p->ring
								 : NULL;
	return is_table(p, (int)regs->r8) ? &p->table : NULL;
}

static void at_call(struct prey *p)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, p->tid, NULL, &regs) < 0)
		return;
	p->in_call = !p->in_call;
	if (p->in_call) {
		p->mapping = region_of(p, &regs);
		regs.rdx = PROT_READ;
		if (p->mapping)
			ptrace(PTRACE_SETREGS, p->tid, NULL, &regs);
		return;
	}
	if (!p->mapping || regs.rax > -(uint64_t)PAGE_BYTES)
		return;
	if (!p->mapping->bytes)
		p->mapping->start = regs.rax;
	p->mapping->bytes = regs.rax + regs.rsi - p->mapping->start;
	p->syscall_at = regs.rip - SYSCALL_BYTES;
}

/* ---- whatever is reported ---------------------------------------------------- */

static pid_t group_of(pid_t tid)
{
	char path[64], line[128];
	int tgid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	f = fopen(path, "re");
	while (f && !tgid && fgets(line, sizeof(line), f))
		sscanf(line, "Tgid: %d", &tgid);
	if (f)
		fclose(f);
	return tgid;
}

static enum __ptrace_request how_to_go_on(const struct prey *p, pid_t tid)
{
	return tid == p->tid && !p->table.bytes ? PTRACE_SYSCALL : PTRACE_CONT;
}

/* A worker's first thread besides its main one is its queue's. */
static void at_stop(struct prey *p, pid_t tid)
{
	pid_t tgid = p->tid ? 0 : group_of(tid);

	if (!p->tid && tgid && tgid != tid && tgid != supervisor_pid) {
		*p = (struct prey){ .tid = tid, .tgid = tgid };
		p->first_rsp_prod = ring_word(RSP_PROD_WORD);
		choose(p);
	}
	resume(how_to_go_on(p, tid), tid, 0);
}

static void at_signal(struct prey *p, pid_t tid, int sig)
{
	siginfo_t info;
	uint64_t address;

	if (tid == p->tid && sig == SIGSEGV && !p->dying &&
	    ptrace(PTRACE_GETSIGINFO, tid, NULL, &info) == 0) {
		address = (uint64_t)(uintptr_t)info.si_addr;
		if (inside(&p->ring, address)) {
			at_store(p, &p->ring, address);
			return;
		}
		if (inside(&p->table, address)) {
			at_store(p, &p->table, address);
			return;
		}
	}
	resume(how_to_go_on(p, tid), tid, sig);
}

static void at_status(struct prey *p, pid_t tid, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;

	if (!WIFSTOPPED(status)) {
		if (tid == supervisor_pid)
			_exit(0);
		if (tid == p->tgid || (tid == p->tid && !p->dying))
			has_died(p);
	} else if (event == PTRACE_EVENT_STOP && sig == SIGTRAP) {
		at_stop(p, tid);
	} else if (event == PTRACE_EVENT_STOP) {
		resume(PTRACE_LISTEN, tid, 0);
	} else if (event) {
		resume(how_to_go_on(p, tid), tid, 0);
	} else if (sig == SYSCALL_STOP) {
		if (tid == p->tid)
			at_call(p);
		resume(how_to_go_on(p, tid), tid, 0);
	} else {
		at_signal(p, tid, sig);
	}
}

/* A step is two switches: on one processor they take half the time. */
static void share_processor(pid_t supervisor)
{
	cpu_set_t set;
	int cpu = sched_getcpu();

	CPU_ZERO(&set);
	CPU_SET(cpu < 0 ? 0 : (unsigned int)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	sched_setaffinity(supervisor, sizeof(set), &set);
}

static void killer_main(pid_t supervisor)
{
	unsigned long options = PTRACE_O_TRACEVFORK | PTRACE_O_TRACEFORK |
				PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD;
	int status;
	pid_t tid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGTERM, SIG_DFL);
	supervisor_pid = supervisor;
	share_processor(supervisor);
	if (ptrace(PTRACE_SEIZE, supervisor, NULL, (void *)options) < 0)
		die("follow the supervisor");
	__atomic_store_n(&shared->pid, getpid(), __ATOMIC_RELEASE);
	while ((tid = waitpid(-1, &status, __WALL)) > 0)
		at_status(&prey, tid, status);
	die("wait");
}

/* ---- the test's side ----------------------------------------------------------- */

void killer_init(unsigned int nr_kinds)
{
	reached =
		mmap(NULL, nr_kinds * sizeof(*reached), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(reached != MAP_FAILED, "mmap: %s", strerror(errno));
}

uint64_t killer_round(void)
{
	uint64_t most = 0;

	for (unsigned int c = 0; c < NR_COUNTS; c++)
		if (most < counts[c].span)
			most = counts[c].span;
	return most * NR_COUNTS * KILL_MOMENTS;
}

uint64_t killer_points_of(unsigned int kind)
{
	return reached[kind].nr_points;
}

uint64_t killer_kills_of(unsigned int kind, enum store_place place)
{
	return reached[kind].kills[place];
}

struct killer *killer_start(pid_t supervisor, const struct killer_plan *plan)
{
	struct killer *killer =
		mmap(NULL, sizeof(*killer), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t end = host_now_ms() + HOST_WAIT_MS;
	pid_t pid;

	need(killer != MAP_FAILED, "mmap: %s", strerror(errno));
	killer->plan = *plan;
	shared = killer;
	nr_killed = 0;
	fflush(NULL);
	pid = fork();
	need(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0)
		killer_main(supervisor);
	while (!__atomic_load_n(&killer->pid, __ATOMIC_ACQUIRE)) {
		need(waitpid(pid, NULL, WNOHANG) == 0 && host_now_ms() < end,
		     "cannot trace; see standard error");
		sched_yield();
	}
	return killer;
}

void killer_check(const struct killer *killer)
{
	int status;

	need(waitpid(killer->pid, &status, WNOHANG) == 0,
	     "the killer ended with status %#x", status);
}

void killer_stop(struct killer *killer)
{
	int status;

	kill(killer->pid, SIGKILL);
	need(process_wait(killer->pid, HOST_WAIT_MS, &status), "it stays");
	munmap(killer, sizeof(*killer));
}
