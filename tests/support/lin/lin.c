/* SPDX-License-Identifier: Apache-2.0 */
#include "support/lin/lin.h"

#include <stdlib.h>

#include "support/lin/lin_internal.h"

enum { STATES_MAX_DEFAULT = 20 * 1000 * 1000, TEXT_BYTES_MAX = 1 << 20, ROWS_MAX = 200 };

/* ---- words ------------------------------------------------------------------------ */

static void print_op(struct buf *out, const struct lin_item *it, const struct lin_values *v)
{
    static const char *const names[] = {"read",      "write",  "delete", "cas",
                                        "increment", "append", "swap"};
    buf_printf(out, "%s", names[it->kind]);
    if (it->kind == LIN_CAS) {
        buf_append_str(out, " ");
        if (it->op->expect_version != 0)
            buf_printf(out, "version %llu", (unsigned long long)it->op->expect_version);
        else
            lin_print_value(out, v, it->expect);
        buf_append_str(out, " to");
    }
    if (it->kind == LIN_INCREMENT)
        buf_printf(out, " by %lld", (long long)it->op->delta);
    else if (it->kind != LIN_READ && it->kind != LIN_DELETE) {
        buf_append_str(out, " ");
        lin_print_value(out, v, it->arg);
    }
    if (it->outcome == LIN_INFO) {
        buf_append_str(out, ": unknown");
        return;
    }
    buf_append_str(out, it->outcome == LIN_MISMATCH ? ": mismatch" : ": done");
    if (it->kind == LIN_INCREMENT && it->has_result) {
        buf_printf(out, ", %lld", (long long)it->op->number);
    } else if (it->kind == LIN_READ || it->has_result) {
        buf_append_str(out, ", saw ");
        lin_print_value(out, v, it->result);
    }
    if (it->version != 0)
        buf_printf(out, ", version %llu", (unsigned long long)it->version);
}

static int compare_items(const void *a, const void *b)
{
    const struct lin_item *x = a;
    const struct lin_item *y = b;
    if (x->invoke != y->invoke)
        return x->invoke < y->invoke ? -1 : 1;
    return x->op < y->op ? -1 : x->op > y->op;
}

static void print_process(struct buf *out, const char *indent, const struct lin_op *op)
{
    if (op->line > 0)
        buf_printf(out, "%sline %-6llu", indent, (unsigned long long)op->line);
    buf_printf(out, "%sp%-4u ", indent, op->process);
}

static void print_rows(struct lin_item *items, size_t count, const struct lin_values *values,
                       struct buf *out)
{
    uint64_t origin = count > 0 ? items[0].invoke : 0;
    for (size_t i = 0; i < MIN(count, (size_t)ROWS_MAX); i++) {
        const struct lin_item *it = &items[i];
        buf_printf(out, "  %12llu ", (unsigned long long)(it->invoke - origin));
        if (it->outcome == LIN_INFO)
            buf_printf(out, "%-15s", "…");
        else
            buf_printf(out, ".. %-10llu", (unsigned long long)(it->ret - origin));
        print_process(out, " ", it->op);
        print_op(out, it, values);
        buf_append_str(out, "\n");
    }
    if (count > ROWS_MAX)
        buf_printf(out, "  … and %zu more\n", count - ROWS_MAX);
}

void lin_explain(struct lin_item *items, size_t count, struct lin_values *values,
                 uint64_t states_max, struct buf *out)
{
    struct lin_search found;
    qsort(items, count, sizeof *items, compare_items);
    print_rows(items, count, values, out);
    lin_search(items, count, values, states_max, true, &found);
    buf_append_str(out, "the longest order of effects that explains a part of it:\n");
    bool *is_in = lin_alloc(count, sizeof *is_in);
    for (size_t i = 0; i < found.order_len; i++) {
        is_in[found.order[i]] = true;
        if (i >= ROWS_MAX)
            continue;
        print_process(out, "  ", items[found.order[i]].op);
        print_op(out, &items[found.order[i]], values);
        buf_append_str(out, "\n");
    }
    buf_append_str(out, "then the value is ");
    lin_print_value(out, values, found.value);
    buf_append_str(out, ", and this does not fit in:\n");
    for (size_t i = 0, shown = 0; i < count && shown < ROWS_MAX; i++) {
        if (is_in[i] || items[i].outcome == LIN_INFO)
            continue;
        print_process(out, "  ", items[i].op);
        print_op(out, &items[i], values);
        buf_append_str(out, "\n");
        shown++;
    }
    free(is_in);
    free(found.order);
}

/* ---- by key -------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
    const struct lin_op *x = *(const struct lin_op *const *)a;
    const struct lin_op *y = *(const struct lin_op *const *)b;
    int c = slice_compare(x->key, y->key);
    if (c != 0)
        return c;
    return x < y ? -1 : x > y;
}

static struct lin_item item_of(const struct lin_op *op, struct lin_values *values)
{
    return (struct lin_item){
        .op = op,
        .kind = op->kind,
        .outcome = op->outcome,
        .arg = lin_intern(values, op->arg),
        .expect = lin_intern(values, op->expect),
        .result = lin_intern(values, op->result),
        .has_result = op->has_result || op->kind == LIN_READ,
        .version = op->outcome == LIN_INFO ? 0 : op->version,
        .invoke = op->invoke,
        .ret = op->outcome == LIN_INFO ? UINT64_MAX : op->ret,
    };
}

static size_t make_items(const struct lin_op *const *ops, size_t count, struct lin_values *values,
                         struct lin_item *items)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_idle = ops[i]->kind == LIN_READ && ops[i]->outcome == LIN_INFO;
        if (ops[i]->outcome != LIN_FAILED && !is_idle)
            items[n++] = item_of(ops[i], values);
    }
    return n;
}

static void print_key(struct buf *out, struct slice key)
{
    struct lin_values v;
    lin_values_init(&v);
    uint32_t id = lin_intern(&v, (struct lin_value){true, key});
    buf_append_str(out, "key ");
    lin_print_value(out, &v, id);
    lin_values_fini(&v);
}

static enum lin_verdict check_key(const struct lin_op *const *ops, size_t count,
                                  uint64_t states_max, struct lin_report *report)
{
    struct lin_values values;
    struct lin_search found;
    struct lin_item *items = lin_alloc(count, sizeof *items);
    struct lin_item *all = lin_alloc(count, sizeof *all);
    lin_values_init(&values);
    size_t n = make_items(ops, count, &values, items);
    size_t all_n = n;
    memcpy(all, items, n * sizeof *items);
    n = lin_drop_unseen(items, n, &values);
    lin_search(items, n, &values, states_max, false, &found);
    report->keys++;
    report->states += found.states;
    if (found.verdict > report->verdict) {
        report->verdict = found.verdict;
        report->key = ops[0]->key;
    }
    if (found.verdict == LIN_BAD) {
        size_t few = lin_shrink(all, all_n, &values, states_max);
        buf_clear(&report->text);
        print_key(&report->text, ops[0]->key);
        buf_printf(&report->text,
                   " is not linearizable; %zu of its %zu operations are enough to show it:\n", few,
                   all_n);
        lin_explain(all, few, &values, states_max, &report->text);
    } else if (found.verdict == LIN_UNKNOWN) {
        print_key(&report->text, ops[0]->key);
        buf_printf(&report->text, ": given up after %llu states\n",
                   (unsigned long long)found.states);
    }
    lin_values_fini(&values);
    free(items);
    free(all);
    return found.verdict;
}

enum lin_verdict lin_check(const struct lin_op *ops, size_t count,
                           const struct lin_options *options, struct lin_report *ret_report)
{
    const struct lin_op **sorted = lin_alloc(count, sizeof *sorted);
    uint64_t states_max = options == NULL ? 0 : options->states_max;
    if (states_max == 0)
        states_max = STATES_MAX_DEFAULT;
    *ret_report = (struct lin_report){.verdict = LIN_OK};
    buf_init(&ret_report->text, TEXT_BYTES_MAX);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &ops[i];
    qsort(sorted, count, sizeof *sorted, compare_keys);
    for (size_t i = 0, next; i < count && ret_report->verdict != LIN_BAD; i = next) {
        next = i + 1;
        while (next < count && slice_equal(sorted[next]->key, sorted[i]->key))
            next++;
        check_key(sorted + i, next - i, states_max, ret_report);
    }
    free(sorted);
    return ret_report->verdict;
}

void lin_report_fini(struct lin_report *report)
{
    buf_fini(&report->text);
}
