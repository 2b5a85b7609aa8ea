/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "wire/frame.h"
#include "wire/merge_msg.h"

static void test_round_trip(void **state)
{
    (void)state;
    for (int verb = MERGE_PREPARE; verb <= MERGE_VERB_LAST; verb++) {
        struct merge_msg in = {
            .verb = (enum merge_verb)verb,
            .attempt = UINT64_MAX,
            .left_range = 2,
            .right_range = 3,
            .left_conf = 4,
            .left_span = 5,
            .right_conf = 6,
            .right_span = 7,
            .number = 8,
            .term = 9,
            .status = ERR_RANGE_CHANGED,
            .text = slice_str("why"),
            .key = slice_str("\x02k"),
        };
        struct merge_msg out = {0};
        struct buf buf, seats;
        buf_init(&buf, FRAME_BODY_MAX);
        buf_init(&seats, 4096);
        for (uint64_t i = 0; i < DESCRIPTOR_MEMBERS_MAX; i++)
            merge_seat_append(&in.seats, &seats, UINT64_MAX - i,
                              i == 0 ? MEMBER_LEARNER : MEMBER_VOTER);
        merge_msg_encode(&buf, &in);
        assert_int_equal(merge_msg_decode(buf_slice(&buf), &out, NULL), 0);
        assert_true(out.verb == in.verb && out.attempt == UINT64_MAX && out.left_range == 2);
        assert_true(out.right_range == 3 && out.left_conf == 4 && out.left_span == 5);
        assert_true(out.right_conf == 6 && out.right_span == 7 && out.number == 8);
        assert_true(out.term == 9 && out.status == ERR_RANGE_CHANGED);
        assert_true(slice_equal(out.text, in.text) && slice_equal(out.key, in.key));
        struct unpack cursor = unpack_of(out.seats.raw);
        assert_int_equal(out.seats.count, 2 * DESCRIPTOR_MEMBERS_MAX);
        for (uint64_t i = 0; i < DESCRIPTOR_MEMBERS_MAX; i++) {
            uint64_t store_id;
            enum member_role role;
            merge_seat_next(&cursor, &store_id, &role);
            assert_true(store_id == UINT64_MAX - i);
            assert_true(role == (i == 0 ? MEMBER_LEARNER : MEMBER_VOTER));
        }
        buf_fini(&buf);
        buf_fini(&seats);
    }
}

/* Well formed, and of no meaning. */
static void test_damage(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t raw[32];
        size_t len;
        int want;
    } rows[] = {
        {"aborted", {0x84, 0, 30, 1, 5, 2, 1, 4, 1}, 9, 0},
        {"no verb", {0x83, 0, 30, 2, 1, 4, 1}, 7, ERR_CORRUPT},
        {"a verb of later", {0x84, 0, 30, 1, 99, 2, 1, 4, 1}, 9, ERR_CORRUPT},
        {"no attempt", {0x83, 0, 30, 1, 5, 4, 1}, 7, ERR_CORRUPT},
        {"no right range", {0x83, 0, 30, 1, 5, 2, 1}, 7, ERR_CORRUPT},
        {"ask without a key", {0x84, 0, 30, 1, 4, 2, 1, 4, 1}, 9, ERR_CORRUPT},
        {"ask", {0x85, 0, 30, 1, 4, 2, 1, 4, 1, 13, 0xc4, 1, 'k'}, 13, 0},
        {"ready without an index", {0x85, 0, 30, 1, 2, 2, 1, 3, 1, 4, 1}, 11, ERR_CORRUPT},
        {"refused without a reason", {0x85, 0, 30, 1, 3, 2, 1, 3, 1, 4, 1}, 11, ERR_CORRUPT},
        {"gone, but nobody", {0x85, 0, 30, 1, 7, 2, 1, 3, 1, 4, 1}, 11, ERR_CORRUPT},
        {"gone", {0x86, 0, 30, 1, 7, 2, 1, 3, 1, 4, 1, 9, 4}, 13, 0},
        {"prepare without replicas",
         {0x86, 0, 30, 1, 1, 2, 1, 3, 1, 4, 1, 13, 0xc4, 1, 'k'},
         15,
         ERR_CORRUPT},
        {"prepare with half a replica",
         {0x87, 0, 30, 1, 1, 2, 1, 3, 1, 4, 1, 13, 0xc4, 1, 'k', 14, 0x91, 1},
         18,
         ERR_CORRUPT},
        {"prepare with an unknown role",
         {0x87, 0, 30, 1, 1, 2, 1, 3, 1, 4, 1, 13, 0xc4, 1, 'k', 14, 0x92, 1, 9},
         19,
         ERR_CORRUPT},
        {"prepare", {0x87, 0, 30, 1, 1, 2, 1, 3, 1, 4, 1, 13, 0xc4, 1, 'k', 14, 0x92, 1, 1}, 19, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct merge_msg msg = {.attempt = 99};
        struct err err = {0};
        int rv = merge_msg_decode(slice_of(rows[i].raw, rows[i].len), &msg, &err);
        if (rv != rows[i].want)
            fail_msg("%s: %s (%s)", rows[i].name, err_name(rv), err.msg);
        if (rv != 0)
            assert_int_equal(msg.attempt, 99);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
