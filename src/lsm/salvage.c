/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/salvage.h"

#include <stdlib.h>

#include "lsm/block.h"
#include "lsm/fences.h"
#include "lsm/folder.h"
#include "lsm/table_read.h"
#include "lsm/values.h"

struct salvage {
    struct cursor base;
    struct piece *piece;
    const struct version *values;
    struct salvage_told *told;
    size_t part_index, fence_index;
    struct block *part, *part_own, *data;
    struct fences fences;
    struct block_iter it;
    struct entry entry;
    struct buf last; /* encoded key shown last: what goes back is damage */
};

static void loss(struct salvage *s, uint64_t offset, const char *text)
{
    s->told->places++;
    if (s->told->on_loss != NULL)
        s->told->on_loss(s->told->data, s->piece->table, offset, text);
}

/* A place that cannot be read is lost; that memory is out says nothing of it, and ends the walk. */
static void note_failed(struct salvage *s, uint64_t offset, int status, const char *text)
{
    if (status == ERR_NOMEM)
        s->base.status = status;
    else
        loss(s, offset, text);
}

static void drop_block(struct salvage *s)
{
    block_iter_fini(&s->it);
    s->it = (struct block_iter){0};
    block_unref(s->data);
    s->data = NULL;
}

static void drop_part(struct salvage *s)
{
    drop_block(s);
    block_unref(s->part_own);
    s->part_own = s->part = NULL;
}

static bool load_part(struct salvage *s)
{
    struct table *t = s->piece->table;
    struct err why = {0};
    drop_part(s);
    struct table_part *part = &t->parts.items[s->part_index];
    int rv = table_pinned_block(t, &part->pin, part->at.handle, true, LSM_READ_NO_FILL, &s->part,
                                &s->part_own, &why);
    if (rv != 0) {
        note_failed(s, part->at.handle.offset, rv, why.msg);
        s->part = NULL;
        return false;
    }
    s->fences = fences_of(s->part);
    s->fence_index = SIZE_MAX;
    return true;
}

static bool load_block(struct salvage *s)
{
    struct table *t = s->piece->table;
    struct err why = {0};
    struct table_handle at = fences_handle(&s->fences, s->fence_index);
    drop_block(s);
    int rv = table_block(t, at, LSM_READ_NO_FILL, &s->data, &why);
    if (rv == 0 && block_iter_init(&s->it, block_slice(s->data)) != 0)
        rv = table_bad_block(t, at.offset, "not a block of entries", &why);
    if (rv != 0) {
        drop_block(s);
        note_failed(s, at.offset, rv, why.msg);
        return false;
    }
    block_iter_first(&s->it);
    return true;
}

/* On to the next block that can be read; false at the end, or if memory is out. */
static bool next_block(struct salvage *s)
{
    while (s->base.status == 0) {
        while (s->part == NULL && s->base.status == 0) {
            if (s->part_index >= s->piece->table->parts.count)
                return false;
            if (!load_part(s))
                s->part_index++;
        }
        if (s->base.status != 0)
            break;
        s->fence_index++; /* of a fresh partition: to its first */
        if (s->fence_index < s->fences.count) {
            if (load_block(s))
                return true;
            continue;
        }
        drop_part(s);
        s->part_index++;
    }
    return false;
}

/* May the entry be shown: in order, inside the piece, its value at hand? */
static bool is_wanted(struct salvage *s)
{
    const struct piece *p = s->piece;
    const char *why;
    struct slice ikey = block_iter_key(&s->it);
    uint64_t offset = fences_handle(&s->fences, s->fence_index).offset;
    if (!entry_decode(ikey, s->it.value, &s->entry)) {
        loss(s, offset, "an entry makes no sense");
        return false;
    }
    if (slice_compare(s->entry.key, p->lo) < 0 || slice_compare(s->entry.key, p->hi) >= 0)
        return false;
    if (s->last.len > 0 && ikey_compare(buf_slice(&s->last), ikey) >= 0) {
        loss(s, offset, "an entry out of order");
        return false;
    }
    if (s->entry.is_ref) {
        const struct piece *file =
            version_find_file(s->values, value_ref_decode(s->entry.value).file);
        if (file == NULL || !folder_has(file, &why)) {
            s->told->records++;
            return false;
        }
    }
    return true;
}

static void settle(struct salvage *s)
{
    s->base.is_valid = false;
    for (;;) {
        while (s->data == NULL || !s->it.is_valid) {
            if (s->data != NULL && s->it.status != 0)
                note_failed(s, fences_handle(&s->fences, s->fence_index).offset, s->it.status,
                            "entries make no sense");
            if (!next_block(s))
                return;
        }
        if (is_wanted(s))
            break;
        block_iter_next(&s->it);
    }
    buf_clear(&s->last);
    buf_append_slice(&s->last, block_iter_key(&s->it));
    s->base.is_valid = !s->last.failed;
    s->base.status = s->last.failed ? ERR_NOMEM : 0;
}

static void salvage_seek(struct cursor *base, struct slice key, uint64_t version)
{
    struct salvage *s = container_of(base, struct salvage, base);
    ASSERT(key.len == 0 && version == UINT64_MAX);
    drop_part(s);
    buf_clear(&s->last);
    s->part_index = 0;
    s->base.status = 0;
    settle(s);
}

static void salvage_next(struct cursor *base)
{
    struct salvage *s = container_of(base, struct salvage, base);
    block_iter_next(&s->it);
    settle(s);
}

static void salvage_never(struct cursor *base)
{
    (void)base;
    ASSERT(false); /* forward only */
}

static void salvage_never_seek(struct cursor *base, struct slice key, uint64_t version)
{
    (void)key, (void)version;
    salvage_never(base);
}

static void salvage_free(struct cursor *base)
{
    struct salvage *s = container_of(base, struct salvage, base);
    drop_part(s);
    buf_fini(&s->last);
    free(s);
}

static const struct cursor_ops salvage_ops = {
    .seek = salvage_seek,
    .seek_before = salvage_never_seek,
    .last = salvage_never,
    .next = salvage_next,
    .prev = salvage_never,
    .free = salvage_free,
};

struct cursor *salvage_cursor(struct piece *piece, const struct version *values,
                              struct salvage_told *told)
{
    struct salvage *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->base.ops = &salvage_ops;
    s->base.at = &s->entry;
    s->piece = piece;
    s->values = values;
    s->told = told;
    buf_init(&s->last, LSM_KEY_MAX + IKEY_TRAILER);
    return &s->base;
}
