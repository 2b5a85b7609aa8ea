/* SPDX-License-Identifier: Apache-2.0
 *
 * What an operator asks of an engine: verify, checkpoint.
 */
#include <stdio.h>

#include "lsm/lsm_internal.h"

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
    if (rv == 0)
        rv = disk_sync_parent(view->lsm->env, dir, err);
    if (rv == DISK_FATAL)
        rv = ERR_IO;
    return rv == 0 ? 0 : err_wrap(err, rv, "checkpoint '%s'", dir);
}
