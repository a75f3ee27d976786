/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A whole host for one test: a private directory, the simulated hypervisor,
 * the real xenstored, the daemon under test, fake guests, and what libxl does
 * to XenStore on their behalf.
 *
 * A test that fails prints the daemon's log.  host_stop() fails the test when
 * anything is left behind: a process, a mapping, a port, a handle, a socket,
 * a XenStore node, or a sanitizer's report in the log.
 *
 * Everything here ends the test (need()) instead of returning errors, except
 * where a return value is described.
 */
#ifndef XEN_DISKD_TEST_HOST_H
#define XEN_DISKD_TEST_HOST_H

#include <check.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <xenstore.h>

#include "tests/sim/sim.h"

#define HOST_MAX_GUESTS 32
/* Generous, for a loaded machine under a sanitizer; passing takes far less. */
#define HOST_WAIT_MS 5000u

enum xenbus_state_code {
	FE_INITIALISING = 1,
	FE_INIT_WAIT,
	FE_INITIALISED,
	FE_CONNECTED,
	FE_CLOSING,
	FE_CLOSED,
};

struct guest {
	struct sim_domain *dom;
	uint16_t domid;
	char name[16];
	char uuid[37];
};

struct host {
	char dir[32];
	struct sim *sim;
	struct xs_handle *xs;
	pid_t xenstored;
	pid_t daemon;
	/* More of the daemon's options, when it is started; the rest NULL. */
	const char *daemon_options[3];
	/* Of the test's own: no leak when the daemon goes.  Or 0. */
	pid_t server;
	bool oxenstored;
	/* Of the vbds: NULL is "vbd", and 0 is dom0, else a driver domain. */
	const char *kind;
	uint16_t backend_domid;
	struct guest guests[HOST_MAX_GUESTS];
	unsigned int nr_guests;
};

/* Starts simulation and xenstored; the daemon is host_daemon_start()'s. */
void host_start(struct host *h);
void host_start_oxenstored(struct host *h);
/* The above and the daemon. */
void host_start_all(struct host *h);
/* Checks for leaks and takes everything down. */
void host_stop(struct host *h);

/* Returns when the control socket answers. */
void host_daemon_start(struct host *h);
/* SIGINT: no worker stays.  Waits, and checks the exit status. */
void host_daemon_stop(struct host *h);
/* SIGTERM: workers that are connected stay. */
void host_daemon_leave(struct host *h);
/* SIGKILL: the same. */
void host_daemon_kill(struct host *h);
/* Its workers are killed, too, and waited for. */
void host_kill_everything(struct host *h);

/* Ends the test with a message, after printing the daemon's log. */
void host_fail(const char *file, int line, const char *condition,
	       const char *format, ...)
	__attribute__((format(printf, 4, 5), noreturn));
#define need(condition, ...)                                      \
	do {                                                      \
		if (!(condition))                                 \
			host_fail(__FILE__, __LINE__, #condition, \
				  __VA_ARGS__);                   \
	} while (0)

/* Milliseconds of a monotonic clock. */
uint64_t host_now_ms(void);

/* ---- XenStore ---- */
void host_write(struct host *h, const char *value, const char *path, ...)
	__attribute__((format(printf, 3, 4)));
/* NULL when absent; freed by the caller. */
char *host_read(struct host *h, const char *path, ...)
	__attribute__((format(printf, 2, 3)));
bool host_exists(struct host *h, const char *path, ...)
	__attribute__((format(printf, 2, 3)));
void host_remove(struct host *h, const char *path, ...)
	__attribute__((format(printf, 2, 3)));
/* Waits by watch until path reads value (NULL: is absent). */
bool host_wait_value(struct host *h, const char *value, unsigned int timeout_ms,
		     const char *path, ...)
	__attribute__((format(printf, 4, 5)));
/* Waits by watch until path exists with any non-empty value; it is returned. */
char *host_wait_any(struct host *h, unsigned int timeout_ms, const char *path,
		    ...) __attribute__((format(printf, 3, 4)));

/* Until a backend's `error` says that. */
void host_wait_error(struct host *h, const char *backend, const char *text);
/* Paths below path, it included; 0 when it is absent. */
unsigned int host_count_nodes(struct host *h, const char *path);

/* ---- guests and what libxl does ---- */
struct guest *host_guest(struct host *h, uint16_t domid, const char *name);
/* Death without the toolstack: frontend and backend directories stay. */
void host_guest_crash(struct host *h, struct guest *g);
/* libxl's destroy: devices by force, then the domain. */
void host_guest_destroy(struct host *h, struct guest *g);

/* The two directories as xl makes them in one transaction, states 1 and 1. */
void host_vbd_add(struct host *h, struct guest *g, unsigned int devid,
		  const char *target, char mode);
/* The above, the wait for 2, and the script's call; its error text or NULL. */
char *host_vbd_attach(struct host *h, struct guest *g, unsigned int devid,
		      const char *target, char mode);
/* online=0, state=5 as block-detach does; does not wait. */
void host_vbd_detach_begin(struct host *h, struct guest *g, unsigned int devid);
/*
 * Waits for 6, runs the script's remove, deletes the directories.  Of a driver
 * domain: waits until it has deleted its own.
 */
void host_vbd_detach_end(struct host *h, struct guest *g, unsigned int devid);
/* --force: the frontend directory goes in the transaction that writes 5. */
void host_vbd_force(struct host *h, struct guest *g, unsigned int devid);

/* ---- the daemon's control socket ---- */
/* One command; the answer is the caller's.  NULL if nobody listens. */
json_t *host_control(struct host *h, json_t *request);
/* The same in two steps: the request is on its way; the answer has come. */
int host_control_begin(struct host *h, json_t *request);
json_t *host_control_end(int fd);
/* {"ok":true,...} is required. */
json_t *host_control_ok(struct host *h, json_t *request);
/* The error text of an answer {"ok":false,...}, which is required. */
char *host_control_error(struct host *h, json_t *request);
/* The vbds[] entry, or NULL; a new reference. */
json_t *host_list(struct host *h, uint16_t domid, unsigned int devid);
/* Asks until it is not listed: no event tells a reader of list. */
bool host_wait_unlisted(struct host *h, uint16_t domid, unsigned int devid);
/* Waits until `list` has the vbd's worker in this status. */
bool host_wait_worker(struct host *h, uint16_t domid, unsigned int devid,
		      const char *status);

/* Nanoseconds of CPU time that a process has used, as process_cpu_ns(). */
uint64_t host_cpu_ns(pid_t pid);
/* The process that serves a vbd. */
pid_t host_worker_pid(struct host *h, uint16_t domid, unsigned int devid);

/* ---- files and programs ---- */
/* A file of the given size in the private directory, filled from seed. */
void host_image(struct host *h, const char *name, uint64_t size_bytes,
		char ret_path[64]);
/* All of it, which has size_bytes bytes. */
void host_image_read(const char *path, void *bytes, size_t size_bytes);
/* Runs the real xl in a private mount namespace; its exit status. */
int host_xl(struct host *h, char *ret_output, size_t output_bytes,
	    const char *const argv[]);
/* Whether the daemon's log has the text. */
bool host_log_has(struct host *h, const char *text);
/* Waits for it; ends the test when it does not come. */
void host_wait_log(struct host *h, const char *text);

/* The suite's main(): runs it in fork mode; 0 when nothing failed. */
int host_run(Suite *suite);

#endif
