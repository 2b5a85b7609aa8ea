/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening. The happy path:
 *   - read the head of every file: segments, leftovers, files that were being made;
 *   - judge the newest segment: where does the log end, torn or rotten?
 *   - the segments from the first live one to the newest must be there without gap;
 *   - replay them in order, each checked against its CLOSE and the next one's head;
 *   - zero what is behind a torn end, sync;
 *   - settle every group.
 * Ways to fail: something cannot be read (ERR_IO: never taken for an end), a segment is
 * missing or its head is unreadable (ERR_CORRUPT), a number is so great that none may follow it
 * (ERR_INVALID). Damage inside does not fail: it is
 * reported, and the groups that it hit are marked. */
#include <stdio.h>
#include <stdlib.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/plant.h"
#include "raftlog/internal.h"

enum found_kind { FOUND_EMPTY, FOUND_ROTTEN, FOUND_SEGMENT };

/* A file of the folder. */
struct found {
    uint32_t file_id;
    struct env_file *file; /* owned until it is given on */
    uint64_t size;
    enum found_kind kind;
    struct head head;
    bool is_begun; /* a leftover in which the next segment was begun: its head is still old */
};

struct verdict {
    uint32_t end;       /* of what counts */
    uint32_t last_from; /* where its last batch begins */
    uint64_t batch_max; /* of every good header, torn ones too */
    uint64_t first_live;
    uint32_t damage_at; /* 0: none */
    bool is_closed;
};

struct recovery {
    struct raftlog *log;
    struct found *found; /* segments in order of their number first */
    size_t n_found;
    size_t n_segments;
    size_t first; /* of found[] that is live */
    uint8_t *bytes;
    struct err *err;
};

/* ---- files ------------------------------------------------------------------ */

static int found_order(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    bool xs = x->kind == FOUND_SEGMENT, ys = y->kind == FOUND_SEGMENT;
    if (xs != ys)
        return xs ? -1 : 1;
    uint64_t m = xs ? x->head.number : x->file_id, n = ys ? y->head.number : y->file_id;
    return m < n ? -1 : m > n;
}

/* The numbers of files and segments are counted on from the greatest that is found. A log does not
 * get there by itself: somebody else left the file. */
static int found_check(struct recovery *rec, const struct found *f)
{
    bool is_segment = f->kind == FOUND_SEGMENT;
    if (f->file_id <= LOG_NUMBER_MAX && (!is_segment || f->head.number <= LOG_NUMBER_MAX))
        return 0;
    char path[ENV_PATH_MAX];
    segment_path(rec->log, f->file_id, path);
    return err_set(rec->err, ERR_INVALID, "segment '%s': its number leaves no room to count on",
                   path);
}

static int found_read(struct recovery *rec, struct found *f)
{
    struct raftlog *log = rec->log;
    char path[ENV_PATH_MAX];
    segment_path(log, f->file_id, path);
    int rv = env_file_open(log->env, path, ENV_OPEN_READ | ENV_OPEN_WRITE, &f->file, rec->err);
    if (rv == 0)
        rv = env_file_size(f->file, &f->size, rec->err);
    uint8_t raw[HEAD_LEN];
    size_t got = 0;
    if (rv == 0)
        rv = env_file_read(f->file, 0, raw, sizeof raw, &got, rec->err);
    if (rv == ERR_IO && PLANTED(read_error_is_end))
        rv = 0;
    if (rv != 0)
        return err_wrap(rec->err, rv, "segment '%s'", path);
    static const uint8_t zeroes[HEAD_LEN];
    if (got < HEAD_LEN || memcmp(raw, zeroes, HEAD_LEN) == 0)
        f->kind = FOUND_EMPTY;
    else
        f->kind = head_decode(raw, &f->head) ? FOUND_SEGMENT : FOUND_ROTTEN;
    if (f->kind == FOUND_SEGMENT && f->size >= UINT32_MAX)
        f->kind = FOUND_ROTTEN;
    return 0;
}

static int recovery_list(struct recovery *rec)
{
    struct raftlog *log = rec->log;
    char **names = NULL;
    size_t count = 0;
    int rv = env_dir_list(log->env, log->dir, &names, &count, rec->err);
    if (rv != 0)
        return rv;
    rec->found = calloc(count + 1, sizeof *rec->found);
    if (rec->found == NULL)
        rv = err_set(rec->err, ERR_NOMEM, "%zu files", count);
    log->next_file_id = 1;
    for (size_t i = 0; i < count && rv == 0; i++) {
        uint32_t id;
        if (!segment_name_parse(names[i], &id))
            continue;
        struct found *f = &rec->found[rec->n_found++];
        f->file_id = id;
        rv = found_read(rec, f);
        if (rv == 0)
            rv = found_check(rec, f);
        if (rv != 0)
            break;
        log->next_file_id = MAX(log->next_file_id, id + 1);
        if (f->kind == FOUND_SEGMENT)
            rec->n_segments++;
    }
    free(names);
    if (rv == 0)
        qsort(rec->found, rec->n_found, sizeof *rec->found, found_order);
    return rv;
}

static int recovery_dir(struct recovery *rec)
{
    struct raftlog *log = rec->log;
    int rv = env_dir_make(log->env, log->dir, rec->err);
    if (rv == ERR_EXISTS)
        return 0;
    if (rv != 0)
        return rv;
    char parent[ENV_PATH_MAX];
    snprintf(parent, sizeof parent, "%s", log->dir);
    char *slash = strrchr(parent, '/');
    if (slash == NULL)
        return env_dir_sync(log->env, ".", rec->err);
    slash[slash == parent] = 0;
    return env_dir_sync(log->env, parent, rec->err);
}

/* All bytes of a segment file, in rec->bytes until the next call. */
static int recovery_load(struct recovery *rec, const struct found *f, struct slice *ret_bytes)
{
    char path[ENV_PATH_MAX];
    segment_path(rec->log, f->file_id, path);
    free(rec->bytes);
    rec->bytes = malloc(f->size);
    if (rec->bytes == NULL)
        return err_set(rec->err, ERR_NOMEM, "segment '%s' of %llu bytes", path,
                       (unsigned long long)f->size);
    size_t got = 0;
    int rv = env_file_read(f->file, 0, rec->bytes, f->size, &got, rec->err);
    if (rv != 0)
        return err_wrap(rec->err, rv, "segment '%s'", path);
    if (got != f->size)
        return err_set(rec->err, ERR_IO, "segment '%s': %zu bytes of %llu", path, got,
                       (unsigned long long)f->size);
    *ret_bytes = slice_of(rec->bytes, got);
    return 0;
}

/* ---- where does the log end? --------------------------------------------------- */

/* The newest segment ends at its first bad place, unless a record behind that says that
 * everything up to a later place was synced before: then synced bytes were lost. */
static struct verdict judge(struct slice bytes, uint32_t seed, const struct head *head)
{
    struct verdict v = {.batch_max = head->batch, .first_live = head->first_live};
    struct scan scan = scan_of(bytes, seed);
    uint64_t batch = 0, trimmed = 0;
    uint32_t bad_at = 0, end = HEAD_LEN;
    enum scan_result result;
    do {
        struct record record = {0};
        result = scan_next(&scan, &record);
        bool has_header = result == SCAN_RECORD || result == SCAN_BODY;
        bool is_good = result == SCAN_RECORD && record.batch >= batch;
        if (bad_at == 0 && !is_good)
            bad_at = scan.at;
        if (!has_header)
            continue;
        v.batch_max = MAX(v.batch_max, record.batch);
        end = scan.pos;
        if (bad_at != 0 && record.batch_start > bad_at && !PLANTED(cut_at_bad_checksum))
            v.damage_at = bad_at;
        if (result == SCAN_RECORD && record.type == RECORD_TRIM) {
            trimmed = MAX(trimmed, record.first_index);
            v.first_live = bad_at == 0 ? trimmed : v.first_live;
        }
        if (bad_at == 0) {
            batch = record.batch;
            v.last_from = record.batch_start;
            v.is_closed = record.type == RECORD_CLOSE;
        }
    } while (result != SCAN_END && !v.is_closed);
    v.end = v.is_closed ? end : bad_at;
    if (v.damage_at != 0) {
        v.end = end;
        v.first_live = MAX(v.first_live, trimmed);
    }
    return v;
}

/* ---- one segment ---------------------------------------------------------------- */

/* Groups that lost a record here, by what CLOSE says. */
static void close_compare(struct raftlog *log, struct segment *s, struct slice table)
{
    s->is_damaged = true;
    for (size_t i = 0; i + CLOSE_ITEM_LEN <= table.len; i += CLOSE_ITEM_LEN) {
        uint64_t id = get_u64(table.data + i);
        const struct close_item *item = segment_item(s, id);
        if (id == 0 || (item != NULL && item->count == get_u32(table.data + i + 8) &&
                        item->sum == get_u32(table.data + i + 12)))
            continue;
        struct group *g = group_obtain(log, id);
        g->is_born = true;
        group_set_damaged(log, g);
    }
}

struct close_table {
    struct slice bytes;
};

static void close_take(void *data, uint64_t index, uint32_t offset, const struct entry_head *entry,
                       struct slice bytes)
{
    (void)index, (void)offset, (void)entry;
    struct close_table *table = data;
    table->bytes = bytes;
}

/* How one segment's scan went. */
struct pass {
    uint32_t end;
    bool has_gap;
    bool has_close;
    struct close_table table;
};

static struct pass replay_scan(struct raftlog *log, struct segment *s, struct slice bytes,
                               const char *path)
{
    struct pass pass = {.end = HEAD_LEN};
    struct scan scan = scan_of(bytes, s->seed);
    enum scan_result result;
    do {
        struct record record = {0};
        result = scan_next(&scan, &record);
        if (result == SCAN_GAP || result == SCAN_BODY) {
            log_report(log, "segment '%s' at %u: damaged record%s", path, scan.at,
                       result == SCAN_BODY ? " body" : "");
            pass.has_gap = true;
        }
        if (result != SCAN_RECORD)
            continue;
        struct slice in = scan_record_bytes(&scan, &record);
        replay_record(log, s, scan.at, &record, in);
        s->chain = crc32c(s->chain, in.data, 4);
        if (record.group != 0)
            segment_note(log, s, record.group, get_u32(in.data));
        pass.end = scan.pos;
        if (record.type == RECORD_CLOSE) {
            pass.has_close = true;
            record_walk(&record, in, close_take, &pass.table);
        }
    } while (result != SCAN_END && !pass.has_close);
    return pass;
}

/* `next` is the head of the segment behind it, NULL for the newest. */
static int replay_segment(struct recovery *rec, const struct found *f, const struct head *next,
                          const struct verdict *v)
{
    struct raftlog *log = rec->log;
    char path[ENV_PATH_MAX];
    segment_path(log, f->file_id, path);
    struct slice bytes;
    int rv = recovery_load(rec, f, &bytes);
    if (rv != 0)
        return rv;
    struct segment *s = segment_find(log, f->head.number);
    if (next == NULL)
        bytes.len = v->end;
    struct pass pass = replay_scan(log, s, bytes, path);
    bool is_chained = next != NULL && (next->flags & HEAD_PREV_DAMAGED) == 0;
    bool is_lost = next != NULL && !pass.has_close;
    if (is_lost)
        log_report(log, "segment '%s' at %u: its end is missing", path, pass.end);
    if (is_chained && pass.has_close && !pass.has_gap &&
        (pass.end != next->prev_len || s->chain != next->prev_chain)) {
        log_report(log, "segment '%s': is not what the next one follows", path);
        is_lost = true;
    }
    if (is_lost || (pass.has_gap && !pass.has_close))
        replay_damage_all(log, s);
    else if (pass.has_gap)
        close_compare(log, s, pass.table.bytes);
    s->len = s->synced = next == NULL ? v->end : pass.end;
    s->is_closed = next != NULL || pass.has_close || s->is_damaged;
    return 0;
}

/* ---- the whole -------------------------------------------------------------------- */

/* Segments that are no longer needed, and files that were not finished. */
static int recovery_leftovers(struct recovery *rec)
{
    struct raftlog *log = rec->log;
    bool has_unlinked = false;
    for (size_t i = 0; i < rec->n_found; i++) {
        struct found *f = &rec->found[i];
        if (i >= rec->first && i < rec->n_segments)
            continue;
        if (f->kind == FOUND_SEGMENT && !f->is_begun && segment_is_useful(log, f->size)) {
            spare_put(log, f->file_id, f->file, f->size);
            f->file = NULL;
            continue;
        }
        char path[ENV_PATH_MAX];
        segment_path(log, f->file_id, path);
        int rv = env_file_unlink(log->env, path, rec->err);
        if (rv != 0)
            return rv;
        has_unlinked = true;
    }
    return has_unlinked ? env_dir_sync(log->env, log->dir, rec->err) : 0;
}

/* Live segments: one number after the other, one salt. */
static int recovery_sequence(struct recovery *rec, const struct verdict *v)
{
    struct raftlog *log = rec->log;
    const struct found *newest = &rec->found[rec->n_segments - 1];
    bool has_rotten =
        rec->n_found > rec->n_segments && rec->found[rec->n_found - 1].kind == FOUND_ROTTEN;
    rec->first = rec->n_segments - 1;
    while (rec->first > 0 &&
           rec->found[rec->first - 1].head.number + 1 == rec->found[rec->first].head.number &&
           rec->found[rec->first].head.number > v->first_live)
        rec->first--;
    for (size_t i = rec->first; i < rec->n_segments; i++) {
        if (rec->found[i].head.salt != newest->head.salt)
            return err_set(rec->err, ERR_CORRUPT, "segment %llu is of another log",
                           (unsigned long long)rec->found[i].head.number);
    }
    uint64_t have = rec->found[rec->first].head.number;
    if (have > v->first_live && v->damage_at == 0)
        return err_set(rec->err, ERR_CORRUPT, "segment %llu is missing%s",
                       (unsigned long long)have - 1,
                       has_rotten ? ", a file with an unreadable head may be it" : "");
    log->first_live = have;
    return 0;
}

/* Can `f` be the first segment of all, its head damaged? A head is written together with a
 * record behind it; alone it is a write that was cut short, and nothing was acknowledged. */
static int recovery_probe_first(struct recovery *rec, const struct found *f, bool *ret_may_be)
{
    struct slice bytes = {0};
    int rv = recovery_load(rec, f, &bytes);
    size_t at = HEAD_LEN;
    while (at < bytes.len && bytes.data[at] == 0)
        at++;
    *ret_may_be = rv == 0 && at < bytes.len;
    return rv;
}

/* The number of the segment that `bytes` are of, if it is a later one than the newest with
 * a head: every segment has a record right behind its head. (Segments between may be gone,
 * their files thrown away, while older ones lie about as spares.) */
static uint64_t probe_number(struct slice bytes, const struct head *newest)
{
    struct record record;
    struct slice behind = slice_of(bytes.data + HEAD_LEN, bytes.len - HEAD_LEN);
    for (uint64_t number = newest->number + 1; number <= newest->number + LOG_GAP_MAX; number++) {
        if (record_decode(behind, record_seed(newest->salt, number), &record))
            return number;
    }
    return newest->number + 1;
}

/* Can `f`, whose head does not say so, be a segment behind the newest? A record of a
 * second batch was written only after the head was synced; a rotten head was a head. */
static int recovery_probe(struct recovery *rec, const struct found *f, bool *ret_may_be)
{
    struct slice bytes;
    int rv = recovery_load(rec, f, &bytes);
    if (rv != 0)
        return rv;
    const struct head *newest = &rec->found[rec->n_segments - 1].head;
    struct scan scan = scan_of(bytes, record_seed(newest->salt, probe_number(bytes, newest)));
    struct record record = {0};
    enum scan_result result;
    *ret_may_be = false;
    while ((result = scan_next(&scan, &record)) != SCAN_END && !*ret_may_be)
        *ret_may_be = result != SCAN_GAP && (f->kind == FOUND_ROTTEN || record.batch_start > 0);
    return 0;
}

/* A file without a good head was being made, or is a leftover, or is a segment whose head
 * was damaged. The newest one could be missed without a trace: look into the file. (An
 * older one leaves a gap.) */
static int recovery_rotten(struct recovery *rec, const struct verdict *v)
{
    bool is_open_ended = v != NULL && !v->is_closed && v->damage_at == 0;
    for (size_t i = rec->n_segments; i < rec->n_found; i++) {
        const struct found *f = &rec->found[i];
        bool may_be = v == NULL && f->kind == FOUND_ROTTEN;
        bool is_sized = f->size > HEAD_LEN && f->size < UINT32_MAX;
        int rv = 0;
        if (is_open_ended && f->kind == FOUND_EMPTY)
            continue; /* none was begun behind the newest */
        if (v != NULL && is_sized)
            rv = recovery_probe(rec, f, &may_be);
        else if (may_be && is_sized)
            rv = recovery_probe_first(rec, f, &may_be);
        if (rv != 0)
            return rv;
        if (may_be) {
            char path[ENV_PATH_MAX];
            segment_path(rec->log, f->file_id, path);
            return err_set(rec->err, ERR_CORRUPT, "segment '%s' at 0: unreadable head", path);
        }
    }
    return 0;
}

/* The first batch of the segment behind the newest may have reached a file that is used again, but
 * for its head. Nothing of it was acknowledged. But the next one there would have the same numbers,
 * of segment and batch, and what is left of this one behind its end would be taken for more of it:
 * such a file is not used again. A record of a later batch was written only after the head was
 * synced: then the newest segment lost its head. */
static int recovery_begun(struct recovery *rec, const struct verdict *v)
{
    const struct head *newest = &rec->found[rec->n_segments - 1].head;
    if (!v->is_closed && v->damage_at == 0)
        return 0; /* none was begun behind the newest */
    for (size_t i = 0; i < rec->first; i++) {
        struct found *f = &rec->found[i];
        struct slice bytes;
        f->is_begun = recovery_load(rec, f, &bytes) != 0;
        if (f->is_begun)
            continue; /* nobody can tell, and nobody needs it */
        struct scan scan = scan_of(bytes, record_seed(newest->salt, newest->number + 1));
        struct record record = {0};
        enum scan_result result;
        bool is_lost = false;
        while ((result = scan_next(&scan, &record)) != SCAN_END) {
            f->is_begun |= result != SCAN_GAP;
            is_lost |= result != SCAN_GAP && record.batch_start > 0;
        }
        if (is_lost && v->damage_at == 0) {
            char path[ENV_PATH_MAX];
            segment_path(rec->log, f->file_id, path);
            return err_set(rec->err, ERR_CORRUPT, "segment '%s' at 0: an old head", path);
        }
    }
    return 0;
}

/* Nothing of a torn batch may be read as new later, and everything before it must be on
 * the platter, not only in the page cache, before it is relied on. The last batch is
 * written once more: if its sync failed, the page cache may call those pages clean though
 * they never got there, and a sync alone would not move them. For the same reason as much
 * as a batch may hold is zeroed behind the end, even where zeroes are read. Whole blocks, as
 * it may have been written (through.c): what stands before it in its first block went with it. */
static int recovery_seal_end(struct recovery *rec, struct segment *s, const struct verdict *v)
{
    struct raftlog *log = rec->log;
    struct slice bytes;
    int rv = recovery_load(rec, &rec->found[rec->n_segments - 1], &bytes);
    if (rv != 0)
        return rv;
    size_t from = v->last_from / ENV_BLOCK * ENV_BLOCK, end = s->len;
    if (!s->is_closed) {
        size_t least = MIN(bytes.len, s->len + log->options.batch_bytes_max);
        end = bytes.len;
        while (end > least && bytes.data[end - 1] == 0)
            end--;
        memset(rec->bytes + s->len, 0, end - s->len);
    }
    end = MIN((end + ENV_BLOCK - 1) / ENV_BLOCK * ENV_BLOCK, bytes.len);
    ASSERT(v->last_from <= s->len && s->len <= end);
    if (!s->is_damaged)
        rv = env_file_write(s->file, from, rec->bytes + from, end - from, rec->err);
    if (rv == 0)
        rv = env_file_sync(s->file, rec->err);
    if (rv == 0)
        return 0;
    char path[ENV_PATH_MAX];
    segment_path(log, s->file_id, path);
    return err_wrap(rec->err, rv, "segment '%s'", path);
}

static int recovery_replay(struct recovery *rec, const struct verdict *v)
{
    struct raftlog *log = rec->log;
    log->holes_max = 2 * log->options.limit_bytes / ENTRY_LEN;
    for (size_t i = rec->first; i < rec->n_segments; i++) {
        struct segment *s = segment_add(log, rec->found[i].head.number);
        log->holes_max += 2 * rec->found[i].size / ENTRY_LEN;
        s->file_id = rec->found[i].file_id;
        s->file_size = rec->found[i].size;
        s->capacity = (uint32_t)rec->found[i].size;
    }
    log->holes_max = MIN(log->holes_max, (uint64_t)UINT32_MAX / 4);
    for (size_t i = rec->first; i < rec->n_segments; i++) {
        const struct head *next = i + 1 < rec->n_segments ? &rec->found[i + 1].head : NULL;
        int rv = replay_segment(rec, &rec->found[i], next, v);
        if (rv != 0)
            return rv;
    }
    return 0;
}

/* The log goes on behind the newest segment, or in it. */
static int recovery_continue(struct recovery *rec, const struct verdict *v)
{
    struct raftlog *log = rec->log;
    for (size_t i = rec->first; i < rec->n_segments; i++) {
        struct segment *s = segment_find(log, rec->found[i].head.number);
        s->file = rec->found[i].file;
        rec->found[i].file = NULL;
    }
    struct segment *last = segment_last(log);
    log->next_batch = v->batch_max + 1;
    log->prev_len = last->len;
    log->prev_chain = last->chain;
    if (last->is_damaged)
        log->next_flags = HEAD_PREV_DAMAGED;
    rec->found[rec->n_segments - 1].file = last->file; /* borrowed for reading it again */
    int rv = recovery_seal_end(rec, last, v);
    rec->found[rec->n_segments - 1].file = NULL;
    return rv;
}

static int recovery_run(struct recovery *rec)
{
    struct raftlog *log = rec->log;
    int rv = recovery_dir(rec);
    if (rv == 0)
        rv = recovery_list(rec);
    if (rv != 0)
        return rv;
    if (rec->n_segments == 0) {
        log->salt = env_random(log->env);
        log->next_batch = 1;
        log->next_flags = HEAD_FIRST;
        rv = recovery_rotten(rec, NULL);
        return rv != 0 ? rv : recovery_leftovers(rec);
    }
    const struct found *newest = &rec->found[rec->n_segments - 1];
    log->salt = newest->head.salt;
    struct slice bytes;
    rv = recovery_load(rec, newest, &bytes);
    if (rv != 0)
        return rv;
    struct verdict v = judge(bytes, record_seed(log->salt, newest->head.number), &newest->head);
    rv = recovery_rotten(rec, &v);
    if (rv == 0)
        rv = recovery_sequence(rec, &v);
    if (rv == 0)
        rv = recovery_begun(rec, &v);
    if (rv == 0)
        rv = recovery_replay(rec, &v);
    if (rv == 0)
        rv = recovery_continue(rec, &v);
    if (rv == 0)
        rv = recovery_leftovers(rec);
    if (rv == 0)
        replay_finish(log);
    return rv;
}

int recover(struct raftlog *log, struct err *err)
{
    struct err own = {0};
    struct recovery rec = {.log = log, .err = &own};
    int rv = recovery_run(&rec);
    for (size_t i = 0; i < rec.n_found; i++)
        env_file_close(rec.found[i].file);
    free(rec.found);
    free(rec.bytes);
    if (rv == 0 && log_room(log) == 0) {
        rv = spare_make(log, &own);
        if (rv == ERR_NO_SPACE)
            rv = 0; /* there is no room, and the owner sees that */
    }
    return rv == 0 ? 0 : err_set(err, rv, "%s", own.msg);
}
