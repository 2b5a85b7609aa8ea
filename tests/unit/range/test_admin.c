/* SPDX-License-Identifier: Apache-2.0 */
/* Splits: as bytes, as judged, as applied. */
#include "support/check.h"

#include "base/coding.h"
#include "range/admin.h"
#include "range/read.h"
#include "range_world.h"

enum { PREFIX = RANGE_USER_KEY_PREFIX };

static uint8_t key_raw[64];

static struct slice on_disk(const char *key)
{
    return slice_of(key_raw, range_user_key(WORLD_KEYSPACE, slice_str(key), key_raw));
}

/* A split of the world's range, of the epoch that it is at, which is fine. */
static struct range_admin good_split(const struct world *w, const char *key)
{
    const struct range_descriptor *d = range_descriptor(w->range);
    struct range_admin admin = {
        .kind = RANGE_ADMIN_SPLIT,
        .stamp_ms = 5000,
        .epoch = d->epoch,
        .split = {.key = on_disk(key), .range_id = 900, .count = d->replica_count},
    };
    for (uint32_t i = 0; i < d->replica_count; i++)
        admin.split.children[i] = (struct range_child){d->replicas[i].store_id, 500 + i};
    return admin;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct range_admin in = {.kind = RANGE_ADMIN_SPLIT, .stamp_ms = RANGE_TIME_MAX};
    struct range_admin out;
    struct buf raw;
    uint8_t key[RANGE_KEY_MAX] = {1};
    in.epoch = (struct range_epoch){.conf = UINT64_MAX, .span = 7};
    in.split = (struct range_split){
        .key = slice_of(key, sizeof key), .range_id = UINT64_MAX, .count = RANGE_REPLICAS_MAX};
    for (uint32_t i = 0; i < RANGE_REPLICAS_MAX; i++)
        in.split.children[i] = (struct range_child){.store_id = i, .replica_id = UINT64_MAX - i};
    buf_init(&raw, RANGE_ADMIN_MAX);
    range_admin_encode(&in, &raw);
    assert_false(raw.failed);
    assert_true(range_admin_is(buf_slice(&raw)));
    assert_int_equal(range_admin_decode(buf_slice(&raw), &out, NULL), 0);
    assert_true(out.stamp_ms == in.stamp_ms && out.epoch.conf == UINT64_MAX && out.epoch.span == 7);
    assert_true(slice_equal(out.split.key, in.split.key) && out.split.range_id == UINT64_MAX);
    assert_int_equal(out.split.count, RANGE_REPLICAS_MAX);
    assert_true(out.split.children[9].store_id == 9);
    assert_true(out.split.children[9].replica_id == UINT64_MAX - 9);
    for (size_t len = 0; len < raw.len; len++) {
        struct range_admin cut = {.stamp_ms = 99};
        assert_int_equal(range_admin_decode(slice_of(raw.data, len), &cut, NULL), ERR_CORRUPT);
        assert_int_equal(cut.stamp_ms, 99);
    }
    buf_fini(&raw);
    assert_false(range_admin_is(slice_of(NULL, 0)));
    assert_false(range_admin_is(slice_of("\x01", 1)));
}

/* Each row damages one byte of a good payload (a key of one byte, one replica). */
static void test_damage(void **state)
{
    (void)state;
    enum { LEN = 1 + 1 + 8 + 8 + 8 + 2 + 8 + 1 + 16 };
    static const struct {
        const char *name;
        size_t offset;
        uint8_t value;
        int want;
    } rows[] = {
        {"untouched", 0, 2, 0},
        {"format", 0, 1, ERR_CORRUPT},
        {"kind 0", 1, 0, ERR_CORRUPT},
        {"a later kind", 1, 200, ERR_UNSUPPORTED},
        {"stamp out of bounds", 9, 1, ERR_CORRUPT},
        {"no key", 26, 0, ERR_CORRUPT},
        {"key longer than what is left", 26, 100, ERR_CORRUPT},
        {"no replicas", 36, 0, ERR_CORRUPT},
        {"two replicas", 36, 2, ERR_CORRUPT},
        {"too many replicas", 36, 200, ERR_CORRUPT},
    };
    struct range_admin in = {.kind = RANGE_ADMIN_SPLIT, .stamp_ms = 1};
    in.split = (struct range_split){.key = slice_str("k"), .range_id = 3, .count = 1};
    in.split.children[0] = (struct range_child){.store_id = 1, .replica_id = 2};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct range_admin out;
        struct err err = {0};
        struct buf raw;
        buf_init(&raw, RANGE_ADMIN_MAX);
        range_admin_encode(&in, &raw);
        assert_int_equal(raw.len, LEN);
        raw.data[rows[i].offset] = rows[i].value;
        int rv = range_admin_decode(buf_slice(&raw), &out, &err);
        if (rv != rows[i].want)
            fail_msg("%s: %s (%s)", rows[i].name, err_name(rv), err.msg);
        buf_fini(&raw);
    }
}

static void test_judge(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, &(struct world_options){.seed = 1, .replica_id = 21});
    const struct range_descriptor *d = range_descriptor(w.range);
    const struct range_meta *meta = range_meta(w.range);
    struct range_admin a = good_split(&w, "m");
    assert_int_equal(range_split_judge(meta, &a, NULL), 0);
    a.epoch.span++;
    assert_int_equal(range_split_judge(meta, &a, NULL), ERR_RANGE_CHANGED);
    a = good_split(&w, "m");
    a.epoch.conf--;
    assert_int_equal(range_split_judge(meta, &a, NULL), ERR_RANGE_CHANGED);
    a = good_split(&w, "m");
    a.split.key = range_descriptor_span(d).start;
    assert_int_equal(range_split_judge(meta, &a, NULL), ERR_RANGE_CHANGED);
    a.split.key = range_descriptor_span(d).end;
    assert_int_equal(range_split_judge(meta, &a, NULL), ERR_RANGE_CHANGED);
    a = good_split(&w, "m");
    a.split.range_id = d->range_id;
    assert_int_equal(range_split_judge(meta, &a, NULL), ERR_INVALID);
    a = good_split(&w, "m");
    a.split.children[0].store_id += 100;
    assert_int_equal(range_split_judge(meta, &a, NULL), ERR_INVALID);
    a = good_split(&w, "m");
    a.split.children[0].replica_id = d->replicas[0].replica_id;
    assert_int_equal(range_split_judge(meta, &a, NULL), ERR_INVALID);
    a = good_split(&w, "m");
    a.split.children[a.split.count++] = (struct range_child){77, 78};
    assert_int_equal(range_split_judge(meta, &a, NULL), ERR_INVALID);
    world_close(&w);
}

static int read_at(struct world *w, const char *key, uint64_t version)
{
    struct range_read read;
    range_read_init(&read);
    read.kind = RANGE_READ_GET;
    read.key = slice_str(key);
    read.at_version = version;
    int rv = world_read(w, &read);
    if (rv == 0)
        assert_int_equal(read.row_count, 1);
    range_read_fini(&read);
    return rv;
}

static int scan_at(struct world *w, const char *start, uint64_t version)
{
    struct range_read read;
    range_read_init(&read);
    read.kind = RANGE_READ_SCAN;
    read.start = slice_str(start);
    read.at_version = version;
    int rv = world_read(w, &read);
    range_read_fini(&read);
    return rv;
}

/* Who asks here for keys that have gone to the other half brings versions of that. */
static void check_versions_of_the_other_half(struct world *w)
{
    uint64_t later = range_meta(w->range)->last_version + 1;
    assert_int_equal(read_at(w, "x", later), ERR_RANGE_CHANGED);
    assert_int_equal(scan_at(w, "x", later), ERR_RANGE_CHANGED);
    assert_int_equal(read_at(w, "x", 1), ERR_RANGE_CHANGED);
    assert_int_equal(read_at(w, "a", later), ERR_INVALID);
    assert_int_equal(scan_at(w, "a", later), ERR_INVALID);
    assert_int_equal(scan_at(w, "a", later - 1), 0);
}

static void test_apply(void **state)
{
    (void)state;
    struct world w;
    struct range_meta right;
    int status = 99;
    world_open(&w, &(struct world_options){.seed = 1, .replica_id = 21});
    world_put(&w, 4000, "a", "1", 0);
    world_put(&w, 4000, "x", "2", 0);
    struct range_admin a = good_split(&w, "m");
    uint64_t index = range_meta(w.range)->applied_index;
    struct range_epoch before = range_descriptor(w.range)->epoch;
    range_meta_init(&right);
    assert_int_equal(
        range_apply_split(w.range, index + 1, 6, &a, slice_str("conf"), &right, &status, NULL), 0);
    assert_int_equal(status, 0);
    const struct range_meta *left = range_meta(w.range);
    assert_int_equal(left->applied_index, index + 1);
    assert_int_equal(left->time_ms, 5000);
    assert_int_equal(left->descriptor.epoch.span, before.span + 1);
    assert_int_equal(left->descriptor.epoch.conf, before.conf);
    assert_int_equal(range_check_key(w.range, WORLD_KEYSPACE, slice_str("a")), 0);
    assert_int_equal(range_check_key(w.range, WORLD_KEYSPACE, slice_str("m")), ERR_RANGE_CHANGED);
    assert_int_equal(right.applied_index, RANGE_BIRTH_INDEX);
    assert_int_equal(right.applied_term, RANGE_BIRTH_TERM);
    assert_int_equal(right.descriptor.range_id, 900);
    assert_int_equal(right.descriptor.epoch.span, before.span + 1);
    assert_true(right.last_version == left->last_version && right.time_ms == left->time_ms);
    struct range_span l = range_descriptor_span(&left->descriptor);
    struct range_span r = range_descriptor_span(&right.descriptor);
    assert_true(slice_equal(l.end, r.start)); /* no gap, no overlap */
    assert_true(slice_equal(r.start, on_disk("m")));
    check_versions_of_the_other_half(&w);
    /* The same again: it was planned for an epoch that is gone. */
    range_meta_fini(&right);
    range_meta_init(&right);
    a.split.key = on_disk("c");
    assert_int_equal(
        range_apply_split(w.range, index + 2, 6, &a, slice_of(NULL, 0), &right, &status, NULL), 0);
    assert_int_equal(status, ERR_RANGE_CHANGED);
    assert_int_equal(range_meta(w.range)->applied_index, index + 2);
    assert_null(right.descriptor.start);
    world_close(&w);
}

/* Neither half is durable before the other. */
static void test_both_become_durable_together(void **state)
{
    (void)state;
    struct world w;
    struct range_meta right;
    struct range *child;
    struct lsm_batch batch;
    int status;
    world_open(&w, &(struct world_options){.seed = 1, .replica_id = 21});
    world_put(&w, 4000, "x", "2", 0);
    struct range_admin a = good_split(&w, "m");
    range_meta_init(&right);
    uint64_t index = range_meta(w.range)->applied_index + 1;
    assert_int_equal(
        range_apply_split(w.range, index, 6, &a, slice_str("conf"), &right, &status, NULL), 0);
    assert_int_equal(range_new_split(w.env, w.lsm, 500, &right, &child, NULL), 0);
    range_meta_fini(&right);
    assert_int_equal(range_flushed_index(child), 0);
    assert_true(range_is_dirty(child));
    lsm_batch_init(&batch);
    range_on_freeze(child, 1, &batch);
    assert_int_equal(batch.count, 1);
    assert_int_equal(range_flushed_index(child), 0);
    range_check(child);
    assert_true(range_on_flushed(child, 1));
    assert_int_equal(range_flushed_index(child), RANGE_BIRTH_INDEX);
    range_check(child);
    lsm_batch_fini(&batch);
    range_free(child);
    world_close(&w);
}

/* ---- how long old versions are kept ----------------------------------------------------- */

static struct range_admin good_retain(const struct world *w, uint64_t stamp_ms, uint64_t ms)
{
    return (struct range_admin){.kind = RANGE_ADMIN_RETAIN,
                                .stamp_ms = stamp_ms,
                                .epoch = range_descriptor(w->range)->epoch,
                                .retention_ms = ms};
}

static void test_retain_round_trip(void **state)
{
    (void)state;
    static const struct {
        uint64_t ms;
        int want;
    } rows[] = {{1, 0},
                {RANGE_RETENTION_MS_MAX, 0},
                {0, ERR_CORRUPT},
                {RANGE_RETENTION_MS_MAX + 1, ERR_CORRUPT}};
    struct range_admin in = {.kind = RANGE_ADMIN_RETAIN, .stamp_ms = 7, .retention_ms = 1};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct range_admin out = {.stamp_ms = 99};
        struct buf raw;
        buf_init(&raw, RANGE_ADMIN_MAX);
        in.epoch = (struct range_epoch){.conf = 3, .span = UINT64_MAX};
        range_admin_encode(&in, &raw);
        assert_int_equal(raw.len, 34);
        put_u64(raw.data + 26, rows[i].ms);
        assert_int_equal(range_admin_decode(buf_slice(&raw), &out, NULL), rows[i].want);
        assert_int_equal(out.stamp_ms, rows[i].want == 0 ? 7 : 99);
        if (rows[i].want == 0)
            assert_true(out.retention_ms == rows[i].ms && out.epoch.span == UINT64_MAX);
        for (size_t len = 0; len < raw.len; len++)
            assert_int_equal(range_admin_decode(slice_of(raw.data, len), &out, NULL), ERR_CORRUPT);
        buf_fini(&raw);
    }
}

static int retain(struct world *w, const struct range_admin *admin)
{
    int status = 99;
    const struct range_meta *meta = range_meta(w->range);
    range_apply_retain(w->range, meta->applied_index + 1, 6, admin, &status, NULL);
    return status;
}

/* A shorter time acts at once, a longer one brings nothing back; what was refused changes time
 * and nothing else. */
static void test_retain_moves_the_safe_point(void **state)
{
    (void)state;
    enum { T = 10000000 };
    struct world w;
    world_open(&w, &(struct world_options){.seed = 1, .replica_id = 21});
    const struct range_meta *meta = range_meta(w.range);
    world_put(&w, T, "a", "1", 0);
    uint64_t first = meta->last_version;
    world_put(&w, T + 5000, "a", "2", 0);
    uint64_t second = meta->last_version;
    world_put(&w, T + 9000, "a", "3", 0);
    assert_int_equal(read_at(&w, "a", first), 0);

    struct range_admin a = good_retain(&w, T + 9000, 4000);
    a.epoch.conf++;
    assert_int_equal(retain(&w, &a), ERR_RANGE_CHANGED);
    assert_int_equal(meta->retention_ms, RANGE_RETENTION_MS_DEFAULT);
    assert_int_equal(read_at(&w, "a", first), 0);

    a = good_retain(&w, T + 9000, 4000); /* the second is of exactly that age */
    assert_int_equal(retain(&w, &a), 0);
    assert_int_equal(meta->retention_ms, 4000);
    assert_int_equal(read_at(&w, "a", first), ERR_VERSION_GONE);
    assert_int_equal(read_at(&w, "a", second), 0);
    uint64_t safe = meta->safe_version;

    a = good_retain(&w, T + 9001, 600000);
    assert_int_equal(retain(&w, &a), 0);
    assert_true(meta->safe_version == safe && meta->time_ms == T + 9001);
    world_put(&w, T + 60000, "b", "x", 0);
    assert_true(meta->safe_version == safe);
    assert_int_equal(read_at(&w, "a", first), ERR_VERSION_GONE);
    assert_int_equal(read_at(&w, "a", second), 0);

    world_flush(&w);
    world_crash(&w, SIM_CRASH_KILL); /* it is durable with all else */
    assert_int_equal(range_meta(w.range)->retention_ms, 600000);
    assert_true(range_meta(w.range)->safe_version == safe);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_apply),
        cmocka_unit_test(test_both_become_durable_together),
        cmocka_unit_test(test_retain_round_trip),
        cmocka_unit_test(test_retain_moves_the_safe_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
