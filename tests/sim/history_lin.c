/* SPDX-License-Identifier: Apache-2.0
 *
 * A history handed to the general linearizability search (support/lin).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/history.h"
#include "support/lin/lin.h"

enum { TEXT_MAX = 24, STATES_MAX = 300000 };

/* What lin borrows for one operation. */
struct texts {
    char key[TEXT_MAX];
    char arg[TEXT_MAX];
    char expect[TEXT_MAX];
};

static struct lin_value present(const char *text)
{
    return (struct lin_value){.is_present = true, .bytes = slice_str(text)};
}

static struct lin_value seen_value(const struct history_op *op)
{
    return op->seen == NULL ? (struct lin_value){0} : present(op->seen);
}

static enum lin_kind lin_kind_of(enum history_kind kind)
{
    switch (kind) {
    case HISTORY_READ:
        return LIN_READ;
    case HISTORY_WRITE:
        return LIN_WRITE;
    case HISTORY_DELETE:
        return LIN_DELETE;
    case HISTORY_CAS:
        return LIN_CAS;
    case HISTORY_SWAP:
        return LIN_SWAP;
    case HISTORY_APPEND:
        return LIN_APPEND;
    default:
        return LIN_INCREMENT;
    }
}

static enum lin_outcome lin_outcome_of(const struct history_op *op)
{
    switch (op->outcome) {
    case HISTORY_OK:
        return LIN_DONE;
    case HISTORY_MISMATCH:
        return LIN_MISMATCH;
    case HISTORY_PENDING:
        return op->kind == HISTORY_READ ? LIN_FAILED : LIN_INFO;
    default:
        return LIN_FAILED;
    }
}

static void convert(const struct history_op *op, struct texts *t, struct lin_op *ret)
{
    const char *tail = key_class(op->key) == KEY_LIST ? "," : "";
    snprintf(t->key, sizeof t->key, "%u", op->key);
    snprintf(t->arg, sizeof t->arg, "%" PRIu64 "%s", op->value, tail);
    snprintf(t->expect, sizeof t->expect, "%" PRIu64, op->expected);
    *ret = (struct lin_op){
        .process = op->process,
        .kind = lin_kind_of(op->kind),
        .outcome = lin_outcome_of(op),
        .key = slice_str(t->key),
        .arg = present(t->arg),
        .delta = (int64_t)op->value,
        .number = op->number,
        .version = op->outcome == HISTORY_PENDING ? 0 : op->version,
        .invoke = op->invoke_us,
        .ret = op->return_us,
    };
    if (op->kind == HISTORY_CAS && op->expected != 0)
        ret->expect = present(t->expect);
    bool is_seen = op->kind == HISTORY_READ || op->kind == HISTORY_SWAP;
    ret->has_result = is_seen || op->kind == HISTORY_INCREMENT || op->outcome == HISTORY_MISMATCH;
    ret->result = seen_value(op);
    if (op->kind == HISTORY_DELETE)
        ret->arg = (struct lin_value){0};
}

bool history_search(struct history *h, char *why, size_t why_size)
{
    struct lin_op *ops = malloc((h->count + 1) * sizeof *ops);
    struct texts *texts = malloc((h->count + 1) * sizeof *texts);
    struct lin_options options = {.states_max = STATES_MAX};
    struct lin_report report;
    size_t n = 0;
    ASSERT(ops != NULL);
    ASSERT(texts != NULL);
    for (size_t i = 0; i < h->count; i++) {
        if (key_class(h->ops[i].key) == KEY_TTL || h->ops[i].is_change || h->ops[i].is_at)
            continue;
        convert(&h->ops[i], &texts[n], &ops[n]);
        n++;
    }
    enum lin_verdict verdict = lin_check(ops, n, &options, &report);
    if (verdict == LIN_BAD)
        snprintf(why, why_size, "not linearizable: %.*s", (int)MIN(report.text.len, why_size - 32),
                 (const char *)report.text.data);
    h->unknown += verdict == LIN_UNKNOWN;
    lin_report_fini(&report);
    free(texts);
    free(ops);
    return verdict != LIN_BAD;
}
