/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading entries back: from the index and the cache at once, from files off the loop
 * (raftlog_read) or in place at start-up (raftlog_each). Every entry that comes from a
 * file is proven by its own checksum, which covers group and index too. */
#include <stdlib.h>

#include "base/pages.h"
#include "raftlog/internal.h"

/* One entry of a started read. */
struct read_item {
    struct segment *segment; /* pinned; NULL: it was in memory */
    struct env_file *file;
    uint32_t file_id;
    uint8_t *out; /* header and data go here */
};

struct read_plan {
    uint32_t n;
    struct ref *refs;
    struct read_item *items;
    uint8_t *bytes;
};

uint64_t raftlog_trailing(const struct raftlog *log, uint64_t group, uint64_t index, uint64_t bytes)
{
    const struct group *g = group_find(log, group);
    if (g == NULL || g->is_lost || index <= g->base_index)
        return 0;
    index = MIN(index, group_last(g));
    uint64_t count = index - g->base_index;
    if (g->bytes <= bytes)
        return count;
    for (uint64_t n = 0; n < count; n++) {
        uint64_t each = ref_bytes(group_ref(g, index - n));
        if (each > bytes)
            return n;
        bytes -= each;
    }
    return count;
}

int raftlog_term(const struct raftlog *log, uint64_t group, uint64_t index, uint64_t *ret_term)
{
    const struct group *g = group_find(log, group);
    if (g == NULL || g->is_lost)
        return ERR_NOT_FOUND;
    const struct ref *ref = group_ref(g, index);
    if (ref != NULL)
        *ret_term = ref->term;
    else if (index == g->base_index && (index == 0 || g->base_term != 0))
        *ret_term = g->base_term;
    else
        return ERR_NOT_FOUND;
    return 0;
}

static struct slice read_cached(const struct raftlog *log, const struct ref *ref)
{
    uint32_t len = (uint32_t)ref_bytes(ref);
    return slice_of(cache_find(log, ref->segment, ref->offset, len), len);
}

int raftlog_get(struct raftlog *log, uint64_t group, uint64_t index,
                struct raftlog_entry *ret_entry)
{
    const struct group *g = group_find(log, group);
    const struct ref *ref = g == NULL || g->is_lost ? NULL : group_ref(g, index);
    if (ref == NULL)
        return ERR_NOT_FOUND;
    struct slice raw = read_cached(log, ref);
    if (raw.data == NULL && ref->len > 0)
        return ERR_WOULD_BLOCK;
    *ret_entry = (struct raftlog_entry){.term = ref->term, .type = ref->type};
    if (ref->len > 0)
        ret_entry->data = slice_of(raw.data + ENTRY_LEN, ref->len);
    return 0;
}

/* ---- off the loop --------------------------------------------------------- */

const struct ref *read_refs(const struct raftlog_read *read)
{
    const struct read_plan *plan = read->plan;
    return plan->refs;
}

void raftlog_read_fini(struct raftlog_read *read)
{
    ASSERT(!read->work.is_active || read->log == NULL);
    struct read_plan *plan = read->plan;
    if (plan != NULL) {
        free(plan->refs);
        free(plan->items);
        free(plan->bytes);
        free(plan);
    }
    free(read->entries);
    read->plan = NULL;
    read->entries = NULL;
    read->n = 0;
}

void read_damage(struct raftlog *log, uint64_t group, const char *text)
{
    struct group *g = group_find(log, group);
    if (g == NULL || g->is_damaged)
        return;
    group_set_damaged(log, g);
    if (log->options.callbacks.on_damage != NULL)
        log->options.callbacks.on_damage(log->options.data, group, text);
}

/* Check one fetched entry and give it to the caller. */
static int read_take(const struct raftlog *log, uint64_t group, uint64_t index,
                     const struct ref *ref, uint32_t file_id, struct slice raw,
                     struct raftlog_entry *ret_entry, struct err *err)
{
    struct entry_head head;
    struct slice data;
    if (!entry_decode(raw, group, index, &head, &data) || head.term != ref->term ||
        head.len != ref->len || head.type != ref->type) {
        char path[ENV_PATH_MAX];
        segment_path(log, file_id, path);
        return err_set(err, ERR_CORRUPT, "log '%s': entry %llu of group %llu at %u: bad checksum",
                       path, (unsigned long long)index, (unsigned long long)group, ref->offset);
    }
    *ret_entry = (struct raftlog_entry){head.term, head.type, data};
    return 0;
}

static int read_file(const struct raftlog *log, struct env_file *file, uint32_t file_id,
                     uint32_t offset, uint8_t *out, size_t len, struct err *err)
{
    size_t got = 0;
    int rv = env_file_read(file, offset, out, len, &got, err);
    char path[ENV_PATH_MAX];
    segment_path(log, file_id, path);
    if (rv != 0)
        return err_wrap(err, rv, "log '%s' at %u", path, offset);
    if (got < len)
        return err_set(err, ERR_CORRUPT, "log '%s': ends at %llu, %zu bytes wanted at %u", path,
                       (unsigned long long)offset + got, len, offset);
    return 0;
}

/* Items that one read call gets: so many of the plan, as they stand in the file. */
struct read_run {
    uint32_t n;
    size_t len;
    bool has_gaps; /* they do not lie back to back: heads of records, or other groups, between */
};

/* The longest run from `i` on; of such as lie back to back, unless it `may_join` others. */
static struct read_run read_run(const struct read_plan *plan, uint32_t i, bool may_join)
{
    const struct ref *first = &plan->refs[i];
    struct read_run run = {.n = 1, .len = ref_bytes(first)};
    for (uint32_t j = i + 1; j < plan->n; j++) {
        const struct ref *ref = &plan->refs[j];
        uint64_t end = first->offset + (uint64_t)run.len;
        if (plan->items[j].segment != plan->items[i].segment || ref->offset < end)
            break;
        uint64_t gap = ref->offset - end, bytes = ref_bytes(ref);
        bool is_near = may_join && gap <= LOG_READ_GAP_MAX && bytes <= LOG_READ_JOIN_MAX &&
                       ref_bytes(first) <= LOG_READ_JOIN_MAX;
        bool is_next = gap == 0 && !run.has_gaps;
        size_t most = run.has_gaps || gap > 0 ? LOG_READ_ROOM : LOG_READ_RUN_MAX;
        if ((!is_near && !is_next) || run.len + gap + bytes > most)
            break;
        run.len += gap + bytes;
        run.has_gaps |= gap > 0;
        run.n++;
    }
    return run;
}

/* By way of room of its own, for they stand closer together in memory. */
static int read_spread(const struct raftlog_read *read, uint32_t i, const struct read_run *run)
{
    const struct read_plan *plan = read->plan;
    const struct read_item *item = &plan->items[i];
    uint32_t from = plan->refs[i].offset;
    ASSERT(run->len <= LOG_READ_ROOM);
    uint8_t *room = malloc(run->len);
    if (room == NULL)
        return ERR_NOMEM;
    int rv = read_file(read->log, item->file, item->file_id, from, room, run->len, NULL);
    for (uint32_t j = i; rv == 0 && j < i + run->n; j++) {
        ASSERT(plan->refs[j].offset - from + ref_bytes(&plan->refs[j]) <= run->len);
        memcpy(plan->items[j].out, room + (plan->refs[j].offset - from), ref_bytes(&plan->refs[j]));
    }
    free(room);
    return rv;
}

static int read_fetch(struct raftlog_read *read)
{
    struct read_plan *plan = read->plan;
    uint32_t apart_until = 0; /* none are joined before this one: a run up to it failed */
    struct read_run run;
    int rv = 0;
    for (uint32_t i = 0; rv == 0 && i < plan->n; i += run.n) {
        const struct read_item *item = &plan->items[i];
        run = (struct read_run){.n = 1};
        if (item->segment == NULL)
            continue;
        run = read_run(plan, i, i >= apart_until);
        if (run.has_gaps && read_spread(read, i, &run) == 0)
            continue;
        if (run.has_gaps) { /* what cannot be read may lie between, or memory is short */
            apart_until = i + run.n;
            run = read_run(plan, i, false);
        }
        rv = read_file(read->log, item->file, item->file_id, plan->refs[i].offset, item->out,
                       run.len, &read->err);
    }
    if (rv != 0)
        return rv;
    for (uint32_t i = 0; i < plan->n; i++) {
        const struct ref *ref = &plan->refs[i];
        const struct read_item *item = &plan->items[i];
        rv = read_take(read->log, read->group, read->first + i, ref, item->file_id,
                       slice_of(item->out, ref_bytes(ref)), &read->entries[i], &read->err);
        if (rv != 0)
            return rv;
    }
    return 0;
}

static void read_execute(struct env_work *work)
{
    struct raftlog_read *read = container_of(work, struct raftlog_read, work);
    read->status = read_fetch(read);
}

static void read_complete(struct env_work *work)
{
    struct raftlog_read *read = container_of(work, struct raftlog_read, work);
    struct raftlog *log = read->log;
    struct read_plan *plan = read->plan;
    list_remove(&read->in_reads);
    for (uint32_t i = 0; i < plan->n; i++) {
        if (plan->items[i].segment != NULL)
            segment_unpin(log, plan->items[i].segment);
    }
    read->n = read->status == 0 ? plan->n : 0;
    read->log = NULL;
    if (read->status == ERR_CORRUPT)
        read_damage(log, read->group, read->err.msg);
    read->cb(read);
}

/* How many entries from `first` on are taken, and the bytes for them. */
static uint32_t read_extent(const struct raftlog_read *read, const struct group *g,
                            uint64_t *ret_bytes)
{
    uint64_t bytes = 0, data = 0;
    uint32_t n = 0;
    for (uint64_t index = read->first; index <= read->last && n < UINT32_MAX / 64; index++, n++) {
        const struct ref *ref = group_ref(g, index);
        if (n > 0 && data + ref->len > read->bytes_max)
            break;
        data += ref->len;
        bytes += ref_bytes(ref);
    }
    *ret_bytes = bytes;
    return n;
}

static int read_plan_new(struct raftlog_read *read, uint32_t n, uint64_t bytes)
{
    struct read_plan *plan = calloc(1, sizeof *plan);
    read->plan = plan;
    if (plan == NULL)
        return ERR_NOMEM;
    plan->n = n;
    plan->refs = calloc(n, sizeof *plan->refs);
    plan->items = calloc(n, sizeof *plan->items);
    plan->bytes = pages_malloc(bytes);
    read->entries = calloc(n, sizeof *read->entries);
    bool has_all = plan->refs != NULL && plan->items != NULL && plan->bytes != NULL;
    return has_all && read->entries != NULL ? 0 : ERR_NOMEM;
}

int raftlog_read(struct raftlog *log, struct raftlog_read *read)
{
    ASSERT(read->cb != NULL && read->log == NULL);
    raftlog_read_fini(read);
    const struct group *g = group_find(log, read->group);
    if (g == NULL || g->is_lost || read->first > read->last || !group_ref(g, read->first) ||
        !group_ref(g, read->last))
        return ERR_NOT_FOUND;
    uint64_t bytes;
    uint32_t n = read_extent(read, g, &bytes);
    int rv = read_plan_new(read, n, bytes);
    if (rv != 0) {
        raftlog_read_fini(read);
        return rv;
    }
    struct read_plan *plan = read->plan;
    uint8_t *out = plan->bytes;
    for (uint32_t i = 0; i < n; i++) {
        const struct ref *ref = group_ref(g, read->first + i);
        struct segment *s = segment_find(log, ref->segment);
        struct slice raw = read_cached(log, ref);
        plan->refs[i] = *ref;
        plan->items[i] = (struct read_item){.file = s->file, .file_id = s->file_id, .out = out};
        if (raw.data != NULL) {
            memcpy(out, raw.data, raw.len);
        } else {
            ASSERT(s->file != NULL && ref->offset + ref_bytes(ref) <= s->synced);
            plan->items[i].segment = s;
            segment_pin(s);
        }
        out += ref_bytes(ref);
    }
    read->log = log;
    read->err = (struct err){0};
    list_init(&read->in_reads);
    list_push_back(&log->reads, &read->in_reads);
    env_work_init(&read->work, read_execute, read_complete, log);
    env_work_submit(log->env, ENV_LANE_READ, &read->work);
    return 0;
}

/* ---- in place -------------------------------------------------------------- */

/* A window onto one segment file, for reading a log through from front to back. */
struct window {
    uint64_t number;
    uint32_t start;
    size_t len;
    size_t cap;
    uint8_t *data;
};

static int window_load(const struct raftlog *log, struct window *w, const struct ref *ref,
                       struct err *err)
{
    const struct segment *s = segment_find(log, ref->segment);
    ASSERT(s != NULL && s->file != NULL);
    size_t need = (size_t)ref_bytes(ref);
    size_t want = MAX(need, (size_t)LOG_READ_RUN_MAX);
    want = MAX(need, MIN(want, (size_t)(s->synced - ref->offset)));
    if (want > w->cap) {
        uint8_t *data = realloc(w->data, want);
        if (data == NULL)
            return err_set(err, ERR_NOMEM, "%zu bytes", want);
        w->data = data;
        w->cap = want;
    }
    w->len = 0;
    int rv = read_file(log, s->file, s->file_id, ref->offset, w->data, want, err);
    if (rv != 0)
        return rv;
    w->number = ref->segment;
    w->start = ref->offset;
    w->len = want;
    return 0;
}

static int each_fetch(const struct raftlog *log, struct window *w, uint64_t group, uint64_t index,
                      const struct ref *ref, struct raftlog_entry *ret_entry, struct err *err)
{
    const struct segment *s = segment_find(log, ref->segment);
    struct slice raw = read_cached(log, ref);
    if (raw.data == NULL) {
        bool is_inside = w->len > 0 && w->number == ref->segment && ref->offset >= w->start &&
                         ref->offset - w->start + ref_bytes(ref) <= w->len;
        int rv = is_inside ? 0 : window_load(log, w, ref, err);
        if (rv != 0)
            return rv;
        raw = slice_of(w->data + (ref->offset - w->start), ref_bytes(ref));
    }
    return read_take(log, group, index, ref, s->file_id, raw, ret_entry, err);
}

int raftlog_each(struct raftlog *log, uint64_t group, uint64_t first, uint64_t last,
                 uint8_t only_type, raftlog_each_cb cb, void *data, struct err *err)
{
    struct window w = {0};
    int rv = 0;
    const struct group *g = group_find(log, group);
    if (g == NULL)
        return ERR_NOT_FOUND;
    if (g->is_lost)
        return err_set(err, ERR_CORRUPT, "group %llu is damaged", (unsigned long long)group);
    for (uint64_t index = MAX(first, g->base_index + 1); index <= last && rv == 0; index++) {
        const struct ref *found = group_ref(g, index);
        if (found == NULL)
            break;
        struct ref ref = *found;
        struct raftlog_entry entry = {.term = ref.term, .type = ref.type};
        if (only_type == 0 || only_type == ref.type)
            rv = each_fetch(log, &w, group, index, &ref, &entry, err);
        if (rv == 0)
            rv = cb(data, index, &entry);
    }
    free(w.data);
    return rv;
}
