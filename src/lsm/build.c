/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/build.h"

#include <stdlib.h>

#include "base/plant.h"
#include "env/env.h"
#include "lsm/table_read.h"

/* Is there, at below_level or deeper, a piece that shows `key`? Keys ascend, so each
 * level is walked once. */
static bool build_has_below(void *data, struct slice key)
{
    struct build *b = data;
    if (PLANTED(tombstone_dropped_early))
        return false;
    if (b->below_level == 0)
        return true;
    for (unsigned level = b->below_level; level < LSM_LEVELS; level++) {
        const struct version *v = b->below_version;
        size_t *at = &b->below_at[level];
        while (*at < v->count[level] && slice_compare(v->at[level][*at]->hi, key) <= 0)
            (*at)++;
        if (*at < v->count[level] && slice_compare(v->at[level][*at]->lo, key) <= 0)
            return true;
    }
    return false;
}

void build_init(struct build *b, const struct build_env *with, struct cursor *source,
                struct gc_table *gc, const struct version *below, unsigned below_level)
{
    ASSERT(source != NULL);
    ASSERT(below_level == 0 || below != NULL);
    *b = (struct build){
        .with = *with,
        .source = source,
        .gc = gc_table_ref(gc),
        .below_version = below,
        .below_level = below_level,
    };
    gc_filter_init(&b->filter, b->gc, build_has_below, b);
}

void build_set_values(struct build *b, struct build_values *values)
{
    ASSERT(!b->is_started);
    b->values = *values;
    values->victims = (struct value_victims){0};
}

void build_set_span(struct build *b, struct slice lo, struct slice hi)
{
    ASSERT(!b->is_started);
    b->lo = lo;
    b->hi = hi;
}

/* From the newest version of the first key on. */
static void go_first(struct build *b)
{
    cursor_seek(b->source, b->lo, UINT64_MAX);
    if (PLANTED(border_version_lost) && b->lo.len > 0 && b->source->is_valid &&
        slice_equal(b->source->at->key, b->lo))
        cursor_next(b->source);
    b->is_started = true;
}

static bool has_more(const struct build *b)
{
    return b->source->is_valid && (b->hi.len == 0 || slice_compare(b->source->at->key, b->hi) < 0);
}

static int open_table(struct build *b)
{
    char path[ENV_PATH_MAX];
    b->table_number = atomic_fetch_add(b->with.number, 1);
    int rv = disk_path(b->with.dir, DISK_TABLE, b->table_number, path);
    if (rv != 0)
        return err_set(&b->err, rv, "path too long under '%s'", b->with.dir);
    rv = table_builder_open(&b->table, b->with.env, path, &b->with.table, &b->err);
    return rv == 0 ? 0 : err_wrap(&b->err, rv, "build '%s'", path);
}

int build_open_piece(const struct build_env *with, uint64_t number, const struct table_info *info,
                     struct piece **ret_piece, struct err *err)
{
    char path[ENV_PATH_MAX];
    struct buf hi;
    struct piece *p = NULL;
    buf_init(&hi, LSM_KEY_MAX + 1);
    buf_append_slice(&hi, buf_slice(&info->props.largest));
    buf_append_u8(&hi, 0); /* the next key after the largest */
    if (!hi.failed)
        p = piece_new(buf_slice(&info->props.smallest), buf_slice(&hi));
    buf_fini(&hi);
    if (p == NULL)
        return err_set(err, ERR_NOMEM, "piece");
    p->id = number;
    p->file = number;
    p->file_size = info->size;
    p->file_crc = info->crc;
    p->bytes = info->size;
    p->records = info->props.records;
    p->deletes = info->props.deletes;
    int rv = disk_path(with->dir, DISK_TABLE, number, path);
    ASSERT(rv == 0);
    rv = table_open(&p->table, with->env, with->cache, path, number, info->size, err);
    if (rv == 0 && p->table->damage[0] != 0)
        rv = err_set(err, ERR_CORRUPT, "table '%s' just written: %s", path, p->table->damage);
    else if (rv == 0 && p->table->is_bad)
        rv = err_set(err, ERR_CORRUPT, "table '%s' just written: damaged at %llu", path,
                     (unsigned long long)p->table->bad_offset);
    if (rv == 0)
        *ret_piece = p;
    else
        piece_unref(p);
    return rv;
}

static int add_output(struct build *b, struct piece *p)
{
    if (b->output_count == b->output_cap) {
        size_t cap = MAX(b->output_cap * 2, (size_t)4);
        struct build_output *more = realloc(b->outputs, cap * sizeof *more);
        if (more == NULL)
            return err_set(&b->err, ERR_NOMEM, "outputs");
        b->outputs = more;
        b->output_cap = cap;
    }
    b->outputs[b->output_count++] = (struct build_output){.piece = p};
    return 0;
}

/* By what the garbage went that is not in the table. Keys between the spans do not count: they
 * keep theirs, but another compaction would not be rid of it either. */
static int note_filtered(struct build *b)
{
    struct gc_least least;
    struct slice first, last;
    struct buf end;
    table_builder_span(b->table, &first, &last);
    buf_init(&end, LSM_KEY_MAX + 1);
    buf_append_slice(&end, last);
    buf_append_u8(&end, 0);
    int rv = end.failed ? err_set(&b->err, ERR_NOMEM, "span of a table") : 0;
    if (rv == 0 && gc_table_least(b->filter.table, first, buf_slice(&end), &least))
        table_builder_filtered(b->table, least.safe_version, least.range_time_ms);
    buf_fini(&end);
    return rv;
}

static int close_table(struct build *b)
{
    struct table_info info;
    struct piece *piece = NULL;
    int rv = note_filtered(b);
    if (rv == 0)
        rv = table_builder_finish(b->table, &info, &b->err);
    if (rv != 0)
        return rv;
    table_builder_free(b->table, false);
    b->table = NULL;
    b->bytes_out += info.size;
    rv = build_open_piece(&b->with, b->table_number, &info, &piece, &b->err);
    table_props_fini(&info.props);
    if (rv == 0) /* what is damaged already must not take the place of its inputs */
        rv = table_warm(piece->table, &b->err);
    if (rv == 0)
        rv = add_output(b, piece);
    if (rv != 0) {
        char path[ENV_PATH_MAX];
        piece_unref(piece);
        if (disk_path(b->with.dir, DISK_TABLE, b->table_number, path) == 0)
            env_file_unlink(b->with.env, path, NULL);
    }
    return rv;
}

/* ---- values ------------------------------------------------------------- */

static int close_values(struct build *b)
{
    struct value_info info;
    struct piece *piece = NULL;
    int rv = value_builder_finish(&b->value_file, &info, &b->err);
    if (rv != 0)
        return rv;
    value_builder_fini(&b->value_file, false);
    b->has_value_file = false;
    b->bytes_out += info.size;
    b->value_bytes_out += info.size;
    rv = values_open_piece(b->with.env, b->with.cache, b->with.dir, &info, &piece, &b->err);
    if (rv == 0)
        rv = add_output(b, piece);
    if (rv != 0) {
        char path[ENV_PATH_MAX];
        piece_unref(piece);
        if (disk_path(b->with.dir, DISK_VALUES, info.number, path) == 0)
            env_file_unlink(b->with.env, path, NULL);
    }
    return rv;
}

static int write_value(struct build *b, struct entry *e, uint8_t room[ENTRY_REF_BYTES])
{
    struct value_ref ref;
    int rv = 0;
    if (b->has_value_file && value_builder_is_full(&b->value_file, b->with.value_file_bytes))
        rv = close_values(b);
    if (rv == 0 && !b->has_value_file) {
        uint64_t number = atomic_fetch_add(b->with.number, 1);
        rv = value_builder_open(&b->value_file, b->with.env, b->with.dir, number,
                                b->with.value_file_bytes, b->with.table.no_compression, &b->err);
        b->has_value_file = rv == 0;
    }
    if (rv == 0)
        rv = value_builder_add(&b->value_file, e->value, &ref, &b->err);
    if (rv != 0)
        return rv;
    value_ref_encode(&ref, room);
    e->value = slice_of(room, ENTRY_REF_BYTES);
    e->is_ref = true;
    return 0;
}

/* A large value goes out of the table; one of a file that is emptied comes in first. `room`
 * and b->moved hold what `e` points to afterwards. */
static int place_value(struct build *b, struct entry *e, uint8_t room[ENTRY_REF_BYTES])
{
    if (e->kind == ENTRY_DELETE)
        return 0;
    if (e->is_ref && value_victims_has(&b->values.victims, value_ref_decode(e->value).file)) {
        int rv = values_get(b->values.source, e->value, LSM_READ_NO_FILL | TABLE_READ_PAST,
                            &b->moved, &b->err);
        if (rv != 0)
            return rv;
        if (!PLANTED(value_ref_as_value))
            e->value = block_slice(b->moved);
        e->is_ref = false;
        b->bytes_in += e->value.len;
        b->value_bytes_moved += e->value.len;
    }
    if (e->is_ref || !b->values.is_separate || e->value.len < b->with.table.value_bytes)
        return 0;
    return write_value(b, e, room);
}

/* Tiny records have long indexes, and their filters are made from long lists. */
enum { MEMORY_SHARE = 6 };

/* A new file before the present key? Only between keys: one key's versions stay together.
 * The end of a span is a welcome place from half the size on. */
static bool wants_cut(const struct build *b, bool is_new_key, bool ends_local)
{
    if (b->table == NULL || !is_new_key)
        return false;
    if (ends_local || table_builder_is_full(b->table))
        return true;
    if (b->with.table_bytes == 0)
        return false;
    uint64_t bytes = table_builder_bytes(b->table);
    return bytes >= b->with.table_bytes ||
           table_builder_memory(b->table) >= b->with.table_bytes / MEMORY_SHARE ||
           (b->filter.crossed_end && bytes >= b->with.table_bytes / 2);
}

static int step_entry(struct build *b)
{
    struct entry e = *b->source->at;
    struct slice last = buf_slice(&b->filter.key);
    bool is_new_key = !b->filter.has_key || !slice_equal(last, e.key);
    bool ends_local = key_is_local(last) && !key_is_local(e.key);
    bool keep = gc_filter_pass(&b->filter, &e);
    b->bytes_in += e.key.len + e.value.len + 16;
    if (b->filter.key.failed)
        return err_set(&b->err, ERR_NOMEM, "key of %zu bytes", e.key.len);
    int rv = 0;
    if (wants_cut(b, is_new_key, ends_local))
        rv = close_table(b);
    if (rv == 0 && keep && b->table == NULL)
        rv = open_table(b);
    uint8_t room[ENTRY_REF_BYTES];
    if (rv == 0 && keep)
        rv = place_value(b, &e, room);
    if (rv == 0 && keep)
        rv = table_builder_add(b->table, &e, &b->err);
    block_unref(b->moved);
    b->moved = NULL;
    if (rv == 0)
        cursor_next(b->source);
    return rv;
}

static int finish(struct build *b)
{
    int rv = b->table != NULL ? close_table(b) : 0;
    if (rv == 0 && b->has_value_file)
        rv = close_values(b);
    if (rv == 0 && b->output_count > 0 && !PLANTED(table_name_not_synced))
        rv = disk_sync_dir(b->with.env, b->with.dir, &b->err);
    b->is_done = rv == 0;
    return rv;
}

int build_step(struct build *b, uint64_t bytes)
{
    ASSERT(!b->is_done);
    int rv = 0;
    uint64_t stop_at = b->bytes_in + bytes;
    if (!b->is_started)
        go_first(b);
    while (rv == 0 && has_more(b) && b->bytes_in < stop_at)
        rv = step_entry(b);
    if (rv == 0 && !has_more(b)) {
        rv = b->source->status;
        if (rv == 0)
            rv = finish(b);
        else if (b->err.code == 0 && b->source->err != NULL)
            b->err = *b->source->err;
    } else if (rv == 0) {
        return 1;
    }
    if (rv != 0 && rv != DISK_FATAL)
        build_discard(b, false);
    return rv;
}

void build_discard(struct build *b, bool keep)
{
    char path[ENV_PATH_MAX];
    table_builder_free(b->table, keep);
    b->table = NULL;
    value_builder_fini(&b->value_file, keep);
    b->has_value_file = false;
    for (size_t i = 0; i < b->output_count; i++) {
        enum disk_kind kind = b->outputs[i].piece->table->is_values ? DISK_VALUES : DISK_TABLE;
        if (!keep && disk_path(b->with.dir, kind, b->outputs[i].piece->file, path) == 0)
            env_file_unlink(b->with.env, path, NULL); /* else the next open does */
        piece_unref(b->outputs[i].piece);
    }
    b->output_count = 0;
}

void build_fini(struct build *b, bool keep)
{
    build_discard(b, keep);
    free(b->outputs);
    cursor_free(b->source);
    gc_filter_fini(&b->filter);
    gc_table_unref(b->gc);
    value_victims_fini(&b->values.victims);
    *b = (struct build){0};
}
