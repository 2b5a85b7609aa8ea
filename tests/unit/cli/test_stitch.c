/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tools/holdfast/stitch.h"

enum { PIECES_MAX = 256, PREFIX = 'k' };

/* "ka-kc@7": from "ka" to "kc" at span epoch 7; no end: behind all places. */
struct text_piece {
    char start[16], end[16];
    unsigned epoch;
};

static int alive; /* pieces that were neither dropped nor popped */

static void drop(void *data)
{
    alive--;
    free(data);
}

static struct text_piece *parse(const char *text)
{
    struct text_piece *p = calloc(1, sizeof *p);
    assert_non_null(p);
    const char *dash = strchr(text, '-');
    const char *at = strchr(text, '@');
    assert_true(dash != NULL && at != NULL);
    snprintf(p->start, sizeof p->start, "%.*s", (int)(dash - text), text);
    snprintf(p->end, sizeof p->end, "%.*s", (int)(at - dash - 1), dash + 1);
    p->epoch = (unsigned)strtoul(at + 1, NULL, 10);
    return p;
}

static enum stitch_verdict take(struct stitch *s, const char *text)
{
    struct text_piece *p = parse(text);
    const struct stitch_piece piece = {
        .start = slice_str(p->start), .end = slice_str(p->end), .span_epoch = p->epoch, .data = p};
    enum stitch_verdict verdict = stitch_take(s, &piece);
    if (verdict == STITCH_FITS)
        alive++;
    else
        free(p);
    return verdict;
}

/* What goes out by itself, as "ka-kc ". */
static void pop_all(struct stitch *s, char *out, size_t size)
{
    for (struct text_piece *p; (p = stitch_pop(s)) != NULL; drop(p)) {
        size_t len = strlen(out);
        snprintf(out + len, size - len, "%s-%s ", p->start, p->end);
    }
}

static const struct {
    const char *name;
    const char *found;    /* in turn */
    const char *verdicts; /* F(its), M(isfit), T(orn) */
    const char *place;    /* that is asked for next; NULL: it is over … */
    const char *out;      /* … and this is the list */
} rows[] = {
    {"nothing yet", "", "", "k", ""},
    {"one that has all", "-@1", "F", NULL, "- "},
    {"from before the first place to behind the last", "a-z@1", "F", NULL, "a-z "},
    {"two", "k-kc@1 kc-l@1", "FF", NULL, "k-kc kc-l "},
    {"a hole is no list", "k-kc@1 kd-l@9", "FM", "kc", ""},
    {"nor is a hole at the begin", "kb-l@1", "M", "k", ""},
    {"nor one that ends before it begins", "k-kc@1 kc-ka@9", "FM", "kc", ""},
    {"nor one that has nothing", "k-kc@1 kc-kc@9", "FM", "kc", ""},
    {"an old one that has keys of the last", "k-kc@5 k-kf@4", "FM", "kc", ""},
    {"of one epoch neither is newer", "k-kc@5 k-kf@5", "FM", "kc", ""},
    {"an old one, again and again", "k-kc@5 k-kf@4 k-kf@4 kc-l@5", "FMMF", NULL, "k-kc kc-l "},
    {"a newer one from the same place", "k-kc@4 k-l@5", "FF", NULL, "k-l "},
    {"a newer one that took in the last two", "k-ka@1 ka-kb@1 kb-kc@1 ka-l@5", "FFFF", NULL,
     "k-ka ka-l "},
    {"a newer one from inside the last: that is asked for again", "k-kc@4 kb-l@5 k-kb@5 kb-l@5",
     "FMFF", NULL, "k-kb kb-l "},
    {"newer than the last, older than what is before", "k-kb@9 kb-kc@4 ka-l@6", "FFM", "kb", ""},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stitch s;
        char word[32], verdicts[16] = "", out[128] = "";
        const char *found = rows[i].found;
        stitch_init(&s, PREFIX, false, drop);
        for (int n = 0, len; sscanf(found, "%31s%n", word, &len) == 1; found += len)
            verdicts[n++] = "FMT"[take(&s, word)];
        pop_all(&s, out, sizeof out);
        if (strcmp(verdicts, rows[i].verdicts) != 0 || strcmp(out, rows[i].out) != 0)
            fail_msg("%s: %s, list '%s'", rows[i].name, verdicts, out);
        if (stitch_is_over(&s) != (rows[i].place == NULL))
            fail_msg("%s: over or not", rows[i].name);
        if (rows[i].place != NULL && !slice_equal(stitch_place(&s), slice_str(rows[i].place)))
            fail_msg("%s: another place", rows[i].name);
        stitch_fini(&s);
        assert_int_equal(alive, 0);
    }
}

/* Each piece as "k0007-k0008@1". */
static enum stitch_verdict take_numbered(struct stitch *s, unsigned from, unsigned to,
                                         unsigned epoch)
{
    char text[48];
    snprintf(text, sizeof text, "k%04u-k%04u@%u", from, to, epoch);
    return take(s, text);
}

/* A list of any length: the first ones go out, and what would change them is told apart. */
static void test_long(void **state)
{
    (void)state;
    enum { COUNT = STITCH_HELD + 10 };
    struct stitch s;
    char out[PIECES_MAX * 16] = "", want[PIECES_MAX * 16] = "";
    stitch_init(&s, PREFIX, false, drop);
    assert_int_equal(take(&s, "k-k0000@1"), STITCH_FITS);
    for (unsigned i = 0; i < COUNT; i++) {
        pop_all(&s, out, sizeof out);
        assert_int_equal(take_numbered(&s, i, i + 1, 1), STITCH_FITS);
    }
    pop_all(&s, out, sizeof out);
    snprintf(want, sizeof want, "k-k0000 ");
    for (unsigned i = 0; i < COUNT + 1 - STITCH_HELD; i++)
        snprintf(want + strlen(want), sizeof want - strlen(want), "k%04u-k%04u ", i, i + 1);
    assert_string_equal(out, want);
    unsigned gone = COUNT + 1 - STITCH_HELD;
    /* all that is held goes for a newer one, but no more than that */
    assert_int_equal(take_numbered(&s, gone, 9000, 7), STITCH_FITS);
    assert_true(stitch_is_farther(&s));
    assert_int_equal(take_numbered(&s, gone - 1, 9900, 8), STITCH_TORN);
    assert_true(slice_equal(stitch_place(&s), slice_of(want + strlen(want) - 6, 5)));
    assert_int_equal(take_numbered(&s, gone + 3, 9900, 8), STITCH_MISFIT);
    assert_int_equal(take_numbered(&s, gone, gone + 3, 8), STITCH_FITS);
    assert_false(stitch_is_farther(&s)); /* it came to 9000 before */
    stitch_fini(&s);
    assert_int_equal(alive, 0);
}

/* Who takes each at once may have keys twice, but never leaves one out. */
static void test_at_once(void **state)
{
    (void)state;
    struct stitch s;
    char out[128] = "";
    stitch_init(&s, PREFIX, true, drop);
    assert_int_equal(take(&s, "a-kc@5"), STITCH_FITS);
    pop_all(&s, out, sizeof out);
    assert_int_equal(take(&s, "k-kc@9"), STITCH_MISFIT);
    assert_int_equal(take(&s, "kd-l@9"), STITCH_MISFIT);
    assert_int_equal(take(&s, "kb-l@2"), STITCH_FITS);
    pop_all(&s, out, sizeof out);
    assert_true(stitch_is_over(&s));
    assert_string_equal(out, "a-kc kb-l ");
    stitch_fini(&s);
    assert_int_equal(alive, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_at_once),
    };
    return cmocka_run_group_tests_name("stitch", tests, NULL, NULL);
}
