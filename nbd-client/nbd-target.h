/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an NBD spec names: a server, an export, and how to deal with them.
 *
 *   nbd://HOST[:PORT]/EXPORT        nbd+unix:///EXPORT?socket=PATH
 *   nbds://…, nbds+unix://…         the same over TLS
 *
 * Source: the NBD URI specification (doc/uri.md of the NBD project); options
 * of our own are documented in xen-diskd-providers(7).
 */
#ifndef XEN_DISKD_NBD_TARGET_H
#define XEN_DISKD_NBD_TARGET_H

#include "providers/provider-spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NBD_HOST_BYTES 256
#define NBD_PORT_BYTES 32
/* NBD_MAX_STRING and a NUL. */
#define NBD_EXPORT_BYTES 4097
#define NBD_PATH_BYTES 4096
#define NBD_DEFAULT_PORT "10809"
#define NBD_DEFAULT_DIRTY_BYTES (UINT64_C(64) << 20)
#define NBD_NO_TIMEOUT UINT64_MAX

struct nbd_target {
	bool tls;
	bool is_unix;
	char host[NBD_HOST_BYTES]; /* a name or an address, no brackets */
	char port[NBD_PORT_BYTES];
	char socket[NBD_PATH_BYTES];
	char export_name[NBD_EXPORT_BYTES];

	/* "" where libnbd's own default is meant. */
	char tls_certificates[NBD_PATH_BYTES], tls_psk_file[NBD_PATH_BYTES];
	char tls_username[NBD_HOST_BYTES];
	bool tls_verify_peer;

	/* How long I/O waits for a server; NBD_NO_TIMEOUT: for ever. */
	uint64_t timeout_ms;
	/* The longest pause between two attempts to connect. */
	uint64_t reconnect_ms;
	/* A connection that owes a reply for so long is given up; 0: never. */
	uint64_t reply_timeout_ms;
	/* For so long a dead worker's writes may land; 0: nobody cares. */
	uint64_t fence_ms;
	uint64_t dirty_bytes;
	unsigned int connections; /* at most */
	bool fua; /* write through, remember nothing */
};

/*
 * Takes the spec apart and its options off.  -EINVAL with a message;
 * *ret_target is undefined then.
 */
int nbd_target_parse(struct provider_spec *spec, struct nbd_target *ret_target,
		     struct error_text *err);

/* The server, for messages: "host:port" or the socket's path. */
void nbd_target_server(const struct nbd_target *target, char *text,
		       size_t nr_bytes);

#endif
