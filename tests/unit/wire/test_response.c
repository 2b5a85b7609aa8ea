/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdlib.h>

#include "wire/frame.h"
#include "wire/response.h"

static int there_and_back(const struct response *in, struct response *out, struct buf *buf)
{
    buf_init(buf, FRAME_BODY_MAX);
    response_encode(buf, in);
    assert_false(buf->failed);
    return response_decode(buf_slice(buf), out, NULL);
}

/* What a kind has is empty, whatever was there. */
static void test_init(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind <= REQUEST_KIND_LAST; kind++) {
        struct response r;
        struct response zero = {.id = 1, .kind = (enum request_kind)kind};
        memset(&r, 0xa5, sizeof r);
        response_init(&r, (enum request_kind)kind);
        assert_true(r.id == 0 && r.kind == kind && r.status == 0);
        r.id = 1;
        struct buf a, b;
        buf_init(&a, FRAME_BODY_MAX);
        buf_init(&b, FRAME_BODY_MAX);
        response_encode(&a, &r);
        response_encode(&b, &zero);
        assert_true(slice_equal(buf_slice(&a), buf_slice(&b)));
        buf_fini(&a);
        buf_fini(&b);
    }
}

static void test_head(void **state)
{
    (void)state;
    char text[TEXT_MAX + 1];
    memset(text, 't', sizeof text);
    struct response in = {.id = UINT64_MAX,
                          .trace_id = UINT64_MAX,
                          .status = -26,
                          .retry_after_ms = UINT32_MAX,
                          .text = slice_of(text, sizeof text),
                          .leader = {UINT64_MAX, UINT64_MAX, slice_of(text, ADDRESS_MAX)}};
    struct response out;
    struct buf buf;
    assert_int_equal(there_and_back(&in, &out, &buf), 0);
    assert_true(out.id == UINT64_MAX && out.trace_id == UINT64_MAX && out.status == -26);
    assert_true(out.retry_after_ms == UINT32_MAX && out.text.len == TEXT_MAX);
    assert_true(out.leader.replica_id == UINT64_MAX && out.leader.store_id == UINT64_MAX);
    assert_int_equal(out.leader.address.len, ADDRESS_MAX);
    assert_true(response_peek_id(buf_slice(&buf)) == UINT64_MAX);
    assert_int_equal(response_peek_id(slice_of(buf.data, buf.len - 1)), 0);
    buf_fini(&buf);
}

static void test_rows(void **state)
{
    (void)state;
    enum { ROWS = 5000 };
    struct buf raw;
    struct buf buf;
    struct response out;
    buf_init(&raw, FRAME_BODY_MAX);
    for (uint32_t i = 0; i < ROWS; i++)
        row_append(&raw, &(struct row){.key = slice_of(&i, sizeof i),
                                       .value = slice_of(&i, i % 4),
                                       .version = UINT64_MAX - i,
                                       .ttl_ms = i});
    struct response in = {.id = 1, .kind = REQUEST_SCAN};
    in.rows = (struct response_rows){.rows = {ROWS, buf_slice(&raw)},
                                     .version = UINT64_MAX,
                                     .has_more = true,
                                     .cursor = slice_str("c")};
    assert_int_equal(there_and_back(&in, &out, &buf), 0);
    assert_true(out.rows.rows.count == ROWS && out.rows.version == UINT64_MAX);
    assert_true(out.rows.has_more && out.rows.cursor.len == 1);
    struct unpack u = unpack_of(out.rows.rows.raw);
    for (uint32_t i = 0; i < ROWS; i++) {
        struct row row;
        row_next(&u, &row);
        assert_true(slice_equal(row.key, slice_of(&i, sizeof i)));
        assert_true(row.value.len == i % 4 && row.version == UINT64_MAX - i && row.ttl_ms == i);
    }
    buf_fini(&buf);
    in.rows.cursor = (struct slice){0}; /* more, but from where? */
    assert_int_equal(there_and_back(&in, &out, &buf), ERR_CORRUPT);
    buf_fini(&buf);
    in.kind = REQUEST_GET; /* one key, many rows */
    in.rows.has_more = false;
    assert_int_equal(there_and_back(&in, &out, &buf), ERR_CORRUPT);
    buf_fini(&buf);
    buf_fini(&raw);
}

/* Nothing may stand outside what the answer says to be complete. */
#define S(text)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
static const struct {
    const char *name;
    struct change change;
    struct response_watch watch;
    int want;
} changes[] = {
    {"put", {CHANGE_PUT, S("k"), S("v"), 5, 9}, {.version = 5}, 0},
    {"put of nothing", {CHANGE_PUT, S("k"), {0}, 5, 0}, {.version = 5}, 0},
    {"delete", {CHANGE_DELETE, S("k"), {0}, 5, 0}, {.version = 5}, 0},
    {"later than complete", {CHANGE_PUT, S("k"), S("v"), 6, 0}, {.version = 5}, ERR_CORRUPT},
    {"no key", {CHANGE_PUT, {0}, S("v"), 5, 0}, {.version = 5}, ERR_CORRUPT},
    {"no version", {CHANGE_PUT, S("k"), S("v"), 0, 0}, {.version = 5}, ERR_CORRUPT},
    {"no kind", {0, S("k"), {0}, 5, 0}, {.version = 5}, ERR_CORRUPT},
    {"delete that expires", {CHANGE_DELETE, S("k"), {0}, 5, 9}, {.version = 5}, ERR_CORRUPT},
    {"before the cursor",
     {CHANGE_PUT, S("k"), S("v"), 5, 0},
     {.version = 5, .has_more = true, .cursor = S("l")},
     0},
    {"behind the cursor",
     {CHANGE_PUT, S("m"), S("v"), 5, 0},
     {.version = 5, .has_more = true, .cursor = S("l")},
     ERR_CORRUPT},
    {"at the cursor, up to there",
     {CHANGE_PUT, S("l"), S("v"), 3, 0},
     {.version = 5, .has_more = true, .cursor = S("l"), .cursor_version = 3},
     0},
    {"at the cursor, beyond",
     {CHANGE_PUT, S("l"), S("v"), 4, 0},
     {.version = 5, .has_more = true, .cursor = S("l"), .cursor_version = 3},
     ERR_CORRUPT},
    {"more, without a cursor",
     {CHANGE_PUT, S("k"), S("v"), 5, 0},
     {.version = 5, .has_more = true},
     ERR_CORRUPT},
    {"a cursor, without more",
     {CHANGE_PUT, S("k"), S("v"), 5, 0},
     {.version = 5, .cursor = S("l")},
     ERR_CORRUPT},
    {"the end of the range inside a key",
     {CHANGE_PUT, S("k"), S("v"), 5, 0},
     {.version = 5, .has_more = true, .is_range_end = true, .cursor = S("l"), .cursor_version = 1},
     ERR_CORRUPT},
};

static void test_changes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        struct buf raw, buf;
        struct change change;
        struct response out = {0};
        buf_init(&raw, 1000);
        change_append(&raw, &changes[i].change);
        struct response in = {.id = 1, .kind = REQUEST_WATCH, .watch = changes[i].watch};
        in.watch.changes = (struct pack_list){.count = 1, .raw = buf_slice(&raw)};
        in.watch.range_id = 7;
        int rv = there_and_back(&in, &out, &buf);
        if (rv != changes[i].want)
            fail_msg("%s: %s", changes[i].name, err_name(rv));
        if (rv == 0) {
            struct unpack u = unpack_of(out.watch.changes.raw);
            change_next(&u, &change);
            assert_int_equal(unpack_finish(&u, "changes", NULL), 0);
            assert_int_equal(change.kind, changes[i].change.kind);
            assert_true(slice_equal(change.key, changes[i].change.key));
            assert_true(slice_equal(change.value, changes[i].change.value));
            assert_true(change.version == changes[i].change.version);
            assert_true(change.expiry_ms == changes[i].change.expiry_ms);
            assert_true(out.watch.version == 5 && out.watch.range_id == 7);
            assert_true(out.watch.cursor_version == changes[i].watch.cursor_version);
        }
        buf_fini(&buf);
        buf_fini(&raw);
    }
}

static void test_stats(void **state)
{
    (void)state;
    struct buf raw;
    struct buf buf;
    struct response out;
    struct stat_item item;
    buf_init(&raw, 1000);
    stat_append_number(&raw, "zero", 0);
    stat_append_number(&raw, "most", UINT64_MAX);
    stat_append_text(&raw, "empty", (struct slice){0});
    struct response in = {.id = 1, .kind = REQUEST_STATS};
    in.stats.stats = (struct pack_list){.count = 3, .raw = buf_slice(&raw)};
    assert_int_equal(there_and_back(&in, &out, &buf), 0);
    struct unpack u = unpack_of(out.stats.stats.raw);
    stat_next(&u, &item);
    assert_true(!item.is_text && item.number == 0 && slice_equal(item.name, slice_str("zero")));
    stat_next(&u, &item);
    assert_true(!item.is_text && item.number == UINT64_MAX);
    stat_next(&u, &item);
    assert_true(item.is_text && item.text.len == 0);
    assert_int_equal(unpack_finish(&u, "stats", NULL), 0);
    buf_fini(&buf);
    buf_fini(&raw);
}

/* As many parts as may be; their order is the keys', and the last alone has no end. */
static void test_check_parts(void **state)
{
    (void)state;
    static const struct {
        const char *keys[3]; /* NULL: no end */
        int want;
    } lists[] = {
        {{"a", "b", NULL}, 0},           {{"b", "a", NULL}, ERR_CORRUPT},
        {{"a", "a", NULL}, ERR_CORRUPT}, {{"a", NULL, NULL}, ERR_CORRUPT},
        {{"a", "b", "c"}, ERR_CORRUPT},
    };
    struct response out;
    struct buf raw, buf;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        buf_init(&raw, 1000);
        for (size_t k = 0; k < 3; k++) {
            struct check_part part = {.keys = k};
            if (lists[i].keys[k] != NULL)
                part.last = slice_str(lists[i].keys[k]);
            check_part_append(&raw, &part);
        }
        struct response in = {.id = 1, .kind = REQUEST_CHECK_RESULT};
        in.check = (struct response_check){
            .index = 11, .state = CHECK_DONE, .parts = {3, buf_slice(&raw)}};
        assert_int_equal(there_and_back(&in, &out, &buf), lists[i].want);
        buf_fini(&buf);
        buf_fini(&raw);
    }
    buf_init(&raw, 10000);
    for (int i = 0; i < CHECK_PARTS_MAX; i++) {
        uint8_t key[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        struct check_part part = {.last = slice_of(key, sizeof key), .keys = UINT64_MAX};
        if (i == CHECK_PARTS_MAX - 1)
            part.last = (struct slice){0};
        check_part_append(&raw, &part);
    }
    struct response in = {.id = 1, .kind = REQUEST_CHECK_RESULT};
    in.check = (struct response_check){
        .index = UINT64_MAX, .state = CHECK_DONE, .parts = {CHECK_PARTS_MAX, buf_slice(&raw)}};
    assert_int_equal(there_and_back(&in, &out, &buf), 0);
    assert_int_equal(out.check.parts.count, CHECK_PARTS_MAX);
    struct unpack u = unpack_of(out.check.parts.raw);
    struct check_part part;
    check_part_next(&u, &part);
    assert_true(part.keys == UINT64_MAX && part.last.len == 2);
    buf_fini(&buf);
    buf_fini(&raw);
}

static const struct {
    const char *name;
    uint8_t raw[24];
    size_t len;
    int want;
} rows[] = {
    {"least", {0x82, 0, 49, 1, 1}, 5, 0},
    {"no id", {0x81, 0, 49}, 3, ERR_CORRUPT},
    {"kind without detail", {0x83, 0, 49, 1, 1, 9, 1}, 7, ERR_CORRUPT},
    {"detail without kind", {0x83, 0, 49, 1, 1, 10, 0x80}, 7, ERR_CORRUPT},
    {"write", {0x84, 0, 49, 1, 1, 9, 1, 10, 0x80}, 9, 0},
    {"status above 0", {0x83, 0, 49, 1, 1, 3, 1}, 7, ERR_CORRUPT},
    {"status of a later version", {0x83, 0, 49, 1, 1, 3, 0xd1, 0xff, 0x00}, 9, 0},
    {"get without a row", {0x84, 0, 49, 1, 1, 9, 2, 10, 0x80}, 9, ERR_CORRUPT},
    {"failed get without a row", {0x85, 0, 49, 1, 1, 3, 0xff, 9, 2, 10, 0x80}, 11, 0},
    {"get", {0x84, 0, 49, 1, 1, 9, 2, 10, 0x81, 1, 0x91, 0x80}, 12, 0},
    {"row is no map", {0x84, 0, 49, 1, 1, 9, 2, 10, 0x81, 1, 0x91, 5}, 12, ERR_CORRUPT},
    {"status without descriptor", {0x84, 0, 49, 1, 1, 9, 5, 10, 0x80}, 9, ERR_CORRUPT},
    {"check without state", {0x84, 0, 49, 1, 1, 9, 13, 10, 0x81, 3, 9}, 11, ERR_CORRUPT},
    {"check without index", {0x84, 0, 49, 1, 1, 9, 13, 10, 0x81, 5, 2}, 11, ERR_CORRUPT},
    {"check", {0x84, 0, 49, 1, 1, 9, 13, 10, 0x82, 3, 9, 5, 2}, 13, 0},
    {"check in no known state", {0x84, 0, 49, 1, 1, 9, 13, 10, 0x82, 3, 9, 5, 7}, 13, ERR_CORRUPT},
    {"a request", {0x82, 0, 48, 1, 1}, 5, ERR_CORRUPT},
};

static void test_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct response out = {.id = 99};
        struct err err = {0};
        int rv = response_decode(slice_of(rows[i].raw, rows[i].len), &out, &err);
        if (rv != rows[i].want)
            fail_msg("%s: %s (%s)", rows[i].name, err_name(rv), err.msg);
        if (rv != 0)
            assert_int_equal(out.id, 99);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),   cmocka_unit_test(test_head),
        cmocka_unit_test(test_rows),   cmocka_unit_test(test_changes),
        cmocka_unit_test(test_stats),  cmocka_unit_test(test_check_parts),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests_name("response", tests, NULL, NULL);
}
