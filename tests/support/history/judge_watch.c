/* SPDX-License-Identifier: Apache-2.0
 *
 * Watches: every change of a key reaches every watcher of it, once and in order.
 *
 *   write, delete   with the version that the change was given
 *   watch           key: the watcher's name; ok: [[key, value, version], …] in the order in
 *                   which they came, value null for a delete. A watcher's stream is all its
 *                   operations in order of their invocations.
 *
 *   order         versions of a key grow along a stream
 *   repeat        the same version of a key twice
 *   gap           a change that is known (acknowledged, or seen by any watcher) and lies
 *                 between two that the stream has of its key is not in it
 *   from nowhere  a change that nobody made, that failed, or with another value
 */
#include <inttypes.h>
#include <stdlib.h>

#include "support/history/history.h"

enum { SHOWN_MAX = 10 };

struct change {
    struct slice key;
    uint64_t version;
    const struct history_value *value; /* as a watcher saw it, or as it was acknowledged */
    const struct history_op *op;
    uint64_t at; /* place in the watcher's stream */
};

struct changes {
    struct change *all;
    size_t count, cap;
};

struct watch {
    const struct history *h;
    struct history_report *report;
    struct changes known; /* by key and version, each once */
    struct changes tries; /* what was asked for, by key and value */
    uint64_t events, wrong;
};

static void sort(struct changes *c, int (*compare)(const void *a, const void *b))
{
    if (c->count > 0)
        qsort(c->all, c->count, sizeof *c->all, compare);
}

static void add(struct changes *c, struct change change)
{
    if (c->count == c->cap) {
        c->cap = c->cap == 0 ? 256 : c->cap * 2;
        c->all = realloc(c->all, c->cap * sizeof *c->all);
        ASSERT(c->all != NULL);
    }
    c->all[c->count++] = change;
}

static void complain(struct watch *w, const char *what, const struct change *c)
{
    w->report->verdict = HISTORY_INVALID;
    if (++w->wrong <= SHOWN_MAX)
        buf_printf(&w->report->text, "%s: key '%.*s', version %" PRIu64 ": line %" PRIu64 "\n",
                   what, (int)c->key.len, (const char *)c->key.data, c->version, c->op->line);
}

static int by_version(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    int c = slice_compare(x->key, y->key);
    if (c != 0)
        return c;
    return (x->version > y->version) - (x->version < y->version);
}

static int compare_values(const struct history_value *a, const struct history_value *b)
{
    bool is_a = a->type != HISTORY_NULL, is_b = b->type != HISTORY_NULL;
    return is_a != is_b ? is_a - is_b : slice_compare(a->text, b->text);
}

static int by_value(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    int c = slice_compare(x->key, y->key);
    return c != 0 ? c : compare_values(x->value, y->value);
}

static int by_stream(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    int c = slice_compare(x->op->key, y->op->key);
    if (c == 0)
        c = slice_compare(x->key, y->key);
    return c != 0 ? c : (x->at > y->at) - (x->at < y->at);
}

/* ---- reading ------------------------------------------------------------------------------- */

static const struct history_value nothing = {.type = HISTORY_NULL};

static bool take_change(struct watch *w, const struct history_op *op)
{
    bool is_delete = slice_equal(op->f, slice_str("delete"));
    if (!is_delete && !slice_equal(op->f, slice_str("write")))
        return false;
    struct change c = {op->key, op->version, is_delete ? &nothing : &op->value, op, 0};
    if (op->outcome != HISTORY_FAIL)
        add(&w->tries, c);
    if (op->outcome == HISTORY_OK && op->version != 0)
        add(&w->known, c);
    return true;
}

static bool take_events(struct watch *w, const struct history_op *op, struct changes *stream)
{
    if (op->outcome != HISTORY_OK)
        return true;
    if (op->result.type != HISTORY_LIST)
        return false;
    for (size_t i = 0; i < op->result.count; i++) {
        const struct history_value *e = &op->result.list[i];
        if (e->type != HISTORY_LIST || e->count != 3 || e->list[0].type != HISTORY_TEXT ||
            e->list[2].type != HISTORY_NUMBER || e->list[2].number <= 0)
            return false;
        struct change c = {e->list[0].text, (uint64_t)e->list[2].number, &e->list[1], op,
                           w->events++};
        add(stream, c);
        add(&w->known, c);
    }
    return true;
}

/* ---- judging ----------------------------------------------------------------------------------
 */

/* Sort what is known, each once; two that differ in the value are a contradiction. */
static void settle_known(struct watch *w)
{
    size_t n = 0;
    sort(&w->known, by_version);
    for (size_t i = 0; i < w->known.count; i++) {
        struct change *last = n > 0 ? &w->known.all[n - 1] : NULL;
        if (last == NULL || by_version(last, &w->known.all[i]) != 0)
            w->known.all[n++] = w->known.all[i];
        else if (compare_values(last->value, w->known.all[i].value) != 0)
            complain(w, "one version with two values", &w->known.all[i]);
    }
    w->known.count = n;
    sort(&w->tries, by_value);
}

static size_t known_place(const struct watch *w, const struct change *c)
{
    size_t lo = 0, hi = w->known.count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (by_version(&w->known.all[mid], c) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void judge_pair(struct watch *w, const struct change *before, const struct change *c)
{
    if (c->version == before->version) {
        complain(w, "repeat", c);
        return;
    }
    if (c->version < before->version) {
        complain(w, "order", c);
        return;
    }
    for (size_t i = known_place(w, before) + 1; i < known_place(w, c); i++) {
        complain(w, "gap, it misses", &w->known.all[i]);
        complain(w, "  … before", c);
    }
}

static void judge_stream(struct watch *w, struct changes *stream)
{
    sort(stream, by_stream);
    for (size_t i = 0; i < stream->count; i++) {
        const struct change *c = &stream->all[i];
        if (w->tries.count == 0 ||
            bsearch(c, w->tries.all, w->tries.count, sizeof *c, by_value) == NULL)
            complain(w, "from nowhere", c);
        if (i > 0 && slice_equal(stream->all[i - 1].op->key, c->op->key) &&
            slice_equal(stream->all[i - 1].key, c->key))
            judge_pair(w, &stream->all[i - 1], c);
    }
}

void history_judge_watch(const struct history *h, struct history_report *report)
{
    struct watch w = {.h = h, .report = report};
    struct changes stream = {0};
    bool is_fine = true;
    for (size_t i = 0; is_fine && i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        is_fine = slice_equal(op->f, slice_str("watch")) ? take_events(&w, op, &stream)
                                                         : take_change(&w, op);
        if (!is_fine)
            buf_printf(&report->text, "line %" PRIu64 ": not what watches have\n", op->line);
    }
    if (is_fine) {
        settle_known(&w);
        judge_stream(&w, &stream);
    }
    if (!is_fine || (w.events == 0 && report->verdict == HISTORY_VALID))
        report->verdict = HISTORY_UNKNOWN;
    buf_printf(&report->text, "events %" PRIu64 ", wrong %" PRIu64 "\n", w.events, w.wrong);
    free(w.known.all);
    free(w.tries.all);
    free(stream.all);
}
