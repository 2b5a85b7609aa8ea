/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are well formed, and not to what was asked: by themselves, and from a store. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/answer.h"
#include "client/client_internal.h"
#include "env/sim/sim.h"
#include "support/fake_store.h"

static struct slice text(const char *of)
{
    return of == NULL ? (struct slice){0} : slice_str(of);
}

/* As it comes over the wire, which is where a response is looked at before. */
static int check(const struct request *request, struct response *response, struct err *err)
{
    struct buf raw;
    struct response out;
    buf_init(&raw, 1 << 20);
    response->id = 9;
    response_encode(&raw, response);
    assert_int_equal(response_decode(buf_slice(&raw), &out, NULL), 0);
    int rv = answer_check(request, &out, err);
    buf_fini(&raw);
    return rv;
}

/* ---- by themselves ------------------------------------------------------------------------ */

static void test_a_row_for_each_key(void **state)
{
    (void)state;
    for (uint32_t asked = 1; asked <= 3; asked++) {
        for (uint32_t told = 0; told <= 4; told++) {
            struct request request = {.kind = REQUEST_MULTI_GET};
            struct response response = {.kind = REQUEST_MULTI_GET};
            struct buf rows;
            struct err err = {0};
            buf_init(&rows, 1 << 10);
            request.multi_get.keys.count = asked;
            for (uint32_t i = 0; i < told; i++)
                row_append(&rows, &(struct row){.status = ERR_NOT_FOUND});
            response.rows.rows = (struct pack_list){told, buf_slice(&rows)};
            int want = asked == told ? 0 : ERR_CORRUPT;
            assert_int_equal(check(&request, &response, &err), want);
            if (want != 0)
                assert_non_null(strstr(err.msg, "answer to a multi_get"));
            buf_fini(&rows);
        }
    }
}

static void test_a_scan(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *start, *end;
        bool is_reverse;
        uint32_t limit_keys;
        const char *rows;   /* a letter is a key; '.': one that is empty */
        const char *cursor; /* NULL: there is no more */
        int want;
    } rows[] = {
        {"nothing", "b", "f", false, 0, "", NULL, 0},
        {"all of it", "b", "f", false, 3, "bce", NULL, 0},
        {"without bounds", NULL, NULL, false, 0, "az", NULL, 0},
        {"below the span", "b", "f", false, 0, "ac", NULL, ERR_CORRUPT},
        {"at its end", "b", "f", false, 0, "cf", NULL, ERR_CORRUPT},
        {"out of order", "b", "f", false, 0, "dc", NULL, ERR_CORRUPT},
        {"twice", "b", "f", false, 0, "cc", NULL, ERR_CORRUPT},
        {"no key", NULL, NULL, false, 0, ".", NULL, ERR_CORRUPT},
        {"too many", "b", "f", false, 2, "bcd", NULL, ERR_CORRUPT},
        {"goes on", "b", "f", false, 2, "bc", "d", 0},
        {"goes on behind nothing", "b", "f", false, 0, "", "c", 0},
        {"to its end", "b", "f", false, 0, "bc", "f", 0},
        {"to behind its end", "b", "f", false, 0, "bc", "g", ERR_CORRUPT},
        {"at the last row", "b", "f", false, 0, "bc", "c", ERR_CORRUPT},
        {"where it began", "b", "f", false, 0, "", "b", ERR_CORRUPT},
        {"before it began", "b", "f", false, 0, "", "a", ERR_CORRUPT},
        {"down", "b", "f", true, 3, "ecb", NULL, 0},
        {"down without bounds", NULL, NULL, true, 0, "za", NULL, 0},
        {"down, at the end", "b", "f", true, 0, "fc", NULL, ERR_CORRUPT},
        {"down, below the span", "b", "f", true, 0, "ca", NULL, ERR_CORRUPT},
        {"down, out of order", "b", "f", true, 0, "cd", NULL, ERR_CORRUPT},
        {"down, goes on", "b", "f", true, 0, "ed", "d", 0},
        {"down, goes on lower", "b", "f", true, 0, "ed", "b", 0},
        {"down, goes on behind nothing", "b", "f", true, 0, "", "e", 0},
        {"down, behind nothing without bounds", NULL, NULL, true, 0, "", "e", 0},
        {"down, above the last row", "b", "f", true, 0, "ed", "e", ERR_CORRUPT},
        {"down, where it began", "b", "f", true, 0, "", "f", ERR_CORRUPT},
        {"down, below the span again", "b", "f", true, 0, "ed", "a", ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct request request = {.kind = REQUEST_SCAN};
        struct response response = {.kind = REQUEST_SCAN};
        struct buf raw;
        struct err err = {0};
        buf_init(&raw, 1 << 10);
        request.scan = (struct request_scan){.start = text(rows[i].start),
                                             .end = text(rows[i].end),
                                             .is_reverse = rows[i].is_reverse,
                                             .limit_keys = rows[i].limit_keys};
        for (const char *key = rows[i].rows; *key != 0; key++)
            row_append(&raw, &(struct row){.key = slice_of(key, *key != '.')});
        response.rows = (struct response_rows){
            .rows = {(uint32_t)strlen(rows[i].rows), buf_slice(&raw)},
            .has_more = rows[i].cursor != NULL,
            .cursor = text(rows[i].cursor),
        };
        if (check(&request, &response, &err) != rows[i].want)
            fail_msg("%s: %s", rows[i].name, err.msg);
        response.status = ERR_VERSION_GONE; /* then nobody takes the rows for any */
        assert_int_equal(check(&request, &response, NULL), 0);
        buf_fini(&raw);
    }
}

/* What no request can begin at leads nowhere, nor into a cursor that is kept. */
static void test_a_cursor_longer_than_keys(void **state)
{
    static uint8_t key[CURSOR_WIRE_MAX];
    struct request request = {.kind = REQUEST_SCAN};
    struct err err = {0};
    (void)state;
    memset(key, 'k', sizeof key);
    for (size_t len = KEY_WIRE_MAX; len <= sizeof key; len++) {
        struct response response = {
            .kind = REQUEST_SCAN,
            .rows = {.has_more = true, .cursor = slice_of(key, len), .is_range_end = true}};
        int want = len <= KEY_WIRE_MAX ? 0 : ERR_CORRUPT;
        assert_int_equal(check(&request, &response, &err), want);
    }
}

static void test_changes(void **state)
{
    (void)state;
    static const struct {
        const char *start, *end;
        uint64_t after;
        const char *key;
        uint64_t version;
        int want;
    } rows[] = {
        {"b", "f", 5, "b", 6, 0},           {"b", "f", 5, "e", 9, 0},
        {NULL, NULL, 0, "z", 1, 0},         {"b", "f", 5, "a", 6, ERR_CORRUPT},
        {"b", "f", 5, "f", 6, ERR_CORRUPT}, {"b", "f", 5, "c", 5, ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct request request = {.kind = REQUEST_WATCH};
        struct response response = {.kind = REQUEST_WATCH};
        struct buf raw;
        buf_init(&raw, 1 << 10);
        request.watch = (struct request_watch){
            .start = text(rows[i].start), .end = text(rows[i].end), .after = rows[i].after};
        change_append(&raw, &(struct change){.kind = CHANGE_PUT,
                                             .key = text(rows[i].key),
                                             .version = rows[i].version});
        response.watch.changes = (struct pack_list){1, buf_slice(&raw)};
        response.watch.version = 9;
        if (check(&request, &response, NULL) != rows[i].want)
            fail_msg("row %zu", i);
        buf_fini(&raw);
    }
}

static void test_the_rest(void **state)
{
    (void)state;
    struct request request = {.kind = REQUEST_CHECK_RESULT, .check = {.index = 7}};
    struct response response = {.kind = REQUEST_CHECK_RESULT,
                                .check = {.index = 7, .state = CHECK_BEHIND}};
    assert_int_equal(check(&request, &response, NULL), 0);
    response.check.index = 8;
    assert_int_equal(check(&request, &response, NULL), ERR_CORRUPT);
    request = (struct request){.kind = REQUEST_FLUSH};
    assert_int_equal(check(&request, &response, NULL), ERR_CORRUPT); /* of another kind */
    response = (struct response){.status = ERR_BUSY};
    assert_int_equal(check(&request, &response, NULL), 0);
    response.status = 0; /* it is done, but what? */
    assert_int_equal(check(&request, &response, NULL), ERR_CORRUPT);
}

/* ---- from a store --------------------------------------------------------------------------- */

struct world {
    struct sim *sim;
    struct sim_node *nodes[2];
    struct fake_cluster cluster;
    struct fake_store *store;
    struct client *client;
    struct client_op op;
    struct buf keys;
    int calls;
    int status;
    uint32_t count;
    char text[128];
};

static struct world w;

static void start(void)
{
    memset(&w, 0, sizeof w);
    w.sim = sim_new(NULL, 3);
    fake_cluster_init(&w.cluster);
    w.nodes[0] = sim_node_new(w.sim, "s");
    w.nodes[1] = sim_node_new(w.sim, "c");
    w.store = fake_store_new(&w.cluster, sim_node_env(w.nodes[0]), "s:7000");
    w.cluster.leader = w.store;
    fake_cluster_put(&w.cluster, slice_str("a"), slice_str("1"));
    fake_cluster_put(&w.cluster, slice_str("b"), slice_str("2"));
    const char *endpoint = w.store->address;
    struct client_options options = {.endpoints = &endpoint, .endpoint_count = 1};
    assert_int_equal(client_new(sim_node_env(w.nodes[1]), &options, &w.client, NULL), 0);
    buf_init(&w.keys, 1 << 10);
}

static void finish(void)
{
    client_check(w.client);
    env_stop(sim_node_env(w.nodes[1]));
    client_free(w.client);
    env_stop(sim_node_env(w.nodes[0]));
    fake_cluster_fini(&w.cluster);
    buf_fini(&w.keys);
    sim_free(w.sim);
}

static void on_done(struct client_op *op, const struct client_result *result)
{
    (void)op;
    w.calls++;
    w.status = result->status;
    snprintf(w.text, sizeof w.text, "%.*s", (int)result->text.len, (const char *)result->text.data);
    if (result->status != 0)
        return;
    bool is_watch = result->response->kind == REQUEST_WATCH;
    w.count = is_watch ? result->response->watch.changes.count : result->response->rows.rows.count;
}

static void ask(const struct request *request, const char *endpoint, fake_twist twist)
{
    w.op = (struct client_op){
        .request = *request, .endpoint = endpoint, .timeout_ms = 3000, .cb = on_done};
    w.store->twist = twist;
    assert_int_equal(client_submit(w.client, &w.op), 0);
    for (int i = 0; i < 10000 && w.calls == 0; i++) {
        sim_run_until(w.sim, sim_now_us(w.sim) + 1000);
        client_check(w.client);
    }
    assert_int_equal(w.calls, 1);
}

/* One row less, and it is the last lie. */
static void drop_row(struct fake_store *store, const struct request *request, struct response *to,
                     struct buf *raw)
{
    (void)request;
    buf_clear(raw);
    row_append(raw, &(struct row){.status = ERR_NOT_FOUND});
    to->rows.rows = (struct pack_list){1, buf_slice(raw)};
    store->twist = NULL;
}

static void add_strange_row(struct fake_store *store, const struct request *request,
                            struct response *to, struct buf *raw)
{
    (void)request;
    row_append(raw, &(struct row){.key = slice_str("zz"), .value = slice_str("of others")});
    to->rows.rows = (struct pack_list){to->rows.rows.count + 1, buf_slice(raw)};
    store->twist = NULL;
}

static void add_strange_change(struct fake_store *store, const struct request *request,
                               struct response *to, struct buf *raw)
{
    (void)request;
    change_append(raw, &(struct change){.kind = CHANGE_PUT,
                                        .key = slice_str("zz"),
                                        .value = slice_str("of others"),
                                        .version = to->watch.version});
    to->watch.changes = (struct pack_list){to->watch.changes.count + 1, buf_slice(raw)};
    store->twist = NULL;
}

static void check_another(struct fake_store *store, const struct request *request,
                          struct response *to, struct buf *raw)
{
    (void)store;
    (void)request;
    (void)raw;
    to->check.index++;
}

/* Nobody is told of it: the store is left, and asked again. */
static void want_second_answer(const struct request *request, fake_twist twist, uint32_t count)
{
    start();
    request_key_append(&w.keys, slice_str("a"));
    request_key_append(&w.keys, slice_str("b"));
    struct request asked = *request;
    if (request->kind == REQUEST_MULTI_GET)
        asked.multi_get.keys = (struct pack_list){2, buf_slice(&w.keys)};
    ask(&asked, NULL, twist);
    assert_int_equal(w.status, 0);
    assert_int_equal(w.count, count);
    struct client_stats stats;
    client_stats_get(w.client, &stats);
    assert_int_equal(stats.disconnects, 1);
    finish();
}

static void test_a_store_that_lies_once(void **state)
{
    (void)state;
    struct request request = {.kind = REQUEST_MULTI_GET};
    want_second_answer(&request, drop_row, 2);
    request = (struct request){.kind = REQUEST_SCAN, .scan = {.end = slice_str("m")}};
    want_second_answer(&request, add_strange_row, 2);
    request = (struct request){.kind = REQUEST_WATCH, .watch = {.end = slice_str("m")}};
    want_second_answer(&request, add_strange_change, 0);
}

static void test_a_store_that_lies_and_is_the_only_one_to_ask(void **state)
{
    (void)state;
    struct request request = {.kind = REQUEST_CHECK_RESULT, .check = {.index = 7}};
    start();
    ask(&request, w.store->address, check_another);
    assert_int_equal(w.status, ERR_UNAVAILABLE);
    assert_non_null(strstr(w.text, "index 8, not 7"));
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_row_for_each_key),
        cmocka_unit_test(test_a_scan),
        cmocka_unit_test(test_a_cursor_longer_than_keys),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_the_rest),
        cmocka_unit_test(test_a_store_that_lies_once),
        cmocka_unit_test(test_a_store_that_lies_and_is_the_only_one_to_ask),
    };
    return cmocka_run_group_tests_name("answer", tests, NULL, NULL);
}
