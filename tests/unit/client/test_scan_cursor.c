/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a scan's cursor: there and back, and every damage. */
#include "support/check.h"

#include <stdlib.h>

#include "base/crc32c.h"
#include "base/rng.h"
#include "client/scan_cursor.h"
#include "wire/keyspace.h"

enum { ROUNDS = 2000, PARTS = 5 };

static const struct scan_part one_at = {.state = SCAN_PART_AT, .version = 77};

static struct scan_cursor plain(struct buf *parts)
{
    scan_part_append(parts, &one_at);
    return (struct scan_cursor){
        .cluster_id = 0x1122334455667788,
        .read = {.keyspace = 9, .consistency = READ_STALE, .max_age_ms = 500, .any_replica = true},
        .is_keys_only = true,
        .start = slice_str("b"),
        .end = slice_str("y"),
        .position = slice_str("kiwi"),
        .parts = buf_slice(parts),
    };
}

static void assert_same(const struct scan_cursor *a, const struct scan_cursor *b)
{
    assert_true(a->cluster_id == b->cluster_id && a->slots == b->slots);
    assert_true(a->is_reverse == b->is_reverse && a->is_keys_only == b->is_keys_only);
    assert_true(a->read.keyspace == b->read.keyspace);
    assert_true(a->read.consistency == b->read.consistency);
    assert_true(a->read.max_age_ms == b->read.max_age_ms);
    assert_true(a->read.at_version == b->read.at_version);
    assert_true(a->read.any_replica == b->read.any_replica);
    assert_true(slice_equal(a->start, b->start) && slice_equal(a->end, b->end));
    assert_true(slice_equal(a->position, b->position) && slice_equal(a->parts, b->parts));
}

static void test_there_and_back(void **state)
{
    (void)state;
    struct buf parts, out;
    struct scan_cursor back;
    buf_init(&parts, SCAN_CURSOR_MAX);
    buf_init(&out, SCAN_CURSOR_MAX);
    struct scan_cursor c = plain(&parts);
    scan_cursor_encode(&c, &out);
    assert_false(out.failed);
    assert_int_equal(scan_cursor_decode(buf_slice(&out), &back, NULL), 0);
    assert_same(&c, &back);
    struct reader r = reader_of(back.parts);
    struct scan_part part = scan_part_next(&r);
    assert_true(part.state == SCAN_PART_AT && part.version == 77 && part.place.len == 0);
    assert_true(r.left == 0 && !r.bad);
    buf_fini(&parts);
    buf_fini(&out);
}

/* The form on disk is a promise: who kept a cursor comes back with it. */
static void test_golden(void **state)
{
    (void)state;
    static const uint8_t want[] = {
        'h',
        'f',
        's',
        'c',
        1, /* magic, format */
        0x88,
        0x77,
        0x66,
        0x55,
        0x44,
        0x33,
        0x22,
        0x11, /* cluster */
        9,
        2 | 4,
        READ_STALE,
        0xf4,
        0x03,
        0, /* keyspace, flags, consistency, age, at */
        1,
        'b',
        1,
        'y',
        4,
        'k',
        'i',
        'w',
        'i',
        0, /* start, end, position, slots */
        SCAN_PART_AT,
        77,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    };
    struct buf parts, out;
    buf_init(&parts, SCAN_CURSOR_MAX);
    buf_init(&out, SCAN_CURSOR_MAX);
    struct scan_cursor c = plain(&parts);
    scan_cursor_encode(&c, &out);
    assert_int_equal(out.len, sizeof want + 4);
    assert_memory_equal(out.data, want, sizeof want);
    assert_true(get_u32(out.data + sizeof want) == crc32c(0, want, sizeof want));
    buf_fini(&parts);
    buf_fini(&out);
}

static void test_every_byte_that_changes_is_seen(void **state)
{
    (void)state;
    struct buf parts, out;
    struct scan_cursor back;
    buf_init(&parts, SCAN_CURSOR_MAX);
    buf_init(&out, SCAN_CURSOR_MAX);
    struct scan_cursor c = plain(&parts);
    scan_cursor_encode(&c, &out);
    for (size_t i = 0; i < out.len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            struct err err = {0};
            out.data[i] ^= (uint8_t)(1 << bit);
            int want = i == 4 ? ERR_UNSUPPORTED : ERR_CORRUPT;
            assert_int_equal(scan_cursor_decode(buf_slice(&out), &back, &err), want);
            assert_true(err.msg[0] != 0);
            out.data[i] ^= (uint8_t)(1 << bit);
        }
        assert_int_equal(scan_cursor_decode(slice_of(out.data, i), &back, NULL), ERR_CORRUPT);
    }
    buf_append_u8(&out, 0); /* and one too many */
    assert_int_equal(scan_cursor_decode(buf_slice(&out), &back, NULL), ERR_CORRUPT);
    buf_fini(&parts);
    buf_fini(&out);
}

/* ---- with a checksum that is right --------------------------------------------------------- */

static int decode_summed(const void *bytes, size_t len)
{
    struct scan_cursor back;
    struct buf out;
    buf_init(&out, 2 * SCAN_CURSOR_MAX);
    buf_append(&out, bytes, len);
    buf_append_u32(&out, crc32c(0, bytes, len));
    int rv = scan_cursor_decode(buf_slice(&out), &back, NULL);
    buf_fini(&out);
    return rv;
}

#define HEAD "hfsc\001"
#define CLUSTER "\1\0\0\0\0\0\0\0"
#define NOBODY "\0\0\0\0\0\0\0\0"
#define VERSION "\5\0\0\0\0\0\0\0"

static void test_what_makes_no_sense(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *bytes;
        size_t len;
        int want;
    } cases[] = {
#define CASE(name, bytes, want) {name, bytes, sizeof(bytes) - 1, want}
        CASE("a fresh one", HEAD NOBODY "\0\0\0\0\0\0\0\0\0\0", 0),
        CASE("at a version", HEAD CLUSTER "\0\0\0\0\0\0\0\0\0\1" VERSION, 0),
        CASE("over", HEAD CLUSTER "\0\0\0\0\0\0\0\0\0\2", 0),
        CASE("at(5)", HEAD CLUSTER "\0\0\3\0\5\0\0\0\0\0", 0),
        CASE("nothing behind the head", HEAD, ERR_CORRUPT),
        CASE("a keyspace of 33 bits", HEAD NOBODY "\200\200\200\200\20\0\0\0\0\0\0\0\0\0",
             ERR_CORRUPT),
        CASE("a flag that is not known", HEAD NOBODY "\0\10\0\0\0\0\0\0\0\0", ERR_CORRUPT),
        CASE("a consistency that is not known", HEAD NOBODY "\0\0\4\0\0\0\0\0\0\0", ERR_CORRUPT),
        CASE("stale of no age", HEAD NOBODY "\0\0\2\0\0\0\0\0\0\0", ERR_CORRUPT),
        CASE("an age, and not stale", HEAD NOBODY "\0\0\0\1\0\0\0\0\0\0", ERR_CORRUPT),
        CASE("at no version", HEAD NOBODY "\0\0\3\0\0\0\0\0\0\0", ERR_CORRUPT),
        CASE("a version, and not at", HEAD NOBODY "\0\0\0\0\1\0\0\0\0\0", ERR_CORRUPT),
        CASE("a position before the start", HEAD NOBODY "\0\0\0\0\0\1b\0\1a\0\0", ERR_CORRUPT),
        CASE("a position behind the end", HEAD NOBODY "\0\0\0\0\0\0\1b\1c\0\0", ERR_CORRUPT),
        CASE("a position at the end", HEAD NOBODY "\0\0\0\0\0\0\1b\1b\0\0", 0),
        CASE("a key that is not there", HEAD NOBODY "\0\0\0\0\0\0\0\5ab", ERR_CORRUPT),
        CASE("no part", HEAD NOBODY "\0\0\0\0\0\0\0\0\0", ERR_CORRUPT),
        CASE("two parts for one", HEAD NOBODY "\0\0\0\0\0\0\0\0\0\0\0", ERR_CORRUPT),
        CASE("one part for two", HEAD NOBODY "\0\0\0\0\0\0\0\0\2\0", ERR_CORRUPT),
        CASE("two slots", HEAD NOBODY "\0\0\0\0\0\0\0\0\2\0\2", 0),
        CASE("more slots than there can be", HEAD NOBODY "\0\0\0\0\0\0\0\0\201\200\4\0",
             ERR_CORRUPT),
        CASE("a state that is not known", HEAD CLUSTER "\0\0\0\0\0\0\0\0\0\3", ERR_CORRUPT),
        CASE("a bit that is not known", HEAD CLUSTER "\0\0\0\0\0\0\0\0\0\10", ERR_CORRUPT),
        CASE("at version 0", HEAD CLUSTER "\0\0\0\0\0\0\0\0\0\1" NOBODY, ERR_CORRUPT),
        CASE("a version of no cluster", HEAD NOBODY "\0\0\0\0\0\0\0\0\0\1" VERSION, ERR_CORRUPT),
        CASE("half a version", HEAD CLUSTER "\0\0\0\0\0\0\0\0\0\1\5\0\0", ERR_CORRUPT),
        CASE("a place", HEAD CLUSTER "\0\0\0\0\0\0\0\0\0\4\1p", 0),
        CASE("a place that is empty", HEAD CLUSTER "\0\0\0\0\0\0\0\0\0\4\0", ERR_CORRUPT),
        CASE("a place behind the end", HEAD CLUSTER "\0\0\0\0\0\0\1b\0\0\4\1p", ERR_CORRUPT),
#undef CASE
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int got = decode_summed(cases[i].bytes, cases[i].len);
        if (got != cases[i].want)
            fail_msg("%s: %d", cases[i].name, got);
    }
}

static void test_a_key_that_is_too_long(void **state)
{
    (void)state;
    for (size_t len = KEY_WIRE_MAX; len <= KEY_WIRE_MAX + 1; len++) {
        struct buf out;
        buf_init(&out, SCAN_CURSOR_MAX);
        buf_append(&out, HEAD CLUSTER "\0\0\0\0\0", 18);
        buf_append_varint(&out, len);
        memset(buf_extend(&out, len), 'k', len);
        buf_append(&out, "\0\0\0\0", 4);
        assert_int_equal(decode_summed(out.data, out.len), len == KEY_WIRE_MAX ? 0 : ERR_CORRUPT);
        buf_fini(&out);
    }
}

static void test_a_cursor_that_is_too_large(void **state)
{
    (void)state;
    uint8_t *bytes = calloc(1, SCAN_CURSOR_MAX + 1);
    assert_non_null(bytes);
    memcpy(bytes, HEAD, 5);
    assert_int_equal(decode_summed(bytes, SCAN_CURSOR_MAX + 1), ERR_CORRUPT);
    free(bytes);
}

/* ---- any ----------------------------------------------------------------------------------- */

static struct slice any_key(struct rng *rng, uint8_t *out)
{
    size_t len = 1 + rng_below(rng, 3);
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)('a' + rng_below(rng, 20));
    return slice_of(out, len);
}

static struct request_read any_read(struct rng *rng)
{
    struct request_read read = {.keyspace = (uint32_t)rng_below(rng, UINT32_MAX),
                                .consistency = (enum consistency)rng_below(rng, 4),
                                .any_replica = rng_below(rng, 2) == 0};
    if (read.consistency == READ_STALE)
        read.max_age_ms = 1 + rng_below(rng, 1 << 20);
    if (read.consistency == READ_AT)
        read.at_version = 1 + rng_below(rng, UINT64_MAX - 1);
    return read;
}

static void test_any(void **state)
{
    (void)state;
    struct rng rng;
    struct buf parts, out;
    rng_init(&rng, 11);
    buf_init(&parts, SCAN_CURSOR_MAX);
    buf_init(&out, SCAN_CURSOR_MAX);
    for (int i = 0; i < ROUNDS; i++) {
        uint8_t position[3], places[PARTS][3];
        struct scan_part want[PARTS];
        struct scan_cursor back,
            c = {
                .cluster_id = 1 + rng_below(&rng, UINT64_MAX - 1),
                .read = any_read(&rng),
                .is_reverse = rng_below(&rng, 2) == 0,
                .is_keys_only = rng_below(&rng, 2) == 0,
                .end = rng_below(&rng, 2) == 0 ? slice_str("u") : (struct slice){0},
                .slots = (uint32_t)rng_below(&rng, PARTS + 1),
            };
        if (rng_below(&rng, 3) > 0)
            c.position = any_key(&rng, position);
        buf_clear(&parts);
        buf_clear(&out);
        for (uint32_t k = 0; k < scan_cursor_parts(&c); k++) {
            want[k] = (struct scan_part){.state = (enum scan_part_state)rng_below(&rng, 3)};
            if (want[k].state == SCAN_PART_AT)
                want[k].version = 1 + rng_below(&rng, UINT64_MAX - 1);
            if (rng_below(&rng, 3) == 0)
                want[k].place = any_key(&rng, places[k]);
            scan_part_append(&parts, &want[k]);
        }
        c.parts = buf_slice(&parts);
        scan_cursor_encode(&c, &out);
        assert_int_equal(scan_cursor_decode(buf_slice(&out), &back, NULL), 0);
        assert_same(&c, &back);
        struct reader r = reader_of(back.parts);
        for (uint32_t k = 0; k < scan_cursor_parts(&c); k++) {
            struct scan_part part = scan_part_next(&r);
            assert_true(part.state == want[k].state && part.version == want[k].version);
            assert_true(slice_equal(part.place, want[k].place));
        }
    }
    buf_fini(&parts);
    buf_fini(&out);
}

static void test_ahead(void **state)
{
    (void)state;
    struct scan_cursor up = {0}, down = {.is_reverse = true};
    struct slice a = slice_str("a"), b = slice_str("b"), none = {0};
    assert_true(scan_cursor_is_ahead(&up, b, a) && !scan_cursor_is_ahead(&up, a, b));
    assert_true(scan_cursor_is_ahead(&down, a, b) && !scan_cursor_is_ahead(&down, b, a));
    assert_false(scan_cursor_is_ahead(&up, a, a) || scan_cursor_is_ahead(&down, a, a));
    assert_true(scan_cursor_is_ahead(&up, a, none) && scan_cursor_is_ahead(&down, a, none));
    assert_false(scan_cursor_is_ahead(&up, none, a) || scan_cursor_is_ahead(&down, none, none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_every_byte_that_changes_is_seen),
        cmocka_unit_test(test_what_makes_no_sense),
        cmocka_unit_test(test_a_key_that_is_too_long),
        cmocka_unit_test(test_a_cursor_that_is_too_large),
        cmocka_unit_test(test_any),
        cmocka_unit_test(test_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
