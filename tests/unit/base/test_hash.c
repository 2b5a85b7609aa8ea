/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/hash.h"

/* Key 00..0f, message 00..len-1: the vectors of SipHash-1-3. */
static const struct {
    size_t len;
    uint64_t want;
} vectors[] = {
    {0, UINT64_C(0xabac0158050fc4dc)},  {1, UINT64_C(0xc9f49bf37d57ca93)},
    {7, UINT64_C(0xd3927d989bb11140)},  {8, UINT64_C(0x369095118d299a8e)},
    {15, UINT64_C(0xd320d86d2a519956)}, {16, UINT64_C(0xcc4fdd1a7d908b66)},
    {63, UINT64_C(0x9d199062b7bbb3a8)},
};

static void test_vectors(void **state)
{
    (void)state;
    static const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    uint8_t message[64];
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)i;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
        assert_true(hash_keyed(key, slice_of(message, vectors[i].len)) == vectors[i].want);
}

static void test_key_matters(void **state)
{
    (void)state;
    static const uint64_t a[2] = {1, 2}, b[2] = {1, 3};
    assert_true(hash_keyed(a, slice_str("key")) != hash_keyed(b, slice_str("key")));
    assert_true(hash_keyed(a, slice_str("key")) == hash_keyed(a, slice_str("key")));
}

static void test_mix_keeps_order(void **state)
{
    (void)state;
    uint64_t ab = hash_mix(hash_mix(0, 1), 2);
    uint64_t ba = hash_mix(hash_mix(0, 2), 1);
    assert_true(ab != ba);
    assert_true(ab != hash_mix(0, 1));
    assert_true(hash_mix(0, 1) != hash_mix(0, UINT64_C(1) << 63));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_key_matters),
        cmocka_unit_test(test_mix_keeps_order),
    };
    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
