/* SPDX-License-Identifier: Apache-2.0
 *
 * The search. Calls and returns of operations whose outcome is known stand in one
 * list in order of time; those of unknown outcome in a list of their own, by
 * invocation. A state of the search is (which operations took effect, the register);
 * each is tried once.
 *
 *  - settle: an operation that may be next, changes nothing and agrees with the
 *    register is taken at once and for good: if any order goes on from here, the
 *    same order with it in front does;
 *  - advance: take the next candidate before the first return in the list (it must
 *    take effect before anything that was invoked later); known outcomes first. A
 *    value that is still to be seen is not overwritten when nobody is left to write
 *    it again: with values that are written once, that leaves few wrong turns. Nor is
 *    a version given while one below it is still to come; nor something appended that
 *    fits in nothing that is still to be seen (lin_foresee.c). Of unknown operations
 *    that would do the same, the earliest comes first;
 *  - none left: undo the last choice and go on behind it.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "support/lin/lin_internal.h"

enum { NONE = UINT32_MAX };

/* The register. What is not known exactly is at least `version`. */
struct reg {
    uint32_t value;
    bool is_exact;
    uint64_t version;
};

struct print {
    uint64_t a, b;
};

/* A call or return in the list; index 0 is the list's head and end. */
struct event {
    uint32_t prev, next;
    uint32_t item;
    uint32_t partner; /* of a call: its return, or 0 (INFO) */
    uint32_t place;   /* in order of time */
    bool is_return;
};

struct link {
    uint32_t prev, next;
};

struct frame {
    uint32_t event; /* the call that was taken */
    bool is_settled;
    struct reg before;
};

struct search {
    struct lin_item *items;
    struct lin_values *values;
    struct event *events;
    uint32_t infos; /* head of the list of INFO calls */
    struct frame *stack;
    size_t depth;
    size_t known_left; /* of known outcome, without effect yet */
    struct reg reg;
    struct print set; /* of what took effect */
    struct print *seen;
    size_t seen_count;
    size_t seen_cap; /* a power of two */
    uint64_t states_max;
    /* by value, over what has no effect yet; NULL where values cannot be foreseen */
    uint32_t *seers;                 /* known outcomes that see it */
    uint32_t *makers;                /* operations that write it */
    struct lin_foresight *foresight; /* NULL where nothing is appended */
    uint32_t *twin_before;           /* by item: the one that comes first, or NONE */
    bool *is_taken;                  /* by item */
    /* by item, of known version and outcome and without effect yet: a list from the
     * lowest on, [count] its head; NULL where there is none */
    struct link *by_version;
    uint32_t versions_head;
    /* the longest way */
    bool wants_order;
    size_t best_left;
    struct lin_search *ret;
};

/* ---- the register ------------------------------------------------------------ */

static bool see_version(struct reg *reg, uint64_t version)
{
    if (version == 0)
        return true;
    if (reg->is_exact ? reg->version != version : version < reg->version)
        return false;
    reg->version = version;
    reg->is_exact = true;
    return true;
}

static bool give_version(struct reg *reg, uint64_t version)
{
    if (version != 0 && version <= reg->version)
        return false;
    reg->is_exact = version != 0;
    if (version != 0)
        reg->version = version;
    return true;
}

/* The value after a change, UINT32_MAX if it cannot have happened. */
static uint32_t changed_value(struct search *s, const struct lin_item *item, uint32_t value)
{
    bool is_known = item->outcome == LIN_DONE && item->has_result;
    switch (item->kind) {
    case LIN_WRITE:
        return item->arg;
    case LIN_SWAP:
        return is_known && item->result != value ? UINT32_MAX : item->arg;
    case LIN_DELETE:
        return 0;
    case LIN_CAS:
        if (item->op->expect_version != 0)
            return item->arg; /* step() has judged it */
        return value == item->expect ? item->arg : UINT32_MAX;
    case LIN_APPEND:
        return lin_intern_joined(s->values, value, item->arg);
    case LIN_INCREMENT:
        value = lin_intern_sum(s->values, value, item->op->delta);
        if (value != UINT32_MAX && is_known && s->values->values[value].number != item->op->number)
            return UINT32_MAX;
        return value;
    case LIN_READ:
        break;
    }
    ASSERT(false);
    return UINT32_MAX;
}

/* Does the register surely meet the condition of a CAS? */
static bool meets(const struct lin_item *item, struct reg reg)
{
    uint64_t version = item->op->expect_version;
    if (version != 0)
        return reg.value != 0 && reg.is_exact && reg.version == version;
    return item->expect == reg.value;
}

/* The register after `item`; false if it cannot take effect now. */
static bool step(struct search *s, const struct lin_item *item, struct reg *reg)
{
    if (item->kind == LIN_READ)
        return item->result == reg->value && see_version(reg, item->version);
    if (item->outcome == LIN_MISMATCH) {
        if (meets(item, *reg) || (item->has_result && item->result != reg->value))
            return false;
        return see_version(reg, item->version);
    }
    if (item->op->expect_version != 0 &&
        (reg->value == 0 || !see_version(reg, item->op->expect_version)))
        return false;
    uint32_t value = changed_value(s, item, reg->value);
    if (value == UINT32_MAX)
        return false;
    reg->value = value;
    return give_version(reg, item->version);
}

static bool reg_equal(struct reg a, struct reg b)
{
    return a.value == b.value && a.is_exact == b.is_exact && a.version == b.version;
}

/* ---- fingerprints --------------------------------------------------------------- */

static struct print print_of(uint64_t x)
{
    return (struct print){hash_mix(UINT64_C(0x243f6a8885a308d3), x + 1),
                          hash_mix(UINT64_C(0x13198a2e03707344), x + 1)};
}

static void toggle(struct search *s, uint32_t item)
{
    if (s->items[item].op->leaves_no_trace)
        return;
    struct print p = print_of(item);
    s->set.a ^= hash_mix(p.a, p.b);
    s->set.b ^= hash_mix(p.b, p.a);
}

static struct print print_here(const struct search *s, struct reg reg)
{
    uint64_t r = hash_mix(hash_mix(reg.value, reg.version), reg.is_exact);
    struct print p = {hash_mix(s->set.a, r), hash_mix(s->set.b, ~r)};
    if (p.a == 0 && p.b == 0)
        p.a = 1; /* zero is a free slot */
    return p;
}

static struct print *seen_slot(const struct search *s, struct print p)
{
    for (uint64_t at = p.a;; at++) {
        struct print *slot = &s->seen[at & (s->seen_cap - 1)];
        if ((slot->a == 0 && slot->b == 0) || (slot->a == p.a && slot->b == p.b))
            return slot;
    }
}

static void seen_grow(struct search *s)
{
    struct print *old = s->seen;
    size_t cap = s->seen_cap;
    s->seen_cap *= 2;
    s->seen = lin_alloc(s->seen_cap, sizeof *s->seen);
    for (size_t i = 0; i < cap; i++)
        if (old[i].a != 0 || old[i].b != 0)
            *seen_slot(s, old[i]) = old[i];
    free(old);
}

/* Note a state; false if it was tried before. */
static bool is_new(struct search *s, struct print p)
{
    if (s->seen_count * 2 >= s->seen_cap)
        seen_grow(s);
    struct print *slot = seen_slot(s, p);
    if (slot->a != 0 || slot->b != 0)
        return false;
    *slot = p;
    s->seen_count++;
    return true;
}

/* ---- who needs a value, who makes it ----------------------------------------------- */

static uint32_t made_by(const struct lin_item *item)
{
    if (lin_is_pure(item))
        return NONE;
    return item->kind == LIN_DELETE ? 0 : item->arg;
}

/* `item` has no effect yet (by 1), or has one now (by -1). */
static void count_values(struct search *s, const struct lin_item *item, int by)
{
    if (s->foresight != NULL)
        lin_foresight_count(s->foresight, item, by);
    if (s->seers == NULL)
        return;
    uint32_t seen = lin_seen_by(item);
    uint32_t made = made_by(item);
    if (seen != NONE)
        s->seers[seen] += (uint32_t)by;
    if (made != NONE)
        s->makers[made] += (uint32_t)by;
}

/* Would `item` overwrite a value that somebody must still see and nobody can write? */
static bool buries(const struct search *s, const struct lin_item *item, uint32_t after)
{
    uint32_t now = s->reg.value;
    if (s->seers == NULL || now == after)
        return false;
    return s->seers[now] > (lin_seen_by(item) == now ? 1 : 0) && s->makers[now] == 0;
}

/* Is there one to come whose version is below that of `item`? */
static bool jumps(const struct search *s, const struct lin_item *item)
{
    if (s->by_version == NULL || item->version == 0 || lin_is_pure(item))
        return false;
    uint32_t lowest = s->by_version[s->versions_head].next;
    return lowest != s->versions_head && s->items[lowest].version < item->version;
}

static void version_taken(struct search *s, uint32_t i)
{
    if (s->by_version == NULL || s->items[i].version == 0)
        return;
    s->by_version[s->by_version[i].prev].next = s->by_version[i].next;
    s->by_version[s->by_version[i].next].prev = s->by_version[i].prev;
}

static void version_returned(struct search *s, uint32_t i)
{
    if (s->by_version == NULL || s->items[i].version == 0)
        return;
    s->by_version[s->by_version[i].prev].next = i;
    s->by_version[s->by_version[i].next].prev = i;
}

struct ranked {
    uint64_t version;
    uint32_t item;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;
    if (x->version != y->version)
        return x->version < y->version ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

static void rank_versions(struct search *s, size_t count)
{
    struct ranked *ranked = lin_alloc(count, sizeof *ranked);
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (s->items[i].version != 0)
            ranked[n++] = (struct ranked){s->items[i].version, (uint32_t)i};
    if (n > 0) {
        qsort(ranked, n, sizeof *ranked, compare_ranked);
        uint32_t last = s->versions_head = (uint32_t)count;
        s->by_version = lin_alloc(count + 1, sizeof *s->by_version);
        for (size_t i = 0; i < n; i++) {
            s->by_version[last].next = ranked[i].item;
            s->by_version[ranked[i].item].prev = last;
            last = ranked[i].item;
        }
        s->by_version[last].next = s->versions_head;
        s->by_version[s->versions_head].prev = last;
    }
    free(ranked);
}

static void foresee_values(struct search *s, size_t count)
{
    s->foresight = lin_foresight_new(s->items, count, s->values);
    for (size_t i = 0; i < count; i++)
        if (s->items[i].kind == LIN_INCREMENT || s->items[i].kind == LIN_APPEND)
            return;
    s->seers = lin_alloc(s->values->count, sizeof *s->seers);
    s->makers = lin_alloc(s->values->count, sizeof *s->makers);
    for (size_t i = 0; i < count; i++)
        count_values(s, &s->items[i], 1);
}

/* ---- twins: unknown operations that would do the same -------------------------------- */

static int compare_infos(const struct lin_item *x, const struct lin_item *y)
{
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    if (x->arg != y->arg)
        return x->arg < y->arg ? -1 : 1;
    if (x->expect != y->expect)
        return x->expect < y->expect ? -1 : 1;
    if (x->op->expect_version != y->op->expect_version)
        return x->op->expect_version < y->op->expect_version ? -1 : 1;
    if (x->kind == LIN_INCREMENT && x->op->delta != y->op->delta)
        return x->op->delta < y->op->delta ? -1 : 1;
    return 0;
}

static int compare_twins(const void *a, const void *b)
{
    const struct lin_item *x = *(const struct lin_item *const *)a;
    const struct lin_item *y = *(const struct lin_item *const *)b;
    int c = compare_infos(x, y);
    if (c != 0)
        return c;
    if (x->invoke != y->invoke)
        return x->invoke < y->invoke ? -1 : 1;
    return x < y ? -1 : x > y;
}

static void find_twins(struct search *s, size_t count)
{
    const struct lin_item **infos = lin_alloc(count, sizeof *infos);
    size_t n = 0;
    s->twin_before = lin_alloc(count, sizeof *s->twin_before);
    s->is_taken = lin_alloc(count, sizeof *s->is_taken);
    for (size_t i = 0; i < count; i++) {
        s->twin_before[i] = NONE;
        if (s->items[i].outcome == LIN_INFO)
            infos[n++] = &s->items[i];
    }
    qsort(infos, n, sizeof *infos, compare_twins);
    for (size_t i = 1; i < n; i++)
        if (compare_infos(infos[i - 1], infos[i]) == 0)
            s->twin_before[infos[i] - s->items] = (uint32_t)(infos[i - 1] - s->items);
    free(infos);
}

/* ---- the lists --------------------------------------------------------------------- */

static void unlink_event(struct search *s, uint32_t e)
{
    struct event *ev = &s->events[e];
    s->events[ev->prev].next = ev->next;
    s->events[ev->next].prev = ev->prev;
}

static void relink_event(struct search *s, uint32_t e)
{
    struct event *ev = &s->events[e];
    s->events[ev->prev].next = e;
    s->events[ev->next].prev = e;
}

static void note_best(struct search *s)
{
    if (s->known_left >= s->best_left)
        return;
    s->best_left = s->known_left;
    if (!s->wants_order)
        return;
    s->ret->order_len = s->depth;
    for (size_t i = 0; i < s->depth; i++)
        s->ret->order[i] = s->events[s->stack[i].event].item;
    s->ret->value = s->reg.value;
}

/* The call `e` takes effect: the register becomes `after`. */
static void take(struct search *s, uint32_t e, struct reg after, bool is_settled)
{
    struct event *ev = &s->events[e];
    ASSERT(!ev->is_return);
    s->stack[s->depth++] = (struct frame){.event = e, .is_settled = is_settled, .before = s->reg};
    unlink_event(s, e);
    if (ev->partner != 0) {
        unlink_event(s, ev->partner);
        s->known_left--;
    }
    toggle(s, ev->item);
    s->is_taken[ev->item] = true;
    count_values(s, &s->items[ev->item], -1);
    version_taken(s, ev->item);
    s->reg = after;
    note_best(s);
}

/* Undo choices up to and with the last that was no settling; its call, or NONE. */
static uint32_t undo(struct search *s)
{
    while (s->depth > 0) {
        const struct frame *f = &s->stack[--s->depth];
        struct event *ev = &s->events[f->event];
        if (ev->partner != 0) {
            relink_event(s, ev->partner);
            s->known_left++;
        }
        relink_event(s, f->event);
        toggle(s, ev->item);
        s->is_taken[ev->item] = false;
        count_values(s, &s->items[ev->item], 1);
        version_returned(s, ev->item);
        s->reg = f->before;
        if (!f->is_settled)
            return f->event;
    }
    return NONE;
}

/* ---- the walk ----------------------------------------------------------------------- */

/* Take whatever agrees with the register and changes nothing. */
static void settle(struct search *s)
{
    uint32_t e = s->events[0].next;
    while (e != 0 && !s->events[e].is_return) {
        uint32_t next = s->events[e].next;
        struct lin_item *item = &s->items[s->events[e].item];
        struct reg after = s->reg;
        if (lin_is_pure(item) && step(s, item, &after) && reg_equal(after, s->reg)) {
            bool was_last = s->events[e].partner == next;
            if (was_last)
                next = s->events[next].next;
            take(s, e, after, true);
        }
        e = next;
    }
}

/* May `e` take effect next, and does that lead to a state not tried yet? */
static bool try_call(struct search *s, uint32_t e)
{
    struct lin_item *item = &s->items[s->events[e].item];
    struct reg after = s->reg;
    uint32_t twin = s->twin_before[s->events[e].item];
    if (twin != NONE && !s->is_taken[twin])
        return false;
    if (jumps(s, item) || !step(s, item, &after) || buries(s, item, after.value))
        return false;
    if (item->outcome == LIN_INFO && reg_equal(after, s->reg))
        return false; /* as good as never */
    if (item->kind == LIN_APPEND && s->foresight != NULL &&
        !lin_foresight_fits(s->foresight, item, after.value))
        return false;
    toggle(s, s->events[e].item);
    bool is_fresh = is_new(s, print_here(s, after));
    toggle(s, s->events[e].item);
    if (is_fresh)
        take(s, e, after, false);
    return is_fresh;
}

/* Try every candidate from `e` on (0: from the first), known outcomes first. */
static bool advance(struct search *s, uint32_t from)
{
    bool was_info = from != 0 && s->events[from].partner == 0;
    uint32_t e = from == 0 || was_info ? s->events[0].next : s->events[from].next;
    for (; e != 0 && !s->events[e].is_return; e = s->events[e].next)
        if (!was_info && try_call(s, e))
            return true;
    /* An INFO call is a candidate if it stands before the return that stopped us. */
    uint32_t limit = e == 0 ? UINT32_MAX : s->events[e].place;
    e = was_info ? s->events[from].next : s->events[s->infos].next;
    for (; e != s->infos && s->events[e].place < limit; e = s->events[e].next)
        if (try_call(s, e))
            return true;
    return false;
}

static enum lin_verdict walk(struct search *s)
{
    uint32_t from = 0;
    settle(s);
    while (s->known_left > 0) {
        if (s->seen_count > s->states_max)
            return LIN_UNKNOWN;
        if (advance(s, from)) {
            settle(s);
            from = 0;
            continue;
        }
        from = undo(s);
        if (from == NONE)
            return LIN_BAD;
    }
    return LIN_OK;
}

/* ---- setting it up --------------------------------------------------------------------- */

struct moment {
    uint64_t time;
    uint32_t item;
    bool is_return;
};

/* Calls before returns of the same instant: they are concurrent. */
static int compare_moments(const void *a, const void *b)
{
    const struct moment *x = a;
    const struct moment *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    if (x->is_return != y->is_return)
        return x->is_return ? 1 : -1;
    return x->item < y->item ? -1 : x->item > y->item;
}

static void append_event(struct search *s, uint32_t head, uint32_t e)
{
    uint32_t last = s->events[head].prev;
    s->events[e].prev = last;
    s->events[e].next = head;
    s->events[last].next = e;
    s->events[head].prev = e;
}

static void make_lists(struct search *s, const struct moment *moments, size_t count, size_t items)
{
    uint32_t *calls = lin_alloc(items, sizeof *calls);
    s->infos = 1;
    s->events[1] = (struct event){.prev = 1, .next = 1};
    for (size_t i = 0; i < count; i++) {
        const struct moment *m = &moments[i];
        uint32_t e = (uint32_t)i + 2;
        s->events[e] =
            (struct event){.item = m->item, .place = (uint32_t)i, .is_return = m->is_return};
        if (m->is_return)
            s->events[calls[m->item]].partner = e;
        else
            calls[m->item] = e;
        append_event(s, s->items[m->item].outcome == LIN_INFO ? s->infos : 0, e);
    }
    free(calls);
}

static void search_init(struct search *s, size_t count)
{
    struct moment *moments = lin_alloc(count * 2, sizeof *moments);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const struct lin_item *item = &s->items[i];
        ASSERT(item->outcome != LIN_FAILED);
        moments[n++] = (struct moment){item->invoke, (uint32_t)i, false};
        if (item->outcome == LIN_INFO)
            continue;
        ASSERT(item->ret >= item->invoke);
        moments[n++] = (struct moment){item->ret, (uint32_t)i, true};
        s->known_left++;
    }
    qsort(moments, n, sizeof *moments, compare_moments);
    s->best_left = SIZE_MAX;
    s->seen_cap = 1024;
    s->events = lin_alloc(n + 2, sizeof *s->events);
    s->stack = lin_alloc(count, sizeof *s->stack);
    s->seen = lin_alloc(s->seen_cap, sizeof *s->seen);
    make_lists(s, moments, n, count);
    find_twins(s, count);
    foresee_values(s, count);
    rank_versions(s, count);
    free(moments);
}

void lin_search(struct lin_item *items, size_t count, struct lin_values *values,
                uint64_t states_max, bool wants_order, struct lin_search *ret)
{
    struct search s = {
        .items = items,
        .values = values,
        .states_max = states_max,
        .wants_order = wants_order,
        .ret = ret,
    };
    ASSERT(count < UINT32_MAX / 2 - 2);
    *ret = (struct lin_search){0};
    if (wants_order)
        ret->order = lin_alloc(count, sizeof *ret->order);
    search_init(&s, count);
    ret->verdict = walk(&s);
    ret->states = s.seen_count;
    free(s.events);
    free(s.stack);
    free(s.seen);
    free(s.seers);
    free(s.makers);
    free(s.by_version);
    free(s.twin_before);
    free(s.is_taken);
    lin_foresight_free(s.foresight);
}
