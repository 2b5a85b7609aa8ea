/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdio.h>

#include "wire/keyspace.h"

/* Data on disk depends on these: they never change. 0xe3069283 is the published checksum of
 * "123456789" (RFC 3720). */
static void test_slots_are_for_ever(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        uint32_t slots;
        uint16_t want;
    } rows[] = {
        {"123456789", 65536, 0x9283},           {"123456789", 256, 0x83}, {"123456789", 1, 0},
        {"123456789", 1000, 0xe3069283 % 1000}, {"", 65536, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint16_t slot = keyspace_slot(slice_str(rows[i].key), rows[i].slots);
        uint8_t raw[KEYSPACE_SLOT_LEN];
        assert_int_equal(slot, rows[i].want);
        keyspace_put_slot(raw, slot);
        assert_int_equal(raw[0] << 8 | raw[1], slot);
        assert_int_equal(keyspace_get_slot(raw), slot);
    }
}

/* Keys that count up come to all slots, none much oftener than others. */
static void test_sequences_are_spread(void **state)
{
    (void)state;
    static const uint32_t counts_of[] = {16, 100, 256};
    for (size_t c = 0; c < ARRAY_LEN(counts_of); c++) {
        uint32_t hits[256] = {0};
        for (uint32_t i = 0; i < 100 * counts_of[c]; i++) {
            char key[24];
            snprintf(key, sizeof key, "user%08u", i);
            hits[keyspace_slot(slice_str(key), counts_of[c])]++;
        }
        for (uint32_t s = 0; s < counts_of[c]; s++)
            assert_true(hits[s] > 40 && hits[s] < 180);
    }
}

/* Between a slot's first byte and its end is nothing that does not begin with it. */
static void test_a_slot_ends_where_no_other_key_is(void **state)
{
    (void)state;
    static const struct {
        uint16_t slot;
        const char *end;
        size_t len;
    } rows[] = {
        {0, "\0\1", 2},          {0xfe, "\0\377", 2},
        {0xff, "\1", 1},         {0x100, "\1\1", 2},
        {0xfeff, "\377", 1},     {0xff00, "\377\1", 2},
        {0xfffe, "\377\377", 2}, {KEYSPACE_SLOTS_MAX - 1, "", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t end[KEYSPACE_SLOT_LEN];
        assert_int_equal(keyspace_put_slot_end(end, rows[i].slot), rows[i].len);
        assert_memory_equal(end, rows[i].end, rows[i].len);
    }
}

static void test_what_stands_behind_a_slot(void **state)
{
    (void)state;
    static const struct {
        const char *stored;
        size_t len;
        bool want;
    } rows[] = {
        {"", 0, false},      {"\0", 1, false},     {"\0\7", 2, false},
        {"\0\7\0", 3, true}, {"\1\377k", 3, true}, {"\2\0k", 3, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct slice stored = slice_of(rows[i].stored, rows[i].len);
        assert_int_equal(keyspace_is_behind_slot(stored, 512), rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_are_for_ever),
        cmocka_unit_test(test_sequences_are_spread),
        cmocka_unit_test(test_a_slot_ends_where_no_other_key_is),
        cmocka_unit_test(test_what_stands_behind_a_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
