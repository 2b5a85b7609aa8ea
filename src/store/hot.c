/* SPDX-License-Identifier: Apache-2.0 */
#include "store/hot.h"

#include <stdlib.h>

struct hot *hot_new(void)
{
    return calloc(1, sizeof(struct hot));
}

bool hot_wants(struct hot *hot)
{
    return hot->seen++ % HOT_EVERY == 0;
}

void hot_note(struct hot *hot, struct slice key)
{
    struct hot_key *at = &hot->keys[hot->count++ % HOT_KEYS];
    at->len = (uint8_t)MIN(key.len, (size_t)HOT_KEY_MAX);
    if (at->len > 0)
        memcpy(at->bytes, key.data, at->len);
    if (hot->count == 2 * HOT_KEYS) /* it stays full */
        hot->count = HOT_KEYS;
}

static int compare(const void *a, const void *b)
{
    const struct hot_key *x = *(const struct hot_key *const *)a;
    const struct hot_key *y = *(const struct hot_key *const *)b;
    return slice_compare(slice_of(x->bytes, x->len), slice_of(y->bytes, y->len));
}

static bool is_inside(struct slice key, struct range_span span)
{
    return slice_compare(span.start, key) < 0 &&
           (span.end.len == 0 || slice_compare(key, span.end) < 0);
}

bool hot_choose(const struct hot *hot, struct range_span span, struct buf *key)
{
    const struct hot_key *sorted[HOT_KEYS];
    struct slice best = {0};
    uint32_t best_off = UINT32_MAX;
    if (hot == NULL || hot->count < HOT_KEYS)
        return false;
    for (uint32_t i = 0; i < HOT_KEYS; i++)
        sorted[i] = &hot->keys[i];
    qsort(sorted, HOT_KEYS, sizeof sorted[0], compare);
    for (uint32_t left = HOT_SIDE_MIN; left <= HOT_KEYS - HOT_SIDE_MIN; left++) {
        struct slice at = slice_of(sorted[left]->bytes, sorted[left]->len);
        uint32_t right = HOT_KEYS - left;
        uint32_t off = left > right ? left - right : right - left;
        /* `left` of them lie before it if it is the first of its like */
        if (compare(&sorted[left - 1], &sorted[left]) == 0 || !is_inside(at, span) ||
            off >= best_off)
            continue;
        best = at;
        best_off = off;
    }
    if (best_off == UINT32_MAX)
        return false;
    buf_append_slice(key, best);
    return !key->failed;
}
