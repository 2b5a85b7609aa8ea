/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdlib.h>

#include "wire/frame.h"
#include "wire/pack.h"
#include "wire/peer_msg.h"

#define TOP PEER_NUMBER_MAX

/* Every number at its greatest, every truth true. */
static const struct peer_msg tops[] = {
    {MSG_APPEND_ENTRIES, TOP, TOP, TOP,
     .append_entries = {.version = 255,
                        .term = TOP,
                        .prev_log_index = TOP,
                        .prev_log_term = TOP,
                        .leader_commit = TOP}},
    {MSG_APPEND_ENTRIES_RESULT, TOP, TOP, TOP,
     .append_entries_result = {255, TOP, TOP, TOP, UINT16_MAX, UINT16_MAX}},
    {MSG_REQUEST_VOTE, TOP, TOP, TOP, .request_vote = {255, TOP, TOP, TOP, TOP, true, true}},
    {MSG_REQUEST_VOTE_RESULT, TOP, TOP, TOP,
     .request_vote_result = {255, TOP, true, true, UINT16_MAX, UINT16_MAX}},
    {MSG_INSTALL_SNAPSHOT, TOP, TOP, TOP, .install_snapshot = {255, TOP, TOP, TOP, TOP, {0}}},
    {MSG_TIMEOUT_NOW, TOP, TOP, TOP, .timeout_now = {255, TOP, TOP, TOP}},
    {MSG_PROBE, TOP, TOP, TOP, .probe = {TOP, UINT64_MAX, UINT32_MAX}},
    {MSG_PROBE_RESULT, TOP, TOP, TOP, .probe_result = {TOP, UINT64_MAX, UINT32_MAX}},
    {MSG_READ_ASK, TOP, TOP, TOP, .read_ask = {TOP, UINT64_MAX}},
    {MSG_READ_ANSWER, TOP, TOP, TOP, .read_answer = {TOP, UINT64_MAX, TOP}},
};

static void test_greatest_and_least(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tops); i++) {
        struct peer_msg least = {
            .kind = tops[i].kind, .group = 1, .from_replica = 1, .to_replica = 1};
        const struct peer_msg *cases[] = {&tops[i], &least};
        for (size_t k = 0; k < 2; k++) {
            struct buf first, second;
            struct peer_msg out;
            buf_init(&first, 1000);
            buf_init(&second, 1000);
            peer_msg_encode(&first, cases[k]);
            assert_true(first.len <= peer_msg_size(cases[k]));
            assert_int_equal(peer_msg_decode(buf_slice(&first), NULL, 0, &out, NULL), 0);
            assert_true(out.kind == cases[k]->kind && out.group == cases[k]->group);
            assert_true(out.from_replica == cases[k]->from_replica);
            assert_true(out.to_replica == cases[k]->to_replica);
            peer_msg_encode(&second, &out);
            assert_true(slice_equal(buf_slice(&first), buf_slice(&second)));
            buf_fini(&first);
            buf_fini(&second);
        }
    }
}

static void test_fields_keep_their_places(void **state)
{
    (void)state;
    struct peer_msg in = {MSG_REQUEST_VOTE, 1, 2, 3, .request_vote = {4, 5, 6, 7, 8, false, true}};
    struct peer_msg out;
    struct buf buf;
    buf_init(&buf, 1000);
    peer_msg_encode(&buf, &in);
    assert_int_equal(peer_msg_decode(buf_slice(&buf), NULL, 0, &out, NULL), 0);
    assert_true(out.group == 1 && out.from_replica == 2 && out.to_replica == 3);
    const struct request_vote *v = &out.request_vote;
    assert_true(v->version == 4 && v->term == 5 && v->candidate_id == 6);
    assert_true(v->last_log_index == 7 && v->last_log_term == 8);
    assert_true(!v->disrupt_leader && v->pre_vote);
    buf_fini(&buf);
}

static void test_entries(void **state)
{
    (void)state;
    enum { COUNT = PEER_ENTRIES_MAX };
    struct peer_entry *in = calloc(COUNT, sizeof *in);
    struct peer_entry *out = calloc(COUNT, sizeof *out);
    uint8_t *data = malloc(COUNT);
    for (int i = 0; i < COUNT; i++) {
        data[i] = (uint8_t)i;
        in[i] = (struct peer_entry){.term = (uint64_t)i * 1000,
                                    .type = PEER_ENTRY_COMMAND + i % 3,
                                    .data = slice_of(data, (size_t)i % 300)};
    }
    struct peer_msg msg = {MSG_APPEND_ENTRIES, 1, 2, 3,
                           .append_entries = {.term = 5, .entry_count = COUNT, .entries = in}};
    struct peer_msg got;
    struct buf buf;
    buf_init(&buf, FRAME_BODY_MAX);
    peer_msg_encode(&buf, &msg);
    assert_true(buf.len <= peer_msg_size(&msg));
    assert_int_equal(peer_msg_decode(buf_slice(&buf), out, COUNT, &got, NULL), 0);
    assert_int_equal(got.append_entries.entry_count, COUNT);
    assert_ptr_equal(got.append_entries.entries, out);
    for (int i = 0; i < COUNT; i++) {
        assert_true(out[i].term == in[i].term && out[i].type == in[i].type);
        assert_true(slice_equal(out[i].data, in[i].data));
    }
    struct err err = {0};
    assert_int_equal(peer_msg_decode(buf_slice(&buf), out, COUNT - 1, &got, &err), ERR_TOO_LARGE);
    assert_false(peer_msg_is_urgent(&msg));
    msg.append_entries.entry_count = 0;
    assert_true(peer_msg_is_urgent(&msg));
    assert_true(peer_msg_is_urgent(&tops[2]));
    buf_fini(&buf);
    free(in);
    free(out);
    free(data);
}

/* A heartbeat {0: 16, 1: 1, 2: 2, 3: 3} and what is wrong with it. */
static const struct {
    const char *name;
    uint8_t raw[24];
    size_t len;
    int want;
} rows[] = {
    {"good", {0x84, 0, 16, 1, 1, 2, 2, 3, 3}, 9, 0},
    {"one entry", {0x85, 0, 16, 1, 1, 2, 2, 3, 3, 9, 0x93, 5, 1, 0xc4, 0}, 15, 0},
    {"no entries", {0x85, 0, 16, 1, 1, 2, 2, 3, 3, 9, 0x90}, 11, 0},
    {"half an entry", {0x85, 0, 16, 1, 1, 2, 2, 3, 3, 9, 0x92, 5, 1}, 13, ERR_CORRUPT},
    {"entry of no type", {0x85, 0, 16, 1, 1, 2, 2, 3, 3, 9, 0x93, 5, 0, 0xc4, 0}, 15, ERR_CORRUPT},
    {"entry of type 4", {0x85, 0, 16, 1, 1, 2, 2, 3, 3, 9, 0x93, 5, 4, 0xc4, 0}, 15, ERR_CORRUPT},
    {"entry data is text", {0x85, 0, 16, 1, 1, 2, 2, 3, 3, 9, 0x93, 5, 1, 0xa0}, 14, ERR_CORRUPT},
    {"entries claim many",
     {0x85, 0, 16, 1, 1, 2, 2, 3, 3, 9, 0xdd, 0xff, 0xff, 0xff, 0xff},
     15,
     ERR_CORRUPT},
    {"no group", {0x83, 0, 16, 2, 2, 3, 3}, 7, ERR_CORRUPT},
    {"no sender", {0x83, 0, 16, 1, 1, 3, 3}, 7, ERR_CORRUPT},
    {"no receiver", {0x83, 0, 16, 1, 1, 2, 2}, 7, ERR_CORRUPT},
    {"id above 2^60",
     {0x84, 0, 16, 1, 0xcf, 0x10, 0, 0, 0, 0, 0, 0, 1, 2, 2, 3, 3},
     17,
     ERR_CORRUPT},
    {"id of 2^60", {0x84, 0, 16, 1, 0xcf, 0x10, 0, 0, 0, 0, 0, 0, 0, 2, 2, 3, 3}, 17, 0},
    {"version of 256", {0x85, 0, 16, 1, 1, 2, 2, 3, 3, 4, 0xcd, 1, 0}, 13, ERR_CORRUPT},
    {"negative term", {0x85, 0, 16, 1, 1, 2, 2, 3, 3, 5, 0xff}, 11, ERR_CORRUPT},
    {"no such kind", {0x84, 0, 27, 1, 1, 2, 2, 3, 3}, 9, ERR_CORRUPT},
    {"unknown field", {0x85, 0, 16, 1, 1, 2, 2, 3, 3, 60, 0xc0}, 11, 0},
};

static void test_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct peer_entry entries[4];
        struct peer_msg out = {.group = 99};
        struct err err = {0};
        int rv = peer_msg_decode(slice_of(rows[i].raw, rows[i].len), entries, 4, &out, &err);
        if (rv != rows[i].want)
            fail_msg("%s: %s (%s)", rows[i].name, err_name(rv), err.msg);
        if (rv != 0)
            assert_int_equal(out.group, 99);
    }
}

static void test_full_buf(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 20); /* smaller than any message may get */
    peer_msg_encode(&buf, &tops[0]);
    assert_true(buf.failed);
    assert_int_equal(buf.len, 0);
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greatest_and_least),
        cmocka_unit_test(test_fields_keep_their_places),
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_full_buf),
    };
    return cmocka_run_group_tests_name("peer_msg", tests, NULL, NULL);
}
