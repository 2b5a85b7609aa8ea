/* SPDX-License-Identifier: Apache-2.0
 *
 * What an operator asks of an engine: verify, checkpoint, estimates.
 */
#include <stdio.h>

#include "lsm/lsm_internal.h"
#include "lsm/value_gc.h"

int lsm_verify(const struct lsm_view *view, lsm_bad_fn on_bad, void *data, struct err *err)
{
    const struct version *v = view->version;
    int rv = 0;
    for (unsigned level = 0; level < VERSION_LISTS; level++) {
        for (size_t i = 0; i < v->count[level]; i++) {
            const struct piece *p = v->at[level][i];
            struct err why = {0};
            int status = table_verify(p->table, &p->file_crc, on_bad, data, &why);
            if (status != 0 && rv == 0)
                rv = err_set(err, status, "%s", why.msg);
        }
    }
    return rv;
}

/* ---- checkpoint --------------------------------------------------------- */

static int link_tables(const struct lsm_view *view, const char *dir, struct err *err)
{
    const struct version *v = view->version;
    char from[ENV_PATH_MAX], to[ENV_PATH_MAX];
    int rv = 0;
    for (unsigned level = 0; rv == 0 && level < VERSION_LISTS; level++) {
        for (size_t i = 0; rv == 0 && i < v->count[level]; i++) {
            const struct piece *p = v->at[level][i];
            enum disk_kind kind = level == VERSION_VALUES ? DISK_VALUES : DISK_TABLE;
            rv = disk_path(view->lsm->dir, kind, p->file, from);
            if (rv == 0)
                rv = disk_path(dir, kind, p->file, to);
            if (rv != 0)
                return err_set(err, rv, "path too long under '%s'", dir);
            rv = env_file_link(view->lsm->env, from, to, err);
            if (rv == ERR_EXISTS && p->is_cut)
                rv = 0; /* another piece of the same table was first */
        }
    }
    return rv;
}

static int write_manifest(const struct lsm_view *view, const char *dir, struct err *err)
{
    struct lsm *lsm = view->lsm;
    struct manifest m;
    struct buf snapshot;
    uint64_t number = 1, order = 1;
    for (unsigned level = 0; level < VERSION_LISTS; level++) {
        for (size_t i = 0; i < view->version->count[level]; i++) {
            const struct piece *p = view->version->at[level][i];
            number = MAX(number, MAX(p->id, p->file) + 1);
            order = MAX(order, p->order + 1);
        }
    }
    manifest_init(&m, lsm->env, dir);
    buf_init(&snapshot, MANIFEST_RECORD_MAX);
    version_encode(view->version, number + 1, order, &snapshot);
    int rv = snapshot.failed ? err_set(err, ERR_NOMEM, "manifest")
                             : manifest_begin(&m, number, buf_slice(&snapshot), err);
    buf_fini(&snapshot);
    manifest_fini(&m);
    return rv;
}

int lsm_checkpoint(const struct lsm_view *view, const char *dir, struct err *err)
{
    if (strlen(dir) + DISK_NAME_MAX >= ENV_PATH_MAX)
        return err_set(err, ERR_INVALID, "path too long");
    int rv = env_dir_make(view->lsm->env, dir, err);
    if (rv == 0)
        rv = link_tables(view, dir, err);
    if (rv == 0)
        rv = write_manifest(view, dir, err);
    if (rv == DISK_FATAL)
        rv = ERR_IO;
    return rv == 0 ? 0 : err_wrap(err, rv, "checkpoint '%s'", dir);
}

/* ---- estimates ---------------------------------------------------------- */

/* Places where the data of a span could be cut, with the bytes before each. */
struct middle {
    struct slice start, end;
    uint64_t half;
    uint64_t seen;
    struct buf *out;
};

static struct slice span_max(struct slice a, struct slice b)
{
    return slice_compare(a, b) >= 0 ? a : b;
}

static void offer(struct middle *m, struct slice key)
{
    if (m->out->len > 0 || slice_compare(key, m->start) <= 0 ||
        (m->end.len > 0 && slice_compare(key, m->end) >= 0))
        return;
    buf_append_slice(m->out, key);
}

/* Walk the partitions of one table in key order until half of the bytes is behind. */
static void middle_of_table(struct middle *m, const struct piece *p)
{
    const struct table_parts *parts = &p->table->parts;
    for (size_t i = 0; i < parts->count && m->out->len == 0; i++) {
        const struct table_part *part = &parts->items[i];
        if (slice_compare(part->key, span_max(p->lo, m->start)) < 0)
            continue;
        m->seen += part->at.data_bytes;
        if (m->seen >= m->half)
            offer(m, part->key);
    }
}

/* By the level that has most of the span: its pieces lie in key order. */
static void find_middle(const struct version *v, unsigned level, struct middle *m)
{
    for (size_t i = 0; i < v->count[level] && m->out->len == 0; i++) {
        const struct piece *p = v->at[level][i];
        if (!piece_overlaps(p, m->start, m->end))
            continue;
        if (m->seen > 0 && m->seen >= m->half)
            offer(m, p->lo);
        middle_of_table(m, p);
    }
}

/* What `bytes` of the table of `p` refer to in value files. */
static uint64_t values_of(const struct piece *p, uint64_t bytes)
{
    uint64_t shown = MAX(p->is_cut ? p->bytes : p->table->props.data_bytes, (uint64_t)1);
    uint64_t share = MIN(bytes, shown) * 1000 / shown; /* a product of both might not fit */
    return piece_value_bytes(p) / 1000 * share + piece_value_bytes(p) % 1000 * share / 1000;
}

int lsm_approximate(const struct lsm_view *view, struct slice start, struct slice end,
                    unsigned flags, struct lsm_approx *ret_approx, struct err *err)
{
    const struct version *v = view->version;
    uint64_t bytes = 0, records = 0, most = 0;
    unsigned most_level = 0;
    (void)flags;
    (void)err;
    for (unsigned level = 0; level < LSM_LEVELS; level++) {
        uint64_t of_level = 0;
        for (size_t i = 0; i < v->count[level]; i++) {
            const struct piece *p = v->at[level][i];
            uint64_t b = 0, r = 0;
            if (!piece_overlaps(p, start, end))
                continue;
            struct slice lo = span_max(p->lo, start);
            struct slice hi = end.len == 0 || slice_compare(p->hi, end) < 0 ? p->hi : end;
            table_approximate(p->table, lo, hi, &b, &r);
            of_level += b + values_of(p, b);
            records += r;
        }
        bytes += of_level;
        if (of_level > most && level > 0) {
            most = of_level;
            most_level = level;
        }
    }
    ret_approx->bytes = bytes;
    ret_approx->records = records;
    buf_init(&ret_approx->middle, LSM_KEY_MAX + 1);
    struct middle m = {.start = start, .end = end, .half = most / 2, .out = &ret_approx->middle};
    find_middle(v, most_level, &m);
    return 0;
}
