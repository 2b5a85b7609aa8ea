/* SPDX-License-Identifier: Apache-2.0
 *
 * Registers: translate into support/lin and let it search.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "support/history/history.h"
#include "support/history/registers.h"

static struct lin_value value_of(const struct history_value *v)
{
    return (struct lin_value){.is_present = v->type != HISTORY_NULL, .bytes = v->text};
}

static const struct {
    const char *f;
    enum lin_kind kind;
} kinds[] = {
    {"read", LIN_READ}, {"write", LIN_WRITE},         {"delete", LIN_DELETE},
    {"cas", LIN_CAS},   {"increment", LIN_INCREMENT}, {"append", LIN_APPEND},
    {"swap", LIN_SWAP}, {"cas-version", LIN_CAS},
};

static const char *fill_cas(const struct history_op *from, struct lin_op *to)
{
    const struct history_value *v = &from->value;
    if (v->type != HISTORY_LIST || v->count != 2)
        return "its value is not [expected, after]";
    to->arg = value_of(&v->list[1]);
    if (slice_equal(from->f, slice_str("cas"))) {
        to->expect = value_of(&v->list[0]);
        return NULL;
    }
    if (v->list[0].type != HISTORY_NUMBER || v->list[0].number <= 0)
        return "its expected version is no number above 0";
    to->expect_version = (uint64_t)v->list[0].number;
    return NULL;
}

/* What the kind of operation adds. NULL, or what is wrong. */
static const char *fill_args(const struct history_op *from, struct lin_op *to)
{
    to->arg = value_of(&from->value);
    to->result = value_of(&from->seen);
    to->has_result = from->has_seen;
    switch (to->kind) {
    case LIN_READ:
        if (from->outcome == HISTORY_OK && from->result.type == HISTORY_LIST)
            return "what was read is a list";
        to->result = value_of(&from->result);
        return NULL;
    case LIN_DELETE:
        to->arg = (struct lin_value){0};
        return NULL;
    case LIN_CAS:
        return fill_cas(from, to);
    case LIN_INCREMENT:
        if (from->value.type != HISTORY_NUMBER)
            return "its value is no whole number";
        to->delta = from->value.number;
        to->number = from->number;
        to->has_result = from->has_number;
        return NULL;
    default:
        return from->value.type == HISTORY_LIST ? "its value is a list" : NULL;
    }
}

static const char *fill(const struct history_op *from, struct lin_op *to)
{
    size_t k = 0;
    while (k < ARRAY_LEN(kinds) && !slice_equal(from->f, slice_str(kinds[k].f)))
        k++;
    if (k == ARRAY_LEN(kinds))
        return "an operation that registers do not have";
    *to = (struct lin_op){
        .process = (uint32_t)from->process,
        .line = from->line,
        .kind = kinds[k].kind,
        .outcome = from->outcome == HISTORY_OK ? LIN_DONE : LIN_INFO,
        .key = from->key,
        .version = from->version,
        .invoke = from->invoke_ns,
        .ret = from->return_ns,
    };
    if (from->outcome == HISTORY_FAIL)
        to->outcome = from->is_mismatch && to->kind == LIN_CAS ? LIN_MISMATCH : LIN_FAILED;
    return fill_args(from, to);
}

bool registers_fill(const struct history *h, bool with_versions, struct lin_op *ret_ops,
                    struct history_report *report)
{
    for (size_t i = 0; i < h->count; i++) {
        const char *wrong = fill(&h->ops[i], &ret_ops[i]);
        if (!with_versions)
            ret_ops[i].version = 0;
        if (wrong == NULL)
            continue;
        buf_printf(&report->text, "line %" PRIu64 ": %.*s: %s\n", h->ops[i].line,
                   (int)h->ops[i].f.len, (const char *)h->ops[i].f.data, wrong);
        report->verdict = HISTORY_UNKNOWN;
        return false;
    }
    return true;
}

void registers_search(const struct lin_op *ops, size_t count, struct history_report *report)
{
    struct lin_report found;
    enum lin_verdict verdict = lin_check(ops, count, NULL, &found);
    buf_printf(&report->text, "keys %" PRIu64 ", states looked at %" PRIu64 "\n", found.keys,
               found.states);
    buf_append_slice(&report->text, buf_slice(&found.text));
    report->verdict = verdict == LIN_OK    ? HISTORY_VALID
                      : verdict == LIN_BAD ? HISTORY_INVALID
                                           : HISTORY_UNKNOWN;
    lin_report_fini(&found);
}

static void judge(const struct history *h, bool with_versions, struct history_report *report)
{
    struct lin_op *ops = calloc(h->count + 1, sizeof *ops);
    ASSERT(ops != NULL);
    if (registers_fill(h, with_versions, ops, report))
        registers_search(ops, h->count, report);
    free(ops);
}

void history_judge_register(const struct history *h, struct history_report *report)
{
    judge(h, true, report);
}

void history_judge_plain_register(const struct history *h, struct history_report *report)
{
    judge(h, false, report);
}
