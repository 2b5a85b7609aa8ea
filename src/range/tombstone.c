/* SPDX-License-Identifier: Apache-2.0 */
#include "range/tombstone.h"

#include <stdlib.h>

#include "base/coding.h"
#include "range/meta.h"

enum { KEY_LEN = 1 + 8 + 1 + 8, FORMAT = 1, FORMAT_ENDED = 2 };
enum { VALUE_LEN = 1 + 8, VALUE_ENDED_LEN = 1 + 3 * 8 };

static void make_key(uint64_t range_id, uint8_t out[KEY_LEN])
{
    out[0] = 0x00;
    put_u64be(out + 1, 0);
    out[9] = 't';
    put_u64be(out + 10, range_id);
}

void tombstones_init(struct tombstones *t)
{
    map_init(&t->by_range);
}

void tombstones_fini(struct tombstones *t)
{
    uint32_t cursor = 0;
    struct tombstone *stone;
    while ((stone = map_next(&t->by_range, &cursor, NULL)) != NULL)
        free(stone);
    map_fini(&t->by_range);
}

const struct tombstone *tombstones_get(const struct tombstones *t, uint64_t range_id)
{
    return map_get(&t->by_range, range_id);
}

uint64_t tombstones_least(const struct tombstones *t, uint64_t range_id)
{
    const struct tombstone *stone = tombstones_get(t, range_id);
    return stone == NULL ? 0 : stone->least_id;
}

static struct tombstone *get_or_make(struct tombstones *t, uint64_t range_id)
{
    struct tombstone *stone = map_get(&t->by_range, range_id);
    ASSERT(range_id != 0);
    if (stone != NULL)
        return stone;
    stone = calloc(1, sizeof *stone);
    if (stone != NULL && map_put(&t->by_range, range_id, stone) != 0) {
        free(stone);
        return NULL;
    }
    return stone;
}

int tombstones_raise(struct tombstones *t, uint64_t range_id, uint64_t least_id)
{
    struct tombstone *stone = get_or_make(t, range_id);
    ASSERT(least_id != 0);
    if (stone == NULL)
        return ERR_NOMEM;
    stone->least_id = MAX(stone->least_id, least_id);
    return 0;
}

int tombstones_end(struct tombstones *t, uint64_t range_id, uint64_t into_range,
                   uint64_t span_epoch)
{
    struct tombstone *stone = get_or_make(t, range_id);
    ASSERT(into_range != 0);
    if (stone == NULL)
        return ERR_NOMEM;
    *stone = (struct tombstone){
        .least_id = TOMBSTONE_ENDED, .into_range = into_range, .span_epoch = span_epoch};
    return 0;
}

const struct tombstone *tombstones_next_ended(const struct tombstones *t, uint32_t *cursor,
                                              uint64_t *ret_range_id)
{
    const struct tombstone *stone;
    while ((stone = map_next(&t->by_range, cursor, ret_range_id)) != NULL) {
        if (stone->into_range != 0)
            return stone;
    }
    return NULL;
}

void tombstone_put(struct lsm_batch *batch, const struct tombstones *t, uint64_t range_id)
{
    const struct tombstone *stone = tombstones_get(t, range_id);
    uint8_t key[KEY_LEN];
    uint8_t value[VALUE_ENDED_LEN] = {FORMAT};
    ASSERT(stone != NULL && stone->least_id != 0);
    make_key(range_id, key);
    put_u64(value + 1, stone->least_id);
    if (stone->into_range != 0) {
        value[0] = FORMAT_ENDED;
        put_u64(value + 9, stone->into_range);
        put_u64(value + 17, stone->span_epoch);
    }
    size_t len = stone->into_range != 0 ? VALUE_ENDED_LEN : VALUE_LEN;
    lsm_batch_put(batch, slice_of(key, sizeof key), stone->least_id, slice_of(value, len), 0);
}

void tombstone_put_gone(struct lsm_batch *batch, uint64_t replica_id)
{
    static const uint8_t value[1] = {FORMAT};
    uint8_t key[RANGE_LOCAL_KEY_LEN];
    ASSERT(replica_id != 0);
    range_gone_key(replica_id, key);
    lsm_batch_put(batch, slice_of(key, sizeof key), 1, slice_of(value, sizeof value), 0);
}

static int load_one(struct tombstones *t, struct slice key, struct slice value, struct err *err)
{
    struct reader r = reader_of(value);
    if (key.len != KEY_LEN)
        return err_set(err, ERR_CORRUPT, "a tombstone's key of %zu bytes", key.len);
    uint64_t range_id = get_u64be(key.data + 10);
    uint8_t format = read_u8(&r);
    uint64_t least_id = read_u64(&r);
    uint64_t into_range = format == FORMAT_ENDED ? read_u64(&r) : 0;
    uint64_t span_epoch = format == FORMAT_ENDED ? read_u64(&r) : 0;
    bool is_fine = format == FORMAT || (format == FORMAT_ENDED && into_range != 0);
    if (r.bad || r.left != 0 || !is_fine || least_id == 0)
        return err_set(err, ERR_CORRUPT, "a tombstone that cannot be read");
    if (range_id == 0)
        return err_set(err, ERR_CORRUPT, "a tombstone of no range");
    int rv = into_range != 0 ? tombstones_end(t, range_id, into_range, span_epoch)
                             : tombstones_raise(t, range_id, least_id);
    return rv == 0 ? 0 : err_set(err, rv, "tombstones");
}

int tombstones_load(struct tombstones *t, struct lsm *lsm, struct err *err)
{
    uint8_t lower[KEY_LEN];
    uint8_t upper[KEY_LEN];
    struct lsm_iter *iter = NULL;
    int rv = 0;
    make_key(0, lower);
    make_key(UINT64_MAX, upper);
    struct lsm_view *view = lsm_view_take(lsm);
    if (view != NULL)
        iter = lsm_iter_new(view, slice_of(lower, sizeof lower), slice_of(upper, sizeof upper),
                            UINT64_MAX, 0);
    if (iter == NULL)
        rv = err_set(err, ERR_NOMEM, "tombstones");
    for (bool more = iter != NULL && lsm_iter_first(iter); more && rv == 0;
         more = lsm_iter_next(iter))
        rv = load_one(t, lsm_iter_key(iter), lsm_iter_value(iter), err);
    if (rv == 0)
        rv = lsm_iter_status(iter, err);
    lsm_iter_free(iter);
    lsm_view_unref(view);
    return rv == 0 ? 0 : err_wrap(err, rv, "load tombstones");
}
