/* SPDX-License-Identifier: Apache-2.0
 *
 * Sets, key by key, as in Jepsen's set-full: of each element, when it was first known to be there
 * (its addition was acknowledged, or a read that saw it ended), and which reads that
 * began later missed it.
 *
 *   lost   it was known to be there, and no read that began after some miss saw it again
 *   stale  it was missed by a read that began after it was known, but seen later on
 *   from nowhere   seen, but never added, or added in vain, or only later
 *   twice  more than once in one read
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "support/history/history.h"

enum { SHOWN_MAX = 20 };
static const uint64_t hash_key[2] = {3, 4};

struct element {
    struct slice text;
    const struct history_op *add;       /* NULL: nobody did */
    uint64_t known_ns;                  /* UINT64_MAX: not known to be there */
    const struct history_op *known_by;  /* the read that tells so; NULL: the addition */
    const struct history_op *missed_by; /* the last read that should have seen it */
    uint64_t last_seen_ns;              /* the latest beginning of a read that saw it */
    uint64_t last_missed_ns;            /* … that missed it though it was known; 0: none */
    uint64_t stales;                    /* reads that missed it */
    size_t seen_by;                     /* number of the last read that saw it, from 1 */
};

struct set {
    struct element *elements;
    size_t count;
    size_t *slots; /* place + 1, or 0 */
    size_t slot_count;
    struct history_report *report;
    bool is_strict; /* stale reads are wrong too */
    size_t reads;
    uint64_t lost, stale, nowhere, twice;
};

static void set_init(struct set *s, size_t max)
{
    s->count = 0;
    s->slot_count = 64;
    while (s->slot_count < max * 2)
        s->slot_count *= 2;
    s->elements = calloc(max + 1, sizeof *s->elements);
    s->slots = calloc(s->slot_count, sizeof *s->slots);
    ASSERT(s->elements != NULL && s->slots != NULL);
}

/* The element of that text; made if it is new and `is_new` allows it. */
static struct element *set_find(struct set *s, struct slice text, bool is_new)
{
    for (uint64_t at = hash_keyed(hash_key, text);; at++) {
        size_t *slot = &s->slots[at & (s->slot_count - 1)];
        if (*slot != 0 && slice_equal(s->elements[*slot - 1].text, text))
            return &s->elements[*slot - 1];
        if (*slot != 0)
            continue;
        if (!is_new)
            return NULL;
        struct element *e = &s->elements[s->count];
        *slot = ++s->count;
        *e = (struct element){.text = text, .known_ns = UINT64_MAX};
        return e;
    }
}

static void complain(struct set *s, uint64_t *counter, const char *what, struct slice text,
                     const struct history_op *op)
{
    s->report->verdict = HISTORY_INVALID;
    if (++*counter > SHOWN_MAX)
        return;
    buf_printf(&s->report->text, "%s: element '%.*s'", what, (int)MIN(text.len, (size_t)64),
               (const char *)text.data);
    if (op != NULL)
        buf_printf(&s->report->text, ", line %" PRIu64, op->line);
    buf_append_str(&s->report->text, "\n");
}

/* ---- additions, then what is known by reads, then what reads missed --------------------- */

static bool take_add(struct set *s, const struct history_op *op)
{
    if (op->value.type != HISTORY_TEXT && op->value.type != HISTORY_NUMBER)
        return false;
    struct element *e = set_find(s, op->value.text, true);
    if (e->add == NULL || op->invoke_ns < e->add->invoke_ns || e->add->outcome == HISTORY_FAIL)
        e->add = op;
    if (op->outcome == HISTORY_OK)
        e->known_ns = MIN(e->known_ns, op->return_ns);
    return true;
}

static void take_seen(struct set *s, const struct history_op *read, size_t number)
{
    for (size_t i = 0; i < read->result.count; i++) {
        struct slice text = read->result.list[i].text;
        struct element *e = set_find(s, text, false);
        bool is_possible =
            e != NULL && e->add->outcome != HISTORY_FAIL && e->add->invoke_ns <= read->return_ns;
        if (!is_possible)
            complain(s, &s->nowhere, "from nowhere", text, read);
        if (e == NULL)
            continue;
        if (e->seen_by == number)
            complain(s, &s->twice, "twice", text, read);
        e->seen_by = number;
        if (read->return_ns < e->known_ns)
            e->known_by = read;
        e->known_ns = MIN(e->known_ns, read->return_ns);
        e->last_seen_ns = MAX(e->last_seen_ns, read->invoke_ns + 1);
    }
}

static void take_missed(struct set *s, const struct history_op *read, size_t number)
{
    for (size_t i = 0; i < read->result.count; i++) {
        struct element *e = set_find(s, read->result.list[i].text, false);
        if (e != NULL)
            e->seen_by = number;
    }
    for (size_t i = 0; i < s->count; i++) {
        struct element *e = &s->elements[i];
        if (e->seen_by == number || e->known_ns >= read->invoke_ns)
            continue;
        e->stales++;
        if (read->invoke_ns + 1 > e->last_missed_ns)
            e->missed_by = read;
        e->last_missed_ns = MAX(e->last_missed_ns, read->invoke_ns + 1);
    }
}

/* It was known to be there, and a read missed it. */
static void complain_missed(struct set *s, uint64_t *counter, const char *what,
                            const struct element *e)
{
    s->report->verdict = HISTORY_INVALID;
    if (++*counter > SHOWN_MAX)
        return;
    buf_printf(&s->report->text, "%s: element '%.*s', line %" PRIu64, what,
               (int)MIN(e->text.len, (size_t)64), (const char *)e->text.data, e->add->line);
    if (e->known_by != NULL)
        buf_printf(&s->report->text, ", seen by line %" PRIu64, e->known_by->line);
    buf_printf(&s->report->text, ", missed by line %" PRIu64 "\n", e->missed_by->line);
}

static void conclude(struct set *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const struct element *e = &s->elements[i];
        if (e->stales == 0)
            continue;
        if (e->last_missed_ns > e->last_seen_ns)
            complain_missed(s, &s->lost, "lost", e);
        else if (s->is_strict)
            complain_missed(s, &s->stale, "stale", e);
        else
            s->stale++;
    }
}

static bool is_list_read(const struct history_op *op)
{
    return slice_equal(op->f, slice_str("read")) && op->outcome == HISTORY_OK &&
           op->result.type == HISTORY_LIST;
}

static bool take_all_adds(struct set *s, const struct history_op *const *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct history_op *op = ops[i];
        bool is_read = slice_equal(op->f, slice_str("read"));
        bool is_wrong = is_read && op->outcome == HISTORY_OK && op->result.type != HISTORY_LIST;
        if (!is_read)
            is_wrong = !slice_equal(op->f, slice_str("add")) || !take_add(s, op);
        if (!is_wrong)
            continue;
        buf_printf(&s->report->text, "line %" PRIu64 ": not what sets have\n", op->line);
        return false;
    }
    return true;
}

/* The set of one key. False for nonsense. */
static bool judge_key(struct set *s, const struct history_op *const *ops, size_t count)
{
    size_t number = 0;
    bool is_fine = take_all_adds(s, ops, count);
    for (size_t i = 0; is_fine && i < count; i++)
        if (is_list_read(ops[i]))
            take_seen(s, ops[i], ++number);
    s->reads += number;
    for (size_t i = 0; is_fine && i < count; i++)
        if (is_list_read(ops[i]))
            take_missed(s, ops[i], ++number);
    conclude(s);
    return is_fine;
}

static int compare_keys(const void *a, const void *b)
{
    const struct history_op *x = *(const struct history_op *const *)a;
    const struct history_op *y = *(const struct history_op *const *)b;
    int c = slice_compare(x->key, y->key);
    return c != 0 ? c : (x > y) - (x < y);
}

static void judge(const struct history *h, bool is_strict, struct history_report *report)
{
    const struct history_op **sorted = calloc(h->count + 1, sizeof *sorted);
    struct set s = {.report = report, .is_strict = is_strict};
    size_t elements = 0;
    bool is_fine = true;
    ASSERT(sorted != NULL);
    for (size_t i = 0; i < h->count; i++)
        sorted[i] = &h->ops[i];
    qsort(sorted, h->count, sizeof *sorted, compare_keys);
    for (size_t i = 0, next; i < h->count && is_fine; i = next) {
        next = i + 1;
        while (next < h->count && slice_equal(sorted[next]->key, sorted[i]->key))
            next++;
        set_init(&s, next - i);
        is_fine = judge_key(&s, sorted + i, next - i);
        elements += s.count;
        free(s.elements);
        free(s.slots);
    }
    free(sorted);
    if (!is_fine || (s.reads == 0 && report->verdict == HISTORY_VALID))
        report->verdict = HISTORY_UNKNOWN;
    buf_printf(&report->text,
               "elements %zu, reads %zu, lost %" PRIu64 ", stale %" PRIu64 ", from nowhere %" PRIu64
               ", twice %" PRIu64 "\n",
               elements, s.reads, s.lost, s.stale, s.nowhere, s.twice);
}

void history_judge_set(const struct history *h, struct history_report *report)
{
    judge(h, false, report);
}

void history_judge_strict_set(const struct history *h, struct history_report *report)
{
    judge(h, true, report);
}
