/* SPDX-License-Identifier: Apache-2.0
 *
 * lsm_iter: the merge of all sources of a view, seen at a version.
 *
 * Forward, the merge stands on the record shown. Backward, records of a key come with
 * the smallest version first, so the one to show is known only when the key is over:
 * it is copied, and the merge stands before the key. Turning round seeks again from
 * the key shown.
 */
#include <stdlib.h>

#include "lsm/lsm_internal.h"
#include "lsm/merge.h"
#include "lsm/values.h"

struct lsm_iter {
    struct lsm_view *view;
    struct cursor *merge;
    struct buf lower, upper; /* empty upper: no bound */
    uint64_t version_max;
    unsigned flags;
    bool all_versions;
    bool is_valid;
    bool is_forward;
    int status;
    struct err err;
    struct entry at;   /* what is shown */
    struct block *pin; /* that its value is in, if it is of a value file */
    struct buf key;    /* its key (both ways) … */
    struct buf value;  /* … and value (backward) */
};

static struct cursor *open_sources(struct lsm_iter *it, unsigned flags)
{
    const struct version *v = it->view->version;
    size_t room = it->view->mem_count + v->count[0] + LSM_LEVELS, n = 0;
    struct cursor **sources = calloc(room, sizeof(*sources));
    bool ok = sources != NULL;
    for (size_t i = 0; ok && i < it->view->mem_count; i++) {
        if (it->view->mems[i].limit > 0) /* else nothing of it is shown */
            ok = (sources[n++] = memtable_cursor(it->view->mems[i].mem, it->view->mems[i].limit));
    }
    for (size_t i = 0; ok && i < v->count[0]; i++)
        ok = (sources[n++] = piece_cursor(v->at[0][i], flags, &it->err));
    for (unsigned level = 1; ok && level < LSM_LEVELS; level++) {
        if (v->count[level] > 0)
            ok = (sources[n++] = level_cursor(v->at[level], v->count[level], flags, &it->err));
    }
    struct cursor *merge = NULL;
    if (ok)
        merge = merge_cursor(sources, n, &it->err);
    for (size_t i = 0; !ok && i < n; i++)
        cursor_free(sources[i]);
    free(sources);
    return merge;
}

struct lsm_iter *lsm_iter_new(struct lsm_view *view, struct slice lower, struct slice upper,
                              uint64_t version_max, unsigned flags)
{
    struct lsm_iter *it = calloc(1, sizeof *it);
    if (it == NULL)
        return NULL;
    it->view = lsm_view_ref(view);
    it->version_max = version_max;
    it->flags = flags;
    it->all_versions = (flags & LSM_READ_ALL_VERSIONS) != 0;
    buf_init(&it->lower, SIZE_MAX / 2);
    buf_init(&it->upper, SIZE_MAX / 2);
    buf_init(&it->key, LSM_KEY_MAX);
    buf_init(&it->value, LSM_VALUE_MAX);
    buf_append_slice(&it->lower, lower);
    buf_append_slice(&it->upper, upper);
    if (!it->lower.failed && !it->upper.failed)
        it->merge = open_sources(it, flags);
    if (it->merge == NULL) {
        lsm_iter_free(it);
        return NULL;
    }
    return it;
}

void lsm_iter_free(struct lsm_iter *it)
{
    if (it == NULL)
        return;
    block_unref(it->pin);
    cursor_free(it->merge);
    lsm_view_unref(it->view);
    buf_fini(&it->lower);
    buf_fini(&it->upper);
    buf_fini(&it->key);
    buf_fini(&it->value);
    free(it);
}

static bool iter_end(struct lsm_iter *it, int status)
{
    it->is_valid = false;
    it->status = status;
    if (status != 0 && it->err.code == 0)
        it->err.code = status;
    return false;
}

/* The merge may have stopped for a failure. */
static bool iter_end_merge(struct lsm_iter *it)
{
    return iter_end(it, it->merge->status);
}

static bool below_upper(const struct lsm_iter *it, struct slice key)
{
    return it->upper.len == 0 || slice_compare(key, buf_slice(&it->upper)) < 0;
}

static bool above_lower(const struct lsm_iter *it, struct slice key)
{
    return slice_compare(key, buf_slice(&it->lower)) >= 0;
}

static inline bool keep_key(struct lsm_iter *it, struct slice key)
{
    if (key.len <= it->key.cap) {
        memcpy(it->key.data, key.data, key.len);
        it->key.len = key.len;
        return true;
    }
    buf_clear(&it->key);
    buf_append_slice(&it->key, key);
    return !it->key.failed;
}

/* `at` is what to show: its value, if that stands in a value file. */
static inline bool show(struct lsm_iter *it)
{
    it->is_valid = true;
    it->status = 0;
    if (!it->at.is_ref)
        return true;
    block_unref(it->pin);
    it->pin = NULL;
    int rv = values_get(it->view->version, it->at.value, it->flags, &it->pin, &it->err);
    if (rv != 0)
        return iter_end(it, rv);
    it->at.value = block_slice(it->pin);
    it->at.is_ref = false;
    return true;
}

/* ---- forward ------------------------------------------------------------ */

/* Show the first record from where the merge stands on that may be shown.
 * `has_last`: the key (and, all versions, the version) in it->key is done with. */
static bool settle_forward(struct lsm_iter *it, bool has_last)
{
    struct cursor *m = it->merge;
    uint64_t last_version = it->at.version;
    for (; m->is_valid; cursor_next(m)) {
        const struct entry *e = m->at;
        if (!below_upper(it, e->key))
            return iter_end(it, 0);
        bool same = has_last && slice_equal(e->key, buf_slice(&it->key));
        if (e->version > it->version_max)
            continue;
        if (same && (!it->all_versions || e->version == last_version))
            continue;
        if (!keep_key(it, e->key))
            return iter_end(it, ERR_NOMEM);
        has_last = true;
        last_version = e->version;
        if (e->kind == ENTRY_DELETE && !it->all_versions)
            continue;
        it->at = *e;
        return show(it);
    }
    return iter_end_merge(it);
}

static bool go_forward(struct lsm_iter *it, struct slice key, uint64_t version, bool has_last)
{
    it->is_forward = true;
    it->err = (struct err){0};
    cursor_seek(it->merge, key, version);
    return settle_forward(it, has_last);
}

bool lsm_iter_seek(struct lsm_iter *it, struct slice key)
{
    if (!above_lower(it, key))
        key = buf_slice(&it->lower);
    return go_forward(it, key, UINT64_MAX, false);
}

bool lsm_iter_first(struct lsm_iter *it)
{
    return go_forward(it, buf_slice(&it->lower), UINT64_MAX, false);
}

bool lsm_iter_next(struct lsm_iter *it)
{
    ASSERT(it->is_valid);
    if (!it->is_forward)
        return go_forward(it, buf_slice(&it->key), it->at.version, true);
    cursor_next(it->merge);
    return settle_forward(it, true);
}

/* ---- backward ----------------------------------------------------------- */

static bool keep_entry(struct lsm_iter *it, const struct entry *e)
{
    buf_clear(&it->value);
    buf_append_slice(&it->value, e->value);
    if (it->value.failed || !keep_key(it, e->key))
        return false;
    it->at = *e;
    it->at.key = buf_slice(&it->key);
    it->at.value = buf_slice(&it->value);
    return true;
}

/* Show the record that the entries from where the merge stands on, backward, make. */
static bool settle_backward(struct lsm_iter *it)
{
    struct cursor *m = it->merge;
    bool has = false;
    for (; m->is_valid; cursor_prev(m)) {
        const struct entry *e = m->at;
        bool same = has && slice_equal(e->key, it->at.key);
        if (has && (!same || (it->all_versions && e->version != it->at.version))) {
            if (it->all_versions || it->at.kind != ENTRY_DELETE)
                break;
            has = false; /* a deleted key: go on with the one before it */
        }
        if (!above_lower(it, e->key))
            break;
        if (e->version > it->version_max)
            continue;
        if (!keep_entry(it, e))
            return iter_end(it, ERR_NOMEM);
        has = true;
    }
    if (m->status != 0)
        return iter_end_merge(it);
    if (!has || (it->at.kind == ENTRY_DELETE && !it->all_versions))
        return iter_end(it, 0);
    return show(it);
}

static bool go_backward(struct lsm_iter *it, struct slice key, uint64_t version)
{
    it->is_forward = false;
    it->err = (struct err){0};
    cursor_seek_before(it->merge, key, version);
    return settle_backward(it);
}

bool lsm_iter_seek_before(struct lsm_iter *it, struct slice key)
{
    if (!below_upper(it, key))
        key = buf_slice(&it->upper);
    return go_backward(it, key, UINT64_MAX);
}

bool lsm_iter_last(struct lsm_iter *it)
{
    if (it->upper.len > 0)
        return go_backward(it, buf_slice(&it->upper), UINT64_MAX);
    it->is_forward = false;
    it->err = (struct err){0};
    cursor_last(it->merge);
    return settle_backward(it);
}

bool lsm_iter_prev(struct lsm_iter *it)
{
    ASSERT(it->is_valid);
    if (!it->is_forward)
        return settle_backward(it);
    uint64_t version = it->all_versions ? it->at.version : UINT64_MAX;
    struct slice key = it->at.key; /* the merge moves: it->key has the same bytes */
    ASSERT(slice_equal(key, buf_slice(&it->key)));
    return go_backward(it, buf_slice(&it->key), version);
}

/* ---- where it stands ---------------------------------------------------- */

bool lsm_iter_is_valid(const struct lsm_iter *it)
{
    return it->is_valid;
}

struct slice lsm_iter_key(const struct lsm_iter *it)
{
    ASSERT(it->is_valid);
    return it->at.key;
}

struct slice lsm_iter_value(const struct lsm_iter *it)
{
    ASSERT(it->is_valid);
    return it->at.value;
}

uint64_t lsm_iter_version(const struct lsm_iter *it)
{
    ASSERT(it->is_valid);
    return it->at.version;
}

uint64_t lsm_iter_expiry_ms(const struct lsm_iter *it)
{
    ASSERT(it->is_valid);
    return it->at.expiry_ms;
}

bool lsm_iter_is_delete(const struct lsm_iter *it)
{
    ASSERT(it->is_valid);
    return it->at.kind == ENTRY_DELETE;
}

int lsm_iter_status(const struct lsm_iter *it, struct err *err)
{
    if (err != NULL && it->status != 0)
        *err = it->err;
    return it->status;
}
