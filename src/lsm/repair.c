/* SPDX-License-Identifier: Apache-2.0
 *
 * lsm_verify_folder(): is everything there that the manifest names, and sound?
 *
 * lsm_repair(): what can be had of a folder that does not open, as a new folder.
 *   keep     the manifest's state, as far as its records are good, if its files are there:
 *            linked, with a new manifest. Tables that are gone are left out, if they are all
 *            that is wrong.
 *   rebuild  else: every table that there is, merged into one level, round what cannot be
 *            read. Nothing says any more what was deleted or superseded: what tables that
 *            waited for removal hold may come back.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "lsm/build.h"
#include "lsm/folder.h"
#include "lsm/lsm.h"
#include "lsm/manifest.h"
#include "lsm/merge.h"
#include "lsm/salvage.h"

enum { LINE_MAX = 512, LAST_LEVEL = LSM_LEVELS - 1 };

struct repair {
    struct folder folder;
    lsm_line_fn on_line;
    void *data;
    uint64_t damaged;    /* places told */
    uint64_t lost;       /* pieces whose file cannot be used */
    bool lost_values;    /* a value file that tables refer to among them */
    struct version *all; /* for a rebuild: value files that can be read */
    struct salvage_told told;
};

static void say(struct repair *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(struct repair *r, const char *fmt, ...)
{
    char text[LINE_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    r->on_line(r->data, text);
}

static const char *suffix(unsigned list)
{
    return list == VERSION_VALUES ? "val" : "tbl";
}

/* ---- what is wrong ------------------------------------------------------ */

static void tell_manifest(struct repair *r)
{
    const struct folder *f = &r->folder;
    if (f->manifest == 0)
        say(r, "no manifest can be read: %s", f->manifest_err.msg);
    else if (f->manifest_status != 0)
        say(r, "MANIFEST-%06llu: %llu good records; then: %s", (unsigned long long)f->manifest,
            (unsigned long long)f->records, f->manifest_err.msg);
    else
        say(r, "MANIFEST-%06llu: %llu records%s", (unsigned long long)f->manifest,
            (unsigned long long)f->records,
            f->is_torn ? ", and a torn one that was never acknowledged" : "");
    r->damaged += f->manifest_status != 0;
}

static void tell_pieces(struct repair *r)
{
    const struct version *v = r->folder.version;
    for (unsigned list = 0; list < VERSION_LISTS; list++) {
        for (size_t i = 0; i < v->count[list]; i++) {
            const struct piece *p = v->at[list][i];
            const char *why;
            uint64_t ref = p->table != NULL ? folder_lost_ref(v, p->table) : 0;
            if (!folder_has(p, &why)) {
                say(r, "%06llu.%s cannot be used: %s (%llu records)", (unsigned long long)p->file,
                    suffix(list), why, (unsigned long long)p->records);
                r->lost++;
            } else if (ref != 0) {
                say(r, "%06llu.tbl refers to %06llu.val, which cannot be used",
                    (unsigned long long)p->file, (unsigned long long)ref);
                r->lost_values = true;
            }
        }
    }
    r->damaged += r->lost + r->lost_values;
}

static bool is_named(const struct version *v, uint64_t file)
{
    for (unsigned list = 0; list < VERSION_LISTS; list++) {
        for (size_t i = 0; i < v->count[list]; i++) {
            if (v->at[list][i]->file == file)
                return true;
        }
    }
    return false;
}

static bool is_data(const struct folder_file *file)
{
    return file->kind == DISK_TABLE || file->kind == DISK_VALUES;
}

static void tell_others(struct repair *r)
{
    const struct folder *f = &r->folder;
    for (size_t i = 0; i < f->count; i++) {
        if (is_data(&f->files[i]) && !is_named(f->version, f->files[i].number))
            say(r, "%06llu.%s (%llu bytes) is not named by the manifest",
                (unsigned long long)f->files[i].number,
                f->files[i].kind == DISK_TABLE ? "tbl" : "val",
                (unsigned long long)f->files[i].size);
    }
}

static void on_bad(void *data, const char *file, uint64_t offset, const char *text)
{
    struct repair *r = data;
    r->damaged++;
    say(r, "%s: damage at %llu: %s", file, (unsigned long long)offset, text);
}

int lsm_verify_folder(struct env *env, const char *dir, lsm_line_fn on_line, void *data,
                      struct err *err)
{
    struct repair r = {.on_line = on_line, .data = data};
    int rv = folder_open(&r.folder, env, dir, err);
    if (rv != 0)
        return rv;
    tell_manifest(&r);
    tell_pieces(&r);
    tell_others(&r);
    const struct version *v = r.folder.version;
    size_t tables = 0;
    for (unsigned list = 0; list < VERSION_LISTS; list++) {
        for (size_t i = 0; i < v->count[list]; i++) {
            const struct piece *p = v->at[list][i];
            const char *why;
            tables += list < VERSION_VALUES;
            if (folder_has(p, &why))
                (void)table_verify(p->table, &p->file_crc, on_bad, &r, NULL);
        }
    }
    say(&r, "%zu tables, %zu value files, %llu damaged places", tables, v->count[VERSION_VALUES],
        (unsigned long long)r.damaged);
    if (r.damaged > 0)
        rv = err_set(err, ERR_CORRUPT, "%llu damaged places in '%s'", (unsigned long long)r.damaged,
                     dir);
    folder_close(&r.folder);
    return rv;
}

/* ---- keep --------------------------------------------------------------- */

static int link_file(struct repair *r, const char *into, bool is_values, uint64_t file,
                     struct err *err)
{
    char from[ENV_PATH_MAX], to[ENV_PATH_MAX];
    enum disk_kind kind = is_values ? DISK_VALUES : DISK_TABLE;
    int rv = disk_path(r->folder.dir, kind, file, from);
    if (rv == 0)
        rv = disk_path(into, kind, file, to);
    if (rv != 0)
        return err_set(err, rv, "path too long under '%s'", into);
    rv = env_file_link(r->folder.env, from, to, err);
    return rv == ERR_EXISTS ? 0 : rv; /* another piece of it was first */
}

static int write_manifest(struct repair *r, const char *into, const struct version *v,
                          uint64_t number, struct err *err)
{
    struct manifest m;
    struct buf snapshot;
    uint64_t order = 1;
    for (unsigned list = 0; list < VERSION_LISTS; list++) {
        for (size_t i = 0; i < v->count[list]; i++) {
            number = MAX(number, v->at[list][i]->id + 1);
            order = MAX(order, v->at[list][i]->order + 1);
        }
    }
    manifest_init(&m, r->folder.env, into);
    buf_init(&snapshot, MANIFEST_RECORD_MAX);
    version_encode(v, number + 1, order, &snapshot);
    int rv = snapshot.failed ? err_set(err, ERR_NOMEM, "manifest")
                             : manifest_begin(&m, number, buf_slice(&snapshot), err);
    buf_fini(&snapshot);
    manifest_fini(&m);
    return rv;
}

/* The folder's version without what is lost. */
static int without_lost(struct repair *r, struct version **ret_version, struct err *err)
{
    const struct version *v = r->folder.version;
    struct edit edit = {0};
    const char *why;
    int rv = 0;
    for (unsigned list = 0; rv == 0 && list < VERSION_LISTS; list++) {
        for (size_t i = 0; rv == 0 && i < v->count[list]; i++) {
            if (!folder_has(v->at[list][i], &why))
                rv = edit_drop(&edit, list, v->at[list][i]->id);
        }
    }
    if (rv == 0)
        rv = version_apply(v, &edit, ret_version, err);
    edit_fini(&edit);
    return rv;
}

static int keep(struct repair *r, const char *into, struct err *err)
{
    struct version *v = NULL;
    int rv = without_lost(r, &v, err);
    for (unsigned list = 0; rv == 0 && list < VERSION_LISTS; list++) {
        for (size_t i = 0; rv == 0 && i < v->count[list]; i++)
            rv = link_file(r, into, list == VERSION_VALUES, v->at[list][i]->file, err);
    }
    if (rv == 0)
        rv = write_manifest(r, into, v, r->folder.number_max + 1, err);
    version_unref(v);
    return rv;
}

/* ---- rebuild ------------------------------------------------------------ */

/* A piece for a file that the manifest does not name; NULL in *ret_piece if it is none that
 * can be read. */
static int adopt(struct repair *r, const struct folder_file *file, struct piece **ret_piece,
                 struct err *err)
{
    struct folder *f = &r->folder;
    struct table *t = NULL;
    char path[ENV_PATH_MAX];
    struct buf hi;
    struct err why = {0};
    bool is_values = file->kind == DISK_VALUES;
    *ret_piece = NULL;
    int rv = disk_path(f->dir, file->kind, file->number, path);
    if (rv == 0)
        rv = is_values ? table_open_values(&t, f->env, f->cache, path, file->number, 0, &why)
                       : table_open(&t, f->env, f->cache, path, file->number, 0, &why);
    if (rv == ERR_IO && folder_is_unreadable(f->env, path, &why)) {
        say(r, "%06llu.%s cannot be used: %s", (unsigned long long)file->number,
            is_values ? "val" : "tbl", why.msg);
        return 0;
    }
    if (rv != 0)
        return err_set(err, rv, "%s", why.msg);
    if (t->damage[0] != 0) {
        say(r, "%s cannot be used: %s", t->name, t->damage);
        table_unref(t);
        return 0;
    }
    buf_init(&hi, LSM_KEY_MAX + 1);
    buf_append_slice(&hi, buf_slice(&t->props.largest));
    buf_append_u8(&hi, 0);
    struct piece *p = is_values   ? version_file_piece()
                      : hi.failed ? NULL
                                  : piece_new(buf_slice(&t->props.smallest), buf_slice(&hi));
    buf_fini(&hi);
    if (p == NULL) {
        table_unref(t);
        return err_set(err, ERR_NOMEM, "piece");
    }
    p->id = p->file = file->number;
    p->file_size = t->size;
    p->bytes = is_values ? t->footer.top.offset : t->size;
    p->records = t->props.records;
    p->deletes = t->props.deletes;
    p->table = t;
    *ret_piece = p;
    return 0;
}

/* Of a value file's bytes, for a manifest that has not heard of it. */
static int file_crc(struct piece *p, struct err *err)
{
    enum { CHUNK = 64 << 10 };
    uint8_t *chunk = malloc(CHUNK);
    int rv = chunk == NULL ? err_set(err, ERR_NOMEM, "value file") : 0;
    for (uint64_t at = 0; rv == 0 && at < p->file_size;) {
        size_t got = 0, len = (size_t)MIN(p->file_size - at, (uint64_t)CHUNK);
        rv = env_file_read(p->table->file, at, chunk, len, &got, err);
        if (rv == 0 && got == 0)
            rv = err_set(err, ERR_CORRUPT, "'%s' ends at %llu", p->table->name,
                         (unsigned long long)at);
        p->file_crc = crc32c(p->file_crc, chunk, got);
        at += got;
    }
    free(chunk);
    return rv;
}

/* All value files that can be read, and of the tables those that the manifest does not name,
 * newest first, then those that it does, in its order. */
struct sources {
    struct piece **tables;
    size_t count;
    struct edit values;
};

static int add_source(struct sources *s, struct piece *p)
{
    struct piece **more = realloc(s->tables, (s->count + 1) * sizeof(*more));
    if (more == NULL) {
        piece_unref(p);
        return ERR_NOMEM;
    }
    s->tables = more;
    s->tables[s->count++] = p;
    return 0;
}

static int gather_file(struct repair *r, const struct folder_file *file, struct sources *s,
                       struct err *err)
{
    struct piece *p = NULL;
    int rv = adopt(r, file, &p, err);
    if (rv != 0 || p == NULL)
        return rv;
    if (file->kind == DISK_TABLE)
        return add_source(s, p);
    struct err why = {0};
    rv = file_crc(p, &why);
    if (rv == 0)
        return edit_add(&s->values, VERSION_VALUES, p);
    char path[ENV_PATH_MAX];
    bool is_lost = rv == ERR_CORRUPT ||
                   (rv == ERR_IO && disk_path(r->folder.dir, DISK_VALUES, p->file, path) == 0 &&
                    folder_is_unreadable(r->folder.env, path, &why));
    if (is_lost) {
        say(r, "%s cannot be used: %s", p->table->name, why.msg);
        rv = 0;
    }
    piece_unref(p);
    return rv == 0 ? 0 : err_set(err, rv, "%s", why.msg);
}

static int gather(struct repair *r, struct sources *s, struct err *err)
{
    const struct folder *f = &r->folder;
    const struct version *v = f->version;
    const char *why;
    int rv = 0;
    bool is_whole = f->manifest_status == 0; /* then what it does not name is dead */
    for (size_t i = f->count; rv == 0 && i-- > 0;) {
        if (is_data(&f->files[i]) && !is_named(v, f->files[i].number) && !is_whole)
            rv = gather_file(r, &f->files[i], s, err);
    }
    for (unsigned list = 0; rv == 0 && list < VERSION_LISTS; list++) {
        for (size_t i = 0; rv == 0 && i < v->count[list]; i++) {
            struct piece *p = v->at[list][i];
            if (!folder_has(p, &why))
                continue;
            rv = list == VERSION_VALUES ? edit_add(&s->values, VERSION_VALUES, piece_ref(p))
                                        : add_source(s, piece_ref(p));
        }
    }
    return rv;
}

static void on_loss(void *data, const struct table *table, uint64_t offset, const char *text)
{
    (void)table;
    struct repair *r = data;
    say(r, "lost: what stood at %llu: %s", (unsigned long long)offset, text);
}

/* All sources merged, in files of `into`. */
static int merge_all(struct repair *r, const struct sources *s, const char *into,
                     atomic_uint_fast64_t *number, struct build *build, struct err *err)
{
    static const struct lsm_gc_span none[1];
    struct lsm_options options;
    struct cursor **cursors = calloc(MAX(s->count, (size_t)1), sizeof(*cursors));
    struct gc_table *gc = gc_table_new(none, 0);
    size_t n = 0;
    lsm_options_init(&options);
    const struct build_env with = {
        .env = r->folder.env,
        .dir = into,
        .cache = r->folder.cache,
        .table = {options.block_bytes, options.restart_every, options.filter_bits, false, 0},
        .table_bytes = options.table_bytes,
        .number = number,
    };
    bool ok = cursors != NULL && gc != NULL;
    for (; ok && n < s->count; n += ok) {
        cursors[n] = salvage_cursor(s->tables[n], r->all, &r->told);
        ok = cursors[n] != NULL;
    }
    struct cursor *merge = ok ? merge_cursor(cursors, n, err) : NULL;
    for (size_t i = 0; !ok && i < n; i++)
        cursor_free(cursors[i]);
    free(cursors);
    int rv = merge == NULL ? err_set(err, ERR_NOMEM, "merge") : 0;
    if (rv == 0) {
        build_init(build, &with, merge, gc, NULL, 0);
        do {
            rv = build_step(build, UINT64_C(1) << 30);
        } while (rv == 1);
        if (rv != 0)
            *err = build->err;
    }
    gc_table_unref(gc);
    return rv;
}

/* The version of what was built, and of the value files that it refers to. */
static int built_version(struct repair *r, const struct build *build, struct version **ret_version,
                         struct err *err)
{
    struct version *empty = version_new();
    struct edit edit = {0};
    int rv = empty == NULL ? err_set(err, ERR_NOMEM, "version") : 0;
    for (size_t i = 0; rv == 0 && i < build->output_count; i++)
        rv = edit_add(&edit, LAST_LEVEL, piece_ref(build->outputs[i].piece));
    for (size_t i = 0; rv == 0 && i < r->all->count[VERSION_VALUES]; i++) {
        struct piece *p = r->all->at[VERSION_VALUES][i];
        bool is_used = false;
        for (size_t j = 0; j < build->output_count && !is_used; j++) {
            const struct table_props *props = &build->outputs[j].piece->table->props;
            for (size_t k = 0; k < props->ref_count; k++)
                is_used |= props->refs[k].file == p->file;
        }
        if (is_used)
            rv = edit_add(&edit, VERSION_VALUES, piece_ref(p));
    }
    if (rv == 0)
        rv = version_apply(empty, &edit, ret_version, err);
    edit_fini(&edit);
    version_unref(empty);
    return rv;
}

static int rebuild(struct repair *r, const char *into, struct err *err)
{
    struct sources s = {0};
    struct build build = {0};
    struct version *empty = version_new(), *v = NULL;
    atomic_uint_fast64_t number;
    atomic_init(&number, r->folder.number_max + 1);
    r->told = (struct salvage_told){.on_loss = on_loss, .data = r};
    int rv = empty == NULL ? err_set(err, ERR_NOMEM, "version") : gather(r, &s, err);
    if (rv == 0)
        rv = version_apply(empty, &s.values, &r->all, err);
    if (rv == 0 && s.count > 0)
        rv = merge_all(r, &s, into, &number, &build, err);
    if (rv == 0)
        rv = built_version(r, &build, &v, err);
    for (size_t i = 0; rv == 0 && i < v->count[VERSION_VALUES]; i++)
        rv = link_file(r, into, true, v->at[VERSION_VALUES][i]->file, err);
    if (rv == 0)
        rv = write_manifest(r, into, v, atomic_load(&number), err);
    if (rv == 0)
        say(r,
            "%zu tables merged; %llu places could not be read, %llu records have lost their value",
            s.count, (unsigned long long)r->told.places, (unsigned long long)r->told.records);
    if (build.source != NULL)
        build_fini(&build, true);
    for (size_t i = 0; i < s.count; i++)
        piece_unref(s.tables[i]);
    free(s.tables);
    edit_fini(&s.values);
    version_unref(v);
    version_unref(r->all);
    version_unref(empty);
    return rv;
}

/* ---- repair ------------------------------------------------------------- */

/* Is the state that the good records make the one to keep? */
static bool may_keep(const struct repair *r)
{
    const struct folder *f = &r->folder;
    if (f->records == 0 || r->lost_values)
        return false;
    return f->manifest_status == 0 || r->lost == 0;
}

static int repair_into(struct repair *r, bool is_kept, const char *into, struct err *err)
{
    if (into == NULL) {
        say(r, "nothing was written: name a new folder to write to");
        return 0;
    }
    if (strlen(into) + DISK_NAME_MAX >= ENV_PATH_MAX)
        return err_set(err, ERR_INVALID, "path too long");
    int rv = env_dir_make(r->folder.env, into, err);
    if (rv == 0)
        rv = is_kept ? keep(r, into, err) : rebuild(r, into, err);
    if (rv == 0)
        rv = disk_sync_parent(r->folder.env, into, err);
    if (rv == DISK_FATAL)
        rv = ERR_IO;
    if (rv == 0)
        say(r, "written to '%s'", into);
    return rv == 0 ? 0 : err_wrap(err, rv, "repair into '%s'", into);
}

int lsm_repair(struct env *env, const char *dir, const char *into, lsm_line_fn on_line, void *data,
               struct err *err)
{
    struct repair r = {.on_line = on_line, .data = data};
    int rv = folder_open(&r.folder, env, dir, err);
    if (rv != 0)
        return rv;
    tell_manifest(&r);
    tell_pieces(&r);
    tell_others(&r);
    bool is_kept = may_keep(&r);
    if (is_kept && r.damaged == 0)
        say(&r, "keep: nothing is wrong with the manifest");
    else if (is_kept && r.folder.manifest_status != 0)
        say(&r, "keep: the state before the damaged record; what was flushed, excised or taken in "
                "later is lost");
    else if (is_kept)
        say(&r, "keep: everything but the tables that cannot be used; older versions of what they "
                "held may show");
    else
        say(&r, "rebuild: all tables are merged; what was deleted or excised lately may come back");
    rv = repair_into(&r, is_kept, into, err);
    folder_close(&r.folder);
    return rv;
}
