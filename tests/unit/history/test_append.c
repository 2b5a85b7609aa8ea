/* SPDX-License-Identifier: Apache-2.0
 *
 * The judge of transactions over lists: anomalies as they were published, each with its
 * name, and 10,000 random small histories against a judge that tries every order.
 */
#include "support/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "support/history/history.h"

/* ---- by hand ------------------------------------------------------------------------------
 *
 * A word is a transaction, "from-to mop mop …": "ax1" appends 1 to x, "rx12" reads [1, 2]
 * from x, "rx" an empty list; '?' behind the times for info, '!' for fail. Elements have one
 * digit, keys one letter. Every transaction is of a process of its own.
 */

static const struct {
    const char *name;
    const char *txns;
    enum history_verdict want;
    const char *texts[3]; /* parts of the report */
} scripts[] = {
    {"one after another", "0-1 ax1;2-3 ax2;4-5 rx12", HISTORY_VALID, {"keys 1"}},
    {"concurrent, either way", "0-9 ax1;0-9 ax2;10-11 rx21", HISTORY_VALID, {0}},
    {"an unknown one seen", "0-1? ax1;2-3 rx1", HISTORY_VALID, {0}},
    {"an unknown one not seen", "0-1? ax1;2-3 rx", HISTORY_VALID, {0}},
    {"unknown, seen late", "0-1? ax1;2-3 rx;4-5 rx1", HISTORY_VALID, {0}},
    {"own appends", "0-1 ax1 rx1 ax2 rx12;2-3 rx12", HISTORY_VALID, {0}},
    {"read, append, read", "0-1 ax1;2-3 rx1 ax2 rx12;4-5 rx12", HISTORY_VALID, {0}},

    /* Adya, "Weak Consistency" (1999), §4.1: H_wcycle, writes of two interleave */
    {"G0", "0-9 ax1 ay1;0-9 ax2 ay2;10-11 rx12 ry21", HISTORY_INVALID, {"G0 (in 1 groups", "ww"}},
    /* §3: H_1a, T2 reads what T1 wrote, and T1 aborts */
    {"G1a", "0-1! ax1;2-3 rx1", HISTORY_INVALID, {"G1a"}},
    /* H_1b: T2 reads what T1 wrote over later */
    {"G1b", "0-9 ax1 ax2;0-9 rx1;10-11 rx12", HISTORY_INVALID, {"G1b"}},
    /* H_1c: T1 reads from T2 and T2 from T1 */
    {"G1c", "0-9 ax1 ry1;0-9 ay1 rx1", HISTORY_INVALID, {"G1c (in 1", "wr"}},
    /* Adya H_phantom/H_non2PL: read skew, T1 sees x before T2 and y after it */
    {"G-single, read skew",
     "0-1 ax1 ay1;2-9 rx1 ry12;2-9 ax2 ay2;10-11 rx12 ry12",
     HISTORY_INVALID,
     {"G-single (in 1", "rw"}},
    /* Elle, §2: a lost update */
    {"G-single, lost update",
     "0-1 ax1;2-9 rx1 ax2;2-9 rx1 ax3;10-11 rx123",
     HISTORY_INVALID,
     {"G-single"}},
    /* Berenson et al. 1995, A5B: write skew, legal under snapshot isolation */
    {"G2, write skew",
     "0-9 rx ay1;0-9 ry ax1;10-11 rx1 ry1",
     HISTORY_INVALID,
     {"G2 (in 1 groups", "-rw 'x': which did not see 1->"}},
    /* Adya, §4: long fork, two readers that see two writers in different orders */
    {"G2, long fork",
     "0-9 ax1;0-9 ay1;0-9 rx1 ry;0-9 rx ry1;10-11 rx1 ry1",
     HISTORY_INVALID,
     {"G2"}},
    /* Fekete, O'Neil, O'Neil 2004: a read-only transaction makes it wrong */
    {"G2, read-only anomaly",
     "0-9 rx ry ax1;0-5 ry ay1;6-9 rx ry1;10-11 rx1 ry1",
     HISTORY_INVALID,
     {"G2"}},
    /* strict serializability: each serializable, but not in real time */
    {"stale read",
     "0-1 ax1;2-3 rx;4-5 rx1",
     HISTORY_INVALID,
     {"G-single-realtime (in 1", "realtime: ended before it began"}},
    {"G0-realtime", "0-1 ax1;2-3 ax2;4-5 rx21", HISTORY_INVALID, {"G0-realtime"}},
    {"G1c-realtime", "0-9 rx1;10-11 ax1;12-13 rx1", HISTORY_INVALID, {"from nowhere"}},
    {"G2-realtime, long fork in time",
     "0-9 ax1;0-9 ay1;1-2 rx1 ry;3-4 rx ry1;10-11 rx1 ry1",
     HISTORY_INVALID,
     {"realtime"}},
    {"from the future, unknown", "0-1 rx1;2-3? ax1", HISTORY_INVALID, {"from nowhere"}},

    {"lost", "0-1 ax1;2-3 rx", HISTORY_INVALID, {"lost"}},
    {"lost, with others after it",
     "0-1 ax1;2-3 ax2;4-5 rx2",
     HISTORY_INVALID,
     {"lost (no later read sees it): key 'x', element 1"}},
    {"not lost, nobody looked", "0-9 ax1;1-2 rx", HISTORY_VALID, {0}},
    {"from nowhere", "0-1 ax1;2-3 rx17", HISTORY_INVALID, {"from nowhere: key 'x', element 7"}},
    {"duplicate", "0-1 ax1;2-3 rx11", HISTORY_INVALID, {"duplicate"}},
    {"incompatible order",
     "0-9 ax1;0-9 ax2;10-11 rx12;10-11 rx21",
     HISTORY_INVALID,
     {"incompatible order", "the longest read of it"}},
    {"internal, own append not seen", "0-1 ax1 rx", HISTORY_INVALID, {"internal"}},
    {"internal, unrepeatable", "0-9 rx rx1;0-9 ax1", HISTORY_INVALID, {"internal"}},

    {"appended twice", "0-1 ax1;2-3 ax1", HISTORY_UNKNOWN, {"appends what line"}},
    {"no read", "0-1 ax1", HISTORY_UNKNOWN, {"reads 0"}},
};

struct event {
    unsigned time;
    bool is_end;
    char line[400];
};

static int compare_events(const void *a, const void *b)
{
    const struct event *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return x->is_end - y->is_end;
}

/* "ax1 rx12" as JSON; what reads saw is left out before the end. */
static void write_mops(const char *mops, bool is_end, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "[");
    for (const char *at = mops; *at != '\0'; at += strcspn(at, " ")) {
        at += strspn(at, " ");
        const char *digits = at + 2;
        n += (size_t)snprintf(out + n, size - n, "%s[\"%s\",\"%c\",", n > 1 ? "," : "",
                              at[0] == 'a' ? "append" : "r", at[1]);
        if (at[0] == 'a')
            n += (size_t)snprintf(out + n, size - n, "%c]", digits[0]);
        else if (!is_end)
            n += (size_t)snprintf(out + n, size - n, "null]");
        else {
            n += (size_t)snprintf(out + n, size - n, "[");
            for (size_t i = 0; digits[i] >= '0' && digits[i] <= '9'; i++)
                n += (size_t)snprintf(out + n, size - n, "%s%c", i > 0 ? "," : "", digits[i]);
            n += (size_t)snprintf(out + n, size - n, "]]");
        }
    }
    snprintf(out + n, size - n, "]");
}

static void write_txn(struct event *out, unsigned process, const char *txn)
{
    unsigned from, to;
    int used = 0;
    char value[300];
    assert_int_equal(sscanf(txn, "%u-%u%n", &from, &to, &used), 2);
    const char *type = txn[used] == '?' ? "info" : txn[used] == '!' ? "fail" : "ok";
    const char *mops = txn + used + (strcmp(type, "ok") == 0 ? 1 : 2);
    for (int end = 0; end <= 1; end++) {
        write_mops(mops, end == 1 && strcmp(type, "ok") == 0, value, sizeof value);
        out[end] = (struct event){.time = end == 1 ? to : from, .is_end = end == 1};
        snprintf(out[end].line, sizeof out[end].line,
                 "{\"process\":%u,\"type\":\"%s\",\"f\":\"txn\",\"value\":%s,\"time\":%u}\n",
                 process, end == 1 ? type : "invoke", value, out[end].time);
    }
}

static void write_script(struct buf *out, const char *txns)
{
    struct event events[32];
    char copy[512], *state = NULL;
    size_t n = 0;
    snprintf(copy, sizeof copy, "%s", txns);
    for (char *t = strtok_r(copy, ";", &state); t != NULL; t = strtok_r(NULL, ";", &state)) {
        write_txn(&events[n], (unsigned)n / 2, t);
        n += 2;
    }
    qsort(events, n, sizeof events[0], compare_events);
    for (size_t i = 0; i < n; i++)
        buf_append_str(out, events[i].line);
}

static void test_scripts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct history h;
        struct history_report report;
        struct buf text;
        struct err err = {0};
        buf_init(&text, 1 << 16);
        write_script(&text, scripts[i].txns);
        history_init(&h);
        history_report_init(&report);
        if (history_parse(&h, buf_slice(&text), &err) != 0)
            fail_msg("%s: %s", scripts[i].name, err.msg);
        history_judge_append(&h, &report);
        buf_append_u8(&report.text, 0);
        bool is_right = report.verdict == scripts[i].want;
        for (size_t t = 0; t < ARRAY_LEN(scripts[i].texts); t++)
            is_right &= scripts[i].texts[t] == NULL ||
                        strstr((const char *)report.text.data, scripts[i].texts[t]) != NULL;
        if (!is_right)
            fail_msg("%s: %d\n%s", scripts[i].name, (int)report.verdict,
                     (const char *)report.text.data);
        history_report_fini(&report);
        history_fini(&h);
        buf_fini(&text);
    }
}

/* ---- against every order --------------------------------------------------------------------
 *
 * Random transactions run against a store that sometimes is not serializable: reads from
 * older states, appends in another order. A last read of every key, after all else, makes
 * the order of versions known, so the judge must find exactly what trying finds.
 */

enum { TXNS = 6, MOPS = 3, KEYS = 2, LIST = 16 };

struct list {
    int64_t elements[LIST];
    size_t len;
};

struct mop {
    bool is_append;
    int key;
    int64_t element;
    struct list seen;
};

struct txn {
    unsigned from, to;
    enum history_outcome outcome;
    size_t mop_count;
    struct mop mops[MOPS];
};

struct small {
    struct txn txns[TXNS + 1];
    size_t count;
};

/* Run `t` on `state`, and tell whether its reads agree. */
static bool run_txn(const struct txn *t, struct list state[KEYS])
{
    for (size_t m = 0; m < t->mop_count; m++) {
        const struct mop *mop = &t->mops[m];
        struct list *l = &state[mop->key];
        if (mop->is_append)
            l->elements[l->len++] = mop->element;
        else if (t->outcome == HISTORY_OK &&
                 (l->len != mop->seen.len ||
                  memcmp(l->elements, mop->seen.elements, l->len * sizeof l->elements[0]) != 0))
            return false;
    }
    return true;
}

/* Is there an order of those not in `done` that begins in `state`? */
static bool try_orders(const struct small *s, unsigned done, const struct list state[KEYS])
{
    bool is_over = true;
    for (size_t i = 0; i < s->count; i++)
        is_over &= (done & BIT(i)) != 0 || s->txns[i].outcome != HISTORY_OK;
    if (is_over)
        return true;
    for (size_t i = 0; i < s->count; i++) {
        struct list next[KEYS];
        const struct txn *t = &s->txns[i];
        bool may_begin = (done & BIT(i)) == 0 && t->outcome != HISTORY_FAIL;
        for (size_t k = 0; k < s->count && may_begin; k++) /* all that ended before it are done */
            may_begin = (done & BIT(k)) != 0 || s->txns[k].outcome != HISTORY_OK ||
                        s->txns[k].to >= t->from;
        if (!may_begin)
            continue;
        memcpy(next, state, sizeof next);
        if (run_txn(t, next) && try_orders(s, done | (unsigned)BIT(i), next))
            return true;
    }
    return false;
}

static void make_txn(struct rng *rng, struct txn *t, int64_t *element)
{
    t->from = (unsigned)rng_below(rng, 12);
    t->to = t->from + (unsigned)rng_below(rng, 6);
    t->outcome = rng_chance(rng, 1, 6)   ? HISTORY_INFO
                 : rng_chance(rng, 1, 8) ? HISTORY_FAIL
                                         : HISTORY_OK;
    t->mop_count = 1 + rng_below(rng, MOPS);
    for (size_t m = 0; m < t->mop_count; m++) {
        struct mop *mop = &t->mops[m];
        *mop = (struct mop){.is_append = rng_chance(rng, 1, 2), .key = (int)rng_below(rng, KEYS)};
        if (mop->is_append)
            mop->element = ++*element;
    }
}

static int by_middle(const void *a, const void *b)
{
    const struct txn *x = a, *y = b;
    return (int)(x->from + x->to) - (int)(y->from + y->to);
}

/* What reads see: mostly of a serial order near real time, sometimes cut short. */
static void execute(struct rng *rng, struct small *s, uint64_t mischief)
{
    struct list state[KEYS] = {0};
    qsort(s->txns, s->count, sizeof s->txns[0], by_middle);
    for (size_t i = 0; i < s->count; i++) {
        struct txn *t = &s->txns[i];
        struct list before[KEYS];
        memcpy(before, state, sizeof before);
        for (size_t m = 0; m < t->mop_count; m++) {
            struct mop *mop = &t->mops[m];
            struct list *l = &state[mop->key];
            mop->seen = *l;
            if (!mop->is_append && rng_chance(rng, mischief, 100) && l->len > 0)
                mop->seen.len -= 1 + rng_below(rng, MIN(l->len, (size_t)2));
            if (mop->is_append)
                l->elements[l->len++] = mop->element;
        }
        bool goes_wrong = rng_chance(rng, mischief, 300);
        if ((t->outcome == HISTORY_FAIL) != goes_wrong ||
            (t->outcome == HISTORY_INFO && rng_chance(rng, 1, 2)))
            memcpy(state, before, sizeof state);
    }
    struct txn *last = &s->txns[s->count++];
    *last = (struct txn){.from = 100, .to = 101, .outcome = HISTORY_OK, .mop_count = KEYS};
    for (int k = 0; k < KEYS; k++)
        last->mops[k] = (struct mop){.key = k, .seen = state[k]};
}

static void print_mops(struct buf *out, const struct txn *t, bool is_end)
{
    for (size_t m = 0; m < t->mop_count; m++) {
        const struct mop *mop = &t->mops[m];
        buf_printf(out, "%s[\"%s\",\"%c\",", m > 0 ? "," : "", mop->is_append ? "append" : "r",
                   'x' + mop->key);
        if (mop->is_append)
            buf_printf(out, "%" PRId64 "]", mop->element);
        else if (!is_end || t->outcome != HISTORY_OK)
            buf_append_str(out, "null]");
        else {
            for (size_t i = 0; i < mop->seen.len; i++)
                buf_printf(out, "%c%" PRId64, i == 0 ? '[' : ',', mop->seen.elements[i]);
            buf_append_str(out, mop->seen.len == 0 ? "[]]" : "]]");
        }
    }
}

static void print_small(const struct small *s, struct buf *out)
{
    static const char *const types[] = {
        [HISTORY_OK] = "ok", [HISTORY_FAIL] = "fail", [HISTORY_INFO] = "info"};
    for (size_t i = 0; i < s->count; i++) {
        const struct txn *t = &s->txns[i];
        for (int end = 0; end <= 1; end++) {
            buf_printf(out, "{\"process\":%zu,\"type\":\"%s\",\"f\":\"txn\",\"value\":[", i,
                       end == 1 ? types[t->outcome] : "invoke");
            print_mops(out, t, end == 1);
            buf_printf(out, "],\"time\":%u}\n", end == 1 ? t->to : t->from);
        }
    }
}

static void test_against_every_order(void **state)
{
    (void)state;
    struct rng rng;
    int counts[2] = {0, 0};
    rng_init(&rng, 20);
    for (int round = 0; round < 10000; round++) {
        struct small s = {.count = 2 + rng_below(&rng, TXNS - 1)};
        struct history h;
        struct history_report report;
        struct buf text;
        int64_t element = 0;
        for (size_t i = 0; i < s.count; i++)
            make_txn(&rng, &s.txns[i], &element);
        execute(&rng, &s, (uint64_t[]){0, 10, 40}[round % 3]);
        struct list empty[KEYS] = {0};
        bool want = try_orders(&s, 0, empty);
        buf_init(&text, 1 << 16);
        print_small(&s, &text);
        history_init(&h);
        history_report_init(&report);
        assert_int_equal(history_parse(&h, buf_slice(&text), NULL), 0);
        history_judge_append(&h, &report);
        if ((report.verdict == HISTORY_VALID) != want)
            fail_msg("round %d: an order %s, and the judge says\n%.*s\nof\n%.*s", round,
                     want ? "exists" : "does not exist", (int)report.text.len,
                     (char *)report.text.data, (int)text.len, (char *)text.data);
        counts[want]++;
        history_report_fini(&report);
        history_fini(&h);
        buf_fini(&text);
    }
    if (counts[0] < 1500 || counts[1] < 1500)
        fail_msg("%d wrong, %d right: too few of one kind", counts[0], counts[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_against_every_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
