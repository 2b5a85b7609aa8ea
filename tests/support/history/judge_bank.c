/* SPDX-License-Identifier: Apache-2.0
 *
 * A bank: whoever reads all accounts at one moment sees the same sum.
 *
 *   open       value: [[account, balance], …], once, before all else
 *   transfer   value: [from, to, amount]
 *   read       ok: [[account, balance], …]
 */
#include <inttypes.h>

#include "support/history/history.h"

enum { SHOWN_MAX = 10, ACCOUNTS_MAX = 1000 };

struct bank {
    const struct history_op *open; /* NULL: not yet */
    int64_t total;
    uint64_t reads;
    uint64_t wrong;
    struct history_report *report;
};

static bool are_balances(const struct history_value *v)
{
    if (v->type != HISTORY_LIST || v->count == 0 || v->count > ACCOUNTS_MAX)
        return false;
    for (size_t i = 0; i < v->count; i++)
        if (v->list[i].type != HISTORY_LIST || v->list[i].count != 2 ||
            (v->list[i].list[1].type != HISTORY_NUMBER && v->list[i].list[1].type != HISTORY_NULL))
            return false;
    return true;
}

static bool take_open(struct bank *b, const struct history_op *op)
{
    if (b->open != NULL || op->outcome != HISTORY_OK || !are_balances(&op->value))
        return false;
    b->open = op;
    for (size_t i = 0; i < op->value.count; i++)
        b->total += op->value.list[i].list[1].number;
    return true;
}

static void complain(struct bank *b, const struct history_op *op, const char *what, int64_t number)
{
    b->report->verdict = HISTORY_INVALID;
    if (++b->wrong <= SHOWN_MAX)
        buf_printf(&b->report->text,
                   "%s %" PRId64 " (the total is %" PRId64 "): line %" PRIu64 "\n", what, number,
                   b->total, op->line);
}

static void judge_read(struct bank *b, const struct history_op *op)
{
    const struct history_value *opened = &b->open->value;
    int64_t sum = 0;
    size_t known = 0;
    for (size_t i = 0; i < op->result.count; i++) {
        const struct history_value *row = op->result.list[i].list;
        for (size_t k = 0; k < opened->count; k++)
            known += slice_equal(opened->list[k].list[0].text, row[0].text);
        if (row[1].type == HISTORY_NULL)
            complain(b, op, "an account is gone: number", (int64_t)i);
        if (row[1].number < 0)
            complain(b, op, "a negative balance", row[1].number);
        sum += row[1].number;
    }
    b->reads++;
    if (known != opened->count || op->result.count != opened->count)
        complain(b, op, "not every account once: so many are read", (int64_t)op->result.count);
    else if (sum != b->total)
        complain(b, op, "a read sums up to", sum);
}

/* False: no operation of a bank. */
static bool take(struct bank *b, const struct history_op *op)
{
    if (slice_equal(op->f, slice_str("open")))
        return take_open(b, op);
    if (slice_equal(op->f, slice_str("transfer")))
        return true;
    if (!slice_equal(op->f, slice_str("read")) || b->open == NULL)
        return false;
    if (op->outcome != HISTORY_OK)
        return true;
    if (!are_balances(&op->result))
        return false;
    judge_read(b, op);
    return true;
}

void history_judge_bank(const struct history *h, struct history_report *report)
{
    struct bank b = {.report = report};
    bool is_fine = true;
    for (size_t i = 0; is_fine && i < h->count; i++) {
        is_fine = take(&b, &h->ops[i]);
        if (!is_fine)
            buf_printf(&report->text, "line %" PRIu64 ": not what banks have, or not now\n",
                       h->ops[i].line);
    }
    if (!is_fine || (b.reads == 0 && report->verdict == HISTORY_VALID))
        report->verdict = HISTORY_UNKNOWN;
    buf_printf(&report->text, "reads %" PRIu64 ", wrong %" PRIu64 "\n", b.reads, b.wrong);
}
