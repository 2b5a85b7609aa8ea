/* SPDX-License-Identifier: Apache-2.0
 *
 * Replaying records into the memory of groups. While it goes on, a group's refs may have
 * holes: an entry may stand in a copy that comes after entries with higher indexes. In
 * the end everything above the last recorded base must be there, for a segment goes only
 * after the bases of its groups are recorded behind it; what is missing then was lost,
 * and the group is damaged. */
#include "raftlog/internal.h"

/* Refs of a group during replay: no live counts yet, holes have segment 0. */
static void replay_clear(struct group *g, uint64_t base_index)
{
    g->head = 0;
    g->count = 0;
    g->base_index = base_index;
}

static void replay_reserve(struct raftlog *log, struct group *g, uint64_t count)
{
    ASSERT(g->head == 0 && count < UINT32_MAX / 2);
    if (count <= g->cap)
        return;
    g->cap = (uint32_t)MAX(count, 2 * (uint64_t)g->cap);
    g->refs = log_realloc(log, g->refs, g->cap * sizeof *g->refs);
}

/* Make `index` one of the group's places, with holes towards what is there. */
static void replay_cover(struct raftlog *log, struct group *g, uint64_t index)
{
    if (g->count == 0)
        g->base_index = index - 1;
    if (index <= g->base_index) { /* holes in front */
        uint64_t more = g->base_index + 1 - index;
        replay_reserve(log, g, g->count + more);
        memmove(&g->refs[more], g->refs, g->count * sizeof *g->refs);
        memset(g->refs, 0, more * sizeof *g->refs);
        g->count += (uint32_t)more;
        g->base_index = index - 1;
    }
    uint64_t want = index - g->base_index;
    if (want > g->count) {
        replay_reserve(log, g, want);
        memset(&g->refs[g->count], 0, (want - g->count) * sizeof *g->refs);
        g->count = (uint32_t)want;
    }
}

static void replay_put(struct raftlog *log, struct group *g, uint64_t index, const struct ref *ref)
{
    if (index <= g->mark_base)
        return; /* compacted since */
    uint64_t last = g->base_index + g->count;
    bool is_far = g->count > 0 && ((index > last && index - last > log->holes_max) ||
                                   g->base_index - MIN(index, g->base_index) > log->holes_max);
    if (is_far) {
        log_report(log, "group %llu: entries between %llu and %llu are missing",
                   (unsigned long long)g->id, (unsigned long long)last, (unsigned long long)index);
        group_set_damaged(log, g);
        replay_clear(g, index - 1);
    }
    replay_cover(log, g, index);
    g->refs[index - g->base_index - 1] = *ref;
}

static void replay_truncate(struct group *g, uint64_t first)
{
    uint64_t last = g->base_index + g->count;
    if (first > last)
        return;
    g->count = first <= g->base_index ? 0 : (uint32_t)(first - g->base_index - 1);
}

struct replay_entries {
    struct raftlog *log;
    struct segment *segment;
    struct group *group;
    const struct record *record;
    struct slice bytes;
    uint32_t offset; /* of the record in the file */
};

/* Does a copy of `index`, made from `source`, count? Only if the index points there still,
 * or nowhere because that segment is gone. */
static bool replay_copy_counts(const struct replay_entries *r, uint64_t index, uint64_t source)
{
    const struct ref *now = group_ref(r->group, index);
    uint64_t number = source >> 32;
    if (number < r->log->segments[0]->number)
        return now == NULL || now->segment == 0;
    return now != NULL && now->segment == number && now->offset == (uint32_t)source;
}

static void replay_entry(void *data, uint64_t index, uint32_t offset,
                         const struct entry_head *entry, struct slice bytes)
{
    const struct replay_entries *r = data;
    struct ref ref = {
        .term = entry->term,
        .segment = (uint32_t)r->segment->number,
        .offset = r->offset + offset,
        .len = (uint32_t)bytes.len,
        .type = entry->type,
    };
    if (r->record->type == RECORD_COPY) {
        uint32_t i = (uint32_t)(index - r->record->first_index);
        if (!replay_copy_counts(r, index, record_source(r->record, r->bytes.data, i)))
            return;
    }
    replay_put(r->log, r->group, index, &ref);
}

/* The group of a record, begun anew if this is its birth. */
static struct group *replay_group(struct raftlog *log, const struct record *record)
{
    struct group *g = group_find(log, record->group);
    bool is_birth = (record->flags & RECORD_BIRTH) != 0;
    if (g != NULL && !is_birth)
        return g;
    bool is_new = g == NULL;
    g = group_obtain(log, record->group);
    replay_clear(g, 0);
    g->is_born = true;
    g->mark_segment = 0;
    g->mark_base = g->mark_term = 0;
    if (is_new && !is_birth && log->damage_all != 0)
        group_set_damaged(log, g);
    return g;
}

static void replay_base(struct segment *s, struct group *g, const struct record *record)
{
    if (record->flags & RECORD_RESET)
        replay_clear(g, record->base_index);
    g->mark_segment = (uint32_t)s->number;
    g->mark_base = record->base_index;
    g->mark_term = record->base_term;
}

void replay_record(struct raftlog *log, struct segment *s, uint32_t offset,
                   const struct record *record, struct slice in)
{
    if (record->group == 0)
        return; /* the log's own: recover.c knows them */
    struct group *g = replay_group(log, record);
    if (record->type == RECORD_REMOVE) {
        replay_clear(g, 0);
        group_drop(log, g);
        return;
    }
    g->term = record->term;
    g->vote = record->vote;
    g->hint = record->hint;
    g->last_segment = (uint32_t)s->number;
    if (record->flags & RECORD_BASE)
        replay_base(s, g, record);
    if (record->count == 0)
        return;
    if (record->type == RECORD_APPEND)
        replay_truncate(g, record->first_index);
    struct replay_entries r = {log, s, g, record, in, offset};
    record_walk(record, in, replay_entry, &r);
}

void replay_damage_all(struct raftlog *log, struct segment *s)
{
    s->is_damaged = true;
    log->damage_all = s->number;
    for (size_t i = 0; i < log->n_groups; i++)
        group_set_damaged(log, log->groups[i]);
}

/* Cut what is at and below the base, and look for holes above it. */
static bool replay_settle(struct group *g)
{
    uint64_t base = g->mark_base, last = g->base_index + g->count;
    bool is_whole = true;
    uint64_t low = g->base_index;
    g->base_index = base;
    g->base_term = g->mark_term;
    if (g->count == 0 || last <= base) {
        g->count = 0;
    } else if (low > base) {
        is_whole = false;
    } else {
        g->head = (uint32_t)(base - low);
        g->count -= g->head;
    }
    for (uint32_t i = 0; i < g->count && is_whole; i++)
        is_whole = g->refs[g->head + i].segment != 0;
    g->hint = MAX(g->hint, base);
    return is_whole && g->hint <= group_last(g);
}

void replay_finish(struct raftlog *log)
{
    for (size_t i = 0; i < log->n_groups; i++) {
        struct group *g = log->groups[i];
        if (!replay_settle(g) && !g->is_damaged) {
            log_report(log, "group %llu: entries above %llu are missing", (unsigned long long)g->id,
                       (unsigned long long)g->mark_base);
            group_set_damaged(log, g);
        }
        if (g->is_damaged) {
            g->is_lost = true;
            g->head = 0;
            g->count = 0;
            g->hint = g->base_index;
        }
        g->commit = g->hint;
        for (uint32_t k = 0; k < g->count; k++) {
            const struct ref *ref = &g->refs[g->head + k];
            struct segment *s = segment_find(log, ref->segment);
            ASSERT(s != NULL);
            g->bytes += ref_bytes(ref);
            s->live_count++;
            s->live_bytes += ref_bytes(ref);
        }
    }
}
