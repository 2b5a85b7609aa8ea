/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdlib.h>

#include "wire/frame.h"
#include "wire/request.h"

#define S(text)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static struct request some_request(enum request_kind kind)
{
    return (struct request){.id = UINT64_MAX,
                            .trace_id = UINT64_MAX,
                            .range_id = UINT64_MAX,
                            .span_epoch = UINT64_MAX,
                            .timeout_ms = UINT32_MAX,
                            .kind = kind};
}

static int there_and_back(const struct request *in, struct request *out, struct buf *buf)
{
    buf_init(buf, FRAME_BODY_MAX);
    request_encode(buf, in);
    assert_false(buf->failed);
    return request_decode(buf_slice(buf), out, NULL);
}

/* What a kind has is empty, whatever was there. */
static void test_init(void **state)
{
    (void)state;
    struct request zero;
    for (unsigned kind = 1; kind <= REQUEST_KIND_LAST; kind++) {
        struct request r;
        memset(&r, 0xa5, sizeof r);
        request_init(&r, (enum request_kind)kind);
        zero = (struct request){.kind = (enum request_kind)kind};
        assert_true(r.id == 0 && r.kind == kind);
        r.id = zero.id = r.timeout_ms = zero.timeout_ms = 1;
        struct buf a, b;
        buf_init(&a, FRAME_BODY_MAX);
        buf_init(&b, FRAME_BODY_MAX);
        request_encode(&a, &r);
        request_encode(&b, &zero);
        assert_true(slice_equal(buf_slice(&a), buf_slice(&b)));
        buf_fini(&a);
        buf_fini(&b);
    }
}

static void test_head_of_all_kinds(void **state)
{
    (void)state;
    static const enum request_kind kinds[] = {REQUEST_STATUS, REQUEST_IDENTIFY,
                                              REQUEST_FLUSH,  REQUEST_STATS,
                                              REQUEST_SCAN,   REQUEST_TRANSFER_LEADER};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct request in = some_request(kinds[i]);
        struct request out;
        struct buf buf;
        assert_int_equal(there_and_back(&in, &out, &buf), 0);
        assert_true(out.id == in.id && out.trace_id == in.trace_id);
        assert_true(out.range_id == in.range_id && out.span_epoch == in.span_epoch);
        assert_true(out.timeout_ms == UINT32_MAX && out.kind == kinds[i]);
        assert_string_not_equal(request_kind_name(out.kind), "unknown");
        buf_fini(&buf);
    }
}

static void test_reads(void **state)
{
    (void)state;
    uint8_t key[KEY_WIRE_MAX] = {0};
    struct request in = some_request(REQUEST_SCAN);
    struct request out;
    struct buf buf;
    in.scan = (struct request_scan){
        .read = {.keyspace = UINT32_MAX, .consistency = READ_STALE, .max_age_ms = UINT64_MAX},
        .start = {key, sizeof key},
        .end = {key, sizeof key},
        .is_reverse = true,
        .is_keys_only = true,
        .limit_keys = UINT32_MAX,
        .limit_bytes = UINT32_MAX};
    assert_int_equal(there_and_back(&in, &out, &buf), 0);
    assert_true(out.scan.read.keyspace == UINT32_MAX && out.scan.read.max_age_ms == UINT64_MAX);
    assert_int_equal(out.scan.read.consistency, READ_STALE);
    assert_true(out.scan.is_reverse && out.scan.is_keys_only);
    assert_true(out.scan.limit_keys == UINT32_MAX && out.scan.limit_bytes == UINT32_MAX);
    assert_true(out.scan.start.len == sizeof key && out.scan.end.len == sizeof key);
    buf_fini(&buf);
    in = some_request(REQUEST_GET);
    in.get = (struct request_get){.read = {.consistency = READ_AT}, .key = slice_str("k")};
    assert_int_equal(there_and_back(&in, &out, &buf), ERR_INVALID); /* at what version? */
    buf_fini(&buf);
    in.get.read = (struct request_read){.at_version = 5};
    assert_int_equal(there_and_back(&in, &out, &buf), ERR_INVALID);
    buf_fini(&buf);
}

/* A request of that kind, decoded, moved with its body, is what it was when the first is gone. */
static void check_rebase(const struct request *in)
{
    struct request out;
    struct buf buf, again;
    assert_int_equal(there_and_back(in, &out, &buf), 0);
    uint8_t *copy = malloc(buf.len);
    memcpy(copy, buf.data, buf.len);
    request_rebase(&out, buf.data, copy);
    memset(buf.data, 0xee, buf.len);
    buf_init(&again, FRAME_BODY_MAX);
    request_encode(&again, &out);
    assert_true(slice_equal(buf_slice(&again), slice_of(copy, buf.len)));
    buf_fini(&again);
    buf_fini(&buf);
    free(copy);
}

static void test_rebase(void **state)
{
    (void)state;
    struct buf keys;
    buf_init(&keys, 1000);
    request_key_append(&keys, slice_str("one"));
    request_key_append(&keys, slice_str("another"));
    struct request in = some_request(REQUEST_GET);
    in.get.key = slice_str("key");
    check_rebase(&in);
    in = some_request(REQUEST_MULTI_GET);
    in.multi_get.keys = (struct pack_list){.count = 2, .raw = buf_slice(&keys)};
    check_rebase(&in);
    in = some_request(REQUEST_SCAN);
    in.scan.end = slice_str("to here"); /* from nowhere */
    check_rebase(&in);
    in = some_request(REQUEST_WATCH);
    in.watch.start = slice_str("a");
    in.watch.end = slice_str("b");
    check_rebase(&in);
    in = some_request(REQUEST_WRITE);
    in.write.command = slice_str("whatever");
    check_rebase(&in);
    buf_fini(&keys);
}

/* A command in two pieces is one on the wire. */
static void test_command_of_two_pieces(void **state)
{
    (void)state;
    static const struct request_write writes[] = {
        {.command = {(const uint8_t *)"whatever", 8}},
        {.command = {(const uint8_t *)"what", 4}, .rest = {(const uint8_t *)"ever", 4}},
        {.rest = {(const uint8_t *)"whatever", 8}},
    };
    for (size_t i = 0; i < ARRAY_LEN(writes); i++) {
        struct request in = some_request(REQUEST_WRITE);
        struct request out;
        struct buf buf;
        in.write = writes[i];
        assert_int_equal(there_and_back(&in, &out, &buf), 0);
        assert_true(slice_equal(out.write.command, slice_str("whatever")));
        assert_int_equal(out.write.rest.len, 0);
        buf_fini(&buf);
    }
}

static void test_watch(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct request_watch watch;
        int want;
    } cases[] = {
        {"everything from now on", {.is_from_now = true}, 0},
        {"everything there is", {.after = 0}, 0},
        {"a part", {.start = S("a"), .end = S("b"), .after = 5, .upto = 6}, 0},
        {"now and then", {.is_from_now = true, .after = 1}, ERR_INVALID},
        {"now and until", {.is_from_now = true, .upto = 1}, ERR_INVALID},
        {"known already", {.after = 6, .upto = 6}, ERR_INVALID},
        {"nothing", {.start = S("a"), .end = S("a")}, ERR_INVALID},
        {"upside down", {.start = S("b"), .end = S("a")}, ERR_INVALID},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request in = some_request(REQUEST_WATCH);
        struct request out = {0};
        struct buf buf;
        in.watch = cases[i].watch;
        in.watch.wait_ms = UINT32_MAX;
        in.watch.limit_bytes = UINT32_MAX;
        int rv = there_and_back(&in, &out, &buf);
        if (rv != cases[i].want)
            fail_msg("%s: %s", cases[i].name, err_name(rv));
        if (rv == 0) {
            assert_true(slice_equal(out.watch.start, in.watch.start));
            assert_true(slice_equal(out.watch.end, in.watch.end));
            assert_true(out.watch.after == in.watch.after && out.watch.upto == in.watch.upto);
            assert_true(out.watch.wait_ms == UINT32_MAX && out.watch.limit_bytes == UINT32_MAX);
            assert_true(out.watch.is_from_now == in.watch.is_from_now);
        }
        buf_fini(&buf);
    }
}

static void test_keys(void **state)
{
    (void)state;
    struct buf raw;
    struct buf buf;
    struct request out;
    buf_init(&raw, 1 << 20);
    for (uint32_t i = 0; i < REQUEST_KEYS_MAX; i++)
        request_key_append(&raw, slice_of(&i, sizeof i));
    struct request in = some_request(REQUEST_MULTI_GET);
    in.multi_get.keys = (struct pack_list){.count = REQUEST_KEYS_MAX, .raw = buf_slice(&raw)};
    assert_int_equal(there_and_back(&in, &out, &buf), 0);
    assert_int_equal(out.multi_get.keys.count, REQUEST_KEYS_MAX);
    struct unpack u = unpack_of(out.multi_get.keys.raw);
    for (uint32_t i = 0; i < REQUEST_KEYS_MAX; i++)
        assert_true(slice_equal(request_key_next(&u), slice_of(&i, sizeof i)));
    buf_fini(&buf);

    /* Lists that are none: with an empty key, with a number, without anything. */
    static const struct {
        uint8_t raw[4];
        size_t len;
        uint32_t count;
    } bad[] = {{{0xc4, 0}, 2, 1}, {{5}, 1, 1}, {{0xc4, 1, 'k', 5}, 4, 2}, {{0}, 0, 0}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        in.multi_get.keys =
            (struct pack_list){.count = bad[i].count, .raw = {bad[i].raw, bad[i].len}};
        assert_int_equal(there_and_back(&in, &out, &buf), ERR_INVALID);
        buf_fini(&buf);
    }
    buf_fini(&raw);
}

static void test_members(void **state)
{
    (void)state;
    struct request in = some_request(REQUEST_BOOTSTRAP);
    struct request out;
    struct buf buf;
    in.bootstrap = (struct request_bootstrap){.cluster_id = UINT64_MAX, .member_count = 1};
    in.bootstrap.members[0] = (struct member){
        .replica_id = 1, .store_id = 2, .role = MEMBER_VOTER, .address = slice_str("h:1")};
    assert_int_equal(there_and_back(&in, &out, &buf), 0);
    assert_true(out.bootstrap.cluster_id == UINT64_MAX && out.bootstrap.member_count == 1);
    assert_true(slice_equal(out.bootstrap.members[0].address, slice_str("h:1")));
    buf_fini(&buf);
    in.bootstrap.cluster_id = 0;
    assert_int_equal(there_and_back(&in, &out, &buf), ERR_INVALID);
    buf_fini(&buf);
    in = some_request(REQUEST_CHANGE_MEMBER);
    in.change_member = (struct request_change_member){.action = MEMBER_REMOVE, .replica_id = 3};
    assert_int_equal(there_and_back(&in, &out, &buf), 0);
    assert_true(out.change_member.action == MEMBER_REMOVE && out.change_member.replica_id == 3);
    buf_fini(&buf);
    in.change_member.replica_id = 0;
    assert_int_equal(there_and_back(&in, &out, &buf), ERR_INVALID);
    buf_fini(&buf);
}

static void test_split(void **state)
{
    (void)state;
    struct request in = some_request(REQUEST_SPLIT);
    struct request out;
    struct buf buf;
    in.split = (struct request_split){.key = slice_str("k"),
                                      .conf_epoch = UINT64_MAX,
                                      .new_range_id = 5,
                                      .child_count = DESCRIPTOR_MEMBERS_MAX};
    for (uint32_t i = 0; i < DESCRIPTOR_MEMBERS_MAX; i++)
        in.split.children[i] = (struct request_child){.store_id = i, .replica_id = UINT64_MAX - i};
    assert_int_equal(there_and_back(&in, &out, &buf), 0);
    assert_true(slice_equal(out.split.key, in.split.key) && out.split.conf_epoch == UINT64_MAX);
    assert_true(out.split.new_range_id == 5 && out.split.child_count == DESCRIPTOR_MEMBERS_MAX);
    assert_true(out.split.children[3].store_id == 3);
    assert_true(out.split.children[3].replica_id == UINT64_MAX - 3);
    buf_fini(&buf);
    in.split.child_count = 0;
    assert_int_equal(there_and_back(&in, &out, &buf), ERR_INVALID);
    buf_fini(&buf);
    in.split.child_count = 1;
    in.split.key.len = 0;
    assert_int_equal(there_and_back(&in, &out, &buf), ERR_INVALID);
    buf_fini(&buf);
}

static void test_merge(void **state)
{
    (void)state;
    struct request in = some_request(REQUEST_MERGE);
    struct request out;
    struct buf buf;
    in.merge = (struct request_merge){
        .conf_epoch = UINT64_MAX, .right_range = 5, .right_conf = 6, .right_span = 7};
    assert_int_equal(there_and_back(&in, &out, &buf), 0);
    assert_true(out.merge.conf_epoch == UINT64_MAX && out.merge.right_range == 5);
    assert_true(out.merge.right_conf == 6 && out.merge.right_span == 7);
    assert_false(request_is_read_only(&out));
    buf_fini(&buf);
    in.merge.right_range = 0;
    assert_int_equal(there_and_back(&in, &out, &buf), ERR_INVALID);
    buf_fini(&buf);
    in.merge.right_range = 5;
    in.span_epoch = 0;
    assert_int_equal(there_and_back(&in, &out, &buf), ERR_INVALID);
    buf_fini(&buf);
}

static void test_retain(void **state)
{
    (void)state;
    struct request in = some_request(REQUEST_RETAIN);
    struct request out;
    struct buf buf;
    in.retain = (struct request_retain){.conf_epoch = 6, .retention_ms = UINT64_MAX};
    assert_int_equal(there_and_back(&in, &out, &buf), 0);
    assert_true(out.retain.conf_epoch == 6 && out.retain.retention_ms == UINT64_MAX);
    assert_false(request_is_read_only(&out));
    buf_fini(&buf);
    in.retain.retention_ms = 0;
    assert_int_equal(there_and_back(&in, &out, &buf), ERR_INVALID);
    buf_fini(&buf);
    in.retain = (struct request_retain){.retention_ms = 1};
    assert_int_equal(there_and_back(&in, &out, &buf), ERR_INVALID);
    buf_fini(&buf);
}

static void test_check(void **state)
{
    (void)state;
    struct request in = some_request(REQUEST_CHECK_RESULT);
    struct request out;
    struct buf buf;
    in.check = (struct request_check){.range_id = UINT64_MAX, .index = UINT64_MAX};
    assert_int_equal(there_and_back(&in, &out, &buf), 0);
    assert_true(out.check.range_id == UINT64_MAX && out.check.index == UINT64_MAX);
    buf_fini(&buf);
    in.check.index = 0;
    assert_int_equal(there_and_back(&in, &out, &buf), ERR_INVALID);
    buf_fini(&buf);
    in.kind = REQUEST_CHECK_START;
    assert_int_equal(there_and_back(&in, &out, &buf), 0);
    buf_fini(&buf);
}

static const struct {
    const char *name;
    uint8_t raw[24];
    size_t len;
    int want;
} rows[] = {
    {"stats", {0x84, 0, 48, 1, 1, 5, 9, 6, 11}, 9, ERR_INVALID}, /* no detail */
    {"stats with detail", {0x85, 0, 48, 1, 1, 5, 9, 6, 11, 7, 0x80}, 11, 0},
    {"detail first", {0x85, 0, 48, 7, 0x80, 1, 1, 5, 9, 6, 11}, 11, 0},
    {"no id", {0x84, 0, 48, 5, 9, 6, 11, 7, 0x80}, 9, ERR_INVALID},
    {"no deadline", {0x84, 0, 48, 1, 1, 6, 11, 7, 0x80}, 9, ERR_INVALID},
    {"no kind", {0x84, 0, 48, 1, 1, 5, 9, 7, 0x80}, 9, ERR_INVALID},
    {"kind unknown", {0x85, 0, 48, 1, 1, 5, 9, 6, 60, 7, 0x80}, 11, ERR_CORRUPT},
    {"detail is no map", {0x85, 0, 48, 1, 1, 5, 9, 6, 11, 7, 0x90}, 11, ERR_CORRUPT},
    {"get of nothing", {0x85, 0, 48, 1, 1, 5, 9, 6, 2, 7, 0x80}, 11, ERR_INVALID},
    {"get", {0x85, 0, 48, 1, 1, 5, 9, 6, 2, 7, 0x81, 5, 0xc4, 1, 'k'}, 15, 0},
    {"get, key twice",
     {0x85, 0, 48, 1, 1, 5, 9, 6, 2, 7, 0x82, 5, 0xc4, 1, 'k', 5, 0xc4, 1, 'k'},
     19,
     ERR_CORRUPT},
    {"consistency unknown",
     {0x85, 0, 48, 1, 1, 5, 9, 6, 2, 7, 0x82, 2, 4, 5, 0xc4, 1, 'k'},
     17,
     ERR_CORRUPT},
    {"a response", {0x85, 0, 49, 1, 1, 5, 9, 6, 11, 7, 0x80}, 11, ERR_CORRUPT},
};

static void test_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct request out = {.id = 99};
        struct err err = {0};
        int rv = request_decode(slice_of(rows[i].raw, rows[i].len), &out, &err);
        if (rv != rows[i].want)
            fail_msg("%s: %s (%s)", rows[i].name, err_name(rv), err.msg);
        if (rv != 0)
            assert_int_equal(out.id, 99);
    }
}

static void test_which_only_read(void **state)
{
    (void)state;
    for (unsigned kind = 1; kind <= REQUEST_KIND_LAST; kind++) {
        bool want = kind == REQUEST_GET || kind == REQUEST_MULTI_GET || kind == REQUEST_SCAN ||
                    kind == REQUEST_STATUS || kind == REQUEST_IDENTIFY || kind == REQUEST_STATS ||
                    kind == REQUEST_CHECK_RESULT || kind == REQUEST_WATCH;
        struct request request;
        request_init(&request, (enum request_kind)kind);
        assert_int_equal(request_is_read_only(&request), want);
    }
    static const enum placement_verb changes[] = {
        VERB_SET,
        VERB_PAUSE,
        VERB_RESUME,
        VERB_DRAIN,
        VERB_UNDRAIN,
        VERB_DECOMMISSION,
        VERB_REMOVE_STORE,
        VERB_COMMAND,
        VERB_KEYSPACE_CREATE,
        VERB_KEYSPACE_ALTER,
        VERB_KEYSPACE_DROP,
        VERB_KEYSPACE_FORGET,
    };
    for (unsigned verb = 1; verb <= VERB_LAST; verb++) {
        struct request request;
        bool want = true;
        request_init(&request, REQUEST_PLACEMENT);
        request.placement.verb = (enum placement_verb)verb;
        for (size_t i = 0; i < ARRAY_LEN(changes); i++)
            want &= changes[i] != request.placement.verb;
        assert_int_equal(request_is_read_only(&request), want);
    }
    assert_string_equal(request_kind_name(0), "unknown");
    assert_string_equal(request_kind_name(REQUEST_KIND_LAST + 1), "unknown");
}

/* What cannot be read has a head all the same, if it is a request. */
static void test_head_of_what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t raw[24];
        size_t len;
        uint64_t want_id; /* 0: none */
        uint32_t want_kind;
        bool is_known;
    } cases[] = {
        {"kind 60", {0x85, 0, 48, 1, 7, 5, 9, 6, 60, 7, 0x80}, 11, 7, 60, false},
        {"kind 18", {0x85, 0, 48, 1, 7, 5, 9, 6, 18, 7, 0x80}, 11, 7, 18, false},
        {"kind 70000", {0x84, 0, 48, 6, 0xce, 0, 1, 0x11, 0x70, 1, 7, 5, 9}, 13, 7, 70000, false},
        {"consistency 9", {0x85, 0, 48, 1, 7, 5, 9, 6, 2, 7, 0x81, 2, 9}, 13, 7, 2, true},
        {"no deadline", {0x84, 0, 48, 1, 7, 6, 11, 7, 0x80}, 9, 7, 11, true},
        {"no kind", {0x84, 0, 48, 1, 7, 5, 9, 7, 0x80}, 9, 7, 0, false},
        {"no id", {0x84, 0, 48, 5, 9, 6, 60, 7, 0x80}, 9, 0, 0, false},
        {"torn", {0x85, 0, 48, 1, 7, 5, 9, 6, 60, 7}, 10, 0, 0, false},
        {"a tail", {0x84, 0, 48, 1, 7, 5, 9, 6, 60, 7}, 10, 0, 0, false},
        {"a response", {0x82, 0, 49, 1, 7}, 5, 0, 0, false},
        {"a large kind", {0x83, 0, 48, 1, 7, 6, 0xcf, 1, 0, 0, 0, 0, 0, 0, 0}, 15, 0, 0, false},
        {"nothing", {0}, 0, 0, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct request_head head = {.id = 99};
        struct request request;
        struct slice body = slice_of(cases[i].raw, cases[i].len);
        assert_int_not_equal(request_decode(body, &request, NULL), 0);
        bool is_read = request_head_decode(body, &head);
        if (is_read != (cases[i].want_id != 0))
            fail_msg("%s: %d", cases[i].name, is_read);
        assert_int_equal(head.id, is_read ? cases[i].want_id : 99);
        if (is_read)
            assert_int_equal(head.kind, cases[i].want_kind);
        assert_int_equal(is_read && request_kind_is_known(head.kind), cases[i].is_known);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_head_of_all_kinds),
        cmocka_unit_test(test_reads),
        cmocka_unit_test(test_rebase),
        cmocka_unit_test(test_command_of_two_pieces),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_retain),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_head_of_what_is_refused),
        cmocka_unit_test(test_which_only_read),
    };
    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
