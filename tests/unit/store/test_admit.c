/* SPDX-License-Identifier: Apache-2.0
 *
 * Admission on a whole store: one client floods, another asks for little.
 */
#include <stdlib.h>

#include "base/rng.h"
#include "env/env_ops.h"
#include "net/net_client.h"
#include "store/store_internal.h"
#include "store_rig.h"
#include "support/check.h"

enum { FLOOD = 600, OTHER = 4, LARGE = 200 << 10 };

/* Entries of one write each, one after another: so that a queue grows. */
static void begin(struct rig *rig)
{
    rig_open(rig, 3);
    rig->options.entries_in_flight = 1;
    rig->options.entry_bytes_max = 16;
}

static size_t start(struct rig *rig)
{
    size_t leader = rig_start_cluster(rig);
    rig_connect_too(rig, OTHER, leader);
    rig_run(rig, 50 * RIG_MS);
    return leader;
}

static void cut_off(struct rig *rig, size_t leader)
{
    for (size_t i = 0; i < rig->count; i++) {
        if (i != leader)
            sim_net_partition(rig->sim, rig->nodes[leader], rig->nodes[i], false);
    }
}

static size_t done(struct rig_answer *const *answers, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += answers[i]->count == 1 && answers[i]->status == 0;
    return n;
}

/* One write behind a flood waits for one round of it, not for all. */
static void test_flood_starves_nobody(void **state)
{
    struct rig rig;
    struct rig_answer *flood[FLOOD];
    (void)state;
    begin(&rig);
    size_t leader = start(&rig);
    for (size_t i = 0; i < FLOOD; i++)
        flood[i] = rig_put(&rig, leader, "flood", "v", 60000);
    rig_run(&rig, 5 * RIG_MS); /* all of it has arrived */
    struct rig_answer *one = rig_put(&rig, OTHER, "one", "v", 60000);
    for (int i = 0; i < 10000 && one->count == 0; i++)
        rig_run(&rig, RIG_MS);
    assert_int_equal(one->status, 0);
    assert_in_range(done(flood, FLOOD), 0, FLOOD / 4);
    for (int i = 0; i < 100 && done(flood, FLOOD) < FLOOD; i++)
        rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(done(flood, FLOOD), FLOOD);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* What one client holds leaves room for others, and the last quarter is for those who hold little;
 * who is over it hears BUSY, and when to come. */
static void test_room_for_others(void **state)
{
    struct rig rig;
    struct rig_answer *first[20], *second[20];
    size_t busy = 0;
    (void)state;
    begin(&rig);
    rig.options.requests_held_max = 16;
    size_t leader = start(&rig);
    cut_off(&rig, leader);
    for (size_t i = 0; i < ARRAY_LEN(first); i++)
        first[i] = rig_put(&rig, leader, "k", "v", 400);
    rig_run(&rig, 20 * RIG_MS);
    for (size_t i = 0; i < ARRAY_LEN(second); i++)
        second[i] = rig_put(&rig, OTHER, "k", "v", 400);
    rig_run(&rig, 20 * RIG_MS);
    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        assert_int_equal(first[i]->count, i >= 6);
        assert_int_equal(second[i]->count, i >= 4);
        busy += first[i]->status == ERR_BUSY && first[i]->retry_after_ms > 0;
    }
    assert_int_equal(busy, 14);
    rig_run(&rig, 1000 * RIG_MS);
    sim_net_heal(rig.sim, NULL, NULL);
    rig_run(&rig, 3000 * RIG_MS);
    struct rig_answer *after = rig_put(&rig, rig_leader(&rig), "k", "v", 2000);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(after->status, 0); /* all was given back */
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* What a queue cannot do in time is refused when it comes, with the time that it would take. */
static void test_too_late_is_refused_early(void **state)
{
    struct rig rig;
    struct rig_answer *flood[FLOOD];
    (void)state;
    begin(&rig);
    size_t leader = start(&rig);
    for (size_t i = 0; i < FLOOD; i++)
        flood[i] = rig_put(&rig, leader, "flood", "v", 60000);
    for (int i = 0; i < 2000 && done(flood, FLOOD) < FLOOD / 2; i++)
        rig_run(&rig, RIG_MS);
    assert_in_range(done(flood, FLOOD), FLOOD / 2, FLOOD - 100);
    struct rig_answer *late = rig_put(&rig, leader, "flood", "v", 20);
    struct rig_answer *soon = rig_put(&rig, OTHER, "one", "v", 1000);
    rig_run(&rig, 10 * RIG_MS);
    assert_int_equal(late->count, 1);
    assert_int_equal(late->status, ERR_BUSY);
    assert_in_range(late->retry_after_ms, 10, 2000);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(soon->status, 0);
    rig_run(&rig, 10000 * RIG_MS);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* A client goes while its requests are in line, or under way. */
static void test_client_goes(void **state)
{
    struct rig rig;
    (void)state;
    begin(&rig);
    size_t leader = start(&rig);
    for (size_t i = 0; i < FLOOD; i++)
        rig_put(&rig, OTHER, "flood", "v", 60000);
    rig_run(&rig, 2 * RIG_MS);
    rig_connect_too(&rig, OTHER, leader); /* anew */
    rig_run(&rig, 20 * RIG_MS);
    struct rig_answer *after = rig_put(&rig, OTHER, "k", "v", 5000);
    for (int i = 0; i < 5000 && after->count == 0; i++)
        rig_run(&rig, RIG_MS);
    assert_int_equal(after->status, 0);
    rig_close(&rig);
}

/* What it learned of its pace while it stood still does not hold for ever. */
static void test_stall_is_forgotten(void **state)
{
    struct rig rig;
    struct rig_answer *puts[100];
    (void)state;
    rig_open(&rig, 3);
    size_t leader = start(&rig);
    cut_off(&rig, leader);
    for (size_t i = 0; i < RATE_MANY; i++)
        rig_put(&rig, leader, "k", "v", 5000);
    rig_run(&rig, 300 * RIG_MS);
    sim_net_heal(rig.sim, NULL, NULL);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(rig_leader(&rig), leader);
    assert_in_range(rig.stores[leader]->admit.done.per_s, 1, 1000);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ARRAY_LEN(puts); i++)
            puts[i] = rig_put(&rig, leader, "k", "v", 1000);
        rig_run(&rig, 500 * RIG_MS);
        assert_int_equal(done(puts, ARRAY_LEN(puts)) < ARRAY_LEN(puts), round == 0);
    }
    assert_int_equal(done(puts, ARRAY_LEN(puts)), ARRAY_LEN(puts));
    rig_close(&rig);
}

/* Its pace is how long requests take, from when they come, not how fast the answers of many leave:
 * or the first of a flood would all be let in. */
static void test_pace_of_a_burst(void **state)
{
    enum { BURST = 64 };
    struct rig rig;
    struct rig_answer *puts[BURST];
    (void)state;
    rig_open(&rig, 3);
    size_t leader = start(&rig);
    cut_off(&rig, leader); /* so that it has learned of a pace, a slow one */
    for (size_t i = 0; i < RATE_MANY; i++)
        rig_put(&rig, leader, "k", "v", 5000);
    rig_run(&rig, 300 * RIG_MS);
    sim_net_heal(rig.sim, NULL, NULL);
    rig_run(&rig, 500 * RIG_MS);
    const struct rate *rate = &rig.stores[leader]->admit.done;
    for (int round = 0; round < 20; round++) {
        uint64_t began_us = sim_now_us(rig.sim);
        for (size_t i = 0; i < BURST; i++)
            puts[i] = rig_put(&rig, leader, "k", "v", 5000);
        while (done(puts, BURST) < BURST)
            rig_run(&rig, 20);
        uint64_t took_us = sim_now_us(rig.sim) - began_us;
        assert_in_range(took_us, 200, 20 * RIG_MS);
        assert_in_range(rate->per_s, 1, 4 * BURST * UINT64_C(1000000) / took_us);
        rig_run(&rig, 10 * RIG_MS);
    }
    rig_close(&rig);
}

/* One that took long, alone, says nothing of how many could be done: a flood that comes then is
 * let in. */
static void test_one_was_slow(void **state)
{
    struct rig rig;
    struct rig_answer *puts[200];
    (void)state;
    rig_open(&rig, 3);
    size_t leader = start(&rig);
    for (int i = 0; i < 3; i++) {
        cut_off(&rig, leader);
        struct rig_answer *slow = rig_put(&rig, leader, "k", "v", 5000);
        rig_run(&rig, 250 * RIG_MS);
        sim_net_heal(rig.sim, NULL, NULL);
        rig_run(&rig, 500 * RIG_MS);
        assert_int_equal(rig_leader(&rig), leader);
        assert_int_equal(done(&slow, 1), 1);
    }
    for (size_t i = 0; i < ARRAY_LEN(puts); i++)
        puts[i] = rig_put(&rig, leader, "k", "v", 5000);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(done(puts, ARRAY_LEN(puts)), ARRAY_LEN(puts));
    rig_close(&rig);
}

/* A client goes that has all that is held, in line: the time until others come is not held
 * against them. */
static void test_idle_is_no_work(void **state)
{
    enum { GONE = 77, TIMES = 20, MANY = 40, PACE = 1000 };
    struct rig rig;
    struct buf body;
    (void)state;
    rig_open(&rig, 1);
    size_t leader = start(&rig);
    struct store *store = rig.stores[leader];
    struct admit *a = &store->admit;
    struct request request = {.id = 1, .kind = REQUEST_GET, .timeout_ms = 1000};
    request.get.key = slice_str("k");
    buf_init(&body, 256);
    request_encode(&body, &request);
    rig_run(&rig, 100 * RIG_MS);
    a->done.per_s = PACE;
    for (int i = 0; i < TIMES; i++) {
        uint64_t now_us = env_turn_us(store->env);
        struct answer_to to = {
            .client = GONE, .began_us = now_us, .deadline_us = now_us + 1000 * RIG_MS};
        assert_int_equal(a->held_count, 0);
        a->turn_left = 0;
        for (int k = 0; k < MANY; k++)
            assert_false(admit_request(store, &to, &request, buf_slice(&body)));
        assert_int_equal(a->held_count, MANY);
        admit_on_client_gone(store, GONE);
        rig_run(&rig, 1000 * RIG_MS);
    }
    assert_int_equal(a->done.per_s, PACE);
    buf_fini(&body);
    rig_close(&rig);
}

static size_t answered(struct rig_answer *const *answers, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += answers[i]->count == 1;
    return n;
}

/* Clients that ask for much and read nothing hold what they asked for. It is no measure of what
 * could be done: those who come with a short deadline, more of them at once than the few that
 * were asked for until now, are served, as they are when nobody is stuck. */
static void test_who_reads_nothing(void **state)
{
    enum { STUCK_FROM = 1, STUCK_TO = 3, UNREAD = 100, BURST = 40, ROUNDS = 20 };
    static char value[LARGE + 1];
    struct rig_answer *unread[2][UNREAD], *soon[BURST];
    struct rig rig;
    (void)state;
    struct rng rng;
    rng_init(&rng, 1);
    for (size_t i = 0; i < LARGE; i++) /* it does not shrink on its way */
        value[i] = (char)(1 + rng_below(&rng, 255));
    rig_open(&rig, 1);
    size_t leader = start(&rig);
    struct admit *a = &rig.stores[leader]->admit;
    struct rig_answer *large = rig_put(&rig, leader, "large", value, 5000);
    struct rig_answer *small = rig_put(&rig, leader, "small", "v", 5000);
    rig_run(&rig, 500 * RIG_MS);
    assert_true(large->count == 1 && large->status == 0);
    assert_true(small->count == 1 && small->status == 0);
    for (size_t c = STUCK_FROM; c < STUCK_TO; c++) {
        rig_connect_too(&rig, c, leader);
        rig_run(&rig, 20 * RIG_MS);
        env_conn_pause(rig.conns[c].conn);
        for (size_t i = 0; i < UNREAD; i++)
            unread[c - STUCK_FROM][i] = rig_get(&rig, c, "large", 60000);
    }
    rig_run(&rig, 500 * RIG_MS);
    assert_in_range(a->held_count, 2 * UNREAD - 30, 2 * UNREAD);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < BURST; i++)
            soon[i] = rig_get(&rig, leader, "small", 500);
        rig_run(&rig, 100 * RIG_MS);
        assert_int_equal(done(soon, BURST), BURST);
    }
    store_check(rig.stores[leader]);
    assert_int_equal(a->stats.refused + a->stats.refused_late, 0);
    env_conn_resume(rig.conns[STUCK_FROM].conn); /* the first one reads again, … */
    rig_run(&rig, 5000 * RIG_MS);
    assert_int_equal(done(unread[0], UNREAD), UNREAD);
    assert_in_range(a->held_count, UNREAD - 30, UNREAD);
    uint64_t answered_bytes = rig.stores[leader]->answered_bytes;
    rig_connect_too(&rig, STUCK_FROM + 1,
                    leader); /* … the other one goes: nothing is read for it */
    rig_run(&rig, 5000 * RIG_MS);
    assert_int_equal(rig.stores[leader]->answered_bytes, answered_bytes);
    assert_in_range(answered(unread[1], UNREAD), 0, 30);
    assert_int_equal(a->held_count + a->aside + a->active, 0);
    rig_close(&rig);
}

/* Sees how much had been answered, to whomever, when `client` got his, whether all requests
 * were there before anything was, and how much is answered in one turn. */
struct onlooker {
    const struct store *store;
    uint64_t client;
    uint32_t count;         /* requests */
    uint64_t before, ahead; /* bytes answered */
    uint64_t turn, most;    /* the same: before this turn, and in a turn */
    bool is_answered;
    bool came_in_one_turn;
};

static void look_on(void *data, const struct sim_trace_event *event)
{
    struct onlooker *o = data;
    if (o->store == NULL)
        return;
    o->most = MAX(o->most, o->store->answered_bytes - o->turn);
    if (event->kind != SIM_EVENT_TASK) { /* another turn, of whomever */
        o->turn = o->store->answered_bytes;
        return;
    }
    o->came_in_one_turn |=
        o->store->admit.held_count == o->count && o->store->answered_bytes == o->before;
    if (o->is_answered || net_client_pending(o->store->net, o->client) == 0)
        return;
    o->is_answered = true;
    o->ahead = o->store->answered_bytes - o->before;
}

/* Which client is it that asks for something and is the only one who does? */
static uint64_t only_client(const struct store *store)
{
    const struct map *holders = &store->admit.holders;
    uint64_t client = 0, found = 0;
    uint32_t cursor = 0;
    while (map_next(holders, &cursor, &client) != NULL)
        found = client;
    assert_int_equal(holders->count, 1);
    return found;
}

/* A store that leads, with a key of a large value that does not shrink and one of a small one. */
static size_t open_with_large_and_small(struct rig *rig, size_t large_len)
{
    static char value[LARGE + 1];
    struct rng rng;
    rng_init(&rng, 1);
    assert_in_range(large_len, 1, LARGE);
    for (size_t i = 0; i < large_len; i++)
        value[i] = (char)(1 + rng_below(&rng, 255));
    value[large_len] = 0;
    rig_open(rig, 1);
    size_t leader = start(rig);
    struct rig_answer *large = rig_put(rig, leader, "large", value, 5000);
    struct rig_answer *small = rig_put(rig, leader, "small", "v", 5000);
    rig_run(rig, 500 * RIG_MS);
    assert_true(large->status == 0 && small->status == 0);
    return leader;
}

/* Many who come in one turn, and want much: one who wants little does not wait for a first
 * answer to each of them; and who comes next is heard before many of them are answered. */
static void test_little_before_large(void **state)
{
    enum { HEAVY_FROM = 1, HEAVY_TO = 5, EACH = 4, ALL = 4 * EACH, QUANTUM_US = 10000 };
    struct rig_answer *much[ALL];
    struct onlooker onlooker = {.count = ALL + 1};
    uint32_t rounds = 0;
    struct rig rig;
    (void)state;
    size_t leader = open_with_large_and_small(&rig, LARGE);
    onlooker.client = only_client(rig.stores[leader]);
    for (size_t c = HEAVY_FROM; c < HEAVY_TO; c++)
        rig_connect_too(&rig, c, leader);
    rig_run(&rig, 20 * RIG_MS);
    struct sim_options options = *sim_get_options(rig.sim);
    options.quantum_us = QUANTUM_US; /* now and then all arrives in one turn */
    options.data = &onlooker;
    options.trace = look_on;
    sim_set_options(rig.sim, &options);
    for (int tries = 0; tries < 100; tries++) {
        size_t count = 0;
        for (size_t c = HEAVY_FROM; c < HEAVY_TO; c++)
            for (size_t i = 0; i < EACH; i++)
                much[count++] = rig_get(&rig, c, "large", 5000);
        struct rig_answer *small = rig_get(&rig, leader, "small", 5000);
        onlooker.store = rig.stores[leader];
        onlooker.before = onlooker.turn = onlooker.store->answered_bytes;
        onlooker.is_answered = onlooker.came_in_one_turn = false;
        rig_run(&rig, 500 * RIG_MS);
        assert_int_equal(small->count + small->status, 1);
        assert_int_equal(done(much, ALL), ALL);
        assert_true(onlooker.is_answered);
        if (!onlooker.came_in_one_turn)
            continue;
        rounds++;
        /* a round that had begun, and itself */ assert_in_range(onlooker.ahead, 1,
                                                                 2 * LARGE + LARGE / 2);
    }
    print_message("%u rounds, %u KiB in a turn\n", rounds, (unsigned)(onlooker.most >> 10));
    assert_in_range(onlooker.most, LARGE, 2 * LARGE + LARGE / 2);
    assert_in_range(rounds, 3, 100);
    rig_close(&rig);
}

/* What counts is what is copied: a value that shrinks on its way is as large as it is. */
static void test_large_ones_that_shrink(void **state)
{
    enum { HEAVY_FROM = 1, HEAVY_TO = 5, EACH = 64, ALL = 4 * EACH, SIZE = 20 << 10 };
    static char value[SIZE + 1];
    static struct rig_answer *much[ALL];
    struct onlooker onlooker = {.is_answered = true};
    struct rig rig;
    size_t count = 0;
    (void)state;
    memset(value, 'x', SIZE);
    rig_open(&rig, 1);
    size_t leader = start(&rig);
    struct rig_answer *large = rig_put(&rig, leader, "large", value, 5000);
    rig_run(&rig, 500 * RIG_MS);
    assert_true(large->count == 1 && large->status == 0);
    for (size_t c = HEAVY_FROM; c < HEAVY_TO; c++)
        rig_connect_too(&rig, c, leader);
    rig_run(&rig, 20 * RIG_MS);
    struct sim_options options = *sim_get_options(rig.sim);
    options.quantum_us = 10 * 1000; /* they come in one turn */
    options.data = &onlooker;
    options.trace = look_on;
    sim_set_options(rig.sim, &options);
    onlooker.store = rig.stores[leader];
    onlooker.turn = onlooker.store->answered_bytes;
    for (size_t c = HEAVY_FROM; c < HEAVY_TO; c++)
        for (size_t i = 0; i < EACH; i++)
            much[count++] = rig_get(&rig, c, "large", 5000);
    rig_run(&rig, 2000 * RIG_MS);
    assert_int_equal(done(much, ALL), ALL);
    print_message("%u KiB in a turn\n", (unsigned)(onlooker.most >> 10));
    assert_in_range(onlooker.most, (256 << 10) - SIZE, (256 << 10) + 2 * SIZE);
    onlooker.store = NULL;
    rig_close(&rig);
}

/* In the simulated world a turn takes no time, and nobody comes meanwhile. Here each one that large
 * answers used up took LARGE_TURN_US, as far as the store can see, and somebody else was heard. */
enum { LARGE_TURN_US = 1000 };

struct turns {
    struct store *store;
    bool have_others;
};

static void turns_take_time(void *data, const struct sim_trace_event *event)
{
    const struct turns *turns = data;
    struct store *store = turns->store;
    (void)event;
    if (store == NULL || store->large.paused_us > 0 || !env_timer_is_active(&store->large.next))
        return;
    store->large.opened_us = env_now_us(store->env) - LARGE_TURN_US;
    if (turns->have_others)
        store->large.others = store->answered_bytes - store->large.answered - 1;
}

enum { MUCH_MAX = 128 };

/* Large ones for four who want `each` of them, while `small` are asked for one after another, if
 * they are. Returns how long it took. */
static uint64_t serve_much(struct rig *rig, size_t leader, size_t each, bool with_small)
{
    enum { HEAVY_FROM = 1, HEAVY_TO = 5, STEP_US = 100 };
    struct rig_answer *much[MUCH_MAX];
    uint64_t began_us = sim_now_us(rig->sim);
    size_t count = 0;
    assert_in_range(each, 1, MUCH_MAX / 4);
    for (size_t c = HEAVY_FROM; c < HEAVY_TO; c++)
        for (size_t i = 0; i < each; i++)
            much[count++] = rig_get(rig, c, "large", 5000);
    for (int steps = 0; done(much, count) < count; steps++) {
        assert_in_range(steps, 0, 1000000 / STEP_US);
        if (with_small)
            rig_get(rig, leader, "small", 5000);
        rig_run(rig, STEP_US);
    }
    return sim_now_us(rig->sim) - began_us;
}

static size_t open_for_much(struct rig *rig, size_t large_len)
{
    size_t leader = open_with_large_and_small(rig, large_len);
    for (size_t c = 1; c < 5; c++)
        rig_connect_too(rig, c, leader);
    rig_run(rig, 20 * RIG_MS);
    return leader;
}

/* A turn with large answers took the loop from those who want little: they have it alone for seven
 * times as long, while they ask. Where nobody else asks, one such turn follows the other. */
static void test_others_have_their_time(void **state)
{
    enum { EACH = 32, LEN = 48 << 10, TURNS = 4 * EACH * LEN / (256 << 10) };
    struct turns turns = {0};
    struct rig rig;
    (void)state;
    size_t leader = open_for_much(&rig, LEN);
    struct sim_options options = *sim_get_options(rig.sim);
    options.data = &turns;
    options.trace = turns_take_time;
    sim_set_options(rig.sim, &options);
    turns.store = rig.stores[leader];
    uint64_t alone_us = serve_much(&rig, leader, EACH, false);
    turns.have_others = true;
    uint64_t beside_us = serve_much(&rig, leader, EACH, true);
    print_message("%llu us alone, %llu us beside others\n", (unsigned long long)alone_us,
                  (unsigned long long)beside_us);
    assert_in_range(beside_us, alone_us + TURNS / 2 * 7 * LARGE_TURN_US,
                    alone_us + TURNS * 8 * LARGE_TURN_US);
    turns.store = NULL;
    rig_close(&rig);
}

/* The same of those that are so large that they are copied off the loop, as much as a turn has at
 * a time: they take the processor. */
static void test_others_have_their_time_beside_the_loop(void **state)
{
    enum { EACH = 8, AT_A_TIME = 2, BATCHES = 4 * EACH / AT_A_TIME };
    enum { LASTS_US = AT_A_TIME * LARGE_TURN_US };
    struct rig rig;
    (void)state;
    size_t leader = open_for_much(&rig, LARGE);
    struct sim_options options = *sim_get_options(rig.sim);
    options.work_us_min = options.work_us_max = LARGE_TURN_US;
    sim_set_options(rig.sim, &options);
    uint64_t alone_us = serve_much(&rig, leader, EACH, false);
    uint64_t beside_us = serve_much(&rig, leader, EACH, true);
    print_message("%llu us alone, %llu us beside others\n", (unsigned long long)alone_us,
                  (unsigned long long)beside_us);
    assert_in_range(alone_us, BATCHES * LASTS_US, BATCHES * LASTS_US * 5 / 4);
    assert_in_range(beside_us, alone_us + (BATCHES - 1) * 7 * LASTS_US,
                    alone_us + (BATCHES + 1) * 8 * LASTS_US);
    rig_close(&rig);
}

/* Those that come one after another to an idle store, each alone: what is copied off the loop is
 * counted while it is, and who reads nothing is not made a heap of answers meanwhile. */
static void test_each_alone_beside_the_loop(void **state)
{
    enum {
        CLIENT = 1,
        EACH = 24,
        COPY_US = 20000,
        STEP_US = 2000,
        TURN = 256 << 10,
        CHOKED = 1 << 20
    };
    struct rig_answer *unread[EACH];
    struct rig rig;
    (void)state;
    size_t leader = open_for_much(&rig, LARGE);
    struct store *store = rig.stores[leader];
    store->opt.read_aside_bytes = LARGE / 16; /* so that one alone is copied there, too */
    struct sim_options options = *sim_get_options(rig.sim);
    options.work_us_min = options.work_us_max = COPY_US;
    sim_set_options(rig.sim, &options);
    env_conn_pause(rig.conns[CLIENT].conn);
    uint64_t answered_bytes = store->answered_bytes;
    uint64_t aside_max = 0;
    for (int i = 0; i < EACH; i++) {
        unread[i] = rig_get(&rig, CLIENT, "large", 60000);
        rig_run(&rig, STEP_US);
        aside_max = MAX(aside_max, store->large.aside);
    }
    rig_run(&rig, 3000 * RIG_MS);
    assert_in_range(aside_max, LARGE, TURN + LARGE);
    assert_in_range(store->answered_bytes - answered_bytes, CHOKED, CHOKED + TURN + 2 * LARGE);
    env_conn_resume(rig.conns[CLIENT].conn);
    rig_run(&rig, 3000 * RIG_MS);
    assert_int_equal(done(unread, EACH), EACH);
    assert_int_equal(store->large.in_lane + store->large.aside, 0);
    store_check(rig.stores[leader]);
    rig_close(&rig);
}

static uint32_t count_aside(const struct store *store)
{
    uint32_t cursor = 0, count = 0;
    uint64_t client;
    while (map_next(&store->admit.holders, &cursor, &client) != NULL)
        count += admit_has_aside(store, client);
    return count;
}

/* However many of them there are, there is room for those who read and have many under way. */
static void test_room_beside_those_who_read_nothing(void **state)
{
    enum { STUCK_FROM = 1, STUCK_TO = 5, UNREAD = 100, HELD = 64, SEVERAL = 16 };
    static char value[LARGE + 1];
    struct rig_answer *unread[UNREAD], *several[SEVERAL];
    struct rig rig;
    struct rng rng;
    (void)state;
    rng_init(&rng, 1);
    for (size_t i = 0; i < LARGE; i++)
        value[i] = (char)(1 + rng_below(&rng, 255));
    rig_open(&rig, 1);
    rig.options.requests_held_max = HELD;
    size_t leader = start(&rig);
    const struct admit *a = &rig.stores[leader]->admit;
    struct rig_answer *large = rig_put(&rig, leader, "large", value, 5000);
    rig_run(&rig, 500 * RIG_MS);
    assert_true(large->count == 1 && large->status == 0);
    for (size_t c = STUCK_FROM; c < STUCK_TO; c++) {
        rig_connect_too(&rig, c, leader);
        rig_run(&rig, 20 * RIG_MS);
        env_conn_pause(rig.conns[c].conn);
        for (size_t i = 0; i < UNREAD; i++)
            unread[i] = rig_get(&rig, c, "large", 60000);
    }
    rig_run(&rig, 500 * RIG_MS);
    assert_in_range(a->aside, 2, HELD / 4);
    assert_int_equal(a->held_count, a->aside);
    assert_in_range(count_aside(rig.stores[leader]), 1, STUCK_TO - STUCK_FROM);
    for (size_t i = 0; i < SEVERAL; i++)
        several[i] = rig_get(&rig, leader, "small", 500);
    rig_run(&rig, 100 * RIG_MS);
    for (size_t i = 0; i < SEVERAL; i++)
        assert_true(several[i]->count == 1 && several[i]->status != ERR_BUSY);
    env_conn_resume(rig.conns[STUCK_TO - 1].conn); /* it hears of each what became of it */
    rig_run(&rig, 5000 * RIG_MS);
    assert_int_equal(answered(unread, UNREAD), UNREAD);
    assert_in_range(done(unread, UNREAD), 1, UNREAD - 1);
    assert_false(admit_has_aside(rig.stores[leader], UINT64_MAX)); /* nobody knows him */
    store_check(rig.stores[leader]);
    rig_close(&rig);
}

/* Who asks for much at once and reads it as it comes does not wait for anybody to look whether he
 * has: as soon as nothing waits for him there is more. */
static void test_reader_of_much(void **state)
{
    enum { MUCH = 200, STEP_US = 5000 };
    struct rig_answer *much[MUCH];
    struct rig rig;
    (void)state;
    size_t leader = open_for_much(&rig, LARGE);
    uint64_t took_us = 0;
    for (size_t i = 0; i < MUCH; i++)
        much[i] = rig_get(&rig, leader, "large", 60000);
    for (; answered(much, MUCH) < MUCH && took_us < 5000 * RIG_MS; took_us += STEP_US)
        rig_run(&rig, STEP_US);
    assert_int_equal(done(much, MUCH), MUCH);
    assert_in_range(took_us, 1, 250 * RIG_MS); /* 20 ms for each MiB would be 780 */
    store_check(rig.stores[leader]);
    rig_close(&rig);
}

/* A world in which a turn takes time. */
struct slow_world {
    struct env env;
    uint64_t now_us, turn_us;
};

static uint64_t slow_now_us(struct env *env)
{
    return ((struct slow_world *)env)->now_us;
}

static uint64_t slow_turn_us(struct env *env)
{
    return ((struct slow_world *)env)->turn_us;
}

/* What a turn answers has taken that turn, too: of a process that gets 40 ms of a core in a second
 * the pace is not that at which one turn follows another. */
static void test_turn_takes_time(void **state)
{
    enum { MANY = 1024, TURN_US = 120 * 1000 };
    static const struct env_ops ops = {.now_us = slow_now_us, .turn_us = slow_turn_us};
    struct slow_world world = {.env = {.ops = &ops}, .turn_us = 1000};
    struct store *store = calloc(1, sizeof *store);
    struct rate rate = {0};
    (void)state;
    assert_non_null(store);
    store->env = &world.env;
    for (int round = 0; round < 3; round++) {
        world.now_us = world.turn_us;
        rate_note(&rate, env_turn_us(store->env), 0, false); /* they are there … */
        world.turn_us += 1000; /* … and the next turn has them all */
        world.now_us = world.turn_us + TURN_US;
        for (int left = MANY; left > 0; left--)
            admit_note_done(store, &rate, 1, left == 1);
        assert_in_range(rate.per_s, MANY * 8 - 200, MANY * 9);
        world.turn_us = world.now_us;
    }
    for (int i = 0; i < RATE_MANY; i++) /* a few, one after another, tell nothing */
        admit_note_done(store, &rate, 1, true);
    assert_in_range(rate.per_s, MANY * 8 - 200, MANY * 9);
    free(store);
}

/* What an owner must hear as an error when it is opened. */
static void test_bad_option(void **state)
{
    struct rig rig;
    struct err err = {0};
    char labels[4096];
    (void)state;
    rig_open(&rig, 1);
    memset(labels, 'a', sizeof labels - 1);
    labels[sizeof labels - 1] = 0;
    rig.options.labels = labels;
    assert_int_equal(rig_start(&rig, 0, &err), ERR_TOO_LARGE);
    rig_close(&rig);
    rig_open(&rig, 1);
    rig.options.labels = "zone=a, rack=2";
    assert_int_equal(rig_start(&rig, 0, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "labels: label 2"));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood_starves_nobody),
        cmocka_unit_test(test_room_for_others),
        cmocka_unit_test(test_too_late_is_refused_early),
        cmocka_unit_test(test_client_goes),
        cmocka_unit_test(test_stall_is_forgotten),
        cmocka_unit_test(test_pace_of_a_burst),
        cmocka_unit_test(test_one_was_slow),
        cmocka_unit_test(test_idle_is_no_work),
        cmocka_unit_test(test_who_reads_nothing),
        cmocka_unit_test(test_little_before_large),
        cmocka_unit_test(test_large_ones_that_shrink),
        cmocka_unit_test(test_others_have_their_time),
        cmocka_unit_test(test_others_have_their_time_beside_the_loop),
        cmocka_unit_test(test_each_alone_beside_the_loop),
        cmocka_unit_test(test_room_beside_those_who_read_nothing),
        cmocka_unit_test(test_reader_of_much),
        cmocka_unit_test(test_turn_takes_time),
        cmocka_unit_test(test_bad_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
