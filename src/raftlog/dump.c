/* SPDX-License-Identifier: Apache-2.0
 *
 * A log folder as text, for people. Knows nothing of an open log and changes nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "raftlog/internal.h"

/* One segment file that has a good head, or none. */
struct dump_file {
    char *name; /* borrowed from the listing */
    uint32_t id;
    bool has_head;
    struct head head;
};

struct dump {
    struct env *env;
    const char *dir;
    raftlog_dump_cb cb;
    void *data;
    struct err *err;
};

static const char *const dump_types[RECORD_TYPE_NR] = {
    [RECORD_APPEND] = "append", [RECORD_COPY] = "copy",   [RECORD_REMOVE] = "remove",
    [RECORD_TRIM] = "trim",     [RECORD_CLOSE] = "close",
};

static int dump_order(const void *a, const void *b)
{
    const struct dump_file *x = a, *y = b;
    uint64_t m = x->has_head ? x->head.number : UINT64_MAX;
    uint64_t n = y->has_head ? y->head.number : UINT64_MAX;
    if (m != n)
        return m < n ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* All of a file in `ret_bytes`, from malloc. */
static int dump_load(const struct dump *d, const char *name, uint8_t **ret_bytes, size_t *ret_len)
{
    char path[ENV_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", d->dir, name);
    struct env_file *file = NULL;
    uint8_t *bytes = NULL;
    uint64_t size = 0;
    size_t got = 0;
    int rv = env_file_open(d->env, path, ENV_OPEN_READ, &file, d->err);
    if (rv == 0)
        rv = env_file_size(file, &size, d->err);
    if (rv == 0) {
        bytes = size < UINT32_MAX ? malloc(size + HEAD_LEN) : NULL;
        rv = bytes == NULL ? err_set(d->err, ERR_NOMEM, "%llu bytes", (unsigned long long)size) : 0;
    }
    if (rv == 0)
        rv = env_file_read(file, 0, bytes, size, &got, d->err);
    env_file_close(file);
    if (rv != 0) {
        free(bytes);
        return err_wrap(d->err, rv, "segment '%s'", path);
    }
    if (got < HEAD_LEN)
        memset(bytes + got, 0, HEAD_LEN - got);
    *ret_bytes = bytes;
    *ret_len = got;
    return 0;
}

static void dump_entry(void *data, uint64_t index, uint32_t offset, const struct entry_head *entry,
                       struct slice bytes)
{
    (void)offset;
    buf_printf(data, " %llu:t%llu/%u/%zu", (unsigned long long)index,
               (unsigned long long)entry->term, entry->type, bytes.len);
}

static void dump_describe(struct buf *text, const struct record *r, struct slice in, bool is_bad)
{
    buf_printf(text, "%s batch=%llu", dump_types[r->type], (unsigned long long)r->batch);
    if (r->group != 0)
        buf_printf(text, " group=%llu term=%llu vote=%llu hint=%llu", (unsigned long long)r->group,
                   (unsigned long long)r->term, (unsigned long long)r->vote,
                   (unsigned long long)r->hint);
    if (r->flags & RECORD_BIRTH)
        buf_printf(text, " birth");
    if (r->flags & RECORD_BASE)
        buf_printf(text, " %s=%llu/t%llu", r->flags & RECORD_RESET ? "reset" : "base",
                   (unsigned long long)r->base_index, (unsigned long long)r->base_term);
    if (r->type == RECORD_TRIM)
        buf_printf(text, " first=%llu", (unsigned long long)r->first_index);
    if (is_bad)
        buf_printf(text, " DAMAGED: %u entries from %llu on", r->count,
                   (unsigned long long)r->first_index);
    else if (r->group != 0)
        record_walk(r, in, dump_entry, text);
    buf_append_u8(text, 0);
}

static int dump_emit(const struct dump *d, const struct dump_file *f, uint64_t offset,
                     uint64_t group, bool is_damage, const char *text)
{
    struct raftlog_dump_record out = {
        .file = f->name,
        .segment = f->has_head ? f->head.number : 0,
        .offset = offset,
        .group = group,
        .is_damage = is_damage,
        .text = text,
    };
    return d->cb(d->data, &out);
}

static int dump_segment(const struct dump *d, const struct dump_file *f)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    int rv = dump_load(d, f->name, &bytes, &len);
    struct buf text;
    buf_init(&text, 1 << 20);
    struct scan scan = scan_of(slice_of(bytes, len), record_seed(f->head.salt, f->head.number));
    enum scan_result result = SCAN_RECORD;
    while (rv == 0 && result != SCAN_END) {
        struct record r = {0};
        result = scan_next(&scan, &r);
        buf_clear(&text);
        if (result == SCAN_GAP) {
            buf_printf(&text, "DAMAGED: no record up to %u", scan.pos);
            buf_append_u8(&text, 0);
        } else if (result != SCAN_END) {
            dump_describe(&text, &r, scan_record_bytes(&scan, &r), result == SCAN_BODY);
        }
        if (text.failed)
            rv = err_set(d->err, ERR_NOMEM, "describe a record");
        else if (result != SCAN_END)
            rv = dump_emit(d, f, scan.at, r.group, result != SCAN_RECORD, (char *)text.data);
    }
    buf_fini(&text);
    free(bytes);
    return rv;
}

static int dump_head(const struct dump *d, struct dump_file *f)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    int rv = dump_load(d, f->name, &bytes, &len);
    if (rv != 0)
        return rv;
    f->has_head = head_decode(bytes, &f->head);
    free(bytes);
    return 0;
}

static int dump_file(const struct dump *d, const struct dump_file *f)
{
    if (!f->has_head)
        return dump_emit(d, f, 0, 0, false, "no segment: a spare, or its head is damaged");
    char text[160];
    snprintf(text, sizeof text, "segment %llu first_live=%llu batch=%llu prev=%u/%08x%s",
             (unsigned long long)f->head.number, (unsigned long long)f->head.first_live,
             (unsigned long long)f->head.batch, f->head.prev_len, f->head.prev_chain,
             f->head.flags & HEAD_PREV_DAMAGED ? " after damage" : "");
    int rv = dump_emit(d, f, 0, 0, false, text);
    return rv != 0 ? rv : dump_segment(d, f);
}

int raftlog_dump(struct env *env, const char *dir, raftlog_dump_cb cb, void *data, struct err *err)
{
    struct dump d = {env, dir, cb, data, err};
    char **names = NULL;
    size_t count = 0, n = 0;
    struct dump_file *files = NULL;
    int rv = env_dir_list(env, dir, &names, &count, err);
    if (rv != 0)
        return err_wrap(err, rv, "log '%s'", dir);
    files = calloc(count + 1, sizeof *files);
    if (files == NULL)
        rv = err_set(err, ERR_NOMEM, "%zu files", count);
    for (size_t i = 0; i < count && rv == 0; i++) {
        uint32_t id;
        if (!segment_name_parse(names[i], &id))
            continue;
        files[n].name = names[i];
        files[n].id = id;
        rv = dump_head(&d, &files[n++]);
    }
    if (rv == 0)
        qsort(files, n, sizeof *files, dump_order);
    for (size_t i = 0; i < n && rv == 0; i++)
        rv = dump_file(&d, &files[i]);
    free(files);
    free(names);
    return rv;
}
