/* SPDX-License-Identifier: Apache-2.0
 *
 * The checker itself is checked: by histories written down by hand, by comparison
 * with all permutations of small random ones, and by long ones that are right until
 * one thing in them is changed.
 */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "support/lin/lin.h"

static struct lin_value val(const char *text)
{
    return (struct lin_value){text != NULL, text == NULL ? slice_of(NULL, 0) : slice_str(text)};
}

/* ---- by hand ------------------------------------------------------------------------
 *
 * One operation is "process kind invoke-return", times are letters:
 *   w1 write "1"   W1 the same, outcome unknown   r1 read "1"   r- read absent
 *   d delete   D unknown delete   c12 cas 1 to 2   C12 unknown cas   m12 mismatch of it
 *   i5 increment by 1, saw 5   I increment, unknown   a1 append "1"   s12 swap to 2, saw 1
 * "w1 a-b" occupies [a, b].
 */
enum { OPS_MAX = 16 };

struct script {
    struct lin_op ops[OPS_MAX];
    size_t count;
    char texts[OPS_MAX * 2][2];
};

static struct lin_value digit(struct script *s, size_t slot, char c)
{
    if (c == '-')
        return val(NULL);
    s->texts[slot][0] = c;
    s->texts[slot][1] = 0;
    return val(s->texts[slot]);
}

static void parse_kind(struct script *s, struct lin_op *op, const char *p)
{
    size_t n = s->count * 2;
    char c = p[0];
    bool is_upper = c >= 'A' && c <= 'Z';
    op->outcome = is_upper ? LIN_INFO : c == 'm' ? LIN_MISMATCH : LIN_DONE;
    switch (is_upper ? c + 'a' - 'A' : c) {
    case 'r':
        op->kind = LIN_READ;
        op->result = digit(s, n, p[1]);
        break;
    case 'w':
        op->kind = LIN_WRITE;
        op->arg = digit(s, n, p[1]);
        break;
    case 'd':
        op->kind = LIN_DELETE;
        break;
    case 'c':
    case 'm':
        op->kind = LIN_CAS;
        op->expect = digit(s, n, p[1]);
        op->arg = digit(s, n + 1, p[2]);
        break;
    case 'i':
        op->kind = LIN_INCREMENT;
        op->delta = 1;
        op->has_result = !is_upper;
        op->number = is_upper ? 0 : p[1] - '0';
        break;
    case 'a':
        op->kind = LIN_APPEND;
        op->arg = digit(s, n, p[1]);
        break;
    case 's':
        op->kind = LIN_SWAP;
        op->has_result = true;
        op->result = digit(s, n, p[1]);
        op->arg = digit(s, n + 1, p[2]);
        break;
    default:
        fail_msg("script: %s", p);
    }
}

static void parse(struct script *s, const char *text)
{
    char word[16], from, to;
    int n;
    *s = (struct script){0};
    for (; sscanf(text, " %15s %c-%c%n", word, &from, &to, &n) == 3; text += n) {
        struct lin_op *op = &s->ops[s->count];
        *op = (struct lin_op){
            .process = (uint32_t)s->count,
            .key = slice_str("k"),
            .invoke = (uint64_t)from,
            .ret = (uint64_t)to,
        };
        parse_kind(s, op, word);
        s->count++;
    }
    assert_true(s->count > 0);
}

static const struct {
    const char *name;
    const char *script;
    enum lin_verdict want;
} scripts[] = {
    {"write then read", "w1 a-b r1 c-d", LIN_OK},
    {"read of nothing", "r- a-b", LIN_OK},
    {"value from nowhere", "r1 a-b", LIN_BAD},
    {"stale read", "w1 a-b w2 c-d r1 e-f", LIN_BAD},
    {"lost write", "w1 a-b r- c-d", LIN_BAD},
    {"concurrent read, old", "w1 a-b w2 c-f r1 d-e", LIN_OK},
    {"concurrent read, new", "w1 a-b w2 c-f r2 d-e", LIN_OK},
    {"new, then old again", "w1 a-b w2 c-i r2 d-e r1 f-g", LIN_BAD},
    {"old, then new", "w1 a-b w2 c-i r1 d-e r2 f-g", LIN_OK},
    {"readers disagree on order", "w1 a-z w2 a-z r1 b-c r2 d-e r1 f-g", LIN_BAD},
    {"read before its write", "r1 a-b w1 c-d", LIN_BAD},
    {"one instant is concurrent", "w1 a-b r- b-c", LIN_OK},
    {"delete", "w1 a-b d c-d r- e-f", LIN_OK},
    {"undead", "w1 a-b d c-d r1 e-f", LIN_BAD},
    {"unknown write, seen", "W1 a-b r1 c-d", LIN_OK},
    {"unknown write, not seen", "W1 a-b r- c-d", LIN_OK},
    {"unknown write, late", "W1 a-b r- c-d r1 e-f", LIN_OK},
    {"unknown write, once", "W1 a-b r1 c-d w2 e-f r1 g-h", LIN_BAD},
    {"unknown write, before its call", "r1 a-b W1 c-d", LIN_BAD},
    {"unknown delete, late", "w1 a-b D c-d r1 e-f r- g-h", LIN_OK},
    {"unknown delete, then back", "w1 a-b D c-d r- e-f r1 g-h", LIN_BAD},
    {"cas", "w1 a-b c12 c-d r2 e-f", LIN_OK},
    {"cas of what is not", "w1 a-b c32 c-d", LIN_BAD},
    {"cas twice", "w1 a-b c12 c-d c12 e-f", LIN_BAD},
    {"both cas cannot win", "w1 a-b c12 c-f c13 c-f", LIN_BAD},
    {"cas in a row", "w1 a-b c12 c-f c23 c-f r3 g-h", LIN_OK},
    {"cas if absent", "c-1 a-b r1 c-d", LIN_OK},
    {"cas if absent, twice", "c-1 a-b c-2 c-d", LIN_BAD},
    {"cas to absent", "w1 a-b c1- c-d r- e-f", LIN_OK},
    {"mismatch", "w1 a-b m23 c-d r1 e-f", LIN_OK},
    {"mismatch of what is", "w1 a-b m12 c-d", LIN_BAD},
    {"mismatch, by then", "w1 a-b w2 c-f m13 d-e", LIN_OK},
    {"unknown cas, seen", "w1 a-b C12 c-d r2 e-f", LIN_OK},
    {"unknown cas cannot", "w1 a-b C32 c-d r2 e-f", LIN_BAD},
    {"mismatch by an unseen unknown", "w1 a-b W3 c-d m12 e-f", LIN_OK},
    {"increment", "i1 a-b i2 c-d r2 e-f", LIN_OK},
    {"increment lost", "i1 a-b i1 c-d", LIN_BAD},
    {"increment twice", "i1 a-b i3 c-d", LIN_BAD},
    {"increments cross", "i2 a-d i1 b-c", LIN_OK},
    {"unknown increment", "i1 a-b I c-d i3 e-f", LIN_OK},
    {"unknown increment, never", "i1 a-b I c-d i2 e-f", LIN_OK},
    {"unknown increment, not twice", "i1 a-b I c-d i4 e-f", LIN_BAD},
    {"increment of text", "wx a-b i1 c-d", LIN_BAD},
    {"append", "w1 a-b a2 c-d s13 e-f", LIN_BAD},
    {"append to nothing", "a1 a-b r1 c-d", LIN_OK},
    {"append twice is not once", "a1 a-b a1 c-d r1 e-f", LIN_BAD},
    {"swap", "w1 a-b s12 c-d r2 e-f", LIN_OK},
    {"swap saw another", "w1 a-b s32 c-d", LIN_BAD},
};

static void test_by_hand(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct script s;
        struct lin_report report;
        parse(&s, scripts[i].script);
        enum lin_verdict got = lin_check(s.ops, s.count, NULL, &report);
        if (got != scripts[i].want)
            fail_msg("%s: %d\n%.*s", scripts[i].name, (int)got, (int)report.text.len,
                     (const char *)report.text.data);
        assert_int_equal(report.text.len > 0, got != LIN_OK);
        lin_report_fini(&report);
    }
}

static void test_versions(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t versions[3]; /* of w1 a-b, w1 c-d, r1 e-f */
        enum lin_verdict want;
    } rows[] = {
        {"known", {5, 6, 6}, LIN_OK},
        {"not known", {0, 0, 0}, LIN_OK},
        {"read of the older of equals", {5, 6, 5}, LIN_BAD},
        {"fell", {6, 5, 5}, LIN_BAD},
        {"given twice", {5, 5, 5}, LIN_BAD},
        {"of no write", {5, 6, 7}, LIN_BAD},
        {"second not known", {5, 0, 9}, LIN_OK},
        {"second not known, below", {5, 0, 4}, LIN_BAD},
        {"read not known", {5, 6, 0}, LIN_OK},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct script s;
        struct lin_report report;
        parse(&s, "w1 a-b w1 c-d r1 e-f");
        for (int k = 0; k < 3; k++)
            s.ops[k].version = rows[i].versions[k];
        enum lin_verdict got = lin_check(s.ops, s.count, NULL, &report);
        if (got != rows[i].want)
            fail_msg("%s: %d", rows[i].name, (int)got);
        lin_report_fini(&report);
    }
}

/* ---- all permutations ------------------------------------------------------------------ */

/* Can the operations not in `taken` go on from value `now` (a digit, or '-')? */
static bool brute(const struct script *s, unsigned taken, char now)
{
    bool is_left = false;
    for (size_t i = 0; i < s->count; i++)
        is_left = is_left || ((taken >> i & 1) == 0 && s->ops[i].outcome != LIN_INFO);
    if (!is_left)
        return true;
    for (size_t i = 0; i < s->count; i++) {
        const struct lin_op *op = &s->ops[i];
        bool is_next = (taken >> i & 1) == 0;
        for (size_t j = 0; j < s->count; j++)
            if ((taken >> j & 1) == 0 && s->ops[j].outcome != LIN_INFO &&
                s->ops[j].ret < op->invoke)
                is_next = false;
        char expect = op->expect.is_present ? (char)op->expect.bytes.data[0] : '-';
        char result = op->result.is_present ? (char)op->result.bytes.data[0] : '-';
        char after = op->arg.is_present ? (char)op->arg.bytes.data[0] : '-';
        if (op->kind == LIN_READ) {
            is_next = is_next && (op->outcome == LIN_INFO || result == now);
            after = now;
        } else if (op->outcome == LIN_MISMATCH) {
            is_next = is_next && expect != now;
            after = now;
        } else if (op->kind == LIN_CAS) {
            is_next = is_next && expect == now;
        }
        if (is_next && brute(s, taken | 1u << i, after))
            return true;
    }
    return false;
}

static void draw_op(struct script *s, struct rng *rng)
{
    static const char kinds[] = "rrrrwwwWdDcCm";
    char word[4] = {kinds[rng_below(rng, sizeof kinds - 1)], "12-"[rng_below(rng, 3)],
                    "12-"[rng_below(rng, 3)], 0};
    if ((word[0] == 'w' || word[0] == 'W') && word[1] == '-')
        word[1] = '1';
    struct lin_op *op = &s->ops[s->count];
    uint64_t from = rng_below(rng, 12);
    *op = (struct lin_op){.key = slice_str("k"), .invoke = from, .ret = from + rng_below(rng, 8)};
    parse_kind(s, op, word);
    s->count++;
}

static void test_against_permutations(void **state)
{
    (void)state;
    struct rng rng;
    int bad = 0, good = 0;
    rng_init(&rng, 20260101);
    for (int i = 0; i < 20000; i++) {
        struct script s = {0};
        struct lin_report report;
        for (uint64_t n = rng_between(&rng, 1, 7); n > 0; n--)
            draw_op(&s, &rng);
        bool want = brute(&s, 0, '-');
        enum lin_verdict got = lin_check(s.ops, s.count, NULL, &report);
        if ((got == LIN_OK) != want)
            fail_msg("history %d: %d, want %d", i, (int)got, (int)want);
        lin_report_fini(&report);
        good += want;
        bad += !want;
    }
    assert_true(good > 2000);
    assert_true(bad > 2000);
}

/* ---- long ones ---------------------------------------------------------------------------- */

struct history {
    struct lin_op *ops;
    size_t count;
    char (*texts)[16]; /* texts[i] is number i */
};

struct maker {
    struct rng rng;
    size_t keys;
    int clients;
    bool has_versions;
    uint32_t info_in; /* one in so many has no known outcome */
    uint32_t values;  /* so many different ones; 0: each write has its own */
};

/* Do `op` on `now` (UINT32_MAX: absent) in the instant of its effect. */
static void take_effect(struct maker *m, struct history *h, struct lin_op *op, uint32_t *now,
                        uint64_t version, uint64_t *key_version)
{
    bool is_present = *now != UINT32_MAX;
    uint32_t fresh = (uint32_t)(op - h->ops);
    if (m->values != 0)
        fresh = (uint32_t)rng_below(&m->rng, m->values);
    uint64_t dice = rng_below(&m->rng, 10);
    op->outcome = LIN_DONE;
    if (dice < 5) {
        op->kind = LIN_READ;
        op->result = val(is_present ? h->texts[*now] : NULL);
        op->version = *key_version;
    } else if (dice < 8) {
        op->kind = LIN_WRITE;
        op->arg = val(h->texts[fresh]);
        *now = fresh;
    } else if (dice < 9) {
        op->kind = LIN_CAS;
        op->arg = val(h->texts[fresh]);
        op->expect = val(is_present ? h->texts[*now] : NULL);
        *now = fresh;
    } else {
        op->kind = LIN_DELETE;
        *now = UINT32_MAX;
    }
    if (op->kind != LIN_READ)
        *key_version = op->version = op->kind == LIN_DELETE ? 0 : version;
    if (!m->has_versions)
        op->version = 0;
}

/* A history that is right by construction: effects happen in the order of the array,
 * and each client's operations begin before and end after their effects. */
static void make_history(struct maker *m, size_t count, struct history *h)
{
    uint64_t *free_at = calloc((size_t)m->clients, sizeof *free_at);
    uint32_t *now = malloc(m->keys * sizeof *now);
    uint64_t *versions = calloc(m->keys, sizeof *versions);
    h->count = count;
    h->ops = calloc(count, sizeof *h->ops);
    h->texts = calloc(count, sizeof *h->texts);
    for (size_t k = 0; k < m->keys; k++)
        now[k] = UINT32_MAX;
    for (size_t i = 0; i < count; i++)
        snprintf(h->texts[i], sizeof h->texts[i], "%u", (unsigned)i);
    for (size_t i = 0; i < count; i++) {
        struct lin_op *op = &h->ops[i];
        uint64_t instant = (i + 1) * 1000;
        size_t client = i % (size_t)m->clients;
        uint64_t reach = 1000 * (uint64_t)m->clients / 2 - 1;
        size_t key = rng_below(&m->rng, m->keys);
        op->process = (uint32_t)client;
        op->key = slice_str(h->texts[key]);
        uint64_t back = rng_below(&m->rng, reach);
        op->invoke = MAX(free_at[client], instant - MIN(back, instant));
        op->ret = instant + rng_below(&m->rng, reach);
        free_at[client] = op->ret + 1;
        take_effect(m, h, op, &now[key], i + 1, &versions[key]);
        if (m->info_in != 0 && op->kind != LIN_READ && rng_chance(&m->rng, 1, m->info_in)) {
            op->outcome = LIN_INFO;
            op->version = 0;
        }
    }
    free(free_at);
    free(now);
    free(versions);
}

static void history_fini(struct history *h)
{
    free(h->ops);
    free(h->texts);
}

static const struct {
    const char *name;
    size_t count;
    size_t keys;
    int clients;
    bool has_versions;
    uint32_t info_in;
    uint32_t values;
} longs[] = {
    {"many keys", 100000, 100, 50, false, 0, 0},
    {"many keys, versions", 100000, 100, 50, true, 0, 0},
    {"one key", 100000, 1, 50, false, 0, 0},
    {"one key, versions", 100000, 1, 50, true, 0, 0},
    {"ten keys, unknown ones", 100000, 10, 50, false, 100, 0},
    {"one key, unknown ones", 20000, 1, 50, false, 200, 0},
    {"few clients", 5000, 1, 3, false, 10, 0},
    {"five values", 20000, 20, 20, false, 0, 5},
    {"five values, unknown ones", 5000, 10, 20, false, 100, 5},
};

static void expect_verdict(const struct history *h, enum lin_verdict want, const char *name)
{
    struct lin_report report;
    enum lin_verdict got = lin_check(h->ops, h->count, NULL, &report);
    if (got != want)
        fail_msg("%s: %d, want %d\n%.*s", name, (int)got, (int)want, (int)report.text.len,
                 (const char *)report.text.data);
    lin_report_fini(&report);
}

static void test_long(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(longs); i++) {
        struct maker m = {
            .keys = longs[i].keys,
            .clients = longs[i].clients,
            .has_versions = longs[i].has_versions,
            .info_in = longs[i].info_in,
            .values = longs[i].values,
        };
        struct history h;
        rng_init(&m.rng, 7 + i);
        make_history(&m, longs[i].count, &h);
        expect_verdict(&h, LIN_OK, longs[i].name);
        history_fini(&h);
    }
}

/* The last read of some key that saw a value, far behind others. */
static struct lin_op *late_read(struct history *h)
{
    for (size_t i = h->count; i-- > h->count / 2;)
        if (h->ops[i].kind == LIN_READ && h->ops[i].result.is_present)
            return &h->ops[i];
    fail_msg("no read");
    return NULL;
}

/* One old value seen again in 20,000 operations is found, and shown in a few lines. */
static void test_needle(void **state)
{
    (void)state;
    for (size_t keys = 1; keys <= 10; keys += 9) {
        struct maker m = {.keys = keys, .clients = 20};
        struct history h;
        struct lin_report report;
        rng_init(&m.rng, 99);
        make_history(&m, 20000, &h);
        struct lin_op *read = late_read(&h);
        for (size_t i = h.count / 4;; i++) {
            if (h.ops[i].kind == LIN_WRITE && slice_equal(h.ops[i].key, read->key)) {
                read->result = h.ops[i].arg;
                break;
            }
        }
        assert_int_equal(lin_check(h.ops, h.count, NULL, &report), LIN_BAD);
        assert_true(slice_equal(report.key, read->key));
        size_t lines = 0;
        for (size_t i = 0; i < report.text.len; i++)
            lines += report.text.data[i] == '\n';
        if (lines > 40)
            fail_msg("%.*s", (int)report.text.len, (const char *)report.text.data);
        lin_report_fini(&report);
        history_fini(&h);
    }
}

static void test_counter_example_text(void **state)
{
    (void)state;
    struct script s;
    struct lin_report report;
    parse(&s, "w1 a-b r1 c-d w2 e-f r2 g-h w3 i-j r3 k-l r2 m-n w4 o-p r4 q-r");
    assert_int_equal(lin_check(s.ops, s.count, NULL, &report), LIN_BAD);
    buf_append_u8(&report.text, 0);
    const char *text = (const char *)report.text.data;
    assert_non_null(strstr(text, "key \"k\" is not linearizable; "));
    assert_non_null(strstr(text, "p6    read: done, saw \"2\""));
    assert_null(strstr(text, "\"4\"")); /* what came later has nothing to do with it */
    assert_null(strstr(text, "\"1\""));
    lin_report_fini(&report);
}

static void test_gives_up(void **state)
{
    (void)state;
    struct maker m = {.keys = 1, .clients = 20};
    struct history h;
    struct lin_report report;
    const struct lin_options options = {.states_max = 10};
    rng_init(&m.rng, 5);
    make_history(&m, 1000, &h);
    assert_int_equal(lin_check(h.ops, h.count, &options, &report), LIN_UNKNOWN);
    assert_true(report.text.len > 0);
    lin_report_fini(&report);
    history_fini(&h);
}

static void test_nothing(void **state)
{
    (void)state;
    struct lin_report report;
    struct script s;
    assert_int_equal(lin_check(NULL, 0, NULL, &report), LIN_OK);
    lin_report_fini(&report);
    parse(&s, "w1 a-b r2 c-d");
    s.ops[1].outcome = LIN_FAILED;
    assert_int_equal(lin_check(s.ops, s.count, NULL, &report), LIN_OK);
    lin_report_fini(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_against_permutations),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_needle),
        cmocka_unit_test(test_counter_example_text),
        cmocka_unit_test(test_gives_up),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests_name("lin", tests, NULL, NULL);
}
