/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/uuid.h"

#include "base/err.h"

static void test_round_trip(void **state)
{
    (void)state;
    uint8_t raw[UUID_LEN];
    for (size_t i = 0; i < UUID_LEN; i++)
        raw[i] = (uint8_t)(i * 17);
    struct uuid uuid = uuid_make(raw), back = {{0}};
    char text[UUID_TEXT_MAX];
    uuid_format(&uuid, text);
    assert_string_equal(text, "00112233-4455-4677-8899-aabbccddeeff");
    assert_int_equal(uuid_parse(slice_str(text), &back), 0);
    assert_true(uuid_equal(&uuid, &back));
    assert_false(uuid_is_zero(&uuid));
    assert_int_equal(uuid_parse(slice_str("00112233-4455-4677-8899-AABBCCDDEEFF"), &back), 0);
    assert_true(uuid_equal(&uuid, &back));
    struct uuid zero = {{0}};
    assert_true(uuid_is_zero(&zero));
}

static void test_damage(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "00112233-4455-4677-8899-aabbccddeef",
        "00112233-4455-4677-8899-aabbccddeefff",
        "00112233 4455-4677-8899-aabbccddeeff",
        "00112233-4455-4677-8899-aabbccddeefg",
        "0011223-34455-4677-8899-aabbccddeeff",
        "001122334455467788990aabbccddeeff000",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct uuid uuid = {{9}};
        if (uuid_parse(slice_str(rows[i]), &uuid) != ERR_INVALID || uuid.bytes[0] != 9)
            fail_msg("'%s' was taken", rows[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests_name("uuid", tests, NULL, NULL);
}
