/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/crc32c.h"

#include "base/rng.h"

/* RFC 3720 B.4 */
static void test_vectors(void **state)
{
    (void)state;
    uint8_t bytes[32];
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
    for (size_t i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, NULL, 0), 0);
}

/* The definition, bit by bit, against whatever the processor offers; at every
 * alignment and cut. */
static uint32_t reference(const uint8_t *p, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ UINT32_C(0x82f63b78) : crc >> 1;
    }
    return ~crc;
}

static void test_against_definition(void **state)
{
    (void)state;
    uint8_t bytes[80];
    struct rng rng;
    rng_init(&rng, 1);
    rng_fill(&rng, bytes, sizeof bytes);
    for (size_t from = 0; from < 9; from++) {
        for (size_t len = 0; from + len <= sizeof bytes; len++) {
            uint32_t want = reference(bytes + from, len);
            assert_int_equal(crc32c(0, bytes + from, len), want);
            size_t cut = len / 3;
            uint32_t head = crc32c(0, bytes + from, cut);
            assert_int_equal(crc32c(head, bytes + from + cut, len - cut), want);
        }
    }
}

/* Long runs are summed in streams side by side: lengths round their edges, and in pieces. */
static void test_long(void **state)
{
    (void)state;
    static uint8_t bytes[4000];
    struct rng rng;
    rng_init(&rng, 2);
    rng_fill(&rng, bytes, sizeof bytes);
    for (size_t len = 760; len < sizeof bytes - 8; len += len % 776 < 16 ? 1 : 97) {
        size_t from = len % 8, cut = rng_below(&rng, len);
        uint32_t want = reference(bytes + from, len);
        assert_int_equal(crc32c(0, bytes + from, len), want);
        assert_int_equal(crc32c(crc32c(0, bytes + from, cut), bytes + from + cut, len - cut), want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_against_definition),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests_name("crc32c", tests, NULL, NULL);
}
