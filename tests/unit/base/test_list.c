/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/list.h"

struct item {
    int n;
    struct list in_list;
};

static void order_is(struct list *head, const char *want)
{
    char got[16];
    size_t len = 0;
    LIST_FOREACH(it, head)
    got[len++] = (char)('0' + list_entry(it, struct item, in_list)->n);
    got[len] = 0;
    assert_string_equal(got, want);
    assert_int_equal(list_is_empty(head), want[0] == 0);
}

static void test_list(void **state)
{
    (void)state;
    struct list head;
    struct item items[5];
    list_init(&head);
    assert_null(list_pop_front(&head));
    for (int i = 0; i < 5; i++) {
        items[i].n = i;
        list_init(&items[i].in_list);
    }
    order_is(&head, "");
    assert_false(list_has_one(&head));
    list_push_back(&head, &items[1].in_list);
    assert_true(list_has_one(&head));
    list_push_back(&head, &items[2].in_list);
    assert_false(list_has_one(&head));
    list_push_front(&head, &items[0].in_list);
    list_push_back(&head, &items[3].in_list);
    order_is(&head, "0123");
    assert_int_equal(list_first(&head, struct item, in_list)->n, 0);
    list_remove(&items[2].in_list);
    assert_false(list_is_linked(&items[2].in_list));
    list_remove(&items[2].in_list); /* harmless */
    order_is(&head, "013");
    struct list *first = list_pop_front(&head);
    assert_ptr_equal(first, &items[0].in_list);
    assert_false(list_is_linked(first));
    LIST_FOREACH(it, &head)
    list_remove(it);
    order_is(&head, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
