/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "wire/driver_msg.h"
#include "wire/frame.h"
#include "wire/response.h"

static const struct step_order good = {.operator_id = 1,
                                       .range_id = 2,
                                       .conf_epoch = 3,
                                       .span_epoch = 4,
                                       .replica_id = 5,
                                       .store_id = 6};

/* What each kind of step must name: without it the whole word is refused. */
static void test_steps_are_whole(void **state)
{
    static const struct {
        const char *name;
        enum step_kind kind;
        bool no_replica, no_store, no_epoch, no_range;
        int want;
    } rows[] = {
        {"add", STEP_ADD_LEARNER, false, false, false, false, 0},
        {"add nobody", STEP_ADD_LEARNER, true, false, false, false, ERR_CORRUPT},
        {"add nowhere", STEP_ADD_LEARNER, false, true, false, false, ERR_CORRUPT},
        {"promote", STEP_PROMOTE, false, true, false, false, 0},
        {"promote nobody", STEP_PROMOTE, true, false, false, false, ERR_CORRUPT},
        {"remove", STEP_REMOVE, false, true, false, false, 0},
        {"transfer at no epoch", STEP_TRANSFER, false, true, true, false, ERR_CORRUPT},
        {"split into nothing", STEP_SPLIT, false, false, false, true, ERR_CORRUPT},
        {"merge with nobody", STEP_MERGE, false, false, false, true, ERR_CORRUPT},
        {"retain", STEP_RETAIN, true, true, false, false, 0},
        {"retain for no time", STEP_RETAIN, true, true, false, true, ERR_CORRUPT},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct step_order step = good;
        struct driver_word out, word = {.term = 7};
        struct buf raw, body;
        step.kind = rows[i].kind;
        step.replica_id = rows[i].no_replica ? 0 : 5;
        step.store_id = rows[i].no_store ? 0 : 6;
        step.conf_epoch = rows[i].no_epoch ? 0 : 3;
        step.new_range_id = rows[i].no_range ? 0 : 8;
        step.retention_ms = rows[i].no_range ? 0 : 600000;
        buf_init(&raw, 4096);
        buf_init(&body, 4096);
        step_order_append(&raw, &step);
        word.steps = (struct pack_list){.count = 1, .raw = buf_slice(&raw)};
        driver_word_encode(&body, &word);
        int rv = driver_word_decode(buf_slice(&body), &out, NULL);
        if (rv != rows[i].want)
            fail_msg("%s: %s", rows[i].name, err_name(rv));
        buf_fini(&raw);
        buf_fini(&body);
    }
}

/* An answer to a beat says whether the store is welcome. */
static void test_words_have_a_verdict(void **state)
{
    struct driver_word out, word = {.term = 7, .seq = 1};
    struct buf body;
    (void)state;
    buf_init(&body, 4096);
    driver_word_encode(&body, &word);
    assert_int_equal(driver_word_decode(buf_slice(&body), &out, NULL), ERR_CORRUPT);
    buf_clear(&body);
    word.verdict = DRIVER_TWICE;
    driver_word_encode(&body, &word);
    assert_int_equal(driver_word_decode(buf_slice(&body), &out, NULL), 0);
    assert_int_equal(out.verdict, DRIVER_TWICE);
    buf_fini(&body);
}

static void test_ranges_have_a_span(void **state)
{
    static const struct {
        const char *start, *end;
        int want;
    } rows[] = {
        {"a", "b", 0}, {"b", "a", ERR_CORRUPT}, {"a", "a", ERR_CORRUPT}, {"", "b", ERR_CORRUPT}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct range_state range = {.range_id = 1,
                                    .replica_id = 2,
                                    .conf_epoch = 1,
                                    .span_epoch = 1,
                                    .start = slice_str(rows[i].start),
                                    .end = slice_str(rows[i].end)};
        struct range_beat out, beat = {.term = 1};
        struct buf raw, body;
        buf_init(&raw, 4096);
        buf_init(&body, 4096);
        range_state_append(&raw, &range);
        beat.ranges = (struct pack_list){.count = 1, .raw = buf_slice(&raw)};
        range_beat_encode(&body, &beat);
        assert_int_equal(range_beat_decode(buf_slice(&body), &out, NULL), rows[i].want);
        buf_fini(&raw);
        buf_fini(&body);
    }
}

/* Whatever age can be said is understood. */
static void test_members_of_any_age(void **state)
{
    static const uint32_t ages[] = {0, 1, UINT32_MAX - 1, UINT32_MAX};
    struct range_state out, range = {.range_id = 1,
                                     .replica_id = 2,
                                     .conf_epoch = 1,
                                     .span_epoch = 1,
                                     .start = slice_str("a"),
                                     .end = slice_str("b"),
                                     .member_count = ARRAY_LEN(ages)};
    struct buf raw;
    (void)state;
    _Static_assert(sizeof range.members[0].age_ms == sizeof ages[0], "no age is greater");
    for (uint32_t i = 0; i < ARRAY_LEN(ages); i++)
        range.members[i] = (struct range_member){
            .replica_id = i + 1, .store_id = i + 1, .role = MEMBER_VOTER, .age_ms = ages[i]};
    buf_init(&raw, 4096);
    range_state_append(&raw, &range);
    struct unpack u = unpack_of(buf_slice(&raw));
    range_state_next(&u, &out);
    assert_int_equal(out.member_count, ARRAY_LEN(ages));
    for (uint32_t i = 0; i < ARRAY_LEN(ages); i++)
        assert_true(out.members[i].age_ms == ages[i]);
    buf_fini(&raw);
}

/* A table is made of whole rows. */
static void test_tables(void **state)
{
    (void)state;
    for (uint32_t cells = 0; cells < 5; cells++) {
        struct buf columns, raw, body;
        struct response out;
        buf_init(&columns, 4096);
        buf_init(&raw, 4096);
        buf_init(&body, 4096);
        cell_append(&columns, slice_str("#id"));
        cell_append(&columns, slice_str("name"));
        for (uint32_t i = 0; i < cells; i++)
            cell_append(&raw, slice_str("x"));
        struct response response = {
            .id = 1,
            .kind = REQUEST_PLACEMENT,
            .placement = {.columns = {.count = 2, .raw = buf_slice(&columns)},
                          .cells = {.count = cells, .raw = buf_slice(&raw)}},
        };
        response_encode(&body, &response);
        assert_int_equal(response_decode(buf_slice(&body), &out, NULL),
                         cells % 2 == 0 ? 0 : ERR_CORRUPT);
        buf_fini(&columns);
        buf_fini(&raw);
        buf_fini(&body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_are_whole),
        cmocka_unit_test(test_words_have_a_verdict),
        cmocka_unit_test(test_ranges_have_a_span),
        cmocka_unit_test(test_members_of_any_age),
        cmocka_unit_test(test_tables),
    };
    return cmocka_run_group_tests_name("driver_msg", tests, NULL, NULL);
}
