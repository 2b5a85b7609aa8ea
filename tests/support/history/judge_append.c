/* SPDX-License-Identifier: Apache-2.0
 *
 * Transactions of appends to lists and reads of them, as in Elle. Elements are whole
 * numbers, each appended once to its key; so the longest read of a key tells the order of
 * its versions, and every other read must be the beginning of it.
 *
 *   value: [["append", key, element], ["r", key, [elements]], …]
 *
 *   G1a                a read sees an element of a transaction that failed
 *   G1b                … that was not the last one its transaction appended to the key
 *   internal           a transaction does not see its own appends, or reads a key twice
 *                      and differently
 *   from nowhere       a read sees what nobody appended
 *   duplicate          an element is twice in a list
 *   incompatible order two reads, none the beginning of the other
 *   lost               acknowledged before a read began, and in no read
 *   cycles             deps.h
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "support/history/deps.h"
#include "support/history/history.h"

enum { SHOWN_MAX = 10 };
static const uint64_t hash_key[2] = {5, 6};

struct element {
    uint32_t key; /* + 1; 0: a free slot */
    uint32_t txn;
    int64_t value;
    uint32_t place; /* in the order of the key, from 1; 0: not seen */
    bool is_last;   /* of its transaction's appends to the key */
};

struct list_key {
    struct slice name;
    const struct history_value *longest; /* a read; NULL: none */
    uint32_t longest_txn;
    uint64_t last_read_ns; /* the latest beginning of a read, + 1 */
};

struct append {
    const struct history *h;
    struct history_report *report;
    struct list_key *keys;
    uint32_t *key_slots; /* + 1 */
    size_t key_count, key_slot_count;
    struct element *elements; /* hashed */
    size_t element_slots, element_count;
    struct deps deps;
    bool *is_seen; /* transactions one of whose elements is in a list */
    uint64_t shown;
    uint64_t reads;
};

/* ---- tables --------------------------------------------------------------------------- */

static void *alloc(size_t count, size_t size)
{
    void *p = calloc(count + 1, size);
    ASSERT(p != NULL);
    return p;
}

static size_t power_above(size_t n)
{
    size_t p = 16;
    while (p < n * 2)
        p *= 2;
    return p;
}

static uint32_t key_id(struct append *a, struct slice name)
{
    size_t mask = a->key_slot_count - 1;
    size_t i = (size_t)hash_keyed(hash_key, name) & mask;
    for (; a->key_slots[i] != 0; i = (i + 1) & mask)
        if (slice_equal(a->keys[a->key_slots[i] - 1].name, name))
            return a->key_slots[i] - 1;
    a->keys[a->key_count] = (struct list_key){.name = name};
    a->key_slots[i] = (uint32_t)++a->key_count;
    return (uint32_t)a->key_count - 1;
}

/* Its slot: there, or free for it. */
static struct element *element_slot(const struct append *a, uint32_t key, int64_t value)
{
    uint64_t parts[2] = {key, (uint64_t)value};
    size_t mask = a->element_slots - 1;
    size_t i = (size_t)hash_keyed(hash_key, slice_of((uint8_t *)parts, sizeof parts)) & mask;
    while (a->elements[i].key != 0 &&
           (a->elements[i].key != key + 1 || a->elements[i].value != value))
        i = (i + 1) & mask;
    return &a->elements[i];
}

static struct element *element_find(const struct append *a, uint32_t key, int64_t value)
{
    struct element *e = element_slot(a, key, value);
    return e->key == 0 ? NULL : e;
}

static void complain(struct append *a, const char *what, uint32_t key, int64_t value, uint32_t txn)
{
    a->report->verdict = HISTORY_INVALID;
    if (++a->shown > SHOWN_MAX)
        return;
    struct slice name = a->keys[key].name;
    buf_printf(&a->report->text, "%s: key '%.*s', element %" PRId64 ": line %" PRIu64 "\n", what,
               (int)name.len, (const char *)name.data, value, a->h->ops[txn].line);
}

/* ---- the shape of transactions --------------------------------------------------------- */

static bool mop_is(const struct history_value *mop, const char *f)
{
    return slice_equal(mop->list[0].text, slice_str(f));
}

static bool is_mop(const struct history_value *mop, bool is_done)
{
    if (mop->type != HISTORY_LIST || mop->count != 3 || mop->list[0].type != HISTORY_TEXT ||
        (mop->list[1].type != HISTORY_TEXT && mop->list[1].type != HISTORY_NUMBER))
        return false;
    if (mop_is(mop, "append"))
        return mop->list[2].type == HISTORY_NUMBER;
    const struct history_value *seen = &mop->list[2];
    if (!mop_is(mop, "r") || (is_done && seen->type != HISTORY_LIST && seen->type != HISTORY_NULL))
        return false;
    for (size_t i = 0; seen->type == HISTORY_LIST && i < seen->count; i++)
        if (seen->list[i].type != HISTORY_NUMBER)
            return false;
    return true;
}

/* What it did: the completion's value if it is done, else the invocation's. */
static const struct history_value *mops_of(const struct history_op *op)
{
    return op->outcome == HISTORY_OK ? &op->result : &op->value;
}

static bool check_shape(const struct append *a)
{
    for (size_t i = 0; i < a->h->count; i++) {
        const struct history_op *op = &a->h->ops[i];
        const struct history_value *mops = mops_of(op);
        bool is_fine = slice_equal(op->f, slice_str("txn")) && mops->type == HISTORY_LIST;
        for (size_t m = 0; is_fine && m < mops->count; m++)
            is_fine = is_mop(&mops->list[m], op->outcome == HISTORY_OK);
        if (is_fine)
            continue;
        buf_printf(&a->report->text, "line %" PRIu64 ": not a transaction of lists\n", op->line);
        return false;
    }
    return true;
}

/* ---- appends ----------------------------------------------------------------------------- */

static void count_mops(const struct history *h, size_t *ret_mops, size_t *ret_appends)
{
    *ret_mops = *ret_appends = 0;
    for (size_t i = 0; i < h->count; i++) {
        const struct history_value *mops = mops_of(&h->ops[i]);
        *ret_mops += mops->count;
        for (size_t m = 0; m < mops->count; m++)
            *ret_appends += mop_is(&mops->list[m], "append");
    }
}

/* False if an element was appended twice: then nothing can be told. */
static bool take_appends(struct append *a, uint32_t txn)
{
    const struct history_value *mops = mops_of(&a->h->ops[txn]);
    for (size_t m = 0; m < mops->count; m++) {
        const struct history_value *mop = &mops->list[m];
        if (!mop_is(mop, "append"))
            continue;
        uint32_t key = key_id(a, mop->list[1].text);
        struct element *e = element_slot(a, key, mop->list[2].number);
        if (e->key != 0) {
            buf_printf(&a->report->text, "line %" PRIu64 ": appends what line %" PRIu64 " did\n",
                       a->h->ops[txn].line, a->h->ops[e->txn].line);
            return false;
        }
        *e = (struct element){key + 1, txn, mop->list[2].number, 0, true};
        for (size_t earlier = 0; earlier < m; earlier++) {
            const struct history_value *o = &mops->list[earlier];
            if (mop_is(o, "append") && slice_equal(o->list[1].text, mop->list[1].text))
                element_find(a, key, o->list[2].number)->is_last = false;
        }
    }
    return true;
}

/* ---- reads --------------------------------------------------------------------------------- */

/* How many elements at the end of read `m` are the transaction's own; SIZE_MAX if it does
 * not see them as it must. *ret_is_first: no earlier read of the key tells more. */
static size_t own_suffix(const struct history_value *mops, size_t m, bool *ret_is_first)
{
    const struct history_value *mop = &mops->list[m], *seen = &mop->list[2], *before = NULL;
    size_t own = 0, own_then = 0;
    for (size_t i = 0; i < m; i++) {
        const struct history_value *o = &mops->list[i];
        if (!slice_equal(o->list[1].text, mop->list[1].text))
            continue;
        if (mop_is(o, "append"))
            own++;
        else
            before = &o->list[2], own_then = own;
    }
    *ret_is_first = before == NULL;
    if (seen->count < own)
        return SIZE_MAX;
    size_t at = seen->count - own;
    for (size_t i = 0; i < m; i++) {
        const struct history_value *o = &mops->list[i];
        if (mop_is(o, "append") && slice_equal(o->list[1].text, mop->list[1].text) &&
            seen->list[at++].number != o->list[2].number)
            return SIZE_MAX;
    }
    if (before != NULL && before->count - own_then != seen->count - own)
        return SIZE_MAX;
    for (size_t i = 0; before != NULL && i < before->count; i++)
        if (before->list[i].number != seen->list[i].number)
            return SIZE_MAX;
    return own;
}

/* Each element that a read sees must have been appended, by one that did not fail. */
static void check_seen(struct append *a, uint32_t txn, uint32_t key,
                       const struct history_value *seen, size_t own)
{
    for (size_t i = 0; i < seen->count; i++) {
        int64_t value = seen->list[i].number;
        struct element *e = element_find(a, key, value);
        if (e == NULL || a->h->ops[e->txn].invoke_ns > a->h->ops[txn].return_ns) {
            complain(a, "from nowhere", key, value, txn);
            continue;
        }
        a->is_seen[e->txn] = true;
        if (a->h->ops[e->txn].outcome == HISTORY_FAIL)
            complain(a, "G1a (a failed append is seen)", key, value, txn);
        if (i + 1 + own == seen->count && !e->is_last && e->txn != txn)
            complain(a, "G1b (between two appends of one transaction)", key, value, txn);
    }
}

static void take_reads(struct append *a, uint32_t txn)
{
    const struct history_op *op = &a->h->ops[txn];
    const struct history_value *mops = &op->result;
    for (size_t m = 0; m < mops->count; m++) {
        const struct history_value *seen = &mops->list[m].list[2];
        bool is_first;
        if (!mop_is(&mops->list[m], "r"))
            continue;
        uint32_t id = key_id(a, mops->list[m].list[1].text);
        struct list_key *key = &a->keys[id];
        size_t own = own_suffix(mops, m, &is_first);
        a->reads++;
        if (own == SIZE_MAX)
            complain(a, "internal", id, 0, txn);
        check_seen(a, txn, id, seen, own == SIZE_MAX ? 0 : own);
        key->last_read_ns = MAX(key->last_read_ns, op->invoke_ns + 1);
        if (key->longest == NULL || seen->count > key->longest->count) {
            key->longest = seen;
            key->longest_txn = txn;
        }
    }
}

/* ---- the order of versions --------------------------------------------------------------------
 */

static void order_key(struct append *a, uint32_t id)
{
    const struct history_value *longest = a->keys[id].longest;
    struct element *before = NULL;
    for (size_t i = 0; longest != NULL && i < longest->count; i++) {
        struct element *e = element_find(a, id, longest->list[i].number);
        if (e == NULL)
            continue;
        if (e->place != 0) {
            complain(a, "duplicate", id, e->value, a->keys[id].longest_txn);
            continue;
        }
        e->place = (uint32_t)i + 1;
        if (before != NULL)
            deps_add(&a->deps, before->txn, e->txn, DEPS_WW, id, e->value);
        before = e;
    }
}

/* Is the read the beginning of the longest one? */
static bool check_order(struct append *a, uint32_t txn, uint32_t id,
                        const struct history_value *seen)
{
    const struct history_value *longest = a->keys[id].longest;
    for (size_t i = 0; i < seen->count; i++) {
        if (seen->list[i].number == longest->list[i].number)
            continue;
        complain(a, "incompatible order", id, seen->list[i].number, txn);
        if (a->shown <= SHOWN_MAX)
            buf_printf(&a->report->text, "  the longest read of it: line %" PRIu64 "\n",
                       a->h->ops[a->keys[id].longest_txn].line);
        return false;
    }
    return true;
}

static void connect_read(struct append *a, uint32_t txn, uint32_t id,
                         const struct history_value *seen, size_t own)
{
    const struct history_value *longest = a->keys[id].longest;
    size_t n = seen->count - own;
    struct element *last = n > 0 ? element_find(a, id, seen->list[n - 1].number) : NULL;
    if (last != NULL)
        deps_add(&a->deps, last->txn, txn, DEPS_WR, id, last->value);
    struct element *next = n < longest->count ? element_find(a, id, longest->list[n].number) : NULL;
    if (next != NULL)
        deps_add(&a->deps, txn, next->txn, DEPS_RW, id, next->value);
}

static void connect_reads(struct append *a, uint32_t txn)
{
    const struct history_value *mops = &a->h->ops[txn].result;
    for (size_t m = 0; m < mops->count; m++) {
        bool is_first;
        if (!mop_is(&mops->list[m], "r"))
            continue;
        uint32_t id = key_id(a, mops->list[m].list[1].text);
        size_t own = own_suffix(mops, m, &is_first);
        if (check_order(a, txn, id, &mops->list[m].list[2]) && own != SIZE_MAX && is_first)
            connect_read(a, txn, id, &mops->list[m].list[2], own);
    }
}

static void check_lost(struct append *a)
{
    for (size_t i = 0; i < a->element_slots; i++) {
        const struct element *e = &a->elements[i];
        if (e->key == 0 || e->place != 0 || a->h->ops[e->txn].outcome != HISTORY_OK)
            continue;
        const struct list_key *key = &a->keys[e->key - 1];
        if (key->last_read_ns > a->h->ops[e->txn].return_ns + 1)
            complain(a, "lost (no later read sees it)", e->key - 1, e->value, e->txn);
    }
}

/* ---- cycles
 * -------------------------------------------------------------------------------------- */

static void print_edge(struct append *a, const struct deps_edge *e, uint32_t to)
{
    static const char *const words[] = {[DEPS_WW] = "ww", [DEPS_WR] = "wr", [DEPS_RW] = "rw"};
    static const char *const texts[] = {
        [DEPS_WW] = "then came its", [DEPS_WR] = "which read", [DEPS_RW] = "which did not see"};
    uint64_t from_line = a->h->ops[e->from].line, to_line = a->h->ops[to].line;
    if (e->kind == DEPS_RT) {
        buf_printf(&a->report->text,
                   "  line %" PRIu64 " -realtime: ended before it began-> line %" PRIu64 "\n",
                   from_line, to_line);
        return;
    }
    struct slice key = a->keys[e->key].name;
    buf_printf(&a->report->text,
               "  line %" PRIu64 " -%s '%.*s': %s %" PRId64 "-> line %" PRIu64 "\n", from_line,
               words[e->kind], (int)key.len, (const char *)key.data, texts[e->kind], e->element,
               to_line);
}

/* Points of time are passed over: from one transaction to the next. */
static void print_cycle(struct append *a, const struct deps_cycle *c)
{
    size_t begin = 0;
    while (c->edges[begin].from >= a->deps.txns)
        begin++;
    for (size_t i = 0; i < c->count;) {
        const struct deps_edge *e = &c->edges[(begin + i) % c->count];
        uint32_t to = e->to;
        for (i++; to >= a->deps.txns; i++)
            to = c->edges[(begin + i) % c->count].to;
        print_edge(a, e, to);
    }
}

static void find_cycles(struct append *a)
{
    for (int with_rt = 0; with_rt <= 1; with_rt++) {
        for (enum deps_class c = DEPS_G0; c < DEPS_CLASS_NR; c++) {
            struct deps_cycle cycle;
            size_t components;
            if (deps_find(&a->deps, c, with_rt == 1, &cycle, &components)) {
                a->report->verdict = HISTORY_INVALID;
                buf_printf(&a->report->text, "%s%s (in %zu groups of transactions), for one:\n",
                           deps_class_name(c), with_rt == 1 ? "-realtime" : "", components);
                print_cycle(a, &cycle);
            }
            free(cycle.edges);
        }
    }
}

static void connect(struct append *a)
{
    struct deps_time *times = alloc(a->h->count, sizeof *times);
    for (uint32_t id = 0; id < a->key_count; id++)
        order_key(a, id);
    for (uint32_t t = 0; t < a->h->count; t++) {
        const struct history_op *op = &a->h->ops[t];
        if (op->outcome == HISTORY_OK)
            connect_reads(a, t);
        times[t] = (struct deps_time){op->invoke_ns, op->return_ns,
                                      op->outcome == HISTORY_OK ||
                                          (op->outcome == HISTORY_INFO && a->is_seen[t])};
    }
    check_lost(a);
    deps_add_times(&a->deps, times);
    free(times);
    find_cycles(a);
}

static void append_init(struct append *a, const struct history *h, struct history_report *report)
{
    size_t mops, appends;
    count_mops(h, &mops, &appends);
    *a = (struct append){.h = h, .report = report};
    a->key_slot_count = power_above(mops);
    a->key_slots = alloc(a->key_slot_count, sizeof *a->key_slots);
    a->keys = alloc(mops, sizeof *a->keys);
    a->element_slots = power_above(appends);
    a->elements = alloc(a->element_slots, sizeof *a->elements);
    a->is_seen = alloc(h->count, sizeof *a->is_seen);
    deps_init(&a->deps, (uint32_t)h->count);
}

static void append_fini(struct append *a)
{
    free(a->key_slots);
    free(a->keys);
    free(a->elements);
    free(a->is_seen);
    deps_fini(&a->deps);
}

void history_judge_append(const struct history *h, struct history_report *report)
{
    struct append a = {.h = h, .report = report};
    if (h->count > UINT32_MAX / 4 || !check_shape(&a)) {
        report->verdict = HISTORY_UNKNOWN;
        return;
    }
    append_init(&a, h, report);
    bool is_fine = true;
    for (uint32_t t = 0; t < h->count && is_fine; t++)
        is_fine = take_appends(&a, t);
    for (uint32_t t = 0; t < h->count && is_fine; t++)
        if (h->ops[t].outcome == HISTORY_OK)
            take_reads(&a, t);
    if (is_fine)
        connect(&a);
    if (!is_fine || (a.reads == 0 && report->verdict == HISTORY_VALID))
        report->verdict = HISTORY_UNKNOWN;
    buf_printf(&report->text, "keys %zu, reads %" PRIu64 ", dependencies %zu\n", a.key_count,
               a.reads, a.deps.count);
    append_fini(&a);
}
