/* SPDX-License-Identifier: Apache-2.0 */
/* Members come and go: what a store does with a replica that is new, that is gone, and
 * that may never hear of it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "consensus/consensus.h"
#include "net/net_internal.h"
#include "net/net_stream.h"
#include "range/range.h"
#include "store/store_internal.h"
#include "store_rig.h"
#include "support/check.h"
#include "wire/snapshot_msg.h"

static struct rig rig;

static size_t wait_for_leader(void)
{
    for (int tries = 0; tries < 100 && rig_leader(&rig) == rig.count; tries++)
        rig_run(&rig, 50 * RIG_MS);
    assert_true(rig_leader(&rig) < rig.count);
    rig_run(&rig, 400 * RIG_MS); /* an entry of its term is applied */
    return rig_leader(&rig);
}

static struct rig_answer *change(size_t at, enum member_change action, uint64_t replica_id,
                                 size_t on)
{
    static char address[32];
    struct request request = {
        .kind = REQUEST_CHANGE_MEMBER,
        .range_id = STORE_FIRST_RANGE_ID,
        .change_member = {.action = action},
    };
    if (action != MEMBER_ADD_LEARNER) {
        request.change_member.replica_id = replica_id;
        return rig_ask(&rig, at, &request);
    }
    snprintf(address, sizeof address, "%c:7000", (char)('a' + on));
    struct member *m = &request.change_member.member;
    *m = (struct member){.replica_id = replica_id,
                         .store_id = on + 1,
                         .role = MEMBER_LEARNER,
                         .address = slice_str(address)};
    memcpy(m->store_uuid, store_identity(rig.stores[on])->uuid, sizeof m->store_uuid);
    return rig_ask(&rig, at, &request);
}

static void must_change(enum member_change action, uint64_t replica_id, size_t on)
{
    for (int tries = 0; tries < 40; tries++) {
        struct rig_answer *answer = change(wait_for_leader(), action, replica_id, on);
        rig_run(&rig, 500 * RIG_MS);
        if (answer->status == 0)
            return;
        if (answer->status != ERR_BUSY)
            fail_msg("%s: %s", err_name(answer->status), answer->text);
    }
    fail_msg("busy for ever");
}

static void assert_value(const char *key, const char *want)
{
    struct rig_answer *get = rig_get(&rig, wait_for_leader(), key, 2000);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(get->status, 0);
    assert_string_equal(get->value, want);
}

static bool has_replica(size_t i)
{
    return store_range_at(rig.stores[i], 0) != 0;
}

static size_t a_follower(void)
{
    return (wait_for_leader() + 1) % 3;
}

static void test_removed_and_added_again(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    rig_put(&rig, leader, "a", "1", 0);
    rig_run(&rig, 300 * RIG_MS);
    size_t gone = a_follower();
    must_change(MEMBER_REMOVE, gone + 1, 0);
    rig_run(&rig, 12000 * RIG_MS);
    assert_false(has_replica(gone));
    assert_int_equal(store_state(rig.stores[gone]), STORE_RUNNING);
    rig_put(&rig, wait_for_leader(), "b", "2", 0);
    rig_run(&rig, 300 * RIG_MS);
    must_change(MEMBER_ADD_LEARNER, 40, gone);
    rig_run(&rig, 3000 * RIG_MS);
    assert_true(has_replica(gone));
    must_change(MEMBER_PROMOTE, 40, 0);
    /* It counts: with another one down, it is the majority. */
    size_t down = 3 - gone - wait_for_leader();
    rig_crash(&rig, down, SIM_CRASH_POWER);
    rig_put(&rig, wait_for_leader(), "c", "3", 0);
    rig_run(&rig, 1000 * RIG_MS);
    assert_value("a", "1");
    assert_value("b", "2");
    assert_value("c", "3");
    assert_int_equal(rig_start(&rig, down, NULL), 0);
    rig_run(&rig, 500 * RIG_MS);
    rig_close(&rig);
}

/* It was down when it was removed: it asks, is told, and leaves. */
static void test_a_store_that_missed_its_removal(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    rig_start_cluster(&rig);
    size_t gone = a_follower();
    rig_crash(&rig, gone, SIM_CRASH_POWER);
    rig_run(&rig, 2000 * RIG_MS);
    must_change(MEMBER_REMOVE, gone + 1, 0);
    assert_int_equal(rig_start(&rig, gone, NULL), 0);
    rig_run(&rig, 500 * RIG_MS);
    assert_true(has_replica(gone));
    rig_run(&rig, 20000 * RIG_MS);
    assert_false(has_replica(gone));
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* It sleeps when it is removed, and is told: it does not wait until it is looked at. */
static void test_a_sleeper_is_removed(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    rig.options.hibernate_after_ms = 300;
    rig.options.hibernate_check_ms = 600 * 1000;
    size_t leader = rig_start_cluster(&rig), gone = (leader + 1) % 3;
    const struct replica *r = replicas_get(&rig.stores[gone]->replicas, gone + 1);
    for (int tries = 0; tries < 200 && !r->nap.is_asleep; tries++)
        rig_run(&rig, 20 * RIG_MS);
    assert_true(r->nap.is_asleep);
    struct rig_answer *answer = change(leader, MEMBER_REMOVE, gone + 1, 0);
    sim_net_partition(rig.sim, rig.nodes[leader], rig.nodes[gone], true); /* nothing wakes it */
    rig_run(&rig, 2 * rig.options.heartbeat_ms * RIG_MS);
    assert_int_equal(answer->status, ERR_BUSY); /* the leader must hear of the other first */
    answer = change(leader, MEMBER_REMOVE, gone + 1, 0);
    rig_run(&rig, rig.options.heartbeat_ms * RIG_MS);
    assert_int_equal(answer->status, 0);
    assert_true(r->nap.is_asleep);
    sim_net_heal(rig.sim, NULL, NULL);
    rig_run(&rig, 2000 * RIG_MS);
    assert_false(has_replica(gone));
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* It missed its removal, and most of those whom it knows as members are down: it stays
 * dormant, for it could not win, but learns that nobody needs it. */
static void test_a_sleeper_that_missed_its_removal(void **state)
{
    (void)state;
    rig_open(&rig, 4);
    rig.options.hibernate_after_ms = 300;
    rig.options.hibernate_check_ms = 2000;
    size_t last = rig_start_cluster(&rig), gone = (last + 1) % 4;
    rig_crash(&rig, gone, SIM_CRASH_POWER);
    for (size_t i = 0; i < rig.count; i++) {
        if (i != last)
            must_change(MEMBER_REMOVE, i + 1, 0);
    }
    for (size_t i = 0; i < rig.count; i++) {
        if (i != last && i != gone)
            rig_crash(&rig, i, SIM_CRASH_KILL);
    }
    assert_int_equal(rig_start(&rig, gone, NULL), 0);
    rig_run(&rig, 500 * RIG_MS);
    assert_true(has_replica(gone));
    rig_run(&rig, 10000 * RIG_MS);
    assert_false(has_replica(gone));
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* It was down while it was removed and added again: the newer id drives the old out. */
static void test_a_newer_id_drives_the_old_one_out(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    rig_put(&rig, leader, "a", "1", 0);
    size_t gone = a_follower();
    rig_crash(&rig, gone, SIM_CRASH_POWER);
    rig_run(&rig, 2000 * RIG_MS);
    must_change(MEMBER_REMOVE, gone + 1, 0);
    assert_int_equal(rig_start(&rig, gone, NULL), 0);
    must_change(MEMBER_ADD_LEARNER, 40, gone);
    rig_run(&rig, 4000 * RIG_MS);
    assert_true(has_replica(gone));
    must_change(MEMBER_PROMOTE, 40, 0);
    for (size_t i = 0; i < rig.count; i++)
        store_check(rig.stores[i]);
    assert_value("a", "1");
    rig_close(&rig);
}

/* Loss of power at any moment behind the removal: it ends removed, its id never votes
 * again, and the store takes a new one. */
static void test_crashes_while_removing(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 20; n++) {
        rig_open(&rig, 3);
        size_t leader = rig_start_cluster(&rig);
        rig_put(&rig, leader, "a", "1", 0);
        size_t gone = a_follower();
        struct rig_answer *answer = change(rig_leader(&rig), MEMBER_REMOVE, gone + 1, 0);
        rig_run(&rig, n * n * RIG_MS / 2);
        rig_crash(&rig, gone, n % 2 == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL);
        rig_run(&rig, 1000 * RIG_MS);
        assert_int_equal(answer->status, 0);
        assert_int_equal(rig_start(&rig, gone, NULL), 0);
        rig_run(&rig, 20000 * RIG_MS);
        assert_false(has_replica(gone));
        must_change(MEMBER_ADD_LEARNER, 40, gone);
        rig_run(&rig, 3000 * RIG_MS);
        rig_crash(&rig, gone, SIM_CRASH_POWER);
        assert_int_equal(rig_start(&rig, gone, NULL), 0);
        rig_run(&rig, 3000 * RIG_MS);
        assert_true(has_replica(gone));
        must_change(MEMBER_PROMOTE, 40, 0);
        assert_value("a", "1");
        rig_close(&rig);
    }
}

static void test_what_is_refused(void **state)
{
    (void)state;
    rig_open(&rig, 3);
    size_t leader = rig_start_cluster(&rig);
    struct rig_answer *not_leader = change((leader + 1) % 3, MEMBER_REMOVE, 1, 0);
    struct rig_answer *unknown = change(leader, MEMBER_REMOVE, 99, 0);
    struct rig_answer *here = change(leader, MEMBER_ADD_LEARNER, 50, (leader + 1) % 3);
    struct request request = {
        .kind = REQUEST_CHANGE_MEMBER,
        .range_id = STORE_FIRST_RANGE_ID,
        .change_member = {.action = MEMBER_ADD_LEARNER,
                          .member = {.replica_id = 50,
                                     .store_id = 9,
                                     .role = MEMBER_LEARNER,
                                     .address = slice_str("z:1")}},
    };
    struct rig_answer *foreign = rig_ask(&rig, leader, &request);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(not_leader->status, ERR_NOT_LEADER);
    assert_int_equal(unknown->status, ERR_NOT_FOUND);
    assert_true(here->status == ERR_EXISTS || here->status == ERR_INVALID);
    assert_int_equal(foreign->status, ERR_NOT_FOUND);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

enum { PIECES = 64, PIECE_LEN = 60000 };

/* What a sender of a snapshot said when it gave it up last: how much it had made of it, and why. */
static uint64_t given_up_bytes;
static char given_up_why[RIG_TEXT_MAX];

static void note_given_up(void *data, enum log_level level, const char *line)
{
    const char *bytes = strstr(line, " bytes=");
    const char *why = strstr(line, " reason=");
    (void)data;
    (void)level;
    if (strstr(line, "snapshot_failed") == NULL || bytes == NULL || why == NULL)
        return;
    given_up_bytes = strtoull(bytes + strlen(" bytes="), NULL, 10);
    snprintf(given_up_why, sizeof given_up_why, "%s", why);
}

/* Data of some 4 MiB, which take seconds at this rate; the third store has none of it. */
static size_t prepare_to_feed(size_t *ret_fed)
{
    static const struct logger logger = {.level = LOG_LEVEL_WARN, .sink = note_given_up};
    char *value = calloc(1, PIECE_LEN + 1);
    char key[16];
    struct rng rng;
    rng_init(&rng, 1);
    rig_open(&rig, 3);
    rig.options.snapshot_bytes_per_s = 1 << 20;
    rig.options.logger = &logger;
    rig_start_cluster(&rig);
    size_t fed = a_follower();
    must_change(MEMBER_REMOVE, fed + 1, 0);
    rig_run(&rig, 12000 * RIG_MS);
    assert_false(has_replica(fed));
    for (uint32_t i = 0; i < PIECES; i++) {
        for (uint32_t k = 0; k < PIECE_LEN; k++)
            value[k] = (char)rng_between(&rng, 1, UINT8_MAX); /* it fills windows as it is */
        snprintf(key, sizeof key, "piece%02u", (unsigned)i);
        rig_put(&rig, wait_for_leader(), key, value, 0);
        rig_run(&rig, 20 * RIG_MS);
    }
    free(value);
    *ret_fed = fed;
    return wait_for_leader();
}

/* … and gets it from now on. */
static size_t begin_to_feed(size_t *ret_fed)
{
    prepare_to_feed(ret_fed);
    must_change(MEMBER_ADD_LEARNER, 40, *ret_fed);
    return wait_for_leader();
}

static uint64_t taken_in(size_t i)
{
    const struct replica *r = replicas_get(&rig.stores[i]->replicas, 40);
    return r == NULL || r->range == NULL ? 0 : range_meta(r->range)->applied_index;
}

static void run_until_fed(size_t fed, uint64_t ms)
{
    for (uint64_t t = 0; t < ms && taken_in(fed) == 0; t += 50)
        rig_run(&rig, 50 * RIG_MS);
    assert_true(taken_in(fed) > 0);
}

/* The connection is lost in the middle, twice: the same state goes on behind what is there. */
static void test_a_snapshot_goes_on_after_a_cut(void **state)
{
    (void)state;
    size_t fed;
    size_t leader = begin_to_feed(&fed);
    for (int cut = 0; cut < 2; cut++) {
        rig_run(&rig, 700 * RIG_MS);
        sim_net_reset(rig.sim, rig.nodes[leader], rig.nodes[fed]);
        for (int i = 0; i < 60 && rig.stores[fed]->snapshots_resumed == (uint64_t)cut; i++)
            rig_run(&rig, 50 * RIG_MS);
        assert_true(rig.stores[fed]->snapshots_resumed == (uint64_t)cut + 1);
        assert_true(taken_in(fed) == 0);
    }
    run_until_fed(fed, 10000);
    assert_int_equal(rig.stores[fed]->snapshots_begun, 1);
    assert_int_equal(rig.stores[leader]->snapshots_cut, 0);
    must_change(MEMBER_PROMOTE, 40, 0);
    store_check(rig.stores[fed]);
    rig_close(&rig);
}

/* Writes now and then go on as ever while a new member is fed: none waits for the next heartbeat,
 * though those of the new member are due at other times than the others'. */
static void test_writes_do_not_wait_for_a_snapshot(void **state)
{
    enum { WRITES = 25, EVERY_MS = 97, LONGEST_MS = 10 };
    (void)state;
    size_t fed;
    size_t leader = begin_to_feed(&fed);
    for (uint32_t n = 0; n < WRITES; n++) {
        assert_true(taken_in(fed) == 0);
        struct rig_answer *put = rig_put(&rig, leader, "k", "v", 0);
        uint32_t ms = 0;
        for (; ms < EVERY_MS && put->count == 0; ms++)
            rig_run(&rig, RIG_MS);
        assert_int_equal(put->status, 0);
        if (ms > LONGEST_MS)
            fail_msg("write %u took %u ms", n, ms);
        rig_run(&rig, (EVERY_MS - ms) * RIG_MS);
    }
    run_until_fed(fed, 10000);
    rig_close(&rig);
}

/* Four voters, and a fifth store that gets some 4 MiB while puts go on. How long it takes, in ms.
 */
static uint64_t feed_beside_puts(uint64_t sync_us)
{
    struct sim_disk_options before = {.sync_us = RIG_MS}, meanwhile = {.sync_us = sync_us};
    char *value = calloc(1, PIECE_LEN + 1);
    char key[16];
    size_t fed = 4;
    rig_open(&rig, 5);
    rig.options.snapshot_bytes_per_s = 8 << 20;
    rig_start_cluster(&rig);
    if (wait_for_leader() == fed)
        fed = 3;
    must_change(MEMBER_REMOVE, fed + 1, 0);
    rig_run(&rig, 12000 * RIG_MS);
    assert_false(has_replica(fed));
    size_t leader = wait_for_leader();
    memset(value, 'v', PIECE_LEN);
    for (size_t i = 0; i < rig.count; i++)
        sim_disk_set_options(sim_node_disk(rig.nodes[i]), &before);
    for (uint32_t i = 0; i < 5 * PIECES; i++) {
        snprintf(key, sizeof key, "piece%02u", (unsigned)(i % PIECES));
        rig_put(&rig, leader, key, i < PIECES ? value : "v", 0);
        rig_run(&rig, 20 * RIG_MS);
    }
    free(value);
    assert_true(rig.stores[leader]->moving.throttle.rest_us > 0);
    struct rig_answer *answer = change(leader, MEMBER_ADD_LEARNER, 40, fed);
    for (int i = 0; i < 500 && rig.stores[fed]->snapshots_begun == 0; i++)
        rig_run(&rig, RIG_MS);
    for (size_t i = 0; i < rig.count; i++)
        sim_disk_set_options(sim_node_disk(rig.nodes[i]), &meanwhile);
    uint64_t ms = 0;
    for (; ms < 20000 && taken_in(fed) == 0; ms += 10) {
        if (ms % 20 == 0)
            rig_put(&rig, leader, "k", "v", 0);
        rig_run(&rig, 10 * RIG_MS);
    }
    assert_int_equal(answer->status, 0);
    assert_true(taken_in(fed) > 0);
    assert_int_equal(rig_leader(&rig), leader);
    rig_close(&rig);
    return ms;
}

/* Nobody is fed as fast as may be while those who write suffer; but to the end. */
static void test_a_snapshot_heeds_writes(void **state)
{
    (void)state;
    uint64_t alone_ms = feed_beside_puts(RIG_MS);
    uint64_t slow_ms = feed_beside_puts(15 * RIG_MS);
    assert_true(alone_ms < 2000);
    assert_in_range(slow_ms, alone_ms + alone_ms / 2, 8000);
}

/* The receiver has lost what it had: another stream begins. */
static void test_a_snapshot_begins_anew_after_a_crash(void **state)
{
    (void)state;
    size_t fed;
    begin_to_feed(&fed);
    rig_run(&rig, 700 * RIG_MS);
    assert_int_equal(rig.stores[fed]->snapshots_begun, 1);
    rig_crash(&rig, fed, SIM_CRASH_KILL);
    rig_run(&rig, 500 * RIG_MS);
    assert_int_equal(rig_start(&rig, fed, NULL), 0);
    run_until_fed(fed, 20000);
    assert_int_equal(rig.stores[fed]->snapshots_resumed, 0);
    assert_true(rig.stores[fed]->snapshots_begun >= 1);
    rig_close(&rig);
}

/* The connection does not come back: nothing is kept for ever. */
static void test_a_snapshot_is_given_up(void **state)
{
    (void)state;
    size_t fed;
    size_t leader = begin_to_feed(&fed);
    rig_run(&rig, 700 * RIG_MS);
    sim_net_partition(rig.sim, rig.nodes[leader], rig.nodes[fed], false);
    sim_net_reset(rig.sim, rig.nodes[leader], rig.nodes[fed]);
    rig_run(&rig, 30000 * RIG_MS);
    assert_int_equal(rig.stores[leader]->snapshots_cut, 0);
    assert_int_equal(rig.stores[leader]->snapshots_out, 0);
    assert_int_equal(rig.stores[fed]->snapshots_in, 0);
    sim_net_heal(rig.sim, NULL, NULL);
    run_until_fed(fed, 20000);
    rig_close(&rig);
}

/* ---- a receiver that lies ------------------------------------------------------------------- */

enum { LIAR_READS = 2, LIAR_WINDOW = 300 << 10 };

/* Takes the place of what takes in snapshots: it gets LIAR_READS chunks, then nothing more comes
 * through to its store. */
static struct liar {
    size_t from; /* the stores */
    size_t to;
    struct net_stream *stream; /* NULL: none */
    uint64_t number;
    uint32_t streams;
    uint32_t chunks; /* of the last one … */
    uint64_t bytes;
} liar;

static void liar_ack(uint64_t number, uint64_t bytes, int status)
{
    struct snapshot_ack ack = {.stream = number, .bytes = bytes, .status = status};
    struct buf frames;
    buf_init(&frames, FRAME_BODY_MAX);
    size_t start = frame_begin(&frames);
    snapshot_ack_encode(&frames, &ack);
    frame_end(&frames, start, false);
    assert_int_equal(net_stream_send(liar.stream, buf_slice(&frames)), 0);
    buf_fini(&frames);
}

static int liar_on_frame(void *data, uint32_t kind, struct slice body, struct err *err)
{
    struct snapshot_begin begin;
    struct snapshot_chunk chunk;
    (void)data;
    if (kind == MSG_SNAPSHOT_BEGIN) {
        assert_int_equal(snapshot_begin_decode(body, &begin, err), 0);
        liar.number = begin.stream;
        return 0;
    }
    assert_int_equal(kind, MSG_SNAPSHOT_CHUNK);
    assert_int_equal(snapshot_chunk_decode(body, &chunk, err), 0);
    liar.bytes += chunk.data.len;
    if (++liar.chunks == LIAR_READS)
        sim_net_partition(rig.sim, rig.nodes[liar.from], rig.nodes[liar.to], true);
    return 0;
}

static void liar_on_close(void *data, int status, const char *reason)
{
    (void)data;
    (void)status;
    (void)reason;
    liar.stream = NULL;
}

static int liar_on_stream(void *data, struct net_stream *stream, const struct net_identity *from,
                          struct err *err)
{
    static const struct net_stream_handler handler = {.on_frame = liar_on_frame,
                                                      .on_close = liar_on_close};
    (void)data;
    (void)from;
    if (liar.stream != NULL)
        return err_set(err, ERR_BUSY, "one at a time");
    liar.stream = stream;
    liar.chunks = 0;
    liar.bytes = 0;
    liar.streams++;
    net_stream_accept(stream, &handler, NULL);
    return 0;
}

/* That stream has come to where nothing moves any more: its sender has one chunk more than there
 * is room for. */
static void run_until_stuck(uint32_t streams)
{
    if (liar.streams < streams)
        sim_net_heal(rig.sim, NULL, NULL);
    for (int i = 0; i < 600 && (liar.streams < streams || liar.chunks < LIAR_READS); i++)
        rig_run(&rig, 50 * RIG_MS);
    rig_run(&rig, 2000 * RIG_MS);
    assert_int_equal(liar.chunks, LIAR_READS);
    assert_non_null(liar.stream);
    assert_int_equal(liar.streams, streams);
}

/* The sender takes the answer for what it is, and gives up. */
static void must_be_caught(const char *what, uint64_t number, uint64_t bytes, int status)
{
    given_up_bytes = 0;
    given_up_why[0] = 0;
    liar_ack(number, bytes, status);
    rig_run(&rig, 100 * RIG_MS);
    if (given_up_bytes == 0 || strstr(given_up_why, what) == NULL)
        fail_msg("%llu bytes: '%s'", (unsigned long long)bytes, given_up_why);
}

/* A receiver says that it has what its sender has not made, or made and not sent yet; takes back
 * what it said; answers for another stream; refuses with a word of our own functions, or with a
 * code that nobody here knows, which is no more than a connection that ended. None of it is a word
 * to go by. */
static void test_a_receiver_that_lies(void **state)
{
    size_t fed;
    (void)state;
    size_t leader = prepare_to_feed(&fed);
    struct net *net = rig.stores[fed]->net;
    struct net_hooks hooks = net->hooks;
    liar = (struct liar){.from = leader, .to = fed};
    net->hooks.on_stream = liar_on_stream;
    for (size_t i = 0; i < 3; i++)
        rig.stores[i]->net->limits.stream_window = LIAR_WINDOW;
    must_change(MEMBER_ADD_LEARNER, 40, fed);
    run_until_stuck(1);
    must_be_caught("not sent", liar.number, UINT64_MAX, 0);
    uint64_t made = given_up_bytes; /* and by far not all of it */
    assert_in_range(made, LIAR_WINDOW, PIECES * PIECE_LEN / 2);
    run_until_stuck(2);
    assert_true(liar.bytes < made);
    must_be_caught("not sent", liar.number, made, 0);
    assert_int_equal(given_up_bytes, made); /* all was as it had been */
    run_until_stuck(3);
    liar_ack(liar.number, liar.bytes, 0);
    rig_run(&rig, 100 * RIG_MS);
    assert_int_equal(given_up_bytes, made); /* as it was: that was true */
    must_be_caught("not sent", liar.number, liar.bytes - 1, 0);
    run_until_stuck(4);
    must_be_caught("another stream", liar.number + 1, liar.bytes, 0);
    run_until_stuck(5);
    must_be_caught("refused by the receiver", liar.number, liar.bytes, ERR_SHORT);
    run_until_stuck(6);
    liar_ack(liar.number, liar.bytes, ERR_LAST);
    rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(rig.stores[leader]->snapshots_cut, 1);
    net->hooks = hooks;
    sim_net_heal(rig.sim, NULL, NULL);
    run_until_fed(fed, 30000);
    assert_int_equal(rig.stores[leader]->snapshots_out, 0);
    rig_close(&rig);
}

/* ---- four at once --------------------------------------------------------------------------- */

enum { QUARTERS = 4, QUARTER_FIRST = 70 };

/* The first range, and those that are cut off it one after the other. */
static uint64_t quarter(uint32_t n)
{
    return n == 0 ? STORE_FIRST_RANGE_ID : QUARTER_FIRST + n;
}

static size_t leader_of(uint64_t range_id)
{
    for (int tries = 0; tries < 100; tries++) {
        for (size_t i = 0; i < rig.count; i++) {
            struct cons_status s;
            if (store_cons_status(rig.stores[i], range_id, &s) && s.state == CONS_LEADER &&
                s.is_ready)
                return i;
        }
        rig_run(&rig, 50 * RIG_MS);
    }
    fail_msg("nobody leads range %llu", (unsigned long long)range_id);
    return 0;
}

static uint64_t replica_of(uint64_t range_id, size_t on)
{
    const struct range_descriptor *d =
        range_descriptor(store_range_of(rig.stores[leader_of(range_id)], range_id));
    for (uint32_t i = 0; i < d->replica_count; i++) {
        if (d->replicas[i].store_id == on + 1)
            return d->replicas[i].replica_id;
    }
    return 0;
}

static void must_do(uint64_t range_id, struct request *request)
{
    request->range_id = range_id;
    for (int tries = 0; tries < 40; tries++) {
        struct rig_answer *answer = rig_ask(&rig, leader_of(range_id), request);
        for (int i = 0; i < 50 && answer->count == 0; i++)
            rig_run(&rig, 20 * RIG_MS);
        if (answer->status == 0)
            return;
        rig_run(&rig, 200 * RIG_MS);
    }
    fail_msg("refused for ever");
}

/* What comes from that piece on is another range from now on. */
static void cut_at(uint64_t range_id, uint32_t piece, uint64_t right)
{
    char key[16];
    uint8_t raw[RIG_TEXT_MAX];
    struct request request;
    snprintf(key, sizeof key, "piece%02u", piece);
    rig_fill_split(&rig, leader_of(range_id), key, range_id, right, raw, &request);
    for (uint32_t i = 0; i < request.split.child_count; i++)
        request.split.children[i].replica_id = 10 * right + i;
    must_do(range_id, &request);
}

/* [piece00, piece16), … each led by one of the two stores that are not to be fed. */
static void cut_into_quarters(size_t fed)
{
    for (uint32_t n = 1; n < QUARTERS; n++)
        cut_at(quarter(n - 1), n * PIECES / QUARTERS, quarter(n));
    for (uint32_t n = 0; n < QUARTERS; n++) {
        size_t to = (fed + 1 + n % 2) % 3;
        struct request move = {.kind = REQUEST_TRANSFER_LEADER,
                               .transfer_leader.target_replica = replica_of(quarter(n), to)};
        must_do(quarter(n), &move);
    }
}

static void change_quarter(uint32_t n, enum member_change action, uint64_t replica_id, size_t on)
{
    char address[32];
    struct request request = {.kind = REQUEST_CHANGE_MEMBER, .change_member = {.action = action}};
    if (action != MEMBER_ADD_LEARNER) {
        request.change_member.replica_id = replica_id;
    } else {
        struct member *m = &request.change_member.member;
        snprintf(address, sizeof address, "%c:7000", (char)('a' + on));
        *m = (struct member){.replica_id = replica_id,
                             .store_id = on + 1,
                             .role = MEMBER_LEARNER,
                             .address = slice_str(address)};
        memcpy(m->store_uuid, store_identity(rig.stores[on])->uuid, sizeof m->store_uuid);
    }
    must_do(quarter(n), &request);
}

static uint32_t quarters_on(size_t i)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < QUARTERS; n++)
        count += store_range_of(rig.stores[i], quarter(n)) != NULL;
    return count;
}

/* As many as a store takes in are cut at the same time. Each goes on: that they are still there
 * does not keep those away who come to go on with them. */
static void test_four_snapshots_are_cut(void **state)
{
    enum { FED = 2 };
    (void)state;
    char *value = calloc(1, PIECE_LEN + 1);
    char key[16];
    rig_open(&rig, 3);
    rig.options.snapshot_bytes_per_s = 256 << 10;
    rig_start_cluster(&rig);
    for (uint32_t i = 0; i < PIECES; i++) {
        memset(value, 'a' + (int)(i % 26), PIECE_LEN);
        snprintf(key, sizeof key, "piece%02u", (unsigned)i);
        value[i] = '!';
        rig_put(&rig, wait_for_leader(), key, value, 0);
        rig_run(&rig, 20 * RIG_MS);
    }
    free(value);
    cut_into_quarters(FED);
    for (uint32_t n = 0; n < QUARTERS; n++)
        change_quarter(n, MEMBER_REMOVE, replica_of(quarter(n), FED), 0);
    for (int i = 0; i < 400 && quarters_on(FED) > 0; i++)
        rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(quarters_on(FED), 0);
    for (uint32_t n = 0; n < QUARTERS; n++)
        change_quarter(n, MEMBER_ADD_LEARNER, 1000 + n, FED);
    struct store *fed = rig.stores[FED];
    for (int i = 0; i < 100 && fed->snapshots_begun < QUARTERS; i++)
        rig_run(&rig, 10 * RIG_MS);
    assert_int_equal(fed->snapshots_begun, QUARTERS);
    assert_int_equal(fed->snapshots_in, QUARTERS);
    assert_int_equal(quarters_on(FED), 0);
    sim_net_reset(rig.sim, rig.nodes[FED], NULL);
    for (int i = 0; i < 100 && fed->snapshots_resumed < QUARTERS; i++)
        rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(fed->snapshots_resumed, QUARTERS);
    for (int i = 0; i < 600 && quarters_on(FED) < QUARTERS; i++)
        rig_run(&rig, 50 * RIG_MS);
    assert_int_equal(quarters_on(FED), QUARTERS);
    assert_int_equal(fed->snapshots_begun, QUARTERS);
    assert_int_equal(fed->snapshots_in + fed->snapshots_greeted, 0);
    rig_close(&rig);
}

/* While a new member is fed, its range is split, and the right half is there before all of the
 * whole is: that state will never have room. The left half is sent instead, soon. */
static void test_a_snapshot_of_before_a_split(void **state)
{
    (void)state;
    size_t fed;
    size_t leader = begin_to_feed(&fed);
    for (int i = 0; i < 200 && rig.stores[fed]->snapshots_begun == 0; i++)
        rig_run(&rig, 10 * RIG_MS);
    uint64_t index = range_meta(store_range_of(rig.stores[leader], quarter(0)))->applied_index;
    cut_at(quarter(0), PIECES - 4, quarter(1));
    for (int i = 0; i < 100 && store_range_of(rig.stores[fed], quarter(1)) == NULL; i++)
        rig_run(&rig, 50 * RIG_MS);
    assert_non_null(store_range_of(rig.stores[fed], quarter(1)));
    assert_true(taken_in(fed) == 0);
    run_until_fed(fed, 20000);
    assert_true(taken_in(fed) > index);
    assert_int_equal(rig.stores[fed]->snapshots_held, 0);
    store_check(rig.stores[fed]);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removed_and_added_again),
        cmocka_unit_test(test_a_store_that_missed_its_removal),
        cmocka_unit_test(test_a_sleeper_is_removed),
        cmocka_unit_test(test_a_sleeper_that_missed_its_removal),
        cmocka_unit_test(test_a_newer_id_drives_the_old_one_out),
        cmocka_unit_test(test_crashes_while_removing),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_a_snapshot_goes_on_after_a_cut),
        cmocka_unit_test(test_writes_do_not_wait_for_a_snapshot),
        cmocka_unit_test(test_a_snapshot_heeds_writes),
        cmocka_unit_test(test_a_snapshot_begins_anew_after_a_crash),
        cmocka_unit_test(test_a_snapshot_is_given_up),
        cmocka_unit_test(test_a_receiver_that_lies),
        cmocka_unit_test(test_four_snapshots_are_cut),
        cmocka_unit_test(test_a_snapshot_of_before_a_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
