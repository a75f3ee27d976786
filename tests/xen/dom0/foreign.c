/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * foreign: what a worker that was taken over gets at of a guest whose disk it does
 * not serve.
 *
 *	foreign UID OWN OTHER REF PORT
 *
 * Puts up the walls of a worker of domain OWN, with the user UID, and then, from
 * within, tries the page REF that domain OTHER grants to this one and the port PORT
 * that it offers.  Prints a line for each attempt: what it is, and "yes" or the
 * error.  Exits with 0 whatever comes out.
 */
#include "diskd/sandbox.h"

#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xenevtchn.h>
#include <xengnttab.h>

#define UNRESTRICTED -1
/* A grant that no guest makes: reserved ones, and then one after the other. */
#define NO_REF 700u

static uint32_t own, other, ref, port;

static void say(const char *what, int error)
{
	printf("%s: %s\n", what, error ? strerrorname_np(error) : "yes");
}

static uint32_t number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || value > UINT32_MAX)
		errx(2, "'%s' is no number", text);
	return (uint32_t)value;
}

static void enter_walls(uid_t uid)
{
	static const char *const devices[] = { "/dev/xen/evtchn",
					       "/dev/xen/gntdev", NULL };
	const struct sandbox sandbox = {
		.walls = sandbox_walls,
		.uid = uid,
		.file_uid = uid,
		.file_gid = uid,
		.devices = devices,
	};
	struct error_text error;

	if (sandbox_enter(&sandbox, &error) < 0)
		errx(1, "%s", error.text);
}

static xenevtchn_handle *open_handle(int restricted_to)
{
	xenevtchn_handle *handle = xenevtchn_open(NULL, 0);

	if (!handle)
		err(1, "evtchn");
	if (restricted_to != UNRESTRICTED &&
	    xenevtchn_restrict(handle, (domid_t)restricted_to) < 0)
		err(1, "evtchn, restrict");
	return handle;
}

static int bind_port(xenevtchn_handle *handle)
{
	return xenevtchn_bind_interdomain(handle, other, port) < 0 ? errno : 0;
}

static void try_port(const char *what, int restricted_to)
{
	xenevtchn_handle *handle = open_handle(restricted_to);

	say(what, bind_port(handle));
	xenevtchn_close(handle);
}

/* While one has it, another cannot. */
static void try_port_taken(void)
{
	xenevtchn_handle *thief = open_handle(UNRESTRICTED);
	xenevtchn_handle *backend = open_handle(UNRESTRICTED);

	if (bind_port(thief) == 0)
		say("port, taken already", bind_port(backend));
	xenevtchn_close(backend);
	xenevtchn_close(thief);
}

static void *map(xengnttab_handle *handle, uint32_t which)
{
	errno = 0;
	return xengnttab_map_grant_ref(handle, other, which,
				       PROT_READ | PROT_WRITE);
}

static void try_page(void)
{
	xengnttab_handle *handle = xengnttab_open(NULL, 0);
	uint32_t *page;

	if (!handle)
		err(1, "gntdev");
	page = map(handle, NO_REF);
	say("page, not granted", page ? 0 : errno ? errno : EINVAL);
	page = map(handle, ref);
	say("page", page ? 0 : errno ? errno : EINVAL);
	if (page) {
		printf("page, words: %u %u %u %u\n", page[0], page[1], page[2],
		       page[3]);
		xengnttab_unmap(handle, page, 1);
	}
	xengnttab_close(handle);
}

int main(int argc, char **argv)
{
	if (argc != 6)
		errx(2, "usage: foreign UID OWN OTHER REF PORT");
	own = number(argv[2]);
	other = number(argv[3]);
	ref = number(argv[4]);
	port = number(argv[5]);
	enter_walls(number(argv[1]));
	try_port("port, restricted to its own guest", (int)own);
	try_port("port, restricted to that guest", (int)other);
	try_port("port, not restricted", UNRESTRICTED);
	try_port_taken();
	try_page();
	return 0;
}
