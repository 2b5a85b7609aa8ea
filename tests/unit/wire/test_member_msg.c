/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "wire/frame.h"
#include "wire/member_msg.h"

static void test_ask(void **state)
{
    (void)state;
    struct member_ask in = {.group = UINT64_MAX, .replica_id = 1, .conf_epoch = UINT64_MAX};
    struct member_ask out;
    struct buf buf;
    buf_init(&buf, FRAME_BODY_MAX);
    member_ask_encode(&buf, &in);
    assert_int_equal(member_ask_decode(buf_slice(&buf), &out, NULL), 0);
    assert_true(out.group == UINT64_MAX && out.replica_id == 1 && out.conf_epoch == UINT64_MAX);
    buf_fini(&buf);
}

static void test_answer(void **state)
{
    (void)state;
    static const struct member_answer rows[] = {
        {.group = 1, .replica_id = UINT64_MAX, .verdict = MEMBER_GONE, .conf_epoch = 9},
        {.group = 1, .replica_id = 2, .verdict = MEMBER_ASK, .store_id = UINT64_MAX},
        {.group = 1,
         .replica_id = 2,
         .verdict = MEMBER_ENDED,
         .into_range = UINT64_MAX,
         .span_epoch = 5},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct member_answer out;
        struct buf buf;
        buf_init(&buf, FRAME_BODY_MAX);
        member_answer_encode(&buf, &rows[i]);
        assert_int_equal(member_answer_decode(buf_slice(&buf), &out, NULL), 0);
        assert_true(out.group == rows[i].group && out.replica_id == rows[i].replica_id);
        assert_true(out.verdict == rows[i].verdict && out.conf_epoch == rows[i].conf_epoch);
        assert_true(out.store_id == rows[i].store_id);
        assert_true(out.into_range == rows[i].into_range && out.span_epoch == rows[i].span_epoch);
        buf_fini(&buf);
    }
}

/* Well formed, and of no meaning. */
static void test_damage(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t raw[16];
        size_t len;
        bool is_ask;
        int want;
    } rows[] = {
        {"ask", {0x83, 0, 28, 1, 1, 2, 1}, 7, true, 0},
        {"ask of no group", {0x82, 0, 28, 2, 1}, 5, true, ERR_CORRUPT},
        {"ask of nobody", {0x82, 0, 28, 1, 1}, 5, true, ERR_CORRUPT},
        {"an answer", {0x83, 0, 29, 1, 1, 2, 1}, 7, true, ERR_CORRUPT},
        {"gone", {0x85, 0, 29, 1, 1, 2, 1, 3, 1, 4, 1}, 11, false, 0},
        {"gone without epoch", {0x84, 0, 29, 1, 1, 2, 1, 3, 1}, 9, false, ERR_CORRUPT},
        {"ask nobody", {0x84, 0, 29, 1, 1, 2, 1, 3, 2}, 9, false, ERR_CORRUPT},
        {"ended", {0x86, 0, 29, 1, 1, 2, 1, 3, 3, 6, 1, 7, 1}, 13, false, 0},
        {"ended, nobody knows how", {0x85, 0, 29, 1, 1, 2, 1, 3, 3, 7, 1}, 11, false, ERR_CORRUPT},
        {"no verdict", {0x84, 0, 29, 1, 1, 2, 1, 4, 1}, 9, false, ERR_CORRUPT},
        {"a verdict of later", {0x85, 0, 29, 1, 1, 2, 1, 3, 9, 4, 1}, 11, false, ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice raw = slice_of(rows[i].raw, rows[i].len);
        struct member_ask ask;
        struct member_answer answer;
        int rv = rows[i].is_ask ? member_ask_decode(raw, &ask, NULL)
                                : member_answer_decode(raw, &answer, NULL);
        if (rv != rows[i].want)
            fail_msg("%s: %s", rows[i].name, err_name(rv));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ask),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests_name("member_msg", tests, NULL, NULL);
}
