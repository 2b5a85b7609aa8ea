/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/rng.h"
#include "range_world.h"

/* ---- the table alone, against a naive model -------------------------------------- */

enum { M_SESSIONS = 6, M_SEQUENCES = 200, ENTRIES = 4000 };

struct model_session {
    bool is_there;
    uint64_t lowest;
    uint64_t used_ms;
    uint32_t len[M_SEQUENCES]; /* 0: no result */
};

struct model {
    struct model_session s[M_SESSIONS + 1];
    uint64_t floor_ms;
};

static struct slice result_of(uint64_t session, uint64_t sequence, uint32_t len, uint8_t *out)
{
    memset(out, (int)(session * 31 + sequence), len);
    return slice_of(out, len);
}

static enum session_verdict model_find(const struct model_session *s, uint64_t sequence)
{
    if (!s->is_there)
        return SESSION_NEW;
    if (sequence < s->lowest)
        return SESSION_STALE;
    return s->len[sequence] != 0 ? SESSION_REPEAT : SESSION_NEW;
}

static void model_add(struct model_session *s, uint64_t sequence, uint64_t lowest, uint32_t len,
                      uint64_t time_ms)
{
    s->is_there = true;
    s->used_ms = time_ms;
    s->len[sequence] = len;
    s->lowest = MAX(s->lowest, lowest);
    for (uint64_t i = 0; i < s->lowest; i++)
        s->len[i] = 0;
}

static void model_forget(struct model *m)
{
    for (uint64_t i = 1; i <= M_SESSIONS; i++)
        if (m->s[i].is_there && m->s[i].used_ms <= m->floor_ms)
            m->s[i] = (struct model_session){0};
}

static void compare(const struct sessions *table, const struct model *m)
{
    uint8_t raw[SESSION_RESULT_MAX];
    sessions_check(table);
    for (uint64_t s = 1; s <= M_SESSIONS; s++) {
        for (uint64_t q = 1; q < M_SEQUENCES; q++) {
            struct slice got;
            enum session_verdict want = model_find(&m->s[s], q);
            assert_int_equal(sessions_find(table, s, q, &got), want);
            if (want == SESSION_REPEAT)
                assert_true(slice_equal(got, result_of(s, q, m->s[s].len[q], raw)));
        }
    }
}

/* One entry of a few commands; the model does each at once. */
static void random_entry(struct rng *rng, struct sessions *table, struct model *m,
                         struct session_stage *stage, struct arena *arena, uint64_t time_ms)
{
    uint8_t raw[SESSION_RESULT_MAX];
    session_stage_begin(stage, arena);
    for (uint64_t n = rng_below(rng, 6); n > 0; n--) {
        uint64_t s = 1 + rng_below(rng, M_SESSIONS);
        uint64_t q = 1 + rng_below(rng, M_SEQUENCES - 1);
        struct slice got;
        enum session_verdict want = model_find(&m->s[s], q);
        assert_int_equal(session_stage_find(stage, table, s, q, &got), want);
        if (want == SESSION_REPEAT)
            assert_true(slice_equal(got, result_of(s, q, m->s[s].len[q], raw)));
        if (want != SESSION_NEW)
            continue;
        uint32_t len = 1 + (uint32_t)rng_below(rng, rng_below(rng, 2) ? 20 : SESSION_RESULT_MAX);
        uint64_t lowest = rng_below(rng, 4) ? 0 : q - rng_below(rng, MIN(q, 20));
        assert_int_equal(session_stage_add(stage, s, q, lowest, result_of(s, q, len, raw)), 0);
        model_add(&m->s[s], q, lowest, len, time_ms);
    }
    assert_int_equal(session_stage_reserve(stage, table), 0);
    session_stage_commit(stage, table, time_ms);
    session_stage_end(stage);
    arena_reset(arena);
}

/* Encoded and read again it is the same, byte for byte, order of rows included. */
static void reload(struct sessions *table)
{
    struct buf raw, again;
    struct sessions back, copy;
    buf_init(&raw, SESSIONS_BYTES_MAX);
    buf_init(&again, SESSIONS_BYTES_MAX);
    sessions_init(&back);
    sessions_init(&copy);
    sessions_encode(table, &raw);
    assert_int_equal(raw.len, sessions_len(table));
    assert_int_equal(sessions_decode(buf_slice(&raw), &back, NULL), 0);
    sessions_set_hash_key(&back, (const uint64_t[2]){12, 34});
    assert_int_equal(sessions_copy(&copy, &back), 0);
    assert_memory_equal(copy.hash_key, back.hash_key, sizeof copy.hash_key);
    sessions_encode(&copy, &again);
    assert_true(slice_equal(buf_slice(&raw), buf_slice(&again)));
    sessions_fini(table);
    sessions_fini(&copy);
    *table = back;
    buf_fini(&raw);
    buf_fini(&again);
}

static void test_model(void **state)
{
    (void)state;
    struct rng rng;
    struct sessions table;
    struct session_stage stage;
    struct arena arena;
    struct model m = {0};
    uint64_t time_ms = 1;
    rng_init(&rng, 42);
    sessions_init(&table);
    arena_init(&arena, 4096, 1 << 20);
    for (int i = 0; i < ENTRIES; i++) {
        time_ms += rng_below(&rng, 3);
        random_entry(&rng, &table, &m, &stage, &arena, time_ms);
        if (rng_below(&rng, 20) == 0) {
            m.floor_ms = time_ms - MIN(time_ms, rng_below(&rng, 30));
            uint64_t floor_ms = m.floor_ms;
            sessions_forget(&table, &floor_ms);
            assert_int_equal(floor_ms, m.floor_ms);
            model_forget(&m);
        }
        if (rng_below(&rng, 50) == 0)
            reload(&table);
        if (rng_below(&rng, 20) == 0)
            compare(&table, &m);
    }
    compare(&table, &m);
    sessions_fini(&table);
    arena_fini(&arena);
}

/* ---- bounds ------------------------------------------------------------------------ */

static void add_one(struct sessions *table, uint64_t session, uint64_t sequence, uint64_t lowest,
                    uint32_t len, uint64_t time_ms)
{
    uint8_t raw[SESSION_RESULT_MAX];
    struct session_stage stage;
    struct arena arena;
    arena_init(&arena, 4096, 1 << 20);
    session_stage_begin(&stage, &arena);
    struct slice result = result_of(session, sequence, len, raw);
    assert_int_equal(session_stage_add(&stage, session, sequence, lowest, result), 0);
    assert_int_equal(session_stage_reserve(&stage, table), 0);
    session_stage_commit(&stage, table, time_ms);
    arena_fini(&arena);
}

static void test_bounds(void **state)
{
    (void)state;
    struct sessions table;
    struct slice got;
    uint64_t floor_ms = 0;
    sessions_init(&table);
    for (uint64_t i = 1; i <= SESSIONS_MAX; i++)
        add_one(&table, i, 1, 1, 8, 100 + i / 10);
    sessions_forget(&table, &floor_ms);
    assert_int_equal(floor_ms, 0);
    assert_int_equal(sessions_count(&table), SESSIONS_MAX);
    /* One more: the oldest goes, with all of the same last use, and the floor says so. */
    add_one(&table, SESSIONS_MAX + 1, 1, 1, 8, 5000);
    sessions_forget(&table, &floor_ms);
    assert_int_equal(floor_ms, 100);
    assert_int_equal(sessions_find(&table, 9, 1, &got), SESSION_NEW);
    assert_int_equal(sessions_find(&table, 10, 1, &got), SESSION_REPEAT);
    /* Bytes: 3 MiB of large results. */
    for (uint64_t i = 1; i <= SESSION_RESULTS_MAX; i++)
        for (uint64_t s = 1; s <= 4; s++)
            add_one(&table, 1000000 + s, i, 0, SESSION_RESULT_MAX, 6000 + 4 * i + s);
    sessions_forget(&table, &floor_ms);
    sessions_check(&table);
    assert_true(sessions_len(&table) <= SESSIONS_BYTES_MAX);
    assert_true(floor_ms > 5000);
    assert_int_equal(sessions_find(&table, 1000004, SESSION_RESULTS_MAX + 1, &got), SESSION_FULL);
    assert_int_equal(sessions_find(&table, 1000004, 7, &got), SESSION_REPEAT);
    sessions_fini(&table);
}

/* ---- memory ------------------------------------------------------------------------ */

/* Commands [first, last] in one entry, all of which say this lowest. */
static void add_run(struct sessions *table, struct arena *arena, uint64_t session, uint64_t first,
                    uint64_t last, uint64_t lowest)
{
    enum { LEN = 20 };
    uint8_t raw[LEN];
    struct session_stage stage;
    session_stage_begin(&stage, arena);
    for (uint64_t q = first; q <= last; q++) {
        struct slice result = result_of(session, q, LEN, raw);
        assert_int_equal(session_stage_add(&stage, session, q, lowest, result), 0);
    }
    assert_int_equal(session_stage_reserve(&stage, table), 0);
    session_stage_commit(&stage, table, session);
    arena_reset(arena);
}

/* What many sessions took once goes when they move their lowest on, and the rest with them. */
static void test_memory(void **state)
{
    (void)state;
    static const uint32_t counts[] = {5, 9, 17, 33, 64, 100}; /* results open at a time */
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct sessions table;
        struct arena arena;
        sessions_init(&table);
        arena_init(&arena, 16 << 10, 1 << 20);
        assert_int_equal(sessions_memory(&table), 0);
        for (uint64_t s = 1; s <= SESSIONS_MAX; s++) {
            add_run(&table, &arena, s, 1, counts[i], 1);
            add_run(&table, &arena, s, counts[i] + 1, counts[i] + 1, counts[i] + 1);
        }
        sessions_check(&table);
        assert_int_equal(sessions_count(&table), SESSIONS_MAX);
        assert_true(sessions_memory(&table) < 10 * sessions_len(&table));
        uint64_t floor_ms = SESSIONS_MAX - 10;
        sessions_forget(&table, &floor_ms);
        sessions_check(&table);
        assert_int_equal(sessions_count(&table), 10);
        assert_true(sessions_memory(&table) < 11 * sessions_len(&table));
        floor_ms = SESSIONS_MAX;
        sessions_forget(&table, &floor_ms);
        assert_int_equal(sessions_memory(&table), 0);
        sessions_fini(&table);
        arena_fini(&arena);
    }
}

/* A merge makes rows of which the other side's lowest leaves little. */
static void test_memory_of_united(void **state)
{
    (void)state;
    struct sessions left, right;
    struct arena arena;
    uint64_t floor_ms = 0;
    sessions_init(&left);
    sessions_init(&right);
    arena_init(&arena, 16 << 10, 1 << 20);
    add_run(&left, &arena, 7, 1001, 1001, 1001);
    add_run(&right, &arena, 7, 1, 1000, 1); /* the later of the two, which is copied first */
    assert_true(sessions_memory(&right) > 50000);
    assert_int_equal(sessions_unite(&left, &right, &floor_ms), 0);
    sessions_check(&left);
    assert_true(sessions_memory(&left) < 11 * sessions_len(&left));
    sessions_fini(&left);
    sessions_fini(&right);
    arena_fini(&arena);
}

/* How often the row of a session changes its room while it sends so many commands, each in an
 * entry of its own, and moves its lowest on by `step` whenever it has `open` results there. */
static unsigned resizes(uint64_t commands, uint64_t open, uint64_t step)
{
    struct sessions table;
    struct arena arena;
    unsigned count = 0;
    uint64_t lowest = 1;
    sessions_init(&table);
    arena_init(&arena, 16 << 10, 1 << 20);
    for (uint64_t q = 1; q <= commands; q++) {
        size_t before = sessions_memory(&table);
        lowest += q - lowest >= open ? step : 0;
        add_run(&table, &arena, 1, q, q, lowest);
        count += sessions_memory(&table) != before;
    }
    sessions_fini(&table);
    arena_fini(&arena);
    return count;
}

/* … which is seldom, whether its results are answered one by one or all at once. */
static void test_busy_session(void **state)
{
    (void)state;
    enum { COMMANDS = 2000 };
    for (uint64_t open = 1; open <= 130; open++) {
        assert_true(resizes(COMMANDS, open, 1) < 10);
        assert_true(resizes(COMMANDS, open, open) <= COMMANDS / 4 + 1);
    }
}

static void test_unite(void **state)
{
    (void)state;
    struct sessions left, right;
    struct slice got;
    uint64_t floor_ms = 3;
    sessions_init(&left);
    sessions_init(&right);
    add_one(&left, 1, 5, 2, 8, 10);
    add_one(&left, 2, 1, 1, 8, 11);
    add_one(&left, 3, 8, 1, 8, 12);
    add_one(&right, 1, 3, 1, 8, 9); /* above the left's lowest */
    add_one(&right, 1, 1, 1, 8, 13);
    add_one(&right, 4, 1, 1, 8, 2); /* below the floor that both have from now on */
    add_one(&right, 3, 9, 9, 8, 12);
    /* A table is in the order of last use: what was put in above is not yet. */
    sessions_fini(&right);
    add_one(&right, 4, 1, 1, 8, 2);
    add_one(&right, 1, 3, 1, 8, 9);
    add_one(&right, 3, 9, 9, 8, 12);
    add_one(&right, 1, 1, 1, 40, 13);
    assert_int_equal(sessions_unite(&left, &right, &floor_ms), 0);
    sessions_check(&left);
    sessions_check(&right);
    assert_int_equal(floor_ms, 3);
    assert_int_equal(sessions_count(&left), 3);
    assert_int_equal(sessions_find(&left, 1, 1, &got), SESSION_STALE);
    assert_int_equal(sessions_find(&left, 1, 3, &got), SESSION_REPEAT);
    assert_int_equal(sessions_find(&left, 1, 5, &got), SESSION_REPEAT);
    assert_int_equal(sessions_find(&left, 2, 1, &got), SESSION_REPEAT);
    assert_int_equal(sessions_find(&left, 3, 8, &got), SESSION_STALE);
    assert_int_equal(sessions_find(&left, 3, 9, &got), SESSION_REPEAT);
    assert_int_equal(sessions_find(&left, 4, 1, &got), SESSION_NEW);
    reload(&left);
    sessions_fini(&left);
    sessions_fini(&right);
}

static void test_damage(void **state)
{
    (void)state;
    struct sessions table, back;
    struct buf raw;
    sessions_init(&table);
    sessions_init(&back);
    buf_init(&raw, SESSIONS_BYTES_MAX);
    add_one(&table, 1, 1, 1, 8, 10);
    add_one(&table, 1, 2, 1, 60, 11);
    add_one(&table, 2, 1, 1, 8, 12);
    sessions_encode(&table, &raw);
    for (size_t n = 0; n < raw.len; n++)
        assert_int_equal(sessions_decode(slice_of(raw.data, n), &back, NULL), ERR_CORRUPT);
    for (size_t i = 0; i < raw.len; i++) {
        raw.data[i] ^= 0x80;
        if (sessions_decode(buf_slice(&raw), &back, NULL) == 0)
            sessions_check(&back);
        sessions_fini(&back);
        raw.data[i] ^= 0x80;
    }
    sessions_fini(&table);
    buf_fini(&raw);
}

/* ---- in a range ---------------------------------------------------------------------- */

struct sent {
    uint64_t session, sequence, lowest, first_sent_ms;
};

static void add_command(struct buf *commands, const struct sent *sent, const struct op *op)
{
    struct command c = {.session = sent->session,
                        .sequence = sent->sequence,
                        .lowest_unanswered = sent->lowest,
                        .first_sent_ms = sent->first_sent_ms,
                        .keyspace = WORLD_KEYSPACE,
                        .op_count = 1,
                        .ops = op};
    struct buf one;
    buf_init(&one, ENTRY_COMMAND_MAX);
    command_encode(&one, &c);
    buf_append_varint(commands, one.len);
    buf_append_slice(commands, buf_slice(&one));
    buf_fini(&one);
}

static void apply(struct world *w, uint64_t stamp_ms, const struct buf *commands,
                  struct world_results *results)
{
    struct slice payload = world_entry(stamp_ms, commands);
    world_apply(w, payload, results);
    free((void *)payload.data);
}

static struct world_result send_one(struct world *w, uint64_t stamp_ms, struct sent sent,
                                    const struct op *op)
{
    struct world_results results;
    struct buf commands;
    buf_init(&commands, ENTRY_PAYLOAD_MAX);
    add_command(&commands, &sent, op);
    apply(w, stamp_ms, &commands, &results);
    buf_fini(&commands);
    assert_int_equal(results.count, 1);
    return results.all[0];
}

static const struct op add1 = {.kind = OP_INCREMENT, .key = {(const uint8_t *)"n", 1}, .delta = 1};
static const struct op fence = {.kind = OP_FENCE, .key = {(const uint8_t *)"n", 1}};

static void expect_n(struct world *w, const char *want)
{
    char got[WORLD_VALUE_MAX];
    assert_int_equal(world_get(w, "n", got), 0);
    assert_string_equal(got, want);
}

static void test_repeats(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_options){.seed = 1, .replica_id = 3});
    struct sent first = {.session = 77, .sequence = 1, .lowest = 1, .first_sent_ms = 1000};
    struct world_result a = send_one(&w, 1000, first, &add1);
    struct world_result b = send_one(&w, 1010, first, &add1);
    assert_int_equal(a.status, 0);
    assert_true(a.version == b.version && b.status == 0);
    assert_true(a.ops[0].number == 1 && b.ops[0].number == 1);
    expect_n(&w, "1");
    /* Twice in one entry. */
    struct world_results results;
    struct buf commands;
    buf_init(&commands, ENTRY_PAYLOAD_MAX);
    struct sent second = {.session = 77, .sequence = 2, .lowest = 1, .first_sent_ms = 1010};
    add_command(&commands, &second, &add1);
    add_command(&commands, &second, &add1);
    apply(&w, 1020, &commands, &results);
    assert_int_equal(results.count, 2);
    assert_true(results.all[0].version == results.all[1].version);
    assert_true(results.all[1].ops[0].number == 2);
    expect_n(&w, "2");
    /* What is below the lowest is not done again, whether it was here or not. */
    struct sent third = {.session = 77, .sequence = 9, .lowest = 9, .first_sent_ms = 1020};
    assert_int_equal(send_one(&w, 1030, third, &add1).status, 0);
    assert_int_equal(send_one(&w, 1030, first, &add1).status, ERR_SESSION_EXPIRED);
    struct sent skipped = {.session = 77, .sequence = 5, .lowest = 1, .first_sent_ms = 1020};
    assert_int_equal(send_one(&w, 1030, skipped, &add1).status, ERR_SESSION_EXPIRED);
    expect_n(&w, "3");
    buf_fini(&commands);
    world_close(&w);
}

/* A refused condition is a result like any other: the repeat must not succeed. */
static void test_refusals_stay(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_options){.seed = 2, .replica_id = 3});
    struct op put = {.kind = OP_PUT, .cond = COND_PRESENT, .key = slice_str("k")};
    struct sent sent = {.session = 5, .sequence = 1, .lowest = 1, .first_sent_ms = 1000};
    assert_int_equal(send_one(&w, 1000, sent, &put).status, ERR_CONDITION_FAILED);
    world_put(&w, 1001, "k", "there now", 0);
    assert_int_equal(send_one(&w, 1002, sent, &put).status, ERR_CONDITION_FAILED);
    char got[WORLD_VALUE_MAX];
    assert_int_equal(world_get(&w, "k", got), 0);
    assert_string_equal(got, "there now");
    world_close(&w);
}

static void test_long_results(void **state)
{
    (void)state;
    struct world w;
    char value[600];
    memset(value, 'v', sizeof value);
    world_open(&w, &(struct world_options){.seed = 3, .replica_id = 3});
    struct op put = {.kind = OP_GET_AND_SET,
                     .key = slice_str("k"),
                     .value = slice_of((uint8_t *)value, sizeof value)};
    struct sent sent = {.session = 5, .sequence = 1, .lowest = 1, .first_sent_ms = 1000};
    assert_int_equal(send_one(&w, 1000, sent, &put).status, 0);
    sent.sequence = 2;
    struct world_result a = send_one(&w, 1000, sent, &put);
    struct world_result b = send_one(&w, 1001, sent, &put);
    assert_true(a.count == 1 && a.ops[0].has_value);
    assert_true(b.status == 0 && b.version == a.version && b.count == 0);
    world_close(&w);
}

/* The value of a stored result, in the answer to a repeat, while the same entry adds results
 * to that session, and while it makes the session forget. */
static void test_repeated_values(void **state)
{
    (void)state;
    enum { VALUE = 60 };
    struct world w;
    char value[VALUE];
    memset(value, 'v', sizeof value);
    world_open(&w, &(struct world_options){.seed = 7, .replica_id = 3});
    struct op put = {.kind = OP_GET_AND_SET,
                     .key = slice_str("k"),
                     .value = slice_of((uint8_t *)value, sizeof value)};
    struct sent sent = {.session = 5, .lowest = 1, .first_sent_ms = 1000};
    for (sent.sequence = 1; sent.sequence <= 4; sent.sequence++)
        assert_int_equal(send_one(&w, 1000, sent, &put).status, 0);
    for (int round = 0; round < 2; round++) {
        struct world_results results;
        struct buf commands;
        struct sent again = {.session = 5, .sequence = 2, .lowest = 1, .first_sent_ms = 1000};
        struct sent next = {.session = 5, .sequence = 5, .lowest = 1, .first_sent_ms = 1000};
        next.sequence += (uint64_t)round;
        next.lowest = round == 0 ? 1 : next.sequence;
        buf_init(&commands, ENTRY_PAYLOAD_MAX);
        add_command(&commands, &again, &put);
        add_command(&commands, &next, &put);
        apply(&w, 1001, &commands, &results);
        buf_fini(&commands);
        assert_int_equal(results.count, 2);
        assert_int_equal(results.all[0].status, 0);
        assert_int_equal(results.all[0].ops[0].value_len, VALUE);
        assert_memory_equal(results.all[0].ops[0].value, value, VALUE);
    }
    world_close(&w);
}

/* A session that fills its row is refused until it moves its lowest, and no longer. */
static void test_full(void **state)
{
    (void)state;
    struct world w;
    struct world_results results;
    struct buf commands;
    world_open(&w, &(struct world_options){.seed = 8, .replica_id = 3});
    struct op put = {.kind = OP_PUT, .key = slice_str("k")};
    struct sent sent = {.session = 5, .sequence = 1, .lowest = 1, .first_sent_ms = 1000};
    while (sent.sequence <= SESSION_RESULTS_MAX) {
        buf_init(&commands, ENTRY_PAYLOAD_MAX);
        for (int i = 0; i < WORLD_RESULTS_MAX; i++, sent.sequence++)
            add_command(&commands, &sent, &put);
        apply(&w, 1000, &commands, &results);
        buf_fini(&commands);
        assert_int_equal(results.all[WORLD_RESULTS_MAX - 1].status, 0);
    }
    assert_int_equal(send_one(&w, 1001, sent, &put).status, ERR_BUSY);
    assert_int_equal(send_one(&w, 1001, sent, &put).status, ERR_BUSY);
    sent.lowest = 100;
    assert_int_equal(send_one(&w, 1002, sent, &put).status, ERR_BUSY);
    assert_int_equal(send_one(&w, 1003, sent, &put).status, 0);
    /* What it took goes when it is answered. */
    assert_true(sessions_memory(&range_meta(w.range)->sessions) > 100000);
    sent.lowest = ++sent.sequence;
    assert_int_equal(send_one(&w, 1004, sent, &put).status, 0);
    assert_true(sessions_memory(&range_meta(w.range)->sessions) < 5000);
    sessions_check(&range_meta(w.range)->sessions);
    world_close(&w);
}

static void test_fence(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_options){.seed = 4, .replica_id = 3});
    struct sent done = {.session = 5, .sequence = 1, .lowest = 1, .first_sent_ms = 1000};
    struct sent lost = {.session = 5, .sequence = 2, .lowest = 1, .first_sent_ms = 1000};
    struct world_result a = send_one(&w, 1000, done, &add1);
    struct world_result b = send_one(&w, 1001, done, &fence);
    assert_true(b.status == 0 && b.version == a.version && b.ops[0].number == 1);
    assert_int_equal(send_one(&w, 1002, lost, &fence).status, ERR_FENCED);
    assert_int_equal(send_one(&w, 1003, lost, &add1).status, ERR_FENCED);
    assert_int_equal(send_one(&w, 1004, lost, &fence).status, ERR_FENCED);
    expect_n(&w, "1");
    world_close(&w);
}

static void test_floor(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_options){.seed = 5, .replica_id = 3});
    struct sent old = {.session = 5, .sequence = 1, .lowest = 1, .first_sent_ms = 1000};
    assert_int_equal(send_one(&w, 1000, old, &add1).status, 0);
    uint64_t later = 1000 + SESSION_KEEP_MS;
    /* At the edge it is known still; a moment later it is forgotten, and too old. */
    assert_int_equal(send_one(&w, later - 1, old, &add1).status, 0);
    world_put(&w, later, "x", "", 0);
    assert_int_equal(range_meta(w.range)->floor_ms, 1000);
    assert_int_equal(sessions_count(&range_meta(w.range)->sessions), 0);
    assert_int_equal(send_one(&w, later, old, &add1).status, ERR_SESSION_EXPIRED);
    struct sent late = {.session = 6, .sequence = 1, .lowest = 1, .first_sent_ms = 1001};
    assert_int_equal(send_one(&w, later, late, &add1).status, 0);
    expect_n(&w, "2");
    world_close(&w);
}

/* Power is lost before and after a flush: the table comes back with the data. */
static void test_crash(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_options){.seed = 6, .replica_id = 3});
    struct sent sent = {.session = 5, .sequence = 1, .lowest = 1, .first_sent_ms = 1000};
    assert_int_equal(send_one(&w, 1000, sent, &add1).status, 0);
    world_flush(&w);
    sent.sequence = 2;
    assert_int_equal(send_one(&w, 1001, sent, &add1).status, 0);
    world_crash(&w, SIM_CRASH_POWER);
    /* The log would bring the second one again; the first is not done again. */
    assert_int_equal(send_one(&w, 1001, sent, &add1).status, 0);
    sent.sequence = 1;
    assert_int_equal(send_one(&w, 1002, sent, &add1).status, 0);
    expect_n(&w, "2");
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),           cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_unite),           cmocka_unit_test(test_damage),
        cmocka_unit_test(test_repeats),         cmocka_unit_test(test_refusals_stay),
        cmocka_unit_test(test_long_results),    cmocka_unit_test(test_fence),
        cmocka_unit_test(test_floor),           cmocka_unit_test(test_crash),
        cmocka_unit_test(test_repeated_values), cmocka_unit_test(test_full),
        cmocka_unit_test(test_memory),          cmocka_unit_test(test_memory_of_united),
        cmocka_unit_test(test_busy_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
