/* SPDX-License-Identifier: Apache-2.0
 *
 * From which versions on the keys of former ranges may be read: against a plain model, and
 * as bytes.
 */
#include "support/check.h"

#include <stdlib.h>

#include "base/rng.h"
#include "range/seams.h"

enum { KEYS = 26 };

static struct slice key_at(uint32_t i)
{
    static const char keys[] = "abcdefghijklmnopqrstuvwxyz";
    ASSERT(i < KEYS);
    return slice_of(keys + i, 1);
}

/* For each key the least version, as many merges said it. */
struct model {
    uint64_t least[KEYS];
};

static void want_alike(const struct seams *j, const struct model *m, uint64_t safe)
{
    seams_check(j);
    for (uint32_t i = 0; i < KEYS; i++) {
        uint64_t least = seams_least_at(j, key_at(i));
        assert_true(MAX(least, safe) >= MAX(m->least[i], safe));
        if (i + 1 < KEYS)
            assert_true(seams_least_below(j, key_at(i + 1)) == least);
    }
}

static void want_end(const struct seams *j, uint32_t from, uint64_t version)
{
    struct slice end = seams_end(j, key_at(from), version);
    for (uint32_t i = from + 1; i < KEYS; i++) {
        bool is_before = end.len == 0 || slice_compare(key_at(i), end) < 0;
        assert_true(is_before == (seams_least_at(j, key_at(i)) <= version));
    }
}

/* Ranges are taken in one after the other, in any order of clocks. What may not be read never
 * becomes readable but by the safe point. */
static void test_model(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 5);
    for (int round = 0; round < 500; round++) {
        struct seams j;
        struct model m = {{0}};
        uint64_t safe = 0;
        seams_init(&j);
        for (uint32_t at = 1; at < KEYS; at += 1 + (uint32_t)rng_below(&rng, 6)) {
            uint64_t version = 1 + rng_below(&rng, 1000);
            assert_int_equal(seams_add(&j, key_at(at), version), 0);
            for (uint32_t i = at; i < KEYS; i++)
                m.least[i] = MAX(m.least[i], version);
            want_alike(&j, &m, safe);
            uint32_t from = (uint32_t)rng_below(&rng, KEYS);
            uint64_t seen = rng_below(&rng, 1000);
            if (seams_least_at(&j, key_at(from)) <= seen)
                want_end(&j, from, seen);
            if (rng_chance(&rng, 1, 4)) {
                uint64_t later = rng_below(&rng, 1000);
                safe = MAX(safe, later);
                seams_forget_below(&j, safe);
                want_alike(&j, &m, safe);
            }
        }
        seams_fini(&j);
    }
}

/* While there is room nothing is refused that need not be. */
static void test_exact(void **state)
{
    (void)state;
    struct seams j;
    seams_init(&j);
    assert_true(seams_least_at(&j, key_at(25)) == 0);
    assert_int_equal(seams_end(&j, key_at(0), 1).len, 0);
    assert_int_equal(seams_add(&j, key_at(3), 10), 0);
    assert_int_equal(seams_add(&j, key_at(5), 7), 0); /* says nothing more */
    assert_int_equal(seams_add(&j, key_at(6), 20), 0);
    assert_int_equal(j.count, 2);
    assert_true(seams_least_at(&j, key_at(2)) == 0 && seams_least_at(&j, key_at(3)) == 10);
    assert_true(seams_least_at(&j, key_at(5)) == 10 && seams_least_at(&j, key_at(6)) == 20);
    assert_true(seams_least_below(&j, key_at(3)) == 0 && seams_least_below(&j, key_at(4)) == 10);
    assert_true(slice_equal(seams_end(&j, key_at(0), 9), key_at(3)));
    assert_true(slice_equal(seams_end(&j, key_at(0), 10), key_at(6)));
    assert_int_equal(seams_end(&j, key_at(0), 20).len, 0);
    seams_forget_below(&j, 9);
    assert_int_equal(j.count, 2);
    seams_forget_below(&j, 10);
    assert_int_equal(j.count, 1);
    assert_true(seams_least_at(&j, key_at(5)) == 0);
    seams_cut(&j, key_at(7));
    assert_int_equal(j.count, 1);
    seams_cut(&j, key_at(6));
    assert_int_equal(j.count, 0);
    for (uint32_t i = 0; i <= SEAMS_MAX; i++)
        assert_int_equal(seams_add(&j, key_at(i), i + 1), 0);
    assert_int_equal(j.count, SEAMS_MAX);
    assert_true(seams_least_at(&j, key_at(SEAMS_MAX - 1)) == SEAMS_MAX + 1); /* more than need be */
    assert_true(seams_least_at(&j, key_at(SEAMS_MAX - 2)) == SEAMS_MAX - 1);
    seams_fini(&j);
}

static void test_codec(void **state)
{
    (void)state;
    static uint8_t longest[RANGE_KEY_MAX];
    struct seams j, copy, got;
    struct buf raw, again;
    memset(longest, 0xff, sizeof longest);
    seams_init(&j);
    assert_int_equal(seams_add(&j, key_at(1), 5), 0);
    assert_int_equal(seams_add(&j, slice_of(longest, sizeof longest), UINT64_MAX), 0);
    seams_init(&copy);
    assert_int_equal(seams_copy(&copy, &j), 0);
    buf_init(&raw, SEAMS_LEN_MAX);
    buf_init(&again, SEAMS_LEN_MAX);
    seams_encode(&copy, &raw);
    seams_init(&got);
    assert_int_equal(seams_decode(buf_slice(&raw), &got, NULL), 0);
    seams_encode(&got, &again);
    assert_true(slice_equal(buf_slice(&raw), buf_slice(&again)));
    seams_fini(&got);
    for (size_t n = 0; n < raw.len; n += n < 40 ? 1 : 97)
        assert_int_equal(seams_decode(slice_of(raw.data, n), &got, NULL), ERR_CORRUPT);
    put_u64(raw.data + 1, 0); /* no version */
    assert_int_equal(seams_decode(buf_slice(&raw), &got, NULL), ERR_CORRUPT);
    put_u64(raw.data + 1, UINT64_MAX); /* the second one is not above it */
    assert_int_equal(seams_decode(buf_slice(&raw), &got, NULL), ERR_CORRUPT);
    put_u64(raw.data + 1, 5);
    raw.data[10] = 0xff; /* keys as well */
    assert_int_equal(seams_decode(buf_slice(&raw), &got, NULL), 0);
    seams_fini(&got);
    raw.data[0] = SEAMS_MAX + 1;
    assert_int_equal(seams_decode(buf_slice(&raw), &got, NULL), ERR_CORRUPT);
    buf_append_u8(&again, 0);
    assert_true(again.failed || seams_decode(buf_slice(&again), &got, NULL) == ERR_CORRUPT);
    buf_fini(&raw);
    buf_fini(&again);
    seams_fini(&copy);
    seams_fini(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_codec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
