/* SPDX-License-Identifier: Apache-2.0
 *
 * lsm_open(): CURRENT ─▶ manifest ─▶ version ─▶ tables; then a new manifest, and what
 * a crash left over is removed; in the other order on a full disk. Before CURRENT exists nothing
 * was ever acknowledged: a folder with nothing but a first manifest in it is begun again; one with
 * tables and no CURRENT has been damaged.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lsm/lsm_internal.h"

/* The files of the folder. */
struct listing {
    char **names;
    size_t count;
    uint64_t number_max;
    size_t tables;
    bool has_current;
};

static int list_files(struct lsm *lsm, struct listing *out, struct err *err)
{
    int rv = env_dir_list(lsm->env, lsm->dir, &out->names, &out->count, err);
    for (size_t i = 0; rv == 0 && i < out->count; i++) {
        uint64_t number = 0;
        enum disk_kind kind = disk_parse(out->names[i], &number);
        rv = disk_check_number(out->names[i], number, err);
        out->number_max = MAX(out->number_max, number);
        out->tables += kind == DISK_TABLE || kind == DISK_VALUES;
        out->has_current |= kind == DISK_CURRENT;
    }
    return rv;
}

static int make_folder(struct lsm *lsm, struct err *err)
{
    int rv = env_dir_make(lsm->env, lsm->dir, err);
    if (rv == ERR_EXISTS)
        return 0;
    if (rv != 0)
        return rv;
    return disk_sync_parent(lsm->env, lsm->dir, err);
}

static int replay(void *data, uint64_t seq, struct slice payload, struct err *err)
{
    struct lsm *lsm = data;
    struct edit edit = {0};
    struct version *next = NULL;
    (void)seq;
    int rv = edit_decode(payload, &edit, err);
    if (rv != 0)
        return rv;
    rv = version_apply(lsm->version, &edit, &next, err);
    if (rv == 0) {
        version_unref(lsm->version);
        lsm->version = next;
        uint64_t number = MAX(edit.next_number, atomic_load(&lsm->next_number));
        atomic_store(&lsm->next_number, number);
        lsm->next_order = MAX(edit.next_order, lsm->next_order);
    }
    edit_fini(&edit);
    return rv;
}

static struct table *find_open(const struct version *v, uint64_t file)
{
    for (unsigned level = 0; level < VERSION_LISTS; level++) {
        for (size_t i = 0; i < v->count[level]; i++) {
            const struct piece *p = v->at[level][i];
            if (p->file == file && p->table != NULL)
                return p->table;
        }
    }
    return NULL;
}

static int open_values(struct lsm *lsm, struct piece *p, struct err *err)
{
    char path[ENV_PATH_MAX];
    int rv = disk_path(lsm->dir, DISK_VALUES, p->file, path);
    if (rv != 0)
        return err_set(err, rv, "path too long under '%s'", lsm->dir);
    rv = table_open_values(&p->table, lsm->env, lsm->cache, path, p->file, p->file_size, err);
    if (rv == ERR_NOT_FOUND)
        return err_set(err, ERR_CORRUPT, "value file '%s' is missing", path);
    return rv;
}

static int open_piece(struct lsm *lsm, struct piece *p, struct err *err)
{
    char path[ENV_PATH_MAX];
    struct table *shared = p->is_cut ? find_open(lsm->version, p->file) : NULL;
    if (shared != NULL) {
        p->table = table_ref(shared);
        return 0;
    }
    int rv = disk_path(lsm->dir, DISK_TABLE, p->file, path);
    if (rv != 0)
        return err_set(err, rv, "path too long under '%s'", lsm->dir);
    rv = table_open(&p->table, lsm->env, lsm->cache, path, p->file, p->file_size, err);
    if (rv == ERR_NOT_FOUND)
        return err_set(err, ERR_CORRUPT, "table '%s' is missing", path);
    return rv;
}

static int open_tables(struct lsm *lsm, struct err *err)
{
    int rv = 0;
    for (unsigned level = 0; rv == 0 && level < VERSION_LISTS; level++) {
        for (size_t i = 0; rv == 0 && i < lsm->version->count[level]; i++)
            rv = level == VERSION_VALUES ? open_values(lsm, lsm->version->at[level][i], err)
                                         : open_piece(lsm, lsm->version->at[level][i], err);
    }
    return rv;
}

/* Every value file that a table refers to is one of the version's. */
static int check_refs(const struct version *v, struct err *err)
{
    for (unsigned level = 0; level < LSM_LEVELS; level++) {
        for (size_t i = 0; i < v->count[level]; i++) {
            const struct table *t = v->at[level][i]->table;
            for (size_t n = 0; n < t->props.ref_count; n++) {
                if (version_find_file(v, t->props.refs[n].file) == NULL)
                    return err_set(err, ERR_CORRUPT,
                                   "table '%s' refers to value file '%06llu.val', which the "
                                   "manifest does not name",
                                   t->name, (unsigned long long)t->props.refs[n].file);
            }
        }
    }
    return 0;
}

static int load(struct lsm *lsm, const struct listing *files, struct err *err)
{
    uint64_t number = 0;
    int rv = manifest_current(lsm->env, lsm->dir, &number, err);
    if (rv == 0)
        rv = manifest_load(lsm->env, lsm->dir, number, replay, lsm, NULL, err);
    if (rv != 0)
        return rv;
    char name[DISK_NAME_MAX];
    disk_name(DISK_MANIFEST, number, name);
    rv = disk_check_number(name, atomic_load(&lsm->next_number), err);
    if (rv != 0)
        return rv;
    lsm->manifest.number = number;
    uint64_t next = MAX(MAX(files->number_max, number) + 1, atomic_load(&lsm->next_number));
    atomic_store(&lsm->next_number, next);
    rv = open_tables(lsm, err);
    return rv == 0 ? check_refs(lsm->version, err) : rv;
}

/* A manifest of our own from the start: the old one's end may be torn, or stand only
 * in the page cache. */
static int begin_manifest(struct lsm *lsm, struct err *err)
{
    struct buf snapshot;
    uint64_t number = atomic_fetch_add(&lsm->next_number, 1);
    buf_init(&snapshot, MANIFEST_RECORD_MAX);
    version_encode(lsm->version, atomic_load(&lsm->next_number), lsm->next_order, &snapshot);
    int rv = snapshot.failed ? err_set(err, ERR_NOMEM, "manifest of %zu bytes", snapshot.len)
                             : manifest_begin(&lsm->manifest, number, buf_slice(&snapshot), err);
    buf_fini(&snapshot);
    return rv;
}

/* Everything of ours that the version does not name. What cannot be removed now is
 * met again at the next open. */
static void remove_rest(struct lsm *lsm, const struct listing *files)
{
    char path[ENV_PATH_MAX];
    for (size_t i = 0; i < files->count; i++) {
        uint64_t number = 0;
        enum disk_kind kind = disk_parse(files->names[i], &number);
        bool is_wanted = kind == DISK_OTHER || kind == DISK_CURRENT ||
                         (kind == DISK_MANIFEST && number == lsm->manifest.number) ||
                         ((kind == DISK_TABLE || kind == DISK_VALUES) &&
                          find_open(lsm->version, number) != NULL);
        if (!is_wanted && disk_path(lsm->dir, kind, number, path) == 0)
            env_file_unlink(lsm->env, path, NULL);
    }
}

/* A full disk may be full of what is left over. That can go first, once what says that nothing
 * names it is sure to stay. */
static int begin_or_make_room(struct lsm *lsm, const struct listing *files, struct err *err)
{
    struct err why = {0};
    int rv = begin_manifest(lsm, &why);
    if (rv == 0)
        return 0;
    if (rv != ERR_NO_SPACE || !files->has_current)
        return err_set(err, rv, "%s", why.msg);
    rv = manifest_settle(lsm->env, lsm->dir, lsm->manifest.number, err);
    if (rv != 0)
        return rv;
    remove_rest(lsm, files);
    return begin_manifest(lsm, err);
}

static struct lsm *lsm_new(struct env *env, const char *dir, const struct lsm_options *options)
{
    static const struct lsm_gc_span no_spans[1];
    struct lsm *lsm = calloc(1, sizeof *lsm);
    if (lsm == NULL)
        return NULL;
    lsm->env = env;
    lsm->options = *options;
    options_fit(&lsm->options);
    lsm->data = options->data;
    memcpy(lsm->dir, dir, strlen(dir) + 1);
    lsm_setup(lsm);
    lsm->cache = cache_new(lsm->options.cache_bytes);
    lsm->version = version_new();
    lsm->stock = stock_new(lsm_stock_max(lsm));
    if (lsm->stock != NULL)
        lsm->active = memtable_new(lsm->options.memtable_bytes, lsm->stock);
    lsm->gc = gc_table_new(no_spans, 0);
    if (lsm->cache == NULL || lsm->version == NULL || lsm->active == NULL || lsm->gc == NULL) {
        lsm_free(lsm);
        return NULL;
    }
    return lsm;
}

int lsm_open(struct lsm **ret_lsm, struct env *env, const char *dir,
             const struct lsm_options *options, struct err *err)
{
    struct lsm *lsm = NULL;
    struct listing files = {0};
    int rv = options_check(options, err);
    if (rv == 0 && strlen(dir) + DISK_NAME_MAX >= ENV_PATH_MAX)
        rv = err_set(err, ERR_INVALID, "path too long");
    if (rv == 0) {
        lsm = lsm_new(env, dir, options);
        rv = lsm == NULL ? err_set(err, ERR_NOMEM, "engine") : 0;
    }
    if (rv == 0)
        rv = make_folder(lsm, err);
    if (rv == 0)
        rv = list_files(lsm, &files, err);
    if (rv == 0 && files.has_current)
        rv = load(lsm, &files, err);
    else if (rv == 0 && files.tables > 0)
        rv = err_set(err, ERR_CORRUPT, "there are tables, but no CURRENT");
    else if (rv == 0)
        atomic_store(&lsm->next_number, files.number_max + 1);
    if (rv == 0)
        rv = begin_or_make_room(lsm, &files, err);
    if (rv == 0) {
        remove_rest(lsm, &files);
        files_open(lsm, lsm->version);
        lsm_check(lsm);
        lsm_note_garbage(lsm);
        lsm_note_damage(lsm, "");
        *ret_lsm = lsm;
        lsm = NULL;
        compact_run(*ret_lsm);
        scrub_start(*ret_lsm);
    }
    free(files.names);
    lsm_free(lsm);
    if (rv == DISK_FATAL)
        rv = ERR_IO;
    return rv == 0 ? 0 : err_wrap(err, rv, "open engine '%s'", dir);
}
