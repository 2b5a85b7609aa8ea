/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "lsm/compact.h"
#include "lsm/lsm_internal.h"
#include "support/check.h"

static struct lsm_options options(void)
{
    struct lsm_options o;
    lsm_options_init(&o);
    o.l0_compact = 3;
    o.level_base_bytes = 1000;
    o.level_ratio = 10;
    return o;
}

static struct table *new_table(uint64_t number)
{
    struct table *t = calloc(1, sizeof *t);
    assert_non_null(t);
    atomic_init(&t->refs, 1);
    list_init(&t->in_dead);
    table_props_init(&t->props);
    t->number = number;
    return t;
}

/* A piece over a table that never touches a disk. */
static void add(struct edit *edit, unsigned level, uint64_t id, const char *lo, const char *hi,
                uint64_t bytes)
{
    struct piece *p = piece_new(slice_str(lo), slice_str(hi));
    assert_non_null(p);
    p->table = new_table(id);
    p->id = p->file = p->order = id;
    p->bytes = bytes;
    edit_add(edit, level, p);
}

static struct version *build(struct edit *edit)
{
    struct version *empty = version_new(), *v = NULL;
    struct err err = {0};
    if (version_apply(empty, edit, &v, &err) != 0)
        fail_msg("%s", err.msg);
    version_unref(empty);
    edit_fini(edit);
    version_check(v);
    return v;
}

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        unsigned level;
        uint64_t bytes; /* of one piece there */
        unsigned want_base;
        uint64_t want[LSM_LEVELS];
    } rows[] = {
        {0, 0, 6, {0, 0, 0, 0, 0, 0, 1000}},
        {6, 1000, 6, {0, 0, 0, 0, 0, 0, 1000}},
        {6, 3333, 6, {0, 0, 0, 0, 0, 0, 3333}}, /* nearer to the base than a tenth of it */
        {6, 3334, 5, {0, 0, 0, 0, 0, 333, 3334}},
        {6, 50000, 4, {0, 0, 0, 0, 500, 5000, 50000}},
        {2, 10, 2, {0, 0, 0, 0, 0, 0, 1000}}, /* left high up: L0 may not pass it */
        {6,
         UINT64_C(1) << 50,
         1,
         {0, 11258999068, 112589990684, 1125899906842, 11258999068426, 112589990684262,
          UINT64_C(1) << 50}},
    };
    struct lsm_options o = options();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct edit edit = {0};
        uint64_t got[LSM_LEVELS];
        if (rows[i].level > 0)
            add(&edit, rows[i].level, 1, "a", "b", rows[i].bytes);
        struct version *v = build(&edit);
        unsigned base = lsm_level_targets(v, &o, got);
        if (base != rows[i].want_base)
            fail_msg("row %zu: base %u", i, base);
        for (unsigned level = 0; level < LSM_LEVELS; level++) {
            if (got[level] != rows[i].want[level])
                fail_msg("row %zu: L%u %llu", i, level, (unsigned long long)got[level]);
        }
        version_unref(v);
    }
}

static void show(const struct pick *p, char out[100])
{
    snprintf(out, 100, "L%u>L%u%s:", p->level, p->output, p->is_move ? " move" : "");
    for (size_t i = 0; i < p->input_count; i++)
        snprintf(out + strlen(out), 100 - strlen(out), " %llu",
                 (unsigned long long)p->inputs[i].piece->id);
}

static void expect(const struct version *v, const char *want)
{
    struct lsm_options o = options();
    struct pick pick;
    uint64_t cursor = 0;
    char got[100] = "nothing";
    if (pick_next(v, &o, &cursor, &pick) == 0) {
        show(&pick, got);
        pick_fini(&pick);
    }
    assert_string_equal(got, want);
}

static void test_l0(void **state)
{
    (void)state;
    struct edit edit = {0};
    add(&edit, 0, 1, "a", "c", 10);
    add(&edit, 0, 2, "x", "z", 10);
    add(&edit, 6, 10, "b", "d", 10);
    add(&edit, 6, 11, "e", "f", 10);
    add(&edit, 6, 12, "zz", "zzz", 10);
    struct version *v = build(&edit);
    expect(v, "nothing"); /* two are not enough */
    version_unref(v);
    add(&edit, 0, 1, "a", "c", 10);
    add(&edit, 0, 2, "b", "d", 10);
    add(&edit, 0, 3, "a", "b", 10);
    add(&edit, 6, 10, "b", "d", 10);
    add(&edit, 6, 11, "dd", "f", 10);
    v = build(&edit);
    expect(v, "L0>L6: 3 2 1 10"); /* newest first; what their span touches */
    version_unref(v);
}

static void spoil(const struct version *v, unsigned level, size_t i)
{
    atomic_store(&v->at[level][i]->table->is_bad, true);
}

/* Damage is never read again, but it does not hold up what can go without it. */
static void test_l0_damage(void **state)
{
    (void)state;
    struct edit edit = {0};
    add(&edit, 0, 1, "a", "c", 10);
    add(&edit, 0, 2, "b", "d", 10);
    add(&edit, 0, 3, "a", "b", 10);
    add(&edit, 6, 10, "b", "d", 10);
    struct version *v = build(&edit);
    spoil(v, 0, 1);
    expect(v, "L0>L6: 1 10"); /* what is older than it, that it can sink */
    version_unref(v);
    add(&edit, 0, 2, "b", "d", 10);
    add(&edit, 0, 3, "a", "c", 10);
    add(&edit, 0, 4, "a", "b", 10);
    add(&edit, 6, 10, "a", "d", 10);
    v = build(&edit);
    spoil(v, 0, 2);
    expect(v, "L0>L5 move: 2"); /* over what it may not be merged with */
    version_unref(v);
    add(&edit, 0, 1, "a", "c", 10);
    add(&edit, 0, 2, "b", "d", 10);
    add(&edit, 0, 3, "a", "c", 10);
    add(&edit, 0, 4, "x", "y", 10);
    add(&edit, 0, 5, "x", "z", 10);
    add(&edit, 6, 10, "b", "d", 10);
    add(&edit, 6, 11, "x", "z", 10);
    v = build(&edit);
    spoil(v, 0, 3);
    expect(v, "L0>L6: 5 4 11"); /* a smaller group without damage */
    version_unref(v);
}

/* Damage in the base: L0 goes over it. */
static void test_base_damage(void **state)
{
    (void)state;
    struct edit edit = {0};
    for (uint64_t id = 1; id <= 3; id++)
        add(&edit, 0, id, "a", "c", 10);
    add(&edit, 6, 10, "a", "b", 10);
    add(&edit, 6, 11, "b", "c", 10);
    struct version *v = build(&edit);
    spoil(v, 6, 1);
    expect(v, "L0>L5: 3 2 1");
    version_unref(v);
    add(&edit, 5, 4, "a", "b", 10); /* and flows on where it can */
    add(&edit, 5, 5, "b", "c", 10);
    add(&edit, 6, 10, "a", "b", 10);
    add(&edit, 6, 11, "b", "c", 10);
    v = build(&edit);
    spoil(v, 6, 1);
    expect(v, "L5>L6: 4 10");
    version_unref(v);
    for (uint64_t id = 1; id <= 3; id++)
        add(&edit, 0, id, "a", "c", 10);
    add(&edit, 1, 10, "a", "b", 10);
    v = build(&edit);
    spoil(v, 1, 0);
    expect(v, "nothing"); /* no level is left between */
    version_unref(v);
}

static void test_l0_moves(void **state)
{
    (void)state;
    struct edit edit = {0};
    add(&edit, 0, 1, "a", "c", 10);
    add(&edit, 0, 2, "x", "z", 10);
    add(&edit, 0, 3, "a", "b", 10);
    add(&edit, 6, 10, "b", "d", 10);
    struct version *v = build(&edit);
    expect(v, "L0>L6 move: 2"); /* nothing of it below */
    spoil(v, 0, 1);
    expect(v, "L0>L6 move: 2"); /* a move reads nothing */
    version_unref(v);
    add(&edit, 0, 1, "a", "d", 10);
    add(&edit, 0, 2, "a", "b", 10);
    add(&edit, 0, 3, "b", "c", 10);
    add(&edit, 6, 10, "c", "d", 10);
    v = build(&edit);
    expect(v, "L0>L6: 3 2 1 10"); /* 2 and 3 never go below what is older */
    version_unref(v);
    add(&edit, 0, 1, "a", "d", 10);
    add(&edit, 0, 2, "a", "b", 10);
    add(&edit, 0, 3, "b", "c", 10);
    v = build(&edit);
    expect(v, "L0>L6 move: 1"); /* the oldest may: what is newer stays above it */
    version_unref(v);
}

static void test_l0_groups(void **state)
{
    (void)state;
    struct edit edit = {0};
    add(&edit, 0, 1, "a", "c", 10);
    add(&edit, 0, 2, "x", "y", 10);
    add(&edit, 0, 3, "b", "d", 10);
    add(&edit, 0, 4, "xx", "z", 10);
    add(&edit, 0, 5, "y", "zz", 10);
    add(&edit, 6, 10, "a", "b", 10);
    add(&edit, 6, 11, "x", "xx", 10);
    struct version *v = build(&edit);
    expect(v, "L0>L6: 5 4 2 11"); /* by way of 4, 2 and 5 belong together */
    version_unref(v);
}

/* With more below than what comes from above, it waits for twice the files. */
static void test_l0_waits(void **state)
{
    (void)state;
    struct edit edit = {0};
    for (uint64_t n = 3; n <= 6; n++) {
        for (uint64_t id = 1; id <= n; id++)
            add(&edit, 0, id, "a", "c", 10);
        add(&edit, 6, 10, "a", "d", n < 6 ? 10 * n + 1 : 1000);
        struct version *v = build(&edit);
        expect(v, n < 6 ? "nothing" : "L0>L6: 6 5 4 3 2 1 10");
        version_unref(v);
    }
    for (uint64_t id = 1; id <= 3; id++)
        add(&edit, 0, id, "a", "c", 10);
    add(&edit, 6, 10, "a", "d", 30);
    struct version *v = build(&edit);
    expect(v, "L0>L6: 3 2 1 10");
    version_unref(v);
}

/* The owner's own keys stand in files beside the others: they are counted apart. */
static void test_l0_depth(void **state)
{
    (void)state;
    struct edit edit = {0};
    for (uint64_t id = 1; id <= 3; id++) {
        struct piece *p = piece_new(slice_of("\0a", 2), slice_of("\0b", 2));
        assert_non_null(p);
        p->file = p->id = p->order = id;
        p->table = new_table(id);
        edit_add(&edit, 0, p);
    }
    add(&edit, 0, 11, "a", "c", 10);
    add(&edit, 0, 12, "a", "c", 10);
    struct version *v = build(&edit);
    assert_int_equal(version_l0_depth(v), 3);
    version_unref(v);
}

/* What an edit cut out of a table leaves pieces of it that overlap nowhere: no key is looked for
 * in more tables than before. */
static void test_l0_depth_of_cut(void **state)
{
    (void)state;
    static const char *const bounds[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    struct edit edit = {0};
    add(&edit, 0, 1, "a", "h", 10);
    for (uint64_t file = 2; file <= 3; file++) {
        struct table *t = new_table(file);
        for (size_t i = 0; i + 1 < ARRAY_LEN(bounds); i += 2) {
            struct piece *p = piece_new(slice_str(bounds[i]), slice_str(bounds[i + 1]));
            assert_non_null(p);
            p->file = p->order = file;
            p->id = file * 10 + i;
            p->is_cut = true;
            p->table = table_ref(t);
            edit_add(&edit, 0, p);
        }
        table_unref(t);
    }
    struct version *v = build(&edit);
    assert_int_equal(v->count[0], 9);
    assert_int_equal(version_l0_depth(v), 3);
    version_unref(v);
}

static void test_levels(void **state)
{
    (void)state;
    struct edit edit = {0};
    add(&edit, 6, 1, "a", "m", 9000); /* targets: L5 900 */
    add(&edit, 5, 2, "a", "c", 500);
    add(&edit, 5, 3, "p", "q", 500);
    struct version *v = build(&edit);
    expect(v, "L5>L6 move: 3"); /* nothing below it: only a new place */
    spoil(v, 5, 1);
    expect(v, "L5>L6: 2 1");
    spoil(v, 6, 0);
    expect(v, "nothing");
    version_unref(v);
    add(&edit, 2, 1, "a", "m", 10); /* no level 2 in a tree of this size */
    add(&edit, 6, 2, "a", "c", 500);
    v = build(&edit);
    expect(v, "L2>L3 move: 1");
    version_unref(v);
}

static void test_span(void **state)
{
    (void)state;
    struct lsm_options o = options();
    struct edit edit = {0};
    struct pick pick;
    char got[100];
    add(&edit, 0, 1, "a", "c", 10);
    add(&edit, 5, 2, "b", "e", 10);
    add(&edit, 5, 3, "e", "g", 10);
    add(&edit, 6, 4, "d", "f", 10);
    add(&edit, 6, 5, "x", "z", 10);
    struct version *v = build(&edit);
    assert_int_equal(pick_span(v, &o, slice_str("a"), slice_str("b"), &pick), 0);
    show(&pick, got);
    assert_string_equal(got, "L0>L6: 1 2 3 4"); /* grows until nothing sticks out */
    pick_fini(&pick);
    assert_int_equal(pick_span(v, &o, slice_str("h"), slice_str("i"), &pick), ERR_NOT_FOUND);
    version_unref(v);
}

/* A table of 100 records with these counts, as the only piece of `level`. */
static const struct {
    const char *name;
    unsigned level;
    uint64_t deletes, keys, expiring, expiry_max, version_max;
    const char *lo, *hi;
    uint64_t cut_to; /* bytes that show of 1000; 0: not cut */
    const char *want;
} garbage[] = {
    {"clean", 6, 0, 100, 0, 0, 5, "b", "c", 0, "nothing"},
    {"few deletes", 6, 19, 100, 0, 0, 5, "b", "c", 0, "nothing"},
    {"deletes, last level", 6, 20, 100, 0, 0, 5, "b", "c", 0, "L6>L6: 1"},
    {"deletes, above it", 4, 20, 100, 0, 0, 5, "b", "c", 0, "L4>L5: 1"},
    {"not yet safe", 6, 90, 100, 0, 0, 11, "b", "c", 0, "nothing"},
    {"old versions", 6, 0, 70, 0, 0, 10, "b", "c", 0, "L6>L6: 1"},
    {"expired", 6, 0, 100, 30, 50, 5, "b", "c", 0, "L6>L6: 1"},
    {"one not yet expired", 6, 0, 100, 30, 51, 5, "b", "c", 0, "nothing"},
    {"in a gap of the spans", 6, 90, 100, 0, 0, 5, "x", "y", 0, "nothing"},
    {"over a gap", 6, 90, 100, 0, 0, 5, "b", "y", 0, "nothing"},
    {"over two spans, both safe", 6, 90, 100, 0, 0, 5, "b", "n", 0, "L6>L6: 1"},
    {"over two spans, one not safe", 6, 90, 100, 0, 0, 9, "b", "n", 0, "nothing"},
    {"cut, most is hidden", 6, 0, 100, 0, 0, 99, "x", "y", 400, "L6>L6: 1"},
    {"cut, a fifth is hidden", 6, 0, 100, 0, 0, 99, "x", "y", 800, "L6>L6: 1"},
    {"cut, nearly all shows", 6, 0, 100, 0, 0, 99, "x", "y", 900, "nothing"},
};

static void test_garbage(void **state)
{
    (void)state;
    struct lsm_gc_span spans[] = {{slice_str("a"), slice_str("m"), 10, 50},
                                  {slice_str("m"), slice_str("p"), 8, 50}};
    struct gc_table *gc = gc_table_new(spans, ARRAY_LEN(spans));
    for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
        struct edit edit = {0};
        struct pick pick;
        char got[100] = "nothing";
        add(&edit, garbage[i].level, 1, garbage[i].lo, garbage[i].hi, 1000);
        struct version *v = build(&edit);
        struct piece *p = v->at[garbage[i].level][0];
        struct table_props *props = &p->table->props;
        props->records = 100;
        props->data_bytes = 1000;
        props->deletes = garbage[i].deletes;
        props->keys = garbage[i].keys;
        props->expiring = garbage[i].expiring;
        props->expiry_max = garbage[i].expiry_max;
        props->version_max = garbage[i].version_max;
        p->file_size = 1000;
        p->is_cut = garbage[i].cut_to > 0;
        p->bytes = p->is_cut ? garbage[i].cut_to : 1000;
        if (pick_garbage(v, gc, UINT64_MAX, &pick) == 0) {
            show(&pick, got);
            pick_fini(&pick);
        }
        if (strcmp(got, garbage[i].want) != 0)
            fail_msg("%s: %s", garbage[i].name, got);
        version_unref(v);
    }
    gc_table_unref(gc);
}

/* A table that has a record which is not safe yet, of 100, beside what its own notes say. */
static void test_garbage_beside_young_ones(void **state)
{
    static const struct {
        uint64_t hidden_at[3], expired_at[3]; /* a tenth more at each; 0: never */
        uint64_t made_safe, made_ms;
        const char *want;
        uint64_t safe_at, ms_at; /* beyond which … */
    } rows[] = {
        {{0}, {0}, 0, 0, "nothing", UINT64_MAX, UINT64_MAX},
        {{5, 10}, {0}, 0, 0, "L6>L6: 1", UINT64_MAX, UINT64_MAX},
        {{5, 11}, {0}, 0, 0, "nothing", 11, UINT64_MAX},
        {{5}, {40}, 0, 0, "L6>L6: 1", UINT64_MAX, UINT64_MAX},
        {{5}, {51, 60, 70}, 0, 0, "nothing", UINT64_MAX, 60},
        {{5, 10, 12}, {0}, 7, 0, "nothing", 12, UINT64_MAX}, /* a tenth since it was made */
        {{0}, {20, 30, 80}, 0, 30, "nothing", UINT64_MAX, UINT64_MAX},
    };
    (void)state;
    struct lsm_gc_span span = {slice_str("a"), slice_str("m"), 10, 50};
    struct gc_table *gc = gc_table_new(&span, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct edit edit = {0};
        struct pick pick;
        char got[100] = "nothing";
        uint64_t safe_at, ms_at;
        add(&edit, 6, 1, "b", "c", 1000);
        struct version *v = build(&edit);
        struct table_props *props = &v->at[6][0]->table->props;
        props->records = props->keys = 100;
        props->version_max = 99;
        stale_init(&props->stale);
        props->stale.made_safe = rows[i].made_safe;
        props->stale.made_ms = rows[i].made_ms;
        for (size_t k = 0; k < 3; k++) {
            if (rows[i].hidden_at[k] != 0)
                props->stale.hidden[k] = rows[i].hidden_at[k];
            if (rows[i].expired_at[k] != 0)
                props->stale.expired[k] = rows[i].expired_at[k];
        }
        if (pick_garbage(v, gc, UINT64_MAX, &pick) == 0) {
            show(&pick, got);
            pick_fini(&pick);
        }
        pick_garbage_at(v, gc, &span, &safe_at, &ms_at);
        if (strcmp(got, rows[i].want) != 0 || safe_at != rows[i].safe_at || ms_at != rows[i].ms_at)
            fail_msg("row %zu: %s, at %llu and %llu", i, got, (unsigned long long)safe_at,
                     (unsigned long long)ms_at);
        version_unref(v);
    }
    gc_table_unref(gc);
}

/* A table of 100 records, of which keys at its end are in no span: what its notes say counts, by
 * the spans that it has keys of, and what it was made by; the counts of the whole do not. */
static void test_garbage_over_a_gap(void **state)
{
    static const struct {
        const char *lo, *hi;
        uint64_t deletes, made_safe;
        const char *want;
        uint64_t safe_at; /* for one more pick, of a range whose safe version is 3 */
    } rows[] = {
        {"b", "y", 0, 0, "L6>L6: 1", 7},
        {"b", "y", 0, 8, "nothing", UINT64_MAX}, /* as if just written anew */
        {"b", "y", 0, 5, "nothing", UINT64_MAX},
        {"b", "y", 90, 8, "nothing", UINT64_MAX},
        {"b", "n", 90, 8, "L6>L6: 1", 6}, /* without the gap */
        {"b", "n", 0, 8, "nothing", UINT64_MAX},
        {"b", "m", 0, 0, "L6>L6: 1", 7},
        {"x", "y", 0, 0, "nothing", 7},
    };
    (void)state;
    struct lsm_gc_span spans[] = {{slice_str("a"), slice_str("m"), 10, 50},
                                  {slice_str("m"), slice_str("p"), 8, 50}};
    struct gc_table *gc = gc_table_new(spans, ARRAY_LEN(spans));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct edit edit = {0};
        struct pick pick;
        char got[100] = "nothing";
        add(&edit, 6, 1, rows[i].lo, rows[i].hi, 1000);
        struct version *v = build(&edit);
        struct table_props *props = &v->at[6][0]->table->props;
        props->records = props->keys = 100;
        props->deletes = rows[i].deletes;
        props->version_max = 6;
        stale_init(&props->stale);
        props->stale.made_safe = rows[i].made_safe;
        props->stale.hidden[0] = 4;
        props->stale.hidden[1] = 7;
        if (pick_garbage(v, gc, UINT64_MAX, &pick) == 0) {
            show(&pick, got);
            pick_fini(&pick);
        }
        struct lsm_gc_span slow = {slice_str("a"), slice_str(""), 3, 0};
        uint64_t safe_at, ms_at;
        pick_garbage_at(v, gc, &slow, &safe_at, &ms_at);
        if (strcmp(got, rows[i].want) != 0 || safe_at != rows[i].safe_at)
            fail_msg("row %zu: %s, at %llu", i, got, (unsigned long long)safe_at);
        version_unref(v);
    }
    gc_table_unref(gc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),         cmocka_unit_test(test_l0),
        cmocka_unit_test(test_l0_moves),        cmocka_unit_test(test_l0_groups),
        cmocka_unit_test(test_l0_waits),        cmocka_unit_test(test_l0_depth),
        cmocka_unit_test(test_l0_damage),       cmocka_unit_test(test_base_damage),
        cmocka_unit_test(test_levels),          cmocka_unit_test(test_span),
        cmocka_unit_test(test_garbage),         cmocka_unit_test(test_garbage_beside_young_ones),
        cmocka_unit_test(test_l0_depth_of_cut), cmocka_unit_test(test_garbage_over_a_gap),
    };
    return cmocka_run_group_tests_name("pick", tests, NULL, NULL);
}
