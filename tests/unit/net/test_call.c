/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "net/net_call.h"
#include "net_rig.h"
#include "support/check.h"

static int setup(void **state)
{
    *state = rig_new(11);
    return 0;
}

static int teardown(void **state)
{
    rig_free(*state);
    return 0;
}

struct heard {
    int calls;
    int status;
    char reason[256];
    size_t len;
};

static void on_answer(void *data, int status, const char *reason, struct slice body)
{
    struct heard *h = data;
    h->calls++;
    h->status = status;
    h->len = body.len;
    snprintf(h->reason, sizeof h->reason, "%s", reason);
}

static struct net_call *ask(struct rig *rig, size_t from, const char *address, uint32_t timeout_ms,
                            struct heard *h)
{
    struct net_call *call = NULL;
    struct buf frame;
    buf_init(&frame, 4096);
    rig_frame(&frame, MSG_REQUEST, 7, 20);
    *h = (struct heard){0};
    assert_int_equal(net_call_new(rig->stores[from].net, address, buf_slice(&frame), timeout_ms,
                                  on_answer, h, &call, NULL),
                     0);
    buf_fini(&frame);
    assert_int_equal(h->calls, 0);
    return call;
}

/* Who has no id yet asks whoever listens, and is answered once; the one who is asked knows
 * that it has proven the secret, and no client has. */
static void test_a_newcomer_is_answered(void **state)
{
    struct rig *rig = *state;
    struct rig_store *b = &rig->stores[1];
    struct rig_client client;
    struct heard h;
    rig->stores[0].options.self.store_id = 0;
    rig->stores[0].options.self.cluster_id = 0;
    b->must_reply = true;
    b->reply_len = 300;
    rig_start(rig, 0);
    rig_start(rig, 1);
    ask(rig, 0, net_address(b->net), 1000, &h);
    rig_run(rig, RIG_SECOND / 2);
    assert_int_equal(h.calls, 1);
    assert_int_equal(h.status, 0);
    assert_true(h.len >= 300);
    assert_int_equal(b->seen_count, 1);
    rig_client_greet(&client, rig, 1);
    rig_client_request(&client, 1, 1);
    rig_run(rig, RIG_SECOND / 2);
    assert_false(net_client_is_proven(b->net, b->seen[1].from));
    rig_client_close(&client);
    rig_run(rig, 2 * RIG_SECOND);
    assert_int_equal(h.calls, 1);
    net_check(b->net);
}

static void test_it_knows_that_the_secret_was_proven(void **state)
{
    struct rig *rig = *state;
    struct rig_store *b = &rig->stores[1];
    struct heard h;
    rig_start(rig, 0);
    rig_start(rig, 1);
    struct net_call *call = ask(rig, 0, net_address(b->net), 10000, &h);
    rig_run(rig, RIG_SECOND);
    assert_int_equal(b->seen_count, 1);
    assert_true(net_client_is_proven(b->net, b->seen[0].from));
    net_call_cancel(call);
    rig_run(rig, 5 * RIG_SECOND); /* it may read a goodbye, for a while */
    assert_int_equal(h.calls, 0);
    assert_false(net_client_is_proven(b->net, b->seen[0].from));
}

static void test_how_it_fails(void **state)
{
    struct rig *rig = *state;
    struct heard silent, nobody, secret, self;
    rig->stores[2].options.secret = slice_str("another one");
    for (size_t i = 0; i < RIG_STORES; i++)
        rig_start(rig, i);
    ask(rig, 0, net_address(rig->stores[1].net), 500, &silent); /* b never replies */
    ask(rig, 0, "b:1", 5000, &nobody);
    ask(rig, 0, net_address(rig->stores[2].net), 5000, &secret);
    ask(rig, 0, net_address(rig->stores[0].net), 5000, &self);
    rig_run(rig, 10 * RIG_SECOND);
    assert_int_equal(silent.status, ERR_TIMEOUT);
    assert_true(nobody.status < 0);
    assert_int_equal(secret.status, ERR_UNAUTHORIZED);
    assert_int_equal(self.status, ERR_INVALID);
    assert_non_null(strstr(self.reason, "itself"));
    assert_true(silent.calls == 1 && nobody.calls == 1 && secret.calls == 1 && self.calls == 1);
}

static void test_the_bound(void **state)
{
    struct rig *rig = *state;
    struct heard h[NET_CALLS_MAX + 1];
    struct net_call *call;
    struct buf frame;
    rig_start(rig, 0);
    rig_start(rig, 1);
    for (size_t i = 0; i < NET_CALLS_MAX; i++)
        ask(rig, 0, net_address(rig->stores[1].net), 1000, &h[i]);
    buf_init(&frame, 4096);
    rig_frame(&frame, MSG_REQUEST, 7, 20);
    assert_int_equal(net_call_new(rig->stores[0].net, net_address(rig->stores[1].net),
                                  buf_slice(&frame), 1000, on_answer, &h[NET_CALLS_MAX], &call,
                                  NULL),
                     ERR_BUSY);
    buf_fini(&frame);
    rig_run(rig, 3 * RIG_SECOND);
    for (size_t i = 0; i < NET_CALLS_MAX; i++)
        assert_int_equal(h[i].calls, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_newcomer_is_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_it_knows_that_the_secret_was_proven, setup, teardown),
        cmocka_unit_test_setup_teardown(test_how_it_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_bound, setup, teardown),
    };
    return cmocka_run_group_tests_name("call", tests, NULL, NULL);
}
