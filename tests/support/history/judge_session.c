/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes that are sent more than once. Those with one stamp are sendings of one change:
 *
 *   results   a sending that was answered by the range, "ok" or with a mismatch, has its
 *             result; all of them must be the same, as far as each is known (a range keeps
 *             no long ones)
 *   as one    it began when its first sending did, and had happened when the first result
 *             came; it failed only if every sending failed; else its outcome is not known
 *
 * What then is left, one operation for each change, must be right: keys with additions as
 * sets ("add"), in which nothing is twice, all others as registers.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "support/history/history.h"

enum { SHOWN_MAX = 20 };

static const char *value_differs(const struct history_value *a, const struct history_value *b)
{
    bool is_same = (a->type == HISTORY_NULL) == (b->type == HISTORY_NULL) &&
                   (a->type == HISTORY_NULL || slice_equal(a->text, b->text));
    return is_same ? NULL : "what was there before";
}

/* In what two results of one change differ; NULL: in nothing that both know. */
static const char *differ(const struct history_op *a, const struct history_op *b)
{
    if (a->outcome != b->outcome)
        return "whether it was done";
    if (a->change != 0 && b->change != 0 && a->change != b->change)
        return "the version of the change";
    if (a->version != 0 && b->version != 0 && a->version != b->version)
        return "the version of the key";
    if (a->has_number && b->has_number && a->number != b->number)
        return "the number";
    if (a->has_seen && b->has_seen)
        return value_differs(&a->seen, &b->seen);
    return NULL;
}

static bool has_result(const struct history_op *op)
{
    return op->outcome == HISTORY_OK || (op->outcome == HISTORY_FAIL && op->is_mismatch);
}

static bool is_same_value(const struct history_value *a, const struct history_value *b)
{
    if (a->type != b->type || a->count != b->count)
        return false;
    for (size_t i = 0; a->type == HISTORY_LIST && i < a->count; i++)
        if (!is_same_value(&a->list[i], &b->list[i]))
            return false;
    return slice_equal(a->text, b->text);
}

static bool is_same_change(const struct history_op *a, const struct history_op *b)
{
    return slice_equal(a->f, b->f) && slice_equal(a->key, b->key) &&
           is_same_value(&a->value, &b->value);
}

/* Counts for people. */
struct figures {
    uint64_t changes;  /* that were sent more than once */
    uint64_t sendings; /* of these */
    uint64_t results;  /* … that have a result */
    uint64_t differ;
};

/* What only one of the two results knows. */
static void learn(struct history_op *one, const struct history_op *op)
{
    one->return_ns = MIN(one->return_ns, op->return_ns);
    one->version = MAX(one->version, op->version);
    if (op->has_number) {
        one->has_number = true;
        one->number = op->number;
    }
    if (op->has_seen) {
        one->has_seen = true;
        one->seen = op->seen;
    }
}

static void complain(struct history_report *report, struct figures *n, const char *what,
                     const struct history_op *a, const struct history_op *b)
{
    report->verdict = HISTORY_INVALID;
    if (++n->differ > SHOWN_MAX)
        return;
    buf_printf(&report->text,
               "results differ in %s: %.*s of '%.*s', lines %" PRIu64 " and %" PRIu64 "\n", what,
               (int)a->f.len, (const char *)a->f.data, (int)a->key.len, (const char *)a->key.data,
               a->line, b->line);
}

/* Hold the result of sending `at` against those before it: what one of them does not know another
 * may. */
static void compare(const struct history_op *const *sendings, size_t at,
                    struct history_report *report, struct figures *n)
{
    for (size_t i = 0; i < at; i++) {
        const char *what = has_result(sendings[i]) ? differ(sendings[i], sendings[at]) : NULL;
        if (what == NULL)
            continue;
        complain(report, n, what, sendings[i], sendings[at]);
        return;
    }
}

/* The sendings of one change as one operation. False: they are not of one. */
static bool as_one(const struct history_op *const *sendings, size_t count,
                   struct history_report *report, struct figures *n, struct history_op *ret)
{
    const struct history_op *first = NULL; /* of those with a result */
    bool is_open = false;
    *ret = *sendings[0];
    for (size_t i = 0; i < count; i++) {
        const struct history_op *op = sendings[i];
        if (!is_same_change(op, sendings[0])) {
            buf_printf(&report->text, "lines %" PRIu64 " and %" PRIu64 ": two changes, one stamp\n",
                       sendings[0]->line, op->line);
            return false;
        }
        uint64_t invoke_ns = MIN(ret->invoke_ns, op->invoke_ns);
        is_open |= op->outcome == HISTORY_INFO;
        if (has_result(op) && first == NULL) {
            first = op;
            *ret = *op;
        } else if (has_result(op)) {
            compare(sendings, i, report, n);
            learn(ret, op);
        }
        ret->invoke_ns = invoke_ns;
        n->results += count > 1 && has_result(op);
    }
    if (first == NULL && is_open) {
        ret->outcome = HISTORY_INFO;
        ret->return_ns = UINT64_MAX;
    }
    n->changes += count > 1;
    n->sendings += count > 1 ? count : 0;
    return true;
}

static int compare_stamps(const void *a, const void *b)
{
    const struct history_op *x = *(const struct history_op *const *)a;
    const struct history_op *y = *(const struct history_op *const *)b;
    int c = slice_compare(x->stamp, y->stamp);
    return c != 0 ? c : (x > y) - (x < y);
}

/* One operation for each change into `ret`, which has room for all. */
static bool unite(const struct history *h, struct history_report *report, struct history *ret)
{
    const struct history_op **sorted = calloc(h->count + 1, sizeof *sorted);
    struct figures n = {0};
    bool is_fine = true;
    ASSERT(sorted != NULL);
    for (size_t i = 0; i < h->count; i++)
        sorted[i] = &h->ops[i];
    qsort(sorted, h->count, sizeof *sorted, compare_stamps);
    for (size_t i = 0, next; i < h->count && is_fine; i = next) {
        next = i + 1;
        while (next < h->count && sorted[i]->stamp.len > 0 &&
               slice_equal(sorted[next]->stamp, sorted[i]->stamp))
            next++;
        is_fine = as_one(sorted + i, next - i, report, &n, &ret->ops[ret->count++]);
    }
    free(sorted);
    buf_printf(&report->text,
               "changes sent more than once %" PRIu64 ", sendings of them %" PRIu64
               ", results %" PRIu64 ", that differ %" PRIu64 "\n",
               n.changes, n.sendings, n.results, n.differ);
    return is_fine;
}

/* ---- sets and registers ------------------------------------------------------------ */

static int compare_keys(const void *a, const void *b)
{
    const struct history_op *x = a;
    const struct history_op *y = b;
    int c = slice_compare(x->key, y->key);
    return c != 0 ? c : (x->invoke_ns > y->invoke_ns) - (x->invoke_ns < y->invoke_ns);
}

static bool is_of_a_set(const struct history_op *op)
{
    return slice_equal(op->f, slice_str("add")) ||
           (slice_equal(op->f, slice_str("read")) && op->result.type == HISTORY_LIST);
}

static void worsen(struct history_report *report, enum history_verdict before)
{
    if (before == HISTORY_INVALID || report->verdict == HISTORY_VALID)
        report->verdict = before;
}

void history_judge_session(const struct history *h, struct history_report *report)
{
    struct history_op *ops = calloc(3 * (h->count + 1), sizeof *ops);
    ASSERT(ops != NULL);
    struct history all = {.ops = ops}, sets = {.ops = ops + h->count + 1},
                   registers = {.ops = sets.ops + h->count + 1};
    if (!unite(h, report, &all)) {
        report->verdict = HISTORY_UNKNOWN;
        free(ops);
        return;
    }
    qsort(all.ops, all.count, sizeof *ops, compare_keys);
    for (size_t i = 0, next; i < all.count; i = next) {
        bool is_set = false;
        for (next = i; next < all.count && slice_equal(all.ops[next].key, all.ops[i].key); next++)
            is_set |= is_of_a_set(&all.ops[next]);
        struct history *to = is_set ? &sets : &registers;
        memcpy(to->ops + to->count, all.ops + i, (next - i) * sizeof *ops);
        to->count += next - i;
    }
    enum history_verdict before = report->verdict;
    report->verdict = HISTORY_VALID;
    history_judge_strict_set(&sets, report);
    if (registers.count > 0) {
        if (sets.count == 0)
            report->verdict = HISTORY_VALID; /* no sets: nothing was to be read of them */
        worsen(report, before);
        before = report->verdict;
        report->verdict = HISTORY_VALID;
        history_judge_register(&registers, report);
    }
    worsen(report, before);
    free(ops);
}
