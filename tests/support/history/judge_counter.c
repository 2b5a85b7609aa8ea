/* SPDX-License-Identifier: Apache-2.0
 *
 * A counter, per key: a read may be at least the sum of the increases that were done
 * before it began and the decreases that may have happened before it ended, and at most
 * the other way round.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "support/history/history.h"

enum { SHOWN_MAX = 20 };

struct point {
    uint64_t time;
    int64_t sum; /* of all up to here, once summed up */
};

/* Additions of one key and sign, by when they began or were done. */
struct series {
    struct point *points;
    size_t count;
};

static int compare_points(const void *a, const void *b)
{
    const struct point *x = a;
    const struct point *y = b;
    return (x->time > y->time) - (x->time < y->time);
}

static void series_sum_up(struct series *s)
{
    qsort(s->points, s->count, sizeof *s->points, compare_points);
    for (size_t i = 1; i < s->count; i++)
        s->points[i].sum += s->points[i - 1].sum;
}

/* What was added before `time` (or at it, if `is_included`). */
static int64_t series_at(const struct series *s, uint64_t time, bool is_included)
{
    size_t lo = 0, hi = s->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->points[mid].time < time || (is_included && s->points[mid].time == time))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo == 0 ? 0 : s->points[lo - 1].sum;
}

struct counter {
    struct series ups_begun, ups_done, downs_begun, downs_done;
};

static void note(struct series *s, uint64_t time, int64_t by)
{
    s->points[s->count++] = (struct point){time, by};
}

static bool is_addition(const struct history_op *op)
{
    return slice_equal(op->f, slice_str("add")) || slice_equal(op->f, slice_str("increment"));
}

static bool counter_add(struct counter *c, const struct history_op *op)
{
    if (op->value.type != HISTORY_NUMBER)
        return false;
    int64_t by = op->value.number;
    if (op->outcome == HISTORY_FAIL)
        return true;
    note(by >= 0 ? &c->ups_begun : &c->downs_begun, op->invoke_ns, by);
    if (op->outcome == HISTORY_OK)
        note(by >= 0 ? &c->ups_done : &c->downs_done, op->return_ns, by);
    return true;
}

static void judge_read(const struct counter *c, const struct history_op *op, uint64_t *wrong,
                       struct history_report *report)
{
    int64_t least = series_at(&c->ups_done, op->invoke_ns, false) +
                    series_at(&c->downs_begun, op->return_ns, true);
    int64_t most = series_at(&c->ups_begun, op->return_ns, true) +
                   series_at(&c->downs_done, op->invoke_ns, false);
    int64_t seen = op->result.type == HISTORY_NULL ? 0 : op->result.number;
    if (seen >= least && seen <= most)
        return;
    report->verdict = HISTORY_INVALID;
    if (++*wrong > SHOWN_MAX)
        return;
    buf_printf(&report->text,
               "line %" PRIu64 ": process %" PRId64 " read %" PRId64
               " of '%.*s'; it can be %" PRId64 " to %" PRId64 "\n",
               op->line, op->process, seen, (int)op->key.len, (const char *)op->key.data, least,
               most);
}

static int compare_keys(const void *a, const void *b)
{
    const struct history_op *x = *(const struct history_op *const *)a;
    const struct history_op *y = *(const struct history_op *const *)b;
    int c = slice_compare(x->key, y->key);
    return c != 0 ? c : (x > y) - (x < y);
}

/* The operations of one key. Returns how many reads were judged, -1 for nonsense. */
static int64_t judge_key(const struct history_op *const *ops, size_t count, uint64_t *wrong,
                         struct history_report *report)
{
    struct point *points = calloc(4 * count, sizeof *points);
    int64_t reads = 0;
    ASSERT(points != NULL);
    struct counter c = {
        {points, 0}, {points + count, 0}, {points + 2 * count, 0}, {points + 3 * count, 0}};
    for (size_t i = 0; i < count && reads >= 0; i++) {
        bool is_read = slice_equal(ops[i]->f, slice_str("read"));
        if (!is_read && (!is_addition(ops[i]) || !counter_add(&c, ops[i])))
            reads = -1;
        if (reads < 0)
            buf_printf(&report->text, "line %" PRIu64 ": not what counters have\n", ops[i]->line);
    }
    series_sum_up(&c.ups_begun);
    series_sum_up(&c.ups_done);
    series_sum_up(&c.downs_begun);
    series_sum_up(&c.downs_done);
    for (size_t i = 0; i < count && reads >= 0; i++) {
        if (is_addition(ops[i]) || ops[i]->outcome != HISTORY_OK)
            continue;
        judge_read(&c, ops[i], wrong, report);
        reads++;
    }
    free(points);
    return reads;
}

void history_judge_counter(const struct history *h, struct history_report *report)
{
    const struct history_op **sorted = calloc(h->count + 1, sizeof *sorted);
    int64_t reads = 0;
    uint64_t wrong = 0;
    ASSERT(sorted != NULL);
    for (size_t i = 0; i < h->count; i++)
        sorted[i] = &h->ops[i];
    qsort(sorted, h->count, sizeof *sorted, compare_keys);
    for (size_t i = 0, next; i < h->count && reads >= 0; i = next) {
        next = i + 1;
        while (next < h->count && slice_equal(sorted[next]->key, sorted[i]->key))
            next++;
        int64_t n = judge_key(sorted + i, next - i, &wrong, report);
        reads = n < 0 ? -1 : reads + n;
    }
    free(sorted);
    if (reads <= 0 && report->verdict == HISTORY_VALID)
        report->verdict = HISTORY_UNKNOWN;
    if (reads >= 0)
        buf_printf(&report->text, "reads judged %" PRId64 ", wrong %" PRIu64 "\n", reads, wrong);
}
