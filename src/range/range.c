/* SPDX-License-Identifier: Apache-2.0
 *
 * Birth, life and end of a replica's state machine, and how its meta becomes
 * durable. Apply stands in apply.c.
 */
#include "range/range.h"

#include <stdlib.h>

#include "base/coding.h"
#include "base/hash.h"
#include "base/plant.h"
#include "range/feed.h"
#include "range/range_internal.h"

_Static_assert((int)DESCRIPTOR_CUT_MAX <= RANGE_KEY_MAX && (int)RANGE_KEY_MAX <= DESCRIPTOR_KEY_MAX,
               "what may be a bound is one, and can be told");

enum { SYSTEM_PREFIX = 0x01, USER_PREFIX = 0x02, PREFETCH_BYTES_MAX = 16 << 20 };

struct range_span range_span_all(void)
{
    static const uint8_t start[1] = {USER_PREFIX};
    static const uint8_t end[1] = {USER_PREFIX + 1};
    return (struct range_span){.start = slice_of(start, 1), .end = slice_of(end, 1)};
}

struct range_span range_span_system(void)
{
    static const uint8_t start[1] = {SYSTEM_PREFIX};
    static const uint8_t end[1] = {SYSTEM_PREFIX + 1};
    return (struct range_span){.start = slice_of(start, 1), .end = slice_of(end, 1)};
}

void range_key_prefix(uint32_t keyspace, uint8_t out[RANGE_USER_KEY_PREFIX])
{
    out[0] = keyspace == RANGE_KEYSPACE_SYSTEM ? SYSTEM_PREFIX : USER_PREFIX;
    put_u32be(out + 1, keyspace);
}

int range_birth_meta(const struct range_birth *birth, struct range_meta *ret_meta, struct err *err)
{
    ASSERT(ret_meta->descriptor.start == NULL);
    if (birth->index == 0 || birth->term == 0 || birth->time_ms > RANGE_TIME_MAX)
        return err_set(err, ERR_INVALID, "birth at index %llu, term %llu, time %llu",
                       (unsigned long long)birth->index, (unsigned long long)birth->term,
                       (unsigned long long)birth->time_ms);
    struct range_meta m;
    range_meta_init(&m);
    m.applied_index = birth->index;
    m.applied_term = birth->term;
    m.conf_index = birth->index;
    m.time_ms = birth->time_ms;
    m.last_version = birth->time_ms << RANGE_VERSION_COUNTER_BITS;
    m.retention_ms = birth->retention_ms == 0 ? RANGE_RETENTION_MS_DEFAULT : birth->retention_ms;
    int rv = range_descriptor_init(&m.descriptor, birth->range_id, birth->epoch, birth->span,
                                   birth->replicas, birth->replica_count, err);
    if (rv != 0)
        return rv;
    if (birth->conf.len > RANGE_CONF_MAX) {
        range_meta_fini(&m);
        return err_set(err, ERR_INVALID, "configuration of %zu bytes", birth->conf.len);
    }
    buf_append_slice(&m.conf, birth->conf);
    if (m.conf.failed) {
        range_meta_fini(&m);
        return err_set(err, ERR_NOMEM, "birth");
    }
    range_meta_check(&m);
    *ret_meta = m;
    return 0;
}

int range_meta_put(const struct range_meta *meta, uint64_t replica_id, struct lsm_batch *batch)
{
    uint8_t key[RANGE_LOCAL_KEY_LEN];
    struct buf value;
    range_meta_key(replica_id, key);
    buf_init(&value, RANGE_META_MAX);
    range_meta_encode(meta, &value);
    if (!value.failed)
        lsm_batch_put(batch, slice_of(key, sizeof key), meta->applied_index, buf_slice(&value), 0);
    int rv = value.failed ? ERR_NOMEM : 0;
    if (value.failed)
        batch->buf.failed = true; /* what goes with it must not be durable without it */
    buf_fini(&value);
    return rv;
}

static void note_flushed(struct range *range)
{
    range->flushed = (struct range_freeze){
        .index = range->meta.applied_index,
        .term = range->meta.applied_term,
        .safe_version = range->meta.safe_version,
    };
    range->freeze_count = 0;
    range->is_dirty = false;
    range->is_unborn = false;
}

int range_new(struct env *env, struct lsm *lsm, uint64_t replica_id, const struct range_meta *meta,
              struct range **ret_range, struct err *err)
{
    ASSERT(env != NULL);
    ASSERT(lsm != NULL);
    ASSERT(replica_id != 0);
    struct range *range = calloc(1, sizeof *range);
    if (range == NULL)
        return err_set(err, ERR_NOMEM, "range");
    range->env = env;
    range->lsm = lsm;
    range->replica_id = replica_id;
    range_meta_init(&range->meta);
    if (range_meta_copy(&range->meta, meta) != 0) {
        free(range);
        return err_set(err, ERR_NOMEM, "range");
    }
    uint64_t hash_key[2] = {env_random(env), env_random(env)};
    sessions_set_hash_key(&range->meta.sessions, hash_key);
    note_flushed(range);
    range_check(range);
    *ret_range = range;
    return 0;
}

int range_new_split(struct env *env, struct lsm *lsm, uint64_t replica_id,
                    const struct range_meta *meta, struct range **ret_range, struct err *err)
{
    struct range *range;
    int rv = range_new(env, lsm, replica_id, meta, &range, err);
    if (rv != 0)
        return rv;
    range->flushed = (struct range_freeze){0};
    range->is_dirty = true;
    range->is_unborn = true;
    range_check(range);
    *ret_range = range;
    return 0;
}

int range_load(struct env *env, struct lsm *lsm, uint64_t replica_id, struct range **ret_range,
               struct err *err)
{
    uint8_t key[RANGE_LOCAL_KEY_LEN];
    struct lsm_value value = {0};
    struct range_meta meta;
    range_meta_init(&meta);
    range_meta_key(replica_id, key);
    struct lsm_view *view = lsm_view_take(lsm);
    if (view == NULL)
        return err_set(err, ERR_NOMEM, "load range");
    int rv = lsm_get(view, slice_of(key, sizeof key), UINT64_MAX, 0, &value, err);
    if (rv == 0)
        rv = range_meta_decode(value.data, &meta, err);
    if (rv == 0 && value.version != meta.applied_index)
        rv = err_set(err, ERR_CORRUPT, "meta record of index %llu stands at version %llu",
                     (unsigned long long)meta.applied_index, (unsigned long long)value.version);
    if (rv == 0)
        rv = range_new(env, lsm, replica_id, &meta, ret_range, err);
    lsm_value_fini(&value);
    lsm_view_unref(view);
    range_meta_fini(&meta);
    if (rv == 0 || rv == ERR_NOT_FOUND)
        return rv;
    return err_wrap(err, rv, "load replica %llu", (unsigned long long)replica_id);
}

static int list_add(uint64_t **ids, size_t *count, size_t *cap, uint64_t id)
{
    if (*count == *cap) {
        size_t want = *cap == 0 ? 8 : *cap * 2;
        uint64_t *grown = realloc(*ids, want * sizeof *grown);
        if (grown == NULL)
            return ERR_NOMEM;
        *ids = grown;
        *cap = want;
    }
    (*ids)[(*count)++] = id;
    return 0;
}

typedef bool (*local_parse)(struct slice key, uint64_t *ret_replica_id);

static int list_local(struct lsm *lsm, local_parse parse, uint64_t **ret_replica_ids,
                      size_t *ret_count, struct err *err)
{
    static const uint8_t lower[1] = {0x00};
    static const uint8_t upper[1] = {0x01};
    uint64_t *ids = NULL;
    size_t count = 0, cap = 0;
    struct lsm_iter *iter = NULL;
    int rv = 0;
    struct lsm_view *view = lsm_view_take(lsm);
    if (view != NULL)
        iter = lsm_iter_new(view, slice_of(lower, 1), slice_of(upper, 1), UINT64_MAX, 0);
    if (iter == NULL) {
        rv = err_set(err, ERR_NOMEM, "list replicas");
        goto out;
    }
    for (bool more = lsm_iter_first(iter); more && rv == 0; more = lsm_iter_next(iter)) {
        uint64_t id;
        if (parse(lsm_iter_key(iter), &id))
            rv = list_add(&ids, &count, &cap, id);
    }
    if (rv == 0)
        rv = lsm_iter_status(iter, err);
    if (rv == 0) {
        *ret_replica_ids = ids;
        *ret_count = count;
        ids = NULL;
    }
out:
    free(ids);
    lsm_iter_free(iter);
    lsm_view_unref(view);
    return rv;
}

int range_list(struct lsm *lsm, uint64_t **ret_replica_ids, size_t *ret_count, struct err *err)
{
    return list_local(lsm, range_meta_key_parse, ret_replica_ids, ret_count, err);
}

int range_list_gone(struct lsm *lsm, uint64_t **ret_replica_ids, size_t *ret_count, struct err *err)
{
    return list_local(lsm, range_gone_key_parse, ret_replica_ids, ret_count, err);
}

struct range_work *range_work_get(struct range *range)
{
    if (range->work != NULL)
        return range->work;
    range->work = calloc(1, sizeof *range->work);
    if (range->work == NULL)
        return NULL;
    eval_init(&range->work->eval, range->meta.sessions.hash_key);
    prefetch_init(&range->work->prefetch, PREFETCH_BYTES_MAX);
    return range->work;
}

static void work_free(struct range *range)
{
    if (range->work == NULL)
        return;
    eval_fini(&range->work->eval);
    prefetch_fini(&range->work->prefetch);
    free(range->work);
    range->work = NULL;
}

bool range_is_prefetching(const struct range *range)
{
    return range->work != NULL && range->work->prefetch.is_running;
}

void range_free(struct range *range)
{
    if (range == NULL)
        return;
    range_feed_close(range);
    work_free(range);
    range_meta_fini(&range->meta);
    free(range);
}

void range_busy(struct range *range)
{
    ASSERT(range->busy < UINT32_MAX);
    range->busy++;
}

void range_idle(struct range *range)
{
    ASSERT(range->busy > 0);
    range->busy--;
}

bool range_is_busy(const struct range *range)
{
    return range->busy > 0;
}

void range_shrink(struct range *range)
{
    if (!range_is_prefetching(range))
        work_free(range);
}

uint64_t range_replica_id(const struct range *range)
{
    return range->replica_id;
}

const struct range_meta *range_meta(const struct range *range)
{
    return &range->meta;
}

uint64_t range_flushed_index(const struct range *range)
{
    return range->flushed.index;
}

uint64_t range_flushed_term(const struct range *range)
{
    return range->flushed.term;
}

bool range_is_dirty(const struct range *range)
{
    return range->is_dirty;
}

size_t range_user_key(uint32_t keyspace, struct slice key, uint8_t *out)
{
    ASSERT(key.len <= RANGE_KEY_MAX - RANGE_USER_KEY_PREFIX);
    range_key_prefix(keyspace, out);
    if (key.len > 0)
        memcpy(out + RANGE_USER_KEY_PREFIX, key.data, key.len);
    return RANGE_USER_KEY_PREFIX + key.len;
}

size_t range_keyspace_end(uint32_t keyspace, uint8_t *out)
{
    range_key_prefix(keyspace, out);
    if (keyspace < UINT32_MAX && keyspace != RANGE_KEYSPACE_SYSTEM) {
        put_u32be(out + 1, keyspace + 1);
        return RANGE_USER_KEY_PREFIX;
    }
    out[0]++; /* behind the last keyspace of its kind: what is behind all of them */
    return 1;
}

int range_check_key(const struct range *range, uint32_t keyspace, struct slice key)
{
    uint8_t raw[RANGE_KEY_MAX];
    if (key.len > sizeof raw - RANGE_USER_KEY_PREFIX)
        return ERR_RANGE_CHANGED;
    struct slice on_disk = slice_of(raw, range_user_key(keyspace, key, raw));
    struct range_span span = range_descriptor_span(&range->meta.descriptor);
    return range_span_contains(span, on_disk) ? 0 : ERR_RANGE_CHANGED;
}

bool range_find_session(const struct range *range, uint64_t session, uint64_t sequence,
                        struct slice *ret_result)
{
    return sessions_find(&range->meta.sessions, session, sequence, ret_result) == SESSION_REPEAT;
}

/* ---- durability ------------------------------------------------------------ */

void range_on_freeze(struct range *range, uint64_t freeze, struct lsm_batch *batch)
{
    if (!range->is_dirty)
        return;
    if (range_meta_put(&range->meta, range->replica_id, batch) != 0) {
        /* The batch hears of it, and the freeze is refused; until a later one has the
         * record, the flushed index stays where it is. */
        return;
    }
    ASSERT(range->freeze_count <= RANGE_FREEZES_MAX);
    if (range->freeze_count == RANGE_FREEZES_MAX)
        range->freeze_count--; /* durable together with the newer one: a later truth */
    if (range->freeze_count > 0)
        ASSERT(range->freezes[range->freeze_count - 1].freeze < freeze);
    range->freezes[range->freeze_count++] = (struct range_freeze){
        .freeze = freeze,
        .index = range->meta.applied_index,
        .term = range->meta.applied_term,
        .safe_version = range->meta.safe_version,
    };
    range->is_dirty = false;
}

void range_on_unfreeze(struct range *range, uint64_t freeze)
{
    if (range->freeze_count == 0 || range->freezes[range->freeze_count - 1].freeze != freeze)
        return;
    range->freeze_count--;
    range->is_dirty = true;
}

bool range_on_flushed(struct range *range, uint64_t freeze)
{
    uint32_t done = 0;
    while (done < range->freeze_count && range->freezes[done].freeze <= freeze)
        done++;
    if (done == 0)
        return false;
    const struct range_freeze *last = &range->freezes[done - 1];
    ASSERT(last->index > range->flushed.index);
    ASSERT(last->index <= range->meta.applied_index);
    range->flushed = *last;
    range->is_unborn = false;
    if (PLANTED(flushed_index_late)) {
        range->flushed.index = range->meta.applied_index;
        range->flushed.term = range->meta.applied_term;
    }
    range->freeze_count -= done;
    memmove(range->freezes, range->freezes + done, range->freeze_count * sizeof range->freezes[0]);
    return true;
}

/* Expired values go when the safe point has passed their expiry, not when range
 * time has: a scan that goes on at an older version still finds them. */
struct lsm_gc_span range_gc_span(const struct range *range)
{
    return (struct lsm_gc_span){
        .start = slice_of(range->meta.descriptor.start, range->meta.descriptor.start_len),
        .end = slice_of(range->meta.descriptor.end, range->meta.descriptor.end_len),
        .safe_version = range->flushed.safe_version,
        .range_time_ms = range->flushed.safe_version >> RANGE_VERSION_COUNTER_BITS,
    };
}

void range_adopt(struct range *range, struct range_meta *meta)
{
    ASSERT(range->is_installing);
    ASSERT(meta->applied_index > range->meta.applied_index);
    ASSERT(meta->descriptor.range_id == range->meta.descriptor.range_id);
    if (range->work != NULL)
        prefetch_clear(&range->work->prefetch);
    uint64_t hash_key[2];
    memcpy(hash_key, range->meta.sessions.hash_key, sizeof hash_key);
    range_meta_fini(&range->meta);
    range->meta = *meta;
    range_meta_init(meta);
    sessions_set_hash_key(&range->meta.sessions, hash_key);
    note_flushed(range);
    range->is_installing = false;
    feed_restart(range);
    range_check(range);
}

/* ---- checks ------------------------------------------------------------------ */

void range_check(const struct range *range)
{
    range_meta_check(&range->meta);
    sessions_check(&range->meta.sessions);
    ASSERT(range->replica_id != 0);
    ASSERT(range->meta.last_version >> RANGE_VERSION_COUNTER_BITS >= range->meta.time_ms);
    ASSERT((range->flushed.index > 0) != range->is_unborn);
    ASSERT(!range->is_unborn || range->is_dirty || range->freeze_count > 0);
    ASSERT(range->flushed.index <= range->meta.applied_index);
    ASSERT(range->flushed.term <= range->meta.applied_term);
    ASSERT(range->flushed.safe_version <= range->meta.safe_version || PLANTED(history_comes_back));
    ASSERT(range->freeze_count <= RANGE_FREEZES_MAX);
    for (uint32_t i = 0; i < range->freeze_count; i++) {
        const struct range_freeze *f = &range->freezes[i];
        ASSERT(f->index > (i == 0 ? range->flushed.index : f[-1].index));
        ASSERT(i == 0 || f->freeze > f[-1].freeze);
        ASSERT(f->index <= range->meta.applied_index);
    }
    feed_check(range);
    ASSERT(range->work == NULL || range->work->eval.overlay.count == 0);
    ASSERT(!range_is_prefetching(range) || range->busy > 0);
}
