/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/merge.h"

#include <stdlib.h>

#include "lsm/version.h"

struct cursor *piece_cursor(struct piece *p, unsigned flags, struct err *err)
{
    const struct slice none = {0}; /* a whole table has nothing outside of its piece */
    return table_cursor(p->table, p->is_cut ? p->lo : none, p->is_cut ? p->hi : none, flags, err);
}

/* ---- one level ---------------------------------------------------------- */

struct level_cursor {
    struct cursor base;
    struct piece *const *pieces; /* borrowed from a version */
    size_t count;
    size_t index; /* that `at` is in; count for none */
    unsigned flags;
    struct cursor *at; /* NULL or a cursor over pieces[index] */
};

static void level_take(struct level_cursor *c)
{
    c->base.is_valid = c->at != NULL && c->at->is_valid;
    c->base.status = c->at != NULL ? c->at->status : c->base.status;
    if (c->base.is_valid)
        c->base.at = c->at->at;
}

static bool level_enter(struct level_cursor *c, size_t index)
{
    if (c->at != NULL && c->index == index)
        return true;
    cursor_free(c->at);
    c->at = NULL;
    c->index = index;
    if (index >= c->count)
        return false;
    c->at = piece_cursor(c->pieces[index], c->flags, c->base.err);
    if (c->at == NULL)
        c->base.status = err_set(c->base.err, ERR_NOMEM, "cursor");
    return c->at != NULL;
}

/* While the present piece has nothing more, go on to the next. */
static void level_settle_forward(struct level_cursor *c)
{
    while (c->at != NULL && !c->at->is_valid && c->at->status == 0) {
        if (level_enter(c, c->index + 1))
            cursor_first(c->at);
    }
    level_take(c);
}

static void level_settle_backward(struct level_cursor *c)
{
    while (c->at != NULL && !c->at->is_valid && c->at->status == 0) {
        size_t before = c->index == 0 ? c->count : c->index - 1;
        if (level_enter(c, before))
            cursor_last(c->at);
    }
    level_take(c);
}

/* First piece whose hi is above `key`. */
static size_t level_find(const struct level_cursor *c, struct slice key)
{
    size_t lo = 0, hi = c->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (slice_compare(c->pieces[mid]->hi, key) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void level_seek(struct cursor *base, struct slice key, uint64_t version)
{
    struct level_cursor *c = container_of(base, struct level_cursor, base);
    c->base.status = 0;
    if (level_enter(c, level_find(c, key)))
        cursor_seek(c->at, key, version);
    level_settle_forward(c);
}

static void level_last(struct cursor *base)
{
    struct level_cursor *c = container_of(base, struct level_cursor, base);
    c->base.status = 0;
    if (level_enter(c, c->count == 0 ? 0 : c->count - 1))
        cursor_last(c->at);
    level_settle_backward(c);
}

static void level_seek_before(struct cursor *base, struct slice key, uint64_t version)
{
    struct level_cursor *c = container_of(base, struct level_cursor, base);
    size_t index = level_find(c, key);
    if (index == c->count) {
        level_last(base);
        return;
    }
    c->base.status = 0;
    if (level_enter(c, index))
        cursor_seek_before(c->at, key, version);
    level_settle_backward(c);
}

static void level_next(struct cursor *base)
{
    struct level_cursor *c = container_of(base, struct level_cursor, base);
    cursor_next(c->at);
    level_settle_forward(c);
}

static void level_prev(struct cursor *base)
{
    struct level_cursor *c = container_of(base, struct level_cursor, base);
    cursor_prev(c->at);
    level_settle_backward(c);
}

static void level_free(struct cursor *base)
{
    struct level_cursor *c = container_of(base, struct level_cursor, base);
    cursor_free(c->at);
    free(c);
}

static const struct cursor_ops level_cursor_ops = {
    .seek = level_seek,
    .seek_before = level_seek_before,
    .last = level_last,
    .next = level_next,
    .prev = level_prev,
    .free = level_free,
};

struct cursor *level_cursor(struct piece *const *pieces, size_t count, unsigned flags,
                            struct err *err)
{
    struct level_cursor *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->base.ops = &level_cursor_ops;
    c->base.err = err;
    c->pieces = pieces;
    c->count = count;
    c->index = count;
    c->flags = flags;
    return &c->base;
}

/* ---- merge -------------------------------------------------------------- */

struct merge_cursor {
    struct cursor base;
    size_t count;
    size_t heap_count;
    bool is_forward;
    struct slot *heap; /* sources that are valid, the next one first */
    struct cursor *sources[];
};

struct slot {
    uint64_t prefix; /* of the key that the source stands on: decides most comparisons */
    uint32_t source;
};

/* The first 8 bytes as a number; a shorter key as if zeroes followed. */
static inline uint64_t key_prefix(struct slice key)
{
    if (key.len >= 8)
        return get_u64be(key.data);
    uint64_t prefix = 0;
    for (size_t i = 0; i < 8; i++)
        prefix = prefix << 8 | (i < key.len ? key.data[i] : 0);
    return prefix;
}

/* Does `a` come before `b` in the direction of travel? */
static inline bool comes_first(const struct merge_cursor *m, const struct slot *a,
                               const struct slot *b)
{
    if (a->prefix != b->prefix)
        return (a->prefix < b->prefix) == m->is_forward;
    const struct entry *x = m->sources[a->source]->at;
    const struct entry *y = m->sources[b->source]->at;
    int c = entry_compare(x->key, x->version, y->key, y->version);
    if (c == 0)
        c = a->source < b->source ? -1 : 1;
    return m->is_forward ? c < 0 : c > 0;
}

static void sift_down(struct merge_cursor *m, size_t i)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= m->heap_count)
            return;
        if (child + 1 < m->heap_count && comes_first(m, &m->heap[child + 1], &m->heap[child]))
            child++;
        if (!comes_first(m, &m->heap[child], &m->heap[i]))
            return;
        struct slot t = m->heap[i];
        m->heap[i] = m->heap[child];
        m->heap[child] = t;
        i = child;
    }
}

static void merge_take(struct merge_cursor *m)
{
    m->base.is_valid = m->base.status == 0 && m->heap_count > 0;
    if (m->base.is_valid)
        m->base.at = m->sources[m->heap[0].source]->at;
}

/* After every source was positioned. */
static void merge_rebuild(struct merge_cursor *m, bool is_forward)
{
    m->is_forward = is_forward;
    m->heap_count = 0;
    m->base.status = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (m->sources[i]->status != 0 && m->base.status == 0)
            m->base.status = m->sources[i]->status;
        if (m->sources[i]->is_valid)
            m->heap[m->heap_count++] =
                (struct slot){.prefix = key_prefix(m->sources[i]->at->key), .source = (uint32_t)i};
    }
    for (size_t i = m->heap_count / 2; i-- > 0;)
        sift_down(m, i);
    merge_take(m);
}

static void merge_seek(struct cursor *base, struct slice key, uint64_t version)
{
    struct merge_cursor *m = container_of(base, struct merge_cursor, base);
    for (size_t i = 0; i < m->count; i++)
        cursor_seek(m->sources[i], key, version);
    merge_rebuild(m, true);
}

static void merge_seek_before(struct cursor *base, struct slice key, uint64_t version)
{
    struct merge_cursor *m = container_of(base, struct merge_cursor, base);
    for (size_t i = 0; i < m->count; i++)
        cursor_seek_before(m->sources[i], key, version);
    merge_rebuild(m, false);
}

static void merge_last(struct cursor *base)
{
    struct merge_cursor *m = container_of(base, struct merge_cursor, base);
    for (size_t i = 0; i < m->count; i++)
        cursor_last(m->sources[i]);
    merge_rebuild(m, false);
}

/* The source on top has moved. */
static void merge_moved(struct merge_cursor *m)
{
    struct cursor *top = m->sources[m->heap[0].source];
    if (top->status != 0)
        m->base.status = top->status;
    if (top->is_valid)
        m->heap[0].prefix = key_prefix(top->at->key);
    else
        m->heap[0] = m->heap[--m->heap_count];
    if (m->heap_count > 0)
        sift_down(m, 0);
    merge_take(m);
}

static void merge_next(struct cursor *base)
{
    struct merge_cursor *m = container_of(base, struct merge_cursor, base);
    ASSERT(m->is_forward);
    cursor_next(m->sources[m->heap[0].source]);
    merge_moved(m);
}

static void merge_prev(struct cursor *base)
{
    struct merge_cursor *m = container_of(base, struct merge_cursor, base);
    ASSERT(!m->is_forward);
    cursor_prev(m->sources[m->heap[0].source]);
    merge_moved(m);
}

static void merge_free(struct cursor *base)
{
    struct merge_cursor *m = container_of(base, struct merge_cursor, base);
    for (size_t i = 0; i < m->count; i++)
        cursor_free(m->sources[i]);
    free(m->heap);
    free(m);
}

static const struct cursor_ops merge_cursor_ops = {
    .seek = merge_seek,
    .seek_before = merge_seek_before,
    .last = merge_last,
    .next = merge_next,
    .prev = merge_prev,
    .free = merge_free,
};

struct cursor *merge_cursor(struct cursor **sources, size_t count, struct err *err)
{
    ASSERT(count < UINT32_MAX);
    if (count == 1)
        return sources[0];
    struct merge_cursor *m = calloc(1, sizeof *m + count * sizeof(m->sources[0]));
    struct slot *heap = calloc(MAX(count, (size_t)1), sizeof *heap);
    if (m == NULL || heap == NULL) {
        for (size_t i = 0; i < count; i++)
            cursor_free(sources[i]);
        free(m);
        free(heap);
        return NULL;
    }
    m->base.ops = &merge_cursor_ops;
    m->base.err = err;
    m->count = count;
    m->heap = heap;
    for (size_t i = 0; i < count; i++)
        m->sources[i] = sources[i];
    return &m->base;
}
