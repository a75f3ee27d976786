/* SPDX-License-Identifier: BSD-2-Clause */
/* I/O on its way back to its queue's thread. */
#include "providers/mailbox.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void wait_for_post(struct mailbox *mailbox)
{
	io_loop_poll(mailbox->loop, &mailbox->op, mailbox->fd, POLLIN);
}

static void take_posted(struct mailbox *mailbox, struct list *ret_taken)
{
	struct list *node;
	uint64_t value;

	list_init(ret_taken);
	pthread_mutex_lock(&mailbox->lock);
	if (read(mailbox->fd, &value, sizeof(value)) < 0)
		value = 0; /* nothing was there after all */
	while ((node = list_pop(&mailbox->posted)))
		list_add_tail(ret_taken, node);
	pthread_mutex_unlock(&mailbox->lock);
}

static void on_post(struct io_op *op, int result)
{
	struct mailbox *mailbox = container_of(op, struct mailbox, op);
	struct list taken;
	struct list *node;

	(void)result;
	take_posted(mailbox, &taken);
	/* What is sent again meanwhile finds that somebody waits already. */
	mailbox->nr_away++;
	while ((node = list_pop(&taken))) {
		mailbox->nr_away--;
		mailbox->deliver(container_of(node, struct block_io, node));
	}
	if (--mailbox->nr_away)
		wait_for_post(mailbox);
}

int mailbox_init(struct mailbox *mailbox, struct io_loop *loop,
		 void (*deliver)(struct block_io *io))
{
	*mailbox = (struct mailbox){ .loop = loop, .deliver = deliver };
	mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mailbox->fd < 0)
		return -errno;
	mailbox->op.done = on_post;
	pthread_mutex_init(&mailbox->lock, NULL);
	list_init(&mailbox->posted);
	return 0;
}

void mailbox_fini(struct mailbox *mailbox)
{
	assert(mailbox->nr_away == 0);
	close(mailbox->fd);
	pthread_mutex_destroy(&mailbox->lock);
}

void mailbox_expect(struct mailbox *mailbox)
{
	if (mailbox->nr_away++ == 0)
		wait_for_post(mailbox);
}

/* Under the lock to the end: the last to be delivered may end the mailbox. */
void mailbox_post(struct mailbox *mailbox, struct block_io *io)
{
	uint64_t one = 1;

	pthread_mutex_lock(&mailbox->lock);
	list_add_tail(&mailbox->posted, &io->node);
	if (write(mailbox->fd, &one, sizeof(one)) < 0)
		abort(); /* an eventfd takes far more ones than there is I/O */
	pthread_mutex_unlock(&mailbox->lock);
}
