/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "wire/frame.h"
#include "wire/peer_msg.h"
#include "wire/pulse_msg.h"

#define MOST PEER_NUMBER_MAX

static const struct pulse_item rows[] = {
    {.kind = PULSE_BEAT,
     .version = 255,
     .group = MOST,
     .from_replica = MOST,
     .to_replica = MOST,
     .term = MOST,
     .index = MOST,
     .prev_term = MOST,
     .commit = MOST},
    {.kind = PULSE_REST, .group = 1, .from_replica = 2, .to_replica = 3, .term = 4, .index = 5},
    {.kind = PULSE_RESULT,
     .version = 1,
     .group = 1,
     .from_replica = 2,
     .to_replica = 3,
     .term = 4,
     .index = 5,
     .rejected = MOST,
     .features = UINT16_MAX,
     .capacity = UINT16_MAX},
    {.kind = PULSE_RESTED, .group = 1, .from_replica = 2, .to_replica = 3, .term = 4, .index = 5},
    {.kind = PULSE_WAKE, .group = 1, .from_replica = 2, .to_replica = 3, .term = 4},
};

/* What comes out is what went in, all kinds in one message. */
static void test_round_trip(void **state)
{
    (void)state;
    struct buf raw, body;
    struct pulse in = {.boot = UINT64_MAX}, out;
    buf_init(&raw, FRAME_BODY_MAX);
    buf_init(&body, FRAME_BODY_MAX);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        pulse_item_append(&raw, &rows[i]);
    in.items = (struct pack_list){.count = ARRAY_LEN(rows), .raw = buf_slice(&raw)};
    pulse_encode(&body, &in);
    assert_int_equal(pulse_decode(buf_slice(&body), &out, NULL), 0);
    assert_true(out.boot == UINT64_MAX);
    assert_int_equal(out.items.count, ARRAY_LEN(rows));
    struct unpack u = unpack_of(out.items.raw);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pulse_item item;
        pulse_item_next(&u, &item);
        assert_false(u.bad);
        assert_memory_equal(&item, &rows[i], sizeof item);
    }
    buf_fini(&raw);
    buf_fini(&body);
}

static void test_damage(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t raw[24];
        size_t len;
        int want;
    } damaged[] = {
        {"a pair is missing", {0x83, 0, 24, 1, 1}, 5, ERR_CORRUPT},
        {"alone", {0x82, 0, 24, 1, 7}, 5, 0},
        {"no life", {0x81, 0, 24}, 3, ERR_CORRUPT},
        {"a wake", {0x83, 0, 24, 1, 7, 2, 0x91, 0x95, 5, 1, 2, 3, 4}, 13, 0},
        {"one more number", {0x83, 0, 24, 1, 7, 2, 0x91, 0x96, 5, 1, 2, 3, 4, 9}, 14, 0},
        {"too few numbers", {0x83, 0, 24, 1, 7, 2, 0x91, 0x95, 4, 1, 2, 3, 4}, 13, ERR_CORRUPT},
        {"kind 0", {0x83, 0, 24, 1, 7, 2, 0x91, 0x95, 0, 1, 2, 3, 4}, 13, ERR_CORRUPT},
        {"kind of later", {0x83, 0, 24, 1, 7, 2, 0x91, 0x95, 6, 1, 2, 3, 4}, 13, ERR_CORRUPT},
        {"no group", {0x83, 0, 24, 1, 7, 2, 0x91, 0x95, 5, 0, 2, 3, 4}, 13, ERR_CORRUPT},
        {"from nobody", {0x83, 0, 24, 1, 7, 2, 0x91, 0x95, 5, 1, 0, 3, 4}, 13, ERR_CORRUPT},
        {"to nobody", {0x83, 0, 24, 1, 7, 2, 0x91, 0x95, 5, 1, 2, 0, 4}, 13, ERR_CORRUPT},
        {"no array", {0x83, 0, 24, 1, 7, 2, 0x91, 5}, 8, ERR_CORRUPT},
    };
    for (size_t i = 0; i < ARRAY_LEN(damaged); i++) {
        struct pulse out = {.boot = 99};
        int rv = pulse_decode(slice_of(damaged[i].raw, damaged[i].len), &out, NULL);
        if (rv != damaged[i].want)
            fail_msg("%s: %s", damaged[i].name, err_name(rv));
        if (rv != 0)
            assert_true(out.boot == 99);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests_name("pulse_msg", tests, NULL, NULL);
}
