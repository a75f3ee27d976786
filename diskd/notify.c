/* SPDX-License-Identifier: BSD-2-Clause */
/* sd_notify(3) and sd_watchdog_enabled(3) without the library. */
#include "diskd/notify.h"

#include "common/cleanup.h"
#include "common/number.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_send(const char *state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	cleanup_close int fd = -1;
	size_t len = path ? strlen(path) : 0;

	if (!len || len >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, len);
	if (address.sun_path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, state, strlen(state), MSG_NOSIGNAL,
	       (struct sockaddr *)&address,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}

uint64_t notify_watchdog_ms(void)
{
	const char *usec_text = getenv("WATCHDOG_USEC");
	const char *pid_text = getenv("WATCHDOG_PID");
	uint64_t usec, pid;

	if (!usec_text || number_parse(usec_text, INT64_MAX, &usec) < 0 ||
	    !usec)
		return 0;
	/* Meant for another process, which has started us. */
	if (pid_text && (number_parse(pid_text, INT32_MAX, &pid) < 0 ||
			 pid != (uint64_t)getpid()))
		return 0;
	return usec < 2000 ? 1 : usec / 2000;
}
