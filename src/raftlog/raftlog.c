/* SPDX-License-Identifier: Apache-2.0
 *
 * The calls of raftlog.h that are not appending, reading or recovery in themselves. */
#include "raftlog/raftlog.h"

#include <stdio.h>
#include <stdlib.h>

#include "raftlog/internal.h"

void raftlog_options_init(struct raftlog_options *options)
{
    *options = (struct raftlog_options){
        .segment_bytes = 64 << 20,
        .budget_bytes = UINT64_C(1) << 30,
        .limit_bytes = UINT64_C(2) << 30,
        .cache_bytes = 64 << 20,
        .batch_bytes_max = 1 << 20,
        .retry_us = 200000,
        .ahead_bytes = SIZE_MAX,
    };
}

static int options_check(const struct raftlog_options *o, struct err *err)
{
    if (o->segment_bytes < RAFTLOG_SEGMENT_MIN || o->segment_bytes > RAFTLOG_SEGMENT_MAX)
        return err_set(err, ERR_INVALID, "segment size %zu", o->segment_bytes);
    if (o->limit_bytes < 4 * (uint64_t)o->segment_bytes || o->budget_bytes > o->limit_bytes)
        return err_set(err, ERR_INVALID, "log limit of %llu bytes",
                       (unsigned long long)o->limit_bytes);
    if (o->batch_bytes_max == 0 || o->batch_bytes_max > RAFTLOG_SEGMENT_MAX || o->retry_us == 0)
        return err_set(err, ERR_INVALID, "batch size %zu", o->batch_bytes_max);
    return 0;
}

int raftlog_open(struct raftlog **ret_log, struct env *env, const char *dir,
                 const struct raftlog_options *options, struct err *err)
{
    int rv = options_check(options, err);
    if (rv != 0)
        return err_wrap(err, rv, "open log '%s'", dir);
    struct raftlog *log = calloc(1, sizeof *log);
    if (log == NULL)
        return err_set(err, ERR_NOMEM, "open log '%s'", dir);
    log->env = env;
    log->options = *options;
    list_init(&log->dying);
    list_init(&log->reads);
    writer_init(log);
    spare_init(log);
    rewrite_init(log);
    int len = snprintf(log->dir, sizeof log->dir, "%s", dir);
    if (len < 0 || (size_t)len + 32 > sizeof log->dir)
        rv = err_set(err, ERR_INVALID, "path too long");
    if (rv == 0)
        rv = recover(log, err);
    if (rv != 0) {
        raftlog_free(log);
        return err_wrap(err, rv, "open log '%s'", dir);
    }
    log->was_over = raftlog_is_over_budget(log);
    writer_post(log);
    *ret_log = log;
    return 0;
}

void raftlog_free(struct raftlog *log)
{
    if (log == NULL)
        return;
    env_task_cancel(&log->task);
    writer_fini(log);
    spare_stop(log);
    rewrite_stop(log);
    cache_fini(log);
    LIST_FOREACH(it, &log->reads)
    {
        struct raftlog_read *read = list_entry(it, struct raftlog_read, in_reads);
        list_remove(it);
        read->log = NULL;
    }
    raftlog_read_fini(&log->rewrite.read);
    struct list *link;
    while ((link = list_pop_front(&log->dying)) != NULL)
        segment_free(list_entry(link, struct segment, in_dying));
    for (size_t i = 0; i < log->n_segments; i++)
        segment_free(log->segments[i]);
    for (size_t i = 0; i < log->n_groups; i++)
        group_free(log->groups[i]);
    free(log->segments);
    free(log->groups);
    free(log->report);
    free(log);
}

const char *raftlog_damage(const struct raftlog *log)
{
    return log->report == NULL ? "" : log->report;
}

bool raftlog_next_group(const struct raftlog *log, uint64_t after, uint64_t *ret_group)
{
    size_t lo = 0, hi = log->n_groups;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (log->groups[mid]->id <= after)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == log->n_groups)
        return false;
    *ret_group = log->groups[lo]->id;
    return true;
}

int raftlog_group_state(const struct raftlog *log, uint64_t group,
                        struct raftlog_group_state *ret_state)
{
    const struct group *g = group_find(log, group);
    if (g == NULL)
        return ERR_NOT_FOUND;
    *ret_state = (struct raftlog_group_state){
        .term = g->term,
        .vote = g->vote,
        .hint = g->hint,
        .base_index = g->base_index,
        .base_term = g->base_term,
        .first_index = g->base_index + 1,
        .last_index = group_last(g),
        .bytes = g->bytes,
        .is_damaged = g->is_damaged,
    };
    return 0;
}

void raftlog_append(struct raftlog *log, struct raftlog_write *write)
{
    list_init(&write->in_batch);
    if (write->group != 0)
        append_write(log, write);
    struct batch *b = append_open_batch(log);
    list_push_back(&b->writes, &write->in_batch);
    if (env_fault(log->env, "raftlog.batch_of_one"))
        writer_seal(log);
    writer_post(log);
}

/* ---- room ------------------------------------------------------------------ */

uint64_t log_file_room(const struct raftlog *log)
{
    uint64_t size = log->options.segment_bytes;
    uint64_t taken = HEAD_LEN + segment_close_len(NULL, 1) + size / 16;
    return size > taken ? size - taken : 0;
}

static size_t room_spares(const struct raftlog *log)
{
    size_t n_waiting = 0;
    for (size_t i = log->n_segments; i > 0 && log->segments[i - 1]->file == NULL; i--)
        n_waiting++;
    return log->n_spares > n_waiting ? log->n_spares - n_waiting : 0;
}

uint64_t log_room(const struct raftlog *log)
{
    size_t n = room_spares(log);
    if (n > 0) /* what does not fit behind the present end has a file of its own */
        return n * log_file_room(log);
    const struct segment *s = segment_last(log);
    if (s == NULL || s->is_closed || s->file == NULL)
        return 0;
    uint64_t taken = s->len + segment_close_len(s, 1) + log->options.segment_bytes / 16;
    return s->capacity > taken ? s->capacity - taken : 0;
}

uint64_t raftlog_room(const struct raftlog *log)
{
    return log_file_bytes(log) > log->options.limit_bytes ? 0 : log_room(log);
}

bool raftlog_has_room(struct raftlog *log, uint64_t cost)
{
    if (raftlog_room(log) >= MIN(cost, log_file_room(log))) {
        log->wants_beyond = false;
        log->beyond_from = 0;
        return true;
    }
    if (log->short_cost == 0)
        writer_post(log); /* a file may be due that was not before, or the last one closed */
    log->short_cost = cost;
    return false;
}

/* Bytes of files, of which one that was made for a large entry counts as a usual one: alone it may
 * be more than the limit, and what overwrites its entry must still find room. */
static uint64_t usual_file_bytes(const struct raftlog *log)
{
    uint64_t sum = 0, most = log->options.segment_bytes;
    for (size_t i = 0; i < log->n_segments; i++)
        sum += MIN(log->segments[i]->file_size, most);
    for (size_t i = 0; i < log->n_spares; i++)
        sum += MIN(log->spares[i].size, most);
    LIST_FOREACH(it, &log->dying)
    {
        sum += MIN(list_entry(it, struct segment, in_dying)->file_size, most);
    }
    return sum + (log->prepare.is_active ? MIN(log->prepare.size, most) : 0);
}

bool raftlog_has_room_beyond(struct raftlog *log, uint64_t cost)
{
    const struct raftlog_options *o = &log->options;
    uint64_t more = o->limit_bytes + LOG_BEYOND_FILES * (uint64_t)o->segment_bytes;
    if (log->beyond_from == 0)
        log->beyond_from = usual_file_bytes(log);
    bool is_large = cost > log_file_room(log); /* it has a file of its own, made behind it */
    if (log->n_damaged > 0 || usual_file_bytes(log) > log->beyond_from + more ||
        (is_large && log->is_starved))
        return false;
    if (log_room(log) >= MIN(cost, log_file_room(log)))
        return true;
    if (!log->wants_beyond)
        writer_post(log);
    log->wants_beyond = true;
    return false;
}

bool raftlog_is_starved(const struct raftlog *log)
{
    return log->is_starved;
}

bool raftlog_is_over_budget(const struct raftlog *log)
{
    return segments_file_bytes(log) > log->options.budget_bytes;
}

/* ---- changes of groups ------------------------------------------------------- */

void raftlog_note_commit(struct raftlog *log, uint64_t group, uint64_t commit)
{
    struct group *g = group_find(log, group);
    if (g != NULL && commit > g->commit)
        g->commit = commit;
}

void raftlog_append_hints(struct raftlog *log)
{
    for (size_t i = 0; i < log->n_groups; i++) {
        struct group *g = log->groups[i];
        uint64_t hint = group_next_hint(g);
        if (g->is_lost || hint <= g->hint)
            continue;
        g->hint = hint;
        append_record(log, &(struct record_spec){.type = RECORD_APPEND, .group = g});
    }
}

void raftlog_freeze_hint(struct raftlog *log, uint64_t group, bool frozen)
{
    struct group *g = group_find(log, group);
    if (g != NULL)
        g->is_frozen = frozen;
}

void raftlog_compact(struct raftlog *log, uint64_t group, uint64_t first_kept)
{
    struct group *g = group_find(log, group);
    if (g == NULL || g->is_lost || first_kept <= g->base_index + 1)
        return;
    ASSERT(first_kept <= group_last(g) + 1);
    group_compact(log, g, first_kept);
    rewrite_wake(log);
}

void raftlog_remove_group(struct raftlog *log, uint64_t group)
{
    struct group *g = group_find(log, group);
    if (g == NULL)
        return;
    group_truncate(log, g, g->base_index + 1);
    append_record(log, &(struct record_spec){.type = RECORD_REMOVE, .group = g});
    group_drop(log, g);
    rewrite_wake(log);
}

/* ---- figures ------------------------------------------------------------------ */

static bool pin_is_worse(const struct raftlog_pin *a, const struct raftlog_pin *b)
{
    if (a->segment != b->segment)
        return a->segment < b->segment;
    return a->bytes != b->bytes ? a->bytes > b->bytes : a->group < b->group;
}

size_t raftlog_pins(const struct raftlog *log, struct raftlog_pin *ret_pins, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < log->n_groups; i++) {
        const struct group *g = log->groups[i];
        if (g->count == 0)
            continue;
        struct raftlog_pin pin = {g->id, g->bytes, UINT64_MAX};
        for (uint32_t k = 0; k < g->count; k++)
            pin.segment = MIN(pin.segment, (uint64_t)g->refs[g->head + k].segment);
        size_t at = n;
        while (at > 0 && pin_is_worse(&pin, &ret_pins[at - 1]))
            at--;
        if (at == max)
            continue;
        n = MIN(n + 1, max);
        memmove(&ret_pins[at + 1], &ret_pins[at], (n - at - 1) * sizeof *ret_pins);
        ret_pins[at] = pin;
    }
    return n;
}

void raftlog_stats(const struct raftlog *log, struct raftlog_stats *ret_stats)
{
    *ret_stats = log->stats;
    ret_stats->file_bytes = log_file_bytes(log);
    ret_stats->segments = log->n_segments;
    ret_stats->spares = log->n_spares;
    ret_stats->groups = log->n_groups;
    ret_stats->cache_bytes = log->cache_bytes;
    for (size_t i = 0; i < log->n_segments; i++)
        ret_stats->live_bytes += log->segments[i]->live_bytes;
}

uint64_t raftlog_sync_worst_us(struct raftlog *log)
{
    uint64_t worst_us = log->sync_worst_us;
    if (log->flight.is_active)
        worst_us = MAX(worst_us, env_now_us(log->env) - log->flight.sent_us);
    if (log->no_file_since_us != 0)
        worst_us = MAX(worst_us, env_now_us(log->env) - log->no_file_since_us);
    log->sync_worst_us = 0;
    return worst_us;
}

struct raftlog_syncs raftlog_take_syncs(struct raftlog *log)
{
    struct raftlog_syncs syncs = log->syncs;
    if (log->flight.is_active) {
        uint64_t age_us = env_now_us(log->env) - log->flight.sent_us;
        if (age_us > log->late_us) {
            syncs.count++;
            syncs.late++;
            syncs.sum_us += age_us;
        }
    }
    log->syncs = (struct raftlog_syncs){0};
    return syncs;
}

void raftlog_count_late(struct raftlog *log, uint64_t late_us)
{
    log->late_us = late_us;
}

/* ---- check -------------------------------------------------------------------- */

static void check_segments(const struct raftlog *log)
{
    for (size_t i = 0; i < log->n_segments; i++) {
        const struct segment *s = log->segments[i];
        bool is_last = i + 1 == log->n_segments;
        ASSERT(s->number == log->segments[0]->number + i);
        ASSERT(is_last || s->is_closed);
        ASSERT(s->synced <= s->len && s->len <= s->capacity);
        ASSERT(s->file != NULL || s->synced == 0);
        ASSERT(s->file == NULL || s->capacity <= s->file_size);
        ASSERT(is_last || log->segments[i + 1]->synced == 0 || s->synced == s->len);
        for (uint32_t k = 1; k < s->n_items; k++)
            ASSERT(s->items[k - 1].group < s->items[k].group);
    }
}

static void check_chunks(const struct raftlog *log)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < log->n_chunks; i++) {
        const struct chunk *c = log->chunks[i];
        ASSERT(c->synced <= c->len && c->len <= c->cap && c->cap <= c->room);
        bytes += c->room;
        if (i == 0)
            continue;
        const struct chunk *before = log->chunks[i - 1];
        ASSERT(before->number < c->number ||
               (before->number == c->number && before->start + before->len <= c->start));
    }
    ASSERT(bytes == log->cache_bytes);
    uint64_t idle = 0;
    ASSERT(log->n_idle <= LOG_IDLE_MAX);
    for (uint32_t i = 0; i < log->n_idle; i++) {
        ASSERT(log->idle[i].room <= cache_chunk_cap(log));
        idle += log->idle[i].room;
    }
    ASSERT(idle == log->idle_bytes);
    ASSERT(log->n_idle <= 1 || idle <= log->options.cache_bytes / LOG_IDLE_SHARE);
}

/* Every ref points into a segment that is there, at an entry that is not beyond its end;
 * sums over all groups are what the segments count. */
static void check_groups(const struct raftlog *log)
{
    uint64_t count = 0, bytes = 0;
    uint32_t damaged = 0;
    for (size_t i = 0; i < log->n_groups; i++) {
        const struct group *g = log->groups[i];
        uint64_t own = 0, term = g->base_term;
        ASSERT(i == 0 || log->groups[i - 1]->id < g->id);
        ASSERT(g->hint <= group_last(g));
        ASSERT(g->is_born);
        ASSERT(g->is_damaged || segment_find(log, g->last_segment) != NULL);
        for (uint32_t k = 0; k < g->count; k++) {
            const struct ref *ref = &g->refs[g->head + k];
            const struct segment *s = segment_find(log, ref->segment);
            ASSERT(s != NULL && ref->offset + ref_bytes(ref) <= s->len);
            ASSERT(ref->term >= term);
            term = ref->term;
            own += ref_bytes(ref);
        }
        ASSERT(own == g->bytes);
        bytes += own;
        count += g->count;
        damaged += g->is_damaged;
    }
    ASSERT(damaged == log->n_damaged);
    for (size_t i = 0; i < log->n_segments; i++) {
        count -= log->segments[i]->live_count;
        bytes -= log->segments[i]->live_bytes;
    }
    ASSERT(count == 0 && bytes == 0);
}

void raftlog_check(const struct raftlog *log)
{
    check_segments(log);
    check_chunks(log);
    check_groups(log);
    ASSERT(log->n_segments == 0 || log->last_number == segment_last(log)->number);
    ASSERT(log->n_spares <= ARRAY_LEN(log->spares));
}
