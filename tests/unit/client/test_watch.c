/* SPDX-License-Identifier: Apache-2.0 */
/* Watches over stores that misbehave: every change once, those of a key in order. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "client/watch.h"
#include "env/sim/sim.h"
#include "support/fake_store.h"

enum { STORES = 3, SEEN_MAX = 1 << 16 };

struct fixture {
    struct sim *sim;
    struct sim_node *nodes[STORES];
    struct sim_node *client_node;
    struct fake_cluster cluster;
    struct client *client;
    struct client_watch *watch;
    struct rng rng;
    /* what the watcher was told */
    size_t seen[SEEN_MAX]; /* places in cluster.changes */
    size_t seen_count;
    uint64_t mark;
    int status;
    char text[128];
    uint64_t gone_version;
    uint64_t pages;
    struct progress copy; /* from the pages alone */
    bool has_copy;
    int trouble; /* as trouble_cb told it last */
    uint64_t trouble_us;
    uint32_t troubles; /* how often it told */
};

static void start(struct fixture *f, uint64_t seed)
{
    static const char *const hosts[] = {"s1", "s2", "s3"};
    const char *endpoints[STORES];
    memset(f, 0, sizeof *f);
    f->sim = sim_new(NULL, seed);
    rng_init(&f->rng, seed);
    fake_cluster_init(&f->cluster);
    for (uint32_t i = 0; i < STORES; i++) {
        char address[32];
        snprintf(address, sizeof address, "%s:7000", hosts[i]);
        f->nodes[i] = sim_node_new(f->sim, hosts[i]);
        endpoints[i] = fake_store_new(&f->cluster, sim_node_env(f->nodes[i]), address)->address;
    }
    f->cluster.leader = f->cluster.stores[0];
    f->cluster.range_base = 100;
    f->client_node = sim_node_new(f->sim, "c");
    struct client_options options = {.endpoints = endpoints, .endpoint_count = STORES};
    assert_int_equal(client_new(sim_node_env(f->client_node), &options, &f->client, NULL), 0);
}

static void finish(struct fixture *f)
{
    client_check(f->client);
    if (f->watch != NULL)
        client_watch_check(f->watch);
    env_stop(sim_node_env(f->client_node));
    client_watch_close(f->watch);
    client_free(f->client);
    for (uint32_t i = 0; i < STORES; i++)
        env_stop(sim_node_env(f->nodes[i]));
    fake_cluster_fini(&f->cluster);
    progress_fini(&f->copy);
    sim_free(f->sim);
}

static size_t place_of(const struct fixture *f, const struct change *c)
{
    for (size_t i = 0; i < f->cluster.change_count; i++) {
        const struct fake_change *is = &f->cluster.changes[i];
        if (is->version == c->version && slice_equal(slice_of(is->key, is->key_len), c->key)) {
            assert_int_equal(is->is_delete, c->kind == CHANGE_DELETE);
            assert_true(slice_equal(slice_of(is->key + is->key_len, is->value_len), c->value));
            return i;
        }
    }
    fail_msg("a change from nowhere");
    return 0;
}

static void on_page(struct client_watch *watch, void *data, const struct client_watch_page *page)
{
    struct fixture *f = data;
    (void)watch;
    assert_int_equal(f->status, 0); /* nothing after the end */
    if (page->status != 0) {
        f->status = page->status;
        f->gone_version = page->version;
        snprintf(f->text, sizeof f->text, "%.*s", (int)page->text.len,
                 (const char *)page->text.data);
        return;
    }
    struct unpack u = unpack_of(page->page->changes.raw);
    f->pages++;
    for (uint32_t i = 0; i < page->page->changes.count; i++) {
        struct change c;
        change_next(&u, &c);
        assert_true(f->seen_count < SEEN_MAX);
        f->seen[f->seen_count++] = place_of(f, &c);
    }
    assert_true(page->mark >= f->mark);
    f->mark = page->mark;
    if (f->has_copy)
        assert_int_equal(progress_page(&f->copy, page->start, page->end, page->page), 0);
}

static void on_trouble(struct client_watch *watch, void *data,
                       const struct client_watch_trouble *trouble)
{
    struct fixture *f = data;
    (void)watch;
    assert_int_equal(f->status, 0);
    assert_true((trouble->status == 0) == (trouble->since_us == 0));
    assert_true((trouble->status == 0) == (trouble->text[0] == 0));
    f->trouble = trouble->status;
    f->trouble_us = trouble->since_us;
    f->troubles++;
}

static void open_watch(struct fixture *f, const char *first, const char *last, uint64_t from,
                       struct slice token)
{
    struct client_watch_options options = {
        .start = slice_str(first),
        .end = slice_str(last),
        .from_version = from,
        .token = token,
        .wait_ms = 1000,
        .page_cb = on_page,
        .trouble_cb = on_trouble,
        .data = f,
    };
    assert_int_equal(client_watch_open(f->client, &options, &f->watch, NULL), 0);
    progress_fini(&f->copy);
    if (token.len == 0)
        assert_int_equal(
            progress_init(&f->copy, 0, options.start, options.end, from - 1, from == 0), 0);
    else
        assert_int_equal(progress_decode(&f->copy, token, NULL), 0);
    f->has_copy = true;
}

/* The cluster does it by itself, without a client. */
static void write_one(struct fixture *f)
{
    char key[8], value[16];
    snprintf(key, sizeof key, "%c%u", 'a' + (int)rng_below(&f->rng, 8),
             (unsigned)rng_below(&f->rng, 3));
    snprintf(value, sizeof value, "%zu", f->cluster.change_count);
    struct op op = {.kind = rng_below(&f->rng, 4) == 0 ? OP_DELETE : OP_PUT, .key = slice_str(key)};
    f->cluster.version += 1 + rng_below(&f->rng, 5);
    fake_changes_add(&f->cluster, &op, slice_str(value));
}

static void run_ms(struct fixture *f, uint64_t ms)
{
    sim_run_until(f->sim, sim_now_us(f->sim) + ms * 1000);
    client_check(f->client);
    client_watch_check(f->watch);
}

/* All changes with `after` < version in [first, last) were told, each once, and those of a
 * key in order. */
static void judge(struct fixture *f, const char *first, const char *last, uint64_t after)
{
    static int told[SEEN_MAX];
    memset(told, 0, f->cluster.change_count * sizeof told[0]);
    for (size_t i = 0; i < f->seen_count; i++) {
        const struct fake_change *c = &f->cluster.changes[f->seen[i]];
        told[f->seen[i]]++;
        for (size_t k = f->seen[i] + 1; k < f->cluster.change_count; k++) {
            const struct fake_change *later = &f->cluster.changes[k];
            if (told[k] > 0 &&
                slice_equal(slice_of(c->key, c->key_len), slice_of(later->key, later->key_len)))
                fail_msg("change %zu came after %zu of the same key", f->seen[i], k);
        }
    }
    for (size_t i = 0; i < f->cluster.change_count; i++) {
        const struct fake_change *c = &f->cluster.changes[i];
        struct slice key = slice_of(c->key, c->key_len);
        int want = c->version > after && slice_compare(slice_str(first), key) <= 0 &&
                   (last[0] == 0 || slice_compare(key, slice_str(last)) < 0);
        if (told[i] != want)
            fail_msg("change %zu of %.*s was told %d times, want %d", i, (int)c->key_len,
                     (const char *)c->key, told[i], want);
    }
}

static void test_now_and_then(void **state)
{
    (void)state;
    struct fixture *f = malloc(sizeof *f);
    start(f, 1);
    for (int i = 0; i < 20; i++)
        write_one(f);
    uint64_t before = f->cluster.version;
    open_watch(f, "", "", 0, slice_of(NULL, 0));
    run_ms(f, 500);
    assert_true(f->mark == before && f->seen_count == 0);
    for (int i = 0; i < 20; i++)
        write_one(f);
    run_ms(f, 3000);
    judge(f, "", "", before);
    assert_true(f->mark == f->cluster.version);
    finish(f);
    start(f, 2);
    for (int i = 0; i < 200; i++)
        write_one(f);
    uint64_t from = f->cluster.changes[100].version;
    open_watch(f, "b", "f", from, slice_of(NULL, 0));
    run_ms(f, 1000);
    judge(f, "b", "f", from - 1);
    finish(f);
    free(f);
}

/* A trouble, for a while. */
static void trouble(struct fixture *f)
{
    static const enum fake_mood moods[] = {FAKE_RESET, FAKE_DO_RESET, FAKE_SWALLOW,
                                           FAKE_BUSY,  FAKE_LATE,     FAKE_NO_MAJORITY};
    static const char *const keys[] = {"b", "c1", "d", "f", "g2"};
    struct fake_cluster *c = &f->cluster;
    struct fake_store *store = c->stores[rng_below(&f->rng, STORES)];
    switch (rng_below(&f->rng, 6)) {
    case 0:
        c->leader = c->stores[rng_below(&f->rng, STORES)];
        c->term++;
        break;
    case 1:
        fake_store_disconnect(store);
        break;
    case 2: { /* the ranges change */
        int count = 0;
        for (size_t i = 0; i < ARRAY_LEN(keys) && count < FAKE_SEAMS_MAX; i++) {
            if (rng_below(&f->rng, 2) == 0)
                c->seams[count++] = keys[i];
        }
        while (count < FAKE_SEAMS_MAX)
            c->seams[count++] = NULL;
        c->range_base += rng_below(&f->rng, 2) * 10;
        break;
    }
    case 3:
        c->watch_limit = 1 + (uint32_t)rng_below(&f->rng, 6);
        break;
    default:
        store->mood = moods[rng_below(&f->rng, ARRAY_LEN(moods))];
        store->busy_ms = 1 + (uint32_t)rng_below(&f->rng, 300);
        store->moods_left = 1 + (uint32_t)rng_below(&f->rng, 4);
        break;
    }
}

/* The watcher dies now and then, and goes on from the token that it wrote down. */
static void restart(struct fixture *f)
{
    struct buf token;
    buf_init(&token, PROGRESS_TOKEN_MAX);
    progress_encode(&f->copy, &token);
    client_watch_close(f->watch);
    f->mark = 0;
    open_watch(f, "", "", 0, buf_slice(&token));
    buf_fini(&token);
}

static void test_storms(void **state)
{
    (void)state;
    uint64_t failures = 0, pieces_max = 0, pages = 0;
    struct fixture *f = malloc(sizeof *f);
    for (uint64_t seed = 1; seed <= 10; seed++) {
        start(f, seed);
        uint64_t from = f->cluster.version + 1;
        open_watch(f, "", "", from, slice_of(NULL, 0));
        for (int i = 0; i < 120; i++) {
            for (uint64_t n = rng_below(&f->rng, 6); n > 0; n--)
                write_one(f);
            if (rng_below(&f->rng, 4) == 0)
                trouble(f);
            if (rng_below(&f->rng, 40) == 0)
                restart(f);
            if (rng_below(&f->rng, 20) == 0)
                client_watch_pause(f->watch);
            else
                client_watch_resume(f->watch);
            run_ms(f, rng_below(&f->rng, 200));
            struct client_watch_stats stats;
            client_watch_stats_get(f->watch, &stats);
            pieces_max = MAX(pieces_max, stats.pieces);
        }
        for (uint32_t i = 0; i < STORES; i++)
            f->cluster.stores[i]->mood = FAKE_SERVE;
        client_watch_resume(f->watch);
        run_ms(f, 30000);
        struct client_watch_stats stats;
        client_watch_stats_get(f->watch, &stats);
        failures += stats.failures;
        pages += f->pages;
        assert_int_equal(f->status, 0);
        judge(f, "", "", from - 1);
        assert_true(f->mark == f->cluster.version);
        assert_true(stats.pieces <= FAKE_SEAMS_MAX + 1 + 4); /* pieces do not pile up */
        finish(f);
    }
    free(f);
    assert_true(pages > 500 && pieces_max > 3);
}

/* More pieces than are asked for at a time: all of them go on, in turn. */
static void test_in_turn(void **state)
{
    (void)state;
    struct fixture *f = malloc(sizeof *f);
    start(f, 9);
    f->cluster.seams[0] = "b";
    f->cluster.seams[1] = "c";
    f->cluster.seams[2] = "d";
    f->cluster.seams[3] = "e";
    struct client_watch_options options = {
        .from_version = f->cluster.version + 1,
        .polls_max = 2,
        .wait_ms = 60000,
        .page_cb = on_page,
        .data = f,
    };
    uint64_t before = f->cluster.version;
    assert_int_equal(client_watch_open(f->client, &options, &f->watch, NULL), 0);
    for (int i = 0; i < 100; i++) {
        write_one(f);
        run_ms(f, 20);
    }
    run_ms(f, 5000);
    judge(f, "", "", before);
    finish(f);
    free(f);
}

static void put_one(struct fixture *f, const char *key)
{
    struct op op = {.kind = OP_PUT, .key = slice_str(key)};
    f->cluster.version++;
    fake_changes_add(&f->cluster, &op, slice_str("x"));
}

/* Much was written in one of many ranges, more than fits a page. The others, in which nothing
 * happens, are not waited for between two pages; and what happens in them is told before the end of
 * it. */
static void test_much_in_one_of_many(void **state)
{
    enum { MANY = 200 };
    (void)state;
    struct fixture *f = malloc(sizeof *f);
    start(f, 10);
    f->cluster.seams[0] = "b";
    f->cluster.seams[1] = "c";
    f->cluster.seams[2] = "d";
    f->cluster.seams[3] = "e";
    f->cluster.watch_limit = 1;
    struct client_watch_options options = {
        .from_version = f->cluster.version + 1,
        .polls_max = 1,
        .wait_ms = 60000,
        .page_cb = on_page,
        .data = f,
    };
    uint64_t before = f->cluster.version;
    assert_int_equal(client_watch_open(f->client, &options, &f->watch, NULL), 0);
    run_ms(f, 5000); /* it knows the ranges */
    for (int i = 0; i < MANY; i++) {
        char key[8];
        snprintf(key, sizeof key, "e%03d", i);
        put_one(f, key);
    }
    for (int i = 0; i < 5000 && f->seen_count < 5; i++)
        run_ms(f, 1);
    put_one(f, "a");
    size_t told = f->cluster.change_count - 1;
    bool is_told = false;
    for (int i = 0; i < 1000 && !is_told; i++) {
        run_ms(f, 1);
        for (size_t k = 0; k < f->seen_count; k++)
            is_told = is_told || f->seen[k] == told;
    }
    assert_true(is_told);
    assert_true(f->seen_count < MANY / 2);
    run_ms(f, 3000); /* one round of waiting for each page would be a hundred seconds and more */
    assert_int_equal(f->seen_count, MANY + 1);
    judge(f, "", "", before);
    finish(f);
    free(f);
}

/* By the watcher's clock. */
static uint64_t now_us(struct fixture *f)
{
    return env_now_us(sim_node_env(f->client_node));
}

static void all_stores(struct fixture *f, enum fake_mood mood)
{
    for (int i = 0; i < STORES; i++) {
        f->cluster.stores[i]->mood = mood;
        f->cluster.stores[i]->moods_left = 0;
    }
}

/* A span that is quiet and one that nobody answers for: the second is told of, with the time since
 * when, and so is its end. Nothing is missed meanwhile. */
static void test_trouble(void **state)
{
    (void)state;
    static const enum fake_mood moods[] = {FAKE_SWALLOW, FAKE_RESET, FAKE_NO_MAJORITY, FAKE_BUSY};
    struct fixture *f = malloc(sizeof *f);
    for (size_t i = 0; i < ARRAY_LEN(moods); i++) {
        start(f, 20 + i);
        all_stores(f, moods[i]);
        open_watch(f, "", "", f->cluster.version + 1, slice_of(NULL, 0));
        uint64_t after = f->cluster.version, begun_us = now_us(f);
        run_ms(f, 6000); /* from the first request on */
        assert_true(f->trouble != 0);
        assert_true(f->trouble_us >= begun_us && f->trouble_us < begun_us + 100000);
        all_stores(f, FAKE_SERVE);
        write_one(f);
        run_ms(f, 2000);
        assert_int_equal(f->trouble, 0);
        f->troubles = 0;
        run_ms(f, 60000);
        assert_int_equal(f->troubles, 0); /* quiet is no trouble */
        begun_us = now_us(f);
        all_stores(f, moods[i]);
        run_ms(f, 7000); /* the wait of a request, and what it has to spare */
        assert_true(f->trouble != 0);
        assert_true(f->trouble_us + 1100000 > begun_us && f->trouble_us < begun_us + 1100000);
        run_ms(f, 20000); /* since when does not move on */
        assert_true(f->trouble != 0 && f->trouble_us < begun_us + 1100000);
        all_stores(f, FAKE_SERVE);
        write_one(f);
        run_ms(f, 3000);
        assert_int_equal(f->trouble, 0);
        judge(f, "", "", after);
        finish(f);
    }
    free(f);
}

/* Two ranges are in trouble, one after the other, and the first is well again: what is left began
 * when the second one's did. */
static void test_younger_trouble(void **state)
{
    (void)state;
    struct fixture *f = malloc(sizeof *f);
    start(f, 30);
    struct fake_store *left = f->cluster.stores[0], *right = f->cluster.stores[1];
    f->cluster.split = f->cluster.seams[0] = "d";
    f->cluster.split_leader = right;
    uint64_t after = f->cluster.version;
    open_watch(f, "", "", after + 1, slice_of(NULL, 0));
    write_one(f);
    run_ms(f, 3000);
    assert_int_equal(f->trouble, 0);
    uint64_t first_us = now_us(f);
    left->mood = FAKE_NO_MAJORITY;
    run_ms(f, 30000);
    assert_true(f->trouble != 0 && f->trouble_us < first_us + 1100000);
    uint64_t second_us = now_us(f);
    right->mood = FAKE_NO_MAJORITY;
    run_ms(f, 30000);
    assert_true(f->trouble != 0 && f->trouble_us < first_us + 1100000);
    left->mood = FAKE_SERVE;
    run_ms(f, 10000);
    assert_true(f->trouble != 0);
    assert_in_range(f->trouble_us, second_us - 30000000, second_us + 1100000);
    assert_true(f->trouble_us > first_us + 1100000);
    right->mood = FAKE_SERVE;
    run_ms(f, 10000);
    assert_int_equal(f->trouble, 0);
    write_one(f);
    run_ms(f, 3000);
    judge(f, "", "", after);
    finish(f);
    free(f);
}

/* Nobody leads for a while, and one of the endpoints is of another cluster: that is what the client
 * hears last, and says nothing of the watch. */
static void test_a_stranger_among_the_endpoints(void **state)
{
    (void)state;
    struct fixture *f = malloc(sizeof *f);
    start(f, 31);
    uint64_t after = f->cluster.version;
    open_watch(f, "", "", after + 1, slice_of(NULL, 0));
    write_one(f);
    run_ms(f, 3000);
    f->cluster.leader = NULL;
    for (uint32_t i = 1; i < STORES; i++) {
        f->cluster.stores[i]->cluster_id = FAKE_CLUSTER_ID + 1;
        fake_store_disconnect(f->cluster.stores[i]);
    }
    run_ms(f, 60000);
    assert_int_equal(f->status, 0);
    assert_true(f->trouble != 0);
    f->cluster.leader = f->cluster.stores[0];
    run_ms(f, 10000);
    write_one(f);
    run_ms(f, 3000);
    assert_int_equal(f->trouble, 0);
    judge(f, "", "", after);
    finish(f);
    free(f);
}

/* A page that takes longer than a request has to spare comes in the end, also while the pages of
 * another range come at once. */
static void test_slow_page(void **state)
{
    (void)state;
    struct fixture *f = malloc(sizeof *f);
    start(f, 32);
    f->cluster.split = f->cluster.seams[0] = "d";
    f->cluster.split_leader = f->cluster.stores[1];
    uint64_t after = f->cluster.version;
    struct client_watch_options options = {
        .from_version = after + 1,
        .wait_ms = 1000,
        .spare_ms = 1000,
        .page_cb = on_page,
        .trouble_cb = on_trouble,
        .data = f,
    };
    assert_int_equal(client_watch_open(f->client, &options, &f->watch, NULL), 0);
    run_ms(f, 3000);
    f->cluster.stores[1]->mood = FAKE_LATE;
    f->cluster.stores[1]->busy_ms = 5000;
    for (int i = 0; i < 40; i++)
        write_one(f);
    run_ms(f, 60000);
    judge(f, "", "", after);
    assert_true(f->troubles > 0);
    f->cluster.stores[1]->mood = FAKE_SERVE;
    run_ms(f, 20000);
    assert_int_equal(f->trouble, 0);
    finish(f);
    free(f);
}

/* A request that waits is sent again when its store is lost, with so little time left that it may
 * not wait as long as before. Nothing has happened, and nothing is wrong. */
static void test_quiet_span_moves(void **state)
{
    (void)state;
    struct fixture *f = malloc(sizeof *f);
    start(f, 33);
    f->cluster.watch_wait_max_ms = UINT32_MAX;
    struct client_watch_options options = {
        .from_version = f->cluster.version + 1,
        .wait_ms = 10000,
        .spare_ms = 2000,
        .page_cb = on_page,
        .trouble_cb = on_trouble,
        .data = f,
    };
    assert_int_equal(client_watch_open(f->client, &options, &f->watch, NULL), 0);
    run_ms(f, 1000); /* the first one, which waits little, is over, and the next is there */
    uint64_t pages = f->pages;
    run_ms(f, 8000);
    assert_int_equal(f->pages, pages);
    f->cluster.leader = f->cluster.stores[1];
    f->cluster.term++;
    fake_store_disconnect(f->cluster.stores[0]);
    run_ms(f, 30000);
    assert_true(f->pages > pages);
    assert_int_equal(f->troubles, 0);
    finish(f);
    free(f);
}

static void test_gone(void **state)
{
    (void)state;
    struct fixture *f = malloc(sizeof *f);
    start(f, 5);
    for (int i = 0; i < 50; i++)
        write_one(f);
    f->cluster.gone_version = f->cluster.version - 5;
    open_watch(f, "", "", 1, slice_of(NULL, 0));
    run_ms(f, 1000);
    assert_int_equal(f->status, ERR_VERSION_GONE);
    assert_true(f->gone_version == f->cluster.gone_version);
    run_ms(f, 5000); /* and that was the last of it */
    finish(f);
    free(f);
}

static void test_refused(void **state)
{
    (void)state;
    struct fixture *f = malloc(sizeof *f);
    uint8_t long_key[KEY_WIRE_MAX + 1] = {1};
    start(f, 6);
    struct client_watch_options options = {.page_cb = on_page, .data = f};
    options.start = slice_of(long_key, sizeof long_key);
    assert_int_equal(client_watch_open(f->client, &options, &f->watch, NULL), ERR_TOO_LARGE);
    options.start = options.end = slice_str("a");
    assert_int_equal(client_watch_open(f->client, &options, &f->watch, NULL), ERR_INVALID);
    options.token = slice_str("no token");
    assert_int_equal(client_watch_open(f->client, &options, &f->watch, NULL), ERR_CORRUPT);
    assert_null(f->watch);
    finish(f);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_now_and_then),
        cmocka_unit_test(test_storms),
        cmocka_unit_test(test_in_turn),
        cmocka_unit_test(test_much_in_one_of_many),
        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_younger_trouble),
        cmocka_unit_test(test_slow_page),
        cmocka_unit_test(test_quiet_span_moves),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_a_stranger_among_the_endpoints),
    };
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
