/* SPDX-License-Identifier: Apache-2.0
 *
 * Encoding. The happy path of raftlog_append():
 *   - the group's memory changes (reset, truncation, hard state, commit);
 *   - a place is found: segment, chunk, batch; a full segment is closed first, and the
 *     next one begun though its file may not exist yet;
 *   - the record is built in its place, the refs of its entries point into it;
 *   - the write joins the open batch; the end of the turn sends it off.
 * None of it can fail: memory aside, space is asked for before (raftlog_room()). */
#include <stdlib.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/plant.h"
#include "raftlog/internal.h"

struct batch *append_open_batch(struct raftlog *log)
{
    if (log->open != NULL)
        return log->open;
    struct batch *b = log_alloc(log, sizeof *b);
    b->number = log->next_batch++;
    list_init(&b->in_sealed);
    list_init(&b->writes);
    log->open = b;
    return b;
}

/* Bytes of a new chunk for `s` that must hold `len`: no more than that, where it would not hold two
 * of the kind. */
static uint32_t append_chunk_cap(const struct raftlog *log, const struct segment *s, uint32_t len)
{
    uint32_t cap = MIN(cache_chunk_cap(log), s->capacity - s->len);
    return len > cap / 2 ? len : cap;
}

/* The next `len` bytes of `s`, in the open batch. */
static uint8_t *append_space(struct raftlog *log, struct segment *s, uint32_t len)
{
    ASSERT(len > 0 && len <= s->capacity - s->len);
    struct chunk *c = cache_last(log);
    bool fits = c != NULL && c->number == s->number && c->start + c->len == s->len &&
                c->cap - c->len >= len;
    if (!fits) {
        writer_seal(log);
        c = cache_add(log, s, append_chunk_cap(log, s, len));
    }
    struct batch *b = append_open_batch(log);
    if (b->chunk != NULL && b->to - b->from + (uint64_t)len > log->options.batch_bytes_max) {
        writer_seal(log);
        b = append_open_batch(log);
    }
    if (b->chunk == NULL) {
        b->chunk = c;
        b->from = b->to = c->len;
    }
    ASSERT(b->chunk == c && b->to == c->len);
    uint8_t *out = c->data + c->len;
    c->len += len;
    b->to = c->len;
    s->len += len;
    log->stats.pending_bytes += len;
    return out;
}

/* A new segment with room for a record of `len` bytes. */
static struct segment *append_begin_segment(struct raftlog *log, uint64_t len)
{
    struct segment *s = segment_add(log, log->last_number + 1);
    uint64_t need = HEAD_LEN + len + segment_close_len(s, 1);
    ASSERT(need < UINT32_MAX);
    s->capacity = (uint32_t)MAX(need, (uint64_t)log->options.segment_bytes);
    writer_seal(log);
    uint8_t *out = append_space(log, s, HEAD_LEN);
    struct head head = {
        .flags = log->next_flags,
        .number = s->number,
        .salt = log->salt,
        .first_live = log->first_live == 0 ? s->number : log->first_live,
        .batch = log->open->number,
        .prev_len = log->prev_len,
        .prev_chain = log->prev_chain,
    };
    head_encode(&head, out);
    log->first_live = head.first_live;
    log->next_flags = 0;
    return s;
}

/* Build one record in place. Returns where its entries begin in the file. */
static uint32_t append_encode(struct raftlog *log, struct segment *s,
                              const struct record_spec *spec, uint32_t len)
{
    uint32_t offset = s->len;
    uint8_t *out = append_space(log, s, len);
    const struct group *g = spec->group;
    struct record record = {
        .type = spec->type,
        .flags = spec->flags,
        .length = len,
        .count = spec->n,
        .group = g == NULL ? 0 : g->id,
        .batch = log->open->number,
        .batch_start = log->open->chunk->start + log->open->from,
        .first_index = spec->first_index,
    };
    if (g != NULL) {
        record.term = g->term;
        record.vote = g->vote;
        record.hint = g->hint;
        record.base_index = g->base_index;
        record.base_term = g->base_term;
    }
    size_t pos = record_head_len(spec->type, spec->flags, spec->n);
    uint32_t first = offset + (uint32_t)pos;
    for (uint32_t i = 0; i < spec->n; i++) {
        const struct raftlog_entry *e = &spec->entries[i];
        pos +=
            entry_encode(record.group, spec->first_index + i, e->term, e->type, e->data, out + pos);
    }
    ASSERT(pos <= len && len - pos < RECORD_ALIGN);
    memset(out + pos, 0, len - pos);
    uint32_t crc = record_encode(&record, spec->sources, s->seed, out);
    s->chain = crc32c(s->chain, out, 4);
    if (g != NULL)
        segment_note(log, s, g->id, crc);
    return first;
}

static uint64_t append_len(const struct record_spec *spec)
{
    uint64_t data_len = 0;
    for (uint32_t i = 0; i < spec->n; i++)
        data_len += spec->entries[i].data.len;
    uint64_t len = record_len(spec->type, spec->flags, spec->n, data_len);
    ASSERT(len <= RAFTLOG_RECORD_MAX);
    return len;
}

/* The segment is full: list its groups, and let nothing follow in its batch. */
void append_close(struct raftlog *log)
{
    struct segment *s = segment_last(log);
    ASSERT(s != NULL && !s->is_closed);
    size_t table_len = (size_t)s->n_items * CLOSE_ITEM_LEN;
    uint8_t *table = log_realloc(log, NULL, MAX(table_len, (size_t)1));
    for (uint32_t i = 0; i < s->n_items; i++) {
        put_u64(table + (size_t)i * CLOSE_ITEM_LEN, s->items[i].group);
        put_u32(table + (size_t)i * CLOSE_ITEM_LEN + 8, s->items[i].count);
        put_u32(table + (size_t)i * CLOSE_ITEM_LEN + 12, s->items[i].sum);
    }
    struct raftlog_entry entry = {.data = slice_of(table, table_len)};
    struct record_spec spec = {.type = RECORD_CLOSE, .entries = &entry, .n = 1};
    append_encode(log, s, &spec, (uint32_t)append_len(&spec));
    free(table);
    s->is_closed = true;
    log->prev_len = s->len;
    log->prev_chain = s->chain;
    log->next_flags = 0;
    writer_seal(log);
}

/* The refs of what was just encoded, its first entry at `offset` of `s`. */
static void append_refs(struct raftlog *log, const struct segment *s,
                        const struct record_spec *spec, uint32_t offset)
{
    for (uint32_t i = 0; i < spec->n; i++) {
        const struct raftlog_entry *e = &spec->entries[i];
        struct ref ref = {
            .term = e->term,
            .segment = (uint32_t)s->number,
            .offset = offset,
            .len = (uint32_t)e->data.len,
            .type = e->type,
        };
        if (spec->type == RECORD_COPY)
            group_move(log, spec->group, spec->first_index + i, &ref);
        else
            group_push(log, spec->group, &ref);
        offset += (uint32_t)ref_bytes(&ref);
    }
}

void append_record(struct raftlog *log, const struct record_spec *asked)
{
    struct record_spec spec = *asked;
    struct group *g = spec.group;
    if (g != NULL && !g->is_born)
        spec.flags |= RECORD_BIRTH;
    uint64_t len = append_len(&spec);
    struct segment *s = segment_last(log);
    if (s != NULL && !s->is_closed) {
        uint32_t more = g != NULL && segment_item(s, g->id) == NULL;
        if (s->len + len + segment_close_len(s, more) > s->capacity)
            append_close(log);
    }
    if (s == NULL || s->is_closed)
        s = append_begin_segment(log, len);
    uint32_t first = append_encode(log, s, &spec, (uint32_t)len);
    ASSERT(s->len + segment_close_len(s, 0) <= s->capacity);
    if (g == NULL)
        return;
    g->is_born = true;
    g->last_segment = (uint32_t)s->number;
    if (spec.flags & RECORD_BASE) {
        g->mark_segment = (uint32_t)s->number;
        g->mark_base = g->base_index;
    }
    append_refs(log, s, &spec, first);
    writer_post(log);
}

/* What the write does to the group's memory before its record is built; the hint
 * counts the entries that come with it. */
static void append_apply(struct raftlog *log, struct group *g, const struct raftlog_write *w)
{
    if (w->has_hard_state) {
        ASSERT(w->term >= g->term);
        g->term = w->term;
        g->vote = w->vote;
    }
    if (w->has_reset)
        group_reset(log, g, w->base_index, w->base_term);
    if (w->n > 0) {
        ASSERT(w->first_index > g->base_index && w->first_index <= group_last(g) + 1);
        ASSERT(w->first_index > g->hint); /* what is committed is never cut */
        group_truncate(log, g, w->first_index);
    }
    g->commit = MAX(g->commit, w->commit);
    if (!g->is_frozen)
        g->hint = MAX(g->hint, MIN(g->commit, group_last(g) + w->n));
    if (PLANTED(hint_is_commit))
        g->hint = g->commit;
}

void append_write(struct raftlog *log, struct raftlog_write *w)
{
    struct group *g = group_obtain(log, w->group);
    ASSERT(!g->is_lost);
    append_apply(log, g, w);
    struct record_spec spec = {
        .type = RECORD_APPEND,
        .group = g,
        .first_index = w->first_index,
        .entries = w->entries,
        .n = w->n,
    };
    if (w->has_reset)
        spec.flags = RECORD_BASE | RECORD_RESET;
    append_record(log, &spec);
    if (segment_last(log)->capacity > log->options.segment_bytes)
        rewrite_note_large(log);
    ASSERT(g->hint <= group_last(g) || PLANTED(hint_is_commit));
    log->stats.appends++;
}
