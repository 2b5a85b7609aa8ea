/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32c.h"
#include "base/hash.h"
#include "range/range_internal.h"

static uint64_t hash_here(uint64_t h, const struct lsm_iter *iter)
{
    struct slice key = lsm_iter_key(iter);
    struct slice value = lsm_iter_value(iter);
    h = hash_mix(h, crc32c(0, key.data, key.len));
    h = hash_mix(h, crc32c(0, value.data, value.len));
    h = hash_mix(h, lsm_iter_version(iter));
    return hash_mix(h, lsm_iter_expiry_ms(iter));
}

int range_hash(struct range *range, uint64_t *ret_hash, struct err *err)
{
    struct range_span span = range_descriptor_span(&range->meta.descriptor);
    struct buf meta;
    struct lsm_iter *iter = NULL;
    int rv;
    range_check(range);
    buf_init(&meta, RANGE_META_MAX);
    range_meta_encode(&range->meta, &meta);
    struct lsm_view *view = lsm_view_take(range->lsm);
    if (view != NULL)
        iter = lsm_iter_new(view, span.start, span.end, UINT64_MAX, LSM_READ_NO_FILL);
    if (meta.failed || iter == NULL) {
        rv = err_set(err, ERR_NOMEM, "range hash");
        goto out;
    }
    uint64_t h = hash_mix(0, crc32c(0, meta.data, meta.len));
    for (bool more = lsm_iter_first(iter); more; more = lsm_iter_next(iter)) {
        uint64_t expiry_ms = lsm_iter_expiry_ms(iter);
        if (expiry_ms == 0 || expiry_ms > range->meta.time_ms)
            h = hash_here(h, iter);
    }
    rv = lsm_iter_status(iter, err);
    if (rv == 0)
        *ret_hash = h;
out:
    lsm_iter_free(iter);
    lsm_view_unref(view);
    buf_fini(&meta);
    return rv;
}
