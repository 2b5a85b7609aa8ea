/* SPDX-License-Identifier: Apache-2.0 */
/* How far a watch has come: pages, neighbours, tokens; and against a model. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "client/progress.h"
#include "wire/request.h"

enum { KEYS = 16 };

/* "a" … "p"; the one behind the last is the end of all. */
static struct slice key_at(int i)
{
    static const char names[] = "abcdefghijklmnop";
    return i < KEYS ? slice_of(names + i, 1) : slice_of(NULL, 0);
}

static void print(const struct progress *p, char *out, size_t size)
{
    size_t at = 0;
    out[0] = 0;
    for (size_t i = 0; i < p->count && at < size; i++) {
        struct slice start = progress_start(p, i);
        at += (size_t)snprintf(out + at, size - at, "%.*s:%llu/%llu%s ", (int)start.len,
                               (const char *)start.data, (unsigned long long)p->pieces[i].version,
                               (unsigned long long)p->pieces[i].range_id,
                               p->pieces[i].is_busy ? "*" : "");
    }
}

static void expect(const struct progress *p, const char *want)
{
    char text[512];
    print(p, text, sizeof text);
    progress_check(p);
    assert_string_equal(text, want);
}

static int page(struct progress *p, const char *start, const char *end, uint64_t version,
                uint64_t range_id, const char *cursor, uint64_t cursor_version, bool is_range_end)
{
    struct response_watch w = {
        .version = version,
        .range_id = range_id,
        .has_more = cursor[0] != 0,
        .cursor = slice_str(cursor),
        .cursor_version = cursor_version,
        .is_range_end = is_range_end,
    };
    return progress_page(p, slice_str(start), slice_str(end), &w);
}

static void test_pages(void **state)
{
    (void)state;
    struct progress p;
    assert_int_equal(progress_init(&p, 0, slice_str("a"), slice_str("z"), 5, false), 0);
    expect(&p, "a:5/0 ");
    assert_int_equal(page(&p, "a", "z", 9, 1, "m", 0, true), 0); /* the range ends */
    expect(&p, "a:9/1 m:5/0 ");
    assert_int_equal(page(&p, "m", "z", 7, 2, "", 0, false), 0);
    expect(&p, "a:9/1 m:7/2 ");
    assert_true(progress_mark(&p) == 7);
    assert_int_equal(page(&p, "a", "m", 12, 1, "c", 10, false), 0); /* cut inside "c" */
    assert_int_equal(p.count, 4);
    assert_true(progress_mark(&p) == 7);
    expect(&p, "a:12/1 c:10/1 c:9/1 m:7/2 "); /* the third begins behind "c" */
    progress_fini(&p);
}

/* Pieces of one range that stand alike become one. */
static void test_joins(void **state)
{
    (void)state;
    struct progress p;
    assert_int_equal(progress_init(&p, 0, slice_str(""), slice_str(""), 5, false), 0);
    assert_int_equal(page(&p, "", "", 9, 1, "m", 0, false), 0);
    expect(&p, ":9/1 m:5/1 ");
    assert_true(progress_upto(&p, 1) == 9 && progress_upto(&p, 0) == 0);
    assert_false(progress_may_ask(&p, 0, false)); /* "m" is to catch up */
    assert_true(progress_may_ask(&p, 1, false));
    p.pieces[1].is_busy = true;
    p.pieces[1].upto = 9;
    assert_false(progress_may_ask(&p, 0, false));
    assert_int_equal(page(&p, "m", "", 9, 1, "", 0, false), 0);
    expect(&p, ":9/1 ");
    assert_int_equal(page(&p, "", "", 9, 1, "m", 0, true), 0); /* split: nothing is new */
    expect(&p, ":9/1 m:9/0 ");
    assert_int_equal(page(&p, "m", "", 9, 2, "", 0, false), 0);
    expect(&p, ":9/1 m:9/2 "); /* alike, but not in one range */
    p.pieces[0].is_busy = true;
    assert_int_equal(page(&p, "m", "", 9, 1, "", 0, false), 0); /* merged */
    expect(&p, ":9/1* m:9/1 ");
    assert_true(progress_may_ask(&p, 1, false));
    assert_false(progress_may_ask(&p, 1, true));
    progress_release(&p, 0, 77, true);
    assert_true(progress_lost_us(&p) == 77);
    assert_int_equal(page(&p, "m", "", 11, 1, "", 0, false), 0);
    expect(&p, ":9/1 m:11/1 ");
    assert_true(progress_upto(&p, 0) == 11);
    assert_true(progress_lost_us(&p) == 77); /* what came was of the other */
    assert_int_equal(page(&p, "", "m", 11, 1, "", 0, false), 0);
    expect(&p, ":11/1 ");
    assert_true(progress_lost_us(&p) == 0);
    progress_fini(&p);
}

static void test_from_now(void **state)
{
    (void)state;
    struct progress p;
    assert_int_equal(progress_init(&p, 0, slice_str("a"), slice_str(""), 0, true), 0);
    assert_true(progress_mark(&p) == 0);
    assert_int_equal(page(&p, "a", "", 70, 1, "m", 0, true), 0);
    assert_true(progress_mark(&p) == 0 && p.pieces[1].is_from_now);
    assert_int_equal(page(&p, "m", "", 60, 2, "", 0, false), 0); /* that range's now */
    assert_true(progress_mark(&p) == 60 && !p.pieces[1].is_from_now);
    progress_fini(&p);
}

/* What a store may not say. */
static void test_refused(void **state)
{
    (void)state;
    struct progress p;
    assert_int_equal(progress_init(&p, 0, slice_str("b"), slice_str("b"), 0, false), ERR_INVALID);
    assert_int_equal(progress_init(&p, 0, slice_str("c"), slice_str("b"), 0, false), ERR_INVALID);
    assert_int_equal(progress_init(&p, 0, slice_str("b"), slice_str("m"), 5, false), 0);
    assert_int_equal(page(&p, "b", "m", 9, 1, "a", 0, false), ERR_INVALID); /* below */
    assert_int_equal(page(&p, "b", "m", 9, 1, "n", 0, false), ERR_INVALID); /* beyond */
    assert_int_equal(page(&p, "b", "m", 9, 1, "m", 8, false), ERR_INVALID);
    assert_int_equal(page(&p, "b", "m", 4, 1, "", 0, false), ERR_INVALID); /* backwards */
    expect(&p, "b:5/0 ");
    assert_int_equal(page(&p, "b", "m", 9, 1, "b", 6, false), 0); /* at once inside a key */
    assert_int_equal(p.count, 2);
    progress_fini(&p);
}

/* As many pieces as there may be but one, where a page would need two more: it is not taken in
 * half. */
static void test_full(void **state)
{
    (void)state;
    struct progress p;
    char at[8] = "", next[8];
    assert_int_equal(progress_init(&p, 0, slice_str(""), slice_str(""), 5, false), 0);
    for (unsigned i = 1; i + 1 < PROGRESS_PIECES_MAX; i++) {
        snprintf(next, sizeof next, "%05u", i);
        assert_int_equal(page(&p, at, "", 6, i, next, 0, true), 0);
        memcpy(at, next, sizeof at);
    }
    assert_int_equal(p.count, PROGRESS_PIECES_MAX - 1);
    assert_int_equal(progress_mark(&p), 5); /* of the last piece, from `at` on */
    assert_int_equal(page(&p, at, "", 7, 99999, "x", 6, false), ERR_TOO_LARGE);
    progress_check(&p);
    for (size_t i = progress_find(&p, slice_str(at)); i < p.count; i++)
        assert_int_equal(p.pieces[i].version, 5);
    progress_fini(&p);
}

static void test_keys(void **state)
{
    (void)state;
    uint8_t out[KEY_WIRE_MAX], longest[KEY_WIRE_MAX];
    assert_int_equal(progress_key_behind(slice_str("a"), out), 2);
    assert_memory_equal(out, "a\0", 2);
    memset(longest, 0xff, sizeof longest);
    assert_int_equal(progress_key_behind(slice_of(longest, sizeof longest), out), 0);
    longest[7] = 3;
    assert_int_equal(progress_key_behind(slice_of(longest, sizeof longest), out), 8);
    assert_int_equal(out[7], 4);
    assert_int_equal(progress_prefix_end(slice_str("ab"), out), 2);
    assert_memory_equal(out, "ac", 2);
    assert_int_equal(progress_prefix_end(slice_str("a\xff\xff"), out), 1);
    assert_int_equal(progress_prefix_end(slice_str("\xff"), out), 0);
    assert_int_equal(progress_prefix_end(slice_str(""), out), 0);
}

static void test_token(void **state)
{
    (void)state;
    struct progress p, q;
    struct buf token;
    struct err err = {0};
    assert_int_equal(progress_init(&p, 7, slice_str("a"), slice_str("z"), 5, false), 0);
    assert_int_equal(page(&p, "a", "z", 9, 1, "m", 0, true), 0);
    p.pieces[0].is_busy = true;
    buf_init(&token, PROGRESS_TOKEN_MAX);
    progress_encode(&p, &token);
    assert_false(token.failed);
    assert_int_equal(progress_decode(&q, buf_slice(&token), NULL), 0);
    assert_int_equal(q.keyspace, 7);
    expect(&q, "a:9/0 m:5/0 "); /* ranges and requests are not for ever */
    assert_true(slice_equal(progress_end(&q, 1), slice_str("z")));
    progress_raise(&q, 7); /* what is behind is given up, what is ahead is not */
    expect(&q, "a:9/0 m:7/0 ");
    progress_fini(&q);
    for (size_t len = 0; len < token.len; len++)
        assert_int_equal(progress_decode(&q, slice_of(token.data, len), &err), ERR_CORRUPT);
    for (size_t i = 0; i < token.len; i++) {
        token.data[i] ^= 0x10;
        assert_int_not_equal(progress_decode(&q, buf_slice(&token), &err), 0);
        token.data[i] ^= 0x10;
    }
    buf_fini(&token);
    progress_fini(&p);
}

/* Random pages against what is known of each key; a copy that gets the same pages later is
 * never ahead and ends alike. */
static void one_run(uint64_t seed)
{
    struct progress p, copy;
    struct rng rng;
    uint64_t model[KEYS];
    rng_init(&rng, seed);
    assert_int_equal(progress_init(&p, 0, key_at(0), slice_of(NULL, 0), 1, false), 0);
    assert_int_equal(progress_init(&copy, 0, key_at(0), slice_of(NULL, 0), 1, false), 0);
    for (int i = 0; i < KEYS; i++)
        model[i] = 1;
    for (int round = 0; round < 300; round++) {
        size_t piece = rng_below(&rng, p.count);
        struct slice start = progress_start(&p, piece), end = progress_end(&p, piece);
        if (start.len > 1 || end.len > 1) { /* behind a key: nothing lives in between */
            struct response_watch w = {.version = p.pieces[piece].version + 1, .range_id = 1};
            uint8_t from[8], to[8];
            memcpy(from, start.data, start.len);
            memcpy(to, end.data, end.len);
            struct slice s = slice_of(from, start.len), e = slice_of(to, end.len);
            for (int i = 0; i < KEYS; i++) {
                if (slice_compare(s, key_at(i)) <= 0 &&
                    (e.len == 0 || slice_compare(key_at(i), e) < 0))
                    model[i] = w.version;
            }
            assert_int_equal(progress_page(&p, s, e, &w), 0);
            assert_int_equal(progress_page(&copy, s, e, &w), 0);
            continue;
        }
        int first = start.data[0] - 'a', last = end.len == 0 ? KEYS : end.data[0] - 'a';
        int cursor = first + (int)rng_below(&rng, (uint64_t)(last - first) + 1);
        uint64_t version = p.pieces[piece].version + rng_below(&rng, 3);
        struct response_watch w = {.version = version, .range_id = 1 + rng_below(&rng, 2)};
        if (cursor < last) {
            w.has_more = true;
            w.cursor = key_at(cursor);
            w.is_range_end = rng_below(&rng, 2) == 0;
            if (!w.is_range_end && version > p.pieces[piece].version)
                w.cursor_version = p.pieces[piece].version + 1;
        }
        for (int i = first; i < cursor; i++)
            model[i] = version;
        if (w.cursor_version > 0)
            model[cursor] = w.cursor_version;
        struct slice s = key_at(first), e = key_at(last);
        assert_int_equal(progress_page(&p, s, e, &w), 0);
        assert_int_equal(progress_page(&copy, s, e, &w), 0);
        progress_check(&p);
        for (int i = 0; i < KEYS; i++) {
            for (int which = 0; which < 2; which++) {
                const struct progress *one = which == 0 ? &p : &copy;
                size_t at = 0;
                while (at + 1 < one->count &&
                       slice_compare(progress_start(one, at + 1), key_at(i)) <= 0)
                    at++;
                assert_true(one->pieces[at].version == model[i]);
            }
        }
    }
    progress_fini(&p);
    progress_fini(&copy);
}

static void test_against_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++)
        one_run(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),    cmocka_unit_test(test_joins),
        cmocka_unit_test(test_from_now), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_full),     cmocka_unit_test(test_keys),
        cmocka_unit_test(test_token),    cmocka_unit_test(test_against_model),
    };
    return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
