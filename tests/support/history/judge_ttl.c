/* SPDX-License-Identifier: Apache-2.0
 *
 * Registers whose values expire. Every value is written once, so who sees it tells whose it is.
 *
 *   when     a value expires `ttl_ms` after its write by the cluster's clock. By the true time
 *            that is between two bounds: the write's invocation and its end, earlier by what a
 *            clock may have been ahead by, later by what one may have been behind. Who sees
 *            the value, and is told how much is left, draws them closer.
 *   late     the bounds cross: somebody saw it when it must have been gone
 *   left     more than all of it, none of what expires, or some of what does not
 *   came back  it was gone after its write had ended, and was seen later
 *   early    the rest is a search (support/lin) for an order of effects in which each value may
 *            become absent once its lower bound is over, for good. If there is none, but one
 *            where it may at once, it was early; else the history is not linearizable.
 *
 * `ahead_ms` of a completion: how far ahead of the true time any clock of the cluster had ever been
 * by then, for the cluster's clock never goes back. `behind_ms`: how far behind it any was in the
 * operation's time. Both are 0 if they are not given.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "support/history/history.h"
#include "support/history/registers.h"

enum {
    SHOWN_MAX = 20,
    SLACK_MS = 2000, /* a busy machine may halt a process between its look at a clock and its act */
};
static const int64_t never_ms = INT64_MAX / 2;

/* Of a value that expires. */
struct life {
    const struct history_op *writer;
    struct slice value;
    int64_t low_ms; /* it does not expire before that, by the true time, … */
    int64_t high_ms;
    const struct history_op *low_by; /* … as this one tells */
    const struct history_op *high_by;
    const struct history_op *seen_last; /* that began last of those who saw it; NULL: nobody */
};

/* Up to the end of an operation no clock had been further ahead. */
struct reach {
    int64_t end_ms;
    int64_t ahead_ms;
};

/* An operation that found its key absent. */
struct absence {
    struct slice key;
    const struct history_op *op;
    uint64_t least_return_ns; /* of this one and those behind it of its key */
};

struct judge {
    const struct history *h;
    struct history_report *report;
    struct life *lives; /* by key and value */
    size_t life_count;
    struct reach *reaches; /* by end */
    size_t reach_count;
    struct absence *absences; /* by key and invocation */
    size_t absence_count;
    uint64_t late, left, back;
};

static bool is_f(const struct history_op *op, const char *f)
{
    return slice_equal(op->f, slice_str(f));
}

/* The value that a change leaves behind; NULL: it is none that does. */
static const struct history_value *written(const struct history_op *op)
{
    if (is_f(op, "write"))
        return &op->value;
    if (is_f(op, "cas") && op->value.type == HISTORY_LIST && op->value.count == 2)
        return &op->value.list[1];
    return NULL;
}

/* The value that an operation met, as it was told; NULL: it was not. */
static const struct history_value *met(const struct history_op *op)
{
    if (is_f(op, "read"))
        return op->outcome == HISTORY_OK ? &op->result : NULL;
    if (!is_f(op, "cas"))
        return NULL;
    if (op->outcome == HISTORY_OK && op->value.type == HISTORY_LIST && op->value.count == 2)
        return &op->value.list[0];
    return op->outcome == HISTORY_FAIL && op->is_mismatch && op->has_seen ? &op->seen : NULL;
}

static int64_t floor_ms(uint64_t ns)
{
    return (int64_t)(ns / 1000000);
}

static int64_t ceil_ms(uint64_t ns)
{
    return (int64_t)(ns / 1000000 + 1);
}

static void complain(struct judge *j, uint64_t *counter, const char *what,
                     const struct history_op *op)
{
    j->report->verdict = HISTORY_INVALID;
    if (++*counter <= SHOWN_MAX)
        buf_printf(&j->report->text, "%s, line %" PRIu64, what, op->line);
}

/* The rest of the line that complain() began. */
static void complain_more(struct judge *j, uint64_t counter, const char *how,
                          const struct history_op *op)
{
    if (counter > SHOWN_MAX)
        return;
    buf_printf(&j->report->text, "%s", how);
    if (op != NULL)
        buf_printf(&j->report->text, " line %" PRIu64, op->line);
}

/* ---- lives ----------------------------------------------------------------------------- */

static int compare_lives(const void *a, const void *b)
{
    const struct life *x = a;
    const struct life *y = b;
    int c = slice_compare(x->writer->key, y->writer->key);
    return c != 0 ? c : slice_compare(x->value, y->value);
}

/* False: a value was written twice, so nobody can tell whose it is. */
static bool collect_lives(struct judge *j)
{
    for (size_t i = 0; i < j->h->count; i++) {
        const struct history_op *op = &j->h->ops[i];
        const struct history_value *value = written(op);
        if (value == NULL || value->type == HISTORY_NULL || op->outcome == HISTORY_FAIL)
            continue;
        struct life *life = &j->lives[j->life_count++];
        *life = (struct life){.writer = op,
                              .value = value->text,
                              .low_ms = floor_ms(op->invoke_ns) - (int64_t)op->behind_ms +
                                        (int64_t)op->ttl_ms,
                              .high_ms = never_ms,
                              .low_by = op,
                              .high_by = op};
        if (op->outcome == HISTORY_OK)
            life->high_ms = ceil_ms(op->return_ns) + (int64_t)op->ahead_ms + (int64_t)op->ttl_ms;
    }
    qsort(j->lives, j->life_count, sizeof *j->lives, compare_lives);
    for (size_t i = 1; i < j->life_count; i++) {
        if (compare_lives(&j->lives[i - 1], &j->lives[i]) != 0)
            continue;
        buf_printf(&j->report->text,
                   "lines %" PRIu64 " and %" PRIu64 ": one value, written twice\n",
                   j->lives[i - 1].writer->line, j->lives[i].writer->line);
        return false;
    }
    return true;
}

static struct life *life_of(const struct judge *j, const struct history_op *op,
                            const struct history_value *value)
{
    struct life want = {.writer = op, .value = value->text};
    if (j->life_count == 0)
        return NULL;
    return bsearch(&want, j->lives, j->life_count, sizeof *j->lives, compare_lives);
}

static void judge_left(struct judge *j, const struct life *life, const struct history_op *read)
{
    uint64_t ttl_ms = life->writer->ttl_ms;
    const char *how = NULL;
    if (read->left_ms > ttl_ms && ttl_ms > 0)
        how = ": more than it ever had, after its write,";
    else if (read->left_ms == 0 && ttl_ms > 0)
        how = ": it does not expire, but was to, by its write,";
    else if (read->left_ms > 0 && ttl_ms == 0)
        how = ": it expires, but was not to, by its write,";
    if (how == NULL)
        return;
    complain(j, &j->left, "left: what was read", read);
    complain_more(j, j->left, how, life->writer);
    complain_more(j, j->left, "\n", NULL);
}

/* What one that saw the value knows of its end. */
static void take_sight(struct judge *j, struct life *life, const struct history_op *op)
{
    int64_t left_ms = MAX((int64_t)op->left_ms, 1);
    int64_t low_ms = floor_ms(op->invoke_ns) - (int64_t)op->behind_ms + left_ms;
    int64_t high_ms = ceil_ms(op->return_ns) + (int64_t)op->ahead_ms + left_ms;
    if (life->seen_last == NULL || op->invoke_ns > life->seen_last->invoke_ns)
        life->seen_last = op;
    if (is_f(op, "read"))
        judge_left(j, life, op);
    if (low_ms > life->low_ms) {
        life->low_ms = low_ms;
        life->low_by = op;
    }
    if (op->left_ms > 0 && high_ms < life->high_ms) {
        life->high_ms = high_ms;
        life->high_by = op;
    }
}

static void judge_lives(struct judge *j)
{
    for (size_t i = 0; i < j->h->count; i++) {
        const struct history_op *op = &j->h->ops[i];
        const struct history_value *value = met(op);
        struct life *life =
            value == NULL || value->type == HISTORY_NULL ? NULL : life_of(j, op, value);
        if (life != NULL)
            take_sight(j, life, op);
    }
    for (size_t i = 0; i < j->life_count; i++) {
        const struct life *life = &j->lives[i];
        if (life->writer->ttl_ms == 0 || life->low_ms <= life->high_ms + SLACK_MS)
            continue;
        complain(j, &j->late, "late: a value", life->writer);
        complain_more(j, j->late, ", was there for", life->low_by);
        complain_more(j, j->late, ", though it had expired by", life->high_by);
        complain_more(j, j->late, "\n", NULL);
    }
}

/* ---- what was gone stays away ------------------------------------------------------------ */

static int compare_absences(const void *a, const void *b)
{
    const struct absence *x = a;
    const struct absence *y = b;
    int c = slice_compare(x->key, y->key);
    return c != 0 ? c
                  : (x->op->invoke_ns > y->op->invoke_ns) - (x->op->invoke_ns < y->op->invoke_ns);
}

static void collect_absences(struct judge *j)
{
    for (size_t i = 0; i < j->h->count; i++) {
        const struct history_op *op = &j->h->ops[i];
        const struct history_value *value = met(op);
        if (value != NULL && value->type == HISTORY_NULL)
            j->absences[j->absence_count++] = (struct absence){.key = op->key, .op = op};
    }
    qsort(j->absences, j->absence_count, sizeof *j->absences, compare_absences);
    for (size_t i = j->absence_count; i > 0; i--) {
        struct absence *a = &j->absences[i - 1];
        bool is_last = i == j->absence_count || !slice_equal(a[1].key, a->key);
        a->least_return_ns =
            is_last ? a->op->return_ns : MIN(a->op->return_ns, a[1].least_return_ns);
    }
}

/* The first that found the key absent and began after `since_ns`, and NULL if there is none. */
static const struct absence *first_absence(const struct judge *j, struct slice key,
                                           uint64_t since_ns)
{
    size_t lo = 0, hi = j->absence_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = slice_compare(j->absences[mid].key, key);
        if (c < 0 || (c == 0 && j->absences[mid].op->invoke_ns <= since_ns))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < j->absence_count && slice_equal(j->absences[lo].key, key) ? &j->absences[lo] : NULL;
}

static void judge_returns(struct judge *j)
{
    for (size_t i = 0; i < j->life_count; i++) {
        const struct life *life = &j->lives[i];
        const struct absence *a =
            life->seen_last == NULL || life->writer->outcome != HISTORY_OK
                ? NULL
                : first_absence(j, life->writer->key, life->writer->return_ns);
        if (a == NULL || a->least_return_ns >= life->seen_last->invoke_ns)
            continue;
        while (a->op->return_ns != a->least_return_ns)
            a++;
        complain(j, &j->back, "came back: a value", life->writer);
        complain_more(j, j->back, ", was gone for", a->op);
        complain_more(j, j->back, " and there for", life->seen_last);
        complain_more(j, j->back, "\n", NULL);
    }
}

/* ---- the search -------------------------------------------------------------------------- */

static int compare_reaches(const void *a, const void *b)
{
    const struct reach *x = a;
    const struct reach *y = b;
    return (x->end_ms > y->end_ms) - (x->end_ms < y->end_ms);
}

static void collect_reaches(struct judge *j)
{
    for (size_t i = 0; i < j->h->count; i++) {
        const struct history_op *op = &j->h->ops[i];
        if (op->outcome != HISTORY_INFO)
            j->reaches[j->reach_count++] =
                (struct reach){ceil_ms(op->return_ns), (int64_t)op->ahead_ms};
    }
    qsort(j->reaches, j->reach_count, sizeof *j->reaches, compare_reaches);
    for (size_t i = 1; i < j->reach_count; i++)
        j->reaches[i].ahead_ms = MAX(j->reaches[i].ahead_ms, j->reaches[i - 1].ahead_ms);
}

/* The first moment at which a clock may have told that `low_ms` is over. */
static uint64_t first_ns(const struct judge *j, int64_t low_ms)
{
    int64_t from_ms = 0, ahead_ms = 0, want_ms = low_ms - SLACK_MS;
    size_t i = 0, hi = j->reach_count;
    while (i < hi) {
        size_t mid = i + (hi - i) / 2;
        if (j->reaches[mid].end_ms + j->reaches[mid].ahead_ms < want_ms)
            i = mid + 1;
        else
            hi = mid;
    }
    if (i > 0)
        from_ms = j->reaches[i - 1].end_ms;
    if (j->reach_count > 0)
        ahead_ms = j->reaches[MIN(i, j->reach_count - 1)].ahead_ms;
    return (uint64_t)MAX(MAX(from_ms, want_ms - ahead_ms), 0) * 1000000;
}

/* The end of each value that expires, as an operation that may happen at any time from then on. */
static size_t add_ends(const struct judge *j, bool may_be_early, struct lin_op *ops, size_t count)
{
    for (size_t i = 0; i < j->life_count; i++) {
        const struct life *life = &j->lives[i];
        const struct history_op *w = life->writer;
        if (w->ttl_ms == 0)
            continue;
        ops[count++] = (struct lin_op){
            .process = (uint32_t)w->process,
            .line = w->line,
            .kind = LIN_CAS,
            .outcome = LIN_INFO,
            .key = w->key,
            .leaves_no_trace = true,
            .expect = {.is_present = true, .bytes = life->value},
            .invoke = may_be_early ? w->invoke_ns : MAX(w->invoke_ns, first_ns(j, life->low_ms)),
        };
    }
    return count;
}

static void search(struct judge *j)
{
    struct lin_op *ops = calloc(j->h->count + j->life_count + 1, sizeof *ops);
    struct history_report once_more;
    ASSERT(ops != NULL);
    enum history_verdict before = j->report->verdict;
    if (!registers_fill(j->h, true, ops, j->report)) {
        free(ops);
        return;
    }
    registers_search(ops, add_ends(j, false, ops, j->h->count), j->report);
    if (j->report->verdict == HISTORY_INVALID) {
        history_report_init(&once_more);
        registers_search(ops, add_ends(j, true, ops, j->h->count), &once_more);
        if (once_more.verdict == HISTORY_VALID)
            buf_printf(&j->report->text, "early: it is in order if values may expire too soon\n");
        buf_printf(&j->report->text, "(A cas to absent is the end of the value of that line.)\n");
        history_report_fini(&once_more);
    }
    if (before == HISTORY_INVALID)
        j->report->verdict = before;
    free(ops);
}

void history_judge_ttl(const struct history *h, struct history_report *report)
{
    struct judge j = {.h = h, .report = report};
    j.lives = calloc(h->count + 1, sizeof *j.lives);
    j.reaches = calloc(h->count + 1, sizeof *j.reaches);
    j.absences = calloc(h->count + 1, sizeof *j.absences);
    ASSERT(j.lives != NULL && j.reaches != NULL && j.absences != NULL);
    if (collect_lives(&j)) {
        judge_lives(&j);
        collect_absences(&j);
        judge_returns(&j);
        collect_reaches(&j);
        search(&j);
        buf_printf(&report->text,
                   "values %zu, absent for %zu, late %" PRIu64 ", wrong left %" PRIu64
                   ", came back %" PRIu64 "\n",
                   j.life_count, j.absence_count, j.late, j.left, j.back);
    } else {
        report->verdict = HISTORY_UNKNOWN;
    }
    free(j.lives);
    free(j.reaches);
    free(j.absences);
}
