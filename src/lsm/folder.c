/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/folder.h"

#include <stdio.h>
#include <stdlib.h>

#include "lsm/manifest.h"

enum { CACHE_BYTES = 1 << 20 };

static int compare_file(const void *a, const void *b)
{
    const struct folder_file *x = a, *y = b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static int list_files(struct folder *f, struct err *err)
{
    char path[ENV_PATH_MAX];
    char **names = NULL;
    size_t count = 0;
    bool is_dir;
    int rv = env_dir_list(f->env, f->dir, &names, &count, err);
    if (rv == 0)
        f->files = calloc(MAX(count, (size_t)1), sizeof *f->files);
    if (rv == 0 && f->files == NULL)
        rv = err_set(err, ERR_NOMEM, "list of files");
    for (size_t i = 0; rv == 0 && i < count; i++) {
        struct folder_file *file = &f->files[f->count];
        *file = (struct folder_file){.kind = disk_parse(names[i], &file->number)};
        file->kind = disk_parse(names[i], &file->number);
        if (snprintf(path, sizeof path, "%s/%s", f->dir, names[i]) >= (int)sizeof path)
            continue;
        if (file->kind == DISK_OTHER ||
            env_file_stat(f->env, path, &file->size, &is_dir, NULL) != 0)
            continue;
        rv = disk_check_number(names[i], file->number, err);
        f->number_max = MAX(f->number_max, file->number);
        f->count++;
    }
    free(names);
    if (rv == 0 && f->count > 0)
        qsort(f->files, f->count, sizeof *f->files, compare_file);
    return rv;
}

const struct folder_file *folder_find(const struct folder *f, enum disk_kind kind, uint64_t number)
{
    const struct folder_file want = {.kind = kind, .number = number};
    return f->count == 0 ? NULL
                         : bsearch(&want, f->files, f->count, sizeof *f->files, compare_file);
}

bool folder_is_unreadable(struct env *env, const char *path, struct err *err)
{
    enum { CHUNK = 64 << 10 };
    struct env_file *file = NULL;
    uint8_t *chunk = malloc(CHUNK);
    struct err why = {0};
    size_t got = 1;
    int rv = 0;
    if (chunk == NULL || env_file_open(env, path, ENV_OPEN_READ, &file, NULL) != 0)
        got = 0;
    for (uint64_t at = 0; rv == 0 && got > 0; at += got)
        rv = env_file_read(file, at, chunk, CHUNK, &got, &why);
    env_file_close(file);
    free(chunk);
    if (rv != ERR_IO)
        return false;
    err_set(err, rv, "%s", why.msg);
    return true;
}

/* ---- the manifest ------------------------------------------------------- */

/* What reading `kind` failed with, if no other file may stand in for it; else 0. */
static int fatal_of(const struct folder *f, enum disk_kind kind, uint64_t number, int status)
{
    char path[ENV_PATH_MAX];
    if (status == ERR_IO && disk_path(f->dir, kind, number, path) == 0 &&
        folder_is_unreadable(f->env, path, NULL))
        return 0;
    return status == ERR_IO || status == ERR_NOMEM ? status : 0;
}

static int replay(void *data, uint64_t seq, struct slice payload, struct err *err)
{
    struct folder *f = data;
    struct edit edit = {0};
    struct version *next = NULL;
    int rv = edit_decode(payload, &edit, err);
    if (rv != 0)
        return rv;
    rv = version_apply(f->version, &edit, &next, err);
    if (rv == 0) {
        version_unref(f->version);
        f->version = next;
        f->records = seq;
    }
    edit_fini(&edit);
    return rv;
}

/* As far as it goes; *ret_status and f->manifest_err tell why not to the end. */
static int read_manifest(struct folder *f, uint64_t number)
{
    struct version *empty = version_new();
    if (empty == NULL)
        return ERR_NOMEM;
    version_unref(f->version);
    f->version = empty;
    f->records = 0;
    f->manifest = number;
    f->is_torn = false;
    f->manifest_err = (struct err){0};
    f->manifest_status =
        manifest_load(f->env, f->dir, number, replay, f, &f->is_torn, &f->manifest_err);
    return fatal_of(f, DISK_MANIFEST, number, f->manifest_status);
}

/* The one that CURRENT names; when nothing can be had of that, the newest of which something
 * can. */
static int find_manifest(struct folder *f)
{
    struct err why = {0};
    uint64_t number = 0;
    int current = manifest_current(f->env, f->dir, &number, &why);
    int rv = current == 0 ? read_manifest(f, number) : fatal_of(f, DISK_CURRENT, 0, current);
    if (rv != 0 && current != 0)
        f->manifest_err = why;
    if (rv != 0)
        return rv;
    if (current == 0 && f->records > 0)
        return 0;
    struct err first = current != 0 ? why : f->manifest_err;
    int status = current != 0 ? current : f->manifest_status;
    for (size_t i = f->count; rv == 0 && i-- > 0 && f->records == 0;) {
        if (f->files[i].kind == DISK_MANIFEST && f->files[i].number != number)
            rv = read_manifest(f, f->files[i].number);
    }
    if (rv != 0)
        return rv;
    if (f->records == 0)
        f->manifest = 0;
    f->manifest_status = status;
    f->manifest_err = first;
    return 0;
}

/* ---- tables ------------------------------------------------------------- */

/* Unlike in an engine that opens, what cannot be read is damage: something to go round. */
static int open_file(struct folder *f, struct piece *p, bool is_values, struct err *err)
{
    char path[ENV_PATH_MAX];
    struct err why = {0};
    int rv = disk_path(f->dir, is_values ? DISK_VALUES : DISK_TABLE, p->file, path);
    if (rv != 0)
        return err_set(err, rv, "path too long under '%s'", f->dir);
    rv = is_values
             ? table_open_values(&p->table, f->env, f->cache, path, p->file, p->file_size, &why)
             : table_open(&p->table, f->env, f->cache, path, p->file, p->file_size, &why);
    if (rv == ERR_IO && folder_is_unreadable(f->env, path, &why)) {
        p->table = table_unreadable(f->env, f->cache, path, is_values, p->file, why.msg);
        return p->table == NULL ? err_set(err, ERR_NOMEM, "table") : 0;
    }
    return rv == 0 || rv == ERR_NOT_FOUND ? 0 : err_set(err, rv, "%s", why.msg);
}

static int open_files(struct folder *f, struct err *err)
{
    int rv = 0;
    for (unsigned list = 0; rv == 0 && list < VERSION_LISTS; list++) {
        for (size_t i = 0; rv == 0 && i < f->version->count[list]; i++)
            rv = open_file(f, f->version->at[list][i], list == VERSION_VALUES, err);
    }
    return rv;
}

bool folder_has(const struct piece *p, const char **ret_why)
{
    *ret_why = p->table == NULL ? "missing" : p->table->damage;
    return p->table != NULL && p->table->damage[0] == 0;
}

uint64_t folder_lost_ref(const struct version *v, const struct table *t)
{
    const char *why;
    for (size_t i = 0; i < t->props.ref_count; i++) {
        const struct piece *p = version_find_file(v, t->props.refs[i].file);
        if (p == NULL || !folder_has(p, &why))
            return t->props.refs[i].file;
    }
    return 0;
}

/* ---- open, close -------------------------------------------------------- */

int folder_open(struct folder *f, struct env *env, const char *dir, struct err *err)
{
    *f = (struct folder){.env = env, .dir = dir, .version = version_new()};
    f->cache = cache_new(CACHE_BYTES);
    int rv = f->version == NULL || f->cache == NULL ? err_set(err, ERR_NOMEM, "folder") : 0;
    if (rv == 0)
        rv = list_files(f, err);
    if (rv == 0 && f->count == 0)
        rv = err_set(err, ERR_NOT_FOUND, "'%s' has no file of an engine", dir);
    if (rv == 0) {
        rv = find_manifest(f);
        if (rv != 0)
            err_set(err, rv, "manifest of '%s': %s", dir, f->manifest_err.msg);
    }
    if (rv == 0)
        rv = open_files(f, err);
    if (rv != 0)
        folder_close(f);
    return rv;
}

void folder_close(struct folder *f)
{
    version_unref(f->version);
    cache_free(f->cache);
    free(f->files);
    *f = (struct folder){0};
}
