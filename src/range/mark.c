/* SPDX-License-Identifier: Apache-2.0 */
#include "range/mark.h"

enum { KEY_LEN = 10, VALUE_LEN = 1 + MARK_UUID_LEN, FORMAT = 1 };

static const uint8_t mark_key[KEY_LEN] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 'b'};

void mark_put(struct lsm_batch *batch, const uint8_t uuid[MARK_UUID_LEN])
{
    uint8_t value[VALUE_LEN] = {FORMAT};
    memcpy(value + 1, uuid, MARK_UUID_LEN);
    lsm_batch_put(batch, slice_of(mark_key, KEY_LEN), 1, slice_of(value, VALUE_LEN), 0);
}

static int judge(struct slice value, const uint8_t uuid[MARK_UUID_LEN], struct err *err)
{
    if (value.len != VALUE_LEN || value.data[0] != FORMAT)
        return err_set(err, ERR_CORRUPT, "the engine's mark cannot be read");
    if (memcmp(value.data + 1, uuid, MARK_UUID_LEN) != 0)
        return err_set(err, ERR_INVALID, "the engine is that of another store");
    return 0;
}

int mark_check(struct lsm *lsm, const uint8_t uuid[MARK_UUID_LEN], struct err *err)
{
    uint8_t upper[KEY_LEN];
    struct lsm_iter *iter = NULL;
    memcpy(upper, mark_key, KEY_LEN);
    upper[KEY_LEN - 1]++;
    struct lsm_view *view = lsm_view_take(lsm);
    if (view != NULL)
        iter = lsm_iter_new(view, slice_of(mark_key, KEY_LEN), slice_of(upper, KEY_LEN), UINT64_MAX,
                            0);
    int rv = iter == NULL ? err_set(err, ERR_NOMEM, "look for the engine's mark") : 0;
    bool is_there = iter != NULL && lsm_iter_first(iter);
    if (is_there)
        rv = judge(lsm_iter_value(iter), uuid, err);
    else if (iter != NULL)
        rv = lsm_iter_status(iter, err);
    if (rv == 0 && !is_there)
        rv = ERR_NOT_FOUND;
    lsm_iter_free(iter);
    lsm_view_unref(view);
    return rv;
}
