/* SPDX-License-Identifier: Apache-2.0
 *
 * Rewriting: the oldest segment is emptied and its file used again.
 *   - every live entry of it is read, and copied to the head if the index still points
 *     where it was read from (COPY records cut nothing);
 *   - then, in one go: each group with records in it gets a record with its hard state,
 *     hint and base, unless a later segment has the same; then TRIM says which segment
 *     is the first from now on;
 *   - when all that is synced, the segment goes.
 * A crash anywhere leaves the old segment, or everything of it in later ones. Only the
 * oldest goes, so the segments in use have no gap and what cuts entries off never goes
 * before what it cut. */
#include "raftlog/internal.h"

enum {
    REWRITE_STATE_LEN = 96,  /* bytes of a record with state alone, about */
    REWRITE_PAUSES_MAX = 64, /* the longest wait after a failed read, in retry_us */
    REWRITE_UNREAD_TRIES = 4,
    REWRITE_UNREAD_US = 30 * 1000 * 1000,
};

/* What would be copied of all segments. */
static uint64_t rewrite_live(const struct raftlog *log)
{
    uint64_t live = (uint64_t)log->n_groups * REWRITE_STATE_LEN;
    for (size_t i = 0; i < log->n_segments; i++)
        live += log->segments[i]->live_bytes;
    return live;
}

/* Entries larger than a segment make few files large, and the one before such a file is closed
 * nearly empty: where that leaves no file more to the budget, the files count, not how many there
 * are or what is in them. */
static bool rewrite_is_crowded(const struct raftlog *log)
{
    bool has_large = false;
    for (size_t i = 0; i < log->n_segments && !has_large; i++)
        has_large = log->segments[i]->capacity > log->options.segment_bytes;
    if (!has_large)
        return false;
    uint64_t used = segments_file_bytes(log);
    return used + log->options.segment_bytes > log->options.budget_bytes &&
           2 * rewrite_live(log) < used;
}

/* Copied once from end to end, what lives stands as close together as it can: again would win
 * nothing until something lives no longer, or another large file comes. */
static bool rewrite_has_passed(const struct raftlog *log)
{
    return log->rewrite.pass_end != 0 && log->segments[0]->number > log->rewrite.pass_end;
}

/* Is it worth it? What is copied must be small against what is won, either here or in
 * the log as a whole; else copying would feed itself. */
static bool rewrite_is_due(const struct raftlog *log)
{
    if (log->n_segments < 2 || log->n_damaged > 0)
        return false;
    const struct segment *s = log->segments[0];
    if (!s->is_closed || s->synced < s->len)
        return false;
    if (log->options.no_rewrite && s->live_count > 0)
        return false;
    uint64_t cost = s->live_bytes + (uint64_t)s->n_items * REWRITE_STATE_LEN;
    if (cost <= s->len / 4)
        return true;
    if (rewrite_is_crowded(log) && !rewrite_has_passed(log))
        return true;
    uint64_t len = 0;
    for (size_t i = 0; i < log->n_segments; i++)
        len += log->segments[i]->len;
    return log->n_segments >= 4 && 2 * rewrite_live(log) < len;
}

/* The only segment is the file of one large entry, in which there is hardly room for anything
 * else, and it takes the room of the files to come. Nothing that is written will begin another:
 * nothing may be. */
static bool rewrite_is_walled(const struct raftlog *log)
{
    const struct segment *s = segment_last(log);
    bool may_copy = !log->options.no_rewrite || (s != NULL && s->live_count == 0);
    return log->n_segments == 1 && log->n_damaged == 0 && log->short_cost > 0 && may_copy &&
           s->capacity > log->options.segment_bytes && s->synced == s->len &&
           rewrite_is_crowded(log);
}

/* Records of so many bytes fit behind the end, or into a file that is there for them: else a
 * segment would be begun without one, and on a full disk votes would wait behind it. */
static bool rewrite_has_room(struct raftlog *log, uint64_t bytes)
{
    log->rewrite.wants_room = log_room(log) < MIN(bytes, log_file_room(log));
    return !log->rewrite.wants_room;
}

static size_t rewrite_step_bytes(const struct raftlog *log)
{
    return MIN((size_t)LOG_COPY_BYTES_MAX, log->options.segment_bytes / 8);
}

/* The next run of live entries in the oldest segment, by group and index. */
static bool rewrite_find(struct raftlog *log, uint64_t *ret_group, uint64_t *ret_first,
                         uint64_t *ret_last)
{
    struct rewrite *rw = &log->rewrite;
    const struct segment *s = log->segments[0];
    for (; rw->item < s->n_items; rw->item++, rw->index = 0) {
        const struct group *g = group_find(log, s->items[rw->item].group);
        if (g == NULL || s->live_count == 0)
            continue;
        uint64_t index = MAX(rw->index, g->base_index) + 1;
        while (index <= group_last(g) && group_ref(g, index)->segment != s->number)
            index++;
        if (index > group_last(g))
            continue;
        *ret_group = g->id;
        *ret_first = index;
        while (index < group_last(g) && group_ref(g, index + 1)->segment == s->number &&
               index + 1 - *ret_first < RECORD_COPY_MAX)
            index++;
        *ret_last = index;
        return true;
    }
    return false;
}

static bool ref_equal(const struct ref *a, const struct ref *b)
{
    return a->segment == b->segment && a->offset == b->offset && a->term == b->term &&
           a->len == b->len;
}

/* Copy what was read, as far as it is still what the index points at. */
static void rewrite_copy(struct raftlog *log, const struct raftlog_read *read)
{
    struct group *g = group_find(log, read->group);
    const struct ref *planned = read_refs(read);
    uint64_t sources[RECORD_COPY_MAX];
    ASSERT(read->n <= RECORD_COPY_MAX);
    uint32_t n = 0;
    for (uint32_t i = 0; g != NULL && i <= read->n; i++) {
        const struct ref *now = i < read->n ? group_ref(g, read->first + i) : NULL;
        if (now != NULL && ref_equal(now, &planned[i])) {
            sources[n++] = (uint64_t)now->segment << 32 | now->offset;
            continue;
        }
        if (n == 0)
            continue;
        g->hint = group_next_hint(g);
        struct record_spec spec = {
            .type = RECORD_COPY,
            .flags = RECORD_BASE,
            .group = g,
            .first_index = read->first + i - n,
            .entries = &read->entries[i - n],
            .n = n,
            .sources = sources,
        };
        append_record(log, &spec);
        for (uint32_t k = 0; k < n; k++)
            log->stats.rewritten_bytes += ref_bytes(&planned[i - n + k]);
        n = 0;
    }
}

/* The disk may be able to read it later: until then nothing of the segment can go, and whoever
 * waits for that room may be the only one to change anything. */
static void rewrite_is_stuck(struct raftlog *log)
{
    struct rewrite *rw = &log->rewrite;
    rw->state = REWRITE_STUCK;
    rw->pause_us = rw->pause_us == 0
                       ? log->options.retry_us
                       : MIN(2 * rw->pause_us, log->options.retry_us * REWRITE_PAUSES_MAX);
    env_timer_start(&rw->again, rw->pause_us);
}

/* What was to be read is all still there: a log is cut at its ends. */
static bool rewrite_is_live(const struct raftlog *log, const struct raftlog_read *read)
{
    const struct group *g = group_find(log, read->group);
    const struct ref *first = g == NULL ? NULL : group_ref(g, read->first);
    const struct ref *last = g == NULL ? NULL : group_ref(g, read->last);
    return first != NULL && last != NULL && ref_equal(first, read_refs(read)) &&
           last->segment == first->segment;
}

/* What the disk fails to read at so many tries over so long is damage, as with a bad checksum: it
 * holds up the whole log, and its owner alone can help. While nobody misses the room there is time,
 * for the owner may have no other copy and may compact it yet: beyond the budget it does what it
 * can for that, and then it is asked. */
static void rewrite_note_unread(struct raftlog *log, const struct raftlog_read *read)
{
    struct rewrite *rw = &log->rewrite;
    uint64_t now_us = env_now_us(log->env);
    bool is_missed = raftlog_is_over_budget(log) || log->short_cost > 0;
    if (read->status != ERR_IO || !is_missed || !rewrite_is_live(log, read)) {
        rw->unread_tries = 0;
        return;
    }
    if (rw->unread_group != read->group || rw->unread_first != read->first ||
        rw->unread_last != read->last)
        rw->unread_tries = 0;
    if (rw->unread_tries == 0) {
        rw->unread_group = read->group;
        rw->unread_first = read->first;
        rw->unread_last = read->last;
        rw->unread_since_us = now_us;
    }
    rw->unread_tries++;
    const struct raftlog_callbacks *cb = &log->options.callbacks;
    if (rw->unread_tries >= REWRITE_UNREAD_TRIES &&
        now_us - rw->unread_since_us >= REWRITE_UNREAD_US && cb->may_give_up != NULL &&
        cb->may_give_up(log->options.data, read->group))
        read_damage(log, read->group, read->err.msg);
}

static void rewrite_on_again(struct env_timer *timer)
{
    rewrite_wake(timer->data);
}

static void rewrite_on_read(struct raftlog_read *read)
{
    struct raftlog *log = read->data;
    struct rewrite *rw = &log->rewrite;
    ASSERT(rw->state == REWRITE_READ);
    if (read->status != 0) {
        rewrite_note_unread(log, read);
        rewrite_is_stuck(log);
    } else {
        rw->pause_us = 0;
        rw->unread_tries = 0;
        rewrite_copy(log, read);
        rw->index = read->first + read->n - 1;
        rw->state = REWRITE_COPY;
    }
    raftlog_read_fini(read);
    writer_post(log);
}

static void rewrite_on_trimmed(struct raftlog_write *write)
{
    struct raftlog *log = write->data;
    ASSERT(log->rewrite.state == REWRITE_TRIM);
    log->rewrite.state = REWRITE_IDLE;
    log->rewrite.pause_us = 0;
    segment_drop_oldest(log);
    writer_post(log);
}

/* Does a later segment say the same of the group? */
static bool rewrite_is_kept(const struct group *g, const struct segment *s)
{
    return g->last_segment > s->number && g->mark_segment > s->number &&
           g->mark_base == g->base_index;
}

/* What rewrite_trim() will append. */
static uint64_t rewrite_trim_len(const struct raftlog *log)
{
    const struct segment *s = log->segments[0];
    uint64_t len = record_len(RECORD_TRIM, 0, 0, 0);
    for (uint32_t i = 0; i < s->n_items; i++) {
        const struct group *g = group_find(log, s->items[i].group);
        if (g == NULL || rewrite_is_kept(g, s))
            continue;
        bool is_new = segment_item(segment_last(log), g->id) == NULL;
        len += record_len(RECORD_APPEND, RECORD_BASE, 0, 0) + (is_new ? CLOSE_ITEM_LEN : 0);
    }
    return len;
}

/* The reserve is for what must go on while the disk is full. That is this, too: a whole file is
 * won by it. */
static bool rewrite_may_trim(struct raftlog *log)
{
    const struct segment *last = segment_last(log);
    uint64_t len = rewrite_trim_len(log);
    uint64_t taken = last->len + segment_close_len(last, 0);
    if (!last->is_closed && last->file != NULL && taken + len <= last->capacity)
        return true;
    return rewrite_has_room(log, len);
}

/* Nothing lives in the oldest segment: put the states of its groups behind it, and trim. */
static void rewrite_trim(struct raftlog *log)
{
    struct rewrite *rw = &log->rewrite;
    struct segment *s = log->segments[0];
    ASSERT(s->live_count == 0);
    for (uint32_t i = 0; i < s->n_items; i++) {
        struct group *g = group_find(log, s->items[i].group);
        if (g == NULL || rewrite_is_kept(g, s))
            continue;
        g->hint = group_next_hint(g);
        append_record(
            log, &(struct record_spec){.type = RECORD_APPEND, .flags = RECORD_BASE, .group = g});
    }
    log->first_live = s->number + 1;
    append_record(log, &(struct record_spec){.type = RECORD_TRIM, .first_index = log->first_live});
    rw->state = REWRITE_TRIM;
    raftlog_append(log, &rw->barrier);
}

/* Copy one run more, or finish. */
static void rewrite_go_on(struct raftlog *log)
{
    struct rewrite *rw = &log->rewrite;
    uint64_t group, first, last;
    rw->wants_room = false;
    if (log->n_damaged > 0) {
        rw->state = REWRITE_STUCK;
        return;
    }
    if (!rewrite_find(log, &group, &first, &last)) {
        if (rewrite_may_trim(log))
            rewrite_trim(log);
        return;
    }
    struct raftlog_read *read = &rw->read;
    read->group = group;
    read->first = first;
    read->last = last;
    read->bytes_max = rewrite_step_bytes(log);
    uint64_t least =
        ref_bytes(group_ref(group_find(log, group), first)); /* is read whatever it is */
    if (!rewrite_has_room(log, MAX(2 * (uint64_t)read->bytes_max, least + 2 * REWRITE_STATE_LEN)))
        return; /* the next segment is being prepared, beyond the limit if need be */
    rw->state = REWRITE_READ;
    if (raftlog_read(log, read) != 0)
        rewrite_is_stuck(log);
}

void rewrite_init(struct raftlog *log)
{
    log->rewrite.read.data = log;
    log->rewrite.read.cb = rewrite_on_read;
    log->rewrite.barrier.data = log;
    log->rewrite.barrier.cb = rewrite_on_trimmed;
    env_timer_init(&log->rewrite.again, log->env, rewrite_on_again, log);
}

void rewrite_stop(struct raftlog *log)
{
    env_timer_stop(&log->rewrite.again);
}

/* Begin a segment behind the only one, once there is a file for it. */
static void rewrite_step_over(struct raftlog *log)
{
    if (!rewrite_is_walled(log) || !rewrite_has_room(log, log_file_room(log)))
        return;
    if (!segment_last(log)->is_closed) /* a crash may have come between the two */
        append_close(log);
    append_record(log, &(struct record_spec){.type = RECORD_TRIM, .first_index = log->first_live});
}

void rewrite_step(struct raftlog *log)
{
    struct rewrite *rw = &log->rewrite;
    if (rw->state == REWRITE_IDLE) {
        rw->wants_room = false;
        rewrite_step_over(log);
    }
    if (rw->state == REWRITE_IDLE && rewrite_is_due(log)) {
        rw->state = REWRITE_COPY;
        rw->item = 0;
        rw->index = 0;
        if (rw->pass_end == 0)
            rw->pass_end = log->last_number;
    }
    if (rw->state == REWRITE_COPY)
        rewrite_go_on(log);
}

void rewrite_note_large(struct raftlog *log)
{
    log->rewrite.pass_end = 0;
}

void rewrite_wake(struct raftlog *log)
{
    log->rewrite.pass_end = 0;
    if (log->rewrite.state == REWRITE_STUCK)
        log->rewrite.state = REWRITE_IDLE;
    writer_post(log);
}
