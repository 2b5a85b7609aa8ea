/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdlib.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/rng.h"
#include "wire/frame.h"

static void frame_add(struct buf *buf, const void *body, size_t len, bool compress)
{
    size_t start = frame_begin(buf);
    buf_append(buf, body, len);
    frame_end(buf, start, compress);
    assert_false(buf->failed);
}

/* Feed `stream` in pieces of `step` bytes and expect `want` bodies in order. */
static void expect_bodies(struct slice stream, size_t step, const struct slice *want, size_t count)
{
    struct frame_reader reader;
    frame_reader_init(&reader, FRAME_BODY_MAX);
    size_t got = 0;
    for (size_t at = 0; at < stream.len; at += step) {
        size_t n = MIN(step, stream.len - at);
        uint8_t *piece = malloc(n);
        memcpy(piece, stream.data + at, n);
        frame_reader_feed(&reader, slice_of(piece, n));
        struct slice body;
        int rv;
        while ((rv = frame_reader_next(&reader, &body, NULL)) == 0) {
            assert_true(got < count);
            assert_true(slice_equal(body, want[got]));
            got++;
        }
        assert_int_equal(rv, ERR_SHORT);
        free(piece); /* nothing of it may be kept */
    }
    assert_int_equal(got, count);
    assert_int_equal(reader.partial.len, 0);
    frame_reader_fini(&reader);
}

static void test_stream_in_any_pieces(void **state)
{
    (void)state;
    uint8_t *zeroes = calloc(1, 300000);
    uint8_t *noise = malloc(50000);
    struct rng rng;
    rng_init(&rng, 1);
    rng_fill(&rng, noise, 50000);
    const struct slice bodies[] = {
        slice_str(""),          slice_str("a"),         slice_str("hello"),
        slice_of(zeroes, 4095), slice_of(zeroes, 4096), slice_of(zeroes, 300000),
        slice_of(noise, 50000), slice_of(noise, 4096),  slice_str("last"),
    };
    for (int compress = 0; compress < 2; compress++) {
        struct buf buf;
        buf_init(&buf, 10 << 20);
        for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
            frame_add(&buf, bodies[i].data, bodies[i].len, compress);
        static const size_t steps[] = {1, 2, 7, 8, 9, 10, 4096, 65536, 10 << 20};
        for (size_t i = 0; i < ARRAY_LEN(steps); i++)
            expect_bodies(buf_slice(&buf), steps[i], bodies, ARRAY_LEN(bodies));
        if (compress)
            assert_true(buf.len < 70000); /* zeroes shrank, noise did not */
        else
            assert_true(buf.len > 360000);
        buf_fini(&buf);
    }
    free(zeroes);
    free(noise);
}

static void test_compression_only_where_it_pays(void **state)
{
    (void)state;
    uint8_t *noise = malloc(100000);
    struct rng rng;
    rng_init(&rng, 2);
    rng_fill(&rng, noise, 100000);
    struct buf buf;
    buf_init(&buf, 1 << 20);
    frame_add(&buf, noise, 100000, true);
    assert_int_equal(buf.len, 100000 + FRAME_PREFIX_LEN);
    assert_int_equal(buf.data[8], 0);
    buf_clear(&buf);
    memset(noise, 'x', 100000);
    frame_add(&buf, noise, FRAME_LZ4_MIN - 1, true);
    assert_int_equal(buf.data[8], 0);
    buf_clear(&buf);
    frame_add(&buf, noise, FRAME_LZ4_MIN, true);
    assert_int_equal(buf.data[8], FRAME_LZ4);
    buf_fini(&buf);

    /* No room for the scratch space: it goes plain, and nothing fails. */
    buf_init(&buf, 100000 + FRAME_PREFIX_LEN);
    frame_add(&buf, noise, 100000, true);
    assert_int_equal(buf.data[8], 0);
    buf_fini(&buf);
    free(noise);
}

/* One frame of `len` times `byte` or of noise; was it compressed? */
static bool paced_add(struct frame_pace *pace, const uint8_t *body, size_t len)
{
    struct buf buf;
    buf_init(&buf, 1 << 20);
    size_t start = frame_begin(&buf);
    buf_append(&buf, body, len);
    frame_end_paced(&buf, start, pace);
    bool is_compressed = buf.data[8] == FRAME_LZ4;
    struct frame_reader reader;
    struct slice got;
    frame_reader_init(&reader, FRAME_BODY_MAX);
    frame_reader_feed(&reader, buf_slice(&buf));
    assert_int_equal(frame_reader_next(&reader, &got, NULL), 0);
    assert_true(slice_equal(got, slice_of(body, len)));
    frame_reader_fini(&reader);
    buf_fini(&buf);
    return is_compressed;
}

static void test_what_does_not_pay_is_tried_less_often(void **state)
{
    (void)state;
    enum { LEN = 2 * FRAME_LZ4_MIN };
    static uint8_t noise[LEN], plain[LEN];
    struct rng rng;
    struct frame_pace pace = {0};
    rng_init(&rng, 3);
    rng_fill(&rng, noise, LEN);
    assert_true(paced_add(&pace, plain, LEN));
    assert_true(paced_add(&pace, plain, LEN)); /* what pays is tried each time */
    for (uint32_t untried = 1; untried <= FRAME_UNTRIED_MAX; untried = 2 * untried + 1) {
        assert_false(paced_add(&pace, noise, LEN));
        for (uint32_t i = 0; i < untried; i++) {
            assert_false(paced_add(&pace, plain, FRAME_LZ4_MIN - 1)); /* too short to count */
            assert_false(paced_add(&pace, plain, LEN));
        }
    }
    assert_true(paced_add(&pace, plain, LEN)); /* and all is forgotten */
    assert_false(paced_add(&pace, noise, LEN));
    assert_false(paced_add(&pace, plain, LEN));
    assert_true(paced_add(&pace, plain, LEN));
}

static void test_failed_buf_is_left_alone(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 12);
    size_t start = frame_begin(&buf);
    buf_append_str(&buf, "too long for that");
    frame_end(&buf, start, true);
    assert_true(buf.failed);
    buf_fini(&buf);
}

/* Put the right checksum on a frame that was damaged on purpose. */
static void seal(struct buf *buf)
{
    put_u32(buf->data + 4, crc32c(0, buf->data + 8, buf->len - 8));
}

static int read_one(struct slice raw, size_t body_max, struct err *err)
{
    struct frame_reader reader;
    struct slice body = {0};
    frame_reader_init(&reader, body_max);
    frame_reader_feed(&reader, raw);
    int rv = frame_reader_next(&reader, &body, err);
    frame_reader_fini(&reader);
    return rv;
}

/* Each row damages one thing in a good frame of 10 bytes of body. */
static const struct {
    const char *name;
    size_t keep;   /* bytes handed to the reader */
    size_t offset; /* byte overwritten ... */
    uint8_t value; /* ... with this */
    bool seal;     /* with a right checksum */
    int want;
} damage[] = {
    {"untouched", 19, 18, '9', false, 0},
    {"nothing", 0, 0, 11, false, ERR_SHORT},
    {"one byte", 1, 0, 11, false, ERR_SHORT},
    {"header only", 8, 0, 11, false, ERR_SHORT},
    {"one byte short", 18, 0, 11, false, ERR_SHORT},
    {"length zero", 19, 0, 0, false, ERR_CORRUPT},
    {"length shorter", 19, 0, 10, false, ERR_CORRUPT},
    {"length longer", 19, 0, 12, false, ERR_SHORT},
    {"length over limit", 19, 1, 1, false, ERR_TOO_LARGE},
    {"length enormous", 8, 3, 0xff, false, ERR_TOO_LARGE},
    {"checksum", 19, 4, 0, false, ERR_CORRUPT},
    {"flags unknown", 19, 8, 2, true, ERR_CORRUPT},
    {"flags without seal", 19, 8, 1, false, ERR_CORRUPT},
    {"plain called LZ4", 19, 8, 1, true, ERR_TOO_LARGE}, /* "0123" as a length */
    {"body", 19, 12, 'x', false, ERR_CORRUPT},
};

static void test_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
        struct buf buf;
        struct err err = {0};
        buf_init(&buf, 100);
        frame_add(&buf, "0123456789", 10, false);
        buf.data[damage[i].offset] = damage[i].value;
        if (damage[i].seal)
            seal(&buf);
        int rv = read_one(slice_of(buf.data, damage[i].keep), 100, &err);
        if (rv != damage[i].want)
            fail_msg("%s: got %s (%s)", damage[i].name, err_name(rv), err.msg);
        buf_fini(&buf);
    }
}

/* An LZ4 body that lies about its raw length, or whose block is damaged. */
static void test_damaged_lz4(void **state)
{
    (void)state;
    static uint8_t zeroes[8192];
    static const struct {
        const char *name;
        uint32_t raw_len;
        int want;
    } rows[] = {
        {"right", 8192, 0},
        {"zero", 0, ERR_CORRUPT},
        {"one less", 8191, ERR_CORRUPT},
        {"one more", 8193, ERR_CORRUPT},
        {"far more than LZ4 can do", 9000000, ERR_CORRUPT},
        {"over the limit", 10000001, ERR_TOO_LARGE},
        {"enormous", UINT32_MAX, ERR_TOO_LARGE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf buf;
        struct err err = {0};
        buf_init(&buf, 100000);
        frame_add(&buf, zeroes, sizeof zeroes, true);
        put_u32(buf.data + FRAME_PREFIX_LEN, rows[i].raw_len);
        seal(&buf);
        int rv = read_one(buf_slice(&buf), 10000000, &err);
        if (rv != rows[i].want)
            fail_msg("%s: got %s (%s)", rows[i].name, err_name(rv), err.msg);
        buf_fini(&buf);
    }
    struct buf buf;
    buf_init(&buf, 100000);
    frame_add(&buf, zeroes, sizeof zeroes, true);
    for (size_t at = FRAME_PREFIX_LEN; at < buf.len; at++) {
        for (unsigned v = 0; v < 256; v++) {
            uint8_t good = buf.data[at];
            buf.data[at] = (uint8_t)v;
            seal(&buf);
            read_one(buf_slice(&buf), FRAME_BODY_MAX, NULL);
            buf.data[at] = good;
        }
    }
    buf_fini(&buf);
}

/* A header that claims much makes the reader keep no more than what arrived. */
static void test_claims_cost_nothing(void **state)
{
    (void)state;
    struct frame_reader reader;
    frame_reader_init(&reader, FRAME_BODY_MAX);
    uint8_t head[9] = {0};
    put_u32(head, FRAME_BODY_MAX);
    frame_reader_feed(&reader, slice_of(head, sizeof head));
    struct slice body;
    assert_int_equal(frame_reader_next(&reader, &body, NULL), ERR_SHORT);
    assert_true(reader.partial.cap <= 4096);
    frame_reader_fini(&reader);
}

static void test_limit_can_be_raised(void **state)
{
    (void)state;
    static uint8_t body[200];
    struct buf buf;
    buf_init(&buf, 1000);
    frame_add(&buf, body, 100, false);
    frame_add(&buf, body, 101, false);
    assert_int_equal(read_one(buf_slice(&buf), 99, NULL), ERR_TOO_LARGE);
    struct frame_reader reader;
    struct slice got;
    frame_reader_init(&reader, 100);
    frame_reader_feed(&reader, buf_slice(&buf));
    assert_int_equal(frame_reader_next(&reader, &got, NULL), 0);
    frame_reader_limit(&reader, 101);
    assert_int_equal(frame_reader_next(&reader, &got, NULL), 0);
    assert_int_equal(got.len, 101);
    assert_int_equal(frame_reader_next(&reader, &got, NULL), ERR_SHORT);
    frame_reader_fini(&reader);
    buf_fini(&buf);
}

static void test_what_was_fed_can_be_taken_back(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 1 << 20);
    frame_add(&buf, "one", 3, false);
    frame_add(&buf, "two", 3, false);
    size_t whole = buf.len;
    frame_add(&buf, "three", 5, false);
    struct frame_reader reader;
    struct slice body;
    frame_reader_init(&reader, FRAME_BODY_MAX);
    frame_reader_feed(&reader, slice_of(buf.data, whole + 4));
    assert_int_equal(frame_reader_next(&reader, &body, NULL), 0);
    struct slice rest = frame_reader_take_back(&reader);
    assert_true(slice_equal(body, slice_str("one")));
    assert_int_equal(rest.len, whole / 2 + 4);
    assert_int_equal(frame_reader_next(&reader, &body, NULL), ERR_SHORT);
    assert_int_equal(frame_reader_held(&reader), 0);

    frame_reader_feed(&reader, rest);
    assert_int_equal(frame_reader_next(&reader, &body, NULL), 0);
    assert_true(slice_equal(body, slice_str("two")));
    assert_int_equal(frame_reader_next(&reader, &body, NULL), ERR_SHORT);
    assert_int_equal(frame_reader_held(&reader), 4);
    frame_reader_feed(&reader, slice_of(buf.data + whole + 4, buf.len - whole - 4));
    assert_int_equal(frame_reader_next(&reader, &body, NULL), 0);
    assert_true(slice_equal(body, slice_str("three")));
    assert_int_equal(frame_reader_held(&reader), 0); /* complete */
    frame_reader_fini(&reader);
    buf_fini(&buf);
}

static void test_memory_is_given_back(void **state)
{
    enum { LEN = 20000, CAME = 1000 };
    (void)state;
    struct frame_reader reader;
    struct slice body;
    struct rng rng;
    struct buf buf;
    static uint8_t noise[LEN];
    rng_init(&rng, 3);
    rng_fill(&rng, noise, LEN);
    buf_init(&buf, 1 << 20);
    frame_add(&buf, (const char *)noise, LEN, false);
    frame_reader_init(&reader, FRAME_BODY_MAX);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(frame_reader_memory(&reader), 0);
        frame_reader_feed(&reader, slice_of(buf.data, CAME));
        assert_int_equal(frame_reader_next(&reader, &body, NULL), ERR_SHORT);
        assert_int_equal(frame_reader_held(&reader), CAME);
        assert_in_range(frame_reader_memory(&reader), CAME * 2, CAME * FRAME_AHEAD * 2);
        frame_reader_trim(&reader); /* not of one that is not complete */
        assert_int_equal(frame_reader_held(&reader), CAME);
        frame_reader_feed(&reader, slice_of(buf.data + CAME, buf.len - CAME));
        assert_int_equal(frame_reader_next(&reader, &body, NULL), 0);
        assert_true(slice_equal(body, slice_of(noise, LEN)));
        if (i > 0) /* before it is asked for more, too */
            assert_int_equal(frame_reader_next(&reader, &body, NULL), ERR_SHORT);
        assert_true(frame_reader_memory(&reader) >= LEN);
        frame_reader_trim(&reader);
    }
    frame_reader_fini(&reader);
    buf_fini(&buf);
}

/* A large frame has its room soon, in steps of what has come, and moves seldom. */
static void test_room_follows_what_comes(void **state)
{
    (void)state;
    enum { LEN = 1 << 20, STEP = 1000 };
    uint8_t *noise = malloc(LEN);
    struct rng rng;
    rng_init(&rng, 3);
    rng_fill(&rng, noise, LEN);
    struct buf buf;
    buf_init(&buf, 2 * LEN);
    frame_add(&buf, noise, LEN, false);
    struct frame_reader reader;
    struct slice body;
    frame_reader_init(&reader, FRAME_BODY_MAX);
    size_t grown = 0, cap = 0, at = 0;
    for (; buf.len - at > STEP; at += STEP) {
        frame_reader_feed(&reader, slice_of(buf.data + at, STEP));
        assert_int_equal(frame_reader_next(&reader, &body, NULL), ERR_SHORT);
        assert_true(reader.partial.cap <= MAX((at + STEP) * FRAME_AHEAD, (size_t)64));
        grown += reader.partial.cap != cap;
        cap = reader.partial.cap;
    }
    assert_true(grown <= 5);
    frame_reader_feed(&reader, slice_of(buf.data + at, buf.len - at));
    assert_int_equal(frame_reader_next(&reader, &body, NULL), 0);
    assert_true(slice_equal(body, slice_of(noise, LEN)));
    assert_true(reader.partial.cap < 2 * buf.len);
    assert_int_equal(frame_reader_next(&reader, &body, NULL), ERR_SHORT);
    assert_int_equal(reader.partial.cap, 0); /* given back */
    frame_reader_fini(&reader);
    buf_fini(&buf);
    free(noise);
}

/* Take `frames` in through the reader's own room where it offers one, else in pieces of up to
 * `piece` bytes. Returns the bytes that came to where they were to stand. */
static size_t take_in_place(struct slice frames, size_t piece, const struct slice *want,
                            size_t count)
{
    struct frame_reader reader;
    struct slice body;
    size_t placed = 0, got = 0;
    frame_reader_init(&reader, FRAME_BODY_MAX);
    for (size_t at = 0; at < frames.len;) {
        size_t n = 0;
        uint8_t *room = frame_reader_room(&reader, &n);
        uint8_t *other = NULL;
        if (room == NULL)
            room = other = malloc(n = piece);
        n = MIN(n, frames.len - at);
        memcpy(room, frames.data + at, n);
        placed += other == NULL ? n : 0;
        frame_reader_feed(&reader, slice_of(room, n));
        while (frame_reader_next(&reader, &body, NULL) == 0) {
            assert_true(got < count);
            assert_true(slice_equal(body, want[got]));
            got++;
        }
        at += n;
        free(other);
    }
    assert_int_equal(got, count);
    assert_int_equal(frame_reader_held(&reader), 0);
    frame_reader_fini(&reader);
    return placed;
}

static void test_large_frames_come_in_place(void **state)
{
    (void)state;
    enum { LEN = 1 << 20, PIECE = 100000 };
    uint8_t *noise = malloc(LEN);
    struct rng rng;
    rng_init(&rng, 5);
    rng_fill(&rng, noise, LEN);
    const struct slice want[] = {slice_of(noise, LEN), slice_str("small"),
                                 slice_of(noise, LEN - 7)};
    struct buf buf;
    buf_init(&buf, 3 * LEN);
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        frame_add(&buf, want[i].data, want[i].len, false);
    size_t placed = take_in_place(buf_slice(&buf), PIECE, want, ARRAY_LEN(want));
    assert_true(placed >= 2 * (size_t)(LEN - PIECE) - 100);
    /* From crumbs there is no room at first: a header alone is no reason for any. */
    placed = take_in_place(buf_slice(&buf), 100, want, ARRAY_LEN(want));
    assert_true(placed > LEN);
    frame_add(&buf, noise, 1000, false);
    assert_int_equal(take_in_place(slice_of(buf.data + buf.len - 1000 - FRAME_PREFIX_LEN,
                                            1000 + FRAME_PREFIX_LEN),
                                   100, &(struct slice){noise, 1000}, 1),
                     0);
    buf_fini(&buf);
    free(noise);
}

/* Who was offered a place may feed from elsewhere, in any pieces. */
static void test_room_need_not_be_used(void **state)
{
    (void)state;
    enum { LEN = 200000, HALF = LEN / 2 };
    uint8_t *noise = malloc(LEN);
    struct rng rng;
    rng_init(&rng, 6);
    rng_fill(&rng, noise, LEN);
    struct buf buf;
    buf_init(&buf, 2 * LEN);
    frame_add(&buf, noise, LEN, false);
    frame_add(&buf, "next", 4, false);
    struct frame_reader reader;
    struct slice body;
    size_t room = 0;
    frame_reader_init(&reader, FRAME_BODY_MAX);
    assert_null(frame_reader_room(&reader, &room));
    frame_reader_feed(&reader, slice_of(buf.data, HALF));
    assert_int_equal(frame_reader_next(&reader, &body, NULL), ERR_SHORT);
    assert_non_null(frame_reader_room(&reader, &room));
    assert_int_equal(room, LEN + FRAME_PREFIX_LEN - HALF);
    frame_reader_feed(&reader, slice_of(buf.data + HALF, buf.len - HALF));
    assert_int_equal(frame_reader_next(&reader, &body, NULL), 0);
    assert_true(slice_equal(body, slice_of(noise, LEN)));
    assert_int_equal(frame_reader_next(&reader, &body, NULL), 0);
    assert_true(slice_equal(body, slice_str("next")));
    assert_int_equal(frame_reader_next(&reader, &body, NULL), ERR_SHORT);
    assert_null(frame_reader_room(&reader, &room));
    frame_reader_fini(&reader);
    buf_fini(&buf);
    free(noise);
}

/* One who sends a large frame in crumbs has no more room for it than one who does not. */
static void test_room_of_crumbs(void **state)
{
    (void)state;
    enum { LEN = 8 << 20, FIRST = 64 << 10, STEP = 5000 };
    uint8_t *noise = malloc(LEN);
    struct rng rng;
    rng_init(&rng, 7);
    rng_fill(&rng, noise, LEN);
    struct buf buf;
    buf_init(&buf, 2 * LEN);
    frame_add(&buf, noise, LEN, false);
    struct frame_reader reader;
    struct slice body;
    frame_reader_init(&reader, FRAME_BODY_MAX);
    frame_reader_feed(&reader, slice_of(buf.data, FIRST));
    assert_int_equal(frame_reader_next(&reader, &body, NULL), ERR_SHORT);
    size_t placed = 0, at = FIRST;
    int rv = ERR_SHORT;
    while (rv == ERR_SHORT) {
        size_t room_len = 0, n = MIN(buf.len - at, (size_t)STEP);
        uint8_t *room = frame_reader_room(&reader, &room_len);
        assert_true(frame_reader_memory(&reader) <= at * FRAME_AHEAD);
        n = room == NULL ? n : MIN(n, room_len);
        if (room != NULL)
            memcpy(room, buf.data + at, n);
        placed += room != NULL ? n : 0;
        frame_reader_feed(&reader, slice_of(room != NULL ? room : buf.data + at, n));
        at += n;
        rv = frame_reader_next(&reader, &body, NULL);
    }
    assert_int_equal(rv, 0);
    assert_true(slice_equal(body, slice_of(noise, LEN)));
    assert_true(placed > LEN - 2 * FIRST);
    frame_reader_fini(&reader);
    buf_fini(&buf);
    free(noise);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_in_any_pieces),
        cmocka_unit_test(test_compression_only_where_it_pays),
        cmocka_unit_test(test_what_does_not_pay_is_tried_less_often),
        cmocka_unit_test(test_failed_buf_is_left_alone),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_damaged_lz4),
        cmocka_unit_test(test_claims_cost_nothing),
        cmocka_unit_test(test_limit_can_be_raised),
        cmocka_unit_test(test_what_was_fed_can_be_taken_back),
        cmocka_unit_test(test_room_follows_what_comes),
        cmocka_unit_test(test_large_frames_come_in_place),
        cmocka_unit_test(test_room_need_not_be_used),
        cmocka_unit_test(test_room_of_crumbs),
        cmocka_unit_test(test_memory_is_given_back),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
