/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/history_index.h"

#include <stdlib.h>

typedef int (*order_fn)(const void *a, const void *b);

static bool is_change(const struct history_op *op)
{
    return op->kind != HISTORY_READ;
}

static bool writes_number(const struct history_op *op)
{
    return op->kind == HISTORY_WRITE || op->kind == HISTORY_CAS || op->kind == HISTORY_SWAP;
}

/* Ties by place, so that the order does not depend on the library's qsort(). */
static int order(uint64_t x, uint64_t y, const struct history_op *a, const struct history_op *b)
{
    if (x != y)
        return x < y ? -1 : 1;
    return (a > b) - (a < b);
}

static int by_return(const void *a, const void *b)
{
    const struct history_op *x = *(const struct history_op *const *)a;
    const struct history_op *y = *(const struct history_op *const *)b;
    return order(x->return_us, y->return_us, x, y);
}

static int by_invoke(const void *a, const void *b)
{
    const struct history_op *x = *(const struct history_op *const *)a;
    const struct history_op *y = *(const struct history_op *const *)b;
    return order(x->invoke_us, y->invoke_us, x, y);
}

static int by_version(const void *a, const void *b)
{
    const struct history_op *x = *(const struct history_op *const *)a;
    const struct history_op *y = *(const struct history_op *const *)b;
    return order(x->version, y->version, x, y);
}

/* ---- building ------------------------------------------------------------------------ */

static void *room_for(size_t count, size_t size)
{
    void *room = calloc(count + 1, size);
    ASSERT(room != NULL);
    return room;
}

typedef bool (*pick_fn)(const struct history_op *op);

static void line_fill(struct history_line *line, const struct history_op *const *from, size_t n,
                      pick_fn pick, order_fn by)
{
    line->ops = room_for(n, sizeof(const struct history_op *));
    line->best = room_for(n, sizeof(size_t));
    line->reach = room_for(n, sizeof(uint64_t));
    for (size_t i = 0; i < n; i++)
        if (pick == NULL || pick(from[i]))
            line->ops[line->count++] = from[i];
    if (by != NULL)
        qsort(line->ops, line->count, sizeof(const struct history_op *), by);
    for (size_t i = 0; i < line->count; i++) {
        const struct history_op *op = line->ops[i];
        size_t best = i == 0 ? 0 : line->best[i - 1];
        line->best[i] = op->version > line->ops[best]->version ? i : best;
        line->reach[i] = MAX(op->return_us, i == 0 ? 0 : line->reach[i - 1]);
    }
}

static void line_fini(struct history_line *line)
{
    free(line->ops);
    free(line->best);
    free(line->reach);
}

static bool pick_ok_write(const struct history_op *op)
{
    return is_change(op) && op->kind != HISTORY_DELETE && op->outcome == HISTORY_OK;
}

static bool pick_ok_change(const struct history_op *op)
{
    return is_change(op) && op->outcome == HISTORY_OK;
}

static bool pick_known_write(const struct history_op *op)
{
    return is_change(op) && op->kind != HISTORY_DELETE && op->outcome != HISTORY_FAILED &&
           op->version != 0;
}

static bool pick_done(const struct history_op *op)
{
    return is_change(op) && op->outcome != HISTORY_FAILED && op->outcome != HISTORY_PENDING;
}

static bool pick_delete(const struct history_op *op)
{
    return op->kind == HISTORY_DELETE && op->outcome != HISTORY_FAILED;
}

static bool pick_done_delete(const struct history_op *op)
{
    return op->kind == HISTORY_DELETE && pick_done(op);
}

static bool pick_seen(const struct history_op *op)
{
    return op->kind == HISTORY_READ && op->outcome == HISTORY_OK && op->seen != NULL &&
           !op->is_at && key_class(op->key) == KEY_TTL;
}

static void key_fill(struct history_index *x, struct history_key *k)
{
    const struct history_op *const *ops = k->all.ops;
    size_t n = k->all.count;
    line_fill(&k->writes_by_return, ops, n, pick_ok_write, by_return);
    line_fill(&k->changes_by_return, ops, n, pick_ok_change, by_return);
    line_fill(&k->writes_by_version, ops, n, pick_known_write, by_version);
    line_fill(&k->done_by_invoke, ops, n, pick_done, by_invoke);
    line_fill(&k->deletes_by_invoke, ops, n, pick_delete, by_invoke);
    line_fill(&k->deletes_by_version, ops, n, pick_done_delete, by_version);
    line_fill(&k->seen_by_invoke, ops, n, pick_seen, by_invoke);
    k->first_pending_us = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        bool is_pending = is_change(ops[i]) && ops[i]->outcome == HISTORY_PENDING;
        if (is_pending)
            k->first_pending_us = MIN(k->first_pending_us, ops[i]->invoke_us);
        k->has_pending_delete |= is_pending && ops[i]->kind == HISTORY_DELETE;
    }
    struct history_line *gone = &k->deletes_by_invoke;
    for (size_t i = 0; i < gone->count; i++) {
        bool is_pending = gone->ops[i]->outcome == HISTORY_PENDING;
        uint64_t version = is_pending ? UINT64_MAX : gone->ops[i]->version;
        gone->reach[i] = MAX(version, i == 0 ? 0 : gone->reach[i - 1]);
    }
    struct history_line *seen = &k->seen_by_invoke;
    uint64_t oldest = UINT64_MAX;
    uint64_t place = UINT64_MAX;
    for (size_t i = seen->count; i-- > 0;) {
        const struct history_op *w = history_writer(x, seen->ops[i]->key, seen->ops[i]->seen);
        if (w != NULL && w->outcome == HISTORY_OK && w->return_us < oldest) {
            oldest = w->return_us;
            place = i;
        }
        seen->reach[i] = place;
    }
}

struct history_index *history_index_writers(const struct history *h)
{
    struct history_index *x = room_for(1, sizeof *x);
    for (size_t i = 0; i < h->count; i++)
        if (writes_number(&h->ops[i]))
            x->value_count = MAX(x->value_count, h->ops[i].value + 1);
    x->writers = room_for(x->value_count, sizeof(const struct history_op *));
    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        bool may = op->outcome == HISTORY_OK || op->outcome == HISTORY_PENDING;
        if (writes_number(op) && may)
            x->writers[op->value] = op;
    }
    return x;
}

void history_index_lines(struct history_index *x, const struct history *h)
{
    const struct history_op **ops = room_for(h->count, sizeof(const struct history_op *));
    size_t counts[KEYS_MAX] = {0};
    for (size_t i = 0; i < h->count; i++) {
        ops[i] = &h->ops[i];
        counts[h->ops[i].key]++;
    }
    line_fill(&x->changes_by_return, ops, h->count, pick_ok_change, by_return);
    free(ops);
    for (uint32_t key = 0; key < KEYS_MAX; key++)
        x->keys[key].all.ops = room_for(counts[key], sizeof(const struct history_op *));
    for (size_t i = 0; i < h->count; i++) {
        struct history_line *all = &x->keys[h->ops[i].key].all;
        all->ops[all->count++] = &h->ops[i];
    }
    for (uint32_t key = 0; key < KEYS_MAX; key++)
        key_fill(x, &x->keys[key]);
}

void history_index_free(struct history_index *x)
{
    if (x == NULL)
        return;
    for (uint32_t key = 0; key < KEYS_MAX; key++) {
        struct history_key *k = &x->keys[key];
        line_fini(&k->all);
        line_fini(&k->writes_by_return);
        line_fini(&k->changes_by_return);
        line_fini(&k->writes_by_version);
        line_fini(&k->done_by_invoke);
        line_fini(&k->deletes_by_invoke);
        line_fini(&k->deletes_by_version);
        line_fini(&k->seen_by_invoke);
    }
    line_fini(&x->changes_by_return);
    free(x->writers);
    free(x);
}

/* ---- asking ------------------------------------------------------------------------------ */

const struct history_op *history_writer(const struct history_index *x, uint32_t key,
                                        const char *seen)
{
    uint64_t value = strtoull(seen, NULL, 10);
    const struct history_op *w = value < x->value_count ? x->writers[value] : NULL;
    return w != NULL && w->key == key ? w : NULL;
}

/* How many of the first ones have `of(op)` below `limit`: the line is sorted by it. */
static size_t count_below(const struct history_line *line, uint64_t limit,
                          uint64_t (*of)(const struct history_op *op))
{
    size_t lo = 0;
    size_t hi = line->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (of(line->ops[mid]) < limit)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static uint64_t return_of(const struct history_op *op)
{
    return op->return_us;
}

static uint64_t invoke_of(const struct history_op *op)
{
    return op->invoke_us;
}

static uint64_t version_of(const struct history_op *op)
{
    return op->version;
}

const struct history_op *history_newest_before(const struct history_line *line, uint64_t time_us)
{
    size_t n = count_below(line, time_us, return_of);
    return n == 0 ? NULL : line->ops[line->best[n - 1]];
}

const struct history_op *history_newest_at(const struct history_line *line, uint64_t version)
{
    size_t n = count_below(line, version + 1, version_of);
    return n == 0 ? NULL : line->ops[n - 1];
}

size_t history_begun(const struct history_line *line, uint64_t time_us)
{
    return count_below(line, time_us + 1, invoke_of);
}

uint64_t history_delete_begun(const struct history_key *k, uint64_t time_us)
{
    size_t n = count_below(&k->deletes_by_invoke, time_us, invoke_of);
    return n == 0 ? 0 : k->deletes_by_invoke.reach[n - 1];
}

uint64_t history_delete_at(const struct history_key *k, uint64_t version)
{
    if (k->has_pending_delete)
        return version;
    const struct history_op *op = history_newest_at(&k->deletes_by_version, version);
    return op == NULL ? 0 : op->version;
}

const struct history_op *history_oldest_seen_after(const struct history_key *k, uint64_t time_us)
{
    size_t n = history_begun(&k->seen_by_invoke, time_us);
    if (n == k->seen_by_invoke.count || k->seen_by_invoke.reach[n] == UINT64_MAX)
        return NULL;
    return k->seen_by_invoke.ops[k->seen_by_invoke.reach[n]];
}
