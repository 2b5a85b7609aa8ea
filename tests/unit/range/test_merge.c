/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a merge, as judged and as applied. */
#include "support/check.h"

#include <stdlib.h>

#include "range/merge.h"
#include "range_world.h"
#include "wire/request.h"
#include "wire/response.h"

enum { ATTEMPT = 77, RIGHT_RANGE = 900 };

static uint8_t key_raw[64];

/* A world whose range was cut at "m", and the right half of it, applied with it. */
struct pair {
    struct world w;
    struct range *right;
};

static void pair_open(struct pair *p)
{
    struct range_meta meta;
    int status;
    world_open(&p->w, &(struct world_options){.seed = 1, .replica_id = 21});
    world_put(&p->w, 4000, "a", "1", 0);
    world_put(&p->w, 4000, "x", "2", 0);
    const struct range_descriptor *d = range_descriptor(p->w.range);
    struct range_admin split = {
        .kind = RANGE_ADMIN_SPLIT,
        .epoch = d->epoch,
        .split = {.key = slice_of(key_raw, range_user_key(WORLD_KEYSPACE, slice_str("m"), key_raw)),
                  .range_id = RIGHT_RANGE,
                  .count = d->replica_count},
    };
    for (uint32_t i = 0; i < d->replica_count; i++)
        split.split.children[i] = (struct range_child){d->replicas[i].store_id, 500 + i};
    range_meta_init(&meta);
    assert_int_equal(range_apply_split(p->w.range, range_meta(p->w.range)->applied_index + 1, 6,
                                       &split, slice_str("conf"), &meta, &status, NULL),
                     0);
    assert_int_equal(status, 0);
    assert_int_equal(range_new_split(p->w.env, p->w.lsm, 500, &meta, &p->right, NULL), 0);
    range_meta_fini(&meta);
}

static void pair_close(struct pair *p)
{
    range_free(p->right);
    world_close(&p->w);
}

static int step(struct range *range, const struct range_admin *admin)
{
    int status = 99;
    const struct range_meta *meta = range_meta(range);
    int rv = range_apply_merge_step(range, meta->applied_index + 1, MAX(meta->applied_term, 6),
                                    admin, &status, NULL);
    assert_int_equal(rv, 0);
    range_check(range);
    return status;
}

static struct range_admin good_prepare(const struct pair *p)
{
    const struct range_descriptor *left = range_descriptor(p->w.range);
    struct range_admin admin = {
        .kind = RANGE_ADMIN_PREPARE_MERGE,
        .stamp_ms = 9000,
        .epoch = range_descriptor(p->right)->epoch,
        .merge = {.attempt = ATTEMPT,
                  .range_id = left->range_id,
                  .left = left->epoch,
                  .count = left->replica_count},
    };
    for (uint32_t i = 0; i < left->replica_count; i++)
        admin.merge.seats[i] =
            (struct range_seat){left->replicas[i].store_id, left->replicas[i].role};
    return admin;
}

static struct range_admin good_commit(const struct pair *p)
{
    const struct merge_frozen *f = &range_meta(p->right)->merges.frozen;
    return (struct range_admin){
        .kind = RANGE_ADMIN_COMMIT_MERGE,
        .stamp_ms = 5000,
        .epoch = f->left,
        .merge = {.attempt = f->attempt,
                  .range_id = RIGHT_RANGE,
                  .index = f->index,
                  .term = f->term},
    };
}

static struct range_admin good_abort(const struct pair *p)
{
    return (struct range_admin){
        .kind = RANGE_ADMIN_ABORT_MERGE,
        .merge = {.attempt = ATTEMPT,
                  .range_id = RIGHT_RANGE,
                  .key = range_descriptor_span(range_descriptor(p->right)).start},
    };
}

static int commit(struct pair *p, const struct range_admin *admin)
{
    int status = 99;
    int rv = range_apply_commit(p->w.range, p->right, range_meta(p->w.range)->applied_index + 1, 6,
                                admin, &status, NULL);
    return rv != 0 ? rv : status;
}

static void test_prepare_is_judged(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    struct range_admin a = good_prepare(&p);
    a.epoch.span--;
    assert_int_equal(step(p.right, &a), ERR_RANGE_CHANGED);
    a = good_prepare(&p);
    a.epoch.conf++;
    assert_int_equal(step(p.right, &a), ERR_RANGE_CHANGED);
    a = good_prepare(&p);
    a.merge.range_id = RIGHT_RANGE;
    assert_int_equal(step(p.right, &a), ERR_INVALID);
    a = good_prepare(&p);
    a.merge.seats[0].store_id += 50;
    assert_int_equal(step(p.right, &a), ERR_INVALID);
    a = good_prepare(&p);
    a.merge.seats[0].role =
        a.merge.seats[0].role == RANGE_ROLE_VOTER ? RANGE_ROLE_LEARNER : RANGE_ROLE_VOTER;
    assert_int_equal(step(p.right, &a), ERR_INVALID);
    a = good_prepare(&p);
    a.merge.count--;
    assert_int_equal(step(p.right, &a), ERR_INVALID);
    assert_true(range_meta(p.right)->merges.frozen.attempt == 0);
    a = good_prepare(&p);
    assert_int_equal(step(p.right, &a), 0);
    assert_true(range_meta(p.right)->merges.frozen.attempt == ATTEMPT);
    a.merge.attempt++; /* another attempt has to wait */
    assert_int_equal(step(p.right, &a), ERR_RANGE_CHANGED);
    assert_true(range_meta(p.right)->merges.frozen.attempt == ATTEMPT);
    pair_close(&p);
}

/* Whoever applies further behind PREPARE_MERGE finds nothing different. */
static void test_frozen_stands_still(void **state)
{
    (void)state;
    struct pair p;
    struct world_results results = {0};
    struct range_sink sink = world_sink(&results);
    struct buf commands;
    struct op put = {.kind = OP_PUT, .key = slice_str("y"), .value = slice_str("3")};
    pair_open(&p);
    struct range_admin a = good_prepare(&p);
    assert_int_equal(step(p.right, &a), 0);
    uint64_t time_ms = range_meta(p.right)->time_ms;
    uint64_t version = range_meta(p.right)->last_version;
    assert_int_equal(time_ms, 9000);
    buf_init(&commands, 1 << 20);
    world_command(&commands, &put, 1);
    struct slice payload = world_entry(20000, &commands);
    uint64_t index = range_meta(p.right)->applied_index + 1;
    assert_int_equal(range_apply(p.right, index, 6, payload, &sink, NULL), 0);
    assert_int_equal(results.count, 1);
    assert_int_equal(results.all[0].status, ERR_RANGE_CHANGED);
    range_apply_barrier(p.right, index + 1, 7);
    struct range_admin split = {.kind = RANGE_ADMIN_FORGET_MERGE,
                                .stamp_ms = 30000,
                                .merge = {.attempt = 5, .range_id = 6}};
    assert_int_equal(step(p.right, &split), ERR_RANGE_CHANGED);
    assert_true(range_meta(p.right)->time_ms == time_ms);
    assert_true(range_meta(p.right)->last_version == version);
    struct range_admin thaw = {.kind = RANGE_ADMIN_THAW,
                               .stamp_ms = 30000,
                               .merge = {.attempt = ATTEMPT + 1, .range_id = 1}};
    assert_int_equal(step(p.right, &thaw), ERR_NOT_FOUND);
    assert_true(range_meta(p.right)->merges.frozen.attempt == ATTEMPT);
    thaw.merge.attempt = ATTEMPT;
    assert_int_equal(step(p.right, &thaw), 0);
    assert_true(range_meta(p.right)->merges.frozen.attempt == 0);
    assert_int_equal(range_meta(p.right)->time_ms, 30000);
    free((void *)(uintptr_t)payload.data);
    buf_fini(&commands);
    pair_close(&p);
}

static void test_commit(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    uint8_t end[RANGE_KEY_MAX];
    struct slice right_end = range_descriptor_span(range_descriptor(p.right)).end;
    memcpy(end, right_end.data, right_end.len);
    right_end.data = end;
    struct range_admin a = good_prepare(&p);
    assert_int_equal(step(p.right, &a), 0);
    range_apply_barrier(p.right, range_meta(p.right)->applied_index + 1, 7); /* further on */
    a = good_commit(&p);
    uint64_t epoch = range_descriptor(p.w.range)->epoch.span;
    assert_int_equal(commit(&p, &a), 0);
    const struct range_meta *left = range_meta(p.w.range);
    assert_int_equal(left->descriptor.epoch.span, epoch + 1);
    assert_true(slice_equal(range_descriptor_span(&left->descriptor).end, right_end));
    assert_int_equal(left->time_ms, 9000); /* the right's, which is greater */
    assert_true(left->last_version > range_meta(p.right)->last_version);
    assert_int_equal(range_check_key(p.w.range, WORLD_KEYSPACE, slice_str("x")), 0);
    const struct merge_outcome *o = merges_find(&left->merges, ATTEMPT);
    assert_non_null(o);
    assert_true(o->is_committed && o->right_range == RIGHT_RANGE);
    assert_true(o->into_range == left->descriptor.range_id && o->span_epoch == epoch + 1);
    assert_true(o->right[0].replica_id == 500);
    /* An outcome never changes. */
    assert_int_equal(commit(&p, &a), ERR_EXISTS);
    struct range_admin b = good_abort(&p);
    assert_int_equal(step(p.w.range, &b), ERR_EXISTS);
    assert_true(merges_find(&left->merges, ATTEMPT)->is_committed);
    struct range_admin forget = {.kind = RANGE_ADMIN_FORGET_MERGE,
                                 .merge = {.attempt = ATTEMPT, .range_id = RIGHT_RANGE}};
    assert_int_equal(step(p.w.range, &forget), 0);
    assert_true(merges_is_empty(&left->merges));
    /* Even then: the right's start lies inside. */
    assert_int_equal(step(p.w.range, &b), ERR_RANGE_CHANGED);
    assert_int_equal(commit(&p, &a), ERR_RANGE_CHANGED);
    pair_close(&p);
}

static void put_right(struct pair *p, uint64_t stamp_ms, const char *key, const char *value)
{
    struct world_results results = {0};
    struct range_sink sink = world_sink(&results);
    struct op put = {.kind = OP_PUT, .key = slice_str(key), .value = slice_str(value)};
    struct buf commands;
    buf_init(&commands, 1 << 20);
    world_command(&commands, &put, 1);
    struct slice payload = world_entry(stamp_ms, &commands);
    uint64_t index = range_meta(p->right)->applied_index + 1;
    assert_int_equal(range_apply(p->right, index, 6, payload, &sink, NULL), 0);
    assert_int_equal(results.all[0].status, 0);
    free((void *)(uintptr_t)payload.data);
    buf_fini(&commands);
}

/* Prepared and committed. */
static void merge(struct pair *p)
{
    struct range_admin a = good_prepare(p);
    assert_int_equal(step(p->right, &a), 0);
    a = good_commit(p);
    assert_int_equal(commit(p, &a), 0);
}

/* ERR_*, or the first byte of the value. */
static int get_at(struct pair *p, const char *key, uint64_t version)
{
    struct range_read read;
    struct row row;
    range_read_init(&read);
    read.kind = RANGE_READ_GET;
    read.key = slice_str(key);
    read.at_version = version;
    int rv = world_read(&p->w, &read);
    if (rv == 0) {
        struct unpack rows = unpack_of(buf_slice(&read.rows));
        row_next(&rows, &row);
        rv = row.status != 0 ? row.status : row.value.data[0];
    }
    range_read_fini(&read);
    return rv;
}

/* ERR_*, or how many rows; *ret_cursor is where it goes on in another range, 0 if nowhere. */
static int scan_at(struct pair *p, const char *start, const char *end, bool is_reverse,
                   uint64_t version, char *ret_cursor)
{
    struct range_read read;
    range_read_init(&read);
    read.kind = RANGE_READ_SCAN;
    read.start = slice_str(start);
    read.end = slice_str(end);
    read.is_reverse = is_reverse;
    read.at_version = version;
    int rv = world_read(&p->w, &read);
    assert_true(rv == 0 ? read.has_more == read.is_range_end
                        : read.is_range_end == (rv == ERR_VERSION_GONE));
    *ret_cursor = rv == 0 && read.has_more ? (char)read.cursor.data[0] : 0;
    if (rv == 0)
        rv = (int)read.row_count;
    range_read_fini(&read);
    return rv;
}

/* The left rests, the right goes on: what the left's last version says of the right's keys is
 * older than what was acknowledged when that version was told to somebody. */
static void test_versions_of_before(void **state)
{
    (void)state;
    struct pair p;
    char cursor;
    pair_open(&p);
    uint64_t idle = range_meta(p.w.range)->last_version;
    put_right(&p, 8000, "x", "3");
    assert_int_equal(get_at(&p, "a", idle), '1');
    merge(&p);
    uint64_t right = range_meta(p.right)->last_version;
    uint64_t now = range_meta(p.w.range)->last_version;
    assert_int_equal(get_at(&p, "x", idle), ERR_VERSION_GONE);
    assert_int_equal(get_at(&p, "m", idle), ERR_VERSION_GONE);
    assert_int_equal(get_at(&p, "x", right), ERR_VERSION_GONE);
    assert_int_equal(get_at(&p, "x", right + 1), '3');
    assert_int_equal(get_at(&p, "x", now), '3');
    assert_int_equal(get_at(&p, "x", 0), '3');
    assert_int_equal(get_at(&p, "a", idle), '1');
    /* A scan ends where the range did. */
    assert_int_equal(scan_at(&p, "", "", false, idle, &cursor), 1);
    assert_int_equal(cursor, 'm');
    assert_int_equal(scan_at(&p, "a", "z", false, idle, &cursor), 1);
    assert_int_equal(cursor, 'm');
    assert_int_equal(scan_at(&p, "a", "m", false, idle, &cursor), 1);
    assert_int_equal(cursor, 0);
    assert_int_equal(scan_at(&p, "a", "z", false, right + 1, &cursor), 2);
    assert_int_equal(cursor, 0);
    assert_int_equal(scan_at(&p, "a", "z", false, 0, &cursor), 2);
    assert_int_equal(scan_at(&p, "m", "z", false, idle, &cursor), ERR_VERSION_GONE);
    assert_int_equal(scan_at(&p, "a", "z", true, idle, &cursor), ERR_VERSION_GONE);
    assert_int_equal(scan_at(&p, "a", "m", true, idle, &cursor), 1);
    assert_int_equal(scan_at(&p, "a", "z", true, right + 1, &cursor), 2);
    pair_close(&p);
}

static int get_both_at(struct pair *p, uint64_t version)
{
    struct range_read read;
    struct buf keys;
    buf_init(&keys, 1 << 10);
    request_key_append(&keys, slice_str("a"));
    request_key_append(&keys, slice_str("x"));
    range_read_init(&read);
    read.kind = RANGE_READ_MULTI_GET;
    read.keys = (struct pack_list){.count = 2, .raw = buf_slice(&keys)};
    read.at_version = version;
    int rv = world_read(&p->w, &read);
    range_read_fini(&read);
    buf_fini(&keys);
    return rv;
}

/* Many keys are as good as the one of them that is least so; and what is refused for its age
 * needs no other reason. */
static void test_versions_of_before_pass(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    uint64_t idle = range_meta(p.w.range)->last_version;
    put_right(&p, 8000, "x", "3");
    merge(&p);
    uint64_t right = range_meta(p.right)->last_version;
    assert_int_equal(get_both_at(&p, idle), ERR_VERSION_GONE);
    assert_int_equal(get_both_at(&p, right), ERR_VERSION_GONE);
    assert_int_equal(get_both_at(&p, right + 1), 0);
    assert_int_equal(range_meta(p.w.range)->seams.count, 1);
    world_put(&p.w, 9000 + range_meta(p.w.range)->retention_ms, "a", "4", 0);
    assert_int_equal(range_meta(p.w.range)->seams.count, 1);
    world_put(&p.w, 9001 + range_meta(p.w.range)->retention_ms, "a", "5", 0);
    assert_int_equal(range_meta(p.w.range)->seams.count, 0);
    assert_int_equal(get_at(&p, "x", idle), ERR_VERSION_GONE);
    pair_close(&p);
}

/* A clock of the left that is ahead: all that the right was told is in its version. */
static void test_versions_ahead(void **state)
{
    (void)state;
    struct pair p;
    char cursor;
    pair_open(&p);
    world_put(&p.w, 20000, "a", "4", 0);
    uint64_t ahead = range_meta(p.w.range)->last_version;
    put_right(&p, 8000, "x", "3");
    merge(&p);
    assert_true(ahead > range_meta(p.right)->last_version);
    assert_int_equal(get_at(&p, "x", ahead), '3');
    assert_int_equal(scan_at(&p, "a", "z", false, ahead, &cursor), 2);
    pair_close(&p);
}

/* Somebody may read from a range that is frozen what need not be new. A scan downwards that began
 * there goes on in the left's keys: at the right's version it would miss what the left has written
 * at later ones, long before. */
static void test_version_of_a_frozen_range(void **state)
{
    (void)state;
    struct pair p;
    char cursor;
    pair_open(&p);
    world_put(&p.w, 20000, "a", "4", 0);
    put_right(&p, 8000, "x", "3");
    struct range_admin a = good_prepare(&p);
    assert_int_equal(step(p.right, &a), 0);
    uint64_t version = range_meta(p.right)->last_version; /* what it reads at now */
    assert_true(version < range_meta(p.w.range)->last_version);
    a = good_commit(&p);
    assert_int_equal(commit(&p, &a), 0);
    assert_int_equal(scan_at(&p, "a", "x", true, version, &cursor), ERR_VERSION_GONE);
    assert_int_equal(scan_at(&p, "a", "x", true, 0, &cursor), 1);
    pair_close(&p);
}

/* Wherever the keys go. */
static void test_versions_of_before_and_splits(void **state)
{
    (void)state;
    struct pair p;
    struct range_meta half;
    int status;
    uint8_t raw[64];
    pair_open(&p);
    uint64_t idle = range_meta(p.w.range)->last_version;
    put_right(&p, 8000, "x", "3");
    merge(&p);
    const struct range_descriptor *d = range_descriptor(p.w.range);
    struct range_admin split = {
        .kind = RANGE_ADMIN_SPLIT,
        .epoch = d->epoch,
        .split = {.range_id = 901, .count = d->replica_count},
    };
    for (uint32_t i = 0; i < d->replica_count; i++)
        split.split.children[i] = (struct range_child){d->replicas[i].store_id, 600 + i};
    static const char *const keys[] = {"t", "c"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        split.epoch = range_descriptor(p.w.range)->epoch;
        split.split.range_id++;
        split.split.key = slice_of(raw, range_user_key(WORLD_KEYSPACE, slice_str(keys[i]), raw));
        range_meta_init(&half);
        assert_int_equal(range_apply_split(p.w.range, range_meta(p.w.range)->applied_index + 1, 6,
                                           &split, slice_str("conf"), &half, &status, NULL),
                         0);
        assert_int_equal(status, 0);
        assert_int_equal(half.seams.count, 1);
        assert_true(half.seams.all[0].version == range_meta(p.right)->last_version + 1);
        assert_int_equal(range_meta(p.w.range)->seams.count, keys[i][0] == 't' ? 1 : 0);
        range_meta_fini(&half);
        assert_int_equal(get_at(&p, "a", idle), '1');
        if (keys[i][0] == 't')
            assert_int_equal(get_at(&p, "n", idle), ERR_VERSION_GONE);
    }
    pair_close(&p);
}

static void make_durable(struct range *range, uint64_t freeze)
{
    struct lsm_batch batch;
    lsm_batch_init(&batch);
    range_on_freeze(range, freeze, &batch);
    lsm_batch_fini(&batch);
    range_on_flushed(range, freeze);
}

/* The left's safe point is ahead of the right's. Until both are durable as one, the log of
 * the right may be applied again, and needs what it needed before. */
static void test_commit_holds_back_gc(void **state)
{
    (void)state;
    struct pair p;
    struct lsm_batch batch;
    pair_open(&p);
    make_durable(p.right, 1);
    uint64_t later_ms = range_meta(p.w.range)->retention_ms + 100000;
    world_put(&p.w, later_ms, "a", "2", 0);
    make_durable(p.w.range, 1000);
    world_put(&p.w, later_ms + 5, "a", "3", 0);
    lsm_batch_init(&batch);
    range_on_freeze(p.w.range, 1001, &batch);
    lsm_batch_fini(&batch);
    uint64_t right_safe = range_gc_span(p.right).safe_version;
    assert_true(range_gc_span(p.w.range).safe_version > right_safe);
    struct range_admin a = good_prepare(&p);
    assert_int_equal(step(p.right, &a), 0);
    a = good_commit(&p);
    assert_int_equal(commit(&p, &a), 0);
    assert_int_equal(range_gc_span(p.w.range).safe_version, right_safe);
    assert_true(range_on_flushed(p.w.range, 1001));
    assert_int_equal(range_gc_span(p.w.range).safe_version, right_safe);
    make_durable(p.w.range, 1002);
    assert_int_equal(range_gc_span(p.w.range).safe_version, range_meta(p.w.range)->safe_version);
    pair_close(&p);
}

/* The engine was short of memory in the middle of a freeze: what it was given is lost, and is
 * given again. */
static void test_unfrozen(void **state)
{
    (void)state;
    struct pair p;
    struct lsm_batch batch;
    pair_open(&p);
    lsm_batch_init(&batch);
    range_on_freeze(p.right, 7, &batch);
    assert_int_equal(batch.count, 1);
    range_on_unfreeze(p.right, 7);
    assert_true(range_is_dirty(p.right));
    assert_false(range_on_flushed(p.right, 7));
    range_on_freeze(p.right, 7, &batch);
    assert_int_equal(batch.count, 2);
    range_on_unfreeze(p.right, 8);
    assert_true(range_on_flushed(p.right, 7));
    lsm_batch_fini(&batch);
    pair_close(&p);
}

static void test_commit_is_judged(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    struct range_admin a = good_prepare(&p);
    assert_int_equal(step(p.right, &a), 0);
    a = good_commit(&p);
    a.epoch.span++;
    assert_int_equal(commit(&p, &a), ERR_RANGE_CHANGED);
    a = good_commit(&p);
    a.epoch.conf--;
    assert_int_equal(commit(&p, &a), ERR_RANGE_CHANGED);
    /* What the right's own state contradicts is damage, or forged. */
    a = good_commit(&p);
    a.merge.attempt++;
    assert_int_equal(commit(&p, &a), ERR_CORRUPT);
    a = good_commit(&p);
    a.merge.term++;
    assert_int_equal(commit(&p, &a), ERR_CORRUPT);
    a = good_commit(&p);
    assert_int_equal(commit(&p, &a), 0);
    pair_close(&p);
}

static void test_abort(void **state)
{
    (void)state;
    struct pair p;
    pair_open(&p);
    struct range_admin a = good_prepare(&p);
    assert_int_equal(step(p.right, &a), 0);
    struct range_admin late = good_commit(&p);
    uint64_t epoch = range_descriptor(p.w.range)->epoch.span;
    struct range_admin b = good_abort(&p);
    b.merge.key = slice_str("\x02zzz"); /* not the owner of the key left of that */
    assert_int_equal(step(p.w.range, &b), ERR_RANGE_CHANGED);
    b = good_abort(&p);
    assert_int_equal(step(p.w.range, &b), 0);
    assert_int_equal(range_descriptor(p.w.range)->epoch.span, epoch + 1);
    assert_false(merges_find(&range_meta(p.w.range)->merges, ATTEMPT)->is_committed);
    assert_int_equal(step(p.w.range, &b), ERR_EXISTS);
    assert_int_equal(range_descriptor(p.w.range)->epoch.span, epoch + 1);
    assert_int_equal(commit(&p, &late), ERR_EXISTS);
    /* Many later ones push it out: the epoch still keeps it from committing. */
    for (uint32_t i = 0; i < MERGES_ABORTED_MAX; i++) {
        b.merge.attempt++;
        assert_int_equal(step(p.w.range, &b), 0);
    }
    assert_null(merges_find(&range_meta(p.w.range)->merges, ATTEMPT));
    assert_int_equal(commit(&p, &late), ERR_RANGE_CHANGED);
    pair_close(&p);
}

/* The halves of a split both know what became of earlier attempts. */
static void test_outcomes_are_copied(void **state)
{
    (void)state;
    struct pair p;
    struct range_meta half;
    int status;
    uint8_t raw[64];
    pair_open(&p);
    struct range_admin b = good_abort(&p);
    assert_int_equal(step(p.w.range, &b), 0);
    const struct range_descriptor *d = range_descriptor(p.w.range);
    struct range_admin split = {
        .kind = RANGE_ADMIN_SPLIT,
        .epoch = d->epoch,
        .split = {.key = slice_of(raw, range_user_key(WORLD_KEYSPACE, slice_str("c"), raw)),
                  .range_id = 901,
                  .count = d->replica_count},
    };
    for (uint32_t i = 0; i < d->replica_count; i++)
        split.split.children[i] = (struct range_child){d->replicas[i].store_id, 600 + i};
    range_meta_init(&half);
    assert_int_equal(range_apply_split(p.w.range, range_meta(p.w.range)->applied_index + 1, 6,
                                       &split, slice_str("conf"), &half, &status, NULL),
                     0);
    assert_int_equal(status, 0);
    assert_non_null(merges_find(&half.merges, ATTEMPT));
    assert_non_null(merges_find(&range_meta(p.w.range)->merges, ATTEMPT));
    range_meta_fini(&half);
    pair_close(&p);
}

static void test_frozen_is_not_split(void **state)
{
    (void)state;
    struct pair p;
    struct range_meta half;
    int status = 99;
    pair_open(&p);
    struct range_admin a = good_prepare(&p);
    assert_int_equal(step(p.right, &a), 0);
    struct range_admin split = {.kind = RANGE_ADMIN_SPLIT,
                                .epoch = range_descriptor(p.right)->epoch,
                                .split = {.key = slice_str("\x02n"), .range_id = 9, .count = 1}};
    range_meta_init(&half);
    assert_int_equal(range_apply_split(p.right, range_meta(p.right)->applied_index + 1, 6, &split,
                                       slice_str("conf"), &half, &status, NULL),
                     0);
    assert_int_equal(status, ERR_RANGE_CHANGED);
    assert_null(half.descriptor.start);
    pair_close(&p);
}

static void test_codec(void **state)
{
    (void)state;
    static const enum range_admin_kind kinds[] = {RANGE_ADMIN_PREPARE_MERGE,
                                                  RANGE_ADMIN_COMMIT_MERGE, RANGE_ADMIN_ABORT_MERGE,
                                                  RANGE_ADMIN_FORGET_MERGE, RANGE_ADMIN_THAW};
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct range_admin in = {.kind = kinds[k], .stamp_ms = 7};
        struct range_admin out = {0};
        struct buf raw;
        in.epoch = (struct range_epoch){.conf = 3, .span = UINT64_MAX};
        in.merge = (struct range_merge){.attempt = UINT64_MAX, .range_id = 8, .left = {5, 6}};
        in.merge.index = 9;
        in.merge.term = 10;
        in.merge.key = slice_str("\x02k");
        in.merge.count = 2;
        in.merge.seats[0] = (struct range_seat){1, RANGE_ROLE_LEARNER};
        in.merge.seats[1] = (struct range_seat){UINT64_MAX, RANGE_ROLE_VOTER};
        buf_init(&raw, RANGE_ADMIN_MAX);
        range_admin_encode(&in, &raw);
        assert_false(raw.failed);
        assert_int_equal(range_admin_decode(buf_slice(&raw), &out, NULL), 0);
        assert_true(out.kind == in.kind && out.merge.attempt == UINT64_MAX);
        assert_true(out.merge.range_id == 8 && out.epoch.span == UINT64_MAX);
        if (kinds[k] == RANGE_ADMIN_PREPARE_MERGE) {
            assert_true(out.merge.left.conf == 5 && out.merge.left.span == 6);
            assert_int_equal(out.merge.count, 2);
            assert_true(out.merge.seats[0].role == RANGE_ROLE_LEARNER);
            assert_true(out.merge.seats[1].store_id == UINT64_MAX);
        }
        if (kinds[k] == RANGE_ADMIN_COMMIT_MERGE)
            assert_true(out.merge.index == 9 && out.merge.term == 10);
        if (kinds[k] == RANGE_ADMIN_ABORT_MERGE)
            assert_true(slice_equal(out.merge.key, in.merge.key));
        for (size_t len = 0; len < raw.len; len++)
            assert_int_equal(range_admin_decode(slice_of(raw.data, len), &out, NULL), ERR_CORRUPT);
        memset(raw.data + 26, 0, 8); /* no attempt */
        assert_int_equal(range_admin_decode(buf_slice(&raw), &out, NULL), ERR_CORRUPT);
        buf_fini(&raw);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prepare_is_judged),
        cmocka_unit_test(test_frozen_stands_still),
        cmocka_unit_test(test_commit),
        cmocka_unit_test(test_versions_of_before),
        cmocka_unit_test(test_versions_of_before_pass),
        cmocka_unit_test(test_versions_ahead),
        cmocka_unit_test(test_version_of_a_frozen_range),
        cmocka_unit_test(test_versions_of_before_and_splits),
        cmocka_unit_test(test_commit_holds_back_gc),
        cmocka_unit_test(test_unfrozen),
        cmocka_unit_test(test_commit_is_judged),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_outcomes_are_copied),
        cmocka_unit_test(test_frozen_is_not_split),
        cmocka_unit_test(test_codec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
