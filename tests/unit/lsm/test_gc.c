/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/gc.h"

#include <stdio.h>

#include "support/check.h"

/* Input of one key, newest first: p<version> put, d<version> delete, x<version> put that
 * expires at 100. `want` is what passes; a changed one shows as a delete. */
static const struct {
    const char *name;
    uint64_t safe, range_time;
    bool has_below;
    const char *in, *want;
} rows[] = {
    {"above the safe version all stays", 10, 0, true, "p15 d14 p13", "p15 d14 p13 "},
    {"one at or below stays", 10, 0, true, "p15 p10 p9 p8", "p15 p10 "},
    {"only the latest", UINT64_MAX, 0, true, "p15 p10", "p15 "},
    {"a delete hides", 10, 0, true, "d9 p8 p7", "d9 "},
    {"a delete at the bottom goes", 10, 0, false, "d9 p8 p7", ""},
    {"a delete above the safe version stays at the bottom", 5, 0, false, "d9 p8 p3 p2",
     "d9 p8 p3 "},
    {"a second write of a version is older", 10, 0, true, "p20 p20 p5 p5", "p20 p5 "},
    {"expired becomes a delete", 10, 100, true, "x9 p8", "d9 "},
    {"expired at the bottom goes", 10, 100, false, "x9 p8", ""},
    {"not yet expired", 10, 99, false, "x9 p8", "x9 "},
    {"expired above the safe version stays", 5, 100, false, "x9 p4", "x9 p4 "},
    {"nothing safe", 0, 100, false, "p3 d2 p1", "p3 d2 p1 "},
};

static bool below(void *data, struct slice key)
{
    assert_string_equal((const char *)key.data, "key");
    return *(const bool *)data;
}

static void play(struct gc_filter *f, const char *in, char out[100])
{
    char kind;
    unsigned version;
    int n;
    out[0] = 0;
    for (; sscanf(in, " %c%u%n", &kind, &version, &n) == 2; in += n) {
        struct entry e = {.key = slice_str("key"), .version = version};
        e.kind = kind == 'd' ? ENTRY_DELETE : kind == 'p' ? ENTRY_PUT : ENTRY_PUT_EXPIRES;
        e.expiry_ms = kind == 'x' ? 100 : 0;
        if (!gc_filter_pass(f, &e))
            continue;
        kind = e.kind == ENTRY_DELETE ? 'd' : e.kind == ENTRY_PUT ? 'p' : 'x';
        snprintf(out + strlen(out), 100 - strlen(out), "%c%u ", kind, version);
    }
}

static void test_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lsm_gc_span span = {slice_str("a"), slice_str("z"), rows[i].safe,
                                   rows[i].range_time};
        struct gc_table *table = gc_table_new(&span, 1);
        struct gc_filter f;
        char got[100];
        bool has_below = rows[i].has_below;
        gc_filter_init(&f, table, below, &has_below);
        play(&f, rows[i].in, got);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s: got %s", rows[i].name, got);
        gc_filter_fini(&f);
        gc_table_unref(table);
    }
}

/* Outside every span nothing but second writes goes. */
static void test_outside(void **state)
{
    (void)state;
    struct lsm_gc_span spans[] = {{slice_str("a"), slice_str("b"), UINT64_MAX, 0},
                                  {slice_str("l"), slice_str(""), UINT64_MAX, 0}};
    struct gc_table *table = gc_table_new(spans, 2);
    struct gc_filter f;
    char got[100];
    gc_filter_init(&f, table, NULL, NULL);
    play(&f, "p9 p9 d8 p7", got);
    assert_string_equal(got, "p9 d8 p7 ");
    assert_int_equal(f.dropped, 1);
    gc_filter_fini(&f);
    gc_table_unref(table);
}

/* Keys fall into the right span, bounds included and excluded. */
static void test_spans(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        bool want_second; /* the second version passes: outside */
        bool want_crossed;
    } keys[] = {{"0", true, false},  {"a", false, false}, {"az", false, false}, {"b", true, true},
                {"c", false, false}, {"d", true, true},   {"x", true, false}};
    struct lsm_gc_span spans[] = {{slice_str("a"), slice_str("b"), UINT64_MAX, 0},
                                  {slice_str("c"), slice_str("d"), UINT64_MAX, 0}};
    struct gc_table *table = gc_table_new(spans, 2);
    struct gc_filter f;
    gc_filter_init(&f, table, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct entry e = {.key = slice_str(keys[i].key), .version = 9, .kind = ENTRY_PUT};
        assert_true(gc_filter_pass(&f, &e));
        assert_int_equal(f.crossed_end, keys[i].want_crossed);
        e.version = 8;
        if (gc_filter_pass(&f, &e) != keys[i].want_second)
            fail_msg("key %s", keys[i].key);
    }
    gc_filter_fini(&f);
    gc_table_unref(table);
}

/* What the spans that have keys of a stretch say together. */
static void test_least(void **state)
{
    (void)state;
    static const struct {
        const char *start, *end;
        bool want;
        struct gc_least least;
    } stretches[] = {
        {"a", "b", true, {10, 50, false}}, {"b", "f", true, {8, 50, false}},
        {"e", "f", true, {8, 60, false}},  {"A", "b", true, {10, 50, true}},
        {"A", "a", false, {0, 0, false}},  {"b", "h", true, {8, 50, true}},
        {"g", "h", false, {0, 0, false}},  {"f", "r", true, {8, 40, true}},
        {"g", "r", true, {9, 40, true}},   {"p", "r", true, {9, 40, false}},
        {"A", "z", true, {8, 40, true}},
    };
    struct lsm_gc_span spans[] = {{slice_str("a"), slice_str("d"), 10, 50},
                                  {slice_str("d"), slice_str("g"), 8, 60},
                                  {slice_str("p"), slice_str(""), 9, 40}};
    struct gc_table *table = gc_table_new(spans, ARRAY_LEN(spans));
    struct gc_least least;
    for (size_t i = 0; i < ARRAY_LEN(stretches); i++) {
        bool is_any = gc_table_least(table, slice_str(stretches[i].start),
                                     slice_str(stretches[i].end), &least);
        if (is_any != stretches[i].want ||
            (is_any && (least.safe_version != stretches[i].least.safe_version ||
                        least.range_time_ms != stretches[i].least.range_time_ms ||
                        least.has_gap != stretches[i].least.has_gap)))
            fail_msg("row %zu", i);
    }
    gc_table_unref(table);
    table = gc_table_new(spans, 0);
    assert_false(gc_table_least(table, slice_str("a"), slice_str("b"), &least));
    gc_table_unref(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_outside),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_least),
    };
    return cmocka_run_group_tests_name("gc", tests, NULL, NULL);
}
