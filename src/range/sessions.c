/* SPDX-License-Identifier: Apache-2.0 */
#include "range/sessions.h"

#include <stdlib.h>

#include "base/coding.h"
#include "base/hash.h"

enum {
    ROW_HEAD_LEN = 8 + 8 + 8 + 4,
    RESULT_HEAD_LEN = 8 + 2,
    INLINE_MAX = 36,
    BUCKETS_MIN = 8,
    RESULTS_MIN = 4,
    RESULTS_KEPT = 8, /* room that a row may keep whatever it holds */
};

struct session_result {
    uint64_t sequence;
    uint32_t len;
    union {
        uint8_t *heap; /* len > INLINE_MAX; owned */
        uint8_t bytes[INLINE_MAX];
    } u;
};

struct session_row {
    bool is_listed; /* false while only reserved: no part of the table yet */
    struct session_row *older;
    struct session_row *newer;
    struct session_row *next; /* in its bucket */
    uint64_t session;
    uint64_t lowest;
    uint64_t used_ms;
    uint32_t first; /* results[first, first + count) are there, ascending */
    uint32_t count;
    uint32_t cap;
    struct session_result *results;
};

static struct slice result_bytes(const struct session_result *r)
{
    return slice_of(r->len > INLINE_MAX ? r->u.heap : r->u.bytes, r->len);
}

static size_t result_cost(const struct session_result *r)
{
    return RESULT_HEAD_LEN + r->len;
}

static size_t result_heap(const struct session_result *r)
{
    return r->len > INLINE_MAX ? r->len : 0;
}

static void result_fini(struct session_result *r)
{
    if (r->len > INLINE_MAX)
        free(r->u.heap);
}

/* ---- rows ------------------------------------------------------------------- */

static void row_free(struct session_row *row)
{
    for (uint32_t i = 0; i < row->count; i++)
        result_fini(&row->results[row->first + i]);
    free(row->results);
    free(row);
}

static size_t row_memory(const struct session_row *row)
{
    size_t bytes = sizeof *row + row->cap * sizeof *row->results;
    for (uint32_t i = 0; i < row->count; i++)
        bytes += result_heap(&row->results[row->first + i]);
    return bytes;
}

/* Where `sequence` stands or would stand, counted from the first result. */
static uint32_t row_place(const struct session_row *row, uint64_t sequence)
{
    const struct session_result *r = row->results + row->first;
    if (row->count == 0 || r[row->count - 1].sequence < sequence)
        return row->count;
    uint32_t low = 0, high = row->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (r[middle].sequence < sequence)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct session_result *row_find(const struct session_row *row, uint64_t sequence)
{
    uint32_t i = row_place(row, sequence);
    const struct session_result *r = row->results + row->first + i;
    return i < row->count && r->sequence == sequence ? r : NULL;
}

/* What is there, to the beginning of the room. */
static void row_pack(struct session_row *row)
{
    if (row->first > 0)
        memmove(row->results, row->results + row->first, row->count * sizeof *row->results);
    row->first = 0;
}

static int row_resize(struct sessions *table, struct session_row *row, uint32_t cap)
{
    ASSERT(cap > 0);
    ASSERT(cap >= row->count);
    row_pack(row);
    struct session_result *results = realloc(row->results, cap * sizeof *results);
    if (results == NULL)
        return ERR_NOMEM;
    table->memory -= row->cap * sizeof *results;
    table->memory += cap * sizeof *results;
    row->results = results;
    row->cap = cap;
    return 0;
}

static int row_reserve(struct sessions *table, struct session_row *row, uint32_t more)
{
    ASSERT(more <= 2 * SESSION_RESULTS_MAX);
    if (row->first + row->count + more <= row->cap)
        return 0;
    row_pack(row);
    if (row->count + more <= row->cap)
        return 0;
    return row_resize(table, row, MAX(MAX((uint32_t)RESULTS_MIN, row->cap * 2), row->count + more));
}

/* Room is there. `heap` is taken over where the result is too long to stand inline. */
static void row_insert(struct sessions *table, struct session_row *row, uint64_t sequence,
                       struct slice result, uint8_t *heap)
{
    uint32_t i = row_place(row, sequence);
    ASSERT(row->first + row->count < row->cap);
    ASSERT((heap != NULL) == (result.len > INLINE_MAX));
    struct session_result *r = row->results + row->first + i;
    ASSERT(i == row->count || r->sequence != sequence);
    memmove(r + 1, r, (row->count - i) * sizeof *r);
    r->sequence = sequence;
    r->len = (uint32_t)result.len;
    if (heap != NULL)
        r->u.heap = heap;
    else if (result.len > 0)
        memcpy(r->u.bytes, result.data, result.len);
    row->count++;
    table->bytes += result_cost(r);
    table->memory += result_heap(r);
}

/* Results below the lowest are no longer asked for. */
static void row_trim(struct sessions *table, struct session_row *row)
{
    while (row->count > 0 && row->results[row->first].sequence < row->lowest) {
        table->bytes -= result_cost(&row->results[row->first]);
        table->memory -= result_heap(&row->results[row->first]);
        result_fini(&row->results[row->first]);
        row->first++;
        row->count--;
    }
    if (row->count == 0)
        row->first = 0;
}

/* Room for four times what is there is too much: a row was full once. Half of what stays is free,
 * at least: it grows again only after as many more as it holds, not with each command. */
static void row_shrink(struct sessions *table, struct session_row *row)
{
    if (row->cap > RESULTS_KEPT && row->count <= row->cap / 4)
        (void)row_resize(table, row, MAX((uint32_t)RESULTS_KEPT, row->count * 2));
}

/* ---- the table ---------------------------------------------------------------- */

void sessions_init(struct sessions *table)
{
    *table = (struct sessions){.bytes = SESSIONS_HEAD_LEN};
}

void sessions_fini(struct sessions *table)
{
    for (uint32_t i = 0; i < table->bucket_count; i++) {
        for (struct session_row *row = table->buckets[i], *next; row != NULL; row = next) {
            next = row->next;
            row_free(row);
        }
    }
    free(table->buckets);
    uint64_t hash_key[2] = {table->hash_key[0], table->hash_key[1]};
    sessions_init(table);
    memcpy(table->hash_key, hash_key, sizeof hash_key);
}

static struct session_row **bucket_of(const struct sessions *table, uint64_t session)
{
    uint8_t raw[8];
    put_u64(raw, session);
    uint64_t h = hash_keyed(table->hash_key, slice_of(raw, sizeof raw));
    return &table->buckets[h & (table->bucket_count - 1)];
}

static struct session_row *table_row(const struct sessions *table, uint64_t session)
{
    if (table->bucket_count == 0)
        return NULL;
    if (table->newest != NULL && table->newest->session == session)
        return table->newest; /* who writes much is often asked for again */
    struct session_row *row = *bucket_of(table, session);
    while (row != NULL && row->session != session)
        row = row->next;
    return row;
}

static void table_place(struct sessions *table, struct session_row *row)
{
    struct session_row **bucket = bucket_of(table, row->session);
    row->next = *bucket;
    *bucket = row;
}

static void table_spread(struct sessions *table, struct session_row **buckets, uint32_t count)
{
    struct session_row **old = table->buckets;
    uint32_t old_count = table->bucket_count;
    table->buckets = buckets;
    table->bucket_count = count;
    for (uint32_t i = 0; i < old_count; i++) {
        for (struct session_row *row = old[i], *next; row != NULL; row = next) {
            next = row->next;
            table_place(table, row);
        }
    }
    free(old);
}

static int table_resize(struct sessions *table, uint32_t count)
{
    if (count == table->bucket_count)
        return 0;
    struct session_row **buckets = calloc(count, sizeof(struct session_row *));
    if (buckets == NULL)
        return ERR_NOMEM;
    table_spread(table, buckets, count);
    return 0;
}

/* Buckets for eight times what is there are too many likewise. */
static void table_shrink(struct sessions *table)
{
    uint32_t want = table->bucket_count;
    if (table->memory == 0) { /* not even a row that is only reserved */
        free(table->buckets);
        table->buckets = NULL;
        table->bucket_count = 0;
    } else if (table->count < want / 8) {
        while (want > BUCKETS_MIN && table->count < want / 4)
            want /= 2;
        (void)table_resize(table, want);
    }
}

void sessions_set_hash_key(struct sessions *table, const uint64_t hash_key[2])
{
    struct session_row *all = NULL;
    for (uint32_t i = 0; i < table->bucket_count; i++) {
        for (struct session_row *row = table->buckets[i], *next; row != NULL; row = next) {
            next = row->next;
            row->next = all;
            all = row;
        }
        table->buckets[i] = NULL;
    }
    memcpy(table->hash_key, hash_key, sizeof table->hash_key);
    for (struct session_row *next; all != NULL; all = next) {
        next = all->next;
        table_place(table, all);
    }
}

/* The row of this session; one that is new stands in no list yet and means nothing. */
static struct session_row *table_get(struct sessions *table, uint64_t session)
{
    struct session_row *row = table_row(table, session);
    if (row != NULL)
        return row;
    uint32_t want = table->bucket_count == 0 ? BUCKETS_MIN : table->bucket_count;
    if (table->count >= want)
        want *= 2;
    row = calloc(1, sizeof *row);
    if (row == NULL || table_resize(table, want) != 0) {
        free(row);
        return NULL;
    }
    row->session = session;
    table->memory += sizeof *row;
    table_place(table, row);
    return row;
}

static void table_unplace(struct sessions *table, const struct session_row *row)
{
    struct session_row **link = bucket_of(table, row->session);
    while (*link != row)
        link = &(*link)->next;
    *link = row->next;
}

static size_t row_cost(const struct session_row *row)
{
    size_t cost = ROW_HEAD_LEN;
    for (uint32_t i = 0; i < row->count; i++)
        cost += result_cost(&row->results[row->first + i]);
    return cost;
}

static void table_unlist(struct sessions *table, struct session_row *row)
{
    *(row->older == NULL ? &table->oldest : &row->older->newer) = row->newer;
    *(row->newer == NULL ? &table->newest : &row->newer->older) = row->older;
    row->older = row->newer = NULL;
    row->is_listed = false;
}

static void table_list(struct sessions *table, struct session_row *row)
{
    ASSERT(!row->is_listed);
    row->older = table->newest;
    *(table->newest == NULL ? &table->oldest : &table->newest->newer) = row;
    table->newest = row;
    row->is_listed = true;
}

static void table_drop(struct sessions *table, struct session_row *row)
{
    ASSERT(row->is_listed);
    ASSERT(table->count > 0);
    table->bytes -= row_cost(row);
    table->memory -= row_memory(row);
    table->count--;
    table_unlist(table, row);
    table_unplace(table, row);
    row_free(row);
}

/* It was used now, and is part of the table from here on. */
static void table_use(struct sessions *table, struct session_row *row, uint64_t time_ms)
{
    ASSERT(time_ms >= row->used_ms);
    if (row->is_listed) {
        table_unlist(table, row);
    } else {
        table->count++;
        table->bytes += ROW_HEAD_LEN;
    }
    table_list(table, row);
    row->used_ms = time_ms;
}

void sessions_forget(struct sessions *table, uint64_t *floor_ms)
{
    for (struct session_row *oldest; (oldest = table->oldest) != NULL;) {
        bool is_over = table->count > SESSIONS_MAX || table->bytes > SESSIONS_BYTES_MAX;
        if (oldest->used_ms > *floor_ms && !is_over)
            break;
        *floor_ms = MAX(*floor_ms, oldest->used_ms);
        table_drop(table, oldest);
    }
    table_shrink(table);
}

bool sessions_knows(const struct sessions *table, uint64_t session)
{
    const struct session_row *row = table_row(table, session);
    return row != NULL && row->is_listed;
}

uint64_t sessions_oldest_ms(const struct sessions *table)
{
    return table->oldest == NULL ? 0 : table->oldest->used_ms;
}

enum session_verdict sessions_find(const struct sessions *table, uint64_t session,
                                   uint64_t sequence, struct slice *ret_result)
{
    const struct session_row *row = table_row(table, session);
    ASSERT(session != 0);
    if (row == NULL || !row->is_listed)
        return SESSION_NEW;
    if (sequence < row->lowest)
        return SESSION_STALE;
    const struct session_result *r = row_find(row, sequence);
    if (r != NULL) {
        *ret_result = result_bytes(r);
        return SESSION_REPEAT;
    }
    return row->count < SESSION_RESULTS_MAX ? SESSION_NEW : SESSION_FULL;
}

/* Of those that are only reserved too, which stand in no list. */
static size_t memory_of_rows(const struct sessions *table)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < table->bucket_count; i++) {
        for (const struct session_row *row = table->buckets[i]; row != NULL; row = row->next)
            bytes += row_memory(row);
    }
    return bytes;
}

void sessions_check(const struct sessions *table)
{
    size_t bytes = SESSIONS_HEAD_LEN;
    uint32_t count = 0;
    uint64_t used_ms = 0;
    for (const struct session_row *row = table->oldest; row != NULL; row = row->newer) {
        ASSERT(row->used_ms >= used_ms);
        ASSERT(table_row(table, row->session) == row);
        used_ms = row->used_ms;
        for (uint32_t i = 0; i < row->count; i++) {
            const struct session_result *r = &row->results[row->first + i];
            ASSERT(r->sequence >= row->lowest);
            ASSERT(i == 0 || r->sequence > r[-1].sequence);
        }
        bytes += row_cost(row);
        count++;
    }
    ASSERT(bytes == table->bytes);
    ASSERT(count == table->count);
    ASSERT(memory_of_rows(table) == table->memory);
}

/* ---- copies --------------------------------------------------------------------- */

static uint8_t *copy_of(struct slice result)
{
    uint8_t *heap = malloc(result.len);
    if (heap != NULL)
        memcpy(heap, result.data, result.len);
    return heap;
}

/* Insert unless it is there. */
static int row_add_copy(struct sessions *table, struct session_row *row, uint64_t sequence,
                        struct slice result)
{
    uint8_t *heap = NULL;
    if (sequence < row->lowest || row_find(row, sequence) != NULL)
        return 0;
    if (row_reserve(table, row, 1) != 0)
        return ERR_NOMEM;
    if (result.len > INLINE_MAX && (heap = copy_of(result)) == NULL)
        return ERR_NOMEM;
    row_insert(table, row, sequence, result, heap);
    return 0;
}

static int row_add_all(struct sessions *table, struct session_row *row,
                       const struct session_row *from)
{
    for (uint32_t i = 0; i < from->count; i++) {
        const struct session_result *r = &from->results[from->first + i];
        int rv = row_add_copy(table, row, r->sequence, result_bytes(r));
        if (rv != 0)
            return rv;
    }
    return 0;
}

/* A row like `from` at the end of the table, where that belongs. */
static int table_add_copy(struct sessions *table, const struct session_row *from)
{
    struct session_row *row = table_get(table, from->session);
    if (row == NULL)
        return ERR_NOMEM;
    ASSERT(!row->is_listed);
    row->lowest = from->lowest;
    table_use(table, row, from->used_ms);
    return row_add_all(table, row, from);
}

int sessions_copy(struct sessions *table, const struct sessions *from)
{
    ASSERT(table->count == 0 && table->bucket_count == 0);
    memcpy(table->hash_key, from->hash_key, sizeof table->hash_key);
    for (const struct session_row *row = from->oldest; row != NULL; row = row->newer) {
        int rv = table_add_copy(table, row);
        if (rv != 0) {
            sessions_fini(table);
            return rv;
        }
    }
    ASSERT(table->bytes == from->bytes);
    return 0;
}

/* No client that keeps to its window has so many: the oldest can no longer be repeated, but
 * never be done again either. */
static void row_bound(struct sessions *table, struct session_row *row)
{
    if (row->count <= SESSION_RESULTS_MAX)
        return;
    uint32_t most = row->first + row->count - SESSION_RESULTS_MAX;
    row->lowest = row->results[most].sequence;
    row_trim(table, row);
}

/* A row of either, or of both made one, at the end of the table. */
static int unite_row(struct sessions *table, const struct session_row *row,
                     const struct session_row *other)
{
    int rv = table_add_copy(table, row);
    if (rv != 0 || other == NULL)
        return rv;
    struct session_row *made = table_row(table, row->session);
    ASSERT(other->used_ms <= row->used_ms);
    made->lowest = MAX(made->lowest, other->lowest);
    row_trim(table, made);
    rv = row_add_all(table, made, other);
    row_bound(table, made);
    row_shrink(table, made);
    return rv;
}

/* Both lists are in order of last use; of equal ones those of `left` come first. A
 * session in both stands where its later use puts it. */
static int unite_all(struct sessions *table, const struct sessions *left,
                     const struct sessions *right)
{
    const struct session_row *a = left->oldest;
    const struct session_row *b = right->oldest;
    while (a != NULL || b != NULL) {
        bool is_left = b == NULL || (a != NULL && a->used_ms <= b->used_ms);
        const struct session_row *row = is_left ? a : b;
        const struct session_row *other = table_row(is_left ? right : left, row->session);
        a = is_left ? a->newer : a;
        b = is_left ? b : b->newer;
        /* Of two uses at the same time, the left's comes first: the right's is the later. */
        bool is_later_elsewhere = other != NULL && (is_left ? other->used_ms >= row->used_ms
                                                            : other->used_ms > row->used_ms);
        if (is_later_elsewhere)
            continue;
        int rv = unite_row(table, row, other);
        if (rv != 0)
            return rv;
    }
    return 0;
}

int sessions_unite(struct sessions *table, const struct sessions *from, uint64_t *floor_ms)
{
    struct sessions both;
    sessions_init(&both);
    memcpy(both.hash_key, table->hash_key, sizeof both.hash_key);
    int rv = unite_all(&both, table, from);
    if (rv != 0) {
        sessions_fini(&both);
        return rv;
    }
    sessions_forget(&both, floor_ms);
    sessions_fini(table);
    *table = both;
    return 0;
}

/* ---- encoding ------------------------------------------------------------------- */

void sessions_encode(const struct sessions *table, struct buf *out)
{
    size_t start = out->len;
    buf_append_u32(out, table->count);
    for (const struct session_row *row = table->oldest; row != NULL; row = row->newer) {
        buf_append_u64(out, row->session);
        buf_append_u64(out, row->lowest);
        buf_append_u64(out, row->used_ms);
        buf_append_u32(out, row->count);
        for (uint32_t i = 0; i < row->count; i++) {
            struct session_result *r = &row->results[row->first + i];
            uint8_t *p = buf_extend(out, RESULT_HEAD_LEN);
            if (p == NULL)
                return;
            put_u64(p, r->sequence);
            p[8] = (uint8_t)r->len;
            p[9] = (uint8_t)(r->len >> 8);
            buf_append_slice(out, result_bytes(r));
        }
    }
    ASSERT(out->failed || out->len - start == table->bytes);
}

static int decode_results(struct reader *r, struct sessions *table, struct session_row *row,
                          uint32_t count)
{
    uint64_t above = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t sequence = read_u64(r);
        struct slice result = read_bytes(r, read_u16(r));
        if (r->bad || sequence <= above || sequence < row->lowest ||
            result.len > SESSION_RESULT_MAX)
            return ERR_CORRUPT;
        above = sequence;
        int rv = row_add_copy(table, row, sequence, result);
        if (rv != 0)
            return rv;
    }
    return 0;
}

static int decode_row(struct reader *r, struct sessions *table, uint64_t *used_ms)
{
    uint64_t session = read_u64(r);
    uint64_t lowest = read_u64(r);
    uint64_t used = read_u64(r);
    uint32_t count = read_u32(r);
    if (r->bad || session == 0 || used < *used_ms || count > SESSION_RESULTS_MAX ||
        table_row(table, session) != NULL)
        return ERR_CORRUPT;
    struct session_row *row = table_get(table, session);
    if (row == NULL)
        return ERR_NOMEM;
    row->lowest = lowest;
    table_use(table, row, used);
    *used_ms = used;
    return decode_results(r, table, row, count);
}

int sessions_decode(struct slice in, struct sessions *table, struct err *err)
{
    struct reader r = reader_of(in);
    uint64_t used_ms = 0;
    ASSERT(table->count == 0);
    uint32_t rows = read_u32(&r);
    int rv = r.bad || rows > SESSIONS_MAX || in.len > SESSIONS_BYTES_MAX ? ERR_CORRUPT : 0;
    for (uint32_t i = 0; rv == 0 && i < rows; i++)
        rv = decode_row(&r, table, &used_ms);
    if (rv == 0 && r.left != 0)
        rv = ERR_CORRUPT;
    if (rv == 0)
        return 0;
    sessions_fini(table);
    return err_set(err, rv, rv == ERR_NOMEM ? "sessions" : "sessions are malformed");
}

/* ---- the stage -------------------------------------------------------------------- */

struct staged_result {
    struct staged_result *next;
    uint64_t sequence;
    struct slice bytes;
    uint8_t *heap; /* from session_stage_reserve() to the commit */
};

struct session_staged {
    struct session_staged *next_in_bucket;
    struct session_staged *next;
    uint64_t session;
    uint64_t lowest;
    uint64_t greatest; /* of its sequences */
    uint32_t count;
    struct staged_result *results; /* in the order in which they came: mostly that of the row */
    struct staged_result **last_link;
    struct session_row *row; /* reserved */
};

void session_stage_begin(struct session_stage *stage, struct arena *arena)
{
    *stage = (struct session_stage){.arena = arena};
    stage->last_link = &stage->first;
}

static uint32_t stage_bucket(uint64_t session)
{
    return (uint32_t)(hash_mix(0, session) % SESSION_STAGE_BUCKETS);
}

static struct session_staged *stage_row(const struct session_stage *stage, uint64_t session)
{
    struct session_staged *row = stage->buckets[stage_bucket(session)];
    while (row != NULL && row->session != session)
        row = row->next_in_bucket;
    return row;
}

static const struct staged_result *staged_find(const struct session_staged *row, uint64_t sequence)
{
    if (sequence > row->greatest)
        return NULL;
    const struct staged_result *r = row->results;
    while (r != NULL && r->sequence != sequence)
        r = r->next;
    return r;
}

enum session_verdict session_stage_find(const struct session_stage *stage,
                                        const struct sessions *table, uint64_t session,
                                        uint64_t sequence, struct slice *ret_result)
{
    enum session_verdict verdict = sessions_find(table, session, sequence, ret_result);
    const struct session_staged *staged = stage_row(stage, session);
    if (staged == NULL || verdict == SESSION_STALE)
        return verdict;
    if (sequence < staged->lowest)
        return SESSION_STALE;
    if (verdict == SESSION_REPEAT)
        return verdict;
    const struct staged_result *r = staged_find(staged, sequence);
    if (r != NULL) {
        *ret_result = r->bytes;
        return SESSION_REPEAT;
    }
    const struct session_row *row = table_row(table, session);
    uint32_t count = staged->count + (row == NULL ? 0 : row->count);
    return count < SESSION_RESULTS_MAX ? verdict : SESSION_FULL;
}

static struct session_staged *stage_get(struct session_stage *stage, uint64_t session)
{
    struct session_staged *row = stage_row(stage, session);
    if (row != NULL)
        return row;
    row = arena_alloc(stage->arena, sizeof *row);
    if (row == NULL)
        return NULL;
    struct session_staged **bucket = &stage->buckets[stage_bucket(session)];
    *row = (struct session_staged){.session = session, .next_in_bucket = *bucket};
    row->last_link = &row->results;
    *bucket = row;
    *stage->last_link = row;
    stage->last_link = &row->next;
    return row;
}

int session_stage_add(struct session_stage *stage, uint64_t session, uint64_t sequence,
                      uint64_t lowest, struct slice result)
{
    ASSERT(session != 0 && sequence != 0);
    ASSERT(lowest <= sequence);
    ASSERT(result.len <= SESSION_RESULT_MAX);
    struct session_staged *row = stage_get(stage, session);
    struct staged_result *r = arena_alloc(stage->arena, sizeof *r);
    if (row == NULL || r == NULL)
        return ERR_NOMEM;
    *r = (struct staged_result){.sequence = sequence};
    if (!arena_copy(stage->arena, result, &r->bytes))
        return ERR_NOMEM;
    *row->last_link = r;
    row->last_link = &r->next;
    row->lowest = MAX(row->lowest, lowest);
    row->greatest = MAX(row->greatest, sequence);
    row->count++;
    return 0;
}

int session_stage_lift(struct session_stage *stage, uint64_t session, uint64_t lowest)
{
    ASSERT(session != 0);
    struct session_staged *row = stage_get(stage, session);
    if (row == NULL)
        return ERR_NOMEM;
    row->lowest = MAX(row->lowest, lowest);
    return 0;
}

static void stage_release(struct session_stage *stage)
{
    for (struct session_staged *row = stage->first; row != NULL; row = row->next) {
        for (struct staged_result *r = row->results; r != NULL; r = r->next) {
            free(r->heap);
            r->heap = NULL;
        }
    }
}

int session_stage_reserve(struct session_stage *stage, struct sessions *table)
{
    for (struct session_staged *row = stage->first; row != NULL; row = row->next) {
        row->row = table_get(table, row->session);
        int rv = row->row == NULL ? ERR_NOMEM : row_reserve(table, row->row, row->count);
        for (struct staged_result *r = row->results; rv == 0 && r != NULL; r = r->next) {
            if (r->bytes.len > INLINE_MAX && (r->heap = copy_of(r->bytes)) == NULL)
                rv = ERR_NOMEM;
        }
        if (rv != 0) {
            stage_release(stage);
            return rv;
        }
    }
    return 0;
}

static void commit_row(struct sessions *table, const struct session_staged *staged,
                       uint64_t time_ms)
{
    struct session_row *row = staged->row;
    table_use(table, row, time_ms);
    row->lowest = MAX(row->lowest, staged->lowest);
    row_trim(table, row);
    for (struct staged_result *r = staged->results; r != NULL; r = r->next) {
        if (r->sequence < row->lowest)
            free(r->heap);
        else
            row_insert(table, row, r->sequence, r->bytes, r->heap);
        r->heap = NULL;
    }
    row_shrink(table, row);
}

void session_stage_end(struct session_stage *stage)
{
    stage_release(stage);
    session_stage_begin(stage, stage->arena);
}

void session_stage_commit(struct session_stage *stage, struct sessions *table, uint64_t time_ms)
{
    for (struct session_staged *row = stage->first; row != NULL; row = row->next) {
        ASSERT(row->row != NULL);
        commit_row(table, row, time_ms);
    }
    session_stage_begin(stage, stage->arena);
}
