/* SPDX-License-Identifier: BSD-2-Clause */
/* common/list.h: order, unlinking, and walking while unlinking. */
#include "common/list.h"
#include "tests/unit/unit.h"

struct item {
	int before, value;
	struct list node;
};

static struct list head;
static struct item items[4];

static void setup(void)
{
	list_init(&head);
	for (int i = 0; i < 4; i++) {
		items[i].value = i;
		list_add_tail(&head, &items[i].node);
	}
}

static int value_of(struct list *node)
{
	return container_of(node, struct item, node)->value;
}

START_TEST(starts_empty)
{
	struct list l;

	list_init(&l);
	ck_assert(list_empty(&l));
	ck_assert_ptr_null(list_pop(&l));
	ck_assert(list_empty(&l));
}
END_TEST

START_TEST(keeps_order)
{
	ck_assert(!list_empty(&head));
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(value_of(list_pop(&head)), i);
	ck_assert_ptr_null(list_pop(&head));
	ck_assert(list_empty(&head));
}
END_TEST

START_TEST(unlinks_from_anywhere)
{
	list_del(&items[0].node);
	list_del(&items[2].node);
	list_del(&items[3].node);
	/* An unlinked node may be unlinked again, and added again. */
	list_del(&items[2].node);
	ck_assert(list_empty(&items[2].node));
	list_add_tail(&head, &items[0].node);
	ck_assert_int_eq(value_of(list_pop(&head)), 1);
	ck_assert_int_eq(value_of(list_pop(&head)), 0);
	ck_assert(list_empty(&head));
}
END_TEST

START_TEST(popped_nodes_are_unlinked)
{
	struct list *node = list_pop(&head);

	ck_assert(list_empty(node));
	list_del(node);
	ck_assert_int_eq(value_of(head.next), 1);
	ck_assert_ptr_eq(head.next->prev, &head);
}
END_TEST

START_TEST(walks_while_unlinking)
{
	int sum = 0, nr = 0;

	list_for_each_safe(it, tmp, &head) {
		sum += value_of(it);
		nr++;
		list_del(it);
		/* What is freed is not looked at again. */
		it->next = it->prev = NULL;
	}
	ck_assert_int_eq(nr, 4);
	ck_assert_int_eq(sum, 6);
	ck_assert(list_empty(&head));
}
END_TEST

Suite *suite_list(void)
{
	Suite *suite = suite_create("list");
	TCase *tc = tcase_create("list");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, starts_empty);
	tcase_add_test(tc, keeps_order);
	tcase_add_test(tc, unlinks_from_anywhere);
	tcase_add_test(tc, popped_nodes_are_unlinked);
	tcase_add_test(tc, walks_while_unlinking);
	suite_add_tcase(suite, tc);
	return suite;
}
