/* SPDX-License-Identifier: Apache-2.0 */
#include <raft.h>

#include "consensus/config.h"
#include "rig.h"
#include "support/check.h"

static void test_round_trip(void **state)
{
    (void)state;
    static const char *const cases[] = {"1V", "1V 2V 3V", "7L 1V 2L", "1V 2V 3V 4V 5V 6L 7L"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct cons_config in = rig_config(cases[i]);
        struct cons_config out = {0};
        uint8_t bytes[CONS_CONFIG_LEN_MAX];
        size_t len = cons_config_encode(&in, bytes);
        assert_int_equal(cons_config_decode(slice_of(bytes, len), &out, NULL), 0);
        assert_true(cons_config_equal(&in, &out));
    }
}

static void test_largest(void **state)
{
    (void)state;
    struct cons_config in = {.n = CONS_MEMBERS_MAX};
    struct cons_config out;
    uint8_t bytes[CONS_CONFIG_LEN_MAX];
    for (uint32_t i = 0; i < in.n; i++)
        in.members[i] = (struct cons_member){
            .replica_id = CONS_ID_MAX - i, .store_id = CONS_ID_MAX - i, .role = CONS_VOTER};
    size_t len = cons_config_encode(&in, bytes);
    assert_int_equal(cons_config_decode(slice_of(bytes, len), &out, NULL), 0);
    assert_true(cons_config_equal(&in, &out));
}

/* The library reads what we write, and we read what it writes. */
static void test_library_agrees(void **state)
{
    (void)state;
    struct cons_config in = rig_config("3V 1V 2L");
    struct cons_config out;
    struct raft_configuration conf;
    uint8_t bytes[CONS_CONFIG_LEN_MAX];
    struct raft_buffer buf = {.base = bytes, .len = cons_config_encode(&in, bytes)};

    assert_int_equal(raft_configuration_decode(&buf, &conf), 0);
    assert_int_equal(conf.n, 3);
    assert_int_equal(conf.servers[0].id, 3);
    assert_string_equal(conf.servers[0].address, "103");
    assert_int_equal(conf.servers[2].role, RAFT_STANDBY);
    assert_int_equal(raft_configuration_encode(&conf, &buf), 0);
    assert_int_equal(cons_config_decode(slice_of(buf.base, buf.len), &out, NULL), 0);
    assert_true(cons_config_equal(&in, &out));
    raft_free(buf.base);
    raft_configuration_close(&conf);
}

/* "1V 2L" is 1 + 8 + 2 * (8 + 4 + 1) bytes: version, count, then id, "101\0", role. */
static const struct {
    const char *name;
    size_t keep;
    size_t offset;
    uint8_t value;
    int want;
} damage[] = {
    {"untouched", 35, 0, 1, 0},
    {"empty", 0, 0, 1, ERR_CORRUPT},
    {"no count", 8, 0, 1, ERR_CORRUPT},
    {"one byte short", 34, 0, 1, ERR_CORRUPT},
    {"version", 35, 0, 2, ERR_CORRUPT},
    {"no member", 35, 1, 0, ERR_CORRUPT},
    {"more members than bytes", 35, 1, 3, ERR_CORRUPT},
    {"fewer members than bytes", 35, 1, 1, ERR_CORRUPT},
    {"members over the limit", 35, 2, 1, ERR_CORRUPT},
    {"count that would overflow", 35, 8, 0xff, ERR_CORRUPT},
    {"id zero", 35, 9, 0, ERR_CORRUPT},
    {"id over the limit", 35, 16, 0xff, ERR_CORRUPT},
    {"id twice", 35, 22, 1, ERR_CORRUPT},
    {"store twice", 35, 32, '1', ERR_CORRUPT},
    {"store no number", 35, 17, 'x', ERR_CORRUPT},
    {"store with a leading zero", 35, 17, '0', ERR_CORRUPT},
    {"store empty", 35, 17, 0, ERR_CORRUPT},
    {"store without an end", 35, 20, '1', ERR_CORRUPT},
    {"spare", 35, 21, 2, ERR_CORRUPT},
    {"role unknown", 35, 34, 77, ERR_CORRUPT},
};

static void test_damage(void **state)
{
    (void)state;
    struct cons_config in = rig_config("1V 2L");
    for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
        uint8_t bytes[CONS_CONFIG_LEN_MAX];
        struct cons_config out = {.n = 99};
        struct err err = {0};
        assert_int_equal(cons_config_encode(&in, bytes), 35);
        bytes[damage[i].offset] = damage[i].value;
        int rv = cons_config_decode(slice_of(bytes, damage[i].keep), &out, &err);
        if (rv != damage[i].want)
            fail_msg("%s: got %d (%s)", damage[i].name, rv, err.msg);
        if (rv != 0)
            assert_true(out.n == 99);
    }
}

static const struct {
    const char *text;
    uint32_t voters;
    bool is_sole; /* replica 1 */
} counts[] = {
    {"1V", 1, true}, {"1V 2L", 1, true}, {"1L 2V", 1, false}, {"1V 2V", 2, false}, {"2V", 1, false},
};

static void test_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct cons_config c = rig_config(counts[i].text);
        assert_int_equal(cons_config_voters(&c), counts[i].voters);
        assert_int_equal(cons_config_is_sole_voter(&c, 1), counts[i].is_sole);
        assert_null(cons_config_find(&c, 9));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_largest),
        cmocka_unit_test(test_library_agrees), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_counts),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
