/* SPDX-License-Identifier: Apache-2.0
 *
 * Long scans over groups of keys, each group written as a whole.
 *
 *   write   key: the group; value: [value, members]: GROUP/0 … GROUP/members-1
 *   scan    ok: [[GROUP/i, value, version], …]; version: the moment that it reads at. Rows of
 *           several ranges are of several moments: [GROUP/i, value, version, which of them]
 *
 *   order    the keys of a scan grow
 *   torn     a group has all members, and all that are of one moment have one value
 *   moment   with versions: no write that is newer than what is seen, and not newer than
 *            the scan's own version, is missed
 *   and every group is a linearizable register, which the scan reads as well
 */
#include <inttypes.h>
#include <stdlib.h>

#include "support/history/history.h"
#include "support/lin/lin.h"

enum { SHOWN_MAX = 10 };

/* A write that was acknowledged with a version. */
struct known {
    struct slice group;
    uint64_t version;
    uint64_t line;
};

/* When a group was first known to be written. */
struct group {
    struct slice name;
    uint64_t written_ns;
    uint64_t line;
};

struct scans {
    const struct history *h;
    struct history_report *report;
    struct known *known; /* by group and version */
    size_t known_count;
    struct group *groups; /* by name */
    size_t group_count;
    struct lin_op *ops;
    size_t op_count, op_cap;
    int64_t members;
    uint64_t scans, wrong;
};

static void complain(struct scans *s, const char *what, struct slice key, uint64_t line,
                     uint64_t other)
{
    s->report->verdict = HISTORY_INVALID;
    if (++s->wrong > SHOWN_MAX)
        return;
    buf_printf(&s->report->text, "%s: '%.*s': line %" PRIu64, what, (int)key.len,
               (const char *)key.data, line);
    if (other != 0)
        buf_printf(&s->report->text, ", line %" PRIu64, other);
    buf_append_str(&s->report->text, "\n");
}

static struct lin_op *next_op(struct scans *s, const struct history_op *from, struct slice group)
{
    if (s->op_count == s->op_cap) {
        s->op_cap = s->op_cap == 0 ? 1024 : s->op_cap * 2;
        s->ops = realloc(s->ops, s->op_cap * sizeof *s->ops);
        ASSERT(s->ops != NULL);
    }
    struct lin_op *op = &s->ops[s->op_count++];
    *op = (struct lin_op){.process = (uint32_t)from->process,
                          .line = from->line,
                          .key = group,
                          .outcome = from->outcome == HISTORY_OK ? LIN_DONE : LIN_INFO,
                          .invoke = from->invoke_ns,
                          .ret = from->return_ns};
    return op;
}

static bool take_write(struct scans *s, const struct history_op *op)
{
    const struct history_value *v = &op->value;
    if (v->type != HISTORY_LIST || v->count != 2 || v->list[1].type != HISTORY_NUMBER ||
        v->list[1].number < 1 || (s->members != 0 && v->list[1].number != s->members))
        return false;
    s->members = v->list[1].number;
    if (op->outcome == HISTORY_FAIL)
        return true;
    struct lin_op *to = next_op(s, op, op->key);
    to->kind = LIN_WRITE;
    to->arg = (struct lin_value){true, v->list[0].text};
    to->version = op->version;
    if (op->outcome == HISTORY_OK)
        s->groups[s->group_count++] = (struct group){op->key, op->return_ns, op->line};
    if (op->outcome == HISTORY_OK && op->version != 0)
        s->known[s->known_count++] = (struct known){op->key, op->version, op->line};
    return true;
}

static int compare_known(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    int c = slice_compare(x->group, y->group);
    return c != 0 ? c : (x->version > y->version) - (x->version < y->version);
}

/* ---- a scan -------------------------------------------------------------------------------- */

static struct slice group_of(struct slice key)
{
    size_t len = key.len;
    while (len > 0 && key.data[len - 1] != '/')
        len--;
    return slice_of(key.data, len == 0 ? 0 : len - 1);
}

static bool is_row(const struct history_value *row)
{
    if (row->type != HISTORY_LIST || row->count < 3 || row->count > 4)
        return false;
    return row->list[0].type == HISTORY_TEXT && row->list[2].type == HISTORY_NUMBER &&
           row->list[row->count - 1].type == HISTORY_NUMBER && group_of(row->list[0].text).len > 0;
}

static int64_t moment_of(const struct history_value *row)
{
    return row->count == 4 ? row->list[3].number : 0;
}

/* Was a newer write there at the scan's own version? */
static void check_moment(struct scans *s, const struct history_op *op, struct slice group,
                         uint64_t version)
{
    struct known want = {group, op->version, 0};
    size_t lo = 0, hi = s->known_count;
    while (lo < hi) { /* the first above it */
        size_t mid = lo + (hi - lo) / 2;
        if (compare_known(&s->known[mid], &want) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (version > op->version)
        complain(s, "newer than the scan's moment", group, op->line, 0);
    if (lo > 0 && slice_equal(s->known[lo - 1].group, group) && s->known[lo - 1].version > version)
        complain(s, "the scan's moment is after a write that it does not see", group, op->line,
                 s->known[lo - 1].line);
}

static void take_read(struct scans *s, const struct history_op *op, struct slice group,
                      const struct history_value *row)
{
    struct lin_op *read = next_op(s, op, group);
    read->kind = LIN_READ;
    read->has_result = true;
    read->result = (struct lin_value){true, row->list[1].text};
    read->version = (uint64_t)row->list[2].number;
    if (op->version != 0)
        check_moment(s, op, group, read->version);
}

/* Rows [from, to) are of one group. A range that ends within it ends a moment too: what is seen
 * of the group before and after are two reads. */
static void judge_group(struct scans *s, const struct history_op *op, size_t from, size_t to)
{
    const struct history_value *rows = op->result.list, *first = NULL;
    struct slice group = group_of(rows[from].list[0].text);
    bool is_whole = (int64_t)(to - from) == s->members;
    for (size_t i = from; i < to; i++) {
        if (first == NULL || moment_of(&rows[i]) != moment_of(first))
            first = &rows[i];
        is_whole &= slice_equal(rows[i].list[1].text, first->list[1].text) &&
                    rows[i].list[2].number == first->list[2].number;
    }
    if (!is_whole) {
        complain(s, "torn: a group is not seen as it was written", group, op->line, 0);
        return;
    }
    for (size_t i = from; i < to; i++)
        if (i == from || moment_of(&rows[i]) != moment_of(&rows[i - 1]))
            take_read(s, op, group, &rows[i]);
}

static bool judge_scan(struct scans *s, const struct history_op *op)
{
    const struct history_value *rows = &op->result;
    if (rows->type != HISTORY_LIST)
        return false;
    for (size_t i = 0; i < rows->count; i++)
        if (!is_row(&rows->list[i]))
            return false;
    s->scans++;
    for (size_t i = 1; i < rows->count; i++)
        if (slice_compare(rows->list[i - 1].list[0].text, rows->list[i].list[0].text) >= 0)
            complain(s, "not in order", rows->list[i].list[0].text, op->line, 0);
    for (size_t i = 0, next; i < rows->count; i = next) {
        struct slice group = group_of(rows->list[i].list[0].text);
        next = i + 1;
        while (next < rows->count && slice_equal(group_of(rows->list[next].list[0].text), group))
            next++;
        judge_group(s, op, i, next);
    }
    return true;
}

/* Groups that were written before the scan began must be there. */
static void check_missing(struct scans *s, const struct history_op *op)
{
    const struct history_value *rows = &op->result;
    size_t r = 0;
    for (size_t i = 0; i < s->group_count; i++) {
        const struct group *g = &s->groups[i];
        while (r < rows->count && slice_compare(group_of(rows->list[r].list[0].text), g->name) < 0)
            r++;
        bool is_there =
            r < rows->count && slice_equal(group_of(rows->list[r].list[0].text), g->name);
        if (!is_there && g->written_ns < op->invoke_ns)
            complain(s, "lost: a group is not there", g->name, op->line, g->line);
    }
}

static int compare_groups(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    int c = slice_compare(x->name, y->name);
    return c != 0 ? c : (x->written_ns > y->written_ns) - (x->written_ns < y->written_ns);
}

/* Sort, and keep the earliest of each. */
static void sort_groups(struct scans *s)
{
    size_t n = 0;
    qsort(s->groups, s->group_count, sizeof *s->groups, compare_groups);
    for (size_t i = 0; i < s->group_count; i++)
        if (n == 0 || !slice_equal(s->groups[n - 1].name, s->groups[i].name))
            s->groups[n++] = s->groups[i];
    s->group_count = n;
}

static bool take_all(struct scans *s)
{
    const struct history *h = s->h;
    for (size_t i = 0; i < h->count; i++)
        if (slice_equal(h->ops[i].f, slice_str("write")) && !take_write(s, &h->ops[i]))
            return false;
    qsort(s->known, s->known_count, sizeof *s->known, compare_known);
    sort_groups(s);
    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        bool is_scan = slice_equal(op->f, slice_str("scan"));
        if (!is_scan && !slice_equal(op->f, slice_str("write")))
            return false;
        if (!is_scan || op->outcome != HISTORY_OK)
            continue;
        if (!judge_scan(s, op))
            return false;
        check_missing(s, op);
    }
    return true;
}

static void judge_registers(struct scans *s)
{
    struct lin_report found;
    if (s->op_count == 0)
        return;
    enum lin_verdict verdict = lin_check(s->ops, s->op_count, NULL, &found);
    buf_append_slice(&s->report->text, buf_slice(&found.text));
    if (verdict == LIN_BAD)
        s->report->verdict = HISTORY_INVALID;
    else if (verdict == LIN_UNKNOWN && s->report->verdict == HISTORY_VALID)
        s->report->verdict = HISTORY_UNKNOWN;
    lin_report_fini(&found);
}

void history_judge_scan(const struct history *h, struct history_report *report)
{
    struct scans s = {.h = h, .report = report};
    s.known = calloc(h->count + 1, sizeof *s.known);
    s.groups = calloc(h->count + 1, sizeof *s.groups);
    ASSERT(s.known != NULL && s.groups != NULL);
    bool is_fine = take_all(&s);
    if (is_fine)
        judge_registers(&s);
    else
        buf_append_str(&report->text, "an operation that these scans do not have\n");
    if (!is_fine || (s.scans == 0 && report->verdict == HISTORY_VALID))
        report->verdict = HISTORY_UNKNOWN;
    buf_printf(&report->text, "scans %" PRIu64 ", wrong %" PRIu64 "\n", s.scans, s.wrong);
    free(s.known);
    free(s.groups);
    free(s.ops);
}
