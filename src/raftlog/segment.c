/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "raftlog/internal.h"

void segment_path(const struct raftlog *log, uint32_t file_id, char *out)
{
    snprintf(out, ENV_PATH_MAX, "%s/%08u.raftlog", log->dir, file_id);
}

/* Exactly what segment_path() prints: a file that is not seen here may be one that was written. */
bool segment_name_parse(const char *name, uint32_t *ret_id)
{
    enum { WIDTH = 8 };
    uint64_t id = 0;
    size_t n = 0;
    for (; name[n] >= '0' && name[n] <= '9'; n++) {
        id = id * 10 + (uint64_t)(name[n] - '0');
        if (id > UINT32_MAX)
            return false;
    }
    if (n < WIDTH || (n > WIDTH && name[0] == '0'))
        return false;
    *ret_id = (uint32_t)id;
    return strcmp(name + n, ".raftlog") == 0;
}

struct segment *segment_find(const struct raftlog *log, uint64_t number)
{
    if (log->n_segments == 0)
        return NULL;
    uint64_t first = log->segments[0]->number;
    if (number < first || number - first >= log->n_segments)
        return NULL;
    struct segment *s = log->segments[number - first];
    ASSERT(s->number == number);
    return s;
}

struct segment *segment_last(const struct raftlog *log)
{
    return log->n_segments == 0 ? NULL : log->segments[log->n_segments - 1];
}

struct segment *segment_add(struct raftlog *log, uint64_t number)
{
    ASSERT(number > 0 && number < UINT32_MAX);
    ASSERT(log->n_segments == 0 || segment_last(log)->number + 1 == number);
    log_grow(log, &log->segments, log->n_segments, &log->cap_segments, sizeof *log->segments);
    struct segment *s = log_alloc(log, sizeof *s);
    s->number = number;
    s->seed = record_seed(log->salt, number);
    list_init(&s->in_dying);
    log->segments[log->n_segments++] = s;
    log->last_number = number;
    return s;
}

void segment_free(struct segment *s)
{
    if (s == NULL)
        return;
    env_file_close(s->file);
    free(s->items);
    free(s);
}

static uint32_t segment_item_place(const struct segment *s, uint64_t group)
{
    uint32_t lo = 0, hi = s->n_items;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (s->items[mid].group < group)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct close_item *segment_item(const struct segment *s, uint64_t group)
{
    uint32_t at = segment_item_place(s, group);
    return at < s->n_items && s->items[at].group == group ? &s->items[at] : NULL;
}

void segment_note(struct raftlog *log, struct segment *s, uint64_t group, uint32_t crc)
{
    uint32_t at = segment_item_place(s, group);
    if (at == s->n_items || s->items[at].group != group) {
        if (s->n_items == s->cap_items) {
            s->cap_items = MAX(2 * s->cap_items, UINT32_C(8));
            s->items = log_realloc(log, s->items, s->cap_items * sizeof *s->items);
        }
        memmove(&s->items[at + 1], &s->items[at], (s->n_items - at) * sizeof *s->items);
        s->items[at] = (struct close_item){.group = group};
        s->n_items++;
    }
    s->items[at].count++;
    s->items[at].sum += crc;
}

uint64_t segment_close_len(const struct segment *s, uint32_t more)
{
    uint64_t n = (uint64_t)(s == NULL ? 0 : s->n_items) + more;
    return record_len(RECORD_CLOSE, 0, 1, n * CLOSE_ITEM_LEN);
}

void segment_pin(struct segment *s)
{
    s->pins++;
}

bool segment_is_useful(const struct raftlog *log, uint64_t file_size)
{
    return file_size == log->options.segment_bytes && log->n_spares < LOG_SPARES_MAX &&
           log_file_bytes(log) + file_size <= log->options.limit_bytes;
}

/* The file of a segment that is out of the log. */
static void segment_recycle(struct raftlog *log, struct segment *s)
{
    ASSERT(s->pins == 0);
    if (segment_is_useful(log, s->file_size))
        spare_put(log, s->file_id, s->file, s->file_size);
    else
        spare_reap(log, s->file_id, s->file);
    s->file = NULL;
    segment_free(s);
}

void segment_unpin(struct raftlog *log, struct segment *s)
{
    ASSERT(s->pins > 0);
    s->pins--;
    if (s->pins == 0 && list_is_linked(&s->in_dying)) {
        list_remove(&s->in_dying);
        segment_recycle(log, s);
        writer_post(log); /* there may be room now, and somebody waits for it */
    }
}

void segment_drop_oldest(struct raftlog *log)
{
    ASSERT(log->n_segments > 1);
    struct segment *s = log->segments[0];
    ASSERT(s->live_count == 0 && s->live_bytes == 0);
    ASSERT(s->synced == s->len);
    log->n_segments--;
    memmove(log->segments, log->segments + 1, log->n_segments * sizeof *log->segments);
    log->stats.segments_dropped++;
    if (s->pins > 0)
        list_push_back(&log->dying, &s->in_dying);
    else
        segment_recycle(log, s);
}

bool segment_bind(struct raftlog *log, struct segment *s)
{
    ASSERT(s->file == NULL);
    for (size_t i = 0; i < log->n_spares; i++) {
        struct spare *spare = &log->spares[i];
        if (spare->size < s->capacity)
            continue;
        s->file = spare->file;
        s->file_id = spare->file_id;
        s->file_size = spare->size;
        log->wants_beyond = false; /* who needs another asks again */
        log->n_spares--;
        memmove(spare, spare + 1, (log->n_spares - i) * sizeof *spare);
        return true;
    }
    return false;
}

uint64_t segments_file_bytes(const struct raftlog *log)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < log->n_segments; i++)
        sum += MAX(log->segments[i]->file_size, (uint64_t)log->segments[i]->capacity);
    return sum;
}

uint64_t log_file_bytes(const struct raftlog *log)
{
    uint64_t sum = log->prepare.is_active ? log->prepare.size : 0;
    for (size_t i = 0; i < log->n_segments; i++)
        sum += log->segments[i]->file_size;
    for (size_t i = 0; i < log->n_spares; i++)
        sum += log->spares[i].size;
    LIST_FOREACH(it, &log->dying)
    {
        sum += list_entry(it, struct segment, in_dying)->file_size;
    }
    return sum;
}
