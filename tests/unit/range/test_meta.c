/* SPDX-License-Identifier: Apache-2.0
 *
 * Descriptor and meta record: what comes out is what went in, and nothing that was
 * cut, stretched or bent comes out at all.
 */
#include "support/check.h"

#include "base/coding.h"
#include "base/rng.h"
#include "range/meta.h"

static const struct range_replica three[] = {
    {11, 1, RANGE_ROLE_VOTER}, {UINT64_MAX, 2, RANGE_ROLE_VOTER}, {13, 3, RANGE_ROLE_LEARNER}};

struct sessions_row {
    uint64_t session, sequence, lowest, used_ms;
};

static void put_rows(struct sessions *table, const struct sessions_row *rows, size_t count)
{
    struct session_stage stage;
    struct arena arena;
    arena_init(&arena, 4096, 1 << 20);
    session_stage_begin(&stage, &arena);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(session_stage_add(&stage, rows[i].session, rows[i].sequence,
                                           rows[i].lowest, slice_str("done")),
                         0);
        assert_int_equal(session_stage_reserve(&stage, table), 0);
        session_stage_commit(&stage, table, rows[i].used_ms);
    }
    arena_fini(&arena);
}

static void make_meta(struct range_meta *m)
{
    struct range_span span = {slice_str("\x02"), slice_str("\x03")};
    struct range_epoch epoch = {4, 5};
    range_meta_init(m);
    m->applied_index = 100;
    m->applied_term = 7;
    m->time_ms = RANGE_TIME_MAX;
    m->last_version = UINT64_MAX;
    m->safe_version = 12345;
    m->retention_ms = 600000;
    m->floor_ms = 1;
    m->history_hash = UINT64_C(0x0123456789abcdef);
    m->conf_index = 99;
    assert_int_equal(range_descriptor_init(&m->descriptor, 2, epoch, span, three, 3, NULL), 0);
    buf_append_str(&m->conf, "configuration");
    const struct sessions_row rows[] = {{.session = 9, .sequence = 3, .lowest = 2, .used_ms = 5}};
    put_rows(&m->sessions, rows, ARRAY_LEN(rows));
}

static void encode(const struct range_meta *m, struct buf *out)
{
    buf_init(out, RANGE_META_MAX);
    range_meta_encode(m, out);
    assert_false(out->failed);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct range_meta m, got, copy;
    struct buf raw, again;
    make_meta(&m);
    encode(&m, &raw);
    range_meta_init(&got);
    range_meta_init(&copy);
    assert_int_equal(range_meta_decode(buf_slice(&raw), &got, NULL), 0);
    assert_int_equal(range_meta_copy(&copy, &got), 0);
    encode(&copy, &again);
    assert_true(slice_equal(buf_slice(&raw), buf_slice(&again)));
    assert_true(got.applied_index == 100 && got.applied_term == 7 && got.conf_index == 99);
    assert_true(got.time_ms == RANGE_TIME_MAX && got.last_version == UINT64_MAX);
    assert_true(got.safe_version == 12345 && got.retention_ms == 600000 && got.floor_ms == 1);
    assert_true(got.history_hash == UINT64_C(0x0123456789abcdef));
    assert_true(range_descriptor_equal(&got.descriptor, &m.descriptor));
    assert_true(slice_equal(buf_slice(&got.conf), slice_str("configuration")));
    struct slice result;
    assert_int_equal(sessions_find(&got.sessions, 9, 3, &result), SESSION_REPEAT);
    assert_true(slice_equal(result, slice_str("done")));
    buf_fini(&raw);
    buf_fini(&again);
    range_meta_fini(&m);
    range_meta_fini(&got);
    range_meta_fini(&copy);
}

static void expect(struct slice raw, int want, const char *what)
{
    struct range_meta got;
    struct err err = {0};
    range_meta_init(&got);
    int rv = range_meta_decode(raw, &got, &err);
    if (rv != want)
        fail_msg("%s: %d (%s), want %d", what, rv, err.msg, want);
    if (rv != 0)
        assert_true(got.descriptor.start == NULL && got.applied_index == 0);
    range_meta_fini(&got);
}

static void test_every_cut(void **state)
{
    (void)state;
    struct range_meta m;
    struct buf raw;
    make_meta(&m);
    encode(&m, &raw);
    for (size_t n = 0; n < raw.len; n++)
        expect(slice_of(raw.data, n), ERR_CORRUPT, "cut");
    expect(buf_slice(&raw), 0, "whole");
    buf_append_u8(&raw, 0);
    expect(buf_slice(&raw), ERR_CORRUPT, "a byte behind it");
    buf_fini(&raw);
    range_meta_fini(&m);
}

/* Each format carries what those before it do; a record is of the least that can hold it. */
static void test_formats(void **state)
{
    (void)state;
    static const struct merge_outcome outcome = {.attempt = 5, .right_range = 6};
    for (unsigned what = 0; what < 4; what++) {
        struct range_meta m, got, copy;
        struct buf raw;
        make_meta(&m);
        if ((what & 1) != 0)
            assert_int_equal(merges_add(&m.merges, &outcome), 0);
        if ((what & 2) != 0)
            assert_int_equal(seams_add(&m.seams, slice_str("\x02k"), 12346), 0);
        encode(&m, &raw);
        assert_int_equal(raw.data[0], (what & 2) != 0 ? 3 : what + 1);
        range_meta_init(&got);
        range_meta_init(&copy);
        assert_int_equal(range_meta_decode(buf_slice(&raw), &got, NULL), 0);
        assert_int_equal(range_meta_copy(&copy, &got), 0);
        assert_int_equal(copy.merges.count, what & 1);
        assert_int_equal(copy.seams.count, what >> 1);
        if ((what & 2) != 0)
            assert_true(seams_least_at(&copy.seams, slice_str("\x02k")) == 12346);
        for (size_t n = 0; n < raw.len; n++)
            expect(slice_of(raw.data, n), ERR_CORRUPT, "cut");
        buf_fini(&raw);
        range_meta_fini(&m);
        range_meta_fini(&got);
        range_meta_fini(&copy);
    }
}

/* Each row writes a 64-bit number into a good record. */
static const struct {
    const char *name;
    size_t offset;
    uint64_t value;
    int want;
} damage[] = {
    {"applied index 0", 1, 0, ERR_CORRUPT},
    {"applied term 0", 9, 0, ERR_CORRUPT},
    {"time out of bounds", 17, RANGE_TIME_MAX + 1, ERR_CORRUPT},
    {"safe point above last version", 33, UINT64_MAX, 0}, /* last_version is that, too */
    {"last version below safe point", 25, 12343, ERR_CORRUPT},
    {"last version just below it", 25, 12344, 0},
    {"configuration from beyond", 65, 101, ERR_CORRUPT},
    {"configuration at applied", 65, 100, 0},
};

static void test_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
        struct range_meta m;
        struct buf raw;
        make_meta(&m);
        encode(&m, &raw);
        put_u64(raw.data + damage[i].offset, damage[i].value);
        expect(buf_slice(&raw), damage[i].want, damage[i].name);
        raw.data[0] = 4;
        expect(buf_slice(&raw), ERR_UNSUPPORTED, "later format");
        buf_fini(&raw);
        range_meta_fini(&m);
    }
}

/* Any bytes: an error or a record that passes its own check. */
static void test_mutations(void **state)
{
    (void)state;
    struct rng rng;
    struct range_meta m;
    struct buf raw;
    rng_init(&rng, 42);
    make_meta(&m);
    encode(&m, &raw);
    for (int i = 0; i < 20000; i++) {
        struct range_meta got;
        size_t at = rng_below(&rng, raw.len);
        uint8_t was = raw.data[at];
        raw.data[at] = (uint8_t)rng_u64(&rng);
        range_meta_init(&got);
        if (range_meta_decode(buf_slice(&raw), &got, NULL) == 0)
            range_meta_check(&got);
        range_meta_fini(&got);
        raw.data[at] = was;
    }
    buf_fini(&raw);
    range_meta_fini(&m);
}

static const struct {
    const char *name;
    uint64_t range_id;
    struct range_epoch epoch;
    const char *start, *end;
    struct range_replica replicas[2];
    size_t count;
    int want;
} descriptors[] = {
    {"good", 2, {1, 1}, "a", "b", {{1, 1, 1}, {2, 2, 2}}, 2, 0},
    {"no replica", 2, {1, 1}, "", "b", {{0}}, 0, 0},
    {"range 0", 0, {1, 1}, "a", "b", {{1, 1, 1}}, 1, ERR_INVALID},
    {"conf epoch 0", 2, {0, 1}, "a", "b", {{1, 1, 1}}, 1, ERR_INVALID},
    {"span epoch 0", 2, {1, 0}, "a", "b", {{1, 1, 1}}, 1, ERR_INVALID},
    {"empty span", 2, {1, 1}, "a", "a", {{1, 1, 1}}, 1, ERR_INVALID},
    {"upside down", 2, {1, 1}, "b", "a", {{1, 1, 1}}, 1, ERR_INVALID},
    {"replica 0", 2, {1, 1}, "a", "b", {{0, 1, 1}}, 1, ERR_INVALID},
    {"store 0", 2, {1, 1}, "a", "b", {{1, 0, 1}}, 1, ERR_INVALID},
    {"no role", 2, {1, 1}, "a", "b", {{1, 1, 0}}, 1, ERR_INVALID},
    {"unknown role", 2, {1, 1}, "a", "b", {{1, 1, 3}}, 1, ERR_INVALID},
    {"replica twice", 2, {1, 1}, "a", "b", {{1, 1, 1}, {1, 2, 1}}, 2, ERR_INVALID},
    {"store twice", 2, {1, 1}, "a", "b", {{1, 1, 1}, {2, 1, 1}}, 2, ERR_INVALID},
};

static void test_descriptor_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(descriptors); i++) {
        struct range_descriptor d = {0};
        struct range_span span = {slice_str(descriptors[i].start), slice_str(descriptors[i].end)};
        int rv = range_descriptor_init(&d, descriptors[i].range_id, descriptors[i].epoch, span,
                                       descriptors[i].replicas, descriptors[i].count, NULL);
        if (rv != descriptors[i].want)
            fail_msg("%s: %d", descriptors[i].name, rv);
        range_descriptor_fini(&d);
    }
}

static void test_descriptor_find(void **state)
{
    (void)state;
    struct range_meta m;
    make_meta(&m);
    assert_true(range_descriptor_find(&m.descriptor, 13)->store_id == 3);
    assert_null(range_descriptor_find(&m.descriptor, 12));
    assert_int_equal(range_descriptor_set_replicas(&m.descriptor, 5, three, 1, NULL), 0);
    assert_null(range_descriptor_find(&m.descriptor, 13));
    assert_true(m.descriptor.epoch.conf == 5);
    range_meta_fini(&m);
}

static void test_local_keys(void **state)
{
    (void)state;
    uint8_t key[RANGE_LOCAL_KEY_LEN], bounds[2 * RANGE_LOCAL_KEY_LEN];
    uint64_t id = 0;
    static const uint64_t ids[] = {1, 255, 256, UINT64_MAX - 1};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        range_meta_key(ids[i], key);
        assert_true(range_meta_key_parse(slice_of(key, sizeof key), &id));
        assert_true(id == ids[i]);
        assert_true(
            range_span_contains(range_local_span(ids[i], bounds), slice_of(key, sizeof key)));
        if (ids[i] > 1)
            assert_false(range_span_contains(range_local_span(ids[i] - 1, bounds),
                                             slice_of(key, sizeof key)));
        assert_false(range_meta_key_parse(slice_of(key, sizeof key - 1), &id));
        key[9] = 'n';
        assert_false(range_meta_key_parse(slice_of(key, sizeof key), &id));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_formats),
        cmocka_unit_test(test_every_cut),       cmocka_unit_test(test_damage),
        cmocka_unit_test(test_mutations),       cmocka_unit_test(test_descriptor_rules),
        cmocka_unit_test(test_descriptor_find), cmocka_unit_test(test_local_keys),
    };
    return cmocka_run_group_tests_name("meta", tests, NULL, NULL);
}
