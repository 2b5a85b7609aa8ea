/* SPDX-License-Identifier: Apache-2.0 */
#include "range/tombstone.h"

#include "base/coding.h"
#include "range/meta.h"

enum { KEY_LEN = 1 + 8 + 1 + 8, VALUE_LEN = 1 + 8, FORMAT = 1 };

_Static_assert(sizeof(uintptr_t) >= sizeof(uint64_t), "an id fits a pointer's number");

static void make_key(uint64_t range_id, uint8_t out[KEY_LEN])
{
    out[0] = 0x00;
    put_u64be(out + 1, 0);
    out[9] = 't';
    put_u64be(out + 10, range_id);
}

void tombstones_init(struct tombstones *t)
{
    map_init(&t->least_of);
}

void tombstones_fini(struct tombstones *t)
{
    map_fini(&t->least_of);
}

uint64_t tombstones_least(const struct tombstones *t, uint64_t range_id)
{
    return (uint64_t)(uintptr_t)map_get(&t->least_of, range_id);
}

int tombstones_raise(struct tombstones *t, uint64_t range_id, uint64_t least_id)
{
    ASSERT(range_id != 0);
    ASSERT(least_id != 0);
    if (tombstones_least(t, range_id) >= least_id)
        return 0;
    return map_put(&t->least_of, range_id, (void *)(uintptr_t)least_id);
}

void tombstone_put(struct lsm_batch *batch, uint64_t range_id, uint64_t least_id)
{
    uint8_t key[KEY_LEN];
    uint8_t value[VALUE_LEN] = {FORMAT};
    ASSERT(least_id != 0);
    make_key(range_id, key);
    put_u64(value + 1, least_id);
    lsm_batch_put(batch, slice_of(key, sizeof key), least_id, slice_of(value, sizeof value), 0);
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
    if (key.len != KEY_LEN)
        return err_set(err, ERR_CORRUPT, "a tombstone's key of %zu bytes", key.len);
    if (value.len != VALUE_LEN || value.data[0] != FORMAT || get_u64(value.data + 1) == 0)
        return err_set(err, ERR_CORRUPT, "a tombstone that cannot be read");
    uint64_t range_id = get_u64be(key.data + 10);
    if (range_id == 0)
        return err_set(err, ERR_CORRUPT, "a tombstone of no range");
    int rv = tombstones_raise(t, range_id, get_u64(value.data + 1));
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
