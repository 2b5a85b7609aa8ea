/* SPDX-License-Identifier: Apache-2.0 */
#include "range/digest.h"

#include <stdlib.h>

#include "base/hash.h"
#include "range/range_internal.h"

/* Never changed: stores of different versions compare their sums. */
static const uint64_t key_key[2] = {UINT64_C(0x686f6c6466617374), 1};
static const uint64_t value_key[2] = {UINT64_C(0x686f6c6466617374), 2};

enum {
    STEP_KEYS_MAX = 16384, /* of one call: a lane is not held by many small records */
    LEVEL_MAX = 63,
};

struct range_digest {
    struct range *range;
    struct range_descriptor descriptor; /* as of the view */
    struct lsm_view *view;
    struct env_work work;
    range_digest_cb cb; /* NULL: none in flight */
    void *data;
    /* the worker's while in flight */
    struct lsm_iter *iter;
    uint64_t bytes_max;
    uint64_t bytes;                               /* of this call */
    uint8_t level;                                /* a part ends at keys of at least this one */
    uint8_t levels[RANGE_DIGEST_SPANS_MAX];       /* of the parts' last keys */
    struct buf last_keys[RANGE_DIGEST_SPANS_MAX]; /* parts[].last point into these */
    bool is_done;
    int status;
    struct err err;
    struct range_digest_sums sums; /* the last part is the open one */
};

static void digest_execute(struct env_work *work);
static void digest_complete(struct env_work *work);

/* ---- life ----------------------------------------------------------------------- */

static int note_meta(struct range_digest *d, const struct range_meta *meta)
{
    struct buf encoded;
    struct range_meta known = *meta; /* borrowed: what stores of all versions keep */
    seams_init(&known.seams);
    buf_init(&encoded, RANGE_META_MAX);
    range_meta_encode(&known, &encoded);
    d->sums.index = meta->applied_index;
    d->sums.term = meta->applied_term;
    d->sums.time_ms = meta->time_ms;
    d->sums.last_version = meta->last_version;
    d->sums.history_hash = meta->history_hash;
    if (!encoded.failed)
        d->sums.meta_hash = hash_keyed(value_key, buf_slice(&encoded));
    int rv = encoded.failed ? ERR_NOMEM : 0;
    buf_fini(&encoded);
    return rv == 0 ? range_descriptor_copy(&d->descriptor, &meta->descriptor) : rv;
}

int range_digest_new(struct range *range, struct range_digest **ret_digest, struct err *err)
{
    struct range_digest *d = calloc(1, sizeof *d);
    if (d == NULL)
        return err_set(err, ERR_NOMEM, "digest");
    d->range = range;
    for (size_t i = 0; i < RANGE_DIGEST_SPANS_MAX; i++)
        buf_init(&d->last_keys[i], RANGE_KEY_MAX);
    d->sums.part_count = 1;
    env_work_init(&d->work, digest_execute, digest_complete, d);
    d->view = lsm_view_take(range->lsm);
    int rv = d->view == NULL ? ERR_NOMEM : note_meta(d, &range->meta);
    if (rv != 0) {
        range_digest_free(d);
        return err_set(err, rv, "digest");
    }
    *ret_digest = d;
    return 0;
}

static void give_back_view(struct range_digest *d)
{
    lsm_iter_free(d->iter);
    lsm_view_unref(d->view);
    d->iter = NULL;
    d->view = NULL;
}

void range_digest_free(struct range_digest *digest)
{
    if (digest == NULL)
        return;
    give_back_view(digest);
    range_descriptor_fini(&digest->descriptor);
    for (size_t i = 0; i < RANGE_DIGEST_SPANS_MAX; i++)
        buf_fini(&digest->last_keys[i]);
    free(digest);
}

const struct range_digest_sums *range_digest_sums(const struct range_digest *digest)
{
    ASSERT(digest->cb == NULL);
    return &digest->sums;
}

bool range_digest_is_busy(const struct range_digest *digest)
{
    return digest->cb != NULL;
}

void range_digest_next(struct range_digest *digest, uint64_t bytes_max, range_digest_cb cb,
                       void *data)
{
    ASSERT(cb != NULL);
    ASSERT(digest->cb == NULL);
    ASSERT(!digest->is_done);
    ASSERT(digest->status == 0);
    digest->cb = cb;
    digest->data = data;
    digest->bytes_max = bytes_max;
    range_busy(digest->range);
    env_work_submit(digest->range->env, ENV_LANE_SNAPSHOT, &digest->work);
}

/* The only place that calls back. Nothing of the digest is touched after. */
static void digest_complete(struct env_work *work)
{
    struct range_digest *d = work->data;
    range_digest_cb cb = d->cb;
    d->cb = NULL;
    if (d->is_done || d->status != 0)
        give_back_view(d);
    range_idle(d->range);
    cb(d->data, d->status, d->bytes, d->is_done, &d->err);
}

/* ---- parts ------------------------------------------------------------------------- */

static void sum_add(struct range_digest_sum *to, const struct range_digest_sum *from)
{
    to->keys += from->keys;
    to->bytes += from->bytes;
    to->hash[0] += from->hash[0];
    to->hash[1] += from->hash[1];
}

static void move_part(struct range_digest *d, uint32_t to, uint32_t from)
{
    struct buf swap = d->last_keys[to];
    d->last_keys[to] = d->last_keys[from];
    d->last_keys[from] = swap;
    d->levels[to] = d->levels[from];
    d->sums.parts[to] = d->sums.parts[from];
}

/* Raise the level, and let parts that end below it become one with the next. */
static void make_room(struct range_digest *d)
{
    struct range_digest_sums *s = &d->sums;
    while (s->part_count == RANGE_DIGEST_SPANS_MAX && d->level < LEVEL_MAX) {
        uint32_t n = 0;
        struct range_digest_sum carried = {0};
        d->level++;
        for (uint32_t i = 0; i < s->part_count; i++) {
            bool is_open = i == s->part_count - 1;
            sum_add(&carried, &s->parts[i].sum);
            if (!is_open && d->levels[i] < d->level)
                continue;
            if (n != i)
                move_part(d, n, i);
            s->parts[n].sum = carried;
            carried = (struct range_digest_sum){0};
            n++;
        }
        ASSERT(n > 0);
        s->part_count = n;
    }
}

/* The open part ends at `key`, and another one begins. */
static void end_part(struct range_digest *d, struct slice key, uint8_t level)
{
    struct range_digest_sums *s = &d->sums;
    if (level < d->level)
        return;
    if (s->part_count == RANGE_DIGEST_SPANS_MAX)
        make_room(d);
    if (level < d->level || s->part_count == RANGE_DIGEST_SPANS_MAX)
        return;
    uint32_t open = s->part_count - 1;
    struct buf *copy = &d->last_keys[open];
    buf_clear(copy);
    buf_append_slice(copy, key);
    if (copy->failed) {
        d->status = err_set(&d->err, ERR_NOMEM, "digest");
        return;
    }
    d->levels[open] = level;
    s->parts[open].last = buf_slice(copy);
    s->parts[open + 1] = (struct range_digest_part){0};
    s->part_count++;
}

/* ---- on the lane --------------------------------------------------------------------- */

static void count_here(struct range_digest *d)
{
    struct slice key = lsm_iter_key(d->iter);
    struct slice value = lsm_iter_value(d->iter);
    uint64_t k = hash_keyed(key_key, key);
    uint64_t v = hash_keyed(value_key, value);
    uint64_t version = lsm_iter_version(d->iter);
    uint64_t expiry_ms = lsm_iter_expiry_ms(d->iter);
    uint64_t h = hash_mix(hash_mix(hash_mix(k, v), version), expiry_ms);
    struct range_digest_sum sum = {
        .keys = 1,
        .bytes = key.len + value.len,
        .hash = {h, hash_mix(hash_mix(hash_mix(~v, k), expiry_ms), h)},
    };
    sum_add(&d->sums.all, &sum);
    sum_add(&d->sums.parts[d->sums.part_count - 1].sum, &sum);
    d->bytes += sum.bytes;
    end_part(d, key, (uint8_t)(k == 0 ? LEVEL_MAX : __builtin_ctzll(k)));
}

static bool step(struct range_digest *d)
{
    struct range_span span = range_descriptor_span(&d->descriptor);
    if (d->iter != NULL)
        return lsm_iter_next(d->iter);
    d->iter = lsm_iter_new(d->view, span.start, span.end, UINT64_MAX, LSM_READ_NO_FILL);
    if (d->iter == NULL) {
        d->status = err_set(&d->err, ERR_NOMEM, "digest");
        return false;
    }
    return lsm_iter_first(d->iter);
}

static void digest_run(struct range_digest *d)
{
    d->bytes = 0;
    for (uint32_t n = 0; n < STEP_KEYS_MAX && d->bytes < d->bytes_max && d->status == 0; n++) {
        if (!step(d)) {
            if (d->status == 0)
                d->status = lsm_iter_status(d->iter, &d->err);
            d->is_done = d->status == 0;
            break;
        }
        uint64_t expiry_ms = lsm_iter_expiry_ms(d->iter);
        if (expiry_ms == 0 || expiry_ms > d->sums.time_ms)
            count_here(d);
    }
}

static void digest_execute(struct env_work *work)
{
    digest_run(work->data);
}

int range_hash(struct range *range, uint64_t *ret_hash, struct err *err)
{
    struct range_digest *d;
    range_check(range);
    int rv = range_digest_new(range, &d, err);
    if (rv != 0)
        return rv;
    d->bytes_max = UINT64_MAX;
    while (!d->is_done && d->status == 0)
        digest_run(d);
    rv = d->status;
    if (rv == 0) {
        const struct range_digest_sums *s = &d->sums;
        *ret_hash = hash_mix(hash_mix(s->meta_hash, s->all.hash[0]), s->all.hash[1]);
        *ret_hash = hash_mix(*ret_hash, s->all.keys);
    } else if (err != NULL) {
        *err = d->err;
    }
    range_digest_free(d);
    return rv;
}
