/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "store/raft_wire.h"
#include "support/check.h"
#include "wire/frame.h"

#define TOP ((UINT64_C(1) << 60) - 1)
enum { BIG = 64 << 10 };

static uint8_t big[BIG];

static const struct cons_entry entries[] = {
    {.term = 6, .type = CONS_BARRIER},
    {.term = 6, .type = CONS_COMMAND, .data = {(const uint8_t *)"abc", 3}},
    {.term = 7, .type = CONS_COMMAND, .data = {big, sizeof big}},
};

#define HEAD(t) .type = CONS_MSG_##t, .group_id = 2, .from = 3, .to = 1, .term = 7

static const struct cons_msg samples[] = {
    {HEAD(APPEND), .version = 1, .append = {10, 5, 12, entries, ARRAY_LEN(entries)}},
    {HEAD(APPEND), .version = 1, .append = {TOP, TOP, TOP, NULL, 0}},
    {HEAD(APPEND_RESULT), .version = 1, .append_result = {11, TOP, 0xffff, 0xfffe}},
    {HEAD(APPEND_RESULT), .version = 1, .append_result = {0, 1, 0, 0}},
    {HEAD(VOTE), .version = 1, .vote = {20, 6, true, false}},
    {HEAD(VOTE), .version = 1, .vote = {20, 6, false, true}},
    {HEAD(VOTE_RESULT), .version = 3, .vote_result = {true, false, 1, 2}},
    {HEAD(VOTE_RESULT), .version = 3, .vote_result = {false, true, 0, 0}},
    {HEAD(SNAPSHOT), .version = 1,
     .snapshot = {.index = 30,
                  .term = 6,
                  .config_index = 10,
                  .config = {.n = 2, .members = {{1, 1, CONS_VOTER}, {9, 4, CONS_LEARNER}}}}},
    {HEAD(TIMEOUT_NOW), .version = 1, .timeout_now = {40, 7}},
    {HEAD(PROBE), .probe = {TOP, 600}},
    {HEAD(PROBE_RESULT), .probe = {1, 300}},
    {HEAD(READ_ASK), .read = {TOP, 0}},
    {HEAD(READ_ANSWER), .read = {1, TOP}},
};

struct coded {
    struct raft_wire *wire;
    struct buf frame;
    struct frame_reader reader;
    struct slice body;
};

static void coded_init(struct coded *c, const struct cons_msg *msg)
{
    c->wire = calloc(1, sizeof *c->wire);
    assert_non_null(c->wire);
    struct raft_span span = {slice_str("b"), slice_str("m"), TOP};
    buf_init(&c->frame, FRAME_BODY_MAX);
    raft_wire_encode(c->wire, msg, &span, &c->frame);
    assert_false(c->frame.failed);
    frame_reader_init(&c->reader, FRAME_BODY_MAX);
    frame_reader_feed(&c->reader, buf_slice(&c->frame));
    assert_int_equal(frame_reader_next(&c->reader, &c->body, NULL), 0);
}

static void coded_fini(struct coded *c)
{
    frame_reader_fini(&c->reader);
    buf_fini(&c->frame);
    free(c->wire);
}

static void assert_same_entries(const struct cons_msg_append *a, const struct cons_msg_append *b)
{
    assert_int_equal(a->n, b->n);
    for (uint32_t i = 0; i < a->n; i++) {
        assert_int_equal(a->entries[i].term, b->entries[i].term);
        assert_int_equal(a->entries[i].type, b->entries[i].type);
        assert_int_equal(slice_compare(a->entries[i].data, b->entries[i].data), 0);
    }
}

static void assert_same_append(const struct cons_msg_append *a, const struct cons_msg_append *b)
{
    assert_int_equal(a->prev_index, b->prev_index);
    assert_int_equal(a->prev_term, b->prev_term);
    assert_int_equal(a->commit, b->commit);
    assert_same_entries(a, b);
}

static void assert_same_config(const struct cons_base *a, const struct cons_base *b)
{
    assert_int_equal(a->index, b->index);
    assert_int_equal(a->term, b->term);
    assert_int_equal(a->config_index, b->config_index);
    assert_int_equal(a->config.n, b->config.n);
    for (uint32_t i = 0; i < a->config.n; i++) {
        assert_int_equal(a->config.members[i].replica_id, b->config.members[i].replica_id);
        assert_int_equal(a->config.members[i].store_id, b->config.members[i].store_id);
        assert_int_equal(a->config.members[i].role, b->config.members[i].role);
    }
}

static void assert_same_results(const struct cons_msg *a, const struct cons_msg *b)
{
    if (a->type == CONS_MSG_APPEND_RESULT) {
        assert_int_equal(a->append_result.rejected, b->append_result.rejected);
        assert_int_equal(a->append_result.last_index, b->append_result.last_index);
        assert_int_equal(a->append_result.features, b->append_result.features);
        assert_int_equal(a->append_result.capacity, b->append_result.capacity);
    } else {
        assert_int_equal(a->vote_result.granted, b->vote_result.granted);
        assert_int_equal(a->vote_result.pre_vote, b->vote_result.pre_vote);
        assert_int_equal(a->vote_result.features, b->vote_result.features);
        assert_int_equal(a->vote_result.capacity, b->vote_result.capacity);
    }
}

static void assert_same(const struct cons_msg *a, const struct cons_msg *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->group_id, b->group_id);
    assert_int_equal(a->from, b->from);
    assert_int_equal(a->to, b->to);
    assert_int_equal(a->term, b->term);
    switch (a->type) {
    case CONS_MSG_APPEND:
        assert_same_append(&a->append, &b->append);
        break;
    case CONS_MSG_APPEND_RESULT:
    case CONS_MSG_VOTE_RESULT:
        assert_same_results(a, b);
        break;
    case CONS_MSG_VOTE:
        assert_int_equal(a->vote.last_index, b->vote.last_index);
        assert_int_equal(a->vote.last_term, b->vote.last_term);
        assert_int_equal(a->vote.disrupt_leader, b->vote.disrupt_leader);
        assert_int_equal(a->vote.pre_vote, b->vote.pre_vote);
        break;
    case CONS_MSG_SNAPSHOT:
        assert_same_config(&a->snapshot, &b->snapshot);
        break;
    case CONS_MSG_TIMEOUT_NOW:
        assert_int_equal(a->timeout_now.last_index, b->timeout_now.last_index);
        assert_int_equal(a->timeout_now.last_term, b->timeout_now.last_term);
        break;
    case CONS_MSG_READ_ASK:
    case CONS_MSG_READ_ANSWER:
        assert_int_equal(a->read.number, b->read.number);
        assert_int_equal(a->read.index, b->read.index);
        break;
    default:
        assert_int_equal(a->probe.number, b->probe.number);
        assert_int_equal(a->probe.promise_ms, b->probe.promise_ms);
        break;
    }
}

static void test_round_trip(void **state)
{
    bool seen[CONS_MSG_TYPE_NR] = {false};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct coded c;
        struct cons_msg got;
        struct raft_span span;
        struct err err = {0};
        coded_init(&c, &samples[i]);
        if (raft_wire_decode(c.wire, c.body, &got, &span, &err) != 0)
            fail_msg("sample %zu: %s", i, err.msg);
        assert_true(slice_equal(span.start, slice_str("b")));
        assert_true(slice_equal(span.end, slice_str("m")) && span.conf_epoch == TOP);
        assert_same(&samples[i], &got);
        seen[samples[i].type] = true;
        coded_fini(&c);
    }
    for (int type = 1; type < CONS_MSG_TYPE_NR; type++)
        assert_true(seen[type]);
}

/* Cut anywhere: refused, and the message that was there is left alone. */
static void test_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct coded c;
        coded_init(&c, &samples[i]);
        size_t step = MAX(c.body.len / 512, 1);
        for (size_t keep = 0; keep < c.body.len; keep += step) {
            struct cons_msg got = {.group_id = 99};
            uint8_t *copy = malloc(MAX(keep, 1)); /* so that a read behind it is found */
            memcpy(copy, c.body.data, keep);
            assert_int_not_equal(raft_wire_decode(c.wire, slice_of(copy, keep), &got, NULL, NULL),
                                 0);
            assert_int_equal(got.group_id, 99);
            free(copy);
        }
        coded_fini(&c);
    }
}

/* Any bit may be wrong: refused, or a message of a known type. */
static void test_flipped_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct coded c;
        coded_init(&c, &samples[i]);
        uint8_t *copy = malloc(c.body.len);
        memcpy(copy, c.body.data, c.body.len);
        for (size_t bit = 0; bit < MIN(c.body.len, (size_t)256) * 8; bit++) {
            struct cons_msg got = {0};
            copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            if (raft_wire_decode(c.wire, slice_of(copy, c.body.len), &got, NULL, NULL) == 0) {
                assert_true(got.type > 0);
                assert_true(got.type < CONS_MSG_TYPE_NR);
            }
            copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
        free(copy);
        coded_fini(&c);
    }
}

/* A vote may only be asked for by its candidate. */
static void test_vote_for_another(void **state)
{
    struct coded c;
    struct cons_msg got;
    struct peer_msg wire = {
        .kind = MSG_REQUEST_VOTE,
        .group = 2,
        .from_replica = 3,
        .to_replica = 1,
        .request_vote = {.version = 1, .term = 7, .candidate_id = 4},
    };
    struct buf body;
    (void)state;
    coded_init(&c, &samples[0]);
    buf_init(&body, 4096);
    peer_msg_encode(&body, &wire);
    assert_int_equal(raft_wire_decode(c.wire, buf_slice(&body), &got, NULL, NULL), ERR_CORRUPT);
    buf_fini(&body);
    coded_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_vote_for_another),
    };
    return cmocka_run_group_tests_name("raft_wire", tests, NULL, NULL);
}
