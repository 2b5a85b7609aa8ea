/* SPDX-License-Identifier: Apache-2.0
 *
 * The search against all permutations: small random histories of every kind of
 * operation, with and without versions, most of them right by construction and then
 * bent a little.
 */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "support/lin/lin.h"

enum { OPS_MAX = 8, TEXT_MAX = 40 };

struct history {
    struct lin_op ops[OPS_MAX];
    size_t count;
    char texts[OPS_MAX * 3][TEXT_MAX];
};

/* ---- the register, done once more and as plainly as can be ---------------------------- */

struct state {
    bool is_present;
    char text[TEXT_MAX * 2];
    bool is_exact;
    uint64_t version;
};

static bool shows(const struct state *s, const struct lin_value *v)
{
    if (s->is_present != v->is_present)
        return false;
    return !v->is_present ||
           (strlen(s->text) == v->bytes.len &&
            (v->bytes.len == 0 || memcmp(s->text, v->bytes.data, v->bytes.len) == 0));
}

static void set(struct state *s, const struct lin_value *v)
{
    s->is_present = v->is_present;
    snprintf(s->text, sizeof s->text, "%.*s", v->is_present ? (int)v->bytes.len : 0,
             v->is_present ? (const char *)v->bytes.data : "");
}

static bool add(struct state *s, const struct lin_op *op)
{
    char again[TEXT_MAX];
    long long n = s->is_present ? strtoll(s->text, NULL, 10) : 0;
    snprintf(again, sizeof again, "%lld", n);
    if (s->is_present && strcmp(again, s->text) != 0)
        return false; /* "03" is no number */
    snprintf(s->text, sizeof s->text, "%lld", n + (long long)op->delta);
    s->is_present = true;
    return op->outcome == LIN_INFO || !op->has_result || n + op->delta == op->number;
}

/* Version of what is seen. */
static bool see(struct state *s, uint64_t version)
{
    if (version == 0)
        return true;
    if (s->is_exact ? s->version != version : version < s->version)
        return false;
    s->version = version;
    s->is_exact = true;
    return true;
}

/* Is the condition of a CAS surely met? */
static bool meets(const struct state *s, const struct lin_op *op)
{
    if (op->expect_version == 0)
        return shows(s, &op->expect);
    return s->is_present && s->is_exact && s->version == op->expect_version;
}

/* The effect of `op` now; false if it cannot have it. */
static bool effect(struct state *s, const struct lin_op *op)
{
    uint64_t version = op->outcome == LIN_INFO ? 0 : op->version;
    if (op->kind == LIN_READ)
        return op->outcome == LIN_INFO || (shows(s, &op->result) && see(s, version));
    if (op->outcome == LIN_MISMATCH)
        return !meets(s, op) && (!op->has_result || shows(s, &op->result)) && see(s, version);
    if (op->kind == LIN_CAS && op->expect_version == 0 && !shows(s, &op->expect))
        return false;
    if (op->expect_version != 0 && (!s->is_present || !see(s, op->expect_version)))
        return false;
    if (op->kind == LIN_SWAP && op->has_result && op->outcome == LIN_DONE && !shows(s, &op->result))
        return false;
    if (op->kind == LIN_INCREMENT) {
        if (!add(s, op))
            return false;
    } else if (op->kind == LIN_APPEND) {
        size_t len = s->is_present ? strlen(s->text) : 0;
        snprintf(s->text + len, sizeof s->text - len, "%.*s", (int)op->arg.bytes.len,
                 (const char *)op->arg.bytes.data);
        s->is_present = true;
    } else {
        set(s, &op->arg);
    }
    if (version != 0 && version <= s->version)
        return false;
    s->is_exact = version != 0;
    s->version = version != 0 ? version : s->version;
    return true;
}

static bool brute(const struct history *h, unsigned taken, const struct state *now)
{
    bool is_left = false;
    for (size_t i = 0; i < h->count; i++)
        is_left = is_left || ((taken >> i & 1) == 0 && h->ops[i].outcome != LIN_INFO);
    for (size_t i = 0; is_left && i < h->count; i++) {
        const struct lin_op *op = &h->ops[i];
        struct state after = *now;
        bool is_next = (taken >> i & 1) == 0;
        for (size_t k = 0; k < h->count; k++) {
            const struct lin_op *other = &h->ops[k];
            if ((taken >> k & 1) == 0 && other->outcome != LIN_INFO && other->ret < op->invoke)
                is_next = false;
        }
        if (is_next && effect(&after, op) && brute(h, taken | 1u << i, &after))
            return true;
    }
    return !is_left;
}

/* ---- random histories -------------------------------------------------------------------- */

struct mix {
    const char *name;
    const char *kinds; /* r w d c i a s, v: cas by version; drawn evenly */
    bool has_versions;
};

static struct lin_value text_value(struct history *h, size_t slot, const char *text)
{
    snprintf(h->texts[slot], TEXT_MAX, "%s", text);
    return (struct lin_value){true, slice_str(h->texts[slot])};
}

/* What was there before, as a value for the operation `i`. */
static struct lin_value seen_value(struct history *h, size_t i, const struct state *s)
{
    return s->is_present ? text_value(h, i * 3 + 1, s->text) : (struct lin_value){0};
}

static void draw_args(struct rng *rng, struct history *h, size_t i, char kind,
                      const struct state *now)
{
    struct lin_op *op = &h->ops[i];
    char text[3] = {(char)('1' + rng_below(rng, 3)), 0, 0};
    static const char letters[] = "rwdcias";
    if (kind == 'v') {
        op->expect_version = rng_chance(rng, 2, 3) ? MAX(now->version, 1) : 1 + rng_below(rng, 4);
        op->arg = text_value(h, i * 3, text);
        op->kind = LIN_CAS;
        return;
    }
    op->kind = (enum lin_kind)(strchr(letters, kind) - letters);
    if (kind == 'w' || kind == 's' || kind == 'c' || kind == 'a')
        op->arg = text_value(h, i * 3, text);
    if (kind == 'i')
        op->delta = (int64_t)rng_below(rng, 3) - 1 + (rng_chance(rng, 1, 2) ? 2 : 0);
    if (kind == 'c' && rng_chance(rng, 2, 3))
        op->expect = seen_value(h, i, now);
    else if (kind == 'c')
        op->expect = text_value(h, i * 3 + 1, "2");
    op->has_result = kind == 'r' || ((kind == 'i' || kind == 's') && rng_chance(rng, 2, 3));
}

/* The operation happens now, in the order of the array. */
static void happen(struct rng *rng, struct history *h, size_t i, struct state *now, bool versions)
{
    struct lin_op *op = &h->ops[i];
    struct state after = *now;
    op->outcome = LIN_DONE;
    if (op->kind == LIN_READ || op->kind == LIN_SWAP)
        op->result = seen_value(h, i, now);
    if (op->kind == LIN_CAS && !meets(now, op)) {
        op->outcome = LIN_MISMATCH;
        op->has_result = rng_chance(rng, 1, 2);
        if (op->has_result && now->is_present)
            op->result = text_value(h, i * 3 + 2, now->text);
        op->version = versions ? now->version : 0;
        return;
    }
    struct lin_op free_of_result = *op;
    free_of_result.has_result = false;
    if (!effect(&after, &free_of_result)) {
        op->outcome = LIN_FAILED; /* an increment of text */
        return;
    }
    if (op->kind == LIN_INCREMENT)
        op->number = strtoll(after.text, NULL, 10);
    if (op->kind == LIN_READ) {
        op->version = versions ? now->version : 0;
    } else {
        after.version = now->version + 1 + rng_below(rng, 2);
        op->version = versions && rng_chance(rng, 9, 10) ? after.version : 0;
    }
    after.is_exact = true;
    *now = after;
}

static void bend(struct rng *rng, struct history *h)
{
    size_t i = rng_below(rng, h->count);
    struct lin_op *a = &h->ops[i];
    const struct lin_op *b = &h->ops[rng_below(rng, h->count)];
    if (rng_chance(rng, 1, 2) && a->kind == LIN_READ)
        a->result = b->kind == LIN_READ ? b->result : b->arg;
    else if (a->kind == LIN_INCREMENT || a->kind == LIN_SWAP)
        a->number += (int64_t)rng_below(rng, 3) - 1;
    else if (a->version != 0 && rng_chance(rng, 1, 2))
        a->version = b->version;
    else if (a->outcome != LIN_INFO && rng_chance(rng, 1, 2))
        a->invoke = a->ret = rng_below(rng, (h->count + 1) * 4);
    else if (a->outcome == LIN_DONE && a->kind == LIN_READ)
        a->result = rng_chance(rng, 1, 4)
                        ? (struct lin_value){0}
                        : text_value(h, i * 3 + 2, rng_chance(rng, 1, 2) ? "1" : "12");
}

static void draw(struct rng *rng, const struct mix *mix, struct history *h)
{
    struct state now = {.is_exact = true};
    *h = (struct history){.count = (size_t)rng_between(rng, 2, OPS_MAX)};
    for (size_t i = 0; i < h->count; i++) {
        struct lin_op *op = &h->ops[i];
        uint64_t instant = (i + 1) * 4;
        op->process = (uint32_t)i;
        op->key = slice_str("k");
        uint64_t back = rng_below(rng, 16);
        op->invoke = instant - MIN(back, instant);
        op->ret = instant + rng_below(rng, 16);
        draw_args(rng, h, i, mix->kinds[rng_below(rng, strlen(mix->kinds))], &now);
        if (op->kind != LIN_READ && rng_chance(rng, 1, 10))
            op->outcome = LIN_INFO; /* and never happened */
        else
            happen(rng, h, i, &now, mix->has_versions);
        if (op->outcome == LIN_DONE && op->kind != LIN_READ && rng_chance(rng, 1, 4))
            op->outcome = LIN_INFO; /* though it did */
    }
    for (uint64_t n = rng_below(rng, 6); n > 0; n--)
        bend(rng, h);
}

/* Some that failed are left out by the checker: brute() must not see them. */
static void drop_failed(struct history *h)
{
    size_t n = 0;
    for (size_t i = 0; i < h->count; i++)
        if (h->ops[i].outcome != LIN_FAILED)
            h->ops[n++] = h->ops[i];
    h->count = n;
}

static void print(const struct history *h)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct lin_op *op = &h->ops[i];
        print_message(
            "%d outcome %d [%d, %d] arg %.*s expect %.*s result %d %.*s delta %d number "
            "%d version %d\n",
            (int)op->kind, (int)op->outcome, (int)op->invoke, (int)op->ret, (int)op->arg.bytes.len,
            (const char *)op->arg.bytes.data, (int)op->expect.bytes.len,
            (const char *)op->expect.bytes.data, op->has_result, (int)op->result.bytes.len,
            (const char *)op->result.bytes.data, (int)op->delta, (int)op->number, (int)op->version);
    }
}

static const struct mix mixes[] = {
    {"register", "rrwwdc", false},
    {"register, versions", "rrwwdc", true},
    {"counter", "rriiid", false},
    {"counter, versions", "rriiid", true},
    {"list", "rraaaaw", false},
    {"list, versions", "rraaaa", true},
    {"list with swaps", "rraaads", false},
    {"everything", "rrwdcias", false},
    {"everything, versions", "rrwdcias", true},
    {"cas by version", "rrwdvvc", true},
    {"cas by version, few versions", "rrwdvva", false},
};

static void test_all(void **state)
{
    (void)state;
    enum { ROUNDS = 4000 };
    struct rng rng;
    rng_init(&rng, 20261128);
    for (size_t m = 0; m < ARRAY_LEN(mixes); m++) {
        int bad = 0;
        for (int i = 0; i < ROUNDS; i++) {
            struct history h;
            struct lin_report report;
            draw(&rng, &mixes[m], &h);
            enum lin_verdict got = lin_check(h.ops, h.count, NULL, &report);
            drop_failed(&h);
            bool want = brute(&h, 0, &(struct state){0});
            if ((got == LIN_OK) != want) {
                print(&h);
                fail_msg("%s, history %d: %d, want %d\n%.*s", mixes[m].name, i, (int)got, (int)want,
                         (int)report.text.len, (const char *)report.text.data);
            }
            lin_report_fini(&report);
            bad += !want;
        }
        if (bad < ROUNDS / 20 || bad > ROUNDS * 19 / 20)
            fail_msg("%s: %d of %d are bad: this does not bite", mixes[m].name, bad, ROUNDS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all),
    };
    return cmocka_run_group_tests_name("lin against brute force", tests, NULL, NULL);
}
